package cas

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Small objects that come in numbers share a file, a pack: to make an inode costs more than to write their bytes.
//
// A pack is made of records (digest, size in 4 bytes, bytes), then once it is complete a table of them in the order of
// their digests (digest, offset in 8 bytes, size in 4), and a trailer: how many there are and the CRC-32C of the table
// in 4 bytes each, and packMagic. Numbers are little-endian. It is appended to by one process, which holds its lock,
// between two of that one's syncs. A pack without a table is what a process left that died: its records are found one
// after the other.
const (
	packSuffix  = ".pack"
	packMagic   = "jitospk1"
	recordHead  = 32 + 4
	entrySize   = 32 + 8 + 4
	trailerSize = 4 + 4 + len(packMagic)

	smallObject = 64 << 10 // an object may be in a pack if it is smaller
	smallPack   = 4 << 20  // a pack that is smaller is put together with others by GC
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// extent is where a pack holds an object.
type extent struct {
	at   int64
	size uint32
}

// pack is a pack that nobody writes to any more.
type pack struct {
	name  string
	table []byte
	used  time.Time // when any of it was put last
}

func (p *pack) len() int { return len(p.table) / entrySize }

func (p *pack) entry(i int) (Digest, extent) {
	e := p.table[i*entrySize:]
	return Digest(e[:32]), extent{int64(binary.LittleEndian.Uint64(e[32:])), binary.LittleEndian.Uint32(e[40:])}
}

func (p *pack) find(d Digest) (extent, bool) {
	n := p.len()
	i := sort.Search(n, func(i int) bool { return bytes.Compare(p.table[i*entrySize:][:32], d[:]) >= 0 })
	if i == n {
		return extent{}, false
	}
	got, x := p.entry(i)
	return x, got == d
}

// packWriter is a pack that this process writes.
type packWriter struct {
	f       *os.File
	at      int64
	entries map[Digest]extent
}

// packs are those of a store.
type packs struct {
	dir string

	mu     sync.Mutex
	looked bool
	list   []*pack
	own    *packWriter         // nil: none is begun
	dirty  map[string]struct{} // what the next Sync makes durable besides
}

// newPack begins a pack. Its name was never that of another: who knows that one's table would take it for this one's.
func (p *packs) newPack() (*packWriter, error) {
	for {
		name := fmt.Sprintf("%s/%016x%s", p.dir, rand.Uint64(), packSuffix)
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o444)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := flock(f, unix.LOCK_EX); err != nil {
			return nil, errors.Join(err, f.Close(), os.Remove(name))
		}
		return &packWriter{f: f, entries: map[Digest]extent{}}, nil
	}
}

// add appends an object. What a failed write leaves is overwritten by the next.
func (w *packWriter) add(d Digest, b []byte) error {
	if _, there := w.entries[d]; there {
		return nil
	}
	rec := make([]byte, 0, recordHead+len(b))
	rec = binary.LittleEndian.AppendUint32(append(rec, d[:]...), uint32(len(b)))
	if err := pwrite(int(w.f.Fd()), append(rec, b...), w.at); err != nil {
		return err
	}
	w.entries[d] = extent{w.at + recordHead, uint32(len(b))}
	w.at += int64(recordHead + len(b))
	return nil
}

// seal completes the pack and makes it durable. After an error it may be tried again.
func (w *packWriter) seal() (*pack, error) {
	p := &pack{name: filepath.Base(w.f.Name()), table: tableOf(w.entries), used: time.Now()}
	end := binary.LittleEndian.AppendUint32(nil, uint32(p.len()))
	end = binary.LittleEndian.AppendUint32(end, crc32.Checksum(p.table, castagnoli))
	end = append(end, packMagic...)
	if err := w.f.Truncate(w.at); err != nil {
		return nil, err
	}
	if err := pwrite(int(w.f.Fd()), append(slices.Clip(p.table), end...), w.at); err != nil {
		return nil, err
	}
	return p, w.f.Sync()
}

func tableOf(entries map[Digest]extent) []byte {
	b := make([]byte, 0, len(entries)*entrySize)
	for _, d := range slices.SortedFunc(maps.Keys(entries), func(a, b Digest) int { return bytes.Compare(a[:], b[:]) }) {
		b = binary.LittleEndian.AppendUint64(append(b, d[:]...), uint64(entries[d].at))
		b = binary.LittleEndian.AppendUint32(b, entries[d].size)
	}
	return b
}

