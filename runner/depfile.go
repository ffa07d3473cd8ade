package runner

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// parseDeps reads the late inputs that a step wrote: a JSON list of paths, or a depfile as gcc -MD writes it (make's
// syntax: targets, a colon, prerequisites; backslash-newline continues, "\ " and "\#" and "$$" are escapes). Paths
// are taken relative to dir, as the command that wrote them ran there; those outside the workspace are left out: they
// are the machine's, and tools name them in the key. The result is in the order of the file, without duplicates.
func parseDeps(b []byte, root, dir string) ([]string, error) {
	var raw []string
	text := strings.TrimSpace(string(b))
	if strings.HasPrefix(text, "[") {
		if err := json.Unmarshal(b, &raw); err != nil {
			return nil, fmt.Errorf("not a JSON list of paths: %w", err)
		}
	} else {
		raw = depWords(text)
	}
	var out []string
	seen := map[string]bool{}
	for _, p := range raw {
		if !path.IsAbs(p) {
			p = path.Join(root, dir, p)
		}
		rel, inside := strings.CutPrefix(path.Clean(p), root+"/")
		if inside && !seen[rel] {
			seen[rel] = true
			out = append(out, rel)
		}
	}
	return out, nil
}

// depWords returns the prerequisites of every rule of a depfile.
func depWords(s string) []string {
	var out []string
	var word strings.Builder
	target := true // left of the colon
	flush := func() {
		if w := word.String(); w != "" && !target {
			out = append(out, w)
		}
		word.Reset()
	}
	for i := 0; i < len(s); i++ {
		c, next := s[i], byte(' ')
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch {
		case c == '\\' && next == '\r' && i+2 < len(s) && s[i+2] == '\n':
			flush()
			i += 2
		case c == '\\' && next == '\n':
			flush()
			i++
		case c == '\\' && (next == ' ' || next == '#' || next == '\\' || next == ':'):
			word.WriteByte(next)
			i++
		case c == '$' && next == '$':
			word.WriteByte('$')
			i++
		case c == '\n':
			flush()
			target = true
		case c == ' ' || c == '\t' || c == '\r':
			flush()
		case c == ':' && target && (next == ' ' || next == '\t' || next == '\n' || next == '\r' || next == '\\' || i+1 == len(s)):
			word.Reset()
			target = false
		default:
			word.WriteByte(c)
		}
	}
	flush()
	return out
}
