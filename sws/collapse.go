package sws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/warp/cas"
)

// Journal is where collapses are recorded.
type Journal interface {
	// Settle makes durable what was recorded before. Nothing is decided until it has returned: whoever completes the
	// transaction after a crash records it on top of that. It may be called from another goroutine than Collapse.
	Settle() error
	// Len is how much is recorded. It only grows, except that a crash may take what was not durable.
	Len() uint64
	// Announced records r so that it survives the process. Collapsed follows.
	Announced(r Receipt) error
	// Collapsed records r durably before it returns. It may be called again, by a later process too, for a transaction
	// that is recorded already; then it only makes that durable.
	Collapsed(r Receipt) error
}

// Receipt says what a transaction did.
type Receipt struct {
	Tx      string
	Set     int // 0: an undo
	Ops     []Done
	Note    []byte // the transaction's
	Aborted string // if the workspace is as it was before: why
}

// Done is one path of a receipt.
type Done struct {
	Path          string
	Before, After Entry
	Final         Fingerprint // what is there now; zero if somebody changed it at once, or if the transaction was aborted
}

// Transaction is what a collapse makes real.
type Transaction struct {
	Tx      string   // names it for ever: letters, digits, '-', '_'
	Changes []Staged // from Merge
	// Reads are the inputs, with the fingerprints that the run saw. Of a directory, its listing does not count.
	Reads []Read
	// Allowed asks whether the scope covers a path; explicit means that a pattern must name it, as for git hooks. nil
	// allows all but those.
	Allowed func(path string, explicit bool) error
	Note    []byte
}

// Read is an input of a transaction.
type Read struct {
	Path        string
	Fingerprint Fingerprint
}

// Collapse makes a transaction real: whole, or not at all, whatever happens in between. On a ConflictError, a
// RefusedError or any other error nothing is changed and the set is as it was. When it returns a receipt, the change is
// durable and recorded.
//
// Once it has begun to change the workspace it does not heed ctx any more.
func (set *Set) Collapse(ctx context.Context, t Transaction) (Receipt, error) {
	if err := set.unflatten(); err != nil {
		return Receipt{}, err
	}
	return set.space.commit(ctx, set.base, set.id, t)
}

// Check says what Collapse would refuse as things are now, with the same errors, and changes nothing.
func (set *Set) Check(t Transaction) error {
	unlock, err := set.space.lock()
	if err != nil {
		return err
	}
	defer unlock()
	_, _, err = set.space.prepare(set.base, t)
	return err
}

func (s *Space) commit(ctx context.Context, base *Base, set int, t Transaction) (Receipt, error) {
	if t.Tx == "" || t.Tx != filepath.Base(t.Tx) || t.Tx[0] == '.' {
		return Receipt{}, fmt.Errorf("%q cannot name a transaction", t.Tx)
	}
	unlock, err := s.lock()
	if err != nil {
		return Receipt{}, err
	}
	defer unlock()
	if err := s.settle(); err != nil {
		return Receipt{}, err
	}
	if err := s.recoverAll(); err != nil {
		return Receipt{}, err
	}
	ops, froms, err := s.prepare(base, t)
	if err != nil {
		return Receipt{}, err
	}
	in := &intent{Tx: t.Tx, Set: set, Note: t.Note, Ops: ops}
	if len(ops) == 0 {
		r := in.receipt(nil)
		return r, s.record(r)
	}
	x, err := s.begin(in)
	if err != nil {
		return Receipt{}, err
	}
	lives := false // until it is settled
	defer func() {
		if !lives {
			x.dir.close()
		}
	}()
	err = x.stage(ctx, froms)
	if err == nil && !x.small {
		err = x.prepare()
	}
	if err == nil {
		err = s.verify(base, ops, t.Reads)
	}
	if err == nil {
		err = x.decide()
	}
	if err != nil {
		return Receipt{}, errors.Join(err, x.unstage(), x.remove())
	}
	if x.small {
		r, err := x.announce()
		lives = err == nil
		return r, err
	}
	r, err := x.forward()
	if err != nil {
		return Receipt{}, err
	}
	x.finish()
	return r, nil
}

func (s *Space) record(r Receipt) error {
	if s.journal == nil {
		return nil
	}
	s.at("record")
	return s.journal.Collapsed(r)
}

// settleJournal makes durable what was recorded before.
func (s *Space) settleJournal() error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Settle()
}

