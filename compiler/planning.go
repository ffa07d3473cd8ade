package compiler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// goal is a resolved intent.
type goal struct {
	name string // canonical: "build", "compile os=darwin"
	slap *slap
	unit string       // else: of a task, a member or a family
	make func(*build) // makes that unit
	task *task        // of the unit
	rng  diag.Range
}

// Plan finds the first candidate for an intent that uses none of the ground methods and steps that are excluded, after
// skip others: those whose steps all went well and whose result was not good enough. facts is the System graph: its fact
// nodes, which are the kept facts, join the observed ones.
//
// The error is a [*NoPlanError] when there is no candidate, a [*RefusedError] when the slap assumes what does not hold,
// a [*diag.ListError] when the intent makes no sense or the program has errors, or ctx's cause.
func (p *Program) Plan(ctx context.Context, in Intent, facts warp.Graph, excluded []plan.Excluded, skip int) (pl *plan.Plan, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { err = p.masked(err) }()
	if p.diags.HasErrors() {
		return nil, &diag.ListError{List: p.diags}
	}
	n := p.names
	reads := len(n.reads)
	defer p.forget(reads)()

	g, err := p.goal(in)
	if err != nil {
		return nil, err
	}
	if err := p.assumed(g, facts); err != nil {
		if stale := p.base.stale(n.reads[reads:]); stale.HasErrors() { // it has looked at yesterday's outputs
			return nil, &diag.ListError{List: stale}
		}
		return nil, err
	}
	asked := fmt.Sprintf("%q %q %q %d", g.name, g.unit, in.Results, skip)
	for _, x := range excluded {
		asked += fmt.Sprintf(" %q %q %q", x.Key, x.Step, x.Reason)
	}
	if out := p.again(ctx, g, asked, facts, excluded); out != nil {
		return out, nil
	}
	a, err := p.assembly(in.Results)
	if err != nil {
		return nil, err
	}
	if g.slap == nil && a.byName[g.unit] == nil {
		if err := n.try(func() { a = p.assemble(g.make, in.Results) }); err != nil {
			return nil, err
		}
		p.finish(a)
	}
	p.current = a
	problem, err := p.problem(a, facts, excluded)
	if err != nil {
		return nil, err
	}
	if g.slap != nil {
		problem.Goal = []htn.Sub{{Task: "slap." + g.slap.Name}, {Task: "slap." + g.slap.Name + ".success"}}
		if err := prefer(&problem, g.slap.Prefer, a, in); err != nil {
			return nil, err
		}
	} else {
		goal := htn.Sub{Task: g.unit}
		if u := a.byName[g.unit]; u.traced() {
			goal.Args = []htn.Term{begin(u, nil)}
		}
		problem.Goal = []htn.Sub{goal}
	}
	c, err := p.search(ctx, a, g, problem, skip)
	if err != nil {
		return nil, err
	}
	if stale := a.stale(n.reads[reads:]); stale.HasErrors() {
		return nil, &diag.ListError{List: stale}
	}
	var out *plan.Plan
	var made error
	if err := n.try(func() { out, made = (&planner{assembly: a, program: p, goal: g, c: c}).plan() }); err != nil || made != nil {
		return nil, errors.Join(err, made)
	}
	m := n.u.module
	out.Program, out.Candidate, out.Excluded = p.digest, len(excluded)+skip, slices.Clone(excluded)
	out.Ignore, out.Strict = m.Settings.Ignore, m.Settings.Strict
	out.Relations = p.Relations()
	if n.hidden.any {
		out.Mask = p.Mask
	}
	p.last = &planned{asked, a, facts, c.Reads, out}
	return out, nil
}

// problem is one over these facts and the observed ones, without what is to be achieved.
func (p *Program) problem(a *assembly, facts warp.Graph, excluded []plan.Excluded) (htn.Problem, error) {
	problem := htn.Problem{Limits: htn.Limits{
		// A plan without recursion takes about two decompositions for each unit; what goes far beyond does not end.
		Depth: 500_000 + 10*len(a.units), Nodes: 2_000_000 + 100*len(a.units), Bytes: 1 << 30,
	}}
	var ops []warp.Op
	for _, f := range p.observed {
		if _, there := facts.Node(f.ID()); !there {
			ops = append(ops, warp.AddNode(f))
		}
	}
	for _, x := range excluded {
		e, err := exclusion(x)
		if err != nil {
			return problem, err
		}
		problem.Exclude = append(problem.Exclude, e)
	}
	var err error
	if problem.Facts, err = facts.Apply(warp.Rewrite{Ops: ops}); err != nil {
		return problem, fmt.Errorf("observed facts: %w", err)
	}
	return problem, nil
}

