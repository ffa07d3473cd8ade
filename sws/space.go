package sws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp/cas"
)

// Options configure a Space.
type Options struct {
	Slots   int        // how many commands run at once; 0 means 1
	Overlay string     // "overlay", "copy", or "auto" (also ""): overlay where the machine can
	Hide    []string   // absolute paths outside the workspace that commands must not see
	Journal Journal    // nil: collapses are not recorded
	Store   *cas.Store // nil: the workspace's own, in .jitos/objects

	memoryFS string             // tests have another; "" is where Linux has it
	noSmall  bool               // tests have no transaction decided by a record
	fsync    func(fd int) error // tests leave it out; nil: the kernel's
}

// Space is a workspace: a tree of files that people own, and what is ours in its directory .jitos. Safe for concurrent
// use, except that a slot runs one command at a time.
type Space struct {
	path    string
	root    dirfd // the workspace
	meta    dirfd // .jitos
	options Options
	store   *cas.Store
	journal Journal

	memoryFS    string // where small layers lie, while so much of it is free
	memoryLeast uint64 // bytes

	mu         sync.Mutex // one transaction at a time; between processes a lock on meta says so
	recovered  []Recovery
	announced  *tx // the small one that is to be settled
	background sync.WaitGroup
	lateMu     sync.Mutex
	lateErr    error
	step       func(what string) // tests stop here; nil else

	backendMu  sync.Mutex
	running    *backend // nil until the first command
	backendErr error
}

// Recovery says what became of a transaction that a process left unfinished.
type Recovery struct {
	Tx      string
	Outcome string   // "finished", "undone", or "dropped": it had not been decided yet
	Why     string   // of one that was undone
	Kept    []string // where things of others that were in the way have been put, relative to the workspace
}

// Open opens the workspace in root. Before it returns, transactions that died in the middle are finished or undone, and
// what dead runs left is on its way out.
func Open(root string, o Options) (*Space, error) { return openStepping(root, o, nil) }

// openStepping is Open for tests that stop between the steps.
func openStepping(root string, o Options, step func(what string)) (*Space, error) {
	path, err := filepath.Abs(root)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, err
	}
	s := &Space{path: path, options: o, store: o.Store, journal: o.Journal, step: step, memoryFS: memoryFS, memoryLeast: memoryLeast}
	if o.memoryFS != "" {
		s.memoryFS, s.memoryLeast = o.memoryFS, 0
	}
	if s.root, err = openDirfd(path, theirs); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		s.root.close()
		return nil, err
	}
	return s, nil
}

func (s *Space) open() (err error) {
	if err := unix.Mkdirat(s.root.fd, Meta, 0o700); err != nil && err != unix.EEXIST {
		return pathError(Meta, err)
	}
	if s.meta, err = s.root.sub(Meta); err != nil {
		return err
	}
	s.meta.resolve = ours
	if err := s.furnish(); err != nil {
		s.meta.close()
		return err
	}
	return nil
}

func (s *Space) furnish() (err error) {
	ignore, err := retry(func() (int, error) {
		return unix.Openat(s.meta.fd, ".gitignore", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	})
	if err == nil {
		err = errors.Join(writeAll(ignore, []byte("*\n")), unix.Close(ignore))
	}
	if err != nil && err != unix.EEXIST {
		return pathError(Meta+"/.gitignore", err)
	}
	if err := unix.Mkdirat(s.meta.fd, "sws", 0o700); err != nil && err != unix.EEXIST {
		return pathError(Meta+"/sws", err)
	}
	if s.store == nil {
		if s.store, err = cas.Open(filepath.Join(s.path, Meta, "objects")); err != nil {
			return err
		}
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.recoverAll(); err != nil {
		return err
	}
	return s.sweep()
}

// at tells a test which step comes next.
func (s *Space) at(what string) {
	if s.step != nil {
		s.step(what)
	}
}

// fsync makes a file or directory durable.
func (s *Space) fsync(fd int) error {
	if s.options.fsync != nil {
		return s.options.fsync(fd)
	}
	return unix.Fsync(fd)
}

// late keeps an error of what goes on in the background.
func (s *Space) late(err error) {
	s.lateMu.Lock()
	defer s.lateMu.Unlock()
	s.lateErr = errors.Join(s.lateErr, err)
}

// lock makes us the only one who changes the workspace, in all processes.
func (s *Space) lock() (unlock func(), err error) {
	s.mu.Lock()
	if _, err := retry(func() (int, error) { return 0, unix.Flock(s.meta.fd, unix.LOCK_EX) }); err != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("lock %s: %w", filepath.Join(s.path, Meta), err)
	}
	return func() {
		unix.Flock(s.meta.fd, unix.LOCK_UN)
		s.mu.Unlock()
	}, nil
}

// Recovered tells what Open, or a later collapse, did with the transactions of dead processes.
func (s *Space) Recovered() []Recovery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.recovered)
}

