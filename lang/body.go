package lang

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang/diag"
)

// body reads one block. Each attribute and block that is asked for is one that may be there: what was there and not
// asked for by the time done is called is unknown.
type body struct {
	d      *decoder
	kind   string // "task", "allow", … for messages
	labels []string
	syn    *hclsyntax.Body
	header diag.Range
	attrs  []string // asked for so far
	all    bool     // all attributes were asked for
	blocks []string
	schema *Schema // what is asked for, if somebody wants to know: see [Describe]
}

func (d *decoder) body(b *hclsyntax.Block, labels ...string) *body {
	out := &body{d: d, kind: b.Type, labels: b.Labels, syn: b.Body, header: RangeOf(b.DefRange()), attrs: make([]string, 0, 40)}
	if d.schemas != nil {
		out.schema = d.schemas[b]
		out.schema.Labels = labels
	}
	if len(b.Labels) > len(labels) {
		d.error(CodeLabels, RangeOf(b.LabelRanges[len(labels)]), fmt.Sprintf("%s block has %s", article(b.Type), plural(len(labels), "label")), "")
	}
	for i := len(b.Labels); i < len(labels); i++ {
		d.error(CodeLabels, out.header, fmt.Sprintf("%s block needs its %s", article(b.Type), labels[i]),
			fmt.Sprintf("Write it as %s.", strings.Join(append([]string{b.Type}, quoted(labels)...), " ")))
		out.labels = append(out.labels[:i:i], "")
	}
	return out
}

// name is label i, which must be a name.
func (b *body) name(syn *hclsyntax.Block, i int) Name {
	n := Name{Name: b.labels[i], Range: b.header}
	if i < len(syn.LabelRanges) {
		n.Range = RangeOf(syn.LabelRanges[i])
		b.d.checkName(n)
	}
	return n
}

// find returns the attribute, nil if it is absent.
func (b *body) find(name string) *hclsyntax.Attribute {
	b.attrs = append(b.attrs, name)
	b.asked(name, "")
	return b.syn.Attributes[name]
}

// require reports the absence of the attributes and blocks named, of which one must be there.
func (b *body) require(names ...string) {
	for _, n := range names {
		if b.syn.Attributes[n] != nil || slices.ContainsFunc(b.syn.Blocks, func(s *hclsyntax.Block) bool { return s.Type == n }) {
			return
		}
	}
	b.d.error(CodeMissing, b.header, fmt.Sprintf("%s block needs %s", article(b.kind), strings.Join(names, " or ")), "")
}

// exclusive reports all but the first of names that are there: they exclude each other.
func (b *body) exclusive(names ...string) {
	type place struct {
		name string
		at   diag.Range
	}
	var there []place
	for _, n := range names {
		if a := b.syn.Attributes[n]; a != nil {
			there = append(there, place{n, RangeOf(a.NameRange)})
		}
		for _, s := range b.syn.Blocks {
			if s.Type == n {
				there = append(there, place{n, RangeOf(s.DefRange())})
			}
		}
	}
	if len(there) < 2 {
		return
	}
	slices.SortFunc(there, func(x, y place) int { return x.at.Start.Byte - y.at.Start.Byte })
	for _, p := range there[1:] {
		if p.name == there[0].name {
			continue // a block that stands twice is another error
		}
		b.d.diags = append(b.d.diags, diag.Diagnostic{
			Code: CodeExclusive, Summary: fmt.Sprintf("%s and %s exclude each other", there[0].name, p.name),
			Detail:  fmt.Sprintf("Keep one of %s.", strings.Join(names, ", ")),
			Subject: p.at, Label: p.name, Related: []diag.Related{{Range: there[0].at, Label: there[0].name}},
		})
	}
}

// block returns the block of this kind, nil if it is absent; a second one is an error.
func (b *body) block(kind string, labels ...string) (*body, *hclsyntax.Block) {
	var first *hclsyntax.Block
	for _, s := range b.each(kind) {
		if first == nil {
			first = s
			continue
		}
		b.d.duplicate(article(kind)+" block stands twice in "+article(b.kind)+" block", RangeOf(s.DefRange()), RangeOf(first.DefRange()))
	}
	if first == nil {
		return nil, nil
	}
	return b.d.body(first, labels...), first
}

// each returns the blocks of this kind.
func (b *body) each(kind string) []*hclsyntax.Block {
	b.blocks = append(b.blocks, kind)
	b.askedBlock(kind)
	var out []*hclsyntax.Block
	for _, s := range b.syn.Blocks {
		if s.Type == kind {
			out = append(out, s)
		}
	}
	return out
}

