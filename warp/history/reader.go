package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sort"

	"github.com/flyingrobots/jitos/warp"
)

// Reader reads a history, also while a Log writes it. It holds no files open and may be used concurrently.
type Reader struct {
	dir string
	fs  files
}

// OpenReader returns a reader of the history in dir. A directory that is not there is an empty history.
func OpenReader(dir string) (*Reader, error) { return &Reader{dir: dir, fs: osFiles{}}, nil }

// errNoSegment says that there is no segment with a whole header.
var errNoSegment = errors.New("no segment")

// tail opens the last segment and moves to its end. tail says why the end is not that of the file.
func (r *Reader) tail() (s *scanner, tail error, err error) {
	h, haveHead, err := readHead(r.fs, r.dir) // first: what it speaks of must be there when we look
	if err != nil {
		return nil, nil, err
	}
	list, err := segments(r.fs, r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for i := len(list) - 1; ; i-- {
		if i < 0 || len(list)-i > 2 {
			if haveHead {
				return nil, nil, h.missing()
			}
			if len(list) > 1 {
				return nil, nil, &DamageError{Segment: segmentName(list[len(list)-2]), Offset: 0, Reason: "bad header"}
			}
			return nil, nil, errNoSegment
		}
		s, err = openSegment(r.fs, r.dir, list[i])
		var damage *DamageError
		if errors.As(err, &damage) && !damage.acknowledged && !(haveHead && h.segment >= list[i]) {
			continue // never acknowledged
		}
		if errors.Is(err, fs.ErrNotExist) {
			return r.tail() // a compaction dropped it just now
		}
		if err != nil {
			return nil, nil, err
		}
		break
	}
	if haveHead && h.segment == s.first && h.start >= segmentHeader {
		s.off = h.start
		s.adopt(h.n)
		if _, err := s.next(); err != nil || s.off != h.end || s.chain != h.chain {
			return nil, nil, errors.Join(&DamageError{Segment: s.name, Offset: h.start, Reason: "the last acknowledged event is not there"}, s.Close())
		}
	} else if haveHead && h.segment > s.first {
		return nil, nil, errors.Join(h.missing(), s.Close())
	}
	for {
		if _, err := s.next(); err == nil {
			continue
		} else if more, why := s.settle(r, err); why != nil {
			return nil, nil, errors.Join(why, s.Close())
		} else if !more {
			return s, err, nil
		}
	}
}

// settle looks into the end of the last segment: whether more has come since it was read, or what was there is gone.
func (s *scanner) settle(r *Reader, end error) (more bool, err error) {
	var bad errTail
	if !errors.Is(end, io.EOF) && !errors.As(end, &bad) {
		return false, end
	}
	// Acknowledgements are looked up first: what they speak of must then be there when we look again.
	h, ok, err := readHead(r.fs, r.dir)
	if err != nil {
		return false, err
	}
	if ok && h.segment > s.first {
		list, err := segments(r.fs, r.dir)
		if err != nil {
			return false, err
		}
		if len(list) == 0 || list[len(list)-1] < h.segment {
			return false, h.missing()
		}
	}
	lost := ok && h.segment == s.first && s.off < h.end
	if s.window = nil; bad.reason != "" && !lost {
		if lost, err = s.acknowledgedAfter(s.off); err != nil {
			return false, err
		}
	}
	s.window = nil
	if s.size, err = s.f.Size(); err != nil {
		return false, err
	}
	if frame, err := s.frame(); err == nil && checkFrame(frame) == nil && (s.skipped != nil || frameChain(frame) == s.chain) {
		return true, nil
	}
	if lost {
		reason := bad.reason
		if reason == "" {
			reason = "the file ends before acknowledged events"
		}
		return false, &DamageError{Segment: s.name, Offset: s.off, Reason: reason}
	}
	return false, nil
}

// Head returns how many events there are and the chain hash after the last.
func (r *Reader) Head() (n uint64, chain warp.Hash, err error) {
	s, _, err := r.tail()
	if errors.Is(err, errNoSegment) {
		return 0, chain, nil
	}
	if err != nil {
		return 0, chain, err
	}
	return s.idx, s.chain, s.Close()
}

// From yields the events from index idx on, as far as they are written when it gets there. Checksums and the chain are
// verified on the way. After an error, which a [*DamageError] or ErrCompacted may be, nothing follows. Events keep
// memory of about 256 KiB alive that they share with their neighbours.
func (r *Reader) From(idx uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for e, err := range r.scan(idx) {
			if !yield(e.Event, err) || err != nil {
				return
			}
		}
	}
}

