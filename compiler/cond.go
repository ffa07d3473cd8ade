package compiler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
)

// bare is x without parentheses and `"${…}"` around it.
func bare(x hcl.Expression) hcl.Expression {
	for {
		switch p := x.(type) {
		case *hclsyntax.ParenthesesExpr:
			x = p.Expression
		case *hclsyntax.TemplateWrapExpr:
			x = p.Wrapped
		default:
			return x
		}
	}
}

// conjuncts are the parts of x that are joined by &&.
func conjuncts(x hcl.Expression) []hcl.Expression {
	if x == nil {
		return nil
	}
	if op, ok := bare(x).(*hclsyntax.BinaryOpExpr); ok && op.Op == hclsyntax.OpLogicalAnd {
		return append(conjuncts(op.LHS), conjuncts(op.RHS)...)
	}
	return []hcl.Expression{x}
}

// conjuncts are those of a condition that is worth looking at.
func (b *build) conjuncts(x hcl.Expression) []hcl.Expression {
	if b.bad[x] {
		return nil
	}
	return slices.DeleteFunc(conjuncts(x), func(c hcl.Expression) bool { return b.bad[c] })
}

// factCall is x as fact::name(…), and the relation that it asks for.
func (b *build) factCall(x hcl.Expression) (*hclsyntax.FunctionCallExpr, *relation) {
	c, ok := bare(x).(*hclsyntax.FunctionCallExpr)
	if !ok || c.ExpandFinal {
		return nil, nil
	}
	name, ok := strings.CutPrefix(c.Name, "fact::")
	if !ok {
		return nil, nil
	}
	return c, b.u.relations[name]
}

// atom is x as a fact or the negation of one.
func (b *build) atom(x hcl.Expression) (c *hclsyntax.FunctionCallExpr, r *relation, negated bool) {
	x = bare(x)
	for {
		not, ok := x.(*hclsyntax.UnaryOpExpr)
		if !ok || not.Op != hclsyntax.OpLogicalNot {
			break
		}
		x, negated = bare(not.Val), !negated
	}
	c, r = b.factCall(x)
	return c, r, negated
}

// changing reports whether x asks for a fact that tasks change.
func (b *build) changing(x hcl.Expression) bool {
	return slices.ContainsFunc(b.refer(x).facts(), func(rel string) bool {
		r := b.u.relations[rel]
		return r != nil && !r.observed
	})
}

// atStart reports whether a conjunct of a task's `when` is for the moment at which its step starts, and not for the
// planner: it looks at files.
func (b *build) atStart(x hcl.Expression) bool {
	_, r, _ := b.atom(x)
	return r == nil && !b.bad[x] && b.readsWorld(x) && !b.changing(x)
}

// condition turns a condition into what the planner searches.
type condition struct {
	*build
	f     *frame
	fresh []string // variables made for computed arguments, each bound by a Holds
}

func (c *condition) all(list []hcl.Expression, positive bool) htn.Cond {
	var out htn.All
	for _, x := range list {
		switch n := c.cond(x, positive).(type) {
		case htn.True:
		case htn.All:
			out = append(out, n...)
		default:
			out = append(out, n)
		}
	}
	switch len(out) {
	case 0:
		return htn.True{}
	case 1:
		return out[0]
	}
	return out
}

// cond converts x. positive: x has to hold for the whole to hold, so that a fact in it can bind variables.
func (c *condition) cond(x hcl.Expression, positive bool) htn.Cond {
	if x == nil || c.bad[x] {
		return htn.True{}
	}
	x = bare(x)
	switch n := x.(type) {
	case *hclsyntax.BinaryOpExpr:
		switch n.Op {
		case hclsyntax.OpLogicalAnd:
			return c.all(conjuncts(n), positive)
		case hclsyntax.OpLogicalOr:
			return htn.Any{c.cond(n.LHS, false), c.cond(n.RHS, false)}
		case hclsyntax.OpEqual, hclsyntax.OpNotEqual:
			if eq, ok := c.equal(n); ok {
				return eq
			}
		}
	case *hclsyntax.UnaryOpExpr:
		if n.Op == hclsyntax.OpLogicalNot && len(c.refer(n.Val).facts()) > 0 {
			return htn.Not{Cond: c.cond(n.Val, false)}
		}
	case *hclsyntax.FunctionCallExpr:
		if call, r := c.factCall(n); r != nil {
			return c.holds(call, r, positive)
		}
	}
	return c.guard(x)
}

