package lang

import (
	"io/fs"
)

// World is what reading functions may see of the workspace. Package lang itself does no I/O: a zero field
// makes the functions that need it fail with an error that says so.
type World struct {
	FS       fs.FS                            // the workspace
	Ignored  func(path string, dir bool) bool // whether a wildcard skips path; nil skips nothing
	LookPath func(name string) (path string, ok bool)
	Env      func(name string) (string, bool)
	Digest   func(path string) (hex string, err error)
	Read     func(Reading) // told of every look-up, in the order they happen; nil: nobody wants to know
}

// Reading is one look-up and what it found. Plans record them: a reading that changed makes the plan stale.
type Reading struct {
	Kind  string // "file", "exists", "size", "hash", "dir", "program" or "env"
	Name  string // path relative to the workspace, program or variable
	Value string // what was found; "" and Found false if there was nothing
	Found bool
}
