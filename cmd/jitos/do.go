package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/runner"
)

// target is what to apply: `release`, `compile os=darwin`, or nothing for the default.
type target struct {
	Target string   `arg:"" optional:"" help:"A slap, a task, or a member of a family as page[\"a\"] (default: the default of the workflow)."`
	Args   []string `arg:"" optional:"" name:"name=value" help:"Arguments of the target."`
}

func (t target) request() app.Request {
	if strings.Contains(t.Target, "=") && !strings.HasSuffix(t.Target, "]") {
		return app.Request{Args: append([]string{t.Target}, t.Args...)}
	}
	return app.Request{Target: t.Target, Args: t.Args}
}

// typed is the command as a person would type it again.
func (t target) typed(verb string, f workspaceFlags) string {
	words := []string{"jitos", verb}
	for _, w := range append([]string{t.Target}, t.Args...) {
		if w != "" {
			words = append(words, screen.Quote(w))
		}
	}
	for _, v := range f.Var {
		words = append(words, "--var", screen.Quote(v))
	}
	for _, v := range f.VarFile {
		words = append(words, "--var-file", screen.Quote(v))
	}
	return strings.Join(words, " ")
}

type applyCmd struct {
	target    `embed:""`
	Hold      bool `help:"Keep the result aside as a shadow working set, whatever the outcome."`
	Preview   bool `help:"Run everything, let nothing in, and show the exact diff."`
	KeepGoing bool `short:"k" help:"After a failure, finish what it does not touch."`
	runFlags  `embed:""`
}

func (c *applyCmd) run(ctx context.Context, s *session) error {
	request := c.request()
	request.Hold, request.KeepGoing = c.Hold || c.Preview, c.KeepGoing
	saved, err := app.Load(c.Target)
	switch {
	case err != nil:
		return err
	case saved != nil && len(c.Args) > 0:
		return &usageError{fmt.Errorf("%s is a plan with its own arguments, so none can be given", c.Target), "jitos apply --help"}
	case saved != nil:
		request.Target, request.Args, request.Saved = saved.Target, saved.Args, saved
		c.Var = append(saved.Vars, c.Var...)
	default:
		if o, ok := app.NothingToDo(s.options(c.runFlags), request); ok {
			return s.end(ctx, o, screen.Asked{})
		}
	}
	w, err := s.open(c.runFlags)
	if err != nil {
		return err
	}
	defer w.Close()
	asked := screen.Asked{Command: c.typed("apply", c.workspaceFlags), Hold: request.Hold}
	o, err := s.show(func(v shown) (*runner.Outcome, error) {
		return w.Apply(ctx, request, func(e runner.Event) {
			if r, ok := e.Data.(*runner.Result); ok {
				asked.Ended(r)
			}
			v.sink(e)
		}, v.live)
	})
	asked.Command = w.Hide(asked.Command)
	if err != nil {
		return err
	}
	if c.Preview && o.Status == runner.Held && !s.flags.JSON {
		files, err := heldFiles(ctx, w, o.SWS)
		if err != nil {
			return err
		}
		if err := screen.Diffs(s.out, s.style, files); err != nil {
			return err
		}
	}
	return s.end(ctx, o, asked)
}

// show shows a run while it goes on.
func (s *session) show(work func(shown) (*runner.Outcome, error)) (*runner.Outcome, error) {
	v := s.watch()
	o, err := work(v)
	if closed := v.done(); err == nil {
		err = closed
	}
	return o, err
}

// end tells how a run ended.
func (s *session) end(ctx context.Context, o *runner.Outcome, asked screen.Asked) error {
	code := outcomeCode(ctx, o)
	var err error
	if s.flags.JSON {
		err = outcomeJSON(s, o, code)
	} else {
		if o.Failed == "" && o.NoPlan != nil { // nothing went wrong but the plan
			s.diagnose(diagnostics(o.NoPlan))
		}
		_, err = s.out.WriteString(screen.Summary(s.style, o, asked))
	}
	if err == nil && code != exitDone {
		err = &toldError{code}
	}
	return err
}

// outcomeJSON writes the last line of a run: what its events come to.
func outcomeJSON(s *session, o *runner.Outcome, code int) error {
	var conflicts []string
	for _, c := range o.Conflicts {
		conflicts = append(conflicts, c.Path)
	}
	return screen.JSON(s.out, struct {
		Kind                            string
		Status                          runner.Status
		Exit, Run, SWS                  int
		Target, Reason, Failed          string
		Steps, Ran, Cached, UpToDate    int
		Changed                         []runner.Change
		Conflicts, Warnings, FailedWays []string
		Wall                            int64
	}{
		"OUTCOME", o.Status, code, o.Run, o.SWS, o.Target, o.Reason, o.Failed, o.Steps, o.Ran, o.Cached, o.UpToDate,
		o.Changed, conflicts, o.Warnings, o.FailedWays, int64(o.Wall),
	})
}

type undoCmd struct {
	Run      ordinal `arg:"" optional:"" help:"The run to undo (default: the last one that changed files)."`
	runFlags `embed:""`
}

