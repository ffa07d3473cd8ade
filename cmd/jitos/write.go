package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/runner"
)

type initCmd struct{}

func (c *initCmd) run(_ context.Context, s *session) error {
	made, err := app.Init(cmp.Or(s.flags.Directory, "."))
	if err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, made)
	}
	found := "nothing to build yet"
	if len(made.Found) > 0 {
		found = some(made.Found, 10)
	}
	for _, why := range made.Skipped {
		s.note("Left out " + why)
	}
	return s.say("Found %s.\nWrote %s: %s.\nNext:  jitos list    %s    jitos plan    %s    jitos apply", found, made.File, strings.Join(made.Wrote, "; "),
		s.style.Dim("what there is"), s.style.Dim("what would run"))
}

type validateCmd struct {
	workspaceFlags `embed:""`
}

func (c *validateCmd) run(ctx context.Context, s *session) error {
	w, err := s.open(runFlags{workspaceFlags: c.workspaceFlags})
	if err != nil {
		return err
	}
	defer w.Close()
	list, err := w.Validate(ctx)
	if err != nil {
		return err
	}
	if s.flags.JSON {
		if err := each(s, list.Sorted()); err != nil {
			return err
		}
	} else {
		s.diagnose(list)
	}
	if list.HasErrors() {
		return &toldError{exitUsage}
	}
	if s.flags.JSON {
		return nil
	}
	return s.say("The workflow is valid.  %s", s.hints("jitos list", "jitos plan"))
}

type fmtCmd struct {
	Check bool     `help:"Change nothing; exit with 1 and name the files that would change."`
	Diff  bool     `help:"Change nothing; show what would change."`
	Files []string `arg:"" optional:"" name:"file" help:"The files (default: those of the workspace and of its modules); - is standard input."`
}

func (c *fmtCmd) run(_ context.Context, s *session) error {
	if slices.Equal(c.Files, []string{"-"}) {
		return c.filter(s)
	}
	names := c.Files
	if len(names) == 0 {
		w, err := s.open(runFlags{})
		if err != nil {
			return err
		}
		defer w.Close()
		if names, err = w.Files(); err != nil {
			return err
		}
	}
	var problems diag.List
	sources := map[string][]byte{}
	unformatted := false
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			return &usageError{err: err, help: "jitos fmt --help"}
		}
		shown := shorten(name)
		sources[shown] = src
		out, list := lang.Format(shown, src)
		problems = append(problems, list...)
		if list.HasErrors() || bytes.Equal(out, src) {
			continue
		}
		unformatted = true
		switch {
		case c.Diff:
			err = s.showDiff(shown, src, out)
		case c.Check:
			err = s.say("%s", shown)
		default:
			err = cmp.Or(replace(name, out), s.say("%s", shown))
		}
		if err != nil {
			return err
		}
	}
	if problems.HasErrors() {
		s.sources = func(file string) []byte { return sources[file] }
		return problems.Err()
	}
	if c.Check && unformatted {
		return &toldError{exitFailed}
	}
	return nil
}

// filter formats standard input to standard output, as editors want it.
func (c *fmtCmd) filter(s *session) error {
	src, err := io.ReadAll(s.stdin)
	if err != nil {
		return err
	}
	out, list := lang.Format("stdin", src)
	if list.HasErrors() {
		s.sources = func(string) []byte { return src }
		return list.Err()
	}
	switch {
	case c.Diff:
		err = s.showDiff("stdin", src, out)
	case !c.Check:
		_, err = s.out.Write(out)
	}
	if err == nil && c.Check && !bytes.Equal(src, out) {
		err = &toldError{exitFailed}
	}
	return err
}

// showDiff shows what a text becomes.
func (s *session) showDiff(name string, before, after []byte) error {
	side := func(text []byte) (runner.Entry, func() ([]byte, error)) {
		return runner.Entry{Type: "file", Size: int64(len(text))}, func() ([]byte, error) { return text, nil }
	}
	f := screen.File{Path: name}
	f.Before, f.ReadBefore = side(before)
	f.After, f.ReadAfter = side(after)
	return screen.Diff(s.out, s.style, f)
}

// shorten is the name of a file as seen from here.
func shorten(name string) string {
	wd, err := os.Getwd()
	if err != nil {
		return name
	}
	if rel, err := filepath.Rel(wd, name); err == nil && filepath.IsAbs(name) {
		return rel
	}
	return name
}

// replace writes a file whole or not at all, and keeps its mode.
func replace(name string, content []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".jitos-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	_, err = tmp.Write(content)
	for _, step := range []func() error{
		func() error { return tmp.Chmod(info.Mode().Perm()) }, tmp.Sync, tmp.Close,
		func() error { return os.Rename(tmp.Name(), name) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
