package compiler

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// Program is a compiled module: what can be applied, and how the planner sees it. It is safe for concurrent use.
type Program struct {
	mu        sync.Mutex           // planning evaluates expressions, which remembers values
	names     *names               // of the workspace's module
	modules   []*names             // that, and those of the modules that it uses, each after the one that uses it
	order     []*task              // of all modules
	tasks     map[string]*task     // by whole name
	relations map[string]*relation // by whole name
	base      *assembly            // without results
	expanded  *assembly            // with the last results that were given
	current   *assembly            // that the last plan was made with
	digest    [32]byte
	rules     map[string]warp.Rule
	targets   []Target
	slaps     map[string]*slap
	observed  []warp.Node
	probes    []Probe
	answers   map[string]string
	diags     diag.List
	last      *planned // the plan that was made last
}

// assembly is a domain and what its units are.
type assembly struct {
	*flow
	program *htn.Program
}

// assembly is the domain as it is with results.
func (p *Program) assembly(results map[string]string) (a *assembly, err error) {
	if len(results) == 0 || !p.names.deferring {
		return p.base, nil
	}
	if p.expanded == nil || !maps.Equal(p.expanded.results, results) {
		if err := p.names.try(func() { a = p.assemble(nil, maps.Clone(results)) }); err != nil {
			return nil, err
		}
		p.finish(a)
		p.expanded = a
	}
	return p.expanded, nil
}

// slap is a declared slap with the units that stand for it.
type slap struct {
	*lang.SLAP
	scope *plan.Scope
}

// Compile resolves every name, types every value, evaluates what is static and builds the domain. It returns the best
// program it can and all diagnostics, sorted: with errors among them the program has targets, but makes no plans. It sees
// the workspace through o.World alone, which also serves the plans that are made later.
func Compile(m *lang.Module, o Options) (*Program, diag.List) {
	var told []lang.Reading
	outer := o.World.Read
	o.World.Read = func(r lang.Reading) {
		told = append(told, r)
		if outer != nil {
			outer(r)
		}
	}
	p, e := resolved(m, o)
	p.settle()
	p.target()
	p.checks()
	p.base = p.assemble(nil, nil)
	p.current = p.base
	p.finish(p.base)
	p.digest = digest(m, o.Vars, told)
	own := slices.DeleteFunc(e.diags.Sorted(), func(d diag.Diagnostic) bool {
		return slices.ContainsFunc(o.Known, func(k diag.Diagnostic) bool { return about(k, d) })
	})
	own = maskList(e.hidden.mask(), own)
	p.diags, e.diags = slices.Concat(o.Known, own), nil
	return p, own
}

// resolved is a program as far as its names are resolved.
func resolved(m *lang.Module, o Options) (*Program, *findings) {
	p := &Program{tasks: map[string]*task{}, relations: map[string]*relation{}, rules: map[string]warp.Rule{}, slaps: map[string]*slap{}}
	room := maxModules
	e := newFindings()
	p.names = p.enter(newUniverse(m, "", &room), nil, o, e)
	p.answers, e.unasked = o.Answers, p.unanswered(o.Answers)
	p.declare()
	p.resolve()
	for _, r := range answerReadings(p.probes, o.Answers) {
		o.World.Read(r)
	}
	return p, e
}

// about reports whether the known error k is about what d is about, or a part of it.
func about(k, d diag.Diagnostic) bool {
	a, b := k.Subject, d.Subject
	return k.Severity == diag.Error && a.File == b.File && !a.IsZero() && b.Start.Byte <= a.Start.Byte && a.End.Byte <= b.End.Byte
}

// Rules are the rewrite rules by the name that [plan.Step.Rule] says: those of the program and of the plans made so far.
func (p *Program) Rules() map[string]warp.Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.rules)
}

// Rule is one of Rules.
func (p *Program) Rule(name string) (warp.Rule, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.rules[name]
	return r, ok
}

// Digest identifies what was compiled: equal sources, variables and readings have equal digests.
func (p *Program) Digest() [32]byte { return p.digest }

// Observed are the observed facts as they are at plan start: nodes of kind "fact", in order of declaration.
func (p *Program) Observed() []warp.Node { return slices.Clone(p.observed) }

