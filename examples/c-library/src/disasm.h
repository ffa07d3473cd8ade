// Shows bytecode for people.
#ifndef PEBBLE_DISASM_H
#define PEBBLE_DISASM_H

#include "object.h"
#include "source.h"

// The function, and those it contains.
void disasm(Buffer *out, const ObjProto *proto, const Source *source);

#endif
