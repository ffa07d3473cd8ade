package warp_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/stretchr/testify/require"
)

// big is a graph of n nodes, a third of them steps of which each produced one artifact and read two.
func big(tb testing.TB, n int) warp.Graph {
	var ops []warp.Op
	arts := make([]warp.NodeID, 0, n/3)
	for i := range n / 3 {
		a := node(tb, "artifact", map[string]any{"path": fmt.Sprint("src/file", i), "digest": make([]byte, 32), "mode": 0o644, "type": "file"})
		arts = append(arts, a.ID())
		s := node(tb, "step", map[string]any{"run": 1, "id": fmt.Sprint("s", i), "key": []byte(fmt.Sprint(i))})
		ops = append(ops, warp.AddNode(a), warp.AddNode(s), warp.AddNode(fact(tb, "holds", i%10_000, fmt.Sprint(i))),
			warp.AddEdge(warp.Edge{Kind: "produced", From: a.ID(), To: s.ID()}),
			warp.AddEdge(warp.Edge{Kind: "read", From: s.ID(), To: arts[i/2]}),
			warp.AddEdge(warp.Edge{Kind: "read", From: s.ID(), To: arts[i/10]}))
	}
	return apply(tb, warp.Graph{}, ops...)
}

func BenchmarkNoopRewrites10000(b *testing.B) {
	g := big(b, 30_000)
	w := warp.Rewrite{Ops: []warp.Op{warp.AddNode(fact(b, "holds", 0, "0"))}}
	for b.Loop() {
		for range 10_000 {
			next, err := g.Apply(w)
			require.NoError(b, err)
			next.Digest()
		}
	}
}

func BenchmarkApplyStep(b *testing.B) {
	g, i := big(b, 100_000), 0
	for b.Loop() {
		i++
		s := node(b, "step", map[string]any{"run": 2, "id": fmt.Sprint("s", i), "key": []byte(fmt.Sprint(i))})
		o := node(b, "artifact", map[string]any{"path": fmt.Sprint("out/file", i), "digest": make([]byte, 32), "mode": 0o644, "type": "file"})
		in := node(b, "artifact", map[string]any{"path": "src/file7", "digest": make([]byte, 32), "mode": 0o644, "type": "file"})
		f := fact(b, "built", i)
		g = apply(b, g, warp.AddNode(s), warp.AddNode(o), warp.AddNode(in), warp.AddNode(f),
			warp.AddEdge(warp.Edge{Kind: "produced", From: o.ID(), To: s.ID()}),
			warp.AddEdge(warp.Edge{Kind: "read", From: s.ID(), To: in.ID()}),
			warp.AddEdge(warp.Edge{Kind: "read", From: s.ID(), To: o.ID()}),
			warp.AddEdge(warp.Edge{Kind: "asserts", From: s.ID(), To: f.ID()}))
		g.Digest()
	}
}

// BenchmarkFork takes a fork and keeps it. What a change of it costs is BenchmarkDigestAfterOneChange.
func BenchmarkFork(b *testing.B) {
	g := big(b, 100_000)
	forks := make([]warp.Graph, 0, 1<<20)
	for b.Loop() {
		if len(forks) == cap(forks) {
			forks = forks[:0]
		}
		forks = append(forks, g)
	}
}

func BenchmarkDigestAfterOneChange(b *testing.B) {
	g := big(b, 100_000)
	g.Digest()
	w := warp.Rewrite{Ops: []warp.Op{warp.AddNode(fact(b, "new", 1))}}
	for b.Loop() {
		next, err := g.Apply(w)
		require.NoError(b, err)
		next.Digest()
	}
}

func BenchmarkMatchTwoAtoms(b *testing.B) {
	g := big(b, 100_000)
	for i := range 10 {
		g = apply(b, g, warp.AddNode(fact(b, "wanted", i)))
	}
	r := warp.Rule{Match: []warp.NodePattern{warp.FactPattern("holds", warp.Var("x"), warp.Var("y")), warp.FactPattern("wanted", warp.Var("x"))}}
	n := 0
	for b.Loop() {
		n = 0
		for range r.Matches(g, nil) {
			n++
		}
	}
	b.ReportMetric(float64(n), "matches")
}

// BenchmarkDirty walks from one changed artifact to all steps that it dirties.
func BenchmarkDirty(b *testing.B) {
	g := big(b, 300_000)
	r := warp.Rule{Match: []warp.NodePattern{{Var: "a", Kind: "artifact", Data: warp.Map(map[string]warp.Term{"path": warp.Const("src/file70")})}}}
	steps := 0
	for b.Loop() {
		seen := map[warp.NodeID]bool{}
		var queue []warp.NodeID
		for m := range r.Matches(g, nil) {
			id, _ := m.Node("a")
			queue = append(queue, id)
		}
		for len(queue) > 0 && len(seen) < 1000 {
			a := queue[0]
			queue = queue[1:]
			for _, read := range g.In(a, "read") {
				if seen[read.From] {
					continue
				}
				seen[read.From] = true
				for _, made := range g.In(read.From, "produced") {
					queue = append(queue, made.From)
				}
			}
		}
		steps = len(seen)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(steps), "µs/step")
	b.ReportMetric(float64(steps), "steps")
}

func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		g := big(b, 100_000)
		g.Digest()
		runtime.GC()
		runtime.ReadMemStats(&after)
		nodes, edges := g.Len()
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(nodes+edges), "B/record")
		runtime.KeepAlive(g)
	}
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		big(b, 100_000)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	g := big(b, 100_000)
	bytes := g.Append(nil)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			g.Append(nil)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(bytes)))
		for b.Loop() {
			_, err := warp.DecodeGraph(bytes)
			require.NoError(b, err)
		}
	})
}
