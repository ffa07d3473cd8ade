package lang

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the decoder asks for is described, and nothing else is.
func TestEverythingIsDescribed(t *testing.T) {
	described := docs()
	var walk func(path string, s *Schema)
	walk = func(path string, s *Schema) {
		for _, a := range s.Attrs {
			require.NotEmpty(t, a.Doc, "attribute %s%s", path, a.Name)
			delete(described, path+a.Name)
		}
		for _, b := range s.Blocks {
			require.NotEmpty(t, b.Doc, "block %s%s", path, b.Kind)
			delete(described, path+b.Kind)
			walk(path+b.Kind+".", b)
		}
	}
	walk("", Describe())
	require.Empty(t, described, "nobody asks for these")
}

func TestDescribe(t *testing.T) {
	s := Describe()
	require.Equal(t, []string{"TASK", "NAME"}, s.Block("method").Labels)
	task := s.Block("task")
	require.Equal(t, []string{"task"}, task.Attr("needs").Refs)
	require.Equal(t, "a duration", task.Attr("timeout").Takes)
	require.True(t, task.Block("worker").Open)
	require.False(t, task.Open)
	require.Equal(t, []string{"order", "cost", "duration"}, s.Block("slap").Attr("prefer").Words)
	require.Equal(t, []string{"secret"}, s.Block("fact").Block("probe").Block("allow").Attr("secrets").Refs)
	require.Empty(t, s.Attrs, "nothing stands outside of blocks")
}
