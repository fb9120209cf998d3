/* bakery: makes inferlets. `create` lays out a program, `build` turns it into a .wasm. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/paths.h"
#include "cli/tools.h"
#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/vec.h"
#include "engine/program/manifest.h"
#include "interp/component/component.h"

enum { MANIFEST_BYTES_MAX = 1 << 20, WASM_BYTES_MAX = 256 << 20 };

static int complain(const struct report *report)
{
    (void)fprintf(stderr, "bakery: %s\n", report->text);
    return CMD_FAILED;
}

/* ---- create ------------------------------------------------------------------------------ */

static const char source_template[] =
    "#include \"inferlet.h\"\n"
    "\n"
    "bool inferlet_main(struct pie_text input, struct pie_buf *output)\n"
    "{\n"
    "    struct pie_generation generation;\n"
    "    struct pie_model model;\n"
    "    struct pie_context context;\n"
    "    struct pie_tokens turns = {0};\n"
    "    struct pie_buf prompt = {0};\n"
    "    struct pie_buf system = {0};\n"
    "    if (!pie_param_text(input, \"prompt\", \"Hello!\", &prompt) ||\n"
    "        !pie_param_text(input, \"system\", \"You are a helpful assistant.\", &system) ||\n"
    "        !pie_generation_from_params(&generation, input) || !pie_model_open(&model, NULL) ||\n"
    "        !pie_context_open(&context, &model))\n"
    "        return false;\n"
    "    pie_chat_system_user(&model, (struct pie_text){system.data, system.bytes},\n"
    "                         (struct pie_text){prompt.data, prompt.bytes}, &turns);\n"
    "    pie_chat_cue(&model, &turns);\n"
    "    pie_context_queue(&context, turns.ids, turns.count);\n"
    "    return pie_generate(&context, &generation, output, NULL);\n"
    "}\n";

static const char manifest_template[] =
    "[package]\n"
    "name = \"%s\"\n"
    "version = \"0.1.0\"\n"
    "description = \"\"\n"
    "authors = []\n"
    "\n"
    "[runtime]\n"
    "core = \"^0.2.0\"\n"
    "\n"
    "[parameters]\n"
    "prompt = { type = \"string\", optional = true, description = \"What to answer\" }\n"
    "system = { type = \"string\", optional = true, description = \"The system message\" }\n"
    "max_tokens = { type = \"int\", optional = true }\n"
    "temperature = { type = \"float\", optional = true }\n"
    "top_p = { type = \"float\", optional = true }\n"
    "seed = { type = \"int\", optional = true }\n";

static bool is_name(const char *name)
{
    if (!isalnum((unsigned char)name[0]))
        return false;
    for (const char *at = name; *at; at++)
        if (!(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '-'))
            return false;
    return true;
}

