package warp_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func canonical(t require.TestingT, v any) string {
	b, err := cbor.Encode(v)
	require.NoError(t, err)
	return string(b)
}

// drawTerm draws an argument of a fact pattern over three variables and three constants.
func drawTerm(t *rapid.T) warp.Term {
	switch rapid.IntRange(0, 6).Draw(t, "term") {
	case 0, 1, 2, 3:
		return warp.Var(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "var"))
	case 4, 5:
		return warp.Const(rapid.IntRange(0, 2).Draw(t, "const"))
	}
	return warp.Term{}
}

func drawPattern(t *rapid.T) warp.NodePattern {
	rel := rapid.SampledFrom([]string{"p", "q"}).Draw(t, "rel")
	terms := make([]warp.Term, rapid.IntRange(1, 2).Draw(t, "arity"))
	for i := range terms {
		terms[i] = drawTerm(t)
	}
	return warp.FactPattern(rel, terms...)
}

func drawFacts(t *rapid.T) (g warp.Graph, facts [][]any) {
	seen := map[string]bool{}
	for range rapid.IntRange(0, 25).Draw(t, "facts") {
		f := []any{rapid.SampledFrom([]string{"p", "q"}).Draw(t, "rel")}
		for range rapid.IntRange(1, 2).Draw(t, "arity") {
			f = append(f, rapid.IntRange(0, 2).Draw(t, "arg"))
		}
		if !seen[fmt.Sprint(f)] {
			seen[fmt.Sprint(f)] = true
			facts = append(facts, f)
		}
		g = apply(t, g, warp.AddNode(fact(t, f[0].(string), f[1:]...)))
	}
	return g, facts
}

// bruteMatch says what a matcher means: p against one fact under b, extending b.
func bruteMatch(t *rapid.T, p warp.NodePattern, f []any, b map[string]string) (map[string]string, bool) {
	rel, terms, ok := p.Fact()
	require.True(t, ok)
	if rel != f[0] || len(terms) != len(f)-1 {
		return nil, false
	}
	out := map[string]string{}
	for k, v := range b {
		out[k] = v
	}
	for i, term := range terms {
		c := canonical(t, f[i+1])
		if name, ok := term.Variable(); ok {
			if old, bound := out[name]; bound && old != c {
				return nil, false
			}
			out[name] = c
		} else if v, ok := term.Value(); ok && v != c {
			return nil, false
		}
	}
	return out, true
}

func bruteSearch(t *rapid.T, r warp.Rule, facts [][]any, i int, b map[string]string, found map[string]bool) {
	if i == len(r.Match) {
		for _, not := range r.Not {
			for _, f := range facts {
				if _, ok := bruteMatch(t, not, f, b); ok {
					return
				}
			}
		}
		found[fmt.Sprintf("%x", b)] = true
		return
	}
	for _, f := range facts {
		if next, ok := bruteMatch(t, r.Match[i], f, b); ok {
			bruteSearch(t, r, facts, i+1, next, found)
		}
	}
}

func TestMatchesAreWhatTheyMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g, facts := drawFacts(t)
		var r warp.Rule
		for range rapid.IntRange(0, 3).Draw(t, "match") {
			r.Match = append(r.Match, drawPattern(t))
		}
		for range rapid.IntRange(0, 2).Draw(t, "not") {
			r.Not = append(r.Not, drawPattern(t))
		}
		b := warp.Binding{}
		if rapid.Bool().Draw(t, "param") {
			r.Params = []string{"x"}
			require.NoError(t, b.Bind("x", rapid.IntRange(0, 3).Draw(t, "x")))
		}
		require.NoError(t, r.Check())
		want := map[string]bool{}
		bruteSearch(t, r, facts, 0, b, want)
		got := map[string]bool{}
		var order []string
		for m := range r.Matches(g, b) {
			got[fmt.Sprintf("%x", map[string]string(m))] = true
			order = append(order, fmt.Sprintf("%x", map[string]string(m)))
		}
		require.Equal(t, want, got)
		var again []string
		for m := range r.Matches(g, b) {
			again = append(again, fmt.Sprintf("%x", map[string]string(m)))
		}
		require.Equal(t, order, again)
	})
}

