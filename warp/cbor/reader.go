package cbor

import "math"

// Type is what the next item of a [Reader] is.
type Type byte

// The types of items.
const (
	None Type = iota // no item is left, or the reader has failed
	Null
	Bool
	Int // also unsigned
	Float
	Bytes
	Text
	Array
	Map
)

// Reader takes items off a byte slice one after the other, for decoders written by hand. Its error sticks: after the
// first one every method returns a zero value, so that callers check once, with [Reader.Err] or [Reader.Close]. It
// checks each item it takes, except the order of the keys of a map it walks into; input from outside goes through
// [Valid] or [Reader.Raw] first.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a reader of the items of b. What it returns shares memory with b.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Close returns the first error, or one if items are left.
func (r *Reader) Close() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = syntax("%d bytes after the item", len(r.rest))
	}
	return r.err
}

// Next tells the type of the next item without taking it.
func (r *Reader) Next() Type {
	if r.err != nil || len(r.rest) == 0 {
		return None
	}
	switch r.rest[0] & 0xe0 {
	case majorUint, majorNeg:
		return Int
	case majorBytes:
		return Bytes
	case majorText:
		return Text
	case majorArray:
		return Array
	case majorMap:
		return Map
	}
	switch r.rest[0] {
	case byteNull:
		return Null
	case byteFalse, byteTrue:
		return Bool
	case byteFloat:
		return Float
	}
	return None
}

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// take reads a head of the given major type and its argument.
func (r *Reader) take(want byte, what string) uint64 {
	if r.err != nil {
		return 0
	}
	major, arg, size, err := head(r.rest)
	if err == nil && major != want {
		err = syntax("item %#02x where %s is expected", r.rest[0], what)
	}
	if err != nil {
		r.fail(err)
		return 0
	}
	r.rest = r.rest[size:]
	return arg
}

// Null takes a null and says so, or takes nothing.
func (r *Reader) Null() bool {
	if r.Next() != Null {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// Bool takes a boolean.
func (r *Reader) Bool() bool {
	if r.err == nil && len(r.rest) > 0 && (r.rest[0] == byteTrue || r.rest[0] == byteFalse) {
		v := r.rest[0] == byteTrue
		r.rest = r.rest[1:]
		return v
	}
	r.fail(syntax("no boolean where one is expected"))
	return false
}

// Uint takes an integer that is not negative.
func (r *Reader) Uint() uint64 { return r.take(majorUint, "an unsigned integer") }

// Int takes an integer that fits an int64.
func (r *Reader) Int() int64 {
	negative := len(r.rest) > 0 && r.rest[0]&0xe0 == majorNeg
	want := byte(majorUint)
	if negative {
		want = majorNeg
	}
	v := r.take(want, "an integer")
	if v > math.MaxInt64 {
		r.fail(syntax("integer does not fit 64 bits with a sign"))
		return 0
	}
	if negative {
		return ^int64(v)
	}
	return int64(v)
}

// Float takes a number of any kind.
func (r *Reader) Float() float64 {
	switch r.Next() {
	case Int:
		if r.rest[0]&0xe0 == majorNeg {
			return float64(r.Int())
		}
		return float64(r.Uint())
	case Float:
		f, err := float(r.rest)
		if err != nil {
			r.fail(err)
			return 0
		}
		r.rest = r.rest[9:]
		return f
	}
	r.fail(syntax("no number where one is expected"))
	return 0
}

func (r *Reader) span(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.rest)) {
		r.fail(errShort)
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Bytes takes a byte string.
func (r *Reader) Bytes() []byte { return r.span(r.take(majorBytes, "a byte string")) }

// Text takes a text string, as the bytes of the input. It does not check that they are UTF-8.
func (r *Reader) Text() []byte { return r.span(r.take(majorText, "text")) }

// Array takes the head of an array and returns how many items follow.
func (r *Reader) Array() int { return r.count(majorArray, "an array", 1) }

// Map takes the head of a map and returns how many pairs follow.
func (r *Reader) Map() int { return r.count(majorMap, "a map", 2) }

func (r *Reader) count(major byte, what string, each uint64) int {
	n := r.take(major, what)
	if n > uint64(len(r.rest))/each {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

// Raw takes one whole item, checked as [Valid] does, and returns its bytes.
func (r *Reader) Raw() []byte {
	if r.err != nil {
		return nil
	}
	n, err := skip(r.rest, 0)
	if err != nil {
		r.fail(err)
		return nil
	}
	return r.span(uint64(n))
}
