package history

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Salvage tells what Repair did.
type Salvage struct {
	Events uint64       // that are left
	Damage *DamageError // nil if there was none
	Aside  []string     // files that were put aside, with the suffix .damaged
	// Lost are the events after the damage that could still be read: the chain to them is broken, so they count no more.
	Lost []Event
}

const damagedSuffix = ".damaged"

// Repair makes a damaged history one that opens: it keeps the events before the first damage and puts the files that
// hold the rest aside. Nothing is deleted but what can be made anew. Callers hold the lock of a writer.
func Repair(dir string) (Salvage, error) { return repair(&Reader{dir: dir, fs: osFiles{}}) }

func repair(r *Reader) (Salvage, error) {
	var s Salvage
	list, err := segments(r.fs, r.dir)
	if err != nil {
		return s, err
	}
	if len(list) > 0 {
		s.Events = list[0]
	}
	base, err := s.begin(r)
	if err != nil {
		return s, err
	}
	for e, err := range r.scan(s.Events) {
		if errors.As(err, &s.Damage) {
			break
		}
		if err != nil {
			return s, err
		}
		s.Events = e.Idx + 1
	}
	if s.Damage == nil {
		end, _, err := r.tail() // damage that only the last commit point tells of
		if err == nil {
			return s, end.Close()
		}
		if errors.Is(err, errNoSegment) {
			return s, nil
		}
		if !errors.As(err, &s.Damage) {
			return s, err
		}
	}
	if base.n > s.Events {
		s.Events = 0 // what is left leads to no state
	}
	for _, name := range []string{headName, checkpointName} {
		if err := r.fs.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
	}
	for _, first := range list {
		if first >= s.Events || segmentName(first) == s.Damage.Segment {
			if err := s.lost(r, first); err != nil {
				return s, err
			}
		}
	}
	for i := len(list) - 1; i >= 0 && (list[i] >= s.Events || segmentName(list[i]) == s.Damage.Segment); i-- {
		if err := s.putAside(r, list[i]); err != nil {
			return s, err
		}
	}
	if s.Events == 0 {
		if err := s.rename(r, baseName); err != nil {
			return s, err
		}
	}
	return s, r.fs.SyncDir(r.dir)
}

// begin returns the state from which the events can be folded. If that of a compacted history is lost, the checkpoint takes
// its place; without one no event can be kept.
func (s *Salvage) begin(r *Reader) (checkpoint, error) {
	c, err := r.begin(s.Events)
	if err == nil {
		if ok, err := r.confirms(c); ok || err != nil {
			return c, nil // what is wrong here the scan will find
		}
		err = &DamageError{Segment: baseName, Reason: "it is of another history"}
	}
	if !errors.As(err, &s.Damage) {
		return c, err
	}
	c, err = r.checkpoint(checkpointName)
	if err == nil {
		if ok, _ := r.confirms(c); ok {
			return c, errors.Join(s.rename(r, baseName), r.writeCheckpoint(baseName, c))
		}
	}
	return checkpoint{n: ^uint64(0)}, nil
}

// rename puts a file aside, if it is there.
func (s *Salvage) rename(r *Reader, name string) error {
	err := r.fs.Rename(filepath.Join(r.dir, name), filepath.Join(r.dir, name+damagedSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.Aside = append(s.Aside, name+damagedSuffix)
	return err
}

// lost reads what sound frames a segment holds of events that are not kept.
func (s *Salvage) lost(r *Reader, first uint64) error {
	f, err := r.fs.Open(filepath.Join(r.dir, segmentName(first)), os.O_RDONLY)
	if err != nil {
		return err
	}
	scan := &scanner{f: f, name: segmentName(first)}
	defer scan.Close()
	if scan.size, err = f.Size(); err != nil {
		return err
	}
	for off := int64(0); off+frameHeader <= scan.size; off++ {
		header, err := scan.bytes(off, frameHeader)
		if err != nil {
			return err
		}
		n, err := frameSize(header, scan.size-off)
		if err != nil {
			continue
		}
		frame, err := scan.bytes(off, int(n))
		if err != nil {
			return err
		}
		if checkFrame(frame) != nil {
			continue
		}
		events, err := decodeFrame(nil, frame)
		for _, e := range events {
			if err == nil && e.Idx >= s.Events {
				s.Lost = append(s.Lost, e)
			}
		}
		off += n - 1
	}
	return nil
}

// putAside renames a segment and, if good events are in it, makes one of them in its place.
func (s *Salvage) putAside(r *Reader, first uint64) error {
	path := filepath.Join(r.dir, segmentName(first))
	if s.Events > first {
		scan, err := openSegment(r.fs, r.dir, first)
		if err != nil {
			return err
		}
		for scan.idx < s.Events && err == nil {
			_, err = scan.next()
		}
		var good []byte
		if err == nil {
			good = make([]byte, scan.off)
			_, err = scan.f.ReadAt(good, 0)
		}
		if err = errors.Join(err, scan.Close()); err != nil {
			return err
		}
		f, err := r.fs.Open(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
		if err != nil {
			return err
		}
		if _, err = f.WriteAt(good, 0); err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	if err := s.rename(r, segmentName(first)); err != nil {
		return err
	}
	if s.Events > first {
		return r.fs.Rename(path+".tmp", path)
	}
	return nil
}
