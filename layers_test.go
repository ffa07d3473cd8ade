package jitos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/flyingrobots/jitos"

// layers gives every package its height: it may import packages of ours that are strictly lower. The reason says what
// would be lost if it stood higher or knew more.
var layers = []struct {
	height int
	path   string
	reason string
}{
	{7, "cmd/jitos", "flags, sockets and exit codes, and nothing that a test could not reach below"},
	{7, "cmd/jitosd", "the daemon is a second main over the same workspace"},
	{7, "cmd/bench", "measures whole processes, so it stands above all of them"},
	{6, "cmd/internal/app", "a workspace: the only place that knows every phase"},
	{6, "cmd/internal/screen", "what a person sees is a fold of events; it decides nothing"},
	{6, "cmd/internal/lsp", "editors ask the phases, the phases do not know editors"},
	{6, "cmd/internal/convert/hddl", "planning problems of others become domains of ours"},
	{5, "stdlib", "built-in modules are written in the language, above its compiler"},
	{5, "cmd/internal/convert/just", "a reader knows one tool's file, and how a workflow is written"},
	{5, "cmd/internal/convert/make", "as the others"},
	{5, "cmd/internal/convert/npm", "as the others"},
	{5, "cmd/internal/convert/taskfile", "as the others"},
	{4, "cmd/internal/convert", "others' files become ours, so no phase knows them"},
	{4, "runner", "runs plans; it knows neither the language nor how plans are found"},
	{3, "compiler", "module to plan; it does not know who runs the plan"},
	{2, "compiler/htn", "searches over facts and rules; files, commands and HCL are unknown to it"},
	{2, "warp/history", "the log of the graph's rewrites; whoever has a graph need not have a history"},
	{2, "runner/worker", "how one step is carried out, without plans, caches or schedules"},
	{1, "lang", "text to module, without meaning"},
	{1, "warp", "graph and rules, without tasks and files"},
	{1, "sws", "layers, change sets and collapse, without steps"},
	{1, "compiler/plan", "all that compiler and runner share"},
	{0, "lang/diag", "diagnostics are spoken by every phase"},
	{0, "warp/cbor", "the one canonical encoding"},
	{0, "warp/cas", "blobs by content"},
	{0, "sws/sandbox", "a command in a slot, with given mounts and grants"},
	{0, "runner/watch", "which paths changed, and nothing of what that means"},
	{0, ".", "holds no code"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

// violations are the imports that do not go strictly downwards, and the packages that have no place yet.
func violations(pkgs []pkg) (out []string) {
	height := map[string]int{}
	for _, l := range layers {
		height[strings.TrimSuffix(module+"/"+l.path, "/.")] = l.height
	}
	for _, p := range pkgs {
		h, ok := height[p.ImportPath]
		if !ok {
			out = append(out, fmt.Sprintf("%s has no layer: give it one in layers_test.go, with the reason", p.ImportPath))
			continue
		}
		for _, i := range p.Imports {
			if i != module && !strings.HasPrefix(i, module+"/") {
				continue
			}
			if low, ok := height[i]; ok && low >= h {
				out = append(out, fmt.Sprintf("%s (layer %d) imports %s (layer %d)", p.ImportPath, h, i, low))
			}
		}
	}
	return out
}

func TestImportsGoStrictlyDownwards(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	text, err := cmd.Output()
	require.NoError(t, err)
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(text))); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
		pkgs = append(pkgs, p)
	}
	require.NotEmpty(t, pkgs)
	require.Empty(t, violations(pkgs))
}

func TestLayersAreGuarded(t *testing.T) {
	require.Empty(t, violations([]pkg{{module + "/compiler", []string{"fmt", module + "/lang", module + "/compiler/htn"}}}))
	require.Len(t, violations([]pkg{{module + "/lang", []string{module + "/compiler"}}}), 1, "upwards")
	require.Len(t, violations([]pkg{{module + "/lang", []string{module + "/warp"}}}), 1, "sideways")
	require.Len(t, violations([]pkg{{module + "/unheard/of", nil}}), 1, "no place")
	for _, l := range layers {
		require.NotEmpty(t, l.reason)
	}
	require.True(t, slices.IsSortedFunc(layers, func(a, b struct {
		height int
		path   string
		reason string
	}) int {
		return b.height - a.height
	}), "the table reads from top to bottom")
}
