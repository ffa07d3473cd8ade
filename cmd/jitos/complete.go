package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
)

// completionCmd writes what a shell needs to complete our command lines. The shell asks back with `completion words`,
// for the last of the words that it passes on.
type completionCmd struct {
	Shell string   `arg:"" enum:"bash,zsh,fish,words" help:"bash, zsh or fish: its script, for its start-up file. Words is what the scripts call."`
	Words []string `arg:"" optional:"" help:"With words: the command line so far, without jitos."`
}

var completionScripts = map[string]string{
	"bash": `# jitos: put  source <(jitos completion bash)  into ~/.bashrc
_jitos() {
  local -a words
  read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
  [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
  local last="${words[${#words[@]}-1]}" IFS=$'\n'
  COMPREPLY=($(jitos completion words -- "${words[@]:1}" 2>/dev/null | cut -f1))
  # bash begins a new word after each = and :
  [[ $COMP_WORDBREAKS == *=* && $last == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${last%=*}="}")
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _jitos jitos
`,
	"zsh": `#compdef jitos
# jitos: put  source <(jitos completion zsh)  into ~/.zshrc, after compinit
_jitos() {
  local -a found
  local value text
  while IFS=$'\t' read -r value text; do
    found+=("${value//:/\\:}${text:+:$text}")
  done < <(jitos completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( $#found )); then _describe jitos found; else _files; fi
}
(( $+functions[compdef] )) && compdef _jitos jitos
`,
	"fish": `# jitos: put  jitos completion fish | source  into ~/.config/fish/config.fish
complete -c jitos -a '(jitos completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
}

func (c *completionCmd) run(ctx context.Context, s *session) error {
	if script, ok := completionScripts[c.Shell]; ok {
		_, err := fmt.Fprint(s.out, script)
		return err
	}
	if len(c.Words) == 0 {
		return nil
	}
	k := completer{ctx: ctx, s: s, last: c.Words[len(c.Words)-1]}
	for _, x := range k.complete(c.Words[:len(c.Words)-1]) {
		if !strings.HasPrefix(x.value, k.last) {
			continue
		}
		text, _, _ := strings.Cut(x.text, "\n")
		if _, err := fmt.Fprintln(s.out, strings.TrimRight(x.value+"\t"+text, "\t")); err != nil {
			return err
		}
	}
	return nil
}

// candidate is a word that may come next, and what it is.
type candidate struct{ value, text string }

// completer finds the candidates for a word. What cannot be found out offers nothing: a person who types is not to be
// bothered.
type completer struct {
	ctx  context.Context
	s    *session
	last string // what there is of the word
}

// complete gives the candidates after words.
func (k completer) complete(words []string) (out []candidate) {
	node, command := (*kong.Node)(nil), ""
	var args []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		flag := flagOf(node, w)
		switch {
		case w == "--":
			return nil
		case strings.HasPrefix(w, "-") && flag != nil && !flag.IsBool() && !strings.Contains(w, "="):
			if i++; i == len(words) {
				return k.ofFlag(flag)
			}
			if flag.Name == "directory" {
				k.s.flags.Directory = words[i]
			}
		case strings.HasPrefix(w, "-"):
		case node == nil:
			node, command = grammar(w), w
			if node == nil {
				return nil
			}
		case len(node.Children) > 0:
			i := slices.IndexFunc(node.Children, func(c *kong.Node) bool { return c.Name == w })
			if i < 0 {
				return nil
			}
			node, command = node.Children[i], command+" "+w
		default:
			args = append(args, w)
		}
	}
	switch {
	case strings.HasPrefix(k.last, "-"):
		return flagsOf(node)
	case node == nil:
		for _, e := range commands() {
			out = append(out, candidate{e.name, e.help})
		}
		return out
	case len(node.Children) > 0:
		for _, c := range node.Children {
			out = append(out, candidate{c.Name, c.Help})
		}
		return out
	case len(node.Positional) == 0:
		return nil
	}
	at := min(len(args), len(node.Positional)-1)
	return k.argument(command, node.Positional[at], args)
}

// grammar is that of one command; nil if there is none of that name.
func grammar(name string) *kong.Node {
	i := slices.IndexFunc(commands(), func(e entry) bool { return e.name == name })
	if i < 0 {
		return nil
	}
	e := commands()[i]
	parser, err := kong.New(&globals{}, kong.DynamicCommand(e.name, e.help, "", e.command))
	if err != nil {
		panic(err) // the grammar is wrong
	}
	return parser.Model.Children[0]
}

func allFlags(node *kong.Node) (out []*kong.Flag) {
	if node == nil {
		node = grammar("version") // any has those of all
	}
	for _, group := range node.AllFlags(true) {
		out = append(out, group...)
	}
	return out
}

func flagsOf(node *kong.Node) (out []candidate) {
	for _, f := range allFlags(node) {
		out = append(out, candidate{"--" + f.Name, f.Help})
	}
	return out
}

func flagOf(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, f := range allFlags(node) {
		if name == "--"+f.Name || f.Short != 0 && name == "-"+string(f.Short) {
			return f
		}
	}
	return nil
}

// ofFlag gives the values of a flag.
func (k completer) ofFlag(f *kong.Flag) (out []candidate) {
	switch {
	case f.Enum != "":
		return values(f.EnumSlice())
	case f.Name == "var", f.Name == "explain":
		for _, v := range k.variables() {
			c := candidate{v.Name, v.Description}
			if f.Name == "var" {
				c.value += "="
			}
			out = append(out, c)
		}
	case f.Name == "run":
		return k.runs()
	}
	return out
}

func values(list []string) (out []candidate) {
	for _, v := range list {
		out = append(out, candidate{value: v})
	}
	return out
}

// argument gives the values of a positional argument of a command.
func (k completer) argument(command string, p *kong.Positional, args []string) (out []candidate) {
	switch {
	case p.Enum != "":
		return values(p.EnumSlice())
	case command == "functions":
		for _, f := range lang.FunctionDocs() {
			out = append(out, candidate{f.Name, f.Doc})
		}
	case p.Name == "target" || p.Name == "what":
		for _, t := range k.targets() {
			out = append(out, candidate{t.Name, t.Description})
		}
	case p.Name == "name=value":
		return k.parameters(args)
	case p.Name == "run" || command == "diff":
		return k.runs()
	case p.Name == "step":
		return k.steps()
	case strings.HasPrefix(command, "sws "):
		return k.sets()
	}
	return out
}

func (k completer) workspace(use func(w *app.Workspace)) {
	w, err := k.s.openAny(runFlags{NoWait: true})
	if err != nil {
		return
	}
	defer w.Close()
	use(w)
}

func (k completer) targets() (out []compiler.Target) {
	k.workspace(func(w *app.Workspace) { out, _, _, _ = w.Targets(k.ctx) })
	return out
}

func (k completer) variables() (out []app.Variable) {
	k.workspace(func(w *app.Workspace) { out, _, _ = w.Variables(k.ctx) })
	return out
}

// parameters gives those of a target that have no argument yet, or the values of the one that is being written.
func (k completer) parameters(args []string) (out []candidate) {
	name, _, writing := strings.Cut(k.last, "=")
	for _, t := range k.targets() {
		if len(args) == 0 || t.Name != args[0] {
			continue
		}
		for _, p := range t.Params {
			given := slices.ContainsFunc(args[1:], func(a string) bool { return strings.HasPrefix(a, p.Name+"=") })
			switch {
			case writing && p.Name == name && p.Type == "bool":
				out = append(out, candidate{value: name + "=true"}, candidate{value: name + "=false"})
			case writing && p.Name == name && p.Default != "":
				out = append(out, candidate{name + "=" + p.Default, "the default"})
			case !writing && !given:
				out = append(out, candidate{p.Name + "=", cmp.Or(p.Description, p.Type)})
			}
		}
	}
	return out
}

func (k completer) runs() (out []candidate) {
	k.workspace(func(w *app.Workspace) {
		runs, _ := w.Runs(k.ctx)
		for _, r := range runs {
			out = append(out, candidate{fmt.Sprint(r.N), strings.TrimSpace(r.Target + " " + r.Status)})
		}
	})
	return out
}

// steps gives those of the last run.
func (k completer) steps() (out []candidate) {
	k.workspace(func(w *app.Workspace) {
		runs, _ := w.Runs(k.ctx)
		for _, r := range runs[:min(1, len(runs))] {
			for _, s := range r.Steps {
				out = append(out, candidate{s.Result.Step, s.Result.Outcome})
			}
		}
	})
	return out
}

func (k completer) sets() (out []candidate) {
	k.workspace(func(w *app.Workspace) {
		sets, _ := w.Sets(k.ctx)
		for _, s := range sets {
			out = append(out, candidate{fmt.Sprint(s.ID), s.State + " " + s.Target})
		}
	})
	return out
}