// link is an event with the chain hashes around it: those after the last frame that ended before the event, or with it.
type link struct {
	Event
	before, after warp.Hash
}

func (r *Reader) scan(idx uint64) iter.Seq2[link, error] {
	return func(yield func(link, error) bool) {
		chain, haveChain := warp.Hash{}, false
		for {
			h, haveHead, err := readHead(r.fs, r.dir) // first, as in tail
			if err != nil {
				yield(link{}, err)
				return
			}
			list, err := segments(r.fs, r.dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				yield(link{}, err)
				return
			}
			i := sort.Search(len(list), func(i int) bool { return list[i] > idx }) - 1
			if i < 0 {
				if len(list) > 0 {
					yield(link{}, fmt.Errorf("event %d: %w", idx, ErrCompacted))
				} else if haveHead {
					yield(link{}, h.missing())
				}
				return
			}
			s, err := openSegment(r.fs, r.dir, list[i])
			last := i == len(list)-1
			if errors.Is(err, fs.ErrNotExist) {
				continue // a compaction dropped it just now
			}
			if err != nil {
				var damage *DamageError
				if last && errors.As(err, &damage) && !damage.acknowledged && !(haveHead && h.segment >= list[i]) {
					return // a segment that is just being made, or never was
				}
				yield(link{}, err)
				return
			}
			if haveChain && s.first != idx {
				err = &DamageError{Segment: segmentName(idx), Reason: "the segment is missing"}
			} else if haveChain && s.chain != chain {
				err = &DamageError{Segment: s.name, Offset: 0, Reason: "segment does not continue the chain"}
			} else {
				err = r.scanSegment(s, &idx, last, yield)
			}
			chain, haveChain = s.chain, true
			if err = errors.Join(err, s.Close()); errors.Is(err, errStop) {
				return
			}
			if err != nil {
				yield(link{}, err)
				return
			}
			if last {
				// The writer may have begun another segment.
				if list, err = segments(r.fs, r.dir); err != nil || len(list) == 0 || list[len(list)-1] != idx || s.first == idx {
					if err != nil {
						yield(link{}, err)
					}
					return
				}
			}
		}
	}
}

// errStop says that the caller wants no more.
var errStop = errors.New("stop")

