package warp

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// Proposal is a rewrite that wants to be part of a tick.
type Proposal struct {
	Order     uint64 // its place, for instance that of its step in the plan
	Rewrite   Rewrite
	Footprint Footprint // from Rule.Instantiate, or Rewrite.Footprint
}

// Receipt tells what a tick did. Its canonical encoding, by package cbor, is the same wherever the same proposals met
// the same graph.
type Receipt struct {
	Tick    uint64    `cbor:"n"`
	Applied []uint64  `cbor:"applied"` // orders of the proposals, ascending
	Refused []Refusal `cbor:"refused,omitempty"`
	Reads   []Hash    `cbor:"reads,omitempty"` // of all that were applied, sorted
	Writes  []Hash    `cbor:"writes,omitempty"`
	Digest  Hash      `cbor:"digest"` // of the graph after the tick
}

// Refusal says why a proposal was not applied.
type Refusal struct {
	Order  uint64 `cbor:"order"`
	By     uint64 `cbor:"by"`     // the order of the proposal before it on which it depends, if Reason is ErrDependent's
	On     Hash   `cbor:"on"`     // the node or edge that both are about, or that stood in its way
	Reason string `cbor:"reason"` // an error's text
}

// ErrDependent says that a rewrite may not commute with one that went before it in the same tick.
var ErrDependent = errors.New("depends on another rewrite of the tick")

// Tick applies those of the proposals that are independent of each other, in their order and, where that is equal, in
// that of their bytes and footprints. So the outcome and the receipt depend on the set of proposals alone, not on how it is arranged.
// What is refused is for a later tick to try again. The list is not changed.
func (g Graph) Tick(n uint64, proposals []Proposal) (Graph, Receipt) {
	list := slices.Clone(proposals)
	slices.SortFunc(list, func(a, b Proposal) int {
		if a.Order != b.Order {
			return cmp.Compare(a.Order, b.Order)
		}
		return cmp.Or(bytes.Compare(a.Rewrite.Encode(), b.Rewrite.Encode()), a.Footprint.compare(b.Footprint))
	})
	receipt := Receipt{Tick: n, Applied: make([]uint64, 0, len(list))}
	t := tick{map[Hash]uint64{}, map[Hash]uint64{}, map[uint64]uint64{}, map[uint64]uint64{}}
	var all Footprint
	for i := range list {
		p := &list[i]
		by, on, blocked := t.blocks(&p.Footprint)
		next, err := g, error(nil)
		if blocked {
			err = ErrDependent
		} else if next, err = g.Apply(p.Rewrite); err != nil {
			if op, ok := errors.AsType[*OpError](err); ok {
				on, err = op.By, op.Err
			}
		}
		if err != nil {
			receipt.Refused = append(receipt.Refused, Refusal{Order: p.Order, By: by, On: on, Reason: err.Error()})
			continue
		}
		g = next
		t.add(&p.Footprint, p.Order)
		all.Reads = append(all.Reads, p.Footprint.Reads...)
		all.Writes = append(all.Writes, p.Footprint.Writes...)
		receipt.Applied = append(receipt.Applied, p.Order)
	}
	all = all.join(Footprint{})
	receipt.Reads, receipt.Writes, receipt.Digest = all.Reads, all.Writes, g.Digest()
	return g, receipt
}

// tick knows for all that was applied so far which order reads, writes, scans and touches what.
type tick struct {
	reads, writes  map[Hash]uint64
	scans, touches map[uint64]uint64
}

func (t *tick) blocks(f *Footprint) (by uint64, on Hash, ok bool) {
	for _, w := range f.Writes {
		if by, ok = t.writes[w]; ok {
			return by, w, true
		}
		if by, ok = t.reads[w]; ok {
			return by, w, true
		}
	}
	for _, r := range f.Reads {
		if by, ok = t.writes[r]; ok {
			return by, r, true
		}
	}
	for _, p := range f.Touches {
		if by, ok = t.scans[p]; ok {
			return by, Hash{}, true
		}
	}
	for _, p := range f.Scans {
		if by, ok = t.touches[p]; ok {
			return by, Hash{}, true
		}
	}
	return 0, Hash{}, false
}

// add keeps the first order for each thing, so that a refusal names the first that blocks.
func (t *tick) add(f *Footprint, order uint64) {
	keep(t.reads, f.Reads, order)
	keep(t.writes, f.Writes, order)
	keep(t.scans, f.Scans, order)
	keep(t.touches, f.Touches, order)
}

func keep[K comparable](m map[K]uint64, keys []K, order uint64) {
	for _, k := range keys {
		if _, ok := m[k]; !ok {
			m[k] = order
		}
	}
}
