package sws

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp/cas"
)

// crashBase and crashChanges hold every kind of change.
var crashBase = map[string]string{
	"mod": "old", "gone": "old", "mode": "m", "link": "-> mod", "tofile/a": "a", "tofile/b/c": "c", "todir": "f",
	"tree/x": "x", "tree/y/z": "z", "keep/k": "k", "dirmode/in": "i", "tolink": "t",
}

func crashSet(space *Space, root string) (*Set, Transaction, error) {
	base, err := NewBase(root, nil)
	if err != nil {
		return nil, Transaction{}, err
	}
	set, err := space.NewSet(7, base)
	if err != nil {
		return nil, Transaction{}, err
	}
	file := func(p, content string, mode uint32) Staged {
		d, perr := space.store.Put([]byte(content))
		err = errors.Join(err, perr)
		return Staged{Change: Change{Path: p, After: Entry{Kind: File, Mode: mode, Size: int64(len(content)), Digest: d}}}
	}
	put := func(p string, e Entry) Staged { return Staged{Change: Change{Path: p, After: e}} }
	mode := file("mode", "m", 0o755)
	t := Transaction{Tx: "t1", Note: []byte("n"), Changes: []Staged{
		put("dirmode", Entry{Kind: Dir, Mode: 0o500}), file("dirmode/new", "in a shut directory", 0o600),
		put("gone", Entry{}), put("link", linkTo("gone")), file("mod", "new", 0o644), mode,
		put("new", Entry{Kind: Dir, Mode: 0o755}), file("new/1", "1", 0o644), put("new/shut", Entry{Kind: Dir, Mode: 0o555}),
		file("new/shut/2", "2", 0o444), put("todir", Entry{Kind: Dir, Mode: 0o755}), file("todir/in", "in", 0o644),
		file("tofile", "file now", 0o644), put("tolink", linkTo("mod")), put("tree", Entry{}),
	}}
	return set, t, err
}

// fileJournal is a journal that survives its process: a line for each receipt.
type fileJournal struct{ path string }

func (j fileJournal) Settle() error { return nil }

func (j fileJournal) Len() uint64 {
	b, _ := os.ReadFile(j.path)
	return uint64(bytes.Count(b, []byte("\n")))
}

func (j fileJournal) Announced(r Receipt) error { return j.Collapsed(r) }

func (j fileJournal) Collapsed(r Receipt) error {
	line := fmt.Sprintf("%s %v %d\n", r.Tx, r.Aborted == "", len(r.Ops))
	old, err := os.ReadFile(j.path)
	if err != nil && !os.IsNotExist(err) || bytes.Contains(old, []byte(line)) {
		return err
	}
	return os.WriteFile(j.path, append(old, line...), 0o644)
}

// crash is what the child process does: a collapse that is killed before a given step, in it or in its recovery.
func crash(root, at string) {
	var n atomic.Int64
	left := int64(mustAtoi(at))
	count, before := os.Getenv("SWS_CRASH_COUNT"), os.Getenv("SWS_CRASH_BEFORE")
	space := crashOpen(root, func(what string) {
		if n.Add(1) == left || what == before {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	if space == nil {
		os.Exit(3)
	}
	if os.Getenv("SWS_CRASH_RECOVER") == "" {
		set, t, err := crashSet(space, root)
		if err == nil {
			_, err = set.Collapse(context.Background(), t)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(4)
		}
		os.WriteFile(filepath.Join(root, Meta, "acknowledged"), nil, 0o644)
	}
	if err := space.Close(); err != nil {
		fmt.Println(err)
		os.Exit(5)
	}
	if count != "" {
		fmt.Print(n.Load())
	}
}

func mustAtoi(s string) int { n, _ := strconv.Atoi(s); return n }

func crashOpen(root string, step func(string)) *Space {
	space, err := openStepping(root, Options{Journal: fileJournal{filepath.Join(root, Meta, "journal")}, noSmall: os.Getenv("SWS_CRASH_BIG") != ""}, step)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	return space
}

func child(t *testing.T, root string, at int, env ...string) (string, bool) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "SWS_CRASH_ROOT="+root, "SWS_CRASH_AT="+strconv.Itoa(at))...)
	out, err := cmd.Output()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok && ee.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return string(out), true
	}
	require.NoError(t, err, string(out))
	return string(out), false
}

