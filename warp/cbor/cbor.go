// Package cbor is the one canonical encoding of jitos: RFC 8949 core deterministic CBOR with a few more rules, so
// that a value has exactly one sequence of bytes and identities can be hashes of it.
//
// The rules: shortest integers and lengths; a float that is an integer and fits int64 or uint64 is that integer (so
// there is no -0), any other float takes 64 bits, there is one NaN; map keys are text, sorted by their encoded bytes,
// without duplicates; text is UTF-8; no tags, no indefinite lengths, no undefined, no other simple values. Decoding
// rejects everything that would not encode to the same bytes again, and checks depth and sizes before it allocates.
//
// The package knows nothing of graphs or events. Start reading at [Append] and [Valid]; [Reader] and the Append
// functions of single items are for code that writes its bytes by hand.
package cbor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and maps may nest.
const MaxDepth = 64

// ErrSyntax is wrapped by every error about bytes that are not canonical.
var ErrSyntax = errors.New("not canonical CBOR")

// The major types, in the top three bits of an item's first byte.
const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
	majorMap   = 5 << 5
	majorTag   = 6 << 5
	majorOther = 7 << 5
)

const (
	byteFalse = majorOther | 20
	byteTrue  = majorOther | 21
	byteNull  = majorOther | 22
	byteFloat = majorOther | 27
)

var canonicalNaN = uint64(0x7ff8000000000000)

func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, byteNull) }

// AppendBool appends true or false.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, byteTrue)
	}
	return append(dst, byteFalse)
}

// AppendUint appends an unsigned integer.
func AppendUint(dst []byte, v uint64) []byte { return appendHead(dst, majorUint, v) }

// AppendInt appends an integer.
func AppendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, majorNeg, uint64(^v))
	}
	return appendHead(dst, majorUint, uint64(v))
}

// AppendFloat appends a number: as an integer when it is one that fits, else with 64 bits.
func AppendFloat(dst []byte, f float64) []byte {
	bits := math.Float64bits(f)
	switch {
	case f != f:
		bits = canonicalNaN
	case f == math.Trunc(f) && f >= math.MinInt64 && f < math.MaxInt64: // the constant rounds up to 2⁶³
		return AppendInt(dst, int64(f))
	case f == math.Trunc(f) && f >= 0 && f < math.MaxUint64: // the constant rounds up to 2⁶⁴
		return AppendUint(dst, uint64(f))
	}
	return binary.BigEndian.AppendUint64(append(dst, byteFloat), bits)
}

// AppendBytes appends a byte string.
func AppendBytes(dst, v []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(v))), v...)
}

// AppendString appends a text string. The caller vouches that it is UTF-8; bytes that are not make an item that
// [Valid] refuses.
func AppendString(dst []byte, v string) []byte {
	return append(appendHead(dst, majorText, uint64(len(v))), v...)
}

// AppendArray appends the head of an array of n items, which must follow.
func AppendArray(dst []byte, n int) []byte { return appendHead(dst, majorArray, uint64(n)) }

// AppendMap appends the head of a map of n pairs, which must follow with their keys in canonical order: shorter keys
// first, keys of one length by their bytes.
func AppendMap(dst []byte, n int) []byte { return appendHead(dst, majorMap, uint64(n)) }

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

var errShort = fmt.Errorf("%w: input ends inside an item", ErrSyntax)

// head reads the head of the first item of b: its first byte without the low bits, its argument, its size. For
// majorOther the argument is the low five bits and a float's eight bytes are not part of the head.
func head(b []byte) (major byte, arg uint64, size int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, errShort
	}
	major, low := b[0]&0xe0, b[0]&0x1f
	if low < 24 || major == majorOther {
		return major, uint64(low), 1, nil
	}
	if low > 27 {
		return 0, 0, 0, syntax("indefinite length or reserved byte %#02x", b[0])
	}
	size = 1 + 1<<(low-24)
	if len(b) < size {
		return 0, 0, 0, errShort
	}
	var least uint64
	switch low {
	case 24:
		arg, least = uint64(b[1]), 24
	case 25:
		arg, least = uint64(binary.BigEndian.Uint16(b[1:])), math.MaxUint8+1
	case 26:
		arg, least = uint64(binary.BigEndian.Uint32(b[1:])), math.MaxUint16+1
	case 27:
		arg, least = binary.BigEndian.Uint64(b[1:]), math.MaxUint32+1
	}
	if arg < least {
		return 0, 0, 0, syntax("%d is not in its shortest form", arg)
	}
	return major, arg, size, nil
}

// float reads the eight bytes of a float and refuses the values that are written otherwise.
func float(b []byte) (float64, error) {
	if len(b) < 9 {
		return 0, errShort
	}
	bits := binary.BigEndian.Uint64(b[1:])
	f := math.Float64frombits(bits)
	switch {
	case f != f && bits != canonicalNaN:
		return 0, syntax("NaN with payload %#x", bits)
	case f == math.Trunc(f) && f >= math.MinInt64 && f < math.MaxUint64:
		return 0, syntax("float %v must be an integer", f)
	}
	return f, nil
}

// Valid says whether b is exactly one canonical item; the error wraps [ErrSyntax] and says what is wrong.
func Valid(b []byte) error {
	n, err := skip(b, 0)
	if err == nil && n < len(b) {
		err = syntax("%d bytes after the item", len(b)-n)
	}
	return err
}

// skip checks the first item of b and returns its size.
func skip(b []byte, depth int) (int, error) {
	major, arg, size, err := head(b)
	if err != nil {
		return 0, err
	}
	switch major {
	case majorUint:
		return size, nil
	case majorNeg:
		if arg > math.MaxInt64 {
			return 0, syntax("negative integer below -2^63")
		}
		return size, nil
	case majorBytes, majorText:
		if arg > uint64(len(b)-size) {
			return 0, errShort
		}
		end := size + int(arg)
		if major == majorText && !utf8.Valid(b[size:end]) {
			return 0, syntax("text is not UTF-8")
		}
		return end, nil
	case majorArray, majorMap:
		if depth >= MaxDepth {
			return 0, syntax("nested deeper than %d", MaxDepth)
		}
		if arg > uint64(len(b)-size) {
			return 0, errShort
		}
		if major == majorMap {
			return skipMap(b, size, int(arg), depth)
		}
		for range arg {
			n, err := skip(b[size:], depth+1)
			if err != nil {
				return 0, err
			}
			size += n
		}
		return size, nil
	case majorOther:
		switch b[0] {
		case byteFalse, byteTrue, byteNull:
			return 1, nil
		case byteFloat:
			_, err := float(b)
			return 9, err
		}
	}
	return 0, syntax("item %#02x (a tag, an undefined or a simple value)", b[0])
}

func skipMap(b []byte, off, pairs, depth int) (int, error) {
	var last []byte
	for range pairs {
		n, err := skip(b[off:], depth+1)
		if err != nil {
			return 0, err
		}
		key := b[off : off+n]
		if key[0]&0xe0 != majorText {
			return 0, syntax("map key that is no text")
		}
		if last != nil && string(last) >= string(key) {
			return 0, syntax("map keys out of order or twice: %q", key)
		}
		last = key
		off += n
		if n, err = skip(b[off:], depth+1); err != nil {
			return 0, err
		}
		off += n
	}
	return off, nil
}
