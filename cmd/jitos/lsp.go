package main

import (
	"context"
	"io/fs"

	"github.com/flyingrobots/jitos/cmd/internal/app"
	"github.com/flyingrobots/jitos/cmd/internal/lsp"
	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/lang/diag"
)

// lspCmd accepts --stdio because editors like to give it; there is no other way.
type lspCmd struct {
	Stdio bool `hidden:""`
}

func (c *lspCmd) run(ctx context.Context, s *session) error {
	open := map[string]*app.Workspace{}
	defer func() {
		for _, w := range open { // order: each alone
			w.Close()
		}
	}()
	draft := func(dir string, afresh bool, load func(fsys, std fs.FS) (*lang.Module, diag.List), look func(*lang.Module, compiler.Options, diag.List)) error {
		w := open[dir]
		if w == nil {
			var err error
			if w, err = app.Open(app.Options{Dir: dir, Here: true}); err != nil {
				return err
			}
			open[dir] = w
		}
		return w.Draft(afresh, load, look)
	}
	return lsp.Serve(ctx, s.stdin, s.out, lsp.Options{Draft: draft, Version: app.Version})
}