func TestMatchOverEdges(t *testing.T) {
	a, b, s := artifact(t, "a"), artifact(t, "b"), step(t, 1)
	g := apply(t, warp.Graph{}, warp.AddNode(a), warp.AddNode(b), warp.AddNode(s),
		warp.AddEdge(warp.Edge{Kind: "read", From: s.ID(), To: a.ID()}),
		warp.AddEdge(warp.Edge{Kind: "produced", From: b.ID(), To: s.ID()}))
	path := func(v warp.Term) warp.Term { return warp.Map(map[string]warp.Term{"path": v}) }
	dirties := warp.Rule{
		Name:   "dirties",
		Params: []string{"path"},
		Match: []warp.NodePattern{
			{Var: "out", Kind: "artifact", Data: path(warp.Var("name"))},
			{Var: "step", Kind: "step"},
			{Var: "in", Kind: "artifact", Data: path(warp.Var("path"))},
		},
		MatchEdges:  []warp.EdgePattern{{Kind: "read", From: "step", To: "in"}, {Kind: "produced", From: "out", To: "step"}},
		RemoveEdges: []warp.EdgePattern{{Kind: "produced", From: "out", To: "step"}},
		Add:         []warp.NodePattern{{Var: "f", Kind: "fact", Data: warp.Array(warp.Const("stale"), warp.Var("name"))}},
		AddEdges:    []warp.EdgePattern{{Kind: "asserts", From: "step", To: "f"}},
	}
	require.NoError(t, dirties.Check())
	for path, want := range map[string]int{"a": 1, "b": 0, "c": 0} {
		bound := warp.Binding{}
		require.NoError(t, bound.Bind("path", path))
		n := 0
		for m := range dirties.Matches(g, bound) {
			n++
			require.Equal(t, canonical(t, "b"), m["name"])
			id, ok := m.Node("out")
			require.True(t, ok)
			require.Equal(t, b.ID(), id)
			w, f, err := dirties.Instantiate(m)
			require.NoError(t, err)
			next := apply(t, g, w.Ops...)
			stale := fact(t, "stale", "b")
			_, ok = next.Node(stale.ID())
			require.True(t, ok)
			require.Contains(t, f.Writes, warp.Hash(stale.ID()))
			require.Contains(t, f.Reads, warp.Hash(s.ID()))
			for range next.In(s.ID(), "produced") {
				t.Fatal("the edge is still there")
			}
		}
		require.Equal(t, want, n, path)
	}
}

