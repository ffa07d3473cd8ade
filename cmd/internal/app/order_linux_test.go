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

	one, views := rewritesOf(t, flow.String(), 1)
	require.Equal(t, 3*(1+6), views, "the facts that each run begins with, and six effects, also those of steps that are up to date")
	many, _ := rewritesOf(t, flow.String(), 8)
	require.Equal(t, one, many)
}

// TestResultsDoNotDependOnOrder does so where what there is to do hangs on results of steps, some of which run and some of
// which are up to date, while others have nothing to do with that.
func TestResultsDoNotDependOnOrder(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	flow := `
fact "made" {
  columns = { name = string }
}
task "list" {
  inputs = ["src/*"]
  result = "json"
  run    = <<-EOT
    for f in src/*; do echo "\"$(cat $f)\""; done | paste -sd, | sed 's/.*/[&]/'
  EOT
}
task "word" {
  inputs = ["src/1"]
  result = "stdout"
  run    = "cat src/1"
}
task "slow" {
  for_each = ["a", "b", "c", "d"]
  inputs   = ["src/2"]
  outputs  = ["slow/${each.key}"]
  run      = "cat src/2 > ${self.outputs[0]}"
}
task "one" {
  param "name" { type = string }
  inputs  = []
  outputs = ["one/${param.name}"]
  run     = "echo ${task.word.result} > ${self.outputs[0]}"
  effects {
    asserts = [fact::made(param.name)]
  }
}
task "all" {
  needs = concat([task.slow], [for n in distinct(task.list.result) : { task = task.one, with = { name = n } }])
}
`
	one, _ := rewritesOf(t, flow, 1)
	for range 3 {
		many, _ := rewritesOf(t, flow, 8)
		require.Equal(t, one, many)
	}
}

// rewritesOf applies a workflow three times, with changes in between, and gives what it did to graphs.
func rewritesOf(t *testing.T, flow string, jobs int) (events []string, views int) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(root, "src"), 0o755))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	write("main.jitos.hcl", flow)
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
