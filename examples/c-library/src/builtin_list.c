#include "builtin.h"

#include "str.h"

enum { MAX_RANGE = 10 * 1000 * 1000 };

static bool list_range(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want_number(vm, "range", 1, args[0]) || !builtin_want_number(vm, "range", 2, args[1]))
		return false;
	double from = args[0].as.number, to = args[1].as.number;
	if (!(to - from <= MAX_RANGE))
		return vm_error(vm, "range: more than %d numbers", MAX_RANGE);
	ObjList *list = heap_list(&vm->heap);
	// Counted: far from zero, adding one changes nothing.
	for (int i = 0; i < to - from; i++)
		list_append(&vm->heap, list, value_number(from + i));
	*result = value_obj(list);
	return true;
}

static bool list_push(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "push", 1, args[0], OBJ_LIST))
		return false;
	list_append(&vm->heap, as_list(args[0]), args[1]);
	*result = args[0];
	return true;
}

static bool list_pop(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "pop", 1, args[0], OBJ_LIST))
		return false;
	ObjList *list = as_list(args[0]);
	if (list->count == 0)
		return vm_error(vm, "pop: the list is empty");
	*result = list->items[--list->count];
	return true;
}

static bool list_map(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "map", 1, args[0], OBJ_LIST))
		return false;
	ObjList *made = heap_list(&vm->heap);
	vm_push(vm, value_obj(made));
	// The function may change the list, so its length is asked for each time.
	for (size_t i = 0; i < as_list(args[0])->count; i++) {
		Value one;
		if (!vm_call(vm, args[1], 1, &as_list(args[0])->items[i], &one))
			return false;
		list_append(&vm->heap, made, one);
	}
	*result = vm_pop(vm);
	return true;
}

static bool list_filter(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "filter", 1, args[0], OBJ_LIST))
		return false;
	ObjList *made = heap_list(&vm->heap);
	vm_push(vm, value_obj(made));
	for (size_t i = 0; i < as_list(args[0])->count; i++) {
		Value item = as_list(args[0])->items[i], keep;
		vm_push(vm, item);
		if (!vm_call(vm, args[1], 1, &item, &keep))
			return false;
		if (value_truthy(keep))
			list_append(&vm->heap, made, item);
		vm_pop(vm);
	}
	*result = vm_pop(vm);
	return true;
}

static bool list_reduce(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "reduce", 1, args[0], OBJ_LIST))
		return false;
	Value so_far = args[1];
	for (size_t i = 0; i < as_list(args[0])->count; i++) {
		Value pair[] = {so_far, as_list(args[0])->items[i]};
		if (!vm_call(vm, args[2], 2, pair, &so_far))
			return false;
	}
	*result = so_far;
	return true;
}

static bool list_dict(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc, (void)args;
	*result = value_obj(heap_map(&vm->heap));
	return true;
}

static bool list_keys(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "keys", 1, args[0], OBJ_MAP))
		return false;
	const Table *table = &as_map(args[0])->table;
	ObjList *keys = heap_list(&vm->heap);
	for (size_t i = 0; i < table->count; i++)
		if (table->entries[i].key != NULL)
			list_append(&vm->heap, keys, value_obj(table->entries[i].key));
	*result = value_obj(keys);
	return true;
}

static bool list_remove(Vm *vm, int argc, Value *args, Value *result)
{
	(void)argc;
	if (!builtin_want(vm, "remove", 1, args[0], OBJ_MAP) || !builtin_want(vm, "remove", 2, args[1], OBJ_STRING))
		return false;
	*result = value_bool(table_remove(&as_map(args[0])->table, as_string(args[1])));
	return true;
}

void builtin_define_list(Vm *vm)
{
	vm_define_native(vm, "range", 2, list_range);
	vm_define_native(vm, "push", 2, list_push);
	vm_define_native(vm, "pop", 1, list_pop);
	vm_define_native(vm, "map", 2, list_map);
	vm_define_native(vm, "filter", 2, list_filter);
	vm_define_native(vm, "reduce", 3, list_reduce);
	vm_define_native(vm, "dict", 0, list_dict);
	vm_define_native(vm, "keys", 1, list_keys);
	vm_define_native(vm, "remove", 2, list_remove);
}
