//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	if name := os.Getenv("SANDBOX_ATTACK"); name != "" {
		attackMain(name)
	}
	os.Exit(m.Run())
}

const path = "PATH=/usr/local/bin:/usr/bin:/bin"

// place is a workspace with room for layers beside it.
type place struct {
	t     testing.TB
	ws    string
	store string
	n     int
	pool  *sandbox.Pool
}

func newPlace(t testing.TB, dir string, edit func(*sandbox.Options)) *place {
	require.NoError(t, os.Mkdir(filepath.Join(dir, "ws"), 0o755))
	return placeAt(t, dir, edit)
}

func placeAt(t testing.TB, dir string, edit func(*sandbox.Options)) *place {
	p := &place{t: t, ws: filepath.Join(dir, "ws"), store: filepath.Join(dir, "store")}
	require.NoError(t, os.Mkdir(p.store, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(p.ws, "base"), []byte("base\n"), 0o644))
	o := sandbox.Options{Slots: 1, Workspace: p.ws, Hide: []string{p.store}}
	if edit != nil {
		edit(&o)
	}
	var err error
	p.pool, err = sandbox.New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.pool.Close())
		require.NoError(t, sandbox.Clean(p.store))
	})
	return p
}

func full(t testing.TB) *place {
	p := newPlace(t, t.TempDir(), nil)
	if err := sandbox.Probe(sandbox.Options{Workspace: p.ws}, t.TempDir()); err != nil {
		t.Skip(err)
	}
	return p
}

// overlay makes a new upper above the lowers and the workspace.
func (p *place) overlay(lower ...string) *sandbox.Overlay {
	p.n++
	o := &sandbox.Overlay{Lower: append(lower, p.ws), Upper: filepath.Join(p.store, fmt.Sprint(p.n, "-up")), Work: filepath.Join(p.store, fmt.Sprint(p.n, "-wk"))}
	require.NoError(p.t, os.Mkdir(o.Upper, 0o755))
	require.NoError(p.t, os.Mkdir(o.Work, 0o755))
	return o
}

func (p *place) command(script string) sandbox.Command {
	return sandbox.Command{Argv: []string{"sh", "-c", script}, Env: []string{path}, Dir: p.ws, Overlay: p.overlay()}
}

// run runs a command and returns its output.
func (p *place) run(c sandbox.Command) (string, sandbox.Result) {
	var out bytes.Buffer
	c.Output = &out
	res, err := p.pool.Run(context.Background(), 0, c)
	require.NoError(p.t, err)
	return out.String(), res
}

func (p *place) sh(script string) (string, sandbox.Result) { return p.run(p.command(script)) }

