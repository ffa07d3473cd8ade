package compiler

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
)

// The package runs nothing. So a program with probes is compiled twice: first without answers, so that facts are unknown
// and it can be said what to ask; then with what the commands answered.

// Probe is a command that answers with the rows of a fact.
type Probe struct {
	Fact  string    // the whole name: "git::branch"
	Step  plan.Step // what to run: command, inputs, what is allowed
	Again bool      // it has no inputs: it is asked each time
	Range diag.Range
}

// Probes are those that a plan for an intent hangs on: of the facts that its tasks, and all that these may lead to, ask for.
func (p *Program) Probes(in Intent) ([]Probe, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.probes) == 0 {
		return nil, nil
	}
	g, err := p.goal(in)
	if err != nil {
		return nil, err
	}
	asked := map[*relation]bool{}
	ask := func(n *names, list ...hcl.Expression) {
		for _, x := range list {
			if x == nil {
				continue
			}
			n.deep(x, func(r *refs) {
				for _, rel := range r.relations() {
					asked[n.u.relations[rel]] = true
				}
			})
		}
	}
	seen := map[*task]bool{}
	var todo []*task
	lead := func(t *task) {
		if t != nil && !seen[t] {
			seen[t] = true
			todo = append(todo, t)
		}
	}
	refer := func(n *names, list ...hcl.Expression) {
		for _, x := range list {
			for _, ref := range n.u.module.TaskRefs(x) {
				lead(n.named(&ref))
			}
		}
		ask(n, list...)
	}
	n := p.names
	if s := g.slap; s != nil {
		for _, c := range slices.Concat(s.Assumes, s.Constraints, s.Successes) {
			ask(n, c.Condition, c.Run)
			for _, a := range c.With {
				ask(n, a.Expr)
			}
			if c.Task != nil {
				lead(n.named(c.Task))
			}
		}
		for _, x := range s.Goals {
			for _, a := range x.With {
				ask(n, a.Expr)
			}
			if x.Task != nil {
				lead(n.named(x.Task))
			}
		}
	} else {
		lead(g.task)
	}
	for len(todo) > 0 {
		t := todo[0]
		todo = todo[1:]
		refer(t.home, append(append(structureOf(t), commandOf(t.Task)...), t.Needs, t.Inputs, t.ForEach)...)
		for _, q := range t.Params {
			ask(t.home, q.Default)
		}
		for _, m := range t.methods {
			for _, s := range m.Steps {
				lead(t.home.called(s))
			}
		}
		for _, u := range p.base.units { // by files
			if u.task == t {
				for _, x := range u.needs {
					lead(x.unit.task)
				}
			}
		}
	}
	var out []Probe
	for _, x := range p.probes {
		if asked[p.relations[x.Fact]] {
			out = append(out, x)
		}
	}
	return out, nil
}

// relations are the facts that are asked for, one by one or all rows of one.
func (r *refs) relations() []string { return append(r.facts(), r.tables...) }

// prepareProbes finds out what the probes are to run.
func (p *Program) prepareProbes() {
	for _, n := range p.modules {
		for _, f := range n.u.module.Facts {
			r := n.u.relations[f.Name]
			if f.Probe == nil {
				continue
			}
			x := f.Probe
			t := &lang.Task{Name: r.Name, Run: x.Run, Exec: x.Exec, Inputs: x.Inputs, Allow: x.Allow, Range: x.Range}
			b := &build{names: n, domain: &domain{}}
			g := b.fill(t, "", env{})
			for _, pattern := range patternsOf(g.step.Inputs) { // what a step writes would be yesterday's
				n.reads = append(n.reads, reading{kind: "glob", name: pattern, at: place(x.Inputs)})
			}
			p.probes = append(p.probes, Probe{Fact: r.Name, Step: g.step, Again: x.Inputs == nil, Range: x.Range})
		}
	}
}

func patternsOf(f *plan.Files) []string {
	if f == nil {
		return nil
	}
	return f.Patterns
}

