// Operators on values, shared by the VM and by constant folding so that they cannot disagree.
#ifndef PEBBLE_ARITH_H
#define PEBBLE_ARITH_H

#include "heap.h"
#include "opcode.h"
#include "token.h"

// False when the operator does not take such values.
bool arith_binary(Heap *heap, OpCode op, Value a, Value b, Value *result);
bool arith_negate(Value a, Value *result);

// The instruction of a binary operator.
OpCode arith_opcode(TokenKind op);

#endif
