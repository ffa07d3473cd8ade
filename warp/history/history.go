// Package history is the append-only log of what happened: events in segments of a directory, framed with a checksum and
// the hash of the frame before, so that the log is a chain in which nothing can be changed unseen.
//
// One [Log] writes; callers see to that with a lock. Any number of [Reader] read at the same time and never block.
// [Log.Append] buffers, [Log.Flush] shows it to readers, [Log.Commit] makes it survive a crash. The state of the
// System is a fold of the events, [Log.System], from the last checkpoint on. docs/history-format.md tells the bytes.
//
// The package knows what a rewrite is and nothing else of what events mean; it reads no clock. Start reading at [Log].
//
// # Caveats
//
// Everything here but the segments and, once [Log.Compact] has made it, the file base can be deleted and costs only time.
package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/flyingrobots/jitos/warp"
)

// Errors of a Log and a Reader.
var (
	// ErrPoisoned says that a write or a sync has failed before: nobody knows what is on disk, so nothing more is
	// acknowledged. Opening the history anew finds out.
	ErrPoisoned = errors.New("history cannot be written any more")
	// ErrCompacted says that the events asked for have been dropped.
	ErrCompacted = errors.New("events have been dropped by compaction")
	// ErrTooLarge says that events to be appended as one are over 64 MiB.
	ErrTooLarge = errors.New("event is too large")
)

const (
	flushAt         = 1 << 20  // bytes that are buffered before they are written
	segmentAt       = 16 << 20 // bytes after which a segment is closed
	checkpointEvery = 10_000   // events after which Close makes a checkpoint
)

// Options configure a Log. The zero value is a good default.
type Options struct {
	SegmentSize int64 // bytes after which the next segment begins; 0 means 16 MiB
	files       files // nil means the operating system's
}

// Torn tells of the unacknowledged end of a segment that opening the log cut off.
type Torn struct {
	Segment string
	Offset  int64 // where the segment ends now
	Bytes   int64 // how many were cut
	Reason  string
}

// Log is the writer of a history. Only one goroutine may use it at a time.
type Log struct {
	r       Reader
	o       Options
	torn    *Torn
	buf     []byte // of the segment, from written on
	f       file   // nil until something is written to the segment
	head    file   // nil until the first commit
	segment uint64 // index of the segment's first event
	written int64  // bytes of the segment that are written
	last    int64  // where the last sealed frame of the segment begins
	frame   int    // where in buf the open frame begins, if events are in it
	events  int    // in the open frame
	n       uint64
	chain   warp.Hash // after the last sealed frame
	flags   byte      // of the next frame that is sealed
	dirty   bool      // something is not durable
	newName bool      // the segment's name is not durable
	saved   uint64    // events before the last checkpoint
	system  warp.Hash // digest of the System that was appended last; zero if not known
	broken  error
}

// Open opens the history in dir for writing, and makes it if need be. An end that was never acknowledged and is no
// whole frame is cut off, see Torn; any other bad frame that it meets is a [*DamageError], for which there is
// [Repair]. What lies before the last commit point is not read.
func Open(dir string, o Options) (*Log, error) {
	if o.files == nil {
		o.files = osFiles{}
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = segmentAt
	}
	l := &Log{r: Reader{dir: dir, fs: o.files}, o: o}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open history %s: %w", dir, err)
	}
	return l, nil
}

