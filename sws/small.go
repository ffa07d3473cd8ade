package sws

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

// A small transaction is decided by one record that holds the contents of its files too: nothing else has to be durable
// before it is acknowledged. What it changes is synced meanwhile, and the transaction is settled when that is done: by
// the next one, by Settle or Close, or by the recovery of a later process, which does again what the crash took.

// What is small: so many operations, and so many bytes of files.
const (
	smallOps   = 128
	smallBytes = 1 << 20
)

func (s *Space) small(ops []op) bool {
	size := int64(0)
	for i := range ops {
		if ops[i].brings() {
			size += ops[i].After.Size
		}
	}
	return len(ops) <= smallOps && size <= smallBytes && !s.options.noSmall
}

// decideSmall is the point from which a small transaction happens. Until it returns the record may be there without
// what the journal should hold before it; so the record tells how much that is.
func (x *tx) decideSmall() error {
	w := x.body()
	w.num(int64(x.space.recorded()))
	for i := range x.Ops {
		o := &x.Ops[i]
		if !o.brings() || o.After.Kind != File {
			continue
		}
		b, err := readStaged(x.dir, o)
		if err != nil {
			return fmt.Errorf("stage %s: %w", Quote(o.Path), err)
		}
		w.str(string(b))
	}
	x.space.at(spareName)
	if err := x.create(spareName, nil); err != nil {
		return err
	}
	x.space.at(recordName)
	err := x.create(recordName, seal(w.b))
	if err == nil {
		err = together([]func() error{
			func() error { return x.space.sync("record-sync", x.dir, []string{recordName}, x.space.meta.fd) },
			x.space.settleJournal,
		})
	}
	if err != nil { // it must not be there when we say that it failed
		return errors.Join(err, unix.Unlinkat(x.dir.fd, recordName, 0))
	}
	return nil
}

// recorded is how much the journal holds.
func (s *Space) recorded() uint64 {
	if s.journal == nil {
		return 0
	}
	return s.journal.Len()
}

// readStaged reads the content of a staged file.
func readStaged(dir dirfd, o *op) ([]byte, error) {
	fd, err := openLent(dir.fd, o.Stage)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b, err := readAll(fd, o.After.Size)
	if err == nil && cas.Sum(b) != o.After.Digest {
		err = cas.ErrCorrupt
	}
	return b, err
}

// announce makes what is decided visible.
func (x *tx) announce() (Receipt, error) {
	err := x.change()
	r := x.receipt(x.final)
	if err == nil && x.space.journal != nil {
		x.space.at("announce")
		if err = x.space.journal.Announced(r); err != nil {
			err = fmt.Errorf("record transaction %s: %w", x.Tx, err)
		}
	}
	if err != nil {
		return Receipt{}, x.abort(err)
	}
	x.synced = make(chan error, 1)
	x.space.announced = x
	x.space.background.Go(func() { x.synced <- x.sync() })
	return r, nil
}

// sync makes what a small transaction changed durable.
func (x *tx) sync() error {
	x.space.at("small-sync")
	var jobs []func() error
	for i := range x.Ops {
		o := &x.Ops[i]
		if !o.brings() || o.After.Kind != File {
			continue
		}
		jobs = append(jobs, func() error {
			fd, err := x.space.root.open(o.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
			switch {
			case err == unix.EACCES: // as it shall be
				return pathError(o.Path, unix.Syncfs(x.dir.fd))
			case isGone(err), err == unix.ELOOP, err == unix.EXDEV, err == unix.ENXIO: // it is somebody else's by now
				return nil
			case err != nil:
				return pathError(o.Path, err)
			}
			defer unix.Close(fd)
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil || st.Ino != o.Post.Ino {
				return pathError(o.Path, err)
			}
			return pathError(o.Path, x.space.fsync(fd))
		})
	}
	return errors.Join(together(jobs), x.syncDirs())
}

// Settle waits until the last collapse needs no recovery any more, whatever happens. The next collapse does so too, and
// Close. It must not be called while the journal is in use.
func (s *Space) Settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle()
}

func (s *Space) settle() error {
	x := s.announced
	if x == nil {
		return nil
	}
	if err := <-x.synced; err != nil {
		x.synced <- err // for whoever asks next: the kernel tells it once
		return err
	}
	s.announced = nil
	defer x.dir.close()
	return x.settled(x.receipt(x.final))
}

// settled ends a small transaction of which all is in the workspace, durably.
func (x *tx) settled(r Receipt) error {
	if err := x.space.record(r); err != nil {
		return err
	}
	// The record goes before anything else is decided: it must not be found again when that has changed the same paths.
	x.space.at("done")
	if err := unix.Renameat(x.dir.fd, recordName, x.dir.fd, doneName); err != nil {
		return pathError(doneName, err)
	}
	x.space.at("done-sync")
	err := pathError(x.name, x.space.fsync(x.dir.fd))
	x.handOver(err)
	return err
}

// unsettled tells whether the transaction in a directory is small and alive in another process.
func (s *Space) unsettled(name string) bool {
	d, err := s.meta.sub(name)
	if err != nil {
		return false
	}
	defer d.close()
	fp, err := statAt(d.fd, recordName)
	return err != nil || fp.Kind != Absent
}

