package main

import (
	"context"
	"errors"
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
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
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
		if len(t.Methods) > 1 && !strings.Contains(about, " | ") { // else its author lists the ways already
			about = strings.TrimSpace(about + " (" + strings.Join(t.Methods, " | ") + ")")
		}
		var params []string
		for _, p := range t.Params {
			params = append(params, parameter(p))
		}
		last := strings.Join(params, " ")
		switch {
		case t.Default:
			last = strings.TrimSpace("jitos apply " + last)
		case t.Kind == "slap":
			last = strings.TrimSpace("jitos apply " + t.Name + " " + last)
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

type varsCmd struct {
	Explain        string `placeholder:"NAME" help:"Say of one variable which source wins, and what the others say."`
	workspaceFlags `embed:""`
}

func (c *varsCmd) run(ctx context.Context, s *session) error {
	w, err := s.open(runFlags{workspaceFlags: c.workspaceFlags})
	if err != nil {
		return err
	}
	defer w.Close()
	vars, problems, err := w.Variables(ctx)
	if err != nil {
		return err
	}
	if c.Explain != "" {
		i := slices.IndexFunc(vars, func(v app.Variable) bool { return v.Name == c.Explain })
		if i < 0 {
			var names []string
			for _, v := range vars {
				names = append(names, v.Name)
			}
			return unknown("variable", c.Explain, names, "jitos vars")
		}
		vars = vars[i : i+1]
		problems = slices.DeleteFunc(problems, func(d diag.Diagnostic) bool { return !vars[0].Concerns(d) })
	}
	switch {
	case s.flags.JSON:
		err = each(s, vars)
	case c.Explain != "":
		err = s.page(func(out io.Writer) error { return explainVariable(out, s.style, vars[0]) })
	case len(vars) == 0 && !problems.HasErrors():
		err = s.say("The workflow has no variables.")
	default:
		err = s.page(func(out io.Writer) error { return writeVariables(out, s.style, vars) })
	}
	if err == nil && problems.HasErrors() {
		err = problems.Err()
	}
	return err
}

// writeVariables lists variables with their values, where these come from, and what they are for.
func writeVariables(out io.Writer, s screen.Style, vars []app.Variable) error {
	var rows []row
	for _, v := range vars {
		value, from := screen.Clean(v.Value), screen.Clean(v.From())
		if from == "" {
			value, from = "(no value)", "needs one"
		}
		rows = append(rows, row{v.Name, value, from, s.Dim(screen.Clean(v.Description))})
	}
	var b strings.Builder
	writeRows(&b, rows, columnWidths(rows))
	_, err := io.WriteString(out, b.String())
	return err
}

// explainVariable lists the sources of a variable, the one that wins first.
func explainVariable(out io.Writer, s screen.Style, v app.Variable) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   %s", v.Name, v.Type)
	if v.Description != "" {
		b.WriteString("   " + s.Dim(screen.Clean(v.Description)))
	}
	b.WriteString("\n")
	var rows []row
	won := false
	for _, source := range v.Sources {
		r := row{screen.Clean(source.From), "not set", ""}
		if source.Given {
			r[1] = screen.Clean(source.Value)
			if !source.At.IsZero() {
				r[2] = s.Dim(screen.Clean(source.At.String()))
			}
			if !won {
				r[2] = strings.TrimSpace("wins  " + r[2])
			}
			won = true
		}
		rows = append(rows, r)
	}
	writeRows(&b, rows, columnWidths(rows))
	if !won {
		fmt.Fprintf(&b, "It has no value. Give it one with --var %s=VALUE.\n", v.Name)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

type whyCmd struct {
	Not            bool   `help:"Say why a method of a task was not taken: --not image docker."`
	What           string `arg:"" help:"A path, a step, a task or a fact."`
	Method         string `arg:"" optional:"" help:"With --not: the method."`
	workspaceFlags `embed:""`
}

func (c *whyCmd) run(ctx context.Context, s *session) error {
	if c.Not != (c.Method != "") {
		return &usageError{err: errors.New("a method is asked for as `jitos why --not TASK METHOD`"), help: "jitos why --help"}
	}
	open := s.openAny
	if c.Not {
		open = s.open
	}
	w, err := open(runFlags{workspaceFlags: c.workspaceFlags})
	if err != nil {
		return err
	}
	defer w.Close()
	var why *app.Why
	if c.Not {
		why, err = whyNot(ctx, w, c.What, c.Method)
	} else {
		why, err = w.Why(ctx, c.What)
	}
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

// whyNot looks for a method among those that the plan of now passes over, and those that failed in a run.
func whyNot(ctx context.Context, w *app.Workspace, task, method string) (*app.Why, error) {
	out := &app.Why{Kind: "method", Name: task + " by " + method}
	say := func(format string, args ...any) { out.Lines = append(out.Lines, fmt.Sprintf(format, args...)) }
	f, err := w.Plan(ctx, app.Request{})
	if err != nil || !slices.ContainsFunc(f.Plan.Tree, func(n plan.Node) bool { return taskOf(n) == task }) {
		if f, err = w.Plan(ctx, app.Request{Target: task}); err != nil { // nothing that is applied by default needs it
			return nil, err
		}
	}
	taken := false
	for _, n := range f.Plan.Tree {
		if taskOf(n) != task {
			continue
		}
		taken = taken || n.Method == method
		for _, p := range n.Passed {
			if p.Method == method {
				say("method %s was not taken: %s   (%s:%d)", method, p.Reason, p.Range.File, p.Range.Start.Line)
			}
		}
	}
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if len(out.Lines) == 0 && !taken && slices.Contains(r.Methods, out.Name) {
			say("method %s was taken in run %d", method, r.N)
		}
		for _, way := range r.Ways {
			if reason, ok := strings.CutPrefix(way, out.Name+": "); ok && len(out.Lines) == 0 {
				say("method %s was not taken in run %d: %s", method, r.N, reason)
			}
		}
	}
	switch {
	case len(out.Lines) > 0:
	case taken:
		say("method %s is taken", method)
	default:
		if err := w.HasMethod(task, method); err != nil {
			return nil, err
		}
		say("method %s of %s was not needed: one that is written before it was possible", method, task)
	}
	return out, nil
}

// taskOf is the task of a node without its arguments.
func taskOf(n plan.Node) string {
	name, _, _ := strings.Cut(n.Task, "(")
	return name
}

type outputCmd struct {
	Step   string  `arg:"" optional:"" help:"The step or its task (default: the last one that printed something, or failed)."`
	Run    ordinal `placeholder:"N" help:"Of run N instead of the last one."`
	Failed bool    `help:"Of the last step that failed."`
}

func (c *outputCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	text, step, err := w.Output(ctx, c.Step, int(c.Run), c.Failed)
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
	healthy, err := s.findings(app.Doctor(ctx, s.options(runFlags{})))
	if err == nil && !healthy {
		err = &toldError{exitFailed}
	}
	return err
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
				commit = setting.Value[:min(12, len(setting.Value))]
			}
		}
	}
	if s.flags.JSON {
		return screen.JSON(s.out, struct{ Version, Commit, Go, OS, Arch string }{app.Version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH})
	}
	return s.say("jitos %s (%s, %s/%s)", strings.TrimSpace(app.Version+" "+commit), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
