package htn

import (
	"slices"
)

// deorder turns the sequence that the search found into the order that must be kept.
//
// What must be kept: the order that methods and goals ask for, needs before who needs them, and of two steps that
// touch the same fact with different intentions the order that they have. So every sequence that keeps the order
// meets the same conditions and ends with the same facts.
type deorder struct {
	s      *search
	bits   []uint64 // the facts as the sequence unfolds
	events []event  // in the order of the sequence
	regs   []int32

	c      *Candidate
	kids   []int32 // children of all nodes; those of node i, in the order of the method's steps, start at kidsAt[i]; -1: behind what is open
	kidsAt []int32
	goals  []int32
	first  []int32   // by node: the first of its own steps, or -1
	before [][]int32 // by node: the steps that its method orders before it
	makers [][]int32 // by node: the steps that made its method's condition hold
	edges  []edge
}

// event is that a step or a method's condition reads a fact, or that a step writes it.
type event struct {
	atom  int32
	id    int32 // step; for a method ^node
	write bool
	value bool
}

type edge struct {
	from, to int32
	why      reasonRank
	of       int32 // atom or node
}

// reasonRank orders the reasons: of several for the same pair the first is told.
type reasonRank uint8

const (
	rankOrder reasonRank = iota
	rankNeeds
	rankFact
	rankThreat
)

func newDeorder(s *search) *deorder {
	d := &deorder{s: s, bits: make([]uint64, len(s.w.bits))}
	copy(d.bits, s.initial)
	return d
}

func (d *deorder) has(a int32) bool { return d.bits[a>>6]&(1<<(a&63)) != 0 }

// add notes what the next frame of the plan reads and writes; step is -1 unless its task is primitive.
func (d *deorder) add(f *frame, step int, bind []int32) {
	t := &d.s.p.tasks[f.pick.task]
	if t.group() {
		d.kidsAt = append(d.kidsAt, 0)
		return
	}
	w := &t.ways[f.way]
	d.kidsAt = append(d.kidsAt, int32(len(w.subs)))
	d.regs = append(append(d.regs[:0], f.pick.args...), bind...)
	id := int32(step)
	if step < 0 {
		id = ^int32(len(d.kidsAt) - 1)
	}
	d.reads(w.when, id)
	if t.op == nil {
		return
	}
	from := len(d.events)
	for i := range t.op.add {
		d.write(&t.op.add[i], id, true)
	}
	added := d.events[from:len(d.events):len(d.events)]
	for i := range t.op.del {
		a := d.find(&t.op.del[i])
		if a >= 0 && !slices.ContainsFunc(added, func(e event) bool { return e.atom == a }) {
			d.write(&t.op.del[i], id, false)
		}
	}
}

func (d *deorder) find(a *atom) int32 {
	d.s.args = d.s.w.ground(d.s.args[:0], a.args, d.regs)
	return d.s.w.atoms.find(a.rel, d.s.args)
}

func (d *deorder) write(a *atom, id int32, on bool) {
	n := d.find(a)
	d.events = append(d.events, event{n, id, true, on})
	d.bits[n>>6] &^= 1 << (n & 63)
	if on {
		d.bits[n>>6] |= 1 << (n & 63)
	}
}

// reads notes facts that make the conditions hold: of alternatives, the first that does.
func (d *deorder) reads(lits []*lit, id int32) {
	for _, l := range lits {
		switch l.kind {
		case litFact, litNotFact:
			if n := d.find(&l.atom); n >= 0 && d.s.p.rels[l.atom.rel].written {
				d.events = append(d.events, event{n, id, false, l.kind == litFact})
			}
		case litAny:
			for _, b := range l.branches {
				if d.hold(b) {
					d.reads(b, id)
					break
				}
			}
		}
	}
}

