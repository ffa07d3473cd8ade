package htn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp"
	"github.com/stretchr/testify/require"
)

func TestWhyThereIsNoPlan(t *testing.T) {
	image := []htn.Task{
		prim("push(?x)", "login(?x)", ""), prim("docker", "", ""), prim("podman", "", ""),
		compound("ship(?x)",
			method("hub", "", "public(?x)", "image; push(?x)"),
			method("quay", "?r", "registry(?r); !down(?r)", "image; push(?x)")),
		compound("image",
			method("docker", "", "installed(docker)", "docker"),
			method("podman", "", "installed(podman)", "podman")),
	}
	cycle := []htn.Task{needing(prim("a", "", ""), "b"), needing(prim("b", "", ""), "a")}
	loop := []htn.Task{compound("again", method("only", "", "", "again"))}
	tests := map[string]struct {
		tasks       []htn.Task
		facts, goal string
		exclude     []htn.Exclusion
		want        string
	}{
		"conditions with their values": {tasks: image, facts: "registry(r1); down(r1)", goal: "ship(v1)", want: `
no plan for ship("v1")
  method hub: public("v1") does not hold
  method quay: !down("r1") does not hold`},
		"the step below that cannot be planned": {tasks: image, facts: "public(v1); login(v1)", goal: "ship(v1)", want: `
no plan for ship("v1")
  method hub: image cannot be done
    method docker: installed("docker") does not hold
    method podman: installed("podman") does not hold
  method quay: registry(any r) does not hold`},
		"the later step is to blame when the earlier can be done": {tasks: image, facts: "public(v1); installed(podman)", goal: "ship(v1)", want: `
no plan for ship("v1")
  method hub: push("v1") cannot be done
    login("v1") does not hold
  method quay: registry(any r) does not hold`},
		"what was excluded says why": {tasks: image, facts: "installed(docker)", goal: "image", exclude: []htn.Exclusion{{Task: "image", Method: "docker", Reason: "step 3 failed: exit 1"}}, want: `
no plan for image
  method docker: step 3 failed: exit 1
  method podman: installed("podman") does not hold`},
		"needs that wait for each other": {tasks: cycle, goal: "a", want: `
no plan for a
  b cannot be done
    a cannot be done
      waits for a need that waits for it`},
		"a method that only leads back": {tasks: loop, goal: "again", want: `
no plan for again
  method only: leads back to a situation that it came from`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := all(t.Context(), compile(t, tt.tasks...), htn.Problem{Facts: facts(t, tt.facts), Goal: subs(tt.goal), Exclude: tt.exclude}, 1)
			no, ok := errors.AsType[*htn.NoPlanError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, strings.TrimPrefix(tt.want, "\n"), no.Error())
		})
	}
}

func TestGuards(t *testing.T) {
	at := func(max int) htn.Cond {
		return htn.Guard{Vars: []string{"n"}, Text: "length(n)", Test: func(vals []htn.Value) (bool, string, error) {
			if string(vals[0]) == string(val("bad")) {
				return false, "", errors.New("cannot measure")
			}
			n := len(vals[0].String()) - 2
			return n <= max, fmt.Sprintf("%d > %d", n, max), nil
		}}
	}
	task := func(when htn.Cond) *htn.Program {
		return compile(t, prim("use(?n)", "", ""), htn.Task{Name: "go", Methods: []htn.Method{{
			Name: "m", Vars: []string{"n"}, When: htn.All{htn.Holds{Rel: "name", Args: terms([]string{"?n"})}, when}, Steps: subs("use(?n)"),
		}}})
	}
	plan := func(p *htn.Program, given string) ([]htn.Candidate, error) {
		return all(t.Context(), p, htn.Problem{Facts: facts(t, given), Goal: subs("go")}, 10)
	}
	got, err := plan(task(at(2)), "name(abc); name(ab); name(a)")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"use(a)"}, {"use(ab)"}}, [][]string{show(got[0]), show(got[1])})
	got, err = plan(task(htn.Not{Cond: at(2)}), "name(abc); name(ab)")
	require.NoError(t, err)
	require.Equal(t, []string{"use(abc)"}, show(got[0]))
	_, err = plan(task(at(2)), "name(abc)")
	require.ErrorContains(t, err, `method m: length(n) (n = "abc", 3 > 2) does not hold`)
	_, err = plan(task(at(2)), "name(bad)")
	require.ErrorContains(t, err, "cannot measure")
	_, isNone := errors.AsType[*htn.NoPlanError](err)
	require.False(t, isNone)
}

