package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/cas"
)

// Set is a shadow working set.
type Set struct {
	ID      int
	Run     int
	Target  string
	What    string // as of its run
	State   string // "ACTIVE", "HELD", "COLLAPSED" or "DISCARDED", folded from the history
	Reason  string
	At      time.Time
	Changes int // paths that it would change, or did
}

// Repeatable tells whether the record says all that is needed to make the set anew.
func (s *Set) Repeatable() bool { return s.What == "" && !strings.Contains(s.Target, "(") }

// FileDiff is one path of a held set beside the workspace.
type FileDiff struct {
	Path          string
	Before, After runner.Entry
	ReadBefore    func() ([]byte, error) // of files
	ReadAfter     func() ([]byte, error)
}

// Sets lists the shadow working sets of all runs, the newest first.
func (w *Workspace) Sets(ctx context.Context) ([]Set, error) {
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, err
	}
	var out []Set
	for _, r := range runs {
		if r.SWS < 0 {
			continue
		}
		s := Set{ID: r.SWS, Run: r.N, Target: r.Target, What: r.What, Reason: r.Reason, At: r.At, Changes: files(r.Changes)}
		switch r.Status {
		case "done":
			s.State = "COLLAPSED"
		case "held", "conflict":
			s.State, s.Changes = "HELD", files(r.Held)
		case "running":
			s.State = "ACTIVE"
		default:
			s.State = "DISCARDED"
		}
		if s.State == "HELD" {
			if _, err := os.Stat(w.meta(fmt.Sprintf("sws/%d/held", r.SWS))); errors.Is(err, fs.ErrNotExist) {
				s.State = "DISCARDED"
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// files counts the changes that are not of directories.
func files(cs []runner.Change) int {
	n := 0
	for _, c := range cs {
		if c.Before.Type != "dir" && c.After.Type != "dir" {
			n++
		}
	}
	return n
}

// held finds a set that is held, and the run it is of.
func (w *Workspace) held(ctx context.Context, id int) (*Set, error) {
	sets, err := w.Sets(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for i, s := range sets {
		if s.ID == id && s.State == "HELD" {
			return &sets[i], nil
		}
		if s.State == "HELD" {
			ids = append(ids, fmt.Sprint(s.ID))
		}
	}
	i := slices.IndexFunc(sets, func(s Set) bool { return s.ID == id })
	switch {
	case i >= 0 && len(ids) == 0:
		return nil, usagef("sws %d is %s, and none is held", id, strings.ToLower(sets[i].State))
	case i >= 0:
		return nil, usagef("sws %d is %s; held are: %s", id, strings.ToLower(sets[i].State), strings.Join(ids, ", "))
	case len(ids) == 0:
		return nil, usagef("there is no sws %d, and none is held", id)
	}
	return nil, usagef("there is no sws %d; held are: %s", id, strings.Join(ids, ", "))
}

// SetDiff compares a held set with the workspace as it is now.
func (w *Workspace) SetDiff(ctx context.Context, id int) ([]FileDiff, error) {
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	if _, err := w.held(ctx, id); err != nil {
		return nil, err
	}
	set, err := w.space.OpenSet(id)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	t, _ := set.Held()
	var out []FileDiff
	for _, c := range t.Changes {
		before, err := w.base.At(c.Path)
		if err != nil {
			return nil, err
		}
		b, _, err := w.base.EntryAt(c.Path)
		if err != nil {
			return nil, err
		}
		d := FileDiff{Path: c.Path, Before: runner.EntryOf(b), After: runner.EntryOf(c.After)}
		if before.Kind == sws.File {
			d.ReadBefore = func() ([]byte, error) { return os.ReadFile(filepath.Join(w.root, filepath.FromSlash(c.Path))) }
		}
		if c.After.Kind == sws.File {
			d.ReadAfter = func() ([]byte, error) { return w.store.Get(c.After.Digest) }
		}
		out = append(out, d)
	}
	return out, nil
}

// SetCollapse lets a held result into the workspace, as a person decides; nothing runs again.
func (w *Workspace) SetCollapse(ctx context.Context, id int, d runner.Decision, sink func(runner.Event)) (*runner.Outcome, error) {
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	s, err := w.held(ctx, id)
	if err != nil {
		return nil, err
	}
	d.Paths = slices.Clone(d.Paths)
	for i, p := range d.Paths {
		if d.Paths[i], err = w.relative(p); err != nil {
			return nil, err
		}
	}
	o := w.options()
	o.Sink = sink
	out, err := runner.CollapseHeld(ctx, w.runnerWorkspace(), s.Run, id, d, o)
	return out, told(err)
}

// SetDiscard gives a held result up.
func (w *Workspace) SetDiscard(ctx context.Context, id int) error {
	if err := w.acquire(ctx); err != nil {
		return err
	}
	s, err := w.held(ctx, id)
	if err != nil {
		return err
	}
	return told(runner.DiscardHeld(w.runnerWorkspace(), s.Run, id, w.options()))
}

// SetRebase makes a held result anew: its target is planned and run on top of the workspace as it is now, where what is
// known costs nothing, and the result is held in place of the old one. If that fails the old one stays.
func (w *Workspace) SetRebase(ctx context.Context, id int, sink func(runner.Event), live runner.Live) (*runner.Outcome, error) {
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	s, err := w.held(ctx, id)
	if err != nil {
		return nil, err
	}
	if !s.Repeatable() {
		return nil, usagef("sws %d is of %s, of which the record does not tell how to run it again: run it with --hold, then jitos sws discard %d", id, s.Target, id)
	}
	out, err := w.Apply(ctx, Request{Target: s.Target, Hold: true}, sink, live)
	if err != nil {
		return nil, err
	}
	if out.Status != runner.Held && out.Status != runner.Nothing {
		if id = out.SWS; out.Run == 0 {
			return out, nil
		}
		if _, err := w.held(ctx, id); err != nil { // nothing was made that could be
			return out, nil
		}
	}
	return out, w.SetDiscard(ctx, id)
}

// SetGC removes the sets on the disk that the history does not hold (any more), and tells their numbers. What dead runs
// left goes whenever the workspace is acquired.
func (w *Workspace) SetGC(ctx context.Context) ([]int, error) {
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	sets, err := w.Sets(ctx)
	if err != nil {
		return nil, err
	}
	ids, err := w.space.Sets()
	if err != nil {
		return nil, err
	}
	var removed []int
	for _, id := range ids {
		if slices.ContainsFunc(sets, func(s Set) bool { return s.ID == id && s.State == "HELD" }) {
			continue
		}
		set, err := w.space.OpenSet(id)
		if err != nil {
			return removed, err
		}
		if err := set.Discard(); err != nil {
			return removed, err
		}
		removed = append(removed, id)
	}
	return removed, nil
}

// Undo puts back what a run changed; 0 is the last one that changed anything.
func (w *Workspace) Undo(ctx context.Context, run int, sink func(runner.Event)) (*runner.Outcome, error) {
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	o := w.options()
	o.Sink = sink
	out, err := runner.Undo(ctx, w.runnerWorkspace(), run, o)
	if errors.Is(err, cas.ErrNotFound) {
		return nil, &RefusedError{"it cannot be undone any more: what was there before has been let go (`jitos gc`, or a damaged object), and nothing was changed"}
	}
	return out, told(err)
}

// Clean removes the outputs of targets (none: the default) that stand as their steps made them.
func (w *Workspace) Clean(ctx context.Context, targets []string, sink func(runner.Event)) (*runner.Outcome, error) {
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		targets = []string{""}
	}
	in := Request{Target: targets[0], Args: targets[1:]}
	p, err := w.plan(ctx, in)
	if err != nil {
		return nil, err
	}
	o := w.options()
	o.Sink = sink
	return runner.Clean(ctx, w.runnerWorkspace(), p.first, o)
}

// told turns what a person asked for in vain into a usage error.
func told(err error) error {
	if n, ok := errors.AsType[*runner.NothingError](err); ok {
		return &UsageError{n.Reason}
	}
	return err
}

// running says whether another process holds the run lock.
func (w *Workspace) running() bool {
	if w.lock != nil {
		return false
	}
	f, err := os.Open(w.meta("run"))
	if err != nil {
		return false
	}
	defer f.Close()
	return !tryLock(f)
}
