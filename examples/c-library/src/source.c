#include "source.h"

#include "buffer.h"
#include "memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void source_init(Source *source, const char *name, const char *text, size_t length)
{
	source->name = name;
	source->text = mem_alloc(length + 1);
	memcpy(source->text, text, length);
	source->text[length] = '\0';
	source->length = length;
}

bool source_read(Source *source, const char *path)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL)
		return false;
	Buffer all;
	buffer_init(&all);
	char part[4096];
	size_t n;
	while ((n = fread(part, 1, sizeof part, file)) > 0)
		buffer_add(&all, part, n);
	int error = ferror(file) ? errno : 0;
	fclose(file);
	if (error == 0)
		source_init(source, path, all.data ? all.data : "", all.length);
	buffer_free(&all);
	errno = error;
	return error == 0;
}

void source_free(Source *source)
{
	free(source->text);
	*source = (Source){0};
}

Place source_place(const Source *source, size_t offset)
{
	if (offset > source->length)
		offset = source->length;
	Place place = {.line = 1, .start = source->text};
	for (size_t i = 0; i < offset; i++) {
		if (source->text[i] == '\n') {
			place.line++;
			place.start = source->text + i + 1;
		}
	}
	place.column = (int)(source->text + offset - place.start) + 1;
	place.length = (int)strcspn(place.start, "\n");
	return place;
}
