package compiler_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
)

var update = flag.Bool("update", false, "rewrite the out/ sections of testdata")

// The comment of an archive says what is asked, a line each:
//
//	var NAME VALUE        a module variable
//	program NAME          is on the PATH
//	answer FACT "TEXT"    what the fact's probe answers, as Go writes it; without any such line nobody is asked
//	secret ENV VALUE      a variable that secrets are read from
//	fact REL ARG…         a kept fact, with texts as arguments
//	plan TARGET K=V…      a plan to make; `plan` alone is the default target, and what is made without any such line
//	fail STEP             the step of the last plan failed: plan again without its ground method
//	result STEP VALUE     the step gave this: plan again with it. What waited for nothing else is shown filled in
//
// Other lines say what the case is about. Files that do not end in .jitos.hcl and are not below out/ are the workspace.
func TestPhases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			require.NoError(t, err)
			c := parse(a)
			diagnostics, plans := c.run(t)
			out := map[string]string{}
			if diagnostics != "" {
				out["out/diagnostics"] = diagnostics
			}
			if plans != "" {
				out["out/plan"] = plans
			}
			got := c.archive(out)
			if *update {
				require.NoError(t, os.WriteFile(name, got, 0o644))
				return
			}
			want, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

type phase struct {
	comment []byte
	files   []txtar.File
	module  fstest.MapFS
	std     fstest.MapFS
	world   lang.World
	secrets map[string]string
	answers map[string]string
	vars    map[string]compiler.Given
	facts   []warp.Op
	ask     [][]string
}

func parse(a *txtar.Archive) *phase {
	c := &phase{comment: a.Comment, secrets: map[string]string{}, module: fstest.MapFS{}, std: fstest.MapFS{}, vars: map[string]compiler.Given{}}
	fsys := fstest.MapFS{}
	for _, f := range a.Files {
		switch {
		case strings.HasPrefix(f.Name, "out/"):
			continue
		case strings.HasSuffix(f.Name, ".jitos.hcl"):
			if name, std := strings.CutPrefix(f.Name, "std/"); std {
				c.std[name] = &fstest.MapFile{Data: f.Data}
			} else {
				c.module[f.Name] = &fstest.MapFile{Data: f.Data}
			}
		default:
			fsys[f.Name] = &fstest.MapFile{Data: f.Data}
		}
		c.files = append(c.files, f)
	}
	programs := map[string]bool{}
	c.world = lang.World{
		FS:       fsys,
		LookPath: func(name string) (string, bool) { return "/bin/" + name, programs[name] },
		Env:      func(string) (string, bool) { return "", false },
		Digest:   func(name string) (string, error) { return "digest of " + name, nil },
	}
	for line := range strings.Lines(string(a.Comment)) {
		switch f := strings.Fields(line); {
		case len(f) == 0:
		case f[0] == "var":
			c.vars[f[1]] = compiler.Given{Text: strings.Join(f[2:], " "), From: "--var"}
		case f[0] == "answer":
			text, err := strconv.Unquote(strings.TrimSpace(strings.SplitN(line, " ", 3)[2]))
			if err != nil {
				panic(err)
			}
			if c.answers == nil {
				c.answers = map[string]string{}
			}
			c.answers[f[1]] = text
		case f[0] == "secret":
			c.secrets[f[1]] = f[2]
		case f[0] == "program":
			programs[f[1]] = true
		case f[0] == "fact":
			args := []any{}
			for _, a := range f[2:] {
				args = append(args, a)
			}
			n, err := warp.Fact(f[1], args...)
			if err != nil {
				panic(err)
			}
			c.facts = append(c.facts, warp.AddNode(n))
		case f[0] == "plan", f[0] == "fail", f[0] == "result":
			c.ask = append(c.ask, f)
		}
	}
	if c.ask == nil {
		c.ask = [][]string{{"plan"}}
	}
	return c
}

func (c *phase) archive(out map[string]string) []byte {
	a := &txtar.Archive{Comment: c.comment, Files: c.files}
	for _, name := range []string{"out/diagnostics", "out/plan"} {
		if text, ok := out[name]; ok {
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
		}
	}
	return txtar.Format(a)
}

