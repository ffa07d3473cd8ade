package runner

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/cas"
)

// A projection is the System graph flattened for one question: is there anything to do for this intent? It lists
// everything that a run looked at before it found that nothing is to do (files and directories with their
// fingerprints, variables, programs), and the head of the history it was taken at. While all of it is as it was, the answer
// is the same. It is derived: without it the answer costs a compilation and queries on the graph.
//
// The file is magic, BLAKE3 of the rest, then: head of the history, steps, observations (kind, name, value), request, looks
// (path with a NUL, fingerprint, digest), all integers little endian.

const projectionMagic = "jitosys3"

// Projection is what is kept of a run that left nothing to do.
type Projection struct {
	Head    [32]byte // chain hash of the history
	Steps   int
	Outside []Outside
	Request []string // target and arguments: for those who check the answer, and not looked at by it
	Seen    []sws.Seen
}

// Outside is something that was looked up outside the workspace.
type Outside struct{ Kind, Name, Value string } // Kind "env" or "program"

// EnvValue is the Value of a variable: one that is empty differs from one that is not set.
func EnvValue(value string, set bool) string {
	if !set {
		return ""
	}
	sum := sha256.Sum256([]byte(value)) // it may be a secret
	return "=" + hex.EncodeToString(sum[:])
}

// WriteProjection replaces the projection at path. It is rebuilt when it is lost, so nothing is synced.
func WriteProjection(path string, p Projection) error {
	b := make([]byte, 0, 64+len(p.Seen)*150)
	str := func(s string) {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = append(b, p.Head[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(p.Steps))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Outside)))
	for _, o := range p.Outside {
		str(o.Kind)
		str(o.Name)
		str(o.Value)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Request)))
	for _, a := range p.Request {
		str(a)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Seen)))
	for _, s := range p.Seen {
		str(s.Path + "\x00")
		var flags byte
		if s.Listed {
			flags |= 1
		}
		if s.Read && s.Print.Kind == sws.File {
			flags |= 2
		}
		b = append(b, flags, byte(s.Print.Kind))
		b = binary.LittleEndian.AppendUint32(b, s.Print.Mode)
		b = binary.LittleEndian.AppendUint32(b, s.Print.UID)
		b = binary.LittleEndian.AppendUint32(b, s.Print.GID)
		for _, v := range []int64{s.Print.Size, s.Print.Mtime, s.Print.Ctime, int64(s.Print.Ino)} {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
		b = append(b, s.Entry.Digest[:]...)
	}
	sum := blake3.Sum256(b)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(append([]byte(projectionMagic), sum[:]...), b...))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// reader takes a projection apart. A short or odd file makes it bad, never a panic.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return make([]byte, max(0, min(n, 64)))
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) i64() int64  { return int64(binary.LittleEndian.Uint64(r.take(8))) }
func (r *reader) str() string {
	b := r.take(int(r.u32()))
	return unsafe.String(unsafe.SliceData(b), len(b)) // of the mapped file, which outlives it
}

// strs reads a list of strings.
func (r *reader) strs() (out []string) {
	for range r.u32() {
		if out = append(out, r.str()); r.bad {
			return nil
		}
	}
	return out
}

func (r *reader) seen() (s sws.Seen, path []byte) {
	path = r.take(int(r.u32()))
	if len(path) == 0 || path[len(path)-1] != 0 {
		r.bad = true
		return s, nil
	}
	flags := r.take(2)
	s.Listed, s.Read = flags[0]&1 != 0, flags[0]&2 != 0
	s.Print.Kind = sws.Kind(flags[1])
	s.Print.Mode, s.Print.UID, s.Print.GID = r.u32(), r.u32(), r.u32()
	s.Print.Size, s.Print.Mtime, s.Print.Ctime, s.Print.Ino = r.i64(), r.i64(), r.i64(), uint64(r.i64())
	s.Entry.Digest = cas.Digest(r.take(32))
	return s, path
}

// seenSize is the length of an entry without its path.
const seenSize = 4 + 2 + 12 + 32 + 32

// Unchanged says whether everything that a projection lists is as it was, and how many steps that makes. head is that of
// the history now; env and program look up what is outside.
func Unchanged(root, path string, head [32]byte, env func(string) (string, bool), program func(string) string) (steps int, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() < int64(len(projectionMagic)+64) || st.Size() > 1<<30 {
		return 0, false
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return 0, false
	}
	defer unix.Munmap(b)
	r, ok := open(b)
	if !ok || string(r.take(32)) != string(head[:]) {
		return 0, false
	}
	steps = int(r.u32())
	for range r.u32() {
		kind, name, value := r.str(), r.str(), r.str()
		switch kind {
		case "env":
			if EnvValue(env(name)) != value {
				return 0, false
			}
		case "program":
			if program(name) != value {
				return 0, false
			}
		}
		if r.bad {
			return 0, false
		}
	}
	r.strs()
	n := int(r.u32())
	if r.bad || n > len(r.b)/seenSize {
		return 0, false
	}
	return steps, unchanged(root, r, n)
}

