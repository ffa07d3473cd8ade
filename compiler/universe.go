package compiler

import (
	"errors"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
)

// universe is what all expressions of a module share, in whatever view of the workspace: variables and relations. A module
// that is used twice is two of them.
type universe struct {
	module    *lang.Module
	prefix    string // of the names of its tasks: "", "golang."
	vars      cty.Value
	secrets   cty.Value // of `secret` in expressions
	granted   map[string]plan.Granted
	relations map[string]*relation // by name as the module asks for it: "clean", "git::clean"
	uses      map[string]*universe // by alias; nil where there is no such module
}

// relation is a declared fact. Its name is the whole one: "git::clean".
type relation struct {
	*lang.Fact
	observed bool
	ready    bool // observed: keys and rows are there
	keys     map[string]bool
	rows     []cty.Value
	kept     map[string]bool // not observed: what holds, while the assumptions of a slap are looked at
	known    bool            // that is now
}

// maxModules bounds how many universes a program has: modules that use others twice make many of few.
const maxModules = 1000

// newUniverse makes the universe of a module and those of the modules that it uses. room is how many more there may be.
func newUniverse(m *lang.Module, prefix string, room *int) *universe {
	*room--
	u := &universe{module: m, prefix: prefix, vars: cty.EmptyObjectVal, secrets: cty.EmptyObjectVal, relations: map[string]*relation{}, uses: map[string]*universe{}}
	for _, f := range m.Facts {
		whole := *f
		whole.Name = strings.ReplaceAll(prefix, ".", "::") + f.Name
		u.relations[f.Name] = &relation{Fact: &whole, observed: f.From != nil || f.Probe != nil, keys: map[string]bool{}}
	}
	for _, use := range m.Uses {
		u.uses[use.Alias] = nil
		if use.Module == nil || *room <= 0 {
			continue
		}
		sub := newUniverse(use.Module, prefix+use.Alias+".", room)
		u.uses[use.Alias] = sub
		for _, f := range use.Module.Facts {
			u.relations[use.Alias+"::"+f.Name] = sub.relations[f.Name]
		}
	}
	return u
}

// object is the type of a row.
func (r *relation) object() cty.Type {
	attrs := make(map[string]cty.Type, len(r.Columns))
	for _, c := range r.Columns {
		attrs[c.Name] = c.Type
	}
	return cty.Object(attrs)
}

var errChanging = errors.New("this fact changes as tasks run: it can only be asked for on its own in a condition, joined to others by &&, || and !")
var errNotReady = errors.New("facts are not known yet: what facts are observed from cannot depend on facts")

func (r *relation) available() error {
	switch {
	case !r.observed && !r.known:
		return errChanging
	case !r.observed:
		return nil
	case !r.ready:
		return errNotReady
	}
	return nil
}

// function is fact::NAME: whether a row is there.
func (r *relation) function() function.Function {
	spec := &function.Spec{
		Description: r.Description, Type: function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if r.Probe != nil && !r.ready {
				return cty.UnknownVal(cty.Bool), nil
			}
			if err := r.available(); err != nil {
				return cty.NilVal, err
			}
			k, err := rowKey(args)
			return cty.BoolVal(r.keys[k] || r.kept[k]), err
		},
	}
	for _, c := range r.Columns {
		spec.Params = append(spec.Params, function.Parameter{Name: c.Name, Type: c.Type})
	}
	return function.New(spec)
}

func rowKey(args []cty.Value) (string, error) {
	key := ""
	for _, a := range args {
		v, err := encode(a)
		if err != nil {
			return "", err
		}
		key += string(v)
	}
	return key, nil
}

// factsFunction is facts("rel"): all rows as a list of objects.
func (u *universe) factsFunction() function.Function {
	find := func(name cty.Value) (*relation, error) {
		r := u.relations[name.AsString()]
		if r == nil {
			return nil, fmt.Errorf("there is no fact %q", name.AsString())
		}
		return r, nil
	}
	return function.New(&function.Spec{
		Description: "All observed rows of a fact",
		Params:      []function.Parameter{{Name: "fact", Type: cty.String}},
		Type: func(args []cty.Value) (cty.Type, error) {
			if !args[0].IsKnown() {
				return cty.DynamicPseudoType, nil
			}
			r, err := find(args[0])
			if err != nil {
				return cty.NilType, err
			}
			return cty.List(r.object()), nil
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			r, err := find(args[0])
			if err != nil {
				return cty.NilVal, err
			}
			if r.Probe != nil && !r.ready {
				return cty.UnknownVal(cty.List(r.object())), nil
			}
			if err := r.available(); err != nil {
				return cty.NilVal, err
			}
			if len(r.rows) == 0 {
				return cty.ListValEmpty(r.object()), nil
			}
			return cty.ListVal(r.rows), nil
		},
	})
}

// observe evaluates `from` of all observed facts.
func (u *universe) observe(e *evaluator) (nodes []warp.Node) {
	for _, f := range u.module.Facts {
		r := u.relations[f.Name]
		if f.From == nil || e.bad[f.From] {
			continue
		}
		rows, ok := e.value(f.From, nil)
		if !ok || !e.open(rows, f.From, "a fact") {
			continue
		}
		rows, _ = rows.UnmarkDeep()
		if !rows.IsWhollyKnown() || !rows.CanIterateElements() || rows.Type().IsObjectType() || rows.Type().IsMapType() {
			e.fail(lang.CodeEvaluation, place(f.From), "the rows of a fact are not a list", "A list of objects with the fact's columns is needed.")
			continue
		}
		i := -1
		for it := rows.ElementIterator(); it.Next(); {
			i++
			_, row := it.Element()
			node, again, err := r.add(row)
			if err != nil {
				e.fail(lang.CodeEvaluation, item(f.From, i), fmt.Sprintf("%s is not a row of fact %q", text(row), f.Name), sentence(err.Error()))
			} else if !again {
				nodes = append(nodes, node)
			}
		}
		r.ready = true
	}
	return nodes
}

// add makes row a row, unless it is one already.
func (r *relation) add(row cty.Value) (node warp.Node, again bool, err error) {
	if row, err = convert.Convert(row, r.object()); err != nil {
		return node, false, err
	}
	args, vals := make([]any, len(r.Columns)), make([]cty.Value, len(r.Columns))
	for i, c := range r.Columns {
		vals[i] = row.GetAttr(c.Name)
		if vals[i].IsNull() {
			return node, false, fmt.Errorf("column %s is null", c.Name)
		}
		if args[i], err = plain(vals[i]); err != nil {
			return node, false, err
		}
	}
	k, err := rowKey(vals)
	if err != nil || r.keys[k] {
		return node, true, err
	}
	r.keys[k], r.rows = true, append(r.rows, row)
	node, err = warp.Fact(r.Name, args...)
	return node, false, err
}