func (l *Log) open() error {
	if err := l.o.files.MkdirAll(l.r.dir); err != nil {
		return err
	}
	s, tail, err := l.r.tail()
	if errors.Is(err, errNoSegment) {
		// A segment whose header never became whole has no events that anybody acknowledged.
		list, err := segments(l.o.files, l.r.dir)
		if err != nil {
			return err
		}
		for _, first := range list {
			if err := l.removeTorn(first); err != nil {
				return err
			}
		}
		l.startSegment()
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	l.segment, l.n, l.chain, l.written, l.last = s.first, s.idx, s.chain, s.off, s.last
	if l.f, err = l.o.files.Open(filepath.Join(l.r.dir, s.name), os.O_RDWR); err != nil {
		return err
	}
	if err := l.cut(s, tail); err != nil {
		return errors.Join(err, l.f.Close())
	}
	// What an earlier process wrote but did not commit becomes durable with our first commit.
	l.dirty, l.newName = true, true
	l.saved = l.r.checkpointed()
	return nil
}

// cut removes a torn end: of the last segment, and later segments without a whole header.
func (l *Log) cut(s *scanner, tail error) error {
	list, err := segments(l.o.files, l.r.dir)
	if err != nil {
		return err
	}
	for _, first := range list {
		if first > l.segment {
			if err := l.removeTorn(first); err != nil {
				return err
			}
		}
	}
	if s.size == s.off {
		return nil
	}
	l.torn = &Torn{Segment: s.name, Offset: s.off, Bytes: s.size - s.off, Reason: tail.Error()}
	if err := l.f.Truncate(s.off); err != nil {
		return err
	}
	return l.f.Sync()
}

// removeTorn removes a segment whose header was never whole.
func (l *Log) removeTorn(first uint64) error {
	l.torn = &Torn{Segment: segmentName(first), Reason: "incomplete header"}
	return l.o.files.Remove(filepath.Join(l.r.dir, segmentName(first)))
}

// Torn returns what Open cut off, or nil.
func (l *Log) Torn() *Torn { return l.torn }

// Len returns how many events there are, which is the index of the next one.
func (l *Log) Len() uint64 { return l.n }

// Head returns what Len does and the chain hash after the last event, whose frame it closes.
func (l *Log) Head() (n uint64, chain warp.Hash) {
	l.seal()
	return l.n, l.chain
}

// seal closes the open frame, if there is one.
func (l *Log) seal() {
	if l.events == 0 {
		return
	}
	l.last = l.written + int64(l.frame)
	l.chain = sealFrame(l.buf[l.frame:], l.events, l.chain, l.flags)
	l.flags, l.events = 0, 0
}

func (l *Log) startSegment() {
	l.f, l.segment, l.written, l.newName = nil, l.n, 0, true
	l.buf = appendSegmentHeader(l.buf[:0], l.n, l.chain)
	l.last = segmentHeader
}

func (l *Log) poison(err error) error {
	l.broken = fmt.Errorf("%w: %w", ErrPoisoned, err)
	return l.broken
}

// Append adds events, sets their Idx and returns that of the first. A crash leaves all of them or none; they are durable
// only after the next Commit. It fails with ErrPoisoned once a write or a sync has failed; events that cannot be written are
// refused without harm.
func (l *Log) Append(events ...Event) (idx uint64, err error) {
	if l.broken != nil || len(events) == 0 {
		return l.n, l.broken
	}
	size := 0
	for i := range events {
		size += maxFields + len(events[i].Kind) + len(events[i].Data)
	}
	if size > maxPayload {
		return 0, fmt.Errorf("%s: %w", events[0].Kind, ErrTooLarge)
	}
	if l.written+int64(len(l.buf)) >= l.o.SegmentSize && l.n > l.segment {
		if err := l.endSegment(); err != nil {
			return 0, err
		}
	}
	if len(l.buf)-l.frame+size > frameAt {
		l.seal()
	}
	if len(l.buf) > flushAt {
		if err := l.Flush(); err != nil {
			return 0, err
		}
	}
	if l.events == 0 {
		l.frame = len(l.buf)
		l.buf = openFrame(l.buf)
	}
	idx = l.n
	for i := range events {
		e := &events[i]
		e.Idx = l.n
		l.buf = appendEvent(l.buf, e)
		if e.Kind == RewriteApplied && e.View == System {
			l.system = e.Digest
		}
		l.n++
	}
	l.events += len(events)
	l.dirty = true
	return idx, nil
}

func (l *Log) endSegment() error {
	if err := l.Commit(); err != nil {
		return err
	}
	if err := l.f.Close(); err != nil {
		return l.poison(err)
	}
	l.startSegment()
	return nil
}

// Flush hands what was appended to the operating system, so that readers see it.
func (l *Log) Flush() error {
	if l.broken != nil {
		return l.broken
	}
	if len(l.buf) == 0 || l.n == l.segment {
		return nil // nothing but a header
	}
	l.seal()
	if l.f == nil {
		f, err := l.o.files.Open(filepath.Join(l.r.dir, segmentName(l.segment)), os.O_RDWR|os.O_CREATE|os.O_EXCL)
		if err != nil {
			return l.poison(err)
		}
		l.f = f
	}
	if n, err := l.f.WriteAt(l.buf, l.written); err != nil || n < len(l.buf) {
		return l.poison(cmpOr(err, io.ErrShortWrite))
	}
	l.written += int64(len(l.buf))
	l.buf = l.buf[:0]
	return nil
}

func cmpOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Commit makes everything that was appended survive a crash. Once it has failed the log is poisoned.
func (l *Log) Commit() error {
	if err := l.Flush(); err != nil {
		return err
	}
	if !l.dirty || l.f == nil {
		return nil
	}
	if err := l.f.Sync(); err != nil {
		return l.poison(err)
	}
	if l.newName {
		if err := l.o.files.SyncDir(l.r.dir); err != nil {
			return l.poison(err)
		}
	}
	l.dirty, l.newName, l.flags = false, false, flagDurable
	if l.n > l.segment {
		l.writeHead()
	}
	return nil
}

// writeHead notes the commit point for those who open the history. Without it they only have to read more, so a
// failure is none of the commit's.
func (l *Log) writeHead() {
	if l.head == nil {
		f, err := l.o.files.Open(filepath.Join(l.r.dir, headName), os.O_RDWR|os.O_CREATE)
		if err != nil {
			return
		}
		l.head = f
	}
	h := head{segment: l.segment, start: l.last, end: l.written, n: l.n, chain: l.chain}
	_, _ = l.head.WriteAt(h.encode(), 0) // see above
}

// From yields the events from index idx on, also those only buffered. See [Reader.From].
func (l *Log) From(idx uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := l.Flush(); err != nil {
			yield(Event{}, err)
			return
		}
		l.r.From(idx)(yield)
	}
}

