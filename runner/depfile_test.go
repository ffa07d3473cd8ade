package runner

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeps(t *testing.T) {
	tests := map[string]struct {
		in   string
		dir  string
		want []string
	}{
		"a rule over several lines":            {in: "build/a.o: src/a.c \\\n  include/a.h include/b.h\n", want: []string{"src/a.c", "include/a.h", "include/b.h"}},
		"phony targets of -MP add nothing":     {in: "a.o: a.c a.h\na.h:\n", want: []string{"a.c", "a.h"}},
		"the machine's own headers are left":   {in: "a.o: a.c /usr/include/stdio.h /w/inc/x.h\n", want: []string{"a.c", "inc/x.h"}},
		"paths are relative to the step's dir": {in: "a.o: a.c ../inc/x.h\n", dir: "src", want: []string{"src/a.c", "inc/x.h"}},
		"escaped blanks, hashes and dollars":   {in: `a.o: my\ file.c x\#y $$z` + "\n", want: []string{"my file.c", "x#y", "$z"}},
		"CRLF":                                 {in: "a.o: a.c \\\r\n b.h\r\n", want: []string{"a.c", "b.h"}},
		"duplicates are named once":            {in: "a.o: a.c b.h b.h\nb.o: b.h\n", want: []string{"a.c", "b.h"}},
		"a JSON list":                          {in: `["a.c", "/w/b.h", "../out"]`, want: []string{"a.c", "b.h"}},
		"comments":                             {in: "# made by a#b\na.o: a.c\n", want: []string{"a.c"}},
		"nothing":                              {in: "\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseDeps([]byte(tt.in), "/w", tt.dir)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	for in, want := range map[string]string{
		`["a.c"`:                             "JSON",
		`{"a.o": ["a.c"]}`:                   "JSON",
		"\na.o: a.c \\\n b.h\nsrc/c.c d.c\n": `line 4: there is no colon after the target "src/c.c"`,
		"a.o: a.c\n\x00\x01":                 "line 2: it is no text",
	} {
		_, err := parseDeps([]byte(in), "/w", "")
		require.ErrorContains(t, err, want, "%q", in)
	}
}

func FuzzDeps(f *testing.F) {
	f.Add([]byte("a.o: b.c \\\n c.h"))
	f.Add([]byte(`["x"]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseDeps(b, "/w", "sub")
		if err != nil {
			return
		}
		for _, p := range got {
			require.NotEmpty(t, p)
			require.NotEqual(t, byte('/'), p[0])
			require.NotContains(t, "/"+p+"/", "/../")
		}
	})
}
