package screen

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flyingrobots/jitos/runner"
	"github.com/flyingrobots/jitos/sws"
)

// Asked is what a run was asked for, as far as its summary needs it.
type Asked struct {
	Command string // as a person would type it again: "jitos apply release"; "" if that makes no sense
	Hold    bool   // keep the result aside, whatever the outcome
	Done    string // what is said when all is as asked for, instead of how many files were collapsed or are held

	last    []runner.Change // of the step that ended last
	printed bool            // the step that failed last printed something
}

// Ended takes note of how a step ended.
func (a *Asked) Ended(r *runner.Result) {
	if len(r.Changes) > 0 {
		a.last = r.Changes
	}
	if r.Outcome == runner.Failed {
		a.printed = len(r.Log) > 0
	}
}

// Summary tells how a run ended and what can be typed next. Each of its lines ends with a newline.
func Summary(s Style, o *runner.Outcome, asked Asked) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	next := func(commands ...string) string { return "  " + s.Dim(strings.Join(commands, " "+s.Dot()+" ")) }
	show := fmt.Sprintf("jitos show %d", o.Run)

	switch o.Status {
	case runner.Nothing:
		say("Nothing to do: %s up to date (%s).", Count(o.Steps, "step"), millis(o.Wall))
	case runner.Done:
		switch {
		case asked.Done != "":
			say("%s", asked.Done)
		case files(o.Changed) == 0:
			say("No file changed (run %d, sws %d%s).%s", o.Run, o.SWS, counts(o), next(show))
		default:
			say("Collapsed %s into the workspace (run %d, sws %d%s).%s", Count(files(o.Changed), "file"),
				o.Run, o.SWS, counts(o), next(append(why(o.Changed, asked.last), "jitos undo")...))
		}
		switch n := len(o.FailedWays); {
		case n == 1:
			say("One way failed first: %s", show)
		case n > 1:
			say("%d ways failed first: %s", n, show)
		}
	case runner.Held:
		if asked.Done != "" {
			say("%s", asked.Done)
			break
		}
		set := func(verb string) string { return fmt.Sprintf("jitos sws %s %d", verb, o.SWS) }
		if o.Reason != "" && !asked.Hold {
			say("%s", Clean(o.Reason))
		}
		say("Held as sws %d, the workspace is as it was: %s (run %d%s).", o.SWS,
			Count(files(o.Changed), "file")+" would change", o.Run, counts(o))
		say("%s", next(set("diff"), set("collapse"), set("discard")))
	case runner.Conflicted:
		conflict(&b, s, o, asked.Command)
	case runner.Refused:
		say("%s %s", s.Red("Refused:"), Clean(o.Reason))
		say("Nothing was changed (run %d).%s", o.Run, next(show))
	case runner.Interrupted:
		say("Interrupted: nothing was changed (run %d, sws %d discarded). What ended before is kept in the cache.", o.Run, o.SWS)
	default:
		step := o.Failed != "" && !strings.HasPrefix(o.Failed, "success ")
		if o.Failed == "" && o.Reason != "" {
			say("%s", Clean(o.Reason))
		}
		commands := []string{show}
		if asked.printed && step {
			commands = []string{"jitos output " + Quote(o.Failed), show}
		}
		if asked.Hold {
			say("The workspace is as it was (run %d); what there is is held as sws %d.%s", o.Run, o.SWS,
				next(append(commands, fmt.Sprintf("jitos sws diff %d", o.SWS))...))
		} else {
			say("Nothing was changed (run %d, sws %d discarded).%s", o.Run, o.SWS, next(commands...))
		}
		if n := o.Steps - o.Ran - o.Cached - o.UpToDate - 1; step && n > 0 {
			say("%s did not run.", Count(n, "step"))
		}
		if asked.Command != "" && !asked.Hold {
			say("Keep it to look inside: %s --hold", asked.Command)
		}
	}
	return b.String()
}

