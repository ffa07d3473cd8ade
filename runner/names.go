package runner

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Names of files are bytes; what graph and history hold is text. A path that is not UTF-8 stands there quoted behind a
// mark with which no clean path begins.
const quoted = "//"

// textPath is how a path stands in graph and history.
func textPath(p string) string {
	if utf8.ValidString(p) {
		return p
	}
	q := strconv.QuoteToASCII(p)
	return quoted + q[1:len(q)-1]
}

// rawPath is the path that textPath was given.
func rawPath(text string) string {
	q, ok := strings.CutPrefix(text, quoted)
	if !ok {
		return text
	}
	p, err := strconv.Unquote(`"` + q + `"`)
	if err != nil {
		return text // nobody but textPath writes the mark
	}
	return p
}

// readable makes text of what may hold names or output of programs.
func readable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
