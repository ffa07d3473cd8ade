package just

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
)

// file is what a justfile says.
type file struct {
	settings map[string]expr // true and false are lists of one string
	vars     []*assignment
	recipes  []*recipe
	aliases  [][2]string
	notes    []string
}

type assignment struct {
	name   string
	export bool
	value  expr
}

type recipe struct {
	name, doc  string
	attributes map[string][]string
	params     []parameter
	before     []dependency
	after      []dependency
	body       []string // without the indentation
	line       int
}

type parameter struct {
	name     string
	param    string // of the task
	variadic byte   // '+', '*', or 0
	export   bool
	value    *expr
}

type dependency struct {
	name string
	args []expr
}

// expr is an expression.
type expr struct {
	kind string // "text", "name", "command", "+", "/", "if", "call", "list"
	text string // of a text, a name, a command, a function, the operator of an if
	args []expr
}

// reader reads one file.
type reader struct {
	name string
	src  string
	at   int
	out  *file
	load func(name string) (string, error)
}

// syntaxError is what stops a reader.
type syntaxError struct{ error }

func (r *reader) fail(format string, args ...any) {
	line := 1 + strings.Count(r.src[:min(r.at, len(r.src))], "\n")
	panic(syntaxError{fmt.Errorf("%s:%d: %s", r.name, line, fmt.Sprintf(format, args...))})
}

// read reads name and what it imports into out.
func read(name string, load func(name string) (string, error), out *file) (err error) {
	src, err := load(name)
	if err != nil {
		return err
	}
	r := &reader{name: name, src: strings.ReplaceAll(strings.TrimPrefix(src, "\ufeff"), "\r\n", "\n"), out: out, load: load}
	defer func() {
		if p := recover(); p != nil {
			s, ok := p.(syntaxError)
			if !ok {
				panic(p)
			}
			err = s.error
		}
	}()
	r.items()
	return nil
}

const identifier = `[A-Za-z_][A-Za-z0-9_-]*`

var (
	assigns  = convert.Lazily(`^(?:(export|eager|unexport|lazy)\s+)?(` + identifier + `)\s*:=`)
	sets     = convert.Lazily(`^set\s+([a-z-]+)`)
	aliased  = convert.Lazily(`^alias\s+(` + identifier + `)\s*:=\s*(` + identifier + `(?:::` + identifier + `)*)`)
	imported = convert.Lazily(`^import(\?)?\s+`)
	module   = convert.Lazily(`^mod\??\s+(` + identifier + `)`)
	named    = convert.Lazily(`^` + identifier)
	headed   = convert.Lazily(`^@?` + identifier + `[^\n]*:`)
)

func (r *reader) items() {
	doc, attributes := "", map[string][]string{}
	for r.at < len(r.src) {
		rest := r.src[r.at:]
		line, _, _ := strings.Cut(rest, "\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
			doc = ""
			r.at += len(line) + 1
			continue
		case strings.HasPrefix(trimmed, "#"):
			doc = strings.TrimSpace(strings.TrimLeft(trimmed, "#"))
			if strings.HasPrefix(trimmed, "#!") {
				doc = ""
			}
			r.at += len(line) + 1
			continue
		case strings.HasPrefix(trimmed, "["):
			r.attributes(attributes)
			continue
		case assigns().MatchString(rest):
			m := assigns().FindStringSubmatch(rest)
			r.at += len(m[0])
			r.out.vars = append(r.out.vars, &assignment{name: m[2], export: m[1] == "export", value: r.expression()})
			r.endOfLine()
		case sets().MatchString(rest) && !regexp.MustCompile(`^set\s*:`).MatchString(rest):
			r.setting(sets().FindStringSubmatch(rest))
		case aliased().MatchString(rest):
			m := aliased().FindStringSubmatch(rest)
			r.out.aliases = append(r.out.aliases, [2]string{m[1], m[2]})
			r.at += len(m[0])
			r.endOfLine()
		case imported().MatchString(rest):
			m := imported().FindStringSubmatch(rest)
			r.at += len(m[0])
			name := r.value()
			if err := read(name.text, r.load, r.out); err != nil && m[1] == "" {
				r.fail("%s", err)
			}
			r.endOfLine()
		case module().MatchString(rest) && !headed().MatchString(line):
			r.out.notes = append(r.out.notes, fmt.Sprintf("%s; its recipes run by `just %s RECIPE`.", trimmed, module().FindStringSubmatch(rest)[1]))
			r.at += len(line) + 1
		case headed().MatchString(line):
			r.recipe(doc, attributes)
		case strings.HasPrefix(trimmed, "unexport "):
			r.at += len(line) + 1
		default:
			r.fail("%q is neither a recipe nor a setting nor an assignment", trimmed)
		}
		doc, attributes = "", map[string][]string{}
	}
}

