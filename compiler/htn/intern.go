package htn

import "math/bits"

// key is a 128 bit fingerprint. Sets are summed, so that an element comes and goes in constant time; sequences are
// folded. Two different situations of one search with the same key are as unlikely as a bad memory cell.
type key struct{ a, b uint64 }

func (k key) plus(o key) key  { return key{k.a + o.a, k.b + o.b} }
func (k key) minus(o key) key { return key{k.a - o.a, k.b - o.b} }

// fold is k followed by v.
func (k key) fold(v uint64) key {
	hi, lo := bits.Mul64(k.a^v^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	hi2, lo2 := bits.Mul64(k.b+v^0xe7037ed1a0b428db, 0xa0761d6478bd642f)
	return key{hi ^ lo ^ k.b, hi2 ^ lo2 ^ bits.RotateLeft64(k.a, 23)}
}

func (k key) foldKey(o key) key { return k.fold(o.a).fold(o.b) }

func (k key) foldAll(vs []int32) key {
	for _, v := range vs {
		k = k.fold(uint64(uint32(v)))
	}
	return k
}

// What a fingerprint is of, so that an atom and a need with equal numbers differ.
const (
	keyAtom = iota + 1
	keyNode
	keyJoin
	keyNeed
	keyOpen
)

func newKey(kind int, id int32) key { return key{uint64(kind), 0}.fold(uint64(uint32(id))) }

// tuples numbers sequences of small numbers, in the order in which they are first seen. The first number is the head.
type tuples struct {
	start []int32 // start[i]:start[i+1] of data is tuple i
	data  []int32
	slots []int32 // open addressing; tuple number + 1
}

func (t *tuples) len() int { return max(0, len(t.start)-1) }

func (t *tuples) head(id int32) int32   { return t.data[t.start[id]] }
func (t *tuples) args(id int32) []int32 { return t.data[t.start[id]+1 : t.start[id+1] : t.start[id+1]] }

func hashTuple(head int32, args []int32) uint64 {
	h := (uint64(uint32(head)) + 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	for _, a := range args {
		h = (h ^ h>>29 ^ uint64(uint32(a))) * 0x9e3779b97f4a7c15
	}
	return h ^ h>>32
}

// find returns the tuple's number, or -1.
func (t *tuples) find(head int32, args []int32) int32 {
	if len(t.slots) == 0 {
		return -1
	}
	id, _ := t.slot(head, args)
	return id
}

func (t *tuples) slot(head int32, args []int32) (id int32, at uint64) {
	mask := uint64(len(t.slots) - 1)
	for at = hashTuple(head, args) & mask; ; at = (at + 1) & mask {
		id = t.slots[at] - 1
		if id < 0 || t.equal(id, head, args) {
			return id, at
		}
	}
}

func (t *tuples) equal(id, head int32, args []int32) bool {
	d := t.data[t.start[id]:t.start[id+1]]
	if len(d) != len(args)+1 || d[0] != head {
		return false
	}
	for i, a := range args {
		if d[i+1] != a {
			return false
		}
	}
	return true
}

// intern returns the tuple's number; fresh says that it was not there.
func (t *tuples) intern(head int32, args []int32) (id int32, fresh bool) {
	if 2*t.len() >= len(t.slots) {
		t.grow()
	}
	id, at := t.slot(head, args)
	if id >= 0 {
		return id, false
	}
	if len(t.start) == 0 {
		t.start = append(t.start, 0)
	}
	id = int32(t.len())
	t.data = append(append(t.data, head), args...)
	t.start = append(t.start, int32(len(t.data)))
	t.slots[at] = id + 1
	return id, true
}

func (t *tuples) grow() {
	t.slots = make([]int32, max(64, 2*len(t.slots)))
	for id := range int32(t.len()) {
		_, at := t.slot(t.head(id), t.args(id))
		t.slots[at] = id + 1
	}
}
