#include "fold.h"

#include "arith.h"

static Node *folded(Node *node, Heap *heap);

static void fold_in(Node **link, Heap *heap)
{
	if (*link != NULL)
		*link = folded(*link, heap);
}

static void fold_all(NodeList *list, Heap *heap)
{
	for (size_t i = 0; i < list->count; i++)
		fold_in(&list->items[i], heap);
}

static Node *to_constant(Node *node, Value value)
{
	node->kind = NODE_CONST;
	node->as.constant = value;
	return node;
}

static Node *folded_binary(Node *node, Heap *heap)
{
	const Node *left = node->as.op.left, *right = node->as.op.right;
	Value result;
	if (left->kind == NODE_CONST && right->kind == NODE_CONST &&
	    arith_binary(heap, arith_opcode(node->as.op.op), left->as.constant, right->as.constant, &result))
		return to_constant(node, result);
	return node;
}

static Node *folded_unary(Node *node)
{
	const Node *right = node->as.op.right;
	Value result;
	if (right->kind != NODE_CONST)
		return node;
	if (node->as.op.op == TOKEN_NOT)
		return to_constant(node, value_bool(!value_truthy(right->as.constant)));
	return arith_negate(right->as.constant, &result) ? to_constant(node, result) : node;
}

static Node *folded_logical(Node *node)
{
	const Node *left = node->as.op.left;
	if (left->kind != NODE_CONST)
		return node;
	bool takes_right = value_truthy(left->as.constant) == (node->as.op.op == TOKEN_AND);
	return takes_right ? node->as.op.right : node->as.op.left;
}

static Node *folded_if(Node *node)
{
	const Node *condition = node->as.branch.condition;
	if (condition->kind != NODE_CONST)
		return node;
	if (value_truthy(condition->as.constant))
		return node->as.branch.then;
	return node->as.branch.otherwise ? node->as.branch.otherwise : to_constant(node, value_nil());
}

static Node *folded(Node *node, Heap *heap)
{
	switch (node->kind) {
	case NODE_CONST:
	case NODE_NAME:
		return node;
	case NODE_ASSIGN:
	case NODE_LET:
		fold_in(&node->as.name.value, heap);
		return node;
	case NODE_UNARY:
		fold_in(&node->as.op.right, heap);
		return folded_unary(node);
	case NODE_BINARY:
		fold_in(&node->as.op.left, heap);
		fold_in(&node->as.op.right, heap);
		return folded_binary(node, heap);
	case NODE_LOGICAL:
		fold_in(&node->as.op.left, heap);
		fold_in(&node->as.op.right, heap);
		return folded_logical(node);
	case NODE_INDEX:
	case NODE_SET_INDEX:
		fold_in(&node->as.index.object, heap);
		fold_in(&node->as.index.index, heap);
		fold_in(&node->as.index.value, heap);
		return node;
	case NODE_CALL:
	case NODE_LIST:
	case NODE_BLOCK:
		fold_in(&node->as.list.callee, heap);
		fold_all(&node->as.list.items, heap);
		return node;
	case NODE_FN:
		fold_in(&node->as.fn->body, heap);
		return node;
	case NODE_IF:
		fold_in(&node->as.branch.condition, heap);
		fold_in(&node->as.branch.then, heap);
		fold_in(&node->as.branch.otherwise, heap);
		return folded_if(node);
	case NODE_WHILE:
	case NODE_RETURN:
		fold_in(&node->as.branch.condition, heap);
		fold_in(&node->as.branch.then, heap);
		return node;
	}
	return node;
}

void fold(Function *program, Heap *heap)
{
	fold_in(&program->body, heap);
}
