package runner_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/history"
)

func TestMain(m *testing.M) {
	if sandbox.Main() {
		return
	}
	os.Exit(m.Run())
}

// bench is a workspace for tests: each call of run is what one process would do.
type bench struct {
	t    *testing.T
	root string
	o    runner.Options
	next plans
	seen []runner.Event
}

func newBench(t *testing.T) *bench {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	b := &bench{t: t, root: root}
	b.o = runner.Options{Jobs: 4, Grace: time.Second, Now: time.Now, Env: os.LookupEnv, CacheDir: t.TempDir(),
		LookPath: func(name string) (string, bool) { p, err := exec.LookPath(name); return p, err == nil },
		StatTool: func(p string) (int64, int64, error) {
			st, err := os.Stat(p)
			if err != nil {
				return 0, 0, err
			}
			return st.Size(), st.ModTime().UnixNano(), nil
		}}
	return b
}

// plans are handed out one after the other.
type plans []*plan.Plan

func (p *plans) Next(context.Context, runner.Failure) (*plan.Plan, error) {
	if len(*p) == 0 {
		return nil, errors.New("no other way")
	}
	pl := (*p)[0]
	*p = (*p)[1:]
	return pl, nil
}

func (b *bench) write(path, text string) {
	p := filepath.Join(b.root, path)
	require.NoError(b.t, os.MkdirAll(filepath.Dir(p), 0o755))
	require.NoError(b.t, os.WriteFile(p, []byte(text), 0o644))
}

func (b *bench) read(path string) string {
	text, err := os.ReadFile(filepath.Join(b.root, path))
	if errors.Is(err, os.ErrNotExist) {
		return "(none)"
	}
	require.NoError(b.t, err)
	return string(text)
}

// tree lists all files but ours.
func (b *bench) tree() string {
	var out []string
	require.NoError(b.t, filepath.WalkDir(b.root, func(p string, d os.DirEntry, err error) error {
		if d.Name() == ".jitos" {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			rel, _ := filepath.Rel(b.root, p)
			out = append(out, rel)
		}
		return err
	}))
	return strings.Join(out, " ")
}

// open opens everything as a process would.
func (b *bench) open() runner.Workspace {
	t := b.t
	meta := filepath.Join(b.root, ".jitos")
	require.NoError(t, os.MkdirAll(meta, 0o755))
	log, err := history.Open(filepath.Join(meta, "history"), history.Options{})
	require.NoError(t, err)
	g, err := log.System()
	require.NoError(t, err)
	store, err := cas.Open(filepath.Join(meta, "objects"))
	require.NoError(t, err)
	j := &runner.Journal{Log: log, System: &g, Store: store}
	space, err := sws.Open(b.root, sws.Options{Slots: b.o.Jobs, Store: store, Journal: j})
	require.NoError(t, err)
	base, err := sws.NewBase(b.root, nil)
	require.NoError(t, err)
	return runner.Workspace{Root: b.root, Log: log, System: &g, Store: store, Space: space, Journal: j, Base: base,
		Ignore: runner.NewIgnore(b.root, base, nil)}
}

// with does something with everything open, and closes it again.
func (b *bench) with(f func(w runner.Workspace)) {
	w := b.open()
	b.seen = nil
	b.o.Sink = func(e runner.Event) { b.seen = append(b.seen, e) }
	f(w)
	require.NoError(b.t, w.Space.Close())
	require.NoError(b.t, w.Log.Close())
}

func (b *bench) run(pl *plan.Plan, more ...*plan.Plan) *runner.Outcome {
	var out *runner.Outcome
	b.with(func(w runner.Workspace) {
		next := plans(more)
		var err error
		out, err = runner.Apply(b.t.Context(), w, pl, &next, b.o)
		require.NoError(b.t, err)
	})
	return out
}

func (b *bench) undo(run int) *runner.Outcome {
	var out *runner.Outcome
	b.with(func(w runner.Workspace) {
		var err error
		out, err = runner.Undo(b.t.Context(), w, run, b.o)
		require.NoError(b.t, err)
	})
	return out
}

// step writes a step with a shell script.
func step(id, script string, inputs, outputs []string, after ...int) plan.Step {
	s := plan.Step{ID: id, Action: &plan.Action{Task: id, Command: plan.Command{Script: script, Shell: []string{"sh", "-euc"}, Dir: "."}}}
	if inputs != nil {
		s.Inputs = &plan.Files{Patterns: inputs}
	}
	if outputs != nil {
		s.Outputs = &plan.Files{Patterns: outputs}
	}
	for _, a := range after {
		s.After = append(s.After, plan.Edge{Step: a, Why: plan.Needs})
	}
	return s
}