// All yields the events that compaction has left, also those only buffered.
func (l *Log) All() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := l.Flush(); err != nil {
			yield(Event{}, err)
			return
		}
		l.r.All()(yield)
	}
}

// Reader returns a reader of the history. It sees what was flushed.
func (l *Log) Reader() *Reader { return &l.r }

// System returns the graph of the System: the fold of all its rewrites. See [Reader.System].
func (l *Log) System() (warp.Graph, error) {
	if err := l.Flush(); err != nil {
		return warp.Graph{}, err
	}
	return l.r.System()
}

// SinceCheckpoint returns how many events a fold of the System has to read beside the last checkpoint.
func (l *Log) SinceCheckpoint() uint64 { return l.n - l.saved }

// Checkpoint commits and keeps g, which must be the System's graph after all that was appended, for quicker opening.
// A graph with another digest than the one recorded last is refused. A failure to write it harms nothing.
func (l *Log) Checkpoint(g warp.Graph) error {
	if l.system != (warp.Hash{}) && l.system != g.Digest() {
		return &MismatchError{Idx: l.n, Want: l.system, Got: g.Digest()}
	}
	if err := l.Commit(); err != nil {
		return err
	}
	if err := l.r.writeCheckpoint(checkpointName, checkpoint{l.n, l.chain, g}); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	l.saved = l.n
	return nil
}

// Close commits, makes a checkpoint if more than 10,000 events came after the last, and closes the files. A poisoned
// log closes its files and returns ErrPoisoned.
func (l *Log) Close() error {
	err := l.Commit()
	if err == nil && l.SinceCheckpoint() >= checkpointEvery {
		g, foldErr := l.System()
		if err = foldErr; err == nil {
			err = l.Checkpoint(g)
		}
	}
	for _, f := range []file{l.f, l.head} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	l.f, l.head = nil, nil
	l.broken = cmpOr(l.broken, fmt.Errorf("%w: %w", ErrPoisoned, fs.ErrClosed))
	return err
}

// Compact drops the segments all of whose events have an index below keep. Before that it keeps the System's graph
// as it was where the rest begins, so that every later state can still be folded, and the chain hash, so that the rest
// can still be proved.
func (l *Log) Compact(keep uint64) error {
	if err := l.Commit(); err != nil {
		return err
	}
	list, err := segments(l.o.files, l.r.dir)
	if err != nil {
		return err
	}
	drop := 0
	for drop+1 < len(list) && list[drop+1] <= keep {
		drop++
	}
	if drop == 0 {
		return nil
	}
	base, err := l.r.fold(list[drop], l.r.starts())
	if err != nil {
		return err
	}
	if err := l.r.writeCheckpoint(baseName, base); err != nil {
		return fmt.Errorf("write base: %w", err)
	}
	for _, first := range slices.Clone(list[:drop]) {
		if err := l.o.files.Remove(filepath.Join(l.r.dir, segmentName(first))); err != nil {
			return err
		}
	}
	return l.o.files.SyncDir(l.r.dir)
}
