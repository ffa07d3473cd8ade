package history

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
	"github.com/stretchr/testify/require"
)

func numbered(i uint64) Event {
	return Event{Kind: Observation, View: SWS(int(i % 3)), At: int64(i), Data: []byte{0x19, byte(i>>8) | 1, byte(i)}}
}

// build makes a history of events of which the first acknowledged were committed, and returns its one segment.
func build(t testing.TB, acknowledged, events int) (segment, headBytes []byte, h head) {
	m := memory{}
	l, err := Open("", Options{files: m})
	require.NoError(t, err)
	for i := range events {
		_, err := l.Append(numbered(uint64(i)))
		require.NoError(t, err)
		if i == acknowledged-1 {
			require.NoError(t, l.Commit())
		}
		if i%3 == 0 {
			l.seal() // frames of one event to three
		}
	}
	require.NoError(t, l.Flush()) // and then the machine stops
	h, ok, err := readHead(m, "")
	require.NoError(t, err)
	require.True(t, ok)
	return m[segmentName(0)].b, m[headName].b, h
}

// survivors opens the history as the next process would and returns how many events it finds, all of which must be
// what was appended, or the error. The reader must see the same.
func survivors(t *testing.T, fsys files, dir string) (uint64, error) {
	r := &Reader{dir: dir, fs: fsys}
	seen, readErr := uint64(0), error(nil)
	for e, err := range r.From(0) {
		if readErr = err; err != nil {
			break
		}
		want := numbered(e.Idx)
		want.Idx = e.Idx
		require.Equal(t, want, e)
		seen++
	}
	l, err := Open(dir, Options{files: fsys})
	if err != nil {
		return 0, errors.Join(err, readErr)
	}
	require.NoError(t, readErr)
	n, _ := l.Head()
	require.Equal(t, seen, n)
	_, err = l.Append(numbered(n))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	n2, err := r.Verify()
	require.NoError(t, err)
	require.Equal(t, n+1, n2)
	return n, nil
}

// memory is a directory in memory.
type memory map[string]*memoryFile

type memoryFile struct{ b, synced []byte }

func (m memory) Open(name string, flag int) (file, error) {
	f, ok := m[name]
	switch {
	case ok && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case !ok && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case !ok || flag&os.O_TRUNC != 0:
		f = &memoryFile{}
		m[name] = f
	}
	return f, nil
}

func (m memory) Rename(from, to string) error {
	if m[from] == nil {
		return fs.ErrNotExist
	}
	m[to] = m[from]
	delete(m, from)
	return nil
}

func (m memory) Remove(name string) error      { delete(m, name); return nil }
func (m memory) List(string) ([]string, error) { return slices.Sorted(maps.Keys(m)), nil }
func (m memory) MkdirAll(string) error         { return nil }
func (m memory) SyncDir(string) error          { return nil }

func (f *memoryFile) ReadAt(b []byte, off int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(b, off)
}

func (f *memoryFile) WriteAt(b []byte, off int64) (int, error) {
	if grow := int(off) + len(b) - len(f.b); grow > 0 {
		f.b = append(f.b, make([]byte, grow)...)
	}
	return copy(f.b[off:], b), nil
}

func (f *memoryFile) Truncate(n int64) error { f.b = f.b[:n]; return nil }
func (f *memoryFile) Sync() error            { f.synced = slices.Clone(f.b); return nil }
func (f *memoryFile) Close() error           { return nil }
func (f *memoryFile) Size() (int64, error)   { return int64(len(f.b)), nil }

func damaged(head, segment []byte) memory {
	m := memory{segmentName(0): {b: slices.Clone(segment)}}
	if head != nil {
		m[headName] = &memoryFile{b: slices.Clone(head)}
	}
	return m
}

// fragile is a directory whose power may fail: what was not synced, contents and names, is gone then.
type fragile struct {
	memory
	names memory // that are durable
}

func (f *fragile) SyncDir(string) error { f.names = maps.Clone(f.memory); return nil }

