// Package make wraps the targets of a Makefile: make keeps its own graph, so each is `make TARGET`.
package make

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
)

// Files are the names under which make looks for its file.
var Files = []string{"GNUmakefile", "makefile", "Makefile"}

var (
	rule     = convert.Lazily(`^([A-Za-z0-9][A-Za-z0-9_./ -]*?)\s*::?(?:[^=].*|)$`)
	document = convert.Lazily(`[^#]##\s*(.+)$`)
	above    = convert.Lazily(`^##\s*(.+)$`)
)

// Read adds the targets of the Makefile called name to w, and returns how many there are. Of its targets those with a dot or a
// slash are files that others need, so they are left out, as are patterns.
func Read(w *convert.Workflow, fsys fs.FS, name string) (int, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return 0, err
	}
	argv := []string{"make"}
	if !slices.Contains(Files, name) {
		argv = append(argv, "-f", name)
	}
	var seen []string
	doc, define := "", false
	text := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\\\n", " ")
	for line := range strings.SplitSeq(text, "\n") {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word == "define" || word == "endef" {
			define = word == "define"
		}
		m := rule().FindStringSubmatch(line)
		if define || m == nil {
			doc = ""
			if d := above().FindStringSubmatch(line); d != nil {
				doc = d[1]
			}
			continue
		}
		if d := document().FindStringSubmatch(line); d != nil {
			doc = d[1]
		}
		for target := range strings.FieldsSeq(m[1]) {
			if strings.ContainsAny(target, "./") || slices.Contains(seen, target) {
				continue
			}
			seen = append(seen, target)
			var exec []string
			for _, a := range append(argv[:len(argv):len(argv)], target) {
				exec = append(exec, fmt.Sprintf("%q", a))
			}
			t := &convert.Task{Name: w.Name(target), Description: doc}
			if doc == "" {
				t.Description = "make " + target
			}
			t.Stages = []convert.Stage{{Command: &convert.Command{Exec: "[" + strings.Join(exec, ", ") + "]"}}}
			w.Add(t)
			if w.Default == "" {
				w.Default = t.Name
			}
		}
		doc = ""
	}
	return len(seen), nil
}