// prepare checks a transaction against the workspace and turns it into operations. froms gives the layers that hold
// the new contents, in the order of the operations.
func (s *Space) prepare(base *Base, t Transaction) (ops []op, froms []*Layer, err error) {
	var conflicts []Conflict
	for _, c := range t.Changes {
		if err := valid(c.Path); err != nil {
			return nil, nil, err
		}
		was, err := base.At(c.Path)
		if err != nil {
			return nil, nil, err
		}
		is, ok, err := base.unchanged(c.Path, was, s.root)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			conflicts = append(conflicts, Conflict{Path: c.Path, Was: was, Is: is, Want: c.After})
		}
	}
	if len(conflicts) > 0 {
		return nil, nil, s.conflicting(base, conflicts, t.Reads)
	}
	moves, err := trim(base, t.Changes)
	if errors.Is(err, ErrChanged) {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			was, _ := base.At(pe.Path)
			is, _ := s.root.stat(pe.Path)
			return nil, nil, &ConflictError{Paths: []Conflict{{Path: pe.Path, Was: was, Is: is}}}
		}
	}
	if err != nil {
		return nil, nil, err
	}
	layers := map[string]*Layer{}
	for _, m := range moves {
		layers[m.Path] = m.from
		explicit := delicate(m.Path)
		if t.Allowed != nil {
			if err := t.Allowed(m.Path, explicit); err != nil {
				return nil, nil, &RefusedError{Path: m.Path, Err: err}
			}
		} else if explicit {
			return nil, nil, &RefusedError{Path: m.Path, Why: "a scope must name it"}
		}
	}
	if ops, err = shut(base, plan(moves)); err != nil {
		return nil, nil, err
	}
	for i := range ops {
		ops[i].Stage = strconv.Itoa(i + 1)
		froms = append(froms, layers[ops[i].Path])
	}
	return ops, froms, s.verify(base, ops, t.Reads)
}

// verify looks whether everything is still as the run saw it.
func (s *Space) verify(base *Base, ops []op, reads []Read) error {
	s.at("verify")
	var out []Conflict
	touched := make(map[string]bool, len(ops))
	for i := range ops {
		o := &ops[i]
		touched[o.Path] = true
		is, ok, err := base.unchanged(o.Path, o.Base, s.root)
		if err != nil {
			return err
		}
		if !ok {
			out = append(out, Conflict{Path: o.Path, Was: o.Base, Is: is, Want: o.After})
		}
		if ok && o.Base != is { // touched, or, of a directory, something in it
			mode := o.Post.Mode
			if o.Does == chmod || o.Does == lend {
				o.Post = is
				o.Post.Mode = mode
			}
			o.Base = is
		}
	}
	for _, o := range ops {
		if o.Base.Kind != Dir || o.Does != remove && o.Does != exchange {
			continue
		}
		extra, err := s.stranger(o.Path, touched)
		if err != nil {
			return err
		}
		if extra != "" {
			out = append(out, Conflict{Path: o.Path, Was: o.Base, Is: o.Base, Want: o.After, Why: "has got something new in it: " + Quote(extra)})
		}
	}
	return s.conflicting(base, out, reads)
}

// conflicting adds what was read and is something else now to what is in conflict, and is nil if nothing is.
func (s *Space) conflicting(base *Base, out []Conflict, reads []Read) error {
	for _, r := range reads {
		is, ok, err := base.unchanged(r.Path, r.Fingerprint, s.root)
		if err != nil {
			return err
		}
		if !ok {
			out = append(out, Conflict{Path: r.Path, Was: r.Fingerprint, Is: is, Read: true})
		}
	}
	if len(out) == 0 {
		return nil
	}
	slices.SortStableFunc(out, func(a, b Conflict) int { return strings.Compare(a.Path, b.Path) })
	return &ConflictError{Paths: slices.CompactFunc(out, func(a, b Conflict) bool { return a.Path == b.Path })}
}

// stranger finds a name in a directory that goes which no operation knows.
func (s *Space) stranger(dir string, known map[string]bool) (string, error) {
	d, err := s.root.sub(dir)
	if err != nil {
		return "", err
	}
	defer d.close()
	list, err := names(d.fd)
	if err != nil {
		return "", pathError(dir, err)
	}
	for _, n := range list {
		if !known[join(dir, n)] {
			return n, nil
		}
	}
	return "", nil
}

