// Syntax tree to bytecode.
#ifndef PEBBLE_COMPILER_H
#define PEBBLE_COMPILER_H

#include "ast.h"
#include "heap.h"
#include "report.h"

// The program must be resolved. The result is of no use when the report has errors.
ObjProto *compile(const Function *program, Heap *heap, Report *report);

#endif
