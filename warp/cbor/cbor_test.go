package cbor_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func alphabet() map[string]any {
	return map[string]any{"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}
}

func count(n int) (list []any) {
	for i := range n {
		list = append(list, int64(i+1))
	}
	return list
}

// TestVectors are the examples of RFC 8949, appendix A, that are deterministic under our rules, and some at the limits.
func TestVectors(t *testing.T) {
	for bytes, v := range map[string]any{
		"00": int64(0), "01": int64(1), "0a": int64(10), "17": int64(23), "1818": int64(24), "1819": int64(25), "1864": int64(100),
		"1903e8": int64(1000), "1a000f4240": int64(1000000), "1b000000e8d4a51000": int64(1000000000000),
		"1bffffffffffffffff": uint64(math.MaxUint64), "20": int64(-1), "29": int64(-10), "3863": int64(-100), "3903e7": int64(-1000),
		"fb3ff199999999999a": 1.1, "fb7e37e43c8800759c": 1.0e+300, "fbc010666666666666": -4.1, "fb3ff8000000000000": 1.5,
		"fb3e70000000000000": 5.960464477539063e-8, "fb3f10000000000000": 0.00006103515625, "fb47efffffe0000000": 3.4028234663852886e+38,
		"fb7ff0000000000000": math.Inf(1), "fbfff0000000000000": math.Inf(-1),
		"f4": false, "f5": true, "f6": nil, "40": []byte{}, "4401020304": []byte{1, 2, 3, 4},
		"60": "", "6161": "a", "6449455446": "IETF", "62225c": "\"\\", "62c3bc": "ü", "63e6b0b4": "水", "64f0908591": "\U00010151",
		"80": []any{}, "83010203": count(3), "8301820203820405": []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}},
		"98190102030405060708090a0b0c0d0e0f101112131415161718181819": count(25),
		"a0": map[string]any{}, "a26161016162820203": map[string]any{"a": int64(1), "b": []any{int64(2), int64(3)}},
		"826161a161626163":                           []any{"a", map[string]any{"b": "c"}},
		"a56161614161626142616361436164614461656145": alphabet(),
		"1affffffff":                                 int64(math.MaxUint32), "1b0000000100000000": int64(math.MaxUint32 + 1), "18ff": int64(255), "190100": int64(256),
		"19ffff": int64(65535), "1a00010000": int64(65536), "1b7fffffffffffffff": int64(math.MaxInt64), "1b8000000000000000": uint64(1 << 63),
		"3b7fffffffffffffff": int64(math.MinInt64), "37": int64(-24), "3818": int64(-25), "38ff": int64(-256), "390100": int64(-257),
		"fb0000000000000001": math.SmallestNonzeroFloat64, "fb7fefffffffffffff": math.MaxFloat64, "fb43f0000000000000": math.Ldexp(1, 64),
		"fbc3e0000000000001": -9223372036854777856.0, "fb3fe0000000000000": 0.5,
		"a2617a01626161 02":    map[string]any{"z": int64(1), "aa": int64(2)},
		"a3600061620262616103": map[string]any{"": int64(0), "b": int64(2), "aa": int64(3)},
	} {
		b := unhex(t, bytes)
		got, err := cbor.Encode(v)
		require.NoError(t, err, bytes)
		require.Equal(t, hex.EncodeToString(b), hex.EncodeToString(got))
		back, err := cbor.Decode(b)
		require.NoError(t, err, bytes)
		require.Equal(t, v, back, bytes)
	}
	nan, err := cbor.Encode(math.Float64frombits(0xfff8000000000001))
	require.NoError(t, err)
	require.Equal(t, unhex(t, "fb7ff8000000000000"), nan)
	back, err := cbor.Decode(nan)
	require.NoError(t, err)
	require.True(t, math.IsNaN(back.(float64)))
}

func TestNumbersThatAreIntegersAreIntegers(t *testing.T) {
	for f, want := range map[float64]string{
		0: "00", math.Copysign(0, -1): "00", 1: "01", -1: "20", 100000: "1a000186a0", 65504: "19ffe0", 1 << 53: "1b0020000000000000",
		1 << 63: "1b8000000000000000", -1 << 63: "3b7fffffffffffffff", 18446744073709549568: "1bfffffffffffff800", -4: "23",
	} {
		b, err := cbor.Encode(f)
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(b), f)
	}
	b, err := cbor.Encode(float32(2))
	require.NoError(t, err)
	require.Equal(t, []byte{2}, b)
}

