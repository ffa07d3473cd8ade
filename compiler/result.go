package compiler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
)

// A result is unknown until its step ran. What only a command makes of it waits: the step is planned, and filled in as it
// starts. Where the plan itself hangs on it (what there is to do, which files, under which condition), the planner is
// given an open task in that place, and the same question again once the value is known: then it is a constant.
//
// task.x.result is that of a need, which there is once in a plan: the reference makes it one. step.x.result is that of one
// occurrence of a method. Tasks that can lead to such a reference have a parameter of their own for the way that led to
// them, which is how steps are called, so that the same method can be used twice with different results.

// way is the parameter of a traced task.
const way = "#way"

// resultRef is a reference to a value of a task.
type resultRef struct {
	member *member
	result bool // else another value, which is known
}

// resultRefs are the values of tasks that expressions refer to. bare: without one being named, a family is all that its
// members have; else it is a reference to them.
func (n *names) resultRefs(bare bool, list ...hcl.Expression) (out []resultRef) {
	if !n.deferring {
		return nil
	}
	for _, x := range list {
		if x == nil || n.bad[x] || !n.refer(x).root("task") {
			continue
		}
		for _, ref := range n.u.module.TaskRefs(x) {
			t := n.named(&ref)
			switch {
			case t == nil || ref.Attr == "" && (t.ForEach == nil || ref.Key != nil || !bare):
			case ref.Key == nil && t.ForEach != nil || ref.Key == nil && len(t.members) == 1:
				for _, m := range t.members {
					out = append(out, resultRef{m, t.Result != nil && ref.Attr != "outputs"})
				}
			case ref.Key != nil:
				if key, ok := n.text(ref.Key, nil); ok && t.byKey[key] != nil {
					out = append(out, resultRef{t.byKey[key], ref.Attr == "result"})
				}
			}
		}
	}
	return out
}

// commandOf are the expressions of a task that only its command makes use of.
func commandOf(t *lang.Task) []hcl.Expression {
	out := []hcl.Expression{t.Run, t.Exec, t.Caches, t.Tools, t.Env, t.Dir, t.DepsFile, t.Timeout, t.Result}
	if a := t.Allow; a != nil {
		out = append(out, a.Network, a.ReadPaths, a.WritePaths, a.Env, a.Containers)
	}
	return append(out, laterOf(t)...)
}

// structureOf are the expressions of a task that the plan hangs on, but for needs and inputs.
func structureOf(t *task) []hcl.Expression {
	out := []hcl.Expression{t.Outputs, t.When}
	if fx := t.Effects; fx != nil {
		for _, a := range slices.Concat(fx.Asserts, fx.Retracts) {
			out = append(out, a.Args...)
		}
	}
	for _, m := range t.methods {
		out = append(out, m.When)
		for _, s := range m.Steps {
			out = append(out, expressionsOf(s)...)
		}
	}
	return out
}

// expressionsOf are those of a method's step.
func expressionsOf(s *lang.Step) []hcl.Expression {
	out := []hcl.Expression{s.ForEach}
	if s.Task != nil {
		out = append(out, s.Task.Key)
	}
	for _, a := range s.With {
		out = append(out, a.Expr)
	}
	return out
}

