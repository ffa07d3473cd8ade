package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

// editor is a client that speaks to `jitos lsp` as editors do, over its standard input and output.
type editor struct {
	t        testing.TB
	dir      string
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *textproto.Reader
	id       int
	version  map[string]int
	texts    map[string]string
	problems map[string][]problem // by URI: what was published last
	asked    []string             // methods that the server asked for
}

type problem struct {
	Range    lspRange
	Severity int
	Code     string
	Message  string
	Related  []struct {
		Message  string
		Location lspLocation
	} `json:"relatedInformation"`
}

type lspPosition struct{ Line, Character int }
type lspRange struct{ Start, End lspPosition }
type lspLocation struct {
	URI   string
	Range lspRange
}
type lspEdit struct {
	Range   lspRange
	NewText string
}

// object is a message as it is written.
type object = map[string]any

// edit starts an editor on a workspace of these files.
func edit(t testing.TB, files map[string]string) *editor {
	t.Helper()
	e := &editor{t: t, dir: t.TempDir(), version: map[string]int{}, texts: map[string]string{}, problems: map[string][]problem{}}
	for name, text := range files {
		p := filepath.Join(e.dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(text), 0o644))
	}
	self, err := os.Executable()
	require.NoError(t, err)
	e.cmd = exec.Command(self, "lsp", "--stdio")
	e.cmd.Args[0] = "jitos"
	e.cmd.Dir, e.cmd.Stderr = e.dir, os.Stderr
	e.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	e.in, err = e.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := e.cmd.StdoutPipe()
	require.NoError(t, err)
	e.out = textproto.NewReader(bufio.NewReader(out))
	require.NoError(t, e.cmd.Start())
	t.Cleanup(func() {
		e.in.Close()
		_ = e.cmd.Wait() // a test that failed may leave it in any state
	})
	return e
}

// begin says hello as VS Code does.
func (e *editor) begin() *editor {
	e.t.Helper()
	var got struct {
		Capabilities object
		ServerInfo   struct{ Name string }
	}
	e.call("initialize", object{
		"processId": os.Getpid(), "rootUri": e.uri(""), "workspaceFolders": []object{{"uri": e.uri(""), "name": "w"}},
		"capabilities": object{"workspace": object{"didChangeWatchedFiles": object{"dynamicRegistration": true}}},
	}, &got)
	require.Equal(e.t, "jitos", got.ServerInfo.Name)
	e.tell("initialized", object{})
	return e
}

func (e *editor) uri(name string) string {
	return (&url.URL{Scheme: "file", Path: filepath.Join(e.dir, name)}).String()
}

func (e *editor) send(m object) {
	e.t.Helper()
	m["jsonrpc"] = "2.0"
	body, err := json.Marshal(m)
	require.NoError(e.t, err)
	_, err = fmt.Fprintf(e.in, "Content-Length: %d\r\n\r\n%s", len(body), body)
	require.NoError(e.t, err)
}

func (e *editor) tell(method string, params any) { e.send(object{"method": method, "params": params}) }

// ask sends a request and returns its number.
func (e *editor) ask(method string, params any) int {
	e.id++
	e.send(object{"id": e.id, "method": method, "params": params})
	return e.id
}

