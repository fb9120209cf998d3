/* pie wasm: the interpreter on its own, without model or engine. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/guest.h"
#include "cli/profile.h"
#include "cli/ui.h"
#include "engine/base/file.h"
#include "interp/wasm/objdump.h"

enum { SLICE = 100 * 1000 * 1000, TOP = 20, FRAMES_SHOWN = 20, OUT_BYTES = 64 << 10 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static void flush(int fd, struct buf *text)
{
    ui_write_safely(fd, text->data ? text->data : "", text->count, isatty(fd) == 1);
    buf_clear(text);
}

static int failed(const struct report *report)
{
    (void)fprintf(stderr, "error: %s\n", report->text);
    return CMD_FAILED;
}

/* ---- run and profile --------------------------------------------------------------------- */

struct wasm_options {
    const char *invoke, *fuel, *memory_mb, *top;
    bool json;
    unsigned long long fuel_max, top_count;
    struct guest_options guest;
};

enum outcome { OUTCOME_DONE, OUTCOME_EXIT, OUTCOME_TRAP, OUTCOME_FUEL, OUTCOME_STUCK,
               OUTCOME_INTERRUPTED };

/* The words behind the command: FILE, then those of --invoke. A CMD_ status or -1 to go on. */
static int read_options(struct args *args, struct wasm_options *options, int argc, char **argv)
{
    unsigned long long memory_mb = 0;
    enum args_result result = args_read(args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args->positional_count == 0) {
        (void)fprintf(stderr, "error: %s needs a file: a WebAssembly module or component\n",
                      args->command);
        return CMD_USAGE;
    }
    if (!options->invoke && args->positional_count > 1) {
        (void)fprintf(stderr, "error: '%s' is for no function: --invoke NAME takes arguments of a "
                              "function, and -- those of the program\n", args->positionals[1]);
        return CMD_USAGE;
    }
    options->fuel_max = UINT64_MAX;
    if ((options->fuel && !args_number(args->command, "fuel", options->fuel, 1, INT64_MAX,
                                       &options->fuel_max)) ||
        (options->memory_mb && !args_number(args->command, "memory-mb", options->memory_mb, 1,
                                            1 << 20, &memory_mb)) ||
        (options->top && !args_number(args->command, "top", options->top, 1, 1 << 30,
                                      &options->top_count)))
        return CMD_USAGE;
    options->guest = (struct guest_options){.path = args->positionals[0],
                                            .network = options->guest.network,
                                            .invoke = options->invoke,
                                            .words = args->positionals + 1,
                                            .word_count = args->positional_count - 1,
                                            .args = args->rest,
                                            .arg_count = args->rest_count,
                                            .memory_bytes_max = (uint64_t)memory_mb << 20,
                                            .stdout_fd = STDOUT_FILENO};
    return -1;
}

/* Runs to the end, or until the fuel is used up. `profile` may be NULL. */
static enum outcome drive(struct guest *guest, uint64_t fuel_max, struct profile *profile,
                          int *status)
{
    const struct wasm_thread *thread = guest_thread(guest);
    for (;;) {
        uint64_t left = fuel_max - wasm_thread_fuel_used(thread);
        uint64_t slice = profile ? profile_slice(profile) : SLICE;
        enum wasm_run run = guest_run(guest, slice < left ? slice : left);
        if (profile && !profile_sample(profile, thread))
            return OUTCOME_STUCK;
        *status = CMD_FAILED;
        if (run == WASM_RUN_DONE || run == WASM_RUN_TRAP)
            return !guest_status(guest, run, status) ? OUTCOME_TRAP
                   : run == WASM_RUN_DONE            ? OUTCOME_DONE
                                                     : OUTCOME_EXIT;
        if (interrupted) {
            *status = CMD_INTERRUPTED;
            return OUTCOME_INTERRUPTED;
        }
        if (run == WASM_RUN_WAIT && !guest_wait(guest))
            return OUTCOME_STUCK;
        if (run == WASM_RUN_FUEL && wasm_thread_fuel_used(thread) >= fuel_max)
            return OUTCOME_FUEL;
    }
}

