package warp

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/flyingrobots/jitos/warp/cbor"
)

// OpKind is what an [Op] does.
type OpKind uint8

// The kinds of operations.
const (
	OpAddNode    OpKind = iota + 1 // a description that is there already is no error, an occurrence is ErrPresent
	OpRemoveNode                   // an absent node is ErrAbsent, one with edges ErrDangling
	OpAddEdge                      // an end that is absent is ErrDangling; an edge that is there already is no error
	OpRemoveEdge                   // an absent edge is ErrAbsent
	OpRetract                      // removes a node and the edges at it, if it is there
)

var opNames = [...]string{"?", "add node", "remove node", "add edge", "remove edge", "retract"}

func (k OpKind) String() string {
	if int(k) < len(opNames) {
		return opNames[k]
	}
	return opNames[0]
}

// Op is one operation. It carries whole contents also where it removes, so that it can be read, and its footprint
// known, without a graph.
type Op struct {
	Kind OpKind
	Node Node // of AddNode, RemoveNode, Retract
	Edge Edge // of AddEdge, RemoveEdge
}

// AddNode returns the operation that adds n.
func AddNode(n Node) Op { return Op{Kind: OpAddNode, Node: n} }

// RemoveNode returns the operation that removes n, which must be there and without edges.
func RemoveNode(n Node) Op { return Op{Kind: OpRemoveNode, Node: n} }

// Retract returns the operation that removes n and the edges at it, if n is there.
func Retract(n Node) Op { return Op{Kind: OpRetract, Node: n} }

// AddEdge returns the operation that adds e, whose ends must be there.
func AddEdge(e Edge) Op { return Op{Kind: OpAddEdge, Edge: e} }

// RemoveEdge returns the operation that removes e, which must be there.
func RemoveEdge(e Edge) Op { return Op{Kind: OpRemoveEdge, Edge: e} }

// Rewrite is an ordered list of operations that apply whole or not at all.
type Rewrite struct{ Ops []Op }

// Errors that an [*OpError] wraps.
var (
	ErrPresent   = errors.New("is there already")
	ErrAbsent    = errors.New("is not there")
	ErrDangling  = errors.New("would leave an edge without its end")
	ErrCollision = errors.New("has the id of something else")
	ErrOp        = errors.New("no such operation")
)

// OpError is why a rewrite was refused: which operation, and which node or edge stood in its way.
type OpError struct {
	Index int  // of Op in the rewrite
	Op    Op   // what was to be done
	By    Hash // the id of the node or edge that blocked it: the one that is there, or that is missing
	Err   error
}

