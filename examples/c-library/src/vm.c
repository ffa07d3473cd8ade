#include "vm.h"

#include "arith.h"
#include "gc.h"
#include "memory.h"
#include "str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAX_STACK = 64 * 1024,
	MAX_FRAMES = 1000,
	MAX_NATIVE_DEPTH = 100, // natives that call back use the C stack
	NATIVE_ROOM = 16,       // values a native may push
};

void vm_init(Vm *vm, FILE *out)
{
	*vm = (Vm){.out = out};
	heap_init(&vm->heap);
	table_init(&vm->globals);
	buffer_init(&vm->error);
	vm->stack = vm->top = mem_alloc(MAX_STACK * sizeof *vm->stack);
	vm->frames = mem_alloc(MAX_FRAMES * sizeof *vm->frames);
}

void vm_free(Vm *vm)
{
	table_free(&vm->globals);
	heap_free(&vm->heap);
	buffer_free(&vm->error);
	free(vm->stack);
	free(vm->frames);
}

void vm_push(Vm *vm, Value value)
{
	*vm->top++ = value;
}

Value vm_pop(Vm *vm)
{
	return *--vm->top;
}

bool vm_error(Vm *vm, const char *format, ...)
{
	if (vm->failed)
		return false; // the first one is the cause
	vm->failed = true;
	va_list args;
	va_start(args, format);
	buffer_vprintf(&vm->error, format, args);
	va_end(args);
	vm->error_frames = vm->frame_count;
	if (vm->frame_count > 0) {
		const Frame *frame = &vm->frames[vm->frame_count - 1];
		const Chunk *chunk = &frame->closure->proto->chunk;
		// ip is behind the opcode at least, and the operands share its offset.
		vm->error_offset = chunk->offsets[frame->ip - chunk->code - 1];
	}
	return false;
}

// A safe point: everything that lives is on the stack, in a frame or global.
static void collect_if_due(Vm *vm)
{
	if (vm->heap.bytes < vm->heap.next)
		return;
	for (Value *v = vm->stack; v < vm->top; v++)
		gc_mark(&vm->heap, *v);
	for (int i = 0; i < vm->frame_count; i++)
		gc_mark_object(&vm->heap, &vm->frames[i].closure->obj);
	gc_mark_table(&vm->heap, &vm->globals);
	gc_sweep(&vm->heap);
}

static bool check_arity(Vm *vm, int want, int got)
{
	if (want < 0 || want == got)
		return true;
	return vm_error(vm, "expected %d argument%s, got %d", want, want == 1 ? "" : "s", got);
}

static bool enter(Vm *vm, ObjClosure *closure, int argc)
{
	const ObjProto *proto = closure->proto;
	if (!check_arity(vm, proto->arity, argc))
		return false;
	Value *base = vm->top - argc - 1;
	if (vm->frame_count == MAX_FRAMES || base + proto->slots + proto->max_depth + NATIVE_ROOM > vm->stack + MAX_STACK)
		return vm_error(vm, "calls are nested too deeply");
	vm->frames[vm->frame_count++] = (Frame){closure, proto->chunk.code, base};
	while (vm->top < base + proto->slots)
		vm_push(vm, value_nil());
	return true;
}

// Calls what lies below its arguments. A native is done at once, a closure has a new frame then.
static bool call(Vm *vm, int argc)
{
	Value *args = vm->top - argc;
	Value callee = args[-1];
	collect_if_due(vm);
	if (value_is(callee, OBJ_CLOSURE))
		return enter(vm, (ObjClosure *)callee.as.obj, argc);
	if (!value_is(callee, OBJ_NATIVE))
		return vm_error(vm, "a %s cannot be called", value_type_name(callee));
	const ObjNative *native = (const ObjNative *)callee.as.obj;
	if (!check_arity(vm, native->arity, argc))
		return false;
	if (vm->top + NATIVE_ROOM > vm->stack + MAX_STACK)
		return vm_error(vm, "calls are nested too deeply");
	Value result = value_nil();
	if (!native->fn(vm, argc, args, &result))
		return false;
	vm->top = args - 1;
	vm_push(vm, result);
	return true;
}

