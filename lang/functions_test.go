package lang_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang"
)

// eval evaluates an expression in w.
func eval(t *testing.T, w lang.World, src string) (cty.Value, hcl.Diagnostics) {
	t.Helper()
	expr, diags := hclsyntax.ParseExpression([]byte(src), "f", hcl.InitialPos)
	require.False(t, diags.HasErrors(), diags)
	return expr.Value(&hcl.EvalContext{Functions: lang.Functions(w), Variables: map[string]cty.Value{
		"unknown": cty.UnknownVal(cty.String), "some": cty.ListVal([]cty.Value{cty.UnknownVal(cty.Bool), cty.False}),
		"param": cty.ObjectVal(map[string]cty.Value{"os": cty.StringVal("plan9"), "none": cty.NullVal(cty.String), "flag": cty.True, "later": cty.UnknownVal(cty.Number),
			"list": cty.ListVal([]cty.Value{cty.NumberIntVal(1)}), "token": cty.StringVal("hunter2").Mark("secret")}),
	}})
}

func TestPureFunctions(t *testing.T) {
	for src, want := range map[string]string{ // order: each is checked alone
		`abs(-1)`:                           `1`,
		`alltrue([])`:                       `true`,
		`alltrue([true, false])`:            `false`,
		`alltrue(some)`:                     `false`,
		`anytrue([])`:                       `false`,
		`anytrue([false, true])`:            `true`,
		`base64decode(base64encode("hé"))`:  `"hé"`,
		`basename("a/b.c")`:                 `"b.c"`,
		`dirname("a/b.c")`:                  `"a"`,
		`can(tonumber("x"))`:                `false`,
		`try(tonumber("x"), 5)`:             `5`,
		`ceil(1.2)`:                         `2`,
		`coalesce(null, "x")`:               `"x"`,
		`compact(["a", "", "b"])`:           `["a", "b"]`,
		`concat([1], [2])`:                  `[1, 2]`,
		`contains(["a"], "a")`:              `true`,
		`csvdecode("a,b\n1,2\n")[0].b`:      `"2"`,
		`distinct(["a", "a"])`:              `["a"]`,
		`element(["a", "b"], 3)`:            `"b"`,
		`endswith("a.c", ".c")`:             `true`,
		`startswith("a.c", "a")`:            `true`,
		`strcontains("abc", "b")`:           `true`,
		`flatten([["a"], ["b"]])`:           `["a", "b"]`,
		`format("%s-%03d", "a", 7)`:         `"a-007"`,
		`formatlist("-I%s", ["a", "b"])`:    `["-Ia", "-Ib"]`,
		`index(["a", "b"], "b")`:            `1`,
		`join(",", ["a", "b"])`:             `"a,b"`,
		`jsondecode("{\"a\":[1]}").a`:       `[1]`,
		`jsonencode({ b = 1, a = [true] })`: `"{\"a\":[true],\"b\":1}"`,
		`keys({ b = 1, a = 2 })`:            `["a", "b"]`,
		`length("日本")`:                      `2`,
		`length({ a = 1 })`:                 `1`,
		`length([1, 2, 3])`:                 `3`,
		`length(toset(["a", "a"]))`:         `1`,
		`lookup({ a = 1 }, "b", 2)`:         `2`,
		`max(1, 3, 2)`:                      `3`,
		`md5("")`:                           `"d41d8cd98f00b204e9800998ecf8427e"`,
		`merge({ a = 1 }, { b = 2 }).b`:     `2`,
		`one([5])`:                          `5`,
		`one([]) == null`:                   `true`,
		`parseint("ff", 16)`:                `255`,
		`range(3)`:                          `[0, 1, 2]`,
		`regex("[0-9]+", "a12b")`:           `"12"`,
		`replace("a.b.c", ".", "/")`:        `"a/b/c"`,
		`replace("a12b3", "/[0-9]+/", "#")`: `"a#b#"`,
		`reverse(["a", "b"])`:               `["b", "a"]`,
		`sha1("")`:                          `"da39a3ee5e6b4b0d3255bfef95601890afd80709"`,
		`substr(sha256(""), 0, 8)`:          `"e3b0c442"`,
		`substr(sha512(""), 0, 8)`:          `"cf83e135"`,
		`sort(["b", "a"])`:                  `["a", "b"]`,
		`split(",", "a,b")`:                 `["a", "b"]`,
		`sum([1, 2.5])`:                     `3.5`,
		`sum([])`:                           `0`,
		`title("go on")`:                    `"Go On"`,
		`tolist(toset(["b", "a"]))`:         `["a", "b"]`,
		`trimprefix("v1", "v")`:             `"1"`,
		`urlencode("a b&c")`:                `"a+b%26c"`,
		`zipmap(["a"], [1]).a`:              `1`,
		`[for k in setproduct(["a"], ["b", "c"]) : join("", k)]`: `["ab", "ac"]`,
	} {
		got, diags := eval(t, lang.World{}, src)
		require.False(t, diags.HasErrors(), "%s: %s", src, diags)
		same, more := eval(t, lang.World{}, want)
		require.False(t, more.HasErrors(), want)
		if got.Type().IsListType() || got.Type().IsTupleType() {
			require.Equal(t, same.LengthInt(), got.LengthInt(), src)
			for i, v := range same.AsValueSlice() {
				require.True(t, got.AsValueSlice()[i].RawEquals(v), src)
			}
			continue
		}
		require.True(t, got.RawEquals(same), "%s is %#v", src, got)
	}
}

