package history

import (
	"fmt"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// The kinds of events.
const (
	Intent           = "INTENT"
	RewriteApplied   = "REWRITE_APPLIED"
	Tick             = "TICK"
	Observation      = "OBSERVATION"
	WorkerInvocation = "WORKER_INVOCATION"
	WorkerResult     = "WORKER_RESULT"
	Hold             = "HOLD"
	Conflict         = "CONFLICT"
	Collapse         = "COLLAPSE"
	Discard          = "DISCARD"
	Undo             = "UNDO"
	Approval         = "APPROVAL"
	External         = "EXTERNAL"
)

// View is the state that an event is about: the System, which is the zero value, or a shadow working set.
type View uint64

// System is the view of what is real.
const System View = 0

// SWS returns the view of the shadow working set n, which is not negative.
func SWS(n int) View { return View(n) + 1 }

// SWS returns the number of the shadow working set, or false for the System.
func (v View) SWS() (n int, ok bool) { return int(v) - 1, v != System }

// String returns "system" or "sws N".
func (v View) String() string {
	if n, ok := v.SWS(); ok {
		return fmt.Sprintf("sws %d", n)
	}
	return "system"
}

// Event is something that happened. What Data holds is its writer's business, except that the data of a
// REWRITE_APPLIED is a map whose field "ops" is the encoded warp.Rewrite.
type Event struct {
	Idx    uint64 // from 0, set by Append
	Kind   string
	View   View
	Digest warp.Hash // of the view's graph after the event; zero if nobody computed it
	Policy warp.Hash // pin: the settings in force
	Rules  warp.Hash // pin: the compiled program
	At     int64     // nanoseconds since 1970; an observation, never part of an identity
	Data   []byte    // canonical CBOR; no bytes mean null
}

// maxFields is how many bytes an event takes at most, beside its kind and data.
const maxFields = 256

// appendEvent appends an event's payload, an array of the fields in their order.
func appendEvent(dst []byte, e *Event) []byte {
	dst = cbor.AppendUint(cbor.AppendArray(dst, 8), e.Idx)
	dst = cbor.AppendString(dst, e.Kind)
	if n, ok := e.View.SWS(); ok {
		dst = cbor.AppendUint(dst, uint64(n))
	} else {
		dst = cbor.AppendNull(dst)
	}
	dst = appendHash(appendHash(appendHash(dst, &e.Digest), &e.Policy), &e.Rules)
	dst = cbor.AppendInt(dst, e.At)
	if len(e.Data) == 0 {
		return cbor.AppendNull(dst)
	}
	return append(dst, e.Data...)
}

func appendHash(dst []byte, h *warp.Hash) []byte {
	if *h == (warp.Hash{}) {
		return cbor.AppendNull(dst)
	}
	return cbor.AppendBytes(dst, h[:])
}

// decodeEvent reads a payload, which is a valid item. The event shares its memory.
func decodeEvent(payload []byte) (Event, error) {
	var e Event
	r := cbor.NewReader(payload)
	if n := r.Array(); n != 8 {
		return e, fmt.Errorf("event of %d fields", n)
	}
	e.Idx, e.Kind = r.Uint(), string(r.Text())
	if !r.Null() {
		e.View = View(r.Uint() + 1)
	}
	for _, h := range [...]*warp.Hash{&e.Digest, &e.Policy, &e.Rules} {
		if r.Null() {
			continue
		}
		b := r.Bytes()
		if len(b) != len(h) {
			return e, fmt.Errorf("hash of %d bytes", len(b))
		}
		copy(h[:], b)
	}
	e.At = r.Int()
	e.Data = r.Raw()
	return e, r.Close()
}

// ops returns the encoded rewrite of a REWRITE_APPLIED.
func (e *Event) ops() ([]byte, error) {
	r := cbor.NewReader(e.Data)
	for range r.Map() {
		if string(r.Text()) == "ops" {
			if r.Next() == cbor.Bytes {
				return r.Bytes(), r.Err()
			}
			return r.Raw(), r.Err()
		}
		r.Raw()
	}
	return nil, fmt.Errorf("event %d: a %s without ops", e.Idx, e.Kind)
}
