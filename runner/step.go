package runner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner/worker"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp/cas"
)

// decision is what is known of a step before anything runs.
type decision struct {
	action []field
	inputs []input
	key    cas.Digest
	known  *known   // an earlier step with this key, whose late inputs are as they were
	stands bool     // what it produced stands in the workspace
	edited bool     // somebody changed what it produced
	why    []string // it has to run or to be restored: the reasons
}

// declaresNothing says that a step always runs.
func declaresNothing(s *plan.Step) bool {
	return s.NoCache || s.Inputs == nil && s.Outputs == nil
}

// decide finds out whether the result of step i is known. It mounts and writes nothing.
func (k *kernel) decide(i int) (*decision, error) {
	s := &k.plan.Steps[i]
	below := k.steps[i].below
	d := &decision{}
	var err error
	if d.action, err = k.action(s); err != nil {
		return nil, err
	}
	if d.inputs, err = k.inputs(i, below); err != nil {
		if m, ok := errors.AsType[*MissingInputError](err); ok {
			return nil, failf("%s", m)
		}
		if p, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrPermission) {
			return nil, failf("input %s: %s", p.Path, p.Err)
		}
		return nil, k.ofStep(s, err)
	}
	if declaresNothing(s) {
		// known within this run only, so that another plan does not repeat it over the same files
		over := []input{{path: "occurrence " + s.ID}}
		for j := range below.all() {
			for _, c := range k.steps[j].res.changes {
				over = append(over, input{path: c.Path, entry: c.After})
			}
		}
		d.key = key(d.action, append(over, d.inputs...))
		d.why = []string{"always runs: it declares neither inputs nor outputs"}
		if s.NoCache {
			d.why = []string{"always runs: cache = false"}
		}
		return d, nil
	}
	d.key = key(d.action, d.inputs)
	if d.known, err = k.find(d.key, below); err != nil {
		return nil, err
	}
	if d.known != nil {
		var missing string
		if missing, d.edited, err = k.standing(d.known.changes, below); err != nil {
			return nil, err
		}
		d.stands = missing == ""
		d.why = []string{missing}
		return d, nil
	}
	for _, p := range outputPaths(s) {
		if _, err := k.w.Base.Stat(p); errors.Is(err, sws.ErrSymlink) {
			return nil, k.ofStep(s, err)
		}
	}
	d.why, err = k.explain(s, d)
	return d, err
}

// standing compares what a step produced with the workspace as the step sees it: "" when it is all there, else what
// is not, as a reason. edited says that something else is in its place.
func (k *kernel) standing(changes []sws.Change, below bits) (missing string, edited bool, err error) {
	for _, c := range changes {
		if _, above := k.files.above(c.Path, below); above {
			return "output " + c.Path + " was written by another step", false, nil
		}
		e, err := k.at(c.Path)
		switch {
		case err != nil:
			return "", false, err
		case e.Kind == sws.Absent && c.After.Kind != sws.Absent:
			return "output " + c.Path + " missing", false, nil
		case !sameContent(e, c.After):
			ours, err := k.ours(c.Path, e)
			if err != nil || ours {
				return "output " + c.Path + " is of other inputs", false, err
			}
			return "output " + c.Path + " is not what it made", true, nil
		}
	}
	return "", false, nil
}

// at is what stands in the workspace at a path. Of a file that cannot be read it says that it is there, and equals nothing.
func (k *kernel) at(p string) (sws.Entry, error) {
	e, _, err := k.w.Base.EntryAt(p)
	if errors.Is(err, fs.ErrPermission) {
		fp, err := k.w.Base.At(p)
		return sws.Entry{Kind: fp.Kind, Mode: fp.Mode, Size: fp.Size}, err
	}
	return e, err
}

// ours says whether some step made this content of a path.
func (k *kernel) ours(p string, e sws.Entry) (bool, error) {
	a, err := artifactOf(p, e)
	if err != nil {
		return false, err
	}
	for range k.lookup.Out(a.ID(), "produced") {
		return true, nil
	}
	return false, nil
}

