#include "ast.h"

#include "memory.h"

#include <string.h>

Node *node_new(Arena *arena, NodeKind kind, size_t offset)
{
	Node *node = arena_alloc(arena, sizeof *node);
	node->kind = kind;
	node->offset = offset;
	return node;
}

// Room for one more element; the old array is left to the arena.
static void *grow(Arena *arena, void *old, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return old;
	*capacity = mem_grown(*capacity);
	void *bigger = arena_alloc(arena, *capacity * size);
	if (count > 0)
		memcpy(bigger, old, count * size);
	return bigger;
}

void node_list_add(Arena *arena, NodeList *list, Node *node)
{
	list->items = grow(arena, list->items, list->count, &list->capacity, sizeof *list->items);
	list->items[list->count++] = node;
}

void function_add_param(Arena *arena, Function *fn, ObjString *name)
{
	fn->params = grow(arena, fn->params, fn->param_count, &fn->param_capacity, sizeof *fn->params);
	fn->params[fn->param_count++] = name;
}

int function_add_capture(Arena *arena, Function *fn, Capture capture)
{
	fn->captures = grow(arena, fn->captures, fn->capture_count, &fn->capture_capacity, sizeof *fn->captures);
	fn->captures[fn->capture_count] = capture;
	return (int)fn->capture_count++;
}
