package sws

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

// ErrChanged is wrapped by errors about a path that is no longer what the first look at it saw. Where nothing has been
// built on that look, [Base.Forget] it and look again.
var ErrChanged = errors.New("changed since it was first looked at")

// racy is how long after a change of a file another one may leave the same times on it, where the clock for files
// is coarse.
const racy = 10 * time.Millisecond

// Base is a run's memoised look at the real tree: the first look at a path is what "as the run began" means for it.
// Paths are relative and clean; "." and "" are the root. Safe for concurrent use.
type Base struct {
	root   dirfd
	known  func(path string) (Fingerprint, cas.Digest, bool)
	coarse bool // two changes may get one time
	bufs   sync.Pool

	mu    sync.Mutex
	looks map[string]*look
	// forgotten are the paths that Forget was called with, for trees that were made after what was seen.
	forgotten []string
}

type look struct {
	fp Fingerprint

	mu     sync.Mutex // held while one goroutine reads for all
	read   bool
	entry  Entry
	listed bool // written under both locks, as names
	names  []string
}

// NewBase looks at the tree below root. known gives the digests of an earlier run and the fingerprints they were taken
// with; it may be nil, must be safe for concurrent use, and is trusted where the fingerprint is equal.
func NewBase(root string, known func(path string) (Fingerprint, cas.Digest, bool)) (*Base, error) {
	d, err := openDirfd(root, ours)
	if err != nil {
		return nil, err
	}
	if known == nil {
		known = func(string) (Fingerprint, cas.Digest, bool) { return Fingerprint{}, cas.Digest{}, false }
	}
	return &Base{root: d, known: known, coarse: coarseTimes(d.fd), looks: map[string]*look{},
		bufs: sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}}, nil
}

// coarseTimes tells whether a directory's file system may lack multigrain timestamps, or the kernel does.
func coarseTimes(dir int) bool {
	var u unix.Utsname
	var st unix.Statfs_t
	return unix.Uname(&u) != nil || unix.Fstatfs(dir, &st) != nil || !multigrain(unix.ByteSliceToString(u.Release[:]), int64(st.Type))
}

// multigrain tells whether a kernel (since 6.13) has multigrain timestamps for a file system: with them, a file that was
// looked at gets another time with its next change, however soon.
func multigrain(release string, magic int64) bool {
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor) // what it cannot read is old
	switch magic {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return major > 6 || major == 6 && minor >= 13
	}
	return false
}

// Close releases the handle of the tree. What was seen stays available; new looks fail.
func (b *Base) Close() error {
	b.root.close()
	b.root.fd = -1
	return nil
}

func clean(p string) string {
	if p == "." {
		return ""
	}
	return p
}

// Stat gives the fingerprint of a path. That it is absent is no error; a symbolic link among its parents is, see
// ErrSymlink.
func (b *Base) Stat(path string) (Fingerprint, error) {
	l, err := b.look(clean(path))
	if err != nil {
		return Fingerprint{}, err
	}
	return l.fp, nil
}

func (b *Base) look(p string) (*look, error) {
	b.mu.Lock()
	l := b.recall(p)
	b.mu.Unlock()
	if l != nil {
		return l, nil
	}
	fp, err := b.now(p)
	if err != nil {
		return nil, err
	}
	return b.remember(p, fp), nil
}

// recall gives what is known of a path. What was not in a directory when that was listed is known to be absent.
func (b *Base) recall(p string) *look {
	l := b.looks[p]
	if l != nil || p == "" {
		return l
	}
	dir, name := split(p)
	if name == ".." {
		return nil
	}
	up := b.recall(dir)
	if up == nil {
		return nil
	}
	if up.fp.Kind == Absent || up.listed && !isIn(up.names, name) && p != Meta {
		l = &look{}
		b.looks[p] = l
	}
	return l
}

func isIn(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}

// remember keeps the first of several looks.
func (b *Base) remember(p string, fp Fingerprint) *look {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.looks[p]; l != nil {
		return l
	}
	l := &look{fp: fp}
	b.looks[p] = l
	return l
}

// now looks at a path without remembering.
func (b *Base) now(p string) (Fingerprint, error) {
	if p != "" {
		return b.root.stat(p)
	}
	var st unix.Stat_t
	if err := unix.Fstat(b.root.fd, &st); err != nil {
		return Fingerprint{}, pathError(".", err)
	}
	return fingerprint(&st), nil
}

