package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// globals are the flags of all commands.
type globals struct {
	Directory string `short:"C" placeholder:"DIR" help:"Work in the workspace of DIR instead of the nearest one upward."`
	JSON      bool   `help:"Write JSON, one value per line, instead of text."`
	NoColor   bool   `help:"Write without colours, as with NO_COLOR."`
}

// entry is a command of the command line.
type entry struct {
	name, group string
	command     any
	help        string
}

// commands are the command line, in the order of its help.
func commands() []entry {
	return []entry{
		{"list", "look", &listCmd{}, "Show what there is to apply (also: bare jitos)."},
		{"vars", "look", &varsCmd{}, "Show the variables of the workflow, and where their values come from."},
		{"plan", "look", &planCmd{}, "Show what would run, and why."},
		{"log", "look", &logCmd{}, "Show the runs, the newest first."},
		{"show", "look", &showCmd{}, "Show one run: its steps, its files, what was tried."},
		{"why", "look", &whyCmd{}, "Say where a file comes from, or why a step ran."},
		{"output", "look", &outputCmd{}, "Show what a step printed."},
		{"diff", "look", &diffCmd{}, "Show what two runs differ in."},
		{"replay", "look", &replayCmd{}, "Fold the history without running anything, and compare every digest."},
		{"verify", "look", &verifyCmd{}, "Check everything that is kept: history, objects, graph, index."},
		{"doctor", "look", &doctorCmd{}, "Say what holds on this machine, and how to get the rest."},
		{"functions", "look", &functionsCmd{}, "List the functions of the language, or explain one."},
		{"docs", "look", &docsCmd{}, "Write what a module takes and gives, as Markdown."},
		{"explain", "look", &explainCmd{}, "Explain the code of a diagnostic, as JT3311."},
		{"version", "look", &versionCmd{}, "Show the version."},
		{"apply", "do", &applyCmd{}, "Run what is needed and let the result into the workspace, whole or not at all."},
		{"undo", "do", &undoCmd{}, "Put files back as they were before a run."},
		{"clean", "do", &cleanCmd{}, "Remove the outputs of a target. Undo brings them back."},
		{"try", "do", &tryCmd{}, "Run any command aside, show what it changed, and ask whether to keep it."},
		{"sws", "do", &swsCmd{}, "Shadow working sets: results that are held and not in the workspace."},
		{"gc", "do", &gcCmd{}, "Let go of what is old and needed no more."},
		{"history", "do", &historyCmd{}, "The history itself: repair."},
		{"init", "write", &initCmd{}, "Look at what is here and write a small workflow that runs."},
		{"import", "write", &importCmd{}, "Write a workflow from another tool's files."},
		{"validate", "write", &validateCmd{}, "Check the workflow without running anything."},
		{"compile", "write", &compileCmd{}, "Show the workflow as the planner sees it: facts, tasks, rules, methods."},
		{"lsp", "write", &lspCmd{}, "Serve an editor: the Language Server Protocol over standard input and output."},
		{"fmt", "write", &fmtCmd{}, "Lay out workflow files in the one canonical way."},
		{"completion", "write", &completionCmd{}, "Write the script by which bash, zsh or fish completes jitos command lines."},
	}
}

// meant are the commands that a command line can mean: one where it says so first. Building the grammar of all takes
// longer than many a command.
func meant(args []string) []entry {
	all := commands()
	if len(args) == 0 {
		return all[:1]
	}
	for i, e := range all {
		if e.name == args[0] {
			return all[i : i+1]
		}
	}
	return all
}

// command is what each command of the grammar does.
type command interface {
	run(ctx context.Context, s *session) error
}

