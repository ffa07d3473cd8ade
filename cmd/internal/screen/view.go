package screen

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flyingrobots/jitos/runner"
)

// redraw is the time between two pictures of the live lines: ten a second look alive and cost nothing.
const redraw = 100 * time.Millisecond

// liveSteps is how many running steps are shown at most; the rest is a number.
const liveSteps = 8

// maxName keeps one long name from pushing every duration off the screen.
const maxName = 40

// View shows a run as it goes on: one line for each step that ended, and on a live terminal one for each that runs.
// Its methods may be called from any goroutine. Close it before anything else writes to the same output.
type View struct {
	out     io.Writer
	style   Style
	columns func() int
	now     func() time.Time
	stop    chan struct{}
	ticking sync.WaitGroup

	mu      sync.Mutex
	err     error // of the first write that failed; nothing is written after it
	name    int   // columns of the longest name so far
	running []*running
	total   int // steps of the candidate that is walked, as far as known
	ended   int
	methods []string // of the last candidate
	pending strings.Builder
	drawn   []int // columns of the live lines on the screen
}

// running is a step that was started and has not ended.
type running struct {
	step  string
	since time.Time
	last  string // last line of its output
}

// NewView starts a view. columns is asked for the width before each picture, so that a resized terminal is drawn
// right; nil means that it never changes. now is the clock that running steps are timed by.
func NewView(out io.Writer, style Style, columns func() int, now func() time.Time) *View {
	if columns == nil {
		columns = func() int { return style.Width }
	}
	v := &View{out: out, style: style, columns: columns, now: now, stop: make(chan struct{}), name: 8}
	if style.Live {
		v.ticking.Go(v.tick)
	}
	return v
}

func (v *View) tick() {
	t := time.NewTicker(redraw)
	defer t.Stop()
	for {
		select {
		case <-v.stop:
			return
		case <-t.C:
			v.mu.Lock()
			v.draw(true)
			v.mu.Unlock()
		}
	}
}

// Close takes the live lines away and returns the first error of the output. Nothing may be shown after it.
func (v *View) Close() error {
	close(v.stop)
	v.ticking.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draw(false)
	return v.err
}

// Note shows a line between the others, now.
func (v *View) Note(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.line("%s", line)
	v.draw(true)
}

// Output takes what a running step prints. Only its last line is shown, and only on a live terminal.
func (v *View) Output(step string, chunk []byte) {
	if !v.style.Live {
		return
	}
	lines := Lines(string(chunk))
	if len(lines) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.running {
		if r.step == step {
			r.last = strings.TrimSpace(lines[len(lines)-1])
		}
	}
}

// Event takes the next event of the run.
func (v *View) Event(e runner.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch d := e.Data.(type) {
	case *runner.Intent:
		if d.Where != "" && d.Where != "overlay" { // less than the best is said
			v.line("  isolation: %s", Clean(d.Where))
		}
	case *runner.Rewrite:
		v.candidate(d)
	case *runner.Invocation:
		v.name = min(max(v.name, Width(Clean(d.Step))), maxName)
		v.running = append(v.running, &running{step: d.Step, since: v.now()})
	case *runner.Result:
		v.result(d)
	case *runner.Observation:
		v.observation(d)
	}
	if !v.style.Live {
		v.draw(false)
	}
}

func (v *View) candidate(d *runner.Rewrite) {
	if d.Cause != "plan" {
		return
	}
	if d.Candidate > 0 && !d.Resumed {
		way := ""
		for _, m := range d.Methods {
			if !slices.Contains(v.methods, m) {
				way = ": " + Clean(m)
				break
			}
		}
		v.line("    trying the next way%s", way)
	}
	v.methods, v.total, v.ended = d.Methods, d.Steps, 0
}

func (v *View) result(d *runner.Result) {
	v.running = slices.DeleteFunc(v.running, func(r *running) bool { return r.step == d.Step })
	v.ended++
	s := v.style
	switch d.Outcome {
	case runner.Ran:
		v.step(s.Done(), d.Step, Duration(d.Duration()), left(d))
	case runner.Cached:
		v.step(s.Same(), d.Step, "", s.Dim("cached"))
	case runner.Cancelled:
		v.step(s.Skipped(), d.Step, "", s.Dim("cancelled"))
	case runner.Failed:
		v.step(s.Failed(), d.Step, Duration(d.Duration()), Clean(d.Reason))
		for _, l := range Lines(d.Tail) {
			v.line("      %s", l)
		}
		if d.Refused != "" {
			v.line("      %s", s.Dim(fmt.Sprintf("if the sandbox is in its way: allow { %s } in the task (%s)", Clean(d.Refused), d.Range)))
		}
	}
	// What was up to date or never started is a number in the summary: a null run of 10,000 steps says one line.
}

