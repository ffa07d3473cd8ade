package compiler_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
)

// A layered build: n tasks of which each reads two outputs of others, a family of n members, and a task that reads all.
func source(n int, family bool) *lang.Module {
	var b strings.Builder
	if family {
		fmt.Fprint(&b, `
task "step" {
  for_each = [for p in fileset("in/*") : basename(p)]
  inputs   = ["in/${each.key}"]
  outputs  = ["out/${each.key}"]
  run      = "cksum ${self.inputs[0]} > ${self.outputs[0]}"
}
task "all" { needs = [task.step] }
`)
	} else {
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

func benchmark(b *testing.B, n int, family, planning bool) {
	m := source(n, family)
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
		require.GreaterOrEqual(b, len(pl.Steps), n)
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) { benchmark(b, n, false, false) })
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) { benchmark(b, n, true, false) })
	}
}

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) { benchmark(b, n, false, true) })
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) { benchmark(b, n, true, true) })
	}
}
