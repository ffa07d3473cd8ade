package compiler

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// What this version does not carry out is resolved, typed and evaluated all the same: a plan shows it, and who applies the
// plan refuses it before anything runs.

// laterOf are the expressions of a task for what is not carried out.
func laterOf(t *lang.Task) []hcl.Expression {
	out := []hcl.Expression{t.Stdin, t.Reports, t.Check, t.Compensate}
	for _, u := range t.Uses {
		out = append(out, u.Expr)
	}
	if w := t.Worker; w != nil {
		for _, a := range w.Settings {
			out = append(out, a.Expr)
		}
	}
	if r := t.Retry; r != nil {
		out = append(out, r.Attempts, r.Backoff, r.MaxDelay, r.Jitter, r.OnExit)
	}
	if r := t.Ready; r != nil {
		out = append(out, r.Run, r.Port, r.Interval, r.Timeout)
	}
	if a := t.Allow; a != nil {
		out = append(out, a.Ports)
	}
	return out
}

// later evaluates them.
func (b *build) later(t *lang.Task, in env) (out []plan.Later) {
	add := func(at diag.Range, what, value string) {
		out = append(out, plan.Later{What: what, Value: value, Range: at})
	}
	script := func(x hcl.Expression, what string) {
		if s, ok := b.text(x, in); ok {
			add(place(x), what, quote(s))
		}
	}
	if list, ok := b.list(t.Reports, in); ok {
		add(place(t.Reports), "reports", strings.Join(b.patterns(list, t.Reports, in, "a report"), ", "))
	}
	for _, u := range t.Uses {
		if s, ok := b.held(u, in); ok {
			add(u.NameRange, "uses", u.Name+" = "+s)
		}
	}
	if t.External {
		add(t.Range, "external", "")
	}
	script(t.Check, "check")
	script(t.Compensate, "compensate")
	if t.Interactive {
		add(t.Range, "interactive", "")
	}
	if t.IsService {
		add(t.Range, "service", "")
	}
	if r := t.Ready; r != nil {
		if !t.IsService {
			b.fail(lang.CodeShape, r.Range, fmt.Sprintf("task %q has ready but is no service", t.Name), "Add service = true, or remove ready.")
		}
		add(r.Range, "ready", b.settings(in, setting{"run", r.Run, aString}, setting{"port", r.Port, aPort},
			setting{"interval", r.Interval, aDuration}, setting{"timeout", r.Timeout, aDuration}))
	}
	if w := t.Worker; w != nil {
		add(w.Range, "worker", quote(w.Kind)+" "+b.settings(in, settingsOf(w.Settings)...))
	}
	if a := t.Allow; a != nil {
		if granted := b.settings(in, setting{"ports", a.Ports, ports}); granted != "" {
			add(place(a.Ports), "allow", granted)
		}
	}
	return out
}

// held is how many units of a pool a task holds: a number, or "read".
func (b *build) held(u *lang.Attr, in env) (string, bool) {
	var pools []string
	var pool *lang.Pool
	for _, p := range b.u.module.Pools {
		if pools = append(pools, p.Name); p.Name == u.Name {
			pool = p
		}
	}
	if pool == nil {
		b.unknown(u.NameRange, lang.CodeUnknownName, fmt.Sprintf("unknown pool %q", u.Name), u.Name, pools, "")
		return "", false
	}
	v, ok := b.value(u.Expr, in)
	if v, _ = v.Unmark(); !ok || !v.IsKnown() {
		return "…", ok
	}
	read := !v.IsNull() && v.Type() == cty.String && v.AsString() == "read"
	if !read && !within(v, 1, int64(pool.Capacity)) {
		b.bad[u.Expr] = true
		b.diags = append(b.diags, diag.Diagnostic{
			Code: lang.CodeShape, Subject: place(u.Expr), Label: "uses " + u.Name, Related: []diag.Related{{Range: pool.Range, Label: "pool " + u.Name}},
			Summary: fmt.Sprintf("%s units of pool %q cannot be held", text(v), u.Name),
			Detail:  fmt.Sprintf(`A step holds from 1 to %d of them, or shares the pool: "read".`, pool.Capacity),
		})
		return "", false
	}
	return text(v), true
}

