package runner

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// files answers what a step sees without mounting anything: the base, and what the steps of this run that it is over
// wrote. Safe for concurrent use.
type files struct {
	base    *sws.Base
	ignore  *Ignore
	outputs outputs // of the program: what wildcards see in ignored places too

	mu      sync.RWMutex
	written map[string][]write // by path, in the order in which the steps ended
	layers  map[int][]sws.Change
	gone    map[string]bool // stale outputs
	cuts    bits            // steps that took a directory away: only over those parents matter
	globs   map[string]expansion
	shut    map[string]bool    // what wildcards met and could not be read
	lists   map[string]listing // by pattern, and by restOf for what is nobody's output
}

// expansion is a pattern over the base: what it matched, and the directories that were listed for it.
type expansion struct{ paths, dirs []string }

// restOf is the pattern of a step that does not say what it reads: every file that no task declares as an output.
const restOf = "./**" // no one else writes it so: patterns are clean

type write struct {
	step  int
	after sws.Entry
}

// listing is what a wildcard stands for: paths with their contents, and the digest of that list. Its blob in the store
// is the canonical CBOR of [[path, type, mode, digest], …] in path order.
type listing struct {
	paths  []string
	digest cas.Digest
	blob   []byte
}

func newFiles(base *sws.Base, ignore *Ignore, declared []plan.Output) *files {
	return &files{base: base, ignore: ignore, outputs: newOutputs(declared), written: map[string][]write{}, layers: map[int][]sws.Change{},
		globs: map[string]expansion{}, lists: map[string]listing{}, shut: map[string]bool{}}
}

// leaveOut notes that something which a wildcard met cannot be read. What a person names has to be readable, but what
// just lies there stops nobody.
func (f *files) leaveOut(p string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shut[p] = true
}

// leftOut lists what leaveOut noted, sorted.
func (f *files) leftOut() []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return slices.Sorted(maps.Keys(f.shut))
}

// wrote records what a step of the present plan wrote. It happens before anything that is over the step looks.
func (f *files) wrote(step int, changes []sws.Change) error {
	cut := false
	for _, c := range changes {
		if c.After.Kind == sws.Dir {
			continue
		}
		was, err := f.base.At(c.Path)
		if err != nil {
			return err
		}
		cut = cut || was.Kind == sws.Dir || c.After.Kind == sws.Absent
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.layers[step] = changes
	for _, c := range changes {
		f.written[c.Path] = append(f.written[c.Path], write{step, c.After})
	}
	if cut {
		f.cuts = f.cuts.with(nil, step)
	}
	return nil
}

// forget drops what all steps wrote: another plan begins.
func (f *files) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written, f.layers, f.cuts = map[string][]write{}, map[int][]sws.Change{}, nil
}

// clear makes stale outputs invisible.
func (f *files) clear(gone []string) {
	f.gone = map[string]bool{}
	for _, p := range gone {
		f.gone[p] = true
	}
	f.forgetLists()
}

// forgetLists drops what wildcards stood for: a file changed while steps ran.
func (f *files) forgetLists() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.globs, f.lists = map[string]expansion{}, map[string]listing{}
}

// above finds the last write to a path among the steps of below.
func (f *files) above(p string, below bits) (sws.Entry, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	best := -1
	var e sws.Entry
	for _, w := range f.written[p] {
		if w.step > best && below.has(w.step) {
			best, e = w.step, w.after
		}
	}
	if f.cuts.meets(below) {
		for i := len(p) - 1; i > 0; i-- {
			if p[i] != '/' {
				continue
			}
			for _, w := range f.written[p[:i]] {
				if w.step > best && below.has(w.step) && w.after.Kind != sws.Dir {
					best, e = w.step, sws.Entry{Kind: sws.Absent}
				}
			}
		}
	}
	return e, best >= 0
}

// entry is the content identity of a path as a step over below sees it.
func (f *files) entry(p string, below bits) (sws.Entry, error) {
	if e, ok := f.above(p, below); ok {
		return e, nil
	}
	if f.gone[p] {
		return sws.Entry{}, nil
	}
	e, _, err := f.base.Entry(p)
	return e, err
}

// literal says whether a pattern names one path.
func literal(pattern string) bool {
	_, ok := plan.Path(pattern)
	return ok
}

