// Package screen turns what happens in a run into what a person, or a program, reads.
//
// A [View] is a fold of [runner.Event]s: lines that scroll by, and on a terminal a few live lines below them for
// what runs right now. [Events] is the same fold as JSON. [Summary] tells how a run ended and what to type next,
// [Diff] shows what changed in a file, and [Style] decides about colour, symbols and width for all of them.
//
// It knows nothing of flags, files or exit codes, and writes only to the writers it is given. Start reading at
// [View.Event].
package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// Style says how to write for one output. The zero Style is plain ASCII without colour, of any width.
type Style struct {
	Color   bool
	Unicode bool
	Live    bool // what was written can be redrawn: a terminal that knows cursor movements
	Width   int  // columns; 0: as wide as it needs
}

// Detect finds the style for an output. columns is its width, and 0 if it is not a terminal; env looks up the
// environment. A colour is only ever an extra, so anything that speaks against it wins.
func Detect(columns int, noColor bool, env func(string) string) Style {
	dumb := env("TERM") == "dumb"
	terminal := columns > 0
	return Style{
		Color:   terminal && !dumb && !noColor && env("NO_COLOR") == "",
		Unicode: !dumb && utf8Locale(env),
		Live:    terminal && !dumb && env("CI") == "",
		Width:   columns,
	}
}

// utf8Locale follows POSIX: the first of the three that is set decides about character types.
func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// A symbol has a stand-in for outputs that have no Unicode.
type symbol struct{ unicode, ascii string }

var (
	done   = symbol{"✓", "ok"}
	failed = symbol{"✗", "x"}
	same   = symbol{"=", "="}
	skip   = symbol{"·", "-"}
)

func (s Style) symbol(y symbol) string {
	if s.Unicode {
		return y.unicode
	}
	return pad(y.ascii, len(done.ascii))
}

// Dot separates things that could be typed next, Arrow leads from one thing to the one after it.
func (s Style) Dot() string { return s.pick("·", "-") }

// Arrow is what Dot says.
func (s Style) Arrow() string { return s.pick("→", "->") }

func (s Style) ellipsis() string { return s.pick("…", "...") }

// Text writes what was worded with symbols so that the output can show it.
func (s Style) Text(t string) string {
	if s.Unicode {
		return t
	}
	return strings.NewReplacer("→", "->", "·", "-", "…", "...").Replace(t)
}

func (s Style) pick(unicode, ascii string) string {
	if s.Unicode {
		return unicode
	}
	return ascii
}

// Done, Failed, Same and Skipped are the marks of a list, in their colours.
func (s Style) Done() string    { return s.Green(s.symbol(done)) }
func (s Style) Failed() string  { return s.Red(s.symbol(failed)) }
func (s Style) Same() string    { return s.Dim(s.symbol(same)) }
func (s Style) Skipped() string { return s.Dim(s.symbol(skip)) }

// Red, Green, Yellow, Bold and Dim colour a text where there are colours.
func (s Style) Red(t string) string    { return s.sgr("31", t) }
func (s Style) Green(t string) string  { return s.sgr("32", t) }
func (s Style) Yellow(t string) string { return s.sgr("33", t) }
func (s Style) Bold(t string) string   { return s.sgr("1", t) }
func (s Style) Dim(t string) string    { return s.sgr("2", t) }

func (s Style) sgr(code, t string) string {
	if !s.Color || t == "" {
		return t
	}
	return "\x1b[" + code + "m" + t + "\x1b[0m"
}

// Width is the number of columns that a text without colours takes.
func Width(t string) int {
	for i := range len(t) {
		if t[i] >= utf8.RuneSelf {
			return runewidth.StringWidth(t)
		}
	}
	return len(t) // the tables of runewidth cost milliseconds to set up, and most names need none
}

// Pad fills a text without colours up to a width.
func Pad(t string, width int) string { return pad(t, width) }

func pad(t string, width int) string {
	return t + strings.Repeat(" ", max(0, width-Width(t)))
}

// Fit cuts a text without colours so that it takes no more than width columns.
func (s Style) Fit(t string, width int) string {
	if width <= 0 || Width(t) <= width {
		return t
	}
	return runewidth.Truncate(t, width, s.ellipsis())
}

// Clean makes a text from elsewhere (a command's output, a file's name) safe to show in one line: escape sequences
// are dropped, a tab is spaces, and what is neither printable nor UTF-8 becomes a question mark.
func Clean(t string) string {
	plain := true
	for i := 0; i < len(t) && plain; i++ {
		plain = t[i] >= ' ' && t[i] < 0x7f
	}
	if plain {
		return t
	}
	var b strings.Builder
	for i := 0; i < len(t); {
		r, n := utf8.DecodeRuneInString(t[i:])
		switch {
		case r == 0x1b:
			n = escape(t[i:])
		case r == '\t':
			b.WriteString("    ")
		case r == utf8.RuneError && n <= 1, !unicode.IsPrint(r) && !unicode.Is(unicode.Cf, r):
			b.WriteByte('?')
		case unicode.Is(unicode.Bidi_Control, r): // could show another text than there is
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// escape is the length of the terminal's escape sequence that t starts with.
func escape(t string) int {
	if len(t) < 2 {
		return len(t)
	}
	switch t[1] {
	case '[': // parameters and intermediates, then one final byte
		for i := 2; i < len(t); i++ {
			if t[i] >= 0x40 && t[i] <= 0x7e {
				return i + 1
			}
		}
		return len(t)
	case ']', 'P', '_', '^', 'X': // a string, ended by BEL or ESC \
		for i := 2; i < len(t); i++ {
			if t[i] == 0x07 {
				return i + 1
			}
			if t[i] == 0x1b {
				return min(i+2, len(t))
			}
		}
		return len(t)
	}
	return 2
}

// Lines splits a command's output into lines that are safe to show. A carriage return starts a line over, as a
// progress bar means it.
func Lines(t string) []string {
	t = strings.TrimRight(strings.ReplaceAll(t, "\r\n", "\n"), "\n")
	if t == "" {
		return nil
	}
	lines := strings.Split(t, "\n")
	for i, l := range lines {
		l = strings.TrimRight(l, "\r")
		lines[i] = Clean(l[strings.LastIndexByte(l, '\r')+1:])
	}
	return lines
}

// Duration is a time as the tour writes it: "9 ms" and "0.3s", "2m05s", "1h02m".
func Duration(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return "0.0s"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// About is an estimate: no more digits than it deserves.
func About(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// Size is a number of bytes: "812 B", "21 kB", "4.1 MB".
func Size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1000, "kB"
	for _, next := range []string{"MB", "GB", "TB"} {
		if f < 999.5 {
			break
		}
		f, unit = f/1000, next
	}
	if f < 10 {
		return fmt.Sprintf("%.1f %s", f, unit)
	}
	return fmt.Sprintf("%.0f %s", f, unit)
}

// Count is "1 file" or "2 files".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// When is a moment as a list shows it: the time if it is on the day of now, else the day too.
func When(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	t, now = t.Local(), now.Local()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04")
	}
	if t.Year() == now.Year() {
		return t.Format("Jan _2 15:04")
	}
	return t.Format("2006-01-02")
}
