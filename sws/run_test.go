package sws

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/flyingrobots/jitos/warp/cas"
)

// bench is a workspace with a set, in which tests run shell commands.
type bench struct {
	t     testing.TB
	root  string
	space *Space
	set   *Set
	base  *Base
	notes *notes

	memory string // the space's memoryFS
	small  bool   // commands are
	big    bool   // no collapse is decided by a record
}

// notes is a journal in memory.
type notes struct {
	receipts  []Receipt
	err       error
	unsettled error // what Settle fails with
}

func (n *notes) Settle() error { return n.unsettled }
func (n *notes) Len() uint64   { return uint64(len(n.receipts)) }

func (n *notes) Announced(r Receipt) error { return n.Collapsed(r) }

func (n *notes) Collapsed(r Receipt) error {
	if n.err != nil {
		return n.err
	}
	for _, o := range n.receipts {
		if o.Tx == r.Tx && o.Aborted == r.Aborted {
			return nil
		}
	}
	n.receipts = append(n.receipts, r)
	return nil
}

// backends runs a test over both ways to isolate commands.
func backends(t *testing.T, f func(t *testing.T, overlay string)) {
	for _, o := range []string{"overlay", "copy"} {
		t.Run(o, func(t *testing.T) { f(t, o) })
	}
}

// rooms is backends, with small commands too.
func rooms(t *testing.T, f func(t *testing.T, overlay string, small bool)) {
	backends(t, func(t *testing.T, overlay string) { f(t, overlay, false) })
	t.Run("small", func(t *testing.T) { f(t, "overlay", true) })
}

// open makes a workspace with files: "path": content; "path/": a directory; "path": "-> target" a link.
func open(t testing.TB, overlay string, files map[string]string) *bench {
	b := &bench{t: t, root: tempDir(t), notes: &notes{}}
	write(t, b.root, files)
	b.reopen(overlay)
	return b
}

// tempDir is t.TempDir for what commands of an ordinary user may have shut.
func tempDir(t testing.TB) string {
	dir := t.TempDir()
	t.Cleanup(func() { require.NoError(t, sandbox.Clean(dir)) })
	return dir
}

func (b *bench) reopen(overlay string) {
	var err error
	b.space, err = Open(b.root, Options{Slots: 2, Overlay: overlay, Journal: b.notes, memoryFS: b.memory, noSmall: b.big})
	require.NoError(b.t, err)
	space := b.space
	b.t.Cleanup(func() { space.Close() })
	b.fresh(1)
}

func (b *bench) fresh(id int) {
	var err error
	b.base, err = NewBase(b.root, nil)
	require.NoError(b.t, err)
	for _, l := range b.base.Walk(nil) {
		require.NoError(b.t, l.Err)
	}
	b.set, err = b.space.NewSet(id, b.base)
	require.NoError(b.t, err)
}

func write(t testing.TB, root string, files map[string]string) {
	for p, content := range files {
		full := filepath.Join(root, p)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		switch target, link := strings.CutPrefix(content, "-> "); {
		case strings.HasSuffix(p, "/"):
			require.NoError(t, os.MkdirAll(full, 0o755))
		case link:
			require.NoError(t, os.Symlink(target, full))
		default:
			require.NoError(t, os.WriteFile(full, []byte(content), 0o644))
		}
	}
}

// sh runs a script over layers, the topmost first.
func (b *bench) sh(script string, lower ...*Layer) *Layer {
	b.t.Helper()
	l, res, out, err := b.try(script, lower...)
	require.NoError(b.t, err, out)
	require.Zero(b.t, res.Exit, out)
	return l
}

func (b *bench) try(script string, lower ...*Layer) (*Layer, sandbox.Result, string, error) {
	var out bytes.Buffer
	l, res, err := b.set.Run(b.t.Context(), 0, lower, Command{Argv: []string{"/bin/sh", "-ec", script}, Env: []string{"PATH=/usr/bin:/bin"}, Output: &out, Small: b.small})
	return l, res, out.String(), err
}

// made is the layer of a command that nobody needs to run. What is made: "" deletes, "/" is a directory, "600 text" a
// file with that mode.
func (b *bench) made(what map[string]string) *Layer {
	b.t.Helper()
	var changes []Change
	for p, s := range what {
		c := Change{Path: p}
		switch {
		case s == "/":
			c.After = Entry{Kind: Dir, Mode: 0o755}
		case s != "":
			c.After.Kind = File
			fmt.Sscanf(s, "%o", &c.After.Mode)
			_, text, _ := strings.Cut(s, " ")
			d, err := b.space.store.Put([]byte(text))
			require.NoError(b.t, err)
			c.After.Digest, c.After.Size = d, int64(len(text))
		}
		changes = append(changes, c)
	}
	l, err := b.set.Restore(changes)
	require.NoError(b.t, err)
	return l
}

