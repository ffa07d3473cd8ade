package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/history"
)

// place is a workspace in which jitos is run as a person runs it: another process, the real file system.
type place struct {
	*testing.T
	dir, cache string
	user       uint32 // who runs it; 0: whoever runs the test
	program    string // "": jitos along PATH
}

// newPlace makes a workspace in dir with a workflow.
func newPlace(t *testing.T, dir, workflow string) *place {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	p := &place{T: t, dir: filepath.Join(dir, "ws"), cache: filepath.Join(dir, "cache")}
	p.write("main.jitos.hcl", workflow)
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) write(name, text string) {
	p.Helper()
	require.NoError(p, os.MkdirAll(filepath.Dir(p.path(name)), 0o755))
	require.NoError(p, os.WriteFile(p.path(name), []byte(text), 0o644))
}

func (p *place) read(name string) string {
	p.Helper()
	b, err := os.ReadFile(p.path(name))
	require.NoError(p, err)
	return string(b)
}

// command is a jitos that leads a process group of its own, as a shell starts it.
func (p *place) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	var out bytes.Buffer
	cmd := exec.Command(cmp.Or(p.program, "jitos"), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+p.cache, "LANG=C.UTF-8", "NO_COLOR=1",
		"GORACE=atexit_sleep_ms=0") // with -race each jitos would sleep for a second as it ends
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.user != 0 && os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.user, Gid: p.user}
	}
	return cmd, &out
}

// jitos runs a command that must end with an exit code, and returns what it says.
func (p *place) jitos(exit int, args ...string) string {
	p.Helper()
	cmd, out := p.command(args...)
	require.Equal(p, exit, exitOf(p.T, cmd.Run()), "jitos %s\n%s", strings.Join(args, " "), out)
	return out.String()
}

