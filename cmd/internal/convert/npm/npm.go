// Package npm wraps the scripts of a package.json: the package manager runs them, with its hooks and its environment.
package npm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
)

// Files are the names of such files.
var Files = []string{"package.json"}

// manager is a package manager.
type manager struct {
	lock    string // the file by which it is known
	run     []string
	install string // what it installs from the lock file
}

// managers, the last one where no lock file is.
var managers = []manager{
	{"package-lock.json", []string{"npm", "run", "--silent"}, "npm ci"},
	{"npm-shrinkwrap.json", []string{"npm", "run", "--silent"}, "npm ci"},
	{"pnpm-lock.yaml", []string{"pnpm", "run"}, "pnpm install --frozen-lockfile"},
	{"yarn.lock", []string{"yarn", "run"}, "yarn install --frozen-lockfile"},
	{"bun.lock", []string{"bun", "run"}, "bun install --frozen-lockfile"},
	{"bun.lockb", []string{"bun", "run"}, "bun install --frozen-lockfile"},
	{"", []string{"npm", "run", "--silent"}, "npm install"},
}

// member is a member of a JSON object.
type member struct{ name, value string }

// object is a JSON object of strings, in its order.
type object []member

// UnmarshalJSON is how encoding/json reads it.
func (o *object) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(err, errors.New("scripts are not an object"))
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value string
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("the script %v is not a string", name)
		}
		*o = append(*o, member{name.(string), value})
	}
	return nil
}

func (o object) has(name string) bool {
	for _, m := range o {
		if m.name == name {
			return true
		}
	}
	return false
}

// Read adds the scripts of the package.json called name to w, and returns how many there are.
func Read(w *convert.Workflow, fsys fs.FS, name string) (int, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return 0, err
	}
	var pkg struct {
		Scripts                                             object
		Dependencies, DevDependencies, OptionalDependencies map[string]any
		Workspaces                                          any
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(string(b), "\ufeff")), &pkg); err != nil {
		return 0, fmt.Errorf("it is not the JSON of a package: %s", err)
	}
	use := managers[len(managers)-1]
	for _, m := range managers {
		if _, err := fs.Stat(fsys, path.Join(path.Dir(name), m.lock)); err == nil && m.lock != "" {
			use = m
			break
		}
	}
	var needs []string
	if pkg.Workspaces != nil || len(pkg.Dependencies)+len(pkg.DevDependencies)+len(pkg.OptionalDependencies) > 0 {
		install := &convert.Script{}
		install.Add(convert.Lit(use.install), false)
		c := &convert.Command{Script: install}
		if use.lock != "" && pkg.Workspaces == nil {
			c.Inputs = fmt.Sprintf("[%q, %q]", "package.json", use.lock)
			c.Outputs = `["node_modules/"]`
		}
		needs = []string{w.Name("install")}
		w.Add(&convert.Task{Name: needs[0], Description: "Install what package.json depends on", Stages: []convert.Stage{{Command: c}}})
	}
	tasks := map[string]string{}
	var scripts object
	for _, s := range pkg.Scripts {
		if !hook(pkg.Scripts, s.name) {
			tasks[s.name] = w.Name(s.name)
			scripts = append(scripts, s)
		}
	}
	for _, s := range scripts {
		t := &convert.Task{Name: tasks[s.name], Description: shorten(s.value), Needs: needs}
		if chain := calls(s.value, tasks); len(chain) > 0 && !pkg.Scripts.has("pre"+s.name) && !pkg.Scripts.has("post"+s.name) {
			for _, c := range chain {
				t.Stages = append(t.Stages, convert.Stage{Calls: []convert.Call{{Task: c}}})
			}
			t.Needs = nil
		} else {
			var argv []string
			for _, a := range append(use.run[:len(use.run):len(use.run)], s.name) {
				argv = append(argv, convert.Lit(a).Expr())
			}
			t.Stages = []convert.Stage{{Command: &convert.Command{Exec: "[" + strings.Join(argv, ", ") + "]"}}}
		}
		w.Add(t)
		if w.Default == "" && s.name == "build" {
			w.Default = t.Name
		}
	}
	if w.Default == "" && len(scripts) > 0 {
		w.Default = tasks[scripts[0].name]
	}
	return len(pkg.Scripts), nil
}

// hook reports whether the package manager runs a script by itself, around another one or as it installs and publishes.
func hook(scripts object, name string) bool {
	for _, prefix := range []string{"pre", "post"} {
		if of, ok := strings.CutPrefix(name, prefix); ok && (scripts.has(of) || of == "install" || of == "pack" || of == "publish" || of == "version") {
			return true
		}
	}
	return name == "prepare" || name == "install"
}

var called = convert.Lazily(`^(?:npm run|npm run-script|pnpm run|pnpm|yarn run|yarn|bun run) (?:--silent |-s )?([A-Za-z0-9:_.-]+)$`)

// calls are the tasks that a script runs one after the other, nil if it does anything else.
func calls(script string, tasks map[string]string) (out []string) {
	for part := range strings.SplitSeq(script, "&&") {
		m := called().FindStringSubmatch(strings.TrimSpace(part))
		if m == nil || tasks[m[1]] == "" {
			return nil
		}
		out = append(out, tasks[m[1]])
	}
	return out
}

// shorten is a script as a description.
func shorten(script string) string {
	if runes := []rune(script); len(runes) > 72 {
		return string(runes[:71]) + "…"
	}
	return script
}
