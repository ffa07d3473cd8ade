package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
)

// drawings are the formats of a plan that do not say what of it is up to date.
var drawings = map[string]func(io.Writer, *plan.Plan) error{"dot": writeDot, "mermaid": writeMermaid, "hddl": writeHDDL}

// reason is what stands at an edge.
func reason(e plan.Edge) string {
	if e.Detail == "" {
		return string(e.Why)
	}
	return string(e.Why) + " " + e.Detail
}

// writeDot draws the steps for Graphviz, an edge from each step to those that come after it.
func writeDot(w io.Writer, p *plan.Plan) error {
	out := bufio.NewWriter(w)
	quote := strconv.QuoteToGraphic
	fmt.Fprintf(out, "digraph %s {\n  rankdir=LR\n  node [shape=box]\n", quote(p.Target))
	for _, s := range p.Steps {
		fmt.Fprintf(out, "  %s\n", quote(s.ID))
	}
	for _, s := range p.Steps {
		for _, e := range s.After {
			fmt.Fprintf(out, "  %s -> %s [label=%s]\n", quote(p.Steps[e.Step].ID), quote(s.ID), quote(reason(e)))
		}
	}
	fmt.Fprintln(out, "}")
	return out.Flush()
}

// writeMermaid draws the same for Mermaid, where quotes cannot stand in a text.
func writeMermaid(w io.Writer, p *plan.Plan) error {
	out := bufio.NewWriter(w)
	text := func(s string) string { return `"` + strings.NewReplacer(`"`, "#quot;", "\n", " ").Replace(s) + `"` }
	fmt.Fprintln(out, "flowchart LR")
	for i, s := range p.Steps {
		fmt.Fprintf(out, "  s%d[%s]\n", i, text(s.ID))
	}
	for i, s := range p.Steps {
		for _, e := range s.After {
			fmt.Fprintf(out, "  s%d -->|%s| s%d\n", e.Step, text(reason(e)), i)
		}
	}
	return out.Flush()
}
