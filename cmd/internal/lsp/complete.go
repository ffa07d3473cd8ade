package lsp

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/flyingrobots/jitos/lang"
)

// maxItems bounds an answer; the editor asks again when more is typed.
const maxItems = 300

// completion is what can be written at a position.
func (s *server) completion(p positionParams) (any, error) {
	abs, ok := pathOf(p.TextDocument.URI)
	t := s.documents[abs]
	if !ok || t == nil || !isWorkflow(abs) {
		return nil, nil
	}
	at, i := t.seen(p.Position)
	part := t.parts[i]
	head, tail := part.text[:at-part.at], part.text[at-part.at:]
	c := completer{server: s, w: s.home(abs), abs: abs, cursor: find(head), text: t, part: i, head: head, tail: tail}
	c.span = span{t.unseen(at - len(c.word)), t.unseen(at + len(wordAfter(tail)))}
	c.file = c.w.file(abs)
	c.complete()
	return c.list(), nil
}

// completer makes the answer to one request.
type completer struct {
	*server
	cursor
	w          *workspace
	abs, file  string
	text       *text
	part       int
	head, tail string // of the part, before and behind the cursor
	span       span   // what is replaced
	items      []completionItem
}

// add offers text, without an end that stands behind the cursor already. It is shown as label, or as itself.
func (c *completer) add(item completionItem, text string) {
	if item.Label == "" {
		item.Label = text
	}
	behind := strings.TrimLeft(c.tail[len(wordAfter(c.tail)):], " \t")
	if strings.HasPrefix(behind, "=") && !strings.HasPrefix(behind, "==") {
		text = strings.TrimSuffix(text, " = ")
	} else if strings.HasPrefix(behind, "(") {
		text = strings.TrimSuffix(text, "(")
	}
	item.FilterText = item.Label
	item.TextEdit = textEdit{c.span, text}
	c.items = append(c.items, item)
}

// list is what was offered and fits what is typed: at the beginning of a name or of one of its parts.
func (c *completer) list() completionList {
	word := strings.ToLower(c.word)
	fits := func(label string) bool {
		label = strings.ToLower(strings.Trim(label, `"`))
		if strings.HasPrefix(label, word) {
			return true
		}
		_, rest, dotted := strings.Cut(strings.ReplaceAll(label, "::", "."), ".")
		return dotted && !strings.ContainsAny(word, ".:") && strings.HasPrefix(rest, word)
	}
	out := completionList{Items: []completionItem{}}
	seen := map[string]bool{}
	for _, item := range c.items {
		if seen[item.Label] || !fits(item.FilterText) {
			continue
		}
		seen[item.Label] = true
		if len(out.Items) == maxItems {
			out.IsIncomplete = true
			break
		}
		out.Items = append(out.Items, item)
	}
	return out
}

func (c *completer) complete() {
	switch c.kind {
	case atName:
		c.offerNames()
	case atLabel:
		c.offerLabels()
	case atValue:
		c.offerValues()
	}
}

// schemaAt is what may stand in the block that the cursor is in, nil if there is no such block.
func (s *server) schemaAt(path []level) *lang.Schema {
	schema := s.schema
	for _, l := range path {
		if schema = schema.Block(l.name); schema == nil {
			return nil
		}
	}
	return schema
}

// offerNames offers the attributes that the block does not have yet, and its blocks.
func (c *completer) offerNames() {
	schema := c.schemaAt(c.path)
	if schema == nil {
		return
	}
	there := c.blockAround()
	for _, a := range schema.Attrs {
		if there != nil && there.Attributes[a.Name] != nil && a.Name != c.word {
			continue
		}
		c.add(completionItem{Label: a.Name, Kind: kindProperty, Detail: a.Takes, Documentation: markdown(a.Doc)}, a.Name+" = ")
	}
	for _, b := range schema.Blocks {
		item := completionItem{Label: b.Kind, Kind: kindKeyword, Detail: "block", Documentation: markdown(b.Doc)}
		text := b.Kind
		if c.snippets {
			item.InsertTextFormat = snippet
			text = blockSnippet(b)
		}
		c.add(item, text)
	}
	if len(c.path) > 0 && c.path[len(c.path)-1].name == "use" {
		c.variablesOf(c.path[len(c.path)-1].labels)
	}
}

