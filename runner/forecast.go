package runner

import (
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner/worker"
)

// Forecast is what a run of a plan would do, as far as that can be known without running anything.
type Forecast struct {
	Plan    *plan.Plan
	Steps   []StepForecast // one for each step of the plan
	Changes []string       // declared outputs of the steps that will run
	Opaque  bool           // a step that will run does not say what it writes
}

// StepForecast is what would become of one step.
type StepForecast struct {
	Runs    bool
	Outcome string   // UpToDate, Cached or Ran
	Reasons []string // why it is not up to date
}

// Foresee looks at every step in plan order: what a step that will run feeds is said to run too, since nobody knows
// yet what it will get.
func Foresee(w Workspace, pl *plan.Plan, isolated bool, o Options) (*Forecast, error) {
	k := &kernel{w: w, o: o, kinds: worker.Kinds(), tools: map[string]string{}}
	if !isolated {
		k.where = "copy"
	}
	if err := k.present(pl); err != nil {
		return nil, err
	}
	out := &Forecast{Plan: pl, Steps: make([]StepForecast, len(pl.Steps))}
	for i := range pl.Steps {
		s, f := &pl.Steps[i], &out.Steps[i]
		for _, e := range s.After {
			if out.Steps[e.Step].Outcome != UpToDate {
				f.Reasons = append(f.Reasons, "needs "+pl.Steps[e.Step].ID)
			}
		}
		var asks []string
		for _, l := range s.Later {
			asks = append(asks, l.What)
		}
		if asks != nil {
			f.Reasons = append(f.Reasons, "asks for "+strings.Join(asks, ", "))
		}
		if len(f.Reasons) == 0 {
			d, err := k.decide(i)
			if m, ok := err.(*stepError); ok {
				f.Outcome, f.Runs, f.Reasons = Failed, true, []string{m.reason}
				continue
			}
			if err != nil {
				return nil, err
			}
			if d.known != nil && d.stands {
				f.Outcome = UpToDate
				k.steps[i].res = &result{step: i, outcome: UpToDate, changes: d.known.changes}
				continue
			}
			f.Reasons = d.why
			if d.known != nil {
				f.Outcome = Cached
			}
		}
		if f.Outcome == "" {
			f.Outcome, f.Runs = Ran, true
		}
		if s.Criterion != "" {
			continue
		}
		if s.Outputs == nil {
			out.Opaque = true
		} else {
			for _, p := range s.Outputs.Patterns {
				out.Changes = append(out.Changes, plan.Shown(p))
			}
		}
	}
	slices.Sort(out.Changes)
	out.Changes = slices.Compact(out.Changes)
	return out, nil
}
