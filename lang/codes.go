package lang

// Codes of the diagnostics about syntax (JT1…) and about names and types (JT2…). Package compiler reports those
// of them that need a whole program. They are stable: a code is never given another meaning.
const (
	CodeSyntax     = "JT1001"
	CodeEncoding   = "JT1002"
	CodeNesting    = "JT1003"
	CodeUnreadable = "JT1004"
	CodeNoFiles    = "JT1005"

	CodeUnknownBlock     = "JT2001"
	CodeUnknownAttribute = "JT2002"
	CodeUnknownTask      = "JT2003"
	CodeUnknownName      = "JT2004"
	CodeUnknownFunction  = "JT2005"
	CodeMissing          = "JT2006"
	CodeLabels           = "JT2007"
	CodeBadName          = "JT2008"
	CodeDuplicate        = "JT2009"
	CodeExclusive        = "JT2010"
	CodeBadWord          = "JT2011"
	CodeShape            = "JT2012"
	CodeNotReference     = "JT2013"
	CodeBadType          = "JT2014"
	CodeBadDefault       = "JT2015"
	CodeUnknownFact      = "JT2016"
	CodeEvaluation       = "JT2017"
	CodeUnknownStep      = "JT2018"
	CodeArguments        = "JT2019"
	CodeNoModule         = "JT2020"
	CodeModuleCycle      = "JT2021"
)

// Explain says in a paragraph what a code of this package means and what to do about it.
func Explain(code string) (text string, ok bool) {
	switch code {
	case CodeSyntax:
		text = "The file is not HCL. The message says what was expected at that place; the cause is often a bracket or a quote that is not closed further up."
	case CodeEncoding:
		text = "Workflow files are UTF-8. Save the file in that encoding."
	case CodeNesting:
		text = "Brackets, blocks or templates inside each other, or a chain of operators, go deeper than any reader could follow. Give parts of it names in a locals block. Numbers with thousands of digits are refused likewise."
	case CodeUnreadable:
		text = "A workflow file or its directory could not be read. Check that it exists and that you may read it."
	case CodeNoFiles:
		text = "A workspace is a directory with files named *.jitos.hcl. `jitos init` writes one; -C DIR names another directory."
	case CodeUnknownBlock:
		text = "There is no such block here. docs/language.md lists the blocks; a block that exists may stand at the wrong level."
	case CodeUnknownAttribute:
		text = "The block has no such attribute. Attributes are a fixed set, so that a typo is never silently ignored."
	case CodeUnknownTask:
		text = "A reference names a task that no task block declares. Tasks of a used module are task.ALIAS.name; members of a for_each family are task.name[\"key\"]."
	case CodeUnknownName:
		text = "An expression refers to something that is not declared or not available there: variables are var.NAME, locals local.NAME, parameters param.NAME."
	case CodeUnknownFunction:
		text = "There is no such function. `jitos functions` lists them; facts are asked for as fact::NAME(…)."
	case CodeMissing:
		text = "The block cannot be understood without this attribute, block or one of a set of them."
	case CodeLabels:
		text = "Each kind of block has a fixed number of labels: task \"NAME\", method \"TASK\" \"NAME\", jitos without any."
	case CodeBadName:
		text = "Names start with a letter from a to z, followed by letters from a to z, digits, _ and -."
	case CodeDuplicate:
		text = "Two declarations of the same kind have the same name, in this file or another of the same directory, or a block that may stand once stands twice."
	case CodeExclusive:
		text = "These exclude each other. A task, for example, says how it runs in exactly one way: run, exec or worker."
	case CodeBadWord:
		text = "The attribute takes one of a few fixed words."
	case CodeShape:
		text = "The value has the wrong shape: a list was expected and a string written, a number is out of range, a duration is none (write \"1.5s\" or \"10m\"), or what must be plain text contains an expression."
	case CodeNotReference:
		text = "A reference was expected, such as task.compile. References are written without quotes, so that they can be checked and followed."
	case CodeBadType:
		text = "A type is string, number, bool, any, list(T), set(T), map(T), tuple([T, …]) or object({ name = T, other = optional(T, default) })."
	case CodeBadDefault:
		text = "The default does not have the declared type and cannot be converted to it."
	case CodeUnknownFact:
		text = "No fact block declares this relation. Facts are declared with their columns before they are asserted or asked for."
	case CodeEvaluation:
		text = "An expression could not be evaluated: a function refused its arguments, or an operation its operands."
	case CodeUnknownStep:
		text = "A step is named that the method does not have. Steps see the other steps of their own method."
	case CodeArguments:
		text = "The arguments given do not fit the parameters declared: one is missing, unknown, or of the wrong type."
	case CodeNoModule:
		text = "A use block names a module that is not there. A source is \"std/NAME\" for what is built in, or a directory of the workspace that starts with \"./\" or \"../\" and is seen from the directory of the file."
	case CodeModuleCycle:
		text = "A module uses another that uses it again, directly or through others, so that neither can be complete. Move what both need into a module of its own."
	default:
		return "", false
	}
	return text, true
}
