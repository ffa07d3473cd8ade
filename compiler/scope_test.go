package compiler_test

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/compiler"
	"github.com/flyingrobots/jitos/lang"
)

// What an editor offers is what the compiler would accept.
func TestScopes(t *testing.T) {
	src := `
variable "v" { default = 1 }
fact "seen" {
  columns = { x = string }
  from    = []
}
fact "made" {
  columns = { x = string }
}
task "t" {
  for_each = ["a"]
  param "p" { default = "" }
  outputs = ["x"]
  when    = fact::made("x")
  run     = "echo"
}
`
	m, ds := lang.Parse([]lang.File{{Name: "f", Text: []byte(src)}})
	require.Empty(t, ds)
	task := m.Tasks[0]
	got := map[hcl.Expression][]string{}
	tell := func(x hcl.Expression, names func() []string) { got[x] = names() }
	compiler.Scopes(m, compiler.Options{Scoped: tell})
	scopes := got
	got = map[hcl.Expression][]string{}
	compiler.Compile(m, compiler.Options{Scoped: tell})
	require.Equal(t, scopes, got)
	require.Equal(t, []string{"var.v", "fact::seen"}, got[task.ForEach])
	require.Equal(t, []string{"var.v", "each.key", "each.value", "param.p", "task.t", "fact::seen"}, got[task.Outputs])
	require.Contains(t, got[task.When], "fact::made")
	require.Contains(t, got[task.Run], "self.outputs")
	require.NotContains(t, got[task.Run], "fact::made")
}
