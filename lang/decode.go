package lang

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/flyingrobots/jitos/lang/diag"
)

// decoder turns blocks into a Module. A wrong part is reported and left out; the rest is decoded all the same.
type decoder struct {
	m         *Module
	functions []string // names, sorted
	diags     diag.List

	schemas map[*hclsyntax.Block]*Schema // of empty blocks, while a schema is made
	root    *Schema
}

func (d *decoder) error(code string, at diag.Range, summary, detail string) {
	d.diags = append(d.diags, diag.Diagnostic{Code: code, Subject: at, Summary: summary, Detail: detail})
}

func (d *decoder) duplicate(summary string, again, first diag.Range) {
	d.diags = append(d.diags, diag.Diagnostic{
		Code: CodeDuplicate, Subject: again, Summary: summary, Label: "again",
		Related: []diag.Related{{Range: first, Label: "first"}},
	})
}

// checkName reports a name that is none.
func (d *decoder) checkName(n Name) bool {
	if ValidName(n.Name) {
		return true
	}
	d.error(CodeBadName, n.Range, fmt.Sprintf("%q is not a name", n.Name), "Names start with a letter from a to z; letters, digits, _ and - may follow.")
	return false
}

// ValidName reports whether s is a name: [a-z][a-z0-9_-]*.
func ValidName(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || c != '_' && c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// names finds declarations that have the same name.
type names map[string]diag.Range

// add reports whether n, of the kind called what, can be declared: it has a name, and is the first to have it.
func (d *decoder) add(seen names, what string, n Name) bool {
	if n.Name == "" {
		return false
	}
	if first, twice := seen[n.Name]; twice {
		d.duplicate(fmt.Sprintf("%s %q is declared twice", what, n.Name), n.Range, first)
		return false
	}
	seen[n.Name] = n.Range
	return true
}

// source is the text of r.
func (d *decoder) source(r hcl.Range) []byte {
	text := d.m.sources[r.Filename]
	if r.Start.Byte > len(text) || r.End.Byte > len(text) || r.Start.Byte > r.End.Byte {
		return nil
	}
	return text[r.Start.Byte:r.End.Byte]
}

// calls reports unknown functions, and numbers that no text could hold. Facts are functions too, but those declared are for the compiler to know.
func (d *decoder) calls(expr hclsyntax.Node) {
	d.numbers(expr)
	if source := d.source(expr.Range()); source != nil && bytes.IndexByte(source, '(') < 0 {
		return
	}
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		call, ok := n.(*hclsyntax.FunctionCallExpr)
		if !ok || strings.HasPrefix(call.Name, factNamespace) {
			return nil
		}
		if _, found := slices.BinarySearch(d.functions, call.Name); !found {
			d.diags = append(d.diags, unknownFunctionDiagnostic(call.Name, RangeOf(call.NameRange), d.functions))
		}
		return nil
	})
}

// factNamespace is in front of facts where they are asked for or stated.
const factNamespace = "fact::"

