// pebble: a small expression language.
//
//   pebble                 read, evaluate, print
//   pebble FILE            run a program
//   pebble --tree FILE     show its syntax tree
//   pebble --code FILE     show its bytecode
//
// Exit status: 0 done, 1 failed while running, 2 does not compile, 64 wrong usage, 66 cannot be read.
#include "builtin.h"
#include "interp.h"
#include "repl.h"

#include <errno.h>
#include <string.h>

static int run_file(Vm *vm, const char *path, InterpMode mode)
{
	Source source;
	if (!source_read(&source, path)) {
		fprintf(stderr, "pebble: %s: %s\n", path, strerror(errno));
		return 66;
	}
	Buffer errors;
	buffer_init(&errors);
	Value result;
	InterpStatus status = interp(vm, &source, mode, &result, &errors);
	fflush(vm->out);
	if (errors.length > 0)
		fwrite(errors.data, 1, errors.length, stderr);
	buffer_free(&errors);
	source_free(&source);
	return status == INTERP_OK ? 0 : status == INTERP_FAILED ? 1 : 2;
}

int main(int argc, char **argv)
{
	InterpMode mode = INTERP_RUN;
	int first = 1;
	if (argc == 3 && strcmp(argv[1], "--tree") == 0)
		mode = INTERP_TREE, first = 2;
	else if (argc == 3 && strcmp(argv[1], "--code") == 0)
		mode = INTERP_CODE, first = 2;
	if (argc - first > 1 || (argc > first && argv[first][0] == '-')) {
		fputs("usage: pebble [--tree | --code] [FILE]\n", stderr);
		return 64;
	}
	Vm vm;
	vm_init(&vm, stdout);
	builtin_define(&vm);
	int status = 0;
	if (argc > first)
		status = run_file(&vm, argv[first], mode);
	else
		repl(&vm, stdin, true);
	vm_free(&vm);
	return status;
}
