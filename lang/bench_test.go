package lang_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/lang"
)

// manyTasks is a workflow of n tasks as people write them, about 240 bytes each.
func manyTasks(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `
task "t%d" {
  description = "Build number %d"
  param "os" {
    type    = string
    default = "linux"
  }
  needs   = [task.t%d]
  inputs  = ["go.mod", "**/*.go"]
  outputs = ["bin/server-${param.os}"]
  env     = { GOOS = param.os }
  run     = "go build -o ${self.outputs[0]} ./cmd/server"
}
`, i, i, max(i-1, 0))
	}
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	src := manyTasks(5000)
	b.Run("hcl", func(b *testing.B) { // what hcl alone takes
		b.SetBytes(int64(len(src)))
		b.ReportAllocs()
		for b.Loop() {
			_, diags := hclsyntax.ParseConfig(src, "main.jitos.hcl", hcl.InitialPos)
			require.False(b, diags.HasErrors())
		}
	})
	b.Run("lang", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		b.ReportAllocs()
		for b.Loop() {
			m, diags := lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: src}})
			require.Empty(b, diags)
			require.Len(b, m.Tasks, 5000)
		}
	})
}

func BenchmarkFormat(b *testing.B) {
	src := manyTasks(1000)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		_, diags := lang.Format("main.jitos.hcl", src)
		require.Empty(b, diags)
	}
}
