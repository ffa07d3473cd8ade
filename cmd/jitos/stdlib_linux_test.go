package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/stdlib"
)

// Each built-in module has a script of its own, whose workflow is the example that docs/stdlib.md shows.
func TestModulesHaveExamples(t *testing.T) {
	docs, err := os.ReadFile("../../docs/stdlib.md")
	require.NoError(t, err)
	modules, err := fs.ReadDir(stdlib.Modules(), ".")
	require.NoError(t, err)
	require.Len(t, modules, strings.Count(string(docs), "\n## std/"))
	for _, m := range modules {
		t.Run(m.Name(), func(t *testing.T) {
			_, section, ok := strings.Cut(string(docs), "\n## std/"+m.Name()+"\n")
			require.True(t, ok, "docs/stdlib.md has no section std/%s", m.Name())
			_, example, _ := strings.Cut(section, "\n```hcl\n")
			example, _, _ = strings.Cut(example, "\n```\n")
			script, err := txtar.ParseFile(filepath.Join("../../testdata/script", "std-"+m.Name()+".txtar"))
			require.NoError(t, err)
			var ran string
			for _, f := range script.Files {
				if f.Name == "ws/main.jitos.hcl" {
					ran = string(f.Data)
				}
			}
			require.Equal(t, example+"\n", ran)
			require.NoError(t, fs.WalkDir(stdlib.Modules(), m.Name(), func(name string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				text, err := fs.ReadFile(stdlib.Modules(), name)
				require.NoError(t, err)
				laid, diags := lang.Format(name, text)
				require.Empty(t, diags)
				require.Equal(t, string(laid), string(text), "jitos fmt")
				return nil
			}))
		})
	}
}
