package warp

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/flyingrobots/jitos/warp/cbor"
)

// Term is a pattern of data and, once its variables are bound, data. The zero Term matches anything and makes nothing.
type Term struct {
	kind termKind
	text string   // a variable's name, a constant's canonical bytes
	kids []Term   // of an array or a map
	keys []string // of a map, in canonical order
	err  error    // why a constant has no bytes
}

type termKind uint8

const (
	termAny termKind = iota
	termVar
	termConst
	termArray
	termMap
)

// Var is the term that matches anything and binds it, or that equals what the variable is bound to.
func Var(name string) Term { return Term{kind: termVar, text: name} }

// Const is the term of one value, encoded by cbor.Append. A value that cannot be encoded makes a term of which
// [Rule.Check] tells.
func Const(v any) Term {
	b, err := cbor.Encode(v)
	return Term{kind: termConst, text: string(b), err: err}
}

// Raw is the term of one value given by its canonical bytes.
func Raw(canonical string) Term {
	return Term{kind: termConst, text: canonical, err: cbor.Valid([]byte(canonical))}
}

// Array is the term of an array of exactly these items.
func Array(items ...Term) Term { return Term{kind: termArray, kids: items} }

// Map is the term of a map with these fields. What it matches may have others; what it makes has none.
func Map(fields map[string]Term) Term {
	t := Term{kind: termMap, keys: slices.SortedFunc(maps.Keys(fields), cbor.CompareKeys)}
	for _, k := range t.keys {
		t.kids = append(t.kids, fields[k])
	}
	return t
}

// Variable returns the name of a variable.
func (t Term) Variable() (name string, ok bool) { return t.text, t.kind == termVar }

// Value returns the canonical bytes of a constant.
func (t Term) Value() (canonical string, ok bool) { return t.text, t.kind == termConst && t.err == nil }

// Items returns the items of an array.
func (t Term) Items() ([]Term, bool) { return t.kids, t.kind == termArray }

// NodePattern matches nodes of a kind whose data match a term.
type NodePattern struct {
	Var  string // names the node, so that edges can; may be empty
	Kind string
	Data Term
	// Optional is for nodes to be removed: the node goes, with the edges at it, if it is there. Otherwise it must be
	// there and have no edges left. Either way Data must give its whole content.
	Optional bool
}

// FactPattern is the pattern of the facts rel(terms…).
func FactPattern(rel string, terms ...Term) NodePattern {
	return NodePattern{Kind: kindFact, Data: Array(append([]Term{Const(rel)}, terms...)...)}
}

// Fact returns the relation and the arguments of a pattern that FactPattern made.
func (p NodePattern) Fact() (rel string, args []Term, ok bool) {
	if p.Kind != kindFact || p.Data.kind != termArray || len(p.Data.kids) == 0 {
		return "", nil, false
	}
	name, ok := p.Data.kids[0].Value()
	r := cbor.NewReader([]byte(name))
	if !ok || r.Next() != cbor.Text {
		return "", nil, false
	}
	return string(r.Text()), p.Data.kids[1:], true
}

// EdgePattern matches an edge of a kind between two nodes named by variables. What it adds or removes has no data.
type EdgePattern struct{ Kind, From, To string }

// Rule is a rewrite rule in double-pushout style: where Match and MatchEdges hold and nothing matches Not, Remove goes
// and then Add comes. Its variables are the parameters and what Match binds; a variable that only occurs in a Not
// pattern means "any".
type Rule struct {
	Name       string
	Params     []string
	Match      []NodePattern
	MatchEdges []EdgePattern
	Not        []NodePattern

	RemoveEdges []EdgePattern
	Remove      []NodePattern
	Add         []NodePattern
	AddEdges    []EdgePattern
}

// Binding gives variables their values, as canonical CBOR. The value of a node's variable is its id as a byte string.
type Binding map[string]string

// Bind sets a variable to the encoding of v.
func (b Binding) Bind(name string, v any) error {
	c, err := cbor.Encode(v)
	if err == nil {
		b[name] = string(c)
	}
	return err
}

func idValue(id NodeID) string { return string(cbor.AppendBytes(make([]byte, 0, 34), id[:])) }

// BindNode sets a variable to a node.
func (b Binding) BindNode(name string, id NodeID) { b[name] = idValue(id) }

// Node returns the node to which a variable is bound.
func (b Binding) Node(name string) (id NodeID, ok bool) {
	v := b[name]
	if len(v) != 34 || v[:2] != "\x58\x20" {
		return id, false
	}
	return NodeID([]byte(v[2:])), true
}

// Errors that Check and Instantiate wrap.
var (
	ErrUnbound = errors.New("variable has no value")
	ErrRule    = errors.New("invalid rule")
)

