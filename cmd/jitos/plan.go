package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner"
)

type planCmd struct {
	target   `embed:""`
	Format   string `enum:"text,json,dot,mermaid,hddl" default:"text" placeholder:"FORM" help:"text, json, dot or mermaid (the steps and why each comes after others), or hddl (the format of planning competitions, for what came from HDDL files; DOMAIN.hddl PROBLEM.hddl in the place of a target plans these as they are)."`
	Output   string `short:"o" placeholder:"FILE" help:"Save the plan in FILE; jitos apply FILE carries out exactly that, and refuses when the workflow, facts or inputs have moved on."`
	runFlags `embed:""`
}

func (c *planCmd) run(ctx context.Context, s *session) error {
	switch isHDDL := strings.HasSuffix(c.Target, hddlExtension); {
	case isHDDL && (c.Format != "hddl" || len(c.Args) != 1):
		return &usageError{errors.New("a planning problem is planned by jitos plan --format hddl DOMAIN.hddl PROBLEM.hddl"), "jitos plan --help"}
	case c.Output != "" && c.Format != "text" && c.Format != "json":
		return &usageError{fmt.Errorf("what is saved can be applied, and has no other format: leave out --format %s, or -o", c.Format), "jitos plan --help"}
	case isHDDL:
		return planHDDL(ctx, s.out, c.Target, c.Args[0])
	}
	w, err := s.open(c.runFlags)
	if err != nil {
		return err
	}
	defer w.Close()
	s.flags.JSON = s.flags.JSON || c.Format == "json"
	if c.Output != "" {
		return c.save(ctx, s, w)
	}
	if draw := drawings[c.Format]; draw != nil {
		p, err := w.Find(ctx, c.request())
		if err != nil {
			return err
		}
		return draw(s.out, p)
	}
	f, err := w.Plan(ctx, c.request())
	if err != nil {
		return err
	}
	runs, err := w.Runs(ctx)
	if err != nil {
		return err
	}
	e := estimate(f, runs, cmp.Or(int(c.Jobs), runtime.NumCPU()))
	if s.flags.JSON {
		return forecastJSON(s, f, e)
	}
	return s.page(func(out io.Writer) error { return writeForecast(out, s.style, f, e, c.request().Target == "") })
}

// save keeps the plan in a file.
func (c *planCmd) save(ctx context.Context, s *session, w *app.Workspace) error {
	saved, err := w.Save(ctx, c.request())
	if err != nil {
		return err
	}
	text, err := saved.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Output, text, 0o644); err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, saved)
	}
	return s.say("Wrote %s: %s over %s.\nNext:  %s", screen.Clean(c.Output), screen.Count(len(saved.Steps), "step"), screen.Count(len(saved.Inputs), "file"),
		s.hints("jitos apply "+screen.Quote(c.Output)))
}

// manySteps is from where on steps are told together: those that need not run, and members of a family that run for
// the same reasons.
const manySteps = 50

