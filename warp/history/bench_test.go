package history_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/history"
	"github.com/stretchr/testify/require"
)

// sample is an event that takes 200 bytes, beside its part of a frame's header.
func sample() history.Event {
	return history.Event{Kind: history.Observation, At: 1_800_000_000_000_000_000, Digest: warp.Hash{1}, Data: append([]byte{0x58, 127}, make([]byte, 127)...)}
}

func BenchmarkAppendMillion(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		l := open(b, dir, 0)
		e := sample()
		for range 1_000_000 {
			if _, err := l.Append(e); err != nil { // require would be a fifth of the time
				b.Fatal(err)
			}
		}
		require.NoError(b, l.Commit())
		b.StopTimer()
		require.NoError(b, os.RemoveAll(dir))
		b.StartTimer()
	}
	b.SetBytes(200e6)
}

// BenchmarkPlainWrite is the machine's limit for BenchmarkAppendMillion.
func BenchmarkPlainWrite(b *testing.B) {
	buf := make([]byte, 256<<10)
	for b.Loop() {
		dir := b.TempDir()
		f, err := os.Create(filepath.Join(dir, "plain"))
		require.NoError(b, err)
		for n := 0; n < 200e6; n += len(buf) {
			_, err := f.Write(buf)
			require.NoError(b, err)
		}
		require.NoError(b, f.Sync())
		require.NoError(b, f.Close())
		b.StopTimer()
		require.NoError(b, os.RemoveAll(dir))
		b.StartTimer()
	}
	b.SetBytes(200e6)
}

func BenchmarkDurableAppend(b *testing.B) {
	b.Run("history", func(b *testing.B) {
		l := open(b, b.TempDir(), 0)
		for b.Loop() {
			_, err := l.Append(sample())
			require.NoError(b, err)
			require.NoError(b, l.Commit())
		}
		require.NoError(b, l.Close())
	})
	b.Run("plain", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
		require.NoError(b, err)
		buf := make([]byte, 200)
		for b.Loop() {
			_, err := f.Write(buf)
			require.NoError(b, err)
			require.NoError(b, fdatasync(f))
		}
		require.NoError(b, f.Close())
	})
}

func BenchmarkOpenMillion(b *testing.B) {
	dir := b.TempDir()
	l := open(b, dir, 0)
	g := write(b, l, warp.Graph{}, 30_000)
	for range 970_000 {
		_, err := l.Append(sample())
		require.NoError(b, err)
	}
	require.NoError(b, l.Checkpoint(g))
	require.NoError(b, l.Close())
	for b.Loop() {
		l := open(b, dir, 0)
		again, err := l.System()
		require.NoError(b, err)
		require.NoError(b, l.Close())
		n, _ := again.Len()
		require.Equal(b, 10_000, n)
	}
}

// BenchmarkColdRun is what a run of steps asks of graph and history together: per step one rewrite of four nodes and
// four edges with its digest, and four events.
func BenchmarkColdRun(b *testing.B) {
	for _, steps := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(steps), func(b *testing.B) {
			for b.Loop() {
				l := open(b, b.TempDir(), 0)
				g := warp.Graph{}
				for i := range steps {
					g = runStep(b, l, g, i)
				}
				require.NoError(b, l.Commit())
				require.NoError(b, l.Close())
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*steps), "µs/step")
		})
	}
}

func runStep(b *testing.B, l *history.Log, g warp.Graph, i int) warp.Graph {
	node := func(kind string, data map[string]any) warp.Node {
		n, err := warp.NewNode(kind, data)
		require.NoError(b, err)
		return n
	}
	s := node("step", map[string]any{"run": 1, "id": fmt.Sprint("step", i), "key": make([]byte, 32)})
	in := node("artifact", map[string]any{"path": fmt.Sprint("in", i), "digest": make([]byte, 32), "mode": 0o644, "type": "file"})
	out := node("artifact", map[string]any{"path": fmt.Sprint("out", i), "digest": make([]byte, 32), "mode": 0o644, "type": "file"})
	task := node("task", map[string]any{"name": fmt.Sprint("task", i)})
	w := warp.Rewrite{Ops: []warp.Op{warp.AddNode(s), warp.AddNode(in), warp.AddNode(out), warp.AddNode(task),
		warp.AddEdge(warp.Edge{Kind: "read", From: s.ID(), To: in.ID()}),
		warp.AddEdge(warp.Edge{Kind: "produced", From: out.ID(), To: s.ID()}),
		warp.AddEdge(warp.Edge{Kind: "decomposes", From: task.ID(), To: s.ID()}),
		warp.AddEdge(warp.Edge{Kind: "in", From: s.ID(), To: task.ID()})}}
	g, err := g.Apply(w)
	require.NoError(b, err)
	for _, e := range []history.Event{
		{Kind: history.WorkerInvocation, View: history.SWS(0), Data: data(b, map[string]any{"step": i, "key": make([]byte, 32)})},
		{Kind: history.WorkerResult, View: history.SWS(0), Data: data(b, map[string]any{"step": i, "exit": 0, "out": make([]byte, 32)})},
		{Kind: history.RewriteApplied, Digest: g.Digest(), Data: data(b, map[string]any{"ops": w.Encode()})},
		{Kind: history.Tick, Digest: g.Digest(), Data: data(b, map[string]any{"n": i})},
	} {
		_, err := l.Append(e)
		require.NoError(b, err)
	}
	return g
}
