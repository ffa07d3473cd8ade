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

	"github.com/flyingrobots/jitos/warp/history"
)

// place is a workspace in which jitos is run as a person runs it: another process, the real file system.
type place struct {
	*testing.T
	dir, cache string
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
	cmd := exec.Command("jitos", args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+p.cache, "LANG=C.UTF-8", "NO_COLOR=1")
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
				p.jitos(exitDone, "apply")
				require.Equal(t, trees[n%2], p.tree(), "round %d, killed after %v\n%s", n, moment, out)
				p.sound()
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
// the step writes, as its result is stored, as one from the store is staged, as the history is written.
func TestDiskFull(t *testing.T) {
	if !aside(t) {
		return
	}
	in := map[string]int{}
	for _, restored := range []bool{false, true} {
		for free := 0; free <= 3<<20; free += 24<<10 + free/3 {
			in[diskFull(t, restored, free)]++
		}
	}
	t.Logf("it failed in: %v", in)
	for _, where := range []string{"nothing", "history", "step", "store", "staging"} {
		require.NotZero(t, in[where], "never in %s: %v", where, in)
	}
}

// diskFull applies with so many bytes left on the disk, and says where that failed.
func diskFull(t *testing.T, restored bool, free int) (where string) {
	dir, unmount := tmpfs(t, 8<<20)
	defer unmount()
	p := newPlace(t, dir, `
jitos { default = task.big }
task "big" {
  inputs  = ["version"]
  outputs = ["big", "small"]
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
