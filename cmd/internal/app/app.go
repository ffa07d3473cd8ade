// Package app is a workspace with everything that belongs to it: it loads, compiles, plans and runs, and answers
// questions about what was run. It is the only place that knows every phase; it prints nothing.
//
// Start reading at [Open] and [Workspace.Apply]. The clock, the environment and the search for programs enter here.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/stdlib"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/flyingrobots/jitos/warp/history"
)

// Options say which workspace, and how it is worked with.
type Options struct {
	Dir              string   // where to look for the workspace; "" is the current directory. The root is the nearest one upward
	Here             bool     // Dir is the root itself, with or without workflow files
	Vars             []string // name=value
	VarFiles         []string // of values for variables
	Jobs             int      // 0: as many as there are processors
	Overlay          string   // "auto" (also ""), "overlay" or "copy"
	RequireIsolation bool     // refuse less than full isolation
	NoWait           bool     // do not wait for another run of this workspace
	Waiting          func(who string)
	Notice           func(text string) // told what a person should know beside the answer
}

// Workspace is an open workspace. Its methods may be called one after the other, not at once.
type Workspace struct {
	root  string
	o     Options
	vars  map[string]string
	texts map[string][]byte // of the files of values, for diagnostics

	lock    *os.File // held while this process may write
	log     *history.Log
	reader  *history.Reader // commands that only look have no log
	graph   warp.Graph      // the fold of log
	journal *runner.Journal // appends to log for space
	store   *cas.Store
	space   *sws.Space
	base    *sws.Base
	ignore  *runner.Ignore
	module  *lang.Module
	mask    func() *plan.Mask    // of what was compiled last
	given   compiler.Options     // with which that was
	asked   []runner.Observation // what probes answered
	unsure  bool                 // one of them has to be asked each time
	fresh   *compiler.Program    // compiled from base before there was anything of ours, for the plan that comes next
	outside outside
	drafted time.Time // when base was looked at for [Workspace.Draft]

	readings []lang.Reading // what the workflow looked up as it was compiled and planned
}

// NoWorkflowError says that there is no workspace.
type NoWorkflowError struct{ Dir string }

func (e *NoWorkflowError) Error() string {
	return fmt.Sprintf("no *%s file in %s or above it: `jitos init` writes one", lang.Extension, e.Dir)
}

// BusyError says that another process runs in the workspace.
type BusyError struct{ Who string }

func (e *BusyError) Error() string { return "another jitos works here: " + e.Who }

// RefusedError says that something was not done because it is not allowed.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// DamagedError says that history or store cannot be trusted.
type DamagedError struct{ Err error }

func (e *DamagedError) Error() string { return e.Err.Error() }
func (e *DamagedError) Unwrap() error { return e.Err }

// damaged is err as what it says of history or store, unless that is only out of reach.
func damaged(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return &DamagedError{err}
}

// UsageError says that what was asked for makes no sense here.
type UsageError struct{ Reason string }

func (e *UsageError) Error() string { return e.Reason }

func usagef(format string, a ...any) error { return &UsageError{fmt.Sprintf(format, a...)} }

// checkpointEvery is how many events the next process may have to fold.
const checkpointEvery = 1000

// Open finds the workspace. It writes nothing yet.
func Open(o Options) (*Workspace, error) {
	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err == nil {
		var st fs.FileInfo
		if st, err = os.Stat(dir); err == nil && !st.IsDir() {
			err = unix.ENOTDIR
		}
	}
	if err != nil {
		return nil, usagef("directory %s: %s", o.Dir, reasonOf(err))
	}
	root, ok := dir, o.Here
	for !ok {
		if ok = hasWorkflow(root); ok {
			break
		}
		up := filepath.Dir(root)
		if up == root {
			return nil, &NoWorkflowError{Dir: dir}
		}
		root = up
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.NumCPU()
	}
	w := &Workspace{root: root, o: o, vars: map[string]string{}, texts: map[string][]byte{}}
	for _, v := range o.Vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, usagef("--var %s: write it as NAME=VALUE", v)
		}
		w.vars[name] = value
	}
	return w, nil
}

func hasWorkflow(dir string) bool {
	es, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(es, func(e fs.DirEntry) bool {
		return !e.IsDir() && strings.HasSuffix(e.Name(), lang.Extension) && !strings.HasPrefix(e.Name(), ".")
	})
}

// Root is the absolute path of the workspace, without symbolic links.
func (w *Workspace) Root() string { return w.root }

