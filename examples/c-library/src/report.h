// Collects errors as text, each with the line it is about.
#ifndef PEBBLE_REPORT_H
#define PEBBLE_REPORT_H

#include "buffer.h"
#include "source.h"

typedef struct {
	const Source *source;
	Buffer text;
	int errors;
} Report;

void report_init(Report *report, const Source *source);
void report_free(Report *report);
void report_error(Report *report, size_t offset, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
