//go:build !linux

package history_test

import "os"

func fdatasync(f *os.File) error { return f.Sync() }