func planOf(steps ...plan.Step) *plan.Plan {
	pl := &plan.Plan{Target: "all", Tree: []plan.Node{{Parent: -1, Task: "all"}}, Steps: steps}
	for _, s := range steps {
		if s.Outputs != nil {
			for _, p := range s.Outputs.Patterns {
				pl.Outputs = append(pl.Outputs, plan.Output{Pattern: p, Task: s.Task})
			}
		}
	}
	return pl
}

type list = []string

func TestRunThenNothingToDo(t *testing.T) {
	b := newBench(t)
	b.write("src.txt", "hello\n")
	pl := planOf(
		step("upper", "tr a-z A-Z < src.txt > build/upper.txt", list{"src.txt"}, list{"build/upper.txt"}),
		step("twice", "cat build/upper.txt build/upper.txt > build/twice.txt", list{"build/upper.txt"}, list{"build/twice.txt"}, 0),
	)
	out := b.run(pl)
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, 2, out.Ran)
	require.Equal(t, "HELLO\nHELLO\n", b.read("build/twice.txt"))

	out = b.run(pl)
	require.True(t, out.NothingToDo)
	require.Empty(t, b.seen, "a run with nothing to do leaves no event")

	b.write("src.txt", "bye\n")
	out = b.run(pl)
	require.Equal(t, 2, out.Ran)
	require.Equal(t, "BYE\nBYE\n", b.read("build/twice.txt"))

	b.write("src.txt", "hello\n") // as before: known
	out = b.run(pl)
	require.Equal(t, 0, out.Ran)
	require.Equal(t, 2, out.Cached)
	require.Equal(t, "HELLO\nHELLO\n", b.read("build/twice.txt"))

	require.NoError(t, os.Remove(filepath.Join(b.root, "build/twice.txt")))
	out = b.run(pl)
	require.Equal(t, 1, out.Cached)
	require.Equal(t, "HELLO\nHELLO\n", b.read("build/twice.txt"))
}

func TestSameOutputStopsTheRebuild(t *testing.T) {
	b := newBench(t)
	b.write("a", "1 # comment\n")
	pl := planOf(
		step("strip", "sed 's/ *#.*//' a > b", list{"a"}, list{"b"}),
		step("use", "cat b b > c", list{"b"}, list{"c"}, 0),
	)
	require.Equal(t, 2, b.run(pl).Ran)
	b.write("a", "1 # another\n")
	out := b.run(pl)
	require.Equal(t, 1, out.Ran, "what strip made is as it was, so use is up to date")
}

func TestFailureLeavesNothing(t *testing.T) {
	b := newBench(t)
	b.write("keep", "mine\n")
	bad := planOf(step("ok", "echo fine > ok", list{}, list{"ok"}),
		step("bad", "echo garbage > keep; echo more > extra; echo why; exit 3", list{}, list{"bad"}, 0))
	out := b.run(bad)
	require.Equal(t, runner.FailedRun, out.Status)
	require.Equal(t, "bad", out.Failed)
	require.Equal(t, "exit 3", out.Reason)
	require.Equal(t, "keep", b.tree())
	require.Equal(t, "mine\n", b.read("keep"))

	good := planOf(bad.Steps[0], step("good", "cat ok > good", list{"ok"}, list{"good"}, 0))
	good.Candidate = 1 // as a planner counts
	out = b.run(bad, good)
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, []string{"bad"}, out.FailedWays)
	require.Equal(t, "good keep ok", b.tree())
}

func TestOpaqueStepsOwnWhatTheyWrite(t *testing.T) {
	b := newBench(t)
	b.write("old", "x\n")
	out := b.run(planOf(step("any", "rm old; mkdir -p d/e; echo 1 > d/e/f; ln -s f d/e/l", nil, nil)))
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, "d/e/f d/e/l", b.tree())
	out = b.run(planOf(step("any", "echo 2 > d/e/f", nil, nil)))
	require.Equal(t, 1, out.Ran, "it declares nothing, so it runs again")
	require.Equal(t, "2\n", b.read("d/e/f"))
}

