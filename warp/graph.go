package warp

import (
	"bytes"
	"encoding/binary"
	"iter"

	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/zeebo/blake3"
)

// Graph is an immutable set of nodes and edges. The zero value is the empty graph; a copy of the value is a fork.
type Graph struct {
	nodes, edges *trie
	// index holds the records again, under heads made by the functions below: nodes by kind and by what Find looks
	// up, edges by either end.
	index *trie
}

// The top nibble of a head in the index says which index it is of. Where a head is shorter than what it stands for,
// the record that is found is compared with that.
const (
	byKind uint64 = iota << 60
	byField
	byFrom
	byTo
)

const endNibbles = 14 // of a head by from or to: all kinds of edges of a node

func headOf(id *Hash) uint64 { return binary.BigEndian.Uint64(id[:]) }

func headByKind(kind byte) uint64 { return byKind | uint64(kind) }

func headByEnd(index uint64, node *NodeID, kind byte) uint64 {
	return index | headOf((*Hash)(node))>>12<<8 | uint64(kind)
}

func headByField(kind byte, place int, value []byte) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	add := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	add(kind)
	add(byte(place))
	for _, b := range value {
		add(b)
	}
	return byField | (h^h>>32)&(1<<60-1)
}

// Digest returns the hash that names the set of nodes and edges: equal graphs have equal digests, however they were
// made. It costs what changed since the last digest of a graph from which this one was made.
func (g Graph) Digest() Hash {
	n, e := g.nodes.sum(), g.edges.sum()
	b := append([]byte("jitos/graph/v1"), n[:]...)
	return blake3.Sum256(append(b, e[:]...))
}

// Len returns how many nodes and edges there are.
func (g Graph) Len() (nodes, edges int) { return g.nodes.len(), g.edges.len() }

func (r *record) node() Node { return Node{Kind: nodeKinds[r.kind()].name, Data: r.data()} }

func (r *record) edge() Edge {
	return Edge{Kind: edgeKinds[r.kind()], From: r.ends[0], To: r.ends[1], Data: r.data()}
}

func (g Graph) node(id NodeID) *record {
	h := Hash(id)
	return g.nodes.get(headOf(&h), &h)
}

// Node returns the node with the given id.
func (g Graph) Node(id NodeID) (Node, bool) {
	r := g.node(id)
	if r == nil {
		return Node{}, false
	}
	return r.node(), true
}

// Edge returns the edge with the given id.
func (g Graph) Edge(id EdgeID) (Edge, bool) {
	h := Hash(id)
	r := g.edges.get(headOf(&h), &h)
	if r == nil {
		return Edge{}, false
	}
	return r.edge(), true
}

// Nodes yields the nodes of a kind in the order of their ids, or for "" all nodes.
func (g Graph) Nodes(kind string) iter.Seq2[NodeID, Node] {
	return func(yield func(NodeID, Node) bool) {
		each := func(it item) bool { return yield(NodeID(it.rec.id), it.rec.node()) }
		if kind == "" {
			g.nodes.walk(each)
		} else if k, ok := nodeKindOf(kind); ok {
			g.index.prefixed(headByKind(k), headNibbles, each)
		}
	}
}

// Edges yields all edges in the order of their ids.
func (g Graph) Edges() iter.Seq2[EdgeID, Edge] {
	return func(yield func(EdgeID, Edge) bool) {
		g.edges.walk(func(it item) bool { return yield(EdgeID(it.rec.id), it.rec.edge()) })
	}
}

// Out yields the edges of a kind that leave a node, in the order of their ids; for the kind "" those of every kind,
// one kind after the other.
func (g Graph) Out(from NodeID, kind string) iter.Seq2[EdgeID, Edge] {
	return g.incident(byFrom, from, kind)
}

// In yields the edges of a kind that enter a node, as Out does.
func (g Graph) In(to NodeID, kind string) iter.Seq2[EdgeID, Edge] { return g.incident(byTo, to, kind) }

func (g Graph) incident(index uint64, node NodeID, kind string) iter.Seq2[EdgeID, Edge] {
	return func(yield func(EdgeID, Edge) bool) {
		g.eachIncident(index, node, kind, func(r *record) bool { return yield(EdgeID(r.id), r.edge()) })
	}
}

func (g Graph) eachIncident(index uint64, node NodeID, kind string, yield func(*record) bool) bool {
	k, ok := edgeKindOf(kind)
	n := uint8(headNibbles)
	if kind == "" {
		n = endNibbles
	} else if !ok {
		return true
	}
	end := 0
	if index == byTo {
		end = 1
	}
	return g.index.prefixed(headByEnd(index, &node, k), n, func(it item) bool {
		return it.rec.ends[end] != node || yield(it.rec)
	})
}

// Find yields the nodes of a kind whose indexed field has the given value, in the order of their ids: facts by the
// name of their relation, artifacts by path, steps by key, runs and sws by n. It costs what it yields.
func (g Graph) Find(kind string, key any) iter.Seq2[NodeID, Node] {
	return func(yield func(NodeID, Node) bool) {
		value, err := cbor.Encode(key)
		k, ok := nodeKindOf(kind)
		if err != nil || !ok {
			return // no node can have such a value
		}
		g.eachField(k, 0, value, func(r *record) bool { return yield(NodeID(r.id), r.node()) })
	}
}

func (g Graph) eachField(kind byte, place int, value []byte, yield func(*record) bool) bool {
	return g.index.prefixed(headByField(kind, place, value), headNibbles, func(it item) bool {
		if it.rec.kind() != kind {
			return true
		}
		same := false
		indexKeys(kind, it.rec.data(), func(p int, v []byte) { same = same || p == place && bytes.Equal(v, value) })
		return !same || yield(it.rec)
	})
}

// addIndexes and removeIndexes keep the index in step with one record.
func (g *Graph) addIndexes(e *edit, r *record) {
	eachHead(r, func(head uint64) { g.index, _ = g.index.insert(e, item{head, r}) })
}

func (g *Graph) removeIndexes(e *edit, r *record) {
	eachHead(r, func(head uint64) { g.index, _ = g.index.remove(e, item{head, r}) })
}

func eachHead(r *record, yield func(head uint64)) {
	if r.ends != nil {
		yield(headByEnd(byFrom, &r.ends[0], r.kind()))
		yield(headByEnd(byTo, &r.ends[1], r.kind()))
		return
	}
	yield(headByKind(r.kind()))
	indexKeys(r.kind(), r.data(), func(place int, value []byte) { yield(headByField(r.kind(), place, value)) })
}