type answer struct {
	ID     any
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

// read takes the next message, and notes what was published.
func (e *editor) read() answer {
	e.t.Helper()
	header, err := e.out.ReadMIMEHeader()
	require.NoError(e.t, err)
	n, err := strconv.Atoi(header.Get("Content-Length"))
	require.NoError(e.t, err)
	body := make([]byte, n)
	_, err = io.ReadFull(e.out.R, body)
	require.NoError(e.t, err)
	var a answer
	require.NoError(e.t, json.Unmarshal(body, &a))
	switch {
	case a.Method == "textDocument/publishDiagnostics":
		var p struct {
			URI         string
			Diagnostics []problem
		}
		require.NoError(e.t, json.Unmarshal(a.Params, &p))
		require.NotNil(e.t, p.Diagnostics, "null is no list")
		e.problems[p.URI] = p.Diagnostics
	case a.Method == "window/logMessage":
		e.t.Fatalf("the server complains: %s", a.Params)
	case a.Method != "" && a.ID != nil:
		e.asked = append(e.asked, a.Method)
		e.send(object{"id": a.ID, "result": nil})
	}
	return a
}

// wait reads up to the answer of a request.
func (e *editor) wait(id int) answer {
	e.t.Helper()
	for {
		if a := e.read(); a.Method == "" && a.ID == float64(id) {
			return a
		}
	}
}

// call sends a request and decodes its result.
func (e *editor) call(method string, params, result any) {
	e.t.Helper()
	a := e.wait(e.ask(method, params))
	require.Nil(e.t, a.Error, "%s: %+v", method, a.Error)
	require.NoError(e.t, json.Unmarshal(a.Result, result), string(a.Result))
}

// open opens a file with a text, and waits for its diagnostics.
func (e *editor) open(name, text string) []problem {
	e.t.Helper()
	e.version[name], e.texts[name] = 1, text
	e.tell("textDocument/didOpen", object{"textDocument": object{"uri": e.uri(name), "languageId": "hcl", "version": 1, "text": text}})
	return e.published(name)
}

// published waits for diagnostics of a file.
func (e *editor) published(name string) []problem {
	e.t.Helper()
	for {
		if a := e.read(); a.Method == "textDocument/publishDiagnostics" && strings.Contains(string(a.Params), `"`+e.uri(name)+`"`) {
			return e.problems[e.uri(name)]
		}
	}
}

// write replaces the only occurrence of old by text, as typing does, and waits for diagnostics.
func (e *editor) write(name, old, text string) []problem {
	e.t.Helper()
	e.change(name, old, text)
	return e.published(name)
}

func (e *editor) change(name, old, text string) {
	e.t.Helper()
	was := e.texts[name]
	require.Equal(e.t, 1, strings.Count(was, old), "%q in %q", old, was)
	i := strings.Index(was, old)
	e.version[name]++
	e.tell("textDocument/didChange", object{
		"textDocument":   object{"uri": e.uri(name), "version": e.version[name]},
		"contentChanges": []object{{"range": object{"start": e.position(name, i), "end": e.position(name, i+len(old))}, "text": text}},
	})
	e.texts[name] = was[:i] + text + was[i+len(old):]
}

// position is the protocol's position of a byte.
func (e *editor) position(name string, at int) object {
	text := e.texts[name][:at]
	line := strings.Count(text, "\n")
	text = text[strings.LastIndexByte(text, '\n')+1:]
	return object{"line": line, "character": len(utf16.Encode([]rune(text)))}
}

// at are the parameters of a request about the place of a | in a file's text: after the only occurrence of what is in
// front of it, which what is behind it must follow.
func (e *editor) at(name, mark string) object {
	e.t.Helper()
	front, back, ok := strings.Cut(mark, "|")
	require.True(e.t, ok)
	require.Equal(e.t, 1, strings.Count(e.texts[name], front+back), "%q in %q", front+back, e.texts[name])
	i := strings.Index(e.texts[name], front+back) + len(front)
	return object{"textDocument": object{"uri": e.uri(name)}, "position": e.position(name, i)}
}

// read back what a range of a file covers.
func (e *editor) covered(l lspLocation) string {
	e.t.Helper()
	u, err := url.Parse(l.URI)
	require.NoError(e.t, err)
	name, err := filepath.Rel(e.dir, u.Path)
	require.NoError(e.t, err)
	text, open := e.texts[name]
	if !open {
		b, err := os.ReadFile(u.Path)
		require.NoError(e.t, err)
		text = string(b)
	}
	from, to := offset(text, l.Range.Start), offset(text, l.Range.End)
	return fmt.Sprintf("%s:%d: %s", name, l.Range.Start.Line+1, text[from:to])
}

// offset is the byte at a position of the protocol.
func offset(text string, p lspPosition) int {
	at := 0
	for range p.Line {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	for n := 0; n < p.Character; {
		for _, r := range text[at:] {
			n += len(utf16.Encode([]rune{r}))
			at += len(string(r))
			break
		}
	}
	return at
}

// apply carries out edits, as the protocol wants it.
func apply(text string, edits []lspEdit) string {
	slices.SortFunc(edits, func(a, b lspEdit) int { return offset(text, b.Range.Start) - offset(text, a.Range.Start) })
	for _, x := range edits {
		text = text[:offset(text, x.Range.Start)] + x.NewText + text[offset(text, x.Range.End):]
	}
	return text
}

// labels asks for completion at a mark.
func (e *editor) labels(name, mark string) []string {
	e.t.Helper()
	var list struct {
		Items []struct {
			Label    string
			TextEdit lspEdit
		}
	}
	e.call("textDocument/completion", e.at(name, mark), &list)
	out := []string{}
	for _, i := range list.Items {
		out = append(out, i.Label)
	}
	return out
}

// end says goodbye and returns how the server ended.
func (e *editor) end() error {
	e.t.Helper()
	var nothing any
	e.call("shutdown", nil, &nothing)
	e.tell("exit", nil)
	return e.cmd.Wait()
}

const small = `variable "version" {
  type    = string
  default = "v1"
  description = "What is released"
}

task "compile" {
  description = "Build it"
  param "os" {
    default = "linux"
  }
  outputs = ["bin/${param.os}"]
  run     = "make ${var.version}"
}

task "all" {
  needs = [task.compile]
}
`

func TestEditorIsToldOfProblemsWhileTyping(t *testing.T) {
	e := edit(t, map[string]string{"main.jitos.hcl": small}).begin()
	require.Empty(t, e.open("main.jitos.hcl", small))
	require.Contains(t, e.asked, "client/registerCapability")

	got := e.write("main.jitos.hcl", "task.compile]", "task.compil]")
	require.Len(t, got, 1)
	require.Equal(t, "JT2003", got[0].Code, "the compiler's")
	require.Equal(t, `unknown task "compil": did you mean task.compile?`, got[0].Message)
	require.Equal(t, "main.jitos.hcl:17: task.compil", e.covered(lspLocation{e.uri("main.jitos.hcl"), got[0].Range}))

	got = e.write("main.jitos.hcl", "task.compil]", "task.]")
	require.Len(t, got, 1)
	require.Equal(t, "JT1001", got[0].Code, "the parser's, and nothing else of what is whole")

	require.Empty(t, e.write("main.jitos.hcl", "task.]", "task.compile]"))
	got = e.write("main.jitos.hcl", "  outputs", "  outptus")
	require.Equal(t, `unknown attribute "outptus" in a task block: did you mean outputs?`, got[0].Message)
	require.NoError(t, e.end())
}

func TestEditorSeesUnsavedTextsOfOtherFiles(t *testing.T) {
	e := edit(t, map[string]string{"a.jitos.hcl": `task "a" { run = "a" }`, "b.jitos.hcl": `task "b" { needs = [task.a] }`}).begin()
	require.Empty(t, e.open("b.jitos.hcl", `task "b" { needs = [task.a] }`))
	require.Empty(t, e.open("a.jitos.hcl", `task "a" { run = "a" }`))
	e.change("a.jitos.hcl", `task "a"`, `task "c"`)
	require.Len(t, e.published("b.jitos.hcl"), 1)
	require.Empty(t, e.open("c.jitos.hcl", `task "a" { run = "x" }`), "a file that nobody has saved")
	require.Empty(t, e.problems[e.uri("b.jitos.hcl")])
	require.NoError(t, os.WriteFile(filepath.Join(e.dir, "d.jitos.hcl"), []byte(`task "a" { run = "x" }`), 0o644))
	e.tell("workspace/didChangeWatchedFiles", object{"changes": []object{{"uri": e.uri("d.jitos.hcl"), "type": 1}}})
	got := e.published("d.jitos.hcl")
	require.Len(t, got, 1)
	require.Equal(t, "JT2009", got[0].Code)
	require.Equal(t, "c.jitos.hcl:1: \"a\"", e.covered(got[0].Related[0].Location))
	e.tell("textDocument/didClose", object{"textDocument": object{"uri": e.uri("c.jitos.hcl")}})
	require.Empty(t, e.published("d.jitos.hcl"))
	require.NoError(t, e.end())
}

func TestEditorSeesThatAModuleIsUsed(t *testing.T) {
	const lib = "variable \"v\" { type = number }\ntask \"t\" { run = \"${var.v}\" }\n"
	e := edit(t, map[string]string{"lib/l.jitos.hcl": lib}).begin()
	require.Empty(t, e.open("lib/l.jitos.hcl", lib), "nobody runs it, so v needs no value")
	require.NoError(t, os.WriteFile(filepath.Join(e.dir, "main.jitos.hcl"), []byte("use \"l\" {\n  source = \"./lib\"\n  v = \"x\"\n}\n"), 0o644))
	e.tell("workspace/didChangeWatchedFiles", object{"changes": []object{{"uri": e.uri("main.jitos.hcl"), "type": 1}}})
	got := e.published("main.jitos.hcl")
	require.Len(t, got, 1)
	require.Contains(t, got[0].Message, "does not fit")
	require.Equal(t, `lib/l.jitos.hcl:1: variable "v"`, e.covered(got[0].Related[0].Location))
	require.NoError(t, e.end())
}

func TestEditorPositions(t *testing.T) {
	text := "# 😀 ü\r\ntask \"a\" { run = \"😀 ${parm.x} ü\" }\r\nlocals { y = \"ü😀\" }\r\n\r\ntask \"b\" {\r\n  needs = [task.a]\r\n  run   = \"${local.z}\"\r\n}\r\n"
	e := edit(t, map[string]string{"main.jitos.hcl": text}).begin()
	got := e.open("main.jitos.hcl", text)
	require.Len(t, got, 2)
	require.Equal(t, lspRange{lspPosition{1, 23}, lspPosition{1, 29}}, got[0].Range, "in UTF-16 code units")
	require.Equal(t, "main.jitos.hcl:7: local.z", e.covered(lspLocation{e.uri("main.jitos.hcl"), got[1].Range}))
	got = e.write("main.jitos.hcl", "${parm.x} ü", "ü😀")
	require.Len(t, got, 1)
	require.Empty(t, e.write("main.jitos.hcl", "local.z", "local.y"))
	require.Equal(t, []string{"local.y"}, e.labels("main.jitos.hcl", "${local.|y}"))
	got = e.write("main.jitos.hcl", "\"ü😀\" }", "\"ü😀\" + }")
	require.NotEmpty(t, got)
	require.Equal(t, 2, got[0].Range.Start.Line)
	require.NoError(t, e.end())
}

func TestEditorCompletes(t *testing.T) {
	const name = "main.jitos.hcl"
	tests := map[string]struct {
		text       string
		has, hasNo []string
	}{
		"blocks":                             {text: "ta|", has: []string{"task"}, hasNo: []string{"slap"}},
		"nested blocks and attributes":       {text: "task \"a\" {\n  |\n}", has: []string{"run", "exec", "param", "allow"}, hasNo: []string{"goal", "variable"}},
		"no attribute twice":                 {text: "task \"a\" {\n  run = \"x\"\n  |\n}", has: []string{"exec"}, hasNo: []string{"run"}},
		"attributes of an inner block":       {text: "task \"a\" {\n  retry {\n    att|\n  }\n}", has: []string{"attempts"}},
		"a block that is not closed":         {text: "task \"a\" {\n  retry {\n    b|", has: []string{"backoff"}},
		"variables, and what else there is":  {text: "variable \"v\" { default = 1 }\ntask \"a\" {\n  run = \"${|}\"\n}", has: []string{"var.v", "self.outputs", "join"}, hasNo: []string{"each.key"}},
		"attributes of objects":              {text: "variable \"v\" {\n  type = object({ tag = string, of = object({ x = number }) })\n}\nlocals {\n  x = var.v.|\n}", has: []string{"var.v.tag", "var.v.of.x"}},
		"each in a family":                   {text: "task \"a\" {\n  for_each = [\"x\"]\n  run = \"${ea|}\"\n}", has: []string{"each.key", "each.value"}},
		"parameters of this task alone":      {text: "task \"a\" {\n  param \"p\" { default = 1 }\n  run = \"${param.|}\"\n}\ntask \"b\" {\n  param \"q\" { default = 1 }\n  run = \"x\"\n}", has: []string{"param.p"}, hasNo: []string{"param.q", "var.v"}},
		"a quote that is not closed":         {text: "task \"a\" {\n  param \"p\" { default = 1 }\n  run = \"${param.|\n}\ntask \"b\" { run = \"x\" }", has: []string{"param.p"}},
		"an operator without an operand":     {text: "task \"a\" {\n  param \"p\" { default = 1 }\n  when = param.p == 1 && param.| ==\n  run = \"x\"\n}", has: []string{"param.p"}},
		"half a conditional":                 {text: "task \"a\" {\n  param \"p\" { default = 1 }\n  run = true ? param.|\n}", has: []string{"param.p"}},
		"tasks among needs":                  {text: "task \"a\" {\n  needs = [task.|]\n}\ntask \"b\" { run = \"x\" }", has: []string{"task.a", "task.b"}},
		"a task by its own name":             {text: "task \"apple\" {\n  needs = [b|]\n}\ntask \"banana\" { run = \"x\" }", has: []string{"task.banana"}, hasNo: []string{"task.apple"}},
		"a goal's task":                      {text: "slap \"s\" {\n  goal {\n    task = |\n  }\n}\ntask \"b\" { run = \"x\" }", has: []string{"task.b"}, hasNo: []string{"join"}},
		"arguments of the task":              {text: "slap \"s\" {\n  goal {\n    task = task.b\n    with = { | }\n  }\n}\ntask \"b\" {\n  param \"os\" { default = 1 }\n  run = \"x\"\n}", has: []string{"os"}},
		"words":                              {text: "slap \"s\" {\n  prefer = |\n}", has: []string{`"cost"`, `"order"`}},
		"words in quotes":                    {text: "slap \"s\" {\n  prefer = \"c|\"\n}", has: []string{"cost"}, hasNo: []string{"order"}},
		"after a for":                        {text: "locals {\n  l = { for k in lo| : k => k }\n  longer = 1\n}", has: []string{"local.longer", "lower"}},
		"no names at an object's key":        {text: "task \"a\" {\n  run = \"x\"\n  env = { jo| }\n}", hasNo: []string{"join"}},
		"truth":                              {text: "task \"a\" {\n  external = |\n}", has: []string{"true", "false"}},
		"types":                              {text: "variable \"a\" {\n  type = |\n}", has: []string{"string", "list("}},
		"facts where they can be asked":      {text: "fact \"seen\" {\n  columns = { x = string }\n  from = []\n}\ntask \"a\" {\n  when = fact::|\n  run = \"x\"\n}", has: []string{"fact::seen"}},
		"facts by name":                      {text: "fact \"seen\" {\n  columns = { x = string }\n  from = []\n}\nlocals {\n  x = facts(\"|\")\n}", has: []string{"seen"}},
		"steps of the method":                {text: "task \"a\" {}\nmethod \"a\" \"m\" {\n  step \"one\" { task = task.b }\n  step \"two\" {\n    task  = task.b\n    after = [|]\n  }\n}\ntask \"b\" { run = \"x\" }", has: []string{"step.one"}, hasNo: []string{"step.two"}},
		"the task of a method":               {text: "task \"image\" {}\ntask \"b\" { run = \"x\" }\nmethod \"|\" \"m\" {\n}", has: []string{"image"}, hasNo: []string{"b"}},
		"secrets":                            {text: "secret \"gh\" { env = \"X\" }\ntask \"a\" {\n  run = \"x\"\n  allow {\n    secrets = [|]\n  }\n}", has: []string{"secret.gh"}},
		"pools":                              {text: "pool \"db\" { capacity = 1 }\ntask \"a\" {\n  run = \"x\"\n  uses = { | }\n}", has: []string{"db"}},
		"modules that are built in":          {text: "use \"x\" {\n  source = \"|\"\n}", has: []string{"std/release", "./lib"}},
		"nothing in a comment":               {text: "# ta|", hasNo: []string{"task"}},
		"nothing in a string":                {text: "task \"a\" {\n  run = \"ta|\"\n}", hasNo: []string{"task.a", "task"}},
		"nothing in a heredoc but templates": {text: "task \"a\" {\n  run = <<E\n  jo|\nE\n}", hasNo: []string{"join"}},
		"templates in a heredoc":             {text: "task \"a\" {\n  run = <<E\n  ${jo|}\nE\n}", has: []string{"join"}},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			e := edit(t, map[string]string{name: "", "lib/x.jitos.hcl": "task \"t\" { run = \"x\" }"}).begin()
			i := strings.IndexByte(tt.text, '|')
			e.open(name, strings.Replace(tt.text, "|", "", 1))
			var list struct{ Items []struct{ Label string } }
			e.call("textDocument/completion", object{"textDocument": object{"uri": e.uri(name)}, "position": e.position(name, i)}, &list)
			var got []string
			for _, item := range list.Items {
				got = append(got, item.Label)
			}
			for _, want := range tt.has {
				require.Contains(t, got, want)
			}
			for _, no := range tt.hasNo {
				require.NotContains(t, got, no)
			}
			require.NoError(t, e.end())
		})
	}
}

