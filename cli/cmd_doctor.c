/* pie doctor: what this machine has, and what is missing for which purpose. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/paths.h"
#include "cli/tools.h"
#include "cli/ui.h"
#include "engine/base/buf.h"
#include "engine/engine.h"
#include "engine/packed.h"
#include "engine/program/cache.h"
#include "models/gguf.h"

/* One finding. `status`: '+' good, '-' absent but not needed to serve, '!' something to mend. */
struct findings {
    struct buf text, json;
    size_t count, problems;
};

static void found(struct findings *findings, char status, const char *what, const char *detail)
{
    const char *mark = status == '+' ? "✓" : status == '-' ? "○" : "✗";
    (void)buf_printf(&findings->text, "  %s %-16s %s\n", mark, what, detail);
    (void)buf_puts(&findings->json, findings->count++ ? "," : "");
    (void)buf_puts(&findings->json, "{\"what\":");
    (void)buf_put_json(&findings->json, what, strlen(what));
    (void)buf_printf(&findings->json, ",\"status\":\"%s\",\"detail\":",
                     status == '+' ? "ok" : status == '-' ? "absent" : "problem");
    (void)buf_put_json(&findings->json, detail, strlen(detail));
    (void)buf_putc(&findings->json, '}');
    findings->problems += status == '!';
}

static void look_at_cpu(struct findings *findings, const struct engine_machine *machine)
{
    char detail[256];
    struct buf features;
    buf_init(&features, NULL);
    (void)snprintf(detail, sizeof detail, "%u usable (of %ld online)", machine->threads,
                   sysconf(_SC_NPROCESSORS_ONLN));
    found(findings, '+', "cores", detail);
    (void)snprintf(detail, sizeof detail, "%s (PIE_SIMD=scalar|avx2|avx512|vnni lowers it)",
                   machine->simd);
    found(findings, '+', "kernels", detail);
#if defined(__x86_64__)
    __builtin_cpu_init();
#define FEATURE(name) \
    if (__builtin_cpu_supports(name)) (void)buf_puts(&features, name " ")
    FEATURE("sse4.2");
    FEATURE("avx2");
    FEATURE("fma");
    FEATURE("avx512f");
    FEATURE("avx512bw");
    FEATURE("avx512vnni");
    FEATURE("avx512bf16");
    FEATURE("gfni");
#undef FEATURE
#endif
    found(findings, '+', "CPU features", features.count ? features.data : "-");
    buf_deinit(&features);
}

static void look_at_model(struct findings *findings)
{
    char path[PATHS_MAX];
    char detail[PATHS_MAX + 100];
    struct report report = {0};
    struct gguf *file;
    if (paths_find_model(NULL, path, &report)) {
        found(findings, '!', "default model", report.text);
        return;
    }
    if (gguf_open(path, &file, &report)) {
        found(findings, '!', "default model", report.text);
        return;
    }
    (void)snprintf(detail, sizeof detail, "%s (%s)", path, ui_bytes(gguf_file_bytes(file)));
    gguf_close(file);
    found(findings, '+', "default model", detail);
}

/* Which components were accepted before, and packed weights: both load sooner. */
static void look_at_cache(struct findings *findings, bool clear)
{
    char path[PATHS_MAX];
    char detail[PATHS_MAX + 100];
    if (!paths_in_home(path, "cache"))
        return;
    size_t removed = clear ? prog_cache_clear(path) : 0;
    size_t removed_packed = clear ? engine_packed_clear(path) : 0;
    struct prog_cache_size size = prog_cache_size(path);
    struct engine_packed_size packed = engine_packed_size(path);
    if (clear)
        (void)snprintf(detail, sizeof detail, "%s: %zu removed", path, removed + removed_packed);
    else
        (void)snprintf(detail, sizeof detail, "%s: %zu component%s known, %s (--clear-cache empties it)",
                       path, size.files, size.files == 1 ? "" : "s", ui_bytes(size.bytes));
    found(findings, '+', "cache", detail);
    (void)snprintf(detail, sizeof detail, "%zu model%s, %s (pie run --packed-cache)", packed.files,
                   packed.files == 1 ? "" : "s", ui_bytes(packed.bytes));
    found(findings, packed.files > 0 ? '+' : '-', "packed weights", detail);
}

static void look_for(struct findings *findings, const char *what, const char *const *names,
                     const char *remedy)
{
    char path[PATHS_MAX];
    bool there = tools_find(names, path);
    found(findings, there ? '+' : '-', what, there ? path : remedy);
}

int cmd_doctor(int argc, char **argv)
{
    static const char *const cargo[] = {"cargo", NULL};
    static const char *const node[] = {"node", NULL};
    bool json = false, clear_cache = false;
    char detail[256];
    char standard[PATHS_MAX];
    const struct args_option table[] = {
        {"clear-cache", 0, &clear_cache, NULL, NULL, "Empty $PIE_HOME/cache"},
        {"json", 0, &json, NULL, NULL, "Print JSON"},
        {0},
    };
    struct args args = {.command = "pie doctor",
                        .synopsis = "",
                        .description = "Checks this machine. Exit status 1 when something has to "
                                       "be mended before a model can be served.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    struct findings findings = {0};
    buf_init(&findings.text, NULL);
    buf_init(&findings.json, NULL);
    struct engine_machine machine = engine_machine();
    (void)buf_puts(&findings.text, "machine\n");
    look_at_cpu(&findings, &machine);
    (void)snprintf(detail, sizeof detail, "%s available of %s",
                   ui_bytes(machine.memory_available), ui_bytes(machine.memory_total));
    found(&findings, machine.memory_available > 256 << 20 ? '+' : '!', "memory", detail);
    (void)buf_puts(&findings.text, "engine\n");
    found(&findings, access(paths_home(), W_OK) == 0 ? '+' : '-', "PIE_HOME", paths_home());
    look_at_cache(&findings, clear_cache);
    look_at_model(&findings);
    bool beside = paths_beside_binary(standard, "inferlets") && access(standard, R_OK) == 0;
    found(&findings, beside ? '+' : '-', "inferlets",
          beside ? standard : "the standard ones are not built: make inferlets");
    (void)buf_puts(&findings.text, "to build inferlets\n");
    look_for(&findings, "clang (C)", tools_clang, "absent: apt-get install clang-19");
    look_for(&findings, "wasm-ld (C)", tools_wasm_ld, "absent: apt-get install lld-19");
    look_for(&findings, "cargo (Rust)", cargo, "absent: only needed for inferlets in Rust");
    look_for(&findings, "node (JavaScript)", node, "absent: only needed for JavaScript");
    if (json)
        printf("[%s]\n", findings.json.data ? findings.json.data : "");
    else
        (void)fputs(findings.text.data ? findings.text.data : "", stdout);
    buf_deinit(&findings.text);
    buf_deinit(&findings.json);
    return findings.problems ? CMD_FAILED : CMD_OK;
}
