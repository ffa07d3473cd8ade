package lang_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flyingrobots/jitos/lang"
)

func TestAllowsVersion(t *testing.T) {
	for constraint, want := range map[string]bool{ // order: each is checked alone
		"": true, "1.2.3": true, "= 1.2": true, "1": true, "1.3": false, "!= 1.2": false, "!= 1.2.4": true,
		">= 1.2.3": true, "> 1.2.3": false, "> 1.2": false, ">= 1.2": true, "< 2": true, "< 1.2": false, "<= 1.2": true,
		"~> 1.1": true, "~> 1.3": false, "~> 1.2.1": true, "~> 1.1.9": false, "~> 1": true, "~> 2": false,
		">= 1, < 2": true, ">= 1,<1.2.3": false,
	} {
		got, err := lang.AllowsVersion(constraint, "1.2.3")
		require.NoError(t, err, constraint)
		require.Equal(t, want, got, constraint)
	}
	for _, wrong := range []string{"x", ">=", "=> 1", ">= 1,", "1.2.3.4", "1.-2", "v1", ","} {
		_, err := lang.AllowsVersion(wrong, "1.2.3")
		require.Error(t, err, wrong)
	}
}
