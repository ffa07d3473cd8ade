package compiler

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// Calls with constant arguments make units of their own, whose files are followed. A task that calls itself with another
// argument each time would make them without end, so this goes only so far: then arguments are left to the search.
const (
	maxDepth = 64     // calls that lead from one to the next
	maxDeep  = 10_000 // units that more than one call led to
)

// build makes the units of a domain. Its names are those of the module at hand.
type build struct {
	*names
	*domain
}

// domain is the units of all modules.
type domain struct {
	order   []*task
	results map[string]string    // known: see Intent
	values  map[*names]cty.Value // of `task` with these, by module
	units   []*unit
	byName  map[string]*unit
	queue   []*unit
	deep    int // units that more than one call led to
}

// within is b where expressions of t are evaluated.
func (b *build) within(t *task) *build { return &build{names: t.home, domain: b.domain} }

// member and constant arguments make a unit; it is prepared later, from the queue.
func (b *build) unit(m *member, args []cty.Value, depth int) *unit {
	name := call(m.name, m.task.params, args)
	if u := b.byName[name]; u != nil {
		return u
	}
	in := env{}
	if m.each != cty.NilVal {
		in["each"] = m.each
	}
	if params := m.task.params; len(params) > 0 {
		vals := make(map[string]cty.Value, len(params))
		for i, p := range params {
			vals[p.Name] = args[i]
		}
		in["param"] = cty.ObjectVal(vals)
	}
	in["task"] = b.within(m.task).tasksValue()
	u := &unit{name: name, task: m.task, member: m, args: args, depth: depth}
	u.frame = &frame{env: in, unit: u}
	b.within(m.task).opens(u)
	if depth > 1 {
		b.deep++
	}
	b.enter(u)
	return u
}

// plain is the unit of m with default arguments, nil if it has to have arguments.
func (b *build) plain(m *member) *unit {
	args := make([]cty.Value, len(m.task.params))
	for i, p := range m.task.params {
		if p.def == cty.NilVal {
			return nil
		}
		args[i] = p.def
	}
	return b.unit(m, args, 0)
}

// lifted is the unit of m whose arguments the search gives.
func (b *build) lifted(m *member) *unit {
	name := m.name + "(…)"
	if u := b.byName[name]; u != nil {
		return u
	}
	in := env{}
	if m.each != cty.NilVal {
		in["each"] = m.each
	}
	in["task"] = b.within(m.task).tasksValue()
	u := &unit{name: name, task: m.task, member: m, lifted: true}
	b.within(m.task).opens(u)
	u.frame = &frame{env: in, lifted: map[string]cty.Type{}, unit: u}
	for _, p := range m.task.params {
		u.frame.lifted["param."+p.Name] = p.Type
	}
	b.enter(u)
	if u.open == nil {
		b.within(m.task).conditions(u) // now: whoever calls it has to know its derived parameters
	}
	return u
}

// family is the unit of all members of t with their default arguments.
func (b *build) family(t *task) *unit {
	name := t.Name + "[*]"
	if u := b.byName[name]; u != nil {
		return u
	}
	u := &unit{name: name, rng: t.Range}
	for _, m := range t.members {
		if p := b.plain(m); p != nil {
			u.needs = append(u.needs, need{unit: p, at: t.Range})
		}
	}
	b.enter(u)
	return u
}

func (b *build) enter(u *unit) {
	if u.task != nil {
		u.rng = u.task.Range
	}
	b.byName[u.name] = u
	b.units = append(b.units, u)
	b.queue = append(b.queue, u)
}

// run prepares all units that are waiting, and those that these call.
func (b *build) run() {
	for len(b.queue) > 0 {
		u := b.queue[0]
		b.queue = b.queue[1:]
		if u.task != nil {
			b.within(u.task).prepare(u)
		}
	}
}

func (b *build) prepare(u *unit) {
	t := u.task
	u.cost = 1
	if t.Cost != nil {
		u.cost = b.cost(t.Cost, u.frame)
	}
	if u.open != nil {
		b.postpone(u)
		return
	}
	if b.deferring {
		if b.deferring {
			u.waits = b.awaited(b.resultRefs(true, commandOf(t.Task)...))
		}
	}
	if t.Primitive() && !u.lifted {
		u.ground = b.fill(t.Task, u.name, u.frame.env)
		b.inputTasks(u, u.ground.refs)
	}
	if t.Primitive() && u.lifted && t.Inputs != nil && b.refer(t.Inputs).root("task") {
		if len(u.frame.depends(b.refer(t.Inputs))) > 0 {
			b.unsupported(place(t.Inputs), "a task among inputs that depend on a parameter which is only known while planning")
		} else {
			g := &ground{}
			b.inputs(g, t.Inputs, u.frame.env)
			b.inputTasks(u, g.refs)
		}
	}
	if !u.lifted {
		b.conditions(u)
	}
	if t.Needs != nil && !b.bad[t.Needs] {
		b.needs(u)
	}
	b.resultNeeds(u)
	for i, m := range t.methods {
		b.steps(u, m, &u.methods[i])
	}
}

