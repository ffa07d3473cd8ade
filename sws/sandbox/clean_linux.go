package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cleaner takes away what a command left in one place. An error means that the slot must not be used again.
type cleaner func() error

var errLeft = errors.New("a command left something that cannot be removed")

// scratch is a place that a command may fill, and that is empty for the next one.
type scratch struct {
	path string
	fd   int         // its root
	keep []string    // names of ours
	was  unix.Stat_t // with nothing but those in it
}

func (s *scratch) record() error {
	if err := unix.Fstat(s.fd, &s.was); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	return nil
}

// clean removes what is there. A tmpfs directory has a size for every entry: with the old size it is as good as new,
// whatever came and went.
func (s *scratch) clean() error {
	var now unix.Stat_t
	if err := unix.Fstat(s.fd, &now); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if now.Ctim == s.was.Ctim && now.Size == s.was.Size && now.Mode == s.was.Mode {
		return nil
	}
	self := "/proc/self/fd/" + strconv.Itoa(s.fd)
	if now.Size != s.was.Size || now.Nlink != s.was.Nlink {
		names, err := entries(s.fd)
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		for _, n := range names {
			if !slices.Contains(s.keep, n) {
				if err := os.RemoveAll(self + "/" + n); err != nil {
					return err
				}
			}
		}
	}
	if now.Mode != s.was.Mode {
		if err := unix.Chmod(self, s.was.Mode&0o7777); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
	}
	old := s.was
	if err := s.record(); err != nil {
		return err
	}
	if n, err := unix.Listxattr(self, nil); n != 0 || err != nil || s.was.Size != old.Size || s.was.Nlink != old.Nlink || s.was.Uid != old.Uid || s.was.Gid != old.Gid {
		return fmt.Errorf("%s: %w", s.path, errors.Join(errLeft, err))
	}
	return nil
}

func entries(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "scratch")
	defer f.Close()
	return f.Readdirnames(-1)
}

// unchanged returns a cleaner that fails when the part of a file in /proc that cut selects is not what it is now.
func unchanged(path string, cut func(string) string) (cleaner, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT { // the kernel has no such thing
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	read := func() (string, error) {
		var b [256]byte
		n, err := unix.Pread(fd, b[:], 0)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		return cut(string(b[:n])), nil
	}
	was, err := read()
	return func() error {
		now, err := read()
		if err == nil && now != was {
			err = fmt.Errorf("%s: %w", path, errLeft)
		}
		return err
	}, err
}

// sockets fails for a socket that outlives its process (in flight in another socket): it keeps its name.
func sockets() (cleaner, error) {
	return unchanged("/proc/thread-self/net/sockstat", func(s string) string { first, _, _ := strings.Cut(s, "\n"); return first })
}

// ipc returns cleaners for System V IPC and message queues, and a descriptor of the file system of the latter.
func ipc() (cs []cleaner, queues int, err error) {
	for _, what := range []string{"shm", "msg", "sem"} {
		c, err := unchanged("/proc/sysvipc/"+what, func(s string) string { return s })
		if err != nil {
			return nil, -1, err
		}
		cs = append(cs, c)
	}
	queues, err = mountNew("mqueue", quiet)
	if errors.Is(err, unix.ENODEV) {
		return cs, -1, nil
	}
	if err != nil {
		return nil, -1, err
	}
	var was unix.Stat_t
	if err := unix.Fstat(queues, &was); err != nil {
		return nil, -1, fmt.Errorf("mqueue: %w", err)
	}
	return append(cs, func() error {
		var now unix.Stat_t
		if err := unix.Fstat(queues, &now); err != nil {
			return fmt.Errorf("mqueue: %w", err)
		}
		if now.Size != was.Size {
			return fmt.Errorf("mqueue: %w", errLeft)
		}
		return nil
	}), queues, nil
}
