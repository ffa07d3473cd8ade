package runner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp/history"
)

// breakAt is with, where something breaks at the nth event that a collapse, or an undo, leaves in the history, counted
// from 1.
func (b *bench) breakAt(n int, broken func(runner.Workspace), f func(w runner.Workspace, o runner.Options)) {
	w := b.open()
	o, seen := b.o, 0
	o.Sink = func(e runner.Event) {
		rw, ok := e.Data.(*runner.Rewrite)
		if seen > 0 || ok && (rw.Cause == "collapse" || rw.Cause == "undo") {
			if seen++; seen == n {
				broken(w)
			}
		}
	}
	f(w, o)
	require.NoError(b.t, w.Space.Close())
}

// crash goes on until the nth event of a collapse, which is the last that survives.
func (b *bench) crash(n int, f func(w runner.Workspace, o runner.Options)) {
	b.breakAt(n, func(w runner.Workspace) {
		require.NoError(b.t, w.Log.Flush())
		panic("crash")
	}, func(w runner.Workspace, o runner.Options) {
		require.PanicsWithValue(b.t, "crash", func() { f(w, o) })
	})
	tx, err := filepath.Glob(filepath.Join(b.root, ".jitos/tx-*"))
	require.NoError(b.t, err)
	require.Len(b.t, tx, 1)
	d, err := os.Open(tx[0])
	require.NoError(b.t, err)
	require.NoError(b.t, syscall.Flock(int(d.Fd()), syscall.LOCK_EX), "a sync may go on, as it would in a process that dies")
	require.NoError(b.t, d.Close())
}

// told is what the history tells of the last run, after the plan, and that it can be folded.
func (b *bench) told() []string {
	r, err := history.OpenReader(filepath.Join(b.root, ".jitos/history"))
	require.NoError(b.t, err)
	_, err = r.Verify()
	require.NoError(b.t, err)
	var out []string
	for s, err := range runner.Fold(r) {
		require.NoError(b.t, err)
		switch d := s.Data.(type) {
		case *runner.Intent:
			out = nil
		case *runner.Rewrite:
			out = append(out, d.Cause)
		case *runner.Collapse, *runner.End:
			out = append(out, s.Kind)
		}
	}
	return out
}

func TestCollapseIsRecordedWholeAfterACrash(t *testing.T) {
	for n, after := range []string{"its rewrite", "its tick", "what it is"} {
		t.Run("cut off after "+after, func(t *testing.T) {
			b := newBench(t)
			b.write("a", "old\n")
			require.Equal(t, runner.Done, b.run(planOf(step("w", "echo new > a", list{}, list{"a"}))).Status)
			ticks := func() (n int) {
				b.with(func(w runner.Workspace) {
					for e, err := range w.Log.From(0) {
						require.NoError(t, err)
						if e.Kind == runner.KindTick {
							n++
						}
					}
				})
				return n
			}
			before := ticks()
			b.crash(n+1, func(w runner.Workspace, o runner.Options) {
				_, _ = runner.Apply(t.Context(), w, planOf(step("w2", "echo newer > a", list{}, list{"a"})), &plans{}, o)
			})
			require.Equal(t, before+3, ticks(), "plan, step and collapse")
			require.Equal(t, "newer\n", b.read("a"))
			require.Equal(t, list{"plan", "step", "collapse", "COLLAPSE"}, b.told())

			b.crash(n+1, func(w runner.Workspace, o runner.Options) { _, _ = runner.Undo(t.Context(), w, 0, o) })
			require.Equal(t, before+5, ticks(), "plan and undo")
			require.Equal(t, "new\n", b.read("a"))
			require.Equal(t, list{"plan", "undo", "UNDO"}, b.told())
			require.Equal(t, runner.Done, b.undo(0).Status)
			require.Equal(t, "newer\n", b.read("a"), "the undo can be undone")
		})
	}
}

func TestCollapseThatCouldNotBeRecordedIsTakenBackInTheHistoryToo(t *testing.T) {
	for n, after := range []string{"its rewrite", "its tick", "what it is"} {
		t.Run("poisoned after "+after, func(t *testing.T) {
			b := newBench(t)
			b.write("a", "old\n")
			require.Equal(t, runner.Done, b.run(planOf(step("w", "echo new > a", list{}, list{"a"}))).Status)
			newer := planOf(step("w2", "echo newer > a", list{}, list{"a"}))
			poison := func(w runner.Workspace) { require.NoError(t, w.Log.Close()) } // which commits
			b.breakAt(n+1, poison, func(w runner.Workspace, o runner.Options) {
				_, err := runner.Apply(t.Context(), w, newer, &plans{}, o)
				require.ErrorIs(t, err, history.ErrPoisoned)
			})
			require.Equal(t, "new\n", b.read("a"))

			require.Equal(t, runner.Done, b.undo(0).Status, "of the first run: the second did not happen")
			require.Equal(t, "old\n", b.read("a"))
			require.Equal(t, runner.Done, b.undo(0).Status)
			require.Equal(t, runner.Done, b.run(newer).Status)
			require.Equal(t, "newer\n", b.read("a"))
			require.Equal(t, list{"plan", "collapse", "COLLAPSE"}, b.told())
		})
	}
}

func TestHeldSetIsInTheHistoryBeforeItIsKept(t *testing.T) {
	b := newBench(t)
	b.o.Hold = true
	pl := planOf(step("w", "echo new > a", list{}, list{"a"}))
	w, o := b.open(), b.o
	o.Sink = func(e runner.Event) {
		if e.Kind == runner.KindHold {
			panic("the power goes")
		}
	}
	require.Panics(t, func() { _, _ = runner.Apply(t.Context(), w, pl, &plans{}, o) })
	require.NoError(t, w.Space.Close())
	require.FileExists(t, filepath.Join(b.root, ".jitos/sws/0/held"))
	require.Equal(t, list{"plan", "step"}, b.told())
	require.Equal(t, 1, b.run(pl).SWS, "its number is taken")
}

