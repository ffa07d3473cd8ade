#include "arith.h"

#include "str.h"

#include <math.h>

// The sign of the result is the divisor's, as in mathematics and unlike fmod.
static double modulo(double a, double b)
{
	double m = fmod(a, b);
	return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

static bool numbers(OpCode op, double a, double b, Value *result)
{
	switch (op) {
	case OP_ADD:
		*result = value_number(a + b);
		return true;
	case OP_SUBTRACT:
		*result = value_number(a - b);
		return true;
	case OP_MULTIPLY:
		*result = value_number(a * b);
		return true;
	case OP_DIVIDE:
		*result = value_number(a / b);
		return true;
	case OP_MODULO:
		*result = value_number(modulo(a, b));
		return true;
	case OP_POWER:
		*result = value_number(pow(a, b));
		return true;
	case OP_LESS:
		*result = value_bool(a < b);
		return true;
	case OP_LESS_EQUAL:
		*result = value_bool(a <= b);
		return true;
	case OP_GREATER:
		*result = value_bool(a > b);
		return true;
	case OP_GREATER_EQUAL:
		*result = value_bool(a >= b);
		return true;
	default:
		return false;
	}
}

static bool strings(Heap *heap, OpCode op, const ObjString *a, const ObjString *b, Value *result)
{
	switch (op) {
	case OP_ADD:
		*result = value_obj(str_concat(heap, a, b));
		return true;
	case OP_LESS:
		*result = value_bool(str_compare(a, b) < 0);
		return true;
	case OP_LESS_EQUAL:
		*result = value_bool(str_compare(a, b) <= 0);
		return true;
	case OP_GREATER:
		*result = value_bool(str_compare(a, b) > 0);
		return true;
	case OP_GREATER_EQUAL:
		*result = value_bool(str_compare(a, b) >= 0);
		return true;
	default:
		return false;
	}
}

bool arith_binary(Heap *heap, OpCode op, Value a, Value b, Value *result)
{
	if (op == OP_EQUAL || op == OP_NOT_EQUAL) {
		*result = value_bool(value_equal(a, b) == (op == OP_EQUAL));
		return true;
	}
	if (a.type == V_NUMBER && b.type == V_NUMBER)
		return numbers(op, a.as.number, b.as.number, result);
	if (value_is(a, OBJ_STRING) && value_is(b, OBJ_STRING))
		return strings(heap, op, as_string(a), as_string(b), result);
	return false;
}

bool arith_negate(Value a, Value *result)
{
	if (a.type != V_NUMBER)
		return false;
	*result = value_number(-a.as.number);
	return true;
}

OpCode arith_opcode(TokenKind op)
{
	switch (op) {
	case TOKEN_PLUS:
		return OP_ADD;
	case TOKEN_MINUS:
		return OP_SUBTRACT;
	case TOKEN_STAR:
		return OP_MULTIPLY;
	case TOKEN_SLASH:
		return OP_DIVIDE;
	case TOKEN_PERCENT:
		return OP_MODULO;
	case TOKEN_CARET:
		return OP_POWER;
	case TOKEN_NOT_EQUAL:
		return OP_NOT_EQUAL;
	case TOKEN_LESS:
		return OP_LESS;
	case TOKEN_LESS_EQUAL:
		return OP_LESS_EQUAL;
	case TOKEN_GREATER:
		return OP_GREATER;
	case TOKEN_GREATER_EQUAL:
		return OP_GREATER_EQUAL;
	default:
		return OP_EQUAL;
	}
}
