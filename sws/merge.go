package sws

import (
	"cmp"
	"fmt"
	"slices"
)

// Staged is a change of several layers put together, with the place its content comes from.
type Staged struct {
	Change
	// Fresh, of a directory: it was made anew, so nothing that the base has below it stays.
	Fresh bool
	from  *Layer // nil: the store
}

// OverlapError says that two layers, neither of which is over the other, wrote one path differently.
type OverlapError struct {
	Path string
	A, B int // indices of the layers, A < B
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("%s: written differently by two layers (%d and %d) of which neither builds on the other", Quote(e.Path), e.A, e.B)
}

// Merge puts layers together, given in an order in which each comes after those it is over. before tells whether layer
// a is among those that b is over, directly or not; it is asked with a < b, and only where both write one path. The
// result is sorted by path. Changes that give what the base has already are still in it; a collapse leaves them out.
func Merge(layers []*Layer, before func(a, b int) bool) ([]Staged, error) {
	m := merger{before: before}
	for i, l := range layers {
		for _, c := range l.changes {
			if err := m.add(int32(i), c, l); err != nil {
				return nil, err
			}
		}
	}
	var out []Staged
	m.root.collect(false, &out)
	slices.SortFunc(out, func(a, b Staged) int { return cmp.Compare(a.Path, b.Path) })
	return out, nil
}

type merger struct {
	root   node
	before func(a, b int) bool
}

// node is a path; what it holds if by is empty is only below it.
type node struct {
	Staged
	by   []int32 // who wrote what is there: more than one if they agree
	kids map[string]*node
}

// after checks that layer i is over all who wrote n.
func (m *merger) after(n *node, i int32, p string) error {
	for _, w := range n.by {
		if w != i && (m.before == nil || !m.before(int(w), int(i))) {
			return &OverlapError{Path: p, A: int(w), B: int(i)}
		}
	}
	return nil
}

func (m *merger) add(i int32, c Change, l *Layer) error {
	n := &m.root
	for start := 0; ; {
		end := start
		for end < len(c.Path) && c.Path[end] != '/' {
			end++
		}
		if n.kids == nil {
			n.kids = map[string]*node{}
		}
		name := c.Path[start:end]
		k := n.kids[name]
		if k == nil {
			k = &node{}
			n.kids[name] = k
		}
		n, start = k, end+1
		if end == len(c.Path) {
			break
		}
		if len(n.by) > 0 && n.After.Kind != Dir { // someone took the directory away
			if err := m.after(n, i, c.Path); err != nil {
				if c.After.Kind == Absent {
					return nil // both deleted it
				}
				return err
			}
			n.Staged = Staged{Change: Change{Path: c.Path[:end], After: Entry{Kind: Dir, Mode: implied}}, Fresh: true}
			n.by = []int32{i}
		}
	}
	if len(n.by) > 0 && n.After == c.After {
		n.by = append(n.by, i)
		return nil
	}
	if err := m.after(n, i, c.Path); err != nil {
		return err
	}
	if c.After.Kind != Dir {
		if err := m.cut(n, i, c.After.Kind == Absent); err != nil {
			return err
		}
		n.kids = nil
	}
	fresh := c.After.Kind == Dir && len(n.by) > 0 && (n.Fresh || n.After.Kind != Dir)
	n.Staged = Staged{Change: c, Fresh: fresh, from: l}
	n.by = append(n.by[:0], i)
	return nil
}

// cut checks that layer i may take away all below n.
func (m *merger) cut(n *node, i int32, deleted bool) error {
	var first error
	for _, k := range n.kids { // order: of several overlaps the first by path is kept
		if len(k.by) > 0 && !(deleted && k.After.Kind == Absent) {
			if err := m.after(k, i, k.Path); err != nil && (first == nil || err.(*OverlapError).Path < first.(*OverlapError).Path) {
				first = err
			}
		}
		if err := m.cut(k, i, deleted); err != nil && (first == nil || err.(*OverlapError).Path < first.(*OverlapError).Path) {
			first = err
		}
	}
	return first
}

// collect gives all that was written. Below a fresh directory all directories are.
func (n *node) collect(fresh bool, out *[]Staged) {
	if len(n.by) > 0 {
		n.Fresh = n.After.Kind == Dir && (n.Fresh || fresh)
		fresh = n.Fresh
		*out = append(*out, n.Staged)
	}
	for _, k := range n.kids { // order: the caller sorts
		k.collect(fresh, out)
	}
}
