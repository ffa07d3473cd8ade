package lsp

import (
	"bytes"
	"sort"
	"unicode/utf8"

	"github.com/flyingrobots/jitos/lang"
)

// text is a document as the editor has it. Positions of the protocol count lines and UTF-16 code units in it, ranges of
// ours count bytes in its parts, which hold what the language sees: line endings are \n there.
type text struct {
	version int // as the editor counts
	raw     string
	lines   []int  // where in raw lines start; the protocol takes \n, \r\n and \r for line endings
	returns []int  // where in the parts' text a \r was left out
	parts   []part // at least one
}

// part is a stretch of a text that is parsed on its own: a block of the top level with what stands above it. Typing changes
// one of them, and the others need not be parsed again.
type part struct {
	at   int // in the text that the language sees
	text string
}

func newText(raw string) *text {
	t := &text{raw: raw, lines: []int{0}}
	if len(raw) >= 3 && raw[:3] == "\xef\xbb\xbf" {
		t.lines[0] = 3 // editors do not count it
	}
	seen := []byte(raw)
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
			t.returns = append(t.returns, i-len(t.returns))
			i++
			fallthrough
		case raw[i] == '\n', raw[i] == '\r':
			t.lines = append(t.lines, i+1)
		}
	}
	if len(t.returns) > 0 {
		seen = bytes.ReplaceAll(seen, []byte("\r\n"), []byte("\n"))
	}
	from := 0
	for _, to := range append(lang.Cuts(seen), len(seen)) {
		if to > from || len(seen) == 0 {
			t.parts = append(t.parts, part{from, string(seen[from:to])})
		}
		from = to
	}
	return t
}

// change is t with the text of a span replaced.
func (t *text) change(r span, by string) *text {
	from, to := t.offset(r.Start), t.offset(r.End)
	return newText(t.raw[:from] + by + t.raw[max(from, to):])
}

// offset is the byte of raw at a position, the nearest one if there is no such position.
func (t *text) offset(p position) int {
	if p.Line < 0 {
		return 0
	}
	if p.Line >= len(t.lines) {
		return len(t.raw)
	}
	at, end := t.lines[p.Line], len(t.raw)
	if p.Line+1 < len(t.lines) {
		end = t.lines[p.Line+1]
	}
	for n := 0; n < p.Character && at < end && t.raw[at] != '\n' && t.raw[at] != '\r'; {
		r, size := utf8.DecodeRuneInString(t.raw[at:])
		if n += units(r); n > p.Character {
			break // within a surrogate pair
		}
		at += size
	}
	return at
}

// position is the position of a byte of raw.
func (t *text) position(at int) position {
	at = min(max(at, 0), len(t.raw))
	line := max(sort.SearchInts(t.lines, at+1)-1, 0)
	n := 0
	for i := t.lines[line]; i < at; {
		r, size := utf8.DecodeRuneInString(t.raw[i:])
		n += units(r)
		i += size
	}
	return position{line, n}
}

// units are the UTF-16 code units of r.
func units(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}

// seen is the byte of the language's text at a position, and the part that it is in or at the end of.
func (t *text) seen(p position) (at, part int) {
	at = t.offset(p)
	at -= sort.Search(len(t.returns), func(i int) bool { return t.returns[i]+i >= at })
	part = sort.Search(len(t.parts), func(i int) bool { return t.parts[i].at > at }) - 1
	return at, max(part, 0)
}

// unseen is the position of a byte of the language's text.
func (t *text) unseen(at int) position {
	return t.position(at + sort.SearchInts(t.returns, at))
}

// source is what the language sees.
func (t *text) source() string {
	var b bytes.Buffer
	for _, p := range t.parts {
		b.WriteString(p.text)
	}
	return b.String()
}