func (c *condition) holds(call *hclsyntax.FunctionCallExpr, r *relation, positive bool) htn.Cond {
	args := make([]hcl.Expression, len(call.Args))
	for i, a := range call.Args {
		args[i] = a
	}
	terms, extra := c.terms(args, r, positive)
	h := htn.Holds{Rel: r.Name, Args: terms, Text: c.u.source(call), Range: place(call)}
	if extra == nil {
		return h
	}
	return append(htn.All{h}, extra...)
}

// terms are the arguments of a fact. A computed one is a parameter of its own or, where binds, a fresh variable with a
// condition on it.
func (c *condition) terms(args []hcl.Expression, r *relation, binds bool) (out []htn.Term, extra []htn.Cond) {
	for i, x := range args {
		if i >= len(r.Columns) {
			break
		}
		t, ok := c.argument(x, c.f, r.Columns[i].Type)
		switch {
		case !ok:
			t = htn.C("")
		case t.Func == nil:
		case !slices.ContainsFunc(t.Func.Vars, func(v string) bool { return !strings.HasPrefix(v, "param.") }):
			t = c.derive(x, r.Columns[i].Type)
		case binds:
			name := fmt.Sprintf("$%d", len(c.fresh)+1)
			c.fresh = append(c.fresh, name)
			compute := *t.Func
			extra = append(extra, htn.Guard{
				Vars: append([]string{name}, compute.Vars...), Text: compute.Text, Range: place(x),
				Test: func(vals []htn.Value) (bool, string, error) {
					v, err := compute.Eval(vals[1:])
					return v == vals[0], "", err
				},
			})
			t = htn.V(name)
		default:
			c.fail(CodeUnsupported, place(x), "not supported by this version: a computed argument of a fact below ! or ||", "Give the value to the task as a parameter.")
			t = htn.C("")
		}
		out = append(out, t)
	}
	return out, extra
}

// derive is a parameter for a value that is computed from parameters.
func (c *condition) derive(x hcl.Expression, ty cty.Type) htn.Term {
	u := c.f.unit
	name := fmt.Sprintf("#%d", len(u.derived)+1)
	u.derived = append(u.derived, derived{name: name, expr: x, ty: ty})
	return htn.V(name)
}

// equal is == or != between a variable and a variable or constant of the same type.
func (c *condition) equal(n *hclsyntax.BinaryOpExpr) (htn.Cond, bool) {
	l, r := c.f.typeOf(n.LHS), c.f.typeOf(n.RHS)
	ty := l
	if ty == cty.NilType {
		ty = r
	}
	if ty == cty.NilType || !ty.IsPrimitiveType() || l != cty.NilType && r != cty.NilType && l != r {
		return nil, false
	}
	side := func(x hcl.Expression, own cty.Type) (htn.Term, bool) {
		if own != cty.NilType {
			return c.argument(x, c.f, ty)
		}
		if len(c.f.depends(c.refer(x))) > 0 || len(c.refer(x).facts()) > 0 {
			return htn.Term{}, false
		}
		v, ok := c.quiet(x, c.f.env)
		v, _ = v.UnmarkDeep()
		if !ok || v.IsNull() || !v.Type().Equals(ty) {
			return htn.Term{}, false
		}
		k, err := encode(v)
		return htn.C(k), err == nil
	}
	a, ok := side(n.LHS, l)
	if !ok {
		return nil, false
	}
	d, ok := side(n.RHS, r)
	if !ok {
		return nil, false
	}
	eq := htn.Cond(htn.Equal{A: a, B: d, Text: c.u.source(n)})
	if n.Op == hclsyntax.OpNotEqual {
		eq = htn.Not{Cond: eq}
	}
	return eq, true
}

