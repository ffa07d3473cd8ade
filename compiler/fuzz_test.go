package compiler_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
)

// Whatever is written, compiling and planning end and say the same when asked again, and a plan's edges lead backwards.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(f, err)
	for _, name := range files {
		a, err := txtar.ParseFile(name)
		require.NoError(f, err)
		f.Add(string(a.Files[0].Data))
	}
	world := lang.World{FS: fstest.MapFS{"a.md": {}, "pages/a.md": {}}, LookPath: func(string) (string, bool) { return "", false }, Env: func(string) (string, bool) { return "", false }}
	f.Fuzz(func(t *testing.T, src string) {
		m, known := lang.Parse([]lang.File{{Name: "in.jitos.hcl", Text: []byte(src)}})
		o := compiler.Options{World: world, Known: known}
		p, ds := compiler.Compile(m, o)
		_, again := compiler.Compile(m, o)
		require.Equal(t, ds, again)
		if ds.HasErrors() || known.HasErrors() {
			return
		}
		for _, target := range p.Targets() {
			pl, err := p.Plan(t.Context(), compiler.Intent{Target: target.Kind + "." + target.Name}, warp.Graph{}, nil, 0)
			if err != nil {
				require.NotEmpty(t, err.Error())
				continue
			}
			ids := map[string]bool{}
			for i, s := range pl.Steps {
				require.False(t, ids[s.ID], "step %s is there twice", s.ID)
				ids[s.ID] = true
				require.Contains(t, p.Rules(), s.Rule)
				for _, e := range s.After {
					require.Less(t, e.Step, i)
				}
			}
		}
	})
}

// Whatever the expression, it is evaluated or told why not, the same each time, and a value is one that can be written.
func FuzzExpression(f *testing.F) {
	for _, d := range lang.FunctionDocs() {
		f.Add(d.Example)
	}
	f.Add(`[for k, v in { a = 1 } : "${k}-${v}" if v > 0]...`)
	f.Add(`var.v[*].x ? -local.l : !("a" == null) || 1 / 0 > 2`)
	world := lang.World{FS: fstest.MapFS{"VERSION": {Data: []byte("v1.2\n")}}, LookPath: func(string) (string, bool) { return "", false }, Env: func(string) (string, bool) { return "", false }}
	f.Fuzz(func(t *testing.T, src string) {
		text := "variable \"v\" { default = { x = [1] } }\nlocals {\n  l = \"l\"\n  x = " + src + "\n}\ntask \"t\" { run = jsonencode(local.x) }\n"
		once := func() string {
			m, known := lang.Parse([]lang.File{{Name: "f", Text: []byte(text)}})
			p, ds := compiler.Compile(m, compiler.Options{World: world, Known: known})
			if all := append(known, ds...); all.HasErrors() {
				return all.Err().Error()
			}
			pl, err := p.Plan(t.Context(), compiler.Intent{Target: "t"}, warp.Graph{}, nil, 0)
			if err != nil {
				return err.Error()
			}
			require.True(t, json.Valid([]byte(pl.Steps[0].Command.Script)), pl.Steps[0].Command.Script)
			return pl.Steps[0].Command.Script
		}
		require.Equal(t, once(), once())
	})
}