func exitOf(t *testing.T, err error) int {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

// meeting is where steps with `caches = { MEET = "meet" }` leave word for the test, and it for them.
func (p *place) meeting(name string) string { return filepath.Join(p.cache, "jitos/caches/meet", name) }

// await waits until something holds that another process brings about.
func (p *place) await(what string, holds func() bool) {
	p.Helper()
	for n := 0; !holds(); n++ {
		require.Less(p, n, 30_000, "it does not come: %s", what)
		time.Sleep(time.Millisecond)
	}
}

func (p *place) awaitFile(name string) {
	p.Helper()
	p.await(name, func() bool { _, err := os.Stat(name); return err == nil })
}

// tree is what a person has in the workspace: a line per path with kind, mode and contents.
func (p *place) tree() string {
	p.Helper()
	var b strings.Builder
	require.NoError(p, filepath.WalkDir(p.dir, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(p.dir, name)
		if err != nil || rel == "." {
			return err
		}
		if rel == ".jitos" {
			return fs.SkipDir
		}
		st, err := os.Lstat(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", rel, st.Mode())
		switch st.Mode().Type() {
		case fs.ModeSymlink:
			to, err := os.Readlink(name)
			fmt.Fprintf(&b, " -> %s", to)
			if err != nil {
				return err
			}
		case 0:
			text, err := os.ReadFile(name)
			fmt.Fprintf(&b, " %x", sha256.Sum256(text))
			if err != nil {
				return err
			}
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// sound requires that the history verifies and that no transaction and no process is left.
func (p *place) sound() {
	p.Helper()
	r, err := history.OpenReader(p.path(".jitos/history"))
	require.NoError(p, err)
	_, err = r.Verify()
	require.NoError(p, err)
	left, err := filepath.Glob(p.path(".jitos/tx-*"))
	require.NoError(p, err)
	require.Empty(p, left)
	p.quiet()
}

// recorded requires that what the history says of collapses is what is there.
func (p *place) recorded() {
	p.Helper()
	r, err := history.OpenReader(p.path(".jitos/history"))
	require.NoError(p, err)
	want := map[string]runner.Entry{}
	for e, err := range r.From(0) {
		require.NoError(p, err)
		d, err := runner.Decode(e)
		require.NoError(p, err)
		if c, ok := d.Data.(*runner.Collapse); ok {
			for _, ch := range c.Changes {
				want[ch.Path] = ch.After
			}
		}
	}
	base, err := sws.NewBase(p.dir, nil)
	require.NoError(p, err)
	defer base.Close()
	for path, entry := range want {
		is, _, err := base.EntryAt(path)
		require.NoError(p, err)
		require.Equal(p, entry, runner.EntryOf(is), path)
	}
}

// quiet requires that no process is left in the workspace, once those that were killed are gone.
func (p *place) quiet() {
	p.Helper()
	var left []string
	p.await("an end of all processes", func() bool {
		left = p.processes()
		return len(left) == 0
	})
}

// processes lists those that have the workspace mounted or stand in it.
func (p *place) processes() []string {
	procs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(p, err)
	return slices.DeleteFunc(procs, func(proc string) bool {
		cwd, _ := os.Readlink(proc + "/cwd")
		mounts, _ := os.ReadFile(proc + "/mountinfo")
		return !strings.HasPrefix(cwd+"/", p.dir+"/") && !bytes.Contains(mounts, []byte(p.dir+" "))
	})
}

// killed is a workflow of a dozen steps that change files in every way there is, as the file version says.
const killed = `
locals { pages = ["a", "b", "c", "d", "e", "f"] }

slap "site" {
  intent = "all of it"
  goal { task = task.page }
  goal { task = task.chapter }
  goal { task = task.attic }
  goal { task = task.modes }
  goal { task = task.latest }
  goal { task = task.shape }
}

task "page" {
  for_each = local.pages
  inputs   = ["version"]
  outputs  = ["out/${each.key}", "out/more/${each.key}"]
  cache    = CACHE
  run      = <<-SH
    echo "${each.key} $(cat version)" > out/${each.key}
    cp out/${each.key} out/more/${each.key}
  SH
}

task "chapter" {
  inputs  = ["version", "out/*"]
  outputs = ["chapter"]
  cache   = CACHE
  run     = "cat out/? > chapter"
}

task "attic" {
  inputs = ["version"]
  cache  = CACHE
  run    = <<-SH
    if [ "$(cat version)" = 1 ]; then rm -rf attic; else mkdir -p attic/deep; touch attic/deep/1 attic/2; fi
  SH
}

task "modes" {
  inputs = ["version"]
  cache  = CACHE
  run    = <<-SH
    if [ "$(cat version)" = 1 ]; then chmod 600 tool; chmod 700 tools; else chmod 755 tool tools; fi
  SH
}

task "latest" {
  inputs = ["version"]
  cache  = CACHE
  run    = "ln -sfn out/$(cat version) latest"
}

task "shape" {
  inputs = ["version"]
  cache  = CACHE
  run    = <<-SH
    rm -rf shape
    if [ "$(cat version)" = 1 ]; then mkdir shape; echo 1 > shape/1; else echo 0 > shape; fi
  SH
}
`

// TestKilledAtAnyMoment kills applies and looks what the next commands make of it: the workspace is the old or the new
// one, never something in between, and all goes on as if nothing had been.
func TestKilledAtAnyMoment(t *testing.T) {
	const moments = 200
	// hundreds of processes: the program itself, since one with the race detector takes ten times as long to start
	program := filepath.Join(t.TempDir(), "jitos")
	built, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(built))
	for i, c := range []struct {
		name  string
		cache bool // steps come from the store, so that most of the time goes into the collapse
		group bool // kill the whole process group
	}{
		{"runner alone, steps run", false, false},
		{"whole group, steps run", false, true},
		{"runner alone, steps are restored", true, false},
		{"whole group, steps are restored", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, t.TempDir(), strings.ReplaceAll(killed, "CACHE", strconv.FormatBool(c.cache)))
			p.program = program
			p.write("tool", "tool\n")
			p.write("tools/x", "x\n")
			require.NoError(t, os.Chmod(p.path("tools"), 0o750)) // both versions change it
			var trees [2]string
			var took time.Duration
			for n := range 6 { // the last ones tell how long it takes
				p.write("version", strconv.Itoa(n%2))
				began := time.Now()
				p.jitos(exitDone, "apply")
				took = time.Since(began)
				tree := p.tree()
				require.Equal(t, cmp.Or(trees[n%2], tree), tree)
				trees[n%2] = tree
			}
			require.NotEqual(t, trees[0], trees[1])

			random := rand.New(rand.NewPCG(uint64(i), 3))
			old, became := 0, 0
			for n := range moments / 4 {
				is, next := strconv.Itoa((n+1)%2), strconv.Itoa(n%2)
				p.write("version", next)
				before := p.tree()
				cmd, out := p.command("apply")
				require.NoError(t, cmd.Start())
				moment := time.Duration(random.Int64N(int64(took)))
				time.Sleep(moment)
				pid := cmd.Process.Pid
				if c.group {
					pid = -pid
				}
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
				_ = cmd.Wait() // killed, or done before
				p.jitos(exitDone, "log")
				after := p.tree()
				switch after {
				case before:
					old++
				case trees[n%2]:
					became++
				default:
					require.Fail(t, "mixed", "round %d, killed after %v on the way from %s to %s:\n%s\n%s", n, moment, is, next, after, out)
				}
				p.sound()
				p.recorded()
				p.jitos(exitDone, "apply")
				require.Equal(t, trees[n%2], p.tree(), "round %d, killed after %v\n%s", n, moment, out)
				p.sound()
				p.recorded()
			}
			t.Logf("of %d applies that took %v, %d left the old workspace and %d the new one", moments/4, took, old, became)
			require.NotZero(t, old)
		})
	}
}

// aside runs a test alone in a process with a mount namespace of its own, and makes room of its own there: a small file
// system that is gone with the process. inside says that this is that process.
func aside(t *testing.T) (inside bool) {
	const mark = "JITOS_TEST_ASIDE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "it needs root, or user namespaces:\n%s", out)
	t.Logf("%s", out)
	return false
}

// tmpfs mounts a file system of some size, on which nothing else lies.
func tmpfs(t *testing.T, size int) (dir string, unmount func()) {
	dir = t.TempDir()
	require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	require.NoError(t, unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)))
	return dir, func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) }
}