func (d *deorder) hold(lits []*lit) bool {
	for _, l := range lits {
		ok := true
		switch l.kind {
		case litFact, litNotFact:
			n := d.find(&l.atom)
			ok = (n >= 0 && d.has(n)) == (l.kind == litFact)
		case litAny:
			ok = slices.ContainsFunc(l.branches, d.hold)
		default:
			s := &d.s.solver
			s.regs = append(s.regs[:0], d.regs...)
			ok = s.test(l)
		}
		if !ok {
			return false
		}
	}
	return true
}

// order gives the steps of the plan their edges.
func (d *deorder) order(c *Candidate) {
	d.c = c
	d.lay()
	d.methods(-1)
	for i := range c.Tree {
		if c.Tree[i].Method != "" {
			d.methods(int32(i))
		}
		d.needs(int32(i))
	}
	d.facts()
	d.settle()
}

// lay lays the tree out.
func (d *deorder) lay() {
	total := int32(0)
	for i, n := range d.kidsAt {
		d.kidsAt[i] = total
		total += n
	}
	d.kidsAt = append(d.kidsAt, total)
	d.kids = slices.Repeat([]int32{-1}, int(total))
	d.goals = slices.Repeat([]int32{-1}, len(d.s.root.subs))
	d.first = make([]int32, len(d.c.Tree))
	d.before, d.makers = make([][]int32, len(d.c.Tree)), make([][]int32, len(d.c.Tree))
	for i := range d.c.Tree {
		d.first[i] = -1
		if n := d.s.frames[i].pick; n.shared < 0 {
			d.children(n.parent)[n.sub] = int32(i)
		}
	}
	for i := range d.c.Steps {
		for n := d.c.Steps[i].Node; n >= 0 && d.first[n] < 0; n = d.c.Tree[n].Parent {
			d.first[n] = int32(i)
		}
	}
}

func (d *deorder) children(node int32) []int32 {
	if node < 0 {
		return d.goals
	}
	return d.kids[d.kidsAt[node]:d.kidsAt[node+1]]
}

func (d *deorder) own(node int32) bool { return node >= 0 && d.first[node] >= 0 }

// methods orders what is below the steps of the method that node uses (-1: below the goals). A step with nothing below
// it passes on what is before it.
func (d *deorder) methods(node int32) {
	w, kids := d.s.wayOf(node), d.children(node)
	for _, i := range w.topo {
		kid := kids[i]
		if kid < 0 {
			continue
		}
		if d.own(kid) && len(d.before[kid]) > 0 {
			d.link(d.before[kid], d.sources(nil, kid), rankOrder, node)
		}
		if len(w.succ[i]) == 0 {
			continue
		}
		done := d.sinks(nil, kid)
		if !d.own(kid) {
			done = append(done, d.before[kid]...)
		}
		for _, j := range w.succ[i] {
			if next := kids[j]; next >= 0 {
				d.before[next] = append(d.before[next], done...)
			}
		}
	}
}

func (d *deorder) needs(node int32) {
	needed := d.c.Tree[node].Needs
	if len(needed) == 0 || !d.own(node) {
		return
	}
	to := d.sources(nil, node)
	for _, n := range needed {
		d.link(d.sinks(nil, int32(n)), to, rankNeeds, int32(n))
	}
}

func (d *deorder) link(from, to []int32, why reasonRank, of int32) {
	for _, t := range to {
		for _, f := range from {
			if f < t {
				d.edges = append(d.edges, edge{f, t, why, of})
			}
		}
	}
}

// sources appends the steps below node that no other step below it is ordered before by methods.
func (d *deorder) sources(out []int32, node int32) []int32 {
	if node < 0 {
		return out
	}
	if step := d.c.Tree[node].Step; step >= 0 {
		return append(out, int32(step))
	}
	if !d.own(node) {
		return out
	}
	w, kids := d.s.wayOf(node), d.children(node)
	if len(kids) == 1 {
		return d.sources(out, kids[0])
	}
	late := make([]bool, len(kids)) // something below is ordered before
	for _, i := range w.topo {
		if !late[i] {
			out = d.sources(out, kids[i])
		}
		for _, j := range w.succ[i] {
			late[j] = late[j] || late[i] || d.own(kids[i])
		}
	}
	return out
}

