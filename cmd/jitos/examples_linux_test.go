package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/runner"
)

// example is a copy of one of the examples, as its README tells one to make.
func example(t *testing.T, name string) *place {
	t.Helper()
	p := newPlace(t, t.TempDir(), "")
	require.NoError(t, os.RemoveAll(p.dir))
	require.NoError(t, os.CopyFS(p.dir, os.DirFS(filepath.Join("../../examples", name))))
	p.jitos(exitDone, "validate")
	p.jitos(exitDone, "plan")
	require.NoDirExists(t, p.path(".jitos"), "looking makes nothing")
	return p
}

// append adds a line to a file.
func (p *place) append(name, line string) {
	p.Helper()
	p.write(name, p.read(name)+line+"\n")
}

// ran applies and lists the steps whose commands ran, sorted.
func (p *place) ran(args ...string) []string {
	p.Helper()
	var steps []string
	for line := range strings.Lines(p.jitos(exitDone, append([]string{"apply", "--json"}, args...)...)) {
		var e struct {
			Kind string
			Data struct{ Step, Outcome string }
		}
		require.NoError(p, json.Unmarshal([]byte(line), &e), line)
		if e.Kind == runner.KindResult && e.Data.Outcome == runner.Ran {
			steps = append(steps, e.Data.Step)
		}
	}
	slices.Sort(steps)
	return steps
}

const nothingToDo = "Nothing to do: "

func TestExampleQuickstart(t *testing.T) {
	t.Parallel()
	p := example(t, "quickstart")
	before := p.tree()
	all := p.ran()
	require.Len(t, all, 6)
	require.Contains(t, p.read("out/report.txt"), "Word report")
	first := p.read("out/report.txt")
	require.Contains(t, p.jitos(exitDone, "apply"), nothingToDo)

	p.append("poems/tyger.txt", "Tyger!")
	edited := p.tree()
	again := p.ran()
	require.Contains(t, again, `words["poems/tyger.txt"]`)
	require.Contains(t, again, "report")
	require.NotContains(t, again, `words["poems/hope.txt"]`)
	require.NotContains(t, again, `words["poems/daffodils.txt"]`)
	require.NotEqual(t, first, p.read("out/report.txt"))
	require.Contains(t, p.jitos(exitDone, "why", "out/report.txt"), "written by report, run 2")
	p.jitos(exitDone, "undo")
	require.Equal(t, edited, p.tree())
	require.Equal(t, first, p.read("out/report.txt"))
	p.jitos(exitDone, "undo", "1")
	for line := range strings.Lines(before) {
		if !strings.HasPrefix(line, "poems/tyger.txt") {
			require.Contains(t, p.tree(), line)
		}
	}
	require.NoDirExists(t, p.path("out"))
	p.sound()
}

func TestExampleGoService(t *testing.T) {
	t.Parallel()
	p := example(t, "go-service")
	require.Equal(t, []string{"build", "generate", "test", "vet"}, p.ran())
	require.FileExists(t, p.path("bin/server-linux"))
	require.Contains(t, p.jitos(exitDone, "apply"), nothingToDo)

	// Go's cache is one directory outside the workspace, which later runs find and add to. Trimming aside, Go never
	// touches again what it has once compiled, so the parts of the standard library are as they were.
	cache := filepath.Join(p.cache, "jitos/caches/go-build")
	objects := func() map[string]time.Time {
		found := map[string]time.Time{}
		names, err := filepath.Glob(cache + "/*/*-d")
		require.NoError(t, err)
		for _, name := range names {
			st, err := os.Stat(name)
			require.NoError(t, err)
			found[name] = st.ModTime()
		}
		return found
	}
	cold := objects()
	require.Greater(t, len(cold), 50, "the standard library alone is more")

	p.append("internal/web/web.go", "\n// Edited.\nvar Edited = 1")
	require.Equal(t, []string{"build", "test", "vet"}, p.ran())
	warm := objects()
	for name, at := range cold {
		require.Equal(t, at, warm[name], "it was kept")
	}
	require.Greater(t, len(warm), len(cold))
	require.Less(t, len(warm)-len(cold), len(cold)/3, "only what the edit changed was compiled")

	require.Contains(t, p.jitos(exitDone, "plan", "build", "os=darwin"), "bin/server-darwin") // compiling it takes long
	p.write("api/routes.txt", strings.ReplaceAll(p.read("api/routes.txt"), "/healthz", "/health"))
	require.Equal(t, []string{"generate"}, p.ran("generate"))
	require.Contains(t, p.read("internal/web/routes_gen.go"), "/health\"")
	p.sound()
}

