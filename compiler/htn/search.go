package htn

import (
	"context"
	"iter"
	"slices"
)

const (
	defaultNodes = 2_000_000
	defaultDepth = 2_000_000
	defaultBytes = 4 << 30
)

// frame is a moment of the search: what is to do, and which way of going on is being tried.
type frame struct {
	agenda *agenda   // at this moment
	at     *agenda   // whose task is being tried; nil before the first
	pick   *pending  // that task, or a need that has to be met before it
	rest   *agenda   // the agenda without it
	enter  mark      // the world at this moment
	begun  mark      // the world once the needs of the task are begun
	turn   int32     // how many methods were tried before the present one; -1 before the first
	way    int32     // the method being tried
	binds  int32     // where the bindings of its free variables start in search.binds
	next   int32     // how many of them have been tried
	count  int32     // of how many
	need   int32     // the need that the task is, or is below; -1: none
	more   []choice  // where to find others
	least  float64   // what a plan costs, or lasts, at least that goes on from here: see prefer.go
	pruned bool      // from here on, something was not tried because it cannot be better
	self   key       // of a recursive task being tried, and the facts
	inside int32     // the frame + 1 that last took such a task apart, in search.latest
	nested bool      // the task is below itself too often
	apart  bool      // the task is taken apart
	again  bool      // it was not tried again below itself
	solved bool      // a candidate was found from here
	behind bool      // all that is left to do comes after an open task
	known  *hopeless // that the task cannot be achieved, if that is known

	// While nothing is found: how far what failed reaches, see hopeless.go.
	low  int32 // the lowest owner of a task that failed after this one's were taken on
	deps span  // the enclosing tasks that were not tried again
	span *enclosure

	against []objection // to the task being tried
	own     *refusal    // of the first task that was tried
	fail    *refusal    // of one that comes later, although this one could be done: the smallest
}

// search is one depth-first search. Everything that it changes is undone on the way back, so that it can go on after
// each candidate.
type search struct {
	p        *Program
	w        *world
	root     way      // the goals
	goals    []int32  // their arguments
	initial  []uint64 // the atoms that were true
	solver   solver
	limits   Limits
	frames   []frame
	binds    []int32          // a stack: the bindings still to try
	seen     map[key]*refusal // moments: why there is no plan from there on, or one of the next two
	open     *refusal         // the moment is on the way to the present one
	solved   *refusal         // candidates were found from there
	excluded map[int32][]ban  // by ground task
	grounds  tuples           // the ground tasks in excluded
	args     []int32
	regs     []int32
	nodes    int
	round    round
	until    int               // at so much effort the round has had its share
	failures int               // moments given up
	parallel bool              // there are tasks that could be interleaved
	rounds   []round           // those to come
	puller   *puller           // of the present round
	pullers  [2]*puller        // when tasks are interleaved, and when not
	tabled   bool              // tasks are achieved one after the other and have no needs: see hopeless.go
	hopeless map[key]*hopeless // by task and facts: what cannot be achieved
	latest   map[key]int32     // by task and facts: the last frame + 1 that took such a task apart
	cut      bool              // that has kept something from being tried
	why      *refusal          // of the whole
	told     map[key]bool      // the candidates so far, by what they consist of
	prefer   *preference       // nil: the written order
	reads    *Reads            // nil: not kept
}

// ban is an [Exclusion].
type ban struct {
	way    int32 // -1: a primitive task
	bind   []int32
	reason string
}

