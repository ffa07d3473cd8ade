package just_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
	"github.com/flyingrobots/jitos/cmd/internal/convert/just"
	"github.com/flyingrobots/jitos/lang"
)

func translate(text string) (string, error) {
	w := convert.New()
	_, err := just.Read(w, fstest.MapFS{"justfile": {Data: []byte(text)}, "more.just": {Data: []byte("more:\n  echo more\n")}}, "justfile")
	return w.HCL("head"), err
}

// FuzzRead: what can be read becomes a workflow that parses.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"set shell := [\"bash\", \"-uc\"]\nv := \"1\" + `date`\na x='1' *y: (b x) && c\n    @echo {{x}} '{{v}}' \\\n      more\n    -false\nb z:\nc:\n",
		"import 'more.just'\nalias m := more\n[private]\n[doc('x')]\na:\n  #!/usr/bin/env python3\n  print(\"\"\"${x}\"\"\")\n",
		"x := if os() == \"linux\" { 'a' } else if y =~ 'b' { \"c\\n\" } else { join('a', y) }\ny := env('Y', \"${\") / 'd'\na:\n  cd {{x}} # it's\n  just b\nb: a\n",
		"a: a\n  echo ${{ '{{' }}\n",
		"a +b='x y':\n\techo {{b}}%{x} $$ <<EOF\n\tEOF\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := translate(text)
		if err != nil {
			return
		}
		formatted, diags := lang.Format("main.jitos.hcl", []byte(out))
		require.Empty(t, diags, out)
		_, diags = lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: formatted}})
		if strings.Contains(out, "\ntask ") {
			require.Empty(t, diags, out)
		}
	})
}

func TestWhatIsNotTranslatedIsRunByJust(t *testing.T) {
	tests := map[string]struct{ file, reason string }{
		"an unknown function":            {"a:\n  echo {{uuid()}}\n", "the function uuid"},
		"positional arguments":           {"set positional-arguments\na *x:\n  echo \"$@\"\n", "set positional-arguments"},
		"another shell":                  {"set shell := [\"nu\", \"-c\"]\na:\n  ls\n", `set shell := ["nu" "-c"]`},
		"an attribute that changes it":   {"[extension('.x')]\na:\n  #!/bin/sh\n  true\n", "[extension]"},
		"an interpreter without scripts": {"a:\n  #!/usr/bin/env deno\n  x\n", "the interpreter deno"},
		"a recipe of a module":           {"mod x\na: x::b\n", "it depends on x::b, which is not in this file"},
		"a command for a dependency":     {"a: (b `date`)\nb x:\n  echo {{x}}\n", "the output of a command outside of a script"},
		"a circle":                       {"a: b\nb: a\n", "it comes back to itself"},
		"an operator on a command":       {"a:\n  echo {{uppercase(`date`)}}\n", "an expression over what is only known as a command runs"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := translate(tt.file)
			require.NoError(t, err)
			require.Contains(t, out, "# Not translated: "+tt.reason+". just runs it.\ntask \"a\" {")
			require.Contains(t, out, `"just", "a"`)
		})
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	tests := map[string]struct{ file, want string }{
		"no recipe":         {"a:\n  true\nnonsense\n", `justfile:3: "nonsense" is neither a recipe nor a setting nor an assignment`},
		"an open string":    {"x := 'a\n", "justfile:1: ' is not closed"},
		"a broken choice":   {"x := if a { b }\n", "justfile:1: a comparison is missing"},
		"mixed indentation": {"a:\n    true\n  false\n", "justfile:3: this line is indented otherwise than the first line of its recipe"},
		"a bad escape":      {"x := \"\\q\"\n", `justfile:1: \q is not an escape`},
		"an import":         {"import 'nothing.just'\n", "justfile:1: "},
		"not UTF-8":         {"a:\n  echo \xff\n", "justfile is not UTF-8 text"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := translate(tt.file)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
