//go:build linux

package sandbox_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

func plain(t testing.TB, writable ...string) *place {
	p := newPlace(t, t.TempDir(), func(o *sandbox.Options) { o.Mode, o.Hide = sandbox.Plain, nil })
	require.NoError(t, p.pool.Close())
	pool, err := sandbox.New(sandbox.Options{Slots: 1, Mode: sandbox.Plain, Writable: append(writable, p.ws)})
	require.NoError(t, err)
	p.pool = pool
	return p
}

func (p *place) bare(script string) sandbox.Command {
	return sandbox.Command{Argv: []string{"sh", "-c", script}, Env: []string{path}, Dir: p.ws}
}

func TestPlainRunsInPlace(t *testing.T) {
	p := plain(t)
	out, res := p.run(p.bare("cat base; echo new > made; echo $PWD; echo x > $HOME/x; echo y > $TMPDIR/y; exit 3"))
	require.Equal(t, 3, res.Exit)
	require.Equal(t, "base\n"+p.ws+"\n", out)
	require.FileExists(t, filepath.Join(p.ws, "made"))
	out, _ = p.run(p.bare("ls -A $HOME $TMPDIR | grep -v :"))
	require.Equal(t, "\n", out, "HOME and TMPDIR are new for each command")
}

func TestPlainKillsTheTree(t *testing.T) {
	p := plain(t)
	c := p.bare("(setsid sh -c 'sleep 98761 & sleep 98762 & wait' & ); sleep 98763 & sleep 0.1; echo done")
	out, res := p.run(c)
	require.Equal(t, "done\n", out)
	require.Equal(t, 4, res.Left)
	require.Empty(t, descendantsNamed(t, "sleep"))
}

func TestPlainTimeout(t *testing.T) {
	p := plain(t)
	c := p.bare("trap '' TERM; sleep 98764 & wait; sleep 98765")
	c.Timeout, c.Grace = 50*time.Millisecond, 50*time.Millisecond
	_, res := p.run(c)
	require.True(t, res.TimedOut)
	require.Equal(t, int(syscall.SIGKILL), res.Signal)
	require.Empty(t, descendantsNamed(t, "sleep"))
}

func TestPlainRefusesWritesOutside(t *testing.T) {
	if v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 || v < 2 {
		t.Skip("no Landlock")
	}
	granted, outside := t.TempDir(), t.TempDir()
	p := plain(t, granted)
	bound := t.TempDir()
	script := "echo x > " + granted + "/a || echo granted; echo x > " + outside + "/a || echo outside; echo x > " + bound + "/a || echo bound"
	out, _ := p.run(p.bare("exec 2>/dev/null; " + script))
	require.Equal(t, "outside\nbound\n", out)
	c := p.bare("exec 2>/dev/null; " + script)
	c.Binds = []sandbox.Bind{{From: bound, To: bound, Write: true}}
	out, _ = p.run(c)
	require.Equal(t, "outside\n", out)
	require.NoFileExists(t, filepath.Join(outside, "a"))
}

func TestPlainLeavesNoDirectory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p := plain(t)
	_, res := p.run(p.bare("mkdir -p $TMPDIR/a/b; chmod 000 $TMPDIR/a"))
	require.Zero(t, res.Exit)
	require.NoError(t, p.pool.Close())
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	for _, e := range left {
		require.NotContains(t, e.Name(), "jitos-slot")
	}
}

// descendantsNamed lists what this process has brought up and is still alive.
func descendantsNamed(t *testing.T, comm string) []int {
	var out []int
	for _, pid := range descendants(t, os.Getpid()) {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
		if err == nil && string(b) == comm+"\n" {
			out = append(out, pid)
		}
	}
	return out
}
