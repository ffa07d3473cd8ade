package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/runner"
)

// Filter chooses runs. Its zero value chooses all.
type Filter struct {
	N      int       // at most the N newest of the rest
	Target string    // asked for by this name
	Status string    // see Run
	Since  time.Time // that began then or later
	Path   string    // that changed, or hold a change of, this path or something below it
}

// Filter returns the runs that are chosen, in their order: the newest first.
func (w *Workspace) Filter(runs []Run, f Filter) ([]Run, error) {
	if f.Path != "" {
		rel, err := w.relative(f.Path)
		if err != nil {
			return nil, err
		}
		f.Path = rel
	}
	var out []Run
	for _, r := range runs {
		if f.N > 0 && len(out) == f.N {
			break
		}
		if f.Target != "" && r.Target != f.Target || f.Status != "" && r.Status != f.Status || r.At.Before(f.Since) {
			continue
		}
		touches := func(c runner.Change) bool {
			return f.Path == "." || c.Path == f.Path || strings.HasPrefix(c.Path, f.Path+"/")
		}
		if f.Path != "" && !slices.ContainsFunc(r.Changes, touches) && !slices.ContainsFunc(r.Held, touches) {
			continue
		}
		out = append(out, r)
	}
	return out, nil
}

// Events gives the events of runs, and those of none, in their order, to each.
func (w *Workspace) Events(ctx context.Context, of []Run, each func(runner.Event)) error {
	if err := w.view(ctx); err != nil {
		return err
	}
	chosen := map[int]bool{0: true}
	for _, r := range of {
		chosen[r.N] = true
	}
	for e, err := range w.events() {
		if err != nil {
			return err
		}
		if chosen[runOf(e)] {
			each(e)
		}
	}
	return nil
}

// ParseSince reads a time as a person types it: an age (36h, 30d), a day or a time of a day (2026-01-31, 2026-01-31 14:00).
func ParseSince(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	age, err := ParseAge(text)
	if err != nil {
		return time.Time{}, usagef("%q is neither an age (36h, 30d) nor a date (2026-01-31)", text)
	}
	return now.Add(-age), nil
}
