package runner

import (
	"fmt"
	"time"

	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
)

// The kinds of event that a run leaves in the history. Each names the struct that its Data holds. The terminal,
// --json and every report are folds of these and of nothing else.
const (
	KindIntent      = history.Intent           // Intent
	KindRewrite     = history.RewriteApplied   // Rewrite
	KindTick        = history.Tick             // Tick
	KindObservation = history.Observation      // Observation
	KindInvocation  = history.WorkerInvocation // Invocation
	KindResult      = history.WorkerResult     // Result
	KindHold        = history.Hold             // End
	KindConflict    = history.Conflict         // End
	KindCollapse    = history.Collapse         // Collapse
	KindDiscard     = history.Discard          // End
	KindUndo        = history.Undo             // Collapse
)

// Intent opens a run.
type Intent struct {
	Run    int    `cbor:"run"`
	SWS    int    `cbor:"sws"`
	Target string `cbor:"target"`
	What   string `cbor:"what,omitempty"` // "" apply, "undo", "clean", "try", "collapse"
	Of     int    `cbor:"of,omitempty"`   // undo: the run that is undone; collapse: the run that was held
	Jobs   int    `cbor:"jobs,omitempty"`
	Where  string `cbor:"isolation,omitempty"` // the isolation in force
}

// Rewrite is a change of a graph. Cause says what the kernel applied it for. The view of an SWS is a graph of facts: "facts"
// makes it anew of those of the System and what was observed, as a candidate begins, and each "effect" changes it.
// "aborted" takes back a "collapse" or "undo" that was recorded but did not happen.
type Rewrite struct {
	Run   int    `cbor:"run"`
	Cause string `cbor:"cause"` // "plan", "step", "collapse", "undo", "aborted" of the System; "facts", "effect" of an SWS
	Ops   []byte `cbor:"ops"`   // an encoded warp.Rewrite

	// Cause "plan": the candidate that is walked now. Resumed: the one before goes on, now that results are known.
	Candidate int      `cbor:"candidate,omitempty"`
	Resumed   bool     `cbor:"resumed,omitempty"`
	Steps     int      `cbor:"steps,omitempty"`
	Methods   []string `cbor:"methods,omitempty"`  // "image by podman", in tree order
	Passed    []string `cbor:"passed,omitempty"`   // "image by docker: fact::installed("docker") is false"
	Excluded  []string `cbor:"excluded,omitempty"` // "image by podman: podman_build exit 1"

	// Cause "step" and "effect".
	Step string `cbor:"step,omitempty"`
}

// Tick is the receipt of a step of the System's state: which rewrites entered it, what they are about, and, in its
// event, the digest that they led to and the pins.
type Tick struct {
	Run     int            `cbor:"run"`
	N       int            `cbor:"n"` // 1, 2, … within the run
	Step    string         `cbor:"step,omitempty"`
	Applied []uint64       `cbor:"applied"` // their orders: the n of their tick, as each has one of its own
	Refused []warp.Refusal `cbor:"refused,omitempty"`
	Reads   []warp.Hash    `cbor:"reads,omitempty"` // ids of nodes and edges that had to be there, sorted
	Writes  []warp.Hash    `cbor:"writes,omitempty"`
}

// tick brings a rewrite into g, in a tick of its own.
func tick(g warp.Graph, run, n int, step string, rw warp.Rewrite) (warp.Graph, *Tick, error) {
	next, r := g.Tick(uint64(n), []warp.Proposal{{Order: uint64(n), Rewrite: rw, Footprint: rw.Footprint()}})
	if len(r.Refused) > 0 {
		return g, nil, fmt.Errorf("tick %d of run %d: the rewrite was refused: %s (%x)", n, run, r.Refused[0].Reason, r.Refused[0].On[:6])
	}
	return next, &Tick{Run: run, N: n, Step: step, Applied: r.Applied, Refused: r.Refused, Reads: r.Reads, Writes: r.Writes}, nil
}

// Observation is something that came from outside, or was found out, while a run went on.
type Observation struct {
	Run  int    `cbor:"run"`  // 0: before any run began
	What string `cbor:"what"` // "criterion", "when", "warning", "rerun", "retry", "changed", "stale", "probe"; of no run: "torn"
	Step string `cbor:"step,omitempty"`
	Name string `cbor:"name,omitempty"` // criterion: its name; probe: its fact
	Text string `cbor:"text,omitempty"` // criterion, when: as written; warning: the message; probe: the answer
	Of   string `cbor:"of,omitempty"`   // the values: "it is 23118336"
	OK   bool   `cbor:"ok,omitempty"`
	File string `cbor:"file,omitempty"` // where it is written
	Line int    `cbor:"line,omitempty"`
}

// Invocation says that a worker was given a step.
type Invocation struct {
	Run    int      `cbor:"run"`
	Step   string   `cbor:"step"`
	Task   string   `cbor:"task"`
	Path   []string `cbor:"path,omitempty"` // the way down to it: "release", "image by podman"
	Worker string   `cbor:"worker"`
	Text   string   `cbor:"text"` // the command, as a person would type it
	Key    []byte   `cbor:"key,omitempty"`
	Why    []string `cbor:"why,omitempty"` // why it runs: "input src/a.c changed"
}