// module decodes the top level of all files.
func (d *decoder) module(bodies []*hclsyntax.Body) {
	root := &body{d: d, schema: d.root}
	seen := map[string]names{}
	for _, kind := range []string{"variable", "local", "task", "fact", "slap", "pool", "worker", "secret", "method", "jitos"} {
		seen[kind] = names{}
	}
	var blocks []*hclsyntax.Block
	for _, b := range bodies {
		blocks = append(blocks, b.Blocks...)
	}
	for _, b := range blocks { // aliases first: references are read by them
		if b.Type == "use" {
			d.use(b, seen["task"])
		}
	}
	for _, b := range blocks {
		switch b.Type {
		case "jitos":
			if first, twice := seen["jitos"][""]; twice {
				d.duplicate("the jitos block stands twice", RangeOf(b.DefRange()), first)
				continue
			}
			seen["jitos"][""] = RangeOf(b.DefRange())
			d.settings(b)
		case "variable":
			d.variable(b, seen["variable"])
		case "locals":
			d.locals(b, seen["local"])
		case "fact":
			d.fact(b, seen["fact"])
		case "task":
			d.task(b, seen["task"])
		case "method":
			d.method(b, seen["method"])
		case "slap":
			d.slap(b, seen["slap"])
		case "pool":
			d.pool(b, seen["pool"])
		case "worker":
			d.workerKind(b, seen["worker"])
		case "secret":
			d.secret(b, seen["secret"])
		}
	}
	for _, b := range bodies {
		root.syn = b
		root.blocks = []string{"jitos", "variable", "locals", "use", "fact", "task", "method", "slap", "pool", "worker", "secret"}
		root.attrs = nil
		for _, kind := range root.blocks {
			root.askedBlock(kind)
		}
		for name, a := range b.Attributes { // order: diagnostics are sorted
			root.attrs = append(root.attrs, name)
			d.error(CodeUnknownAttribute, RangeOf(a.NameRange), fmt.Sprintf("attribute %q outside of any block", name),
				"Named values belong into locals { … }, settings into jitos { … }.")
		}
		root.done()
	}
}

func (d *decoder) settings(syn *hclsyntax.Block) {
	b := d.body(syn)
	s := Settings{
		Default:    b.target("default"),
		Shell:      b.strings("shell"),
		Ignore:     b.strings("ignore"),
		Strict:     b.flag("strict", false),
		TraceReads: b.word("trace_reads", "first", "always", "never"),
		Range:      b.header,
	}
	s.RequiredVersion, s.VersionRange = b.text("required_version")
	if _, err := AllowsVersion(s.RequiredVersion, "0"); err != nil {
		d.error(CodeShape, s.VersionRange, "not a constraint on versions", changeFirst(err.Error(), unicode.ToUpper)+`. Write ">= 0.3" or ">= 0.3, < 2".`)
		s.RequiredVersion = ""
	}
	if s.Shell != nil && len(s.Shell) == 0 {
		d.error(CodeShape, RangeOf(syn.Body.Attributes["shell"].Expr.Range()), "shell takes a program and its arguments", `Write shell = ["bash", "-eu"].`)
	}
	b.done()
	d.m.Settings = s
}

func (d *decoder) variable(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	v := &Variable{Name: n.Name, Range: b.header, Sensitive: b.flag("sensitive", false)}
	v.Description, _ = b.text("description")
	v.Type, v.Defaults = b.typ("type")
	v.Default = b.fallback(v.Type, v.Defaults)
	if v.Default != nil && len(v.Default.Variables()) > 0 {
		d.error(CodeBadDefault, RangeOf(v.Default.Variables()[0].SourceRange()), "the default of a variable cannot refer to anything",
			"Variables are known before all else. Compute with them in a locals block.")
		v.Default = nil
	}
	for _, s := range b.each("validation") {
		c := d.body(s)
		c.require("condition")
		v.Validations = append(v.Validations, &Validation{
			Condition: c.expr("condition", boolean), ErrorMessage: c.expr("error_message", str), Range: c.header,
		})
		c.done()
	}
	v.Validations = slices.DeleteFunc(v.Validations, func(v *Validation) bool { return v.Condition == nil })
	b.done()
	if d.add(seen, "variable", n) {
		d.m.Variables = append(d.m.Variables, v)
	}
}

// typ is the type of an attribute `type`.
func (b *body) typ(name string) (cty.Type, *typeexpr.Defaults) {
	a := b.find(name)
	b.asked(name, "a type")
	if a == nil || broken(a.Expr) {
		return cty.DynamicPseudoType, nil
	}
	t, defaults, diags := typeexpr.TypeConstraintWithDefaults(a.Expr)
	if !diags.HasErrors() {
		return t, defaults
	}
	n := diag.Diagnostic{Code: CodeBadType, Summary: "not a type", Subject: RangeOf(*diags[0].Subject), Detail: diags[0].Detail}
	if word, ok := literalString(a.Expr); ok {
		n.Detail, n.Label = "", "write "+word+", without quotes"
	} else if s, ok := diag.Suggest(hcl.ExprAsKeyword(a.Expr), []string{"string", "number", "bool", "any"}); ok {
		n.Label = "did you mean " + s + "?"
	}
	b.d.diags = append(b.d.diags, n)
	return cty.DynamicPseudoType, nil
}