// TestRefused are bytes that are not canonical: the other examples of RFC 8949, and every rule of ours broken once.
func TestRefused(t *testing.T) {
	for _, s := range []string{
		// from appendix A: big integers, half and single floats, floats that are integers, simple values, tags, indefinite lengths
		"c249010000000000000000", "3bffffffffffffffff", "c349010000000000000000", "f90000", "f98000", "f93c00", "f93e00", "f97bff",
		"fa47c35000", "fa7f7fffff", "f90001", "f90400", "f9c400", "f97c00", "f97e00", "f9fc00", "fa7f800000", "fa7fc00000", "faff800000",
		"f7", "f0", "f8ff", "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "c1fb41d452d9e8200000", "d74401020304",
		"d818456449455446", "d82076687474703a2f2f7777772e6578616d706c652e636f6d", "a201020304", "5f42010243030405ff",
		"7f657374726561646d696e67ff", "9fff", "9f018202039f0405ffff", "9f01820203820405ff", "83018202039f0405ff", "83019f0203ff820405",
		"9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", "bf61610161629f0203ffff", "826161bf61626163ff", "bf6346756ef563416d7421ff",
		// not the shortest form
		"1800", "1817", "190000", "1900ff", "1a00000000", "1a0000ffff", "1b0000000000000000", "1b00000000ffffffff", "3817", "3900ff", "3a0000ffff",
		"3b00000000ffffffff", "5800", "580161", "7800", "780161", "9800", "990001f6", "b800", "5a0000000161", "9b000000000000000100",
		// numbers
		"fb0000000000000000", "fb8000000000000000", "fb3ff0000000000000", "fb43efffffffffffff", "fbc3e0000000000000", "fb7ff8000000000001",
		"fbfff8000000000000", "fb7ff0000000000001", "3b8000000000000000",
		// maps
		"a2616201616101", "a2616101616102", "a262616101617a02", "a1f600", "a10000", "a14100f6", "a1616a", "a2616a00",
		// text
		"61ff", "62c328", "63eda080", "a161ff00",
		// too short, too much, reserved
		"", "18", "19", "1a0000", "1b000000", "41", "61", "81", "82f6", "a1", "a16161", "fb00", "0000", "f6f6", "1c", "1d", "1e", "1f", "3c", "5c", "5f", "7f",
		"9c", "bc", "dc", "fc", "fd", "fe", "ff", "e0", "f3", "f800", "f818", "f820", "9bffffffffffffffff", "bbffffffffffffffff", "5bffffffffffffffff",
		"7b7fffffffffffffff", "9a7fffffff", strings.Repeat("81", cbor.MaxDepth+1) + "f6", strings.Repeat("a16161", cbor.MaxDepth+1) + "f6",
	} {
		_, err := cbor.Decode(unhex(t, s))
		require.ErrorIs(t, err, cbor.ErrSyntax, s)
		var v any
		require.Error(t, cbor.Unmarshal(unhex(t, s), &v), s)
	}
	_, err := cbor.Decode(unhex(t, strings.Repeat("81", cbor.MaxDepth)+"f6"))
	require.NoError(t, err)
}

type inner struct {
	N    int8
	Name string `cbor:"name,omitempty"`
}

type outer struct {
	ID      [4]byte           `cbor:"id"`
	Key     []byte            `cbor:"key"`
	Skip    int               `cbor:"-"`
	Float   float64           `cbor:"f"`
	Inners  []inner           `cbor:"inners"`
	Pointer *inner            `cbor:"p"`
	Env     map[string]string `cbor:"env"`
	Any     any               `cbor:"any"`
	Flags   [2]bool           `cbor:"flags"`
	U       uint64            `cbor:"u,omitempty"`
	hidden  int
}

func TestStructs(t *testing.T) {
	v := outer{ID: [4]byte{1, 2, 3, 4}, Key: []byte{}, Skip: 7, Float: 3, Inners: []inner{{N: -3}, {Name: "x"}}, Pointer: &inner{N: 1},
		Env: map[string]string{"b": "2", "a": "1", "aa": ""}, Any: []any{int64(1), "x"}, Flags: [2]bool{true, false}, hidden: 1}
	b, err := cbor.Encode(v)
	require.NoError(t, err)
	require.NoError(t, cbor.Valid(b))
	again, err := cbor.Encode(&v)
	require.NoError(t, err)
	require.Equal(t, b, again)
	var back outer
	require.NoError(t, cbor.Unmarshal(b, &back))
	v.Skip, v.hidden = 0, 0
	require.Equal(t, v, back)
	plain, err := cbor.Decode(b)
	require.NoError(t, err)
	require.Equal(t, []byte{1, 2, 3, 4}, plain.(map[string]any)["id"])
	require.NotContains(t, plain, "u")
}

