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
	Files []string `arg:"" optional:"" name:"file" help:"The files (default: all of the workspace); - is standard input."`
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
		if names, err = filepath.Glob(filepath.Join(globQuote(w.Root()), "*"+lang.Extension)); err != nil {
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
		if !c.Check {
			if err := replace(name, out); err != nil {
				return err
			}
		}
		if err := s.say("%s", shown); err != nil {
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
	if c.Check {
		if !bytes.Equal(src, out) {
			return &toldError{exitFailed}
		}
		return nil
	}
	_, err = s.out.Write(out)
	return err
}

// globQuote makes a directory's name stand for itself in a pattern.
func globQuote(dir string) string {
	var b bytes.Buffer
	for _, c := range []byte(dir) {
		if bytes.IndexByte([]byte(`*?[\`), c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
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