// drawRule draws a rule whose effects are ground once it has matched.
func drawRule(t *rapid.T) warp.Rule {
	r := warp.Rule{Match: []warp.NodePattern{drawPattern(t)}}
	for range rapid.IntRange(0, 1).Draw(t, "not") {
		r.Not = append(r.Not, drawPattern(t))
	}
	effect := func() warp.NodePattern {
		for {
			p := drawPattern(t)
			trial := r
			trial.Add = []warp.NodePattern{p}
			if trial.Check() == nil {
				return p
			}
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "remove") {
		p := effect()
		p.Optional = true
		r.Remove = append(r.Remove, p)
	}
	for range rapid.IntRange(0, 2).Draw(t, "add") {
		r.Add = append(r.Add, effect())
	}
	return r
}

// TestIndependentRewritesCommute applies pairs in both orders; the second must also still be what its rule means.
func TestIndependentRewritesCommute(t *testing.T) {
	independent := 0
	rapid.Check(t, func(t *rapid.T) {
		g, _ := drawFacts(t)
		type one struct {
			rule warp.Rule
			b    warp.Binding
			w    warp.Rewrite
			f    warp.Footprint
		}
		var all []one
		for range 3 {
			r := drawRule(t)
			for b := range r.Matches(g, nil) {
				w, f, err := r.Instantiate(b)
				require.NoError(t, err)
				all = append(all, one{r, b, w, f})
			}
		}
		holds := func(o one, g warp.Graph) bool {
			for range o.rule.Matches(g, o.b) {
				return true
			}
			return false
		}
		for i, a := range all {
			for _, b := range all[i+1:] {
				ok, _ := a.f.Independent(b.f)
				back, _ := b.f.Independent(a.f)
				require.Equal(t, ok, back)
				if !ok {
					continue
				}
				independent++
				ga, gb := apply(t, g, a.w.Ops...), apply(t, g, b.w.Ops...)
				require.True(t, holds(b, ga))
				require.True(t, holds(a, gb))
				require.Equal(t, apply(t, ga, b.w.Ops...).Digest(), apply(t, gb, a.w.Ops...).Digest())
			}
		}
	})
	require.NotZero(t, independent)
}

func TestARuleThatCannotWorkIsRefused(t *testing.T) {
	for name, r := range map[string]warp.Rule{
		"unknown kind":       {Match: []warp.NodePattern{{Kind: "nonsense"}}},
		"unbound effect":     {Add: []warp.NodePattern{warp.FactPattern("p", warp.Var("x"))}},
		"wildcard effect":    {Add: []warp.NodePattern{warp.FactPattern("p", warp.Term{})}},
		"negative binds not": {Not: []warp.NodePattern{warp.FactPattern("p", warp.Var("x"))}, Add: []warp.NodePattern{warp.FactPattern("q", warp.Var("x"))}},
		"edge to nothing":    {MatchEdges: []warp.EdgePattern{{Kind: "read", From: "a", To: "b"}}},
		"no such constant":   {Match: []warp.NodePattern{warp.FactPattern("p", warp.Const(make(chan int)))}},
		"bad constant":       {Match: []warp.NodePattern{warp.FactPattern("p", warp.Raw("\x18\x01"))}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, r.Check())
			_, _, err := r.Instantiate(nil)
			if len(r.Add)+len(r.MatchEdges) > 0 {
				require.ErrorIs(t, err, warp.ErrUnbound)
			}
		})
	}
}

func TestARefusedRewriteNamesWhatBlockedIt(t *testing.T) {
	a, s, f := artifact(t, "a"), step(t, 1), fact(t, "p", 1)
	read := warp.Edge{Kind: "read", From: s.ID(), To: a.ID()}
	g := apply(t, warp.Graph{}, warp.AddNode(a), warp.AddNode(s), warp.AddEdge(read))
	for name, tt := range map[string]struct {
		op  warp.Op
		err error
		by  warp.Hash
	}{
		"an occurrence happens once":       {warp.AddNode(s), warp.ErrPresent, warp.Hash(s.ID())},
		"a node with an edge stays":        {warp.RemoveNode(a), warp.ErrDangling, warp.Hash(read.ID())},
		"what is not there cannot go":      {warp.RemoveNode(f), warp.ErrAbsent, warp.Hash(f.ID())},
		"an edge that is not there cannot": {warp.RemoveEdge(warp.Edge{Kind: "in", From: s.ID(), To: a.ID()}), warp.ErrAbsent, warp.Hash(warp.Edge{Kind: "in", From: s.ID(), To: a.ID()}.ID())},
		"an edge needs both ends":          {warp.AddEdge(warp.Edge{Kind: "asserts", From: s.ID(), To: f.ID()}), warp.ErrDangling, warp.Hash(f.ID())},
		"an operation must be one we know": {warp.Op{Kind: 77}, warp.ErrOp, warp.Hash{}},
	} {
		t.Run(name, func(t *testing.T) {
			next, err := g.Apply(warp.Rewrite{Ops: []warp.Op{warp.AddNode(f), warp.RemoveNode(f), tt.op}})
			require.Equal(t, g.Digest(), next.Digest())
			var op *warp.OpError
			require.ErrorAs(t, err, &op)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, 2, op.Index)
			require.Equal(t, tt.by, op.By)
		})
	}
	_, err := g.Apply(warp.Rewrite{Ops: []warp.Op{warp.AddNode(a), warp.AddEdge(read), warp.Retract(f)}})
	require.NoError(t, err, "stating what is known again is no error, nor retracting what is not")
	g = apply(t, g, warp.Retract(a))
	_, edges := g.Len()
	require.Zero(t, edges)
}