// Plans searches for candidates, the first being the one that a reader of the domain expects. It ends with the error
// [*NoPlanError] when there is none at all, and with [*LimitError] when the context or a limit ends it; a [*DomainError] says that the
// problem makes no sense, and the error of a [Guard] is passed on as it is.
func (p *Program) Plans(ctx context.Context, prob Problem) iter.Seq2[Candidate, error] {
	if prob.Prefer != Written {
		return p.preferred(ctx, prob)
	}
	return func(yield func(Candidate, error) bool) {
		s, err := p.newSearch(prob)
		if err != nil {
			yield(Candidate{}, err)
			return
		}
		found := false
		for {
			ok, err := s.nextPlan(ctx)
			if err != nil {
				yield(Candidate{}, err)
				return
			}
			if !ok && s.nextRound() {
				continue
			}
			if !ok {
				break
			}
			if found = true; s.told[s.fingerprint()] {
				continue // only the order in which it was found differs
			}
			s.told[s.fingerprint()] = true
			if !yield(s.candidate(), nil) {
				return
			}
		}
		if !found {
			yield(Candidate{}, s.noPlan())
		}
	}
}

func (p *Program) newSearch(prob Problem) (*search, error) {
	c := scope{p: p}
	var extra []Value
	root := way{name: "goal"}
	for _, g := range prob.Goal {
		t, ok := p.byName[g.Task]
		if !ok {
			return nil, c.errorf("unknown task %q", g.Task)
		}
		if n := len(p.tasks[t].params); n != len(g.Args) {
			return nil, c.errorf("task %q takes %d arguments, not %d", g.Task, n, len(g.Args))
		}
		for _, a := range g.Args {
			if a.Var != "" || a.Func != nil {
				return nil, c.errorf("argument %q of goal %q is no constant", a.Var, g.Task)
			}
			extra = append(extra, a.Const)
		}
	}
	for _, e := range prob.Exclude { // values that are only computed again during the search
		extra = append(extra, e.Args...)
		for _, b := range e.Bind {
			extra = append(extra, b.Value)
		}
	}
	w, err := newWorld(p, prob.Facts, extra)
	if err != nil {
		return nil, err
	}
	s := &search{p: p, w: w, limits: prob.Limits, open: &refusal{}, solved: &refusal{}, told: map[key]bool{}, excluded: map[int32][]ban{}}
	s.solver.w = w
	s.limits.Nodes = positive(s.limits.Nodes, defaultNodes)
	s.limits.Depth = positive(s.limits.Depth, defaultDepth)
	s.limits.Bytes = positive(s.limits.Bytes, defaultBytes)
	if err := s.exclude(prob.Exclude); err != nil {
		return nil, err
	}
	if err := s.done(prob.Done); err != nil {
		return nil, err
	}
	var order [][2]int
	if !prob.Unordered {
		order = Sequence(len(prob.Goal))
	}
	root.subs = make([]sub, len(prob.Goal))
	var regs []int32
	for i, g := range prob.Goal {
		sb := sub{name: g.Name, task: p.byName[g.Task]}
		for _, a := range g.Args {
			sb.args = append(sb.args, term(len(regs)))
			regs = append(regs, w.number(a.Const))
		}
		root.subs[i] = sb
	}
	if err := c.order(&root, order); err != nil {
		return nil, err
	}
	s.root, s.initial = root, slices.Clone(w.bits)
	s.goals = regs
	const share = 1 << 16
	s.rounds = []round{{nesting: 1, serial: true, share: share}, {nesting: 1, serial: true, short: true, share: share}}
	s.parallel = !root.total || p.parallel
	if s.parallel {
		s.rounds = slices.Insert(s.rounds, 1, round{nesting: 1, share: share})
	}
	if prob.Prefer != Written {
		s.estimate(prob)
	} else {
		s.reads = &Reads{p: p, seen: map[uint64]int32{}, byNeed: map[int32]int32{}}
	}
	s.nextRound()
	return s, nil
}

// done makes needs achieved before anything begins.
func (s *search) done(needs []Sub) error {
	for _, n := range needs {
		t, ok := s.p.byName[n.Task]
		if !ok {
			return scope{p: s.p}.errorf("unknown task %q is done", n.Task)
		}
		args := make([]int32, len(n.Args))
		for i, a := range n.Args {
			args[i] = s.w.number(a.Const)
		}
		if id := s.w.need(t, args); s.w.status[id] == needUnasked {
			s.w.advance(id)
			s.w.advance(id)
		}
	}
	s.w.trail, s.w.zero = s.w.trail[:0], s.w.sum
	return nil
}

