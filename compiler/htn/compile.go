package htn

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/lang/diag"
)

// Program is a compiled [Domain]: names are numbers, variables are registers. It is immutable and may be shared.
type Program struct {
	tasks  []task
	byName map[string]int32
	rels   []relation
	byRel  map[relKey]int32
	consts []Value
	byVal  map[Value]int32
	funcs  []function
	shared bool // some task has needs

	parallel bool       // the steps of some method are not in sequence
	writes   [][]uint64 // by task: the effects, numbered in order of tasks, that it, its steps and its needs can have; nil: too many to know
}

// function is a compiled Func.
type function struct {
	Func
	regs []term
}

// maxVars is how many variables a task and a method may have together: a set of them is a word.
const maxVars = 64

type relKey struct {
	name  string
	arity int
}

type relation struct {
	relKey
	read, written bool // by any condition, by any operator
}

// fluent says that the search has to watch the relation: it changes, and somebody cares.
func (r *relation) fluent() bool { return r.read && r.written }

// term is a register; from maxVars on, maxVars + index into the functions; when negative, ^index into the constants.
type term int32

type atom struct {
	rel  int32
	args []term
}

// task is a compiled Task.
type task struct {
	name   string
	params []string
	needs  []sub
	op     *operator
	ways   []way // the methods; for a primitive task one, without steps, that stands for the operator
	cost   float64
	inert  bool // nothing that it, or what is below it, does matters to others, or the other way round
	rng    diag.Range

	byLength  []int32 // ways, those with the fewest steps first; nil: as written
	recursive bool    // it, or something below it, can be below itself
	open      bool    // it stands for what is not known yet
	opens     bool    // it, or something below it, is open
}

func (t *task) group() bool { return t.op == nil && len(t.ways) == 0 }

type operator struct {
	vars     []string // by register
	add, del []atom
}

// way is a compiled Method.
type way struct {
	name  string
	vars  []string // by register: the task's parameters, then the free ones
	free  int      // how many of vars are free
	when  []*lit
	anys  bool // when has alternatives, so that a binding can be found twice
	cost  float64
	subs  []sub
	topo  []int32   // subs, each after all that are ordered before it
	succ  [][]int32 // by sub: what directly follows
	indeg []int32
	sinks int32 // subs that nothing follows
	total bool  // every sub is ordered against every other
	rng   diag.Range
}

type sub struct {
	name string
	task int32
	args []term
	vars uint64 // registers in args
}

type litKind uint8

const (
	litFact litKind = iota
	litNotFact
	litEqual
	litNotEqual
	litGuard
	litAny
)

// lit is a condition in negation normal form.
type lit struct {
	kind     litKind
	negated  bool   // litGuard: must be false
	vars     uint64 // registers that it mentions
	atom     atom   // facts; for equality its two terms
	guard    Guard
	regs     []term   // of guard.Vars
	branches [][]*lit // litAny
	text     string
	rng      diag.Range
	asker    *sub // of a method's condition: the step whose condition it is
}

// Compile checks a domain and prepares it for planning, in time linear in its size. Errors are [*DomainError].
func Compile(d Domain) (*Program, error) {
	p := &Program{
		tasks:  make([]task, len(d.Tasks)),
		byName: make(map[string]int32, len(d.Tasks)),
		byRel:  map[relKey]int32{},
		byVal:  map[Value]int32{},
	}
	for i, t := range d.Tasks {
		if _, dup := p.byName[t.Name]; dup {
			return nil, &DomainError{Task: t.Name, Problem: "is declared twice"}
		}
		p.byName[t.Name] = int32(i)
		p.tasks[i].params = t.Params
	}
	for i := range d.Tasks {
		if err := p.task(&p.tasks[i], &d.Tasks[i]); err != nil {
			return nil, err
		}
	}
	p.findInert()
	p.findRecursive()
	p.findOpen()
	p.findLengths()
	p.findWrites()
	p.parallel = slices.ContainsFunc(p.tasks, func(t task) bool { return slices.ContainsFunc(t.ways, func(w way) bool { return !w.total }) })
	return p, nil
}

