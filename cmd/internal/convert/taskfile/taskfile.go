// Package taskfile translates the Taskfiles of Task (version 3). Start reading at [Read].
package taskfile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
)

// Files are the names under which Task looks for its file.
var Files = []string{"Taskfile.yml", "taskfile.yml", "Taskfile.yaml", "taskfile.yaml", "Taskfile.dist.yml", "taskfile.dist.yml", "Taskfile.dist.yaml", "taskfile.dist.yaml"}

// Read adds the tasks of the Taskfile called name, and of those that it includes, to w, and returns how many there are.
func Read(w *convert.Workflow, fsys fs.FS, name string) (int, error) {
	r := &reader{fsys: fsys}
	if err := r.read(name, "", ".", false); err != nil {
		return 0, err
	}
	for _, n := range r.notes {
		w.Note("%s", n)
	}
	t := &translator{w: w, reader: r, params: map[*task]map[string]string{}, globals: map[*file]map[string]convert.Text{}, rest: map[*task]bool{}}
	t.all()
	return len(r.tasks), nil
}

// translator is a Taskfile becoming a part of a workflow.
type translator struct {
	*reader
	w       *convert.Workflow
	params  map[*task]map[string]string // the variables that callers give → parameters
	globals map[*file]map[string]convert.Text
	rest    map[*task]bool // tasks that ask for CLI_ARGS
}

func (t *translator) all() {
	var tasks []*task
	for _, x := range t.tasks {
		switch {
		case strings.Contains(x.name, "*"):
			t.w.Note("the task %s, whose name is a pattern: `task` runs it.", x.name)
		case here(x.Platforms):
			x.task = t.w.Name(x.name)
			tasks = append(tasks, x)
		}
	}
	t.findParams()
	t.nameParams()
	for _, f := range t.files {
		t.globals[f] = map[string]convert.Text{}
		s := t.scope(&task{file: f}, nil)
		for i := range f.Vars {
			v := &f.Vars[i]
			if text, err := s.variable(v, "."); err == nil {
				input := t.w.Input(f.namespace + v.name)
				if c, ok := text.Constant(); ok {
					t.w.Variable(input, c)
					t.globals[f][v.name] = convert.Code("var." + input)
				} else {
					t.w.Local(input, text)
					t.globals[f][v.name] = convert.Code("local." + input)
				}
			}
		}
	}
	for _, x := range tasks {
		t.task(x)
	}
	for _, x := range tasks {
		if x.name == "default" && t.w.Default == "" && !lists(x) {
			t.w.Default = x.task
		}
		aliases := slices.Clone(x.Aliases)
		if space, ok := strings.CutSuffix(x.name, ":default"); ok {
			aliases = append(aliases, strings.TrimPrefix(space+":", x.file.namespace))
		}
		for _, a := range aliases {
			call := convert.Call{Task: x.task}
			alias := &convert.Task{Name: t.w.Name(x.file.namespace + a), Description: "The same as " + x.task}
			if params, err := t.parameters(x); err == nil {
				alias.Params = params
				for _, p := range params {
					call.With = append(call.With, convert.Arg{Name: p.Name, Value: convert.Code("param." + p.Name)})
				}
			}
			alias.Stages = []convert.Stage{{Calls: []convert.Call{call}}}
			t.w.Add(alias)
		}
	}
}

// here reports whether a list of platforms has Linux.
func here(platforms []string) bool {
	return len(platforms) == 0 || slices.ContainsFunc(platforms, func(p string) bool { return p == "linux" || strings.HasPrefix(p, "linux/") })
}

var listing = convert.Lazily(`^\s*task\s+(-l|-a|--list|--list-all)\b`)

// lists reports whether all that a task does is to list tasks.
func lists(x *task) bool {
	return len(x.Cmds) > 0 && !slices.ContainsFunc(x.Cmds, func(c command) bool { return !listing().MatchString(c.Cmd) })
}

// find is the task that a name in x means.
func (t *translator) find(x *task, name string) *task {
	if root, ok := strings.CutPrefix(name, ":"); ok {
		name = root
	} else {
		name = x.file.namespace + name
	}
	for _, want := range []string{name, name + ":default"} {
		for _, y := range t.tasks {
			if y.task != "" && (y.name == want || slices.ContainsFunc(y.Aliases, func(a string) bool { return y.file.namespace+a == want })) {
				return y
			}
		}
	}
	return nil
}

