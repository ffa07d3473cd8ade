package history

import (
	"maps"
	"slices"
	"testing"

	"github.com/flyingrobots/jitos/warp"
	"github.com/stretchr/testify/require"
)

// TestRepairKeepsWhatIsBeforeTheDamage spoils one byte after another in a history of several segments.
func TestRepairKeepsWhatIsBeforeTheDamage(t *testing.T) {
	m := memory{}
	l, err := Open("", Options{SegmentSize: 300, files: m})
	require.NoError(t, err)
	for i := range uint64(20) {
		_, err := l.Append(numbered(i))
		require.NoError(t, err)
		if i%3 == 0 {
			l.seal() // frames of three events at most
		}
	}
	require.NoError(t, l.Close())
	s, err := repair(&Reader{fs: m})
	require.NoError(t, err)
	require.Equal(t, Salvage{Events: 20}, s)
	names, err := m.List("")
	require.NoError(t, err)
	before := uint64(0)
	for _, name := range names {
		if name == headName {
			continue
		}
		for at := 0; at < len(m[name].b); at += 7 {
			bad := memory{}
			for _, n := range slices.Sorted(maps.Keys(m)) {
				bad[n] = &memoryFile{b: slices.Clone(m[n].b)}
			}
			bad[name].b[at] ^= 0x10
			_, err := Open("", Options{files: bad})
			if err != nil {
				var d *DamageError
				require.ErrorAs(t, err, &d)
			}
			s, err := repair(&Reader{fs: bad})
			require.NoError(t, err)
			require.NotNil(t, s.Damage)
			require.Equal(t, name, s.Damage.Segment)
			require.GreaterOrEqual(t, s.Events, before)
			require.Less(t, s.Events, uint64(20))
			require.NotEmpty(t, s.Aside)
			require.GreaterOrEqual(t, len(s.Lost), 20-3-int(s.Events), "one frame at most cannot be read")
			for i, e := range s.Lost {
				require.Equal(t, numbered(e.Idx).Data, e.Data)
				require.True(t, e.Idx >= s.Events && (i == 0 || e.Idx > s.Lost[i-1].Idx))
			}
			before = s.Events
			n, err := survivors(t, bad, "")
			require.NoError(t, err, "%s at %d", name, at)
			require.Equal(t, s.Events, n)
		}
	}
	short := memory{segmentName(0): {b: slices.Clone(m[segmentName(0)].b)}, headName: m[headName]}
	s, err = repair(&Reader{fs: short})
	require.NoError(t, err)
	require.NotNil(t, s.Damage, "segments that are gone")
	_, err = survivors(t, short, "")
	require.NoError(t, err)
}

// TestWhatIsGoneIsFound takes each file that a history, or a compacted one, cannot do without out of it: whoever reads or
// opens it is told, as long as there is a head, and Repair makes a history of what it can.
func TestWhatIsGoneIsFound(t *testing.T) {
	for _, size := range []int64{0, 300} {
		for _, compacted := range []bool{false, true} {
			for _, checkpointed := range []bool{false, true} {
				whole := func() memory {
					m, g := memory{}, warp.Graph{}
					l, err := Open("", Options{SegmentSize: size, files: m})
					require.NoError(t, err)
					for i := range uint64(20) {
						g = assert(t, l, g, i)
					}
					if compacted {
						require.NoError(t, l.Compact(8))
					}
					if checkpointed {
						require.NoError(t, l.Checkpoint(g))
					}
					require.NoError(t, l.Close())
					return m
				}
				names, err := whole().List("")
				require.NoError(t, err)
				for _, name := range names {
					if name == headName || name == checkpointName {
						continue
					}
					m := whole()
					require.NoError(t, m.Remove(name))
					r := &Reader{fs: m}
					var d *DamageError
					_, err := r.Verify()
					require.ErrorAs(t, err, &d, name)
					s, err := repair(r)
					require.NoError(t, err)
					require.NotNil(t, s.Damage, name)
					if name == baseName && checkpointed {
						require.EqualValues(t, 20, s.Events)
					}
					n, err := r.Verify()
					require.NoError(t, err, "%s of %v", name, names)
					require.LessOrEqual(t, n, s.Events)
					g, err := r.System()
					require.NoError(t, err)
					facts, _ := g.Len()
					require.EqualValues(t, s.Events, facts)
					again, err := repair(r)
					require.NoError(t, err)
					require.Equal(t, Salvage{Events: s.Events}, again)
					l, err := Open("", Options{SegmentSize: size, files: m})
					require.NoError(t, err)
					require.Equal(t, s.Events, l.Len())
					require.NoError(t, l.Close())
				}
			}
		}
	}
}
