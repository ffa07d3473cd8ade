//go:build linux

package sandbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// An attack reports nil when it has reached what it wanted. Each is written so that it does no harm where it
// succeeds, and is run outside first: there it must succeed, or it proves nothing.
type attack struct {
	do   func(target string) error
	root bool // outside it works for root only
	// may is set where the machine may refuse it outside too
	may bool
}

func attempts() map[string]attack {
	call := func(nr uintptr, a ...uintptr) error {
		var v [6]uintptr
		copy(v[:], a)
		if _, _, errno := unix.Syscall6(nr, v[0], v[1], v[2], v[3], v[4], v[5]); errno != 0 {
			return errno
		}
		return nil
	}
	pid := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			panic(err)
		}
		return n
	}
	return map[string]attack{
		"write a file outside":          {do: func(f string) error { return os.WriteFile(f+"/file", []byte("x"), 0o644) }},
		"write through a symbolic link": {do: func(f string) error { return os.WriteFile("link/file", []byte("x"), 0o644) }},
		"create outside":                {do: func(f string) error { return os.WriteFile(f+"/fresh", nil, 0o644) }},
		"hard link to outside": {do: func(f string) error {
			defer os.Remove("hard")
			return os.Link(f+"/file", "hard")
		}},
		"chmod outside": {do: func(f string) error { return os.Chmod(f+"/file", 0o600) }},
		"mount": {root: true, do: func(string) error {
			if err := os.Mkdir("mnt", 0o755); err != nil && !os.IsExist(err) {
				return err
			}
			if err := unix.Mount("none", "mnt", "tmpfs", 0, ""); err != nil {
				return err
			}
			return unix.Unmount("mnt", 0)
		}},
		"new mount API":  {root: true, do: func(string) error { fd, err := unix.Fsopen("tmpfs", 0); unix.Close(fd); return err }},
		"user namespace": {do: func(string) error { return userNamespace(unix.CLONE_NEWUSER) }},
		"mount namespace": {root: true, do: func(string) error {
			return userNamespace(unix.CLONE_NEWNS)
		}},
		"clone3": {do: func(string) error {
			if err := call(unix.SYS_CLONE3, 0, 0); err != unix.EINVAL {
				return err
			}
			return nil
		}},
		"device node":        {root: true, do: func(string) error { defer os.Remove("null"); return unix.Mknod("null", unix.S_IFCHR|0o666, 1<<8|3) }},
		"device in the tree": {root: true, do: func(f string) error { return openOnly(f+"/null", os.O_RDWR) }},
		"chroot":             {root: true, do: func(string) error { return unix.Chroot(".") }},
		"sysctl":             {root: true, do: func(string) error { return openOnly("/proc/sys/kernel/hostname", os.O_WRONLY) }},
		"sysrq":              {root: true, may: true, do: func(string) error { return openOnly("/proc/sysrq-trigger", os.O_WRONLY) }},
		"keyring":            {may: true, do: func(string) error { return call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(1), 1) }},
		"io_uring":           {may: true, do: func(string) error { var p [120]byte; return call(unix.SYS_IO_URING_SETUP, 1, addr(p[:])) }},
		"bpf": {root: true, may: true, do: func(string) error {
			var p [120]byte
			p[0], p[4], p[8], p[12] = 2, 4, 4, 1
			return call(unix.SYS_BPF, 0, addr(p[:]), 16)
		}},
		"performance counter": {root: true, may: true, do: func(string) error {
			a := unix.PerfEventAttr{Type: 1, Size: 112}
			return call(unix.SYS_PERF_EVENT_OPEN, uintptr(unsafe.Pointer(&a)), 0, ^uintptr(0), ^uintptr(0), 0)
		}},
		"userfaultfd":     {root: true, may: true, do: func(string) error { return call(unix.SYS_USERFAULTFD, 0) }},
		"the clock":       {do: func(string) error { var t unix.Timex; _, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &t); return err }},
		"host name":       {root: true, do: func(string) error { n, _ := os.Hostname(); return unix.Sethostname([]byte(n)) }},
		"signal":          {do: func(p string) error { return unix.Kill(pid(p), 0) }},
		"signal by pidfd": {do: func(p string) error { fd, err := unix.PidfdOpen(pid(p), 0); unix.Close(fd); return err }},
		"limits": {do: func(p string) error {
			var l unix.Rlimit
			return unix.Prlimit(pid(p), unix.RLIMIT_NOFILE, nil, &l)
		}},
		"environment":      {do: func(p string) error { _, err := os.ReadFile("/proc/" + p + "/environ"); return err }},
		"root of another":  {do: func(p string) error { _, err := os.ReadDir("/proc/" + p + "/root/"); return err }},
		"descriptors":      {do: func(p string) error { _, err := os.ReadDir("/proc/" + p + "/fd"); return err }},
		"memory":           {do: func(p string) error { return openOnly("/proc/"+p+"/mem", os.O_RDONLY) }},
		"abstract socket":  {do: func(f string) error { return dial("@" + f) }},
		"socket under tmp": {do: func(f string) error { return dial(f) }},
		"vsock": {may: true, do: func(string) error {
			fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
			unix.Close(fd)
			return err
		}},
		"crypto socket": {may: true, do: func(string) error {
			fd, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
			unix.Close(fd)
			return err
		}},
		"a hidden place": {do: func(f string) error { _, err := os.ReadDir(f); return err }},
		"a file by handle": {root: true, do: func(f string) error {
			h, m, err := unix.NameToHandleAt(unix.AT_FDCWD, f+"/file", 0)
			_ = m
			if err != nil {
				return err
			}
			dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				return err
			}
			fd, err := unix.OpenByHandleAt(dir, h, unix.O_RDONLY)
			unix.Close(fd)
			return err
		}},
	}
}

