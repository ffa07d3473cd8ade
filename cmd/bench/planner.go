package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"
	"time"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
)

// The limits of one instance of the competition: the ones under which the peers in results.csv were measured.
const (
	planSeconds = 30
	planBytes   = 8 << 30
)

// planner: the instances of the International Planning Competition 2020 in b.htn, each by a process of its own, and workflows, which
// are planned within this one, because reading them is not to be counted.
func planner(ctx context.Context, b *bench) ([]row, error) {
	rows, err := workflows(ctx, b)
	if err != nil {
		return rows, err
	}
	if b.htn == "" {
		return rows, errors.New("name the directory of the planning instances with -htn (its set.csv lists them, verify.py checks plans)")
	}
	for _, t := range []track{
		{name: "total-order", peer: "hyper-rb", solved: 60, score: 57},
		{name: "partial-order", peer: "panda-po", solved: 13, options: []string{"--ipc"}},
	} {
		more, err := t.measure(ctx, b)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return rows, nil
}

// track is a part of the competition, and what is asked of a planner in it.
type track struct {
	name    string
	peer    string   // in results.csv
	options []string // of the verifier
	solved  int
	score   float64
}

func (t track) measure(ctx context.Context, b *bench) ([]row, error) {
	set, err := table(filepath.Join(b.htn, "set.csv"))
	if err != nil {
		return nil, err
	}
	results, err := table(filepath.Join(b.htn, "results.csv"))
	if err != nil {
		return nil, err
	}
	var theirs []time.Duration
	for _, r := range results {
		if r["track"] == t.name && r["planner"] == t.peer && r["status"] == "solved" {
			s, err := strconv.ParseFloat(r["cpu_s"], 64)
			if err != nil {
				return nil, err
			}
			theirs = append(theirs, time.Duration(s*float64(time.Second)))
		}
	}
	var ours []time.Duration
	points, all := 0.0, 0
	for _, r := range set {
		if r["track"] != t.name {
			continue
		}
		all++
		dir := filepath.Join(b.htn, t.name, r["domain"])
		took, problem, err := t.solve(ctx, b, filepath.Join(dir, r["domain_file"]), filepath.Join(dir, r["problem_file"]))
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", r["domain"], r["problem_file"], err)
		}
		fmt.Fprintf(b.log, "  %-44s %8.2f s  %s\n", r["domain"]+" "+r["problem_file"], took.Seconds(), problem)
		if problem == "" {
			ours = append(ours, took)
			points += score(took)
		}
	}
	if len(ours) == 0 || len(theirs) == 0 {
		return nil, errors.New("nothing was solved")
	}
	out := []row{{
		figure: t.name + ", solved", jitos: median(ours), peer: median(theirs), peerName: fmt.Sprintf("%s, %d", t.peer, len(theirs)),
		result: fmt.Sprintf("%d of %d", len(ours), all), limit: fmt.Sprintf("≥ %d", t.solved), met: len(ours) >= t.solved,
	}}
	if t.score > 0 {
		theirPoints := 0.0
		for _, d := range theirs {
			theirPoints += score(d)
		}
		out = append(out, row{
			figure: t.name + ", score", jitos: median(ours), peer: median(theirs), peerName: fmt.Sprintf("%s, %.1f", t.peer, theirPoints),
			result: fmt.Sprintf("%.1f", points), limit: fmt.Sprintf("≥ %.0f", t.score), met: points >= t.score,
		})
	}
	return out, nil
}

// score is the agile metric of the competition: 1 up to a second, and 0 at the limit.
func score(took time.Duration) float64 {
	return min(1, 1-math.Log(took.Seconds())/math.Log(planSeconds))
}

// solve plans an instance and has the plan checked. problem says why it is not solved; a plan that is not valid is an error.
func (t track) solve(ctx context.Context, b *bench, domain, problem string) (took time.Duration, why string, err error) {
	out, err := os.Create(filepath.Join(b.dir, "plan"))
	if err != nil {
		return 0, "", err
	}
	defer out.Close()
	var stderr bytes.Buffer
	limit := fmt.Sprintf("ulimit -t %d; ulimit -v %d; exec \"$@\"", planSeconds, planBytes>>10)
	cmd := exec.CommandContext(ctx, "sh", "-c", limit, "sh", b.jitos, "plan", "--format", "hddl", domain, problem)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, &stderr, b.env()
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return 0, "", err
	}
	took = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err != nil {
		text, _, _ := strings.Cut(stderr.String(), "\n")
		return took, fmt.Sprintf("%v: %.80s", err, text), ctx.Err()
	}
	return took, "", b.output(ctx, "", "python3", slices.Concat([]string{filepath.Join(b.htn, "verify.py")}, t.options, []string{domain, problem, out.Name()})...)
}