// round is an attempt at the whole problem in which some things are not tried; a later one tries them.
type round struct {
	nesting int  // how often a task may be below itself with the same facts
	serial  bool // of several tasks that could come next only the first is taken
	short   bool // methods with fewer steps come first: where the written order does not lead to a plan
	share   int  // so much effort, then it is another's turn
}

// nextRound begins again with the next round, and returns false if nothing was left out in the last of its kind.
func (s *search) nextRound() bool {
	if last := s.round; last.nesting > 0 && s.cut {
		last.nesting, last.share = 4*last.nesting, 4*last.share
		s.rounds = append(s.rounds, last)
	} else if last.nesting > 0 && !(last.serial && s.parallel) {
		s.rounds = nil // there is nothing that it did not try
	}
	if len(s.rounds) == 0 {
		return false
	}
	s.round, s.rounds = s.rounds[0], s.rounds[1:]
	s.until = s.effort() + s.round.share
	which := 0
	if s.round.serial {
		which = 1
	}
	if s.pullers[which] == nil {
		s.pullers[which] = newPuller(s.w, s.round.serial)
	}
	s.puller = s.pullers[which]
	s.tabled = s.round.serial && !s.p.shared && s.prefer == nil
	s.cut, s.seen, s.latest, s.hopeless = false, map[key]*refusal{}, map[key]int32{}, map[key]*hopeless{}
	s.w.undo(mark{sum: s.w.zero})
	first := s.expand(&pending{task: -1, shared: -1}, &s.root, s.goals, -1, nil)
	least := 0.0
	if s.prefer != nil {
		s.prefer.full = true
		clear(s.prefer.spent)
		least = s.prefer.start(s)
	}
	s.frames = append(s.frames[:0], frame{agenda: first, enter: s.w.mark(), turn: -1, low: none, deps: noSpan, least: least})
	s.seen[s.w.sum] = s.open
	return true
}

// effort is mostly about failures: a search that gets along is left alone.
func (s *search) effort() int { return s.failures + s.nodes>>4 }

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func (s *search) exclude(list []Exclusion) error {
	for _, e := range list {
		c := scope{p: s.p, task: e.Task, method: e.Method}
		ti, ok := s.p.byName[e.Task]
		if !ok {
			return c.errorf("is excluded but unknown")
		}
		t := &s.p.tasks[ti]
		b := ban{way: -1, reason: e.Reason}
		if e.Method != "" {
			if b.way = int32(slices.IndexFunc(t.ways, func(w way) bool { return w.name == e.Method })); b.way < 0 || t.op != nil {
				return c.errorf("is excluded but unknown")
			}
		} else if t.op == nil {
			return c.errorf("is excluded but not primitive")
		}
		args, ok := s.w.known(e.Args)
		if !ok {
			continue // with values that occur nowhere it cannot be tried
		}
		if e.Method != "" && e.Bind != nil {
			w := &t.ways[b.way]
			free := w.vars[len(w.vars)-w.free:]
			if len(free) != len(e.Bind) {
				return c.errorf("is excluded with %d variables, not %d", len(e.Bind), len(free))
			}
			vals := make([]Value, len(free))
			for i, v := range free {
				at := slices.IndexFunc(e.Bind, func(b Bound) bool { return b.Var == v })
				if at < 0 {
					return c.errorf("is excluded without a value for %q", v)
				}
				vals[i] = e.Bind[at].Value
			}
			if b.bind, ok = s.w.known(vals); !ok {
				continue
			}
		}
		id, _ := s.grounds.intern(ti, args)
		s.excluded[id] = append(s.excluded[id], b)
	}
	return nil
}

