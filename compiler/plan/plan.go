// Package plan holds what the compiler and the runner share: a DAG of ground steps.
//
// A [Plan] says what runs, in which order and why, over which files, and what must hold before its result may
// collapse. It knows neither the language it was written in nor how it was found, and nothing of processes,
// overlays or history. Start reading at [Step].
package plan

import (
	"io/fs"
	"math"
	"time"

	"github.com/flyingrobots/jitos/lang/diag"
)

// Plan is one candidate for an intent. Steps are in plan order, which is a topological order: every edge leads
// to a lower index. A Plan is immutable once it was returned.
type Plan struct {
	Target    string   // as it was asked for, canonical: "build", "compile os=darwin"
	Program   [32]byte // digest of the compiled program
	Candidate int      // how many candidates came before this one
	Tree      []Node   // the decomposition; Tree[0] is the intent
	Steps     []Step
	Success   []Check    // conditions over base and all layers, before anything collapses
	Scope     *Scope     // nil: everything
	Hold      bool       // collapse = "hold"
	Outputs   []Output   // what the tasks of the program declare, whether or not this plan runs them
	Tasks     []Task     // of the program, in written order
	Ignore    []string   // globs of jitos { ignore }
	Strict    bool       // undeclared reads and writes are errors
	Excluded  []Excluded // the ways that failed before this one, in order
	Relations []Relation // the facts that the program declares
	// Mask hides the secrets that the plan's commands are made of, also those of steps that were filled in since; nil: there
	// are none. It may be called from any goroutine.
	Mask  func() *Mask
	Later []Later // of all of it; a plan with any of these cannot be run
}

// Refused is everything in p that cannot be run, each with the ID of its step, "" for what is of all of the plan.
func (p *Plan) Refused() (out []Refused) {
	for _, l := range p.Later {
		out = append(out, Refused{Later: l})
	}
	for i := range p.Steps {
		for _, l := range p.Steps[i].Later {
			out = append(out, Refused{Step: p.Steps[i].ID, Later: l})
		}
	}
	return out
}

// Refused is what keeps a plan from being run.
type Refused struct {
	Step string
	Later
}

// Later is something that is asked for and that this version does not carry out.
type Later struct {
	What  string     // "retry"
	Value string     // as it could be written: "attempts = 3", "" if the name says it
	Range diag.Range // where it is asked for
}

// Relation is a kind of fact and how long what a step asserted of it lives.
type Relation struct {
	Name     string
	Keep     Keep
	Observed bool // computed at plan start; never kept
}

// Keep is the life of an asserted fact.
type Keep string

// The lives of a fact: the run that asserted it; until an input of the step that asserted it changes; until a
// task retracts it.
const (
	KeepRun    Keep = "run"
	KeepFresh  Keep = "fresh"
	KeepAlways Keep = "always"
)

// Node is one vertex of the decomposition tree.
type Node struct {
	Parent int        // index in Plan.Tree; -1 for the root
	Task   string     // with its arguments: `image(tag="v1")`
	Args   []Argument // of the task, in the order of its parameters
	Step   int        // index in Plan.Steps of a primitive task; -1 of others
	Method string     // the method that was taken; "" for primitives, groups and the intent
	Name   string     // name of the step in its method, or ""
	Shared bool       // a need: achieved once per plan
	Key    string     // identifies the ground method, or the ground step, to the planner; see [Excluded]
	Range  diag.Range
	// Passed are the methods that come before this one and were not possible.
	Passed []Passed
}

// Passed is a method that was not taken, and why: "fact::installed("docker") is false".
type Passed struct {
	Method string
	Reason string
	Range  diag.Range // of the condition
}

// Reason says why one step comes after another.
type Reason string

// The reasons of an edge.
const (
	Order  Reason = "order"  // the method says so
	Needs  Reason = "needs"  // a task needs another
	Data   Reason = "data"   // an output is an input
	Fact   Reason = "fact"   // an effect makes a condition true
	Threat Reason = "threat" // an effect would make a condition untrue
)

// Edge orders a step after an earlier one.
type Edge struct {
	Step   int // index in Plan.Steps, lower than the step's own
	Why    Reason
	Detail string // the path or fact it is about, or ""
}

// Step is an occurrence of an action in a plan.
type Step struct {
	*Action // shared with other plans: not to be changed

	ID        string     // unique in the plan and stable over plans: "compile", `page["a"]`, "image.podman.build"
	Node      int        // in Plan.Tree
	After     []Edge     // transitively reduced, ascending by Step
	Criterion string     // name of the success criterion it is for: it runs over everything, its writes are dropped
	Params    []Argument // of its rule
	Inputs    *Files     // nil: not declared

	// Waits are the IDs of the steps without whose results the step is not known: those that were not when the plan was
	// made. Fill makes it whole once all of them are; it may be called from any goroutine. Without Fill the step is a
	// placeholder: what it and all that comes after it will be is for another plan, made with the results.
	Waits []string
	Fill  func(results map[string]string) (Step, error)
}

