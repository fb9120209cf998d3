/* pie model list | info | train | quantize | perplexity */
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/paths.h"
#include "cli/ui.h"
#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/utf8.h"
#include "engine/base/vec.h"
#include "engine/convert.h"
#include "engine/perplexity.h"
#include "models/gguf.h"
#include "models/st.h"
#include "models/train/train.h"

static int complain(const struct report *report)
{
    (void)fprintf(stderr, "pie: %s\n", report->text);
    return CMD_FAILED;
}

/* ---- facts of a file --------------------------------------------------------------------- */

struct facts {
    char architecture[64], name[128], types[128], tokenizer[64];
    uint64_t parameters, file_bytes;
    uint32_t context, vocab, layers, dim;
    bool has_template;
};

static void copy_text(char *out, size_t out_bytes, const struct gguf *file, const char *key)
{
    struct gguf_string text;
    out[0] = '\0';
    if (gguf_get_string(file, key, &text))
        (void)snprintf(out, out_bytes, "%.*s", (int)(text.bytes < 200 ? text.bytes : 200),
                       text.data);
    utf8_clean(out, strlen(out)); /* it goes to a terminal */
}

static uint32_t arch_number(const struct gguf *file, const char *architecture, const char *tail)
{
    char key[128];
    uint32_t value = 0;
    (void)snprintf(key, sizeof key, "%s.%s", architecture, tail);
    (void)gguf_get_u32(file, key, &value);
    return value;
}

/* The weight formats in use, by falling share of the bytes. */
static void list_types(struct facts *facts, const struct gguf *file)
{
    enum { TYPES = 64 };
    uint64_t bytes[TYPES] = {0};
    size_t at = 0;
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(file, i);
        facts->parameters +=
            tensor->dims[0] * tensor->dims[1] * tensor->dims[2] * tensor->dims[3];
        if ((unsigned)tensor->type < TYPES)
            bytes[tensor->type] += tensor->bytes;
    }
    for (;;) {
        unsigned best = 0;
        for (unsigned t = 1; t < TYPES; t++)
            if (bytes[t] > bytes[best])
                best = t;
        const char *name = gguf_tensor_type_name((enum gguf_tensor_type)best);
        if (bytes[best] == 0)
            break;
        int put = snprintf(facts->types + at, sizeof facts->types - at, "%s%s", at ? " " : "",
                           name ? name : "?");
        bytes[best] = 0;
        if (put < 0 || at + (size_t)put >= sizeof facts->types)
            break;
        at += (size_t)put;
    }
}

static enum err read_facts(const char *path, struct facts *facts, struct report *report)
{
    struct gguf *file;
    struct gguf_string text;
    *facts = (struct facts){0};
    enum err err = gguf_open(path, &file, report);
    if (err)
        return err;
    copy_text(facts->architecture, sizeof facts->architecture, file, "general.architecture");
    copy_text(facts->name, sizeof facts->name, file, "general.name");
    copy_text(facts->tokenizer, sizeof facts->tokenizer, file, "tokenizer.ggml.model");
    facts->context = arch_number(file, facts->architecture, "context_length");
    facts->layers = arch_number(file, facts->architecture, "block_count");
    facts->dim = arch_number(file, facts->architecture, "embedding_length");
    const struct gguf_value *tokens = gguf_find(file, "tokenizer.ggml.tokens");
    if (tokens && tokens->type == GGUF_ARRAY && tokens->of.array.count <= UINT32_MAX)
        facts->vocab = (uint32_t)tokens->of.array.count;
    facts->has_template = gguf_get_string(file, "tokenizer.chat_template", &text);
    facts->file_bytes = gguf_file_bytes(file);
    list_types(facts, file);
    gguf_close(file);
    return ERR_OK;
}

