package sws

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestLaterLayersAreOnTop(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"a": "base", "d/x": "x"})
		one := b.sh("echo one > a; echo 1 > only; rm -r d")
		two := b.sh("test $(cat a) = one; test ! -e d; echo two > a; rm only; mkdir d; echo new > d/y", one)
		three := b.sh("test $(cat a) = two; test ! -e only; test ! -e d/x; test $(cat d/y) = new; cat a > seen", two, one)
		require.Equal(t, "file seen\n", show(three.Changes()))
		other := b.sh("test $(cat a) = base; test -e d/x; test ! -e seen")
		require.Empty(t, other.Changes())
		b.collapse("t", one, two, three)
		require.Equal(t, map[string]string{"a": "644 two\n", "d": "755/", "d/y": "644 new\n", "seen": "644 two\n"}, tree(t, b.root))
	})
}

func TestRestoredLayersAreLikeTheOnesTheyWere(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"a": "a", "d/x": "x", "d/y": "y", "f": "f", "shut/in": "in"})
		require.NoError(t, os.Chmod(filepath.Join(b.root, "shut"), 0o750))
		b.fresh(2)
		l := b.sh("echo 1 > n; chmod 700 a; rm -r d; mkdir d; echo z > d/z; rm f; mkdir f; ln -s n l; echo more > shut/more; mkdir -m 500 ro; mkdir -p p/q; echo 2 > p/q/r")
		require.NoError(t, b.set.Store(l))
		again, err := b.set.Restore(slices.Clone(l.Changes()))
		require.NoError(t, err)
		const script = "ls -lR --time-style=+ | grep -v ^total; cat n d/z p/q/r shut/*"
		_, _, want, err := b.try(script, l)
		require.NoError(t, err)
		over, _, got, err := b.try(script, again)
		require.NoError(t, err)
		require.Equal(t, links(want), links(got))
		require.Empty(t, over.Changes(), "nothing seems changed over it")
		b.collapse("t", again)
		require.Equal(t, "644 z\n", tree(t, b.root)["d/z"])
		require.NotContains(t, tree(t, b.root), "d/x")
		require.Equal(t, "500/", tree(t, b.root)["ro"])
	})
}

// links takes the link counts of directories, which overlayfs makes up, and sizes of directories out of a listing.
func links(ls string) string {
	var out []string
	for line := range strings.Lines(ls) {
		f := strings.Fields(line)
		if len(f) > 5 && f[0][0] == 'd' {
			f[1], f[4] = "", ""
		}
		out = append(out, strings.Join(f, " "))
	}
	return strings.Join(out, "\n")
}

func TestRestoreMakesDirectoriesThatAreMissingByNow(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a"})
	d, err := b.space.store.Put([]byte("x"))
	require.NoError(t, err)
	l, err := b.set.Restore([]Change{{Path: "p/q/f", After: Entry{Kind: File, Mode: 0o644, Size: 1, Digest: d}}})
	require.NoError(t, err)
	v := b.set.View([]*Layer{l})
	list, err := fs.ReadDir(v, "p")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Empty(t, b.sh("test -f p/q/f", l).Changes())
	b.collapse("t", l)
	require.Equal(t, map[string]string{"a": "644 a", "p": "755/", "p/q": "755/", "p/q/f": "644 x"}, tree(t, b.root))
}

func TestKeepTakesBackWhatWasNotDeclared(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"a": "a", "b": "b", "d/x": "x", "d/y": "y", "m": "m", "dm/": ""})
		l := b.sh("echo 1 > out; echo junk > junk; echo 2 > a; rm b; chmod 700 m dm; rm -r d; mkdir d; echo z > d/z; mkdir -p p/q p/r; echo 3 > p/q/out")
		dropped, err := l.Keep(func(c Change) bool { return strings.HasSuffix(c.Path, "out") || c.Path == "d/x" })
		require.NoError(t, err)
		require.Equal(t, "file a\nabsent b\nabsent d/y\nfile d/z\nmode dm\nfile junk\nmode m\ndir p/r\n", show(dropped))
		require.Equal(t, "absent d/x\nfile out\ndir p\ndir p/q\nfile p/q/out\n", show(l.Changes()))
		next := b.sh("test -f out; test -f p/q/out; test ! -e d/x; test ! -e junk; test ! -e d/z; test ! -e p/r; test -f b; test $(cat a) = a; test $(cat d/y) = y; test ! -x m; test $(stat -c %a dm) = 755", l)
		require.Empty(t, next.Changes())
		b.collapse("t", l)
		require.Equal(t, map[string]string{"a": "644 a", "b": "644 b", "d": "755/", "d/y": "644 y", "m": "644 m", "dm": "755/", "out": "644 1\n", "p": "755/", "p/q": "755/", "p/q/out": "644 3\n"}, tree(t, b.root))
	})
}

