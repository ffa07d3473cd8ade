package lang_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// The specification is true: its examples load.
func TestSpecification(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "language.md"))
	require.NoError(t, err)
	examples := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllSubmatch(doc, -1)
	require.Greater(t, len(examples), 10)
	for i, e := range examples {
		m, diags := lang.Parse([]lang.File{{Name: fmt.Sprintf("example %d", i), Text: e[1]}})
		var shown strings.Builder
		require.NoError(t, diag.Printer{Source: m.Source}.Print(&shown, diags))
		require.Empty(t, diags, shown.String())
	}
}

// Every attribute that any block takes is described, and stands in testdata/everything.jitos.hcl.
func TestSpecificationIsComplete(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "language.md"))
	require.NoError(t, err)
	everything, err := os.ReadFile("testdata/everything.jitos.hcl")
	require.NoError(t, err)
	const blocksOfAllKinds = `
jitos { ODD }
variable "v" {
  ODD
  validation { ODD }
}
fact "f" {
  ODD
  probe { ODD }
}
task "t" {
  ODD
  param "p" { ODD }
  allow { ODD }
  effects { ODD }
  retry { ODD }
  ready { ODD }
}
method "t" "m" {
  ODD
  step "s" { ODD }
}
slap "s" {
  ODD
  goal { ODD }
  scope { ODD }
  assume "a" { ODD }
  success "s" { ODD }
}
pool "p" { ODD }
worker "w" {
  circuit_breaker { ODD }
}
secret "s" { ODD }
`
	// An attribute that is near no other makes the message list what there is.
	odd := strings.ReplaceAll(blocksOfAllKinds, "ODD", "zzzzzzzzzzzz = 1")
	_, diags := lang.Parse([]lang.File{{Name: "f", Text: []byte(odd)}})
	blocks := 0
	for _, d := range diags {
		list, ok := strings.CutPrefix(d.Detail, "It takes: ")
		if !ok {
			continue
		}
		blocks++
		for _, name := range strings.Split(strings.TrimSuffix(list, "."), ", ") {
			require.True(t, regexp.MustCompile(`\b`+name+`\b`).Match(doc), "%s is not described", name)
			require.True(t, regexp.MustCompile(`(?m)^ *`+name+` +=`).Match(everything), "%s is not in everything.jitos.hcl", name)
		}
	}
	require.Equal(t, strings.Count(blocksOfAllKinds, "ODD"), blocks)
}