// run compiles and plans. It does so twice: both have to say the same.
func (c *phase) run(t *testing.T) (diagnostics, plans string) {
	m, syntax := lang.Load(c.module, ".", c.std)
	p, more := compiler.Compile(m, compiler.Options{Vars: c.vars, World: c.world, Known: syntax, Answers: c.answers, Secret: func(n string) (string, bool) { v, ok := c.secrets[n]; return v, ok }})
	require.Equal(t, more.Sorted(), more)
	show := func(l diag.List) string {
		var b bytes.Buffer
		require.NoError(t, diag.Printer{Source: m.Source, Max: 100}.Print(&b, l))
		return strings.TrimRight(b.String(), "\n") + "\n"
	}
	if all := append(syntax, more...).Sorted(); len(all) > 0 {
		return show(all), ""
	}
	var b strings.Builder
	if c.answers == nil {
		for _, f := range c.ask {
			in := compiler.Intent{}
			if len(f) > 1 {
				in.Target = f[1]
			}
			probes, err := p.Probes(in)
			if err != nil {
				continue // which planning says too
			}
			for _, x := range probes {
				fmt.Fprintf(&b, "%s: probe %s: %q %q, again: %v\n", strings.Join(f, " "), x.Fact, x.Step.Command.Script, x.Step.Command.Argv, x.Again)
			}
		}
		if b.Len() > 0 {
			return "", b.String()
		}
	}
	facts, err := warp.Graph{}.Apply(warp.Rewrite{Ops: c.facts})
	require.NoError(t, err)
	var in compiler.Intent
	var excluded []plan.Excluded
	var last *plan.Plan
	for _, f := range c.ask {
		if f[0] == "result" {
			in.Results = maps.Clone(in.Results)
			if in.Results == nil {
				in.Results = map[string]string{}
			}
			in.Results[f[1]] = strings.Join(f[2:], " ")
			fmt.Fprintf(&b, "result of %s: %s\n", f[1], in.Results[f[1]])
			for i := range last.Steps {
				if s := &last.Steps[i]; s.Fill != nil && !slices.ContainsFunc(s.Waits, func(id string) bool { _, ok := in.Results[id]; return !ok }) {
					filled, err := s.Fill(in.Results)
					if err != nil {
						fmt.Fprintf(&b, "%s cannot be filled in: %v\n", s.ID, err)
						continue
					}
					fmt.Fprintf(&b, "filled in: %s %q %q %q\n", filled.ID, filled.Command.Script, filled.Command.Argv, filled.Command.Env)
				}
			}
		} else if f[0] == "fail" {
			i := -1
			for k := range last.Steps {
				if last.Steps[k].ID == f[1] {
					i = k
				}
			}
			require.GreaterOrEqual(t, i, 0, "no step %s", f[1])
			x, ok := p.Exclude(last, i, "exit 1")
			fmt.Fprintf(&b, "failed: %s, way out: %v\n", x.Node.Task+" "+x.Node.Method, ok)
			excluded = append(excluded, x)
		} else {
			in, excluded = compiler.Intent{Args: map[string]string{}}, nil
			if len(f) > 1 {
				in.Target = f[1]
			}
			for _, kv := range f[min(2, len(f)):] {
				k, v, _ := strings.Cut(kv, "=")
				in.Args[k] = v
			}
		}
		last, err = p.Plan(t.Context(), in, facts, excluded, 0)
		again, errAgain := p.Plan(t.Context(), in, facts, excluded, 0)
		if err == nil {
			require.NoError(t, errAgain)
			require.Equal(t, render(last), render(again))
			b.WriteString(render(last))
			continue
		}
		require.EqualError(t, errAgain, err.Error())
		if no, ok := errors.AsType[*compiler.NoPlanError](err); ok {
			b.WriteString(show(no.Diagnostics()))
		} else if no, ok := errors.AsType[*compiler.RefusedError](err); ok {
			b.WriteString("refused\n" + show(no.Diagnostics()))
		} else if l, ok := errors.AsType[*diag.ListError](err); ok {
			b.WriteString(show(l.List))
		} else {
			fmt.Fprintf(&b, "error: %v\n", err)
		}
	}
	return "", b.String()
}

