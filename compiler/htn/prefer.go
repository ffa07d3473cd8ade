package htn

import (
	"cmp"
	"context"
	"iter"
	"math"
	"slices"
)

// A preference other than the written order is branch and bound over the search: of each task the methods with the least
// bound come first, and a moment from which no better candidate can come is not gone on from.
//
// The bound of a cost is exact but for what conditions forbid: what the goals and everything they need cost at least, and for each
// choice made how much more it costs than the best. That of a duration is the critical path of the best choices, which
// says when nothing better is left but little about single choices; so the search for a faster candidate has an end.

// preference is what a search prefers, with what it knows about that.
type preference struct {
	kind     Preference
	least    []float64       // by task: what it costs at least, without its needs; or how long it lasts at least, with them
	waits    []float64       // by task: how much of that its needs last
	ways     [][]int32       // by task: its methods, the best first; nil: as written
	expected map[int32]bool  // needs that every candidate has: they are in the bound from the start
	lasts    []float64       // by task: of a step
	want     int             // so many candidates
	best     []scored        // in order
	effort   int             // of the search when it found the first
	full     bool            // the round was not ended by its share of the effort
	spent    map[key]float64 // moments that were gone on from, with their bounds
}

type scored struct {
	Candidate
	score float64
}

// slack is how far sums of the same numbers in another order can differ.
const slack = 1e-9

// limit is what a candidate has to be better than.
func (p *preference) limit() float64 {
	if len(p.best) < p.want {
		return math.Inf(1)
	}
	worst := p.best[len(p.best)-1].score
	return worst - slack*max(1, worst)
}

// add keeps the candidate if it is one of the best; of equal ones the first stays first.
func (p *preference) add(c scored) {
	at := len(p.best)
	for at > 0 && c.score < p.best[at-1].score-slack*max(1, p.best[at-1].score) {
		at--
	}
	p.best = slices.Insert(p.best, at, c)
	p.best = p.best[:min(len(p.best), p.want)]
}

// preferred yields candidates, the best first. It finds a few at a time.
func (p *Program) preferred(ctx context.Context, prob Problem) iter.Seq2[Candidate, error] {
	return func(yield func(Candidate, error) bool) {
		told := 0
		for want := 1; ; want *= 4 {
			s, err := p.newSearch(prob)
			if err == nil {
				s.prefer.want = want
				err = s.optimise(ctx)
			}
			if err != nil {
				yield(Candidate{}, err)
				return
			}
			for _, c := range s.prefer.best[told:] {
				if !yield(c.Candidate, nil) {
					return
				}
			}
			if told = len(s.prefer.best); told < want {
				return
			}
		}
	}
}

// optimise finds the best candidates.
func (s *search) optimise(ctx context.Context) error {
	p := s.prefer
	for {
		ok, err := s.nextPlan(ctx)
		switch {
		case err != nil:
			return err
		case ok:
			if f := s.fingerprint(); !s.told[f] {
				s.told[f] = true
				if len(p.best) == 0 {
					p.effort = s.nodes
				}
				c := scored{Candidate: s.candidate()}
				if c.score = c.Cost; p.kind == Fastest {
					c.score = s.criticalPath(&c.Candidate)
				}
				p.add(c)
			}
			if p.kind == Fastest && len(p.best) == p.want && (s.frames[0].least >= p.limit() || s.nodes > 8*p.effort+1<<14) {
				return nil
			}
		case len(p.best) > 0 && p.full && (!s.round.serial || !s.parallel):
			return nil // a task below itself with the same facts makes no candidate better
		case len(p.best) > 0 && p.full:
			s.cut = false
			s.rounds = slices.DeleteFunc(s.rounds, func(r round) bool { return r.serial })
			if !s.nextRound() {
				return nil
			}
		case !s.nextRound():
			if len(p.best) == 0 {
				return s.noPlan()
			}
			return nil
		}
	}
}

// criticalPath is how long the steps of a candidate last when each begins as soon as it can.
func (s *search) criticalPath(c *Candidate) (longest float64) {
	ends := make([]float64, len(c.Steps))
	for i := range c.Steps {
		begin := 0.0
		for _, e := range c.Steps[i].After {
			begin = max(begin, ends[e.Step])
		}
		ends[i] = begin + s.prefer.lasts[s.frames[c.Steps[i].Node].pick.task]
		longest = max(longest, ends[i])
	}
	return longest
}

