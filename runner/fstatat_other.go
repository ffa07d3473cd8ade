//go:build !linux

package runner

import (
	"errors"

	"golang.org/x/sys/unix"
)

// fstatat stats a path that ends in a NUL.
func fstatat(dir int, path *byte, st *unix.Stat_t, flags int) unix.Errno {
	var errno unix.Errno
	if err := unix.Fstatat(dir, unix.BytePtrToString(path), st, flags); errors.As(err, &errno) {
		return errno
	}
	return 0
}