func sameContent(a, b sws.Entry) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case sws.Absent, sws.Dir:
		return true
	case sws.Link:
		return contentDigest(a) == contentDigest(b)
	}
	return a.Mode == b.Mode && a.Digest == b.Digest
}

// carryOut brings step i to its end, in a slot. It runs on the slot's goroutine. begun is called once a worker or the
// store is needed.
func (k *kernel) carryOut(ctx context.Context, slot, i int, begun func(Invocation)) *result {
	s := &k.plan.Steps[i]
	r := &result{step: i, event: Result{Run: k.run, Step: s.ID, Range: at(s)}}
	err := k.try(ctx, slot, i, r, begun)
	if err != nil {
		r.err, r.outcome, r.layer, r.changes = err, Failed, nil, nil
		r.event.Reason = err.Error()
		if _, own := errors.AsType[*stepError](err); own {
			r.err = nil
		}
		if ctx.Err() != nil {
			r.outcome, r.err = Cancelled, nil
			r.event.Reason = context.Cause(ctx).Error()
			if errors.Is(context.Cause(ctx), context.Canceled) {
				r.event.Reason = "interrupted"
			}
		}
	}
	r.event.Outcome = r.outcome
	return r
}

func at(s *plan.Step) string {
	if s.Range.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", s.Range.File, s.Range.Start.Line)
}

// beside is where a step is written, to stand after what is wrong with it.
func beside(s *plan.Step) string {
	if where := at(s); where != "" {
		return "   (" + where + ")"
	}
	return ""
}

// reruns bounds how often a step is repeated because its inputs changed under it.
const reruns = 3

func (k *kernel) try(ctx context.Context, slot, i int, r *result, begun func(Invocation)) error {
	s := &k.plan.Steps[i]
	below := k.steps[i].below
	if err := k.steps[i].unfit; err != nil {
		return &stepError{err.Error()}
	}
	if err := k.checkWhen(s, below); err != nil {
		return err
	}
	begin := sync.OnceFunc(func() { begun(k.invocation(i, r)) })
	attempt := 1
	for n := 0; ; n++ {
		d, err := k.decide(i)
		if p, moved := changedPath(err); moved && n < reruns { // somebody edits it just now: look again
			k.w.Base.Forget(p)
			k.files.forgetLists()
			continue
		}
		if err != nil {
			return k.ofStep(s, err)
		}
		r.key, r.action, r.inputs, r.why = d.key, d.action, d.inputs, d.why
		if old := k.kept(d.key); old != nil {
			r.outcome, r.layer, r.changes = old.outcome, old.layer, old.changes
			r.node, r.known, r.event = old.node, old.known, old.event
			r.inputs, r.after, r.value = old.inputs, old.after, old.value
			r.notes = nil
			return nil
		}
		if d.known != nil {
			r.node, r.known, r.changes, r.value = d.known.node, true, d.known.changes, string(d.known.data.Result)
			r.inputs = append(r.inputs, d.known.late...)
			if d.stands {
				r.outcome = UpToDate
				return nil
			}
			restored, err := k.restore(s, d, r, begin)
			if err != nil || restored {
				return err
			}
			r.known = false
		}
		begin()
		again, err := k.execute(ctx, slot, i, r)
		if wait, ok := retryAfter(s, r, attempt, err); ok && ctx.Err() == nil {
			text := fmt.Sprintf("attempt %d of %d: %s; again after %s", attempt, s.Retry.Attempts, err, wait)
			r.notes = append(r.notes, Observation{What: "retry", Step: s.ID, Text: text})
			out := k.o.Live.Output
			if out != nil {
				out(s.ID, []byte(text+"\n"))
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(wait):
			}
			attempt, n = attempt+1, n-1
			r.event = Result{Run: k.run, Step: s.ID, Range: at(s)}
			continue
		}
		if err != nil || !again {
			return err
		}
		if n == reruns {
			return failf("its inputs keep changing while it runs: %s", r.event.Reason)
		}
		r.notes = append(r.notes, Observation{What: "rerun", Step: s.ID, Text: r.event.Reason})
		r.event = Result{Run: k.run, Step: s.ID, Range: at(s)}
	}
}

