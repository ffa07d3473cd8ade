package sws

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// move is one path that a transaction changes, with what the base has there.
type move struct {
	Staged
	was    Fingerprint
	before Entry
}

// trim turns staged changes into the difference to the base: what the base has already is left out, what goes with a
// directory is named, directories that something is put into are added.
func trim(base *Base, staged []Staged) ([]move, error) {
	t := trimmer{base: base, staged: make(map[string]bool, len(staged)), there: map[string]bool{}}
	for _, s := range staged {
		if err := valid(s.Path); err != nil {
			return nil, err
		}
		t.staged[s.Path] = true
	}
	for _, s := range staged {
		if err := t.add(s); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(t.out, func(a, b move) int { return cmp.Compare(a.Path, b.Path) })
	return t.out, nil
}

type trimmer struct {
	base   *Base
	staged map[string]bool
	there  map[string]bool // directories that are known to be there
	out    []move
}

func (t *trimmer) add(s Staged) error {
	before, was, err := t.base.EntryAt(s.Path)
	if err != nil {
		return unreadable(s.Path, err)
	}
	if before.Kind == Other {
		return &RefusedError{Path: s.Path, Why: "a special file is in its place"}
	}
	if s.After.Kind != Absent {
		if err := t.parents(s.Path); err != nil {
			return err
		}
	}
	if before.Kind == Dir && (s.After.Kind != Dir || s.Fresh) {
		if err := t.gone(s.Path); err != nil {
			return err
		}
	}
	if before == s.After {
		return nil
	}
	s.ModeOnly = before.sameContent(s.After)
	t.out = append(t.out, move{s, was, before})
	return nil
}

// parents adds the directories that lead to p.
func (t *trimmer) parents(p string) error {
	dir, _ := split(p)
	if dir == "" || t.there[dir] {
		return nil
	}
	for a := range parents(p) {
		if t.there[a] || t.staged[a] {
			t.there[a] = true
			continue
		}
		fp, err := t.base.At(a)
		switch {
		case err != nil:
			return err
		case fp.Kind == Absent:
			t.out = append(t.out, move{Staged: Staged{Change: Change{Path: a, After: Entry{Kind: Dir, Mode: implied}}}})
		case fp.Kind != Dir:
			return &RefusedError{Path: p, Why: "a " + fp.Kind.String() + " is in the place of its directory"}
		}
		t.there[a] = true
	}
	return nil
}

// gone deletes what is below a directory and not staged itself.
// unreadable refuses what would be replaced and cannot be read.
func unreadable(p string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &RefusedError{Path: p, Why: "what is there cannot be read, so undo could not bring it back"}
	}
	return err
}

func (t *trimmer) gone(dir string) error {
	own := func(p string, _ bool) bool { return t.staged[p] } // with all below it, it is looked at on its own
	for p, l := range t.base.below(dir, own) {
		if l.Err != nil {
			return unreadable(p, l.Err)
		}
		if l.Kind == Other {
			return &RefusedError{Path: p, Why: "a special file is in a directory that is to be deleted"}
		}
		before, was, err := t.base.Entry(p)
		if err != nil {
			return unreadable(p, err)
		}
		t.out = append(t.out, move{Staged{Change: Change{Path: p}}, was, before})
	}
	return nil
}

// op is one operation of a transaction, as its intent records it.
type op struct {
	Path          string
	Does          action
	Base, Post    Fingerprint
	Before, After Entry
	Stage         string // name in the transaction's directory: of the new object, and then of the old one
}

// brings tells whether there is a new object.
func (o *op) brings() bool { return o.Does == add || o.Does == exchange }

type action byte

const (
	add      action = iota // nothing was there
	exchange               // something else was there
	remove
	chmod
	lend // a directory gets its owner's permissions as long as it takes
)

// plan puts moves in the order in which they can be applied: directories open up, what goes goes from the leaves, what
// comes comes from the root.
func plan(moves []move) []op {
	var open, gone, rest []op
	opened := map[string]bool{}
	for _, m := range moves {
		o := op{Path: m.Path, Base: m.was, Before: m.before, After: m.After, Post: Fingerprint{Kind: m.After.Kind, Mode: m.After.Mode}}
		switch {
		case m.ModeOnly:
			o.Does = chmod
			o.Post = m.was
			o.Post.Mode = m.After.Mode
		case m.After.Kind == Absent:
			o.Does = remove
		case m.before.Kind == Absent:
			o.Does = add
		default:
			o.Does = exchange
		}
		switch {
		case o.Does == chmod && o.Base.Kind == Dir:
			open = append(open, o)
			opened[o.Path] = true
		case o.Does == remove:
			gone = append(gone, o)
		default:
			rest = append(rest, o)
		}
	}
	slices.Reverse(gone)
	return slices.Concat(open, gone, rest)
}

// shut finds directories that only root could change things in, and puts their lending first.
func shut(base *Base, ops []op) ([]op, error) {
	if os.Geteuid() == 0 {
		return ops, nil
	}
	seen := map[string]bool{}
	for _, o := range ops {
		if o.Does == chmod && o.Base.Kind == Dir {
			seen[o.Path] = true
		}
	}
	var lends []op
	want := func(p string) error {
		if p == "" || seen[p] {
			return nil
		}
		seen[p] = true
		fp, err := base.At(p)
		if err == nil && fp.Kind == Dir && fp.Mode&0o700 != 0o700 {
			e := Entry{Kind: Dir, Mode: fp.Mode}
			lends = append(lends, op{Path: p, Does: lend, Base: fp, Post: fp, Before: e, After: e})
		}
		return err
	}
	for _, o := range ops {
		for a := range parents(o.Path) {
			if err := want(a); err != nil {
				return nil, err
			}
		}
		if o.Base.Kind == Dir {
			if err := want(o.Path); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(lends, func(a, b op) int { return cmp.Compare(a.Path, b.Path) })
	return append(lends, ops...), nil
}

// Difference is one path of what a collapse would change.
type Difference struct {
	Path          string
	Before, After Entry
	base          *Base
	from          *Layer
	space         *Space
}

// Diff lists what a collapse of staged changes would do to the workspace, sorted by path.
func (set *Set) Diff(staged []Staged) ([]Difference, error) {
	moves, err := trim(set.base, staged)
	var out []Difference
	for _, m := range moves {
		out = append(out, Difference{m.Path, m.before, m.After, set.base, m.from, set.space})
	}
	return out, err
}

// ReadBefore gives the content of the file that is in the workspace; of anything else, nothing. It fails with
// ErrChanged if it is no longer what the run saw.
func (d Difference) ReadBefore() ([]byte, error) {
	if d.Before.Kind != File {
		return nil, nil
	}
	fd, err := d.base.root.open(d.Path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, d.base.gone(d.Path, err)
	}
	defer unix.Close(fd)
	b, err := readAll(fd, d.Before.Size)
	if err != nil {
		return nil, pathError(d.Path, err)
	}
	was, err := d.base.Stat(d.Path)
	if err != nil {
		return nil, err
	}
	if is, err := d.base.now(d.Path); err != nil || is != was {
		return nil, d.base.gone(d.Path, err)
	}
	return b, nil
}

// ReadAfter gives the content of the file that would be put there; of anything else, nothing.
func (d Difference) ReadAfter() ([]byte, error) {
	switch {
	case d.After.Kind != File:
		return nil, nil
	case d.from == nil:
		return d.space.store.Get(d.After.Digest)
	}
	return d.from.read(Change{Path: d.Path, After: d.After})
}

// isGone tells an error that says that a path is not there; what is below a link is not, for us.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, ErrSymlink)
}
