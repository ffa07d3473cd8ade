// Command jitos plans, runs, keeps and undoes what *.jitos.hcl files describe.
//
// This package turns arguments into calls of cmd/internal/app, and answers into lines and exit codes with the help of
// cmd/internal/screen. It decides nothing about plans, files or history. Start reading at [commands], the whole
// command line; exit.go lists the exit codes.
package main

import (
	"os"
	"runtime"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

func main() {
	if sandbox.Main() { // this process is a slot of another jitos
		return
	}
	// The collector starts when the heap has doubled: with this, which is never touched and so takes no memory, not for a
	// small one again and again.
	ballast := make([]byte, 16<<20)
	code := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	runtime.KeepAlive(ballast)
	os.Exit(code)
}