// copyTreeTo makes a workspace by copying one, times and all.
func copyOf(t *testing.T, root string) string {
	dir := filepath.Join(tempDir(t), "w")
	require.NoError(t, exec.Command("cp", "-a", root, dir).Run())
	return dir
}

func TestKillBeforeEveryStepLeavesTheOldOrTheNewWorkspace(t *testing.T) {
	t.Run("small", killEverywhere)
	t.Run("big", func(t *testing.T) {
		t.Setenv("SWS_CRASH_BIG", "1")
		killEverywhere(t)
	})
}

func killEverywhere(t *testing.T) {
	template := tempDir(t)
	write(t, template, crashBase)
	before := tree(t, template)
	whole := copyOf(t, template)
	out, killed := child(t, whole, 0, "SWS_CRASH_COUNT=1")
	require.False(t, killed)
	steps := mustAtoi(out)
	require.Greater(t, steps, 30)
	after := tree(t, whole)
	require.NotEqual(t, before, after)
	outcomes := map[string]int{}
	for at := 1; at <= steps; at++ {
		root := copyOf(t, template)
		_, killed := child(t, root, at)
		require.True(t, killed, "step %d", at)
		_, err := os.Stat(filepath.Join(root, Meta, "acknowledged"))
		acknowledged := err == nil
		// the recovery is killed too, once, at a step that moves along
		if at%3 == 0 {
			child(t, root, 1+at%7, "SWS_CRASH_RECOVER=1")
		}
		space := crashOpen(root, nil)
		require.NotNil(t, space)
		require.NoError(t, space.Close())
		now := tree(t, root)
		journal, _ := os.ReadFile(filepath.Join(root, Meta, "journal"))
		switch {
		case fmt.Sprint(now) == fmt.Sprint(before):
			outcomes["old"]++
			require.False(t, acknowledged, "step %d: acknowledged and lost", at)
			require.NotContains(t, string(journal), "true", "step %d: recorded and lost", at)
		default:
			require.Equal(t, after, now, "step %d", at)
			outcomes["new"]++
			require.Equal(t, 1, strings.Count(string(journal), "t1 true"), "step %d: recorded once", at)
		}
		left, err := filepath.Glob(filepath.Join(root, Meta, "tx-*"))
		require.NoError(t, err)
		require.Empty(t, left, "step %d", at)
		sets, err := filepath.Glob(filepath.Join(root, Meta, "sws", "*7"))
		require.NoError(t, err)
		require.Empty(t, sets, "step %d", at)
	}
	require.Greater(t, outcomes["old"], 5)
	require.Greater(t, outcomes["new"], 5)
}

// An unfinished transaction meets an edit that was made after the crash. The edit stays. A big one goes back; a small one,
// which may have been acknowledged, comes before the edit.
func TestRecoveryMeetsAnEdit(t *testing.T) {
	t.Run("small", func(t *testing.T) { crashThenEdit(t, recordName, "finished") })
	t.Run("big", func(t *testing.T) {
		t.Setenv("SWS_CRASH_BIG", "1")
		crashThenEdit(t, intentName, "undone")
	})
}

