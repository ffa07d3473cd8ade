package sandbox

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// spawner is one thread that has given up for good what no command may have, and forks all commands. What it
// gave up is inherited, so it costs a command nothing.
type spawner struct {
	jobs  chan job
	done  chan child
	mover *mover // nil: directories of lower layers cannot be renamed
}

type job struct {
	path      string
	argv, env []string
	dir       string
	in        int
	out, err  int
}

type child struct {
	pid, pidfd int
	err        error
}

// limits is what the thread keeps.
type limits struct {
	root  string // chroot into this; "" for none
	rules []writeRule
}

func newSpawner(l limits) (*spawner, error) {
	s := &spawner{jobs: make(chan job), done: make(chan child)}
	ready := make(chan error)
	listener := -1
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		var err error
		listener, err = l.apply()
		ready <- err
		if err != nil {
			return
		}
		for j := range s.jobs {
			s.done <- j.fork(l.root)
		}
	}()
	err := <-ready
	if err == nil && listener >= 0 {
		s.mover, err = newMover(listener, l)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *spawner) start(j job) child {
	s.jobs <- j
	return <-s.done
}

func (s *spawner) close() { close(s.jobs) }

// apply restricts the calling thread, and only it. listener is where its commands' renames are asked about, or -1.
func (l limits) apply() (listener int, err error) {
	if err := timerSlack(commandSlack); err != nil {
		return -1, fmt.Errorf("timer slack: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("no_new_privs: %w", err)
	}
	if err := landlock(l.rules); err != nil {
		return -1, err
	}
	if l.root != "" {
		if err := dropCaps(); err != nil {
			return -1, err
		}
	}
	return seccomp(l.root != "")
}

// dropCaps keeps what chroot needs in this thread, and makes exec drop that too, also for uid 0: nothing is
// inheritable, ambient or in the bounding set.
func dropCaps() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	for c := uintptr(0); ; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL && c > 0 {
			break // one more than the kernel has
		} else if err != nil {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	var sets [2]unix.CapUserData
	sets[0].Permitted, sets[0].Effective = 1<<unix.CAP_SYS_CHROOT, 1<<unix.CAP_SYS_CHROOT
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

func (j job) fork(root string) child {
	c := child{pidfd: -1}
	attr := &syscall.ProcAttr{Dir: j.dir, Env: j.env, Files: []uintptr{uintptr(j.in), uintptr(j.out), uintptr(j.err)},
		Sys: &syscall.SysProcAttr{Setsid: true, Chroot: root, PidFD: &c.pidfd}}
	if root == "" {
		attr.Sys.Pdeathsig = unix.SIGKILL // a plain slot that is killed takes the command with it
	}
	c.pid, c.err = syscall.ForkExec(j.path, j.argv, attr)
	return c
}
