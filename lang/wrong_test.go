package lang_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

var update = flag.Bool("update", false, "rewrite the expected sections of testdata")

// Wrong input gets every diagnostic at once, in order, with its source lines.
func TestWrong(t *testing.T) {
	archives, err := filepath.Glob("testdata/wrong/*.txtar")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(archives), 40)
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			require.NoError(t, err)
			fsys := fstest.MapFS{}
			var want *txtar.File
			for i, f := range ar.Files {
				if f.Name == "want" {
					want = &ar.Files[i]
				} else {
					fsys[f.Name] = &fstest.MapFile{Data: f.Data}
				}
			}
			m, diags := lang.Load(fsys, ".", nil)
			var got bytes.Buffer
			require.NoError(t, diag.Printer{Source: m.Source, Max: 100}.Print(&got, diags))
			for _, d := range diags {
				_, known := lang.Explain(d.Code)
				require.True(t, known, "code %s is explained", d.Code)
			}
			if *update {
				want.Data = got.Bytes()
				require.NoError(t, os.WriteFile(path, txtar.Format(ar), 0o644))
			}
			require.Equal(t, string(want.Data), got.String())
			require.True(t, diags.HasErrors())
		})
	}
}
