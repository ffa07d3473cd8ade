package lsp

import (
	"encoding/json"
	"slices"

	"github.com/flyingrobots/jitos/lang/diag"
)

// settle tells the editor what is wrong in the workspaces of open documents, as far as it does not know it.
func (s *server) settle() {
	s.opened = nil
	open := map[*workspace]bool{}
	for _, abs := range sortedKeys(s.documents) {
		if isWorkflow(abs) {
			open[s.home(abs)] = true
		}
	}
	for _, dir := range sortedKeys(s.workspaces) {
		w := s.workspaces[dir]
		if open[w] {
			s.publish(w, s.problems(w))
		} else {
			s.publish(w, nil)
		}
		w.shown = true
	}
}

// problems are the diagnostics of a workspace by URI. Each of its open documents is there, also without any.
func (s *server) problems(w *workspace) (out map[string]publishParams) {
	out = map[string]publishParams{}
	if !s.update(w) {
		return out
	}
	for file, t := range s.open(w) { // order: a map again
		if w.current.texts[file] != nil {
			out[w.uri(file)] = publishParams{URI: w.uri(file), Version: &t.version, Diagnostics: []diagnostic{}}
		}
	}
	for _, d := range w.current.diags {
		at, ok := w.where(d.Subject)
		if !ok {
			continue
		}
		p := out[at.URI]
		p.URI, p.Diagnostics = at.URI, append(p.Diagnostics, w.diagnostic(d, at.Range))
		out[at.URI] = p
	}
	return out
}

func (s *server) publish(w *workspace, now map[string]publishParams) {
	for uri := range w.told { // order: a map again
		if _, there := now[uri]; !there {
			if now == nil {
				now = map[string]publishParams{}
			}
			now[uri] = publishParams{URI: uri, Diagnostics: []diagnostic{}}
		}
	}
	for _, uri := range sortedKeys(now) {
		text, err := json.Marshal(now[uri])
		if err != nil {
			panic(err) // all diagnostics can be encoded
		}
		if w.told[uri] == string(text) {
			continue
		}
		s.notify("textDocument/publishDiagnostics", json.RawMessage(text))
		if w.told[uri] = string(text); len(now[uri].Diagnostics) == 0 && now[uri].Version == nil {
			delete(w.told, uri)
		}
	}
}

// where is the place of one of our ranges: the beginning of a file where it says no more than that.
func (w *workspace) where(r diag.Range) (location, bool) {
	file, t, at := w.current.place(r.File)
	if t == nil {
		return location{}, false
	}
	return location{w.uri(file), span{t.unseen(at + r.Start.Byte), t.unseen(at + r.End.Byte)}}, true
}

func (w *workspace) diagnostic(d diag.Diagnostic, at span) diagnostic {
	out := diagnostic{Range: at, Severity: 1, Code: d.Code, Source: "jitos", Message: d.Summary}
	if d.Severity == diag.Warning {
		out.Severity = 2
	}
	if d.Label != "" && len(d.Related) == 0 {
		out.Message += ": " + d.Label
	}
	if d.Detail != "" {
		out.Message += "\n" + d.Detail
	}
	for _, r := range d.Related {
		if at, ok := w.where(r.Range); ok {
			out.RelatedInformation = append(out.RelatedInformation, related{at, r.Label})
		}
	}
	return out
}

// codeActions are what diagnostics suggest.
func (s *server) codeActions(p codeActionParams) (any, error) {
	out := []codeAction{}
	w, _, _, ok := s.look(p.TextDocument.URI)
	if !ok || len(p.Context.Only) > 0 && !slices.Contains(p.Context.Only, "quickfix") {
		return out, nil
	}
	for _, d := range w.current.diags {
		at, ok := w.where(d.Subject)
		if !ok || at.URI != p.TextDocument.URI || before(at.Range.End, p.Range.Start) || before(p.Range.End, at.Range.Start) {
			continue
		}
		written, ok := w.current.written(d.Subject)
		if !ok {
			continue
		}
		by, ok := d.Replacement(written)
		if !ok {
			continue
		}
		out = append(out, codeAction{
			Title: "Write " + by, Kind: "quickfix", IsPreferred: true, Diagnostics: []diagnostic{w.diagnostic(d, at.Range)},
			Edit: workspaceEdit{map[string][]textEdit{at.URI: {{at.Range, by}}}},
		})
	}
	return out, nil
}

func before(a, b position) bool {
	return a.Line < b.Line || a.Line == b.Line && a.Character < b.Character
}

// written is what stands in a range.
func (a *analysis) written(r diag.Range) (string, bool) {
	file, i := splitName(r.File)
	t := a.texts[file]
	if t == nil || i < 0 || i >= len(t.parts) || r.End.Byte > len(t.parts[i].text) || r.End.Byte <= r.Start.Byte {
		return "", false
	}
	return t.parts[i].text[r.Start.Byte:r.End.Byte], true
}

// look is the workspace of a document with an up-to-date analysis, and the document. ok is false if there is none.
func (s *server) look(uri string) (w *workspace, file string, t *text, ok bool) {
	abs, ok := pathOf(uri)
	if !ok || s.documents[abs] == nil || !isWorkflow(abs) {
		return nil, "", nil, false
	}
	w = s.home(abs)
	file = w.file(abs)
	return w, file, s.documents[abs], s.update(w) && w.current.texts[file] == s.documents[abs]
}
