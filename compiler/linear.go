package compiler

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang/diag"
)

// planner turns a candidate into a plan: it fills in the commands, and what files add to the order.
type planner struct {
	*assembly
	program *Program
	goal    *goal
	c       *htn.Candidate

	out   *plan.Plan
	nodes []int   // in the plan's tree, by node of the candidate
	units []*unit // by node of the candidate
	refs  [][]reference
	in    []env   // what their expressions see
	next  [][]int // the steps that directly follow a step
}

func (p *planner) plan() (*plan.Plan, error) {
	if err := p.work(); err != nil {
		return nil, err
	}
	for _, o := range p.assembly.build.declared() {
		p.out.Outputs = append(p.out.Outputs, o)
	}
	for _, t := range p.program.order {
		more, fixed := p.within(t).fixed(t)
		p.out.Outputs = append(p.out.Outputs, more...)
		p.out.Tasks = append(p.out.Tasks, plan.Task{Name: t.Name, Fixed: fixed})
	}
	if s := p.u.module.Settings; s.TraceReads != "" && s.TraceReads != "never" {
		p.out.Later = append(p.out.Later, plan.Later{What: "trace_reads", Value: quote(s.TraceReads), Range: s.Range})
	}
	if s := p.goal.slap; s != nil {
		p.out.Scope, p.out.Hold = s.scope, s.Collapse == "hold"
		p.out.Later = append(p.out.Later, laterOfSLAP(s.SLAP)...)
		for _, k := range s.Successes {
			if k.Condition != nil {
				p.out.Success = append(p.out.Success, p.check(k.Name, k.Condition, env{}))
			}
		}
	}
	return p.out, nil
}

// work makes tree and steps.
func (p *planner) work() error {
	p.out = &plan.Plan{Target: p.goal.name}
	if err := p.tree(); err != nil {
		return err
	}
	if err := p.steps(); err != nil {
		return err
	}
	main := p.criteria()
	p.files(main)
	if err := p.sameFile(main); err != nil {
		return err
	}
	p.sort()
	for i := range p.out.Steps {
		p.out.Tree[p.out.Steps[i].Node].Step = i
	}
	p.inputSteps()
	p.fillers()
	return nil
}

// declared are the outputs of all units with constant arguments, once each.
func (b *build) declared() (out []plan.Output) {
	for _, u := range b.units {
		if u.ground == nil {
			continue
		}
		for _, p := range u.ground.outputs {
			out = append(out, plan.Output{Pattern: p, Task: u.task.Name})
		}
	}
	return out
}

// fixed says whether the outputs of t are known: they hang on no argument and on no result. It gives those that no unit declares.
func (b *build) fixed(t *task) (more []plan.Output, ok bool) {
	if t.Outputs == nil || !t.keys || b.refer(t.Outputs).root("param") {
		return nil, false
	}
	for _, m := range t.members {
		if u := b.byName[m.name]; u != nil && u.ground != nil && u.ground.step.Outputs != nil {
			continue
		}
		in := env{"task": b.tasksValue()}
		if m.each != cty.NilVal {
			in["each"] = m.each
		}
		list, known := b.list(t.Outputs, in)
		if !known {
			return nil, false
		}
		for _, p := range b.patterns(list, t.Outputs, in, output) {
			more = append(more, plan.Output{Pattern: p, Task: t.Name})
		}
	}
	return more, true
}

