package htn_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp"
)

func TestArgumentsAreComputedFromVariables(t *testing.T) {
	image, err := warp.Fact("registry", "a")
	require.NoError(t, err)
	facts, err := (warp.Graph{}).Apply(warp.Rewrite{Ops: []warp.Op{warp.AddNode(image)}})
	require.NoError(t, err)
	fail := error(nil)
	tagged := htn.Term{Func: &htn.Func{Vars: []string{"tag", "reg"}, Text: "tag+reg", Eval: func(v []htn.Value) (htn.Value, error) {
		return "\x62" + v[1][1:] + v[0][1:], fail
	}}}
	p, err := htn.Compile(htn.Domain{Tasks: []htn.Task{
		{Name: "image", Params: []string{"tag"}, Methods: []htn.Method{
			{Name: "m", Vars: []string{"reg"}, When: htn.Holds{Rel: "registry", Args: []htn.Term{htn.V("reg")}},
				Steps: []htn.Sub{{Name: "push", Task: "push", Args: []htn.Term{tagged}}}},
		}},
		{Name: "push", Params: []string{"to"}, Operator: &warp.Rule{Name: "push", Params: []string{"to"}, Add: []warp.NodePattern{warp.FactPattern("pushed", warp.Var("to"))}}},
	}})
	require.NoError(t, err)
	plan := func(exclude ...htn.Exclusion) (c htn.Candidate, err error) {
		for c, err = range p.Plans(t.Context(), htn.Problem{Facts: facts, Goal: []htn.Sub{{Task: "image", Args: []htn.Term{htn.C("\x61z")}}}, Exclude: exclude}) {
			break
		}
		return c, err
	}

	c, err := plan()
	require.NoError(t, err)
	require.Equal(t, []htn.Value{"\x62az"}, c.Steps[0].Args)

	_, err = plan(htn.Exclusion{Task: "push", Args: c.Steps[0].Args, Reason: "exit 1"})
	require.ErrorAs(t, err, new(*htn.NoPlanError), "a computed ground step can be excluded")

	fail = errors.New("no such tag")
	_, err = plan()
	require.ErrorIs(t, err, fail)
}
