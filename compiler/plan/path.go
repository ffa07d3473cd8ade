package plan

import "strings"

// Path is the path that a pattern names, if it names one: there is no wildcard in it but such as a backslash has made plain.
// The slash of a directory as a whole stays.
func Path(pattern string) (path string, ok bool) {
	if !strings.ContainsAny(pattern, `*?[{\`) {
		return pattern, true
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*', '?', '[', '{':
			return "", false
		case '\\':
			if i++; i == len(pattern) {
				return "", false
			}
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), true
}

// Pattern is the pattern that names a path, whatever characters that has.
func Pattern(path string) string {
	if !strings.ContainsAny(path, Wildcards) {
		return path
	}
	var b strings.Builder
	for i := range len(path) {
		if strings.IndexByte(Wildcards, path[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// Wildcards are the characters that mean something in a pattern.
const Wildcards = `*?[{}\`

// Shown is a pattern as people are told of it: the path, if it names one.
func Shown(pattern string) string {
	if p, ok := Path(pattern); ok {
		return p
	}
	return pattern
}
