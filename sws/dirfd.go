package sws

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ours resolves paths of trees that steps and people cannot reach; theirs those that they can, where any component may
// be swapped at any moment.
const (
	ours   = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS
	theirs = ours | unix.RESOLVE_NO_XDEV
)

// chunk is how much of a path one system call takes; longer ones are walked in pieces.
const chunk = 4000

// dirfd is an open directory below which paths are resolved without following any symbolic link.
type dirfd struct {
	fd      int
	resolve uint64
}

func openDirfd(dir string, resolve uint64) (dirfd, error) {
	fd, err := retry(func() (int, error) { return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return dirfd{}, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return dirfd{fd, resolve}, nil
}

func (d dirfd) close() { unix.Close(d.fd) }

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR && err != unix.EAGAIN { // openat2 says EAGAIN when a rename elsewhere confused it
			return n, err
		}
	}
}

// open opens the path p itself; "" is the directory.
func (d dirfd) open(p string, flags int, mode uint32) (int, error) {
	at := d.fd
	for len(p) > chunk {
		i := strings.LastIndexByte(p[:chunk], '/')
		if i < 0 {
			break // one name too long: the kernel says so
		}
		next, err := d.open1(at, p[:i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if at != d.fd {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at, p = next, p[i+1:]
	}
	fd, err := d.open1(at, p, flags, mode)
	if at != d.fd {
		unix.Close(at)
	}
	return fd, err
}

func (d dirfd) open1(at int, p string, flags int, mode uint32) (int, error) {
	if p == "" {
		p = "."
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: d.resolve}
	return retry(func() (int, error) { return unix.Openat2(at, p, &how) })
}

// parent opens the directory that holds p, for operations on p's last name.
func (d dirfd) parent(p string) (fd int, name string, err error) {
	dir, name := split(p)
	fd, err = d.open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	return fd, name, pathError(p, err)
}

// sub opens a directory below as a dirfd of its own.
func (d dirfd) sub(p string) (dirfd, error) {
	fd, err := d.open(p, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	return dirfd{fd, d.resolve}, pathError(p, err)
}

// pathError types what may go wrong on the way to a path.
func pathError(p string, err error) error {
	switch err {
	case nil:
		return nil
	case unix.ELOOP:
		return &fs.PathError{Op: "open", Path: p, Err: ErrSymlink}
	case unix.EXDEV:
		return &fs.PathError{Op: "open", Path: p, Err: ErrOutside}
	}
	return &fs.PathError{Op: "open", Path: p, Err: err}
}

func fingerprint(st *unix.Stat_t) Fingerprint {
	f := Fingerprint{Mode: st.Mode & 0o7777, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Ino: st.Ino, UID: st.Uid, GID: st.Gid}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.Kind = File
	case unix.S_IFDIR:
		f.Kind = Dir
	case unix.S_IFLNK:
		f.Kind = Link
	default:
		f.Kind = Other
	}
	return f
}

// statAt looks at a name in an open directory; that it is absent is no error.
func statAt(fd int, name string) (Fingerprint, error) {
	var st unix.Stat_t
	switch err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
		return fingerprint(&st), nil
	case unix.ENOENT, unix.ENOTDIR:
		return Fingerprint{}, nil
	default:
		return Fingerprint{}, err
	}
}

// stat looks at a path; that it, or a directory on its way, is absent is no error.
func (d dirfd) stat(p string) (Fingerprint, error) {
	fd, name, err := d.parent(p)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return Fingerprint{}, nil
	}
	if err != nil {
		return Fingerprint{}, err
	}
	defer unix.Close(fd)
	fp, err := statAt(fd, name)
	return fp, pathError(p, err)
}

func (d dirfd) readlink(p string) (string, error) {
	fd, name, err := d.parent(p)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	s, err := readlinkAt(fd, name)
	return s, pathError(p, err)
}

func readlinkAt(fd int, name string) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, name, b)
	return string(b[:max(n, 0)]), err
}

// names lists an open directory, sorted.
func names(fd int) ([]string, error) {
	// a descriptor of its own: the listing's position and the closing belong to it
	own, err := retry(func() (int, error) {
		return unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), ".")
	defer f.Close()
	ns, err := f.Readdirnames(-1)
	slices.Sort(ns)
	return ns, err
}

