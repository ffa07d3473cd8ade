package compiler_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/lang"
)

// Every function is described, with an example that is as it says, by itself and in the specification.
func TestFunctionsAreAsDescribed(t *testing.T) {
	docs := lang.FunctionDocs()
	var names []string
	var src, table strings.Builder
	src.WriteString("fact \"installed\" {\n  columns = { tool = string }\n  from = [{ tool = \"git\" }]\n}\n")
	for _, d := range docs {
		names = append(names, d.Name)
		require.True(t, strings.HasPrefix(d.Call, d.Name+"("), d.Call)
		require.Regexp(t, `\b`+d.Name+`\(`, d.Example)
		fmt.Fprintf(&src, "task %q { exec = [\"x\", jsonencode(%s), jsonencode(%s)] }\n", d.Name, d.Example, d.Result)
		fmt.Fprintf(&table, "| `%s` | %s | `%s` is `%s` |\n", d.Call, d.Doc, d.Example, d.Result)
	}
	require.Equal(t, slices.Sorted(maps.Keys(lang.Functions(lang.World{}))), slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "facts" }))
	require.True(t, slices.IsSorted(names))

	p := program(t, src.String(), lang.World{
		FS:       fstest.MapFS{"VERSION": {Data: []byte("v1.2\n")}, "src/main.c": {}, "src/util.c": {}},
		LookPath: func(name string) (string, bool) { return "/bin/" + name, name == "git" },
		Env:      func(name string) (string, bool) { return "true", name == "CI" },
		Digest:   func(string) (string, error) { return strings.Repeat("0", 64), nil },
	})
	for _, d := range docs {
		argv := planned(t, p, d.Name).Steps[0].Command.Argv
		require.Equal(t, argv[2], argv[1], d.Example)
	}

	const file = "../docs/language.md"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?s)(\| function \| is \| example \|\n\| --- \| --- \| --- \|\n)(.*?)(\n\n)`)
	want := rows.ReplaceAll(text, []byte("${1}"+strings.ReplaceAll(strings.TrimSuffix(table.String(), "\n"), "$", "$$")+"${3}"))
	if *update {
		require.NoError(t, os.WriteFile(file, want, 0o644))
	} else {
		require.Equal(t, string(want), string(text), "write the table anew with -update")
	}
	require.True(t, rows.Match(text))
}