// workers checks the settings of worker kinds.
func (b *build) workers() {
	for _, w := range b.u.module.Workers {
		b.settings(nil, settingsOf(w.Settings)...)
		if c := w.CircuitBreaker; c != nil {
			b.settings(nil, setting{"failures", c.Failures, aCount}, setting{"delay", c.Delay, aDuration})
		}
	}
}

// laterOfSLAP is what a slap asks for that is not carried out.
func laterOfSLAP(s *lang.SLAP) (out []plan.Later) {
	if s.Speculate > 1 {
		out = append(out, plan.Later{What: "speculate", Value: fmt.Sprint(s.Speculate), Range: s.Range})
	}
	if s.Collapse == "ask" {
		out = append(out, plan.Later{What: "collapse", Value: quote(s.Collapse), Range: s.Range})
	}
	return out
}

// setting is an attribute and what it takes.
type setting struct {
	name string
	expr hcl.Expression
	kind kind
}

// kind is what a known value has to be.
type kind struct {
	takes string
	fits  func(cty.Value) bool // the value is not null
}

var (
	anything  = kind{"a value", func(cty.Value) bool { return true }}
	aString   = kind{"a string", func(v cty.Value) bool { return v.Type() == cty.String }}
	aCount    = kind{"a whole number of at least 1", func(v cty.Value) bool { return within(v, 1, 1<<30) }}
	aPort     = kind{"a port from 1 to 65535", func(v cty.Value) bool { return within(v, 1, 65535) }}
	ports     = kind{"a list of ports from 1 to 65535", func(v cty.Value) bool { return each(v, aPort) }}
	anExit    = kind{"an exit code from 1 to 255", func(v cty.Value) bool { return within(v, 1, 255) }}
	exitCodes = kind{"a list of exit codes from 1 to 255", func(v cty.Value) bool { return each(v, anExit) }}
	aFraction = kind{"a number from 0 to 1", func(v cty.Value) bool {
		return v.Type() == cty.Number && v.GreaterThanOrEqualTo(cty.Zero).True() && v.LessThanOrEqualTo(cty.NumberIntVal(1)).True()
	}}
	aDuration = kind{`a duration such as "1.5s", "10m" or "2h"`, func(v cty.Value) bool {
		if v.Type() != cty.String {
			return false
		}
		_, err := lang.Duration(v.AsString())
		return err == nil
	}}
)

// within reports whether v is a whole number from low to high.
func within(v cty.Value, low, high int64) bool {
	if v.IsNull() || v.Type() != cty.Number || !v.AsBigFloat().IsInt() {
		return false
	}
	n, exact := v.AsBigFloat().Int64()
	return exact == big.Exact && low <= n && n <= high
}

// each reports whether v is a list of what fits k.
func each(v cty.Value, k kind) bool {
	if !v.CanIterateElements() || v.Type().IsObjectType() || v.Type().IsMapType() {
		return false
	}
	for it := v.ElementIterator(); it.Next(); {
		if _, e := it.Element(); e.IsNull() || !k.fits(e) {
			return false
		}
	}
	return true
}

func settingsOf(list []*lang.Attr) (out []setting) {
	for _, a := range list {
		out = append(out, setting{a.Name, a.Expr, anything})
	}
	return out
}

// settings evaluates those that are there. It returns them as they could be written.
func (b *build) settings(in env, list ...setting) string {
	var parts []string
	for _, s := range list {
		if s.expr == nil {
			continue
		}
		if v, ok := b.fitting(in, s); ok {
			parts = append(parts, s.name+" = "+text(v))
		}
	}
	return strings.Join(parts, ", ")
}

// fitting evaluates a setting. ok says that it is unknown yet, or what it has to be.
func (b *build) fitting(in env, s setting) (v cty.Value, ok bool) {
	v, ok = b.value(s.expr, in)
	v, _ = v.UnmarkDeep()
	if ok && v.IsWhollyKnown() && (v.IsNull() || !s.kind.fits(v)) {
		b.bad[s.expr] = true
		b.fail(lang.CodeShape, place(s.expr), s.name+" takes "+s.kind.takes, fmt.Sprintf("It is %s.", text(v)))
		return v, false
	}
	return v, ok
}