// inputTasks makes tasks among the inputs needs.
func (b *build) inputTasks(u *unit, refs []reference) {
	for i := range refs {
		if n := len(u.needs); b.needed(u, refs[i]) {
			refs[i].unit = u.needs[n].unit.name
		}
	}
}

// conditions makes the rule of a primitive unit, or the methods of a compound one without their steps.
func (b *build) conditions(u *unit) {
	if u.task.Primitive() {
		b.rules(u)
		return
	}
	for _, m := range u.task.methods {
		f := b.methodFrame(u, m)
		c := &condition{build: b, f: f}
		hm := htn.Method{Name: m.Name, Range: m.Range, When: c.all(b.conjuncts(m.When), true)}
		for _, v := range m.Any {
			hm.Vars = append(hm.Vars, "any."+v.Name)
		}
		hm.Vars = append(hm.Vars, c.fresh...)
		if m.Cost != nil {
			hm.Cost = b.cost(m.Cost, u.frame)
		}
		u.methods = append(u.methods, hm)
	}
}

// methodFrame is where the expressions of a method stand.
func (b *build) methodFrame(u *unit, m *lang.Method) *frame {
	f := &frame{env: u.frame.env, lifted: map[string]cty.Type{}, unit: u}
	for name, ty := range u.frame.lifted { // order: a map again
		f.lifted[name] = ty
	}
	for name, ty := range b.anyTypes(m) { // order: a map again
		f.lifted[name] = ty
	}
	return f
}

// cost is a constant number that is not negative.
func (b *build) cost(x hcl.Expression, f *frame) float64 {
	if len(f.depends(b.refer(x))) > 0 {
		b.unsupported(place(x), "a cost that is only known while planning")
		return 1
	}
	v, ok := b.as(x, f.env, cty.Number)
	if !ok || !v.IsKnown() {
		return 1
	}
	if v.IsNull() || v.LessThan(cty.Zero).True() {
		b.bad[x] = true
		b.fail(lang.CodeShape, place(x), "a cost is negative", "The planner needs numbers from 0 upwards.")
		return 1
	}
	c, _ := v.AsBigFloat().Float64()
	return c
}

// steps fills in the steps of a method.
func (b *build) steps(u *unit, m *lang.Method, hm *htn.Method) {
	if never(hm.When) {
		return
	}
	f := b.methodFrame(u, m)
	subs, before := map[string][]int{}, map[string][]int{} // by step: its occurrences, and what is ordered before them
	for i, s := range m.Steps {
		after := s.After
		var prior []string
		switch {
		case after != nil:
			for _, a := range after {
				prior = append(prior, a.Name)
			}
		case i > 0 && !m.Parallel:
			prior = []string{m.Steps[i-1].Name}
		}
		refs := b.stepRefs(expressionsOf(s)...)
		prior = append(prior, refs...)
		for _, p := range prior {
			if len(subs[p]) == 0 { // without occurrences: what was before them
				before[s.Name] = append(before[s.Name], before[p]...)
			} else {
				before[s.Name] = append(before[s.Name], subs[p]...)
			}
		}
		var means []htn.Sub
		if len(refs) > 0 && s.Task != nil {
			w, args := b.wrap(u, m, s, f, refs)
			u.calls = append(u.calls, w)
			means = []htn.Sub{{Name: s.Name, Task: w.name, Args: args}}
		} else {
			for _, o := range b.occurrences(s, f) {
				if target, args, ok := b.callMember(o.member, s.With, o.f, s.Range); ok {
					means = append(means, b.occur(u, target, args, m, o.name))
				}
			}
		}
		for _, sub := range means {
			n := len(hm.Steps)
			hm.Steps = append(hm.Steps, sub)
			subs[s.Name] = append(subs[s.Name], n)
			for _, p := range before[s.Name] {
				hm.Order = append(hm.Order, [2]int{p, n})
			}
		}
	}
}