func (f *fragile) afterPowerLoss() memory {
	m := memory{}
	for name, file := range f.names {
		m[name] = &memoryFile{b: slices.Clone(file.synced)}
	}
	return m
}

// TestWhatIsAcknowledgedSurvivesPowerLoss turns the power off after every commit, through several segments and processes.
func TestWhatIsAcknowledgedSurvivesPowerLoss(t *testing.T) {
	f := &fragile{memory: memory{}}
	n := uint64(0)
	for round := range 8 {
		l, err := Open("", Options{SegmentSize: 600, files: f})
		require.NoError(t, err)
		for range 7 {
			require.NoError(t, l.Commit()) // at first: of what the process before wrote
			have, err := survivors(t, f.afterPowerLoss(), "")
			require.NoError(t, err)
			require.Equal(t, n, have)
			for range 1 + n%4 {
				_, err := l.Append(numbered(n))
				require.NoError(t, err)
				n++
			}
		}
		if round%2 == 0 {
			require.NoError(t, l.Flush()) // and the process is killed
		} else {
			require.NoError(t, l.Checkpoint(warp.Graph{}))
			require.Contains(t, f.afterPowerLoss(), checkpointName)
			_, err := (&Reader{fs: f.afterPowerLoss()}).checkpoint(checkpointName)
			require.NoError(t, err)
			require.NoError(t, l.Close())
		}
	}
}

func TestTornAtEveryByte(t *testing.T) {
	const acknowledged, events = 5, 9
	whole, head, h := build(t, acknowledged, events)
	for cut := range whole {
		for name, tail := range map[string][]byte{"cut": nil, "zeros": make([]byte, len(whole)-cut), "more zeros": make([]byte, 9000)} {
			torn := append(slices.Clone(whole[:cut]), tail...)
			n, err := survivors(t, damaged(head, torn), "")
			if int64(cut) >= h.end {
				require.NoError(t, err, "%s at %d", name, cut)
				require.GreaterOrEqual(t, n, uint64(acknowledged))
				require.LessOrEqual(t, n, uint64(events))
			} else if string(torn) != string(whole) {
				var d *DamageError
				require.ErrorAs(t, err, &d, "%s at %d", name, cut)
			}
			// Without the head file a torn end is still no damage, and nothing is invented.
			if name == "cut" {
				n, err = survivors(t, damaged(nil, torn), "")
				require.NoError(t, err, "%s at %d", name, cut)
				require.LessOrEqual(t, n, uint64(events))
			}
		}
	}
}

// TestWhatIsAppendedAsOneIsWholeOrNotThere cuts off the end of a history whose events came three by three.
func TestWhatIsAppendedAsOneIsWholeOrNotThere(t *testing.T) {
	m := memory{}
	l, err := Open("", Options{files: m})
	require.NoError(t, err)
	for n := uint64(0); n < 9000; n += 3 { // more than one frame holds
		first, err := l.Append(numbered(n), numbered(n+1), numbered(n+2))
		require.NoError(t, err)
		require.Equal(t, n, first)
	}
	require.NoError(t, l.Flush())
	whole, counts := m[segmentName(0)].b, map[uint64]bool{}
	require.Greater(t, len(whole), 2*frameAt)
	for cut := len(whole); cut > 0; cut -= 10_000 {
		n, err := survivors(t, damaged(nil, whole[:cut]), "")
		require.NoError(t, err)
		require.Zero(t, n%3, "cut at %d", cut)
		counts[n] = true
	}
	require.Greater(t, len(counts), 2)
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	const acknowledged, events = 4, 6
	whole, head, h := build(t, acknowledged, events)
	for bit := range len(whole) * 8 {
		bad := slices.Clone(whole)
		bad[bit/8] ^= 1 << (bit % 8)
		for _, head := range [][]byte{head, nil} {
			r := &Reader{fs: damaged(head, bad)}
			seen := 0
			var readErr error
			for e, err := range r.From(0) {
				if readErr = err; err == nil {
					want := numbered(e.Idx)
					want.Idx = e.Idx
					require.Equal(t, want, e)
					seen++
				}
			}
			var d *DamageError
			switch {
			case int64(bit/8) < h.end:
				require.ErrorAs(t, readErr, &d, "bit %d", bit)
			default: // an end that nobody acknowledged
				require.Less(t, seen, events, "bit %d", bit)
			}
		}
	}
	for bit := range len(head) * 8 { // a bad head is no head
		bad := slices.Clone(head)
		bad[bit/8] ^= 1 << (bit % 8)
		n, err := survivors(t, damaged(bad, whole), "")
		require.NoError(t, err)
		require.EqualValues(t, events, n)
	}
}

