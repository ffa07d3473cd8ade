// Shows a syntax tree as nested lists: (+ 1 (* 2 3)).
#ifndef PEBBLE_DUMP_H
#define PEBBLE_DUMP_H

#include "ast.h"

void dump(Buffer *out, const Function *program);

#endif
