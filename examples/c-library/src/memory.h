// Allocation that does not fail: out of memory ends the process with a message.
#ifndef PEBBLE_MEMORY_H
#define PEBBLE_MEMORY_H

#include <stddef.h>

void *mem_alloc(size_t size);
void *mem_resize(void *old, size_t size);

// The next capacity of an array that is full.
size_t mem_grown(size_t capacity);

// Makes room for one more element in a growing array.
#define MEM_RESERVE(array, count, capacity)                                  \
	do {                                                                 \
		if ((count) == (capacity)) {                                 \
			(capacity) = mem_grown(capacity);                    \
			(array) = mem_resize((array),                        \
					     (capacity) * sizeof *(array));  \
		}                                                            \
	} while (0)

#endif
