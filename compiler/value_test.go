package compiler

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"
)

func values() *rapid.Generator[cty.Value] {
	scalar := rapid.OneOf(
		rapid.Map(rapid.String(), cty.StringVal),
		rapid.Map(rapid.Bool(), cty.BoolVal),
		rapid.Map(rapid.Int64(), cty.NumberIntVal),
		rapid.Map(rapid.Uint64(), cty.NumberUIntVal),
		rapid.Map(rapid.Float64Range(-1e300, 1e300), cty.NumberFloatVal),
		rapid.Just(cty.NullVal(cty.DynamicPseudoType)),
	)
	return rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(scalar, 0, 4), cty.TupleVal),
		rapid.Map(rapid.MapOfN(rapid.StringN(1, 4, -1), scalar, 0, 4), cty.ObjectVal),
	)
}

func TestConstantsOfThePlannerAreTheValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values().Draw(t, "v")
		k, err := encode(v)
		require.NoError(t, err)
		back, err := decode(k, v.Type())
		require.NoError(t, err)
		require.True(t, back.RawEquals(v), "%#v became %#v", v, back)
	})
	_, err := encode(cty.UnknownVal(cty.String))
	require.Error(t, err)
	_, err = encode(cty.ListVal([]cty.Value{cty.UnknownVal(cty.String)}))
	require.Error(t, err)
}

// What is shown of a value is an expression for it.
func TestTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values().Draw(t, "v")
		back, err := typed(text(v), cty.DynamicPseudoType)
		require.NoError(t, err)
		if v.Type() == cty.Number {
			x, _ := v.AsBigFloat().Float64()
			y, _ := back.AsBigFloat().Float64()
			require.InDelta(t, x, y, math.Abs(x)*1e-15)
			return
		}
		require.Equal(t, text(v), text(back))
	})
}
