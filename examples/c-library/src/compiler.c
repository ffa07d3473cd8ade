#include "compiler.h"

#include "arith.h"

typedef struct {
	Heap *heap;
	Report *report;
	ObjProto *proto;
	int depth; // temporaries on the stack at this point of the code
} Compiler;

static void expr(Compiler *c, const Node *node);

static int effect_of(OpCode op)
{
	static const signed char effects[] = {
#define X(name, operands, effect) effect,
		PEBBLE_OPCODES(X)
#undef X
	};
	return effects[op];
}

static void emit(Compiler *c, OpCode op, size_t offset)
{
	chunk_byte(&c->proto->chunk, (uint8_t)op, (uint32_t)offset);
	c->depth += effect_of(op);
	if (c->proto->max_depth < c->depth)
		c->proto->max_depth = c->depth;
}

static void byte(Compiler *c, size_t value, size_t offset)
{
	chunk_byte(&c->proto->chunk, (uint8_t)value, (uint32_t)offset);
}

static void emit1(Compiler *c, OpCode op, size_t operand, size_t offset)
{
	emit(c, op, offset);
	byte(c, operand, offset);
}

static void emit2(Compiler *c, OpCode op, size_t operand, size_t offset)
{
	emit(c, op, offset);
	byte(c, operand >> 8 & 0xff, offset);
	byte(c, operand & 0xff, offset);
}

static size_t constant(Compiler *c, Value value, size_t offset)
{
	size_t index = chunk_constant(&c->proto->chunk, value);
	if (index > 0xffff)
		report_error(c->report, offset, "too many constants in one function");
	return index;
}

// Emits a jump whose target is not known yet; land() fills it in.
static size_t jump(Compiler *c, OpCode op, size_t offset)
{
	emit2(c, op, 0, offset);
	return c->proto->chunk.count;
}

static size_t checked_distance(Compiler *c, size_t distance, size_t offset)
{
	if (distance > 0xffff)
		report_error(c->report, offset, "too much code to jump over");
	return distance;
}

static void land(Compiler *c, size_t from, size_t offset)
{
	Chunk *chunk = &c->proto->chunk;
	size_t distance = checked_distance(c, chunk->count - from, offset);
	chunk->code[from - 2] = (uint8_t)(distance >> 8);
	chunk->code[from - 1] = (uint8_t)distance;
}

static void push_constant(Compiler *c, Value value, size_t offset)
{
	if (value.type == V_NIL)
		emit(c, OP_NIL, offset);
	else if (value.type == V_BOOL)
		emit(c, value.as.boolean ? OP_TRUE : OP_FALSE, offset);
	else
		emit2(c, OP_CONST, constant(c, value, offset), offset);
}

static void get(Compiler *c, const Node *node)
{
	NamePlace place = node->as.name.place;
	switch (place.kind) {
	case PLACE_LOCAL:
		emit1(c, OP_GET_LOCAL, (size_t)place.index, node->offset);
		return;
	case PLACE_CAPTURE:
		emit1(c, OP_GET_CAPTURE, (size_t)place.index, node->offset);
		return;
	case PLACE_GLOBAL:
		emit2(c, OP_GET_GLOBAL, constant(c, value_obj(node->as.name.name), node->offset), node->offset);
		return;
	}
}

static void set(Compiler *c, const Node *node, OpCode global)
{
	expr(c, node->as.name.value);
	NamePlace place = node->as.name.place;
	if (place.kind == PLACE_LOCAL)
		emit1(c, OP_SET_LOCAL, (size_t)place.index, node->offset);
	else
		emit2(c, global, constant(c, value_obj(node->as.name.name), node->offset), node->offset);
}

static void sequence(Compiler *c, const NodeList *list, size_t offset)
{
	if (list->count == 0)
		emit(c, OP_NIL, offset);
	for (size_t i = 0; i < list->count; i++) {
		if (i > 0)
			emit(c, OP_POP, list->items[i]->offset);
		expr(c, list->items[i]);
	}
}

static void logical(Compiler *c, const Node *node)
{
	expr(c, node->as.op.left);
	size_t end = jump(c, node->as.op.op == TOKEN_AND ? OP_JUMP_IF_FALSE : OP_JUMP_IF_TRUE, node->offset);
	emit(c, OP_POP, node->offset);
	expr(c, node->as.op.right);
	land(c, end, node->offset);
}

