#include "parser.h"

#include "lexer.h"
#include "str.h"

#include <stdlib.h>

// Passes after this one recurse as deep as the tree, so it is bounded in depth and in the length of chains.
enum { MAX_NESTING = 200, MAX_CHAIN = 200, MAX_ITEMS = 255 };

typedef struct {
	Lexer lexer;
	Arena *arena;
	Heap *heap;
	Report *report;
	Token current;
	size_t previous_end;
	int nesting;
	bool broken; // an error was reported; quiet until the next statement
} Parser;

typedef enum { PREC_OR = 1, PREC_AND, PREC_EQUALITY, PREC_COMPARISON, PREC_TERM, PREC_FACTOR, PREC_POWER } Precedence;

static Node *expression(Parser *p);
static Node *block(Parser *p);
static Node *prefix(Parser *p);

static void advance(Parser *p)
{
	p->previous_end = p->current.offset + p->current.length;
	p->current = lexer_next(&p->lexer);
}

static void fail(Parser *p, size_t offset, const char *message, const char *detail)
{
	if (!p->broken)
		report_error(p->report, offset, "%s%s", message, detail);
	p->broken = true;
}

static bool at(const Parser *p, TokenKind kind)
{
	return p->current.kind == kind;
}

static bool accept(Parser *p, TokenKind kind)
{
	if (!at(p, kind))
		return false;
	advance(p);
	return true;
}

static void expect(Parser *p, TokenKind kind)
{
	if (!accept(p, kind))
		fail(p, kind == TOKEN_SEMICOLON ? p->previous_end : p->current.offset, "expected ", token_text(kind));
}

static Node *constant(Parser *p, size_t offset, Value value)
{
	Node *node = node_new(p->arena, NODE_CONST, offset);
	node->as.constant = value;
	return node;
}

static ObjString *name(Parser *p)
{
	Token token = p->current;
	expect(p, TOKEN_NAME);
	return str_new(p->heap, p->lexer.source->text + token.offset, p->broken ? 0 : token.length);
}

static Value string_value(Parser *p, Token token)
{
	const char *text = p->lexer.source->text + token.offset;
	Buffer bytes;
	buffer_init(&bytes);
	for (size_t i = 1; i + 1 < token.length; i++) {
		if (text[i] != '\\') {
			buffer_char(&bytes, text[i]);
			continue;
		}
		switch (text[++i]) {
		case 'n':
			buffer_char(&bytes, '\n');
			break;
		case 't':
			buffer_char(&bytes, '\t');
			break;
		case '"':
		case '\\':
			buffer_char(&bytes, text[i]);
			break;
		default:
			fail(p, token.offset + i, "unknown escape in a string", "");
		}
	}
	return value_obj(str_take(p->heap, &bytes));
}

// Comma-separated expressions up to the closing token.
static void items(Parser *p, NodeList *list, TokenKind close)
{
	while (!at(p, close) && !p->broken) {
		if (list->count == MAX_ITEMS)
			fail(p, p->current.offset, "too many items, at most 255", "");
		node_list_add(p->arena, list, expression(p));
		if (!accept(p, TOKEN_COMMA))
			break;
	}
	expect(p, close);
}

static Function *function(Parser *p, ObjString *fn_name)
{
	Function *fn = arena_alloc(p->arena, sizeof *fn);
	fn->name = fn_name;
	expect(p, TOKEN_LPAREN);
	while (!at(p, TOKEN_RPAREN) && !p->broken) {
		if (fn->param_count == MAX_ITEMS)
			fail(p, p->current.offset, "too many parameters, at most 255", "");
		function_add_param(p->arena, fn, name(p));
		if (!accept(p, TOKEN_COMMA))
			break;
	}
	expect(p, TOKEN_RPAREN);
	fn->body = block(p);
	return fn;
}

static Node *if_expression(Parser *p, size_t offset)
{
	Node *node = node_new(p->arena, NODE_IF, offset);
	node->as.branch.condition = expression(p);
	node->as.branch.then = block(p);
	if (accept(p, TOKEN_ELSE))
		node->as.branch.otherwise = at(p, TOKEN_IF) ? prefix(p) : block(p);
	return node;
}

