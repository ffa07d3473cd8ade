// Package htn finds plans: it decomposes tasks by methods until only primitive tasks are left whose rules can be
// applied one after the other, and tells which of these steps must wait for which.
//
// It knows facts, rules and tasks, and nothing of files, commands or the language they were written in. It is pure: no
// clock, no randomness, no order of maps; equal input gives equal candidates in equal order.
//
// Start reading at [Domain] (what is given), [Program.Plans] (the search) and [Candidate] (what comes out). The search
// itself is in search.go, how conditions are solved in solve.go, how a sequence becomes a DAG in deorder.go.
//
// # Semantics
//
// A plan is a sequence of primitive tasks, built from the front: the search takes a task that nothing unfinished is ordered before,
// applies its rule or replaces it by the steps of one of its methods, whose condition must hold in the facts at that
// moment. Of several tasks that could come next it first takes the one that has just become possible, else the one
// written first; methods in written order; bindings of free variables by ascending value. Needs are achieved where they
// are first asked for, in written order and once per plan.
//
// What could go on for ever or explode is put off. At first a task is not taken up again below itself while the facts are
// the same, and tasks that could be interleaved are achieved one after the other. What that leaves out is tried in later
// rounds; so is, when the written order has failed very often, a search that prefers methods with fewer steps. The
// rounds take turns by effort, not by time, and [NoPlanError] is only returned when nothing was left out.
//
// # Caveats
//
// Of more than 4,096 bindings of a method's variables only each 4,096 are in order. Candidates after the first leave out those that differ from an earlier one only by a detour through a situation that
// the search had already seen. A time limit is the context's: the package cannot look at a clock.
package htn

import (
	"fmt"

	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
)

// Value is a constant: its canonical CBOR bytes. Constants are equal when the strings are.
type Value string

// Term is a variable (Var is its name), computed from variables (Func) or, when both are empty, a constant. Variables are
// the parameters of the task and the free variables of the method that the term stands in.
type Term struct {
	Var   string
	Const Value
	Func  *Func
}

// Func computes an argument of a [Sub]; conditions and effects have none.
type Func struct {
	Vars []string
	Text string // as written
	// Eval must be a pure function. It is called with the values of Vars, in that order; an error ends the search.
	Eval func(vals []Value) (Value, error)
}

// V is the variable term name.
func V(name string) Term { return Term{Var: name} }

// C is the constant term v.
func C(v Value) Term { return Term{Const: v} }

// Cond is a condition: one of [True], [All], [Any], [Not], [Holds], [Equal], [Guard]. nil means True.
type Cond interface{ isCond() }

type (
	// True always holds.
	True struct{}
	// All holds when each of its conditions does; none: it holds.
	All []Cond
	// Any holds when one of its conditions does; none: it does not hold.
	Any []Cond
	// Not holds when Cond does not. It binds no variable: one that occurs only below Not is unbound.
	Not struct{ Cond Cond }
	// Holds asks for a fact. Outside Not it binds its variables.
	Holds struct {
		Rel   string
		Args  []Term
		Text  string     // as written, for "why not"; empty: made from Rel and Args
		Range diag.Range // where it is written; may be zero
	}
	// Equal compares two terms. It binds no variable.
	Equal struct {
		A, B Term
		Text string
	}
	// Guard is any other condition: Test is called once all of Vars are bound, with their values in that order. It must
	// be a pure function. why says what made it false, in values ("2 <= 1"); an error ends the search.
	Guard struct {
		Vars  []string
		Text  string
		Range diag.Range
		Test  func(vals []Value) (ok bool, why string, err error)
	}
)

func (True) isCond()  {}
func (All) isCond()   {}
func (Any) isCond()   {}
func (Not) isCond()   {}
func (Holds) isCond() {}
func (Equal) isCond() {}
func (Guard) isCond() {}

// Domain is what can be done. The order of Tasks only matters for messages.
type Domain struct{ Tasks []Task }

// Task is primitive when Operator is set, compound when it has Methods, and otherwise a group: it is achieved when its
// Needs are.
type Task struct {
	Name     string // unique
	Params   []string
	Needs    []Sub      // shared: each ground (task, args) is achieved once per plan, before the first step of whoever needs it
	Operator *warp.Rule // primitive: its parameters are Params; its fact patterns are precondition and effects
	Open     bool       // primitive: what it will do is not known yet, so that what comes after it is in no candidate
	When     Cond       // primitive: what must hold besides the operator's patterns
	Methods  []Method   // compound: tried in this order
	Cost     float64    // primitive: of one step, >= 0
	Range    diag.Range
}

// Method is one way to achieve a compound task. Its variables are the task's Params and Vars.
type Method struct {
	Name  string   // unique within the task
	Vars  []string // free variables: each must be bound by a Holds of When
	When  Cond
	Cost  float64 // >= 0, added once when the method is used
	Steps []Sub
	Order [][2]int // {i, j}: Steps[i] before Steps[j]; acyclic. See [Sequence] for the usual case
	Range diag.Range
}

// Sequence is the Order of n steps one after the other.
func Sequence(n int) [][2]int {
	var out [][2]int
	for i := 1; i < n; i++ {
		out = append(out, [2]int{i - 1, i})
	}
	return out
}

// Sub is an occurrence of a task: a step of a method, a need or a goal. Name tells occurrences of one method apart.
type Sub struct {
	Name string
	Task string
	Args []Term // one for each of the task's Params
}