/* Where a thread that was stopped stands. */
static void put_stack(const struct guest *guest, struct buf *out)
{
    struct wasm_frame frames[FRAMES_SHOWN];
    uint32_t count = wasm_thread_stack(guest_thread(guest), frames, FRAMES_SHOWN);
    for (uint32_t i = 0; i < count; i++) {
        const char *name = frames[i].module
                               ? wasm_module_func_name(frames[i].module, frames[i].func_index)
                               : frames[i].host_name;
        (void)buf_printf(out, "%3u: %s", i, name ? name : "?");
        if (frames[i].module)
            (void)buf_printf(out, " (func %u)\n", frames[i].func_index);
        else
            (void)buf_puts(out, " (host function)\n");
    }
    if (count == FRAMES_SHOWN)
        (void)buf_puts(out, "     ... and its callers\n");
}

/* What a person has to know about an end that was none. */
static void describe(const struct guest *guest, const struct wasm_options *options,
                     enum outcome outcome, struct buf *what, struct buf *where)
{
    if (outcome == OUTCOME_TRAP) {
        (void)buf_puts(what, wasm_thread_trap_text(guest_thread(guest)));
        (void)buf_puts(where, wasm_thread_back_trace(guest_thread(guest)));
        return;
    }
    if (outcome == OUTCOME_FUEL)
        (void)buf_printf(what, "the program has used up its %llu units of fuel",
                         options->fuel_max);
    else if (outcome == OUTCOME_STUCK)
        (void)buf_puts(what, "the program waits for something that never comes");
    else
        (void)buf_puts(what, "interrupted");
    put_stack(guest, where);
}

static void put_json(const struct guest *guest, enum outcome outcome, int status,
                     const struct buf *what, const struct buf *where, struct buf *out)
{
    static const char *const words[] = {
        [OUTCOME_DONE] = "done", [OUTCOME_EXIT] = "exit",   [OUTCOME_TRAP] = "trap",
        [OUTCOME_FUEL] = "fuel", [OUTCOME_STUCK] = "stuck", [OUTCOME_INTERRUPTED] = "interrupted"};
    (void)buf_printf(out, "{\"outcome\":\"%s\",\"status\":%d,\"fuel\":%" PRIu64, words[outcome],
                     status, wasm_thread_fuel_used(guest_thread(guest)));
    if (outcome == OUTCOME_DONE) {
        (void)buf_puts(out, ",\"results\":");
        (void)guest_print(guest, true, out);
    }
    if (what->count) {
        (void)buf_puts(out, ",\"error\":");
        (void)buf_put_json(out, what->data, what->count);
        (void)buf_puts(out, ",\"stack\":");
        (void)buf_put_json(out, where->data ? where->data : "", where->count);
    }
    (void)buf_puts(out, "}\n");
}

/* Says how it ended: errors on stderr, results (or with `json` everything) on stdout. */
static void tell(const struct guest *guest, const struct wasm_options *options,
                 enum outcome outcome, int status, bool results, bool json)
{
    struct buf out, what, where;
    buf_init(&out, NULL);
    buf_init(&what, NULL);
    buf_init(&where, NULL);
    if (outcome != OUTCOME_DONE && outcome != OUTCOME_EXIT)
        describe(guest, options, outcome, &what, &where);
    if (json) {
        put_json(guest, outcome, status, &what, &where, &out);
        flush(STDOUT_FILENO, &out);
    } else if (what.count) {
        (void)buf_printf(&out, "%s: %s\n%s", outcome == OUTCOME_TRAP ? "trap" : "error", what.data,
                         where.data ? where.data : "");
        flush(STDERR_FILENO, &out);
    } else if (outcome == OUTCOME_DONE && results) {
        (void)guest_print(guest, false, &out);
        flush(STDOUT_FILENO, &out);
    }
    buf_deinit(&out);
    buf_deinit(&what);
    buf_deinit(&where);
}

