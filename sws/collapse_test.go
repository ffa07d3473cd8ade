package sws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

func TestCollapseMakesTheWorkspaceWhatTheCommandsSaw(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"a": "a", "d/x": "x", "d/sub/y": "y", "tofile/in": "1", "todir": "2", "same": "s", "link": "-> a"})
		same, err := os.Stat(filepath.Join(b.root, "same"))
		require.NoError(t, err)
		one := b.sh("echo 1 > one; chmod 600 a; rm -r d; mkdir -p new/deep; ln -s ../one new/l; touch same; ln one hard")
		two := b.sh("test -f one; test ! -e d; mkdir d; echo z > d/z; rm -r tofile; echo f > tofile; rm todir; mkdir todir; echo in > todir/in; cat one >> new/deep/two", one)
		require.Equal(t, "dir d\nfile d/z\nfile new/deep/two\ndir todir\nfile todir/in\nfile tofile\n", show(two.Changes()))
		r := b.collapse("t1", one, two)
		require.Equal(t, map[string]string{
			"a": "600 a", "d": "755/", "d/z": "644 z\n", "new": "755/", "new/deep": "755/", "new/deep/two": "644 1\n", "new/l": "-> ../one",
			"one": "644 1\n", "hard": "644 1\n", "same": "644 s", "todir": "755/", "todir/in": "644 in\n", "tofile": "644 f\n", "link": "-> a",
		}, tree(t, b.root))
		now, err := os.Stat(filepath.Join(b.root, "same"))
		require.NoError(t, err)
		require.Equal(t, same.ModTime(), now.ModTime(), "what did not change keeps its time")
		one1, err := os.Stat(filepath.Join(b.root, "one"))
		require.NoError(t, err)
		require.EqualValues(t, 1, one1.Sys().(*syscall.Stat_t).Nlink, "no inode is shared with a layer")
		require.Equal(t, []Receipt{r}, b.notes.receipts)
		base, err := NewBase(b.root, nil)
		require.NoError(t, err)
		defer base.Close()
		for _, d := range r.Ops {
			e, fp, err := base.Entry(d.Path)
			require.NoError(t, err)
			require.Equal(t, d.After, e, d.Path)
			if e.Kind == Dir {
				require.True(t, Same(fp, d.Final), d.Path)
			} else {
				require.Equal(t, fp, d.Final, d.Path)
			}
		}
	})
}

func TestUndoAndUndoOfUndo(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a", "d/x": "x", "d/sub/y": "y", "mode": "m", "tofile/in": "1", "link": "-> a"})
	before := tree(t, b.root)
	l := b.sh("echo more >> a; rm -r d; chmod 755 mode; mkdir -p n/e; echo f > n/e/f; rm -r tofile; echo f > tofile; ln -sf mode link")
	did := b.collapse("t1", l)
	after := tree(t, b.root)
	undid, err := b.space.Undo(t.Context(), "t2", did.Ops, nil)
	require.NoError(t, err)
	require.Equal(t, before, tree(t, b.root))
	redid, err := b.space.Undo(t.Context(), "t3", undid.Ops, nil)
	require.NoError(t, err)
	require.Equal(t, after, tree(t, b.root))
	require.Len(t, redid.Ops, len(did.Ops))

	write(t, b.root, map[string]string{"n/e/mine": "mine"})
	_, err = b.space.Undo(t.Context(), "t4", redid.Ops, nil)
	require.NoError(t, err)
	before["n"], before["n/e"], before["n/e/mine"] = "755/", "755/", "644 mine"
	require.Equal(t, before, tree(t, b.root), "a directory with something else in it stays")
}

func TestUndoOfWhatWasEditedIsAConflict(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a", "b": "b"})
	did := b.collapse("t1", b.sh("echo 1 > a; echo 2 > b"))
	write(t, b.root, map[string]string{"a": "mine"})
	_, err := b.space.Undo(t.Context(), "t2", did.Ops, nil)
	ce, ok := errors.AsType[*ConflictError](err)
	require.True(t, ok, err)
	require.Len(t, ce.Paths, 1)
	require.Equal(t, "a", ce.Paths[0].Path)
	require.Equal(t, map[string]string{"a": "644 mine", "b": "644 2\n"}, tree(t, b.root))
}

