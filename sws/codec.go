package sws

import (
	"encoding/binary"
	"errors"

	"github.com/flyingrobots/jitos/warp/cas"
)

// Records on disk (intents, held sets): a magic number, the length, the body, its BLAKE3. Integers are varints, strings
// have their length in front. A record that was not written whole is no record.

const magic = "jsw1"

func seal(body []byte) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(magic), uint64(len(body)))
	b = append(b, body...)
	d := cas.Sum(body)
	return append(b, d[:]...)
}

func unseal(b []byte) (body []byte, ok bool) {
	const head = len(magic) + 8
	if len(b) < head || string(b[:len(magic)]) != magic {
		return nil, false
	}
	n := binary.LittleEndian.Uint64(b[len(magic):])
	if n != uint64(len(b))-uint64(head)-uint64(len(cas.Digest{})) || len(b) < head+len(cas.Digest{}) {
		return nil, false
	}
	body = b[head : head+int(n)]
	return body, cas.Sum(body) == cas.Digest(b[head+int(n):])
}

type writer struct{ b []byte }

func (w *writer) num(n int64)  { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) str(s string) { w.num(int64(len(s))); w.b = append(w.b, s...) }

func (w *writer) flag(b bool) {
	n := int64(0)
	if b {
		n = 1
	}
	w.num(n)
}

func (w *writer) print(f Fingerprint) {
	w.num(int64(f.Kind))
	if f.Kind == Absent {
		return
	}
	for _, n := range []int64{int64(f.Mode), f.Size, f.Mtime, f.Ctime, int64(f.Ino), int64(f.UID), int64(f.GID)} {
		w.num(n)
	}
}

func (w *writer) entry(e Entry) {
	w.num(int64(e.Kind))
	switch e.Kind {
	case File:
		w.num(int64(e.Mode))
		w.num(e.Size)
		w.b = append(w.b, e.Digest[:]...)
	case Link:
		w.str(e.Target)
	default:
		w.num(int64(e.Mode))
	}
}

var errRecord = errors.New("damaged record")

// reader reads what a writer wrote; after the first error everything is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) num() int64 {
	n, k := binary.Varint(r.b)
	if k <= 0 {
		r.b, r.err = nil, errRecord
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) bytes(n int64) []byte {
	if n < 0 || n > int64(len(r.b)) {
		r.b, r.err = nil, errRecord
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) str() string { return string(r.bytes(r.num())) }
func (r *reader) flag() bool  { return r.num() != 0 }

// count reads how many items follow; each takes a byte at least.
func (r *reader) count() int {
	n := r.num()
	if n < 0 || n > int64(len(r.b)) {
		r.b, r.err = nil, errRecord
		return 0
	}
	return int(n)
}

func (r *reader) print() Fingerprint {
	f := Fingerprint{Kind: Kind(r.num())}
	if f.Kind == Absent {
		return f
	}
	f.Mode, f.Size, f.Mtime, f.Ctime = uint32(r.num()), r.num(), r.num(), r.num()
	f.Ino, f.UID, f.GID = uint64(r.num()), uint32(r.num()), uint32(r.num())
	return f
}

func (r *reader) entry() Entry {
	e := Entry{Kind: Kind(r.num())}
	switch e.Kind {
	case File:
		e.Mode, e.Size = uint32(r.num()), r.num()
		copy(e.Digest[:], r.bytes(int64(len(e.Digest))))
	case Link:
		return linkTo(r.str())
	default:
		e.Mode = uint32(r.num())
	}
	return e
}

// intent is what a transaction is going to do: all that recovery needs.
type intent struct {
	Tx   string
	Set  int
	Note []byte
	Ops  []op
}

func (in *intent) encode() []byte { return seal(in.body().b) }

func (in *intent) body() *writer {
	w := writer{make([]byte, 0, 64+len(in.Note)+len(in.Ops)*200)}
	w.str(in.Tx)
	w.num(int64(in.Set))
	w.str(string(in.Note))
	w.num(int64(len(in.Ops)))
	for _, o := range in.Ops {
		w.str(o.Path)
		w.num(int64(o.Does))
		w.print(o.Base)
		w.print(o.Post)
		w.entry(o.Before)
		w.entry(o.After)
		w.str(o.Stage)
	}
	return &w
}

// decodeIntent gives nil if b is not a whole record.
func decodeIntent(b []byte) (*intent, error) {
	body, ok := unseal(b)
	if !ok {
		return nil, nil
	}
	r := reader{b: body}
	in := r.intent()
	return in, r.err
}

func (r *reader) intent() *intent {
	in := &intent{Tx: r.str(), Set: int(r.num()), Note: []byte(r.str())}
	for range r.count() {
		in.Ops = append(in.Ops, op{r.str(), action(r.num()), r.print(), r.print(), r.entry(), r.entry(), r.str()})
	}
	return in
}
