package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
	"github.com/flyingrobots/jitos/cmd/internal/convert/just"
	"github.com/flyingrobots/jitos/cmd/internal/convert/make"
	"github.com/flyingrobots/jitos/cmd/internal/convert/npm"
	"github.com/flyingrobots/jitos/cmd/internal/convert/taskfile"
	"github.com/flyingrobots/jitos/lang"
)

// foreign is a kind of file that can be imported.
type foreign struct {
	files  []string // the names that its tool looks for, the first that is there
	kinds  []string // endings of other names
	read   func(w *convert.Workflow, fsys fs.FS, name string) (int, error)
	parts  [2]string // what one and several of its parts are called
	wrote  string    // what init says that it wrote
	prefix string    // of its tasks, where there are others
}

var foreigners = [...]foreign{
	{just.Files, []string{".just"}, just.Read, [2]string{"recipe", "recipes"}, "%s of just", "just-"},
	{taskfile.Files, nil, taskfile.Read, [2]string{"task", "tasks"}, "%s of Task", "task-"},
	{npm.Files, nil, npm.Read, [2]string{"script", "scripts"}, "%s of package.json", "npm-"},
	{make.Files, []string{".mk"}, make.Read, [2]string{"target", "targets"}, "%s as `make TARGET`", "make-"},
}

// Imported is what the file of another tool became.
type Imported struct {
	Incomplete int // tasks, and places outside of tasks, with a comment on what is not translated
	Text       []byte
}

// Import translates the file of another tool. It writes nothing.
func Import(name string) (*Imported, error) {
	base, dir := filepath.Base(name), filepath.Dir(name)
	i := slices.IndexFunc(foreigners[:], func(f foreign) bool {
		return slices.Contains(f.files, base) || slices.Contains(f.kinds, filepath.Ext(base))
	})
	if i < 0 {
		return nil, usagef("%s is none of the files that can be translated: justfile, Taskfile.yml, package.json, Makefile", name)
	}
	w := convert.New()
	_, err := foreigners[i].read(w, os.DirFS(dir), base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there is no %s", name)
	case err != nil:
		return nil, usagef("%s cannot be translated: %s", name, err)
	case len(w.Tasks()) == 0:
		return nil, usagef("%s has nothing to translate", name)
	}
	if hasWorkflow(dir) {
		w.Default = "" // that is for the workflow that is there to say
	}
	out, err := text(w, "Translated from "+base+" by `jitos import`. Each task may use the network and always runs, as there.\n"+
		"Give it inputs and outputs, and it runs when they ask for it; take the network away where it is not needed.")
	return &Imported{Incomplete: w.Incomplete(), Text: out}, err
}

// text lays a workflow out.
func text(w *convert.Workflow, head string) ([]byte, error) {
	raw := w.HCL(head)
	out, diags := lang.Format("main"+lang.Extension, []byte(raw))
	if diags.HasErrors() {
		return nil, fmt.Errorf("the workflow that was to be written is not well formed: %v", diags[0].Summary)
	}
	return out, nil
}

// create writes a file that is not there yet.
func create(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

func count(n int, words [2]string) string {
	return fmt.Sprintf("%d %s", n, plural(n, words[0], words[1]))
}