// rest returns the attributes not asked for yet, in written order: all of them are allowed.
func (b *body) rest() []*Attr {
	if b.schema != nil {
		b.schema.Open = true
	}
	var out []*Attr
	asked := b.attrs // not those below as well: there may be tens of thousands
	b.all = true
	for name, a := range b.syn.Attributes { // order: sorted by position below
		if slices.Contains(asked, name) {
			continue
		}
		b.attrs = append(b.attrs, name)
		b.d.calls(a.Expr)
		out = append(out, &Attr{Name: name, NameRange: RangeOf(a.NameRange), Expr: a.Expr})
	}
	slices.SortFunc(out, func(x, y *Attr) int { return x.NameRange.Start.Byte - y.NameRange.Start.Byte })
	return out
}

// done reports what was not asked for.
func (b *body) done() {
	for name, attr := range b.syn.Attributes { // order: diagnostics are sorted
		if b.all || slices.Contains(b.attrs, name) {
			continue
		}
		at := RangeOf(attr.NameRange)
		if slices.Contains(b.blocks, name) {
			b.d.error(CodeUnknownAttribute, at, fmt.Sprintf("%s is a block, not an attribute", name), fmt.Sprintf("Write %s { … } without the equals sign.", name))
			continue
		}
		b.d.unknown(CodeUnknownAttribute, at, fmt.Sprintf("unknown attribute %q in %s block", name, article(b.kind)), name, b.attrs, "It takes")
	}
	for _, s := range b.syn.Blocks {
		if slices.Contains(b.blocks, s.Type) {
			continue
		}
		at := RangeOf(s.TypeRange)
		if slices.Contains(b.attrs, s.Type) {
			b.d.error(CodeUnknownBlock, at, fmt.Sprintf("%s is an attribute, not a block", s.Type), fmt.Sprintf("Write %s = ….", s.Type))
			continue
		}
		if s.Type == "method" && b.kind == "task" {
			b.d.error(CodeUnknownBlock, at, "a method stands beside its task, not in it", `Write method "TASK" "NAME" { … } after the task.`)
			continue
		}
		if b.kind != "" {
			b.d.unknown(CodeUnknownBlock, at, fmt.Sprintf("unknown block %q in %s block", s.Type, article(b.kind)), s.Type, append(slices.Clone(b.blocks), b.attrs...), "It may hold")
		} else if home := homeOf(s.Type); home != "" {
			b.d.error(CodeUnknownBlock, at, fmt.Sprintf("%s block outside of any other", article(s.Type)), fmt.Sprintf("It belongs into %s block.", article(home)))
		} else {
			b.d.unknown(CodeUnknownBlock, at, fmt.Sprintf("unknown block %q", s.Type), s.Type, b.blocks, "There are")
		}
	}
}

// unknown reports a name that is not among those there are.
func (d *decoder) unknown(code string, at diag.Range, summary, name string, there []string, intro string) {
	n := diag.Diagnostic{Code: code, Subject: at, Summary: summary}
	if s, ok := diag.Suggest(name, there); ok {
		n.Label = "did you mean " + s + "?"
	} else if len(there) > 0 {
		n.Detail = intro + ": " + strings.Join(slices.Sorted(slices.Values(there)), ", ") + "."
	} else {
		n.Detail = "Nothing can stand there."
	}
	d.diags = append(d.diags, n)
}

// shape is what a literal must look like. An expression that is no literal may have any value, which is checked when
// it has one.
type shape int

const (
	anything shape = iota
	str
	listShape // of strings
	object
	boolean
	number
	duration
	collection // a list, or what evaluates to one: no string
)

// expr returns the expression of an attribute, nil if it is absent, and checks it as far as it is literal.
func (b *body) expr(name string, want shape) hcl.Expression {
	a := b.find(name)
	b.asked(name, want.takes())
	if a == nil {
		return nil
	}
	b.d.calls(a.Expr)
	b.d.literal(name, a.Expr, want)
	return a.Expr
}

