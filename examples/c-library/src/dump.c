#include "dump.h"

static void node(Buffer *out, const Node *n);

static void list(Buffer *out, const char *head, const NodeList *nodes)
{
	buffer_printf(out, "(%s", head);
	for (size_t i = 0; i < nodes->count; i++) {
		buffer_char(out, ' ');
		node(out, nodes->items[i]);
	}
	buffer_char(out, ')');
}

// (head a b c), without those that are NULL.
static void form(Buffer *out, const char *head, const Node *a, const Node *b, const Node *c)
{
	const Node *parts[] = {a, b, c};
	buffer_printf(out, "(%s", head);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (parts[i] == NULL)
			continue;
		buffer_char(out, ' ');
		node(out, parts[i]);
	}
	buffer_char(out, ')');
}

static void function(Buffer *out, const Function *fn)
{
	buffer_printf(out, "(fn %s (", fn->name ? fn->name->bytes : "_");
	for (size_t i = 0; i < fn->param_count; i++)
		buffer_printf(out, "%s%s", i > 0 ? " " : "", fn->params[i]->bytes);
	buffer_add(out, ") ", 2);
	node(out, fn->body);
	buffer_char(out, ')');
}

static void node(Buffer *out, const Node *n)
{
	switch (n->kind) {
	case NODE_CONST:
		value_format(out, n->as.constant, true);
		return;
	case NODE_NAME:
		buffer_printf(out, "%s", n->as.name.name->bytes);
		return;
	case NODE_ASSIGN:
	case NODE_LET:
		buffer_printf(out, "(%s %s ", n->kind == NODE_LET ? "let" : "=", n->as.name.name->bytes);
		node(out, n->as.name.value);
		buffer_char(out, ')');
		return;
	case NODE_UNARY:
	case NODE_BINARY:
	case NODE_LOGICAL:
		form(out, token_text(n->as.op.op), n->as.op.left, n->as.op.right, NULL);
		return;
	case NODE_INDEX:
	case NODE_SET_INDEX:
		form(out, n->kind == NODE_INDEX ? "[]" : "[]=", n->as.index.object, n->as.index.index, n->as.index.value);
		return;
	case NODE_CALL:
		buffer_add(out, "(call ", 6);
		node(out, n->as.list.callee);
		buffer_char(out, ' ');
		list(out, "args", &n->as.list.items);
		buffer_char(out, ')');
		return;
	case NODE_LIST:
		list(out, "list", &n->as.list.items);
		return;
	case NODE_BLOCK:
		list(out, "do", &n->as.list.items);
		return;
	case NODE_FN:
		function(out, n->as.fn);
		return;
	case NODE_IF:
		form(out, "if", n->as.branch.condition, n->as.branch.then, n->as.branch.otherwise);
		return;
	case NODE_WHILE:
		form(out, "while", n->as.branch.condition, n->as.branch.then, NULL);
		return;
	case NODE_RETURN:
		form(out, "return", n->as.branch.then, NULL, NULL);
		return;
	}
}

void dump(Buffer *out, const Function *program)
{
	node(out, program->body);
	buffer_char(out, '\n');
}