// fallback is the attribute `default`, checked against its type if it is written out.
func (b *body) fallback(t cty.Type, defaults *typeexpr.Defaults) hcl.Expression {
	expr := b.expr("default", anything)
	if expr == nil || broken(expr) {
		return nil
	}
	v, diags := expr.Value(nil)
	if diags.HasErrors() {
		return expr // refers to something
	}
	if defaults != nil && !v.IsNull() {
		v = defaults.Apply(v)
	}
	if _, err := convert.Convert(v, t); err != nil {
		b.d.error(CodeBadDefault, RangeOf(expr.Range()), "the default is not of type "+typeexpr.TypeString(t), changeFirst(err.Error(), unicode.ToUpper)+".")
		return nil
	}
	return expr
}

func (d *decoder) locals(syn *hclsyntax.Block, seen names) {
	b := d.body(syn)
	for _, a := range b.rest() {
		n := Name{a.Name, a.NameRange}
		d.checkName(n)
		if d.add(seen, "local", n) {
			d.m.Locals = append(d.m.Locals, &Local{Name: a.Name, Expr: a.Expr, Range: a.NameRange})
		}
	}
	b.done()
}

func (d *decoder) use(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "ALIAS")
	n := b.name(syn, 0)
	b.require("source")
	u := &Use{Alias: n.Name, Range: b.header}
	u.Source, u.SourceRange = b.text("source")
	if u.Source != "" && !strings.HasPrefix(u.Source, stdSource) && !relative(u.Source) {
		n := diag.Diagnostic{Code: CodeShape, Subject: u.SourceRange, Summary: fmt.Sprintf("%q is not a source of modules", u.Source)}
		n.Detail = `A source is "std/NAME", or a directory that starts with "./" or "../".`
		d.diags = append(d.diags, n)
	}
	u.Variables = b.rest()
	b.done()
	if d.add(seen, "use", n) {
		d.m.Uses = append(d.m.Uses, u)
	}
}

func (d *decoder) fact(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	f := &Fact{Name: n.Name, Range: b.header, From: b.expr("from", collection), Keep: b.word("keep", "run", "fresh", "always")}
	f.Description, _ = b.text("description")
	var columns []*Attr
	b.asked("columns", "an object of types")
	if a := b.find("columns"); a != nil {
		columns = d.object("columns", a.Expr) // types look like calls, but are none
	}
	for _, a := range columns {
		d.checkName(Name{a.Name, a.NameRange})
		t, diags := typeexpr.TypeConstraint(a.Expr)
		if diags.HasErrors() || !t.IsPrimitiveType() {
			d.error(CodeBadType, RangeOf(a.Expr.Range()), fmt.Sprintf("column %s takes string, number or bool", a.Name), "")
			t = cty.String
		}
		f.Columns = append(f.Columns, &Column{Name: a.Name, Type: t, Range: a.NameRange})
	}
	if p, s := b.block("probe"); p != nil {
		p.exclusive("run", "exec")
		p.require("run", "exec")
		f.Probe = &Probe{
			Run: p.expr("run", str), Exec: p.expr("exec", listShape), Parse: p.word("parse", "lines", "json"),
			Inputs: p.expr("inputs", listShape), Allow: p.allow(), Range: RangeOf(s.DefRange()),
		}
		p.done()
	}
	b.exclusive("from", "probe", "keep")
	b.done()
	if d.add(seen, "fact", n) {
		d.m.Facts = append(d.m.Facts, f)
	}
}

