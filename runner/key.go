package runner

import (
	"encoding/binary"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/flyingrobots/jitos/compiler/plan"
	"github.com/flyingrobots/jitos/runner/worker"
	"github.com/flyingrobots/jitos/sws"
	"github.com/flyingrobots/jitos/warp/cas"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// input is one input of a step as it saw it: a path, or a wildcard with the digest of what it stands for.
type input struct {
	path  string
	entry sws.Entry // for a wildcard: Kind Other, Digest of its listing
	list  *listing  // wildcards only
	late  bool
}

func (in input) kind() string {
	if in.list != nil {
		return "glob"
	}
	return typeOf(in.entry.Kind)
}

// contentDigest is what identifies the content of an entry: of a link, its target.
func contentDigest(e sws.Entry) cas.Digest {
	if e.Kind == sws.Link {
		return cas.Sum([]byte(e.Target))
	}
	return e.Digest
}

// field is one thing that a key depends on besides the inputs, by the name that a person knows it by.
type field struct {
	Name  string `cbor:"name"`
	Value string `cbor:"value"`
}

// action lists everything that the result of a step depends on but its inputs: the same list decides and explains.
func (k *kernel) action(s *plan.Step) ([]field, error) {
	kind := k.kinds[worker.KindOf(s.Command)]
	out := []field{
		{"worker", kind.Name + " " + kind.Version},
		{"platform", runtime.GOOS + "/" + runtime.GOARCH},
	}
	if s.Command.Argv != nil {
		out = append(out, field{"exec", join(s.Command.Argv)})
	} else {
		out = append(out, field{"run", s.Command.Script}, field{"shell", join(s.Command.Shell)})
	}
	if s.Command.Dir != "." {
		out = append(out, field{"dir", s.Command.Dir})
	}
	for _, v := range s.Command.Env {
		out = append(out, field{"env " + v.Name, v.Value})
	}
	for _, name := range s.Allow.Env {
		if v, ok := k.o.Env(name); ok {
			out = append(out, field{"env " + name, v})
		}
	}
	if s.Allow.Network {
		out = append(out, field{"allow network", "true"})
	}
	for _, p := range s.Allow.ReadOnly {
		out = append(out, field{"allow ro " + p, "true"})
	}
	for _, p := range s.Allow.Write {
		out = append(out, field{"allow rw " + p, "true"})
	}
	for _, c := range s.Caches {
		out = append(out, field{"cache " + c.Env, c.Name})
	}
	if s.Outputs != nil {
		out = append(out, field{"outputs", join(s.Outputs.Patterns)})
	}
	if s.DepsFile != "" {
		out = append(out, field{"deps_file", s.DepsFile})
	}
	tools := s.Tools
	if s.Command.Argv != nil {
		tools = append([]string{s.Command.Argv[0]}, tools...)
	} else if len(s.Command.Shell) > 0 {
		tools = append([]string{s.Command.Shell[0]}, tools...)
	}
	for n, t := range tools {
		if slices.Contains(tools[:n], t) {
			continue
		}
		id, err := k.tool(t, s.Command.Dir)
		if err != nil {
			return nil, err
		}
		if id != "" {
			out = append(out, field{"tool " + t, id})
		}
	}
	if k.where != "" { // the path of the copy backend differs, and commands may print or store it
		out = append(out, field{"isolation", k.where})
	}
	return out, nil
}

// tool is the identity of a program: path, size and mtime. A program of the workspace is "": it is an input. One
// that is missing is an error of the step that names it, not of the key.
func (k *kernel) tool(name, dir string) (string, error) {
	if strings.Contains(name, "/") && !path.IsAbs(name) {
		return "", nil
	}
	k.toolsMu.Lock()
	defer k.toolsMu.Unlock()
	if id, ok := k.tools[name]; ok {
		return id, nil
	}
	id := "missing"
	if p, ok := k.o.LookPath(name); ok {
		size, mtime, err := k.o.StatTool(p)
		if err != nil {
			return "", fmt.Errorf("program %s: %w", p, err)
		}
		id = fmt.Sprintf("%s %d %d", p, size, mtime)
	}
	k.tools[name] = id
	return id, nil
}

func join(ss []string) string { return strings.Join(ss, "\x00") }

// key hashes an action and its inputs. Late inputs are no part of it: they are compared one by one with what the steps
// of the same key read.
func key(action []field, inputs []input) cas.Digest {
	h := blake3.New()
	var n [8]byte
	put := func(s string) {
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.WriteString(s)
	}
	put("jitos/key/v1")
	for _, f := range action {
		put(f.Name)
		put(f.Value)
	}
	put("inputs")
	for _, in := range inputs {
		put(in.path)
		put(in.kind())
		binary.LittleEndian.PutUint64(n[:], uint64(in.entry.Mode))
		h.Write(n[:])
		d := contentDigest(in.entry)
		h.Write(d[:])
	}
	var out cas.Digest
	h.Sum(out[:0])
	return out
}

// inputs resolves the declared inputs of a step in the view of what it is over. needed holds every step that comes
// before it, over or not.
func (k *kernel) inputs(i int, below bits) ([]input, error) {
	s := &k.plan.Steps[i]
	if s.Inputs == nil {
		if s.Outputs == nil {
			return nil, nil
		}
		l, err := k.files.list("**", below, k.notOutputsOfOthers(i))
		return []input{{path: "**", entry: sws.Entry{Kind: sws.Other, Digest: l.digest}, list: &l}}, err
	}
	var out []input
	add := func(p string) error {
		if !literal(p) || strings.HasSuffix(p, "/") {
			l, err := k.files.list(p, below, nil)
			out = append(out, input{path: p, entry: sws.Entry{Kind: sws.Other, Digest: l.digest}, list: &l})
			return err
		}
		e, err := k.files.entry(p, below)
		if err != nil {
			return err
		}
		switch e.Kind {
		case sws.Absent:
			return &MissingInputError{Path: p}
		case sws.Dir:
			l, err := k.files.list(p+"/", below, nil)
			out = append(out, input{path: p + "/", entry: sws.Entry{Kind: sws.Other, Digest: l.digest}, list: &l})
			return err
		}
		out = append(out, input{path: p, entry: e})
		return nil
	}
	for _, p := range s.Inputs.Patterns {
		if err := add(p); err != nil {
			return nil, err
		}
	}
	for _, from := range s.Inputs.Steps {
		for _, c := range k.produced(from) {
			if c.After.Kind == sws.File || c.After.Kind == sws.Link {
				out = append(out, input{path: c.Path, entry: c.After})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b input) int { return strings.Compare(a.path, b.path) })
	return slices.CompactFunc(out, func(a, b input) bool { return a.path == b.path }), nil
}

// notOutputsOfOthers narrows "every file that is not ignored" to what is not an output of step i or of a step that it
// does not need.
func (k *kernel) notOutputsOfOthers(i int) func(string) bool {
	mine := map[string]bool{}
	for j := range k.needed(i).all() {
		mine[k.plan.Steps[j].Task] = true
	}
	delete(mine, k.plan.Steps[i].Task)
	not := newOutputs(k.plan.Outputs, func(task string) bool { return mine[task] })
	return func(p string) bool { return !not.covers(p) }
}

// late resolves late inputs, which may have vanished since.
func (k *kernel) late(paths []string, below bits) ([]input, error) {
	out := make([]input, 0, len(paths))
	for _, p := range paths {
		e, err := k.files.entry(p, below)
		if err != nil {
			return nil, err
		}
		out = append(out, input{path: p, entry: e, late: true})
	}
	return out, nil
}

func encodeAction(fields []field) ([]byte, error) { return cbor.Encode(fields) }
