#include "token.h"

#include <string.h>

const char *token_text(TokenKind kind)
{
	switch (kind) {
#define X(name, text)                                                        \
	case TOKEN_##name:                                                   \
		return text;
		PEBBLE_TOKENS(X)
#undef X
	}
	return "?";
}

TokenKind token_keyword(const char *bytes, size_t length)
{
	for (TokenKind kind = TOKEN_LET; kind <= TOKEN_NIL; kind++) {
		const char *text = token_text(kind);
		if (strlen(text) == length && memcmp(text, bytes, length) == 0)
			return kind;
	}
	return TOKEN_NAME;
}
