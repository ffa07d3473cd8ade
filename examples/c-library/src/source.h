// A program's text and its lines.
#ifndef PEBBLE_SOURCE_H
#define PEBBLE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
	const char *name;
	char *text; // ends with a NUL; owned
	size_t length;
} Source;

typedef struct {
	int line, column; // from 1, in bytes
	const char *start; // of the line
	int length;        // of the line
} Place;

void source_init(Source *source, const char *name, const char *text, size_t length);

// False when the file cannot be read; errno tells why.
bool source_read(Source *source, const char *path);
void source_free(Source *source);
Place source_place(const Source *source, size_t offset);

#endif
