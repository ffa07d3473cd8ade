#include "value.h"

#include "object.h"

enum { MAX_DEPTH = 16 }; // a list may contain itself

bool value_equal(Value a, Value b)
{
	if (a.type != b.type)
		return false;
	switch (a.type) {
	case V_NIL:
		return true;
	case V_BOOL:
		return a.as.boolean == b.as.boolean;
	case V_NUMBER:
		return a.as.number == b.as.number;
	case V_OBJ:
		return a.as.obj == b.as.obj;
	}
	return false;
}

const char *value_type_name(Value v)
{
	switch (v.type) {
	case V_NIL:
		return "nil";
	case V_BOOL:
		return "boolean";
	case V_NUMBER:
		return "number";
	case V_OBJ:
		return obj_type_name(v.as.obj->type);
	}
	return "?";
}

static void format(Buffer *out, Value v, bool quoted, int depth);

static void format_string(Buffer *out, const ObjString *s, bool quoted)
{
	if (!quoted) {
		buffer_add(out, s->bytes, s->length);
		return;
	}
	buffer_char(out, '"');
	for (size_t i = 0; i < s->length; i++) {
		char c = s->bytes[i];
		if (c == '\n') {
			buffer_add(out, "\\n", 2);
			continue;
		}
		if (c == '"' || c == '\\')
			buffer_char(out, '\\');
		buffer_char(out, c);
	}
	buffer_char(out, '"');
}

static void format_map(Buffer *out, const ObjMap *map, int depth)
{
	// In insertion order, so that output never depends on hashes.
	buffer_char(out, '{');
	for (size_t i = 0, shown = 0; i < map->table.count; i++) {
		const TableEntry *e = &map->table.entries[i];
		if (e->key == NULL)
			continue;
		if (shown++ > 0)
			buffer_add(out, ", ", 2);
		format_string(out, e->key, true);
		buffer_add(out, ": ", 2);
		format(out, e->value, true, depth + 1);
	}
	buffer_char(out, '}');
}

static void format_object(Buffer *out, const Obj *obj, bool quoted, int depth)
{
	switch (obj->type) {
	case OBJ_STRING:
		format_string(out, (const ObjString *)obj, quoted);
		return;
	case OBJ_LIST: {
		const ObjList *list = (const ObjList *)obj;
		buffer_char(out, '[');
		for (size_t i = 0; i < list->count; i++) {
			if (i > 0)
				buffer_add(out, ", ", 2);
			format(out, list->items[i], true, depth + 1);
		}
		buffer_char(out, ']');
		return;
	}
	case OBJ_MAP:
		format_map(out, (const ObjMap *)obj, depth);
		return;
	case OBJ_PROTO:
	case OBJ_CLOSURE: {
		const ObjProto *proto = obj->type == OBJ_PROTO ? (const ObjProto *)obj : ((const ObjClosure *)obj)->proto;
		buffer_printf(out, "<fn %s>", proto->name ? proto->name->bytes : "?");
		return;
	}
	case OBJ_NATIVE:
		buffer_printf(out, "<native %s>", ((const ObjNative *)obj)->name);
		return;
	}
}

static void format(Buffer *out, Value v, bool quoted, int depth)
{
	switch (v.type) {
	case V_NIL:
		buffer_add(out, "nil", 3);
		return;
	case V_BOOL:
		buffer_printf(out, "%s", v.as.boolean ? "true" : "false");
		return;
	case V_NUMBER:
		buffer_printf(out, "%.14g", v.as.number);
		return;
	case V_OBJ:
		if (depth > MAX_DEPTH)
			buffer_add(out, "...", 3);
		else
			format_object(out, v.as.obj, quoted, depth);
		return;
	}
}

void value_format(Buffer *out, Value v, bool quoted)
{
	format(out, v, quoted, 0);
}
