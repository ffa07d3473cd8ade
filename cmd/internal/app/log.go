package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/history"
)

// Run is a run as its events tell it.
type Run struct {
	N, SWS     int
	Target     string
	What       string // "" apply, "undo", "clean", "try", "collapse"
	Of         int    // undo: the run that was undone
	Status     string // "done", "held", "failed", "conflict", "discarded", "running", "killed"
	Reason     string
	Failed     string // the step, or criterion, that failed
	At         time.Time
	Wall       time.Duration
	Ran        int
	Cached     int
	Changes    []runner.Change // what entered the workspace
	Held       []runner.Change // what is, or was, held
	Steps      []StepRun       // those that ran, were restored or failed, in the order in which they ended
	Methods    []string        // the ways that were taken by the last candidate
	Ways       []string        // the ways that failed first, with their reasons
	Criteria   []runner.Observation
	Warnings   []string
	Undone     bool // its changes were taken back since
	Isolation  string
	collapseAt uint64
}

// StepRun is one step of a run.
type StepRun struct {
	runner.Result
	Invocation runner.Invocation
}

// settle finishes what a dead process left half done, so that nobody looks at a workspace that is neither the old nor
// the new one. Whoever runs has done so already.
func (w *Workspace) settle(ctx context.Context) error {
	if w.unfinished() && !w.running() {
		return w.acquire(ctx)
	}
	return nil
}

// view is what commands that only look need: they take no lock and wait for nobody.
func (w *Workspace) view(ctx context.Context) error {
	if err := w.settle(ctx); err != nil || w.log != nil || w.reader != nil {
		return err
	}
	var err error
	if w.reader, err = history.OpenReader(w.meta("history")); err != nil {
		return damaged(err)
	}
	if _, err := os.Stat(w.meta("")); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was run yet, and looking makes nothing
	}
	w.store, err = cas.Open(w.meta("objects"))
	return err
}

