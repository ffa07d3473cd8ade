package compiler_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
)

func module(t testing.TB, text string) *lang.Module {
	t.Helper()
	m, ds := lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: []byte(text)}})
	require.Empty(t, ds)
	return m
}

func program(t testing.TB, text string, w lang.World) *compiler.Program {
	t.Helper()
	p, ds := compiler.Compile(module(t, text), compiler.Options{World: w})
	require.Empty(t, ds)
	return p
}

func planned(t testing.TB, p *compiler.Program, target string) *plan.Plan {
	t.Helper()
	pl, err := p.Plan(t.Context(), compiler.Intent{Target: target}, warp.Graph{}, nil, 0)
	require.NoError(t, err)
	return pl
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	for _, example := range []string{"quickstart", "go-service", "c-library", "fallback", "release"} {
		t.Run(example, func(t *testing.T) {
			fsys := os.DirFS("../examples/" + example)
			once := func() string {
				m, ds := lang.Load(fsys, ".", nil)
				require.Empty(t, ds)
				p, ds := compiler.Compile(m, compiler.Options{World: lang.World{FS: fsys, LookPath: func(string) (string, bool) { return "", false }}})
				require.Empty(t, ds)
				pl := planned(t, p, "")
				text := render(pl) + fmt.Sprintf("%x %v %v\n", p.Digest(), p.Targets(), p.Observed())
				for i := range pl.Tree {
					text += fmt.Sprintf("%q\n", pl.Tree[i].Key)
				}
				rules := p.Rules()
				for _, name := range slices.Sorted(maps.Keys(rules)) {
					text += fmt.Sprintf("%s %+v\n", name, rules[name])
				}
				return text
			}
			want := once()
			for range 50 {
				require.Equal(t, want, once())
			}
		})
	}
}

func TestRulesAreWellFormed(t *testing.T) {
	p := program(t, `
fact "f" { columns = { x = string, n = number } }
task "a" {
  param "x" { default = "y" }
  when = fact::f("a", 1) && !fact::f(param.x, 2)
  effects {
    asserts  = [fact::f(upper(param.x), 3.5)]
    retracts = [fact::f("a", 1)]
  }
  run = "a"
}
slap "s" {
  goal { task = task.a }
  success "ok" { run = "true" }
}
`, lang.World{})
	rules := p.Rules()
	require.Equal(t, []string{"a", "slap.s.success.ok"}, slices.Sorted(maps.Keys(rules)))
	for _, r := range rules {
		require.NoError(t, r.Check())
	}
	asserted, err := warp.Fact("f", "Y", 3.5)
	require.NoError(t, err)
	rw, _, err := rules["a"].Instantiate(warp.Binding{})
	require.NoError(t, err)
	g, err := warp.Graph{}.Apply(rw)
	require.NoError(t, err, "what is retracted need not be there")
	_, ok := g.Node(asserted.ID())
	require.True(t, ok)
}

func TestEveryStepNamesARuleOfTheProgram(t *testing.T) {
	p := program(t, `
task "t" {
  param "n" { type = number }
  run = "${param.n}"
}
`, lang.World{})
	pl, err := p.Plan(t.Context(), compiler.Intent{Target: "t", Args: map[string]string{"n": "1"}}, warp.Graph{}, nil, 0)
	require.NoError(t, err)
	require.Contains(t, p.Rules(), pl.Steps[0].Rule)
}

func TestDigestIsWhatWasCompiled(t *testing.T) {
	const text = "variable \"v\" { default = \"1\" }\nlocals { x = file(\"x\") }\ntask \"t\" { run = local.x }\n"
	digest := func(text, x string, vars map[string]compiler.Given) [32]byte {
		p, ds := compiler.Compile(module(t, text), compiler.Options{Vars: vars, World: lang.World{FS: fstest.MapFS{"x": {Data: []byte(x)}, "y": {}}}})
		require.Empty(t, ds)
		return p.Digest()
	}
	base := digest(text, "a", nil)
	require.Equal(t, base, digest(text, "a", nil))
	require.NotEqual(t, base, digest(text+"\n", "a", nil), "the source")
	require.NotEqual(t, base, digest(text, "b", nil), "what was read")
	require.NotEqual(t, base, digest(text, "a", map[string]compiler.Given{"v": {Text: "1", From: "--var"}}), "a variable that was given")
}