// forget returns what makes the evaluators what they are now: what goes wrong for one plan may go well for another.
func (p *Program) forget(reads int) func() {
	bad := make([]map[hcl.Expression]bool, len(p.modules))
	for i, n := range p.modules {
		bad[i] = maps.Clone(n.bad)
	}
	return func() {
		for i, n := range p.modules {
			n.bad = bad[i]
		}
		p.names.reads = p.names.reads[:reads]
	}
}

// prefer says which candidate comes first. What never ran lasts no time: so it is tried, and then known.
func prefer(problem *htn.Problem, what string, a *assembly, in Intent) error {
	switch what {
	case "cost":
		problem.Prefer = htn.Cheapest
	case "duration":
		problem.Prefer = htn.Fastest
		past := map[string]time.Duration{}
		if in.Past != nil {
			var err error
			if past, err = in.Past(); err != nil {
				return fmt.Errorf("how long tasks took: %w", err)
			}
		}
		problem.Duration = func(task string) float64 { return past[a.byName[task].task.Name].Seconds() }
	}
	return nil
}

// Relations are the facts that the program declares, in written order.
func (p *Program) Relations() []plan.Relation {
	var out []plan.Relation
	for _, n := range p.modules {
		for _, f := range n.u.module.Facts {
			r := n.u.relations[f.Name]
			out = append(out, plan.Relation{Name: r.Name, Keep: cmp.Or(plan.Keep(f.Keep), plan.KeepRun), Observed: r.observed})
		}
	}
	return out
}

// Exclude is the ground method nearest above a step that failed for good, for the next call of Plan. false: no method
// led to the step, so that there is no other way; what is excluded is the step itself then.
func (p *Program) Exclude(pl *plan.Plan, step int, reason string) (plan.Excluded, bool) {
	s := &pl.Steps[step]
	for i := s.Node; i >= 0; i = pl.Tree[i].Parent {
		if n := pl.Tree[i]; n.Method != "" {
			return plan.Excluded{Node: n, Step: s.ID, Reason: reason, Key: n.Key}, true
		}
	}
	n := pl.Tree[s.Node]
	return plan.Excluded{Node: n, Step: s.ID, Reason: reason, Key: n.Key}, false
}

// ground methods and steps as text: what Exclude gives and Plan takes.
type groundKey struct {
	Task   string     `cbor:"task"`
	Args   [][]byte   `cbor:"args"`
	Method string     `cbor:"method"`
	Bind   []boundKey `cbor:"bind"`
}

type boundKey struct {
	Var   string `cbor:"var"`
	Value []byte `cbor:"value"`
}

func keyOf(n htn.Node) (string, error) {
	k := groundKey{Task: n.Task, Args: [][]byte{}, Method: n.Method, Bind: []boundKey{}}
	for _, a := range n.Args {
		k.Args = append(k.Args, []byte(a))
	}
	for _, b := range n.Bind {
		k.Bind = append(k.Bind, boundKey{b.Var, []byte(b.Value)})
	}
	b, err := cbor.Encode(k)
	return string(b), err
}

func exclusion(x plan.Excluded) (htn.Exclusion, error) {
	var k groundKey
	if err := cbor.Unmarshal([]byte(x.Key), &k); err != nil {
		return htn.Exclusion{}, fmt.Errorf("what is excluded does not come from a plan: %w", err)
	}
	e := htn.Exclusion{Task: k.Task, Method: k.Method, Reason: x.Reason}
	for _, a := range k.Args {
		e.Args = append(e.Args, htn.Value(a))
	}
	for _, b := range k.Bind {
		e.Bind = append(e.Bind, htn.Bound{Var: b.Var, Value: htn.Value(b.Value)})
	}
	return e, nil
}

func problem(code, summary, detail string) error {
	return &diag.ListError{List: diag.List{{Code: code, Summary: summary, Detail: detail}}}
}

