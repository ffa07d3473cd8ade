package hddl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// Names in the module, besides those of [Load].
const (
	problemTask = own + "problem" // compound: the whole problem
	initTask    = own + "init"    // primitive: asserts the facts that actions change
	noMethod    = own + "none"    // of a task that no method brings to an end, which our language does not allow
)

// Module is the problem in our language: its plans are the plans of the problem, in the same order. The error is an
// [*Error] at the first name that our language does not have.
//
// Facts that no action changes are observed, and stand in their declaration. The others are what a first step asserts.
// Actions run nothing: they are there to be planned.
func (m *Import) Module(title string) ([]byte, error) {
	if m.foreign != nil {
		return nil, m.foreign
	}
	w := &module{params: map[string][]string{}, columns: map[string]int{}, changing: map[string]bool{}, rows: map[string][][]string{}}
	for _, r := range m.rows {
		w.relation(r[0], len(r)-1)
		w.rows[r[0]] = append(w.rows[r[0]], r[1:])
	}
	for _, t := range m.Domain.Tasks {
		w.params[t.Name] = t.Params
		w.look(&t)
	}
	w.line("# %s", title)
	w.line("# `jitos plan --format hddl` writes its plan as the competition wants it.\n")
	w.line("jitos {\ndefault = task.%s\n}\n", problemTask)
	w.facts()
	ends := ending(m.Domain.Tasks)
	for _, t := range m.Domain.Tasks {
		w.task(&t)
		if !ends[t.Name] {
			w.line("method %q %q {\nwhen = false\n}\n", t.Name, noMethod)
		}
	}
	w.problem(m.Problem.Goal)
	text, diags := lang.Format("main"+lang.Extension, []byte(w.text.String()))
	return text, diags.Err()
}

// ending finds the tasks that some method, whatever holds, brings to an end.
func ending(tasks []htn.Task) map[string]bool {
	ends := map[string]bool{}
	for before := -1; before < len(ends); {
		before = len(ends)
		for _, t := range tasks {
			if t.Operator != nil || slices.ContainsFunc(t.Methods, func(m htn.Method) bool {
				return !slices.ContainsFunc(m.Steps, func(s htn.Sub) bool { return !ends[s.Task] })
			}) {
				ends[t.Name] = true
			}
		}
	}
	return ends
}

type module struct {
	text      strings.Builder
	params    map[string][]string // by task
	relations []string            // in order of their first use
	columns   map[string]int
	changing  map[string]bool
	rows      map[string][][]string
}

func (w *module) line(format string, args ...any) { fmt.Fprintf(&w.text, format+"\n", args...) }

func (w *module) relation(name string, columns int) {
	if _, known := w.columns[name]; !known {
		w.columns[name] = columns
		w.relations = append(w.relations, name)
	}
}

// look finds the relations that a task is about.
func (w *module) look(t *htn.Task) {
	if op := t.Operator; op != nil {
		for _, p := range slices.Concat(op.Remove, op.Add) {
			rel, args, _ := p.Fact()
			w.relation(rel, len(args))
			w.changing[rel] = true
		}
	}
	conditions := []htn.Cond{t.When}
	for _, m := range t.Methods {
		conditions = append(conditions, m.When)
	}
	for len(conditions) > 0 {
		c := conditions[0]
		conditions = conditions[1:]
		switch c := c.(type) {
		case htn.All:
			conditions = append(conditions, c...)
		case htn.Any:
			conditions = append(conditions, c...)
		case htn.Not:
			conditions = append(conditions, c.Cond)
		case htn.Holds:
			w.relation(c.Rel, len(c.Args))
		}
	}
}

func (w *module) facts() {
	for _, rel := range w.relations {
		w.line("fact %q {", rel)
		var names []string
		for i := range w.columns[rel] {
			names = append(names, fmt.Sprintf("c%d", i+1))
		}
		columns := slices.Clone(names)
		for i := range columns {
			columns[i] += " = string"
		}
		w.line("columns = { %s }", strings.Join(columns, ", "))
		if !w.changing[rel] {
			w.line("from = [")
			for _, r := range w.rows[rel] {
				values := make([]string, len(r))
				for i := range r {
					values[i] = names[i] + " = " + quote(r[i])
				}
				w.line("{ %s },", strings.Join(values, ", "))
			}
			w.line("]")
		}
		w.line("}\n")
	}
}

func (w *module) task(t *htn.Task) {
	s := spelling{t.Params}
	w.line("task %q {", t.Name)
	for _, p := range t.Params {
		w.line("param %q {\ntype = string\n}", bare(p))
	}
	if op := t.Operator; op != nil {
		w.when(s, t.When)
		w.line("inputs = []\noutputs = []\nexec = [\"true\"]")
		w.effects(s.patterns(op.Add), s.patterns(op.Remove))
	}
	w.line("}\n")
	for _, m := range t.Methods {
		w.line("method %q %q {", t.Name, m.Name)
		if len(m.Vars) > 0 {
			names := make([]string, len(m.Vars))
			for i, v := range m.Vars {
				names[i] = quote(bare(v))
			}
			w.line("any = [%s]", strings.Join(names, ", "))
		}
		w.when(s, m.When)
		w.steps(s, m)
		w.line("}\n")
	}
}

func (w *module) when(s spelling, c htn.Cond) {
	if text := s.condition(c); text != "true" {
		w.line("when = %s", text)
	}
}

