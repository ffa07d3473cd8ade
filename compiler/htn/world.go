package htn

import (
	"cmp"
	"slices"

	"github.com/flyingrobots/jitos/warp"
)

// world is what holds at one moment of a search: facts, which needs are achieved, how many joins are still waited for.
// It changes in place, and every change is on the trail, so that going back costs what was done since. (The agenda,
// what is still to do, is immutable: see network.go.)
type world struct {
	p      *Program
	values []Value // those known at the start are sorted: comparing their numbers compares them
	sorted int     // how many these are; the others were computed since
	later  map[Value]int32
	err    error   // of the first function that failed: it ends the search
	consts []int32 // number of the program's constants
	atoms  tuples  // relation, arguments; true ones are in bits
	bits   []uint64
	needs  tuples  // task, arguments of the needs seen so far
	status []uint8 // by need
	trail  []change
	zero   key // sum at the start
	facts  key // of the true atoms
	sum    key // of the true atoms, the open joins and the needs begun, and of the agenda (which the search adds)

	ofRel   [][]int32 // by relation: its atoms, in order of their number
	perRel  [][]index // by relation: how else they can be found
	buckets tuples    // index, projected arguments
	members [][]int32 // by bucket: the atoms, in order of their number
	indexes int32
	scratch []int32
}

// index finds the atoms of a relation by the arguments in mask.
type index struct {
	id   int32
	mask uint64
}

const (
	needUnasked uint8 = iota
	needBegun
	needDone
)

// change is one undoable change: of a join, else of an atom (n >= 0) or a need (^n).
type change struct {
	join *cont
	n    int32
}

func newWorld(p *Program, facts warp.Graph, extra []Value) (*world, error) {
	w := &world{p: p, ofRel: make([][]int32, len(p.rels)), perRel: make([][]index, len(p.rels))}
	type fact struct {
		rel  int32
		args []Value
	}
	var given []fact
	all := slices.Concat(p.consts, extra)
	for _, n := range facts.Nodes(factKind) {
		rel, args, err := factOf(n)
		if err != nil {
			return nil, err
		}
		r, known := p.byRel[relKey{rel, len(args)}]
		if !known {
			continue // nobody asks for it
		}
		given = append(given, fact{r, args})
		all = append(all, args...)
	}
	slices.Sort(all)
	w.values = slices.Compact(all)
	w.sorted, w.later = len(w.values), map[Value]int32{}
	w.consts = make([]int32, len(p.consts))
	for i, v := range p.consts {
		w.consts[i] = w.number(v)
	}
	args := make([]int32, 0, maxVars)
	for _, f := range given {
		args = args[:0]
		for _, v := range f.args {
			args = append(args, w.number(v))
		}
		w.set(w.atom(f.rel, args), true)
	}
	w.trail, w.zero = w.trail[:0], w.sum
	return w, nil
}

// number returns the number of a value. One that the world was not made with gets the next.
func (w *world) number(v Value) int32 {
	if i, ok := slices.BinarySearch(w.values[:w.sorted], v); ok {
		return int32(i)
	}
	i, ok := w.later[v]
	if !ok {
		i = int32(len(w.values))
		w.values, w.later[v] = append(w.values, v), i
	}
	return i
}

func (w *world) value(t term, regs []int32) int32 {
	switch {
	case t < 0:
		return w.consts[^t]
	case t >= maxVars:
		return w.compute(&w.p.funcs[t-maxVars], regs)
	}
	return regs[t]
}

func (w *world) compute(f *function, regs []int32) int32 {
	vals := make([]Value, len(f.regs))
	for i, r := range f.regs {
		vals[i] = w.values[regs[r]]
	}
	v, err := f.Eval(vals)
	if err != nil && w.err == nil {
		w.err = err
	}
	return w.number(v)
}

// ground appends the terms' values to dst.
func (w *world) ground(dst []int32, ts []term, regs []int32) []int32 {
	for _, t := range ts {
		dst = append(dst, w.value(t, regs))
	}
	return dst
}

func (w *world) has(a int32) bool { return w.bits[a>>6]&(1<<(a&63)) != 0 }

func (w *world) holds(a *atom, regs []int32) bool {
	w.scratch = w.ground(w.scratch[:0], a.args, regs)
	id := w.atoms.find(a.rel, w.scratch)
	return id >= 0 && w.has(id)
}

