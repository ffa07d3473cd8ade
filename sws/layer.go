package sws

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

// Layer is what one command changed, or a recorded change set put back in its place: a manifest, and the contents of
// its files in a directory of its own or in the store. It is not changed after Keep, and safe for concurrent use then.
type Layer struct {
	set     *Set
	in      *room // where its directories are
	n       int
	changes []Change // by path

	mu sync.Mutex
	// held: the contents are in the layer's own directory; else they are in the store.
	held bool
	// mountable: the directory is a lower layer as the kernel wants it, with whiteouts.
	mountable bool
}

// Changes lists what the layer does, sorted by path. The caller must not change it.
func (l *Layer) Changes() []Change { return l.changes }

// upper is the layer's directory of contents, relative to the set's directory.
func (l *Layer) upper() string { return strconv.Itoa(l.n) + "u" }

// workSuffix ends the names of directories that no command reaches.
const workSuffix = "w"

// work is a directory that the kernel needs while it writes into upper.
func (l *Layer) work() string { return strconv.Itoa(l.n) + workSuffix }

func (l *Layer) index(p string) (int, bool) {
	return slices.BinarySearchFunc(l.changes, p, func(c Change, p string) int { return cmp.Compare(c.Path, p) })
}

func (l *Layer) find(p string) (Change, bool) {
	i, ok := l.index(p)
	if !ok {
		return Change{}, false
	}
	return l.changes[i], true
}

// look says what the layer makes of a path, if it says anything.
func (l *Layer) look(p string) (Entry, bool) {
	if c, ok := l.find(p); ok {
		return c.After, true
	}
	for a := range parents(p) {
		if c, ok := l.find(a); ok && c.After.Kind != Dir {
			return Entry{}, true
		}
	}
	return Entry{}, false
}

// below gives the changes below a directory; "" is the root.
func (l *Layer) below(dir string) []Change {
	if dir == "" {
		return l.changes
	}
	// what lies below is not adjacent to dir itself ("a" < "a-b" < "a/b"), but it is one range
	from, _ := l.index(dir + "/")
	to := from
	for to < len(l.changes) && isBelow(l.changes[to].Path, dir) {
		to++
	}
	return l.changes[from:to]
}

// Keep drops the changes that match does not want, and undoes them in what later commands see. A directory stays if
// something below it does.
func (l *Layer) Keep(match func(Change) bool) (dropped []Change, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := make([]bool, len(l.changes))
	holds := map[string]bool{} // directories that something stays in
	for i := len(l.changes) - 1; i >= 0; i-- {
		c := l.changes[i]
		if keep[i] = match(c) || c.After.Kind == Dir && !c.ModeOnly && holds[c.Path]; keep[i] && c.After.Kind != Absent {
			for a := range parents(c.Path) {
				holds[a] = true
			}
		}
	}
	var kept []Change
	for i, c := range l.changes {
		if keep[i] {
			kept = append(kept, c)
		} else {
			dropped = append(dropped, c)
		}
	}
	if len(dropped) == 0 {
		return nil, nil
	}
	all := l.changes
	l.changes = kept
	if !l.held {
		return dropped, nil
	}
	if !l.mountable {
		for _, c := range dropped {
			if c.After.Kind == File {
				err = errors.Join(err, l.in.dir.removeAll(l.upper()+"/"+c.Path))
			}
		}
		return dropped, err
	}
	// what has to go may be anything from a whiteout to a mode: make the directory anew around the files that stay
	was := l.upper() + "-was"
	if err := l.in.rename(l.upper(), was); err != nil {
		l.changes = all
		return nil, err
	}
	old, err := l.in.dir.sub(was)
	if err != nil {
		return nil, err
	}
	defer old.close()
	mode := func(p string) uint32 {
		if fp, err := old.stat(p); err == nil && fp.Kind == Dir {
			return fp.Mode
		}
		return implied
	}
	if err := l.fill(kept, mode, moveFrom(old)); err != nil {
		return nil, err
	}
	return dropped, l.in.dir.removeAll(was)
}

