package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp"
)

// view is what conditions see: base and layers, read without a mount.
func (k *kernel) view(below bits) plan.View {
	v := sws.NewView(k.w.Base, k.lower(below))
	return plan.View{FS: v, LookPath: k.o.LookPath, Env: k.o.Env,
		Digest: func(p string) (string, error) {
			e, err := k.files.entry(p, below)
			return contentDigest(e).String(), err
		}}
}

// all is what a success criterion is over: everything that is of no criterion.
func (k *kernel) all() bits {
	var out bits
	for i := range k.steps {
		if r := k.steps[i].res; r != nil && r.layer != nil && len(r.changes) > 0 && k.plan.Steps[i].Criterion == "" {
			out = out.with(nil, i)
		}
	}
	return out
}

// criteria tests the conditions that must hold before anything collapses.
func (k *kernel) criteria(pl *plan.Plan) (*Failure, error) {
	if len(pl.Success) == 0 {
		return nil, nil
	}
	view := k.view(k.all())
	for _, c := range pl.Success {
		ok, values, err := c.Test(view)
		if err != nil {
			ok, values = false, err.Error()
		}
		if ok && !k.opened {
			continue
		}
		if err := k.open(pl.Target); err != nil {
			return nil, err
		}
		if err := k.observe(Observation{What: "criterion", Name: c.Name, Text: c.Text, Of: values, OK: ok,
			File: c.Range.File, Line: c.Range.Start.Line}); err != nil {
			return nil, err
		}
		if !ok {
			reason := c.Text + " does not hold"
			if values != "" {
				reason = c.Text + ": " + values
			}
			return &Failure{Plan: pl, Step: -1, Criterion: c.Name, Reason: reason}, nil
		}
	}
	return nil, nil
}

