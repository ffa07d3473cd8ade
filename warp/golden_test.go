package warp_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestGoldenDigests must hold on every platform and for ever: what it pins is in histories on disk.
func TestGoldenDigests(t *testing.T) {
	var out strings.Builder
	for _, n := range []warp.Node{fact(t, "stdlib", "go", 1.5, nil), artifact(t, "src/ü.c"), step(t, 3)} {
		fmt.Fprintf(&out, "node %s %x %s\n", n.Kind, n.Data, n.ID())
	}
	e := warp.Edge{Kind: "read", From: step(t, 3).ID(), To: artifact(t, "src/ü.c").ID()}
	fmt.Fprintf(&out, "edge %s %s\n", e.Kind, e.ID())
	for _, n := range []int{0, 1, 3, 30, 300, 3000} {
		fmt.Fprintf(&out, "graph %d %s\n", n, big(t, n).Digest())
	}
	nodes, edges := sampleOps(t, 150)
	fmt.Fprintf(&out, "graph sample %s\n", apply(t, warp.Graph{}, append(nodes, edges...)...).Digest())
	const name = "testdata/digests"
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}
