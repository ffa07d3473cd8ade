package warp

import (
	"cmp"
	"slices"
)

// Footprint is what a rewrite depends on and what it changes. Two rewrites of which neither changes what the other
// depends on or changes may be applied in either order, with the same result.
type Footprint struct {
	Reads, Writes []Hash // ids of nodes and edges, sorted; a read may be of one that must not be there
	// Scans are the parts of a graph (all nodes of a kind, or those with a value in an indexed field, or the edges of a
	// kind at a node) of which something was asked that no id names; Touches are the parts that change. Both are sorted.
	// Parts are hashes of 64 bits: two that collide make rewrites seem dependent that are not, which is safe.
	Scans, Touches []uint64
}

// Independent says whether rewrites with these footprints commute. When they may not, on is a node or an edge that
// both are about, or the zero hash if it is a part of the graph.
func (f Footprint) Independent(o Footprint) (ok bool, on Hash) {
	for _, pair := range [...][2][]Hash{{f.Writes, o.Writes}, {f.Writes, o.Reads}, {f.Reads, o.Writes}} {
		if h, found := common(pair[0], pair[1], compareHash); found {
			return false, h
		}
	}
	if _, found := common(f.Scans, o.Touches, cmp.Compare[uint64]); found {
		return false, Hash{}
	}
	_, found := common(f.Touches, o.Scans, cmp.Compare[uint64])
	return !found, Hash{}
}

// compare orders footprints somehow.
func (f Footprint) compare(o Footprint) int {
	return cmp.Or(slices.CompareFunc(f.Reads, o.Reads, compareHash), slices.CompareFunc(f.Writes, o.Writes, compareHash),
		slices.Compare(f.Scans, o.Scans), slices.Compare(f.Touches, o.Touches))
}

func compareHash(a, b Hash) int { return slices.Compare(a[:], b[:]) }

// common returns the first element of two sorted lists that is in both.
func common[T any](a, b []T, compare func(a, b T) int) (T, bool) {
	for len(a) > 0 && len(b) > 0 {
		switch c := compare(a[0], b[0]); {
		case c < 0:
			a = a[1:]
		case c > 0:
			b = b[1:]
		default:
			return a[0], true
		}
	}
	var zero T
	return zero, false
}

// join returns the footprint of both.
func (f Footprint) join(o Footprint) Footprint {
	hashes := func(a, b []Hash) []Hash {
		a = append(a, b...)
		slices.SortFunc(a, compareHash)
		return slices.Compact(a)
	}
	parts := func(a, b []uint64) []uint64 {
		a = append(a, b...)
		slices.Sort(a)
		return slices.Compact(a)
	}
	return Footprint{hashes(f.Reads, o.Reads), hashes(f.Writes, o.Writes), parts(f.Scans, o.Scans), parts(f.Touches, o.Touches)}
}

// scan adds the smallest part of the graph that holds what a pattern can match.
func (f *Footprint) scan(p *NodePattern, b Binding) {
	kind, _ := nodeKindOf(p.Kind)
	head := headByKind(kind)
	for i := range p.Data.kids {
		place := -1
		switch {
		case p.Data.kind == termArray && i <= maxFactIndex && p.Kind == kindFact:
			place = i
		case p.Data.kind == termMap && p.Data.keys[i] == nodeKinds[kind].index:
			place = 0
		}
		if place >= 0 {
			if value, ok := p.Data.kids[i].append(nil, b); ok {
				head = headByField(kind, place, value)
			}
		}
	}
	f.Scans = append(f.Scans, head)
}

// Footprint returns what the operations of r need and change. Operations of unknown kinds, which no graph accepts,
// have none.
func (r Rewrite) Footprint() Footprint {
	var f Footprint
	for i := range r.Ops {
		op := &r.Ops[i]
		rec := record{}
		switch op.Kind {
		case OpAddNode, OpRemoveNode, OpRetract:
			f.Writes = append(f.Writes, Hash(op.Node.ID()))
			kind, _ := nodeKindOf(op.Node.Kind)
			if op.Node.Check() != nil {
				continue
			}
			rec.raw = withKind(kind, op.Node.Data)
		case OpAddEdge, OpRemoveEdge:
			f.Writes = append(f.Writes, Hash(op.Edge.ID()))
			f.Reads = append(f.Reads, Hash(op.Edge.From), Hash(op.Edge.To))
			kind, _ := edgeKindOf(op.Edge.Kind)
			rec.raw = []byte{kind}
			rec.ends = &[2]NodeID{op.Edge.From, op.Edge.To}
		default:
			continue
		}
		eachHead(&rec, func(head uint64) { f.Touches = append(f.Touches, head) })
	}
	return f.join(Footprint{})
}
