package taskfile

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
)

// scope is where a text of a task stands.
type scope struct {
	*translator
	task     *task
	script   *convert.Script         // where outputs of commands are set; nil where they cannot be
	items    map[string]convert.Text // of loops
	looking  []string                // variables that are being looked up
	uses     *strings.Builder        // all the literal text that the script is made of
	commands map[string]string       // by variable of the shell: the command as written
}

// errCommand says that a text is only known as a shell runs.
var errCommand = errors.New("the output of a command outside of a script")

// text is a template as a text.
func (s *scope) text(source string) (convert.Text, error) {
	if !strings.Contains(source, "{{") {
		return convert.Lit(source), nil
	}
	tree := parse.New("text")
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(source, "", "", trees); err != nil {
		return nil, fmt.Errorf("the template %q", source)
	}
	var out convert.Text
	for _, n := range tree.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			out = append(out, convert.Piece{Lit: string(n.Text)})
		case *parse.ActionNode:
			text, err := s.pipe(n.Pipe)
			if err != nil {
				return nil, err
			}
			out = append(out, text...)
		default:
			return nil, fmt.Errorf("the template %s", n)
		}
	}
	return out, nil
}

// pipe is a pipeline of functions that are understood.
func (s *scope) pipe(p *parse.PipeNode) (convert.Text, error) {
	if len(p.Decl) > 0 {
		return nil, fmt.Errorf("the template {{%s}}", p)
	}
	var value []convert.Text
	for _, c := range p.Cmds {
		args := []convert.Text{}
		name := ""
		for i, a := range c.Args {
			var text convert.Text
			var err error
			switch a := a.(type) {
			case *parse.IdentifierNode:
				if i > 0 {
					return nil, fmt.Errorf("the template {{%s}}", p)
				}
				name = a.Ident
				continue
			case *parse.FieldNode:
				if len(a.Ident) > 1 {
					return nil, fmt.Errorf("the template {{%s}}", p)
				}
				text, err = s.lookup(a.Ident[0])
			case *parse.StringNode:
				text = convert.Lit(a.Text)
			case *parse.NumberNode:
				text = convert.Lit(a.Text)
			case *parse.PipeNode:
				text, err = s.pipe(a)
			default:
				return nil, fmt.Errorf("the template {{%s}}", p)
			}
			if err != nil {
				return nil, err
			}
			args = append(args, text)
		}
		if args = append(args, value...); name != "" {
			text, err := call(name, args)
			if err != nil {
				return nil, err
			}
			args = []convert.Text{text}
		}
		if value = args[:1]; len(args) > 1 {
			return nil, fmt.Errorf("the template {{%s}}", p)
		}
	}
	return value[0], nil
}

// functions are those of one text, and how the language writes them.
var functions = map[string]string{
	"upper": "upper(%s)", "lower": "lower(%s)", "trim": "trimspace(%s)", "base": "basename(%s)", "dir": "dirname(%s)", "osBase": "basename(%s)", "osDir": "dirname(%s)",
	"b64enc": "base64encode(%s)", "b64dec": "base64decode(%s)", "sha256sum": "sha256(%s)",
}

func call(name string, args []convert.Text) (convert.Text, error) {
	switch {
	case (name == "OS" || name == "exeExt") && len(args) == 0:
		return convert.Lit(map[string]string{"OS": "linux"}[name]), nil
	case (name == "fromSlash" || name == "toSlash" || name == "toString") && len(args) == 1:
		return args[0], nil
	}
	for _, a := range args {
		if !a.Known() {
			return nil, fmt.Errorf("the function %s of a command's output", name)
		}
	}
	switch form := functions[name]; {
	case name == "default" && len(args) == 2:
		if c, ok := args[1].Constant(); ok {
			return args[map[bool]int{true: 0, false: 1}[c == ""]], nil
		}
		return convert.Code(fmt.Sprintf("(%s != \"\" ? %[1]s : %s)", args[1].Expr(), args[0].Expr())), nil
	case name == "env" && len(args) == 1:
		return convert.Code("env(" + args[0].Expr() + ")"), nil
	case name == "printf" && len(args) > 0:
		var list []string
		for _, a := range args {
			list = append(list, a.Expr())
		}
		return convert.Code("format(" + strings.Join(list, ", ") + ")"), nil
	case form != "" && len(args) == 1:
		return convert.Code(fmt.Sprintf(form, args[0].Expr())), nil
	}
	return nil, fmt.Errorf("the function %s", name)
}

