package htn

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/flyingrobots/jitos/warp/cbor"
)

// What stands against a way besides a condition and a failure below.
const (
	reasonLoop   = "leads back to a situation that it came from"
	reasonNested = "leads back to itself without a change"
	reasonCycle  = "waits for a need that waits for it"
)

// refusal is a [Refusal] in the making. It is shared between all moments at which the same thing failed.
type refusal struct {
	node    *pending
	against []objection
	size    int // how many refusals it consists of, about
}

type objection struct {
	way    int32
	lit    *lit
	regs   []int32
	bound  uint64
	reason string // with lit: the values that made it false
	below  *refusal
}

func newRefusal(n *pending, against []objection) *refusal {
	r := &refusal{node: n, against: against, size: 1}
	for i := range against {
		if b := against[i].below; b != nil {
			r.size = min(r.size+b.size, math.MaxInt32)
		}
	}
	return r
}

// object notes what stands against the way that the frame is trying: of very many bindings, against the first ones.
func (s *search) object(f *frame, o objection) {
	const enough = 8
	o.way = f.way
	if n := len(f.against); n < enough || f.against[n-enough].way != f.way {
		f.against = append(f.against, o)
	}
}

// give notes, when the frame has tried all ways of a task, what stood against them.
func (s *search) give(f *frame) {
	if f.own == nil && len(f.against) > 0 {
		f.own = newRefusal(f.pick, f.against)
	}
	f.against = nil
}

// blame notes why what came after the frame's step failed: either the fault lies below the method it tried, or its task
// could be done and the fault lies with a later one.
func (s *search) blame(f *frame, why *refusal) {
	if int(why.node.owner) >= len(s.frames)-1 {
		s.object(f, objection{below: why, regs: slices.Clone(f.pick.args), bound: 1<<len(f.pick.args) - 1})
	} else if f.fail == nil || why.size < f.fail.size {
		f.fail = why
	}
}

// noPlan turns what the search noted into an error.
func (s *search) noPlan() error {
	done := map[*refusal]*Refusal{}
	return &NoPlanError{Why: *s.refusal(s.why, done)}
}

// refusal keeps what is shared shared: as a tree it could be huge.
func (s *search) refusal(r *refusal, done map[*refusal]*Refusal) *Refusal {
	if out := done[r]; out != nil {
		return out
	}
	out := s.refused(r.node)
	done[r] = out
	out.Against = s.objections(r, done)
	top := out
	for n := r.node; n.shared >= 0; {
		n = n.conts[0].target
		asker := s.refused(n)
		asker.Against = []Objection{{Range: asker.Range, Below: top}}
		top = asker
	}
	done[r] = top
	return top
}

// objections words what stands against the ways of a task, each once.
func (s *search) objections(r *refusal, done map[*refusal]*Refusal) []Objection {
	var out []Objection
	t := &s.p.tasks[r.node.task]
	for i := range r.against {
		o := &r.against[i]
		oo := Objection{Reason: o.reason, Range: t.rng}
		vars := t.params
		if o.way >= 0 && !t.group() {
			w := &t.ways[o.way]
			oo.Method, oo.Range, vars = w.name, w.rng, w.vars
		}
		for v, val := range o.regs {
			if o.bound&(1<<v) != 0 {
				oo.Bind = append(oo.Bind, Bound{vars[v], s.w.values[val]})
			}
		}
		switch {
		case o.lit != nil && o.lit.asker != nil && o.lit.asker.vars&^o.bound == 0:
			sub := o.lit.asker
			below := &Refusal{Task: s.p.tasks[sub.task].name, Args: s.w.valuesOf(s.w.ground(nil, sub.args, o.regs)), Range: s.p.tasks[sub.task].rng}
			below.Against = []Objection{{Cond: s.condition(o, vars), Range: below.Range}}
			oo.Below, oo.Reason = below, ""
		case o.lit != nil:
			oo.Cond, oo.Reason = s.condition(o, vars), ""
			if !o.lit.rng.IsZero() {
				oo.Range = o.lit.rng
			}
		case o.below != nil:
			oo.Below = s.refusal(o.below, done)
		}
		if !slices.ContainsFunc(out, oo.equal) {
			out = append(out, oo)
		}
	}
	return out
}

