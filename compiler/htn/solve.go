package htn

import (
	"math"
	"math/bits"
	"slices"
)

// solver finds the bindings under which conditions hold in a world.
//
// Conditions are tested as soon as their variables are bound; of the facts that can bind more, the one with the fewest
// matches goes first. The bindings come out sorted, so the order of the joins is nobody's business.
type solver struct {
	w     *world
	regs  []int32 // value by register; those not in bound mean nothing
	bound uint64
	room  []*lit  // a stack of lists of what is left to solve
	out   []int32 // the found bindings' free registers, one after the other
	free  int
	full  int
	first bool // one is enough
	vals  []Value

	deepest int // how many conditions the best attempt had met, and what then failed
	failed  *lit
	regsAt  []int32
	boundAt uint64
	why     string
	said    string // by the last guard
	err     error  // of a guard
}

// solve appends to out, for each binding of the way's free variables under which all conditions of when hold, their
// values. It returns the number of bindings. On zero, failed, regsAt, boundAt and why say what failed.
func (s *solver) solve(w *way, when []*lit, args []int32, out []int32) ([]int32, int, error) {
	s.out, s.first = out, w.free == 0
	at := len(out)
	s.start(w, args)
	s.failed, s.deepest = nil, -1
	more := s.run(when, nil, 0)
	switch {
	case s.err != nil:
		return out, 0, s.err
	case s.first && more:
		return out, 0, nil
	case s.first:
		return out, 1, nil
	}
	count := sortRows(s.out[at:], w.free)
	return s.out[:at+count*w.free], count, nil
}

// probe finds out what fails of the way's own condition, if anything does: else it leaves what it said of the last failure.
func (s *solver) probe(w *way, args []int32) {
	failed, why, bound := s.failed, s.why, s.boundAt
	regs := slices.Clone(s.regsAt)
	s.out, s.first = nil, true
	s.start(w, args)
	s.failed, s.deepest = nil, -1
	if !s.run(w.when, nil, 0) {
		s.failed, s.why, s.boundAt, s.regsAt = failed, why, bound, regs
	}
}

func (s *solver) start(w *way, args []int32) {
	s.full, s.free = len(w.vars), w.free
	s.regs = append(append(s.regs[:0], args...), make([]int32, w.free)...)
	s.bound = 1<<len(args) - 1
	s.room, s.err = s.room[:0], nil
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
	rest := s.room[base:]
	switch {
	case best != nil:
		return s.join(best, bestAtoms, rest, depth)
	case either != nil:
		for _, b := range either.branches {
			more := append(slices.Clone(rest), b...)
			if !s.run(more, either, depth+1) {
				return false
			}
		}
		return true
	default:
		s.out = append(s.out, s.regs[s.full-s.free:s.full]...)
		return !s.first
	}
}

// join goes on with each true atom that fits.
func (s *solver) join(l *lit, atoms []int32, rest []*lit, depth int) bool {
	bound, met := s.bound, false
	for _, a := range atoms {
		if !s.w.has(a) {
			continue
		}
		s.bound = bound
		if !s.unify(l.atom.args, s.w.atoms.args(a)) {
			continue
		}
		met = true
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