func (s *Space) recoverAll() error {
	list, err := names(s.meta.fd)
	if err != nil {
		return pathError(Meta, err)
	}
	for _, n := range list {
		if id, ok := strings.CutPrefix(n, "tx-"); ok {
			err := s.recover(id, n)
			if errors.Is(err, ErrBusy) && !s.unsettled(n) {
				continue // it is being cleaned up
			}
			if err != nil {
				return fmt.Errorf("recover transaction %s: %w", id, err)
			}
		}
	}
	return nil
}

func (s *Space) recover(id, name string) error {
	x := &tx{intent: &intent{Tx: id}, space: s, name: name}
	if err := x.open(); err != nil {
		return err
	}
	defer x.dir.close()
	record := func(name string) (bool, error) {
		b, err := readSmall(x.dir, name)
		if isGone(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		in, err := decodeIntent(b)
		if err == nil && in == nil {
			err = errRecord
		}
		if err != nil {
			// it was whole once: the disk lost something. Nothing here may be thrown away.
			kept := "kept-" + name
			return false, errors.Join(fmt.Errorf("%s/%s/%s: %w; moved to %s", Meta, x.name, name, err, kept),
				unix.Renameat(s.meta.fd, x.name, s.meta.fd, kept))
		}
		x.intent, x.final = in, make([]Fingerprint, len(in.Ops))
		return true, nil
	}
	if decided, err := s.recoverSmall(x); err != nil || decided {
		return err
	}
	done, err := record(doneName)
	if err != nil || done {
		return errors.Join(err, x.adoptIf(done))
	}
	applied, err := record(appliedName)
	if err != nil {
		return err
	}
	if applied {
		if err := errors.Join(x.look(), s.fsync(x.dir.fd)); err != nil {
			return err
		}
		if err := s.record(x.receipt(x.final)); err != nil {
			return err
		}
		s.recovered = append(s.recovered, Recovery{Tx: id, Outcome: "finished"})
		x.finish()
		return nil
	}
	decided, err := record(intentName)
	if err != nil {
		return err
	}
	if !decided {
		s.recovered = append(s.recovered, Recovery{Tx: id, Outcome: "dropped"})
		return x.remove()
	}
	if fp, err := statAt(x.dir.fd, abortName); err != nil || fp.Kind != Absent {
		const why = "it was being undone when its process ended"
		kept, berr := x.backward(why)
		s.recovered = append(s.recovered, Recovery{Tx: id, Outcome: "undone", Why: why, Kept: kept})
		return errors.Join(err, berr)
	}
	_, err = x.forward()
	if err == nil {
		s.recovered = append(s.recovered, Recovery{Tx: id, Outcome: "finished"})
		x.finish()
		return nil
	}
	if fp, serr := statAt(s.meta.fd, x.name); serr != nil || fp.Kind != Absent {
		return err // it could not go back either
	}
	r := Recovery{Tx: id, Outcome: "undone", Why: err.Error()}
	if c, ok := errors.AsType[*ConflictError](err); ok {
		r.Kept = c.Kept
	}
	s.recovered = append(s.recovered, r)
	return nil
}

func (x *tx) adoptIf(done bool) error {
	if !done {
		return nil
	}
	return x.adopt()
}

func readSmall(d dirfd, p string) ([]byte, error) {
	fd, err := d.open(p, unix.O_RDONLY, 0)
	if err != nil {
		return nil, pathError(p, err)
	}
	defer unix.Close(fd)
	return readAll(fd, 64<<10)
}

// sweep removes the layers of runs that are no more.
func (s *Space) sweep() error {
	d, err := s.meta.sub("sws")
	if err != nil {
		return err
	}
	list, err := names(d.fd)
	if err != nil {
		d.close()
		return pathError("sws", err)
	}
	var dead []string
	for _, n := range list {
		if strings.HasPrefix(n, "dead-") {
			dead = append(dead, n)
			continue
		}
		if _, err := strconv.Atoi(n); err != nil {
			continue
		}
		own, err := d.sub(n)
		if err != nil {
			d.close()
			return err
		}
		held, herr := statAt(own.fd, heldName)
		if unix.Flock(own.fd, unix.LOCK_EX|unix.LOCK_NB) == nil && herr == nil && held.Kind == Absent {
			if err = unix.Renameat(d.fd, n, d.fd, "dead-"+n); err == nil {
				dead = append(dead, "dead-"+n)
			}
		}
		own.close()
		if err != nil {
			d.close()
			return pathError("sws/"+n, err)
		}
	}
	s.bury(d, dead)
	return s.sweepMemory()
}

// bury removes trees in the background.
func (s *Space) bury(d dirfd, dead []string) {
	s.background.Go(func() {
		defer d.close()
		for _, n := range dead {
			if err := d.removeSet(n); err != nil {
				s.late(err)
			}
		}
	})
}

// Close ends all slots and waits for what goes on in the background. It reports what went wrong there: nothing that
// was acknowledged is lost by it, the next Open tries again.
func (s *Space) Close() error {
	s.backendMu.Lock()
	defer s.backendMu.Unlock()
	var err error
	if s.running != nil {
		err = s.running.close()
	}
	s.running, s.backendErr = nil, fs.ErrClosed
	err = errors.Join(err, s.Settle())
	s.background.Wait()
	if s.options.Store == nil {
		err = errors.Join(err, s.store.Close())
	}
	s.meta.close()
	s.root.close()
	s.lateMu.Lock()
	defer s.lateMu.Unlock()
	return errors.Join(err, s.lateErr)
}

// Undo reverses a receipt through the same door: each path must still have the content that the receipt left there,
// else it is a conflict and nothing changes. Undoing the receipt that it gives does it again. A directory that has got
// something else in it stays.
func (s *Space) Undo(ctx context.Context, tx string, done []Done, note []byte) (Receipt, error) {
	if err := s.Settle(); err != nil {
		return Receipt{}, err
	}
	s.background.Wait() // the old contents may be on their way to the store
	was := make(map[string]Done, len(done))
	for _, d := range done {
		was[d.Path] = d
	}
	base, err := NewBase(s.path, func(p string) (Fingerprint, cas.Digest, bool) {
		d, ok := was[p]
		return d.Final, d.After.Digest, ok && d.Final.Kind == File
	})
	if err != nil {
		return Receipt{}, err
	}
	defer base.Close()
	var conflicts []Conflict
	var staged []Staged
	goes := map[string]bool{}
	for _, d := range slices.Backward(slices.SortedFunc(slices.Values(done), func(a, b Done) int { return strings.Compare(a.Path, b.Path) })) {
		e, fp, err := base.EntryAt(d.Path)
		if err != nil {
			return Receipt{}, err
		}
		if e != d.After {
			conflicts = append(conflicts, Conflict{Path: d.Path, Was: d.Final, Is: fp, Want: d.Before, Why: "is not what was put there"})
			continue
		}
		if d.After.Kind == Dir && d.Before.Kind != Dir {
			list, _, err := base.Dir(d.Path)
			if err != nil {
				return Receipt{}, err
			}
			other := func(n string) bool { return !goes[join(d.Path, n)] }
			if slices.ContainsFunc(list, other) {
				if d.Before.Kind == Absent {
					continue
				}
				conflicts = append(conflicts, Conflict{Path: d.Path, Was: d.Final, Is: fp, Want: d.Before, Why: "has got something else in it"})
				continue
			}
		}
		goes[d.Path] = d.Before.Kind == Absent
		staged = append(staged, Staged{Change: Change{Path: d.Path, After: d.Before}})
	}
	if len(conflicts) > 0 {
		slices.Reverse(conflicts)
		return Receipt{}, &ConflictError{Paths: conflicts}
	}
	slices.Reverse(staged)
	all := func(string, bool) error { return nil } // what the run was allowed, its undo is
	return s.commit(ctx, base, 0, Transaction{Tx: tx, Changes: staged, Allowed: all, Note: note})
}

// Isolation says how commands are kept apart: "overlay", or "copy" with the reason why it is not overlay. It tries.
func (s *Space) Isolation(ctx context.Context) string {
	b, err := s.backend(ctx)
	if err != nil {
		return "none (" + err.Error() + ")"
	}
	return b.name
}

// backend is how commands get their view: one of two ways.
type backend struct {
	name  string
	pool  *sandbox.Pool
	copy  bool
	trees []*copyTree // by slot
}

// backend starts it if need be.
func (s *Space) backend(ctx context.Context) (*backend, error) {
	s.backendMu.Lock()
	defer s.backendMu.Unlock()
	if s.running == nil && s.backendErr == nil {
		s.running, s.backendErr = s.start(ctx)
	}
	return s.running, s.backendErr
}

// start decides between the backends by trying.
func (s *Space) start(ctx context.Context) (*backend, error) {
	o := sandbox.Options{Slots: max(s.options.Slots, 1), Workspace: s.path, Hide: s.options.Hide}
	var why error
	switch s.options.Overlay {
	case "", "auto", "overlay":
		pool, err := s.tryOverlay(ctx, o)
		if err == nil {
			return &backend{name: "overlay", pool: pool}, nil
		}
		if s.options.Overlay == "overlay" || ctx.Err() != nil {
			return nil, fmt.Errorf("overlay is not available: %w", err)
		}
		why = err
	case "copy":
		why = errors.New("as asked")
	default:
		return nil, fmt.Errorf("no such way to isolate commands: %q", s.options.Overlay)
	}
	b := &backend{name: fmt.Sprintf("copy (%v)", why), copy: true}
	o.Mode = sandbox.Plain
	for i := range o.Slots {
		t, err := s.openTree(i)
		if err != nil {
			return nil, errors.Join(err, b.close())
		}
		b.trees = append(b.trees, t)
		o.Writable = append(o.Writable, t.path)
	}
	var err error
	if b.pool, err = sandbox.New(o); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// ownership is the owner and group of the workspace's directory.
func (s *Space) ownership() (Fingerprint, error) {
	var st unix.Stat_t
	err := unix.Fstat(s.root.fd, &st)
	return fingerprint(&st), pathError(".", err)
}

// notOurs says of a workspace that an overlay cannot change it for whom it belongs to.
func notOurs(fp Fingerprint) error {
	if os.Geteuid() == 0 || fp.UID == uint32(os.Geteuid()) && fp.GID == uint32(os.Getegid()) {
		return nil
	}
	return fmt.Errorf("the workspace belongs to user %d and group %d, and not to you (%d and %d)", fp.UID, fp.GID, os.Geteuid(), os.Getegid())
}

// Overlayable says why no overlay can change the tree below root, as far as that depends on whose it is; nil if one can.
func Overlayable(root string) error {
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		return pathError(root, err)
	}
	return notOurs(fingerprint(&st))
}

// tryOverlay gives a pool whose first slot has had a view like those that commands get.
func (s *Space) tryOverlay(ctx context.Context, o sandbox.Options) (*sandbox.Pool, error) {
	// The kernel cannot copy up what belongs to an owner or group that is not mapped: EOVERFLOW, in the middle of a step.
	if fp, err := s.ownership(); err != nil || notOurs(fp) != nil {
		return nil, cmp.Or(err, notOurs(fp))
	}
	const dir = "sws/dead-probe" // if we die here, a sweep finds it
	for _, d := range []string{dir, dir + "/u", dir + "/w", dir + "/l"} {
		if err := unix.Mkdirat(s.meta.fd, d, 0o755); err != nil && err != unix.EEXIST {
			return nil, pathError(d, err)
		}
	}
	pool, err := sandbox.New(o)
	if err != nil {
		return nil, err
	}
	at := func(p string) string { return filepath.Join(s.path, Meta, p) }
	_, err = pool.Run(ctx, 0, sandbox.Command{
		Argv: []string{"/"}, Dir: "/", // cannot be executed, need not be
		Overlay: &sandbox.Overlay{Lower: []string{at(dir + "/l"), s.path}, Hide: []string{Meta}, Upper: at(dir + "/u"), Work: at(dir + "/w")},
		Unmount: true,
	})
	if err = errors.Join(err, s.meta.removeAll(dir)); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return pool, nil
}

func (b *backend) close() error {
	var errs []error
	if b.pool != nil {
		errs = append(errs, b.pool.Close())
	}
	for _, t := range b.trees {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}

// Sets lists the ids of the sets that exist, ascending.
func (s *Space) Sets() ([]int, error) {
	d, err := s.meta.sub("sws")
	if err != nil {
		return nil, err
	}
	defer d.close()
	list, err := names(d.fd)
	if err != nil {
		return nil, pathError("sws", err)
	}
	var out []int
	for _, n := range list {
		if id, err := strconv.Atoi(n); err == nil {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Set is the working set of one run. Safe for concurrent use.
type Set struct {
	space *Space
	id    int
	base  *Base
	path  string
	dir   dirfd // locked as long as the set is in use
	disk  *room // in dir

	mu     sync.Mutex
	last   int
	memory *room // nil: not asked for yet, or there is none
	asked  bool
	flat   map[string]*Layer // layers made of many, by what they are made of
	held   *Transaction
	ended  bool // dir is closed, and its descriptor another's
}

// NewSet makes a working set over base. What an earlier set left under this number goes, unless it is in use: whoever
// gives the number away again knows nothing of that one.
func (s *Space) NewSet(id int, base *Base) (*Set, error) {
	unlock, err := s.lock() // a sweep must not find it before it is locked
	if err != nil {
		return nil, err
	}
	defer unlock()
	name := "sws/" + strconv.Itoa(id)
	err = unix.Mkdirat(s.meta.fd, name, 0o700)
	if err == unix.EEXIST {
		var left *Set
		if left, err = s.openSet(id, nil); err == nil {
			err = left.Discard()
		}
		if err != nil {
			return nil, err
		}
		err = unix.Mkdirat(s.meta.fd, name, 0o700)
	}
	if err != nil {
		return nil, pathError(Meta+"/"+name, err)
	}
	return s.openSet(id, base)
}

func (s *Space) openSet(id int, base *Base) (*Set, error) {
	name := "sws/" + strconv.Itoa(id)
	d, err := s.meta.sub(name)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.close()
		return nil, fmt.Errorf("set %d: %w", id, ErrBusy)
	}
	path := filepath.Join(s.path, Meta, name)
	return &Set{space: s, id: id, base: base, path: path, dir: d, disk: &room{path: path, dir: d}, flat: map[string]*Layer{}}, nil
}

// ID is the number that NewSet was given.
func (set *Set) ID() int { return set.id }

func (set *Set) number() int {
	set.mu.Lock()
	defer set.mu.Unlock()
	set.last++
	return set.last
}

// end says whether the set was in use until now.
func (set *Set) end() bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	was := !set.ended
	set.ended = true
	return was
}

// Discard ends the set: its layers and what was held go, in the background. After Discard or Close it does nothing.
func (set *Set) Discard() error {
	if !set.end() {
		return nil
	}
	set.leaveMemory()
	defer set.dir.close()
	d, err := set.space.meta.sub("sws")
	if isGone(err) { // somebody was faster
		return nil
	}
	if err != nil {
		return err
	}
	dead := fmt.Sprintf("dead-%d", set.id)
	err = d.removeAll(dead) // of an earlier set of that number
	if err == nil {
		err = unix.Renameat(d.fd, strconv.Itoa(set.id), d.fd, dead)
	}
	if err != nil {
		d.close()
		if isGone(err) {
			return nil
		}
		return pathError(set.path, err)
	}
	set.space.bury(d, []string{dead})
	return nil
}

// heldName is the file in a set's directory that says that it shall stay when its run is over.
const heldName = "held"

// Hold keeps the transaction for a later process: its contents go to the store, its changes and what the run saw of the
// workspace are written down. The caller may go on using the set. t.Allowed is not kept.
func (set *Set) Hold(t Transaction) error {
	for _, c := range t.Changes {
		if c.from == nil {
			continue
		}
		if err := set.Store(&Layer{set: c.from.set, in: c.from.in, n: c.from.n, held: c.from.held, changes: []Change{c.Change}}); err != nil {
			return err
		}
	}
	if err := set.space.store.Sync(); err != nil {
		return err
	}
	var w writer
	w.str(t.Tx)
	w.str(string(t.Note))
	w.num(int64(len(t.Changes)))
	for _, c := range t.Changes {
		w.str(c.Path)
		w.entry(c.After)
		w.flag(c.Fresh)
	}
	w.num(int64(len(t.Reads)))
	for _, r := range t.Reads {
		w.str(r.Path)
		w.print(r.Fingerprint)
	}
	if err := set.base.dump(&w, t.Changes); err != nil {
		return err
	}
	err := replaceFile(set.dir, heldName, seal(w.b))
	return errors.Join(err, pathError(set.path, unix.Fsync(set.dir.fd)))
}

// replaceFile writes a file durably and whole in place of an older one.
func replaceFile(d dirfd, name string, b []byte) error {
	fd, err := d.open(name+".tmp", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600)
	if err != nil {
		return pathError(name, err)
	}
	err = errors.Join(writeAll(fd, b), unix.Fsync(fd), unix.Close(fd))
	if err == nil {
		err = unix.Renameat(d.fd, name+".tmp", d.fd, name)
	}
	return pathError(name, err)
}

// OpenSet opens a set that was held, with the base as its run saw it. [Set.Held] gives what can be collapsed.
func (s *Space) OpenSet(id int) (*Set, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	set, err := s.openSet(id, nil)
	if err != nil {
		return nil, err
	}
	if err := set.load(); err != nil {
		set.dir.close()
		return nil, fmt.Errorf("set %d: %w", id, err)
	}
	return set, nil
}

func (set *Set) load() error {
	b, err := readSmall(set.dir, heldName)
	if err != nil {
		return err
	}
	body, ok := unseal(b)
	if !ok {
		return errRecord
	}
	r := reader{b: body}
	t := &Transaction{Tx: r.str(), Note: []byte(r.str())}
	for range r.count() {
		t.Changes = append(t.Changes, Staged{Change: Change{Path: r.str(), After: r.entry()}, Fresh: r.flag()})
	}
	for range r.count() {
		t.Reads = append(t.Reads, Read{r.str(), r.print()})
	}
	if set.base, err = NewBase(set.space.path, nil); err != nil {
		return err
	}
	set.base.undump(&r)
	if r.err != nil {
		return r.err
	}
	set.held = t
	list, err := names(set.dir.fd)
	for _, n := range list {
		if k, err := strconv.Atoi(strings.TrimRight(n, "uw")); err == nil {
			set.last = max(set.last, k)
		}
	}
	return err
}

// Held gives the transaction of a set that was opened with OpenSet. Its contents are in the store: a collection of
// garbage must spare the digests of its changes.
func (set *Set) Held() (t Transaction, ok bool) {
	if set.held == nil {
		return Transaction{}, false
	}
	return *set.held, true
}

// Close lets go of a set that is held. It is discarded by the next Open if it is not. After Discard or Close it does
// nothing.
func (set *Set) Close() error {
	if !set.end() {
		return nil
	}
	set.dir.close()
	set.leaveMemory()
	return nil
}

// Base is what the set is over.
func (set *Set) Base() *Base { return set.base }