// never reports whether a condition cannot hold, whatever the facts are.
func never(c htn.Cond) bool {
	switch c := c.(type) {
	case htn.Guard:
		return len(c.Vars) == 0
	case htn.All:
		return slices.ContainsFunc(c, never)
	}
	return false
}

// occurrence is a step, or one of those that for_each, its own or that of its task, makes of it.
type occurrence struct {
	name   string
	member *member
	f      *frame
}

func (b *build) occurrences(s *lang.Step, f *frame) (out []occurrence) {
	type each struct {
		name string
		f    *frame
	}
	steps := []each{{s.Name, f}}
	if s.ForEach != nil {
		if len(f.depends(b.refer(s.ForEach))) > 0 {
			b.unsupported(place(s.ForEach), "for_each over what is only known while planning")
			return nil
		}
		keys, ok := b.forEach(s.ForEach, f.env)
		if !ok {
			return nil
		}
		steps = nil
		for _, k := range keys {
			g := *f
			g.env = f.env.with("each", k.each)
			steps = append(steps, each{fmt.Sprintf("%s[%s]", s.Name, quote(k.key)), &g})
		}
	}
	for _, e := range steps {
		t, m, ok := b.resolve(s.Task, e.f)
		switch {
		case !ok:
		case m != nil:
			out = append(out, occurrence{e.name, m, e.f})
		default:
			for _, m := range t.members {
				out = append(out, occurrence{fmt.Sprintf("%s[%s]", e.name, quote(m.key)), m, e.f})
			}
		}
	}
	return out
}

// forEach evaluates a for_each: a map, a set or a list of strings. Sets and maps are in order of their keys.
func (b *build) forEach(x hcl.Expression, in env) (out []member, ok bool) {
	v, ok := b.value(x, in)
	if !ok || !b.open(v, x, "for_each") || b.unanswered(v) {
		return nil, false
	}
	v, _ = v.UnmarkDeep()
	wrong := func(detail string) ([]member, bool) {
		b.bad[x] = true
		b.fail(lang.CodeEvaluation, place(x), "wrong type of for_each", detail)
		return nil, false
	}
	if v.IsNull() || !v.IsWhollyKnown() || !v.CanIterateElements() {
		return wrong("A set, a map or a list of strings is needed.")
	}
	seen := map[string]bool{}
	object := v.Type().IsObjectType() || v.Type().IsMapType()
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if !object {
			k = e
		}
		if !k.Type().IsPrimitiveType() || k.IsNull() {
			return wrong("Its elements name the members, so they have to be strings. Use a map from names to values: { for x in … : x.name => x }.")
		}
		name, isText := keyText(k)
		if !isText {
			k = cty.StringVal(name)
		}
		if seen[name] {
			return wrong(fmt.Sprintf("%s is in it twice; distinct(…) leaves out duplicates.", quote(name)))
		}
		seen[name] = true
		out = append(out, member{key: name, each: cty.ObjectVal(map[string]cty.Value{"key": k, "value": e})})
	}
	return out, true
}

func keyText(k cty.Value) (string, bool) {
	if k.Type() == cty.String {
		return k.AsString(), true
	}
	return text(k), false
}

// call finds the unit that a reference with arguments means, and its arguments if it is lifted.
func (b *build) call(ref *lang.TaskRef, with []*lang.Attr, f *frame, at diag.Range) (*unit, []htn.Term, bool) {
	t, m, ok := b.resolve(ref, f)
	if !ok {
		return nil, nil, false
	}
	return b.callTask(t, m, with, f, at)
}

// callTask is call for what a reference was resolved to: a nil member is a whole family.
func (b *build) callTask(t *task, m *member, with []*lang.Attr, f *frame, at diag.Range) (*unit, []htn.Term, bool) {
	switch {
	case m != nil:
		return b.callMember(m, with, f, at)
	case len(with) > 0:
		b.unsupported(at, "giving arguments to a whole family that is needed")
		return nil, nil, false
	}
	return b.family(t), nil, b.fits(t, nil, at)
}

