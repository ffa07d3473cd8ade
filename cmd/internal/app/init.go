package app

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
	"github.com/flyingrobots/jitos/lang"
)

// Initiated is what Init found and wrote.
type Initiated struct {
	Found   []string // "a Makefile (7 targets)", "go.mod"
	File    string
	Wrote   []string // "Go build, test and vet", "3 npm scripts"
	Skipped []string // what was found and could not be read, and why
}

// starter collects the tasks that Init writes.
type starter struct {
	fs.FS
	w   *convert.Workflow
	out Initiated
}

// Init looks at what is in dir and writes a small workflow that runs. It never replaces a file.
func Init(dir string) (*Initiated, error) {
	if dir == "" {
		dir = "."
	}
	if hasWorkflow(dir) {
		return nil, usagef("there is a workflow already: `jitos list` shows what it has")
	}
	s := &starter{FS: os.DirFS(dir), w: convert.New(), out: Initiated{File: "main" + lang.Extension}}
	if _, err := fs.ReadDir(s, "."); err != nil {
		return nil, err
	}
	for _, look := range []func(){s.golang, s.cargo, s.python, s.c} {
		look()
	}
	for _, f := range foreigners {
		s.foreign(f)
	}
	head := "A jitos workflow: `jitos list` shows what there is, `jitos plan` what would run, `jitos apply` runs it.\n" +
		"Steps run in a shadow of this directory; what they made enters it only when all went well."
	if len(s.w.Tasks()) == 0 {
		s.out.Wrote = append(s.out.Wrote, "two small tasks to start from")
		s.hello()
	}
	written, err := text(s.w, head)
	if err != nil {
		return nil, err
	}
	return &s.out, create(filepath.Join(dir, s.out.File), written)
}

func (s *starter) has(name string) bool {
	info, err := fs.Stat(s, name)
	return err == nil && info.Mode().IsRegular()
}

func (s *starter) read(name string) string {
	b, err := fs.ReadFile(s, name)
	if err != nil {
		s.out.Skipped = append(s.out.Skipped, fmt.Sprintf("%s: %s", name, err))
	}
	return string(b)
}

// task adds a task that runs one command line.
func (s *starter) task(name, description, run string, c convert.Command, needs ...string) string {
	t := &convert.Task{Name: s.w.Name(name), Description: description, Needs: needs}
	c.Script = &convert.Script{}
	c.Script.Whole(convert.Lit(run))
	t.Stages = []convert.Stage{{Command: &c}}
	s.w.Add(t)
	return t.Name
}

// prefix begins the names of the tasks that follow, if there are others.
func (s *starter) prefix(prefix string) {
	if s.w.Prefix = ""; len(s.w.Tasks()) > 0 {
		s.w.Prefix = prefix
	}
}

// foreign translates a file of another tool. What its tasks are called tells them from those that are there.
func (s *starter) foreign(f foreign) {
	i := slices.IndexFunc(f.files, s.has)
	if i < 0 {
		return
	}
	name := f.files[i]
	s.prefix(f.prefix)
	before := len(s.w.Tasks())
	n, err := f.read(s.w, s, name)
	if err != nil {
		s.out.Skipped = append(s.out.Skipped, fmt.Sprintf("%s: %s", name, err))
		return
	}
	article := ""
	if filepath.Ext(name) == "" {
		article = "a "
	}
	s.out.Found = append(s.out.Found, fmt.Sprintf("%s%s (%s)", article, name, count(n, f.parts)))
	if len(s.w.Tasks()) > before {
		s.out.Wrote = append(s.out.Wrote, fmt.Sprintf(f.wrote, count(n, f.parts)))
	}
}

func (s *starter) golang() {
	if !s.has("go.mod") {
		return
	}
	s.out.Found = append(s.out.Found, "go.mod")
	s.out.Wrote = append(s.out.Wrote, "Go build, test and vet")
	var needs []string
	if strings.Contains(s.read("go.mod"), "require") {
		needs = append(needs, s.task("modules", "Download the modules", "go mod download", convert.Command{Inputs: `["go.mod"]`}))
	}
	c := convert.Command{Outputs: "[]", Plain: true} // tests read more than Go files, and packages embed it: all of it is an input
	s.w.Default = s.task("build", "Build every package", "go build -o /dev/null ./...", c, needs...)
	s.task("test", "Run the tests", "go test ./...", c, needs...)
	s.task("vet", "Look for suspicious code", "go vet ./...", c, needs...)
}

func (s *starter) cargo() {
	if !s.has("Cargo.toml") {
		return
	}
	s.prefix("cargo-")
	s.out.Found = append(s.out.Found, "Cargo.toml")
	s.out.Wrote = append(s.out.Wrote, "Cargo build and test")
	inputs := `["**/Cargo.toml", "**/*.rs"]`
	if s.has("Cargo.lock") {
		inputs = `["**/Cargo.toml", "Cargo.lock", "**/*.rs"]`
	}
	var needs []string
	if strings.Contains(s.read("Cargo.toml"), "dependencies") {
		needs = append(needs, s.task("crates", "Download the crates", "cargo fetch", convert.Command{Inputs: `["**/Cargo.toml"]`}))
	}
	c := convert.Command{Inputs: inputs, Plain: true}
	build := s.task("build", "Build every crate", "cargo build", c, needs...)
	s.task("test", "Run the tests", "cargo test", c, build) // after it: both write target
	if s.w.Default == "" {
		s.w.Default = build
	}
}