// TestDiskFull runs the same apply with ever more room, none at first, so that it fails in another place each time: as
// the step writes, as its result is stored, as one from the store is staged, as the record of the collapse is written.
// (The history is tested by itself, with a failure at each of its calls.)
func TestDiskFull(t *testing.T) {
	if !aside(t) {
		return
	}
	in := map[string]int{}
	// a step that declares its outputs writes into memory, one that does not to the disk
	for _, declared := range []string{`outputs = ["big", "small"]`, ""} {
		for _, restored := range []bool{false, true} {
			for free := 0; free <= 3<<20; free += 48<<10 + free/2 {
				in[diskFull(t, declared, restored, free)]++
			}
		}
	}
	t.Logf("it failed in: %v", in)
	for _, where := range []string{"nothing", "record", "step", "store", "staging"} {
		require.NotZero(t, in[where], "never in %s: %v", where, in)
	}
}

// diskFull applies with so many bytes left on the disk, and says where that failed.
func diskFull(t *testing.T, declared string, restored bool, free int) (where string) {
	dir, unmount := tmpfs(t, 8<<20)
	defer unmount()
	p := newPlace(t, dir, `
jitos { default = task.big }
task "big" {
  inputs  = ["version"]
  `+declared+`
  run     = <<-SH
    head -c 1000000 /dev/urandom > big
    cp version small
  SH
}`)
	p.cache = t.TempDir() // elsewhere
	if restored {
		p.write("version", "2\n")
		p.jitos(exitDone, "apply")
	}
	p.write("version", "1\n")
	p.jitos(exitDone, "apply")
	p.write("version", "2\n")
	before := p.tree()
	filler := filepath.Join(dir, "filler")
	fill(t, filler, free)

	cmd, out := p.command("apply")
	code := exitOf(t, cmd.Run())
	said := strings.ToLower(out.String())
	switch {
	case code == exitDone:
		where = "nothing"
		require.Equal(t, "2\n", p.read("small"))
	case code == exitDamaged:
		where = "history"
	case strings.Contains(said, "✗ big"):
		where = "step"
	case strings.Contains(said, "/record: "):
		where = "record"
	case strings.Contains(said, "stage big"):
		where = "staging"
	default:
		where = "store"
	}
	t.Logf("restored %v, %d bytes free: exit %d, %s\n%s", restored, free, code, where, out)
	if code != exitDone {
		require.Contains(t, []int{exitFailed, exitDamaged}, code)
		require.Contains(t, said, "no space left on device")
		require.Equal(t, before, p.tree())
	}
	require.NoError(t, os.Remove(filler))
	p.jitos(exitDone, "apply")
	require.Equal(t, "2\n", p.read("small"))
	p.sound()
	return where
}

// fill leaves so many bytes free.
func fill(t *testing.T, name string, free int) {
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(filepath.Dir(name), &st))
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, max(1, int64(st.Bfree)*st.Bsize-int64(free))))
}

// both runs a test with either way to keep steps apart.
func both(t *testing.T, test func(t *testing.T, overlay string)) {
	for _, overlay := range []string{"overlay", "copy"} {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			test(t, "--overlay="+overlay)
		})
	}
}

func TestAStepThatDeletesTheWorkspace(t *testing.T) {
	both(t, func(t *testing.T, overlay string) {
		p := newPlace(t, t.TempDir(), `
task "fails" { run = "rm -rf ./* .[!.]*; exit 1" }
task "works" { run = "rm -rf ./* .[!.]*" }`)
		p.write("src/deep/a.c", "int a;\n")
		p.write(".hidden/b", "b\n")
		require.NoError(t, os.Chmod(p.path("src/deep/a.c"), 0o600))
		require.NoError(t, os.Symlink("src", p.path("link")))
		before := p.tree()

		p.jitos(exitFailed, "apply", overlay, "fails")
		require.Equal(t, before, p.tree())
		p.sound()

		p.jitos(exitDone, "apply", overlay, "works") // it declares nothing: what it does is what was wanted
		require.Empty(t, p.tree())
		p.sound()
		p.jitos(exitDone, "undo")
		require.Equal(t, before, p.tree())
		p.sound()
	})
}

