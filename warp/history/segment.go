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
	"github.com/zeebo/blake3"
)

// The layout of a segment is told to the byte in docs/history-format.md.
const (
	version       = 1
	segmentMagic  = "JITOSHIS"
	segmentHeader = 64
	recordMagic   = "JH"
	recordHeader  = 44
	flagDurable   = 1 // all records before this one were durable when it was written
	maxPayload    = 64 << 20
	segmentSuffix = ".log"
)

// DamageError is a place in the history that is not what was written.
type DamageError struct {
	Segment string // file name
	Offset  int64  // of the bad record, or of the header (0)
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

// appendRecord appends the record of an event and returns the chain hash after it.
func appendRecord(dst []byte, e *Event, chain warp.Hash, flags byte) ([]byte, warp.Hash) {
	start := len(dst)
	dst = append(dst, recordMagic...)
	dst = append(dst, version, flags, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = append(dst, chain[:]...)
	dst = appendEvent(dst, e)
	rec := dst[start:]
	binary.LittleEndian.PutUint32(rec[4:], uint32(len(rec)-recordHeader))
	binary.LittleEndian.PutUint32(rec[8:], checksum(rec[:8], rec[12:]))
	return dst, blake3.Sum256(rec)
}

// errTail says that the rest of a segment is no record: a torn write, or damage.
type errTail struct{ reason string }

func (e errTail) Error() string { return e.reason }

// recordSize returns the size of the record that begins with header, if rest bytes of the file hold it.
func recordSize(header []byte, rest int64) (int64, error) {
	if rest < recordHeader {
		return 0, errTail{"incomplete header of a record"}
	}
	if string(header[:2]) != recordMagic || header[3]&^flagDurable != 0 {
		return 0, errTail{"no record"}
	}
	if header[2] != version {
		return 0, errTail{fmt.Sprintf("record of version %d, which this program does not know", header[2])}
	}
	n := int64(binary.LittleEndian.Uint32(header[4:]))
	if n > maxPayload || n > rest-recordHeader {
		return 0, errTail{"incomplete record"}
	}
	return recordHeader + n, nil
}

func checkRecord(rec []byte) error {
	if checksum(rec[:8], rec[12:]) != binary.LittleEndian.Uint32(rec[8:]) {
		return errTail{"checksum of the record does not match"}
	}
	return nil
}

// scanner reads the records of one segment, from any record on.
type scanner struct {
	f        file
	name     string
	first    uint64 // index of the segment's first event
	last     int64  // of the last record before the next, where somebody keeps it
	kind     string // of its event
	off      int64  // of the next record
	size     int64  // of the file, when last looked at
	idx      uint64
	chain    warp.Hash // before the next record
	skipping bool      // chain is not known
	window   []byte    // bytes of the file from windowOff on
	winOff   int64
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

// record returns the next record, unchecked but for its header, without moving on.
func (s *scanner) record() ([]byte, error) {
	if s.off == s.size {
		return nil, io.EOF
	}
	if s.off > s.size {
		return nil, errTail{"the file became shorter"}
	}
	header, err := s.bytes(s.off, int(min(recordHeader, s.size-s.off)))
	if err != nil {
		return nil, err
	}
	n, err := recordSize(header, s.size-s.off)
	if err != nil {
		return nil, err
	}
	return s.bytes(s.off, int(n))
}

// skipTo moves to the event with the given index and looks at no record on the way but the last.
func (s *scanner) skipTo(idx uint64) error {
	for s.idx < idx {
		rec, err := s.record()
		if err != nil {
			return err
		}
		s.off += int64(len(rec))
		s.idx++
		if s.skipping = s.idx < idx; !s.skipping {
			s.chain = blake3.Sum256(rec)
		}
	}
	return nil
}

// adopt takes the chain from the next record instead of checking it, where what is before has not been read.
func (s *scanner) adopt() {
	if rec, err := s.record(); err == nil {
		copy(s.chain[:], rec[12:])
	}
}

// next returns the next event. It fails with io.EOF at the end of the file and with an errTail where no good record
// follows.
func (s *scanner) next() (Event, error) {
	rec, err := s.record()
	if err != nil {
		return Event{}, err
	}
	if err := checkRecord(rec); err != nil {
		return Event{}, err
	}
	if string(rec[12:recordHeader]) != string(s.chain[:]) {
		return Event{}, errTail{"record does not continue the chain"}
	}
	e, err := decodeEvent(rec[recordHeader:])
	if err != nil {
		return Event{}, errTail{err.Error()}
	}
	if e.Idx != s.idx {
		return Event{}, errTail{fmt.Sprintf("event %d where %d is expected", e.Idx, s.idx)}
	}
	s.off += int64(len(rec))
	s.idx++
	s.chain = blake3.Sum256(rec)
	return e, nil
}

// acknowledgedAfter looks for a sound record past off that says that what is before it was durable.
func (s *scanner) acknowledgedAfter(off int64) (bool, error) {
	for off++; off+recordHeader <= s.size; off++ {
		header, err := s.bytes(off, recordHeader)
		if err != nil {
			return false, err
		}
		if header[0] != recordMagic[0] || header[3] != flagDurable {
			continue
		}
		n, err := recordSize(header, s.size-off)
		if err != nil {
			continue
		}
		rec, err := s.bytes(off, int(n))
		if err != nil {
			return false, err
		}
		if checkRecord(rec) == nil {
			return true, nil
		}
	}
	return false, nil
}

// head is the last commit point: a file that is written, not synced, after each, so that it never claims too much.
// It can be deleted; then opening reads the whole last segment.
type head struct {
	segment    uint64
	start, end int64 // of the last record
	n          uint64
	chain      warp.Hash
}

const (
	headName  = "head"
	headMagic = "JITOSHED"
	headSize  = 8 + 4*8 + 32 + 4
)

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
