package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slotName is argv[0] of a slot.
const slotName = "jitos-slot"

// Pool holds the slots of one run. Every slot is used by one goroutine at a time; different slots at once.
type Pool struct {
	opts  Options
	home  string
	slots [][2]*proc // without and with the host's network; nil until first used
}

// proc is the runner's side of a running slot.
type proc struct {
	cmd  *exec.Cmd
	sock int
	wait *waiter  // for sock, and a command's output
	diag *os.File // what the slot's process says when it crashes
}

// New checks the options. It starts nothing: slots start on first use.
func New(o Options) (*Pool, error) {
	if o.Slots < 1 {
		return nil, fmt.Errorf("sandbox: %d slots", o.Slots)
	}
	if o.Mode != Namespaces && o.Mode != Plain {
		return nil, fmt.Errorf("sandbox: unknown mode %d", o.Mode)
	}
	if o.Mode == Namespaces && (!filepath.IsAbs(o.Workspace) || filepath.Clean(o.Workspace) == "/") {
		return nil, fmt.Errorf("sandbox: the workspace %q is not an absolute path below /", o.Workspace)
	}
	for _, p := range append(append([]string{}, o.Hide...), o.Writable...) {
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("sandbox: %q is not absolute", p)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		home = "" // nothing more to mask than the usual places
	}
	return &Pool{opts: o, home: home, slots: make([][2]*proc, o.Slots)}, nil
}

// Probe says why slots of o.Mode do not work here; nil if they do. It makes one and has it mount an overlay over the
// workspace. Only room is written to, a directory that need not be in the workspace; nothing is left there.
func Probe(o Options, room string) error {
	dir, err := os.MkdirTemp(room, "dead-probe-") // if we die here in a space, a sweep finds it
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return errors.Join(probe(o, dir), Clean(dir))
}

func probe(o Options, dir string) error {
	o.Slots, o.Hide = 1, nil
	c := Command{Argv: []string{"/"}, Dir: "/", Unmount: true} // nothing that can be executed
	if o.Mode == Namespaces {
		c.Overlay = &Overlay{Lower: []string{o.Workspace}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
		for _, d := range []string{c.Overlay.Upper, c.Overlay.Work} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return fmt.Errorf("sandbox: %w", err)
			}
		}
	}
	p, err := New(o)
	if err != nil {
		return err
	}
	s, err := p.start(false)
	if err != nil {
		return err
	}
	if _, err = s.run(nil, &c); err != nil {
		return s.broken(err)
	}
	return s.stop()
}

func (p *Pool) start(net bool) (*proc, error) {
	s := setup{mode: int64(p.opts.Mode), net: net, workspace: p.opts.Workspace, home: p.home, hide: p.opts.Hide, writable: p.opts.Writable}
	attr := &syscall.SysProcAttr{Setsid: true}
	if p.opts.Mode == Plain {
		var err error
		if s.temp, err = os.MkdirTemp("", "jitos-slot-"); err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
	} else if err := namespaces(attr, net); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("sandbox: socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "slot")
	defer theirs.Close()
	pr := &proc{sock: pair[0]}
	if err := pr.launch(attr, theirs); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: start of a slot: %w", err), pr.stop(), os.RemoveAll(s.temp))
	}
	err = send(pr.sock, frameSetup, &s)
	var a answer
	if err == nil {
		err = pr.answer(&a)
	}
	if err != nil {
		return nil, pr.broken(err)
	}
	return pr, nil
}

