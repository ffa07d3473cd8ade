package runner

import (
	"errors"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner/worker"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// Forecast is what a run of a plan would do, as far as that can be known without running anything.
type Forecast struct {
	Plan    *plan.Plan
	Steps   []StepForecast // one for each step of the plan
	Changes []string       // declared outputs of the steps that are not up to date, and outputs that nobody declares any more
	Opaque  bool           // a step that will run does not say what it writes
	// Results are those of the steps that need not run: with them, more of the plan may be known.
	Results map[string]string
}

// StepForecast is what would become of one step.
type StepForecast struct {
	Runs    bool
	Outcome string   // UpToDate, Cached, Ran or Unplanned
	Reasons []string // why it is not up to date
	Before  string   // how it failed when it ran like this, in a run that ended well by another way; "" if it did not
}

// Foresee looks at every step in plan order: what a step that will run feeds is said to run too, since nobody knows
// yet what it will get.
func Foresee(w Workspace, pl *plan.Plan, isolated bool, o Options) (*Forecast, error) {
	k := &kernel{w: w, o: o, kinds: worker.Kinds(), tools: map[string]string{}, results: map[string]string{}}
	if !isolated {
		k.where = "copy"
	}
	if err := k.present(pl); err != nil {
		return nil, err
	}
	out := &Forecast{Plan: k.plan, Steps: make([]StepForecast, len(pl.Steps)), Results: k.results}
	for i := range pl.Steps {
		s, f := &k.plan.Steps[i], &out.Steps[i]
		if unknown := slices.DeleteFunc(slices.Clone(s.Waits), func(id string) bool { _, known := k.results[id]; return known }); len(unknown) > 0 {
			for _, id := range unknown {
				f.Reasons = append(f.Reasons, "waits for the result of "+id)
			}
			f.Runs, f.Outcome = true, Ran
		}
		if s.Placeholder() {
			f.Runs, f.Outcome, out.Opaque = true, Unplanned, true
			continue
		}
		for _, e := range s.After {
			if out.Steps[e.Step].Outcome != UpToDate && f.Outcome == "" {
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
			if k.fill(i); k.steps[i].unfit != nil {
				f.Outcome, f.Runs, f.Reasons = Failed, true, []string{k.steps[i].unfit.Error()}
				continue
			}
			d, err := k.decide(i)
			if m, ok := err.(*stepError); ok {
				f.Outcome, f.Runs, f.Reasons = Failed, true, []string{m.reason}
				continue
			}
			if err != nil {
				return nil, err
			}
			if d.known != nil && s.Result.Of != "" {
				k.results[s.ID] = string(d.known.data.Result)
			}
			if d.known != nil && d.stands {
				f.Outcome = UpToDate
				k.steps[i].res = &result{step: i, outcome: UpToDate, changes: d.known.changes}
				continue
			}
			f.Reasons = d.why
			if d.known != nil {
				f.Outcome = Cached
			} else if f.Before, err = k.failedBefore(d.key); err != nil {
				return nil, err
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
	for _, p := range k.gone {
		out.Changes = append(out.Changes, plan.Shown(p))
	}
	slices.Sort(out.Changes)
	out.Changes = slices.Compact(out.Changes)
	return out, nil
}

// failedBefore tells how a step with this key failed in a run that ended well all the same, by another way.
func (k *kernel) failedBefore(key cas.Digest) (string, error) {
	for id := range k.lookup.Find("step", key[:]) {
		for _, e := range k.lookup.In(id, "attempted") {
			var way struct {
				Run int `cbor:"run"`
				N   int `cbor:"n"`
			}
			var why struct {
				Reason string `cbor:"reason"`
			}
			candidate, _ := k.lookup.Node(e.From)
			if err := errors.Join(cbor.Unmarshal(candidate.Data, &way), cbor.Unmarshal(e.Data, &why)); err != nil {
				return "", err
			}
			for range k.lookup.In(nodeOf("run", map[string]any{"n": way.Run}).ID(), "collapsed-into") {
				return why.Reason, nil
			}
		}
	}
	return "", nil
}

// FellBack says that some run went another way than the first.
func FellBack(system warp.Graph) bool {
	for _, n := range system.Nodes("candidate") {
		var c struct {
			Run int `cbor:"run"`
			N   int `cbor:"n"`
		}
		if cbor.Unmarshal(n.Data, &c) == nil && c.N > 0 {
			return true
		}
	}
	return false
}
