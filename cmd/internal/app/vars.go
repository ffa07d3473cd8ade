package app

import (
	"context"
	"os"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// Variable is a variable of the workflow, and where its value may come from.
type Variable struct {
	compiler.Variable
	Sources []Source // in the order in which they win
}

// From is the source that gives the value, "" if none does.
func (v Variable) From() string {
	for _, s := range v.Sources {
		if s.Given {
			return s.From
		}
	}
	return ""
}

// Concerns reports whether d is about v or a value for it.
func (v Variable) Concerns(d diag.Diagnostic) bool {
	about := func(r diag.Range) bool {
		return r == v.Range || slices.ContainsFunc(v.Sources, func(s Source) bool { return s.At == r })
	}
	return about(d.Subject) || slices.ContainsFunc(d.Related, func(r diag.Related) bool { return about(r.Range) })
}

// Source is where the value of a variable may come from. The first that gives one wins.
type Source struct {
	From  string     // "--var", "--var-file ci.values", "JITOS_VAR_os", "default"
	Given bool       // it gives one
	Value string     // as a person types it; (sensitive) if the variable is
	At    diag.Range // where that is written, if it is in a file
}

// source is a [Source] as the compiler takes it.
type source struct {
	compiler.Given
	there bool
}

// sources are where the value of each variable may come from, in the order in which they win, besides its default: --var,
// --var-file, the last one first, JITOS_VAR_name.
func (w *Workspace) sources(m *lang.Module) (map[string][]source, diag.List) {
	out := map[string][]source{}
	add := func(name string, s source) { out[name] = append(out[name], s) }
	flag := func(name string) {
		text, there := w.vars[name]
		add(name, source{compiler.Given{Text: text, From: "--var"}, there})
	}
	for _, v := range m.Variables {
		flag(v.Name)
	}
	for name := range w.vars {
		if out[name] == nil {
			flag(name)
		}
	}
	var diags diag.List
	for _, file := range slices.Backward(w.o.VarFiles) {
		text, err := os.ReadFile(file)
		if err != nil {
			diags = append(diags, diag.Diagnostic{Code: lang.CodeUnreadable, Subject: diag.Range{File: file}, Summary: "cannot read the file of values", Detail: reasonOf(err) + "."})
			continue
		}
		values, text, problems := lang.ParseValues(lang.File{Name: file, Text: text})
		diags = append(diags, problems...)
		if !slices.ContainsFunc(m.Variables, func(v *lang.Variable) bool { return v.Sensitive }) { // a line of it may be what is never shown
			w.texts[file] = text
		}
		for _, v := range values {
			add(v.Name, source{compiler.Given{Value: v.Value, From: "--var-file " + file, At: v.Range}, true})
		}
	}
	for _, v := range m.Variables {
		text, there := os.LookupEnv("JITOS_VAR_" + v.Name)
		add(v.Name, source{compiler.Given{Text: text, From: "JITOS_VAR_" + v.Name}, there})
	}
	return out, diags
}

// Variables lists the variables of the workflow, in written order, with what is wrong with it.
func (w *Workspace) Variables(ctx context.Context) ([]Variable, diag.List, error) {
	if err := w.settle(ctx); err != nil {
		return nil, nil, err
	}
	if err := w.look(); err != nil {
		return nil, nil, err
	}
	p, diags := w.compile()
	if p == nil {
		return nil, diags, nil
	}
	sources, _ := w.sources(w.module) // what is wrong with them was said
	var out []Variable
	for i, v := range p.Variables() {
		x := Variable{Variable: v}
		for _, s := range sources[v.Name] {
			told := Source{From: s.From, Given: s.there, Value: s.Text, At: s.At}
			switch {
			case s.Value != cty.NilVal:
				told.Value = compiler.Told(w.module.Variables[i], s.Value)
			case s.there && v.Sensitive:
				told.Value = "(sensitive)"
			}
			x.Sources = append(x.Sources, told)
		}
		x.Sources = append(x.Sources, Source{From: "default", Given: !v.Required, Value: v.Default, At: v.Range})
		out = append(out, x)
	}
	return out, diags, nil
}