// faulty counts the calls that change something and fails the one with number fail, and all later ones if it stays
// broken. Of a write that fails, half is written.
type faulty struct {
	files
	calls, fail int
	stays       bool
	err         error
}

func (f *faulty) trip() error {
	f.calls++
	if f.calls == f.fail || f.stays && f.calls > f.fail && f.fail > 0 {
		return f.err
	}
	return nil
}

func (f *faulty) Open(name string, flag int) (file, error) {
	if flag&os.O_CREATE != 0 {
		if err := f.trip(); err != nil {
			return nil, err
		}
	}
	got, err := f.files.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &faultyFile{got, f}, nil
}

func (f *faulty) Rename(from, to string) error {
	if err := f.trip(); err != nil {
		return err
	}
	return f.files.Rename(from, to)
}

func (f *faulty) Remove(name string) error {
	if err := f.trip(); err != nil {
		return err
	}
	return f.files.Remove(name)
}

func (f *faulty) SyncDir(dir string) error {
	if err := f.trip(); err != nil {
		return err
	}
	return f.files.SyncDir(dir)
}

func (f *faulty) MkdirAll(dir string) error {
	if err := f.trip(); err != nil {
		return err
	}
	return f.files.MkdirAll(dir)
}

type faultyFile struct {
	file
	f *faulty
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.f.trip(); err != nil {
		n, _ := f.file.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.file.WriteAt(b, off)
}

func (f *faultyFile) Sync() error {
	if err := f.f.trip(); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultyFile) Truncate(n int64) error {
	if err := f.f.trip(); err != nil {
		return err
	}
	return f.file.Truncate(n)
}

func TestEveryFailingCall(t *testing.T) {
	for _, stays := range []bool{false, true} {
		for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
			for fail := 1; ; fail++ {
				m, dir := memory{}, ""
				f := &faulty{files: m, fail: fail, stays: stays, err: cause}
				acknowledged, failed := uint64(0), false
				for range 3 {
					l, err := Open(dir, Options{SegmentSize: 600, files: f})
					if err != nil {
						require.ErrorIs(t, err, cause)
						failed = true
						continue
					}
					appended, _ := l.Head()
					require.GreaterOrEqual(t, appended, acknowledged)
					for range 12 {
						idx, err := l.Append(numbered(appended))
						if err == nil {
							require.Equal(t, appended, idx)
							appended++
							if idx%4 == 3 {
								err = l.Commit()
							}
							if err == nil && idx%4 == 3 {
								acknowledged = idx + 1
							}
						}
						if err != nil {
							failed = true
							require.ErrorIs(t, err, ErrPoisoned)
							require.ErrorIs(t, err, cause)
							require.ErrorIs(t, l.Commit(), ErrPoisoned, "a failed log acknowledges nothing more")
							break
						}
					}
					if err := l.Checkpoint(warp.Graph{}); err != nil {
						failed = true
						require.ErrorIs(t, err, cause)
					} else {
						acknowledged = appended
					}
					if err := l.Close(); err != nil {
						require.ErrorIs(t, err, ErrPoisoned)
					}
				}
				n, err := survivors(t, m, dir)
				require.NoError(t, err)
				require.GreaterOrEqual(t, n, acknowledged, "fail %d", fail)
				if f.calls < fail {
					require.False(t, failed)
					require.Greater(t, fail, 20)
					break
				}
			}
		}
	}
}

