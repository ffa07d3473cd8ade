#include "arena.h"

#include "memory.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 16 * 1024 };

struct ArenaBlock {
	ArenaBlock *next;
	size_t used, size;
	alignas(max_align_t) unsigned char data[];
};

void arena_init(Arena *arena)
{
	arena->block = NULL;
}

void arena_free(Arena *arena)
{
	while (arena->block != NULL) {
		ArenaBlock *next = arena->block->next;
		free(arena->block);
		arena->block = next;
	}
}

void *arena_alloc(Arena *arena, size_t size)
{
	size_t align = alignof(max_align_t);
	size = (size + align - 1) / align * align;
	if (arena->block == NULL || arena->block->size - arena->block->used < size) {
		size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
		ArenaBlock *block = mem_alloc(sizeof *block + room);
		*block = (ArenaBlock){.next = arena->block, .size = room};
		arena->block = block;
	}
	void *p = arena->block->data + arena->block->used;
	arena->block->used += size;
	return memset(p, 0, size);
}
