package compiler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/stdlib"
	"github.com/flyingrobots/jitos/warp"
)

// drawModule draws a module in which tasks use later ones: compound ones t0, t1, …, and primitive ones p0, p1, …, about
// facts of one column, which change where effects is set. Task all needs the compound ones.
func drawModule(t *rapid.T, effects bool) string {
	n := 0
	num := func(lo, hi int) int { n++; return rapid.IntRange(lo, hi).Draw(t, fmt.Sprint("num", n)) }
	pick := func(of ...string) string { return of[num(0, len(of)-1)] }
	arg := func() string { return pick("param.k", `"a"`, `"b"`) }
	fact := func() string { return fmt.Sprintf("fact::f%d(%s)", num(0, 2), arg()) }
	some := func(hi int, one func() string) string {
		var out []string
		for range num(0, hi) {
			out = append(out, one())
		}
		return strings.Join(out, pick(" && ", " || "))
	}
	var b strings.Builder
	for i := range 3 {
		fmt.Fprintf(&b, "fact \"f%d\" {\n  columns = { k = string }\n}\n", i)
	}
	compounds, primitives := num(1, 4), num(2, 4)
	later := func(from int) string {
		if from < compounds && num(0, 2) > 0 {
			return fmt.Sprintf("task.t%d", num(from, compounds-1))
		}
		return fmt.Sprintf("task.p%d", num(0, primitives-1))
	}
	const param = "  param \"k\" {\n    type = string\n    default = \"a\"\n  }\n"
	for i := range compounds {
		fmt.Fprintf(&b, "task \"t%d\" {\n%s", i, param)
		if num(0, 3) == 0 {
			fmt.Fprintf(&b, "  needs = [%s]\n", later(i+1))
		}
		b.WriteString("}\n")
		for j := range num(1, 3) {
			fmt.Fprintf(&b, "method \"t%d\" \"m%d\" {\n", i, j)
			if when := some(2, fact); when != "" {
				fmt.Fprintf(&b, "  when = %s%s\n", pick("", "!"), strings.ReplaceAll(when, " && ", " && !"))
			}
			for k := range num(0, 2) {
				fmt.Fprintf(&b, "  step \"s%d\" {\n    task = %s\n    with = { k = %s }\n", k, later(i+1), arg())
				if k > 0 && num(0, 2) == 0 {
					b.WriteString("    after = []\n")
				}
				b.WriteString("  }\n")
			}
			b.WriteString("}\n")
		}
	}
	for i := range primitives {
		fmt.Fprintf(&b, "task \"p%d\" {\n%s  inputs = []\n  run = \"p%d ${param.k}\"\n", i, param, i)
		if when := some(2, fact); when != "" && num(0, 1) == 0 {
			fmt.Fprintf(&b, "  when = %s\n", when)
		}
		if i > 0 && num(0, 3) == 0 {
			fmt.Fprintf(&b, "  needs = [task.p%d]\n", num(0, i-1))
		}
		if effects {
			fmt.Fprintf(&b, "  effects {\n    %s = [%s]\n  }\n", pick("asserts", "retracts"), fact())
		}
		b.WriteString("}\n")
	}
	all := "task.t0"
	for i := range compounds - 1 {
		all += fmt.Sprintf(", task.t%d", i+1)
	}
	fmt.Fprintf(&b, "task \"all\" { needs = [%s] }\n", all)
	return b.String()
}

func compileText(t require.TestingT, text string) *compiler.Program {
	m, diags := lang.Parse([]lang.File{{Name: "m.jitos.hcl", Text: []byte(text)}})
	require.NoError(t, diags.Err(), text)
	p, diags := compiler.Compile(m, compiler.Options{World: lang.World{FS: fstest.MapFS{}}})
	require.NoError(t, diags.Err(), text)
	return p
}

// tooHard says that the search was ended by its limit: interleavings can be very many.
func tooHard(err error) bool {
	e, ok := errors.AsType[*diag.ListError](err)
	return ok && e.List[0].Code == compiler.CodeLimit
}