// answers makes rows of what the probes of the module answered.
func (u *universe) answers(given map[string]string, e *evaluator) (nodes []warp.Node) {
	for _, f := range u.module.Facts {
		r := u.relations[f.Name]
		text, answered := given[r.Name]
		if f.Probe == nil || !answered {
			continue
		}
		rows, err := r.rowsIn(text, f.Probe.Parse)
		for i := 0; i < len(rows) && err == nil; i++ {
			var node warp.Node
			var again bool
			if node, again, err = r.add(rows[i]); err != nil {
				err = fmt.Errorf("row %d: %w", i+1, err)
			} else if !again {
				nodes = append(nodes, node)
			}
		}
		if err != nil {
			e.fail(CodeProbe, f.Probe.Range, fmt.Sprintf("what the probe of fact %q answers are no rows of it", r.Name), sentence(err.Error()))
		}
		r.ready = true
	}
	return nodes
}

// rowsIn takes an answer apart. A line has a field for each column, with space between them; the last one has the rest.
func (r *relation) rowsIn(text, parse string) (rows []cty.Value, err error) {
	if parse == "json" {
		return r.rowsOfJSON(text)
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		row := map[string]cty.Value{}
		for i, c := range r.Columns {
			field, rest := line, ""
			if i+1 < len(r.Columns) {
				at := strings.IndexAny(line, " \t")
				if at < 0 {
					return nil, fmt.Errorf("the line %s has %d of %d fields", quote(line), i+1, len(r.Columns))
				}
				field, rest = line[:at], strings.TrimLeft(line[at:], " \t")
			}
			row[c.Name], line = cty.StringVal(field), rest
		}
		rows = append(rows, cty.ObjectVal(row))
	}
	return rows, nil
}

// rowsOfJSON reads a list of objects, or, for a fact of one column, of its values; or one such object or value.
func (r *relation) rowsOfJSON(text string) (rows []cty.Value, err error) {
	raw := []byte(strings.TrimSpace(text))
	ty, err := ctyjson.ImpliedType(raw)
	if err != nil {
		var syntax any
		if own := json.Unmarshal(raw, &syntax); own != nil {
			err = own
		}
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	v, err := ctyjson.Unmarshal(raw, ty)
	if err != nil {
		return nil, err
	}
	list := []cty.Value{v}
	if v.Type().IsTupleType() {
		list = v.AsValueSlice()
	}
	for _, e := range list {
		if len(r.Columns) == 1 && !e.Type().IsObjectType() {
			e = cty.ObjectVal(map[string]cty.Value{r.Columns[0].Name: e})
		}
		rows = append(rows, e)
	}
	return rows, nil
}

// unanswered reports whether v is not known only because nobody has asked the probes that it depends on.
func (e *evaluator) unanswered(v cty.Value) bool { return e.unasked && !v.IsWhollyKnown() }

// checkProbe checks the names in what a probe is made of.
func (n *names) checkProbe(f *lang.Fact) {
	x := f.Probe
	if x == nil {
		return
	}
	list := []hcl.Expression{x.Run, x.Exec, x.Inputs}
	if a := x.Allow; a != nil {
		list = append(list, a.Network, a.ReadPaths, a.WritePaths, a.Env)
		for _, s := range a.Secrets {
			n.oneOf(s.Range, "secret", s.Name, n.secretNames(), "secret.")
		}
		if a.WritePaths != nil {
			n.fail(lang.CodeShape, place(a.WritePaths), "a probe writes nothing", "It only looks. Let a task write.")
		}
	}
	for _, e := range list {
		n.check(e, scope{noFacts: true})
	}
}

// answerReadings are what a plan that was made with these answers depends on.
func answerReadings(probes []Probe, answers map[string]string) (out []lang.Reading) {
	for _, p := range probes {
		if a, ok := answers[p.Fact]; ok {
			sum := sha256.Sum256([]byte(a))
			out = append(out, lang.Reading{Kind: "probe", Name: p.Fact, Value: hex.EncodeToString(sum[:]), Found: true})
		}
	}
	return out
}
