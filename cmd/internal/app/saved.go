package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// Saved is a plan in a file: what was asked for, and everything that its plan follows from. Because planning is a
// function of these, the plan itself is only a digest: who applies it makes it again and compares.
type Saved struct {
	Target   string       `cbor:"target"`
	Args     []string     `cbor:"args"`
	Vars     []string     `cbor:"vars"` // NAME=VALUE, as given on the command line, without sensitive ones
	Sources  []pinned     `cbor:"sources"`
	Readings []pinned     `cbor:"readings"` // what the workflow looked up
	Program  []byte       `cbor:"program"`
	Facts    []string     `cbor:"facts"`
	Inputs   []runner.Pin `cbor:"inputs"`
	Steps    []string     `cbor:"steps"` // ids, in plan order
	Plan     []byte       `cbor:"plan"`  // digest
}

// pinned is something with the digest that it had.
type pinned struct {
	Name   string `cbor:"name"`
	Digest []byte `cbor:"digest"`
}

// savedFormat begins a file with a plan. The rest is the canonical CBOR of Saved, and its SHA-256 is at the end.
const savedFormat = "jitos plan v1\n"

// Encode is the file.
func (s *Saved) Encode() ([]byte, error) {
	body, err := cbor.Encode(s)
	if err != nil {
		return nil, err
	}
	out := append([]byte(savedFormat), body...)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

// Load reads the plan that a file holds. nil: it is no file, or none with a plan.
func Load(name string) (*Saved, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	head := make([]byte, len(savedFormat))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != savedFormat {
		return nil, nil
	}
	rest, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	damaged := usagef("%s is damaged: make the plan again with `jitos plan -o %s`", name, name)
	if len(rest) < sha256.Size {
		return nil, damaged
	}
	body, sum := rest[:len(rest)-sha256.Size], rest[len(rest)-sha256.Size:]
	if want := sha256.Sum256(append(head, body...)); !bytes.Equal(sum, want[:]) {
		return nil, damaged
	}
	s := &Saved{}
	if err := cbor.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Save makes the plan of a request one that can be kept.
func (w *Workspace) Save(ctx context.Context, r Request) (*Saved, error) {
	p, err := w.find(ctx, r)
	if err != nil {
		return nil, err
	}
	return w.pin(p, r)
}

// pin takes down what a plan follows from.
func (w *Workspace) pin(p *planned, r Request) (*Saved, error) {
	s := &Saved{Target: r.Target, Args: slices.Sorted(slices.Values(r.Args))}
	for _, v := range w.o.Vars {
		name, _, _ := strings.Cut(v, "=")
		if !slices.ContainsFunc(w.module.Variables, func(d *lang.Variable) bool { return d.Name == name && d.Sensitive }) {
			s.Vars = append(s.Vars, v)
		}
	}
	for _, f := range w.module.Files() {
		sum := sha256.Sum256(w.module.Source(f))
		s.Sources = append(s.Sources, pinned{f, sum[:]})
	}
	for _, r := range w.readings {
		sum := sha256.Sum256(fmt.Appendf(nil, "%t %s", r.Found, r.Value))
		s.Readings = append(s.Readings, pinned{r.Kind + " " + r.Name, sum[:]})
	}
	digest := p.program.Digest()
	s.Program = digest[:]
	for _, step := range p.first.Steps {
		s.Steps = append(s.Steps, step.ID)
	}
	facts, err := runner.Facts(p.facts)
	if err != nil {
		return nil, err
	}
	for _, f := range facts {
		s.Facts = append(s.Facts, f.Text)
	}
	if digest, err = p.first.Digest(); err != nil {
		return nil, err
	}
	s.Plan = digest[:]
	s.Inputs, err = runner.Pins(w.runnerWorkspace(), p.first)
	return s, err
}

// MovedError says that a saved plan no longer follows from what is there.
type MovedError struct{ What []string }

func (e *MovedError) Error() string {
	const enough = 10
	what := e.What
	if len(what) > enough {
		what = append(what[:enough:enough], fmt.Sprintf("and %d more", len(e.What)-enough))
	}
	return "the plan was made for another state of things:\n" + strings.Join(what, "\n") + "\nLook at what has to be done now with `jitos plan`, and save it with `jitos plan -o FILE`."
}

// compare says what of a saved plan has moved on.
func (s *Saved) compare(now *Saved) error {
	var moved []string
	moved = append(moved, differences(s.Sources, now.Sources)...)
	moved = append(moved, differences(s.Readings, now.Readings)...)
	if moved == nil && !bytes.Equal(s.Program, now.Program) {
		moved = append(moved, "a variable has another value: give those that the plan was made with")
	}
	for _, f := range s.Facts {
		if !slices.Contains(now.Facts, f) {
			moved = append(moved, f+" holds no more")
		}
	}
	for _, f := range now.Facts {
		if !slices.Contains(s.Facts, f) {
			moved = append(moved, f+" holds now")
		}
	}
	moved = append(moved, runner.Moved(s.Inputs, now.Inputs)...)
	if moved == nil && !bytes.Equal(s.Plan, now.Plan) {
		moved = append(moved, "planning finds another way now: tasks took other times since, or another version of jitos made the plan")
	}
	if moved != nil {
		return &MovedError{moved}
	}
	return nil
}

func differences(was, now []pinned) (out []string) {
	find := func(in []pinned, name string) []byte {
		if i := slices.IndexFunc(in, func(p pinned) bool { return p.Name == name }); i >= 0 {
			return in[i].Digest
		}
		return nil
	}
	for _, p := range was {
		if d := find(now, p.Name); d == nil {
			out = append(out, p.Name+" is read no more")
		} else if !bytes.Equal(d, p.Digest) {
			out = append(out, p.Name+" changed")
		}
	}
	for _, p := range now {
		if find(was, p.Name) == nil {
			out = append(out, p.Name+" is new")
		}
	}
	return out
}