static void put_facts_json(struct buf *json, const char *name, const char *path,
                           const struct facts *facts)
{
    (void)buf_puts(json, "{\"name\":");
    (void)buf_put_json(json, name, strlen(name));
    (void)buf_puts(json, ",\"path\":");
    (void)buf_put_json(json, path, strlen(path));
    (void)buf_puts(json, ",\"architecture\":");
    (void)buf_put_json(json, facts->architecture, strlen(facts->architecture));
    (void)buf_puts(json, ",\"title\":");
    (void)buf_put_json(json, facts->name, strlen(facts->name));
    (void)buf_puts(json, ",\"types\":");
    (void)buf_put_json(json, facts->types, strlen(facts->types));
    (void)buf_printf(json,
                     ",\"parameters\":%llu,\"file_bytes\":%llu,\"context\":%u,\"vocabulary\":%u,"
                     "\"layers\":%u,\"dim\":%u,\"chat_template\":%s}",
                     (unsigned long long)facts->parameters, (unsigned long long)facts->file_bytes,
                     facts->context, facts->vocab, facts->layers, facts->dim,
                     facts->has_template ? "true" : "false");
}

static const char *count_text(uint64_t count)
{
    static char texts[2][32];
    static unsigned turn;
    char *text = texts[turn++ % 2];
    if (count >= 1000000000)
        (void)snprintf(text, sizeof texts[0], "%.2fB", (double)count / 1e9);
    else if (count >= 1000000)
        (void)snprintf(text, sizeof texts[0], "%.2fM", (double)count / 1e6);
    else
        (void)snprintf(text, sizeof texts[0], "%.0fK", (double)count / 1e3);
    return text;
}

/* ---- list -------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    char **items;
    size_t count, capacity;
};

/* Names of the .gguf files in a folder, without the ending, and of its folders of safetensors; a
 * missing folder has none. */
static bool list_names(const char *folder, struct names *names)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return true;
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        char path[PATHS_MAX];
        size_t bytes = strlen(entry->d_name);
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (bytes > 5 && strcmp(entry->d_name + bytes - 5, ".gguf") == 0)
            bytes -= 5;
        else if (entry->d_name[0] == '.' || !st_is_folder(path))
            continue;
        char *name = mem_strdup(NULL, entry->d_name, bytes);
        ok = name && vec_push(NULL, names, name);
    }
    (void)closedir(dir);
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, by_name);
    return ok;
}

static void print_list(const char *folder, const struct names *names, bool json)
{
    struct buf text;
    buf_init(&text, NULL);
    (void)buf_puts(&text, json ? "[" : "");
    for (size_t i = 0; i < names->count; i++) {
        char path[PATHS_MAX];
        struct facts facts;
        struct report report = {0};
        (void)snprintf(path, sizeof path, "%s/%s", folder, names->items[i]);
        if (!st_is_folder(path))
            (void)snprintf(path, sizeof path, "%s/%s.gguf", folder, names->items[i]);
        enum err err = read_facts(path, &facts, &report);
        if (json) {
            (void)buf_puts(&text, i ? "," : "");
            put_facts_json(&text, names->items[i], path, &facts);
        } else if (err) {
            (void)buf_printf(&text, "○ %-20s %s\n", names->items[i], report.text);
        } else {
            (void)buf_printf(&text, "✓ %-20s %-8s %8s parameters  %-10s  %s\n", names->items[i],
                             facts.architecture, count_text(facts.parameters),
                             ui_bytes(facts.file_bytes), facts.types);
        }
    }
    (void)buf_puts(&text, json ? "]\n" : "");
    if (!json && names->count == 0)
        (void)buf_printf(&text, "No models in %s.\n`pie model train` makes the default model, and "
                                "any GGUF file or folder of safetensors put there is "
                                "found by its name.\n", folder);
    if (!json && text.data)
        utf8_clean(text.data, text.count); /* names of files may hold anything */
    (void)fputs(text.data ? text.data : "", stdout);
    buf_deinit(&text);
}

static int model_list(int argc, char **argv)
{
    bool json = false;
    char folder[PATHS_MAX];
    struct names names = {0};
    const struct args_option table[] = {
        {"json", 0, &json, NULL, NULL, "Print JSON"},
        {0},
    };
    struct args args = {.command = "pie model list",
                        .synopsis = "",
                        .description = "Lists the models in $PIE_HOME/models.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (!paths_in_home(folder, "models") || !list_names(folder, &names)) {
        (void)fprintf(stderr, "pie: cannot list the models\n");
        return CMD_FAILED;
    }
    print_list(folder, &names, json);
    for (size_t i = 0; i < names.count; i++)
        mem_free(NULL, names.items[i]);
    vec_free(NULL, &names);
    return CMD_OK;
}

/* ---- info -------------------------------------------------------------------------------- */