func (p *Program) task(out *task, in *Task) (err error) {
	*out = task{name: in.Name, params: in.Params, cost: in.Cost, rng: in.Range, open: in.Open, opens: in.Open}
	c := scope{p: p, task: in.Name, vars: in.Params}
	if err := c.check(in.Cost); err != nil {
		return err
	}
	if out.needs, err = c.subs(in.Needs); err != nil {
		return err
	}
	p.shared = p.shared || len(in.Needs) > 0
	if in.Operator != nil {
		if len(in.Methods) > 0 {
			return c.errorf("has an operator and methods")
		}
		return c.operator(out, in)
	}
	if in.When != nil {
		return c.errorf("has a condition but no operator")
	}
	if in.Open {
		return c.errorf("is open but has no operator")
	}
	out.ways = make([]way, len(in.Methods))
	for i := range in.Methods {
		m := &in.Methods[i]
		if slices.ContainsFunc(in.Methods[:i], func(o Method) bool { return o.Name == m.Name }) {
			return c.errorf("has two methods %q", m.Name)
		}
		if err := p.way(&out.ways[i], in, m); err != nil {
			return err
		}
	}
	return nil
}

// operator compiles the task's rule: variables of its patterns that are no parameters are free, as a method's are.
func (c scope) operator(out *task, in *Task) error {
	pre, effects, err := ruleFacts(in.Operator)
	if err != nil {
		return c.errorf("%v", err)
	}
	all := append(append(All{}, pre...), in.When)
	c.vars = slices.Clone(c.vars)
	for _, l := range pre {
		if h, ok := l.(Holds); ok {
			for _, t := range h.Args {
				if t.Var != "" && !slices.Contains(c.vars, t.Var) {
					c.vars = append(c.vars, t.Var)
				}
			}
		}
	}
	w := way{vars: c.vars, free: len(c.vars) - len(in.Params), total: true, rng: in.Range}
	if err := c.when(&w, all); err != nil {
		return err
	}
	op := &operator{vars: c.vars}
	for _, e := range effects {
		a, _, err := c.atom(e.rel, e.args)
		if err != nil {
			return err
		}
		c.p.rels[a.rel].written = true
		if e.add {
			op.add = append(op.add, a)
		} else {
			op.del = append(op.del, a)
		}
	}
	out.op, out.ways = op, []way{w}
	return nil
}

func (p *Program) way(out *way, t *Task, m *Method) (err error) {
	c := scope{p: p, task: t.Name, method: m.Name, vars: slices.Concat(t.Params, m.Vars)}
	*out = way{name: m.Name, vars: c.vars, free: len(m.Vars), cost: m.Cost, rng: m.Range}
	if err := c.check(m.Cost); err != nil {
		return err
	}
	if err := c.when(out, m.When); err != nil {
		return err
	}
	if out.subs, err = c.subs(m.Steps); err != nil {
		return err
	}
	return c.order(out, m.Order)
}

// order compiles the order of the steps into predecessor counts and successors.
func (c scope) order(w *way, order [][2]int) error {
	n := len(w.subs)
	w.succ, w.indeg, w.topo = make([][]int32, n), make([]int32, n), make([]int32, 0, n)
	for _, o := range order {
		i, j := o[0], o[1]
		if i < 0 || j < 0 || i >= n || j >= n {
			return c.errorf("orders step %d before step %d of %d", i, j, n)
		}
		w.succ[i] = append(w.succ[i], int32(j))
	}
	for i := range n {
		slices.Sort(w.succ[i])
		w.succ[i] = slices.Compact(w.succ[i])
		for _, j := range w.succ[i] {
			w.indeg[j]++
		}
		if len(w.succ[i]) == 0 {
			w.sinks++
		}
	}
	left := slices.Clone(w.indeg)
	for i := range n {
		if left[i] == 0 {
			w.topo = append(w.topo, int32(i))
		}
	}
	for k := 0; k < len(w.topo); k++ {
		for _, j := range w.succ[w.topo[k]] {
			if left[j]--; left[j] == 0 {
				w.topo = append(w.topo, j)
			}
		}
	}
	if len(w.topo) < n {
		return c.errorf("the order of its steps is a cycle")
	}
	w.total = true
	for k := 1; k < n; k++ {
		w.total = w.total && slices.Contains(w.succ[w.topo[k-1]], w.topo[k])
	}
	return nil
}

// scope is where names are looked up.
type scope struct {
	p            *Program
	task, method string
	vars         []string
}

