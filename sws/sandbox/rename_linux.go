package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// In a user namespace overlayfs refuses to rename a directory that has something in a lower layer (EXDEV): its mark for
// that is a privileged one. `git mv dir` and many others do not expect it. So the kernel holds commands that rename, and
// asks us: a directory that it refuses is moved entry by entry, anything else goes on as if nothing had been.

// mover answers for commands that rename. It has two threads in the commands' root. One reads what they ask for: Landlock
// lets nobody look into a process who is not as restricted by the same act. The other has given up what they have not, and moves.
type mover struct {
	listener int
	moves    chan move
	moved    chan error
	busy     sync.Mutex // held while a tree moves; see idle
}

type move struct {
	from, to string // absolute
	flags    uint
}

// notification and response are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

func newMover(listener int, l limits) (*mover, error) {
	m := &mover{listener: listener, moves: make(chan move), moved: make(chan error)}
	err := onThread(func() error { return enter(l.root) }, m.serve)
	if err == nil {
		err = onThread(func() error { return m.restrict(l) }, func() {
			for v := range m.moves {
				m.moved <- moveTree(v.from, v.to, v.flags)
			}
		})
	}
	if err != nil {
		return nil, fmt.Errorf("renames: %w", err)
	}
	return m, nil
}

// onThread runs two functions on a thread that ends with them, the second in the background if the first succeeds.
func onThread(first func() error, then func()) error {
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: so the thread ends
		err := first()
		ready <- err
		if err == nil {
			then()
		}
	}()
	return <-ready
}

// enter moves the calling thread, and only it, into the commands' root.
func enter(root string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := errors.Join(unix.Chroot(root), unix.Chdir("/")); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return nil
}

func (m *mover) restrict(l limits) error {
	if err := landlock(l.rules); err != nil {
		return err
	}
	if err := enter(l.root); err != nil {
		return err
	}
	unix.Umask(0)
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// idle returns when no tree is being moved. Once the commands are dead none will be.
func (m *mover) idle() {
	m.busy.Lock()
	m.busy.Unlock() //nolint:staticcheck // only the waiting matters
}

// serve answers until nobody is left who could ask.
func (m *mover) serve() {
	defer unix.Close(m.listener)
	defer close(m.moves)
	for {
		var n notification
		switch _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno {
		case 0:
			m.answer(&n)
		case unix.EINTR:
		case unix.ENOENT: // who asked is dead, or all are
			p := []unix.PollFd{{Fd: int32(m.listener), Events: unix.POLLIN}}
			if unix.Poll(p, 0); p[0].Revents&unix.POLLHUP != 0 {
				return
			}
		default:
			return // closing the listener has the calls fail with ENOSYS
		}
	}
}

func (m *mover) answer(n *notification) {
	m.busy.Lock()
	defer m.busy.Unlock()
	r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if errno, done := m.rename(n); done {
		r.flags, r.errno = 0, -int32(errno)
	}
	// an error means that who asked is dead
	unix.Syscall(unix.SYS_IOCTL, uintptr(m.listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
}

// rename does what was asked for if that is to move a directory. done is false if the kernel may do it itself.
func (m *mover) rename(n *notification) (errno unix.Errno, done bool) {
	fromDir, from, toDir, to, flags := int32(n.args[0]), n.args[1], int32(n.args[2]), n.args[3], n.args[4]
	switch n.nr {
	case sysRename:
		fromDir, from, toDir, to, flags = unix.AT_FDCWD, n.args[0], unix.AT_FDCWD, n.args[1], 0
	case unix.SYS_RENAMEAT:
		flags = 0
	}
	if flags&^unix.RENAME_NOREPLACE != 0 {
		return 0, false
	}
	pid := strconv.Itoa(int(n.pid))
	source, ok := pathOf(pid, fromDir, from)
	var st unix.Stat_t
	if !ok || unix.Lstat(source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, false
	}
	target, ok := pathOf(pid, toDir, to)
	if !ok || !m.alive(n) {
		return 0, false
	}
	m.moves <- move{source, target, uint(flags)}
	errors.As(<-m.moved, &errno)
	return errno, true
}

// alive says that it is still the process that asked whose memory was read.
func (m *mover) alive(n *notification) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m.listener), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&n.id)))
	return errno == 0
}

