package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A command is chrooted into a read-only copy of the whole tree of mounts, which hangs below PID 1's own /sys. PID 1
// keeps the machine's view (store, layers, workspace); a command cannot name any of it.
const (
	inner    = "/sys/root"
	graveDir = "/sys/old" // where the last command's overlay waits to be unmounted

	emptyFile = "/sys/empty"
)

// masked places show nothing but what is put back. The user's home is one more.
var masked = [...]string{"/dev", "/tmp", "/var/tmp", "/run", "/home", "/root", "/mnt", "/sys"}

// scratched places are empty and writable for each command.
var scratched = [...]struct{ path, mode string }{{"/tmp", "1777"}, {"/var/tmp", "1777"}, {"/dev/shm", "1777"}, {Home, "700"}}

var devices = [...]string{"null", "zero", "full", "random", "urandom", "tty"}

// tree is what a command sees.
type tree struct {
	root      int // inner
	workspace string
	home      string // the user's
	hide      []string
	masks     []mask
	scratch   []*scratch
	binds     []Bind // in force, outside the workspace
	tools     []Bind // for path, so that the next command need not look again
	path      string
	enclosed  bool // a directory above the workspace is a git work tree
}

// mask is a file system of ours at path; rw makes things in it though commands see it read-only.
type mask struct {
	path    string
	rw      int
	scratch *scratch // not nil: commands may write here
}

func (s *slot) makeNamespaces() (err error) {
	s.tree = &tree{workspace: real(s.workspace), home: real(s.home)}
	for _, h := range s.hide {
		s.tree.hide = append(s.tree.hide, real(h))
	}
	if err := s.tree.make(); err != nil {
		return err
	}
	if err := s.isolate(); err != nil {
		return err
	}
	for _, sc := range s.tree.scratch {
		s.clean = append(s.clean, sc.clean)
	}
	return s.restrict(&Command{})
}

