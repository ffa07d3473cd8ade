// Package hddl reads planning problems in HDDL, the language of the International Planning Competition's HTN tracks,
// and writes plans in its format.
//
// Types become facts about objects, an action a primitive task with its rule, a method a method whose condition also
// asks for the types of its variables. Quantifiers are written out over the objects of their types. An action with
// conditional effects becomes a task with a method, and an action, for each way its conditions can turn out. What the file has no name
// for gets one with "--" in it, so that [WritePlan] can tell it apart again.
//
// Start reading at [Load]; [Import.Module] writes what was loaded in our language.
package hddl

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/lang"
	"github.com/flyingrobots/jitos/warp"
	"github.com/flyingrobots/jitos/warp/cbor"
)

// Source is a file's name and text.
type Source struct{ Name, Text string }

// Import is a planning problem.
type Import struct {
	Domain  htn.Domain
	Problem htn.Problem
	rows    [][]string // the facts of Problem: relation, arguments
	foreign error      // why it cannot be written in our language
}

// Names that no file can use: see [WritePlan].
const (
	added    = "--"         // what follows it in the name of an action or a method was added here
	own      = "hddl--"     // what begins with it stands in no plan
	rootTask = own + "root" // compound: the initial task network; with a number, see postpone
	goalTask = own + "goal" // primitive: asks for the state goal
	typeRel  = "type--"     // typeRel + name: the objects of a type
	object   = "object"
)

// Load reads a domain and a problem. Errors are [*Error]: of what is malformed, and of what is not supported (numeric
// fluents other than in effects, which are ignored, as are metrics; derived predicates; problems without tasks).
func Load(domain, problem Source) (*Import, error) {
	l := &loader{
		out:     &Import{},
		parents: map[string][]string{}, objects: map[string][]string{}, isType: map[string]bool{object: true},
		unions: map[string][]string{}, arity: map[string]int{},
		params: map[string][]typed{}, actions: map[string]bool{}, tasks: map[string]*htn.Task{},
	}
	for _, src := range []Source{domain, problem} {
		e, err := read(src.Name, src.Text)
		if err != nil {
			return nil, err
		}
		if !e.is("define") {
			return nil, &Error{src.Name, e.line, "is no (define …)"}
		}
		for i := range e.list[1:] {
			part := &e.list[i+1]
			if !part.isList() || len(part.list) == 0 || part.list[0].isList() {
				return nil, &Error{src.Name, part.line, "expected a section, such as (:task …)"}
			}
			l.parts = append(l.parts, section{src.Name, part.list[0].word, part})
		}
	}
	if err := l.load(); err != nil {
		return nil, err
	}
	return l.out, nil
}

type section struct {
	file, head string
	expr       *expr
}

type typed struct {
	name  string
	types []string
	line  int
}

type loader struct {
	out     *Import
	parts   []section
	file    string // being read
	parents map[string][]string
	isType  map[string]bool
	names   []string            // objects, as declared
	objects map[string][]string // their types, with all above them
	params  map[string][]typed  // of tasks and actions
	actions map[string]bool
	order   []string // tasks and actions, as declared
	tasks   map[string]*htn.Task
	unions  map[string][]string // relation: the types, any of which an object of it has
	arity   map[string]int      // of predicates
	facts   warp.Rewrite
	written int // formulas below quantifiers
	hasRoot bool
}

// name checks what is to be a name in our language.
func (l *loader) name(line int, what, name string) error {
	if strings.Contains(name, added) {
		return &Error{l.file, line, fmt.Sprintf("the %s %s has -- in its name, which is kept for what the import adds: rename it", what, name)}
	}
	if l.out.foreign == nil && !lang.ValidName(name) {
		l.out.foreign = &Error{l.file, line, fmt.Sprintf("the %s %s cannot be written in our language, where names are made of a-z, 0-9, - and _ and begin with a letter: rename it", what, name)}
	}
	return nil
}

// predicates reads how many arguments each has.
func (l *loader) predicates(e *expr) error {
	for i := range e.list[1:] {
		p := &e.list[i+1]
		if !p.isList() || len(p.list) == 0 || p.list[0].isList() {
			return l.errorf(p, "expected a predicate, such as (at ?truck ?place), not %s", p)
		}
		vars, err := l.typedList(p.list[1:])
		if err != nil {
			return err
		}
		name := p.list[0].word
		if _, twice := l.arity[name]; twice {
			return l.errorf(p, "predicate %s is declared twice", name)
		}
		l.arity[name] = len(vars)
	}
	return nil
}

