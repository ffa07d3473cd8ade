package compiler

import (
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMeet(t *testing.T) {
	tests := map[string]struct {
		a, b string
		want bool
	}{
		"a suffix and a directory":         {"**/*.go", "gen/**", true},
		"different suffixes":               {"*.go", "*.md", false},
		"different directories":            {"a/*", "b/*", false},
		"different depths":                 {"a/*", "a/b/*", false},
		"** is no directory as well":       {"a/**/x", "a/x", true},
		"alternatives":                     {"*.{c,h}", "x.[ch]", true},
		"alternatives that do not fit":     {"*.{c,h}", "*.o", false},
		"alternatives with a slash":        {"{a/b,c}/*.x", "a/b/y.x", true},
		"a question mark":                  {"a?c", "abc", true},
		"a question mark is one":           {"a?c", "abbc", false},
		"an escape":                        {`a\*`, "ab", false},
		"the middle of a segment":          {"x*y*z", "xaz*", true},
		"prefixes that cannot be the same": {"ab*", "ac*", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, meet(tt.a, tt.b))
			require.Equal(t, tt.want, meet(tt.b, tt.a))
		})
	}
}

func patterns() *rapid.Generator[string] {
	segment := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?")), 1, 4, -1)
	special := rapid.SampledFrom([]string{"**", "{a,b}", "{a*,b}b", "[ab]", "[!a]b", "a", "b"})
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.OneOf(segment, special), 1, 4).Draw(t, "segments"), "/")
	})
}

func paths() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 1, 3, -1), 1, 4).Draw(t, "path"), "/")
	})
}

// A path that both patterns match is proof that they meet.
func TestMeetNeverSaysNoWrongly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := patterns().Draw(t, "a"), patterns().Draw(t, "b")
		for range 20 {
			p := paths().Draw(t, "p")
			if doublestar.MatchUnvalidated(a, p) && doublestar.MatchUnvalidated(b, p) {
				require.True(t, meet(a, b), "%s and %s meet at %s", a, b, p)
			}
		}
	})
}

// The index finds what looking at every output would find.
func TestIndexMissesNothing(t *testing.T) {
	output := rapid.Custom(func(t *rapid.T) string {
		p := rapid.OneOf(paths(), patterns()).Draw(t, "p")
		if rapid.Bool().Draw(t, "dir") {
			p += "/"
		}
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		outs := rapid.SliceOfN(output, 1, 8).Draw(t, "outputs")
		in := output.Draw(t, "input")
		var list []produced
		for i, o := range outs {
			list = append(list, produced{pattern: o, owner: i})
		}
		found := map[int]bool{}
		newIndex(list).meeting(in, func(p produced, sure bool) {
			require.False(t, found[p.owner], "each once")
			found[p.owner] = true
			require.Equal(t, !literal(in) && !literal(p.pattern), !sure)
		})
		for range 20 {
			p := paths().Draw(t, "path")
			for i, o := range outs {
				if matches(o, p) && matches(in, p) {
					require.True(t, found[i], "%s of output %s is read as %s", p, o, in)
				}
			}
		}
	})
}

func TestHeapYieldsTheSmallestFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(rapid.Int()).Draw(t, "in")
		var h heap
		for _, x := range in {
			h.push(x)
		}
		var out []int
		for len(h) > 0 {
			out = append(out, h.pop())
		}
		require.Equal(t, slices.Sorted(slices.Values(in)), out)
	})
}
