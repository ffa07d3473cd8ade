package lsp

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// workspace is a directory whose workflow files are one module, with the modules that it uses.
type workspace struct {
	dir     string // absolute, as the editor calls it
	draft   Draft
	loader  lang.Loader
	known   map[string]*text // by path: what was on disk the last time
	std     []string         // the sources of built-in modules
	dirty   bool             // something has changed since the analysis
	afresh  bool             // also on disk
	current *analysis
	index   map[*hclsyntax.Body][]mention
	shown   bool              // the editor has the diagnostics of the analysis
	told    map[string]string // by URI: what the editor was told of a file
}

// analysis is what is known of a workspace at one moment.
type analysis struct {
	modules map[string]*lang.Module // by directory in the workspace: the module and all that are used
	texts   map[string]*text        // by path in the workspace
	diags   diag.List
	scopes  []scope
}

// scope is what an expression may refer to.
type scope struct {
	at    hcl.Range
	names func() []string
}

// depth is how far an analysis goes.
type depth int

const (
	compiled depth = iota // all problems are known
	scoped                // what expressions may refer to is known
)

// analyze looks at the workspace with the texts that are open, by path in it.
func (w *workspace) analyze(open map[string]*text, to depth) (*analysis, error) {
	a := &analysis{modules: map[string]*lang.Module{}, texts: map[string]*text{}}
	load := func(fsys, std fs.FS) (*lang.Module, diag.List) {
		w.std = nil
		if there, err := fs.ReadDir(std, "."); err == nil {
			for _, e := range there {
				w.std = append(w.std, "std/"+e.Name())
			}
		}
		return w.loader.Load(&draft{FS: fsys, open: open, known: w.known, texts: a.texts}, ".", std)
	}
	err := w.draft(w.dir, w.afresh, load, func(m *lang.Module, o compiler.Options, diags diag.List) {
		a.use(m)
		o.Scoped = func(x hcl.Expression, names func() []string) { a.scopes = append(a.scopes, scope{x.Range(), names}) }
		if to == scoped {
			compiler.Scopes(m, o)
			return
		}
		_, more := compiler.Compile(m, o)
		a.diags = append(diags, more...).Sorted()
	})
	w.afresh = false
	return a, err
}

func (a *analysis) use(m *lang.Module) {
	if _, seen := a.modules[m.Dir]; seen {
		return
	}
	a.modules[m.Dir] = m
	for _, u := range m.Uses {
		if u.Module != nil {
			a.use(u.Module)
		}
	}
}

// moduleOf is the module that a file belongs to, nil if it belongs to none.
func (a *analysis) moduleOf(file string) *lang.Module { return a.modules[path.Dir(file)] }

// used is the module that m calls alias, m itself for "", nil if there is none.
func used(m *lang.Module, alias string) *lang.Module {
	if alias == "" || m == nil {
		return m
	}
	for _, u := range m.Uses {
		if u.Alias == alias {
			return u.Module
		}
	}
	return nil
}

// symbol is what a mention is about.
type symbol struct {
	module            *lang.Module
	kind, owner, name string
}

// symbolOf is what a mention in m is about; ok is false if it is no mention at all.
func (m *mention) symbolOf(in *lang.Module) (symbol, bool) {
	s := symbol{used(in, m.alias), m.kind, m.owner, m.name}
	if m.kind == "task" && m.alias == "" && slices.ContainsFunc(in.Uses, func(u *lang.Use) bool { return u.Alias == m.name }) {
		s.kind = "use"
	}
	if m.kind == "function" {
		s.module = nil
		return s, true
	}
	return s, s.module != nil
}

// mentionsIn are the mentions of a part.
func (w *workspace) mentionsIn(body *hclsyntax.Body) []mention {
	if body == nil {
		return nil
	}
	ms, ok := w.index[body]
	if !ok {
		ms = mentions(body)
		w.index[body] = ms
	}
	return ms
}

// forget lets go of what is known of parts that are no more.
func (w *workspace) forget() {
	now := map[*hclsyntax.Body][]mention{}
	for _, m := range w.current.modules {
		for _, f := range m.Files() {
			if ms, ok := w.index[m.Body(f)]; ok {
				now[m.Body(f)] = ms
			}
		}
	}
	w.index = now
}

// find are the places where a symbol is mentioned. Those of files that are not on disk, as of modules that are built in,
// are left out.
func (w *workspace) find(s symbol, declared, referred bool) (out []location) {
	a := w.current
	for _, dir := range sortedKeys(a.modules) {
		m := a.modules[dir]
		for _, f := range m.Files() {
			for _, x := range w.mentionsIn(m.Body(f)) {
				if x.name != s.name || x.declares() && !declared || !x.declares() && !referred {
					continue
				}
				if got, ok := x.symbolOf(m); ok && got == s {
					if l, ok := w.location(x.at); ok {
						out = append(out, l)
					}
				}
			}
		}
	}
	return out
}

// location is where a range of a part is.
func (w *workspace) location(r hcl.Range) (location, bool) {
	file, t, at := w.current.place(r.Filename)
	if t == nil {
		return location{}, false
	}
	return location{w.uri(file), span{t.unseen(at + r.Start.Byte), t.unseen(at + r.End.Byte)}}, true
}

// place is the file that a part belongs to, its text, and where in it the part begins. The text is nil if there is none.
func (a *analysis) place(name string) (file string, t *text, at int) {
	file, i := splitName(name)
	t = a.texts[file]
	if t != nil && i >= 0 && i < len(t.parts) {
		at = t.parts[i].at
	}
	return file, t, at
}

func (w *workspace) uri(file string) string {
	return uriOf(filepath.Join(w.dir, filepath.FromSlash(file)))
}

// file is the path in the workspace of an absolute one.
func (w *workspace) file(abs string) string {
	rel, err := filepath.Rel(w.dir, abs)
	if err != nil {
		return abs
	}
	return filepath.ToSlash(rel)
}

// uriOf is the URI of a file.
func uriOf(abs string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
}

// pathOf is the file that a URI names; ok is false if it names none.
func pathOf(uri string) (abs string, ok bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" || u.Path == "" {
		return "", false
	}
	return filepath.Clean(filepath.FromSlash(u.Path)), true
}

// hasWorkflow reports whether workflow files are in dir.
func hasWorkflow(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && isWorkflow(e.Name()) })
}

// workflowDirs are the directories below dir that hold workflow files. What is hidden and node_modules are left out.
func workflowDirs(dir string) (out []string) {
	_ = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error { // what cannot be read holds none
		switch {
		case err != nil:
			return filepath.SkipDir
		case e.IsDir() && p != dir && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
			return filepath.SkipDir
		case !e.IsDir() && isWorkflow(e.Name()) && !slices.Contains(out, filepath.Dir(p)):
			out = append(out, filepath.Dir(p))
		}
		return nil
	})
	return out
}
