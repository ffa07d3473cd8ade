package plan_test

import (
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/compiler/plan"
)

func TestPathsAndPatterns(t *testing.T) {
	for pattern, want := range map[string]string{"a/b": "a/b", `a\[1\].md`: "a[1].md", `\a`: "a", `d\*/`: "d*/", "a]": "a]"} {
		got, ok := plan.Path(pattern)
		require.True(t, ok, pattern)
		require.Equal(t, want, got)
	}
	for _, pattern := range []string{"*.c", "a[1]", "a{b,c}", `\[?`, `a\`} {
		_, ok := plan.Path(pattern)
		require.False(t, ok, pattern)
		require.Equal(t, pattern, plan.Shown(pattern))
	}
}

// Every path has a pattern, which is valid, means it, and matches nothing else of its neighbourhood.
func TestPatternMeansItsPath(t *testing.T) {
	name := rapid.StringOfN(rapid.SampledFrom([]rune(`a1.-*?[]{},\é`)), 1, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		path := strings.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "path"), "/")
		other := strings.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "other"), "/")
		pattern := plan.Pattern(path)
		require.True(t, doublestar.ValidatePattern(pattern), pattern)
		back, ok := plan.Path(pattern)
		require.True(t, ok)
		require.Equal(t, path, back)
		require.True(t, doublestar.MatchUnvalidated(pattern, path), pattern)
		require.Equal(t, path == other, doublestar.MatchUnvalidated(pattern, other))
	})
}
