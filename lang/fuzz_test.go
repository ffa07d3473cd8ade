package lang_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// seeds are all workflows of testdata, right and wrong.
func seeds(f *testing.F) {
	everything, err := os.ReadFile("testdata/everything.jitos.hcl")
	require.NoError(f, err)
	f.Add(everything)
	archives, err := filepath.Glob("testdata/wrong/*.txtar")
	require.NoError(f, err)
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		require.NoError(f, err)
		f.Add(ar.Files[0].Data)
	}
}

// Whatever is read, there is a Module, and the same diagnostics each time, each of which can be shown.
func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		files := []lang.File{{Name: "f.jitos.hcl", Text: src}}
		m, diags := lang.Parse(files)
		require.NotNil(t, m)
		_, again := lang.Parse(files)
		require.Equal(t, diags.Sorted(), again.Sorted())
		var shown bytes.Buffer
		require.NoError(t, diag.Printer{Source: m.Source, Max: 1000}.Print(&shown, diags))
		for _, d := range diags {
			_, known := lang.Explain(d.Code)
			require.True(t, known, d.Code)
			require.GreaterOrEqual(t, d.Subject.End.Byte, d.Subject.Start.Byte)
			require.LessOrEqual(t, d.Subject.End.Byte, len(m.Source("f.jitos.hcl")))
		}
		for _, task := range m.Tasks {
			require.NotEmpty(t, task.Name)
			m.TaskRefs(task.Needs)
		}
	})
}

// Formatting changes white space alone, and is done after once.
func FuzzFormat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		out, diags := lang.Format("f", src)
		if diags.HasErrors() {
			require.Equal(t, string(src), string(out))
			return
		}
		again, diags := lang.Format("f", out)
		require.Empty(t, diags)
		require.Equal(t, string(out), string(again))
		require.Equal(t, tokens(src), tokens(out))
	})
}

// tokens are the words of src, in order.
func tokens(src []byte) []string {
	scanned, _ := hclsyntax.LexConfig(bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n")), "f", hcl.InitialPos)
	var out []string
	for _, t := range scanned {
		out = append(out, t.Type.GoString()+string(t.Bytes))
	}
	return out
}

// What is cut into parts says what the whole says, if that is valid.
func FuzzCuts(f *testing.F) {
	seeds(f)
	f.Add([]byte("a {\n}\nb = <<E\n}\nE\nc {} # }\nd {\n  x = \"${{}}\"\n}"))
	f.Add([]byte("a { x = <<E\n}\n}\nE\n}\n/* a {\n}\n*/\nb \"}\" {\n}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
		whole, diags := lang.Parse([]lang.File{{Name: "f", Text: src}})
		if slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return strings.HasPrefix(d.Code, "JT1") }) {
			return
		}
		var want, got []string
		for _, b := range whole.Body("f").Blocks {
			want = append(want, b.Type+strings.Join(b.Labels, " "))
		}
		from := 0
		for _, to := range append(lang.Cuts(src), len(src)) {
			part, more := lang.Parse([]lang.File{{Name: "f", Text: src[from:to]}})
			require.False(t, slices.ContainsFunc(more, func(d diag.Diagnostic) bool { return strings.HasPrefix(d.Code, "JT1") }), "%q: %v", src[from:to], more)
			for _, b := range part.Body("f").Blocks {
				got = append(got, b.Type+strings.Join(b.Labels, " "))
			}
			from = to
		}
		require.Equal(t, want, got)
	})
}