func TestUndoAndRedo(t *testing.T) {
	b := newBench(t)
	b.write("a", "old\n")
	require.Equal(t, runner.Done, b.run(planOf(step("w", "echo new > a; echo b > b", list{}, list{"a", "b"}))).Status)
	out := b.undo(0)
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, "old\n", b.read("a"))
	require.Equal(t, "a", b.tree())
	require.Equal(t, runner.Done, b.undo(0).Status)
	require.Equal(t, "new\n", b.read("a"))
	require.Equal(t, "a b", b.tree())
	b.write("a", "edited\n")
	out = b.undo(0)
	require.Equal(t, runner.Conflicted, out.Status)
	require.Equal(t, "edited\n", b.read("a"))
}

func TestUndeclaredWritesAreKeptOut(t *testing.T) {
	b := newBench(t)
	out := b.run(planOf(step("w", "echo 1 > declared; echo 2 > other", list{}, list{"declared"})))
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, "declared", b.tree())
	require.Len(t, out.Warnings, 1)
	strict := planOf(step("w2", "echo 1 > declared2; echo 2 > other", list{}, list{"declared2"}))
	strict.Strict = true
	require.Equal(t, runner.FailedRun, b.run(strict).Status)
}

func TestMissingOutputIsNamed(t *testing.T) {
	b := newBench(t)
	out := b.run(planOf(step("w", "true", list{}, list{"bin/x"})))
	require.Equal(t, runner.FailedRun, out.Status)
	require.Contains(t, out.Reason, "bin/x missing")
}

func TestLateInputs(t *testing.T) {
	b := newBench(t)
	b.write("a.c", "a\n")
	b.write("a.h", "1\n")
	b.write("b.h", "1\n")
	s := step("cc", "cat a.c a.h > a.o; echo 'a.o: a.c a.h' > a.d", list{"a.c"}, list{"a.o"})
	s.DepsFile = "a.d"
	pl := planOf(s)
	require.Equal(t, 1, b.run(pl).Ran)
	require.True(t, b.run(pl).NothingToDo)
	b.write("b.h", "2\n")
	require.True(t, b.run(pl).NothingToDo, "nobody includes b.h")
	b.write("a.h", "2\n")
	out := b.run(pl)
	require.Equal(t, 1, out.Ran, "a.h is included")
	require.Equal(t, "a\n2\n", b.read("a.o"))
	require.Equal(t, "a.c a.h a.o b.h", b.tree(), "the deps_file is not an output")
}

func TestCriterion(t *testing.T) {
	b := newBench(t)
	pl := planOf(step("w", "echo 12345 > out", list{}, list{"out"}))
	pl.Success = []plan.Check{{Name: "small", Text: "filesize(\"out\") < 3", Test: func(v plan.View) (bool, string, error) {
		st, err := v.FS.(interface {
			ReadFile(string) ([]byte, error)
		}).ReadFile("out")
		return len(st) < 3, fmt.Sprintf("it is %d", len(st)), err
	}}}
	out := b.run(pl)
	require.Equal(t, runner.FailedRun, out.Status)
	require.Equal(t, `success "small"`, out.Failed)
	require.Contains(t, out.Reason, "it is 6")
	require.Empty(t, b.tree())

	hold := b.o
	b.o.Hold = true
	out = b.run(pl)
	b.o = hold
	require.Equal(t, runner.FailedRun, out.Status)
	require.Len(t, out.Changed, 1)
	require.Empty(t, b.tree())
}

// TestOutcomeDoesNotDependOnOrder compares the deterministic part of the history at different widths.
func TestOutcomeDoesNotDependOnOrder(t *testing.T) {
	digest := func(jobs int) []warp.Hash {
		b := newBench(t)
		b.o.Jobs = jobs
		var steps []plan.Step
		for i := range 30 {
			var after []int
			var in = list{}
			if i >= 10 {
				after, in = []int{i - 10, i - 7 - i%3}, list{fmt.Sprintf("o%d", i-10)}
				if after[1] > after[0] && after[1] < i {
					in = append(in, fmt.Sprintf("o%d", after[1]))
				} else {
					after = after[:1]
				}
			}
			steps = append(steps, step(fmt.Sprintf("s%d", i), fmt.Sprintf("sleep 0.0%d; echo %d > o%d", (i*7)%5, i, i), in, list{fmt.Sprintf("o%d", i)}, after...))
		}
		require.Equal(t, runner.Done, b.run(planOf(steps...)).Status)
		var out []warp.Hash
		for _, e := range b.seen {
			if e.Kind == runner.KindRewrite || e.Kind == runner.KindTick || e.Kind == runner.KindCollapse {
				out = append(out, e.Digest)
			}
		}
		return out
	}
	one := digest(1)
	require.Equal(t, one, digest(8))
	require.Greater(t, len(one), 60)
}

