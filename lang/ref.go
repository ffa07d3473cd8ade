package lang

import (
	"github.com/hashicorp/hcl/v2"

	"github.com/flyingrobots/jitos/lang/diag"
)

// TaskRef is a reference to a task as it was written: `task.compile`, `task.page["a"]`, `task.alias.name`,
// `task.compile.result`. Whether the task exists is for the compiler to say.
type TaskRef struct {
	Use       string         // alias of a used module, "" for this one
	Name      string         // of the task
	NameRange diag.Range     // of Name alone
	Key       hcl.Expression // member of a for_each family; nil means the task, or all of its family
	Attr      string         // "result", "outputs", … after the task, or ""
	AttrRange diag.Range
	Range     diag.Range // of all of it
}

// Need is an element of `needs`: a task, with arguments where it was written as `{ task = task.x, with = { … } }`.
type Need struct {
	Task  TaskRef
	With  []*Attr
	Range diag.Range
}
