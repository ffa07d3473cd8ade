package compiler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// Given is a value for a variable of a module.
type Given struct {
	Text  string     // as a person types it: an HCL expression, or the text itself where the variable is a string
	Value cty.Value  // instead of Text; NilVal if it was typed
	From  string     // for messages: "--var", "JITOS_VAR_os"
	At    diag.Range // where it is written, if that is a file
}

// variables gives every variable its value: the one that is given, or its default. use is what gave them, nil for the
// workspace's own module. open says that it need not have one.
func (u *universe) variables(given map[string]Given, use *lang.Use, open bool, h *hidden) (diags diag.List) {
	vals := map[string]cty.Value{}
	var names []string
	for _, v := range u.module.Variables {
		names = append(names, v.Name)
		vals[v.Name] = cty.UnknownVal(v.Type)
		g, ok := given[v.Name]
		if !ok && v.Default == nil {
			if use != nil || !open {
				diags = append(diags, lacking(v, use))
			}
			continue
		}
		if v.Sensitive {
			h.add("(sensitive "+u.prefix+v.Name+")", g.Text) // also if it does not fit
		}
		val, err := g.value(v)
		if err != nil {
			diags = append(diags, misfit(v, g, err))
			continue
		}
		if v.Sensitive {
			var wrong diag.List
			val, wrong = u.conceal(v, val, h)
			diags = append(diags, wrong...)
		}
		vals[v.Name] = val
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, name) {
			diags = append(diags, unknownVariable(name, given[name], names, use))
		}
	}
	if len(vals) > 0 {
		u.vars = cty.ObjectVal(vals)
	}
	return diags
}

// Variables are those of the workspace's module, in written order.
func (p *Program) Variables() []Variable {
	u := p.names.u
	var out []Variable
	for _, v := range u.module.Variables {
		x := Variable{
			Name: v.Name, Description: v.Description, Type: typeName(v.Type), Required: v.Default == nil, Sensitive: v.Sensitive, Range: v.Range,
			Value: Told(v, u.vars.GetAttr(v.Name)),
		}
		if v.Default != nil {
			if d, err := (Given{}).value(v); err == nil {
				x.Default = Told(v, d)
			}
		}
		out = append(out, x)
	}
	return out
}

// Told is a value of v as a person types it, "" if it is not known.
func Told(v *lang.Variable, val cty.Value) string {
	switch {
	case !val.IsWhollyKnown():
		return ""
	case v.Sensitive, val.ContainsMarked():
		return "(sensitive)"
	}
	return typedText(val)
}

// typeName is ty as written in a workflow.
func typeName(ty cty.Type) string {
	if ty == cty.DynamicPseudoType {
		return "any"
	}
	return typeexpr.TypeString(ty)
}

// value is what g, or the default where g is nothing, is as a value of v.
func (g Given) value(v *lang.Variable) (val cty.Value, err error) {
	switch {
	case g.Value != cty.NilVal:
		val = g.Value
	case g.From != "":
		val, err = typed(g.Text, v.Type)
	default:
		var ds hcl.Diagnostics
		if val, ds = v.Default.Value(nil); ds.HasErrors() {
			return val, errors.New(strings.TrimSuffix(ds[0].Detail, "."))
		}
	}
	if err != nil {
		return val, err
	}
	if v.Defaults != nil && !val.IsNull() {
		val = v.Defaults.Apply(val)
	}
	return convert.Convert(val, v.Type)
}

// lacking says of a variable that it has no value.
func lacking(v *lang.Variable, use *lang.Use) diag.Diagnostic {
	if use == nil {
		return diag.Diagnostic{
			Code: lang.CodeArguments, Subject: v.Range, Summary: fmt.Sprintf("variable %q has no value", v.Name),
			Detail: fmt.Sprintf("Give it one with --var %s=…, or a default.", v.Name),
		}
	}
	return diag.Diagnostic{
		Code: lang.CodeArguments, Subject: use.Range, Label: "use " + use.Alias, Summary: fmt.Sprintf("module %s needs a value for its variable %q", use.Source, v.Name),
		Detail: fmt.Sprintf("Write %s = … into the use block.", v.Name), Related: []diag.Related{{Range: v.Range, Label: "variable " + v.Name}},
	}
}

// misfit says of a value that it is none for a variable.
func misfit(v *lang.Variable, g Given, err error) diag.Diagnostic {
	d := diag.Diagnostic{Code: lang.CodeArguments, Subject: v.Range, Summary: fmt.Sprintf("the value given for variable %q does not fit", v.Name), Detail: sentence(err.Error())}
	switch {
	case !g.At.IsZero():
		d.Subject, d.Label, d.Related = g.At, g.From, []diag.Related{{Range: v.Range, Label: "variable " + v.Name}}
	case g.From != "":
		d.Detail += " It comes from " + g.From + "."
	default:
		d.Code, d.Subject, d.Summary = lang.CodeBadDefault, place(v.Default), fmt.Sprintf("the default of variable %q does not fit", v.Name)
	}
	return d
}

// unknownVariable says of a value that there is no variable for it.
func unknownVariable(name string, g Given, there []string, use *lang.Use) diag.Diagnostic {
	d := diag.Diagnostic{Code: lang.CodeUnknownName, Subject: g.At, Summary: fmt.Sprintf("unknown variable %q", name)}
	if use != nil {
		d.Summary = fmt.Sprintf("module %s has no variable %q", use.Source, name)
	} else {
		d.Detail = fmt.Sprintf("It was given with %s, but no variable block declares it.", g.From)
	}
	s, near := diag.Suggest(name, there)
	switch {
	case near && !g.At.IsZero():
		d.Label = "did you mean " + s + "?"
	case near:
		d.Detail += " Did you mean " + s + "?"
	case len(there) > 0:
		d.Detail = strings.TrimSpace(d.Detail + " There is " + strings.Join(there, ", ") + ".")
	}
	return d
}

// validate checks the conditions that variables put on their values.
func (n *names) validate() {
	for _, v := range n.u.module.Variables {
		if !n.u.vars.GetAttr(v.Name).IsWhollyKnown() {
			continue
		}
		for _, c := range v.Validations {
			holds, ok := n.flag(c.Condition, nil)
			if !ok || holds {
				continue
			}
			d := diag.Diagnostic{Code: lang.CodeArguments, Subject: place(c.Condition), Summary: fmt.Sprintf("the value of variable %q is not allowed", n.u.prefix+v.Name)}
			if c.ErrorMessage != nil {
				d.Detail, _ = n.text(c.ErrorMessage, nil)
			}
			d.Label = n.because(c.Condition, nil)
			if g := n.given[v.Name]; !g.At.IsZero() {
				d.Related = []diag.Related{{Range: g.At, Label: g.From}}
			}
			n.diags = append(n.diags, d)
		}
	}
}
