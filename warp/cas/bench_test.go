package cas_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/stretchr/testify/require"
)

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, err := cas.Open(b.TempDir())
			require.NoError(b, err)
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				binary.LittleEndian.PutUint64(buf, uint64(i))
				_, err := s.Put(buf)
				require.NoError(b, err)
			}
		})
	}
	b.Run("again", func(b *testing.B) {
		s, err := cas.Open(b.TempDir())
		require.NoError(b, err)
		buf := make([]byte, 4<<10)
		for b.Loop() {
			_, err := s.Put(buf)
			require.NoError(b, err)
		}
	})
	b.Run("adopt", func(b *testing.B) {
		dir := b.TempDir()
		s, err := cas.Open(filepath.Join(dir, "objects"))
		require.NoError(b, err)
		path := filepath.Join(dir, "f")
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			require.NoError(b, os.WriteFile(path, nil, 0o644))
			b.StartTimer()
			require.NoError(b, s.Adopt(path, cas.Sum(binary.LittleEndian.AppendUint64(nil, uint64(i)))))
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s, err := cas.Open(b.TempDir())
	require.NoError(b, err)
	d, err := s.Put(make([]byte, 4<<10))
	require.NoError(b, err)
	for b.Loop() {
		_, err := s.Get(d)
		require.NoError(b, err)
	}
}
