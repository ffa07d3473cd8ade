package taskfile_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/cmd/internal/convert"
	"github.com/flyingrobots/jitos/cmd/internal/convert/taskfile"
	"github.com/flyingrobots/jitos/lang"
)

func translate(text string) (string, error) {
	w := convert.New()
	_, err := taskfile.Read(w, fstest.MapFS{
		"Taskfile.yml": {Data: []byte(text)}, "docs/Taskfile.yml": {Data: []byte("version: '3'\ntasks: { default: 'echo {{.X}}' }\n")},
	}, "Taskfile.yml")
	return w.HCL("head"), err
}

// FuzzRead: what can be read becomes a workflow that parses.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"version: '3'\nvars: { A: 1, B: '{{.A}}-x', C: { sh: date } }\ntasks:\n  a: { deps: [b, { task: c, vars: { X: '{{.B}}' } }], cmds: ['echo {{.C}}', { task: b }] }\n  b: echo \"${x}\"\n  c: { requires: { vars: [X] }, cmds: [\"echo '{{.X | default \"y\"}}'\"] }\n",
		"version: 3\nincludes: { docs: ./docs, d: { taskfile: ./docs, dir: ./docs } }\ndotenv: ['.env']\nenv: { E: { sh: 'echo {{.X}}' } }\ntasks:\n  a: { sources: ['*.go', { exclude: x.go }], status: ['test -f a'], cmds: [{ for: [1, 2], cmd: 'echo {{.ITEM}}' }, { defer: echo }] }\n",
		"version: '3'\ntasks: { a: { cmds: [{ task: a }] }, 'b-*': 'x', c: [\"cat <<EOF\\n%{ ${ \\\" '\\nEOF\\n\"] }\n",
		"version: '3'\ntasks: { a: &x { cmds: [echo] }, b: { <<: *x, aliases: [z], platforms: [linux/amd64] } }\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := translate(text)
		if err != nil {
			return
		}
		formatted, diags := lang.Format("main.jitos.hcl", []byte(out))
		require.Empty(t, diags, out)
		_, diags = lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: formatted}})
		if strings.Contains(out, "\ntask ") {
			require.Empty(t, diags, out)
		}
	})
}

func TestWhatIsNotTranslatedIsRunByTask(t *testing.T) {
	tests := map[string]struct{ task, reason string }{
		"a template with a loop":    {`'{{range .X}}x{{end}}'`, "the template {{range .X}}x{{end}}"},
		"an unknown function":       {`'{{.X | shuffle}}'`, "the function shuffle"},
		"a key that is not known":   {`{ if: 'true', cmds: [echo] }`, "if"},
		"a loop over files":         {`{ cmds: [{ for: sources, cmd: echo }] }`, "for over what is not written out as a list"},
		"a called task by variable": {`{ cmds: [{ task: '{{.X}}' }] }`, "the task {{.X}}, which is not written out"},
		"status around other tasks": {`{ status: ['true'], cmds: [echo, { task: b }] }`, "status, where it runs other tasks"},
		"another directory":         {`{ dir: ../x, cmds: [echo] }`, "a directory outside of the workspace"},
		"a required variable":       {`{ cmds: [{ task: needs }] }`, "needs without its variable V"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := translate("version: '3'\ntasks:\n  a: " + tt.task + "\n  b: echo\n  needs: { requires: { vars: [V] }, cmds: ['echo {{.V}}'] }\n")
			require.NoError(t, err)
			require.Contains(t, out, "# Not translated: "+tt.reason+". task runs it.\ntask \"a\" {")
			require.Contains(t, out, `exec = ["task", "a"]`)
		})
	}
}