func (e *OpError) Error() string {
	kind := e.Op.Node.Kind
	if e.Op.Kind == OpAddEdge || e.Op.Kind == OpRemoveEdge {
		kind = e.Op.Edge.Kind
	}
	return fmt.Sprintf("operation %d (%s %s): %s %v", e.Index, e.Op.Kind, kind, e.By, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// Apply returns g after r. If r is refused, with an [*OpError], the result is g.
func (g Graph) Apply(r Rewrite) (Graph, error) {
	next, e := g, new(edit)
	for i := range r.Ops {
		if by, err := next.apply(e, &r.Ops[i]); err != nil {
			return g, &OpError{Index: i, Op: r.Ops[i], By: by, Err: err}
		}
	}
	return next, nil
}

func (g *Graph) apply(e *edit, op *Op) (by Hash, err error) {
	switch op.Kind {
	case OpAddNode:
		return g.addNode(e, &op.Node)
	case OpRemoveNode, OpRetract:
		return g.removeNode(e, &op.Node, op.Kind == OpRetract)
	case OpAddEdge:
		return g.addEdge(e, &op.Edge)
	case OpRemoveEdge:
		id := Hash(op.Edge.ID())
		r := g.edges.get(headOf(&id), &id)
		if r == nil {
			return id, ErrAbsent
		}
		g.dropEdge(e, r)
		return Hash{}, nil
	}
	return Hash{}, ErrOp
}

func withKind(kind byte, data []byte) []byte {
	raw := make([]byte, 1, 1+len(data))
	raw[0] = kind
	return append(raw, data...)
}

func (g *Graph) addNode(e *edit, n *Node) (Hash, error) {
	id := Hash(n.ID())
	if err := n.Check(); err != nil {
		return id, err
	}
	kind, _ := nodeKindOf(n.Kind)
	if old := g.nodes.get(headOf(&id), &id); old != nil {
		switch {
		case old.kind() != kind || !bytes.Equal(old.data(), n.Data):
			return id, ErrCollision
		case nodeKinds[kind].occurs:
			return id, ErrPresent
		}
		return Hash{}, nil
	}
	r := &record{id: id, raw: withKind(kind, n.Data)}
	g.nodes, _ = g.nodes.insert(e, item{headOf(&r.id), r})
	g.addIndexes(e, r)
	return Hash{}, nil
}

func (g *Graph) removeNode(e *edit, n *Node, retract bool) (Hash, error) {
	id := Hash(n.ID())
	r := g.nodes.get(headOf(&id), &id)
	if r == nil {
		if retract {
			return Hash{}, nil
		}
		return id, ErrAbsent
	}
	var at []*record
	for _, index := range [...]uint64{byFrom, byTo} {
		g.eachIncident(index, NodeID(id), "", func(r *record) bool { at = append(at, r); return retract })
	}
	if len(at) > 0 && !retract {
		return at[0].id, ErrDangling
	}
	for _, r := range at {
		g.dropEdge(e, r)
	}
	g.nodes, _ = g.nodes.remove(e, item{headOf(&id), r})
	g.removeIndexes(e, r)
	return Hash{}, nil
}

func (g *Graph) addEdge(e *edit, edge *Edge) (Hash, error) {
	id := Hash(edge.ID())
	if err := edge.Check(); err != nil {
		return id, err
	}
	for _, end := range [...]NodeID{edge.From, edge.To} {
		if g.node(end) == nil {
			return Hash(end), ErrDangling
		}
	}
	kind, _ := edgeKindOf(edge.Kind)
	data := dataOrNull(edge.Data)
	if old := g.edges.get(headOf(&id), &id); old != nil {
		if old.kind() != kind || *old.ends != [2]NodeID{edge.From, edge.To} || !bytes.Equal(old.data(), data) {
			return id, ErrCollision
		}
		return Hash{}, nil
	}
	r := &record{id: id, raw: withKind(kind, data), ends: &[2]NodeID{edge.From, edge.To}}
	g.edges, _ = g.edges.insert(e, item{headOf(&r.id), r})
	g.addIndexes(e, r)
	return Hash{}, nil
}

func (g *Graph) dropEdge(e *edit, r *record) {
	g.edges, _ = g.edges.remove(e, item{headOf(&r.id), r})
	g.removeIndexes(e, r)
}

// Diff returns the rewrite that makes b of a. It costs what differs where the two share their past.
func Diff(a, b Graph) Rewrite {
	var dropEdges, dropNodes, addNodes, addEdges []Op
	differences(a.edges, b.edges,
		func(it item) { dropEdges = append(dropEdges, RemoveEdge(it.rec.edge())) },
		func(it item) { addEdges = append(addEdges, AddEdge(it.rec.edge())) })
	differences(a.nodes, b.nodes,
		func(it item) { dropNodes = append(dropNodes, RemoveNode(it.rec.node())) },
		func(it item) { addNodes = append(addNodes, AddNode(it.rec.node())) })
	return Rewrite{append(append(append(dropEdges, dropNodes...), addNodes...), addEdges...)}
}

// Encode returns the canonical bytes of r: an array of operations, each [kind, node kind, data] or
// [kind, edge kind, from, to, data].
func (r Rewrite) Encode() []byte { return r.Append(nil) }

// Append appends what Encode returns.
func (r Rewrite) Append(dst []byte) []byte {
	dst = cbor.AppendArray(dst, len(r.Ops))
	for i := range r.Ops {
		op := &r.Ops[i]
		if op.Kind == OpAddEdge || op.Kind == OpRemoveEdge {
			dst = cbor.AppendUint(cbor.AppendArray(dst, 5), uint64(op.Kind))
			dst = cbor.AppendString(dst, op.Edge.Kind)
			dst = cbor.AppendBytes(dst, op.Edge.From[:])
			dst = cbor.AppendBytes(dst, op.Edge.To[:])
			dst = append(dst, dataOrNull(op.Edge.Data)...)
		} else {
			dst = cbor.AppendUint(cbor.AppendArray(dst, 3), uint64(op.Kind))
			dst = cbor.AppendString(dst, op.Node.Kind)
			dst = append(dst, dataOrNull(op.Node.Data)...)
		}
	}
	return dst
}

// DecodeRewrite reads what Encode wrote. It refuses other bytes, but not kinds and shapes: Apply does.
func DecodeRewrite(b []byte) (Rewrite, error) {
	if err := cbor.Valid(b); err != nil {
		return Rewrite{}, fmt.Errorf("rewrite: %w", err)
	}
	r := cbor.NewReader(b)
	rewrite := Rewrite{Ops: make([]Op, 0, r.Array())}
	for range cap(rewrite.Ops) {
		op, err := decodeOp(&r)
		if err != nil {
			return Rewrite{}, fmt.Errorf("rewrite: operation %d: %w", len(rewrite.Ops), err)
		}
		rewrite.Ops = append(rewrite.Ops, op)
	}
	return rewrite, r.Close()
}

func decodeOp(r *cbor.Reader) (Op, error) {
	n := r.Array()
	op := Op{Kind: OpKind(min(r.Uint(), 255))}
	switch op.Kind {
	case OpAddNode, OpRemoveNode, OpRetract:
		if n != 3 {
			return op, ErrOp
		}
		op.Node.Kind = string(r.Text())
		op.Node.Data = r.Raw()
	case OpAddEdge, OpRemoveEdge:
		if n != 5 {
			return op, ErrOp
		}
		op.Edge.Kind = string(r.Text())
		from, to := r.Bytes(), r.Bytes()
		if len(from) != len(op.Edge.From) || len(to) != len(op.Edge.To) {
			return op, ErrOp
		}
		op.Edge.From, op.Edge.To = NodeID(from), NodeID(to)
		op.Edge.Data = r.Raw()
	default:
		return op, ErrOp
	}
	return op, r.Err()
}
