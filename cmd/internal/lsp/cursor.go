package lsp

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// cursor is where in a text somebody types. It is found by the tokens in front of it alone, because what somebody types does
// not parse yet.
type cursor struct {
	stack   []level // all that is open, outermost first
	path    []level // the blocks of them
	kind    place
	block   string   // of a label: the kind of block; of a value: ""
	label   int      // which label
	attr    string   // of a value: the attribute
	value   int      // of a value: where it starts, after the =
	objects []level  // of a value: the objects within the attribute's that it is in, outermost first
	call    string   // of a value: the function whose argument it is directly, if it is a string
	labels  []string // those in front of it
	word    string   // what is typed of a name in front of it: "tas", "task.co", "fact::ins"
	quoted  bool     // it is text: in quotes or a heredoc, not in ${}
}

type place int

const (
	nowhere place = iota // in a comment, for example
	atName               // an attribute or a block can begin
	atLabel
	atValue
)

// level is something that is open.
type level struct {
	open   byte     // { a block, o an object, = the value of an attribute, [ ( " as written, < a heredoc, $ a template's expression
	name   string   // of a block, an attribute or a function that is called
	labels []string // of a block
	key    string   // of an object: that of the element, once there is a = after it
	value  int      // of =: where it ends
	task   string   // of a block or object: what `task` is set to in it, so far
}

// find is the cursor at the end of text, which begins at the top level.
func find(text string) cursor {
	tokens, _ := hclsyntax.LexConfig([]byte(text), "", hcl.InitialPos)
	if n := len(tokens); n > 0 && tokens[n-1].Type == hclsyntax.TokenEOF {
		tokens = tokens[:n-1]
	}
	if n := len(tokens); n > 0 && tokens[n-1].Type == hclsyntax.TokenComment && !strings.HasSuffix(text, "\n") {
		return cursor{}
	}
	s := scanner{stack: []level{{open: '{'}}}
	for _, t := range tokens {
		s.token(t)
	}
	return s.cursor(text)
}

type scanner struct {
	stack   []level
	words   []string // on the line of a block's body: the name and the labels
	pending string   // what may be the key of an object's element, or a function's name
}

func (s *scanner) top() *level { return &s.stack[len(s.stack)-1] }

func (s *scanner) pop(kinds string) {
	for len(s.stack) > 1 {
		open := s.top().open
		s.stack = s.stack[:len(s.stack)-1]
		if strings.IndexByte(kinds, open) >= 0 {
			return
		}
	}
}