static int wasm_run(int argc, char **argv)
{
    struct wasm_options options = {0};
    const struct args_option table[] = {
        {"invoke", 0, NULL, &options.invoke, "NAME", "Call this export with the words behind FILE"},
        {"network", 0, NULL, &options.guest.network, "RULES",
         "Let it talk to: * or ADDRESS[/BITS][:PORT] ... (default: no network)"},
        {"fuel", 0, NULL, &options.fuel, "N", "End it after N instructions"},
        {"memory-mb", 0, NULL, &options.memory_mb, "N", "Limit of its memories (default 4096)"},
        {"json", 0, &options.json, NULL, NULL, "Print how it ended as a last line of JSON"},
        {0},
    };
    struct args args = {.command = "pie wasm run",
                        .synopsis = "FILE [ARG ...] [-- ARGUMENTS OF THE PROGRAM]",
                        .description =
                            "Runs a WebAssembly module or component: its _start or wasi:cli/run,\n"
                            "with WASI and this terminal's streams, and ends with its exit status.\n"
                            "With --invoke it calls an export, and prints each result on a line:\n"
                            "ARGs are numbers (42, 0x2a, -1.5, nan), v128 in hexadecimal, `null`;\n"
                            "for components numbers, true, false and text, and NAME may be\n"
                            "INTERFACE#FUNCTION. After a trap the back trace is on stderr.",
                        .options = table};
    int result = read_options(&args, &options, argc, argv);
    if (result >= 0)
        return result;
    struct guest guest = {0};
    struct report report = {0};
    if (guest_open(&guest, &options.guest, &report) != ERR_OK) {
        result = failed(&report);
    } else {
        enum outcome outcome = drive(&guest, options.fuel_max, NULL, &result);
        /* What wasi:cli/run returns is said by the exit status. */
        tell(&guest, &options, outcome, result, options.invoke != NULL, options.json);
    }
    guest_close(&guest);
    return result;
}

static int wasm_profile(int argc, char **argv)
{
    struct wasm_options options = {.top_count = TOP};
    const struct args_option table[] = {
        {"invoke", 0, NULL, &options.invoke, "NAME", "Call this export with the words behind FILE"},
        {"top", 0, NULL, &options.top, "N", "How many functions to print (default 20)"},
        {"fuel", 0, NULL, &options.fuel, "N", "End it after N instructions"},
        {"memory-mb", 0, NULL, &options.memory_mb, "N", "Limit of its memories (default 4096)"},
        {"json", 0, &options.json, NULL, NULL, "Print JSON, with all functions unless --top"},
        {0},
    };
    struct args args = {.command = "pie wasm profile",
                        .synopsis = "FILE [ARG ...] [-- ARGUMENTS OF THE PROGRAM]",
                        .description =
                            "Runs a program as `pie wasm run` does, and prints which functions use\n"
                            "the fuel: `self` is what a function used itself, `total` includes\n"
                            "what it called. A unit of fuel is an instruction, so the figures are\n"
                            "the same every time. What the program prints goes to stderr. Ctrl-C\n"
                            "ends the program and prints what is known by then.",
                        .options = table};
    int result = read_options(&args, &options, argc, argv);
    if (result >= 0)
        return result;
    options.guest.stdout_fd = STDERR_FILENO;
    if (options.json && !options.top)
        options.top_count = UINT64_MAX;
    struct guest guest = {0};
    struct report report = {0};
    struct profile profile = {0};
    struct buf out;
    buf_init(&out, NULL);
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
    if (guest_open(&guest, &options.guest, &report) != ERR_OK) {
        result = failed(&report);
    } else if (!profile_init(&profile)) {
        (void)err_set(&report, ERR_MEMORY, "no memory for a profile");
        result = failed(&report);
    } else {
        enum outcome outcome = drive(&guest, options.fuel_max, &profile, &result);
        tell(&guest, &options, outcome, result, false, false);
        (void)profile_print(&profile, wasm_thread_fuel_used(guest_thread(&guest)),
                            options.top_count, options.json, &out);
        flush(STDOUT_FILENO, &out);
    }
    buf_deinit(&out);
    profile_deinit(&profile);
    guest_close(&guest);
    return result;
}

/* ---- objdump ----------------------------------------------------------------------------- */

struct dump {
    struct buf out;
    const char *func; /* NULL = all */
    bool headers;
    uint32_t found;
};

static void note_import(void *user, const char *interface, const char *name)
{
    struct buf *out = user;
    (void)buf_printf(out, "import %s%s%s\n", interface, interface[0] && name ? "#" : "",
                     name ? name : "");
}

static void note_export(void *user, const char *interface, const char *name)
{
    struct buf *out = user;
    (void)buf_printf(out, "export %s%s%s\n", interface, interface[0] && name ? "#" : "",
                     name ? name : "");
}

static bool is_chosen(const struct dump *dump, const struct wasm_module *module, uint32_t index)
{
    char *end;
    unsigned long long number = strtoull(dump->func, &end, 10);
    if (dump->func[0] >= '0' && dump->func[0] <= '9' && !*end)
        return number == index;
    const char *name = wasm_module_func_name(module, index);
    if (name && strcmp(name, dump->func) == 0)
        return true;
    const struct wasm_export *export =
        wasm_module_find_export(module, dump->func, strlen(dump->func));
    return export && export->type.kind == WASM_FUNC && export->index == index;
}

