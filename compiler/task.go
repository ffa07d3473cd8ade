package compiler

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
)

// task is a declared task with what belongs to it. Its name is the whole one: "golang.test".
type task struct {
	*lang.Task
	home       *names // of the module that declares it
	params     []param
	paramNames []string
	methods    []*lang.Method
	keys       bool      // members are known
	members    []*member // one without a key where there is no for_each
	valued     bool      // its result or outputs are asked for
	traced     bool      // it can lead to a reference to a step: see result.go
	byKey      map[string]*member
}

type param struct {
	*lang.Param
	def cty.Value // NilVal: none
}

// member is a member of a family, or the task itself.
type member struct {
	task *task
	key  string
	each cty.Value // object of key and value; NilVal for the task itself
	name string    // `page["a"]`
}

// compound reports whether t is carried out by methods.
func (t *task) compound() bool { return len(t.methods) > 0 }

// required reports whether t cannot do without arguments.
func (t *task) required() bool {
	return slices.ContainsFunc(t.params, func(p param) bool { return p.def == cty.NilVal })
}

// unit is a task of the domain: a task or member with constant arguments, a member whose arguments are only known as
// the planner searches (lifted), a whole family, or a part of a slap.
type unit struct {
	name    string // unique; what the planner calls it
	task    *task  // nil for parts of slaps without a command
	member  *member
	args    []cty.Value // of the parameters; nil when lifted
	lifted  bool
	derived []derived // lifted: values computed from the arguments, parameters of their own
	depth   int       // how many calls with constant arguments led to it
	occurs  bool      // it is a step of a method, an occurrence of its own
	rng     diag.Range

	frame   *frame
	ground  *ground // constant arguments and primitive
	needs   []need
	rule    *warp.Rule
	when    htn.Cond
	methods []htn.Method
	calls   []*unit // steps of the methods
	cost    float64
	files   []string // outputs of a whole family or group are those of its needs

	// open are the steps without whose results it cannot be planned, by ID; behind: by their names in the method above.
	open   []string
	behind bool
	waits  []string // the same for its command
	wraps  []string // it stands for a step of a method that hangs on results: its parameters
}

// derived is a value that a condition or an effect computes from parameters.
type derived struct {
	name string
	expr hcl.Expression
	ty   cty.Type
}

// need is something a unit needs.
type need struct {
	unit *unit
	args []htn.Term
	path string // implied by this output; "" when written in needs
	weak bool   // the input that implied it is a pattern
	at   diag.Range
}

// frame is where an expression stands: the values it may use, and the variables that have none before the search.
type frame struct {
	env    env
	lifted map[string]cty.Type // by name as written: "param.os", "any.reg"
	unit   *unit
}

// depends are the variables without a value that r refers to, sorted.
func (f *frame) depends(r *refs) (out []string) {
	for _, n := range r.names {
		if _, ok := f.lifted[n]; ok {
			out = append(out, n)
		}
	}
	return out
}

// bind is the frame's env with values for some of its variables; the others are unknown.
func (f *frame) bind(names []string, vals []htn.Value) (env, error) {
	roots := map[string]map[string]cty.Value{"param": {}, "any": {}}
	for name, ty := range f.lifted { // order: maps again
		root, attr := split(name)
		roots[root][attr] = cty.UnknownVal(ty)
	}
	for i, name := range names {
		v, err := decode(vals[i], f.lifted[name])
		if err != nil {
			return nil, err
		}
		root, attr := split(name)
		roots[root][attr] = v
	}
	out := f.env
	for _, root := range []string{"any", "param"} {
		if len(roots[root]) > 0 {
			out = out.with(root, cty.ObjectVal(roots[root]))
		}
	}
	return out, nil
}

func split(name string) (root, attr string) {
	for i := range len(name) {
		if name[i] == '.' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

// taskType is the type of task.x in expressions.
var taskType = cty.Capsule("task", reflect.TypeFor[member]())

// familyMark marks the object of all members of a family, so that needing all of them is one need.
type familyMark struct{ *task }

// reference is an element of needs or inputs: a path or a task.
type reference struct {
	pattern string
	isTask  bool
	task    *task
	member  *member // nil: all members
	with    map[string]cty.Value
	at      diag.Range
	unit    string // name of the unit that it means, once it is needed
}

var errUnknown = errors.New("an element is not known")

// references takes the value of needs or inputs apart.
func references(v cty.Value, x hcl.Expression) (out []reference, err error) {
	v, _ = v.Unmark()
	switch {
	case !v.IsKnown():
		return nil, errUnknown
	case v.IsNull() || !v.CanIterateElements():
		return nil, fmt.Errorf("a list is needed")
	}
	i := 0
	for it := v.ElementIterator(); it.Next(); i++ {
		_, e := it.Element()
		if out, err = appendReference(out, e, item(x, i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func appendReference(out []reference, v cty.Value, at diag.Range) ([]reference, error) {
	family := (*task)(nil)
	v, marks := v.Unmark()
	for m := range marks { // order: a family's object has one mark
		if f, ok := m.(familyMark); ok {
			family = f.task
		}
	}
	ty := v.Type()
	switch {
	case !v.IsKnown():
		return nil, errUnknown
	case v.IsNull():
		return nil, fmt.Errorf("an element is null")
	case ty == taskType:
		m := v.EncapsulatedValue().(*member)
		return append(out, reference{isTask: true, task: m.task, member: m, at: at}), nil
	case ty == cty.String:
		return append(out, reference{pattern: v.AsString(), at: at}), nil
	case ty.IsObjectType() && family != nil && v.LengthInt() == len(family.members):
		return append(out, reference{isTask: true, task: family, at: at}), nil
	case ty.IsObjectType() && ty.HasAttribute("task") && ty.AttributeType("task") == taskType && !ty.HasAttribute("with"): // with its values
		return appendReference(out, v.GetAttr("task"), at)
	case ty.IsObjectType() && ty.HasAttribute("task") && (v.LengthInt() == 1 || v.LengthInt() == 2 && ty.HasAttribute("with")):
		n := len(out)
		out, err := appendReference(out, v.GetAttr("task"), at)
		if err != nil || v.LengthInt() == 1 {
			return out, err
		}
		with, _ := v.GetAttr("with").UnmarkDeep()
		if with.IsNull() || !with.Type().IsObjectType() && !with.Type().IsMapType() {
			return nil, fmt.Errorf("with is not an object of arguments")
		}
		for i := range out[n:] {
			out[n+i].with = with.AsValueMap()
		}
		return out, nil
	case v.CanIterateElements():
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			var err error
			if out, err = appendReference(out, e, at); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s is not a task", text(v))
}

// ground is a primitive task with constant arguments.
type ground struct {
	step    plan.Step   // without what only a plan knows: ID, Node, After, Steps of Inputs
	refs    []reference // tasks among the inputs
	whole   bool        // everything is known
	outputs []string
}