// goal finds what an intent means.
func (p *Program) goal(in Intent) (*goal, error) {
	name := in.Target
	if name == "" {
		i := slices.IndexFunc(p.targets, func(t Target) bool { return t.Default })
		if i < 0 {
			return nil, problem(CodeNoTarget, "no target", p.hint("Say which one, or set jitos { default = task.NAME }."))
		}
		name = p.targets[i].Kind + "." + p.targets[i].Name
	}
	kind, task, key, isMember := address(name)
	if s := p.slaps[task]; s != nil && kind != "task" && !isMember {
		if len(in.Args) > 0 {
			return nil, problem(CodeTarget, fmt.Sprintf("slap %q takes no arguments", s.Name), "Its values are variables of the module: --var NAME=VALUE.")
		}
		return &goal{name: s.Name, slap: s, rng: s.Range}, nil
	}
	t := p.tasks[task]
	if t == nil || kind == "slap" {
		var names []string
		for _, t := range p.targets {
			names = append(names, t.Name)
		}
		detail := p.hint("")
		if s, ok := diag.Suggest(task, names); ok {
			detail = "Did you mean " + s + "? " + detail
		}
		return nil, problem(CodeTarget, fmt.Sprintf("unknown target %q", in.Target), detail)
	}
	var m *member
	switch {
	case isMember:
		var err error
		if err = p.names.try(func() { m = p.names.member(t, key, t.Range) }); err != nil {
			return nil, err
		}
	case t.ForEach == nil:
		m = t.members[0]
	case len(in.Args) > 0:
		return nil, problem(CodeTarget, fmt.Sprintf("task %q is a family, which takes no arguments", t.Name), "Name one of its members: "+t.Name+`["KEY"].`)
	default:
		return &goal{name: t.Name, unit: t.Name + "[*]", make: func(b *build) { b.family(t) }, rng: t.Range, task: t}, nil
	}
	return p.arguments(t, m, in)
}

// arguments reads the arguments of an intent.
func (p *Program) arguments(t *task, m *member, in Intent) (*goal, error) {
	var diags diag.List
	fail := func(summary, detail string) {
		diags = append(diags, diag.Diagnostic{Code: CodeTarget, Summary: summary, Detail: detail})
	}
	for _, name := range slices.Sorted(maps.Keys(in.Args)) {
		if !slices.Contains(t.paramNames, name) {
			detail := fmt.Sprintf("Task %s takes %s.", t.Name, list(t.paramNames, "no arguments"))
			if s, ok := diag.Suggest(name, t.paramNames); ok {
				detail = "Did you mean " + s + "? " + detail
			}
			fail(fmt.Sprintf("task %q has no parameter %q", t.Name, name), detail)
		}
	}
	g := &goal{name: m.name, rng: t.Range, task: t}
	args := make([]cty.Value, len(t.params))
	for i, q := range t.params {
		raw, given := in.Args[q.Name]
		if !given {
			if args[i] = q.def; q.def == cty.NilVal {
				fail(fmt.Sprintf("task %q needs the argument %q", t.Name, q.Name), fmt.Sprintf("Give it as %s=VALUE.", q.Name))
			}
			continue
		}
		v, err := typed(raw, q.Type)
		if err == nil && q.Defaults != nil && !v.IsNull() {
			v, err = convert.Convert(q.Defaults.Apply(v), q.Type)
		}
		if err == nil {
			_, err = encode(v)
		}
		if err != nil {
			fail(fmt.Sprintf("%s=%s does not fit task %q", q.Name, raw, t.Name), sentence(err.Error()))
			continue
		}
		args[i] = v
		if q.def == cty.NilVal || !v.RawEquals(q.def) {
			g.name += " " + q.Name + "=" + typedText(v)
		}
	}
	if diags.HasErrors() {
		return nil, &diag.ListError{List: diags}
	}
	g.unit = call(m.name, t.params, args)
	g.make = func(b *build) { b.unit(m, args, 0) }
	return g, nil
}

func list(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ", ")
}

