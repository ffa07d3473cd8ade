package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang/diag"
	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/history"
)

// The exit codes of jitos.
const (
	exitDone        = 0   // done, held as asked, or nothing to do
	exitFailed      = 1   // a step or a criterion failed, or there is no plan
	exitUsage       = 2   // the command line or the workflow is wrong
	exitConflict    = 3   // files changed while they were being made
	exitRefused     = 4   // an assumption, scope, approval or isolation does not hold
	exitDamaged     = 5   // the history or the disk is damaged
	exitBusy        = 75  // another jitos is running here
	exitInterrupted = 130 // Ctrl-C
	exitTerminated  = 143 // SIGTERM
)

// usageError is a command line that means nothing.
type usageError struct {
	err  error
	help string // the command that tells more
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// toldError ends a command whose outcome was shown already.
type toldError struct{ code int }

func (*toldError) Error() string { return "the outcome was shown" }

// exitCode is the exit code of an error. Errors are listed by what they mean for the caller, the first match counts.
func exitCode(err error) int {
	if e, ok := errors.AsType[*toldError](err); ok {
		return e.code
	}
	if e, ok := errors.AsType[*interruptedError](err); ok {
		if e.signal == syscall.SIGTERM {
			return exitTerminated
		}
		return exitInterrupted
	}
	for _, kind := range []struct {
		is   func(error) bool
		code int
	}{
		{is[*app.BusyError], exitBusy},
		{is[*app.DamagedError], exitDamaged},
		{func(err error) bool { return errors.Is(err, history.ErrPoisoned) || errors.Is(err, cas.ErrCorrupt) }, exitDamaged},
		{is[*app.RefusedError], exitRefused},
		{is[*app.MovedError], exitRefused},
		{is[*compiler.RefusedError], exitRefused},
		{is[*compiler.NoPlanError], exitFailed},
		{is[*diag.ListError], exitUsage},
		{is[*app.NoWorkflowError], exitUsage},
		{is[*app.UsageError], exitUsage},
		{is[*usageError], exitUsage},
	} {
		if kind.is(err) {
			return kind.code
		}
	}
	return exitFailed
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// outcomeCode is the exit code of a run. An interrupted one has the code of its signal.
func outcomeCode(ctx context.Context, o *runner.Outcome) int {
	switch o.Status {
	case runner.Done, runner.Nothing, runner.Held:
		return exitDone
	case runner.Conflicted:
		return exitConflict
	case runner.Refused:
		return exitRefused
	case runner.Interrupted:
		if e, ok := errors.AsType[*interruptedError](context.Cause(ctx)); ok {
			return exitCode(e)
		}
		return exitInterrupted
	}
	return exitFailed
}

// interruptedError says that a signal ended the command.
type interruptedError struct{ signal os.Signal }

func (*interruptedError) Error() string { return "interrupted" }

// interruptible ends the context at the first Ctrl-C or SIGTERM, tells so, and the process at the second: slots die
// with it, and the next command cleans up. stop must be called.
func interruptible(ctx context.Context, tell func(string)) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case first := <-signals:
			cancel(&interruptedError{signal: first})
			tell("Stopping: nothing of this run will enter the workspace. Ctrl-C again kills at once.")
		case <-done:
			return
		}
		select {
		case second := <-signals:
			os.Exit(exitCode(&interruptedError{signal: second}))
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}
