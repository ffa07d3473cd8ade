package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/zeebo/blake3"
)

// The layout of a segment is told to the byte in docs/history-format.md.
const (
	version       = 1
	segmentMagic  = "JITOSHIS"
	segmentHeader = 64
	frameMagic    = "JF"
	frameHeader   = 48
	flagDurable   = 1        // all frames before this one were durable when it was written
	frameAt       = 64 << 10 // bytes: a frame is no larger unless one event is
	maxPayload    = 64 << 20
	segmentSuffix = ".log"
)

// DamageError is a place in the history that is not what was written.
type DamageError struct {
	Segment string // file name
	Offset  int64  // of the bad frame, or of the header (0)
	Reason  string

	acknowledged bool // of a bad header: events that follow it were acknowledged
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("history is damaged: %s at offset %d: %s", e.Segment, e.Offset, e.Reason)
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x%s", first, segmentSuffix) }

// segments lists the indexes of the first events of the segments in dir, in order.
func segments(fsys files, dir string) ([]uint64, error) {
	names, err := fsys.List(dir)
	var list []uint64
	for _, name := range names {
		hex, ok := strings.CutSuffix(name, segmentSuffix)
		if !ok || len(hex) != 16 {
			continue
		}
		if first, err := strconv.ParseUint(hex, 16, 64); err == nil {
			list = append(list, first)
		}
	}
	return list, err
}

func checksum(parts ...[]byte) uint32 {
	table, sum := crc32.MakeTable(crc32.Castagnoli), uint32(0)
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}

func appendSegmentHeader(dst []byte, first uint64, chain warp.Hash) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, first)
	dst = append(dst, chain[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// A frame is a header and the payloads of the events that came one after the other. One hash and one checksum for many
// events cost a small part of one for each.

// openFrame appends the room for the header of a frame, whose events follow.
func openFrame(dst []byte) []byte { return append(dst, make([]byte, frameHeader)...) }

// sealFrame writes the header of a whole frame and returns the chain hash after it.
func sealFrame(frame []byte, events int, chain warp.Hash, flags byte) warp.Hash {
	copy(frame, frameMagic)
	frame[2], frame[3] = version, flags
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(frame)-frameHeader))
	binary.LittleEndian.PutUint32(frame[12:], uint32(events))
	copy(frame[16:], chain[:])
	binary.LittleEndian.PutUint32(frame[8:], checksum(frame[:8], frame[12:]))
	return blake3.Sum256(frame)
}

// errTail says that the rest of a segment is no frame: a torn write, or damage.
type errTail struct{ reason string }

func (e errTail) Error() string { return e.reason }

// frameSize returns the size of the frame that begins with header, if rest bytes of the file hold it.
func frameSize(header []byte, rest int64) (int64, error) {
	if rest < frameHeader {
		return 0, errTail{"incomplete header of a frame"}
	}
	if string(header[:2]) != frameMagic || header[3]&^flagDurable != 0 {
		return 0, errTail{"no frame"}
	}
	if header[2] != version {
		return 0, errTail{fmt.Sprintf("frame of version %d, which this program does not know", header[2])}
	}
	n := int64(binary.LittleEndian.Uint32(header[4:]))
	if n > maxPayload || n > rest-frameHeader {
		return 0, errTail{"incomplete frame"}
	}
	return frameHeader + n, nil
}

func checkFrame(frame []byte) error {
	if checksum(frame[:8], frame[12:]) != binary.LittleEndian.Uint32(frame[8:]) {
		return errTail{"checksum of the frame does not match"}
	}
	return nil
}

func frameEvents(header []byte) uint64 { return uint64(binary.LittleEndian.Uint32(header[12:])) }

func frameChain(header []byte) warp.Hash { return warp.Hash(header[16:frameHeader]) }

