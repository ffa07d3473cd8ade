package diag

import (
	"strings"

	"github.com/agext/levenshtein"
)

// Suggest returns the candidate that name was most likely meant to be, if one is near enough to say so. Case and
// the choice between - and _ do not count as differences; nearest is the candidate that is called name in a namespace, as
// golang.test for test. Of equally near candidates the first by name wins.
func Suggest(name string, candidates []string) (string, bool) {
	limit := min(max((len(name)+2)/3, 1), 3)
	best, found := "", false
	for _, c := range candidates {
		if strings.HasSuffix(c, "."+name) || strings.HasSuffix(c, "::"+name) {
			if limit > 0 || c < best {
				best, found, limit = c, name != "", 0
			}
			continue
		}
		if d := len(c) - len(name); d > limit || -d > limit { // the distance is at least that
			continue
		}
		d := levenshtein.Distance(fold(name), fold(c), nil)
		if d > limit || d >= len(name) {
			continue
		}
		if d < limit || !found || c < best {
			best, found, limit = c, true, d
		}
	}
	return best, found
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
