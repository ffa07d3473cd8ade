package lang

import (
	"fmt"
	"math/big"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// A number takes as many digits as its exponent says once it becomes text, and a few characters can say a hundred
// million. So none is let in that has more digits than this, before the point or after it.
const maxDigits = 9999

const maxExponent = 33219 // maxDigits in bits

func tooLarge(n *big.Float) bool {
	e := n.MantExp(nil)
	return e > maxExponent || e < -maxExponent
}

// longExponent reports whether text has what may be a number with an exponent of five digits or more.
func longExponent(text []byte) bool {
	for i, c := range text {
		if c|0x20 != 'e' || i == 0 || text[i-1] < '0' || text[i-1] > '9' {
			continue
		}
		digits := text[i+1:]
		if len(digits) > 0 && (digits[0] == '+' || digits[0] == '-') {
			digits = digits[1:]
		}
		n := 0
		for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
			n++
		}
		if n > 4 {
			return true
		}
	}
	return false
}

// numbers reports numbers that are too large or too small to be written out.
func (d *decoder) numbers(expr hclsyntax.Node) {
	if source := d.source(expr.Range()); source != nil && !longExponent(source) {
		return
	}
	_ = hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		if l, ok := n.(*hclsyntax.LiteralValueExpr); ok && l.Val.Type() == cty.Number && l.Val.IsKnown() && !l.Val.IsNull() && tooLarge(l.Val.AsBigFloat()) {
			d.error(CodeNesting, RangeOf(l.SrcRange), "a number has too many digits", fmt.Sprintf("At most %d are possible, before the point or after it.", maxDigits))
		}
		return nil
	})
}

// bounded is f without results that are too large to be written out.
func bounded(f function.Function) function.Function {
	return function.New(&function.Spec{
		Description: f.Description(),
		Params:      f.Params(),
		VarParam:    f.VarParam(),
		Type:        f.ReturnTypeForValues,
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err != nil {
				return v, err
			}
			bare, _ := v.UnmarkDeep()
			return v, cty.Walk(bare, func(_ cty.Path, v cty.Value) (bool, error) {
				if v.Type() == cty.Number && v.IsKnown() && !v.IsNull() && tooLarge(v.AsBigFloat()) {
					return false, fmt.Errorf("a number in it has more than %d digits", maxDigits)
				}
				return true, nil
			})
		},
	})
}