// Domain is what the planner searches: a task of it for each task that is called with constant arguments, each whose
// arguments are only known as it searches, and each part of a slap. It is empty for a program with errors.
func (p *Program) Domain() htn.Domain {
	p.mu.Lock()
	defer p.mu.Unlock()
	var d htn.Domain
	if p.base.program != nil {
		for _, u := range p.base.units {
			d.Tasks = append(d.Tasks, u.domain())
		}
	}
	return d
}

// Targets are what can be applied: tasks, then slaps, in written order.
func (p *Program) Targets() []Target { return slices.Clone(p.targets) }

// digest has one form for what a program depends on: sources, variables, readings.
func digest(m *lang.Module, vars map[string]Given, told []lang.Reading) [32]byte {
	var list []any
	for _, m := range m.All() {
		for _, f := range m.Files() {
			list = append(list, []any{f, m.Source(f)})
		}
	}
	set := []any{}
	for _, v := range m.Variables {
		switch g, ok := vars[v.Name]; {
		case ok && g.Value != cty.NilVal:
			set = append(set, []any{v.Name, text(g.Value)})
		case ok:
			set = append(set, []any{v.Name, g.Text})
		}
	}
	read := []any{}
	for _, r := range told {
		read = append(read, []any{r.Kind, r.Name, r.Value, r.Found})
	}
	b, err := cbor.Encode([]any{"jitos/program/v1", list, set, read})
	if err != nil { // text that is not UTF-8 has no canonical form; it is told apart all the same
		b = fmt.Appendf(nil, "%q %q %q", list, set, read)
	}
	return sha256.Sum256(b)
}

// enter gives the variables of a module their values, and those of the modules that it uses, which it computes.
func (p *Program) enter(u *universe, use *lang.Use, o Options, f *findings) *names {
	f.diags = append(f.diags, u.readSecrets(o.Secret, f.hidden)...)
	f.diags = append(f.diags, u.variables(o.Vars, use, o.Open, f.hidden)...)
	n := &names{evaluator: u.newEvaluator(o.World, false, f), u: u, given: o.Vars, scoped: o.Scoped, tasks: map[string]*task{}, uses: map[string]*names{}}
	p.modules = append(p.modules, n)
	if s := u.module.Settings; o.Version != "" {
		if ok, err := lang.AllowsVersion(s.RequiredVersion, o.Version); err == nil && !ok {
			n.fail(CodeVersion, s.VersionRange, "this is jitos "+o.Version, fmt.Sprintf("The module needs %s. Use such a version, or change required_version.", s.RequiredVersion))
		}
	}
	for _, d := range u.module.Facts {
		r := u.relations[d.Name]
		p.relations[r.Name] = r
	}
	for _, l := range u.module.Locals {
		n.check(l.Expr, scope{})
	}
	n.localCycles()
	for _, use := range u.module.Uses {
		sub := u.uses[use.Alias]
		if n.uses[use.Alias] = nil; sub == nil {
			if use.Module == nil {
				n.fail(lang.CodeNoModule, use.SourceRange, fmt.Sprintf("there is no module %s", use.Source), "It was not loaded.")
			} else {
				n.fail(lang.CodeModuleCycle, use.Range, fmt.Sprintf("more than %d modules", maxModules), "Modules that use others several times make many of few. Use each once, and pass on what it gives.")
			}
			continue
		}
		o.Vars = map[string]Given{}
		for _, a := range use.Variables {
			n.check(a.Expr, scope{noFacts: true})
			v, ok := n.value(a.Expr, nil)
			if !ok {
				v = cty.DynamicVal
			}
			o.Vars[a.Name] = Given{Value: v, From: "use " + use.Alias, At: a.NameRange}
		}
		n.uses[use.Alias] = p.enter(sub, use, o, f)
	}
	return n
}

// unanswered reports whether there are probes without an answer.
func (p *Program) unanswered(answers map[string]string) bool {
	return slices.ContainsFunc(p.modules, func(n *names) bool {
		return slices.ContainsFunc(n.u.module.Facts, func(f *lang.Fact) bool {
			_, known := answers[n.u.relations[f.Name].Name]
			return f.Probe != nil && !known
		})
	})
}

