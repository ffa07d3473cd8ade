//go:build linux

package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// benchDir is a directory on a real file system: JITOS_BENCH_DIR, else where the tests' temporary files go.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("JITOS_BENCH_DIR"), "sandbox-bench-")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, sandbox.Clean(dir)) })
	return dir
}

func inputs(b *testing.B, ws string) {
	for _, d := range []string{"in", "out"} {
		require.NoError(b, os.Mkdir(filepath.Join(ws, d), 0o755))
	}
	for i := range 1000 {
		require.NoError(b, os.WriteFile(filepath.Join(ws, "in", "f"+strconv.Itoa(i)), fmt.Appendln(nil, i), 0o644))
	}
}

// two runs b.N steps on two goroutines.
func two(b *testing.B, step func(slot, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for slot := range 2 {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				step(slot, i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

func script(i int) []string {
	return []string{"/bin/sh", "-c", fmt.Sprintf("cksum in/f%d > out/f%d", i%1000, i%1000)}
}

// cpu returns what the process and its children that have ended have used.
func cpu() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var ru syscall.Rusage
		if err := syscall.Getrusage(who, &ru); err != nil {
			panic(err)
		}
		sum += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	return sum
}

// BenchmarkStep and BenchmarkPlainExec are the figure that counts: run them alternately, compare the medians.
func BenchmarkStep(b *testing.B) {
	for _, lowers := range []int{0, 10, 50} {
		b.Run(fmt.Sprint("lowers=", lowers), func(b *testing.B) {
			p := newPlace(b, benchDir(b), func(o *sandbox.Options) { o.Slots = 2 })
			inputs(b, p.ws)
			var lower []string
			for i := range lowers {
				l := filepath.Join(p.store, "lower"+strconv.Itoa(i))
				require.NoError(b, os.MkdirAll(filepath.Join(l, "dep"+strconv.Itoa(i)), 0o755))
				lower = append(lower, l)
			}
			lower = append(lower, p.ws)
			run := func(slot, i int, argv []string) {
				o := &sandbox.Overlay{Lower: lower, Upper: filepath.Join(p.store, strconv.Itoa(i)+"u"), Work: filepath.Join(p.store, strconv.Itoa(i)+"w")}
				if os.Mkdir(o.Upper, 0o755) != nil || os.Mkdir(o.Work, 0o755) != nil {
					panic("mkdir")
				}
				res, err := p.pool.Run(context.Background(), slot, sandbox.Command{Argv: argv, Env: []string{path}, Dir: p.ws, Overlay: o})
				if err != nil || res.Exit != 0 {
					panic(fmt.Sprint(res, err))
				}
			}
			run(0, -1, script(0))
			run(1, -2, script(1))
			before := cpu()
			two(b, func(slot, i int) { run(slot, i, script(i)) })
			require.NoError(b, p.pool.Close()) // what a slot used counts when it has ended
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func BenchmarkPlainExec(b *testing.B) {
	ws := benchDir(b)
	inputs(b, ws)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(b, err)
	defer null.Close()
	before := cpu()
	two(b, func(_, i int) {
		argv := script(i)
		var pipe [2]int
		if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
			panic(err)
		}
		pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Dir: ws, Env: []string{path}, Files: []uintptr{null.Fd(), uintptr(pipe[1]), uintptr(pipe[1])}})
		if err != nil {
			panic(err)
		}
		syscall.Close(pipe[1])
		for n := 1; n > 0; {
			n, _ = syscall.Read(pipe[0], make([]byte, 512))
		}
		syscall.Close(pipe[0])
		var st syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &st, 0, nil); err != nil || st != 0 {
			panic(fmt.Sprint(st, err))
		}
	})
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkSlot is the start and end of a slot.
func BenchmarkSlot(b *testing.B) {
	ws := benchDir(b)
	for b.Loop() {
		p, err := sandbox.New(sandbox.Options{Slots: 1, Workspace: ws})
		require.NoError(b, err)
		_, err = p.Run(context.Background(), 0, sandbox.Command{Argv: []string{"/"}, Dir: "/"})
		require.NoError(b, err)
		require.NoError(b, p.Close())
	}
}
