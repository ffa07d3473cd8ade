package sws

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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
