// Objects on the heap.
#ifndef PEBBLE_OBJECT_H
#define PEBBLE_OBJECT_H

#include "chunk.h"
#include "table.h"
#include "value.h"

#include <stdint.h>

typedef struct Vm Vm;

typedef enum { OBJ_STRING, OBJ_LIST, OBJ_MAP, OBJ_PROTO, OBJ_CLOSURE, OBJ_NATIVE } ObjType;

struct Obj {
	ObjType type;
	bool marked;
	Obj *next; // all objects of a heap
};

struct ObjString {
	Obj obj;
	uint32_t hash;
	size_t length;
	char bytes[]; // with a NUL behind them
};

typedef struct {
	Obj obj;
	Value *items;
	size_t count, capacity;
} ObjList;

typedef struct {
	Obj obj;
	Table table;
} ObjMap;

// A compiled function, without the values it captured.
typedef struct {
	Obj obj;
	ObjString *name; // NULL: none
	int arity;
	int slots;     // the function itself, parameters and locals
	int max_depth; // temporaries above the slots
	int captures;
	Chunk chunk;
} ObjProto;

typedef struct {
	Obj obj;
	ObjProto *proto;
	Value captured[];
} ObjClosure;

// A function written in C. It returns false after vm_error.
typedef bool (*NativeFn)(Vm *vm, int argc, Value *args, Value *result);

typedef struct {
	Obj obj;
	const char *name;
	int arity; // -1: any number
	NativeFn fn;
} ObjNative;

const char *obj_type_name(ObjType type);

static inline bool value_is(Value v, ObjType type)
{
	return v.type == V_OBJ && v.as.obj->type == type;
}

static inline ObjString *as_string(Value v)
{
	return (ObjString *)v.as.obj;
}

static inline ObjList *as_list(Value v)
{
	return (ObjList *)v.as.obj;
}

static inline ObjMap *as_map(Value v)
{
	return (ObjMap *)v.as.obj;
}

#endif