// What is chosen fits into what stands there.
func TestEditorInserts(t *testing.T) {
	const name = "main.jitos.hcl"
	tests := map[string]struct{ text, choose, want string }{
		"an attribute":                 {"task \"a\" {\n  ru|\n}", "run", "task \"a\" {\n  run = \n}"},
		"the name of an attribute":     {"task \"a\" {\n  r|n = \"x\"\n}", "run", "task \"a\" {\n  run = \"x\"\n}"},
		"a function":                   {"locals {\n  x = jo|\n}", "join", "locals {\n  x = join(\n}"},
		"the name of a function":       {"locals {\n  x = jo|(\",\", [])\n}", "join", "locals {\n  x = join(\",\", [])\n}"},
		"a name over what is written":  {"task \"apple\" {\n  needs = [task.a|b]\n}", "task.apple", "task \"apple\" {\n  needs = [task.apple]\n}"},
		"a name that is typed in part": {"task \"apple\" {\n  needs = [app|]\n}", "task.apple", "task \"apple\" {\n  needs = [task.apple]\n}"},
		"a word in quotes":             {"slap \"s\" {\n  prefer = \"o|x\"\n}", "order", "slap \"s\" {\n  prefer = \"order\"\n}"},
		"a word without any":           {"slap \"s\" {\n  prefer = o|\n}", `"order"`, "slap \"s\" {\n  prefer = \"order\"\n}"},
		"behind characters of four":    {"locals {\n  x = \"😀${jo|}\"\n}", "join", "locals {\n  x = \"😀${join(}\"\n}"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			e := edit(t, map[string]string{name: ""}).begin()
			i := strings.IndexByte(tt.text, '|')
			e.open(name, strings.Replace(tt.text, "|", "", 1))
			var list struct {
				Items []struct {
					Label    string
					TextEdit lspEdit
				}
			}
			e.call("textDocument/completion", object{"textDocument": object{"uri": e.uri(name)}, "position": e.position(name, i)}, &list)
			got := ""
			for _, item := range list.Items {
				if item.Label == tt.choose {
					got = apply(e.texts[name], []lspEdit{item.TextEdit})
				}
			}
			require.Equal(t, tt.want, got)
			require.NoError(t, e.end())
		})
	}
}

