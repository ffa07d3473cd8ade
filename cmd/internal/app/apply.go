package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp"
)

// Request is what a person wants done.
type Request struct {
	Target    string   // a task, a member of a family, a slap; "" is the default
	Args      []string // name=value
	Hold      bool     // keep the result aside
	KeepGoing bool
	still     bool   // nothing may run, not even a probe
	Saved     *Saved // the plan that it is to be, or nothing
}

func (r Request) intent() (compiler.Intent, error) {
	in := compiler.Intent{Target: r.Target, Args: map[string]string{}}
	for _, a := range r.Args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			return in, usagef("%q is not an argument: write name=value (one target at a time)", a)
		}
		if _, twice := in.Args[name]; twice {
			return in, usagef("%s is given twice", name)
		}
		in.Args[name] = value
	}
	return in, nil
}

// Validate says what is wrong with the workflow. Nothing is run or written.
func (w *Workspace) Validate(ctx context.Context) (diag.List, error) {
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if err := w.look(); err != nil {
		return nil, err
	}
	_, diags := w.compile()
	return diags, nil
}

// Compile compiles the workflow as the workspace is now.
func (w *Workspace) Compile(ctx context.Context) (*compiler.Program, error) {
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if err := w.look(); err != nil {
		return nil, err
	}
	p, diags := w.compile()
	return p, diags.Err()
}

// Targets lists what can be applied, in written order, and the files it is written in.
func (w *Workspace) Targets(ctx context.Context) ([]compiler.Target, []string, diag.List, error) {
	if err := w.settle(ctx); err != nil {
		return nil, nil, nil, err
	}
	if err := w.look(); err != nil {
		return nil, nil, nil, err
	}
	p, diags := w.compile()
	if p == nil {
		return nil, w.module.Files(), diags, nil
	}
	return p.Targets(), w.module.Files(), diags, nil
}

// planner finds the next way when one has failed.
type planner struct {
	program  *compiler.Program
	intent   compiler.Intent
	facts    warp.Graph
	excluded []plan.Excluded
	skip     int  // candidates that were walked and whose criteria did not hold
	only     bool // the first plan is the only one that is wanted
}

func (p *planner) Next(ctx context.Context, f runner.Failure) (*plan.Plan, error) {
	resumed := f.Step < 0 && f.Criterion == "" // nothing failed: the same one, with results
	if p.only && !resumed {
		return nil, nil
	}
	p.intent.Results = f.Results
	switch {
	case resumed:
	case f.Step < 0:
		p.skip++
	default:
		x, ok := p.program.Exclude(f.Plan, f.Step, f.Reason)
		if !ok {
			return nil, nil
		}
		p.excluded, p.skip = append(p.excluded, x), 0
	}
	pl, err := p.program.Plan(ctx, p.intent, p.facts, p.excluded, p.skip)
	if err == nil {
		err = refuse(pl)
	}
	if _, none := errors.AsType[*compiler.NoPlanError](err); none && f.Criterion != "" {
		return nil, nil // what the criterion says is all there is to say
	}
	return pl, err
}

// refuse says what of a plan this version does not carry out.
func refuse(pl *plan.Plan) error {
	var list diag.List
	for _, r := range pl.Refused() {
		list = append(list, diag.Diagnostic{
			Code: compiler.CodeUnsupported, Subject: r.Range, Label: r.Value,
			Summary: fmt.Sprintf("%s asks for %s, which this version does not carry out", cmp.Or(r.Step, pl.Target), r.What),
			Detail:  "Nothing was run. Remove it, or use a version of jitos that has it.",
		})
	}
	return list.Err()
}

// planned is a compiled workflow with the first plan for an intent.
type planned struct {
	planner
	first *plan.Plan
}