// readPack reads the table of a pack, or makes the one of a pack that has none. It returns nil for a pack that a process
// writes to now.
func readPack(path string) (*pack, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := &pack{name: filepath.Base(path), used: st.ModTime()}
	if p.table, err = readTable(f, st.Size()); p.table != nil || err != nil {
		return p, err
	}
	if err := flock(f, unix.LOCK_SH|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if st, err = f.Stat(); err != nil {
		return nil, err
	}
	if p.table, err = readTable(f, st.Size()); p.table != nil || err != nil { // it was completed just now
		return p, err
	}
	entries := map[Digest]extent{}
	var head [recordHead]byte
	for at := int64(0); at+recordHead <= st.Size(); {
		if _, err := f.ReadAt(head[:], at); err != nil {
			return nil, err
		}
		x := extent{at + recordHead, binary.LittleEndian.Uint32(head[32:])}
		if at = x.at + int64(x.size); at > st.Size() {
			break
		}
		entries[Digest(head[:32])] = x
	}
	p.table = tableOf(entries)
	return p, nil
}

// readTable returns nil if there is no sound table.
func readTable(f *os.File, size int64) ([]byte, error) {
	var end [trailerSize]byte
	if size < int64(trailerSize) {
		return nil, nil
	}
	if _, err := f.ReadAt(end[:], size-int64(trailerSize)); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(end[:])) * entrySize
	if string(end[8:]) != packMagic || n > size-int64(trailerSize) {
		return nil, nil
	}
	table := make([]byte, n)
	if _, err := f.ReadAt(table, size-int64(trailerSize)-n); err != nil {
		return nil, err
	}
	if crc32.Checksum(table, castagnoli) != binary.LittleEndian.Uint32(end[4:]) {
		return nil, nil
	}
	return table, nil
}

