// Package stdlib holds the modules that jitos brings along: `use "x" { source = "std/NAME" }`.
//
// A module is a directory of *.jitos.hcl files here, as any other. Each describes itself in the comment that its first
// file begins with, and is run by a script in cmd/jitos.
package stdlib

import (
	"embed"
	"io/fs"
)

//go:embed */*.jitos.hcl
var modules embed.FS

// Modules is a directory for each module, for lang.Load.
func Modules() fs.FS { return modules }