// hint lists the targets.
func (p *Program) hint(advice string) string {
	if len(p.targets) == 0 {
		return "This module has no tasks."
	}
	var names []string
	needed := map[string]bool{}
	for _, u := range p.base.units {
		for _, n := range u.needs {
			if n.unit.member != nil {
				needed[n.unit.member.task.Name] = true
			}
		}
		for _, c := range u.calls {
			if c.member != nil {
				needed[c.member.task.Name] = true
			}
		}
	}
	var free []string
	for _, t := range p.targets {
		names = append(names, t.Name)
		if t.Kind == "task" && !needed[t.Name] {
			free = append(free, t.Name)
		}
	}
	if len(free) == 1 && advice != "" {
		advice = fmt.Sprintf("Nothing needs task %s, so it may be the one: `jitos apply %s`, or jitos { default = task.%s }.", free[0], free[0], free[0])
	}
	return strings.TrimSpace(advice + " Targets: " + strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ") + ".")
}

// address reads a target: `build`, `task.build`, `slap.release`, `page["a"]`, `golang.test`.
func address(s string) (kind, name, key string, isMember bool) {
	t, ds := hclsyntax.ParseTraversalAbs([]byte(s), "", hcl.InitialPos)
	if ds.HasErrors() {
		return "", s, "", false
	}
	if root := t.RootName(); len(t) > 1 && (root == "task" || root == "slap") {
		if _, ok := t[1].(hcl.TraverseAttr); ok {
			kind, t = root, t[1:]
		}
	}
	for i, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			name = step.Name
		case hcl.TraverseAttr:
			name = strings.TrimPrefix(name+"."+step.Name, ".")
		case hcl.TraverseIndex:
			if i < len(t)-1 {
				return "", s, "", false
			}
			key, _ = keyText(step.Key)
			isMember = true
		}
	}
	return kind, name, key, isMember
}

// assumed checks what a slap assumes.
func (p *Program) assumed(g *goal, facts warp.Graph) error {
	if g.slap == nil {
		return nil
	}
	kept := map[string]map[string]bool{}
	for _, n := range facts.Nodes("fact") {
		v, err := cbor.Decode(n.Data)
		if err != nil {
			return fmt.Errorf("a fact of the System graph: %w", err)
		}
		row, _ := v.([]any)
		rel, ok := row[0].(string)
		if r := p.relations[rel]; !ok || r == nil || r.observed || len(row) != len(r.Columns)+1 {
			continue
		}
		vals := make([]cty.Value, len(row)-1)
		for i, x := range row[1:] {
			vals[i] = wrap(x)
		}
		k, err := rowKey(vals)
		if err != nil {
			return fmt.Errorf("a fact of the System graph: %w", err)
		}
		if kept[rel] == nil {
			kept[rel] = map[string]bool{}
		}
		kept[rel][k] = true
	}
	for _, r := range p.relations { // order: each on its own
		if !r.observed {
			r.kept, r.known = kept[r.Name], true
		}
	}
	defer func() {
		for _, r := range p.relations { // order: each on its own
			r.kept, r.known = nil, false
		}
	}()
	var refused diag.List
	for _, c := range g.slap.Assumes {
		n := len(p.names.diags)
		holds, ok := p.names.flag(c.Condition, nil)
		if !ok {
			failed := slices.Clone(p.names.diags[n:])
			p.names.diags = p.names.diags[:n]
			return failed.Err()
		}
		if !holds {
			refused = append(refused, diag.Diagnostic{
				Code: CodeRefused, Subject: place(c.Condition), Label: p.names.because(c.Condition, nil),
				Summary: fmt.Sprintf("assumption %q does not hold", c.Name), Detail: "Nothing was planned. Make it true, and try again.",
			})
		}
	}
	if refused != nil {
		return &RefusedError{Target: g.name, list: refused.Sorted()}
	}
	return nil
}

// search takes the first candidate that the slap's constraints allow, after skip of them.
func (p *Program) search(ctx context.Context, a *assembly, g *goal, problem htn.Problem, skip int) (*htn.Candidate, error) {
	var broken diag.List
	for c, err := range a.program.Plans(ctx, problem) {
		if err != nil {
			return nil, p.failure(g, err, broken)
		}
		if g.slap == nil || len(g.slap.Constraints) == 0 {
			if skip--; skip < 0 {
				return &c, nil
			}
			continue
		}
		in := env{"plan": cty.ObjectVal(map[string]cty.Value{"cost": cty.NumberFloatVal(c.Cost)})}
		all := true
		for _, k := range g.slap.Constraints {
			holds := false
			if err := p.names.try(func() { holds, _ = p.names.flag(k.Condition, in) }); err != nil {
				return nil, err
			}
			if !holds {
				all = false
				broken = diag.List{{
					Code: CodeExhausted, Subject: place(k.Condition), Label: p.names.because(k.Condition, in),
					Summary: fmt.Sprintf("no candidate for %s keeps constraint %q", g.name, k.Name), Detail: "Relax the constraint, or give the tasks a cheaper way.",
				}}
				break
			}
		}
		if all {
			if skip--; skip < 0 {
				return &c, nil
			}
		}
	}
	return nil, p.failure(g, &htn.NoPlanError{}, broken)
}

