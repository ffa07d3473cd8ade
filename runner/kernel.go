package runner

import (
	"container/heap"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner/worker"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
)

// kernel owns the state of one run. All fields are the loop's (the goroutine of Apply) but those that say otherwise:
// slots only read what was settled before the step was given to them.
type kernel struct {
	w         Workspace
	o         Options
	kinds     map[string]worker.Kind
	isolation string // what is in force, with the reason where it is not full
	where     string // part of the key when steps do not run at the workspace's own path

	run, sws int // sws -1: none
	of       int // undo: the run that is undone
	opened   bool
	over     bool // the history says how it ended
	set      *sws.Set
	setErr   error
	setOnce  sync.Once

	facts  warp.Graph // facts in the view of this SWS
	start  warp.Graph // facts as a plan begins: those of the System and what was observed
	begin  warp.Graph // facts of the System as the run began
	viewed bool       // the history tells of facts
	unsaid []effect   // effects that came before the run began in the history
	tick   int

	mask    atomic.Pointer[plan.Mask] // hides secrets; slots read it as well
	results map[string]string         // by step ID, as far as they are known
	given   map[string]string         // those that the present plan was made with
	round   int                       // how many plans of this run were made for results
	resumed bool                      // the present plan is one of them

	pin struct { // the policy, for a plan
		plan   *plan.Plan
		policy warp.Hash
	}

	// the present plan
	plan    *plan.Plan
	files   *files
	lookup  warp.Graph // the System graph as this plan began: what slots look results up in
	steps   []stepState
	gone    []string   // stale outputs: no step sees them, and the collapse takes them away
	cleared *sws.Layer // in which they are gone; nil if there are none

	// results of this run, kept over plans
	finishedMu sync.Mutex
	finished   map[cas.Digest]*result

	walkOnce sync.Once // the whole tree was looked at, for steps that may write anywhere
	walkErr  error

	toolsMu sync.Mutex
	tools   map[string]string

	failedWays []string
	warnings   []string
	ran        int
	cached     int
}

// stepState is what the loop knows of one step of the present plan.
type stepState struct {
	waits      int // dependencies that are not done
	dependents []int
	length     int  // steps on the longest way to the end
	below      bits // steps whose layers it is over
	res        *result
	unfit      error // what is wrong with it, now that the results it waited for are known
}

// result is how a step ended, on its way into state.
type result struct {
	step     int
	outcome  string
	layer    *sws.Layer   // nil: its outputs stand in the workspace
	changes  []sws.Change // what it produced, also where that stood there already
	reads    []sws.Read   // its inputs in the workspace, as it saw them: a collapse must find them so
	key      cas.Digest
	after    cas.Digest // key with its own outputs among the inputs, when that differs
	action   []field
	inputs   []input
	why      []string
	event    Result
	node     warp.NodeID // of the step in the System graph, once it is known
	known    bool        // node is set: an earlier run made it
	value    string      // its result
	notes    []Observation
	asserted []warp.NodeID // facts that its effects made true
	err      error         // outcome failed or cancelled
}

func newKernel(w Workspace, o Options) (*kernel, error) {
	system := *w.System
	k := &kernel{w: w, o: o, kinds: worker.Kinds(),
		finished: map[cas.Digest]*result{}, tools: map[string]string{}, results: map[string]string{},
		run: countNodes(system, "run") + 1, sws: countNodes(system, "sws")}
	w.Journal.Sink, w.Journal.Run = o.Sink, k.run
	var err error
	if k.begin, err = keptFacts(system); err != nil {
		return nil, err
	}
	var rw warp.Rewrite
	for _, n := range o.Observed {
		rw.Ops = append(rw.Ops, warp.AddNode(n))
	}
	k.start, err = k.begin.Apply(rw)
	k.facts = k.start
	return k, err
}

func countNodes(g warp.Graph, kind string) int {
	n := 0
	for range g.Nodes(kind) {
		n++
	}
	return n
}

