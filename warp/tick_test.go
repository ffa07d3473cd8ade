package warp_test

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func propose(order uint64, ops ...warp.Op) warp.Proposal {
	w := warp.Rewrite{Ops: ops}
	return warp.Proposal{Order: order, Rewrite: w, Footprint: w.Footprint()}
}

func TestATickDependsOnTheSetOfProposalsAlone(t *testing.T) {
	g := apply(t, warp.Graph{}, warp.AddNode(artifact(t, "a")), warp.AddNode(step(t, 0)))
	var all []warp.Proposal
	for i := range 40 {
		s := step(t, 100+i)
		all = append(all, propose(uint64(i/2), warp.AddNode(s), warp.AddNode(fact(t, "p", i%7)),
			warp.AddEdge(warp.Edge{Kind: "asserts", From: s.ID(), To: fact(t, "p", i%7).ID()})))
	}
	all = append(all, propose(3, warp.AddNode(step(t, 0))), propose(30, warp.RemoveNode(artifact(t, "a"))),
		propose(31, warp.RemoveNode(artifact(t, "b"))), propose(32))
	want, receipt := g.Tick(7, all)
	require.Equal(t, want.Digest(), receipt.Digest)
	require.NotEmpty(t, receipt.Refused)
	require.Len(t, receipt.Applied, len(all)-len(receipt.Refused))
	bytes, err := cbor.Encode(receipt)
	require.NoError(t, err)
	r := rand.New(rand.NewSource(1))
	for range 1000 {
		mixed := slices.Clone(all)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		got, again := g.Tick(7, mixed)
		require.Equal(t, want.Digest(), got.Digest())
		b, err := cbor.Encode(again)
		require.NoError(t, err)
		require.Equal(t, bytes, b)
	}
	reasons := map[string]warp.Refusal{}
	for _, f := range receipt.Refused {
		reasons[f.Reason] = f
	}
	require.Equal(t, warp.Hash(step(t, 0).ID()), reasons[warp.ErrPresent.Error()].On)
	require.Equal(t, warp.Hash(artifact(t, "b").ID()), reasons[warp.ErrAbsent.Error()].On)
	dependent := reasons[warp.ErrDependent.Error()]
	require.Less(t, dependent.By, dependent.Order)
	require.NotZero(t, dependent.On)
}

// TestATickTakesWhatIsIndependent gives ticks the rewrites of random rules. A proposal is taken if it is independent of all that
// were taken before it and applies after them; those taken lead to the same graph one by one, in the other order, without
// any footprint.
func TestATickTakesWhatIsIndependent(t *testing.T) {
	dependent := 0
	rapid.Check(t, func(t *rapid.T) {
		g, _ := drawFacts(t)
		var all []warp.Proposal
		for range 4 {
			r := drawRule(t)
			for b := range r.Matches(g, nil) {
				w, f, err := r.Instantiate(b)
				require.NoError(t, err)
				all = append(all, warp.Proposal{Order: uint64(len(all)), Rewrite: w, Footprint: f})
			}
		}
		want, taken, orders := g, []warp.Proposal{}, []uint64{}
		for _, p := range all {
			free := !slices.ContainsFunc(taken, func(o warp.Proposal) bool {
				ok, _ := p.Footprint.Independent(o.Footprint)
				return !ok
			})
			if !free {
				dependent++
				continue
			}
			if next, err := want.Apply(p.Rewrite); err == nil {
				want, taken, orders = next, append(taken, p), append(orders, p.Order)
			}
		}
		got, receipt := g.Tick(1, all)
		require.Equal(t, orders, receipt.Applied)
		require.Equal(t, want.Digest(), got.Digest())
		slices.Reverse(taken)
		for _, p := range taken {
			g = apply(t, g, p.Rewrite.Ops...)
		}
		require.Equal(t, got.Digest(), g.Digest())
		// Two that differ in their footprints alone are in an order, too.
		mixed := slices.Clone(all)
		for i := range mixed {
			mixed[i].Order = 0
		}
		same, first := want.Tick(1, mixed)
		slices.Reverse(mixed)
		again, second := want.Tick(1, mixed)
		require.Equal(t, same.Digest(), again.Digest())
		require.Equal(t, first, second)
	})
	require.NotZero(t, dependent)
}

func BenchmarkTick10000Noops(b *testing.B) {
	g := big(b, 30_000)
	proposals := make([]warp.Proposal, 10_000)
	for i := range proposals {
		proposals[i] = propose(uint64(i))
	}
	for b.Loop() {
		_, r := g.Tick(1, proposals)
		_, err := cbor.Encode(r)
		require.NoError(b, err)
	}
}
