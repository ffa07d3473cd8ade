//go:build linux

package sandbox_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/sws/sandbox"
	"github.com/stretchr/testify/require"
)

// rename is what mv does first, and without what it does if that fails.
const rename = `mv() { perl -e 'rename $ARGV[0], $ARGV[1] or print("$!\n"), exit 1' "$@"; }; `

// A directory that lies in a lower layer can be renamed as anywhere else.
func TestDirectoriesOfLowerLayersAreRenamed(t *testing.T) {
	for what, c := range map[string]struct{ script, out string }{
		"a whole tree": {"mv d e && find . -type f -o -type l | sort && cat e/b/c && test ! -e d",
			"./base\n./e/.dot\n./e/a\n./e/b/c\n./e/b/link\n./full/x\nthree\n"},
		"into another":        {"mv d full/d && cat full/d/b/c", "three\n"},
		"over an empty one":   {"mkdir e && mv d e && cat e/b/c", "three\n"},
		"from elsewhere":      {"(cd d && mv b ../b2); cat b2/c", "three\n"},
		"with its mode":       {"chmod 2750 d && mv d e && stat -c %a e && touch -d @1000 e/b && mv e/b f && stat -c '%a %Y' f", "2750\n755 1000\n"},
		"to its old name":     {"mv d e && mv e d && cat d/b/c && find . -name c", "three\n./d/b/c\n"},
		"over a full one":     {"mv d full; cat d/b/c full/x", "Directory not empty\nthree\nx\n"},
		"into itself":         {"mv d d/b/x; cat d/b/c", "Invalid argument\nthree\n"},
		"over a file":         {"mv d full/x; cat d/b/c full/x", "Not a directory\nthree\nx\n"},
		"to where is nothing": {"mv d no/d; cat d/b/c", "No such file or directory\nthree\n"},
		"what is not there":   {"mv no d2", "No such file or directory\n"},
		"files stay files":    {"mv d/a a && cat a && test ! -e d/a", "one\n"},
	} {
		t.Run(what, func(t *testing.T) {
			p := full(t)
			for name, text := range map[string]string{"d/a": "one\n", "d/.dot": "", "d/b/c": "three\n", "full/x": "x\n"} {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(p.ws, name)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(p.ws, name), []byte(text), 0o644))
			}
			require.NoError(t, os.Symlink("c", filepath.Join(p.ws, "d/b/link")))
			out, _ := p.sh(rename + c.script)
			require.Equal(t, c.out, out)
			require.FileExists(t, filepath.Join(p.ws, "d/b/c"), "nothing happens outside")
		})
	}
}

// What a mover is asked for is nothing that the command may not do itself.
func TestRenamesReachNothingOutside(t *testing.T) {
	p := full(t)
	outside := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(outside, "d/sub"), 0o777))
	require.NoError(t, os.MkdirAll(filepath.Join(p.ws, "in/sub"), 0o777))
	c := p.command(rename + "mv " + outside + "/d " + outside + "/e; mv in " + outside + "/in; mv " + outside + "/d d")
	c.Binds = []sandbox.Bind{{From: outside, To: outside}}
	out, _ := p.run(c)
	require.Equal(t, "Read-only file system\nRead-only file system\nRead-only file system\n", strings.ReplaceAll(out, "Invalid cross-device link", "Read-only file system"))
	list, err := filepath.Glob(outside + "/*")
	require.NoError(t, err)
	require.Equal(t, []string{outside + "/d"}, list)
	require.DirExists(t, filepath.Join(outside, "d/sub"))
}

// A command that is killed while its tree moves leaves the slot as it should be.
func TestAKilledRename(t *testing.T) {
	p := full(t)
	for i := range 100 {
		require.NoError(t, os.MkdirAll(filepath.Join(p.ws, "d", strconv.Itoa(i), "sub"), 0o755))
	}
	for i := range 5 {
		_, res := p.sh(rename + "mv d e & sleep 0.00" + strconv.Itoa(i) + "; kill -9 $!; exit 0")
		require.Zero(t, res.Exit)
		out, res := p.sh("ls")
		require.Zero(t, res.Exit)
		require.Equal(t, "base\nd\n", out)
	}
}
