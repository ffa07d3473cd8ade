package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/runner"
)

type swsCmd struct {
	List     swsListCmd     `cmd:"" default:"1" help:"List the sets that are active or held."`
	Show     swsShowCmd     `cmd:"" help:"Show what a set would change."`
	Diff     swsDiffCmd     `cmd:"" help:"Show the exact difference."`
	Collapse swsCollapseCmd `cmd:"" help:"Let a set into the workspace, byte for byte; nothing runs again."`
	Discard  swsDiscardCmd  `cmd:"" help:"Drop a set."`
	Rebase   swsRebaseCmd   `cmd:"" help:"Make a set anew on top of the workspace as it is now."`
	GC       swsGCCmd       `cmd:"" name:"gc" help:"Remove what sets that are no longer held left on the disk."`
}

// set is the number that a command is about.
type set struct {
	ID number `arg:"" help:"The number of the set."`
}

type swsListCmd struct {
	All bool `short:"a" help:"List those that were collapsed or discarded too."`
}

func (c *swsListCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	sets, err := w.Sets(ctx)
	if err != nil {
		return err
	}
	if !c.All {
		sets = slices.DeleteFunc(sets, func(s app.Set) bool { return s.State != "ACTIVE" && s.State != "HELD" })
	}
	if s.flags.JSON {
		return each(s, sets)
	}
	if len(sets) == 0 {
		return s.say("No set is held.  %s", s.hints("jitos apply --hold"))
	}
	var rows []row
	for _, set := range sets {
		rows = append(rows, setRow(set))
	}
	var b strings.Builder
	writeRows(&b, rows, columnWidths(rows))
	_, err = s.out.WriteString(b.String())
	return err
}

func setRow(set app.Set) row {
	changes := ""
	if set.Changes > 0 {
		changes = screen.Count(set.Changes, "file")
	}
	return row{strconv.Itoa(set.ID), strings.ToLower(set.State), screen.When(set.At, time.Now()), "run " + strconv.Itoa(set.Run),
		screen.Clean(set.Target), changes, screen.Clean(set.Reason)}
}

type swsShowCmd struct {
	set `embed:""`
}

func (c *swsShowCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	sets, err := w.Sets(ctx)
	if err != nil {
		return err
	}
	files, err := heldFiles(ctx, w, int(c.ID))
	if err != nil {
		return err
	}
	for _, set := range sets {
		if set.ID != int(c.ID) {
			continue
		}
		if s.flags.JSON {
			if err := screen.JSON(s.out, set); err != nil {
				return err
			}
			break
		}
		var b strings.Builder
		writeRows(&b, []row{setRow(set)}, columnWidths([]row{setRow(set)}))
		if _, err := s.out.WriteString(strings.TrimPrefix(b.String(), "  ")); err != nil {
			return err
		}
	}
	if s.flags.JSON {
		return each(s, files)
	}
	return s.page(func(out io.Writer) error { return screen.Changes(out, s.style, files) })
}

type swsDiffCmd struct {
	set   `embed:""`
	Paths []string `arg:"" optional:"" name:"path" help:"Only these files, or what is below these directories."`
}

func (c *swsDiffCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	files, err := heldFiles(ctx, w, int(c.ID))
	if err != nil {
		return err
	}
	if files, err = screen.Under(files, c.Paths); err != nil {
		return err
	}
	if s.flags.JSON {
		return each(s, files)
	}
	return s.pageDiffs(files)
}

func (s *session) pageDiffs(files []screen.File) error {
	return s.page(func(out io.Writer) error { return screen.Diffs(out, s.style, files) })
}

// heldFiles are the files of a set with both their sides.
func heldFiles(ctx context.Context, w *app.Workspace, id int) ([]screen.File, error) {
	diffs, err := w.SetDiff(ctx, id)
	if err != nil {
		return nil, err
	}
	var files []screen.File
	for _, d := range diffs {
		files = append(files, screen.File(d))
	}
	return files, nil
}

type swsCollapseCmd struct {
	set    `embed:""`
	Keep   string   `enum:"workspace,sws," default:"" placeholder:"WHICH" help:"Where both changed, keep what is in the workspace, or what is in the sws."`
	Anyway bool     `help:"Let it in although its run failed."`
	DryRun bool     `help:"Say whether it would be let in, and change nothing."`
	Paths  []string `arg:"" optional:"" name:"path" help:"The files that --keep decides about (default: all)."`
}

