package runner

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// CompareSteps says in what two steps that ended well, by their keys, differ: what they depended on, what they read and
// what they made, in that order. blob reads from the store; what it does not have is compared by digest alone.
func CompareSteps(g warp.Graph, a, b cas.Digest, blob func(cas.Digest) ([]byte, error)) ([]string, error) {
	var sides [2]known
	for i, key := range []cas.Digest{a, b} {
		all, err := latestFirst(g, func(yield func(warp.NodeID) bool) {
			for id := range g.Find("step", key[:]) {
				if !yield(id) {
					return
				}
			}
		})
		if err != nil || len(all) == 0 {
			return nil, err
		}
		sides[i] = all[0]
	}
	out, err := compareActions(sides, blob)
	if err != nil {
		return nil, err
	}
	var ins, outs [2]map[string]artifactNode
	for i, s := range sides {
		ins[i], outs[i] = map[string]artifactNode{}, map[string]artifactNode{}
		for _, in := range reads(g, s.node) {
			ins[i][in.Path] = in
		}
		for _, e := range g.In(s.node, "produced") {
			var made artifactNode
			n, _ := g.Node(e.From)
			if err := cbor.Unmarshal(n.Data, &made); err != nil {
				return nil, err
			}
			outs[i][made.Path] = made
		}
	}
	expandGlobs(ins, blob)
	return append(append(out, compareArtifacts("input", ins)...), compareArtifacts("output", outs)...), nil
}

func compareActions(sides [2]known, blob func(cas.Digest) ([]byte, error)) ([]string, error) {
	var fields [2][]field
	for i, s := range sides {
		action := s.data.Action
		if len(action) == len(cas.Digest{}) {
			var err error
			if action, err = blob(cas.Digest(action)); err != nil {
				return nil, nil // the store has let it go: inputs and outputs say enough
			}
		}
		if err := cbor.Unmarshal(action, &fields[i]); err != nil {
			return nil, err
		}
	}
	return differences(fields[0], fields[1]), nil
}

// expandGlobs replaces wildcards that differ by the files that they stand for.
func expandGlobs(ins [2]map[string]artifactNode, blob func(cas.Digest) ([]byte, error)) {
	for _, p := range slices.Sorted(maps.Keys(ins[0])) {
		a, b := ins[0][p], ins[1][p]
		if a.Type != "glob" || b.Type != "glob" || bytes.Equal(a.Digest, b.Digest) {
			continue
		}
		before, err := blob(cas.Digest(a.Digest))
		now, err2 := blob(cas.Digest(b.Digest))
		if err != nil || err2 != nil {
			continue
		}
		for i, list := range [][]byte{before, now} {
			delete(ins[i], p)
			for file, row := range rows(list) {
				ins[i][file] = artifactNode{Path: file, Type: "file", Digest: []byte(row)}
			}
		}
	}
}

func compareArtifacts(what string, sides [2]map[string]artifactNode) []string {
	all := maps.Clone(sides[0])
	maps.Copy(all, sides[1])
	var out []string
	for _, p := range slices.Sorted(maps.Keys(all)) {
		a, was := sides[0][p]
		b, is := sides[1][p]
		switch {
		case !was:
			out = append(out, what+" "+p+" is new")
		case !is:
			out = append(out, what+" "+p+" is gone")
		case a.Type != b.Type || a.Mode != b.Mode || a.Target != b.Target || !bytes.Equal(a.Digest, b.Digest):
			out = append(out, what+" "+p+" changed"+contents(what, a, b))
		}
	}
	return out
}

// contents names the contents of an output that is another one.
func contents(what string, a, b artifactNode) string {
	if what != "output" || len(a.Digest) < 32 || len(b.Digest) < 32 || bytes.Equal(a.Digest, b.Digest) {
		return ""
	}
	return fmt.Sprintf(" %x… → %x…", a.Digest[:4], b.Digest[:4])
}

// Describe names a node of the System graph in a few words: its kind and what tells it from its like.
func Describe(n warp.Node) string {
	v, err := cbor.Decode(n.Data)
	if list, ok := v.([]any); err == nil && ok { // a fact
		text := n.Kind
		for _, x := range list {
			text += fmt.Sprintf(" %v", x)
		}
		return text
	}
	data, _ := v.(map[string]any)
	text := n.Kind
	for _, name := range []string{"id", "name", "path", "target", "kind", "method", "run", "n", "digest"} {
		switch x := data[name].(type) {
		case nil:
		case []byte:
			if len(x) >= 4 {
				text += fmt.Sprintf(" %x…", x[:4])
			}
		case string:
			text += " " + x
		default:
			text += fmt.Sprintf(" %s %v", name, x)
		}
	}
	return text
}
