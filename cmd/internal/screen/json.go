package screen

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp"
)

// Events writes each event as one line of JSON: {"idx", "kind", "at", "view", "data"}, where the fields of data are
// those of the history. It may be called from any goroutine.
type Events struct {
	mu  sync.Mutex
	out io.Writer
	err error
}

// NewEvents writes to out.
func NewEvents(out io.Writer) *Events { return &Events{out: out} }

// Event writes the next event of the run.
func (j *Events) Event(e runner.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = JSON(j.out, struct {
			Idx    uint64
			Kind   string
			At     int64     // nanoseconds since 1970
			View   string    // whose state it is about
			Digest warp.Hash `cbor:"digest,omitempty"` // of that state after it, where it was computed
			Policy warp.Hash `cbor:"policy,omitempty"` // pin: the settings in force
			Rules  warp.Hash `cbor:"rules,omitempty"`  // pin: the program
			Data   any
		}{e.Idx, e.Kind, e.At, e.View.String(), e.Digest, e.Policy, e.Rules, e.Data})
	}
}

// Close returns the first error of the output.
func (j *Events) Close() error { return j.err }

// JSON writes v as one line of JSON. A field has its name in the history (the cbor tag), else that of its json tag,
// else its Go name in snake case; bytes and digests are hex, durations are nanoseconds and functions are left out.
func JSON(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := appendJSON(&b, reflect.ValueOf(v)); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func appendJSON(b *bytes.Buffer, v reflect.Value) error {
	switch {
	case !v.IsValid():
		b.WriteString("null")
		return nil
	case v.Type() == reflect.TypeFor[time.Time]():
		if v.IsZero() {
			b.WriteString("null")
			return nil
		}
	case v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface:
		return appendJSON(b, v.Elem())
	case v.Kind() == reflect.Struct:
		return appendStruct(b, v)
	case isBytes(v):
		raw := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(raw), v)
		fmt.Fprintf(b, "%q", hex.EncodeToString(raw))
		return nil
	case isText(v):
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := appendJSON(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	raw, err := marshal(v.Interface())
	b.Write(raw)
	return err
}

// marshal is json.Marshal without escapes for HTML: commands are full of > and &.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func isBytes(v reflect.Value) bool {
	k := v.Kind()
	return (k == reflect.Slice || k == reflect.Array) && v.Type().Elem().Kind() == reflect.Uint8
}

func isText(v reflect.Value) bool {
	_, ok := v.Interface().(encoding.TextMarshaler)
	return ok
}

func appendStruct(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('{')
	err := appendFields(b, v)
	b.WriteByte('}')
	return err
}

// appendFields writes the fields of a struct, and those of embedded ones as if they were its own.
func appendFields(b *bytes.Buffer, v reflect.Value) error {
	for f, value := range v.Fields() {
		name, options, _ := strings.Cut(cmp.Or(f.Tag.Get("cbor"), f.Tag.Get("json")), ",")
		if !f.IsExported() || name == "-" || f.Type.Kind() == reflect.Func || options != "" && value.IsZero() {
			continue // both options that there are, omitempty and omitzero, leave out what is zero
		}
		if f.Anonymous && name == "" {
			if value = reflect.Indirect(value); value.IsValid() {
				if err := appendFields(b, value); err != nil {
					return err
				}
			}
			continue
		}
		if b.Bytes()[b.Len()-1] != '{' {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, "%q:", cmp.Or(name, snake(f.Name)))
		if err := appendJSON(b, value); err != nil {
			return err
		}
	}
	return nil
}

// snake turns UpToDate into up_to_date, and SWS into sws.
func snake(name string) string {
	var b strings.Builder
	r := []rune(name)
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && (!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