func TestAStepThatWritesThroughALink(t *testing.T) {
	both(t, func(t *testing.T, overlay string) {
		dir := t.TempDir()
		outside := newPlace(t, filepath.Join(dir), "") // not a workspace: a directory that can be looked at
		outside.dir = filepath.Join(filepath.Dir(outside.dir), "outside")
		outside.write("mine", "mine\n")
		p := newPlace(t, dir, fmt.Sprintf(`
task "writes"  { run = "echo evil > out/evil" }
task "changes" { run = "echo evil >> out/mine" }
task "deletes" { run = "rm out/mine" }
task "chmods"  { run = "chmod 777 out/mine" }
task "turns"   { run = "rm -r d && ln -s %[1]s d && echo evil > d/mine" }
task "moves"   { run = "rm -r d && mkdir e && ln -s %[1]s e/f && mv e d && echo evil > d/f/mine" }
task "climbs"  { run = "echo evil > ../outside/mine" }
task "reads" {
  run = "echo evil > out/evil"
  allow {
    paths = { ro = [%[1]q] }
  }
}
task "may" {
  run = "echo good > out/good"
  allow {
    paths = { rw = [%[1]q] }
  }
}`, outside.dir))
		p.write("d/f", "f\n")
		require.NoError(t, os.Symlink(outside.dir, p.path("out")))
		before, there := p.tree(), outside.tree()
		tasks := []string{"writes", "changes", "deletes", "turns", "moves", "climbs", "reads"}
		if overlay != "--overlay=copy" { // Landlock, all that a copy has, knows no right to change modes
			tasks = append(tasks, "chmods")
		}
		for _, task := range tasks {
			said := p.jitos(exitFailed, "apply", overlay, task)
			require.Contains(t, said, task, "it says which step")
			require.Equal(t, before, p.tree(), task)
			require.Equal(t, there, outside.tree(), task)
		}
		p.jitos(exitDone, "apply", overlay, "may")
		require.Equal(t, "good\n", outside.read("good"))
		require.Equal(t, before, p.tree())
		p.sound()
	})
}

// TestALinkOutsideIsALink replaces a directory by a link to the outside: what enters the workspace is the link, and
// nothing is ever written through it, not by the collapse and not by the undo.
func TestALinkOutsideIsALink(t *testing.T) {
	both(t, func(t *testing.T, overlay string) {
		dir := t.TempDir()
		outside := newPlace(t, dir, "")
		outside.dir = filepath.Join(filepath.Dir(outside.dir), "outside")
		outside.write("f", "theirs\n")
		p := newPlace(t, dir, fmt.Sprintf(`
task "turns" { run = "rm -r d && ln -s %s d" }
task "back"  { run = "rm d && mkdir d && echo new > d/f" }`, outside.dir))
		p.write("d/f", "mine\n")
		before, there := p.tree(), outside.tree()
		p.jitos(exitDone, "apply", overlay, "turns")
		require.Equal(t, "theirs\n", p.read("d/f"))
		p.jitos(exitDone, "apply", overlay, "back")
		require.Equal(t, "new\n", p.read("d/f"))
		p.jitos(exitDone, "undo", "2")
		p.jitos(exitDone, "undo", "1")
		require.Equal(t, before, p.tree())
		require.Equal(t, there, outside.tree())
		p.sound()
	})
}

func TestDaemonsDieWithTheirStep(t *testing.T) {
	both(t, func(t *testing.T, overlay string) {
		p := newPlace(t, t.TempDir(), `
task "daemons" {
  outputs = ["out"]
  run     = <<-SH
    setsid sh -c 'trap "" TERM HUP INT; while true; do sleep 1000; done' &
    (setsid sh -c 'sleep 1000; echo late > out' &)
    (cd / && exec sleep 1000) &
    echo done > out
  SH
}
task "after" {
  inputs  = ["out"]
  outputs = ["after"]
  run     = "cp out after"
}`)
		said := p.jitos(exitDone, "apply", overlay, "after")
		require.Regexp(t, `✓ daemons .*\d processes left behind, killed`, said)
		require.Equal(t, "done\n", p.read("after"))
		p.sound()
	})
}

