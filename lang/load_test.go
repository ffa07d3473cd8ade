package lang_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// parse is the Module of one file, which must be without fault.
func parse(t testing.TB, text string) *lang.Module {
	t.Helper()
	m, diags := lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: []byte(text)}})
	var shown strings.Builder
	require.NoError(t, diag.Printer{Source: m.Source}.Print(&shown, diags))
	require.Empty(t, diags, shown.String())
	return m
}

// text is the source of an expression or range of m.
func text(m *lang.Module, r diag.Range) string {
	return string(m.Source(r.File)[r.Start.Byte:r.End.Byte])
}

func exprText(m *lang.Module, e hcl.Expression) string { return text(m, lang.RangeOf(e.Range())) }

// Every block and attribute of the language ends up in the Module, with its range.
func TestEverything(t *testing.T) {
	src, err := os.ReadFile("testdata/everything.jitos.hcl")
	require.NoError(t, err)
	m := parse(t, string(src))

	require.Equal(t, []string{"bash", "-eu"}, m.Settings.Shell)
	require.Equal(t, []string{"node_modules/"}, m.Settings.Ignore)
	require.Equal(t, ">= 0.1", m.Settings.RequiredVersion)
	require.Equal(t, "always", m.Settings.TraceReads)
	require.True(t, m.Settings.Strict)
	require.Equal(t, "slap", m.Settings.Default.Kind)
	require.Equal(t, "release", m.Settings.Default.Name)

	v := m.Variables[0]
	require.Equal(t, "version", v.Name)
	require.Equal(t, "What is released", v.Description)
	require.Equal(t, cty.String, v.Type)
	require.True(t, v.Sensitive)
	require.Equal(t, `"v1"`, exprText(m, v.Default))
	require.Equal(t, `startswith(var.version, "v")`, exprText(m, v.Validations[0].Condition))
	require.Equal(t, `"It starts with a v."`, exprText(m, v.Validations[0].ErrorMessage))
	require.Equal(t, `variable "version"`, text(m, v.Range))
	require.Equal(t, cty.DynamicPseudoType, m.Variables[1].Type)
	require.Nil(t, m.Variables[1].Default)

	require.Equal(t, "b", m.Locals[0].Name, "in written order")
	require.Equal(t, "a", m.Locals[1].Name)

	require.Equal(t, "golang", m.Uses[0].Alias)
	require.Equal(t, "std/go", m.Uses[0].Source)
	require.Equal(t, "packages", m.Uses[0].Variables[0].Name)

	require.NotNil(t, m.Facts[0].From)
	require.Equal(t, "tool", m.Facts[0].Columns[0].Name)
	require.Equal(t, "json", m.Facts[1].Probe.Parse)
	require.NotNil(t, m.Facts[1].Probe.Run)
	require.NotNil(t, m.Facts[1].Probe.Inputs)
	require.Equal(t, "true", exprText(m, m.Facts[1].Probe.Allow.Network))
	require.Equal(t, "always", m.Facts[2].Keep)
	require.Equal(t, []string{"env", "age"}, []string{m.Facts[2].Columns[0].Name, m.Facts[2].Columns[1].Name})
	require.Equal(t, cty.Number, m.Facts[2].Columns[1].Type)

	full := m.Tasks[0]
	for name, e := range map[string]hcl.Expression{ // order: each is checked alone
		"run": full.Run, "for_each": full.ForEach, "when": full.When, "cost": full.Cost, "needs": full.Needs, "inputs": full.Inputs,
		"outputs": full.Outputs, "reports": full.Reports, "caches": full.Caches, "tools": full.Tools, "env": full.Env,
		"dir": full.Dir, "stdin": full.Stdin, "deps_file": full.DepsFile, "result": full.Result, "timeout": full.Timeout,
		"check": full.Check, "compensate": full.Compensate,
		"attempts": full.Retry.Attempts, "backoff": full.Retry.Backoff, "max_delay": full.Retry.MaxDelay, "jitter": full.Retry.Jitter,
		"on_exit": full.Retry.OnExit, "ready run": full.Ready.Run, "interval": full.Ready.Interval, "ready timeout": full.Ready.Timeout,
		"network": full.Allow.Network, "ro": full.Allow.ReadPaths, "rw": full.Allow.WritePaths, "allow env": full.Allow.Env,
		"ports": full.Allow.Ports, "containers": full.Allow.Containers,
	} {
		require.NotNil(t, e, name)
	}
	require.Equal(t, "Everything a task can say", full.Description)
	require.True(t, full.External && full.Interactive && full.IsService && full.NoCache)
	require.True(t, full.Primitive())
	require.Equal(t, "db", full.Uses[0].Name)
	require.Equal(t, "gh", full.Allow.Secrets[0].Name)
	require.Equal(t, "os", full.Params[0].Name)
	require.Equal(t, `"linux"`, exprText(m, full.Params[0].Default))
	require.True(t, full.Params[1].Type.IsObjectType())
	require.NotNil(t, full.Params[1].Defaults)
	require.Equal(t, "deployed", full.Effects.Asserts[0].Fact)
	require.Equal(t, "param.os", exprText(m, full.Effects.Asserts[0].Args[0]))
	require.Equal(t, `fact::deployed(param.os, 2)`, text(m, full.Effects.Retracts[0].Range))

	require.NotNil(t, m.Tasks[1].Exec)
	require.Equal(t, "llm", m.Tasks[2].Worker.Kind)
	require.Equal(t, []string{"prompt", "model"}, []string{m.Tasks[2].Worker.Settings[0].Name, m.Tasks[2].Worker.Settings[1].Name})
	require.False(t, m.Tasks[3].Primitive())

	method := m.Methods[0]
	require.Equal(t, "image", method.Task.Name)
	require.Equal(t, `"image"`, text(m, method.Task.Range))
	require.Equal(t, "podman", method.Name)
	require.Equal(t, "reg", method.Any[0].Name)
	require.True(t, method.Parallel)
	require.NotNil(t, method.When)
	require.NotNil(t, method.Cost)
	require.Equal(t, "argv", method.Steps[0].Task.Name)
	require.Equal(t, "tag", method.Steps[0].With[0].Name)
	require.NotNil(t, method.Steps[0].ForEach)
	require.Nil(t, method.Steps[0].After, "not given")
	require.NotNil(t, method.Steps[1].After)
	require.Empty(t, method.Steps[1].After, "after nothing")
	require.Equal(t, "build", method.Steps[2].After[0].Name)

	s := m.SLAPs[0]
	require.Equal(t, `"Ship ${var.version}"`, exprText(m, s.Intent))
	require.Equal(t, "environment", s.Context[0].Name)
	require.Equal(t, "image", s.Goals[0].Task.Name)
	require.Equal(t, "tag", s.Goals[0].With[0].Name)
	require.NotNil(t, s.Assumes[0].Condition)
	require.Equal(t, "clean tree", s.Assumes[0].Name)
	require.NotNil(t, s.Constraints[0].Condition)
	require.NotNil(t, s.Scope.Include)
	require.NotNil(t, s.Scope.Exclude)
	require.Equal(t, []string{"cost", "hold"}, []string{s.Prefer, s.Collapse})
	require.Equal(t, 2, s.Speculate)
	require.Equal(t, "argv", s.Successes[0].Task.Name)
	require.NotNil(t, s.Successes[1].Condition)
	require.NotNil(t, s.Successes[2].Run)

	require.Equal(t, 2, m.Pools[0].Capacity)
	require.Equal(t, "llm", m.Workers[0].Kind)
	require.Equal(t, "endpoint", m.Workers[0].Settings[0].Name)
	require.NotNil(t, m.Workers[0].CircuitBreaker.Failures)
	require.Equal(t, "GH_TOKEN", m.Secrets[0].Env)
}

