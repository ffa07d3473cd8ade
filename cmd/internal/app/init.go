package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/lang"
)

// Initiated is what Init found and wrote.
type Initiated struct {
	Found []string // "a Makefile (7 targets)", "go.mod"
	File  string
	Wrote []string // "Go build, test and vet", "3 npm scripts"
}

// workflow collects the tasks that Init writes.
type workflow struct {
	text  strings.Builder
	names map[string]bool
	first string // what the default slap achieves
	out   Initiated
}

// Init looks at what is in dir and writes a small workflow that runs. It never replaces a file.
func Init(dir string) (*Initiated, error) {
	if dir == "" {
		dir = "."
	}
	if hasWorkflow(dir) {
		return nil, usagef("there is a workflow already: `jitos list` shows what it has")
	}
	w := &workflow{names: map[string]bool{}, out: Initiated{File: "main" + lang.Extension}}
	for _, look := range []func(string) error{w.golang, w.npm, w.makefile} {
		if err := look(dir); err != nil {
			return nil, err
		}
	}
	if len(w.out.Wrote) == 0 {
		w.hello()
	}
	head := "# A jitos workflow: `jitos list` shows what there is, `jitos plan` what would run, `jitos apply` runs it.\n" +
		"# Steps run in a shadow of this directory; what they made enters it only when all went well.\n\n" +
		fmt.Sprintf("jitos {\n  default = task.%s # what `jitos apply` means without a name\n}\n", w.first)
	text, diags := lang.Format(w.out.File, []byte(head+w.text.String()))
	if diags.HasErrors() {
		return nil, fmt.Errorf("the workflow that was to be written is not well formed: %v", diags[0].Summary)
	}
	f, err := os.OpenFile(filepath.Join(dir, w.out.File), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	return &w.out, errors.Join(err, f.Close())
}

func (w *workflow) task(name, body string) string {
	name = strings.Trim(regexp.MustCompile(`[^a-z0-9_-]+`).ReplaceAllString(strings.ToLower(name), "-"), "-_0123456789")
	if name == "" {
		name = "target"
	}
	for base, n := name, 2; w.names[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	w.names[name] = true
	if w.first == "" {
		w.first = name
	}
	fmt.Fprintf(&w.text, "\ntask %q {\n%s\n}\n", name, body)
	return name
}

func (w *workflow) golang(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	w.out.Found = append(w.out.Found, "go.mod")
	w.out.Wrote = append(w.out.Wrote, "Go build, test and vet")
	caches := "caches = { GOCACHE = \"go-build\", GOMODCACHE = \"go-mod\" } # kept between runs, in ~/.cache/jitos"
	needs, inputs := "", `["go.mod", "**/*.go"]`
	if _, err := os.Stat(filepath.Join(dir, "go.sum")); err == nil {
		inputs = `["go.mod", "go.sum", "**/*.go"]`
	}
	if strings.Contains(string(b), "require") {
		w.first = "build"
		w.task("modules", "description = \"Download the modules\"\ninputs = [\"go.mod\"]\n"+caches+
			"\nallow {\n network = true # a task has what it declares, and nothing else\n}\nrun = \"go mod download\"")
		needs = "needs = [task.modules]\n"
	}
	for _, t := range [][2]string{{"build", "Build every package"}, {"test", "Run the tests"}, {"vet", "Look for suspicious code"}} {
		w.task(t[0], fmt.Sprintf("description = %q\n%sinputs = %s\n%s\nrun = \"go %s ./...\"", t[1], needs, inputs, caches, t[0]))
	}
	return nil
}

func (w *workflow) npm(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var pkg struct{ Scripts map[string]string }
	if err := json.Unmarshal(b, &pkg); err != nil {
		return usagef("package.json is not JSON: %s", err)
	}
	n := len(pkg.Scripts)
	w.out.Found = append(w.out.Found, fmt.Sprintf("package.json (%d %s)", n, plural(n, "script", "scripts")))
	if n == 0 {
		return nil
	}
	w.out.Wrote = append(w.out.Wrote, fmt.Sprintf("%d npm %s", n, plural(n, "script", "scripts")))
	for _, s := range slices.Sorted(maps.Keys(pkg.Scripts)) {
		w.task("npm-"+s, fmt.Sprintf("# it declares neither inputs nor outputs, so it always runs\ndescription = %q\nexec = [\"npm\", \"run\", \"--silent\", %q]", "npm run "+s, s))
	}
	return nil
}

var makeTarget = regexp.MustCompile(`(?m)^([A-Za-z0-9][A-Za-z0-9_.-]*)\s*:(?:[^=]|$)`)

func (w *workflow) makefile(dir string) error {
	for _, name := range []string{"GNUmakefile", "makefile", "Makefile"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var targets []string
		for _, m := range makeTarget.FindAllStringSubmatch(string(b), -1) {
			if t := m[1]; !slices.Contains(targets, t) && !strings.Contains(t, ".") {
				targets = append(targets, t)
			}
		}
		n := len(targets)
		w.out.Found = append(w.out.Found, fmt.Sprintf("a %s (%d %s)", name, n, plural(n, "target", "targets")))
		if n == 0 {
			return nil
		}
		w.out.Wrote = append(w.out.Wrote, fmt.Sprintf("%d %s as `make TARGET`", n, plural(n, "target", "targets")))
		for _, t := range targets {
			w.task("make-"+t, fmt.Sprintf("# make keeps its own graph: it always runs, and decides what to do\ndescription = %q\nexec = [\"make\", %q]", "make "+t, t))
		}
		return nil
	}
	return nil
}

// hello is what an empty directory gets: two tasks that show the idea.
func (w *workflow) hello() {
	w.out.Wrote = append(w.out.Wrote, "two small tasks to start from")
	w.first = "report"
	w.task("numbers", `description = "Make some input"
  outputs     = ["build/numbers.txt"]
  inputs      = [] # none: it runs once
  run         = "seq 1 10 > ${self.outputs[0]}"`)
	w.task("report", `description = "Add the numbers up"
  inputs      = ["build/numbers.txt"] # an output of the task above, so it comes first
  outputs     = ["build/sum.txt"]
  run         = <<-SH
    sum=0
    while read -r n; do sum=$((sum + n)); done < build/numbers.txt
    echo "the sum is $sum" | tee build/sum.txt
  SH`)
}