func TestEditorFillsInBlocks(t *testing.T) {
	e := edit(t, map[string]string{"main.jitos.hcl": ""})
	var hello object
	e.call("initialize", object{"rootUri": nil, "capabilities": object{"textDocument": object{"completion": object{"completionItem": object{"snippetSupport": true}}}}}, &hello)
	e.open("main.jitos.hcl", "met")
	var list struct {
		Items []struct {
			Label            string
			InsertTextFormat int
			TextEdit         lspEdit
		}
	}
	e.call("textDocument/completion", e.at("main.jitos.hcl", "met|"), &list)
	require.Len(t, list.Items, 1)
	require.Equal(t, 2, list.Items[0].InsertTextFormat)
	require.Equal(t, "method \"${1:task}\" \"${2:name}\" {\n  $0\n}", list.Items[0].TextEdit.NewText)
	require.NoError(t, e.end())
}

func TestEditorFindsItsWay(t *testing.T) {
	files := map[string]string{
		"main.jitos.hcl": `use "lib" {
  source = "./lib"
  level  = 2
}

locals { name = "x" }

slap "ship" {
  goal {
    task = task.lib.pack
    with = { size = 1 }
  }
}
`,
		"tasks.jitos.hcl": `fact "ready" {
  columns = { what = string }
}

task "all" {
  needs = [task.lib.pack]
  when  = fact::ready(local.name)
  run   = "true"
  result = "stdout"
}

task "way" {}

method "way" "first" {
  any = ["it"]
  when = fact::ready(any.it)
  step "one" {
    task = task.all
  }
  step "two" {
    task  = task.all
    after = [step.one]
  }
}

task "tell" {
  needs = [task.all]
  env   = { WHAT = task.all.result }
  run   = "echo $WHAT"
}
`,
		"lib/lib.jitos.hcl": `variable "level" {
  type        = number
  description = "How hard to try"
}

task "pack" {
  description = "Packs it"
  param "size" {
    default     = 3
    description = "Of the pack"
  }
  run = "pack ${param.size} ${var.level}"
}
`,
	}
	e := edit(t, files).begin()
	for _, name := range []string{"lib/lib.jitos.hcl", "main.jitos.hcl", "tasks.jitos.hcl"} {
		require.Empty(t, e.open(name, files[name]), name)
	}
	definitions := map[string][3]string{
		"a task of a module":      {"main.jitos.hcl", "task.lib.pa|ck", "lib/lib.jitos.hcl:6: pack"},
		"an alias":                {"main.jitos.hcl", "task.li|b.pack", "main.jitos.hcl:1: lib"},
		"a module":                {"main.jitos.hcl", "./li|b", "lib/lib.jitos.hcl:1: "},
		"a module's variable":     {"main.jitos.hcl", "lev|el  = 2", "lib/lib.jitos.hcl:1: level"},
		"an argument":             {"main.jitos.hcl", "{ si|ze", "lib/lib.jitos.hcl:8: size"},
		"a local in another file": {"tasks.jitos.hcl", "local.na|me", "main.jitos.hcl:6: name"},
		"a fact":                  {"tasks.jitos.hcl", "fact::re|ady(local", "tasks.jitos.hcl:1: ready"},
		"a method's task":         {"tasks.jitos.hcl", `method "w|ay"`, "tasks.jitos.hcl:12: way"},
		"a free variable":         {"tasks.jitos.hcl", "any.i|t", "tasks.jitos.hcl:15: it"},
		"a step":                  {"tasks.jitos.hcl", "step.on|e", "tasks.jitos.hcl:17: one"},
		"a parameter":             {"lib/lib.jitos.hcl", "param.si|ze", "lib/lib.jitos.hcl:8: size"},
	}
	for what, d := range definitions {
		var got []lspLocation
		e.call("textDocument/definition", e.at(d[0], d[1]), &got)
		require.Len(t, got, 1, what)
		require.Equal(t, d[2], e.covered(got[0]), what)
	}

	refer := func(name, mark string, declaration bool) (out []string) {
		p := e.at(name, mark)
		p["context"] = object{"includeDeclaration": declaration}
		var got []lspLocation
		e.call("textDocument/references", p, &got)
		for _, l := range got {
			out = append(out, e.covered(l))
		}
		slices.Sort(out)
		return out
	}
	require.Equal(t, []string{"lib/lib.jitos.hcl:6: pack", "main.jitos.hcl:10: pack", "tasks.jitos.hcl:6: pack"}, refer("lib/lib.jitos.hcl", `task "pa|ck"`, true))
	require.Equal(t, []string{"lib/lib.jitos.hcl:12: level", "main.jitos.hcl:3: level"}, refer("lib/lib.jitos.hcl", `variable "lev|el"`, false))
	require.Equal(t, []string{"lib/lib.jitos.hcl:12: size", "main.jitos.hcl:11: size"}, refer("lib/lib.jitos.hcl", `param "si|ze"`, false))

	hovers := map[string][3]string{
		"an attribute": {"tasks.jitos.hcl", "ne|eds = [task.lib", "once per run however many ask"},
		"a block":      {"main.jitos.hcl", "sl|ap \"ship\"", "What `apply` applies"},
		"a task":       {"main.jitos.hcl", "task.lib.pa|ck", "task.pack(size = 3)\n```\n\nPacks it"},
		"a variable":   {"lib/lib.jitos.hcl", "var.le|vel", "var.level: number\n```\n\nHow hard to try"},
		"an argument":  {"main.jitos.hcl", "{ si|ze", "param.size = 3\n```\n\nOf the pack"},
		"a local":      {"tasks.jitos.hcl", "local.na|me", `local.name = "x"`},
		"a fact":       {"tasks.jitos.hcl", "fact::re|ady(any", "fact::ready(what: string)"},
	}
	for what, h := range hovers {
		var got struct{ Contents struct{ Kind, Value string } }
		e.call("textDocument/hover", e.at(h[0], h[1]), &got)
		require.Equal(t, "markdown", got.Contents.Kind, what)
		require.Contains(t, got.Contents.Value, h[2], what)
	}

	var nothing any
	e.call("textDocument/hover", e.at("tasks.jitos.hcl", "task.all.re|sult"), &nothing)
	require.Nil(t, nothing, "a part of a task is no task")

	var symbols []struct {
		Name, Detail string
		Children     []struct{ Name string }
	}
	e.call("textDocument/documentSymbol", object{"textDocument": object{"uri": e.uri("tasks.jitos.hcl")}}, &symbols)
	require.Len(t, symbols, 5)
	require.Equal(t, "way first", symbols[3].Name)
	require.Equal(t, "two", symbols[3].Children[1].Name)

	var found []struct {
		Name     string
		Location lspLocation
	}
	e.call("workspace/symbol", object{"query": "AC"}, &found)
	require.Len(t, found, 1)
	require.Equal(t, "lib/lib.jitos.hcl:6: pack", e.covered(found[0].Location))
	require.NoError(t, e.end())
}