func (d *decoder) task(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	t := &Task{
		Name:  n.Name,
		Range: b.header,
		Run:   b.expr("run", str), Exec: b.expr("exec", listShape),
		ForEach: b.expr("for_each", collection), When: b.expr("when", boolean), Cost: b.expr("cost", number),
		Needs: b.needs(), Inputs: b.expr("inputs", listShape), Outputs: b.expr("outputs", listShape), Reports: b.expr("reports", listShape),
		Caches: b.expr("caches", object), Tools: b.expr("tools", listShape), Env: b.expr("env", object),
		Dir: b.expr("dir", str), Stdin: b.expr("stdin", str),
		DepsFile: b.expr("deps_file", str), Result: b.expr("result", str), Timeout: b.expr("timeout", duration),
		Check: b.expr("check", str), Compensate: b.expr("compensate", str), Uses: b.object("uses"),
		External: b.flag("external", false), Interactive: b.flag("interactive", false),
		IsService: b.flag("service", false), NoCache: !b.flag("cache", true),
		Allow: b.allow(), Effects: b.effects(), Retry: b.retry(), Ready: b.ready(),
	}
	t.Description, _ = b.text("description")
	if r, ok := literalString(t.Result); ok && r != "stdout" && r != "json" && !strings.HasPrefix(r, "file:") {
		d.unknown(CodeBadWord, RangeOf(t.Result.Range()), fmt.Sprintf("result cannot be %q", r), r, []string{"stdout", "json", "file:PATH"}, "It is one of")
	}
	if w, s := b.block("worker", "KIND"); w != nil {
		t.Worker = &Worker{Kind: w.name(s, 0).Name, Settings: w.rest(), Range: w.header}
		w.done()
	}
	b.exclusive("run", "exec", "worker")
	params := names{}
	for _, s := range b.each("param") {
		if p, n := d.param(s); d.add(params, "param", n) {
			t.Params = append(t.Params, p)
		}
	}
	b.done()
	if d.add(seen, "task", n) {
		d.m.Tasks = append(d.m.Tasks, t)
	}
}

func (d *decoder) param(syn *hclsyntax.Block) (*Param, Name) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	p := &Param{Name: n.Name, Range: b.header}
	p.Description, _ = b.text("description")
	p.Type, p.Defaults = b.typ("type")
	p.Default = b.fallback(p.Type, p.Defaults)
	b.done()
	return p, n
}

// needs is an expression of needs. Those that are written out are checked here.
func (b *body) needs() hcl.Expression {
	expr := b.expr("needs", collection)
	b.askedRef("needs", "a list of tasks", "task")
	switch e := expr.(type) {
	case *hclsyntax.TupleConsExpr:
		for _, element := range e.Exprs {
			if writtenOut(element) {
				_, diags := b.d.m.Need(element)
				b.d.diags = append(b.d.diags, diags...)
			}
		}
	case *hclsyntax.ScopeTraversalExpr:
		if e.Traversal.RootName() == "task" {
			b.d.diags = append(b.d.diags, diag.Diagnostic{
				Code: CodeShape, Subject: RangeOf(e.Range()), Summary: "needs takes a list of tasks",
				Label: "write [" + string(b.d.source(e.Range())) + "]",
			})
		}
	}
	return expr
}

func (b *body) effects() *Effects {
	e, s := b.block("effects")
	if e == nil {
		return nil
	}
	out := &Effects{Asserts: e.atoms("asserts"), Retracts: e.atoms("retracts"), Range: RangeOf(s.DefRange())}
	e.done()
	return out
}

// atoms are the facts of `asserts = [fact::x(…)]`.
func (b *body) atoms(name string) []*Atom {
	a := b.find(name)
	b.askedRef(name, "a list of facts", "fact")
	if a == nil || broken(a.Expr) {
		return nil
	}
	b.d.calls(a.Expr)
	elements, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		b.d.error(CodeShape, RangeOf(a.Expr.Range()), name+" takes a list of facts", fmt.Sprintf("Write %s = [fact::NAME(…)].", name))
		return nil
	}
	var out []*Atom
	for _, e := range elements {
		call, ok := e.(*hclsyntax.FunctionCallExpr)
		if !ok || !strings.HasPrefix(call.Name, factNamespace) || call.ExpandFinal {
			if !broken(e) {
				b.d.error(CodeNotReference, RangeOf(e.Range()), "an element of "+name+" takes a fact", "Write fact::NAME(…).")
			}
			continue
		}
		atom := &Atom{Fact: strings.TrimPrefix(call.Name, factNamespace), NameRange: RangeOf(call.NameRange), Range: RangeOf(call.Range())}
		for _, arg := range call.Args {
			atom.Args = append(atom.Args, arg)
		}
		out = append(out, atom)
	}
	return out
}

