//go:build !linux

package history

import "os"

func beginWriteback(*os.File, int64, int) {}
