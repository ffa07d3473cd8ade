// Package convert writes what other tools' files say in the language of jitos.
//
// A reader of such a file (packages just, taskfile, npm, make) fills a [Workflow] with variables and tasks, of which each is
// a sequence of stages: calls of other tasks, and scripts. [Workflow.HCL] decides how the language says that best: a primitive
// task with needs where that means the same, else methods whose steps are in order. What a reader does not understand it
// hands to the tool itself, with a comment: the workflow runs the same, only less of it is known.
package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Workflow is what the files of other tools have been translated to.
type Workflow struct {
	Default string // the task that `jitos apply` applies without a name; "" leaves it open
	Prefix  string // in front of the names of tasks that are made from now on

	names  map[string]bool // of tasks
	inputs map[string]bool // names of variables and locals
	vars   strings.Builder
	locals strings.Builder
	tasks  []*Task
	known  map[string]*Task
	notes  []string
}

// New is a workflow without anything.
func New() *Workflow {
	return &Workflow{names: map[string]bool{}, inputs: map[string]bool{}, known: map[string]*Task{}}
}

// Task is a task of the workflow to be.
type Task struct {
	Name        string // legal and unique, from [Workflow.Name]
	Comments    []string
	Description string
	Params      []Param
	Needs       []string // names of tasks that come before it, in whatever order and wherever it is called
	Stages      []Stage  // one after the other
	Once        bool     // in one run it is not carried out again with the same arguments

	raw string // the whole of it, as written
}

// Param is a parameter. All are strings.
type Param struct {
	Name        string
	Default     *Text // nil: it must be given
	Description string
}

// Stage is a part of a task: calls that need no order among each other, or one command.
type Stage struct {
	Calls   []Call
	Command *Command
}

// Call is a call of another task.
type Call struct {
	Task  string
	With  []Arg
	Again bool // also where it has been carried out already
}

// Arg is an argument of a call, or an entry of an environment.
type Arg struct {
	Name  string
	Value Text
}

// Command is what a primitive task runs. Either Script or Exec is there.
type Command struct {
	Script  *Script
	Exec    string // an expression: the argument vector
	Env     []Arg
	Dir     Text
	Inputs  string // an expression; "" declares none
	Outputs string
	Plain   bool // it needs no network
}

// Name makes a legal name of a foreign one that no task has yet.
func (w *Workflow) Name(foreign string) string { return unique(w.names, w.Prefix+foreign, "task") }

// Input makes a legal name for a variable or local.
func (w *Workflow) Input(foreign string) string { return unique(w.inputs, foreign, "value") }

var illegal = Lazily(`[^a-z0-9_-]+`)

// unique is a foreign name as one of the language that is not taken.
func unique(taken map[string]bool, foreign, otherwise string) string {
	name := strings.Trim(illegal().ReplaceAllString(strings.ToLower(foreign), "-"), "-_")
	if name = strings.TrimLeft(name, "-_0123456789"); name == "" {
		name = otherwise
	}
	for base, n := name, 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	taken[name] = true
	return name
}

// Params makes legal names of the foreign ones of a task's parameters.
func Params(foreign []string) []string {
	taken := map[string]bool{}
	var out []string
	for _, name := range foreign {
		out = append(out, unique(taken, name, "arg"))
	}
	return out
}

// Variable declares a variable with a constant default.
func (w *Workflow) Variable(name, value string) {
	fmt.Fprintf(&w.vars, "\nvariable %q {\n type = string\n default = %s\n}\n", name, Lit(value).Expr())
}

// Local declares a local.
func (w *Workflow) Local(name string, value Text) {
	fmt.Fprintf(&w.locals, "%s = %s\n", name, value.Expr())
}

// Note says in a comment what could not be translated at all.
func (w *Workflow) Note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// Add adds a task.
func (w *Workflow) Add(t *Task) {
	w.tasks = append(w.tasks, t)
	w.known[t.Name] = t
}

// Raw adds a task as it is written in the language.
func (w *Workflow) Raw(name, text string) {
	w.names[name] = true
	w.Add(&Task{Name: name, raw: text})
}

// Tasks are the names of all tasks, in their order.
func (w *Workflow) Tasks() (names []string) {
	for _, t := range w.tasks {
		names = append(names, t.Name)
	}
	return names
}

