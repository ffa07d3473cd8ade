package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What ordinary tools need of the places that masks cover, read-only.

// toolchains returns the entries of PATH that a mask covers, each with the toolchain it belongs to.
func toolchains(t *tree, path string) []Bind {
	var out []Bind
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		dir = filepath.Clean(dir)
		at, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue // nothing there
		}
		for _, need := range belongs(at, t.home) {
			out = t.give(out, need, need)
		}
		if dir != at {
			out = t.give(out, at, dir)
		}
	}
	return out
}

// belongs returns what a directory of programs needs besides itself. Never a home, or what holds more than tools.
func belongs(dir, home string) []string {
	parent := filepath.Dir(dir)
	switch name := filepath.Base(dir); {
	case name != "bin" && name != "sbin" && name != "shims":
	case filepath.Base(parent) == ".cargo":
		return []string{dir, filepath.Join(filepath.Dir(parent), ".rustup")} // .cargo has credentials
	case parent == home, filepath.Base(parent) == ".local", filepath.Base(parent) == ".config", filepath.Base(parent) == "go":
	case slices.Contains(masked[:], parent), slices.Contains(masked[:], filepath.Dir(parent)) && !strings.HasPrefix(filepath.Base(parent), "."):
		// /home/somebody/bin, /root/bin: a home or a mask
	default:
		return []string{parent}
	}
	return []string{dir}
}

// give adds a read-only bind of from at to, if a mask covers it, it exists, and nothing in the list shows it.
func (t *tree) give(list []Bind, from, to string) []Bind {
	if m := t.mask(to); m == nil || m.path == to || within(to, t.workspace) || within(t.workspace, to) {
		return list
	}
	if _, err := os.Stat(from); err != nil {
		return list
	}
	for _, b := range list {
		if within(to, b.To) {
			return list
		}
	}
	return append(list, Bind{From: from, To: to})
}

// machine returns what every command needs: where resolv.conf leads to, and the git directory of a repository that
// encloses the workspace or that the workspace is a work tree of.
func (t *tree) machine() []Bind {
	var out []Bind
	const resolv = "/etc/resolv.conf"
	if at, err := filepath.EvalSymlinks(resolv); err == nil {
		out = t.give(out, at, at)
		if to, err := os.Readlink(resolv); err == nil {
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(resolv), to)
			}
			out = t.give(out, at, to)
		}
	}
	if git := t.gitDir(); git != "" {
		out = t.give(out, git, git)
		if st, err := os.Lstat(git); err == nil && st.Mode().IsRegular() {
			out = t.worktree(out, filepath.Dir(git), git)
		}
	}
	return out
}

// gitDir returns the .git of the work tree that the workspace is or lies in; "" if none.
func (t *tree) gitDir() string {
	for dir := t.workspace; ; dir = filepath.Dir(dir) {
		git := filepath.Join(dir, ".git")
		if _, err := os.Lstat(git); err == nil {
			return git
		}
		if dir == "/" {
			return ""
		}
	}
}

// worktree gives the repository that a .git file names, if the file's directory there names the file: anything can
// be written into a file of the workspace.
func (t *tree) worktree(out []Bind, dir, file string) []Bind {
	b, err := os.ReadFile(file)
	to, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "gitdir: ")
	if err != nil || !ok {
		return out
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(dir, to)
	}
	back, err := os.ReadFile(filepath.Join(to, "gitdir"))
	if err != nil || strings.TrimSpace(string(back)) != file {
		return out
	}
	common, err := os.ReadFile(filepath.Join(to, "commondir"))
	if err != nil {
		return out
	}
	repo := strings.TrimSpace(string(common))
	if !filepath.IsAbs(repo) {
		repo = filepath.Join(to, repo)
	}
	repo = real(repo)
	if filepath.Base(repo) != ".git" && !strings.HasSuffix(repo, ".git") {
		return out
	}
	return t.give(t.give(out, repo, repo), real(to), real(to))
}
