# The standard inferlets: C to a core module, each with its Pie.toml, laid out as a programs folder:
# $(BUILD)/inferlets/NAME/VERSION.{wasm,toml}. Compiled and linked in two steps, because a clang
# driver may run wasm-opt behind one's back.

WASM_CC ?= $(firstword $(foreach c,clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 clang,$(if $(shell command -v $(c)),$(c))))
WASM_LD ?= $(firstword $(foreach l,wasm-ld-19 wasm-ld-18 wasm-ld-17 wasm-ld-16 wasm-ld-15 wasm-ld-14 wasm-ld,$(if $(shell command -v $(l)),$(l))))
WASM_CFLAGS := --target=wasm32-unknown-unknown -mbulk-memory -std=gnu11 -O2 -ffreestanding -nostdlib \
               -fvisibility=hidden -Wall -Wextra -Wshadow -Wconversion -Werror \
               -Isdk/c/include -Isdk/c/src
WASM_LDFLAGS := --no-entry --gc-sections -z stack-size=65536 --stack-first

INFERLET_NAMES := $(notdir $(patsubst %/Pie.toml,%,$(wildcard sdk/inferlets/*/Pie.toml)))
SDK_C_SOURCES := $(wildcard sdk/c/src/*.c)
SDK_C_HEADERS := $(wildcard sdk/c/include/*.h sdk/c/src/*.h)
inferlet_version = $(shell awk -F'"' '/^version/ { print $$2; exit }' sdk/inferlets/$(1)/Pie.toml)

# One inferlet: $(1) name, $(2) version.
define INFERLET_RULES
INFERLETS += $(BUILD)/inferlets/$(1)/$(2).wasm $(BUILD)/inferlets/$(1)/$(2).toml
$(BUILD)/inferlets/$(1)/$(2).wasm: $(wildcard sdk/inferlets/$(1)/*.c) $(SDK_C_SOURCES) $(SDK_C_HEADERS)
	@mkdir -p $$(@D) $(BUILD)/obj/sdk/$(1)
	@echo "  WASM  $$@"
	@for c in $$(filter %.c,$$^); do \
	    $(WASM_CC) $(WASM_CFLAGS) '-DINFERLET_NAME="$(1)"' -c $$$$c -o $(BUILD)/obj/sdk/$(1)/$$$$(basename $$$$c .c)-$$$$(basename $$$$(dirname $$$$c)).o || exit 1; \
	done
	@$(WASM_LD) $(WASM_LDFLAGS) $(BUILD)/obj/sdk/$(1)/*.o -o $$@
$(BUILD)/inferlets/$(1)/$(2).toml: sdk/inferlets/$(1)/Pie.toml
	@mkdir -p $$(@D)
	@cp $$< $$@
endef
$(foreach n,$(INFERLET_NAMES),$(eval $(call INFERLET_RULES,$(n),$(call inferlet_version,$(n)))))

.PHONY: inferlets
inferlets: $(INFERLETS)

# Parts of the SDK are tested on this machine too.
CFLAGS_tests/unit/sdk := -Isdk/c/include