// Somebody works in the workspace while the run goes on. What the run would overwrite, or has read, must be as it was.
func TestConflicts(t *testing.T) {
	replace := func(p, content string) {
		if err := errors.Join(os.WriteFile(p+".tmp", []byte(content), 0o644), os.Rename(p+".tmp", p)); err != nil {
			panic(err)
		}
	}
	change := map[string]string{"a": "644 new", "n": "/", "n/f": "644 n", "d": "", "gone": "", "mode": "600 m", "todir": "/", "todir/i": "644 i"}
	tests := map[string]struct {
		edit func(root string)
		path string // the conflict; "" for none
	}{
		"nothing":                       {func(string) {}, ""},
		"another file":                  {func(r string) { replace(r+"/other", "x") }, ""},
		"a touched file":                {func(r string) { os.Chtimes(r+"/a", time.Now(), time.Now()) }, ""},
		"a new file elsewhere":          {func(r string) { replace(r+"/fresh", "x") }, ""},
		"edited in place":               {func(r string) { os.WriteFile(r+"/a", []byte("b"), 0o644) }, "a"},
		"saved by an editor":            {func(r string) { replace(r+"/a", "b") }, "a"},
		"saved without a change":        {func(r string) { replace(r+"/a", "a") }, ""},
		"deleted":                       {func(r string) { os.Remove(r + "/a") }, "a"},
		"created":                       {func(r string) { os.Mkdir(r+"/n", 0o755); replace(r+"/n/f", "mine") }, "n"},
		"its mode":                      {func(r string) { os.Chmod(r+"/mode", 0o640) }, "mode"},
		"a deleted file edited":         {func(r string) { replace(r+"/gone", "x") }, "gone"},
		"in a deleted directory":        {func(r string) { replace(r+"/d/x", "x") }, "d/x"},
		"added to a deleted directory":  {func(r string) { replace(r+"/d/new", "x") }, "d"},
		"a directory became a link":     {func(r string) { os.RemoveAll(r + "/d"); os.Symlink("/", r+"/d") }, "d"},
		"an input edited":               {func(r string) { replace(r+"/input", "x") }, "input"},
		"the parent of an input a link": {func(r string) { os.Rename(r+"/in", r+"/in2"); os.Symlink("in2", r+"/in") }, "in/put"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := open(t, "overlay", map[string]string{"a": "a", "other": "o", "d/x": "x", "d/s/y": "y", "gone": "g", "mode": "m", "todir": "t", "input": "i", "in/put": "i"})
			_, _, err := b.base.Entry("a")
			require.NoError(t, err)
			l := b.made(change)
			tx := b.tx("t1", l)
			for _, p := range []string{"input", "in/put"} {
				fp, err := b.base.Stat(p)
				require.NoError(t, err)
				tx.Reads = append(tx.Reads, Read{p, fp})
			}
			tt.edit(b.root)
			before := tree(t, b.root)
			_, err = b.set.Collapse(t.Context(), tx)
			if tt.path == "" {
				require.NoError(t, err)
				return
			}
			ce, ok := errors.AsType[*ConflictError](err)
			require.True(t, ok, "%v", err)
			var paths []string
			for _, c := range ce.Paths {
				paths = append(paths, c.Path)
			}
			require.Contains(t, paths, tt.path)
			require.Equal(t, before, tree(t, b.root))
			require.Empty(t, b.notes.receipts)
			v := b.set.View([]*Layer{l})
			content, err := v.ReadFile("a")
			require.NoError(t, err)
			require.Equal(t, "new", string(content), "the set is as it was")
		})
	}
}

