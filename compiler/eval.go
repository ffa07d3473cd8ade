package compiler

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// env are the values that an expression may refer to besides var and local, by root: param, each, self, task, …
type env map[string]cty.Value

func (v env) with(root string, value cty.Value) env {
	out := make(env, len(v)+1)
	for k, x := range v { // order: a map again
		out[k] = x
	}
	out[root] = value
	return out
}

// reading is one look at the workspace and the expression that took it.
type reading struct {
	kind, name string // of lang.Reading, or "glob" and the pattern
	at         diag.Range
}

// evaluator evaluates the expressions of a module over one view of the workspace. Locals are evaluated when they are
// first used. It collects what goes wrong; an expression that failed once is not tried again.
type evaluator struct {
	*findings
	locals map[string]*local
	root   *hcl.EvalContext
	bad    map[hcl.Expression]bool
	world  lang.World
}

// findings are what the evaluators of all modules of a program come upon.
type findings struct {
	refs  map[hcl.Expression]*refs
	at    []diag.Range // the expressions that are being evaluated, innermost last
	reads []reading
	diags diag.List
	// spelled are the files that were found and that no value spells as they are: by how a value does.
	spelled map[string]string
	hidden  *hidden
	unasked bool // there are probes that nobody has answered: what depends on them is unknown
}

func newFindings() *findings {
	return &findings{refs: map[hcl.Expression]*refs{}, spelled: map[string]string{}, hidden: &hidden{}}
}

type local struct {
	*lang.Local
	value cty.Value // NilVal: not evaluated yet
	open  bool      // being evaluated
	ok    bool
}

// refs is what an expression refers to, found once.
type refs struct {
	names  []string // the first two parts, sorted: "param.os", "local.x", "each.key", "task.a"
	calls  []string // functions, sorted: "file", "fact::installed"
	whole  []hcl.Traversal
	tables []string // facts whose rows are asked for: facts("installed")
}

func (r *refs) root(name string) bool {
	return slices.ContainsFunc(r.names, func(n string) bool { return n == name || strings.HasPrefix(n, name+".") })
}

func (r *refs) facts() (out []string) {
	for _, c := range r.calls {
		if rel, ok := strings.CutPrefix(c, "fact::"); ok {
			out = append(out, rel)
		}
	}
	return out
}

// newEvaluator sees w, reports readings to w.Read and notes them. With typesOnly nothing is read and what reading
// functions return is unknown.
func (u *universe) newEvaluator(w lang.World, typesOnly bool, f *findings) *evaluator {
	e := &evaluator{findings: f, locals: make(map[string]*local, len(u.module.Locals)), bad: map[hcl.Expression]bool{}}
	for _, l := range u.module.Locals {
		e.locals[l.Name] = &local{Local: l}
	}
	told := w.Read
	w.Read = func(r lang.Reading) {
		if told != nil {
			told(r)
		}
		e.note(r.Kind, r.Name)
	}
	w.Found = e.found
	e.world = w
	functions := lang.Functions(w)
	if typesOnly {
		for _, name := range readers {
			functions[name] = function.Unpredictable(functions[name])
		}
	} else {
		functions["fileset"] = watched(functions["fileset"], func(args []cty.Value) {
			if p := args[len(args)-1]; p.IsKnown() && !p.IsNull() {
				e.note("glob", p.AsString())
			}
		})
	}
	functions["facts"] = u.factsFunction()
	for name, r := range u.relations { // order: a map again
		functions["fact::"+name] = r.function()
	}
	e.root = &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"var": u.vars, "secret": u.secrets}}
	return e
}

// readers are the functions whose result depends on the workspace.
var readers = []string{"env", "executable", "file", "fileexists", "filehash", "fileset", "filesize"}

// watched is f, telling note of the arguments it is called with.
func watched(f function.Function, note func([]cty.Value)) function.Function {
	return function.New(&function.Spec{
		Description: f.Description(), Params: f.Params(), VarParam: f.VarParam(), Type: f.ReturnTypeForValues,
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			note(args)
			return f.Call(args)
		},
	})
}

func (e *evaluator) note(kind, name string) {
	r := reading{kind: kind, name: name}
	if n := len(e.at); n > 0 {
		r.at = e.at[n-1]
	}
	e.reads = append(e.reads, r)
}

func (e *evaluator) fail(code string, at diag.Range, summary, detail string) {
	e.diags = append(e.diags, diag.Diagnostic{Code: code, Subject: at, Summary: summary, Detail: detail})
}

func (e *evaluator) unsupported(at diag.Range, what string) {
	e.fail(CodeUnsupported, at, "not supported by this version: "+what, "Remove it, or use a version of jitos that has it.")
}

// refer finds what x refers to.
func (e *evaluator) refer(x hcl.Expression) *refs {
	if r := e.refs[x]; r != nil {
		return r
	}
	r := &refs{}
	if t, ok := x.(*hclsyntax.TemplateExpr); ok && t.IsStringLiteral() {
		e.refs[x] = r
		return r
	}
	r.add(x)
	slices.Sort(r.names)
	slices.Sort(r.calls)
	r.names, r.calls = slices.Compact(r.names), slices.Compact(r.calls)
	e.refs[x] = r
	return r
}