func TestAlternativesInConditionsBindTheSameVariables(t *testing.T) {
	holds := func(s string) htn.Cond { return cond(s) }
	p := compile(t, prim("use(?n)", "", ""), htn.Task{Name: "go", Methods: []htn.Method{{
		Name: "m", Vars: []string{"n"}, Steps: subs("use(?n)"),
		When: htn.All{htn.Any{holds("a(?n)"), holds("b(?n); ok(?n)")}, htn.Not{Cond: htn.Any{holds("bad(?n)"), htn.All{holds("c(?n)"), holds("d(?n)")}}}},
	}}})
	got, err := all(t.Context(), p, htn.Problem{Facts: facts(t, "a(1); a(2); b(2); ok(2); b(3); ok(3); b(4); a(5); bad(5); a(6); c(6); d(6); a(7); c(7)"), Goal: subs("go")}, 10)
	require.NoError(t, err)
	var names []string
	for _, c := range got {
		names = append(names, show(c)...)
	}
	require.Equal(t, []string{"use(1)", "use(2)", "use(3)", "use(7)"}, names)
}

func TestLimits(t *testing.T) {
	grow := compile(t, prim("make(?n)", "", "+made(?n)"), prim("never", "no", ""),
		compound("all", method("next", "?n", "item(?n); !made(?n)", "make(?n); all"), method("last", "", "", "never")))
	var items []string
	for i := range 40 {
		items = append(items, fmt.Sprintf("item(%d)", i))
	}
	prob := htn.Problem{Facts: facts(t, strings.Join(items, ";")), Goal: subs("all")}
	for name, l := range map[string]htn.Limits{"nodes": {Nodes: 1000}, "depth": {Depth: 20}, "bytes": {Bytes: 100_000}} {
		t.Run(name, func(t *testing.T) {
			prob.Limits = l
			_, err := all(t.Context(), grow, prob, 1)
			limit, ok := errors.AsType[*htn.LimitError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, name, limit.Limit)
			require.NotZero(t, limit.Nodes)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := all(ctx, grow, prob, 1)
	require.ErrorIs(t, err, context.Canceled)
}

func TestDeepRecursionIsLinear(t *testing.T) {
	const n = 20_000
	chain := []string{}
	for i := range n {
		chain = append(chain, fmt.Sprintf("next(%d,%d)", i, i+1))
	}
	p := compile(t, prim("visit(?n)", "", "+seen(?n)"), prim("leave(?n)", "seen(?n)", ""),
		compound("walk(?n)", method("on", "?m", "next(?n,?m)", "visit(?n); walk(?m); leave(?n)"), method("end", "", "", "")))
	got, err := all(t.Context(), p, htn.Problem{Facts: facts(t, strings.Join(chain, ";")), Goal: subs("walk(0)")}, 1)
	require.NoError(t, err)
	require.Len(t, got[0].Steps, 2*n)

	var d htn.Domain
	for i := range n {
		task := prim(fmt.Sprintf("t%d", i), "", "")
		if i+1 < n {
			task.Needs = subs(fmt.Sprintf("t%d", i+1))
		}
		d.Tasks = append(d.Tasks, task)
	}
	got, err = all(t.Context(), compile(t, d.Tasks...), htn.Problem{Goal: subs("t0")}, 1)
	require.NoError(t, err)
	require.Len(t, got[0].Steps, n)
	require.Equal(t, []htn.Edge{{Step: n - 2, Why: htn.ReasonNeeds, Detail: "t1"}}, got[0].Steps[n-1].After)
}

func TestAFailureInOneOfManyIndependentTasksIsFoundAtOnce(t *testing.T) {
	var d htn.Domain
	var goal []htn.Sub
	for i := range 2000 {
		name := fmt.Sprintf("t%d", i)
		d.Tasks = append(d.Tasks, prim("p"+name, "", ""), compound(name, method("a", "", "", "p"+name), method("b", "", "", "p"+name)))
		goal = append(goal, htn.Sub{Name: name, Task: name})
	}
	d.Tasks = append(d.Tasks, prim("last", "never", ""))
	goal = append(goal, htn.Sub{Name: "last", Task: "last"})
	_, err := all(t.Context(), compile(t, d.Tasks...), htn.Problem{Goal: goal, Unordered: true, Limits: htn.Limits{Nodes: 20_000}}, 1)
	require.EqualError(t, err, "no plan for last\n  never does not hold")
}

func TestEdgesSayWhy(t *testing.T) {
	p := compile(t, prim("make", "", "+made"), prim("use", "made", ""), prim("drop", "", "-made"), needing(prim("top", "", ""), "free"), prim("free", "", ""),
		compound("all", htn.Method{Name: "m", Steps: subs("make; use; drop; top"), Order: [][2]int{{0, 3}}}))
	got, err := all(t.Context(), p, htn.Problem{Goal: subs("all")}, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"make", "free", "top", "use", "drop"}, show(got[0]))
	after := [][]htn.Edge{}
	for _, s := range got[0].Steps {
		after = append(after, s.After)
	}
	require.Equal(t, [][]htn.Edge{
		{},
		{},
		{{Step: 0, Why: htn.ReasonOrder, Detail: "m"}, {Step: 1, Why: htn.ReasonNeeds, Detail: "free"}},
		{{Step: 0, Why: htn.ReasonFact, Detail: "made"}},
		{{Step: 3, Why: htn.ReasonThreat, Detail: "made"}},
	}, after)
	require.Equal(t, []int{2}, got[0].Tree[3].Needs)
	require.True(t, got[0].Tree[2].Shared)
}

func TestStepsWithTheSameChoicesInAnotherOrderAreOneCandidate(t *testing.T) {
	p := compile(t, prim("a", "", "+x; -y"), prim("b", "", "+y; -z"), prim("c", "", "+z; -x"), prim("end", "x; y; z", ""), prim("read", "x; y; z", ""))
	got, err := all(t.Context(), p, htn.Problem{Goal: subs("a; b; c"), Unordered: true}, 10)
	require.NoError(t, err)
	require.Len(t, got, 1)
}

func TestDomainsThatMakeNoSense(t *testing.T) {
	edges := &warp.Rule{Name: "e", Match: []warp.NodePattern{{Kind: "artifact", Data: warp.Map(nil)}}}
	tests := map[string]struct {
		tasks []htn.Task
		want  string
	}{
		"two tasks of one name": {[]htn.Task{prim("a", "", ""), prim("a", "", "")}, `task "a": is declared twice`},
		"an unknown task":       {[]htn.Task{compound("a", method("m", "", "", "b"))}, `task "a", method "m": unknown task "b"`},
		"too few arguments":     {[]htn.Task{prim("b(?x)", "", ""), compound("a", method("m", "", "", "b"))}, `task "a", method "m": task "b" takes 1 arguments, not 0`},
		"an unknown variable":   {[]htn.Task{compound("a", method("m", "", "p(?x)", ""))}, `task "a", method "m": unknown variable "x"`},
		"an unbound variable":   {[]htn.Task{compound("a", method("m", "?x", "!p(?x)", ""))}, `task "a", method "m": unbound variable "x": no positive fact of its condition mentions it`},
		"a cyclic order":        {[]htn.Task{prim("b", "", ""), compound("a", htn.Method{Name: "m", Steps: subs("b; b"), Order: [][2]int{{0, 1}, {1, 0}}})}, `task "a", method "m": the order of its steps is a cycle`},
		"a negative cost":       {[]htn.Task{{Name: "a", Cost: -1}}, `task "a": cost -1 is no finite number of at least 0`},
		"a rule about files":    {[]htn.Task{{Name: "a", Operator: edges}}, `task "a": its rule is about a node of kind artifact; an operator is about facts`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := htn.Compile(htn.Domain{Tasks: tt.tasks})
			require.EqualError(t, err, tt.want)
			_, ok := errors.AsType[*htn.DomainError](err)
			require.True(t, ok)
		})
	}
	_, err := all(t.Context(), compile(t), htn.Problem{Goal: subs("b")}, 1)
	require.EqualError(t, err, `planning problem: unknown task "b"`)
}
