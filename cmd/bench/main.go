// Command bench measures the whole jitos process beside its peers and prints what it found as a Markdown table.
//
//	go run ./cmd/bench [flags] GROUP...
//
// A group is a set of figures with limits; each has a file of its own, and groups() lists them: start there. Subject and peer
// run in turns within one process on one machine, so that whatever else the machine does hits both, and medians
// are compared. It knows nothing of how jitos works inside: it starts the binary and looks at the clock and at
// the files. Only planner.go and sws.go look inside as well, to tell
// planning from reading, and a collapse from the run before it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// group is a set of figures that are measured together.
type group struct {
	name, about string
	run         func(context.Context, *bench) ([]row, error)
}

func groups() []group {
	return []group{
		{"spine", "start-up, 1,000 cold steps, null runs and growth, beside ninja", spine},
		{"sws", "collapses of 1, 100 and 10,000 files, beside plain durable writes", collapses},
		{"planner", "instances of planning competitions, and workflows of 1,000 and 10,000 tasks", planner},
	}
}

var (
	errUsage  = errors.New("usage")
	errMissed = errors.New("a limit was missed")
)

func main() {
	if sandbox.Main() { // the group sws starts slots of its own
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	b := bench{log: stderr}
	flags.StringVar(&b.jitos, "jitos", "", "binary to measure (default: built from this module)")
	flags.StringVar(&b.dir, "dir", "", "where to make the temporary directory; its file system is what is measured")
	flags.IntVar(&b.jobs, "j", 2, "steps at once, for all contenders")
	flags.IntVar(&b.rounds, "rounds", 5, "runs of each contender")
	flags.IntVar(&b.maxSteps, "max-steps", 10_000, "leave larger workflows out, for a quick look")
	flags.StringVar(&b.htn, "htn", os.Getenv("JITOS_HTN"), "directory of planning instances, with set.csv, results.csv and verify.py (default: $JITOS_HTN)")
	check := flags.Bool("check", false, "exit 1 when a limit is missed")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: bench [flags] GROUP...")
		for _, g := range groups() {
			fmt.Fprintf(stderr, "  %-8s %s\n", g.name, g.about)
		}
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	chosen, err := choose(flags.Args())
	if err != nil || b.jobs < 1 || b.rounds < 1 {
		if err != nil {
			fmt.Fprintln(stderr, "bench:", err)
		}
		flags.Usage()
		return errUsage
	}

	if b.dir, err = os.MkdirTemp(b.dir, "jitos-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.jitos == "" {
		b.jitos = filepath.Join(b.dir, "jitos")
		if err := b.output(ctx, "", "go", "build", "-o", b.jitos, "github.com/flyingrobots/jitos/cmd/jitos"); err != nil {
			return fmt.Errorf("build jitos: %w", err)
		}
	} else if b.jitos, err = filepath.Abs(b.jitos); err != nil {
		return err
	}

	var all []row
	for _, g := range chosen {
		rows, err := g.run(ctx, &b)
		all = append(all, rows...)
		if err != nil {
			return errors.Join(printTable(stdout, all), fmt.Errorf("%s: %w", g.name, err))
		}
	}
	fmt.Fprintln(stdout, b.machine())
	if err := printTable(stdout, all); err != nil {
		return err
	}
	if *check && slices.ContainsFunc(all, func(r row) bool { return !r.met }) {
		return errMissed
	}
	return nil
}

func choose(names []string) ([]group, error) {
	if len(names) == 0 {
		return nil, errors.New("name a group of figures")
	}
	var chosen []group
	for _, name := range names {
		i := slices.IndexFunc(groups(), func(g group) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no group named %q", name)
		}
		chosen = append(chosen, groups()[i])
	}
	return chosen, nil
}

// machine tells under which conditions the figures hold.
func (b *bench) machine() string {
	release, err := exec.Command("uname", "-sr").Output()
	if err != nil {
		release = []byte(runtime.GOOS)
	}
	fs, err := exec.Command("stat", "-f", "-c", "%T", b.dir).Output()
	if err != nil {
		fs = []byte("unknown file system")
	}
	return fmt.Sprintf("%s, %d cores, %s, %s; -j %d, medians of %d alternating runs\n", strings.TrimSpace(string(release)),
		runtime.NumCPU(), strings.TrimSpace(string(fs)), runtime.Version(), b.jobs, b.rounds)
}
