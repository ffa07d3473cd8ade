package htn_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/stretchr/testify/require"
)

// A small notation keeps the tests readable: "at(?x, home)" is a fact or a task, ?x a variable.

func val(s string) htn.Value {
	b, err := cbor.Encode(s)
	if err != nil {
		panic(err)
	}
	return htn.Value(b)
}

func split(s string) (name string, args []string) {
	name, rest, ok := strings.Cut(strings.TrimSuffix(strings.TrimSpace(s), ")"), "(")
	if ok && strings.TrimSpace(rest) != "" {
		for _, a := range strings.Split(rest, ",") {
			args = append(args, strings.TrimSpace(a))
		}
	}
	return name, args
}

func terms(args []string) (out []htn.Term) {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, "?"); ok {
			out = append(out, htn.V(v))
		} else {
			out = append(out, htn.C(val(a)))
		}
	}
	return out
}

func params(args []string) (out []string) {
	for _, a := range args {
		out = append(out, strings.TrimPrefix(a, "?"))
	}
	return out
}

func list(s string) []string {
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return strings.Split(s, ";")
}

// cond reads "p(?x); !q(?x)".
func cond(s string) htn.Cond {
	var all htn.All
	for _, l := range list(s) {
		neg := strings.HasPrefix(strings.TrimSpace(l), "!")
		name, args := split(strings.TrimPrefix(strings.TrimSpace(l), "!"))
		var c htn.Cond = htn.Holds{Rel: name, Args: terms(args)}
		if neg {
			c = htn.Not{Cond: c}
		}
		all = append(all, c)
	}
	return all
}

func subs(s string) (out []htn.Sub) {
	for i, l := range list(s) {
		name, args := split(l)
		out = append(out, htn.Sub{Name: fmt.Sprintf("s%d", i), Task: name, Args: terms(args)})
	}
	return out
}

// prim is a primitive task: effects are "+p(?x); -q".
func prim(head, when, effects string) htn.Task {
	name, args := split(head)
	r := &warp.Rule{Name: name, Params: params(args)}
	pattern := func(l string) warp.NodePattern {
		rel, args := split(l)
		var ts []warp.Term
		for _, t := range terms(args) {
			if t.Var != "" {
				ts = append(ts, warp.Var(t.Var))
			} else {
				ts = append(ts, warp.Raw(string(t.Const)))
			}
		}
		return warp.FactPattern(rel, ts...)
	}
	for _, l := range list(when) {
		if l = strings.TrimSpace(l); l[0] == '!' {
			r.Not = append(r.Not, pattern(l[1:]))
		} else {
			r.Match = append(r.Match, pattern(l))
		}
	}
	for _, l := range list(effects) {
		p := pattern(strings.TrimSpace(l)[1:])
		if strings.TrimSpace(l)[0] == '+' {
			r.Add = append(r.Add, p)
		} else {
			p.Optional = true
			r.Remove = append(r.Remove, p)
		}
	}
	return htn.Task{Name: name, Params: params(args), Operator: r, Cost: 1}
}

func method(name, vars, when, steps string) htn.Method {
	m := htn.Method{Name: name, When: cond(when), Steps: subs(steps)}
	for _, v := range strings.Fields(vars) {
		m.Vars = append(m.Vars, strings.TrimPrefix(v, "?"))
	}
	m.Order = htn.Sequence(len(m.Steps))
	return m
}

func compound(head string, ms ...htn.Method) htn.Task {
	name, args := split(head)
	return htn.Task{Name: name, Params: params(args), Methods: ms}
}

func needing(t htn.Task, needs string) htn.Task {
	t.Needs = subs(needs)
	return t
}

func facts(t testing.TB, s string) warp.Graph {
	var w warp.Rewrite
	for _, l := range list(s) {
		rel, args := split(l)
		vals := make([]any, len(args))
		for i, a := range args {
			vals[i] = a
		}
		n, err := warp.Fact(rel, vals...)
		require.NoError(t, err)
		w.Ops = append(w.Ops, warp.AddNode(n))
	}
	g, err := warp.Graph{}.Apply(w)
	require.NoError(t, err)
	return g
}

func show(c htn.Candidate) (out []string) {
	for _, s := range c.Steps {
		parts := make([]string, len(s.Args))
		for i, a := range s.Args {
			x, err := cbor.Decode([]byte(a))
			if err != nil {
				panic(err)
			}
			parts[i] = fmt.Sprint(x)
		}
		line := s.Task
		if len(parts) > 0 {
			line += "(" + strings.Join(parts, ", ") + ")"
		}
		out = append(out, line)
	}
	return out
}

func compile(t testing.TB, tasks ...htn.Task) *htn.Program {
	p, err := htn.Compile(htn.Domain{Tasks: tasks})
	require.NoError(t, err)
	return p
}