// retryAfter says whether a step that failed is tried again, and after how long. Where a wait lies within its jitter comes
// from the step's key: it is another for each step, and the same each time.
func retryAfter(s *plan.Step, r *result, attempt int, err error) (time.Duration, bool) {
	if _, own := errors.AsType[*stepError](err); !own || attempt >= s.Retry.Attempts {
		return 0, false
	}
	if s.Retry.OnExit != nil && !slices.Contains(s.Retry.OnExit, r.event.Exit) {
		return 0, false
	}
	chance := cas.Sum(fmt.Appendf(r.key[:], " attempt %d", attempt))
	return s.Retry.Delay(attempt, float64(binary.BigEndian.Uint32(chance[:]))/math.MaxUint32).Round(time.Millisecond), true
}

func (k *kernel) invocation(i int, r *result) Invocation {
	s := &k.plan.Steps[i]
	kind := k.kinds[worker.KindOf(s.Command)]
	why := make([]string, len(r.why)) // the slot goes on with its own
	for n, w := range r.why {
		why[n] = readable(w)
	}
	return Invocation{Run: k.run, Step: s.ID, Task: s.Task, Path: pathOf(k.plan, i), Worker: kind.Name,
		Text: kind.Text(s.Command), Key: slices.Clone(r.key[:]), Why: why}
}

// restore takes what a step produced from the store. false: something of it is gone, so the step has to run.
func (k *kernel) restore(s *plan.Step, d *decision, r *result, begin func()) (bool, error) {
	for _, c := range d.known.changes {
		if c.After.Kind == sws.File && !k.w.Store.Has(c.After.Digest) {
			r.why = append(d.why, "the store has no longer what it made of "+c.Path)
			d.why = r.why
			return false, nil
		}
	}
	set, err := k.workingSet()
	if err != nil {
		return false, err
	}
	layer, err := set.Restore(d.known.changes)
	if missing(err) {
		r.why = append(d.why, err.Error())
		d.why = r.why
		return false, nil
	}
	if err != nil {
		return false, err
	}
	begin()
	if d.edited {
		r.notes = append(r.notes, Observation{What: "warning", Step: s.ID, Text: d.why[0] + ": it is made again (`jitos undo` brings the other one back)"})
	}
	if r.reads, err = k.readsOf(r.inputs, k.steps[r.step].below); err != nil {
		return false, err
	}
	r.layer, r.outcome = layer, Cached
	r.event.Value = r.value
	r.event.Changes = k.changesOf(layer.Changes())
	return true, nil
}

// workingSet makes the SWS of this run when the first step needs it.
func (k *kernel) workingSet() (*sws.Set, error) {
	k.setOnce.Do(func() { k.set, k.setErr = k.w.Space.NewSet(k.sws, k.w.Base) })
	return k.set, k.setErr
}

// kept finds the result of a step of an earlier plan of this run.
func (k *kernel) kept(d cas.Digest) *result {
	k.finishedMu.Lock()
	defer k.finishedMu.Unlock()
	return k.finished[d]
}

// checkWhen tests the guards of a step in its own view.
func (k *kernel) checkWhen(s *plan.Step, below bits) error {
	if len(s.When) == 0 {
		return nil
	}
	view := k.view(below)
	for _, c := range s.When {
		ok, values, err := c.Test(view)
		if err != nil {
			return failf("when %s: %s", c.Text, err)
		}
		if !ok {
			if values != "" {
				values = ": " + values
			}
			return failf("when %s does not hold%s", c.Text, values)
		}
	}
	return nil
}

