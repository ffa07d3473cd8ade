package compiler

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// Options are what a module is compiled with.
type Options struct {
	Vars    map[string]Given // by variable of the module
	Version string           // of this jitos, for required_version; "": it is not looked at
	World   lang.World       // the workspace as the plan starts
	// Answers are those of [Program.Probes], by fact. nil: what depends on them is unknown.
	Answers map[string]string
	// Secret reads a secret from the environment; nil: none has a value. It is not recorded what it gives.
	Secret func(env string) (value string, set bool)
	Open   bool // variables of the module that have no value are unknown instead of an error: nobody is to run it yet
	// Known is what package lang said about the module. It is not said again in other words, and with errors in it no plans
	// are made.
	Known diag.List
	// Scoped is told of every expression that may refer to something, with the names that it may refer to, as they are
	// written: "var.version", "task.compile", "fact::installed". nil: nobody wants to know.
	Scoped func(x hcl.Expression, names func() []string)
}

// Scopes tells o.Scoped what [Compile] would, and compiles no more than that takes.
func Scopes(m *lang.Module, o Options) { resolved(m, o) }

// Target is what can be applied.
type Target struct {
	Kind        string // "task" or "slap"
	Name        string
	Description string // of a slap: its intent
	Params      []Param
	Methods     []string // in the order they are tried
	Default     bool     // what an intent without a target means
	Range       diag.Range
}

// Param is an argument of a target.
type Param struct {
	Name        string
	Description string
	Type        string // as written in a workflow: "string", "list(number)"; "any" where none was given
	Default     string // as an HCL expression, without quotes for a string; "" if Required
	Required    bool
}

// Variable is a variable of the workspace's module.
type Variable struct {
	Name        string
	Description string
	Type        string // as in [Param]
	Default     string // as in [Param]; "" if Required
	Required    bool
	Sensitive   bool   // no value of it is told: it reads (sensitive)
	Value       string // as in [Param]; "" if it has none
	Range       diag.Range
}

// Intent is what is to be achieved.
type Intent struct {
	Target string            // name of a task, a family's member (`page["a"]`) or a slap; "" is the default one
	Args   map[string]string // of a task: like Options.Vars
	// Results are those of steps, by the step's ID, as far as they are known: a plan goes on where it had to wait for them.
	Results map[string]string
	// Past says how long the last step of each task took that has run. It is asked for a slap that prefers the shortest
	// duration; nil: nothing has run.
	Past func() (map[string]time.Duration, error)
}

// NoPlanError says that an intent is known but no candidate achieves it, and why.
type NoPlanError struct {
	Target string
	list   diag.List
}

// Diagnostics are the smallest tree of reasons, one for each way that was not possible.
func (e *NoPlanError) Diagnostics() diag.List { return e.list }

func (e *NoPlanError) Error() string { return (&diag.ListError{List: e.list}).Error() }

// RefusedError says that an assumption of a slap does not hold: nothing was planned.
type RefusedError struct {
	Target string
	list   diag.List
}

// Diagnostics has one entry for each assumption that does not hold.
func (e *RefusedError) Diagnostics() diag.List { return e.list }

func (e *RefusedError) Error() string { return (&diag.ListError{List: e.list}).Error() }
