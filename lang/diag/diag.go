// Package diag holds what jitos has to say about a text: diagnostics with a stable code, the tightest
// source range, related places and one suggestion, and the form that people are shown.
//
// It knows neither HCL nor what any code means to the packages that report it. Start with [Diagnostic], then [Printer].
package diag

import (
	"cmp"
	"fmt"
	"slices"
)

// Pos is a place in a file. Line and Column count from 1, Column in grapheme clusters; Byte counts from 0.
// The zero Pos is no place at all.
type Pos struct {
	Line   int `json:"line"`
	Column int `json:"column"`
	Byte   int `json:"byte"`
}

// Range is the text from Start up to, but not including, End. The zero Range stands for "nowhere in particular".
type Range struct {
	File  string `json:"file"`
	Start Pos    `json:"start"`
	End   Pos    `json:"end"`
}

// IsZero reports whether r names no place.
func (r Range) IsZero() bool { return r == Range{} }

// String is file:line:column, the form that editors and terminals turn into a link.
func (r Range) String() string {
	if r.Start.Line == 0 {
		return r.File
	}
	return fmt.Sprintf("%s:%d:%d", r.File, r.Start.Line, r.Start.Column)
}

// Severity tells whether a diagnostic stops what was asked for.
type Severity int

const (
	Error   Severity = iota // the module cannot be used as it is
	Warning                 // it can, but its author should know
)

// String is "Error" or "Warning".
func (s Severity) String() string {
	if s == Warning {
		return "Warning"
	}
	return "Error"
}

// MarshalText is the lower-case name, as `--json` shows it.
func (s Severity) MarshalText() ([]byte, error) {
	if s == Warning {
		return []byte("warning"), nil
	}
	return []byte("error"), nil
}

// Related is another place that a diagnostic is about.
type Related struct {
	Range Range  `json:"range"`
	Label string `json:"label"` // what it is, e.g. "task link"
}

// Diagnostic is one problem, told to the author of a file.
type Diagnostic struct {
	Code     string    `json:"code"` // JT and four digits, stable across releases; see [Explain]
	Severity Severity  `json:"severity"`
	Summary  string    `json:"summary"`          // one line, without a full stop
	Detail   string    `json:"detail,omitempty"` // whole sentences that end with what to do; may have several lines
	Subject  Range     `json:"subject,omitzero"`
	Label    string    `json:"label,omitempty"` // stands after the ^^^^, e.g. "did you mean task.compile?"
	Related  []Related `json:"related,omitempty"`
}

// List is a set of diagnostics. Its order means nothing before [List.Sorted].
type List []Diagnostic

// HasErrors reports whether l holds anything worse than warnings.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sorted returns a copy of l by file, position, code and text, without duplicates: the same problems are the
// same list, whatever order they were found in.
func (l List) Sorted() List {
	out := slices.Clone(l)
	slices.SortFunc(out, compare)
	return slices.CompactFunc(out, func(a, b Diagnostic) bool { return compare(a, b) == 0 })
}

func compare(a, b Diagnostic) int {
	return cmp.Or(
		compareRanges(a.Subject, b.Subject),
		cmp.Compare(a.Code, b.Code),
		cmp.Compare(a.Severity, b.Severity),
		cmp.Compare(a.Summary, b.Summary),
		cmp.Compare(a.Detail, b.Detail),
		cmp.Compare(a.Label, b.Label),
		slices.CompareFunc(a.Related, b.Related, func(x, y Related) int {
			return cmp.Or(compareRanges(x.Range, y.Range), cmp.Compare(x.Label, y.Label))
		}),
	)
}

func compareRanges(a, b Range) int {
	return cmp.Or(
		cmp.Compare(a.File, b.File),
		cmp.Compare(a.Start.Line, b.Start.Line),
		cmp.Compare(a.Start.Column, b.Start.Column),
		cmp.Compare(a.Start.Byte, b.Start.Byte),
		cmp.Compare(a.End.Byte, b.End.Byte),
	)
}

// Err is nil if l has no errors, else a [*ListError] with all of l.
func (l List) Err() error {
	if !l.HasErrors() {
		return nil
	}
	return &ListError{List: l}
}

// ListError carries diagnostics through code that speaks in errors. (Error is taken by the [Severity].)
type ListError struct{ List List }

// Error is the first error's place, summary and code, and how many more there are.
func (e *ListError) Error() string {
	errors := slices.DeleteFunc(e.List.Sorted(), func(d Diagnostic) bool { return d.Severity != Error })
	if len(errors) == 0 {
		return "no errors"
	}
	text := fmt.Sprintf("%s [%s]", errors[0].Summary, errors[0].Code)
	if !errors[0].Subject.IsZero() {
		text = errors[0].Subject.String() + ": " + text
	}
	if n := len(errors) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