// declare enters tasks and methods.
func (p *Program) declare() {
	for _, n := range p.modules {
		m := n.u.module
		for _, d := range m.Tasks {
			whole := *d
			whole.Name = n.u.prefix + d.Name
			t := &task{Task: &whole, home: n}
			for _, q := range d.Params {
				t.params = append(t.params, param{Param: q})
				t.paramNames = append(t.paramNames, q.Name)
			}
			n.tasks[d.Name] = t
			n.taskNames = append(n.taskNames, d.Name)
			p.tasks[whole.Name] = t
			p.order = append(p.order, t)
		}
		for _, d := range m.Methods {
			if t := n.tasks[d.Task.Name]; t != nil {
				t.methods = append(t.methods, d)
			} else if _, used := n.uses[d.Task.Name]; used {
				n.fail(lang.CodeUnknownTask, d.Task.Range, fmt.Sprintf("%q is a module, not a task", d.Task.Name), "A method is a way to achieve a task of its own module.")
			} else {
				n.unknown(d.Task.Range, lang.CodeUnknownTask, fmt.Sprintf("unknown task %q", d.Task.Name), d.Task.Name, n.taskNames, "")
			}
		}
	}
	for _, n := range p.modules {
		for _, use := range n.u.module.Uses {
			if sub := n.u.uses[use.Alias]; sub != nil {
				for _, d := range sub.module.Tasks {
					n.taskNames = append(n.taskNames, use.Alias+"."+d.Name)
				}
			}
		}
	}
	for _, t := range p.order {
		switch {
		case t.Primitive() && t.compound():
			t.home.diags = append(t.home.diags, diag.Diagnostic{
				Code: CodeNoWay, Subject: t.Range, Label: "task " + t.Name, Summary: fmt.Sprintf("task %q has both a command and methods", t.Name),
				Related: []diag.Related{{Range: t.methods[0].Range, Label: "method " + t.methods[0].Name}},
				Detail:  "Move the command into a task of its own, and make it the step of a method.",
			})
			t.methods = nil
		case !t.Primitive() && !t.compound() && t.Needs == nil:
			t.home.fail(CodeNoWay, t.Range, fmt.Sprintf("task %q says nothing about how it is carried out", t.Name), "Give it run or exec, a method, or needs.")
		case !t.Primitive():
			p.idle(t)
		}
	}
}

// idle reports what only a command makes use of on a task that has none.
func (p *Program) idle(t *task) {
	fail := func(at diag.Range, name string) {
		t.home.fail(CodeNoWay, at, fmt.Sprintf("task %q has %s but no command", t.Name, name), "It belongs on the tasks that have one: the steps of its methods, or what it needs.")
	}
	for _, a := range []struct {
		name string
		expr hcl.Expression
	}{
		{"inputs", t.Inputs}, {"outputs", t.Outputs}, {"when", t.When}, {"caches", t.Caches}, {"tools", t.Tools}, {"env", t.Env},
		{"dir", t.Dir}, {"deps_file", t.DepsFile}, {"timeout", t.Timeout}, {"cost", t.Cost}, {"stdin", t.Stdin}, {"reports", t.Reports},
		{"result", t.Result}, {"check", t.Check}, {"compensate", t.Compensate},
	} {
		if a.expr != nil {
			fail(place(a.expr), a.name)
		}
	}
	if t.Effects != nil {
		fail(t.Effects.Range, "effects")
	}
	if t.Allow != nil {
		fail(t.Allow.Range, "allow")
	}
	if t.Retry != nil {
		fail(t.Retry.Range, "retry")
	}
	if t.Ready != nil {
		fail(t.Ready.Range, "ready")
	}
	for _, u := range t.Uses {
		fail(u.NameRange, "uses")
	}
	for name, there := range map[string]bool{"external": t.External, "interactive": t.Interactive, "service": t.IsService, "cache": t.NoCache} { // order: diagnostics are sorted
		if there {
			fail(t.Range, name)
		}
	}
}

