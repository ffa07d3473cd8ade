package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// TestSpecification runs every example of docs/language.md by the script that stands in the comment after it. The example is
// main.jitos.hcl there; programs that it calls are in tools.
func TestSpecification(t *testing.T) {
	doc, err := os.ReadFile("../../docs/language.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```hcl\n(.*?)```\n(\n<!-- runs\n(.*?)-->\n)?").FindAllSubmatch(doc, -1)
	require.Greater(t, len(blocks), 10)
	dir := t.TempDir()
	for i, b := range blocks {
		require.NotEmpty(t, b[3], "this example is not run:\n%s", b[1])
		script := fmt.Appendf(nil, "env PATH=$WORK/tools:$PATH\nexec sh -c 'if [ -d tools ]; then chmod +x tools/*; fi'\n%s-- main.jitos.hcl --\n%s", b[3], b[1])
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("example-%02d.txtar", i+1)), script, 0o644))
	}
	p := scripts()
	p.Dir = dir
	testscript.Run(t, p)
}
