package lang

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang/diag"
)

// Module is what the files of one directory declare, each kind in the order written (files in name order).
// It is checked for shape, not for meaning: references may name nothing and expressions may not evaluate.
// Where a declaration was wrong, the Module holds what could be understood of it.
//
// An absent [hcl.Expression] is nil, an absent block is a nil pointer.
type Module struct {
	Dir       string // as given to Load
	Settings  Settings
	Variables []*Variable
	Locals    []*Local
	Uses      []*Use
	Facts     []*Fact
	Tasks     []*Task
	Methods   []*Method
	SLAPs     []*SLAP
	Pools     []*Pool
	Workers   []*WorkerKind
	Secrets   []*Secret

	files   []string
	sources map[string][]byte
	bodies  map[string]*hclsyntax.Body
}

// Attr is `name = expression`, in a block or in an object.
type Attr struct {
	Name      string
	NameRange diag.Range
	Expr      hcl.Expression
}

// Name is a bare name where it was written.
type Name struct {
	Name  string
	Range diag.Range
}

// Settings are the merged `jitos` blocks. The zero value is what a module without one has.
type Settings struct {
	RequiredVersion string     // a constraint such as ">= 0.3", or ""
	VersionRange    diag.Range // of RequiredVersion
	Default         *Target
	Shell           []string // argv in front of a script; nil means sh -eu
	Ignore          []string // globs
	Strict          bool
	TraceReads      string // "first", "always", "never"; "" means first
	Range           diag.Range
}

// Target is a reference to a task or a slap: `slap.release`, `task.build`.
type Target struct {
	Kind  string // "task" or "slap"
	Name  string // with its alias if it is of a used module: "golang.test"
	Range diag.Range
}

// Variable is an input of the module, `var.NAME`.
type Variable struct {
	Name, Description string
	Type              cty.Type           // cty.DynamicPseudoType if none was given
	Defaults          *typeexpr.Defaults // of optional() attributes; nil if there are none
	Default           hcl.Expression     // refers to nothing; nil means that a value must be given
	Sensitive         bool
	Validations       []*Validation
	Range             diag.Range // of the header
}

// Validation is a condition on a variable's value and what to say when it does not hold.
type Validation struct {
	Condition    hcl.Expression
	ErrorMessage hcl.Expression // nil if absent
	Range        diag.Range
}

// Local is a named expression, `local.NAME`.
type Local struct {
	Name  string
	Expr  hcl.Expression
	Range diag.Range // of the name
}

// Use is another module under a name of our own: its tasks are `task.ALIAS.name`.
type Use struct {
	Alias       string
	Source      string // "std/go" or "./dir"
	SourceRange diag.Range
	Variables   []*Attr // sets its variables
	Module      *Module // nil if it could not be loaded, or was not: see [Parse]
	Range       diag.Range
}

// Fact is a relation. It is observed (From), probed (Probe) or, with neither, asserted by effects.
type Fact struct {
	Name, Description string
	Columns           []*Column // in written order, which is the order of arguments of fact::NAME
	From              hcl.Expression
	Probe             *Probe
	Keep              string // "run" (the default, also when absent), "fresh", "always"
	Range             diag.Range
}

// Column is an argument of a fact. Its type is string, number or bool.
type Column struct {
	Name  string
	Type  cty.Type
	Range diag.Range
}

// Probe asks a command for a fact.
type Probe struct {
	Run, Exec hcl.Expression // exactly one
	Parse     string         // "lines" (the default, also when absent) or "json"
	Inputs    hcl.Expression // absent: asked at each plan
	Allow     *Allow
	Range     diag.Range
}

// Task is an intent.
type Task struct {
	Name, Description string
	Params            []*Param

	Run, Exec hcl.Expression // a script, an argv; at most one of Run, Exec, Worker
	Worker    *Worker

	ForEach, When, Cost              hcl.Expression
	Needs                            hcl.Expression // a collection of needs: see [Module.Need]
	Inputs, Outputs, Reports         hcl.Expression
	Caches, Tools, Env, Dir, Stdin   hcl.Expression
	DepsFile, Result, Timeout        hcl.Expression
	Check, Compensate                hcl.Expression // scripts
	Uses                             []*Attr        // units by pool name; nil means none
	External, Interactive, IsService bool
	NoCache                          bool // cache = false

	Effects *Effects
	Allow   *Allow
	Retry   *Retry
	Ready   *Ready

	Range diag.Range // of the header
}

// Primitive reports whether t says itself how it is carried out.
func (t *Task) Primitive() bool { return t.Run != nil || t.Exec != nil || t.Worker != nil }

// Param is an argument of a task, `param.NAME`.
type Param struct {
	Name, Description string
	Type              cty.Type           // cty.DynamicPseudoType if none was given
	Defaults          *typeexpr.Defaults // of optional() attributes; nil if there are none
	Default           hcl.Expression     // nil means that a value must be given
	Range             diag.Range
}