// Files are the paths of the workflow files, and of those of the modules in the workspace that they use.
func (w *Workspace) Files() ([]string, error) {
	m, diags := lang.Load(os.DirFS(w.root), ".", stdlib.Modules())
	unreadable := slices.DeleteFunc(diags, func(d diag.Diagnostic) bool { return d.Code != lang.CodeUnreadable })
	var out []string
	for _, m := range m.All() {
		for _, f := range m.Files() {
			if !strings.HasPrefix(f, lang.StdPrefix) {
				out = append(out, filepath.Join(w.root, f))
			}
		}
	}
	return out, unreadable.Err()
}

// Hide is s without the secrets of the workflow.
func (w *Workspace) Hide(s string) string {
	if w.mask == nil {
		return s
	}
	return w.mask().Text(s)
}

// Source returns the text of a workflow file, or of a file of values, for diagnostics.
func (w *Workspace) Source(file string) []byte {
	if w.module != nil && w.module.Source(file) != nil {
		return w.module.Source(file)
	}
	return w.texts[file]
}

// Close releases what the workspace holds.
func (w *Workspace) Close() error {
	var errs []error
	if w.space != nil {
		errs = append(errs, w.space.Close())
	}
	if w.log != nil {
		if w.log.SinceCheckpoint() >= checkpointEvery {
			errs = append(errs, w.log.Checkpoint(w.graph))
		}
		errs = append(errs, w.log.Close())
	}
	if w.store != nil {
		errs = append(errs, w.store.Close())
	}
	if w.base != nil {
		errs = append(errs, w.base.Close())
	}
	if w.lock != nil {
		errs = append(errs, w.lock.Close())
	}
	w.space, w.log, w.store, w.base, w.lock = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

func (w *Workspace) meta(name string) string { return filepath.Join(w.root, sws.Meta, name) }

// acquire makes this process the one that may write: it takes the run lock, opens history and store, and finishes what
// a dead process left.
func (w *Workspace) acquire(ctx context.Context) error {
	if w.space != nil {
		return nil
	}
	if err := os.Mkdir(w.meta(""), 0o755); errors.Is(err, fs.ErrExist) {
		w.fresh = nil // whoever was here may have changed things
	} else if err != nil {
		return fmt.Errorf("make %s: %w", w.meta(""), err)
	}
	if err := w.takeLock(ctx); err != nil {
		return err
	}
	var err error
	if w.store, err = cas.Open(w.meta("objects")); err != nil {
		return err
	}
	if w.log, err = history.Open(w.meta("history"), history.Options{}); err != nil {
		return damaged(err)
	}
	if w.graph, err = w.log.System(); err != nil {
		return damaged(err)
	}
	if err := w.sayTorn(); err != nil {
		return err
	}
	w.journal = &runner.Journal{Log: w.log, System: &w.graph, Store: w.store}
	w.space, err = sws.Open(w.root, sws.Options{Slots: w.o.Jobs, Overlay: w.o.Overlay, Store: w.store, Journal: w.journal})
	if err != nil {
		return err
	}
	if w.o.RequireIsolation {
		if iso := w.space.Isolation(ctx); iso != "overlay" {
			return &RefusedError{"full isolation is required and not available here: " + iso + "; `jitos doctor` says how to get it"}
		}
	}
	if w.fresh != nil {
		return nil
	}
	return w.look()
}

// sayTorn tells, and records, that the history ended in what nobody was ever promised.
func (w *Workspace) sayTorn() error {
	torn := w.log.Torn()
	if torn == nil {
		return nil
	}
	text := fmt.Sprintf("the history ended in the middle of a write (%s): %s at the end of %s were cut off; nothing that was acknowledged is lost",
		torn.Reason, counted(int(torn.Bytes), "byte"), torn.Segment)
	w.notice(text)
	data, err := cbor.Encode(&runner.Observation{What: "torn", Text: text})
	if err != nil {
		return err
	}
	e := history.Event{Kind: history.Observation, Digest: w.graph.Digest(), At: time.Now().UnixNano(), Data: data}
	_, err = w.log.Append(e)
	return errors.Join(err, w.log.Commit())
}

func (w *Workspace) notice(text string) {
	if w.o.Notice != nil {
		w.o.Notice(text)
	}
}

// takeLock takes the run lock, waiting for who holds it unless told not to.
func (w *Workspace) takeLock(ctx context.Context) error {
	f, err := os.OpenFile(w.meta("run"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if !tryLock(f) {
		b, _ := os.ReadFile(f.Name())
		who := strings.TrimSpace(string(b))
		if w.o.NoWait {
			return errors.Join(&BusyError{Who: who}, f.Close())
		}
		if w.o.Waiting != nil {
			w.o.Waiting(who)
		}
		for !tryLock(f) { // asked again and again, because a flock that waits cannot be interrupted
			select {
			case <-ctx.Done():
				return errors.Join(context.Cause(ctx), f.Close())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	who := fmt.Sprintf("process %d: %s\n", os.Getpid(), withoutValues(os.Args))
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(who), 0)
	}
	w.lock = f
	return err
}

// withoutValues is a command without the values that it gives to variables: one may be sensitive, and this is written down.
func withoutValues(args []string) string {
	out := slices.Clone(args)
	for i, a := range out {
		if v, ok := strings.CutPrefix(a, "--var="); ok {
			name, _, _ := strings.Cut(v, "=")
			out[i] = "--var=" + name + "=…"
		} else if name, _, ok := strings.Cut(a, "="); ok && i > 0 && out[i-1] == "--var" {
			out[i] = name + "=…"
		}
	}
	return strings.Join(out, " ")
}

// tryLock takes the lock of an open file if nobody has it.
func tryLock(f *os.File) bool { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil }

// look takes a new look at the workspace.
func (w *Workspace) look() error { return w.lookAfresh(runner.Digests(w.meta("index/system"))) }

// runnerWorkspace is what package runner works with.
func (w *Workspace) runnerWorkspace() runner.Workspace {
	return runner.Workspace{Root: w.root, Log: w.log, System: &w.graph, Store: w.store, Space: w.space, Journal: w.journal, Base: w.base, Ignore: w.ignore}
}

// options are those of every run.
func (w *Workspace) options() runner.Options {
	return runner.Options{Jobs: w.o.Jobs, Grace: 5 * time.Second, Now: time.Now, Env: w.env, LookPath: w.program,
		StatTool: statTool, CacheDir: cacheDir()}
}

func cacheDir() string {
	if d := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "jitos")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fmt.Sprintf("jitos-cache-%d", os.Getuid()))
	}
	return filepath.Join(home, ".cache", "jitos")
}

// lookPath finds a program along PATH. Unlike exec.LookPath it has no opinion on the current directory.
func lookPath(name string) (string, bool) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if p := filepath.Join(dir, name); filepath.IsAbs(dir) && executable(p) {
			return p, true
		}
	}
	return "", false
}

