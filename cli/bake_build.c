/* bakery build: a program's folder to a component, whatever language it is in. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/bake.h"
#include "cli/cmd.h"
#include "cli/tools.h"
#include "engine/base/file.h"
#include "engine/program/semver.h"
#include "interp/component/encode.h"

/* ---- C ------------------------------------------------------------------------------------ */

static bool compile_one(const struct bake_job *job, const char *clang, const char *source,
                        const char *object)
{
    struct bake_words words = {0};
    bool ok = bake_word(&words, clang) && bake_word(&words, "--target=wasm32-unknown-unknown") &&
              bake_word(&words, "-mbulk-memory") &&
              bake_word(&words, job->debug ? "-O0" : "-O2") && bake_word(&words, "-std=gnu11") &&
              bake_word(&words, "-ffreestanding") && bake_word(&words, "-nostdlib") &&
              bake_word(&words, "-Wall") && bake_join(&words, "-I", job->sdk, "/c/include") &&
              bake_join(&words, "-I", job->sdk, "/c/src") &&
              bake_join(&words, "-DINFERLET_NAME=\"", job->name, "\"") &&
              (!job->debug || bake_word(&words, "-g")) && bake_word(&words, "-c") &&
              bake_word(&words, source) && bake_word(&words, "-o") && bake_word(&words, object) &&
              bake_run(&words, NULL, job->debug) == 0;
    bake_free_words(&words);
    return ok;
}

static bool link_all(const struct bake_job *job, const char *linker,
                     const struct bake_words *objects, const char *module)
{
    struct bake_words words = {0};
    bool ok = bake_word(&words, linker) && bake_word(&words, "--no-entry") &&
              bake_word(&words, "--gc-sections") && bake_word(&words, "--stack-first") &&
              bake_word(&words, "-z") && bake_word(&words, "stack-size=65536");
    for (size_t i = 0; ok && i < objects->count; i++)
        ok = bake_word(&words, objects->items[i]);
    ok = ok && bake_word(&words, "-o") && bake_word(&words, module) &&
         bake_run(&words, NULL, job->debug) == 0;
    bake_free_words(&words);
    return ok;
}

/* Appends the paths of the folder's .c files. */
static bool list_sources(const char *folder, struct bake_words *sources)
{
    struct bake_words names = {0};
    bool ok = bake_list(folder, ".c", &names);
    for (size_t i = 0; ok && i < names.count; i++)
        ok = bake_join(sources, folder, "/", names.items[i]);
    bake_free_words(&names);
    return ok;
}

static enum err wrap_module(const struct bake_job *job, const char *path, struct report *report)
{
    char *module;
    size_t bytes;
    struct buf component;
    enum err err = file_read(path, BAKE_WASM_BYTES_MAX, NULL, &module, &bytes, report);
    if (err)
        return err;
    buf_init(&component, NULL);
    err = comp_encode((const uint8_t *)module, bytes, job->wit, &component, report);
    mem_free(NULL, module);
    if (!err)
        err = file_write(job->out, component.data, component.count, report);
    buf_deinit(&component);
    return err;
}

static enum err build_c(const struct bake_job *job, struct report *report)
{
    struct bake_words sources = {0}, objects = {0};
    char clang[PATHS_MAX], linker[PATHS_MAX], folder[PATHS_MAX + 64], path[PATHS_MAX + 64];
    enum err err = ERR_OK;
    if (!tools_find(tools_clang, clang) || !tools_find(tools_wasm_ld, linker))
        return err_set(report, ERR_NOT_FOUND,
                       "building a C inferlet needs clang and wasm-ld: apt-get install clang-19 "
                       "lld-19");
    (void)snprintf(folder, sizeof folder, "%s/c/src", job->sdk);
    if (job->entry ? !bake_word(&sources, job->entry)
                   : !list_sources(job->input, &sources) || sources.count == 0)
        err = err_set(report, ERR_NOT_FOUND, "there is no .c file in %s", job->input);
    else if (!list_sources(folder, &sources))
        err = err_set(report, ERR_NOT_FOUND, "there are no sources in %s", folder);
    for (size_t i = 0; !err && i < sources.count; i++) {
        (void)snprintf(path, sizeof path, "%s/%zu.o", job->scratch, i);
        if (!bake_word(&objects, path) || !compile_one(job, clang, sources.items[i], path))
            err = err_set(report, ERR_INVALID, "compiling %s failed", sources.items[i]);
    }
    (void)snprintf(path, sizeof path, "%s/main.wasm", job->scratch);
    if (!err && !link_all(job, linker, &objects, path))
        err = err_set(report, ERR_INVALID, "linking %s failed", job->out);
    bake_free_words(&sources);
    bake_free_words(&objects);
    return err ? err : wrap_module(job, path, report);
}

