package compiler

import (
	"context"
	"slices"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// planned is a plan that may stand, or most of it, when facts change.
type planned struct {
	asked    string // what it was made for
	assembly *assembly
	facts    warp.Graph
	reads    *htn.Reads
	plan     *plan.Plan
}

// again is the plan that the last one becomes after facts have changed: the same if none of its decisions hangs on them; the
// same but for some needs if their decisions do and the others do not see that. nil: it has to be made anew, which gives the
// same plan and takes longer.
func (p *Program) again(ctx context.Context, g *goal, asked string, facts warp.Graph, excluded []plan.Excluded) *plan.Plan {
	last := p.last
	if last == nil || last.asked != asked {
		return nil
	}
	needs, all := last.reads.Askers(changed(last.facts, facts))
	if all || len(needs) > 0 && g.slap != nil && len(g.slap.Constraints) > 0 { // which are about the whole
		return nil
	}
	out := last.plan
	if len(needs) > 0 {
		problem, err := p.problem(last.assembly, facts, excluded)
		if err != nil {
			return nil
		}
		own := *out
		own.Tree, own.Steps = slices.Clone(out.Tree), slices.Clone(out.Steps)
		for _, need := range needs {
			reads := p.replace(ctx, last.assembly, &own, need, problem)
			if reads == nil {
				return nil
			}
			last.reads.Merge(need, reads)
		}
		out = &own
	}
	p.current = last.assembly
	p.last = &planned{asked, last.assembly, facts, last.reads, out}
	return out
}

// changed are the facts in which two graphs differ.
func changed(a, b warp.Graph) (out []warp.Node) {
	for _, op := range warp.Diff(a, b).Ops {
		if op.Node.Kind == "fact" {
			out = append(out, op.Node)
		}
	}
	return out
}

// replace plans a need by itself and puts it in the place of what the plan has for it, if tree, files and order around it
// stay as they are. It returns what the search has asked for; nil: it does not fit.
func (p *Program) replace(ctx context.Context, a *assembly, out *plan.Plan, need string, problem htn.Problem) *htn.Reads {
	u := a.byName[need]
	problem.Goal = []htn.Sub{{Task: need}}
	for _, n := range u.needs {
		if slices.ContainsFunc(n.args, func(t htn.Term) bool { return t.Var != "" || t.Func != nil }) {
			return nil
		}
		problem.Done = append(problem.Done, htn.Sub{Task: n.unit.name, Args: n.args})
	}
	for c, err := range a.program.Plans(ctx, problem) {
		if err != nil {
			return nil // planning anew says so better
		}
		part := &planner{assembly: a, program: p, goal: &goal{name: u.name, unit: need, rng: u.rng}, c: &c}
		if err := p.names.try(func() { err = part.work() }); err != nil || !part.fits(out) {
			return nil
		}
		return c.Reads
	}
	return nil
}

// fits puts the plan of a need in the place of what out has for it, and reports whether it could.
func (p *planner) fits(out *plan.Plan) bool {
	part := p.out
	root := slices.IndexFunc(out.Tree, func(n plan.Node) bool { return n.Shared && n.Task == part.Tree[1].Task })
	if root < 0 {
		return false
	}
	nodes := []int{0} // the nodes of out in whose place those of part come; the intent of part has none
	below := map[int]bool{root: true}
	for i := root; i < len(out.Tree) && (i == root || out.Tree[i].Parent >= root); i++ {
		n := out.Tree[i]
		if i == root || !n.Shared && below[n.Parent] {
			nodes, below[i] = append(nodes, i), true
		}
	}
	if len(nodes) != len(part.Tree) || len(part.Outputs) > 0 { // the plan lists outputs of lifted units as its own
		return false
	}
	steps := make([]int, len(part.Steps)) // and those of steps
	for i := range nodes[1:] {
		was, now := &out.Tree[nodes[i+1]], &part.Tree[i+1]
		same := (was.Step < 0) == (now.Step < 0) && !now.Shared
		if i > 0 {
			same = same && was.Parent == nodes[now.Parent] && !p.needing(was.Key) && !p.needing(now.Key)
		}
		if !same {
			return false
		}
		if now.Step >= 0 {
			steps[now.Step] = was.Step
		}
	}
	own := map[int]bool{}
	for _, i := range steps {
		own[i] = true
	}
	for i := range part.Steps {
		was := &out.Steps[steps[i]]
		if u := p.byName[was.Rule]; u == nil || u.lifted && was.Outputs != nil || !replaceable(was, &part.Steps[i], steps, own) {
			return false
		}
	}
	for i := range part.Steps {
		was, now := &out.Steps[steps[i]], part.Steps[i]
		now.Node = nodes[now.Node]
		inner := now.After
		now.After = slices.Clone(was.After)
		for k, e := range now.After {
			if own[e.Step] {
				now.After[k].Detail, inner = inner[0].Detail, inner[1:]
			}
		}
		*was = now
	}
	for i := range nodes[1:] {
		was, now := &out.Tree[nodes[i+1]], part.Tree[i+1]
		now.Parent, now.Shared, now.Step = was.Parent, was.Shared, was.Step
		*was = now
	}
	return true
}

// needing reports whether the unit of a ground method or step has needs, or whether that is not known.
func (p *planner) needing(key string) bool {
	var k groundKey
	if cbor.Unmarshal([]byte(key), &k) != nil {
		return true
	}
	u := p.byName[k.Task]
	return u == nil || len(u.needs) > 0
}

// replaceable reports whether a step can come in the place of another without a change to others: the same files, and the same
// order among the own steps, whose places steps has.
func replaceable(was, now *plan.Step, steps []int, own map[int]bool) bool {
	var inner []plan.Edge
	for _, e := range was.After {
		if own[e.Step] {
			inner = append(inner, e)
		}
	}
	return was.Criterion == "" && sameFiles(was.Inputs, now.Inputs) && sameFiles(was.Outputs, now.Outputs) &&
		slices.EqualFunc(inner, now.After, func(a, b plan.Edge) bool { return a.Step == steps[b.Step] && a.Why == b.Why })
}

func sameFiles(a, b *plan.Files) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Patterns, b.Patterns) && len(a.Steps)+len(b.Steps) == 0
}
