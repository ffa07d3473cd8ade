package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

func TestMain(m *testing.M) {
	if sandbox.Main() { // a slot of the jitos that a script runs
		return
	}
	testscript.Main(m, map[string]func(){"jitos": main})
}

// TestScript runs what a person types, and compares what they see: one script per command and per bad input.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "../../testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("LANG", "C.UTF-8")
			e.Setenv("TZ", "UTC")
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/.cache")
			return nil
		},
	})
}
