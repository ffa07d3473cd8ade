package app

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/history"
)

// Version is the version of this jitos. It is part of what a projection answers for.
const Version = "0.1.0"

// projection is where the answer to "is there anything to do for this?" lies.
func (w *Workspace) projection(r Request) string {
	h := blake3.New()
	put := func(ss ...string) {
		for _, s := range ss {
			h.WriteString(s)
			h.Write([]byte{0})
		}
		h.Write([]byte{1})
	}
	put(Version, buildID(), w.o.Overlay)
	put(r.Target)
	args := slices.Clone(r.Args)
	slices.Sort(args)
	put(args...)
	put(w.o.Vars...)
	for _, file := range w.o.VarFiles {
		text, _ := os.ReadFile(file) // one that cannot be read has no answer that was kept
		put(file, string(text))
	}
	var env []string
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "JITOS_VAR_") {
			env = append(env, v)
		}
	}
	slices.Sort(env)
	put(env...)
	return w.meta("index/system/" + hex.EncodeToString(h.Sum(nil)[:12]))
}

// buildID tells one build of jitos from another: during development the version stays and the behaviour changes.
func buildID() string {
	st, err := os.Stat("/proc/self/exe")
	if err != nil {
		return ""
	}
	return st.ModTime().UTC().Format(time.RFC3339Nano)
}

// NothingToDo answers from the projection alone whether everything is up to date: it stats what the last run looked
// at, opens nothing else and writes nothing. false means: find out.
func NothingToDo(o Options, r Request) (*runner.Outcome, bool) {
	if r.Hold || o.RequireIsolation {
		return nil, false
	}
	began := time.Now()
	w, err := Open(o)
	if err != nil {
		return nil, false
	}
	log, err := history.OpenReader(w.meta("history"))
	if err != nil || w.unfinished() {
		return nil, false
	}
	_, head, err := log.Head()
	if err != nil {
		return nil, false
	}
	steps, ok := runner.Unchanged(w.root, w.projection(r), head, os.LookupEnv, programID)
	if !ok {
		return nil, false
	}
	return &runner.Outcome{Status: runner.Nothing, NothingToDo: true, Target: r.Target, Steps: steps, UpToDate: steps,
		Wall: time.Since(began)}, true
}

// unfinished says that a dead process may have left something that the next one has to clean up.
func (w *Workspace) unfinished() bool {
	es, err := os.ReadDir(w.meta(""))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return slices.ContainsFunc(es, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "tx-") })
}

// programID is what a projection remembers of a program on PATH.
func programID(name string) string {
	p, ok := lookPath(name)
	if !ok {
		return ""
	}
	size, mtime, err := statTool(p)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d", p, size, mtime)
}

// project keeps what the run looked at, so that the next one with nothing to do is answered from it. It is given up
// where the workspace moved on meanwhile: then the next run finds out the long way.
func (w *Workspace) project(r Request, out *runner.Outcome) error {
	now, err := sws.NewBase(w.root, nil)
	if err != nil {
		return err
	}
	defer now.Close()
	p := runner.Projection{Request: append([]string{r.Target}, r.Args...), Steps: out.Steps, Outside: w.outside.list()}
	_, p.Head = w.log.Head()
	written := map[string]sws.Done{}
	children := map[string][]sws.Done{} // by directory
	for _, d := range out.Collapsed {
		written[d.Path] = d
		dir := path.Dir(d.Path)
		children[dir] = append(children[dir], d)
	}
	for _, s := range w.base.Seen() {
		if d, ours := written[s.Path]; ours {
			delete(written, s.Path)
			s = seenAfter(d)
		}
		dir := cmp.Or(s.Path, ".")
		if s.Listed && len(children[dir]) > 0 {
			ok, err := w.listed(now, dir, children[dir], &s)
			if err != nil || !ok {
				return err
			}
		}
		p.Seen = append(p.Seen, s)
	}
	for _, d := range out.Collapsed {
		if _, left := written[d.Path]; left {
			p.Seen = append(p.Seen, seenAfter(d))
		}
	}
	if now.Racy(p.Seen) {
		return nil
	}
	return runner.WriteProjection(w.projection(r), p)
}

// seenAfter is what a collapse left at a path, as if it had been looked at.
func seenAfter(d sws.Done) sws.Seen {
	return sws.Seen{Path: d.Path, Print: d.Final, Entry: d.After, Read: d.After.Kind == sws.File}
}

// listed brings a directory that was listed before the collapse up to date. false: it holds something else by now.
func (w *Workspace) listed(now *sws.Base, dir string, done []sws.Done, s *sws.Seen) (bool, error) {
	names, _, err := w.base.Dir(dir)
	if err != nil {
		return false, err
	}
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	for _, d := range done {
		want[path.Base(d.Path)] = d.After.Kind != sws.Absent
	}
	is, fp, err := now.Dir(dir)
	if err != nil {
		return false, err
	}
	for _, n := range is {
		if !want[n] {
			return false, nil
		}
		delete(want, n)
	}
	for _, there := range want {
		if there {
			return false, nil
		}
	}
	s.Print = fp
	return true, nil
}

// outside collects what plans look up outside the workspace.
type outside struct {
	mu   sync.Mutex
	seen map[runner.Outside]bool
}

func (o *outside) note(kind, name, value string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[runner.Outside]bool{}
	}
	o.seen[runner.Outside{Kind: kind, Name: name, Value: value}] = true
}

func (o *outside) list() []runner.Outside {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.SortedFunc(maps.Keys(o.seen), func(a, b runner.Outside) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	})
}

// env looks a variable up, and remembers that.
func (w *Workspace) env(name string) (string, bool) {
	v, ok := os.LookupEnv(name)
	w.outside.note("env", name, runner.EnvValue(v, ok))
	return v, ok
}

// program looks a program up along PATH, and remembers that.
func (w *Workspace) program(name string) (string, bool) {
	w.outside.note("program", name, programID(name))
	return lookPath(name)
}
