#include "gc.h"

#include "memory.h"

void gc_mark(Heap *heap, Value value)
{
	if (value.type == V_OBJ)
		gc_mark_object(heap, value.as.obj);
}

void gc_mark_object(Heap *heap, Obj *obj)
{
	if (obj == NULL || obj->marked)
		return;
	obj->marked = true;
	// A list of its own instead of recursion: a long chain must not overflow the C stack.
	MEM_RESERVE(heap->grey, heap->grey_count, heap->grey_capacity);
	heap->grey[heap->grey_count++] = obj;
}

void gc_mark_table(Heap *heap, const Table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->entries[i].key == NULL)
			continue;
		gc_mark_object(heap, &table->entries[i].key->obj);
		gc_mark(heap, table->entries[i].value);
	}
}

static void mark_children(Heap *heap, Obj *obj)
{
	switch (obj->type) {
	case OBJ_LIST: {
		ObjList *list = (ObjList *)obj;
		for (size_t i = 0; i < list->count; i++)
			gc_mark(heap, list->items[i]);
		return;
	}
	case OBJ_MAP:
		gc_mark_table(heap, &((ObjMap *)obj)->table);
		return;
	case OBJ_PROTO: {
		ObjProto *proto = (ObjProto *)obj;
		if (proto->name != NULL)
			gc_mark_object(heap, &proto->name->obj);
		for (size_t i = 0; i < proto->chunk.constant_count; i++)
			gc_mark(heap, proto->chunk.constants[i]);
		return;
	}
	case OBJ_CLOSURE: {
		ObjClosure *closure = (ObjClosure *)obj;
		gc_mark_object(heap, &closure->proto->obj);
		for (int i = 0; i < closure->proto->captures; i++)
			gc_mark(heap, closure->captured[i]);
		return;
	}
	case OBJ_STRING:
	case OBJ_NATIVE:
		return;
	}
}

void gc_sweep(Heap *heap)
{
	while (heap->grey_count > 0)
		mark_children(heap, heap->grey[--heap->grey_count]);

	// Sizes are taken while everything they look at is still there.
	size_t bytes = 0;
	for (Obj *obj = heap->objects; obj != NULL; obj = obj->next)
		if (obj->marked)
			bytes += obj_size(obj);

	for (Obj **link = &heap->objects; *link != NULL;) {
		Obj *obj = *link;
		if (obj->marked) {
			obj->marked = false;
			link = &obj->next;
			continue;
		}
		if (obj->type == OBJ_STRING)
			table_remove(&heap->strings, (ObjString *)obj);
		*link = obj->next;
		obj_free(obj);
	}
	heap->bytes = bytes;
	heap->next = bytes * 2 > heap->next ? bytes * 2 : heap->next;
}
