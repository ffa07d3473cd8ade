#include "builtin.h"

#include "str.h"

#include <stdlib.h>
#include <string.h>

static bool text_str(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	Buffer text;
	buffer_init(&text);
	value_format(&text, args[0], false);
	*result = value_obj(str_take(&vm->heap, &text));
	return true;
}

// The number that a string spells, or nil.
static bool text_num(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "num", 1, args[0], OBJ_STRING))
		return false;
	const ObjString *s = as_string(args[0]);
	char *end;
	double number = strtod(s->bytes, &end);
	if (s->length > 0 && end == s->bytes + s->length)
		*result = value_number(number);
	return true;
}

// sub(text, from, to): the bytes from..to-1, cut to what there is.
static bool text_sub(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "sub", 1, args[0], OBJ_STRING) || !builtin_want_number(vm, "sub", 2, args[1]) ||
	    !builtin_want_number(vm, "sub", 3, args[2]))
		return false;
	const ObjString *s = as_string(args[0]);
	double length = (double)s->length;
	double from = args[1].as.number, to = args[2].as.number;
	from = from > 0 ? (from < length ? from : length) : 0;
	to = to > from ? (to < length ? to : length) : from;
	*result = value_obj(str_new(&vm->heap, s->bytes + (size_t)from, (size_t)to - (size_t)from));
	return true;
}

static bool text_split(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "split", 1, args[0], OBJ_STRING) || !builtin_want(vm, "split", 2, args[1], OBJ_STRING))
		return false;
	const ObjString *s = as_string(args[0]), *by = as_string(args[1]);
	if (by->length == 0)
		return vm_error(vm, "split: the separator is empty");
	ObjList *parts = heap_list(&vm->heap);
	size_t start = 0;
	for (size_t i = 0; i + by->length <= s->length;) {
		if (memcmp(s->bytes + i, by->bytes, by->length) != 0) {
			i++;
			continue;
		}
		list_append(&vm->heap, parts, value_obj(str_new(&vm->heap, s->bytes + start, i - start)));
		i += by->length;
		start = i;
	}
	list_append(&vm->heap, parts, value_obj(str_new(&vm->heap, s->bytes + start, s->length - start)));
	*result = value_obj(parts);
	return true;
}

static bool text_join(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "join", 1, args[0], OBJ_LIST) || !builtin_want(vm, "join", 2, args[1], OBJ_STRING))
		return false;
	const ObjList *list = as_list(args[0]);
	const ObjString *by = as_string(args[1]);
	Buffer text;
	buffer_init(&text);
	for (size_t i = 0; i < list->count; i++) {
		if (i > 0)
			buffer_add(&text, by->bytes, by->length);
		value_format(&text, list->items[i], false);
	}
	*result = value_obj(str_take(&vm->heap, &text));
	return true;
}

void builtin_define_text(Vm *vm)
{
	vm_define_native(vm, "str", 1, text_str);
	vm_define_native(vm, "num", 1, text_num);
	vm_define_native(vm, "sub", 3, text_sub);
	vm_define_native(vm, "split", 2, text_split);
	vm_define_native(vm, "join", 2, text_join);
}
