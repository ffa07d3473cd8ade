package lang

import (
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"
)

// Parts that parse say together what the whole says, with the same ranges.
func FuzzParts(f *testing.F) {
	f.Add([]byte("a {\n}\nb \"x\" {\n  c = <<E\n}\nE\n}\n# }\nd {\n  x = \"${{}}\"\n}\n"))
	f.Add([]byte("\ufeffa {}\n/* {\n*/ b {\n}\nc = 1\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		src = unixLines(src)
		if at, _ := scan(src, nil); at >= 0 {
			return
		}
		got, wrong := parseParts("f", src, Cuts(src))
		if got == nil || slices.ContainsFunc(wrong, hcl.Diagnostics.HasErrors) {
			return
		}
		file, diags := hclsyntax.ParseConfig(src, "f", hcl.InitialPos)
		require.False(t, diags.HasErrors(), "%v", diags)
		want := file.Body.(*hclsyntax.Body)
		require.Equal(t, want.Blocks, got.Blocks)
		require.Equal(t, want.Attributes, got.Attributes)
	})
}
