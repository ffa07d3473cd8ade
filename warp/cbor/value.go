package cbor

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Encode returns the canonical bytes of v, see [Append].
func Encode(v any) ([]byte, error) { return Append(nil, v) }

// Append appends the canonical bytes of v to dst. It knows nil, booleans, integers, floats, strings, byte slices and
// arrays of bytes (byte strings), other slices and arrays, maps whose keys are strings, pointers and interfaces (what
// they point to, or null), and structs, which are maps of their exported fields under the name of the tag
// `cbor:"name"` or else their own; `cbor:"name,omitempty"` leaves a zero value out, `cbor:"-"` always. A nil slice or
// map is null. Anything else, text that is not UTF-8 and nesting beyond [MaxDepth] are errors; dst is then undefined.
func Append(dst []byte, v any) ([]byte, error) {
	c := coder{}
	return c.append(dst, v, 0)
}

// coder holds the struct layouts of one call, so that a slice of structs looks at their type once.
type coder struct{ plans map[reflect.Type][]field }

type field struct {
	name  string
	index int
	omit  bool
}

// CompareKeys orders strings as the keys of a map are ordered: the shorter first, then by bytes.
func CompareKeys(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

// fields returns the fields of a struct type in the order of their encoded names.
func (c *coder) fields(t reflect.Type) ([]field, error) {
	if p, ok := c.plans[t]; ok {
		return p, nil
	}
	plan := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		if name == "-" {
			continue
		}
		plan = append(plan, field{name: cmp.Or(name, f.Name), index: i, omit: option == "omitempty"})
	}
	slices.SortFunc(plan, func(a, b field) int { return CompareKeys(a.name, b.name) })
	for i := 1; i < len(plan); i++ {
		if plan[i].name == plan[i-1].name {
			return nil, fmt.Errorf("cbor: two fields of %s are named %q", t, plan[i].name)
		}
	}
	if c.plans == nil {
		c.plans = map[reflect.Type][]field{}
	}
	c.plans[t] = plan
	return plan, nil
}

func appendText(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("cbor: text is not UTF-8: %q", s)
	}
	return AppendString(dst, s), nil
}

func (c *coder) append(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) { // the common types, without reflection
	case nil:
		return AppendNull(dst), nil
	case bool:
		return AppendBool(dst, v), nil
	case int:
		return AppendInt(dst, int64(v)), nil
	case int64:
		return AppendInt(dst, v), nil
	case uint64:
		return AppendUint(dst, v), nil
	case float64:
		return AppendFloat(dst, v), nil
	case string:
		return appendText(dst, v)
	case []byte:
		if v == nil {
			return AppendNull(dst), nil
		}
		return AppendBytes(dst, v), nil
	}
	return c.reflect(dst, reflect.ValueOf(v), depth)
}