func (b *bench) collapse(tx string, layers ...*Layer) Receipt {
	b.t.Helper()
	r, err := b.set.Collapse(context.Background(), b.tx(tx, layers...))
	require.NoError(b.t, err)
	return r
}

// tx merges layers that build on each other, the lowest first.
func (b *bench) tx(tx string, layers ...*Layer) Transaction {
	b.t.Helper()
	staged, err := Merge(layers, func(a, b int) bool { return true })
	require.NoError(b.t, err)
	return Transaction{Tx: tx, Changes: staged, Note: []byte("note")}
}

// show lists changes, one a line: what, path, mode, content.
func show(changes []Change) string {
	var s strings.Builder
	for _, c := range changes {
		what := c.After.Kind.String()
		if c.ModeOnly {
			what = "mode"
		}
		fmt.Fprintf(&s, "%s %s", what, Quote(c.Path))
		if c.After.Kind == Link {
			fmt.Fprintf(&s, " -> %s", c.After.Target)
		}
		s.WriteString("\n")
	}
	return s.String()
}

// tree describes all that is in a directory, without .jitos.
func tree(t testing.TB, root string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if rel == Meta {
			return filepath.SkipDir
		}
		if rel == "." {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if len(b) > 100 {
				b = []byte(cas.Sum(b).String())
			}
			out[rel] = fmt.Sprintf("%o %s", fi.Mode().Perm(), b)
		case fi.IsDir():
			out[rel] = fmt.Sprintf("%o/", fi.Mode().Perm())
		case fi.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			out[rel] = "-> " + target
		default:
			out[rel] = fi.Mode().String()
		}
		return nil
	}))
	return out
}

func TestRunGivesWhatOneCommandChanged(t *testing.T) {
	base := map[string]string{"a": "a", "b": "b", "d/x": "x", "d/y": "y", "d/sub/z": "z", "link": "-> a", "e/f": "f"}
	tests := map[string]struct{ script, want string }{
		"nothing at all":                     {"true", ""},
		"a new file":                         {"echo n > n", "file n\n"},
		"a new file in new directories":      {"mkdir -p p/q; echo n > p/q/n", "dir p\ndir p/q\nfile p/q/n\n"},
		"a file written again":               {"echo more >> a", "file a\n"},
		"the same content written again":     {"printf a > a; touch b", ""},
		"only the mode":                      {"chmod 755 a", "mode a\n"},
		"the mode of a directory":            {"chmod 700 d", "mode d\n"},
		"a file deleted":                     {"rm a", "absent a\n"},
		"a directory deleted":                {"rm -r d", "absent d\n"},
		"deleted and made again with less":   {"rm -r d; mkdir d; printf x > d/x", "absent d/sub\nabsent d/y\n"},
		"opaque in opaque":                   {"rm -r d; mkdir -p d/sub; echo n > d/sub/n", "file d/sub/n\nabsent d/sub/z\nabsent d/x\nabsent d/y\n"},
		"a file becomes a directory":         {"rm a; mkdir a; echo n > a/n", "dir a\nfile a/n\n"},
		"a directory becomes a file":         {"rm -r d; echo n > d", "file d\n"},
		"a file becomes a link":              {"ln -sf b a", "link a -> b\n"},
		"a link elsewhere":                   {"ln -sfn b link", "link link -> b\n"},
		"the same link":                      {"rm link; ln -s a link", ""},
		"moved":                              {"mv a n", "absent a\nfile n\n"},
		"a hard link":                        {"ln a n", "file n\n"},
		"written through a link":             {"echo n > link", "file a\n"},
		"a name with a newline and a quote":  {"echo n > 'x\ny\"'", "file \"x\\ny\\\"\"\n"},
		"empty":                              {": > n; : > a", "file a\nfile n\n"},
		"everything deleted":                 {"rm -rf ./*", "absent a\nabsent b\nabsent d\nabsent e\nabsent link\n"},
		"made and deleted":                   {"mkdir t; echo x > t/x; rm -r t", ""},
		"the private directory is not there": {"test ! -e .jitos; ls -a > n; ! grep jitos n; rm n", ""},
	}
	rooms(t, func(t *testing.T, overlay string, small bool) {
		b := open(t, overlay, base)
		b.small = small
		before := tree(t, b.root)
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				b.t = t
				require.Equal(t, tt.want, show(b.sh(tt.script).Changes()))
			})
		}
		require.Equal(t, before, tree(t, b.root), "the workspace is untouched")
	})
}