// placer puts the content of a changed file at a new name in an open directory.
type placer func(c Change, fd int, name string) error

// moveFrom takes files out of a directory tree of ours.
func moveFrom(d dirfd) placer {
	return func(c Change, fd int, name string) error {
		return d.lend(c.Path, func() error {
			from, base, err := d.parent(c.Path)
			if err != nil {
				return err
			}
			defer unix.Close(from)
			return pathError(c.Path, unix.Renameat2(from, base, fd, name, unix.RENAME_NOREPLACE))
		})
	}
}

// fill makes the layer's directory from a change set, in the form that overlayfs reads.
func (l *Layer) fill(changes []Change, mode func(string) uint32, place placer) error {
	if err := l.in.mkdir(l.upper()); err != nil {
		return err
	}
	d, err := l.in.dir.sub(l.upper())
	if err != nil {
		return err
	}
	defer d.close()
	return fill(d, changes, mode, nil, place)
}

// fill writes changes, sorted by path, as a lower layer into an empty directory. mode gives that of directories that
// only lead to a change: the topmost layer's is what shows. fresh tells which directories hide what is below them.
func fill(d dirfd, changes []Change, mode func(string) uint32, fresh func(i int) bool, place placer) error {
	at := cursor{dirfd: d, mode: mode}
	defer at.close()
	for i, c := range changes {
		fd, name, err := at.parent(c.Path)
		if err != nil {
			return err
		}
		switch c.After.Kind {
		case Absent:
			err = unix.Mknodat(fd, name, unix.S_IFCHR, 0)
		case Dir:
			if err = unix.Mkdirat(fd, name, 0o700); err == unix.EEXIST {
				err = nil
			}
			if err == nil && fresh != nil && fresh(i) {
				err = unix.Setxattr(procPath(fd)+"/"+name, "user.overlay.opaque", []byte("y"), 0)
			}
			at.shut(c.Path, c.After.Mode)
		case Link:
			err = unix.Symlinkat(c.After.Target, fd, name)
		default:
			if err := place(c, fd, name); err != nil {
				return err
			}
		}
		if err != nil {
			return &fs.PathError{Op: "make", Path: c.Path, Err: err}
		}
	}
	return at.finish()
}

// cursor finds parents for paths that come in order: it keeps the last one open. It is for trees that nobody else changes.
type cursor struct {
	dirfd
	mode func(p string) uint32 // if set, missing directories are made with this mode
	path string
	at   int // 0: none yet
	made []madeDir
}

// madeDir is a directory that gets its mode last: it may forbid to write into it.
type madeDir struct {
	path string
	mode uint32
}

func (c *cursor) shut(p string, mode uint32) { c.made = append(c.made, madeDir{p, mode}) }

// finish gives the directories their modes.
func (c *cursor) finish() error {
	for _, m := range slices.Backward(c.made) {
		fd, name, err := c.parent(m.path)
		if err == nil {
			err = pathError(m.path, unix.Fchmodat(fd, name, m.mode, 0))
		}
		if err != nil {
			return err
		}
	}
	c.made = nil
	return nil
}

func (c *cursor) parent(p string) (fd int, name string, err error) {
	dir, name := split(p)
	if c.at != 0 && c.path == dir {
		return c.at, name, nil
	}
	fd, err = c.dirfd.open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == unix.ENOENT && c.mode != nil {
		for a := range parents(p) {
			fd, name, err := c.dirfd.parent(a)
			if err != nil {
				return -1, "", err
			}
			if err = unix.Mkdirat(fd, name, 0o700); err == nil {
				c.shut(a, c.mode(a))
			}
			unix.Close(fd)
			if err != nil && err != unix.EEXIST {
				return -1, "", pathError(a, err)
			}
		}
		fd, err = c.dirfd.open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	if err != nil {
		return -1, "", pathError(p, err)
	}
	c.close()
	c.path, c.at = dir, fd
	return fd, name, nil
}

func (c *cursor) close() {
	if c.at != 0 {
		unix.Close(c.at)
		c.at = 0
	}
}

// mount makes sure that the layer can be a lower one over v, and gives its directory.
func (l *Layer) mount(v *View) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mountable {
		if l.held { // contents only, from a Plain slot
			return "", fmt.Errorf("layer %d of set %d cannot be mounted", l.n, l.set.id)
		}
		if err := l.fill(l.changes, v.dirMode, l.set.space.fromStore); err != nil {
			return "", errors.Join(err, l.in.dir.removeAll(l.upper()))
		}
		l.held, l.mountable = true, true
	}
	return l.in.path + "/" + l.upper(), nil
}

