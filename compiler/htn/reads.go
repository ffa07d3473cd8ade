package htn

import (
	"slices"

	"github.com/flyingrobots/jitos/warp"
)

// Reads are the facts that a search has asked for: everything that it decided follows from them and from what does not
// change. As long as none of them comes or goes, a search for the same finds the same candidate, with the same order of
// steps and the same objections.
type Reads struct {
	p    *Program
	seen map[uint64]bool // by hash: facts, and patterns of which some arguments were not known
	open []pattern       // the latter
}

// pattern stands for the facts of a relation with these arguments; an empty one is any.
type pattern struct {
	rel  int32
	args []Value
}

// maxFailures is how often a search may fail before it is not worth it to know what it has asked for.
const maxFailures = 1000

func (r *Reads) conditions(w *world, lits []*lit, args []int32) {
	for _, l := range lits {
		switch l.kind {
		case litFact, litNotFact:
			r.atom(w, &l.atom, args)
		case litAny:
			for _, b := range l.branches {
				r.conditions(w, b, args)
			}
		}
	}
}

// atom notes a fact with what is known of its arguments.
func (r *Reads) atom(w *world, a *atom, regs []int32) {
	value := func(t term) Value {
		if t >= 0 && int(t) >= len(regs) {
			return ""
		}
		return w.values[w.value(t, regs)]
	}
	h, whole := hashFact(a.rel), true
	for _, t := range a.args {
		v := value(t)
		h, whole = h.with(v), whole && v != ""
	}
	if r.seen[uint64(h)] {
		return
	}
	r.seen[uint64(h)] = true
	if !whole {
		p := pattern{rel: a.rel, args: make([]Value, len(a.args))}
		for i, t := range a.args {
			p.args[i] = value(t)
		}
		r.open = append(r.open, p)
	}
}

// Any reports whether one of the facts was asked for. When that is not known it says yes.
func (r *Reads) Any(facts []warp.Node) bool { return r == nil || slices.ContainsFunc(facts, r.has) }

// has reports whether the fact was asked for; also, as unlikely as a bad memory cell, when another was.
func (r *Reads) has(n warp.Node) bool {
	rel, args, err := factOf(n)
	if err != nil {
		return true
	}
	id, known := r.p.byRel[relKey{rel, len(args)}]
	if !known {
		return false
	}
	h := hashFact(id)
	for _, v := range args {
		h = h.with(v)
	}
	return r.seen[uint64(h)] || slices.ContainsFunc(r.open, func(p pattern) bool {
		if p.rel != id {
			return false
		}
		for i, v := range p.args {
			if v != "" && v != args[i] {
				return false
			}
		}
		return true
	})
}

// factHash is FNV-1a.
type factHash uint64

func hashFact(rel int32) factHash {
	return (14695981039346656037 ^ factHash(uint32(rel))) * 1099511628211
}

func (h factHash) with(v Value) factHash {
	for i := range len(v) {
		h = (h ^ factHash(v[i])) * 1099511628211
	}
	return (h ^ 0xff) * 1099511628211 // no value is the beginning of another, but an unknown one is empty
}