func (c *coder) reflect(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("cbor: nested deeper than %d", MaxDepth)
	}
	switch v.Kind() {
	case reflect.Invalid:
		return AppendNull(dst), nil
	case reflect.Bool:
		return AppendBool(dst, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return AppendInt(dst, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return AppendUint(dst, v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return AppendFloat(dst, v.Float()), nil
	case reflect.String:
		return appendText(dst, v.String())
	case reflect.Interface:
		return c.reflect(dst, v.Elem(), depth)
	case reflect.Pointer:
		if v.IsNil() {
			return AppendNull(dst), nil
		}
		return c.reflect(dst, v.Elem(), depth+1) // deeper, so that a cycle ends
	case reflect.Slice, reflect.Array:
		return c.list(dst, v, depth)
	case reflect.Map:
		return c.dict(dst, v, depth)
	case reflect.Struct:
		return c.object(dst, v, depth)
	}
	return nil, fmt.Errorf("cbor: cannot encode %s", v.Type())
}

func (c *coder) list(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return AppendNull(dst), nil
	}
	n := v.Len()
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if v.Kind() == reflect.Slice || v.CanAddr() {
			return AppendBytes(dst, v.Bytes()), nil
		}
		dst = appendHead(dst, majorBytes, uint64(n))
		for i := range n {
			dst = append(dst, byte(v.Index(i).Uint()))
		}
		return dst, nil
	}
	if depth >= MaxDepth {
		return nil, fmt.Errorf("cbor: nested deeper than %d", MaxDepth)
	}
	dst = AppendArray(dst, n)
	var err error
	for i := range n {
		if dst, err = c.reflect(dst, v.Index(i), depth+1); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func (c *coder) dict(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("cbor: keys of %s are not strings", v.Type())
	}
	if v.IsNil() {
		return AppendNull(dst), nil
	}
	if depth >= MaxDepth {
		return nil, fmt.Errorf("cbor: nested deeper than %d", MaxDepth)
	}
	dst = AppendMap(dst, v.Len())
	var err error
	if m, ok := v.Interface().(map[string]any); ok {
		for _, k := range slices.SortedFunc(maps.Keys(m), CompareKeys) {
			if dst, err = appendText(dst, k); err != nil {
				return nil, err
			}
			if dst, err = c.append(dst, m[k], depth+1); err != nil {
				return nil, err
			}
		}
		return dst, nil
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return CompareKeys(a.String(), b.String()) })
	for _, k := range keys {
		if dst, err = appendText(dst, k.String()); err != nil {
			return nil, err
		}
		if dst, err = c.reflect(dst, v.MapIndex(k), depth+1); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func (c *coder) object(dst []byte, v reflect.Value, depth int) ([]byte, error) {
	plan, err := c.fields(v.Type())
	if err != nil {
		return nil, err
	}
	if depth >= MaxDepth {
		return nil, fmt.Errorf("cbor: nested deeper than %d", MaxDepth)
	}
	n := len(plan)
	for _, f := range plan {
		if f.omit && v.Field(f.index).IsZero() {
			n--
		}
	}
	dst = AppendMap(dst, n)
	for _, f := range plan {
		fv := v.Field(f.index)
		if f.omit && fv.IsZero() {
			continue
		}
		if dst, err = appendText(dst, f.name); err != nil {
			return nil, err
		}
		if dst, err = c.reflect(dst, fv, depth+1); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// Decode returns the value of b: nil, bool, int64, uint64 (only above the range of int64), float64, string, []byte,
// []any or map[string]any. It refuses, with an error that wraps [ErrSyntax], whatever is not exactly one canonical item.
func Decode(b []byte) (any, error) {
	if err := Valid(b); err != nil {
		return nil, err
	}
	r := NewReader(b)
	return value(&r), r.err
}

// value takes an item of valid bytes.
func value(r *Reader) any {
	switch r.Next() {
	case Bool:
		return r.Bool()
	case Int:
		if r.rest[0]&0xe0 == majorUint {
			u := r.Uint()
			if u > math.MaxInt64 {
				return u
			}
			return int64(u)
		}
		return r.Int()
	case Float:
		return r.Float()
	case Bytes:
		return slices.Clone(r.Bytes())
	case Text:
		return string(r.Text())
	case Array:
		list := make([]any, r.Array())
		for i := range list {
			list[i] = value(r)
		}
		return list
	case Map:
		n := r.Map()
		m := make(map[string]any, n)
		for range n {
			k := string(r.Text())
			m[k] = value(r)
		}
		return m
	}
	r.Null()
	return nil
}

// Unmarshal decodes b into what the pointer into points to, the reverse of [Append] and as strict as [Decode]: the
// types must fit, numbers must be in range, a map key without a field is an error. A field without a key keeps its
// value, so that a struct may grow. Slices and strings are copies.
func Unmarshal(b []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("cbor: cannot decode into %T", into)
	}
	if err := Valid(b); err != nil {
		return err
	}
	r, c := NewReader(b), coder{}
	if err := c.decode(&r, v.Elem()); err != nil {
		return err
	}
	return r.err
}

func mismatch(r *Reader, v reflect.Value) error {
	return fmt.Errorf("cbor: item %#02x does not fit %s", r.rest[0], v.Type())
}

// decode takes an item of valid bytes into v.
func (c *coder) decode(r *Reader, v reflect.Value) error {
	next := r.Next()
	switch v.Kind() {
	case reflect.Interface:
		if v.NumMethod() > 0 {
			break
		}
		if x := value(r); x != nil {
			v.Set(reflect.ValueOf(x))
		} else {
			v.SetZero()
		}
		return nil
	case reflect.Pointer:
		if r.Null() {
			v.SetZero()
			return nil
		}
		p := reflect.New(v.Type().Elem())
		v.Set(p)
		return c.decode(r, p.Elem())
	case reflect.Bool:
		if next == Bool {
			v.SetBool(r.Bool())
			return nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if next == Int {
			n := r.Int()
			if r.err == nil && v.OverflowInt(n) {
				return fmt.Errorf("cbor: %d does not fit %s", n, v.Type())
			}
			v.SetInt(n)
			return r.err
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if next == Int {
			n := r.Uint()
			if r.err == nil && v.OverflowUint(n) {
				return fmt.Errorf("cbor: %d does not fit %s", n, v.Type())
			}
			v.SetUint(n)
			return r.err
		}
	case reflect.Float32, reflect.Float64:
		if next == Int || next == Float {
			v.SetFloat(r.Float())
			return nil
		}
	case reflect.String:
		if next == Text {
			v.SetString(string(r.Text()))
			return nil
		}
	case reflect.Slice:
		if r.Null() {
			v.SetZero()
			return nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if next == Bytes {
				v.SetBytes(append([]byte{}, r.Bytes()...))
				return nil
			}
			break
		}
		if next == Array {
			n := r.Array()
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			return c.decodeItems(r, v)
		}
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if next != Bytes {
				break
			}
			b := r.Bytes()
			if len(b) != v.Len() {
				return fmt.Errorf("cbor: %d bytes do not fit %s", len(b), v.Type())
			}
			copy(v.Bytes(), b)
			return nil
		}
		if next == Array {
			if n := r.Array(); n != v.Len() {
				return fmt.Errorf("cbor: %d items do not fit %s", n, v.Type())
			}
			return c.decodeItems(r, v)
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			break
		}
		if r.Null() {
			v.SetZero()
			return nil
		}
		if next == Map {
			return c.decodeMap(r, v)
		}
	case reflect.Struct:
		if next == Map {
			return c.decodeStruct(r, v)
		}
	}
	return mismatch(r, v)
}

func (c *coder) decodeItems(r *Reader, v reflect.Value) error {
	for i := range v.Len() {
		if err := c.decode(r, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func (c *coder) decodeMap(r *Reader, v reflect.Value) error {
	n, t := r.Map(), v.Type()
	m := reflect.MakeMapWithSize(t, n)
	for range n {
		k := reflect.New(t.Key()).Elem()
		k.SetString(string(r.Text()))
		e := reflect.New(t.Elem()).Elem()
		if err := c.decode(r, e); err != nil {
			return err
		}
		m.SetMapIndex(k, e)
	}
	v.Set(m)
	return nil
}

func (c *coder) decodeStruct(r *Reader, v reflect.Value) error {
	plan, err := c.fields(v.Type())
	if err != nil {
		return err
	}
	for range r.Map() {
		key := string(r.Text()) // keys and plan have the same order
		for len(plan) > 0 && CompareKeys(plan[0].name, key) < 0 {
			plan = plan[1:]
		}
		if len(plan) == 0 || plan[0].name != key {
			return fmt.Errorf("cbor: %s has no field %q", v.Type(), key)
		}
		if err := c.decode(r, v.Field(plan[0].index)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}
