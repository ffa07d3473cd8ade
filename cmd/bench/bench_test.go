package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	require.Equal(t, time.Duration(2), median([]time.Duration{9, 1, 2}))
	require.Equal(t, time.Duration(3), median([]time.Duration{9, 2, 4, 1}))
}

func TestLimits(t *testing.T) {
	require.True(t, ratio("", 250, 100, "", 2.5).met)
	require.False(t, ratio("", 251, 100, "", 2.5).met)
	require.True(t, difference("", 7*time.Millisecond, time.Millisecond, "", 6*time.Millisecond).met)
	require.False(t, difference("", 8*time.Millisecond, time.Millisecond, "", 6*time.Millisecond).met)
	linear, square := grown{2000, 2 * time.Second, 1}, grown{2000, 4 * time.Second, 1}
	require.True(t, growth(grown{1000, time.Second, 1}, linear).met)
	require.False(t, growth(grown{1000, time.Second, 1}, square).met)
}

// standIn is a jitos that does the work in one loop.
const standIn = `#!/bin/sh
set -eu
test "$*" = "apply -j 2 all"
mkdir -p out
for f in in/*; do cksum "$f" > "out/${f#in/}"; done
`

func TestARunThatDidNotDoTheWorkIsNoMeasurement(t *testing.T) {
	dir := t.TempDir()
	jitos := filepath.Join(dir, "jitos")
	require.NoError(t, os.WriteFile(jitos, []byte(standIn), 0o755))
	b := bench{dir: dir, jitos: jitos, jobs: 2, rounds: 1, log: io.Discard}
	require.NoError(t, writeInputs(filepath.Join(dir, "w"), 3))
	c := contender{name: "stand-in", dir: filepath.Join(dir, "w"), argv: []string{jitos, "apply", "-j", "2", "all"}}
	c.after = func(string) error { return checkSums(c.dir, 3) }
	_, err := b.compare(t.Context(), 1, false, c)
	require.NoError(t, err)

	c.after = func(string) error { return checkSums(c.dir, 4) }
	_, err = b.compare(t.Context(), 1, false, c)
	require.ErrorIs(t, err, os.ErrNotExist, "a step that left no output")

	c.argv = []string{jitos, "apply", "wrong"}
	_, err = b.compare(t.Context(), 1, false, c)
	require.ErrorContains(t, err, "exit status 1")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"nonsense"}, {"-rounds", "0", "spine"}, {"-what"}} {
		var stderr bytes.Buffer
		require.ErrorIs(t, run(t.Context(), args, io.Discard, &stderr), errUsage, args)
		require.Contains(t, stderr.String(), "spine")
	}
}
