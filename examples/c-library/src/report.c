#include "report.h"

enum { MAX_SHOWN = 20 };

void report_init(Report *report, const Source *source)
{
	*report = (Report){.source = source};
	buffer_init(&report->text);
}

void report_free(Report *report)
{
	buffer_free(&report->text);
}

void report_error(Report *report, size_t offset, const char *format, ...)
{
	if (++report->errors > MAX_SHOWN)
		return;
	Place place = source_place(report->source, offset);
	buffer_printf(&report->text, "%s:%d:%d: ", report->source->name, place.line, place.column);
	va_list args;
	va_start(args, format);
	buffer_vprintf(&report->text, format, args);
	va_end(args);
	buffer_printf(&report->text, "\n  %.*s\n  ", place.length, place.start);
	// Tabs stay tabs, so that the mark stands below its column.
	for (int i = 0; i < place.column - 1; i++)
		buffer_char(&report->text, place.start[i] == '\t' ? '\t' : ' ');
	buffer_add(&report->text, "^\n", 2);
}
