package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// makePlain prepares a slot without namespaces: descendants of a command that lose their parent become ours.
func (s *slot) makePlain() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("subreaper: %w", err)
	}
	fresh := func() error {
		for _, d := range []string{"home", "tmp"} {
			p := s.temp + "/" + d
			if err := Clean(p); err != nil {
				return err
			}
			if err := os.Mkdir(p, 0o700); err != nil {
				return err
			}
		}
		return nil
	}
	s.clean = append(s.clean, fresh)
	if err := fresh(); err != nil {
		return err
	}
	return s.restrict(&Command{})
}

// killChildren kills our children; theirs become ours when they are reaped.
func killChildren() error {
	pids, err := children()
	if err != nil {
		return err
	}
	for _, p := range pids {
		if err := unix.Kill(p, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return fmt.Errorf("kill: %w", err)
		}
	}
	return nil
}

// children lists the processes whose parent is this one.
func children() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	self := strconv.Itoa(os.Getpid())
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == self {
			out = append(out, pid)
		}
	}
	return out, nil
}
