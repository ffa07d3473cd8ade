package warp

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/zeebo/blake3"
)

// record is a node or an edge in memory.
type record struct {
	id   Hash
	raw  []byte     // the number of its kind, then its data
	ends *[2]NodeID // from and to of an edge
}

func (r *record) kind() byte   { return r.raw[0] }
func (r *record) data() []byte { return r.raw[1:] }

// item is an entry of a trie. Items are ordered by head, then by the record's id.
type item struct {
	head uint64
	rec  *record
}

func (a item) compare(b item) int {
	if a.head != b.head {
		if a.head < b.head {
			return -1
		}
		return 1
	}
	if a.rec == b.rec {
		return 0
	}
	return bytes.Compare(a.rec.id[:], b.rec.id[:])
}

const (
	headNibbles = 16
	bucketSize  = 16
)

// nibble returns the nth of the 80 nibbles of an item's key.
func (a item) nibble(n uint8) uint8 {
	if n < headNibbles {
		return uint8(a.head>>(60-4*n)) & 15
	}
	n -= headNibbles
	return a.rec.id[n/2] >> (4 * (1 - n%2)) & 15
}

// differ returns the first nibble in which the keys of two different items differ.
func differ(a, b item) uint8 {
	if x := a.head ^ b.head; x != 0 {
		return uint8(bits.LeadingZeros64(x) / 4)
	}
	for i := 0; i < len(a.rec.id); i += 8 {
		x := binary.BigEndian.Uint64(a.rec.id[i:]) ^ binary.BigEndian.Uint64(b.rec.id[i:])
		if x != 0 {
			return headNibbles + uint8(2*i+bits.LeadingZeros64(x)/4)
		}
	}
	return headNibbles + 64
}

// edit marks what one change has made and may still change in place. A trie whose edit is over is immutable.
type edit struct{ _ byte }

// trie is a persistent ordered set of items; nil is the empty one. Up to bucketSize items are a sorted bucket; more
// are a branch on the first nibble in which they differ. So the shape, and the hash, depend on the set alone.
type trie struct {
	edit  *edit
	hash  atomic.Pointer[Hash]
	kids  *[16]*trie // nil in a bucket
	items []item     // of a branch: one item that has the nibbles before depth, which all below share
	count int32
	depth uint8
}

func (t *trie) len() int {
	if t == nil {
		return 0
	}
	return int(t.count)
}

// own returns t if e may change it, else a copy that e may change.
func (t *trie) own(e *edit) *trie {
	if t.edit == e {
		return t
	}
	c := &trie{edit: e, items: t.items, count: t.count, depth: t.depth}
	if t.kids != nil {
		kids := *t.kids
		c.kids = &kids
	} else {
		c.items = make([]item, len(t.items), len(t.items)+1)
		copy(c.items, t.items)
	}
	return c
}

func bucket(e *edit, items ...item) *trie {
	return &trie{edit: e, items: items, count: int32(len(items))}
}

// build makes the trie of sorted, distinct items. It may keep parts of the slice.
func build(e *edit, items []item) *trie {
	switch {
	case len(items) == 0:
		return nil
	case len(items) <= bucketSize:
		return bucket(e, slices.Clone(items)...)
	}
	t := &trie{edit: e, kids: new([16]*trie), items: []item{items[0]}, count: int32(len(items)),
		depth: differ(items[0], items[len(items)-1])}
	for len(items) > 0 {
		nib, n := items[0].nibble(t.depth), 1
		for n < len(items) && items[n].nibble(t.depth) == nib {
			n++
		}
		t.kids[nib] = build(e, items[:n])
		items = items[n:]
	}
	return t
}

// insert returns t with it, and whether it was not there before.
func (t *trie) insert(e *edit, it item) (*trie, bool) {
	if t == nil {
		return bucket(e, it), true
	}
	if t.kids == nil {
		at, found := slices.BinarySearchFunc(t.items, it, item.compare)
		switch {
		case found:
			return t, false
		case len(t.items) < bucketSize:
			t = t.own(e)
			t.items = slices.Insert(t.items, at, it)
			t.count++
			return t, true
		}
		return build(e, slices.Insert(slices.Clone(t.items), at, it)), true
	}
	if d := differ(it, t.items[0]); d < t.depth {
		b := &trie{edit: e, kids: new([16]*trie), items: t.items, count: t.count + 1, depth: d}
		b.kids[t.items[0].nibble(d)] = t
		b.kids[it.nibble(d)] = bucket(e, it)
		return b, true
	}
	nib := it.nibble(t.depth)
	kid, added := t.kids[nib].insert(e, it)
	if !added {
		return t, false
	}
	t = t.own(e)
	t.kids[nib] = kid
	t.count++
	return t, true
}