// resolve checks the names in all expressions. What later steps need is evaluated as soon as it can be: parameters'
// defaults, members of families, observed facts.
func (p *Program) resolve() {
	for _, n := range p.modules {
		for _, v := range n.u.module.Variables {
			for _, c := range v.Validations {
				n.check(c.Condition, scope{})
				n.check(c.ErrorMessage, scope{})
			}
		}
		for _, f := range n.u.module.Facts {
			n.check(f.From, scope{noFacts: true})
			n.checkProbe(f)
		}
		for _, w := range n.u.module.Workers {
			for _, a := range w.Settings {
				n.check(a.Expr, scope{})
			}
			if c := w.CircuitBreaker; c != nil {
				n.check(c.Failures, scope{})
				n.check(c.Delay, scope{})
			}
		}
	}
	for _, t := range p.order {
		t.home.check(t.ForEach, scope{})
		for _, q := range t.Params {
			t.home.check(q.Default, scope{})
		}
	}
	for _, n := range p.modules {
		p.observed = append(p.observed, n.u.observe(n.evaluator)...)
		p.observed = append(p.observed, n.u.answers(p.answers, n.evaluator)...)
	}
	for _, t := range p.order {
		t.settle()
	}
	for _, t := range p.order {
		p.resolveTask(t)
	}
	for _, s := range p.names.u.module.SLAPs {
		p.resolveSLAP(s)
	}
	p.prepareProbes()
	p.trace()
	for _, n := range slices.Backward(p.modules) { // those that are used before those that use them
		n.taskValue = (&build{names: n, domain: &domain{}}).taskObject(nil)
	}
	for _, n := range p.modules {
		n.validate()
	}
}

// settle evaluates the defaults of t's parameters and finds its members.
func (t *task) settle() {
	n := t.home
	for i := range t.params {
		q := &t.params[i]
		if q.Default == nil {
			continue
		}
		if v, ok := n.value(q.Default, nil); ok && n.open(v, q.Default, "an argument") {
			v, _ = v.UnmarkDeep()
			if q.Defaults != nil && !v.IsNull() {
				v = q.Defaults.Apply(v)
			}
			if v, ok = n.convert(v, q.Type, q.Default); ok && v.IsWhollyKnown() {
				q.def = v
			}
		}
	}
	if t.ForEach == nil {
		t.keys, t.members = true, []*member{{task: t, name: t.Name}}
		return
	}
	keys, ok := (&build{names: n}).forEach(t.ForEach, nil)
	t.keys, t.byKey = ok, make(map[string]*member, len(keys))
	for _, k := range keys {
		k.task, k.name = t, fmt.Sprintf("%s[%s]", t.Name, quote(k.key))
		t.members, t.byKey[k.key] = append(t.members, &k), &k
	}
}

func (p *Program) resolveTask(t *task) {
	n := t.home
	s := scope{params: t.paramNames, each: t.ForEach != nil}
	if s.params == nil {
		s.params = []string{}
	}
	if len(t.params) == 0 {
		s.params = nil
	}
	plainly, refs, self, when := s, s, s, s
	s.values = true
	refs.tasks, self.self, self.values, when.changing, when.values = true, true, true, true, true
	n.check(t.Needs, refs)
	n.check(t.Inputs, refs)
	n.check(t.Outputs, s)
	n.check(t.Cost, plainly)
	n.check(t.When, when)
	for _, x := range commandOf(t.Task) {
		n.check(x, self)
	}
	if t.Allow != nil {
		for _, a := range t.Allow.Secrets {
			n.oneOf(a.Range, "secret", a.Name, n.secretNames(), "secret.")
		}
	}
	if fx := t.Effects; fx != nil {
		for _, a := range slices.Concat(fx.Asserts, fx.Retracts) {
			n.stated(a, s)
		}
	}
	for _, m := range t.methods {
		ms := s
		ms.steps, ms.any = []string{}, []string{}
		for _, v := range m.Any {
			ms.any = append(ms.any, v.Name)
		}
		for _, st := range m.Steps {
			ms.steps = append(ms.steps, st.Name)
		}
		if m.Any == nil {
			ms.any = nil
		}
		when := ms
		when.changing, when.steps = true, nil
		n.check(m.When, when)
		n.check(m.Cost, plainly)
		for i, st := range m.Steps {
			ms.method, ms.step = m, st.Name
			each := ms
			each.each = each.each || st.ForEach != nil
			n.check(st.ForEach, ms)
			n.reference(st.Task, st.With, each, st.Range)
			for _, a := range st.After {
				if !slices.ContainsFunc(m.Steps[:i], func(o *lang.Step) bool { return o.Name == a.Name }) {
					n.laterStep(a, m, i)
				}
			}
		}
	}
}