// The element of a list that an index names; negative ones count from the end.
static bool list_element(Vm *vm, const ObjList *list, Value index, Value **element)
{
	if (index.type != V_NUMBER || index.as.number != floor(index.as.number))
		return vm_error(vm, "a list is indexed by whole numbers");
	double i = index.as.number;
	if (i < 0)
		i += (double)list->count;
	if (!(i >= 0 && i < (double)list->count))
		return vm_error(vm, "index %.14g is outside the list of %zu", index.as.number, list->count);
	*element = &list->items[(size_t)i];
	return true;
}

static bool get_index(Vm *vm, Value object, Value index, Value *result)
{
	*result = value_nil();
	if (value_is(object, OBJ_LIST)) {
		Value *element;
		if (!list_element(vm, as_list(object), index, &element))
			return false;
		*result = *element;
		return true;
	}
	if (!value_is(object, OBJ_MAP))
		return vm_error(vm, "a %s has no elements", value_type_name(object));
	if (!value_is(index, OBJ_STRING))
		return vm_error(vm, "a map is indexed by strings");
	table_get(&as_map(object)->table, as_string(index), result); // nil when absent
	return true;
}

static bool set_index(Vm *vm, Value object, Value index, Value value)
{
	if (value_is(object, OBJ_LIST)) {
		Value *element;
		if (!list_element(vm, as_list(object), index, &element))
			return false;
		*element = value;
		return true;
	}
	if (!value_is(object, OBJ_MAP))
		return vm_error(vm, "a %s has no elements", value_type_name(object));
	if (!value_is(index, OBJ_STRING))
		return vm_error(vm, "a map is indexed by strings");
	if (table_set(&as_map(object)->table, as_string(index), value))
		vm->heap.bytes += sizeof(TableEntry);
	return true;
}

static uint16_t read_short(Frame *frame)
{
	frame->ip += 2;
	return (uint16_t)(frame->ip[-2] << 8 | frame->ip[-1]);
}

static Value read_constant(Frame *frame)
{
	return frame->closure->proto->chunk.constants[read_short(frame)];
}

static void make_closure(Vm *vm, Frame *frame)
{
	ObjClosure *closure = heap_closure(&vm->heap, (ObjProto *)read_constant(frame).as.obj);
	for (int i = 0; i < closure->proto->captures; i++) {
		bool from_local = *frame->ip++;
		uint8_t index = *frame->ip++;
		closure->captured[i] = from_local ? frame->base[index] : frame->closure->captured[index];
	}
	vm_push(vm, value_obj(closure));
}

static void make_list(Vm *vm, int count)
{
	ObjList *list = heap_list(&vm->heap);
	for (int i = 0; i < count; i++)
		list_append(&vm->heap, list, vm->top[i - count]);
	vm->top -= count;
	vm_push(vm, value_obj(list));
}

static bool binary(Vm *vm, OpCode op)
{
	static const char *const signs[] = {
		[OP_ADD] = "+",  [OP_SUBTRACT] = "-",    [OP_MULTIPLY] = "*", [OP_DIVIDE] = "/",         [OP_MODULO] = "%",
		[OP_POWER] = "^", [OP_LESS] = "<", [OP_LESS_EQUAL] = "<=", [OP_GREATER] = ">", [OP_GREATER_EQUAL] = ">=",
	};
	Value b = vm->top[-1], a = vm->top[-2], result;
	if (!arith_binary(&vm->heap, op, a, b, &result))
		return vm_error(vm, "%s %s %s makes no sense", value_type_name(a), signs[op], value_type_name(b));
	vm->top--;
	vm->top[-1] = result;
	return true;
}

static bool undefined(Vm *vm, const ObjString *name)
{
	return vm_error(vm, "%s is not defined", name->bytes);
}