// banned returns the exclusion of a ground way, if there is one.
func (s *search) banned(n *pending, wi int32, bind []int32) *ban {
	id := s.grounds.find(n.task, n.args)
	if id < 0 {
		return nil
	}
	bans := s.excluded[id]
	for i := range bans {
		b := &bans[i]
		if (b.way < 0 || b.way == wi) && (b.bind == nil || slices.Equal(b.bind, bind)) {
			return b
		}
	}
	return nil
}

// nextPlan goes on until the frames are a plan; false: there is no other.
func (s *search) nextPlan(ctx context.Context) (bool, error) {
	if len(s.frames) == 1 && s.frames[0].agenda == nil { // nothing to do: one plan, the empty one
		f := &s.frames[0]
		f.solved, f.turn = true, f.turn+1
		if f.turn > 0 {
			s.frames = s.frames[:0]
		}
		return f.turn == 0, nil
	}
	for len(s.frames) > 0 {
		if s.effort() >= s.until {
			s.cut = true
			if s.prefer != nil {
				s.prefer.full = false
			}
			return false, nil
		}
		if s.nodes%1024 == 0 && ctx.Err() != nil {
			return false, &LimitError{Limit: "time", Nodes: s.nodes, Depth: len(s.frames), Err: context.Cause(ctx)}
		}
		after, ok, err := s.step()
		if err == nil {
			err = s.w.err
		}
		switch {
		case err != nil:
			return false, err
		case !ok:
			s.retreat()
		case after == nil:
			for i := len(s.frames) - 1; i >= 0 && !s.frames[i].solved; i-- {
				s.frames[i].solved = true
			}
			return true, nil
		default:
			if err := s.descend(after); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// step tries the next way of going on from the last frame. It returns what is then to do.
func (s *search) step() (after *agenda, ok bool, err error) {
	f := &s.frames[len(s.frames)-1]
	if f.apart {
		f.apart = false
		s.latest[f.self] = f.inside
	}
	for {
		switch {
		case f.next < f.count:
			s.w.undo(f.begun)
			if after, ok := s.try(f); ok {
				return after, true, nil
			}
		case f.more != nil:
			s.w.undo(f.begun)
			if err := s.bind(f); err != nil {
				return nil, false, err
			}
		case f.pick != nil && int(f.turn)+1 < s.ways(f.pick):
			s.w.undo(f.begun)
			f.turn++
			f.way = f.turn
			if by := s.p.tasks[f.pick.task].byLength; s.round.short && by != nil {
				f.way = by[f.turn]
			}
			if s.prefer != nil && s.prefer.ways[f.pick.task] != nil {
				f.way = s.prefer.ways[f.pick.task][f.turn]
			}
			if err := s.bind(f); err != nil {
				return nil, false, err
			}
		default:
			s.w.undo(f.enter)
			if !s.choose(f) {
				if f.pick == nil && !f.behind && s.opened() { // what waits waits for a need that is behind it
					f.behind = true
					return nil, true, nil
				}
				return nil, false, nil
			}
		}
	}
}

// ways returns how many ways there are to achieve a task: a group has one, its needs.
func (s *search) ways(n *pending) int {
	t := &s.p.tasks[n.task]
	if t.group() {
		return 1
	}
	return len(t.ways)
}

// choose takes the next task of the agenda that could come first. Once that was a task that commutes with everything,
// nothing is gained by taking another.
func (s *search) choose(f *frame) bool {
	next := f.agenda
	if f.at != nil {
		s.give(f)
		if s.round.serial || s.p.tasks[f.at.node.task].inert {
			return false
		}
		next = f.at.rest
	}
	for ; next != nil; next = next.rest {
		n := next.node
		s.w.sum = s.w.sum.minus(n.key)
		first, ok := s.ask(n)
		for ok && first != nil {
			n = first
			first, ok = s.ask(n)
		}
		if ok {
			f.at, f.pick, f.rest = next, n, without(f.agenda, next)
			if f.need = n.shared; f.need < 0 && n.parent >= 0 {
				f.need = s.frames[n.parent].need
			}
			f.begun = s.w.mark()
			f.turn, f.next, f.count = -1, 0, 0
			s.enclose(f)
			return true
		}
		s.w.undo(f.enter)
		if f.own == nil {
			f.own = newRefusal(n, []objection{{way: -1, reason: reasonCycle}})
		}
	}
	return false
}

// opened reports whether the plan so far has an open task.
func (s *search) opened() bool {
	return slices.ContainsFunc(s.frames, func(f frame) bool { return f.pick != nil && s.p.tasks[f.pick.task].open })
}

// without is the list without the cell at.
func without(list, at *agenda) *agenda {
	if list == at {
		return at.rest
	}
	return &agenda{list.node, without(list.rest, at)}
}

// bind finds the bindings of the free variables under which the current way is open.
func (s *search) bind(f *frame) (err error) {
	s.binds = s.binds[:f.binds]
	from := f.more
	f.next, f.count, f.more = 0, 1, nil
	t := &s.p.tasks[f.pick.task]
	if t.group() {
		return nil
	}
	w := &t.ways[f.way]
	switch {
	case f.nested:
		f.count = 0
		s.cut = s.cut || !s.tabled
		s.object(f, objection{reason: reasonNested})
		return nil
	case f.known != nil:
		f.count = 0
		f.against = f.known.why.against
		return nil
	}
	when := s.puller.condition(w)
	if len(when) == 0 {
		return nil
	}
	if s.reads != nil {
		s.reads.of(s, f.need)
		s.reads.conditions(s.w, when, f.pick.args)
	}
	var n int
	s.binds, n, f.more, err = s.solver.solve(w, when, f.pick.args, s.binds, from)
	if err != nil {
		return err
	}
	f.count = int32(n)
	if n == 0 && from == nil {
		if failed := s.solver.failed; len(when) > len(w.when) && !slices.Contains(w.when, failed) {
			s.solver.probe(w, f.pick.args) // the method's own condition, if that fails as well, is the better answer
		}
		s.object(f, objection{lit: s.solver.failed, regs: slices.Clone(s.solver.regsAt), bound: s.solver.boundAt, reason: s.solver.why})
	}
	return nil
}

// enclose finds out whether the task is below itself too often, with the same facts. Such a recursion has got nowhere, and
// could go on for ever: at first it is not tried at all.
func (s *search) enclose(f *frame) {
	n := f.pick
	f.nested, f.apart, f.known = false, false, nil
	t := &s.p.tasks[n.task]
	if t.op != nil || t.group() || !t.recursive && !s.tabled {
		return
	}
	f.self = newKey(keyNode, n.task).foldAll(n.args).foldKey(s.w.facts)
	if s.tabled {
		if f.known = s.recall(f); f.known != nil {
			return
		}
	}
	if !t.recursive {
		return
	}
	f.inside = s.latest[f.self]
	count, up, around := 0, n.parent, noSpan
	for at := f.inside - 1; at >= 0; at = s.frames[at].inside - 1 {
		for up > at {
			up = s.frames[up].pick.parent
		}
		if up == at {
			around.add(at)
			count++
		}
	}
	if f.nested = count >= s.round.nesting; f.nested {
		f.deps.merge(around)
		for at := f.inside - 1; at >= around.min; at = s.frames[at].inside - 1 {
			s.frames[at].again = true
		}
	}
}

// try goes on with the next binding of the current way: it applies the operator, or puts the steps of the method in the place of the task.
func (s *search) try(f *frame) (after *agenda, ok bool) {
	n := f.pick
	t := &s.p.tasks[n.task]
	s.nodes++
	if t.group() {
		f.next++
		return s.complete(n.conts, f.rest), true
	}
	w := &t.ways[f.way]
	bind := s.bindOf(f, f.next)
	f.next++
	s.regs = append(append(s.regs[:0], n.args...), bind...)
	if b := s.banned(n, f.way, bind); b != nil {
		s.object(f, objection{regs: slices.Clone(s.regs), bound: 1<<len(s.regs) - 1, reason: b.reason})
		return nil, false
	}
	if t.op != nil {
		s.w.apply(t.op, s.regs)
		if t.open { // nobody knows what is when it is done
			return f.rest, true
		}
		return s.complete(n.conts, f.rest), true
	}
	if t.recursive {
		f.apart = true
		s.latest[f.self] = int32(len(s.frames))
	}
	return s.expand(n, w, s.regs, int32(len(s.frames)-1), f.rest), true
}

// bindOf returns the values of the free variables of the frame's way in its nth binding.
func (s *search) bindOf(f *frame, n int32) []int32 {
	t := &s.p.tasks[f.pick.task]
	if t.group() {
		return nil
	}
	free := int32(t.ways[f.way].free)
	return s.binds[f.binds+n*free : f.binds+(n+1)*free]
}

// descend goes on from the moment at which the world now is, unless that is known to be pointless.
func (s *search) descend(after *agenda) error {
	f := &s.frames[len(s.frames)-1]
	was := s.seen[s.w.sum]
	least := s.boundOf(f)
	if s.prefer != nil && s.prefer.pointless(s.w.sum, least) {
		f.pruned = true
		return nil
	}
	switch {
	case was == s.open:
		f.low = -1
		s.object(f, objection{regs: slices.Clone(s.regs), bound: 1<<len(s.regs) - 1, reason: reasonLoop})
		return nil
	case was != nil && was != s.solved:
		f.low = -1
		s.blame(f, was)
		return nil
	}
	limit := func(name string, limit int) error {
		return &LimitError{Limit: name, Max: limit, Nodes: s.nodes, Depth: len(s.frames)}
	}
	switch {
	case s.nodes > s.limits.Nodes:
		return limit("nodes", s.limits.Nodes)
	case len(s.frames) >= s.limits.Depth:
		return limit("depth", s.limits.Depth)
	case s.bytes() > s.limits.Bytes:
		return limit("bytes", s.limits.Bytes)
	}
	s.seen[s.w.sum] = s.open
	s.frames = append(s.frames, frame{agenda: after, enter: s.w.mark(), turn: -1, binds: int32(len(s.binds)), least: least, low: none, deps: noSpan})
	return nil
}

// bytes estimates the memory in use.
func (s *search) bytes() int {
	const perSeen, perFrame, perNode, perAtom = 64, 256, 256, 64
	return perSeen*len(s.seen) + (perFrame+perNode)*len(s.frames) + perAtom*(s.w.atoms.len()+s.w.needs.len()) + 4*cap(s.binds) + 16*cap(s.w.trail)
}

// retreat gives up the last frame and tells the one before why.
func (s *search) retreat() {
	if s.failures++; s.failures > maxFailures {
		s.reads = nil
	} else if s.reads != nil {
		s.reads.failed = true
	}
	last := len(s.frames) - 1
	f := s.frames[last]
	s.frames[last] = frame{}
	s.frames = s.frames[:last]
	s.binds = s.binds[:f.binds]
	// That a task is not tried below itself leaves nothing out if it cannot be achieved anyway; if it can, then maybe
	// with other facts at the end.
	s.cut = s.cut || f.again && (f.solved || f.low < int32(last))
	if s.prefer != nil && (f.pruned || f.solved) {
		s.prefer.leave(&f)
	}
	if f.pruned { // it may lead to a plan all the same
		delete(s.seen, f.enter.sum)
		if last > 0 {
			s.frames[last-1].pruned = true
		}
		return
	}
	if f.solved {
		s.seen[f.enter.sum] = s.solved
		f.span.leave(nil, false)
		return
	}
	why := f.fail
	if why == nil {
		why = f.own
	}
	s.seen[f.enter.sum] = why
	if s.tabled {
		s.conclude(&f, int32(last))
	}
	if last > 0 {
		s.blame(&s.frames[last-1], why)
	} else if s.why == nil || why.size < s.why.size {
		s.why = why
	}
}
