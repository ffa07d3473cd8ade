package main

import (
	"strings"
	"testing"
)

func TestParseTellsTheLine(t *testing.T) {
	tests := map[string]string{
		"GET /x\n":                             "line 1",
		"# only a comment\nGET /a h s\nGET\n":  "line 3",
		"GET /a one first\nGET /a two again\n": "declared on line 1 already",
	}
	for in, want := range tests {
		if _, err := parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parse(%q) = %v, want an error with %q", in, err, want)
		}
	}
}