func (c scope) errorf(format string, args ...any) error {
	return &DomainError{Task: c.task, Method: c.method, Problem: fmt.Sprintf(format, args...)}
}

func (c scope) check(cost float64) error {
	if !(cost >= 0) || math.IsInf(cost, 1) {
		return c.errorf("cost %v is no finite number of at least 0", cost)
	}
	for i, v := range c.vars {
		if v == "" || slices.Contains(c.vars[:i], v) {
			return c.errorf("variable %q is declared twice or empty", v)
		}
	}
	if len(c.vars) > maxVars {
		return c.errorf("has more than %d variables", maxVars)
	}
	return nil
}

func (c scope) term(t Term) (term, error) {
	if t.Func != nil {
		return 0, c.errorf("%q is computed where only a constant or a variable can stand", t.Func.Text)
	}
	if t.Var == "" {
		i, ok := c.p.byVal[t.Const]
		if !ok {
			i = int32(len(c.p.consts))
			c.p.byVal[t.Const] = i
			c.p.consts = append(c.p.consts, t.Const)
		}
		return ^term(i), nil
	}
	i := slices.Index(c.vars, t.Var)
	if i < 0 {
		return 0, c.errorf("unknown variable %q", t.Var)
	}
	return term(i), nil
}

// argument is a term that may be computed.
func (c scope) argument(t Term) (term, error) {
	if t.Func == nil {
		return c.term(t)
	}
	f := function{Func: *t.Func}
	for _, v := range f.Vars {
		r, err := c.term(V(v))
		if err != nil {
			return 0, err
		}
		f.regs = append(f.regs, r)
	}
	c.p.funcs = append(c.p.funcs, f)
	return maxVars + term(len(c.p.funcs)-1), nil
}

// varsOf returns the registers that a term depends on.
func (p *Program) varsOf(t term) (vars uint64) {
	switch {
	case t >= maxVars:
		for _, r := range p.funcs[t-maxVars].regs {
			vars |= p.varsOf(r)
		}
	case t >= 0:
		vars = 1 << t
	}
	return vars
}

func (c scope) terms(ts []Term) (out []term, vars uint64, err error) {
	out = make([]term, len(ts))
	for i, t := range ts {
		if out[i], err = c.term(t); err != nil {
			return nil, 0, err
		}
		if out[i] >= 0 {
			vars |= 1 << out[i]
		}
	}
	return out, vars, nil
}

func (c scope) atom(rel string, args []Term) (atom, uint64, error) {
	if len(args) > maxVars {
		return atom{}, 0, c.errorf("fact %q has more than %d columns", rel, maxVars)
	}
	ts, vars, err := c.terms(args)
	return atom{c.p.relation(rel, len(args)), ts}, vars, err
}

func (p *Program) relation(name string, arity int) int32 {
	k := relKey{name, arity}
	r, ok := p.byRel[k]
	if !ok {
		r = int32(len(p.rels))
		p.byRel[k] = r
		p.rels = append(p.rels, relation{relKey: k})
	}
	return r
}

func (c scope) subs(in []Sub) ([]sub, error) {
	out := make([]sub, len(in))
	for i, s := range in {
		t, ok := c.p.byName[s.Task]
		if !ok {
			return nil, c.errorf("unknown task %q", s.Task)
		}
		if n := len(c.p.tasks[t].params); n != len(s.Args) {
			return nil, c.errorf("task %q takes %d arguments, not %d", s.Task, n, len(s.Args))
		}
		out[i] = sub{name: s.Name, task: t, args: make([]term, len(s.Args))}
		for j, a := range s.Args {
			arg, err := c.argument(a)
			if err != nil {
				return nil, err
			}
			out[i].args[j] = arg
			out[i].vars |= c.p.varsOf(arg)
		}
	}
	return out, nil
}

// when compiles a condition and checks that it binds the free variables.
func (c scope) when(w *way, cond Cond) (err error) {
	if len(c.vars) > maxVars {
		return c.errorf("has more than %d variables", maxVars)
	}
	if w.when, err = c.cond(nil, cond, false); err != nil {
		return err
	}
	w.anys = slices.ContainsFunc(w.when, func(l *lit) bool { return l.kind == litAny })
	bound := binds(w.when)
	for i := len(w.vars) - w.free; i < len(w.vars); i++ {
		if bound&(1<<i) == 0 {
			return c.errorf("unbound variable %q: no positive fact of its condition mentions it", w.vars[i])
		}
	}
	return nil
}