// literal reports a literal that cannot have the shape wanted, and whether there was nothing to report.
func (d *decoder) literal(name string, expr hclsyntax.Expression, want shape) (ok bool) {
	wrong := func(takes, hint string) bool {
		d.diags = append(d.diags, diag.Diagnostic{Code: CodeShape, Subject: RangeOf(expr.Range()), Summary: name + " takes " + takes, Label: hint})
		return false
	}
	const durations = `such as "1.5s", "10m" or "2h"`
	var v cty.Value // of a literal scalar
	var elements []hclsyntax.Expression
	isTuple, isObject, isString := false, false, false
	switch e := expr.(type) {
	case *hclsyntax.ParenthesesExpr:
		return d.literal(name, e.Expression, want)
	case *hclsyntax.TupleConsExpr:
		isTuple, elements = true, e.Exprs
	case *hclsyntax.ObjectConsExpr:
		isObject = true
	case *hclsyntax.TemplateExpr:
		isString = true
		if e.IsStringLiteral() {
			v, _ = e.Value(nil)
		}
	case *hclsyntax.LiteralValueExpr:
		if v = e.Val; v.IsNull() || !v.IsKnown() { // hcl puts an unknown where it could not parse
			return true
		}
	default:
		return true
	}
	is := func(t cty.Type) bool { return v != cty.NilVal && v.Type() == t }
	source := string(d.source(expr.Range()))
	switch {
	case want == str && !isString:
		return wrong("a string", "")
	case want == listShape && isTuple:
		ok = true
		for _, e := range elements {
			ok = d.literal("an element of "+name, e, str) && ok
		}
		return ok
	case want == listShape && isString && !strings.Contains(source, "\n"):
		return wrong("a list of strings", "write ["+source+"]")
	case want == listShape:
		return wrong("a list of strings", "")
	case want == object && !isObject:
		return wrong("an object", "write { NAME = … }")
	case want == collection && !isTuple && !isObject:
		return wrong("a list, set or map", "")
	case want == boolean && !is(cty.Bool):
		return wrong("true or false", "")
	case want == number && !is(cty.Number):
		return wrong("a number", "")
	case want == duration && is(cty.Number):
		return wrong("a duration", fmt.Sprintf("write %q", source+"s"))
	case want == duration && !isString:
		return wrong("a duration", durations)
	case want == duration && is(cty.String):
		if _, err := Duration(v.AsString()); err != nil {
			return wrong("a duration", durations)
		}
	}
	return true
}

// Duration parses what timeout, backoff and the like are given as: "1.5s", "10m", "2h". It is never negative or zero.
func Duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf(`%q is not a duration such as "1.5s", "10m" or "2h"`, s)
	}
	return d, nil
}

// constant returns the value of an attribute that must be written out, without references and functions; NilVal if
// it is absent or wrong.
func (b *body) constant(name string, want cty.Type, takes string) (cty.Value, diag.Range) {
	a := b.find(name)
	b.asked(name, takes)
	if a == nil {
		return cty.NilVal, diag.Range{}
	}
	at := RangeOf(a.Expr.Range())
	if broken(a.Expr) {
		return cty.NilVal, at
	}
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() {
		b.d.error(CodeShape, at, fmt.Sprintf("%s must be written out", name), fmt.Sprintf("It is %s, without references and functions.", takes))
		return cty.NilVal, at
	}
	if v.IsNull() || v.Type() != want {
		b.d.error(CodeShape, at, name+" takes "+takes, "")
		return cty.NilVal, at
	}
	return v, at
}

// text is a written-out string, "" if absent.
func (b *body) text(name string) (string, diag.Range) {
	v, at := b.constant(name, cty.String, "a string")
	if v == cty.NilVal {
		return "", at
	}
	return v.AsString(), at
}

// flag is true or false, absent if it is not there.
func (b *body) flag(name string, absent bool) bool {
	v, _ := b.constant(name, cty.Bool, "true or false")
	if v == cty.NilVal {
		return absent
	}
	return v.True()
}

// whole is a written-out whole number of at least 1, 0 if it is absent or wrong.
func (b *body) whole(name string) int {
	v, at := b.constant(name, cty.Number, "a whole number of at least 1")
	if v == cty.NilVal {
		return 0
	}
	n, exact := v.AsBigFloat().Int64()
	if exact != 0 || n < 1 || n > 1<<30 {
		b.d.error(CodeShape, at, name+" takes a whole number of at least 1", "")
		return 0
	}
	return int(n)
}

// word is one of a few words, "" if it is absent or wrong.
func (b *body) word(name string, words ...string) string {
	v, at := b.constant(name, cty.String, "one of "+strings.Join(quoted(words), ", "))
	if a := b.asked(name, ""); a != nil {
		a.Words = words
	}
	if v == cty.NilVal {
		return ""
	}
	s := v.AsString()
	if slices.Contains(words, s) {
		return s
	}
	b.d.unknown(CodeBadWord, at, fmt.Sprintf("%s cannot be %q", name, s), s, words, "It is one of")
	return ""
}

