#include "repl.h"

#include "interp.h"

static bool read_line(FILE *in, Buffer *line)
{
	int c;
	while ((c = getc(in)) != EOF && c != '\n')
		buffer_char(line, (char)c);
	return c != EOF || line->length > 0;
}

void repl(Vm *vm, FILE *in, bool prompt)
{
	for (;;) {
		Buffer text, errors;
		buffer_init(&text);
		buffer_init(&errors);
		if (prompt) {
			fputs("> ", vm->out);
			fflush(vm->out);
		}
		if (!read_line(in, &text)) {
			buffer_free(&text);
			return;
		}
		Source source;
		source_init(&source, "line", text.data ? text.data : "", text.length);
		Value result;
		if (interp(vm, &source, INTERP_RUN, &result, &errors) != INTERP_OK) {
			fwrite(errors.data, 1, errors.length, vm->out);
		} else if (result.type != V_NIL) {
			Buffer shown;
			buffer_init(&shown);
			value_format(&shown, result, true);
			fprintf(vm->out, "%s\n", shown.data);
			buffer_free(&shown);
		}
		source_free(&source);
		buffer_free(&errors);
		buffer_free(&text);
	}
}
