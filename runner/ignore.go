package runner

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	gitignore "github.com/sabhiram/go-gitignore"

	"github.com/flyingrobots/jitos/sws"
)

// Ignore decides which paths a wildcard never enters: .git and .jitos, what the globs of jitos { ignore } match, and
// what the .gitignore files of the workspace say. It reads them through a base, so that a change to one of them is a
// change of what the run looked at. Safe for concurrent use.
type Ignore struct {
	root string
	base *sws.Base
	own  *gitignore.GitIgnore

	mu    sync.Mutex
	byDir map[string]*gitignore.GitIgnore // nil: the directory has none
}

// NewIgnore returns the rules of a workspace; globs are those of jitos { ignore }.
func NewIgnore(root string, base *sws.Base, globs []string) *Ignore {
	return &Ignore{root: root, base: base, own: gitignore.CompileIgnoreLines(globs...), byDir: map[string]*gitignore.GitIgnore{}}
}

// Match says whether a path is ignored by itself; the caller asks for its parents before. dir says whether it is a
// directory.
func (g *Ignore) Match(p string, dir bool) bool {
	if p == ".git" || p == ".jitos" || strings.HasSuffix(p, "/.git") || strings.HasSuffix(p, "/.jitos") {
		return true
	}
	if matches(g.own, p, dir) == ignored {
		return true
	}
	// the deepest file that has an opinion decides, as in git
	for d := path.Dir(p); ; d = path.Dir(d) {
		rel := p
		if d != "." {
			rel = p[len(d)+1:]
		}
		switch matches(g.file(d), rel, dir) {
		case ignored:
			return true
		case kept:
			return false
		}
		if d == "." {
			return false
		}
	}
}

// Under says whether a path or one of its parents is ignored.
func (g *Ignore) Under(p string, dir bool) bool {
	for i := 0; i < len(p); i++ {
		if p[i] == '/' && g.Match(p[:i], true) {
			return true
		}
	}
	return g.Match(p, dir)
}

type verdict int

const (
	silent verdict = iota
	ignored
	kept
)

func matches(g *gitignore.GitIgnore, rel string, dir bool) verdict {
	if g == nil {
		return silent
	}
	if dir {
		rel += "/"
	}
	_, by := g.MatchesPathHow(rel)
	switch {
	case by == nil:
		return silent
	case by.Negate:
		return kept
	}
	return ignored
}

func (g *Ignore) file(dir string) *gitignore.GitIgnore {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rules, seen := g.byDir[dir]; seen {
		return rules
	}
	var rules *gitignore.GitIgnore
	p := path.Join(dir, ".gitignore")
	if fp, err := g.base.Stat(p); err == nil && fp.Kind == sws.File {
		if b, err := os.ReadFile(filepath.Join(g.root, filepath.FromSlash(p))); err == nil {
			rules = gitignore.CompileIgnoreLines(strings.Split(string(b), "\n")...)
		}
	}
	g.byDir[dir] = rules
	return rules
}
