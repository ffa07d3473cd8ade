package diag_test

import (
	"bytes"
	"errors"
	"math/rand"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flyingrobots/jitos/lang/diag"
)

const source = `task "compile" {
  run = "make"
}

task "link" {
  needs   = [task.complie]
	outputs = ["bin/server"]
  run     = "日本 \u001b[31m` + "\x1b[31m" + `"
}
`

// at is the range of the nth occurrence, from 0, of text in source.
func at(text string, nth int) diag.Range {
	from := 0
	for range nth {
		from += strings.Index(source[from:], text) + len(text)
	}
	from += strings.Index(source[from:], text)
	place := func(offset int) diag.Pos {
		line := strings.Count(source[:offset], "\n")
		return diag.Pos{Line: line + 1, Column: offset - strings.LastIndex(source[:offset], "\n"), Byte: offset}
	}
	return diag.Range{File: "main.jitos.hcl", Start: place(from), End: place(from + len(text))}
}

func show(t *testing.T, p diag.Printer, l diag.List) string {
	t.Helper()
	p.Source = func(file string) []byte {
		if file == "main.jitos.hcl" {
			return []byte(source)
		}
		return nil
	}
	var b strings.Builder
	require.NoError(t, p.Print(&b, l))
	return b.String()
}

func TestPrint(t *testing.T) {
	typo := diag.Diagnostic{
		Code: "JT2003", Summary: `unknown task "complie"`,
		Subject: at("task.complie", 0), Label: "did you mean task.compile?",
	}
	tests := map[string]struct {
		p    diag.Printer
		l    diag.List
		want string
	}{
		"the subject is marked below its line, after the line before": {l: diag.List{typo}, want: `
Error: unknown task "complie"                                                    [JT2003]
  main.jitos.hcl:6:14
  5 │ task "link" {
  6 │   needs   = [task.complie]
    │              ^^^^^^^^^^^^ did you mean task.compile?
1 error. ` + "`jitos explain JT2003`" + ` says more.
`},
		"related places are one line each": {l: diag.List{{
			Code: "JT3311", Summary: "two unordered steps write bin/server",
			Detail:  "Make one need the other, or give them different outputs.",
			Subject: at("task.complie", 0), Label: "task link",
			Related: []diag.Related{{Range: at("run", 1), Label: "task link_race"}},
		}}, want: `
Error: two unordered steps write bin/server                                      [JT3311]
  main.jitos.hcl:6:14  task link         6 │   needs   = [task.complie]
  main.jitos.hcl:8:3   task link_race    8 │   run     = "日本 \u001b[31m�[31m"
  Make one need the other, or give them different outputs.
1 error. ` + "`jitos explain JT3311`" + ` says more.
`},
		"a tab is two cells, an empty line before is left out, wide and control characters keep the mark in place": {l: diag.List{
			{Code: "JT2009", Severity: diag.Warning, Summary: "tab", Subject: at(`"bin/server"`, 0)},
			{Code: "JT2009", Severity: diag.Warning, Summary: "empty line", Subject: at("task", 1)},
			{Code: "JT2009", Severity: diag.Warning, Summary: "control", Subject: at("\x1b", 0)},
		}, p: diag.Printer{Width: 40, ASCII: true}, want: `
Warning: empty line             [JT2009]
  main.jitos.hcl:5:1
  5 | task "link" {
    | ^^^^
Warning: tab                    [JT2009]
  main.jitos.hcl:7:13
  6 |   needs   = [task.complie]
  7 |   outputs = ["bin/server"]
    |              ^^^^^^^^^^^^
Warning: control                [JT2009]
  main.jitos.hcl:8:31
  7 |   outputs = ["bin/server"]
  8 |   run     = "日本 \u001b[31m�[31m"
    |                             ^
3 warnings. ` + "`jitos explain JT2009`" + ` says more.
`},
		"without a source the place and label are enough": {l: diag.List{
			{Code: "JT1004", Summary: "cannot read the file", Detail: "permission denied.", Subject: diag.Range{File: "x"}},
			{Code: "JT1004", Summary: "beyond", Label: "hint", Subject: diag.Range{File: "x", Start: diag.Pos{Line: 9, Column: 9, Byte: 99}, End: diag.Pos{Line: 9, Column: 9, Byte: 99}}},
		}, p: diag.Printer{Width: 40}, want: `
Error: cannot read the file     [JT1004]
  x
  permission denied.
Error: beyond                   [JT1004]
  x:9:9
  hint
2 errors. ` + "`jitos explain JT1004`" + ` says more.
`},
		"only so many are shown": {l: diag.List{typo, {Code: "JT2001", Summary: "later", Subject: at("run", 1)}}, p: diag.Printer{Max: 1}, want: `
Error: unknown task "complie"                                                    [JT2003]
  main.jitos.hcl:6:14
  5 │ task "link" {
  6 │   needs   = [task.complie]
    │              ^^^^^^^^^^^^ did you mean task.compile?
2 errors, 1 shown. ` + "`jitos explain JT2003`" + ` says more.
`},
		"colour is extra": {l: diag.List{typo}, p: diag.Printer{Color: true}, want: "\n" +
			"\x1b[1;31mError:\x1b[0m\x1b[1m unknown task \"complie\"\x1b[0m                                                    \x1b[2m[JT2003]\x1b[0m\n" +
			"  main.jitos.hcl:6:14\n  5 │ task \"link\" {\n  6 │   needs   = [task.complie]\n" +
			"    │              \x1b[1;31m^^^^^^^^^^^^\x1b[0m did you mean task.compile?\n1 error. `jitos explain JT2003` says more.\n"},
		"nothing is nothing": {want: "\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, "\n"+show(t, tt.p, tt.l))
		})
	}
}

