package runner

import (
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
)

// emit appends an event and shows it. The digest is that of the System graph unless the event is about a view.
func (k *kernel) emit(kind string, view history.View, digest warp.Hash, data any) error {
	say := func(s string) string { return k.mask.Load().Text(readable(s)) }
	switch d := data.(type) {
	case *Invocation:
		d.Text = say(d.Text)
	case *Result:
		d.Reason = say(d.Reason)
	case *Observation:
		d.Name, d.Text, d.Of = say(d.Name), say(d.Text), say(d.Of)
	case *End:
		d.Reason = say(d.Reason)
	}
	b, err := cbor.Encode(data)
	if err != nil {
		return err
	}
	e := history.Event{Kind: kind, View: view, Digest: digest, Rules: warp.Hash(k.program()), Policy: k.policy(), At: k.o.Now().UnixNano(), Data: b}
	if e.Idx, err = k.w.Log.Append(e); err != nil {
		return err
	}
	if k.o.Sink != nil {
		k.o.Sink(Event{Event: e, Data: data})
	}
	if _, ends := data.(*End); ends {
		k.over = true
	}
	return nil
}

func (k *kernel) program() [32]byte {
	if k.plan == nil {
		return [32]byte{}
	}
	return k.plan.Program
}

// policy names the settings in force: how steps are kept apart, and what of the workflow says how strict a run is.
func (k *kernel) policy() warp.Hash {
	var settings struct {
		Isolation string   `cbor:"isolation"`
		Strict    bool     `cbor:"strict"`
		Ignore    []string `cbor:"ignore,omitempty"`
	}
	settings.Isolation = k.isolation
	if k.plan != nil {
		settings.Strict, settings.Ignore = k.plan.Strict, k.plan.Ignore
	}
	if k.pin.plan != k.plan || k.pin.policy == (warp.Hash{}) {
		k.pin.plan, k.pin.policy = k.plan, warp.Hash(cas.Sum(mustEncode(settings)))
	}
	return k.pin.policy
}

// observe appends an observation of this run.
func (k *kernel) observe(o Observation) error {
	o.Run = k.run
	if o.What == "warning" {
		text := k.mask.Load().Text(o.Text)
		if o.Step != "" {
			text = o.Step + " " + text
		}
		k.warnings = append(k.warnings, text)
	}
	return k.emit(KindObservation, k.viewOf(), warp.Hash{}, &o)
}

// open begins the run in the history: nothing was written before, so that a run with nothing to do leaves nothing.
func (k *kernel) open(target string) error {
	if k.opened {
		return nil
	}
	k.opened = true
	in := &Intent{Run: k.run, SWS: k.sws, Target: target, What: k.o.What, Of: k.of, Jobs: k.o.Jobs, Where: k.isolation}
	if err := k.emit(KindIntent, history.System, k.w.System.Digest(), in); err != nil {
		return err
	}
	for _, a := range k.o.Asked {
		if err := k.observe(a); err != nil {
			return err
		}
	}
	return k.chose()
}

// viewOf is the view that the events of this run are about: its SWS, or the System where it has none.
func (k *kernel) viewOf() history.View {
	if k.sws < 0 {
		return history.System
	}
	return history.SWS(k.sws)
}

// nodeOf encodes the data of a node that this package makes.
func nodeOf(kind string, data map[string]any) warp.Node {
	n, err := warp.NewNode(kind, data)
	if err != nil {
		panic("runner: " + err.Error()) // our own data, not input
	}
	return n
}

func (k *kernel) swsNode() warp.Node { return nodeOf("sws", map[string]any{"n": k.sws}) }
func (k *kernel) runNode() warp.Node { return runNode(k.run) }
func (k *kernel) candidate() warp.Node {
	c := map[string]any{"run": k.run, "n": k.plan.Candidate}
	if k.round > 0 {
		c["round"] = k.round
	}
	return nodeOf("candidate", c)
}

