package history_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
	"github.com/stretchr/testify/require"
)

func data(t require.TestingT, v any) []byte {
	b, err := cbor.Encode(v)
	require.NoError(t, err)
	return b
}

// write appends n events, every third of which asserts a fact, and returns the graph after them.
func write(t require.TestingT, l *history.Log, g warp.Graph, n int) warp.Graph {
	for range n {
		idx := l.Len()
		e := history.Event{Kind: history.Observation, View: history.SWS(int(idx % 4)), At: int64(idx), Data: data(t, map[string]any{"i": idx})}
		if idx%3 == 0 {
			fact, err := warp.Fact("seen", idx)
			require.NoError(t, err)
			w := warp.Rewrite{Ops: []warp.Op{warp.AddNode(fact)}}
			g, err = g.Apply(w)
			require.NoError(t, err)
			e = history.Event{Kind: history.RewriteApplied, Digest: g.Digest(), Policy: warp.Hash{1}, Data: data(t, map[string]any{"ops": w.Encode()})}
		}
		got, err := l.Append(e)
		require.NoError(t, err)
		require.Equal(t, idx, got)
	}
	return g
}

func read(t require.TestingT, dir string, from uint64) (events []history.Event) {
	r, err := history.OpenReader(dir)
	require.NoError(t, err)
	for e, err := range r.From(from) {
		require.NoError(t, err)
		require.Equal(t, from+uint64(len(events)), e.Idx)
		events = append(events, e)
	}
	return events
}

func open(t require.TestingT, dir string, size int64) *history.Log {
	l, err := history.Open(dir, history.Options{SegmentSize: size})
	require.NoError(t, err)
	return l
}

func TestWhatIsAppendedIsReadAgain(t *testing.T) {
	for _, size := range []int64{0, 500, 5000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "history")
			g := warp.Graph{}
			for round := range 5 {
				l := open(t, dir, size)
				require.Nil(t, l.Torn())
				n, _ := l.Head()
				require.EqualValues(t, 40*round, n)
				old, err := l.System()
				require.NoError(t, err)
				require.Equal(t, g.Digest(), old.Digest())
				g = write(t, l, g, 40)
				for range l.From(0) {
					break
				}
				require.Len(t, read(t, dir, 0), 40*round+40)
				if round == 2 {
					require.NoError(t, l.Checkpoint(g))
				}
				require.NoError(t, l.Close())
				_, err = l.Append(history.Event{})
				require.ErrorIs(t, err, history.ErrPoisoned)
			}
			for from := range uint64(201) {
				require.Len(t, read(t, dir, from), 200-int(from))
			}
			e := read(t, dir, 0)[5]
			require.Equal(t, history.Event{Idx: 5, Kind: history.Observation, View: history.SWS(1), At: 5, Data: data(t, map[string]any{"i": 5})}, e)
			r, err := history.OpenReader(dir)
			require.NoError(t, err)
			n, err := r.Verify()
			require.NoError(t, err)
			require.EqualValues(t, 200, n)
		})
	}
}

// TestEventsOfEverySize has frames of many events and of one, and events larger than what is buffered.
func TestEventsOfEverySize(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 4<<20)
	var want [][]byte
	for i := range 60 {
		b := bytes.Repeat([]byte{byte(i)}, []int{0, 100, 30_000, 70_000, 1_500_000, 5}[i%6])
		want = append(want, data(t, b))
		_, err := l.Append(history.Event{Kind: history.Observation, Data: want[i]})
		require.NoError(t, err)
	}
	n, chain := l.Head()
	require.EqualValues(t, 60, n)
	require.NoError(t, l.Close())
	for _, head := range []bool{true, false} {
		for from := range want {
			for i, e := range read(t, dir, uint64(from)) {
				require.Equal(t, want[from+i], e.Data)
			}
		}
		r, err := history.OpenReader(dir)
		require.NoError(t, err)
		n, again, err := r.Head()
		require.NoError(t, err)
		require.EqualValues(t, 60, n)
		require.Equal(t, chain, again)
		_, err = r.Verify()
		require.NoError(t, err)
		if head {
			require.NoError(t, os.Remove(filepath.Join(dir, "head")))
		}
	}
}

func TestNothingThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	require.Empty(t, read(t, dir, 0))
	require.NoError(t, open(t, dir, 0).Close())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	r, err := history.OpenReader(dir)
	require.NoError(t, err)
	g, err := r.System()
	require.NoError(t, err)
	require.Equal(t, warp.Graph{}, g)
	n, chain, err := r.Head()
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, chain)
}

func TestCompactionKeepsTheRestProvable(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 2000)
	g := write(t, l, warp.Graph{}, 200)
	require.NoError(t, l.Commit())
	require.NoError(t, l.Compact(100))
	g = write(t, l, g, 20)
	require.NoError(t, l.Close())
	r, err := history.OpenReader(dir)
	require.NoError(t, err)
	for _, err := range r.From(0) {
		require.ErrorIs(t, err, history.ErrCompacted)
	}
	require.Len(t, read(t, dir, 100), 120)
	n, err := r.Verify()
	require.NoError(t, err)
	require.Less(t, n, uint64(200))
	require.GreaterOrEqual(t, n, uint64(120))
	again, err := r.System()
	require.NoError(t, err)
	require.Equal(t, g.Digest(), again.Digest())
}

// TestFoldShowsEveryState compares the states of a fold with those that were recorded, also after a compaction, and
// tells of a checkpoint that is sound but wrong.
func TestFoldShowsEveryState(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 2000)
	write(t, l, warp.Graph{}, 200)
	require.NoError(t, l.Compact(100))
	require.NoError(t, l.Close())
	r, err := history.OpenReader(dir)
	require.NoError(t, err)
	first, err := r.First()
	require.NoError(t, err)
	require.Positive(t, first)
	n, rewrites := first, 0
	for s, err := range r.Fold() {
		require.NoError(t, err)
		require.Equal(t, n, s.Idx)
		if s.Kind == history.RewriteApplied && s.View == history.System {
			require.Equal(t, s.Digest, s.System.Digest())
			rewrites++
		}
		n++
	}
	require.EqualValues(t, 200, n)
	require.Positive(t, rewrites)

	l = open(t, dir, 2000)
	require.NoError(t, l.Checkpoint(warp.Graph{}))
	require.NoError(t, l.Close())
	_, err = r.Verify()
	var wrong *history.CheckpointError
	require.ErrorAs(t, err, &wrong)
	require.EqualValues(t, 200, wrong.N)
	require.NoError(t, os.Remove(filepath.Join(dir, "checkpoint")))
	_, err = r.Verify()
	require.NoError(t, err)
}