// Everything is tried as an ordinary user too when the tests run as root.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("already one")
	}
	dir, err := os.MkdirTemp("", "sandbox-user-")
	require.NoError(t, err)
	defer func() { require.NoError(t, sandbox.Clean(dir)) }()
	require.NoError(t, os.Chown(dir, 65534, 65534))
	cmd := exec.Command("/proc/self/exe", "-test.v=false", "-test.failfast")
	cmd.Dir, cmd.Env = dir, []string{path, "TMPDIR=" + dir, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestWritesGoToTheUpper(t *testing.T) {
	p := full(t)
	c := p.command("cat base; echo new > made; rm base; pwd")
	out, res := p.run(c)
	require.Zero(t, res.Exit, out)
	require.Equal(t, "base\n"+p.ws+"\n", out)
	require.FileExists(t, filepath.Join(p.ws, "base"))
	require.NoFileExists(t, filepath.Join(p.ws, "made"))
	got, err := os.ReadFile(filepath.Join(c.Overlay.Upper, "made"))
	require.NoError(t, err)
	require.Equal(t, "new\n", string(got))
}

func TestAnUpperIsTheNextLower(t *testing.T) {
	p := full(t)
	a := p.command("echo one > a; rm base")
	a.Unmount = true
	_, res := p.run(a)
	require.Zero(t, res.Exit)
	b := p.command("cat a; ls")
	b.Overlay = p.overlay(a.Overlay.Upper)
	out, res := p.run(b)
	require.Zero(t, res.Exit)
	require.Equal(t, "one\na\n", out)
}

func TestLayersInsideTheWorkspace(t *testing.T) {
	p := full(t)
	p.store = filepath.Join(p.ws, ".store")
	require.NoError(t, os.Mkdir(p.store, 0o755))
	var lower []string
	for i := range 3 {
		c := p.command(fmt.Sprintf("ls -A; echo %d > f%d; mkdir .store && touch .store/own; rm -f base", i, i))
		c.Overlay = p.overlay(lower...)
		c.Overlay.Hide = []string{".store"}
		c.Unmount = i%2 == 0
		out, res := p.run(c)
		require.Equal(t, i > 0, res.Exit != 0 || !strings.Contains(out, "base"), "%d: %s", i, out)
		lower = append([]string{c.Overlay.Upper}, lower...)
		require.NoError(t, os.RemoveAll(filepath.Join(c.Overlay.Upper, ".store")))
	}
	require.NoError(t, os.WriteFile(filepath.Join(p.ws, "later"), nil, 0o644))
	c := p.command("ls -A")
	c.Overlay = p.overlay(lower...)
	c.Overlay.Hide = []string{".store"}
	out, _ := p.run(c)
	require.Equal(t, "f0\nf1\nf2\nlater\n", out)
	out, _ = p.sh("ls -A")
	require.Equal(t, ".store\nbase\nlater\n", out, "nothing is hidden but where it was asked for")
	require.NoError(t, p.pool.Close())
}

func TestHowACommandEnds(t *testing.T) {
	p := full(t)
	tests := map[string]struct {
		argv   []string
		exit   int
		signal int
		absent bool
	}{
		"exit 0":                       {argv: []string{"true"}},
		"exit 3":                       {argv: []string{"sh", "-c", "exit 3"}, exit: 3},
		"abort is 134":                 {argv: []string{"sh", "-c", "kill -ABRT $$"}, exit: 134, signal: 6},
		"its own TERM":                 {argv: []string{"sh", "-c", "kill $$"}, exit: 143, signal: 15},
		"not found along PATH":         {argv: []string{"no-such-program"}, exit: 127, absent: true},
		"not found by path":            {argv: []string{"./no-such-program"}, exit: 127, absent: true},
		"found but cannot be executed": {argv: []string{"./base"}, exit: 126},
		"a directory":                  {argv: []string{"/"}, exit: 126},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := p.command("")
			c.Argv = tt.argv
			_, res := p.run(c)
			require.Equal(t, tt.exit, res.Exit)
			require.Equal(t, tt.signal, res.Signal)
			require.Equal(t, tt.absent, res.NotFound)
		})
	}
}

func TestNothingOutlivesACommand(t *testing.T) {
	p := full(t)
	out, res := p.sh("(setsid sleep 1000 & ) ; (sleep 1000 &) ; echo done")
	require.Equal(t, "done\n", out)
	require.Zero(t, res.Exit)
	require.Equal(t, 2, res.Left)
	out, res = p.sh("set -- /proc/[0-9]*; echo $#")
	require.Equal(t, "1\n", out)
	require.Zero(t, res.Left)
}

func TestOutputThatEndsBeforeTheCommand(t *testing.T) {
	p := full(t)
	_, res := p.sh("exec >&- 2>&-; sleep 0.1; exit 7")
	require.Equal(t, 7, res.Exit)
}

func TestStdoutApart(t *testing.T) {
	p := full(t)
	for _, script := range []string{"echo value; echo talk >&2", "echo talk >&2; exec 2>&-; sleep 0.01; echo value", "echo value; exec >&-; sleep 0.01; echo talk >&2"} {
		c := p.command(script)
		var apart bytes.Buffer
		c.Stdout = &apart
		all, res := p.run(c)
		require.Zero(t, res.Exit)
		require.Equal(t, "value\n", apart.String(), script)
		require.ElementsMatch(t, []string{"value", "talk"}, strings.Fields(all), script)
	}
	out, _ := p.sh("echo 1; echo 2 >&2; echo 3")
	require.Equal(t, "1\n2\n3\n", out, "in one pipe again, in order")
}

