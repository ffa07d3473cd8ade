// Computes what is constant before the program runs: 2 * 3 becomes 6, and branches never taken go away.
#ifndef PEBBLE_FOLD_H
#define PEBBLE_FOLD_H

#include "ast.h"
#include "heap.h"

// Errors stay where they are: "a" * 2 is reported when, and if, it runs.
void fold(Function *program, Heap *heap);

#endif
