package sws

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a step costs besides its command: the directories, the change set of one file, over 0, 10 and 100 layers.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{0, 10, 100} {
		b.Run(fmt.Sprint("layers ", n), func(b *testing.B) {
			w := open(b, "overlay", map[string]string{"in/a": "a"})
			var lower []*Layer
			for i := range n {
				lower = append([]*Layer{w.sh(fmt.Sprintf("mkdir -p out; echo %d > out/f%d", i, i), lower...)}, lower...)
			}
			v := w.set.View(lower)
			i := 0
			for b.Loop() {
				i++
				l := &Layer{set: w.set, in: w.set.disk, n: w.set.number(), held: true, mountable: true}
				require.NoError(b, w.set.disk.mkdir(l.upper()))
				require.NoError(b, w.set.disk.mkdir(l.work()))
				upper, err := w.set.dir.sub(l.upper())
				require.NoError(b, err)
				_, err = makeDirs(upper, v, []string{"out"})
				require.NoError(b, err)
				_, err = w.set.stack(v)
				require.NoError(b, err)
				b.StopTimer()
				os.MkdirAll(filepath.Join(w.set.path, l.upper(), "out"), 0o755)
				require.NoError(b, os.WriteFile(filepath.Join(w.set.path, l.upper(), "out", "new"), []byte("content"), 0o644))
				b.StartTimer()
				_, err = scan(upper, v)
				require.NoError(b, err)
				upper.close()
			}
		})
	}
}

// A whole step with the smallest command.
func BenchmarkRunTrue(b *testing.B) {
	for _, n := range []int{0, 10, 50} {
		b.Run(fmt.Sprint("layers ", n), func(b *testing.B) {
			w := open(b, "overlay", map[string]string{"in/a": "a"})
			var lower []*Layer
			for i := range n {
				lower = append([]*Layer{w.sh(fmt.Sprintf("mkdir -p out; echo %d > out/f%d", i, i), lower...)}, lower...)
			}
			for b.Loop() {
				_, _, err := w.set.Run(b.Context(), 0, lower, Command{Argv: []string{"/bin/true"}, Leaf: true})
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkCollapse(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint("files ", n), func(b *testing.B) {
			w := open(b, "overlay", nil)
			i := 1
			for b.Loop() {
				b.StopTimer()
				i++
				w.fresh(i)
				l := w.sh(fmt.Sprintf("mkdir -p d; i=0; while [ $i -lt %d ]; do echo %d $i > d/$i; i=$((i+1)); done", n, i))
				tx := w.tx(fmt.Sprint("t", i), l)
				unix.Sync()
				b.StartTimer()
				_, err := w.set.Collapse(b.Context(), tx)
				require.NoError(b, err)
				b.StopTimer()
				require.NoError(b, w.space.Settle())
				require.NoError(b, w.set.Discard())
				w.space.background.Wait()
				b.StartTimer()
			}
		})
	}
}

// What a later process does where one died right after it had decided on 10,000 files.
func BenchmarkRecovery(b *testing.B) {
	w := open(b, "overlay", nil)
	i := 1
	for b.Loop() {
		b.StopTimer()
		i++
		w.fresh(i)
		l := w.sh(fmt.Sprintf("mkdir d%d; i=0; while [ $i -lt 10000 ]; do echo $i > d%d/$i; i=$((i+1)); done", i, i))
		tx := w.tx(fmt.Sprint("t", i), l)
		w.space.step = func(what string) {
			if what == "add" {
				panic("the process dies")
			}
		}
		require.Panics(b, func() { w.set.Collapse(b.Context(), tx) })
		w.space.step = nil
		b.StartTimer()
		w.space.mu.Lock()
		require.NoError(b, w.space.recoverAll())
		w.space.mu.Unlock()
		b.StopTimer()
		require.Len(b, w.space.Recovered(), i-1)
		require.NoError(b, w.set.Discard())
		w.space.background.Wait()
		b.StartTimer()
	}
}

// The floors of a collapse: one file written, synced and renamed; many written and renamed, and the file system synced once.
func BenchmarkPlainWrite(b *testing.B) {
	for _, n := range []int{1, 10000} {
		b.Run(fmt.Sprint("files ", n), func(b *testing.B) {
			round := 0
			for b.Loop() {
				b.StopTimer()
				dir := filepath.Join(b.TempDir(), fmt.Sprint(round))
				round++
				require.NoError(b, os.Mkdir(dir, 0o755))
				d, err := os.Open(dir)
				require.NoError(b, err)
				unix.Sync()
				b.StartTimer()
				for i := range n {
					p := filepath.Join(dir, fmt.Sprint(i))
					f, err := os.Create(p + ".tmp")
					require.NoError(b, err)
					_, err = f.WriteString("x\n")
					require.NoError(b, err)
					if n == 1 {
						require.NoError(b, unix.Fdatasync(int(f.Fd())))
					}
					f.Close()
					require.NoError(b, os.Rename(p+".tmp", p))
				}
				if n > 1 {
					require.NoError(b, unix.Syncfs(int(d.Fd())))
				}
				d.Close()
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	w := open(b, "overlay", nil)
	upper := b.TempDir()
	for i := range 10000 {
		write(b, upper, map[string]string{fmt.Sprintf("d%d/f%d", i%100, i): string(bytes.Repeat([]byte{byte(i)}, 4096))})
	}
	d, err := openDirfd(upper, ours)
	require.NoError(b, err)
	defer d.close()
	for b.Loop() {
		c, err := scan(d, w.set.View(nil))
		require.NoError(b, err)
		require.Len(b, c, 10100)
	}
}

func BenchmarkWalk(b *testing.B) {
	root := b.TempDir()
	for i := range 10000 {
		write(b, root, map[string]string{fmt.Sprintf("d%d/f%d", i%100, i): ""})
	}
	for b.Loop() {
		base, err := NewBase(root, nil)
		require.NoError(b, err)
		for _, l := range base.Walk(nil) {
			require.NoError(b, l.Err)
		}
		base.Close()
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint("layers ", n), func(b *testing.B) {
			var layers []*Layer
			for i := range n {
				layers = append(layers, &Layer{changes: []Change{{Path: "out", After: Entry{Kind: Dir, Mode: 0o755}}, {Path: fmt.Sprintf("out/%d", i), After: Entry{Kind: File}}}})
			}
			for b.Loop() {
				_, err := Merge(layers, func(a, b int) bool { return false })
				require.NoError(b, err)
			}
		})
	}
}