func TestAFileEditedMeanwhile(t *testing.T) {
	both(t, func(t *testing.T, overlay string) {
		p := newPlace(t, t.TempDir(), `
task "slow" {
  inputs  = []
  outputs = ["a", "b", "new"]
  caches  = { MEET = "meet" }
  run     = <<-SH
    touch "$MEET/started"
    while ! test -e "$MEET/go"; do sleep 0.01; done
    for f in a b new; do echo "run $f" > $f; done
  SH
}`)
		conflict := func() {
			t.Helper()
			for name, text := range map[string]string{"a": "old\n", "b": "old\n"} {
				p.write(name, text)
			}
			require.NoError(t, os.RemoveAll(p.path("new")))
			require.NoError(t, os.RemoveAll(p.meeting("")))
			cmd, out := p.command("apply", overlay, "slow")
			require.NoError(t, cmd.Start())
			p.awaitFile(p.meeting("started"))
			p.write("a", "yours\n")
			p.write("new", "yours too\n")
			require.NoError(t, os.WriteFile(p.meeting("go"), nil, 0o644))
			require.Equal(t, exitConflict, exitOf(t, cmd.Wait()), out)
			require.Contains(t, out.String(), "Conflict: 2 files")
			require.Equal(t, []string{"yours\n", "old\n", "yours too\n"}, []string{p.read("a"), p.read("b"), p.read("new")})
			p.sound()
		}

		conflict()
		diff := p.jitos(exitDone, "sws", "diff", "0")
		for _, line := range []string{"-yours", "+run a", "-old", "+run b", "-yours too", "+run new"} {
			require.Contains(t, diff, line+"\n")
		}
		p.jitos(exitConflict, "sws", "collapse", "0")
		p.jitos(exitConflict, "sws", "collapse", "0", "--keep=sws", "a") // new is not decided
		require.Equal(t, []string{"yours\n", "old\n", "yours too\n"}, []string{p.read("a"), p.read("b"), p.read("new")})
		p.jitos(exitDone, "sws", "collapse", "0", "--keep=sws")
		require.Equal(t, []string{"run a\n", "run b\n", "run new\n"}, []string{p.read("a"), p.read("b"), p.read("new")})
		p.jitos(exitDone, "undo")
		require.Equal(t, []string{"yours\n", "old\n", "yours too\n"}, []string{p.read("a"), p.read("b"), p.read("new")})
		p.sound()

		p.write("main.jitos.hcl", strings.ReplaceAll(p.read("main.jitos.hcl"), "run $f", "again $f")) // to be run again
		conflict()
		held := strings.Fields(p.jitos(exitDone, "sws", "list"))
		p.jitos(exitDone, "sws", "collapse", held[0], "--keep=workspace")
		require.Equal(t, []string{"yours\n", "again b\n", "yours too\n"}, []string{p.read("a"), p.read("b"), p.read("new")})
		p.sound()
	})
}

func TestTwoAtOnce(t *testing.T) {
	p := newPlace(t, t.TempDir(), `
task "slow" {
  outputs = ["out"]
  caches  = { MEET = "meet" }
  run     = <<-SH
    touch "$MEET/started"
    while ! test -e "$MEET/go"; do sleep 0.01; done
    echo slow > out
  SH
}
task "quick" {
  outputs = ["quick"]
  run     = "cp out quick"
}`)
	first, said := p.command("apply", "slow")
	require.NoError(t, first.Start())
	p.awaitFile(p.meeting("started"))
	who := fmt.Sprintf("process %d", first.Process.Pid)

	require.Contains(t, p.jitos(exitBusy, "apply", "quick", "--no-wait"), who)
	p.jitos(exitDone, "log") // whoever only looks waits for nobody
	p.jitos(exitDone, "plan", "quick")
	require.Contains(t, p.jitos(exitDone, "list"), "quick")

	second, waits := p.command("apply", "quick")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	second.Stdout, second.Stderr = w, w
	require.NoError(t, second.Start())
	require.NoError(t, w.Close())
	var line [256]byte
	n, err := r.Read(line[:])
	require.NoError(t, err)
	waits.Write(line[:n])
	require.Contains(t, waits.String(), "Waiting")
	require.Contains(t, waits.String(), who)
	require.NoError(t, os.WriteFile(p.meeting("go"), nil, 0o644))
	require.Zero(t, exitOf(t, first.Wait()), said)
	_, err = waits.ReadFrom(r)
	require.NoError(t, err)
	require.Zero(t, exitOf(t, second.Wait()), waits)
	require.Equal(t, "slow\n", p.read("quick"), "it saw what the first one made")
	p.sound()
}

// TestSignals sends what a terminal and a service manager send, to all processes of the group.
func TestSignals(t *testing.T) {
	both(t, func(t *testing.T, overlay string) {
		for signal, exit := range map[syscall.Signal]int{syscall.SIGINT: exitInterrupted, syscall.SIGTERM: exitTerminated} {
			p := newPlace(t, t.TempDir(), `
task "fast" {
  outputs = ["fast"]
  run     = "echo > fast"
}
task "slow" {
  needs   = [task.fast]
  outputs = ["out"]
  caches  = { MEET = "meet" }
  run     = <<-SH
    echo half > out
    sleep 1000 &
    touch "$MEET/started"
    wait
  SH
}`)
			before := p.tree()
			cmd, out := p.command("apply", overlay, "slow")
			require.NoError(t, cmd.Start())
			p.awaitFile(p.meeting("started"))
			require.NoError(t, syscall.Kill(-cmd.Process.Pid, signal))
			require.Equal(t, exit, exitOf(t, cmd.Wait()), out)
			require.Contains(t, out.String(), "nothing was changed")
			require.Equal(t, before, p.tree())
			p.sound()
		}
	})
}

