package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/flyingrobots/jitos/compiler/plan"
)

var (
	offline  = lazily(`(?i)temporary failure in name resolution|could not resolve|name or service not known|network is unreachable|ENETUNREACH|EAI_AGAIN|no such host|dial tcp: lookup|network unreachable`)
	unset    = lazily(`\b([A-Za-z_]\w*): (?:unbound variable|parameter not set)`)
	notFound = lazily(`(?:^|[\s:'"/])([\w.+-]+)['"]?: (?:command )?not found|executable file not found.*"([\w.+-]+)"|exec: "([\w.+-]+)": executable`)
	absolute = lazily(`/[^\s'"‘’:,;()\[\]]+`)
)

// lazily compiles when it is used: most runs need none of them, and slots are this program too.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// refusal guesses from what a failed step printed what its sandbox kept from it, and gives what would allow that, as it
// is written in a task; "" if nothing looks like it.
func (k *kernel) refusal(s *plan.Step, log []byte) string {
	for line := range strings.Lines(string(log[max(0, len(log)-64<<10):])) {
		if a := k.refusedIn(s, line); a != "" {
			return a
		}
	}
	return ""
}

func (k *kernel) refusedIn(s *plan.Step, line string) string {
	if k.where == "" && !s.Allow.Network && offline().MatchString(line) {
		return "network = true"
	}
	if m := unset().FindStringSubmatch(line); m != nil {
		if _, has := k.o.Env(m[1]); has {
			return fmt.Sprintf("env = [%q]", m[1])
		}
	}
	missing := k.where == "" && (strings.Contains(line, "No such file") || strings.Contains(line, "no such file") || strings.Contains(line, "ENOENT"))
	readOnly := strings.Contains(line, "ead-only file system") || strings.Contains(line, "EROFS") || k.where != "" && strings.Contains(line, "ermission denied")
	for _, p := range absolute().FindAllString(line, -1) {
		if p = filepath.Clean(p); p == k.w.Root || strings.HasPrefix(p, k.w.Root+"/") {
			continue
		}
		_, err := os.Lstat(p)
		switch {
		case missing && err == nil:
			return fmt.Sprintf("paths = { ro = [%q] }", p)
		case readOnly:
			for ; err != nil && p != "/"; _, err = os.Lstat(p) { // what is to be made goes into what is there
				p = filepath.Dir(p)
			}
			if p != "/" {
				return fmt.Sprintf("paths = { rw = [%q] }", p)
			}
		}
	}
	if m := notFound().FindStringSubmatch(line); m != nil && k.where == "" {
		if p, ok := k.o.LookPath(m[1] + m[2] + m[3]); ok {
			return fmt.Sprintf("paths = { ro = [%q] }", filepath.Dir(p))
		}
	}
	return ""
}