// Every function says what it does, and a wrong argument is an error, never a panic.
func TestFunctionsRefuse(t *testing.T) {
	for name, f := range lang.Functions(lang.World{}) { // order: each is checked alone
		if name != "try" && name != "can" && !strings.HasPrefix(name, "to") {
			require.NotEmpty(t, f.Description(), name)
		}
		for _, arg := range []string{"null", "1", `"x"`, "[]", "{}", "unknown", "[unknown]", "[null]", "true", "some"} {
			for n := range 4 {
				args := strings.TrimSuffix(strings.Repeat(arg+", ", n), ", ")
				eval(t, lang.World{}, name+"("+args+")")
			}
		}
	}
	for _, src := range []string{`base64decode("%")`, `index(["a"], "b")`, `one([1, 2])`, `sum(["a"])`, `length(1)`, `length(null)`, `regex("(", "")`} {
		_, diags := eval(t, lang.World{}, src)
		require.True(t, diags.HasErrors(), src)
	}
}

func TestPureFunctionsAreTheSameEverywhere(t *testing.T) {
	names := func(w lang.World) []string { return slices.Sorted(maps.Keys(lang.Functions(w))) }
	require.Equal(t, names(lang.World{}), names(world(nil)))
}

// world is a small workspace; what is read is appended to readings.
func world(readings *[]lang.Reading) lang.World {
	w := lang.World{
		FS: fstest.MapFS{
			"go.mod":         {Data: []byte("module x\n")},
			"binary":         {Data: []byte{0xff, 0xfe}},
			"src/a.c":        {Data: []byte("a")},
			"src/b.c":        {Data: []byte("bb")},
			"src/b.h":        {Data: []byte("h")},
			"src/deep/c.c":   {Data: []byte("c")},
			"build/gen.c":    {Data: []byte("g")},
			"build/sub/x.c":  {Data: []byte("x")},
			".git/HEAD":      {Data: []byte("ref")},
			"src/build/no.c": {Data: []byte("n")},
		},
		Ignored: func(path string, dir bool) bool {
			return slices.ContainsFunc(strings.Split(path, "/"), func(p string) bool { return p == "build" || p == ".git" })
		},
		LookPath: func(name string) (string, bool) { return "/bin/" + name, name == "sh" },
		Env: func(name string) (string, bool) {
			v, ok := map[string]string{"CI": "true", "EMPTY": ""}[name]
			return v, ok
		},
		Digest: func(path string) (string, error) { return "digest of " + path, nil },
	}
	if readings != nil {
		w.Read = func(r lang.Reading) { *readings = append(*readings, r) }
	}
	return w
}