func TestMkdir(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"d/x": "x"})
		require.NoError(t, os.Chmod(filepath.Join(b.root, "d"), 0o700))
		b.fresh(2)
		l, res, err := b.set.Run(t.Context(), 0, nil, Command{Argv: []string{"/bin/sh", "-ec", "echo 1 > d/used/by/out"}, Mkdir: []string{"d/used/by", "empty/one", "d"}})
		require.NoError(t, err)
		require.Zero(t, res.Exit)
		require.Equal(t, "dir d/used\ndir d/used/by\nfile d/used/by/out\n", show(l.Changes()))
		require.Empty(t, b.sh("test ! -e empty; test -e d/x", l).Changes())
	})
}

func TestOverlaps(t *testing.T) {
	file := func(n int64) Entry { return Entry{Kind: File, Size: n} }
	dir := Entry{Kind: Dir, Mode: 0o755}
	layer := func(kv ...any) *Layer {
		l := &Layer{}
		for i := 0; i < len(kv); i += 2 {
			l.changes = append(l.changes, Change{Path: kv[i].(string), After: kv[i+1].(Entry)})
		}
		slices.SortFunc(l.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
		return l
	}
	tests := map[string]struct {
		layers []*Layer
		before [][2]int
		want   string // the path of the overlap, or the result
	}{
		"apart":                              {[]*Layer{layer("a", file(1)), layer("b", file(2))}, nil, "a 1, b 2"},
		"one path, unordered":                {[]*Layer{layer("a", file(1)), layer("a", file(2))}, nil, "overlap a 0 1"},
		"one path, ordered":                  {[]*Layer{layer("a", file(1)), layer("a", file(2))}, [][2]int{{0, 1}}, "a 2"},
		"the same":                           {[]*Layer{layer("a", file(1)), layer("a", file(1))}, nil, "a 1"},
		"a directory of both":                {[]*Layer{layer("d", dir, "d/1", file(1)), layer("d", dir, "d/2", file(2))}, nil, "d 0, d/1 1, d/2 2"},
		"the same, and one more over one":    {[]*Layer{layer("a", file(1)), layer("a", file(1)), layer("a", file(2))}, [][2]int{{1, 2}}, "overlap a 0 2"},
		"deleted under another":              {[]*Layer{layer("d/x", file(1)), layer("d", Entry{})}, nil, "overlap d/x 0 1"},
		"written under what another deleted": {[]*Layer{layer("d", Entry{}), layer("d/x", file(1))}, nil, "overlap d/x 0 1"},
		"deleted twice":                      {[]*Layer{layer("d/x", Entry{}), layer("d", Entry{})}, nil, "d gone"},
		"deleted twice the other way round":  {[]*Layer{layer("d", Entry{}), layer("d/x", Entry{})}, nil, "d gone"},
		"deleted later":                      {[]*Layer{layer("d", dir, "d/x", file(1)), layer("d", Entry{})}, [][2]int{{0, 1}}, "d gone"},
		"made anew":                          {[]*Layer{layer("d", file(1)), layer("d", dir, "d/e", dir)}, [][2]int{{0, 1}}, "d fresh, d/e fresh"},
		"made and put into":                  {[]*Layer{layer("d", file(1)), layer("d", dir), layer("d/e", dir)}, [][2]int{{0, 1}, {0, 2}, {1, 2}}, "d fresh, d/e fresh"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			staged, err := Merge(tt.layers, func(a, b int) bool { return slices.Contains(tt.before, [2]int{a, b}) })
			var got []string
			if oe, ok := errors.AsType[*OverlapError](err); ok {
				got = append(got, fmt.Sprintf("overlap %s %d %d", oe.Path, oe.A, oe.B))
			} else {
				require.NoError(t, err)
			}
			for _, s := range staged {
				switch {
				case s.After.Kind == Absent:
					got = append(got, s.Path+" gone")
				case s.Fresh:
					got = append(got, s.Path+" fresh")
				default:
					got = append(got, fmt.Sprintf("%s %d", s.Path, s.After.Size))
				}
			}
			require.Equal(t, tt.want, strings.Join(got, ", "))
		})
	}
}

func TestAFreshDirectoryHidesWhatTheBaseHas(t *testing.T) {
	b := open(t, "overlay", map[string]string{"d/x": "x", "d/s/y": "y", "d/s/z": "z"})
	one := b.sh("rm -r d; echo 1 > d")
	two := b.sh("rm d; mkdir -p d/s; echo 2 > d/s/y", one)
	b.collapse("t", one, two)
	require.Equal(t, map[string]string{"d": "755/", "d/s": "755/", "d/s/y": "644 2\n"}, tree(t, b.root))
}

