package diag

import "strings"

// Replacement is what to write instead of the subject of d, which reads written, where its label says so: "did you mean
// task.compile?", "write [task.a]". ok is false if it does not, or only in outline.
func (d Diagnostic) Replacement(written string) (by string, ok bool) {
	if by, ok = strings.CutPrefix(d.Label, "write "); ok {
		by = strings.TrimSuffix(by, ", without quotes")
		outline := strings.Contains(by, "…") || strings.Contains(by, "NAME") || strings.Contains(by, "KEY") || strings.Contains(by, " or ")
		return by, !outline && !strings.HasPrefix(written, ".")
	}
	if by, ok = strings.CutPrefix(d.Label, "did you mean "); !ok {
		return "", false
	}
	by = strings.TrimSuffix(by, "?")
	if strings.HasPrefix(written, `"`) {
		_, fact, isFact := strings.Cut(by, "::")
		if isFact { // facts("installed")
			by = fact
		}
		return `"` + by + `"`, true
	}
	if from, to := strings.Split(written, "."), strings.Count(by, ".")+1; len(from) > to && !strings.ContainsAny(by+written, `["`) {
		by += "." + strings.Join(from[to:], ".") // what follows the name that was wrong
	}
	return by, true
}
