package sws

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flyingrobots/jitos/sws/sandbox"
)

// Command is what Run runs.
type Command struct {
	Argv  []string // Argv[0] is looked up along PATH of Env if it has no slash
	Env   []string
	Dir   string // relative to the workspace; "" or "." is its root
	Stdin string // what it reads
	// Mkdir are directories that exist when it starts. One that is still empty at the end was never there.
	Mkdir   []string
	Binds   []sandbox.Bind
	Network bool
	Output  io.Writer // stdout and stderr as they come, from one goroutine
	Stdout  io.Writer // see sandbox.Command.Stdout
	Timeout time.Duration
	Grace   time.Duration // from asking the command to end to killing it; 0 means 5 s
	// Small says that little is likely to be written: the layer may lie in memory. A command that wrote too
	// much for that runs once more on the disk; its output comes twice then.
	Small bool
	// Leaf promises that no later command is over this one's layer; then its mount need not be waited for.
	Leaf bool
}

// maxLower is how many layers are mounted at once; the lowest are put together beyond that, flatSize of them at a time.
const (
	maxLower = 200
	flatSize = 128
)

// Run runs a command over the base and layers of earlier commands, the topmost first: those that come later in plan
// order. It gives what the command changed, also if it failed. A *RefusedError says that it made something that cannot
// be part of a change; its layer is nil then, its result is not.
//
// One slot runs one command at a time. ctx ends the command.
func (set *Set) Run(ctx context.Context, slot int, lower []*Layer, c Command) (*Layer, sandbox.Result, error) {
	b, err := set.space.backend(ctx)
	if err != nil {
		return nil, sandbox.Result{}, err
	}
	in := set.disk
	if c.Small && !b.copy {
		in = set.roomFor()
	}
	l, res, err := set.run(ctx, b, in, slot, lower, c)
	if in.memory && ctx.Err() == nil && in.isFull() { // it was not that small
		if l != nil {
			if err := l.Drop(); err != nil {
				return nil, res, err
			}
		}
		return set.run(ctx, b, set.disk, slot, lower, c)
	}
	return l, res, err
}

func (set *Set) run(ctx context.Context, b *backend, in *room, slot int, lower []*Layer, c Command) (*Layer, sandbox.Result, error) {
	l := &Layer{set: set, in: in, n: set.number(), held: true, mountable: !b.copy}
	if err := in.mkdir(l.upper()); err != nil {
		return nil, sandbox.Result{}, err
	}
	v := set.View(lower)
	sc := sandbox.Command{Argv: c.Argv, Env: c.Env, Stdin: c.Stdin, Binds: c.Binds, Network: c.Network, Output: c.Output, Stdout: c.Stdout, Timeout: c.Timeout, Grace: c.Grace}
	var res sandbox.Result
	var err error
	if b.copy {
		res, err = b.trees[slot].run(ctx, b.pool, slot, v, l, c, sc)
	} else {
		res, err = set.overlay(ctx, b.pool, slot, v, l, c, sc)
	}
	if err != nil {
		return nil, res, errors.Join(err, in.dir.removeAll(l.upper()), in.dir.removeAll(l.work()))
	}
	return l, res, nil
}

func (set *Set) overlay(ctx context.Context, pool *sandbox.Pool, slot int, v *View, l *Layer, c Command, sc sandbox.Command) (sandbox.Result, error) {
	var none sandbox.Result
	if err := l.in.mkdir(l.work()); err != nil {
		return none, err
	}
	upper, err := l.in.dir.sub(l.upper())
	if err != nil {
		return none, err
	}
	defer upper.close()
	root, err := v.base.Stat("")
	if err != nil {
		return none, err
	}
	if err := unix.Fchmod(upper.fd, root.Mode); err != nil { // the upper's root is what the command sees
		return none, pathError(l.upper(), err)
	}
	made, err := makeDirs(upper, v, c.Mkdir)
	if err != nil {
		return none, err
	}
	stack, err := set.stack(v)
	if err != nil {
		return none, err
	}
	sc.Dir = filepath.Join(set.space.path, c.Dir)
	sc.Overlay = &sandbox.Overlay{Lower: stack, Hide: []string{Meta}, Upper: l.in.path + "/" + l.upper(), Work: l.in.path + "/" + l.work(), InMemory: l.in.memory}
	// A mount that lingers holds what its command wrote. On a disk that may be the room that somebody needs next.
	sc.Unmount = !c.Leaf || !l.in.memory
	res, err := pool.Run(ctx, slot, sc)
	if err != nil {
		return res, err
	}
	if l.changes, err = scan(upper, v); err != nil {
		return res, err
	}
	return res, l.forgetDirs(upper, made)
}

// makeDirs makes the directories that a command wants to find, where the view has none. It gives those, parents first.
func makeDirs(d dirfd, v *View, want []string) (made []string, err error) {
	at := cursor{dirfd: d, mode: v.dirMode}
	defer at.close()
	for _, dir := range want {
		dir = filepath.Clean(dir)
		if dir == "." {
			continue
		}
		if err := valid(dir); err != nil {
			return nil, err
		}
		for _, p := range append(slices.Collect(parents(dir)), dir) {
			e, _, err := v.find(p)
			if err != nil {
				return nil, err
			}
			if e.Kind != Absent || slices.Contains(made, p) {
				continue // if it is no directory, the command finds out
			}
			fd, name, err := at.parent(p)
			if err == nil {
				err = unix.Mkdirat(fd, name, 0o700)
			}
			if err != nil {
				return nil, fmt.Errorf("make directory %s: %w", Quote(p), err)
			}
			at.shut(p, implied)
			made = append(made, p)
		}
	}
	return made, at.finish()
}