func (w *Workspace) plan(ctx context.Context, r Request) (*planned, error) {
	in, err := r.intent()
	if err != nil {
		return nil, err
	}
	p := w.fresh
	w.fresh = nil
	if p == nil {
		var diags diag.List
		if p, diags = w.compile(); diags.HasErrors() {
			return nil, &diag.ListError{List: diags}
		}
	}
	if p, err = w.ask(ctx, p, in, r.still); err != nil {
		return nil, err
	}
	in.Past = func() (map[string]time.Duration, error) { return w.durations(ctx) }
	out := &planned{planner: planner{program: p, intent: in}}
	system, err := w.system()
	if err != nil {
		return nil, err
	}
	if out.facts, err = runner.KeptFacts(system, p.Relations(), w.runnerWorkspace()); err != nil {
		return nil, err
	}
	out.first, err = p.Plan(ctx, in, out.facts, nil, 0)
	return out, err
}

// durations are how long the last step of each task took.
func (w *Workspace) durations(ctx context.Context) (map[string]time.Duration, error) {
	runs, err := w.Runs(ctx)
	out := map[string]time.Duration{}
	for _, r := range runs {
		for _, s := range slices.Backward(r.Steps) {
			if _, newer := out[s.Invocation.Task]; !newer && s.Outcome == runner.Ran {
				out[s.Invocation.Task] = s.Duration()
			}
		}
	}
	return out, err
}