// atom numbers an atom and enters it into the indexes.
func (w *world) atom(rel int32, args []int32) int32 {
	id, fresh := w.atoms.intern(rel, args)
	if fresh {
		if int(id)>>6 >= len(w.bits) {
			w.bits = append(w.bits, 0)
		}
		w.ofRel[rel] = append(w.ofRel[rel], id)
		for _, ix := range w.perRel[rel] {
			w.enter(ix, id)
		}
	}
	return id
}

func (w *world) enter(ix index, id int32) {
	w.scratch = w.scratch[:0]
	for i, v := range w.atoms.args(id) {
		if ix.mask&(1<<i) != 0 {
			w.scratch = append(w.scratch, v)
		}
	}
	b, fresh := w.buckets.intern(ix.id, w.scratch)
	if fresh {
		w.members = append(w.members, nil)
	}
	w.members[b] = append(w.members[b], id)
}

// matches returns the atoms, true or not, that agree with a in the arguments that are bound.
func (w *world) matches(a *atom, regs []int32, bound uint64) []int32 {
	var mask uint64
	w.scratch = w.scratch[:0]
	for i, t := range a.args {
		if t < 0 || bound&(1<<t) != 0 {
			mask |= 1 << i
			w.scratch = append(w.scratch, w.value(t, regs))
		}
	}
	if mask == 0 {
		return w.ofRel[a.rel]
	}
	at := slices.IndexFunc(w.perRel[a.rel], func(ix index) bool { return ix.mask == mask })
	if at < 0 {
		at = len(w.perRel[a.rel])
		ix := index{w.indexes, mask}
		w.indexes++
		w.perRel[a.rel] = append(w.perRel[a.rel], ix)
		key := slices.Clone(w.scratch)
		for _, id := range w.ofRel[a.rel] {
			w.enter(ix, id)
		}
		w.scratch = append(w.scratch[:0], key...)
	}
	if b := w.buckets.find(w.perRel[a.rel][at].id, w.scratch); b >= 0 {
		return w.members[b]
	}
	return nil
}

func (w *world) flip(a int32) {
	w.bits[a>>6] ^= 1 << (a & 63)
	k := newKey(keyAtom, a)
	if !w.has(a) {
		k = key{}.minus(k)
	}
	w.facts, w.sum = w.facts.plus(k), w.sum.plus(k)
}

func (w *world) set(a int32, on bool) {
	if w.has(a) != on {
		w.flip(a)
		w.trail = append(w.trail, change{n: a})
	}
}

// apply makes the effects true: what goes first, then what comes.
func (w *world) apply(op *operator, regs []int32) {
	var room [maxVars]int32
	for i := range op.del {
		if a := w.atoms.find(op.del[i].rel, w.ground(room[:0], op.del[i].args, regs)); a >= 0 {
			w.set(a, false)
		}
	}
	for i := range op.add {
		w.set(w.atom(op.add[i].rel, w.ground(room[:0], op.add[i].args, regs)), true)
	}
}

func (w *world) need(task int32, args []int32) int32 {
	id, fresh := w.needs.intern(task, args)
	if fresh {
		w.status = append(w.status, needUnasked)
	}
	return id
}

// advance takes a need from unasked to begun, or from begun to done.
func (w *world) advance(need int32) {
	w.sum = w.sum.plus(newKey(keyNeed, need))
	w.status[need]++
	w.trail = append(w.trail, change{n: ^need})
}

// mark is a moment to go back to.
type mark struct {
	trail int32
	sum   key
}

func (w *world) mark() mark { return mark{int32(len(w.trail)), w.sum} }

func (w *world) undo(m mark) {
	for i := len(w.trail) - 1; i >= int(m.trail); i-- {
		switch c := w.trail[i]; {
		case c.join != nil:
			c.join.left++
		case c.n >= 0:
			w.flip(c.n)
		default:
			w.status[^c.n]--
		}
	}
	w.trail, w.sum = w.trail[:m.trail], m.sum
}

// known returns the numbers of values, or false when one of them occurs nowhere.
func (w *world) known(vals []Value) ([]int32, bool) {
	out := make([]int32, len(vals))
	for i, v := range vals {
		n, ok := slices.BinarySearchFunc(w.values, v, cmp.Compare[Value])
		if !ok {
			return nil, false
		}
		out[i] = int32(n)
	}
	return out, true
}

func (w *world) valuesOf(ns []int32) []Value {
	out := make([]Value, len(ns))
	for i, n := range ns {
		out[i] = w.values[n]
	}
	return out
}
