// Package just translates justfiles. Start reading at [Read].
package just

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
)

// Files are the names under which just looks for its file.
var Files = []string{"justfile", "Justfile", ".justfile", "JUSTFILE"}

// Read adds the recipes of the justfile called name to w, and returns how many there are.
func Read(w *convert.Workflow, fsys fs.FS, name string) (int, error) {
	f := &file{settings: map[string]expr{}}
	deep := 0
	err := read(path.Base(name), func(file string) (string, error) {
		if deep++; deep > 100 {
			return "", errors.New("the imports do not end")
		}
		b, err := fs.ReadFile(fsys, path.Join(path.Dir(name), file))
		if err == nil && !utf8.Valid(b) {
			err = fmt.Errorf("%s is not UTF-8 text", file)
		}
		return string(b), err
	}, f)
	if err != nil {
		return 0, err
	}
	t := &translator{w: w, f: f, names: map[string]string{}, recipes: map[string]*recipe{}, vars: map[string]*variable{}, commands: map[string]string{}}
	for _, n := range f.notes {
		w.Note("%s", n)
	}
	t.all()
	return len(t.recipes), nil
}

// translator is one justfile becoming a part of a workflow.
type translator struct {
	w       *convert.Workflow
	f       *file
	names   map[string]string // of recipes → of tasks
	recipes map[string]*recipe
	vars    map[string]*variable

	commands map[string]string // by the variable of the shell that holds their output
}

// variable is an assignment with what it became.
type variable struct {
	*assignment
	state int // 0 not translated yet, 1 being translated, 2 done
	text  convert.Text
	err   error
}

func (t *translator) setting(name string) string {
	s := t.f.settings[name]
	if s.kind == "text" {
		return s.text
	}
	return ""
}

func (t *translator) on(name string) bool { return t.setting(name) == "true" }

func (t *translator) all() {
	for _, a := range t.f.vars {
		t.vars[a.name] = &variable{assignment: a}
	}
	for _, a := range t.f.vars {
		t.variable(a.name)
	}
	var order []*recipe
	for _, r := range t.f.recipes {
		if here(r) {
			if old := t.recipes[r.name]; old != nil {
				order = slices.DeleteFunc(order, func(o *recipe) bool { return o == old })
			}
			t.recipes[r.name] = r
			order = append(order, r)
		}
	}
	for _, r := range order {
		t.names[r.name] = t.w.Name(r.name)
	}
	for _, r := range order {
		t.recipe(r)
	}
	for _, a := range t.f.aliases {
		if r := t.recipes[a[1]]; r != nil {
			task := &convert.Task{Name: t.w.Name(a[0]), Description: "The same as " + t.names[r.name], Once: true}
			call := convert.Call{Task: t.names[r.name]}
			task.Params, call.With = t.params(r)
			task.Stages = []convert.Stage{{Calls: []convert.Call{call}}}
			t.w.Add(task)
		}
	}
	if len(order) > 0 && t.w.Default == "" {
		first := order[0]
		if !lists(first) && !slices.ContainsFunc(first.params, func(p parameter) bool { return p.value == nil && p.variadic != '*' }) {
			t.w.Default = t.names[first.name]
		}
	}
}

// here reports whether a recipe is for Linux.
func here(r *recipe) bool {
	elsewhere := false
	for _, os := range []string{"linux", "unix"} {
		if _, ok := r.attributes[os]; ok {
			return true
		}
	}
	for _, os := range []string{"macos", "windows", "openbsd", "freebsd", "netbsd", "dragonfly", "android"} {
		_, ok := r.attributes[os]
		elsewhere = elsewhere || ok
	}
	return !elsewhere
}

var listing = convert.Lazily(`^[@-]*(just|\{\{\s*just_executable\(\)\s*\}\})\s+(.*\s)?(--list|-l|--choose|--summary|--help)\b`)

// lists reports whether all that a recipe does is to list recipes.
func lists(r *recipe) bool {
	return len(r.body) > 0 && !slices.ContainsFunc(r.body, func(l string) bool { return !listing().MatchString(l) })
}