// execute runs step i in its own layer. again says that an input changed under it (event.Reason names it).
func (k *kernel) execute(ctx context.Context, slot, i int, r *result) (again bool, err error) {
	s := &k.plan.Steps[i]
	below := k.steps[i].below
	set, err := k.workingSet()
	if err != nil {
		return false, err
	}
	binds, env, err := k.grants(s)
	if err != nil {
		return false, err
	}
	if s.Command.Dir != "." {
		if e, err := k.files.entry(s.Command.Dir, below); err != nil {
			return false, k.ofStep(s, err)
		} else if e.Kind != sws.Dir {
			return false, failf("its dir %s does not exist", s.Command.Dir)
		}
	}
	if err := k.lookAtOutputs(s); err != nil {
		return false, k.ofStep(s, err)
	}
	log := &capture{live: func(b []byte) {
		if k.o.Live.Output != nil {
			k.o.Live.Output(s.ID, b)
		}
	}}
	mask := k.mask.Load()
	out := mask.Writer(log)
	kind := k.kinds[worker.KindOf(s.Command)]
	var stdout *head
	if s.Result.Of == plan.ResultStdout || s.Result.Of == plan.ResultJSON {
		stdout = &head{max: maxValue}
	}
	start := k.o.Now()
	layer, res, err := set.Run(ctx, slot, k.lower(below), sws.Command{
		Argv: kind.Argv(s.Command), Env: env, Dir: s.Command.Dir, Stdin: s.Command.Stdin, Mkdir: outputDirs(s), Binds: binds,
		Network: s.Allow.Network, Output: out, Stdout: stdout.writer(), Timeout: s.Timeout, Grace: k.o.Grace,
		Small: s.Outputs != nil && !s.Allow.Network && stdout == nil, Leaf: len(k.steps[i].dependents) == 0,
	})
	err = errors.Join(err, out.Close())
	e := &r.event
	if p, moved := changedPath(err); moved { // while it was copied for the step
		k.w.Base.Forget(p)
		k.files.forgetLists()
		e.Reason = "input " + p + " changed while it ran"
		return true, nil
	}
	tooLoud := errors.Is(err, errTooLoud)
	if err != nil && !tooLoud {
		return false, k.ofStep(s, err)
	}
	e.Exit, e.Signal, e.RSS, e.Wall, e.Left = res.Exit, res.Signal, res.MaxRSS, int64(res.Wall), res.Left
	reason := badEnd(s, res)
	if tooLoud { // it was ended for that, and has no layer
		reason = errTooLoud.Error()
	} else if reason != "" { // where the disk is full, what it wrote is the room that its log needs
		if err := layer.Drop(); err != nil {
			return false, err
		}
	}
	text := log.bytes()
	if len(text) > 0 {
		d, err := k.w.Store.Put(text)
		if err != nil {
			return false, err
		}
		e.Log = d[:]
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if reason != "" {
		e.Tail, e.Refused = tail(text, 12), k.refusal(s, append(slices.Clip(text), "\n"+reason...))
		return false, &stepError{reason}
	}
	if err := k.value(s, set, layer, below, stdout, r); err != nil {
		return false, err
	}
	if err = k.judge(s, i, layer, r); err == nil {
		err = k.reveals(s, layer, r)
	}
	if err != nil { // a secret that it wrote goes at once, also where the rest of the run is held
		return false, cmp.Or(layer.Drop(), err)
	}
	if err := k.lateInputs(s, set, layer, below, r); err != nil {
		if p, moved := changedPath(err); moved {
			k.w.Base.Forget(p)
			e.Reason = "input " + p + " changed while it ran"
			return true, nil
		}
		return false, err
	}
	if changed, err := k.changedUnder(r.inputs, below, start); err != nil || changed != "" {
		e.Reason = changed
		return changed != "", err
	}
	if r.reads, err = k.readsOf(r.inputs, below); err != nil {
		return false, err
	}
	r.layer, r.outcome = layer, Ran
	if s.Criterion == "" { // else its writes are dropped
		if err := set.Store(layer); err != nil {
			return false, err
		}
		if r.changes, err = k.made(s, layer, below); err != nil {
			return false, err
		}
		e.Changes = k.changesOf(layer.Changes())
	}
	for _, in := range r.inputs {
		if in.list != nil {
			if _, err := k.w.Store.Put(in.list.blob); err != nil {
				return false, err
			}
		}
	}
	return false, k.keyAfter(s, r)
}

// ofStep tells what is the step's own fault from what is the kernel's.
func (k *kernel) ofStep(s *plan.Step, err error) error {
	if _, refused := errors.AsType[*sws.RefusedError](err); refused {
		return &stepError{err.Error()}
	}
	p, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(err, sws.ErrSymlink) {
		return err
	}
	for i := range len(p.Path) {
		if p.Path[i] != '/' {
			continue
		}
		if e, _, err := k.w.Base.Entry(p.Path[:i]); err == nil && e.Kind == sws.Link {
			return failf("%s lies behind %s, a symbolic link to %s: name it by its own path, or make %[2]s a directory%[4]s", p.Path, p.Path[:i], e.Target, beside(s))
		}
	}
	return &stepError{err.Error()}
}

// badEnd says why a command that ended did not succeed.
func badEnd(s *plan.Step, res sandbox.Result) string {
	switch {
	case res.TimedOut:
		return fmt.Sprintf("timeout after %s", s.Timeout)
	case res.NotFound:
		return fmt.Sprintf("%s: command not found%s", worker.Kinds()[worker.KindOf(s.Command)].Argv(s.Command)[0], beside(s))
	case res.Signal != 0:
		return fmt.Sprintf("killed by %s", signalName(res.Signal))
	case res.Exit != 0:
		return fmt.Sprintf("exit %d", res.Exit)
	}
	return ""
}

func signalName(n int) string {
	names := map[syscall.Signal]string{syscall.SIGABRT: "SIGABRT", syscall.SIGKILL: "SIGKILL", syscall.SIGSEGV: "SIGSEGV",
		syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT", syscall.SIGBUS: "SIGBUS", syscall.SIGFPE: "SIGFPE",
		syscall.SIGILL: "SIGILL", syscall.SIGPIPE: "SIGPIPE", syscall.SIGHUP: "SIGHUP", syscall.SIGQUIT: "SIGQUIT",
		syscall.SIGXFSZ: "SIGXFSZ", syscall.SIGXCPU: "SIGXCPU"}
	if s := names[syscall.Signal(n)]; s != "" {
		return s
	}
	return fmt.Sprintf("signal %d", n)
}

// judge holds what a step wrote against what it declares: outputs must be there, the rest is kept out.
func (k *kernel) judge(s *plan.Step, i int, layer *sws.Layer, r *result) error {
	if s.Outputs == nil || s.Criterion != "" {
		return nil
	}
	changes := layer.Changes()
	declared := func(p string) bool { return matchAny(s.Outputs.Patterns, p) }
	parents := map[string]bool{}
	for _, c := range changes {
		if declared(c.Path) {
			for d := path.Dir(c.Path); d != "." && !parents[d]; d = path.Dir(d) {
				parents[d] = true
			}
		}
	}
	dropped, err := layer.Keep(func(c sws.Change) bool {
		return declared(c.Path) || c.After.Kind == sws.Dir && parents[c.Path] || c.Path == s.DepsFile
	})
	if err != nil {
		return err
	}
	if undeclared := notDirs(dropped); len(undeclared) > 0 {
		text := "writes what it does not declare, which is left out: " + few(undeclared)
		if k.plan.Strict {
			return failf("writes what it does not declare (strict): %s", few(undeclared))
		}
		r.notes = append(r.notes, Observation{What: "warning", Step: s.ID, Text: text})
	}
	view := k.steps[i].below
	for _, p := range s.Outputs.Patterns {
		if dir, ok := strings.CutSuffix(plan.Shown(p), "/"); ok && slices.ContainsFunc(changes, func(c sws.Change) bool {
			return c.Path == dir && c.After.Kind != sws.Dir && c.After.Kind != sws.Absent
		}) {
			return failf("output %s is no directory, which its slash asks for", plan.Shown(p))
		}
		if slices.ContainsFunc(changes, func(c sws.Change) bool { return c.After.Kind != sws.Absent && matchPath(p, c.Path) }) {
			continue
		}
		if p, ok := plan.Path(p); ok { // it may stand there already, and the command left it as it was
			name := strings.TrimSuffix(p, "/")
			if slices.ContainsFunc(changes, func(c sws.Change) bool { return c.Path == name }) {
				return failf("output %s missing: the step removed it", p)
			}
			if e, err := k.files.entry(name, view); err != nil {
				return err
			} else if e.Kind != sws.Absent {
				continue
			}
			return failf("output %s missing: the command ended well but did not make it", p)
		}
		if l, err := k.files.list(p, view); err != nil {
			return err
		} else if len(l.paths) == 0 {
			return failf("output %s missing: nothing that the command made matches", p)
		}
	}
	return nil
}

// notDirs lists the paths of changes that are not directories.
func notDirs(cs []sws.Change) []string {
	var out []string
	for _, c := range cs {
		if c.After.Kind != sws.Dir {
			out = append(out, c.Path)
		}
	}
	return out
}

// few names at most three of many.
func few(ss []string) string {
	if len(ss) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(ss[:3], ", "), len(ss)-3)
	}
	return strings.Join(ss, ", ")
}

