// Package lang turns the *.jitos.hcl files of one directory into a [Module].
//
// It parses, checks the shape of everything that is written (unknown and missing names, duplicates, words
// from a fixed set, literals of the wrong type) and keeps the source range of every construct. It knows
// nothing of planning: what a reference names and what an expression evaluates to is for package compiler.
// Start with [Load] and [Module]; [Functions] is what expressions may call.
package lang
