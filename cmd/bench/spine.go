package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// spine: what a person waits for before and besides the commands themselves.
func spine(ctx context.Context, b *bench) ([]row, error) {
	start, err := startUp(ctx, b)
	if err != nil {
		return nil, err
	}
	rows := []row{start}
	var previous *grown
	for _, steps := range []int{1000, 2000, 5000, 10_000} {
		if steps > b.maxSteps {
			break
		}
		more, cold, err := checksums(ctx, b, steps)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%d steps: %w", steps, err)
		}
		now := &grown{steps, cold[0], cold[1]}
		if previous != nil {
			rows = append(rows, growth(*previous, *now))
		}
		previous = now
	}
	return rows, nil
}

// startUp compares `jitos version` with the shortest Go program there is.
func startUp(ctx context.Context, b *bench) (row, error) {
	dir := filepath.Join(b.dir, "empty")
	err := writeFiles(dir, map[string]string{
		"go.mod":  "module empty\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() {}\n",
	})
	if err != nil {
		return row{}, err
	}
	if err := b.output(ctx, dir, "go", "build", "-o", "empty", "."); err != nil {
		return row{}, fmt.Errorf("build the shortest program: %w", err)
	}
	fmt.Fprintln(b.log, "start-up")
	t, err := b.compare(ctx, 20*b.rounds, true,
		contender{name: "jitos version", dir: dir, argv: []string{b.jitos, "version"}},
		contender{name: "func main() {}", dir: dir, argv: []string{filepath.Join(dir, "empty")}},
	)
	if err != nil {
		return row{}, err
	}
	return difference("`jitos version`", t[0], t[1], "shortest Go program", 6*time.Millisecond), nil
}

const checksumWorkflow = `# One step per file, none of which needs another.
task "sum" {
  for_each = fileset("in/*")
  inputs   = [each.key]
  outputs  = ["out/${basename(each.key)}"]
  run      = "cksum ${each.key} > ${self.outputs[0]}"
}

task "all" {
  needs = [task.sum]
}
`

// checksums runs independent `cksum in/fN > out/fN` steps with jitos and ninja, cold and then with nothing to
// do. It returns the cold times, jitos first, for growth.
func checksums(ctx context.Context, b *bench, steps int) ([]row, [2]time.Duration, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("sums-%d", steps))
	jitosDir, ninjaDir := filepath.Join(dir, "jitos"), filepath.Join(dir, "ninja")
	if err := errors.Join(writeInputs(jitosDir, steps), writeInputs(ninjaDir, steps),
		os.WriteFile(filepath.Join(jitosDir, "main.jitos.hcl"), []byte(checksumWorkflow), 0o644),
		os.WriteFile(filepath.Join(ninjaDir, "build.ninja"), ninjaFile(steps), 0o644)); err != nil {
		return nil, [2]time.Duration{}, err
	}
	jobs := fmt.Sprint(b.jobs)
	jitos := contender{name: fmt.Sprintf("jitos, %d steps", steps), dir: jitosDir, argv: []string{b.jitos, "apply", "-j", jobs, "all"}}
	ninja := contender{name: fmt.Sprintf("ninja, %d steps", steps), dir: ninjaDir, argv: []string{"ninja", "-j", jobs}}

	cold := func(c contender, drop ...string) contender {
		c.name += ", cold"
		c.before = func() error { return removeAll(append(drop, filepath.Join(c.dir, "out"), b.cache())...) }
		c.after = func(string) error { return checkSums(c.dir, steps) }
		return c
	}
	null := func(c contender, says string) contender {
		c.name += ", nothing to do"
		c.after = func(output string) error {
			if !strings.Contains(output, says) {
				return fmt.Errorf("it should say %q", says)
			}
			return nil
		}
		return c
	}

	fmt.Fprintf(b.log, "%d checksums\n", steps)
	// Runs of many seconds need fewer repetitions for a steady median.
	t, err := b.compare(ctx, max(1, b.rounds*1000/steps), steps <= 1000,
		cold(jitos, filepath.Join(jitosDir, ".jitos")),
		cold(ninja, filepath.Join(ninjaDir, ".ninja_log"), filepath.Join(ninjaDir, ".ninja_deps")))
	if err != nil {
		return nil, [2]time.Duration{}, err
	}
	coldTimes := [2]time.Duration(t)
	var rows []row
	if steps == 1000 {
		rows = append(rows, ratio("1,000 checksums, cold", t[0], t[1], "ninja", 2.5))
	}
	if steps == 1000 || steps == 10_000 {
		t, err := b.compare(ctx, 4*b.rounds, true, null(jitos, "Nothing to do"), null(ninja, "no work to do"))
		if err != nil {
			return rows, coldTimes, err
		}
		rows = append(rows, ratio(fmt.Sprintf("nothing to do, %s steps", thousands(steps)), t[0], t[1], "ninja", 2))
	}
	return rows, coldTimes, nil
}

// grown is what a cold run of so many steps took.
type grown struct {
	steps        int
	jitos, ninja time.Duration
}

// maxExponent is what still counts as linear: n log n over these sizes is below 1.15, and the rest is noise.
const maxExponent = 1.3

func growth(from, to grown) row {
	e := exponent(from.steps, from.jitos, to.steps, to.jitos)
	return row{
		figure: fmt.Sprintf("cold, %s → %s steps", thousands(from.steps), thousands(to.steps)),
		jitos:  to.jitos, peer: to.ninja, peerName: "ninja",
		result: fmt.Sprintf("n^%.2f, %.2f ×", e, float64(to.jitos)/float64(to.ninja)),
		limit:  fmt.Sprintf("≤ n^%.2f", maxExponent),
		met:    e <= maxExponent,
	}
}

func thousands(n int) string {
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

func writeInputs(dir string, steps int) error {
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o755); err != nil {
		return err
	}
	for i := range steps {
		text := strings.Repeat(fmt.Sprintf("input %d\n", i), 20)
		if err := os.WriteFile(filepath.Join(dir, "in", fmt.Sprintf("f%d", i)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func ninjaFile(steps int) []byte {
	var b bytes.Buffer
	b.WriteString("rule sum\n  command = cksum $in > $out\n")
	for i := range steps {
		fmt.Fprintf(&b, "build out/f%d: sum in/f%d\n", i, i)
	}
	return b.Bytes()
}

// checkSums looks at whether every output is there and is about its own input.
func checkSums(dir string, steps int) error {
	for i := range steps {
		name := fmt.Sprintf("f%d", i)
		text, err := os.ReadFile(filepath.Join(dir, "out", name))
		if err != nil {
			return err
		}
		if !strings.HasSuffix(string(text), " in/"+name+"\n") {
			return fmt.Errorf("out/%s holds %q", name, text)
		}
	}
	return nil
}

func writeFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files { // order: each file is written by itself
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return errors.Join(errs...)
}