// remove returns t without it, and whether it was there.
func (t *trie) remove(e *edit, it item) (*trie, bool) {
	if t == nil {
		return nil, false
	}
	if t.kids == nil {
		at, found := slices.BinarySearchFunc(t.items, it, item.compare)
		switch {
		case !found:
			return t, false
		case len(t.items) == 1:
			return nil, true
		}
		t = t.own(e)
		t.items = slices.Delete(t.items, at, at+1)
		t.count--
		return t, true
	}
	nib := it.nibble(t.depth) // an item that differs before depth is not found further down
	kid, removed := t.kids[nib].remove(e, it)
	if !removed {
		return t, false
	}
	t = t.own(e)
	t.kids[nib] = kid
	t.count--
	if t.count <= bucketSize {
		items := make([]item, 0, bucketSize)
		t.walk(func(it item) bool { items = append(items, it); return true })
		return bucket(e, items...), true
	}
	if kid == nil {
		if only := t.onlyKid(); only != nil {
			return only, true
		}
	}
	return t, true
}

// onlyKid returns the one child of a branch, or nil if there are more.
func (t *trie) onlyKid() *trie {
	var only *trie
	for _, k := range t.kids {
		if k != nil && only != nil {
			return nil
		}
		if k != nil {
			only = k
		}
	}
	return only
}

// get returns the record of the item with the given key, or nil.
func (t *trie) get(head uint64, id *Hash) *record {
	key := item{head, &record{id: *id}}
	for t != nil && t.kids != nil {
		t = t.kids[key.nibble(t.depth)]
	}
	if t == nil {
		return nil
	}
	for _, it := range t.items {
		if it.head == head && it.rec.id == *id {
			return it.rec
		}
	}
	return nil
}

// walk calls yield for every item in order until it returns false, and returns whether it never did.
func (t *trie) walk(yield func(item) bool) bool {
	if t == nil {
		return true
	}
	if t.kids == nil {
		for _, it := range t.items {
			if !yield(it) {
				return false
			}
		}
		return true
	}
	for _, k := range t.kids {
		if !k.walk(yield) {
			return false
		}
	}
	return true
}

// under returns the smallest subtree that holds every item whose head begins with the first n nibbles of head. A
// bucket may hold others too.
func (t *trie) under(head uint64, n uint8) *trie {
	key := item{head: head}
	for t != nil && t.kids != nil && t.depth < n {
		t = t.kids[key.nibble(t.depth)]
	}
	if t != nil && t.kids != nil && (t.items[0].head^head)>>(64-4*n) != 0 {
		return nil // a branch further down that skipped the difference
	}
	return t
}

// prefixed calls yield for every item whose head begins with the first n nibbles of head, as walk does.
func (t *trie) prefixed(head uint64, n uint8, yield func(item) bool) bool {
	shift := 64 - 4*n
	return t.under(head, n).walk(func(it item) bool { return (it.head^head)>>shift != 0 || yield(it) })
}

// sum returns the hash of the trie's ids. It computes what no earlier call has, and keeps it.
func (t *trie) sum() Hash {
	if t == nil {
		return Hash{}
	}
	if h := t.hash.Load(); h != nil {
		return *h
	}
	var room [32 + 32*bucketSize]byte
	b := room[:0]
	if t.kids == nil {
		b = append(b, "jitos/leaf/v1"...)
		for _, it := range t.items {
			b = append(b, it.rec.id[:]...)
		}
	} else {
		b = append(b, "jitos/branch/v1"...)
		for _, k := range t.kids {
			if k != nil {
				h := k.sum()
				b = append(b, h[:]...)
			}
		}
	}
	h := Hash(blake3.Sum256(b))
	t.hash.Store(&h)
	return h
}

// differences calls removed for every item of a that b lacks and added for every item of b that a lacks, each in
// order. It skips what the two share.
func differences(a, b *trie, removed, added func(item)) {
	all := func(t *trie, f func(item)) { t.walk(func(it item) bool { f(it); return true }) }
	switch {
	case a == b:
	case a == nil:
		all(b, added)
	case b == nil:
		all(a, removed)
	case a.count == b.count && a.sum() == b.sum():
	case a.kids != nil && b.kids != nil && a.depth == b.depth:
		for i := range a.kids {
			differences(a.kids[i], b.kids[i], removed, added)
		}
	case a.kids != nil && b.kids != nil && a.depth < b.depth:
		within := b.items[0].nibble(a.depth)
		for i, k := range a.kids {
			if uint8(i) == within {
				differences(k, b, removed, added)
			} else {
				all(k, removed)
			}
		}
	case a.kids != nil && b.kids != nil:
		differences(b, a, added, removed)
	default: // one is a bucket, so that the difference is about the size of the other
		var left []item
		all(a, func(it item) { left = append(left, it) })
		all(b, func(it item) {
			for len(left) > 0 && left[0].compare(it) < 0 {
				removed(left[0])
				left = left[1:]
			}
			if len(left) > 0 && left[0].compare(it) == 0 {
				left = left[1:]
				return
			}
			added(it)
		})
		for _, it := range left {
			removed(it)
		}
	}
}
