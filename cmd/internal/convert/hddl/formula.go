package hddl

import (
	"maps"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/warp"
)

// scope is what names mean in a formula.
type scope struct {
	l    *loader
	vars map[string]htn.Term
}

func (s scope) term(e *expr) (htn.Term, error) {
	if strings.HasPrefix(e.word, "?") {
		if t, ok := s.vars[e.word]; ok {
			return t, nil
		}
		return htn.Term{}, s.l.errorf(e, "variable %s is not declared", e.word)
	}
	if s.l.objects[e.word] == nil {
		return htn.Term{}, s.l.errorf(e, "unknown object %s", e)
	}
	return htn.C(constant(e.word)), nil
}

func (s scope) terms(es []expr) (out []htn.Term, err error) {
	out = make([]htn.Term, len(es))
	for i := range es {
		if out[i], err = s.term(&es[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// formula reads a condition. Quantifiers are written out over the objects of their types.
func (s scope) formula(e *expr) (htn.Cond, error) {
	if e == nil || e.isList() && len(e.list) == 0 {
		return htn.True{}, nil
	}
	if !e.isList() || e.list[0].isList() {
		return nil, s.l.errorf(e, "expected a condition, not %s", e)
	}
	head, rest := e.list[0].word, e.list[1:]
	each := func() (out []htn.Cond, err error) {
		for i := range rest {
			c, err := s.formula(&rest[i])
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
		return out, nil
	}
	arity := func(n int) error {
		if len(rest) != n {
			return s.l.errorf(e, "%s takes %d parts", head, n)
		}
		return nil
	}
	switch head {
	case "and":
		all, err := each()
		return htn.All(all), err
	case "or":
		anyOf, err := each()
		return htn.Any(anyOf), err
	case "not":
		if err := arity(1); err != nil {
			return nil, err
		}
		c, err := s.formula(&rest[0])
		return htn.Not{Cond: c}, err
	case "imply":
		if err := arity(2); err != nil {
			return nil, err
		}
		both, err := each()
		if err != nil {
			return nil, err
		}
		return htn.Any{htn.Not{Cond: both[0]}, both[1]}, nil
	case "=":
		if err := arity(2); err != nil {
			return nil, err
		}
		both, err := s.terms(rest)
		if err != nil {
			return nil, err
		}
		return htn.Equal{A: both[0], B: both[1]}, nil
	case "forall", "exists":
		if err := arity(2); err != nil {
			return nil, err
		}
		vars, err := s.l.parameters(&rest[0])
		if err != nil {
			return nil, err
		}
		var all []htn.Cond
		err = s.instances(e, vars, func(s scope) error {
			c, err := s.formula(&rest[1])
			all = append(all, c)
			return err
		})
		if head == "forall" {
			return htn.All(all), err
		}
		return htn.Any(all), err
	case "when", "sortof", "typeof", "increase", "decrease", "assign", "<", ">", "<=", ">=":
		return nil, s.l.errorf(e, "%s is not supported in a condition", head)
	}
	if err := s.l.predicate(e, head, len(rest)); err != nil {
		return nil, err
	}
	args, err := s.terms(rest)
	return htn.Holds{Rel: head, Args: args}, err
}

// maxWritten is how often formulas below quantifiers may be written out in all: a few variables over many objects would take all memory.
const maxWritten = 1 << 20

// instances calls do for each way to choose objects for the variables of e.
func (s scope) instances(e *expr, vars []typed, do func(scope) error) error {
	if len(vars) == 0 {
		if s.l.written++; s.l.written > maxWritten {
			return s.l.errorf(e, "quantifiers are written out over the objects of their types, and up to here that makes more than %d formulas: quantify over fewer variables at once", maxWritten)
		}
		return do(s)
	}
	for _, o := range s.l.names {
		if !slices.ContainsFunc(vars[0].types, func(t string) bool { return slices.Contains(s.l.objects[o], t) }) {
			continue
		}
		inner := scope{s.l, maps.Clone(s.vars)}
		if inner.vars == nil {
			inner.vars = map[string]htn.Term{}
		}
		inner.vars[vars[0].name] = htn.C(constant(o))
		if err := inner.instances(e, vars[1:], do); err != nil {
			return err
		}
	}
	return nil
}

// consequence is what an action does when a condition holds: nil is none.
type consequence struct {
	when        htn.Cond
	add, remove []warp.NodePattern
}

func (c consequence) rule(name string, params []string) *warp.Rule {
	return &warp.Rule{Name: name, Params: params, Add: c.add, Remove: c.remove}
}

// effects reads what an action does: the part of e that has no condition of its own becomes part of out[at].
func (s scope) effects(out []consequence, at int, e *expr) ([]consequence, error) {
	for _, p := range parts(e) {
		negative := p.is("not") && len(p.list) == 2
		lit := p
		if negative {
			lit = &p.list[1]
		}
		if !lit.isList() || len(lit.list) == 0 || lit.list[0].isList() {
			return nil, s.l.errorf(p, "expected an effect, not %s", p)
		}
		var err error
		switch head := lit.list[0].word; {
		case head == "and" && !negative:
			out, err = s.effects(out, at, lit)
		case head == "forall" && !negative && len(lit.list) == 3:
			var vars []typed
			if vars, err = s.l.parameters(&lit.list[1]); err == nil {
				err = s.instances(lit, vars, func(s scope) (err error) {
					out, err = s.effects(out, at, &lit.list[2])
					return err
				})
			}
		case head == "when" && !negative && len(lit.list) == 3:
			if at > 0 {
				return nil, s.l.errorf(lit, "a condition below another is not supported in an effect: join them by and")
			}
			var when htn.Cond
			if when, err = s.formula(&lit.list[1]); err == nil {
				out, err = s.effects(append(out, consequence{when: when}), len(out), &lit.list[2])
			}
		case slices.Contains([]string{"increase", "decrease", "assign"}, head):
		case slices.Contains([]string{"forall", "when", "not", "and", "or", "="}, head):
			return nil, s.l.errorf(lit, "expected an effect, not %s", lit)
		default:
			err = s.effect(&out[at], lit, negative)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s scope) effect(out *consequence, e *expr, negative bool) error {
	if err := s.l.predicate(e, e.list[0].word, len(e.list)-1); err != nil {
		return err
	}
	args, err := s.terms(e.list[1:])
	if err != nil {
		return err
	}
	terms := make([]warp.Term, len(args))
	for i, a := range args {
		if terms[i] = warp.Raw(string(a.Const)); a.Var != "" {
			terms[i] = warp.Var(a.Var)
		}
	}
	f := warp.FactPattern(e.list[0].word, terms...)
	if negative {
		f.Optional = true
		out.remove = append(out.remove, f)
	} else {
		out.add = append(out.add, f)
	}
	return nil
}