func TestShapes(t *testing.T) {
	ok := map[string]any{"path": "p", "digest": []byte{1}, "mode": 1, "type": "dir"}
	with := func(k string, v any) map[string]any {
		m := map[string]any{}
		for k, v := range ok {
			m[k] = v
		}
		if m[k] = v; v == nil {
			delete(m, k)
		}
		return m
	}
	require.NoError(t, node(t, "artifact", ok).Check())
	require.NoError(t, node(t, "step", map[string]any{"run": 1, "id": 1, "key": []byte{}, "task": "t"}).Check())
	require.NoError(t, fact(t, "p").Check())
	for name, n := range map[string]warp.Node{
		"unknown kind":    {Kind: "thing", Data: []byte{0xa0}},
		"no data":         {Kind: "run"},
		"not canonical":   {Kind: "fact", Data: []byte{0x81, 0x18, 1}},
		"missing field":   node(t, "artifact", with("mode", nil)),
		"unknown field":   node(t, "artifact", with("zzz", 1)),
		"extra long":      node(t, "artifact", with("zzzzzzzzzzzzz", 1)),
		"wrong type":      node(t, "artifact", with("mode", "rw")),
		"wrong file type": node(t, "artifact", with("type", "socket")),
		"fact of nothing": node(t, "fact", []any{}),
		"fact by number":  node(t, "fact", []any{1}),
		"fact as a map":   node(t, "fact", ok),
	} {
		_, err := warp.Graph{}.Apply(warp.Rewrite{Ops: []warp.Op{warp.AddNode(n)}})
		var kind *warp.KindError
		require.ErrorAs(t, err, &kind, name)
	}
	for _, e := range []warp.Edge{{Kind: "likes"}, {Kind: "read", Data: []byte{1}}, {Kind: "read", Data: []byte{0x18, 1}}} {
		require.Error(t, e.Check())
	}
}

func TestFindYieldsInOrder(t *testing.T) {
	g := big(t, 3000)
	for _, ids := range [][]warp.NodeID{collect(g.Find("fact", "holds")), collect(g.Nodes("step")), collect(g.Nodes(""))} {
		require.NotEmpty(t, ids)
		require.True(t, slices.IsSortedFunc(ids, func(a, b warp.NodeID) int { return slices.Compare(a[:], b[:]) }))
	}
	require.Len(t, collect(g.Find("artifact", "src/file17")), 1)
	require.Len(t, collect(g.Find("step", []byte("17"))), 1)
	require.Empty(t, collect(g.Find("step", "17")))
	require.Empty(t, collect(g.Find("nothing", 1)))
}

func collect(seq func(func(warp.NodeID, warp.Node) bool)) (ids []warp.NodeID) {
	for id := range seq {
		ids = append(ids, id)
	}
	return ids
}

func TestSnapshot(t *testing.T) {
	for _, n := range []int{0, 3, 60, 3000} {
		g := big(t, n)
		b := g.Append(nil)
		again, err := warp.DecodeGraph(b)
		require.NoError(t, err)
		require.Equal(t, g.Digest(), again.Digest())
		require.Equal(t, collect(g.Find("fact", "holds")), collect(again.Find("fact", "holds")))
		require.Equal(t, b, apply(t, again, warp.AddNode(step(t, 9)), warp.RemoveNode(step(t, 9))).Append(nil))
		for cut := range min(len(b), 2000) {
			_, err := warp.DecodeGraph(b[:cut])
			require.Error(t, err)
		}
	}
}

func FuzzDecodeRewrite(f *testing.F) {
	nodes, edges := sampleOps(f, 6)
	f.Add(warp.Rewrite{Ops: append(nodes, edges...)}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := warp.DecodeRewrite(b)
		if err != nil {
			return
		}
		require.Equal(t, b, w.Encode())
		w.Footprint()
		g, err := warp.Graph{}.Apply(w)
		if err == nil {
			_, err = warp.DecodeGraph(g.Append(nil))
			require.NoError(t, err)
		}
	})
}

func FuzzDecodeGraph(f *testing.F) {
	f.Add(big(f, 9).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := warp.DecodeGraph(b); err == nil {
			require.Equal(t, b, g.Append(nil))
		}
	})
}
