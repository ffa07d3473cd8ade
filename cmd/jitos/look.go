package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
)

type listCmd struct {
	workspaceFlags `embed:""`
}

func (c *listCmd) run(ctx context.Context, s *session) error {
	w, err := s.open(runFlags{workspaceFlags: c.workspaceFlags})
	if s.bare && is[*app.NoWorkflowError](err) && !s.flags.JSON {
		return s.say("There is no workflow here or above.\n"+
			"Next:  jitos init    %s", s.hints("writes a small one from what is here"))
	}
	if err != nil {
		return err
	}
	defer w.Close()
	targets, sources, problems, err := w.Targets(ctx)
	if err != nil {
		return err
	}
	if problems.HasErrors() {
		return problems.Err()
	}
	if s.flags.JSON {
		return each(s, targets)
	}
	return s.page(func(out io.Writer) error { return writeTargets(out, s.style, targets, sources) })
}

// each writes values as JSON, one per line.
func each[T any](s *session, values []T) error {
	for _, v := range values {
		if err := screen.JSON(s.out, v); err != nil {
			return err
		}
	}
	return nil
}

// writeTargets lists the tasks of the files, then the slaps.
func writeTargets(out io.Writer, s screen.Style, targets []compiler.Target, sources []string) error {
	var tasks, slaps []row
	for _, t := range targets {
		about := screen.Clean(t.Description)
		if ways := strings.Join(t.Methods, " | "); len(t.Methods) > 1 && !strings.Contains(about, ways) {
			about = strings.TrimSpace(about + " (" + ways + ")")
		}
		var params []string
		for _, p := range t.Params {
			params = append(params, parameter(p))
		}
		last := strings.Join(params, " ")
		if t.Kind == "slap" {
			last = strings.TrimSpace("jitos apply " + t.Name + " " + last)
		}
		if t.Default {
			last = strings.TrimSpace(last + "  (default)")
		}
		r := row{t.Name, about, s.Dim(last)}
		if t.Kind == "slap" {
			slaps = append(slaps, r)
		} else {
			tasks = append(tasks, r)
		}
	}
	widths := columnWidths(slices.Concat(tasks, slaps))
	widths[0] = max(widths[0], 14)
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(sources, " "))
	writeRows(&b, tasks, widths)
	if len(slaps) > 0 {
		fmt.Fprintln(&b, "slaps")
		writeRows(&b, slaps, widths)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// parameter is how an argument is typed: its default, or its name alone where there is none.
func parameter(p compiler.Param) string {
	if p.Required {
		return p.Name
	}
	return screen.Clean(p.Name + "=" + p.Default)
}

// row is a line of a list. Only its last cell may have colours.
type row []string

func columnWidths(rows []row) []int {
	widths := make([]int, 8)
	for _, r := range rows {
		for i, cell := range r[:len(r)-1] {
			widths[i] = max(widths[i], screen.Width(cell))
		}
	}
	return widths
}

// writeRows writes rows as columns, three spaces apart, indented by two.
func writeRows(b *strings.Builder, rows []row, widths []int) {
	for _, r := range rows {
		line := " "
		for i, cell := range r {
			line += " " + cell
			if i < len(r)-1 {
				line += strings.Repeat(" ", widths[i]-screen.Width(cell)+2)
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

type whyCmd struct {
	What string `arg:"" help:"A path, a step, a task or a fact."`
}

func (c *whyCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	why, err := w.Why(ctx, c.What)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, why)
	}
	for _, line := range why.Lines {
		if err := s.say("%s", s.style.Text(screen.Clean(line))); err != nil {
			return err
		}
	}
	return nil
}

type outputCmd struct {
	Step   string `arg:"" optional:"" help:"The step (default: the last one that printed something, or failed)."`
	Run    int    `placeholder:"N" help:"Of run N instead of the last one."`
	Failed bool   `help:"Of the last step that failed."`
}

func (c *outputCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	text, step, err := w.Output(ctx, c.Step, c.Run, c.Failed)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, struct {
			*app.StepRun
			Output string
		}{step, string(text)})
	}
	if len(text) == 0 {
		s.note(step.Step + " printed nothing.")
	}
	return s.page(func(out io.Writer) error {
		_, err := out.Write(text)
		return err
	})
}

type doctorCmd struct{}

func (c *doctorCmd) run(ctx context.Context, s *session) error {
	healthy := true
	for _, f := range app.Doctor(ctx, s.options(runFlags{})) {
		var err error
		mark := s.style.Done()
		if !f.OK {
			mark, healthy = s.style.Failed(), false
		}
		if s.flags.JSON {
			err = screen.JSON(s.out, f)
		} else {
			err = s.say("  %s %s   %s", mark, screen.Pad(f.Name, 16), screen.Clean(f.Detail))
		}
		if err == nil && f.Fix != "" && !f.OK && !s.flags.JSON {
			err = s.say("      %s", strings.Join(screen.Lines(f.Fix), "\n      "))
		}
		if err != nil {
			return err
		}
	}
	if !healthy {
		return &toldError{exitFailed}
	}
	return nil
}

type explainCmd struct {
	Code string `arg:"" help:"The code, as it stands in brackets after a message: JT3311."`
}

func (c *explainCmd) run(_ context.Context, s *session) error {
	code := strings.ToUpper(strings.Trim(c.Code, "[]"))
	text, ok := lang.Explain(code)
	if !ok {
		text, ok = compiler.Explain(code)
	}
	if !ok {
		return &usageError{err: fmt.Errorf("there is no code %s", strconv.Quote(c.Code)), help: "jitos explain --help"}
	}
	if s.flags.JSON {
		return screen.JSON(s.out, struct{ Code, Text string }{code, text})
	}
	return s.say("%s  %s", code, text)
}

type versionCmd struct{}

func (c *versionCmd) run(_ context.Context, s *session) error {
	commit := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				commit = " " + setting.Value[:min(12, len(setting.Value))]
			}
		}
	}
	return s.say("jitos %s%s (%s, %s/%s)", app.Version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
