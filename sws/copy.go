package sws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// copyTree is how a slot gets its view where there is no overlay: a tree of its own, copied once and then moved from one
// view to the next by their difference. What a command changed is taken out of the tree into its layer.
type copyTree struct {
	path string
	dir  dirfd // the tree
	own  dirfd // what it lies in, locked
	have map[string]copied
	// stale are paths that may not be what the next view has.
	stale map[string]bool
	base  *Base // the one that all other paths are from; nil: none yet
	// forgot counts the paths that base has forgotten and that went to stale.
	forgot int
}

// copied is a path of the tree: what it stands for, and what it looked like when it was put there.
type copied struct {
	entry  Entry       // without digest, of files of the base
	origin Fingerprint // of files and links from the base: what was copied; else zero
	fp     Fingerprint
}

const indexName = "index"

func (s *Space) openTree(slot int) (*copyTree, error) {
	name := "slots/" + strconv.Itoa(slot)
	for _, d := range []string{"slots", name, name + "/t"} {
		if err := unix.Mkdirat(s.meta.fd, d, 0o755); err != nil && err != unix.EEXIST {
			return nil, pathError(d, err)
		}
	}
	t := &copyTree{path: filepath.Join(s.path, Meta, name, "t"), have: map[string]copied{}, stale: map[string]bool{}}
	var err error
	if t.own, err = s.meta.sub(name); err != nil {
		return nil, err
	}
	if err := unix.Flock(t.own.fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.own.close()
		return nil, fmt.Errorf("slot %d: %w", slot, ErrBusy)
	}
	if !t.load() {
		if err := errors.Join(t.own.removeAll("t"), pathError(name, unix.Mkdirat(t.own.fd, "t", 0o755))); err != nil {
			t.own.close()
			return nil, err
		}
	}
	if t.dir, err = t.own.sub("t"); err != nil {
		t.own.close()
	}
	return t, err
}

// load reads what the tree holds, from the file that the last process left when it was done with it, and takes the file
// away: from now on it is not true. It tells whether the tree can be used.
func (t *copyTree) load() bool {
	b, err := readSmall(t.own, indexName)
	if err != nil || unix.Unlinkat(t.own.fd, indexName, 0) != nil {
		return false
	}
	body, ok := unseal(b)
	if !ok {
		return false
	}
	r := reader{b: body}
	have := map[string]copied{}
	for range r.count() {
		have[r.str()] = copied{r.entry(), r.print(), r.print()}
	}
	if r.err != nil {
		return false
	}
	t.have = have
	return true
}

func (t *copyTree) close() error {
	defer t.own.close()
	defer t.dir.close()
	var w writer
	w.num(int64(len(t.have)))
	for _, p := range slices.Sorted(maps.Keys(t.have)) {
		c := t.have[p]
		w.str(p)
		w.entry(c.entry)
		w.print(c.origin)
		w.print(c.fp)
	}
	return replaceFile(t.own, indexName, seal(w.b))
}

func (t *copyTree) run(ctx context.Context, pool *sandbox.Pool, slot int, v *View, l *Layer, c Command, sc sandbox.Command) (sandbox.Result, error) {
	var none sandbox.Result
	if err := t.move(v); err != nil {
		return none, err
	}
	var made []string
	for _, dir := range c.Mkdir {
		var more []string
		err := t.dir.lend(dir, func() (err error) { more, err = makeDirs(t.dir, v, []string{dir}); return err })
		if err != nil {
			return none, err
		}
		made = append(made, more...)
	}
	sc.Dir = filepath.Join(t.path, c.Dir)
	res, err := pool.Run(ctx, slot, sc)
	var touched []string
	if err == nil {
		touched, err = t.scan(v, l)
	}
	if err == nil {
		err = l.forgetDirs(t.dir, made)
	}
	if err == nil {
		err = t.takeOut(touched, l)
	}
	if err != nil {
		err = errors.Join(err, t.wipe())
	}
	return res, err
}

// wipe empties a tree of which nobody knows what is in it.
func (t *copyTree) wipe() error {
	t.base = nil
	clear(t.have)
	list, err := names(t.dir.fd)
	for _, n := range list {
		err = errors.Join(err, t.dir.removeAll(n))
	}
	return err
}

