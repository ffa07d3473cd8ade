package compiler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// scope is what an expression may refer to, besides variables and locals.
type scope struct {
	params   []string // nil: param is not there
	each     bool
	self     bool
	tasks    bool // references to tasks, and values of them
	values   bool // values of tasks
	plan     bool
	any      []string
	steps    []string
	method   *lang.Method // whose steps these are
	step     string       // of it, where the expression stands
	noFacts  bool         // not even the observed ones
	changing bool         // also facts that tasks change
}

func (s scope) roots() []string {
	out := []string{"local", "var"}
	for _, r := range []struct {
		name  string
		there bool
	}{{"any", s.any != nil}, {"each", s.each}, {"param", s.params != nil}, {"plan", s.plan}, {"self", s.self}, {"step", s.steps != nil}, {"task", s.tasks || s.values}} {
		if r.there {
			out = append(out, r.name)
		}
	}
	return out
}

// below is what may follow a root in a scope.
func (n *names) below(root string, s scope) []string {
	switch root {
	case "var":
		return n.variables()
	case "local":
		return n.localNames()
	case "param":
		return s.params
	case "any":
		return s.any
	case "each":
		return []string{"key", "value"}
	case "self":
		return []string{"inputs", "outputs"}
	case "plan":
		return []string{"cost"}
	case "step":
		return s.steps
	case "task":
		return n.taskNames
	}
	return nil
}

// available are all names that an expression in s may refer to, as they are written.
func (n *names) available(s scope) (out []string) {
	for _, name := range n.secretNames() {
		out = append(out, "secret."+name)
	}
	for _, root := range s.roots() {
		for _, name := range n.below(root, s) {
			out = append(out, root+"."+name)
		}
	}
	if s.noFacts {
		return out
	}
	for _, f := range n.factNames() {
		if s.changing || n.u.relations[f].observed {
			out = append(out, "fact::"+f)
		}
	}
	return out
}

// names resolves what the expressions of a module refer to.
type names struct {
	*evaluator
	u         *universe
	given     map[string]Given
	tasks     map[string]*task                      // by name within the module
	taskNames []string                              // as the module can refer to them: its own, then those of modules that it uses
	uses      map[string]*names                     // by alias; nil where there is no such module, which has been said
	taskValue cty.Value                             // of `task` in expressions, as far as it is known without results
	deferring bool                                  // something hangs on results
	scoped    func(hcl.Expression, func() []string) // Options.Scoped
}

// named is the task that ref refers to, nil if there is none.
func (n *names) named(ref *lang.TaskRef) *task {
	if ref.Use != "" {
		n = n.uses[ref.Use]
	}
	if n == nil {
		return nil
	}
	return n.tasks[ref.Name]
}

// lost reports whether a reference leads into a module that could not be loaded, which has been said.
func (n *names) lost(use string) bool {
	sub, used := n.uses[use]
	return used && sub == nil
}

func (n *names) unknownTask(name string, at diag.Range) {
	n.unknown(at, lang.CodeUnknownTask, fmt.Sprintf("unknown task %q", name), name, n.taskNames, "task.")
}

// check resolves the names in x. One that does not resolve makes x bad.
func (n *names) check(x hcl.Expression, s scope) {
	if x == nil {
		return
	}
	if n.scoped != nil {
		n.scoped(x, func() []string { return n.available(s) })
	}
	r := n.refer(x)
	before := len(n.diags)
	for _, t := range r.whole {
		n.traversal(t, s)
	}
	if len(r.calls) > 0 {
		n.calls(x, s)
	}
	if len(n.diags) > before {
		n.bad[x] = true
	}
}

func (n *names) unknown(at diag.Range, code, summary, name string, there []string, prefix string) {
	d := diag.Diagnostic{Code: code, Subject: at, Summary: summary}
	if s, ok := diag.Suggest(name, there); ok {
		d.Label = "did you mean " + prefix + s + "?"
	} else if len(there) > 0 && len(there) <= 10 {
		d.Detail = "There is " + prefix + strings.Join(there, ", "+prefix) + "."
	}
	n.diags = append(n.diags, d)
}

