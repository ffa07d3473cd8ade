package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
)

type verifyCmd struct{}

func (c *verifyCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	found, err := w.Verify(ctx)
	if err != nil {
		return err
	}
	sound, err := s.findings(found)
	if err == nil && !sound {
		err = &toldError{exitDamaged}
	}
	return err
}

// findings writes what was looked at, and says whether all of it is as it should be.
func (s *session) findings(found []app.Finding) (sound bool, err error) {
	sound = true
	for _, f := range found {
		sound = sound && f.OK
		if s.flags.JSON {
			if err := screen.JSON(s.out, f); err != nil {
				return sound, err
			}
			continue
		}
		mark := s.style.Done()
		if !f.OK {
			mark = s.style.Failed()
		}
		err := s.say("  %s %s   %s", mark, screen.Pad(f.Name, 16), screen.Clean(f.Detail))
		if err == nil && f.Fix != "" && !f.OK {
			err = s.say("      %s", strings.Join(screen.Lines(f.Fix), "\n      "))
		}
		if err != nil {
			return sound, err
		}
	}
	return sound, nil
}

type replayCmd struct {
	Run ordinal `arg:"" optional:"" help:"Up to the end of this run (default: all)."`
}

func (c *replayCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	r, err := w.Replay(ctx, int(c.Run))
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, r)
	}
	if r.Run == 0 {
		return s.noRuns()
	}
	return s.say("Replayed %s up to run %d: %s, %s of the System, %s of shadow working sets; every digest is the recorded one.\n"+
		"The graph has %s and %s, digest %s", screen.Count(r.Events, "event"), r.Run, screen.Count(r.Ticks, "tick"),
		screen.Count(r.Rewrites, "rewrite"), screen.Count(r.Views, "rewrite"),
		screen.Count(r.Nodes, "node"), screen.Count(r.Edges, "edge"), r.Digest)
}

type diffCmd struct {
	A ordinal `arg:"" help:"The number of a run."`
	B ordinal `arg:"" help:"The number of another."`
}

func (c *diffCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	d, err := w.Diff(ctx, int(c.A), int(c.B))
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, d)
	}
	return s.page(func(out io.Writer) error { return writeDiff(out, s.style, d) })
}

func writeDiff(out io.Writer, s screen.Style, d *app.RunDiff) error {
	var b strings.Builder
	lines := func(title string, list []string) {
		if len(list) > 0 {
			fmt.Fprintln(&b, title)
		}
		for _, l := range list {
			fmt.Fprintf(&b, "  %s\n", s.Text(screen.Clean(l)))
		}
	}
	var steps []row
	for _, step := range d.Steps {
		steps = append(steps, row{step.Step, cmp.Or(step.A, "-"), s.Arrow() + " " + cmp.Or(step.B, "-")})
	}
	widths := columnWidths(steps)
	fmt.Fprintf(&b, "Steps  run %d %s run %d, %d the same\n", d.A, s.Arrow(), d.B, d.Same)
	for i, step := range d.Steps {
		writeRows(&b, steps[i:i+1], widths)
		for _, l := range step.Differs {
			fmt.Fprintf(&b, "      %s\n", s.Text(screen.Clean(l)))
		}
	}
	lines("Methods", d.Methods)
	lines("Files", d.Files)
	var graph []row
	for _, k := range d.Graph {
		what := "nodes"
		if k.Edges {
			what = "edges"
		}
		graph = append(graph, row{what, k.Kind, fmt.Sprintf("+%d -%d", k.Added, k.Removed)})
	}
	if len(graph) > 0 {
		fmt.Fprintln(&b, "Graph")
	}
	writeRows(&b, graph, columnWidths(graph))
	_, err := io.WriteString(out, b.String())
	return err
}

