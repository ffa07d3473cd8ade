package compiler

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang/diag"
)

// flow is how files order units.
type flow struct {
	*build
	outputs []produced // of units with default arguments; owner is the index of the unit
	index   *index
	met     map[string][]hit
	number  map[*unit]int
	callers map[*unit][]*unit
	reach   map[*unit]map[*unit]bool
}

type hit struct {
	produced
	sure bool
}

func newFlow(b *build) *flow {
	f := &flow{build: b, met: map[string][]hit{}, number: make(map[*unit]int, len(b.units)), reach: map[*unit]map[*unit]bool{}}
	for i, u := range b.units {
		f.number[u] = i
		if !standard(u) {
			continue
		}
		for _, p := range u.ground.outputs {
			f.outputs = append(f.outputs, produced{pattern: p, owner: i})
		}
	}
	f.index = newIndex(f.outputs)
	return f
}

// standard reports whether u is a command with the default arguments of its task.
func standard(u *unit) bool { return u.ground != nil && u.member != nil && u.name == u.member.name }

// meets are the outputs that a pattern may match, by owner.
func (f *flow) meets(pattern string) []hit {
	hits, ok := f.met[pattern]
	if !ok {
		f.index.meeting(pattern, func(p produced, sure bool) { hits = append(hits, hit{p, sure}) })
		slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(a.owner, b.owner) })
		f.met[pattern] = hits
	}
	return hits
}

// link makes outputs that match inputs needs, and reports where files leave the order open.
func (f *flow) link() {
	type doubt struct {
		consumer *unit
		input    int
		hit      hit
	}
	var doubts []doubt
	for _, u := range f.units {
		if u.ground == nil || u.ground.step.Inputs == nil {
			continue
		}
		have := map[*unit]bool{u: true}
		for _, n := range u.needs {
			have[n.unit] = true
		}
		for i, pattern := range u.ground.step.Inputs.Patterns {
			for _, h := range f.meets(pattern) {
				p := f.units[h.owner]
				switch {
				case have[p]:
				case !h.sure:
					doubts = append(doubts, doubt{u, i, h})
				case p.occurs && f.together(u, p):
				case p.occurs && f.rival(p, h) != nil:
					q := f.rival(p, h)
					have[q] = true // once is enough
					f.ambiguous(u, i, h, p, q)
				default:
					have[p] = true
					u.needs = append(u.needs, need{unit: p, path: plan.Shown(h.pattern), weak: !literal(pattern), at: f.input(u, i)})
				}
			}
		}
	}
	f.cycles()
	for _, d := range doubts {
		if p := f.units[d.hit.owner]; !f.ordered(d.consumer, p) && !f.together(d.consumer, p) {
			f.diags = append(f.diags, diag.Diagnostic{
				Code: CodeGlobs, Subject: f.input(d.consumer, d.input), Label: "task " + d.consumer.task.Name,
				Summary: fmt.Sprintf("task %s may read what task %s writes", d.consumer.task.Name, p.task.Name),
				Related: []diag.Related{{Range: f.output(p, d.hit.pattern), Label: "task " + p.task.Name}},
				Detail:  fmt.Sprintf("%s and %s may meet. Write needs = [task.%s], or make the patterns disjoint.", d.consumer.ground.step.Inputs.Patterns[d.input], d.hit.pattern, p.task.Name),
			})
		}
	}
	f.sameFile()
}

// input is where the i-th input pattern of u is written, as near as can be told.
func (f *flow) input(u *unit, i int) diag.Range { return f.placed(u, true, i) }

func (f *flow) placed(u *unit, input bool, i int) diag.Range {
	x := u.task.Outputs
	if input {
		if x = u.task.Inputs; len(u.ground.refs) > 0 {
			return place(x)
		}
	}
	return item(x, i)
}

func (f *flow) output(u *unit, pattern string) diag.Range {
	return f.placed(u, false, slices.Index(u.ground.outputs, pattern))
}

// rival is another unit that writes the file that p writes.
func (f *flow) rival(p *unit, h hit) *unit {
	for _, o := range f.meets(h.pattern) {
		if u := f.units[o.owner]; u != p && literal(o.pattern) && literal(h.pattern) {
			return u
		}
	}
	return nil
}

func (f *flow) ambiguous(u *unit, i int, h hit, p, q *unit) {
	f.diags = append(f.diags, diag.Diagnostic{
		Code: CodeProducers, Subject: f.input(u, i), Label: "task " + u.task.Name,
		Summary: fmt.Sprintf("%s is written by several tasks", plan.Shown(h.pattern)),
		Related: []diag.Related{{Range: f.output(p, h.pattern), Label: "task " + p.task.Name}, {Range: f.output(q, f.writes(q, h.pattern)), Label: "task " + q.task.Name}},
		Detail:  "They are steps of methods: need the task that these methods belong to.",
	})
}

// writes is the output of u that meets pattern.
func (f *flow) writes(u *unit, pattern string) string {
	for _, o := range f.meets(pattern) {
		if f.units[o.owner] == u {
			return o.pattern
		}
	}
	return pattern
}

