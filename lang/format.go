package lang

import (
	"bytes"

	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/flyingrobots/jitos/lang/diag"
)

// Format lays src out in the one canonical way. It changes nothing but white space and is idempotent; line endings
// stay as they are. Text that does not parse is returned as it is, with the reasons, under the file name given.
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
	if len(text) != len(src) {
		out = bytes.ReplaceAll(out, []byte("\n"), []byte("\r\n"))
	}
	return out, nil
}