func (s *proc) launch(attr *syscall.SysProcAttr, sock *os.File) error {
	fd, err := unix.MemfdCreate("slot", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	s.diag = os.NewFile(uintptr(fd), "diagnosis")
	if s.wait, err = newWaiter(); err != nil {
		return err
	}
	if err := s.wait.add(s.sock); err != nil {
		return err
	}
	// an empty environment: a command may be able to read that of PID 1
	s.cmd = &exec.Cmd{Path: "/proc/self/exe", Args: []string{slotName}, Env: []string{}, Dir: "/", Stderr: s.diag, ExtraFiles: []*os.File{sock}, SysProcAttr: attr}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := timerSlack(slotSlack); err != nil { // the slot inherits it
		return err
	}
	defer timerSlack(0) // as it was; it cannot fail
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	return nil
}

// How late a timer may be. The monitor thread of Go's runtime asks for 20 µs again and again whenever something goes on;
// in a slot, that waits for its command most of the time, it would take the processor away from the command each time.
const (
	slotSlack    = 5 * time.Millisecond
	commandSlack = 50 * time.Microsecond // what every process has
)

// timerSlack sets it for the calling thread and what that starts; 0 is what the thread began with.
func timerSlack(d time.Duration) error {
	return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0)
}

// namespaces asks for a slot's namespaces. Identities are mapped to themselves, so a command sees its usual ones:
// all there are for root, the user's own else.
func namespaces(attr *syscall.SysProcAttr, net bool) error {
	attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if !net {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		attr.AmbientCaps = append(attr.AmbientCaps, c) // else exec drops them for any uid but 0
	}
	if os.Geteuid() != 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		return nil
	}
	attr.GidMappingsEnableSetgroups = true
	var err error
	if attr.UidMappings, err = identity("/proc/self/uid_map"); err != nil {
		return err
	}
	attr.GidMappings, err = identity("/proc/self/gid_map")
	return err
}

func identity(file string) ([]syscall.SysProcIDMap, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []syscall.SysProcIDMap
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("%s: %q", file, line)
		}
		from, err1 := strconv.Atoi(f[0])
		size, err2 := strconv.Atoi(f[2])
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		out = append(out, syscall.SysProcIDMap{ContainerID: from, HostID: from, Size: size})
	}
	return out, nil
}

// answer reads the slot's next answer; errRetired if it has ended instead.
func (s *proc) answer(a *answer) error {
	kind, body, fds, err := receive(s.sock)
	for _, fd := range fds {
		unix.Close(fd)
	}
	switch {
	case err != nil:
		return err
	case kind == frameRetire:
		return errRetired
	case kind != frameAnswer:
		return fmt.Errorf("unexpected frame %q", kind)
	}
	if err := read(body, a); err != nil {
		return err
	}
	if a.failed != "" {
		return errors.New(a.failed)
	}
	return nil
}

// errRetired: the slot could not be cleaned after the command before, and has not looked at this one.
var errRetired = errors.New("retired")

// broken ends the slot and adds what its process had to say.
func (s *proc) broken(err error) error {
	var said []byte
	if s.cmd != nil {
		s.cmd.Process.Kill() // an error means it has ended
	}
	end := s.end()
	if s.diag != nil {
		said = make([]byte, 4096)
		n, _ := s.diag.ReadAt(said, 0) // io.EOF
		said = said[:n]
		s.diag.Close()
	}
	if len(said) > 0 {
		err = fmt.Errorf("%w\n%s", err, said)
	}
	if errors.Is(err, errGone) && end != nil {
		err = fmt.Errorf("%w: %w", err, end)
	}
	return fmt.Errorf("%w: %w", ErrSlot, err)
}

// stop ends an idle slot; nothing of it is left when stop returns.
func (s *proc) stop() error {
	err := s.end()
	if s.diag != nil {
		s.diag.Close()
	}
	return err
}

func (s *proc) end() error {
	unix.Close(s.sock) // PID 1 exits when its socket ends, and with it everything in the slot
	if s.wait != nil {
		s.wait.close()
	}
	if s.cmd == nil {
		return nil
	}
	t := time.AfterFunc(defaultGrace, func() { s.cmd.Process.Kill() })
	defer t.Stop()
	return s.cmd.Wait()
}

