package history_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/history"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite testdata")

// goldenHistory makes the history that testdata keeps.
func goldenHistory(t *testing.T, dir string) {
	l := open(t, dir, 1500)
	g := write(t, l, warp.Graph{}, 10)
	require.NoError(t, l.Commit())
	g = write(t, l, g, 20)
	require.NoError(t, l.Checkpoint(g))
	require.NoError(t, l.Close())
}

// TestGoldenHistory reads a history of the first version, which every version must be able to, and writes the same.
func TestGoldenHistory(t *testing.T) {
	const golden = "testdata/v1"
	if *update {
		require.NoError(t, os.RemoveAll(golden))
		goldenHistory(t, golden)
	}
	dir := t.TempDir()
	goldenHistory(t, dir)
	entries, err := os.ReadDir(golden)
	require.NoError(t, err)
	require.Len(t, entries, 4) // two segments, head, checkpoint
	for _, e := range entries {
		want, err := os.ReadFile(filepath.Join(golden, e.Name()))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.Equal(t, want, got, e.Name())
	}
	require.Len(t, read(t, golden, 0), 30)
	r, err := history.OpenReader(golden)
	require.NoError(t, err)
	n, err := r.Verify()
	require.NoError(t, err)
	require.EqualValues(t, 30, n)
}

// TestWhatIsDerivedCanBeDeleted deletes head and checkpoint and expects the same answers.
func TestWhatIsDerivedCanBeDeleted(t *testing.T) {
	dir := t.TempDir()
	goldenHistory(t, dir)
	r, err := history.OpenReader(dir)
	require.NoError(t, err)
	answers := func() []any {
		n, chain, err := r.Head()
		require.NoError(t, err)
		g, err := r.System()
		require.NoError(t, err)
		return []any{n, chain, g.Digest(), len(read(t, dir, 0))}
	}
	want := answers()
	for _, name := range []string{"head", "checkpoint"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
		require.Equal(t, want, answers(), name)
	}
	l := open(t, dir, 1500)
	require.Nil(t, l.Torn())
	g, err := l.System()
	require.NoError(t, err)
	require.Equal(t, want[2], g.Digest())
	require.NoError(t, l.Close())

	// A checkpoint that is damaged, or of another history, does not count.
	other := t.TempDir()
	l = open(t, other, 0)
	_, err = l.Append(history.Event{Kind: history.Intent})
	require.NoError(t, err)
	g = write(t, l, warp.Graph{}, 7)
	require.Error(t, l.Checkpoint(warp.Graph{}), "that is not the System")
	require.NoError(t, l.Checkpoint(g))
	require.NoError(t, l.Close())
	b, err := os.ReadFile(filepath.Join(other, "checkpoint"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "checkpoint"), b, 0o644))
	require.Equal(t, want, answers())
	goldenHistory(t, filepath.Join(other, "again"))
	b, err = os.ReadFile(filepath.Join(other, "again", "checkpoint"))
	require.NoError(t, err)
	b[len(b)-1] ^= 1
	require.NoError(t, os.WriteFile(filepath.Join(dir, "checkpoint"), b, 0o644))
	require.Equal(t, want, answers())
}

// TestAWrongDigestIsNoticed records a rewrite with a digest that is not what it leads to.
func TestAWrongDigestIsNoticed(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	fact, err := warp.Fact("p", 1)
	require.NoError(t, err)
	ops := warp.Rewrite{Ops: []warp.Op{warp.AddNode(fact)}}.Encode()
	_, err = l.Append(history.Event{Kind: history.RewriteApplied, Digest: warp.Hash{1}, Data: data(t, map[string]any{"ops": ops})})
	require.NoError(t, err)
	var mismatch *history.MismatchError
	_, err = l.System()
	require.ErrorAs(t, err, &mismatch)
	require.NoError(t, l.Close())
	r, err := history.OpenReader(dir)
	require.NoError(t, err)
	_, err = r.Verify()
	require.ErrorAs(t, err, &mismatch)
	require.Zero(t, mismatch.Idx)
}
