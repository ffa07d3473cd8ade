#include "builtin.h"

#include "str.h"

#include <string.h>

bool builtin_want(Vm *vm, const char *function, int argument, Value value, ObjType type)
{
	if (value_is(value, type))
		return true;
	return vm_error(vm, "%s: argument %d must be a %s, not a %s", function, argument, obj_type_name(type),
			value_type_name(value));
}

bool builtin_want_number(Vm *vm, const char *function, int argument, Value value)
{
	if (value.type == V_NUMBER)
		return true;
	return vm_error(vm, "%s: argument %d must be a number, not a %s", function, argument, value_type_name(value));
}

static bool print(Vm *vm, int argc, Value *args, Value *result)
{
	(void)result;
	Buffer line;
	buffer_init(&line);
	for (int i = 0; i < argc; i++) {
		if (i > 0)
			buffer_char(&line, ' ');
		value_format(&line, args[i], false);
	}
	buffer_char(&line, '\n');
	bool written = fwrite(line.data, 1, line.length, vm->out) == line.length;
	buffer_free(&line);
	return written || vm_error(vm, "print: cannot write");
}

static bool type(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	const char *name = value_type_name(args[0]);
	*result = value_obj(str_new(&vm->heap, name, strlen(name)));
	return true;
}

static bool len(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	size_t length;
	if (value_is(args[0], OBJ_STRING))
		length = as_string(args[0])->length;
	else if (value_is(args[0], OBJ_LIST))
		length = as_list(args[0])->count;
	else if (value_is(args[0], OBJ_MAP))
		length = as_map(args[0])->table.live;
	else
		return vm_error(vm, "len: a %s has no length", value_type_name(args[0]));
	*result = value_number((double)length);
	return true;
}

static bool assert_true(Vm *vm, int argc, Value *args, Value *result)
{
	if (argc < 1 || argc > 2)
		return vm_error(vm, "assert: expected a condition and perhaps a message");
	if (!value_truthy(args[0]))
		return vm_error(vm, "assertion failed%s%s", argc == 2 ? ": " : "",
				argc == 2 && value_is(args[1], OBJ_STRING) ? as_string(args[1])->bytes : "");
	*result = args[0];
	return true;
}

void builtin_define(Vm *vm)
{
	vm_define_native(vm, "print", -1, print);
	vm_define_native(vm, "type", 1, type);
	vm_define_native(vm, "len", 1, len);
	vm_define_native(vm, "assert", -1, assert_true);
	builtin_define_math(vm);
	builtin_define_text(vm);
	builtin_define_list(vm);
}
