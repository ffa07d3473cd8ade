package htn_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// world is a generated domain with a problem, small enough to be searched exhaustively.
type generated struct {
	domain    htn.Domain
	facts     string
	goal      string
	unordered bool
}

func (g generated) problem(t testing.TB) htn.Problem {
	return htn.Problem{Facts: facts(t, g.facts), Goal: subs(g.goal), Unordered: g.unordered, Limits: htn.Limits{Nodes: 20_000}}
}

// generate draws primitive tasks p0… over the facts a(x), b(x), c and compound tasks t0… of which each uses later ones.
func generate(t *rapid.T, needs bool) generated {
	n := 0
	pick := func(of ...string) string { n++; return rapid.SampledFrom(of).Draw(t, fmt.Sprint("pick", n)) }
	num := func(lo, hi int) int { n++; return rapid.IntRange(lo, hi).Draw(t, fmt.Sprint("num", n)) }
	arg := func(vars ...string) string { return pick(append(vars, "1", "2")...) }
	fact := func(vars ...string) string {
		switch num(0, 2) {
		case 0:
			return "a(" + arg(vars...) + ")"
		case 1:
			return "b(" + arg(vars...) + ")"
		default:
			return "c"
		}
	}
	var g generated
	prims, comps := num(2, 4), num(1, 4)
	task := func(from int, vars ...string) string {
		if from < comps && num(0, 2) > 0 {
			return fmt.Sprintf("t%d(%s)", num(from, comps-1), arg(vars...))
		}
		return fmt.Sprintf("p%d(%s)", num(0, prims-1), arg(vars...))
	}
	several := func(lo, hi int, one func() string) string {
		var out []string
		for range num(lo, hi) {
			if s := one(); !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return strings.Join(out, ";")
	}
	for i := range prims {
		pre := several(0, 2, func() string { return pick("", "!") + fact("?x") })
		effects := several(1, 2, func() string { return pick("+", "-") + fact("?x") })
		p := prim(fmt.Sprintf("p%d(?x)", i), pre, effects)
		if needs && i > 0 && num(0, 1) == 1 {
			p.Needs = subs(fmt.Sprintf("p%d(%s)", num(0, i-1), arg("?x")))
		}
		g.domain.Tasks = append(g.domain.Tasks, p)
	}
	for i := range comps {
		c := compound(fmt.Sprintf("t%d(?x)", i))
		for j := range num(1, 3) {
			m := htn.Method{Name: fmt.Sprintf("m%d", j)}
			vars := []string{"?x"}
			when := several(0, 2, func() string { return pick("", "!") + fact(vars...) })
			if num(0, 2) == 0 {
				m.Vars, vars = []string{"y"}, append(vars, "?y")
				when += ";" + pick("a", "b") + "(?y)"
			}
			m.When = cond(strings.TrimPrefix(when, ";"))
			for k := range num(0, 3) {
				m.Steps = append(m.Steps, subs(task(i+1, vars...))...)
				m.Steps[k].Name = fmt.Sprint("s", k)
				for before := range k {
					if num(0, 1) == 1 {
						m.Order = append(m.Order, [2]int{before, k})
					}
				}
			}
			c.Methods = append(c.Methods, m)
		}
		if needs && num(0, 3) == 0 {
			c.Needs = subs(fmt.Sprintf("p%d(%s)", num(0, prims-1), arg("?x")))
		}
		g.domain.Tasks = append(g.domain.Tasks, c)
	}
	g.facts = several(0, 4, func() string { return fact() })
	g.goal = several(1, 2, func() string { return task(0) })
	g.unordered = num(0, 1) == 1
	return g
}

func operators(d htn.Domain) map[string]*warp.Rule {
	out := map[string]*warp.Rule{}
	for _, t := range d.Tasks {
		if t.Operator != nil {
			out[t.Name] = t.Operator
		}
	}
	return out
}

// execute applies the rules of the steps in the given order.
func execute(g warp.Graph, d htn.Domain, c htn.Candidate, order []int) (warp.Graph, error) {
	rules := operators(d)
	for _, i := range order {
		s := &c.Steps[i]
		found := false
		for range rules[s.Task].Matches(g, s.Binding()) {
			found = true
		}
		if !found {
			return g, fmt.Errorf("step %d, %s, cannot be done at its turn", i, htn.Call(s.Task, s.Args))
		}
		w, _, err := rules[s.Task].Instantiate(s.Binding())
		if err != nil {
			return g, err
		}
		if g, err = g.Apply(w); err != nil {
			return g, err
		}
	}
	return g, nil
}

// linearise draws an order of the steps that keeps their edges.
func linearise(t *rapid.T, c htn.Candidate) (order []int) {
	left := make([]int, len(c.Steps))
	after := make([][]int, len(c.Steps))
	var ready []int
	for i, s := range c.Steps {
		left[i] = len(s.After)
		for _, e := range s.After {
			after[e.Step] = append(after[e.Step], i)
		}
		if left[i] == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		k := rapid.IntRange(0, len(ready)-1).Draw(t, "next")
		i := ready[k]
		ready = slices.Delete(ready, k, k+1)
		order = append(order, i)
		for _, j := range after[i] {
			if left[j]--; left[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	return order
}

// valid says what is wrong with the decomposition tree for this order of its steps: every step and need must be where
// it belongs, and every method's condition must hold at some moment after all that is ordered before the method and not
// after its first step (or, if it has none, before all that is ordered after it).
func valid(g warp.Graph, d htn.Domain, c htn.Candidate, order []int) error {
	states := []map[string]bool{state(g)}
	rules := operators(d)
	at := make([]int, len(order))
	for pos, i := range order {
		at[i] = pos
		w, _, err := rules[c.Steps[i].Task].Instantiate(c.Steps[i].Binding())
		if err != nil {
			return err
		}
		if g, err = g.Apply(w); err != nil {
			return err
		}
		states = append(states, state(g))
	}
	tasks := map[string]htn.Task{}
	for _, t := range d.Tasks {
		tasks[t.Name] = t
	}
	kids := make([][]int, len(c.Tree))
	leaves := make([][]int, len(c.Tree)) // positions
	for i := len(c.Tree) - 1; i >= 0; i-- {
		n := c.Tree[i]
		if n.Step >= 0 {
			leaves[i] = append(leaves[i], at[n.Step])
		}
		if n.Parent >= i {
			return fmt.Errorf("node %d is before its parent", i)
		}
		if n.Parent >= 0 {
			kids[n.Parent] = append(kids[n.Parent], i)
			leaves[n.Parent] = append(leaves[n.Parent], leaves[i]...)
		}
	}
	before := func(a, b int) bool {
		return len(leaves[a]) == 0 || len(leaves[b]) == 0 || slices.Max(leaves[a]) < slices.Min(leaves[b])
	}
	lo, hi := make([]int, len(c.Tree)), make([]int, len(c.Tree)) // when a method may be applied: in states[lo..hi]
	for i, n := range c.Tree {
		if n.Parent < 0 {
			hi[i] = len(order)
		}
		t := tasks[n.Task]
		if len(n.Needs) != len(t.Needs) {
			return fmt.Errorf("node %d has %d needs", i, len(n.Needs))
		}
		for _, need := range n.Needs {
			if !before(need, i) {
				return fmt.Errorf("node %d is not after its need %d", i, need)
			}
		}
		for _, m := range t.Methods {
			if m.Name != n.Method {
				continue
			}
			first := hi[i]
			if len(leaves[i]) > 0 {
				first = slices.Min(leaves[i])
			}
			env := map[string]string{"x": plain(n.Args[0])}
			for _, b := range n.Bind {
				env[b.Var] = plain(b.Value)
			}
			if !slices.ContainsFunc(states[min(lo[i], first):first+1], func(s map[string]bool) bool { return holds(s, m.When, env) }) {
				return fmt.Errorf("node %d: the condition of %s does not hold in states %d to %d", i, m.Name, lo[i], first)
			}
			named := map[string]int{}
			for _, k := range kids[i] {
				named[c.Tree[k].Sub] = k
				lo[k], hi[k] = lo[i], hi[i]
			}
			if len(named) != len(m.Steps) {
				return fmt.Errorf("node %d has %d steps", i, len(named))
			}
			after := make([][]bool, len(m.Steps)) // after[i][j]: j comes after i
			for j := range after {
				after[j] = make([]bool, len(m.Steps))
			}
			for _, o := range m.Order {
				after[o[0]][o[1]] = true
			}
			for k := range after {
				for x := range after {
					for y := range after {
						after[x][y] = after[x][y] || after[x][k] && after[k][y]
					}
				}
			}
			for x := range after {
				for y := range after {
					if a, b := named[m.Steps[x].Name], named[m.Steps[y].Name]; after[x][y] {
						if !before(a, b) {
							return fmt.Errorf("node %d: %d is not after %d", i, y, x)
						}
						if len(leaves[a]) > 0 {
							lo[b] = max(lo[b], slices.Max(leaves[a])+1)
						}
						if len(leaves[b]) > 0 {
							hi[a] = min(hi[a], slices.Min(leaves[b]))
						}
					}
				}
			}
		}
	}
	return nil
}

func plain(v htn.Value) string { return strings.Trim(v.String(), `"`) }

func state(g warp.Graph) map[string]bool {
	out := map[string]bool{}
	for _, n := range g.Nodes("fact") {
		x, err := cbor.Decode(n.Data)
		if err != nil {
			panic(err)
		}
		out[strings.Trim(fmt.Sprint(x), "[]")] = true
	}
	return out
}

func TestEveryOrderThatKeepsTheEdgesReachesTheSameFacts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := generate(rt, true)
		prob := g.problem(t)
		p, err := htn.Compile(g.domain)
		require.NoError(rt, err)
		got, err := all(t.Context(), p, prob, 3)
		if len(got) == 0 {
			require.True(rt, isNoPlan(err) || isLimit(err), "%v", err)
			return
		}
		for _, c := range got {
			straight := make([]int, len(c.Steps))
			for i := range straight {
				straight[i] = i
				for _, e := range c.Steps[i].After {
					require.Less(rt, e.Step, i)
				}
			}
			want, err := execute(prob.Facts, g.domain, c, straight)
			require.NoError(rt, err)
			for range 4 {
				order := linearise(rt, c)
				end, err := execute(prob.Facts, g.domain, c, order)
				require.NoError(rt, err, "order %v", order)
				require.Equal(rt, want.Digest(), end.Digest(), "order %v", order)
				require.NoError(rt, valid(prob.Facts, g.domain, c, order), "order %v", order)
			}
		}
	})
}

func isNoPlan(err error) bool { _, ok := errors.AsType[*htn.NoPlanError](err); return ok }
func isLimit(err error) bool  { _, ok := errors.AsType[*htn.LimitError](err); return ok }

// oracle is a planner that a reader can check: it tries everything, remembers nothing, and only says whether there is a plan.
type oracle struct {
	tasks map[string]htn.Task
	steps int
}

type todo struct {
	name   string
	args   []string
	before []*todo // what has to be achieved first
	parts  []*todo // once decomposed
	open   bool    // primitive and not done, or not decomposed
}

func (n *todo) done() bool {
	return !n.open && !slices.ContainsFunc(n.parts, func(p *todo) bool { return !p.done() })
}

func (o *oracle) solve(state map[string]bool, nodes []*todo) bool {
	if o.steps++; o.steps > 20_000 {
		return false
	}
	finished := true
	for _, n := range nodes {
		if !n.open {
			continue
		}
		finished = false
		if slices.ContainsFunc(n.before, func(b *todo) bool { return !b.done() }) {
			continue
		}
		task := o.tasks[n.name]
		env := map[string]string{"x": n.args[0]}
		if r := task.Operator; r != nil {
			next := maps.Clone(state)
			ok := true
			for _, p := range r.Match {
				ok = ok && state[ground(p, env)]
			}
			for _, p := range r.Not {
				ok = ok && !state[ground(p, env)]
			}
			for _, p := range r.Remove {
				delete(next, ground(p, env))
			}
			for _, p := range r.Add {
				next[ground(p, env)] = true
			}
			n.open = false
			if ok && o.solve(next, nodes) {
				return true
			}
			n.open = true
			continue
		}
		for _, m := range task.Methods {
			ys := []string{""}
			if len(m.Vars) > 0 {
				ys = []string{"1", "2"}
			}
			for _, y := range ys {
				env["y"] = y
				if !holds(state, m.When, env) {
					continue
				}
				parts := make([]*todo, len(m.Steps))
				for i, s := range m.Steps {
					parts[i] = &todo{name: s.Task, args: []string{value(s.Args[0], env)}, open: true, before: n.before}
				}
				for _, ord := range m.Order {
					parts[ord[1]].before = append(slices.Clone(parts[ord[1]].before), parts[ord[0]])
				}
				n.open, n.parts = false, parts
				if o.solve(state, append(slices.Clone(nodes), parts...)) {
					return true
				}
				n.open, n.parts = true, nil
			}
		}
	}
	return finished
}

func value(t htn.Term, env map[string]string) string {
	if t.Var != "" {
		return env[t.Var]
	}
	return strings.Trim(t.Const.String(), `"`)
}

func ground(p warp.NodePattern, env map[string]string) string {
	rel, args, _ := p.Fact()
	for _, a := range args {
		if v, ok := a.Variable(); ok {
			rel += " " + env[v]
		} else {
			c, _ := a.Value()
			rel += " " + strings.Trim(htn.Value(c).String(), `"`)
		}
	}
	return rel
}

func holds(state map[string]bool, c htn.Cond, env map[string]string) bool {
	switch c := c.(type) {
	case htn.All:
		return !slices.ContainsFunc(c, func(x htn.Cond) bool { return !holds(state, x, env) })
	case htn.Not:
		return !holds(state, c.Cond, env)
	case htn.Holds:
		s := c.Rel
		for _, a := range c.Args {
			s += " " + value(a, env)
		}
		return state[s]
	}
	panic("not generated")
}

func TestThereIsAPlanExactlyWhenExhaustiveSearchFindsOne(t *testing.T) {
	plans, none := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		g := generate(rt, false)
		p, err := htn.Compile(g.domain)
		require.NoError(rt, err)
		got, err := all(t.Context(), p, g.problem(t), 1)
		if isLimit(err) {
			return
		}
		o := oracle{tasks: map[string]htn.Task{}}
		for _, task := range g.domain.Tasks {
			o.tasks[task.Name] = task
		}
		state := map[string]bool{}
		for _, f := range list(g.facts) {
			rel, args := split(f)
			state[strings.Join(append([]string{rel}, args...), " ")] = true
		}
		var nodes []*todo
		for _, s := range list(g.goal) {
			name, args := split(s)
			n := &todo{name: name, args: args, open: true}
			if len(nodes) > 0 && !g.unordered {
				n.before = []*todo{nodes[len(nodes)-1]}
			}
			nodes = append(nodes, n)
		}
		want := o.solve(state, nodes)
		if o.steps > 20_000 && !want {
			return
		}
		require.Equal(rt, want, len(got) == 1, "%v", err)
		if want {
			plans++
		} else {
			none++
			require.True(rt, isNoPlan(err), "%v", err)
		}
	})
	require.NotZero(t, plans)
	require.NotZero(t, none)
	t.Logf("%d with a plan, %d without", plans, none)
}

func TestEqualInputGivesEqualCandidates(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := generate(rt, true)
		var first string
		for i := range 3 {
			p, err := htn.Compile(g.domain)
			require.NoError(rt, err)
			got, err := all(t.Context(), p, g.problem(t), 5)
			b, jsonErr := json.Marshal(got)
			require.NoError(rt, jsonErr)
			text := fmt.Sprint(string(b), err)
			if i == 0 {
				first = text
			}
			require.Equal(rt, first, text)
		}
	})
}