// strings is a written-out list of strings.
func (b *body) strings(name string) []string {
	a := b.find(name)
	b.asked(name, listShape.takes())
	if a == nil || broken(a.Expr) || !b.d.literal(name, a.Expr, listShape) {
		return nil
	}
	v, diags := a.Expr.Value(nil)
	wrong := diags.HasErrors() || !v.Type().IsTupleType()
	out := []string{}
	if !wrong {
		for _, e := range v.AsValueSlice() {
			if wrong = e.IsNull() || !e.IsKnown() || e.Type() != cty.String; wrong {
				break
			}
			out = append(out, e.AsString())
		}
	}
	if wrong {
		b.d.error(CodeShape, RangeOf(a.Expr.Range()), name+" must be written out", "It is a list of strings, without references and functions.")
		return nil
	}
	return out
}

// object is the attributes of `name = { a = …, b = … }`, in written order; nil if it is absent.
func (b *body) object(name string) []*Attr {
	a := b.find(name)
	b.asked(name, object.takes())
	if a == nil {
		return nil
	}
	b.d.calls(a.Expr)
	return b.d.object(name, a.Expr)
}

func (d *decoder) object(name string, expr hcl.Expression) []*Attr {
	if broken(expr) {
		return nil
	}
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		d.error(CodeShape, RangeOf(expr.Range()), name+" takes an object that is written out", "Write "+name+" = { NAME = … }.")
		return nil
	}
	out := make([]*Attr, 0, len(pairs))
	seen := map[string]diag.Range{}
	for _, p := range pairs {
		at := RangeOf(p.Key.Range())
		key, diags := p.Key.Value(nil)
		if diags.HasErrors() || key.IsNull() || key.Type() != cty.String {
			d.error(CodeShape, at, "a name in "+name+" must be written out", "")
			continue
		}
		if first, twice := seen[key.AsString()]; twice {
			d.duplicate(fmt.Sprintf("%s stands twice in %s", key.AsString(), name), at, first)
			continue
		}
		seen[key.AsString()] = at
		out = append(out, &Attr{Name: key.AsString(), NameRange: at, Expr: p.Value})
	}
	return out
}

// names are the strings of `any = ["a", "b"]`: names.
func (b *body) names(name string) []Name {
	a := b.find(name)
	b.asked(name, "a list of names")
	if a == nil || broken(a.Expr) {
		return nil
	}
	elements, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		b.d.error(CodeShape, RangeOf(a.Expr.Range()), name+" takes a list of names", fmt.Sprintf(`Write %s = ["a", "b"].`, name))
		return nil
	}
	out := []Name{}
	seen := map[string]diag.Range{}
	for _, e := range elements {
		n := Name{Range: RangeOf(e.Range())}
		v, diags := e.Value(nil)
		if diags.HasErrors() || v.IsNull() || v.Type() != cty.String {
			b.d.error(CodeShape, n.Range, "an element of "+name+" takes a name in quotes", "")
			continue
		}
		n.Name = v.AsString()
		if !b.d.checkName(n) {
			continue
		}
		if first, twice := seen[n.Name]; twice {
			b.d.duplicate(fmt.Sprintf("%s stands twice in %s", n.Name, name), n.Range, first)
			continue
		}
		seen[n.Name] = n.Range
		out = append(out, n)
	}
	return out
}

// broken reports whether the parser has already complained about expr.
func broken(expr hcl.Expression) bool {
	_, yes := expr.(*hclsyntax.ExprSyntaxError)
	return yes
}

func plural(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun
	case 1:
		return "one " + noun
	default:
		return strconv.Itoa(n) + " " + noun + "s"
	}
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return out
}

// article is noun with its article.
func article(noun string) string {
	if noun != "" && strings.Contains("aeio", noun[:1]) {
		return "an " + noun
	}
	return "a " + noun
}

// homeOf is the block that a block which cannot stand alone belongs into, "" if there is none.
func homeOf(kind string) string {
	switch kind {
	case "param", "effects", "allow", "retry", "ready":
		return "task"
	case "step":
		return "method"
	case "goal", "scope", "assume", "constraint", "success", "context":
		return "slap"
	case "probe":
		return "fact"
	case "validation":
		return "variable"
	case "circuit_breaker":
		return "worker"
	}
	return ""
}
