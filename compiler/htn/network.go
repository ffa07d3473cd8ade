package htn

// The agenda is what is still to do: a list of the tasks that nothing unfinished is ordered before. Each carries what
// its completion releases. Lists and nodes never change once made, so a branch of the search that fails leaves nothing behind;
// only the count of a join does, on the world's trail.

// agenda is a list of tasks that can be taken on now, in the order in which a reader would.
type agenda struct {
	node *pending
	rest *agenda
}

// pending is an occurrence of a task that is not achieved yet.
type pending struct {
	task   int32
	sub    int32 // which step of the parent's method, or which goal
	args   []int32
	parent int32   // frame of the method that it is a step of; -1: a goal or a need
	owner  int32   // the same; for a need: of who asked first
	asked  int32   // so many of the task's needs are met
	shared int32   // the need that it achieves, or -1
	conts  []*cont // told when it is achieved
	key    key     // of all of this but parent and owner
}

// cont is what happens once count tasks are achieved: a need is met, a task is released, and what comes after the task that was
// replaced by these goes on.
type cont struct {
	count, left int32 // left goes down and up again with the search
	need        int32 // or -1
	target      *pending
	up          []*cont
	key         key
}

func (n *pending) rekey() {
	k := newKey(keyNode, n.task).foldAll(n.args).fold(uint64(uint32(n.asked)))
	for _, c := range n.conts {
		k = k.foldKey(c.key)
	}
	n.key = k
}

// expand replaces a task by the steps of a method: the result starts with those that nothing is ordered before. frame is where that happens.
func (s *search) expand(n *pending, w *way, regs []int32, frame int32, rest *agenda) *agenda {
	if len(w.subs) == 0 {
		return s.complete(n.conts, rest)
	}
	nargs, nconts := 0, 0
	for i := range w.subs {
		nargs += len(w.subs[i].args)
		nconts += len(w.succ[i])
		if len(w.succ[i]) == 0 {
			nconts++
		}
	}
	nodes := make([]pending, len(w.subs))
	entries := make([]cont, len(w.subs)) // what has to be achieved before a step
	args := make([]int32, 0, nargs)
	links := make([]*cont, 0, nconts)
	// Joins of different occurrences must not look alike; the steps of a sequence may, so that a loop is seen to be one.
	var id key
	if !w.total {
		id = n.key.foldAll(regs[len(n.args):])
		for c := w.name; c != ""; c = c[1:] {
			id = id.fold(uint64(c[0]))
		}
	}
	last := n.conts
	if w.sinks > 1 {
		last = []*cont{{count: w.sinks, left: w.sinks, need: -1, up: n.conts, key: id.fold(keyJoin)}}
	}
	for k := len(w.topo) - 1; k >= 0; k-- {
		i := w.topo[k]
		sub := &w.subs[i]
		from := len(args)
		args = s.w.ground(args, sub.args, regs)
		node := &nodes[i]
		*node = pending{task: sub.task, sub: i, args: args[from:len(args):len(args)], parent: frame, owner: frame, shared: -1}
		if len(w.succ[i]) == 0 {
			node.conts = last
		} else {
			from := len(links)
			for _, j := range w.succ[i] {
				links = append(links, &entries[j])
			}
			node.conts = links[from:len(links):len(links)]
		}
		node.rekey()
		if !w.total {
			node.key = node.key.foldKey(id).fold(uint64(i))
		}
		e := &entries[i]
		*e = cont{count: w.indeg[i], left: w.indeg[i], need: -1, target: node, key: node.key.fold(keyJoin)}
	}
	for k := len(w.topo) - 1; k >= 0; k-- {
		if i := w.topo[k]; w.indeg[i] == 0 {
			rest = s.push(&nodes[i], rest)
		}
	}
	return rest
}

func (s *search) push(n *pending, rest *agenda) *agenda {
	s.w.sum = s.w.sum.plus(n.key)
	return &agenda{n, rest}
}

// complete tells that a task is achieved.
func (s *search) complete(conts []*cont, rest *agenda) *agenda {
	for i := len(conts) - 1; i >= 0; i-- { // so that what is written first comes first
		c := conts[i]
		if c.count > 1 {
			if c.left < c.count {
				s.w.sum = s.w.sum.minus(c.key.fold(keyOpen).fold(uint64(c.left)))
			}
			c.left--
			s.w.trail = append(s.w.trail, change{join: c})
			if c.left > 0 {
				s.w.sum = s.w.sum.plus(c.key.fold(keyOpen).fold(uint64(c.left)))
				continue
			}
		}
		if c.need >= 0 {
			s.w.advance(c.need)
		}
		if c.target != nil {
			rest = s.push(c.target, rest)
		}
		if c.up != nil {
			rest = s.complete(c.up, rest)
		}
	}
	return rest
}

// ask returns what has to be taken on so that n can be: the first of its needs that is not met, with n behind it, or nil
// when all are. It returns false when that need is being achieved elsewhere: n has to wait.
func (s *search) ask(n *pending) (first *pending, ok bool) {
	t := &s.p.tasks[n.task]
	for i := n.asked; int(i) < len(t.needs); i++ {
		sub := &t.needs[i]
		s.args = s.w.ground(s.args[:0], sub.args, n.args)
		id := s.w.need(sub.task, s.args)
		switch s.w.status[id] {
		case needBegun:
			return nil, false
		case needUnasked:
			s.w.advance(id)
			later := *n
			later.asked = i + 1
			later.rekey()
			c := &cont{count: 1, left: 1, need: id, target: &later, key: later.key.fold(keyNeed).fold(uint64(id))}
			first = &pending{task: sub.task, args: s.w.needs.args(id), parent: -1, owner: n.owner, shared: id, conts: []*cont{c}}
			first.rekey()
			return first, true
		}
	}
	return nil, true
}
