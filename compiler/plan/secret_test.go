package plan_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/compiler/plan"
)

func TestMask(t *testing.T) {
	m := plan.NewMask([]plan.Secret{{"(a)", "abcd"}, {"(b)", "abcdef"}, {"(c)", "dxyz"}})
	for in, want := range map[string]string{
		"": "", "abc": "abc", "xabcdx": "x(a)x", "abcdef": "(b)", "abcde": "(a)e", "abcdxyz": "(a)xyz", "aabcd": "a(a)", "abcabcdabcdef": "abc(a)(b)",
	} {
		require.Equal(t, want, m.Text(in), in)
	}
	require.Equal(t, "abcd", (*plan.Mask)(nil).Text("abcd"))
	require.Equal(t, "(c)", m.Find("dxyz"))
	require.Empty(t, m.Find("abc"))
}

// However a text comes in pieces, what comes out is the masked whole, and has no secret in it.
func TestMaskInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 2, 6, -1)
		var secrets []plan.Secret
		for _, v := range rapid.SliceOfN(letters, 1, 4).Draw(t, "secrets") {
			secrets = append(secrets, plan.Secret{Shown: "(?)", Value: v})
		}
		m := plan.NewMask(secrets)
		pieces := rapid.SliceOf(rapid.StringOfN(rapid.RuneFrom([]rune("abcd")), 0, 8, -1)).Draw(t, "pieces")
		var out bytes.Buffer
		w := m.Writer(&out)
		for _, p := range pieces {
			n, err := w.Write([]byte(p))
			require.NoError(t, err)
			require.Equal(t, len(p), n)
		}
		require.NoError(t, w.Close())
		require.Equal(t, m.Text(strings.Join(pieces, "")), out.String())
		for _, s := range secrets {
			require.NotContains(t, out.String(), s.Value)
		}
	})
}