// A broken declaration does not take the others with it.
func TestBestModule(t *testing.T) {
	m, diags := lang.Parse([]lang.File{{Name: "a", Text: []byte(`
task "a" {
  run = = 1
}
task "b" {
  run     = "x"
  needs   = ["nonsense"]
  timeout = "soon"
}
task "c" { run = "x" }
`)}})
	require.True(t, diags.HasErrors())
	require.Len(t, m.Tasks, 3)
	require.Equal(t, "c", m.Tasks[2].Name)
}

func TestLoadFiles(t *testing.T) {
	fsys := fstest.MapFS{
		"w/b.jitos.hcl":     {Data: []byte("task \"b\" { run = \"x\" }\n")},
		"w/a.jitos.hcl":     {Data: []byte("task \"a\" { run = \"x\" }\r\n")},
		"w/sub/c.jitos.hcl": {Data: []byte("broken")},
		"w/.#a.jitos.hcl":   {Data: []byte("an editor's lock")},
		"w/other.hcl":       {Data: []byte("broken")},
	}
	m, diags := lang.Load(fsys, "w", nil)
	require.Empty(t, diags)
	require.Equal(t, []string{"w/a.jitos.hcl", "w/b.jitos.hcl"}, m.Files())
	require.Equal(t, "w", m.Dir)
	require.Equal(t, "a", m.Tasks[0].Name)
	require.Equal(t, "b", m.Tasks[1].Name)
	require.Nil(t, m.Source("w/other.hcl"))

	_, diags = lang.Load(fsys, "nowhere", nil)
	require.Equal(t, lang.CodeUnreadable, diags[0].Code)
	_, diags = lang.Load(fstest.MapFS{"w/x": {}}, "w", nil)
	require.Equal(t, lang.CodeNoFiles, diags[0].Code)
}

