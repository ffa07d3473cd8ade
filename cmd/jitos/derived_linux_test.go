package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/warp/history"
)

// TestWhatIsDerivedCanBeDeleted deletes indexes, checkpoint, head file and caches, one by one and all at once, and asks
// every command that looks: the answers stay. What runs then does no more than without.
func TestWhatIsDerivedCanBeDeleted(t *testing.T) {
	p := newPlace(t, t.TempDir(), `
fact "made" {
  columns = { name = string }
  keep    = "always"
}

task "up" {
  inputs  = ["src/a"]
  outputs = ["out/a"]
  run     = "tr a-z A-Z < src/a > out/a; echo did a"
  effects {
    asserts = [fact::made("a")]
  }
}

task "all" {
  needs   = [task.up]
  inputs  = ["out/a", "src/*"]
  outputs = ["out/all"]
  run     = "cat src/* out/a > out/all"
}

task "bad" {
  run = "exit 3"
}
`)
	p.write("src/a", "a\n")
	p.write("src/b", "b\n")
	p.jitos(0, "apply", "all")
	p.write("src/a", "more\n")
	p.jitos(0, "apply", "all")
	p.jitos(1, "apply", "bad")
	p.jitos(0, "undo")
	p.jitos(0, "undo")
	p.write("src/b", "held\n")
	p.jitos(0, "apply", "all", "--hold")
	p.write("src/b", "b\n")
	time.Sleep(20 * time.Millisecond) // so that the next look is worth keeping
	p.jitos(0, "apply", "all")
	p.checkpoint()

	asked := [][]string{{"list"}, {"plan", "all"}, {"plan", "up"}, {"log"}, {"log", "--json"}, {"log", "--graph"}, {"show", "2"},
		{"show", "1", "--at", "3"}, {"why", "out/all"}, {"why", "up"}, {"why", "fact::made"}, {"output", "up"}, {"diff", "1", "2"},
		{"replay"}, {"replay", "2"}, {"verify"}, {"sws", "list", "--all"}, {"sws", "diff", "3"}, {"doctor"},
		{"gc", "--dry-run"}, {"apply", "all"}}
	answers := func() string {
		var b strings.Builder
		for _, args := range asked {
			b.WriteString("$ jitos " + strings.Join(args, " ") + "\n")
			b.WriteString(p.jitos(0, args...))
		}
		for _, r := range []struct{ what, with string }{
			{`\(\d+ ms\)|\(\d+\.\d+ s\)`, "(TIME)"}, {`projections .*`, "projections"}, {`[0-9.]+ .B free`, "FREE"},
		} { // the number of projections is what is deleted
			b2 := regexp.MustCompile(r.what).ReplaceAllString(b.String(), r.with)
			b.Reset()
			b.WriteString(b2)
		}
		return b.String()
	}
	want := answers()
	require.Contains(t, want, "Nothing to do: 2 steps up to date")
	require.Contains(t, want, "fact::made(\"a\")")
	derived := []string{"index/system", "index/program", "index/store", "index", "history/checkpoint", "history/head"}
	for _, name := range derived {
		require.FileExists(t, p.somewhere(name), "it is there to be deleted")
		require.NoError(t, os.RemoveAll(p.path(".jitos/"+name)))
		require.Equal(t, want, answers(), "without %s", name)
		p.checkpoint()
	}
	for _, name := range derived {
		require.NoError(t, os.RemoveAll(p.path(".jitos/"+name)))
	}
	require.NoError(t, os.RemoveAll(p.cache))
	require.Equal(t, want, answers(), "without all of it")
}

// checkpoint makes a checkpoint, as a run does after many events.
func (p *place) checkpoint() {
	log, err := history.Open(p.path(".jitos/history"), history.Options{})
	require.NoError(p, err)
	g, err := log.System()
	require.NoError(p, err)
	require.NoError(p, log.Checkpoint(g))
	require.NoError(p, log.Close())
}

// somewhere is a file at a name in .jitos, or below it.
func (p *place) somewhere(name string) string {
	found := ""
	require.NoError(p, filepath.WalkDir(p.path(".jitos/"+name), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			found = path
		}
		return err
	}))
	return found
}
