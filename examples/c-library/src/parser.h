// Tokens to a syntax tree: recursive descent, with precedence climbing for operators.
#ifndef PEBBLE_PARSER_H
#define PEBBLE_PARSER_H

#include "ast.h"
#include "heap.h"
#include "report.h"

// The whole program as a function without parameters; never NULL. Errors are in the report.
Function *parse(const Source *source, Arena *arena, Heap *heap, Report *report);

#endif