// table reads a file of comma-separated values, each row by the names in the first.
func table(name string) ([]map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil || len(all) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s is not a table", name))
	}
	var out []map[string]string
	for _, r := range all[1:] {
		m := map[string]string{}
		for i, v := range r {
			m[all[0][i]] = v
		}
		out = append(out, m)
	}
	return out, nil
}

// workflow is a module of n tasks with two methods each, of which the first is taken unless a fact says otherwise.
func workflow(n int) (*lang.Module, error) {
	var text strings.Builder
	text.WriteString("fact \"slow\" {\n  columns = { task = string }\n  keep = \"always\"\n}\n")
	var needs []string
	for i := range n {
		before := ""
		if i >= 10 {
			before = fmt.Sprintf("task.t%d, task.t%d", i-10, i/2)
		}
		fmt.Fprintf(&text, "task \"t%d\" { needs = [%s] }\n", i, before)
		fmt.Fprintf(&text, "method \"t%d\" \"fast\" {\n  when = !fact::slow(\"t%d\")\n  step \"s\" { task = task.fast%d }\n}\n", i, i, i)
		fmt.Fprintf(&text, "method \"t%d\" \"safe\" {\n  step \"s\" { task = task.safe%d }\n}\n", i, i)
		for _, way := range []string{"fast", "safe"} {
			fmt.Fprintf(&text, "task \"%s%d\" {\n  inputs = [\"in/f%d\"]\n  outputs = [\"out/f%d\"]\n  exec = [\"%s\", \"in/f%d\"]\n}\n", way, i, i, i, way, i)
		}
		needs = append(needs, fmt.Sprintf("task.t%d", i))
	}
	fmt.Fprintf(&text, "task \"all\" { needs = [%s] }\n", strings.Join(needs, ", "))
	m, diags := lang.Parse([]lang.File{{Name: "main" + lang.Extension, Text: []byte(text.String())}})
	return m, diags.Err()
}

// workflows measures the planner without the reading of workflows.
func workflows(ctx context.Context, b *bench) (rows []row, err error) {
	limits := map[int]time.Duration{1000: 20 * time.Millisecond, 10_000: 300 * time.Millisecond}
	other, err := slow("something else")
	if err != nil {
		return nil, err
	}
	one, err := slow("t500")
	if err != nil {
		return nil, err
	}
	for _, n := range []int{1000, 10_000} {
		fmt.Fprintf(b.log, "workflow of %d tasks\n", n)
		m, err := workflow(n)
		if err != nil {
			return rows, err
		}
		var compiling, planning, standing, replanning []time.Duration
		var kept uint64
		for range max(3, b.rounds) {
			runtime.GC()
			start := time.Now()
			p, diags := compiler.Compile(m, compiler.Options{World: lang.World{FS: fstest.MapFS{}}})
			if diags.HasErrors() {
				return rows, diags.Err()
			}
			compiling = append(compiling, time.Since(start))
			before := live()
			start = time.Now()
			first, err := p.Plan(ctx, compiler.Intent{Target: "all"}, warp.Graph{}, nil, 0)
			if err != nil {
				return rows, err
			}
			planning = append(planning, time.Since(start))
			kept = live() - before
			start = time.Now()
			same, err := p.Plan(ctx, compiler.Intent{Target: "all"}, other, nil, 0)
			if err != nil {
				return rows, err
			}
			standing = append(standing, time.Since(start))
			start = time.Now()
			second, err := p.Plan(ctx, compiler.Intent{Target: "all"}, one, nil, 0)
			if err != nil {
				return rows, err
			}
			replanning = append(replanning, time.Since(start))
			if len(first.Steps) != n || len(same.Steps) != n || len(second.Steps) != n {
				return rows, fmt.Errorf("a plan of %d tasks has %d, %d and %d steps", n, len(first.Steps), len(same.Steps), len(second.Steps))
			}
		}
		name, took := thousands(n)+" tasks × 2 methods, ", median(planning)
		rows = append(rows,
			row{name + "planned", took, median(compiling), "compiling", fmt.Sprintf("%.1f ms", millis(took)), fmt.Sprintf("≤ %.0f ms", millis(limits[n])), took <= limits[n]},
			ratio(name+"a fact changed that decides nothing", median(standing), took, "planned anew", 0.05),
			ratio(name+"a fact changed that decides one task", median(replanning), took, "planned anew", 0.05),
			row{name + "memory", 0, 0, "", fmt.Sprintf("%d B a step", kept/uint64(n)), "≤ 1024 B", kept <= uint64(n)<<10})
	}
	return rows, nil
}

// slow is a graph with the one fact that a task is slow.
func slow(task string) (warp.Graph, error) {
	fact, err := warp.Fact("slow", task)
	if err != nil {
		return warp.Graph{}, err
	}
	return warp.Graph{}.Apply(warp.Rewrite{Ops: []warp.Op{warp.AddNode(fact)}})
}

// live is how much memory is in use.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