// typeOf is the type of the variable that x is, NilType when it is none.
func (f *frame) typeOf(x hcl.Expression) cty.Type {
	if t, ok := bare(x).(*hclsyntax.ScopeTraversalExpr); ok && len(t.Traversal) == 2 {
		return f.lifted[written(t.Traversal)]
	}
	return cty.NilType
}

// guard is a condition that the planner cannot look into.
func (c *condition) guard(x hcl.Expression) htn.Cond {
	if c.changing(x) {
		c.bad[x] = true
		c.fail(CodeCondition, place(x), "facts that change can only be asked for on their own", "Join fact::NAME(…) to other conditions by &&, || and !, outside of functions and comparisons.")
		return htn.True{}
	}
	vars := c.f.depends(c.refer(x))
	g := htn.Guard{Vars: vars, Text: c.u.source(x), Range: place(x)}
	if len(vars) == 0 {
		holds, ok := c.flag(x, c.f.env)
		if !ok || holds {
			return htn.True{}
		}
		why := c.because(x, c.f.env)
		g.Test = func([]htn.Value) (bool, string, error) { return false, why, nil }
		return g
	}
	unknown, err := c.f.bind(nil, nil)
	if err != nil {
		return htn.True{}
	}
	if _, ok := c.flag(x, unknown); !ok {
		return htn.True{}
	}
	f, e := c.f, c.evaluator
	g.Test = func(vals []htn.Value) (holds bool, why string, err error) {
		in, err := f.bind(vars, vals)
		if err != nil {
			return false, "", err
		}
		err = e.try(func() {
			if holds, _ = e.flag(x, in); !holds {
				why = e.because(x, in)
			}
		})
		return holds, why, err
	}
	return g
}

// try runs what may fail and takes its errors out of the evaluator again.
func (e *evaluator) try(f func()) error {
	n := len(e.diags)
	f()
	failed := slices.Clone(e.diags[n:])
	e.diags = e.diags[:n]
	return failed.Err()
}

// argument is x as an argument of type ty: a constant, a variable, or computed from variables.
func (b *build) argument(x hcl.Expression, f *frame, ty cty.Type) (htn.Term, bool) {
	deps := f.depends(b.refer(x))
	if len(deps) == 0 {
		v, ok := b.constant(x, f.env, ty)
		if !ok {
			return htn.Term{}, false
		}
		k, err := encode(v)
		return htn.C(k), err == nil
	}
	if own := f.typeOf(x); own != cty.NilType && (own == ty || ty == cty.DynamicPseudoType) {
		return htn.V(deps[0]), true
	}
	unknown, err := f.bind(nil, nil)
	if err != nil {
		return htn.Term{}, false
	}
	if b.public(unknown, "an argument", x); b.bad[x] {
		return htn.Term{}, false
	}
	if _, ok := b.as(x, unknown, ty); !ok {
		return htn.Term{}, false
	}
	e := b.evaluator
	return htn.Term{Func: &htn.Func{Vars: deps, Text: b.u.source(x), Eval: func(vals []htn.Value) (k htn.Value, err error) {
		in, err := f.bind(deps, vals)
		if err != nil {
			return "", err
		}
		v := cty.NilVal
		if err := e.try(func() { v, _ = e.as(x, in, ty) }); err != nil {
			return "", err
		}
		return encode(v)
	}}}, true
}

// constant is x as a known value of type ty.
func (b *build) constant(x hcl.Expression, in env, ty cty.Type) (cty.Value, bool) {
	b.public(in, "an argument", x)
	v, ok := b.as(x, in, ty)
	if !ok || b.unanswered(v) {
		return v, false
	}
	if _, err := plain(v); err != nil {
		b.bad[x] = true
		b.fail(lang.CodeEvaluation, place(x), "not a value that can be given to a task", sentence(err.Error()))
		return v, false
	}
	return v, true
}