// Check says whether the rule is well formed: its kinds known, its constants canonical, every edge between variables
// that name nodes, every variable it needs to build something bound by a parameter or a match.
func (r Rule) Check() error {
	bound, nodes := map[string]bool{}, map[string]bool{}
	for _, p := range r.Params {
		bound[p], nodes[p] = true, true
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w %s: %w", ErrRule, r.Name, fmt.Errorf(format, args...))
	}
	patterns := func(list []NodePattern, each func(NodePattern) error) error {
		for _, p := range list {
			if _, ok := nodeKindOf(p.Kind); !ok {
				return fail("%w", &KindError{p.Kind, "no such kind of node"})
			}
			if err := p.Data.check(); err != nil {
				return fail("%s: %w", p.Kind, err)
			}
			if err := each(p); err != nil {
				return err
			}
		}
		return nil
	}
	known := func(p NodePattern) (err error) {
		p.Data.variables(func(v string) {
			if !bound[v] {
				err = fail("%q: %w", v, ErrUnbound)
			}
		})
		return err
	}
	declare := func(p NodePattern) error {
		if p.Var != "" {
			nodes[p.Var], bound[p.Var] = true, true
		}
		return nil
	}
	edges := func(list []EdgePattern) error {
		for _, e := range list {
			if _, ok := edgeKindOf(e.Kind); !ok {
				return fail("%w", &KindError{e.Kind, "no such kind of edge"})
			}
			for _, v := range []string{e.From, e.To} {
				if !nodes[v] {
					return fail("%q: %w", v, ErrUnbound)
				}
			}
		}
		return nil
	}
	bind := func(p NodePattern) error {
		p.Data.variables(func(v string) { bound[v] = v != "" })
		return declare(p)
	}
	free := func(NodePattern) error { return nil }
	add := func(p NodePattern) error { return errors.Join(known(p), declare(p)) }
	if err := errors.Join(patterns(r.Match, bind), edges(r.MatchEdges), patterns(r.Not, free), edges(r.RemoveEdges)); err != nil {
		return err
	}
	return errors.Join(patterns(r.Remove, known), patterns(r.Add, add), edges(r.AddEdges))
}

func (t Term) check() error {
	if t.err != nil {
		return t.err
	}
	for _, k := range t.kids {
		if err := k.check(); err != nil {
			return err
		}
	}
	return nil
}

// variables yields the term's variables, and the empty name for a part that matches anything.
func (t Term) variables(yield func(string)) {
	if t.kind == termVar || t.kind == termAny {
		yield(t.text)
	}
	for _, k := range t.kids {
		k.variables(yield)
	}
}

// append appends the term's value under a binding, or returns false if a variable has none.
func (t *Term) append(dst []byte, b Binding) ([]byte, bool) {
	ok := true
	switch t.kind {
	case termConst:
		return append(dst, t.text...), t.err == nil
	case termVar:
		v, bound := b[t.text]
		return append(dst, v...), bound
	case termArray:
		dst = cbor.AppendArray(dst, len(t.kids))
	case termMap:
		dst = cbor.AppendMap(dst, len(t.kids))
	default:
		return dst, false
	}
	for i := range t.kids {
		if t.kind == termMap {
			dst = cbor.AppendString(dst, t.keys[i])
		}
		if dst, ok = t.kids[i].append(dst, b); !ok {
			return dst, false
		}
	}
	return dst, true
}

// partial says that the term may match data with more in them than it names.
func (t *Term) partial() bool {
	return t.kind == termMap || slices.ContainsFunc(t.kids, func(k Term) bool { return k.partial() })
}

// only returns the one node that can match a pattern under a binding, if its content is known.
func (p *NodePattern) only(b Binding) (Node, bool) {
	if p.Data.partial() {
		return Node{}, false
	}
	return p.node(b)
}

// node returns the node that a pattern makes under a binding.
func (p *NodePattern) node(b Binding) (Node, bool) {
	data, ok := p.Data.append(nil, b)
	return Node{Kind: p.Kind, Data: data}, ok
}

// Matches yields every binding that extends b and under which the rule holds in g, in an order that g, the rule and b
// determine. Each is the caller's to keep. It joins the patterns in the order of how few candidates the graph has for
// them. The rule must pass Check; a pattern that does not matches nothing.
func (r Rule) Matches(g Graph, b Binding) iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		m := matcher{g: g, rule: &r, yield: yield, bound: Binding{}, nodes: make([]bool, len(r.Match)), edges: make([]bool, len(r.MatchEdges))}
		maps.Copy(m.bound, b)
		m.search()
	}
}

type matcher struct {
	g            Graph
	rule         *Rule
	yield        func(Binding) bool
	bound        Binding
	trail        []string // the variables bound so far, the latest last
	nodes, edges []bool   // the patterns that are matched
	scratch      []byte
}

