//go:build linux

package sandbox_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// program makes a script that prints what a file beside it says, as a toolchain's program needs its library.
func program(t *testing.T, file, library string) {
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Dir(library), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\ncat "+library+"\n"), 0o755))
	require.NoError(t, os.WriteFile(library, []byte("works\n"), 0o644))
}

// Trees that look like those of the usual installers, in a home that is masked.
func TestToolchainsOfAHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	require.NoError(t, os.WriteFile(filepath.Join(home, "secret"), []byte("secret"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".cargo"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".cargo", "credentials.toml"), []byte("secret"), 0o644))
	tests := map[string]struct{ bin, library string }{
		"nvm":          {".nvm/versions/node/v22.1.0/bin", ".nvm/versions/node/v22.1.0/lib/x"},
		"pyenv":        {".pyenv/shims", ".pyenv/versions/3.13/x"},
		"rustup":       {".cargo/bin", ".rustup/toolchains/stable/x"},
		"go programs":  {"go/bin", "go/bin/x"},
		"own programs": {"bin", "bin/x"},
		"pipx":         {".local/bin", ".local/bin/x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := full(t)
			program(t, filepath.Join(home, tt.bin, "tool"), filepath.Join(home, tt.library))
			c := p.command("tool; ls -A " + home + "; cat " + home + "/secret " + home + "/.cargo/credentials.toml; ! echo x > " + home + "/" + tt.bin + "/y")
			c.Env = []string{path + ":" + filepath.Join(home, tt.bin)}
			out, res := p.run(c)
			require.Zero(t, res.Exit, out)
			require.Contains(t, out, "works\n")
			require.NotContains(t, out, "secret\nsecret")
			require.Contains(t, out, "cat: "+home+"/secret: No such file")
			require.Contains(t, out, "credentials.toml: No such file")
			c = p.command("tool")
			_, res = p.run(c)
			require.True(t, res.Exit == 127, "only what PATH names is there")
		})
	}
}

func TestAPathEntryThatIsALink(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	p := full(t)
	program(t, filepath.Join(home, ".sdkman/java/21/bin/tool"), filepath.Join(home, ".sdkman/java/21/lib/x"))
	require.NoError(t, os.Symlink("21", filepath.Join(home, ".sdkman/java/current")))
	c := p.command("tool")
	c.Env = []string{path + ":" + filepath.Join(home, ".sdkman/java/current/bin")}
	out, res := p.run(c)
	require.Zero(t, res.Exit, out)
	require.Equal(t, "works\n", out)
}

func TestGitOutsideTheWorkspace(t *testing.T) {
	git := func(dir string, args ...string) {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		cmd.Env = []string{path, "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	repo := t.TempDir()
	git(repo, "init", "-q")
	git(repo, "commit", "-q", "--allow-empty", "-m", "first")
	t.Run("enclosing", func(t *testing.T) {
		dir := filepath.Join(repo, "sub")
		require.NoError(t, os.Mkdir(dir, 0o755))
		p := newPlace(t, dir, nil)
		out, res := p.sh("git -c safe.directory='*' log --format=%s")
		require.Zero(t, res.Exit, out)
		require.Equal(t, "first\n", out)
	})
	t.Run("worktree", func(t *testing.T) {
		dir := t.TempDir()
		git(repo, "worktree", "add", "-q", filepath.Join(dir, "ws"))
		p := placeAt(t, dir, nil)
		out, res := p.sh("git -c safe.directory='*' log --format=%s; git -c safe.directory='*' status --short")
		require.Zero(t, res.Exit, out)
		require.Equal(t, "first\n?? base\n", out)
	})
}