// rule makes the rewrite rule of a primitive unit, and what its `when` asks for beyond it.
func (b *build) rules(u *unit) {
	t := u.task
	c := &condition{build: b, f: u.frame}
	r := &warp.Rule{Name: u.name}
	var rest []hcl.Expression
	for _, x := range b.conjuncts(t.When) {
		call, rel, negated := b.atom(x)
		switch {
		case rel != nil:
			args := make([]hcl.Expression, len(call.Args))
			for i, a := range call.Args {
				args[i] = a
			}
			if negated {
				r.Not = append(r.Not, c.pattern(rel, args))
			} else {
				r.Match = append(r.Match, c.pattern(rel, args))
			}
		case b.atStart(x): // becomes a check of the step
		case b.readsWorld(x):
			b.bad[x] = true
			b.fail(CodeCondition, place(x), "a condition mixes files with facts that change", "The one is decided as the step starts, the other as it is planned. Join them by &&.")
		default:
			rest = append(rest, x)
		}
	}
	u.when = c.all(rest, false)
	if fx := t.Effects; fx != nil {
		for _, a := range fx.Retracts {
			if rel := b.effect(a); rel != nil {
				p := c.pattern(rel, a.Args)
				p.Optional = true
				r.Remove = append(r.Remove, p)
			}
		}
		for _, a := range fx.Asserts {
			if rel := b.effect(a); rel != nil {
				r.Add = append(r.Add, c.pattern(rel, a.Args))
			}
		}
	}
	r.Params = u.params()
	u.rule = r
}

// params are the parameters of the planner's task for u.
func (u *unit) params() (out []string) {
	switch {
	case u.wraps != nil:
		return u.wraps
	case u.lifted:
		for _, p := range u.task.params {
			out = append(out, "param."+p.Name)
		}
		for _, d := range u.derived {
			out = append(out, d.name)
		}
	}
	if u.traced() {
		out = append(out, way)
	}
	return out
}

func (c *condition) pattern(rel *relation, args []hcl.Expression) warp.NodePattern {
	terms, _ := c.terms(args, rel, false)
	out := make([]warp.Term, len(terms))
	for i, t := range terms {
		if t.Var != "" {
			out[i] = warp.Var(t.Var)
		} else {
			out[i] = warp.Raw(string(t.Const))
		}
	}
	return warp.FactPattern(rel.Name, out...)
}

// effect finds the relation of an effect. What is wrong with it was said when names were resolved.
func (b *build) effect(a *lang.Atom) *relation {
	r := b.u.relations[a.Fact]
	if r == nil || r.observed || len(a.Args) != len(r.Columns) {
		return nil
	}
	return r
}

// anyTypes finds the types of a method's free variables, by the facts in `when` that bind them.
func (b *build) anyTypes(m *lang.Method) map[string]cty.Type {
	out := map[string]cty.Type{}
	for _, x := range conjuncts(m.When) {
		call, rel := b.factCall(x)
		if rel == nil {
			continue
		}
		for i, a := range call.Args {
			t, ok := bare(a).(*hclsyntax.ScopeTraversalExpr)
			if !ok || i >= len(rel.Columns) || len(t.Traversal) != 2 || t.Traversal.RootName() != "any" {
				continue
			}
			name := written(t.Traversal)
			if _, bound := out[name]; !bound {
				out[name] = rel.Columns[i].Type
			}
		}
	}
	for _, v := range m.Any {
		if _, ok := out["any."+v.Name]; !ok {
			out["any."+v.Name] = cty.DynamicPseudoType
			b.bad[m.When] = true
			b.diags = append(b.diags, diag.Diagnostic{
				Code: CodeUnbound, Subject: v.Range, Summary: fmt.Sprintf("unbound variable any.%s", v.Name),
				Detail: fmt.Sprintf("A fact in `when` must bind it: fact::NAME(any.%s), joined by &&.", v.Name),
			})
		}
	}
	return out
}