func TestTimeout(t *testing.T) {
	p := full(t)
	// a slow machine may need longer than the timeout until the script is as far as it says
	started := func(script string, grace time.Duration) sandbox.Result {
		for timeout := 100 * time.Millisecond; ; timeout *= 2 {
			c := p.command(script)
			c.Timeout, c.Grace = timeout, grace
			if out, res := p.run(c); out == "started\n" {
				return res
			}
			require.Less(t, timeout, time.Minute)
		}
	}
	res := started("echo started; sleep 1000", 10*time.Second)
	require.True(t, res.TimedOut)
	require.Equal(t, int(unix.SIGTERM), res.Signal)

	res = started("trap '' TERM; echo started; sleep 1000 & wait; wait; sleep 1000", 50*time.Millisecond)
	require.True(t, res.TimedOut)
	require.Equal(t, int(unix.SIGKILL), res.Signal)

	_, res = p.sh("exit 0")
	require.Zero(t, res.Exit, "the slot is as good as new")
	require.False(t, res.TimedOut)
}

func TestCancel(t *testing.T) {
	p := full(t)
	ctx, cancel := context.WithCancel(context.Background())
	c := p.command("trap 'echo bye; exit 9' TERM; echo ready; sleep 1000 & wait")
	var out bytes.Buffer
	c.Output = writer(func(b []byte) (int, error) {
		cancel()
		return out.Write(b)
	})
	res, err := p.pool.Run(ctx, 0, c)
	require.NoError(t, err)
	require.Equal(t, 9, res.Exit)
	require.Equal(t, "ready\nbye\n", out.String())
	require.False(t, res.TimedOut)
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestAnOutputThatFailsEndsTheCommand(t *testing.T) {
	p := full(t)
	full := errors.New("enough")
	c := p.command("yes")
	c.Output = writer(func(b []byte) (int, error) { return 0, full })
	_, err := p.pool.Run(context.Background(), 0, c)
	require.ErrorIs(t, err, full)
	require.NotErrorIs(t, err, sandbox.ErrSlot)
}

func TestEnvironment(t *testing.T) {
	p := full(t)
	c := p.command("env | sort; cat; ls -A ~; echo x > ~/x; cat ~/x")
	c.Env = []string{path, "A=b c"}
	out, res := p.run(c)
	require.Zero(t, res.Exit)
	require.Equal(t, "A=b c\nHOME=/run/home\n"+path+"\nPWD="+p.ws+"\nx\n", out)
}

func TestScratchIsEmptyForEachCommand(t *testing.T) {
	p := full(t)
	dirs := "/tmp /var/tmp /dev/shm ~"
	for range 2 {
		out, res := p.sh(`cd /; for d in ` + dirs + `; do
			find $d -mindepth 1 -path ` + p.ws + ` -prune -o -print | while read f; do case ` + p.ws + ` in $f/*) ;; *) echo $f; esac; done
			mkdir -p $d/a/b; echo x > $d/a/b/f; chmod 000 $d/a/b $d/a; chmod 755 $d; done; stat -c %a ` + dirs)
		require.Zero(t, res.Exit, out)
		require.Equal(t, strings.Repeat("755\n", 4), out)
	}
	out, _ := p.sh("stat -c %a " + dirs)
	require.Equal(t, "1777\n1777\n1777\n700\n", out)
}

func TestBinds(t *testing.T) {
	p := full(t)
	cache := filepath.Join(t.TempDir(), "cache")
	require.NoError(t, os.Mkdir(cache, 0o755))
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("secret\n"), 0o644))
	c := p.command("echo hit > /home/me/cache/x && cat /run/file && ! echo bad >> /run/file; ls -d cache; echo in > cache/y")
	c.Binds = []sandbox.Bind{{From: cache, To: "/home/me/cache", Write: true}, {From: file, To: "/run/file"}, {From: cache, To: filepath.Join(p.ws, "cache"), Write: true}}
	out, res := p.run(c)
	require.Zero(t, res.Exit, out)
	require.Contains(t, out, "secret\n")
	require.FileExists(t, filepath.Join(cache, "x"))
	require.FileExists(t, filepath.Join(cache, "y"))
	left, err := os.ReadDir(c.Overlay.Upper)
	require.NoError(t, err)
	require.Empty(t, left, "the place made for a bind is no change")
	_, res = p.sh("grep secret /run/file")
	require.NotZero(t, res.Exit, "a bind is for one command")
}