func (m *matcher) bind(name, value string) bool {
	if old, ok := m.bound[name]; ok {
		return old == value
	}
	m.bound[name] = value
	m.trail = append(m.trail, name)
	return true
}

func (m *matcher) undo(to int) {
	for _, name := range m.trail[to:] {
		delete(m.bound, name)
	}
	m.trail = m.trail[:to]
}

// search matches the patterns that are left, and returns false when the caller wants no more.
func (m *matcher) search() bool {
	best, bestCost, isEdge := -1, 0, false
	for i, done := range m.edges {
		if cost, ok := m.edgeCost(i); !done && ok && (best < 0 || cost < bestCost) {
			best, bestCost, isEdge = i, cost, true
		}
	}
	for i, done := range m.nodes {
		if done {
			continue
		}
		if cost := m.plan(&m.rule.Match[i]).cost; best < 0 || cost < bestCost {
			best, bestCost, isEdge = i, cost, false
		}
	}
	switch {
	case best >= 0 && isEdge:
		return m.matchEdge(best)
	case best >= 0:
		return m.matchNode(best)
	case slices.Contains(m.edges, false): // an edge between nodes that nothing names
		return true
	}
	for i := range m.rule.Not {
		found := false
		m.candidates(&m.rule.Not[i], func() bool { found = true; return false })
		if found {
			return true
		}
	}
	return m.yield(maps.Clone(m.bound))
}

// access is a way to the nodes that a pattern may match, and how many there are at most.
type access struct {
	cost int
	id   NodeID // when cost is 0
	head uint64
}

// plan finds the cheapest access for a pattern under the present binding.
func (m *matcher) plan(p *NodePattern) access {
	if id, ok := m.bound.Node(p.Var); ok && p.Var != "" {
		return access{id: id}
	}
	var ok bool
	if !p.Data.partial() {
		if m.scratch, ok = p.Data.append(m.scratch[:0], m.bound); ok {
			return access{id: Node{Kind: p.Kind, Data: m.scratch}.ID()}
		}
	}
	kind, ok := nodeKindOf(p.Kind)
	if !ok {
		return access{}
	}
	best := access{head: headByKind(kind)}
	best.cost = 1 + m.g.index.under(best.head, headNibbles).len()
	try := func(place int, t *Term) {
		if m.scratch, ok = t.append(m.scratch[:0], m.bound); !ok {
			return
		}
		a := access{head: headByField(kind, place, m.scratch)}
		if a.cost = 1 + m.g.index.under(a.head, headNibbles).len(); a.cost < best.cost {
			best = a
		}
	}
	for i := range p.Data.kids {
		switch {
		case p.Data.kind == termArray && i <= maxFactIndex && p.Kind == kindFact:
			try(i, &p.Data.kids[i])
		case p.Data.kind == termMap && p.Data.keys[i] == nodeKinds[kind].index:
			try(0, &p.Data.kids[i])
		}
	}
	return best
}

// candidates calls found under the binding of every node that matches p. It returns false if found did.
func (m *matcher) candidates(p *NodePattern, found func() bool) bool {
	try := func(r *record) bool {
		if r == nil || nodeKinds[r.kind()].name != p.Kind {
			return true
		}
		mark, in, ok := len(m.trail), cbor.NewReader(r.data()), true
		if p.Var != "" {
			ok = m.bind(p.Var, idValue(NodeID(r.id)))
		}
		ok = !ok || !m.unify(&p.Data, &in) || found()
		m.undo(mark)
		return ok
	}
	a := m.plan(p)
	if a.cost == 0 {
		return try(m.g.node(a.id))
	}
	return m.g.index.prefixed(a.head, headNibbles, func(it item) bool { return try(it.rec) })
}

func (m *matcher) matchNode(i int) bool {
	m.nodes[i] = true
	ok := m.candidates(&m.rule.Match[i], m.search)
	m.nodes[i] = false
	return ok
}

// edgeEnds returns the way to look for an edge: from the end of which fewer leave, if any is bound.
func (m *matcher) edgeEnds(p *EdgePattern) (index uint64, node NodeID, other string, cost int, ok bool) {
	from, okFrom := m.bound.Node(p.From)
	to, okTo := m.bound.Node(p.To)
	kind, _ := edgeKindOf(p.Kind)
	count := func(index uint64, id NodeID) int {
		return 1 + m.g.index.under(headByEnd(index, &id, kind), headNibbles).len()
	}
	if okFrom {
		index, node, other, cost = byFrom, from, p.To, count(byFrom, from)
	}
	if okTo {
		if n := count(byTo, to); !okFrom || n < cost {
			index, node, other, cost = byTo, to, p.From, n
		}
	}
	return index, node, other, cost, okFrom || okTo
}

func (m *matcher) edgeCost(i int) (int, bool) {
	_, _, _, cost, ok := m.edgeEnds(&m.rule.MatchEdges[i])
	return cost, ok
}

