package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/runner"
)

type logCmd struct {
	Newest ordinal `short:"n" placeholder:"N" help:"Only the N newest of those that fit the rest."`
	Target string  `placeholder:"NAME" help:"Only runs of this target."`
	Status string  `enum:"done,held,failed,conflict,discarded,running,killed," default:"" placeholder:"HOW" help:"Only runs that ended so: done, held, failed, conflict, discarded, running or killed."`
	Since  string  `placeholder:"WHEN" help:"Only runs since then: an age (36h, 30d) or a date (2026-01-31)."`
	Path   string  `placeholder:"PATH" help:"Only runs that changed this file, or something below this directory."`
	Graph  bool    `help:"Draw which run an undo, or a collapse of a held set, refers to."`
}

func (c *logCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	f := app.Filter{N: int(c.Newest), Target: c.Target, Status: c.Status, Path: c.Path}
	if c.Since != "" {
		if f.Since, err = app.ParseSince(c.Since, time.Now()); err != nil {
			return &usageError{err: err, help: "jitos log --help"}
		}
	}
	all, err := w.Runs(ctx)
	if err != nil {
		return err
	}
	runs, err := w.Filter(all, f)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		j := screen.NewEvents(s.out)
		if err := w.Events(ctx, runs, j.Event); err != nil {
			return err
		}
		return j.Close()
	}
	switch {
	case len(all) == 0:
		return s.noRuns()
	case len(runs) == 0:
		return s.say("No run fits.  %s", s.hints("jitos log"))
	}
	var marks []string
	if c.Graph {
		marks = lanes(s.style, runs)
	}
	return s.page(func(out io.Writer) error { return writeRuns(out, s.style, runs, marks, time.Now()) })
}

// lanes draws, beside the runs, a line from each run that refers to an older one down to that. A lane is one character
// wide; a run without a line has a dot.
func lanes(s screen.Style, runs []app.Run) []string {
	from, through, to, dot := "┌", "│", "└", "·"
	if !s.Unicode {
		from, through, to, dot = ",", "|", "`", "."
	}
	at := map[int]int{}
	for i, r := range runs {
		at[r.N] = i
	}
	var busy []int // by lane: the row where its line ends
	grid := make([][]string, len(runs))
	put := func(row, lane int, what string) {
		for len(grid[row]) <= lane {
			grid[row] = append(grid[row], " ")
		}
		grid[row][lane] = what
	}
	for i, r := range runs {
		end, shown := at[r.Of]
		if r.Of == 0 || !shown || end <= i {
			continue
		}
		lane := slices.IndexFunc(busy, func(until int) bool { return until < i })
		if lane < 0 {
			lane = len(busy)
			busy = append(busy, 0)
		}
		busy[lane] = end
		put(i, lane, from)
		for row := i + 1; row < end; row++ {
			put(row, lane, through)
		}
		put(end, lane, to)
	}
	out := make([]string, len(runs))
	for i, row := range grid {
		if out[i] = strings.Join(row, ""); strings.TrimSpace(out[i]) == "" {
			out[i] = dot
		}
	}
	return out
}

func (s *session) noRuns() error {
	if s.flags.JSON {
		return nil
	}
	return s.say("Nothing has run here yet.  %s", s.hints("jitos plan", "jitos apply"))
}

// writeRuns lists runs: number, time, what was asked for, how it ended. marks, if there are any, come first.
func writeRuns(out io.Writer, s screen.Style, runs []app.Run, marks []string, now time.Time) error {
	number, lanes := 0, 0
	for _, m := range marks {
		lanes = max(lanes, screen.Width(m))
	}
	for _, r := range runs {
		number = max(number, len(strconv.Itoa(r.N)))
	}
	var rows []row
	for i, r := range runs {
		first := fmt.Sprintf("%*d", number, r.N)
		if marks != nil {
			first = screen.Pad(marks[i], lanes+2) + first
		}
		mark, short, more := runWords(s, r)
		took := ""
		if r.Wall > 0 {
			took = screen.Duration(r.Wall)
		}
		rows = append(rows, row{first, screen.When(r.At, now), runName(r), mark + " " + short, more, took})
	}
	// The mark has colours, so its column is padded here.
	widths := columnWidths(rows)
	plain := screen.Style{Unicode: s.Unicode}
	widths[3] = 0
	for i, r := range runs {
		mark, short, _ := runWords(plain, r)
		rows[i][3] = mark + " " + short
		widths[3] = max(widths[3], screen.Width(rows[i][3]))
	}
	var b strings.Builder
	writeRows(&b, rows, widths)
	text := b.String()
	if s.Color {
		text = strings.NewReplacer(plain.Done(), s.Done(), plain.Failed(), s.Failed()).Replace(text)
	}
	_, err := io.WriteString(out, text)
	return err
}