// below are all units that u may lead to: by needs and by the steps of its methods.
func (f *flow) below(u *unit) map[*unit]bool {
	if known := f.reach[u]; known != nil {
		return known
	}
	seen := map[*unit]bool{}
	todo := []*unit{u}
	for len(todo) > 0 {
		x := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, n := range x.needs {
			if !seen[n.unit] {
				seen[n.unit] = true
				todo = append(todo, n.unit)
			}
		}
		for _, c := range x.calls {
			if !seen[c] {
				seen[c] = true
				todo = append(todo, c)
			}
		}
	}
	f.reach[u] = seen
	return seen
}

// ordered reports whether one of two units comes after the other whatever the plan: it may lead to it.
func (f *flow) ordered(a, b *unit) bool { return f.below(a)[b] || f.below(b)[a] }

// together reports whether a method, or what needs a, leads to both: then it, and not a file, says what is achieved.
func (f *flow) together(a, b *unit) bool {
	if f.ordered(a, b) {
		return true
	}
	if !a.occurs && !b.occurs {
		return false
	}
	if f.callers == nil {
		f.callers = map[*unit][]*unit{}
		for _, u := range f.units {
			for _, n := range u.needs {
				f.callers[n.unit] = append(f.callers[n.unit], u)
			}
			for _, c := range u.calls {
				f.callers[c] = append(f.callers[c], u)
			}
		}
	}
	above := func(u *unit) map[*unit]bool {
		seen := map[*unit]bool{}
		todo := []*unit{u}
		for len(todo) > 0 {
			x := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, c := range f.callers[x] {
				if !seen[c] {
					seen[c] = true
					todo = append(todo, c)
				}
			}
		}
		return seen
	}
	ofA := above(a)
	for u := range above(b) { // order: any of them will do
		if ofA[u] && len(u.methods) > 0 {
			return true
		}
	}
	return false
}

// cycles reports needs that go in a circle. A need that a pattern implies is dropped where written needs say the opposite.
func (f *flow) cycles() {
	for _, scc := range f.components() {
		within := map[*unit]bool{}
		for _, u := range scc {
			within[u] = true
		}
		for _, u := range scc {
			u.needs = slices.DeleteFunc(u.needs, func(n need) bool {
				return n.weak && within[n.unit] && leads(n.unit, u, within)
			})
		}
	}
	for _, scc := range f.components() {
		f.circle(scc)
	}
}

// leads reports whether written needs lead from u to v, within a set.
func leads(u, v *unit, within map[*unit]bool) bool {
	seen := map[*unit]bool{u: true}
	todo := []*unit{u}
	for len(todo) > 0 {
		x := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, n := range x.needs {
			if n.path != "" || !within[n.unit] || seen[n.unit] {
				continue
			}
			if n.unit == v {
				return true
			}
			seen[n.unit] = true
			todo = append(todo, n.unit)
		}
	}
	return false
}

// components are the sets of units that need each other, by Tarjan's algorithm, in order of their first unit.
func (f *flow) components() (out [][]*unit) {
	n := len(f.units)
	order, low, on := make([]int, n), make([]int, n), make([]bool, n)
	var stack []int
	next := 0
	type visit struct{ u, need int }
	for root := range f.units {
		if order[root] != 0 {
			continue
		}
		work := []visit{{root, 0}}
		for len(work) > 0 {
			v := &work[len(work)-1]
			if v.need == 0 && order[v.u] == 0 {
				next++
				order[v.u], low[v.u], on[v.u] = next, next, true
				stack = append(stack, v.u)
			}
			if needs := f.units[v.u].needs; v.need < len(needs) {
				w := f.number[needs[v.need].unit]
				v.need++
				switch {
				case order[w] == 0:
					work = append(work, visit{w, 0})
				case on[w]:
					low[v.u] = min(low[v.u], order[w])
				}
				continue
			}
			u := v.u
			work = work[:len(work)-1]
			if len(work) > 0 {
				p := work[len(work)-1].u
				low[p] = min(low[p], low[u])
			}
			if low[u] != order[u] {
				continue
			}
			at := slices.Index(stack, u)
			var scc []*unit
			for _, i := range slices.Sorted(slices.Values(stack[at:])) {
				on[i] = false
				scc = append(scc, f.units[i])
			}
			stack = stack[:at]
			if len(scc) > 1 || slices.ContainsFunc(scc[0].needs, func(n need) bool { return n.unit == scc[0] }) {
				out = append(out, scc)
			}
		}
	}
	slices.SortFunc(out, func(a, b []*unit) int { return cmp.Compare(f.number[a[0]], f.number[b[0]]) })
	return out
}