// ordinary makes the commands of a place run as a user to whom permissions mean something.
func ordinary(p *place) {
	if os.Getuid() == 0 {
		const nobody = 65534
		p.user, p.program = nobody, filepath.Join(filepath.Dir(p.dir), "jitos")
		program, err := exec.LookPath("jitos")
		require.NoError(p, err)
		b, err := os.ReadFile(program)
		require.NoError(p, err)
		require.NoError(p, os.WriteFile(p.program, b, 0o755))
		for dir := p.dir; dir != "/"; dir = filepath.Dir(dir) { // as t.TempDir makes them nobody else may pass
			st, err := os.Stat(dir)
			require.NoError(p, err)
			if st.Mode()&0o001 == 0 {
				require.NoError(p, os.Chmod(dir, st.Mode()|0o055))
			}
		}
		require.NoError(p, os.MkdirAll(p.cache, 0o755))
		for _, dir := range []string{p.dir, p.cache} {
			require.NoError(p, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Lchown(name, nobody, nobody))
			}))
		}
	}
}

func TestAnUnwritableWorkspace(t *testing.T) {
	p := newPlace(t, t.TempDir(), `
task "copy" {
  inputs  = ["in"]
  outputs = ["out"]
  run     = "cp in out"
}`)
	p.write("in", "1\n")
	ordinary(p)
	before := p.tree()

	require.NoError(t, os.Chmod(p.dir, 0o555))
	said := p.jitos(exitFailed, "apply", "copy")
	require.Contains(t, said, "permission denied")
	require.Contains(t, said, ".jitos")
	p.jitos(exitDone, "plan", "copy") // looking needs no place to write
	p.jitos(exitDone, "log")
	p.jitos(exitDone, "list")
	require.Equal(t, before, p.tree())

	require.NoError(t, os.Chmod(p.dir, 0o755))
	p.jitos(exitDone, "apply", "copy")
	p.write("in", "2\n")
	before = p.tree()
	require.NoError(t, os.Chmod(p.dir, 0o555))
	said = p.jitos(exitFailed, "apply", "copy")
	require.Contains(t, said, "out: permission denied")
	require.NoError(t, os.Chmod(p.dir, 0o755))
	require.Equal(t, before, p.tree())
	p.sound()
	p.jitos(exitDone, "apply", "copy")
	require.Equal(t, "2\n", p.read("out"))
	p.sound()
}

func TestAnUnreadableInput(t *testing.T) {
	p := newPlace(t, t.TempDir(), `
task "copy" {
  inputs  = ["in", "dir/**"]
  outputs = ["out"]
  run     = "cat in dir/* > out"
}`)
	p.write("in", "1\n")
	p.write("dir/f", "f\n")
	ordinary(p)
	for _, name := range []string{"in", "dir", "dir/f"} {
		st, err := os.Stat(p.path(name))
		require.NoError(t, err)
		require.NoError(t, os.Chmod(p.path(name), 0))
		said := p.jitos(exitFailed, "apply", "copy")
		require.Contains(t, said, name)
		require.Contains(t, said, "permission denied")
		require.NoFileExists(t, p.path("out"))
		require.NoError(t, os.Chmod(p.path(name), st.Mode()))
	}
	p.jitos(exitDone, "apply", "copy")
	require.Equal(t, "1\nf\n", p.read("out"))
	p.sound()
}

// What just lies there and cannot be read stops nobody: it is named, and no input.
func TestWhatNobodyNeedsMayBeUnreadable(t *testing.T) {
	for _, overlay := range []string{"auto", "copy"} {
		p := newPlace(t, t.TempDir(), `
task "all" {
  outputs = ["out"]
  run     = "cp in.txt out"
}
task "texts" {
  inputs  = ["**/*.txt"]
  outputs = ["out2"]
  run     = "cp in.txt out2"
}
task "family" {
  for_each = fileset("**/in.txt")
  outputs  = ["out3"]
  inputs   = [each.key]
  run      = "cp in.txt out3"
}
task "free" { run = "cp in.txt out4" }
task "asked" {
  inputs  = ["shut/x.txt"]
  outputs = ["out5"]
  run     = "cat shut/x.txt > out5"
}
`)
		p.write("in.txt", "1\n")
		p.write("shut/x.txt", "x\n")
		p.write("shut.bin", "x\n")
		ordinary(p)
		require.NoError(t, os.Chmod(p.path("shut"), 0))
		require.NoError(t, os.Chmod(p.path("shut.bin"), 0))
		said := p.jitos(exitDone, "apply", "all", "--overlay", overlay)
		require.Contains(t, said, "warning: shut cannot be read")
		require.Contains(t, said, "warning: shut.bin cannot be read")
		require.Contains(t, p.jitos(exitDone, "apply", "all", "--overlay", overlay), "Nothing to do")
		require.Contains(t, p.jitos(exitDone, "plan", "all", "--overlay", overlay), "0 steps to run")
		p.jitos(exitDone, "apply", "texts", "--overlay", overlay)
		p.jitos(exitDone, "apply", "family", "--overlay", overlay)
		p.jitos(exitDone, "apply", "free", "--overlay", overlay)
		for _, name := range []string{"out", "out2", "out3", "out4"} {
			require.Equal(t, "1\n", p.read(name))
		}
		require.Contains(t, p.jitos(exitFailed, "apply", "asked", "--overlay", overlay), "input shut/x.txt: permission denied")

		require.NoError(t, os.Chmod(p.path("shut"), 0o755))
		require.NoError(t, os.Chmod(p.path("shut.bin"), 0o644))
		require.Contains(t, p.jitos(exitDone, "apply", "all", "--overlay", overlay), "✓ all", "what can be read is an input again")
		p.sound()
	}
}