// chose enters the present plan as the candidate of this run.
func (k *kernel) chose() error {
	var rw warp.Rewrite
	if k.plan == nil { // undo, clean: there is nothing to choose
		rw.Ops = append(rw.Ops, warp.AddNode(k.runNode()))
		if k.sws >= 0 {
			rw.Ops = append(rw.Ops, warp.AddNode(k.swsNode()))
		}
		return k.rewrite(rw, &Rewrite{Run: k.run, Cause: "plan"})
	}
	intent := nodeOf("intent", map[string]any{"run": k.run, "target": k.plan.Target})
	c := k.candidate()
	if _, there := k.w.System.Node(c.ID()); there { // it is walked once more
		return k.sayFacts()
	}
	if _, there := k.w.System.Node(k.runNode().ID()); !there {
		rw.Ops = append(rw.Ops, warp.AddNode(k.runNode()), warp.AddNode(k.swsNode()), warp.AddNode(intent),
			warp.AddEdge(warp.Edge{Kind: "in", From: k.runNode().ID(), To: k.swsNode().ID()}))
	}
	rw.Ops = append(rw.Ops, warp.AddNode(c), warp.AddEdge(warp.Edge{Kind: "chooses", From: intent.ID(), To: c.ID()}))
	data := &Rewrite{Run: k.run, Cause: "plan", Candidate: k.plan.Candidate, Resumed: k.resumed, Steps: len(k.plan.Steps)}
	for _, n := range k.plan.Tree {
		if n.Method != "" {
			data.Methods = append(data.Methods, n.Task+" by "+n.Method)
		}
		for _, p := range n.Passed {
			if !k.excluded(n.Task, p.Method) { // that one is said below
				data.Passed = append(data.Passed, n.Task+" by "+p.Method+": "+p.Reason)
			}
		}
	}
	for _, x := range k.plan.Excluded {
		data.Excluded = append(data.Excluded, x.Node.Task+" by "+x.Node.Method+": "+x.Step+" "+x.Reason)
	}
	if err := k.rewrite(rw, data); err != nil {
		return err
	}
	return k.sayFacts()
}

// effect is what a step's rule changed of the facts, and the digest that it led to.
type effect struct {
	step   string
	rw     warp.Rewrite
	digest warp.Hash
}

// sayFacts records what the view of this SWS begins with, and then the effects of steps that needed no run. Where there
// are no facts at all, there is nothing to say.
func (k *kernel) sayFacts() error {
	if nodes, _ := k.start.Len(); nodes > 0 || k.viewed {
		k.viewed = true
		observed := warp.Diff(k.begin, k.start)
		if err := k.emit(KindRewrite, k.viewOf(), k.start.Digest(), &Rewrite{Run: k.run, Cause: "facts", Ops: observed.Encode()}); err != nil {
			return err
		}
	}
	unsaid := k.unsaid
	k.unsaid = nil
	for _, e := range unsaid {
		if err := k.sayEffect(e); err != nil {
			return err
		}
	}
	return nil
}

func (k *kernel) sayEffect(e effect) error {
	k.viewed = true
	return k.emit(KindRewrite, k.viewOf(), e.digest, &Rewrite{Run: k.run, Cause: "effect", Step: e.step, Ops: e.rw.Encode()})
}

func (k *kernel) excluded(task, method string) bool {
	return slices.ContainsFunc(k.plan.Excluded, func(x plan.Excluded) bool { return x.Node.Task == task && x.Node.Method == method })
}

// rewrite applies rw to the System graph as one tick.
func (k *kernel) rewrite(rw warp.Rewrite, data *Rewrite) error {
	g, receipt, err := tick(*k.w.System, k.run, k.tick+1, data.Step, rw)
	if err != nil {
		return err
	}
	*k.w.System = g
	data.Ops = rw.Encode()
	if err := k.emit(KindRewrite, history.System, g.Digest(), data); err != nil {
		return err
	}
	k.tick++
	return k.emit(KindTick, history.System, g.Digest(), receipt)
}

// invoked records that a worker, or the store, was given a step. It is the first thing that a run writes.
func (k *kernel) invoked(v Invocation) error {
	if err := k.open(k.plan.Target); err != nil {
		return err
	}
	return k.emit(KindInvocation, k.viewOf(), warp.Hash{}, &v)
}

