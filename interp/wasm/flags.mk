# The handlers: small functions whose tail calls must become jumps. Guests' types make nearly every
# line of ops.def a deliberate conversion.
CFLAGS_EXEC = -fno-math-errno -fno-stack-protector -fcf-protection=none \
    -fomit-frame-pointer -Wno-conversion \
    $(if $(findstring clang,$(CC)),,-foptimize-sibling-calls -fno-tree-loop-distribute-patterns)
CFLAGS_interp/wasm/exec.c = $(CFLAGS_EXEC)
CFLAGS_interp/wasm/exec_avx2.c = $(CFLAGS_EXEC) \
    $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-march=x86-64-v3)
ifneq ($(SAN),)
# Under sanitizers tail calls are not guaranteed, and guard pages are theirs.
CFLAGS_interp/wasm := -DWASM_LOOP_DISPATCH=1 -DWASM_EXPLICIT_BOUNDS=1
endif
ifneq ($(WASM_PROFILE),)
# Counts for bench/sequences.py.
CFLAGS_interp/wasm := -DWASM_LOOP_DISPATCH=1 -DWASM_PROFILE
endif
ifneq ($(WASM_COVERAGE),)
# Counts for tests/fuzz/cover.py.
CFLAGS_interp/wasm/exec.c += -DWASM_COVERAGE
CFLAGS_interp/wasm/exec_avx2.c += -DWASM_COVERAGE
endif
