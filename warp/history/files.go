package history

import (
	"io"
	"os"
)

// file is what the log needs of an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}

// files are the file operations of the log. Tests put a faulty one in place of the operating system's.
type files interface {
	Open(name string, flag int) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	List(dir string) ([]string, error) // in the order of the names
	MkdirAll(dir string) error
	SyncDir(dir string) error
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// WriteAt writes b. Of much it asks that the disk begin with it at once, so that the next Sync has less to wait for.
func (f osFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	if err == nil && n >= flushAt {
		beginWriteback(f.File, off, n)
	}
	return n, err
}

type osFiles struct{}

func (osFiles) Open(name string, flag int) (file, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (osFiles) Remove(name string) error     { return os.Remove(name) }
func (osFiles) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o777) }
func (osFiles) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (osFiles) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}