func (t *tree) make() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	// No devices but those put into /dev: an image of another system may lie anywhere, and root's are root's.
	all, err := cloneTree(unix.AT_FDCWD, "/", quiet|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	if git := t.gitDir(); git != "" {
		t.enclosed = filepath.Dir(git) != t.workspace
	}
	own, err := mountNew("tmpfs", quiet, option{"size", "16k"}, option{"mode", "700"})
	if err != nil {
		return err
	}
	if err := attach(own, unix.AT_FDCWD, "/sys"); err != nil {
		return err
	}
	for _, d := range []string{inner, graveDir, hideDir, baseDir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(emptyFile, nil, 0o444); err != nil {
		return err
	}
	if err := attach(all, unix.AT_FDCWD, inner); err != nil {
		return err
	}
	if t.root, err = unix.Open(inner, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	for _, p := range append(masked[:], t.home) {
		if p = real(p); !filepath.IsAbs(p) || p == "/" || t.mask(p) != nil {
			continue // no home is known
		}
		if st, err := os.Stat(p); err == nil && st.IsDir() {
			if err := t.cover(p, "755", false); err != nil {
				return err
			}
		}
	}
	if err := t.devices(); err != nil {
		return err
	}
	for _, s := range scratched {
		if t.mask(s.path) != nil {
			if err := t.cover(s.path, s.mode, true); err != nil {
				return err
			}
		}
	}
	if err := t.proc(); err != nil {
		return err
	}
	if err := t.hideIn("/", "/"); err != nil {
		return err
	}
	at, err := t.point(t.workspace, true)
	if err != nil {
		return err
	}
	return unix.Close(at)
}

func (t *tree) devices() error {
	dev := t.mask("/dev/null")
	if dev == nil {
		return errors.New("no /dev")
	}
	for _, n := range devices {
		m, err := cloneTree(unix.AT_FDCWD, "/dev/"+n, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		if errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return err
		}
		if err := mkfile(dev.rw, n); err != nil {
			return fmt.Errorf("/dev/%s: %w", n, err)
		}
		if err := attach(m, t.root, "dev/"+n); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{{"/proc/self/fd", "fd"}, {"fd/0", "stdin"}, {"fd/1", "stdout"}, {"fd/2", "stderr"}} {
		if err := unix.Symlinkat(l[0], dev.rw, l[1]); err != nil {
			return fmt.Errorf("/dev/%s: %w", l[1], err)
		}
	}
	return nil
}

func (t *tree) proc() error {
	// hidepid: PID 1 is not dumpable, so a command does not even see it.
	proc, err := mountNew("proc", quiet|unix.MOUNT_ATTR_NOEXEC, option{"hidepid", "ptraceable"})
	if err != nil {
		return err
	}
	if err := attach(proc, t.root, "proc"); err != nil {
		return err
	}
	for _, d := range []string{"proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus", "proc/fs"} {
		m, err := cloneTree(t.root, d, unix.MOUNT_ATTR_RDONLY)
		if errors.Is(err, unix.ENOENT) {
			continue
		} else if err != nil {
			return err
		}
		if err := attach(m, t.root, d); err != nil {
			return err
		}
	}
	return nil
}

// cover mounts an empty file system over path, which must be free of symbolic links, making the place if it lies in
// a mask. Commands may write to it if it is to be scratch.
func (t *tree) cover(path, mode string, isScratch bool) error {
	if m := t.mask(path); m != nil && m.path != path {
		if err := mkdirs(m.rw, path[len(m.path)+1:]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	opts := []option{{"mode", mode}, {"size", "1m"}}
	if isScratch {
		opts = []option{{"mode", mode}, {"size", "2g"}, {"nr_inodes", "200k"}}
	}
	fs, err := mountNew("tmpfs", quiet|unix.MOUNT_ATTR_NOATIME, opts...)
	if err != nil {
		return err
	}
	if err := attach(fs, t.root, path[1:]); err != nil {
		return err
	}
	m := mask{path: path}
	if m.rw, err = unix.OpenTree(t.root, path[1:], unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if isScratch {
		m.scratch = &scratch{path: path, fd: m.rw}
		t.scratch = append(t.scratch, m.scratch)
		err = m.scratch.record()
	} else if err = unix.MountSetattr(t.root, path[1:], 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	t.masks = append(t.masks, m)
	return err
}

// mask returns the innermost mask that path lies in.
func (t *tree) mask(path string) *mask {
	var best *mask
	for i := range t.masks {
		if m := &t.masks[i]; within(path, m.path) && (best == nil || len(m.path) >= len(best.path)) {
			best = m
		}
	}
	return best
}

// point returns a descriptor of the place for a mount, made if it lies in a mask.
func (t *tree) point(path string, dir bool) (int, error) {
	if m := t.mask(path); m != nil && m.path != path {
		rel := path[len(m.path)+1:]
		if m.scratch != nil {
			first, _, more := strings.Cut(rel, "/")
			if err := t.anchor(m.scratch, first, more || dir); err != nil {
				return -1, err
			}
			return t.point(path, dir)
		}
		err := mkdirs(m.rw, filepath.Dir(rel))
		if err == nil && dir {
			err = mkdirs(m.rw, rel)
		} else if err == nil {
			err = mkfile(m.rw, rel)
		}
		if err != nil {
			return -1, fmt.Errorf("%s: %w", path, err)
		}
	}
	at, err := unix.Openat2(t.root, path[1:], &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return -1, fmt.Errorf("no place for %s in the sandbox: %w", path, err)
	}
	return at, nil
}

// anchor makes something of ours in a scratch place: a mount point, so that no command can rename or remove it, and
// read-only, so that none can leave anything in it when nothing is bound there.
func (t *tree) anchor(s *scratch, name string, dir bool) error {
	path := s.path + "/" + name
	s.keep = append(s.keep, name)
	if dir {
		if err := t.cover(path, "755", false); err != nil {
			return err
		}
		return s.record()
	}
	if err := mkfile(s.fd, name); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	m, err := cloneTree(unix.AT_FDCWD, emptyFile, quiet|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	if err := attach(m, t.root, path[1:]); err != nil {
		return err
	}
	t.masks = append(t.masks, mask{path: path, rw: -1}) // a file: nothing lies in it
	return s.record()
}

func mkdirs(dir int, rel string) error {
	if rel == "." {
		return nil
	}
	for i := range len(rel) + 1 {
		if i == len(rel) || rel[i] == '/' {
			if err := unix.Mkdirat(dir, rel[:i], 0o755); err != nil && err != unix.EEXIST {
				return err
			}
		}
	}
	return nil
}

func mkfile(dir int, rel string) error {
	fd, err := unix.Openat(dir, rel, unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o666)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// within reports whether path is dir or lies in it. Both are clean.
func within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// real resolves symbolic links in as much of path as exists.
func real(path string) string {
	path = filepath.Clean(path)
	rest := ""
	for p := path; p != "/" && p != "."; p = filepath.Dir(p) {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			return filepath.Join(r, rest)
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
	return path
}

// setBinds makes want the binds outside the workspace. What is the same at the beginning of the list stays.
func (t *tree) setBinds(want []Bind) error {
	keep := 0
	for keep < len(want) && keep < len(t.binds) && want[keep] == t.binds[keep] {
		keep++
	}
	for _, b := range slices.Backward(t.binds[keep:]) {
		if err := unix.Unmount(inner+b.To, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", b.To, err)
		}
	}
	t.binds = t.binds[:keep:keep]
	for _, b := range want[keep:] {
		if err := t.bind(b); err != nil {
			return err
		}
		t.binds = append(t.binds, b)
	}
	return nil
}

func (t *tree) bind(b Bind) error {
	st, err := os.Stat(b.From)
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	at, err := t.point(b.To, st.IsDir())
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return t.bindAt(b, at)
}

// bindAt puts b at the place that a descriptor names.
func (t *tree) bindAt(b Bind, at int) error {
	attr := uint64(quiet)
	if !b.Write {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	m, err := cloneTree(unix.AT_FDCWD, b.From, attr)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	if err := unix.MoveMount(m, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("bind %s at %s: %w", b.From, b.To, err)
	}
	return t.hideIn(b.From, b.To)
}

// hideIn covers what is hidden in a tree that is shown at to.
func (t *tree) hideIn(from, to string) error {
	for _, h := range t.hide {
		if !within(h, from) || from == "/" && (within(h, t.workspace) || t.mask(h) != nil) {
			continue
		}
		st, err := os.Lstat(h)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		at := filepath.Join(to, strings.TrimPrefix(h, from))[1:]
		var m int
		if st.IsDir() {
			m, err = mountNew("tmpfs", quiet|unix.MOUNT_ATTR_RDONLY, option{"mode", "0"}, option{"size", "4k"})
		} else {
			m, err = cloneTree(unix.AT_FDCWD, "/dev/null", quiet|unix.MOUNT_ATTR_RDONLY) // nodev: cannot be opened
		}
		if err != nil {
			return err
		}
		if err := attach(m, t.root, at); err != nil {
			return err
		}
	}
	return nil
}

// view is one command's own part of the tree.
type view struct {
	mount int      // the workspace's mount
	under int      // what it stands on, or -1
	binds []int    // mounts in it
	made  []string // places for them that we made, in order
}

// show prepares the tree for c.
func (t *tree) show(c *Command, path string) (v *view, err error) {
	if t.tools == nil || path != t.path {
		t.tools, t.path = append([]Bind{}, append(t.machine(), toolchains(t, path)...)...), path
	}
	want := slices.Clone(t.tools)
	var inside []Bind
	for _, b := range c.Binds {
		b.From, b.To = real(b.From), real(b.To)
		if within(b.To, t.workspace) {
			inside = append(inside, b)
		} else {
			want = append(want, b)
		}
	}
	byPlace := func(a, b Bind) int { return strings.Compare(a.To, b.To) } // outer ones first
	slices.SortStableFunc(want, byPlace)
	slices.SortStableFunc(inside, byPlace)
	if err := t.setBinds(want); err != nil {
		return nil, err
	}
	v = &view{under: -1}
	if c.Overlay != nil {
		v.mount, v.under, err = mountOverlay(c.Overlay)
	} else {
		v.mount, err = cloneTree(unix.AT_FDCWD, t.workspace, quiet|unix.MOUNT_ATTR_RDONLY)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.MoveMount(v.mount, "", t.root, t.workspace[1:], unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, fmt.Errorf("mount on %s: %w", t.workspace, err)
	}
	if c.Overlay == nil {
		if err := t.hideIn(t.workspace, t.workspace); err != nil {
			return nil, err
		}
	}
	for _, b := range inside {
		if err := t.bindInside(v, b); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// bindInside binds at a place in the workspace. No symbolic link of the workspace is followed.
func (t *tree) bindInside(v *view, b Bind) error {
	st, err := os.Stat(b.From)
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	rel := strings.TrimPrefix(b.To[len(t.workspace):], "/")
	if rel == "" {
		return fmt.Errorf("bind: %s is the workspace itself", b.To)
	}
	for i := range len(rel) + 1 {
		if i < len(rel) && rel[i] != '/' {
			continue
		}
		at, err := unix.Openat2(v.mount, rel[:i], how)
		if err == unix.ENOENT {
			if i < len(rel) || st.IsDir() {
				err = unix.Mkdirat(v.mount, rel[:i], 0o755)
			} else {
				err = mkfile(v.mount, rel)
			}
			if err == nil {
				v.made = append(v.made, rel[:i])
				at, err = unix.Openat2(v.mount, rel[:i], how)
			}
		}
		if err != nil {
			return fmt.Errorf("place for %s: %w", b.To, err)
		}
		if i == len(rel) {
			err = t.bindAt(b, at)
		}
		unix.Close(at)
		if err != nil {
			return err
		}
	}
	m, err := unix.Openat2(v.mount, rel, how) // now the bind's root
	if err != nil {
		return fmt.Errorf("bind at %s: %w", b.To, err)
	}
	v.binds = append(v.binds, m)
	return nil
}

// putAway takes a command's view out of the tree.
func (s *slot) putAway(v *view, now bool) error {
	for _, m := range slices.Backward(v.binds) {
		if err := unmount(m); err != nil {
			return err
		}
	}
	for _, p := range slices.Backward(v.made) {
		if err := unix.Unlinkat(v.mount, p, unix.AT_REMOVEDIR); err == unix.ENOTDIR {
			unix.Unlinkat(v.mount, p, 0) // if a command has put something there it is the command's
		}
	}
	if err := unix.MoveMount(v.mount, "", unix.AT_FDCWD, graveDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("the overlay cannot be moved: %w", err)
	}
	if v.under >= 0 { // on top of it, to go with it: each unmounting waits for all processors
		err := unix.MoveMount(v.under, "", v.mount, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		unix.Close(v.under)
		if err != nil {
			return fmt.Errorf("the overlay's base cannot be moved: %w", err)
		}
	}
	s.grave = v.mount
	if now {
		return s.bury()
	}
	return nil
}

// bury unmounts what is in the grave.
func (s *slot) bury() error {
	err := unmount(s.grave)
	s.grave = -1
	return err
}

// unmount takes away a mount and all on it, and closes its descriptor. By descriptor: a command may have renamed
// what leads there.
func unmount(m int) error {
	defer unix.Close(m)
	if err := unix.Unmount("/proc/self/fd/"+strconv.Itoa(m), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// isolate sets up the other namespaces.
func (s *slot) isolate() error {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return fmt.Errorf("no more user namespaces: %w", err)
	}
	for _, l := range []struct {
		what      int
		soft, max uint64
	}{{unix.RLIMIT_CORE, 1, 1}, {unix.RLIMIT_NOFILE, 4096, 65536}, {unix.RLIMIT_MEMLOCK, 1 << 23, 1 << 23}, {unix.RLIMIT_NPROC, 8192, 8192}} {
		// CORE is 1, not 0: a pipe in core_pattern ignores 0
		var had unix.Rlimit
		if err := unix.Getrlimit(l.what, &had); err != nil {
			return fmt.Errorf("limit %d: %w", l.what, err)
		}
		top := min(l.max, had.Max)
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: min(l.soft, top), Max: top}); err != nil {
			return fmt.Errorf("limit %d: %w", l.what, err)
		}
	}
	if err := limitProcesses(); err != nil {
		return err
	}
	s.lastPID = -1
	if fd, err := unix.Open("/proc/sys/kernel/ns_last_pid", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		s.lastPID = fd
	}
	if !s.net {
		if err := loopback(); err != nil {
			return err
		}
		c, err := sockets()
		if err != nil {
			return err
		}
		s.clean = append(s.clean, c)
	}
	cs, queues, err := ipc()
	s.clean, s.queues = append(s.clean, cs...), queues
	return err
}

// limitProcesses bounds the number of processes also for root, whom RLIMIT_NPROC does not bind. Before Linux 6.14
// the file is the whole machine's.
func limitProcesses() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil || major < 6 || major == 6 && minor < 14 {
		return nil
	}
	if err := os.WriteFile("/proc/sys/kernel/pid_max", []byte("16384"), 0); err != nil {
		return fmt.Errorf("limit of processes: %w", err)
	}
	return nil
}

func loopback() error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	defer unix.Close(sock)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	// else a port that one command closed is "in use" for the next during a minute; older kernels have it for the
	// whole machine only
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte("0"), 0); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// killAll kills every process of the namespace but PID 1.
func (s *slot) killAll() error {
	if s.tree == nil {
		return killChildren()
	}
	if err := unix.Kill(-1, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}

// restrict makes the thread that forks commands, and a new one when c may write where none before it might.
func (s *slot) restrict(c *Command) error {
	var more []string
	for _, b := range c.Binds {
		if from := real(b.From); b.Write && !slices.Contains(s.writes, from) {
			more = append(more, from)
		}
	}
	if s.spawn != nil && more == nil {
		return nil
	}
	s.writes = append(s.writes, more...)
	l := limits{}
	for _, p := range s.writes {
		l.rules = append(l.rules, writeRule{path: p})
	}
	if s.tree == nil {
		l.rules = append(l.rules, writeRule{path: "/dev", files: true}, writeRule{path: s.temp})
		for _, p := range s.writable {
			l.rules = append(l.rules, writeRule{path: p})
		}
	} else {
		l.root = inner
		l.rules = append(l.rules, writeRule{path: inner + "/dev", files: true}, writeRule{path: inner + "/proc", files: true},
			// The overlay's root is a new one each time; the walk upwards passes the directory that holds it.
			writeRule{path: inner + filepath.Dir(s.tree.workspace)})
		for _, sc := range s.tree.scratch {
			l.rules = append(l.rules, writeRule{path: inner + sc.path})
		}
		if s.queues >= 0 { // mounted nowhere: else every mq_open is refused
			l.rules = append(l.rules, writeRule{fd: s.queues, files: true})
		}
	}
	sp, err := newSpawner(l)
	if err != nil {
		return err
	}
	if s.spawn != nil {
		s.spawn.close()
	}
	s.spawn = sp
	return nil
}