// scanSegment yields the events of one segment from *idx on and moves *idx past them.
func (r *Reader) scanSegment(s *scanner, idx *uint64, last bool, yield func(link, error) bool) error {
	for {
		err := s.skipTo(*idx)
		if err == nil {
			break
		}
		if !last {
			return &DamageError{Segment: s.name, Offset: s.off, Reason: "the segment ends early"}
		}
		if more, err := s.settle(r, err); err != nil || !more {
			return cmpOr(err, errStop) // there is no event idx yet
		}
	}
	for {
		before := s.chain
		events, err := s.next()
		for i, e := range events {
			if e.Idx < *idx {
				continue // a frame is read from its beginning
			}
			*idx = e.Idx + 1
			after := before
			if i == len(events)-1 {
				after = s.chain
			}
			if !yield(link{e, before, after}, nil) {
				return errStop
			}
		}
		if err == nil {
			continue
		}
		if last {
			if more, err := s.settle(r, err); err != nil || !more {
				return err
			}
			continue
		}
		var bad errTail
		if errors.As(err, &bad) {
			return &DamageError{Segment: s.name, Offset: s.off, Reason: bad.reason}
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	}
}

// MismatchError says that a recorded rewrite leads to another graph than the one that was recorded.
type MismatchError struct {
	Idx       uint64
	View      View
	Want, Got warp.Hash // digests
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("event %d: the digest of %s is %s, recorded is %s", e.Idx, e.View, e.Got, e.Want)
}

// starts returns the states from which the System can be folded, the latest first.
func (r *Reader) starts() []checkpoint {
	var list []checkpoint
	for _, name := range []string{checkpointName, baseName} {
		if c, err := r.checkpoint(name); err == nil {
			list = append(list, c)
		}
	}
	return append(list, checkpoint{}) // a damaged checkpoint is as good as none
}

// System returns the graph of the System: the fold of the rewrites in its REWRITE_APPLIED events, from the last
// checkpoint on. It compares the last digest that was recorded.
func (r *Reader) System() (warp.Graph, error) {
	for {
		first, err := r.First()
		if err != nil {
			return warp.Graph{}, err
		}
		c, err := r.fold(^uint64(0), r.starts())
		if !r.overtaken(first, err) {
			return c.graph, err
		}
	}
}

// fold returns the System before the event with index until, from the first of the starts that the chain confirms.
func (r *Reader) fold(until uint64, starts []checkpoint) (checkpoint, error) {
	var err error
	for _, c := range starts {
		if c.n > until {
			continue
		}
		var ok bool
		if ok, err = r.confirms(c); err != nil || !ok {
			continue
		}
		var last *link
		var batch warp.Rewrite
		for e, err := range r.scan(c.n) {
			if err != nil {
				return c, err
			}
			if e.Idx >= until {
				break
			}
			if e.Kind == RewriteApplied && e.View == System {
				w, err := e.Rewrite()
				if err != nil {
					return c, err
				}
				// Nobody looks at the graphs in between, so that many rewrites can be applied as one.
				if batch.Ops = append(batch.Ops, w.Ops...); len(batch.Ops) > foldBatch {
					if err := c.apply(&batch, e.Idx); err != nil {
						return c, err
					}
				}
				last = &e
			}
			c.n, c.chain = e.Idx+1, e.after
		}
		if err := c.apply(&batch, c.n); err != nil {
			return c, err
		}
		if last != nil && last.Digest != (warp.Hash{}) && c.graph.Digest() != last.Digest {
			return c, &MismatchError{last.Idx, System, last.Digest, c.graph.Digest()}
		}
		return c, nil
	}
	return checkpoint{}, cmpOr(err, ErrCompacted)
}

// confirms says whether the chain at a checkpoint is the history's.
func (r *Reader) confirms(c checkpoint) (bool, error) {
	for {
		for e, err := range r.scan(c.n) {
			return err == nil && e.before == c.chain, err
		}
		n, chain, err := r.Head()
		if err != nil || n <= c.n {
			return err == nil && n == c.n && chain == c.chain, err
		} // else the first event after it has just come
	}
}

const foldBatch = 10_000 // operations that a fold applies at once

// Rewrite returns the rewrite of a REWRITE_APPLIED.
func (e *Event) Rewrite() (warp.Rewrite, error) {
	ops, err := e.ops()
	if err != nil {
		return warp.Rewrite{}, err
	}
	w, err := warp.DecodeRewrite(ops)
	if err != nil {
		return w, fmt.Errorf("event %d: %w", e.Idx, err)
	}
	return w, nil
}

// apply applies the batch, which ends at or before event idx, and empties it.
func (c *checkpoint) apply(batch *warp.Rewrite, idx uint64) (err error) {
	if c.graph, err = c.graph.Apply(*batch); err != nil {
		return fmt.Errorf("System at event %d: %w", idx, err)
	}
	batch.Ops = batch.Ops[:0]
	return nil
}

// First returns the index of the first event that compaction has left; 0 if there are none.
func (r *Reader) First() (uint64, error) {
	list, err := segments(r.fs, r.dir)
	if len(list) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return 0, err
	}
	return list[0], err
}

// overtaken says that err is because a compaction has just dropped what began at first.
func (r *Reader) overtaken(first uint64, err error) bool {
	if !errors.Is(err, ErrCompacted) {
		return false
	}
	now, err := r.First()
	return err == nil && now != first
}

