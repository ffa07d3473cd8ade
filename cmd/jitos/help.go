package main

// What --help says below the first line of a command. Indented lines are examples.

func (*planCmd) Help() string {
	return `Each step says why it will run or not. Nothing is run and nothing is written.

  jitos plan                      the default of the workflow
  jitos plan image tag=v3         a task with an argument
  jitos plan --format dot         a drawing of what comes after what, and why, for Graphviz
  jitos plan -o today.plan        a plan to keep: jitos apply today.plan carries out that and nothing else`
}

func (*compileCmd) Help() string {
	return `What the planner searches: the facts, with what holds of those that are observed now; and the tasks, with what their rules match, remove and add, or the methods that there are. docs/planning.md says what it does with them.`
}

func (*importHDDLCmd) Help() string {
	return `The plans of the workflow are those of the problem; its steps run nothing.

  jitos import hddl domain.hddl problem.hddl
  jitos plan --format hddl        the plan in the format of the competition`
}

func (*applyCmd) Help() string {
	return `Steps run aside and see the workspace and what earlier steps made. When all of them, and the success criteria, hold, their files enter the workspace at once; else nothing does. What is up to date does not run.

  jitos apply                     the default of the workflow
  jitos apply compile os=darwin   a task with an argument
  jitos apply 'page["a"]'         one member of a family
  jitos apply release --preview   the exact diff, to be let in later

It exits with 1 if a step or a criterion failed, 3 if a file was changed meanwhile, 4 if it was refused.`
}

func (*undoCmd) Help() string {
	return `An undo is a run of its own, so it can be undone. A file that was changed since is a conflict, and nothing is touched.

  jitos undo                      the last run that changed files
  jitos undo 12                   run 12`
}

func (*tryCmd) Help() string {
	return `No workflow is needed. The command has the network and the environment of this shell; what it writes stays aside until you keep it. Without a terminal to ask on it is held.

  jitos try -- npm install left-pad
  jitos try --no -- make install  only show what it would change`
}

func (*whyCmd) Help() string {
	return `For example:

  jitos why bin/server            which step wrote it, in which run, from what
  jitos why compile               why the step ran
  jitos why 'fact::deployed'      who asserted it
  jitos why --not image docker    why that way of image was not taken`
}

func (*logCmd) Help() string {
	return `For example:

  jitos log --status failed --since 7d
  jitos log --path bin/server     the runs that changed it
  jitos log --graph               what undo, redo and collapse refer to
  jitos log --json                all events, one per line`
}

func (*showCmd) Help() string {
	return `For example:

  jitos show 12                   the run, step by step
  jitos show 12 --at 3            the graph as it was after its third tick`
}

func (*diffCmd) Help() string {
	return `Which steps ran, what they read and made, which methods were chosen, and what of the System graph lies between the ends of the two runs.

  jitos diff 11 12`
}

func (*replayCmd) Help() string {
	return `The recorded rewrites are applied one after the other, without any rule, any command or a look at the workspace. Each digest that was recorded, of the System and of every shadow working set, must come out again.

  jitos replay                    all of it
  jitos replay 12                 up to the end of run 12`
}

func (*verifyCmd) Help() string {
	return `Reads all that is kept: every record of the history and the chain through them, every digest, every object, the graph, and what the fast path would answer. Old contents that gc let go are said and are no damage. It exits with 5 if anything is damaged, and says what to do.`
}

func (*gcCmd) Help() string {
	return `What happened within --keep stays, and so do held sets and each step's last result; with what goes, undo and output of older runs go. If the store is over --limit then, what was used longest ago goes too. Every run tidies up by itself once a day, or when the store is over its limit, as gc was told to remember.

  jitos gc --dry-run              what would go
  jitos gc --keep 7d              this once
  jitos gc --keep 7d --limit 2GiB --remember`
}

func (*repairCmd) Help() string {
	return `Only for a history that jitos verify calls damaged: it keeps the events before the damage, says which runs are lost, and puts the damaged files aside under the suffix .damaged. The workspace's files stay as they are.`
}

func (*outputCmd) Help() string {
	return `For example:

  jitos output                    of the last step that failed, else ran
  jitos output link --run 7       of a step in a run`
}

func (*swsCollapseCmd) Help() string {
	return `The bytes that were held are let in as they are. If a file was changed in the workspace since, nothing is touched and --keep decides:

  jitos sws collapse 11 --keep=sws internal/api/gen.go
  jitos sws collapse 11 --keep=workspace`
}

func (*swsRebaseCmd) Help() string {
	return `For a set whose files were changed in the workspace since: its target runs again on top of them, what is known costs nothing, and the result is held as a new set. The old set goes; if the run fails it stays.

  jitos sws rebase 11`
}

func (*fmtCmd) Help() string {
	return `For example:

  jitos fmt                       all workflow files of the workspace
  jitos fmt --check               for CI
  jitos fmt - < x.jitos.hcl       for editors`
}
