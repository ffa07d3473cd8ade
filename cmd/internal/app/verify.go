package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/history"
)

// reachHint is what to do about what is there and cannot be read.
const reachHint = "give yourself access: chown or chmod it, if another user ran jitos here"

// repairHint is what to do about a history that is damaged.
const repairHint = "`jitos history repair` keeps what is before the damage and puts the rest aside"

// Replayed is what a fold of the history led to. No rule was run, and every digest that was recorded was compared.
type Replayed struct {
	Run      int    // the last one that was folded; 0: none
	First    uint64 // index of the first event: not 0 where old ones were dropped
	Events   int
	Ticks    int
	Rewrites int // of the System
	Views    int // of shadow working sets
	Nodes    int
	Edges    int
	Digest   warp.Hash
}

// Replay folds the recorded rewrites up to the end of run n (0: the last one) and compares every digest on the way.
func (w *Workspace) Replay(ctx context.Context, n int) (*Replayed, error) {
	if err := w.view(ctx); err != nil {
		return nil, err
	}
	if n != 0 {
		runs, err := w.Runs(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(runs, func(r Run) bool { return r.N == n }) {
			return nil, noRun(n, runs)
		}
	}
	return w.replay(n, func(runner.Event) {})
}

func (w *Workspace) replay(n int, each func(runner.Event)) (*Replayed, error) {
	r, err := w.past()
	if err != nil {
		return nil, err
	}
	out := &Replayed{}
	if out.First, err = r.First(); err != nil {
		return nil, damaged(err)
	}
	var g warp.Graph
	for s, err := range runner.Fold(r) {
		if err != nil {
			return out, damaged(err)
		}
		switch d := s.Data.(type) {
		case *runner.Intent:
			if n != 0 && d.Run > n {
				return out.at(g), nil
			}
			out.Run = d.Run
		case *runner.Tick:
			out.Ticks++
		case *runner.Rewrite:
			if s.Event.View == history.System {
				out.Rewrites++
			} else {
				out.Views++
			}
		}
		out.Events++
		g = s.System
		each(s.Event)
	}
	return out.at(g), nil
}

func (r *Replayed) at(g warp.Graph) *Replayed {
	r.Nodes, r.Edges = g.Len()
	r.Digest = g.Digest()
	return r
}

// past is a reader of the history, also of what this process has just appended to it.
func (w *Workspace) past() (*history.Reader, error) {
	if w.log == nil {
		return w.reader, nil
	}
	return w.log.Reader(), w.log.Flush()
}

// Verify looks at everything that is kept: whether the chain and every recorded digest hold, whether every object is what
// its name says, whether what is derived agrees with what it is derived from. What is only missing (old contents that were
// let go) is said, and is no damage. A damaged object is dropped, as by whoever reads it.
func (w *Workspace) Verify(ctx context.Context) ([]Finding, error) {
	if err := w.view(ctx); err != nil {
		return nil, err
	}
	if w.store == nil {
		return []Finding{{Name: "history", OK: true, Detail: "nothing was run here yet"}}, nil
	}
	n := needs{}
	past, g := w.verifyHistory(&n)
	out := []Finding{past}
	objects, err := w.verifyObjects(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, objects)
	if missing := n.missing(w.store); len(missing) > 0 {
		out = append(out, Finding{Name: "let go", OK: true, Detail: strings.Join(missing, "; ")})
	}
	if !past.OK {
		return out, nil
	}
	out = append(out, w.verifyGraph(g))
	projections, err := w.verifyProjections(ctx)
	return append(out, projections), err
}

func (w *Workspace) verifyHistory(n *needs) (Finding, *Replayed) {
	f := Finding{Name: "history"}
	r, err := w.replay(0, n.note)
	if err != nil {
		f.Detail, f.Fix = err.Error(), repairHint
		if is[*history.CheckpointError](err) {
			f.Fix = "remove .jitos/history/checkpoint: it is made anew"
		} else if is[*history.MismatchError](err) {
			f.Fix = "move .jitos/history away to start anew; nothing in the workspace depends on it"
		} else if errors.Is(err, fs.ErrPermission) {
			f.Fix = reachHint
		}
		return f, r
	}
	f.OK, f.Detail = true, fmt.Sprintf("%s, the chain and %s hold", counted(r.Events, "event"), counted(r.Rewrites+r.Views, "digest"))
	if r.First > 0 {
		f.Detail += fmt.Sprintf("; %s before them were dropped by gc", counted(int(r.First), "event"))
	}
	return f, r
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (w *Workspace) verifyObjects(ctx context.Context) (Finding, error) {
	f := Finding{Name: "objects", Fix: "they are dropped: what needs them again runs again, except for an undo of what they were before"}
	n, bytes := 0, int64(0)
	var bad []string
	for o, err := range w.store.Objects() {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return f, err
		}
		switch err := w.store.Check(o.Digest); {
		case errors.Is(err, cas.ErrCorrupt):
			bad = append(bad, o.Digest.String()[:12])
		case errors.Is(err, cas.ErrNotFound): // a gc was faster
		case err != nil:
			return f, err
		default:
			n++
			bytes += o.Size
		}
	}
	f.OK = len(bad) == 0
	f.Detail = fmt.Sprintf("%s, %s, each is what its name says", counted(n, "object"), size(bytes))
	if !f.OK {
		f.Detail = fmt.Sprintf("%s of %d are damaged: %s", counted(len(bad), "object"), n+len(bad), strings.Join(bad[:min(5, len(bad))], " "))
	}
	return f, nil
}

// needs are the objects that the history names, by what they are needed for.
type needs struct {
	undo, output map[cas.Digest]int // the last run that names them
}

// note collects what an event names.
func (n *needs) note(e runner.Event) {
	if n.undo == nil {
		n.undo, n.output = map[cas.Digest]int{}, map[cas.Digest]int{}
	}
	switch d := e.Data.(type) {
	case *runner.Result:
		if len(d.Log) > 0 {
			n.output[cas.Digest(d.Log)] = d.Run
		}
	case *runner.Collapse:
		for _, c := range d.Changes {
			if c.Before.Type == "file" {
				n.undo[cas.Digest(c.Before.Digest)] = d.Run
			}
		}
	}
}

func (n *needs) missing(store *cas.Store) []string {
	var out []string
	say := func(what, noun string, of map[cas.Digest]int) {
		count, last := 0, 0
		for d, run := range of {
			if !store.Has(d) {
				count++
				last = max(last, run)
			}
		}
		if count > 0 {
			out = append(out, fmt.Sprintf("%s, up to run %d", fmt.Sprintf(what, counted(count, noun)), last))
		}
	}
	say("%s that an undo would bring back", "old content", n.undo)
	say("%s of steps", "output", n.output)
	return out
}

// verifyGraph compares the graph that commands see, from the checkpoint on, with that of the whole history.
func (w *Workspace) verifyGraph(want *Replayed) Finding {
	f := Finding{Name: "graph", Fix: "remove .jitos/history/checkpoint: it is made anew"}
	g, err := w.system()
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	f.OK = g.Digest() == want.Digest
	f.Detail = fmt.Sprintf("%s, %s, digest %s", counted(want.Nodes, "node"), counted(want.Edges, "edge"), want.Digest)
	if !f.OK {
		f.Detail = fmt.Sprintf("the events lead to %s, the checkpoint to %s", want.Digest, g.Digest())
	}
	return f
}

// verifyProjections holds what the fast path would answer against the workspace, and against the long way.
func (w *Workspace) verifyProjections(ctx context.Context) (Finding, error) {
	f := Finding{Name: "projections", OK: true, Fix: "remove .jitos/index: it is made anew"}
	names, err := runner.Projections(w.meta("index/system"))
	if err != nil {
		return f, err
	}
	r, err := w.past()
	if err != nil {
		return f, err
	}
	_, head, err := r.Head()
	if err != nil {
		return f, damaged(err)
	}
	if err := w.lookAfresh(nil); err != nil { // what they say of contents is just what is in doubt
		return f, err
	}
	current := 0
	var wrong []string
	for _, name := range names {
		p, err := runner.ReadProjection(name)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", filepath.Base(name), err))
			continue
		}
		for _, s := range p.Seen {
			e, now, err := w.base.Entry(s.Path)
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				return f, err
			}
			if s.Read && now == s.Print && e.Digest != s.Entry.Digest {
				wrong = append(wrong, s.Path+" has another content than the index says")
			}
		}
		in := Request{Target: p.Request[0], Args: p.Request[1:]}
		if name != w.projection(in) { // of other variables, or another version: this jitos cannot ask the long way
			continue
		}
		if _, ok := runner.Unchanged(w.root, name, head, os.LookupEnv, programID); !ok {
			continue
		}
		current++
		todo, err := w.todo(ctx, in)
		if err != nil {
			return f, err
		}
		if len(todo) > 0 {
			wrong = append(wrong, fmt.Sprintf("nothing is to do says the index, but %s would run", strings.Join(todo, ", ")))
		}
	}
	f.Detail = fmt.Sprintf("%d, of them %d in force, which agree with the graph and the workspace", len(names), current)
	if len(wrong) > 0 {
		slices.Sort(wrong)
		f.OK, f.Detail = false, strings.Join(slices.Compact(wrong), "; ")
	}
	return f, nil
}

// todo asks the long way, without any index, which steps would run.
func (w *Workspace) todo(ctx context.Context, r Request) ([]string, error) {
	r.still = true
	p, err := w.plan(ctx, r)
	if errors.Is(err, errStill) { // what was known of it is gone: there is nothing to compare with
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if w.graph, err = w.system(); err != nil {
		return nil, err
	}
	f, err := w.foresee(ctx, p, w.options())
	if err != nil {
		return nil, err
	}
	todo := map[string]bool{}
	for i, s := range f.Steps {
		if s.Outcome != runner.UpToDate {
			todo[f.Plan.Steps[i].ID] = true
		}
	}
	return slices.Sorted(maps.Keys(todo)), nil
}

// lookAfresh takes a new look at the workspace, trusting known for the digests of files.
func (w *Workspace) lookAfresh(known func(string) (sws.Fingerprint, cas.Digest, bool)) error {
	base, err := sws.NewBase(w.root, known)
	if err != nil {
		return err
	}
	if w.base != nil {
		if err := w.base.Close(); err != nil {
			return err
		}
	}
	w.base = base
	w.ignore = runner.NewIgnore(w.root, w.base, nil)
	return nil
}
