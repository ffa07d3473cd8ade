package compiler

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/warp"
)

// universe is what all expressions of a module share, in whatever view of the workspace: variables and relations.
type universe struct {
	module    *lang.Module
	vars      cty.Value
	relations map[string]*relation
}

// relation is a declared fact.
type relation struct {
	*lang.Fact
	observed bool
	ready    bool // observed: keys and rows are there
	keys     map[string]bool
	rows     []cty.Value
	kept     map[string]bool // not observed: what holds, while the assumptions of a slap are looked at
	known    bool            // that is now
}

func newUniverse(m *lang.Module) *universe {
	u := &universe{module: m, vars: cty.EmptyObjectVal, relations: map[string]*relation{}}
	for _, f := range m.Facts {
		u.relations[f.Name] = &relation{Fact: f, observed: f.From != nil, keys: map[string]bool{}}
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
		if !r.observed || e.bad[f.From] {
			continue
		}
		rows, ok := e.value(f.From, nil)
		if !ok {
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

// variables gives every variable its value: as typed, or its default.
func (u *universe) variables(given map[string]string) (diags diag.List) {
	fail := func(code string, at diag.Range, summary, detail string) {
		diags = append(diags, diag.Diagnostic{Code: code, Subject: at, Summary: summary, Detail: detail})
	}
	vals := map[string]cty.Value{}
	var names []string
	for _, v := range u.module.Variables {
		names = append(names, v.Name)
		vals[v.Name] = cty.UnknownVal(v.Type)
		raw, ok := given[v.Name]
		if v.Sensitive {
			fail(CodeUnsupported, v.Range, "not supported by this version: sensitive", "Remove it, or use a version of jitos that has it.")
		}
		var val cty.Value
		var err error
		switch {
		case ok:
			val, err = typed(raw, v.Type)
			if err != nil {
				fail(lang.CodeArguments, v.Range, fmt.Sprintf("the value given for variable %q does not fit", v.Name), sentence(err.Error()))
				continue
			}
		case v.Default == nil:
			fail(lang.CodeArguments, v.Range, fmt.Sprintf("variable %q has no value", v.Name), fmt.Sprintf("Give it one with --var %s=…, or a default.", v.Name))
			continue
		default:
			var ds hcl.Diagnostics
			val, ds = v.Default.Value(nil)
			if ds.HasErrors() {
				diags = append(diags, lang.FromHCL(ds, lang.CodeBadDefault)...)
				continue
			}
		}
		if v.Defaults != nil && !val.IsNull() {
			val = v.Defaults.Apply(val)
		}
		if val, err = convert.Convert(val, v.Type); err != nil {
			at := v.Range
			if v.Default != nil && !ok {
				at = place(v.Default)
			}
			fail(lang.CodeBadDefault, at, fmt.Sprintf("the value of variable %q does not fit", v.Name), sentence(err.Error()))
			continue
		}
		vals[v.Name] = val
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(names, name) {
			continue
		}
		d := diag.Diagnostic{Code: lang.CodeUnknownName, Summary: fmt.Sprintf("unknown variable %q", name), Detail: "It was given with --var, but no variable block declares it."}
		if s, ok := diag.Suggest(name, names); ok {
			d.Detail += " Did you mean " + s + "?"
		}
		diags = append(diags, d)
	}
	if len(vals) > 0 {
		u.vars = cty.ObjectVal(vals)
	}
	return diags
}

// validate checks the conditions that variables put on their values.
func (u *universe) validate(e *evaluator) {
	for _, v := range u.module.Variables {
		if !u.vars.GetAttr(v.Name).IsWhollyKnown() {
			continue
		}
		for _, c := range v.Validations {
			holds, ok := e.flag(c.Condition, nil)
			if !ok || holds {
				continue
			}
			d := diag.Diagnostic{Code: lang.CodeArguments, Subject: place(c.Condition), Summary: fmt.Sprintf("the value of variable %q is not allowed", v.Name)}
			if c.ErrorMessage != nil {
				d.Detail, _ = e.text(c.ErrorMessage, nil)
			}
			d.Label = e.because(c.Condition, nil)
			e.diags = append(e.diags, d)
		}
	}
}
