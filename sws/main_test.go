package sws

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// quietRace keeps processes with the race detector from sleeping for a second as they end.
const quietRace = "GORACE=atexit_sleep_ms=0"

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
	os.Setenv("GORACE", strings.TrimPrefix(quietRace, "GORACE="))
	os.Exit(m.Run())
}
