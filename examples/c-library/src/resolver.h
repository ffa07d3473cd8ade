// Finds out where every name lives. Names at the top level are globals and may be defined later; the
// others are slots of their function. A closure captures values, so what is captured cannot be assigned to.
#ifndef PEBBLE_RESOLVER_H
#define PEBBLE_RESOLVER_H

#include "ast.h"
#include "report.h"

void resolve(Function *program, Arena *arena, Report *report);

#endif
