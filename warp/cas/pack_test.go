package cas_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// putSmall puts n small objects and returns them.
func putSmall(t require.TestingT, s *cas.Store, what string, n int) map[cas.Digest][]byte {
	out := map[cas.Digest][]byte{}
	for i := range n {
		b := fmt.Appendf(nil, "%s %d", what, i)
		d, err := s.Put(b)
		require.NoError(t, err)
		out[d] = b
	}
	return out
}

func packsOf(t require.TestingT, dir string) []string {
	list, err := filepath.Glob(filepath.Join(dir, "packs", "*"))
	require.NoError(t, err)
	return list
}

func requireAll(t require.TestingT, s *cas.Store, want map[cas.Digest][]byte) {
	for d, b := range want {
		require.True(t, s.Has(d))
		got, err := s.Get(d)
		require.NoError(t, err)
		require.Equal(t, b, got)
		require.NoError(t, s.Check(d))
	}
}

func files(t *testing.T, dir string) (n int) {
	require.NoError(t, filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	}))
	return n
}

func TestManySmallObjectsShareAFile(t *testing.T) {
	s, dir := open(t)
	want := putSmall(t, s, "object", 500)
	requireAll(t, s, want)
	require.NoError(t, s.Sync())
	require.Less(t, files(t, dir), 25)
	requireAll(t, s, want)

	again, err := cas.Open(dir)
	require.NoError(t, err)
	requireAll(t, again, want)
	for d := range putSmall(t, again, "object", 500) {
		require.Contains(t, want, d)
	}
	require.Zero(t, again.Written(), "what is there is not written again")
	n := 0
	for o, err := range again.Objects() {
		require.NoError(t, err)
		require.EqualValues(t, len(want[o.Digest]), o.Size)
		n++
	}
	require.Equal(t, 500, n)

	f, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	require.NoError(t, err)
	defer f.Close()
	d := cas.Sum([]byte("object 499"))
	require.NoError(t, again.CopyTo(d, int(f.Fd())))
	got, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, "object 499", string(got))
}

func TestWhatAnotherProcessPacksLaterIsFound(t *testing.T) {
	s, dir := open(t)
	require.False(t, s.Has(cas.Sum([]byte("later 0"))))
	other, err := cas.Open(dir)
	require.NoError(t, err)
	want := putSmall(t, other, "later", 40)
	require.NoError(t, other.Sync())
	requireAll(t, s, want)
}

// A pack that was cut off anywhere, or damaged anywhere, gives what is sound and nothing else, and what is not heals.
func TestTornAndDamagedPacks(t *testing.T) {
	dir, err := os.MkdirTemp(memory(), "cas")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := cas.Open(dir)
	require.NoError(t, err)
	putSmall(t, s, "loose", 16)
	want := putSmall(t, s, "packed", 12)
	require.NoError(t, s.Sync())
	pack := packsOf(t, dir)
	require.Len(t, pack, 1)
	whole, err := os.ReadFile(pack[0])
	require.NoError(t, err)

	try := func(what string, content []byte, least int) {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "packs")))
		require.NoError(t, os.Mkdir(filepath.Join(dir, "packs"), 0o777))
		require.NoError(t, os.WriteFile(pack[0], content, 0o644))
		s, err := cas.Open(dir)
		require.NoError(t, err)
		sound := 0
		for d, b := range want {
			got, err := s.Get(d)
			if err != nil {
				require.Truef(t, isMiss(err), "%s: %v", what, err)
				require.Falsef(t, s.Has(d), "%s: what is damaged is gone", what)
				continue
			}
			require.Equal(t, b, got, what)
			sound++
		}
		require.GreaterOrEqual(t, sound, least, what)
		for _, b := range want {
			_, err := s.Put(b)
			require.NoError(t, err, what)
		}
		requireAll(t, s, want)
	}
	record := 36 + len("packed 0")
	for n := range len(whole) {
		try(fmt.Sprint("cut at ", n), whole[:n], min(n/(record+1), 12))
	}
	for n := 0; n < len(whole); n += 3 {
		damaged := append([]byte{}, whole...)
		damaged[n] ^= 1 << (n % 8)
		try(fmt.Sprint("flipped at ", n), damaged, 0)
	}
	try("whole", whole, 12)
}