// All yields the events that compaction has left. See [Reader.From].
func (r *Reader) All() iter.Seq2[Event, error] { return fromFirst(r, r.From) }

// fromFirst yields what from does of the first event that there is. A compaction that overtakes it before that lets it begin
// anew.
func fromFirst[T any](r *Reader, from func(first uint64) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for again := true; again; {
			again = false
			first, err := r.First()
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			begun := false
			for v, err := range from(first) {
				if again = !begun && r.overtaken(first, err); again {
					break
				}
				begun = true
				if !yield(v, err) || err != nil {
					return
				}
			}
		}
	}
}

// State is an event with the System's graph after it.
type State struct {
	Event
	System warp.Graph
}

// Fold yields all events from the first on that compaction has left, each with the graph that the recorded rewrites lead
// to; no rule is run. Every record, the chain and every recorded digest of the System are verified on the way, and the
// checkpoint where the fold comes past it. After an error nothing follows: see [Reader.From], [*MismatchError] and
// [*CheckpointError].
func (r *Reader) Fold() iter.Seq2[State, error] { return fromFirst(r, r.foldFrom) }

func (r *Reader) foldFrom(first uint64) iter.Seq2[State, error] {
	return func(yield func(State, error) bool) {
		c, err := r.begin(first)
		if err != nil {
			yield(State{}, err)
			return
		}
		check, cerr := r.checkpoint(checkpointName) // a damaged one is as good as none
		if n, _, err := r.Head(); err != nil || check.n > n {
			cerr = cmpOr(err, errNoCheckpoint)
		}
		state := State{System: c.graph}
		for e, err := range r.scan(c.n) {
			if err == nil && e.before != c.chain {
				err = &DamageError{Segment: segmentName(e.Idx), Offset: 0, Reason: "segment does not continue the chain"}
			}
			if err == nil {
				state.Event, c.chain = e.Event, e.after
				err = c.step(&e.Event)
				state.System = c.graph
			}
			if err == nil && cerr == nil && check.n == e.Idx+1 && check.chain == e.after && check.graph.Digest() != c.graph.Digest() {
				err = &CheckpointError{check.n, c.graph.Digest(), check.graph.Digest()}
			}
			if !yield(state, err) || err != nil {
				return
			}
		}
	}
}

// begin returns the state from which the events can be folded: nothing, or what Compact kept. That is of a later event than
// the first while a compaction goes on, or since it was killed.
func (r *Reader) begin(first uint64) (checkpoint, error) {
	if first == 0 {
		return checkpoint{}, nil
	}
	c, err := r.checkpoint(baseName)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoCheckpoint) {
		err = &DamageError{Segment: baseName, Reason: "the graph before " + segmentName(first) + " is missing"}
	} else if err == nil && c.n < first {
		err = &DamageError{Segment: segmentName(c.n), Reason: "the segment is missing"}
	}
	return c, err
}

// step applies an event and compares the digest that it recorded.
func (c *checkpoint) step(e *Event) error {
	if e.Kind != RewriteApplied || e.View != System {
		return nil
	}
	w, err := e.Rewrite()
	if err == nil {
		err = c.apply(&w, e.Idx)
	}
	if err == nil && e.Digest != (warp.Hash{}) && c.graph.Digest() != e.Digest {
		err = &MismatchError{e.Idx, System, e.Digest, c.graph.Digest()}
	}
	return err
}

// CheckpointError says that the checkpoint is not what the events before it lead to. It can be deleted.
type CheckpointError struct {
	N         uint64    // events that it covers
	Want, Got warp.Hash // digests: what the events lead to, what it holds
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("the checkpoint after %d events holds the graph %s, the events lead to %s", e.N, e.Got, e.Want)
}

// Verify reads the whole history as [Reader.Fold] does, and returns how many events it saw.
func (r *Reader) Verify() (events uint64, err error) {
	for _, err := range r.Fold() {
		if err != nil {
			return events, err
		}
		events++
	}
	return events, nil
}
