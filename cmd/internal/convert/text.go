package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Text is what a string or a script is made of.
type Text []Piece

// Piece is literal text, an expression whose value stands there, or the value of a variable of the script's shell.
type Piece struct{ Lit, Code, Shell string }

// Lit is literal text.
func Lit(s string) Text { return Text{{Lit: s}} }

// Code is the value of an expression.
func Code(expr string) Text { return Text{{Code: expr}} }

// Shell is the value of a variable that [Script.Set] sets.
func Shell(name string) Text { return Text{{Shell: name}} }

// Join is texts with a separator in between.
func Join(texts []Text, separator string) (out Text) {
	for i, t := range texts {
		if i > 0 {
			out = append(out, Piece{Lit: separator})
		}
		out = append(out, t...)
	}
	return out
}

// Known reports whether a text is known before a shell runs, so that it can stand outside of scripts.
func (t Text) Known() bool {
	return !slices.ContainsFunc(t, func(p Piece) bool { return p.Shell != "" })
}

// Constant is the text if all of it is literal.
func (t Text) Constant() (string, bool) {
	var b strings.Builder
	for _, p := range t {
		if p.Code != "" || p.Shell != "" {
			return "", false
		}
		b.WriteString(p.Lit)
	}
	return b.String(), true
}

// literal is the literal text, with a letter for each value.
func (t Text) literal() string {
	var b strings.Builder
	for _, p := range t {
		if b.WriteString(p.Lit); p.Lit == "" && p.Code+p.Shell != "" {
			b.WriteByte('x')
		}
	}
	return b.String()
}

// Expr is a known text as an expression.
func (t Text) Expr() string {
	if len(t) == 1 && t[0].Code != "" {
		return t[0].Code
	}
	return `"` + t.template(quoted.Replace) + `"`
}

