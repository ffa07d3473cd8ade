package plan

import (
	"crypto/sha256"
	"fmt"

	"github.com/flyingrobots/jitos/warp/cbor"
)

// Digest identifies what the plan does: equal steps, order, conditions and scope have equal digests, wherever they are
// written and however the plan was found.
func (p *Plan) Digest() ([32]byte, error) {
	var mask *Mask // another token is no other plan
	if p.Mask != nil {
		mask = p.Mask()
	}
	steps := []any{}
	for i := range p.Steps {
		steps = append(steps, p.Steps[i].canonical(mask))
	}
	scope := any(nil)
	if s := p.Scope; s != nil {
		scope = []any{texts(s.Include), texts(s.Exclude)}
	}
	b, err := cbor.Encode([]any{"jitos/steps/v1", p.Target, steps, checks(p.Success), scope, p.Hold, texts(p.Ignore), p.Strict})
	if err != nil {
		return [32]byte{}, fmt.Errorf("the plan of %s has no canonical form: %w", p.Target, err)
	}
	return sha256.Sum256(b), nil
}

func (s *Step) canonical(mask *Mask) []any {
	after, params, env, caches := []any{}, []any{}, []any{}, []any{}
	for _, e := range s.After {
		after = append(after, []any{e.Step, string(e.Why), e.Detail})
	}
	for _, a := range s.Params {
		params = append(params, []any{a.Name, a.Value})
	}
	for _, v := range s.Command.Env {
		env = append(env, []any{v.Name, mask.Text(v.Value)})
	}
	for _, c := range s.Caches {
		caches = append(caches, []any{c.Env, c.Name})
	}
	files := func(f *Files) any {
		if f == nil {
			return nil
		}
		from := []any{}
		for _, i := range f.Steps {
			from = append(from, i)
		}
		return []any{texts(f.Patterns), from}
	}
	c, a := s.Command, s.Allow
	argv, secrets := []any{}, []any{}
	for _, x := range c.Argv {
		argv = append(argv, mask.Text(x))
	}
	for _, g := range s.Secrets {
		secrets = append(secrets, []any{g.Shown, g.Env})
	}
	return []any{
		s.ID, s.Task, after, s.Criterion, s.Rule, params, checks(s.When),
		[]any{mask.Text(c.Script), argv, texts(c.Shell), c.Dir, env, mask.Text(c.Stdin)},
		files(s.Inputs), files(s.Outputs), s.DepsFile, caches, texts(s.Tools),
		[]any{a.Network, texts(a.ReadOnly), texts(a.Write), texts(a.Env), a.Containers}, int64(s.Timeout), s.NoCache, secrets, string(s.Result.Of), s.Result.Path, texts(s.Waits),
	}
}

func checks(list []Check) []any {
	out := []any{}
	for _, c := range list {
		out = append(out, []any{c.Name, c.Text})
	}
	return out
}

func texts(list []string) []any {
	out := []any{}
	for _, s := range list {
		out = append(out, s)
	}
	return out
}