// What jitos keeps and may not read is not damaged, and an output that cannot be read is not replaced.
func TestOutOfReach(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd [name]*")
	require.NoError(t, os.Mkdir(dir, 0o755))
	p := newPlace(t, dir, `
task "copy" {
  inputs  = ["in"]
  outputs = ["out"]
  run     = "cp in out"
}`)
	p.write("in", "1\n")
	ordinary(p)
	p.jitos(exitDone, "apply", "copy")
	require.Contains(t, p.jitos(exitDone, "verify"), "1, of them 1 in force")

	require.NoError(t, os.Chmod(p.path("out"), 0))
	said := p.jitos(exitRefused, "apply", "copy")
	require.Contains(t, said, "out is not what it made")
	require.Contains(t, said, "out: what is there cannot be read, so undo could not bring it back")
	require.NoError(t, os.Chmod(p.path("out"), 0o644))

	for _, name := range []string{".jitos/history", ".jitos"} {
		require.NoError(t, os.Chmod(p.path(name), 0))
		for _, args := range [][]string{{"apply", "copy"}, {"log"}} {
			said := p.jitos(exitFailed, args...)
			require.Contains(t, said, "permission denied")
			require.Contains(t, said, "chown -R")
			require.NotContains(t, said, "damaged")
		}
		require.NoError(t, os.Chmod(p.path(name), 0o700))
	}

	require.NoError(t, os.Chmod(p.path(".jitos/history"), 0))
	require.NoError(t, os.Chmod(p.path("."), 0o555))
	said = p.jitos(exitFailed, "log")
	require.Contains(t, said, "You may not write to "+p.path("."))
	require.NotContains(t, said, "Another user")
	require.NoError(t, os.Chmod(p.path("."), 0o755))
	require.NoError(t, os.Chmod(p.path(".jitos/history"), 0o700))
	p.sound()
}

// TestItsFilesVanishWhileItRuns deletes what jitos keeps while a step runs.
func TestItsFilesVanishWhileItRuns(t *testing.T) {
	for _, what := range []string{"", "history", "objects", "sws", "run", "index"} {
		t.Run("all"+what, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, t.TempDir(), `
task "slow" {
  inputs  = []
  outputs = ["out"]
  caches  = { MEET = "meet" }
  run     = <<-SH
    touch "$MEET/started"
    while ! test -e "$MEET/go"; do sleep 0.01; done
    echo done > out
  SH
}`)
			before := p.tree()
			cmd, out := p.command("apply", "slow")
			require.NoError(t, cmd.Start())
			p.awaitFile(p.meeting("started"))
			require.NoError(t, os.RemoveAll(p.path(".jitos/"+what)))
			require.NoError(t, os.WriteFile(p.meeting("go"), nil, 0o644))
			code := exitOf(t, cmd.Wait())
			t.Logf("exit %d\n%s", code, out)
			if code == exitDone { // it did not miss it
				require.Equal(t, "done\n", p.read("out"))
			} else {
				require.Contains(t, []int{exitFailed, exitDamaged}, code)
				require.Contains(t, out.String(), "Error: ")
				require.Equal(t, before, p.tree())
			}
			p.jitos(exitDone, "log")
			p.jitos(exitDone, "apply", "slow")
			require.Equal(t, "done\n", p.read("out"))
			p.sound()
		})
	}
}

// TestADamagedObjectIsAMiss damages what the store keeps of a step: the step runs again, whether its result goes into
// the workspace or under another step, and the history says why.
func TestADamagedObjectIsAMiss(t *testing.T) {
	damages := map[string]func(p *place, name string){
		"cut short":   func(p *place, name string) { require.NoError(p, os.Truncate(name, 10)) },
		"bit flipped": func(p *place, name string) { flip(p, name, 70_000) },
		"gone":        func(p *place, name string) { require.NoError(p, os.Remove(name)) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, t.TempDir(), `
task "big" {
  inputs  = ["in"]
  outputs = ["big"]
  run     = "cat in > big; head -c 100000 /dev/zero >> big"
}
task "over" {
  inputs  = ["big", "other"]
  outputs = ["over"]
  run     = "cat big other | wc -c > over"
}`)
			p.write("in", "1\n")
			p.write("other", "o\n")
			p.jitos(exitDone, "apply", "over")
			before := p.tree()
			object := func() string {
				t.Helper()
				var found string
				require.NoError(t, filepath.WalkDir(p.path(".jitos/objects"), func(name string, d fs.DirEntry, err error) error {
					if st, e := os.Stat(name); e == nil && st.Mode().IsRegular() && st.Size() >= 100_000 {
						found = name
					}
					return err
				}))
				require.NotEmpty(t, found)
				return found
			}

			damage(p, object())
			require.NoError(t, os.Remove(p.path("big")))
			said := p.jitos(exitDone, "apply", "over")
			require.Contains(t, said, "✓ big")
			require.Equal(t, before, p.tree())
			require.Contains(t, p.jitos(exitDone, "why", "big"), "the store has no longer")
			p.sound()

			damage(p, object())
			require.NoError(t, os.Remove(p.path("big")))
			p.write("other", "more\n")
			said = p.jitos(exitDone, "apply", "over")
			require.Contains(t, said, "✓ big")
			require.Contains(t, said, "✓ over")
			require.Equal(t, "100007\n", strings.ReplaceAll(p.read("over"), " ", ""))
			p.sound()
		})
	}
}

