package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/convert/hddl"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
)

// hddlExtension is what the files of planning problems end in.
const hddlExtension = ".hddl"

// loadHDDL reads a problem for a command, of which help says more.
func loadHDDL(domain, problem, help string) (*hddl.Import, error) {
	var sources []hddl.Source
	for _, name := range []string{domain, problem} {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, &usageError{err, help}
		}
		sources = append(sources, hddl.Source{Name: shorten(name), Text: string(text)})
	}
	m, err := hddl.Load(sources[0], sources[1])
	return m, withSource(err, help)
}

// withSource makes what is wrong with a file an error that shows the line, and names the help of the command.
func withSource(err error, help string) error {
	e, ok := errors.AsType[*hddl.Error](err)
	if !ok {
		return err
	}
	text, readErr := os.ReadFile(e.File)
	if lines := strings.Split(string(text), "\n"); readErr == nil && e.Line <= len(lines) {
		err = fmt.Errorf("%w\n%d │ %s", err, e.Line, screen.Clean(strings.TrimRight(lines[e.Line-1], " \t\r")))
	}
	return &usageError{err, help}
}

// planHDDL plans a problem as it stands in its files, and writes the plan as the competition wants it.
func planHDDL(ctx context.Context, out io.Writer, domain, problem string) error {
	m, err := loadHDDL(domain, problem, "jitos plan --help")
	if err != nil {
		return err
	}
	p, err := htn.Compile(m.Domain)
	if err != nil {
		return err
	}
	m.Problem.Limits = htn.Limits{Nodes: math.MaxInt32, Bytes: 6 << 30} // whoever measures planners sets limits of their own
	for c, err := range p.Plans(ctx, m.Problem) {
		if err != nil {
			return err
		}
		return hddl.WritePlan(out, hddl.Nodes(c))
	}
	return nil
}

// writeHDDL writes the plan of a workflow that came from HDDL.
func writeHDDL(out io.Writer, p *plan.Plan) error {
	nodes := make([]hddl.Node, 0, len(p.Tree))
	for _, n := range p.Tree[1:] {
		if n.Shared || n.Step < 0 && n.Method == "" {
			return &usageError{fmt.Errorf("the plan of %s has no form in HDDL, which knows methods and no needs: see task %s", p.Target, n.Task), "jitos plan --help"}
		}
		name, _, _ := strings.Cut(n.Task, "(")
		node := hddl.Node{Parent: n.Parent - 1, Task: name, Method: n.Method, Step: n.Step}
		for _, a := range n.Args {
			node.Args = append(node.Args, htn.Value(a.Value))
		}
		nodes = append(nodes, node)
	}
	return hddl.WritePlan(out, nodes)
}