// Incomplete is how many tasks, and places outside of tasks, have a comment on what was not translated.
func (w *Workflow) Incomplete() int {
	n := len(w.notes)
	for _, t := range w.tasks {
		if slices.ContainsFunc(t.Comments, func(c string) bool { return strings.HasPrefix(c, NotTranslated) }) {
			n++
		}
	}
	return n
}

// NotTranslated begins a comment that says what has no translation.
const NotTranslated = "Not translated: "

// HCL is the text of the workflow, not laid out yet.
func (w *Workflow) HCL(head string) string {
	var b strings.Builder
	b.WriteString(comment(head))
	for _, n := range w.notes {
		b.WriteString("\n" + comment(NotTranslated+n))
	}
	if w.Default != "" {
		fmt.Fprintf(&b, "\njitos {\n default = task.%s # what `jitos apply` means without a name\n}\n", w.Default)
	}
	b.WriteString(w.vars.String())
	if w.locals.Len() > 0 {
		fmt.Fprintf(&b, "\nlocals {\n%s}\n", w.locals.String())
	}
	ordered := w.sequenced()
	for _, t := range w.tasks {
		w.write(&b, t, ordered[t.Name])
	}
	return empty.Replace(b.String())
}

// comment is a text as lines of comment.
func comment(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
	return b.String()
}

// sequenced are the tasks that come after something else in the sequence of some task. What they call has to come after
// that as well, so it cannot be among their needs, which are achieved whenever they can be.
func (w *Workflow) sequenced() map[string]bool {
	out := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if t := w.known[name]; t != nil && !out[name] {
			out[name] = true
			for _, s := range t.Stages {
				for _, c := range s.Calls {
					visit(c.Task)
				}
			}
		}
	}
	for _, t := range w.tasks {
		if slices.ContainsFunc(t.Stages[min(1, len(t.Stages)):], func(s Stage) bool { return len(s.Calls) > 0 }) {
			for _, s := range t.Stages {
				for _, c := range s.Calls {
					visit(c.Task)
				}
			}
		}
	}
	return out
}

// write writes a task, and where it is a sequence its method and a task for each of its commands.
func (w *Workflow) write(b *strings.Builder, t *Task, ordered bool) {
	if t.raw != "" {
		b.WriteString("\n" + t.raw + "\n")
		return
	}
	var calls []Call
	stages := t.Stages
	if len(stages) > 0 && len(stages[0].Calls) > 0 && !ordered {
		calls, stages = stages[0].Calls, stages[1:]
	}
	simple := len(stages) == 0 || len(stages) == 1 && stages[0].Command != nil
	b.WriteString("\n")
	for _, c := range t.Comments {
		b.WriteString(comment(c))
	}
	fmt.Fprintf(b, "task %q {\n", t.Name)
	if t.Description != "" {
		fmt.Fprintf(b, "description = %s\n", Lit(t.Description).Expr())
	}
	for _, p := range t.Params {
		fmt.Fprintf(b, "param %q {\n type = string\n", p.Name)
		if p.Default != nil {
			fmt.Fprintf(b, "default = %s\n", p.Default.Expr())
		}
		if p.Description != "" {
			fmt.Fprintf(b, "description = %s\n", Lit(p.Description).Expr())
		}
		b.WriteString("}\n")
	}
	if simple {
		needs(b, t.Needs, calls)
		if len(stages) == 1 {
			stages[0].Command.write(b)
		} else if len(calls)+len(t.Needs) == 0 {
			b.WriteString("inputs = [] # there is nothing to run\noutputs = []\nexec = [\"true\"]\n")
		}
		b.WriteString("}\n")
		return
	}
	needs(b, t.Needs, nil)
	b.WriteString("}\n")
	w.method(b, t)
}

var empty = strings.NewReplacer("{\n}\n", "{}\n")

func needs(b *strings.Builder, names []string, calls []Call) {
	var list []string
	for _, n := range names {
		list = append(list, "task."+n)
	}
	for _, c := range calls {
		if len(c.With) == 0 {
			list = append(list, "task."+c.Task)
		} else {
			list = append(list, fmt.Sprintf("{ task = task.%s, with = %s }", c.Task, object(c.With)))
		}
	}
	if list = slices.Compact(list); len(list) > 0 {
		fmt.Fprintf(b, "needs = [%s]\n", strings.Join(list, ", "))
	}
}