// tree makes the decomposition, parents first: a need stands below the first that asks for it. The units of a slap and its
// criteria are one node, the intent.
func (p *planner) tree() error {
	c := p.c
	p.nodes, p.units = make([]int, len(c.Tree)), make([]*unit, len(c.Tree))
	below := make([][]int, len(c.Tree)) // needs, then steps
	var goals []int
	for i, n := range c.Tree {
		p.units[i] = p.byName[n.Task]
		below[i] = append(below[i], n.Needs...)
		switch {
		case n.Parent >= 0:
			below[n.Parent] = append(below[n.Parent], i)
		case !n.Shared:
			goals = append(goals, i)
		}
	}
	p.out.Tree = append(make([]plan.Node, 0, len(c.Tree)+1), plan.Node{Parent: -1, Task: p.goal.name, Step: -1, Range: p.goal.rng})
	type visit struct{ node, parent int }
	var todo []visit
	push := func(nodes []int, parent int) {
		for _, i := range slices.Backward(nodes) {
			todo = append(todo, visit{i, parent})
		}
	}
	push(goals, 0)
	seen := make([]bool, len(c.Tree))
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[v.node] {
			continue
		}
		seen[v.node] = true
		n, u := c.Tree[v.node], p.units[v.node]
		if u.wraps != nil { // what it stands for takes its place
			p.nodes[v.node] = v.parent
			push(below[v.node], v.parent)
			continue
		}
		if p.goal.slap == nil || n.Shared || n.Parent >= 0 { // else node 0, as it is
			var err error
			out := plan.Node{Parent: v.parent, Task: p.name(u, n.Args), Step: -1, Method: n.Method, Name: n.Sub, Shared: n.Shared, Range: u.rng}
			if n.Method != "" || n.Step >= 0 {
				if out.Key, err = keyOf(n); err != nil {
					return err
				}
			}
			for _, o := range n.Against {
				if o.Method != "" && o.Method != n.Method {
					out.Passed = append(out.Passed, plan.Passed{Method: o.Method, Reason: p.program.objection(o), Range: o.Range})
				}
			}
			if out.Args, err = p.arguments(u, n.Args); err != nil {
				return err
			}
			p.nodes[v.node] = len(p.out.Tree)
			p.out.Tree = append(p.out.Tree, out)
		}
		push(below[v.node], p.nodes[v.node])
	}
	return nil
}

// arguments are those of a unit's task.
func (p *planner) arguments(u *unit, vals []htn.Value) (out []plan.Argument, err error) {
	if u.task == nil {
		return nil, nil
	}
	for i, q := range u.task.params {
		var v htn.Value
		if u.lifted {
			v = vals[i]
		} else if v, err = encode(u.args[i]); err != nil {
			return nil, err
		}
		out = append(out, plan.Argument{Name: q.Name, Value: []byte(v)})
	}
	return out, nil
}

// name is what a person calls a unit: `compile(os="darwin")`, `success "small"`.
func (p *planner) name(u *unit, args []htn.Value) string {
	switch {
	case u.lifted:
		return call(u.member.name, u.task.params, u.values(args))
	case u.behind:
		return u.task.Name
	case u.member == nil && strings.HasPrefix(u.name, "slap."):
		_, criterion, _ := strings.Cut(u.name, ".success.")
		return "success " + quote(criterion)
	}
	return strings.TrimSuffix(u.name, "[*]")
}

func (p *planner) steps() error {
	p.out.Steps = make([]plan.Step, 0, len(p.c.Steps))
	seen := map[string]int{}
	ids := make([]string, len(p.c.Tree))
	for i, n := range p.c.Tree {
		u := p.units[i]
		ids[i] = p.name(u, n.Args)
		if u.member == nil && u.task != nil {
			ids[i] = strings.TrimPrefix(u.name, "slap.")
		}
		if up := p.above(i); up >= 0 {
			ids[i] = short(ids[up] + "." + p.c.Tree[up].Method + "." + n.Sub)
		}
	}
	for _, s := range p.c.Steps {
		u := p.units[s.Node]
		g, in := u.ground, u.frame.env
		switch {
		case u.open != nil:
			g = &ground{step: p.postponed(u, s.Node, ids)}
		case u.lifted:
			in = u.with(u.values(s.Args))
			g = p.within(u.task).fill(u.task.Task, u.name, in)
			for _, name := range g.outputs {
				p.out.Outputs = append(p.out.Outputs, plan.Output{Pattern: name, Task: u.task.Name})
			}
		}
		step := g.step
		step.ID, step.Node = ids[s.Node], p.nodes[s.Node]
		if seen[step.ID]++; seen[step.ID] > 1 {
			step.ID = fmt.Sprintf("%s#%d", step.ID, seen[step.ID])
		}
		for _, b := range s.Bind {
			step.Params = append(step.Params, plan.Argument{Name: b.Var, Value: []byte(b.Value)})
		}
		for _, e := range s.After {
			step.After = append(step.After, p.edge(u, e))
		}
		if step.Waits == nil {
			step.Waits = u.waits
		}
		p.out.Steps = append(p.out.Steps, step)
		p.refs, p.in = append(p.refs, g.refs), append(p.in, in)
	}
	return nil
}

