package hddl

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// WritePlan writes a candidate of the imported problem in the format of the competition.
func (m *Import) WritePlan(w io.Writer, c htn.Candidate) error {
	out := bufio.NewWriter(w)
	id := make([]int, len(c.Tree)) // steps first: they are numbered in order of execution
	kids := make([][]int, len(c.Tree))
	next := len(c.Steps)
	var roots []int
	hidden := func(i int) bool { return strings.HasPrefix(c.Tree[i].Task, rootPrefix) }
	for i, n := range c.Tree {
		if id[i] = n.Step; n.Step < 0 {
			id[i] = next
			next++
		}
		if n.Parent >= 0 {
			kids[n.Parent] = append(kids[n.Parent], i)
		}
		if n.Parent >= 0 && hidden(n.Parent) && !hidden(i) {
			roots = append(roots, i)
		}
	}
	fmt.Fprintln(out, "==>")
	for i, s := range c.Steps {
		if s.Task != goalTask {
			fmt.Fprintf(out, "%d (%s)\n", i, call(s.Task, s.Args))
		}
	}
	fmt.Fprint(out, "root")
	for _, i := range roots {
		fmt.Fprint(out, " ", id[i])
	}
	fmt.Fprintln(out)
	for i, n := range c.Tree {
		if n.Step >= 0 || hidden(i) {
			continue
		}
		name := n.Method
		if original, ok := m.methods[[2]string{n.Task, n.Method}]; ok {
			name = original
		}
		fmt.Fprintf(out, "%d (%s) -> %s", id[i], call(n.Task, n.Args), name)
		for _, k := range kids[i] {
			fmt.Fprint(out, " ", id[k])
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, "<==")
	return out.Flush()
}

func call(task string, args []htn.Value) string {
	words := []string{task}
	for _, a := range args {
		r := cbor.NewReader([]byte(a))
		words = append(words, string(r.Text()))
	}
	return strings.Join(words, " ")
}
