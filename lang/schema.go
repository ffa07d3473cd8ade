package lang

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Schema is what may stand in a kind of block, as the decoder asks for it.
type Schema struct {
	Kind   string   // "" for a file
	Labels []string // what the labels say: "NAME"
	Doc    string   // a sentence or two
	Attrs  []*Attribute
	Blocks []*Schema
	Open   bool // any other attribute may stand there as well
}

// Attribute is one that a block may hold.
type Attribute struct {
	Name  string
	Takes string // "a string", "a list of strings", …; "" for anything
	Doc   string
	Words []string // the words that it is one of
	Refs  []string // what it names: "task", "slap", "step", "secret", "fact"
}

// Attr is the attribute of this name, nil if there is none.
func (s *Schema) Attr(name string) *Attribute {
	for _, a := range s.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Block is the kind of block that may stand in s, nil if it may not.
func (s *Schema) Block(kind string) *Schema {
	for _, b := range s.Blocks {
		if b.Kind == kind {
			return b
		}
	}
	return nil
}

// Describe is the schema of a workflow file. There is no list of attributes but the decoder: it decodes empty blocks of all
// kinds that it is known to ask for, until it asks for no new ones, and what it asked for is the schema.
func Describe() *Schema {
	root := &Schema{}
	for known := -1; root.size() != known; {
		known = root.size()
		d := &decoder{m: &Module{}, schemas: map[*hclsyntax.Block]*Schema{}, root: root}
		d.module([]*hclsyntax.Body{d.empty(root)})
	}
	root.describe("", docs())
	return root
}

func (s *Schema) size() int {
	n := 1
	for _, b := range s.Blocks {
		n += b.size()
	}
	return n
}

// empty is a body with an empty block of each kind that may stand in s.
func (d *decoder) empty(s *Schema) *hclsyntax.Body {
	out := &hclsyntax.Body{}
	for _, kind := range s.Blocks {
		b := &hclsyntax.Block{Type: kind.Kind, Body: d.empty(kind)}
		d.schemas[b] = kind
		out.Blocks = append(out.Blocks, b)
	}
	return out
}

func (s *Schema) describe(prefix string, docs map[string]string) {
	for _, a := range s.Attrs {
		a.Doc = docs[prefix+a.Name]
	}
	slices.SortFunc(s.Attrs, func(a, b *Attribute) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Blocks, func(a, b *Schema) int { return strings.Compare(a.Kind, b.Kind) })
	for _, b := range s.Blocks {
		b.Doc = docs[prefix+b.Kind]
		b.describe(prefix+b.Kind+".", docs)
	}
}

// asked notes what b is asked for. Only [Describe] wants to know: else there is no schema.
func (b *body) asked(name, takes string) *Attribute {
	if b.schema == nil {
		return nil
	}
	a := b.schema.Attr(name)
	if a == nil {
		a = &Attribute{Name: name}
		b.schema.Attrs = append(b.schema.Attrs, a)
	}
	if takes != "" {
		a.Takes = takes
	}
	return a
}

// askedRef notes that an attribute names things of these kinds.
func (b *body) askedRef(name, takes string, kinds ...string) {
	if a := b.asked(name, takes); a != nil {
		a.Refs = kinds
	}
}

func (b *body) askedBlock(kind string) {
	if b.schema != nil && b.schema.Block(kind) == nil {
		b.schema.Blocks = append(b.schema.Blocks, &Schema{Kind: kind})
	}
}

// takes is what a shape is called.
func (s shape) takes() string {
	switch s {
	case str:
		return "a string"
	case listShape:
		return "a list of strings"
	case object:
		return "an object"
	case boolean:
		return "true or false"
	case number:
		return "a number"
	case duration:
		return "a duration"
	case collection:
		return "a list, set or map"
	default:
		return ""
	}
}

// docs are what the blocks and attributes mean, by their path. A test holds it against the decoder.
func docs() map[string]string {
	const (
		description = "What it is, for people."
		typ         = "`string`, `number`, `bool`, `any`, `list(T)`, `set(T)`, `map(T)`, `tuple([T, …])` or `object({ name = T, other = optional(T, default) })`."
		condition   = "Must be true."
		task        = "The task that is achieved: `task.NAME`."
		with        = "Its arguments, by name: `{ os = \"linux\" }`."
		runScript   = "A script for the shell."
		execArgv    = "A program and its arguments, without a shell."
		allow       = "What the sandbox grants beyond the workspace. Nothing else is."
		network     = "Whether the network can be reached."
		paths       = "Places outside of the workspace: `{ ro = […], rw = […] }`."
		envNames    = "Names of environment variables that are passed on."
		secrets     = "Secrets that are passed on: `[secret.NAME]`."
		ports       = "Ports that may be listened on."
		containers  = "The container engine's socket and nested namespaces. Recorded as not contained."
	)
	return map[string]string{
		"jitos":                  "Settings of the module. The block may stand once.",
		"jitos.required_version": "A constraint on the version of jitos, such as `\">= 0.3\"`.",
		"jitos.default":          "What `jitos apply` applies without a target: `slap.NAME` or `task.NAME`.",
		"jitos.shell":            "How `run` scripts are run, as `[\"bash\", \"-eu\"]`; `sh -eu` if absent.",
		"jitos.ignore":           "Globs that no wildcard enters, besides those of `.gitignore`.",
		"jitos.strict":           "Whether undeclared reads and writes are errors.",
		"jitos.trace_reads":      "When reads are traced: the first time a declaration runs, always, or never.",

		"variable":                          "A value from outside, `var.NAME`: `--var NAME=VALUE`, `--var-file`, `JITOS_VAR_NAME`, or the default.",
		"variable.type":                     typ,
		"variable.default":                  "The value where none is given. It refers to nothing. Without it a value must be given.",
		"variable.description":              description,
		"variable.sensitive":                "Whether the value is never shown.",
		"variable.validation":               "A condition on the value.",
		"variable.validation.condition":     condition,
		"variable.validation.error_message": "What is said where the condition does not hold.",

		"locals": "Expressions with names, `local.NAME`, in any order.",

		"use":        "Another module. Its tasks are `task.ALIAS.NAME`; all attributes but `source` set its variables.",
		"use.source": "`\"std/NAME\"`, or a directory that starts with `./` or `../`.",

		"fact":                        "A relation of the world that conditions ask for: `fact::NAME(…)`. Observed (`from`), probed (`probe`), or asserted by effects of tasks.",
		"fact.description":            description,
		"fact.columns":                "Its arguments in order, by name: `{ tool = string }`. Types are string, number and bool.",
		"fact.from":                   "Its rows, computed from the workspace when a plan starts: a list of objects with the columns.",
		"fact.keep":                   "How long an asserted row lives: with the run, until an input of the step that asserted it changes, or until a task retracts it.",
		"fact.probe":                  "A command whose answer gives the rows. It is read-only.",
		"fact.probe.run":              runScript,
		"fact.probe.exec":             execArgv,
		"fact.probe.parse":            "What it prints: a row per line, or JSON.",
		"fact.probe.inputs":           "The answer is kept until these files change. Without them it is asked at each plan.",
		"fact.probe.allow":            allow,
		"fact.probe.allow.network":    network,
		"fact.probe.allow.paths":      paths,
		"fact.probe.allow.env":        envNames,
		"fact.probe.allow.secrets":    secrets,
		"fact.probe.allow.ports":      ports,
		"fact.probe.allow.containers": containers,

		"task":                   "An intent. With `run`, `exec` or `worker` it says how it is carried out; with methods there are ways to achieve it; with `needs` alone it is a group.",
		"task.description":       description,
		"task.run":               runScript,
		"task.exec":              execArgv,
		"task.worker":            "Another kind of worker, with its settings.",
		"task.for_each":          "A set, map or list: the task is a family with a member for each element, `each.key` and `each.value`.",
		"task.when":              "Must hold where the step starts.",
		"task.cost":              "What `prefer = \"cost\"` minimises; 1 if absent.",
		"task.needs":             "Tasks that are achieved before, once per run however many ask: `[task.NAME]`, or `{ task = task.NAME, with = { … } }` with arguments.",
		"task.inputs":            "Globs and paths that it reads, or tasks whose outputs it reads. Alone: the step may be skipped, and what it wrote is its output.",
		"task.outputs":           "Globs and paths that it makes. They must exist when it ends; a trailing slash makes a directory one artifact.",
		"task.reports":           "Files that are kept in the history whatever the exit status.",
		"task.caches":            "Directories kept between runs, exported under their names: `{ GOCACHE = \"go-build\" }`.",
		"task.tools":             "Programs whose identity belongs to the key.",
		"task.env":               "Variables for the command. Only PATH, HOME, LANG, TERM and what is declared reach it.",
		"task.dir":               "Where it runs, relative to the workspace.",
		"task.stdin":             "What it reads from standard input.",
		"task.deps_file":         "Inputs declared late: a Makefile-style depfile or a JSON list that the step writes.",
		"task.result":            "A value for later steps: `\"stdout\"`, `\"json\"` or `\"file:PATH\"`.",
		"task.timeout":           "When it is given up: `\"1.5s\"`, `\"10m\"`, `\"2h\"`.",
		"task.check":             "A script that finds out whether an external step has taken place.",
		"task.compensate":        "A script that takes an external step back.",
		"task.uses":              "Units of pools held while it runs: `{ db = 1 }`; `\"read\"` shares a pool with other readers.",
		"task.external":          "Whether it changes the world outside of the workspace.",
		"task.interactive":       "Whether it gets the terminal. It then runs alone.",
		"task.service":           "Whether it runs as long as what needs it does.",
		"task.cache":             "`false`: always run.",
		"task.allow":             allow,
		"task.allow.network":     network,
		"task.allow.paths":       paths,
		"task.allow.env":         envNames,
		"task.allow.secrets":     secrets,
		"task.allow.ports":       ports,
		"task.allow.containers":  containers,
		"task.effects":           "The facts that running it makes true and untrue.",
		"task.effects.asserts":   "What becomes true: `[fact::NAME(…)]`.",
		"task.effects.retracts":  "What becomes untrue: `[fact::NAME(…)]`.",
		"task.retry":             "How often a failed step is tried again.",
		"task.retry.attempts":    "How often it is tried in all.",
		"task.retry.backoff":     "How long to wait before the next attempt: `\"2s\"`.",
		"task.retry.max_delay":   "The longest wait between attempts.",
		"task.retry.jitter":      "How much the waits vary.",
		"task.retry.on_exit":     "The exit codes that are tried again; all if absent.",
		"task.ready":             "When a service is up.",
		"task.ready.run":         "A script that exits with 0 once it is up.",
		"task.ready.port":        "The port that accepts connections once it is up.",
		"task.ready.interval":    "How often to ask.",
		"task.ready.timeout":     "When to give up.",
		"task.param":             "An argument, `param.NAME`.",
		"task.param.type":        typ,
		"task.param.default":     "The value where none is given. Without it a value must be given.",
		"task.param.description": description,

		"method":               "One way to achieve a task: steps, each of which is a task again. The first whose `when` holds and whose steps can all be planned wins.",
		"method.description":   description,
		"method.any":           "Free variables, `any.NAME`, each of which a fact in `when` must bind.",
		"method.when":          "When this way is possible.",
		"method.cost":          "What `prefer = \"cost\"` minimises; that of its steps if absent.",
		"method.parallel":      "Whether steps start at once where they do not say `after`.",
		"method.step":          "A task to be achieved, after the step above it.",
		"method.step.task":     task,
		"method.step.with":     with,
		"method.step.for_each": "A set, map or list: a step for each element, `each.key` and `each.value`.",
		"method.step.after":    "The steps of this method that it comes after: `[step.NAME]`; `[]` lets it start at once.",

		"slap":                      "What `apply` applies: goals with scope, constraints and success criteria.",
		"slap.intent":               "What it is for, in words.",
		"slap.context":              "Values that are recorded with the run.",
		"slap.goal":                 "What is achieved; at least one.",
		"slap.goal.task":            task,
		"slap.goal.with":            with,
		"slap.assume":               "Must hold before planning, else the run is refused with that name as the reason.",
		"slap.assume.condition":     condition,
		"slap.scope":                "What a collapse may touch; nothing else.",
		"slap.scope.include":        "Globs of what may change; everything if absent.",
		"slap.scope.exclude":        "Globs of what may not.",
		"slap.constraint":           "Must hold for a candidate plan.",
		"slap.constraint.condition": condition,
		"slap.prefer":               "Which candidate is taken: the first in written order, the cheapest, or the fastest by past runs.",
		"slap.speculate":            "How many candidates race, each in its own shadow working set.",
		"slap.success":              "Must hold over the result before anything collapses.",
		"slap.success.condition":    condition,
		"slap.success.task":         task,
		"slap.success.with":         with,
		"slap.success.run":          "A script that exits with 0.",
		"slap.collapse":             "Whether the result enters the workspace at once, when asked, or is held.",

		"pool":             "A resource that steps hold while they run.",
		"pool.description": description,
		"pool.capacity":    "How many units there are; 1 is a lock.",

		"worker":                          "Settings of a worker kind for the module.",
		"worker.circuit_breaker":          "Stops asking a worker that keeps failing.",
		"worker.circuit_breaker.failures": "How many failures in a row open it.",
		"worker.circuit_breaker.delay":    "How long it then rests.",

		"secret":             "A value that is never written to history, logs or errors, `secret.NAME`.",
		"secret.description": description,
		"secret.env":         "The environment variable it is read from.",
	}
}