// laterStep reports an `after` that names no step above.
func (n *names) laterStep(a lang.Name, m *lang.Method, i int) {
	var above []string
	for _, o := range m.Steps[:i] {
		above = append(above, o.Name)
	}
	if slices.ContainsFunc(m.Steps[i:], func(o *lang.Step) bool { return o.Name == a.Name }) {
		n.fail(lang.CodeUnknownStep, a.Range, fmt.Sprintf("step %q is not above this one", a.Name), "A step comes after steps that are written above it.")
		return
	}
	n.unknown(a.Range, lang.CodeUnknownStep, fmt.Sprintf("unknown step %q", a.Name), a.Name, above, "")
}

// stated checks a fact that is asserted or retracted.
func (n *names) stated(a *lang.Atom, s scope) {
	for _, x := range a.Args {
		n.check(x, s)
	}
	r := n.u.relations[a.Fact]
	switch {
	case r == nil:
		n.unknown(a.NameRange, lang.CodeUnknownFact, fmt.Sprintf("unknown fact %q", a.Fact), a.Fact, n.factNames(), "fact::")
	case len(a.Args) != len(r.Columns):
		n.arity(r, len(a.Args), a.Range)
	case r.observed:
		n.diags = append(n.diags, diag.Diagnostic{
			Code: CodeCondition, Subject: a.NameRange, Label: "stated by a task", Summary: fmt.Sprintf("fact %q is observed, so no task can change it", a.Fact),
			Related: []diag.Related{{Range: r.Range, Label: "fact " + r.Name}}, Detail: "What is observed has `from` or `probe`; what tasks assert has neither.",
		})
	}
}

// reference checks a task that is called, and the arguments that it is given.
func (n *names) reference(ref *lang.TaskRef, with []*lang.Attr, s scope, at diag.Range) {
	for _, a := range with {
		n.check(a.Expr, s)
	}
	if ref == nil || n.lost(ref.Use) {
		return
	}
	n.check(ref.Key, s)
	t := n.named(ref)
	switch {
	case t == nil:
		n.unknownTask(strings.TrimPrefix(lang.TaskRef{Use: ref.Use, Name: ref.Name}.String(), "task."), ref.Range)
	case n.fits(t, with, at) && ref.Key != nil && len(n.refer(ref.Key).names) == 0:
		if key, ok := n.text(ref.Key, nil); ok {
			n.member(t, key, ref.Range)
		}
	}
}

func (p *Program) resolveSLAP(s *lang.SLAP) {
	n := p.names
	n.check(s.Intent, scope{})
	for _, a := range s.Context {
		n.check(a.Expr, scope{})
	}
	for _, g := range s.Goals {
		n.reference(g.Task, g.With, scope{}, g.Range)
	}
	for _, c := range s.Assumes {
		n.check(c.Condition, scope{changing: true})
	}
	for _, c := range s.Constraints {
		n.check(c.Condition, scope{plan: true})
	}
	for _, c := range s.Successes {
		n.check(c.Condition, scope{})
		n.check(c.Run, scope{})
		if c.Task != nil {
			n.reference(c.Task, c.With, scope{}, c.Range)
		}
	}
	if s.Scope != nil {
		n.check(s.Scope.Include, scope{})
		n.check(s.Scope.Exclude, scope{})
	}
}

// settle evaluates what nothing else would, so that its errors are seen, and refuses what only later versions carry out.
func (p *Program) settle() {
	for _, n := range p.modules {
		n.settle()
	}
}

func (n *names) settle() {
	static := make(map[string]bool, len(n.locals)) // whether the value of a local hangs on names alone; false while it is looked at
	var walk func(l *local) bool
	walk = func(l *local) bool {
		if known, seen := static[l.Name]; seen {
			return known
		}
		static[l.Name] = false
		r := n.refer(l.Expr)
		fixed := !n.bad[l.Expr] && !slices.ContainsFunc(r.calls, func(c string) bool {
			return slices.Contains(readers, c) || c == "facts" || strings.HasPrefix(c, "fact::")
		})
		for _, name := range r.names {
			if name, isLocal := strings.CutPrefix(name, "local."); isLocal {
				used := n.locals[name]
				fixed = used != nil && walk(used) && fixed
			}
		}
		if fixed {
			n.local(l.Name)
		}
		static[l.Name] = fixed
		return fixed
	}
	for _, l := range n.u.module.Locals {
		walk(n.locals[l.Name])
	}
}

