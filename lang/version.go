package lang

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// AllowsVersion reports whether a constraint such as ">= 0.3, < 2" holds for a version such as "0.3.1". An empty constraint
// allows all versions. The error says what is no constraint or version.
func AllowsVersion(constraint, version string) (bool, error) {
	v, err := parseVersion(version)
	if err != nil {
		return false, err
	}
	allows := true
	for part := range strings.SplitSeq(constraint, ",") {
		part = strings.TrimSpace(part)
		if part == "" && constraint == "" {
			break
		}
		op := part[:len(part)-len(strings.TrimLeft(part, "<>=!~"))]
		than, err := parseVersion(strings.TrimSpace(part[len(op):]))
		if err != nil {
			return false, err
		}
		order := slices.Compare(v, than)
		if len(than) < len(v) {
			order = slices.Compare(v[:len(than)], than) // = 1.2 is any 1.2.x
		}
		switch op {
		case "", "=":
			allows = allows && order == 0
		case "!=":
			allows = allows && order != 0
		case ">":
			allows = allows && order > 0
		case ">=":
			allows = allows && order >= 0
		case "<":
			allows = allows && order < 0
		case "<=":
			allows = allows && order <= 0
		case "~>": // the last number may grow, those before it may not
			allows = allows && order >= 0 && slices.Equal(v[:len(than)-1], than[:len(than)-1])
		default:
			return false, fmt.Errorf("%q is not a comparison of versions", op)
		}
	}
	return allows, nil
}

// parseVersion is a version as its numbers, at most three.
func parseVersion(s string) (out []int, err error) {
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q is not a version", s)
		}
		out = append(out, int(n))
	}
	if len(out) > 3 {
		return nil, fmt.Errorf("%q is not a version", s)
	}
	return out, nil
}