// recoverSmall finishes x if it was decided by a record.
func (s *Space) recoverSmall(x *tx) (decided bool, err error) {
	b, err := readSmall(x.dir, recordName)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	body, ok := unseal(b)
	if !ok {
		return false, nil // it was not written whole
	}
	r := reader{b: body}
	in := r.intent()
	if before := uint64(r.num()); r.err == nil && s.recorded() < before {
		return false, nil // what the journal had to hold before is not there: nobody has acted on it
	}
	contents := make([][]byte, len(in.Ops))
	for i := range in.Ops {
		if o := &in.Ops[i]; o.brings() && o.After.Kind == File {
			contents[i] = r.bytes(r.num())
		}
	}
	if r.err != nil {
		return false, fmt.Errorf("%s/%s/%s: %w", Meta, x.name, recordName, r.err)
	}
	x.intent, x.small, x.final, x.layers = in, true, make([]Fingerprint, len(in.Ops)), make([]*Layer, len(in.Ops))
	if fp, err := statAt(x.dir.fd, abortName); err != nil || fp.Kind != Absent {
		const why = "it was being undone when its process ended"
		kept, berr := x.backward(why)
		s.recovered = append(s.recovered, Recovery{Tx: x.Tx, Outcome: "undone", Why: why, Kept: kept})
		return true, errors.Join(err, berr)
	}
	x.redoing = true
	x.loosen()
	for i := range x.Ops {
		if err := x.redo(i, contents[i]); err != nil {
			return true, err
		}
	}
	if err := x.tighten(); err != nil {
		return true, err
	}
	s.at("redo-sync")
	if err := unix.Syncfs(x.dir.fd); err != nil {
		return true, pathError(".", err)
	}
	if err := x.settled(x.receipt(x.final)); err != nil {
		return true, err
	}
	s.recovered = append(s.recovered, Recovery{Tx: x.Tx, Outcome: "finished"})
	return true, nil
}

// redo applies an operation that may have been applied, or may have been and got lost in part. It may have been
// acknowledged too, so what somebody else did to the path comes after it, and stays.
func (x *tx) redo(i int, content []byte) error {
	o := &x.Ops[i]
	if o.brings() {
		st, is, err := x.state(o)
		if err != nil {
			return err
		}
		there, err := x.space.shows(o, is)
		if err != nil {
			return err
		}
		if there {
			if x.final[i] = is; is.Kind == Dir && is.Mode == o.Post.Mode|0o700 { // it may be one that was made again
				o.Post.Ino = is.Ino
			}
			return nil
		}
		switch {
		case st == applied && is.Kind == File && is.Mtime == o.Post.Mtime: // its content never reached the disk
			return x.mend(i, content)
		case st != pristine:
			return nil
		}
		if err := x.putAgain(o, o.Stage, content); err != nil {
			return err
		}
	}
	err := x.apply(i)
	if _, ok := errors.AsType[*ConflictError](err); ok {
		_, err = x.undo(o)
	}
	return err
}

// shows tells whether a path is as the operation makes it, whoever did it.
func (s *Space) shows(o *op, is Fingerprint) (bool, error) {
	if is.Kind != o.After.Kind {
		return false, nil
	}
	switch is.Kind {
	case Link:
		target, err := s.root.readlink(o.Path)
		return target == o.After.Target, err
	case File:
		if is.Size != o.After.Size {
			return false, nil
		}
		fd, name, err := s.root.parent(o.Path)
		if err != nil {
			return false, err
		}
		defer unix.Close(fd)
		h, err := openLent(fd, name)
		if err != nil {
			return false, pathError(o.Path, err)
		}
		defer unix.Close(h)
		b, err := readAll(h, is.Size)
		return cas.Sum(b) == o.After.Digest, pathError(o.Path, err)
	}
	return true, nil
}

// putAgain makes a new object from the record under a name in the transaction's directory.
func (x *tx) putAgain(o *op, name string, content []byte) error {
	x.space.at("put-again")
	if err := removeAt(x.dir.fd, name); err != nil {
		return pathError(o.Path, err)
	}
	stage, mtime := o.Stage, o.Post.Mtime
	o.Stage = name
	defer func() { o.Stage = stage }()
	return x.put(o, func() error {
		if err := x.create(name, content); err != nil {
			return err
		}
		if err := unix.Fchmodat(x.dir.fd, name, o.After.Mode, 0); err != nil {
			return err
		}
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(mtime)}
		return unix.UtimesNanoAt(x.dir.fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// mend puts a whole file in the place of one whose content got lost. What both displaced, for undo, stays staged.
func (x *tx) mend(i int, content []byte) error {
	o := &x.Ops[i]
	torn, name := o.Post.Ino, o.Stage+"-again"
	if err := x.putAgain(o, name, content); err != nil {
		return err
	}
	fd, last, err := x.space.root.parent(o.Path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	x.space.at("mend")
	if err := unix.Renameat2(x.dir.fd, name, fd, last, unix.RENAME_EXCHANGE); err != nil {
		return pathError(o.Path, err)
	}
	old, err := statAt(x.dir.fd, name)
	if err == nil && old.Ino != torn { // somebody was faster
		return pathError(o.Path, unix.Renameat2(x.dir.fd, name, fd, last, unix.RENAME_EXCHANGE))
	}
	if err == nil {
		x.final[i], err = statAt(fd, last)
	}
	return pathError(o.Path, err)
}
