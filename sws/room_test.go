package sws

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inMemory is open with small commands, whose layers lie in a directory in memory that is this test's alone.
func inMemory(t *testing.T, files map[string]string) *bench {
	dir, err := os.MkdirTemp(memoryFS, "sws-test-")
	if err != nil {
		t.Skip("no memory for files: ", err)
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return inMemoryAt(t, dir, files)
}

func inMemoryAt(t *testing.T, dir string, files map[string]string) *bench {
	b := &bench{t: t, root: tempDir(t), notes: &notes{}, memory: dir, small: true}
	write(t, b.root, files)
	b.reopen("overlay")
	return b
}

// rooms lists the rooms that there are.
func (b *bench) rooms() []string {
	list, err := filepath.Glob(filepath.Join(b.memory, "jitos-*", "*"))
	require.NoError(b.t, err)
	return list
}

func TestLayersInMemoryAreLikeThoseOnTheDisk(t *testing.T) {
	b := inMemory(t, map[string]string{"a": "a", "d/x": "x", "d/y": "y"})
	one := b.sh("echo one > n; chmod 751 n; ln n hard; truncate -s 1M sparse; echo end >> sparse; rm -r d; mkdir d; echo z > d/z; ln -s n link; chmod 700 d; echo no > drop")
	require.True(t, one.in.memory)
	require.FileExists(t, filepath.Join(one.in.path, one.upper(), "n"))
	require.Len(t, b.rooms(), 1)
	dropped, err := one.Keep(func(c Change) bool { return c.Path != "drop" })
	require.NoError(t, err)
	require.Len(t, dropped, 1)

	b.small = false // a layer on the disk over one in memory, and one in memory over that
	two := b.sh("test ! -e drop; test ! -e d/x; cat n d/z > both; echo more >> hard", one)
	require.False(t, two.in.memory)
	b.small = true
	three := b.sh("cat both sparse >> a; test $(stat -c %a n) = 751", two, one)

	want := map[string]string{}
	b.collapse("t1", one, two, three)
	got := tree(t, b.root)
	for _, p := range []string{"n", "hard", "d", "d/z", "link", "both", "drop", "d/x"} {
		want[p] = got[p]
	}
	require.Equal(t, map[string]string{"n": "751 one\n", "hard": "751 one\nmore\n", "d": "700/", "d/z": "644 z\n", "link": "-> n",
		"both": "644 one\nz\n", "drop": "", "d/x": ""}, want)
	var st, a unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(b.root, "sparse"), &st))
	require.NoError(t, unix.Stat(filepath.Join(b.root, "a"), &a))
	require.Equal(t, int64(1<<20+4), st.Size)
	require.Less(t, st.Blocks*512, int64(1<<20), "it has a hole still")
	require.Equal(t, int64(1+1<<20+4)+int64(len("one\nz\n")), a.Size)

	require.NoError(t, b.set.Discard())
	require.NoError(t, b.space.Close())
	require.Empty(t, b.rooms())
}

func TestALayerInMemoryIsHeldForALaterProcess(t *testing.T) {
	b := inMemory(t, map[string]string{"a": "a"})
	l := b.sh("echo n > n; echo b >> a; chmod 755 a; mkdir d")
	require.True(t, l.in.memory)
	require.NoError(t, b.set.Hold(b.tx("t1", l)))
	require.NoError(t, b.set.Close())
	require.NoError(t, b.space.Close())
	require.Empty(t, b.rooms())

	s, err := Open(b.root, Options{Journal: b.notes, memoryFS: b.memory})
	require.NoError(t, err)
	defer s.Close()
	set, err := s.OpenSet(1)
	require.NoError(t, err)
	held, ok := set.Held()
	require.True(t, ok)
	_, err = set.Collapse(t.Context(), held)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "755 ab\n", "n": "644 n\n", "d": "755/"}, tree(t, b.root))
	require.NoError(t, set.Discard())
}

