package just

import (
	"errors"
	"fmt"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
)

// variable is what an assignment stands for: a variable or local of the workflow, or, where commands are part of it,
// its own text.
func (t *translator) variable(name string) (convert.Text, error) {
	v := t.vars[name]
	if v.state == 1 {
		return nil, fmt.Errorf("%s depends on itself", name)
	}
	if v.state == 2 {
		return v.text, v.err
	}
	v.state = 1
	text, err := t.translate(v.value, nil, name)
	if err == nil && text.Known() {
		input := t.w.Input(name)
		if constant, ok := text.Constant(); ok {
			t.w.Variable(input, constant)
			text = convert.Code("var." + input)
		} else {
			t.w.Local(input, text)
			text = convert.Code("local." + input)
		}
	}
	v.text, v.err, v.state = text, err, 2
	return v.text, v.err
}

// errCommand says that a text is only known as a shell runs.
var errCommand = errors.New("the output of a command outside of a script")

// text is the text of an expression in a recipe. Commands in it become variables of the shell, set in s; without s they are
// an error.
func (t *translator) text(e expr, r *recipe, s *convert.Script) (convert.Text, error) {
	text, err := t.translate(e, r, "output")
	switch {
	case err != nil || text.Known():
		return text, err
	case s == nil:
		return nil, errCommand
	}
	t.define(text, s)
	return text, nil
}

// define sets in s what the variables of the shell in text hold.
func (t *translator) define(text convert.Text, s *convert.Script) {
	for _, p := range text {
		if p.Shell != "" {
			s.Set(p.Shell, convert.Lit(t.commands[p.Shell]))
		}
	}
}

// command is a variable of the shell that holds what a command prints, called after what it is for.
func (t *translator) output(command, name string) convert.Text {
	name = strings.ReplaceAll(name, "-", "_")
	for base, n := name, 2; t.commands[name] != "" && t.commands[name] != command; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	t.commands[name] = command
	return convert.Shell(name)
}

// functions are those that take and give texts, and how the language writes them.
var functions = map[string]string{
	"uppercase": "upper(%s)", "lowercase": "lower(%s)", "trim": "trimspace(%s)",
	"trim_start_match": "trimprefix(%s, %s)", "trim_end_match": "trimsuffix(%s, %s)",
	"file_name": "basename(%s)", "parent_directory": "dirname(%s)", "parent_dir": "dirname(%s)",
	"env_var": "env(%s)", "env_var_or_default": "env(%s, %s)", "sha256": "sha256(%s)", "read": "file(%s)",
	"without_extension": `replace(%s, "/\\.[^.\\/]*$/", "")`,
	"quote":             `"'${replace(%s, "'", "'\\''")}'"`,
}

// translate is an expression, in a recipe or (nil) in an assignment, as a text. The outputs of commands are called name.
func (t *translator) translate(e expr, r *recipe, name string) (convert.Text, error) {
	switch e.kind {
	case "text":
		return convert.Lit(e.text), nil
	case "command":
		return t.output(e.text, name), nil
	case "name":
		return t.name(e.text, r)
	case "+", "/":
		left, err := t.translate(e.args[0], r, name)
		if err != nil {
			return nil, err
		}
		right, err := t.translate(e.args[1], r, name)
		if e.kind == "/" {
			left = append(left[:len(left):len(left)], convert.Piece{Lit: "/"})
		}
		return append(left[:len(left):len(left)], right...), err
	}
	var args []any
	var exprs []string
	for _, a := range e.args {
		text, err := t.translate(a, r, name)
		if err != nil {
			return nil, err
		}
		if !text.Known() {
			return nil, errors.New("an expression over what is only known as a command runs")
		}
		args = append(args, text.Expr())
		exprs = append(exprs, text.Expr())
	}
	if e.kind == "if" {
		a, _ := t.translate(e.args[0], r, name)
		b, _ := t.translate(e.args[1], r, name)
		if x, ok := a.Constant(); ok && (e.text == "==" || e.text == "!=") {
			if y, ok := b.Constant(); ok { // os() == "linux"
				return t.translate(e.args[map[bool]int{true: 2, false: 3}[(x == y) == (e.text == "==")]], r, name)
			}
		}
		condition := map[string]string{"==": "%s == %s", "!=": "%s != %s", "=~": "can(regex(%[2]s, %[1]s))", "!~": "!can(regex(%[2]s, %[1]s))"}[e.text]
		return convert.Code(fmt.Sprintf("("+condition+" ? %[3]s : %[4]s)", args...)), nil
	}
	form := functions[e.text]
	switch {
	case e.text == "os" && len(args) == 0:
		return convert.Lit("linux"), nil
	case e.text == "os_family" && len(args) == 0:
		return convert.Lit("unix"), nil
	case e.text == "just_executable" && len(args) == 0:
		return convert.Lit("just"), nil
	case (e.text == "justfile_directory" || e.text == "justfile_dir" || e.text == "invocation_directory" || e.text == "invocation_dir") && len(args) == 0:
		return t.output("pwd", "justfile_directory"), nil
	case e.text == "env" && len(args) > 0 && len(args) < 3:
		return convert.Code("env(" + strings.Join(exprs, ", ") + ")"), nil
	case e.text == "join" && len(args) > 1:
		return convert.Code(fmt.Sprintf("join(\"/\", [%s])", strings.Join(exprs, ", "))), nil
	case e.text == "replace" && len(args) == 3 && e.args[1].kind == "text" && !strings.HasPrefix(e.args[1].text, "/"):
		return convert.Code(fmt.Sprintf("replace(%s, %s, %s)", args...)), nil
	case form == "" || strings.Count(form, "%s") != len(args):
		return nil, fmt.Errorf("the function %s", e.text)
	}
	return convert.Code(fmt.Sprintf(form, args...)), nil
}

// constants are the names that just knows.
var constants = map[string]string{"HEX": "0123456789abcdef", "HEXLOWER": "0123456789abcdef", "HEXUPPER": "0123456789ABCDEF", "PATH_SEP": "/", "PATH_VAR_SEP": ":"}

func (t *translator) name(name string, r *recipe) (convert.Text, error) {
	if r != nil {
		for _, p := range r.params {
			if p.name == name {
				return convert.Code("param." + p.param), nil
			}
		}
	}
	if t.vars[name] != nil {
		return t.variable(name)
	}
	if c, ok := constants[name]; ok {
		return convert.Lit(c), nil
	}
	return nil, fmt.Errorf("%s is not assigned in this file", name)
}