func TestReadingFunctions(t *testing.T) {
	for src, want := range map[string]string{ // order: each is checked alone
		`file("go.mod")`:                          `"module x\n"`,
		`file("./src/../go.mod")`:                 `"module x\n"`,
		`fileexists("src/a.c")`:                   `true`,
		`fileexists("src")`:                       `false`,
		`fileexists("nope/nope")`:                 `false`,
		`filesize("src/b.c")`:                     `2`,
		`filehash("src/b.c")`:                     `"digest of src/b.c"`,
		`executable("sh")`:                        `true`,
		`executable("nope")`:                      `false`,
		`env("CI")`:                               `"true"`,
		`env("NOPE")`:                             `""`,
		`env("NOPE", "x")`:                        `"x"`,
		`env("EMPTY", "x")`:                       `""`,
		`join(" ", fileset("src/*.c"))`:           `"src/a.c src/b.c"`,
		`join(" ", fileset("**/*.c"))`:            `"src/a.c src/b.c src/deep/c.c"`,
		`join(" ", fileset("src/**"))`:            `"src/a.c src/b.c src/b.h src/deep/c.c"`,
		`join(" ", fileset("src/{a,b}.[ch]"))`:    `"src/a.c src/b.c src/b.h"`,
		`join(" ", fileset("**/**/deep/**/*"))`:   `"src/deep/c.c"`,
		`join(" ", fileset("*/gen.c"))`:           `""`,
		`join(" ", fileset("build/*.c"))`:         `"build/gen.c"`,
		`join(" ", fileset("build/**"))`:          `"build/gen.c build/sub/x.c"`,
		`join(" ", fileset(".git/HEAD"))`:         `".git/HEAD"`,
		`join(" ", fileset("go.mod", "src/*.h"))`: `"go.mod src/b.h"`,
		`join(" ", fileset("src"))`:               `""`,
		`join(" ", fileset("nope/*.c"))`:          `""`,
		`length(fileset())`:                       `0`,
	} {
		got, diags := eval(t, world(nil), src)
		require.False(t, diags.HasErrors(), "%s: %s", src, diags)
		same, _ := eval(t, lang.World{}, want)
		require.True(t, got.RawEquals(same), "%s is %#v", src, got)
	}
	for src, want := range map[string]string{ // order: each is checked alone
		`file("nope")`:        "there is no file nope",
		`file("binary")`:      "not UTF-8",
		`file("/etc/passwd")`: "not a path inside the workspace",
		`file("src/../../x")`: "not a path inside the workspace",
		`file("")`:            "not a path inside the workspace",
		`fileset("../*")`:     "not a path inside the workspace",
		`fileset("[")`:        "not a valid pattern",
		`fileset("{a/b,c}")`:  "slash within braces",
		`filesize("src")`:     "there is no file src",
		`filehash("nope")`:    "there is no file nope",
		`env("A", "b", "c")`:  "at most one default",
	} {
		_, diags := eval(t, world(nil), src)
		require.True(t, diags.HasErrors(), src)
		require.Contains(t, diags.Error(), want, src)
	}
	for _, src := range []string{`file("x")`, `fileset("*")`, `executable("x")`, `env("x")`, `filehash("x")`} {
		_, diags := eval(t, lang.World{}, src)
		require.Contains(t, diags.Error(), "cannot be looked up here", src)
	}
	w := world(nil)
	w.Digest = func(string) (string, error) { return "", errors.New("input/output error") }
	_, diags := eval(t, w, `filehash("go.mod")`)
	require.Contains(t, diags.Error(), "input/output error")
}

// What functions read is told, in order, and looking again finds the same until the world changes.
func TestReadings(t *testing.T) {
	var readings []lang.Reading
	w := world(&readings)
	_, diags := eval(t, w, `[file("go.mod"), fileexists("nope"), filesize("src/a.c"), filehash("src/a.c"), executable("sh"), env("NOPE"), fileset("src/*.c")]`)
	require.False(t, diags.HasErrors())
	kinds := []string{}
	for _, r := range readings {
		kinds = append(kinds, r.Kind+" "+r.Name)
		again, err := w.Look(r.Kind, r.Name)
		require.NoError(t, err)
		require.Equal(t, r, again)
	}
	require.Equal(t, []string{"file go.mod", "exists nope", "size src/a.c", "hash src/a.c", "program sh", "env NOPE", "dir src"}, kinds)
	require.False(t, readings[1].Found)
	require.Equal(t, "/bin/sh", readings[4].Value)

	files := w.FS.(fstest.MapFS)
	files["src/new.c"] = &fstest.MapFile{}
	files["go.mod"] = &fstest.MapFile{Data: []byte("other")}
	for i, stale := range []bool{true, false, false, false, false, false, true} {
		again, err := w.Look(readings[i].Kind, readings[i].Name)
		require.NoError(t, err)
		require.Equal(t, stale, again != readings[i], kinds[i])
	}
	_, err := w.Look("nonsense", "x")
	require.Error(t, err)
}

// Errors of evaluation have codes, suggestions that are the same each time, and the values involved, but no secrets.
func TestFromHCL(t *testing.T) {
	one := func(src string) string {
		_, diags := eval(t, lang.World{}, src)
		require.True(t, diags.HasErrors(), src)
		d := lang.FromHCL(diags, lang.CodeEvaluation)[0]
		return d.Code + " " + d.Summary + " | " + d.Detail + " | " + d.Label
	}
	require.Equal(t, `JT2005 unknown function "uper" |  | did you mean upper?`, one(`uper("x")`))
	require.Contains(t, one(`param.arch`), "JT2004 unknown attribute")
	require.Contains(t, one(`vra.x`), "JT2004 unknown variable")
	require.Contains(t, one(`param.os * 2`), `JT2017 invalid operand`)
	require.Contains(t, one(`param.os * 2`), `param.os is "plan9"`)
	for value, want := range map[string]string{ // order: each is checked alone
		"param.none": "null", "param.flag": "true", "param.list": "a list(number)", "param.list[0]": "1",
	} {
		require.Contains(t, one(`fileset(`+value+`)`), value+" is "+want)
	}
	require.NotContains(t, one(`param.token * 2`), "hunter2")
	require.NotContains(t, one(`parseint(param.token, 10)`), "hunter2")
}