func crashThenEdit(t *testing.T, decided, outcome string) {
	template := tempDir(t)
	write(t, template, crashBase)
	whole := copyOf(t, template)
	out, _ := child(t, whole, 0, "SWS_CRASH_COUNT=1")
	old, after := tree(t, template), tree(t, whole)
	delete(old, "mod")
	delete(after, "mod")
	met := 0
	for at := 1; at <= mustAtoi(out); at++ {
		root := copyOf(t, template)
		child(t, root, at)
		left, _ := filepath.Glob(filepath.Join(root, Meta, "tx-*", decided))
		edit := filepath.Join(root, "edit.tmp")
		require.NoError(t, os.WriteFile(edit, []byte("edited by hand"), 0o644))
		require.NoError(t, os.Rename(edit, filepath.Join(root, "mod")))
		space := crashOpen(root, nil)
		require.NotNil(t, space)
		require.NoError(t, space.Close())
		b, err := os.ReadFile(filepath.Join(root, "mod"))
		require.NoError(t, err)
		require.Equal(t, "edited by hand", string(b), "step %d", at)
		if len(left) == 0 {
			continue
		}
		met++
		require.Len(t, space.Recovered(), 1, "step %d", at)
		now := tree(t, root)
		delete(now, "mod")
		if space.Recovered()[0].Outcome == "dropped" { // the record was not whole yet
			require.Equal(t, old, now, "step %d", at)
			continue
		}
		require.Equal(t, outcome, space.Recovered()[0].Outcome, "step %d", at)
		if outcome == "undone" {
			require.Equal(t, old, now, "step %d", at)
		} else {
			require.Equal(t, after, now, "step %d", at)
		}
	}
	require.Greater(t, met, 5)
}

func TestNoSpaceLeavesTheWorkspaceAsItWas(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	root := tempDir(t)
	require.NoError(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	write(t, root, map[string]string{"a": "old", "b": "old"})
	before := tree(t, root)

	// from no room at all to enough: at some size each of staging, draft and the rest fails
	failed, done := 0, false
	for room := 0; !done; room += 4096 {
		require.Less(t, room, 1<<20)
		space := crashOpen(root, nil)
		require.NotNil(t, space)
		left, _ := filepath.Glob(filepath.Join(root, Meta, "tx-*"))
		require.Empty(t, left)
		base, err := NewBase(root, nil)
		require.NoError(t, err)
		set, err := space.NewSet(1, base)
		require.NoError(t, err)
		var changes []Staged
		for i := range 20 {
			content := binary.LittleEndian.AppendUint64(bytes.Repeat([]byte("x"), 5000), uint64(i))
			d, err := space.store.Put(content)
			if err != nil { // the store is on the same file system: fill it before
				require.NoError(t, err)
			}
			changes = append(changes, Staged{Change: Change{Path: fmt.Sprintf("n%02d", i), After: Entry{Kind: File, Mode: 0o644, Size: int64(len(content)), Digest: d}}})
		}
		changes = append([]Staged{{Change: Change{Path: "a"}}}, changes...)
		fillDisk(t, filepath.Join(root, Meta, "ballast"), room)
		_, err = set.Collapse(t.Context(), Transaction{Tx: "t", Changes: changes})
		require.NoError(t, os.Remove(filepath.Join(root, Meta, "ballast")))
		if err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			failed++
			require.Equal(t, before, tree(t, root))
		} else {
			done = true
			require.Len(t, tree(t, root), 21)
		}
		require.NoError(t, set.Discard())
		require.NoError(t, space.Close())
	}
	require.Greater(t, failed, 5)

}

// fillDisk leaves so many bytes free.
func fillDisk(t *testing.T, path string, room int) {
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(filepath.Dir(path), &st))
	n := int(st.Bfree)*int(st.Bsize) - room
	require.NoError(t, os.WriteFile(path, make([]byte, max(n, 0)), 0o600))
}

