package lang

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/flyingrobots/jitos/lang/diag"
)

// Format lays src out in the one canonical way. It changes nothing but white space and is idempotent; line endings
// stay as they are. What it cannot lay out without changing what it says stays as it is. Text that does not parse is returned as it is, with the reasons, under the file name given.
func Format(name string, src []byte) ([]byte, diag.List) {
	text := unixLines(src)
	if p := parseFile(name, text); p.errors.HasErrors() {
		return src, p.errors.Sorted()
	}
	out := hclwrite.Format(text)
	// One pass may move what another would then align.
	for range 4 {
		again := hclwrite.Format(out)
		if bytes.Equal(again, out) {
			break
		}
		out = again
	}
	if !sameTokens(text, out) { // as of `0 .0`, which the formatter would join
		return src, nil
	}
	if len(text) != len(src) {
		out = bytes.ReplaceAll(out, []byte("\n"), []byte("\r\n"))
	}
	return out, nil
}

// sameTokens reports whether two texts differ in white space alone.
func sameTokens(a, b []byte) bool {
	x, _ := hclsyntax.LexConfig(a, "", hcl.InitialPos)
	y, _ := hclsyntax.LexConfig(b, "", hcl.InitialPos)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i].Type != y[i].Type || !bytes.Equal(x[i].Bytes, y[i].Bytes) {
			return false
		}
	}
	return true
}