func TestGCOfPacks(t *testing.T) {
	s, dir := open(t)
	putSmall(t, s, "loose", 16)
	keep, drop := putSmall(t, s, "keep", 30), putSmall(t, s, "drop", 30)
	require.NoError(t, s.Sync())
	putSmall(t, s, "loose", 16)
	more := putSmall(t, s, "more", 30)
	require.NoError(t, s.Sync())
	require.Len(t, packsOf(t, dir), 2)
	reader, err := cas.Open(dir)
	require.NoError(t, err)
	requireAll(t, reader, keep)

	writer, err := cas.Open(dir)
	require.NoError(t, err)
	putSmall(t, writer, "other", 16)
	busy := putSmall(t, writer, "busy", 5)

	st, err := s.GC(func(d cas.Digest) bool { return drop[d] == nil && busy[d] == nil }, 0, 0)
	require.NoError(t, err)
	require.Equal(t, 30, st.Removed)
	require.Len(t, packsOf(t, dir), 2, "two are put together; the one that is being written stays")
	for _, s := range []*cas.Store{s, reader} {
		requireAll(t, s, keep)
		requireAll(t, s, more)
		for d := range drop {
			_, err := s.Get(d)
			require.ErrorIs(t, err, cas.ErrNotFound)
		}
	}
	requireAll(t, writer, busy)
	require.NoError(t, writer.Sync())
	requireAll(t, reader, busy)

	// What was put lately stays, be it wanted or not.
	st, err = s.GC(func(cas.Digest) bool { return false }, 1<<40, 0)
	require.NoError(t, err)
	require.Zero(t, st.Removed)
	st, err = s.GC(func(cas.Digest) bool { return false }, 0, 0)
	require.NoError(t, err)
	require.Zero(t, st.Kept)
	require.Empty(t, packsOf(t, dir))
}

// memory is where files are made durable at once.
func memory() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// Whatever several processes do to one store, what is put and kept can be got.
func TestPacksAndAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(memory(), "cas")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		stores := make([]*cas.Store, 2)
		for i := range stores {
			stores[i], err = cas.Open(dir)
			require.NoError(t, err)
		}
		want, synced := map[cas.Digest][]byte{}, map[cas.Digest][]byte{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				s := rapid.IntRange(0, 1).Draw(t, "store")
				for d, b := range putSmall(t, stores[s], rapid.StringN(1, 1, 1).Draw(t, "what"), rapid.IntRange(1, 40).Draw(t, "n")) {
					want[d] = b
				}
			},
			"sync": func(t *rapid.T) {
				for _, s := range stores {
					require.NoError(t, s.Sync())
				}
				for d, b := range want {
					synced[d] = b
				}
			},
			"gc": func(t *rapid.T) {
				n := rapid.Byte().Draw(t, "keep below")
				for _, s := range stores {
					require.NoError(t, s.Sync())
				}
				_, err := stores[0].GC(func(d cas.Digest) bool { return d[31] <= n }, 0, 0)
				require.NoError(t, err)
				for _, m := range []map[cas.Digest][]byte{want, synced} {
					for d := range m {
						if d[31] > n {
							delete(m, d)
							require.False(t, stores[0].Has(d))
						}
					}
				}
			},
			"reopen": func(t *rapid.T) {
				s := rapid.IntRange(0, 1).Draw(t, "store")
				require.NoError(t, stores[s].Sync())
				stores[s], err = cas.Open(dir)
				require.NoError(t, err)
			},
			"": func(t *rapid.T) {
				for _, s := range stores {
					requireAll(t, s, synced)
				}
			},
		})
	})
}

func isMiss(err error) bool { return errors.Is(err, cas.ErrNotFound) || errors.Is(err, cas.ErrCorrupt) }
