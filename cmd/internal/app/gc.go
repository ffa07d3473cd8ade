package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp/cas"
)

// What is kept where nobody says otherwise.
const (
	defaultKeep  = 30 * 24 * time.Hour
	defaultLimit = 10 << 30 // bytes of the store
	tidyEvery    = 24 * time.Hour
	packLater    = 24 * time.Hour // compressing what was just made would hold up the run
)

// Collected is what a GC let go, or would.
type Collected struct {
	Keep      time.Duration
	Objects   int // let go
	Kept      int
	Freed     int64
	Size      int64 // of the store after it
	Events    uint64
	FirstRun  int  // the first run that the history still tells of
	OverLimit bool // more than what is old had to go, for the store to stay within its size
	DryRun    bool
}

// ParseAge reads a duration as a person types it: 36h, 30d, 2w.
func ParseAge(text string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			days, err := strconv.ParseFloat(n, 64)
			if err != nil || days < 0 || days > 1e5 {
				return 0, usagef("%q is not a duration: write 36h, 30d or 2w", text)
			}
			return time.Duration(days * float64(unit)), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil && text == "0" {
		return 0, nil
	}
	if err != nil || d < 0 {
		return 0, usagef("%q is not a duration: write 36h, 30d or 2w", text)
	}
	return d, nil
}

// retention is how long what happened is kept: JITOS_KEEP, or thirty days.
func retention() (time.Duration, error) {
	if v := os.Getenv("JITOS_KEEP"); v != "" {
		d, err := ParseAge(v)
		if err != nil {
			return 0, fmt.Errorf("JITOS_KEEP: %w", err)
		}
		return d, nil
	}
	return defaultKeep, nil
}

