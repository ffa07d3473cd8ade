package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
)

// NothingError says that there is nothing to undo, clean, collapse or discard.
type NothingError struct{ Reason string }

func (e *NothingError) Error() string { return e.Reason }

// Undo puts back what a run changed (0: the last one that changed anything), through the same door and as a run of its
// own, so that undoing again does it again.
func Undo(ctx context.Context, w Workspace, run int, o Options) (out *Outcome, err error) {
	c, err := undoable(*w.System, run)
	if err != nil {
		return nil, err
	}
	o.What = "undo"
	k, err := newKernel(w, o)
	if err != nil {
		return nil, err
	}
	k.sws, k.of = -1, c.run
	what := fmt.Sprintf("undo of run %d", c.run)
	defer func() { err = k.close(err) }()
	if err := k.open(what); err != nil {
		return nil, err
	}
	rw := c.back
	rw.Ops = append(rw.Ops, warp.AddEdge(warp.Edge{Kind: "collapsed-into", From: k.runNode().ID(), To: runNode(c.run).ID()}))
	note, err := cbor.Encode(k.note(KindUndo, rw))
	if err != nil {
		return nil, err
	}
	r, err := w.Space.Undo(ctx, strconv.Itoa(k.run), c.done, note)
	return k.ended(r, err, what, nil)
}

// ended turns the answer of package sws into an outcome, and records what it did not record itself. held is what stays
// in a held set if it does not enter the workspace.
func (k *kernel) ended(r sws.Receipt, err error, target string, held []Change) (*Outcome, error) {
	out := &Outcome{Run: k.run, SWS: k.sws, Target: target, Status: Done}
	if c, ok := errors.AsType[*sws.ConflictError](err); ok {
		end := &End{Run: k.run, SWS: k.sws, Reason: c.Error(), Failed: true, Changes: held}
		for _, p := range c.Paths {
			end.Paths = append(end.Paths, textPath(p.Path))
		}
		out.Status, out.Conflicts, out.Reason = Conflicted, c.Paths, c.Error()
		return out, errors.Join(k.emit(KindConflict, k.viewOf(), warp.Hash{}, end), k.settleHistory())
	}
	if e, ok := errors.AsType[*sws.RefusedError](err); ok {
		out.Status, out.Reason = Refused, e.Error()
		kind := KindDiscard
		if held != nil {
			kind = KindHold
		}
		end := &End{Run: k.run, SWS: k.sws, Reason: e.Error(), Failed: true, Changes: held}
		return out, errors.Join(k.emit(kind, k.viewOf(), warp.Hash{}, end), k.settleHistory())
	}
	if err != nil {
		return nil, err
	}
	k.over = true
	out.Changed, out.Collapsed = changesOf(r.Ops), r.Ops
	return out, nil
}

// Clean removes what the given steps produced and what still stands in the workspace as they made it. Like any change
// it goes through a collapse and can be undone.
func Clean(ctx context.Context, w Workspace, pl *plan.Plan, o Options) (out *Outcome, err error) {
	o.What = "clean"
	k, err := newKernel(w, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = k.close(err) }()
	gone := map[string]bool{}
	var dirs []string
	for i := range pl.Steps {
		last, err := lastOf(*w.System, pl.Steps[i].ID)
		if err != nil {
			return nil, err
		}
		if last == nil {
			continue
		}
		for _, c := range produced(*w.System, last.node) {
			e, err := k.at(c.Path)
			switch {
			case err != nil:
				return nil, err
			case e.Kind == sws.Absent || c.After.Kind == sws.Absent || !sameContent(e, c.After):
			case e.Kind == sws.Dir:
				dirs = append(dirs, c.Path)
			default:
				gone[c.Path] = true
				for d := path.Dir(c.Path); d != "." && wholly(&pl.Steps[i], d); d = path.Dir(d) { // it stood there when the step ran last
					dirs = append(dirs, d)
				}
			}
		}
	}
	// directories go when nothing else is in them
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, d := range slices.Compact(dirs) {
		names, _, err := w.Base.Dir(d)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(names, func(n string) bool { return !gone[d+"/"+n] }) {
			gone[d] = true
		}
	}
	if len(gone) == 0 {
		return &Outcome{Status: Nothing, NothingToDo: true, Target: pl.Target}, nil
	}
	if err := k.open("clean " + pl.Target); err != nil {
		return nil, err
	}
	t := sws.Transaction{Tx: strconv.Itoa(k.run), Changes: removals(slices.Sorted(maps.Keys(gone)))}
	if t.Note, err = k.collapseNote(warp.Rewrite{}, ""); err != nil {
		return nil, err
	}
	set, err := k.workingSet()
	if err != nil {
		return nil, err
	}
	r, err := set.Collapse(ctx, t)
	if out, err = k.ended(r, err, "clean "+pl.Target, nil); err != nil {
		return nil, err
	}
	return out, set.Discard()
}