// Entry gives the content identity of a path and the fingerprint it had. The digest is the known one if the
// fingerprint is unchanged; else the file is read now. It fails with ErrChanged if the path is no longer what the
// first look saw.
func (b *Base) Entry(path string) (Entry, Fingerprint, error) {
	p := clean(path)
	l, err := b.look(p)
	if err != nil {
		return Entry{}, Fingerprint{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.read {
		if l.entry, err = b.read(p, l.fp); err != nil {
			return Entry{}, Fingerprint{}, err
		}
		l.read = true
	}
	return l.entry, l.fp, nil
}

func (b *Base) read(p string, fp Fingerprint) (Entry, error) {
	e := Entry{Kind: fp.Kind, Mode: fp.Mode}
	switch fp.Kind {
	case Link:
		e.Mode = 0
		target, err := b.root.readlink(p)
		if err != nil {
			return e, b.gone(p, err)
		}
		e.Target, e.Digest = target, cas.Sum([]byte(target))
	case File:
		e.Size = fp.Size
		if was, d, ok := b.known(p); ok && was == fp {
			e.Digest = d
			return e, nil
		}
		if wait := racy - time.Since(time.Unix(0, fp.Ctime)); b.coarse && wait > 0 {
			// an edit in this moment would be invisible: read when it is over, and a later one is not
			time.Sleep(min(wait, racy))
		}
		fd, err := b.root.open(p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return e, b.gone(p, err)
		}
		defer unix.Close(fd)
		e.Digest, err = b.hash(fd)
		if err != nil {
			return e, pathError(p, err)
		}
	default:
		return e, nil
	}
	if is, err := b.now(p); err != nil || is != fp {
		return e, b.gone(p, err)
	}
	return e, nil
}

func (b *Base) gone(p string, err error) error {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && err != unix.ELOOP && err != unix.ENOTDIR {
		if _, typed := errors.AsType[*fs.PathError](err); typed {
			return err
		}
		return pathError(p, err)
	}
	return &fs.PathError{Op: "read", Path: p, Err: ErrChanged}
}

func (b *Base) hash(fd int) (cas.Digest, error) {
	buf := b.bufs.Get().(*[]byte)
	defer b.bufs.Put(buf)
	return hashFD(fd, *buf)
}

// hashFD digests what is left to read of a file.
func hashFD(fd int, buf []byte) (cas.Digest, error) {
	n, err := readFull(fd, buf)
	if err != nil {
		return cas.Digest{}, err
	}
	if n < len(buf) {
		return cas.Sum(buf[:n]), nil
	}
	h := blake3.New()
	for at := int64(0); n > 0; {
		h.Write(buf[:n])
		at += int64(n)
		if len(bytes.TrimLeft(buf[:n], "\x00")) == 0 { // a hole may go on, and reading it is slow
			data, err := dataFrom(fd, at)
			if err != nil {
				return cas.Digest{}, err
			}
			for at < data {
				zeros := buf[:min(int64(n), data-at)]
				h.Write(zeros)
				at += int64(len(zeros))
			}
		}
		if n, err = readFull(fd, buf); err != nil {
			return cas.Digest{}, err
		}
	}
	var d cas.Digest
	h.Sum(d[:0])
	return d, nil
}

// dataFrom moves an open file on to where no hole is, or to its end.
func dataFrom(fd int, at int64) (int64, error) {
	data, err := unix.Seek(fd, at, unix.SEEK_DATA)
	switch err {
	case unix.ENXIO:
		return unix.Seek(fd, 0, unix.SEEK_END)
	case unix.EINVAL, unix.EOPNOTSUPP:
		return at, nil
	}
	return data, err
}

// readFull reads until the buffer is full or the file ends.
func readFull(fd int, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		k, err := retry(func() (int, error) { return unix.Read(fd, buf[n:]) })
		if err != nil || k == 0 {
			return n, err
		}
		n += k
	}
	return n, nil
}

// Dir lists a directory: its names, sorted. The private directory is not among them. It fails with fs.ErrNotExist if
// there is no directory. It looks at what it lists, too.
func (b *Base) Dir(path string) (list []string, fp Fingerprint, err error) {
	p := clean(path)
	l, err := b.look(p)
	if err != nil {
		return nil, Fingerprint{}, err
	}
	if l.fp.Kind != Dir {
		return nil, l.fp, &fs.PathError{Op: "list", Path: path, Err: fs.ErrNotExist}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listed {
		return l.names, l.fp, nil
	}
	d, err := b.root.sub(p)
	if err != nil {
		return nil, l.fp, b.gone(p, err)
	}
	defer d.close()
	if list, err = names(d.fd); err != nil {
		return nil, l.fp, pathError(path, err)
	}
	if i, ok := slices.BinarySearch(list, Meta); ok && p == "" {
		list = slices.Delete(list, i, i+1)
	}
	seen := make([]Fingerprint, len(list))
	for i, n := range list {
		if seen[i], err = statAt(d.fd, n); err != nil {
			return nil, l.fp, pathError(join(path, n), err)
		}
	}
	b.mu.Lock()
	for i, n := range list {
		if k := join(p, n); b.looks[k] == nil {
			b.looks[k] = &look{fp: seen[i]}
		}
	}
	l.names, l.listed = list, true
	b.mu.Unlock()
	return list, l.fp, nil
}

// Forget drops the look at a path, so that the next one sees what is there then.
func (b *Base) Forget(path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.looks, clean(path))
	b.forgotten = append(b.forgotten, clean(path))
}

// forgottenSince gives what was forgotten after the first n paths that were.
func (b *Base) forgottenSince(n int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.forgotten[n:])
}

// Walk looks at the whole tree: parents before what is in them, siblings by name. skip says what to leave out, a
// directory with all below it; nil is nothing. An error ends the walk.
func (b *Base) Walk(skip func(path string, dir bool) bool) iter.Seq2[string, Look] {
	return func(yield func(string, Look) bool) { b.walk("", skip, yield) }
}