// failing has a file that cannot be read.
type failing struct{ fstest.MapFS }

func (f failing) ReadFile(name string) ([]byte, error) {
	if strings.Contains(name, "bad") {
		return nil, errors.New("input/output error")
	}
	return f.MapFS.ReadFile(name)
}

func TestSizesAreLimited(t *testing.T) {
	large := bytes.Repeat([]byte("# a line of a comment\n"), 7<<20/22)
	fsys := fstest.MapFS{}
	for _, name := range []string{"a", "b", "lib/c"} {
		fsys[name+".jitos.hcl"] = &fstest.MapFile{Data: large}
	}
	fsys["a.jitos.hcl"].Data = append([]byte("use \"lib\" { source = \"./lib\" }\n"), large...)
	_, diags := lang.Load(fsys, ".", nil)
	require.Len(t, diags, 1)
	require.Equal(t, "the workflow is too large", diags[0].Summary)
	require.Equal(t, "lib/c.jitos.hcl", diags[0].Subject.File)

	_, diags = lang.Parse([]lang.File{{Name: "f", Text: bytes.Repeat(large, 2)}})
	require.Len(t, diags, 1)
	require.Contains(t, diags[0].Detail, "larger than 8 MB")
}

func TestLoadUnreadable(t *testing.T) {
	m, diags := lang.Load(failing{fstest.MapFS{
		"bad.jitos.hcl":  {Data: []byte(`task "x" {}`)},
		"dev.jitos.hcl":  {Mode: fs.ModeDevice},
		"good.jitos.hcl": {Data: []byte(`task "a" { run = "x" }`)},
		"huge.jitos.hcl": {Data: make([]byte, 9<<20)},
	}}, ".", nil)
	require.Len(t, m.Tasks, 1, "the rest is loaded")
	require.Len(t, diags, 3)
	for i, want := range []string{"input/output error", "not a regular file", "larger than 8 MB"} {
		require.Equal(t, lang.CodeUnreadable, diags[i].Code)
		require.Contains(t, diags[i].Detail, want)
	}
}

// Text that nests or chains without end is refused, and what people write is not: hcl's recursion would end the process.
func TestNesting(t *testing.T) {
	const many = 100_000
	for name, part := range map[string]string{ // order: each is a test of its own
		"list": "[", "not": "!", "minus": "-", "object": "{a=", "parenthesis": "(", "template": `"${`, "call": "f(", "sum": "1+", "and": "a&&",
		"conditional": "a ? b : ", "index": "a[", "computed index": "a[b]", "directive": "\"%{if a}", "heredoc": "<<X\n${", "for": "[for x in ",
	} {
		t.Run(name, func(t *testing.T) {
			for _, prefix := range []string{"locals {\n a = ", "locals {\n a = \"}}}\" # }}}\n b = /* ]]] */ "} {
				text := prefix + strings.Repeat(part, many)
				_, diags := lang.Parse([]lang.File{{Name: "f", Text: []byte(text)}})
				require.Equal(t, lang.CodeNesting, diags[0].Code)
				_, diags = lang.Format("f", []byte(text))
				require.Equal(t, lang.CodeNesting, diags[0].Code)
			}
		})
	}
	_, diags := lang.Parse([]lang.File{{Name: "f", Text: []byte(strings.Repeat("a {\n", many))}})
	require.Equal(t, lang.CodeNesting, diags[0].Code)

	parse(t, "locals {\n  deep = "+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"\n}\n")
	parse(t, "locals {\n  wide = [\n"+strings.Repeat("    { a = -1, b = \"${1 + 2}\" },\n", 20000)+"  ]\n}\n")
	parse(t, "task \"a\" {\n  run = <<-EOT\n"+strings.Repeat("    case $1 in a) echo \"[[ {{ ((\" ;; esac # ${1 + 1} $${x}\n", 5000)+"  EOT\n}\n")
	parse(t, "task \"a\" {\n  run = <<EOT\nEOT\n}\ntask \"b\" {\n  run = \"a << b\"\n}\n")
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "task \"t%d\" { run = \"x\" }\n", i)
	}
	require.Len(t, parse(t, b.String()).Tasks, 3000)
}