// render is a plan for people who read tests.
func render(p *plan.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "plan %s", p.Target)
	if p.Candidate > 0 {
		fmt.Fprintf(&b, "   candidate %d", p.Candidate)
	}
	b.WriteString("\n")
	depth := make([]int, len(p.Tree))
	for i, n := range p.Tree[1:] {
		depth[i+1] = depth[n.Parent] + 1
		fmt.Fprintf(&b, "%s%s", strings.Repeat("  ", depth[i+1]), n.Task)
		if n.Name != "" {
			fmt.Fprintf(&b, " as %s", n.Name)
		}
		if n.Method != "" {
			fmt.Fprintf(&b, " by %s", n.Method)
		}
		b.WriteString("\n")
	}
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "- %s", s.ID)
		if s.Criterion != "" {
			fmt.Fprintf(&b, "   for success %q", s.Criterion)
		}
		b.WriteString("\n")
		line := func(name string, format string, args ...any) {
			fmt.Fprintf(&b, "    %-7s %s\n", name, fmt.Sprintf(format, args...))
		}
		for _, e := range s.After {
			line("after", "%s", strings.TrimSpace(fmt.Sprintf("%s: %s %s", p.Steps[e.Step].ID, e.Why, e.Detail)))
		}
		if s.Rule != s.ID {
			line("rule", "%s", s.Rule)
		}
		for _, a := range s.Params {
			line("param", "%s %q", a.Name, a.Value)
		}
		for _, w := range s.When {
			line("when", "%s", w.Text)
		}
		for _, w := range s.Waits {
			line("waits", "for the result of %s", w)
		}
		if s.Result.Of != "" {
			line("result", "%s %s", s.Result.Of, s.Result.Path)
		}
		if s.Placeholder() {
			continue
		}
		hide := func(list []string) (out []string) {
			for _, s := range list {
				out = append(out, p.Mask().Text(s))
			}
			return out
		}
		if p.Mask == nil {
			hide = func(list []string) []string { return list }
		}
		for _, g := range s.Secrets {
			line("secret", "%s as %q from %q, set: %v", g.Shown, g.Env, g.From, g.Set)
		}
		if s.Command.Script != "" {
			line("run", "%q %s", hide([]string{s.Command.Script})[0], s.Command.Shell)
		} else {
			line("exec", "%q", hide(s.Command.Argv))
		}
		if s.Command.Dir != "." {
			line("dir", "%s", s.Command.Dir)
		}
		for _, v := range s.Command.Env {
			line("env", "%s=%s", v.Name, hide([]string{v.Value})[0])
		}
		if s.Inputs != nil {
			line("in", "%v", s.Inputs.Patterns)
			for _, i := range s.Inputs.Steps {
				line("in", "outputs of %s", p.Steps[i].ID)
			}
		}
		if s.Outputs != nil {
			line("out", "%v", s.Outputs.Patterns)
		}
		for _, c := range s.Caches {
			line("cache", "%s %s", c.Env, c.Name)
		}
		if s.DepsFile != "" {
			line("deps", "%s", s.DepsFile)
		}
		if s.Tools != nil {
			line("tools", "%v", s.Tools)
		}
		if s.Timeout != 0 {
			line("timeout", "%v", s.Timeout)
		}
		if s.Command.Stdin != "" {
			line("stdin", "%q", s.Command.Stdin)
		}
		if r := s.Retry; r.Attempts != 0 {
			line("retry", "%d, backoff %v, at most %v, jitter %v, exits %v", r.Attempts, r.Backoff, r.MaxDelay, r.Jitter, r.OnExit)
		}
		if s.NoCache {
			line("cache", "never")
		}
		for _, l := range s.Later {
			line("later", "%s %s", l.What, l.Value)
		}
		if a := s.Allow; a.Network || a.ReadOnly != nil || a.Write != nil || a.Env != nil {
			line("allow", "network %v, ro %v, rw %v, env %v", a.Network, a.ReadOnly, a.Write, a.Env)
		}
	}
	for _, c := range p.Success {
		fmt.Fprintf(&b, "success %q: %s\n", c.Name, c.Text)
	}
	if p.Scope != nil {
		fmt.Fprintf(&b, "scope %v without %v\n", p.Scope.Include, p.Scope.Exclude)
	}
	if p.Hold {
		b.WriteString("hold\n")
	}
	for _, l := range p.Later {
		fmt.Fprintf(&b, "later %s %s\n", l.What, l.Value)
	}
	return b.String()
}