func left(d *runner.Result) string {
	if d.Left == 0 {
		return ""
	}
	return Count(d.Left, "process") + " left behind, killed"
}

// step shows how a step ended. The names and, right-aligned below each other, the durations form columns.
func (v *View) step(mark, id, took, note string) {
	id = v.style.Fit(Clean(id), maxName)
	v.name = max(v.name, Width(id))
	line := "  " + mark + " " + pad(id, v.name)
	if took != "" {
		line += fmt.Sprintf("%7s", took)
	}
	if note != "" {
		line += "   " + note
	}
	v.line("%s", line)
}

func (v *View) observation(d *runner.Observation) {
	s := v.style
	switch d.What {
	case "criterion":
		if !d.OK {
			v.line("  %s success %q: %s     %s", s.Failed(), Clean(d.Name), Clean(d.Text), Clean(d.Of))
		}
	case "when":
		if !d.OK {
			v.line("  %s when %s     %s", s.Failed(), Clean(d.Text), Clean(d.Of))
		}
	case "warning":
		v.warning(d)
	case "probe": // an answer is for the record
	case "rerun":
		v.step(s.Skipped(), d.Step, "", "runs again: "+Clean(d.Text))
	case "retry":
		v.step(s.Skipped(), d.Step, "", Clean(d.Text))
	default:
		if d.Text != "" {
			v.line("  %s %s", s.Skipped(), Clean(d.Text))
		}
	}
}

func (v *View) warning(d *runner.Observation) {
	who := ""
	if d.Step != "" {
		who = Clean(d.Step) + ": "
	}
	where := ""
	if d.File != "" {
		where = v.style.Dim(fmt.Sprintf("   (%s:%d)", Clean(d.File), d.Line))
	}
	for i, l := range Lines(d.Text) {
		if i == 0 {
			v.line("  %s %s%s%s", v.style.Yellow("warning:"), who, l, where)
		} else {
			v.line("    %s", l)
		}
	}
}

// line queues a line that stays. draw writes it.
func (v *View) line(format string, args ...any) {
	fmt.Fprintf(&v.pending, format, args...)
	v.pending.WriteByte('\n')
}

// draw replaces the live lines by what is pending and, if asked, by the live lines of now: in one write, so that
// nothing flickers.
func (v *View) draw(live bool) {
	var b strings.Builder
	width := v.columns()
	if rows := v.rows(width); rows > 0 {
		// The cursor is not in the first column if a person typed.
		fmt.Fprintf(&b, "\r\x1b[%dA\x1b[J", rows)
	}
	v.drawn = v.drawn[:0]
	b.WriteString(v.pending.String())
	v.pending.Reset()
	if live && v.style.Live {
		for _, l := range v.live(width) {
			v.drawn = append(v.drawn, Width(l))
			b.WriteString(v.style.Dim(l))
			b.WriteByte('\n')
		}
	}
	if b.Len() == 0 || v.err != nil {
		return
	}
	_, v.err = io.WriteString(v.out, b.String())
}

// rows is how many rows the live lines take on a terminal of this width, which may have become narrower.
func (v *View) rows(width int) int {
	if width <= 0 {
		return len(v.drawn)
	}
	n := 0
	for _, w := range v.drawn {
		n += max(1, (w+width-1)/width)
	}
	return n
}

// live is the picture of now, each line shorter than the terminal is wide.
func (v *View) live(width int) []string {
	var lines []string
	now := v.now()
	for i, r := range v.running {
		if i == liveSteps {
			break
		}
		id := v.style.Fit(Clean(r.step), maxName)
		l := "  " + v.style.symbol(skip) + " " + pad(id, v.name) + fmt.Sprintf("%7s", Duration(now.Sub(r.since)))
		if r.last != "" {
			l += "   " + r.last
		}
		lines = append(lines, l)
	}
	if len(v.running) == 0 {
		return nil
	}
	if v.total > 1 || len(v.running) > liveSteps {
		l := fmt.Sprintf("    %d done, %d running", v.ended, len(v.running))
		if left := v.total - v.ended - len(v.running); left > 0 { // what is up to date is never heard of
			l += fmt.Sprintf(", at most %d to come", left)
		}
		lines = append(lines, l)
	}
	for i, l := range lines {
		lines[i] = v.style.Fit(l, width-1) // the last column makes some terminals wrap
	}
	return lines
}