// TestEveryFailingCallOfACompaction stops the second compaction of a history at each of its calls. What it has not dropped is
// as provable as before, and it can be done again.
func TestEveryFailingCallOfACompaction(t *testing.T) {
	for fail := 1; ; fail++ {
		m := memory{}
		f := &faulty{files: m}
		l, err := Open("", Options{SegmentSize: 600, files: f})
		require.NoError(t, err)
		g := warp.Graph{}
		for i := range uint64(120) {
			g = assert(t, l, g, i)
			if i == 60 {
				require.NoError(t, l.Compact(40))
			}
		}
		require.NoError(t, l.Commit())
		f.calls, f.fail, f.stays, f.err = 0, fail, true, syscall.EIO
		err = l.Compact(90)
		whole := err == nil
		f.fail = 0
		require.NoError(t, l.Close())

		for range 2 {
			r := &Reader{fs: m}
			first, err := r.First()
			require.NoError(t, err)
			require.Positive(t, first)
			n, err := r.Verify()
			require.NoError(t, err, "fail %d", fail)
			require.GreaterOrEqual(t, n, uint64(30))
			again, err := r.System()
			require.NoError(t, err)
			require.Equal(t, g.Digest(), again.Digest())
			if l, err = Open("", Options{SegmentSize: 600, files: m}); err == nil {
				err = l.Compact(90)
			}
			require.NoError(t, err)
			require.NoError(t, l.Close())
		}
		if whole {
			require.Greater(t, fail, 5)
			return
		}
	}
}

// assert appends an event that asserts the fact seen(i).
func assert(t testing.TB, l *Log, g warp.Graph, i uint64) warp.Graph {
	fact, err := warp.Fact("seen", i)
	require.NoError(t, err)
	w := warp.Rewrite{Ops: []warp.Op{warp.AddNode(fact)}}
	g, err = g.Apply(w)
	require.NoError(t, err)
	b, err := cbor.Encode(map[string]any{"ops": w.Encode()})
	require.NoError(t, err)
	_, err = l.Append(Event{Kind: RewriteApplied, Digest: g.Digest(), Data: b})
	require.NoError(t, err)
	return g
}