// look reads the tables of packs that are new. The caller holds mu.
func (p *packs) look() error {
	names, err := packNames(p.dir)
	if err != nil {
		return err
	}
	p.list = slices.DeleteFunc(p.list, func(k *pack) bool { return !slices.Contains(names, k.name) })
	for _, n := range names {
		if slices.ContainsFunc(p.list, func(k *pack) bool { return k.name == n }) {
			continue
		}
		k, err := readPack(filepath.Join(p.dir, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if k != nil {
			p.list = append(p.list, k)
		}
	}
	p.looked = true
	return nil
}

func packNames(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range es {
		if strings.HasSuffix(e.Name(), packSuffix) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// search finds an object. in is nil if it is in the pack that this process writes. The caller holds mu.
func (p *packs) search(d Digest) (in *pack, x extent, ok bool) {
	if p.own != nil {
		if x, ok = p.own.entries[d]; ok {
			return nil, x, true
		}
	}
	for _, k := range p.list {
		if x, ok = k.find(d); ok {
			return k, x, true
		}
	}
	return nil, extent{}, false
}

// has says whether a pack holds the object; with again also one that another process has made since the last look.
func (p *packs) has(d Digest, again bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, _, ok := p.search(d); ok || p.looked && !again {
		return ok
	}
	if p.look() != nil { // a pack that cannot be read is as good as none
		return false
	}
	_, _, ok := p.search(d)
	return ok
}

// each yields the objects of the packs that nobody writes to. Its Used is when any of the pack was put last.
func (p *packs) each(yield func(Object, error) bool) error {
	p.mu.Lock()
	err := p.look()
	list := make([]pack, len(p.list))
	for i, k := range p.list {
		list[i] = *k
	}
	p.mu.Unlock()
	for _, k := range list {
		for i := range k.len() {
			d, x := k.entry(i)
			if !yield(Object{d, int64(x.size), k.used}, nil) {
				return nil
			}
		}
	}
	return err
}

// touch makes the pack young that holds an object. The caller has locked GC out.
func (p *packs) touch(d Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	in, _, ok := p.search(d)
	if in == nil {
		return ok
	}
	if touchFile(filepath.Join(p.dir, in.name)) != nil {
		return false // it went
	}
	p.dirty[in.name], in.used = struct{}{}, time.Now()
	return true
}

// read returns the bytes of an object, unverified; ErrNotFound if there is none.
func (p *packs) read(d Digest) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for looked := false; ; looked = true {
		in, x, ok := p.search(d)
		if ok && in == nil {
			return x.read(p.own.f)
		}
		if ok {
			b, err := readFrom(filepath.Join(p.dir, in.name), x)
			if !errors.Is(err, fs.ErrNotExist) { // else a GC has put packs together
				return b, err
			}
		}
		if looked {
			return nil, fmt.Errorf("%s: %w", d, ErrNotFound)
		}
		if err := p.look(); err != nil {
			return nil, err
		}
	}
}

func readFrom(path string, x extent) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return x.read(f)
}

// read returns what there is of the bytes: that they are too few shows in the digest.
func (x extent) read(f *os.File) ([]byte, error) {
	b := make([]byte, x.size)
	n, err := f.ReadAt(b, x.at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// putSmall appends an object to the pack of this process.
func (s *Store) putSmall(d Digest, b []byte) error {
	p := &s.packs
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own == nil {
		if err := os.Mkdir(p.dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		var err error
		if p.own, err = p.newPack(); err != nil {
			return err
		}
	}
	if err := p.own.add(d, b); err != nil {
		return err
	}
	s.written.Add(int64(len(b)))
	return nil
}

// sync completes the pack that this process has begun, and makes it and what was touched durable.
func (p *packs) sync() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own != nil {
		k, err := p.own.seal()
		if err != nil {
			return err
		}
		p.list = append(p.list, k)
		own := p.own.f
		p.own = nil
		p.dirty[""] = struct{}{} // the directory
		if err := own.Close(); err != nil {
			return err
		}
	}
	for name := range p.dirty { // order: each is independent
		if err := syncPath(filepath.Join(p.dir, name), unix.Fsync); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(p.dirty, name)
	}
	return nil
}

// fromPack returns an object of a pack, verified. One that is damaged it removes.
func (s *Store) fromPack(d Digest) ([]byte, error) {
	b, err := s.packs.read(d)
	if err == nil && Sum(b) != d {
		err = errors.Join(fmt.Errorf("%s: %w", d, ErrCorrupt), s.dropFromPacks(d))
	}
	return b, err
}

func (s *Store) dropFromPacks(d Digest) error {
	p := &s.packs
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		in, _, ok := p.search(d)
		switch {
		case !ok:
			return nil
		case in == nil:
			delete(p.own.entries, d)
		default:
			if _, err := s.repack([]string{in.name}, func(x Digest) bool { return x != d }); err != nil {
				return err
			}
			if err := os.Remove(filepath.Join(p.dir, in.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if err := p.look(); err != nil {
				return err
			}
		}
	}
}

// repack writes what is to be kept of packs into a new one, durably, and returns what it left out. Objects that are
// damaged are dropped too.
func (s *Store) repack(names []string, keep func(Digest) bool) (dropped map[Digest]extent, err error) {
	w, err := s.packs.newPack()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || len(w.entries) == 0 {
			err = errors.Join(err, os.Remove(w.f.Name()))
		}
		err = errors.Join(err, w.f.Close())
	}()
	dropped = map[Digest]extent{}
	for _, name := range names {
		k, err := readPack(filepath.Join(s.packs.dir, name))
		if err != nil {
			return nil, err
		}
		f, err := os.Open(filepath.Join(s.packs.dir, name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for i := range k.len() {
			d, x := k.entry(i)
			b, err := x.read(f)
			if err != nil {
				return nil, err
			}
			if !keep(d) || Sum(b) != d {
				dropped[d] = x
			} else if err := w.add(d, b); err != nil {
				return nil, err
			}
		}
	}
	if len(w.entries) == 0 {
		return dropped, nil
	}
	if _, err := w.seal(); err != nil {
		return nil, err
	}
	return dropped, syncPath(s.packs.dir, unix.Fsync)
}

// collectPacks is what GC does to packs: those of which something goes, and small ones, are put together. What somebody
// uses meanwhile stays as it is.
func (s *Store) collectPacks(keep func(Digest) bool, old func(fs.FileInfo) bool, lock *os.File, st *Stats) error {
	names, err := packNames(s.packs.dir)
	if err != nil {
		return err
	}
	var merge []string
	kept, goes := 0, false
	for _, name := range names {
		path := filepath.Join(s.packs.dir, name)
		k, err := readPack(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && k == nil {
			continue
		}
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		loses, n := false, k.len()
		for i := range n {
			d, _ := k.entry(i)
			loses = loses || !keep(d)
		}
		if kept += n; old(info) && (loses || info.Size() < smallPack) {
			merge, goes = append(merge, name), goes || loses
		}
	}
	st.Kept += kept
	if !goes && len(merge) < 2 {
		return nil
	}
	dropped, err := s.repack(merge, keep)
	if err != nil {
		return err
	}
	// With the lock, nobody makes a pack young between our look and its removal.
	if err := flock(lock, unix.LOCK_EX); err != nil {
		return err
	}
	for _, name := range merge {
		path := filepath.Join(s.packs.dir, name)
		info, lerr := os.Lstat(path)
		if lerr != nil || !old(info) {
			dropped = nil // at least some of it stays
			continue
		}
		err = errors.Join(err, os.Remove(path))
	}
	for _, x := range dropped { // order: a sum
		st.Kept--
		st.Removed++
		st.Freed += int64(x.size)
	}
	if err = errors.Join(err, flock(lock, unix.LOCK_UN)); err != nil {
		return err
	}
	s.packs.mu.Lock()
	defer s.packs.mu.Unlock()
	return s.packs.look()
}