// predicate checks that one may be used with so many arguments.
func (l *loader) predicate(e *expr, name string, args int) error {
	n, known := l.arity[name]
	if !known {
		return l.errorf(e, "predicate %s is not declared", name)
	}
	if n != args {
		return l.errorf(e, "predicate %s has %d arguments, not %d", name, n, args)
	}
	return l.name(e.line, "predicate", name)
}

func (l *loader) errorf(e *expr, format string, args ...any) error {
	return &Error{l.file, e.line, fmt.Sprintf(format, args...)}
}

// passes are the sections in the order in which they can be understood.
func (l *loader) load() error {
	passes := []map[string]func(*expr) error{
		{":types": l.types},
		{":predicates": l.predicates},
		{":constants": l.declare, ":objects": l.declare},
		{":task": l.task, ":action": l.task},
		{":action": l.action, ":method": l.method},
		{":init": l.init, ":htn": l.network, ":goal": l.goal},
	}
	ignored := []string{"domain", "problem", ":domain", ":requirements", ":metric", ":functions"}
	for i, pass := range passes {
		for _, s := range l.parts {
			l.file = s.file
			if f := pass[s.head]; f != nil {
				if err := f(s.expr); err != nil {
					return err
				}
			} else if i == 0 && !slices.Contains(ignored, s.head) && !slices.ContainsFunc(passes, func(p map[string]func(*expr) error) bool { return p[s.head] != nil }) {
				return l.errorf(s.expr, "section %s is not supported", s.head)
			}
		}
	}
	if !l.hasRoot {
		return &Error{l.file, 1, "has no (:htn …): only problems with an initial task network are supported"}
	}
	for _, name := range l.order {
		l.out.Domain.Tasks = append(l.out.Domain.Tasks, *l.tasks[name])
	}
	return l.state()
}

// typedList reads `a b - t c - (either u v) d`; what has no type is an object.
func (l *loader) typedList(es []expr) (out []typed, err error) {
	from := 0
	for i := 0; i < len(es); i++ {
		e := &es[i]
		switch {
		case e.word == "-":
			if i++; i == len(es) {
				return nil, l.errorf(e, "expected a type after -")
			}
			types := []string{es[i].word}
			if es[i].is("either") {
				types = nil
				for _, t := range es[i].list[1:] {
					types = append(types, t.word)
				}
			}
			if slices.Contains(types, "") || len(types) == 0 {
				return nil, l.errorf(e, "expected a type after -")
			}
			for ; from < len(out); from++ {
				out[from].types = types
			}
		case e.isList():
			return nil, l.errorf(e, "expected a name, not %s", e)
		default:
			out = append(out, typed{e.word, []string{object}, e.line})
		}
	}
	return out, nil
}

func (l *loader) types(e *expr) error {
	list, err := l.typedList(e.list[1:])
	for _, t := range list {
		if err := l.name(t.line, "type", t.name); err != nil {
			return err
		}
		l.isType[t.name] = true
		l.parents[t.name] = append(l.parents[t.name], t.types...)
		for _, p := range t.types {
			l.isType[p] = true
		}
	}
	return err
}

// above returns the types and all that they are special cases of.
func (l *loader) above(types []string) (out []string) {
	todo := append([]string{object}, types...)
	for len(todo) > 0 {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !slices.Contains(out, t) {
			out = append(out, t)
			todo = append(todo, l.parents[t]...)
		}
	}
	return out
}

func (l *loader) declare(e *expr) error {
	list, err := l.typedList(e.list[1:])
	for _, o := range list {
		if err := l.known(o); err != nil {
			return err
		}
		if l.objects[o.name] == nil {
			l.names = append(l.names, o.name)
		}
		for _, t := range l.above(o.types) {
			if !slices.Contains(l.objects[o.name], t) {
				l.objects[o.name] = append(l.objects[o.name], t)
			}
		}
	}
	return err
}

func (l *loader) known(v typed) error {
	for _, t := range v.types {
		if !l.isType[t] {
			return &Error{l.file, v.line, fmt.Sprintf("unknown type %s", t)}
		}
	}
	return nil
}

