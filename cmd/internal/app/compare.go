package app

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
)

// Moment is the System graph as it was after a tick of a run.
type Moment struct {
	Run, Tick int
	Idx       uint64 // of the tick's event
	Digest    warp.Hash
	Nodes     []KindCount
	Edges     []KindCount
	Added     []string // what the tick changed: nodes in words, edges with their ends
	Removed   []string
}

// KindCount is how many nodes or edges of a kind there are.
type KindCount struct {
	Kind string
	N    int
}

// At folds the history up to a tick of a run, without running any rule.
func (w *Workspace) At(ctx context.Context, run, tick int) (*Moment, error) {
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(runs, func(r Run) bool { return r.N == run }) {
		return nil, noRun(run, runs)
	}
	r, err := w.past()
	if err != nil {
		return nil, err
	}
	var before warp.Graph
	last := 0
	for s, err := range runner.Fold(r) {
		if err != nil {
			return nil, damaged(err)
		}
		t, ok := s.Data.(*runner.Tick)
		if !ok {
			continue
		}
		if t.Run == run {
			if last = t.N; last == tick {
				return momentOf(s, before, run, tick), nil
			}
		}
		before = s.System
	}
	if last == 0 {
		return nil, usagef("run %d has no ticks", run)
	}
	return nil, usagef("run %d has no tick %d: its last one is %d", run, tick, last)
}

func momentOf(s runner.State, before warp.Graph, run, tick int) *Moment {
	out := &Moment{Run: run, Tick: tick, Idx: s.Idx, Digest: s.System.Digest()}
	nodes, edges := map[string]int{}, map[string]int{}
	for _, n := range s.System.Nodes("") {
		nodes[n.Kind]++
	}
	for _, e := range s.System.Edges() {
		edges[e.Kind]++
	}
	out.Nodes, out.Edges = counts(nodes), counts(edges)
	for _, op := range warp.Diff(before, s.System).Ops {
		switch op.Kind {
		case warp.OpAddNode:
			out.Added = append(out.Added, runner.Describe(op.Node))
		case warp.OpAddEdge:
			out.Added = append(out.Added, describeEdge(s.System, op.Edge))
		case warp.OpRemoveNode:
			out.Removed = append(out.Removed, runner.Describe(op.Node))
		case warp.OpRemoveEdge:
			out.Removed = append(out.Removed, describeEdge(before, op.Edge))
		}
	}
	slices.Sort(out.Added)
	slices.Sort(out.Removed)
	return out
}

func describeEdge(g warp.Graph, e warp.Edge) string {
	from, _ := g.Node(e.From)
	to, _ := g.Node(e.To)
	return fmt.Sprintf("%s: %s → %s", e.Kind, runner.Describe(from), runner.Describe(to))
}

func counts(of map[string]int) []KindCount {
	var out []KindCount
	for _, k := range slices.Sorted(maps.Keys(of)) {
		out = append(out, KindCount{k, of[k]})
	}
	return out
}

// RunDiff is what two runs differ in.
type RunDiff struct {
	A, B    int
	Steps   []StepDiff // in which they differ, by name
	Same    int        // steps of both that ended the same way from the same inputs
	Methods []string   // "+ image by podman", "- image by docker"
	Files   []string   // what the runs let into the workspace, where that differs: "bin/x only in run 2"
	Graph   []KindDiff // what lies between the ends of the two
}

// StepDiff is one step in two runs.
type StepDiff struct {
	Step    string
	A, B    string   // how it ended; "" where the run did not need it
	Differs []string // "input a.c changed", "output a.o changed 1a2b… → 3c4d…"
}

// KindDiff is what became of the nodes, or edges, of a kind from the one graph to the other.
type KindDiff struct {
	Kind           string
	Edges          bool
	Added, Removed int
}

