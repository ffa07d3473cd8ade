// Values: nil, booleans, numbers, and references to objects on the heap.
#ifndef PEBBLE_VALUE_H
#define PEBBLE_VALUE_H

#include "buffer.h"

#include <stdbool.h>

typedef struct Obj Obj;

typedef enum { V_NIL, V_BOOL, V_NUMBER, V_OBJ } ValueType;

typedef struct {
	ValueType type;
	union {
		bool boolean;
		double number;
		Obj *obj;
	} as;
} Value;

static inline Value value_nil(void)
{
	return (Value){.type = V_NIL};
}

static inline Value value_bool(bool b)
{
	return (Value){.type = V_BOOL, .as.boolean = b};
}

static inline Value value_number(double n)
{
	return (Value){.type = V_NUMBER, .as.number = n};
}

static inline Value value_obj(void *obj)
{
	return (Value){.type = V_OBJ, .as.obj = obj};
}

// Only nil and false are false.
static inline bool value_truthy(Value v)
{
	return v.type != V_NIL && !(v.type == V_BOOL && !v.as.boolean);
}

// Numbers by value, strings by content (they are interned), other objects by identity.
bool value_equal(Value a, Value b);

const char *value_type_name(Value v);

// As print shows it; inside a list, strings are quoted.
void value_format(Buffer *out, Value v, bool quoted);

#endif