// blockSnippet is a block to be filled in.
func blockSnippet(b *lang.Schema) string {
	out := b.Kind
	for i, l := range b.Labels {
		out += ` "${` + string(rune('1'+i)) + ":" + strings.ToLower(l) + `}"`
	}
	return out + " {\n  $0\n}"
}

// blockAround is what was understood of the block that the cursor is in, nil if nothing was.
func (c *completer) blockAround() *hclsyntax.Body {
	m, _ := lang.Parse([]lang.File{{Name: "part", Text: []byte(c.head + c.tail)}})
	body := m.Body("part")
	at := len(c.head)
	for range c.path {
		if body == nil {
			return nil
		}
		i := slices.IndexFunc(body.Blocks, func(b *hclsyntax.Block) bool {
			r := b.Range()
			return r.Start.Byte <= at && at <= r.End.Byte
		})
		if i < 0 {
			return nil
		}
		body = body.Blocks[i].Body
	}
	return body
}

// module is that of the document, as it was at the last analysis at least.
func (c *completer) module() *lang.Module {
	if c.w.current == nil && !c.update(c.w) {
		return &lang.Module{}
	}
	if m := c.w.current.moduleOf(c.file); m != nil {
		return m
	}
	return &lang.Module{}
}

// variablesOf offers the variables of a used module.
func (c *completer) variablesOf(labels []string) {
	if len(labels) == 0 {
		return
	}
	if m := used(c.module(), labels[0]); m != nil {
		for _, v := range m.Variables {
			c.add(completionItem{Label: v.Name, Kind: kindProperty, Detail: typeexpr.TypeString(v.Type), Documentation: markdown(v.Description)}, v.Name+" = ")
		}
	}
}

// offerLabels offers names that are declared elsewhere.
func (c *completer) offerLabels() {
	m := c.module()
	switch {
	case c.block == "method" && c.label == 0:
		for _, t := range m.Tasks {
			if !t.Primitive() {
				c.add(completionItem{Kind: kindFunction, Documentation: markdown(t.Description)}, t.Name)
			}
		}
	case c.block == "worker" && len(c.path) > 0:
		for _, w := range m.Workers {
			c.add(completionItem{Kind: kindModule}, w.Kind)
		}
	}
}

// offerValues offers what an attribute can be set to.
func (c *completer) offerValues() {
	schema := c.schemaAt(c.path)
	if schema == nil || len(c.path) == 0 {
		return
	}
	a := schema.Attr(c.attr)
	if a == nil {
		a = &lang.Attribute{}
	}
	switch {
	case c.call == "facts":
		for _, f := range c.module().Facts {
			c.add(completionItem{Kind: kindValue, Documentation: markdown(f.Description)}, f.Name)
		}
	case len(a.Words) > 0:
		for _, w := range a.Words {
			c.offerText(w)
		}
	case c.attr == "source" && c.path[len(c.path)-1].name == "use":
		for _, source := range c.sources() {
			c.offerText(source)
		}
	case c.quoted:
	case a.Takes == "a type" || c.attr == "columns":
		c.offerTypes()
	case c.offerKeys():
	default:
		c.offerExpressions(a)
	}
}

// offerText offers what stands in quotes.
func (c *completer) offerText(w string) {
	if c.quoted {
		i := strings.LastIndexByte(c.head, '"')
		c.cursor.word = c.head[i+1:]
		at := c.text.parts[c.part].at + len(c.head)
		c.span.Start = c.text.unseen(at - len(c.cursor.word))
		if end := strings.IndexAny(c.tail, "\"\n"); end >= 0 {
			c.span.End = c.text.unseen(at + end)
		}
		c.add(completionItem{Kind: kindValue}, w)
		return
	}
	c.add(completionItem{Kind: kindValue}, `"`+w+`"`)
}

// sources are the modules that there are to use.
func (c *completer) sources() (out []string) {
	here := filepath.Dir(c.abs)
	for _, dir := range workflowDirs(c.w.dir) {
		to, err := filepath.Rel(here, dir)
		switch {
		case err != nil, to == ".":
		case to == ".." || strings.HasSuffix(to, "/.."):
			out = append(out, to+"/")
		case strings.HasPrefix(to, "../"):
			out = append(out, to)
		default:
			out = append(out, "./"+to)
		}
	}
	return append(out, c.w.std...)
}