// unchanged compares n looks with the tree, on all processors.
func unchanged(root string, r *reader, n int) bool {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(dir)
	workers := min(runtime.GOMAXPROCS(0), 8, 1+n/256)
	var parts []reader
	for w := range workers { // an entry has no fixed size: cut where an entry begins
		parts = append(parts, reader{b: r.b})
		for range n*(w+1)/workers - n*w/workers {
			r.take(int(r.u32()))
			r.take(seenSize - 4)
		}
		if r.bad {
			return false
		}
		parts[w].b = parts[w].b[:len(parts[w].b)-len(r.b)]
	}
	var wg sync.WaitGroup
	var differs atomic.Bool
	for w := range parts {
		wg.Go(func() {
			p := &parts[w]
			var st unix.Stat_t
			for len(p.b) > 0 && !differs.Load() {
				s, path := p.seen()
				if p.bad || !same(dir, path, s, &st) {
					differs.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return !differs.Load()
}

// same looks at one path. Of a directory, its names count only if they were looked at.
func same(dir int, path []byte, s sws.Seen, st *unix.Stat_t) bool {
	var flags = unix.AT_SYMLINK_NOFOLLOW
	if len(path) == 1 {
		flags |= unix.AT_EMPTY_PATH
	}
	errno := fstatat(dir, &path[0], st, flags)
	if errno == unix.ENOENT || errno == unix.ENOTDIR {
		return s.Print.Kind == sws.Absent
	}
	if errno != 0 {
		return false
	}
	now := sws.FingerprintOf(st)
	if s.Print.Kind == sws.Dir && !s.Listed {
		return sws.Same(s.Print, now)
	}
	return s.Print == now
}

// Projections lists the projections in a directory, by name. One that is not there has none.
func Projections(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") { // one that is being written
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, err
}

// Digests reads the digests of files from the projections of a directory, by path and fingerprint, for [sws.NewBase].
// They are read when the first one is asked for. A projection that is odd knows nothing.
func Digests(dir string) func(path string) (sws.Fingerprint, cas.Digest, bool) {
	known := sync.OnceValue(func() map[string]sws.Seen {
		out := map[string]sws.Seen{}
		files, _ := Projections(dir) // what cannot be listed knows nothing either
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil {
				digests(b, out)
			}
		}
		return out
	})
	return func(p string) (sws.Fingerprint, cas.Digest, bool) {
		s, ok := known()[p]
		return s.Print, s.Entry.Digest, ok
	}
}

func digests(b []byte, out map[string]sws.Seen) {
	p, err := decodeProjection(b)
	if err != nil {
		return
	}
	for _, s := range p.Seen {
		if s.Read && s.Print.Ctime >= out[s.Path].Print.Ctime { // the latest is most likely right
			out[s.Path] = s
		}
	}
}

// ErrProjection says that a file is no projection, or a damaged one.
var ErrProjection = errors.New("not what was written")

// ReadProjection reads a projection whole.
func ReadProjection(path string) (Projection, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Projection{}, err
	}
	return decodeProjection(b)
}

func decodeProjection(b []byte) (p Projection, err error) {
	r, ok := open(b)
	if !ok {
		return p, ErrProjection
	}
	copy(p.Head[:], r.take(32))
	p.Steps = int(r.u32())
	for range r.u32() {
		if p.Outside = append(p.Outside, Outside{r.str(), r.str(), r.str()}); r.bad {
			return p, ErrProjection
		}
	}
	p.Request = r.strs()
	for range r.u32() {
		s, path := r.seen()
		if r.bad {
			return p, ErrProjection
		}
		s.Path = string(path[:len(path)-1])
		p.Seen = append(p.Seen, s)
	}
	if r.bad || len(p.Request) == 0 {
		return p, ErrProjection
	}
	return p, nil
}

// open checks a projection and returns a reader after its digest.
func open(b []byte) (*reader, bool) {
	if len(b) < len(projectionMagic)+32 || string(b[:len(projectionMagic)]) != projectionMagic {
		return nil, false
	}
	r := &reader{b: b[len(projectionMagic):]}
	sum := r.take(32)
	got := blake3.Sum256(r.b)
	return r, string(got[:]) == string(sum)
}
