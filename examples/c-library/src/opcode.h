// The instructions. Operands follow the opcode, high byte first.
#ifndef PEBBLE_OPCODE_H
#define PEBBLE_OPCODE_H

// X(name, bytes of operands, values pushed minus values popped); calls and lists pop what their operand says as well.
#define PEBBLE_OPCODES(X)                                                    \
	X(CONST, 2, 1)         /* constant */                                \
	X(NIL, 0, 1)                                                         \
	X(TRUE, 0, 1)                                                        \
	X(FALSE, 0, 1)                                                       \
	X(POP, 0, -1)                                                        \
	X(GET_LOCAL, 1, 1)     /* slot */                                    \
	X(SET_LOCAL, 1, 0)     /* slot; the value stays */                   \
	X(GET_CAPTURE, 1, 1)   /* index */                                   \
	X(GET_GLOBAL, 2, 1)    /* constant: the name */                      \
	X(SET_GLOBAL, 2, 0)    /* constant: the name; the value stays */     \
	X(DEFINE_GLOBAL, 2, 0) /* constant: the name; the value stays */     \
	X(ADD, 0, -1)                                                        \
	X(SUBTRACT, 0, -1)                                                   \
	X(MULTIPLY, 0, -1)                                                   \
	X(DIVIDE, 0, -1)                                                     \
	X(MODULO, 0, -1)                                                     \
	X(POWER, 0, -1)                                                      \
	X(EQUAL, 0, -1)                                                      \
	X(NOT_EQUAL, 0, -1)                                                  \
	X(LESS, 0, -1)                                                       \
	X(LESS_EQUAL, 0, -1)                                                 \
	X(GREATER, 0, -1)                                                    \
	X(GREATER_EQUAL, 0, -1)                                              \
	X(NEGATE, 0, 0)                                                      \
	X(NOT, 0, 0)                                                         \
	X(JUMP, 2, 0)          /* forward, from behind the operand */        \
	X(JUMP_IF_FALSE, 2, 0) /* the condition stays */                     \
	X(JUMP_IF_TRUE, 2, 0)  /* the condition stays */                     \
	X(LOOP, 2, 0)          /* backward, from behind the operand */       \
	X(CALL, 1, 0)          /* number of arguments */                     \
	X(CLOSURE, 2, 1)       /* constant: the function; then 2 bytes per capture: is it a local, index */ \
	X(LIST, 1, 1)          /* number of items */                         \
	X(INDEX, 0, -1)                                                      \
	X(SET_INDEX, 0, -2)                                                  \
	X(RETURN, 0, -1)

typedef enum {
#define X(name, operands, effect) OP_##name,
	PEBBLE_OPCODES(X)
#undef X
} OpCode;

#endif
