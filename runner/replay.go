package runner

import (
	"iter"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/history"
)

// State is an event with the graphs after it.
type State struct {
	Event
	System warp.Graph
	View   warp.Graph // of the SWS that the event is about: the facts in it
}

// Fold yields all events of a history, from the first that compaction has left, with the states that the recorded
// rewrites lead to. No rule is run and nothing of the workspace is read. Every digest that was recorded is compared, that
// of the System and that of each SWS: a [*history.MismatchError] says where they differ. See [history.Reader.Fold].
func Fold(r *history.Reader) iter.Seq2[State, error] {
	return func(yield func(State, error) bool) {
		views := map[history.View]warp.Graph{} // of the run that goes on: at most one
		for s, err := range r.Fold() {
			if err != nil {
				yield(State{}, err)
				return
			}
			out := State{System: s.System}
			if out.Event, err = Decode(s.Event); err == nil {
				out.View, err = foldView(views, s, out.Data)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// foldView applies an event to the view that it is about and compares the digest.
func foldView(views map[history.View]warp.Graph, s history.State, data any) (warp.Graph, error) {
	if in, ok := data.(*Intent); ok {
		clear(views)
		if in.SWS >= 0 {
			views[history.SWS(in.SWS)] = warp.Graph{}
		}
	}
	g, known := views[s.Event.View]
	rw, ok := data.(*Rewrite)
	if !ok || !known {
		return g, nil
	}
	if rw.Cause == "facts" {
		var err error
		if g, err = keptFacts(s.System); err != nil {
			return g, err
		}
	}
	ops, err := s.Rewrite()
	if err != nil {
		return g, err
	}
	if g, err = g.Apply(ops); err != nil {
		return g, err
	}
	if got := g.Digest(); s.Digest != (warp.Hash{}) && s.Digest != got {
		return g, &history.MismatchError{Idx: s.Idx, View: s.Event.View, Want: s.Digest, Got: got}
	}
	views[s.Event.View] = g
	return g, nil
}