// conflict shows for each path what is there, what the run made, and how to decide.
func conflict(b *strings.Builder, s Style, o *runner.Outcome, command string) {
	n := len(o.Conflicts)
	if o.SWS < 0 { // an undo: there is nothing to hold
		fmt.Fprintf(b, "%s  exit 3\n", s.Red(fmt.Sprintf("Conflict: %s changed since then", Count(n, "file"))))
		for _, c := range o.Conflicts {
			fmt.Fprintf(b, "  %s   now: %s\n", Clean(c.Path), yours(c.Is))
		}
		fmt.Fprintf(b, "Nothing was put back (run %d). Move your version aside, or make it what the run made, and undo again.\n", o.Run)
		return
	}
	read := 0
	for _, c := range o.Conflicts {
		if c.Read {
			read++
		}
	}
	they, were := "it", "it was"
	if n != 1 {
		they, were = "them", "they were"
	}
	since := "since the run began"
	switch read {
	case 0:
		since = fmt.Sprintf("while %s being made", were)
	case n:
		since = fmt.Sprintf("after the run read %s", they)
	}
	head := fmt.Sprintf("Conflict: %s changed %s", Count(n, "file"), since)
	fmt.Fprintf(b, "%s%s\n", s.Red(pad(head, min(78, max(0, s.Width-6)))), "  exit 3")
	width := 0
	for _, c := range o.Conflicts {
		width = max(width, Width(Clean(c.Path)))
	}
	for _, c := range o.Conflicts {
		diff := s.Dim(fmt.Sprintf("jitos sws diff %d %s", o.SWS, Quote(c.Path)))
		if c.Read { // the run has no version of it
			diff = ""
		}
		you := yours(c.Is)
		if c.Why != "" {
			you = Clean(c.Why)
		}
		line := fmt.Sprintf("  %s   you: %-22s  the run: %-10s  %s", pad(Clean(c.Path), width), you, theirs(c), diff)
		fmt.Fprintln(b, strings.TrimRight(line, " "))
	}
	it := "Your version is"
	if n != 1 {
		it = "Your versions are"
	}
	fmt.Fprintf(b, "%s untouched; the run is held as sws %d.\n", it, o.SWS)
	keep := fmt.Sprintf("jitos sws collapse %d --keep=sws", o.SWS)
	if n == 1 {
		keep += " " + Quote(o.Conflicts[0].Path)
	}
	column := max(len(command), len(keep))
	if command != "" {
		fmt.Fprintf(b, "  %s   run what is affected again on top of your version\n", pad(command, column))
	}
	take := "take what the run made"
	if read == n {
		take += " from what it read"
	}
	fmt.Fprintf(b, "  %s   %s\n", pad(keep, column), take)
}

func yours(f sws.Fingerprint) string {
	if f.Kind == sws.Absent {
		return "deleted"
	}
	t := time.Unix(0, f.Mtime).Format("15:04:05")
	if f.Kind == sws.File {
		t += ", " + Size(f.Size)
	}
	return t
}

func theirs(c sws.Conflict) string {
	if c.Read {
		return "read it"
	}
	switch c.Want.Kind {
	case sws.Absent:
		return "deletes it"
	case sws.Link:
		return "a link"
	case sws.Dir:
		return "a directory"
	}
	return Size(c.Want.Size)
}

// counts says how many steps ran where that is not plain from the lines above.
func counts(o *runner.Outcome) string {
	if o.Cached == 0 && o.UpToDate == 0 {
		return ""
	}
	t := fmt.Sprintf("; %d ran", o.Ran)
	if o.Cached > 0 {
		t += fmt.Sprintf(", %d cached", o.Cached)
	}
	if o.UpToDate > 0 {
		t += fmt.Sprintf(", %d up to date", o.UpToDate)
	}
	return t
}

// files counts what a person calls a file: a directory comes along with what is in it, and counts only if nothing is.
func files(changes []runner.Change) int {
	above := map[string]bool{}
	for _, c := range changes {
		for dir := path.Dir(c.Path); dir != "." && !above[dir]; dir = path.Dir(dir) {
			above[dir] = true
		}
	}
	n := 0
	for _, c := range changes {
		if !above[c.Path] {
			n++
		}
	}
	return n
}

// Files is how many files a list of changes is about.
func Files(changes []runner.Change) int { return files(changes) }

// why asks about the file that a person is likely to have wanted: one of the step that ended last.
func why(changes []runner.Change, last []runner.Change) []string {
	came := map[string]bool{}
	for _, c := range changes {
		came[c.Path] = c.After.Type == "file"
	}
	for _, c := range append(slices.Clone(last), changes...) {
		if came[c.Path] && Clean(c.Path) == c.Path { // else it cannot be typed as it is shown
			return []string{"jitos why " + Quote(c.Path)}
		}
	}
	return nil
}

func millis(d time.Duration) string {
	if d >= time.Second {
		return Duration(d)
	}
	return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
}

// Quote writes a word as it has to be typed in a shell.
func Quote(word string) string {
	safe := word != "" && strings.IndexFunc(word, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./=:,@%+", r))
	}) < 0
	if safe {
		return word
	}
	return "'" + strings.ReplaceAll(Clean(word), "'", `'\''`) + "'"
}