// Action is what a step does: a task whose arguments are known.
type Action struct {
	Task        string // its name
	Description string
	Range       diag.Range // the task's header

	Rule string  // name of the rewrite rule of its task
	When []Check // over the step's own view as it starts

	Command  Command
	Outputs  *Files // nil: not declared
	DepsFile string // late inputs, written by the step; "" none
	Caches   []Cache
	Tools    []string
	Allow    Allow
	Timeout  time.Duration // 0: none
	Retry    Retry
	NoCache  bool    // always runs
	Later    []Later // a step with any of these cannot be run
	Result   Result
	Secrets  []Granted // what it is given of secrets; what it leaves behind must not have one in it
}

// Granted is a secret that a step is given.
type Granted struct {
	Shown string // what stands in its place
	Env   string // the variable that the command gets it under; "": it is in the command itself
	Value string // of Env
	Set   bool   // else it has no value, and the step cannot run
	From  string // not set: the variable that it would be read from
}

// Placeholder reports whether the step stands for what is not planned yet.
func (s *Step) Placeholder() bool { return len(s.Waits) > 0 && s.Fill == nil }

// Result is the value that a step gives to later ones. The zero value: none.
type Result struct {
	Of   ResultOf
	Path string // ResultFile: the file
}

// ResultOf says what the value is taken from. As text, it is what [Plan] is made with.
type ResultOf string

// What a result is taken from: what the command prints on stdout, without the newlines at its end; that, which has to be
// JSON; the text of a file.
const (
	ResultStdout ResultOf = "stdout"
	ResultJSON   ResultOf = "json"
	ResultFile   ResultOf = "file"
)

// Argument binds a parameter, of a rule or a task, to a value in canonical CBOR.
type Argument struct {
	Name  string
	Value []byte
}

// Command is what to run. Exactly one of Script and Argv is set.
type Command struct {
	Script string
	Argv   []string
	Shell  []string // what runs Script, which is appended: ["sh", "-euc"]
	Dir    string   // slash-separated, relative to the workspace; "." is its root
	Env    []Var    // sorted by name
	Stdin  string   // what it reads; "" is nothing
}

// Retry says how often a command that failed is tried again, and when. The zero value: never.
type Retry struct {
	Attempts          int // in all
	Backoff, MaxDelay time.Duration
	Jitter            float64 // how much of a wait may be added to it or taken away, from 0 to 1
	OnExit            []int   // the exit codes that are tried again; nil: however it failed
}

// Delay is how long to wait after an attempt (1, 2, …) that failed: it doubles each time, up to MaxDelay. chance, from 0
// to 1, is where it lies within the jitter.
func (r Retry) Delay(attempt int, chance float64) time.Duration {
	d := float64(r.Backoff) * math.Pow(2, float64(attempt-1))
	if r.MaxDelay > 0 {
		d = min(d, float64(r.MaxDelay))
	}
	return time.Duration(min(d*(1+r.Jitter*(2*chance-1)), math.MaxInt64/2))
}

// Var is one environment variable.
type Var struct{ Name, Value string }

// Files is a declaration of inputs or outputs. Patterns are slash-separated doublestar globs relative to the
// workspace; one that ends in a slash names a directory as a whole.
type Files struct {
	Patterns []string
	Steps    []int // for inputs: steps whose outputs belong to it, whatever they are
}

// Task is a task of the program.
type Task struct {
	Name  string
	Fixed bool // all that it may ever write is in Plan.Outputs: it declares outputs, which hang neither on arguments nor on results
}

// Output is a declared output of a task of the program.
type Output struct {
	Pattern string
	Task    string
}

// Cache is a directory kept between runs, exported to the step under Env.
type Cache struct{ Env, Name string }

// Allow lists the capabilities that a step declares.
type Allow struct {
	Network  bool
	ReadOnly []string // absolute paths, or relative to the workspace
	Write    []string
	Env      []string // variables taken from the caller's environment
	// Containers gives the sockets of container engines. Who has one can do all that the engine can: it is not contained.
	Containers bool
}

// Scope bounds what a collapse may touch. Both lists hold globs; an empty Include means everything.
type Scope struct {
	Include, Exclude []string
	Range            diag.Range
}

// Check is a condition that is evaluated while the plan runs.
type Check struct {
	Name  string // of the success criterion; "" for a step's when
	Text  string // as it was written
	Range diag.Range
	// Test reports whether the condition holds in a view; values says with which values it was decided
	// ("it is 23118336"). It may be called from any goroutine.
	Test func(View) (ok bool, values string, err error)
}

// View is what a [Check] may look at.
type View struct {
	FS       fs.FS
	Digest   func(path string) (string, error) // BLAKE3 of a file, hex
	LookPath func(name string) (string, bool)
	Env      func(name string) (string, bool)
}

// Excluded is a ground method that was tried and failed, or, where no method led to the step, the step itself.
type Excluded struct {
	Node   Node
	Step   string // the step that failed
	Reason string // "exit 1"
	Key    string // identifies the ground method to the planner
}