// Worker is `worker "kind" { … }` in a task. The kind decides which settings there are.
type Worker struct {
	Kind     string
	Settings []*Attr
	Range    diag.Range
}

// Effects are the facts that a task makes true and untrue when it ran.
type Effects struct {
	Asserts, Retracts []*Atom
	Range             diag.Range
}

// Atom is `fact::NAME(args…)` where a fact is stated, not asked for.
type Atom struct {
	Fact      string
	NameRange diag.Range
	Args      []hcl.Expression
	Range     diag.Range
}

// Allow is what a command may do beyond the sandbox.
type Allow struct {
	Network    hcl.Expression // bool
	ReadPaths  hcl.Expression // paths = { ro = … }
	WritePaths hcl.Expression // paths = { rw = … }
	Env        hcl.Expression // names of variables
	Secrets    []*Name        // secret.NAME
	Ports      hcl.Expression
	Containers hcl.Expression // bool
	Range      diag.Range
}

// Retry says how often a failed step is tried again. Durations are strings such as "1.5s".
type Retry struct {
	Attempts, Backoff, MaxDelay, Jitter, OnExit hcl.Expression
	Range                                       diag.Range
}

// Ready says when a service is up: the command exits 0, or the port accepts connections.
type Ready struct {
	Run, Port, Interval, Timeout hcl.Expression // one of Run and Port
	Range                        diag.Range
}

// Method is one way to achieve a compound task.
type Method struct {
	Task      Name // as labelled: a task of this module
	Name      string
	NameRange diag.Range
	Any       []Name // free variables, any.NAME
	When      hcl.Expression
	Cost      hcl.Expression
	Parallel  bool
	Steps     []*Step
	Range     diag.Range
}

// Step is a task to be achieved by a method.
type Step struct {
	Name    string
	Task    *TaskRef // nil if it was not a reference
	With    []*Attr  // arguments
	ForEach hcl.Expression
	After   []Name // steps of the same method; nil: not given, empty: after nothing
	Range   diag.Range
}

// SLAP is what `apply` applies: goals with scope, constraints and success criteria.
type SLAP struct {
	Name        string
	Intent      hcl.Expression // a sentence; nil if absent
	Context     []*Attr
	Goals       []*Goal
	Assumes     []*Criterion // Condition only
	Constraints []*Criterion // Condition only
	Successes   []*Criterion
	Scope       *Scope
	Prefer      string // "order" (the default, also when absent), "cost", "duration"
	Speculate   int    // 0 if absent
	Collapse    string // "auto" (the default, also when absent), "ask", "hold"
	Range       diag.Range
}

// Goal is a task that a slap achieves.
type Goal struct {
	Task  *TaskRef // nil if it was not a reference
	With  []*Attr
	Range diag.Range
}

// Criterion is a named condition. Exactly one of Condition, Task and Run is there.
type Criterion struct {
	Name      string
	Condition hcl.Expression
	Task      *TaskRef
	With      []*Attr // arguments of Task
	Run       hcl.Expression
	Range     diag.Range
}

// Scope limits what a collapse may touch.
type Scope struct {
	Include, Exclude hcl.Expression // globs; no Include means everything
	Range            diag.Range
}

// Pool is a resource that steps hold while they run.
type Pool struct {
	Name, Description string
	Capacity          int // at least 1
	Range             diag.Range
}

// WorkerKind holds the module's settings of a worker kind.
type WorkerKind struct {
	Kind           string
	Settings       []*Attr
	CircuitBreaker *CircuitBreaker
	Range          diag.Range
}

// CircuitBreaker stops asking a worker that keeps failing.
type CircuitBreaker struct {
	Failures, Delay hcl.Expression // failures in a row, how long it then rests
	Range           diag.Range
}

// Secret is a value that no sink ever shows.
type Secret struct {
	Name, Description string
	Env               string // the variable it is read from
	Range             diag.Range
}

// Source returns the text of a file of the module, or of one that was loaded with it, as it was parsed; nil for any other.
func (m *Module) Source(file string) []byte { return m.sources[file] }

// Body returns what was understood of a file of the module as it was written, nil if nothing was. It must not be changed.
func (m *Module) Body(file string) *hclsyntax.Body { return m.bodies[file] }

// Files are the module's files in the order they were read.
func (m *Module) Files() []string { return m.files }

// All are m and the modules that it uses, directly or through others, each once, and after the one that uses it.
func (m *Module) All() []*Module {
	out := []*Module{m}
	for i := 0; i < len(out); i++ {
		for _, u := range out[i].Uses {
			if u.Module != nil && !slices.Contains(out, u.Module) {
				out = append(out, u.Module)
			}
		}
	}
	return out
}
