package lsp

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// mention is a place where a name stands: where it is declared or where it is referred to.
type mention struct {
	kind  string // "task", "var", "local", "fact", "slap", "pool", "worker", "secret", "use", "method", "param", "any", "step", "function"
	owner string // of a param: the task; of a method: the task; of a step or an any: the task and the method
	name  string
	alias string // the used module that the name is declared in, "" for this one. Where there is no such module it is no mention
	at    hcl.Range
	block *hclsyntax.Block     // what declares it, nil where it is referred to
	attr  *hclsyntax.Attribute // what declares a local
}

func (m *mention) declares() bool { return m.block != nil || m.attr != nil }

// mentions are those of a part, in the order of the walk.
func mentions(body *hclsyntax.Body) []mention {
	x := &indexer{}
	for _, b := range body.Blocks {
		x.block(b)
	}
	return x.out
}

type indexer struct {
	task, method string // that the walk is in
	out          []mention
}

func (x *indexer) add(m mention) { x.out = append(x.out, m) }

// label is the name that a label holds, without its quotes.
func label(b *hclsyntax.Block, i int) (string, hcl.Range) {
	if i >= len(b.Labels) || i >= len(b.LabelRanges) {
		return "", hcl.Range{}
	}
	r := b.LabelRanges[i]
	if r.End.Byte-r.Start.Byte == len(b.Labels[i])+2 {
		r = inner(r)
	}
	return b.Labels[i], r
}

// inner is the range of what stands in quotes.
func inner(r hcl.Range) hcl.Range {
	r.Start.Byte++
	r.Start.Column++
	r.End.Byte--
	r.End.Column--
	return r
}

// declare adds the label of a block as a declaration.
func (x *indexer) declare(b *hclsyntax.Block, i int, kind, owner string) string {
	name, at := label(b, i)
	if name != "" {
		x.add(mention{kind: kind, owner: owner, name: name, at: at, block: b})
	}
	return name
}

// block is a block of the top level.
func (x *indexer) block(b *hclsyntax.Block) {
	x.task, x.method = "", ""
	switch b.Type {
	case "variable":
		x.declare(b, 0, "var", "")
	case "locals":
		for name, a := range b.Body.Attributes { // order: found by position
			x.add(mention{kind: "local", name: name, at: a.NameRange, attr: a})
		}
	case "fact", "slap", "pool", "worker", "secret":
		x.declare(b, 0, b.Type, "")
	case "use":
		alias := x.declare(b, 0, "use", "")
		for name, a := range b.Body.Attributes { // order: found by position
			if name != "source" {
				x.add(mention{kind: "var", name: name, alias: alias, at: a.NameRange})
			}
		}
	case "task":
		x.task = x.declare(b, 0, "task", "")
	case "method":
		name, at := label(b, 0)
		x.task = name
		if name != "" {
			x.add(mention{kind: "task", name: name, at: at})
		}
		x.method = x.declare(b, 1, "method", name)
		if a := b.Body.Attributes["any"]; a != nil {
			x.each(a.Expr, func(e hclsyntax.Expression) {
				if s, ok := literal(e); ok {
					x.add(mention{kind: "any", owner: x.inMethod(), name: s, at: inner(e.Range()), block: b})
				}
			})
		}
	}
	x.body(b)
}

func (x *indexer) inMethod() string { return x.task + " " + x.method }

// body is what stands in a block of any level.
func (x *indexer) body(b *hclsyntax.Block) {
	x.with(b.Body.Attributes["task"], b.Body.Attributes["with"])
	for name, a := range b.Body.Attributes { // order: found by position
		if name == "uses" {
			x.keys(a.Expr, func(name string, at hcl.Range) { x.add(mention{kind: "pool", name: name, at: at}) })
		}
		x.expr(a.Expr)
	}
	for _, c := range b.Body.Blocks {
		switch c.Type {
		case "param":
			x.declare(c, 0, "param", x.task)
		case "step":
			x.declare(c, 0, "step", x.inMethod())
		case "worker":
			if kind, at := label(c, 0); kind != "" {
				x.add(mention{kind: "worker", name: kind, at: at})
			}
		}
		x.body(c)
	}
}

// each visits the elements of a list that is written out.
func (x *indexer) each(e hclsyntax.Expression, visit func(hclsyntax.Expression)) {
	if t, ok := e.(*hclsyntax.TupleConsExpr); ok {
		for _, e := range t.Exprs {
			visit(e)
		}
	}
}

