// Package cas is a store of blobs by the BLAKE3-256 of their bytes.
//
// A blob is a file dir/ab/cdef…; it is written under a temporary name in dir/tmp and renamed, so that an object is
// there whole or not at all. Small ones that come in numbers share files in dir/packs (pack.go). What is read is
// verified. Nothing is durable before [Store.Sync], which callers make part of their commit points. [Store.GC] drops
// what nobody keeps.
//
// The package knows nothing of graphs, history or workspaces. Start reading at [Store].
//
// # Caveats
//
// Several processes may use one directory at once. An object that power loss damaged before it was synced is found
// when it is read: it is then removed, so that the next Put stores it anew.
package cas

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// Digest is the BLAKE3-256 of a blob.
type Digest [32]byte

// String returns 64 lowercase hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Sum returns the digest of b.
func Sum(b []byte) Digest { return blake3.Sum256(b) }

// Errors of a Store.
var (
	// ErrNotFound says that there is no such object; it is an fs.ErrNotExist.
	ErrNotFound = fmt.Errorf("no such object: %w", fs.ErrNotExist)
	// ErrCorrupt says that the object's bytes had another digest. It is removed, so it is a miss that says so.
	ErrCorrupt = errors.New("object is damaged")
	// ErrNotRegular says that what should be stored is no regular file.
	ErrNotRegular = errors.New("not a regular file")
)

const (
	fewFiles  = 16        // up to so many objects are synced one by one, and small ones have files of their own
	chunkSize = 256 << 10 // of files that are copied
)

// zeros is what holes read as. Nobody writes it.
var zeros [chunkSize]byte

// Store is a directory of objects. Its methods may be called concurrently.
type Store struct {
	dir, tmp string
	serial   atomic.Uint64
	chunks   sync.Pool
	written  atomic.Int64

	lock     *os.File // locked, shared, while somebody touches; see GC
	touching int      // how many do; guarded by mu

	mu      sync.Mutex
	pending map[Digest]struct{} // put since the last Sync, as files

	packs packs
}

// Open returns the store in dir, which it makes if need be.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir, tmp: filepath.Join(dir, "tmp"), pending: map[Digest]struct{}{}}
	s.packs = packs{dir: filepath.Join(dir, "packs"), dirty: map[string]struct{}{}}
	s.chunks.New = func() any { return new([chunkSize]byte) }
	if err := os.MkdirAll(s.tmp, 0o777); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	var err error
	if s.lock, err = openLock(dir); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	return s, nil
}

// Close releases what the store holds. It makes nothing durable.
func (s *Store) Close() error {
	s.packs.mu.Lock()
	defer s.packs.mu.Unlock()
	err := s.lock.Close()
	if own := s.packs.own; own != nil {
		s.packs.own = nil
		err = errors.Join(err, own.f.Close())
	}
	return err
}

func (s *Store) path(d Digest) string {
	b := make([]byte, 0, len(s.dir)+70)
	b = append(append(b, s.dir...), '/')
	b = append(hex.AppendEncode(b, d[:1]), '/')
	return string(hex.AppendEncode(b, d[1:]))
}

// compressed is the suffix of an object that GC has compressed.
const compressed = ".zst"

