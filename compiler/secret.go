package compiler

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// Secrets and sensitive variables are values like any other, with a mark that goes with whatever is made of them. Commands
// may have them; where a value would be written down (an argument, a path, a fact) the mark is refused. Everything that is
// told is masked besides: what functions make of a secret is collected as it is made, so that it is hidden too.

// secretMark marks what was made of a secret.
type secretMark struct{ shown string } // "(secret deploy)", "(sensitive token)"

// minSecret is how long a secret has to be: what is shorter cannot be told from other text.
const minSecret = 4

// hidden is what must not be shown.
type hidden struct {
	any     bool // there are secrets, whether or not they have values
	secrets []plan.Secret
	seen    map[string]bool
	unset   map[string]string // secrets without a value: the variables that they would be read from
}

func (h *hidden) add(shown, value string) {
	if len(value) < minSecret || h.seen[value] {
		return
	}
	if h.seen == nil {
		h.seen = map[string]bool{}
	}
	h.seen[value] = true
	h.secrets = append(h.secrets, plan.Secret{Shown: shown, Value: value})
	if lines := strings.Split(value, "\n"); len(lines) > 1 { // a key may be printed line by line
		for _, l := range lines {
			if l = strings.TrimSpace(l); len(l) >= 2*minSecret {
				h.add(shown, l)
			}
		}
	}
}

func (h *hidden) mask() *plan.Mask { return plan.NewMask(h.secrets) }

// Mask hides the program's secrets, and what its expressions have made of them so far. nil: there are none.
func (p *Program) Mask() *plan.Mask {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names.hidden.mask()
}

// masked is err without secrets.
func (p *Program) masked(err error) error {
	m := p.names.hidden.mask()
	if m == nil || err == nil {
		return err
	}
	if l, ok := errors.AsType[*diag.ListError](err); ok {
		return &diag.ListError{List: maskList(m, l.List)}
	}
	if no, ok := errors.AsType[*NoPlanError](err); ok {
		return &NoPlanError{Target: m.Text(no.Target), list: maskList(m, no.list)}
	}
	if no, ok := errors.AsType[*RefusedError](err); ok {
		return &RefusedError{Target: m.Text(no.Target), list: maskList(m, no.list)}
	}
	return err
}

func maskList(m *plan.Mask, list diag.List) diag.List {
	if m == nil {
		return list
	}
	out := slices.Clone(list)
	for i := range out {
		d := &out[i]
		d.Summary, d.Detail, d.Label, d.Related = m.Text(d.Summary), m.Text(d.Detail), m.Text(d.Label), slices.Clone(d.Related)
		for k := range d.Related {
			d.Related[k].Label = m.Text(d.Related[k].Label)
		}
	}
	return out
}

// secretsOf are what stands in place of the secrets that v was made of, sorted.
func secretsOf(v cty.Value) (out []string) {
	if !v.ContainsMarked() {
		return nil
	}
	_, marks := v.UnmarkDeep()
	for m := range marks { // order: put in order below
		if s, ok := m.(secretMark); ok {
			out = append(out, s.shown)
		}
	}
	slices.Sort(out)
	return out
}

// collect hides the texts in v that were made of secrets.
func (h *hidden) collect(v cty.Value) {
	plainly, paths := v.UnmarkDeepWithPaths()
	for _, p := range paths {
		for m := range p.Marks { // order: one mark is enough to hide it, and any tells what it is
			s, ok := m.(secretMark)
			part, err := p.Path.Apply(plainly)
			if !ok || err != nil {
				continue
			}
			_ = cty.Walk(part, func(_ cty.Path, leaf cty.Value) (bool, error) { // it returns what we return: nothing
				if leaf.IsKnown() && !leaf.IsNull() && leaf.Type() == cty.String {
					h.add(s.shown, leaf.AsString())
				} else if leaf.IsKnown() && !leaf.IsNull() && leaf.Type() == cty.Number {
					h.add(s.shown, text(leaf))
				}
				return true, nil
			})
		}
	}
}

// derived hides what the parts of x make of secrets: x itself may be a command with a secret in it, all of which is
// rather to be seen.
func (h *hidden) derived(x hcl.Expression, ctx *hcl.EvalContext) {
	node, ok := x.(hclsyntax.Node)
	if !ok {
		return
	}
	_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.FunctionCallExpr, *hclsyntax.ForExpr:
			if v, ds := e.(hclsyntax.Expression).Value(ctx); !ds.HasErrors() { // within a for it has none; that is looked at as a whole
				h.collect(v)
			}
		}
		return nil
	})
}

