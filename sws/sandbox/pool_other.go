//go:build !linux

package sandbox

import "context"

// Pool is not available on this system.
type Pool struct{}

// Main reports false: nothing to become here.
func Main() (handled bool) { return false }

// Probe returns ErrUnavailable.
func Probe(Options, string) error { return ErrUnavailable }

// New returns ErrUnavailable.
func New(Options) (*Pool, error) { return nil, ErrUnavailable }

// Run returns ErrUnavailable.
func (p *Pool) Run(context.Context, int, Command) (Result, error) { return Result{}, ErrUnavailable }

// Close does nothing.
func (p *Pool) Close() error { return nil }