// temp makes a new file in tmp. Names carry the process id, so that processes do not meet; one that is left over from
// a process that died is passed by.
func (s *Store) temp() (*os.File, error) {
	for {
		name := fmt.Sprintf("%s/%d-%d", s.tmp, os.Getpid(), s.serial.Add(1))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o444)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

func openLock(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o666)
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// touch tells whether the object is there, and if so makes it young, so that no GC removes it. Should the lock fail, the
// object counts as missing and is written anew, which is safe.
func (s *Store) touch(d Digest) bool {
	path := s.path(d)
	inPack := s.packs.has(d, false)
	if !inPack && unix.Access(path, unix.F_OK) != nil && unix.Access(path+compressed, unix.F_OK) != nil {
		return false
	}
	s.mu.Lock()
	if s.touching == 0 {
		if err := flock(s.lock, unix.LOCK_SH); err != nil {
			s.mu.Unlock()
			return false
		}
	}
	s.touching++
	s.mu.Unlock()
	there := inPack && s.packs.touch(d)
	if !there && (touchFile(path) == nil || touchFile(path+compressed) == nil) {
		there = true
		s.note(d)
	}
	s.mu.Lock()
	if s.touching--; s.touching == 0 {
		there = flock(s.lock, unix.LOCK_UN) == nil && there
	}
	s.mu.Unlock()
	return there
}

func (s *Store) note(d Digest) {
	s.mu.Lock()
	s.pending[d] = struct{}{}
	s.mu.Unlock()
}

// many says that so many objects were put since the last Sync that more of them go to a pack.
func (s *Store) many() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) >= fewFiles
}

// Written returns how many bytes this Store has added to the directory.
func (s *Store) Written() int64 { return s.written.Load() }

// place renames a finished file of n bytes to its object.
func (s *Store) place(from string, d Digest, n int64) error {
	to := s.path(d)
	err := unix.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(to), 0o777); err == nil || errors.Is(err, fs.ErrExist) {
			err = unix.Rename(from, to)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	s.written.Add(n)
	s.note(d)
	return nil
}

// Put stores b.
func (s *Store) Put(b []byte) (Digest, error) {
	d := Sum(b)
	if s.touch(d) {
		return d, nil
	}
	return d, s.put(d, b)
}

// put stores b, which is not there.
func (s *Store) put(d Digest, b []byte) error {
	if len(b) < smallObject && s.many() {
		if err := s.putSmall(d, b); err != nil {
			return fmt.Errorf("store object %s: %w", d, err)
		}
		return nil
	}
	f, err := s.temp()
	if err != nil {
		return fmt.Errorf("store object: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.place(f.Name(), d, int64(len(b)))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store object %s: %w", d, err), removeTemp(f.Name()))
	}
	return nil
}