// apply walks one plan after the other. On an error the run is still to be closed.
func (k *kernel) apply(ctx context.Context, pl *plan.Plan, next Planner) (*Outcome, error) {
	for {
		k.facts, k.unsaid = k.start, nil
		if err := k.present(pl); err != nil {
			return nil, err
		}
		if err := k.clear(); err != nil {
			return nil, err
		}
		if k.opened { // a run that has begun says so; another does when it begins
			if err := k.chose(); err != nil {
				return nil, err
			}
		}
		f, err := k.walk(ctx, pl)
		if k.lost(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if f == nil && ctx.Err() == nil && k.learned() {
			if k.round++; k.round > maxRounds {
				return k.end(pl, FailedRun, "its results lead to ever new plans", "", nil)
			}
			more, err := k.ask(ctx, next, Failure{Plan: pl, Step: -1})
			if err != nil {
				return k.end(pl, FailedRun, "no way on with the results of its steps: "+err.Error(), "", err)
			}
			pl, k.resumed = more, true
			continue
		}
		if f == nil && ctx.Err() == nil {
			if f, err = k.criteria(pl); err != nil {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return k.end(pl, Interrupted, "interrupted", "", nil)
		}
		if f == nil {
			out, err := k.publish(ctx, pl)
			if k.lost(err) {
				continue
			}
			return out, err
		}
		name := "success " + strconv.Quote(f.Criterion)
		if f.Step >= 0 {
			name = pl.Steps[f.Step].ID
		}
		other, why := k.ask(ctx, next, *f)
		if why != nil || other == nil {
			return k.end(pl, FailedRun, f.Reason, name, why)
		}
		k.failedWays = append(k.failedWays, ways(pl, f.Step)...)
		pl, k.resumed = other, false
	}
}

// maxRounds bounds how often results lead to another plan.
const maxRounds = 10_000

// ask asks for the next plan, with the results that are known by now.
func (k *kernel) ask(ctx context.Context, next Planner, f Failure) (*plan.Plan, error) {
	k.given = maps.Clone(k.results)
	f.Results = k.given
	return next.Next(ctx, f)
}

// learned says that the present plan, which was walked to its end, has to be made again: results are known by now, or are
// others than those that it was made with.
func (k *kernel) learned() bool {
	for i := range k.plan.Steps {
		s := &k.plan.Steps[i]
		was, given := k.given[s.ID]
		if s.Placeholder() || given && was != k.results[s.ID] {
			return true
		}
	}
	return false
}

// fill makes step i whole: all that it waited for is known.
func (k *kernel) fill(i int) {
	if s := &k.plan.Steps[i]; len(s.Waits) > 0 {
		whole, err := s.Fill(k.results)
		if err != nil {
			k.steps[i].unfit = err
			return
		}
		*s = whole
		k.hide()
	}
}

// hide takes over what there is to be hidden by now.
func (k *kernel) hide() {
	if k.plan.Mask != nil {
		k.mask.Store(k.plan.Mask())
	}
}

// missing says that the store has not what it should have.
func missing(err error) bool {
	return errors.Is(err, cas.ErrCorrupt) || errors.Is(err, cas.ErrNotFound)
}

// lost says that err came of results that the store does not have any more: an object that turned out to be damaged is
// dropped. Walking the plan again runs their steps.
func (k *kernel) lost(err error) bool {
	if !missing(err) {
		return false
	}
	before := len(k.finished)
	maps.DeleteFunc(k.finished, func(_ cas.Digest, r *result) bool {
		return r.outcome == Cached && slices.ContainsFunc(r.changes, func(c sws.Change) bool {
			return c.After.Kind == sws.File && !k.w.Store.Has(c.After.Digest)
		})
	})
	k.cached -= before - len(k.finished)
	return len(k.finished) < before
}

// ways names the method nearest above a step, as in "image by docker".
func ways(pl *plan.Plan, step int) []string {
	if step < 0 {
		return nil
	}
	for n := pl.Steps[step].Node; n >= 0; n = pl.Tree[n].Parent {
		if m := pl.Tree[n].Method; m != "" {
			return []string{pl.Tree[n].Task + " by " + m}
		}
	}
	return []string{pl.Steps[step].ID}
}

// pathOf is the way down to a step: intent, methods, tasks.
func pathOf(pl *plan.Plan, step int) []string {
	var out []string
	for n := pl.Steps[step].Node; n >= 0; n = pl.Tree[n].Parent {
		t := pl.Tree[n]
		name := t.Task
		if t.Method != "" {
			name += " by " + t.Method
		}
		out = append([]string{name}, out...)
	}
	return out
}

// flushEvery is how much of a run a kill may take from the history at most, and how old what others see of it may be.
const flushEvery = 200 * time.Millisecond

// message is what a slot tells the loop.
type message struct {
	begun *Invocation // the step needs a worker
	res   *result     // the step is done
}

// walk runs the steps of a plan. It returns why the plan failed, or nil; an error is the kernel's own.
func (k *kernel) walk(ctx context.Context, pl *plan.Plan) (*Failure, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	work := make(chan int)
	msgs := make(chan message, k.o.Jobs)
	var wg sync.WaitGroup
	defer wg.Wait() // nothing outlives walk, also when it fails
	defer close(work)
	for slot := range k.o.Jobs {
		wg.Go(func() {
			for i := range work {
				msgs <- message{res: k.carryOut(ctx, slot, i, func(v Invocation) { msgs <- message{begun: &v} })}
			}
		})
	}

	ready := &frontier{k: k}
	for i := range k.steps {
		if k.steps[i].waits == 0 && !k.plan.Steps[i].Placeholder() {
			heap.Push(ready, i)
		}
	}
	var failed *Failure
	var fatal error
	var grace <-chan time.Time
	running, next := 0, 0
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for running > 0 || ready.Len() > 0 {
		give, first := work, 0
		stop := fatal != nil || ctx.Err() != nil || failed != nil && !k.o.KeepGoing
		if stop || ready.Len() == 0 || running == k.o.Jobs {
			give = nil
		} else {
			first = ready.steps[0]
		}
		if give == nil && running == 0 {
			break
		}
		select {
		case give <- first:
			heap.Pop(ready)
			running++
		case <-grace:
			cancel(errCancelled)
			grace = nil
		case <-tick.C:
			if err := k.w.Log.Flush(); err != nil && fatal == nil {
				fatal = err
				cancel(err)
			}
		case m := <-msgs:
			if m.begun != nil {
				if err := k.invoked(*m.begun); err != nil && fatal == nil {
					fatal = err
					cancel(err)
				}
				continue
			}
			running--
			r := m.res
			if err := k.arrived(r); err != nil && fatal == nil {
				fatal = err
				cancel(err)
			}
			switch {
			case r.outcome == Failed && failed == nil:
				failed = &Failure{Plan: pl, Step: r.step, Reason: r.event.Reason}
				if !k.o.KeepGoing {
					grace = time.After(k.o.Grace)
				}
			case r.outcome == Ran || r.outcome == Cached || r.outcome == UpToDate:
				for _, d := range k.steps[r.step].dependents {
					s := &k.steps[d]
					if s.waits--; s.waits == 0 && !k.plan.Steps[d].Placeholder() {
						k.settle(d)
						k.fill(d)
						heap.Push(ready, d)
					}
				}
			}
			for next < len(k.steps) && k.steps[next].res != nil && fatal == nil {
				if err := k.enter(next); err != nil {
					fatal = err
					cancel(err)
				}
				next++
			}
		}
	}
	if fatal != nil {
		return nil, fatal
	}
	// what a failure left behind enters in plan order too, past the gaps
	for ; next < len(k.steps); next++ {
		if k.steps[next].res != nil {
			if err := k.enter(next); err != nil {
				return nil, err
			}
		}
	}
	return failed, nil
}

// present makes pl the present plan.
func (k *kernel) present(pl *plan.Plan) (err error) {
	own := *pl
	own.Steps = slices.Clone(pl.Steps) // they are filled in
	k.plan = &own
	k.hide()
	if k.files == nil {
		k.files = newFiles(k.w.Base, k.w.Ignore, pl.Outputs)
	} else {
		k.files.forget()
	}
	k.lookup = *k.w.System
	if k.o.Stale {
		if k.gone, err = k.stale(pl); err != nil {
			return err
		}
		k.files.clear(k.gone)
	}
	k.steps = make([]stepState, len(pl.Steps))
	for i := len(pl.Steps) - 1; i >= 0; i-- {
		s := &k.steps[i]
		s.length++
		for j := range k.before(i) {
			d := &k.steps[j]
			d.dependents = append(d.dependents, i)
			d.length = max(d.length, s.length)
			s.waits++
		}
	}
	return nil
}

// clear makes the layer in which stale outputs are gone: every step is over it.
func (k *kernel) clear() error {
	k.cleared = nil
	if len(k.gone) == 0 {
		return nil
	}
	set, err := k.workingSet()
	if err != nil {
		return err
	}
	changes := make([]sws.Change, len(k.gone))
	for i, p := range k.gone {
		changes[i].Path = p
	}
	k.cleared, err = set.Restore(changes)
	return err
}

// before yields what step i comes after: its edges, and for a step of a criterion, which runs over everything,
// all steps that are of none.
func (k *kernel) before(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		s := &k.plan.Steps[i]
		for _, e := range s.After {
			if s.Criterion != "" && k.plan.Steps[e.Step].Criterion == "" {
				continue
			}
			if !yield(e.Step) {
				return
			}
		}
		for j := 0; s.Criterion != "" && j < i; j++ {
			if k.plan.Steps[j].Criterion == "" && !yield(j) {
				return
			}
		}
	}
}

// settle fixes what step i is over, once all that comes before it is done.
func (k *kernel) settle(i int) {
	s := &k.steps[i]
	for j := range k.before(i) {
		d := &k.steps[j]
		if d.res.layer != nil && len(d.res.changes) > 0 {
			s.below = s.below.with(d.below, j)
		} else if len(d.below) > 0 {
			s.below = s.below.with(d.below, -1)
		}
	}
}

// needed is every step that comes before step i.
func (k *kernel) needed(i int) bits {
	var out bits
	todo := []int{i}
	for len(todo) > 0 {
		j := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range k.plan.Steps[j].After {
			if !out.has(e.Step) {
				out = out.with(nil, e.Step)
				todo = append(todo, e.Step)
			}
		}
	}
	return out
}

// lower lists the layers of a set of steps, topmost first.
func (k *kernel) lower(below bits) []*sws.Layer {
	var out []*sws.Layer
	for j := range below.all() {
		if l := k.steps[j].res.layer; !slices.Contains(out, l) { // steps with one key share one
			out = append(out, l)
		}
	}
	slices.Reverse(out)
	if k.cleared != nil {
		out = append(out, k.cleared)
	}
	return out
}

// produced lists what step i of the present plan produced.
func (k *kernel) produced(i int) []sws.Change {
	if r := k.steps[i].res; r != nil {
		return r.changes
	}
	return nil
}

// frontier orders the steps that can start: longest remaining way first, then plan order.
type frontier struct {
	k     *kernel
	steps []int
}

func (f *frontier) Len() int { return len(f.steps) }
func (f *frontier) Less(a, b int) bool {
	x, y := f.k.steps[f.steps[a]].length, f.k.steps[f.steps[b]].length
	return x > y || x == y && f.steps[a] < f.steps[b]
}
func (f *frontier) Swap(a, b int) { f.steps[a], f.steps[b] = f.steps[b], f.steps[a] }
func (f *frontier) Push(x any)    { f.steps = append(f.steps, x.(int)) }
func (f *frontier) Pop() any {
	last := f.steps[len(f.steps)-1]
	f.steps = f.steps[:len(f.steps)-1]
	return last
}
