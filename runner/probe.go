package runner

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner/worker"
	"github.com/flyingrobots/jitos/sws/sandbox"
)

// maxAnswer is how long the answer of a probe may be.
const maxAnswer = 1 << 20

// Prober asks commands about the workspace, which they cannot change.
type Prober struct {
	w    Workspace
	k    *kernel
	pool *sandbox.Pool // of one slot
}

// NewProber takes a pool with a slot, which stays the caller's. isolated says that commands see the workspace at its own path.
func NewProber(w Workspace, pool *sandbox.Pool, isolated bool, mask *plan.Mask, o Options) *Prober {
	k := &kernel{w: w, o: o, kinds: worker.Kinds(), tools: map[string]string{}}
	k.mask.Store(mask)
	if !isolated {
		k.where = "copy"
	}
	return &Prober{w: w, k: k, pool: pool}
}

// Key identifies all that the answer depends on: command, environment, tools and declared inputs.
func (p *Prober) Key(s plan.Step) (string, error) {
	if err := p.k.present(&plan.Plan{Steps: []plan.Step{s}}); err != nil {
		return "", err
	}
	action, err := p.k.action(&s)
	if err != nil {
		return "", err
	}
	inputs, err := p.k.inputs(0, nil)
	if err != nil {
		return "", err
	}
	d := key(action, inputs)
	return d.String(), nil
}

// Ask runs the command and gives what it prints. An error says why there is no answer.
func (p *Prober) Ask(ctx context.Context, s plan.Step) (string, error) {
	binds, env, err := p.k.grants(&s)
	if err != nil {
		return "", err
	}
	mask := p.k.mask.Load()
	log := &capture{live: func([]byte) {}}
	all := mask.Writer(log)
	out := &head{max: maxAnswer}
	res, err := p.pool.Run(ctx, 0, sandbox.Command{
		Argv: p.k.kinds[worker.KindOf(s.Command)].Argv(s.Command), Env: env, Dir: filepath.Join(p.w.Root, s.Command.Dir), Binds: binds,
		Network: s.Allow.Network, Output: all, Stdout: out, Grace: p.k.o.Grace,
	})
	if err = errors.Join(err, all.Close(), context.Cause(ctx)); err != nil {
		return "", err
	}
	if reason := badEnd(&s, res); reason != "" {
		if t := tail(log.bytes(), 12); t != "" {
			reason += ":\n" + t
		}
		return "", failf("%s", reason)
	}
	text, err := out.text()
	if err != nil {
		return "", err
	}
	if what := mask.Find(text); what != "" {
		return "", failf("its answer has %s in it, which may not be written down", what)
	}
	return text, nil
}

// text is what was written, if it may be a value.
func (h *head) text() (string, error) {
	if len(h.b) > h.max {
		return "", failf("what it prints is longer than %d KiB", h.max>>10)
	}
	return asText(h.b)
}
