package hddl_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/flyingrobots/jitos/cmd/internal/convert/hddl"
	"github.com/flyingrobots/jitos/compiler/htn"
	"github.com/flyingrobots/jitos/lang"
	"github.com/stretchr/testify/require"
)

const domain = `
(define (domain delivery) ; a comment
  (:requirements :typing :hierarchy)
  (:types place thing - object  truck parcel - thing)
  (:constants depot - place)
  (:predicates (at ?t - thing ?p - place) (in ?p - parcel ?t - truck) (road ?a ?b - place))
  (:task deliver :parameters (?p - parcel ?to - place))
  (:task go :parameters (?t - truck ?to - place))
  (:method by-truck
    :parameters (?p - parcel ?from ?to - place ?t - truck)
    :task (deliver ?p ?to)
    :precondition (and (at ?p ?from) (not (= ?from ?to)))
    :ordered-subtasks (and (go ?t ?from) (load ?p ?t ?from) (go ?t ?to) (unload ?p ?t ?to)))
  (:method there :parameters (?p - parcel ?to - place) :task (deliver ?p ?to)
    :precondition (at ?p ?to) :subtasks ())
  (:method stay :parameters (?t - truck ?to - place) :task (go ?t ?to) :precondition (at ?t ?to) :subtasks ())
  (:method via
    :parameters (?t - truck ?via ?to - place)
    :task (go ?t ?to)
    :subtasks (and (a (go ?t ?via)) (b (drive ?t ?via ?to)))
    :ordering (< a b))
  (:action drive :parameters (?t - truck ?a ?b - place)
    :precondition (and (at ?t ?a) (road ?a ?b)) :effect (and (not (at ?t ?a)) (at ?t ?b)))
  (:action load :parameters (?p - parcel ?t - truck ?a - place)
    :precondition (and (at ?p ?a) (at ?t ?a)) :effect (and (not (at ?p ?a)) (in ?p ?t)))
  (:action unload :parameters (?p - parcel ?t - truck ?a - place)
    :precondition (and (in ?p ?t) (at ?t ?a)) :effect (and (not (in ?p ?t)) (at ?p ?a))))`

const problem = `
(define (problem one) (:domain delivery)
  (:objects A b c - place  van - truck  box - parcel)
  (:htn :parameters (?where - place) :subtasks (and (t0 (deliver box ?where))))
  (:init (at van depot) (at box a) (road depot a) (road a depot) (road a b) (road b c))
  (:goal (and (at box c) (forall (?p - place) (not (at van depot))))))`

func plan(t *testing.T, domain, problem string) (string, error) {
	m, err := hddl.Load(hddl.Source{Name: "d.hddl", Text: domain}, hddl.Source{Name: "p.hddl", Text: problem})
	require.NoError(t, err)
	p, err := htn.Compile(m.Domain)
	require.NoError(t, err)
	for c, err := range p.Plans(t.Context(), m.Problem) {
		if err != nil {
			return "", err
		}
		var out bytes.Buffer
		require.NoError(t, hddl.WritePlan(&out, hddl.Nodes(c)))
		return out.String(), nil
	}
	return "", nil
}

func TestPlanInTheFormatOfTheCompetition(t *testing.T) {
	got, err := plan(t, domain, problem)
	require.NoError(t, err)
	require.Equal(t, `==>
0 (drive van depot a)
1 (load box van a)
2 (drive van a b)
3 (drive van b c)
4 (unload box van c)
root 5
5 (deliver box c) -> by-truck 6 1 8 4
6 (go van a) -> via 7 0
7 (go van depot) -> stay
8 (go van c) -> via 9 3
9 (go van b) -> via 10 2
10 (go van a) -> stay
<==
`, got)
}

func TestNoPlan(t *testing.T) {
	_, err := plan(t, domain, strings.Replace(problem, "(at box a)", "", 1))
	_, ok := errors.AsType[*htn.NoPlanError](err)
	require.True(t, ok, "%v", err)
}