func TestUnmarshalIsStrict(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes string
		into  any
	}{
		"unknown key":     {"a1617801", &inner{}},
		"number too big":  {"a1614e190100", &inner{}},
		"negative uint":   {"20", new(uint)},
		"uint64 in int64": {"1bffffffffffffffff", new(int64)},
		"text as bytes":   {"6161", new([]byte)},
		"bytes as text":   {"4161", new(string)},
		"short array":     {"8101", new([2]int)},
		"long bytes":      {"420102", new([1]byte)},
		"null in a value": {"f6", new(int)},
		"float in an int": {"fb3ff8000000000000", new(int)},
		"no pointer":      {"01", 1},
		"list as a map":   {"80", new(map[string]int)},
		"keys not text":   {"a0", new(map[int]int)},
	} {
		require.Error(t, cbor.Unmarshal(unhex(t, tt.bytes), tt.into), name)
	}
}

func TestWhatCannotBeEncoded(t *testing.T) {
	type loop struct{ Next *loop }
	cycle := &loop{}
	cycle.Next = cycle
	type twins struct {
		A int `cbor:"x"`
		B int `cbor:"x"`
	}
	for name, v := range map[string]any{"channel": make(chan int), "int keys": map[int]int{}, "not UTF-8": "\xff", "key not UTF-8": map[string]any{"\xff": 1},
		"cycle": cycle, "one name twice": twins{}, "inside": []any{func() {}}} {
		_, err := cbor.Encode(v)
		require.Error(t, err, name)
	}
}

func drawValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch k := rapid.IntRange(0, 9).Draw(t, "type"); {
		case k == 0:
			return nil
		case k == 1:
			return rapid.Bool().Draw(t, "bool")
		case k == 2:
			return rapid.Int64().Draw(t, "int")
		case k == 3:
			return rapid.Uint64Min(1<<63).Draw(t, "uint")
		case k == 4:
			return rapid.Float64Range(-1000, 1000).Filter(func(f float64) bool { return f != math.Trunc(f) }).Draw(t, "float")
		case k == 5:
			return rapid.String().Draw(t, "text")
		case k == 6 || depth == 0:
			return rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		case k == 7:
			return rapid.SliceOfN(drawValue(depth-1), 0, 5).Draw(t, "list")
		}
		return rapid.MapOfN(rapid.String(), drawValue(depth-1), 0, 5).Draw(t, "map")
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(4).Draw(t, "value")
		b, err := cbor.Encode(v)
		require.NoError(t, err)
		back, err := cbor.Decode(b)
		require.NoError(t, err)
		require.Equal(t, v, back)
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"00", "1818", "a26161016162820203", "fb3ff199999999999a", "826161a161626163", "4401020304", "5f42010243030405ff"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := cbor.Decode(b)
		require.Equal(t, err == nil, cbor.Valid(b) == nil)
		if err != nil {
			return
		}
		again, err := cbor.Encode(v)
		require.NoError(t, err)
		require.Equal(t, b, again) // what we accept is exactly what we write
		var s struct {
			A any            `cbor:"a"`
			B map[string]int `cbor:"b"`
		}
		if cbor.Unmarshal(b, &s) == nil {
			_, err = cbor.Encode(s)
			require.NoError(t, err)
		}
	})
}

type event struct {
	Run    int64    `cbor:"run"`
	Step   string   `cbor:"step"`
	Key    [32]byte `cbor:"key"`
	Exit   int      `cbor:"exit"`
	Args   []string `cbor:"args"`
	Millis int64    `cbor:"ms,omitempty"`
	Log    []byte   `cbor:"log,omitempty"`
}

func BenchmarkStruct(b *testing.B) {
	e := event{Run: 1, Step: "compile src/a.c", Args: []string{"src/a.c", "-O2"}, Log: make([]byte, 32)}
	bytes, err := cbor.Encode(e)
	require.NoError(b, err)
	b.Run("encode", func(b *testing.B) {
		var dst []byte
		for b.Loop() {
			if dst, err = cbor.Append(dst[:0], e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			var e event
			require.NoError(b, cbor.Unmarshal(bytes, &e))
		}
	})
}
