package runner

import (
	"encoding/binary"
	"fmt"
	"path"
	"path/filepath"
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
	if s.Command.Stdin != "" {
		out = append(out, field{"stdin", s.Command.Stdin})
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
	if s.Allow.Containers {
		out = append(out, field{"allow containers", "not contained"})
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
	if s.Result.Of != "" {
		out = append(out, field{"result", strings.TrimSuffix(string(s.Result.Of)+":"+s.Result.Path, ":")})
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
		id, err := k.tool(t, s)
		if err != nil {
			return nil, err
		}
		if id != "" {
			out = append(out, field{"tool " + t, id})
		}
	}
	for _, g := range s.Secrets {
		if g.Env != "" {
			out = append(out, field{"secret " + g.Env, g.Shown})
		}
	}
	if m := k.mask.Load(); m != nil { // a new token is no reason to build again, and the fields are kept
		for i := range out {
			out[i].Value = m.Text(out[i].Value)
		}
	}
	if k.where != "" { // the path of the copy backend differs, and commands may print or store it
		out = append(out, field{"isolation", k.where})
	}
	return out, nil
}

// tool is the identity of a program: path, size and mtime. It is looked up as the step will: along its own PATH if it
// declares one. A program of the workspace is "": it is an input. One that is missing is told when the step runs.
func (k *kernel) tool(name string, s *plan.Step) (string, error) {
	if strings.Contains(name, "/") && !path.IsAbs(name) {
		return "", nil
	}
	own, along := "", false
	for _, v := range s.Command.Env {
		if v.Name == "PATH" {
			own, along = v.Value, true
		}
	}
	k.toolsMu.Lock()
	defer k.toolsMu.Unlock()
	memo := name + "\x00" + own
	if id, ok := k.tools[memo]; ok {
		return id, nil
	}
	id := "missing"
	if along && !path.IsAbs(name) {
		for _, dir := range filepath.SplitList(own) {
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(k.w.Root, s.Command.Dir, dir)
			}
			p := filepath.Join(dir, name)
			if size, mtime, err := k.o.StatTool(p); err == nil {
				id = fmt.Sprintf("%s %d %d", p, size, mtime)
				break
			}
		}
	} else if p, ok := k.o.LookPath(name); ok {
		size, mtime, err := k.o.StatTool(p)
		if err != nil {
			return "", fmt.Errorf("program %s: %w", p, err)
		}
		id = fmt.Sprintf("%s %d %d", p, size, mtime)
	}
	k.tools[memo] = id
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

// inputs resolves the declared inputs of step i in the view of what it is over. A link brings what it leads to.
func (k *kernel) inputs(i int, below bits) ([]input, error) {
	s := &k.plan.Steps[i]
	var out []input
	list := func(pattern string) error {
		l, err := k.files.list(pattern, below)
		out = append(out, input{path: pattern, entry: sws.Entry{Kind: sws.Other, Digest: l.digest}, list: &l})
		return err
	}
	add := func(p string) error {
		e, err := k.files.entry(p, below)
		if err != nil {
			return err
		}
		switch e.Kind {
		case sws.Absent:
			return &MissingInputError{Path: p}
		case sws.Dir:
			return list(plan.Pattern(p) + "/")
		}
		out = append(out, input{path: p, entry: e})
		if e.Kind != sws.Link {
			return nil
		}
		to, e, err := k.files.follow(p, e, below)
		switch {
		case err != nil:
			return err
		case e.Kind == sws.Dir:
			return list(plan.Pattern(to) + "/")
		case e.Kind == sws.File:
			out = append(out, input{path: to, entry: e})
		}
		return nil
	}
	made := func(by int) { // by a step that comes before
		for _, c := range k.produced(by) {
			if c.After.Kind == sws.File || c.After.Kind == sws.Link {
				out = append(out, input{path: c.Path, entry: c.After})
			}
		}
	}
	if s.Inputs == nil && s.Outputs == nil {
		return nil, nil
	}
	if s.Inputs == nil { // everything, but for the outputs of what it does not need
		if err := list(restOf); err != nil {
			return nil, err
		}
		for j := range k.needed(i).all() {
			made(j)
		}
	} else {
		for _, p := range s.Inputs.Patterns {
			var err error
			if name, ok := plan.Path(p); ok && !strings.HasSuffix(p, "/") {
				err = add(name)
			} else {
				err = list(p)
			}
			if err != nil {
				return nil, err
			}
		}
		for _, from := range s.Inputs.Steps {
			made(from)
		}
	}
	if own := ownProgram(s); own != "" {
		if e, err := k.files.entry(own, below); err != nil {
			return nil, err
		} else if e.Kind != sws.Absent { // a missing one is told when it is run
			if err := add(own); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(out, func(a, b input) int { return strings.Compare(a.path, b.path) })
	return slices.CompactFunc(out, func(a, b input) bool { return a.path == b.path }), nil
}

// ownProgram is the program of the workspace that a step runs; "" where it runs none.
func ownProgram(s *plan.Step) string {
	if s.Command.Argv == nil || path.IsAbs(s.Command.Argv[0]) || !strings.Contains(s.Command.Argv[0], "/") {
		return ""
	}
	p := path.Join(s.Command.Dir, s.Command.Argv[0])
	if p == ".." || strings.HasPrefix(p, "../") {
		return ""
	}
	return p
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
		if e.Kind == sws.Link {
			to, e, err := k.files.follow(p, e, below)
			if err != nil {
				return nil, err
			}
			if e.Kind == sws.File && !slices.Contains(paths, to) {
				out = append(out, input{path: to, entry: e, late: true})
			}
		}
	}
	return out, nil
}

func encodeAction(fields []field) ([]byte, error) { return cbor.Encode(fields) }