func (b *body) allow() *Allow {
	a, s := b.block("allow")
	if a == nil {
		return nil
	}
	out := &Allow{
		Network: a.expr("network", boolean), Env: a.expr("env", listShape), Ports: a.expr("ports", collection),
		Containers: a.expr("containers", boolean), Range: RangeOf(s.DefRange()),
	}
	for _, p := range a.object("paths") {
		expr := p.Expr.(hclsyntax.Expression)
		switch p.Name {
		case "ro":
			out.ReadPaths = expr
		case "rw":
			out.WritePaths = expr
		default:
			b.d.unknown(CodeUnknownAttribute, p.NameRange, fmt.Sprintf("unknown kind of paths %q", p.Name), p.Name, []string{"ro", "rw"}, "It is one of")
		}
		b.d.literal(p.Name, expr, listShape)
	}
	out.Secrets = a.references("secrets", "secret")
	a.done()
	return out
}

func (b *body) retry() *Retry {
	r, s := b.block("retry")
	if r == nil {
		return nil
	}
	out := &Retry{
		Attempts: r.expr("attempts", number), Backoff: r.expr("backoff", duration), MaxDelay: r.expr("max_delay", duration),
		Jitter: r.expr("jitter", anything), OnExit: r.expr("on_exit", collection), Range: RangeOf(s.DefRange()),
	}
	r.require("attempts")
	r.done()
	return out
}

func (b *body) ready() *Ready {
	r, s := b.block("ready")
	if r == nil {
		return nil
	}
	out := &Ready{
		Run: r.expr("run", str), Port: r.expr("port", number), Interval: r.expr("interval", duration),
		Timeout: r.expr("timeout", duration), Range: RangeOf(s.DefRange()),
	}
	r.exclusive("run", "port")
	r.require("run", "port")
	r.done()
	return out
}

func (d *decoder) method(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "TASK", "NAME")
	task, n := b.name(syn, 0), b.name(syn, 1)
	m := &Method{
		Task: task, Name: n.Name, NameRange: n.Range, Range: b.header,
		Any: b.names("any"), When: b.expr("when", boolean), Cost: b.expr("cost", number), Parallel: b.flag("parallel", false),
	}
	b.text("description")
	steps := names{}
	blocks := b.each("step")
	for _, s := range blocks {
		if step, n := d.step(s); d.add(steps, "step", n) {
			m.Steps = append(m.Steps, step)
		}
	}
	var there []string
	for _, s := range m.Steps {
		there = append(there, "step."+s.Name)
	}
	for _, s := range m.Steps {
		s.After = slices.DeleteFunc(s.After, func(a Name) bool {
			known := slices.Contains(there, "step."+a.Name) && a.Name != s.Name
			if a.Name == s.Name {
				d.error(CodeUnknownStep, a.Range, fmt.Sprintf("step %q cannot come after itself", s.Name), "")
			} else if !known {
				d.unknown(CodeUnknownStep, a.Range, fmt.Sprintf("unknown step %q", a.Name), "step."+a.Name, there, "The method has")
			}
			return !known
		})
	}
	b.done()
	full := task.Name + " " + n.Name // names hold no spaces
	if first, twice := seen[full]; twice {
		d.duplicate(fmt.Sprintf("method %q %q is declared twice", task.Name, n.Name), n.Range, first)
	} else if task.Name != "" && n.Name != "" {
		seen[full] = n.Range
		d.m.Methods = append(d.m.Methods, m)
	}
}