// Runs until the frame with number floor has returned; its value is on top of the stack then.
static bool execute(Vm *vm, int floor)
{
	while (vm->frame_count > floor) {
		Frame *frame = &vm->frames[vm->frame_count - 1];
		OpCode op = *frame->ip++;
		switch (op) {
		case OP_CONST:
			vm_push(vm, read_constant(frame));
			break;
		case OP_NIL:
			vm_push(vm, value_nil());
			break;
		case OP_TRUE:
			vm_push(vm, value_bool(true));
			break;
		case OP_FALSE:
			vm_push(vm, value_bool(false));
			break;
		case OP_POP:
			vm->top--;
			break;
		case OP_GET_LOCAL:
			vm_push(vm, frame->base[*frame->ip++]);
			break;
		case OP_SET_LOCAL:
			frame->base[*frame->ip++] = vm->top[-1];
			break;
		case OP_GET_CAPTURE:
			vm_push(vm, frame->closure->captured[*frame->ip++]);
			break;
		case OP_GET_GLOBAL: {
			const ObjString *name = as_string(read_constant(frame));
			Value value;
			if (!table_get(&vm->globals, name, &value))
				return undefined(vm, name);
			vm_push(vm, value);
			break;
		}
		case OP_SET_GLOBAL: {
			ObjString *name = as_string(read_constant(frame));
			Value old;
			if (!table_get(&vm->globals, name, &old))
				return undefined(vm, name);
			table_set(&vm->globals, name, vm->top[-1]);
			break;
		}
		case OP_DEFINE_GLOBAL:
			table_set(&vm->globals, as_string(read_constant(frame)), vm->top[-1]);
			break;
		case OP_ADD:
		case OP_SUBTRACT:
		case OP_MULTIPLY:
		case OP_DIVIDE:
		case OP_MODULO:
		case OP_POWER:
		case OP_EQUAL:
		case OP_NOT_EQUAL:
		case OP_LESS:
		case OP_LESS_EQUAL:
		case OP_GREATER:
		case OP_GREATER_EQUAL:
			if (!binary(vm, op))
				return false;
			break;
		case OP_NEGATE:
			if (!arith_negate(vm->top[-1], &vm->top[-1]))
				return vm_error(vm, "a %s cannot be negated", value_type_name(vm->top[-1]));
			break;
		case OP_NOT:
			vm->top[-1] = value_bool(!value_truthy(vm->top[-1]));
			break;
		case OP_JUMP: {
			uint16_t distance = read_short(frame);
			frame->ip += distance;
			break;
		}
		case OP_JUMP_IF_FALSE:
		case OP_JUMP_IF_TRUE: {
			uint16_t distance = read_short(frame);
			if (value_truthy(vm->top[-1]) == (op == OP_JUMP_IF_TRUE))
				frame->ip += distance;
			break;
		}
		case OP_LOOP: {
			uint16_t distance = read_short(frame);
			frame->ip -= distance;
			collect_if_due(vm);
			break;
		}
		case OP_CALL:
			if (!call(vm, *frame->ip++))
				return false;
			break;
		case OP_CLOSURE:
			make_closure(vm, frame);
			break;
		case OP_LIST:
			make_list(vm, *frame->ip++);
			break;
		case OP_INDEX: {
			Value result;
			if (!get_index(vm, vm->top[-2], vm->top[-1], &result))
				return false;
			vm->top--;
			vm->top[-1] = result;
			break;
		}
		case OP_SET_INDEX: {
			Value value = vm->top[-1];
			if (!set_index(vm, vm->top[-3], vm->top[-2], value))
				return false;
			vm->top -= 2;
			vm->top[-1] = value;
			break;
		}
		case OP_RETURN: {
			Value result = vm->top[-1];
			vm->top = frame->base;
			vm->frame_count--;
			vm_push(vm, result);
			break;
		}
		}
	}
	return true;
}

bool vm_call(Vm *vm, Value callee, int argc, const Value *args, Value *result)
{
	if (vm->native_depth == MAX_NATIVE_DEPTH || vm->top + argc + 1 + NATIVE_ROOM > vm->stack + MAX_STACK)
		return vm_error(vm, "calls are nested too deeply");
	vm->native_depth++;
	int floor = vm->frame_count;
	vm_push(vm, callee);
	for (int i = 0; i < argc; i++)
		vm_push(vm, args[i]);
	bool ok = call(vm, argc) && execute(vm, floor);
	vm->native_depth--;
	if (ok)
		*result = vm_pop(vm);
	return ok;
}

bool vm_run(Vm *vm, ObjProto *program, Value *result)
{
	vm->top = vm->stack;
	vm->frame_count = 0;
	vm->native_depth = 0;
	vm->failed = false;
	buffer_free(&vm->error);
	vm_push(vm, value_obj(heap_closure(&vm->heap, program)));
	if (!call(vm, 0) || !execute(vm, 0))
		return false;
	*result = vm_pop(vm);
	return true;
}

void vm_define_native(Vm *vm, const char *name, int arity, NativeFn fn)
{
	ObjString *key = str_new(&vm->heap, name, strlen(name));
	table_set(&vm->globals, key, value_obj(heap_native(&vm->heap, name, arity, fn)));
}