// glob expands a pattern over the base: files and links, in path order. Wildcards do not enter ignored places; a part
// of the pattern that is written out does, and outputs of tasks are always seen.
func (f *files) glob(pattern string) (expansion, error) {
	f.mu.RLock()
	got, ok := f.globs[pattern]
	f.mu.RUnlock()
	if ok {
		return got, nil
	}
	set, dirs := map[string]bool{}, map[string]bool{}
	for _, p := range braces(pattern) {
		if strings.HasSuffix(p, "/") {
			p += "**"
		}
		if err := f.walk(".", strings.Split(p, "/"), false, false, set, dirs); err != nil {
			return got, err
		}
	}
	for _, p := range f.outputs.under(pattern) {
		if fp, err := f.base.At(p); err != nil { // whose output lies behind a link is told so when its turn comes
			return got, err
		} else if fp.Kind == sws.File || fp.Kind == sws.Link {
			set[p] = true
		}
	}
	got = expansion{slices.Sorted(maps.Keys(set)), slices.Sorted(maps.Keys(dirs))}
	f.mu.Lock()
	f.globs[pattern] = got
	f.mu.Unlock()
	return got, nil
}

// walk looks for what matches segs below dir. named says that the pattern names an ignored place on the way there, met
// that a wildcard led there.
func (f *files) walk(dir string, segs []string, named, met bool, out, dirs map[string]bool) error {
	seg, last := segs[0], len(segs) == 1
	if seg == "**" && last {
		segs = []string{"**", "*"}
		last = false
	}
	visit := func(name string, seg []string, wild bool) error {
		p := path.Join(dir, name)
		fp, err := f.base.Stat(p)
		if met && errors.Is(err, fs.ErrPermission) {
			f.leaveOut(dir)
			return nil
		}
		if err != nil || fp.Kind == sws.Absent {
			return err
		}
		isDir := fp.Kind == sws.Dir
		hidden := !named && f.ignore.Match(p, isDir)
		if hidden && wild {
			return nil
		}
		if len(seg) == 0 {
			if !isDir {
				out[p] = true
			}
			return nil
		}
		if !isDir {
			return nil
		}
		return f.walk(p, seg, named || hidden, met || wild, out, dirs)
	}
	if name, ok := plan.Path(seg); ok {
		return visit(name, segs[1:], false)
	}
	dirs[dir] = true
	names, _, err := f.base.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if met && errors.Is(err, fs.ErrPermission) {
		f.leaveOut(dir)
		return nil
	}
	if err != nil {
		return err
	}
	if seg == "**" {
		if err := f.walk(dir, segs[1:], named, met, out, dirs); err != nil {
			return err
		}
		for _, n := range names {
			fp, err := f.base.Stat(path.Join(dir, n))
			if err != nil {
				return err
			}
			if fp.Kind == sws.Dir {
				if err := visit(n, segs, true); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, n := range names {
		ok, err := doublestar.Match(seg, n)
		if err != nil {
			return err
		}
		if ok {
			if err := visit(n, segs[1:], true); err != nil {
				return err
			}
		}
	}
	return nil
}

// braces writes out the alternatives of a pattern, since one may hold a slash.
func braces(p string) []string {
	open, depth := -1, 0
	var cuts []int
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '{':
			if depth == 0 {
				open, cuts = i, []int{i}
			}
			depth++
		case ',':
			if depth == 1 {
				cuts = append(cuts, i)
			}
		case '}':
			depth--
			if depth != 0 {
				continue
			}
			cuts = append(cuts, i)
			var out []string
			for k := range len(cuts) - 1 {
				out = append(out, braces(p[:open]+p[cuts[k]+1:cuts[k+1]]+p[i+1:])...)
			}
			return out
		}
	}
	return []string{p}
}

// list expands a wildcard as a step over below sees it. The result is remembered where nothing that the step is over
// changes it. The outputs of tasks are not part of restOf.
func (f *files) list(pattern string, below bits) (listing, error) {
	rest, all := pattern == restOf, pattern
	if rest {
		all = "**"
	}
	found, err := f.glob(all)
	if err != nil {
		return listing{}, err
	}
	paths := found.paths
	var more []string
	f.mu.RLock()
	plain := !f.cuts.meets(below)
	for i := range below.all() {
		for _, c := range f.layers[i] {
			if c.After.Kind != sws.Dir && matchPath(all, c.Path) && !(rest && f.outputs.covers(c.Path)) {
				more, plain = append(more, c.Path), false
			}
		}
	}
	known, remembered := f.lists[pattern]
	f.mu.RUnlock()
	if plain && remembered {
		return known, nil
	}
	if len(more) > 0 {
		paths = slices.Concat(paths, more)
		slices.Sort(paths)
		paths = slices.Compact(paths)
	}
	var l listing
	var rows []any
	add := func(p string, e sws.Entry) {
		l.paths = append(l.paths, p)
		rows = append(rows, []any{textPath(p), typeOf(e.Kind), e.Mode, e.Digest[:]})
	}
	for _, p := range paths {
		if rest && f.outputs.covers(p) {
			continue
		}
		e, err := f.entry(p, below)
		if rest && errors.Is(err, fs.ErrPermission) { // that it is there is all that can be known of it
			f.leaveOut(p)
			var fp sws.Fingerprint
			fp, err = f.base.Stat(p)
			e = sws.Entry{Kind: fp.Kind, Mode: fp.Mode, Size: fp.Size}
		}
		if err != nil {
			return listing{}, err
		}
		if e.Kind == sws.Absent || e.Kind == sws.Dir {
			continue
		}
		add(p, e)
		if e.Kind != sws.Link {
			continue
		}
		to, e, err := f.follow(p, e, below) // what a reader of the link gets
		if err != nil {
			return listing{}, err
		}
		if e.Kind == sws.File {
			add(to, e)
		}
	}
	if l.blob, err = cbor.Encode(rows); err != nil {
		return listing{}, err
	}
	l.digest = cas.Sum(l.blob)
	if plain {
		f.mu.Lock()
		f.lists[pattern] = l
		f.mu.Unlock()
	}
	return l, nil
}

// follow is where a link leads, and what is there: Absent where it leads nowhere, out of the workspace, or through a
// directory that is a link itself.
func (f *files) follow(p string, e sws.Entry, below bits) (string, sws.Entry, error) {
	for range 40 { // as many as the kernel follows
		if e.Kind != sws.Link {
			return p, e, nil
		}
		if path.IsAbs(e.Target) {
			break
		}
		p = path.Join(path.Dir(p), e.Target)
		if p == ".." || strings.HasPrefix(p, "../") {
			break
		}
		var err error
		if e, err = f.entry(p, below); errors.Is(err, sws.ErrSymlink) {
			break
		} else if err != nil {
			return p, e, err
		}
	}
	return p, sws.Entry{}, nil
}

// outputs are the declared outputs of a program, for look-ups by path.
type outputs struct {
	exact    map[string]bool // without a trailing slash
	sorted   []string        // the same
	patterns []string
}

func newOutputs(declared []plan.Output) outputs {
	o := outputs{exact: map[string]bool{}}
	for _, d := range declared {
		p, ok := plan.Path(d.Pattern)
		if p = strings.TrimSuffix(p, "/"); !ok {
			o.patterns = append(o.patterns, d.Pattern)
		} else if !o.exact[p] {
			o.exact[p] = true
			o.sorted = append(o.sorted, p)
		}
	}
	slices.Sort(o.sorted)
	return o
}

// covers says whether a path is a declared output, or lies in one.
func (o *outputs) covers(p string) bool {
	if o.exact[p] {
		return true
	}
	for i := range len(p) {
		if p[i] == '/' && o.exact[p[:i]] {
			return true
		}
	}
	return matchAny(o.patterns, p)
}

// under lists the literal outputs that a pattern covers.
func (o *outputs) under(pattern string) []string {
	dir, _ := doublestar.SplitPattern(pattern)
	if p, ok := plan.Path(pattern); ok {
		dir = strings.TrimSuffix(p, "/")
	}
	from := 0
	if dir != "." {
		from, _ = slices.BinarySearch(o.sorted, dir)
	}
	var out []string
	for _, p := range o.sorted[from:] {
		if dir != "." && !strings.HasPrefix(p, dir) {
			break
		}
		if matchPath(pattern, p) {
			out = append(out, p)
		}
	}
	return out
}

// matchPath says whether a declared pattern covers a path: as a glob, or because it names a directory above it.
func matchPath(pattern, p string) bool {
	if dir, ok := plan.Path(pattern); ok {
		dir = strings.TrimSuffix(dir, "/")
		return p == dir || strings.HasPrefix(p, dir) && p[len(dir)] == '/'
	}
	if dir := strings.TrimSuffix(pattern, "/"); dir != pattern {
		return doublestar.MatchUnvalidated(dir+"/**", p)
	}
	return doublestar.MatchUnvalidated(pattern, p)
}

func matchAny(patterns []string, p string) bool {
	for _, pat := range patterns {
		if matchPath(pat, p) {
			return true
		}
	}
	return false
}

func typeOf(k sws.Kind) string {
	switch k {
	case sws.File:
		return "file"
	case sws.Dir:
		return "dir"
	case sws.Link:
		return "link"
	}
	return ""
}

func kindOf(t string) sws.Kind {
	switch t {
	case "file":
		return sws.File
	case "dir":
		return sws.Dir
	case "link":
		return sws.Link
	}
	return sws.Absent
}
