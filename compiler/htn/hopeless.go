package htn

import "math"

// When tasks are achieved one after the other, whether a task can be achieved depends on the facts alone: what follows
// does not matter. So once a task has failed, with no branch in which it was achieved, it fails with these facts
// wherever it comes up again.
//
// But it may have failed because a task that encloses it was not tried again (see enclose). Then it is hopeless only
// inside of that task: once that is achieved, everything is open again; once that fails too, for want of others that
// enclose it, what was hopeless inside of it is hopeless inside of these; for no such want, everywhere.

// hopeless is a task, with facts, that cannot be achieved.
type hopeless struct {
	in  *enclosure // inside of this task; nil: everywhere
	why *refusal
}

// enclosure is a task that is being achieved.
type enclosure struct {
	frame int32
	state enclosureState
	outer *enclosure // when closed: where its content is hopeless now; nil: everywhere
}

type enclosureState uint8

const (
	inForce enclosureState = iota
	passedOn
	void
)

// span is where the enclosing frames lie on which a failure depends.
type span struct{ min, max int32 }

const none = math.MaxInt32

var noSpan = span{none, -1}

func (s *span) add(frame int32) { s.min, s.max = min(s.min, frame), max(s.max, frame) }

func (s *span) merge(o span) { s.min, s.max = min(s.min, o.min), max(s.max, o.max) }

// leave ends an enclosure: its content is passed on to the outer one (nil: it holds everywhere), or void.
func (e *enclosure) leave(outer *enclosure, pass bool) {
	if e == nil {
		return
	}
	e.state, e.outer = void, outer
	if pass {
		e.state = passedOn
	}
}

// enclosureOf returns the frame's enclosure.
func (s *search) enclosureOf(frame int32) *enclosure {
	f := &s.frames[frame]
	if f.span == nil {
		f.span = &enclosure{frame: frame}
	}
	return f.span
}

// recall returns why the frame's task is hopeless, if that is known; what that depends on becomes the frame's.
func (s *search) recall(f *frame) *hopeless {
	h := s.hopeless[f.self]
	if h == nil {
		return nil
	}
	for h.in != nil && h.in.state == passedOn {
		h.in = h.in.outer
	}
	switch {
	case h.in == nil:
		return h
	case h.in.state == void:
		delete(s.hopeless, f.self)
		return nil
	}
	up := f.pick.parent
	for up > h.in.frame {
		up = s.frames[up].pick.parent
	}
	if up != h.in.frame {
		return nil
	}
	f.deps.merge(span{0, up}) // what else it depends on lies further out
	return h
}

// conclude notes what the failure of a frame, which is no longer there, shows about its task, and tells the frame before.
func (s *search) conclude(f *frame, at int32) {
	if f.pick == nil {
		return
	}
	inside := f.low >= at // nothing failed but what is below the task
	low, deps := f.low, f.deps
	if inside {
		low = f.pick.owner
	}
	switch {
	case deps.min >= at:
		deps = noSpan
	case deps.max >= at:
		deps.max = f.pick.parent // at least: the nearest
	}
	var outer *enclosure
	if deps.max >= 0 {
		outer = s.enclosureOf(deps.max)
	}
	f.span.leave(outer, inside)
	if inside && f.known == nil && f.own != nil && !f.nested && s.p.tasks[f.pick.task].op == nil {
		s.hopeless[f.self] = &hopeless{in: outer, why: f.own}
	}
	if at > 0 {
		up := &s.frames[at-1]
		up.low = min(up.low, low)
		up.deps.merge(deps)
	}
}