// forgetDirs takes directories that were made for the command, and are still empty, out of the layer.
func (l *Layer) forgetDirs(d dirfd, made []string) error {
	for _, p := range slices.Backward(made) {
		i, ok := l.index(p)
		if !ok || l.changes[i].After.Kind != Dir || len(l.below(p)) > 0 {
			continue
		}
		fd, name, err := d.parent(p)
		if err != nil {
			return err
		}
		err = unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
		unix.Close(fd)
		if err != nil {
			return pathError(p, err)
		}
		l.changes = slices.Delete(l.changes, i, i+1)
	}
	return nil
}

// stack gives the directories to mount for a view, topmost first.
func (set *Set) stack(v *View) ([]string, error) {
	layers := v.layers
	if len(layers) > maxLower {
		var err error
		if layers, err = set.flatten(layers); err != nil {
			return nil, err
		}
	}
	out := make([]string, 0, len(layers)+1)
	for i, l := range layers {
		if len(l.changes) == 0 {
			continue
		}
		p, err := l.mount(&View{v.base, layers[i+1:]})
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return append(out, set.space.path), nil
}

// flatten puts the lowest layers together, a fixed number at a time counted from the bottom, so that the views of one
// run share what was made.
func (set *Set) flatten(layers []*Layer) ([]*Layer, error) {
	var flat []*Layer // lowest first
	rest := layers
	for len(rest)+len(flat) > maxLower && len(rest) >= flatSize {
		part := rest[len(rest)-flatSize:]
		rest = rest[:len(rest)-flatSize]
		f, err := set.flat1(part, &View{set.base, reversed(flat)})
		if err != nil {
			return nil, err
		}
		flat = append(flat, f)
	}
	return append(slices.Clone(rest), reversed(flat)...), nil
}

func reversed(ls []*Layer) []*Layer {
	out := slices.Clone(ls)
	slices.Reverse(out)
	return out
}

func (set *Set) flat1(part []*Layer, under *View) (*Layer, error) {
	var key []byte
	for _, l := range part {
		key = binary.AppendUvarint(key, uint64(l.n))
	}
	set.mu.Lock()
	f := set.flat[string(key)]
	if f == nil {
		f = &Layer{set: set, in: set.disk}
		set.flat[string(key)] = f
	}
	set.mu.Unlock()
	f.mu.Lock() // whoever needs it too waits for the first
	defer f.mu.Unlock()
	if f.held {
		return f, nil
	}
	staged, err := Merge(reversed(part), func(a, b int) bool { return true })
	if err != nil {
		return nil, err
	}
	for i, l := range part {
		if _, err := l.mount(&View{set.base, append(slices.Clone(part[i+1:]), under.layers...)}); err != nil {
			return nil, err
		}
	}
	f.n = set.number()
	changes := make([]Change, len(staged))
	from := make(map[string]*Layer, len(staged))
	for i, s := range staged {
		changes[i] = s.Change
		from[s.Path] = s.from
	}
	if err := f.in.mkdir(f.upper()); err != nil {
		return nil, err
	}
	d, err := f.in.dir.sub(f.upper())
	if err != nil {
		return nil, err
	}
	defer d.close()
	link := func(c Change, fd int, name string) error { return from[c.Path].linkTo(c, fd, name) }
	mode := (&View{set.base, append(slices.Clone(part), under.layers...)}).dirMode
	if err := fill(d, changes, mode, func(i int) bool { return staged[i].Fresh }, link); err != nil {
		return nil, errors.Join(err, f.in.dir.removeAll(f.upper()))
	}
	f.changes, f.held, f.mountable = changes, true, true
	return f, nil
}

// linkTo gives a file of a layer one more name, in another layer: neither is written to any more.
func (l *Layer) linkTo(c Change, fd int, name string) error {
	full := l.upper() + "/" + c.Path
	return l.in.dir.lend(full, func() error {
		at, base, err := l.in.dir.parent(full)
		if err != nil {
			return err
		}
		defer unix.Close(at)
		if err = unix.Linkat(at, base, fd, name, 0); err != unix.EXDEV {
			return pathError(c.Path, err)
		}
		src, err := openLent(at, base)
		if err != nil {
			return pathError(c.Path, err)
		}
		defer unix.Close(src)
		var st unix.Stat_t
		if err = unix.Fstat(src, &st); err == nil {
			err = copyTo(src, &st, c.After.Mode, fd, name)
		}
		return pathError(c.Path, err)
	})
}

// unflatten removes the layers that were made of others. They share inodes with those, which a collapse would have to
// copy.
func (set *Set) unflatten() error {
	set.mu.Lock()
	defer set.mu.Unlock()
	var errs []error
	for _, f := range set.flat { // order: each is independent
		errs = append(errs, f.in.dir.removeAll(f.upper()))
	}
	clear(set.flat)
	return errors.Join(errs...)
}