func TestCancelLeavesNothing(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.with(func(w runner.Workspace) {
		o := b.o
		o.Live.Output = func(string, []byte) { cancel() }
		out, err := runner.Apply(ctx, w, planOf(step("slow", "echo x > y; echo now; sleep 60", list{}, list{"y"})), &plans{}, o)
		require.NoError(t, err)
		require.Equal(t, runner.Interrupted, out.Status)
	})
	require.Empty(t, b.tree())
}

func TestStaleOutputsGo(t *testing.T) {
	b := newBench(t)
	two := planOf(step("a", "echo a > a.out", list{}, list{"a.out"}), step("b", "echo b > b.out", list{}, list{"b.out"}))
	two.Tasks = []plan.Task{{Name: "a", Fixed: true}, {Name: "b", Fixed: true}}
	require.Equal(t, runner.Done, b.run(two).Status)
	b.write("c.out", "mine\n")

	b.o.Stale = true
	one := planOf(two.Steps[0])
	one.Tasks = two.Tasks[:1]
	out := b.run(one)
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, []string{"b.out"}, out.Removed)
	require.Equal(t, "a.out c.out", b.tree())

	require.Equal(t, runner.Done, b.run(two).Status)
	b.write("b.out", "edited\n")
	require.Empty(t, b.run(one).Removed, "somebody edited it")
	require.Equal(t, "edited\n", b.read("b.out"))
}

// edited runs a plan and edits the workspace while its step waits at a gate.
func (b *bench) edited(pl *plan.Plan, edit func()) *runner.Outcome {
	var once sync.Once
	b.o.Live.Output = func(string, []byte) { once.Do(edit) }
	defer func() { b.o.Live.Output = nil }()
	return b.run(pl)
}

func TestInputsThatChangeWhileAStepRuns(t *testing.T) {
	const gate = "; echo now; sleep 0.3; "
	t.Run("a file", func(t *testing.T) {
		b := newBench(t)
		b.write("in", "old\n")
		pl := planOf(step("s", "cat in > out"+gate+"true", list{"in"}, list{"out"}))
		out := b.edited(pl, func() { b.write("in", "newer\n") })
		require.Equal(t, runner.Done, out.Status, out.Reason)
		require.Equal(t, "newer\n", b.read("out"))
	})
	t.Run("one more file for a wildcard", func(t *testing.T) {
		b := newBench(t)
		b.write("src/a", "a\n")
		pl := planOf(step("s", "true"+gate+"cat src/* > out", list{"src/*"}, list{"out"}))
		out := b.edited(pl, func() { b.write("src/b", "b\n") })
		require.Equal(t, runner.Done, out.Status, out.Reason)
		require.Equal(t, "a\nb\n", b.read("out"))
		require.NoError(t, os.Remove(filepath.Join(b.root, "src/b")))
		require.Equal(t, 1, b.run(pl).Ran, "the result with b is not one without")
		require.Equal(t, "a\n", b.read("out"))
	})
	t.Run("a late input", func(t *testing.T) {
		b := newBench(t)
		b.write("a.c", "c\n")
		b.write("a.h", "old\n")
		s := step("s", "cat a.c a.h > out"+gate+"echo 'out: a.c a.h' > d", list{"a.c"}, list{"out"})
		s.DepsFile = "d"
		out := b.edited(planOf(s), func() { b.write("a.h", "newer\n") })
		require.Equal(t, runner.Done, out.Status, out.Reason)
		require.Equal(t, "c\nnewer\n", b.read("out"))
	})
	t.Run("an input that an earlier step has used", func(t *testing.T) {
		b := newBench(t)
		b.write("in", "old\n")
		pl := planOf(step("a", "cat in > a", list{"in"}, list{"a"}),
			step("b", "true"+gate+"cat in a > b", list{"in", "a"}, list{"b"}, 0))
		out := b.edited(pl, func() { b.write("in", "newer\n") })
		require.Equal(t, runner.Conflicted, out.Status, "a was made of the old one")
		require.Equal(t, "in", b.tree())
		require.Equal(t, runner.Done, b.run(pl).Status)
		require.Equal(t, "newer\nnewer\n", b.read("b"))
	})
	t.Run("an input that only a later step uses", func(t *testing.T) {
		b := newBench(t)
		b.write("x", "old\n")
		b.write("y", "old\n")
		pl := planOf(step("a", "cat x > a"+gate+"true", list{"x"}, list{"a"}), step("b", "cat y > b", list{"y", "a"}, list{"b"}, 0))
		out := b.edited(pl, func() { b.write("y", "newer\n") })
		require.Equal(t, runner.Done, out.Status, out.Reason)
		require.Equal(t, "newer\n", b.read("b"))
	})
}

