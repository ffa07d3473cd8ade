#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

static void *checked(void *p)
{
	if (p == NULL) {
		fputs("pebble: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *mem_alloc(size_t size)
{
	return checked(malloc(size ? size : 1));
}

void *mem_resize(void *old, size_t size)
{
	return checked(realloc(old, size ? size : 1));
}

size_t mem_grown(size_t capacity)
{
	return capacity < 8 ? 8 : capacity * 2;
}
