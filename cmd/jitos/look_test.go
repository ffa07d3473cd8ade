package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/screen"
	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner"
)

func TestTargetsReadLikeTheTour(t *testing.T) {
	var out strings.Builder
	require.NoError(t, writeTargets(&out, screen.Style{}, []compiler.Target{
		{Kind: "task", Name: "build", Description: "Build the server", Params: []compiler.Param{{Name: "os", Default: "linux"}}},
		{Kind: "task", Name: "test", Description: "Run the unit tests"},
		{Kind: "task", Name: "image", Description: "Container image", Methods: []string{"docker", "podman"}, Params: []compiler.Param{{Name: "tag", Required: true}}},
		{Kind: "slap", Name: "release", Description: "Ship a tested release", Default: true},
	}, []string{"main.jitos.hcl"}))
	require.Equal(t, `main.jitos.hcl
  build            Build the server                    os=linux
  test             Run the unit tests
  image            Container image (docker | podman)   tag
slaps
  release          Ship a tested release               jitos apply
`, out.String())
}

func forecast() *runner.Forecast {
	none := &plan.Action{}
	return &runner.Forecast{
		Plan: &plan.Plan{
			Target: "release",
			Tree: []plan.Node{{Parent: -1, Task: "release"}, {Parent: 0, Task: "generate"},
				{Parent: 0, Task: "image", Method: "podman"}, {Parent: 2, Task: "podman_build"}},
			Steps: []plan.Step{{ID: "generate", Node: 1, Action: none}, {ID: "podman_build", Node: 3, After: []plan.Edge{{Step: 0}}, Action: none},
				{ID: "smoke", Criterion: "works", Node: 0, After: []plan.Edge{{Step: 1}}, Action: none}},
		},
		Steps: []runner.StepForecast{{Outcome: runner.UpToDate}, {Runs: true, Outcome: runner.Ran, Reasons: []string{"never ran"}},
			{Runs: true, Outcome: runner.Ran, Reasons: []string{"needs podman_build"}}},
		Changes: []string{"bin/server"},
	}
}

func TestForecastShowsWaysAndReasons(t *testing.T) {
	var out strings.Builder
	f := forecast()
	e := estimate(f, []app.Run{{Steps: []app.StepRun{
		{Result: runner.Result{Step: "podman_build", Outcome: runner.Ran, Wall: 3e9}},
		{Result: runner.Result{Step: "smoke", Outcome: runner.Ran, Wall: 1e9}},
	}}}, 2)
	require.NoError(t, writeForecast(&out, screen.Style{Unicode: true}, f, e, false))
	require.Equal(t, `release
  generate          up to date
  image by podman
    podman_build    runs         never ran
  success "works"   runs         needs podman_build
2 steps to run, 1 up to date. About 4 s (critical path podman_build → smoke).
May change  bin/server
`, out.String())
}

func TestEstimateKnowsNothingOfAStepThatNeverRan(t *testing.T) {
	require.Zero(t, estimate(forecast(), nil, 2))
}

func TestLogReadsLikeTheTour(t *testing.T) {
	now := time.Date(2026, 11, 24, 18, 0, 0, 0, time.Local)
	at := func(h, m int) time.Time { return time.Date(2026, 11, 24, h, m, 0, 0, time.Local) }
	runs := []app.Run{
		{N: 12, At: at(14, 20), Target: "release", Status: "done", Ran: 2, Cached: 14, Wall: 16200 * time.Millisecond,
			Changes: []runner.Change{{Path: "a"}, {Path: "b"}, {Path: "c"}}},
		{N: 11, SWS: 11, At: at(14, 2), Target: "build", Status: "conflict"},
		{N: 9, At: at(13, 50), What: "undo", Of: 7, Status: "done", Changes: []runner.Change{{Path: "a"}}},
		{N: 8, At: at(13, 40), Target: "release", Status: "failed", Failed: `success "small"`},
	}
	var plain, colored strings.Builder
	require.NoError(t, writeRuns(&plain, screen.Style{Unicode: true}, runs, nil, now))
	require.Equal(t, `  12   14:20   release     ✓ 3 files           2 ran, 14 cached   16.2s
  11   14:02   build       ✗ conflict          held as sws 11
   9   13:50   undo of 7   ✓ 1 file
   8   13:40   release     ✗ success "small"
`, plain.String())
	require.NoError(t, writeRuns(&colored, screen.Style{Unicode: true, Color: true}, runs, nil, now))
	require.Contains(t, colored.String(), "\x1b[31m✗\x1b[0m conflict")
}

func TestForecastOfManyStepsIsShort(t *testing.T) {
	f := &runner.Forecast{Plan: &plan.Plan{Target: "all", Tree: []plan.Node{{Parent: -1}}}}
	for i := range 1000 {
		f.Plan.Steps = append(f.Plan.Steps, plan.Step{ID: fmt.Sprintf("page[%q]", fmt.Sprint(i)), Action: &plan.Action{Task: "page"}})
		f.Steps = append(f.Steps, runner.StepForecast{Runs: i < 998, Outcome: runner.UpToDate})
		f.Changes = append(f.Changes, fmt.Sprintf("out/%d", i))
		if i < 998 {
			f.Steps[i] = runner.StepForecast{Runs: true, Outcome: runner.Ran, Reasons: []string{"never ran"}}
		}
	}
	var out strings.Builder
	require.NoError(t, writeForecast(&out, screen.Style{Unicode: true}, f, estimated{}, false))
	require.Equal(t, `all
  page (998)   runs   never ran
  2 steps that need not run
998 steps to run, 2 up to date.
May change  out/0, out/1, out/2, out/3, out/4, out/5, out/6, out/7, out/8, out/9 and 990 more
`, out.String())
}
