package warp

import (
	"fmt"

	"github.com/flyingrobots/jitos/warp/cbor"
)

const (
	kindFact     = "fact"
	maxFactIndex = 3 // how many of a fact's arguments have an index of their own
)

// shape is what a field's value must be.
type shape byte

const (
	isText shape = iota
	isInt
	isBytes
	isFileType
	isAny
)

type fieldSpec struct {
	name     string
	shape    shape
	optional bool
}

// nodeKind is a line of the registry. The data of a fact is an array, a relation's name and its arguments; the data
// of every other kind is a map of exactly its fields.
type nodeKind struct {
	name string
	// index names the field by which Find looks nodes up; a fact has one on its relation.
	index string
	// occurs says that a node stands for something that happened once: adding it twice is an error. The others are
	// descriptions, of which there is one however often somebody states it.
	occurs bool
	fields []fieldSpec
}

// nodeKinds is the registry of the kinds of nodes. A kind's place is its number in the indexes of a graph in memory;
// it enters no identity and no file, so lines may be added anywhere. Fields are in the order of their encoded names.
var nodeKinds = [...]nodeKind{
	{name: "artifact", index: "path", fields: []fieldSpec{
		{name: "mode", shape: isInt}, {name: "path"}, {name: "size", shape: isInt, optional: true},
		{name: "type", shape: isFileType}, {name: "digest", shape: isBytes}, {name: "target", optional: true}}},
	{name: "candidate", occurs: true, fields: []fieldSpec{
		{name: "n", shape: isInt}, {name: "run", shape: isInt}, {name: "round", shape: isInt, optional: true}, {name: "method", optional: true}}},
	{name: kindFact},
	{name: "intent", occurs: true, fields: []fieldSpec{{name: "run", shape: isInt}, {name: "target"}}},
	{name: "observation", occurs: true, fields: []fieldSpec{
		{name: "run", shape: isInt}, {name: "kind"}, {name: "name"}, {name: "value", shape: isAny}}},
	{name: "run", index: "n", occurs: true, fields: []fieldSpec{{name: "n", shape: isInt}}},
	{name: "slap", fields: []fieldSpec{{name: "name"}}},
	{name: "step", index: "key", occurs: true, fields: []fieldSpec{
		{name: "n", shape: isInt, optional: true}, {name: "id", shape: isAny}, {name: "key", shape: isBytes}, {name: "run", shape: isInt},
		{name: "args", shape: isAny, optional: true}, {name: "task", optional: true},
		{name: "action", shape: isBytes, optional: true}, {name: "result", shape: isBytes, optional: true}, {name: "method", optional: true}}},
	{name: "sws", index: "n", occurs: true, fields: []fieldSpec{{name: "n", shape: isInt}}},
	{name: "task", fields: []fieldSpec{{name: "name"}}},
	{name: "tick", occurs: true, fields: []fieldSpec{{name: "n", shape: isInt}}},
	{name: "worker", fields: []fieldSpec{{name: "kind"}, {name: "version", shape: isAny}}},
}

// edgeKinds is the registry of the kinds of edges; their data is null or a map. produced goes from an artifact to the
// step that made it, read from a step to the artifact it read.
var edgeKinds = [...]string{
	"decomposes", "chooses", "depends-on", "read", "produced", "asserts", "retracts", "in", "attempted", "collapsed-into",
}

func nodeKindOf(name string) (byte, bool) {
	for i := range nodeKinds {
		if nodeKinds[i].name == name {
			return byte(i), true
		}
	}
	return 0, false
}

func edgeKindOf(name string) (byte, bool) {
	for i, k := range edgeKinds {
		if k == name {
			return byte(i), true
		}
	}
	return 0, false
}

// KindError says that a node or an edge is not of a kind and shape of the registry.
type KindError struct{ Kind, Reason string }

func (e *KindError) Error() string { return fmt.Sprintf("%s: %s", e.Kind, e.Reason) }

// Check says whether the node is of a known kind and its data of that kind's shape; the error is a [*KindError].
func (n Node) Check() error {
	k, ok := nodeKindOf(n.Kind)
	if !ok {
		return &KindError{n.Kind, "no such kind of node"}
	}
	if err := cbor.Valid(n.Data); err != nil {
		return &KindError{n.Kind, err.Error()}
	}
	if n.Kind == kindFact {
		r := cbor.NewReader(n.Data)
		if r.Next() != cbor.Array || r.Array() == 0 || r.Next() != cbor.Text {
			return &KindError{n.Kind, "data must be an array of the relation's name and its arguments"}
		}
		return nil
	}
	if reason := checkFields(n.Data, nodeKinds[k].fields); reason != "" {
		return &KindError{n.Kind, reason}
	}
	return nil
}

// Check says whether the edge is of a known kind and its data null or a map; the error is a [*KindError].
func (e Edge) Check() error {
	if _, ok := edgeKindOf(e.Kind); !ok {
		return &KindError{e.Kind, "no such kind of edge"}
	}
	data := dataOrNull(e.Data)
	if err := cbor.Valid(data); err != nil {
		return &KindError{e.Kind, err.Error()}
	}
	if r := cbor.NewReader(data); r.Next() != cbor.Map && r.Next() != cbor.Null {
		return &KindError{e.Kind, "data must be null or a map"}
	}
	return nil
}

// checkFields compares valid data with a list of fields; both are in canonical order.
func checkFields(data []byte, fields []fieldSpec) (reason string) {
	r := cbor.NewReader(data)
	if r.Next() != cbor.Map {
		return "data must be a map"
	}
	for range r.Map() {
		key := r.Text()
		for len(fields) > 0 && fields[0].name != string(key) && fields[0].optional {
			fields = fields[1:]
		}
		if len(fields) == 0 {
			return fmt.Sprintf("unknown field %q", key)
		}
		if fields[0].name != string(key) {
			return fmt.Sprintf("field %q where %q is expected", key, fields[0].name)
		}
		if !fields[0].shape.fits(r) {
			return fmt.Sprintf("field %q has the wrong type", key)
		}
		r.Raw()
		fields = fields[1:]
	}
	for _, f := range fields {
		if !f.optional {
			return fmt.Sprintf("field %q is missing", f.name)
		}
	}
	return ""
}

// fits looks at the next item of r, a copy.
func (s shape) fits(r cbor.Reader) bool {
	switch s {
	case isText:
		return r.Next() == cbor.Text
	case isInt:
		return r.Next() == cbor.Int
	case isBytes:
		return r.Next() == cbor.Bytes
	case isFileType:
		t := ""
		if r.Next() == cbor.Text {
			t = string(r.Text())
		}
		return t == "file" || t == "dir" || t == "link" || t == "absent" || t == "glob"
	}
	return true
}

// indexKeys yields the look-up keys of a valid node: where the value stands (0 is the field Find knows, n ≥ 1 a fact's
// nth argument) and its bytes.
func indexKeys(kind byte, data []byte, yield func(place int, value []byte)) {
	r := cbor.NewReader(data)
	if nodeKinds[kind].name == kindFact {
		for i := range min(r.Array(), 1+maxFactIndex) {
			yield(i, r.Raw())
		}
		return
	}
	if nodeKinds[kind].index == "" {
		return
	}
	for range r.Map() {
		key := r.Text()
		value := r.Raw()
		if string(key) == nodeKinds[kind].index {
			yield(0, value)
		}
	}
}