func noPlan(err error) bool { _, ok := errors.AsType[*compiler.NoPlanError](err); return ok }

func TestWhateverFailsARunEndsWellOrForWantOfAPlan(t *testing.T) {
	target := compiler.Intent{Target: "t0"}
	rapid.Check(t, func(rt *rapid.T) {
		text := drawModule(rt, true)
		p := compileText(rt, text)
		broken := map[string]bool{} // commands that fail
		for range rapid.IntRange(1, 3).Draw(rt, "broken") {
			broken[fmt.Sprintf("p%d %s", rapid.IntRange(0, 4).Draw(rt, "task"), rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "k"))] = true
		}
		fails := func(pl *plan.Plan) int {
			return slices.IndexFunc(pl.Steps, func(s plan.Step) bool { return broken[s.Command.Script] })
		}
		var excluded []plan.Excluded
		another := true
		for {
			pl, err := p.Plan(t.Context(), target, warp.Graph{}, excluded, 0)
			if noPlan(err) || !another {
				break
			}
			if tooHard(err) {
				return
			}
			require.NoError(rt, err, text)
			failed := fails(pl)
			if failed < 0 {
				return // done
			}
			var x plan.Excluded
			x, another = p.Exclude(pl, failed, "exit 1")
			require.False(rt, slices.ContainsFunc(excluded, func(o plan.Excluded) bool { return o.Key == x.Key }), "it comes back after it failed:\n%s", text)
			excluded = append(excluded, x)
		}
		// There is no way: each has a step that fails.
		for skip := range 100 {
			pl, err := p.Plan(t.Context(), target, warp.Graph{}, nil, skip)
			if noPlan(err) || tooHard(err) {
				return
			}
			require.NoError(rt, err, text)
			require.GreaterOrEqual(rt, fails(pl), 0, "a way was given up that leads to the goal:\n%s", text)
		}
	})
}

// fold applies the rules of the steps in an order, and says which could not be.
func fold(p *compiler.Program, pl *plan.Plan, g warp.Graph, order []int) (warp.Graph, error) {
	for _, i := range order {
		s := &pl.Steps[i]
		r, ok := p.Rule(s.Rule)
		if !ok {
			return g, fmt.Errorf("step %s has no rule", s.ID)
		}
		b := warp.Binding{}
		for _, a := range s.Params {
			b[a.Name] = string(a.Value)
		}
		possible := false
		for range r.Matches(g, b) {
			possible = true
		}
		if !possible {
			return g, fmt.Errorf("the rule of step %s does not match at its turn", s.ID)
		}
		w, _, err := r.Instantiate(b)
		if err != nil {
			return g, err
		}
		if g, err = g.Apply(w); err != nil {
			return g, err
		}
	}
	return g, nil
}

// orders are the plan's own and some others that keep its edges.
func orders(pl *plan.Plan) (out [][]int) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		left, after := make([]int, len(pl.Steps)), make([][]int, len(pl.Steps))
		var ready, order []int
		for i, s := range pl.Steps {
			left[i] = len(s.After)
			for _, e := range s.After {
				after[e.Step] = append(after[e.Step], i)
			}
			if left[i] == 0 {
				ready = append(ready, i)
			}
		}
		for len(ready) > 0 {
			at := 0
			if seed > 0 {
				at = random.IntN(len(ready))
			}
			i := ready[at]
			ready = slices.Delete(ready, at, at+1)
			order = append(order, i)
			for _, k := range after[i] {
				if left[k]--; left[k] == 0 {
					ready = append(ready, k)
				}
			}
			slices.Sort(ready)
		}
		out = append(out, order)
	}
	return out
}

func requireFolds(t require.TestingT, p *compiler.Program, pl *plan.Plan, g warp.Graph, about string) {
	var want [32]byte
	for i, order := range orders(pl) {
		require.Len(t, order, len(pl.Steps))
		end, err := fold(p, pl, g, order)
		require.NoError(t, err, about)
		if i == 0 {
			want = end.Digest()
		}
		require.Equal(t, want, [32]byte(end.Digest()), "the facts depend on the order of what is not ordered:\n%s", about)
	}
}