func (s *starter) python() {
	var found []string
	for _, name := range []string{"pyproject.toml", "requirements.txt", "setup.py"} {
		if s.has(name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return
	}
	s.prefix("python-")
	s.out.Found = append(s.out.Found, found...)
	s.out.Wrote = append(s.out.Wrote, "Python check and test")
	quiet := []convert.Arg{{Name: "PYTHONDONTWRITEBYTECODE", Value: convert.Lit("1")}}
	python, needs := "python3", []string(nil)
	if s.has("requirements.txt") {
		python = ".venv/bin/python"
		if _, err := fs.Stat(s, ".venv"); err != nil {
			needs = append(needs, s.task("venv", "Install what the requirements list", "python3 -m venv .venv\n.venv/bin/python -m pip install -r requirements.txt",
				convert.Command{Inputs: `["requirements.txt"]`, Outputs: `[".venv/"]`}))
		}
	}
	check := s.task("check", "Compile every file", python+" -m compileall -q -f -x '/\\.' .",
		convert.Command{Inputs: `["**/*.py"]`, Env: []convert.Arg{{Name: "PYTHONPYCACHEPREFIX", Value: convert.Lit("/tmp/pycache")}}, Plain: true}, needs...)
	if s.w.Default == "" {
		s.w.Default = check
	}
	for _, dir := range []string{"tests", "test", "."} {
		if tests, err := fs.Glob(s, dir+"/test*.py"); err != nil || len(tests) == 0 {
			continue
		}
		run := python + " -m unittest discover"
		if dir != "." {
			run += " -s " + dir + " -t ."
		}
		for _, name := range found {
			if strings.Contains(s.read(name), "pytest") {
				run = python + " -m pytest -p no:cacheprovider"
			}
		}
		s.task("test", "Run the tests", run, convert.Command{Env: quiet, Plain: true}, needs...)
		break
	}
}

var mainFunction = regexp.MustCompile(`(?m)^\s*(?:int|void)\s+main\s*\(`)

// c is for sources that no build tool is for.
func (s *starter) c() {
	if slices.ContainsFunc(foreigners[:], func(f foreign) bool { return slices.ContainsFunc(f.files, s.has) }) || s.has("CMakeLists.txt") || s.has("meson.build") || s.has("configure") {
		return
	}
	for _, dir := range []string{"", "src/"} {
		sources, err := fs.Glob(s, dir+"*.c")
		if err != nil || len(sources) == 0 {
			continue
		}
		mains := 0
		for _, name := range sources {
			mains += len(mainFunction.FindAllString(s.read(name), -1))
		}
		s.out.Found = append(s.out.Found, fmt.Sprintf("%d C %s", len(sources), plural(len(sources), "file", "files")))
		s.out.Wrote = append(s.out.Wrote, "compiling and linking C")
		s.w.Raw("object", fmt.Sprintf(`task "object" {
  description = "Compile one file"
  for_each    = fileset(%q) # one step per file
  inputs      = [each.key]
  outputs     = ["build/${basename(each.key)}.o"]
  deps_file   = "build/${basename(each.key)}.d" # headers become inputs as the compiler finds them
  run         = "cc -O2 -Wall -MMD -MF build/${basename(each.key)}.d -c ${each.key} -o ${self.outputs[0]}"
}`, dir+"*.c"))
		link := `task "link" {
  description = "Link the program"
  inputs      = [task.object]
  outputs     = ["bin/app"]
  run         = "cc build/*.c.o -o ${self.outputs[0]} -lm"
}`
		if mains != 1 {
			link = `task "link" {
  description = "Put the objects into a library"
  inputs      = [task.object]
  outputs     = ["lib/libapp.a"]
  run         = "ar rcs ${self.outputs[0]} build/*.c.o"
}`
		}
		s.w.Raw("link", link)
		if s.w.Default == "" {
			s.w.Default = "link"
		}
		return
	}
}

// hello is what an empty directory gets: two tasks that show the idea.
func (s *starter) hello() {
	s.w.Default = "report"
	s.w.Raw("numbers", `task "numbers" {
  description = "Make some input"
  outputs     = ["build/numbers.txt"]
  inputs      = [] # none: it runs once
  run         = "seq 1 10 > ${self.outputs[0]}"
}`)
	s.w.Raw("report", `task "report" {
  description = "Add the numbers up"
  inputs      = ["build/numbers.txt"] # an output of the task above, so it comes first
  outputs     = ["build/sum.txt"]
  run         = <<-SH
    sum=0
    while read -r n; do sum=$((sum + n)); done < build/numbers.txt
    echo "the sum is $sum" | tee build/sum.txt
  SH
}`)
}
