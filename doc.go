// Package jitos holds no code: it is where the repository's own rules are tested, its layers and its determinism.
//
// Start reading at cmd/jitos for the command, cmd/internal/app for how the phases come together, and
// docs/architecture.md for what may never be broken. The phases are lang (text to module), compiler (module to plan),
// runner (plan to steps), sws (steps' layers to files) and warp (the graph and its history).
package jitos
