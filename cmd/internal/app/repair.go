package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp/history"
)

// Repaired is what a repair of the history kept and what it lost.
type Repaired struct {
	Damage string // "" if there was none
	Events uint64 // that are left
	Lost   int    // events after the damage that could still be read, and count no more
	Runs   []Run  // those of which events are lost, as far as they could be read, the newest first
	Aside  []string
}

// Repair makes a damaged history one that opens: it keeps what is before the damage and puts the rest aside. The
// workspace's files are not touched.
func (w *Workspace) Repair(ctx context.Context) (*Repaired, error) {
	if _, err := os.Stat(w.meta("history")); errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no history here: nothing was run yet")
	}
	if err := w.takeLock(ctx); err != nil {
		return nil, err
	}
	s, err := history.Repair(w.meta("history"))
	if err != nil {
		return nil, damaged(err)
	}
	out := &Repaired{Events: s.Events, Lost: len(s.Lost)}
	for _, name := range s.Aside {
		out.Aside = append(out.Aside, ".jitos/history/"+name)
	}
	if s.Damage == nil {
		return out, nil
	}
	out.Damage = s.Damage.Error()
	out.Runs = lostRuns(s.Lost)
	aside, err := w.freeSets()
	out.Aside = append(out.Aside, aside...)
	return out, err
}

// lostRuns folds what could still be read of lost events.
func lostRuns(lost []history.Event) []Run {
	var out []Run
	for _, e := range lost {
		d, err := runner.Decode(e)
		if err != nil {
			continue // a newer jitos wrote it: that it is lost is all there is to say
		}
		n := runOf(d)
		i := slices.IndexFunc(out, func(r Run) bool { return r.N == n })
		if i < 0 {
			i = len(out)
			out = append(out, Run{N: n, SWS: -1, Status: "killed"})
		}
		out[i].fold(d)
	}
	slices.SortFunc(out, func(a, b Run) int { return b.N - a.N })
	return out
}

// freeSets puts sets aside whose runs are lost: their numbers will be given anew.
func (w *Workspace) freeSets() ([]string, error) {
	r, err := history.OpenReader(w.meta("history"))
	if err != nil {
		return nil, err
	}
	g, err := r.System()
	if err != nil {
		return nil, damaged(err)
	}
	next := 0
	for range g.Nodes("sws") {
		next++
	}
	entries, err := os.ReadDir(w.meta("sws"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n < next {
			continue
		}
		to := fmt.Sprintf("kept-sws-%d", n)
		for i := 2; ; i++ {
			if _, err := os.Lstat(w.meta(to)); errors.Is(err, fs.ErrNotExist) {
				break
			}
			to = fmt.Sprintf("kept-sws-%d-%d", n, i)
		}
		if err := os.Rename(w.meta("sws/"+e.Name()), w.meta(to)); err != nil {
			return out, err
		}
		out = append(out, ".jitos/"+to)
	}
	return out, nil
}