func (c *swsCollapseCmd) run(ctx context.Context, s *session) error {
	if len(c.Paths) > 0 && c.Keep == "" {
		return &usageError{err: fmt.Errorf("paths say which files --keep decides about, and --keep is missing"), help: "jitos sws collapse --help"}
	}
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	o, err := s.show(func(v shown) (*runner.Outcome, error) {
		d := runner.Decision{Keep: runner.Keep(c.Keep), Paths: c.Paths, Anyway: c.Anyway, Dry: c.DryRun}
		return w.SetCollapse(ctx, int(c.ID), d, v.sink)
	})
	if err != nil {
		return err
	}
	done := ""
	if c.DryRun && o.Status == runner.Held {
		done = fmt.Sprintf("It would be let in: %s.  %s", screen.Count(screen.Files(o.Changed), "file"),
			s.hints(fmt.Sprintf("jitos sws collapse %d", c.ID)))
	}
	command := fmt.Sprintf("jitos sws collapse %d", c.ID)
	if o.Status == runner.Conflicted { // only running it again makes another result
		if command, err = again(ctx, w, int(c.ID)); err != nil {
			return err
		}
	}
	return s.end(ctx, o, screen.Asked{Command: command, Done: done})
}

// again is the command that makes a set anew; "" if it cannot be told from the record.
func again(ctx context.Context, w *app.Workspace, id int) (string, error) {
	sets, err := w.Sets(ctx)
	if err != nil {
		return "", err
	}
	for _, set := range sets {
		if set.ID == id && set.Repeatable() {
			return fmt.Sprintf("jitos sws rebase %d", id), nil
		}
	}
	return "", nil
}

type swsDiscardCmd struct {
	set `embed:""`
}

func (c *swsDiscardCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.SetDiscard(ctx, int(c.ID)); err != nil || s.flags.JSON {
		return err
	}
	return s.say("Discarded sws %d: the workspace is as it was.", c.ID)
}

type swsRebaseCmd struct {
	set      `embed:""`
	runFlags `embed:""`
}

func (c *swsRebaseCmd) run(ctx context.Context, s *session) error {
	w, err := s.open(c.runFlags)
	if err != nil {
		return err
	}
	defer w.Close()
	var asked screen.Asked
	o, err := s.show(func(v shown) (*runner.Outcome, error) {
		return w.SetRebase(ctx, int(c.ID), func(e runner.Event) {
			if r, ok := e.Data.(*runner.Result); ok {
				asked.Ended(r)
			}
			v.sink(e)
		}, v.live)
	})
	if err != nil {
		return err
	}
	asked.Command, asked.Hold = fmt.Sprintf("jitos sws rebase %d", c.ID), o.Status == runner.Held
	return s.end(ctx, o, asked)
}

type swsGCCmd struct{}

func (c *swsGCCmd) run(ctx context.Context, s *session) error {
	w, err := s.openAny(runFlags{})
	if err != nil {
		return err
	}
	defer w.Close()
	removed, err := w.SetGC(ctx)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return each(s, removed)
	}
	if len(removed) == 0 {
		return s.say("Nothing to remove: no set is on the disk but those that are held.")
	}
	return s.say("Removed %s that nothing refers to any more.", screen.Count(len(removed), "set"))
}

// ask asks a person for one letter. Where there is none to ask, or they go away, the answer is to hold.
func (s *session) ask(ctx context.Context, question string) string {
	if !term.IsTerminal(int(s.stdin.Fd())) || !term.IsTerminal(int(s.out.Fd())) {
		s.note("There is no terminal to ask on, so it is held. Decide with --yes, --no or --hold.")
		return "h"
	}
	if s.answers == nil {
		s.answers = bufio.NewReader(s.stdin)
	}
	fmt.Fprint(s.out, question)
	answer := make(chan string, 1)
	go func() { // it may wait for ever, which a signal must not
		if line, err := s.answers.ReadString('\n'); err == nil {
			answer <- strings.ToLower(strings.TrimSpace(line))
		}
		close(answer)
	}()
	select {
	case line, ok := <-answer:
		if ok {
			return line[:min(1, len(line))]
		}
	case <-ctx.Done():
	}
	fmt.Fprintln(s.out)
	return "h"
}
