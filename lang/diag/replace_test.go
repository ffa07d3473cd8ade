package diag_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/lang/diag"
)

func TestReplacement(t *testing.T) {
	tests := map[string]struct{ label, written, want string }{
		"a name":                             {"did you mean task.compile?", "task.compil", "task.compile"},
		"what follows the name stays":        {"did you mean var.image?", "var.imag.tag", "var.image.tag"},
		"a root":                             {"did you mean var?", "vra.image", "var.image"},
		"a word stays in quotes":             {"did you mean cost?", `"cots"`, `"cost"`},
		"a fact in quotes has no namespace":  {"did you mean fact::seen?", `"sen"`, `"seen"`},
		"a fact has one":                     {"did you mean fact::seen?", "fact::sen", "fact::seen"},
		"a member":                           {`did you mean task.page["a.md"]?`, `task.page["a.m"]`, `task.page["a.md"]`},
		"what to write":                      {"write [task.a]", "task.a", "[task.a]"},
		"what to write instead of a string":  {"write task.a, without quotes", `"a"`, "task.a"},
		"an outline is none":                 {"write task.NAME", `"a b"`, ""},
		"a choice is none":                   {"write slap.a or task.a, without quotes", `"a"`, ""},
		"a part of a reference is not it":    {"write task.a", ".result", ""},
		"a label that is no suggestion":      {"again", "task", ""},
		"an outline of a value is none":      {"write { NAME = … }", `"a"`, ""},
		"a duration":                         {`write "10s"`, "10", `"10s"`},
		"a key that is asked for is outline": {"write task.a[KEY]", "task.a.b[x]", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := diag.Diagnostic{Label: tt.label}.Replacement(tt.written)
			require.Equal(t, tt.want != "", ok)
			if ok {
				require.Equal(t, tt.want, got)
			}
		})
	}
}