// changedPath says whether an error means that a path is no longer what the first look at it saw, and which.
func changedPath(err error) (string, bool) {
	if !errors.Is(err, sws.ErrChanged) {
		return "", false
	}
	pe, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return "", false
	}
	return pe.Path, true
}

// clockSlack is how far the time that a file system puts on a change may lie behind the clock: a tick of the kernel's.
const clockSlack = 10 * time.Millisecond

// changedUnder says which input is not what it was when the step looked at it first, and forgets the old look. A late
// input was looked at only when the command had ended: it must not have changed since start. It also keeps what the
// collapse must find unchanged.
func (k *kernel) changedUnder(inputs []input, below bits, start time.Time) (string, error) {
	for _, in := range inputs {
		paths := []string{in.path}
		if in.list != nil {
			paths = in.list.paths
		}
		for _, p := range paths {
			if _, above := k.files.above(p, below); above {
				continue
			}
			changed, err := k.w.Base.Changed(p)
			if err != nil {
				return "", err
			}
			if in.late && !changed {
				fp, err := k.w.Base.Stat(p)
				if err != nil {
					return "", err
				}
				changed = fp.Kind != sws.Absent && fp.Ctime >= start.Add(-clockSlack).UnixNano()
			}
			if changed {
				k.w.Base.Forget(p)
				k.files.forgetLists()
				return "input " + p + " changed while it ran", nil
			}
		}
		if in.list != nil {
			if changed, err := k.relisted(in, below); err != nil || changed {
				return "input " + in.path + " got or lost a file while it ran", err
			}
		}
	}
	return "", nil
}

