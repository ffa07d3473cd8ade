package compiler

// Codes of the diagnostics of this package: JT30… for what a version cannot do, JT31… for intents and planning, JT32…
// for the order of tasks, JT33… for files, JT34… for secrets and probes. Names and types have package lang's codes. They are stable: a code is never
// given another meaning.
const (
	CodeUnsupported = "JT3001"
	CodeVersion     = "JT3002"

	CodeNoPlan    = "JT3101"
	CodeNoTarget  = "JT3102"
	CodeTarget    = "JT3103"
	CodeLimit     = "JT3104"
	CodeRefused   = "JT3105"
	CodeExhausted = "JT3106"

	CodeCycle      = "JT3201"
	CodeNoWay      = "JT3202"
	CodeUnbound    = "JT3203"
	CodeLocalCycle = "JT3204"
	CodeCondition  = "JT3205"
	CodeEndless    = "JT3206"
	CodeResult     = "JT3207"

	CodeSecret = "JT3401"
	CodeProbe  = "JT3402"

	CodeOutside   = "JT3301"
	CodeGlobs     = "JT3302"
	CodeStale     = "JT3303"
	CodeProducers = "JT3304"
	CodeSameFile  = "JT3311"
)

// Explain says in a paragraph what a code of this package means and what to do about it.
func Explain(code string) (text string, ok bool) {
	switch code {
	case CodeUnsupported:
		text = "The language has this, but this version of jitos does not carry it out. `jitos plan` shows it, and what a run refuses it refuses before anything runs."
	case CodeVersion:
		text = "The workflow, or a module that it uses, says with required_version that it needs another version of jitos. `jitos version` shows which this is."
	case CodeNoPlan:
		text = "The intent is known, but no way of its tasks is possible with the facts as they are. The message lists, for each way, the condition that failed."
	case CodeNoTarget:
		text = "No target was given and none is the default. The default is jitos { default = slap.x }, else the only slap, else the slap named default."
	case CodeTarget:
		text = "The target, or an argument given to it, does not exist or does not fit. `jitos list` shows the targets with their parameters."
	case CodeLimit:
		text = "The search for a plan was stopped by a limit before it found a plan or knew that there is none. A method that calls its own task without getting nearer to an end is the usual cause."
	case CodeRefused:
		text = "A slap assumes a condition that does not hold in the workspace as it is, so nothing was planned."
	case CodeExhausted:
		text = "There are candidates, but each breaks a constraint of the slap."
	case CodeCycle:
		text = "Tasks need each other in a circle, so that none can be first. An input that matches another task's output counts as a need."
	case CodeNoWay:
		text = "A task says how it is carried out with run or exec, by methods, or is a group of needs. This one has none of these, or both a command and methods."
	case CodeUnbound:
		text = "Each free variable of a method gets its values from a fact in `when` that holds: fact::name(any.x), not negated and not below ||."
	case CodeLocalCycle:
		text = "Locals refer to each other in a circle, so that none has a value."
	case CodeCondition:
		text = "This condition cannot be searched. Facts that tasks change are asked for on their own, joined by &&, || and !; in a task's when, what reads files is joined to them by && only."
	case CodeResult:
		text = "A value of a task is asked for that it does not have, or has more than one of. A task with result = \"stdout\", \"json\" or \"file:PATH\" has one result: task.NAME.result where it is needed, step.NAME.result in a method. Members of a family and tasks with arguments each have their own."
	case CodeEndless:
		text = "Every step of the only way to achieve the task leads back to the task itself."
	case CodeSecret:
		text = "A secret, or a sensitive variable, is never written down. So it cannot be an argument, a path, a fact or a member of a family: give it to the command itself, in `env`, `run` or `exec`, or by allow { secrets = [secret.NAME] }. One of fewer than four bytes cannot be kept out of what steps print."
	case CodeProbe:
		text = "The command of a probe failed, or what it answers are no rows of its fact. With parse = \"lines\" a line has a field for each column, with space between them; with \"json\" the answer is a list of objects with the columns, or, of one column, of its values."
	case CodeOutside:
		text = "Inputs and outputs are paths in the workspace, relative to its root. Other places are granted by allow { paths }, directories to keep between runs by caches."
	case CodeGlobs:
		text = "What one task writes may be what the other reads, but neither pattern is a path, so jitos does not guess their order. Say needs = [task.x], or make the patterns disjoint."
	case CodeStale:
		text = "The expression reads, before anything runs, a file that a task of the same program writes: it would see what the last run left there. Read it in the command, or in a success criterion."
	case CodeProducers:
		text = "Several tasks write this file, as steps of methods, so jitos cannot choose which one is meant. Need the task whose methods they belong to."
	case CodeSameFile:
		text = "Two steps write the same file and nothing orders them, so that the result would depend on chance. Make one need the other, or give them different outputs."
	default:
		return "", false
	}
	return text, true
}