// above is the node above i, but for those that stand for another; -1: it is a goal or shared.
func (p *planner) above(i int) int {
	for !p.c.Tree[i].Shared {
		if i = p.c.Tree[i].Parent; i < 0 || p.units[i].wraps == nil {
			return i
		}
	}
	return -1
}

// postponed is the placeholder for what is to be planned once results are known.
func (p *planner) postponed(u *unit, node int, ids []string) plan.Step {
	out := plan.Step{Waits: u.open, Action: &plan.Action{Task: u.task.Name, Rule: u.name, Description: u.task.Description, Range: u.rng,
		Command: plan.Command{Dir: "."}}}
	if up := p.above(node); u.behind {
		out.Waits = nil
		for _, name := range u.open {
			if id := short(ids[up] + "." + p.c.Tree[up].Method + "." + name); !slices.Contains(out.Waits, id) {
				if _, known := p.results[id]; !known {
					out.Waits = append(out.Waits, id)
				}
			}
		}
	}
	return out
}

// fillers make the steps that wait for nothing but a value able to be filled in, once all else is known of them.
func (p *planner) fillers() {
	for i := range p.out.Steps {
		s := &p.out.Steps[i]
		if u := p.units[p.c.Steps[i].Node]; len(s.Waits) > 0 && u.open == nil {
			s.Fill = p.program.filler(u.task, u.name, p.in[i], *s)
		}
	}
}

// maxID is how long an id may be before its end becomes a hash: methods can be nested without end.
const maxID = 200

func short(id string) string {
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("%s~%x", strings.ToValidUTF8(id[:maxID/2], ""), sum[:6])
}

// with are the values that the expressions of u see when its parameters have these.
func (u *unit) with(args []cty.Value) env {
	vals := make(map[string]cty.Value, len(args))
	for i, q := range u.task.params {
		vals[q.Name] = args[i]
	}
	return u.frame.env.with("param", cty.ObjectVal(vals))
}

// edge says of a need that a file implied which file it was.
func (p *planner) edge(u *unit, e htn.Edge) plan.Edge {
	out := plan.Edge{Step: e.Step, Why: plan.Reason(e.Why), Detail: e.Detail}
	if e.Why == htn.ReasonNeeds {
		out.Detail = ""
		before := p.units[p.c.Steps[e.Step].Node]
		for _, n := range u.needs {
			if n.unit == before && n.path != "" {
				return plan.Edge{Step: e.Step, Why: plan.Data, Detail: n.path}
			}
		}
	}
	return out
}

// criteria marks the steps that only exist for a criterion and puts them after all others. It returns how many others
// there are: they come first.
func (p *planner) criteria() (main int) {
	steps := p.out.Steps
	if p.goal.slap == nil {
		return len(steps)
	}
	children := make([][]int, len(p.c.Tree))
	for i, n := range p.c.Tree {
		if n.Parent >= 0 {
			children[n.Parent] = append(children[n.Parent], i)
		}
	}
	seen := make([]bool, len(p.c.Tree))
	walk := func(root int, visit func(step int)) {
		todo := []int{root}
		for len(todo) > 0 {
			i := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if seen[i] {
				continue
			}
			seen[i] = true
			if s := p.c.Tree[i].Step; s >= 0 {
				visit(s)
			}
			todo = append(append(todo, children[i]...), p.c.Tree[i].Needs...)
		}
	}
	success := "slap." + p.goal.slap.Name + ".success"
	criteria := -1
	for i, n := range p.c.Tree {
		switch {
		case n.Parent >= 0 || n.Shared:
		case n.Task == success:
			criteria = i
		default:
			walk(i, func(int) { main++ })
		}
	}
	if criteria < 0 { // there is something open before them
		return main
	}
	for _, i := range p.c.Tree[criteria].Needs {
		name := strings.TrimPrefix(p.c.Tree[i].Task, success+".")
		walk(i, func(s int) { steps[s].Criterion = name })
	}
	// What waits for everything waits for the steps that nothing waits for.
	waited := make([]bool, len(steps))
	for i := range steps {
		for _, e := range steps[i].After {
			if steps[i].Criterion == "" {
				waited[e.Step] = true
			}
		}
	}
	var last []plan.Edge
	for i := range steps {
		if steps[i].Criterion == "" && !waited[i] {
			last = append(last, plan.Edge{Step: i, Why: plan.Order, Detail: "success"})
		}
	}
	for i := range steps {
		s := &steps[i]
		if s.Criterion == "" {
			continue
		}
		own := slices.DeleteFunc(slices.Clone(s.After), func(e plan.Edge) bool { return steps[e.Step].Criterion == "" })
		if len(own) == 0 {
			own = slices.Clone(last)
		}
		s.After = own
	}
	return main
}

