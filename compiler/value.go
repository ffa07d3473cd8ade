package compiler

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// plain is v, known and unmarked, as package cbor takes it.
func plain(v cty.Value) (any, error) {
	ty := v.Type()
	switch {
	case !v.IsKnown():
		return nil, errors.New("the value is not known")
	case v.IsNull():
		return nil, nil
	case ty == cty.String:
		return v.AsString(), nil
	case ty == cty.Bool:
		return v.True(), nil
	case ty == cty.Number:
		return number(v.AsBigFloat()), nil
	case ty.IsObjectType(), ty.IsMapType():
		out := make(map[string]any, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			x, err := plain(e)
			if err != nil {
				return nil, err
			}
			out[k.AsString()] = x
		}
		return out, nil
	case v.CanIterateElements():
		out := make([]any, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			x, err := plain(e)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	}
	return nil, fmt.Errorf("a value of type %s cannot be an argument", ty.FriendlyName())
}

func number(f *big.Float) any {
	if f.IsInt() { // Uint64 calls 3.5 exact
		if i, acc := f.Int64(); acc == big.Exact {
			return i
		}
		if u, acc := f.Uint64(); acc == big.Exact {
			return u
		}
	}
	x, _ := f.Float64()
	return x
}

// encode is the constant that v is to the planner.
func encode(v cty.Value) (htn.Value, error) {
	x, err := plain(v)
	if err != nil {
		return "", err
	}
	b, err := cbor.Encode(x)
	return htn.Value(b), err
}

// decode is the inverse of encode for a value of type ty.
func decode(v htn.Value, ty cty.Type) (cty.Value, error) {
	x, err := cbor.Decode([]byte(v))
	if err != nil {
		return cty.NilVal, err
	}
	return convert.Convert(wrap(x), ty)
}

func wrap(x any) cty.Value {
	switch x := x.(type) {
	case bool:
		return cty.BoolVal(x)
	case int64:
		return cty.NumberIntVal(x)
	case uint64:
		return cty.NumberUIntVal(x)
	case float64:
		if math.IsNaN(x) {
			return cty.NullVal(cty.Number) // HCL has no way to write one
		}
		return cty.NumberFloatVal(x)
	case string:
		return cty.StringVal(x)
	case []any:
		out := make([]cty.Value, len(x))
		for i, e := range x {
			out[i] = wrap(e)
		}
		return cty.TupleVal(out)
	case map[string]any:
		out := make(map[string]cty.Value, len(x))
		for k, e := range x { // order: a map again
			out[k] = wrap(e)
		}
		return cty.ObjectVal(out)
	}
	return cty.NullVal(cty.DynamicPseudoType)
}

// text is v as it could be written, on one line.
func text(v cty.Value) string {
	ty := v.Type()
	switch {
	case !v.IsKnown():
		return "…"
	case v.IsNull():
		return "null"
	case ty == cty.String:
		return quote(v.AsString())
	case ty == cty.Number:
		return v.AsBigFloat().Text('f', -1)
	case ty == cty.Bool:
		if v.True() {
			return "true"
		}
		return "false"
	case !v.CanIterateElements():
		return ty.FriendlyName()
	}
	object := ty.IsObjectType() || ty.IsMapType()
	var parts []string
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		part := text(e)
		if object {
			part = key(k.AsString()) + " = " + part
		}
		parts = append(parts, part)
	}
	switch {
	case !object:
		return "[" + strings.Join(parts, ", ") + "]"
	case len(parts) == 0:
		return "{}"
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

func key(s string) string {
	if hclsyntax.ValidIdentifier(s) && !strings.HasPrefix(s, "\ufeff") { // which the parser leaves out
		return s
	}
	return quote(s)
}

var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{")

// quote is s as an HCL string.
func quote(s string) string { return `"` + quoting.Replace(s) + `"` }

// typed reads what a person typed for a value of type ty: text for a string, else an expression. For any type it is an
// expression where it is one that stands for itself, and text otherwise.
func typed(raw string, ty cty.Type) (cty.Value, error) {
	if ty == cty.String {
		return cty.StringVal(raw), nil
	}
	x, ds := hclsyntax.ParseExpression([]byte(raw), "", hcl.InitialPos)
	var v cty.Value
	if !ds.HasErrors() {
		v, ds = x.Value(nil)
	}
	switch {
	case !ds.HasErrors():
		return convert.Convert(v, ty)
	case ty == cty.DynamicPseudoType:
		return cty.StringVal(raw), nil
	case !isCollection(ty):
		return convert.Convert(cty.StringVal(raw), ty)
	}
	return cty.NilVal, errors.New(strings.TrimSuffix(ds[0].Detail, "."))
}

func isCollection(ty cty.Type) bool {
	return ty.IsCollectionType() || ty.IsObjectType() || ty.IsTupleType()
}

// call is a task with the arguments that are not its defaults: `compile(os="darwin")`.
func call(name string, params []param, args []cty.Value) string {
	var parts []string
	for i, p := range params {
		if p.def != cty.NilVal && args[i].RawEquals(p.def) {
			continue
		}
		parts = append(parts, p.Name+"="+text(args[i]))
	}
	if parts == nil {
		return name
	}
	return name + "(" + strings.Join(parts, ", ") + ")"
}

// strings is v, a known collection of strings or of what converts to them.
func stringsOf(v cty.Value) ([]string, error) {
	v, _ = v.Unmark()
	if v.IsNull() || !v.CanIterateElements() || v.Type().IsObjectType() || v.Type().IsMapType() {
		return nil, errors.New("a list of strings is needed")
	}
	out := make([]string, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		e, _ = e.Unmark()
		if e.Type() == cty.String && !e.IsNull() {
			out = append(out, e.AsString())
			continue
		}
		e, _ = e.UnmarkDeep()
		s, err := convert.Convert(e, cty.String)
		if err != nil || s.IsNull() {
			return nil, fmt.Errorf("a list of strings is needed, not with %s in it", text(e))
		}
		out = append(out, s.AsString())
	}
	return out, nil
}

func stringList(list []string) cty.Value {
	if len(list) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	out := make([]cty.Value, len(list))
	for i, s := range list {
		out[i] = cty.StringVal(s)
	}
	return cty.ListVal(out)
}
