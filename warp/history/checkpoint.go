package history

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/flyingrobots/jitos/warp"
	"github.com/zeebo/blake3"
)

const (
	checkpointName  = "checkpoint" // can be deleted
	baseName        = "base"       // the state where a compacted history begins; cannot
	checkpointMagic = "JITOSCHK"
	checkpointHead  = 8 + 8 + 32 + 32
)

// checkpoint is the System's graph before event n.
type checkpoint struct {
	n     uint64
	chain warp.Hash // before event n
	graph warp.Graph
}

func (r *Reader) writeCheckpoint(name string, c checkpoint) (err error) {
	b := append(make([]byte, 0, 1<<16), checkpointMagic...)
	b = binary.LittleEndian.AppendUint64(b, c.n)
	b = append(b, c.chain[:]...)
	b = append(b, make([]byte, 32)...) // the hash of all the rest
	b = c.graph.Append(b)
	copy(b[48:], checkpointSum(b))

	temp := filepath.Join(r.dir, name+".tmp")
	f, err := r.fs.Open(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, r.fs.Remove(temp))
	}
	if err := r.fs.Rename(temp, filepath.Join(r.dir, name)); err != nil {
		return errors.Join(err, r.fs.Remove(temp))
	}
	return r.fs.SyncDir(r.dir)
}

func checkpointSum(b []byte) []byte {
	h := blake3.New()
	h.Write(b[:48])
	h.Write(b[checkpointHead:])
	return h.Sum(nil)
}

// checkpointed is how many events the last checkpoint says that it covers; 0 if there is none. What it says is not verified:
// it only decides when to make the next one.
func (r *Reader) checkpointed() uint64 {
	f, err := r.fs.Open(filepath.Join(r.dir, checkpointName), os.O_RDONLY)
	if err != nil {
		return 0
	}
	defer f.Close()
	var b [16]byte
	if _, err := f.ReadAt(b[:], 0); err != nil || string(b[:8]) != checkpointMagic {
		return 0
	}
	return binary.LittleEndian.Uint64(b[8:])
}

var errNoCheckpoint = errors.New("no sound checkpoint")

func (r *Reader) checkpoint(name string) (c checkpoint, err error) {
	f, err := r.fs.Open(filepath.Join(r.dir, name), os.O_RDONLY)
	if err != nil {
		return c, err
	}
	size, err := f.Size()
	b := make([]byte, size)
	if err == nil && size > 0 {
		_, err = f.ReadAt(b, 0)
	}
	if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, io.EOF) {
		return c, err
	}
	if len(b) < checkpointHead || string(b[:8]) != checkpointMagic {
		return c, errNoCheckpoint
	}
	if string(checkpointSum(b)) != string(b[48:checkpointHead]) {
		return c, errNoCheckpoint
	}
	c.n = binary.LittleEndian.Uint64(b[8:])
	copy(c.chain[:], b[16:])
	c.graph, err = warp.DecodeGraph(b[checkpointHead:])
	return c, err
}