// events yields the history from its beginning.
func (w *Workspace) events() iter.Seq2[runner.Event, error] {
	return func(yield func(runner.Event, error) bool) {
		var from iter.Seq2[history.Event, error]
		switch {
		case w.log != nil:
			from = w.log.All()
		case w.reader != nil:
			from = w.reader.All()
		default:
			return
		}
		for e, err := range from {
			if err != nil {
				yield(runner.Event{}, damaged(err))
				return
			}
			d, err := runner.Decode(e)
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

func (w *Workspace) system() (warp.Graph, error) {
	if w.log != nil || w.reader == nil {
		return w.graph, nil
	}
	g, err := w.reader.System()
	if err != nil {
		return g, damaged(err)
	}
	return g, nil
}

// Runs folds the history into its runs, the newest first.
func (w *Workspace) Runs(ctx context.Context) ([]Run, error) {
	if err := w.view(ctx); err != nil {
		return nil, err
	}
	runs := map[int]*Run{}
	var order []int
	for e, err := range w.events() {
		if err != nil {
			return nil, err
		}
		n := runOf(e)
		if _, opens := e.Data.(*runner.Intent); opens {
			runs[n] = &Run{N: n, Status: "killed"}
			order = append(order, n)
		}
		if r := runs[n]; r != nil {
			r.fold(e)
		}
	}
	for _, n := range order { // an undo that is undone: what it took back is there again
		undone := true
		for r := runs[n]; r != nil && r.What == "undo" && r.Status == "done"; undone = !undone {
			if r = runs[r.Of]; r != nil {
				r.Undone = undone
			}
		}
	}
	out := make([]Run, 0, len(order))
	for _, n := range slices.Backward(order) {
		out = append(out, *runs[n])
	}
	if len(out) > 0 && out[0].Status == "killed" && w.running() {
		out[0].Status = "running"
	}
	return out, nil
}

// runOf is the run that an event belongs to.
func runOf(e runner.Event) int {
	switch d := e.Data.(type) {
	case *runner.Intent:
		return d.Run
	case *runner.Rewrite:
		return d.Run
	case *runner.Tick:
		return d.Run
	case *runner.Observation:
		return d.Run
	case *runner.Invocation:
		return d.Run
	case *runner.Result:
		return d.Run
	case *runner.Collapse:
		return d.Run
	case *runner.End:
		return d.Run
	}
	return 0
}

func (r *Run) fold(e runner.Event) {
	switch d := e.Data.(type) {
	case *runner.Intent:
		r.SWS, r.Target, r.What, r.Of, r.Isolation = d.SWS, d.Target, d.What, d.Of, d.Where
		r.At = time.Unix(0, e.At)
	case *runner.Rewrite:
		if d.Cause == "plan" {
			r.Methods, r.Ways = d.Methods, append(slices.Clone(d.Passed), d.Excluded...)
		}
	case *runner.Invocation:
		r.Steps = append(r.Steps, StepRun{Invocation: *d, Result: runner.Result{Run: d.Run, Step: d.Step, Outcome: "running"}})
	case *runner.Result:
		r.result(*d)
	case *runner.Observation:
		switch d.What {
		case "criterion":
			r.Criteria = append(r.Criteria, *d)
		case "warning":
			r.Warnings = append(r.Warnings, d.Step+" "+d.Text)
		}
	case *runner.Collapse:
		r.Status, r.Changes, r.collapseAt = "done", d.Changes, e.Idx
	case *runner.End:
		r.Reason, r.Failed = d.Reason, d.Step
		r.Held, r.Changes = d.Changes, nil // an end after a collapse: it did not happen, after all
		switch {
		case e.Kind == runner.KindConflict:
			r.Status = "conflict"
		case e.Kind == runner.KindHold:
			r.Status = "held"
		case d.Failed:
			r.Status = "failed"
		default:
			r.Status = "discarded"
		}
	}
	r.Wall = time.Unix(0, e.At).Sub(r.At)
}

// result puts a step's end to its beginning; a step that failed before a worker was needed has none.
func (r *Run) result(d runner.Result) {
	switch d.Outcome {
	case runner.Ran:
		r.Ran++
	case runner.Cached:
		r.Cached++
	}
	for i := len(r.Steps) - 1; i >= 0; i-- {
		if s := &r.Steps[i]; s.Step == d.Step && s.Outcome == "running" {
			s.Result = d
			return
		}
	}
	r.Steps = append(r.Steps, StepRun{Result: d, Invocation: runner.Invocation{Run: d.Run, Step: d.Step, Task: d.Step}})
}

// Run is one run with its events.
func (w *Workspace) Run(ctx context.Context, n int) (*Run, []runner.Event, error) {
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(runs, func(r Run) bool { return r.N == n })
	if i < 0 {
		return nil, nil, noRun(n, runs)
	}
	var events []runner.Event
	for e, err := range w.events() {
		if err != nil {
			return nil, nil, err
		}
		if runOf(e) == n {
			events = append(events, e)
		}
	}
	return &runs[i], events, nil
}

func noRun(n int, runs []Run) error {
	if len(runs) == 0 {
		return usagef("there is no run %d: nothing was run here yet", n)
	}
	if first := runs[len(runs)-1].N; 0 < n && n < first {
		return usagef("the history tells no more of run %d: gc let go of what is older than run %d", n, first)
	}
	return usagef("there is no run %d: the last one is %d (`jitos log` lists them)", n, runs[0].N)
}

// Output is what a step, or that of a task, printed: of the last run in which it ran, or of the given run (0: any). Without a step it is
// that of the last step that failed, or else ran last.
func (w *Workspace) Output(ctx context.Context, step string, run int, failed bool) ([]byte, *StepRun, error) {
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, nil, err
	}
	if run != 0 && !slices.ContainsFunc(runs, func(r Run) bool { return r.N == run }) {
		return nil, nil, noRun(run, runs)
	}
	var names []string
	ran := func(r Run) bool { return slices.ContainsFunc(r.Steps, func(s StepRun) bool { return s.Step == step }) }
	if step != "" && !slices.ContainsFunc(runs, ran) {
		if name, err := only(step, slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return run != 0 && r.N != run })); err != nil {
			return nil, nil, err
		} else if name != "" {
			step = name
		}
	}
	for _, r := range runs {
		if run != 0 && r.N != run {
			continue
		}
		for pass := range 2 { // failed steps first, where nobody said which step
			for _, s := range slices.Backward(r.Steps) {
				names = append(names, s.Step)
				if step != "" && s.Step != step || (failed || step == "" && pass == 0) && s.Outcome != runner.Failed {
					continue
				}
				if s.Outcome != runner.Ran && s.Outcome != runner.Failed && s.Outcome != runner.Cancelled {
					continue
				}
				if len(s.Log) == 0 {
					return nil, &s, nil
				}
				b, err := w.store.Get(cas.Digest(s.Log))
				if errors.Is(err, cas.ErrNotFound) {
					return nil, &s, usagef("the output of %s in run %d is not kept any more: it has been let go (`jitos gc`), or its object was damaged", s.Step, r.N)
				}
				if err != nil {
					return nil, &s, fmt.Errorf("the output of %s in run %d: %w", s.Step, r.N, err)
				}
				return b, &s, nil
			}
		}
	}
	switch {
	case step == "" && failed:
		return nil, nil, usagef("no step failed yet")
	case step == "":
		return nil, nil, usagef("no step ran yet")
	}
	return nil, nil, usagef("no step %q ran%s", step, suggest(step, names))
}