func removeTemp(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// PutFile stores a copy of the regular file at path, which may not be a symbolic link, and returns its digest and size.
func (s *Store) PutFile(path string) (Digest, int64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return Digest{}, 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	d, n, err := s.putFD(fd, nil)
	if err != nil {
		err = fmt.Errorf("store %s: %w", path, err)
	}
	return d, n, err
}

// PutFD stores what is in the regular file open as fd, from its start; the file's offset may move. If known is
// given it is the file's digest, and the file is not read if the object is there; when it has to be read, the digest
// returned is that of what was read.
func (s *Store) PutFD(fd int, known *Digest) (Digest, error) {
	d, _, err := s.putFD(fd, known)
	return d, err
}

func (s *Store) putFD(fd int, known *Digest) (Digest, int64, error) {
	if known != nil && s.touch(*known) {
		return *known, 0, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Digest{}, 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Digest{}, 0, ErrNotRegular
	}
	if st.Size <= chunkSize { // read at once, and written only if it is new
		room := s.chunks.Get().(*[chunkSize]byte)
		defer s.chunks.Put(room)
		if n, err := readFull(fd, room[:]); err != nil || n < chunkSize {
			if err != nil {
				return Digest{}, 0, err
			}
			d := Sum(room[:n])
			if known == nil || d != *known { // that one was looked for
				if s.touch(d) {
					return d, int64(n), nil
				}
			}
			return d, int64(n), s.put(d, room[:n])
		}
	}
	f, err := s.temp()
	if err != nil {
		return Digest{}, 0, err
	}
	d, n, err := s.copy(int(f.Fd()), fd)
	err = errors.Join(err, f.Close())
	if err == nil && s.touch(d) {
		return d, n, os.Remove(f.Name())
	}
	if err == nil {
		err = s.place(f.Name(), d, n)
	}
	if err != nil {
		return Digest{}, 0, errors.Join(err, removeTemp(f.Name()))
	}
	return d, n, nil
}

// readFull reads the file's start and returns less than len(b) only at its end.
func readFull(fd int, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := pread(fd, b[n:], int64(n))
		if m == 0 || err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func pread(fd int, b []byte, at int64) (n int, err error) {
	for {
		if n, err = unix.Pread(fd, b, at); err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func pwrite(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, at)
		if err != nil && err != unix.EINTR {
			return err
		}
		if n > 0 {
			b, at = b[n:], at+int64(n)
		}
	}
	return nil
}

// copy copies the file open as src to dst, an empty one, and returns what it read. Where src has a hole or a chunk of
// zeros, dst gets a hole.
func (s *Store) copy(dst, src int) (Digest, int64, error) {
	room := s.chunks.Get().(*[chunkSize]byte)
	defer s.chunks.Put(room)
	h := blake3.New()
	at, data := int64(0), int64(0) // before data there is a hole
	for {
		if at >= data {
			var err error
			data, err = unix.Seek(src, at, unix.SEEK_DATA)
			if err == unix.ENXIO { // a hole up to the end
				var st unix.Stat_t
				err = unix.Fstat(src, &st)
				data = max(st.Size, at)
			}
			if err == unix.EINVAL || err == unix.EOPNOTSUPP {
				data, err = at, nil
			}
			if err != nil {
				return Digest{}, 0, err
			}
		}
		if at < data {
			n := min(data-at, chunkSize)
			h.Write(zeros[:n])
			at += n
			continue
		}
		n, err := pread(src, room[:], at)
		if err != nil {
			return Digest{}, 0, err
		}
		if n == 0 {
			break
		}
		h.Write(room[:n])
		if !bytes.Equal(room[:n], zeros[:n]) {
			if err := pwrite(dst, room[:n], at); err != nil {
				return Digest{}, 0, err
			}
		}
		at += int64(n)
		data = at
	}
	return Digest(h.Sum(nil)), at, unix.Ftruncate(dst, at)
}

// Adopt makes the file at path the object d without copying it, trusting that its content is d. That needs a regular
// file of the store's file system and of our user that has no other name and no user.overlay extended attributes;
// any other regular file is copied. What is left at path afterwards, if anything, is the caller's to remove.
func (s *Store) Adopt(path string, d Digest) error {
	if s.touch(d) {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "adopt", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("adopt %s: %w", path, ErrNotRegular)
	}
	if st.Nlink == 1 && int(st.Uid) == os.Geteuid() && !hasOverlayAttributes(path) && os.Chmod(path, 0o444) == nil {
		err := s.place(path, d, st.Size)
		if !errors.Is(err, unix.EXDEV) {
			return err
		}
	}
	got, _, err := s.PutFile(path)
	if err == nil && got != d {
		return fmt.Errorf("adopt %s: it is %s, not %s: %w", path, got, d, ErrCorrupt)
	}
	return err
}

func hasOverlayAttributes(path string) bool {
	var room [1024]byte
	n, err := unix.Llistxattr(path, room[:])
	if errors.Is(err, unix.EOPNOTSUPP) {
		return false
	}
	return err != nil || bytes.Contains(room[:n], []byte("user.overlay.")) || bytes.Contains(room[:n], []byte("trusted.overlay."))
}

// Has says whether the object is there, not whether it is sound.
func (s *Store) Has(d Digest) bool {
	path := s.path(d)
	return s.packs.has(d, false) || unix.Access(path, unix.F_OK) == nil || unix.Access(path+compressed, unix.F_OK) == nil || s.packs.has(d, true)
}

// open opens an object. If it is compressed, plain is false.
func (s *Store) open(d Digest) (f *os.File, plain bool, err error) {
	path := s.path(d)
	for _, name := range [...]string{path, path + compressed} { // in this order: a GC makes the second before it removes the first
		f, err = os.Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, name == path, err
		}
	}
	return nil, false, fmt.Errorf("%s: %w", d, ErrNotFound)
}

// corrupt removes a damaged object and says so.
func (s *Store) corrupt(d Digest, f *os.File, why error) error {
	err := fmt.Errorf("%s: %w", d, ErrCorrupt)
	if why != nil {
		err = fmt.Errorf("%w: %v", err, why)
	}
	return errors.Join(err, removeTemp(f.Name()))
}

// Get returns an object, verified. It fails with ErrNotFound or ErrCorrupt.
func (s *Store) Get(d Digest) ([]byte, error) {
	f, plain, err := s.open(d)
	if errors.Is(err, ErrNotFound) {
		return s.fromPack(d)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b []byte
	if plain {
		var st os.FileInfo
		if st, err = f.Stat(); err != nil {
			return nil, err
		}
		b = make([]byte, st.Size())
		n, err := io.ReadFull(f, b)
		if b = b[:n]; err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			return nil, err
		}
	} else if b, err = decompress(f); err != nil {
		return nil, s.corrupt(d, f, err)
	}
	if Sum(b) != d {
		return nil, s.corrupt(d, f, nil)
	}
	return b, nil
}

func decompress(r io.Reader) ([]byte, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(z)
}

// CopyTo writes an object into the empty file open as fd. When it fails with ErrCorrupt the file is empty again.
func (s *Store) CopyTo(d Digest, fd int) error {
	f, plain, err := s.open(d)
	if err == nil {
		defer f.Close()
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	if !plain {
		b, err := s.Get(d)
		if err == nil {
			err = pwrite(fd, b, 0)
		}
		return err
	}
	got, _, err := s.copy(fd, int(f.Fd()))
	if err == nil && got != d {
		return errors.Join(s.corrupt(d, f, nil), unix.Ftruncate(fd, 0))
	}
	return err
}

// Sync makes durable all that was put since the last Sync that succeeded, also what another process had put before.
func (s *Store) Sync() error {
	s.mu.Lock()
	pending := s.pending
	s.pending = map[Digest]struct{}{}
	s.mu.Unlock()
	err := s.packs.sync()
	switch {
	case err != nil:
	case len(pending) == 0:
	case len(pending) > fewFiles:
		err = s.syncAll(pending)
	default:
		err = s.syncEach(pending)
	}
	if err != nil {
		s.mu.Lock()
		for d := range pending {
			s.pending[d] = struct{}{}
		}
		s.mu.Unlock()
		return fmt.Errorf("sync objects: %w", err)
	}
	return nil
}

func syncPath(path string, sync func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if err = sync(fd); err != nil {
		err = &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	return errors.Join(err, unix.Close(fd))
}

// syncEach syncs objects and the directories they are in: the files at once, then the names.
func (s *Store) syncEach(objects map[Digest]struct{}) error {
	errs := make(chan error)
	n := 0
	dirs := map[string]struct{}{s.dir: {}}
	for d := range objects {
		path := s.path(d)
		dirs[filepath.Dir(path)] = struct{}{}
		n++
		go func() {
			err := syncPath(path, unix.Fsync)
			if errors.Is(err, fs.ErrNotExist) {
				err = syncPath(path+compressed, unix.Fsync)
			}
			errs <- err
		}()
	}
	var all error
	for range n {
		all = errors.Join(all, <-errs)
	}
	for dir := range dirs {
		all = errors.Join(all, syncPath(dir, unix.Fsync))
	}
	return all
}

// Object is an object as it lies in the store.
type Object struct {
	Digest Digest
	Size   int64     // bytes on disk
	Used   time.Time // when it was put last
}

// Objects yields what is in the store, in the order of the digests of each directory. Objects that come or go meanwhile
// may or may not be among them.
func (s *Store) Objects() iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		stopped := false
		err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
			if (path == s.tmp || path == s.packs.dir) && e.IsDir() {
				return fs.SkipDir
			}
			if errors.Is(err, fs.ErrNotExist) || err == nil && e.IsDir() {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			d, _, ok := s.digestOf(path)
			if stopped = err == nil && ok && !yield(Object{d, info.Size(), info.ModTime()}, nil); stopped {
				return fs.SkipAll
			}
			return err
		})
		if err == nil && !stopped {
			err = s.packs.each(yield)
		}
		if err != nil {
			yield(Object{}, fmt.Errorf("list objects: %w", err))
		}
	}
}

