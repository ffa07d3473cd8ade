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
	if text := strings.TrimSpace(string(b)); strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") {
		if err := json.Unmarshal(b, &raw); err != nil {
			return nil, fmt.Errorf("not a JSON list of paths: %w", err)
		}
	} else {
		var err error
		if raw, err = depWords(string(b)); err != nil {
			return nil, err
		}
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

// depWords returns the prerequisites of every rule of a depfile. A line that is no rule is an error: what it should have
// named would be no input.
func depWords(s string) ([]string, error) {
	var out []string
	var word strings.Builder
	target, line, first := true, 1, "" // left of the colon; the first word there
	flush := func() {
		switch w := word.String(); {
		case w == "":
		case !target:
			out = append(out, w)
		case first == "":
			first = w
		}
		word.Reset()
	}
	end := func() error {
		flush()
		if target && first != "" {
			return fmt.Errorf("line %d: there is no colon after the target %q: write \"target: path path\", or a JSON list of paths", line, first)
		}
		target, first = true, ""
		line++
		return nil
	}
	for i := 0; i < len(s); i++ {
		c, next := s[i], byte(' ')
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch {
		case c == '\\' && next == '\r' && i+2 < len(s) && s[i+2] == '\n':
			flush()
			line++
			i += 2
		case c == '\\' && next == '\n':
			flush()
			line++
			i++
		case c == '#' && target && first == "" && word.Len() == 0: // a comment
			for i+1 < len(s) && s[i+1] != '\n' {
				i++
			}
		case c == 0:
			return nil, fmt.Errorf("line %d: it is no text", line)
		case c == '\\' && (next == ' ' || next == '#' || next == '\\' || next == ':'):
			word.WriteByte(next)
			i++
		case c == '$' && next == '$':
			word.WriteByte('$')
			i++
		case c == '\n':
			if err := end(); err != nil {
				return nil, err
			}
		case c == ' ' || c == '\t' || c == '\r':
			flush()
		case c == ':' && target && (next == ' ' || next == '\t' || next == '\n' || next == '\r' || next == '\\' || i+1 == len(s)):
			word.Reset()
			target = false
		default:
			word.WriteByte(c)
		}
	}
	return out, end()
}