// blanks skips what separates words; inside of parentheses that includes the ends of lines.
func (r *reader) blanks(inside bool) {
	for r.at < len(r.src) {
		switch c := r.src[r.at]; {
		case c == ' ' || c == '\t' || inside && c == '\n':
			r.at++
		case c == '#' && inside:
			r.at += strings.IndexByte(r.src[r.at:]+"\n", '\n')
		case strings.HasPrefix(r.src[r.at:], "\\\n"):
			r.at += 2
		default:
			return
		}
	}
}

func (r *reader) next(word string) bool {
	if strings.HasPrefix(r.src[r.at:], word) {
		r.at += len(word)
		return true
	}
	return false
}

func (r *reader) expect(word string) {
	if !r.next(word) {
		r.fail("%q is missing", word)
	}
}

func (r *reader) endOfLine() {
	r.blanks(false)
	if r.at < len(r.src) && r.src[r.at] == '#' {
		r.at += strings.IndexByte(r.src[r.at:]+"\n", '\n')
	}
	if r.at < len(r.src) && !r.next("\n") {
		line, _, _ := strings.Cut(r.src[r.at:], "\n")
		r.fail("%q is not understood", line)
	}
}

func (r *reader) ident() string {
	name := named().FindString(r.src[min(r.at, len(r.src)):])
	if name == "" {
		r.fail("a name is missing")
	}
	r.at += len(name)
	return name
}

func (r *reader) setting(m []string) {
	r.at += len(m[0])
	r.blanks(false)
	value := expr{kind: "text", text: "true"}
	if r.next(":=") {
		r.blanks(false)
		switch {
		case r.next("true"):
		case r.next("false"):
			value.text = "false"
		case r.next("["):
			value = expr{kind: "list"}
			for r.blanks(true); !r.next("]"); r.blanks(true) {
				value.args = append(value.args, r.expression())
				r.blanks(true)
				r.next(",")
			}
		default:
			value = r.expression()
		}
	}
	r.out.settings[m[1]] = value
	r.endOfLine()
}

func (r *reader) attributes(into map[string][]string) {
	r.blanks(false)
	r.expect("[")
	for r.blanks(true); !r.next("]"); r.blanks(true) {
		name := r.ident()
		args := []string{}
		r.blanks(false)
		switch {
		case r.next(":"):
			r.blanks(false)
			args = append(args, r.value().text)
		case r.next("("):
			for r.blanks(true); !r.next(")"); r.blanks(true) {
				if m := regexp.MustCompile(`^` + identifier + `\s*(=\s*)?`).FindString(r.src[r.at:]); m != "" {
					r.at += len(m)
					args = append(args, m)
					if !strings.Contains(m, "=") {
						r.next(",")
						continue
					}
				}
				args = append(args, r.value().text)
				r.blanks(true)
				r.next(",")
			}
		}
		into[name] = args
		r.blanks(true)
		r.next(",")
	}
	r.endOfLine()
}