// object is an object on one line.
func object(args []Arg) string {
	var parts []string
	for _, a := range args {
		parts = append(parts, a.Name+" = "+a.Value.Expr())
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// method writes the sequence of a task as its method.
func (w *Workflow) method(b *strings.Builder, t *Task) {
	m := &sequence{w: w, names: map[string]bool{}, done: map[string]bool{}}
	m.add(t, bindings(t, handOn(t)))
	fmt.Fprintf(b, "\nmethod %q \"in-order\" {\n%s}\n", t.Name, m.text.String())
	for _, p := range m.parts {
		w.write(b, p, true)
	}
}

// sequence is a method being written.
type sequence struct {
	w     *Workflow
	text  strings.Builder
	names map[string]bool
	done  map[string]bool // calls of tasks that run once
	last  []string        // the steps of the stage before
	parts []*Task         // tasks for the commands
}

// bind are the values of parameters.
type bind map[string]Text

// handOn are the parameters of a task as arguments.
func handOn(t *Task) (with []Arg) {
	for _, p := range t.Params {
		with = append(with, Arg{p.Name, Code("param." + p.Name)})
	}
	return with
}

// bindings are the values of the parameters of t where it is called with these arguments.
func bindings(t *Task, with []Arg) bind {
	out := bind{}
	for _, p := range t.Params {
		if p.Default != nil {
			out[p.Name] = out.text(*p.Default)
		}
		for _, a := range with {
			if a.Name == p.Name {
				out[p.Name] = a.Value
			}
		}
	}
	return out
}

var parameter = Lazily(`\bparam\.([a-z][a-z0-9_-]*)`)

// text puts values for parameters.
func (b bind) text(t Text) (out Text) {
	for _, p := range t {
		if v, ok := b[strings.TrimPrefix(p.Code, "param.")]; ok && strings.HasPrefix(p.Code, "param.") {
			out = append(out, v...)
			continue
		}
		p.Code = parameter().ReplaceAllStringFunc(p.Code, func(name string) string {
			if v, ok := b[strings.TrimPrefix(name, "param.")]; ok {
				return v.Expr()
			}
			return name
		})
		out = append(out, p)
	}
	return out
}

// call is a call with values for parameters.
func (b bind) call(c Call) Call {
	out := Call{Task: c.Task, Again: c.Again}
	for _, a := range c.With {
		out.With = append(out.With, Arg{a.Name, b.text(a.Value)})
	}
	return out
}

// key tells calls apart.
func (c Call) key() string { return c.Task + object(c.With) }

// add adds the stages of a task with these values of its parameters.
func (m *sequence) add(t *Task, b bind) {
	for _, s := range t.Stages {
		if s.Command != nil {
			m.command(t, s.Command, b)
			continue
		}
		var made []string
		before := m.last
		for _, c := range s.Calls {
			c = b.call(c)
			called := m.w.known[c.Task]
			switch {
			case called.Once && !c.Again && m.done[c.key()]:
			case called.Once && !c.Again && m.overlaps(called, c):
				// Some of what it calls has been run already: in line, so that it is not run again.
				m.done[c.key()] = true
				m.last = before
				m.add(called, bindings(called, c.With))
				made = append(made, m.last...)
			default:
				if called.Once && !c.Again {
					m.note(c)
				}
				made = append(made, m.step(c, before, len(s.Calls) > 1))
			}
		}
		if len(made) > 0 {
			m.last = made
		}
	}
}

// note remembers what a call runs.
func (m *sequence) note(c Call) {
	if m.done[c.key()] {
		return
	}
	m.done[c.key()] = true
	m.w.calls(c, func(c Call) bool {
		m.note(c)
		return true
	})
}

// overlaps reports whether a call of t calls, by itself or through others, what has been run already.
func (m *sequence) overlaps(t *Task, c Call) bool {
	return !m.w.calls(c, func(c Call) bool {
		called := m.w.known[c.Task]
		return !called.Once || c.Again || !m.done[c.key()] && !m.overlaps(called, c)
	})
}

// calls goes through the calls that a call makes, until one gives false.
func (w *Workflow) calls(c Call, each func(Call) bool) bool {
	t := w.known[c.Task]
	b := bindings(t, c.With)
	for _, s := range t.Stages {
		for _, inner := range s.Calls {
			if !each(b.call(inner)) {
				return false
			}
		}
	}
	return true
}

// command makes a task of a command, once, and a step that calls it.
func (m *sequence) command(t *Task, c *Command, b bind) {
	name := m.w.partOf(c)
	if name == "" {
		part := &Task{Name: unique(m.w.names, t.Name+"-commands", "task"), Needs: t.Needs, Stages: []Stage{{Command: c}}}
		for _, p := range t.Params {
			part.Params = append(part.Params, Param{Name: p.Name})
		}
		m.w.known[part.Name] = part
		m.parts = append(m.parts, part)
		name = part.Name
	}
	m.last = []string{m.step(b.call(Call{Task: name, With: handOn(t)}), m.last, false)}
}

// partOf is the task that was made of a command, "" if there is none.
func (w *Workflow) partOf(c *Command) string {
	for name, t := range w.known {
		if len(t.Stages) == 1 && t.Stages[0].Command == c {
			return name
		}
	}
	return ""
}

func (m *sequence) step(c Call, after []string, parallel bool) string {
	name := unique(m.names, c.Task, "step")
	fmt.Fprintf(&m.text, "step %q {\ntask = task.%s\n", name, c.Task)
	if len(c.With) > 0 {
		fmt.Fprintf(&m.text, "with = %s\n", object(c.With))
	}
	if parallel || len(after) > 1 {
		var list []string
		for _, a := range after {
			list = append(list, "step."+a)
		}
		fmt.Fprintf(&m.text, "after = [%s]\n", strings.Join(list, ", "))
	}
	m.text.WriteString("}\n")
	return name
}

// write writes the attributes of a primitive task.
func (c *Command) write(b *strings.Builder) {
	for _, a := range []struct{ name, expr string }{{"inputs", c.Inputs}, {"outputs", c.Outputs}} {
		if a.expr != "" {
			fmt.Fprintf(b, "%s = %s\n", a.name, a.expr)
		}
	}
	if len(c.Dir) > 0 {
		fmt.Fprintf(b, "dir = %s\n", c.Dir.Expr())
	}
	text := c.Exec
	if c.Script != nil {
		text = c.Script.text()
	}
	if len(c.Env) == 1 {
		fmt.Fprintf(b, "env = %s\n", object(c.Env))
	} else if len(c.Env) > 1 {
		b.WriteString("env = {\n")
		for _, a := range c.Env {
			fmt.Fprintf(b, "%s = %s\n", a.Name, a.Value.Expr())
		}
		b.WriteString("}\n")
	}
	if caches := Caches(text); caches != "" {
		fmt.Fprintf(b, "caches = %s\n", caches)
	}
	var grants []string
	if !c.Plain {
		grants = append(grants, "network = true")
	}
	if c.Script != nil {
		if names := c.Script.environment(c.Env); len(names) > 0 {
			grants = append(grants, fmt.Sprintf("env = [%s]", strings.Join(names, ", ")))
		}
	}
	if len(grants) > 0 {
		fmt.Fprintf(b, "allow {\n%s\n}\n", strings.Join(grants, "\n"))
	}
	if c.Script != nil {
		c.Script.write(b)
	} else {
		fmt.Fprintf(b, "exec = %s\n", c.Exec)
	}
}

// tools are programs that keep things between runs, and the variables that say where.
var tools = []struct {
	called func() *regexp.Regexp
	caches string
}{
	{Lazily(`(?m)(^|[\s"'(;&|])go (build|test|vet|run|install|generate|list|mod|get|tool)\b`), `GOCACHE = "go-build", GOMODCACHE = "go-mod"`},
	{Lazily(`(?m)(^|[\s"'(;&|])(npm|npx)\b`), `npm_config_cache = "npm"`},
	{Lazily(`(?m)(^|[\s"'(;&|])pip3? install\b`), `PIP_CACHE_DIR = "pip"`},
	{Lazily(`(?m)(^|[\s"'(;&|])cargo\b`), `CARGO_HOME = "cargo"`},
}

// Caches are, as an expression, the directories that the programs which a text calls keep between runs; "" for none.
func Caches(text string) string {
	var found []string
	for _, t := range tools {
		if t.called().MatchString(text) {
			found = append(found, t.caches)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return "{ " + strings.Join(found, ", ") + " }"
}
