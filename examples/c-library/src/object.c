#include "object.h"

const char *obj_type_name(ObjType type)
{
	switch (type) {
	case OBJ_STRING:
		return "string";
	case OBJ_LIST:
		return "list";
	case OBJ_MAP:
		return "map";
	case OBJ_PROTO:
	case OBJ_CLOSURE:
	case OBJ_NATIVE:
		return "function";
	}
	return "?";
}