// failure turns what the search says into diagnostics.
func (p *Program) failure(g *goal, err error, broken diag.List) error {
	if limit, ok := errors.AsType[*htn.LimitError](err); ok && limit.Limit != "time" {
		return &diag.ListError{List: diag.List{{Code: CodeLimit, Subject: g.rng, Summary: limit.Error(), Detail: "A method that calls its own task without getting nearer to an end is the usual cause."}}}
	}
	no, ok := errors.AsType[*htn.NoPlanError](err)
	switch {
	case !ok:
		return err
	case broken != nil:
		return &NoPlanError{Target: g.name, list: broken}
	}
	d := diag.Diagnostic{Code: CodeNoPlan, Subject: g.rng, Label: g.name, Summary: "no way to achieve " + g.name, Detail: "Make one of these conditions true, or add a method."}
	w := whyNot{d: &d, told: map[*htn.Refusal]bool{}, p: p}
	w.refusal(&no.Why, 1)
	for _, rel := range w.missing {
		if by := p.asserting(rel); len(by) > 0 {
			d.Detail += fmt.Sprintf("\nfact::%s is asserted by task %s: with needs = [task.%s], what asks for it comes after.", rel, strings.Join(by, ", "), by[0])
		}
	}
	return &NoPlanError{Target: g.name, list: diag.List{d}}
}

// whyNot writes a tree of refusals as related places.
type whyNot struct {
	d       *diag.Diagnostic
	told    map[*htn.Refusal]bool
	p       *Program
	missing []string // facts that should hold and do not
}

// maxReasons is how many lines of "why not" are shown.
const maxReasons = 40

// objection words what stands against a method.
func (p *Program) objection(o htn.Objection) string {
	switch {
	case o.Below != nil:
		return "needs " + p.shown(o.Below.Task, o.Below.Args)
	case o.Reason != "":
		return o.Reason
	}
	return p.condition(o.Cond)
}

func (w *whyNot) refusal(r *htn.Refusal, depth int) {
	if w.told[r] {
		return
	}
	w.told[r] = true
	name := w.p.shown(r.Task, r.Args)
	for _, o := range r.Against {
		if len(w.d.Related) >= maxReasons {
			return
		}
		who := "task " + name
		rng := r.Range
		if o.Method != "" {
			who, rng = "method "+o.Method+" of "+name, o.Range
		}
		w.d.Related = append(w.d.Related, diag.Related{Range: rng, Label: strings.Repeat("  ", depth-1) + who + ": " + w.p.objection(o)})
		if o.Below != nil {
			w.refusal(o.Below, depth+1)
		}
		if rel, _, ok := strings.Cut(o.Cond, "("); ok && w.p.relations[rel] != nil && !slices.Contains(w.missing, rel) {
			w.missing = append(w.missing, rel)
		}
	}
}

// asserting names the tasks whose effects assert a fact, in written order.
func (p *Program) asserting(rel string) (out []string) {
	for _, u := range p.base.units {
		if u.rule != nil && !slices.Contains(out, u.task.Name) && slices.ContainsFunc(u.rule.Add, func(n warp.NodePattern) bool {
			is, _, ok := n.Fact()
			return ok && is == rel
		}) {
			out = append(out, u.task.Name)
		}
	}
	return out
}

// condition is one that did not hold, as written. The planner names facts of rules without their namespace.
func (p *Program) condition(text string) string {
	negation, rest := "", text
	if strings.HasPrefix(rest, "!") {
		negation, rest = "!", rest[1:]
	}
	if rel, _, ok := strings.Cut(rest, "("); ok && p.relations[rel] != nil {
		text = negation + "fact::" + rest
	}
	if strings.Contains(text, " (") {
		return text // with the values that made it false
	}
	return text + " is false"
}

// shown is a task of the domain for a person.
func (p *Program) shown(name string, args []htn.Value) string {
	u := p.current.byName[name]
	switch {
	case u == nil:
		return name
	case u.lifted:
		return call(u.member.name, u.task.params, u.values(args))
	case u.task == nil:
		return strings.TrimSuffix(strings.TrimPrefix(name, "slap."), "[*]")
	}
	return name
}

// values are the arguments of a lifted unit.
func (u *unit) values(args []htn.Value) []cty.Value {
	out := make([]cty.Value, len(u.task.params))
	for i, q := range u.task.params {
		v, err := decode(args[i], q.Type)
		if err != nil {
			v = cty.DynamicVal
		}
		out[i] = v
	}
	return out
}