// writeForecast shows the steps below the ways that lead to them, with the reason each runs or not.
func writeForecast(out io.Writer, s screen.Style, f *runner.Forecast, e estimated, isDefault bool) error {
	var b strings.Builder
	b.WriteString(screen.Clean(f.Plan.Target))
	if isDefault && f.Plan.Target != "default" {
		b.WriteString("  (default)")
	}
	b.WriteString("\n")
	rows := stepRows(f)
	widths := columnWidths(rows)
	widths[0] = max(widths[0], 10)
	writeRows(&b, rows, widths)

	count := map[string]int{}
	for _, step := range f.Steps {
		count[verb(step)]++
	}
	runs := count["runs"] + count["fails"]
	if idle := len(f.Steps) - runs; idle > 0 && len(f.Steps) > manySteps {
		fmt.Fprintf(&b, "  %s that need not run\n", screen.Count(idle, "step"))
	}
	fmt.Fprintf(&b, "%s to run, %d up to date", screen.Count(runs, "step"), count["up to date"])
	if n := count["cached"]; n > 0 {
		fmt.Fprintf(&b, ", %d cached", n)
	}
	b.WriteString(".")
	if e.total > 0 {
		fmt.Fprintf(&b, " About %s", screen.About(e.total))
		if len(e.critical) > 1 {
			fmt.Fprintf(&b, " (critical path %s)", longPath(s, e.critical))
		}
		b.WriteString(".")
	}
	b.WriteString("\n")
	changes := f.Changes
	if f.Opaque {
		changes = append(slices.Clone(changes), "what steps without declared outputs write")
	}
	if len(changes) > 0 {
		fmt.Fprintf(&b, "May change  %s\n", some(changes, 10))
	}
	if refused := f.Plan.Refused(); len(refused) > 0 {
		b.WriteString("This version of jitos does not carry out, and refuses to apply:\n")
		rows := []row{}
		for _, r := range refused {
			rows = append(rows, row{screen.Clean(cmp.Or(r.Step, f.Plan.Target)), r.What, screen.Clean(r.Value)})
		}
		writeRows(&b, rows, columnWidths(rows))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// stepRows are the lines of a forecast: a step each, and where it begins the way that leads to it.
func stepRows(f *runner.Forecast) []row {
	p := f.Plan
	many := len(p.Steps) > manySteps
	shares := map[string]int{} // of a criterion, by steps
	for _, s := range p.Steps {
		shares[s.Criterion]++
	}
	var rows []row
	var at []string
	for i := 0; i < len(p.Steps); {
		step, forecast, n := p.Steps[i], f.Steps[i], 1
		for many && i+n < len(p.Steps) && p.Steps[i+n].Task == step.Task && p.Steps[i+n].Criterion == step.Criterion && alike(f.Steps[i+n], forecast) {
			n++
		}
		i += n
		if many && !forecast.Runs {
			continue
		}
		ways := waysTo(p, step.Node)
		for depth, way := range ways {
			if depth >= len(at) || !slices.Equal(at[:depth+1], ways[:depth+1]) {
				rows = append(rows, row{strings.Repeat("  ", depth) + way})
			}
		}
		at = ways
		name := screen.Clean(step.ID)
		switch {
		case step.Criterion != "":
			name = "success " + strconv.Quote(step.Criterion)
			if n > 1 {
				name += fmt.Sprintf(" (%d)", n)
			} else if shares[step.Criterion] > 1 {
				name += " " + screen.Clean(step.ID)
			}
		case n > 1:
			name = fmt.Sprintf("%s (%d)", step.Task, n)
		}
		rows = append(rows, row{strings.Repeat("  ", len(ways)) + name, verb(forecast), screen.Clean(reasons(forecast.Reasons))})
	}
	return rows
}

func alike(a, b runner.StepForecast) bool {
	return a.Runs == b.Runs && a.Outcome == b.Outcome && slices.Equal(a.Reasons, b.Reasons)
}

// waysTo are the methods on the way to a node, from above.
func waysTo(p *plan.Plan, node int) []string {
	var ways []string
	for n := node; n >= 0; n = p.Tree[n].Parent {
		if p.Tree[n].Method != "" {
			ways = append(ways, screen.Clean(p.Tree[n].Task+" by "+p.Tree[n].Method))
		}
	}
	slices.Reverse(ways)
	return ways
}

// verb is what will become of a step.
func verb(f runner.StepForecast) string {
	switch {
	case f.Outcome == runner.Failed:
		return "fails"
	case f.Outcome == runner.Unplanned:
		return "planned later"
	case f.Runs:
		return "runs"
	case f.Outcome == runner.UpToDate:
		return "up to date"
	}
	return f.Outcome
}

// longPath joins steps, the middle of many left out.
func longPath(s screen.Style, steps []string) string {
	if len(steps) > 8 {
		steps = slices.Concat(steps[:4], []string{s.Text("…")}, steps[len(steps)-3:])
	}
	return screen.Clean(strings.Join(steps, " "+s.Arrow()+" "))
}

// reasons joins why a step runs. Those that it waits for are named once, and not all of a large family.
func reasons(list []string) string {
	var needs, out []string
	for _, r := range list {
		if step, ok := strings.CutPrefix(r, "needs "); ok {
			needs = append(needs, step)
		} else {
			out = append(out, r)
		}
	}
	if len(needs) > 0 {
		out = append(out, "needs "+some(needs, 3))
	}
	return strings.Join(out, ", ")
}

// some names the first of a list.
func some(names []string, n int) string {
	text := screen.Clean(strings.Join(names[:min(n, len(names))], ", "))
	if more := len(names) - n; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// estimated is how long a plan will take by what its steps took before. It is zero where a step has no past.
type estimated struct {
	total    time.Duration
	critical []string // the steps of the longest path
}

// estimate takes the last duration of each step that will run: the longest path bounds the total from below, and so
// does the work divided by the number of jobs.
func estimate(f *runner.Forecast, runs []app.Run, jobs int) estimated {
	took := map[string]time.Duration{}
	for _, r := range slices.Backward(runs) {
		for _, s := range r.Steps {
			if s.Outcome == runner.Ran {
				took[s.Step] = s.Duration()
			}
		}
	}
	steps := f.Plan.Steps
	ends := make([]time.Duration, len(steps)) // when the step would end with jobs without limit
	before := make([]int, len(steps))         // the step that it waits for longest
	last, work := -1, time.Duration(0)
	for i, s := range steps {
		before[i] = -1
		for _, e := range s.After {
			if ends[e.Step] > 0 && (before[i] < 0 || ends[e.Step] > ends[before[i]]) {
				before[i] = e.Step
			}
		}
		if before[i] >= 0 {
			ends[i] = ends[before[i]]
		}
		if f.Steps[i].Runs {
			d, known := took[s.ID]
			if !known {
				return estimated{}
			}
			ends[i] += d
			work += d
		}
		if last < 0 || ends[i] > ends[last] {
			last = i
		}
	}
	if last < 0 || work == 0 {
		return estimated{}
	}
	e := estimated{total: max(ends[last], work/time.Duration(max(1, jobs)))}
	for i := last; i >= 0; i = before[i] {
		if f.Steps[i].Runs {
			e.critical = append(e.critical, steps[i].ID)
		}
	}
	slices.Reverse(e.critical)
	return e
}

// edgeJSON is what a step comes after, and why.
type edgeJSON struct {
	Step   string
	Why    plan.Reason
	Detail string
}

func edgesJSON(p *plan.Plan, edges []plan.Edge) []edgeJSON {
	out := make([]edgeJSON, len(edges))
	for i, e := range edges {
		out[i] = edgeJSON{p.Steps[e.Step].ID, e.Why, e.Detail}
	}
	return out
}

func forecastJSON(s *session, f *runner.Forecast, e estimated) error {
	for i, step := range f.Plan.Steps {
		err := screen.JSON(s.out, struct {
			Step, Task, Criterion string
			runner.StepForecast
			Ways  []string
			After []edgeJSON
			Later []plan.Later
		}{step.ID, step.Task, step.Criterion, f.Steps[i], waysTo(f.Plan, step.Node), edgesJSON(f.Plan, step.After), step.Later})
		if err != nil {
			return err
		}
	}
	return screen.JSON(s.out, struct {
		Target   string
		Changes  []string
		Opaque   bool
		Estimate time.Duration
		Critical []string
		Later    []plan.Later
	}{f.Plan.Target, f.Changes, f.Opaque, e.total, e.critical, f.Plan.Later})
}
