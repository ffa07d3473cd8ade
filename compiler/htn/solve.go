package htn

import (
	"math"
	"math/bits"
	"slices"
)

// solver finds the bindings under which conditions hold in a world.
//
// Conditions are tested as soon as their variables are bound; of the facts that can bind more, the one with the fewest
// matches goes first. Bindings come in batches, each sorted, so that the order of the joins is nobody's business unless
// there are very many.
type solver struct {
	w     *world
	regs  []int32 // value by register; those not in bound mean nothing
	bound uint64
	room  []*lit  // a stack of lists of what is left to solve
	out   []int32 // the found bindings' free registers, one after the other
	free  int
	full  int
	left  int // so many more bindings are wanted
	vals  []Value

	path   []choice // the choices that led to where the solver is
	resume bool     // follow path to the binding found last, and go on after it

	deepest int // how many conditions the best attempt had met, and what then failed
	failed  *lit
	regsAt  []int32
	boundAt uint64
	why     string
	said    string // by the last guard
	err     error  // of a guard
}

// choice is which match of a fact, or which of several alternatives, is being tried.
type choice struct {
	lit *lit
	at  int
}

// batch is how many bindings are found at once.
const batch = 4096

// solve appends to out bindings of the way's free variables under which all conditions of when hold: a batch of them, in ascending order. It returns
// how many, and, if there may be others, where to go on: as from then. On zero, failed, regsAt, boundAt and why
// say what failed.
func (s *solver) solve(w *way, when []*lit, args, out []int32, from []choice) (bindings []int32, n int, then []choice, err error) {
	s.out, s.left = out, batch
	if w.free == 0 {
		s.left = 1
	}
	at, want := len(out), s.left
	s.start(w, args, from)
	s.failed, s.deepest = nil, -1
	more := !s.run(when, nil, 0)
	n = want - s.left
	if s.err != nil || n == 0 || w.free == 0 {
		return s.out[:at], n, nil, s.err
	}
	if more {
		then = slices.Clone(s.path)
	}
	n = sortRows(s.out[at:], w.free)
	return s.out[:at+n*w.free], n, then, nil
}

// probe finds out what fails of the way's own condition, if anything does: else it leaves what it said of the last failure.
func (s *solver) probe(w *way, args []int32) {
	failed, why, bound := s.failed, s.why, s.boundAt
	regs := slices.Clone(s.regsAt)
	s.out, s.left = nil, 1
	s.start(w, args, nil)
	s.failed, s.deepest = nil, -1
	if !s.run(w.when, nil, 0) {
		s.failed, s.why, s.boundAt, s.regsAt = failed, why, bound, regs
	}
}

func (s *solver) start(w *way, args []int32, from []choice) {
	s.full, s.free = len(w.vars), w.free
	s.regs = append(append(s.regs[:0], args...), make([]int32, w.free)...)
	s.bound = 1<<len(args) - 1
	s.room, s.err = s.room[:0], nil
	s.path, s.resume = append(s.path[:0], from...), from != nil
}

// run goes on as long as it returns true: there may be more bindings to find.
func (s *solver) run(todo []*lit, skip *lit, depth int) bool {
	base := len(s.room)
	defer func() { s.room = s.room[:base] }()
	var best *lit
	var bestAtoms []int32
	var either *lit
	fewest := math.MaxInt
	for _, l := range todo {
		switch {
		case l == skip:
		case l.vars&^s.bound == 0:
			if !s.test(l) {
				s.note(l, depth)
				return s.err == nil
			}
		default:
			s.room = append(s.room, l)
			switch l.kind {
			case litFact:
				if atoms := s.w.matches(&l.atom, s.regs, s.bound); len(atoms) < fewest {
					best, bestAtoms, fewest = l, atoms, len(atoms)
				}
			case litAny:
				if either == nil {
					either = l
				}
			}
		}
	}
	rest, from := s.room[base:], 0
	if s.resume && depth < len(s.path) {
		from = s.path[depth].at
		if l := s.path[depth].lit; l.kind == litFact {
			best, bestAtoms = l, s.w.matches(&l.atom, s.regs, s.bound)
		}
	}
	switch {
	case best != nil:
		return s.join(best, bestAtoms, from, rest, depth)
	case either != nil:
		for i := from; i < len(either.branches); i++ {
			s.choose(either, i, depth)
			more := append(slices.Clone(rest), either.branches[i]...)
			if !s.run(more, either, depth+1) {
				return false
			}
		}
		return true
	case s.resume:
		s.resume = false
		return true
	default:
		s.out = append(s.out, s.regs[s.full-s.free:s.full]...)
		s.left--
		return s.left > 0
	}
}