func (c *completer) offerTypes() {
	for _, t := range []string{"string", "number", "bool"} {
		c.add(completionItem{Kind: kindType}, t)
	}
	if c.attr == "columns" {
		return
	}
	c.add(completionItem{Kind: kindType}, "any")
	for _, t := range []string{"list", "set", "map", "tuple", "object", "optional"} {
		c.add(completionItem{Kind: kindType}, t+"(")
	}
}

// offerKeys offers the keys of an object, and reports whether the cursor is at one.
func (c *completer) offerKeys() bool {
	if len(c.objects) == 0 || c.objects[len(c.objects)-1].key != "" {
		return false
	}
	outer := c.attr
	if len(c.objects) > 1 {
		outer = c.objects[len(c.objects)-2].key
	}
	add := func(name, about string) {
		c.add(completionItem{Label: name, Kind: kindField, Documentation: markdown(about)}, name+" = ")
	}
	switch {
	case outer == "with":
		task := c.path[len(c.path)-1].task
		if len(c.objects) > 1 {
			task = c.objects[len(c.objects)-2].task
		}
		if t := taskNamed(c.module(), task); t != nil {
			for _, p := range t.Params {
				add(p.Name, p.Description)
			}
		}
	case outer == "uses":
		for _, p := range c.module().Pools {
			add(p.Name, p.Description)
		}
	case outer == "paths":
		add("ro", "Places that can be read.")
		add("rw", "Places that can be written.")
	case c.attr == "needs" && len(c.objects) == 1:
		add("task", "The task that is needed.")
		add("with", "Its arguments, by name.")
	}
	return true
}

