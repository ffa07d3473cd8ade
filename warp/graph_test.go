package warp_test

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func fact(t require.TestingT, rel string, args ...any) warp.Node {
	n, err := warp.Fact(rel, args...)
	require.NoError(t, err)
	return n
}

func node(t require.TestingT, kind string, data any) warp.Node {
	n, err := warp.NewNode(kind, data)
	require.NoError(t, err)
	return n
}

func step(t require.TestingT, i int) warp.Node {
	return node(t, "step", map[string]any{"run": 1, "id": fmt.Sprint(i), "key": []byte{byte(i)}})
}

func artifact(t require.TestingT, path string) warp.Node {
	return node(t, "artifact", map[string]any{"path": path, "digest": []byte{1}, "mode": 0o644, "type": "file"})
}

func apply(t require.TestingT, g warp.Graph, ops ...warp.Op) warp.Graph {
	g, err := g.Apply(warp.Rewrite{Ops: ops})
	require.NoError(t, err)
	return g
}

// sampleOps makes n additions of nodes and, after them, of edges between them.
func sampleOps(t require.TestingT, n int) (nodes, edges []warp.Op) {
	var ids []warp.NodeID
	for i := range n {
		var x warp.Node
		switch i % 3 {
		case 0:
			x = fact(t, fmt.Sprint("rel", i%5), i, "x")
		case 1:
			x = step(t, i)
		case 2:
			x = artifact(t, fmt.Sprint("src/", i%7, "/f", i))
		}
		nodes = append(nodes, warp.AddNode(x))
		ids = append(ids, x.ID())
	}
	for i := range n {
		kind := []string{"read", "produced", "asserts"}[i%3]
		edges = append(edges, warp.AddEdge(warp.Edge{Kind: kind, From: ids[i], To: ids[i*i%n]}))
		edges = append(edges, warp.AddEdge(warp.Edge{Kind: kind, From: ids[i], To: ids[0]}))
	}
	return nodes, edges
}

func TestDigestDependsOnTheSetAlone(t *testing.T) {
	nodes, edges := sampleOps(t, 150)
	want := apply(t, warp.Graph{}, append(slices.Clone(nodes), edges...)...)
	extra, extraEdges := sampleOps(t, 190)
	for seed := range 1000 {
		r := rand.New(rand.NewSource(int64(seed)))
		shuffle := func(ops []warp.Op) []warp.Op {
			ops = slices.Clone(ops)
			r.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
			return ops
		}
		g := apply(t, warp.Graph{}, shuffle(nodes)...)
		if seed%10 == 0 {
			// through a bigger graph, and back
			g = apply(t, g, shuffle(extra[150:])...)
			g = apply(t, g, shuffle(extraEdges[300:])...)
			g = apply(t, g, shuffle(edges)...)
			for _, op := range shuffle(extra[150:]) {
				g = apply(t, g, warp.Retract(op.Node))
			}
		} else {
			g = apply(t, g, shuffle(edges)...)
		}
		require.Equal(t, want.Digest(), g.Digest(), "seed %d", seed)
		require.Empty(t, warp.Diff(want, g).Ops)
	}
}

// model is the plainest thing that behaves like a graph.
type model struct {
	nodes map[warp.NodeID]warp.Node
	edges map[warp.EdgeID]warp.Edge
}

