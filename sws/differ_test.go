package sws

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp/cas"
)

var rounds = flag.Int("sws.rounds", 30, "rounds of random file operations, per backend")

// mess does random things to the directory it is in, and prints what it looks like then. It is what the test binary
// does as a command in a sandbox.
func mess(seed uint64, ops int, gentle bool) {
	r := rand.New(rand.NewPCG(seed, 1))
	names := []string{"a", "b", "c", "d\n\xff"}
	path := func() string {
		p := "."
		for range 1 + r.IntN(4) {
			p += "/" + names[r.IntN(len(names))]
		}
		return p
	}
	for range ops {
		p, q := path(), path()
		switch r.IntN(16) {
		case 0, 1:
			os.WriteFile(p, bytes.Repeat([]byte("x"), r.IntN(9)), 0o644)
		case 2, 3:
			os.MkdirAll(p, 0o755)
		case 4:
			os.Remove(p)
		case 5:
			os.RemoveAll(p)
		case 6, 7:
			os.Rename(p, q)
		case 8:
			os.Symlink(names[r.IntN(len(names))], p)
		case 9:
			mode := []fs.FileMode{0o644, 0o600, 0o755, 0o700, 0}[r.IntN(5)]
			if gentle { // an ordinary user's workspace holds nothing that he cannot read
				mode |= 0o500
			}
			os.Chmod(p, mode)
		case 10:
			if f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0); err == nil {
				f.Write([]byte("y"))
				f.Close()
			}
		case 11:
			os.Link(p, q)
		case 12:
			now := unix.NsecToTimespec(int64(r.IntN(1e9)))
			unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{now, now}, unix.AT_SYMLINK_NOFOLLOW)
		case 13:
			os.RemoveAll(p)
			os.Mkdir(p, 0o755)
		case 14:
			os.Truncate(p, int64(r.IntN(3)*70000)) // with holes
		case 15:
			unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE)
		}
	}
	out, err := snapshot(".")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Stdout.WriteString(out)
}