// keys visits the keys of an object that is written out.
func (x *indexer) keys(e hclsyntax.Expression, visit func(string, hcl.Range)) {
	o, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return
	}
	for _, item := range o.Items {
		at := item.KeyExpr.Range()
		name := hcl.ExprAsKeyword(item.KeyExpr)
		if k, isKey := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); isKey && name == "" {
			if name, ok = literal(k.Wrapped); ok {
				at = inner(at)
			}
		}
		if name != "" {
			visit(name, at)
		}
	}
}

// with are the arguments of a task.
func (x *indexer) with(task, with *hclsyntax.Attribute) {
	if task != nil && with != nil {
		x.arguments(task.Expr, with.Expr)
	}
}

func (x *indexer) arguments(task, with hclsyntax.Expression) {
	alias, name := taskName(task)
	if name != "" {
		x.keys(with, func(key string, at hcl.Range) {
			x.add(mention{kind: "param", owner: name, name: key, alias: alias, at: at})
		})
	}
}

// taskName is what task.name, task.name["key"] or task.alias.name names.
func taskName(e hclsyntax.Expression) (alias, name string) {
	if i, ok := e.(*hclsyntax.IndexExpr); ok {
		e = i.Collection
	}
	t, ok := e.(*hclsyntax.ScopeTraversalExpr)
	if !ok || t.Traversal.RootName() != "task" {
		return "", ""
	}
	var names []string
	for _, step := range t.Traversal[1:] {
		if a, ok := step.(hcl.TraverseAttr); ok {
			names = append(names, a.Name)
		}
	}
	return splitTask(names)
}

func splitTask(names []string) (alias, name string) {
	switch len(names) {
	case 0:
		return "", ""
	case 1:
		return "", names[0]
	}
	return names[0], names[1]
}

// literal is a string that is written out.
func literal(e hclsyntax.Expression) (string, bool) {
	t, ok := e.(*hclsyntax.TemplateExpr)
	if !ok || !t.IsStringLiteral() {
		return "", false
	}
	v, diags := t.Value(nil)
	if diags.HasErrors() || v.Type() != cty.String {
		return "", false
	}
	return v.AsString(), true
}

func (x *indexer) expr(e hclsyntax.Expression) {
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		switch n := n.(type) {
		case *hclsyntax.ScopeTraversalExpr:
			x.traversal(n.Traversal)
		case *hclsyntax.FunctionCallExpr:
			x.call(n)
		case *hclsyntax.ObjectConsExpr: // { task = …, with = … } among needs
			var task, with hclsyntax.Expression
			for _, item := range n.Items {
				switch hcl.ExprAsKeyword(item.KeyExpr) {
				case "task":
					task = item.ValueExpr
				case "with":
					with = item.ValueExpr
				}
			}
			if task != nil && with != nil {
				x.arguments(task, with)
			}
		}
		return nil
	})
}

func (x *indexer) call(c *hclsyntax.FunctionCallExpr) {
	if fact, ok := strings.CutPrefix(c.Name, "fact::"); ok {
		at := c.NameRange
		at.Start.Byte = at.End.Byte - len(fact)
		x.add(mention{kind: "fact", name: fact, at: at})
		return
	}
	x.add(mention{kind: "function", name: c.Name, at: c.NameRange})
	if c.Name == "facts" && len(c.Args) == 1 {
		if fact, ok := literal(c.Args[0]); ok {
			x.add(mention{kind: "fact", name: fact, at: inner(c.Args[0].Range())})
		}
	}
}

func (x *indexer) traversal(t hcl.Traversal) {
	if len(t) < 2 {
		return
	}
	first, ok := t[1].(hcl.TraverseAttr)
	if !ok {
		return
	}
	m := mention{kind: t.RootName(), name: first.Name, at: attrRange(first)}
	switch m.kind {
	case "var", "local", "slap", "secret":
		x.add(m)
	case "param":
		m.owner = x.task
		x.add(m)
	case "any", "step":
		m.owner = x.inMethod()
		x.add(m)
	case "task":
		x.add(m)
		if len(t) > 2 {
			if second, ok := t[2].(hcl.TraverseAttr); ok {
				x.add(mention{kind: "task", name: second.Name, alias: first.Name, at: attrRange(second)})
			}
		}
	}
}

// attrRange is the range of the name without its dot.
func attrRange(a hcl.TraverseAttr) hcl.Range {
	r := a.SrcRange
	r.Start.Byte = r.End.Byte - len(a.Name)
	return r
}
