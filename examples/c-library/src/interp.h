// The whole way from text to a result.
#ifndef PEBBLE_INTERP_H
#define PEBBLE_INTERP_H

#include "source.h"
#include "vm.h"

typedef enum { INTERP_RUN, INTERP_TREE, INTERP_CODE } InterpMode;

typedef enum { INTERP_OK, INTERP_WRONG, INTERP_FAILED } InterpStatus; // wrong: does not compile

// Runs the program, or shows its tree or code on out instead. Errors are text in errors.
InterpStatus interp(Vm *vm, const Source *source, InterpMode mode, Value *result, Buffer *errors);

#endif