// Problem is one question to a [Program].
type Problem struct {
	Facts     warp.Graph // its nodes of kind "fact" are what holds at the start; everything else in it is ignored
	Goal      []Sub      // args are constants
	Unordered bool       // the goals may be achieved in any order, also interleaved; else one after the other
	Done      []Sub      // needs that are achieved; args are constants
	Exclude   []Exclusion
	Limits    Limits
	Prefer    Preference
	Duration  func(task string) float64 // for Fastest: how long a step of a primitive task lasts; a pure function
}

// Preference says which candidate comes first.
type Preference uint8

const (
	Written  Preference = iota // what a reader of the domain expects: methods in written order
	Cheapest                   // the least cost, and then ascending; of equal ones the one written first
	Fastest                    // the shortest critical path by Duration that a bounded search finds; ascending among those
)

// Exclusion forbids what has failed. With a Method it is that method for the ground task; without, it is the
// ground primitive task as a step, wherever it occurs.
type Exclusion struct {
	Task   string
	Args   []Value
	Method string
	Bind   []Bound // with a Method: only this binding of its Vars; nil: every binding
	Reason string  // shown in "why not"
}

// Limits end a search with a [LimitError]. Zero means the default.
type Limits struct {
	Nodes int // decompositions and steps tried; default 2,000,000
	Depth int // decompositions and steps in one plan; default 2,000,000
	Bytes int // estimated memory of the search; default 4 GiB
}

// Bound is a variable with its value.
type Bound struct {
	Var   string
	Value Value
}

// Candidate is one way to reach the goal.
type Candidate struct {
	Steps []Step // in an order in which they can be executed one after the other
	Tree  []Node // parents before children, needs before who needs them; roots have Parent -1
	Cost  float64
	Reads *Reads // what it follows from; nil: not known
}

// Node is an achieved task in the decomposition tree.
type Node struct {
	Parent int    // index in Tree; -1: a goal, or shared
	Sub    string // name of the step of the parent's method, or of the goal; empty when shared
	Task   string
	Args   []Value
	Method string  // name; empty for primitive tasks and groups
	Bind   []Bound // of the method's Vars, in their order
	Step   int     // primitive: index in Steps; else -1
	Shared bool    // achieved because needed
	Needs  []int   // nodes of what its task needs, in the order of Task.Needs
	// Against is what stands against the methods, and bindings, that were tried before this one.
	Against []Objection
}

// Step is an application of a primitive task's rule.
type Step struct {
	Task  string
	Args  []Value
	Node  int     // index in Tree
	Bind  []Bound // all variables of the rule: Params first, then what its patterns bound
	After []Edge  // what it must wait for, ascending; nothing that follows from the others where that is cheap to see
}

// Edge says that a step comes after Step, an index lower than its own.
type Edge struct {
	Step   int
	Why    Reason
	Detail string // the fact for ReasonFact and ReasonThreat; else the method or task that orders them
}

// Reason is why two steps are ordered.
type Reason string

const (
	ReasonOrder  Reason = "order"  // a method, or the goal, says so
	ReasonNeeds  Reason = "needs"  // the later one needs the earlier
	ReasonFact   Reason = "fact"   // the earlier one brings about what the later one's condition asks for
	ReasonThreat Reason = "threat" // the later one would undo what the earlier one's condition asks for, or its effect
)

// NoPlanError says that there is no plan, and why.
type NoPlanError struct{ Why Refusal }

// Refusal is why a task could not be achieved: for a primitive task what stood against it, for a compound one what stood
// against each method.
type Refusal struct {
	Task    string
	Args    []Value
	Range   diag.Range
	Against []Objection
}

// Objection is what stands against one method (or, with an empty Method, against the task itself): exactly one of Cond, Reason and Below is set.
type Objection struct {
	Method string
	Range  diag.Range
	Bind   []Bound  // the variables bound when it failed
	Cond   string   // the condition that did not hold, with its values
	Reason string   // excluded, a cycle of needs, nothing new to try, …
	Below  *Refusal // the step that could not be planned
}

// LimitError says which limit ended the search, and how far it got.
type LimitError struct {
	Limit string // "nodes", "depth", "bytes" or "time"
	Max   int    // 0 for time
	Nodes int    // tried so far
	Depth int    // of the plan at that moment
	Err   error  // for time: the context's cause
}

func (e *LimitError) Error() string {
	if e.Limit == "time" {
		return fmt.Sprintf("planning stopped after %d search nodes, at depth %d: %v", e.Nodes, e.Depth, e.Err)
	}
	return fmt.Sprintf("planning reached its limit of %d %s after %d search nodes, at depth %d", e.Max, e.Limit, e.Nodes, e.Depth)
}

func (e *LimitError) Unwrap() error { return e.Err }

// DomainError is a domain or problem that makes no sense, such as a task that does not exist. Package compiler finds these first, with
// their source lines.
type DomainError struct{ Task, Method, Problem string }

func (e *DomainError) Error() string {
	switch {
	case e.Task == "":
		return "planning problem: " + e.Problem
	case e.Method == "":
		return fmt.Sprintf("task %q: %s", e.Task, e.Problem)
	default:
		return fmt.Sprintf("task %q, method %q: %s", e.Task, e.Method, e.Problem)
	}
}
