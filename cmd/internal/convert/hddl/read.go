package hddl

import (
	"fmt"
	"strings"
)

// Error is what is wrong with a file, or what of it is not supported, and where.
type Error struct {
	File    string
	Line    int // from 1
	Problem string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem) }

// expr is a word (in lower case: names are case-insensitive) or a list.
type expr struct {
	word string
	list []expr
	line int
}

func (e *expr) isList() bool { return e.word == "" }

// is says whether the expression is a list that starts with the word.
func (e *expr) is(word string) bool {
	return e.isList() && len(e.list) > 0 && e.list[0].word == word
}

func (e *expr) String() string {
	if !e.isList() {
		return e.word
	}
	parts := make([]string, len(e.list))
	for i := range e.list {
		parts[i] = e.list[i].String()
	}
	return "(" + strings.Join(parts, " ") + ")"
}

// maxNesting is far beyond what a person or a generator writes.
const maxNesting = 1000

// read reads the one expression of a file.
func read(file string, text string) (expr, error) {
	var stack []expr
	line := 1
	fail := func(problem string) (expr, error) { return expr{}, &Error{file, line, problem} }
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case '\n':
			line++
			i++
		case ' ', '\t', '\r', '\f', '\v':
			i++
		case ';':
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(text)
			}
		case '(':
			if len(stack) == maxNesting {
				return fail("is nested too deeply")
			}
			stack = append(stack, expr{line: line, list: []expr{}})
			i++
		case ')':
			i++
			if len(stack) == 0 {
				return fail("closes what was not opened")
			}
			done := stack[len(stack)-1]
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				if rest := strings.TrimSpace(uncomment(text[i:])); rest != "" {
					return fail("goes on after its end")
				}
				return done, nil
			}
			up := &stack[len(stack)-1]
			up.list = append(up.list, done)
		default:
			n := strings.IndexAny(text[i:], "(); \t\r\n\f\v")
			if n < 0 {
				n = len(text) - i
			}
			if len(stack) == 0 {
				return fail("does not start with a parenthesis")
			}
			up := &stack[len(stack)-1]
			up.list = append(up.list, expr{word: strings.ToLower(text[i : i+n]), line: line})
			i += n
		}
	}
	return fail("ends within an expression")
}

func uncomment(s string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		text, _, _ := strings.Cut(line, ";")
		out.WriteString(text)
	}
	return out.String()
}