// binds returns the variables that are bound however the conditions come to hold.
func binds(lits []*lit) (out uint64) {
	for _, l := range lits {
		switch {
		case l.kind == litFact:
			out |= l.vars
		case l.kind == litAny && len(l.branches) > 0:
			all := ^uint64(0)
			for _, b := range l.branches {
				all &= binds(b)
			}
			out |= all
		case l.kind == litAny: // false: it never comes to hold
			return ^uint64(0)
		}
	}
	return out
}

// cond appends what must hold for cond (or, negated, for its opposite) to out, in written order.
func (c scope) cond(out []*lit, cond Cond, negated bool) ([]*lit, error) {
	var err error
	switch x := cond.(type) {
	case nil:
		return c.cond(out, All{}, negated)
	case True:
		return c.cond(out, All{}, negated)
	case Not:
		return c.cond(out, x.Cond, !negated)
	case All:
		if negated {
			return c.alternatives(out, x, true)
		}
		for _, y := range x {
			if out, err = c.cond(out, y, false); err != nil {
				return nil, err
			}
		}
		return out, nil
	case Any:
		if !negated {
			return c.alternatives(out, x, false)
		}
		for _, y := range x {
			if out, err = c.cond(out, y, true); err != nil {
				return nil, err
			}
		}
		return out, nil
	case Holds:
		l := &lit{kind: litFact, text: x.Text, rng: x.Range}
		if negated {
			l.kind = litNotFact
		}
		if l.atom, l.vars, err = c.atom(x.Rel, x.Args); err != nil {
			return nil, err
		}
		c.p.rels[l.atom.rel].read = true
		return append(out, l), nil
	case Equal:
		l := &lit{kind: litEqual, text: x.Text}
		if negated {
			l.kind = litNotEqual
		}
		if l.atom.args, l.vars, err = c.terms([]Term{x.A, x.B}); err != nil {
			return nil, err
		}
		return append(out, l), nil
	case Guard:
		if x.Test == nil {
			return nil, c.errorf("guard %q has no test", x.Text)
		}
		l := &lit{kind: litGuard, negated: negated, guard: x, text: x.Text, rng: x.Range}
		ts := make([]Term, len(x.Vars))
		for i, v := range x.Vars {
			ts[i] = V(v)
		}
		if l.regs, l.vars, err = c.terms(ts); err != nil {
			return nil, err
		}
		return append(out, l), nil
	default:
		return nil, c.errorf("unknown condition %T", cond)
	}
}

func (c scope) alternatives(out []*lit, conds []Cond, negated bool) ([]*lit, error) {
	l := &lit{kind: litAny}
	var texts []string
	for _, y := range conds {
		b, err := c.cond(nil, y, negated)
		if err != nil {
			return nil, err
		}
		l.branches = append(l.branches, b)
		for _, x := range b {
			l.vars |= x.vars
			texts = append(texts, x.text)
		}
	}
	if len(l.branches) == 1 {
		return append(out, l.branches[0]...), nil
	}
	l.text = strings.Join(texts, " || ")
	return append(out, l), nil
}