// The power takes the content of a file whose name is there already: it is put there again, unless somebody wrote it.
func TestRecoveryMendsWhatNeverReachedTheDisk(t *testing.T) {
	tests := map[string]struct {
		harm func(p string, mtime time.Time)
		want string
	}{
		"nothing arrived": {func(p string, mtime time.Time) { os.Truncate(p, 0); os.Chtimes(p, mtime, mtime) }, "new"},
		"zeros arrived":   {func(p string, mtime time.Time) { os.WriteFile(p, make([]byte, 3), 0o644); os.Chtimes(p, mtime, mtime) }, "new"},
		"emptied by hand": {func(p string, _ time.Time) { os.Truncate(p, 0) }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := tempDir(t)
			write(t, root, crashBase)
			_, killed := child(t, root, 0, "SWS_CRASH_BEFORE=done")
			require.True(t, killed)
			p := filepath.Join(root, "mod")
			st, err := os.Stat(p)
			require.NoError(t, err)
			time.Sleep(2 * time.Millisecond) // the clock of a file system is no finer
			tt.harm(p, st.ModTime())
			space := crashOpen(root, nil)
			require.NotNil(t, space)
			require.NoError(t, space.Close())
			require.Equal(t, "finished", space.Recovered()[0].Outcome)
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			require.Equal(t, tt.want, string(b))
			has := space.store.Has(cas.Sum([]byte("old")))
			require.True(t, has, "undo needs what was there before")
		})
	}
}

// A record that became durable before what the journal had to hold decides nothing.
func TestARecordCountsOnlyOnTopOfItsJournal(t *testing.T) {
	for _, lost := range []bool{false, true} {
		root := tempDir(t)
		write(t, root, crashBase)
		journal := filepath.Join(root, Meta, "journal")
		require.NoError(t, os.MkdirAll(filepath.Dir(journal), 0o755))
		require.NoError(t, os.WriteFile(journal, []byte("the run\n"), 0o644))
		_, killed := child(t, root, 0, "SWS_CRASH_BEFORE=remove")
		require.True(t, killed)
		if lost {
			require.NoError(t, os.Truncate(journal, 0))
		}
		space := crashOpen(root, nil)
		require.NotNil(t, space)
		require.NoError(t, space.Close())
		require.Equal(t, map[bool]string{false: "finished", true: "dropped"}[lost], space.Recovered()[0].Outcome)
		b, err := os.ReadFile(filepath.Join(root, "mod"))
		require.NoError(t, err)
		require.Equal(t, map[bool]string{false: "new", true: "old"}[lost], string(b))
	}
}

// Kills at moments that nobody chose. SWS_KILLS says how many; a change of collapse.go or small.go wants 10,000.
func TestKillAtAnyMoment(t *testing.T) {
	kills := 20
	if n := mustAtoi(os.Getenv("SWS_KILLS")); n > 0 {
		kills = n
	}
	for _, way := range []string{"", "1"} {
		t.Setenv("SWS_CRASH_BIG", way)
		template := tempDir(t)
		write(t, template, crashBase)
		whole := copyOf(t, template)
		began := time.Now()
		child(t, whole, 0)
		took := time.Since(began)
		before, after := tree(t, template), tree(t, whole)
		for range kills / 2 {
			root := filepath.Join(t.TempDir(), "w")
			require.NoError(t, exec.Command("cp", "-a", template, root).Run())
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "SWS_CRASH_ROOT="+root)
			require.NoError(t, cmd.Start())
			time.Sleep(time.Duration(rand.Int64N(int64(took))))
			require.NoError(t, cmd.Process.Kill())
			cmd.Wait() // it was killed, or was faster
			_, err := os.Stat(filepath.Join(root, Meta, "acknowledged"))
			acknowledged := err == nil
			space := crashOpen(root, nil)
			require.NotNil(t, space)
			require.NoError(t, space.Close())
			now := tree(t, root)
			if acknowledged || fmt.Sprint(now) != fmt.Sprint(before) {
				require.Equal(t, after, now)
			}
			journal, _ := os.ReadFile(filepath.Join(root, Meta, "journal"))
			require.Equal(t, fmt.Sprint(now) == fmt.Sprint(after), bytes.Contains(journal, []byte("t1 true")))
			require.NoError(t, sandbox.Clean(root))
		}
	}
}
