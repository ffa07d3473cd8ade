package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/lang"
)

type importCmd struct {
	File importFileCmd `cmd:"" default:"withargs" help:"A justfile, Taskfile.yml, package.json or Makefile: a workflow that runs the same."`
	HDDL importHDDLCmd `cmd:"" name:"hddl" help:"A planning problem: types, tasks, methods and actions become facts, tasks and methods."`
}

type importFileCmd struct {
	File   string `arg:"" help:"The justfile, Taskfile.yml, package.json or Makefile."`
	Output string `short:"o" placeholder:"FILE" help:"Write FILE instead of main.jitos.hcl beside it; - is standard output. A file that exists is not replaced."`
}

func (c *importFileCmd) run(_ context.Context, s *session) error {
	name := c.File
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.flags.Directory, name)
	}
	made, err := app.Import(name)
	if err != nil {
		return err
	}
	if made.Incomplete > 0 {
		s.note(fmt.Sprintf("Not everything could be translated: see the comments in it (%d).", made.Incomplete))
	}
	return writeImported(s, cmp.Or(c.Output, filepath.Join(filepath.Dir(c.File), "main"+lang.Extension)), made.Text)
}

type importHDDLCmd struct {
	Domain  string `arg:"" help:"The file of the domain."`
	Problem string `arg:"" help:"The file of the problem."`
	Output  string `short:"o" placeholder:"FILE" help:"Write FILE instead of main.jitos.hcl; - is standard output. A file that exists is not replaced."`
}

const importHDDLHelp = "jitos import hddl --help"

func (c *importHDDLCmd) run(_ context.Context, s *session) error {
	m, err := loadHDDL(c.Domain, c.Problem, importHDDLHelp)
	if err != nil {
		return err
	}
	text, err := m.Module(fmt.Sprintf("Made by `jitos import hddl` from %s and %s.", filepath.Base(c.Domain), filepath.Base(c.Problem)))
	if err != nil {
		return withSource(err, importHDDLHelp)
	}
	return writeImported(s, cmp.Or(c.Output, "main"+lang.Extension), text)
}

// writeImported writes a workflow that was made from others' files, and replaces none.
func writeImported(s *session, name string, text []byte) error {
	if name == "-" {
		_, err := s.out.Write(text)
		return err
	}
	at := name
	if !filepath.IsAbs(at) {
		at = filepath.Join(s.flags.Directory, name)
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &usageError{fmt.Errorf("%s exists and is not replaced: remove it, or write another with -o FILE", name), "jitos import --help"}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if s.flags.JSON {
		return screen.JSON(s.out, struct{ File string }{name})
	}
	return s.say("Wrote %s.\nNext:  %s", screen.Clean(name), s.hints("jitos list", "jitos plan"))
}