// keyed reads `:key value …`.
func (l *loader) keyed(es []expr, allowed ...string) (map[string]*expr, error) {
	out := map[string]*expr{}
	for i := 0; i < len(es); i += 2 {
		k := es[i].word
		switch {
		case !slices.Contains(allowed, k):
			return nil, l.errorf(&es[i], "%s is not supported here", es[i].String())
		case out[k] != nil:
			return nil, l.errorf(&es[i], "%s is given twice", k)
		case i+1 == len(es):
			return nil, l.errorf(&es[i], "%s has no value", k)
		}
		out[k] = &es[i+1]
	}
	return out, nil
}

func (l *loader) parameters(e *expr) ([]typed, error) {
	if e == nil {
		return nil, nil
	}
	if !e.isList() {
		return nil, l.errorf(e, "expected parameters, not %s", e)
	}
	list, err := l.typedList(e.list)
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		name, ok := strings.CutPrefix(v.name, "?")
		if !ok {
			return nil, &Error{l.file, v.line, fmt.Sprintf("expected a variable, not %s", v.name)}
		}
		if err := l.name(v.line, "variable", name); err != nil {
			return nil, err
		}
		if err := l.known(v); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// task declares a task or an action.
func (l *loader) task(e *expr) error {
	if len(e.list) < 2 || e.list[1].isList() {
		return l.errorf(e, "has no name")
	}
	name := e.list[1].word
	if l.tasks[name] != nil {
		return l.errorf(e, "%s is declared twice", name)
	}
	if err := l.name(e.line, "task", name); err != nil {
		return err
	}
	keys, err := l.keyed(e.list[2:], ":parameters", ":precondition", ":effect")
	if err != nil {
		return err
	}
	params, err := l.parameters(keys[":parameters"])
	if err != nil {
		return err
	}
	t := &htn.Task{Name: name}
	for _, p := range params {
		t.Params = append(t.Params, p.name)
	}
	l.tasks[name], l.params[name] = t, params
	l.order = append(l.order, name)
	l.actions[name] = e.list[0].word == ":action"
	return nil
}

func (l *loader) action(e *expr) error {
	name := e.list[1].word
	keys, err := l.keyed(e.list[2:], ":parameters", ":precondition", ":effect")
	if err != nil {
		return err
	}
	t := l.tasks[name]
	env := scope{l: l, vars: map[string]htn.Term{}}
	var when htn.All
	for _, p := range l.params[name] {
		env.vars[p.name] = htn.V(p.name)
		when = append(when, l.hasType(htn.V(p.name), p.types))
	}
	pre, err := env.formula(keys[":precondition"])
	if err != nil {
		return err
	}
	out, err := env.effects(make([]consequence, 1), 0, keys[":effect"])
	if err != nil {
		return err
	}
	if len(out) == 1 {
		t.Operator, t.When, t.Cost = out[0].rule(name, t.Params), append(when, pre), 1
		return nil
	}
	if len(out)-1 > maxConditions {
		return l.errorf(e, "%s has %d conditional effects, of which no more than %d are supported", name, len(out)-1, maxConditions)
	}
	l.variants(t, append(when, pre), out)
	return nil
}

// maxConditions is how many conditional effects an action may have: it becomes two to the power of that.
const maxConditions = 8

// variants makes t a task with a method for each way in which the conditions of its effects, all but the first, can turn out.
func (l *loader) variants(t *htn.Task, when htn.All, effects []consequence) {
	args := make([]htn.Term, len(t.Params))
	for i, p := range t.Params {
		args[i] = htn.V(p)
	}
	for n := range 1 << (len(effects) - 1) {
		all, sum := slices.Clone(when), effects[0]
		for i, c := range effects[1:] {
			if n&(1<<i) == 0 {
				all = append(all, htn.Not{Cond: c.when})
				continue
			}
			all = append(all, c.when)
			sum.add, sum.remove = slices.Concat(sum.add, c.add), slices.Concat(sum.remove, c.remove)
		}
		v := &htn.Task{Name: fmt.Sprint(t.Name, added, n), Params: t.Params, When: all, Cost: 1}
		v.Operator = sum.rule(v.Name, t.Params)
		l.tasks[v.Name] = v
		l.order = append(l.order, v.Name)
		t.Methods = append(t.Methods, htn.Method{Name: fmt.Sprint("case", added, n), Steps: []htn.Sub{{Name: "0", Task: v.Name, Args: args}}})
	}
}

// hasType says that a term is an object of one of the types.
func (l *loader) hasType(t htn.Term, types []string) htn.Cond {
	rel := typeRel + strings.Join(types, added+"or"+added)
	if len(types) > 1 {
		l.unions[rel] = types
	}
	return htn.Holds{Rel: rel, Args: []htn.Term{t}}
}

func (l *loader) method(e *expr) error {
	if len(e.list) < 2 || e.list[1].isList() {
		return l.errorf(e, "has no name")
	}
	name := e.list[1].word
	keys, err := l.keyed(e.list[2:], ":parameters", ":task", ":precondition", ":constraints", ":ordering", ":order",
		":subtasks", ":tasks", ":ordered-subtasks", ":ordered-tasks")
	if err != nil {
		return err
	}
	head := keys[":task"]
	if head == nil || !head.isList() || len(head.list) == 0 {
		return l.errorf(e, "method %s has no :task", name)
	}
	t := l.tasks[head.list[0].word]
	if t == nil || l.actions[t.Name] {
		return l.errorf(head, "unknown task %s", head.list[0].String())
	}
	if len(head.list)-1 != len(t.Params) {
		return l.errorf(head, "task %s has %d parameters", t.Name, len(t.Params))
	}
	if err := l.name(e.line, "method", name); err != nil {
		return err
	}
	m, err := l.way(keys, head.list[1:], t.Params)
	if err != nil {
		return err
	}
	m.Name = name
	for n := 2; slices.ContainsFunc(t.Methods, func(o htn.Method) bool { return o.Name == m.Name }); n++ {
		m.Name = fmt.Sprint(name, added, n)
	}
	t.Methods = append(t.Methods, m)
	return nil
}

// way reads what methods and the initial task network have in common. The method's variables that stand for a parameter of
// the task go under the parameter's name.
func (l *loader) way(keys map[string]*expr, head []expr, params []string) (m htn.Method, err error) {
	vars, err := l.parameters(keys[":parameters"])
	if err != nil {
		return m, err
	}
	env := scope{l: l, vars: map[string]htn.Term{}}
	var when htn.All
	for i := range head {
		t := htn.V(params[i])
		known, isVar := env.vars[head[i].word]
		switch {
		case isVar:
			when = append(when, htn.Equal{A: t, B: known})
		case strings.HasPrefix(head[i].word, "?"):
			env.vars[head[i].word] = t
		default:
			c, err := env.term(&head[i])
			if err != nil {
				return m, err
			}
			when = append(when, htn.Equal{A: t, B: c})
		}
	}
	declared := map[string]bool{}
	for _, v := range vars {
		declared[v.name] = true
		if _, ok := env.vars[v.name]; !ok {
			free := v.name
			if slices.Contains(params, free) {
				free += "'"
			}
			env.vars[v.name] = htn.V(free)
			m.Vars = append(m.Vars, free)
		}
		when = append(when, l.hasType(env.vars[v.name], v.types))
	}
	for i := range head {
		if strings.HasPrefix(head[i].word, "?") && !declared[head[i].word] {
			return m, l.errorf(&head[i], "variable %s is not declared", head[i].word)
		}
	}
	for _, k := range []string{":precondition", ":constraints"} {
		c, err := env.formula(keys[k])
		if err != nil {
			return m, err
		}
		when = append(when, c)
	}
	m.When = when
	return m, env.subtasks(&m, keys)
}

// subtasks reads the steps of a method and their order.
func (s scope) subtasks(m *htn.Method, keys map[string]*expr) error {
	var list *expr
	ordered := false
	for _, k := range []string{":subtasks", ":tasks", ":ordered-subtasks", ":ordered-tasks"} {
		if keys[k] == nil {
			continue
		}
		if list != nil {
			return s.l.errorf(keys[k], "the subtasks are given twice")
		}
		list, ordered = keys[k], strings.HasPrefix(k, ":ordered")
	}
	labels := map[string]int{}
	for _, e := range parts(list) {
		if len(e.list) == 2 && e.list[1].isList() {
			labels[e.list[0].word] = len(m.Steps)
			e = &e.list[1]
		}
		if !e.isList() || len(e.list) == 0 || s.l.tasks[e.list[0].word] == nil {
			return s.l.errorf(e, "unknown task %s", e.String())
		}
		sub := htn.Sub{Name: fmt.Sprint(len(m.Steps)), Task: e.list[0].word}
		if n := len(s.l.params[sub.Task]); n != len(e.list)-1 {
			return s.l.errorf(e, "task %s has %d parameters", sub.Task, n)
		}
		for i := range e.list[1:] {
			t, err := s.term(&e.list[i+1])
			if err != nil {
				return err
			}
			sub.Args = append(sub.Args, t)
		}
		m.Steps = append(m.Steps, sub)
	}
	if ordered {
		m.Order = htn.Sequence(len(m.Steps))
	}
	order := keys[":ordering"]
	if order == nil {
		order = keys[":order"]
	}
	for _, e := range parts(order) {
		words := slices.DeleteFunc(slices.Clone(e.list), func(w expr) bool { return w.word == "<" })
		if len(words) != 2 {
			return s.l.errorf(e, "expected (< a b), not %s", e)
		}
		var at [2]int
		for i := range words {
			n, ok := labels[words[i].word]
			if !ok {
				return s.l.errorf(e, "unknown subtask %s", words[i].String())
			}
			at[i] = n
		}
		m.Order = append(m.Order, at)
	}
	if !acyclic(len(m.Steps), m.Order) {
		return s.l.errorf(order, "the order of the subtasks goes round in a circle")
	}
	return nil
}

// acyclic tells whether n things can be put in a row that keeps the order.
func acyclic(n int, order [][2]int) bool {
	waits, after := make([]int, n), make([][]int, n)
	for _, o := range order {
		waits[o[1]]++
		after[o[0]] = append(after[o[0]], o[1])
	}
	var row []int
	for i, w := range waits {
		if w == 0 {
			row = append(row, i)
		}
	}
	for i := 0; i < len(row); i++ {
		for _, next := range after[row[i]] {
			if waits[next]--; waits[next] == 0 {
				row = append(row, next)
			}
		}
	}
	return len(row) == n
}

// parts are the parts of `(and part …)`, of `()`, or the one part.
func parts(e *expr) (out []*expr) {
	switch {
	case e == nil || e.isList() && len(e.list) == 0:
		return nil
	case e.is("and"):
		for i := range e.list[1:] {
			out = append(out, &e.list[i+1])
		}
		return out
	default:
		return []*expr{e}
	}
}

// network reads the initial task network: a method of a task of its own, whose parameters are free.
func (l *loader) network(e *expr) error {
	if l.hasRoot {
		return l.errorf(e, ":htn is given twice")
	}
	l.hasRoot = true
	keys, err := l.keyed(e.list[1:], ":parameters", ":precondition", ":constraints", ":ordering", ":order",
		":subtasks", ":tasks", ":ordered-subtasks", ":ordered-tasks")
	if err != nil {
		return err
	}
	m, err := l.way(keys, nil, nil)
	if err != nil {
		return err
	}
	m.Name = rootTask
	l.postpone(&m)
	l.tasks[rootTask] = &htn.Task{Name: rootTask, Methods: []htn.Method{m}}
	l.order = append(l.order, rootTask)
	l.out.Problem.Goal = append([]htn.Sub{{Name: rootTask, Task: rootTask}}, l.out.Problem.Goal...)
	return nil
}

// postpone gives each subtask of the initial task network that alone has some of the network's variables a task of its
// own, in which they are free: nothing has to be decided about them, and there can be hundreds, before its turn comes.
func (l *loader) postpone(m *htn.Method) {
	users := map[string][]int{} // where each variable is used: -1 is a condition on more than its type
	for i, s := range m.Steps {
		for _, a := range s.Args {
			if a.Var != "" && !slices.Contains(users[a.Var], i) {
				users[a.Var] = append(users[a.Var], i)
			}
		}
	}
	types := map[string]htn.Cond{}
	var rest htn.All
	all, _ := m.When.(htn.All)
	for _, c := range all {
		if v, ok := typeOf(c); ok {
			types[v] = c
			continue
		}
		rest = append(rest, c)
		for _, v := range m.Vars {
			if mentions(c, v) {
				users[v] = append(users[v], -1)
			}
		}
	}
	var early []string
	later := make([][]string, len(m.Steps))
	for _, v := range m.Vars {
		if u := users[v]; len(u) == 1 && u[0] >= 0 {
			later[u[0]] = append(later[u[0]], v)
		} else {
			early = append(early, v)
			rest = append(rest, types[v])
		}
	}
	for i, vars := range later {
		if len(vars) == 0 {
			continue
		}
		s := &m.Steps[i]
		t := &htn.Task{Name: fmt.Sprintf("%s-%d", rootTask, i)}
		inner := htn.Method{Name: t.Name, Vars: vars, Steps: []htn.Sub{*s}}
		var when htn.All
		for _, v := range vars {
			when = append(when, types[v])
		}
		inner.When = when
		var args []htn.Term
		for _, a := range s.Args {
			if a.Var != "" && !slices.Contains(vars, a.Var) && !slices.Contains(t.Params, a.Var) {
				t.Params = append(t.Params, a.Var)
				args = append(args, a)
			}
		}
		t.Methods = []htn.Method{inner}
		s.Task, s.Args = t.Name, args
		l.tasks[t.Name] = t
		l.order = append(l.order, t.Name)
	}
	m.Vars, m.When = early, rest
}

// typeOf returns the variable that a condition made by hasType is about.
func typeOf(c htn.Cond) (string, bool) {
	h, ok := c.(htn.Holds)
	if !ok || !strings.HasPrefix(h.Rel, typeRel) {
		return "", false
	}
	return h.Args[0].Var, true
}

func mentions(c htn.Cond, v string) bool {
	is := func(ts ...htn.Term) bool { return slices.ContainsFunc(ts, func(t htn.Term) bool { return t.Var == v }) }
	in := func(c htn.Cond) bool { return mentions(c, v) }
	switch c := c.(type) {
	case htn.All:
		return slices.ContainsFunc(c, in)
	case htn.Any:
		return slices.ContainsFunc(c, in)
	case htn.Not:
		return in(c.Cond)
	case htn.Holds:
		return is(c.Args...)
	case htn.Equal:
		return is(c.A, c.B)
	default:
		return false
	}
}

// goal reads the state goal: a task at the very end that asks for it.
func (l *loader) goal(e *expr) error {
	var all htn.All
	for i := range e.list[1:] {
		c, err := scope{l: l}.formula(&e.list[i+1])
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	if l.tasks[goalTask] != nil {
		return l.errorf(e, ":goal is given twice")
	}
	l.tasks[goalTask] = &htn.Task{Name: goalTask, Operator: &warp.Rule{Name: goalTask}, When: all}
	l.order = append(l.order, goalTask)
	l.out.Problem.Goal = append(l.out.Problem.Goal, htn.Sub{Name: goalTask, Task: goalTask})
	return nil
}

func (l *loader) init(e *expr) error {
	for i := range e.list[1:] {
		f := &e.list[i+1]
		switch {
		case !f.isList() || len(f.list) == 0:
			return l.errorf(f, "expected a fact, not %s", f)
		case f.is("=") || f.is("not"):
			continue // numbers do not matter, and what is not said does not hold
		}
		var args []string
		for j := range f.list[1:] {
			if l.objects[f.list[j+1].word] == nil {
				return l.errorf(f, "unknown object %s", f.list[j+1].String())
			}
			args = append(args, f.list[j+1].word)
		}
		if err := l.predicate(f, f.list[0].word, len(args)); err != nil {
			return err
		}
		if err := l.fact(f.list[0].word, args...); err != nil {
			return l.errorf(f, "%v", err)
		}
	}
	return nil
}

func (l *loader) fact(rel string, args ...string) error {
	vals := make([]any, len(args))
	for i, a := range args {
		vals[i] = a
	}
	n, err := warp.Fact(rel, vals...)
	l.facts.Ops = append(l.facts.Ops, warp.AddNode(n))
	l.out.rows = append(l.out.rows, append([]string{rel}, args...))
	return err
}

// state makes the facts a graph.
func (l *loader) state() (err error) {
	for _, o := range l.names {
		for _, t := range l.objects[o] {
			err = errors.Join(err, l.fact(typeRel+t, o))
		}
	}
	for _, rel := range slices.Sorted(maps.Keys(l.unions)) {
		for _, o := range l.names {
			if slices.ContainsFunc(l.unions[rel], func(t string) bool { return slices.Contains(l.objects[o], t) }) {
				err = errors.Join(err, l.fact(rel, o))
			}
		}
	}
	if err == nil {
		l.out.Problem.Facts, err = (warp.Graph{}).Apply(l.facts)
	}
	if err != nil {
		return &Error{l.file, 1, err.Error()}
	}
	return nil
}

func constant(name string) htn.Value { return htn.Value(cbor.AppendString(nil, name)) }