func TestAnOutputThatStoodThereAlreadyIsKnown(t *testing.T) {
	for name, s := range map[string]plan.Step{
		"declared":     step("b", "cat in > /dev/null; echo const > b", list{"in"}, list{"b"}),
		"by wildcard":  step("b", "cat in > /dev/null; echo const > b", list{"in"}, list{"[b]"}),
		"not declared": step("b", "cat in > /dev/null; echo const > b", list{"in"}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.write("in", "1\n")
			require.Equal(t, 1, b.run(planOf(s)).Ran)
			b.write("in", "2\n")
			require.Equal(t, 1, b.run(planOf(s)).Ran)
			require.True(t, b.run(planOf(s)).NothingToDo)
			require.NoError(t, os.Remove(filepath.Join(b.root, "b")))
			require.Equal(t, runner.Done, b.run(planOf(s)).Status)
			require.Equal(t, "const\n", b.read("b"))
			b.write("b", "garbage\n")
			out := b.run(planOf(s))
			require.Equal(t, "const\n", b.read("b"))
			require.Len(t, out.Warnings, 1, "somebody edited it")
		})
	}
}

func TestLinksAndOwnProgramsAreInputs(t *testing.T) {
	b := newBench(t)
	b.write("data", "1\n")
	require.NoError(t, os.Symlink("data", filepath.Join(b.root, "link")))
	pl := planOf(step("l", "cat link > out", list{"link"}, list{"out"}))
	require.Equal(t, 1, b.run(pl).Ran)
	require.True(t, b.run(pl).NothingToDo)
	b.write("data", "2\n")
	require.Equal(t, 1, b.run(pl).Ran)
	require.Equal(t, "2\n", b.read("out"))

	require.NoError(t, os.WriteFile(filepath.Join(b.root, "gen.sh"), []byte("#!/bin/sh\necho 1 > made\n"), 0o755))
	s := step("g", "", list{}, list{"made"})
	s.Command = plan.Command{Argv: list{"./gen.sh"}, Dir: "."}
	require.Equal(t, 1, b.run(planOf(s)).Ran)
	require.NoError(t, os.WriteFile(filepath.Join(b.root, "gen.sh"), []byte("#!/bin/sh\necho 2 > made\n"), 0o755))
	require.Equal(t, 1, b.run(planOf(s)).Ran)
	require.Equal(t, "2\n", b.read("made"))
}

func TestStepsWithOneKeyShareALayer(t *testing.T) {
	b := newBench(t)
	b.o.Jobs = 1
	same := "echo x > x"
	pl := planOf(step("a", same, list{}, nil), step("b", same, list{}, nil, 0), step("c", "cat x > c", list{"x"}, list{"c"}, 0, 1))
	out := b.run(pl)
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, "x\n", b.read("c"))
}

func TestNamesAreBytes(t *testing.T) {
	b := newBench(t)
	b.write("src/caf\xe9.txt", "1\n")
	pl := planOf(step("all", "cat src/* > sum; cp src/* \"out/$(printf 'b\\351')\"", list{"src/*"}, list{"sum", "out/*"}))
	out := b.run(pl)
	require.Equal(t, runner.Done, out.Status, out.Reason)
	require.Equal(t, "out/b\xe9 src/caf\xe9.txt sum", b.tree())
	require.True(t, b.run(pl).NothingToDo)
	b.write("src/caf\xe9.txt", "2\n")
	require.Equal(t, 1, b.run(pl).Ran)
	b.with(func(w runner.Workspace) {
		out, err := runner.Undo(t.Context(), w, 0, b.o)
		require.NoError(t, err)
		require.Equal(t, runner.Done, out.Status, out.Reason)
	})
	require.Equal(t, "1\n", b.read("out/b\xe9"))
	require.NoError(t, os.Remove(filepath.Join(b.root, "out/b\xe9")))
	b.write("src/caf\xe9.txt", "1\n")
	require.Equal(t, 1, b.run(pl).Cached)
	require.Equal(t, "1\n", b.read("out/b\xe9"))
}
