package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
)

// session is what all commands work with: the streams, how to write to them, and the flags they share.
type session struct {
	flags    *globals
	bare     bool // there were no arguments
	stdin    *os.File
	out      *os.File
	err      *os.File
	style    screen.Style // of out
	errStyle screen.Style
	sources  func(file string) []byte // for diagnostics; nil before a workspace is open
	root     string                   // of the workspace, "" before
	answers  *bufio.Reader            // of stdin, once something was asked
	view     atomic.Pointer[screen.View]
}

func newSession(c *globals, stdin, stdout, stderr *os.File) *session {
	return &session{
		flags: c, stdin: stdin, out: stdout, err: stderr,
		style:    screen.Detect(columns(stdout), c.NoColor, os.Getenv),
		errStyle: screen.Detect(columns(stderr), c.NoColor, os.Getenv),
	}
}

// columns is the width of a terminal, and 0 for anything else.
func columns(f *os.File) int {
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return cmp.Or(w, 80) // a terminal that does not know its width
}

// open opens the workspace. The caller closes it.
func (s *session) open(f runFlags) (*app.Workspace, error) { return s.openWith(s.options(f)) }

// openHere opens the workspace, or this directory where there is none: a command can be tried anywhere.
func (s *session) openHere(f runFlags) (*app.Workspace, error) {
	return s.openWith(app.Here(s.options(f)))
}

// openAny opens the workspace, or this directory if something was tried in it without a workflow.
func (s *session) openAny(f runFlags) (*app.Workspace, error) {
	if _, err := os.Stat(filepath.Join(s.flags.Directory, sws.Meta)); err == nil {
		return s.openHere(f)
	}
	return s.open(f)
}

func (s *session) openWith(o app.Options) (*app.Workspace, error) {
	w, err := app.Open(o)
	if err != nil {
		return nil, err
	}
	s.sources, s.root = w.Source, w.Root()
	return w, nil
}

func (s *session) options(f runFlags) app.Options {
	return app.Options{
		Dir: s.flags.Directory, Vars: f.Var, VarFiles: f.VarFile, Jobs: int(f.Jobs), Overlay: cmp.Or(f.Overlay, "auto"),
		RequireIsolation: f.RequireIsolation, NoWait: f.NoWait,
		Notice:  func(text string) { fmt.Fprintln(s.err, "Note: "+screen.Clean(text)+".") }, // no live line is shown then
		Waiting: func(who string) { s.note("Waiting: another jitos works here (" + screen.Clean(who) + ").") },
	}
}

// say writes a line of the answer.
func (s *session) say(format string, args ...any) error {
	_, err := fmt.Fprintf(s.out, format+"\n", args...)
	return err
}

// hints joins commands that could be typed next.
func (s *session) hints(commands ...string) string {
	return s.style.Dim(strings.Join(commands, " "+s.style.Dot()+" "))
}

// note tells something beside the answer, above the live lines if there are any.
func (s *session) note(text string) {
	if v := s.view.Load(); v != nil {
		v.Note(text)
		return
	}
	fmt.Fprintln(s.err, text)
}

// watch shows a run on the terminal, or as JSON, until done is called.
func (s *session) watch() shown {
	if s.flags.JSON {
		j := screen.NewEvents(s.out)
		return shown{sink: j.Event, done: j.Close}
	}
	v := screen.NewView(s.out, s.style, func() int { return columns(s.out) }, time.Now)
	s.view.Store(v)
	return shown{sink: v.Event, live: runner.Live{Output: v.Output}, done: func() error {
		s.view.Store(nil)
		return v.Close()
	}}
}

// shown is a run that is being shown: where its events and its output go.
type shown struct {
	sink func(runner.Event)
	live runner.Live
	done func() error
}