// tx is a transaction in its directory.
type tx struct {
	*intent
	space  *Space
	name   string // of the directory, in .jitos
	dir    dirfd  // locked as long as we live
	small  bool   // a record decides it, see small.go
	final  []Fingerprint
	layers []*Layer   // by operation: where a staged file was taken from, to put it back
	synced chan error // of a small one that was announced: whether it is durable

	redoing bool // a small one after a crash: what somebody changed meanwhile is left alone
}

// Names in a transaction's directory, besides the numbers of the objects. Which of them is there says how far it is:
// nothing is decided without intentName; deciding to go back is one rename that needs no space.
const (
	intentName  = "intent"  // decided: it must become real
	recordName  = "record"  // the same, of a small one, with the contents of its files
	abortName   = "abort"   // besides the intent: it must be undone
	appliedName = "applied" // all is in the workspace, durably; it must be recorded
	doneName    = "done"    // recorded; the old objects go to the store
	spareName   = "spare"   // becomes abortName
	draftName   = "draft"   // becomes intentName
)

func (s *Space) begin(in *intent) (*tx, error) {
	x := &tx{intent: in, space: s, name: "tx-" + in.Tx, small: s.small(in.Ops), final: make([]Fingerprint, len(in.Ops)), layers: make([]*Layer, len(in.Ops))}
	s.at("begin")
	if err := unix.Mkdirat(s.meta.fd, x.name, 0o700); err != nil {
		return nil, pathError(x.name, err)
	}
	return x, x.open()
}

func (x *tx) open() (err error) {
	if x.dir, err = x.space.meta.sub(x.name); err != nil {
		return err
	}
	if err := unix.Flock(x.dir.fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		x.dir.close()
		return fmt.Errorf("transaction %s: %w", x.Tx, ErrBusy)
	}
	return nil
}

func (x *tx) remove() error {
	x.space.at("clean")
	return x.space.meta.removeAll(x.name)
}

