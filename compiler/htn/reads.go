package htn

import (
	"slices"

	"github.com/flyingrobots/jitos/warp"
)

// Reads are the facts that a search has asked for, and for whom: everything that it decided follows from them and from what
// does not change. As long as none of them comes or goes, a search for the same finds the same candidate, with the same
// order of steps and the same objections.
type Reads struct {
	p       *Program
	seen    map[uint64]int32 // by hash: facts, and patterns of which some arguments were not known; for which of owners
	open    []pattern        // the latter
	owners  []string         // needs without arguments whose decisions matter to nobody else
	byNeed  map[int32]int32  // their place in owners, by need
	current int32
	failed  bool // the search has gone back: a decision may hang on what came after it
}

// everybody stands for more than one need, and for what is none.
const everybody = -1

// pattern stands for the facts of a relation with these arguments; an empty one is any.
type pattern struct {
	rel   int32
	args  []Value
	owner int32
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
	owner, known := r.seen[uint64(h)]
	if known && owner != r.current {
		r.seen[uint64(h)] = everybody
	} else if !known {
		r.seen[uint64(h)] = r.current
	}
	if !whole && (!known || owner != r.current) {
		p := pattern{rel: a.rel, args: make([]Value, len(a.args)), owner: r.seen[uint64(h)]}
		for i, t := range a.args {
			p.args[i] = value(t)
		}
		r.open = append(r.open, p)
	}
}

// of notes who asks from now on: a need, by its number, if it is one of owners.
func (r *Reads) of(s *search, need int32) {
	r.current = everybody
	if need < 0 || len(s.w.needs.args(need)) > 0 {
		return
	}
	t := &s.p.tasks[s.w.needs.head(need)]
	if !t.inert || t.opens {
		return
	}
	at, known := r.byNeed[need]
	if !known {
		at = int32(len(r.owners))
		r.byNeed[need], r.owners = at, append(r.owners, t.name)
	}
	r.current = at
}

// Askers are the needs, without arguments, for which these facts were asked, once each: with one of them changed, only what is below these
// can be another. all: that is not known, or it may be everything.
func (r *Reads) Askers(facts []warp.Node) (needs []string, all bool) {
	if r == nil {
		return nil, true
	}
	for _, n := range facts {
		for _, owner := range r.askers(n) {
			if owner == everybody || r.failed {
				return nil, true
			}
			if name := r.owners[owner]; !slices.Contains(needs, name) {
				needs = append(needs, name)
			}
		}
	}
	return needs, false
}

// Merge adds what a search for one need alone has asked for.
func (r *Reads) Merge(need string, o *Reads) {
	owner := int32(slices.Index(r.owners, need)) // everybody if it is not there
	for h := range o.seen {                      // order: each on its own
		if was, known := r.seen[h]; known && was != owner {
			r.seen[h] = everybody
		} else {
			r.seen[h] = owner
		}
	}
	for _, p := range o.open {
		p.owner = owner
		r.open = append(r.open, p)
	}
}

// askers are the places in owners of those who asked for a fact; also, as unlikely as a bad memory cell, for another.
func (r *Reads) askers(n warp.Node) (out []int32) {
	rel, args, err := factOf(n)
	if err != nil {
		return []int32{everybody}
	}
	id, known := r.p.byRel[relKey{rel, len(args)}]
	if !known {
		return nil
	}
	h := hashFact(id)
	for _, v := range args {
		h = h.with(v)
	}
	if owner, known := r.seen[uint64(h)]; known {
		out = append(out, owner)
	}
	for _, p := range r.open {
		if p.rel == id && p.fits(args) {
			out = append(out, p.owner)
		}
	}
	return out
}

func (p *pattern) fits(args []Value) bool {
	for i, v := range p.args {
		if v != "" && v != args[i] {
			return false
		}
	}
	return true
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