// findParams finds the variables that each task is given by callers, or asks for.
func (t *translator) findParams() {
	give := func(x *task, name string) {
		if t.params[x] == nil {
			t.params[x] = map[string]string{}
		}
		t.params[x][name] = ""
	}
	for _, x := range t.tasks {
		for _, v := range x.Requires.Vars {
			if find(x.Vars, v.Name) == nil && find(x.file.Vars, v.Name) == nil {
				give(x, v.Name)
			}
		}
		for _, v := range x.Vars {
			if own(v) {
				give(x, v.name)
			}
		}
		for _, c := range append(slices.Clone(x.Deps), x.Cmds...) {
			if y := t.find(x, c.Task); y != nil {
				for _, v := range c.Vars {
					if mine := find(y.Vars, v.name); mine == nil || own(*mine) {
						give(y, v.name)
					}
				}
			}
		}
	}
}

// nameParams names the parameters of all tasks.
func (t *translator) nameParams() {
	for _, x := range t.tasks {
		given := t.given(x)
		for i, name := range convert.Params(append([]string{cliArgs}, given...))[1:] {
			t.params[x][given[i]] = name
		}
	}
}

// cliArgs is the parameter for what Task is given after --.
const cliArgs = "cli_args"

var itself = convert.Lazily(`\.(\w+)`)

// given are the variables that callers of a task give, sorted.
func (t *translator) given(x *task) []string { return slices.Sorted(maps.Keys(t.params[x])) }

// own reports whether a variable of a task is what the caller gives, with a default.
func own(v variable) bool {
	return strings.Contains(v.text, "default") && slices.ContainsFunc(itself().FindAllStringSubmatch(v.text, -1), func(m []string) bool { return m[1] == v.name })
}

func (t *translator) scope(x *task, script *convert.Script) *scope {
	return &scope{translator: t, task: x, script: script, items: map[string]convert.Text{}, uses: &strings.Builder{}, commands: map[string]string{}}
}

// parameters are the parameters of a task.
func (t *translator) parameters(x *task) (out []convert.Param, err error) {
	for _, name := range t.given(x) {
		p := convert.Param{Name: t.params[x][name]}
		required := slices.ContainsFunc(x.Requires.Vars, func(r requirement) bool { return r.Name == name })
		s := t.scope(x, nil)
		text := convert.Text{} // what it is without a caller
		if find(x.file.Vars, name) != nil || find(t.files[0].Vars, name) != nil {
			text, err = s.global(name)
		}
		if v := find(x.Vars, name); v != nil && err == nil {
			s.items[name] = text
			text, err = s.text(v.text)
		}
		if err != nil {
			return nil, err
		}
		if !required {
			p.Default = &text
		}
		out = append(out, p)
	}
	if t.rest[x] {
		out = append(out, convert.Param{Name: cliArgs, Default: &convert.Text{}, Description: "What Task is given after --"})
	}
	return out, nil
}

// task adds a task to the workflow.
func (t *translator) task(x *task) {
	out := &convert.Task{Name: x.task, Description: firstLine(x.Desc, x.Summary)}
	stages, err := t.stages(x)
	if err == nil {
		out.Params, err = t.parameters(x)
	}
	if err != nil {
		out.Comments = append(out.Comments, convert.NotTranslated+err.Error()+". task runs it.")
		out.Params, stages = t.wrapped(x)
	}
	if lists(x) {
		out.Comments = append(out.Comments, "In place of this: jitos list")
	}
	if x.Prompt != nil {
		out.Comments = append(out.Comments, convert.NotTranslated+"task asks before it runs this.")
	}
	out.Stages = stages
	t.w.Add(out)
}

func firstLine(texts ...string) string {
	for _, t := range texts {
		if line, _, _ := strings.Cut(strings.TrimSpace(t), "\n"); line != "" {
			return line
		}
	}
	return ""
}

