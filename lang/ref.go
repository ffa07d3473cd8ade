package lang

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang/diag"
)

// TaskRef is a reference to a task as it was written: `task.compile`, `task.page["a"]`, `task.alias.name`,
// `task.compile.result`. Whether the task exists is for the compiler to say.
type TaskRef struct {
	Use       string         // alias of a used module, "" for this one
	Name      string         // of the task
	NameRange diag.Range     // of Name alone
	Key       hcl.Expression // member of a for_each family; nil means the task, or all of its family
	Attr      string         // "result", "outputs", … after the task, or ""
	AttrRange diag.Range
	Range     diag.Range // of all of it
}

// String is the reference as it is written, with `[…]` for a key.
func (r TaskRef) String() string {
	s := "task." + r.Name
	if r.Use != "" {
		s = "task." + r.Use + "." + r.Name
	}
	if r.Key != nil {
		s += "[…]"
	}
	if r.Attr != "" {
		s += "." + r.Attr
	}
	return s
}

// Need is an element of `needs`: a task, with arguments where it was written as `{ task = task.x, with = { … } }`.
type Need struct {
	Task  TaskRef
	With  []*Attr // nil if there are none
	Range diag.Range
}

// TaskRef reads expr as a reference to a task. Anything else is a diagnostic, also one about a value.
func (m *Module) TaskRef(expr hcl.Expression) (*TaskRef, diag.List) {
	var traversal hcl.Traversal
	var key hcl.Expression
	var after hcl.Traversal // what follows a computed key
	switch e := expr.(type) {
	case *hclsyntax.ParenthesesExpr:
		return m.TaskRef(e.Expression)
	case *hclsyntax.ScopeTraversalExpr:
		traversal = e.Traversal
	case *hclsyntax.IndexExpr:
		if c, ok := e.Collection.(*hclsyntax.ScopeTraversalExpr); ok {
			traversal, key = c.Traversal, e.Key
		}
	case *hclsyntax.RelativeTraversalExpr:
		if i, ok := e.Source.(*hclsyntax.IndexExpr); ok {
			if c, ok := i.Collection.(*hclsyntax.ScopeTraversalExpr); ok {
				traversal, key, after = c.Traversal, i.Key, e.Traversal
			}
		}
	case *hclsyntax.ExprSyntaxError:
		return nil, nil // the parser has complained
	}
	at := RangeOf(expr.Range())
	if traversal == nil || traversal.RootName() != "task" {
		return nil, diag.List{m.notTask(expr, traversal, at)}
	}
	ref, rest := m.split(traversal, key == nil)
	if ref == nil {
		label := "write task.NAME"
		if len(traversal) > 1 { // a module without the task
			if a, ok := traversal[1].(hcl.TraverseAttr); ok {
				label = "write task." + a.Name + ".NAME"
			}
		}
		return nil, diag.List{{Code: CodeNotReference, Subject: at, Summary: "not a reference to a task", Label: label}}
	}
	ref.Range = at
	if key != nil {
		if len(rest) > 0 {
			return nil, diag.List{{Code: CodeNotReference, Subject: at, Summary: "not a reference to a task", Label: "write " + ref.String() + "[KEY]"}}
		}
		ref.Key, rest = key, after
	}
	ref.attr(rest)
	return ref, nil
}

// split takes the task, and its literal key if one may follow, from the front of t. It is nil if t names no task.
func (m *Module) split(t hcl.Traversal, withKey bool) (*TaskRef, hcl.Traversal) {
	name := func() (string, diag.Range, bool) {
		if len(t) == 0 {
			return "", diag.Range{}, false
		}
		a, ok := t[0].(hcl.TraverseAttr)
		if ok {
			t = t[1:]
		}
		// The range of a step includes its dot.
		r := RangeOf(a.SrcRange)
		if n := len(a.Name); r.End.Byte-r.Start.Byte > n && r.Start.Line == r.End.Line {
			r.Start = diag.Pos{Line: r.End.Line, Column: r.End.Column - n, Byte: r.End.Byte - n}
		}
		return a.Name, r, ok
	}
	t = t[1:]
	ref := &TaskRef{}
	var ok bool
	if ref.Name, ref.NameRange, ok = name(); !ok {
		return nil, nil
	}
	if slices.ContainsFunc(m.Uses, func(u *Use) bool { return u.Alias == ref.Name }) {
		ref.Use = ref.Name
		if ref.Name, ref.NameRange, ok = name(); !ok {
			return nil, nil
		}
	}
	if len(t) > 0 && withKey {
		if i, isKey := t[0].(hcl.TraverseIndex); isKey {
			ref.Key, t = hcl.StaticExpr(i.Key, i.SrcRange), t[1:]
		}
	}
	return ref, t
}

