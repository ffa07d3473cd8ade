package htn_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler/htn"
)

func open(name string) htn.Task {
	t := prim(name, "", "")
	t.Open = true
	return t
}

// What an open task will do is not known, so a candidate ends there: with all that does not come after it.
func TestOpen(t *testing.T) {
	tests := map[string]struct {
		tasks []htn.Task
		goal  string
		steps []string
		edges string
	}{
		"what follows in the method is left out": {
			tasks: []htn.Task{prim("list", "", ""), open("each"), prim("pack", "", ""), compound("all", method("m", "", "", "list; each; pack"))},
			goal:  "all", steps: []string{"list", "each"}, edges: "each<-list ",
		},
		"and so is a later goal": {
			tasks: []htn.Task{open("each"), prim("pack", "", "")}, goal: "each; pack", steps: []string{"each"},
		},
		"the open task may make true what comes after it asks for, whoever else could": {
			tasks: []htn.Task{open("each"), prim("pack", "made", ""), compound("all", method("m", "", "", "each; pack"), method("other", "", "", "pack"))},
			goal:  "all", steps: []string{"each"},
		},
		"also when a need is open": {
			tasks: []htn.Task{open("each"), needing(prim("pack", "made", ""), "each"), compound("all", method("m", "", "", "pack"))},
			goal:  "all", steps: []string{"each"},
		},
		"who waits for a need behind it does not stop the others": {
			tasks: []htn.Task{
				open("each"), needing(prim("pack", "", ""), "each"), needing(prim("sign", "", ""), "pack"), prim("doc", "", ""),
				{Name: "a", Needs: subs("pack")}, {Name: "b", Needs: subs("sign; doc")},
				{Name: "all", Methods: []htn.Method{{Name: "m", Steps: subs("a; b; doc")}}},
			},
			goal: "all", steps: []string{"each", "doc"},
		},
		"what comes before is ordered as ever": {
			tasks: []htn.Task{prim("list", "", "+l"), prim("x", "l", ""), open("each"), compound("all", method("m", "", "", "list; x; each; x"))},
			goal:  "all", steps: []string{"list", "x", "each"}, edges: "x<-list each<-x ",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := all(t.Context(), compile(t, tt.tasks...), htn.Problem{Goal: subs(tt.goal)}, 1)
			require.NoError(t, err)
			require.Equal(t, tt.steps, show(got[0]))
			edges := ""
			for _, s := range got[0].Steps {
				for _, e := range s.After {
					edges += fmt.Sprintf("%s<-%s ", s.Task, got[0].Steps[e.Step].Task)
				}
			}
			require.Equal(t, tt.edges, edges)
		})
	}
}

func TestThereIsAnEndToOpenCandidates(t *testing.T) {
	p := compile(t, open("each"), needing(prim("pack", "", ""), "each"), htn.Task{Name: "a", Needs: subs("pack")}, htn.Task{Name: "b", Needs: subs("pack")},
		htn.Task{Name: "all", Methods: []htn.Method{{Name: "m", Steps: subs("a; b")}}})
	got, err := all(t.Context(), p, htn.Problem{Goal: subs("all")}, 5)
	require.NoError(t, err)
	require.Len(t, got, 1)
}