// awaited are the steps whose results are not known yet, by their IDs, sorted.
func (b *build) awaited(refs []resultRef) (out []string) {
	for _, r := range refs {
		if _, known := b.results[r.member.name]; r.result && !known {
			out = append(out, r.member.name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// resultNeeds makes the tasks whose values u refers to needs of u.
func (b *build) resultNeeds(u *unit) {
	if !b.deferring {
		return
	}
	if !b.deferring {
		return
	}
	refs := append(b.resultRefs(false, u.task.Needs, u.task.Inputs), b.resultRefs(true, slices.Concat(structureOf(u.task), commandOf(u.task.Task))...)...)
	var own []need
	for _, r := range refs {
		p := b.plain(r.member)
		same := func(n need) bool { return n.unit == p }
		if p == nil || slices.ContainsFunc(u.needs, same) || slices.ContainsFunc(own, same) {
			continue // it takes arguments, which was said
		}
		own = append(own, need{unit: p, at: u.task.Range})
	}
	u.needs = append(own, u.needs...)
}

// opens finds out whether u is to be planned later.
func (b *build) opens(u *unit) {
	if b.deferring {
		u.open = b.awaited(append(b.resultRefs(false, u.task.Needs, u.task.Inputs), b.resultRefs(true, structureOf(u.task)...)...))
	}
}

// postpone makes of u what stands for it until it can be planned: it comes after what it is known to need. Types are
// checked all the same.
func (b *build) postpone(u *unit) {
	if u.task.Primitive() && !u.lifted {
		b.fill(u.task.Task, u.name, u.frame.env)
	}
	u.rule = &warp.Rule{Name: u.name, Params: u.params()}
	if x := u.task.Needs; x != nil && !b.bad[x] && b.awaited(b.resultRefs(false, x)) == nil {
		b.needs(u)
	}
	b.resultNeeds(u)
}

// resultOf reads the attribute result.
func (b *build) resultOf(t *lang.Task, in env) (r plan.Result, ok bool) {
	s, ok := b.text(t.Result, in)
	switch file, isFile := strings.CutPrefix(s, "file:"); {
	case !ok:
	case isFile:
		r = plan.Result{Of: plan.ResultFile, Path: b.inside(file, place(t.Result), "the file of a result")}
	case s == string(plan.ResultStdout) || s == string(plan.ResultJSON):
		r.Of = plan.ResultOf(s)
	default:
		b.bad[t.Result], ok = true, false
		b.fail(lang.CodeBadWord, place(t.Result), fmt.Sprintf("result cannot be %q", s), `It is one of "stdout", "json", "file:PATH".`)
	}
	return r, ok
}

// resultValue is what the result of a task is in expressions. known: the step gave it.
func (b *build) resultValue(t *lang.Task, raw string, known bool) cty.Value {
	json := false
	if s, ok := t.Result.(*hclsyntax.TemplateExpr); ok && s.IsStringLiteral() {
		v, _ := s.Value(nil)
		json = v.AsString() == string(plan.ResultJSON)
	}
	switch {
	case known && json:
		v, err := b.root.Functions["jsondecode"].Call([]cty.Value{cty.StringVal(raw)})
		if err != nil { // whoever ran the step has looked at it
			return cty.DynamicVal
		}
		return v
	case known:
		return cty.StringVal(raw)
	case json:
		return cty.DynamicVal
	}
	return cty.UnknownVal(cty.String)
}

// tasksValue is the value of `task` in the expressions of the module at hand.
func (b *build) tasksValue() cty.Value {
	if len(b.results) == 0 {
		return b.taskValue
	}
	if _, made := b.values[b.names]; !made {
		b.values[b.names] = b.taskObject(nil)
	}
	return b.values[b.names]
}

// taskObject makes the value of `task`. With only, it has just these tasks.
func (b *build) taskObject(only map[*task]bool) cty.Value {
	out := make(map[string]cty.Value, len(b.tasks))
	for alias, sub := range b.uses { // order: a map again
		switch in := (&build{names: sub, domain: b.domain}); {
		case sub == nil:
			out[alias] = cty.DynamicVal
		case only != nil:
			out[alias] = in.taskObject(only)
		default:
			out[alias] = in.tasksValue()
		}
	}
	for name, t := range b.tasks { // order: a map again
		switch {
		case only != nil && !only[t]:
		case t.ForEach == nil:
			out[name] = b.memberValue(t.members[0])
		case !t.keys:
			out[name] = cty.DynamicVal
		default:
			members := make(map[string]cty.Value, len(t.members))
			for _, m := range t.members {
				members[m.key] = b.memberValue(m)
			}
			out[name] = cty.ObjectVal(members).Mark(familyMark{t})
		}
	}
	if len(out) == 0 {
		return cty.EmptyObjectVal
	}
	return cty.ObjectVal(out)
}

// memberValue is a reference to a task; where values of it are asked for, with these.
func (b *build) memberValue(m *member) cty.Value {
	ref := cty.CapsuleVal(taskType, m)
	t := m.task
	if !t.valued {
		return ref
	}
	out := map[string]cty.Value{"task": ref}
	if t.Result != nil {
		raw, known := b.results[m.name]
		out["result"] = b.resultValue(t.Task, raw, known)
	}
	if in, ok := m.defaults(); ok && t.Outputs != nil && !t.home.refer(t.Outputs).root("task") {
		list, known := t.home.list(t.Outputs, in)
		if out["outputs"] = cty.UnknownVal(cty.List(cty.String)); known {
			out["outputs"] = stringList(list)
		}
	}
	return cty.ObjectVal(out)
}

// defaults are the values that the expressions of m see without arguments; false: there have to be some.
func (m *member) defaults() (env, bool) {
	in := env{}
	if m.each != cty.NilVal {
		in["each"] = m.each
	}
	vals := map[string]cty.Value{}
	for _, p := range m.task.params {
		if p.def == cty.NilVal {
			return nil, false
		}
		vals[p.Name] = p.def
	}
	in["param"] = cty.ObjectVal(vals)
	return in, true
}

// filler makes a step of t whole once results are known. in are the values that its expressions see, but for tasks.
func (p *Program) filler(t *task, name string, in env, step plan.Step) func(map[string]string) (plan.Step, error) {
	mentioned := map[*task]bool{}
	for _, x := range append(commandOf(t.Task), t.Inputs) {
		if x != nil {
			for _, ref := range t.home.u.module.TaskRefs(x) {
				if o := t.home.named(&ref); o != nil {
					mentioned[o] = true
				}
			}
		}
	}
	return func(results map[string]string) (plan.Step, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		defer p.forget(len(p.names.reads))()
		var g *ground
		err := t.home.try(func() {
			b := &build{names: t.home, domain: &domain{results: results}}
			g = b.fill(t.Task, name, in.with("task", b.taskObject(mentioned)))
		})
		if l, ok := errors.AsType[*diag.ListError](err); ok { // there is no place to show sources
			detail, _, _ := strings.Cut(l.List.Sorted()[0].Detail, "\n")
			return plan.Step{}, errors.New(p.names.hidden.mask().Text(fmt.Sprintf("%s: %s", err, strings.TrimSuffix(detail, "."))))
		}
		if !g.whole {
			return plan.Step{}, errors.New("with its results it is still not known")
		}
		out := g.step
		out.ID, out.Node, out.After, out.Params, out.Criterion = step.ID, step.Node, step.After, step.Params, step.Criterion
		if out.Inputs != nil && step.Inputs != nil {
			out.Inputs.Steps = step.Inputs.Steps
		}
		return out, nil
	}
}

// stepRefs are the steps of the same method whose results expressions refer to, sorted.
func (n *names) stepRefs(list ...hcl.Expression) (out []string) {
	for _, x := range list {
		if x == nil || n.bad[x] {
			continue
		}
		for _, r := range n.refer(x).names {
			if name, ok := strings.CutPrefix(r, "step."); ok {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// trace finds the tasks that can lead to a reference to a step.
func (p *Program) trace() {
	callers := map[*task][]*task{}
	var todo []*task
	deferring := slices.ContainsFunc(p.order, func(t *task) bool { return t.valued })
	for _, t := range p.order {
		for _, m := range t.methods {
			for _, s := range m.Steps {
				if c := t.home.called(s); c != nil {
					callers[c] = append(callers[c], t)
				}
				if !t.traced && len(t.home.stepRefs(expressionsOf(s)...)) > 0 {
					t.traced = true
					todo = append(todo, t)
				}
			}
		}
	}
	for len(todo) > 0 {
		t := todo[0]
		todo = todo[1:]
		deferring = true
		for _, c := range callers[t] {
			if !c.traced {
				c.traced = true
				todo = append(todo, c)
			}
		}
	}
	for _, n := range p.modules {
		n.deferring = deferring
	}
}

// called is the task that a step achieves, nil if there is none.
func (n *names) called(s *lang.Step) *task {
	if s.Task == nil {
		return nil
	}
	return n.named(s.Task)
}

func (u *unit) traced() bool {
	return u.wraps != nil || u.task != nil && u.task.traced && u.open == nil
}

// longer is the way below a step, called name, of a method of the task whose way it is.
func longer(method, name string) htn.Term {
	return htn.Term{Func: &htn.Func{Vars: []string{way}, Text: way, Eval: func(vals []htn.Value) (htn.Value, error) {
		v, err := decode(vals[0], cty.String)
		if err != nil {
			return "", err
		}
		return encode(cty.StringVal(v.AsString() + "." + method + "." + name))
	}}}
}

// begin is the way to a unit that is needed, or the goal: its name with its arguments.
func begin(u *unit, args []htn.Term) htn.Term {
	if !u.lifted {
		k, err := encode(cty.StringVal(strings.TrimSuffix(u.name, "[*]")))
		if err != nil {
			panic("compiler: " + err.Error()) // a string always can be
		}
		return htn.C(k)
	}
	return compose(args, way, func(vals []htn.Value) (htn.Value, error) {
		return encode(cty.StringVal(call(u.member.name, u.task.params, u.values(vals))))
	})
}

// wrap makes the unit that stands for s: for each way that has led here, and whose results are known, the steps that it
// means then; else an open one.
func (b *build) wrap(u *unit, m *lang.Method, s *lang.Step, f *frame, refs []string) (*unit, []htn.Term) {
	w := &unit{name: u.name + "." + m.Name + "." + s.Name, rng: s.Range, depth: u.depth}
	w.wraps = append(slices.Sorted(maps.Keys(f.lifted)), way)
	args := make([]htn.Term, len(w.wraps))
	for i, v := range w.wraps {
		args[i] = htn.V(v)
	}
	if len(b.results) == 0 { // types are checked before anything is known
		unknown := f.env.with("step", b.stepValues(m, refs, ""))
		if t := b.called(s); t != nil && len(f.lifted) == 0 {
			for _, a := range s.With {
				if i := slices.Index(t.paramNames, a.Name); i >= 0 && s.ForEach == nil {
					b.as(a.Expr, unknown, t.params[i].Type)
				}
			}
		}
	}
	var others htn.All
	for _, at := range b.ways(m, refs) {
		k, err := encode(cty.StringVal(at))
		if err != nil {
			continue // it comes from a step's name
		}
		here := htn.Equal{A: htn.V(way), B: htn.C(k), Text: "after " + at}
		others = append(others, htn.Not{Cond: here})
		g := &frame{env: f.env.with("step", b.stepValues(m, refs, at)), lifted: f.lifted, unit: w}
		known := htn.Method{Name: at, Range: s.Range, When: here}
		for _, o := range b.occurrences(s, g) {
			if target, args, ok := b.callMember(o.member, s.With, o.f, s.Range); ok {
				known.Steps = append(known.Steps, b.occur(w, target, args, m, o.name))
			}
		}
		w.methods = append(w.methods, known)
	}
	later := &unit{name: w.name + "…", task: &task{home: b.names, Task: &lang.Task{Name: s.Task.Name, Range: s.Range}}, rng: s.Range,
		open: refs, behind: true, frame: &frame{}, rule: &warp.Rule{Name: w.name + "…"}}
	w.methods = append(w.methods, htn.Method{Name: "…", Range: s.Range, When: others, Steps: []htn.Sub{{Name: s.Name, Task: later.name}}})
	for _, x := range []*unit{w, later} {
		b.byName[x.name] = x
		b.units = append(b.units, x) // there is nothing to prepare
	}
	return w, args
}

// occur makes target, with arguments, a step of caller.
func (b *build) occur(caller, target *unit, args []htn.Term, m *lang.Method, name string) htn.Sub {
	target.occurs = true
	caller.calls = append(caller.calls, target)
	if target.traced() {
		args = append(slices.Clone(args), longer(m.Name, name))
	}
	return htn.Sub{Name: name, Task: target.name, Args: args}
}

// ways are those to the task of m from which all of its steps in refs have given results, sorted.
func (b *build) ways(m *lang.Method, refs []string) (out []string) {
	for id := range b.results { // order: put in order below
		at, ok := strings.CutSuffix(id, "."+m.Name+"."+refs[0])
		if ok && !slices.ContainsFunc(refs, func(r string) bool { _, known := b.results[at+"."+m.Name+"."+r]; return !known }) {
			out = append(out, at)
		}
	}
	slices.Sort(out)
	return out
}

// stepValues is what `step` is below a way; where nothing is known, unknown.
func (b *build) stepValues(m *lang.Method, refs []string, at string) cty.Value {
	out := map[string]cty.Value{}
	for _, s := range m.Steps {
		t := b.called(s)
		if !slices.Contains(refs, s.Name) || t == nil || t.Result == nil {
			continue
		}
		raw, known := b.results[at+"."+m.Name+"."+s.Name]
		out[s.Name] = cty.ObjectVal(map[string]cty.Value{"result": b.resultValue(t.Task, raw, known)})
	}
	return cty.ObjectVal(out)
}

// stepResult checks a reference to step NAME of the method, from one of its steps.
func (n *names) stepResult(name string, rest hcl.Traversal, s scope, whole diag.Range) {
	var there []string
	for _, o := range s.method.Steps {
		if o.Name == s.step {
			break
		}
		there = append(there, o.Name)
	}
	i := slices.IndexFunc(s.method.Steps, func(o *lang.Step) bool { return o.Name == name })
	switch {
	case !slices.Contains(there, name) && i >= 0:
		n.fail(lang.CodeUnknownStep, whole, fmt.Sprintf("step %q is not above this one", name), "A step can use the results of steps that are written above it.")
		return
	case i < 0:
		n.unknown(whole, lang.CodeUnknownStep, fmt.Sprintf("unknown step %q", name), name, there, "step.")
		return
	}
	o := s.method.Steps[i]
	t := n.called(o)
	attr, isAttr := hcl.TraverseAttr{}, false
	if len(rest) > 0 {
		attr, isAttr = rest[0].(hcl.TraverseAttr)
	}
	switch {
	case t == nil: // reported
	case o.ForEach != nil || t.ForEach != nil && o.Task.Key == nil:
		n.fail(CodeResult, whole, fmt.Sprintf("step %q is as many steps as its for_each says, so it has no result of its own", name), "Write what they find to files, or let one task do it for all.")
	case !isAttr || attr.Name != "result":
		n.fail(lang.CodeUnknownName, whole, fmt.Sprintf("step.%s is not a value of its own", name), fmt.Sprintf("What can be asked for is step.%s.result.", name))
	default:
		n.hasResult(t, whole)
	}
}

// hasResult reports a task that has none.
func (n *names) hasResult(t *task, at diag.Range) {
	switch {
	case t.Result != nil && t.Primitive():
	case !t.Primitive():
		n.fail(CodeResult, at, fmt.Sprintf("task %q has no command, so it has no result", t.Name), "Ask for the result of a task that has one.")
	default:
		n.diags = append(n.diags, diag.Diagnostic{
			Code: CodeResult, Subject: at, Summary: fmt.Sprintf("task %q has no result", t.Name),
			Related: []diag.Related{{Range: t.Range, Label: "task " + t.Name}}, Detail: `Give it result = "stdout", "json" or "file:PATH".`,
		})
	}
}

// valueOf checks what follows a reference to a task where a value is asked for.
func (n *names) valueOf(t *task, rest hcl.Traversal, s scope, whole diag.Range) {
	if len(rest) == 0 {
		switch {
		case s.tasks:
		case t.ForEach != nil:
			t.valued = true
		default:
			n.fail(lang.CodeUnknownName, whole, fmt.Sprintf("task.%s is not a value of its own", t.Name), fmt.Sprintf("What can be asked for is task.%s.result and task.%s.outputs.", t.Name, t.Name))
		}
		return
	}
	t.valued = true
	attr, ok := rest[0].(hcl.TraverseAttr)
	switch {
	case ok && attr.Name == "result":
		n.hasResult(t, whole)
		if t.required() {
			n.fail(CodeResult, whole, fmt.Sprintf("task %q needs arguments, so it has more than one result", t.Name), "Make it a step of a method, and ask for step.NAME.result there.")
		}
	case ok && attr.Name == "outputs":
		if t.Outputs == nil {
			n.fail(CodeResult, whole, fmt.Sprintf("task %q does not declare outputs", t.Name), "Give it outputs = […].")
		}
	case ok:
		n.unknown(whole, lang.CodeUnknownName, fmt.Sprintf("a task has no value %q", attr.Name), attr.Name, []string{"outputs", "result"}, "task."+t.Name+".")
	}
}
