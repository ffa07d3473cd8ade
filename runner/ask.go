package runner

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
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
	// Files is how many files a wildcard stood for; 0 of a path.
	Files int
	// From are the steps that made it, with the run in which each did so last; none: no step did.
	From []Assertion
}

// InputsOf lists what a step read in a run in which it ended well (0: the last one), by path. list reads the listing of a
// wildcard from the store by its digest.
func InputsOf(g warp.Graph, step string, run int, list func([]byte) ([]byte, error)) ([]Input, error) {
	all, err := occurrences(g, step)
	i := slices.IndexFunc(all, func(s known) bool { return run == 0 || s.data.Run == run })
	if err != nil || i < 0 {
		return nil, err
	}
	s := all[i]
	var out []Input
	for e, a := range reads(g, s.node) {
		in := Input{Path: a.Path, Late: e.Late}
		if a.Type != "glob" {
			in.From = makers(g, a.Path, a.Digest, step)
			out = append(out, in)
			continue
		}
		b, err := list(a.Digest)
		if err != nil { // the store may have let it go
			out = append(out, in)
			continue
		}
		v, err := cbor.Decode(b)
		if err != nil {
			return nil, err
		}
		members, _ := v.([]any)
		in.Files = len(members)
		for _, m := range members {
			if row, ok := m.([]any); ok && len(row) == 4 {
				p, _ := row[0].(string)
				p = rawPath(p)
				d, _ := row[3].([]byte)
				for _, by := range makers(g, p, d, step) {
					if !slices.Contains(in.From, by) {
						in.From = append(in.From, by)
					}
				}
			}
		}
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// LastRunOf is the last run in which a step ended well; 0: none.
func LastRunOf(g warp.Graph, step string) (int, error) {
	s, err := lastOf(g, step)
	if err != nil || s == nil {
		return 0, err
	}
	return s.data.Run, nil
}

// Writing is what a run did to a path.
type Writing struct {
	Path   string // as text
	Run    int
	Left   Entry      // what stood there after it; absent if the run removed it
	Step   *Assertion // who made that: not of the same run if it came from the cache; nil if no step did
	Undid  int        // the run that it undid; 0: it was no undo
	Others int        // other paths that it wrote, beside directories
}

// LastWriting asks the System graph for the last run that wrote a path, or removed it; nil if none did.
func LastWriting(g warp.Graph, path string) (*Writing, error) {
	w := &Writing{Path: textPath(path)}
	for id := range g.Find("artifact", w.Path) {
		for _, kind := range []string{"asserts", "retracts"} {
			for _, e := range g.In(id, kind) {
				n, err := numberOf(g, e.From)
				if err != nil {
					return nil, err
				}
				w.Run = max(w.Run, n)
			}
		}
	}
	if w.Run == 0 {
		return nil, nil
	}
	c, err := changeOf(g, w.Run)
	if err != nil {
		return nil, err
	}
	var left sws.Entry
	for _, d := range c.done {
		if d.Path == path {
			left = d.After
		} else if d.Before.Kind != sws.Dir && d.After.Kind != sws.Dir {
			w.Others++
		}
	}
	w.Left = EntryOf(left)
	for _, e := range g.Out(runNode(w.Run).ID(), "collapsed-into") {
		w.Undid, err = numberOf(g, e.To)
		return w, err
	}
	a, err := artifactOf(path, left)
	if err != nil {
		return nil, err
	}
	for _, e := range g.Out(a.ID(), "produced") {
		var s stepNode
		by, _ := g.Node(e.To)
		if err := cbor.Unmarshal(by.Data, &s); err != nil {
			return nil, err
		}
		if s.Run <= w.Run && (w.Step == nil || w.Step.Run < s.Run) {
			w.Step = &Assertion{Step: s.ID, Run: s.Run}
		}
	}
	return w, nil
}

// numberOf reads the number of a run's node.
func numberOf(g warp.Graph, run warp.NodeID) (int, error) {
	var r struct {
		N int `cbor:"n"`
	}
	n, _ := g.Node(run)
	err := cbor.Unmarshal(n.Data, &r)
	return r.N, err
}

// makers finds who made a content of a path: for each step but the given one, the last run.
func makers(g warp.Graph, path string, digest []byte, but string) []Assertion {
	last := map[string]int{}
	for id, n := range g.Find("artifact", textPath(path)) {
		var a artifactNode
		if cbor.Unmarshal(n.Data, &a) != nil || !bytes.Equal(a.Digest, digest) {
			continue
		}
		for _, e := range g.Out(id, "produced") {
			var s stepNode
			by, _ := g.Node(e.To)
			if cbor.Unmarshal(by.Data, &s) == nil && s.ID != but {
				last[s.ID] = max(last[s.ID], s.Run)
			}
		}
	}
	var out []Assertion
	for _, id := range slices.Sorted(maps.Keys(last)) {
		out = append(out, Assertion{Step: id, Run: last[id]})
	}
	return out
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

// FactOf reads a node of kind "fact".
func FactOf(n warp.Node) (Fact, error) {
	v, err := cbor.Decode(n.Data)
	list, ok := v.([]any)
	if err != nil || !ok || len(list) == 0 {
		return Fact{}, fmt.Errorf("fact %s cannot be read: %w", n.ID(), err)
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
	return f, nil
}

// Facts lists the facts that steps asserted and that outlived their runs, by their text.
func Facts(g warp.Graph) ([]Fact, error) {
	var out []Fact
	for id, n := range g.Nodes("fact") {
		f, err := FactOf(n)
		if err != nil {
			return nil, err
		}
		for _, by := range assertedBy(g, id) {
			var s stepNode
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

// assertedBy yields the steps that asserted a fact: runs that let it in assert it, too.
func assertedBy(g warp.Graph, fact warp.NodeID) iter.Seq2[warp.NodeID, warp.Node] {
	return func(yield func(warp.NodeID, warp.Node) bool) {
		for _, e := range g.In(fact, "asserts") {
			if by, _ := g.Node(e.From); by.Kind == "step" && !yield(e.From, by) {
				return
			}
		}
	}
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
		return e.Target == textTarget(now.Target)
	}
	return true
}

// CacheNeeds yields the digests of what the store must have so that steps which ended well need not run again: of each
// step the last time that it did, and those for which recent says so of their run.
func CacheNeeds(g warp.Graph, recent func(run int) bool, need func(digest []byte)) error {
	last := map[string]int{}
	steps := map[warp.NodeID]stepNode{}
	for id, n := range g.Nodes("step") {
		if !succeeded(g, id) {
			continue
		}
		var s stepNode
		if err := cbor.Unmarshal(n.Data, &s); err != nil {
			return fmt.Errorf("step %s in the System graph: %w", id, err)
		}
		steps[id] = s
		last[s.ID] = max(last[s.ID], s.Run)
	}
	for id, s := range steps {
		if s.Run != last[s.ID] && !recent(s.Run) {
			continue
		}
		need(s.Action)
		for _, a := range reads(g, id) {
			if a.Type == "glob" {
				need(a.Digest)
			}
		}
		for _, c := range produced(g, id) {
			if c.After.Kind == sws.File {
				need(c.After.Digest[:])
			}
		}
	}
	return nil
}
