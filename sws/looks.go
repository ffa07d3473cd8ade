package sws

import (
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Seen is what a [Base] knows of a path.
type Seen struct {
	Path   string // "" is the root
	Print  Fingerprint
	Entry  Entry // if Read
	Read   bool  // the content was looked at
	Listed bool  // a directory: its names were looked at
}

// Seen lists every look so far, by path.
func (b *Base) Seen() []Seen {
	b.mu.Lock()
	looks := maps.Clone(b.looks)
	b.mu.Unlock()
	out := make([]Seen, 0, len(looks))
	for p, l := range looks { // order: sorted below. Not under b.mu: who lists a directory takes that lock last.
		l.mu.Lock()
		out = append(out, Seen{Path: p, Print: l.fp, Entry: l.entry, Read: l.read, Listed: l.listed})
		l.mu.Unlock()
	}
	slices.SortFunc(out, func(x, y Seen) int { return strings.Compare(x.Path, y.Path) })
	return out
}

// Changed looks at a path again and tells whether its content is no longer what the first look saw. A path that was
// never looked at did not change.
func (b *Base) Changed(path string) (bool, error) {
	p := clean(path)
	b.mu.Lock()
	l := b.looks[p]
	b.mu.Unlock()
	if l == nil {
		return false, nil
	}
	_, ok, err := b.unchanged(p, l.fp, b.root)
	return !ok, err
}

// NewView shows a base with layers over it, the topmost first.
func NewView(base *Base, layers []*Layer) *View { return &View{base: base, layers: layers} }

// FingerprintOf is the fingerprint in the answer of a stat.
func FingerprintOf(st *unix.Stat_t) Fingerprint { return fingerprint(st) }

// Racy tells whether a path changed so shortly ago that this kernel may give another change the same times.
func (b *Base) Racy(seen []Seen) bool {
	if !b.coarse {
		return false
	}
	edge := time.Now().Add(-racy).UnixNano()
	return slices.ContainsFunc(seen, func(s Seen) bool { return s.Print.Ctime > edge })
}

// Relist looks again at a directory that was listed. If it holds other names by now they, and it, are forgotten, so that
// the next look sees what is there then; changed says so. A directory that was never listed did not change.
func (b *Base) Relist(path string) (changed bool, err error) {
	p := clean(path)
	b.mu.Lock()
	l := b.looks[p]
	b.mu.Unlock()
	if l == nil || !l.listed {
		return false, nil
	}
	is, err := b.now(p)
	if err != nil || is == l.fp {
		return false, err
	}
	var there []string
	if is.Kind == Dir {
		d, err := b.root.sub(p)
		if err != nil {
			return false, pathError(path, err)
		}
		defer d.close()
		if there, err = names(d.fd); err != nil {
			return false, pathError(path, err)
		}
	}
	here := map[string]bool{}
	for _, n := range l.names {
		here[n] = true
	}
	var differ []string
	for _, n := range there {
		if !here[n] && !(p == "" && n == Meta) {
			differ = append(differ, n)
		}
		delete(here, n)
	}
	for n := range here {
		differ = append(differ, n)
	}
	if len(differ) == 0 {
		return false, nil
	}
	b.Forget(p)
	for _, n := range differ {
		b.Forget(join(p, n))
	}
	return true, nil
}