// add appends what x refers to. hcl's own walk does all of it, at some cost for each expression: most are of a few kinds.
func (r *refs) add(x hcl.Expression) {
	switch x := x.(type) {
	case *hclsyntax.LiteralValueExpr:
	case *hclsyntax.ScopeTraversalExpr:
		r.traversal(x.Traversal)
	case *hclsyntax.TemplateExpr:
		for _, p := range x.Parts {
			r.add(p)
		}
	case *hclsyntax.TemplateWrapExpr:
		r.add(x.Wrapped)
	case *hclsyntax.TupleConsExpr:
		for _, e := range x.Exprs {
			r.add(e)
		}
	case *hclsyntax.ObjectConsExpr:
		for _, item := range x.Items {
			if k, ok := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); !ok {
				r.add(item.KeyExpr)
			} else if k.ForceNonLiteral || hcl.ExprAsKeyword(k.Wrapped) == "" {
				r.add(k.Wrapped)
			}
			r.add(item.ValueExpr)
		}
	default:
		for _, t := range x.Variables() {
			r.traversal(t)
		}
		for _, c := range callsIn(x) {
			r.calls = append(r.calls, c.Name)
			if name, ok := table(c); ok {
				r.tables = append(r.tables, name)
			}
		}
	}
}

func (r *refs) traversal(t hcl.Traversal) {
	name := t.RootName()
	if len(t) > 1 {
		if attr, ok := t[1].(hcl.TraverseAttr); ok {
			name += "." + attr.Name
		}
	}
	r.names, r.whole = append(r.names, name), append(r.whole, t)
}

// table is the fact whose rows a call asks for.
func table(c *hclsyntax.FunctionCallExpr) (string, bool) {
	if c.Name != "facts" || len(c.Args) != 1 {
		return "", false
	}
	v, ds := c.Args[0].Value(nil)
	if ds.HasErrors() || v.Type() != cty.String || !v.IsKnown() || v.IsNull() {
		return "", false
	}
	return v.AsString(), true
}

func callsIn(x hcl.Expression) (out []*hclsyntax.FunctionCallExpr) {
	node, ok := x.(hclsyntax.Node)
	if !ok {
		return nil
	}
	hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		if c, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			out = append(out, c)
		}
		return nil
	})
	return out
}

// deep calls visit with x and with the expressions of all locals that it uses, directly or through others.
func (e *evaluator) deep(x hcl.Expression, visit func(*refs)) {
	seen := map[string]bool{}
	var walk func(hcl.Expression)
	walk = func(x hcl.Expression) {
		r := e.refer(x)
		visit(r)
		for _, n := range r.names {
			name, ok := strings.CutPrefix(n, "local.")
			if l := e.locals[name]; ok && l != nil && !seen[name] {
				seen[name] = true
				walk(l.Expr)
			}
		}
	}
	walk(x)
}

// readsWorld reports whether the value of x depends on the workspace.
func (e *evaluator) readsWorld(x hcl.Expression) (reads bool) {
	e.deep(x, func(r *refs) {
		reads = reads || slices.ContainsFunc(r.calls, func(c string) bool { return slices.Contains(readers, c) })
	})
	return reads
}

// value evaluates x. ok is false when it has none; what was wrong is in e.diags then.
func (e *evaluator) value(x hcl.Expression, in env) (v cty.Value, ok bool) {
	if e.bad[x] {
		return cty.DynamicVal, false
	}
	e.at = append(e.at, place(x))
	defer func() {
		e.at = e.at[:len(e.at)-1]
		if !ok {
			e.bad[x] = true
		}
	}()
	r := e.refer(x)
	ctx := e.root
	if len(r.names) > 0 {
		ctx = e.root.NewChild()
		ctx.Variables = in
	}
	var locals map[string]cty.Value
	for _, n := range r.names {
		if name, isLocal := strings.CutPrefix(n, "local."); isLocal {
			v, ok := e.local(name)
			if !ok {
				return cty.DynamicVal, false
			}
			if locals == nil {
				locals = map[string]cty.Value{}
			}
			locals[name] = v
		}
	}
	if locals != nil {
		ctx.Variables = in.with("local", cty.ObjectVal(locals))
	}
	v, ds := x.Value(ctx)
	if r.root("task") {
		for _, d := range ds {
			d.EvalContext = nil // a task is no value that could be shown
		}
	}
	if e.hidden.any && secretsOf(v) != nil {
		e.hidden.derived(x, ctx)
	}
	e.diags = append(e.diags, lang.FromHCL(ds, lang.CodeEvaluation)...)
	return v, !ds.HasErrors()
}

