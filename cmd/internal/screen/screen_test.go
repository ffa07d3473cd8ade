package screen_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/history"
)

func TestDetect(t *testing.T) {
	tests := map[string]struct {
		columns int
		noColor bool
		env     map[string]string
		want    screen.Style
	}{
		"a terminal with a UTF-8 locale has everything": {columns: 80, env: map[string]string{"LANG": "de_DE.UTF-8", "TERM": "xterm"},
			want: screen.Style{Color: true, Unicode: true, Live: true, Width: 80}},
		"a file has no colour, no live lines and no width":    {env: map[string]string{"LANG": "C.utf8"}, want: screen.Style{Unicode: true}},
		"LC_ALL overrides LANG":                               {env: map[string]string{"LC_ALL": "C", "LANG": "C.UTF-8"}},
		"an empty LC_ALL does not":                            {env: map[string]string{"LC_ALL": "", "LC_CTYPE": "C.UTF-8"}, want: screen.Style{Unicode: true}},
		"no locale is ASCII":                                  {},
		"a dumb terminal is plain ASCII":                      {columns: 80, env: map[string]string{"TERM": "dumb", "LANG": "C.UTF-8"}, want: screen.Style{Width: 80}},
		"NO_COLOR keeps the live lines":                       {columns: 80, env: map[string]string{"NO_COLOR": "1"}, want: screen.Style{Live: true, Width: 80}},
		"--no-color as well":                                  {columns: 80, noColor: true, want: screen.Style{Live: true, Width: 80}},
		"CI has no live lines: a log keeps every one of them": {columns: 80, env: map[string]string{"CI": "true"}, want: screen.Style{Color: true, Width: 80}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, screen.Detect(tt.columns, tt.noColor, func(k string) string { return tt.env[k] }))
		})
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31mred\x1b[0m", "\x1b]8;;http://x\x07link\x1b]8;;\x07", "\xff\xfe", "a\tb", "\u202eevil", "日本", "\x1b", "\x1b[", "\x1bPq\x1b\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := screen.Clean(s)
		require.True(t, utf8.ValidString(c))
		require.False(t, strings.ContainsFunc(c, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }), "%q", c)
		require.Equal(t, c, screen.Clean(c), "it is clean already")
	})
}

func TestLines(t *testing.T) {
	require.Equal(t, []string{"100%", "done"}, screen.Lines(" 1%\r50%\r100%\r\ndone\n\n"))
	require.Equal(t, []string{"red"}, screen.Lines("\x1b[31mred\x1b[0m\n"))
	require.Empty(t, screen.Lines("\n"))
}

func TestWords(t *testing.T) {
	require.Equal(t, "0.3s", screen.Duration(300*time.Millisecond))
	require.Equal(t, "2m05s", screen.Duration(125*time.Second))
	require.Equal(t, "1h01m", screen.Duration(61*time.Minute))
	require.Equal(t, "4 s", screen.About(4200*time.Millisecond))
	require.Equal(t, "812 B", screen.Size(812))
	require.Equal(t, "21 kB", screen.Size(21_300))
	require.Equal(t, "4.1 MB", screen.Size(4_100_000))
	require.Equal(t, "1.0 MB", screen.Size(999_900))
	require.Equal(t, "1 file", screen.Count(1, "file"))
	require.Equal(t, "0 files", screen.Count(0, "file"))
	now := time.Date(2026, 11, 24, 14, 20, 0, 0, time.Local)
	require.Equal(t, "14:20", screen.When(now, now))
	require.Equal(t, "Nov  3 14:20", screen.When(now.AddDate(0, 0, -21), now))
	require.Equal(t, "2025-11-24", screen.When(now.AddDate(-1, 0, 0), now))
	require.Equal(t, `'page["a b"]'`, screen.Quote(`page["a b"]`))
	require.Equal(t, `bin/server-v1.2`, screen.Quote(`bin/server-v1.2`))
}

func TestEventsAreOneLineEach(t *testing.T) {
	var out strings.Builder
	j := screen.NewEvents(&out)
	j.Event(runner.Event{Event: history.Event{Idx: 7, Kind: runner.KindResult, At: 5, View: history.SWS(3)}, Data: &runner.Result{
		Run: 1, Step: "a", Outcome: runner.Ran, Log: []byte{0xab, 0x01},
		Changes: []runner.Change{{Path: "x>y\n", After: runner.Entry{Type: "file", Size: 3}}},
	}})
	require.NoError(t, j.Close())
	require.Equal(t, `{"idx":7,"kind":"WORKER_RESULT","at":5,"view":"sws 3","data":{"run":1,"step":"a","outcome":"ran","log":"ab01",`+
		`"changes":[{"path":"x>y\n","after":{"type":"file","size":3}}]}}`+"\n", out.String())
}

