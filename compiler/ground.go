package compiler

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// output is what a pattern of outputs is called.
const output = "an output"

// defaultShell runs scripts where the module does not name another.
var defaultShell = []string{"sh", "-euc"}

// fill evaluates all that a step consists of. With unknown arguments it only checks types.
func (b *build) fill(t *lang.Task, name string, in env) *ground {
	g := &ground{whole: true, step: plan.Step{Action: &plan.Action{
		Task: t.Name, Description: t.Description, Range: t.Range, Rule: name, NoCache: t.NoCache,
	}}}
	s := &g.step
	b.public(in, "a path", t.Inputs, t.Outputs, t.Dir, t.DepsFile)
	b.public(in, "what is written down", t.Caches, t.Tools, t.Timeout, t.Result)
	if a := t.Allow; a != nil {
		b.public(in, "what is allowed", a.Network, a.ReadPaths, a.WritePaths, a.Env)
	}
	known := func(x hcl.Expression, ok bool) bool {
		g.whole = g.whole && (ok || x == nil)
		return ok
	}
	if list, ok := b.list(t.Outputs, in); known(t.Outputs, ok) {
		s.Outputs = &plan.Files{Patterns: b.patterns(list, t.Outputs, in, output)}
		g.outputs = s.Outputs.Patterns
	}
	if t.Inputs != nil {
		known(t.Inputs, b.inputs(g, t.Inputs, in))
	}
	in = in.with("self", cty.ObjectVal(map[string]cty.Value{
		"inputs": patternList(s.Inputs, t.Inputs), "outputs": patternList(s.Outputs, t.Outputs),
	}))
	names := b.spelling(in, func() []string { return texts(in["self"], nil) }, t.Run, t.Exec, t.Inputs, t.Outputs, t.Dir, t.DepsFile, t.Env)
	if script, ok := b.text(t.Run, in); known(t.Run, ok) {
		s.Command.Script, s.Command.Shell = names.words(script), b.shell()
		b.noZero(t.Run, script)
	}
	if argv, ok := b.list(t.Exec, in); known(t.Exec, ok) {
		if s.Command.Argv = argv; len(argv) == 0 || argv[0] == "" {
			b.fail(lang.CodeShape, place(t.Exec), "exec names no program", `Write exec = ["PROGRAM", "ARGUMENT", …].`)
		}
		b.noZero(t.Exec, argv...)
		for i, a := range argv {
			argv[i] = names.words(a)
		}
	}
	s.Command.Dir = "."
	if dir, ok := b.text(t.Dir, in); known(t.Dir, ok) {
		s.Command.Dir = b.inside(names.words(dir), place(t.Dir), "the directory of a step")
	}
	if file, ok := b.text(t.DepsFile, in); known(t.DepsFile, ok) {
		s.DepsFile = b.inside(names.words(file), place(t.DepsFile), "a deps_file")
	}
	if t.Result != nil {
		r, ok := b.resultOf(t, in)
		known(t.Result, ok)
		s.Result = r
	}
	if d, ok := b.text(t.Timeout, in); known(t.Timeout, ok) {
		var err error
		if s.Timeout, err = lang.Duration(d); err != nil || s.Timeout <= 0 {
			b.bad[t.Timeout] = true
			b.fail(lang.CodeShape, place(t.Timeout), fmt.Sprintf("%q is not a timeout", d), `Write a duration such as "90s" or "10m".`)
		}
	}
	vars, ok := b.table(t.Env, in)
	known(t.Env, ok)
	for _, v := range vars {
		b.variable(t.Env, v[0])
		b.noZero(t.Env, v[1])
		s.Command.Env = append(s.Command.Env, plan.Var{Name: v[0], Value: names.words(v[1])})
	}
	caches, ok := b.table(t.Caches, in)
	known(t.Caches, ok)
	for _, c := range caches {
		b.variable(t.Caches, c[0])
		if !fs.ValidPath(c[1]) || c[1] == "." {
			b.bad[t.Caches] = true
			b.fail(lang.CodeShape, place(t.Caches), fmt.Sprintf("%q is not the name of a cache", c[1]), `Write a name such as "go-build": a directory of that name is kept with your other caches.`)
		}
		s.Caches = append(s.Caches, plan.Cache{Env: c[0], Name: c[1]})
	}
	if tools, ok := b.list(t.Tools, in); known(t.Tools, ok) {
		s.Tools = tools
	}
	if a := t.Allow; a != nil {
		if a.Network != nil {
			s.Allow.Network, ok = b.flag(a.Network, in)
			known(a.Network, ok)
		}
		if a.Containers != nil {
			s.Allow.Containers, ok = b.flag(a.Containers, in)
			known(a.Containers, ok)
		}
		s.Allow.ReadOnly, ok = b.list(a.ReadPaths, in)
		known(a.ReadPaths, ok)
		s.Allow.Write, ok = b.list(a.WritePaths, in)
		known(a.WritePaths, ok)
		s.Allow.Env, ok = b.list(a.Env, in)
		known(a.Env, ok)
	}
	s.Secrets = b.grants(t, in)
	for _, c := range b.conjuncts(t.When) {
		if b.atStart(c) {
			s.When = append(s.When, b.check("", c, in))
		}
	}
	if t.Stdin != nil {
		s.Command.Stdin, ok = b.text(t.Stdin, in)
		known(t.Stdin, ok)
	}
	s.Retry = b.retry(t.Retry, in)
	s.Later = b.later(t, in)
	for i, mask := 0, b.hidden.mask(); i < len(s.Later); i++ {
		s.Later[i].Value = mask.Text(s.Later[i].Value)
	}
	return g
}

