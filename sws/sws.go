// Package sws implements shadow working sets: what the steps of a run would do to a tree of files, kept aside until
// it becomes real in one go, or never.
//
// A [Space] is a workspace with its private directory .jitos. A [Set] belongs to one run. [Set.Run] runs a command
// over the tree plus the layers of earlier commands and gives back a [Layer]: what this command alone changed.
// [Merge] puts the layers of a run together, and [Set.Collapse] makes the result real: whole, or not at all, also when
// the power goes. [Space.Undo] is the same door in the other direction. [Base] is a run's look at the real tree, and
// what a collapse compares the tree with before it touches it: people go on editing while steps run.
//
// The package is the only one that writes user files. It knows layers, change sets and transactions; it knows nothing
// of steps, caching or history: where a collapse must be recorded it takes a [Journal].
//
// Start reading at [Space], then [Set.Run], [Merge] and [Set.Collapse].
//
// # Caveats
//
// An overlay is neither a snapshot nor live: a command may see an edit made outside while it runs. So consistency is
// checked at the end, by the fingerprints of what was read and what is to be written. Owners, times and extended
// attributes of files are not part of a change; content, kind, target and the twelve mode bits are.
package sws

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/flyingrobots/jitos/warp/cas"
)

// Meta is the name of the private directory in a workspace. Nothing below it is ever part of a change.
const Meta = ".jitos"

// Kind says what is at a path.
type Kind byte

const (
	Absent Kind = iota // nothing: the zero value
	File
	Dir
	Link  // a symbolic link
	Other // a fifo, socket or device: never part of a change
)

func (k Kind) String() string {
	switch k {
	case Absent:
		return "absent"
	case File:
		return "file"
	case Dir:
		return "dir"
	case Link:
		return "link"
	}
	return "special file"
}

// Fingerprint is what the file system says about a path without reading it. Two equal fingerprints of one path mean
// that nothing happened to it in between, apart from the racy moment that [Base.Entry] waits out.
type Fingerprint struct {
	Kind         Kind
	Mode         uint32 // 07777
	Size         int64
	Mtime, Ctime int64 // ns
	Ino          uint64
	UID, GID     uint32
}

// Same tells whether a and b are the same object in the same state. Of a directory, what is in it does not count.
func Same(a, b Fingerprint) bool {
	if a.Kind == Dir {
		a.Size, a.Mtime, a.Ctime = b.Size, b.Mtime, b.Ctime
	}
	return a == b
}

// SameMoved is Same across a rename, which moves the ctime and nothing else.
func SameMoved(a, b Fingerprint) bool {
	a.Ctime = b.Ctime
	return Same(a, b)
}

// Entry is the content identity of a path; two equal entries look the same to a program that reads them. The zero value
// is an absent path.
type Entry struct {
	Kind   Kind
	Mode   uint32     // 07777, of files and directories
	Size   int64      // bytes, of files
	Digest cas.Digest // of files
	Target string     // of links
}

// sameContent tells whether e and o differ at most in their mode.
func (e Entry) sameContent(o Entry) bool {
	e.Mode = o.Mode
	return e == o
}

// Change is what a layer did to one path, relative to the view it was made over.
type Change struct {
	Path     string // relative, slash separated; any bytes but NUL
	After    Entry  // Kind Absent: deleted, with all below it
	ModeOnly bool   // the content is what it was
}

// Errors that callers branch on.
var (
	ErrSymlink = errors.New("a parent directory is a symbolic link")
	ErrOutside = errors.New("crosses a mount point or leaves the workspace")
	ErrBusy    = errors.New("in use by another process")
)

// ConflictError says that the workspace is no longer what a transaction was made for. Nothing of the transaction is in
// the workspace.
type ConflictError struct {
	Paths []Conflict // sorted by path
	Kept  []string   // where things of others that were in the way of going back have been put, relative to the workspace
}

// Conflict is one path that somebody else changed.
type Conflict struct {
	Path    string
	Was, Is Fingerprint
	Want    Entry  // what the transaction would have written; of a read path, the zero value
	Read    bool   // the path was an input only
	Why     string // more than "changed", if it is
}

func (e *ConflictError) Error() string {
	c := e.Paths[0]
	why := c.Why
	if why == "" {
		why = "changed since the run began"
	}
	s := fmt.Sprintf("conflict: %s %s", Quote(c.Path), why)
	if n := len(e.Paths) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// RefusedError names a path that must not be part of a change, or is out of the scope that was granted.
type RefusedError struct {
	Path, Why string
	Err       error // what the caller's scope said of the path, if it was that
}

func (e *RefusedError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return Quote(e.Path) + ": " + e.Why
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Quote shows a path to people: as it is if it is printable, quoted else.
func Quote(p string) string {
	if utf8.ValidString(p) && !strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' }) {
		return p
	}
	return fmt.Sprintf("%q", p)
}

// valid rejects what is not a clean relative path, or lies in the private directory.
func valid(p string) error {
	first, _, _ := strings.Cut(p, "/")
	switch {
	case first == Meta:
		return &RefusedError{Path: p, Why: Meta + " belongs to jitos"}
	case p == "" || p == "." || p[0] == '/' || first == ".." || path.Clean(p) != p || strings.ContainsRune(p, 0):
		return &RefusedError{Path: p, Why: "not a clean relative path"}
	}
	return nil
}

// delicate paths run code on a person's machine when they are used: they need to be named in the scope.
func delicate(p string) bool {
	parts := strings.Split(p, "/")
	for i, s := range parts {
		if s == ".envrc" {
			return true
		}
		if s == ".git" && (i+1 == len(parts) || parts[i+1] == "hooks" || parts[i+1] == "config") {
			return true
		}
	}
	return false
}

// parents yields the proper ancestors of p, outermost first, the root not included.
func parents(p string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := 0; i < len(p); i++ {
			if p[i] == '/' && !yield(p[:i]) {
				return
			}
		}
	}
}

func join(dir, name string) string {
	if dir == "" || dir == "." {
		return name
	}
	return dir + "/" + name
}

// split gives the parent ("" for the root) and the last name of a path.
func split(p string) (dir, name string) {
	i := strings.LastIndexByte(p, '/')
	return p[:max(i, 0)], p[i+1:]
}
