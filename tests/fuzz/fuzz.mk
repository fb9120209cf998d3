# Fuzzing. Each tests/fuzz/fuzz_X.c defines LLVMFuzzerTestOneInput, names on a line `links: FOLDER`
# of its first comment what it is built on, and has seeds (few, small) in tests/fuzz/corpus/X/.
# It becomes two programs:
#
#   build/tests/fuzz/replay_X   part of `make unit`, under gcc and whatever SAN says: replays the
#                               seeds, cut and changed in many ways (replay.c); with file names as
#                               arguments it runs just those, which is how a crash is looked at
#   make fuzz-X                 libFuzzer by clang-19 with ASan and UBSan, for FUZZ_SECONDS seconds
#                               (600 unless set), from the seeds and from what earlier runs found;
#                               finds are kept under build/fuzz/corpus/X, crashes are written to
#                               build/fuzz/crash/X and belong, made small, among the seeds
#   make fuzz                   all of them, one after the other
#
# A crash made smaller: build/fuzz/tests/fuzz/run_X -minimize_crash=1 -max_total_time=60 FILE

FUZZ_SECONDS ?= 600
FUZZ_OPTIONS ?= -timeout=10 -rss_limit_mb=2048 -max_len=65536
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# Further objects of tests/fuzz that a target is linked with.
# outcome.c stands between the translator and the choice of sequences.
GEN_LDFLAGS := -Wl,--wrap=wasm_sequence_handler
FUZZ_LDFLAGS_wasmgen := $(GEN_LDFLAGS)
GEN_OBJECTS := gen_module gen_code gen_shape gen_names outcome
FUZZ_OBJECTS_wasmgen := $(GEN_OBJECTS)
fuzz_objects = $(BUILD)/obj/tests/fuzz/fuzz_$(1).o $(FUZZ_OBJECTS_$(1):%=$(BUILD)/obj/tests/fuzz/%.o)
fuzz_links = $(subst links: ,,$(shell grep -om1 'links: [a-z0-9/_]*' tests/fuzz/fuzz_$(1).c))

# $(1): name, $(2): the folder it is built on.
define FUZZ_RULES
$(BUILD)/obj/tests/fuzz/replay_$(1).o: tests/fuzz/replay.c
	@mkdir -p $$(@D)
	@echo "  CC    $$< ($(1))"
	@$$(CC) $$(CFLAGS_ALL) -DFUZZ_TARGET=$(1) -c $$< -o $$@

$(BUILD)/tests/fuzz/replay_$(1): $(call fuzz_objects,$(1)) $(BUILD)/obj/tests/fuzz/replay_$(1).o $(call libraries,$(2))
	@mkdir -p $$(@D)
	@echo "  LD    $$@"
	@$$(CC) $$(LDFLAGS) $(FUZZ_LDFLAGS_$(1)) $$(filter %.o,$$^) -Wl,--start-group $(call libraries,$(2)) -Wl,--end-group -fopenmp $$(LDLIBS) -o $$@

$(BUILD)/tests/fuzz/run_$(1): $(call fuzz_objects,$(1)) $(call libraries,$(2))
	@mkdir -p $$(@D)
	@echo "  LD    $$@"
	@$$(CC) $$(LDFLAGS) $(FUZZ_LDFLAGS_$(1)) -fsanitize=fuzzer $$(filter %.o,$$^) -Wl,--start-group $(call libraries,$(2)) -Wl,--end-group $$(LDLIBS) -o $$@

.PHONY: fuzz-$(1)
fuzz-$(1):
	@$$(MAKE) BUILD=build/fuzz CC=clang-19 AR=ar WARNINGS=-Wall SAN=address,undefined,fuzzer-no-link CFLAGS_engine/forward= build/fuzz/tests/fuzz/run_$(1)
	@mkdir -p build/fuzz/corpus/$(1) build/fuzz/crash/$(1)
	build/fuzz/tests/fuzz/run_$(1) -max_total_time=$$(FUZZ_SECONDS) $$(FUZZ_OPTIONS) \
	    -artifact_prefix=build/fuzz/crash/$(1)/ build/fuzz/corpus/$(1) tests/fuzz/corpus/$(1)
endef
$(foreach name,$(FUZZ_NAMES),$(eval $(call FUZZ_RULES,$(name),$(call fuzz_links,$(name)))))
TEST_PROGRAMS += $(foreach name,$(FUZZ_NAMES),$(BUILD)/tests/fuzz/replay_$(name))

.PHONY: fuzz
fuzz: $(addprefix fuzz-,$(FUZZ_NAMES))

# Generated WebAssembly modules against V8: `make diff-wasm NODE=.../node` compares DIFF_COUNT of them
# from seed DIFF_FIRST on, for DIFF_SECONDS at most (0: no limit), and can go on where it stopped; see
# diff_wasm.sh. The unit run repeats the seeds of tests/vectors/wasm_diff.txt without node.
# What the modules reach of the interpreter: cover.py.
DIFF_FIRST ?= 0
DIFF_COUNT ?= 1000000
DIFF_SECONDS ?= 0
$(BUILD)/tests/fuzz/diff_wasm: $(BUILD)/obj/tests/fuzz/diff_wasm.o $(GEN_OBJECTS:%=$(BUILD)/obj/tests/fuzz/%.o) $(call libraries,interp/wasm)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) $(GEN_LDFLAGS) $(filter %.o,$^) -Wl,--start-group $(call libraries,interp/wasm) -Wl,--end-group $(LDLIBS) -o $@
TEST_PROGRAMS += $(BUILD)/tests/fuzz/diff_wasm

.PHONY: diff-wasm
diff-wasm: $(BUILD)/tests/fuzz/diff_wasm
	sh tests/fuzz/diff_wasm.sh $< $(DIFF_FIRST) $(DIFF_COUNT) $(DIFF_SECONDS)
