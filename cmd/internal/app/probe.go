package app

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws/sandbox"
)

// errStill says that a probe would have to be asked where nothing may run.
var errStill = errors.New("a probe has no answer that is known")

// ask asks the probes that a plan for an intent hangs on, and gives the program that has the answers. Those with inputs are known from the last
// time while these are as they were. still: nothing may run.
func (w *Workspace) ask(ctx context.Context, p *compiler.Program, in compiler.Intent, still bool) (*compiler.Program, error) {
	w.asked, w.unsure = nil, false
	probes, err := p.Probes(in)
	if err != nil || len(probes) == 0 {
		return p, err
	}
	o := sandbox.Options{Slots: 1, Workspace: w.root}
	if !w.isolated() {
		o.Mode = sandbox.Plain
	}
	pool, err := sandbox.New(o)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	prober := runner.NewProber(w.runnerWorkspace(), pool, o.Mode == sandbox.Namespaces, p.Mask(), w.options())
	answers := map[string]string{}
	var wrong diag.List
	for _, x := range probes {
		text, err := w.answer(ctx, prober, x, still)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errStill):
			return nil, err
		case err != nil:
			reason, output, _ := strings.Cut(err.Error(), "\n")
			wrong = append(wrong, diag.Diagnostic{Code: compiler.CodeProbe, Subject: x.Range, Label: reason, Detail: output,
				Summary: "the probe of fact " + x.Fact + " has no answer"})
		}
		answers[x.Fact] = text
		w.asked = append(w.asked, runner.Observation{What: "probe", Name: x.Fact, Text: text, File: x.Range.File, Line: x.Range.Start.Line})
		w.unsure = w.unsure || x.Again
	}
	if wrong != nil {
		return nil, &diag.ListError{List: wrong}
	}
	again := w.given
	again.Answers = answers
	w.readings = nil
	p, diags := compiler.Compile(w.module, again)
	w.mask = p.Mask
	if all := append(again.Known, diags...).Sorted(); all.HasErrors() {
		return nil, &diag.ListError{List: all}
	}
	return p, nil
}

// answer is what a probe answers now.
func (w *Workspace) answer(ctx context.Context, prober *runner.Prober, x compiler.Probe, still bool) (string, error) {
	if x.Again {
		if still {
			return "", errStill
		}
		return prober.Ask(ctx, x.Step)
	}
	key, err := prober.Key(x.Step)
	if err != nil {
		return "", err
	}
	file := w.meta(filepath.Join("index/probes", strings.ReplaceAll(x.Fact, "::", ".")))
	if b, err := os.ReadFile(file); err == nil {
		if known, text, ok := strings.Cut(string(b), "\n"); ok && known == key {
			return text, nil
		}
	}
	if still {
		return "", errStill
	}
	text, err := prober.Ask(ctx, x.Step)
	if err != nil || w.lock == nil { // who only looks keeps nothing
		return text, err
	}
	return text, cmp.Or(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(key+"\n"+text), 0o644))
}
