package compiler_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
)

// What is planned bit by bit, as results become known in whatever order, is in the end what is planned at once where they are
// constants; and no plan on the way there has a step that is not in the end.
func TestResultsAreConstantsInTheEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lists := rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 3, rapid.ID[string]), 1, 3).Draw(rt, "lists")
		kinds := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 6).Draw(rt, "kinds")
		from := rapid.SliceOfN(rapid.IntRange(0, len(lists)-1), len(kinds), len(kinds)).Draw(rt, "from")
		whole := func(of func(i int) string) string {
			var b strings.Builder
			b.WriteString("task \"one\" {\n  param \"name\" { type = string }\n  run = \"one ${param.name}\"\n}\n")
			for i := range lists {
				fmt.Fprintf(&b, "task \"l%d\" {\n  result = \"json\"\n  run    = \"list\"\n}\n", i)
			}
			var all []string
			for j, kind := range kinds {
				i, x := from[j], of(from[j])
				switch kind {
				case 0: // there are as many needs as it says
					fmt.Fprintf(&b, "task \"t%d\" {\n  needs = concat([task.l%d], [for v in %s : { task = task.one, with = { name = v } }])\n}\n", j, i, x)
				case 1: // files
					fmt.Fprintf(&b, "task \"t%d\" {\n  needs   = [task.l%d]\n  outputs = [for v in %s : \"t%d/${v}\"]\n  run     = \"x\"\n}\n", j, i, x, j)
				case 2: // a command
					fmt.Fprintf(&b, "task \"t%d\" {\n  needs = [task.l%d]\n  run   = join(\" \", %s)\n}\n", j, i, x)
				case 3: // which method
					fmt.Fprintf(&b, "task \"t%d\" { needs = [task.l%d] }\nmethod \"t%d\" \"many\" {\n  when = length(%s) > 1\n  step \"s\" {\n    task = task.one\n    with = { name = \"many\" }\n  }\n}\n", j, i, j, x)
					fmt.Fprintf(&b, "method \"t%d\" \"few\" {\n  step \"s\" {\n    task = task.one\n    with = { name = join(\"-\", %s) }\n  }\n}\n", j, x)
				case 4: // steps of a method
					fmt.Fprintf(&b, "task \"t%d\" { needs = [task.l%d] }\nmethod \"t%d\" \"each\" {\n  step \"s\" {\n    for_each = %s\n    task     = task.one\n    with     = { name = each.key }\n  }\n  step \"end\" { task = task.end }\n}\n", j, i, j, x)
				case 5: // what comes after what is not known yet
					fmt.Fprintf(&b, "task \"t%d\" { needs = [%s] }\n", j, strings.Join(append(all, "task.end"), ", "))
				}
				all = append(all, fmt.Sprintf("task.t%d", j))
			}
			fmt.Fprintf(&b, "task \"end\" { run = \"end\" }\ntask \"all\" { needs = [%s] }\n", strings.Join(all, ", "))
			return b.String()
		}
		program := func(text string) *compiler.Program {
			m, ds := lang.Parse([]lang.File{{Name: "f.jitos.hcl", Text: []byte(text)}})
			require.Empty(rt, ds, text)
			p, ds := compiler.Compile(m, compiler.Options{})
			require.Empty(rt, ds, text)
			return p
		}
		var ids []string
		values := map[string]string{}
		for i, l := range lists {
			text, err := json.Marshal(append([]string{}, l...))
			require.NoError(rt, err)
			ids = append(ids, fmt.Sprintf("l%d", i))
			values[ids[i]] = string(text)
		}
		constants := program(whole(func(i int) string { return fmt.Sprintf("jsondecode(%q)", values[ids[i]]) }))
		want, err := constants.Plan(t.Context(), compiler.Intent{Target: "all"}, warp.Graph{}, nil, 0)
		require.NoError(rt, err)
		last := map[string]bool{}
		for _, s := range want.Steps {
			last[s.ID] = true
		}

		bits := program(whole(func(i int) string { return fmt.Sprintf("task.l%d.result", i) }))
		known := map[string]string{}
		for _, id := range append([]string{""}, rapid.Permutation(ids).Draw(rt, "order")...) {
			if id != "" {
				known[id] = values[id]
			}
			got, err := bits.Plan(t.Context(), compiler.Intent{Target: "all", Results: maps.Clone(known)}, warp.Graph{}, nil, 0)
			require.NoError(rt, err)
			for _, s := range got.Steps {
				require.True(rt, s.Placeholder() || last[s.ID], "%s is planned, and is not in the end", s.ID)
			}
			if len(known) == len(values) {
				require.Equal(rt, render(want), render(got))
			}
		}
	})
}