// wholly says whether a directory is, or lies in, one that a step declares as an output as a whole.
func wholly(s *plan.Step, dir string) bool {
	return s.Outputs != nil && slices.ContainsFunc(s.Outputs.Patterns, func(p string) bool {
		return strings.HasSuffix(p, "/") && matchPath(strings.TrimSuffix(p, "/"), dir)
	})
}

// Keep says which side wins where a held result and the workspace differ.
type Keep string

// The sides.
const (
	KeepNeither   Keep = ""
	KeepWorkspace Keep = "workspace"
	KeepSWS       Keep = "sws"
)

// Decision is what a person decides about a held set.
type Decision struct {
	Keep   Keep     // decides the paths in which the workspace has moved on
	Paths  []string // that Keep is about; none: all
	Anyway bool     // let it in although its run failed
	Dry    bool     // only say what would happen
}

// CollapseHeld lets the result of a run that was held into the workspace, within the scope that the run had. What does
// not enter stays held.
func CollapseHeld(ctx context.Context, w Workspace, run, id int, d Decision, o Options) (*Outcome, error) {
	k, err := newKernel(w, o)
	if err != nil {
		return nil, err
	}
	set, err := w.Space.OpenSet(id)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	k.run, k.sws, k.opened, w.Journal.Run = run, id, true, run
	t, ok := set.Held()
	if !ok {
		return nil, &NothingError{fmt.Sprintf("sws %d holds nothing to collapse", id)}
	}
	var n note
	if err := cbor.Unmarshal(t.Note, &n); err != nil {
		return nil, fmt.Errorf("sws %d: its note cannot be read: %w", id, err)
	}
	target := fmt.Sprintf("sws %d", id)
	if n.Failed != "" && !d.Anyway {
		return &Outcome{Run: run, SWS: id, Target: target, Status: Refused,
			Reason: fmt.Sprintf("run %d failed: %s (--anyway lets it in all the same)", run, n.Failed)}, nil
	}
	n.At = o.Now().UnixNano() // it happens now
	if t.Note, err = cbor.Encode(n); err != nil {
		return nil, err
	}
	t.Allowed = n.Scope.allowed
	held, err := k.staged(t)
	if err != nil {
		return nil, err
	}
	chosen := func(p string) bool { return len(d.Paths) == 0 || slices.Contains(d.Paths, p) }
	switch d.Keep {
	case KeepSWS:
		for _, c := range t.Changes {
			if chosen(c.Path) {
				set.Base().Forget(c.Path)
			}
		}
		t.Reads = slices.DeleteFunc(t.Reads, func(r sws.Read) bool { return chosen(r.Path) })
	case KeepWorkspace:
		moved := map[string]bool{}
		for _, c := range t.Changes {
			if !chosen(c.Path) {
				continue
			}
			if moved[c.Path], err = set.Base().Changed(c.Path); err != nil {
				return nil, err
			}
		}
		t.Changes = slices.DeleteFunc(t.Changes, func(c sws.Staged) bool { return moved[c.Path] })
		t.Reads = slices.DeleteFunc(t.Reads, func(r sws.Read) bool { return chosen(r.Path) })
	}
	if d.Dry {
		return k.dry(set, t, target)
	}
	r, err := set.Collapse(ctx, t)
	out, err := k.ended(r, err, target, held)
	if err == nil && out.Status == Done {
		err = set.Discard()
	}
	return out, err
}

// dry says whether a held transaction would enter the workspace.
func (k *kernel) dry(set *sws.Set, t sws.Transaction, target string) (*Outcome, error) {
	out := &Outcome{Run: k.run, SWS: k.sws, Target: target, Status: Held}
	var err error
	if out.Changed, err = k.staged(t); err != nil {
		return nil, err
	}
	err = set.Check(t)
	if c, ok := errors.AsType[*sws.ConflictError](err); ok {
		out.Status, out.Conflicts, out.Reason = Conflicted, c.Paths, c.Error()
		return out, nil
	}
	if e, ok := errors.AsType[*sws.RefusedError](err); ok {
		out.Status, out.Reason = Refused, e.Error()
		return out, nil
	}
	return out, err
}

// DiscardHeld gives up the result of a run that was held.
func DiscardHeld(w Workspace, run, id int, o Options) error {
	k, err := newKernel(w, o)
	if err != nil {
		return err
	}
	set, err := w.Space.OpenSet(id)
	if err != nil {
		return err
	}
	k.run, k.sws = run, id
	return errors.Join(k.emit(KindDiscard, history.SWS(id), warp.Hash{}, &End{Run: run, SWS: id, Reason: "as asked"}),
		k.settleHistory(), set.Discard())
}