// storeLimit is how large the store may become: JITOS_STORE_LIMIT in bytes, or ten gibibytes.
func storeLimit() (int64, error) {
	v := os.Getenv("JITOS_STORE_LIMIT")
	if v == "" {
		return defaultLimit, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n <= 0 {
		return 0, usagef("JITOS_STORE_LIMIT: %q is not a number of bytes", v)
	}
	return n, nil
}

// GC lets go of objects that neither the history within keep (nil: as set), nor a set that is held or active, nor the
// cache needs, and drops the events that are older. Of the cache, each step's last result stays whatever its age. Should
// the store still be over its limit, what was used longest ago goes too, but nothing of a held set. It waits for a run
// that goes on. With dry it only says what would go.
func (w *Workspace) GC(ctx context.Context, keep *time.Duration, dry bool) (*Collected, error) {
	age, err := retention()
	if err != nil {
		return nil, err
	}
	if keep != nil {
		age = *keep
	}
	if dry {
		err = w.view(ctx)
	} else {
		err = w.acquire(ctx)
	}
	if err != nil {
		return nil, err
	}
	if w.store == nil {
		return &Collected{Keep: age, DryRun: dry}, nil
	}
	out, err := w.collect(ctx, time.Now().Add(-age), 0, dry)
	if out != nil {
		out.Keep = age
	}
	return out, err
}

// collect lets go of what is older than cutoff, and compresses what is older than pack.
func (w *Workspace) collect(ctx context.Context, cutoff time.Time, pack time.Duration, dry bool) (*Collected, error) {
	out := &Collected{DryRun: dry}
	k, err := w.keeps(ctx, cutoff)
	if err != nil {
		return nil, err
	}
	out.FirstRun = k.firstRun
	goes, err := w.choose(k, out)
	if err != nil || dry {
		return out, err
	}
	r, err := w.past()
	if err != nil {
		return nil, err
	}
	before, err := r.First()
	if err != nil {
		return nil, damaged(err)
	}
	if err := w.log.Compact(k.from); err != nil {
		return nil, err
	}
	after, err := r.First()
	if err != nil {
		return nil, damaged(err)
	}
	out.Events = after - before
	st, err := w.store.GC(func(d cas.Digest) bool { return !goes[d] }, 0, pack)
	if err != nil {
		return nil, err
	}
	out.Freed, out.Size = st.Freed, out.Size-(st.Freed-out.Freed) // packing frees too
	return out, w.tidied(time.Now(), out.Size)
}

// kept is what must stay.
type kept struct {
	from     uint64              // the first event
	firstRun int                 // its run
	held     map[cas.Digest]bool // of sets that are held
	needed   map[cas.Digest]bool // of the history from there on, and of the cache
}

// keeps finds out what must stay if what is older than cutoff goes.
func (w *Workspace) keeps(ctx context.Context, cutoff time.Time) (*kept, error) {
	sets, err := w.Sets(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := w.Runs(ctx)
	if err != nil {
		return nil, err
	}
	held := map[int]bool{}
	for _, s := range sets {
		if s.State == "HELD" || s.State == "ACTIVE" {
			held[s.Run] = true
		}
	}
	k := &kept{held: map[cas.Digest]bool{}, needed: map[cas.Digest]bool{}}
	recent := map[int]bool{}
	for _, r := range runs {
		if recent[r.N] = r.At.Add(r.Wall).After(cutoff); recent[r.N] || held[r.N] {
			k.firstRun = r.N // the newest are first
		}
	}
	begun := false
	for e, err := range w.events() {
		if err != nil {
			return nil, err
		}
		n := runOf(e)
		if in, ok := e.Data.(*runner.Intent); ok && in.Run == k.firstRun {
			begun = true
		}
		if !begun {
			k.from = e.Idx + 1
			continue
		}
		if held[n] {
			eachDigest(e, func(d []byte) { put(k.held, d) })
		} else if recent[n] {
			eachDigest(e, func(d []byte) { put(k.needed, d) })
		}
	}
	g, err := w.system()
	if err != nil {
		return nil, err
	}
	return k, runner.CacheNeeds(g, func(run int) bool { return recent[run] }, func(d []byte) { put(k.needed, d) })
}

func put(set map[cas.Digest]bool, d []byte) {
	if len(d) == len(cas.Digest{}) {
		set[cas.Digest(d)] = true
	}
}

// eachDigest yields the objects that an event names.
func eachDigest(e runner.Event, need func([]byte)) {
	changes := func(cs []runner.Change) {
		for _, c := range cs {
			need(c.Before.Digest)
			need(c.After.Digest)
		}
	}
	switch d := e.Data.(type) {
	case *runner.Result:
		need(d.Log)
		changes(d.Changes)
	case *runner.Collapse:
		changes(d.Changes)
	case *runner.End:
		changes(d.Changes)
	}
}

// choose lists the objects that go, and counts.
func (w *Workspace) choose(k *kept, out *Collected) (map[cas.Digest]bool, error) {
	limit, err := storeLimit()
	if err != nil {
		return nil, err
	}
	goes := map[cas.Digest]bool{}
	var stays []cas.Object
	for o, err := range w.store.Objects() {
		switch {
		case err != nil:
			return nil, err
		case k.held[o.Digest] || k.needed[o.Digest]:
			stays = append(stays, o)
			out.Size += o.Size
			out.Kept++
		default:
			goes[o.Digest] = true
			out.Freed += o.Size
		}
	}
	slices.SortFunc(stays, func(a, b cas.Object) int { return a.Used.Compare(b.Used) })
	for _, o := range stays {
		if out.Size <= limit {
			break
		}
		if !k.held[o.Digest] {
			goes[o.Digest], out.OverLimit = true, true
			out.Freed += o.Size
			out.Size -= o.Size
			out.Kept--
		}
	}
	out.Objects = len(goes)
	return goes, nil
}

// tidyIndex says when the store was last tidied up, and how large it is by what was put since.
const tidyIndex = "index/store"

func (w *Workspace) tidied(at time.Time, size int64) error {
	if err := os.MkdirAll(filepath.Dir(w.meta(tidyIndex)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(w.meta(tidyIndex), fmt.Appendf(nil, "%d %d\n", at.Unix(), size), 0o644)
}

// tidy keeps the store within bounds, at the end of a run: it looks at all of it once a day, or when what was put since is
// too much. After the first run nothing can be old.
func (w *Workspace) tidy(ctx context.Context, run int) error {
	limit, err := storeLimit()
	if err != nil {
		return err
	}
	age, err := retention()
	if err != nil {
		return err
	}
	var last, size int64
	b, err := os.ReadFile(w.meta(tidyIndex))
	if err == nil {
		_, err = fmt.Sscan(string(b), &last, &size)
	}
	now := time.Now()
	size += w.store.Written()
	switch {
	case err != nil && run == 1 && size <= limit:
		return w.tidied(now, size)
	case err != nil || now.Sub(time.Unix(last, 0)) > tidyEvery || size > limit:
		_, err := w.collect(ctx, now.Add(-age), packLater, false)
		return err
	case w.store.Written() > 0:
		return w.tidied(time.Unix(last, 0), size)
	}
	return nil
}

// warn adds to an outcome what went wrong after it: the run itself is done.
func warn(out *runner.Outcome, what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		out.Warnings = append(out.Warnings, what+": "+err.Error())
	}
}
