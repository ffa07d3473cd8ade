package lang

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang/diag"
)

// RangeOf is r in our own terms.
func RangeOf(r hcl.Range) diag.Range {
	if r.End.Byte < r.Start.Byte { // hcl leaves the end of what is not closed before the end of a file at zero
		r.End = r.Start
	}
	return diag.Range{File: r.Filename, Start: pos(r.Start), End: pos(r.End)}
}

func pos(p hcl.Pos) diag.Pos { return diag.Pos{Line: p.Line, Column: p.Column, Byte: p.Byte} }

// FromHCL converts what hcl says when it evaluates or converts an expression. Codes come from what went wrong; fallback
// is for all that has none of its own. Values that are involved are added to the detail. Where one of them is marked, hcl's
// own detail, which may quote it, is left out: a mark may stand for a secret. The order of hcl's suggestions is random,
// so they are made again.
func FromHCL(ds hcl.Diagnostics, fallback string) diag.List {
	var out diag.List
	for _, d := range ds {
		n := diag.Diagnostic{Code: fallback, Summary: sentence(d.Summary), Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			n.Severity = diag.Warning
		}
		if r := d.Subject; r != nil {
			n.Subject = RangeOf(*r)
		} else if r := d.Context; r != nil {
			n.Subject = RangeOf(*r)
		}
		unknown, isUnknownFunction := hcl.DiagnosticExtra[unknownFunction](d)
		switch {
		case isUnknownFunction:
			name := unknown.CalledFunctionNamespace() + unknown.CalledFunctionName()
			var there []string
			for ctx := d.EvalContext; ctx != nil; ctx = ctx.Parent() {
				there = append(there, slices.Sorted(maps.Keys(ctx.Functions))...)
			}
			n = unknownFunctionDiagnostic(name, n.Subject, there)
		case d.Summary == "Unknown variable", d.Summary == "Unsupported attribute":
			n.Code = CodeUnknownName
		case d.Summary == "Attribute redefined":
			_, rest, _ := strings.Cut(d.Detail, `"`)
			name, _, _ := strings.Cut(rest, `"`)
			n.Code, n.Summary, n.Detail = CodeDuplicate, name+" stands twice in this block", "Keep one of them."
		case d.Summary == "Invalid character encoding":
			n.Code = CodeEncoding
		}
		values, marked := involved(d)
		if name, there := lacking(d); name != "" && !marked {
			n.Code, n.Summary, n.Detail = CodeUnknownName, "unknown attribute "+strconv.Quote(name), ""
			if s, ok := diag.Suggest(name, there); ok {
				n.Label = "did you mean " + s + "?"
			} else if 0 < len(there) && len(there) <= 10 {
				n.Detail = "There is " + strings.Join(there, ", ") + "."
			}
		}
		if marked {
			n.Detail = "The reason is not shown: it may contain a secret."
		}
		n.Detail = strings.TrimSpace(n.Detail + "\n" + strings.Join(values, "\n"))
		out = append(out, n)
	}
	return out
}

// unknownFunction is what hcl attaches to a call of a function that does not exist.
type unknownFunction interface {
	CalledFunctionName() string
	CalledFunctionNamespace() string
}

func unknownFunctionDiagnostic(name string, at diag.Range, there []string) diag.Diagnostic {
	d := diag.Diagnostic{Code: CodeUnknownFunction, Summary: "unknown function " + strconv.Quote(name), Subject: at}
	namespace, local, namespaced := strings.Cut(name, "::")
	if _, near := diag.Suggest(namespace, []string{"fact"}); namespaced && near && namespace != "fact" {
		d.Label = "did you mean " + factNamespace + local + "?"
	} else if s, ok := diag.Suggest(name, there); ok {
		d.Label = "did you mean " + s + "?"
	} else if s, ok := diag.Suggest(local, there); namespaced && (ok || slices.Contains(there, local)) {
		d.Label = "did you mean " + cmp.Or(s, local) + "?"
	} else {
		d.Detail = "`jitos functions` lists what there is."
	}
	return d
}

// lacking is the attribute or key that an object or map was asked for in vain, and those that it has; "" if d is about
// something else.
func lacking(d *hcl.Diagnostic) (name string, there []string) {
	var of cty.Value
	switch x := d.Expression.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		of, name = before(x.Traversal, d, func(t hcl.Traversal) (cty.Value, hcl.Diagnostics) { return t.TraverseAbs(d.EvalContext) })
	case *hclsyntax.RelativeTraversalExpr:
		source, diags := x.Source.Value(d.EvalContext)
		if diags.HasErrors() {
			return "", nil
		}
		of, name = before(x.Traversal, d, func(t hcl.Traversal) (cty.Value, hcl.Diagnostics) { return t.TraverseRel(source) })
	}
	if name == "" || of.IsMarked() || !of.IsKnown() || of.IsNull() || !of.Type().IsObjectType() && !of.Type().IsMapType() {
		return "", nil
	}
	for it := of.ElementIterator(); it.Next(); {
		k, _ := it.Element()
		there = append(there, k.AsString())
	}
	return name, there
}

// before is the step of t that d is about, and the value that it starts from.
func before(t hcl.Traversal, d *hcl.Diagnostic, value func(hcl.Traversal) (cty.Value, hcl.Diagnostics)) (cty.Value, string) {
	for i, step := range t {
		a, ok := step.(hcl.TraverseAttr)
		if !ok || d.Subject == nil || a.SrcRange != *d.Subject {
			continue
		}
		if v, diags := value(t[:i]); !diags.HasErrors() {
			return v, a.Name
		}
	}
	return cty.NilVal, ""
}

// involved is a line for each value that the failed expression refers to, in the order written: `param.os is "plan9"`.
// marked says that there are others, which are not to be shown.
func involved(d *hcl.Diagnostic) (lines []string, marked bool) {
	if d.Expression == nil || d.EvalContext == nil {
		return nil, false
	}
	for _, t := range d.Expression.Variables() {
		v, ds := t.TraverseAbs(d.EvalContext)
		if v.ContainsMarked() {
			marked = true
		} else if line := traversalString(t) + " is " + describe(v); !ds.HasErrors() && !slices.Contains(lines, line) && len(lines) < 5 {
			lines = append(lines, line)
		}
	}
	return lines, marked
}

// describe shows a value without marks, briefly: short scalars in full, all else by its type.
func describe(v cty.Value) string {
	switch {
	case !v.IsKnown():
		return "not known yet"
	case v.IsNull():
		return "null"
	case v.Type() == cty.String && len(v.AsString()) <= 80:
		return strconv.Quote(v.AsString())
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('g', -1)
	case v.Type() == cty.Bool && v.True():
		return "true"
	case v.Type() == cty.Bool:
		return "false"
	case v.Type().IsObjectType(), v.Type().IsTupleType():
		return article(v.Type().FriendlyName())
	default:
		return "a " + typeexpr.TypeString(v.Type())
	}
}

// traversalString is t as it is written.
func traversalString(t hcl.Traversal) string {
	var b strings.Builder
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			b.WriteString(s.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + s.Name)
		case hcl.TraverseIndex:
			key, _ := s.Key.Unmark()
			b.WriteString("[" + describe(key) + "]")
		case hcl.TraverseSplat:
			b.WriteString("[*]")
		}
	}
	return b.String()
}

// sentence is s as our summaries are written: without a capital, unless the word is in capitals.
func sentence(s string) string {
	if len(s) > 1 && unicode.IsUpper(rune(s[1])) {
		return s
	}
	return changeFirst(s, unicode.ToLower)
}

func changeFirst(s string, change func(rune) rune) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(change(first)) + s[n:]
}