func TestTheRulesOfAPlanCanBeAppliedInEveryOrderThatItAllows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := drawModule(rt, true)
		p := compileText(rt, text)
		for skip := range 3 {
			pl, err := p.Plan(t.Context(), compiler.Intent{Target: "t0"}, warp.Graph{}, nil, skip)
			if noPlan(err) || tooHard(err) {
				return
			}
			require.NoError(rt, err, text)
			requireFolds(rt, p, pl, warp.Graph{}, text)
		}
	})
}

func TestTheRulesOfTheExamplesCanBeApplied(t *testing.T) {
	dirs, err := filepath.Glob("../examples/*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			world := lang.World{
				FS: os.DirFS(dir), Digest: func(string) (string, error) { return "", nil },
				LookPath: func(string) (string, bool) { return "/bin/true", true }, Env: func(string) (string, bool) { return "", false },
			}
			m, diags := lang.Load(world.FS, ".", stdlib.Modules())
			require.NoError(t, diags.Err())
			p, diags := compiler.Compile(m, compiler.Options{World: world})
			require.NoError(t, diags.Err())
			g := warp.Graph{}
			for _, n := range p.Observed() {
				g, err = g.Apply(warp.Rewrite{Ops: []warp.Op{warp.AddNode(n)}})
				require.NoError(t, err)
			}
			for _, target := range p.Targets() {
				if slices.ContainsFunc(target.Params, func(q compiler.Param) bool { return q.Required }) {
					continue
				}
				pl, err := p.Plan(t.Context(), compiler.Intent{Target: target.Name}, warp.Graph{}, nil, 0)
				if noPlan(err) {
					continue
				}
				require.NoError(t, err)
				requireFolds(t, p, pl, g, target.Name)
			}
		})
	}
}

// A program that has made a plan makes the same one after facts have changed as a program that has not.
func TestReplanningGivesThePlanThatPlanningGives(t *testing.T) {
	whole, part := 0, 0 // how often the last plan stood, and how often a part of it did
	rapid.Check(t, func(rt *rapid.T) {
		text := drawModule(rt, rapid.IntRange(0, 3).Draw(rt, "effects") == 0)
		in := compiler.Intent{Target: rapid.SampledFrom([]string{"t0", "all", "all", "all"}).Draw(rt, "target")}
		old := compileText(rt, text)
		facts := warp.Graph{}
		var last *plan.Plan
		var excluded []plan.Excluded
		for range 8 {
			if last != nil && len(last.Steps) > 0 && rapid.IntRange(0, 2).Draw(rt, "failure") == 0 {
				x, _ := old.Exclude(last, rapid.IntRange(0, len(last.Steps)-1).Draw(rt, "step"), "exit 1")
				excluded = append(excluded, x)
			}
			n, err := warp.Fact(fmt.Sprint("f", rapid.IntRange(0, 2).Draw(rt, "relation")), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "k"))
			require.NoError(rt, err)
			op := warp.AddNode(n)
			if _, there := facts.Node(n.ID()); there {
				op = warp.RemoveNode(n)
			}
			facts, err = facts.Apply(warp.Rewrite{Ops: []warp.Op{op}})
			require.NoError(rt, err)
			want, wantErr := compileText(rt, text).Plan(t.Context(), in, facts, excluded, 0)
			got, gotErr := old.Plan(t.Context(), in, facts, excluded, 0)
			if wantErr != nil {
				require.Equal(rt, wantErr.Error(), gotErr.Error(), text)
				continue
			}
			require.NoError(rt, gotErr, text)
			require.Equal(rt, want, got, text)
			switch {
			case last == nil:
			case got == last:
				whole++
			case &got.Tasks[0] == &last.Tasks[0]:
				part++
			}
			last = got
		}
	})
	require.NotZero(t, whole, "no plan stood")
	require.NotZero(t, part, "no part of a plan stood")
}