// flip turns one bit around.
func flip(p *place, name string, at int64) {
	p.Helper()
	require.NoError(p, os.Chmod(name, 0o644))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(p, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(p, err)
	b[0] ^= 4
	_, err = f.WriteAt(b[:], at)
	require.NoError(p, err)
}

func TestADamagedHistory(t *testing.T) {
	p := newPlace(t, t.TempDir(), `
task "copy" {
  inputs  = ["in"]
  outputs = ["out"]
  run     = "cp in out"
}`)
	for _, text := range []string{"1\n", "2\n"} {
		p.write("in", text)
		p.jitos(exitDone, "apply", "copy")
	}
	segments, err := filepath.Glob(p.path(".jitos/history/*.log"))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	st, err := os.Stat(segments[0])
	require.NoError(t, err)
	flip(p, segments[0], st.Size()/2)
	p.write("in", "3\n")
	before := p.tree()
	for _, args := range [][]string{{"log"}, {"apply", "copy"}, {"plan", "copy"}, {"undo"}, {"why", "out"}, {"show", "1"}, {"sws", "list"}, {"clean", "copy"}} {
		said := p.jitos(exitDamaged, args...)
		require.Contains(t, said, filepath.Base(segments[0]), args)
		require.Regexp(t, `offset \d+`, said, args)
		require.Contains(t, said, "jitos verify", args)
	}
	require.Equal(t, before, p.tree())
	said := p.jitos(exitFailed, "doctor")
	require.Contains(t, said, "jitos history repair")

	require.NoError(t, os.Rename(p.path(".jitos/history"), p.path(".jitos/history-damaged")))
	p.jitos(exitDone, "apply", "copy")
	require.Equal(t, "3\n", p.read("out"))
	p.sound()
}

// A collapse that changes no file leaves no transaction that would be completed: a crash has to leave all of it in the history,
// or nothing.
func TestATornCollapseWithoutFiles(t *testing.T) {
	p := newPlace(t, t.TempDir(), `
fact "checked" {
  columns = { what = string }
  keep    = "always"
}
task "check" {
  inputs = []
  run    = "true"
  effects { asserts = [fact::checked("it")] }
}
task "other" { run = "true" }
`)
	p.jitos(0, "apply", "check")
	segments, err := filepath.Glob(p.path(".jitos/history/*.log"))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	whole, err := os.ReadFile(segments[0])
	require.NoError(t, err)
	said := map[string]int{}
	for cut := len(whole); cut > len(whole)/2; cut -= 90 {
		require.NoError(t, os.RemoveAll(p.path(".jitos/index")))
		for _, derived := range []string{"head", "checkpoint"} {
			require.NoError(t, os.RemoveAll(p.path(".jitos/history/"+derived)))
		}
		require.NoError(t, os.WriteFile(segments[0], whole[:cut], 0o644))
		r, err := history.OpenReader(p.path(".jitos/history"))
		require.NoError(t, err)
		rewritten, collapsed := tally(t, r)
		said[fmt.Sprint(rewritten, collapsed)]++
		p.jitos(0, "apply", "other")
		after, collapses := tally(t, r)
		require.Equal(t, rewritten+1, after)
		require.Equal(t, rewritten+1, collapses, "cut at %d of %d: what is in the graph was collapsed, and nothing else", cut, len(whole))
		p.jitos(0, "replay")
		p.sound()
	}
	require.NotZero(t, said["1 1"])
	require.NotZero(t, said["0 0"])
	require.Len(t, said, 2, "a collapse is in the graph and told of, or neither")
}

// tally counts the collapses that are in the graph, and those that are told.
func tally(t *testing.T, r *history.Reader) (rewritten, collapsed int) {
	t.Helper()
	for e, err := range r.All() {
		require.NoError(t, err)
		d, err := runner.Decode(e)
		require.NoError(t, err)
		switch d := d.Data.(type) {
		case *runner.Rewrite:
			if d.Cause == "collapse" {
				rewritten++
			}
		case *runner.Collapse:
			collapsed++
		}
	}
	return rewritten, collapsed
}