// wrapped has task run a task.
func (t *translator) wrapped(x *task) (params []convert.Param, stages []convert.Stage) {
	argv := []string{`"task"`}
	if x.Prompt != nil {
		argv = append(argv, `"--yes"`)
	}
	argv = append(argv, convert.Lit(x.name).Expr())
	for _, name := range t.given(x) {
		p := t.params[x][name]
		params = append(params, convert.Param{Name: p})
		argv = append(argv, fmt.Sprintf(`"%s=${param.%s}"`, name, p))
	}
	exec := "[" + strings.Join(argv, ", ") + "]"
	if t.rest[x] {
		params = append(params, convert.Param{Name: cliArgs, Default: &convert.Text{}, Description: "What Task is given after --"})
		exec = fmt.Sprintf("concat([%s, \"--\"], compact(split(\" \", param.cli_args)))", strings.Join(argv, ", "))
	}
	return params, []convert.Stage{{Command: &convert.Command{Exec: exec}}}
}

// dotenv are the files whose variables are in the environment of a task, the most important one first.
func (t *translator) dotenv(x *task) []string {
	return append(slices.Clone(x.Dotenv), t.files[0].Dotenv...)
}

// bash are signs of what sh does not understand, or understands otherwise than Task's own shell.
var bash = convert.Lazily("\\$|`" + `|\[\[|\(\(|[<>]\(|\{[^}\s]*(,|\.\.)[^}\s]*\}|\*\*|&>|<<<|==|=\(|\+=|\b(source|function|shopt|pushd|popd|declare|local|let)\b|echo -[en]`)

func (t *translator) stages(x *task) ([]convert.Stage, error) {
	switch {
	case len(x.odd) > 0:
		return nil, fmt.Errorf("%s", strings.Join(x.odd, ", "))
	case x.file.given:
		return nil, errors.New("variables of its include")
	}
	var stages []convert.Stage
	if deps, err := t.deps(x); err != nil {
		return nil, err
	} else if len(deps) > 0 {
		stages = append(stages, convert.Stage{Calls: deps})
	}
	b := &builder{translator: t, x: x}
	if err := b.start(); err != nil {
		return nil, err
	}
	for _, p := range x.Preconditions {
		sh, err := b.s.text(p.Sh)
		if err != nil {
			return nil, err
		}
		msg, err := b.s.text(p.Msg)
		if err != nil {
			return nil, err
		}
		if p.Msg == "" {
			msg = convert.Lit("precondition not met: " + p.Sh)
		}
		b.s.uses.WriteString(p.Sh)
		b.s.script.Keep(slices.Concat(convert.Lit("("), convert.Quote(sh), convert.Lit(") || { echo '"), quote(msg), convert.Lit("' >&2; exit 1; }")))
	}
	if len(x.Status) > 0 {
		var tests []convert.Text
		for _, c := range x.Status {
			text, err := b.s.text(c)
			if err != nil {
				return nil, err
			}
			tests = append(tests, slices.Concat(convert.Lit("("), convert.Quote(text), convert.Lit(")")))
			b.s.uses.WriteString(c)
		}
		b.s.script.Keep(slices.Concat(convert.Lit("if "), convert.Join(tests, " && "), convert.Lit("; then exit 0; fi # up to date")))
	}
	for _, c := range x.Cmds {
		if err := b.add(c); err != nil {
			return nil, err
		}
	}
	if err := b.flush(); err != nil {
		return nil, err
	}
	if len(x.Status) > 0 && len(b.stages) > 1 {
		return nil, errors.New("status, where it runs other tasks")
	}
	if b.deferred && len(b.stages) > 1 {
		return nil, errors.New("defer, where it runs other tasks")
	}
	return append(stages, b.stages...), nil
}

// quote is a text between single quotes.
func quote(t convert.Text) (out convert.Text) {
	for _, p := range t {
		switch {
		case p.Shell != "":
			p = convert.Piece{Lit: `'"${` + p.Shell + `}"'`}
		case p.Code == "":
			p.Lit = strings.ReplaceAll(p.Lit, "'", `'\''`)
		}
		out = append(out, p)
	}
	return out
}