// taskNamed is the task that a reference names: "task.compile", "task.golang.test".
func taskNamed(m *lang.Module, ref string) *lang.Task {
	names := strings.Split(ref, ".")
	if names[0] != "task" {
		return nil
	}
	alias, name := splitTask(names[1:])
	if m = used(m, alias); m == nil {
		return nil
	}
	for _, t := range m.Tasks {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// offerExpressions offers names and functions.
func (c *completer) offerExpressions(a *lang.Attribute) {
	m, names := c.scope()
	for _, kind := range a.Refs {
		switch kind {
		case "task":
			names = append(names, taskNames(m)...)
		case "slap":
			for _, x := range m.SLAPs {
				names = append(names, "slap."+x.Name)
			}
		case "secret":
			for _, x := range m.Secrets {
				names = append(names, "secret."+x.Name)
			}
		case "fact":
			for _, x := range m.Facts {
				names = append(names, "fact::"+x.Name)
			}
		case "step":
			for _, x := range c.steps(m) {
				names = append(names, "step."+x)
			}
		}
	}
	for _, n := range names {
		names = append(names, attributes(n, c.typeOf(m, n))...)
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		d := c.describe(m, n)
		item := completionItem{Kind: kindVariable, Detail: d.detail, Documentation: markdown(d.text)}
		text := n
		if strings.HasPrefix(n, "fact::") {
			item.Kind, item.Label, text = kindFunction, n, n+"("
		}
		c.add(item, text)
	}
	if a.Takes == "true or false" {
		c.add(completionItem{Kind: kindValue}, "true")
		c.add(completionItem{Kind: kindValue}, "false")
	}
	if inner := c.stack[len(c.stack)-1].open; len(a.Refs) > 0 && a.Name != "needs" && (inner == '=' || inner == '[') {
		return // it names things, and computes nothing
	}
	for _, f := range c.functions {
		c.add(completionItem{Label: f.Name, Kind: kindFunction, Detail: f.Call, Documentation: markdown(aboutFunction(f))}, f.Name+"(")
	}
}

// typeOf is the declared type of a variable or parameter, any for all else.
func (c *completer) typeOf(m *lang.Module, name string) cty.Type {
	kind, name, _ := strings.Cut(name, ".")
	switch {
	case kind == "var":
		for _, v := range m.Variables {
			if v.Name == name {
				return v.Type
			}
		}
	case kind == "param" && len(c.path) > 0 && len(c.path[0].labels) > 0:
		for _, t := range m.Tasks {
			for _, p := range t.Params {
				if t.Name == c.path[0].labels[0] && p.Name == name {
					return p.Type
				}
			}
		}
	}
	return cty.DynamicPseudoType
}

// attributes are those that a value of an object type has, as they are written, and theirs.
func attributes(of string, t cty.Type) (out []string) {
	if !t.IsObjectType() {
		return nil
	}
	for _, name := range sortedKeys(t.AttributeTypes()) {
		out = append(out, of+"."+name)
		out = append(out, attributes(of+"."+name, t.AttributeType(name))...)
	}
	return out
}

// taskNames are the tasks that m can refer to, as they are written.
func taskNames(m *lang.Module) (out []string) {
	for _, t := range m.Tasks {
		out = append(out, "task."+t.Name)
	}
	for _, u := range m.Uses {
		if u.Module != nil {
			for _, t := range u.Module.Tasks {
				out = append(out, "task."+u.Alias+"."+t.Name)
			}
		}
	}
	return out
}

// steps are the names of those of the method that the cursor is in, but for its own.
func (c *completer) steps(m *lang.Module) (out []string) {
	if len(c.path) < 2 || len(c.path[0].labels) < 2 || len(c.path[1].labels) == 0 {
		return nil
	}
	for _, x := range m.Methods {
		if x.Task.Name == c.path[0].labels[0] && x.Name == c.path[0].labels[1] {
			for _, s := range x.Steps {
				if s.Name != c.path[1].labels[0] {
					out = append(out, s.Name)
				}
			}
		}
	}
	return out
}

// scope is what the expression at the cursor may refer to, and the module it belongs to: as the last analysis has it, if there
// was such an expression already. Else it is analyzed once more. What is being typed does not parse, so a value stands in for
// it; where that does not help, for all of the attribute's value, and the block ends there.
func (c *completer) scope() (*lang.Module, []string) {
	if a := c.w.current; a != nil {
		if from, to, ok := c.changed(a); ok {
			if names, ok := a.scopeOf(c.file, c.part, from, to); ok {
				return c.module(), names
			}
		}
	}
	const standIn = "null"
	front := strings.TrimSuffix(c.head, c.word)
	for _, v := range []struct{ front, behind string }{{front, c.tail[len(wordAfter(c.tail)):]}, {c.head[:c.value] + " ", strings.Repeat("\n}", len(c.path))}} {
		a, err := c.w.analyze(c.with(v.front+standIn+v.behind), scoped)
		if err != nil {
			continue
		}
		if names, ok := a.scopeOf(c.file, c.part, len(v.front), len(v.front)+1); ok && a.moduleOf(c.file) != nil {
			return a.moduleOf(c.file), names
		}
	}
	return c.module(), nil
}

// changed is what of the part has changed since the analysis a, in its text of then; ok is false if more than that part has.
func (c *completer) changed(a *analysis) (from, to int, ok bool) {
	old := a.texts[c.file]
	if old == nil || len(old.parts) != len(c.text.parts) {
		return 0, 0, false
	}
	was, is := old.parts[c.part].text, c.head+c.tail
	for from < min(len(was), len(c.head)) && was[from] == is[from] {
		from++
	}
	same := 0 // at the end
	for same < min(len(was)-from, len(c.tail)) && was[len(was)-1-same] == is[len(is)-1-same] {
		same++
	}
	return from, len(was) - same, true
}

// scopeOf is what the innermost expression around a stretch of a part may refer to; ok is false if there is none.
func (a *analysis) scopeOf(file string, part, from, to int) (names []string, ok bool) {
	name := partName(file, part)
	var found *scope
	for i := range a.scopes {
		s := &a.scopes[i]
		if s.at.Filename == name && s.at.Start.Byte <= from && to <= s.at.End.Byte && (found == nil || s.at.End.Byte-s.at.Start.Byte <= found.at.End.Byte-found.at.Start.Byte) {
			found = s
		}
	}
	if found == nil {
		return nil, false
	}
	return found.names(), true
}

// with are the open documents, with other text in the place of the part that the cursor is in.
func (c *completer) with(part string) map[string]*text {
	open := c.open(c.w)
	t := *c.text
	t.parts = slices.Clone(t.parts)
	t.parts[c.part].text = part
	open[c.file] = &t
	return open
}

// description is what is said of a name.
type description struct{ detail, text string }

// typeName is a type as it is written, "" for any.
func typeName(t cty.Type) string {
	if t == cty.DynamicPseudoType {
		return ""
	}
	return typeexpr.TypeString(t)
}
