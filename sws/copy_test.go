package sws

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARunAfterForgetSeesWhatIsThereThen(t *testing.T) {
	backends(t, func(t *testing.T, overlay string) {
		b := open(t, overlay, map[string]string{"in": "one", "gone": "x"})
		both := func() (s string) {
			for slot := range 2 {
				var out bytes.Buffer
				_, res, err := b.set.Run(t.Context(), slot, nil, Command{Argv: []string{"/bin/sh", "-ec", "cat in; ls"}, Env: []string{"PATH=/usr/bin:/bin"}, Output: &out})
				require.NoError(t, err)
				require.Zero(t, res.Exit, out.String())
				s += out.String()
			}
			return s
		}
		require.Equal(t, "onegone\nin\nonegone\nin\n", both())
		require.NoError(t, os.WriteFile(filepath.Join(b.root, "in"), []byte("two"), 0o644))
		require.NoError(t, os.Remove(filepath.Join(b.root, "gone")))
		write(t, b.root, map[string]string{"new": "n"})
		b.base.Forget("in")
		_, err := b.base.Relist("")
		require.NoError(t, err)
		require.Equal(t, "twoin\nnew\ntwoin\nnew\n", both())
	})
}

func TestAFileIsNeverCopiedWhileItIsWritten(t *testing.T) {
	b := open(t, "copy", map[string]string{"in": string(bytes.Repeat([]byte("x"), 64<<20))})
	f, err := os.OpenFile(filepath.Join(b.root, "in"), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	stop := make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for at := int64(0); ; at++ {
			select {
			case <-stop:
				return
			default:
				f.WriteAt([]byte("y"), at)
			}
		}
	})
	_, _, out, err := b.try("true")
	close(stop)
	wg.Wait()
	require.ErrorIs(t, err, ErrChanged, out)
	require.ErrorContains(t, err, "in: changed")
	require.Empty(t, b.sh("cmp in "+filepath.Join(b.root, "in")).Changes())
}