// procPath names an open descriptor for calls that have no form for descriptors or for O_PATH ones.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// chmodAt changes the mode of what name is now, unless that is a symbolic link or not the inode that is meant.
func chmodAt(fd int, name string, ino uint64, mode uint32) error {
	h, err := retry(func() (int, error) {
		return unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return err
	}
	defer unix.Close(h)
	var st unix.Stat_t
	if err := unix.Fstat(h, &st); err != nil {
		return err
	}
	if fp := fingerprint(&st); fp.Ino != ino || fp.Kind == Link {
		return errReplaced
	}
	return unix.Chmod(procPath(h), mode)
}

var errReplaced = errors.New("was replaced by something else")

// openLent opens a file for reading even if its owner took the read permission away: it lends itself the bit for that
// moment.
func openLent(fd int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	open := func() (int, error) { return unix.Openat(fd, name, flags, 0) }
	h, err := retry(open)
	if err != unix.EACCES {
		return h, err
	}
	fp, err := statAt(fd, name)
	if err != nil {
		return -1, err
	}
	if err := chmodAt(fd, name, fp.Ino, fp.Mode|0o400); err != nil {
		return -1, err
	}
	h, err = retry(open)
	return h, errors.Join(err, chmodAt(fd, name, fp.Ino, fp.Mode))
}

// lend runs f, and once more if it had no permission, with all directories that lead to p open to their owner. It is for
// trees of ours, in which commands may have made directories that they cannot enter.
func (d dirfd) lend(p string, f func() error) error {
	err := f()
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return err
	}
	var back []func() error
	for a := range parents(p) {
		at, name, err := d.parent(a)
		if err != nil {
			break // what is missing shows in f's own error
		}
		defer unix.Close(at)
		fp, err := statAt(at, name)
		if err != nil || fp.Kind != Dir || fp.Mode&0o700 == 0o700 || chmodAt(at, name, fp.Ino, fp.Mode|0o700) != nil {
			continue
		}
		back = append(back, func() error { return chmodAt(at, name, fp.Ino, fp.Mode) })
	}
	err = f()
	for _, undo := range slices.Backward(back) {
		err = errors.Join(err, undo())
	}
	return err
}

// removeAll removes a tree of ours, also where directories lost their permissions.
func (d dirfd) removeAll(p string) error {
	return d.lend(p, func() error {
		fd, name, err := d.parent(p)
		if isGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := removeAt(fd, name); err != nil {
			return fmt.Errorf("remove %s: %w", Quote(p), err)
		}
		return nil
	})
}

// removeSet is removeAll for a directory that holds layers, which may be many: on two goroutines.
func (d dirfd) removeSet(p string) error {
	set, err := d.sub(p)
	if err != nil {
		return d.removeAll(p) // it is gone, or says why not
	}
	defer set.close()
	ns, err := names(set.fd)
	if err != nil {
		return pathError(p, err)
	}
	remove := func(ns []string) {
		for _, n := range ns {
			if !strings.HasSuffix(n, workSuffix) || removeWork(set.fd, n) != nil {
				_ = removeAt(set.fd, n) // what is left, removeAll tries again and reports
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { remove(ns[:len(ns)/2]) })
	remove(ns[len(ns)/2:])
	wg.Wait()
	return d.removeAll(p)
}

func removeAt(fd int, name string) error {
	err := unix.Unlinkat(fd, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	if unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) == nil { // most are empty
		return nil
	}
	open := func() (int, error) {
		return unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	h, err := retry(open)
	if err == unix.EACCES {
		fp, _ := statAt(fd, name)
		if err := chmodAt(fd, name, fp.Ino, 0o700); err != nil {
			return err
		}
		h, err = retry(open)
	}
	if err != nil {
		return err
	}
	defer unix.Close(h)
	if err := emptyAt(h); err != nil {
		return err
	}
	return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
}

// emptyAt removes all that is in a directory.
func emptyAt(h int) error {
	ns, err := names(h)
	if err != nil {
		return err
	}
	lent := false
	for _, n := range ns {
		err := removeAt(h, n)
		if err == unix.EACCES && !lent {
			lent = true
			if err = unix.Fchmod(h, 0o700); err == nil {
				err = removeAt(h, n)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeWork removes what the kernel leaves of an overlay's work directory, in as few calls as that takes: there is
// one for each command. Anything else that is in it, the caller finds. It follows links on the way: only the kernel may
// have made what is in there.
func removeWork(fd int, name string) error {
	for _, p := range []string{"/work/incompat/volatile", "/work/incompat", "/work", ""} {
		if err := unix.Unlinkat(fd, name+p, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
			return err
		}
	}
	return nil
}
