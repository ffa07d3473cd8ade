package cas_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func open(t *testing.T) (*cas.Store, string) {
	dir := filepath.Join(t.TempDir(), "objects")
	s, err := cas.Open(dir)
	require.NoError(t, err)
	return s, dir
}

func objectPath(dir string, d cas.Digest) string {
	return filepath.Join(dir, d.String()[:2], d.String()[2:])
}

// temps returns what is left over in tmp.
func temps(t *testing.T, dir string) int {
	entries, err := os.ReadDir(filepath.Join(dir, "tmp"))
	require.NoError(t, err)
	return len(entries)
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

func TestWhatIsPutCanBeGot(t *testing.T) {
	s, dir := open(t)
	for _, n := range []int{0, 1, 4096, 256<<10 - 1, 256 << 10, 256<<10 + 1, 3 << 20} {
		b := noise(n)
		d, err := s.Put(b)
		require.NoError(t, err)
		require.Equal(t, cas.Sum(b), d)
		path := filepath.Join(t.TempDir(), "f")
		require.NoError(t, os.WriteFile(path, append(b, 'x'), 0o644))
		d2, size, err := s.PutFile(path)
		require.NoError(t, err)
		require.EqualValues(t, n+1, size)
		require.Equal(t, cas.Sum(append(b, 'x')), d2)
		require.NoError(t, s.Sync())
		for d, want := range map[cas.Digest][]byte{d: b, d2: append(b, 'x')} {
			require.True(t, s.Has(d))
			got, err := s.Get(d)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
			f, err := os.Create(path)
			require.NoError(t, err)
			require.NoError(t, s.CopyTo(d, int(f.Fd())))
			require.NoError(t, f.Close())
			got, err = os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		}
	}
	require.Zero(t, temps(t, dir))
	_, err := s.Get(cas.Digest{1})
	require.ErrorIs(t, err, cas.ErrNotFound)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.False(t, s.Has(cas.Digest{1}))
	require.Equal(t, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", cas.Sum(nil).String())
}

func TestOnlyRegularFiles(t *testing.T) {
	s, _ := open(t)
	dir := t.TempDir()
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for _, name := range []string{"link", "fifo", ".", "missing"} {
		_, _, err := s.PutFile(filepath.Join(dir, name))
		require.Error(t, err, name)
		require.Error(t, s.Adopt(filepath.Join(dir, name), cas.Digest{1}), name)
	}
}

func TestHolesStayHoles(t *testing.T) {
	s, dir := open(t)
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("middle"), 20<<20)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(64<<20))
	require.NoError(t, f.Close())
	d, size, err := s.PutFile(path)
	require.NoError(t, err)
	require.EqualValues(t, 64<<20, size)
	want := make([]byte, 64<<20)
	copy(want[20<<20:], "middle")
	require.Equal(t, cas.Sum(want), d)
	out, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, s.CopyTo(d, int(out.Fd())))
	require.NoError(t, out.Close())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	for _, p := range []string{path, objectPath(dir, d)} {
		var st unix.Stat_t
		require.NoError(t, unix.Stat(p, &st))
		require.Less(t, st.Blocks*512, int64(2<<20))
	}
}

func TestDamagedObjectsAreMissesThatHeal(t *testing.T) {
	for name, b := range map[string][]byte{"small": noise(100), "large": noise(1 << 20)} {
		s, dir := open(t)
		d, err := s.Put(b)
		require.NoError(t, err)
		for _, bad := range [][]byte{nil, b[:50], append(bytes.Clone(b), 0), append([]byte{b[0] ^ 1}, b[1:]...)} {
			spoil := func() {
				require.NoError(t, os.Chmod(objectPath(dir, d), 0o644))
				require.NoError(t, os.WriteFile(objectPath(dir, d), bad, 0o644))
			}
			spoil()
			_, err := s.Get(d)
			require.ErrorIs(t, err, cas.ErrCorrupt, name)
			_, err = s.Get(d)
			require.ErrorIs(t, err, cas.ErrNotFound, name)
			_, err = s.Put(b)
			require.NoError(t, err)
			spoil()
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			require.NoError(t, err)
			require.ErrorIs(t, s.CopyTo(d, int(f.Fd())), cas.ErrCorrupt, name)
			st, err := f.Stat()
			require.NoError(t, err)
			require.Zero(t, st.Size())
			require.NoError(t, f.Close())
			_, err = s.Put(b)
			require.NoError(t, err)
			_, err = s.Get(d)
			require.NoError(t, err)
		}
	}
}

