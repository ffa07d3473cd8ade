package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/runner"
)

type planCmd struct {
	target   `embed:""`
	runFlags `embed:""`
}

func (c *planCmd) run(ctx context.Context, s *session) error {
	w, err := s.open(c.runFlags)
	if err != nil {
		return err
	}
	defer w.Close()
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

// manySteps is from where on steps that do not run are only counted.
const manySteps = 50

// writeForecast shows the steps below the ways that lead to them, with the reason each runs or not.
func writeForecast(out io.Writer, s screen.Style, f *runner.Forecast, e estimated, isDefault bool) error {
	var b strings.Builder
	p := f.Plan
	b.WriteString(screen.Clean(p.Target))
	if isDefault && p.Target != "default" {
		b.WriteString("  (default)")
	}
	b.WriteString("\n")
	type line struct {
		head string
		row  row
	}
	var lines []line
	var at []string
	runs, cached, hidden := 0, 0, 0
	for i, step := range p.Steps {
		forecast := f.Steps[i]
		if forecast.Runs {
			runs++
		} else if forecast.Outcome == runner.Cached {
			cached++
		}
		if !forecast.Runs && len(p.Steps) > manySteps {
			hidden++
			continue
		}
		var ways []string
		for n := step.Node; n >= 0; n = p.Tree[n].Parent {
			if p.Tree[n].Method != "" {
				ways = append(ways, screen.Clean(p.Tree[n].Task+" by "+p.Tree[n].Method))
			}
		}
		slices.Reverse(ways)
		for depth, way := range ways {
			if depth >= len(at) || at[depth] != way || !slices.Equal(at[:depth], ways[:depth]) {
				lines = append(lines, line{head: strings.Repeat("  ", depth+1) + way})
			}
		}
		at = ways
		verb := map[string]string{runner.Cached: "cached", runner.UpToDate: "up to date"}[forecast.Outcome]
		if forecast.Runs {
			verb = "runs"
		}
		name := screen.Clean(step.ID)
		if step.Criterion != "" {
			name = "success " + strconv.Quote(step.Criterion)
		}
		lines = append(lines, line{row: row{strings.Repeat("  ", len(ways)) + name,
			cmp.Or(verb, forecast.Outcome), screen.Clean(reasons(forecast.Reasons))}})
	}
	var rows []row
	for _, l := range lines {
		if l.row != nil {
			rows = append(rows, l.row)
		}
	}
	widths := columnWidths(rows)
	widths[0] = max(widths[0], 10)
	for _, l := range lines {
		if l.row == nil {
			fmt.Fprintln(&b, l.head)
			continue
		}
		writeRows(&b, []row{l.row}, widths)
	}
	if hidden > 0 {
		fmt.Fprintf(&b, "  %s that need not run\n", screen.Count(hidden, "step"))
	}
	fmt.Fprintf(&b, "%s to run, %d up to date", screen.Count(runs, "step"), len(p.Steps)-runs-cached)
	if cached > 0 {
		fmt.Fprintf(&b, ", %d cached", cached)
	}
	b.WriteString(".")
	if e.total > 0 {
		fmt.Fprintf(&b, " About %s", screen.About(e.total))
		if len(e.critical) > 1 {
			fmt.Fprintf(&b, " (critical path %s)", screen.Clean(strings.Join(e.critical, " "+s.Arrow()+" ")))
		}
		b.WriteString(".")
	}
	b.WriteString("\n")
	changes := f.Changes
	if f.Opaque {
		changes = append(slices.Clone(changes), "what steps without declared outputs write")
	}
	if runs > 0 && len(changes) > 0 {
		fmt.Fprintf(&b, "May change  %s\n", some(changes, 10))
	}
	_, err := io.WriteString(out, b.String())
	return err
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

func forecastJSON(s *session, f *runner.Forecast, e estimated) error {
	for i, step := range f.Plan.Steps {
		err := screen.JSON(s.out, struct {
			Step, Task, Criterion string
			runner.StepForecast
		}{step.ID, step.Task, step.Criterion, f.Steps[i]})
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
	}{f.Plan.Target, f.Changes, f.Opaque, e.total, e.critical})
}
