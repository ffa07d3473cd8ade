package htn

import (
	"errors"
	"fmt"

	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// A task's operator is a rule about facts: this file is all that knows how warp writes one down.

const factKind = "fact"

type effect struct {
	rel  string
	args []Term
	add  bool
}

// ruleFacts reads a rule as precondition and effects. What it removes must be there, unless that is optional.
func ruleFacts(r *warp.Rule) (pre []Cond, effects []effect, err error) {
	if err := r.Check(); err != nil {
		return nil, nil, err
	}
	if len(r.MatchEdges)+len(r.AddEdges)+len(r.RemoveEdges) > 0 {
		return nil, nil, errors.New("its rule is about edges; an operator is about facts")
	}
	for i := range r.Match {
		rel, args, err := patternOf(&r.Match[i])
		if err != nil {
			return nil, nil, err
		}
		pre = append(pre, Holds{Rel: rel, Args: args})
	}
	for i := range r.Not {
		rel, args, err := patternOf(&r.Not[i])
		if err != nil {
			return nil, nil, err
		}
		pre = append(pre, Not{Holds{Rel: rel, Args: args}})
	}
	for i := range r.Remove {
		rel, args, err := patternOf(&r.Remove[i])
		if err != nil {
			return nil, nil, err
		}
		effects = append(effects, effect{rel, args, false})
		if !r.Remove[i].Optional {
			pre = append(pre, Holds{Rel: rel, Args: args})
		}
	}
	for i := range r.Add {
		rel, args, err := patternOf(&r.Add[i])
		if err != nil {
			return nil, nil, err
		}
		effects = append(effects, effect{rel, args, true})
	}
	return pre, effects, nil
}

func patternOf(p *warp.NodePattern) (rel string, args []Term, err error) {
	rel, terms, ok := p.Fact()
	if !ok {
		return "", nil, fmt.Errorf("its rule is about a node of kind %s; an operator is about facts", p.Kind)
	}
	args = make([]Term, len(terms))
	for i, t := range terms {
		if name, ok := t.Variable(); ok {
			args[i] = V(name)
		} else if v, ok := t.Value(); ok {
			args[i] = C(Value(v))
		} else {
			return "", nil, fmt.Errorf("argument %d of fact %s in its rule is neither a variable nor a constant", i+1, rel)
		}
	}
	return rel, args, nil
}

// factOf reads a node of kind fact.
func factOf(n warp.Node) (rel string, args []Value, err error) {
	in := cbor.NewReader(n.Data)
	count := in.Array()
	rel = string(in.Text())
	for i := 1; i < count; i++ {
		args = append(args, Value(in.Raw()))
	}
	if err := in.Close(); err != nil {
		return "", nil, fmt.Errorf("fact %x: %w", n.Data, err)
	}
	return rel, args, nil
}

// Binding is the step's binding for [warp.Rule.Instantiate] of its task's operator.
func (s *Step) Binding() warp.Binding {
	b := make(warp.Binding, len(s.Bind))
	for _, v := range s.Bind {
		b[v.Var] = string(v.Value)
	}
	return b
}