// Run runs c in a slot (0 … Slots-1), starting it if need be, and returns when nothing of the command is left. A
// cancelled ctx ends the command as Timeout does; that is not an error, the caller knows. An error means that the
// sandbox, not the command, failed (ErrSlot if that cost the slot), or is what c.Output returned.
func (p *Pool) Run(ctx context.Context, slot int, c Command) (Result, error) {
	if slot < 0 || slot >= len(p.slots) {
		return Result{}, fmt.Errorf("sandbox: no slot %d", slot)
	}
	if err := p.check(&c); err != nil {
		return Result{}, err
	}
	which := 0
	if c.Network && p.opts.Mode == Namespaces {
		which = 1
	}
	place := &p.slots[slot][which]
	for {
		if *place == nil {
			s, err := p.start(which == 1)
			if err != nil {
				return Result{}, err
			}
			*place = s
		}
		res, err := (*place).run(ctx, &c)
		if errors.Is(err, errRetired) {
			err = (*place).stop()
			*place = nil
			if err == nil {
				continue
			}
		}
		if err != nil && !errors.As(err, new(*outputError)) {
			if *place != nil {
				err = (*place).broken(err)
				*place = nil
			}
		}
		return res, err
	}
}

func (p *Pool) check(c *Command) error {
	switch {
	case len(c.Argv) == 0 || c.Argv[0] == "":
		return errors.New("sandbox: no command")
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("sandbox: the directory %q is not absolute", c.Dir)
	case p.opts.Mode == Plain && c.Overlay != nil:
		return errors.New("sandbox: a plain slot has no overlay")
	}
	for _, b := range c.Binds {
		if !filepath.IsAbs(b.From) || !filepath.IsAbs(b.To) {
			return fmt.Errorf("sandbox: bind of %q at %q: not absolute", b.From, b.To)
		}
		if p.opts.Mode == Plain && b.From != b.To {
			return fmt.Errorf("sandbox: bind of %q at %q: a plain slot shows files where they are", b.From, b.To)
		}
	}
	for _, s := range append(append([]string{c.Dir}, c.Argv...), c.Env...) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("sandbox: %q contains a zero byte", s)
		}
	}
	return nil
}

// outputError is what Command.Output returned.
type outputError struct{ err error }

func (e *outputError) Error() string { return "sandbox: output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// run runs one command. ctx may be nil: it cannot be cancelled.
func (s *proc) run(ctx context.Context, c *Command) (Result, error) {
	start := time.Now()
	w := watch{s: s, c: c}
	to := []io.Writer{c.Output}
	if c.Stdout != nil {
		to = []io.Writer{both{c.Output, c.Stdout}, c.Output}
	}
	var ends []int
	var err error
	for _, o := range to {
		var pipe [2]int
		// a new pipe per command: its flags and size stay with it
		if err = unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			err = fmt.Errorf("pipe: %w", err)
			break
		}
		defer unix.Close(pipe[0])
		w.pipes, ends = append(w.pipes, outPipe{pipe[0], o}), append(ends, pipe[1])
	}
	if err == nil {
		err = send(s.sock, frameRun, c, ends...)
	}
	for _, fd := range ends {
		unix.Close(fd)
	}
	if len(w.pipes) < len(to) {
		return Result{}, err
	}
	if err != nil {
		if errors.Is(s.answer(&answer{}), errRetired) {
			return Result{}, errRetired
		}
		return Result{}, err
	}
	a, err := w.until(ctx)
	res := Result{TimedOut: w.timedOut, Wall: time.Since(start)}
	if err != nil {
		return res, err
	}
	res.Left, res.MaxRSS, res.NotFound = int(a.left), a.maxRSS, a.notFound
	switch st := syscall.WaitStatus(a.status); {
	case a.notFound:
		res.Exit = 127
	case a.noExec:
		res.Exit = 126
	case st.Signaled():
		res.Signal, res.Exit = int(st.Signal()), 128+int(st.Signal())
	default:
		res.Exit = st.ExitStatus()
	}
	if w.outErr != nil {
		return res, &outputError{w.outErr}
	}
	return res, nil
}