// Check reads an object and compares its digest, in little memory. As any reader does, it removes what is damaged.
func (s *Store) Check(d Digest) error {
	f, plain, err := s.open(d)
	if errors.Is(err, ErrNotFound) {
		_, err = s.fromPack(d)
		return err
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := blake3.New()
	if plain {
		_, err = io.Copy(h, f)
		if err != nil {
			return err
		}
	} else {
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		if _, err := io.Copy(h, z); err != nil {
			return s.corrupt(d, f, err)
		}
	}
	if Digest(h.Sum(nil)) != d {
		return s.corrupt(d, f, nil)
	}
	return nil
}

// Stats is what a GC did.
type Stats struct {
	Kept, Removed, Compressed int   // objects
	Freed                     int64 // bytes
}

const compressFrom = smallObject // bytes from which GC tries to compress an object

// GC removes the objects that keep does not want and that nobody put within the time grace, compresses large ones that
// nobody put within the time compress where that saves a quarter or more, and removes what other processes left in tmp. It may run beside other
// processes that put and get, if grace is longer than they take from putting an object to making keep say so.
func (s *Store) GC(keep func(Digest) bool, grace, compress time.Duration) (Stats, error) {
	var st Stats
	now := time.Now()
	age := func(info fs.FileInfo) time.Duration { return now.Sub(info.ModTime()) }
	old := func(info fs.FileInfo) bool { return age(info) >= grace }
	lock, err := openLock(s.dir)
	if err != nil {
		return st, fmt.Errorf("collect objects: %w", err)
	}
	err = filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody was faster
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if filepath.Dir(path) == s.tmp {
			if old(info) && !strings.HasPrefix(e.Name(), fmt.Sprintf("%d-", os.Getpid())) {
				st.Freed += info.Size()
				return removeTemp(path)
			}
			return nil
		}
		d, isCompressed, ok := s.digestOf(path)
		switch {
		case !ok:
			return nil
		case keep(d) || !old(info):
			st.Kept++
			if !isCompressed && info.Size() >= compressFrom && age(info) >= compress {
				return s.compress(d, path, &st)
			}
			return nil
		}
		// With the lock, nobody makes the object young between our look and its removal.
		if err := flock(lock, unix.LOCK_EX); err != nil {
			return err
		}
		removed := false
		if info, err = os.Lstat(path); err == nil && old(info) {
			err = os.Remove(path)
			removed = err == nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if removed {
			st.Removed++
			st.Freed += info.Size()
		} else {
			st.Kept++
		}
		return errors.Join(err, flock(lock, unix.LOCK_UN))
	})
	if err == nil {
		err = s.collectPacks(keep, old, lock, &st)
	}
	err = errors.Join(err, lock.Close())
	if err != nil {
		return st, fmt.Errorf("collect objects: %w", err)
	}
	return st, nil
}

func (s *Store) digestOf(path string) (d Digest, isCompressed, ok bool) {
	name := filepath.Base(filepath.Dir(path)) + filepath.Base(path)
	if len(name) == 64+len(compressed) && name[64:] == compressed {
		name, isCompressed = name[:64], true
	}
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(d) {
		return d, false, false
	}
	return Digest(b), isCompressed, true
}

// compress replaces a plain object by a compressed one, if that pays.
func (s *Store) compress(d Digest, path string, st *Stats) error {
	b, err := s.Get(d)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	small := z.EncodeAll(b, nil)
	if err := z.Close(); err != nil {
		return err
	}
	if len(small) > len(b)/4*3 {
		return nil
	}
	f, err := s.temp()
	if err != nil {
		return err
	}
	_, err = f.Write(small)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path+compressed)
	}
	if err != nil {
		return errors.Join(err, removeTemp(f.Name()))
	}
	st.Compressed++
	st.Freed += int64(len(b) - len(small))
	return os.Remove(path)
}
