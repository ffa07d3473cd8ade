package htn

import "slices"

// Conditions that the steps of a method are bound to ask for are asked with its own: what can
// only fail later is not tried at all. This changes no plan and no order of plans.

// pullUp gives each way the conditions of its steps that are known to be unchanged when their turn comes.
func (p *Program) pullUp() {
	u := &puller{p: p, writes: p.writes(), needed: make([][]*lit, len(p.tasks)), state: make([]uint8, len(p.tasks))}
	for i := range p.tasks {
		for j := range p.tasks[i].ways {
			if w := &p.tasks[i].ways[j]; len(w.subs) > 0 {
				w.steady, w.alone = u.pull(w, false), u.pull(w, true)
			}
		}
	}
}

type puller struct {
	p      *Program
	writes [][]uint64 // by task: the relations that it, or what is below it, writes; nil: too many to know
	needed [][]*lit   // by task: what must hold when it starts, about its parameters
	state  []uint8    // of needed: 0 unknown, 1 being found, 2 known
}

// writes finds the relations that each task can change, by itself, its steps or its needs.
func (p *Program) writes() [][]uint64 {
	const tooMany = 1 << 22
	words := (len(p.rels) + 63) / 64
	if words*len(p.tasks) > tooMany {
		return nil
	}
	out := make([][]uint64, len(p.tasks))
	users := p.users()
	var queue []int32
	for i := range p.tasks {
		out[i] = make([]uint64, words)
		if op := p.tasks[i].op; op != nil {
			for _, a := range slices.Concat(op.add, op.del) {
				out[i][a.rel>>6] |= 1 << (a.rel & 63)
			}
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, u := range users[i] {
			more := false
			for k, w := range out[i] {
				more = more || w&^out[u][k] != 0
				out[u][k] |= w
			}
			if more {
				queue = append(queue, u)
			}
		}
	}
	return out
}

// changes says whether one of the tasks may write the relation.
func (u *puller) changes(tasks []sub, rel int32) bool {
	return u.writes == nil || slices.ContainsFunc(tasks, func(s sub) bool { return u.writes[s.task][rel>>6]&(1<<(rel&63)) != 0 })
}

// pull returns the way's condition with what its steps ask for. alone: nothing else is being done meanwhile, so that facts
// stay as they are until a step before changes them; else only relations that nothing changes count.
func (u *puller) pull(w *way, alone bool) []*lit {
	out := slices.Clone(w.when)
	var before []sub
	for _, i := range w.topo {
		s := &w.subs[i]
		for _, l := range u.need(s.task) {
			if m, ok := l.of(s); ok && (m.steady(u.p) || alone && w.total && !u.changes(before, l.atom.rel)) && !slices.ContainsFunc(out, m.same) {
				out = append(out, m)
			}
		}
		before = append(before, *s)
	}
	return out
}

// need returns the conditions about a task's parameters without which it cannot be achieved.
func (u *puller) need(task int32) []*lit {
	if u.state[task] == 0 {
		u.state[task] = 1 // of a task below itself nothing is known
		t := &u.p.tasks[task]
		var all []*lit
		for j := range t.ways {
			w := &t.ways[j]
			var own []*lit
			for _, l := range u.pull(w, true) {
				if l.vars>>len(t.params) == 0 && l.kind <= litNotEqual && (l.steady(u.p) || !u.changes(t.needs, l.atom.rel)) {
					own = append(own, l)
				}
			}
			if j == 0 {
				all = own
			} else {
				all = slices.DeleteFunc(all, func(l *lit) bool { return !slices.ContainsFunc(own, l.same) })
			}
		}
		u.needed[task], u.state[task] = all, 2
	}
	return u.needed[task]
}

// steady says that nothing changes whether l holds.
func (l *lit) steady(p *Program) bool {
	return l.kind == litEqual || l.kind == litNotEqual || l.kind <= litNotFact && !p.rels[l.atom.rel].written
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