// params are the parameters of a recipe and the arguments that hand them on.
func (t *translator) params(r *recipe) (params []convert.Param, with []convert.Arg) {
	for _, p := range r.params {
		name := p.param
		param := convert.Param{Name: name}
		if p.variadic != 0 {
			param.Description = "one or more, separated by blanks"
			if p.variadic == '*' {
				param.Description = "any number, separated by blanks"
				param.Default = &convert.Text{}
			}
		}
		if p.value != nil {
			if text, err := t.text(*p.value, r, nil); err == nil {
				param.Default = &text
			}
		}
		params = append(params, param)
		with = append(with, convert.Arg{Name: name, Value: convert.Code("param." + name)})
	}
	return params, with
}

// recipe adds the task of a recipe.
func (t *translator) recipe(r *recipe) {
	task := &convert.Task{Name: t.names[r.name], Description: r.doc, Once: true}
	task.Params, _ = t.params(r)
	stages, err := t.stages(r)
	if err != nil {
		task.Comments = append(task.Comments, convert.NotTranslated+err.Error()+". just runs it.")
		stages = []convert.Stage{{Command: t.wrapped(r)}}
	}
	if lists(r) {
		task.Comments = append(task.Comments, "In place of this: jitos list")
	}
	if _, ok := r.attributes["confirm"]; ok {
		task.Comments = append(task.Comments, convert.NotTranslated+"just asks before it runs this.")
	}
	if _, ok := r.attributes["no-cd"]; ok {
		task.Comments = append(task.Comments, convert.NotTranslated+"no-cd. It runs in the workspace, wherever jitos is called.")
	}
	task.Stages = stages
	t.w.Add(task)
}

// wrapped has just run a recipe.
func (t *translator) wrapped(r *recipe) *convert.Command {
	argv, rest := fmt.Sprintf("[%q, %q", "just", r.name), ""
	for _, p := range r.params {
		name := "param." + p.param
		if p.variadic != 0 {
			rest = fmt.Sprintf("compact(split(\" \", %s))", name)
		} else {
			argv += ", " + name
		}
	}
	if argv += "]"; rest != "" {
		argv = fmt.Sprintf("concat(%s, %s)", argv, rest)
	}
	return &convert.Command{Exec: argv}
}

// known are the attributes that are translated, or say nothing about what is run.
var known = []string{
	"private", "group", "doc", "no-exit-message", "exit-message", "no-quiet", "default", "metadata", "confirm", "no-cd", "linux", "unix", "macos", "windows",
	"openbsd", "freebsd", "netbsd", "dragonfly", "android", "working-directory", "script", "parallel",
}

func (t *translator) stages(r *recipe) (stages []convert.Stage, err error) {
	for name := range t.f.settings {
		if slices.Contains([]string{"positional-arguments", "working-directory", "no-cd"}, name) && t.setting(name) != "false" {
			return nil, fmt.Errorf("set %s", name)
		}
	}
	for name := range r.attributes {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("[%s]", name)
		}
	}
	for _, p := range r.params {
		if p.value != nil {
			if _, err := t.text(*p.value, r, nil); err != nil {
				return nil, err
			}
		}
	}
	if t.reaches(r, r, map[*recipe]bool{}) {
		return nil, errors.New("it comes back to itself")
	}
	before, err := t.calls(r, r.before)
	if err != nil {
		return nil, err
	}
	if _, ok := r.attributes["parallel"]; ok && len(before) > 0 {
		stages = append(stages, convert.Stage{Calls: before})
	} else {
		for _, c := range before {
			stages = append(stages, convert.Stage{Calls: []convert.Call{c}})
		}
	}
	body, err := t.body(r)
	if err != nil {
		return nil, err
	}
	stages = append(stages, body...)
	after, err := t.calls(r, r.after)
	for _, c := range after {
		stages = append(stages, convert.Stage{Calls: []convert.Call{c}})
	}
	return stages, err
}

