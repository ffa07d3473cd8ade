#include "lexer.h"

#include <string.h>

void lexer_init(Lexer *lexer, const Source *source)
{
	*lexer = (Lexer){.source = source};
}

// ASCII only, whatever the locale.
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static char peek(const Lexer *lexer, size_t ahead)
{
	size_t at = lexer->at + ahead;
	return at < lexer->source->length ? lexer->source->text[at] : '\0';
}

static void skip_blank(Lexer *lexer)
{
	while (lexer->at < lexer->source->length) {
		char c = peek(lexer, 0);
		if (c == '#') {
			while (lexer->at < lexer->source->length && peek(lexer, 0) != '\n')
				lexer->at++;
		} else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			lexer->at++;
		} else {
			return;
		}
	}
}

static TokenKind number(Lexer *lexer)
{
	while (is_digit(peek(lexer, 0)))
		lexer->at++;
	if (peek(lexer, 0) == '.' && is_digit(peek(lexer, 1))) {
		lexer->at++;
		while (is_digit(peek(lexer, 0)))
			lexer->at++;
	}
	if (peek(lexer, 0) == 'e' || peek(lexer, 0) == 'E') {
		size_t sign = peek(lexer, 1) == '-' || peek(lexer, 1) == '+';
		if (is_digit(peek(lexer, 1 + sign))) {
			lexer->at += 1 + sign;
			while (is_digit(peek(lexer, 0)))
				lexer->at++;
		}
	}
	return TOKEN_NUMBER;
}

static TokenKind string(Lexer *lexer)
{
	for (lexer->at++; lexer->at < lexer->source->length; lexer->at++) {
		char c = peek(lexer, 0);
		if (c == '\n')
			break;
		if (c == '\\' && lexer->at + 1 < lexer->source->length) {
			lexer->at++;
		} else if (c == '"') {
			lexer->at++;
			return TOKEN_STRING;
		}
	}
	return TOKEN_UNTERMINATED;
}

static TokenKind symbol(Lexer *lexer)
{
	static const struct {
		char text[3];
		TokenKind kind;
	} symbols[] = {
		// Longer ones first.
		{"==", TOKEN_EQUAL},    {"!=", TOKEN_NOT_EQUAL}, {"<=", TOKEN_LESS_EQUAL}, {">=", TOKEN_GREATER_EQUAL},
		{"(", TOKEN_LPAREN},    {")", TOKEN_RPAREN},     {"{", TOKEN_LBRACE},      {"}", TOKEN_RBRACE},
		{"[", TOKEN_LBRACKET},  {"]", TOKEN_RBRACKET},   {",", TOKEN_COMMA},       {";", TOKEN_SEMICOLON},
		{"=", TOKEN_ASSIGN},    {"<", TOKEN_LESS},       {">", TOKEN_GREATER},     {"+", TOKEN_PLUS},
		{"-", TOKEN_MINUS},     {"*", TOKEN_STAR},       {"/", TOKEN_SLASH},       {"%", TOKEN_PERCENT},
		{"^", TOKEN_CARET},
	};
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		size_t length = strlen(symbols[i].text);
		if (strncmp(lexer->source->text + lexer->at, symbols[i].text, length) == 0) {
			lexer->at += length;
			return symbols[i].kind;
		}
	}
	lexer->at++;
	return TOKEN_BAD;
}

Token lexer_next(Lexer *lexer)
{
	skip_blank(lexer);
	Token token = {.offset = lexer->at};
	char c = peek(lexer, 0);
	if (lexer->at >= lexer->source->length) {
		token.kind = TOKEN_END;
	} else if (is_digit(c)) {
		token.kind = number(lexer);
	} else if (is_letter(c)) {
		while (is_letter(peek(lexer, 0)) || is_digit(peek(lexer, 0)))
			lexer->at++;
		token.kind = token_keyword(lexer->source->text + token.offset, lexer->at - token.offset);
	} else if (c == '"') {
		token.kind = string(lexer);
	} else {
		token.kind = symbol(lexer);
	}
	token.length = lexer->at - token.offset;
	return token;
}
