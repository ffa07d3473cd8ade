package sws

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

func TestTimesAreFineWhereKernelAndFileSystemMakeThemSo(t *testing.T) {
	for _, magic := range []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC} {
		require.True(t, multigrain("6.13.0-rc1", magic))
		require.True(t, multigrain("7.0", magic))
		require.False(t, multigrain("6.12.9-arch1", magic))
		require.False(t, multigrain("5.15.0-91-generic", magic))
		require.False(t, multigrain("strange", magic))
	}
	for _, magic := range []int64{unix.NFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, 0} {
		require.False(t, multigrain("7.0", magic))
	}
	b, err := NewBase("/proc", nil)
	require.NoError(t, err)
	defer b.Close()
	require.True(t, b.coarse, "whatever the kernel")
}

// Holes are not read, and count as the zeros that they stand for.
func TestDigestsOfFilesWithHoles(t *testing.T) {
	const piece = 128 << 10
	tests := map[string][][2]int64{ // where bytes are, and how many
		"a hole alone":               {},
		"a hole at the start":        {{3 * piece, 5}},
		"a hole at the end":          {{0, piece}},
		"holes between":              {{100, 5}, {2*piece - 3, 7}, {5 * piece, piece}},
		"zeros that are no hole":     {{0, 1}, {piece, 0}, {3*piece + 1, 1}},
		"a hole right after a piece": {{0, 2 * piece}, {4 * piece, 1}},
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			f, err := os.Create(path)
			require.NoError(t, err)
			for _, d := range data {
				_, err := f.WriteAt(bytes.Repeat([]byte{7}, int(d[1])), d[0])
				require.NoError(t, err)
			}
			require.NoError(t, f.Truncate(6*piece+9))
			require.NoError(t, f.Close())
			b, err := NewBase(dir, nil)
			require.NoError(t, err)
			defer b.Close()
			e, _, err := b.Entry("f")
			require.NoError(t, err)
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, cas.Sum(whole), e.Digest)
		})
	}
}
