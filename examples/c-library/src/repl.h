// Reads a line, evaluates it, prints the value, until the input ends.
#ifndef PEBBLE_REPL_H
#define PEBBLE_REPL_H

#include "vm.h"

void repl(Vm *vm, FILE *in, bool prompt);

#endif