func TestEditorFormatsAndFixes(t *testing.T) {
	const name = "main.jitos.hcl"
	text := "task \"a\" {\r\n  run = \"x\"\r\n    outputs   = [\"ü\"]\r\n}\r\n\r\ntask \"b\" {\r\n  nedes = [task.a]\r\n}\r\n"
	e := edit(t, map[string]string{name: text}).begin()
	e.open(name, text)
	var edits []lspEdit
	e.call("textDocument/formatting", object{"textDocument": object{"uri": e.uri(name)}, "options": object{"tabSize": 8, "insertSpaces": false}}, &edits)
	require.Contains(t, apply(text, edits), "  run     = \"x\"\r\n  outputs = [\"ü\"]\r\n}\r\n")

	p := e.at(name, "ne|des")
	p["range"], p["context"] = object{"start": p["position"], "end": p["position"]}, object{"diagnostics": []any{}}
	var actions []struct {
		Title string
		Edit  struct{ Changes map[string][]lspEdit }
	}
	e.call("textDocument/codeAction", p, &actions)
	require.Len(t, actions, 1)
	require.Equal(t, "Write needs", actions[0].Title)
	require.Contains(t, apply(text, actions[0].Edit.Changes[e.uri(name)]), "  needs = [task.a]")
	require.NoError(t, e.end())
}