// retry evaluates a retry block, which may be nil.
func (b *build) retry(r *lang.Retry, in env) (out plan.Retry) {
	if r == nil {
		return out
	}
	each := func(name string, x hcl.Expression, k kind, take func(cty.Value)) {
		if x == nil {
			return
		}
		if v, ok := b.fitting(in, setting{name, x, k}); ok && v.IsWhollyKnown() {
			take(v)
		}
	}
	whole := func(v cty.Value) int { n, _ := v.AsBigFloat().Int64(); return int(n) }
	duration := func(to *time.Duration) func(cty.Value) {
		return func(v cty.Value) { *to, _ = lang.Duration(v.AsString()) } // it fits
	}
	each("attempts", r.Attempts, aCount, func(v cty.Value) { out.Attempts = whole(v) })
	each("backoff", r.Backoff, aDuration, duration(&out.Backoff))
	each("max_delay", r.MaxDelay, aDuration, duration(&out.MaxDelay))
	each("jitter", r.Jitter, aFraction, func(v cty.Value) { out.Jitter, _ = v.AsBigFloat().Float64() })
	each("on_exit", r.OnExit, exitCodes, func(v cty.Value) {
		for _, e := range v.AsValueSlice() {
			out.OnExit = append(out.OnExit, whole(e))
		}
	})
	return out
}

// noZero reports text that cannot be given to a command.
func (b *build) noZero(x hcl.Expression, texts ...string) {
	for _, s := range texts {
		if strings.Contains(s, "\x00") && !b.bad[x] {
			b.bad[x] = true
			b.fail(lang.CodeShape, place(x), "there is a zero byte in it", "What a command is given ends at the first one: leave it out.")
		}
	}
}

// variable reports what cannot be the name of an environment variable.
func (b *build) variable(x hcl.Expression, name string) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		b.bad[x] = true
		b.fail(lang.CodeShape, place(x), fmt.Sprintf("%q is not the name of an environment variable", name), "Such a name has a character at least, and no =.")
	}
}

func (b *build) shell() []string {
	if s := b.u.module.Settings.Shell; s != nil {
		return s
	}
	return defaultShell
}

// inputs splits inputs into patterns and tasks.
func (b *build) inputs(g *ground, x hcl.Expression, in env) bool {
	v, ok := b.value(x, in)
	if !ok {
		return false
	}
	refs, err := references(v, x)
	switch {
	case errors.Is(err, errUnknown):
		return false
	case err != nil:
		b.bad[x] = true
		b.fail(lang.CodeEvaluation, place(x), "wrong type of inputs", sentence(err.Error())+" Inputs are paths, patterns and tasks.")
		return false
	}
	g.step.Inputs = &plan.Files{Patterns: []string{}}
	var literals []string
	for _, r := range refs {
		if p, ok := plan.Path(r.pattern); ok && !r.isTask {
			if literals = append(literals, p); b.world.OnDisk(p) != p {
				b.found(b.world.OnDisk(p))
			}
		}
	}
	names := b.spelling(in, func() []string { return literals }, x)
	for _, r := range refs {
		if r.isTask {
			g.refs = append(g.refs, r)
		} else if p, ok := b.pattern(names.pattern(r.pattern), r.at, "an input"); ok {
			g.step.Inputs.Patterns = append(g.step.Inputs.Patterns, p)
		}
	}
	return true
}

func patternList(f *plan.Files, x hcl.Expression) cty.Value {
	switch {
	case f != nil:
		var shown []string
		for _, p := range f.Patterns {
			shown = append(shown, plan.Shown(p))
		}
		return stringList(shown)
	case x == nil:
		return cty.ListValEmpty(cty.String)
	}
	return cty.UnknownVal(cty.List(cty.String))
}

