#include "resolver.h"

#include "memory.h"

#include <stdlib.h>

enum { MAX_SLOTS = 255 };

typedef struct {
	ObjString *name;
	int depth;
	int slot;
} Local;

typedef struct Scope Scope;

// One function being resolved.
struct Scope {
	Scope *outer;
	Function *fn;
	Local *locals;
	size_t count, capacity;
	ObjString **captured; // names, parallel to fn->captures
	size_t captured_count, captured_capacity;
	int depth; // of blocks; 0: the top level of the program
};

typedef struct {
	Arena *arena;
	Report *report;
	Scope *scope;
} Resolver;

static void visit(Resolver *r, Node *node);

static int declare(Resolver *r, ObjString *name, size_t offset)
{
	Scope *s = r->scope;
	for (size_t i = s->count; i-- > 0 && s->locals[i].depth == s->depth;)
		if (s->locals[i].name == name && name != NULL)
			report_error(r->report, offset, "%s is declared twice in one block", name->bytes);
	int slot = (int)s->count;
	if (slot >= MAX_SLOTS) {
		report_error(r->report, offset, "too many local names in one function, at most %d", MAX_SLOTS);
		slot = 0;
	}
	MEM_RESERVE(s->locals, s->count, s->capacity);
	s->locals[s->count++] = (Local){name, s->depth, slot};
	if (s->fn->slots <= slot)
		s->fn->slots = slot + 1;
	return slot;
}

static const Local *find_local(const Scope *s, const ObjString *name)
{
	for (size_t i = s->count; i-- > 0;)
		if (s->locals[i].name == name)
			return &s->locals[i];
	return NULL;
}

static int add_capture(Resolver *r, Scope *s, ObjString *name, Capture capture)
{
	MEM_RESERVE(s->captured, s->captured_count, s->captured_capacity);
	s->captured[s->captured_count++] = name;
	return function_add_capture(r->arena, s->fn, capture);
}

// The number of the capture for name in s, or -1 when no function around has it.
static int find_capture(Resolver *r, Scope *s, ObjString *name)
{
	for (size_t i = 0; i < s->captured_count; i++)
		if (s->captured[i] == name)
			return (int)i;
	if (s->outer == NULL)
		return -1;
	const Local *local = find_local(s->outer, name);
	if (local != NULL)
		return add_capture(r, s, name, (Capture){true, local->slot});
	int outer = find_capture(r, s->outer, name);
	if (outer < 0)
		return -1;
	return add_capture(r, s, name, (Capture){false, outer});
}

static NamePlace look_up(Resolver *r, ObjString *name, size_t offset)
{
	const Local *local = find_local(r->scope, name);
	if (local != NULL)
		return (NamePlace){PLACE_LOCAL, local->slot};
	int capture = find_capture(r, r->scope, name);
	if (capture > 255) {
		report_error(r->report, offset, "too many captured names in one function, at most 255");
		capture = 0;
	}
	if (capture >= 0)
		return (NamePlace){PLACE_CAPTURE, capture};
	return (NamePlace){PLACE_GLOBAL, 0};
}

static void visit_all(Resolver *r, NodeList *list)
{
	for (size_t i = 0; i < list->count; i++)
		visit(r, list->items[i]);
}

static void visit_block(Resolver *r, Node *node)
{
	Scope *s = r->scope;
	size_t before = s->count;
	s->depth++;
	visit_all(r, &node->as.list.items);
	s->depth--;
	s->count = before;
}

static void visit_function(Resolver *r, Function *fn, size_t offset, bool program)
{
	Scope s = {.outer = r->scope, .fn = fn};
	r->scope = &s;
	if (program) {
		declare(r, NULL, offset); // slot 0 is the function itself
		visit_all(r, &fn->body->as.list.items);
	} else {
		s.depth = 1;
		declare(r, fn->name, offset);
		s.depth = 2;
		for (size_t i = 0; i < fn->param_count; i++)
			declare(r, fn->params[i], offset);
		visit_block(r, fn->body);
	}
	r->scope = s.outer;
	free(s.locals);
	free(s.captured);
}

static void visit_let(Resolver *r, Node *node)
{
	visit(r, node->as.name.value);
	if (r->scope->depth == 0)
		node->as.name.place = (NamePlace){PLACE_GLOBAL, 0};
	else
		node->as.name.place = (NamePlace){PLACE_LOCAL, declare(r, node->as.name.name, node->offset)};
}

static void visit(Resolver *r, Node *node)
{
	if (node == NULL)
		return;
	switch (node->kind) {
	case NODE_CONST:
		return;
	case NODE_NAME:
		node->as.name.place = look_up(r, node->as.name.name, node->offset);
		return;
	case NODE_ASSIGN:
		visit(r, node->as.name.value);
		node->as.name.place = look_up(r, node->as.name.name, node->offset);
		if (node->as.name.place.kind == PLACE_CAPTURE)
			report_error(r->report, node->offset, "%s belongs to a function around this one and cannot be assigned to here",
				     node->as.name.name->bytes);
		return;
	case NODE_LET:
		visit_let(r, node);
		return;
	case NODE_UNARY:
	case NODE_BINARY:
	case NODE_LOGICAL:
		visit(r, node->as.op.left);
		visit(r, node->as.op.right);
		return;
	case NODE_INDEX:
	case NODE_SET_INDEX:
		visit(r, node->as.index.object);
		visit(r, node->as.index.index);
		visit(r, node->as.index.value);
		return;
	case NODE_CALL:
	case NODE_LIST:
		visit(r, node->as.list.callee);
		visit_all(r, &node->as.list.items);
		return;
	case NODE_BLOCK:
		visit_block(r, node);
		return;
	case NODE_FN:
		visit_function(r, node->as.fn, node->offset, false);
		return;
	case NODE_IF:
	case NODE_WHILE:
	case NODE_RETURN:
		visit(r, node->as.branch.condition);
		visit(r, node->as.branch.then);
		visit(r, node->as.branch.otherwise);
		return;
	}
}

void resolve(Function *program, Arena *arena, Report *report)
{
	Resolver r = {.arena = arena, .report = report};
	visit_function(&r, program, 0, true);
}