func (b *build) callMember(m *member, with []*lang.Attr, f *frame, at diag.Range) (*unit, []htn.Term, bool) {
	t := m.task
	ok := b.fits(t, with, at)
	if !ok {
		return nil, nil, false
	}
	given := map[string]hcl.Expression{}
	for _, a := range with {
		given[a.Name] = a.Expr
	}
	args := make([]cty.Value, len(t.params))
	terms := make([]htn.Term, len(t.params))
	constant := true
	for i, p := range t.params {
		x := given[p.Name]
		if x == nil {
			args[i] = p.def
			k, err := encode(p.def)
			if err != nil {
				return nil, nil, false
			}
			terms[i] = htn.C(k)
			continue
		}
		said := len(b.diags)
		if terms[i], ok = b.argument(x, f, p.Type); !ok {
			b.relate(said, diag.Related{Range: p.Range, Label: "param " + p.Name})
			return nil, nil, false
		}
		if terms[i].Var != "" || terms[i].Func != nil {
			constant = false
		} else if args[i], ok = b.defaulted(p, x, f); !ok {
			return nil, nil, false
		} else if k, err := encode(args[i]); err == nil {
			terms[i] = htn.C(k)
		}
	}
	depth := f.unit.depth
	if len(with) > 0 {
		depth++
	}
	if constant && depth <= maxDepth && (depth <= 1 || b.deep < maxDeep) {
		return b.unit(m, args, depth), nil, true
	}
	u := b.lifted(m)
	return u, b.derive(u, terms), true
}

// relate adds a place to what was said about a value of the wrong type, from the diagnostic with index said on.
func (b *build) relate(said int, place diag.Related) {
	for i := said; i < len(b.diags); i++ {
		if d := &b.diags[i]; d.Summary == wrongType && len(d.Related) == 0 {
			d.Related = append(d.Related, place)
		}
	}
}

// defaulted is x as a value for p, with the defaults of optional attributes filled in.
func (b *build) defaulted(p param, x hcl.Expression, f *frame) (cty.Value, bool) {
	if p.Defaults == nil {
		return b.constant(x, f.env, p.Type)
	}
	v, ok := b.value(x, f.env)
	if !ok || !b.open(v, x, "an argument") {
		return v, false
	}
	v, _ = v.UnmarkDeep()
	if !v.IsNull() {
		v = p.Defaults.Apply(v)
	}
	return b.convert(v, p.Type, x)
}

// derive appends the derived arguments of u to args.
func (b *build) derive(u *unit, args []htn.Term) []htn.Term {
	e, f := u.task.home.evaluator, u.frame
	var names []string
	for _, p := range u.task.params {
		names = append(names, "param."+p.Name)
	}
	out := slices.Clone(args)
	for _, d := range u.derived {
		eval := func(vals []htn.Value) (k htn.Value, err error) {
			in, err := f.bind(names, vals)
			if err != nil {
				return "", err
			}
			v := cty.NilVal
			if err := e.try(func() { v, _ = e.as(d.expr, in, d.ty) }); err != nil {
				return "", err
			}
			return encode(v)
		}
		out = append(out, compose(args, b.u.source(d.expr), eval))
	}
	return out
}

// compose is the term f(args…).
func compose(args []htn.Term, text string, f func([]htn.Value) (htn.Value, error)) htn.Term {
	var vars []string
	for _, a := range args {
		switch {
		case a.Func != nil:
			vars = append(vars, a.Func.Vars...)
		case a.Var != "":
			vars = append(vars, a.Var)
		}
	}
	slices.Sort(vars)
	vars = slices.Compact(vars)
	return htn.Term{Func: &htn.Func{Vars: vars, Text: text, Eval: func(vals []htn.Value) (htn.Value, error) {
		of := func(name string) htn.Value { return vals[slices.Index(vars, name)] }
		in := make([]htn.Value, len(args))
		for i, a := range args {
			switch {
			case a.Func != nil:
				own := make([]htn.Value, len(a.Func.Vars))
				for j, v := range a.Func.Vars {
					own[j] = of(v)
				}
				var err error
				if in[i], err = a.Func.Eval(own); err != nil {
					return "", err
				}
			case a.Var != "":
				in[i] = of(a.Var)
			default:
				in[i] = a.Const
			}
		}
		return f(in)
	}}}
}

// resolve finds what a reference names: a member, or, with a nil member, a whole family.
func (b *build) resolve(ref *lang.TaskRef, f *frame) (*task, *member, bool) {
	if ref == nil || ref.Attr != "" {
		return nil, nil, false // reported
	}
	t := b.named(ref)
	switch {
	case t == nil:
		return nil, nil, false // reported
	case ref.Key == nil && t.ForEach == nil:
		return t, t.members[0], true
	case ref.Key == nil:
		return t, nil, t.keys
	}
	if len(f.depends(b.refer(ref.Key))) > 0 {
		b.unsupported(ref.Range, "a member that is only known while planning")
		return nil, nil, false
	}
	key, ok := b.text(ref.Key, f.env)
	if !ok {
		return nil, nil, false
	}
	m := b.member(t, key, ref.Range)
	return t, m, m != nil
}