func (s *scanner) token(t hclsyntax.Token) {
	text := string(t.Bytes)
	top := s.top()
	newline := t.Type == hclsyntax.TokenNewline || t.Type == hclsyntax.TokenQuotedNewline || t.Type == hclsyntax.TokenComment && strings.HasSuffix(text, "\n")
	if newline && top.open == '"' { // a quote that is not closed
		s.pop(`"`)
		top = s.top()
	}
	if newline && top.open == '=' {
		s.pop("=")
		top = s.top()
	}
	if top.open == '=' || top.open == 'o' && top.key != "" {
		s.follow(t)
	}
	switch {
	case newline && top.open == '{':
		s.words = nil
	case newline && top.open == 'o':
		top.key = ""
	case top.open == '{' && t.Type == hclsyntax.TokenEqual && len(s.words) > 0:
		s.stack = append(s.stack, level{open: '=', name: s.words[0], value: t.Range.End.Byte})
		if s.words[0] == "task" {
			top.task = ""
		}
		s.words = nil
	case top.open == '{' && t.Type == hclsyntax.TokenOBrace:
		next := level{open: '{'}
		if len(s.words) > 0 {
			next.name, next.labels = s.words[0], s.words[1:]
		}
		s.stack, s.words = append(s.stack, next), nil
	case t.Type == hclsyntax.TokenOBrace:
		s.stack = append(s.stack, level{open: 'o'})
	case t.Type == hclsyntax.TokenCBrace && (top.open == '{' || top.open == '='):
		s.pop("{")
		s.words = nil
	case t.Type == hclsyntax.TokenCBrace:
		s.pop("o")
	case t.Type == hclsyntax.TokenOBrack:
		s.stack = append(s.stack, level{open: '['})
	case t.Type == hclsyntax.TokenCBrack:
		s.pop("[")
	case t.Type == hclsyntax.TokenOParen:
		s.stack = append(s.stack, level{open: '(', name: s.pending})
	case t.Type == hclsyntax.TokenCParen:
		s.pop("(")
	case t.Type == hclsyntax.TokenOQuote:
		s.stack = append(s.stack, level{open: '"'})
	case t.Type == hclsyntax.TokenCQuote:
		s.pop(`"`)
		if top := s.top(); top.open == '{' {
			s.words = append(s.words, s.pending)
		}
	case t.Type == hclsyntax.TokenOHeredoc:
		s.stack = append(s.stack, level{open: '<'})
	case t.Type == hclsyntax.TokenCHeredoc:
		s.pop("<")
	case t.Type == hclsyntax.TokenTemplateInterp, t.Type == hclsyntax.TokenTemplateControl:
		s.stack = append(s.stack, level{open: '$'})
	case t.Type == hclsyntax.TokenTemplateSeqEnd:
		s.pop("$")
	case t.Type == hclsyntax.TokenComma && top.open == 'o':
		top.key = ""
	case (t.Type == hclsyntax.TokenEqual || t.Type == hclsyntax.TokenColon) && top.open == 'o' && top.key == "":
		top.key = s.pending
		if top.key == "task" {
			top.task = ""
		}
	case t.Type == hclsyntax.TokenIdent && top.open == 'o' && top.key == "" && text == "for":
		top.key = text // what follows is no key
	case t.Type == hclsyntax.TokenIdent && top.open == '{':
		s.words = append(s.words, text)
	}
	switch t.Type {
	case hclsyntax.TokenIdent, hclsyntax.TokenQuotedLit:
		s.pending = text
	case hclsyntax.TokenOQuote, hclsyntax.TokenNewline:
		s.pending = ""
	}
}

// follow notes what `task` is set to.
func (s *scanner) follow(t hclsyntax.Token) {
	home := s.top()
	name := home.key
	if home.open == '=' {
		name, home = home.name, &s.stack[len(s.stack)-2]
	}
	if name == "task" && (t.Type == hclsyntax.TokenIdent || t.Type == hclsyntax.TokenDot) {
		home.task += string(t.Bytes)
	}
}

func (s *scanner) cursor(text string) cursor {
	c := cursor{stack: s.stack[1:], word: wordBefore(text)}
	for i, l := range s.stack {
		switch l.open {
		case '{':
			if i > 0 {
				c.path = append(c.path, l)
			}
		case '=':
			c.attr, c.value = l.name, l.value
		case 'o':
			c.objects = append(c.objects, l)
		}
	}
	top := *s.top()
	c.quoted = top.open == '"' || top.open == '<'
	typed := len(s.words) > 0 && strings.HasSuffix(text, s.words[len(s.words)-1])
	switch {
	case c.value > 0:
		c.kind = atValue
		if before := s.stack[len(s.stack)-2]; c.quoted && before.open == '(' {
			c.call = before.name
		}
	case c.quoted && len(s.words) > 0:
		c.kind, c.block, c.label, c.labels = atLabel, s.words[0], len(s.words)-1, s.words[1:]
		if i := strings.LastIndexByte(text, '"'); i >= 0 {
			c.word = text[i+1:]
		}
	case top.open != '{':
	case len(s.words) == 0 || len(s.words) == 1 && typed:
		c.kind = atName
	}
	return c
}

// wordBefore is the name at the end of text, with the parts in front of it.
func wordBefore(text string) string {
	i := len(text)
	for i > 0 {
		switch b := text[i-1]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '_', b == '-', b == '.':
			i--
		case b == ':' && i > 1 && text[i-2] == ':':
			i -= 2
		default:
			return text[i:]
		}
	}
	return text[i:]
}

// wordAfter is the rest of a name at the start of text, without the parts behind it.
func wordAfter(text string) string {
	for i := range len(text) {
		if b := text[i]; !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_' || b == '-') {
			return text[:i]
		}
	}
	return text
}
