package sws

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// disk is a file system in a file. What that file holds is what the file system has sent to its disk: a copy is the disk
// after a loss of power, the copy mounted is what a person finds then.
type disk struct {
	t     *testing.T
	image string
	root  string // where it is mounted
}

func mountDisk(t *testing.T, image string) *disk {
	d := &disk{t, image, t.TempDir()}
	out, err := exec.Command("mount", "-o", "loop", image, d.root).CombinedOutput()
	require.NoError(t, err, string(out))
	t.Cleanup(func() { unix.Unmount(d.root, unix.MNT_DETACH) })
	return d
}

// cutPower gives the disk as it is now.
func (d *disk) cutPower(name string) string {
	to := filepath.Join(filepath.Dir(d.image), name)
	out, err := exec.Command("cp", "--sparse=always", d.image, to).CombinedOutput()
	require.NoError(d.t, err, string(out))
	return to
}

// The power goes before each step of a collapse, and right after it was acknowledged: what is on the disk then is
// recovered.
func TestPowerLossLeavesTheOldOrTheNewWorkspace(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil || os.Geteuid() != 0 {
		t.Skip("making and mounting a file system needs root and mkfs.ext4")
	}
	for _, way := range []string{"small", "big"} {
		t.Run(way, func(t *testing.T) {
			cuts := losePower(t, Options{noSmall: way == "big"})
			old, acknowledged := 0, 0
			for _, c := range cuts {
				if c.acknowledged {
					acknowledged++
					require.True(t, c.isNew, "%s: acknowledged, and lost", c.before)
				}
				if !c.isNew {
					old++
				}
			}
			require.Greater(t, old, 5)
			require.Greater(t, acknowledged, 0)
			cuts = losePower(t, Options{noSmall: way == "big", fsync: func(int) error { return nil }})
			lost := func(c cut) bool { return c.acknowledged && !c.isNew }
			require.True(t, slices.ContainsFunc(cuts, lost), "without its fsyncs an acknowledged collapse should get lost")
		})
	}
}

type cut struct {
	before              string
	acknowledged, isNew bool
}

func losePower(t *testing.T, o Options) []cut {
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 24<<20))
	out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput()
	require.NoError(t, err, string(out))
	d := mountDisk(t, image)
	root := filepath.Join(d.root, "w")
	write(t, root, crashBase)
	before := tree(t, root)
	var steps []string
	var images []string
	o.Journal = syncedJournal{fileJournal{filepath.Join(root, Meta, "journal")}, o.fsync != nil}
	var mu sync.Mutex
	live, acknowledged := false, make(chan struct{})
	shoot := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, what)
		images = append(images, d.cutPower(fmt.Sprint(len(images))))
	}
	space, err := openStepping(root, o, func(what string) {
		if what == "small-sync" { // in the background: what was acknowledged must not need it
			<-acknowledged
		}
		if live {
			shoot(what)
		}
	})
	require.NoError(t, err)
	set, tx, err := crashSet(space, root)
	require.NoError(t, err)
	unix.Sync()
	live = true
	_, err = set.Collapse(t.Context(), tx)
	require.NoError(t, err)
	after := tree(t, root)
	mu.Lock()
	first := len(images) // what the background does from here on comes after it too
	mu.Unlock()
	shoot("acknowledged")
	close(acknowledged)
	require.NoError(t, set.Close())
	require.NoError(t, set.Base().Close())
	require.NoError(t, space.Close())
	require.NoError(t, unix.Unmount(d.root, 0))

	var cuts []cut
	for i, image := range images {
		found := mountDisk(t, image)
		root := filepath.Join(found.root, "w")
		space := crashOpen(root, nil)
		require.NotNil(t, space, steps[i])
		require.NoError(t, space.Close())
		now := tree(t, root)
		c := cut{steps[i], i >= first, fmt.Sprint(now) == fmt.Sprint(after)}
		if !c.isNew && o.fsync == nil {
			require.Equal(t, before, now, c.before)
		}
		journal, err := os.ReadFile(filepath.Join(root, Meta, "journal"))
		if o.fsync == nil {
			require.True(t, err == nil || !c.isNew, c.before)
			require.Equal(t, c.isNew, bytes.Contains(journal, []byte("t1 true")), c.before)
		}
		cuts = append(cuts, c)
		require.NoError(t, unix.Unmount(found.root, 0))
		require.NoError(t, os.Remove(image))
	}
	return cuts
}

// syncedJournal is a fileJournal whose Collapsed is durable.
type syncedJournal struct {
	fileJournal
	broken bool
}

func (j syncedJournal) Collapsed(r Receipt) error {
	if err := j.fileJournal.Collapsed(r); err != nil || j.broken {
		return err
	}
	for _, p := range []string{j.path, filepath.Dir(j.path)} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
