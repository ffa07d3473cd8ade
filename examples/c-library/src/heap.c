#include "heap.h"

#include "memory.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_COLLECTION = 256 * 1024 };

void heap_init(Heap *heap)
{
	*heap = (Heap){.next = FIRST_COLLECTION};
	table_init(&heap->strings);
}

void heap_free(Heap *heap)
{
	while (heap->objects != NULL) {
		Obj *next = heap->objects->next;
		obj_free(heap->objects);
		heap->objects = next;
	}
	table_free(&heap->strings);
	free(heap->grey);
}

void *heap_object(Heap *heap, ObjType type, size_t size)
{
	Obj *obj = mem_alloc(size);
	memset(obj, 0, size);
	obj->type = type;
	obj->next = heap->objects;
	heap->objects = obj;
	heap->bytes += size;
	return obj;
}

ObjList *heap_list(Heap *heap)
{
	return heap_object(heap, OBJ_LIST, sizeof(ObjList));
}

ObjMap *heap_map(Heap *heap)
{
	return heap_object(heap, OBJ_MAP, sizeof(ObjMap));
}

ObjProto *heap_proto(Heap *heap)
{
	return heap_object(heap, OBJ_PROTO, sizeof(ObjProto));
}

ObjClosure *heap_closure(Heap *heap, ObjProto *proto)
{
	ObjClosure *closure =
		heap_object(heap, OBJ_CLOSURE, sizeof(ObjClosure) + (size_t)proto->captures * sizeof(Value));
	closure->proto = proto;
	return closure;
}

ObjNative *heap_native(Heap *heap, const char *name, int arity, NativeFn fn)
{
	ObjNative *native = heap_object(heap, OBJ_NATIVE, sizeof(ObjNative));
	native->name = name;
	native->arity = arity;
	native->fn = fn;
	return native;
}

void list_append(Heap *heap, ObjList *list, Value value)
{
	size_t before = list->capacity;
	MEM_RESERVE(list->items, list->count, list->capacity);
	heap->bytes += (list->capacity - before) * sizeof(Value);
	list->items[list->count++] = value;
}

size_t obj_size(const Obj *obj)
{
	switch (obj->type) {
	case OBJ_STRING:
		return sizeof(ObjString) + ((const ObjString *)obj)->length + 1;
	case OBJ_LIST:
		return sizeof(ObjList) + ((const ObjList *)obj)->capacity * sizeof(Value);
	case OBJ_MAP: {
		const Table *t = &((const ObjMap *)obj)->table;
		return sizeof(ObjMap) + t->capacity * sizeof(TableEntry) + t->slots * sizeof(uint32_t);
	}
	case OBJ_PROTO:
		return sizeof(ObjProto) + ((const ObjProto *)obj)->chunk.capacity;
	case OBJ_CLOSURE:
		return sizeof(ObjClosure) + (size_t)((const ObjClosure *)obj)->proto->captures * sizeof(Value);
	case OBJ_NATIVE:
		return sizeof(ObjNative);
	}
	return 0;
}

void obj_free(Obj *obj)
{
	switch (obj->type) {
	case OBJ_LIST:
		free(((ObjList *)obj)->items);
		break;
	case OBJ_MAP:
		table_free(&((ObjMap *)obj)->table);
		break;
	case OBJ_PROTO:
		chunk_free(&((ObjProto *)obj)->chunk);
		break;
	case OBJ_STRING:
	case OBJ_CLOSURE:
	case OBJ_NATIVE:
		break;
	}
	free(obj);
}
