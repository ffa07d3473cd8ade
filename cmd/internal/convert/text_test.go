package convert_test

import (
	"os/exec"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
	"github.com/flyingrobots/jitos/lang"
)

// script is what the only task of a workflow runs, with values for param.a.
func script(t require.TestingT, s *convert.Script, a string) string {
	w := convert.New()
	w.Add(&convert.Task{Name: "t", Stages: []convert.Stage{{Command: &convert.Command{Script: s}}}})
	text, diags := lang.Format("main.jitos.hcl", []byte(w.HCL("head")))
	require.Empty(t, diags, "%s", text)
	m, diags := lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: text}})
	require.Empty(t, diags, "%s", text)
	v, problems := m.Tasks[0].Run.Value(&hcl.EvalContext{Variables: map[string]cty.Value{
		"param": cty.ObjectVal(map[string]cty.Value{"a": cty.StringVal(a)}),
	}})
	require.False(t, problems.HasErrors(), "%s", problems)
	return v.AsString()
}

// What a tool's script says is what the workflow's says, whatever characters it has.
func TestScriptsKeepTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.StringMatching(`[a$%{}"'\\ \t~x#]{0,6}(SH|\n  b)?`)
		lit, end := "x"+piece.Draw(t, "before"), piece.Draw(t, "after")+"x"
		s := &convert.Script{}
		s.Whole(append(append(convert.Lit(lit), convert.Code("param.a")...), convert.Piece{Lit: end}))
		require.Equal(t, lit+"${v}"+end, trim(script(t, s, "${v}")))
	})
}

func trim(s string) string {
	if len(s) > 0 && s[len(s)-1] == '\n' {
		return s[:len(s)-1]
	}
	return s
}

// The output of a command stands where the tool would have put it, in all kinds of quotes.
func TestOutputsStandInQuotes(t *testing.T) {
	s := &convert.Script{Loose: true}
	s.Set("out", convert.Lit("echo 'a b'"))
	for _, before := range []string{"printf '<%s>' ", "printf '<%s>' '", `printf '<%s>' "`, "true # it's\nprintf '<%s>' ", `printf '<%s>' \'`} {
		after := ""
		if quote := before[len(before)-1:]; quote != " " && before[len(before)-2:] != `\'` {
			after = quote
		}
		s.Add(append(append(convert.Lit(before), convert.Shell("out")...), convert.Piece{Lit: after}), false)
	}
	out, err := exec.Command("sh", "-euc", script(t, s, "")).Output()
	require.NoError(t, err)
	require.Equal(t, "<a><b><a b><a b><a><b><'a><b>", string(out))
}