// move makes the tree show a view.
func (t *copyTree) move(v *View) error {
	if t.base != v.base { // the first command of a run: everything may be another
		for p := range t.have {
			t.stale[p] = true
		}
		for p, l := range v.base.Walk(nil) {
			if l.Err != nil && !errors.Is(l.Err, fs.ErrPermission) { // nobody sees into what cannot be read
				return l.Err
			}
			t.stale[p] = true
		}
		t.base, t.forgot = v.base, 0
	}
	for _, p := range t.base.forgottenSince(t.forgot) {
		t.forgot++
		if p != "" { // the root has nothing of its own to copy
			t.stale[p] = true
		}
	}
	next := map[string]bool{}
	for _, l := range v.layers {
		for _, c := range l.changes {
			for a := range parents(c.Path) {
				t.stale[a] = true
			}
			t.stale[c.Path], next[c.Path] = true, true
			for p := range t.under(c) {
				t.stale[p], next[p] = true, true
			}
		}
	}
	// parents first; what replaces a directory takes away all below it
	for _, p := range slices.Sorted(maps.Keys(t.stale)) {
		if err := t.dir.lend(p, func() error { return t.put(v, p) }); err != nil {
			return err
		}
	}
	t.stale = next
	return t.modes(v)
}

// under gives what the tree has below a path that a change takes away.
func (t *copyTree) under(c Change) map[string]bool {
	out := map[string]bool{}
	if c.After.Kind == Dir {
		return out
	}
	for p := range t.have { // order: a set
		if isBelow(p, c.Path) {
			out[p] = true
		}
	}
	for p := range t.base.below(c.Path, nil) {
		out[p] = true
	}
	return out
}

// put makes one path what the view has there.
func (t *copyTree) put(v *View, p string) error {
	want, from, err := v.find(p)
	if err != nil {
		return err
	}
	next := copied{entry: want}
	if from == nil && want.Kind != Absent && want.Kind != Dir {
		if next.origin, err = v.base.Stat(p); err != nil {
			return err
		}
	}
	was, there := t.have[p]
	if there && was.entry == next.entry && was.origin == next.origin {
		return nil
	}
	if there && !(was.entry.Kind == Dir && want.Kind == Dir) {
		if err := t.remove(p); err != nil {
			return err
		}
	}
	if want.Kind == Absent || want.Kind == Other {
		return nil
	}
	fd, name, err := t.dir.parent(p)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	switch want.Kind {
	case Dir:
		if err = unix.Mkdirat(fd, name, 0o700); err == unix.EEXIST {
			err = nil
		}
	case Link:
		if want, err = v.Entry(p); err == nil {
			err = unix.Symlinkat(want.Target, fd, name)
		}
	case File:
		if from == nil {
			next.origin, err = t.copyBase(v.base, p, want.Mode, fd, name)
		} else {
			err = t.copyLayer(from, p, want, fd, name)
		}
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", Quote(p), err)
	}
	if next.fp, err = statAt(fd, name); err != nil {
		return pathError(p, err)
	}
	t.have[p] = next
	return nil
}

// copyBase copies a file of the base, once more if somebody wrote to it meanwhile. It gives what the file looked like when
// it was copied: that may not be what the base saw, which whoever compares the two when the command is over finds out.
func (t *copyTree) copyBase(base *Base, p string, mode uint32, fd int, name string) (Fingerprint, error) {
	for range 3 {
		origin, whole, err := t.copyOnce(base, p, mode, fd, name)
		if errors.Is(err, fs.ErrPermission) {
			return t.shut(base, p, fd, name)
		}
		if err == nil && whole {
			return origin, nil
		}
		if gone := removeAt(fd, name); err != nil || gone != nil {
			return Fingerprint{}, errors.Join(err, gone)
		}
	}
	return Fingerprint{}, base.gone(p, nil)
}

// shut makes a stand-in for a file that cannot be read: one that its owner cannot read either.
func (t *copyTree) shut(base *Base, p string, fd int, name string) (Fingerprint, error) {
	h, err := unix.Openat(fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Close(h)
	}
	if err != nil {
		return Fingerprint{}, err
	}
	return base.Stat(p)
}

func (t *copyTree) copyOnce(base *Base, p string, mode uint32, fd int, name string) (origin Fingerprint, whole bool, err error) {
	src, err := base.root.open(p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return origin, false, base.gone(p, err)
	}
	defer unix.Close(src)
	var before, after unix.Stat_t
	if err := unix.Fstat(src, &before); err != nil {
		return origin, false, err
	}
	origin = fingerprint(&before)
	if origin.Kind != File {
		return origin, false, base.gone(p, nil)
	}
	err = copyTo(src, &before, mode, fd, name)
	if serr := unix.Fstat(src, &after); serr != nil {
		return origin, false, errors.Join(err, serr)
	}
	if fingerprint(&after) != origin {
		return origin, false, nil // also where the copy failed: it got shorter
	}
	return origin, true, err
}

func (t *copyTree) copyLayer(from *Layer, p string, e Entry, fd int, name string) error {
	src, held, err := from.open(p)
	if err != nil {
		return err
	}
	if !held {
		return from.set.space.fromStore(Change{Path: p, After: e}, fd, name)
	}
	defer unix.Close(src)
	var st unix.Stat_t
	if err := unix.Fstat(src, &st); err != nil {
		return err
	}
	return copyTo(src, &st, e.Mode, fd, name)
}

