package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/history"
)

// collapses: from the call of a collapse, in this process and over what a command wrote, to its acknowledgement. The floor
// is the least that makes files durable: one written, synced and renamed; of many, all of them and the file system synced
// once.
func collapses(ctx context.Context, b *bench) (rows []row, err error) {
	c := &collapsing{dir: filepath.Join(b.dir, "collapses")}
	if err := c.open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for _, f := range []struct {
		figure       string
		files, floor int
		peer         string
		limit        float64
	}{
		{"collapse of 1 file", 1, 1, "write, fdatasync, rename", 1.5},
		{"collapse of 100 files", 100, 1, "write, fdatasync, rename of 1", 3},
		{"collapse of 10,000 files", 10_000, 10_000, "write all, one syncfs", 1.5},
	} {
		fmt.Fprintln(b.log, f.figure)
		rounds := b.rounds
		if f.files <= 100 {
			rounds *= 4
		}
		var ours, floors []time.Duration
		for range rounds {
			ds, err := c.collapse(ctx, f.files)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", f.figure, err)
			}
			plain, err := c.plain(f.floor)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", f.peer, err)
			}
			ours, floors = append(ours, ds), append(floors, plain)
		}
		rows = append(rows, ratio(f.figure, median(ours), median(floors), f.peer, f.limit))
	}
	return rows, nil
}

// collapsing is a workspace in which sets collapse one after the other.
type collapsing struct {
	dir   string
	log   *history.Log
	space *sws.Space
	n     int
}

func (c *collapsing) open() (err error) {
	if err := os.MkdirAll(filepath.Join(c.dir, "w"), 0o755); err != nil {
		return err
	}
	if c.log, err = history.Open(filepath.Join(c.dir, "history"), history.Options{}); err != nil {
		return err
	}
	c.space, err = sws.Open(filepath.Join(c.dir, "w"), sws.Options{Journal: c})
	return err
}

func (c *collapsing) close() error {
	var err error
	if c.space != nil {
		err = c.space.Close()
	}
	return errors.Join(err, c.log.Close())
}

// As a journal it writes what the runner does, one event for each collapse.

func (c *collapsing) Settle() error { return c.log.Commit() }
func (c *collapsing) Len() uint64   { return c.log.Len() }

func (c *collapsing) Announced(r sws.Receipt) error {
	if _, err := c.log.Append(history.Event{Kind: "COLLAPSE", Data: fmt.Append(nil, r.Ops)}); err != nil {
		return err
	}
	return c.log.Flush()
}

func (c *collapsing) Collapsed(r sws.Receipt) error {
	return errors.Join(c.Announced(r), c.log.Commit())
}

// collapse lets a command write files, each of 2 kB, and measures how long they take into the workspace.
func (c *collapsing) collapse(ctx context.Context, files int) (time.Duration, error) {
	c.n++
	base, err := sws.NewBase(filepath.Join(c.dir, "w"), nil)
	if err != nil {
		return 0, err
	}
	defer base.Close()
	set, err := c.space.NewSet(c.n, base)
	if err != nil {
		return 0, err
	}
	const script = `mkdir $1; i=0; while [ $i -lt $2 ]; do printf '%2048d' $i > $1/$i; i=$((i+1)); done`
	layer, _, err := set.Run(ctx, 0, nil, sws.Command{Argv: []string{"/bin/sh", "-c", script, "sh", fmt.Sprint("d", c.n), strconv.Itoa(files)}, Dir: "."})
	if err != nil {
		return 0, err
	}
	changes, err := sws.Merge([]*sws.Layer{layer}, nil)
	if err != nil {
		return 0, err
	}
	unix.Sync()
	start := time.Now()
	r, err := set.Collapse(ctx, sws.Transaction{Tx: strconv.Itoa(c.n), Changes: changes})
	took := time.Since(start)
	if err == nil && len(r.Ops) != files+1 {
		err = fmt.Errorf("%d paths changed", len(r.Ops))
	}
	return took, errors.Join(err, c.space.Settle(), set.Discard())
}

// plain makes files of the same size durable as simply as can be.
func (c *collapsing) plain(files int) (time.Duration, error) {
	c.n++
	dir := filepath.Join(c.dir, fmt.Sprint("plain", c.n))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	unix.Sync()
	start := time.Now()
	for i := range files {
		if err := writePlain(filepath.Join(dir, strconv.Itoa(i)), files == 1); err != nil {
			return 0, err
		}
	}
	if files > 1 {
		err = unix.Syncfs(int(d.Fd()))
	}
	return time.Since(start), err
}

func writePlain(path string, sync bool) error {
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%2048d", 1)
	if err == nil && sync {
		err = unix.Fdatasync(int(f.Fd()))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
