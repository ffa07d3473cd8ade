package lsp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/flyingrobots/jitos/lang"
)

// hover describes what stands at a position.
func (s *server) hover(p positionParams) (any, error) {
	w, file, t, ok := s.look(p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	if x, in, at, ok := w.mentionAt(file, t, p.Position); ok {
		if d := s.about(w, x, in); d != (description{}) {
			return hover{markdown(d.markdown()), at}, nil
		}
	}
	at, i := t.seen(p.Position)
	part := t.parts[i]
	body := w.current.body(file, i)
	if doc, r := describeSyntax(s.schema, body, at-part.at); doc != "" {
		return hover{markdown(doc), span{t.unseen(part.at + r.Start.Byte), t.unseen(part.at + r.End.Byte)}}, nil
	}
	return nil, nil
}

func (d description) markdown() string {
	if d.detail == "" {
		return d.text
	}
	return strings.TrimSpace("```hcl\n" + d.detail + "\n```\n\n" + d.text)
}

// describeSyntax is what the attribute or block whose name stands at a byte of a part is, and where the name stands.
func describeSyntax(schema *lang.Schema, body *hclsyntax.Body, at int) (doc string, where hcl.Range) {
	for body != nil && schema != nil {
		for _, a := range body.Attributes { // order: one of them is there
			if covers(a.NameRange, at) {
				if x := schema.Attr(a.Name); x != nil {
					doc = "`" + a.Name + "`: " + x.Doc
					if x.Takes != "" {
						doc += "\n\nTakes " + x.Takes + "."
					}
					return doc, a.NameRange
				}
			}
		}
		var next *hclsyntax.Block
		for _, b := range body.Blocks {
			if covers(b.Range(), at) || covers(b.TypeRange, at) {
				next = b
			}
		}
		if next == nil {
			return "", hcl.Range{}
		}
		if schema = schema.Block(next.Type); schema != nil && covers(next.TypeRange, at) {
			return "`" + next.Type + "`: " + schema.Doc, next.TypeRange
		}
		body = next.Body
	}
	return "", hcl.Range{}
}

// covers reports whether a byte is in r or directly behind it.
func covers(r hcl.Range, at int) bool { return r.Start.Byte <= at && at <= r.End.Byte }

// body is what was understood of a part.
func (a *analysis) body(file string, i int) *hclsyntax.Body {
	m := a.moduleOf(file)
	if m == nil {
		return nil
	}
	return m.Body(partName(file, i))
}

// mentionAt is the mention at a position, the module it stands in, and where it stands.
func (w *workspace) mentionAt(file string, t *text, p position) (*mention, *lang.Module, span, bool) {
	at, i := t.seen(p)
	m := w.current.moduleOf(file)
	if m == nil {
		return nil, nil, span{}, false
	}
	ms := w.mentionsIn(m.Body(partName(file, i)))
	at -= t.parts[i].at
	for j := range ms {
		x := &ms[j]
		if _, ok := x.symbolOf(m); ok && covers(x.at, at) {
			l, ok := w.location(x.at)
			return x, m, l.Range, ok
		}
	}
	return nil, nil, span{}, false
}

// about describes what a mention is about.
func (s *server) about(w *workspace, x *mention, in *lang.Module) description {
	sym, ok := x.symbolOf(in)
	if !ok {
		return description{}
	}
	if sym.kind == "function" {
		if i := slices.IndexFunc(s.functions, func(f lang.FunctionDoc) bool { return f.Name == sym.name }); i >= 0 {
			return description{s.functions[i].Call, aboutFunction(s.functions[i])}
		}
		return description{}
	}
	return s.declaration(sym)
}

// describe describes a name as it is written in an expression of m.
func (c *completer) describe(m *lang.Module, name string) description {
	if fact, ok := strings.CutPrefix(name, "fact::"); ok {
		return c.declaration(symbol{m, "fact", "", fact})
	}
	kind, rest, _ := strings.Cut(name, ".")
	sym := symbol{m, kind, "", rest}
	if alias, task, dotted := strings.Cut(rest, "."); dotted && kind == "task" {
		sym.module, sym.name = used(m, alias), task
	}
	if kind == "param" && len(c.path) > 0 && len(c.path[0].labels) > 0 {
		sym.owner = c.path[0].labels[0]
	}
	if sym.module == nil {
		return description{}
	}
	return c.declaration(sym)
}

// declaration describes what declares a symbol.
func (s *server) declaration(sym symbol) description {
	m := sym.module
	switch sym.kind {
	case "var":
		for _, v := range m.Variables {
			if v.Name == sym.name {
				return description{"var." + v.Name + typed(typeName(v.Type)) + initial(m, v.Default), v.Description}
			}
		}
	case "local":
		for _, l := range m.Locals {
			if l.Name == sym.name {
				return description{"local." + l.Name + initial(m, l.Expr), ""}
			}
		}
	case "param":
		for _, t := range m.Tasks {
			for _, p := range t.Params {
				if t.Name == sym.owner && p.Name == sym.name {
					return description{"param." + p.Name + typed(typeName(p.Type)) + initial(m, p.Default), p.Description}
				}
			}
		}
	case "task":
		for _, t := range m.Tasks {
			if t.Name == sym.name {
				return describeTask(m, t)
			}
		}
	case "fact":
		for _, f := range m.Facts {
			if f.Name == sym.name {
				var columns []string
				for _, c := range f.Columns {
					columns = append(columns, c.Name+typed(typeName(c.Type)))
				}
				return description{"fact::" + f.Name + "(" + strings.Join(columns, ", ") + ")", f.Description}
			}
		}
	case "slap":
		for _, x := range m.SLAPs {
			if x.Name == sym.name {
				intent := ""
				if x.Intent != nil {
					if text, ok := literal(x.Intent.(hclsyntax.Expression)); ok {
						intent = text
					}
				}
				return description{fmt.Sprintf("slap %q", x.Name), intent}
			}
		}
	case "pool":
		for _, x := range m.Pools {
			if x.Name == sym.name {
				return description{fmt.Sprintf("pool %q: %d", x.Name, x.Capacity), x.Description}
			}
		}
	case "secret":
		for _, x := range m.Secrets {
			if x.Name == sym.name {
				return description{fmt.Sprintf("secret %q from %s", x.Name, x.Env), x.Description}
			}
		}
	case "use":
		for _, u := range m.Uses {
			if u.Alias == sym.name {
				return description{fmt.Sprintf("use %q from %s", u.Alias, u.Source), ""}
			}
		}
	case "method":
		return description{fmt.Sprintf("method %q %q", sym.owner, sym.name), ""}
	case "any":
		return description{"any." + sym.name, "A free variable of the method; a fact in `when` binds it."}
	case "step":
		return description{"step." + sym.name, ""}
	}
	return description{}
}

func describeTask(m *lang.Module, t *lang.Task) description {
	var params, ways []string
	for _, p := range t.Params {
		params = append(params, p.Name+typed(typeName(p.Type))+initial(m, p.Default))
	}
	d := description{"task." + t.Name, t.Description}
	if len(params) > 0 {
		d.detail += "(" + strings.Join(params, ", ") + ")"
	}
	for _, x := range m.Methods {
		if x.Task.Name == t.Name {
			ways = append(ways, x.Name)
		}
	}
	if len(ways) > 0 {
		d.text = strings.TrimSpace(d.text + "\n\nMethods: " + strings.Join(ways, ", ") + ".")
	}
	return d
}

func typed(t string) string {
	if t == "" {
		return ""
	}
	return ": " + t
}

// initial is an expression as it is written, if it is short.
func initial(m *lang.Module, x hcl.Expression) string {
	if x == nil {
		return ""
	}
	r := x.Range()
	src := m.Source(r.Filename)
	if r.End.Byte > len(src) || r.End.Byte <= r.Start.Byte {
		return ""
	}
	text, more, cut := strings.Cut(string(src[r.Start.Byte:r.End.Byte]), "\n")
	if cut && more != "" || len(text) > 120 {
		return " = …"
	}
	return " = " + text
}

func aboutFunction(f lang.FunctionDoc) string {
	return fmt.Sprintf("%s\n\n`%s` is `%s`", f.Doc, f.Example, f.Result)
}