func TestAdoptMovesWhatNobodyElseHolds(t *testing.T) {
	s, dir := open(t)
	tmp := filepath.Dir(dir)
	for name, tt := range map[string]struct {
		prepare func(path string) error
		moved   bool
	}{
		"alone":         {func(string) error { return nil }, true},
		"linked":        {func(p string) error { return os.Link(p, p+".other") }, false},
		"overlay xattr": {func(p string) error { return unix.Setxattr(p, "user.overlay.opaque", []byte("y"), 0) }, false},
		"other xattr":   {func(p string) error { return unix.Setxattr(p, "user.note", []byte("y"), 0) }, true},
	} {
		path := filepath.Join(tmp, name)
		require.NoError(t, os.WriteFile(path, []byte(name), 0o755))
		if err := tt.prepare(path); err != nil {
			t.Logf("%s: %v", name, err) // a file system without such attributes
			continue
		}
		d := cas.Sum([]byte(name))
		require.NoError(t, s.Adopt(path, d))
		got, err := s.Get(d)
		require.NoError(t, err)
		require.Equal(t, name, string(got))
		_, err = os.Stat(path)
		require.Equal(t, tt.moved, os.IsNotExist(err), name)
		if !tt.moved {
			require.ErrorIs(t, s.Adopt(path, cas.Digest{byte(len(name))}), cas.ErrCorrupt, "a copy is looked at")
		}
	}
	require.NoError(t, s.Sync())
}

func TestAKnownDigestIsNotReadAgain(t *testing.T) {
	s, _ := open(t)
	d, err := s.Put([]byte("known"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("other"), 0o644))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	got, err := s.PutFD(int(f.Fd()), &d)
	require.NoError(t, err)
	require.Equal(t, d, got)
	missing := cas.Digest{9}
	got, err = s.PutFD(int(f.Fd()), &missing)
	require.NoError(t, err)
	require.Equal(t, cas.Sum([]byte("other")), got)
}

func TestGC(t *testing.T) {
	s, dir := open(t)
	var kept, dropped []cas.Digest
	blob := func(i int) []byte { return bytes.Repeat([]byte(fmt.Sprint(i, " is compressible ")), 10_000) }
	for i := range 20 {
		d, err := s.Put(blob(i))
		require.NoError(t, err)
		if i%2 == 0 {
			kept = append(kept, d)
		} else {
			dropped = append(dropped, d)
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tmp", "1-1"), []byte("left over"), 0o644))
	keep := func(d cas.Digest) bool {
		for _, k := range kept {
			if k == d {
				return true
			}
		}
		return false
	}
	st, err := s.GC(keep, time.Hour, time.Hour)
	require.NoError(t, err)
	require.Equal(t, cas.Stats{Kept: 20}, st)
	st, err = s.GC(keep, 0, 0)
	require.NoError(t, err)
	require.Equal(t, []int{10, 10, 10}, []int{st.Kept, st.Removed, st.Compressed})
	require.Zero(t, temps(t, dir))
	left := 0
	for o, err := range s.Objects() {
		require.NoError(t, err)
		require.Contains(t, kept, o.Digest)
		require.NoError(t, s.Check(o.Digest), "also of packed ones")
		require.Positive(t, o.Size)
		left++
	}
	require.Len(t, kept, left)
	for _, d := range dropped {
		require.ErrorIs(t, s.Check(d), cas.ErrNotFound)
		require.False(t, s.Has(d))
	}
	for i, d := range kept {
		require.True(t, s.Has(d))
		got, err := s.Get(d)
		require.NoError(t, err)
		require.True(t, bytes.Equal(blob(2*i), got))
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		require.NoError(t, err)
		require.NoError(t, s.CopyTo(d, int(f.Fd())))
		require.NoError(t, f.Close())
		again, err := s.Put(got)
		require.NoError(t, err)
		require.Equal(t, d, again)
	}
	require.NoError(t, s.Sync(), "packed objects are synced as well")
	require.NoError(t, os.WriteFile(objectPath(dir, kept[0])+".zst", []byte("rubbish"), 0o644))
	_, err = s.Get(kept[0])
	require.ErrorIs(t, err, cas.ErrCorrupt)
	require.False(t, s.Has(kept[0]))
	for n, d := range kept[1:3] { // as a plain object and as a packed one
		require.NoError(t, os.Remove(objectPath(dir, d)+".zst"))
		require.NoError(t, os.WriteFile(objectPath(dir, d)+[]string{"", ".zst"}[n], []byte("rubbish"), 0o644))
		require.ErrorIs(t, s.Check(d), cas.ErrCorrupt)
		require.False(t, s.Has(d))
	}
}

// TestGCBesidePuts lets stores put the same blobs while another collects everything that is old: what was put within
// the grace is there.
func TestGCBesidePuts(t *testing.T) {
	s, dir := open(t)
	other, err := cas.Open(dir)
	require.NoError(t, err)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, err := other.GC(func(cas.Digest) bool { return false }, time.Hour, time.Hour)
				require.NoError(t, err)
			}
		}
	})
	old := time.Now().Add(-24 * time.Hour)
	for i := range 400 {
		b := []byte(fmt.Sprint("blob ", i%5))
		if err := os.Chtimes(objectPath(dir, cas.Sum(b)), old, old); err != nil {
			require.ErrorIs(t, err, fs.ErrNotExist) // collected
		}
		d, err := s.Put(b)
		require.NoError(t, err)
		got, err := s.Get(d)
		require.NoError(t, err)
		require.Equal(t, b, got)
	}
	close(stop)
	wg.Wait()
}

func TestManyAtOnce(t *testing.T) {
	s, dir := open(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				b := []byte(fmt.Sprint("blob ", i))
				d, err := s.Put(b)
				require.NoError(t, err)
				got, err := s.Get(d)
				require.NoError(t, err)
				require.Equal(t, b, got)
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Sync())
	require.Zero(t, temps(t, dir))
}
