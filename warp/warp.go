// Package warp is the graph in which jitos keeps what it knows, and the rules that rewrite it.
//
// A [Graph] is an immutable set of nodes and edges whose identities are hashes of their contents. Forking one is
// copying the value; [Graph.Apply] makes the next one from a [Rewrite], whole or not at all; [Graph.Digest] names the
// set, whatever way it came about. A [Rule] says what must match, what must not, what goes and what comes;
// [Rule.Matches] finds where it holds and [Rule.Instantiate] turns one such place into a Rewrite and the [Footprint]
// by which two rewrites are known to be independent. [Graph.Tick] applies the independent ones of many proposals, with
// a [Receipt] that does not depend on how they are arranged.
//
// Data are canonical CBOR (package cbor) of the shapes in the registry, kinds.go. The package knows nothing of tasks,
// plans, files or history, and reads no clock, environment or random numbers. Start reading at [Graph], then [Rewrite].
//
// # Caveats
//
// Slices that a Graph hands out are its own memory: do not change them. A Graph is safe for concurrent use.
package warp

import (
	"encoding/hex"
	"fmt"

	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/zeebo/blake3"
)

// Hash is a BLAKE3-256 hash.
type Hash [32]byte

// NodeID is the identity of a node: the hash of its kind and data.
type NodeID Hash

// EdgeID is the identity of an edge: the hash of its kind, ends and data.
type EdgeID Hash

// String returns 64 lowercase hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// String returns 64 lowercase hex digits.
func (id NodeID) String() string { return hex.EncodeToString(id[:]) }

// String returns 64 lowercase hex digits.
func (id EdgeID) String() string { return hex.EncodeToString(id[:]) }

// Node is a node's content.
type Node struct {
	Kind string
	Data []byte // canonical CBOR of the shape its kind asks for
}

// Edge is an edge's content.
type Edge struct {
	Kind     string
	From, To NodeID
	Data     []byte // canonical CBOR: null (also written as no bytes) or a map
}

var nullData = []byte{0xf6}

func dataOrNull(b []byte) []byte {
	if len(b) == 0 {
		return nullData
	}
	return b
}

// NewNode encodes data, for instance a struct with cbor tags or a map[string]any, into a node.
func NewNode(kind string, data any) (Node, error) {
	b, err := cbor.Encode(data)
	if err != nil {
		return Node{}, fmt.Errorf("data of %s: %w", kind, err)
	}
	return Node{Kind: kind, Data: b}, nil
}

// Fact returns the node of the fact rel(args…).
func Fact(rel string, args ...any) (Node, error) {
	list := make([]any, 0, len(args)+1)
	return NewNode(kindFact, append(append(list, rel), args...))
}

// ID returns the node's identity. It does not look whether the content is valid.
func (n Node) ID() NodeID {
	var room [512]byte
	b := append(room[:0], "jitos/node/v1"...)
	b = cbor.AppendString(cbor.AppendArray(b, 2), n.Kind)
	return blake3.Sum256(append(b, dataOrNull(n.Data)...))
}

// ID returns the edge's identity. It does not look whether the content is valid.
func (e Edge) ID() EdgeID {
	var room [512]byte
	b := append(room[:0], "jitos/edge/v1"...)
	b = cbor.AppendString(cbor.AppendArray(b, 4), e.Kind)
	b = cbor.AppendBytes(b, e.From[:])
	b = cbor.AppendBytes(b, e.To[:])
	return blake3.Sum256(append(b, dataOrNull(e.Data)...))
}