// decodeFrame appends the events of a frame, which share its memory.
func decodeFrame(events []Event, frame []byte) ([]Event, error) {
	r := cbor.NewReader(frame[frameHeader:])
	for range frameEvents(frame) {
		raw := r.Raw()
		if err := r.Err(); err != nil {
			return events, err
		}
		e, err := decodeEvent(raw)
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, r.Close()
}

// scanner reads the frames of one segment, from any frame on.
type scanner struct {
	f       file
	name    string
	first   uint64    // index of the segment's first event
	last    int64     // of the frame before, if it was read
	off     int64     // of the next frame
	size    int64     // of the file, when last looked at
	idx     uint64    // of the next frame's first event
	chain   warp.Hash // before the next frame
	skipped []byte    // the frame whose hash chain is, if that was not computed
	events  []Event   // of the frame that was read last
	window  []byte    // bytes of the file from windowOff on
	winOff  int64
}

const windowSize = 256 << 10

// openSegment opens a segment and checks its header.
func openSegment(fsys files, dir string, first uint64) (*scanner, error) {
	s := &scanner{name: segmentName(first), first: first, off: segmentHeader, idx: first}
	var err error
	if s.f, err = fsys.Open(filepath.Join(dir, s.name), os.O_RDONLY); err != nil {
		return nil, err
	}
	good, err := s.header()
	if err == nil && !good {
		// A header that is being written becomes good before anything in the segment is acknowledged.
		damage := &DamageError{Segment: s.name, Reason: "bad header"}
		if damage.acknowledged, err = s.acknowledgedAfter(0); err == nil {
			good, err = s.header()
		}
		if err == nil && !good {
			err = damage
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	return s, nil
}

// header reads the segment's header and says whether it is good.
func (s *scanner) header() (good bool, err error) {
	var h [segmentHeader]byte
	if _, err := s.f.ReadAt(h[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	copy(s.chain[:], h[24:])
	s.window = nil
	s.size, err = s.f.Size()
	return string(h[:]) == string(appendSegmentHeader(nil, s.first, s.chain)), err
}

func (s *scanner) Close() error { return s.f.Close() }

// bytes returns n bytes of the file at off; the caller knows that they are there.
func (s *scanner) bytes(off int64, n int) ([]byte, error) {
	if off < s.winOff || off+int64(n) > s.winOff+int64(len(s.window)) {
		want := min(max(n, windowSize), int(s.size-off))
		s.window, s.winOff = make([]byte, want), off // events keep the old one
		if m, err := s.f.ReadAt(s.window, off); m < want {
			s.window = s.window[:m]
			if m < n {
				return nil, errors.Join(errTail{"the file became shorter"}, err)
			}
		}
	}
	return s.window[off-s.winOff:][:n:n], nil
}

// frame returns the next frame, unchecked but for its header, without moving on.
func (s *scanner) frame() ([]byte, error) {
	if s.off == s.size {
		return nil, io.EOF
	}
	if s.off > s.size {
		return nil, errTail{"the file became shorter"}
	}
	header, err := s.bytes(s.off, int(min(frameHeader, s.size-s.off)))
	if err != nil {
		return nil, err
	}
	n, err := frameSize(header, s.size-s.off)
	if err != nil {
		return nil, err
	}
	return s.bytes(s.off, int(n))
}

// skipTo moves to the frame that holds the event with the given index and checks none on the way.
func (s *scanner) skipTo(idx uint64) error {
	for s.idx < idx {
		frame, err := s.frame()
		if err != nil {
			return err
		}
		n := frameEvents(frame)
		if s.idx+n > idx {
			break
		}
		s.off += int64(len(frame))
		s.idx += n
		s.skipped = frame
	}
	if s.skipped != nil {
		s.chain, s.skipped = blake3.Sum256(s.skipped), nil
	}
	return nil
}

// adopt takes from the next frame, where what is before has not been read, what is checked otherwise: the chain, and how
// many of the first n events are before it.
func (s *scanner) adopt(n uint64) {
	if frame, err := s.frame(); err == nil {
		s.chain, s.idx = frameChain(frame), n-frameEvents(frame)
	}
}

// next returns the events of the next frame, until the call after. It fails with io.EOF at the end of the file and with an
// errTail where no good frame follows.
func (s *scanner) next() ([]Event, error) {
	frame, err := s.frame()
	if err != nil {
		return nil, err
	}
	if err := checkFrame(frame); err != nil {
		return nil, err
	}
	if frameChain(frame) != s.chain {
		return nil, errTail{"frame does not continue the chain"}
	}
	if s.events, err = decodeFrame(s.events[:0], frame); err != nil {
		return nil, errTail{err.Error()}
	}
	if len(s.events) == 0 {
		return nil, errTail{"frame without an event"}
	}
	for i := range s.events {
		if want := s.idx + uint64(i); s.events[i].Idx != want {
			return nil, errTail{fmt.Sprintf("event %d where %d is expected", s.events[i].Idx, want)}
		}
	}
	s.last = s.off
	s.off += int64(len(frame))
	s.idx += uint64(len(s.events))
	s.chain = blake3.Sum256(frame)
	return s.events, nil
}

// acknowledgedAfter looks for a sound frame past off that says that what is before it was durable.
func (s *scanner) acknowledgedAfter(off int64) (bool, error) {
	for off++; off+frameHeader <= s.size; off++ {
		header, err := s.bytes(off, frameHeader)
		if err != nil {
			return false, err
		}
		if header[0] != frameMagic[0] || header[3] != flagDurable {
			continue
		}
		n, err := frameSize(header, s.size-off)
		if err != nil {
			continue
		}
		frame, err := s.bytes(off, int(n))
		if err != nil {
			return false, err
		}
		if checkFrame(frame) == nil {
			return true, nil
		}
	}
	return false, nil
}

// head is the last commit point: a file that is written, not synced, after each, so that it never claims too much.
// It can be deleted; then opening reads the whole last segment.
type head struct {
	segment    uint64
	start, end int64 // of the last frame
	n          uint64
	chain      warp.Hash
}

const (
	headName  = "head"
	headMagic = "JITOSHED"
	headSize  = 8 + 4*8 + 32 + 4
)

// missing says that the segment of which the head speaks is gone.
func (h head) missing() error {
	return &DamageError{Segment: segmentName(h.segment), Reason: "acknowledged events are missing"}
}

func (h head) encode() []byte {
	b := append(make([]byte, 0, headSize), headMagic...)
	b = binary.LittleEndian.AppendUint64(b, h.segment)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.start))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.end))
	b = binary.LittleEndian.AppendUint64(b, h.n)
	b = append(b, h.chain[:]...)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// readHead returns the last commit point that the file tells of, or false if it tells none.
func readHead(fsys files, dir string) (h head, ok bool, err error) {
	f, err := fsys.Open(filepath.Join(dir, headName), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	var b [headSize]byte
	_, err = f.ReadAt(b[:], 0)
	if err = errors.Join(err, f.Close()); errors.Is(err, io.EOF) {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	h = head{
		segment: binary.LittleEndian.Uint64(b[8:]),
		start:   int64(binary.LittleEndian.Uint64(b[16:])),
		end:     int64(binary.LittleEndian.Uint64(b[24:])),
		n:       binary.LittleEndian.Uint64(b[32:]),
	}
	copy(h.chain[:], b[40:])
	return h, string(b[:]) == string(h.encode()), nil
}