func executable(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

func statTool(p string) (size, mtime int64, err error) {
	st, err := os.Stat(p)
	if err != nil {
		return 0, 0, err
	}
	return st.Size(), st.ModTime().UnixNano(), nil
}

// Loading reads the workflow of a workspace and the modules that it uses, as [lang.Load] does.
type Loading func(fsys, std fs.FS) (*lang.Module, diag.List)

// Draft looks at the workflow for an editor, which reads it by load: its texts may not be saved yet. It writes nothing, also
// not to finish what a dead process left. look is called with what was read, what to compile it with, and what is wrong so far.
// afresh says that files may have changed since the last time; else they are taken for what they were, for a while.
func (w *Workspace) Draft(afresh bool, load Loading, look func(*lang.Module, compiler.Options, diag.List)) error {
	if w.base == nil || afresh || time.Since(w.drafted) > 2*time.Second {
		if err := w.lookAfresh(nil); err != nil {
			return err
		}
		w.drafted = time.Now()
	}
	m, o, diags := w.load(load)
	o.Open = true
	look(m, o, diags)
	return nil
}

// compile loads and compiles the workflow as the workspace is now. The program is usable only without errors.
func (w *Workspace) compile() (*compiler.Program, diag.List) {
	m, o, diags := w.load(func(fsys, std fs.FS) (*lang.Module, diag.List) { return lang.Load(fsys, ".", std) })
	if diags.HasErrors() && len(m.Tasks) == 0 {
		return nil, diags
	}
	p, more := compiler.Compile(m, o)
	w.mask, w.given = p.Mask, o
	return p, append(diags, more...).Sorted()
}

// load reads the workflow, and says with what it is to be compiled.
func (w *Workspace) load(load Loading) (*lang.Module, compiler.Options, diag.List) {
	w.readings = nil
	world := lang.World{Read: func(r lang.Reading) { w.readings = append(w.readings, r) }, FS: sws.NewView(w.base, nil), Ignored: w.ignore.Match, LookPath: w.program, Env: w.env,
		Digest: func(p string) (string, error) {
			e, _, err := w.base.Entry(p)
			return e.Digest.String(), err
		}}
	m, diags := load(world.FS, stdlib.Modules())
	w.module = m
	w.ignore = runner.NewIgnore(w.root, w.base, m.Settings.Ignore)
	world.Ignored = w.ignore.Match
	vars := map[string]compiler.Given{}
	sources, wrong := w.sources(m)
	diags = append(diags, wrong...)
	for name, list := range sources {
		if i := slices.IndexFunc(list, func(s source) bool { return s.there }); i >= 0 {
			vars[name] = list[i].Given
		}
	}
	return m, compiler.Options{Vars: vars, Version: Version, World: world, Known: diags, Secret: os.LookupEnv}, diags
}

func reasonOf(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
