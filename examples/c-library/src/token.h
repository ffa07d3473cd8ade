// The words of the language.
#ifndef PEBBLE_TOKEN_H
#define PEBBLE_TOKEN_H

#include <stddef.h>

// X(name, how it reads in messages)
#define PEBBLE_TOKENS(X)                                                     \
	X(END, "end of file") X(BAD, "unknown character")                    \
	X(UNTERMINATED, "string without an end")                             \
	X(NUMBER, "number") X(STRING, "string") X(NAME, "name")              \
	X(LET, "let") X(FN, "fn") X(IF, "if") X(ELSE, "else")                \
	X(WHILE, "while") X(RETURN, "return")                                \
	X(AND, "and") X(OR, "or") X(NOT, "not")                              \
	X(TRUE, "true") X(FALSE, "false") X(NIL, "nil")                      \
	X(LPAREN, "(") X(RPAREN, ")") X(LBRACE, "{") X(RBRACE, "}")          \
	X(LBRACKET, "[") X(RBRACKET, "]") X(COMMA, ",") X(SEMICOLON, ";")    \
	X(ASSIGN, "=") X(EQUAL, "==") X(NOT_EQUAL, "!=")                     \
	X(LESS, "<") X(LESS_EQUAL, "<=")                                     \
	X(GREATER, ">") X(GREATER_EQUAL, ">=")                               \
	X(PLUS, "+") X(MINUS, "-") X(STAR, "*") X(SLASH, "/")                \
	X(PERCENT, "%") X(CARET, "^")

typedef enum {
#define X(name, text) TOKEN_##name,
	PEBBLE_TOKENS(X)
#undef X
} TokenKind;

typedef struct {
	TokenKind kind;
	size_t offset, length;
} Token;

const char *token_text(TokenKind kind);

// The keyword with these bytes, or TOKEN_NAME.
TokenKind token_keyword(const char *bytes, size_t length);

#endif
