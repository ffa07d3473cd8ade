package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner"
)

// TryOptions say what a command that a person typed may use. It has the network and the caller's environment unless
// told otherwise; its writes are as contained as a step's.
type TryOptions struct {
	NoNetwork bool
	CleanEnv  bool
}

// Try runs any command in a shadow of the workspace, which needs no workflow. A command that ends well leaves its result
// held, to be collapsed or discarded; one that fails, or changes nothing, leaves nothing.
func (w *Workspace) Try(ctx context.Context, argv []string, o TryOptions, sink func(runner.Event), live runner.Live) (*runner.Outcome, error) {
	if len(argv) == 0 {
		return nil, usagef("say what to try: jitos try -- CMD ARG…")
	}
	if err := w.acquire(ctx); err != nil {
		return nil, err
	}
	dir, err := w.relative(".")
	if err != nil {
		return nil, err
	}
	step := plan.Step{ID: strings.Join(argv, " "), Action: &plan.Action{Command: plan.Command{Argv: argv, Dir: dir}, NoCache: true,
		Allow: plan.Allow{Network: !o.NoNetwork}}}
	if !o.CleanEnv {
		for _, v := range os.Environ() {
			name, _, _ := strings.Cut(v, "=")
			// a step has a home of its own, and PATH, LANG and TERM anyway
			if !slices.Contains([]string{"PATH", "HOME", "LANG", "TERM", "TMPDIR", "PWD", "OLDPWD"}, name) {
				step.Allow.Env = append(step.Allow.Env, name)
			}
		}
		slices.Sort(step.Allow.Env)
	}
	pl := &plan.Plan{Target: step.ID, Tree: []plan.Node{{Parent: -1, Task: "try"}}, Steps: []plan.Step{step}, Hold: true}
	ro := w.options()
	ro.What, ro.Sink, ro.Live = "try", sink, live
	return runner.Apply(ctx, w.runnerWorkspace(), pl, nothingElse{}, ro)
}

// nothingElse plans for what has only one way.
type nothingElse struct{}

func (nothingElse) Next(context.Context, runner.Failure) (*plan.Plan, error) { return nil, nil }

// Here makes the nearest workspace upward the root, or the directory itself where there is none.
func Here(o Options) Options {
	if _, err := Open(o); err != nil {
		if _, none := errors.AsType[*NoWorkflowError](err); none {
			o.Here = true
			o.Dir = filepath.Clean(o.Dir)
		}
	}
	return o
}
