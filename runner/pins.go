package runner

import (
	"maps"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
)

// Pin is what stood at a path when a plan was made.
type Pin struct {
	Path  string `cbor:"path"`
	State []byte `cbor:"state"` // identifies kind, mode and content
}

// Pins are the files of the workspace that the steps of a plan read and no task makes, by path. Steps that declare
// neither inputs nor outputs pin nothing: they run whatever the files are.
func Pins(w Workspace, pl *plan.Plan) ([]Pin, error) {
	f := newFiles(w.Base, w.Ignore, pl.Outputs)
	found := map[string]sws.Entry{}
	add := func(p string) (err error) {
		if !f.outputs.covers(p) {
			found[p], err = f.entry(p, nil)
		}
		return err
	}
	for i := range pl.Steps {
		s := &pl.Steps[i]
		patterns := []string{restOf}
		switch {
		case s.Inputs != nil:
			patterns = s.Inputs.Patterns
		case s.Outputs == nil:
			continue
		}
		for _, p := range patterns {
			if literal(p) && !strings.HasSuffix(p, "/") {
				if err := add(p); err != nil {
					return nil, err
				}
				if found[p].Kind != sws.Dir {
					continue
				}
				delete(found, p)
				p += "/"
			}
			l, err := f.list(p, nil)
			if err != nil {
				return nil, err
			}
			for _, p := range l.paths {
				if err := add(p); err != nil {
					return nil, err
				}
			}
		}
	}
	var out []Pin
	for _, p := range slices.Sorted(maps.Keys(found)) {
		n, err := artifactOf(p, found[p])
		if err != nil {
			return nil, err
		}
		id := n.ID()
		out = append(out, Pin{textPath(p), id[:]})
	}
	return out, nil
}

// Moved are the paths at which two lists of pins differ, each with what became of it.
func Moved(was, now []Pin) (out []string) {
	before := map[string]string{}
	for _, p := range was {
		before[p.Path] = string(p.State)
	}
	for _, p := range now {
		state, known := before[p.Path]
		switch {
		case !known:
			out = append(out, p.Path+" is new")
		case state != string(p.State):
			out = append(out, p.Path+" changed")
		}
		delete(before, p.Path)
	}
	for _, p := range slices.Sorted(maps.Keys(before)) {
		out = append(out, p+" is read no more")
	}
	return out
}