// sinks appends the steps after which node is achieved: those below it that no other follows; if there are none, those
// of what it needs.
func (d *deorder) sinks(out []int32, node int32) []int32 {
	if node < 0 {
		return out
	}
	n := &d.c.Tree[node]
	if n.Step >= 0 {
		return append(out, int32(n.Step))
	}
	if !d.own(node) {
		for _, i := range n.Needs {
			out = d.sinks(out, int32(i))
		}
		for _, kid := range d.children(node) {
			out = d.sinks(out, kid)
		}
		return out
	}
	w, kids := d.s.wayOf(node), d.children(node)
	early := make([]bool, len(kids)) // something below follows
	for k := len(w.topo) - 1; k >= 0; k-- {
		i := w.topo[k]
		for _, j := range w.succ[i] {
			early[i] = early[i] || early[j] || d.own(kids[j])
		}
		if !early[i] {
			out = d.sinks(out, kids[i])
		}
	}
	return out
}

// run is a stretch of the sequence in which a fact does not change.
type run struct {
	value            bool
	given            bool    // it was so at the start: nobody has to bring it about
	writers, readers []int32 // readers: steps, or ^node of methods
}

// facts orders the steps that touch the same fact.
func (d *deorder) facts() {
	type history struct{ now, last run } // last is the stretch before
	var byAtom = make([]*history, d.s.w.atoms.len())
	for _, e := range d.events {
		h := byAtom[e.atom]
		if h == nil {
			h = &history{now: run{value: e.value, given: true}}
			if e.write {
				h.now.value = d.initially(e.atom)
			}
			byAtom[e.atom] = h
		}
		if !e.write {
			if !h.now.given {
				d.produce(h.now.writers[0], e)
			}
			h.now.readers = append(h.now.readers, e.id)
			continue
		}
		if h.now.value != e.value {
			h.last, h.now = h.now, run{value: e.value}
		}
		h.now.writers = append(h.now.writers, e.id)
		for _, r := range h.last.readers {
			d.threat(r, e)
		}
		d.link(h.last.writers, []int32{e.id}, rankThreat, e.atom)
	}
}

func (d *deorder) initially(a int32) bool {
	return int(a)>>6 < len(d.s.initial) && d.s.initial[a>>6]&(1<<(a&63)) != 0
}

// produce orders the step that made a fact so before the reader.
func (d *deorder) produce(writer int32, e event) {
	from := []int32{writer}
	if e.id >= 0 {
		d.link(from, []int32{e.id}, rankFact, e.atom)
		return
	}
	node := ^e.id
	d.makers[node] = append(d.makers[node], writer)
	if d.own(node) {
		d.link(from, d.sources(nil, node), rankFact, e.atom)
		return
	}
	// A method without steps: what comes after it comes after what allowed it.
	for _, at := range d.after(node) {
		d.link(from, d.sources(nil, at), rankFact, e.atom)
	}
}

// threat orders the reader before the step that makes the fact otherwise.
func (d *deorder) threat(reader int32, e event) {
	to := []int32{e.id}
	if reader >= 0 {
		d.link([]int32{reader}, to, rankThreat, e.atom)
		return
	}
	node := ^reader
	if d.own(node) && d.first[node] <= e.id {
		d.link([]int32{d.first[node]}, to, rankThreat, e.atom)
		return
	}
	// The moment at which the method was applied: after what is ordered before it and what allowed it.
	d.link(d.makers[node], to, rankThreat, e.atom)
	for at := int(node); at >= 0; at = d.c.Tree[at].Parent {
		if b := d.before[at]; len(b) > 0 {
			d.link(b, to, rankThreat, e.atom)
			return
		}
	}
}

