// A growing string of bytes.
#ifndef PEBBLE_BUFFER_H
#define PEBBLE_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

typedef struct {
	char *data; // always ends with a NUL that length does not count, once anything was added
	size_t length, capacity;
} Buffer;

void buffer_init(Buffer *buffer);
void buffer_free(Buffer *buffer);
void buffer_add(Buffer *buffer, const char *bytes, size_t length);
void buffer_char(Buffer *buffer, char c);
void buffer_printf(Buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_vprintf(Buffer *buffer, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

#endif