func (w *module) effects(asserts, retracts []string) {
	if len(asserts)+len(retracts) == 0 {
		return
	}
	w.line("effects {")
	w.list("asserts", asserts)
	w.list("retracts", retracts)
	w.line("}")
}

func (w *module) list(name string, items []string) {
	if len(items) > 0 {
		w.line("%s = [\n%s,\n]", name, strings.Join(items, ",\n"))
	}
}

// steps writes the steps of a method, each below those that come before it.
func (w *module) steps(s spelling, m htn.Method) {
	sequence := slices.Equal(m.Order, htn.Sequence(len(m.Steps)))
	done := make([]bool, len(m.Steps))
	for range m.Steps {
		i := 0
		for done[i] || slices.ContainsFunc(m.Order, func(o [2]int) bool { return o[1] == i && !done[o[0]] }) {
			i++
		}
		done[i] = true
		var after []string
		for _, o := range m.Order {
			if o[1] == i {
				after = append(after, fmt.Sprintf("step.s%d", o[0]))
			}
		}
		sub := m.Steps[i]
		w.line("step \"s%d\" {\ntask = task.%s", i, sub.Task)
		if !sequence {
			w.line("after = [%s]", strings.Join(after, ", "))
		}
		w.with(s, sub.Task, sub.Args)
		w.line("}")
	}
}

// with writes the arguments of a step.
func (w *module) with(s spelling, task string, args []htn.Term) {
	if len(args) == 0 {
		return
	}
	w.line("with = {")
	for i, a := range args {
		w.line("%s = %s", bare(w.params[task][i]), s.term(a))
	}
	w.line("}")
}

// problem writes what is to be achieved, after what makes the facts so.
func (w *module) problem(goals []htn.Sub) {
	var asserts []string
	for _, rel := range w.relations {
		for _, r := range w.rows[rel] {
			if w.changing[rel] {
				args := make([]string, len(r))
				for i := range r {
					args[i] = quote(r[i])
				}
				asserts = append(asserts, fact(rel, args))
			}
		}
	}
	w.line("task %q {\ninputs = []\noutputs = []\nexec = [\"true\"]", initTask)
	w.effects(asserts, nil)
	w.line("}\n\ntask %q {}\n\nmethod %q \"all\" {", problemTask, problemTask)
	for _, name := range append([]string{initTask}, names(goals)...) {
		w.line("step %q {\ntask = task.%s\n}", strings.TrimPrefix(name, own), name)
	}
	w.line("}")
}

func names(subs []htn.Sub) (out []string) {
	for _, s := range subs {
		out = append(out, s.Task)
	}
	return out
}

// spelling writes conditions and terms as they stand in a task or its methods.
type spelling struct{ params []string }

func (s spelling) term(t htn.Term) string {
	switch {
	case t.Var == "":
		return constantText(string(t.Const))
	case slices.Contains(s.params, t.Var):
		return "param." + bare(t.Var)
	}
	return "any." + bare(t.Var)
}

func (s spelling) terms(ts []htn.Term) []string {
	out := make([]string, len(ts))
	for i, t := range ts {
		out[i] = s.term(t)
	}
	return out
}

// patterns are what a rule adds or removes.
func (s spelling) patterns(list []warp.NodePattern) []string {
	out := make([]string, len(list))
	for i, p := range list {
		rel, terms, _ := p.Fact()
		args := make([]string, len(terms))
		for k, t := range terms {
			if name, ok := t.Variable(); ok {
				args[k] = s.term(htn.V(name))
			} else {
				value, _ := t.Value()
				args[k] = constantText(value)
			}
		}
		out[i] = fact(rel, args)
	}
	return out
}

// condition is "true" where nothing is asked for.
func (s spelling) condition(c htn.Cond) string {
	switch c := c.(type) {
	case htn.All:
		return s.join(c, " && ", "true")
	case htn.Any:
		return s.join(c, " || ", "false")
	case htn.Holds:
		return fact(c.Rel, s.terms(c.Args))
	case htn.Equal:
		return s.term(c.A) + " == " + s.term(c.B)
	case htn.Not:
		if e, ok := c.Cond.(htn.Equal); ok {
			return s.term(e.A) + " != " + s.term(e.B)
		}
		return "!" + s.within(c.Cond)
	}
	return "true"
}

// join joins conditions by an operator; neutral is what changes nothing.
func (s spelling) join(list []htn.Cond, operator, neutral string) string {
	var parts []string
	for _, c := range list {
		if text := s.within(c); text != neutral {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return neutral
	}
	for len(parts) > maxParts { // the language has a limit for operators in a row
		var groups []string
		for group := range slices.Chunk(parts, maxParts) {
			groups = append(groups, "("+strings.Join(group, operator)+")")
		}
		parts = groups
	}
	return strings.Join(parts, operator)
}

// maxParts is how many conditions are joined without parentheses.
const maxParts = 100

// within is a condition as a part of another.
func (s spelling) within(c htn.Cond) string {
	text := s.condition(c)
	if strings.Contains(text, " && ") || strings.Contains(text, " || ") {
		return "(" + text + ")"
	}
	return text
}

func fact(rel string, args []string) string {
	return "fact::" + rel + "(" + strings.Join(args, ", ") + ")"
}

func constantText(canonical string) string {
	r := cbor.NewReader([]byte(canonical))
	return quote(string(r.Text()))
}

func quote(s string) string { return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()) }

// bare is a variable's name in our language, where those of tasks and those of methods do not meet.
func bare(name string) string { return strings.Trim(name, "?'") }
