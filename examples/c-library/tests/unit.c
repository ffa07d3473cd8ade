// Tests of the parts that programs cannot see from inside.
#include "../src/arena.h"
#include "../src/builtin.h"
#include "../src/gc.h"
#include "../src/interp.h"
#include "../src/lexer.h"
#include "../src/str.h"

#include <stdint.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                     \
	do {                                                                 \
		if (!(condition)) {                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			failures++;                                          \
		}                                                            \
	} while (0)

static void test_strings_are_interned(void)
{
	Heap heap;
	heap_init(&heap);
	CHECK(str_new(&heap, "ab", 2) == str_concat(&heap, str_new(&heap, "a", 1), str_new(&heap, "b", 1)));
	CHECK(str_new(&heap, "a\0b", 3) != str_new(&heap, "a", 1));
	CHECK(str_compare(str_new(&heap, "a", 1), str_new(&heap, "ab", 2)) < 0);
	heap_free(&heap);
}

static void test_table_survives_removals(void)
{
	Heap heap;
	heap_init(&heap);
	Table table;
	table_init(&table);
	char name[16];
	for (int i = 0; i < 1000; i++) {
		int length = snprintf(name, sizeof name, "key%d", i);
		table_set(&table, str_new(&heap, name, (size_t)length), value_number(i));
		if (i >= 10) {
			length = snprintf(name, sizeof name, "key%d", i - 10);
			CHECK(table_remove(&table, str_new(&heap, name, (size_t)length)));
		}
	}
	CHECK(table.live == 10);
	CHECK(table.slots <= 64); // what is gone takes no room for ever
	Value value;
	CHECK(table_get(&table, str_new(&heap, "key995", 6), &value) && value.as.number == 995);
	CHECK(!table_get(&table, str_new(&heap, "key5", 4), &value));
	table_free(&table);
	heap_free(&heap);
}

static void test_sweep_keeps_what_is_marked(void)
{
	Heap heap;
	heap_init(&heap);
	ObjList *kept = heap_list(&heap);
	list_append(&heap, kept, value_obj(str_new(&heap, "kept", 4)));
	str_new(&heap, "lost", 4);
	size_t before = heap.bytes;
	gc_mark(&heap, value_obj(kept));
	gc_sweep(&heap);
	CHECK(heap.bytes < before);
	CHECK(heap.strings.live == 1);
	CHECK(as_string(kept->items[0]) == str_new(&heap, "kept", 4));
	heap_free(&heap);
}

static void test_arena_aligns(void)
{
	Arena arena;
	arena_init(&arena);
	for (size_t size = 1; size < 40000; size = size * 3 + 1) {
		unsigned char *p = arena_alloc(&arena, size);
		CHECK((uintptr_t)p % sizeof(void *) == 0);
		CHECK(p[0] == 0 && p[size - 1] == 0);
		memset(p, 0xff, size);
	}
	arena_free(&arena);
}

static void test_lexer_ends(void)
{
	// Every byte is part of something, and the end is reached from everywhere.
	for (int c = 0; c < 256; c++) {
		char text[] = {(char)c, 'x', (char)c};
		Source source;
		source_init(&source, "bytes", text, sizeof text);
		Lexer lexer;
		lexer_init(&lexer, &source);
		int tokens = 0;
		while (lexer_next(&lexer).kind != TOKEN_END && tokens < 10)
			tokens++;
		CHECK(tokens < 10);
		source_free(&source);
	}
}

static void test_a_failed_program_leaves_the_vm_usable(void)
{
	static const char *const programs[] = {"let a = [1]", "map(range(0, 9), fn(n) { a[n] })", "let b = a[0] + 1", "b"};
	Vm vm;
	vm_init(&vm, stdout);
	builtin_define(&vm);
	for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
		Source source;
		source_init(&source, "test", programs[i], strlen(programs[i]));
		Buffer errors;
		buffer_init(&errors);
		Value result;
		InterpStatus status = interp(&vm, &source, INTERP_RUN, &result, &errors);
		CHECK(status == (i == 1 ? INTERP_FAILED : INTERP_OK));
		CHECK((errors.length > 0) == (i == 1));
		CHECK(i != 3 || result.as.number == 2);
		buffer_free(&errors);
		source_free(&source);
	}
	vm_free(&vm);
}

int main(void)
{
	test_strings_are_interned();
	test_table_survives_removals();
	test_sweep_keeps_what_is_marked();
	test_arena_aligns();
	test_lexer_ends();
	test_a_failed_program_leaves_the_vm_usable();
	if (failures > 0)
		return 1;
	puts("unit tests passed");
	return 0;
}
