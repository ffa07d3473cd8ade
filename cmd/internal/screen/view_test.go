package screen_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/runner"
)

func epoch() time.Time { return time.Unix(1_800_000_000, 0) }

func plan(n, steps int, methods ...string) runner.Event {
	return runner.Event{Data: &runner.Rewrite{Cause: "plan", Candidate: n, Steps: steps, Methods: methods}}
}

func started(step string) runner.Event { return runner.Event{Data: &runner.Invocation{Step: step}} }

func ended(step, outcome string, ms int) runner.Event {
	return runner.Event{Data: &runner.Result{Step: step, Outcome: outcome, Wall: int64(time.Duration(ms) * time.Millisecond)}}
}

func show(t *testing.T, s screen.Style, events ...runner.Event) string {
	t.Helper()
	var out strings.Builder
	v := screen.NewView(&out, s, nil, epoch)
	for _, e := range events {
		v.Event(e)
	}
	require.NoError(t, v.Close())
	return out.String()
}

func TestViewReadsLikeTheTour(t *testing.T) {
	tests := map[string]struct {
		style  screen.Style
		events []runner.Event
		want   string
	}{
		"steps that ran have aligned names and durations": {
			style: screen.Style{Unicode: true},
			events: []runner.Event{
				plan(0, 3), started("generate"), ended("generate", runner.Ran, 300),
				started("compile"), ended("compile", runner.Ran, 12900), started("link"), ended("link", runner.Ran, 600),
			},
			want: "  ✓ generate   0.3s\n  ✓ compile   12.9s\n  ✓ link       0.6s\n",
		},
		"without Unicode there are stand-ins of one width": {
			events: []runner.Event{
				ended("a", runner.Ran, 300), ended("b", runner.Cached, 0), ended("c", runner.Cancelled, 0),
				{Data: &runner.Result{Step: "d", Outcome: runner.Failed, Reason: "exit 1"}},
			},
			want: "  ok a          0.3s\n  =  b          cached\n  -  c          cancelled\n  x  d          0.0s   exit 1\n",
		},
		"what was up to date or skipped is no line": {
			events: []runner.Event{ended("a", runner.UpToDate, 0), ended("b", runner.Skipped, 0)},
			want:   "",
		},
		"a failure shows its log and the way that comes next": {
			style: screen.Style{Unicode: true},
			events: []runner.Event{
				plan(0, 2, "release by image", "image by docker"), started("docker_build"),
				{Data: &runner.Result{Step: "docker_build", Outcome: runner.Failed, Reason: "exit 1", Wall: 1.1e9,
					Tail: "one\x1b[31m red\x1b[0m\nfailed to solve: no space left on device\n"}},
				plan(1, 2, "release by image", "image by podman"), ended("sign", runner.Ran, 200),
			},
			want: "  ✗ docker_build   1.1s   exit 1\n      one red\n      failed to solve: no space left on device\n" +
				"    trying the next way: image by podman\n  ✓ sign           0.2s\n",
		},
		"a criterion that fails shows its condition and the values": {
			style: screen.Style{Unicode: true},
			events: []runner.Event{
				{Data: &runner.Observation{What: "criterion", Name: "fast", Text: "true", OK: true}},
				{Data: &runner.Observation{What: "criterion", Name: "small", Text: `filesize("dist/app") < 20000000`, Of: "it is 23118336"}},
			},
			want: "  ✗ success \"small\": filesize(\"dist/app\") < 20000000     it is 23118336\n",
		},
		"a warning names its step and place": {
			events: []runner.Event{{Data: &runner.Observation{What: "warning", Step: "link", Text: "wrote x\nadd it", File: "main.jitos.hcl", Line: 3}}},
			want:   "  warning: link: wrote x   (main.jitos.hcl:3)\n    add it\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, show(t, tt.style, tt.events...)) })
	}
}

func TestColoursAddNothingButColours(t *testing.T) {
	events := []runner.Event{ended("a", runner.Ran, 1), ended("b", runner.Cached, 0),
		{Data: &runner.Observation{What: "warning", Text: "careful"}}}
	plain := show(t, screen.Style{Unicode: true}, events...)
	coloured := show(t, screen.Style{Unicode: true, Color: true}, events...)
	require.NotEqual(t, plain, coloured)
	var text strings.Builder
	for line := range strings.Lines(coloured) {
		text.WriteString(screen.Clean(strings.TrimSuffix(line, "\n")) + "\n")
	}
	require.Equal(t, plain, text.String())
}

// terminal understands what a View writes: text that wraps, newlines, cursor up, erase below.
type terminal struct {
	width int
	rows  []string
	at    int // the cursor's row; its column is the end of that row
}

func (m *terminal) write(t *testing.T, text string) {
	for len(text) > 0 {
		for m.at >= len(m.rows) {
			m.rows = append(m.rows, "")
		}
		if strings.HasPrefix(text, "\x1b[") {
			end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= 'A' && r <= 'z' }) + 2
			switch text[end] {
			case 'A':
				n := 0
				_, err := fmt.Sscanf(text[2:end], "%d", &n)
				require.NoError(t, err)
				m.at -= n
				require.GreaterOrEqual(t, m.at, 0, "the cursor left the lines that the view drew")
			case 'J':
				m.rows = append(m.rows[:m.at], "")
			case 'm':
			default:
				t.Fatalf("the view used an escape sequence that this terminal does not know: %q", text[:end+1])
			}
			text = text[end+1:]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		if r == '\r' { // only ever before the cursor goes up
			continue
		}
		if r == '\n' {
			m.at++
			continue
		}
		if screen.Width(m.rows[m.at])+screen.Width(string(r)) > m.width {
			m.at++
			m.rows = append(m.rows, "")
		}
		m.rows[m.at] += string(r)
	}
}