func (n *names) traversal(t hcl.Traversal, s scope) {
	root, whole := t.RootName(), lang.RangeOf(t.SourceRange())
	attr, isAttr := "", false
	if len(t) > 1 {
		if a, ok := t[1].(hcl.TraverseAttr); ok {
			attr, isAttr = a.Name, true
		}
	}
	if root == "secret" {
		n.oneOf(whole, "secret", attr, n.secretNames(), "secret.")
		return
	}
	roots := s.roots()
	if !slices.Contains(roots, root) {
		d := diag.Diagnostic{Code: lang.CodeUnknownName, Subject: whole, Summary: fmt.Sprintf("unknown name %q", root)}
		switch guess, ok := diag.Suggest(root, roots); {
		case root == "fact":
			d.Label = "facts are asked for as fact::" + attr + "(…)"
		case slices.Contains([]string{"any", "each", "param", "plan", "self", "step", "task"}, root):
			d.Summary = fmt.Sprintf("%q is not available here", root)
			d.Detail = "An expression may refer to " + strings.Join(roots, ", ") + " here."
		case ok:
			d.Label = "did you mean " + guess + "?"
		default:
			d.Detail = "An expression may refer to " + strings.Join(roots, ", ") + " here; text is written in quotes."
		}
		n.diags = append(n.diags, d)
		return
	}
	if !isAttr {
		n.fail(lang.CodeUnknownName, whole, fmt.Sprintf("%q is not a value of its own", root), fmt.Sprintf("Say which one: %s.NAME.", root))
		return
	}
	switch root {
	case "var":
		n.oneOf(whole, "variable", attr, n.below(root, s), "var.")
	case "local":
		if n.locals[attr] == nil { // looked up: there may be tens of thousands
			n.oneOf(whole, "local", attr, n.below(root, s), "local.")
		}
	case "param":
		n.oneOf(whole, "parameter", attr, n.below(root, s), "param.")
	case "any":
		n.oneOf(whole, "free variable", attr, n.below(root, s), "any.")
	case "each":
		n.oneOf(whole, "attribute", attr, n.below(root, s), "each.")
	case "self":
		n.oneOf(whole, "attribute", attr, n.below(root, s), "self.")
	case "plan":
		n.oneOf(whole, "attribute", attr, n.below(root, s), "plan.")
	case "step":
		n.stepResult(attr, t[2:], s, whole)
	case "task":
		n.task(attr, t[2:], s, whole)
	}
}

func (n *names) oneOf(at diag.Range, what, name string, there []string, prefix string) {
	if !slices.Contains(there, name) {
		n.unknown(at, lang.CodeUnknownName, fmt.Sprintf("unknown %s %q", what, name), name, there, prefix)
	}
}

func (n *names) variables() (out []string) {
	for _, v := range n.u.module.Variables {
		out = append(out, v.Name)
	}
	return out
}

func (n *names) localNames() (out []string) {
	for _, l := range n.u.module.Locals {
		out = append(out, l.Name)
	}
	return out
}

// task resolves task.NAME and what follows it.
func (n *names) task(name string, rest hcl.Traversal, s scope, whole diag.Range) {
	t := n.tasks[name]
	if sub, used := n.uses[name]; used {
		if sub == nil || len(rest) == 0 {
			return // all tasks of the module
		}
		a, ok := rest[0].(hcl.TraverseAttr)
		if !ok {
			n.fail(lang.CodeUnknownTask, whole, fmt.Sprintf("%q is a module, not a family of tasks", name), fmt.Sprintf("Say which task: task.%s.NAME.", name))
			return
		}
		name, rest, t = name+"."+a.Name, rest[1:], sub.tasks[a.Name]
	}
	switch {
	case t == nil:
		n.unknownTask(name, whole)
		return
	}
	if len(rest) > 0 {
		if i, ok := rest[0].(hcl.TraverseIndex); ok {
			if key, err := plain(i.Key); err == nil {
				n.member(t, fmt.Sprint(key), whole)
			}
			rest = rest[1:]
		} else if t.ForEach != nil {
			n.fail(CodeResult, whole, fmt.Sprintf("task %q is a family, so it has more than one %s", name, rest[0].(hcl.TraverseAttr).Name), "Say which: task."+name+`["KEY"].`)
			return
		}
	}
	n.valueOf(t, rest, s, whole)
}