// How a step ended.
const (
	Ran       = "ran"
	Cached    = "cached"    // its outputs come from the store
	UpToDate  = "uptodate"  // its outputs stand in the workspace already
	Failed    = "failed"    // for good
	Cancelled = "cancelled" // because of something else
	Skipped   = "skipped"   // never started
	Unplanned = "unplanned" // in a forecast: its plan hangs on results
)

// Result is what a worker, or the cache, answered.
type Result struct {
	Run     int      `cbor:"run"`
	Step    string   `cbor:"step"`
	Outcome string   `cbor:"outcome"`
	Exit    int      `cbor:"exit,omitempty"`
	Signal  int      `cbor:"signal,omitempty"`
	Reason  string   `cbor:"reason,omitempty"`  // failed: "exit 1", "timeout after 5s", "output bin/x missing"
	Value   string   `cbor:"value,omitempty"`   // its result, if its task has one
	Log     []byte   `cbor:"log,omitempty"`     // digest of its output in the store; empty: it printed nothing
	Tail    string   `cbor:"tail,omitempty"`    // failed: the last lines of its output
	Refused string   `cbor:"refused,omitempty"` // failed: what in its allow would permit what it seems to have been refused
	Wall    int64    `cbor:"wall,omitempty"`    // nanoseconds
	RSS     int64    `cbor:"rss,omitempty"`     // peak memory in bytes
	Left    int      `cbor:"left,omitempty"`    // processes it left behind, which were killed
	Changes []Change `cbor:"changes,omitempty"`
	Reads   []Read   `cbor:"reads,omitempty"`
	Range   string   `cbor:"at,omitempty"` // file:line of the task
}

// Duration is how long the step took.
func (r Result) Duration() time.Duration { return time.Duration(r.Wall) }

// Change is one path that a step, or a collapse, wrote. Before and After are content identities; Type "" is absent.
type Change struct {
	Path   string `cbor:"path"`
	Before Entry  `cbor:"before,omitempty"`
	After  Entry  `cbor:"after,omitempty"`
}

// Read is one input as the step saw it.
type Read struct {
	Path   string `cbor:"path"`
	Digest []byte `cbor:"digest,omitempty"`
	Late   bool   `cbor:"late,omitempty"` // from its deps_file
}

// Entry is the content identity of a path.
type Entry struct {
	Type   string `cbor:"type,omitempty"` // "file", "dir", "link"; "" is absent
	Mode   uint32 `cbor:"mode,omitempty"`
	Size   int64  `cbor:"size,omitempty"`
	Digest []byte `cbor:"digest,omitempty"`
	Target string `cbor:"target,omitempty"` // of a link; what is not UTF-8 is quoted, after a zero byte
}

// Name is the path as it is on disk.
func (c Change) Name() string { return rawPath(c.Path) }

// LinksTo is what a link leads to, as people are told of it.
func (e Entry) LinksTo() string { return sws.Quote(rawTarget(e.Target)) }

// Collapse is a change set that entered the workspace.
type Collapse struct {
	Run     int      `cbor:"run"`
	SWS     int      `cbor:"sws"`
	Tx      string   `cbor:"tx"`
	Of      int      `cbor:"of,omitempty"` // undo: the run that was undone
	Changes []Change `cbor:"changes,omitempty"`
}

// End is how a run ended without a collapse.
type End struct {
	Run    int      `cbor:"run"`
	SWS    int      `cbor:"sws"`
	Reason string   `cbor:"reason"`
	Step   string   `cbor:"step,omitempty"`
	Paths  []string `cbor:"paths,omitempty"` // conflict: the paths
	Failed bool     `cbor:"failed,omitempty"`
	// Changes are what is held: what a collapse of it would write.
	Changes []Change `cbor:"changes,omitempty"`
}

// Event is a history event with its data decoded: *Intent, *Rewrite, *Tick, *Observation, *Invocation, *Result,
// *Collapse or *End.
type Event struct {
	history.Event
	Data any
}

// Decode reads the data of an event that this package wrote.
func Decode(e history.Event) (Event, error) {
	var into any
	switch e.Kind {
	case KindIntent:
		into = &Intent{}
	case KindRewrite:
		into = &Rewrite{}
	case KindTick:
		into = &Tick{}
	case KindObservation:
		into = &Observation{}
	case KindInvocation:
		into = &Invocation{}
	case KindResult:
		into = &Result{}
	case KindCollapse, KindUndo:
		into = &Collapse{}
	case KindHold, KindConflict, KindDiscard:
		into = &End{}
	default:
		return Event{}, &UnknownKindError{Kind: e.Kind, Idx: e.Idx}
	}
	if err := cbor.Unmarshal(e.Data, into); err != nil {
		return Event{}, &UnknownKindError{Kind: e.Kind, Idx: e.Idx, Err: err}
	}
	return Event{Event: e, Data: into}, nil
}
