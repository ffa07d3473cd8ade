package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is what every group of figures needs to measure.
type bench struct {
	dir      string // for everything that is made; removed at the end
	jitos    string // absolute path of the binary
	jobs     int
	rounds   int
	maxSteps int
	htn      string    // directory of planning instances
	log      io.Writer // progress
}

// contender is one way to do the work that is measured.
type contender struct {
	name   string
	dir    string
	argv   []string
	before func() error              // puts the scene; not timed; nil: nothing to do
	after  func(output string) error // did it do the work? not timed; nil: the exit status tells
}

// compare runs the contenders in turns and returns the median of each. One run each before that warms the page
// cache where warm is set; it goes through before and after as any.
func (b *bench) compare(ctx context.Context, rounds int, warm bool, contenders ...contender) ([]time.Duration, error) {
	times := make([][]time.Duration, len(contenders))
	first := 0
	if warm {
		first = -1
	}
	for round := first; round < rounds; round++ {
		for i, c := range contenders {
			d, err := b.once(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if round >= 0 {
				times[i] = append(times[i], d)
			}
		}
	}
	medians := make([]time.Duration, len(contenders))
	for i, t := range times {
		medians[i] = median(t)
		fmt.Fprintf(b.log, "  %-32s %s\n", contenders[i].name, medians[i].Round(10*time.Microsecond))
	}
	return medians, nil
}

// once measures one run, from before the fork to after the wait.
func (b *bench) once(ctx context.Context, c contender) (time.Duration, error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return 0, err
		}
	}
	// A file, not a pipe: no goroutine of ours competes with the contender for the cores.
	out, err := os.Create(filepath.Join(b.dir, "output"))
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = c.dir, out, out, b.env()
	start := time.Now()
	err = cmd.Run()
	took := time.Since(start)
	text, readErr := os.ReadFile(out.Name())
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, tail(string(text)))
	}
	if readErr != nil {
		return 0, readErr
	}
	if c.after != nil {
		if err := c.after(string(text)); err != nil {
			return 0, fmt.Errorf("%w\n%s", err, tail(string(text)))
		}
	}
	return took, nil
}

// env gives contenders an empty user cache: a result from another workspace would be no cold run.
func (b *bench) env() []string {
	return append(os.Environ(), "XDG_CACHE_HOME="+b.cache(), "NO_COLOR=1", "TERM=dumb")
}

func (b *bench) cache() string { return filepath.Join(b.dir, "cache") }

// output runs a command that is not measured and forgets what it says unless it fails. Its environment is the
// caller's: go build wants its own cache.
func (b *bench) output(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(string(text)))
	}
	return nil
}

func tail(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// row is one figure: what was measured, beside what, and whether it is within its limit.
type row struct {
	figure        string
	jitos, peer   time.Duration
	peerName      string
	result, limit string
	met           bool
}

// ratio says how many times as long as its peer jitos takes.
func ratio(figure string, jitos, peer time.Duration, peerName string, limit float64) row {
	r := float64(jitos) / float64(peer)
	return row{figure, jitos, peer, peerName, fmt.Sprintf("%.2f ×", r), fmt.Sprintf("≤ %.2f ×", limit), r <= limit}
}

// difference says how much longer than its peer jitos takes.
func difference(figure string, jitos, peer time.Duration, peerName string, limit time.Duration) row {
	d := jitos - peer
	return row{figure, jitos, peer, peerName, fmt.Sprintf("%+.1f ms", millis(d)), fmt.Sprintf("≤ %.0f ms", millis(limit)), d <= limit}
}

// exponent is e in time ~ steps^e between two sizes: 1 is linear, 2 quadratic.
func exponent(steps1 int, t1 time.Duration, steps2 int, t2 time.Duration) float64 {
	return math.Log(float64(t2)/float64(t1)) / math.Log(float64(steps2)/float64(steps1))
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func printTable(w io.Writer, rows []row) error {
	text := "| figure | jitos | peer | result | limit | |\n| --- | ---: | ---: | ---: | ---: | --- |\n"
	for _, r := range rows {
		verdict := "ok"
		if !r.met {
			verdict = "missed"
		}
		text += fmt.Sprintf("| %s | %.1f ms | %.1f ms (%s) | %s | %s | %s |\n",
			r.figure, millis(r.jitos), millis(r.peer), r.peerName, r.result, r.limit, verdict)
	}
	_, err := io.WriteString(w, text)
	return err
}