func (r *reader) recipe(doc string, attributes map[string][]string) {
	out := &recipe{doc: doc, attributes: attributes, line: 1 + strings.Count(r.src[:r.at], "\n")}
	if d := attributes["doc"]; len(d) > 0 {
		out.doc = d[0]
	}
	r.next("@")
	out.name = r.ident()
	for r.blanks(false); !r.next(":"); r.blanks(false) {
		p := parameter{}
		if c := r.src[r.at]; c == '+' || c == '*' {
			p.variadic = c
			r.at++
		}
		p.export = r.next("$")
		p.name = r.ident()
		r.blanks(false)
		if r.next("=") {
			r.blanks(false)
			v := r.value()
			p.value = &v
		}
		out.params = append(out.params, p)
	}
	var names []string
	for _, p := range out.params {
		names = append(names, p.name)
	}
	for i, name := range convert.Params(names) {
		out.params[i].param = name
	}
	list := &out.before
	for r.blanks(false); r.at < len(r.src) && r.src[r.at] != '\n' && r.src[r.at] != '#'; r.blanks(false) {
		switch {
		case r.next("&&"):
			list = &out.after
		case r.next("("):
			r.blanks(true)
			d := dependency{name: r.dependency()}
			for r.blanks(true); !r.next(")"); r.blanks(true) {
				d.args = append(d.args, r.expression())
			}
			*list = append(*list, d)
		default:
			*list = append(*list, dependency{name: r.dependency()})
		}
	}
	r.endOfLine()
	r.body(out)
	r.out.recipes = append(r.out.recipes, out)
}

func (r *reader) dependency() string {
	name := r.ident()
	for r.next("::") {
		name += "::" + r.ident()
	}
	return name
}

// body takes the lines that are indented as the first one is.
func (r *reader) body(out *recipe) {
	indentation := ""
	for r.at < len(r.src) {
		line, _, _ := strings.Cut(r.src[r.at:], "\n")
		blank := strings.TrimSpace(line) == ""
		if !blank && line[0] != ' ' && line[0] != '\t' {
			break
		}
		if indentation == "" && !blank {
			indentation = line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		}
		if !blank && !strings.HasPrefix(line, indentation) {
			r.fail("this line is indented otherwise than the first line of its recipe")
		}
		out.body = append(out.body, strings.TrimPrefix(line, indentation))
		r.at = min(r.at+len(line)+1, len(r.src))
	}
	for len(out.body) > 0 && strings.TrimSpace(out.body[len(out.body)-1]) == "" {
		out.body = out.body[:len(out.body)-1]
	}
}

// expression is a sum, a path or a choice.
func (r *reader) expression() expr {
	r.blanks(false)
	if m := regexp.MustCompile(`^if\b`).FindString(r.src[r.at:]); m != "" {
		r.at += 2
		return r.choice()
	}
	left := expr{}
	if r.next("/") {
		left = expr{kind: "/", args: []expr{{kind: "text"}, r.value()}}
	} else {
		left = r.value()
	}
	r.blanks(false)
	for _, op := range []string{"+", "/"} {
		if r.next(op) {
			r.blanks(false)
			return expr{kind: op, args: []expr{left, r.expression()}}
		}
	}
	if rest := r.src[r.at:]; strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "||") {
		r.fail("the operators && and || are not understood")
	}
	return left
}

// choice is what follows if.
func (r *reader) choice() expr {
	r.blanks(true)
	a := r.expression()
	r.blanks(true)
	op := ""
	for _, o := range []string{"==", "!=", "=~", "!~"} {
		if r.next(o) {
			op = o
			break
		}
	}
	if op == "" {
		r.fail("a comparison is missing")
	}
	r.blanks(true)
	b := r.expression()
	branch := func() expr {
		r.blanks(true)
		r.expect("{")
		r.blanks(true)
		e := r.expression()
		r.blanks(true)
		r.expect("}")
		return e
	}
	yes := branch()
	r.blanks(true)
	r.expect("else")
	r.blanks(true)
	if regexp.MustCompile(`^if\b`).MatchString(r.src[r.at:]) {
		r.at += 2
		return expr{kind: "if", text: op, args: []expr{a, b, yes, r.choice()}}
	}
	return expr{kind: "if", text: op, args: []expr{a, b, yes, branch()}}
}

