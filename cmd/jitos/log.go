package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/runner"
)

type logCmd struct{}

func (c *logCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	runs, err := w.Runs(ctx)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return each(s, runs)
	}
	if len(runs) == 0 {
		return s.noRuns()
	}
	return s.page(func(out io.Writer) error { return writeRuns(out, s.style, runs, time.Now()) })
}

func (s *session) noRuns() error {
	if s.flags.JSON {
		return nil
	}
	return s.say("Nothing has run here yet.  %s", s.hints("jitos plan", "jitos apply"))
}

// writeRuns lists runs: number, time, what was asked for, how it ended.
func writeRuns(out io.Writer, s screen.Style, runs []app.Run, now time.Time) error {
	number := 0
	for _, r := range runs {
		number = max(number, len(strconv.Itoa(r.N)))
	}
	var rows []row
	for _, r := range runs {
		mark, short, more := runWords(s, r)
		took := ""
		if r.Wall > 0 {
			took = screen.Duration(r.Wall)
		}
		rows = append(rows, row{fmt.Sprintf("%*d", number, r.N), screen.When(r.At, now), runName(r), mark + " " + short, more, took})
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
	Run number `arg:"" optional:"" help:"The number of the run (default: the last one)."`
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
		c.Run = number(runs[0].N)
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
