// The virtual machine: a stack of values, a stack of calls, and the globals.
#ifndef PEBBLE_VM_H
#define PEBBLE_VM_H

#include "heap.h"

#include <stdio.h>

typedef struct {
	ObjClosure *closure;
	const uint8_t *ip;
	Value *base; // the function itself, its arguments, its locals; temporaries follow
} Frame;

struct Vm {
	Heap heap;
	Table globals;
	Value *stack, *top;
	Frame *frames;
	int frame_count;
	int native_depth; // natives that called back into the VM
	FILE *out;        // where print writes
	bool failed;
	Buffer error; // the message, when failed
	size_t error_offset;
	int error_frames; // calls that were active when it failed
};

void vm_init(Vm *vm, FILE *out);
void vm_free(Vm *vm);

// Runs a compiled program. False when it failed: error, error_offset and error_frames tell how.
bool vm_run(Vm *vm, ObjProto *program, Value *result);

// For natives.

// Calls a function that is a value. The caller must return at once when it is false.
bool vm_call(Vm *vm, Value callee, int argc, const Value *args, Value *result);

// Records the error; returns false, for `return vm_error(...)`.
bool vm_error(Vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Keeps a value alive while a native calls back.
void vm_push(Vm *vm, Value value);
Value vm_pop(Vm *vm);

void vm_define_native(Vm *vm, const char *name, int arity, NativeFn fn);

#endif
