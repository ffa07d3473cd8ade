package lang

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/text/unicode/norm"
)

// World is what reading functions may see of the workspace. Package lang itself does no I/O: a nil field
// makes the functions that need it fail with an error that says so, unless stated otherwise.
type World struct {
	FS       fs.FS                             // the workspace
	Ignored  func(path string, dir bool) bool  // whether a wildcard skips path; nil skips nothing
	LookPath func(name string) (string, bool)  // the path of a program
	Env      func(name string) (string, bool)  // the value of an environment variable
	Digest   func(path string) (string, error) // of a file's content, in hex
	Read     func(Reading)                     // told of every look-up, in the order they happen; nil: nobody wants to know
	Found    func(path string)                 // told of every path that fileset gives, as it is on disk; nil: nobody wants to know
}

// Reading is one look-up and what it found. Plans record them: where [World.Look] finds something else, the plan is stale.
type Reading struct {
	Kind  string // "file", "exists", "size", "hash", "dir", "program" or "env"
	Name  string // path relative to the workspace, program or variable
	Value string // what was found: the SHA-256 of a file's text or of a directory's list, a size, digest, path or value
	Found bool   // false: there was nothing, and Value is ""
}

// errNotAvailable is the error of a look-up that this World does not offer.
var errNotAvailable = errors.New("this cannot be looked up here")

// Look does the look-up kind and name again, without telling Read.
func (w World) Look(kind, name string) (Reading, error) {
	r, _, err := w.look(kind, name)
	return r, err
}

// look also returns what a file or directory holds.
func (w World) look(kind, name string) (r Reading, held any, err error) {
	r = Reading{Kind: kind, Name: name}
	found := func(value string) { r.Value, r.Found = value, true }
	switch {
	case kind == "program" && w.LookPath != nil:
		if p, ok := w.LookPath(name); ok {
			found(p)
		}
		return r, nil, nil
	case kind == "env" && w.Env != nil:
		if v, ok := w.Env(name); ok {
			found(v)
		}
		return r, nil, nil
	case w.FS == nil, kind == "hash" && w.Digest == nil, kind == "program", kind == "env":
		return r, nil, errNotAvailable
	}
	switch kind {
	case "file":
		var text []byte
		if text, err = fs.ReadFile(w.FS, name); err == nil {
			sum := sha256.Sum256(text)
			found(hex.EncodeToString(sum[:]))
			held = text
		}
	case "dir":
		var entries []fs.DirEntry
		if entries, err = fs.ReadDir(w.FS, name); err == nil {
			h := sha256.New()
			for _, e := range entries {
				fmt.Fprintf(h, "%s %t\n", e.Name(), e.IsDir())
			}
			found(hex.EncodeToString(h.Sum(nil)))
			held = entries
		}
	case "exists", "size", "hash":
		var info fs.FileInfo
		if info, err = fs.Stat(w.FS, name); err != nil || info.IsDir() {
			break
		}
		switch kind {
		case "exists":
			found("true")
		case "size":
			found(strconv.FormatInt(info.Size(), 10))
		case "hash":
			var digest string
			if digest, err = w.Digest(name); err == nil {
				found(digest)
			}
		}
	default:
		return r, nil, fmt.Errorf("unknown kind of look-up %q", kind)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return r, held, err
}

// read is look for a function: the place must be inside the workspace, and Read is told.
func (w World) read(kind, name string) (Reading, any, error) {
	if kind != "program" && kind != "env" {
		clean, err := inside(name)
		if err != nil {
			return Reading{}, nil, err
		}
		name = w.OnDisk(clean)
	}
	r, held, err := w.look(kind, name)
	if err != nil {
		return r, nil, err
	}
	if w.Read != nil {
		w.Read(r)
	}
	return r, held, nil
}

// OnDisk is the path that name means: name itself if it is there, else one that differs from it in its Unicode form alone.
// Values of expressions have one form, and files may have the other.
func (w World) OnDisk(name string) string {
	if w.FS == nil || norm.NFD.IsNormalString(name) && norm.NFC.IsNormalString(name) {
		return name // there is but one form
	}
	if _, err := fs.Lstat(w.FS, name); err == nil {
		return name
	}
	dir := "."
	for segment := range strings.SplitSeq(name, "/") {
		entries, err := fs.ReadDir(w.FS, dir)
		if err != nil {
			return name
		}
		i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == segment })
		if i < 0 {
			i = slices.IndexFunc(entries, func(e fs.DirEntry) bool { return norm.NFC.String(e.Name()) == norm.NFC.String(segment) })
		}
		if i < 0 {
			return name
		}
		dir = path.Join(dir, entries[i].Name())
	}
	return dir
}

