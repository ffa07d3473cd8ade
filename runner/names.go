package runner

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Names of files and targets of links are bytes; what graph and history hold is text. What is not UTF-8 stands there quoted
// behind a mark with which nothing else of its kind begins: no clean path has two slashes, and no target a zero byte.
const (
	quotedPath   = "//"
	quotedTarget = "\x00"
)

// textPath is how a path stands in graph and history, and rawPath the path again.
func textPath(p string) string   { return text(p, quotedPath) }
func rawPath(text string) string { return raw(text, quotedPath) }

// textTarget and rawTarget are the same for what a link leads to.
func textTarget(p string) string   { return text(p, quotedTarget) }
func rawTarget(text string) string { return raw(text, quotedTarget) }

func text(p, mark string) string {
	if utf8.ValidString(p) {
		return p
	}
	q := strconv.QuoteToASCII(p)
	return mark + q[1:len(q)-1]
}

func raw(text, mark string) string {
	q, ok := strings.CutPrefix(text, mark)
	if !ok {
		return text
	}
	p, err := strconv.Unquote(`"` + q + `"`)
	if err != nil {
		return text // nobody but text writes the mark
	}
	return p
}

// readable makes text of what may hold names or output of programs.
func readable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