// circle reports one circle of a component: the shortest from its first unit.
func (f *flow) circle(scc []*unit) {
	within := map[*unit]bool{}
	for _, u := range scc {
		within[u] = true
	}
	from := map[*unit]*unit{}
	by := map[*unit]need{}
	todo := []*unit{scc[0]}
	for len(todo) > 0 && by[scc[0]].unit == nil {
		u := todo[0]
		todo = todo[1:]
		for _, n := range u.needs {
			if within[n.unit] && by[n.unit].unit == nil {
				from[n.unit], by[n.unit] = u, n
				todo = append(todo, n.unit)
			}
		}
	}
	var chain []*unit
	for u := scc[0]; ; {
		chain = append(chain, u)
		if u = from[u]; u == scc[0] {
			break
		}
	}
	slices.Reverse(chain[1:])
	chain = append(chain, scc[0])
	d := diag.Diagnostic{Code: CodeCycle, Summary: "tasks need each other in a circle"}
	var names []string
	for i, u := range chain {
		names = append(names, u.name)
		if i == 0 {
			continue
		}
		n := by[u]
		r := diag.Related{Range: n.at, Label: chain[i-1].name + " needs " + u.name}
		if n.path != "" {
			r.Label = chain[i-1].name + " reads " + n.path + " of " + u.name
		}
		if i == 1 {
			d.Subject, d.Label = r.Range, r.Label
		} else {
			d.Related = append(d.Related, r)
		}
	}
	d.Detail = strings.Join(names, " → ") + ". One of these has to go."
	f.diags = append(f.diags, d)
	for _, u := range scc { // a domain without the circle, so that the rest can be looked at
		u.needs = slices.DeleteFunc(u.needs, func(n need) bool { return within[n.unit] })
	}
}

// sameFile reports files that two units write without being ordered. Steps of methods are looked at in each plan.
func (f *flow) sameFile() {
	reported := map[string]bool{}
	for _, p := range f.outputs {
		u := f.units[p.owner]
		if u.occurs || !literal(p.pattern) || reported[p.pattern] {
			continue
		}
		for _, h := range f.meets(p.pattern) {
			v := f.units[h.owner]
			if h.owner > p.owner && !v.occurs && literal(h.pattern) && !f.ordered(u, v) {
				reported[p.pattern] = true
				f.diags = append(f.diags, same(p.pattern, f.output(u, p.pattern), u.name, f.output(v, h.pattern), v.name))
				break
			}
		}
	}
}

func same(pattern string, a diag.Range, nameA string, b diag.Range, nameB string) diag.Diagnostic {
	return diag.Diagnostic{
		Code: CodeSameFile, Summary: "two unordered steps write " + plan.Shown(pattern), Subject: a, Label: "task " + nameA,
		Related: []diag.Related{{Range: b, Label: "task " + nameB}},
		Detail:  "Make one need the other, or give them different outputs.",
	}
}

// stale reports what was read while planning although a unit writes it.
func (f *flow) stale(reads []reading) (out diag.List) {
	all := f.all()
	for _, r := range reads {
		pattern := path.Clean(r.name)
		switch r.kind {
		case "file", "exists", "size", "hash":
			pattern = plan.Pattern(pattern)
		case "glob":
		default:
			continue // a directory's list is covered by the pattern that asked for it
		}
		found := false
		all.meeting(pattern, func(p produced, _ bool) {
			u := f.units[p.owner]
			if found || u.member == nil {
				return
			}
			found = true
			out = append(out, diag.Diagnostic{
				Code: CodeStale, Subject: r.at, Label: "reads " + r.name,
				Summary: fmt.Sprintf("%s is read before anything runs, but task %s writes it", r.name, u.task.Name),
				Related: []diag.Related{{Range: f.output(u, p.pattern), Label: "task " + u.task.Name}},
				Detail:  "It would be what the last run left there. Read it in the command, or in a success criterion.",
			})
		})
	}
	return out.Sorted()
}

// all finds outputs of all units, also those with other than default arguments.
func (f *flow) all() *index {
	var list []produced
	for i, u := range f.units {
		if u.ground == nil {
			continue
		}
		for _, p := range u.ground.outputs {
			list = append(list, produced{pattern: p, owner: i})
		}
	}
	return newIndex(list)
}

// endless reports compound tasks whose every way leads back to themselves.
func (b *build) endless() {
	type way struct {
		task  *task
		steps int // that are not known to end
	}
	callers := map[*task][]*way{}
	var done []*task
	ends := map[*task]bool{}
	end := func(t *task) {
		if !ends[t] {
			ends[t] = true
			done = append(done, t)
		}
	}
	for _, t := range b.order {
		if !t.compound() {
			end(t)
		}
		for _, m := range t.methods {
			w := &way{task: t}
			for _, s := range m.Steps {
				if s.Task == nil {
					continue
				}
				if callee := t.home.named(s.Task); callee != nil {
					w.steps++
					callers[callee] = append(callers[callee], w)
				}
			}
			if w.steps == 0 {
				end(t)
			}
		}
	}
	for len(done) > 0 {
		t := done[0]
		done = done[1:]
		for _, w := range callers[t] {
			if w.steps--; w.steps == 0 {
				end(w.task)
			}
		}
	}
	for _, t := range b.order {
		if !ends[t] {
			b.fail(CodeEndless, t.Range, fmt.Sprintf("task %q can only call itself", t.Name), "Every method has a step that leads back to it. Add a method that does not.")
		}
	}
}