// arrived records how a step ended, in the order in which steps end, so that what depends on it can start at once.
func (k *kernel) arrived(r *result) error {
	k.steps[r.step].res = r
	if r.err != nil {
		return r.err
	}
	if s := &k.plan.Steps[r.step]; s.Result.Of != "" && r.outcome != Failed && r.outcome != Cancelled {
		k.results[s.ID] = r.value
	}
	switch r.outcome {
	case Ran, Cached:
		if r.layer != nil {
			if err := k.files.wrote(r.step, r.changes); err != nil {
				return err
			}
		}
		if k.again(r) {
			return nil
		}
		if r.outcome == Ran {
			k.ran++
		} else {
			k.cached++
		}
		k.finishedMu.Lock()
		k.finished[r.key] = r
		k.finishedMu.Unlock()
	case Failed:
		if err := k.open(k.plan.Target); err != nil { // it may have failed before a worker was needed
			return err
		}
	case Cancelled:
		if !k.opened {
			return nil
		}
	default:
		return nil
	}
	for _, p := range k.files.leftOut() {
		if text := p + " cannot be read, so it is no input of anything"; !slices.Contains(k.warnings, text) {
			r.notes = append(r.notes, Observation{What: "warning", Text: text})
		}
	}
	for _, n := range r.notes {
		if err := k.observe(n); err != nil {
			return err
		}
	}
	for _, in := range r.inputs {
		if in.late {
			r.event.Reads = append(r.event.Reads, Read{Path: textPath(in.path), Digest: digestBytes(in), Late: true})
		}
	}
	return k.emit(KindResult, k.viewOf(), warp.Hash{}, &r.event)
}

func digestBytes(in input) []byte {
	d := contentDigest(in.entry)
	return d[:]
}

// again says that an earlier plan of this run brought the result into state already.
func (k *kernel) again(r *result) bool {
	k.finishedMu.Lock()
	defer k.finishedMu.Unlock()
	old := k.finished[r.key]
	return old != nil && old.layer == r.layer && old != r
}

// enter brings the result of step i into state. It is called in plan order, whatever the order in which steps end.
func (k *kernel) enter(i int) error {
	r := k.steps[i].res
	s := &k.plan.Steps[i]
	switch {
	case r.outcome == Cancelled:
		return nil
	case r.outcome == Failed:
		n := nodeOf("step", map[string]any{"run": k.run, "n": 2 + k.plan.Candidate, "id": s.ID, "key": r.key[:], "task": s.Task})
		why := mustEncode(map[string]any{"reason": r.event.Reason})
		return k.rewrite(warp.Rewrite{Ops: []warp.Op{warp.AddNode(n),
			warp.AddEdge(warp.Edge{Kind: "attempted", From: k.candidate().ID(), To: n.ID(), Data: why}),
		}}, &Rewrite{Run: k.run, Cause: "step", Step: s.ID})
	case r.outcome == Ran && !k.again(r):
		if err := k.remember(s, i, r); err != nil {
			return err
		}
	}
	return k.effects(s, r)
}

func mustEncode(v any) []byte {
	b, err := cbor.Encode(v)
	if err != nil {
		panic("runner: " + err.Error()) // our own data, not input
	}
	return b
}

// inlineAction is how many bytes of an action stand in the node itself. A file in the store for each costs more than
// that where a step takes a millisecond.
const inlineAction = 1 << 10

// remember enters a step that ran into the System graph: what it read and what it made.
func (k *kernel) remember(s *plan.Step, i int, r *result) error {
	blob, err := encodeAction(r.action)
	if err != nil {
		return err
	}
	if len(blob) > inlineAction {
		d, err := k.w.Store.Put(blob)
		if err != nil {
			return err
		}
		blob = d[:]
	}
	task := nodeOf("task", map[string]any{"name": s.ID})
	rw := warp.Rewrite{Ops: []warp.Op{warp.AddNode(task)}}
	keys := []cas.Digest{r.key}
	if r.after != (cas.Digest{}) && r.after != r.key {
		keys = append(keys, r.after)
	}
	for n, key := range keys {
		node, err := warp.NewNode("step", stepNode{Run: k.run, N: n, ID: s.ID, Key: key[:], Action: blob, Task: s.Task, Result: []byte(r.value)})
		if err != nil {
			return err
		}
		id := node.ID()
		if n == 0 {
			r.node = id
		}
		rw.Ops = append(rw.Ops, warp.AddNode(node), warp.AddEdge(warp.Edge{Kind: "decomposes", From: task.ID(), To: id}),
			warp.AddEdge(warp.Edge{Kind: "in", From: id, To: k.swsNode().ID()}))
		for _, in := range r.inputs {
			a, err := in.artifact()
			if err != nil {
				return err
			}
			edge := warp.Edge{Kind: "read", From: id, To: a.ID()}
			if in.late {
				edge.Data = mustEncode(readEdge{Late: true})
			}
			rw.Ops = append(rw.Ops, warp.AddNode(a), warp.AddEdge(edge))
		}
		for _, c := range r.changes {
			a, err := artifactOf(c.Path, c.After)
			if err != nil {
				return err
			}
			rw.Ops = append(rw.Ops, warp.AddNode(a), warp.AddEdge(warp.Edge{Kind: "produced", From: a.ID(), To: id}))
		}
		for _, e := range k.plan.Steps[i].After {
			if d := k.steps[e.Step].res; d != nil && d.node != (warp.NodeID{}) {
				rw.Ops = append(rw.Ops, warp.AddEdge(warp.Edge{Kind: "depends-on", From: id, To: d.node}))
			}
		}
	}
	return k.rewrite(rw, &Rewrite{Run: k.run, Cause: "step", Step: s.ID})
}