// Apply achieves an intent. sink is told of every event as it enters the history.
func (w *Workspace) Apply(ctx context.Context, r Request, sink func(runner.Event), live runner.Live) (*runner.Outcome, error) {
	if _, err := os.Stat(w.meta("")); errors.Is(err, fs.ErrNotExist) { // a workflow that is wrong leaves nothing of ours
		if err := w.look(); err != nil {
			return nil, err
		}
		var diags diag.List
		if w.fresh, diags = w.compile(); diags.HasErrors() {
			return nil, &diag.ListError{List: diags}
		}
	}
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	p, err := w.plan(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := refuse(p.first); err != nil {
		return nil, err
	}
	if p.only = r.Saved != nil; p.only {
		now, err := w.pin(p, r)
		if err != nil {
			return nil, err
		}
		if err := r.Saved.compare(now); err != nil {
			return nil, err
		}
	}
	o := w.options()
	o.Hold, o.KeepGoing, o.Sink, o.Live = r.Hold, r.KeepGoing, sink, live
	o.Rule, o.Observed, o.Asked = p.program.Rule, p.program.Observed(), w.asked
	o.Stale = w.newProgram(p.program)
	if runner.FellBack(w.graph) && !p.only {
		if _, err := w.foresee(ctx, p, o); err != nil {
			return nil, err
		}
	}
	out, err := runner.Apply(ctx, w.runnerWorkspace(), p.first, p, o)
	if err != nil {
		return nil, err
	}
	out.Wall = time.Since(began)
	if out.Run > 0 {
		defer func() { // the run itself is done
			if err := w.tidy(ctx, out.Run); err != nil && !errors.Is(err, context.Canceled) {
				w.notice("the store was not tidied up: " + err.Error())
			}
		}()
	}
	if r.Hold || out.Status != runner.Done && out.Status != runner.Nothing {
		return out, nil
	}
	// What follows only saves the next run work: on a full disk it is left out.
	if !out.Always && !w.unsure { // else there is something to do each time
		err = w.project(r, out)
	}
	if err == nil && o.Stale {
		digest := p.program.Digest()
		err = cmp.Or(os.MkdirAll(w.meta("index"), 0o755), os.WriteFile(w.meta(programIndex), digest[:], 0o644))
	}
	if err != nil {
		w.notice("the index was not brought up to date, so the next run looks at everything: " + err.Error())
	}
	return out, nil
}

// programIndex holds the digest of the program whose stale outputs are gone. Without it they are looked for once more.
const programIndex = "index/program"

func (w *Workspace) newProgram(p *compiler.Program) bool {
	digest := p.Digest()
	last, err := os.ReadFile(w.meta(programIndex))
	return err != nil || !bytes.Equal(last, digest[:])
}

// Find finds the first way to do what is asked for, without a look at what of it is done. It changes nothing and waits for no other
// process.
func (w *Workspace) Find(ctx context.Context, r Request) (*plan.Plan, error) {
	p, err := w.find(ctx, r)
	if err != nil {
		return nil, err
	}
	return p.first, nil
}

func (w *Workspace) find(ctx context.Context, r Request) (*planned, error) {
	if err := w.view(ctx); err != nil {
		return nil, err
	}
	if err := w.look(); err != nil {
		return nil, err
	}
	return w.plan(ctx, r)
}

// Plan says what Apply would do, and changes nothing. It waits for no other process.
func (w *Workspace) Plan(ctx context.Context, r Request) (*runner.Forecast, error) {
	p, err := w.find(ctx, r)
	if err != nil {
		return nil, err
	}
	if w.graph, err = w.system(); err != nil {
		return nil, err
	}
	o := w.options()
	o.Stale = w.newProgram(p.program)
	return w.foresee(ctx, p, o)
}

// foresee looks ahead. A way that failed, in a run that ended well by another, is no reason to run again as long as all
// is as it was: so where such a way comes first, and nothing is to do by one after it, it is that one that stands.
func (w *Workspace) foresee(ctx context.Context, p *planned, o runner.Options) (*runner.Forecast, error) {
	first, err := w.ahead(ctx, p, o)
	if err != nil {
		return nil, err
	}
	other := *p
	other.excluded = slices.Clip(p.excluded)
	for f := first; ; {
		if !slices.ContainsFunc(f.Steps, func(s runner.StepForecast) bool { return s.Outcome != runner.UpToDate }) {
			*p = other
			p.first = f.Plan
			return f, nil
		}
		failed := slices.IndexFunc(f.Steps, func(s runner.StepForecast) bool { return s.Before != "" })
		if failed < 0 {
			return first, nil
		}
		pl, err := other.Next(ctx, runner.Failure{Plan: f.Plan, Step: failed, Reason: f.Steps[failed].Before, Results: f.Results})
		if _, none := errors.AsType[*compiler.NoPlanError](err); none || err == nil && pl == nil {
			return first, nil
		}
		if err != nil {
			return nil, err
		}
		other.first = pl
		if f, err = w.ahead(ctx, &other, o); err != nil {
			return nil, err
		}
	}
}

// ahead looks at the first way of p, with the results of steps that need not run.
func (w *Workspace) ahead(ctx context.Context, p *planned, o runner.Options) (*runner.Forecast, error) {
	o.Rule, o.Observed = p.program.Rule, p.program.Observed()
	for pl := p.first; ; {
		f, err := runner.Foresee(w.runnerWorkspace(), pl, w.isolated(), o)
		open := func(s plan.Step) bool { return s.Placeholder() }
		if err != nil || maps.Equal(f.Results, p.intent.Results) || !slices.ContainsFunc(pl.Steps, open) {
			return f, err
		}
		if pl, err = p.Next(ctx, runner.Failure{Plan: pl, Step: -1, Results: f.Results}); err != nil {
			return nil, err
		}
	}
}

// isolated says whether steps would run at the workspace's own path.
func (w *Workspace) isolated() bool {
	switch w.o.Overlay {
	case "overlay":
		return true
	case "copy":
		return false
	}
	return w.probe() == nil
}

// probe says why there is no full isolation here; nil if there is. The workspace stays as it is: what is tried lies
// where layers do, or elsewhere if no step has run here yet.
func (w *Workspace) probe() error {
	if err := sws.Overlayable(w.root); err != nil {
		return err
	}
	rooms := []string{w.meta("sws"), os.TempDir(), "/dev/shm"} // in a container, temporary files may lie on an overlay
	if _, err := os.Stat(rooms[0]); err != nil {
		rooms = rooms[1:]
	}
	var errs []error
	for _, room := range rooms {
		err := sandbox.Probe(sandbox.Options{Slots: 1, Workspace: w.root}, room)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errs[0]
}