// page writes a long answer: through the pager if it is a terminal on which it does not fit.
func (s *session) page(write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	_, height, err := term.GetSize(int(s.out.Fd()))
	pager := cmp.Or(os.Getenv("PAGER"), "less")
	if err != nil || !s.style.Live || bytes.Count(b.Bytes(), []byte("\n")) < height || pager == "cat" {
		_, err := s.out.Write(b.Bytes())
		return err
	}
	cmd := exec.Command("sh", "-c", pager)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(b.Bytes()), s.out, s.err
	if os.Getenv("LESS") == "" {
		cmd.Env = append(os.Environ(), "LESS=FRX") // as git does: colours, and no screen of its own
	}
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && (!errors.As(err, &failed) || failed.ExitCode() == 127) {
		_, err := s.out.Write(b.Bytes()) // there is no such pager
		return err
	}
	return nil
}

// fail shows an error and returns its exit code.
func (s *session) fail(err error) int {
	code := exitCode(err)
	if is[*toldError](err) {
		return code
	}
	list := diagnostics(err)
	if s.flags.JSON {
		s.failJSON(err, list, code)
		return code
	}
	if len(list) > 0 {
		s.diagnose(list)
		return code
	}
	text, more, _ := strings.Cut(err.Error(), "\n")
	fmt.Fprintf(s.err, "%s %s\n", s.errStyle.Red("Error:"), text)
	for _, line := range append(strings.Split(more, "\n"), hint(err)...) {
		if line != "" {
			fmt.Fprintf(s.err, "  %s\n", line)
		}
	}
	return code
}

// diagnostics are those that an error carries.
func diagnostics(err error) diag.List {
	if e, ok := errors.AsType[*diag.ListError](err); ok {
		return e.List
	}
	var e interface{ Diagnostics() diag.List }
	if errors.As(err, &e) {
		return e.Diagnostics()
	}
	return nil
}

func (s *session) diagnose(list diag.List) {
	p := diag.Printer{Source: s.sources, Color: s.errStyle.Color, ASCII: !s.errStyle.Unicode, Width: s.errStyle.Width}
	_ = p.Print(s.err, list) // there is nowhere left to tell it
	if os.Getenv("GITHUB_ACTIONS") == "true" {
		_, _ = io.WriteString(s.err, diag.GitHub(list, 20, s.inRepository))
	}
}

// inRepository is the path of a workflow file as GitHub knows it.
func (s *session) inRepository(file string) string {
	rel, err := filepath.Rel(os.Getenv("GITHUB_WORKSPACE"), filepath.Join(s.root, file))
	if err != nil || s.root == "" {
		return file
	}
	return rel
}

func (s *session) failJSON(err error, list diag.List, code int) {
	_ = screen.JSON(s.out, struct {
		Error       string
		Exit        int
		Diagnostics diag.List
	}{err.Error(), code, list.Sorted()}) // there is nowhere left to tell it
}

// hint is what to do about an error that does not say it itself.
func hint(err error) []string {
	if e, ok := errors.AsType[*usageError](err); ok {
		return []string{"More: " + e.help}
	}
	if is[*app.NoWorkflowError](err) {
		return []string{"`jitos try -- COMMAND` needs none."}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Op == "write" && e.Path == os.Stdout.Name() {
		return []string{"What there was to tell could not be written; `jitos log` says what was done."}
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return []string{"The workspace is as it was. Make room and type it again: what ended well before is kept."}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, fs.ErrPermission) && strings.Contains(e.Path+"/", "/"+sws.Meta+"/") {
		if root, _, _ := strings.Cut(e.Path+"/", "/"+sws.Meta+"/"); unix.Access(root, unix.W_OK) != nil {
			return []string{"You may not write to " + root + ", where jitos keeps " + sws.Meta + "."}
		}
		return []string{"Another user seems to have run jitos here: `chown -R` gives " + sws.Meta + " back to you."}
	}
	if exitCode(err) == exitDamaged {
		return []string{"`jitos verify` says what is damaged and what to do about it."}
	}
	return nil
}
