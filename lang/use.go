package lang

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/lang/diag"
)

// StdPrefix is in front of the names of files of built-in modules: no path in a workspace looks like that.
const StdPrefix = "jitos:std/"

// stdSource is how the sources of built-in modules begin.
const stdSource = "std/"

// loader loads a module and those that it uses, each once.
type loader struct {
	fsys, std fs.FS
	parse     func(name string, text []byte) parsed
	sources   map[string][]byte
	modules   map[string]*Module // by directory, with StdPrefix where it is built in; nil where there is none
	chain     []link             // from the first module to the one at hand
	size      int                // of all texts so far
	diags     diag.List
}

// link is a module, and the use that led to it.
type link struct {
	use *Use // nil for the first
	dir string
}

func (l *loader) fail(code string, at diag.Range, summary, detail string) {
	l.diags = append(l.diags, diag.Diagnostic{Code: code, Summary: summary, Detail: detail, Subject: at})
}

// module reads the module of a directory, without those that it uses. found says that there are files of one.
func (l *loader) module(dir string) (m *Module, found bool) {
	m = &Module{Dir: dir, sources: l.sources}
	l.modules[dir] = m
	entries, err := l.entries(dir)
	if err != nil && (len(l.chain) == 1 || !errors.Is(err, fs.ErrNotExist)) {
		l.fail(CodeUnreadable, diag.Range{File: dir}, "cannot read the directory", err.Error()+".")
	}
	var files []File
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), Extension) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		found = true
		fsys, at := l.place(dir)
		text, err := read(fsys, path.Join(at, e.Name()))
		name := path.Join(dir, e.Name())
		if err != nil {
			l.fail(CodeUnreadable, diag.Range{File: name}, "cannot read the file", err.Error()+".")
			continue
		}
		if l.size += len(text); l.size > maxAll {
			l.fail(CodeUnreadable, diag.Range{File: name}, "the workflow is too large", fmt.Sprintf("With this file all of it is larger than %d MB.", maxAll>>20))
			break
		}
		files = append(files, File{Name: name, Text: text})
	}
	l.diags = append(l.diags, m.parse(files, l.parse)...)
	return m, found
}

// place is where a directory lies: in which file system, and where there.
func (l *loader) place(dir string) (fs.FS, string) {
	if name, ok := strings.CutPrefix(dir+"/", StdPrefix); ok {
		return l.std, path.Clean(name)
	}
	return l.fsys, dir
}

func (l *loader) entries(dir string) ([]fs.DirEntry, error) {
	fsys, at := l.place(dir)
	if fsys == nil {
		return nil, fs.ErrNotExist
	}
	return fs.ReadDir(fsys, at)
}

// uses loads what m uses, and what that uses.
func (l *loader) uses(m *Module) {
	for _, u := range m.Uses {
		dir := path.Join(m.Dir, u.Source)
		if name, std := strings.CutPrefix(u.Source, stdSource); std {
			dir = path.Join(StdPrefix, name)
		} else if !relative(u.Source) {
			continue // which was said when it was decoded
		}
		from := slices.IndexFunc(l.chain, func(c link) bool { return c.dir == dir })
		l.chain = append(l.chain, link{u, dir})
		there, known := l.modules[dir]
		switch {
		case from >= 0:
			l.circle(l.chain[from+1:])
		case known && there != nil:
			u.Module = there
		case dir == ".." || strings.HasPrefix(dir, "../"):
			l.fail(CodeNoModule, u.SourceRange, fmt.Sprintf("the module %s lies outside the workspace", u.Source), "Modules are directories of the workspace, or built in: \"std/NAME\".")
		default:
			found := false
			if there, found = l.module(dir); !found {
				l.modules[dir] = nil
				l.missing(u, dir)
				break
			}
			u.Module = there
			l.uses(there)
		}
		l.chain = l.chain[:len(l.chain)-1]
	}
}

// missing reports a module that is not there.
func (l *loader) missing(u *Use, dir string) {
	d := diag.Diagnostic{Code: CodeNoModule, Subject: u.SourceRange, Summary: fmt.Sprintf("there is no module %s", u.Source)}
	var beside []string
	entries, _ := l.entries(path.Dir(dir)) // without them there is nothing to suggest
	for _, e := range entries {
		if e.IsDir() {
			beside = append(beside, e.Name())
		}
	}
	if s, ok := diag.Suggest(path.Base(dir), beside); ok {
		d.Label = "did you mean " + strings.TrimSuffix(u.Source, path.Base(u.Source)) + s + "?"
	} else if strings.HasPrefix(dir, StdPrefix) && len(beside) > 0 {
		d.Detail = "Built in are: std/" + strings.Join(beside, ", std/") + "."
	} else {
		d.Detail = fmt.Sprintf("A module is a directory with files *%s, and there are none in %s.", Extension, dir)
	}
	l.diags = append(l.diags, d)
}

// circle reports modules that use each other: the last link leads to where the first one started.
func (l *loader) circle(chain []link) {
	last := chain[len(chain)-1]
	d := diag.Diagnostic{
		Code: CodeModuleCycle, Subject: last.use.SourceRange, Label: "leads back", Summary: "modules use each other in a circle",
		Detail: "Move what both need into a module of its own.",
	}
	for _, c := range chain[:len(chain)-1] {
		d.Related = append(d.Related, diag.Related{Range: c.use.SourceRange, Label: "uses " + c.dir})
	}
	l.diags = append(l.diags, d)
}

// relative reports whether a source is a directory beside or below the module that names it.
func relative(source string) bool {
	return strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")
}
