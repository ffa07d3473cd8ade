package lang

import "bytes"

// hcl parses and evaluates by recursion, without a limit: a megabyte of "[" ends the process. So text that nests
// deeper, or chains more operators, than people write is refused before the parser sees it.
const (
	maxDepth = 200
	maxChain = 2000
)

// level is a bracket, quoted string or heredoc that is open at some point of a text.
type level struct {
	kind   byte   // ( [ { for brackets, $ for a template sequence, " for a string, < for a heredoc
	chain  int    // operators, each of which may be an operand of the one before
	at     int    // where it starts
	marker []byte // of a heredoc
}

// scan follows the lexical rules of HCL as far as they matter for nesting, in one pass and without allocating per token.
// tooDeep is the offset at which src nests deeper or chains longer than the limits, or -1. open is the heredoc that has no
// end, nil if there is none. cut, if there is one, is called with the offset after each line that a block of the top level
// ends on.
func scan(src []byte, cut func(at int)) (tooDeep int, open *level) {
	closed := false // the last thing on the top level was a closing brace
	stack := make([]level, 1, maxDepth+1)
	for i := 0; i < len(src); i++ {
		if len(stack) > maxDepth || stack[len(stack)-1].chain > maxChain {
			return i, nil
		}
		top := &stack[len(stack)-1]
		c := src[i]
		if c == '\n' && closed && len(stack) == 1 && cut != nil {
			cut(i + 1)
		}
		closed = (closed && (c == ' ' || c == '\t')) || c == '}' && len(stack) == 2 && top.kind == '{'
		next := byte(0)
		if i+1 < len(src) {
			next = src[i+1]
		}
		if top.kind == '"' || top.kind == '<' {
			switch {
			case top.kind == '"' && c == '\\':
				i++
			case top.kind == '"' && (c == '"' || c == '\n'):
				stack = stack[:len(stack)-1]
			case (c == '$' || c == '%') && next == c && i+2 < len(src) && src[i+2] == '{':
				i += 2
			case (c == '$' || c == '%') && next == '{':
				if c == '%' { // a directive: what follows, up to its end, is inside it
					top.chain++
				}
				stack = append(stack, level{kind: '$'})
				i++
			case top.kind == '<' && c == '\n' && endsHeredoc(src[i+1:], top.marker):
				stack = stack[:len(stack)-1]
			}
			continue
		}
		switch c {
		case '#':
			i += lineLength(src[i:]) - 1
		case '/':
			switch next {
			case '/':
				i += lineLength(src[i:]) - 1
			case '*':
				end := bytes.Index(src[i+2:], []byte("*/"))
				if end < 0 {
					return -1, nil
				}
				i += end + 3
			default:
				top.chain++
			}
		case '"':
			stack = append(stack, level{kind: '"'})
		case '(', '[', '{':
			top.chain++
			stack = append(stack, level{kind: c})
		case ')', ']', '}':
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
		case ',':
			top.chain = 0
		case '\n':
			if top.kind == 0 || top.kind == '{' {
				top.chain = 0
			}
		case '<':
			if marker := heredocMarker(src[i:]); marker != nil {
				stack = append(stack, level{kind: '<', at: i, marker: marker})
				i += lineLength(src[i:]) - 1
			} else {
				top.chain++
			}
		case '!', '-', '+', '*', '%', '?', ':', '=', '>', '&', '|', '.':
			top.chain++
		}
	}
	for i := range stack {
		if stack[i].kind == '<' {
			return -1, &stack[i]
		}
	}
	return -1, nil
}

// Cuts are offsets at which src, with line endings \n, can be cut so that its parts say together what src says: after blocks
// of the top level.
func Cuts(src []byte) (at []int) {
	scan(src, func(i int) { at = append(at, i) })
	return at
}

// lineLength is the number of bytes before the end of the line.
func lineLength(src []byte) int {
	if i := bytes.IndexByte(src, '\n'); i >= 0 {
		return i
	}
	return len(src)
}

// heredocMarker is the marker of a heredoc that starts at src, nil if none does.
func heredocMarker(src []byte) []byte {
	rest, ok := bytes.CutPrefix(src, []byte("<<"))
	if !ok {
		return nil
	}
	rest = bytes.TrimPrefix(rest, []byte("-"))
	marker := bytes.TrimRight(rest[:lineLength(rest)], "\r")
	if len(marker) == 0 || bytes.ContainsAny(marker, " \t\"(){}[],=") {
		return nil
	}
	return marker
}

// endsHeredoc reports whether the line at the start of src is marker alone.
func endsHeredoc(src, marker []byte) bool {
	return marker != nil && bytes.Equal(bytes.TrimSpace(src[:lineLength(src)]), marker)
}