// TestReadersBesideACompaction reads everything there is, again and again, while a writer appends, makes checkpoints and
// drops what is old. A reader that is overtaken is told so, and nothing else goes wrong.
func TestReadersBesideACompaction(t *testing.T) {
	dir := t.TempDir()
	const total = 3000
	done := make(chan error)
	read := func(r *Reader) error {
		last := uint64(0)
		for e, err := range r.All() {
			if errors.Is(err, ErrCompacted) && last > 0 {
				return nil
			}
			if err != nil {
				return fmt.Errorf("after event %d: %w", last, err)
			}
			if last > 0 && e.Idx != last+1 {
				return fmt.Errorf("event %d after %d", e.Idx, last)
			}
			last = e.Idx
		}
		g, err := r.System()
		if n, _ := g.Len(); err != nil || uint64(n) <= last && last > 0 {
			return fmt.Errorf("System of %d facts after event %d: %w", n, last, err)
		}
		if _, err = r.Verify(); errors.Is(err, ErrCompacted) {
			return nil
		}
		return err
	}
	for range 2 {
		go func() {
			r := &Reader{dir: dir, fs: osFiles{}}
			for {
				if err := read(r); err != nil {
					done <- err
					return
				}
				if n, _, err := r.Head(); err != nil || n == total {
					done <- err
					return
				}
			}
		}()
	}
	l, err := Open(dir, Options{SegmentSize: 4000})
	require.NoError(t, err)
	g := warp.Graph{}
	for i := range uint64(total) {
		g = assert(t, l, g, i)
		switch {
		case i%301 == 0:
			require.NoError(t, l.Checkpoint(g))
		case i%101 == 0 && i > 200:
			require.NoError(t, l.Compact(i-200))
		case i%17 == 0:
			require.NoError(t, l.Flush())
		}
	}
	require.NoError(t, l.Close())
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

var kills = flag.Int("kills", 50, "how often TestKilledWriter kills")

// TestKilledWriter kills a process that appends and commits, over and over in one history. What it acknowledged on its
// standard output must be there.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv("JITOS_TEST_HISTORY"); dir != "" {
		l, err := Open(dir, Options{SegmentSize: 4000})
		require.NoError(t, err)
		for n, _ := l.Head(); ; n++ {
			_, err := l.Append(numbered(n))
			require.NoError(t, err)
			if n%7 == 0 {
				require.NoError(t, l.Commit())
				fmt.Println("acknowledged", n+1)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "history")
	self, err := os.Executable()
	require.NoError(t, err)
	var acknowledged uint64
	for round := range *kills {
		cmd := exec.Command(self, "-test.run=^TestKilledWriter$")
		cmd.Env = append(os.Environ(), "JITOS_TEST_HISTORY="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		b := make([]byte, 40*(1+round%20))
		n, _ := out.Read(b)
		time.Sleep(time.Duration(round%13) * 100 * time.Microsecond)
		require.NoError(t, cmd.Process.Kill())
		rest := make([]byte, 1<<20)
		text := string(b[:n])
		for {
			n, err := out.Read(rest)
			text += string(rest[:n])
			if err != nil {
				break
			}
		}
		_ = cmd.Wait() // it was killed
		lines := strings.Split(text, "\n")
		for _, line := range lines[:len(lines)-1] {
			word, number, _ := strings.Cut(line, " ")
			require.Equal(t, "acknowledged", word, text)
			acknowledged, err = strconv.ParseUint(number, 10, 64)
			require.NoError(t, err)
		}
		r := &Reader{dir: dir, fs: osFiles{}}
		have, _, err := r.Head()
		require.NoError(t, err)
		require.GreaterOrEqual(t, have, acknowledged)
	}
	n, err := survivors(t, osFiles{}, dir)
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, acknowledged)
	require.NotZero(t, acknowledged)
}

func TestReadersWhileAWriterWrites(t *testing.T) {
	dir := t.TempDir()
	const total = 20_000
	done := make(chan error)
	for range 2 {
		go func() {
			r := &Reader{dir: dir, fs: osFiles{}}
			for seen := uint64(0); seen < total; {
				for e, err := range r.From(seen) {
					if err != nil {
						done <- err
						return
					}
					if want := numbered(e.Idx); e.Idx != seen || e.At != want.At || string(e.Data) != string(want.Data) {
						done <- fmt.Errorf("event %d is %v", seen, e)
						return
					}
					seen++
				}
				if n, _, err := r.Head(); err != nil || n < seen {
					done <- fmt.Errorf("head %d after %d events: %w", n, seen, err)
					return
				}
			}
			done <- nil
		}()
	}
	l, err := Open(dir, Options{SegmentSize: 40_000})
	require.NoError(t, err)
	for i := range uint64(total) {
		_, err := l.Append(numbered(i))
		require.NoError(t, err)
		if i%17 == 0 {
			require.NoError(t, l.Flush())
		}
		if i%501 == 0 {
			require.NoError(t, l.Commit())
		}
	}
	require.NoError(t, l.Close())
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

func FuzzSegment(f *testing.F) {
	for _, events := range []int{1, 3} {
		whole, _, _ := build(f, events, events)
		f.Add(whole)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Reader{fs: damaged(nil, b)}
		again, at, events := []byte(nil), 0, 0
		for e, err := range r.scan(0) {
			if err != nil {
				return
			}
			if e.Idx == 0 {
				again = appendSegmentHeader(nil, 0, e.before)
			}
			if events == 0 {
				at = len(again)
				again = openFrame(again)
			}
			again = appendEvent(again, &e.Event)
			if events++; e.after != e.before {
				require.Equal(t, e.after, sealFrame(again[at:], events, e.before, b[at+3]))
				events = 0
			}
		}
		require.Zero(t, events)
		require.Equal(t, string(b[:len(again)]), string(again)) // what we accept is what we would write
	})
}
