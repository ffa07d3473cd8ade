// Package runner carries out plans: it decides for each step whether its result is known, runs what is not in shadow
// working sets, and lets the result into the workspace only when everything holds.
//
// It knows steps, layers, graphs and history. It does not know the language that steps were written in nor how plans
// are found: it asks a [Planner] for the next one when a way has failed. What comes from outside (clock, environment,
// where programs lie) is handed in by [Options].
//
// Start reading at [Apply]. kernel.go is the single-writer loop that owns all state, step.go what happens to one step
// on its way, enter.go how results become state, finish.go criteria and collapse, tree.go what a step sees, key.go
// what its result depends on, known.go the questions to the System graph, projection.go the fast path.
package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/history"
)

// Planner gives the next plan for the intent after one has failed.
type Planner interface {
	// Next returns a plan that does not repeat the failure, nor one of those reported before; or the same one made with
	// results, where nothing failed. An error says why there is none.
	Next(ctx context.Context, f Failure) (*plan.Plan, error)
}

// Failure says why a plan did not succeed. With neither a step nor a criterion nothing failed: what it left open can be
// planned now.
type Failure struct {
	Plan      *plan.Plan
	Step      int               // index of the step that failed for good; -1 when a criterion did not hold
	Criterion string            // its name
	Reason    string            // "exit 1"
	Results   map[string]string // of the steps of this run so far, by ID
}

// Workspace is what a run works with. The caller holds the workspace's run lock.
type Workspace struct {
	Root    string // absolute, without symbolic links
	Log     *history.Log
	System  *warp.Graph // the fold of Log, kept up to date by who appends to it
	Store   *cas.Store
	Space   *sws.Space
	Journal *Journal  // of Space
	Base    *sws.Base // what the workspace was when the run began
	Ignore  *Ignore
}

// Options configure a run. Now, Env, LookPath and StatTool are how the outside enters.
type Options struct {
	Jobs      int  // steps at once
	Hold      bool // keep the result aside instead of collapsing it
	KeepGoing bool // after a failure, finish what it does not touch
	Grace     time.Duration

	Rule     func(name string) (warp.Rule, bool) // of the program; nil: its steps have none
	Observed []warp.Node                         // facts that hold in the workspace as the plan starts
	Asked    []Observation                       // what probes answered: a run records it as it begins
	What     string                              // see Intent.What
	Stale    bool                                // the program is another one: look for outputs that nobody declares any more

	Now      func() time.Time
	Env      func(name string) (string, bool)
	LookPath func(name string) (path string, ok bool)
	StatTool func(path string) (size, mtime int64, err error)
	CacheDir string // where the caches of steps lie

	Sink func(Event) // told of every event as it enters the history
	Live Live
}

// Live is told of what is not history: output as it comes. Its functions are called from many goroutines.
type Live struct {
	Output func(step string, chunk []byte)
}

// Outcome says how a run ended.
type Outcome struct {
	Run, SWS    int
	Target      string
	NothingToDo bool
	Status      Status
	Reason      string // failed, refused: why
	Failed      string // the step that failed last, or success "name"
	Steps       int    // of the last plan
	Ran         int
	Cached      int
	UpToDate    int
	Changed     []Change   // what entered the workspace; held: what would
	Collapsed   []sws.Done // Changed with what is there now
	Conflicts   []sws.Conflict
	Removed     []string // outputs that no task declares any more: part of Changed
	Always      bool     // a step of the plan always runs
	Warnings    []string
	FailedWays  []string // ways that failed first: "image by docker"
	NoPlan      error    // why no further way was found, when the run failed
	Wall        time.Duration
}

// Status is how a run ended.
type Status string

// The ways a run ends.
const (
	Done        Status = "done"
	Nothing     Status = "nothing"
	Held        Status = "held"
	FailedRun   Status = "failed"
	Conflicted  Status = "conflict"
	Refused     Status = "refused"
	Interrupted Status = "interrupted"
)

// Apply walks plans for an intent, starting with first, until one holds, and collapses its result. A step that fails,
// a conflict or an interrupt is an Outcome; an error means that the kernel itself could not go on: history, store or
// sandbox. ctx ends the run: steps are stopped, nothing collapses.
func Apply(ctx context.Context, w Workspace, first *plan.Plan, next Planner, o Options) (*Outcome, error) {
	k, err := newKernel(w, o)
	if err != nil {
		return nil, err
	}
	if k.isolation = w.Space.Isolation(ctx); k.isolation != "overlay" {
		k.where = "copy"
	}
	begun := o.Now()
	out, err := k.apply(ctx, first, next)
	if out != nil {
		out.Wall = o.Now().Sub(begun)
	}
	return out, k.close(err)
}

// MissingInputError says that a declared input is not there and no step makes it.
type MissingInputError struct{ Path string }

func (e *MissingInputError) Error() string { return "input " + e.Path + " does not exist" }

// UnknownKindError says that the history holds an event that this version cannot read.
type UnknownKindError struct {
	Kind string
	Idx  uint64
	Err  error
}

func (e *UnknownKindError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("event %d (%s) cannot be read: %v", e.Idx, e.Kind, e.Err)
	}
	return fmt.Sprintf("event %d has the unknown kind %q: a newer jitos wrote it", e.Idx, e.Kind)
}

func (e *UnknownKindError) Unwrap() error { return e.Err }

// stepError is how a step fails for good: the step's fault, not the kernel's.
type stepError struct{ reason string }

func (e *stepError) Error() string { return e.reason }

func failf(format string, a ...any) error { return &stepError{fmt.Sprintf(format, a...)} }

// errCancelled is why steps stop that others made pointless.
var errCancelled = errors.New("cancelled: another step failed")
