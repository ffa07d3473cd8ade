package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.Main() {
		return
	}
	os.Exit(m.Run())
}

// someTask is a task of a random workflow, and what its output must be.
type someTask struct {
	inputs []string // of src, or "src/*", or outputs of tasks before it
	suffix string
}

// someWorkflow is a random chain, tree or heap of tasks; the last one needs all others.
type someWorkflow []someTask

func drawWorkflow(t *rapid.T) someWorkflow {
	var out someWorkflow
	for i := range rapid.IntRange(1, 3).Draw(t, "tasks") {
		from := []string{"src/a", "src/b", "src/*"}
		for j := range i {
			from = append(from, fmt.Sprintf("out/%d", j))
		}
		inputs := rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, 2, rapid.ID[string]).Draw(t, "inputs")
		out = append(out, someTask{inputs, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "suffix")})
	}
	return out
}

func (f someWorkflow) text() string {
	var b strings.Builder
	for i, task := range f {
		needs := ""
		for j := range i {
			if strings.Contains(strings.Join(task.inputs, " ")+" ", fmt.Sprintf("out/%d ", j)) || i == len(f)-1 {
				needs += fmt.Sprintf("task.t%d, ", j)
			}
		}
		fmt.Fprintf(&b, "task \"t%d\" {\n  needs   = [%s]\n  inputs  = [%q]\n  outputs = [\"out/%d\"]\n  run     = \"cat %s > out/%d; echo %s >> out/%d\"\n}\n",
			i, needs, strings.Join(task.inputs, `", "`), i, strings.Join(task.inputs, " "), i, task.suffix, i)
	}
	return strings.ReplaceAll(b.String(), `\", \"`, `", "`)
}

// TestProjectionAndGraphAgree runs, edits and undoes at random. Whenever the projection says that nothing is to do, the
// long way, a compilation and queries on the graph, says so too; and after a run that has settled, the projection does say
// so. In the end the graph knows of each path what the history tells last, everything that is kept is sound, and outputs are what
// they must be.
func TestProjectionAndGraphAgree(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(cache, "ws")
		require.NoError(rt, err)
		defer os.RemoveAll(root)
		p := &walk{rt, root, Options{Dir: root, Jobs: 2, Overlay: "auto"}, drawWorkflow(rt)}
		p.write("main.jitos.hcl", p.flow.text())
		p.write("src/a", "a")
		p.write("src/b", "b")
		p.apply()
		for range rapid.IntRange(1, 6).Draw(rt, "length") {
			p.step()
			p.agree()
		}
		p.settled()
		p.with(func(w *Workspace) {
			runs, err := w.Runs(rt.Context())
			require.NoError(rt, err)
			g, err := w.system()
			require.NoError(rt, err)
			told := map[string]bool{}
			for _, r := range runs { // the newest first
				for _, c := range r.Changes {
					if told[c.Path] {
						continue
					}
					told[c.Path] = true
					last, err := runner.LastWriting(g, c.Name())
					require.NoError(rt, err)
					require.NotNil(rt, last, c.Path)
					require.Equal(rt, r.N, last.Run, c.Path)
					require.Equal(rt, c.After, last.Left, c.Path)
				}
			}
			require.NotEmpty(rt, told)
			found, err := w.Verify(rt.Context())
			require.NoError(rt, err)
			for _, f := range found {
				require.True(rt, f.OK, "%s: %s", f.Name, f.Detail)
			}
		})
	})
}

// walk is a workspace on its random way.
type walk struct {
	*rapid.T
	root string
	o    Options
	flow someWorkflow
}

func (p *walk) write(name, text string) {
	name = filepath.Join(p.root, name)
	require.NoError(p, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(p, os.WriteFile(name, []byte(text), 0o644))
}

// with opens the workspace as a process does.
func (p *walk) with(f func(w *Workspace)) {
	w, err := Open(p.o)
	require.NoError(p, err)
	f(w)
	require.NoError(p, w.Close())
}

func (p *walk) request() Request { return Request{Target: fmt.Sprintf("t%d", len(p.flow)-1)} }

func (p *walk) apply() {
	p.with(func(w *Workspace) {
		out, err := w.Apply(p.Context(), p.request(), func(runner.Event) {}, runner.Live{})
		require.NoError(p, err)
		require.Contains(p, []runner.Status{runner.Done, runner.Nothing}, out.Status, out.Reason)
	})
}

func (p *walk) step() {
	output := fmt.Sprintf("out/%d", rapid.IntRange(0, len(p.flow)-1).Draw(p.T, "output"))
	switch rapid.SampledFrom([]string{"apply", "edit", "touch", "new", "remove", "spoil", "rewrite", "undo", "clean"}).Draw(p.T, "what") {
	case "apply":
		p.apply()
	case "edit":
		p.write(rapid.SampledFrom([]string{"src/a", "src/b"}).Draw(p.T, "file"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(p.T, "text"))
	case "touch":
		now := time.Now()
		require.NoError(p, os.Chtimes(filepath.Join(p.root, "src/a"), now, now))
	case "new":
		p.write("src/"+rapid.SampledFrom([]string{"c", "d"}).Draw(p.T, "file"), "new")
	case "remove":
		_ = os.Remove(filepath.Join(p.root, output)) // it may not be there
	case "spoil":
		p.write(output, "spoiled")
	case "rewrite":
		p.flow = drawWorkflow(p.T)
		p.write("main.jitos.hcl", p.flow.text())
	case "undo":
		p.with(func(w *Workspace) { // a conflict, or nothing to undo, is fine
			_, err := w.Undo(p.Context(), 0, func(runner.Event) {})
			require.True(p, err == nil || is[*UsageError](err), "%v", err)
		})
	case "clean":
		p.with(func(w *Workspace) {
			r := p.request()
			_, err := w.Clean(p.Context(), []string{r.Target}, func(runner.Event) {})
			require.NoError(p, err)
		})
	}
}

// long asks without any index.
func (p *walk) long() (todo []string) {
	p.with(func(w *Workspace) {
		require.NoError(p, w.view(p.Context()))
		require.NoError(p, w.lookAfresh(nil))
		var err error
		todo, err = w.todo(p.Context(), p.request())
		require.NoError(p, err)
	})
	return todo
}

func (p *walk) agree() {
	if _, nothing := NothingToDo(p.o, p.request()); nothing {
		require.Empty(p, p.long(), "the projection says that nothing is to do")
	}
}

// settled applies until nothing changes any more and asks both ways.
func (p *walk) settled() {
	p.apply()
	time.Sleep(20 * time.Millisecond) // what was just written is not trusted yet
	p.apply()
	require.Empty(p, p.long())
	_, nothing := NothingToDo(p.o, p.request())
	require.True(p, nothing, "the long way says that nothing is to do")
	for i := range p.flow {
		b, err := os.ReadFile(filepath.Join(p.root, fmt.Sprintf("out/%d", i)))
		require.NoError(p, err)
		require.Equal(p, p.must(i), string(b), "out/%d", i)
	}
}

// must is what an output has to be.
func (p *walk) must(i int) string {
	text := ""
	for _, in := range p.flow[i].inputs {
		var j int
		if n, _ := fmt.Sscanf(in, "out/%d", &j); n == 1 {
			text += p.must(j)
			continue
		}
		files, err := filepath.Glob(filepath.Join(p.root, in))
		require.NoError(p, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			require.NoError(p, err)
			text += string(b)
		}
	}
	return text + p.flow[i].suffix + "\n"
}