static Node *primary(Parser *p)
{
	Token token = p->current;
	switch (token.kind) {
	case TOKEN_LBRACE:
		return block(p);
	case TOKEN_NUMBER:
		advance(p);
		return constant(p, token.offset, value_number(strtod(p->lexer.source->text + token.offset, NULL)));
	case TOKEN_STRING:
		advance(p);
		return constant(p, token.offset, string_value(p, token));
	case TOKEN_TRUE:
	case TOKEN_FALSE:
		advance(p);
		return constant(p, token.offset, value_bool(token.kind == TOKEN_TRUE));
	case TOKEN_NIL:
		advance(p);
		return constant(p, token.offset, value_nil());
	case TOKEN_NAME: {
		Node *node = node_new(p->arena, NODE_NAME, token.offset);
		node->as.name.name = name(p);
		return node;
	}
	case TOKEN_LPAREN: {
		advance(p);
		Node *node = expression(p);
		expect(p, TOKEN_RPAREN);
		return node;
	}
	case TOKEN_LBRACKET: {
		advance(p);
		Node *node = node_new(p->arena, NODE_LIST, token.offset);
		items(p, &node->as.list.items, TOKEN_RBRACKET);
		return node;
	}
	case TOKEN_FN: {
		advance(p);
		Node *node = node_new(p->arena, NODE_FN, token.offset);
		node->as.fn = function(p, NULL);
		return node;
	}
	case TOKEN_IF:
		advance(p);
		return if_expression(p, token.offset);
	case TOKEN_WHILE: {
		advance(p);
		Node *node = node_new(p->arena, NODE_WHILE, token.offset);
		node->as.branch.condition = expression(p);
		node->as.branch.then = block(p);
		return node;
	}
	case TOKEN_RETURN: {
		advance(p);
		Node *node = node_new(p->arena, NODE_RETURN, token.offset);
		bool bare = at(p, TOKEN_SEMICOLON) || at(p, TOKEN_RBRACE) || at(p, TOKEN_END);
		node->as.branch.then = bare ? constant(p, token.offset, value_nil()) : expression(p);
		return node;
	}
	default:
		fail(p, token.offset, "expected an expression, not ", token_text(token.kind));
		return constant(p, token.offset, value_nil());
	}
}

static Node *postfix(Parser *p)
{
	bool braces = at(p, TOKEN_LBRACE) || at(p, TOKEN_IF) || at(p, TOKEN_WHILE);
	Node *node = primary(p);
	for (int length = 0; !braces; length++) {
		size_t offset = p->current.offset;
		if (length == MAX_CHAIN)
			fail(p, offset, "too many calls in one chain, at most 200", "");
		if (accept(p, TOKEN_LPAREN)) {
			Node *call = node_new(p->arena, NODE_CALL, offset);
			call->as.list.callee = node;
			items(p, &call->as.list.items, TOKEN_RPAREN);
			node = call;
		} else if (accept(p, TOKEN_LBRACKET)) {
			Node *index = node_new(p->arena, NODE_INDEX, offset);
			index->as.index.object = node;
			index->as.index.index = expression(p);
			expect(p, TOKEN_RBRACKET);
			node = index;
		} else {
			break;
		}
	}
	return node;
}

static Precedence precedence(TokenKind kind)
{
	switch (kind) {
	case TOKEN_OR:
		return PREC_OR;
	case TOKEN_AND:
		return PREC_AND;
	case TOKEN_EQUAL:
	case TOKEN_NOT_EQUAL:
		return PREC_EQUALITY;
	case TOKEN_LESS:
	case TOKEN_LESS_EQUAL:
	case TOKEN_GREATER:
	case TOKEN_GREATER_EQUAL:
		return PREC_COMPARISON;
	case TOKEN_PLUS:
	case TOKEN_MINUS:
		return PREC_TERM;
	case TOKEN_STAR:
	case TOKEN_SLASH:
	case TOKEN_PERCENT:
		return PREC_FACTOR;
	case TOKEN_CARET:
		return PREC_POWER;
	default:
		return 0;
	}
}

static Node *binary(Parser *p, Precedence least)
{
	Node *left = prefix(p);
	for (int length = 0;; length++) {
		Token op = p->current;
		Precedence prec = precedence(op.kind);
		if (prec == 0 || prec < least)
			return left;
		if (length == MAX_CHAIN || p->nesting >= MAX_NESTING)
			fail(p, op.offset, "too many operators in one expression", "");
		if (p->broken)
			return left;
		p->nesting++;
		advance(p);
		bool logical = op.kind == TOKEN_AND || op.kind == TOKEN_OR;
		Node *node = node_new(p->arena, logical ? NODE_LOGICAL : NODE_BINARY, op.offset);
		node->as.op.op = op.kind;
		node->as.op.left = left;
		// Powers group to the right, everything else to the left.
		node->as.op.right = binary(p, prec == PREC_POWER ? prec : prec + 1);
		p->nesting--;
		left = node;
	}
}

static Node *prefix(Parser *p)
{
	Token token = p->current;
	if (p->nesting >= MAX_NESTING) {
		fail(p, token.offset, "nested too deeply", "");
		return constant(p, token.offset, value_nil());
	}
	p->nesting++;
	Node *node;
	if (token.kind == TOKEN_MINUS || token.kind == TOKEN_NOT) {
		advance(p);
		node = node_new(p->arena, NODE_UNARY, token.offset);
		node->as.op.op = token.kind;
		// -2 ^ 2 is -(2 ^ 2).
		node->as.op.right = binary(p, token.kind == TOKEN_MINUS ? PREC_POWER : PREC_EQUALITY);
	} else {
		node = postfix(p);
	}
	p->nesting--;
	return node;
}