// Scripts of files with Windows line endings are the same as of others.
func TestLineEndings(t *testing.T) {
	const unix = "task \"a\" {\n  run = <<EOT\nmake\nmake install\nEOT\n}\n"
	for _, src := range []string{unix, strings.ReplaceAll(unix, "\n", "\r\n"), "\ufeff" + unix} {
		m := parse(t, src)
		v, diags := m.Tasks[0].Run.Value(nil)
		require.False(t, diags.HasErrors())
		require.Equal(t, "make\nmake install\n", v.AsString())
	}
}

func TestTaskRef(t *testing.T) {
	m := parse(t, `
use "lib" { source = "./lib" }
locals {
  a = task.compile
  b = task.page["a"]
  c = task.page[each.key]
  d = task.lib.build
  e = task.lib.page["x"].result
  f = (task.page[var.x].outputs[0])
  g = task.compile.result
}
`)
	type ref struct{ use, name, key, attr, nameText string }
	want := []ref{
		{name: "compile"}, {name: "page", key: `"a"`}, {name: "page", key: "each.key"}, {use: "lib", name: "build"},
		{use: "lib", name: "page", key: `"x"`, attr: "result"}, {name: "page", key: "var.x", attr: "outputs"}, {name: "compile", attr: "result"},
	}
	for i, l := range m.Locals {
		r, diags := m.TaskRef(l.Expr)
		require.Empty(t, diags)
		got := ref{use: r.Use, name: r.Name, attr: r.Attr}
		if r.Key != nil {
			got.key = strings.Trim(exprText(m, r.Key), "[]")
		}
		require.Equal(t, want[i], got, exprText(m, l.Expr))
		require.Equal(t, r.Name, text(m, r.NameRange))
	}
}

func TestTaskRefs(t *testing.T) {
	m := parse(t, `locals { x = [for k in ["a"] : { t = task.page[k], with = task.b.result } if task.c.result == var.d] }`)
	var got []string
	for _, r := range m.TaskRefs(m.Locals[0].Expr) {
		got = append(got, r.String())
	}
	require.Equal(t, []string{"task.page", "task.b.result", "task.c.result"}, got)
	require.Empty(t, m.TaskRefs(nil))
}

func TestNeed(t *testing.T) {
	m := parse(t, `
task "a" {
  run   = "x"
  needs = [task.b, { task = task.c["k"], with = { os = "linux" } }, param.x ? task.d : task.e]
}
`)
	elements, diags := hcl.ExprList(m.Tasks[0].Needs)
	require.False(t, diags.HasErrors())
	need, errs := m.Need(elements[0])
	require.Empty(t, errs)
	require.Equal(t, "b", need.Task.Name)
	need, errs = m.Need(elements[1])
	require.Empty(t, errs)
	require.Equal(t, "task.c[…]", need.Task.String())
	require.Equal(t, "os", need.With[0].Name)
	_, errs = m.Need(elements[2])
	require.Equal(t, lang.CodeNotReference, errs[0].Code)
}

func TestDuration(t *testing.T) {
	d, err := lang.Duration("1.5s")
	require.NoError(t, err)
	require.Equal(t, 1500*time.Millisecond, d)
	for _, s := range []string{"", "10", "-1s", "0s", "1 hour"} {
		_, err := lang.Duration(s)
		require.Error(t, err, s)
	}
}

func TestFormat(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{ // order: each is a test of its own
		"aligns and keeps comments": {
			"# top\ntask   \"a\" {\n# why\nrun=\"x\" // here\n    inputs = [ \"a\",\"b\" ]\n}\n",
			"# top\ntask \"a\" {\n  # why\n  run    = \"x\" // here\n  inputs = [\"a\", \"b\"]\n}\n",
		},
		"keeps scripts":              {"task \"a\" {\n run = <<-EOT\n      make   it\n    EOT\n}\n", "task \"a\" {\n  run = <<-EOT\n      make   it\n    EOT\n}\n"},
		"keeps Windows line endings": {"locals {\r\na=1\r\n}\r\n", "locals {\r\n  a = 1\r\n}\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out, diags := lang.Format("f", []byte(tt.in))
			require.Empty(t, diags)
			require.Equal(t, tt.want, string(out))
		})
	}
	const broken = "task \"a\" {\n"
	out, diags := lang.Format("f.jitos.hcl", []byte(broken))
	require.Equal(t, broken, string(out))
	require.Equal(t, "f.jitos.hcl:1:10", diags[0].Subject.String())
}
