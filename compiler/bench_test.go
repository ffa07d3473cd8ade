package compiler_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
)

// source is a module of n tasks: each reads two outputs of others (tasks), or needs others (needs); or a family of n members.
func source(n int, kind string) *lang.Module {
	var b strings.Builder
	switch kind {
	case "needs":
		for i := range n {
			needs := ""
			if i >= 100 {
				needs = fmt.Sprintf("task.t%d, task.t%d, task.page[\"f%d\"]", i-100, i-100+(i*7)%100, i%100)
			}
			fmt.Fprintf(&b, "task \"t%d\" {\n  needs = [%s]\n  run = \"t ${local.x}\"\n}\n", i, needs)
		}
		b.WriteString("locals { x = \"x\" }\ntask \"page\" {\n  for_each = [for p in fileset(\"in/*\") : basename(p)]\n  run = \"page\"\n}\n")
		fmt.Fprintf(&b, "task \"all\" { needs = [task.t%d] }\n", n-1)
	case "members":
		fmt.Fprint(&b, `
task "step" {
  for_each = [for p in fileset("in/*") : basename(p)]
  inputs   = ["in/${each.key}"]
  outputs  = ["out/${each.key}"]
  run      = "cksum ${self.inputs[0]} > ${self.outputs[0]}"
}
task "all" { needs = [task.step] }
`)
	case "tasks":
		for i := range n {
			needs := ""
			if i >= 100 {
				needs = fmt.Sprintf(`"out/f%d", "out/f%d", `, i-100, i-100+(i*7)%100)
			}
			fmt.Fprintf(&b, "task \"t%d\" {\n  inputs  = [%s\"in/f%d\"]\n  outputs = [\"out/f%d\"]\n  exec    = [\"cksum\", \"in/f%d\"]\n}\n", i, needs, i, i, i)
		}
		b.WriteString("task \"all\" {\n  inputs = [\"out/*\"]\n  run = \"all\"\n}\n")
	}
	m, ds := lang.Parse([]lang.File{{Name: "in.jitos.hcl", Text: []byte(b.String())}})
	if ds.HasErrors() {
		panic(ds.Err())
	}
	return m
}

func benchmark(b *testing.B, n int, kind string, planning bool) {
	m := source(n, kind)
	fsys := fstest.MapFS{}
	for i := range n {
		fsys[fmt.Sprintf("in/f%d", i)] = &fstest.MapFile{}
	}
	o := compiler.Options{World: lang.World{FS: fsys}}
	p, ds := compiler.Compile(m, o)
	require.Empty(b, ds)
	for b.Loop() {
		if !planning {
			_, ds := compiler.Compile(m, o)
			require.Empty(b, ds)
			continue
		}
		pl, err := p.Plan(b.Context(), compiler.Intent{Target: "all"}, warp.Graph{}, nil, 0)
		require.NoError(b, err)
		require.GreaterOrEqual(b, len(pl.Steps), n/100)
	}
}

func BenchmarkCompile(b *testing.B) { sizes(b, false) }
func BenchmarkPlan(b *testing.B)    { sizes(b, true) }

func sizes(b *testing.B, planning bool) {
	for _, kind := range []string{"tasks", "members", "needs"} {
		for _, n := range []int{1_000, 10_000} {
			b.Run(fmt.Sprintf("%s=%d", kind, n), func(b *testing.B) { benchmark(b, n, kind, planning) })
		}
	}
}

// BenchmarkCheck compares all that `jitos validate` does with what reading the same text takes hcl alone: a megabyte, five
// thousand tasks as people write them.
func BenchmarkCheck(b *testing.B) {
	var text strings.Builder
	text.WriteString("variable \"version\" { default = \"1\" }\nlocals { flags = \"-X main.version=${var.version}\" }\n")
	for i := range 5000 {
		needs := ""
		if i > 0 {
			needs = fmt.Sprintf("task.build_%d", (i-1)/2)
		}
		fmt.Fprintf(&text, `task "build_%d" {
  description = "Build number %d"
  needs       = [%s]
  inputs      = ["go.mod", "cmd/%d/*.go"]
  outputs     = ["bin/%d"]
  env         = { GOOS = "linux" }
  run         = "go build -ldflags '${local.flags}' -o ${self.outputs[0]} ./cmd/%d"
}
`, i, i, needs, i, i, i)
	}
	src := []byte(text.String())
	b.Run("hcl", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			_, ds := hclsyntax.ParseConfig(src, "main.jitos.hcl", hcl.InitialPos)
			require.False(b, ds.HasErrors())
		}
	})
	b.Run("jitos", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			m, ds := lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: src}})
			require.Empty(b, ds)
			_, ds = compiler.Compile(m, compiler.Options{})
			require.Empty(b, ds)
		}
	})
}
