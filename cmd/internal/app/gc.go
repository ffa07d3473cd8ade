package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	Limit     int64
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

// sizes are the units of a size as a person types it, longer ones first.
var sizes = []struct {
	name  string
	bytes float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}}

// ParseSize reads a size as a person types it: 500MB, 10GiB.
func ParseSize(text string) (int64, error) {
	for _, unit := range sizes {
		if n, ok := strings.CutSuffix(text, unit.name); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
			if v *= unit.bytes; err == nil && v >= 1 && v < 1<<62 {
				return int64(v), nil
			}
		}
	}
	return 0, usagef("%q is not a size: write 500MB or 10GiB", text)
}

// Retention says what stays.
type Retention struct {
	Keep  time.Duration // what happened within it; what is older goes
	Limit int64         // how many bytes the store may take
}

// retentionFile holds what gc was told to remember, where that is not the default.
const retentionFile = "retention"

// Retention is what the workspace was told to remember, or thirty days and ten gibibytes.
func (w *Workspace) Retention() (Retention, error) {
	r := Retention{Keep: defaultKeep, Limit: defaultLimit}
	b, err := os.ReadFile(w.meta(retentionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var keep string
	if err == nil {
		_, err = fmt.Sscanf(string(b), "keep %s\nlimit %d\n", &keep, &r.Limit)
	}
	if err == nil {
		r.Keep, err = time.ParseDuration(keep)
	}
	if err != nil {
		return r, fmt.Errorf(".jitos/%s cannot be read: %w; `jitos gc --keep 30d --limit 10GiB --remember` writes it anew", retentionFile, err)
	}
	return r, nil
}

// Remember keeps r for this workspace: every run tidies up by it.
func (w *Workspace) Remember(ctx context.Context, r Retention) error {
	if err := w.acquire(ctx); err != nil {
		return err
	}
	return os.WriteFile(w.meta(retentionFile), fmt.Appendf(nil, "keep %s\nlimit %d\n", r.Keep, r.Limit), 0o644)
}

// GC lets go of objects that neither the history within r.Keep, nor a set that is held or active, nor the cache needs, and
// drops the events that are older. Of the cache, each step's last result stays whatever its age. Should the store still be
// over r.Limit, what was used longest ago goes too, but nothing of a held set. It waits for a run that goes on. With dry it
// only says what would go.
func (w *Workspace) GC(ctx context.Context, r Retention, dry bool) (*Collected, error) {
	open := w.acquire
	if dry {
		open = w.view
	}
	if err := open(ctx); err != nil {
		return nil, err
	}
	if w.store == nil {
		return &Collected{Keep: r.Keep, Limit: r.Limit, DryRun: dry}, nil
	}
	return w.collect(ctx, time.Now(), r, 0, dry)
}

// collect is GC as of now, and compresses what is older than pack.
func (w *Workspace) collect(ctx context.Context, now time.Time, keep Retention, pack time.Duration, dry bool) (*Collected, error) {
	out := &Collected{Keep: keep.Keep, Limit: keep.Limit, DryRun: dry}
	k, err := w.keeps(ctx, now.Add(-keep.Keep))
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
		if out.Size <= out.Limit {
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
	r, err := w.Retention()
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
	case err != nil && run == 1 && size <= r.Limit:
		return w.tidied(now, size)
	case err != nil || now.Sub(time.Unix(last, 0)) > tidyEvery || size > r.Limit:
		_, err := w.collect(ctx, now, r, packLater, false)
		return err
	case w.store.Written() > 0:
		return w.tidied(time.Unix(last, 0), size)
	}
	return nil
}