// files orders the steps whose outputs others of the plan read, where nothing orders them yet.
func (p *planner) files(main int) {
	steps := p.out.Steps
	var list []produced
	for i := range steps {
		if steps[i].Outputs == nil || steps[i].Criterion != "" {
			continue
		}
		for _, o := range steps[i].Outputs.Patterns {
			list = append(list, produced{pattern: o, owner: i})
		}
	}
	x := newIndex(list)
	known := map[string][]produced{}
	for i := range steps {
		s := &steps[i]
		if s.Inputs == nil || s.Criterion != "" {
			continue
		}
		before := map[int]bool{i: true}
		for _, e := range s.After {
			before[e.Step] = true
		}
		for _, pattern := range s.Inputs.Patterns {
			hits, ok := known[pattern]
			if !ok {
				x.meeting(pattern, func(o produced, sure bool) {
					if sure {
						hits = append(hits, o)
					}
				})
				known[pattern] = hits
			}
			for _, o := range hits {
				if before[o.owner] || p.standing(i) && p.standing(o.owner) {
					continue // as shared needs they are ordered already
				}
				before[o.owner] = true
				if !p.leads(o.owner, i) && !p.leads(i, o.owner) {
					p.after(i, plan.Edge{Step: o.owner, Why: plan.Data, Detail: plan.Shown(o.pattern)})
				}
			}
		}
	}
}

// standing reports whether a step is the goal or a need with default arguments: compiling has ordered these by their files.
func (p *planner) standing(step int) bool {
	n := p.c.Tree[p.c.Steps[step].Node]
	return (n.Shared || n.Parent < 0) && standard(p.units[p.c.Steps[step].Node])
}

// after adds an edge.
func (p *planner) after(step int, e plan.Edge) {
	s := &p.out.Steps[step]
	s.After = append(s.After, e)
	if p.next != nil {
		p.next[e.Step] = append(p.next[e.Step], step)
	}
}

// leads reports whether step b comes after step a.
func (p *planner) leads(a, b int) bool {
	if p.next == nil {
		p.next = make([][]int, len(p.out.Steps))
		for i := range p.out.Steps {
			for _, e := range p.out.Steps[i].After {
				p.next[e.Step] = append(p.next[e.Step], i)
			}
		}
	}
	seen := map[int]bool{a: true}
	todo := []int{a}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i == b {
			return true
		}
		for _, k := range p.next[i] {
			if !seen[k] {
				seen[k] = true
				todo = append(todo, k)
			}
		}
	}
	return false
}

// sameFile refuses a plan in which two steps write a file and nothing orders them.
func (p *planner) sameFile(main int) error {
	steps := p.out.Steps
	first := map[string]int{}
	for i := range steps {
		s := &steps[i]
		if s.Outputs == nil || s.Criterion != "" {
			continue
		}
		for _, o := range s.Outputs.Patterns {
			if !literal(o) {
				continue
			}
			path := strings.TrimSuffix(o, "/")
			j, twice := first[path]
			first[path] = i // the next one has to come after this one
			if twice && !p.leads(j, i) && !p.leads(i, j) {
				a, b := p.units[p.c.Steps[j].Node], p.units[p.c.Steps[i].Node]
				return &diag.ListError{List: diag.List{same(o, p.written(a, o), steps[j].ID, p.written(b, o), steps[i].ID)}}
			}
		}
	}
	return nil
}

func (p *planner) written(u *unit, pattern string) diag.Range {
	if u.ground != nil {
		return p.output(u, pattern)
	}
	return place(u.task.Outputs)
}