// runName is what a run was asked to do.
func runName(r app.Run) string {
	switch r.What {
	case "":
		return screen.Clean(r.Target)
	case "undo", "collapse":
		return fmt.Sprintf("%s of %d", r.What, r.Of)
	}
	return strings.TrimSpace(r.What + " " + screen.Clean(r.Target))
}

// runWords are the mark, the outcome in a word, and what else is worth a column.
func runWords(s screen.Style, r app.Run) (mark, short, more string) {
	held := fmt.Sprintf("held as sws %d", r.SWS)
	if r.SWS < 0 { // an undo has none
		held = ""
	}
	switch r.Status {
	case "done":
		if r.Ran+r.Cached > 0 {
			more = fmt.Sprintf("%d ran, %d cached", r.Ran, r.Cached)
		}
		if r.Undone {
			more = strings.TrimPrefix(more+", undone", ", ")
		}
		return s.Done(), screen.Count(screen.Files(r.Changes), "file"), more
	case "held":
		return s.Skipped(), "held", held
	case "running":
		return s.Skipped(), "running", ""
	case "conflict":
		return s.Failed(), "conflict", held
	case "failed":
		if r.Failed == "" && r.Reason != "" {
			return s.Failed(), screen.Clean(r.Reason), ""
		}
		if strings.HasPrefix(r.Failed, "success ") {
			return s.Failed(), screen.Clean(r.Failed), ""
		}
		if r.Failed != "" {
			return s.Failed(), screen.Clean(r.Failed), screen.Clean(r.Reason)
		}
	}
	return s.Failed(), r.Status, screen.Clean(r.Reason)
}

type showCmd struct {
	Run ordinal `arg:"" optional:"" help:"The number of the run (default: the last one)."`
	At  number  `placeholder:"TICK" help:"Show the graph as it was after this tick of the run, and what the tick added."`
}

func (c *showCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	if c.Run == 0 {
		runs, err := w.Runs(ctx)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return s.noRuns()
		}
		c.Run = ordinal(runs[0].N)
	}
	if c.At > 0 {
		m, err := w.At(ctx, int(c.Run), int(c.At))
		if err != nil {
			return err
		}
		if s.flags.JSON {
			return screen.JSON(s.out, m)
		}
		return s.page(func(out io.Writer) error { return writeMoment(out, s.style, m) })
	}
	r, events, err := w.Run(ctx, int(c.Run))
	if err != nil {
		return err
	}
	if s.flags.JSON {
		j := screen.NewEvents(s.out)
		for _, e := range events {
			j.Event(e)
		}
		return j.Close()
	}
	return s.page(func(out io.Writer) error { return writeRun(out, s.style, r, events) })
}

// writeRun shows the run as it went, then what it changed.
func writeRun(out io.Writer, s screen.Style, r *app.Run, events []runner.Event) error {
	mark, short, more := runWords(s, *r)
	line := fmt.Sprintf("run %d  sws %d  %s  %s  %s %s", r.N, r.SWS, r.At.Local().Format("2006-01-02 15:04:05"), runName(*r), mark, short)
	if more != "" {
		line += ", " + more
	}
	if r.Wall > 0 {
		line += ", " + screen.Duration(r.Wall)
	}
	if _, err := fmt.Fprintln(out, line); err != nil {
		return err
	}
	s.Live = false
	v := screen.NewView(out, s, nil, time.Now)
	for _, e := range events {
		v.Event(e)
	}
	if err := v.Close(); err != nil {
		return err
	}
	var b strings.Builder
	if len(r.Ways) > 0 {
		b.WriteString("Ways not taken\n")
		for _, way := range r.Ways {
			fmt.Fprintf(&b, "  %s\n", screen.Clean(way))
		}
	}
	var files []screen.File
	for _, c := range r.Changes {
		files = append(files, screen.File{Path: c.Path, Before: c.Before, After: c.After})
	}
	if len(files) > 0 {
		b.WriteString("Files\n")
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	return screen.Sizes(out, s, files)
}
