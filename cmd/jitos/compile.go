package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

type compileCmd struct {
	Format         string `enum:"text,json" default:"text" placeholder:"FORM" help:"text, or json: one value per line."`
	workspaceFlags `embed:""`
}

func (c *compileCmd) run(ctx context.Context, s *session) error {
	w, err := s.open(runFlags{workspaceFlags: c.workspaceFlags})
	if err != nil {
		return err
	}
	defer w.Close()
	p, err := w.Compile(ctx)
	if err != nil {
		return err
	}
	facts := factsOf(p.Relations(), p.Observed())
	tasks := make([]taskJSON, 0)
	for _, t := range p.Domain().Tasks {
		tasks = append(tasks, domainTask(&t))
	}
	if !s.flags.JSON && c.Format == "text" {
		return s.page(func(out io.Writer) error { return writeDomain(out, facts, tasks) })
	}
	return cmp.Or(each(s, facts), each(s, tasks))
}

// factJSON is a relation of the domain, with what holds of it as a plan starts.
type factJSON struct {
	Kind     string
	Name     string
	Observed bool
	Keep     plan.Keep
	Holds    []string
}

// taskJSON is a task of the domain.
type taskJSON struct {
	Kind    string
	Name    string
	Params  []string
	Needs   []string
	When    string // besides what the rule matches
	Rule    *ruleJSON
	Cost    float64
	Methods []methodJSON
}

// ruleJSON is a rewrite rule about facts.
type ruleJSON struct{ Match, Not, Remove, Add []string }

type methodJSON struct {
	Name  string
	Any   []string
	When  string
	Cost  float64
	Steps []stepJSON
}

type stepJSON struct {
	Name, Task string
	After      []string
}

func factsOf(relations []plan.Relation, observed []warp.Node) []factJSON {
	out := make([]factJSON, len(relations))
	for i, r := range relations {
		out[i] = factJSON{Kind: "fact", Name: r.Name, Observed: r.Observed, Keep: r.Keep, Holds: []string{}}
	}
	for _, n := range observed {
		rel, args := readFact(n)
		if i := slices.IndexFunc(out, func(f factJSON) bool { return f.Name == rel }); i >= 0 {
			out[i].Holds = append(out[i].Holds, "fact::"+rel+"("+strings.Join(args, ", ")+")")
		}
	}
	return out
}

func readFact(n warp.Node) (rel string, args []string) {
	r := cbor.NewReader(n.Data)
	for i := range r.Array() {
		if i == 0 {
			rel = string(r.Text())
		} else {
			args = append(args, htn.Value(r.Raw()).String())
		}
	}
	return rel, args
}

func domainTask(t *htn.Task) taskJSON {
	out := taskJSON{Kind: "task", Name: t.Name, Params: t.Params, When: conditionText(t.When), Cost: t.Cost}
	for _, n := range t.Needs {
		out.Needs = append(out.Needs, subText(n))
	}
	if r := t.Operator; r != nil {
		out.Rule = &ruleJSON{patternTexts(r.Match), patternTexts(r.Not), patternTexts(r.Remove), patternTexts(r.Add)}
	}
	for _, m := range t.Methods {
		method := methodJSON{Name: m.Name, Any: m.Vars, When: conditionText(m.When), Cost: m.Cost}
		for i, s := range m.Steps {
			step := stepJSON{Name: s.Name, Task: subText(s)}
			for _, o := range m.Order {
				if o[1] == i {
					step.After = append(step.After, m.Steps[o[0]].Name)
				}
			}
			method.Steps = append(method.Steps, step)
		}
		out.Methods = append(out.Methods, method)
	}
	return out
}

func subText(s htn.Sub) string {
	if len(s.Args) == 0 {
		return s.Task
	}
	return strings.TrimSuffix(s.Task, "(…)") + "(" + strings.Join(termTexts(s.Args), ", ") + ")"
}

func termTexts(ts []htn.Term) []string {
	out := make([]string, len(ts))
	for i, t := range ts {
		switch {
		case t.Func != nil:
			out[i] = t.Func.Text
		case t.Var != "":
			out[i] = t.Var
		default:
			out[i] = t.Const.String()
		}
	}
	return out
}

func patternTexts(list []warp.NodePattern) []string {
	var out []string
	for _, p := range list {
		rel, terms, _ := p.Fact()
		args := make([]string, len(terms))
		for i, t := range terms {
			if name, ok := t.Variable(); ok {
				args[i] = name
			} else if v, ok := t.Value(); ok {
				args[i] = htn.Value(v).String()
			}
		}
		out = append(out, "fact::"+rel+"("+strings.Join(args, ", ")+")")
	}
	return out
}

// conditionText is empty where nothing is asked for.
func conditionText(c htn.Cond) string {
	joined := func(list []htn.Cond, operator string) string {
		var parts []string
		for _, c := range list {
			if text := conditionText(c); text != "" {
				parts = append(parts, text)
			}
		}
		if len(parts) > 1 {
			return "(" + strings.Join(parts, operator) + ")"
		}
		return strings.Join(parts, "")
	}
	switch c := c.(type) {
	case htn.All:
		return joined(c, " && ")
	case htn.Any:
		return joined(c, " || ")
	case htn.Not:
		return "!" + conditionText(c.Cond)
	case htn.Holds:
		return "fact::" + c.Rel + "(" + strings.Join(termTexts(c.Args), ", ") + ")"
	case htn.Equal:
		return "(" + strings.Join(termTexts([]htn.Term{c.A, c.B}), " == ") + ")"
	case htn.Guard:
		return "(" + c.Text + ")"
	}
	return ""
}

// writeDomain shows facts and tasks, what belongs to each below it.
func writeDomain(w io.Writer, facts []factJSON, tasks []taskJSON) error {
	var b strings.Builder
	line := func(indent int, word string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(&b, "%s%-8s %s\n", strings.Repeat("  ", indent), word, screen.Clean(v))
			}
		}
	}
	for _, f := range facts {
		kind := "kept " + string(f.Keep)
		if f.Observed {
			kind = "observed"
		}
		line(0, "fact", f.Name+"  "+kind)
		line(1, "holds", f.Holds...)
	}
	for _, t := range tasks {
		head := t.Name
		if len(t.Params) > 0 {
			head += "  of " + strings.Join(t.Params, ", ")
		}
		line(0, "task", head)
		line(1, "needs", t.Needs...)
		line(1, "when", t.When)
		if r := t.Rule; r != nil {
			line(1, "match", r.Match...)
			line(1, "not", r.Not...)
			line(1, "remove", r.Remove...)
			line(1, "add", r.Add...)
			line(1, "cost", strconv.FormatFloat(t.Cost, 'g', -1, 64))
		}
		for _, m := range t.Methods {
			line(1, "method", m.Name)
			line(2, "any", strings.Join(m.Any, ", "))
			line(2, "when", m.When)
			if m.Cost > 0 {
				line(2, "cost", strconv.FormatFloat(m.Cost, 'g', -1, 64))
			}
			for _, s := range m.Steps {
				text := s.Name + "  " + s.Task
				if len(s.After) > 0 {
					text += "  after " + strings.Join(s.After, ", ")
				}
				line(2, "step", text)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
