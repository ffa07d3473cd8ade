// Bytecode of one function: instructions, constants, and where in the source each byte comes from.
#ifndef PEBBLE_CHUNK_H
#define PEBBLE_CHUNK_H

#include "opcode.h"
#include "value.h"

#include <stdint.h>

typedef struct {
	uint8_t *code;
	uint32_t *offsets; // source offset of each byte of code
	size_t count, capacity, offsets_capacity;
	Value *constants;
	size_t constant_count, constant_capacity;
} Chunk;

void chunk_init(Chunk *chunk);
void chunk_free(Chunk *chunk);
void chunk_byte(Chunk *chunk, uint8_t byte, uint32_t offset);

// The index of an equal constant, or of a new one.
size_t chunk_constant(Chunk *chunk, Value value);

#endif