// writeMoment shows the System graph as it was after a tick.
func writeMoment(out io.Writer, s screen.Style, m *app.Moment) error {
	var b strings.Builder
	fmt.Fprintf(&b, "run %d  tick %d  event %d  digest %s\n", m.Run, m.Tick, m.Idx, m.Digest)
	for _, part := range []struct {
		title string
		kinds []app.KindCount
	}{{"Nodes", m.Nodes}, {"Edges", m.Edges}} {
		var rows []row
		for _, k := range part.kinds {
			rows = append(rows, row{k.Kind, fmt.Sprint(k.N)})
		}
		fmt.Fprintln(&b, part.title)
		writeRows(&b, rows, columnWidths(rows))
	}
	fmt.Fprintln(&b, "This tick")
	for _, l := range m.Added {
		fmt.Fprintf(&b, "+ %s\n", s.Text(screen.Clean(l)))
	}
	for _, l := range m.Removed {
		fmt.Fprintf(&b, "- %s\n", s.Text(screen.Clean(l)))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

type gcCmd struct {
	Keep     string `placeholder:"AGE" help:"Keep what happened within AGE: 36h, 30d, 2w (default: as remembered, or 30d)."`
	Limit    string `placeholder:"SIZE" help:"Let the store take at most SIZE: 500MB, 10GiB (default: as remembered, or 10GiB)."`
	Remember bool   `xor:"dry" help:"Remember --keep and --limit for this workspace: every run tidies up by them."`
	DryRun   bool   `xor:"dry" help:"Say what would go, and let nothing go."`
	NoWait   bool   `help:"Exit with 75 if another jitos is running here, instead of waiting."`
}

// retention is what the flags ask for, and where they say nothing what the workspace remembers.
func (c *gcCmd) retention(w *app.Workspace) (r app.Retention, err error) {
	if c.Keep == "" || c.Limit == "" {
		if r, err = w.Retention(); err != nil {
			return r, err
		}
	}
	if c.Keep != "" {
		r.Keep, err = app.ParseAge(c.Keep)
	}
	if c.Limit != "" && err == nil {
		r.Limit, err = app.ParseSize(c.Limit)
	}
	if err != nil {
		err = &usageError{err: err, help: "jitos gc --help"}
	}
	return r, err
}

func (c *gcCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{NoWait: c.NoWait})
	if err != nil {
		return err
	}
	defer w.Close()
	r, err := c.retention(w)
	if err == nil && c.Remember {
		err = w.Remember(ctx, r)
	}
	if err != nil {
		return err
	}
	o, err := w.GC(ctx, r, c.DryRun)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, o)
	}
	verb := "Freed"
	if c.DryRun {
		verb = "Would free"
	}
	text := fmt.Sprintf("%s %s: %s; %s stay, %s.", verb, screen.Size(o.Freed), screen.Count(o.Objects, "object"), fmt.Sprint(o.Kept), screen.Size(o.Size))
	if o.Events > 0 {
		text += fmt.Sprintf(" The history let go of %s and begins with run %d.", screen.Count(int(o.Events), "event"), o.FirstRun)
	}
	if o.OverLimit {
		text += fmt.Sprintf(" The store was over its limit of %s, so what was used longest ago went too.", screen.Size(o.Limit))
	}
	if c.Remember {
		text += fmt.Sprintf(" From now on runs keep what happened within %s and let the store take %s.", r.Keep, screen.Size(r.Limit))
	}
	return s.say("%s", text)
}

type historyCmd struct {
	Repair repairCmd `cmd:"" help:"Keep what is before a damage, and put the rest aside."`
}

type repairCmd struct{}

func (c *repairCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	r, err := w.Repair(ctx)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, r)
	}
	if r.Damage == "" {
		return s.say("The history is sound: %s. Nothing was done.", screen.Count(int(r.Events), "event"))
	}
	lines := []string{screen.Clean(r.Damage), "Kept " + screen.Count(int(r.Events), "event") + ". The workspace's files are as they were."}
	lost := "Lost is what came after; none of it could be read."
	if r.Lost > 0 {
		lost = fmt.Sprintf("Lost are %s that could still be read, and what could not:", screen.Count(r.Lost, "event"))
	}
	lines = append(lines, lost)
	for _, run := range r.Runs {
		_, short, _ := runWords(s.style, run)
		lines = append(lines, fmt.Sprintf("  run %d  %s  %s", run.N, runName(run), short))
	}
	for _, name := range r.Aside {
		lines = append(lines, "Put aside as "+name)
	}
	lines = append(lines, s.hints("jitos verify", "jitos log"))
	return s.say("%s", strings.Join(lines, "\n"))
}
