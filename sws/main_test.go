package sws

import (
	"fmt"
	"os"
	"testing"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// TestMain becomes a sandbox slot, the process that dies in the middle of a collapse, or a command, when it is started as one.
func TestMain(m *testing.M) {
	if sandbox.Main() {
		return
	}
	if arg := os.Getenv("SWS_MESS"); arg != "" {
		var seed uint64
		var ops int
		var gentle bool
		fmt.Sscan(arg, &seed, &ops, &gentle)
		mess(seed, ops, gentle)
		return
	}
	if os.Getenv("SWS_DEEP") != "" {
		if err := deep(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if root := os.Getenv("SWS_CRASH_ROOT"); root != "" {
		crash(root, os.Getenv("SWS_CRASH_AT"))
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // with -race each process that a test starts would sleep for a second as it ends
	os.Exit(m.Run())
}