func (d *decoder) step(syn *hclsyntax.Block) (*Step, Name) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	b.require("task")
	s := &Step{
		Name: n.Name, Range: b.header, Task: b.taskRef(), With: b.object("with"),
		ForEach: b.expr("for_each", collection),
	}
	if b.syn.Attributes["after"] != nil {
		s.After = []Name{}
	}
	for _, r := range b.references("after", "step") {
		s.After = append(s.After, *r)
	}
	b.done()
	return s, n
}

func (d *decoder) slap(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	s := &SLAP{
		Name: n.Name, Range: b.header, Intent: b.expr("intent", str),
		Prefer: b.word("prefer", "order", "cost", "duration"), Collapse: b.word("collapse", "auto", "ask", "hold"),
		Speculate: b.whole("speculate"),
	}
	if c, _ := b.block("context"); c != nil {
		s.Context = c.rest()
		c.done()
	}
	b.require("goal")
	for _, syn := range b.each("goal") {
		g := d.body(syn)
		g.require("task")
		s.Goals = append(s.Goals, &Goal{Task: g.taskRef(), With: g.object("with"), Range: g.header})
		g.done()
	}
	if c, syn := b.block("scope"); c != nil {
		s.Scope = &Scope{Include: c.expr("include", listShape), Exclude: c.expr("exclude", listShape), Range: RangeOf(syn.DefRange())}
		c.done()
	}
	s.Assumes = b.criteria("assume", "condition")
	s.Constraints = b.criteria("constraint", "condition")
	s.Successes = b.criteria("success", "condition", "task", "run")
	b.done()
	if d.add(seen, "slap", n) {
		d.m.SLAPs = append(d.m.SLAPs, s)
	}
}

// criteria are the named conditions of this kind, each given in exactly one of ways.
func (b *body) criteria(kind string, ways ...string) []*Criterion {
	var out []*Criterion
	seen := names{}
	for _, syn := range b.each(kind) {
		c := b.d.body(syn, "NAME")
		c.exclusive(ways...)
		c.require(ways...)
		n := &Criterion{Name: c.labels[0], Range: c.header, Condition: c.expr("condition", boolean)}
		if slices.Contains(ways, "task") {
			n.Task, n.With = c.taskRef(), c.object("with")
			n.Run = c.expr("run", str)
			if n.With != nil {
				c.require("task")
			}
		}
		c.done()
		says := n.Condition != nil || n.Task != nil || n.Run != nil
		if b.d.add(seen, kind, Name{n.Name, c.header}) && says {
			out = append(out, n)
		}
	}
	return out
}

func (d *decoder) pool(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	b.require("capacity")
	p := &Pool{Name: n.Name, Capacity: max(b.whole("capacity"), 1), Range: b.header}
	p.Description, _ = b.text("description")
	b.done()
	if d.add(seen, "pool", n) {
		d.m.Pools = append(d.m.Pools, p)
	}
}

func (d *decoder) workerKind(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "KIND")
	n := b.name(syn, 0)
	w := &WorkerKind{Kind: n.Name, Range: b.header}
	if c, s := b.block("circuit_breaker"); c != nil {
		w.CircuitBreaker = &CircuitBreaker{Failures: c.expr("failures", number), Delay: c.expr("delay", duration), Range: RangeOf(s.DefRange())}
		c.done()
	}
	w.Settings = b.rest()
	b.done()
	if d.add(seen, "worker", n) {
		d.m.Workers = append(d.m.Workers, w)
	}
}

func (d *decoder) secret(syn *hclsyntax.Block, seen names) {
	b := d.body(syn, "NAME")
	n := b.name(syn, 0)
	b.require("env")
	s := &Secret{Name: n.Name, Range: b.header}
	s.Description, _ = b.text("description")
	s.Env, _ = b.text("env")
	b.done()
	if d.add(seen, "secret", n) {
		d.m.Secrets = append(d.m.Secrets, s)
	}
}