// readSecrets gives the secrets of a module their values. One that is not there stands for itself.
func (u *universe) readSecrets(read func(string) (string, bool), h *hidden) (diags diag.List) {
	vals := map[string]cty.Value{}
	u.granted = map[string]plan.Granted{}
	for _, s := range u.module.Secrets {
		h.any = true
		g := plan.Granted{Shown: "(secret " + u.prefix + s.Name + ")", Env: s.Env, From: s.Env}
		if read != nil {
			g.Value, g.Set = read(s.Env)
		}
		switch {
		case !g.Set || g.Value == "":
			g.Value, g.Set = g.Shown, false
			if h.unset == nil {
				h.unset = map[string]string{}
			}
			h.unset[g.Shown] = s.Env
		case len(g.Value) < minSecret:
			diags = append(diags, tooShort(s.Range, "secret "+s.Name, "the value of "+s.Env))
		default:
			h.add(g.Shown, g.Value)
		}
		u.granted[s.Name] = g
		vals[s.Name] = cty.StringVal(g.Value).Mark(secretMark{g.Shown})
	}
	u.secrets = cty.ObjectVal(vals)
	return diags
}

func tooShort(at diag.Range, what, value string) diag.Diagnostic {
	return diag.Diagnostic{
		Code: CodeSecret, Subject: at, Label: what, Summary: value + " is too short for a secret",
		Detail: fmt.Sprintf("What has fewer than %d bytes cannot be told from other text, and so not be kept out of it.", minSecret),
	}
}

// conceal marks the value of a sensitive variable.
func (u *universe) conceal(v *lang.Variable, val cty.Value, h *hidden) (cty.Value, diag.List) {
	shown := "(sensitive " + u.prefix + v.Name + ")"
	val = val.Mark(secretMark{shown})
	h.any = true
	h.collect(val)
	if s, _ := val.Unmark(); s.Type() == cty.String && s.IsKnown() && !s.IsNull() && s.AsString() != "" && len(s.AsString()) < minSecret {
		return val, diag.List{tooShort(v.Range, "variable "+v.Name, fmt.Sprintf("the value of variable %q", v.Name))}
	}
	return val, nil
}

// secretNames are those of the module.
func (n *names) secretNames() (out []string) {
	for _, s := range n.u.module.Secrets {
		out = append(out, s.Name)
	}
	return out
}

// public refuses expressions that are made of secrets, where what they say is written down.
func (e *evaluator) public(in env, what string, list ...hcl.Expression) {
	if !e.hidden.any {
		return
	}
	for _, x := range list {
		if x == nil || e.bad[x] {
			continue
		}
		if v, ok := e.value(x, in); ok {
			e.open(v, x, what)
		}
	}
}

// open refuses a value that is made of a secret.
func (e *evaluator) open(v cty.Value, x hcl.Expression, what string) bool {
	if !e.hidden.any {
		return true
	}
	from := secretsOf(v)
	if from == nil {
		return true
	}
	e.bad[x] = true
	e.fail(CodeSecret, place(x), fmt.Sprintf("%s cannot be made of %s", what, from[0]), "It would be written down. Give the secret to the command itself: in `env`, `run` or `exec`, or by allow { secrets = [secret.NAME] }.")
	return false
}

// grants are the secrets that a task's command gets: those allowed, and those in its own text.
func (b *build) grants(t *lang.Task, in env) (out []plan.Granted) {
	if !b.hidden.any {
		return nil
	}
	if t.Allow != nil {
		for _, s := range t.Allow.Secrets {
			if g, ok := b.u.granted[s.Name]; ok {
				out = append(out, g)
			}
		}
	}
	for _, x := range commandOf(t) {
		if x == nil || b.bad[x] {
			continue
		}
		v, ok := b.value(x, in)
		if !ok {
			continue
		}
		for _, shown := range secretsOf(v) {
			if slices.ContainsFunc(out, func(g plan.Granted) bool { return g.Shown == shown }) {
				continue
			}
			from, unset := b.hidden.unset[shown]
			out = append(out, plan.Granted{Shown: shown, From: from, Set: !unset})
		}
	}
	return out
}
