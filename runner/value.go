package runner

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/sws"
)

// maxValue is how long a result may be. It stands in the history itself, and is a value in a workflow: what is longer
// belongs into a file.
const maxValue = 64 << 10

// head keeps the beginning of what is written, and a byte more than there may be.
type head struct {
	max int
	b   []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), h.max+1-len(h.b))]...)
	return len(p), nil
}

// writer is h, or nothing at all.
func (h *head) writer() io.Writer {
	if h == nil {
		return nil
	}
	return h
}

// value takes the result of a step that ended well. A file that is not declared as an output exists only for that.
func (k *kernel) value(s *plan.Step, set *sws.Set, layer *sws.Layer, below bits, stdout *head, r *result) error {
	var b []byte
	switch s.Result.Of {
	case "":
		return nil
	case plan.ResultFile:
		p := s.Result.Path
		view := sws.NewView(k.w.Base, append([]*sws.Layer{layer}, k.lower(below)...))
		var err error
		if b, err = view.ReadFile(p); err != nil {
			return failf("its result is the file %s: %s", p, reasonOf(err))
		}
		if s.Outputs != nil && !matchAny(s.Outputs.Patterns, p) {
			if _, err := layer.Keep(func(c sws.Change) bool { return c.Path != p }); err != nil {
				return err
			}
		}
	default:
		b = stdout.b
	}
	if len(b) > maxValue {
		return failf("its result is longer than %d KiB: let it write a file, and what needs it read that", maxValue>>10)
	}
	var err error
	if r.value, err = asText(b); err != nil {
		return err
	}
	if s.Result.Of != plan.ResultFile {
		r.value = strings.TrimRight(r.value, "\n")
	}
	if s.Result.Of == plan.ResultJSON {
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			return failf("its result is not JSON: %s", err)
		}
	}
	r.event.Value = r.value
	return nil
}

func asText(b []byte) (string, error) {
	if !utf8.Valid(b) {
		return "", failf("its result is not text (UTF-8)")
	}
	return string(b), nil
}

// reveals refuses what a step leaves behind if a secret is in it: neither the cache nor the history may have that.
func (k *kernel) reveals(s *plan.Step, layer *sws.Layer, r *result) error {
	mask := k.mask.Load()
	if mask == nil || len(s.Secrets) == 0 {
		return nil
	}
	if what := mask.Find(r.value); what != "" {
		r.value, r.event.Value = "", ""
		return failf("its result has %s in it, which may not be written down", what)
	}
	view := sws.NewView(k.w.Base, []*sws.Layer{layer})
	for _, c := range layer.Changes() {
		what := mask.Find(c.Path + "\x00" + c.After.Target)
		if what == "" && c.After.Kind == sws.File {
			f, err := view.Open(c.Path)
			if err != nil {
				return err
			}
			what, err = mask.Search(f)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
		}
		if what != "" {
			return failf("what it wrote to %s has %s in it, which may not be kept: let it write that outside of the workspace, to a path that `allow` grants", mask.Text(c.Path), what)
		}
	}
	return nil
}
