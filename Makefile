# Pie. `make demo` sets everything up and answers a prompt, `make test` proves that it works.
# Every folder of FLOORS becomes one static library; a program links the libraries that its folder
# may include. Everything made lies under $(BUILD).

BUILD ?= build
CC := gcc
AR := ar
SAN ?=
# What runs a program that was built for another machine, for example `qemu-aarch64 -L ROOT`.
RUN ?=
JOBS ?= $(shell nproc)

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wformat=2 -Wvla -Werror \
            -Wno-format-truncation
# -ffp-contract=off: a fused multiply-add only where the source says so; bit-exactness needs it.
CFLAGS_ALL := -std=gnu11 -O2 -g -I. -MMD -MP -ffp-contract=off -fno-strict-aliasing \
              -fvisibility=hidden -pthread $(WARNINGS)
LDLIBS := -Wl,--as-needed -Wl,--build-id -lsleef -ljansson -linih -lzmq -lcurl -lcrypto -lm -lpthread

ifneq ($(SAN),)
CFLAGS_ALL += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SAN)
endif

# Flags by folder. ISA flags apply to their folder alone: what users run is dispatched at run time.
ifneq ($(findstring aarch64,$(shell $(CC) -dumpmachine)),)
CFLAGS_simd/dotprod := -march=armv8.2-a+dotprod
else
CFLAGS_simd/avx2 := -mavx2 -mfma -mf16c
CFLAGS_simd/avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
CFLAGS_simd/vnni := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c
CFLAGS_simd/amx := $(CFLAGS_simd/vnni) -mamx-tile -mamx-int8
endif
CFLAGS_engine/forward := -fopenmp
CFLAGS_models/train := -O3 -fno-math-errno -fno-trapping-math
-include interp/wasm/flags.mk

.PHONY: all
all: $(BUILD)/pie $(BUILD)/bakery inferlets