// Look is what Walk gives for a path.
type Look struct {
	Fingerprint
	Err error // why the directory at this path could not be listed
}

func (b *Base) walk(dir string, skip func(string, bool) bool, yield func(string, Look) bool) bool {
	list, _, err := b.Dir(dir)
	if err != nil {
		return yield(dir, Look{Err: err})
	}
	for _, n := range list {
		p := join(dir, n)
		fp, err := b.Stat(p)
		if err == nil && skip != nil && skip(p, fp.Kind == Dir) {
			continue
		}
		if !yield(p, Look{fp, err}) || fp.Kind == Dir && !b.walk(p, skip, yield) {
			return false
		}
	}
	return true
}

// Load looks at many paths at once, cheaper than one by one when they are sorted. Errors come again from Stat.
func (b *Base) Load(paths []string) {
	half := len(paths) / 2
	if half < 500 {
		b.load(paths)
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { b.load(paths[:half]) })
	b.load(paths[half:])
	wg.Wait()
}

func (b *Base) load(paths []string) {
	at, open := dirfd{fd: -1}, ""
	defer func() { unix.Close(at.fd) }()
	for _, p := range paths {
		dir, name := split(clean(p))
		if at.fd < 0 || dir != open {
			unix.Close(at.fd)
			var err error
			if at.fd, err = b.root.open(dir, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
				at.fd = -1
				continue
			}
			open = dir
		}
		if name == "" {
			continue
		}
		if fp, err := statAt(at.fd, name); err == nil {
			b.remember(clean(p), fp)
		}
	}
}

// unchanged looks again at a path and tells whether it still is what the first look saw, at least in its content:
// a file that was merely touched is. It gives the present fingerprint.
func (b *Base) unchanged(p string, was Fingerprint, fresh dirfd) (is Fingerprint, ok bool, err error) {
	is, err = fresh.stat(p)
	if errors.Is(err, ErrSymlink) {
		is, err = Fingerprint{}, nil
	}
	if err != nil || Same(was, is) {
		return is, err == nil, err
	}
	b.mu.Lock()
	l := b.looks[p]
	b.mu.Unlock()
	if l == nil {
		return is, false, nil
	}
	l.mu.Lock()
	entry, read := l.entry, l.read
	l.mu.Unlock()
	if kfp, d, known := b.known(p); !read && known && kfp == was && was.Kind == File {
		entry, read = Entry{Kind: File, Mode: was.Mode, Size: was.Size, Digest: d}, true
	}
	if l.fp != was || !read || is.Kind != File || is.Size != was.Size || is.Mode != was.Mode || is.UID != was.UID || is.GID != was.GID {
		return is, false, nil
	}
	e, err := b.read(p, is)
	if errors.Is(err, ErrChanged) {
		return is, false, nil
	}
	return is, err == nil && e == entry, err
}

// At is Stat for paths of change sets, which know no links: what is below one is absent.
func (b *Base) At(p string) (Fingerprint, error) {
	fp, err := b.Stat(p)
	if errors.Is(err, ErrSymlink) {
		return Fingerprint{}, nil
	}
	return fp, err
}

// EntryAt is to Entry what At is to Stat.
func (b *Base) EntryAt(p string) (Entry, Fingerprint, error) {
	e, fp, err := b.Entry(p)
	if errors.Is(err, ErrSymlink) {
		return Entry{}, Fingerprint{}, nil
	}
	return e, fp, err
}

// below is Walk for one directory.
func (b *Base) below(dir string, skip func(path string, dir bool) bool) iter.Seq2[string, Look] {
	return func(yield func(string, Look) bool) { b.walk(dir, skip, yield) }
}

// isBelow tells whether p lies below dir.
func isBelow(p, dir string) bool {
	return len(p) > len(dir) && p[len(dir)] == '/' && strings.HasPrefix(p, dir)
}

// dump writes down what was seen of the paths that changes touch, and of what is below those that go.
func (b *Base) dump(w *writer, changes []Staged) error {
	seen := map[string]*look{}
	for _, c := range changes {
		l, err := b.look(c.Path)
		if err != nil {
			return err
		}
		seen[c.Path] = l
		if l.fp.Kind == Dir && (c.After.Kind != Dir || c.Fresh) {
			b.mu.Lock()
			for p, l := range b.looks { // order: sorted below
				if isBelow(p, c.Path) {
					seen[p] = l
				}
			}
			b.mu.Unlock()
		}
	}
	w.num(int64(len(seen)))
	for _, p := range slices.Sorted(maps.Keys(seen)) {
		l := seen[p]
		w.str(p)
		w.print(l.fp)
		l.mu.Lock()
		w.flag(l.read)
		if l.read {
			w.entry(l.entry)
		}
		l.mu.Unlock()
	}
	return nil
}

func (b *Base) undump(r *reader) {
	for range r.count() {
		l := b.remember(r.str(), r.print())
		if l.read = r.flag(); l.read {
			l.entry = r.entry()
		}
	}
}
