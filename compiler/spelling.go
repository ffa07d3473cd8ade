package compiler

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/text/unicode/norm"

	"github.com/flyingrobots/jitos/compiler/plan"
)

// The name of a file may have characters that mean something in a pattern, and values of expressions have one Unicode form,
// which may not be that of the name. So where a value comes from a file that was found, it is given the file's own
// spelling: in patterns what came from a name is no wildcard, and in all that a step gets names are as on disk.

// found notes a path that a look at the workspace gave, if it needs a spelling.
func (f *findings) found(p string) {
	text := norm.NFC.String(p)
	if text == p && !strings.ContainsAny(p, plan.Wildcards) {
		return
	}
	if f.spelled[text] != text { // a name that is one of values needs no other
		f.spelled[text] = p
	}
}

// spelling is the names that values of one step may come from, segment by segment.
type spelling []segment

type segment struct {
	text string // in values
	name string // on disk
	wild string // what stands in text around its wildcards; "" if there are none
}

// spelling finds the files that values of xs, evaluated in env, may come from: all that were found if one of them asks for
// files itself, else those whose names are in the arguments of the step, or in its paths.
func (b *build) spelling(in env, paths func() []string, xs ...hcl.Expression) (out spelling) {
	if len(b.spelled) == 0 {
		return nil
	}
	given := paths()
	asks := false
	for _, x := range xs {
		if x != nil {
			b.evaluator.deep(x, func(r *refs) { asks = asks || slices.Contains(r.calls, "fileset") })
		}
	}
	args := texts(in["each"], texts(in["param"], nil))
	for _, text := range slices.Sorted(maps.Keys(b.spelled)) {
		names := strings.Split(b.spelled[text], "/")
		for i, t := range strings.Split(text, "/") {
			s := segment{text: t, name: names[i]}
			if first := strings.IndexAny(t, plan.Wildcards); first >= 0 { // with a neighbour, so that *.c is not meant where *x is
				last := strings.LastIndexAny(t, plan.Wildcards)
				s.wild = t[max(first-1, 0):min(last+2, len(t))]
			}
			if s.wild == "" && s.text == s.name || slices.Contains(out, s) {
				continue
			}
			has := func(a string) bool { return strings.Contains(a, t) || s.wild != "" && strings.Contains(a, s.wild) }
			if asks || slices.ContainsFunc(args, has) || s.text != s.name && slices.ContainsFunc(given, has) {
				out = append(out, s)
			}
		}
	}
	return out
}

// texts appends the strings in v.
func texts(v cty.Value, out []string) []string {
	if v == cty.NilVal {
		return out
	}
	v, _ = v.UnmarkDeep()
	switch {
	case v.IsNull() || !v.IsKnown():
	case v.Type() == cty.String:
		out = append(out, v.AsString())
	case v.CanIterateElements():
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			out = texts(e, out)
		}
	}
	return out
}

// pattern is p with what comes from a name taken as it is.
func (s spelling) pattern(p string) string {
	if len(s) == 0 {
		return p
	}
	parts := strings.Split(p, "/")
	for i, part := range parts {
		if k := slices.IndexFunc(s, func(x segment) bool { return x.text == part }); k >= 0 {
			parts[i] = plan.Pattern(s[k].name)
			continue
		}
		plain := make([]bool, len(part))
		for _, x := range s {
			for from := 0; x.wild != ""; {
				at := strings.Index(part[from:], x.wild)
				if at < 0 {
					break
				}
				for k := range len(x.wild) {
					plain[from+at+k] = true
				}
				from += at + len(x.wild)
			}
		}
		var b strings.Builder
		for k := range len(part) {
			if plain[k] && strings.IndexByte(plan.Wildcards, part[k]) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(part[k])
		}
		parts[i] = b.String()
	}
	return strings.Join(parts, "/")
}

// words is text with names as they are on disk, where they stand as whole words.
func (s spelling) words(text string) string {
	for _, x := range s {
		if x.text == x.name {
			continue
		}
		var b strings.Builder
		rest := text
		for {
			at := strings.Index(rest, x.text)
			if at < 0 {
				break
			}
			end := at + len(x.text)
			before, _ := utf8.DecodeLastRuneInString(rest[:at])
			after, _ := utf8.DecodeRuneInString(rest[end:])
			b.WriteString(rest[:at])
			if inWord(before) || inWord(after) {
				b.WriteString(x.text)
			} else {
				b.WriteString(x.name)
			}
			rest = rest[end:]
		}
		text = b.String() + rest
	}
	return text
}

// inWord reports whether a character beside a name makes it a part of a longer one. RuneError: there is none.
func inWord(r rune) bool {
	return r != utf8.RuneError && (unicode.In(r, unicode.L, unicode.M, unicode.N) || strings.ContainsRune("._-", r))
}
