package runner_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
)

// projected is a small tree with its projection.
func projected(t testing.TB) (root, path string, head [32]byte) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "dir/sub"), 0o755))
	for _, p := range []string{"a", "dir/b", "dir/sub/c"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, p), []byte(p), 0o644))
	}
	require.NoError(t, os.Symlink("a", filepath.Join(root, "link")))
	base, err := sws.NewBase(root, nil)
	require.NoError(t, err)
	for _, p := range []string{"a", "dir/b", "dir/sub/c", "link", "not/there", ""} {
		_, _, err := base.Entry(p)
		require.NoError(t, err)
	}
	_, _, err = base.Dir("dir")
	require.NoError(t, err)
	head[0] = 7
	path = filepath.Join(t.TempDir(), "index/p")
	require.NoError(t, runner.WriteProjection(path, runner.Projection{Head: head, Steps: 3, Seen: base.Seen(),
		Outside: []runner.Outside{{Kind: "env", Name: "E", Value: runner.EnvValue("1", true)}, {Kind: "env", Name: "UNSET", Value: runner.EnvValue("", false)}, {Kind: "program", Name: "sh", Value: "/bin/sh"}}}))
	return root, path, head
}

// environment has E, and UNSET, empty, if so wanted.
func environment(e string, unset bool) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if name == "UNSET" {
			return "", unset
		}
		return e, true
	}
}

func unchanged(root, path string, head [32]byte) (int, bool) {
	return runner.Unchanged(root, path, head, environment("1", false), func(string) string { return "/bin/sh" })
}

func TestProjection(t *testing.T) {
	later := time.Now().Add(time.Hour)
	in := func(root, p string) string { return filepath.Join(root, p) }
	changes := map[string]func(t *testing.T, root string){
		"a file got other bytes of the same length": func(t *testing.T, root string) {
			require.NoError(t, os.WriteFile(in(root, "dir/b"), []byte("DIR/b"), 0o644))
		},
		"a file was touched":         func(t *testing.T, root string) { require.NoError(t, os.Chtimes(in(root, "a"), later, later)) },
		"a mode changed":             func(t *testing.T, root string) { require.NoError(t, os.Chmod(in(root, "a"), 0o600)) },
		"a file is gone":             func(t *testing.T, root string) { require.NoError(t, os.Remove(in(root, "dir/sub/c"))) },
		"a directory is gone":        func(t *testing.T, root string) { require.NoError(t, os.RemoveAll(in(root, "dir/sub"))) },
		"a listed directory got one": func(t *testing.T, root string) { require.NoError(t, os.WriteFile(in(root, "dir/new"), nil, 0o644)) },
		"what was absent is there":   func(t *testing.T, root string) { require.NoError(t, os.MkdirAll(in(root, "not/there"), 0o755)) },
		"a link leads elsewhere": func(t *testing.T, root string) {
			require.NoError(t, os.Remove(in(root, "link")))
			require.NoError(t, os.Symlink("b", in(root, "link")))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			root, path, head := projected(t)
			n, ok := unchanged(root, path, head)
			require.True(t, ok)
			require.Equal(t, 3, n)
			change(t, root)
			_, ok = unchanged(root, path, head)
			require.False(t, ok)
		})
	}
	root, path, head := projected(t)
	t.Run("a directory that was not listed got one", func(t *testing.T) {
		require.NoError(t, os.WriteFile(in(root, "dir/sub/new"), nil, 0o644))
		_, ok := unchanged(root, path, head)
		require.True(t, ok, "nobody asked what is in it")
	})
	t.Run("another history", func(t *testing.T) {
		_, ok := unchanged(root, path, [32]byte{})
		require.False(t, ok)
	})
	t.Run("another variable, another program", func(t *testing.T) {
		_, ok := runner.Unchanged(root, path, head, environment("2", false), func(string) string { return "/bin/sh" })
		require.False(t, ok)
		_, ok = runner.Unchanged(root, path, head, environment("1", true), func(string) string { return "/bin/sh" })
		require.False(t, ok, "empty is not unset")
		_, ok = runner.Unchanged(root, path, head, environment("1", false), func(string) string { return "" })
		require.False(t, ok)
	})
	t.Run("torn anywhere", func(t *testing.T) {
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		torn := filepath.Join(t.TempDir(), "torn")
		for cut := range whole {
			require.NoError(t, os.WriteFile(torn, whole[:cut], 0o644))
			_, ok := unchanged(root, torn, head)
			require.False(t, ok, "cut at %d", cut)
		}
	})
}

func FuzzProjection(f *testing.F) {
	root, path, head := projected(f)
	whole, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:60])
	file := filepath.Join(f.TempDir(), "p")
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.WriteFile(file, b, 0o644))
		if _, ok := unchanged(root, file, head); ok {
			require.Equal(t, whole, b, "only what was written is believed")
		}
		known := runner.Digests(filepath.Dir(file))
		_, _, _ = known("a")
	})
}
