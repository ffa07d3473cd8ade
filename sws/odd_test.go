package sws

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPathsAreAsLongAsTheyLike(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"a": "a"})
		self, err := os.Executable()
		require.NoError(t, err)
		l, _ := b.self(self, "SWS_DEEP=1", nil)
		require.Len(t, l.Changes(), 21)
		last := l.Changes()[20]
		require.Len(t, last.Path, 20*256+1)
		r := b.collapse("t1", l)
		base, err := NewBase(b.root, nil)
		require.NoError(t, err)
		defer base.Close()
		e, _, err := base.Entry(last.Path)
		require.NoError(t, err)
		require.Equal(t, last.After, e)
		_, err = b.space.Undo(t.Context(), "t2", r.Ops, nil)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a": "644 a"}, tree(t, b.root))
	})
}

func TestHolesStayHoles(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, nil)
		l := b.sh("truncate -s 200M hole; ln hole again; echo end >> hole")
		b.collapse("t1", l)
		for _, n := range []string{"hole", "again"} { // one is moved, or both are copied
			fi, err := os.Stat(filepath.Join(b.root, n))
			require.NoError(t, err)
			require.EqualValues(t, 200<<20+4, fi.Size())
			require.Less(t, fi.Sys().(*syscall.Stat_t).Blocks, int64(1000))
		}
	})
}

func TestTwoSlotsAtOnce(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"in": "in"})
		var layers [2][]*Layer
		var errs [2]error
		var wg sync.WaitGroup
		for slot := range 2 {
			wg.Go(func() {
				for range 10 {
					c := Command{Argv: []string{"/bin/sh", "-ec", "test ! -e out; cat in > out; echo " + string(rune('a'+slot)) + " >> out"}, Env: []string{"PATH=/usr/bin:/bin"}}
					l, res, err := b.set.Run(t.Context(), slot, nil, c)
					if errs[slot] = err; err != nil || res.Exit != 0 {
						return
					}
					layers[slot] = append(layers[slot], l)
				}
			})
		}
		wg.Wait()
		for slot := range 2 {
			require.NoError(t, errs[slot])
			require.Len(t, layers[slot], 10)
			for _, l := range layers[slot] {
				content, err := b.set.View([]*Layer{l}).ReadFile("out")
				require.NoError(t, err)
				require.Equal(t, "in"+string(rune('a'+slot))+"\n", string(content))
			}
		}
	})
}

func TestASlotsCopyFollowsTheWorkspaceFromRunToRun(t *testing.T) {
	b := open(t, "copy", map[string]string{"a": "a", "d/x": "x", "gone": "g", "turns": "t"})
	require.Contains(t, b.space.Isolation(t.Context()), "copy")
	b.sh("echo 1 > a; rm gone; mkdir new; chmod 700 d")
	require.NoError(t, b.set.Discard())
	require.NoError(t, b.space.Close())
	write(t, b.root, map[string]string{"a": "edited", "d/y": "y"})
	require.NoError(t, os.Remove(filepath.Join(b.root, "turns")))
	write(t, b.root, map[string]string{"turns/into": "dir"})
	require.NoError(t, os.Chmod(filepath.Join(b.root, "gone"), 0o600))
	b.reopen("copy")
	require.Empty(t, b.sh("test $(cat a) = edited; test -f d/y; test -f gone; test $(stat -c %a gone) = 600; test ! -e new; test $(stat -c %a d) = 755; test -f turns/into").Changes())
}
