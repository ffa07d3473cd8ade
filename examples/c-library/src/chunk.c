#include "chunk.h"

#include "memory.h"

#include <math.h>
#include <stdlib.h>

void chunk_init(Chunk *chunk)
{
	*chunk = (Chunk){0};
}

void chunk_free(Chunk *chunk)
{
	free(chunk->code);
	free(chunk->offsets);
	free(chunk->constants);
	chunk_init(chunk);
}

void chunk_byte(Chunk *chunk, uint8_t byte, uint32_t offset)
{
	size_t count = chunk->count;
	MEM_RESERVE(chunk->code, count, chunk->capacity);
	MEM_RESERVE(chunk->offsets, count, chunk->offsets_capacity);
	chunk->code[count] = byte;
	chunk->offsets[count] = offset;
	chunk->count++;
}

// Unlike value_equal, 0 and -0 differ here.
static bool same(Value a, Value b)
{
	if (a.type == V_NUMBER && b.type == V_NUMBER && signbit(a.as.number) != signbit(b.as.number))
		return false;
	return value_equal(a, b);
}

size_t chunk_constant(Chunk *chunk, Value value)
{
	for (size_t i = 0; i < chunk->constant_count; i++)
		if (same(chunk->constants[i], value))
			return i;
	MEM_RESERVE(chunk->constants, chunk->constant_count, chunk->constant_capacity);
	chunk->constants[chunk->constant_count] = value;
	return chunk->constant_count++;
}
