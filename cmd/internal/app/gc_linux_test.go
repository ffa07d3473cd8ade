package app

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
)

// TestGCDropsOldEvents fills a history until its first segment can go: what is left is provable, runs can be undone, numbers
// go on, and the graph still knows who made what.
func TestGCDropsOldEvents(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	write("main.jitos.hcl", `
task "old" {
  inputs  = ["fixed"]
  outputs = ["old.txt"]
  run     = "echo old > old.txt"
}
task "new" {
  inputs  = ["in"]
  outputs = ["new.txt"]
  run     = "cat in > new.txt"
}
`)
	write("fixed", "")
	write("in", "1\n")
	with := func(f func(w *Workspace)) {
		w, err := Open(Options{Dir: root, Jobs: 1})
		require.NoError(t, err)
		f(w)
		require.NoError(t, w.Close())
	}
	apply := func(target string) {
		with(func(w *Workspace) {
			out, err := w.Apply(t.Context(), Request{Target: target}, func(runner.Event) {}, runner.Live{})
			require.NoError(t, err)
			require.Equal(t, runner.Done, out.Status)
		})
	}
	apply("old")
	with(func(w *Workspace) {
		require.NoError(t, w.acquire(t.Context()))
		text, err := cbor.Encode(&runner.Observation{Run: 1, What: "warning", Text: string(bytes.Repeat([]byte("x"), 1<<20))})
		require.NoError(t, err)
		for range 17 {
			_, err := w.log.Append(history.Event{Kind: history.Observation, At: time.Now().UnixNano(), Data: text})
			require.NoError(t, err)
		}
	})
	between := time.Now()
	apply("new")
	write("in", "2\n")
	apply("new")

	with(func(w *Workspace) {
		require.NoError(t, w.acquire(t.Context()))
		foreseen, err := w.collect(t.Context(), between, Retention{Limit: defaultLimit}, 0, true)
		require.NoError(t, err)
		require.Zero(t, foreseen.Events)
		done, err := w.collect(t.Context(), between, Retention{Limit: defaultLimit}, 0, false)
		require.NoError(t, err)
		require.Positive(t, done.Events)
		require.Equal(t, 2, done.FirstRun)
		require.Equal(t, foreseen.Freed, done.Freed)
	})
	with(func(w *Workspace) {
		runs, err := w.Runs(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 2)
		require.Equal(t, 3, runs[0].N)
		_, _, err = w.Run(t.Context(), 1)
		require.ErrorContains(t, err, "the history tells no more of run 1")
		found, err := w.Verify(t.Context())
		require.NoError(t, err)
		for _, f := range found {
			require.True(t, f.OK, "%s: %s", f.Name, f.Detail)
		}
		require.Contains(t, found[0].Detail, "were dropped by gc")
		r, err := w.Replay(t.Context(), 2)
		require.NoError(t, err)
		require.Positive(t, r.First)
		_, err = w.Diff(t.Context(), 2, 3)
		require.NoError(t, err)
		why, err := w.Why(t.Context(), filepath.Join(root, "old.txt"))
		require.NoError(t, err)
		require.Contains(t, why.Lines[1], "written by old, run 1, of which the history tells no more")
		why, err = w.Why(t.Context(), "old")
		require.NoError(t, err)
		require.Equal(t, []string{"ran in run 1, of which the history tells no more", "  from   fixed"}, why.Lines)
	})
	with(func(w *Workspace) {
		out, err := w.Undo(t.Context(), 0, func(runner.Event) {})
		require.NoError(t, err)
		require.Equal(t, 4, out.Run)
		b, err := os.ReadFile(filepath.Join(root, "new.txt"))
		require.NoError(t, err)
		require.Equal(t, "1\n", string(b))
	})
	with(func(w *Workspace) {
		out, err := w.Undo(t.Context(), 1, func(runner.Event) {})
		require.NoError(t, err)
		require.Equal(t, 5, out.Run, "the graph knows what a run changed")
		require.NoFileExists(t, filepath.Join(root, "old.txt"))
	})
	with(func(w *Workspace) {
		out, err := w.Apply(t.Context(), Request{Target: "old"}, func(runner.Event) {}, runner.Live{})
		require.NoError(t, err)
		require.Equal(t, []int{6, 0, 1}, []int{out.Run, out.Ran, out.Cached}, "the cache outlives the history of its run")
	})
}

// TestLookingBesideAGC asks everything that takes no lock, again and again, while runs and collections go on. What has just
// been let go may be said to be so; nothing else goes wrong.
func TestLookingBesideAGC(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "main.jitos.hcl"), []byte(`
task "copy" {
  inputs  = ["in"]
  outputs = ["out"]
  run     = "cat in; cp in out"
}
`), 0o644))
	turn := func(n int) error {
		w, err := Open(Options{Dir: root, Jobs: 1})
		if err != nil {
			return err
		}
		err = os.WriteFile(filepath.Join(root, "in"), fmt.Appendln(nil, n), 0o644)
		if err == nil {
			_, err = w.Apply(t.Context(), Request{Target: "copy"}, func(runner.Event) {}, runner.Live{})
		}
		if err == nil {
			_, err = w.GC(t.Context(), Retention{Keep: 0, Limit: defaultLimit}, false)
		}
		return errors.Join(err, w.Close())
	}
	require.NoError(t, turn(0))
	done := make(chan error, 1)
	go func() {
		var err error
		for n := 1; n < 12 && err == nil; n++ {
			err = turn(n)
		}
		done <- err
	}()
	look := func() error {
		w, err := Open(Options{Dir: root, Jobs: 1})
		if err != nil {
			return err
		}
		_, err = w.Runs(t.Context())
		for _, x := range []string{filepath.Join(root, "out"), "copy"} {
			_, e := w.Why(t.Context(), x)
			err = errors.Join(err, e)
		}
		if _, _, e := w.Output(t.Context(), "copy", 0, false); !is[*UsageError](e) { // let go
			err = errors.Join(err, e)
		}
		_, e := w.Replay(t.Context(), 0)
		_, _, e2 := w.Run(t.Context(), 1)
		return errors.Join(err, e, e2, w.Close())
	}
	for looks := 0; ; looks++ {
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Positive(t, looks)
			return
		default:
			require.NoError(t, look())
		}
	}
}