// reaches reports whether r depends on a recipe, or runs it.
func (t *translator) reaches(r, to *recipe, seen map[*recipe]bool) bool {
	var names []string
	for _, d := range slices.Concat(r.before, r.after) {
		names = append(names, d.name)
	}
	for _, l := range r.body {
		if name, ok := strings.CutPrefix(strings.TrimLeft(l, "@- \t"), "just "); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	for _, name := range names {
		if called := t.recipes[t.target(name)]; called != nil && !seen[called] {
			seen[called] = true
			if called == to || t.reaches(called, to, seen) {
				return true
			}
		}
	}
	return false
}

// target is the recipe that a name or an alias means.
func (t *translator) target(name string) string {
	for _, a := range t.f.aliases {
		if name == a[0] {
			return a[1]
		}
	}
	return name
}

// calls are the dependencies of a recipe.
func (t *translator) calls(r *recipe, list []dependency) (out []convert.Call, err error) {
	for _, d := range list {
		d.name = t.target(d.name)
		called := t.recipes[d.name]
		if called == nil {
			return nil, fmt.Errorf("it depends on %s, which is not in this file", d.name)
		}
		call := convert.Call{Task: t.names[d.name]}
		for i, p := range called.params {
			if i >= len(d.args) {
				break
			}
			var texts []convert.Text
			for _, a := range d.args[i:] {
				text, err := t.text(a, r, nil)
				if err != nil {
					return nil, err
				}
				if texts = append(texts, text); p.variadic == 0 {
					break
				}
			}
			call.With = append(call.With, convert.Arg{Name: p.param, Value: convert.Join(texts, " ")})
		}
		out = append(out, call)
	}
	return out, nil
}

// scripting are interpreters that take a script as an argument.
var scripting = map[string]string{
	"sh": "-c", "bash": "-c", "dash": "-c", "ksh": "-c", "zsh": "-c", "python": "-c", "python3": "-c",
	"node": "-e", "ruby": "-e", "perl": "-e",
}

// body are the stages of the lines of a recipe.
func (t *translator) body(r *recipe) ([]convert.Stage, error) {
	if len(r.body) == 0 {
		return nil, nil
	}
	if shebang, ok := strings.CutPrefix(r.body[0], "#!"); ok {
		words := strings.Fields(shebang)
		if len(words) > 1 && path.Base(words[0]) == "env" {
			words = slices.DeleteFunc(words[1:], func(w string) bool { return w == "-S" })
		}
		if len(words) == 0 {
			return nil, errors.New("its first line names no interpreter")
		}
		words[0] = path.Base(words[0])
		return t.script(r, words, r.body[1:])
	}
	if args, ok := r.attributes["script"]; ok {
		if len(args) == 0 {
			args = []string{"sh", "-eu"}
		}
		return t.script(r, args, r.body)
	}
	var stages []convert.Stage
	s, err := t.newScript(r)
	if err != nil {
		return nil, err
	}
	flush := func() error {
		if s.Empty() {
			return nil
		}
		c, err := t.command(r, s)
		if err == nil {
			stages = append(stages, convert.Stage{Command: c})
			s, err = t.newScript(r)
		}
		return err
	}
	for _, line := range r.joined() {
		text := strings.TrimLeft(line, "@- \t")
		ignore := strings.Contains(line[:len(line)-len(text)], "-")
		if strings.HasPrefix(text, "#") && t.on("ignore-comments") {
			continue
		}
		if name, ok := strings.CutPrefix(text, "just "); ok && !ignore && t.recipes[t.target(strings.TrimSpace(name))] != nil {
			if err := flush(); err != nil {
				return nil, err
			}
			stages = append(stages, convert.Stage{Calls: []convert.Call{{Task: t.names[t.target(strings.TrimSpace(name))], Again: true}}})
			continue
		}
		got, err := t.interpolate(text, r, s)
		if err != nil {
			return nil, err
		}
		s.Add(got, ignore)
	}
	return stages, flush()
}

// newScript is an empty script for lines of a recipe.
func (t *translator) newScript(r *recipe) (*convert.Script, error) {
	s := &convert.Script{Loose: true}
	if shell := t.f.settings["shell"]; shell.kind == "list" {
		var words []string
		for _, a := range shell.args {
			words = append(words, a.text)
		}
		has := func(flag string) bool {
			return slices.ContainsFunc(words, func(w string) bool {
				return strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") && strings.Contains(w, flag)
			})
		}
		if !has("c") || scripting[words[0]] != "-c" || strings.HasPrefix(words[0], "python") {
			return nil, fmt.Errorf("set shell := %q", words)
		}
		s.Loose = !has("e")
		if s.Shell = words; s.Loose {
			s.Shell = slices.Insert(words, 1, "-e")
		}
	}
	return s, t.prepare(r, s)
}

// prepare sets in a script what just has in the environment.
func (t *translator) prepare(r *recipe, s *convert.Script) error {
	if t.on("dotenv-load") || t.setting("dotenv-filename") != "" || t.setting("dotenv-path") != "" {
		name := ".env"
		for _, k := range []string{"dotenv-filename", "dotenv-path"} {
			if v := t.setting(k); v != "" {
				name = v
			}
		}
		s.First(convert.Lit(fmt.Sprintf("set -a; [ ! -f %s ] || . ./%[1]s; set +a", path.Clean(name))))
	}
	for _, a := range t.f.vars {
		if !a.export && !t.on("export") {
			continue
		}
		v := t.vars[a.name]
		if v.err != nil {
			return v.err
		}
		if !v.text.Known() {
			t.define(v.text, s)
			s.First(append(append(convert.Lit("export "+a.name+"=\""), convert.Quote(v.text)...), convert.Piece{Lit: `"`}))
		}
	}
	return nil
}

// command is a script with the environment and directory of its recipe.
func (t *translator) command(r *recipe, s *convert.Script) (*convert.Command, error) {
	c := &convert.Command{Script: s}
	for _, a := range t.f.vars {
		if v := t.vars[a.name]; (a.export || t.on("export")) && v.text.Known() {
			c.Env = append(c.Env, convert.Arg{Name: a.name, Value: v.text})
		}
	}
	for _, p := range r.params {
		if p.export || t.on("export") {
			c.Env = append(c.Env, convert.Arg{Name: p.name, Value: convert.Code("param." + p.param)})
		}
	}
	if d := r.attributes["working-directory"]; len(d) > 0 {
		c.Dir = convert.Lit(path.Clean(d[0]))
	}
	return c, nil
}

// script is a recipe that is one script for an interpreter.
func (t *translator) script(r *recipe, interpreter, lines []string) ([]convert.Stage, error) {
	flag := scripting[interpreter[0]]
	if flag == "" {
		return nil, fmt.Errorf("the interpreter %s", interpreter[0])
	}
	s := &convert.Script{Shell: append(slices.Clone(interpreter), flag)}
	if slices.Equal(interpreter, []string{"sh", "-eu"}) {
		s.Shell = nil
	}
	if flag != "-c" || strings.HasPrefix(interpreter[0], "python") {
		if t.on("dotenv-load") {
			return nil, errors.New("variables from .env in a script that no shell runs")
		}
	} else if err := t.prepare(r, s); err != nil {
		return nil, err
	}
	text, err := t.interpolate(strings.Join(lines, "\n"), r, s)
	if err != nil {
		return nil, err
	}
	if flag != "-c" || strings.HasPrefix(interpreter[0], "python") {
		if !text.Known() {
			return nil, errors.New("the output of a command in a script that no shell runs")
		}
	}
	s.Whole(convert.Quote(text))
	c, err := t.command(r, s)
	return []convert.Stage{{Command: c}}, err
}

// interpolate is a text of a body; commands that it asks for are set in s.
func (t *translator) interpolate(line string, r *recipe, s *convert.Script) (convert.Text, error) {
	var out convert.Text
	for {
		lit, rest, found := strings.Cut(line, "{{")
		out = append(out, convert.Piece{Lit: lit})
		if !found {
			return out, nil
		}
		if after, ok := strings.CutPrefix(rest, "{{"); ok {
			out = append(out, convert.Piece{Lit: "{{"})
			line = after
			continue
		}
		e, after, err := inside(rest)
		if err != nil {
			return nil, err
		}
		text, err := t.text(e, r, s)
		if err != nil {
			return nil, err
		}
		out, line = append(out, text...), after
	}
}

// inside is the expression up to }} and what follows.
func inside(text string) (e expr, rest string, err error) {
	r := &reader{name: "{{…}}", src: text, out: &file{}}
	defer func() {
		if p := recover(); p != nil {
			s, ok := p.(syntaxError)
			if !ok {
				panic(p)
			}
			err = s.error
		}
	}()
	r.blanks(true)
	e = r.expression()
	r.blanks(true)
	r.expect("}}")
	return e, r.src[r.at:], nil
}