// estimate finds what tasks and methods cost, or last, at least, in the world as it is at the start.
func (s *search) estimate(prob Problem) {
	p := &preference{kind: prob.Prefer, ways: make([][]int32, len(s.p.tasks)), expected: map[int32]bool{}, spent: map[key]float64{}, waits: make([]float64, len(s.p.tasks))}
	s.prefer = p
	p.lasts = make([]float64, len(s.p.tasks))
	for i := range s.p.tasks {
		t := &s.p.tasks[i]
		if t.op == nil {
			continue
		}
		if p.lasts[i] = t.cost; p.kind == Fastest {
			p.lasts[i] = max(0, prob.Duration(t.name))
		}
	}
	open := make([][]bool, len(s.p.tasks))
	for i := range s.p.tasks {
		for j := range s.p.tasks[i].ways {
			open[i] = append(open[i], s.possible(int32(i), int32(j)))
		}
	}
	p.least = s.p.least(func(i int32, least []float64) float64 {
		t := &s.p.tasks[i]
		p.least = least
		waits := 0.0
		if p.kind == Fastest {
			for _, n := range t.needs {
				waits = max(waits, least[n.task])
			}
		}
		p.waits[i] = waits
		switch {
		case t.group():
			return waits
		case t.op != nil:
			return waits + p.lasts[i]
		}
		best := math.Inf(1)
		for j := range t.ways {
			if open[i][j] {
				best = min(best, p.way(&t.ways[j]))
			}
		}
		return waits + best
	})
	for i := range s.p.tasks {
		t := &s.p.tasks[i]
		if t.op != nil || len(t.ways) < 2 {
			continue
		}
		order := make([]int32, len(t.ways))
		for j := range order {
			order[j] = int32(j)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(p.way(&t.ways[a]), p.way(&t.ways[b])) })
		p.ways[i] = order
	}
}

// way is what a method costs, or lasts, at least.
func (p *preference) way(w *way) float64 {
	if p.kind == Cheapest {
		sum := w.cost
		for i := range w.subs {
			sum += p.least[w.subs[i].task]
		}
		return sum
	}
	begin := make([]float64, len(w.subs))
	end := 0.0
	for _, i := range w.topo {
		t := w.subs[i].task
		done := p.least[t]
		if begin[i] > p.waits[t] {
			done += begin[i] - p.waits[t]
		}
		for _, j := range w.succ[i] {
			begin[j] = max(begin[j], done)
		}
		end = max(end, done)
	}
	return end
}

// possible reports whether a method may be open, by what no step changes. Of a task with parameters that is not known.
func (s *search) possible(task, wi int32) bool {
	t := &s.p.tasks[task]
	if len(t.params) > 0 || t.op != nil {
		return true
	}
	w := &t.ways[wi]
	if w.free == 0 && s.banned(&pending{task: task}, wi, nil) != nil {
		return false
	}
	steady := slices.DeleteFunc(slices.Clone(w.when), func(l *lit) bool {
		return l.kind == litAny || l.kind <= litNotFact && s.p.rels[l.atom.rel].written
	})
	if len(steady) == 0 {
		return true
	}
	_, n, _, err := s.solver.solve(w, steady, nil, nil, nil)
	return n > 0 || err != nil
}

// start is the bound before anything is chosen.
func (p *preference) start(s *search) float64 {
	if p.kind == Fastest {
		return p.way(&s.root)
	}
	sum := 0.0
	var todo []int32
	for i := range s.root.subs {
		sum += p.least[s.root.subs[i].task]
		todo = append(todo, s.root.subs[i].task)
	}
	for len(todo) > 0 {
		t := &s.p.tasks[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		for _, n := range t.needs {
			if len(n.args) > 0 {
				continue // with which arguments is not known here
			}
			if id := s.w.need(n.task, nil); !p.expected[id] {
				p.expected[id] = true
				sum += p.least[n.task]
				todo = append(todo, n.task)
			}
		}
	}
	return sum
}

// boundOf is what a plan costs, or lasts, at least once the frame's task is achieved in the way that was chosen.
func (s *search) boundOf(f *frame) float64 {
	p := s.prefer
	if p == nil || p.kind == Fastest {
		return f.least
	}
	t := &s.p.tasks[f.pick.task]
	bound := f.least
	if id := f.pick.shared; id >= 0 && !p.expected[id] {
		bound += p.least[f.pick.task]
	}
	if t.op == nil && !t.group() {
		bound += p.way(&t.ways[f.way]) - p.least[f.pick.task]
	}
	return bound
}

// pointless reports whether nothing better can come of a moment with this bound.
func (p *preference) pointless(sum key, bound float64) bool {
	before, known := p.spent[sum]
	return bound >= p.limit() || known && bound >= before-slack*max(1, before)
}

// leave notes that a moment was gone on from. What follows from one depends on nothing before it but for durations and
// where more than the best is wanted.
func (p *preference) leave(f *frame) {
	if p.kind == Cheapest && p.want == 1 {
		p.spent[f.enter.sum] = f.least
	}
}
