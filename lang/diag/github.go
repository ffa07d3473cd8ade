package diag

import (
	"fmt"
	"strings"
)

// GitHub is l, sorted, as workflow commands: a line each, which GitHub shows beside the line of the file. path turns a
// file of a range into one relative to the repository. At most limit are told, as GitHub shows only some of many.
func GitHub(l List, limit int, path func(file string) string) string {
	var b strings.Builder
	l = l.Sorted()
	for _, d := range l[:min(len(l), limit)] {
		b.WriteString("::" + strings.ToLower(d.Severity.String()) + " ")
		if !d.Subject.IsZero() {
			b.WriteString("file=" + property(path(d.Subject.File)) + ",")
		}
		if r := d.Subject; r.Start.Line > 0 {
			fmt.Fprintf(&b, "line=%d,col=%d,endLine=%d,", r.Start.Line, r.Start.Column, r.End.Line)
			if r.End.Line == r.Start.Line {
				fmt.Fprintf(&b, "endColumn=%d,", r.End.Column)
			}
		}
		text := d.Summary
		for _, more := range []string{d.Label, d.Detail} {
			if more != "" {
				text += "\n" + more
			}
		}
		for _, r := range d.Related {
			text += fmt.Sprintf("\n%s  %s", r.Range, r.Label)
		}
		b.WriteString("title=" + property(d.Code) + "::" + message.Replace(text) + "\n")
	}
	return b.String()
}

var message = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")

// property is s as the value of a property.
func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(message.Replace(s))
}