func (m model) check(t *rapid.T, g warp.Graph) {
	n, e := g.Len()
	require.Len(t, m.nodes, n)
	require.Len(t, m.edges, e)
	require.Equal(t, m.nodes, maps.Collect(g.Nodes("")))
	require.Equal(t, m.edges, maps.Collect(g.Edges()))
	for id, n := range m.nodes {
		out := map[warp.EdgeID]warp.Edge{}
		in := map[warp.EdgeID]warp.Edge{}
		for eid, e := range m.edges {
			if e.From == id {
				out[eid] = e
			}
			if e.To == id {
				in[eid] = e
			}
		}
		require.Equal(t, out, maps.Collect(g.Out(id, "")))
		require.Equal(t, in, maps.Collect(g.In(id, "")))
		for eid, e := range g.Out(id, "read") {
			require.Equal(t, "read", e.Kind)
			delete(out, eid)
		}
		for _, e := range out {
			require.NotEqual(t, "read", e.Kind)
		}
		found, ok := g.Node(id)
		require.True(t, ok)
		require.Equal(t, n, found)
	}
	for _, kind := range []string{"fact", "step", "artifact"} {
		want := map[warp.NodeID]warp.Node{}
		for id, n := range m.nodes {
			if n.Kind == kind {
				want[id] = n
			}
		}
		require.Equal(t, want, maps.Collect(g.Nodes(kind)))
	}
	for i := range 3 {
		want := map[warp.NodeID]warp.Node{}
		for id, n := range m.nodes {
			if n.Kind == "fact" && n.Data[2] == '0'+byte(i) {
				want[id] = n
			}
		}
		require.Equal(t, want, maps.Collect(g.Find("fact", fmt.Sprint(i))))
	}
}

// TestGraphIsASet compares graphs with a model through random rewrites, keeps old ones as forks, and goes between any
// two of them by Diff.
func TestGraphIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, m := warp.Graph{}, model{map[warp.NodeID]warp.Node{}, map[warp.EdgeID]warp.Edge{}}
		type version struct {
			g warp.Graph
			m model
		}
		var past []version
		pool := rapid.IntRange(4, 120).Draw(t, "pool")
		pick := func() warp.Node {
			i := rapid.IntRange(0, pool).Draw(t, "node")
			if i%2 == 0 {
				return fact(t, fmt.Sprint(i%3), i)
			}
			return artifact(t, fmt.Sprint(i))
		}
		for range rapid.IntRange(1, 250).Draw(t, "steps") {
			a, b := pick(), pick()
			edge := warp.Edge{Kind: rapid.SampledFrom([]string{"read", "in"}).Draw(t, "kind"), From: a.ID(), To: b.ID()}
			var op warp.Op
			ok := true
			_, hasA := m.nodes[a.ID()]
			_, hasB := m.nodes[b.ID()]
			_, hasEdge := m.edges[edge.ID()]
			incident := func(id warp.NodeID) (ids []warp.EdgeID) {
				for eid, e := range m.edges {
					if e.From == id || e.To == id {
						ids = append(ids, eid)
					}
				}
				return ids
			}
			switch rapid.IntRange(0, 7).Draw(t, "op") {
			case 0, 1, 2:
				op = warp.AddNode(a)
				m.nodes[a.ID()] = a
			case 3, 4:
				op, ok = warp.AddEdge(edge), hasA && hasB
				if ok {
					edge.Data = []byte{0xf6}
					m.edges[edge.ID()] = edge
				}
			case 5:
				op, ok = warp.RemoveEdge(edge), hasEdge
				delete(m.edges, edge.ID())
			case 6:
				op, ok = warp.RemoveNode(a), hasA && len(incident(a.ID())) == 0
				if ok {
					delete(m.nodes, a.ID())
				}
			case 7:
				op = warp.Retract(a)
				for _, id := range incident(a.ID()) {
					delete(m.edges, id)
				}
				delete(m.nodes, a.ID())
			}
			next, err := g.Apply(warp.Rewrite{Ops: []warp.Op{op}})
			require.Equal(t, ok, err == nil, "%v", err)
			if err != nil {
				require.Equal(t, g, next)
			}
			g = next
			past = append(past, version{g, model{maps.Clone(m.nodes), maps.Clone(m.edges)}})
		}
		m.check(t, g)
		a, b := rapid.SampledFrom(past).Draw(t, "from"), rapid.SampledFrom(past).Draw(t, "to")
		a.m.check(t, a.g)
		d := warp.Diff(a.g, b.g)
		again, err := warp.DecodeRewrite(d.Encode())
		require.NoError(t, err)
		c := apply(t, a.g, again.Ops...)
		require.Equal(t, b.g.Digest(), c.Digest())
		b.m.check(t, c)
	})
}
