#include "buffer.h"

#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(Buffer *buffer)
{
	*buffer = (Buffer){0};
}

void buffer_free(Buffer *buffer)
{
	free(buffer->data);
	buffer_init(buffer);
}

static void reserve(Buffer *buffer, size_t more)
{
	size_t need = buffer->length + more + 1;
	if (need <= buffer->capacity)
		return;
	while (buffer->capacity < need)
		buffer->capacity = mem_grown(buffer->capacity);
	buffer->data = mem_resize(buffer->data, buffer->capacity);
}

void buffer_add(Buffer *buffer, const char *bytes, size_t length)
{
	reserve(buffer, length);
	if (length > 0)
		memcpy(buffer->data + buffer->length, bytes, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
}

void buffer_char(Buffer *buffer, char c)
{
	buffer_add(buffer, &c, 1);
}

void buffer_vprintf(Buffer *buffer, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length < 0)
		return;
	reserve(buffer, (size_t)length);
	vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, args);
	buffer->length += (size_t)length;
}

void buffer_printf(Buffer *buffer, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	buffer_vprintf(buffer, format, args);
	va_end(args);
}