// target lists what can be applied, and finds the default.
func (p *Program) target() {
	m := p.names.u.module
	kind, name := "slap", ""
	switch d := m.Settings.Default; {
	case d != nil:
		kind, name = d.Kind, d.Name
		var slaps []string
		for _, s := range m.SLAPs {
			slaps = append(slaps, s.Name)
		}
		if kind == "task" {
			p.names.oneOfTargets(d, p.names.taskNames)
		} else {
			p.names.oneOfTargets(d, slaps)
		}
	case len(m.SLAPs) == 1:
		name = m.SLAPs[0].Name
	default:
		name = "default"
	}
	for _, t := range p.order {
		x := Target{Kind: "task", Name: t.Name, Description: t.Description, Range: t.Range, Default: kind == "task" && name == t.Name}
		for _, q := range t.params {
			y := Param{Name: q.Name, Description: q.Description, Type: typeName(q.Type), Required: q.Default == nil}
			if q.def != cty.NilVal {
				y.Default = typedText(q.def)
			}
			x.Params = append(x.Params, y)
		}
		for _, w := range t.methods {
			x.Methods = append(x.Methods, w.Name)
		}
		p.targets = append(p.targets, x)
	}
	for _, s := range m.SLAPs {
		intent := ""
		if s.Intent != nil {
			intent, _ = p.names.text(s.Intent, nil)
			intent = p.names.hidden.mask().Text(intent)
		}
		p.targets = append(p.targets, Target{Kind: "slap", Name: s.Name, Description: intent, Range: s.Range, Default: kind == "slap" && name == s.Name})
		p.slaps[s.Name] = &slap{SLAP: s}
	}
}

func (n *names) oneOfTargets(d *lang.Target, there []string) {
	if !slices.Contains(there, d.Name) {
		code := lang.CodeUnknownName
		if d.Kind == "task" {
			code = lang.CodeUnknownTask
		}
		n.unknown(d.Range, code, fmt.Sprintf("unknown %s %q", d.Kind, d.Name), d.Name, there, d.Kind+".")
	}
}

// typedText is v as a person types it: see typed.
func typedText(v cty.Value) string {
	if v.Type() == cty.String && !v.IsNull() {
		return v.AsString()
	}
	return text(v)
}

// checks types what is only evaluated later: conditions over a run's result, tasks that cannot do without arguments, and
// what a slap limits.
func (p *Program) checks() {
	found := newFindings()
	found.hidden = p.names.hidden
	dry := map[*names]*build{}
	for _, n := range p.modules {
		types := n.u.newEvaluator(lang.World{}, true, found)
		types.bad = n.bad
		types.localsFrom(n.evaluator)
		typed := *n
		typed.evaluator = types
		dry[n] = &build{names: &typed}
		dry[n].workers()
	}
	n, types := p.names, dry[p.names].evaluator
	for _, t := range p.order {
		if !t.Primitive() || !t.required() {
			continue
		}
		in := env{"task": t.home.taskValue}
		if t.ForEach != nil {
			in["each"] = cty.ObjectVal(map[string]cty.Value{"key": cty.UnknownVal(cty.String), "value": cty.DynamicVal})
		}
		vals := map[string]cty.Value{}
		for _, q := range t.params {
			vals[q.Name] = cty.UnknownVal(q.Type)
		}
		in["param"] = cty.ObjectVal(vals)
		dry[t.home].fill(t.Task, t.Name, in)
	}
	for _, s := range n.u.module.SLAPs {
		for _, c := range s.Successes {
			if c.Condition != nil {
				types.flag(c.Condition, nil)
			}
		}
		for _, c := range s.Constraints {
			types.flag(c.Condition, env{"plan": cty.ObjectVal(map[string]cty.Value{"cost": cty.UnknownVal(cty.Number)})})
		}
		for _, a := range s.Context {
			types.value(a.Expr, nil)
		}
		if s.Scope == nil {
			continue
		}
		b := &build{names: n}
		sc := &plan.Scope{Range: s.Scope.Range}
		if list, ok := b.list(s.Scope.Include, nil); ok {
			sc.Include = b.patterns(list, s.Scope.Include, nil, "a place in scope")
		}
		if list, ok := b.list(s.Scope.Exclude, nil); ok {
			sc.Exclude = b.patterns(list, s.Scope.Exclude, nil, "a place out of scope")
		}
		p.slaps[s.Name].scope = sc
	}
	n.diags = append(n.diags, found.diags...)
}