static Node *assigned(Parser *p)
{
	if (p->nesting >= MAX_NESTING)
		fail(p, p->current.offset, "nested too deeply", "");
	if (p->broken)
		return constant(p, p->current.offset, value_nil());
	p->nesting++;
	Node *node = expression(p);
	p->nesting--;
	return node;
}

static Node *expression(Parser *p)
{
	Node *target = binary(p, PREC_OR);
	size_t offset = p->current.offset;
	if (!accept(p, TOKEN_ASSIGN))
		return target;
	if (target->kind == NODE_NAME) {
		Node *node = node_new(p->arena, NODE_ASSIGN, target->offset);
		node->as.name.name = target->as.name.name;
		node->as.name.value = assigned(p);
		return node;
	}
	if (target->kind == NODE_INDEX) {
		target->kind = NODE_SET_INDEX;
		target->as.index.value = assigned(p);
		return target;
	}
	fail(p, offset, "only a name or an element can be assigned to", "");
	return target;
}

static Node *let(Parser *p)
{
	Node *node = node_new(p->arena, NODE_LET, p->current.offset);
	node->as.name.name = name(p);
	expect(p, TOKEN_ASSIGN);
	node->as.name.value = expression(p);
	return node;
}

static Node *named_function(Parser *p, size_t offset, ObjString *fn_name)
{
	Node *fn = node_new(p->arena, NODE_FN, offset);
	fn->as.fn = function(p, fn_name);
	Node *node = node_new(p->arena, NODE_LET, offset);
	node->as.name.name = fn_name;
	node->as.name.value = fn;
	return node;
}

static bool ends_with_brace(const Node *node)
{
	switch (node->kind) {
	case NODE_IF:
	case NODE_WHILE:
	case NODE_BLOCK:
		return true;
	case NODE_LET:
		return node->as.name.value->kind == NODE_FN;
	default:
		return false;
	}
}

// `fn name(` begins a declaration, `fn (` a function without a name.
static bool at_named_function(const Parser *p)
{
	Lexer ahead = p->lexer;
	return at(p, TOKEN_FN) && lexer_next(&ahead).kind == TOKEN_NAME;
}

static Node *statement(Parser *p)
{
	size_t offset = p->current.offset;
	if (accept(p, TOKEN_LET))
		return let(p);
	if (at_named_function(p)) {
		advance(p);
		return named_function(p, offset, name(p));
	}
	// A statement that begins like this ends at its brace.
	if (at(p, TOKEN_LBRACE) || at(p, TOKEN_IF) || at(p, TOKEN_WHILE))
		return prefix(p);
	return expression(p);
}

static void recover(Parser *p)
{
	while (!at(p, TOKEN_END) && !at(p, TOKEN_RBRACE) && !accept(p, TOKEN_SEMICOLON))
		advance(p);
	p->broken = false;
}

// Statements up to close. The last one without a semicolon is the value; else it is nil.
static void statements(Parser *p, Node *block_node, TokenKind close)
{
	NodeList *list = &block_node->as.list.items;
	while (!at(p, close) && !at(p, TOKEN_END)) {
		size_t before = p->current.offset;
		Node *node = statement(p);
		node_list_add(p->arena, list, node);
		if (p->broken) {
			recover(p);
			if (p->current.offset == before)
				advance(p); // a stray brace
			continue;
		}
		bool last = at(p, close);
		if (accept(p, TOKEN_SEMICOLON)) {
			if (at(p, close))
				node_list_add(p->arena, list, constant(p, p->previous_end, value_nil()));
		} else if (!last && !ends_with_brace(node)) {
			expect(p, TOKEN_SEMICOLON);
			recover(p);
		}
	}
}

static Node *block(Parser *p)
{
	Node *node = node_new(p->arena, NODE_BLOCK, p->current.offset);
	expect(p, TOKEN_LBRACE);
	if (p->broken)
		return node;
	p->nesting++; // statements() does not go through prefix()
	statements(p, node, TOKEN_RBRACE);
	p->nesting--;
	expect(p, TOKEN_RBRACE);
	return node;
}

Function *parse(const Source *source, Arena *arena, Heap *heap, Report *report)
{
	Parser p = {.arena = arena, .heap = heap, .report = report};
	lexer_init(&p.lexer, source);
	advance(&p);
	Function *fn = arena_alloc(arena, sizeof *fn);
	fn->name = str_new(heap, "main", 4);
	fn->body = node_new(arena, NODE_BLOCK, 0);
	statements(&p, fn->body, TOKEN_END);
	return fn;
}