// snapshot lists a tree, a path a line. It lends itself what permissions are missing.
func snapshot(root string) (string, error) {
	var s strings.Builder
	var walk func(dir string) error
	walk = func(dir string) error {
		list, err := os.ReadDir(filepath.Join(root, dir))
		for _, d := range list {
			rel := filepath.Join(dir, d.Name())
			full := filepath.Join(root, rel)
			if rel == Meta {
				continue
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			e := Entry{Kind: Dir, Mode: uint32(fi.Mode().Perm())}
			if e.Mode&0o700 != 0o700 && fi.IsDir() {
				if err := os.Chmod(full, fi.Mode()|0o700); err != nil {
					return err
				}
				defer os.Chmod(full, fi.Mode())
			}
			switch {
			case fi.Mode().IsRegular():
				if e.Mode&0o400 == 0 {
					os.Chmod(full, fi.Mode()|0o400)
				}
				b, err := os.ReadFile(full)
				if e.Mode&0o400 == 0 { // at once: the file may have another name
					os.Chmod(full, fi.Mode())
				}
				if err != nil {
					return err
				}
				e.Kind, e.Size, e.Digest = File, fi.Size(), cas.Sum(b)
			case !fi.IsDir():
				target, _ := os.Readlink(full)
				e = linkTo(target)
			}
			line(&s, rel, e)
			if fi.IsDir() {
				if err := walk(rel); err != nil {
					return err
				}
			}
		}
		return err
	}
	err := walk("")
	return s.String(), err
}

func line(s *strings.Builder, p string, e Entry) {
	fmt.Fprintf(s, "%q %v %o %d %v %q\n", p, e.Kind, e.Mode, e.Size, e.Digest, e.Target)
}

// byPath reads a snapshot.
func byPath(t *testing.T, snapshot string) map[string]string {
	out := map[string]string{}
	for l := range strings.Lines(snapshot) {
		var p string
		_, err := fmt.Sscanf(l, "%q", &p)
		require.NoError(t, err, "%s", snapshot)
		out[p] = l
	}
	return out
}

// differences gives what a change set must say: one line for each path that changed, none for what is below one that
// went.
func differences(was, is map[string]string) map[string]string {
	out := map[string]string{}
	isDir := func(l string) bool { return strings.Contains(l, " dir ") }
	for p, l := range was {
		if is[p] != l {
			out[p] = is[p]
		}
	}
	for p, l := range is {
		if was[p] != l {
			out[p] = l
		}
	}
	for p := range out {
		for a := range parents(p) {
			if is[p] == "" && was[a] != "" && (is[a] == "" || !isDir(is[a])) {
				delete(out, p)
			}
		}
	}
	return out
}

func TestChangeSetsAreWhatReallyHappened(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	backends(t, func(t *testing.T, overlay string) {
		for round := range uint64(*rounds) {
			root := tempDir(t)
			first := exec.Command(self)
			first.Dir, first.Env = root, []string{fmt.Sprintf("SWS_MESS=%d 90 %v", round*10+1, os.Geteuid() != 0), quietRace}
			require.NoError(t, first.Run())
			b := &bench{t: t, root: root, notes: &notes{}, small: round%2 == 1}
			was := byPath(t, must(snapshot(root))) // before the base is looked at: it may touch files
			b.reopen(overlay)
			start := was
			var layers []*Layer
			for i := range uint64(3) {
				l, is := b.mess(self, round*10+2+i, 50, layers)
				got := map[string]string{}
				for _, c := range l.Changes() {
					got[c.Path] = ""
					if c.After.Kind != Absent {
						var s strings.Builder
						line(&s, c.Path, c.After)
						got[c.Path] = s.String()
					}
				}
				require.Equal(t, differences(was, is), got, "round %d layer %d", round, i)
				v := b.set.View(append([]*Layer{l}, layers...))
				for p, want := range is {
					e, err := v.Entry(p)
					require.NoError(t, err)
					var s strings.Builder
					line(&s, p, e)
					require.Equal(t, want, s.String(), "round %d layer %d", round, i)
				}
				// put back from the store, it gives the same again
				require.NoError(t, b.set.Store(l))
				again, err := b.set.Restore(l.Changes())
				require.NoError(t, err)
				_, same := b.mess(self, 0, 0, append([]*Layer{again}, layers...))
				require.Equal(t, is, same, "round %d layer %d", round, i)
				layers, was = append([]*Layer{l}, layers...), is
			}
			r := b.collapse("t1", reversed(layers)...)
			require.Equal(t, was, byPath(t, must(snapshot(root))), "round %d", round)
			_, err := b.space.Undo(t.Context(), "t2", r.Ops, nil)
			require.NoError(t, err, "round %d", round)
			require.Equal(t, start, byPath(t, must(snapshot(root))), "round %d", round)
			require.NoError(t, b.set.Discard())
			require.NoError(t, b.space.Close())
		}
	})
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

func (b *bench) mess(self string, seed uint64, ops int, lower []*Layer) (*Layer, map[string]string) {
	l, out := b.self(self, fmt.Sprintf("SWS_MESS=%d %d %v", seed, ops, os.Geteuid() != 0), lower)
	return l, byPath(b.t.(*testing.T), out)
}

// self runs the test binary as a command.
func (b *bench) self(self, env string, lower []*Layer) (*Layer, string) {
	var out bytes.Buffer
	c := Command{Argv: []string{"/mnt/self"}, Env: []string{env, quietRace}, Output: &out, Binds: []sandbox.Bind{{From: self, To: "/mnt/self"}}, Small: b.small}
	if b.space.options.Overlay == "copy" {
		c.Argv, c.Binds = []string{self}, nil
	}
	l, res, err := b.set.Run(b.t.Context(), 0, lower, c)
	require.NoError(b.t, err, out.String())
	require.Zero(b.t, res.Exit, out.String())
	return l, out.String()
}

// deep makes a file at the end of a long path.
func deep() error {
	for range 20 {
		n := strings.Repeat("n", 255)
		if err := errors.Join(os.Mkdir(n, 0o755), os.Chdir(n)); err != nil {
			return err
		}
	}
	return os.WriteFile("f", []byte("deep"), 0o644)
}