func TestWhatIsWrongAndWhere(t *testing.T) {
	tests := map[string]struct{ old, new, want string }{
		"an unknown type":         {"?from ?to - place ?t", "?from ?to - plaice ?t", "d.hddl:10: unknown type plaice"},
		"an unknown task":         {"(go ?t ?from) (load", "(fly ?t ?from) (load", "d.hddl:13: unknown task (fly ?t ?from)"},
		"an undeclared variable":  {"(go ?t ?from) (load", "(go ?u ?from) (load", "d.hddl:13: variable ?u is not declared"},
		"a nested condition":      {"(and (not (in ?p ?t)) (at ?p ?a))))", "(when (in ?p ?t) (when (at ?t ?a) (at ?p ?a)))))", "d.hddl:27: a condition below another is not supported in an effect: join them by and"},
		"an unknown section":      {"(:requirements", "(:derived", "d.hddl:3: section :derived is not supported"},
		"an unknown predicate":    {"(in ?p ?t) (at ?t ?a)) :effect", "(inn ?p ?t) (at ?t ?a)) :effect", "d.hddl:27: predicate inn is not declared"},
		"a predicate's arguments": {"(road ?a ?b)) :effect", "(road ?a)) :effect", "d.hddl:23: predicate road has 2 arguments, not 1"},
		"a predicate twice":       {"(in ?p - parcel ?t - truck)", "(at ?p)", "d.hddl:6: predicate at is declared twice"},
		"a circle":                {"(< a b)", "(and (< a b) (< b a))", "d.hddl:21: the order of the subtasks goes round in a circle"},
		"what is not supported":   {"(at ?t ?to) :subtasks", "(oneof (at ?t ?to)) :subtasks", "d.hddl:16: predicate oneof is not declared"},
		"an unknown subtask":      {"(< a b)", "(< a c)", "d.hddl:21: unknown subtask c"},
		"an open parenthesis":     {"(at ?p ?a))))", "(at ?p ?a)))", "d.hddl:27: ends within an expression"},
		"too few arguments":       {"(go ?t ?from) (load", "(go ?t) (load", "d.hddl:13: task go has 2 parameters"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, domain, tt.old)
			_, err := hddl.Load(hddl.Source{Name: "d.hddl", Text: strings.Replace(domain, tt.old, tt.new, 1)}, hddl.Source{Name: "p.hddl", Text: problem})
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestQuantifiersAreNotWrittenOutForEver(t *testing.T) {
	many := problem
	for i := range 60 {
		many = strings.Replace(many, "c - place", fmt.Sprintf("p%d c - place", i), 1)
	}
	four := strings.Replace(domain, "(and (at ?t ?a) (road ?a ?b))", "(exists (?w ?x ?y ?z - place) (and (road ?w ?x) (road ?y ?z)))", 1)
	_, err := hddl.Load(hddl.Source{Name: "d.hddl", Text: four}, hddl.Source{Name: "p.hddl", Text: many})
	require.ErrorContains(t, err, "d.hddl:23: quantifiers are written out")
}

func FuzzLoad(f *testing.F) {
	f.Add(domain, problem)
	f.Add("(define (domain d) (:predicates (p)) (:action a :effect (not (p))))", "(define (problem p) (:htn :subtasks (a)))")
	f.Fuzz(func(t *testing.T, domain, problem string) {
		m, err := hddl.Load(hddl.Source{Name: "d", Text: domain}, hddl.Source{Name: "p", Text: problem})
		if err != nil {
			_, ok := errors.AsType[*hddl.Error](err)
			require.True(t, ok, "%T", err)
			return
		}
		if _, err := htn.Compile(m.Domain); err != nil {
			_, ok := errors.AsType[*htn.DomainError](err)
			require.True(t, ok, "%T", err)
		}
		text, err := m.Module("a problem")
		if err != nil {
			_, ok := errors.AsType[*hddl.Error](err)
			require.True(t, ok, "%T: %v", err, err)
			return
		}
		_, diags := lang.Parse([]lang.File{{Name: "main.jitos.hcl", Text: text}})
		require.NoError(t, diags.Err(), "%s", text)
	})
}
