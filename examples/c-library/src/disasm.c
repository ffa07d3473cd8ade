#include "disasm.h"

static const struct {
	const char *name;
	int operands;
} instructions[] = {
#define X(name, operands, effect) {#name, operands},
	PEBBLE_OPCODES(X)
#undef X
};

static size_t instruction(Buffer *out, const Chunk *chunk, size_t at)
{
	OpCode op = chunk->code[at++];
	size_t operand = 0;
	for (int i = 0; i < instructions[op].operands; i++)
		operand = operand << 8 | chunk->code[at++];
	buffer_printf(out, "%s", instructions[op].name);
	switch (op) {
	case OP_JUMP:
	case OP_JUMP_IF_FALSE:
	case OP_JUMP_IF_TRUE:
		buffer_printf(out, " -> %zu", at + operand);
		break;
	case OP_LOOP:
		buffer_printf(out, " -> %zu", at - operand);
		break;
	case OP_CONST:
	case OP_GET_GLOBAL:
	case OP_SET_GLOBAL:
	case OP_DEFINE_GLOBAL:
	case OP_CLOSURE:
		buffer_char(out, ' ');
		value_format(out, chunk->constants[operand], true);
		break;
	default:
		if (instructions[op].operands > 0)
			buffer_printf(out, " %zu", operand);
	}
	if (op == OP_CLOSURE) {
		int captures = ((const ObjProto *)chunk->constants[operand].as.obj)->captures;
		for (int i = 0; i < captures; i++, at += 2)
			buffer_printf(out, " %s %d", chunk->code[at] ? "local" : "capture", chunk->code[at + 1]);
	}
	return at;
}

void disasm(Buffer *out, const ObjProto *proto, const Source *source)
{
	buffer_printf(out, "fn %s  arity %d, slots %d, depth %d\n", proto->name ? proto->name->bytes : "?", proto->arity,
		      proto->slots, proto->max_depth);
	for (size_t at = 0; at < proto->chunk.count;) {
		buffer_printf(out, "%5zu  line %-3d ", at, source_place(source, proto->chunk.offsets[at]).line);
		at = instruction(out, &proto->chunk, at);
		buffer_char(out, '\n');
	}
	for (size_t i = 0; i < proto->chunk.constant_count; i++) {
		Value v = proto->chunk.constants[i];
		if (value_is(v, OBJ_PROTO))
			disasm(out, (const ObjProto *)v.as.obj, source);
	}
}