FOLDERS := $(shell awk '!/^\#/ && NF >= 3 { print $$2 }' FLOORS)
# A folder's sources: its own files and those of sub-folders that are not folders of FLOORS.
subfolders = $(filter-out $(FOLDERS),$(wildcard $(1)/*/))
sources = $(sort $(wildcard $(1)/*.c) $(foreach d,$(patsubst %/,%,$(wildcard $(1)/*/)),$(if $(filter $(d),$(FOLDERS)),,$(wildcard $(d)/*.c))))
library = $(BUILD)/lib/$(subst /,_,$(1)).a
closure = $(shell awk -f tests/floors/closure.awk -v folder=$(1) FLOORS)
folder_with_sources = $(foreach f,$(1),$(if $(call sources,$(f)),$(f)))

define FOLDER_RULES
OBJECTS_$(1) := $$(patsubst %.c,$(BUILD)/obj/%.o,$(call sources,$(1)))
$(call library,$(1)): $$(OBJECTS_$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@$(AR) rcs $$@ $$^
CLOSURE_$(1) := $(call closure,$(1))
endef
$(foreach f,$(FOLDERS),$(eval $(call FOLDER_RULES,$(f))))

# Objects: the flags of the file's folder, and of that folder's parent (simd/avx2 has only its own).
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(patsubst %/,%,$(dir $<))) $(CFLAGS_$<) -c $< -o $@

libraries = $(foreach f,$(call folder_with_sources,$(CLOSURE_$(1))),$(call library,$(f)))

# Programs: build/pie and build/bakery are one main file each in cli/; tests, fuzzers and benches
# say on a line `links: FOLDER` in their first comment which folder they are built on.
PROGRAM_SOURCES := $(wildcard tests/*/test_*.c tests/*/*/test_*.c tests/*/*/*/test_*.c tests/*/*/*/*/test_*.c tests/tools/*.c bench/*.c)
define PROGRAM_RULES
$(BUILD)/$(basename $(1)): $(BUILD)/obj/$(basename $(1)).o $(call libraries,$(2))
	@mkdir -p $$(@D)
	@echo "  LD    $$@"
	@$(CC) $(LDFLAGS) $$< -Wl,--start-group $(call libraries,$(2)) -Wl,--end-group -fopenmp -lcmocka $(LDLIBS) -o $$@
endef
LINKS := $(foreach line,$(shell grep -Hom1 'links: [a-z0-9/_]*' $(PROGRAM_SOURCES) /dev/null | tr -d ' '),$(line))
$(foreach line,$(LINKS),$(eval $(call PROGRAM_RULES,$(firstword $(subst :, ,$(line))),$(lastword $(subst :, ,$(line))))))
TEST_PROGRAMS := $(foreach s,$(filter tests/%,$(PROGRAM_SOURCES)),$(if $(findstring /test_,$(s)),$(BUILD)/$(basename $(s))))
# What scripts among the tests call.
TEST_TOOLS := $(BUILD)/tests/tools/random_adapter
BENCH_PROGRAMS := $(foreach s,$(filter bench/%,$(PROGRAM_SOURCES)),$(BUILD)/$(basename $(s)))

include $(wildcard cli/cli.mk sdk/sdk.mk tests/fuzz/fuzz.mk)

# ---- packages ---------------------------------------------------------------------------------
# Debian packages that the build and the tests need; `make deps` installs what is missing.
PACKAGES := gcc libc6-dev make libsleef-dev libjansson-dev libinih-dev libzmq3-dev libcurl4-openssl-dev libssl-dev libcmocka-dev \
            clang-19 lld-19 xz-utils
.PHONY: deps
deps:
	@sh tests/tools/deps.sh $(PACKAGES)

# ---- the default model ------------------------------------------------------------------------
# Trained once into the build folder for the tests; sanitizer builds take it from the plain build.
MODEL := build/home/models/default.gguf
$(MODEL): | build/pie
	@echo "  TRAIN $@"
	@mkdir -p $(@D)
	@build/pie model train --out $@

# ---- what a person calls ----------------------------------------------------------------------
.PHONY: demo test unit asan ubsan tsan clean floors bench
demo: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@build/pie model info >/dev/null 2>&1 || build/pie model train
	@echo '$$ pie run text-completion -- --prompt "The capital of France is"'
	@build/pie run text-completion -- --prompt "The capital of France is"

test: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all programs
	@$(MAKE) --no-print-directory $(MODEL)
	@$(MAKE) --no-print-directory unit

.PHONY: programs
programs: $(TEST_PROGRAMS) $(BENCH_PROGRAMS) $(TEST_TOOLS)

# Tests are programs (tests/**/test_*.c) and scripts (tests/**/test_*.sh).
TEST_SCRIPTS := $(sort $(wildcard tests/*/test_*.sh tests/*/*/test_*.sh))
unit: $(TEST_PROGRAMS) $(TEST_TOOLS)
	@CC='$(CC)' RUN='$(RUN)' sh tests/run.sh $(BUILD) $(TEST_SCRIPTS) $(TEST_PROGRAMS)

# The same tests under a sanitizer.
asan ubsan tsan: $(MODEL)
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/$@ SAN=$(SAN_$@) all programs
	@$(MAKE) --no-print-directory BUILD=build/$@ SAN=$(SAN_$@) unit
SAN_asan := address,undefined
SAN_ubsan := undefined
SAN_tsan := thread

# The same tests on an emulated arm64 machine; all libraries for it lie in build/arm64/root.
ARM64_ROOT := build/arm64/root
ARM64 := BUILD=build/arm64 CC='aarch64-linux-gnu-gcc --sysroot=$(ARM64_ROOT)' AR=aarch64-linux-gnu-ar \
         RUN='qemu-aarch64 -L $(ARM64_ROOT)'
$(ARM64_ROOT): tests/tools/arm64_root.sh
	@sh tests/tools/deps.sh gcc-aarch64-linux-gnu qemu-user
	@sh $< $@ libc6-dev libgcc-12-dev libgomp1 $(filter lib%,$(PACKAGES))
	@touch $@
.PHONY: arm64 test-all
arm64: $(ARM64_ROOT) $(MODEL)
	@$(MAKE) --no-print-directory -j$(JOBS) $(ARM64) all programs
	@$(MAKE) --no-print-directory $(ARM64) unit

# Everything: this machine's tests, under sanitizers, and on arm64.
test-all: test asan arm64

floors:
	@sh tests/floors/test_floors.sh

bench: all $(BENCH_PROGRAMS) $(MODEL)
	@sh bench/run.sh $(BUILD)

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
