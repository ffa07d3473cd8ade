package htn_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/compiler/htn"
)

func costing(t htn.Task, cost float64) htn.Task { t.Cost = cost; return t }

func preferring(g string, p htn.Preference) htn.Problem {
	return htn.Problem{Goal: subs(g), Prefer: p, Duration: func(task string) float64 { return float64(len(task)) }}
}

func TestPreferences(t *testing.T) {
	tasks := []htn.Task{
		costing(prim("buy", "", ""), 5), costing(prim("borrow", "friend", ""), 1), costing(prim("make", "", ""), 2), costing(prim("tidy", "", ""), 2),
		compound("get", method("bought", "", "", "buy"), method("borrowed", "", "", "borrow"), method("made", "", "", "make; tidy")),
		needing(compound("use", method("m", "", "", "get")), "get"),
	}
	p := compile(t, tasks...)
	for name, tt := range map[string]struct {
		prefer htn.Preference
		facts  string
		want   []string
	}{
		"the written order":       {htn.Written, "", []string{"buy", "make tidy"}},
		"the cheapest":            {htn.Cheapest, "", []string{"make tidy", "buy"}},
		"cheaper, where possible": {htn.Cheapest, "friend", []string{"borrow", "make tidy", "buy"}},
		"the fastest":             {htn.Fastest, "friend", []string{"buy", "borrow", "make tidy"}},
	} {
		t.Run(name, func(t *testing.T) {
			prob := preferring("get", tt.prefer)
			prob.Facts = facts(t, tt.facts)
			got, err := all(t.Context(), p, prob, 10)
			require.NoError(t, err)
			var steps []string
			for _, c := range got {
				steps = append(steps, fmt.Sprint(show(c)))
			}
			var want []string
			for _, w := range tt.want {
				want = append(want, "["+w+"]")
			}
			require.Equal(t, want, steps)
		})
	}
}

// A choice of methods for each of very many tasks is made in one go, because the bound is exact.
func TestManyIndependentChoicesAreCheapAtOnce(t *testing.T) {
	var tasks []htn.Task
	goal := ""
	for i := range 300 {
		a, b, c := fmt.Sprint("slow", i), fmt.Sprint("no", i), fmt.Sprint("f", i)
		tasks = append(tasks, costing(prim(a, "", ""), 3), costing(prim(b, "", ""), 1), costing(prim(c, "", ""), 2),
			compound(fmt.Sprint("t", i), method("a", "", "", a), method("b", "", "never", b), method("c", "", "", c)))
		goal += fmt.Sprintf("t%d;", i)
	}
	tasks = append(tasks, needing(htn.Task{Name: "all"}, strings.TrimSuffix(goal, ";")))
	for _, prefer := range []htn.Preference{htn.Cheapest, htn.Fastest} {
		prob := preferring("all", prefer)
		prob.Limits.Nodes = 10_000
		got, err := all(t.Context(), compile(t, tasks...), prob, 1)
		require.NoError(t, err)
		require.Equal(t, 600.0, got[0].Cost)
	}
}

// The cheapest candidate costs as much as the cheapest of all candidates in written order; and they come in order.
func TestTheCheapestIsTheCheapest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		for range 20 {
			cheapest(t, rt)
		}
	})
}

func cheapest(t *testing.T, rt *rapid.T) {
	g := generate(rt, rapid.Bool().Draw(rt, "needs"))
	for i := range g.domain.Tasks {
		if g.domain.Tasks[i].Operator != nil {
			g.domain.Tasks[i].Cost = float64(rapid.IntRange(0, 3).Draw(rt, "cost"))
		}
	}
	p, err := htn.Compile(g.domain)
	require.NoError(rt, err)
	prob := g.problem(t)
	const enough = 200
	written, err := all(t.Context(), p, prob, enough)
	if isLimit(err) || len(written) == enough {
		return
	}
	prob.Prefer = htn.Cheapest
	best, bestErr := all(t.Context(), p, prob, 3)
	if isLimit(bestErr) {
		return
	}
	require.Equal(rt, isNoPlan(err), isNoPlan(bestErr))
	if err != nil {
		return
	}
	least := math.Inf(1)
	for _, c := range written {
		least = min(least, c.Cost)
	}
	require.LessOrEqual(rt, best[0].Cost, least, "%+v", g)
	require.True(rt, slices.IsSortedFunc(best, func(a, b htn.Candidate) int { return int(a.Cost - b.Cost) }))
	for _, c := range best {
		order := make([]int, len(c.Steps))
		for i := range order {
			order[i] = i
		}
		require.NoError(rt, valid(prob.Facts, g.domain, c, order))
	}
}