func (m *matcher) matchEdge(i int) bool {
	p := &m.rule.MatchEdges[i]
	index, node, other, _, _ := m.edgeEnds(p)
	m.edges[i] = true
	seen := map[NodeID]bool{} // two edges between the same nodes are one match
	ok := m.g.eachIncident(index, node, p.Kind, func(r *record) bool {
		end := r.ends[1]
		if index == byTo {
			end = r.ends[0]
		}
		if seen[end] {
			return true
		}
		seen[end] = true
		mark := len(m.trail)
		ok := !m.bind(other, idValue(end)) || m.search()
		m.undo(mark)
		return ok
	})
	m.edges[i] = false
	return ok
}

// unify matches the next item of valid data with a term.
func (m *matcher) unify(t *Term, in *cbor.Reader) bool {
	switch t.kind {
	case termVar:
		raw := in.Raw()
		if old, ok := m.bound[t.text]; ok {
			return old == string(raw)
		}
		return m.bind(t.text, string(raw))
	case termConst:
		return t.err == nil && string(in.Raw()) == t.text
	case termArray:
		if in.Next() != cbor.Array || in.Array() != len(t.kids) {
			return false
		}
		for i := range t.kids {
			if !m.unify(&t.kids[i], in) {
				return false
			}
		}
		return true
	case termMap:
		if in.Next() != cbor.Map {
			return false
		}
		n := 0
		for range in.Map() {
			if key := in.Text(); n < len(t.keys) && t.keys[n] == string(key) {
				if !m.unify(&t.kids[n], in) {
					return false
				}
				n++
				continue
			}
			in.Raw()
		}
		return n == len(t.keys)
	}
	in.Raw()
	return true
}

// Instantiate turns a binding into the rewrite that the rule means there, and its footprint. It looks at no graph:
// b must be one that Matches yields, or one of which the caller knows that the rule holds.
func (r Rule) Instantiate(b Binding) (Rewrite, Footprint, error) {
	var w Rewrite
	var f Footprint
	names := maps.Clone(b) // and the nodes that b leaves out and Add names
	if names == nil {
		names = Binding{}
	}
	fail := func(p NodePattern) (Rewrite, Footprint, error) {
		return Rewrite{}, Footprint{}, fmt.Errorf("rule %s: %s: %w", r.Name, p.Kind, ErrUnbound)
	}
	for i := range r.Match {
		p := &r.Match[i]
		n, ok := p.only(b)
		id, named := b.Node(p.Var)
		switch {
		case ok:
			f.Reads = append(f.Reads, Hash(n.ID()))
			if p.Var != "" && !named {
				names.BindNode(p.Var, n.ID())
			}
		case named:
			f.Reads = append(f.Reads, Hash(id))
		default:
			f.scan(p, b)
		}
	}
	for i := range r.Not {
		if n, ok := r.Not[i].only(b); ok {
			f.Reads = append(f.Reads, Hash(n.ID()))
		} else {
			f.scan(&r.Not[i], b)
		}
	}
	edge := func(p EdgePattern) (Edge, bool) {
		from, ok1 := names.Node(p.From)
		to, ok2 := names.Node(p.To)
		return Edge{Kind: p.Kind, From: from, To: to, Data: nullData}, ok1 && ok2
	}
	for _, p := range r.MatchEdges {
		e, ok := edge(p)
		if !ok {
			return fail(NodePattern{Kind: p.Kind})
		}
		kind, _ := edgeKindOf(p.Kind)
		f.Reads = append(f.Reads, Hash(e.From), Hash(e.To))
		f.Scans = append(f.Scans, headByEnd(byFrom, &e.From, kind))
	}
	for _, p := range r.RemoveEdges {
		e, ok := edge(p)
		if !ok {
			return fail(NodePattern{Kind: p.Kind})
		}
		w.Ops = append(w.Ops, RemoveEdge(e))
	}
	for i := range r.Remove {
		p := &r.Remove[i]
		n, ok := p.node(b)
		switch {
		case !ok:
			return fail(*p)
		case p.Optional:
			w.Ops = append(w.Ops, Retract(n))
		default:
			w.Ops = append(w.Ops, RemoveNode(n))
		}
	}
	for i := range r.Add {
		n, ok := r.Add[i].node(names)
		if !ok {
			return fail(r.Add[i])
		}
		if v := r.Add[i].Var; v != "" {
			names.BindNode(v, n.ID())
		}
		w.Ops = append(w.Ops, AddNode(n))
	}
	for _, p := range r.AddEdges {
		e, ok := edge(p)
		if !ok {
			return fail(NodePattern{Kind: p.Kind})
		}
		w.Ops = append(w.Ops, AddEdge(e))
	}
	return w, f.join(w.Footprint()), nil
}