// watch follows one running command: its output, its time, its end.
type watch struct {
	s        *proc
	c        *Command
	pipes    []outPipe
	outErr   error
	timedOut bool
	termed   bool
	killed   bool
}

// outPipe is what a command writes to, and who gets it.
type outPipe struct {
	fd int
	to io.Writer // nil: nobody
}

// both writes to two; either may be nil.
type both [2]io.Writer

func (b both) Write(p []byte) (int, error) {
	for _, w := range b {
		if w != nil {
			if _, err := w.Write(p); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// until returns the slot's answer. A command may close its output and live on, and its output may stay open after
// it has ended (a descriptor on its way through a socket): so both are awaited, the answer decides.
func (w *watch) until(ctx context.Context) (a answer, err error) {
	s := w.s
	for _, p := range w.pipes {
		if err := s.wait.add(p.fd); err != nil {
			return a, err
		}
	}
	deadline := time.Time{}
	if w.c.Timeout > 0 {
		deadline = time.Now().Add(w.c.Timeout)
	}
	if err := s.wait.until(deadline); err != nil {
		return a, err
	}
	if ctx != nil {
		defer s.wakeOn(ctx)()
	}
	buf := make([]byte, 32<<10)
	var ready []int
	for {
		ready, err = s.wait.wait(ready)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.timedOut = w.timedOut || !w.termed && (ctx == nil || ctx.Err() == nil)
			err = w.stop()
		}
		if err != nil {
			return a, err
		}
		had := false
		for _, p := range w.pipes { // first the output that is there
			if !slices.Contains(ready, p.fd) {
				continue
			}
			had = true
			if !w.copy(p, buf) {
				err = s.wait.drop(p.fd)
			} else if w.outErr != nil && !w.termed {
				err = w.stop()
			}
			if err != nil {
				return a, err
			}
		}
		if had {
			continue
		}
		if slices.Contains(ready, s.sock) {
			if err := s.answer(&a); err != nil {
				return a, err
			}
			return a, w.rest(buf)
		}
	}
}

// wakeOn ends a wait when ctx is cancelled, until the function that it returns is called.
func (s *proc) wakeOn(ctx context.Context) (stop func()) {
	fired := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(fired)
		s.wait.until(time.Unix(1, 0)) // cannot fail: it is open until stop was called
	})
	return func() {
		if !cancel() {
			<-fired
		}
	}
}

// stop takes the next step towards the command's end and says when to take the one after it.
func (w *watch) stop() error {
	grace := w.c.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	kind := byte(frameTerm)
	switch {
	case w.killed:
		return errors.New("the slot does not end its command")
	case w.termed:
		kind, grace, w.killed = frameKill, 4*defaultGrace, true
	}
	w.termed = true
	if err := w.s.wait.until(time.Now().Add(grace)); err != nil {
		return err
	}
	if err := send(w.s.sock, kind, nil); err != nil && !errors.Is(err, unix.EPIPE) {
		return err
	}
	return nil // EPIPE: the slot is gone, reading its answer says so
}

// copy passes on one piece of output and reports whether more may come.
func (w *watch) copy(p outPipe, buf []byte) bool {
	n, err := unix.Read(p.fd, buf)
	if err == unix.EINTR {
		return true
	}
	if n > 0 && p.to != nil && w.outErr == nil {
		_, w.outErr = p.to.Write(buf[:n])
	}
	return n > 0
}

// rest passes on what is still in the pipes, all writers being dead.
func (w *watch) rest(buf []byte) error {
	for _, p := range w.pipes {
		if err := unix.SetNonblock(p.fd, true); err != nil {
			return err
		}
		for w.copy(p, buf) {
		}
	}
	return nil
}

// Close ends all slots and returns when they are gone. No Run may be under way.
func (p *Pool) Close() error {
	var errs []error
	for i := range p.slots {
		for j, s := range p.slots[i] {
			if s != nil {
				errs = append(errs, s.stop())
				p.slots[i][j] = nil
			}
		}
	}
	return errors.Join(errs...)
}