func TestReadingsAreTold(t *testing.T) {
	var told []string
	w := lang.World{FS: fstest.MapFS{"in/a": {}}, Env: func(string) (string, bool) { return "", false }, Read: func(r lang.Reading) { told = append(told, r.Kind+" "+r.Name) }}
	p := program(t, `
task "t" {
  for_each = fileset("in/*")
  run      = "${env("HOME")}"
}
task "m" {
  param "f" { type = string }
}
method "m" "m" {
  when = fileexists(param.f)
  step "a" { task = task.n }
}
task "n" { run = "n" }
`, w)
	require.Equal(t, []string{"dir in", "env HOME"}, told)
	told = nil
	_, err := p.Plan(t.Context(), compiler.Intent{Target: "m", Args: map[string]string{"f": "in/a"}}, warp.Graph{}, nil, 0)
	require.NoError(t, err)
	require.Contains(t, told, "exists in/a")
}

func TestChecksLookAtTheViewTheyAreGiven(t *testing.T) {
	p := program(t, `
variable "limit" { default = 10 }
locals { size = filesize("dist/app") }
task "t" {
  param "n" { default = 1 }
  when    = fileexists("go${param.n}")
  outputs = ["dist/app"]
  run     = "t"
}
slap "s" {
  goal { task = task.t }
  success "small" { condition = local.size < var.limit }
  success "known" { condition = filesize("dist/app") < 10 }
  success "there" { condition = fileexists("dist/app") && executable("sh") }
}
`, lang.World{FS: fstest.MapFS{"dist/app": {Data: []byte("this is what the last run left")}}})
	pl := planned(t, p, "")
	view := func(files fstest.MapFS) plan.View {
		return plan.View{FS: files, LookPath: func(string) (string, bool) { return "", true }}
	}
	ok, _, err := pl.Steps[0].When[0].Test(view(fstest.MapFS{"go1": {}}))
	require.NoError(t, err)
	require.True(t, ok)
	ok, _, err = pl.Steps[0].When[0].Test(view(fstest.MapFS{}))
	require.NoError(t, err)
	require.False(t, ok)

	small, large := fstest.MapFS{"dist/app": {Data: []byte("new")}}, fstest.MapFS{"dist/app": {Data: []byte("new, but large")}}
	var wg sync.WaitGroup
	for range 8 { // any goroutine may ask
		wg.Go(func() {
			for i, why := range []string{"local.size is 14, var.limit is 10", "it is 14"} {
				ok, _, err := pl.Success[i].Test(view(small))
				if err != nil || !ok {
					t.Errorf("%s: %v %v", pl.Success[i].Name, ok, err)
				}
				ok, values, err := pl.Success[i].Test(view(large))
				if err != nil || ok || values != why {
					t.Errorf("%s: %v %q %v", pl.Success[i].Name, ok, values, err)
				}
			}
		})
	}
	wg.Wait()
	_, _, err = pl.Success[1].Test(view(fstest.MapFS{}))
	require.ErrorContains(t, err, "there is no file dist/app")
}

func TestExcludingTheLastWayEndsPlanning(t *testing.T) {
	p := program(t, `
task "t" {}
method "t" "a" {
  step "s" { task = task.group }
}
method "t" "b" {
  step "s" { task = task.b }
}
task "group" { needs = [task.a] }
task "a" { run = "a" }
task "b" { run = "b" }
`, lang.World{})
	first := planned(t, p, "t")
	require.Equal(t, "a", first.Steps[0].ID)
	x, ok := p.Exclude(first, 0, "exit 1")
	require.True(t, ok)
	require.Equal(t, "a", x.Node.Method, "the method nearest above, also above what is needed")
	second, err := p.Plan(t.Context(), compiler.Intent{Target: "t"}, warp.Graph{}, []plan.Excluded{x}, 0)
	require.NoError(t, err)
	require.Equal(t, "t.b.s", second.Steps[0].ID)
	require.Equal(t, []plan.Excluded{x}, second.Excluded)
	y, ok := p.Exclude(second, 0, "exit 2")
	require.True(t, ok)
	_, err = p.Plan(t.Context(), compiler.Intent{Target: "t"}, warp.Graph{}, []plan.Excluded{x, y}, 0)
	no, ok := errors.AsType[*compiler.NoPlanError](err)
	require.True(t, ok)
	require.Contains(t, no.Diagnostics()[0].Related[1].Label, "exit 2")

	alone := planned(t, p, "a")
	_, ok = p.Exclude(alone, 0, "exit 1")
	require.False(t, ok, "no method led to it")
	_, err = p.Plan(t.Context(), compiler.Intent{Target: "t"}, warp.Graph{}, []plan.Excluded{{Key: "junk"}}, 0)
	require.Error(t, err)
}