func (r *TaskRef) attr(rest hcl.Traversal) {
	if len(rest) == 0 {
		return
	}
	if a, ok := rest[0].(hcl.TraverseAttr); ok {
		r.Attr, r.AttrRange = a.Name, RangeOf(a.SrcRange)
	}
}

// notTask says what to write instead of something that is no reference to a task.
func (m *Module) notTask(expr hcl.Expression, t hcl.Traversal, at diag.Range) diag.Diagnostic {
	d := diag.Diagnostic{Code: CodeNotReference, Subject: at, Summary: "not a reference to a task", Label: "write task.NAME"}
	if s, ok := literalString(expr); ok && ValidName(s) {
		d.Label = "write task." + s + ", without quotes"
	} else if len(t) == 1 {
		d.Label = "write task." + t.RootName()
	} else if len(t) > 1 {
		if s, ok := diag.Suggest(t.RootName(), []string{"task"}); ok {
			d.Label = "did you mean " + s + "?"
		}
	}
	return d
}

// TaskRefs are all references to tasks within expr, in written order. A key that is computed is not seen: such a
// reference stands for its whole family.
func (m *Module) TaskRefs(expr hcl.Expression) []TaskRef {
	if expr == nil {
		return nil
	}
	var out []TaskRef
	for _, t := range expr.Variables() {
		if t.RootName() != "task" {
			continue
		}
		if ref, rest := m.split(t, true); ref != nil {
			ref.Range = RangeOf(t.SourceRange())
			ref.attr(rest)
			out = append(out, *ref)
		}
	}
	slices.SortStableFunc(out, func(a, b TaskRef) int { return a.Range.Start.Byte - b.Range.Start.Byte })
	return out
}

// Need reads an element of `needs`: a reference to a task, or an object of one and its arguments.
func (m *Module) Need(expr hcl.Expression) (*Need, diag.List) {
	if p, ok := expr.(*hclsyntax.ParenthesesExpr); ok {
		return m.Need(p.Expression)
	}
	out := &Need{Range: RangeOf(expr.Range())}
	obj, ok := expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		ref, diags := m.plainTaskRef(expr)
		if ref == nil {
			return nil, diags
		}
		out.Task = *ref
		return out, diags
	}
	d := &decoder{m: m}
	var ref *TaskRef
	given := false
	for _, a := range d.object("an element of needs", obj) {
		switch a.Name {
		case "task":
			given = true
			r, diags := m.plainTaskRef(a.Expr)
			ref, d.diags = r, append(d.diags, diags...)
		case "with":
			out.With = d.object("with", a.Expr)
		default:
			d.unknown(CodeUnknownAttribute, a.NameRange, fmt.Sprintf("unknown attribute %q in an element of needs", a.Name), a.Name, []string{"task", "with"}, "It takes")
		}
	}
	if !given {
		d.error(CodeMissing, out.Range, "an element of needs needs a task", "Write { task = task.NAME, with = { … } }.")
	}
	if ref == nil {
		return nil, d.diags
	}
	out.Task = *ref
	return out, d.diags
}

// plainTaskRef is a reference to a task itself, not to a part of it.
func (m *Module) plainTaskRef(expr hcl.Expression) (*TaskRef, diag.List) {
	ref, diags := m.TaskRef(expr)
	if ref == nil || ref.Attr == "" {
		return ref, diags
	}
	whole := *ref
	whole.Attr = ""
	return nil, diag.List{{
		Code: CodeNotReference, Subject: ref.AttrRange, Summary: fmt.Sprintf("%s is a value, not a task", ref), Label: "write " + whole.String(),
	}}
}