// fits reports arguments that t does not have and those that it misses.
func (n *names) fits(t *task, with []*lang.Attr, at diag.Range) bool {
	ok := true
	given := map[string]bool{}
	for _, a := range with {
		given[a.Name] = true
		if !slices.Contains(t.paramNames, a.Name) {
			ok = false
			n.unknown(a.NameRange, lang.CodeArguments, fmt.Sprintf("task %q has no parameter %q", t.Name, a.Name), a.Name, t.paramNames, "")
		}
	}
	for _, p := range t.params {
		if p.Default == nil && !given[p.Name] {
			ok = false
			n.diags = append(n.diags, diag.Diagnostic{
				Code: lang.CodeArguments, Subject: at, Summary: fmt.Sprintf("task %q needs the argument %q", t.Name, p.Name),
				Detail:  fmt.Sprintf("Give it with = { %s = … }.", p.Name),
				Related: []diag.Related{{Range: p.Range, Label: "param " + p.Name}},
			})
		} else if p.def == cty.NilVal && !given[p.Name] {
			ok = false // its default is wrong, which was said
		}
	}
	return ok
}

// needs evaluates the needs of u.
func (b *build) needs(u *unit) {
	x := u.task.Needs
	in := u.frame.env
	f := &frame{env: in, lifted: u.frame.lifted, unit: u}
	if len(f.depends(b.refer(x))) == 0 {
		b.evaluateNeeds(u, x, x, in)
		return
	}
	list, ok := bare(x).(*hclsyntax.TupleConsExpr)
	if !ok {
		b.unsupported(place(x), "choosing needs by a parameter that is only known while planning")
		return
	}
	for _, e := range list.Exprs {
		if len(f.depends(b.refer(e))) == 0 {
			b.evaluateNeeds(u, &hclsyntax.TupleConsExpr{Exprs: []hclsyntax.Expression{e}, SrcRange: e.Range(), OpenRange: e.StartRange()}, x, in)
			continue
		}
		n, ds := b.u.module.Need(e)
		if n == nil || ds.HasErrors() {
			b.unsupported(place(e), "choosing needs by a parameter that is only known while planning")
			continue
		}
		if target, args, ok := b.call(&n.Task, n.With, f, n.Range); ok {
			u.needs = append(u.needs, need{unit: target, args: args, at: n.Range})
		}
	}
}

func (b *build) evaluateNeeds(u *unit, x, whole hcl.Expression, in env) {
	v, ok := b.value(x, in)
	if !ok || !b.open(v, whole, "an argument") || b.unanswered(v) {
		return
	}
	refs, err := references(v, x)
	if err != nil {
		b.bad[whole] = true
		b.fail(lang.CodeEvaluation, place(x), "wrong type of needs", sentence(err.Error())+" Needs are a list of tasks.")
		return
	}
	for _, r := range refs {
		if r.isTask {
			b.needed(u, r)
		} else if _, list := x.(*hclsyntax.TupleConsExpr); !list { // else package lang has said so
			b.bad[whole] = true
			b.fail(lang.CodeNotReference, r.at, "not a reference to a task", fmt.Sprintf("%s is text; a task is referred to as task.NAME.", quote(r.pattern)))
			return
		}
	}
}

// needed adds a need with constant arguments to u.
func (b *build) needed(u *unit, r reference) bool {
	with := make([]*lang.Attr, 0, len(r.with))
	for name, v := range r.with { // order: put in order below
		with = append(with, &lang.Attr{Name: name, NameRange: r.at, Expr: &hclsyntax.LiteralValueExpr{Val: v, SrcRange: hclRange(r.at)}})
	}
	slices.SortFunc(with, func(a, b *lang.Attr) int { return slices.Compare([]string{a.Name}, []string{b.Name}) })
	target, args, ok := b.callTask(r.task, r.member, with, &frame{env: u.frame.env, unit: u}, r.at)
	if ok {
		u.needs = append(u.needs, need{unit: target, args: args, at: r.at})
	}
	return ok
}

func hclRange(r diag.Range) hcl.Range {
	pos := func(p diag.Pos) hcl.Pos { return hcl.Pos{Line: p.Line, Column: p.Column, Byte: p.Byte} }
	return hcl.Range{Filename: r.File, Start: pos(r.Start), End: pos(r.End)}
}
