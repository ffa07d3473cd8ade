package runner

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
)

// note is what a transaction carries so that whoever completes it, this run or a later recovery, can record it.
type note struct {
	Kind  string `cbor:"kind"` // COLLAPSE or UNDO
	Run   int    `cbor:"run"`
	SWS   int    `cbor:"sws"`
	Of    int    `cbor:"of,omitempty"`
	Ops   []byte `cbor:"ops"` // the rewrite of the System graph
	Rules []byte `cbor:"rules,omitempty"`
	At    int64  `cbor:"at"`
	Tick  int    `cbor:"tick"`

	// What a person who collapses a held set has to be told, or kept from.
	Scope  *scope `cbor:"scope,omitempty"`
	Failed string `cbor:"failed,omitempty"` // why the run failed
}

// scope is that of a plan.
type scope struct {
	Include []string `cbor:"include,omitempty"`
	Exclude []string `cbor:"exclude,omitempty"`
	At      string   `cbor:"at"` // file:line
}

func scopeOf(pl *plan.Plan) *scope {
	if pl == nil || pl.Scope == nil {
		return nil
	}
	at := pl.Scope.Range
	return &scope{pl.Scope.Include, pl.Scope.Exclude, fmt.Sprintf("%s:%d", at.File, at.Start.Line)}
}

// allowed holds a path against the scope, which may be nil. explicit asks for a pattern that names it: a file that may run
// code on a person's behalf.
func (s *scope) allowed(p string, explicit bool) error {
	named := s != nil && matchAny(s.Include, p)
	switch {
	case explicit && !named:
		return fmt.Errorf("%s may run code on your behalf: name it in a slap's scope to let a run write it", p)
	case s == nil:
		return nil
	case len(s.Include) > 0 && !named:
		return fmt.Errorf("%s is outside the scope (%s)", p, s.At)
	case matchAny(s.Exclude, p):
		return fmt.Errorf("%s is excluded from the scope (%s)", p, s.At)
	}
	return nil
}

// collapseNote is the note of a collapse of this run's SWS. failed says why the run failed, if it did.
func (k *kernel) collapseNote(kept warp.Rewrite, failed string) ([]byte, error) {
	n := k.note(KindCollapse, warp.Rewrite{Ops: append(slices.Clip(kept.Ops),
		warp.AddEdge(warp.Edge{Kind: "collapsed-into", From: k.swsNode().ID(), To: k.runNode().ID()}))})
	n.Scope, n.Failed = scopeOf(k.plan), failed
	return cbor.Encode(n)
}

func (k *kernel) note(kind string, rw warp.Rewrite) note {
	p := k.program()
	return note{Kind: kind, Run: k.run, SWS: k.sws, Of: k.of, Ops: rw.Encode(), Rules: p[:], At: k.o.Now().UnixNano(), Tick: k.tick + 1}
}

// Journal records collapses in the history, for package sws.
type Journal struct {
	Log    *history.Log
	System *warp.Graph // the fold of Log
	Store  *cas.Store  // holds what the events of Log name
	Sink   func(Event)
	Run    int // the run that is going on; 0: recovery
}

// Settle makes the events of the run durable: those of a collapse, perhaps a later process's, come after them.
func (j *Journal) Settle() error { return j.Log.Commit() }

// Collapsed appends the events of a complete transaction and makes them durable. What the history holds of them already
// is not said twice: a crash may have cut them off anywhere. Of a transaction that was undone it takes back what was
// recorded before that was known.
func (j *Journal) Collapsed(r sws.Receipt) error {
	var n note
	if err := cbor.Unmarshal(r.Note, &n); err != nil {
		return fmt.Errorf("transaction %s: its note cannot be read: %w", r.Tx, err)
	}
	rw, err := warp.DecodeRewrite(n.Ops)
	if err != nil {
		return err
	}
	said, err := j.recorded(n, rw, r.Tx)
	if err != nil {
		return err
	}
	if r.Aborted != "" {
		return j.aborted(n, rw, r.Aborted, said)
	}
	if said == unsaid {
		if err := j.Store.Sync(); err != nil { // before the events that name what is in it
			return err
		}
		cause := "collapse"
		if n.Kind == KindUndo {
			cause = "undo"
		}
		if err := j.rewrite(n, cause, rw); err != nil {
			return fmt.Errorf("transaction %s: %w", r.Tx, err)
		}
	}
	return j.complete(n, r.Ops, said, r.Tx)
}

// complete appends what follows the rewrite of a transaction, and makes all of it durable.
func (j *Journal) complete(n note, ops []sws.Done, said progress, tx string) error {
	if said < ticked {
		if err := j.emit(n, KindTick, &Tick{Run: n.Run, N: n.Tick, Rewrites: 1}); err != nil {
			return err
		}
	}
	if said < complete {
		c := &Collapse{Run: n.Run, SWS: n.SWS, Of: n.Of, Tx: tx, Changes: changesOf(ops)}
		if err := j.emit(n, n.Kind, c); err != nil {
			return err
		}
	}
	return j.Log.Commit()
}