// value is a string, a name, a command, a call or an expression in parentheses.
func (r *reader) value() expr {
	r.blanks(false)
	rest := r.src[r.at:]
	for _, quote := range []string{`"""`, `'''`, "```", `"`, `'`, "`"} {
		if strings.HasPrefix(rest, quote) {
			r.at += len(quote)
			return r.quoted(quote)
		}
	}
	if r.next("(") {
		r.blanks(true)
		e := r.expression()
		r.blanks(true)
		r.expect(")")
		return e
	}
	if len(rest) > 1 && (rest[0] == 'f' || rest[0] == 'x') && (rest[1] == '\'' || rest[1] == '"') {
		r.fail("strings marked with %c are not understood", rest[0])
	}
	name := r.ident()
	if !r.next("(") {
		return expr{kind: "name", text: name}
	}
	call := expr{kind: "call", text: name}
	for r.blanks(true); !r.next(")"); r.blanks(true) {
		call.args = append(call.args, r.expression())
		r.blanks(true)
		r.next(",")
	}
	return call
}

// quoted is what follows a quote.
func (r *reader) quoted(quote string) expr {
	start := r.at
	for {
		if r.at >= len(r.src) {
			r.at = start
			r.fail("%s is not closed", quote)
		}
		if quote[0] == '"' && r.src[r.at] == '\\' {
			r.at += 2
			continue
		}
		if strings.HasPrefix(r.src[r.at:], quote) {
			break
		}
		r.at++
	}
	text := r.src[start:r.at]
	r.at += len(quote)
	if len(quote) == 3 {
		text = unindent(text)
	}
	if quote[0] == '"' {
		text = r.unescape(text)
	}
	if quote[0] == '`' {
		return expr{kind: "command", text: text}
	}
	return expr{kind: "text", text: text}
}

var unicodeEscape = convert.Lazily(`^\\u\{([0-9A-Fa-f]{1,6})\}`)

func (r *reader) unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if m := unicodeEscape().FindStringSubmatch(s[i:]); m != nil {
			var c rune
			fmt.Sscanf(m[1], "%x", &c)
			b.WriteRune(c)
			i += len(m[0]) - 1
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '"', '\\':
			b.WriteByte(s[i])
		case '\n':
			for i+1 < len(s) && (s[i+1] == ' ' || s[i+1] == '\t') {
				i++
			}
		default:
			r.fail(`\%c is not an escape`, s[i])
		}
	}
	return b.String()
}

// unindent takes the first line break and the common indentation away, as just does from strings in three quotes.
func unindent(s string) string {
	lines := strings.Split(strings.TrimPrefix(s, "\n"), "\n")
	common := -1
	for _, l := range lines {
		if t := strings.TrimLeft(l, " \t"); t != "" && (common < 0 || len(l)-len(t) < common) {
			common = len(l) - len(t)
		}
	}
	for i, l := range lines {
		lines[i] = l[min(max(common, 0), len(l)):]
		if strings.TrimSpace(l) == "" {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// joined are the lines of a body that is no script of another interpreter: those that end with a backslash go on.
func (r *recipe) joined() []string {
	var out []string
	more := false
	for _, l := range r.body {
		if more {
			l = strings.TrimLeft(l, " \t")
		}
		continues := strings.HasSuffix(l, `\`)
		text := l
		if continues {
			text = l[:len(l)-1]
		}
		if more {
			out[len(out)-1] += text
		} else if strings.TrimSpace(text) != "" {
			out = append(out, text)
		} else {
			continues = false
		}
		more = continues
	}
	return slices.Clip(out)
}
