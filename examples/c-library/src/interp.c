#include "interp.h"

#include "compiler.h"
#include "disasm.h"
#include "dump.h"
#include "fold.h"
#include "parser.h"
#include "resolver.h"

static ObjProto *to_bytecode(Vm *vm, const Source *source, InterpMode mode, Report *report, Buffer *shown)
{
	Arena arena;
	arena_init(&arena);
	ObjProto *proto = NULL;
	Function *program = parse(source, &arena, &vm->heap, report);
	if (report->errors == 0)
		resolve(program, &arena, report);
	if (report->errors == 0) {
		fold(program, &vm->heap);
		if (mode == INTERP_TREE)
			dump(shown, program);
		else
			proto = compile(program, &vm->heap, report);
	}
	if (mode == INTERP_CODE && proto != NULL && report->errors == 0)
		disasm(shown, proto, source);
	arena_free(&arena);
	return proto;
}

InterpStatus interp(Vm *vm, const Source *source, InterpMode mode, Value *result, Buffer *errors)
{
	*result = value_nil();
	Report report;
	report_init(&report, source);
	Buffer shown;
	buffer_init(&shown);
	InterpStatus status = INTERP_OK;
	ObjProto *proto = to_bytecode(vm, source, mode, &report, &shown);
	if (report.errors > 0) {
		status = INTERP_WRONG;
	} else if (mode != INTERP_RUN) {
		fwrite(shown.data, 1, shown.length, vm->out);
	} else if (!vm_run(vm, proto, result)) {
		report_error(&report, vm->error_offset, "%s", vm->error.data);
		if (vm->error_frames > 1)
			buffer_printf(&report.text, "  %d calls deep\n", vm->error_frames - 1);
		status = INTERP_FAILED;
	}
	if (report.text.length > 0)
		buffer_add(errors, report.text.data, report.text.length);
	buffer_free(&shown);
	report_free(&report);
	return status;
}