// inside is name as a clean path within the workspace.
func inside(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(clean, 0) {
		return "", fmt.Errorf("%q is not a path inside the workspace", name)
	}
	return clean, nil
}

// glob returns the files that match pattern, sorted. A wildcard never enters an ignored place; a pattern that names
// such a place does.
func (w World) glob(pattern string) ([]string, error) {
	clean, err := inside(pattern)
	if err != nil {
		return nil, err
	}
	if !doublestar.ValidatePattern(clean) {
		return nil, fmt.Errorf("%q is not a valid pattern", pattern)
	}
	g := globber{w: w, found: map[string]bool{}, visited: map[visit]bool{}}
	var segments []string
	for _, s := range strings.Split(clean, "/") {
		if strings.Count(s, "{") != strings.Count(s, "}") {
			return nil, fmt.Errorf("%q has a slash within braces; write two patterns", pattern)
		}
		if s != "**" || len(segments) == 0 || segments[len(segments)-1] != "**" {
			segments = append(segments, s)
		}
	}
	err = g.walk(".", segments, true)
	return slices.Sorted(maps.Keys(g.found)), err
}

type visit struct {
	dir  string
	left int
}

type globber struct {
	w       World
	named   bool // the pattern names an ignored place: nothing below it counts as ignored
	found   map[string]bool
	visited map[visit]bool
}

// walk finds what matches segments below dir. literal says that no wildcard was used to get there.
func (g *globber) walk(dir string, segments []string, literal bool) error {
	seen := visit{dir, len(segments)}
	if g.visited[seen] {
		return nil
	}
	g.visited[seen] = true
	segment, last := segments[0], len(segments) == 1
	if !strings.ContainsAny(segment, `*?[{\`) {
		return g.step(path.Join(dir, segment), segments, literal)
	}
	_, held, err := g.w.read("dir", dir)
	if errors.Is(err, fs.ErrPermission) && !literal {
		return nil // only what is named has to be readable; when it is, its parent has changed
	}
	if err != nil {
		return err
	}
	entries, _ := held.([]fs.DirEntry)
	if segment == "**" && !last {
		if err := g.walk(dir, segments[1:], false); err != nil {
			return err
		}
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		if !g.named && g.w.Ignored != nil && g.w.Ignored(p, e.IsDir()) {
			continue
		}
		switch {
		case segment == "**" && e.IsDir():
			err = g.walk(p, segments, false)
		case segment == "**" && last:
			g.found[p] = true
		case segment != "**" && doublestar.MatchUnvalidated(segment, e.Name()):
			if last && !e.IsDir() {
				g.found[p] = true
			} else if !last && e.IsDir() {
				err = g.walk(p, segments[1:], false)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// step follows a segment without wildcards to p.
func (g *globber) step(p string, segments []string, literal bool) error {
	if len(segments) == 1 {
		r, _, err := g.w.read("exists", p)
		if r.Found && (literal || g.named || g.w.Ignored == nil || !g.w.Ignored(p, false)) {
			g.found[p] = true
		}
		return err
	}
	if g.w.Ignored != nil && g.w.Ignored(p, true) {
		if !literal && !g.named {
			return nil
		}
		g.named = true
	}
	return g.walk(p, segments[1:], literal)
}