static bool dump_module(struct dump *dump, const struct wasm_module *module)
{
    if (!dump->func && !wasm_objdump_sections(module, &dump->out))
        return false;
    flush(STDOUT_FILENO, &dump->out);
    for (uint32_t i = 0; !dump->headers && i < wasm_objdump_func_count(module); i++) {
        if (dump->func && !is_chosen(dump, module, i))
            continue;
        dump->found++;
        if (!wasm_objdump_func(module, i, &dump->out))
            return false;
        if (dump->out.count >= OUT_BYTES)
            flush(STDOUT_FILENO, &dump->out);
    }
    flush(STDOUT_FILENO, &dump->out);
    return true;
}

static enum err dump_file(struct dump *dump, const char *path, struct report *report)
{
    struct comp_component *component;
    const uint8_t *bytes;
    size_t count;
    enum err err = file_map(path, &bytes, &count, report);
    if (err)
        return err;
    err = comp_component_create(bytes, count, &component, report);
    bool is_component = count > 6 && bytes[6] != 0; /* the header's layer */
    file_unmap(bytes, count);
    if (err) {
        (void)err_prefix(report, "%s", path);
        return err;
    }
    const struct wasm_module *module;
    if (!dump->func && is_component) {
        comp_component_each_import(component, note_import, &dump->out);
        comp_component_each_export(component, note_export, &dump->out);
    }
    for (size_t i = 0; !err && (module = comp_component_module(component, i)) != NULL; i++) {
        if (!dump->func && is_component)
            (void)buf_printf(&dump->out, "\ncore module %zu\n", i);
        if (!dump_module(dump, module))
            err = err_set(report, ERR_MEMORY, "no memory to print %s", path);
    }
    flush(STDOUT_FILENO, &dump->out);
    if (!err && dump->func && dump->found == 0)
        err = err_set(report, ERR_NOT_FOUND, "%s has no function %s", path, dump->func);
    comp_component_unref(component);
    return err;
}

static int wasm_objdump(int argc, char **argv)
{
    struct dump dump = {0};
    struct report report = {0};
    const struct args_option table[] = {
        {"func", 0, NULL, &dump.func, "NAME", "Only this function: its index or name"},
        {"headers", 0, &dump.headers, NULL, NULL, "All but the functions' bodies"},
        {0},
    };
    struct args args = {.command = "pie wasm objdump",
                        .synopsis = "FILE",
                        .description =
                            "Prints what is in a module or component: types, imports, exports,\n"
                            "segments, and every function's instructions at their offsets in the\n"
                            "module. A back trace's +0x1f counts from a function's first one.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args.positional_count != 1 || (dump.func && dump.headers)) {
        (void)fprintf(stderr, "error: pie wasm objdump needs one file, and --func or --headers "
                              "at most\n");
        return CMD_USAGE;
    }
    buf_init(&dump.out, NULL);
    enum err err = dump_file(&dump, args.positionals[0], &report);
    buf_deinit(&dump.out);
    return err ? failed(&report) : CMD_OK;
}

/* ---- the command ------------------------------------------------------------------------- */

static void print_usage(FILE *stream)
{
    (void)fputs("Usage: pie wasm COMMAND [OPTIONS] FILE\n\n"
                "WebAssembly on its own: modules and components, without a model.\n\nCommands:\n"
                "  run      Run a program with WASI, or call one of its functions\n"
                "  objdump  Print what is in a file, down to the instructions\n"
                "  profile  Print which functions use the fuel\n\n"
                "`pie wasm COMMAND --help` tells more.\n", stream);
}

int cmd_wasm(int argc, char **argv)
{
    if (argc < 1) {
        print_usage(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        print_usage(stdout);
        return CMD_OK;
    }
    if (strcmp(argv[0], "run") == 0)
        return wasm_run(argc - 1, argv + 1);
    if (strcmp(argv[0], "objdump") == 0)
        return wasm_objdump(argc - 1, argv + 1);
    if (strcmp(argv[0], "profile") == 0)
        return wasm_profile(argc - 1, argv + 1);
    (void)fprintf(stderr, "error: unknown command 'wasm %s'\n\n", argv[0]);
    print_usage(stderr);
    return CMD_USAGE;
}