// member finds a member of a family.
func (n *names) member(t *task, key string, at diag.Range) *member {
	if t.ForEach == nil {
		n.fail(lang.CodeUnknownTask, at, fmt.Sprintf("task %q has no members", t.Name), fmt.Sprintf("It has no for_each: write task.%s.", t.Name))
		return nil
	}
	if m := t.byKey[key]; m != nil {
		return m
	}
	if t.keys { // else for_each was wrong, which has been said
		var keys []string
		for _, m := range t.members {
			keys = append(keys, m.key)
		}
		d := diag.Diagnostic{Code: lang.CodeUnknownTask, Subject: at, Summary: fmt.Sprintf("task %q has no member %q", t.Name, key)}
		if s, ok := diag.Suggest(key, keys); ok {
			d.Label = fmt.Sprintf("did you mean task.%s[%q]?", t.Name, s)
		}
		n.diags = append(n.diags, d)
	}
	return nil
}

func (n *names) calls(x hcl.Expression, s scope) {
	for _, c := range callsIn(x) {
		at := lang.RangeOf(c.NameRange)
		rel, isFact := strings.CutPrefix(c.Name, "fact::")
		if c.Name == "facts" && len(c.Args) == 1 {
			if v, ds := c.Args[0].Value(nil); !ds.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
				rel, isFact = v.AsString(), true
				at = lang.RangeOf(c.Args[0].Range())
			}
		}
		if !isFact {
			if _, known := n.root.Functions[c.Name]; !known {
				n.bad[x] = true // package lang has said so
			}
			continue
		}
		r := n.u.relations[rel]
		switch {
		case r == nil:
			n.unknown(at, lang.CodeUnknownFact, fmt.Sprintf("unknown fact %q", rel), rel, n.factNames(), "fact::")
		case s.noFacts:
			n.fail(lang.CodeUnknownFact, at, "facts are not available here", "What facts are observed from cannot depend on facts.")
		case c.Name != "facts" && len(c.Args) != len(r.Columns) && !c.ExpandFinal:
			n.arity(r, len(c.Args), place(c))
		case !r.observed && (!s.changing || c.Name == "facts"):
			n.fail(CodeCondition, at, fmt.Sprintf("fact %q changes as tasks run", rel), "It can be asked for in the `when` of tasks and methods only.")
		}
	}
}

// factNames are the facts that the module can ask for, sorted.
func (n *names) factNames() []string { return slices.Sorted(maps.Keys(n.u.relations)) }

func (n *names) arity(r *relation, got int, at diag.Range) {
	var cols []string
	for _, c := range r.Columns {
		cols = append(cols, c.Name)
	}
	n.fail(lang.CodeArguments, at, fmt.Sprintf("fact %q has %d columns, not %d", r.Name, len(cols), got), fmt.Sprintf("It is asked for as fact::%s(%s).", r.Name, strings.Join(cols, ", ")))
}

// localCycles reports locals that refer to themselves, with the chain.
func (n *names) localCycles() {
	const open, done = 1, 2
	state := map[string]int{}
	var chain []string
	var walk func(name string)
	walk = func(name string) {
		l := n.locals[name]
		if l == nil || state[name] == done {
			return
		}
		if state[name] == open {
			cycle := append(slices.Clone(chain[slices.Index(chain, name):]), name)
			n.fail(CodeLocalCycle, l.Range, "locals refer to each other in a circle", "local."+strings.Join(cycle, " → local.")+". Give one of them a value of its own.")
			for _, c := range cycle {
				n.bad[n.locals[c].Expr] = true
			}
			return
		}
		state[name], chain = open, append(chain, name)
		for _, ref := range n.refer(l.Expr).names {
			if next, ok := strings.CutPrefix(ref, "local."); ok {
				walk(next)
			}
		}
		state[name], chain = done, chain[:len(chain)-1]
	}
	for _, l := range n.u.module.Locals {
		walk(l.Name)
	}
}

// written is t as it stands in the file.
func written(t hcl.Traversal) string {
	out := t.RootName()
	for _, step := range t[1:] {
		switch s := step.(type) {
		case hcl.TraverseAttr:
			out += "." + s.Name
		case hcl.TraverseIndex:
			out += "[" + text(s.Key) + "]"
		case hcl.TraverseSplat:
			out += "[*]"
		}
	}
	return out
}