// findInert marks the tasks that commute with everything: the search may take such a task as soon as it can, without
// ever trying to take it later.
func (p *Program) findInert() {
	users := p.users()
	busy := make([]bool, len(p.tasks))
	var queue []int32
	for i := range p.tasks {
		t := &p.tasks[i]
		active := false
		for j := range t.ways {
			active = active || p.reads(t.ways[j].when)
		}
		if t.op != nil {
			for _, a := range slices.Concat(t.op.add, t.op.del) {
				active = active || p.rels[a.rel].fluent()
			}
		}
		if active {
			busy[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, u := range users[i] {
			if !busy[u] {
				busy[u] = true
				queue = append(queue, u)
			}
		}
	}
	for i := range p.tasks {
		p.tasks[i].inert = !busy[i]
	}
}

// users returns for each task those that have it as a step or need.
func (p *Program) users() [][]int32 {
	out := make([][]int32, len(p.tasks))
	for i := range p.tasks {
		for _, s := range p.tasks[i].needs {
			out[s.task] = append(out[s.task], int32(i))
		}
		for j := range p.tasks[i].ways {
			for _, s := range p.tasks[i].ways[j].subs {
				out[s.task] = append(out[s.task], int32(i))
			}
		}
	}
	return out
}

// findRecursive marks the tasks that can be below themselves, or have such a task below them: the others are left when, again
// and again, tasks that use no other are taken away.
func (p *Program) findRecursive() {
	users := p.users()
	uses := make([]int32, len(p.tasks))
	for _, us := range users {
		for _, u := range us {
			uses[u]++
		}
	}
	var queue []int32
	for i := range p.tasks {
		p.tasks[i].recursive = true
		if uses[i] == 0 {
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		p.tasks[i].recursive = false
		for _, u := range users[i] {
			if uses[u]--; uses[u] == 0 {
				queue = append(queue, u)
			}
		}
	}
}

// findOpen marks the tasks that may have an open one below them.
func (p *Program) findOpen() {
	var queue []int32
	for i := range p.tasks {
		if p.tasks[i].open {
			queue = append(queue, int32(i))
		}
	}
	if queue == nil {
		return
	}
	users := p.users()
	for len(queue) > 0 {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, u := range users[i] {
			if !p.tasks[u].opens {
				p.tasks[u].opens = true
				queue = append(queue, u)
			}
		}
	}
}

// least finds the smallest values of tasks that follow from those of the tasks that they use; of what nothing ends
// it is infinite.
func (p *Program) least(of func(task int32, least []float64) float64) []float64 {
	users := p.users()
	least := make([]float64, len(p.tasks))
	queued := make([]bool, len(p.tasks))
	var queue []int32
	for i := range p.tasks {
		least[i] = math.Inf(1)
		queued[i] = true
		queue = append(queue, int32(i))
	}
	for k := 0; k < len(queue); k++ {
		i := queue[k]
		queued[i] = false
		n := of(i, least)
		if n >= least[i] {
			continue
		}
		least[i] = n
		for _, u := range users[i] {
			if !queued[u] {
				queued[u] = true
				queue = append(queue, u)
			}
		}
	}
	return least
}

// findLengths orders ways by how many steps a plan has that uses it, at least.
func (p *Program) findLengths() {
	length := func(w *way, least []float64) (n float64) {
		for _, s := range w.subs {
			n += least[s.task]
		}
		return n
	}
	least := p.least(func(i int32, least []float64) float64 {
		t := &p.tasks[i]
		switch {
		case t.op != nil:
			return 1
		case t.group():
			return 0
		}
		n := math.Inf(1)
		for j := range t.ways {
			n = min(n, length(&t.ways[j], least))
		}
		return n
	})
	for i := range p.tasks {
		t := &p.tasks[i]
		if len(t.ways) < 2 {
			continue
		}
		order := make([]int32, len(t.ways))
		for j := range order {
			order[j] = int32(j)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(length(&t.ways[a], least), length(&t.ways[b], least)) })
		if !slices.IsSorted(order) {
			t.byLength = order
		}
	}
}

// reads says whether a fluent decides about the conditions.
func (p *Program) reads(lits []*lit) bool {
	return slices.ContainsFunc(lits, func(l *lit) bool {
		switch l.kind {
		case litFact, litNotFact:
			return p.rels[l.atom.rel].fluent()
		case litAny:
			return slices.ContainsFunc(l.branches, p.reads)
		default:
			return false
		}
	})
}

// findWrites finds the effects that each task can have.
func (p *Program) findWrites() {
	const tooMany = 1 << 20
	effects := 0
	for i := range p.tasks {
		if op := p.tasks[i].op; op != nil {
			effects += len(op.add) + len(op.del)
		}
	}
	words := (effects + 63) / 64
	if words*len(p.tasks) > tooMany {
		return
	}
	p.writes = make([][]uint64, len(p.tasks))
	if words == 0 {
		return
	}
	users := p.users()
	var queue []int32
	n := 0
	for i := range p.tasks {
		p.writes[i] = make([]uint64, words)
		if op := p.tasks[i].op; op != nil {
			for range len(op.add) + len(op.del) {
				p.writes[i][n>>6] |= 1 << (n & 63)
				n++
			}
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, user := range users[i] {
			more := false
			for k, w := range p.writes[i] {
				more = more || w&^p.writes[user][k] != 0
				p.writes[user][k] |= w
			}
			if more {
				queue = append(queue, user)
			}
		}
	}
}