func TestManyLayersAreFlattened(t *testing.T) {
	b := open(t, "overlay", map[string]string{"d/x": "x", "gone": "g", "list": ""})
	var layers []*Layer // lowest first
	for i := range 450 {
		var l *Layer
		switch i {
		case 100:
			l = b.sh("rm -r d gone", reversed(layers)...)
		case 101:
			l = b.sh("mkdir d; echo new > d/y", reversed(layers)...)
		default:
			d, err := b.space.store.Put(fmt.Appendf(nil, "%d\n", i))
			require.NoError(t, err)
			e := Entry{Kind: File, Mode: 0o644, Size: int64(len(fmt.Sprintln(i))), Digest: d}
			l, err = b.set.Restore([]Change{{Path: fmt.Sprintf("out/%d", i%300), After: e}})
			require.NoError(t, err)
		}
		layers = append(layers, l)
	}
	l := b.sh("test ! -e d/x; test -e d/y; test ! -e gone; ls out | wc -l > n; cat out/7 out/299 >> n; echo more >> out/8", reversed(layers)...)
	require.Equal(t, "file n\nfile out/8\n", show(l.Changes()))
	again := b.sh("cat out/8 >> n", append([]*Layer{l}, reversed(layers)...)...)
	require.Equal(t, "file n\n", show(again.Changes()))
	b.collapse("t", append(layers, l, again)...)
	require.Equal(t, "644 300\n307\n299\n308\nmore\n", tree(t, b.root)["n"])
	require.Equal(t, "644 new\n", tree(t, b.root)["d/y"])
	require.NotContains(t, tree(t, b.root), "d/x")
}

func TestViewIsAFileSystem(t *testing.T) {
	b := open(t, "overlay", map[string]string{"a": "a", "d/x": "x", "d/s/y": "y", "gone": "g", "link": "-> d/x", "out": "-> /etc/passwd", "loop": "-> loop"})
	l := b.sh("echo new > d/n; rm gone d/x; ln -s ../a d/up; mkdir e; echo f > e/f")
	v := b.set.View([]*Layer{l})
	for _, p := range []string{"loop", "out", "link", "gone", "a/b", "../a"} {
		_, err := v.Stat(p)
		require.Error(t, err, p)
	}
	content, err := v.ReadFile("d/up")
	require.NoError(t, err)
	require.Equal(t, "a", string(content))
	list, err := v.ReadDir("d")
	require.NoError(t, err)
	var names []string
	for _, d := range list {
		names = append(names, d.Name())
	}
	require.Equal(t, []string{"n", "s", "up"}, names)
	plain := b.set.View([]*Layer{b.sh("rm loop out link d/up", l), l})
	require.NoError(t, fstest.TestFS(plain, "a", "d/n", "d/s/y", "e/f"))
}

func TestBaseRemembersTheFirstLook(t *testing.T) {
	root := tempDir(t)
	write(t, root, map[string]string{"a": "a", "b": "b", "d/x": "x", ".jitos/private": "", "l": "-> d"})
	base, err := NewBase(root, nil)
	require.NoError(t, err)
	defer base.Close()
	first, err := base.Stat("a")
	require.NoError(t, err)
	e, fp, err := base.Entry("b")
	require.NoError(t, err)
	names, _, err := base.Dir(".")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "d", "l"}, names)
	write(t, root, map[string]string{"a": "changed", "b": "changed", "n": "new"})
	again, err := base.Stat("a")
	require.NoError(t, err)
	require.Equal(t, first, again)
	_, _, err = base.Entry("a")
	require.ErrorIs(t, err, ErrChanged)
	e2, fp2, err := base.Entry("b")
	require.NoError(t, err)
	require.Equal(t, []any{e, fp}, []any{e2, fp2})
	names, _, err = base.Dir("")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "d", "l"}, names)
	base.Forget("a")
	e, _, err = base.Entry("a")
	require.NoError(t, err)
	require.EqualValues(t, 7, e.Size)

	fp, err = base.Stat("d/none/such")
	require.NoError(t, err)
	require.Equal(t, Fingerprint{}, fp)
	fp, err = base.Stat("a/below/a/file")
	require.NoError(t, err)
	require.Equal(t, Fingerprint{}, fp)
	_, err = base.Stat("l/x")
	require.ErrorIs(t, err, ErrSymlink)
	_, err = base.Stat("../x")
	require.Error(t, err)
	_, _, err = base.Dir("none")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