/* ---- all languages ------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
    size_t bytes = strlen(text), end_bytes = strlen(end);
    return bytes >= end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

static bool has_any(const char *folder, const char *suffix)
{
    struct bake_words names = {0};
    bool found = bake_list(folder, suffix, &names) && names.count != 0;
    bake_free_words(&names);
    return found;
}

static enum bake_language language_of(const struct bake_job *job)
{
    if (job->entry)
        return ends_with(job->entry, ".c")                                      ? BAKE_C
               : ends_with(job->entry, ".py")                                   ? BAKE_PYTHON
               : ends_with(job->entry, ".js") || ends_with(job->entry, ".ts")   ? BAKE_JAVASCRIPT
                                                                                : BAKE_NONE;
    if (bake_has(job->input, "Cargo.toml"))
        return BAKE_RUST;
    if (bake_has(job->input, "package.json") || has_any(job->input, ".js") ||
        has_any(job->input, ".ts"))
        return BAKE_JAVASCRIPT;
    if (bake_has(job->input, "pyproject.toml") || has_any(job->input, ".py"))
        return BAKE_PYTHON;
    return has_any(job->input, ".c") ? BAKE_C : BAKE_NONE;
}

static enum err check_result(const struct bake_job *job, struct report *report)
{
    struct comp_component *component;
    const uint8_t *wasm;
    size_t bytes;
    enum err err = file_map(job->out, &wasm, &bytes, report);
    if (err)
        return err;
    err = comp_component_create(wasm, bytes, &component, report);
    file_unmap(wasm, bytes);
    if (err)
        return err_prefix(report, "%s was built, but this engine cannot run it", job->out);
    comp_component_unref(component);
    return ERR_OK;
}

static enum err build(struct bake_job *job, struct report *report)
{
    struct comp_wit wit;
    enum bake_language language = language_of(job);
    enum err err = bake_find_sdk(job->sdk, report);
    if (err)
        return err;
    err = bake_read_wit(job->sdk, job->name, &wit, report);
    if (err)
        return err;
    job->wit = &wit;
    (void)snprintf(job->scratch, sizeof job->scratch, "/tmp/bakery-XXXXXX");
    if (!mkdtemp(job->scratch)) {
        comp_wit_deinit(&wit);
        return err_set(report, ERR_IO, "cannot make a folder in /tmp: %s", strerror(errno));
    }
    switch (language) {
    case BAKE_C: err = build_c(job, report); break;
    case BAKE_RUST: err = bake_rust(job, report); break;
    case BAKE_JAVASCRIPT: err = bake_javascript(job, report); break;
    case BAKE_PYTHON: err = bake_python(job, report); break;
    case BAKE_NONE:
        err = err_set(report, ERR_NOT_FOUND,
                      "%s holds no program: expected .c files, a Cargo.toml, a package.json with "
                      "index.ts or index.js, or a main.py", job->entry ? job->entry : job->input);
        break;
    }
    bake_remove_tree(job->scratch);
    comp_wit_deinit(&wit);
    return err ? err : check_result(job, report);
}

/* INPUT is a folder, or one source file beside the Pie.toml. */
static bool split_input(const char *input, char folder[PATHS_MAX], struct bake_job *job)
{
    if (snprintf(folder, PATHS_MAX, "%s", input) >= PATHS_MAX)
        return false;
    if (!bake_is_folder(input)) {
        char *slash = strrchr(folder, '/');
        job->entry = input;
        if (slash)
            *slash = '\0';
        else
            (void)snprintf(folder, PATHS_MAX, ".");
    }
    job->input = folder[0] ? folder : "/";
    return true;
}

