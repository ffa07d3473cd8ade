// Mark and sweep. The VM collects at safe points only, where all that lives is on its stack or in its globals.
#ifndef PEBBLE_GC_H
#define PEBBLE_GC_H

#include "heap.h"

void gc_mark(Heap *heap, Value value);
void gc_mark_object(Heap *heap, Obj *obj);
void gc_mark_table(Heap *heap, const Table *table);

// Frees all that cannot be reached from what was marked.
void gc_sweep(Heap *heap);

#endif
