package sws

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// View is what a command over given layers sees, without a mount. It is an fs.FS that follows symbolic links inside
// the workspace; its other methods take any path that a change may have. Safe for concurrent use.
type View struct {
	base   *Base
	layers []*Layer // top first
}

// View shows the base with layers over it, the topmost first.
func (set *Set) View(lower []*Layer) *View { return &View{base: set.base, layers: lower} }

// implied is the mode of directories that nobody made but something is in.
const implied = 0o755

// find says what is at a path and which layer says so; nil is the base. Of files of the base the digest is missing.
func (v *View) find(p string) (Entry, *Layer, error) {
	holds := false
	for _, l := range v.layers {
		if e, ok := l.look(p); ok {
			if e.Kind == Absent && holds {
				return Entry{Kind: Dir, Mode: implied}, l, nil
			}
			return e, l, nil
		}
		holds = holds || slices.ContainsFunc(l.below(p), func(c Change) bool { return c.After.Kind != Absent })
	}
	fp, err := v.base.At(p)
	if err != nil {
		return Entry{}, nil, err
	}
	e := Entry{Kind: fp.Kind, Mode: fp.Mode}
	switch {
	case fp.Kind == File:
		e.Size = fp.Size
	case fp.Kind == Link:
		e.Mode = 0
	case fp.Kind == Absent && holds:
		e = Entry{Kind: Dir, Mode: implied}
	}
	return e, nil, nil
}

// Entry is the content identity of what is at a path, links not followed.
func (v *View) Entry(p string) (Entry, error) {
	if p = clean(p); p == "" {
		return Entry{Kind: Dir, Mode: implied}, nil
	}
	e, l, err := v.find(p)
	if err != nil || l != nil || e.Kind != File && e.Kind != Link {
		return e, err
	}
	e, _, err = v.base.Entry(p)
	return e, err
}

// dirMode is the mode of a directory.
func (v *View) dirMode(p string) uint32 {
	if e, _, err := v.find(p); err == nil && e.Kind == Dir {
		return e.Mode
	}
	return implied
}

// names lists a directory, sorted.
func (v *View) names(dir string) ([]string, error) {
	seen := map[string]bool{}
	cut := false // a layer says that what the base has here is gone
	for _, l := range v.layers {
		for _, c := range l.below(dir) {
			name, _, _ := strings.Cut(strings.TrimPrefix(c.Path[len(dir):], "/"), "/")
			seen[name] = true
		}
		if e, ok := l.look(dir); dir != "" && ok && e.Kind != Dir {
			cut = true
			break
		}
	}
	if !cut {
		list, _, err := v.base.Dir(dir)
		if err != nil && !isGone(err) {
			return nil, err
		}
		for _, n := range list {
			seen[n] = true
		}
	}
	var out []string
	for n := range seen { // order: sorted below
		e, _, err := v.find(join(dir, n))
		if err != nil {
			return nil, err
		}
		if e.Kind != Absent {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// maxLinks is how many links one path may lead through, as in the kernel.
const maxLinks = 40

// resolve follows the links of a path. The result is a path without any.
func (v *View) resolve(op, name string) (string, Entry, error) {
	fail := func(err error) (string, Entry, error) {
		return "", Entry{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	at, todo, links := "", strings.Split(name, "/"), 0
	e := Entry{Kind: Dir, Mode: implied}
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		switch n {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return fail(fs.ErrNotExist) // outside
			}
			at, _ = split(at)
			continue
		}
		p := join(at, n)
		var err error
		if e, _, err = v.find(p); err != nil {
			return fail(err)
		}
		if e.Kind == Link {
			if e, err = v.Entry(p); err != nil {
				return fail(err)
			}
			if links++; links > maxLinks || path.IsAbs(e.Target) {
				return fail(fs.ErrNotExist)
			}
			todo = append(strings.Split(e.Target, "/"), todo...)
			e = Entry{Kind: Dir, Mode: implied}
			continue
		}
		if e.Kind == Absent || e.Kind != Dir && len(todo) > 0 {
			return fail(fs.ErrNotExist)
		}
		at = p
	}
	return at, e, nil
}

// ReadFile implements fs.ReadFileFS.
func (v *View) ReadFile(name string) ([]byte, error) {
	p, e, err := v.resolve("open", name)
	if err != nil {
		return nil, err
	}
	if e.Kind != File {
		return nil, &fs.PathError{Op: "read", Path: name, Err: unix.EISDIR}
	}
	return v.read(p)
}

func (v *View) read(p string) ([]byte, error) {
	for _, l := range v.layers {
		if c, ok := l.find(p); ok {
			return l.read(c)
		}
	}
	fd, err := v.base.root.open(p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, pathError(p, err)
	}
	defer unix.Close(fd)
	fp, err := v.base.Stat(p)
	if err != nil {
		return nil, err
	}
	return readAll(fd, fp.Size)
}

// Stat implements fs.StatFS.
func (v *View) Stat(name string) (fs.FileInfo, error) {
	_, e, err := v.resolve("stat", name)
	if err != nil {
		return nil, err
	}
	return info{path.Base(name), e}, nil
}

// ReadDir implements fs.ReadDirFS.
func (v *View) ReadDir(name string) ([]fs.DirEntry, error) {
	p, e, err := v.resolve("readdir", name)
	if err != nil {
		return nil, err
	}
	if e.Kind != Dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: unix.ENOTDIR}
	}
	list, err := v.names(p)
	if err != nil {
		return nil, err
	}
	var out []fs.DirEntry
	for _, n := range list {
		e, _, err := v.find(join(p, n))
		if err != nil {
			return nil, err
		}
		out = append(out, fs.FileInfoToDirEntry(info{n, e}))
	}
	return out, nil
}

// Open implements fs.FS. A file is read as a whole.
func (v *View) Open(name string) (fs.File, error) {
	_, e, err := v.resolve("open", name)
	if err != nil {
		return nil, err
	}
	f := &file{info: info{path.Base(name), e}}
	if e.Kind == Dir {
		f.list, err = v.ReadDir(name)
	} else {
		var b []byte
		b, err = v.ReadFile(name)
		f.Reader = bytes.NewReader(b)
	}
	return f, err
}

type file struct {
	info
	*bytes.Reader
	list []fs.DirEntry
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Size() int64                { return f.info.Size() }
func (f *file) Close() error               { return nil }

func (f *file) Read(b []byte) (int, error) {
	if f.Reader == nil {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: unix.EISDIR}
	}
	return f.Reader.Read(b)
}

// ReadDir implements fs.ReadDirFile.
func (f *file) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(f.list) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(f.list) {
		n = len(f.list)
	}
	out := f.list[:n]
	f.list = f.list[n:]
	return out, nil
}

type info struct {
	name  string
	entry Entry
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.entry.Size }
func (i info) IsDir() bool        { return i.entry.Kind == Dir }
func (i info) Sys() any           { return i.entry }
func (i info) ModTime() time.Time { return time.Time{} } // times are not part of what a step makes

func (i info) Mode() fs.FileMode {
	m := fs.FileMode(i.entry.Mode & 0o777)
	for bit, mode := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if i.entry.Mode&bit != 0 {
			m |= mode
		}
	}
	switch i.entry.Kind {
	case Dir:
		m |= fs.ModeDir
	case Link:
		m |= fs.ModeSymlink
	case Other:
		m |= fs.ModeIrregular
	}
	return m
}