func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

func openOnly(name string, flags int) error {
	f, err := os.OpenFile(name, flags, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func dial(name string) error {
	c, err := net.Dial("unix", name)
	if err != nil {
		return err
	}
	return c.Close()
}

// userNamespace makes namespaces in a child.
func userNamespace(flags uintptr) error {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	return cmd.Run()
}

// attackMain is the process that attacks.
func attackMain(name string) {
	if err := attempts()[name].do(os.Getenv("SANDBOX_TARGET")); err != nil {
		fmt.Println(err)
		syscall.Exit(9)
	}
	fmt.Println("reached")
	syscall.Exit(0)
}

func TestAttacks(t *testing.T) {
	p := full(t)
	// a copy: an ordinary user may not reach the place of the original
	program, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	self := filepath.Join(t.TempDir(), "attack")
	require.NoError(t, os.WriteFile(self, program, 0o755))
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "file"), nil, 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(p.ws, "link")))
	if os.Getuid() == 0 {
		require.NoError(t, unix.Mknod(filepath.Join(outside, "null"), unix.S_IFCHR|0o666, 1<<8|3))
	}
	sock := filepath.Join(t.TempDir(), "s")
	for _, name := range []string{sock, "@" + sock} {
		l, err := net.Listen("unix", name)
		require.NoError(t, err)
		defer l.Close()
	}
	for name, a := range attempts() {
		t.Run(name, func(t *testing.T) {
			target, inside := outside, outside
			switch name {
			case "signal", "signal by pidfd", "limits", "environment", "root of another", "descriptors", "memory":
				target, inside = strconv.Itoa(os.Getpid()), "1"
			case "abstract socket", "socket under tmp":
				target, inside = sock, sock
			case "a hidden place":
				target, inside = p.store, p.store
			}
			cmd := exec.Command(self)
			cmd.Dir, cmd.Env = p.ws, []string{path, "SANDBOX_ATTACK=" + name, "SANDBOX_TARGET=" + target}
			if out, err := cmd.CombinedOutput(); !a.may && (!a.root || os.Getuid() == 0) {
				require.NoError(t, err, "the control: %s", out)
			}
			require.NoError(t, os.RemoveAll(filepath.Join(outside, "fresh")))

			c := p.command("")
			c.Argv, c.Env = []string{"/run/attack"}, []string{path, "SANDBOX_ATTACK=" + name, "SANDBOX_TARGET=" + inside}
			// what is not hidden but read-only is shown, so that it is not the mask alone that holds
			c.Binds = []sandbox.Bind{{From: self, To: "/run/attack"}, {From: outside, To: outside}}
			out, res := p.run(c)
			require.Equal(t, 9, res.Exit, out)
			require.NoFileExists(t, filepath.Join(outside, "fresh"))
		})
	}
}