func (m *terminal) String() string { return strings.TrimRight(strings.Join(m.rows, "\n"), "\n") }

// Whatever happens and however the terminal is resized: at the end it shows the lines that a file would hold, and
// nothing is left of what was live.
func TestLiveLinesLeaveNothingBehind(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.IntRange(20, 100).Draw(rt, "width")
		name := rapid.SampledFrom([]string{"a", "compile", "日本語のステップ", "page[\"x\"]", strings.Repeat("long", 20), "bad\xff\x1b[2Jname"})
		style := screen.Style{Unicode: rapid.Bool().Draw(rt, "unicode"), Color: rapid.Bool().Draw(rt, "color")}
		var plain strings.Builder
		var live strings.Builder
		dull := screen.NewView(&plain, screen.Style{Unicode: style.Unicode}, nil, epoch)
		style.Live = true
		at := epoch()
		lively := screen.NewView(&live, style, func() int { return width }, func() time.Time { return at })
		for range rapid.IntRange(0, 30).Draw(rt, "n") {
			step := name.Draw(rt, "step")
			var e runner.Event
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				e = started(step)
			case 1:
				e = ended(step, rapid.SampledFrom([]string{runner.Ran, runner.Cached, runner.Failed, runner.Skipped}).Draw(rt, "outcome"), 5)
			case 2:
				lively.Output(step, []byte("progress 1\rprogress 2 "+step+"\n"))
				continue
			case 3:
				e = plan(0, 12)
			case 4:
				line := "note " + screen.Clean(step)
				dull.Note(line)
				lively.Note(line)
				continue
			}
			dull.Event(e)
			lively.Event(e)
		}
		require.NoError(rt, dull.Close())
		require.NoError(rt, lively.Close())
		m := &terminal{width: width}
		m.write(t, live.String())
		want := &terminal{width: width}
		want.write(t, plain.String())
		require.Equal(rt, want.String(), m.String())
	})
}

func TestLiveLinesShowWhatRuns(t *testing.T) {
	var out strings.Builder
	at := epoch()
	v := screen.NewView(&out, screen.Style{Unicode: true, Live: true}, func() int { return 40 }, func() time.Time { return at })
	v.Event(plan(0, 3))
	v.Event(started("compile"))
	v.Output("compile", []byte("a\nbuilding package with a very long name\n"))
	at = at.Add(2900 * time.Millisecond)
	v.Note("hello")
	m := &terminal{width: 40}
	m.write(t, out.String())
	require.Equal(t, "hello\n  · compile    2.9s   building package…\n    0 done, 1 running, at most 2 to co…", m.String())
	require.NoError(t, v.Close())
}

// A closed pipe must not make a run fail half-way, and must be told at the end.
func TestViewReportsTheFirstErrorOfItsOutput(t *testing.T) {
	v := screen.NewView(broken{}, screen.Style{}, nil, epoch)
	v.Event(ended("a", runner.Ran, 1))
	v.Event(ended("b", runner.Ran, 1))
	require.ErrorIs(t, v.Close(), errBroken)
}

var errBroken = fmt.Errorf("pipe closed")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func BenchmarkView(b *testing.B) {
	v := screen.NewView(io.Discard, screen.Style{Unicode: true, Live: true}, func() int { return 80 }, time.Now)
	for b.Loop() {
		v.Event(started("page[\"a\"]"))
		v.Event(ended("page[\"a\"]", runner.Ran, 5))
	}
	require.NoError(b, v.Close())
}

func BenchmarkEvents(b *testing.B) {
	j := screen.NewEvents(io.Discard)
	e := runner.Event{Data: &runner.Result{Step: "a", Outcome: runner.Ran, Changes: []runner.Change{{Path: "x", After: runner.Entry{Type: "file", Digest: make([]byte, 32)}}}}}
	for b.Loop() {
		j.Event(e)
	}
}
