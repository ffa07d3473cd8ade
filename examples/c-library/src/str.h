// Strings are immutable and interned: two with the same bytes are the same object.
#ifndef PEBBLE_STR_H
#define PEBBLE_STR_H

#include "heap.h"

ObjString *str_new(Heap *heap, const char *bytes, size_t length);
ObjString *str_concat(Heap *heap, const ObjString *a, const ObjString *b);

// Takes the content of a buffer and frees it.
ObjString *str_take(Heap *heap, Buffer *buffer);

// Byte order.
int str_compare(const ObjString *a, const ObjString *b);

#endif