// The runner's and other processes' numbers mean nothing inside, and nothing is inherited.
func TestWhatACommandIs(t *testing.T) {
	p := full(t)
	leak, err := unix.Dup(2) // a careless parent's, without CLOEXEC
	require.NoError(t, err)
	defer unix.Close(leak)
	out, res := p.sh(`grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status; ls /proc/self/fd | wc -l; ls -d /proc/[0-9]* | wc -l; ls /proc/1/root 2>&1 | wc -l; ls -A /dev | sort | tr '\n' ' '; ulimit -c; ls -A /sys /mnt | grep -v : ; id -u`)
	require.Zero(t, res.Exit, out)
	lines := strings.Split(out, "\n")
	for _, l := range lines[:5] {
		require.Contains(t, l, "0000000000000000")
	}
	require.Contains(t, out, "NoNewPrivs:\t1\nSeccomp:\t2\n")
	require.Contains(t, out, "\n4\n", "in, out, err and the directory itself")
	require.Contains(t, out, "\nfd full null random shm stderr stdin stdout tty urandom zero ")
	require.Contains(t, out, "\n"+strconv.Itoa(os.Getuid())+"\n")
}

// What a command leaves must not reach the next one. The slot may have to be given up for that: nobody notices.
func TestNoStateCrosses(t *testing.T) {
	p := full(t)
	tests := map[string][2]string{
		"System V shared memory": {"ipcmk -M 4096 >/dev/null", "ipcs -m | grep -c 0x || true"},
		"a listening port":       {"true", "grep -c . /proc/net/tcp"},
		"a file in /dev/shm":     {"echo x > /dev/shm/x", "ls /dev/shm"},
		"limits of process 1":    {"prlimit --pid 1 --nofile=10 2>/dev/null; true", "prlimit --nofile --noheadings -o SOFT"},
	}
	want := map[string]string{"System V shared memory": "0\n", "a listening port": "1\n", "a file in /dev/shm": "", "limits of process 1": "4096\n"}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, res := p.sh(tt[0])
			require.Zero(t, res.Exit)
			out, _ := p.sh(tt[1])
			want := want[name]
			require.True(t, strings.HasSuffix(out, want) && (want != "" || out == ""), "%q", out)
		})
	}
}

// A runner that is killed leaves no process.
func TestAKilledRunner(t *testing.T) {
	if d := os.Getenv("SANDBOX_VICTIM"); d != "" {
		p := newPlace(t, d, func(o *sandbox.Options) { o.Mode = mode(t, os.Getenv("SANDBOX_MODE")) })
		c := p.bare("setsid sleep 98765 & echo ready; sleep 98765")
		c.Output = os.Stdout
		_, err := p.pool.Run(t.Context(), 0, c)
		require.NoError(t, err)
		return
	}
	full(t)
	for _, m := range []string{"0", "1"} {
		dir := t.TempDir()
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestAKilledRunner$")
		cmd.Env = []string{path, "TMPDIR=" + dir, "SANDBOX_VICTIM=" + dir, "SANDBOX_MODE=" + m}
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		first := make([]byte, 6)
		_, err = io.ReadFull(out, first)
		require.NoError(t, err)
		require.Equal(t, "ready\n", string(first))
		all := descendants(t, cmd.Process.Pid)
		require.GreaterOrEqual(t, len(all), 3)
		require.NoError(t, cmd.Process.Kill())
		for _, pid := range all {
			gone(t, pid)
		}
		require.Error(t, cmd.Wait())
		left, err := filepath.Glob(dir + "/jitos-slot*")
		require.NoError(t, err)
		require.Empty(t, left)
		require.NoError(t, sandbox.Clean(filepath.Join(dir, "store")))
	}
}

func mode(t *testing.T, s string) sandbox.Mode {
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return sandbox.Mode(n)
}

// gone waits for the end of a process; it hangs if it lives on.
func gone(t *testing.T, pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	require.NoError(t, err)
	defer unix.Close(fd)
	for n := 0; n == 0; {
		if n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err == unix.EINTR {
			n, err = 0, nil
		}
		require.NoError(t, err)
	}
}

func descendants(t *testing.T, of int) []int {
	out, err := exec.Command("ps", "-e", "-o", "pid=", "-o", "ppid=").Output()
	require.NoError(t, err)
	all := []int{of}
	for i := 0; i < len(all); i++ {
		for line := range bytes.Lines(out) {
			var pid, parent int
			if _, err := fmt.Sscan(string(line), &pid, &parent); err == nil && parent == all[i] {
				all = append(all, pid)
			}
		}
	}
	return all[1:]
}