// Diff compares two runs and the System graphs at their ends.
func (w *Workspace) Diff(ctx context.Context, a, b int) (*RunDiff, error) {
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, err
	}
	var sides [2]Run
	for i, n := range []int{a, b} {
		at := slices.IndexFunc(runs, func(r Run) bool { return r.N == n })
		if at < 0 {
			return nil, noRun(n, runs)
		}
		sides[i] = runs[at]
	}
	ends, err := w.ends(a, b)
	if err != nil {
		return nil, err
	}
	g, err := w.system()
	if err != nil {
		return nil, err
	}
	out := &RunDiff{A: a, B: b, Methods: diffMethods(sides[0].Methods, sides[1].Methods), Graph: diffGraphs(ends[0], ends[1])}
	out.Files = diffFiles(sides)
	steps := [2]map[string]StepRun{}
	names := map[string]bool{}
	for i, r := range sides {
		steps[i] = map[string]StepRun{}
		for _, s := range r.Steps { // the last time counts
			steps[i][s.Step] = s
			names[s.Step] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d := StepDiff{Step: name, A: steps[0][name].Outcome, B: steps[1][name].Outcome}
		if d.A != "" && d.B != "" {
			if d.Differs, err = w.diffStep(g, steps[0][name], steps[1][name]); err != nil {
				return nil, err
			}
		}
		if d.A == d.B && len(d.Differs) == 0 {
			out.Same++
			continue
		}
		out.Steps = append(out.Steps, d)
	}
	return out, nil
}

func (w *Workspace) diffStep(g warp.Graph, a, b StepRun) ([]string, error) {
	if a.Outcome == runner.Failed || b.Outcome == runner.Failed { // nothing is known of what it read and made
		if a.Reason != b.Reason && a.Reason != "" && b.Reason != "" {
			return []string{a.Reason + " → " + b.Reason}, nil
		}
		return nil, nil
	}
	x, y := a.Invocation.Key, b.Invocation.Key
	if len(x) != len(cas.Digest{}) || len(y) != len(cas.Digest{}) {
		return nil, nil
	}
	return runner.CompareSteps(g, cas.Digest(x), cas.Digest(y), w.store.Get)
}

// ends folds the graphs as they were after the events of two runs.
func (w *Workspace) ends(a, b int) (out [2]warp.Graph, err error) {
	r, err := w.past()
	if err != nil {
		return out, err
	}
	for s, err := range runner.Fold(r) {
		if err != nil {
			return out, damaged(err)
		}
		for i, n := range []int{a, b} {
			if runOf(s.Event) == n {
				out[i] = s.System
			}
		}
	}
	return out, nil
}

func diffMethods(a, b []string) []string {
	var out []string
	for _, m := range a {
		if !slices.Contains(b, m) {
			out = append(out, "- "+m)
		}
	}
	for _, m := range b {
		if !slices.Contains(a, m) {
			out = append(out, "+ "+m)
		}
	}
	return out
}

func diffFiles(sides [2]Run) []string {
	in := [2]map[string]runner.Entry{}
	names := map[string]bool{}
	for i, r := range sides {
		in[i] = map[string]runner.Entry{}
		for _, c := range r.Changes {
			if c.Before.Type != "dir" && c.After.Type != "dir" {
				in[i][c.Path] = c.After
				names[c.Path] = true
			}
		}
	}
	var out []string
	for _, p := range slices.Sorted(maps.Keys(names)) {
		a, inA := in[0][p]
		b, inB := in[1][p]
		switch {
		case !inA:
			out = append(out, fmt.Sprintf("%s only by run %d", p, sides[1].N))
		case !inB:
			out = append(out, fmt.Sprintf("%s only by run %d", p, sides[0].N))
		case describe(a) != describe(b):
			out = append(out, fmt.Sprintf("%s: %s → %s", p, describe(a), describe(b)))
		}
	}
	return out
}

func diffGraphs(a, b warp.Graph) []KindDiff {
	type key struct {
		edges bool
		kind  string
	}
	of := map[key]*KindDiff{}
	at := func(edges bool, kind string) *KindDiff {
		k := key{edges, kind}
		if of[k] == nil {
			of[k] = &KindDiff{Kind: kind, Edges: edges}
		}
		return of[k]
	}
	for _, op := range warp.Diff(a, b).Ops {
		switch op.Kind {
		case warp.OpAddNode:
			at(false, op.Node.Kind).Added++
		case warp.OpRemoveNode:
			at(false, op.Node.Kind).Removed++
		case warp.OpAddEdge:
			at(true, op.Edge.Kind).Added++
		case warp.OpRemoveEdge:
			at(true, op.Edge.Kind).Removed++
		}
	}
	var out []KindDiff
	for _, d := range of {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b KindDiff) int {
		if a.Edges != b.Edges {
			if a.Edges {
				return 1
			}
			return -1
		}
		if a.Kind < b.Kind {
			return -1
		}
		return 1
	})
	return out
}