// The edit comes between the last check and the change itself.
func TestConflictAtTheLastMoment(t *testing.T) {
	edits := map[string]func(root string){
		"saved by an editor": func(r string) { os.WriteFile(r+"/z.tmp", []byte("mine"), 0o644); os.Rename(r+"/z.tmp", r+"/z") },
		"in place":           func(r string) { os.WriteFile(r+"/z", []byte("mine"), 0o644) },
		"deleted":            func(r string) { os.Remove(r + "/z") },
		"created":            func(r string) { os.WriteFile(r+"/new", []byte("mine"), 0o644) },
		"moved away":         func(r string) { os.Rename(r+"/dir", r+"/away"); os.Symlink("/tmp", r+"/dir") },
		"in what goes":       func(r string) { os.WriteFile(r+"/tree/mine", []byte("mine"), 0o644) },
		"made again": func(r string) {
			os.WriteFile(r+"/tree/x.tmp", []byte("mine"), 0o644)
			os.Rename(r+"/tree/x.tmp", r+"/tree/x")
		},
		"what was put there": func(r string) {
			os.WriteFile(r+"/a.tmp", []byte("mine"), 0o644)
			os.Rename(r+"/a.tmp", r+"/a")
			os.Remove(r + "/z")
		},
	}
	moments := []string{"big: intent-sync 1", "big: dirs-sync 1", "small: record-sync 1", "small: announce 1"}
	for _, way := range []string{"big: ", "small: "} {
		for _, m := range []string{"stage 1", "remove 1", "remove 2", "exchange 1", "exchange 2", "exchange 3", "add 1", "add 3", "chmod 1"} {
			moments = append(moments, way+m)
		}
	}
	for name, edit := range edits {
		for _, moment := range moments {
			t.Run(name+" before "+moment, func(t *testing.T) {
				way, at, nth := "", "", 0
				fmt.Sscan(moment, &way, &at, &nth)
				b := &bench{t: t, root: tempDir(t), notes: &notes{}, big: way == "big:"}
				write(t, b.root, map[string]string{"a": "a", "dir/in": "i", "mode": "m", "tree/x": "x", "z": "z"})
				b.reopen("overlay")
				tx := b.tx("t1", b.made(map[string]string{"a": "644 1", "z": "644 2", "mode": "600 m", "tree": "", "new": "644 n", "dir/in": "644 j", "fresh": "/", "fresh/f": "644 f"}))
				var mine map[string]string
				b.space.step = func(what string) {
					if what != at || mine != nil {
						return
					}
					if nth--; nth == 0 {
						was := tree(t, b.root)
						edit(b.root)
						mine = map[string]string{}
						for p, c := range tree(t, b.root) { // what the edit made of it
							if was[p] != c {
								mine[p] = c
							}
						}
					}
				}
				_, err := b.set.Collapse(t.Context(), tx)
				require.NotNil(t, mine)
				now := tree(t, b.root)
				for p, c := range mine {
					if name == "moved away" && strings.HasPrefix(p, "away") && now[p] != "" {
						continue // it went with its directory, new or old
					}
					require.Equal(t, c, now[p], "%s: the edit stays", p)
				}
				if err == nil {
					return
				}
				_, ok := errors.AsType[*ConflictError](err)
				require.True(t, ok, "%v", err)
				require.NotContains(t, now, "fresh/f")
				for p, c := range map[string]string{"a": "644 a", "mode": "644 m", "tree/x": "644 x"} {
					if mine[p] == "" {
						require.Equal(t, c, now[p])
					}
				}
				left, _ := filepath.Glob(filepath.Join(b.root, Meta, "tx-*"))
				require.Empty(t, left)
			})
		}
	}
}