func TestExampleCLibrary(t *testing.T) {
	t.Parallel()
	p := example(t, "c-library")
	sources, err := filepath.Glob(p.path("src/*.c"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(sources), 20)
	all := p.ran()
	for _, s := range sources {
		require.Contains(t, all, `object["src/`+filepath.Base(s)+`"]`)
	}
	require.Contains(t, p.jitos(exitDone, "apply"), nothingToDo)

	for _, header := range []string{"src/gc.h", "src/value.h"} {
		later := time.Now().Add(time.Hour)
		require.NoError(t, os.Chtimes(p.path(header), later, later))
		require.Contains(t, p.jitos(exitDone, "apply"), nothingToDo, "touched only")

		var include []string // those that gcc says include it
		for _, s := range sources {
			cmd := exec.Command("gcc", "-MM", "src/"+filepath.Base(s))
			cmd.Dir = p.dir
			deps, err := cmd.Output()
			require.NoError(t, err)
			if slices.Contains(strings.Fields(string(deps)), header) {
				include = append(include, `object["src/`+filepath.Base(s)+`"]`)
			}
		}
		require.NotEmpty(t, include)
		require.Less(t, len(include), len(sources))
		slices.Sort(include)
		before := p.tree()
		p.append(header, "// edited")
		require.Equal(t, include, slices.DeleteFunc(p.ran(), func(s string) bool { return s == "unit" }), // it declares all headers
			"a comment leaves the objects as they are, so nothing follows")
		require.Equal(t, withoutLine(before, header), withoutLine(p.tree(), header))
		require.Contains(t, p.jitos(exitDone, "apply"), nothingToDo)
	}
	out, err := exec.Command(p.path("bin/pebble"), p.path("tests/life.pb")).Output()
	require.NoError(t, err)
	require.Equal(t, strings.TrimSuffix(p.read("tests/life.out"), "exit 0\n"), strings.TrimSuffix(string(out), "\n"))
	p.sound()
}

// withoutLine is a tree without the line of one path.
func withoutLine(tree, name string) string {
	var b strings.Builder
	for line := range strings.Lines(tree) {
		if !strings.HasPrefix(line, name+" ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestExampleFallback(t *testing.T) {
	t.Parallel()
	p := example(t, "fallback")
	before := p.tree()
	said := p.jitos(exitDone, "apply")
	require.Contains(t, said, "trying the next way: render by plain")
	require.Equal(t, before, withoutLine(withoutLine(p.tree(), "out"), "out/index.html"), "no trace of the way that failed")
	require.NotContains(t, p.read("out/index.html"), "half a pa")

	shown := p.jitos(exitDone, "show", "1")
	require.Contains(t, shown, `render by renderer: fact::installed("jitos-example-renderer") is false`)
	require.Contains(t, shown, "✗ render.converter.page")
	require.Contains(t, shown, "converter: unsupported feature: lists")
	require.Contains(t, shown, "✓ render.plain.page")
	require.Contains(t, p.jitos(exitDone, "apply"), nothingToDo)
	p.jitos(exitDone, "undo", "1")
	require.Equal(t, before, p.tree())
	p.sound()
}

func TestExampleRelease(t *testing.T) {
	t.Parallel()
	p := example(t, "release")
	before := p.tree()
	said := p.jitos(exitFailed, "apply")
	require.Contains(t, said, `✗ success "small"`)
	require.Contains(t, said, "Nothing was changed")
	require.Equal(t, before, p.tree())
	require.Contains(t, p.jitos(exitDone, "sws", "list"), "No set is held")

	p.jitos(exitFailed, "apply", "--hold")
	require.Equal(t, before, p.tree())
	held := strings.Fields(p.jitos(exitDone, "sws", "list"))[0]
	diff := p.jitos(exitDone, "sws", "diff", held)
	for _, name := range []string{"dist/app", "dist/SUMS", "dist/VERSION"} {
		require.Contains(t, diff, name)
	}
	p.jitos(exitDone, "sws", "discard", held)
	require.Contains(t, p.jitos(exitDone, "sws", "list"), "No set is held")
	require.Equal(t, before, p.tree())

	p.jitos(exitDone, "apply", "--var", "limit=4000")
	require.FileExists(t, p.path("dist/app"))
	require.Contains(t, p.jitos(exitDone, "apply", "--var", "limit=4000"), nothingToDo)
	p.sound()
}