// Finish completes the record of a collapse that changed no file, if a process died as it wrote it. Others leave a
// transaction behind, which has to be completed before.
func (j *Journal) Finish() error {
	if last := j.Log.Ended(); last != KindRewrite && last != KindTick {
		return nil
	}
	said := unsaid
	var n note
	runs, ticks := map[int]*Intent{}, map[int]int{}
	for e, err := range j.Log.All() {
		if err != nil {
			return err
		}
		d, err := Decode(e)
		if err != nil {
			return err
		}
		switch d := d.Data.(type) {
		case *Intent:
			runs[d.Run], said = d, unsaid
		case *Rewrite:
			n, said = note{Run: d.Run, Rules: slices.Clone(e.Rules[:]), At: e.At}, unsaid
			switch d.Cause {
			case "collapse":
				n.Kind, said = KindCollapse, rewrote
			case "undo":
				n.Kind, said = KindUndo, rewrote
			}
		case *Tick:
			ticks[d.Run] = d.N
			if said == rewrote {
				said = ticked
			}
		default:
			said = unsaid
		}
	}
	in := runs[n.Run]
	if said == unsaid || in == nil { // nil: compaction took the beginning of what is that old
		return nil
	}
	n.SWS, n.Of, n.Tick = in.SWS, in.Of, ticks[n.Run]+1
	return j.complete(n, nil, said, strconv.Itoa(n.Run))
}

// aborted records that nothing of a transaction is in the workspace. As long as that fails the transaction must not be
// forgotten: what survives of the history may say that it was done.
func (j *Journal) aborted(n note, rw warp.Rewrite, why string, said progress) error {
	if said != unsaid {
		back := inverse(rw)
		for _, op := range rw.Ops {
			if op.Kind == warp.OpAddEdge && op.Edge.Kind == "collapsed-into" {
				back.Ops = append(back.Ops, warp.RemoveEdge(op.Edge))
			}
		}
		if err := j.rewrite(n, "aborted", back); err != nil {
			return err
		}
		if err := j.emit(n, KindTick, &Tick{Run: n.Run, N: n.Tick + 1, Rewrites: 1}); err != nil {
			return err
		}
	}
	if n.Run == j.Run {
		return j.Log.Flush() // the run records itself why, if it can
	}
	end := &End{Run: n.Run, SWS: n.SWS, Reason: why, Failed: true}
	return errors.Join(j.emit(n, KindConflict, end), j.Log.Commit())
}

// rewrite changes the System, and says so.
func (j *Journal) rewrite(n note, cause string, rw warp.Rewrite) error {
	g, err := j.System.Apply(rw)
	if err != nil {
		return err
	}
	before := *j.System
	*j.System = g
	if err := j.emit(n, KindRewrite, &Rewrite{Run: n.Run, Cause: cause, Ops: rw.Encode()}); err != nil {
		*j.System = before
		return err
	}
	return nil
}

func (j *Journal) emit(n note, kind string, data any) error {
	b, err := cbor.Encode(data)
	if err != nil {
		return err
	}
	e := history.Event{Kind: kind, View: history.System, Digest: j.System.Digest(), At: n.At, Data: b}
	copy(e.Rules[:], n.Rules)
	if e.Idx, err = j.Log.Append(e); err == nil && j.Sink != nil {
		j.Sink(Event{Event: e, Data: data})
	}
	return err
}

// progress is how many of the events of a transaction the history holds, in their order.
type progress int

const (
	unsaid   progress = iota
	rewrote           // the rewrite of the System
	ticked            // and its tick
	complete          // and the COLLAPSE, or UNDO, itself
)

// recorded says how far a transaction is recorded. The edge that stands for it comes with its first event; only if it is
// there, after a crash, the history is read.
func (j *Journal) recorded(n note, rw warp.Rewrite, tx string) (progress, error) {
	if !slices.ContainsFunc(rw.Ops, func(op warp.Op) bool {
		_, there := j.System.Edge(op.Edge.ID())
		return op.Kind == warp.OpAddEdge && op.Edge.Kind == "collapsed-into" && there
	}) {
		return unsaid, nil
	}
	said := complete // if not even the rewrite is left, compaction took what lies far behind
	for e, err := range j.Log.All() {
		if err != nil {
			return unsaid, err
		}
		if e.Kind != KindRewrite && e.Kind != KindTick && e.Kind != n.Kind {
			continue
		}
		d, err := Decode(e)
		if err != nil {
			return unsaid, err
		}
		switch d := d.Data.(type) {
		case *Rewrite:
			if d.Run == n.Run && (d.Cause == "collapse" || d.Cause == "undo") {
				said = rewrote
			}
		case *Tick:
			if d.Run == n.Run && said == rewrote {
				said = ticked
			}
		case *Collapse:
			if d.Tx == tx {
				said = complete
			}
		}
	}
	return said, nil
}
