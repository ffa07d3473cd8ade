// Package compiler turns a [lang.Module] into a [Program], and a Program, facts and an intent into a plan.
//
// Compiling resolves every name, types and evaluates what is static, and builds two things: one [warp.Rule] for each
// primitive task, which is also the planner's operator, and the HTN domain around them. Planning searches that domain
// with package htn and fills in the steps it found: commands, files, order.
//
// It knows nothing of how steps run and does no I/O of its own: the workspace is seen through [lang.World] alone.
//
// Start reading at [Compile], then [Program.Plan]. Names are resolved in names.go, expressions evaluated in eval.go,
// tasks made ground in instance.go, conditions split in cond.go, the flow of files ordered in flow.go, the domain built in
// domain.go.
//
// # Caveats
//
// Everything but success criteria and a task's `when` is evaluated as Compile and Plan run. What they read of the
// workspace is told to World.Read, and reading there what a task of the program puts out is an error.
package compiler
