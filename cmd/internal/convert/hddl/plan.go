package hddl

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// Node is an achieved task of a plan of a loaded problem, or of one that came back from our language.
type Node struct {
	Parent int // a lower index; -1: none
	Task   string
	Args   []htn.Value
	Method string
	Step   int // of an action: its place in the order of execution; else -1
}

// Nodes are those of a candidate.
func Nodes(c htn.Candidate) []Node {
	out := make([]Node, len(c.Tree))
	for i, n := range c.Tree {
		out[i] = Node{n.Parent, n.Task, n.Args, n.Method, n.Step}
	}
	return out
}

// WritePlan writes a plan in the format of the competition, without what [Load] added to the problem: steps of its own
// are left out, and the variant of an action with conditional effects is told as the action.
func WritePlan(w io.Writer, tree []Node) error {
	steps, hidden := make([]int, len(tree)), make([]bool, len(tree))
	var actions []int // the nodes, by step; -1 of what is left out
	for i, n := range tree {
		steps[i], hidden[i] = n.Step, strings.Contains(n.Task, added)
		if n.Step < 0 {
			continue
		}
		for len(actions) <= n.Step {
			actions = append(actions, -1)
		}
		switch {
		case !hidden[i]:
			actions[n.Step] = i
		case !strings.HasPrefix(n.Task, own):
			steps[n.Parent], actions[n.Step] = n.Step, n.Parent
		}
	}
	actions = slices.DeleteFunc(actions, func(i int) bool { return i < 0 })
	ids, kids := make([]int, len(tree)), make([][]int, len(tree))
	for id, i := range actions {
		ids[i] = id
	}
	next := len(actions)
	var roots []int
	for i, n := range tree {
		if hidden[i] {
			continue
		}
		if steps[i] < 0 {
			ids[i] = next
			next++
		}
		if n.Parent < 0 || hidden[n.Parent] {
			roots = append(roots, ids[i])
		} else {
			kids[n.Parent] = append(kids[n.Parent], ids[i])
		}
	}
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "==>")
	for id, i := range actions {
		fmt.Fprintf(out, "%d (%s)\n", id, call(tree[i]))
	}
	fmt.Fprintln(out, "root"+numbers(roots))
	for i, n := range tree {
		if !hidden[i] && steps[i] < 0 {
			method, _, _ := strings.Cut(n.Method, added)
			fmt.Fprintf(out, "%d (%s) -> %s%s\n", ids[i], call(n), method, numbers(kids[i]))
		}
	}
	fmt.Fprintln(out, "<==")
	return out.Flush()
}

func numbers(list []int) (text string) {
	for _, n := range list {
		text += fmt.Sprint(" ", n)
	}
	return text
}

func call(n Node) string {
	words := []string{n.Task}
	for _, a := range n.Args {
		if v, err := cbor.Decode([]byte(a)); err == nil {
			words = append(words, fmt.Sprint(v))
		}
	}
	return strings.Join(words, " ")
}