func TestJSONNamesWhatHasNoTag(t *testing.T) {
	var out strings.Builder
	require.NoError(t, screen.JSON(&out, struct {
		SWS, UpToDate int
		WallClock     time.Duration
		ID            string
		At            time.Time
		Digest        [2]byte
		Read          func()
		None          []string
	}{SWS: 1, WallClock: time.Second, Digest: [2]byte{1, 2}}))
	require.Equal(t, `{"sws":1,"up_to_date":0,"wall_clock":1000000000,"id":"","at":null,"digest":"0102","none":[]}`+"\n", out.String())
}

func file(p string) runner.Change { return runner.Change{Path: p, After: runner.Entry{Type: "file"}} }

func TestSummaryEndsWithWhatToDo(t *testing.T) {
	tests := map[string]struct {
		outcome runner.Outcome
		want    string
	}{
		"a null run": {runner.Outcome{Status: runner.Nothing, NothingToDo: true, Steps: 3, Wall: 9 * time.Millisecond},
			"Nothing to do: 3 steps up to date (9 ms).\n"},
		"files came in": {runner.Outcome{Status: runner.Done, Run: 1, Steps: 3, Ran: 3, Changed: []runner.Change{file("a.go"), file("bin/server"), {Path: "bin", After: runner.Entry{Type: "dir"}}}},
			"Collapsed 2 files into the workspace (run 1, sws 0).  jitos why bin/server · jitos undo\n"},
		"some was known": {runner.Outcome{Status: runner.Done, Run: 2, SWS: 2, Steps: 5, Ran: 1, Cached: 3, UpToDate: 1, Changed: []runner.Change{file("a b")}},
			"Collapsed 1 file into the workspace (run 2, sws 2; 1 ran, 3 cached, 1 up to date).  jitos why 'a b' · jitos undo\n"},
		"a directory went": {runner.Outcome{Status: runner.Done, Run: 3, SWS: 3, Steps: 1, Ran: 1, Changed: []runner.Change{{Path: "d", Before: runner.Entry{Type: "dir"}}}},
			"Collapsed 1 file into the workspace (run 3, sws 3).  jitos undo\n"},
		"no file came of it": {runner.Outcome{Status: runner.Done, Run: 3, SWS: 3, Steps: 1, Ran: 1},
			"No file changed (run 3, sws 3).  jitos show 3\n"},
		"one way failed first": {runner.Outcome{Status: runner.Done, Run: 7, SWS: 9, Ran: 2, Changed: []runner.Change{file("i")}, FailedWays: []string{"image by docker"}},
			"Collapsed 1 file into the workspace (run 7, sws 9).  jitos why i · jitos undo\nOne way failed first: jitos show 7\n"},
		"a step failed": {runner.Outcome{Status: runner.FailedRun, Run: 8, SWS: 10, Steps: 4, Ran: 1, Failed: "link", Reason: "exit 1"},
			"Nothing was changed (run 8, sws 10 discarded).  jitos output link · jitos show 8\n2 steps did not run.\nKeep it to look inside: jitos apply x --hold\n"},
		"a criterion failed": {runner.Outcome{Status: runner.FailedRun, Run: 8, SWS: 10, Steps: 2, Ran: 2, Failed: `success "small"`},
			"Nothing was changed (run 8, sws 10 discarded).  jitos show 8\nKeep it to look inside: jitos apply x --hold\n"},
		"it is held": {runner.Outcome{Status: runner.Held, Run: 8, SWS: 10, Changed: []runner.Change{file("a")}},
			"Held as sws 10, the workspace is as it was: 1 file would change (run 8).\n  jitos sws diff 10 · jitos sws collapse 10 · jitos sws discard 10\n"},
		"a conflict": {runner.Outcome{Status: runner.Conflicted, Run: 11, SWS: 11, Conflicts: []sws.Conflict{{Path: "gen.go",
			Is:   sws.Fingerprint{Kind: sws.File, Size: 1200, Mtime: time.Date(2026, 1, 1, 14, 2, 11, 0, time.Local).UnixNano()},
			Want: sws.Entry{Kind: sws.File, Size: 41}}}},
			"Conflict: 1 file changed while it was being made  exit 3\n" +
				"  gen.go   you: 14:02:11, 1.2 kB        the run: 41 B        jitos sws diff 11 gen.go\n" +
				"Your version is untouched; the run is held as sws 11.\n" +
				"  jitos apply x                             run what is affected again on top of your version\n" +
				"  jitos sws collapse 11 --keep=sws gen.go   take what the run made\n"},
		"a conflict about an input": {runner.Outcome{Status: runner.Conflicted, Run: 11, SWS: 11, Conflicts: []sws.Conflict{{Path: "in", Read: true}}},
			"Conflict: 1 file changed after the run read it  exit 3\n" +
				"  in   you: deleted                 the run: read it\n" +
				"Your version is untouched; the run is held as sws 11.\n" +
				"  jitos apply x                         run what is affected again on top of your version\n" +
				"  jitos sws collapse 11 --keep=sws in   take what the run made from what it read\n"},
		"a conflict about both": {runner.Outcome{Status: runner.Conflicted, Run: 11, SWS: 11, Conflicts: []sws.Conflict{
			{Path: "d", Is: sws.Fingerprint{Kind: sws.Dir}, Why: "has got something new in it: x"}, {Path: "in", Read: true}}},
			"Conflict: 2 files changed since the run began  exit 3\n" +
				"  d    you: has got something new in it: x  the run: deletes it  jitos sws diff 11 d\n" +
				"  in   you: deleted                 the run: read it\n" +
				"Your versions are untouched; the run is held as sws 11.\n" +
				"  jitos apply x                      run what is affected again on top of your version\n" +
				"  jitos sws collapse 11 --keep=sws   take what the run made\n"},
		"it is refused": {runner.Outcome{Status: runner.Refused, Run: 4, Reason: "assume \"clean tree\" does not hold"},
			"Refused: assume \"clean tree\" does not hold\nNothing was changed (run 4).  jitos show 4\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := screen.Asked{Command: "jitos apply x"}
			asked.Ended(&runner.Result{Outcome: runner.Ran, Changes: []runner.Change{file("unchanged"), file("bin/server")}})
			asked.Ended(&runner.Result{Outcome: runner.Failed, Log: []byte{1}})
			require.Equal(t, tt.want, screen.Summary(screen.Style{Unicode: true}, &tt.outcome, asked))
		})
	}
}

