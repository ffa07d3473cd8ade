package runner

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// The data of the nodes that a run adds to the System graph; package warp has the registry.
type (
	stepNode struct {
		Run    int    `cbor:"run"`
		N      int    `cbor:"n"` // occurrence within the run: 0, or 1 for the key after its own outputs
		ID     string `cbor:"id"`
		Key    []byte `cbor:"key"`
		Action []byte `cbor:"action,omitempty"` // what it depended on besides inputs: the encoded fields, or the digest of a blob with them
		Task   string `cbor:"task,omitempty"`
		Result []byte `cbor:"result,omitempty"` // the value that it gave
	}
	artifactNode struct {
		Path   string `cbor:"path"`
		Type   string `cbor:"type"` // "file", "dir", "link", "absent", or "glob": Path is a wildcard, Digest that of its listing
		Mode   uint32 `cbor:"mode"`
		Size   int64  `cbor:"size,omitempty"`
		Digest []byte `cbor:"digest"`
		Target string `cbor:"target,omitempty"`
	}
	observationNode struct {
		Run   int    `cbor:"run"`
		Kind  string `cbor:"kind"` // "retracted": Value is a fact that the run took away
		Name  string `cbor:"name"` // its relation
		Value any    `cbor:"value"`
	}
	readEdge struct {
		Late bool `cbor:"late,omitempty"`
	}
)

func artifactOf(p string, e sws.Entry) (warp.Node, error) {
	a := artifactNode{Path: textPath(p), Type: typeOf(e.Kind), Mode: e.Mode, Size: e.Size, Target: textTarget(e.Target), Digest: []byte{}}
	switch e.Kind {
	case sws.Absent:
		a.Type = "absent"
	case sws.File:
		a.Digest = e.Digest[:]
	}
	return warp.NewNode("artifact", a)
}

func (a artifactNode) entry() sws.Entry {
	e := sws.Entry{Kind: kindOf(a.Type), Mode: a.Mode, Size: a.Size, Target: rawTarget(a.Target)}
	switch {
	case e.Kind == sws.Link:
		e.Digest = cas.Sum([]byte(e.Target))
	case len(a.Digest) == len(e.Digest):
		e.Digest = cas.Digest(a.Digest)
	}
	return e
}

func (in input) artifact() (warp.Node, error) {
	if in.list != nil {
		return warp.NewNode("artifact", artifactNode{Path: textPath(in.path), Type: "glob", Digest: in.entry.Digest[:]})
	}
	return artifactOf(in.path, in.entry)
}

// known is a step of some run that succeeded.
type known struct {
	node    warp.NodeID
	data    stepNode
	changes []sws.Change
	late    []input
}

// succeeded says whether a step node stands for a step that ended well: then it is in an SWS.
func succeeded(g warp.Graph, id warp.NodeID) bool {
	for range g.Out(id, "in") {
		return true
	}
	return false
}

// latestFirst collects the steps that ended well, the last run first.
func latestFirst(g warp.Graph, ids func(yield func(warp.NodeID) bool)) ([]known, error) {
	var out []known
	for id := range ids {
		n, ok := g.Node(id)
		if !ok || n.Kind != "step" || !succeeded(g, id) {
			continue
		}
		s := known{node: id}
		if err := cbor.Unmarshal(n.Data, &s.data); err != nil {
			return nil, fmt.Errorf("step %s in the System graph: %w", id, err)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b known) int {
		if a.data.Run != b.data.Run {
			return b.data.Run - a.data.Run
		}
		return bytes.Compare(a.node[:], b.node[:])
	})
	return out, nil
}

