package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Main turns the process into a slot when argv[0] says so, and then never returns; else it reports false at once.
// Call it first thing in main and TestMain of every program that uses a Pool.
func Main() (handled bool) {
	if len(os.Args) == 0 || os.Args[0] != slotName {
		return false
	}
	runtime.GOMAXPROCS(1) // one thing at a time: a second processor only looks for work
	if err := serve(3); err != nil {
		fmt.Fprintln(os.Stderr, err) // a file that the runner reads
		syscall.Exit(1)
	}
	syscall.Exit(0) // at once: the runner waits for it (os.Exit lets the race detector linger for a second)
	return true
}

// slot is PID 1's side.
type slot struct {
	setup
	sock  int
	wake  *waiter // for sock, and a command's end
	null  int
	tree  *tree // nil when plain
	spawn *spawner
	clean []cleaner
	grave int // the last command's overlay, still mounted aside; -1 none

	writes  []string // binds that some command was allowed to write
	queues  int      // the file system of message queues, or -1
	lastPID int      // /proc/sys/kernel/ns_last_pid, or -1
}

func serve(sock int) error {
	// No command inherits what we have, be it ours or left open by whoever started the runner.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	// The runtime's handlers must not end PID 1 when a command signals it. Ignored signals would stay so in commands.
	var all []os.Signal
	for n := syscall.Signal(1); n < 65; n++ {
		if n != unix.SIGCHLD && n != unix.SIGURG && n != unix.SIGKILL && n != unix.SIGSTOP {
			all = append(all, n)
		}
	}
	signal.Notify(make(chan os.Signal, 1), all...)
	// When memory runs out it is a command that goes, not the runner. Before the next call, or the file is root's; some
	// containers have /proc read-only, and it is only a preference.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	// Else commands read its memory and descriptors, and everything else by them.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
	}
	unix.Umask(0o022)
	s := &slot{sock: sock, grave: -1}
	kind, body, _, err := receive(sock)
	if err != nil || kind != frameSetup {
		return fmt.Errorf("setup: frame %q: %w", kind, err)
	}
	if err := read(body, &s.setup); err != nil {
		return err
	}
	var a answer
	if err := s.make(); err != nil {
		a.failed = err.Error()
	}
	if err := send(sock, frameAnswer, &a); err != nil || a.failed != "" {
		return err
	}
	return s.loop()
}

func (s *slot) make() (err error) {
	if s.null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("/dev/null: %w", err)
	}
	if s.wake, err = newWaiter(); err != nil {
		return err
	}
	if err := s.wake.add(s.sock); err != nil {
		return err
	}
	if s.mode == int64(Plain) {
		return s.makePlain()
	}
	return s.makeNamespaces()
}

// loop serves requests until the runner closes its end.
func (s *slot) loop() error {
	for {
		if err := s.idle(); err != nil {
			return err
		}
		kind, body, outs, err := receive(s.sock)
		if errors.Is(err, errGone) {
			return s.finish()
		}
		if err != nil {
			return err
		}
		if kind != frameRun {
			continue // meant for a command that ended meanwhile
		}
		var c Command
		if err := read(body, &c); err != nil {
			return err
		}
		a, err := s.run(&c, outs)
		if err != nil {
			a.failed = err.Error()
		}
		if err := send(s.sock, frameAnswer, &a); err != nil || a.failed != "" {
			return errors.Join(err, s.finish())
		}
		if err := s.cleanUp(); err != nil {
			return errors.Join(send(s.sock, frameRetire, nil), s.finish())
		}
	}
}

// idle waits for the runner. If that takes a moment the last overlay goes too.
func (s *slot) idle() error {
	limit := time.Time{}
	if s.grave >= 0 {
		limit = time.Now().Add(5 * time.Millisecond)
	}
	if err := s.wake.until(limit); err != nil {
		return err
	}
	_, err := s.wake.wait(nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return s.bury()
	}
	return err
}

func (s *slot) cleanUp() error {
	for _, c := range s.clean {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

// finish leaves nothing behind that does not go with the process.
func (s *slot) finish() error {
	if s.grave >= 0 {
		return s.bury()
	}
	if s.temp != "" {
		return Clean(s.temp)
	}
	return nil
}

// run runs one command to the end of its last process. outs are where it writes: stdout and stderr, or both in one.
func (s *slot) run(c *Command, outs []int) (a answer, err error) {
	shut := func() {
		for _, fd := range outs {
			unix.Close(fd)
		}
		outs = nil
	}
	defer shut()
	if len(outs) == 0 {
		return a, errors.New("a command without an output")
	}
	env := s.environment(c.Env)
	var v *view
	if s.tree != nil {
		if v, err = s.tree.show(c, lookup(env, "PATH")); err != nil {
			return a, err
		}
	}
	path, err := s.find(c.Argv[0], lookup(env, "PATH"), c.Dir)
	var ch child
	if err == nil {
		if err := s.restrict(c); err != nil {
			return a, err
		}
		s.nextPID()
		var in int
		if in, err = s.input(c.Stdin); err != nil {
			return a, err
		}
		ch = s.spawn.start(job{path: path, argv: c.Argv, env: env, dir: c.Dir, in: in, out: outs[0], err: outs[len(outs)-1]})
		if in != s.null {
			unix.Close(in)
		}
		err = ch.err
	}
	shut()
	var started error
	switch {
	case err != nil && s.missing(c.Dir) != nil:
		started = s.missing(c.Dir)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		a.notFound = true
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ETXTBSY), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EPERM):
		a.noExec = true
	case err != nil:
		started = fmt.Errorf("start of %s: %w", c.Argv[0], err)
	default:
		if s.grave >= 0 { // unmounting waits for other processors: do it while the command runs
			started = s.bury()
		}
		started = errors.Join(started, s.wait(ch, &a))
		if s.spawn.mover != nil {
			s.spawn.mover.idle()
		}
	}
	if v != nil {
		started = errors.Join(started, s.putAway(v, c.Unmount))
	}
	return a, started
}