func TestEditorProtocol(t *testing.T) {
	t.Run("a request before initialize is refused", func(t *testing.T) {
		e := edit(t, nil)
		require.Equal(t, -32002, e.wait(e.ask("textDocument/hover", object{})).Error.Code)
	})
	t.Run("a method that does not exist", func(t *testing.T) {
		e := edit(t, nil).begin()
		require.Equal(t, -32601, e.wait(e.ask("textDocument/moonPhase", object{})).Error.Code)
		e.tell("$/setTrace", object{"value": "off"})
		e.tell("workspace/didChangeConfiguration", object{"settings": nil})
		require.NoError(t, e.end())
	})
	t.Run("what is no JSON", func(t *testing.T) {
		e := edit(t, nil).begin()
		_, err := io.WriteString(e.in, "Content-Length: 3\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{,}")
		require.NoError(t, err)
		for {
			if a := e.read(); a.Error != nil {
				require.Equal(t, -32700, a.Error.Code)
				break
			}
		}
		require.NoError(t, e.end())
	})
	t.Run("what was cancelled is not answered", func(t *testing.T) {
		e := edit(t, map[string]string{"main.jitos.hcl": small}).begin()
		e.open("main.jitos.hcl", small)
		// In one write, so that all of it is there before the first is answered.
		var b strings.Builder
		add := func(body string) { fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body) }
		ask := fmt.Sprintf(`"method":"textDocument/completion","params":{"textDocument":{"uri":%q},"position":{"line":12,"character":20}}}`, e.uri("main.jitos.hcl"))
		for i := range 50 {
			add(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,%s`, 100+i, ask))
		}
		add(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":149}}`)
		_, err := io.WriteString(e.in, b.String())
		require.NoError(t, err)
		require.Equal(t, -32800, e.wait(149).Error.Code)
		require.NoError(t, e.end())
	})
	t.Run("an editor that dies leaves no server behind", func(t *testing.T) {
		e := edit(t, nil).begin()
		require.NoError(t, e.in.Close())
		var exit *exec.ExitError
		require.ErrorAs(t, e.cmd.Wait(), &exit)
		require.Equal(t, exitFailed, exit.ExitCode())
	})
	t.Run("exit without shutdown is a failure", func(t *testing.T) {
		e := edit(t, nil).begin()
		e.tell("exit", nil)
		var exit *exec.ExitError
		require.ErrorAs(t, e.cmd.Wait(), &exit)
	})
	t.Run("a document that is not saved yet, or is no workflow", func(t *testing.T) {
		e := edit(t, nil).begin()
		e.tell("textDocument/didOpen", object{"textDocument": object{"uri": "untitled:Untitled-1", "languageId": "hcl", "version": 1, "text": "x"}})
		e.tell("textDocument/didOpen", object{"textDocument": object{"uri": e.uri("x.txt"), "languageId": "hcl", "version": 1, "text": "x"}})
		for _, uri := range []string{"untitled:Untitled-1", e.uri("x.txt"), e.uri("nobody.jitos.hcl")} {
			for _, method := range []string{"completion", "hover", "definition", "documentSymbol", "formatting"} {
				var got any
				e.call("textDocument/"+method, object{"textDocument": object{"uri": uri}, "position": object{"line": 7, "character": 7}}, &got)
				require.Empty(t, got)
			}
		}
		require.NoError(t, e.end())
	})
}