/* Checks the Pie.toml, then builds. */
static int build_checked(struct bake_job *job)
{
    struct report report = {0};
    struct prog_manifest manifest;
    char path[PATHS_MAX + 16];
    if (bake_manifest(job->input, &manifest, &report))
        return bake_complain(&report);
    (void)snprintf(path, sizeof path, "%s/Pie.toml", job->input);
    enum err err = prog_semver_check_runtime(&manifest, path, &report);
    job->name = manifest.name;
    if (!err && !bake_is_name(job->name))
        err = err_set(&report, ERR_INVALID,
                      "%s: package.name: \"%s\" cannot be exported as pie:%s/run: expected words of "
                      "lower-case letters and digits, each beginning with a letter, with '-' between "
                      "them", path, job->name, job->name);
    if (!err)
        err = build(job, &report);
    prog_manifest_deinit(&manifest);
    return err ? bake_complain(&report) : CMD_OK;
}

int bake_build_quietly(const char *folder, const char *out)
{
    struct bake_job job = {.input = folder, .out = out};
    return build_checked(&job);
}

int bake_build(int argc, char **argv)
{
    struct bake_job job = {0};
    const char *out = NULL;
    bool as_json = false;
    char folder[PATHS_MAX];
    const struct args_option table[] = {
        {"out", 'o', NULL, &out, "WASM", "The file to write (required)"},
        {"json", 0, &as_json, NULL, NULL, "Print what was built as JSON"},
        {"debug", 0, &job.debug, NULL, NULL, "No optimisation, debug names, show the commands"},
        {0},
    };
    struct args args = {
        .command = "bakery build",
        .synopsis = "INPUT -o WASM",
        .description =
            "Builds an inferlet into a WebAssembly component. INPUT is a folder with a Pie.toml and\n"
            "C files, a Cargo.toml, a package.json or a main.py; or one source file beside a\n"
            "Pie.toml. The [runtime] constraints of the Pie.toml are checked first.",
        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args.positional_count != 1 || !out || !split_input(args.positionals[0], folder, &job)) {
        (void)fprintf(stderr, "error: say what and where to: bakery build DIR -o FILE.wasm\n");
        return CMD_USAGE;
    }
    job.out = out;
    int status = build_checked(&job);
    if (status == CMD_OK && as_json) {
        struct buf line;
        struct stat info;
        buf_init(&line, NULL);
        (void)buf_puts(&line, "{\"component\":");
        (void)buf_put_json(&line, out, strlen(out));
        (void)buf_printf(&line, ",\"bytes\":%lld}",
                         stat(out, &info) == 0 ? (long long)info.st_size : 0LL);
        printf("%s\n", line.failed ? "" : line.data);
        buf_deinit(&line);
    } else if (status == CMD_OK) {
        printf("%s\n", out);
    }
    return status;
}

int bake_wit(int argc, char **argv)
{
    struct report report = {0};
    char sdk[PATHS_MAX];
    struct comp_wit wit;
    struct buf text;
    bool all = false;
    const struct args_option table[] = {
        {"all", 'a', &all, NULL, NULL, "WASI's interfaces too"},
        {0},
    };
    struct args args = {.command = "bakery wit",
                        .synopsis = "",
                        .description = "Prints what an inferlet may ask of the engine, as Markdown.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (bake_find_sdk(sdk, &report) || bake_read_wit(sdk, NULL, &wit, &report))
        return bake_complain(&report);
    buf_init(&text, NULL);
    bool ok = comp_wit_describe(&text, &wit, all ? "" : "pie:") &&
              fwrite(text.data, 1, text.count, stdout) == text.count;
    buf_deinit(&text);
    comp_wit_deinit(&wit);
    return ok ? CMD_OK : CMD_FAILED;
}
