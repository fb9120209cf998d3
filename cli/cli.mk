# The two programs. Each is its main file and the libraries that cli may include.
define CLI_PROGRAM
$(BUILD)/$(1): $(BUILD)/obj/cli/$(1).o $(call libraries,cli)
	@mkdir -p $$(@D)
	@echo "  LD    $$@"
	@$(CC) $(LDFLAGS) $$< -Wl,--start-group $(call libraries,cli) -Wl,--end-group -fopenmp $(LDLIBS) -o $$@
endef
$(foreach p,pie bakery,$(eval $(call CLI_PROGRAM,$(p))))