// deps are the tasks that come before, in any order.
func (t *translator) deps(x *task) (out []convert.Call, err error) {
	for _, d := range x.Deps {
		err := t.each(x, t.scope(x, nil), d, func(s *scope) error {
			call, err := t.call(x, s, d)
			out = append(out, call)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// each does something for each element of a for, or once.
func (t *translator) each(x *task, s *scope, c command, do func(*scope) error) error {
	if len(c.odd) > 0 {
		return errors.New(strings.Join(c.odd, ", "))
	}
	if c.For.Kind == 0 {
		return do(s)
	}
	as, list := "ITEM", []string(nil)
	switch c.For.Kind {
	case yaml.SequenceNode:
		for _, e := range c.For.Content {
			if e.Kind != yaml.ScalarNode {
				return errors.New("for over what is no text")
			}
			list = append(list, e.Value)
		}
	case yaml.MappingNode:
		var f struct{ Var, As, Split string }
		if err := c.For.Decode(&f); err != nil || len(unknown(&c.For, []string{"var", "as"})) > 0 {
			return errors.New("this kind of for")
		}
		if f.As != "" {
			as = f.As
		}
		for _, vars := range []variables{x.Vars, x.file.Vars, t.files[0].Vars} {
			if v := find(vars, f.Var); v != nil && v.list != nil && !v.odd {
				list = v.list
				break
			}
		}
	}
	if list == nil {
		return errors.New("for over what is not written out as a list")
	}
	for _, item := range list {
		text, err := s.text(item)
		if err != nil {
			return err
		}
		s.items[as] = text
		if err := do(s); err != nil {
			return err
		}
	}
	delete(s.items, as)
	return nil
}

// call is a call of another task.
func (t *translator) call(x *task, s *scope, c command) (convert.Call, error) {
	name, err := s.text(c.Task)
	if err != nil {
		return convert.Call{}, err
	}
	constant, ok := name.Constant()
	y := t.find(x, constant)
	if !ok || y == nil {
		return convert.Call{}, fmt.Errorf("the task %s, which is not written out", c.Task)
	}
	call := convert.Call{Task: y.task}
	for i := range c.Vars {
		v := &c.Vars[i]
		param, ok := t.params[y][v.name]
		if !ok {
			continue // y has its own
		}
		value, err := s.variable(&variable{text: v.text, sh: v.sh, list: v.list, odd: v.odd}, s.dir(x.Dir))
		if err != nil {
			return convert.Call{}, err
		}
		call.With = append(call.With, convert.Arg{Name: param, Value: value})
	}
	for _, r := range y.Requires.Vars {
		if t.params[y][r.Name] != "" && !slices.ContainsFunc(c.Vars, func(v variable) bool { return v.name == r.Name }) {
			return convert.Call{}, fmt.Errorf("%s without its variable %s", y.name, r.Name)
		}
	}
	slices.SortFunc(call.With, func(a, b convert.Arg) int { return strings.Compare(a.Name, b.Name) })
	return call, nil
}

// builder makes the stages of a task.
type builder struct {
	*translator
	x        *task
	s        *scope
	env      []convert.Arg
	stages   []convert.Stage
	deferred bool
}

// start begins a script.
func (b *builder) start() error {
	script := &convert.Script{}
	b.s, b.env = b.scope(b.x, script), nil
	files := b.dotenv(b.x)
	for i := len(files) - 1; i >= 0; i-- {
		name, err := b.s.text(files[i])
		if constant, ok := name.Constant(); ok && err == nil {
			dir := b.s.dir(b.x.Dir)
			if i >= len(b.x.Dotenv) { // of the whole file
				dir = "."
			}
			at, err := relative(b.s.dir(b.x.Dir), dir)
			if err != nil {
				return err
			}
			at = path.Join(at, constant)
			script.First(convert.Lit(fmt.Sprintf("set -a; [ ! -f %s ] || . ./%[1]s; set +a", at)))
		} else {
			return errors.New("dotenv with a template")
		}
	}
	env := map[string]*variable{}
	var names []string
	for _, list := range []variables{b.files[0].Env, b.x.file.Env, b.x.Env} {
		for i := range list {
			if env[list[i].name] == nil {
				names = append(names, list[i].name)
			}
			env[list[i].name] = &list[i]
		}
	}
	for _, name := range names {
		b.s.looking = []string{name}
		value, err := b.s.variable(env[name], b.s.dir(b.x.Dir))
		b.s.looking = nil
		switch {
		case err != nil:
			return err
		case value.Known():
			b.env = append(b.env, convert.Arg{Name: name, Value: value})
		case len(value) == 1 && value[0].Shell == name:
			script.First(convert.Lit("export " + name))
		default:
			script.First(slices.Concat(convert.Lit("export "+name+"='"), quote(value), convert.Lit("'")))
		}
	}
	return nil
}

// add adds an element of cmds.
func (b *builder) add(c command) error {
	if !here(c.Platforms) {
		return nil
	}
	if c.Task != "" {
		if err := b.flush(); err != nil {
			return err
		}
		if c.IgnoreError {
			return errors.New("ignore_error of a task")
		}
		return b.each(b.x, b.scope(b.x, nil), c, func(s *scope) error {
			call, err := b.call(b.x, s, c)
			b.stages = append(b.stages, convert.Stage{Calls: []convert.Call{call}})
			return err
		})
	}
	if c.Defer.Kind != 0 {
		if c.Defer.Kind != yaml.ScalarNode || b.deferred {
			return errors.New("this kind of defer")
		}
		b.deferred = true
		text, err := b.s.text(c.Defer.Value)
		b.s.uses.WriteString(c.Defer.Value)
		b.s.script.Keep(slices.Concat(convert.Lit("trap '"), quote(text), convert.Lit("' EXIT")))
		return err
	}
	if name, ok := strings.CutPrefix(c.Cmd, "task "); ok && c.For.Kind == 0 && !strings.ContainsAny(name, " {$&;|\n") && b.find(&task{file: b.files[0]}, name) != nil {
		c.Task, c.Cmd = ":"+name, ""
		return b.add(c)
	}
	return b.each(b.x, b.s, c, func(s *scope) error {
		text, err := s.text(c.Cmd)
		s.uses.WriteString(c.Cmd)
		s.script.Add(text, c.IgnoreError || b.x.IgnoreError)
		return err
	})
}

// flush makes a stage of what the script has.
func (b *builder) flush() error {
	script := b.s.script
	if script.Empty() {
		return nil
	}
	if set := slices.Concat(b.files[0].Set, b.x.Set); len(set)+len(b.x.Shopt)+len(b.files[0].Shopt) > 0 || bash().MatchString(templates().ReplaceAllString(b.s.uses.String(), "")) {
		script.Shell = []string{"bash", "-e"}
		for _, o := range set {
			script.Shell = append(script.Shell, "-o", long(o))
		}
		for _, o := range slices.Concat(b.files[0].Shopt, b.x.Shopt) {
			script.Shell = append(script.Shell, "-O", o)
		}
		script.Shell = append(script.Shell, "-c")
	}
	command := &convert.Command{Script: script, Env: b.env}
	dir, err := b.s.text(b.s.dir(b.x.Dir))
	if err != nil || !dir.Known() {
		return errors.Join(err, errCommand)
	}
	if c, _ := dir.Constant(); strings.HasPrefix(c+"/", "../") || path.IsAbs(c) {
		return errors.New("a directory outside of the workspace")
	} else if c != "." {
		command.Dir = dir
	}
	if len(b.stages) == 0 && len(b.x.Sources) > 0 && b.x.Method != "none" && b.x.file.Method != "none" {
		if command.Inputs, err = b.sources(); err != nil {
			return err
		}
	}
	b.stages = append(b.stages, convert.Stage{Command: command})
	return b.start()
}

var templates = convert.Lazily(`\{\{[^}]*\}\}`)

// long is the name of an option of the shell.
func long(option string) string {
	if name := map[string]string{"e": "errexit", "u": "nounset", "x": "xtrace", "f": "noglob", "n": "noexec", "a": "allexport"}[option]; name != "" {
		return name
	}
	return option
}

// sources are the patterns of the inputs.
func (b *builder) sources() (string, error) {
	var in, out []string
	for _, g := range b.x.Sources {
		text, err := b.scope(b.x, nil).text(b.s.dir(g.Pattern + g.Exclude))
		if strings.HasPrefix(b.s.dir(g.Pattern+g.Exclude), "../") {
			err = errors.New("sources outside of the workspace")
		}
		if err != nil {
			return "", err
		}
		if g.Exclude != "" {
			out = append(out, text.Expr())
		} else {
			in = append(in, text.Expr())
		}
	}
	if len(out) == 0 {
		return "[" + strings.Join(in, ", ") + "]", nil
	}
	return fmt.Sprintf("setsubtract(fileset(%s), fileset(%s))", strings.Join(in, ", "), strings.Join(out, ", ")), nil
}
