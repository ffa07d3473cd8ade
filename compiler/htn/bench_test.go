package htn_test

import (
	"fmt"
	"testing"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/stretchr/testify/require"
)

// module is a workflow of n compound tasks with two methods each, of which the second is open, and whose step needs
// steps of earlier ones.
func module(n int) htn.Domain {
	var d htn.Domain
	group := htn.Task{Name: "all"}
	for i := range n {
		step := prim(fmt.Sprintf("step%d", i), "", "")
		if i > 0 {
			step.Needs = append(step.Needs, htn.Sub{Task: fmt.Sprintf("task%d", i-1)}, htn.Sub{Task: fmt.Sprintf("task%d", i/2)})
		}
		task := compound(fmt.Sprintf("task%d", i), method("docker", "", "installed(docker)", step.Name), method("podman", "?v", "installed(podman); version(?v)", step.Name))
		d.Tasks = append(d.Tasks, step, task)
		group.Needs = append(group.Needs, htn.Sub{Task: task.Name})
	}
	d.Tasks = append(d.Tasks, group)
	return d
}

func BenchmarkModule(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		d := module(n)
		prob := htn.Problem{Facts: facts(b, "installed(podman); version(5)"), Goal: subs("all")}
		b.Run(fmt.Sprintf("compile+plan/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := htn.Compile(d)
				require.NoError(b, err)
				got, err := all(b.Context(), p, prob, 1)
				require.NoError(b, err)
				require.Len(b, got[0].Steps, n)
			}
		})
		p := compile(b, d.Tasks...)
		b.Run(fmt.Sprintf("plan/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := all(b.Context(), p, prob, 1)
				require.NoError(b, err)
			}
		})
	}
}