func (e *evaluator) local(name string) (cty.Value, bool) {
	l := e.locals[name]
	if l == nil || l.open { // reported when names were resolved
		return cty.DynamicVal, false
	}
	if l.value == cty.NilVal {
		l.open = true
		l.value, l.ok = e.value(l.Expr, nil)
		l.open = false
	}
	return l.value, l.ok
}

// as evaluates x and converts it to ty. A nil x is null.
func (e *evaluator) as(x hcl.Expression, in env, ty cty.Type) (cty.Value, bool) {
	if x == nil {
		return cty.NullVal(ty), true
	}
	v, ok := e.value(x, in)
	if !ok {
		return v, false
	}
	return e.convert(v, ty, x)
}

func (e *evaluator) convert(v cty.Value, ty cty.Type, x hcl.Expression) (cty.Value, bool) {
	if ty.IsPrimitiveType() && v.Type() == ty && !v.IsMarked() { // types of objects cannot be compared by ==
		return v, true
	}
	v, _ = v.UnmarkDeep()
	out, err := convert.Convert(v, ty)
	if err != nil {
		e.bad[x] = true
		e.fail(lang.CodeEvaluation, place(x), wrongType, sentence(err.Error()))
		return cty.DynamicVal, false
	}
	return out, true
}

const wrongType = "wrong type of value"

// text is x as a string; known is false when it cannot be known yet, or when there is none.
func (e *evaluator) text(x hcl.Expression, in env) (s string, known bool) {
	v, ok := e.as(x, in, cty.String)
	if !ok || x == nil || !v.IsKnown() {
		return "", false
	}
	if v.IsNull() {
		e.fail(lang.CodeEvaluation, place(x), "the value is null", "A string is needed here.")
		return "", false
	}
	return v.AsString(), true
}

// list is x as strings; known is false when they cannot be known yet, or when there are none.
func (e *evaluator) list(x hcl.Expression, in env) (list []string, known bool) {
	if x == nil {
		return nil, false
	}
	v, ok := e.value(x, in)
	if !ok || !v.IsWhollyKnown() && !v.Type().IsPrimitiveType() {
		return nil, false
	}
	list, err := stringsOf(v)
	if err != nil {
		e.bad[x] = true
		e.fail(lang.CodeEvaluation, place(x), "wrong type of value", sentence(err.Error()))
		return nil, false
	}
	return list, true
}

// flag is x as a condition that is not about facts. An unknown one counts as true.
func (e *evaluator) flag(x hcl.Expression, in env) (holds, ok bool) {
	v, ok := e.as(x, in, cty.Bool)
	if !ok {
		return false, false
	}
	if v.IsNull() {
		e.fail(lang.CodeEvaluation, place(x), "the value is null", "A condition is true or false.")
		return false, false
	}
	return !v.IsKnown() || v.True(), true
}

// place is where x is written.
func place(x hcl.Expression) diag.Range { return lang.RangeOf(x.Range()) }

// sentence is an error's text as a detail.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

// item is the range of the i-th element of x where it is written as a list, else that of x.
func item(x hcl.Expression, i int) diag.Range {
	if t, ok := x.(*hclsyntax.TupleConsExpr); ok && i < len(t.Exprs) {
		return lang.RangeOf(t.Exprs[i].Range())
	}
	return place(x)
}

// because tells with which values a condition was decided: "it is 23118336", "2 <= 1", `param.os is "plan9"`.
func (e *evaluator) because(x hcl.Expression, in env) string {
	for {
		p, ok := x.(*hclsyntax.ParenthesesExpr)
		if !ok {
			break
		}
		x = p.Expression
	}
	var parts []string
	say := func(x hcl.Expression) {
		for _, t := range x.Variables() {
			v, ok := e.quiet(&hclsyntax.ScopeTraversalExpr{Traversal: t}, in)
			if part := written(t) + " is " + told(v); ok && !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	if op, ok := x.(*hclsyntax.BinaryOpExpr); ok && op.Op.Type == cty.Bool && op.Op != hclsyntax.OpLogicalAnd && op.Op != hclsyntax.OpLogicalOr {
		_, constant := op.RHS.(*hclsyntax.LiteralValueExpr)
		_, variable := op.LHS.(*hclsyntax.ScopeTraversalExpr)
		if v, ok := e.quiet(op.LHS, in); ok && !variable {
			parts = append(parts, "it is "+told(v))
		} else {
			say(op.LHS)
		}
		if !constant {
			say(op.RHS)
		}
	} else {
		say(x)
	}
	return strings.Join(parts, ", ")
}

// told is a value for people.
func told(v cty.Value) string {
	if from := secretsOf(v); from != nil {
		return from[0]
	}
	v, _ = v.UnmarkDeep()
	return text(v)
}

// quiet evaluates without leaving a trace of errors.
func (e *evaluator) quiet(x hcl.Expression, in env) (cty.Value, bool) {
	n, bad := len(e.diags), e.bad[x]
	v, ok := e.value(x, in)
	e.diags, e.bad[x] = e.diags[:n], bad
	return v, ok
}