func TestAFileThatIsOpenForWritingIsAConflict(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	tx := b.tx("t1", b.sh("echo 1 > a"))
	f, err := os.OpenFile(filepath.Join(b.root, "a"), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = b.set.Collapse(t.Context(), tx)
	ce, ok := errors.AsType[*ConflictError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "is open for writing", ce.Paths[0].Why)
	require.Equal(t, map[string]string{"a": "644 a"}, tree(t, b.root))
	require.NoError(t, f.Close())
	tx.Tx = "t2"
	_, err = b.set.Collapse(t.Context(), tx)
	require.NoError(t, err, "the set is as it was, so it can be tried again")
	require.Equal(t, map[string]string{"a": "644 1\n"}, tree(t, b.root))
}

func TestAFailingJournalTakesTheCollapseBack(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a", "d/x": "x"})
	before := tree(t, b.root)
	tx := b.tx("t1", b.sh("echo 1 > a; rm -r d; mkdir n; echo 2 > n/f"))
	b.notes.err = errors.New("history is full")
	_, err := b.set.Collapse(t.Context(), tx)
	require.ErrorContains(t, err, "history is full")
	require.Equal(t, before, tree(t, b.root))
	b.notes.err = nil
	require.NoError(t, b.space.Close())
	b.space, err = Open(b.root, Options{Journal: b.notes})
	require.NoError(t, err)
	require.Equal(t, "undone", b.space.Recovered()[0].Outcome, "what was reported as failed is never finished later")
	require.Equal(t, before, tree(t, b.root))
	require.Len(t, b.notes.receipts, 1, "the journal may hold it by halves, so it is told as soon as it can be")
	require.NotEmpty(t, b.notes.receipts[0].Aborted)
	left, err := filepath.Glob(filepath.Join(b.root, Meta, "tx-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestNothingIsDecidedBeforeTheJournalIsSettled(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	before := tree(t, b.root)
	tx := b.tx("t1", b.sh("echo 1 > a"))
	b.notes.unsettled = errors.New("history is full")
	_, err := b.set.Collapse(t.Context(), tx)
	require.ErrorContains(t, err, "history is full")
	require.Equal(t, before, tree(t, b.root))
	require.Empty(t, b.notes.receipts)
	b.notes.unsettled = nil
	_, err = b.set.Collapse(t.Context(), tx)
	require.NoError(t, err)
}

func TestRefused(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{".git/hooks/": "", ".git/config": "c", "sub/.envrc": "e"})
		for script, path := range map[string]string{"mkfifo d/f": "d/f", "mkdir .jitos; echo x > .jitos/x": ".jitos"} {
			_, _, out, err := b.try("mkdir -p d; " + script)
			re, ok := errors.AsType[*RefusedError](err)
			require.True(t, ok, "%s: %v %s", script, err, out)
			require.Equal(t, path, re.Path)
		}
		for script, path := range map[string]string{"echo x > .git/hooks/post-commit": ".git/hooks/post-commit", "echo x >> .git/config": ".git/config", "echo x > sub/.envrc": "sub/.envrc", "rm -rf .git": ".git"} {
			l := b.sh(script)
			tx := b.tx("t1", l)
			_, err := b.set.Collapse(t.Context(), tx)
			re, ok := errors.AsType[*RefusedError](err)
			require.True(t, ok, "%s: %v", script, err)
			require.Equal(t, path, re.Path)
			no := errors.New("not in scope")
			tx.Allowed = func(p string, explicit bool) error {
				require.True(t, explicit, p)
				return no
			}
			_, err = b.set.Collapse(t.Context(), tx)
			require.ErrorIs(t, err, no)
		}
		tx := b.tx("t2", b.sh("echo x >> .git/config"))
		tx.Allowed = func(string, bool) error { return nil }
		_, err := b.set.Collapse(t.Context(), tx)
		require.NoError(t, err)
	})
}

func TestASocketInTheWorkspaceStays(t *testing.T) {
	b := open(t, "overlay", map[string]string{"d/x": "x"})
	l, err := net.Listen("unix", filepath.Join(b.root, "d", "s"))
	require.NoError(t, err)
	defer l.Close()
	b.fresh(2)
	_, err = b.set.Collapse(t.Context(), b.tx("t1", b.sh("rm -r d")))
	_, ok := errors.AsType[*RefusedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "644 x", tree(t, b.root)["d/x"])
}

func TestNothingIsWrittenThroughALinkOrAMount(t *testing.T) {
	outside := t.TempDir()
	b := open(t, "overlay", map[string]string{"d/x": "x"})
	l := b.sh("echo new > d/x; echo n > d/n")
	require.NoError(t, os.RemoveAll(filepath.Join(b.root, "d")))
	require.NoError(t, os.Symlink(outside, filepath.Join(b.root, "d")))
	_, err := b.set.Collapse(t.Context(), b.tx("t1", l))
	require.Error(t, err)
	list, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, list)

	if os.Geteuid() != 0 {
		return
	}
	b = open(t, "overlay", map[string]string{"m/x": "x"})
	l = b.sh("echo new > m/x")
	require.NoError(t, unix.Mount(outside, filepath.Join(b.root, "m"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(filepath.Join(b.root, "m"), unix.MNT_DETACH) })
	_, err = b.set.Collapse(t.Context(), b.tx("t1", l))
	require.ErrorContains(t, err, "mount point")
}

