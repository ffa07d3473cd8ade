package lsp

import (
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/flyingrobots/jitos/lang"
)

// definition is where the name at a position is declared.
func (s *server) definition(p positionParams) (any, error) {
	w, file, t, ok := s.look(p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	if x, in, _, ok := w.mentionAt(file, t, p.Position); ok {
		sym, _ := x.symbolOf(in)
		return some(w.find(sym, true, false)), nil
	}
	return some(w.source(file, t, p.Position)), nil
}

func some(l []location) []location {
	if l == nil {
		return []location{}
	}
	return l
}

// source is the first file of the module whose source is written at a position.
func (w *workspace) source(file string, t *text, p position) []location {
	m := w.current.moduleOf(file)
	if m == nil {
		return nil
	}
	at, i := t.seen(p)
	for _, u := range m.Uses {
		r := u.SourceRange
		if r.File != partName(file, i) || at-t.parts[i].at < r.Start.Byte || at-t.parts[i].at > r.End.Byte || u.Module == nil {
			continue
		}
		for _, f := range u.Module.Files() {
			if l, ok := w.location(hcl.Range{Filename: f}); ok {
				return []location{l}
			}
		}
	}
	return nil
}

// references are the places where the name at a position is mentioned.
func (s *server) references(p referenceParams) (any, error) {
	w, file, t, ok := s.look(p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	x, in, _, ok := w.mentionAt(file, t, p.Position)
	if !ok {
		return []location{}, nil
	}
	sym, _ := x.symbolOf(in)
	return some(w.find(sym, p.Context.IncludeDeclaration, true)), nil
}

// documentSymbols are the blocks of a document.
func (s *server) documentSymbols(p documentParams) (any, error) {
	w, file, t, ok := s.look(p.TextDocument.URI)
	if !ok {
		return nil, nil
	}
	out := []documentSymbol{}
	for i := range t.parts {
		if body := w.current.body(file, i); body != nil {
			for _, b := range body.Blocks {
				out = append(out, w.symbol(b)...)
			}
		}
	}
	return out, nil
}

// symbol is a block with what it declares. For locals, it is each of them.
func (w *workspace) symbol(b *hclsyntax.Block) (out []documentSymbol) {
	if b.Type == "locals" {
		for name, a := range b.Body.Attributes { // order: sorted below
			if at, ok := w.location(a.Range()); ok {
				of, _ := w.location(a.NameRange)
				out = append(out, documentSymbol{Name: name, Detail: "local", Kind: symbolConstant, Range: at.Range, SelectionRange: of.Range})
			}
		}
		slices.SortFunc(out, func(a, b documentSymbol) int { return a.Range.Start.Line - b.Range.Start.Line })
		return out
	}
	at, ok := w.location(closed(b))
	if !ok {
		return nil
	}
	of, _ := w.location(b.DefRange())
	one := documentSymbol{Name: strings.Join(b.Labels, " "), Detail: b.Type, Kind: symbolKindOf(b.Type), Range: at.Range, SelectionRange: of.Range}
	if one.Name == "" {
		one.Name, one.Detail = b.Type, ""
	}
	for _, c := range b.Body.Blocks {
		if len(c.Labels) > 0 {
			one.Children = append(one.Children, w.symbol(c)...)
		}
	}
	return append(out, one)
}

// closed is the range of a block, its header alone where it has no end.
func closed(b *hclsyntax.Block) hcl.Range {
	r, header := b.Range(), b.DefRange()
	if r.End.Byte < header.End.Byte {
		return header
	}
	return r
}

func symbolKindOf(block string) symbolKind {
	switch block {
	case "task":
		return symbolFunction
	case "method", "step":
		return symbolMethod
	case "slap":
		return symbolEvent
	case "variable", "param":
		return symbolVariable
	case "fact":
		return symbolClass
	case "use":
		return symbolModule
	case "secret":
		return symbolKey
	case "pool", "worker":
		return symbolObject
	case "jitos":
		return symbolNamespace
	default:
		return symbolProperty
	}
}

// workspaceSymbols are the declarations of all workspaces in the editor's folders whose names contain what is asked for.
func (s *server) workspaceSymbols(p struct{ Query string }) (any, error) {
	for _, folder := range s.folders {
		for _, dir := range workflowDirs(folder) {
			s.update(s.home(dir + "/x"))
		}
	}
	out := []workspaceSymbol{}
	for _, dir := range sortedKeys(s.workspaces) {
		w := s.workspaces[dir]
		if !s.update(w) {
			continue
		}
		for _, name := range sortedKeys(w.current.modules) {
			m := w.current.modules[name]
			if dir != s.home(w.dir+"/"+name+"/x").dir {
				continue // another workspace uses this module, and has it
			}
			for _, f := range m.Files() {
				out = append(out, w.symbolsIn(m, f, strings.ToLower(p.Query))...)
			}
		}
	}
	return out, nil
}

func (w *workspace) symbolsIn(m *lang.Module, file, query string) (out []workspaceSymbol) {
	for _, x := range w.mentionsIn(m.Body(file)) {
		if !x.declares() || !strings.Contains(strings.ToLower(x.name), query) {
			continue
		}
		if l, ok := w.location(x.at); ok {
			kind := symbolKindOf(strings.Replace(x.kind, "var", "variable", 1))
			if x.kind == "local" {
				kind = symbolConstant
			}
			out = append(out, workspaceSymbol{Name: x.name, Kind: kind, Location: l, ContainerName: strings.TrimSpace(x.kind + " " + x.owner)})
		}
	}
	return out
}

// formatting is what changes when a document is laid out in the one canonical way.
func (s *server) formatting(p documentParams) (any, error) {
	abs, ok := pathOf(p.TextDocument.URI)
	t := s.documents[abs]
	if !ok || t == nil {
		return nil, nil
	}
	out, diags := lang.Format(abs, []byte(t.raw))
	edits := []textEdit{}
	if diags.HasErrors() {
		return edits, nil
	}
	for _, e := range udiff.Strings(t.raw, string(out)) {
		edits = append(edits, textEdit{span{t.position(e.Start), t.position(e.End)}, e.New})
	}
	return edits, nil
}