func (b *build) patterns(list []string, x hcl.Expression, in env, what string) []string {
	out := []string{}
	names := b.spelling(in, func() []string { return nil }, x)
	for i, p := range list {
		if p, ok := b.pattern(names.pattern(p), item(x, i), what); ok {
			out = append(out, p)
		}
	}
	return out
}

// pattern is p in canonical form; a trailing slash stays.
func (b *build) pattern(p string, at diag.Range, what string) (string, bool) {
	clean := path.Clean(p)
	switch {
	case p == "":
		b.fail(lang.CodeShape, at, what+" is empty", "Write a path or a pattern relative to the workspace.")
		return "", false
	case path.IsAbs(p), clean == "..", strings.HasPrefix(clean, "../"), slices.Contains(strings.Split(p, "/"), ".."):
		b.fail(CodeOutside, at, fmt.Sprintf("%s is outside the workspace: %s", what, p), "Paths are relative to the workspace. Grant other places with allow { paths = { … } }.")
		return "", false
	case strings.Contains(p, "\x00"):
		b.fail(lang.CodeShape, at, what+" has a zero byte in it", "No path has one.")
		return "", false
	case !doublestar.ValidatePattern(p):
		b.fail(lang.CodeShape, at, fmt.Sprintf("%s is not a pattern: %s", what, p), "A bracket or a brace is not closed, or a backslash ends it.")
		return "", false
	}
	switch {
	case clean == "." && what == output:
		b.fail(lang.CodeShape, at, "the workspace as a whole is no output", "Name what the step writes; one that declares neither inputs nor outputs may write everywhere.")
		return "", false
	case clean == ".":
		clean = "**"
	case strings.HasSuffix(p, "/"):
		clean += "/"
	}
	if path, ok := plan.Path(clean); ok {
		clean = plan.Pattern(path) // one way to write it
	}
	return clean, true
}

// inside is a path that has to be in the workspace.
func (b *build) inside(p string, at diag.Range, what string) string {
	clean := path.Clean(p)
	if !fs.ValidPath(clean) {
		b.fail(CodeOutside, at, fmt.Sprintf("%s is outside the workspace: %s", what, p), "It is a path relative to the workspace.")
		return "."
	}
	return clean
}

// table is x as names with strings, sorted by name. An element that is null is left out.
func (b *build) table(x hcl.Expression, in env) (out [][2]string, known bool) {
	if x == nil {
		return nil, false
	}
	v, ok := b.value(x, in)
	if ok && !strict(v) {
		v, ok = b.convert(v, cty.Map(cty.String), x)
	}
	if !ok || !v.IsWhollyKnown() || v.IsNull() {
		return nil, false
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if !e.IsNull() {
			out = append(out, [2]string{k.AsString(), e.AsString()})
		}
	}
	return out, true
}

// strict reports whether v is an object of strings, which is as good as a map of them.
func strict(v cty.Value) bool {
	if v.IsMarked() || !v.Type().IsObjectType() {
		return false
	}
	for _, t := range v.Type().AttributeTypes() { // order: all of them
		if t != cty.String {
			return false
		}
	}
	return !v.ContainsMarked()
}

// check is a condition that is evaluated while a plan runs.
func (b *build) check(name string, x hcl.Expression, in env) plan.Check {
	u, own := b.u, slices.Clone(b.hidden.secrets)
	secret := b.hidden.any
	return plan.Check{
		Name: name, Text: u.source(x), Range: place(x),
		Test: func(v plan.View) (ok bool, values string, err error) {
			e := u.newEvaluator(lang.World{FS: v.FS, Digest: v.Digest, LookPath: v.LookPath, Env: v.Env}, false, newFindings())
			e.hidden = &hidden{any: secret, secrets: slices.Clone(own)}
			ok, good := e.flag(x, in)
			if !good {
				return false, "", errors.New(e.hidden.mask().Text(e.failure().Error()))
			}
			if !ok {
				values = e.hidden.mask().Text(e.because(x, in))
			}
			return ok, values, nil
		},
	}
}

// failure is what went wrong first, with its detail: there is no place to show sources.
func (e *evaluator) failure() error {
	err := e.diags.Err()
	if err == nil {
		return errors.New("the condition has no value")
	}
	detail, _, _ := strings.Cut(e.diags.Sorted()[0].Detail, "\n")
	return fmt.Errorf("%w: %s", err, strings.TrimSuffix(detail, "."))
}

// source is x as it is written, on one line.
func (u *universe) source(x hcl.Expression) string {
	r := x.Range()
	src := u.module.Source(r.Filename)
	if r.End.Byte > len(src) || r.Start.Byte > r.End.Byte {
		return ""
	}
	return strings.Join(strings.Fields(string(src[r.Start.Byte:r.End.Byte])), " ")
}
