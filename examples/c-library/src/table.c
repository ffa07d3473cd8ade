#include "table.h"

#include "memory.h"
#include "object.h"

#include <stdlib.h>
#include <string.h>

void table_init(Table *table)
{
	*table = (Table){0};
}

void table_free(Table *table)
{
	free(table->entries);
	free(table->index);
	table_init(table);
}

// The slot that names an entry with key, or NULL.
static uint32_t *find_slot(const Table *table, const ObjString *key)
{
	if (table->slots == 0)
		return NULL;
	for (size_t i = key->hash & (table->slots - 1);; i = (i + 1) & (table->slots - 1)) {
		uint32_t *slot = &table->index[i];
		if (*slot == 0)
			return NULL;
		if (table->entries[*slot - 1].key == key)
			return slot;
	}
}

static void place(Table *table, uint32_t entry)
{
	size_t i = table->entries[entry].key->hash & (table->slots - 1);
	while (table->index[i] != 0)
		i = (i + 1) & (table->slots - 1);
	table->index[i] = entry + 1;
}

// Drops deleted entries and builds an index with room for one more.
static void rebuild(Table *table)
{
	size_t kept = 0;
	for (size_t i = 0; i < table->count; i++)
		if (table->entries[i].key != NULL)
			table->entries[kept++] = table->entries[i];
	table->count = kept;
	size_t slots = 8;
	while (slots < (kept + 1) * 2)
		slots *= 2;
	free(table->index);
	table->index = mem_alloc(slots * sizeof *table->index);
	memset(table->index, 0, slots * sizeof *table->index);
	table->slots = slots;
	for (size_t i = 0; i < kept; i++)
		place(table, (uint32_t)i);
}

bool table_get(const Table *table, const ObjString *key, Value *value)
{
	uint32_t *slot = find_slot(table, key);
	if (slot == NULL)
		return false;
	*value = table->entries[*slot - 1].value;
	return true;
}

bool table_set(Table *table, ObjString *key, Value value)
{
	uint32_t *slot = find_slot(table, key);
	if (slot != NULL) {
		table->entries[*slot - 1].value = value;
		return false;
	}
	// Deleted entries keep their slots, so they count towards the load.
	if ((table->count + 1) * 4 > table->slots * 3)
		rebuild(table);
	MEM_RESERVE(table->entries, table->count, table->capacity);
	table->entries[table->count++] = (TableEntry){key, value};
	table->live++;
	place(table, (uint32_t)(table->count - 1));
	return true;
}

bool table_remove(Table *table, const ObjString *key)
{
	uint32_t *slot = find_slot(table, key);
	if (slot == NULL)
		return false;
	table->entries[*slot - 1].key = NULL;
	table->live--;
	return true;
}

ObjString *table_find(const Table *table, const char *bytes, size_t length, uint32_t hash)
{
	if (table->slots == 0)
		return NULL;
	for (size_t i = hash & (table->slots - 1); table->index[i] != 0; i = (i + 1) & (table->slots - 1)) {
		ObjString *key = table->entries[table->index[i] - 1].key;
		if (key != NULL && key->hash == hash && key->length == length && memcmp(key->bytes, bytes, length) == 0)
			return key;
	}
	return NULL;
}