// input gives a descriptor from which a command reads text.
func (s *slot) input(text string) (int, error) {
	if text == "" {
		return s.null, nil
	}
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("stdin: %w", err)
	}
	for b := []byte(text); len(b) > 0 && err == nil; {
		var n int
		if n, err = unix.Write(fd, b); err == unix.EINTR {
			err = nil
		}
		b = b[max(n, 0):]
	}
	if err == nil {
		_, err = unix.Seek(fd, 0, unix.SEEK_SET)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("stdin: %w", err)
	}
	return fd, nil
}

// environment adds what every command needs and none should have to name.
func (s *slot) environment(env []string) []string {
	env = slices.Clip(env)
	add := func(k, v string) {
		if lookup(env, k) == "" {
			env = append(env, k+"="+v)
		}
	}
	if s.temp != "" {
		add("HOME", s.temp+"/home")
		add("TMPDIR", s.temp+"/tmp")
	} else {
		add("HOME", Home)
	}
	if s.tree != nil && s.tree.enclosed { // the workspace is a mount of its own here
		add("GIT_DISCOVERY_ACROSS_FILESYSTEM", "1")
	}
	for dir := range strings.SplitSeq(lookup(env, "PATH"), ":") { // rustup's proxies look in HOME otherwise
		if home, ok := strings.CutSuffix(dir, "/.cargo/bin"); ok {
			add("RUSTUP_HOME", home+"/.rustup")
		}
	}
	return env
}

func lookup(env []string, key string) string {
	for _, e := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(e, key+"="); ok {
			return v
		}
	}
	return ""
}

// find is what execvp does, in the command's root.
func (s *slot) find(name, path, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	last := error(unix.ENOENT)
	for d := range strings.SplitSeq(path, ":") {
		full := d + "/" + name
		if d == "" {
			full = dir + "/" + name
		} else if d[0] != '/' {
			full = dir + "/" + full
		}
		switch err := s.executable(full); {
		case err == nil:
			return full, nil
		case errors.Is(err, unix.EACCES):
			last = err
		}
	}
	return "", last
}

func (s *slot) executable(path string) error {
	var st unix.Stat_t
	fd, err := s.open(path, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return unix.EACCES
	}
	return nil
}

// open opens what a command would find at path, to look at it.
func (s *slot) open(path string, flags uint64) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags}
	if s.tree == nil {
		return unix.Openat2(unix.AT_FDCWD, path, how)
	}
	how.Resolve = unix.RESOLVE_IN_ROOT
	return unix.Openat2(s.tree.root, path, how)
}

func (s *slot) missing(dir string) error {
	fd, err := s.open(dir, unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("directory %s: %w", dir, err)
	}
	return unix.Close(fd)
}

// wait returns when no process of the command is left.
func (s *slot) wait(ch child, a *answer) error {
	defer unix.Close(ch.pidfd)
	if err := errors.Join(s.wake.add(ch.pidfd), s.wake.until(time.Time{})); err != nil {
		return err
	}
	var ready []int
	for {
		var err error
		if ready, err = s.wake.wait(ready); err != nil {
			return err
		}
		if slices.Contains(ready, ch.pidfd) {
			return s.reap(ch.pid, a)
		}
		kind, _, _, err := receive(s.sock)
		switch {
		case err != nil: // the runner is gone
			return errors.Join(err, s.killAll(), s.reap(ch.pid, a))
		case kind == frameTerm:
			unix.Kill(-ch.pid, unix.SIGTERM) // ESRCH: it has just ended
		case kind == frameKill:
			if err := s.killAll(); err != nil {
				return err
			}
		}
	}
}

// reap kills and collects everything. The command itself has ended, but a tracer among the others may hold its
// corpse: so nothing blocks here before all of them are dead.
func (s *slot) reap(main int, a *answer) error {
	hang, killed := unix.WNOHANG, false
	for {
		var st unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &st, hang|unix.WALL, &ru)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD: // every orphan becomes our child: nobody is left
			return nil
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		case pid == 0:
			if err := s.killAll(); err != nil {
				return err
			}
			hang, killed = 0, true
		default:
			a.maxRSS = max(a.maxRSS, ru.Maxrss<<10)
			if pid == main {
				a.status = int64(st)
			} else if killed {
				a.left++
			}
			if s.tree == nil {
				hang = unix.WNOHANG // its children are ours now, and not dead yet
			}
		}
	}
}

// nextPID makes the number of a command the same each time. Best effort: nothing but prettiness depends on it.
func (s *slot) nextPID() {
	if s.tree != nil && s.lastPID >= 0 {
		unix.Pwrite(s.lastPID, []byte(strconv.Itoa(firstPID-1)), 0)
	}
}

const firstPID = 100