// find asks the System graph for a step with this key whose late inputs are as they were then.
func (k *kernel) find(key cas.Digest, below bits) (*known, error) {
	all, err := latestFirst(k.lookup, func(yield func(warp.NodeID) bool) {
		for id := range k.lookup.Find("step", key[:]) {
			if !yield(id) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
next:
	for _, s := range all {
		for e, a := range reads(k.lookup, s.node) {
			if !e.Late {
				continue
			}
			now, err := k.files.entry(a.Path, below)
			if err != nil {
				return nil, err
			}
			if !sameContent(now, a.entry()) {
				continue next
			}
			s.late = append(s.late, input{path: a.Path, entry: now, late: true})
		}
		s.changes = produced(k.lookup, s.node)
		return &s, nil
	}
	return nil, nil
}

// reads yields the artifacts that a step read, in id order.
func reads(g warp.Graph, step warp.NodeID) func(yield func(readEdge, artifactNode) bool) {
	return func(yield func(readEdge, artifactNode) bool) {
		for _, e := range g.Out(step, "read") {
			var how readEdge
			var a artifactNode
			n, _ := g.Node(e.To)
			if cbor.Unmarshal(n.Data, &a) != nil {
				continue // the registry has checked it on its way in
			}
			a.Path = rawPath(a.Path)
			if len(e.Data) > 1 {
				_ = cbor.Unmarshal(e.Data, &how)
			}
			if !yield(how, a) {
				return
			}
		}
	}
}

// produced lists what a step made, in path order.
func produced(g warp.Graph, step warp.NodeID) []sws.Change {
	var out []sws.Change
	for _, e := range g.In(step, "produced") {
		var a artifactNode
		n, _ := g.Node(e.From)
		if cbor.Unmarshal(n.Data, &a) == nil {
			out = append(out, sws.Change{Path: rawPath(a.Path), After: a.entry()})
		}
	}
	slices.SortFunc(out, func(a, b sws.Change) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// occurrences lists when a step ended well, by its id, the last run first.
func occurrences(g warp.Graph, id string) ([]known, error) {
	task, err := warp.NewNode("task", map[string]any{"name": id})
	if err != nil {
		return nil, err
	}
	return latestFirst(g, func(yield func(warp.NodeID) bool) {
		for _, e := range g.Out(task.ID(), "decomposes") {
			if !yield(e.To) {
				return
			}
		}
	})
}

// lastOf finds the last occurrence of a step that ended well, by its id.
func lastOf(g warp.Graph, id string) (*known, error) {
	all, err := occurrences(g, id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// stale lists, by path, what steps of earlier runs let into the workspace, what stands there as they made it, and what no
// task of the program declares any more.
func (k *kernel) stale(pl *plan.Plan) ([]string, error) {
	declared := newOutputs(pl.Outputs)
	fixed := map[string]bool{}
	there := map[string]bool{}
	for _, t := range pl.Tasks {
		there[t.Name], fixed[t.Name] = true, t.Fixed
	}
	g := *k.w.System
	var out []string
	for id, n := range g.Nodes("artifact") {
		var a artifactNode
		if err := cbor.Unmarshal(n.Data, &a); err != nil {
			return nil, err
		}
		a.Path = rawPath(a.Path)
		if kind := kindOf(a.Type); kind != sws.File && kind != sws.Link || declared.covers(a.Path) {
			continue
		}
		for _, e := range g.Out(id, "produced") {
			var s stepNode
			by, _ := g.Node(e.To)
			if err := cbor.Unmarshal(by.Data, &s); err != nil {
				return nil, err
			}
			if s.Task == "" || there[s.Task] && !fixed[s.Task] || !collapsed(g, e.To) {
				continue
			}
			now, err := k.at(a.Path)
			if err != nil {
				return nil, err
			}
			if sameContent(now, a.entry()) {
				out = append(out, a.Path)
			}
			break
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// collapsed says whether a step's SWS entered the workspace.
func collapsed(g warp.Graph, step warp.NodeID) bool {
	for _, in := range g.Out(step, "in") {
		for range g.Out(in.To, "collapsed-into") {
			return true
		}
	}
	return false
}

// lastHere finds the last occurrence of a step that made what stands in the workspace, which may have come from the cache
// since; else the last one that ended well. Only words hang on it: what cannot be read now stands for nothing.
func (k *kernel) lastHere(id string) (*known, error) {
	all, err := occurrences(k.lookup, id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
next:
	for i := range all {
		for _, c := range produced(k.lookup, all[i].node) {
			if now, err := k.at(c.Path); err != nil || !sameContent(now, c.After) {
				continue next
			}
		}
		return &all[i], nil
	}
	return &all[0], nil
}

// explain says what of a step differs from the last time it ended well: the fields and inputs that its key is made of.
func (k *kernel) explain(s *plan.Step, d *decision) ([]string, error) {
	last, err := k.lastHere(s.ID)
	if err != nil || last == nil {
		return []string{"never ran"}, err
	}
	var why []string
	action := last.data.Action
	if len(action) == len(cas.Digest{}) {
		if action, err = k.w.Store.Get(cas.Digest(action)); err != nil {
			action = nil // the store has let it go: the inputs say enough
		}
	}
	if action != nil {
		var old []field
		if err := cbor.Unmarshal(action, &old); err != nil {
			return nil, err
		}
		why = differences(old, d.action)
	}
	now := map[string]input{}
	for _, in := range d.inputs {
		now[in.path] = in
	}
	for e, a := range reads(k.lookup, last.node) {
		in, there := now[a.Path]
		delete(now, a.Path)
		switch {
		case e.Late:
			entry, err := k.files.entry(a.Path, nil)
			if err != nil {
				return nil, err
			}
			if !sameContent(entry, a.entry()) {
				why = append(why, "input "+a.Path+changedOrGone(entry))
			}
		case !there:
			why = append(why, "input "+a.Path+" is declared no more")
		case in.list != nil:
			if !bytes.Equal(in.list.digest[:], a.Digest) {
				why = append(why, k.listDiff(a, in)...)
			}
		case !sameContent(in.entry, a.entry()):
			why = append(why, "input "+a.Path+changedOrGone(in.entry))
		}
	}
	for _, in := range d.inputs {
		if _, new := now[in.path]; new {
			why = append(why, "input "+in.path+" is new")
		}
	}
	if len(why) == 0 {
		why = []string{"never ran with these inputs"}
	}
	slices.Sort(why)
	return slices.Compact(why), nil
}

func changedOrGone(e sws.Entry) string {
	if e.Kind == sws.Absent {
		return " is gone"
	}
	return " changed"
}

// listDiff names the paths in which a wildcard differs.
func (k *kernel) listDiff(old artifactNode, in input) []string {
	b, err := k.w.Store.Get(cas.Digest(old.Digest))
	if err != nil {
		return []string{"input " + old.Path + " changed"}
	}
	before, now := rows(b), rows(in.list.blob)
	var out []string
	for _, p := range in.list.paths {
		switch was, there := before[p]; {
		case !there:
			out = append(out, "input "+p+" is new")
		case was != now[p]:
			out = append(out, "input "+p+" changed")
		}
		delete(before, p)
	}
	gone := make([]string, 0, len(before))
	for p := range before {
		gone = append(gone, "input "+p+" is gone")
	}
	slices.Sort(gone)
	return append(out, gone...)
}

// rows reads a listing: path to the rest of its row, as bytes.
func rows(blob []byte) map[string]string {
	out := map[string]string{}
	v, err := cbor.Decode(blob)
	list, _ := v.([]any)
	if err != nil {
		return out
	}
	for _, r := range list {
		if row, ok := r.([]any); ok && len(row) == 4 {
			p, _ := row[0].(string)
			p = rawPath(p)
			rest, err := cbor.Encode(row[1:])
			if err == nil {
				out[p] = string(rest)
			}
		}
	}
	return out
}

// with returns the listing after some of its paths were written; hit says whether any was.
func (l *listing) with(wrote map[string]sws.Entry, pattern string) (listing, bool, error) {
	hit := false
	out := listing{}
	v, err := cbor.Decode(l.blob)
	if err != nil {
		return out, false, err
	}
	old, _ := v.([]any)
	left := map[string]sws.Entry{}
	for p, e := range wrote {
		if matchPath(pattern, p) && e.Kind != sws.Dir {
			left[p], hit = e, true
		}
	}
	if !hit {
		return out, false, nil
	}
	all := map[string]any{}
	for _, r := range old {
		if row, ok := r.([]any); ok && len(row) == 4 {
			p, _ := row[0].(string)
			all[rawPath(p)] = row
		}
	}
	for p, e := range left {
		delete(all, p)
		if e.Kind != sws.Absent {
			d := contentDigest(e)
			all[p] = []any{textPath(p), typeOf(e.Kind), e.Mode, d[:]}
		}
	}
	var list []any
	for p := range all {
		out.paths = append(out.paths, p)
	}
	slices.Sort(out.paths)
	for _, p := range out.paths {
		list = append(list, all[p])
	}
	out.blob, err = cbor.Encode(list)
	out.digest = cas.Sum(out.blob)
	return out, true, err
}

// differences words what two actions differ in.
func differences(old, now []field) []string {
	was := map[string]string{}
	for _, f := range old {
		was[f.Name] = f.Value
	}
	var out []string
	for _, f := range now {
		before, there := was[f.Name]
		delete(was, f.Name)
		if there && before == f.Value {
			continue
		}
		switch {
		case strings.HasPrefix(f.Name, "env "):
			out = append(out, fmt.Sprintf("%s %q → %q", f.Name, before, f.Value))
		case strings.HasPrefix(f.Name, "tool "):
			out = append(out, f.Name+" is another one")
		default:
			out = append(out, f.Name+" changed")
		}
	}
	for _, f := range old {
		if _, gone := was[f.Name]; gone {
			out = append(out, f.Name+" is declared no more")
		}
	}
	return out
}