// lookup is the value of a variable.
func (s *scope) lookup(name string) (convert.Text, error) {
	if item, ok := s.items[name]; ok {
		return item, nil
	}
	looking := slices.Contains(s.looking, name)
	if v := find(s.task.Vars, name); v != nil && !looking && s.params[s.task][name] == "" {
		return s.variable(v, s.dir(s.task.Dir))
	}
	if p := s.params[s.task][name]; p != "" {
		return convert.Code("param." + p), nil
	}
	return s.global(name)
}

// global is the value of a variable of the file, or of what Task itself knows.
func (s *scope) global(name string) (convert.Text, error) {
	if text, ok := s.globals[s.task.file][name]; ok {
		return text, nil
	}
	for _, f := range []*file{s.task.file, s.files[0]} {
		if v := find(f.Vars, name); v != nil && !slices.Contains(s.looking, name) {
			if text, ok := s.globals[f][name]; ok {
				return text, nil
			}
			return s.variable(v, s.home(f))
		}
	}
	for _, f := range []*file{s.task.file, s.files[0]} {
		if v := find(f.Env, name); v != nil && !slices.Contains(s.looking, name) {
			return s.variable(v, s.home(f))
		}
	}
	switch name {
	case "TASK":
		return convert.Lit(s.task.name), nil
	case "ROOT_DIR", "USER_WORKING_DIR":
		return s.output("pwd", "ROOT_DIR", ".")
	case "TASKFILE_DIR":
		if s.task.file == s.files[0] {
			return s.output("pwd", "ROOT_DIR", ".")
		}
		return nil, errors.New("TASKFILE_DIR of an included file")
	case "CLI_ARGS":
		s.rest[s.task] = true
		return convert.Code("param." + cliArgs), nil
	case "TASKFILE", "ROOT_TASKFILE", "TASK_EXE", "CHECKSUM", "TIMESTAMP", "ALIAS", "CLI_ARGS_LIST", "CLI_FORCE", "CLI_SILENT", "CLI_VERBOSE", "CLI_OFFLINE", "TASK_VERSION", "MATCH", "TASK_DIR":
		return nil, fmt.Errorf("the variable %s", name)
	}
	if len(s.dotenv(s.task)) > 0 {
		if s.script == nil {
			return nil, errCommand
		}
		return convert.Shell(name), nil // from the environment, into which these files are read
	}
	return convert.Code(fmt.Sprintf("env(%q)", name)), nil
}

// home is where the commands of variables of a file run.
func (s *scope) home(f *file) string {
	if f == s.files[0] {
		return "."
	}
	return s.dir(s.task.Dir)
}

func find(list variables, name string) *variable {
	for i := range list {
		if list[i].name == name {
			return &list[i]
		}
	}
	return nil
}

// variable is the value of a variable that is not a part of the workflow itself; its command runs in dir.
func (s *scope) variable(v *variable, dir string) (convert.Text, error) {
	s.looking = append(s.looking, v.name)
	defer func() { s.looking = s.looking[:len(s.looking)-1] }()
	switch {
	case v.odd || v.list != nil:
		return nil, fmt.Errorf("the variable %s, which is no text", v.name)
	case v.sh != "":
		return s.output(v.sh, v.name, dir)
	}
	return s.text(v.text)
}

// output is a variable of the shell that holds what a command prints in a directory, called after what it is for.
func (s *scope) output(source, name, dir string) (convert.Text, error) {
	if s.script == nil {
		return nil, errCommand
	}
	command, err := s.text(source)
	if err != nil {
		return nil, err
	}
	s.uses.WriteString(source)
	if here := s.dir(s.task.Dir); here != dir {
		up, err := relative(here, dir)
		if err != nil {
			return nil, err
		}
		command = append(convert.Lit("cd "+up+"; "), command...)
	}
	name = strings.ReplaceAll(name, "-", "_")
	for base, n := name, 2; s.commands[name] != "" && s.commands[name] != source; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	s.commands[name] = source
	s.script.Set(name, command)
	return convert.Shell(name), nil
}

// dir is a directory of the task's file, seen from the workspace.
func (s *scope) dir(name string) string { return path.Join(".", s.task.file.dir, name) }

// relative is the way from one directory of the workspace to another.
func relative(from, to string) (string, error) {
	if strings.Contains(from+to, "{{") || strings.HasPrefix(from, "..") {
		return "", errors.New("a directory that depends on variables")
	}
	if from == "." {
		return to, nil
	}
	return path.Join(strings.Repeat("../", 1+strings.Count(from, "/")), to), nil
}
