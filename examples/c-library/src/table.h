// A hash table from strings to values that remembers insertion order: an index of slots over a dense array.
#ifndef PEBBLE_TABLE_H
#define PEBBLE_TABLE_H

#include "value.h"

#include <stdint.h>

typedef struct ObjString ObjString;

typedef struct {
	ObjString *key; // NULL: deleted
	Value value;
} TableEntry;

typedef struct {
	TableEntry *entries; // in insertion order
	size_t count;        // of entries, deleted ones included
	size_t live;         // of entries that are not deleted
	size_t capacity;
	uint32_t *index; // entry number + 1; 0: empty
	size_t slots;    // a power of two
} Table;

void table_init(Table *table);
void table_free(Table *table);

bool table_get(const Table *table, const ObjString *key, Value *value);

// Tells whether the key is new.
bool table_set(Table *table, ObjString *key, Value value);
bool table_remove(Table *table, const ObjString *key);

// The key with these bytes, or NULL. This is how strings are interned.
ObjString *table_find(const Table *table, const char *bytes, size_t length, uint32_t hash);

#endif
