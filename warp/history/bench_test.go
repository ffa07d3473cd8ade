package history_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/history"
	"github.com/stretchr/testify/require"
)

// sample is an event whose record takes 200 bytes.
func sample() history.Event {
	return history.Event{Kind: history.Observation, At: 1_800_000_000_000_000_000, Digest: warp.Hash{1}, Data: append([]byte{0x58, 83}, make([]byte, 83)...)}
}

func BenchmarkAppendMillion(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		l := open(b, dir, 0)
		for range 1_000_000 {
			_, err := l.Append(sample())
			require.NoError(b, err)
		}
		require.NoError(b, l.Flush())
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