func TestRoomsOfTheDeadAreSweptByAnyWorkspace(t *testing.T) {
	b := inMemory(t, nil)
	l := b.sh("mkdir d; echo n > d/n; chmod 0 d")
	alive := b.rooms()
	require.Len(t, alive, 1)
	dead := filepath.Join(filepath.Dir(alive[0]), "dead")
	write(t, dead, map[string]string{"1u/d/n": "n", "1w/work/": ""})
	require.NoError(t, os.Chmod(filepath.Join(dead, "1u/d"), 0))

	other, err := Open(tempDir(t), Options{memoryFS: b.memory})
	require.NoError(t, err)
	base, err := NewBase(other.path, nil)
	require.NoError(t, err)
	defer base.Close()
	set, err := other.NewSet(1, base)
	require.NoError(t, err)
	_, _, err = set.Run(t.Context(), 0, nil, Command{Argv: []string{"/bin/true"}, Small: true})
	require.NoError(t, err)
	require.Len(t, without(b.rooms(), dead), 2, "each set has its own")
	require.NoError(t, set.Discard())
	require.NoError(t, other.Close())
	require.Equal(t, alive, b.rooms(), "what is used stays")
	require.Equal(t, []Change(nil), b.sh("chmod 700 d; test -e d/n; chmod 0 d", l).Changes())

	// whoever dies leaves his lock: the next Open of whatever workspace is enough
	b.set.memory.dir.close()
	other, err = Open(tempDir(t), Options{memoryFS: b.memory})
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.Empty(t, b.rooms())
	b.set.memory = nil
}

func TestRoomsOfTheLivingAreNeverSwept(t *testing.T) {
	b := inMemory(t, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if r := b.space.enterMemory(); assert.NotNil(t, r) {
					assert.DirExists(t, r.path)
					assert.NoError(t, b.space.sweepMemory())
					assert.NoError(t, r.mkdir("1u"))
					set := &Set{space: b.space, memory: r}
					set.leaveMemory()
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, b.set.Discard())
	require.NoError(t, b.space.Close())
	require.Empty(t, b.rooms())
}

func TestNothingOutsideGoesWithASet(t *testing.T) {
	rooms(t, func(t *testing.T, overlay string, small bool) {
		outside := t.TempDir()
		write(t, outside, map[string]string{"incompat/volatile/": ""})
		b := open(t, overlay, nil)
		b.small = small
		b.sh("ln -s " + outside + " work")
		require.NoError(t, b.set.Discard())
		require.NoError(t, b.space.Close())
		require.DirExists(t, filepath.Join(outside, "incompat/volatile"))
	})
}

func without(list []string, s string) (out []string) {
	for _, l := range list {
		if l != s {
			out = append(out, l)
		}
	}
	return out
}

// tmpfs mounts memory of its own.
func tmpfs(t *testing.T, options string, flags uintptr) string {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func TestWhatDoesNotFitIntoMemoryGoesToTheDisk(t *testing.T) {
	for name, script := range map[string]string{
		"it fails":           "head -c 80000000 /dev/zero > big",
		"it does not care":   "head -c 80000000 /dev/zero > big || true",
		"it just about fits": "head -c 60000000 /dev/zero > big",
	} {
		t.Run(name, func(t *testing.T) {
			b := inMemoryAt(t, tmpfs(t, "size=64m", 0), map[string]string{"a": "a"})
			small := b.sh("echo n > n")
			require.True(t, small.in.memory)
			big := b.sh("cat n; "+script, small)
			require.False(t, big.in.memory)
			require.Equal(t, "file big\n", show(big.Changes()))
			_, free, _ := b.set.memory.size()
			require.Greater(t, free, uint64(60<<20), "what did not fit is gone")
			b.collapse("t1", small, big)
			fi, err := os.Stat(filepath.Join(b.root, "big"))
			require.NoError(t, err)
			require.Contains(t, []int64{80000000, 60000000}, fi.Size())
		})
	}
}

func TestMemoryThatDoesNotServeIsNotUsed(t *testing.T) {
	on := func(dir string) bool {
		b := inMemoryAt(t, dir, nil)
		return b.sh("echo n > n").in.memory
	}
	mine := fmt.Sprintf("jitos-%d", os.Geteuid())
	require.False(t, on(t.TempDir()), "a disk")
	require.False(t, on("/nowhere"))
	require.False(t, on(tmpfs(t, "size=64m", unix.MS_NOEXEC)))
	shared := tmpfs(t, "size=64m", 0)
	require.True(t, on(shared))
	require.NoError(t, os.Chmod(filepath.Join(shared, mine), 0o750))
	require.False(t, on(shared), "others may look into it")
	linked := tmpfs(t, "size=64m", 0)
	require.NoError(t, os.Symlink(shared, filepath.Join(linked, mine)))
	require.False(t, on(linked), "somebody else's link")
	b := inMemoryAt(t, tmpfs(t, "size=64m", 0), nil)
	b.space.memoryLeast = memoryLeast
	require.False(t, b.sh("echo n > n").in.memory, "a container's is small")
}