// readsOf lists the inputs that come from the workspace itself.
func (k *kernel) readsOf(inputs []input, below bits) ([]sws.Read, error) {
	var out []sws.Read
	for _, in := range inputs {
		paths := []string{in.path}
		if in.list != nil {
			paths = in.list.paths
		}
		for _, p := range paths {
			if _, above := k.files.above(p, below); above {
				continue
			}
			fp, err := k.w.Base.Stat(p)
			if err != nil {
				return nil, err
			}
			out = append(out, sws.Read{Path: p, Fingerprint: fp})
		}
	}
	return out, nil
}

// made is what a step produced: what it changed, and what it declares or made before and left as it was. Without the
// latter nobody would notice when that goes.
func (k *kernel) made(s *plan.Step, layer *sws.Layer, below bits) ([]sws.Change, error) {
	out := slices.Clone(layer.Changes())
	has, cut := map[string]bool{}, map[string]bool{} // cut: no directory any more
	for _, c := range out {
		has[c.Path], cut[c.Path] = true, c.After.Kind != sws.Dir
	}
	keep := func(p string) error {
		for i := range len(p) {
			if p[i] == '/' && cut[p[:i]] {
				return nil
			}
		}
		if has[p] {
			return nil
		}
		e, err := k.files.entry(p, below)
		if err != nil || e.Kind != sws.File && e.Kind != sws.Link {
			return err
		}
		if _, above := k.files.above(p, below); !above && e.Kind == sws.File && !k.w.Store.Has(e.Digest) {
			if _, _, err := k.w.Store.PutFile(filepath.Join(k.w.Root, filepath.FromSlash(p))); err != nil {
				return err
			}
		}
		has[p] = true
		out = append(out, sws.Change{Path: p, After: e})
		return nil
	}
	if s.Outputs == nil {
		last, err := lastOf(k.lookup, s.ID)
		if err != nil || last == nil || declaresNothing(s) {
			return out, err
		}
		for _, c := range produced(k.lookup, last.node) {
			if e, err := k.files.entry(c.Path, below); err != nil {
				return nil, err
			} else if sameContent(e, c.After) {
				if err := keep(c.Path); err != nil {
					return nil, err
				}
			}
		}
	} else {
		for _, p := range s.Outputs.Patterns {
			name, one := plan.Path(p)
			paths := []string{name}
			if e, err := k.files.entry(strings.TrimSuffix(name, "/"), below); one && err == nil && e.Kind == sws.Dir || !one {
				if one && !strings.HasSuffix(p, "/") {
					p += "/"
				}
				l, err := k.files.list(p, below)
				if err != nil {
					return nil, err
				}
				paths = l.paths
			}
			for _, p := range paths {
				if err := keep(p); err != nil {
					return nil, err
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b sws.Change) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// relisted says whether a wildcard stands for other files by now.
func (k *kernel) relisted(in input, below bits) (bool, error) {
	found, err := k.files.glob(strings.TrimPrefix(in.path, "./")) // of restOf, all
	if err != nil {
		return false, err
	}
	moved := false
	for _, d := range found.dirs {
		changed, err := k.w.Base.Relist(d)
		if err != nil {
			return false, err
		}
		moved = moved || changed
	}
	if !moved {
		return false, nil
	}
	k.files.forgetLists()
	l, err := k.files.list(in.path, below)
	return l.digest != in.entry.Digest, err
}

// lateInputs reads the step's deps_file in its own view.
func (k *kernel) lateInputs(s *plan.Step, set *sws.Set, layer *sws.Layer, below bits, r *result) error {
	if s.DepsFile == "" {
		return nil
	}
	b, err := sws.NewView(k.w.Base, append([]*sws.Layer{layer}, k.lower(below)...)).ReadFile(s.DepsFile)
	if err != nil {
		return failf("deps_file %s: %s", s.DepsFile, reasonOf(err))
	}
	paths, err := parseDeps(b, k.w.Root, s.Command.Dir)
	if err != nil {
		return failf("deps_file %s: %s", s.DepsFile, err)
	}
	if s.Outputs == nil || !matchAny(s.Outputs.Patterns, s.DepsFile) {
		if _, err := layer.Keep(func(c sws.Change) bool { return c.Path != s.DepsFile }); err != nil {
			return err
		}
	}
	declared := map[string]bool{}
	for _, in := range r.inputs {
		declared[in.path] = true
	}
	own := map[string]bool{}
	for _, c := range layer.Changes() {
		own[c.Path] = true
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return declared[p] || own[p] })
	late, err := k.late(paths, below)
	r.inputs = append(r.inputs, late...)
	return err
}

// keyAfter takes the key again when a step wrote what it reads, as a formatter does.
func (k *kernel) keyAfter(s *plan.Step, r *result) error {
	if s.Inputs == nil || declaresNothing(s) {
		return nil
	}
	wrote := map[string]sws.Entry{}
	for _, c := range r.changes {
		wrote[c.Path] = c.After
	}
	again := slices.Clone(r.inputs)
	changed := false
	for n := range again {
		in := &again[n]
		if in.list == nil {
			if e, ok := wrote[in.path]; ok {
				in.entry, changed = e, true
			}
			continue
		}
		l, hit, err := in.list.with(wrote, in.path)
		if err != nil {
			return err
		}
		if hit {
			in.list, in.entry.Digest, changed = &l, l.digest, true
		}
	}
	if changed {
		again = slices.DeleteFunc(again, func(in input) bool { return in.late })
		r.after = key(r.action, again)
	}
	return nil
}

// outputPaths are the declared outputs that are no patterns.
func outputPaths(s *plan.Step) []string {
	if s.Outputs == nil {
		return nil
	}
	var out []string
	for _, p := range s.Outputs.Patterns {
		if name, ok := plan.Path(p); ok {
			out = append(out, strings.TrimSuffix(name, "/"))
		}
	}
	return out
}

// outputDirs are the directories of the declared outputs.
func outputDirs(s *plan.Step) []string {
	if s.Outputs == nil {
		return nil
	}
	var out []string
	for _, p := range s.Outputs.Patterns {
		d := p
		for !literal(d) || d == p && !strings.HasSuffix(d, "/") {
			d = path.Dir(d)
		}
		if d = strings.TrimSuffix(plan.Shown(d), "/"); d != "." && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// lookAtOutputs fixes what the declared outputs were before the step: the collapse must not find anything else.
func (k *kernel) lookAtOutputs(s *plan.Step) error {
	if s.Criterion != "" {
		return nil
	}
	if s.Outputs == nil {
		k.walkOnce.Do(func() {
			for _, l := range k.w.Base.Walk(func(p string, dir bool) bool { return p == ".git" }) {
				if !errors.Is(l.Err, fs.ErrPermission) { // a step cannot write there either
					k.walkErr = errors.Join(k.walkErr, l.Err)
				}
			}
		})
		return k.walkErr
	}
	for _, p := range s.Outputs.Patterns {
		var err error
		if name, ok := plan.Path(p); ok && !strings.HasSuffix(p, "/") {
			_, err = k.w.Base.Stat(name)
		} else {
			_, err = k.files.glob(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// changesOf turns a change set into what the history says of it.
func (k *kernel) changesOf(cs []sws.Change) []Change {
	out := make([]Change, 0, len(cs))
	for _, c := range cs {
		out = append(out, Change{Path: textPath(c.Path), After: EntryOf(c.After)})
	}
	return out
}

// EntryOf is the content identity that the history has of an entry.
func EntryOf(e sws.Entry) Entry {
	out := Entry{Type: typeOf(e.Kind), Mode: e.Mode, Size: e.Size, Target: textTarget(e.Target)}
	if e.Kind == sws.File {
		out.Digest = e.Digest[:]
	}
	return out
}

// capture keeps the output of a step: the first and the last of what is too long.
type capture struct {
	live       func([]byte)
	head, last bytes.Buffer
	cut        int
	total      int
}

const (
	captureHalf = 8 << 20
	mostOutput  = 1 << 30
)

// errTooLoud ends a command that does not stop printing.
var errTooLoud = errors.New("printed more than 1 GiB: send what it has to say to a file")

func (c *capture) Write(b []byte) (int, error) {
	n := len(b)
	if c.total += n; c.total > mostOutput {
		return 0, errTooLoud
	}
	c.live(b)
	if room := captureHalf - c.head.Len(); room > 0 {
		m := min(room, len(b))
		c.head.Write(b[:m])
		b = b[m:]
	}
	c.last.Write(b)
	if over := c.last.Len() - 2*captureHalf; over > 0 {
		c.cut += c.last.Len() - captureHalf
		c.last.Next(c.last.Len() - captureHalf)
	}
	return n, nil
}

func (c *capture) bytes() []byte {
	if c.last.Len() == 0 {
		return c.head.Bytes()
	}
	var gap []byte
	if c.cut > 0 {
		gap = fmt.Appendf(nil, "\n… %d bytes left out …\n", c.cut)
	}
	return slices.Concat(c.head.Bytes(), gap, c.last.Bytes())
}

// tail is the last lines of a log, none of them longer than a few lines of a terminal.
func tail(b []byte, lines int) string {
	const longest = 400
	s := strings.TrimRight(strings.ToValidUTF8(string(b[max(0, len(b)-16<<10):]), "\uFFFD"), "\n")
	all := strings.Split(s, "\n")
	all = all[max(0, len(all)-lines):]
	for i, l := range all {
		if r := []rune(l); len(r) > longest {
			all[i] = string(r[:longest]) + "…"
		}
	}
	return strings.Join(all, "\n")
}