var (
	introducers = strings.NewReplacer("${", "$${", "%{", "%%{")
	quoted      = strings.NewReplacer("${", "$${", "%{", "%%{", `\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
)

// template is a text between quotes or in a heredoc.
func (t Text) template(escape func(string) string) string {
	var b strings.Builder
	lit := ""
	flush := func() {
		b.WriteString(escape(lit))
		lit = ""
	}
	for _, p := range t {
		if lit += p.Lit; p.Code == "" {
			continue
		}
		if rest := strings.TrimRight(lit, "$%"); rest != lit { // $${ would be a literal ${
			end := lit[len(rest):]
			lit = rest
			flush()
			fmt.Fprintf(&b, "${%q}", end)
		}
		flush()
		b.WriteString("${" + p.Code + "}")
	}
	flush()
	return b.String()
}

// Script is what a shell runs.
type Script struct {
	Shell []string // what it is an argument of, as bash -ec; nil means sh -eu
	Args  []Text   // $0, $1, …; with Shell only
	// Loose says that the tool has a shell without -e run each command.
	Loose bool

	prelude  []Text
	names    []string // variables that the prelude sets
	commands []Text
}

// Set has a variable of the shell hold what a command prints, before the commands of the script.
func (s *Script) Set(name string, command Text) {
	if slices.Contains(s.names, name) {
		return
	}
	s.names = append(s.names, name)
	set := append(Lit(name+"=$("), Quote(command)...)
	s.prelude = append(s.prelude, append(set, Piece{Lit: ")"}))
}

// First adds a line that comes before the commands.
func (s *Script) First(line Text) { s.prelude = append(s.prelude, line) }

// Add adds a command that the tool runs in a shell of its own: what it sets, or where it changes to, ends with it.
func (s *Script) Add(command Text, ignore bool) {
	command = Quote(command)
	text := strings.TrimSpace(command.literal())
	if text == "" {
		return
	}
	if !strings.HasPrefix(text, "#") && !alone(text) {
		open, end := "(", ")"
		if s.Loose {
			open = "(set +e; "
		}
		if strings.Contains(text, "\n") || strings.Contains(text, "#") || strings.HasSuffix(text, `\`) {
			open, end = strings.TrimRight(strings.Replace(open, "; ", "", 1), " ")+"\n", "\n)"
		}
		command = append(append(Lit(open), command...), Piece{Lit: end})
	}
	if ignore {
		command = append(command, Piece{Lit: " || true"})
	}
	s.commands = append(s.commands, command)
}

// Keep adds a line that is run by the shell of the script itself.
func (s *Script) Keep(line Text) { s.commands = append(s.commands, line) }

// Whole makes the script one text that is run as it is.
func (s *Script) Whole(text Text) { s.commands = []Text{text} }

// Empty reports whether there is nothing to run.
func (s *Script) Empty() bool { return len(s.commands) == 0 }

// stateful are commands that change the shell which runs them, and syntax of which sh -e sees the parts.
var stateful = Lazily(`^(!|\.|:|cd|pushd|popd|export|set|unset|shopt|trap|umask|exec|exit|ulimit|source|alias|read|eval|return|readonly|declare|typeset|local|if|for|while|until|case|select|function)(\s|$)|^[A-Za-z_]\w*\+?=|^[A-Za-z_]\w*\s*\(\)|^[({]`)

// alone reports whether a command means the same among others as in a shell of its own.
func alone(text string) bool {
	return !stateful().MatchString(text) && !strings.ContainsAny(text, ";&|\n") && !strings.HasSuffix(text, `\`) && !strings.Contains(text, "<<")
}

// continues are characters that would become a part of a variable before them.
var continues = Lazily(`^[\w\[]`)

// Quote puts variables of the shell where the tool would have put their values.
func Quote(t Text) (out Text) {
	var quote byte
	start := true // of a word
	for i, p := range t {
		if p.Shell != "" {
			v := "$" + p.Shell
			if i+1 < len(t) && (t[i+1].Lit == "" || continues().MatchString(t[i+1].Lit)) {
				v = "${" + p.Shell + "}"
			}
			if quote == '\'' {
				out = append(out, Piece{Lit: `'"` + v + `"'`})
			} else {
				out = append(out, Piece{Lit: v})
			}
			start = false
			continue
		}
		out = append(out, p)
		for i := 0; i < len(p.Lit); i++ {
			switch c := p.Lit[i]; {
			case quote == '#':
				if c == '\n' {
					quote = 0
				}
			case quote == 0 && c == '#' && start:
				quote = '#'
			case c == '\\' && quote != '\'':
				i++
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case c == quote:
				quote = 0
			}
			start = strings.IndexByte(" \t\n;&|(", p.Lit[min(i, len(p.Lit)-1)]) >= 0
		}
	}
	return out
}

// lines is the whole script.
func (s *Script) lines() Text {
	var parts []Text
	for _, t := range append(slices.Clone(s.prelude), s.commands...) {
		parts = append(parts, t)
	}
	return Join(parts, "\n")
}

// text is the literal text of the script.
func (s *Script) text() string { return s.lines().literal() }

var (
	variable = Lazily(`\$\{?([A-Za-z_]\w*)`)
	assigned = Lazily(`(?:^|[\s;&|(])(?:export |local |readonly |declare )?([A-Za-z_]\w*)\+?=|(?:^|[\s;&|(])(?:for|read(?: -\w+)*) ([A-Za-z_]\w*)`)
	single   = Lazily(`'[^']*'`)
)

// environment are, quoted, the variables that the script expects of the environment.
func (s *Script) environment(given []Arg) (names []string) {
	if len(s.Shell) > 0 && !slices.Contains(shells, s.Shell[0]) {
		return nil
	}
	text := single().ReplaceAllString(s.text(), "''")
	have := []string{"HOME", "PATH", "LANG", "TERM", "PWD", "OLDPWD", "IFS", "PPID", "OPTARG", "OPTIND"}
	if len(s.Shell) > 0 {
		have = append(have, "RANDOM", "SECONDS", "UID", "EUID", "LINENO", "BASH_SOURCE", "PIPESTATUS", "REPLY", "FUNCNAME", "BASHPID")
	}
	for _, a := range given {
		have = append(have, a.Name)
	}
	for _, m := range assigned().FindAllStringSubmatch(text, -1) {
		have = append(have, m[1]+m[2])
	}
	for _, m := range variable().FindAllStringSubmatch(text, -1) {
		if name := fmt.Sprintf("%q", m[1]); !slices.Contains(have, m[1]) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

var shells = []string{"sh", "bash", "dash", "ksh", "zsh"}

// write writes how the script is run.
func (s *Script) write(b *strings.Builder) {
	lines := s.lines()
	text := lines.literal()
	var script string
	if !strings.Contains(text, "\n") {
		script = lines.Expr()
		if len(lines) == 1 && lines[0].Code != "" {
			script = `"${` + lines[0].Code + `}"`
		}
	} else {
		marker := "SH"
		if len(s.Shell) > 0 && !slices.Contains(shells, s.Shell[0]) {
			marker = "SCRIPT"
		}
		for strings.Contains(text, marker) {
			marker += "_"
		}
		script = "<<-" + marker + "\n" + indent(lines.template(introducers.Replace)) + "\n  " + marker
	}
	if len(s.Shell) == 0 {
		fmt.Fprintf(b, "run = %s\n", script)
		return
	}
	var argv []string
	for _, a := range s.Shell {
		argv = append(argv, Lit(a).Expr())
	}
	argv = append(argv, script)
	for _, a := range s.Args {
		argv = append(argv, a.Expr())
	}
	list := strings.Join(argv, ", ")
	if strings.Contains(script, "\n") { // nothing may follow the end of a heredoc
		list = strings.Replace(list, script+", ", script+"\n  , ", 1) + "\n"
	}
	fmt.Fprintf(b, "exec = [%s]\n", list)
}

// indent moves all lines but empty ones to the right.
func indent(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "    " + l
		}
	}
	return strings.Join(lines, "\n")
}

// Lazily compiles a pattern when it is used: every start of the program would pay for all of them.
func Lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