// all returns up to n candidates, and the error that ended the search.
func all(ctx context.Context, p *htn.Program, prob htn.Problem, n int) (out []htn.Candidate, err error) {
	for c, err := range p.Plans(ctx, prob) {
		if err != nil {
			return out, err
		}
		if out = append(out, c); len(out) == n {
			break
		}
	}
	return out, nil
}

func TestPlans(t *testing.T) {
	fallback := []htn.Task{
		prim("docker", "", "+built"), prim("podman", "", "+built"),
		compound("image",
			method("docker", "", "installed(docker)", "docker"),
			method("podman", "", "installed(podman)", "podman")),
	}
	travel := []htn.Task{
		prim("walk(?a,?b)", "at(?a)", "-at(?a); +at(?b)"),
		prim("ride(?a,?b)", "at(?a); !broke", "-at(?a); +at(?b); +broke"),
		compound("go(?b)",
			method("there", "", "at(?b)", ""),
			method("walk", "?a", "at(?a); near(?a,?b)", "walk(?a,?b)"),
			method("ride", "?a", "at(?a)", "ride(?a,?b)")),
	}
	hanoi := []htn.Task{
		prim("move(?d,?a,?b)", "on(?d,?a)", "-on(?d,?a); +on(?d,?b)"),
		compound("shift(?d,?a,?b,?c)",
			method("one", "", "smallest(?d)", "move(?d,?a,?b)"),
			method("more", "?e", "above(?e,?d)", "shift(?e,?a,?c,?b); move(?d,?a,?b); shift(?e,?c,?b,?a)")),
	}
	count := []htn.Task{
		prim("tick(?n)", "", "-left(?n)"),
		compound("all", method("next", "?n", "left(?n)", "tick(?n); all"), method("done", "", "", "")),
	}
	diamond := []htn.Task{
		needing(prim("app", "", ""), "lib; gen"), needing(prim("lib", "", ""), "gen"), prim("gen", "", ""),
		needing(compound("everything"), "app; lib"),
	}
	tests := map[string]struct {
		tasks       []htn.Task
		facts, goal string
		exclude     []htn.Exclusion
		want        [][]string // the first candidates
	}{
		"no goal is the empty plan":                        {want: [][]string{nil}},
		"the first method is taken, the second comes next": {tasks: fallback, facts: "installed(docker); installed(podman)", goal: "image", want: [][]string{{"docker"}, {"podman"}}},
		"a method whose condition fails is passed over":    {tasks: fallback, facts: "installed(podman)", goal: "image", want: [][]string{{"podman"}}},
		"an excluded method is passed over":                {tasks: fallback, facts: "installed(docker); installed(podman)", goal: "image", exclude: []htn.Exclusion{{Task: "image", Method: "docker"}}, want: [][]string{{"podman"}}},
		"a method whose step is excluded is passed over":   {tasks: fallback, facts: "installed(docker); installed(podman)", goal: "image", exclude: []htn.Exclusion{{Task: "docker"}}, want: [][]string{{"podman"}}},
		"a method without steps does nothing":              {tasks: travel, facts: "at(home)", goal: "go(home)", want: [][]string{nil, {"ride(home, home)"}}},
		"variables are bound by facts":                     {tasks: travel, facts: "at(home); near(home,park)", goal: "go(park)", want: [][]string{{"walk(home, park)"}, {"ride(home, park)"}}},
		"the facts after a step decide about the next":     {tasks: travel, facts: "at(home); near(park,zoo)", goal: "go(park); go(zoo)", want: [][]string{{"ride(home, park)", "walk(park, zoo)"}}},
		"an earlier choice is taken back for a later goal": {tasks: travel, facts: "at(home); near(home,park)", goal: "go(park); go(sea)", want: [][]string{{"walk(home, park)", "ride(park, sea)"}}},
		"bindings come in the order of their values":       {tasks: count, facts: "left(b); left(a); left(c)", goal: "all", want: [][]string{{"tick(a)", "tick(b)", "tick(c)"}}},
		"recursion": {tasks: hanoi, facts: "smallest(1); above(1,2); on(1,l); on(2,l)", goal: "shift(2,l,r,m)", want: [][]string{{"move(1, l, m)", "move(2, l, r)", "move(1, m, r)"}}},
		"needs are achieved once, before who needs them":    {tasks: diamond, goal: "everything", want: [][]string{{"gen", "lib", "app"}}},
		"an excluded binding leaves the others of a method": {tasks: count, facts: "left(a); left(b)", goal: "all", exclude: []htn.Exclusion{{Task: "all", Method: "next", Bind: []htn.Bound{{Var: "n", Value: val("a")}}}}, want: [][]string{{"tick(b)"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := compile(t, tt.tasks...)
			got, err := all(t.Context(), p, htn.Problem{Facts: facts(t, tt.facts), Goal: subs(tt.goal), Exclude: tt.exclude}, len(tt.want))
			require.NoError(t, err)
			var lines [][]string
			for _, c := range got {
				lines = append(lines, show(c))
			}
			require.Equal(t, tt.want, lines)
		})
	}
}
