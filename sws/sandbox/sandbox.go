// Package sandbox runs commands in slots: places that are made once, in which one command after the other sees a
// masked, read-only machine with its own view of the workspace, and of which nothing is left when the command ends.
//
// A slot is this very program executed again ([Main] must come first in main and TestMain) as PID 1 of namespaces
// of its own. It makes the masks once; per command it mounts an overlay, forks from a thread that has given up all
// it can (capabilities, system calls, writes elsewhere), waits, kills and reaps what is left, and answers. When the
// runner dies, its end of the slot's socket closes, PID 1 exits, and the kernel ends everything in the slot.
//
// The package knows mounts, masks and processes. It knows nothing of steps, layers, change sets or caching: who
// calls it says which directories are stacked and what is granted.
//
// Start reading at [Pool.Run] (the runner's side), then slot_linux.go (PID 1's side) and root_linux.go (what a
// command sees).
//
// # Caveats
//
// Namespaces hide and protect files, processes, IPC and the network; they do not hide how fast the machine is, and
// they are only as good as the kernel. [Plain] hides nothing: it only refuses writes, where the kernel has Landlock.
package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Mode says how much a slot isolates.
type Mode int

const (
	// Namespaces is the full sandbox: overlay, masks, own process, network and IPC namespaces.
	Namespaces Mode = iota
	// Plain runs the command in the machine as it is, kills all its descendants at the end, and refuses writes
	// outside Options.Writable where the kernel has Landlock.
	Plain
)

// Home is where a command of a Namespaces slot finds an empty private directory that lasts for this one command.
// Commands whose Env has no HOME get it (with Plain: a private temporary directory).
const Home = "/run/home"

// ErrUnavailable is what Probe and New return where the system has no sandbox of the wanted mode at all.
var ErrUnavailable = errors.New("sandbox: not available on this system")

// ErrSlot is wrapped by errors of Run that cost the slot: the command may have run in part; the next Run starts a new slot.
var ErrSlot = errors.New("sandbox: the slot failed")

// Options configure a Pool.
type Options struct {
	Slots     int    // how many commands run at once
	Mode      Mode   // Namespaces unless said otherwise
	Workspace string // absolute, without symbolic links; where the overlay is mounted (Namespaces)
	// Hide lists absolute paths that commands must not see; what lies inside the workspace is the overlay's affair.
	Hide []string
	// Writable lists the trees a Plain slot may write to, besides its private HOME and TMPDIR.
	Writable []string
}

// Overlay is the view of the workspace that a command gets. All paths are absolute directories that exist.
type Overlay struct {
	Lower       []string // top first, the workspace last; the others may lie inside it
	Hide        []string // names in the workspace's root that the command does not see
	Upper, Work string   // on one file system, used by no other mount; Upper receives what the command writes
	InMemory    bool     // they lie in memory
}

// Bind shows From (a file or directory) at To. Both are absolute. To is made when it lies under a mask or in the
// overlay. With Plain From and To must be equal and only Write has an effect.
type Bind struct {
	From, To string
	Write    bool
}

// Command is one command to run.
type Command struct {
	Argv []string // Argv[0] is looked up along PATH of Env as seen inside the slot when it has no slash
	// Env has "NAME=value". Where they are missing HOME is added, with Plain TMPDIR, with rustup in PATH RUSTUP_HOME
	// (it looks in HOME otherwise), inside a git work tree GIT_DISCOVERY_ACROSS_FILESYSTEM (the overlay is one).
	Env     []string
	Dir     string   // absolute
	Stdin   string   // what it reads; "" is an empty one
	Overlay *Overlay // nil: the workspace is read-only (Namespaces), or untouched (Plain)
	Binds   []Bind
	Network bool      // the host's network; else a private one with lo up
	Output  io.Writer // stdout and stderr together, as it comes, from one goroutine; an error of it ends the command
	Stdout  io.Writer // what comes on stdout once more; nil: nobody wants to know it apart. Then the two keep their order
	Timeout time.Duration
	// Grace is the time from TERM to the command's process group to KILL of everything. 0 means 5 s.
	Grace time.Duration
	// Unmount asks for the overlay to be unmounted before Run returns: its upper will be another command's lower.
	// Else it goes a moment later.
	Unmount bool
}

// Result says how a command ended.
type Result struct {
	Exit     int           // 0..255; 128+n when a signal n ended it, 127 when there is no such program, 126 when it cannot be executed
	Signal   int           // 0 = it exited
	TimedOut bool          // Timeout passed
	Left     int           // processes that were still alive when the command itself had ended; they were killed
	MaxRSS   int64         // bytes, of the largest process
	Wall     time.Duration // from the request to the slot's answer
	NotFound bool          // Argv[0] was not found inside; Exit is 127
}

const defaultGrace = 5 * time.Second

// Clean removes a tree in which directories may have lost their permissions (an overlay's work directory has such).
// It fails if something is left.
func Clean(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case d == nil || !d.IsDir():
			return err
		case err != nil: // could not be listed even with its bits
			return err
		}
		return os.Chmod(path, 0o700) // called before the directory is read
	})
	return errors.Join(err, os.RemoveAll(dir))
}