func TestPlansCanBeMadeAtTheSameTime(t *testing.T) {
	p := program(t, `
task "t" {
  param "n" { type = number }
  run = "${param.n}"
}
`, lang.World{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			pl, err := p.Plan(t.Context(), compiler.Intent{Target: "t", Args: map[string]string{"n": fmt.Sprint(i)}}, warp.Graph{}, nil, 0)
			if err != nil || pl.Steps[0].Command.Script != fmt.Sprint(i) || p.Rules() == nil {
				t.Errorf("%v %v", pl, err)
			}
		})
	}
	wg.Wait()
}

func TestAProgramWithErrorsHasTargetsButNoPlans(t *testing.T) {
	p, ds := compiler.Compile(module(t, "task \"a\" { run = local.x }\ntask \"b\" { run = \"b\" }\n"), compiler.Options{})
	require.True(t, ds.HasErrors())
	require.Len(t, p.Targets(), 2)
	_, err := p.Plan(t.Context(), compiler.Intent{Target: "b"}, warp.Graph{}, nil, 0)
	require.ErrorContains(t, err, `unknown local "x"`)
}

func TestCodesAreExplained(t *testing.T) {
	src, err := fs.ReadFile(os.DirFS("."), "codes.go")
	require.NoError(t, err)
	n := 0
	for line := range strings.Lines(string(src)) {
		if _, code, ok := strings.Cut(strings.TrimSpace(line), `= "JT`); ok {
			n++
			text, ok := compiler.Explain("JT" + strings.TrimSuffix(code, `"`))
			require.True(t, ok, code)
			require.NotEmpty(t, text)
		}
	}
	require.NotZero(t, n)
	_, ok := compiler.Explain("JT0000")
	require.False(t, ok)
}

func TestNoEdgeSaysWhatOthersSayEvenFarApart(t *testing.T) {
	var text strings.Builder
	text.WriteString(`
fact "made" { columns = {} }
task "first" {
  run = "true"
  effects { asserts = [fact::made()] }
}
task "between" { run = "true" }
task "last" {
  when = fact::made()
  run  = "true"
}
task "all" {}
method "all" "in-a-row" {
  step "first" { task = task.first }
`)
	for i := range 300 {
		fmt.Fprintf(&text, "  step \"s%d\" { task = task.between }\n", i)
	}
	text.WriteString("  step \"last\" { task = task.last }\n}\n")
	for i, s := range planned(t, program(t, text.String(), lang.World{FS: fstest.MapFS{}}), "all").Steps {
		require.Len(t, s.After, min(i, 1), "step %d", i)
	}
}

// A row of locals costs what its length says, not its square, which at this one takes minutes and gigabytes.
func TestLongRowsOfLocals(t *testing.T) {
	const n = 50_000
	text := func(first string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "locals {\n  a0 = %s\n", first)
		for i := range n {
			fmt.Fprintf(&b, "  a%d = local.a%d\n", i+1, i)
		}
		fmt.Fprintf(&b, "}\ntask \"t\" { run = local.a%d }\n", n)
		return b.String()
	}
	require.Equal(t, "true", planned(t, program(t, text(`"true"`), lang.World{}), "t").Steps[0].Command.Script)

	_, ds := compiler.Compile(module(t, text(fmt.Sprintf("local.a%d", n))), compiler.Options{})
	require.Len(t, ds, 1)
	require.Equal(t, compiler.CodeLocalCycle, ds[0].Code)
}