// A line of any length is cropped around what it is about.
func TestPrintLongLine(t *testing.T) {
	long := "a = [" + strings.Repeat(`"x", `, 10000) + "oops" + strings.Repeat(`, "x"`, 10000) + "]"
	from := strings.Index(long, "oops")
	p := diag.Printer{Source: func(string) []byte { return []byte(long) }}
	var b strings.Builder
	require.NoError(t, p.Print(&b, diag.List{{Code: "JT2004", Summary: "oops", Subject: diag.Range{
		File: "f", Start: diag.Pos{Line: 1, Column: from + 1, Byte: from}, End: diag.Pos{Line: 1, Column: from + 5, Byte: from + 4},
	}}}))
	lines := strings.Split(b.String(), "\n")
	require.Contains(t, lines[2], "oops")
	require.Less(t, len(lines[2]), 110)
	require.Equal(t, strings.Index(strings.ReplaceAll(lines[2], "…", "."), "oops"), strings.Index(lines[3], "^^^^"))
}

func TestSuggest(t *testing.T) {
	there := []string{"compile", "link", "test", "outputs", "output_dir", "task"}
	for name, want := range map[string]string{
		"complie": "compile", "ouputs": "outputs", "Test": "test", "output-dir": "output_dir", "taks": "task",
		"x": "", "deploy": "", "": "",
	} {
		got, ok := diag.Suggest(name, there)
		require.Equal(t, want, got, name)
		require.Equal(t, want != "", ok, name)
	}
	got, _ := diag.Suggest("tesx", []string{"tesz", "tesy"})
	require.Equal(t, "tesy", got, "the first by name of equally near ones")
}

// The same problems print and marshal the same, in whatever order and however often they were found.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.Custom(func(t *rapid.T) diag.Diagnostic {
			n := func(what string) int { return rapid.IntRange(0, 2).Draw(t, what) }
			d := diag.Diagnostic{
				Code:     rapid.SampledFrom([]string{"JT1001", "JT2003"}).Draw(t, "code"),
				Severity: diag.Severity(rapid.IntRange(0, 1).Draw(t, "severity")),
				Summary:  rapid.SampledFrom([]string{"a", "b"}).Draw(t, "summary"),
				Subject:  diag.Range{File: rapid.SampledFrom([]string{"", "f", "g"}).Draw(t, "file"), Start: diag.Pos{Line: n("line"), Column: n("column")}},
			}
			for range n("related") {
				d.Related = append(d.Related, diag.Related{Label: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "label")})
			}
			return d
		})
		l := diag.List(rapid.SliceOfN(one, 0, 12).Draw(t, "list"))
		shuffled := append(append(diag.List{}, l...), l...)
		rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed"))).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		require.Equal(t, l.Sorted(), shuffled.Sorted())
	})
}

func TestErr(t *testing.T) {
	require.NoError(t, diag.List{{Severity: diag.Warning}}.Err(), "warnings stop nothing")
	err := diag.List{{Code: "JT2", Summary: "second", Subject: at("run", 1)}, {Code: "JT1", Summary: "first", Subject: at("run", 0)}, {Severity: diag.Warning}}.Err()
	require.EqualError(t, err, "main.jitos.hcl:2:3: first [JT1] and 1 more")
	var list *diag.ListError
	require.True(t, errors.As(err, &list))
	require.Len(t, list.List, 3)
}

// GitHub reads a command from each line, with its own escapes.
func TestGitHub(t *testing.T) {
	in := func(file string) string { return "sub/" + file }
	r := diag.Range{File: "a,b.hcl", Start: diag.Pos{Line: 2, Column: 3}, End: diag.Pos{Line: 2, Column: 5}}
	over := r
	over.End.Line = 4
	l := diag.List{
		{Code: "JT2", Severity: diag.Warning, Summary: "100%", Detail: "one\ntwo", Subject: over, Related: []diag.Related{{Range: r, Label: "first"}}},
		{Code: "JT1", Summary: "nowhere"},
	}
	require.Equal(t, "::error title=JT1::nowhere\n"+
		"::warning file=sub/a%2Cb.hcl,line=2,col=3,endLine=4,title=JT2::100%25%0Aone%0Atwo%0Aa,b.hcl:2:3  first\n", diag.GitHub(l, 2, in))
	require.Equal(t, "::error title=JT1::nowhere\n", diag.GitHub(l, 1, in))
}

func TestDetailsAreBrokenAtSpaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(5, 30).Draw(t, "width")
		words := rapid.SliceOfN(rapid.StringMatching("[a-z日]{1,8}"), 1, 30).Draw(t, "words")
		var out bytes.Buffer
		detail := strings.Join(words, " ")
		require.NoError(t, diag.Printer{Width: width}.Print(&out, diag.List{{Code: "JT1001", Summary: "s", Detail: detail}}))
		_, shown, _ := strings.Cut(out.String(), "\n")
		shown, _, _ = strings.Cut(shown, "1 error.")
		lines := strings.Split(strings.TrimSuffix(shown, "\n"), "\n")
		for i, line := range lines {
			lines[i] = strings.TrimPrefix(line, "  ")
			require.True(t, runewidth.StringWidth(lines[i]) <= width-2 || !strings.Contains(lines[i], " "), "%q is too long", line)
			if i > 0 {
				first, _, _ := strings.Cut(lines[i], " ")
				require.Greater(t, runewidth.StringWidth(lines[i-1]+" "+first), width-2, "%q fits the line before", first)
			}
		}
		require.Equal(t, detail, strings.Join(lines, " "))
	})
}