// transaction is what a finished plan wants to write.
func (k *kernel) transaction(pl *plan.Plan) (sws.Transaction, error) {
	all := k.all()
	var layers []*sws.Layer
	var of []int
	if k.cleared != nil {
		layers, of = append(layers, k.cleared), append(of, -1)
	}
	for i := range all.all() {
		layers = append(layers, k.steps[i].res.layer)
		of = append(of, i)
	}
	t := sws.Transaction{Tx: fmt.Sprintf("%d", k.run)}
	var err error
	if t.Changes, err = sws.Merge(layers, func(a, b int) bool { return of[a] < 0 || k.steps[of[b]].below.has(of[a]) }); err != nil {
		if o, ok := errors.AsType[*sws.OverlapError](err); ok {
			return t, failf("%s and %s both wrote %s, and neither needs the other: make one need the other, or give them different outputs",
				pl.Steps[of[o.A]].ID, pl.Steps[of[o.B]].ID, o.Path)
		}
		return t, err
	}
	t.Allowed = scopeOf(pl).allowed
	seen := map[sws.Read]bool{}
	for i := range k.steps {
		if r := k.steps[i].res; r != nil {
			for _, read := range r.reads {
				if !seen[read] {
					seen[read] = true
					t.Reads = append(t.Reads, read)
				}
			}
		}
	}
	slices.SortFunc(t.Reads, func(a, b sws.Read) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

// outcome is the part of an Outcome that every end shares.
func (k *kernel) outcome(pl *plan.Plan, status Status) *Outcome {
	o := &Outcome{Run: k.run, SWS: k.sws, Target: pl.Target, Status: status, Steps: len(pl.Steps), Ran: k.ran, Cached: k.cached,
		Warnings: k.warnings, FailedWays: k.failedWays}
	for i := range k.steps {
		o.Always = o.Always || declaresNothing(&pl.Steps[i])
		if r := k.steps[i].res; r != nil && r.outcome == UpToDate {
			o.UpToDate++
		}
	}
	return o
}

// publish lets the result of a plan into the workspace, or keeps it aside where that was asked for.
func (k *kernel) publish(ctx context.Context, pl *plan.Plan) (*Outcome, error) {
	t, err := k.transaction(pl)
	if e, ok := errors.AsType[*stepError](err); ok {
		return k.end(pl, FailedRun, e.reason, "", nil)
	}
	if err != nil {
		return nil, err
	}
	kept := k.keptChanges(pl)
	if !k.opened {
		if len(t.Changes) == 0 && len(kept.Ops) == 0 {
			out := k.outcome(pl, Nothing)
			out.NothingToDo, out.Run, out.SWS = true, 0, 0
			return out, nil
		}
		if err := k.open(pl.Target); err != nil {
			return nil, err
		}
	}
	for _, p := range k.gone {
		if err := k.observe(Observation{What: "stale", Name: p, Text: p + " goes: no task declares it any more"}); err != nil {
			return nil, err
		}
	}
	note, err := k.collapseNote(kept, "")
	if err != nil {
		return nil, err
	}
	t.Note = note
	if len(t.Changes) == 0 && !k.o.Hold {
		if err := k.w.Journal.Collapsed(sws.Receipt{Tx: t.Tx, Set: k.sws, Note: note}); err != nil {
			return nil, err
		}
		k.over = true
		return k.outcome(pl, Done), k.discardSet()
	}
	set, err := k.workingSet()
	if err != nil {
		return nil, err
	}
	if k.o.Hold || pl.Hold {
		return k.hold(pl, set, t, "as asked")
	}
	r, err := set.Collapse(ctx, t)
	if e, ok := errors.AsType[*sws.RefusedError](err); ok {
		return k.end(pl, Refused, e.Error(), "", nil)
	}
	if c, ok := errors.AsType[*sws.ConflictError](err); ok {
		out, err := k.conflict(pl, set, t, c)
		return out, err
	}
	if err != nil {
		return nil, err
	}
	k.over = true
	out := k.outcome(pl, Done)
	out.Changed, out.Collapsed, out.Removed = changesOf(r.Ops), r.Ops, k.gone
	return out, set.Discard()
}

// removals stage the deletion of paths.
func removals(paths []string) []sws.Staged {
	var out []sws.Staged
	for _, p := range paths {
		out = append(out, sws.Staged{Change: sws.Change{Path: p}})
	}
	return out
}

func changesOf(ops []sws.Done) []Change {
	out := make([]Change, 0, len(ops))
	for _, d := range ops {
		out = append(out, Change{Path: textPath(d.Path), Before: EntryOf(d.Before), After: EntryOf(d.After)})
	}
	return out
}

// staged says what a transaction would change.
func (k *kernel) staged(t sws.Transaction) ([]Change, error) {
	out := make([]Change, 0, len(t.Changes))
	for _, c := range t.Changes {
		before, err := k.at(c.Path)
		if err != nil {
			return nil, err
		}
		out = append(out, Change{Path: textPath(c.Path), Before: EntryOf(before), After: EntryOf(c.After)})
	}
	return out, nil
}

// keep holds a transaction for a later process. The set must not outlast a history that does not know of it: its number
// would be given away again.
func (k *kernel) keep(t sws.Transaction) error {
	if err := k.settleHistory(); err != nil {
		return err
	}
	return k.set.Hold(t)
}

// hold keeps the result for a later process.
func (k *kernel) hold(pl *plan.Plan, set *sws.Set, t sws.Transaction, reason string) (*Outcome, error) {
	if err := k.keep(t); err != nil {
		return nil, err
	}
	out := k.outcome(pl, Held)
	var err error
	if out.Changed, err = k.staged(t); err != nil {
		return nil, err
	}
	out.Reason = reason
	return out, errors.Join(k.emit(KindHold, k.viewOf(), warp.Hash{}, &End{Run: k.run, SWS: k.sws, Reason: reason, Changes: out.Changed}),
		k.settleHistory(), set.Close())
}

// conflict keeps the result aside because the workspace moved under it.
func (k *kernel) conflict(pl *plan.Plan, set *sws.Set, t sws.Transaction, c *sws.ConflictError) (*Outcome, error) {
	if err := k.keep(t); err != nil {
		return nil, err
	}
	end := &End{Run: k.run, SWS: k.sws, Reason: c.Error(), Failed: true}
	for _, p := range c.Paths {
		end.Paths = append(end.Paths, textPath(p.Path))
	}
	for _, c := range t.Changes {
		end.Changes = append(end.Changes, Change{Path: textPath(c.Path), After: EntryOf(c.After)})
	}
	out := k.outcome(pl, Conflicted)
	out.Conflicts, out.Reason = c.Paths, c.Error()
	return out, errors.Join(k.emit(KindConflict, k.viewOf(), warp.Hash{}, end), k.settleHistory(), set.Close())
}

// end closes a run that did not succeed. Nothing of it reaches the workspace; with --hold what there is stays to be
// looked at.
func (k *kernel) end(pl *plan.Plan, status Status, reason, failed string, noPlan error) (*Outcome, error) {
	out := k.outcome(pl, status)
	out.Reason, out.Failed, out.NoPlan = reason, failed, noPlan
	if !k.opened {
		out.Run, out.SWS = 0, 0
		return out, k.discardSet()
	}
	if k.o.Hold && k.set != nil && status != Interrupted {
		t, err := k.transaction(pl)
		if e, ok := errors.AsType[*stepError](err); ok { // what there is cannot be put together
			if e.reason != reason {
				reason += "; not held: " + e.reason
			}
			return k.discard(out, reason, failed)
		}
		if err == nil {
			t.Note, err = k.collapseNote(warp.Rewrite{}, reason)
		}
		if err == nil {
			err = k.keep(t)
		}
		if err != nil {
			return nil, err
		}
		if out.Changed, err = k.staged(t); err != nil {
			return nil, err
		}
		e := &End{Run: k.run, SWS: k.sws, Reason: reason, Step: failed, Failed: true, Changes: out.Changed}
		return out, errors.Join(k.emit(KindHold, k.viewOf(), warp.Hash{}, e), k.settleHistory(), k.set.Close())
	}
	return k.discard(out, reason, failed)
}

// discard closes a run of which nothing is kept.
func (k *kernel) discard(out *Outcome, reason, failed string) (*Outcome, error) {
	out.Reason = reason
	e := &End{Run: k.run, SWS: k.sws, Reason: reason, Step: failed, Failed: true}
	return out, errors.Join(k.emit(KindDiscard, k.viewOf(), warp.Hash{}, e), k.settleHistory(), k.discardSet())
}

// close closes a run in which the kernel itself failed with err, as far as that is still possible. Without an error, or
// where the history says already how the run ended, it does nothing.
func (k *kernel) close(err error) error {
	switch {
	case err == nil || k.over:
		return err
	case !k.opened:
		return errors.Join(err, k.discardSet())
	}
	_, also := k.discard(&Outcome{}, err.Error(), "")
	return errors.Join(err, also)
}

func (k *kernel) discardSet() error {
	if k.set == nil {
		return nil
	}
	return k.set.Discard()
}

// settleHistory makes durable what the run has recorded: first what events refer to, then the events.
func (k *kernel) settleHistory() error {
	if err := k.w.Store.Sync(); err != nil {
		return err
	}
	return k.w.Log.Commit()
}

// keptChanges is what the effects of the plan change of the facts that outlive the run.
func (k *kernel) keptChanges(pl *plan.Plan) warp.Rewrite {
	keep := map[string]bool{}
	for _, r := range pl.Relations {
		keep[r.Name] = !r.Observed && (r.Keep == plan.KeepAlways || r.Keep == plan.KeepFresh)
	}
	var rw warp.Rewrite
	for _, op := range warp.Diff(k.begin, k.facts).Ops {
		if !keep[relationOf(op.Node)] {
			continue
		}
		switch op.Kind {
		case warp.OpRemoveNode:
			rw.Ops = append(rw.Ops, warp.Retract(op.Node))
		case warp.OpAddNode:
			rw.Ops = append(rw.Ops, op)
			for i := range k.steps { // who asserted it: what "fresh" hangs on
				r := k.steps[i].res
				if r != nil && r.node != (warp.NodeID{}) && slices.Contains(r.asserted, op.Node.ID()) {
					rw.Ops = append(rw.Ops, warp.AddEdge(warp.Edge{Kind: "asserts", From: r.node, To: op.Node.ID()}))
				}
			}
		}
	}
	return rw
}

// grants turns what a step declares into what its sandbox gets: binds and environment.
func (k *kernel) grants(s *plan.Step) ([]sandbox.Bind, []string, error) {
	path, _ := k.o.Env("PATH")
	env := []string{"PATH=" + path, "LANG=C.UTF-8", "TERM=dumb"}
	if k.where == "" {
		env = append(env, "HOME="+sandbox.Home)
	}
	var binds []sandbox.Bind
	for _, c := range s.Caches {
		dir := filepath.Join(k.o.CacheDir, "caches", c.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, fmt.Errorf("cache %s: %w", c.Name, err)
		}
		binds = append(binds, sandbox.Bind{From: dir, To: dir, Write: true})
		env = append(env, c.Env+"="+dir)
	}
	grant := func(paths []string, write bool) error {
		for _, p := range paths {
			if rest, ok := strings.CutPrefix(p, "~/"); ok {
				home, _ := k.o.Env("HOME")
				p = filepath.Join(home, rest)
			}
			if !filepath.IsAbs(p) {
				p = filepath.Join(k.w.Root, p)
			}
			if _, err := os.Stat(p); err != nil {
				return failf("it is allowed %s, which is not there: %s", p, reasonOf(err))
			}
			binds = append(binds, sandbox.Bind{From: p, To: p, Write: write})
		}
		return nil
	}
	if err := errors.Join(grant(s.Allow.ReadOnly, false), grant(s.Allow.Write, true)); err != nil {
		return nil, nil, err
	}
	if s.Allow.Containers {
		sockets, vars := k.engines()
		binds, env = append(binds, sockets...), append(env, vars...)
	}
	for _, name := range s.Allow.Env {
		if v, ok := k.o.Env(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, g := range s.Secrets {
		switch {
		case !g.Set:
			return nil, nil, failf("it needs %s, and %s is not set", g.Shown, g.From)
		case g.Env != "":
			env = append(env, g.Env+"="+g.Value)
		}
	}
	for _, v := range s.Command.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	return binds, env, nil
}

// engines are the sockets of the container engines that run here, and the variables that lead to them.
func (k *kernel) engines() (sockets []sandbox.Bind, vars []string) {
	places := []string{"/run/docker.sock", "/run/podman/podman.sock"}
	if dir, ok := k.o.Env("XDG_RUNTIME_DIR"); ok {
		places = append(places, filepath.Join(dir, "docker.sock"), filepath.Join(dir, "podman/podman.sock"))
		vars = append(vars, "XDG_RUNTIME_DIR="+dir)
	}
	for _, name := range []string{"DOCKER_HOST", "CONTAINER_HOST"} {
		if v, ok := k.o.Env(name); ok {
			vars = append(vars, name+"="+v)
			if at, ok := strings.CutPrefix(v, "unix://"); ok && filepath.IsAbs(at) {
				places = append(places, filepath.Clean(at))
			}
		}
	}
	for _, at := range places {
		if _, err := os.Stat(at); err == nil {
			sockets = append(sockets, sandbox.Bind{From: at, To: at, Write: true})
		}
	}
	return sockets, vars
}