func TestHoldThatCannotBeWrittenClosesTheRun(t *testing.T) {
	b := newBench(t)
	b.o.Hold = true
	w, o := b.open(), b.o
	o.Sink = func(e runner.Event) {
		if e.Kind == runner.KindResult {
			require.NoError(t, os.Mkdir(filepath.Join(b.root, ".jitos/sws/0/held"), 0o700))
		}
	}
	_, err := runner.Apply(t.Context(), w, planOf(step("w", "echo new > a", list{}, list{"a"})), &plans{}, o)
	require.Error(t, err)
	require.NoError(t, w.Space.Close())
	require.NoError(t, w.Log.Close())
	require.Equal(t, list{"plan", "step", "DISCARD"}, b.told())
	require.NoDirExists(t, filepath.Join(b.root, ".jitos/sws/0"))
}

func TestHoldOfWhatCannotBePutTogether(t *testing.T) {
	b := newBench(t)
	b.o.Hold = true
	out := b.run(planOf(step("a", "echo 1 > x", nil, nil), step("b", "echo 2 > x", nil, nil)))
	require.Equal(t, runner.FailedRun, out.Status)
	require.Equal(t, "a and b both wrote x, and neither needs the other: make one need the other, or give them different outputs", out.Reason)
	require.Equal(t, "DISCARD", b.told()[len(b.told())-1])
	require.NoDirExists(t, filepath.Join(b.root, ".jitos/sws/0"))

	pl := planOf(step("a", "echo 1 > x", nil, nil), step("b", "echo 2 > x", nil, nil), step("c", "exit 1", nil, nil, 0, 1))
	out = b.run(pl)
	require.Equal(t, runner.FailedRun, out.Status)
	require.Equal(t, "exit 1; not held: a and b both wrote x, and neither needs the other: make one need the other, or give them different outputs", out.Reason)
}

// collapse lets a held set in.
func (b *bench) collapse(out *runner.Outcome, d runner.Decision) *runner.Outcome {
	b.with(func(w runner.Workspace) {
		var err error
		out, err = runner.CollapseHeld(b.t.Context(), w, out.Run, out.SWS, d, b.o)
		require.NoError(b.t, err)
	})
	return out
}

func TestHeldSetKeepsTheScopeOfItsRun(t *testing.T) {
	b := newBench(t)
	b.o.Hold = true
	pl := planOf(step("w", "echo x > .envrc", list{}, list{".envrc"}))
	held := b.run(pl)
	for range 2 { // it stays held
		require.Equal(t, runner.Refused, b.collapse(held, runner.Decision{Dry: true}).Status)
		out := b.collapse(held, runner.Decision{})
		require.Equal(t, runner.Refused, out.Status)
		require.Contains(t, out.Reason, "name it in a slap's scope")
		require.Equal(t, "HOLD", b.told()[len(b.told())-1])
	}

	pl.Scope = &plan.Scope{Include: list{".envrc"}}
	require.Equal(t, runner.Done, b.collapse(b.run(pl), runner.Decision{}).Status)
	require.Equal(t, "x\n", b.read(".envrc"))

	pl = planOf(step("w", "echo x > out", list{}, list{"out"}))
	pl.Scope = &plan.Scope{Include: list{"dist/**"}}
	out := b.collapse(b.run(pl), runner.Decision{Anyway: true})
	require.Equal(t, runner.Refused, out.Status)
	require.Contains(t, out.Reason, "outside the scope")
	require.Equal(t, ".envrc", b.tree())
}

func TestWhatAFailedRunLeftIsLetInOnlyAnyway(t *testing.T) {
	b := newBench(t)
	b.o.Hold = true
	held := b.run(planOf(step("ok", "echo x > out", list{}, list{"out"}), step("bad", "exit 3", list{}, nil, 0)))
	require.Equal(t, runner.FailedRun, held.Status)
	out := b.collapse(held, runner.Decision{})
	require.Equal(t, runner.Refused, out.Status)
	require.Equal(t, fmt.Sprintf("run %d failed: exit 3 (--anyway lets it in all the same)", held.Run), out.Reason)
	require.Empty(t, b.tree())
	require.Equal(t, runner.Done, b.collapse(held, runner.Decision{Anyway: true}).Status)
	require.Equal(t, "x\n", b.read("out"))
}

func TestHeldCollapseHappensWhenItHappens(t *testing.T) {
	b := newBench(t)
	b.write("a", "old\n")
	b.o.Hold = true
	held := b.run(planOf(step("w", "echo new > a", list{}, list{"a"})))
	now := time.Now().Add(time.Hour)
	b.o.Now = func() time.Time { return now }
	b.write("a", "yours\n")
	require.Equal(t, runner.Conflicted, b.collapse(held, runner.Decision{}).Status)
	require.Equal(t, list{"plan", "step", "HOLD", "CONFLICT"}, b.told())
	require.Len(t, b.seen[len(b.seen)-1].Data.(*runner.End).Changes, 1, "what is held still")
	require.Equal(t, runner.Done, b.collapse(held, runner.Decision{Keep: runner.KeepSWS}).Status)
	for _, e := range b.seen {
		require.Equal(t, now.UnixNano(), e.At, e.Kind)
	}
	require.NotEmpty(t, b.seen)
}