// localsFrom takes over values, so that what is wrong with them is not said twice.
func (e *evaluator) localsFrom(o *evaluator) {
	for name, l := range o.locals { // order: a map again
		if l.value != cty.NilVal {
			e.locals[name] = l
		}
	}
}

// assemble makes the units of all tasks and slaps, and those that more adds, with results as far as they are known.
func (p *Program) assemble(more func(*build), results map[string]string) *assembly {
	b := &build{names: p.names, domain: &domain{order: p.order, results: results, values: map[*names]cty.Value{}, byName: map[string]*unit{}}}
	for _, t := range p.order {
		for _, m := range t.members {
			if !t.required() && t.keys {
				b.plain(m)
			}
		}
	}
	for _, s := range b.u.module.SLAPs {
		b.slap(s)
	}
	if more != nil {
		more(b)
	}
	b.run()
	if more == nil {
		b.endless()
	}
	a := &assembly{flow: newFlow(b)}
	a.link()
	b.diags = append(b.diags, a.stale(b.reads)...)
	if b.diags.HasErrors() {
		return a
	}
	d := htn.Domain{Tasks: make([]htn.Task, len(b.units))}
	for i, u := range b.units {
		d.Tasks[i] = u.domain()
	}
	var err error
	if a.program, err = htn.Compile(d); err != nil {
		b.fail(CodeCondition, diag.Range{}, "the program cannot be planned", sentence(err.Error()))
	}
	return a
}

// slap makes the units of a slap: its goals, and its criteria.
func (b *build) slap(s *lang.SLAP) {
	at := &unit{frame: &frame{env: env{}}}
	at.frame.unit = at
	goals := &unit{name: "slap." + s.Name, rng: s.Range}
	b.enter(goals)
	for _, g := range s.Goals {
		if u, args, ok := b.call(g.Task, g.With, at.frame, g.Range); ok {
			goals.needs = append(goals.needs, need{unit: u, args: args, at: g.Range})
		}
	}
	criteria := &unit{name: goals.name + ".success", rng: s.Range}
	b.enter(criteria)
	for _, c := range s.Successes {
		name := criteria.name + "." + c.Name
		switch {
		case c.Task != nil:
			u, args, ok := b.call(c.Task, c.With, at.frame, c.Range)
			if !ok {
				continue
			}
			group := &unit{name: name, rng: c.Range, needs: []need{{unit: u, args: args, at: c.Range}}}
			b.enter(group)
			criteria.needs = append(criteria.needs, need{unit: group, at: c.Range})
		case c.Run != nil:
			t := &task{home: b.names, Task: &lang.Task{Name: strings.TrimPrefix(name, "slap."), Run: c.Run, Range: c.Range}}
			u := &unit{name: name, task: t, frame: &frame{env: env{}}}
			u.frame.unit = u
			b.enter(u)
			criteria.needs = append(criteria.needs, need{unit: u, at: c.Range})
		}
	}
}

// domain is u as the planner's task.
func (u *unit) domain() htn.Task {
	t := htn.Task{Name: u.name, Params: u.params(), Operator: u.rule, When: u.when, Methods: u.methods, Cost: u.cost, Range: u.rng}
	t.Open = u.open != nil
	for _, n := range u.needs {
		args := n.args
		if n.unit.traced() {
			args = append(slices.Clone(args), begin(n.unit, args))
		}
		t.Needs = append(t.Needs, htn.Sub{Task: n.unit.name, Args: args})
	}
	return t
}

// finish makes the rules of an assembly known.
func (p *Program) finish(a *assembly) {
	for _, u := range a.units {
		if u.rule != nil {
			p.rules[u.name] = *u.rule
		}
	}
}