// pathOf reads a path from the memory of a process, and makes it absolute.
func pathOf(pid string, dir int32, at uint64) (string, bool) {
	room := make([]byte, unix.PathMax)
	p, ok := text(pid, at, room)
	if !ok || p == "" {
		return "", false
	}
	if p[0] == '/' {
		return p, true
	}
	link := "/proc/" + pid + "/cwd"
	if dir != unix.AT_FDCWD {
		link = "/proc/" + pid + "/fd/" + strconv.Itoa(int(dir))
	}
	base, err := os.Readlink(link)
	if err != nil || !filepath.IsAbs(base) || len(base)+1+len(p) >= unix.PathMax {
		return "", false
	}
	return base + "/" + p, true
}

// text reads a string, not further than the page that it ends in.
func text(pid string, at uint64, room []byte) (string, bool) {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return "", false
	}
	page := uint64(os.Getpagesize())
	for got := 0; got < len(room); {
		size := min(int(page-(at+uint64(got))%page), len(room)-got)
		local := unix.Iovec{Base: &room[got]}
		local.SetLen(size)
		k, err := unix.ProcessVMReadv(n, []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(at) + uintptr(got), Len: size}}, 0)
		if err != nil || k <= 0 {
			return "", false
		}
		if end := bytes.IndexByte(room[got:got+k], 0); end >= 0 {
			return string(room[:got+end]), true
		}
		got += k
	}
	return "", false
}

// moveTree renames a directory, or else what is in it, one by one. An error is an errno; then all is as it was, as far as
// that can be.
func moveTree(from, to string, flags uint) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	var st unix.Stat_t
	if err != unix.EXDEV || unix.Lstat(from, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	err = unix.Mkdir(to, 0o700)
	if err == unix.EEXIST && flags&unix.RENAME_NOREPLACE == 0 { // an empty directory may be replaced
		if err = unix.Rmdir(to); err == nil {
			err = unix.Mkdir(to, 0o700)
		}
	}
	if err != nil {
		return err
	}
	var moved []string
	if st.Mode&0o700 != 0o700 {
		err = unix.Chmod(from, 0o700)
	}
	if err == nil {
		moved, err = moveEntries(from, to)
	}
	if err == nil {
		err = errors.Join(dressAs(from, to, &st), unix.Rmdir(from))
	}
	if err == nil {
		return nil
	}
	for i := len(moved) - 1; i >= 0; i-- {
		moveTree(to+"/"+moved[i], from+"/"+moved[i], unix.RENAME_NOREPLACE)
	}
	unix.Rmdir(to)
	unix.Chmod(from, st.Mode&0o7777)
	return err
}

func moveEntries(from, to string) (moved []string, err error) {
	d, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, n := range names {
		if err := moveTree(from+"/"+n, to+"/"+n, unix.RENAME_NOREPLACE); err != nil {
			return moved, err
		}
		moved = append(moved, n)
	}
	return moved, nil
}

// dressAs gives a directory the mode, the times and the user attributes of another.
func dressAs(from, to string, st *unix.Stat_t) error {
	var list, value [64 << 10]byte
	n, err := unix.Llistxattr(from, list[:])
	if err != nil && err != unix.EOPNOTSUPP {
		return err
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(list[:max(n, 0)], "\x00"), []byte{0}) {
		if !bytes.HasPrefix(name, []byte("user.")) {
			continue
		}
		k, err := unix.Lgetxattr(from, string(name), value[:])
		if err == nil {
			err = unix.Lsetxattr(to, string(name), value[:k], 0)
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{st.Atim, st.Mtim}, 0)
}
