// The syntax tree. Everything is an expression; the nodes live in an arena.
#ifndef PEBBLE_AST_H
#define PEBBLE_AST_H

#include "arena.h"
#include "object.h"
#include "token.h"

typedef enum {
	NODE_CONST,
	NODE_NAME,
	NODE_UNARY,
	NODE_BINARY,
	NODE_LOGICAL, // and, or
	NODE_ASSIGN,
	NODE_LET,
	NODE_INDEX,
	NODE_SET_INDEX,
	NODE_CALL,
	NODE_LIST,
	NODE_FN,
	NODE_IF,
	NODE_WHILE,
	NODE_BLOCK,
	NODE_RETURN,
} NodeKind;

// Where a name lives; filled in by the resolver.
typedef enum { PLACE_GLOBAL, PLACE_LOCAL, PLACE_CAPTURE } PlaceKind;

typedef struct {
	PlaceKind kind;
	int index; // slot of a local, number of a capture
} NamePlace;

typedef struct Node Node;

typedef struct {
	Node **items;
	size_t count, capacity;
} NodeList;

// What a closure takes with it when it is made.
typedef struct {
	bool from_local; // else from the captures of the function around it
	int index;
} Capture;

typedef struct {
	ObjString *name; // NULL: none
	ObjString **params;
	size_t param_count, param_capacity;
	Node *body;
	int slots;
	Capture *captures;
	size_t capture_count, capture_capacity;
} Function;

struct Node {
	NodeKind kind;
	size_t offset;
	union {
		Value constant;
		struct {
			ObjString *name;
			NamePlace place;
			Node *value; // of assign and let
		} name;
		struct {
			TokenKind op;
			Node *left, *right; // unary: right
		} op;
		struct {
			Node *object, *index, *value;
		} index;
		struct {
			Node *callee; // of call
			NodeList items;
		} list; // call, list, block
		struct {
			Node *condition, *then, *otherwise; // while: then is the body; return: then is the value
		} branch;
		Function *fn;
	} as;
};

Node *node_new(Arena *arena, NodeKind kind, size_t offset);
void node_list_add(Arena *arena, NodeList *list, Node *node);
void function_add_param(Arena *arena, Function *fn, ObjString *name);
int function_add_capture(Arena *arena, Function *fn, Capture capture);

#endif
