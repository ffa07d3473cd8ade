package lang_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
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
		require.Equal(t, meaning(t, src), meaning(t, out))
	})
}

// meaning is the Module of src, with the tokens of expressions in their place and without ranges.
func meaning(t *testing.T, src []byte) any {
	m, diags := lang.Parse([]lang.File{{Name: "f", Text: src}})
	var codes []string
	for _, d := range diags {
		codes = append(codes, d.Code+" "+d.Summary)
	}
	slices.Sort(codes)
	var walk func(v reflect.Value) any
	walk = func(v reflect.Value) any {
		if v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return nil
			}
			if x, ok := v.Interface().(hcl.Expression); ok {
				r := x.Range()
				return tokens(m.Source("f")[r.Start.Byte:r.End.Byte])
			}
			return walk(v.Elem())
		}
		switch v.Kind() {
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[diag.Range]() {
				return nil
			}
			out := map[string]any{}
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					out[f.Name] = walk(v.Field(i))
				}
			}
			return out
		case reflect.Slice:
			var out []any
			for i := range v.Len() {
				out = append(out, walk(v.Index(i)))
			}
			return out
		}
		return v.Interface()
	}
	return []any{codes, walk(reflect.ValueOf(*m))}
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