// stage brings all new objects into the transaction's directory, as they shall be.
func (x *tx) stage(ctx context.Context, froms []*Layer) error {
	for i := range x.Ops {
		if err := ctx.Err(); err != nil {
			return err
		}
		o := &x.Ops[i]
		if !o.brings() {
			continue
		}
		x.space.at("stage")
		err := x.put(o, func() (err error) {
			x.layers[i], err = x.space.take(Change{Path: o.Path, After: o.After}, froms[i], x.dir.fd, o.Stage)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// put makes the new object of an operation in the transaction's directory; if it is a file, by calling file.
func (x *tx) put(o *op, file func() error) (err error) {
	switch o.After.Kind {
	case File:
		err = file()
	case Dir:
		if err = unix.Mkdirat(x.dir.fd, o.Stage, 0o700); err == nil {
			err = unix.Fchmodat(x.dir.fd, o.Stage, o.After.Mode|0o700, 0)
		}
	case Link:
		err = unix.Symlinkat(o.After.Target, x.dir.fd, o.Stage)
	}
	if err != nil {
		return fmt.Errorf("stage %s: %w", Quote(o.Path), err)
	}
	fp, err := statAt(x.dir.fd, o.Stage)
	if err != nil {
		return pathError(o.Path, err)
	}
	mode := o.Post.Mode
	if o.Post = fp; fp.Kind == Dir {
		o.Post.Mode = mode
	}
	return nil
}

// prepare makes durable all that is needed once it is decided.
func (x *tx) prepare() error {
	files := []string{draftName}
	for i := range x.Ops {
		if o := &x.Ops[i]; o.brings() && o.After.Kind == File {
			files = append(files, o.Stage)
		}
	}
	for name, b := range map[string][]byte{draftName: x.encode(), spareName: nil} { // order: two files
		x.space.at(name)
		if err := x.create(name, b); err != nil {
			return err
		}
	}
	return together([]func() error{
		func() error { return x.space.sync("stage-sync", x.dir, files, x.space.meta.fd) },
		x.space.settleJournal,
	})
}

func (x *tx) create(name string, b []byte) error {
	fd, err := retry(func() (int, error) {
		return unix.Openat(x.dir.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return pathError(x.name+"/"+name, err)
	}
	defer unix.Close(fd)
	return pathError(x.name+"/"+name, writeAll(fd, b))
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(fd, b) })
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Up to fewFiles are synced each on its own, wide at a time so that they share the file system's commits; more by
// syncing the whole file system.
const (
	fewFiles = 300
	wide     = 16
)

// sync makes files of a directory, the directory itself and some more descriptors durable. An error is final: the
// kernel reports it once, and forgets.
func (s *Space) sync(what string, dir dirfd, files []string, more ...int) error {
	s.at(what)
	if len(files) > fewFiles {
		return pathError(what, unix.Syncfs(dir.fd))
	}
	jobs := []func() error{func() error { return s.fsync(dir.fd) }}
	for _, fd := range more {
		jobs = append(jobs, func() error { return s.fsync(fd) })
	}
	for _, p := range files {
		jobs = append(jobs, func() error {
			fd, err := openLent(dir.fd, p)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return s.fsync(fd)
		})
	}
	return pathError(what, together(jobs))
}

// fsyncAt syncs a file or directory.
func (s *Space) fsyncAt(dir dirfd, p string) error {
	fd, err := dir.open(p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return s.fsync(fd)
}

// together runs jobs, wide at a time, and gives the first error.
func together(jobs []func() error) error {
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(wide, len(jobs)) {
		wg.Go(func() {
			for i := range next {
				errs[i] = jobs[i]()
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// take brings a file from its layer, or else from the store, to a new name: with its mode, and an inode that nobody
// else has. It gives the layer if it was moved out of it.
func (s *Space) take(c Change, from *Layer, fd int, name string) (*Layer, error) {
	if from != nil {
		src, held, err := from.open(c.Path)
		if err != nil {
			return nil, err
		}
		if held {
			defer unix.Close(src)
			var st unix.Stat_t
			if err := unix.Fstat(src, &st); err != nil {
				return nil, err
			}
			if st.Nlink > 1 || from.in.memory {
				return nil, copyTo(src, &st, c.After.Mode, fd, name)
			}
			return from, from.moveOut(c, src, &st, fd, name)
		}
	}
	return nil, s.fromStore(c, fd, name)
}

// moveOut renames a file out of the layer and takes off what overlayfs noted on it.
func (l *Layer) moveOut(c Change, src int, st *unix.Stat_t, fd int, name string) error {
	mode := st.Mode & 0o7777
	err := stripXattrs(src)
	if err == unix.EACCES { // a file that may not be written to
		mode |= 0o600
		if err = unix.Fchmod(src, mode); err == nil {
			err = stripXattrs(src)
		}
	}
	if err == nil && mode != c.After.Mode {
		err = unix.Fchmod(src, c.After.Mode)
	}
	if err != nil {
		return err
	}
	upper, err := l.in.dir.sub(l.upper())
	if err != nil {
		return err
	}
	defer upper.close()
	return moveFrom(upper)(c, fd, name)
}

func stripXattrs(fd int) error {
	var room [4096]byte
	n, err := unix.Flistxattr(fd, room[:])
	if err == unix.ENOTSUP || n == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(string(room[:n]), "\x00") {
		if !strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		if err := unix.Fremovexattr(fd, name); err != nil && err != unix.ENODATA {
			return err
		}
	}
	return nil
}

// copyTo copies a file with its times, and with its holes.
func copyTo(src int, st *unix.Stat_t, mode uint32, fd int, name string) error {
	h, err := retry(func() (int, error) {
		return unix.Openat(fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return err
	}
	defer unix.Close(h)
	if err := copyData(h, src, st.Size); err != nil {
		return err
	}
	if err := unix.Fchmod(h, mode); err != nil {
		return err
	}
	return unix.UtimesNanoAt(fd, name, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

func copyData(dst, src int, size int64) error {
	if unix.IoctlFileClone(dst, src) == nil {
		return nil
	}
	for at := int64(0); at < size; {
		data, err := unix.Seek(src, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(src, data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for in, out := data, data; in < end; {
			n, err := unix.CopyFileRange(src, &in, dst, &out, int(min(end-in, 1<<30)), 0)
			if err == unix.EXDEV || err == unix.EINVAL { // from memory to the disk
				if _, err = unix.Seek(dst, out, unix.SEEK_SET); err == nil {
					n, err = unix.Sendfile(dst, src, &in, int(min(end-in, 1<<30)))
				}
				out += int64(n)
			}
			if err != nil {
				return err
			}
			if n == 0 {
				return errors.New("file got shorter while it was copied")
			}
		}
		at = end
	}
	return unix.Ftruncate(dst, size)
}

// unstage puts files back into the layers they were taken from: the set is as it was.
func (x *tx) unstage() error {
	var errs []error
	for i, l := range x.layers {
		if l != nil {
			errs = append(errs, l.putBack(x.Ops[i], x.dir.fd))
		}
	}
	return errors.Join(errs...)
}

func (l *Layer) putBack(o op, fd int) error {
	full := l.upper() + "/" + o.Path
	return l.in.dir.lend(full, func() error {
		at, name, err := l.in.dir.parent(full)
		if err != nil {
			return err
		}
		defer unix.Close(at)
		err = unix.Renameat2(fd, o.Stage, at, name, unix.RENAME_NOREPLACE)
		if err == unix.ENOENT { // it never got here, or went to what is kept
			return nil
		}
		return pathError(o.Path, err)
	})
}

// decide is the point from which the transaction happens.
func (x *tx) decide() error {
	if x.small {
		return x.decideSmall()
	}
	x.space.at("intent")
	if err := unix.Renameat(x.dir.fd, draftName, x.dir.fd, intentName); err != nil {
		return pathError(intentName, err)
	}
	x.space.at("intent-sync")
	if err := x.space.fsync(x.dir.fd); err != nil {
		// it may or may not be on the disk; it must not be when we say that it failed
		return errors.Join(pathError(intentName, err), unix.Renameat(x.dir.fd, intentName, x.dir.fd, draftName))
	}
	return nil
}

// forward makes what is decided real, from wherever it is. If that cannot be, it goes back instead.
func (x *tx) forward() (Receipt, error) {
	if err := x.change(); err != nil {
		return Receipt{}, x.abort(err)
	}
	if err := x.syncDirs(); err != nil {
		return Receipt{}, x.abort(err)
	}
	x.space.at("applied")
	if err := unix.Renameat(x.dir.fd, intentName, x.dir.fd, appliedName); err != nil {
		return Receipt{}, x.abort(pathError(appliedName, err))
	}
	r := x.receipt(x.final)
	synced := make(chan error, 1)
	go func() { synced <- x.space.fsync(x.dir.fd) }()
	err := x.space.record(r)
	if err = errors.Join(err, <-synced); err == nil {
		return r, nil
	}
	// not recorded, so it must not stay
	if back := unix.Renameat(x.dir.fd, appliedName, x.dir.fd, intentName); back != nil {
		return Receipt{}, errors.Join(err, back)
	}
	return Receipt{}, x.abort(fmt.Errorf("record transaction %s: %w", x.Tx, err))
}

// change applies all operations.
func (x *tx) change() error {
	x.loosen()
	for i := range x.Ops {
		if err := x.apply(i); err != nil {
			return err
		}
	}
	return x.tighten()
}

func (in *intent) receipt(final []Fingerprint) Receipt {
	r := Receipt{Tx: in.Tx, Set: in.Set, Note: in.Note}
	for i, o := range in.Ops {
		if o.Does == lend {
			continue
		}
		d := Done{Path: o.Path, Before: o.Before, After: o.After}
		if final != nil {
			d.Final = final[i]
		}
		r.Ops = append(r.Ops, d)
	}
	slices.SortFunc(r.Ops, func(a, b Done) int { return strings.Compare(a.Path, b.Path) })
	return r
}

// conflict says that somebody was faster.
func (o *op) conflict(is Fingerprint, why string) error {
	return &ConflictError{Paths: []Conflict{{Path: o.Path, Was: o.Base, Is: is, Want: o.After, Why: why}}}
}

// state tells how far an operation is.
type state int

const (
	pristine state = iota
	applied
	foreign // neither what was there nor what we put there
)

func (x *tx) state(o *op) (state, Fingerprint, error) {
	is, err := x.space.root.stat(o.Path)
	switch {
	case errors.Is(err, ErrOutside): // somebody mounted something on its way
		return foreign, is, nil
	case errors.Is(err, ErrSymlink): // what is below a link is not there, for us
		is, err = Fingerprint{}, nil
	}
	if err != nil {
		return foreign, is, err
	}
	same := is.Kind == o.Base.Kind && is.Ino == o.Base.Ino
	switch o.Does {
	case chmod, lend:
		switch {
		case !same:
			return foreign, is, nil
		case is.Mode == o.Post.Mode, is.Kind == Dir && is.Mode == o.Post.Mode|0o700:
			return applied, is, nil
		case is.Mode == o.Base.Mode:
			return pristine, is, nil
		}
		return foreign, is, nil
	case remove:
		old, err := statAt(x.dir.fd, o.Stage)
		switch {
		case err != nil:
			return foreign, is, err
		case old.Kind != Absent && is.Kind == Absent:
			return applied, is, nil
		case old.Kind == Absent && o.undisturbed(is):
			return pristine, is, nil
		}
		return foreign, is, nil
	}
	switch {
	case is.Kind == o.Post.Kind && is.Ino == o.Post.Ino:
		return applied, is, nil
	case o.undisturbed(is):
		return pristine, is, nil
	}
	return foreign, is, nil
}

// undisturbed tells whether fp is what was there before, moved perhaps. A directory may have been opened up meanwhile.
func (o *op) undisturbed(fp Fingerprint) bool {
	if fp.Kind == Dir {
		fp.Mode = o.Base.Mode
	}
	return SameMoved(fp, o.Base)
}

func (x *tx) apply(i int) error {
	o := &x.Ops[i]
	st, is, err := x.state(o)
	if err != nil {
		return err
	}
	switch st {
	case foreign:
		return o.conflict(is, "")
	case applied:
		if o.Does == lend && is.Mode != o.Post.Mode|0o700 {
			break // what is lent looks as if it had never been
		}
		return nil
	}
	fd, name, err := x.space.root.parent(o.Path)
	if isGone(err) {
		return o.conflict(is, "has no directory any more")
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	switch o.Does {
	case chmod, lend:
		x.space.at("chmod")
		mode := o.Post.Mode
		if o.Base.Kind == Dir {
			mode |= 0o700
		}
		if err := chmodAt(fd, name, o.Base.Ino, mode); err != nil {
			return x.failed(o, err)
		}
		x.final[i], err = statAt(fd, name)
		return err
	case add:
		x.space.at("add")
		if err := unix.Renameat2(x.dir.fd, o.Stage, fd, name, unix.RENAME_NOREPLACE); err != nil {
			return x.failed(o, err)
		}
		x.final[i], err = statAt(fd, name)
		return err
	}
	if o.Does == remove {
		x.space.at("remove")
	} else {
		x.space.at("exchange")
	}
	if o.Base.Kind == File { // it is held from here to the rename
		free, release := lease(fd, name)
		defer release()
		if !free {
			return o.conflict(is, "is open for writing")
		}
	}
	if o.Does == remove {
		err = unix.Renameat2(fd, name, x.dir.fd, o.Stage, unix.RENAME_NOREPLACE)
	} else {
		err = unix.Renameat2(x.dir.fd, o.Stage, fd, name, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		return x.failed(o, err)
	}
	if x.final[i], err = statAt(fd, name); err != nil {
		return err
	}
	// what did we take away?
	old, err := statAt(x.dir.fd, o.Stage)
	if err != nil {
		return err
	}
	if !o.undisturbed(old) {
		return o.conflict(old, "changed at the last moment")
	}
	if old.Kind == Dir {
		d, err := x.dir.sub(o.Stage)
		if err != nil {
			return err
		}
		defer d.close()
		if list, err := names(d.fd); err != nil || len(list) > 0 {
			return errors.Join(err, o.conflict(old, "got something new in it at the last moment"))
		}
	}
	return nil
}

// failed tells a conflict from other errors of a change.
func (x *tx) failed(o *op, err error) error {
	switch err {
	case unix.ENOENT, unix.EEXIST, unix.ENOTDIR, errReplaced:
		is, _ := x.space.root.stat(o.Path)
		return o.conflict(is, "changed at the last moment")
	}
	return &fs.PathError{Op: "change", Path: o.Path, Err: err}
}

// lease asks the kernel whether anybody has a file open for writing, or mapped: then it cannot be displaced safely.
// Where there are no leases (another's file, some file systems) it is taken to be free.
func lease(fd int, name string) (free bool, release func()) {
	h, err := retry(func() (int, error) {
		return unix.Openat(fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return true, func() {}
	}
	_, err = unix.FcntlInt(uintptr(h), unix.F_SETLEASE, unix.F_RDLCK)
	return err != unix.EAGAIN, func() { unix.Close(h) } // which drops the lease
}

// tighten gives directories the modes that they were not given at once.
func (x *tx) tighten() error {
	for i := range slices.Backward(x.Ops) {
		o := &x.Ops[i]
		if o.Post.Kind == Dir && o.Post.Mode&0o700 != 0o700 {
			fd, name, err := x.space.root.parent(o.Path)
			if isGone(err) && (o.Does == lend || x.redoing) {
				continue // it was lent in order to be deleted
			}
			if err != nil {
				return err
			}
			x.space.at("tighten")
			err = chmodAt(fd, name, o.Post.Ino, o.Post.Mode)
			unix.Close(fd)
			if (o.Does == lend || x.redoing) && (err == unix.ENOENT || err == errReplaced) {
				continue
			}
			if err != nil {
				return x.failed(o, err)
			}
			x.final[i] = Fingerprint{}
		}
	}
	return x.look()
}

// look completes the final fingerprints.
func (x *tx) look() error {
	for i, o := range x.Ops {
		if f := x.final[i]; o.Post.Kind == Absent || f.Kind != Absent && f.Kind != Dir {
			continue
		}
		is, err := x.space.root.stat(o.Path)
		if err != nil && !errors.Is(err, fs.ErrPermission) { // its directory was shut, as it shall be
			return err
		}
		x.final[i] = is
	}
	for i, o := range x.Ops { // an edit made meanwhile is not what we put there
		f := x.final[i]
		if o.Post.Kind == Dir {
			f.UID, f.GID = o.Post.UID, o.Post.GID
		}
		if !SameMoved(f, o.Post) {
			x.final[i] = Fingerprint{}
		}
	}
	return nil
}

// syncDirs makes what was changed in directories durable.
func (x *tx) syncDirs() error {
	seen := map[string]bool{}
	var dirs []string
	for _, o := range x.Ops {
		dir, _ := split(o.Path)
		if o.Does == chmod {
			dir = o.Path
		}
		if !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) > fewFiles {
		x.space.at("dirs-sync")
		return pathError(".", unix.Syncfs(x.dir.fd))
	}
	x.space.at("dirs-sync")
	jobs := []func() error{func() error { return x.space.fsync(x.dir.fd) }}
	for _, p := range dirs {
		jobs = append(jobs, func() error {
			err := x.space.fsyncAt(x.space.root, p)
			if err == unix.EACCES { // shut
				err = unix.Syncfs(x.dir.fd)
			}
			if isGone(err) || err == unix.ELOOP {
				return nil // gone: the sync of its parent covers that
			}
			return pathError(p, err)
		})
	}
	return together(jobs)
}

// abort decides durably to go back, and does. It gives the error to report.
func (x *tx) abort(why error) error {
	if x.small { // going back looks at what is there, and the power must not take that away
		if err := x.sync(); err != nil {
			return errors.Join(why, err)
		}
	}
	x.space.at("abort")
	if err := unix.Renameat(x.dir.fd, spareName, x.dir.fd, abortName); err != nil {
		return errors.Join(why, pathError(abortName, err))
	}
	x.space.at("abort-sync")
	if err := x.space.fsync(x.dir.fd); err != nil {
		return errors.Join(why, pathError(abortName, err))
	}
	kept, err := x.backward(why.Error())
	if c, ok := errors.AsType[*ConflictError](why); ok {
		c.Kept = kept
	}
	return errors.Join(why, err)
}

// backward undoes what is applied, in reverse, and touches nothing that is not exactly what we put there.
func (x *tx) backward(why string) (kept []string, err error) {
	x.loosen()
	var errs []error
	for i := range slices.Backward(x.Ops) {
		name, err := x.undo(&x.Ops[i])
		if name != "" {
			kept = append(kept, Meta+"/"+name)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return kept, errors.Join(errs...) // the next recovery tries again
	}
	if err := x.syncDirs(); err != nil {
		return kept, err
	}
	r := x.receipt(nil)
	r.Aborted = why
	if err := x.space.record(r); err != nil {
		// the journal may hold by halves that it was done: the next recovery tries again
		return kept, errors.Join(err, x.unstage())
	}
	x.space.at("intent-remove")
	decided := intentName
	if x.small {
		decided = recordName
	}
	if err := unix.Unlinkat(x.dir.fd, decided, 0); err != nil {
		return kept, pathError(decided, err)
	}
	if err := x.space.fsync(x.dir.fd); err != nil {
		return kept, pathError(x.name, err)
	}
	return kept, errors.Join(x.unstage(), x.remove())
}

// loosen opens the directories again that tighten may have shut.
func (x *tx) loosen() {
	for i := range x.Ops {
		o := &x.Ops[i]
		if o.Post.Kind != Dir || o.Post.Mode&0o700 == 0o700 && o.Base.Mode&0o700 == 0o700 {
			continue
		}
		st, is, err := x.state(o)
		if x.redoing && is.Kind == Dir && is.Mode == o.Post.Mode { // made again by a recovery that died too
			st, o.Post.Ino = applied, is.Ino
		}
		if err != nil || st != applied {
			continue
		}
		if fd, name, err := x.space.root.parent(o.Path); err == nil {
			_ = chmodAt(fd, name, o.Post.Ino, o.Post.Mode|0o700) // if it fails, so does what needs it, and says so
			unix.Close(fd)
		}
	}
}

func (x *tx) undo(o *op) (kept string, err error) {
	st, is, err := x.state(o)
	switch {
	case err != nil:
		return "", err
	case st == pristine:
		return "", nil
	case st == foreign, o.Does != remove && o.Post.Kind == File && o.Does != chmod && !SameMoved(is, o.Post):
		return x.keep(o)
	}
	fd, name, err := x.space.root.parent(o.Path)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	x.space.at("undo")
	switch o.Does {
	case chmod, lend:
		err = chmodAt(fd, name, o.Base.Ino, o.Base.Mode)
	case remove:
		err = unix.Renameat2(x.dir.fd, o.Stage, fd, name, unix.RENAME_NOREPLACE)
	case add:
		if o.Post.Kind == Dir { // somebody's file may be in it by now: then it stays
			d, err := x.space.root.sub(o.Path)
			if err != nil {
				return "", err
			}
			defer d.close()
			if list, err := names(d.fd); err != nil || len(list) > 0 {
				return "", err
			}
		}
		err = unix.Renameat2(fd, name, x.dir.fd, o.Stage, unix.RENAME_NOREPLACE)
	default:
		err = unix.Renameat2(x.dir.fd, o.Stage, fd, name, unix.RENAME_EXCHANGE)
	}
	return "", pathError(o.Path, err)
}

// keep puts the object that the transaction holds for a path aside, for a person: something else is in its place.
func (x *tx) keep(o *op) (string, error) {
	if o.Does == chmod || o.Does == lend {
		return "", nil
	}
	if fp, err := statAt(x.dir.fd, o.Stage); err != nil || fp.Ino == o.Post.Ino {
		return "", err // ours: it never left
	}
	d := cas.Sum([]byte(x.Tx + "\x00" + o.Path))
	name := "kept-" + d.String()[:16]
	x.space.at("keep")
	switch err := unix.Renameat2(x.dir.fd, o.Stage, x.space.meta.fd, name, unix.RENAME_NOREPLACE); err {
	case nil:
		return name, nil
	case unix.ENOENT: // nothing was displaced
		return "", nil
	default:
		return "", pathError(o.Path, err)
	}
}

// finish hands the displaced objects to the store, where undo finds them, while the caller goes on.
func (x *tx) finish() {
	x.space.at("done")
	x.handOver(pathError(doneName, unix.Renameat(x.dir.fd, appliedName, x.dir.fd, doneName)))
}

func (x *tx) handOver(err error) {
	own := *x
	if err == nil {
		own.dir.fd, err = unix.FcntlInt(uintptr(x.dir.fd), unix.F_DUPFD_CLOEXEC, 0) // shares the lock
	}
	if err != nil {
		x.space.late(err) // the next recovery does it
		return
	}
	x.space.background.Go(func() {
		defer own.dir.close()
		if err := own.adopt(); err != nil {
			x.space.late(err)
		}
	})
}

func (x *tx) adopt() error {
	for _, o := range x.Ops {
		if o.Base.Kind != File || o.Does != exchange && o.Does != remove {
			continue
		}
		x.space.at("adopt")
		err := x.space.store.Adopt(filepath.Join(x.space.path, Meta, x.name, o.Stage), o.Before.Digest)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // that one is there already
			return err
		}
	}
	return x.remove()
}