static int model_info(int argc, char **argv)
{
    bool json = false;
    char path[PATHS_MAX];
    struct facts facts;
    struct report report = {0};
    const struct args_option table[] = {
        {"json", 0, &json, NULL, NULL, "Print JSON"},
        {0},
    };
    struct args args = {.command = "pie model info",
                        .synopsis = "[MODEL]",
                        .description = "Tells what a model is: a GGUF file, a folder of safetensors, or\n"
                                       "an installed name.",
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    const char *name = args.positional_count ? args.positionals[0] : NULL;
    if (paths_find_model(name, path, &report) || read_facts(path, &facts, &report))
        return complain(&report);
    if (json) {
        struct buf text;
        buf_init(&text, NULL);
        put_facts_json(&text, name ? name : "default", path, &facts);
        (void)puts(text.data ? text.data : "");
        buf_deinit(&text);
        return CMD_OK;
    }
    printf("file          %s (%s)\n", path, ui_bytes(facts.file_bytes));
    printf("name          %s\n", facts.name[0] ? facts.name : "-");
    printf("architecture  %s: %u layers, dim %u\n", facts.architecture, facts.layers, facts.dim);
    printf("parameters    %s\n", count_text(facts.parameters));
    printf("weights       %s\n", facts.types);
    printf("context       %u tokens\n", facts.context);
    printf("vocabulary    %u tokens (%s)\n", facts.vocab,
           facts.tokenizer[0] ? facts.tokenizer : "no tokenizer");
    printf("chat template %s\n", facts.has_template ? "yes" : "no");
    return CMD_OK;
}

/* ---- train ------------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_asked;

static void on_interrupt(int number)
{
    (void)number;
    stop_asked = 1;
}

static bool on_train_progress(void *user, const struct train_progress *progress)
{
    char note[64];
    (void)snprintf(note, sizeof note, "loss %.3f  %.0f tok/s", progress->loss,
                   progress->tokens_per_second);
    ui_bar_update(user, progress->step, progress->steps, note);
    return !stop_asked;
}

static int model_train(int argc, char **argv)
{
    const char *name = "default";
    const char *out = NULL;
    const char *seed = NULL;
    const char *threads = NULL;
    const char *steps = NULL;
    bool tiny = false;
    bool force = false;
    bool quiet = false;
    char path[PATHS_MAX];
    struct ui_bar bar;
    struct report report = {0};
    unsigned long long number;
    const struct args_option table[] = {
        {"name", 0, NULL, &name, "NAME", "Install as this (default: default)"},
        {"out", 'o', NULL, &out, "FILE", "Write this file instead of $PIE_HOME/models/NAME.gguf"},
        {"seed", 0, NULL, &seed, "N", "Seed of data and weights"},
        {"threads", 0, NULL, &threads, "N", "Threads (default: all we may use)"},
        {"steps", 0, NULL, &steps, "N", "Training steps"},
        {"tiny", 0, &tiny, NULL, NULL, "A very small model in seconds, for tests"},
        {"force", 0, &force, NULL, NULL, "Replace a model that is there"},
        {"quiet", 'q', &quiet, NULL, NULL, "No progress"},
        {0},
    };
    struct args args = {
        .command = "pie model train",
        .synopsis = "",
        .description = "Trains the default model from text that this program makes itself. The\n"
                       "same seed gives the same file. About two minutes on two cores.",
        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    struct train_config config = tiny ? train_config_tiny() : train_config_default();
    if (seed) {
        if (!args_number("pie model train", "seed", seed, 0, UINT64_MAX, &number))
            return CMD_USAGE;
        config.seed = number;
    }
    if (threads) {
        if (!args_number("pie model train", "threads", threads, 1, 256, &number))
            return CMD_USAGE;
        config.threads = (uint32_t)number;
    }
    if (steps) {
        if (!args_number("pie model train", "steps", steps, 1, 1000000, &number))
            return CMD_USAGE;
        config.steps = (uint32_t)number;
    }
    if (out) {
        (void)snprintf(path, sizeof path, "%s", out);
    } else {
        char tail[PATHS_MAX];
        if (strchr(name, '/') || name[0] == '.' || name[0] == '\0') {
            (void)fprintf(stderr, "pie: '%s' is no name for a model\n", name);
            return CMD_USAGE;
        }
        (void)snprintf(tail, sizeof tail, "models/%s.gguf", name);
        if (!paths_in_home(path, "models") || file_make_dirs(path, &report))
            return complain(&report);
        if (!paths_in_home(path, tail))
            return CMD_FAILED;
    }
    struct stat info;
    if (!force && stat(path, &info) == 0) {
        (void)fprintf(stderr, "pie: %s is there already; --force replaces it\n", path);
        return CMD_FAILED;
    }
    (void)signal(SIGINT, on_interrupt);
    ui_bar_begin(&bar, "training", quiet);
    enum err err = train_run(&config, on_train_progress, &bar, path, &report);
    ui_bar_end(&bar);
    if (err == ERR_CANCELLED) {
        (void)fprintf(stderr, "pie model train: interrupted, nothing was written\n");
        return CMD_INTERRUPTED;
    }
    if (err)
        return complain(&report);
    printf("%s\n", path);
    return CMD_OK;
}

/* ---- quantize ---------------------------------------------------------------------------- */

static bool on_convert_progress(void *user, uint64_t done, uint64_t total)
{
    ui_bar_update(user, done, total, NULL);
    return !stop_asked;
}

static int model_quantize(int argc, char **argv)
{
    const char *type = NULL;
    const char *threads = NULL;
    bool force = false;
    bool quiet = false;
    bool json = false;
    char path[PATHS_MAX];
    char description[300];
    struct ui_bar bar;
    struct stat info;
    struct report report = {0};
    struct engine_converted done;
    unsigned long long number = 0;
    const struct args_option table[] = {
        {"type", 't', NULL, &type, "TYPE", "Format of the matrices"},
        {"threads", 0, NULL, &threads, "N", "Threads (default: all we may use)"},
        {"force", 0, &force, NULL, NULL, "Replace a file that is there"},
        {"json", 0, &json, NULL, NULL, "Print JSON"},
        {"quiet", 'q', &quiet, NULL, NULL, "No progress"},
        {0},
    };
    (void)snprintf(description, sizeof description,
                   "Writes MODEL (a GGUF file, a folder of safetensors, an installed name) as the "
                   "GGUF file OUT\nwith its matrices in another format: %s.",
                   engine_convert_types());
    struct args args = {.command = "pie model quantize",
                        .synopsis = "MODEL OUT --type TYPE",
                        .description = description,
                        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args.positional_count != 2 || !type) {
        (void)fprintf(stderr, "error: pie model quantize needs MODEL, OUT and --type TYPE\n");
        return CMD_USAGE;
    }
    if (threads && !args_number("pie model quantize", "threads", threads, 1, 256, &number))
        return CMD_USAGE;
    if (paths_find_model(args.positionals[0], path, &report))
        return complain(&report);
    if (!force && stat(args.positionals[1], &info) == 0) {
        (void)fprintf(stderr, "pie: %s is there already; --force replaces it\n",
                      args.positionals[1]);
        return CMD_FAILED;
    }
    (void)signal(SIGINT, on_interrupt);
    ui_bar_begin(&bar, "quantizing", quiet || json);
    struct engine_convert convert = {.from = path, .to = args.positionals[1], .type = type,
                                     .threads = (uint32_t)number, .progress = on_convert_progress,
                                     .progress_user = &bar};
    enum err err = engine_convert(&convert, &done, &report);
    ui_bar_end(&bar);
    if (err == ERR_CANCELLED) {
        (void)fprintf(stderr, "pie model quantize: interrupted, nothing was written\n");
        return CMD_INTERRUPTED;
    }
    if (err)
        return complain(&report);
    if (json)
        printf("{\"tensors\":%u,\"quantised\":%u,\"bytes_from\":%llu,\"bytes_to\":%llu}\n",
               done.tensors, done.quantised, (unsigned long long)done.bytes_from,
               (unsigned long long)done.bytes_to);
    else
        printf("%s: %u of %u tensors quantised, %s to %s\n", args.positionals[1], done.quantised,
               done.tensors, ui_bytes(done.bytes_from), ui_bytes(done.bytes_to));
    return CMD_OK;
}

/* ---- perplexity -------------------------------------------------------------------------- */

static bool on_window(void *user, uint64_t done, uint64_t total, double perplexity)
{
    char note[64];
    (void)snprintf(note, sizeof note, "perplexity %.4f", perplexity);
    ui_bar_update(user, done, total, note);
    return !stop_asked;
}

static int model_perplexity(int argc, char **argv)
{
    struct engine_perplexity config = {0};
    const char *file = NULL;
    const char *context = NULL;
    const char *windows = NULL;
    const char *threads = NULL;
    bool json = false;
    bool quiet = false;
    char path[PATHS_MAX];
    char *text;
    struct ui_bar bar;
    struct report report = {0};
    struct engine_perplexity_result r;
    unsigned long long number = 0;
    const struct args_option table[] = {
        {"text", 'f', NULL, &file, "FILE", "The text"},
        {"context", 'c', NULL, &context, "N", "Tokens of a window (default: 512)"},
        {"windows", 0, NULL, &windows, "N", "At most so many windows"},
        {"quantize", 0, NULL, &config.quantize, "TYPE", "Format of float weights in memory"},
        {"threads", 0, NULL, &threads, "N", "Threads (default: all we may use)"},
        {"json", 0, &json, NULL, NULL, "Print JSON"},
        {"quiet", 'q', &quiet, NULL, NULL, "No progress"},
        {0},
    };
    struct args args = {
        .command = "pie model perplexity",
        .synopsis = "[MODEL] --text FILE",
        .description = "How well a model foresees a text. The text is cut into windows, the second\n"
                       "half of each is scored, as llama-perplexity does.",
        .options = table};
    enum args_result result = args_read(&args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (!file) {
        (void)fprintf(stderr, "error: pie model perplexity needs --text FILE\n");
        return CMD_USAGE;
    }
    if (context && !args_number("pie model perplexity", "context", context, 4, 1 << 20, &number))
        return CMD_USAGE;
    config.context = context ? (uint32_t)number : 0;
    if (windows && !args_number("pie model perplexity", "windows", windows, 1, UINT32_MAX, &number))
        return CMD_USAGE;
    config.windows_max = windows ? (uint32_t)number : 0;
    if (threads && !args_number("pie model perplexity", "threads", threads, 1, 256, &number))
        return CMD_USAGE;
    config.threads = threads ? (uint32_t)number : 0;
    if (paths_find_model(args.positional_count ? args.positionals[0] : NULL, path, &report) ||
        file_read(file, (size_t)1 << 30, NULL, &text, &config.text_bytes, &report))
        return complain(&report);
    (void)signal(SIGINT, on_interrupt);
    ui_bar_begin(&bar, "perplexity", quiet || json);
    config.model_path = path;
    config.text = text;
    config.progress = on_window;
    config.progress_user = &bar;
    enum err err = engine_perplexity(&config, &r, &report);
    ui_bar_end(&bar);
    mem_free(NULL, text);
    if (err == ERR_CANCELLED)
        return CMD_INTERRUPTED;
    if (err)
        return complain(&report);
    if (json)
        printf("{\"perplexity\":%.6f,\"error\":%.6f,\"tokens\":%llu,\"scored\":%llu,\"windows\":%u,"
               "\"seconds\":%.3f}\n", r.perplexity, r.error, (unsigned long long)r.tokens,
               (unsigned long long)r.scored, r.windows, r.seconds);
    else
        printf("perplexity %.4f +/- %.4f (%llu of %llu tokens in %u windows, %.1f s)\n",
               r.perplexity, r.error, (unsigned long long)r.scored, (unsigned long long)r.tokens,
               r.windows, r.seconds);
    return CMD_OK;
}

int cmd_model(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"list", model_list}, {"info", model_info}, {"train", model_train},
                  {"quantize", model_quantize}, {"perplexity", model_perplexity}};
    for (size_t i = 0; argc > 0 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    FILE *stream = argc > 0 && strcmp(argv[0], "--help") != 0 && strcmp(argv[0], "-h") != 0
                       ? stderr
                       : stdout;
    if (stream == stderr)
        (void)fprintf(stderr, "error: unknown command 'pie model %s'\n\n", argv[0]);
    (void)fprintf(stream, "Usage: pie model COMMAND\n\n"
                          "  list        Models in $PIE_HOME/models\n"
                          "  info        What a model is\n"
                          "  train       Make the default model from source\n"
                          "  quantize    Write a model in another format\n"
                          "  perplexity  How well a model foresees a text\n");
    return argc == 0 || stream == stderr ? CMD_USAGE : CMD_OK;
}
