package htn

import (
	"slices"
)

// Conditions that the steps of a method are bound to ask for are asked with its own: what can only fail later is not
// tried at all. This changes no plan and no order of plans.

// puller finds such conditions, of a method when it is first tried.
type puller struct {
	p        *Program
	w        *world
	alone    bool       // everything is done one after the other: facts stay as they are until a step changes them
	effects  []effectOn // of all operators
	byRel    [][]int32  // the effects, by relation
	extents  [][]uint64 // by relation: the values it holds of, for those with one column that nothing changes
	needed   [][]*lit   // by task: what must hold when it starts, about its parameters
	state    []uint8    // of needed: unknown, being found, known
	combined map[*way][]*lit
}

// effectOn is a fact that an operator writes. sets are the values that each argument can have; nil: any.
type effectOn struct {
	atom
	sets []set
}

// set is a set of values, by number; nil is the set of all.
type set []uint64

func newPuller(w *world, alone bool) *puller {
	p := w.p
	u := &puller{
		p: p, w: w, alone: alone, byRel: make([][]int32, len(p.rels)), extents: make([][]uint64, len(p.rels)),
		needed: make([][]*lit, len(p.tasks)), state: make([]uint8, len(p.tasks)), combined: map[*way][]*lit{},
	}
	for i := range p.tasks {
		if op := p.tasks[i].op; op != nil {
			for _, a := range slices.Concat(op.add, op.del) {
				e := effectOn{atom: a, sets: make([]set, len(a.args))}
				for k, t := range a.args {
					e.sets[k] = u.values(t, p.tasks[i].ways[0].when)
				}
				u.byRel[a.rel] = append(u.byRel[a.rel], int32(len(u.effects)))
				u.effects = append(u.effects, e)
			}
		}
	}
	return u
}

// values returns the values that a term can have under conditions: those that all unchanging relations of one column
// hold of that the conditions ask of it.
func (u *puller) values(t term, when []*lit) (out set) {
	if t < 0 {
		out = make(set, (len(u.w.values)+63)/64)
		c := u.w.consts[^t]
		out[c>>6] |= 1 << (c & 63)
		return out
	}
	for _, l := range when {
		if l.kind != litFact || len(l.atom.args) != 1 || l.atom.args[0] != t || u.p.rels[l.atom.rel].written {
			continue
		}
		extent := u.extent(l.atom.rel)
		if out == nil {
			out = slices.Clone(extent)
			continue
		}
		for i := range out {
			out[i] &= extent[i]
		}
	}
	return out
}

func (u *puller) extent(rel int32) set {
	if u.extents[rel] == nil {
		s := make(set, (len(u.w.values)+63)/64)
		for _, a := range u.w.ofRel[rel] {
			if v := u.w.atoms.args(a)[0]; u.w.has(a) && int(v)>>6 < len(s) {
				s[v>>6] |= 1 << (v & 63)
			}
		}
		u.extents[rel] = s
	}
	return u.extents[rel]
}

func (s set) meets(o set) bool {
	if s == nil || o == nil {
		return true
	}
	for i := range min(len(s), len(o)) {
		if s[i]&o[i] != 0 {
			return true
		}
	}
	return false
}

// changes says whether one of the tasks may change whether l holds; when is what is known of l's variables.
func (u *puller) changes(tasks []sub, l *lit, when []*lit) bool {
	if u.opens(tasks) {
		return true
	}
	if len(tasks) == 0 || len(u.byRel[l.atom.rel]) == 0 {
		return false
	}
	if u.p.writes == nil {
		return true
	}
	sets := make([]set, len(l.atom.args))
	for k, t := range l.atom.args {
		sets[k] = u.values(t, when)
	}
	for _, e := range u.byRel[l.atom.rel] {
		if !slices.ContainsFunc(tasks, func(s sub) bool { return u.p.writes[s.task][e>>6]&(1<<(e&63)) != 0 }) {
			continue
		}
		apart := false
		for k := range sets {
			apart = apart || !sets[k].meets(u.effects[e].sets[k])
		}
		if !apart {
			return true
		}
	}
	return false
}

// opens says that one of the tasks may do what is not known yet.
func (u *puller) opens(tasks []sub) bool {
	return slices.ContainsFunc(tasks, func(s sub) bool { return u.p.tasks[s.task].opens })
}

// condition returns the way's condition with what its steps ask for.
func (u *puller) condition(w *way) []*lit {
	if len(w.subs) == 0 {
		return w.when
	}
	out, known := u.combined[w]
	if !known {
		out = u.pull(w)
		u.combined[w] = out
	}
	return out
}

func (u *puller) pull(w *way) []*lit {
	out := slices.Clone(w.when)
	var before []sub
	for _, i := range w.topo {
		s := &w.subs[i]
		if !w.total { // any of the others may come first
			before = slices.Concat(w.subs[:i], w.subs[i+1:])
		}
		for _, l := range u.need(s.task) {
			m, ok := l.of(s)
			if ok && (u.steady(m) && !(m.kind <= litNotFact && u.opens(before)) || u.alone && !u.changes(before, m, out)) && !slices.ContainsFunc(out, m.same) {
				out = append(out, m)
			}
		}
		if w.total {
			before = append(before, *s)
		}
	}
	return out
}

const (
	unknown uint8 = iota
	beingFound
	found
)

// need returns the conditions about a task's parameters without which it cannot be achieved.
func (u *puller) need(task int32) []*lit {
	if u.state[task] == unknown {
		u.state[task] = beingFound // of a task below itself nothing is known
		t := &u.p.tasks[task]
		params := uint64(1)<<len(t.params) - 1
		var all []*lit
		for j := range t.ways {
			w := &t.ways[j]
			when := u.pull(w)
			var own []*lit
			for _, l := range when {
				if l.vars&^params == 0 && l.kind <= litNotEqual && (u.steady(l) && !(l.kind <= litNotFact && u.opens(t.needs)) || !u.changes(t.needs, l, when)) {
					own = append(own, l)
				}
			}
			if j == 0 {
				all = own
			} else {
				all = slices.DeleteFunc(all, func(l *lit) bool { return !slices.ContainsFunc(own, l.same) })
			}
		}
		u.needed[task], u.state[task] = all, found
	}
	return u.needed[task]
}

// steady says that nothing changes whether l holds.
func (u *puller) steady(l *lit) bool {
	return l.kind == litEqual || l.kind == litNotEqual || l.kind <= litNotFact && !u.p.rels[l.atom.rel].written
}

func (l *lit) same(o *lit) bool {
	return l.kind == o.kind && l.kind <= litNotEqual && l.atom.rel == o.atom.rel && slices.Equal(l.atom.args, o.atom.args)
}

// of is a condition about a task's parameters as one about the arguments of an occurrence; false: an argument is computed.
func (l *lit) of(s *sub) (*lit, bool) {
	out := *l
	out.vars, out.text, out.asker = 0, "", s
	out.atom.args = make([]term, len(l.atom.args))
	for i, t := range l.atom.args {
		if t >= 0 {
			t = s.args[t]
		}
		if t >= maxVars {
			return nil, false
		}
		if out.atom.args[i] = t; t >= 0 {
			out.vars |= 1 << t
		}
	}
	return &out, true
}
