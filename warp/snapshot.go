package warp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/flyingrobots/jitos/warp/cbor"
)

// Append appends the whole graph to dst, as canonical CBOR: an array of the nodes and an array of the edges, in the
// order of their ids; a node is [kind, data], an edge [kind, from, to, data] where the ends are places in the array of
// nodes. Equal graphs have equal bytes.
func (g Graph) Append(dst []byte) []byte {
	nodes, edges := g.Len()
	place := make(map[NodeID]uint64, nodes)
	dst = cbor.AppendArray(cbor.AppendArray(dst, 2), nodes)
	for id, n := range g.Nodes("") {
		place[id] = uint64(len(place))
		dst = cbor.AppendString(cbor.AppendArray(dst, 2), n.Kind)
		dst = append(dst, n.Data...)
	}
	dst = cbor.AppendArray(dst, edges)
	for _, e := range g.Edges() {
		dst = cbor.AppendString(cbor.AppendArray(dst, 4), e.Kind)
		dst = cbor.AppendUint(cbor.AppendUint(dst, place[e.From]), place[e.To])
		dst = append(dst, e.Data...)
	}
	return dst
}

// ErrSnapshot is wrapped by the errors of DecodeGraph about bytes that Append does not write.
var ErrSnapshot = errors.New("not a graph")

// DecodeGraph reads what Append wrote. It refuses anything else, as Apply would.
func DecodeGraph(b []byte) (Graph, error) {
	fail := func(err error) (Graph, error) { return Graph{}, fmt.Errorf("%w: %w", ErrSnapshot, err) }
	r := cbor.NewReader(b)
	if r.Array() != 2 {
		return fail(errors.Join(r.Err(), ErrOp))
	}
	n := r.Array()
	nodes, index := make([]item, 0, n), make([]item, 0, 4*n)
	add := func(rec *record) { eachHead(rec, func(head uint64) { index = append(index, item{head, rec}) }) }
	for range n {
		size := r.Array()
		node := Node{Kind: string(r.Text()), Data: r.Raw()}
		if err := errors.Join(r.Err(), node.Check()); err != nil || size != 2 {
			return fail(cmp.Or(err, ErrOp))
		}
		kind, _ := nodeKindOf(node.Kind)
		rec := &record{id: Hash(node.ID()), raw: withKind(kind, node.Data)}
		nodes = append(nodes, item{headOf(&rec.id), rec})
		add(rec)
	}
	n = r.Array()
	edges := make([]item, 0, n)
	for range n {
		size := r.Array()
		edge := Edge{Kind: string(r.Text())}
		from, to := r.Uint(), r.Uint()
		edge.Data = r.Raw()
		if err := errors.Join(r.Err(), edge.Check()); err != nil || size != 4 || max(from, to) >= uint64(len(nodes)) {
			return fail(errors.Join(err, ErrDangling))
		}
		edge.From, edge.To = NodeID(nodes[from].rec.id), NodeID(nodes[to].rec.id)
		kind, _ := edgeKindOf(edge.Kind)
		rec := &record{id: Hash(edge.ID()), raw: withKind(kind, edge.Data), ends: &[2]NodeID{edge.From, edge.To}}
		edges = append(edges, item{headOf(&rec.id), rec})
		add(rec)
	}
	if err := r.Close(); err != nil {
		return fail(err)
	}
	sorted := func(list []item) bool {
		for i := 1; i < len(list); i++ {
			if list[i-1].compare(list[i]) >= 0 {
				return false
			}
		}
		return true
	}
	if !sorted(nodes) || !sorted(edges) {
		return fail(errors.New("nodes or edges out of order"))
	}
	slices.SortFunc(index, item.compare)
	index = slices.CompactFunc(index, func(a, b item) bool { return a == b })
	e := new(edit)
	return Graph{build(e, nodes), build(e, edges), build(e, index)}, nil
}