// sort puts the steps into an order that agrees with all edges and is as near as possible to the one they have, and leaves
// out edges that follow from others.
func (p *planner) sort() {
	steps := p.out.Steps
	wait := make([]int, len(steps))
	follow := make([][]int, len(steps))
	forward := true
	for i := range steps {
		wait[i] = len(steps[i].After)
		for _, e := range steps[i].After {
			follow[e.Step] = append(follow[e.Step], i)
			forward = forward && e.Step < i
		}
	}
	if !forward {
		var order []int
		ready := &heap{}
		for i := range steps {
			if wait[i] == 0 {
				ready.push(i)
			}
		}
		for len(*ready) > 0 {
			i := ready.pop()
			order = append(order, i)
			for _, k := range follow[i] {
				if wait[k]--; wait[k] == 0 {
					ready.push(k)
				}
			}
		}
		place := make([]int, len(steps))
		for to, from := range order {
			place[from] = to
		}
		moved, refs, of, in := make([]plan.Step, len(steps)), make([][]reference, len(steps)), make([]htn.Step, len(steps)), make([]env, len(steps))
		for to, from := range order {
			moved[to], refs[to], of[to], in[to] = steps[from], p.refs[from], p.c.Steps[from], p.in[from]
			for k := range moved[to].After {
				moved[to].After[k].Step = place[moved[to].After[k].Step]
			}
		}
		p.out.Steps, p.refs, p.c.Steps, p.in = moved, refs, of, in
	}
	p.reduce()
}

// maxReduced bounds the work of leaving out edges for one step; a plan with more has edges that say nothing new.
const maxReduced = 10_000

// reduce leaves out edges to steps that another edge leads to.
func (p *planner) reduce() {
	steps := p.out.Steps
	mark := make([]int, len(steps))
	for i := range steps {
		s := &steps[i]
		slices.SortFunc(s.After, func(a, b plan.Edge) int { return cmp.Compare(a.Step, b.Step) })
		if len(s.After) < 2 || s.Criterion != "" {
			continue
		}
		lowest, work := s.After[0].Step, 0
		todo := []int{}
		for k := len(s.After) - 1; k >= 0; k-- {
			e := s.After[k]
			if mark[e.Step] == i+1 {
				s.After = slices.Delete(s.After, k, k+1)
				continue
			}
			todo = append(todo, e.Step)
			for len(todo) > 0 && work < maxReduced {
				j := todo[len(todo)-1]
				todo = todo[:len(todo)-1]
				for _, f := range steps[j].After {
					work++
					if f.Step >= lowest && mark[f.Step] != i+1 {
						mark[f.Step] = i + 1
						todo = append(todo, f.Step)
					}
				}
			}
			todo = todo[:0]
		}
	}
}

// heap yields its smallest number first.
type heap []int

func (h *heap) push(x int) {
	*h = append(*h, x)
	for i := len(*h) - 1; i > 0 && (*h)[i] < (*h)[(i-1)/2]; i = (i - 1) / 2 {
		(*h)[i], (*h)[(i-1)/2] = (*h)[(i-1)/2], (*h)[i]
	}
}

func (h *heap) pop() int {
	s := *h
	top := s[0]
	n := len(s) - 1
	s[0] = s[n]
	*h = s[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c+1 < n && s[c+1] < s[c] {
			c++
		}
		if c >= n || s[i] <= s[c] {
			return top
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
}

// inputSteps finds the steps behind the tasks among inputs.
func (p *planner) inputSteps() {
	shared := map[string]int{}
	children := make([][]int, len(p.c.Tree))
	for i, n := range p.c.Tree {
		if n.Shared && len(n.Args) == 0 {
			shared[n.Task] = i
		}
		if n.Parent >= 0 {
			children[n.Parent] = append(children[n.Parent], i)
		}
	}
	at := make([]int, len(p.c.Tree))
	for i, s := range p.c.Steps {
		at[s.Node] = i
	}
	for i, refs := range p.refs {
		if len(refs) == 0 {
			continue
		}
		found := map[int]bool{}
		seen := map[int]bool{}
		var walk func(node int)
		walk = func(node int) {
			n := p.c.Tree[node]
			switch {
			case seen[node]:
				return
			case n.Step >= 0:
				found[at[node]] = true
			}
			seen[node] = true
			for _, c := range children[node] {
				walk(c)
			}
			if n.Step < 0 && n.Method == "" { // a group: its outputs are those of its needs
				for _, c := range n.Needs {
					walk(c)
				}
			}
		}
		for _, r := range refs {
			name := r.unit
			switch {
			case name != "":
			case r.member != nil:
				name = r.member.name
			default:
				name = r.task.Name + "[*]"
			}
			if node, ok := shared[name]; ok {
				walk(node)
			}
		}
		files := *p.out.Steps[i].Inputs
		files.Steps = slices.Sorted(maps.Keys(found))
		p.out.Steps[i].Inputs = &files
	}
}