static enum err write_in(const char *folder, const char *name, const char *text,
                         struct report *report)
{
    char path[PATHS_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return err_set(report, ERR_INVALID, "the path of %s is too long", name);
    return file_write(path, text, strlen(text), report);
}

static int bakery_create(int argc, char **argv)
{
    bool c = false;
    const char *out = NULL;
    struct report report = {0};
    struct buf manifest;
    const struct args_option table[] = {
        {"c", 0, &c, NULL, NULL, "A C program (the default)"},
        {"out", 'o', NULL, &out, "DIR", "Folder to make (default: NAME)"},
        {0},
    };
    struct args args = {.command = "bakery create",
                        .synopsis = "NAME",
                        .description = "Makes a folder with a small inferlet that runs.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args.positional_count != 1) {
        (void)fprintf(stderr, "error: one NAME is needed: bakery create NAME\n");
        return CMD_USAGE;
    }
    const char *name = args.positionals[0];
    if (!is_name(name)) {
        (void)fprintf(stderr, "bakery: '%s' is no name for an inferlet: lower-case letters, digits "
                              "and '-', beginning with a letter or digit\n", name);
        return CMD_USAGE;
    }
    if (!out)
        out = name;
    if (mkdir(out, 0777) != 0) {
        (void)fprintf(stderr, "bakery: cannot make the folder %s: %s\n", out, strerror(errno));
        return CMD_FAILED;
    }
    buf_init(&manifest, NULL);
    (void)buf_printf(&manifest, manifest_template, name);
    enum err err = manifest.failed ? err_set(&report, ERR_MEMORY, "out of memory")
                                   : write_in(out, "Pie.toml", manifest.data, &report);
    if (!err)
        err = write_in(out, "main.c", source_template, &report);
    buf_deinit(&manifest);
    if (err)
        return complain(&report);
    printf("Made %s: Pie.toml, main.c\n\n"
           "  bakery build %s -o %s.wasm\n"
           "  pie run --path %s.wasm --manifest %s/Pie.toml -- --prompt \"Hello!\"\n",
           out, out, name, name, out);
    return CMD_OK;
}

/* ---- build ------------------------------------------------------------------------------- */

/* The C SDK: $PIE_SDK, or sdk/ beside the folder that holds this binary. */
static bool find_sdk(char out[PATHS_MAX])
{
    const char *set = getenv("PIE_SDK");
    if (set && *set) {
        (void)snprintf(out, PATHS_MAX, "%s", set);
        return access(out, R_OK) == 0;
    }
    return (paths_beside_binary(out, "sdk") && access(out, R_OK) == 0) ||
           (paths_beside_binary(out, "../sdk") && access(out, R_OK) == 0);
}

struct words {
    char **items;
    size_t count, capacity;
};

/* Appends before + middle + after as one word. */
static bool add_joined(struct words *words, const char *before, const char *middle,
                       const char *after)
{
    struct buf text;
    buf_init(&text, NULL);
    (void)buf_printf(&text, "%s%s%s", before, middle, after);
    if (text.failed || !vec_push(NULL, words, text.data)) {
        buf_deinit(&text);
        return false;
    }
    return true;
}

static bool add_word(struct words *words, const char *word)
{
    return add_joined(words, word, "", "");
}

static void free_words(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        mem_free(NULL, words->items[i]);
    vec_free(NULL, words);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Appends the .c files of a folder, sorted: the same sources give the same bytes. */
static bool list_sources(const char *folder, struct words *sources)
{
    DIR *dir = opendir(folder);
    bool ok = dir != NULL;
    size_t first = sources->count;
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        size_t bytes = strlen(entry->d_name);
        if (bytes > 2 && strcmp(entry->d_name + bytes - 2, ".c") == 0)
            ok = add_joined(sources, folder, "/", entry->d_name);
    }
    if (dir)
        (void)closedir(dir);
    if (sources->count > first)
        qsort(sources->items + first, sources->count - first, sizeof *sources->items, by_name);
    return ok;
}

static int run_words(struct words *words, bool show)
{
    char *end = NULL;
    if (!vec_push(NULL, words, end))
        return 127;
    words->count--;
    if (show) {
        for (size_t i = 0; i < words->count; i++)
            (void)fprintf(stderr, "%s%s", i ? " " : "", words->items[i]);
        (void)fputc('\n', stderr);
    }
    return tools_run(words->items);
}

struct build {
    char clang[PATHS_MAX], linker[PATHS_MAX], sdk[PATHS_MAX], folder[PATHS_MAX];
    const char *name, *out;
    bool debug;
    struct words objects;
};

static bool compile_one(struct build *build, const char *source)
{
    struct words words = {0};
    char object[64];
    (void)snprintf(object, sizeof object, "%zu.o", build->objects.count);
    bool ok = add_word(&words, build->clang) &&
              add_word(&words, "--target=wasm32-unknown-unknown") &&
              add_word(&words, "-mbulk-memory") &&
              add_word(&words, build->debug ? "-O0" : "-O2") &&
              add_word(&words, "-std=gnu11") &&
              add_word(&words, "-ffreestanding") &&
              add_word(&words, "-nostdlib") && add_word(&words, "-Wall") &&
              add_joined(&words, "-I", build->sdk, "/c/include") &&
              add_joined(&words, "-I", build->sdk, "/c/src") &&
              add_joined(&words, "-DINFERLET_NAME=\"", build->name, "\"") &&
              (!build->debug || add_word(&words, "-g")) &&
              add_word(&words, "-c") && add_word(&words, source) &&
              add_word(&words, "-o") &&
              add_joined(&words, build->folder, "/", object) &&
              add_joined(&build->objects, build->folder, "/", object) &&
              run_words(&words, build->debug) == 0;
    free_words(&words);
    return ok;
}

static bool link_all(struct build *build)
{
    struct words words = {0};
    bool ok = add_word(&words, build->linker) &&
              add_word(&words, "--no-entry") &&
              add_word(&words, "--gc-sections") &&
              add_word(&words, "--stack-first") &&
              add_word(&words, "-z") &&
              add_word(&words, "stack-size=65536");
    for (size_t i = 0; ok && i < build->objects.count; i++)
        ok = add_word(&words, build->objects.items[i]);
    ok = ok && add_word(&words, "-o") && add_word(&words, build->out) &&
         run_words(&words, build->debug) == 0;
    free_words(&words);
    return ok;
}

static enum err check_result(const char *path, struct report *report)
{
    struct comp_component *component;
    char *wasm;
    size_t bytes;
    enum err err = file_read(path, WASM_BYTES_MAX, NULL, &wasm, &bytes, report);
    if (err)
        return err;
    err = comp_component_create((const uint8_t *)wasm, bytes, &component, report);
    mem_free(NULL, wasm);
    if (!err)
        comp_component_unref(component);
    return err;
}

static enum err build_c(struct build *build, const char *input, struct report *report)
{
    struct words sources = {0};
    char sdk_sources[PATHS_MAX];
    enum err err = ERR_OK;
    if (!tools_find(tools_clang, build->clang) || !tools_find(tools_wasm_ld, build->linker))
        return err_set(report, ERR_NOT_FOUND,
                       "building a C inferlet needs clang and wasm-ld: apt-get install clang-19 "
                       "lld-19");
    if (!find_sdk(build->sdk))
        return err_set(report, ERR_NOT_FOUND,
                       "the C SDK was not found; set PIE_SDK to the folder sdk/");
    (void)snprintf(build->folder, sizeof build->folder, "/tmp/bakery-XXXXXX");
    if (!mkdtemp(build->folder))
        return err_set(report, ERR_IO, "cannot make a folder in /tmp: %s", strerror(errno));
    (void)snprintf(sdk_sources, sizeof sdk_sources, "%s/c/src", build->sdk);
    if (!list_sources(input, &sources) || sources.count == 0)
        err = err_set(report, ERR_NOT_FOUND, "there is no .c file in %s", input);
    else if (!list_sources(sdk_sources, &sources))
        err = err_set(report, ERR_NOT_FOUND, "there are no sources in %s", sdk_sources);
    for (size_t i = 0; !err && i < sources.count; i++)
        if (!compile_one(build, sources.items[i]))
            err = err_set(report, ERR_INVALID, "compiling %s failed", sources.items[i]);
    if (!err && !link_all(build))
        err = err_set(report, ERR_INVALID, "linking %s failed", build->out);
    for (size_t i = 0; i < build->objects.count; i++)
        (void)unlink(build->objects.items[i]);
    (void)rmdir(build->folder);
    free_words(&sources);
    return err ? err : check_result(build->out, report);
}

static int bakery_build(int argc, char **argv)
{
    static struct build build;
    const char *out = NULL;
    struct report report = {0};
    char path[PATHS_MAX];
    char *text;
    size_t bytes;
    struct prog_manifest manifest;
    const struct args_option table[] = {
        {"out", 'o', NULL, &out, "WASM", "The file to write (required)"},
        {"debug", 0, &build.debug, NULL, NULL, "No optimisation, debug names, show the commands"},
        {0},
    };
    struct args args = {
        .command = "bakery build",
        .synopsis = "DIR -o WASM",
        .description = "Builds the inferlet in DIR (Pie.toml and .c files) into a .wasm.",
        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args.positional_count != 1 || !out) {
        (void)fprintf(stderr, "error: say what and where to: bakery build DIR -o FILE.wasm\n");
        return CMD_USAGE;
    }
    const char *input = args.positionals[0];
    if (snprintf(path, sizeof path, "%s/Pie.toml", input) >= (int)sizeof path)
        return CMD_USAGE;
    if (file_read(path, MANIFEST_BYTES_MAX, NULL, &text, &bytes, &report))
        return complain(&report);
    enum err err = prog_manifest_parse(text, bytes, path, NULL, &manifest, &report);
    mem_free(NULL, text);
    if (err)
        return complain(&report);
    build.name = manifest.name;
    build.out = out;
    err = build_c(&build, input, &report);
    free_words(&build.objects);
    prog_manifest_deinit(&manifest);
    if (err)
        return complain(&report);
    printf("%s\n", out);
    return CMD_OK;
}

/* ------------------------------------------------------------------------------------------ */

static void print_usage(FILE *stream)
{
    (void)fprintf(stream, "bakery %s: makes Pie inferlets\n\nUsage: bakery COMMAND [OPTIONS]\n\n"
                          "  create   Make a folder with a small inferlet\n"
                          "  build    Turn such a folder into a .wasm\n", CMD_VERSION);
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "create") == 0)
        return bakery_create(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "build") == 0)
        return bakery_build(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("bakery %s\n", CMD_VERSION);
        return CMD_OK;
    }
    bool help = argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (argc >= 2 && !help)
        (void)fprintf(stderr, "error: unknown command '%s'\n\n", argv[1]);
    print_usage(help ? stdout : stderr);
    return help ? CMD_OK : CMD_USAGE;
}
