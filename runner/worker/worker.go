// Package worker says how each kind of step is carried out.
//
// A [Kind] turns the command of a step into what a sandbox runs, and has a version, which belongs to the cache key.
// Workers are mechanism: they see a request and nothing of graphs, plans, layers or history. Start reading at
// [Kinds].
package worker

import (
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
)

// Kind is one way to carry out a step.
type Kind struct {
	Name    string
	Version string // changes when the same declaration would do something else
	Argv    func(plan.Command) []string
	Text    func(plan.Command) string // as a person would type it, on one line
}

// Kinds returns the registry, by name.
func Kinds() map[string]Kind {
	return map[string]Kind{
		"shell": {
			Name: "shell", Version: "1",
			Argv: func(c plan.Command) []string { return append(append([]string(nil), c.Shell...), c.Script) },
			Text: func(c plan.Command) string { return oneLine(c.Script) },
		},
		"exec": {
			Name: "exec", Version: "1",
			Argv: func(c plan.Command) []string { return c.Argv },
			Text: func(c plan.Command) string { return oneLine(quote(c.Argv)) },
		},
	}
}

// KindOf names the kind that carries out a command.
func KindOf(c plan.Command) string {
	if c.Argv != nil {
		return "exec"
	}
	return "shell"
}

// oneLine shortens a script to its first line, marked when there is more.
func oneLine(s string) string {
	s = strings.TrimSpace(s)
	first, rest, _ := strings.Cut(s, "\n")
	if rest != "" {
		return first + " …"
	}
	return first
}

// quote writes an argv so that a shell would read it back.
func quote(argv []string) string {
	out := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out[i] = a
	}
	return strings.Join(out, " ")
}
