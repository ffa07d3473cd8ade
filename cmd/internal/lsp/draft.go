package lsp

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/lang"
)

// draft is a workspace as the loader sees it: the texts of the editor in place of those on disk, and each workflow file as
// several that are one part of it each, so that what was not touched is not parsed again.
type draft struct {
	fs.FS
	open  map[string]*text // by path in the workspace: what is open in the editor
	known map[string]*text // by path: what was on disk the last time
	texts map[string]*text // by path: all that the loader asked for
}

// partName is the name of a part: they sort as the parts do, and in the place of the file.
func partName(file string, i int) string { return fmt.Sprintf("%s:%06d%s", file, i, lang.Extension) }

// splitName is the file that a part belongs to, and which part it is. A name that is no part's is itself, with -1.
func splitName(name string) (file string, i int) {
	colon := strings.LastIndexByte(name, ':')
	if colon < 0 {
		return name, -1
	}
	i, err := strconv.Atoi(strings.TrimSuffix(name[colon+1:], lang.Extension))
	if err != nil {
		return name, -1
	}
	return name[:colon], i
}

func isWorkflow(name string) bool {
	return strings.HasSuffix(name, lang.Extension) && !strings.HasPrefix(path.Base(name), ".")
}

// ReadDir is what makes parts of files.
func (d *draft) ReadDir(dir string) ([]fs.DirEntry, error) {
	there, err := fs.ReadDir(d.FS, dir)
	var out []fs.DirEntry
	listed := map[string]bool{}
	for _, e := range there {
		name := path.Join(dir, e.Name())
		listed[name] = true
		if e.IsDir() || !isWorkflow(name) {
			out = append(out, e)
			continue
		}
		t, err := d.text(name)
		if err != nil {
			out = append(out, e) // the loader will say why
			continue
		}
		out = d.parts(out, name, t)
	}
	for name, t := range d.open { // order: sorted below
		if path.Dir(name) == dir && !listed[name] {
			out, err = d.parts(out, name, t), nil
		}
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, err
}

func (d *draft) parts(out []fs.DirEntry, name string, t *text) []fs.DirEntry {
	d.texts[name] = t
	for i, p := range t.parts {
		out = append(out, entry{path.Base(partName(name, i)), len(p.text)})
	}
	return out
}

// text is what the editor has for a file, else what is on disk.
func (d *draft) text(name string) (*text, error) {
	if t := d.open[name]; t != nil {
		return t, nil
	}
	raw, err := fs.ReadFile(d.FS, name)
	if err != nil {
		return nil, err
	}
	if t := d.known[name]; t != nil && t.raw == string(raw) {
		return t, nil
	}
	t := newText(string(raw))
	d.known[name] = t
	return t, nil
}

func (d *draft) part(name string) (part, bool) {
	file, i := splitName(name)
	t := d.texts[file]
	if t == nil || i < 0 || i >= len(t.parts) {
		return part{}, false
	}
	return t.parts[i], true
}

// ReadFile reads a part.
func (d *draft) ReadFile(name string) ([]byte, error) {
	if p, ok := d.part(name); ok {
		return []byte(p.text), nil
	}
	return fs.ReadFile(d.FS, name)
}

// Stat says that parts are files.
func (d *draft) Stat(name string) (fs.FileInfo, error) {
	if p, ok := d.part(name); ok {
		return entry{path.Base(name), len(p.text)}, nil
	}
	return fs.Stat(d.FS, name)
}

// entry is a part in a directory.
type entry struct {
	name string
	size int
}

func (e entry) Name() string               { return e.name }
func (e entry) Size() int64                { return int64(e.size) }
func (e entry) IsDir() bool                { return false }
func (e entry) Type() fs.FileMode          { return 0 }
func (e entry) Mode() fs.FileMode          { return 0o444 }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
