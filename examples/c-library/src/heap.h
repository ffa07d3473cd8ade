// Makes objects. Nothing is freed before heap_sweep (gc.h), so code that allocates needs to protect nothing.
#ifndef PEBBLE_HEAP_H
#define PEBBLE_HEAP_H

#include "object.h"

typedef struct {
	Obj *objects;
	Table strings;   // all strings, for interning; does not keep them alive
	size_t bytes;    // allocated since the last collection, plus what survived it
	size_t next;     // collect when bytes reaches this
	Obj **grey;      // marked, their children not yet
	size_t grey_count, grey_capacity;
} Heap;

void heap_init(Heap *heap);
void heap_free(Heap *heap);

ObjList *heap_list(Heap *heap);
ObjMap *heap_map(Heap *heap);
ObjProto *heap_proto(Heap *heap);
ObjClosure *heap_closure(Heap *heap, ObjProto *proto);
ObjNative *heap_native(Heap *heap, const char *name, int arity, NativeFn fn);
void list_append(Heap *heap, ObjList *list, Value value);

// For str.c: a zeroed object of size bytes.
void *heap_object(Heap *heap, ObjType type, size_t size);

size_t obj_size(const Obj *obj);
void obj_free(Obj *obj);

#endif