func (c *undoCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(c.runFlags)
	if err != nil {
		return err
	}
	defer w.Close()
	of := int(c.Run)
	o, err := s.show(func(v shown) (*runner.Outcome, error) {
		return w.Undo(ctx, int(c.Run), func(e runner.Event) {
			if d, ok := e.Data.(*runner.Collapse); ok && d.Of != 0 {
				of = d.Of
			}
			v.sink(e)
		})
	})
	if err != nil {
		return err
	}
	return s.end(ctx, o, screen.Asked{Command: "jitos undo", Done: fmt.Sprintf("Put back %s as before run %d (run %d). Undo again to redo.",
		screen.Count(screen.Files(o.Changed), "file"), of, o.Run)})
}

type cleanCmd struct {
	target   `embed:""`
	runFlags `embed:""`
}

func (c *cleanCmd) run(ctx context.Context, s *session) error {
	w, err := s.open(c.runFlags)
	if err != nil {
		return err
	}
	defer w.Close()
	o, err := s.show(func(v shown) (*runner.Outcome, error) {
		return w.Clean(ctx, append([]string{c.request().Target}, c.request().Args...), v.sink)
	})
	if err != nil {
		return err
	}
	if o.Status == runner.Nothing && !s.flags.JSON {
		return s.say("Nothing to clean: no output is there.")
	}
	return s.end(ctx, o, screen.Asked{Command: w.Hide(c.typed("clean", c.workspaceFlags)), Done: fmt.Sprintf("Removed %s (run %d).  %s",
		screen.Count(screen.Files(o.Changed), "file"), o.Run, s.hints("jitos undo"))})
}

type tryCmd struct {
	Yes       bool     `xor:"answer" help:"Keep what it changed, without asking."`
	No        bool     `xor:"answer" help:"Drop what it changed."`
	Hold      bool     `xor:"answer" help:"Leave what it changed aside."`
	NoNetwork bool     `help:"Run it without the network."`
	CleanEnv  bool     `help:"Run it without this shell's environment."`
	Overlay   string   `enum:"auto,overlay,copy" default:"auto" placeholder:"HOW" group:"run" help:"How it is kept apart: auto, overlay or copy."`
	Command   []string `arg:"" passthrough:"" help:"The command with its arguments, best after --."`
}

func (c *tryCmd) run(ctx context.Context, s *session) error {
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return &usageError{err: fmt.Errorf("there is no command to try"), help: "jitos try -- COMMAND"}
	}
	w, err := s.openHere(runFlags{Overlay: c.Overlay})
	if err != nil {
		return err
	}
	defer w.Close()
	out, err := s.show(func(v shown) (*runner.Outcome, error) {
		return w.Try(ctx, argv, app.TryOptions{NoNetwork: c.NoNetwork, CleanEnv: c.CleanEnv}, v.sink, v.live)
	})
	if err != nil {
		return err
	}
	if out.Status != runner.Held {
		return s.end(ctx, out, screen.Asked{Done: "It changed nothing."})
	}
	files, err := heldFiles(ctx, w, out.SWS)
	if err != nil {
		return err
	}
	return c.decide(ctx, s, w, out, files)
}

// decide shows what a tried command changed and does what the flags, or the person, say.
func (c *tryCmd) decide(ctx context.Context, s *session, w *app.Workspace, out *runner.Outcome, files []screen.File) error {
	if s.flags.JSON {
		if err := outcomeJSON(s, out, exitDone); err != nil {
			return err
		}
	} else if err := screen.Changes(s.out, s.style, files); err != nil {
		return err
	}
	answer := c.answer()
	for {
		if answer == "" {
			answer = s.ask(ctx, "Keep? [y]es  [n]o  [d]iff  [h]old: ")
		}
		switch answer {
		case "y":
			o, err := s.show(func(v shown) (*runner.Outcome, error) {
				return w.SetCollapse(ctx, out.SWS, runner.Decision{}, v.sink)
			})
			if err != nil {
				return err
			}
			return s.end(ctx, o, screen.Asked{Command: fmt.Sprintf("jitos sws collapse %d", out.SWS)})
		case "n":
			if err := w.SetDiscard(ctx, out.SWS); err != nil {
				return err
			}
			if s.flags.JSON {
				return nil
			}
			return s.say("Dropped: the workspace is as it was.")
		case "d":
			if err := s.pageDiffs(files); err != nil {
				return err
			}
		case "h":
			if s.flags.JSON {
				return nil
			}
			set := func(verb string) string { return fmt.Sprintf("jitos sws %s %d", verb, out.SWS) }
			err := s.say("Held as sws %d, the workspace is as it was.  %s", out.SWS, s.hints(set("diff"), set("collapse"), set("discard")))
			if interrupted := context.Cause(ctx); err == nil && interrupted != nil {
				err = &toldError{exitCode(interrupted)}
			}
			return err
		}
		answer = ""
	}
}

func (c *tryCmd) answer() string {
	switch {
	case c.Yes:
		return "y"
	case c.No:
		return "n"
	case c.Hold:
		return "h"
	}
	return ""
}
