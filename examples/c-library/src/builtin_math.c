#include "builtin.h"

#include "object.h"

#include <math.h>

#define UNARY(name, function)                                                \
	static bool name(Vm *vm, int argc, Value *args, Value *result)       \
	{                                                                    \
		(void)argc;                                                  \
		if (!builtin_want_number(vm, #function, 1, args[0]))         \
			return false;                                        \
		*result = value_number(function(args[0].as.number));         \
		return true;                                                 \
	}

UNARY(math_floor, floor)
UNARY(math_sqrt, sqrt)
UNARY(math_sin, sin)
UNARY(math_cos, cos)
UNARY(math_exp, exp)
UNARY(math_log, log)
UNARY(math_abs, fabs)

static bool extreme(Vm *vm, const char *name, int argc, Value *args, Value *result, double sign)
{
	if (argc == 0)
		return vm_error(vm, "%s: expected at least one number", name);
	for (int i = 0; i < argc; i++) {
		if (!builtin_want_number(vm, name, i + 1, args[i]))
			return false;
		if (i == 0 || args[i].as.number * sign > result->as.number * sign)
			*result = args[i];
	}
	return true;
}

static bool math_min(Vm *vm, int argc, Value *args, Value *result)
{
	return extreme(vm, "min", argc, args, result, -1);
}

static bool math_max(Vm *vm, int argc, Value *args, Value *result)
{
	return extreme(vm, "max", argc, args, result, 1);
}

void builtin_define_math(Vm *vm)
{
	vm_define_native(vm, "floor", 1, math_floor);
	vm_define_native(vm, "sqrt", 1, math_sqrt);
	vm_define_native(vm, "sin", 1, math_sin);
	vm_define_native(vm, "cos", 1, math_cos);
	vm_define_native(vm, "exp", 1, math_exp);
	vm_define_native(vm, "log", 1, math_log);
	vm_define_native(vm, "abs", 1, math_abs);
	vm_define_native(vm, "min", -1, math_min);
	vm_define_native(vm, "max", -1, math_max);
}