func TestHoldIsCollapsedByALaterProcess(t *testing.T) {
	for _, edited := range []bool{false, true} {
		t.Run(fmt.Sprint("edited ", edited), func(t *testing.T) {
			b := open(t, "overlay", map[string]string{"a": "a", "d/x": "x", "d/s/y": "y"})
			tx := b.tx("t1", b.sh("echo 1 > a; rm -r d; mkdir -p d n; echo 2 > n/f; ln -s a l"))
			require.NoError(t, b.set.Hold(tx))
			require.NoError(t, b.set.Close())
			require.NoError(t, b.space.Close())
			if edited {
				write(t, b.root, map[string]string{"a": "b"})
			}
			space, err := Open(b.root, Options{Journal: b.notes})
			require.NoError(t, err)
			defer space.Close()
			ids, err := space.Sets()
			require.NoError(t, err)
			require.Equal(t, []int{1}, ids)
			_, err = space.OpenSet(2)
			require.ErrorIs(t, err, fs.ErrNotExist)
			set, err := space.OpenSet(1)
			require.NoError(t, err)
			held, ok := set.Held()
			require.True(t, ok)
			require.Equal(t, []byte("note"), held.Note)
			diff, err := set.Diff(held.Changes)
			if !edited {
				require.NoError(t, err)
				require.Equal(t, "a", diff[0].Path)
				was, err := diff[0].ReadBefore()
				require.NoError(t, err)
				is, err := diff[0].ReadAfter()
				require.NoError(t, err)
				require.Equal(t, "a/1\n", string(was)+"/"+string(is))
			}
			_, err = set.Collapse(t.Context(), held)
			if edited {
				_, ok := errors.AsType[*ConflictError](err)
				require.True(t, ok, "%v", err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, map[string]string{"a": "644 1\n", "d": "755/", "n": "755/", "n/f": "644 2\n", "l": "-> a"}, tree(t, b.root))
			require.NoError(t, set.Discard())
		})
	}
}

func TestDeadRunsLeaveNothing(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	b.sh("echo 1 > a; mkdir d; chmod 0 d")
	require.NoError(t, b.set.Close()) // as if the process had died
	require.NoError(t, b.space.Close())
	space, err := Open(b.root, Options{})
	require.NoError(t, err)
	ids, err := space.Sets()
	require.NoError(t, err)
	require.Empty(t, ids)
	require.NoError(t, space.Close())
	left, err := os.ReadDir(filepath.Join(b.root, Meta, "sws"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestASetInUseIsBusy(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	other, err := Open(b.root, Options{})
	require.NoError(t, err)
	defer other.Close()
	ids, err := other.Sets()
	require.NoError(t, err)
	require.Equal(t, []int{1}, ids, "the sweep leaves it")
	_, err = other.OpenSet(1)
	require.ErrorIs(t, err, ErrBusy)
}

func TestADamagedObjectIsNeverPublished(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	d, err := b.space.store.Put([]byte("content"))
	require.NoError(t, err)
	l, err := b.set.Restore([]Change{{Path: "n", After: Entry{Kind: File, Mode: 0o644, Size: 7, Digest: d}}})
	require.NoError(t, err)
	_, err = b.set.Restore([]Change{{Path: "n", After: Entry{Kind: File, Mode: 0o644, Size: 7, Digest: cas.Sum([]byte("x"))}}})
	require.ErrorIs(t, err, cas.ErrNotFound)
	objects, err := filepath.Glob(filepath.Join(b.root, Meta, "objects", "??", "*"))
	require.NoError(t, err)
	for _, o := range objects {
		require.NoError(t, os.Chmod(o, 0o644))
		require.NoError(t, os.WriteFile(o, []byte("tampered"), 0o444))
	}
	_, err = b.set.Collapse(context.Background(), b.tx("t1", l))
	require.ErrorIs(t, err, cas.ErrCorrupt)
	require.Equal(t, map[string]string{"a": "644 a"}, tree(t, b.root))
}

func TestWhatWasLeftUnderTheNumberOfANewSetGoes(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	layer := b.sh("echo 1 > a")
	require.NoError(t, b.set.Hold(b.tx("t1", layer)))
	_, err := b.space.NewSet(1, b.base)
	require.ErrorIs(t, err, ErrBusy, "it is in use")
	require.NoError(t, b.set.Close())
	b.reopen("overlay") // makes set 1 again, of which the history does not know
	require.NoFileExists(t, filepath.Join(b.root, Meta, "sws/1/held"))
	_, err = b.set.Collapse(t.Context(), b.tx("t2", b.sh("echo 2 > a")))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "644 2\n"}, tree(t, b.root))
}

func TestSetThatHasEndedClosesNothingOfOthers(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	fd := b.set.dir.fd
	require.NoError(t, b.set.Discard())
	b.space.background.Wait()
	require.NoError(t, unix.Dup3(b.space.root.fd, fd, unix.O_CLOEXEC)) // it is another's now
	require.NoError(t, b.set.Close())
	require.NoError(t, b.set.Discard())
	require.NoError(t, unix.Close(fd))
}
