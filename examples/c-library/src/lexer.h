// Text to tokens, one at a time. Never fails: what it does not know is a token of its own.
#ifndef PEBBLE_LEXER_H
#define PEBBLE_LEXER_H

#include "source.h"
#include "token.h"

typedef struct {
	const Source *source;
	size_t at;
} Lexer;

void lexer_init(Lexer *lexer, const Source *source);
Token lexer_next(Lexer *lexer);

#endif
