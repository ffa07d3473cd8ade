package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/stdlib"
)

type functionsCmd struct {
	Name string `arg:"" optional:"" help:"The function."`
}

func (c *functionsCmd) run(_ context.Context, s *session) error {
	all := lang.FunctionDocs()
	if c.Name != "" {
		var names []string
		for _, f := range all {
			names = append(names, f.Name)
		}
		i := slices.Index(names, c.Name)
		if i < 0 {
			return unknown("function", c.Name, names, "jitos functions")
		}
		all = all[i : i+1]
	}
	if s.flags.JSON {
		return each(s, all)
	}
	return s.page(func(out io.Writer) error {
		var b strings.Builder
		if c.Name != "" {
			fmt.Fprintf(&b, "%s\n  %s\n  %s is %s\n", s.style.Text(all[0].Call), all[0].Doc, all[0].Example, all[0].Result)
		} else {
			var rows []row
			for _, f := range all {
				rows = append(rows, row{s.style.Text(f.Call), s.style.Dim(f.Doc)})
			}
			writeRows(&b, rows, columnWidths(rows))
		}
		_, err := io.WriteString(out, b.String())
		return err
	})
}

// unknown says that there is nothing of that name.
func unknown(what, name string, there []string, help string) error {
	text := fmt.Sprintf("unknown %s %q", what, name)
	if s, ok := diag.Suggest(name, there); ok {
		text += ": did you mean " + s + "?"
	} else if len(there) > 0 && len(there) <= 10 {
		text += ": there is " + strings.Join(there, ", ")
	}
	return &usageError{err: fmt.Errorf("%s", text), help: help}
}

type docsCmd struct {
	Module string `arg:"" optional:"" help:"std/NAME, or the directory of a module (default: the workspace)."`
}

func (c *docsCmd) run(_ context.Context, s *session) error {
	m, name, err := c.load(s)
	if err != nil {
		return err
	}
	return s.page(func(out io.Writer) error {
		_, err := io.WriteString(out, moduleDocs(m, name))
		return err
	})
}

// load reads the module, and says what it is called.
func (c *docsCmd) load(s *session) (*lang.Module, string, error) {
	std := stdlib.Modules()
	fsys, dir, name := std, "", c.Module
	if short, ok := strings.CutPrefix(c.Module, "std/"); ok {
		entries, err := fs.ReadDir(std, ".")
		if err != nil {
			return nil, "", err
		}
		var there []string
		for _, e := range entries {
			if e.IsDir() {
				there = append(there, "std/"+e.Name())
			}
		}
		if !slices.Contains(there, c.Module) {
			return nil, "", unknown("module", c.Module, there, "jitos docs --help")
		}
		dir = short
	} else if c.Module != "" {
		at, err := filepath.Abs(filepath.Join(s.flags.Directory, c.Module))
		if err != nil {
			return nil, "", err
		}
		fsys, dir, name = os.DirFS(filepath.Dir(at)), filepath.Base(at), filepath.Base(at)
	} else {
		w, err := s.open(runFlags{})
		if err != nil {
			return nil, "", err
		}
		defer w.Close()
		fsys, dir, name = os.DirFS(w.Root()), ".", filepath.Base(w.Root())
	}
	m, problems := lang.Load(fsys, dir, std)
	s.sources = m.Source
	return m, name, problems.Err()
}

// moduleDocs is Markdown about what a module takes and gives.
func moduleDocs(m *lang.Module, name string) string {
	var b strings.Builder
	text := func(x hcl.Expression) string {
		if x == nil {
			return ""
		}
		r := x.Range()
		return strings.Join(strings.Fields(string(m.Source(r.Filename)[r.Start.Byte:r.End.Byte])), " ")
	}
	fmt.Fprintf(&b, "# %s\n", name)
	if about := leadingComment(m); about != "" {
		b.WriteString("\n" + about + "\n")
	}
	var rows [][]string
	for _, v := range m.Variables {
		initial := code(text(v.Default))
		switch {
		case v.Default == nil:
			initial = "must be given"
		case v.Sensitive:
			initial = "(sensitive)"
		}
		rows = append(rows, []string{code(v.Name), code(typeexpr.TypeString(v.Type)), initial, v.Description})
	}
	table(&b, "Variables", []string{"variable", "type", "default", "is"}, rows)
	rows = nil
	for _, t := range m.Tasks {
		var params, ways []string
		for _, p := range t.Params {
			param := p.Name
			if p.Default != nil {
				param += " = " + text(p.Default)
			}
			if p.Description != "" {
				param += " (" + p.Description + ")"
			}
			params = append(params, param)
		}
		for _, w := range m.Methods {
			if w.Task.Name == t.Name {
				ways = append(ways, w.Name)
			}
		}
		about := t.Description
		if len(ways) > 0 {
			about = strings.TrimSpace(about + " By " + strings.Join(ways, ", ") + ".")
		}
		task := t.Name
		if t.ForEach != nil {
			task += "[…]"
		}
		rows = append(rows, []string{code(task), strings.Join(params, ", "), about})
	}
	table(&b, "Tasks", []string{"task", "parameters", "is"}, rows)
	rows = nil
	for _, f := range m.Facts {
		var columns []string
		for _, c := range f.Columns {
			columns = append(columns, c.Name)
		}
		rows = append(rows, []string{code(fmt.Sprintf("fact::%s(%s)", f.Name, strings.Join(columns, ", "))), f.Description})
	}
	table(&b, "Facts", []string{"fact", "is"}, rows)
	rows = nil
	for _, l := range m.SLAPs {
		rows = append(rows, []string{code(l.Name), strings.Trim(text(l.Intent), `"`)})
	}
	table(&b, "SLAPs", []string{"slap", "intent"}, rows)
	return b.String()
}

// leadingComment is what the first file begins with, without its comment signs.
func leadingComment(m *lang.Module) string {
	files := m.Files()
	if len(files) == 0 {
		return ""
	}
	var lines []string
	for line := range strings.Lines(string(m.Source(files[0]))) {
		text, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		lines = append(lines, strings.TrimSpace(text))
	}
	return strings.Join(lines, "\n")
}

// table writes a table, and nothing if it has no rows.
func table(b *strings.Builder, title string, columns []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| %s |\n|%s\n", title, strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	for _, r := range rows {
		for i := range r {
			r[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(r[i])
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | "))
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