func (k *kernel) rule(s *plan.Step) (warp.Rule, bool) {
	if k.o.Rule == nil || s.Rule == "" {
		return warp.Rule{}, false
	}
	return k.o.Rule(s.Rule)
}

// effects applies the rule of a step to the facts of this SWS.
func (k *kernel) effects(s *plan.Step, r *result) error {
	rule, ok := k.rule(s)
	if !ok {
		return nil
	}
	bind := warp.Binding{}
	for _, p := range s.Params {
		bind[p.Name] = string(p.Value)
	}
	for b := range rule.Matches(k.facts, bind) {
		rw, _, err := rule.Instantiate(b)
		if err != nil {
			return err
		}
		if len(rw.Ops) == 0 {
			return nil
		}
		for _, op := range rw.Ops {
			if op.Kind == warp.OpAddNode {
				r.asserted = append(r.asserted, op.Node.ID())
			}
		}
		before := k.facts
		if k.facts, err = before.Apply(rw); err != nil {
			return err
		}
		e := effect{s.ID, rw, k.facts.Digest()}
		switch {
		case e.digest == before.Digest():
			return nil
		case !k.opened: // the run may still turn out to have nothing to do
			k.unsaid = append(k.unsaid, e)
			return nil
		}
		return k.sayEffect(e)
	}
	return failf("its condition does not hold where it ended: rule %s", s.Rule)
}

// keptFacts is the part of the System graph that conditions may ask for: its facts, without what says where they
// come from.
func keptFacts(g warp.Graph) (warp.Graph, error) {
	var rw warp.Rewrite
	for _, n := range g.Nodes("fact") {
		rw.Ops = append(rw.Ops, warp.AddNode(n))
	}
	return warp.Graph{}.Apply(rw)
}

// KeptFacts returns the facts that steps of earlier runs asserted and that still hold: those of a relation kept
// "fresh" only while every input of the step that asserted them is as it read it.
func KeptFacts(g warp.Graph, relations []plan.Relation, w Workspace) (warp.Graph, error) {
	keep := map[string]plan.Keep{}
	for _, r := range relations {
		if !r.Observed {
			keep[r.Name] = r.Keep
		}
	}
	f := newFiles(w.Base, w.Ignore, nil)
	var rw warp.Rewrite
	for id, n := range g.Nodes("fact") {
		switch keep[relationOf(n)] {
		case plan.KeepAlways:
			rw.Ops = append(rw.Ops, warp.AddNode(n))
		case plan.KeepFresh:
			fresh, err := f.fresh(g, id)
			if err != nil {
				return warp.Graph{}, err
			}
			if fresh {
				rw.Ops = append(rw.Ops, warp.AddNode(n))
			}
		}
	}
	return warp.Graph{}.Apply(rw)
}

// fresh says whether a step that asserted the fact has all its inputs as they were.
func (f *files) fresh(g warp.Graph, fact warp.NodeID) (bool, error) {
steps:
	for step := range assertedBy(g, fact) {
		for _, a := range reads(g, step) {
			if a.Type == "glob" {
				l, err := f.list(a.Path, nil)
				if err != nil {
					return false, err
				}
				if !slices.Equal(l.digest[:], a.Digest) {
					continue steps
				}
				continue
			}
			now, err := f.entry(a.Path, nil)
			if err != nil {
				return false, err
			}
			if !sameContent(now, a.entry()) {
				continue steps
			}
		}
		return true, nil
	}
	return false, nil
}

func relationOf(fact warp.Node) string {
	v, err := cbor.Decode(fact.Data)
	if list, ok := v.([]any); err == nil && ok && len(list) > 0 {
		s, _ := list[0].(string)
		return s
	}
	return ""
}

func reasonOf(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		return s[i+2:]
	}
	return s
}
