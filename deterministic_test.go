package jitos_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// These packages give the same result for the same input, on any machine and at any time.
var deterministic = []string{"lang", "compiler", "compiler/htn", "compiler/plan", "warp", "warp/cbor"}

// outside are packages that reach outside of a computation, with the functions that do; none listed: all of it does.
var outside = map[string][]string{
	"time":          {"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"},
	"math/rand":     nil,
	"math/rand/v2":  nil,
	"crypto/rand":   nil,
	"hash/maphash":  nil,
	"os":            nil,
	"os/exec":       nil,
	"os/user":       nil,
	"os/signal":     nil,
	"io/ioutil":     nil,
	"net":           nil,
	"net/http":      nil,
	"syscall":       nil,
	"path/filepath": {"Abs", "EvalSymlinks", "Glob", "Walk", "WalkDir"},
	"runtime":       {"NumCPU", "GOMAXPROCS", "NumGoroutine", "Caller", "Callers"},
	"unsafe":        nil,
}

// impure finds what makes a type-checked package depend on more than its input: clocks, randomness, the environment, files,
// and ranges over maps that no comment `// order: why it does not matter` excuses.
func impure(fset *token.FileSet, files []*ast.File, info *types.Info) (out []string) {
	report := func(pos token.Pos, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: %s", fset.Position(pos), fmt.Sprintf(format, args...)))
	}
	for _, f := range files {
		excused := map[int]bool{}
		for _, g := range f.Comments {
			for _, c := range g.List {
				if reason, ok := strings.CutPrefix(c.Text, "// order:"); ok && strings.TrimSpace(reason) != "" {
					line := fset.Position(c.Pos()).Line
					excused[line], excused[line+1] = true, true
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				use := info.Uses[n]
				if use == nil || use.Pkg() == nil || use.Parent() != use.Pkg().Scope() {
					break // fields, methods, locals
				}
				if names, ok := outside[use.Pkg().Path()]; ok && (names == nil || slices.Contains(names, use.Name())) {
					report(n.Pos(), "%s.%s reaches outside", use.Pkg().Path(), use.Name())
				}
			case *ast.RangeStmt:
				if what := unordered(n.X, info); what != "" && !excused[fset.Position(n.Pos()).Line] {
					report(n.Pos(), "range over %s without a comment that says why its order does not matter", what)
				}
			}
			return true
		})
	}
	return out
}

// unordered says what x is when ranging over it has a random order.
func unordered(x ast.Expr, info *types.Info) string {
	if t := info.TypeOf(x); t != nil {
		if _, ok := t.Underlying().(*types.Map); ok {
			return "a map"
		}
	}
	if c, ok := x.(*ast.CallExpr); ok {
		if s, ok := c.Fun.(*ast.SelectorExpr); ok {
			if use := info.Uses[s.Sel]; use != nil && use.Pkg() != nil && use.Pkg().Path() == "maps" {
				return "maps." + s.Sel.Name
			}
		}
	}
	return ""
}

// check type-checks files whose imports are found by export data.
func check(t *testing.T, path string, fset *token.FileSet, files []*ast.File, exports map[string]string) *types.Info {
	t.Helper()
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	_, err := conf.Check(path, fset, files, info)
	require.NoError(t, err)
	return info
}

// listed is what the go command knows about packages and all they import.
func listed(t *testing.T, patterns ...string) (exports map[string]string, files map[string][]string) {
	t.Helper()
	args := append([]string{"list", "-deps", "-export", "-json=ImportPath,Export,Dir,GoFiles"}, patterns...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	text, err := cmd.Output()
	require.NoError(t, err)
	exports, files = map[string]string{}, map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(text))); ; {
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
		}
		if err := d.Decode(&p); err == io.EOF {
			return exports, files
		} else {
			require.NoError(t, err)
		}
		exports[p.ImportPath] = p.Export
		for _, f := range p.GoFiles {
			files[p.ImportPath] = append(files[p.ImportPath], filepath.Join(p.Dir, f))
		}
	}
}

func TestPurePhasesDependOnTheirInputAlone(t *testing.T) {
	var patterns []string
	for _, p := range deterministic {
		patterns = append(patterns, "./"+p)
	}
	exports, sources := listed(t, patterns...)
	for _, p := range deterministic {
		t.Run(p, func(t *testing.T) {
			fset := token.NewFileSet()
			var files []*ast.File
			require.NotEmpty(t, sources[module+"/"+p])
			for _, name := range sources[module+"/"+p] {
				f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
				require.NoError(t, err)
				files = append(files, f)
			}
			require.Empty(t, impure(fset, files, check(t, module+"/"+p, fset, files, exports)))
		})
	}
}

func TestImpurityIsFound(t *testing.T) {
	exports, _ := listed(t, "time", "os", "maps", "slices", "math/rand/v2", "path/filepath")
	tests := map[string]struct {
		body string
		want int
	}{
		"a clock":                       {`_ = time.Now()`, 1},
		"a clock as a value":            {`f := time.Since; _ = f`, 1},
		"a duration is no clock":        {`_ = time.Second`, 0},
		"a method is no function of it": {`_ = time.Duration(1).Seconds()`, 0},
		"the environment":               {`_ = os.Getenv("HOME")`, 1},
		"a file":                        {`_, _ = os.ReadFile("x")`, 1},
		"a walk":                        {`_ = filepath.WalkDir("x", nil)`, 1},
		"a path":                        {`_ = filepath.Base("x")`, 0},
		"randomness":                    {`_ = rand.IntN(3)`, 1},
		"a range over a map":            {`for range m {}`, 1},
		"a range over a named map":      {`for k := range named(m) { _ = k }`, 1},
		"a range over its keys":         {`for k := range maps.Keys(m) { _ = k }`, 1},
		"a range over sorted keys":      {`for _, k := range slices.Sorted(maps.Keys(m)) { _ = k }`, 0},
		"a range over a slice":          {`for range []int{} {}`, 0},
		"an excuse on the line":         {"for range m { // order: counts\n}", 0},
		"an excuse above":               {"// order: counts\nfor range m {}", 0},
		"an excuse without a reason":    {"// order:\nfor range m {}", 1},
		"an excuse too far away":        {"// order: counts\n\nfor range m {}", 1},
	}
	const head = "package p\nimport (\"maps\"; \"math/rand/v2\"; \"os\"; \"path/filepath\"; \"slices\"; \"time\")\n" +
		"type named map[string]int\nvar _ = []any{maps.Clone[named], rand.Source(nil) == nil, os.Args, filepath.Ext, slices.Max[[]int], time.UTC}\n"
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, "p.go", head+"func f(m map[string]int) {\n"+tt.body+"\n}\n", parser.ParseComments)
			require.NoError(t, err)
			got := impure(fset, []*ast.File{f}, check(t, "p", fset, []*ast.File{f}, exports))
			got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "p.go:4:") }) // the head itself
			require.Len(t, got, tt.want, "%v", got)
		})
	}
}