// after returns the nodes with steps of their own that are next after one that has none.
func (d *deorder) after(node int32) (out []int32) {
	for {
		n := &d.c.Tree[node]
		if n.Shared {
			return out
		}
		parent := int32(n.Parent)
		w, kids := d.s.wayOf(parent), d.children(parent)
		late := make([]bool, len(kids))
		late[d.s.frames[node].pick.sub] = true
		for _, i := range w.topo {
			if !late[i] {
				continue
			}
			for _, j := range w.succ[i] {
				if late[j] {
					continue
				}
				if d.own(kids[j]) {
					out = append(out, kids[j])
				} else {
					late[j] = true
				}
			}
		}
		if len(out) > 0 || parent < 0 {
			return out
		}
		node = parent
	}
}

// settle gives each step its edges, without those that follow from others where a short search shows it.
func (d *deorder) settle() {
	n := len(d.c.Steps)
	start := make([]int32, n+1)
	for _, e := range d.edges {
		start[e.to+1]++
	}
	for i := range n {
		start[i+1] += start[i]
	}
	sorted := make([]edge, len(d.edges))
	next := slices.Clone(start)
	for _, e := range d.edges {
		sorted[next[e.to]] = e
		next[e.to]++
	}
	seen := make([]int32, n) // seen[i] == j+1: a path from i to j is known
	var stack []int32
	total := 0
	kept := make([]int32, n+1) // the kept edges of step i are sorted[start[i]:kept[i]]
	for j := range n {
		in := sorted[start[j]:start[j+1]]
		slices.SortFunc(in, func(a, b edge) int {
			if a.from != b.from {
				return int(a.from - b.from)
			}
			if a.why != b.why {
				return int(a.why) - int(b.why)
			}
			return int(a.of - b.of)
		})
		in = slices.CompactFunc(in, func(a, b edge) bool { return a.from == b.from })
		if len(in) > 1 {
			budget := 64 + 16*len(in)
			for k := len(in) - 1; k > 0 && budget > 0; k-- {
				if seen[in[k].from] != int32(j)+1 {
					stack = append(stack, in[k].from)
				}
				for len(stack) > 0 && budget > 0 {
					i := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					for _, e := range sorted[start[i]:kept[i]] {
						budget--
						if e.from >= in[0].from && seen[e.from] != int32(j)+1 {
							seen[e.from] = int32(j) + 1
							stack = append(stack, e.from)
						}
					}
				}
				stack = stack[:0]
			}
			in = slices.DeleteFunc(in, func(e edge) bool { return seen[e.from] == int32(j)+1 })
		}
		kept[j] = start[j] + int32(len(in))
		total += len(in)
	}
	out := make([]Edge, 0, total)
	names := make([]string, d.s.w.atoms.len())
	for j := range n {
		from := len(out)
		for _, e := range sorted[start[j]:kept[j]] {
			out = append(out, Edge{int(e.from), e.why.reason(), d.detail(e, names)})
		}
		d.c.Steps[j].After = out[from:len(out):len(out)]
	}
}

func (r reasonRank) reason() Reason {
	switch r {
	case rankOrder:
		return ReasonOrder
	case rankNeeds:
		return ReasonNeeds
	case rankFact:
		return ReasonFact
	default:
		return ReasonThreat
	}
}

// detail names the method, task or fact that an edge is about; names keeps those of atoms.
func (d *deorder) detail(e edge, names []string) string {
	switch {
	case e.why == rankNeeds:
		return d.c.Tree[e.of].Task
	case e.why == rankOrder && e.of < 0:
		return "goal"
	case e.why == rankOrder:
		return d.c.Tree[e.of].Method
	}
	if names[e.of] == "" {
		w := d.s.w
		names[e.of] = Call(w.p.rels[w.atoms.head(e.of)].name, w.valuesOf(w.atoms.args(e.of)))
	}
	return names[e.of]
}
