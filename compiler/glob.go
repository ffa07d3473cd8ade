package compiler

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flyingrobots/jitos/compiler/plan"
)

// literal reports whether p is a path and not a pattern. A directory as a whole, with its slash, is a path.
func literal(p string) bool {
	_, ok := plan.Path(p)
	return ok
}

// base is the part of p before the first segment with a wildcard: every path that p matches is at or below it. "" is
// the root.
func base(p string) string {
	if path, ok := plan.Path(p); ok {
		return strings.TrimSuffix(path, "/")
	}
	if dir, _ := doublestar.SplitPattern(p); dir != "." {
		return dir
	}
	return ""
}

// produced is a declared output.
type produced struct {
	pattern, base string
	owner         int
}

// index finds outputs by the patterns that they may match.
type index struct {
	byBase map[string][]produced
	bases  []string // sorted
}

func newIndex(list []produced) *index {
	x := &index{byBase: map[string][]produced{}}
	for _, p := range list {
		p.base = base(p.pattern)
		if x.byBase[p.base] == nil {
			x.bases = append(x.bases, p.base)
		}
		x.byBase[p.base] = append(x.byBase[p.base], p)
	}
	slices.Sort(x.bases)
	return x
}

// meeting yields the outputs that pattern and they may have in common. sure is false where both are patterns: then
// nobody knows before they ran.
func (x *index) meeting(pattern string, yield func(p produced, sure bool)) {
	lit := literal(pattern)
	b := base(pattern)
	each := func(list []produced) {
		for _, p := range list {
			switch {
			case lit && literal(p.pattern):
				if p.base == b || covers(p, b) || covers(produced{pattern: pattern, base: b}, p.base) {
					yield(p, true)
				}
			case literal(p.pattern):
				if matches(pattern, p.base) || strings.HasSuffix(p.pattern, "/") && meet(pattern, p.pattern) {
					yield(p, true)
				}
			case lit:
				if matches(p.pattern, b) || strings.HasSuffix(pattern, "/") && meet(p.pattern, pattern) {
					yield(p, true)
				}
			case meet(pattern, p.pattern):
				yield(p, false)
			}
		}
	}
	for dir := b; ; dir = parent(dir) {
		each(x.byBase[dir])
		if dir == "" {
			break
		}
	}
	below := b + "/"
	from := 0
	if b == "" {
		below = ""
	} else if lit && !strings.HasSuffix(pattern, "/") {
		return
	} else {
		from, _ = slices.BinarySearch(x.bases, below)
	}
	for _, dir := range x.bases[from:] {
		if !strings.HasPrefix(dir, below) {
			break
		}
		if dir != "" {
			each(x.byBase[dir])
		}
	}
}

func parent(p string) string { return p[:max(strings.LastIndexByte(p, '/'), 0)] }

// covers reports whether dir, a path, is a directory as a whole that p lies in.
func covers(dir produced, p string) bool {
	return strings.HasSuffix(dir.pattern, "/") && strings.HasPrefix(p, dir.base) && (len(p) == len(dir.base) || p[len(dir.base)] == '/')
}

func matches(pattern, p string) bool {
	return doublestar.MatchUnvalidated(deep(pattern), p)
}

// meet reports whether a path may match both patterns. It never says no wrongly.
func meet(a, b string) bool {
	for _, x := range braces(deep(a)) {
		for _, y := range braces(deep(b)) {
			if meetPaths(strings.Split(x, "/"), strings.Split(y, "/")) {
				return true
			}
		}
	}
	return false
}

// deep is p with what lies in it, if it is a directory as a whole.
func deep(p string) string {
	if strings.HasSuffix(p, "/") {
		return p + "**"
	}
	return p
}

// maxAlternatives is how many alternatives of {a,b} are looked at; with more a pattern may meet any other.
const maxAlternatives = 64

// braces are the patterns that p stands for when its {a,b} are written out.
func braces(p string) []string {
	out := []string{""}
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			for k := range out {
				out[k] += p[i:min(i+2, len(p))]
			}
			i++
		case '{':
			end, parts := alternatives(p[i:])
			if end < 0 || len(out)*len(parts) > maxAlternatives {
				return []string{"**"}
			}
			var next []string
			for _, o := range out {
				for _, alt := range parts {
					for _, a := range braces(alt) {
						next = append(next, o+a)
					}
				}
			}
			out, i = next, i+end
		default:
			for k := range out {
				out[k] += p[i : i+1]
			}
		}
	}
	return out
}

// alternatives splits the braces that p starts with; end is where they close.
func alternatives(p string) (end int, parts []string) {
	depth, start := 0, 1
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '{':
			depth++
		case ',':
			if depth == 1 {
				parts, start = append(parts, p[start:i]), i+1
			}
		case '}':
			if depth--; depth == 0 {
				return i, append(parts, p[start:i])
			}
		}
	}
	return -1, nil
}

// meetPaths walks both patterns segment by segment; ** stands for any number of them.
func meetPaths(a, b []string) bool {
	known := map[[2]int]bool{}
	var at func(i, j int) bool
	at = func(i, j int) bool {
		if i == len(a) && j == len(b) {
			return true
		}
		k := [2]int{i, j}
		if known[k] {
			return false // seen before, and it did not end the search then
		}
		known[k] = true
		switch {
		case i < len(a) && open(a[i]):
			return at(i+1, j) || j < len(b) && at(i, j+1)
		case j < len(b) && open(b[j]):
			return at(i, j+1) || i < len(a) && at(i+1, j)
		case i == len(a) || j == len(b):
			return false
		}
		return meetSegments(a[i], b[j]) && at(i+1, j+1)
	}
	return at(0, 0)
}

// open reports whether a segment may stand for several: ** alone, or, to be sure, one that contains it.
func open(s string) bool { return strings.Contains(s, "**") }

// meetSegments does the same with the characters of two segments. A class counts as any character.
func meetSegments(a, b string) bool {
	if x, ok := plan.Path(a); ok {
		if y, ok := plan.Path(b); ok {
			return x == y
		}
	}
	x, y := tokens(a), tokens(b)
	known := map[[2]int]bool{}
	var at func(i, j int) bool
	at = func(i, j int) bool {
		if i == len(x) && j == len(y) {
			return true
		}
		k := [2]int{i, j}
		if known[k] {
			return false
		}
		known[k] = true
		switch {
		case i < len(x) && x[i] == anyRun:
			return at(i+1, j) || j < len(y) && at(i, j+1)
		case j < len(y) && y[j] == anyRun:
			return at(i, j+1) || i < len(x) && at(i+1, j)
		case i == len(x) || j == len(y):
			return false
		}
		return (x[i] == y[j] || x[i] == anyOne || y[j] == anyOne) && at(i+1, j+1)
	}
	return at(0, 0)
}

const (
	anyRun rune = -1 // *
	anyOne rune = -2 // ? or a class
)

func tokens(s string) (out []rune) {
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		switch runes[i] {
		case '*':
			out = append(out, anyRun)
		case '?':
			out = append(out, anyOne)
		case '[':
			end := slices.Index(runes[min(i+2, len(runes)):], ']')
			if end < 0 {
				return append(out, anyRun)
			}
			out, i = append(out, anyOne), i+2+end
		case '\\':
			if i++; i < len(runes) {
				out = append(out, runes[i])
			}
		default:
			out = append(out, runes[i])
		}
	}
	return out
}