// fromStore writes the content of a file from the store.
func (s *Space) fromStore(c Change, fd int, name string) error {
	h, err := retry(func() (int, error) {
		return unix.Openat(fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return pathError(c.Path, err)
	}
	defer unix.Close(h)
	if err := s.store.CopyTo(c.After.Digest, h); err != nil {
		return fmt.Errorf("%s: %w", Quote(c.Path), err)
	}
	return pathError(c.Path, unix.Fchmod(h, c.After.Mode))
}

// open opens the content of a file of the layer, if it is in the layer's directory.
func (l *Layer) open(p string) (fd int, held bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		return -1, false, nil
	}
	full := l.upper() + "/" + p
	err = l.in.dir.lend(full, func() error {
		at, name, err := l.in.dir.parent(full)
		if err != nil {
			return err
		}
		defer unix.Close(at)
		fd, err = openLent(at, name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) { // a collapse took it; then the store has it
		return -1, false, nil
	}
	return fd, err == nil, pathError(p, err)
}

// read gives the content of a file of the layer.
func (l *Layer) read(c Change) ([]byte, error) {
	fd, held, err := l.open(c.Path)
	if err != nil {
		return nil, err
	}
	if !held {
		return l.set.space.store.Get(c.After.Digest)
	}
	defer unix.Close(fd)
	return readAll(fd, c.After.Size)
}

func readAll(fd int, size int64) ([]byte, error) {
	b := make([]byte, size+1)
	for n := 0; ; {
		k, err := readFull(fd, b[n:])
		if n += k; err != nil || n < len(b) {
			return b[:n], err
		}
		b = append(b, make([]byte, len(b))...)
	}
}

// Restore makes a layer of recorded changes whose contents are in the store. It fails with what the store says of the
// first content that is missing; a damaged one shows when it is used. Nothing is written until the layer is mounted.
func (set *Set) Restore(changes []Change) (*Layer, error) {
	sorted := func(a, b Change) int { return strings.Compare(a.Path, b.Path) }
	if !slices.IsSortedFunc(changes, sorted) {
		changes = slices.SortedFunc(slices.Values(changes), sorted)
	}
	for _, c := range changes {
		if err := valid(c.Path); err != nil {
			return nil, err
		}
		if c.After.Kind == File && !set.space.store.Has(c.After.Digest) {
			_, err := set.space.store.Get(c.After.Digest)
			return nil, fmt.Errorf("%s: %w", Quote(c.Path), err)
		}
	}
	return &Layer{set: set, in: set.disk, n: set.number(), changes: changes}, nil
}

// Drop gives up what the command of a layer wrote, and its room on the disk. Nothing may be over the layer.
func (l *Layer) Drop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes, l.held = nil, false
	return errors.Join(l.in.dir.removeAll(l.upper()), l.in.dir.removeAll(l.work()))
}

// Store puts the contents of the layer's files into the store, from where Restore finds them.
func (set *Set) Store(l *Layer) error {
	for _, c := range l.changes {
		if c.After.Kind != File {
			continue
		}
		fd, held, err := l.open(c.Path)
		if err != nil {
			return err
		}
		if !held {
			continue
		}
		d, err := set.space.store.PutFD(fd, &c.After.Digest)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("%s: %w", Quote(c.Path), err)
		}
		if d != c.After.Digest {
			return fmt.Errorf("%s: %w", Quote(c.Path), cas.ErrCorrupt)
		}
	}
	return nil
}
