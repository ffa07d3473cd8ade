// The functions every program has.
#ifndef PEBBLE_BUILTIN_H
#define PEBBLE_BUILTIN_H

#include "vm.h"

void builtin_define(Vm *vm);

// One group each; called by builtin_define.
void builtin_define_math(Vm *vm);
void builtin_define_text(Vm *vm);
void builtin_define_list(Vm *vm);

// For the groups: false after an error that names the function and the argument (counted from 1).
bool builtin_want(Vm *vm, const char *function, int argument, Value value, ObjType type);
bool builtin_want_number(Vm *vm, const char *function, int argument, Value value);

#endif
