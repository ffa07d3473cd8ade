package htn

// fingerprint tells plans apart by the tasks and methods that they consist of, whatever their order.
func (s *search) fingerprint() (sum key) {
	for i := range s.frames {
		f := &s.frames[i]
		if f.pick == nil {
			continue
		}
		n := f.pick
		k := newKey(keyNode, n.task).foldAll(n.args).fold(uint64(uint32(f.way))).foldAll(s.bindOf(f, f.next-1))
		sum = sum.plus(k)
	}
	return sum
}

// candidate makes of the frames a plan.
func (s *search) candidate() Candidate {
	steps := 0
	for i := range s.frames {
		if n := s.frames[i].pick; n != nil && s.p.tasks[n.task].op != nil {
			steps++
		}
	}
	c := Candidate{Reads: s.reads, Tree: make([]Node, 0, len(s.frames)), Steps: make([]Step, 0, steps)}
	shared := map[int32]int{}
	var needers []int // nodes whose task has needs
	d := newDeorder(s)
	for i := range s.frames {
		f := &s.frames[i]
		if f.pick == nil {
			break // nothing was to do
		}
		n := f.pick
		t := &s.p.tasks[n.task]
		bind := s.bindOf(f, f.next-1)
		node := Node{Parent: int(n.parent), Task: t.name, Args: s.w.valuesOf(n.args), Step: -1}
		if n.shared >= 0 {
			node.Shared = true
			shared[n.shared] = i
		} else {
			node.Sub = s.wayOf(n.parent).subs[n.sub].name
		}
		if len(t.needs) > 0 {
			needers = append(needers, i)
		}
		switch {
		case t.op != nil:
			node.Step = len(c.Steps)
			c.Steps = append(c.Steps, Step{Task: t.name, Args: node.Args, Node: i, Bind: s.bound(t.op.vars, n.args, bind)})
			c.Cost += t.cost
		case !t.group():
			w := &t.ways[f.way]
			node.Method = w.name
			node.Bind = s.bound(w.vars[len(n.args):], nil, bind)
			if len(f.against) > 0 {
				node.Against = s.objections(newRefusal(n, f.against), map[*refusal]*Refusal{})
			}
			c.Cost += w.cost
		}
		c.Tree = append(c.Tree, node)
		d.add(f, node.Step, bind)
	}
	for _, i := range needers {
		n := s.frames[i].pick
		t := &s.p.tasks[n.task]
		for j := range t.needs {
			s.args = s.w.ground(s.args[:0], t.needs[j].args, n.args)
			if at, ok := shared[s.w.needs.find(t.needs[j].task, s.args)]; ok {
				c.Tree[i].Needs = append(c.Tree[i].Needs, at)
			}
		}
	}
	d.order(&c)
	return c
}

func (s *search) bound(vars []string, args, bind []int32) []Bound {
	if len(vars) == 0 {
		return nil
	}
	out := make([]Bound, 0, len(vars))
	for i, v := range vars {
		val := int32(0)
		if i < len(args) {
			val = args[i]
		} else {
			val = bind[i-len(args)]
		}
		out = append(out, Bound{v, s.w.values[val]})
	}
	return out
}

// wayOf returns the method that a frame used; the goals for -1.
func (s *search) wayOf(frame int32) *way {
	if frame < 0 {
		return &s.root
	}
	f := &s.frames[frame]
	return &s.p.tasks[f.pick.task].ways[f.way]
}