func (s *search) refused(n *pending) *Refusal {
	t := &s.p.tasks[n.task]
	return &Refusal{Task: t.name, Args: s.w.valuesOf(n.args), Range: t.rng}
}

func (o Objection) equal(b Objection) bool {
	return o.Method == b.Method && o.Cond == b.Cond && o.Reason == b.Reason && o.Below == b.Below && slices.Equal(o.Bind, b.Bind)
}

// condition is a condition that did not hold: as written and with its values.
func (s *search) condition(o *objection, vars []string) string {
	l := o.lit
	name := func(t term) string {
		switch {
		case t < 0:
			return s.w.values[s.w.consts[^t]].String()
		case o.bound&(1<<t) != 0:
			return s.w.values[o.regs[t]].String()
		default:
			return "any " + vars[t]
		}
	}
	text := l.text
	if text == "" {
		var args []string
		for _, t := range l.atom.args {
			args = append(args, name(t))
		}
		switch l.kind {
		case litFact:
			text = call(s.p.rels[l.atom.rel].name, args)
		case litNotFact:
			text = "!" + call(s.p.rels[l.atom.rel].name, args)
		case litEqual:
			text = strings.Join(args, " == ")
		case litNotEqual:
			text = strings.Join(args, " != ")
		default:
			text = "a condition"
		}
		return text
	}
	if l.kind == litNotFact || l.negated {
		text = "!(" + text + ")"
	}
	var with []string
	for v := range o.regs {
		if l.vars&o.bound&(1<<v) != 0 {
			with = append(with, vars[v]+" = "+s.w.values[o.regs[v]].String())
		}
	}
	if o.reason != "" {
		with = append(with, o.reason)
	}
	if len(with) > 0 {
		text += " (" + strings.Join(with, ", ") + ")"
	}
	return text
}

// String shows the constant as people write it.
func (v Value) String() string {
	x, err := cbor.Decode([]byte(v))
	if err != nil {
		return strconv.Quote(string(v))
	}
	return show(x)
}

func show(x any) string {
	switch x := x.(type) {
	case string:
		return strconv.Quote(x)
	case nil:
		return "null"
	case []any:
		var parts []string
		for _, y := range x {
			parts = append(parts, show(y))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		return fmt.Sprint(x)
	}
}

// Call shows a ground task as people write it: name(arg, …).
func Call(task string, args []Value) string {
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = a.String()
	}
	return call(task, parts)
}

func call(name string, args []string) string {
	if len(args) == 0 {
		return name
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// Error shows the tree, at most maxLines of it; what has been shown before is only named.
func (e *NoPlanError) Error() string {
	const maxLines = 60
	lines := []string{"no plan for " + Call(e.Why.Task, e.Why.Args)}
	shown := map[*Refusal]bool{}
	var walk func(r *Refusal, indent string)
	walk = func(r *Refusal, indent string) {
		shown[r] = true
		for i := range r.Against {
			if len(lines) > maxLines {
				return
			}
			o := &r.Against[i]
			who := indent
			if o.Method != "" {
				who += "method " + o.Method
				if o.Cond == "" && len(o.Bind) > len(r.Args) {
					for _, b := range o.Bind[len(r.Args):] {
						who += " " + b.Var + "=" + b.Value.String()
					}
				}
				who += ": "
			}
			switch {
			case o.Cond != "":
				lines = append(lines, who+o.Cond+" does not hold")
			case o.Below == nil:
				lines = append(lines, who+o.Reason)
			case shown[o.Below]:
				lines = append(lines, who+Call(o.Below.Task, o.Below.Args)+" cannot be done, see above")
			default:
				lines = append(lines, who+Call(o.Below.Task, o.Below.Args)+" cannot be done")
				walk(o.Below, indent+"  ")
			}
		}
	}
	walk(&e.Why, "  ")
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], "  …")
	}
	return strings.Join(lines, "\n")
}
