package app

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/cas"
)

// Why answers where something comes from.
type Why struct {
	Kind  string // "path", "step" or "fact"
	Name  string
	Lines []string // the answer, worded; indented lines belong to the one above
}

// suggest words a guess at what was meant.
func suggest(name string, names []string) string {
	if s, ok := diag.Suggest(name, names); ok {
		return fmt.Sprintf(": did you mean %s?", s)
	}
	return ""
}

// Why tells of a path whose bytes they are, of a step or the task that it carried out why it ran or did not, of a fact who
// asserted it.
func (w *Workspace) Why(ctx context.Context, x string) (*Why, error) {
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.look(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(x, "fact::") {
		return w.whyFact(x)
	}
	var steps []string
	for _, r := range runs {
		for _, s := range r.Steps {
			if s.Step == x {
				return w.whyStep(x, runs)
			}
			steps = append(steps, s.Step)
		}
	}
	g, err := w.system()
	if err != nil {
		return nil, err
	}
	run, err := runner.LastRunOf(g, x)
	if err != nil {
		return nil, err
	}
	if run > 0 {
		return w.untold(x, run)
	}
	step, err := only(x, runs)
	if err != nil {
		return nil, err
	}
	if step != "" {
		return w.whyStep(step, runs)
	}
	rel := runner.Change{Path: x}.Name()
	if rel == x { // else it is written as a path that is not UTF-8 is shown
		if rel, err = w.relative(x); err != nil {
			return nil, err
		}
	}
	wrote, err := runner.LastWriting(g, rel)
	if err != nil {
		return nil, err
	}
	now, _, err := w.base.EntryAt(rel)
	if err != nil {
		return nil, err
	}
	switch {
	case wrote != nil:
		return w.whyPath(now, wrote, runs)
	case now.Kind != sws.Absent:
		return &Why{Kind: "path", Name: rel, Lines: []string{rel + "   no run wrote it"}}, nil
	}
	var paths []string
	for _, r := range runs {
		for _, c := range r.Changes {
			paths = append(paths, c.Path)
		}
	}
	return nil, usagef("%s is no path that a run wrote and no step that ran%s", x, suggest(x, append(steps, paths...)))
}

// only is the step that a task was carried out by when it ran last; "" where none was. Of several it is an error that names them.
func only(task string, runs []Run) (string, error) {
	for _, r := range runs {
		var steps []string
		for _, s := range r.Steps {
			if (s.Invocation.Task == task || slices.ContainsFunc(s.Invocation.Path, func(p string) bool { return ofTask(p, task) })) && !slices.Contains(steps, s.Step) {
				steps = append(steps, s.Step)
			}
		}
		const most = 12
		switch n := len(steps); {
		case n == 1:
			return steps[0], nil
		case n > most:
			steps = append(steps[:most], fmt.Sprintf("and %d more (jitos show %d)", n-most, r.N))
			fallthrough
		case n > 1:
			return "", usagef("%s was done in %d steps in run %d: ask for one of them:\n  %s", task, n, r.N, strings.Join(steps, "\n  "))
		}
	}
	return "", nil
}

// ofTask says whether an intent on the way to a step is task, whichever member, arguments and method.
func ofTask(intent, task string) bool {
	rest, ok := strings.CutPrefix(intent, task)
	return ok && (rest == "" || rest[0] == '[' || rest[0] == '(' || strings.HasPrefix(rest, " by "))
}

// HasMethod says of a method that the workflow, as it was last compiled, does not have that it is not there.
func (w *Workspace) HasMethod(task, method string) error {
	task, _, _ = strings.Cut(task, "[") // a member has the methods of its family
	var names []string
	for _, m := range w.module.Methods {
		if m.Task.Name != task {
			continue
		}
		if m.Name == method {
			return nil
		}
		names = append(names, m.Name)
	}
	if len(names) == 0 {
		return usagef("task %s has no methods: it is done in one way", task)
	}
	return usagef("task %s has no method %s: there are %s%s", task, method, strings.Join(names, ", "), suggest(method, names))
}

// relative turns a path as a person types it into one of the workspace.
func (w *Workspace) relative(p string) (string, error) {
	if !filepath.IsAbs(p) {
		wd, err := filepath.Abs(w.o.Dir)
		if err != nil {
			return "", err
		}
		if wd, err = filepath.EvalSymlinks(wd); err != nil {
			return "", err
		}
		p = filepath.Join(wd, p)
	}
	rel, err := filepath.Rel(w.root, p)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", usagef("%s is outside the workspace %s", p, w.root)
	}
	return filepath.ToSlash(rel), nil
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

func when(t time.Time) string {
	if y, m, d := time.Now().Date(); t.Year() == y && t.Month() == m && t.Day() == d {
		return "today " + t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

func describe(e runner.Entry) string {
	switch e.Type {
	case "file":
		return fmt.Sprintf("%s   blake3 %x…%x", size(e.Size), e.Digest[:2], e.Digest[31:])
	case "link":
		return "link to " + e.LinksTo()
	case "dir":
		return "directory"
	}
	return "absent"
}

func (w *Workspace) whyPath(now sws.Entry, wrote *runner.Writing, runs []Run) (*Why, error) {
	out := &Why{Kind: "path", Name: wrote.Path, Lines: []string{wrote.Path + "   " + describe(wrote.Left)}}
	if !runner.Same(wrote.Left, now) {
		out.Lines = append(out.Lines, fmt.Sprintf("  changed outside jitos since run %d", wrote.Run))
	}
	told := Run{} // what only the history tells, if it still does
	line := fmt.Sprintf("run %d, of which the history tells no more", wrote.Run)
	if i := slices.IndexFunc(runs, func(r Run) bool { return r.N == wrote.Run }); i >= 0 {
		told = runs[i]
		line = fmt.Sprintf("run %d (%s)", told.N, when(told.At))
	}
	verb := "written by "
	if wrote.Left.Type == "" {
		verb = "removed by "
	}
	switch {
	case wrote.Undid != 0:
		line = fmt.Sprintf("put back by undo of run %d, ", wrote.Undid) + line
	case wrote.Step != nil:
		line = verb + wrote.Step.Step + ", " + line
	case told.What != "":
		line = verb + told.What + ", " + line
	default:
		line = verb + line
	}
	if n := wrote.Others; n > 0 {
		line += fmt.Sprintf(", collapsed with %d other %s", n, plural(n, "file", "files"))
	}
	out.Lines = append(out.Lines, "  "+line)
	if wrote.Step == nil {
		return out, nil
	}
	from, err := w.from(wrote.Step.Step, wrote.Step.Run)
	if err != nil {
		return nil, err
	}
	out.Lines = append(out.Lines, from...)
	if wrote.Step.Run != wrote.Run {
		out.Lines = append(out.Lines, fmt.Sprintf("  its bytes come from the cache, where run %d left them", wrote.Step.Run))
	}
	if i := slices.IndexFunc(told.Steps, func(s StepRun) bool { return s.Step == wrote.Step.Step }); i >= 0 {
		out.Lines = append(out.Lines, because(&told.Steps[i])...)
	}
	if told.N == 0 {
		return out, nil
	}
	out.Lines = append(out.Lines, fmt.Sprintf("  intent    %s, run %d", told.Target, told.N))
	for i, failed := range told.Ways {
		tried := "  candidate " + fmt.Sprint(len(told.Ways)+1) + ", after"
		if i > 0 {
			tried = strings.Repeat(" ", len(tried))
		}
		out.Lines = append(out.Lines, tried+" "+failed)
	}
	return out, nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func because(s *StepRun) []string {
	var out []string
	for _, p := range s.Invocation.Path {
		if p != s.Step && (len(out) == 0 || out[len(out)-1] != p) {
			out = append(out, p)
		}
	}
	return []string{"  because   " + strings.Join(append(out, s.Step), " → ")}
}

// from lists what a step read in a run (0: the last), and which steps made it.
func (w *Workspace) from(step string, run int) ([]string, error) {
	g, err := w.system()
	if err != nil {
		return nil, err
	}
	inputs, err := runner.InputsOf(g, step, run, func(d []byte) ([]byte, error) { return w.store.Get(cas.Digest(d)) })
	if err != nil {
		return nil, err
	}
	var out []string
	label := "  from   "
	for n, in := range inputs {
		if n == 12 {
			out = append(out, fmt.Sprintf("         and %d more", len(inputs)-n))
			break
		}
		line := label + in.Path
		label = "         "
		if in.Files > 0 {
			line += fmt.Sprintf(" (%d)", in.Files)
		}
		var by []string
		for _, f := range in.From {
			by = append(by, fmt.Sprintf("%s, run %d", f.Step, f.Run))
		}
		if len(by) > 3 {
			by = append(by[:3], fmt.Sprintf("%d more", len(by)-3))
		}
		if len(by) > 0 {
			line += "   <- " + strings.Join(by, "; ")
		}
		if in.Late {
			line += "   (found by the step)"
		}
		out = append(out, line)
	}
	return out, nil
}

func (w *Workspace) whyStep(step string, runs []Run) (*Why, error) {
	out := &Why{Kind: "step", Name: step}
	for _, r := range runs {
		for _, s := range slices.Backward(r.Steps) {
			if s.Step != step {
				continue
			}
			why := strings.Join(s.Invocation.Why, ", ")
			switch s.Outcome {
			case runner.Ran:
				out.Lines = append(out.Lines, fmt.Sprintf("ran in run %d: %s", r.N, why))
			case runner.Cached:
				out.Lines = append(out.Lines, fmt.Sprintf("came from the cache in run %d: %s", r.N, why))
			case runner.Failed:
				out.Lines = append(out.Lines, fmt.Sprintf("failed in run %d: %s", r.N, s.Reason))
				if why != "" {
					out.Lines = append(out.Lines, "  it ran because "+why)
				}
			default:
				out.Lines = append(out.Lines, fmt.Sprintf("%s in run %d", s.Outcome, r.N))
			}
			if s.Outcome == runner.Ran || s.Outcome == runner.Cached { // of another the graph tells what an earlier run of it read
				from, err := w.from(step, 0)
				if err != nil {
					return nil, err
				}
				out.Lines = append(out.Lines, from...)
			}
			if len(s.Invocation.Path) > 0 {
				out.Lines = append(out.Lines, "needed by  "+strings.Join(s.Invocation.Path, " → "))
			}
			if n := runs[0].N; n > r.N {
				out.Lines = append(out.Lines, fmt.Sprintf("up to date, or not asked for, in the runs since (the last is %d)", n))
			}
			return out, nil
		}
	}
	return out, nil
}

// untold tells of a step what the graph knows where the history tells no more of the run.
func (w *Workspace) untold(step string, run int) (*Why, error) {
	from, err := w.from(step, run)
	return &Why{Kind: "step", Name: step,
		Lines: append([]string{fmt.Sprintf("ran in run %d, of which the history tells no more", run)}, from...)}, err
}

func (w *Workspace) whyFact(x string) (*Why, error) {
	g, err := w.system()
	if err != nil {
		return nil, err
	}
	out := &Why{Kind: "fact", Name: x}
	facts, err := runner.Facts(g)
	if err != nil {
		return nil, err
	}
	rel, _, _ := strings.Cut(strings.TrimPrefix(x, "fact::"), "(")
	asked := func(f runner.Fact) bool { return f.Text == x || !strings.Contains(x, "(") && f.Relation == rel }
	for _, f := range facts {
		if asked(f) {
			out.Lines = append(out.Lines, f.Text)
			for _, s := range f.AssertedBy {
				out.Lines = append(out.Lines, fmt.Sprintf("  asserted by %s, run %d", s.Step, s.Run))
			}
		}
	}
	if len(out.Lines) > 0 {
		return out, nil
	}
	const never = " does not hold: no step asserted it, or it was taken back"
	p, diags := w.compile()
	if p == nil || diags.HasErrors() {
		out.Lines = []string{x + never + " (whether it is observed is not known: the workflow has errors, see `jitos validate`)"}
		return out, nil
	}
	var names []string
	for _, r := range p.Relations() {
		names = append(names, "fact::"+r.Name)
		if r.Name != rel {
			continue
		}
		switch {
		case slices.ContainsFunc(w.module.Facts, func(f *lang.Fact) bool { return f.Name == rel && f.Probe != nil }):
			out.Lines = []string{x + " is probed: each plan that may ask for it asks its command (`jitos plan`)"}
		case !r.Observed && r.Keep == plan.KeepRun:
			out.Lines = []string{x + " does not hold now: it lasts for the run that asserts it"}
		case !r.Observed:
			out.Lines = []string{x + never}
		}
		for _, n := range p.Observed() {
			f, err := runner.FactOf(n)
			if err != nil {
				return nil, err
			}
			if asked(f) {
				out.Lines = append(out.Lines, f.Text, "  observed in the workspace as it is now")
			}
		}
		if len(out.Lines) == 0 {
			out.Lines = []string{x + " does not hold: it is observed, and not so in the workspace as it is now"}
		}
		return out, nil
	}
	return nil, usagef("the workflow has no fact %s%s", x, suggest("fact::"+rel, names))
}