// How long a keystroke takes in a workspace of 5,000 lines: until completion is answered, and until its problems are shown.
// The figure is the 95th percentile, of both, over this process's pipes to the server's.
func BenchmarkEditorKeystroke(b *testing.B) {
	tasks := func(from, to int) string {
		var t strings.Builder
		for i := from; i < to; i++ {
			need := ""
			if i > 0 {
				need = fmt.Sprintf("task.t%d", i-1)
			}
			fmt.Fprintf(&t, `
task "t%d" {
  description = "Build number %d"
  param "os" {
    type    = string
    default = "linux"
  }
  needs   = [%s]
  inputs  = ["in/%d-*.go"]
  outputs = ["bin/server-%d-${param.os}"]
  run     = "go build -o ${self.outputs[0]} ./cmd/server"
}
`, i, i, need, i, i)
		}
		return t.String()
	}
	const count = 417 // of 12 lines
	one := map[string]string{"a.jitos.hcl": tasks(0, count)}
	many := map[string]string{"a.jitos.hcl": tasks(0, 50)}
	for i := 50; i < count; i += 50 {
		many[fmt.Sprintf("f%d.jitos.hcl", i)] = tasks(i, min(i+50, count))
	}
	lines := 0
	for _, text := range many {
		lines += strings.Count(text, "\n")
	}
	require.GreaterOrEqual(b, lines, 5000)
	for name, files := range map[string]map[string]string{"one-file": one, "nine-files": many} {
		for what, mark := range map[string]string{"reference": "  run     = \"go build -o ${self.outputs[0]} ./cmd/server\"\n}\n\ntask \"t31\"", "attribute": "\n}\n\ntask \"t31\""} {
			b.Run(name+"/"+what, func(b *testing.B) { keystrokes(b, files, what == "reference", mark) })
		}
	}
}

