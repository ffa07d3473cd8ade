package runner

import (
	"errors"
	"fmt"
	"slices"

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

	Policy []byte `cbor:"policy,omitempty"`
	At     int64  `cbor:"at"`
	Tick   int    `cbor:"tick"`

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
	policy := k.policy()
	return note{Kind: kind, Run: k.run, SWS: k.sws, Of: k.of, Ops: rw.Encode(), Rules: p[:], Policy: policy[:], At: k.o.Now().UnixNano(), Tick: k.tick + 1}
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

// Len is how many events there are.
func (j *Journal) Len() uint64 { return j.Log.Len() }

// Collapsed is Announced, and makes it durable.
func (j *Journal) Collapsed(r sws.Receipt) error {
	if err := j.Store.Sync(); err != nil { // before the events that name what is in it
		return err
	}
	if err := j.Announced(r); err != nil || r.Aborted != "" { // which aborted makes durable itself, where it matters
		return err
	}
	return j.Log.Commit()
}

// Announced records a complete transaction, for all to see. A transaction that the history tells of already is not told
// twice. Of one that was undone it takes back what was recorded before that was known.
func (j *Journal) Announced(r sws.Receipt) error {
	var n note
	if err := cbor.Unmarshal(r.Note, &n); err != nil {
		return fmt.Errorf("transaction %s: its note cannot be read: %w", r.Tx, err)
	}
	rw, err := warp.DecodeRewrite(n.Ops)
	if err != nil {
		return err
	}
	told := slices.ContainsFunc(rw.Ops, func(op warp.Op) bool { // the edge that stands for it
		_, there := j.System.Edge(op.Edge.ID())
		return op.Kind == warp.OpAddEdge && op.Edge.Kind == "collapsed-into" && there
	})
	if r.Aborted != "" {
		return j.aborted(n, r.Aborted, told)
	}
	if !told {
		cause := "collapse"
		if n.Kind == KindUndo {
			cause = "undo"
		}
		files, err := wrote(*j.System, n.Run, rw, r.Ops)
		if err != nil {
			return fmt.Errorf("transaction %s: %w", r.Tx, err)
		}
		rw.Ops = append(rw.Ops, files...)
		err = j.rewrite(n, cause, rw, n.Tick, event(n.Kind, &Collapse{Run: n.Run, SWS: n.SWS, Of: n.Of, Tx: r.Tx, Changes: changesOf(r.Ops)}))
		if err != nil {
			return fmt.Errorf("transaction %s: %w", r.Tx, err)
		}
	}
	return j.Log.Flush()
}

// aborted records that nothing of a transaction is in the workspace. As long as that fails the transaction must not be
// forgotten: what survives of the history may say that it was done.
func (j *Journal) aborted(n note, why string, told bool) error {
	if told {
		back, err := forget(*j.System, n.Run)
		if err != nil {
			return err
		}
		if err := j.rewrite(n, "aborted", back, n.Tick+1); err != nil {
			return err
		}
	}
	if n.Run == j.Run {
		return j.Log.Flush() // the run records itself why, if it can
	}
	end := event(KindConflict, &End{Run: n.Run, SWS: n.SWS, Reason: why, Failed: true})
	return errors.Join(j.record(n, *j.System, end), j.Log.Commit())
}

// rewrite changes the System, in a tick of its own, and says so and what that means as one.
func (j *Journal) rewrite(n note, cause string, rw warp.Rewrite, at int, means ...Event) error {
	g, receipt, err := tick(*j.System, n.Run, at, "", rw)
	if err != nil {
		return err
	}
	return j.record(n, g, append([]Event{
		event(KindRewrite, &Rewrite{Run: n.Run, Cause: cause, Ops: rw.Encode()}),
		event(KindTick, receipt),
	}, means...)...)
}

func event(kind string, data any) Event { return Event{history.Event{Kind: kind}, data} }

// record appends events after which the System is g. A crash leaves all of them or none.
func (j *Journal) record(n note, g warp.Graph, told ...Event) error {
	events := make([]history.Event, len(told))
	for i, t := range told {
		b, err := cbor.Encode(t.Data)
		if err != nil {
			return err
		}
		events[i] = history.Event{Kind: t.Kind, Digest: g.Digest(), At: n.At, Data: b}
		copy(events[i].Rules[:], n.Rules)
		copy(events[i].Policy[:], n.Policy)
	}
	if _, err := j.Log.Append(events...); err != nil {
		return err
	}
	*j.System = g
	if j.Sink != nil {
		for i, t := range told {
			j.Sink(Event{events[i], t.Data})
		}
	}
	return nil
}