func (s *solver) choose(l *lit, at, depth int) {
	if s.resume {
		return // the rest of the path is still to be followed
	}
	s.path = append(s.path[:depth], choice{l, at})
}

// join goes on with each true atom that fits.
func (s *solver) join(l *lit, atoms []int32, from int, rest []*lit, depth int) bool {
	bound, met := s.bound, false
	for i := from; i < len(atoms); i++ {
		if !s.w.has(atoms[i]) {
			continue
		}
		s.bound = bound
		if !s.unify(l.atom.args, s.w.atoms.args(atoms[i])) {
			continue
		}
		met = true
		s.choose(l, i, depth)
		if !s.run(rest, l, depth+1) {
			return false
		}
	}
	s.bound = bound
	if !met {
		s.note(l, depth)
	}
	return s.err == nil
}

func (s *solver) unify(ts []term, vals []int32) bool {
	for i, t := range ts {
		switch {
		case t < 0:
			if s.w.consts[^t] != vals[i] {
				return false
			}
		case s.bound&(1<<t) != 0:
			if s.regs[t] != vals[i] {
				return false
			}
		default:
			s.regs[t] = vals[i]
			s.bound |= 1 << t
		}
	}
	return true
}

// test decides a condition whose variables are bound.
func (s *solver) test(l *lit) bool {
	switch l.kind {
	case litFact:
		return s.w.holds(&l.atom, s.regs)
	case litNotFact:
		return !s.w.holds(&l.atom, s.regs)
	case litEqual:
		return s.w.value(l.atom.args[0], s.regs) == s.w.value(l.atom.args[1], s.regs)
	case litNotEqual:
		return s.w.value(l.atom.args[0], s.regs) != s.w.value(l.atom.args[1], s.regs)
	case litAny:
		return slices.ContainsFunc(l.branches, s.testAll)
	default:
		s.vals = s.vals[:0]
		for _, t := range l.regs {
			s.vals = append(s.vals, s.w.values[s.regs[t]])
		}
		ok, why, err := l.guard.Test(s.vals)
		if err != nil && s.err == nil {
			s.err = err
		}
		s.said = why
		return err == nil && ok != l.negated
	}
}

func (s *solver) testAll(ls []*lit) bool {
	for _, l := range ls {
		if !s.test(l) {
			return false
		}
	}
	return true
}

// note remembers the failure of the attempt that got furthest.
func (s *solver) note(l *lit, depth int) {
	if depth <= s.deepest {
		return
	}
	s.deepest, s.failed, s.boundAt = depth, l, s.bound
	s.regsAt = append(s.regsAt[:0], s.regs[:bits.Len64(s.bound)]...)
	s.why = ""
	if l.kind == litGuard {
		s.why = s.said
	}
}

// sortRows sorts rows of width n, drops what is there twice and returns how many are left.
func sortRows(data []int32, n int) int {
	count := len(data) / n
	if count < 2 {
		return count
	}
	if n == 1 {
		slices.Sort(data)
		return len(slices.Compact(data))
	}
	row := func(i int) []int32 { return data[i*n : (i+1)*n] }
	order := make([]int32, count)
	sorted := true
	for i := range order {
		order[i] = int32(i)
		sorted = sorted && (i == 0 || slices.Compare(row(i-1), row(i)) < 0)
	}
	if sorted {
		return count
	}
	slices.SortFunc(order, func(a, b int32) int { return slices.Compare(row(int(a)), row(int(b))) })
	tmp := make([]int32, 0, len(data))
	for _, i := range order {
		r := row(int(i))
		if len(tmp) == 0 || !slices.Equal(tmp[len(tmp)-n:], r) {
			tmp = append(tmp, r...)
		}
	}
	return copy(data, tmp) / n
}
