package lang

import (
	"fmt"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang/diag"
)

// Value is `name = value` in a file of values.
type Value struct {
	Name  string
	Range diag.Range // of the name
	Value cty.Value
}

// ParseValues reads a file of values for variables, in the order written, and returns its text as ranges refer to it.
func ParseValues(f File) (values []Value, text []byte, diags diag.List) {
	text = unixLines(f.Text)
	parsed := parseFile(f.Name, text)
	if parsed.body == nil {
		return nil, text, parsed.errors
	}
	d := &decoder{diags: parsed.errors}
	for name, a := range parsed.body.Attributes { // order: sorted below
		if broken(a.Expr) {
			continue
		}
		v, problems := a.Expr.Value(nil)
		if problems.HasErrors() {
			d.error(CodeShape, RangeOf(a.Expr.Range()), fmt.Sprintf("the value of %s must be written out", name), "A file of values refers to nothing and calls no functions. Compute with them in a locals block.")
			continue
		}
		values = append(values, Value{Name: name, Range: RangeOf(a.NameRange), Value: v})
	}
	for _, b := range parsed.body.Blocks {
		d.error(CodeUnknownBlock, RangeOf(b.DefRange()), article(b.Type)+" block in a file of values", "It holds NAME = VALUE alone.")
	}
	slices.SortFunc(values, func(a, b Value) int { return a.Range.Start.Byte - b.Range.Start.Byte })
	return values, text, d.diags.Sorted()
}