// Where something was bound in a scratch place, a later command cannot leave anything for the ones after it.
func TestThePlaceOfABindIsNoLetterBox(t *testing.T) {
	p := full(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("bound\n"), 0o644))
	c := p.command("cat /tmp/dir/f /tmp/file /tmp/deep/er/f; rm -rf /tmp/dir /tmp/file; mv /tmp/deep /tmp/x; cat /tmp/file")
	c.Binds = []sandbox.Bind{{From: dir, To: "/tmp/dir"}, {From: filepath.Join(dir, "f"), To: "/tmp/file"}, {From: dir, To: "/tmp/deep/er"}}
	for range 2 {
		c.Overlay = p.overlay()
		out, _ := p.run(c)
		require.Equal(t, 4, strings.Count(out, "bound\n"), out)
		p.sh("echo x > /tmp/dir/y; echo x > /tmp/file; echo x > /tmp/deep/er/y; echo x > /tmp/deep/y; chmod 777 /tmp/file /tmp/dir; echo x > /tmp/other")
		out, _ = p.sh("find /tmp/dir /tmp/deep -type f; cat /tmp/file; ls /tmp/other")
		require.Equal(t, "ls: cannot access '/tmp/other': No such file or directory\n", out)
	}
}

func TestABindThatIsNotThereIsAnError(t *testing.T) {
	p := full(t)
	c := p.command("true")
	c.Binds = []sandbox.Bind{{From: "/no/such", To: "/home/x"}}
	_, err := p.pool.Run(context.Background(), 0, c)
	require.ErrorIs(t, err, sandbox.ErrSlot)
	require.ErrorContains(t, err, "/no/such")
	_, res := p.sh("exit 4")
	require.Equal(t, 4, res.Exit, "the next command gets a new slot")
}

func TestADirectoryThatIsNotThereIsAnError(t *testing.T) {
	p := full(t)
	c := p.command("true")
	c.Dir = filepath.Join(p.ws, "none")
	_, err := p.pool.Run(context.Background(), 0, c)
	require.ErrorIs(t, err, sandbox.ErrSlot)
	require.ErrorContains(t, err, c.Dir)
}

// A fork bomb ends with its command, and the next one notices nothing.
func TestAForkBomb(t *testing.T) {
	p := full(t)
	c := p.command("f() { f & f & sleep 1; }; f; sleep 1")
	c.Timeout, c.Grace = 150*time.Millisecond, 50*time.Millisecond
	_, res := p.run(c)
	require.True(t, res.TimedOut)
	out, res := p.sh("set -- /proc/[0-9]*; echo $#")
	require.Zero(t, res.Exit)
	require.Equal(t, "1\n", out)
	require.Zero(t, res.Left)
}

func TestWithoutAnOverlayTheWorkspaceIsReadOnly(t *testing.T) {
	p := full(t)
	c := p.command("cat base; ! (echo x > new) 2>/dev/null")
	c.Overlay = nil
	out, res := p.run(c)
	require.Zero(t, res.Exit)
	require.Equal(t, "base\n", out)
}

func TestNetwork(t *testing.T) {
	p := full(t)
	c := p.command("ls /sys/class/net 2>/dev/null; grep -c : /proc/net/dev; readlink /proc/self/ns/net")
	private, res := p.run(c)
	require.Zero(t, res.Exit)
	host, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.NotContains(t, private, host)
	c = p.command("readlink /proc/self/ns/net")
	c.Network = true
	out, _ := p.run(c)
	require.Equal(t, host+"\n", out)
}

func TestRuntimeFigures(t *testing.T) {
	p := full(t)
	_, res := p.sh("head -c 50m /dev/zero | tail -c 50m >/dev/null")
	require.Greater(t, res.MaxRSS, int64(50<<20))
	require.Greater(t, res.Wall, time.Duration(0))
}
