package diag

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// Printer writes diagnostics for people, with the source lines they are about. The zero Printer works: no
// source lines, no colour.
type Printer struct {
	Source func(file string) []byte // the text that ranges refer to; nil, or a nil result, where there is none
	Color  bool
	ASCII  bool // stand-ins for │ and …
	Width  int  // of a line, in cells; 0 means 89
	Max    int  // diagnostics shown before the rest is only counted; 0 means 20
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[1;31m"
	amber = "\x1b[1;33m"
	reset = "\x1b[0m"
)

// Print writes l, sorted, and how many problems there are. An empty list writes nothing.
func (p Printer) Print(w io.Writer, l List) error {
	if len(l) == 0 {
		return nil
	}
	l = l.Sorted()
	shown := l[:min(len(l), cmp.Or(p.Max, 20))]
	var b strings.Builder
	for _, d := range shown {
		p.one(&b, d)
	}
	b.WriteString(count(l))
	if len(shown) < len(l) {
		fmt.Fprintf(&b, ", %d shown", len(shown))
	}
	fmt.Fprintf(&b, ". `jitos explain %s` says more.\n", shown[len(shown)-1].Code)
	_, err := io.WriteString(w, b.String())
	return err
}

// count is "2 errors, 1 warning".
func count(l List) string {
	var n [2]int
	for _, d := range l {
		n[d.Severity]++
	}
	var parts []string
	for i, word := range []string{"error", "warning"} {
		if n[i] == 1 {
			parts = append(parts, "1 "+word)
		} else if n[i] > 1 {
			parts = append(parts, fmt.Sprintf("%d %ss", n[i], word))
		}
	}
	return strings.Join(parts, ", ")
}

func (p Printer) one(b *strings.Builder, d Diagnostic) {
	head := d.Severity.String() + ": " + clean(d.Summary)
	code := "[" + d.Code + "]"
	gap := max(cmp.Or(p.Width, 89)-width(head)-width(code), 2)
	word, rest, _ := strings.Cut(head, ":")
	color := red
	if d.Severity == Warning {
		color = amber
	}
	b.WriteString(p.paint(color, word+":") + p.paint(bold, rest) + strings.Repeat(" ", gap) + p.paint(dim, code) + "\n")

	if len(d.Related) > 0 {
		p.places(b, append([]Related{{d.Subject, d.Label}}, d.Related...))
	} else if !d.Subject.IsZero() {
		b.WriteString("  " + clean(d.Subject.String()) + "\n")
		p.excerpt(b, d, color)
	}
	for line := range strings.Lines(d.Detail) {
		for _, part := range wrap(clean(strings.TrimRight(line, "\n")), cmp.Or(p.Width, 89)-2) {
			b.WriteString("  " + part + "\n")
		}
	}
}

// wrap breaks s at spaces into lines of at most n cells, where there are spaces to break at.
func wrap(s string, n int) []string {
	var lines, line []string
	used, blank := 0, true // of line
	for _, word := range strings.Split(s, " ") {
		w := width(word)
		if len(line) > 0 && !blank && used+1+w > n {
			lines, line, used, blank = append(lines, strings.Join(line, " ")), nil, 0, true
		}
		if len(line) > 0 {
			used++
		}
		line, used, blank = append(line, word), used+w, blank && strings.TrimSpace(word) == ""
	}
	return append(lines, strings.Join(line, " "))
}

// places shows several ranges, a line each: where, what it is, and its first source line.
func (p Printer) places(b *strings.Builder, places []Related) {
	var at, label, number int // column widths
	for _, r := range places {
		at = max(at, width(clean(r.Range.String())))
		label = max(label, width(clean(r.Label)))
		number = max(number, len(fmt.Sprint(r.Range.Start.Line)))
	}
	for _, r := range places {
		line := "  " + pad(clean(r.Range.String()), at) + "  " + pad(clean(r.Label), label)
		if text, _, _, ok := p.line(r.Range); ok {
			line += fmt.Sprintf("    %*d %s %s", number, r.Range.Start.Line, p.bar(), clean(text))
		}
		b.WriteString(p.crop(strings.TrimRight(line, " "), cmp.Or(p.Width, 89)*2) + "\n")
	}
}

// excerpt shows the line of the subject and the one before it, and marks the subject.
func (p Printer) excerpt(b *strings.Builder, d Diagnostic, color string) {
	text, from, to, ok := p.line(d.Subject)
	if !ok {
		if d.Label != "" {
			b.WriteString("  " + clean(d.Label) + "\n")
		}
		return
	}
	number := d.Subject.Start.Line
	digits := len(fmt.Sprint(number))
	if before := p.before(d.Subject); strings.TrimSpace(before) != "" {
		before = p.crop(strings.TrimRight(clean(before), " "), cmp.Or(p.Width, 89))
		fmt.Fprintf(b, "  %*d %s %s\n", digits, number-1, p.bar(), before)
	}
	prefix, marked, rest := clean(text[:from]), clean(text[from:to]), clean(text[to:])
	// A line that is too long is shown from shortly before the subject.
	if room := cmp.Or(p.Width, 89); width(prefix+marked+rest) > room && width(prefix) > room*2/3 {
		keep := []rune(prefix)
		prefix = p.dots() + string(keep[len(keep)-min(len(keep), room/3):])
	}
	shown := p.crop(strings.TrimRight(prefix+marked+rest, " "), cmp.Or(p.Width, 89))
	carets := max(min(width(marked), cmp.Or(p.Width, 89)-width(prefix)), 1)
	fmt.Fprintf(b, "  %*d %s %s\n", digits, number, p.bar(), shown)
	line := strings.Repeat(" ", width(prefix)) + p.paint(color, strings.Repeat("^", carets))
	if d.Label != "" {
		line += " " + clean(d.Label)
	}
	fmt.Fprintf(b, "  %*s %s %s\n", digits, "", p.bar(), line)
}

// line is the source line that r starts on and the bytes of it that r covers. ok is false if there is no such text.
func (p Printer) line(r Range) (text string, from, to int, ok bool) {
	src := p.source(r.File)
	if src == nil || r.Start.Line == 0 || r.Start.Byte < 0 || r.Start.Byte > len(src) || r.End.Byte < r.Start.Byte {
		return "", 0, 0, false
	}
	start := bytes.LastIndexByte(src[:r.Start.Byte], '\n') + 1
	end := len(src)
	if i := bytes.IndexByte(src[r.Start.Byte:], '\n'); i >= 0 {
		end = r.Start.Byte + i
	}
	return string(src[start:end]), r.Start.Byte - start, min(r.End.Byte, end) - start, true
}

// before is the line above the one r starts on, "" if there is none.
func (p Printer) before(r Range) string {
	head := p.source(r.File)[:r.Start.Byte]
	end := bytes.LastIndexByte(head, '\n')
	if end < 0 {
		return ""
	}
	return string(head[bytes.LastIndexByte(head[:end], '\n')+1 : end])
}

func (p Printer) source(file string) []byte {
	if p.Source == nil {
		return nil
	}
	return p.Source(file)
}

func (p Printer) paint(color, s string) string {
	if !p.Color || s == "" {
		return s
	}
	return color + s + reset
}

func (p Printer) bar() string {
	if p.ASCII {
		return "|"
	}
	return "│"
}

func (p Printer) dots() string {
	if p.ASCII {
		return "..."
	}
	return "…"
}

// crop shortens s to n cells.
func (p Printer) crop(s string, n int) string {
	if width(s) <= n {
		return s
	}
	return cells().Truncate(s, n, p.dots())
}

// clean makes text from a file or a value safe to write to a terminal: two cells for a tab, and what would move
// the cursor or is no UTF-8 becomes U+FFFD. It also keeps what is counted and what is shown the same width.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range strings.TrimSuffix(s, "\r") {
		switch {
		case r == '\t':
			b.WriteString("  ")
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// cells counts ambiguous characters as one cell, whatever the locale, so that output is the same everywhere.
func cells() *runewidth.Condition { return &runewidth.Condition{} }

func width(s string) int { return cells().StringWidth(s) }

func pad(s string, n int) string { return s + strings.Repeat(" ", max(n-width(s), 0)) }
