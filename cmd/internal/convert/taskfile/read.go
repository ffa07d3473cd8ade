package taskfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file is a Taskfile.
type file struct {
	Version    string
	Vars, Env  variables
	Dotenv     []string
	Includes   yaml.Node
	Tasks      yaml.Node
	Set, Shopt []string
	Method     string
	namespace  string // of its tasks, "docs:"
	dir        string // from the workspace
	given      bool   // its include gives variables
}

// variables keep their order.
type variables []variable

type variable struct {
	name string
	sh   string
	list []string // of a list; nil if it is none
	text string
	odd  bool // a map or a reference
}

// UnmarshalYAML is how yaml reads them.
func (v *variables) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: variables are a mapping", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		x := variable{name: n.Content[i].Value}
		value := n.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch value.Kind {
		case yaml.ScalarNode:
			if x.text = value.Value; value.Tag == "!!null" {
				x.text = ""
			}
		case yaml.SequenceNode:
			x.list = []string{}
			for _, e := range value.Content {
				x.odd = x.odd || e.Kind != yaml.ScalarNode
				x.list = append(x.list, e.Value)
			}
		default:
			m := map[string]yaml.Node{}
			if err := value.Decode(&m); err != nil {
				return err
			}
			sh, ok := m["sh"]
			x.sh, x.odd = sh.Value, !ok || len(m) > 1
		}
		*v = append(*v, x)
	}
	return nil
}

// task is a task of a Taskfile.
type task struct {
	file *file
	name string // with its namespace
	task string // of the workflow

	Cmds          []command
	Cmd           *command
	Deps          []command
	Desc, Summary string
	Prompt        any
	Aliases       []string
	Sources       []glob
	Generates     []glob
	Status        []string
	Preconditions []precondition
	Dir           string
	Set, Shopt    []string
	Vars, Env     variables
	Dotenv        []string
	Method, Run   string
	Platforms     []string
	IgnoreError   bool `yaml:"ignore_error"`
	Requires      struct{ Vars []requirement }

	odd []string // keys that are not understood
}

// known are the keys that are translated, or say nothing about what is run.
var known = []string{
	"cmds", "cmd", "deps", "desc", "summary", "prompt", "aliases", "sources", "generates", "status", "preconditions", "dir", "set", "shopt", "vars", "env",
	"dotenv", "method", "run", "platforms", "ignore_error", "requires", "label", "silent", "internal", "interactive", "watch", "prefix", "failfast",
}

// UnmarshalYAML is how yaml reads it.
func (t *task) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		t.Cmds = []command{{Cmd: n.Value}}
		if n.Tag == "!!null" {
			t.Cmds = nil
		}
		return nil
	case yaml.SequenceNode:
		return n.Decode(&t.Cmds)
	}
	type plain task
	if err := n.Decode((*plain)(t)); err != nil {
		return err
	}
	t.odd = unknown(n, known)
	for i, d := range t.Deps {
		if d.Task == "" {
			t.Deps[i].Task, t.Deps[i].Cmd = d.Cmd, ""
		}
	}
	if t.Cmd != nil {
		t.Cmds = append([]command{*t.Cmd}, t.Cmds...)
	}
	return nil
}

func unknown(n *yaml.Node, known []string) (out []string) {
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i].Value; !slices.Contains(known, key) && key != "<<" {
			out = append(out, key)
		}
	}
	return out
}

// command is an element of cmds or deps.
type command struct {
	Cmd, Task   string
	Vars        variables
	For         yaml.Node
	Defer       yaml.Node
	IgnoreError bool `yaml:"ignore_error"`
	Platforms   []string

	odd []string
}

// UnmarshalYAML is how yaml reads it.
func (c *command) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		c.Cmd = n.Value
		return nil
	}
	type plain command
	c.odd = unknown(n, []string{"cmd", "task", "vars", "for", "defer", "ignore_error", "platforms", "silent"})
	return n.Decode((*plain)(c))
}

// glob is an element of sources or generates.
type glob struct{ Pattern, Exclude string }

// UnmarshalYAML is how yaml reads it.
func (g *glob) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		g.Pattern = n.Value
		return nil
	}
	type plain glob
	return n.Decode((*plain)(g))
}

type precondition struct{ Sh, Msg string }

// UnmarshalYAML is how yaml reads it.
func (p *precondition) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		p.Sh = n.Value
		return nil
	}
	type plain precondition
	return n.Decode((*plain)(p))
}

// requirement is a variable that a task needs; which values it may have is not looked at.
type requirement struct{ Name string }

// UnmarshalYAML is how yaml reads it.
func (r *requirement) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		r.Name = n.Value
		return nil
	}
	type plain requirement
	return n.Decode((*plain)(r))
}

// reader reads a Taskfile and what it includes.
type reader struct {
	fsys  fs.FS
	files []*file
	tasks []*task
	notes []string
}

func (r *reader) read(name, namespace, dir string, given bool) error {
	if len(r.files) > 100 {
		return errors.New("the includes do not end")
	}
	b, err := fs.ReadFile(r.fsys, name)
	if err != nil {
		return err
	}
	f := &file{namespace: namespace, dir: dir, given: given}
	if err := yaml.Unmarshal(b, f); err != nil {
		return fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if v, _, _ := strings.Cut(strings.TrimPrefix(f.Version, "v"), "."); v != "3" {
		return fmt.Errorf("%s: version %q: version 3 is what can be translated", name, f.Version)
	}
	r.files = append(r.files, f)
	for i := 0; i+1 < len(f.Tasks.Content); i += 2 {
		t := &task{file: f, name: namespace + f.Tasks.Content[i].Value}
		if err := f.Tasks.Content[i+1].Decode(t); err != nil {
			return fmt.Errorf("%s: task %s: %s", name, t.name, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		t.file, t.name = f, namespace+f.Tasks.Content[i].Value
		r.tasks = append(r.tasks, t)
	}
	for i := 0; i+1 < len(f.Includes.Content); i += 2 {
		if err := r.include(name, f, f.Includes.Content[i].Value, f.Includes.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) include(name string, f *file, space string, n *yaml.Node) error {
	var in struct {
		Taskfile, Dir     string
		Optional, Flatten bool
		Vars              yaml.Node
	}
	var err error
	if n.Kind == yaml.ScalarNode {
		in.Taskfile = n.Value
	} else if err = n.Decode(&in); err != nil {
		return fmt.Errorf("%s: include %s: %w", name, space, err)
	}
	at := path.Join(path.Dir(name), in.Taskfile)
	if strings.Contains(in.Taskfile+in.Dir, "{{") || strings.Contains(in.Taskfile, "://") || in.Flatten || !fs.ValidPath(at) {
		r.notes = append(r.notes, fmt.Sprintf("the include %s of %s; its tasks run by `task %[1]s:TASK`.", space, in.Taskfile))
		return nil
	}
	candidates := []string{at}
	if info, err := fs.Stat(r.fsys, at); err == nil && info.IsDir() {
		candidates = nil
		for _, f := range Files {
			candidates = append(candidates, path.Join(at, f))
		}
	}
	for _, c := range candidates {
		if _, err = fs.Stat(r.fsys, c); err != nil {
			continue
		}
		return r.read(c, f.namespace+space+":", path.Join(f.dir, in.Dir), len(in.Vars.Content) > 0)
	}
	if in.Optional {
		return nil
	}
	return fmt.Errorf("%s includes %s, which is not there", name, in.Taskfile)
}
