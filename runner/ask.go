package runner

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// Input is what a step read, as the System graph knows it: a path or a wildcard.
type Input struct {
	Path string
	Late bool
}

// InputsOf lists what a step read the last time that it ended well, by path.
func InputsOf(g warp.Graph, step string) ([]Input, error) {
	s, err := lastOf(g, step)
	if err != nil || s == nil {
		return nil, err
	}
	var out []Input
	for e, a := range reads(g, s.node) {
		out = append(out, Input{Path: a.Path, Late: e.Late})
	}
	slices.SortFunc(out, func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// Fact is a fact of the System graph.
type Fact struct {
	Relation   string
	Text       string // `fact::deployed("prod", "v1")`
	AssertedBy []Assertion
}

// Assertion names the step that made a fact true.
type Assertion struct {
	Step string
	Run  int
}

// Facts lists the facts that steps asserted and that outlived their runs, by their text.
func Facts(g warp.Graph) ([]Fact, error) {
	var out []Fact
	for id, n := range g.Nodes("fact") {
		v, err := cbor.Decode(n.Data)
		list, ok := v.([]any)
		if err != nil || !ok || len(list) == 0 {
			return nil, fmt.Errorf("fact %s cannot be read: %w", id, err)
		}
		var args []string
		for _, a := range list[1:] {
			if s, ok := a.(string); ok {
				args = append(args, fmt.Sprintf("%q", s))
			} else {
				args = append(args, fmt.Sprint(a))
			}
		}
		f := Fact{Relation: fmt.Sprint(list[0])}
		f.Text = fmt.Sprintf("fact::%s(%s)", f.Relation, strings.Join(args, ", "))
		for _, e := range g.In(id, "asserts") {
			var s stepNode
			by, _ := g.Node(e.From)
			if err := cbor.Unmarshal(by.Data, &s); err != nil {
				return nil, err
			}
			f.AssertedBy = append(f.AssertedBy, Assertion{Step: s.ID, Run: s.Run})
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Fact) int { return strings.Compare(a.Text, b.Text) })
	return out, nil
}

// Same says whether what a run wrote is what is there now.
func Same(e Entry, now sws.Entry) bool {
	if e.Type != typeOf(now.Kind) {
		return false
	}
	switch now.Kind {
	case sws.File:
		return e.Mode == now.Mode && bytes.Equal(e.Digest, now.Digest[:])
	case sws.Link:
		return e.Target == now.Target
	}
	return true
}
