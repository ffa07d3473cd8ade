package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
)

// TestViewsDoNotDependOnOrder runs the same with one slot and with many, where some steps with effects are up to date and
// others run: all rewrites, of the System and of the facts in each SWS, are the same, and fold to the same digests.
func TestViewsDoNotDependOnOrder(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var flow strings.Builder
	flow.WriteString("fact \"made\" {\n  columns = { name = string }\n}\nfact \"there\" {\n  columns = { name = string }\n" +
		"  from    = [for f in fileset(\"src\", \"*\") : { name = f }]\n}\n")
	var needs []string
	for i := range 6 {
		fmt.Fprintf(&flow, "task \"t%d\" {\n  inputs  = [\"src/%d\"]\n  outputs = [\"out/%d\"]\n  run     = \"cat src/%d > out/%d\"\n"+
			"  effects {\n    asserts = [fact::made(\"%d\")]\n  }\n}\n", i, i, i, i, i, i)
		needs = append(needs, fmt.Sprintf("task.t%d", i))
	}
	fmt.Fprintf(&flow, "task \"all\" {\n  needs = [%s]\n}\n", strings.Join(needs, ", "))

	record := func(jobs int) (events []string, views int) {
		root, err := filepath.EvalSymlinks(t.TempDir())
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(filepath.Join(root, "src"), 0o755))
		write := func(name, text string) {
			require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
		}
		write("main.jitos.hcl", flow.String())
		for i := range 6 {
			write(fmt.Sprintf("src/%d", i), "1")
		}
		for run := range 3 {
			for _, i := range []int{run + 1, 5} {
				write(fmt.Sprintf("src/%d", i), fmt.Sprint(run))
			}
			w, err := Open(Options{Dir: root, Jobs: jobs})
			require.NoError(t, err)
			_, err = w.Apply(t.Context(), Request{Target: "all"}, func(e runner.Event) {
				if e.Kind == runner.KindRewrite || e.Kind == runner.KindTick {
					events = append(events, fmt.Sprint(e.Kind, e.View, e.Digest, e.Data))
				}
			}, runner.Live{})
			require.NoError(t, err)
			r, err := w.Replay(t.Context(), 0)
			require.NoError(t, err)
			views = r.Views
			require.NoError(t, w.Close())
		}
		return events, views
	}
	one, views := record(1)
	require.Equal(t, 3*(1+6), views, "the facts that each run begins with, and six effects, also those of steps that are up to date")
	many, _ := record(8)
	require.Equal(t, one, many)
}

// TestAWrongViewIsFound tampers with the digest of an SWS: the fold of the System alone would not see it.
func TestAWrongViewIsFound(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".jitos"), 0o755))
	w, err := Open(Options{Dir: dir, Here: true, Jobs: 1})
	require.NoError(t, err)
	require.NoError(t, w.acquire(t.Context()))
	emit := func(kind string, view history.View, digest byte, data any) {
		e := history.Event{Kind: kind, View: view, Data: encoded(t, data)}
		e.Digest[0] = digest
		_, err := w.log.Append(e)
		require.NoError(t, err)
	}
	emit(history.Intent, history.System, 0, &runner.Intent{Run: 1})
	emit(history.RewriteApplied, history.SWS(0), 7, &runner.Rewrite{Run: 1, Cause: "effect", Ops: []byte{0x80}})
	_, err = w.Replay(t.Context(), 0)
	require.ErrorContains(t, err, "event 1: the digest of sws 0 is ")
	require.True(t, is[*DamagedError](err))
	require.NoError(t, w.Close())
}

func encoded(t *testing.T, v any) []byte {
	b, err := cbor.Encode(v)
	require.NoError(t, err)
	return b
}
