// Memory that is freed all at once: a syntax tree lives in one.
#ifndef PEBBLE_ARENA_H
#define PEBBLE_ARENA_H

#include <stddef.h>

typedef struct ArenaBlock ArenaBlock;

typedef struct {
	ArenaBlock *block; // newest first
} Arena;

void arena_init(Arena *arena);
void arena_free(Arena *arena);

// Zeroed, aligned for anything.
void *arena_alloc(Arena *arena, size_t size);

#endif