func text(t string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(t), nil } }

func entry(t string, mode uint32) runner.Entry {
	return runner.Entry{Type: "file", Size: int64(len(t)), Mode: mode, Digest: []byte(t)}
}

func changed(p, before, after string) screen.File {
	return screen.File{Path: p, Before: entry(before, 0o644), After: entry(after, 0o644), ReadBefore: text(before), ReadAfter: text(after)}
}

func TestDiff(t *testing.T) {
	created := changed("new", "", "hello\n")
	created.Before = runner.Entry{}
	mode := changed("run.sh", "x", "x")
	mode.After.Mode = 0o755
	tests := map[string]struct {
		file screen.File
		want string
	}{
		"a text":        {changed("f", "a\nb\n", "a\nc\n"), "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"},
		"a new file":    {created, "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+hello\n"},
		"a mode":        {mode, "mode run.sh 644 -> 755\n"},
		"a binary":      {changed("bin", "\x7fELF\x00", "\x7fELF\x00\x01"), "binary bin: 5 B -> 6 B, ELF\n"},
		"a link":        {screen.File{Path: "l", Before: runner.Entry{Type: "link", Target: "x"}, After: runner.Entry{Type: "link", Target: "y"}}, "link l: x -> y\n"},
		"a new dir":     {screen.File{Path: "d", After: runner.Entry{Type: "dir"}}, "new directory d/\n"},
		"an empty file": {screen.File{Path: "e", After: runner.Entry{Type: "file"}, ReadAfter: text("")}, "empty file e: nothing -> 0 B\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			require.NoError(t, screen.Diff(&out, screen.Style{}, tt.file))
			require.Equal(t, tt.want, out.String())
		})
	}
}

func TestChangesFoldNewDirectories(t *testing.T) {
	added := func(p, content string) screen.File {
		f := changed(p, "", content)
		f.Before = runner.Entry{}
		return f
	}
	var out strings.Builder
	require.NoError(t, screen.Changes(&out, screen.Style{}, []screen.File{
		{Path: "node_modules/left-pad", After: runner.Entry{Type: "dir"}},
		added("node_modules/left-pad-2", "\x00"),
		added("node_modules/left-pad/a", "12345"),
		{Path: "node_modules/left-pad/lib", After: runner.Entry{Type: "dir"}},
		added("node_modules/left-pad/lib/b", "123"),
		added("node_modules/left-pad/lib/c", ""),
		added("node_modules/left-pad/lib/d", ""),
		{Path: "out", After: runner.Entry{Type: "dir"}},
		added("out/page", "\x00"),
		changed("package.json", "a\nb\nc\n", "a\nB\nc\n"),
		{Path: "gone", Before: entry("xyz", 0o644)},
	}))
	require.Equal(t, ""+
		"- gone                       3 B\n"+
		"+ node_modules/left-pad/**   4 files, 8 B\n"+
		"+ node_modules/left-pad-2    1 B\n"+
		"+ out/page                   1 B\n"+
		"~ package.json               1 line\n", out.String())
}

func TestUnder(t *testing.T) {
	list := []screen.File{{Path: "a/b"}, {Path: "a/c"}, {Path: "ab"}}
	got, err := screen.Under(list, []string{"a/"})
	require.NoError(t, err)
	require.Equal(t, []screen.File{{Path: "a/b"}, {Path: "a/c"}}, got)
	_, err = screen.Under(list, []string{"nope"})
	require.ErrorIs(t, err, fs.ErrNotExist)
}