// aliases stands for `jitos help apply` and `jitos --version` as well as for what kong knows.
func aliases(args []string) []string {
	switch {
	case len(args) > 0 && args[0] == "help":
		return append(args[1:len(args):len(args)], "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return args
}

// run carries out one command line and returns its exit code.
func run(args []string, stdin, stdout, stderr *os.File) int {
	args = aliases(args)
	var flags globals
	helped := false
	options := []kong.Option{
		kong.Name("jitos"),
		kong.Description("Plans, runs, keeps and undoes what *.jitos.hcl files describe. Nothing enters the workspace before all of it holds."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "look", Title: "Look:"}, {Key: "do", Title: "Do:"}, {Key: "write", Title: "Write a workflow:"},
			{Key: "run", Title: "How to run:"},
		}),
	}
	for _, e := range meant(args) {
		tags := []string{}
		if e.name == "list" {
			tags = append(tags, `default:"1"`)
		}
		options = append(options, kong.DynamicCommand(e.name, e.help, e.group, e.command, tags...))
	}
	parser, err := kong.New(&flags, options...)
	if err != nil {
		panic(err) // the grammar is wrong
	}
	parsed, err := parser.Parse(args)
	if helped {
		return exitDone
	}
	s := newSession(&flags, stdin, stdout, stderr)
	if err != nil {
		flags.JSON = slices.Contains(args, "--json") // kong sets no flags of what it could not parse
		return s.fail(&usageError{err: err, help: helpCommand(err)})
	}
	s.bare = len(args) == 0
	ctx, stop := interruptible(context.Background(), func(text string) { s.note(text) })
	defer stop()
	cmd, ok := parsed.Selected().Target.Addr().Interface().(command)
	if !ok {
		panic(fmt.Sprintf("%s has no run method", parsed.Command()))
	}
	err = cmd.run(ctx, s)
	if cause, ok := errors.AsType[*interruptedError](context.Cause(ctx)); ok && err != nil && !is[*toldError](err) {
		err = cause
	}
	if err != nil {
		return s.fail(err)
	}
	return exitDone
}

// helpCommand is what to type for more about the command that was misused.
func helpCommand(err error) string {
	if p, ok := errors.AsType[*kong.ParseError](err); ok && p.Context != nil && p.Context.Selected() != nil {
		if path := strings.Fields(p.Context.Selected().FullPath()); len(path) > 1 && len(p.Context.Args) > 0 {
			return strings.Join(path, " ") + " --help"
		}
	}
	return "jitos --help"
}

// workspaceFlags are the flags of commands that read the workflow.
type workspaceFlags struct {
	Var     []string `sep:"none" placeholder:"NAME=VALUE" group:"run" help:"Set a variable of the workflow. Repeat it for more."`
	VarFile []string `sep:"none" placeholder:"FILE" group:"run" help:"Set variables to what a file of NAME = VALUE lines says."`
}

// runFlags are the flags of commands that run steps.
type runFlags struct {
	workspaceFlags   `embed:""`
	Jobs             ordinal `short:"j" placeholder:"N" group:"run" help:"Run N steps at once (default: one per core)."`
	Overlay          string  `enum:"auto,overlay,copy" default:"auto" placeholder:"HOW" group:"run" help:"How steps are kept apart: auto, overlay or copy."`
	RequireIsolation bool    `group:"run" help:"Refuse to run with less than full isolation."`
	NoWait           bool    `group:"run" help:"Exit with 75 if another jitos is running here, instead of waiting."`
}

// number is an argument that counts something, from 0.
type number int

// Decode is how kong reads it.
func (n *number) Decode(ctx *kong.DecodeContext) error { return decode(ctx, (*int)(n), 0) }

// ordinal is one that counts from 1; 0 stands for none.
type ordinal int

// Decode is how kong reads it.
func (n *ordinal) Decode(ctx *kong.DecodeContext) error { return decode(ctx, (*int)(n), 1) }

func decode(ctx *kong.DecodeContext, n *int, least int) (err error) {
	var text string
	if err := ctx.Scan.PopValueInto("number", &text); err != nil {
		return err
	}
	if *n, err = strconv.Atoi(text); err != nil || *n < least {
		return fmt.Errorf("%q is not a number from %d up", text, least)
	}
	return nil
}