// modes gives directories theirs, when everything is in them.
func (t *copyTree) modes(v *View) error {
	for p, c := range t.have { // order: a mode depends on nothing else
		if c.entry.Kind != Dir || c.fp.Mode == c.entry.Mode {
			continue
		}
		fd, name, err := t.dir.parent(p)
		if err == nil {
			err = pathError(p, unix.Fchmodat(fd, name, c.entry.Mode, 0))
			if err == nil {
				c.fp, err = statAt(fd, name)
			}
			unix.Close(fd)
		}
		if err != nil {
			return err
		}
		t.have[p] = c
	}
	return nil
}

func (t *copyTree) remove(p string) error {
	if err := t.dir.removeAll(p); err != nil {
		return err
	}
	dir := t.have[p].entry.Kind == Dir
	delete(t.have, p)
	if dir {
		maps.DeleteFunc(t.have, func(q string, _ copied) bool { return isBelow(q, p) })
	}
	return nil
}

// scan finds what a command changed, by looking at the whole tree. touched are all paths that are no longer as they were
// put there.
func (t *copyTree) scan(v *View, l *Layer) (touched []string, err error) {
	s := scanner{view: v, upper: t.dir}
	seen := map[string]bool{}
	var walk func(fd int, dir string) error
	walk = func(fd int, dir string) error {
		list, err := names(fd)
		if err != nil {
			return pathError(dir, err)
		}
		for _, n := range list {
			p := join(dir, n)
			fp, err := statAt(fd, n)
			if err != nil {
				return pathError(p, err)
			}
			was, there := t.have[p]
			seen[p] = true
			if there && Same(was.fp, fp) && fp.Kind != Dir {
				continue
			}
			if !there || !Same(was.fp, fp) {
				touched = append(touched, p)
			}
			if fp.Kind != Dir {
				if err := s.name(fd, n, p, false); err != nil {
					return err
				}
				continue
			}
			low, _, err := v.find(p)
			if err != nil {
				return err
			}
			if err := valid(p); err != nil {
				return err
			}
			if e := (Entry{Kind: Dir, Mode: fp.Mode}); low != e {
				s.changes = append(s.changes, Change{Path: p, After: e, ModeOnly: low.Kind == Dir})
			}
			if err := s.lent(fd, n, fp, func(h int) error { return walk(h, p) }); err != nil {
				return err
			}
		}
		return nil
	}
	if err = walk(t.dir.fd, ""); err == nil {
		err = s.contents()
	}
	gone := ""
	for _, p := range slices.Sorted(maps.Keys(t.have)) {
		if seen[p] {
			continue
		}
		touched = append(touched, p)
		if gone != "" && isBelow(p, gone) {
			continue
		}
		// below what is now a file, or gone, nothing needs to be said
		covered := false
		for a := range parents(p) {
			_, was := t.have[a]
			fp, serr := t.dir.stat(a)
			covered = covered || was && (serr != nil || fp.Kind != Dir)
		}
		if covered {
			continue
		}
		gone = p
		s.changes = append(s.changes, Change{Path: p})
	}
	if err != nil {
		return touched, err
	}
	l.changes = slices.DeleteFunc(s.changes, func(c Change) bool { return c.Path == "" })
	slices.SortFunc(l.changes, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return touched, nil
}

// takeOut moves the changed files into the layer, and makes the rest of the tree known again: what was touched is
// removed, and comes back with the next view that has it.
func (t *copyTree) takeOut(touched []string, l *Layer) error {
	upper, err := l.in.dir.sub(l.upper())
	if err != nil {
		return err
	}
	defer upper.close()
	at := cursor{dirfd: upper, mode: func(string) uint32 { return implied }} // contents only: no mode matters
	defer at.close()
	take := moveFrom(t.dir)
	for _, c := range l.changes {
		if c.After.Kind != File {
			continue
		}
		fd, name, err := at.parent(c.Path)
		if err == nil {
			err = take(c, fd, name)
		}
		if err != nil {
			return err
		}
	}
	slices.Sort(touched)
	for _, p := range slices.Backward(touched) {
		was, there := t.have[p]
		if fp, err := t.dir.stat(p); err == nil && there && was.entry.Kind == Dir && fp.Kind == Dir {
			was.fp.Mode = ^uint32(0) // as it is wanted, it will be
			was.fp.Ino = fp.Ino
			t.have[p] = was
			continue
		} else if err != nil && !isGone(err) {
			return err
		}
		if err := t.remove(p); err != nil {
			return err
		}
		t.stale[p] = true
	}
	return nil
}
