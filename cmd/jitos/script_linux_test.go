package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.Main() { // a slot of the jitos that a script runs
		return
	}
	testscript.Main(m, map[string]func(){"jitos": main})
}

// TestScript runs what a person types, and compares what they see: one script per command and per bad end.
// UPDATE_SCRIPTS=1 rewrites what the scripts expect; read the difference before it is committed.
func TestScript(t *testing.T) {
	p := scripts()
	p.Dir = "../../testdata/script"
	testscript.Run(t, p)
}

// scripts is how scripts are run.
func scripts() testscript.Params {
	return testscript.Params{
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "timeless": timeless, "terminal": terminal},
		Setup: func(e *testscript.Env) error {
			e.Setenv("LANG", "C.UTF-8")
			e.Setenv("TZ", "UTC")
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/.cache")
			if cache, err := os.UserCacheDir(); err == nil {
				e.Setenv("KEPT_CACHE", filepath.Join(cache, "jitos-test")) // for what would compile Go's library again each time
			}
			e.Setenv("GORACE", "atexit_sleep_ms=0") // with -race each jitos would sleep for a second as it ends
			return nil
		},
	}
}

// exits runs a command that must end with an exit code: exits 2 jitos aply.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if (got == want) == neg {
		ts.Fatalf("it exits with %d", got)
	}
}

// timeless writes stdout to stdout.txt, and stderr to stderr.txt, with a stand-in for everything that a clock or a
// hash decides, so that cmp can compare the rest.
func timeless(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range []string{"stdout", "stderr"} {
		text := []byte(ts.ReadFile(name))
		for _, r := range []struct{ what, with string }{
			{` \d\d\.\ds\b`, "  N.Ns"},
			{`\b\d\.\ds\b`, "N.Ns"},
			{`\b\d+ ms\b`, "N ms"},
			{`\b\d+ s\b`, "N s"},
			{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "DATE"},
			{`\b\d\d:\d\d(:\d\d)?\b`, "TIME"},
			{`blake3 [0-9a-f]+…[0-9a-f]+`, "blake3 HASH"},
		} {
			text = regexp.MustCompile(r.what).ReplaceAll(text, []byte(r.with))
		}
		ts.Check(os.WriteFile(ts.MkAbs(name+".txt"), text, 0o644))
	}
}

// terminal runs a command on a pseudo-terminal of 80 columns, types the contents of a file when it is first asked
// something, and leaves what the terminal was sent in terminal.txt: terminal keys jitos try -- true.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	ts.Check(err)
	defer master.Close()
	ts.Check(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	ts.Check(err)
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	ts.Check(err)
	ts.Check(unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))

	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = os.Environ()
	for _, name := range []string{"HOME", "PATH", "LANG", "TERM", "NO_COLOR", "CI", "TZ", "XDG_CACHE_HOME", "GORACE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(cmd.Start())
	tty.Close()
	keys := ts.ReadFile(args[0])
	var sent bytes.Buffer
	for piece := make([]byte, 4096); ; {
		n, err := master.Read(piece)
		sent.Write(piece[:n])
		if errors.Is(err, syscall.EIO) { // nobody has the terminal any more
			break
		}
		ts.Check(err)
		if bytes.HasSuffix(sent.Bytes(), []byte(": ")) {
			_, err := io.WriteString(master, keys)
			ts.Check(err)
			keys = ""
		}
	}
	err = cmd.Wait()
	ts.Logf("%s", sent.String())
	ts.Check(os.WriteFile(ts.MkAbs("terminal.txt"), bytes.ReplaceAll(sent.Bytes(), []byte("\r\n"), []byte("\n")), 0o644))
	if (err != nil) != neg {
		ts.Fatalf("it ends with %v", err)
	}
}