// taskRef is the attribute `task`, nil if it is absent or none.
func (b *body) taskRef() *TaskRef {
	a := b.find("task")
	b.askedRef("task", "a task", "task")
	if a == nil {
		return nil
	}
	ref, diags := b.d.m.plainTaskRef(a.Expr)
	b.d.diags = append(b.d.diags, diags...)
	return ref
}

// target is a reference to a slap or a task.
func (b *body) target(name string) *Target {
	a := b.find(name)
	b.askedRef(name, "a slap or a task", "slap", "task")
	if a == nil || broken(a.Expr) {
		return nil
	}
	at := RangeOf(a.Expr.Range())
	if t, ok := a.Expr.(*hclsyntax.ScopeTraversalExpr); ok {
		kind := t.Traversal.RootName()
		if ref, rest := b.d.m.split(t.Traversal, false); kind == "task" && ref != nil && len(rest) == 0 {
			return &Target{Kind: kind, Name: strings.TrimPrefix(ref.String(), "task."), Range: at}
		}
		if part, ok := t.Traversal[len(t.Traversal)-1].(hcl.TraverseAttr); ok && kind == "slap" && len(t.Traversal) == 2 {
			return &Target{Kind: kind, Name: part.Name, Range: at}
		}
	}
	d := diag.Diagnostic{Code: CodeNotReference, Subject: at, Summary: name + " takes a reference", Label: "write slap.NAME or task.NAME"}
	if s, ok := literalString(a.Expr); ok && ValidName(s) {
		d.Label = fmt.Sprintf("write slap.%s or task.%s, without quotes", s, s)
	}
	b.d.diags = append(b.d.diags, d)
	return nil
}

// references are the names of a list such as `[step.a, step.b]`.
func (b *body) references(name, root string) []*Name {
	a := b.find(name)
	b.askedRef(name, "a list of references", root)
	if a == nil || broken(a.Expr) {
		return nil
	}
	elements, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		b.d.error(CodeShape, RangeOf(a.Expr.Range()), fmt.Sprintf("%s takes a list of references", name), fmt.Sprintf("Write %s = [%s.NAME].", name, root))
		return nil
	}
	var out []*Name
	for _, e := range elements {
		if broken(e) {
			continue
		}
		t, diags := hcl.AbsTraversalForExpr(e)
		if !diags.HasErrors() && len(t) == 2 && t.RootName() == root {
			if part, ok := t[1].(hcl.TraverseAttr); ok {
				out = append(out, &Name{Name: part.Name, Range: RangeOf(e.Range())})
				continue
			}
		}
		d := diag.Diagnostic{Code: CodeNotReference, Subject: RangeOf(e.Range()), Summary: fmt.Sprintf("an element of %s takes a reference", name), Label: "write " + root + ".NAME"}
		if s, ok := literalString(e); ok && ValidName(s) {
			d.Label = fmt.Sprintf("write %s.%s, without quotes", root, s)
		} else if len(t) == 1 {
			d.Label = fmt.Sprintf("write %s.%s", root, t.RootName())
		}
		b.d.diags = append(b.d.diags, d)
	}
	return out
}

// literalString is the value of a string that is written out.
func literalString(expr hcl.Expression) (string, bool) {
	t, ok := expr.(*hclsyntax.TemplateExpr)
	if !ok || !t.IsStringLiteral() {
		return "", false
	}
	v, diags := t.Value(nil)
	if diags.HasErrors() || v.Type() != cty.String || !v.IsKnown() {
		return "", false
	}
	return strings.TrimSpace(v.AsString()), true
}

// writtenOut reports whether expr can be read as it stands: it is neither computed nor broken.
func writtenOut(expr hclsyntax.Expression) bool {
	switch expr.(type) {
	case *hclsyntax.ForExpr, *hclsyntax.ConditionalExpr, *hclsyntax.FunctionCallExpr, *hclsyntax.SplatExpr, *hclsyntax.ExprSyntaxError:
		return false
	}
	return true
}
