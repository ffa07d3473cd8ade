package sws

import (
	"os"
	"testing"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// TestMain becomes a sandbox slot, or the process that dies in the middle of a collapse, when it is started as one.
func TestMain(m *testing.M) {
	if sandbox.Main() {
		return
	}
	if root := os.Getenv("SWS_CRASH_ROOT"); root != "" {
		crash(root, os.Getenv("SWS_CRASH_AT"))
		return
	}
	os.Exit(m.Run())
}
