#include "str.h"

#include <string.h>

// FNV-1a.
static uint32_t hash_bytes(const char *bytes, size_t length)
{
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
	return hash;
}

ObjString *str_new(Heap *heap, const char *bytes, size_t length)
{
	uint32_t hash = hash_bytes(bytes, length);
	ObjString *s = table_find(&heap->strings, bytes, length, hash);
	if (s != NULL)
		return s;
	s = heap_object(heap, OBJ_STRING, sizeof *s + length + 1);
	s->hash = hash;
	s->length = length;
	if (length > 0)
		memcpy(s->bytes, bytes, length);
	table_set(&heap->strings, s, value_nil());
	return s;
}

ObjString *str_concat(Heap *heap, const ObjString *a, const ObjString *b)
{
	Buffer joined;
	buffer_init(&joined);
	buffer_add(&joined, a->bytes, a->length);
	buffer_add(&joined, b->bytes, b->length);
	return str_take(heap, &joined);
}

ObjString *str_take(Heap *heap, Buffer *buffer)
{
	ObjString *s = str_new(heap, buffer->data ? buffer->data : "", buffer->length);
	buffer_free(buffer);
	return s;
}

int str_compare(const ObjString *a, const ObjString *b)
{
	size_t shorter = a->length < b->length ? a->length : b->length;
	int order = memcmp(a->bytes, b->bytes, shorter);
	if (order != 0)
		return order;
	return a->length < b->length ? -1 : a->length > b->length;
}