static void if_else(Compiler *c, const Node *node)
{
	expr(c, node->as.branch.condition);
	size_t otherwise = jump(c, OP_JUMP_IF_FALSE, node->offset);
	int depth = c->depth;
	emit(c, OP_POP, node->offset);
	expr(c, node->as.branch.then);
	size_t end = jump(c, OP_JUMP, node->offset);
	land(c, otherwise, node->offset);
	c->depth = depth;
	emit(c, OP_POP, node->offset);
	if (node->as.branch.otherwise != NULL)
		expr(c, node->as.branch.otherwise);
	else
		emit(c, OP_NIL, node->offset);
	land(c, end, node->offset);
}

static void while_loop(Compiler *c, const Node *node)
{
	size_t start = c->proto->chunk.count;
	expr(c, node->as.branch.condition);
	size_t end = jump(c, OP_JUMP_IF_FALSE, node->offset);
	int depth = c->depth;
	emit(c, OP_POP, node->offset);
	expr(c, node->as.branch.then);
	emit(c, OP_POP, node->offset);
	// The distance counts from behind the operand.
	emit2(c, OP_LOOP, checked_distance(c, c->proto->chunk.count + 3 - start, node->offset), node->offset);
	land(c, end, node->offset);
	c->depth = depth;
	emit(c, OP_POP, node->offset);
	emit(c, OP_NIL, node->offset);
}

static ObjProto *function(Heap *heap, Report *report, const Function *fn)
{
	Compiler c = {.heap = heap, .report = report, .proto = heap_proto(heap)};
	c.proto->name = fn->name;
	c.proto->arity = (int)fn->param_count;
	c.proto->slots = fn->slots;
	c.proto->captures = (int)fn->capture_count;
	if (fn->body->kind == NODE_BLOCK)
		sequence(&c, &fn->body->as.list.items, fn->body->offset);
	else
		expr(&c, fn->body);
	emit(&c, OP_RETURN, fn->body->offset);
	return c.proto;
}

static void closure(Compiler *c, const Node *node)
{
	const Function *fn = node->as.fn;
	ObjProto *proto = function(c->heap, c->report, fn);
	emit2(c, OP_CLOSURE, constant(c, value_obj(proto), node->offset), node->offset);
	for (size_t i = 0; i < fn->capture_count; i++) {
		byte(c, fn->captures[i].from_local, node->offset);
		byte(c, (size_t)fn->captures[i].index, node->offset);
	}
}

// Pushes the items and replaces them by the one value that op makes of them.
static void items(Compiler *c, const Node *node, OpCode op)
{
	const NodeList *list = &node->as.list.items;
	for (size_t i = 0; i < list->count; i++)
		expr(c, list->items[i]);
	emit1(c, op, list->count, node->offset);
	c->depth -= (int)list->count;
}

static void expr(Compiler *c, const Node *node)
{
	switch (node->kind) {
	case NODE_CONST:
		push_constant(c, node->as.constant, node->offset);
		return;
	case NODE_NAME:
		get(c, node);
		return;
	case NODE_ASSIGN:
		set(c, node, OP_SET_GLOBAL);
		return;
	case NODE_LET:
		set(c, node, OP_DEFINE_GLOBAL);
		return;
	case NODE_UNARY:
		expr(c, node->as.op.right);
		emit(c, node->as.op.op == TOKEN_MINUS ? OP_NEGATE : OP_NOT, node->offset);
		return;
	case NODE_BINARY:
		expr(c, node->as.op.left);
		expr(c, node->as.op.right);
		emit(c, arith_opcode(node->as.op.op), node->offset);
		return;
	case NODE_LOGICAL:
		logical(c, node);
		return;
	case NODE_INDEX:
		expr(c, node->as.index.object);
		expr(c, node->as.index.index);
		emit(c, OP_INDEX, node->offset);
		return;
	case NODE_SET_INDEX:
		expr(c, node->as.index.object);
		expr(c, node->as.index.index);
		expr(c, node->as.index.value);
		emit(c, OP_SET_INDEX, node->offset);
		return;
	case NODE_CALL:
		expr(c, node->as.list.callee);
		items(c, node, OP_CALL);
		return;
	case NODE_LIST:
		items(c, node, OP_LIST);
		return;
	case NODE_BLOCK:
		sequence(c, &node->as.list.items, node->offset);
		return;
	case NODE_FN:
		closure(c, node);
		return;
	case NODE_IF:
		if_else(c, node);
		return;
	case NODE_WHILE:
		while_loop(c, node);
		return;
	case NODE_RETURN:
		expr(c, node->as.branch.then);
		emit(c, OP_RETURN, node->offset);
		c->depth++; // code behind it never runs, but is counted as if it had a value
		return;
	}
}

ObjProto *compile(const Function *program, Heap *heap, Report *report)
{
	return function(heap, report, program);
}
