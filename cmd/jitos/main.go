// Command jitos plans, runs, keeps and undoes what *.jitos.hcl files describe.
//
// This package turns arguments into calls of cmd/internal/app, and answers into lines and exit codes with the help of
// cmd/internal/screen. It decides nothing about plans, files or history. Start reading at [commands], the whole
// command line; exit.go lists the exit codes.
package main

import (
	"os"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

func main() {
	if sandbox.Main() { // this process is a slot of another jitos
		return
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
