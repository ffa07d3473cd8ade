package runner

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// What a run let into the workspace stands in the System graph as edges of its node: it asserts the artifacts and facts that
// it put there and retracts the artifacts that were there before. A fact that is retracted is in the graph no more; an
// observation of it is, and what asserted the fact asserts that. Undo and why ask these edges.

func runNode(n int) warp.Node { return nodeOf("run", map[string]any{"n": n}) }

// wrote says what a run that applies rw to g lets into the workspace.
func wrote(g warp.Graph, run int, rw warp.Rewrite, done []sws.Done) ([]warp.Op, error) {
	var ops []warp.Op
	from := runNode(run).ID()
	edge := func(kind string, to warp.NodeID) {
		ops = append(ops, warp.AddEdge(warp.Edge{Kind: kind, From: from, To: to}))
	}
	artifact := func(kind, path string, e sws.Entry) error {
		if e.Kind == sws.Absent {
			return nil
		}
		a, err := artifactOf(path, e)
		id := a.ID()
		if _, there := g.Node(id); !there { // it is where a step made it
			ops = append(ops, warp.AddNode(a))
		}
		edge(kind, id)
		return err
	}
	for _, d := range done {
		if err := errors.Join(artifact("retracts", d.Path, d.Before), artifact("asserts", d.Path, d.After)); err != nil {
			return nil, err
		}
	}
	for _, op := range rw.Ops {
		if op.Node.Kind != "fact" {
			continue
		}
		switch _, there := g.Node(op.Node.ID()); {
		case op.Kind == warp.OpAddNode && !there:
			edge("asserts", op.Node.ID())
		case op.Kind == warp.OpRetract && there:
			data, err := cbor.Decode(op.Node.Data)
			if err != nil {
				return nil, err
			}
			o, err := warp.NewNode("observation", observationNode{run, "retracted", relationOf(op.Node), data})
			if err != nil {
				return nil, err
			}
			ops = append(ops, warp.AddNode(o))
			edge("retracts", o.ID())
			for _, e := range g.In(op.Node.ID(), "asserts") { // who had asserted it: an undo makes it so again
				ops = append(ops, warp.AddEdge(warp.Edge{Kind: "asserts", From: e.From, To: o.ID()}))
			}
		}
	}
	return ops, nil
}

// change is what a run let into the workspace.
type change struct {
	run  int
	done []sws.Done   // by path
	back warp.Rewrite // takes back what it did to facts
}

// changeOf asks the graph for what a run let into the workspace.
func changeOf(g warp.Graph, run int) (change, error) {
	c, done := change{run: run}, map[string]*sws.Done{}
	at := func(n warp.Node) (*sws.Done, sws.Entry, error) {
		var a artifactNode
		err := cbor.Unmarshal(n.Data, &a)
		p := rawPath(a.Path)
		if done[p] == nil {
			done[p] = &sws.Done{Path: p}
		}
		return done[p], a.entry(), err
	}
	for _, e := range g.Out(runNode(run).ID(), "asserts") {
		n, _ := g.Node(e.To)
		switch n.Kind {
		case "fact":
			c.back.Ops = append(c.back.Ops, warp.Retract(n))
			continue
		case "observation": // it was taken away since
			continue
		}
		d, now, err := at(n)
		if err != nil {
			return c, err
		}
		d.After = now
	}
	for _, e := range g.Out(runNode(run).ID(), "retracts") {
		n, _ := g.Node(e.To)
		if n.Kind == "observation" {
			var o observationNode
			err := cbor.Unmarshal(n.Data, &o)
			fact, err2 := warp.NewNode("fact", o.Value)
			if err := errors.Join(err, err2); err != nil {
				return c, err
			}
			c.back.Ops = append(c.back.Ops, warp.AddNode(fact))
			for _, by := range g.In(n.ID(), "asserts") {
				c.back.Ops = append(c.back.Ops, warp.AddEdge(warp.Edge{Kind: "asserts", From: by.From, To: fact.ID()}))
			}
			continue
		}
		d, was, err := at(n)
		if err != nil {
			return c, err
		}
		d.Before = was
	}
	for _, p := range slices.Sorted(maps.Keys(done)) {
		c.done = append(c.done, *done[p])
	}
	return c, nil
}

// forget takes away what the graph says of what a run let into the workspace: it did not, after all.
func forget(g warp.Graph, run int) (warp.Rewrite, error) {
	var rw warp.Rewrite
	for _, kind := range []string{"asserts", "retracts", "collapsed-into"} {
		for _, e := range g.Out(runNode(run).ID(), kind) {
			if n, _ := g.Node(e.To); kind == "retracts" && n.Kind == "observation" {
				rw.Ops = append(rw.Ops, warp.Retract(n))
			} else {
				rw.Ops = append(rw.Ops, warp.RemoveEdge(e))
			}
		}
	}
	for _, e := range g.In(runNode(run).ID(), "collapsed-into") {
		from, _ := g.Node(e.From)
		if from.Kind == "sws" {
			rw.Ops = append(rw.Ops, warp.RemoveEdge(e))
		}
	}
	c, err := changeOf(g, run)
	rw.Ops = append(rw.Ops, c.back.Ops...)
	return rw, err
}

// undoable is the change of a run; run 0 is the last one that changed a file.
func undoable(g warp.Graph, run int) (change, error) {
	if _, there := g.Node(runNode(run).ID()); run != 0 && !there {
		return change{}, &NothingError{fmt.Sprintf("nothing to undo: there is no run %d", run)}
	}
	if run != 0 {
		c, err := changeOf(g, run)
		if err == nil && len(c.done) == 0 {
			err = &NothingError{fmt.Sprintf("nothing to undo: run %d changed no file in the workspace", run)}
		}
		return c, err
	}
	for range g.Nodes("run") { // they are numbered from 1
		run++
	}
	for ; run > 0; run-- {
		if c, err := changeOf(g, run); err != nil || len(c.done) > 0 {
			return c, err
		}
	}
	return change{}, &NothingError{"nothing to undo: no run has changed a file yet"}
}