func keystrokes(b *testing.B, files map[string]string, reference bool, mark string) {
	const name = "a.jitos.hcl"
	e := edit(b, files).begin()
	require.Empty(b, e.open(name, files[name]))
	front, typed := "\n  ", "timeout"
	if reference {
		front, typed = "  env = { X = ", "param.os"
	}
	e.write(name, mark, front+"§"+mark)
	e.write(name, "§", "")
	at := strings.Index(e.texts[name], front+mark) + len(front)
	var answered, shown []time.Duration
	n := 0
	for b.Loop() {
		if n == len(typed) { // take it all back
			e.change(name, front+typed+mark, front+mark)
			e.published(name)
			n = 0
		}
		before, after := e.texts[name][:at+n], e.texts[name][at+n:]
		position := e.position(name, at+n)
		key := typed[n : n+1]
		e.texts[name] = before + key + after
		e.version[name]++
		n++
		next := e.position(name, at+n)
		start := time.Now()
		e.tell("textDocument/didChange", object{
			"textDocument":   object{"uri": e.uri(name), "version": e.version[name]},
			"contentChanges": []object{{"range": object{"start": position, "end": position}, "text": key}},
		})
		a := e.wait(e.ask("textDocument/completion", object{"textDocument": object{"uri": e.uri(name)}, "position": next}))
		answered = append(answered, time.Since(start))
		require.Contains(b, string(a.Result), `"label":"`+typed+`"`)
		e.published(name)
		shown = append(shown, time.Since(start))
	}
	p95 := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[min(len(d)*95/100, len(d)-1)].Microseconds()) / 1000
	}
	b.ReportMetric(p95(answered), "p95-answer-ms")
	b.ReportMetric(p95(shown), "p95-problems-ms")
	b.ReportMetric(0, "ns/op")
}
