/* pie run: one inferlet in an engine of its own. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/config.h"
#include "cli/fold.h"
#include "cli/paths.h"
#include "cli/registry.h"
#include "cli/ui.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/utf8.h"
#include "engine/engine.h"

enum { MANIFEST_BYTES_MAX = 1 << 20, WASM_BYTES_MAX = 256 << 20, INPUT_BYTES_MAX = 64 << 20 };
/* Messages are kept this far, to be compared with the return value. */
enum { STREAMED_BYTES_MAX = 16 << 20 };

struct run_options {
    const char *path, *manifest, *config, *port, *input, *model, *adapter, *quantize, *threads;
    const char *kv_bits, *seed;
    const char *token_budget, *fuel, *network;
    bool show_stdout, debug, quiet, json, interactive, packed_cache;
    const char *name; /* of the inferlet, NULL with --path */
    char **words;     /* to be folded */
    size_t word_count;
};

/* What came from the inferlet, and what was shown of it. */
struct run_output {
    const struct run_options *options;
    struct buf streamed; /* messages, to know whether the return value repeats them */
    bool stdout_terminal;
    bool line_open; /* what was written last did not end a line */
    bool ended, failed;
};

static volatile sig_atomic_t interrupted;
static struct engine *waking; /* for the signal handler */

static void on_interrupt(int number)
{
    int error = errno;
    (void)number;
    if (interrupted) /* a second Ctrl-C does not wait for anything */
        _exit(CMD_INTERRUPTED);
    interrupted = 1;
    if (waking)
        engine_wake(waking);
    errno = error;
}

/* ---- events ------------------------------------------------------------------------------ */

static void show(struct run_output *output, const char *data, size_t bytes)
{
    if (bytes == 0)
        return;
    ui_write_safely(STDOUT_FILENO, data, bytes, output->stdout_terminal);
    output->line_open = data[bytes - 1] != '\n';
}

static void end_line(struct run_output *output)
{
    if (output->line_open)
        show(output, "\n", 1);
}

static const char *event_name(enum engine_event_kind kind)
{
    switch (kind) {
    case ENGINE_EVENT_STDOUT: return "stdout";
    case ENGINE_EVENT_STDERR: return "stderr";
    case ENGINE_EVENT_MESSAGE: return "message";
    case ENGINE_EVENT_FILE: return "file";
    case ENGINE_EVENT_RETURN: return "return";
    case ENGINE_EVENT_ERROR: return "error";
    }
    return "unknown";
}

static void show_json(const struct engine_event *event)
{
    struct buf line;
    buf_init(&line, NULL);
    (void)buf_printf(&line, "{\"event\":\"%s\",\"process\":\"%s\",", event_name(event->kind),
                     event->process_id);
    if (event->kind == ENGINE_EVENT_FILE) {
        (void)buf_printf(&line, "\"bytes\":%zu", event->bytes);
    } else {
        (void)buf_puts(&line, "\"value\":");
        (void)buf_put_json(&line, event->data, event->bytes);
    }
    (void)buf_puts(&line, "}\n");
    if (!line.failed)
        ui_write_safely(STDOUT_FILENO, line.data, line.count, false);
    buf_deinit(&line);
}

/* The return value, unless the stream has just said the same. */
static void show_return(struct run_output *output, const struct engine_event *event)
{
    bool repeated = output->streamed.count == event->bytes &&
                    memcmp(output->streamed.data ? output->streamed.data : "", event->data,
                           event->bytes) == 0;
    if (!repeated && event->bytes) {
        end_line(output);
        show(output, event->data, event->bytes);
    }
    end_line(output);
}

static void on_event(void *user, const struct engine_event *event)
{
    struct run_output *output = user;
    const struct run_options *options = output->options;
    bool is_end = event->kind == ENGINE_EVENT_RETURN || event->kind == ENGINE_EVENT_ERROR;
    output->ended |= is_end;
    output->failed |= event->kind == ENGINE_EVENT_ERROR;
    if (options->json) {
        show_json(event);
        return;
    }
    switch (event->kind) {
    case ENGINE_EVENT_STDOUT:
        if (options->show_stdout)
            show(output, event->data, event->bytes);
        break;
    case ENGINE_EVENT_STDERR:
        if (options->show_stdout || options->debug)
            ui_write_safely(STDERR_FILENO, event->data, event->bytes, isatty(STDERR_FILENO));
        break;
    case ENGINE_EVENT_MESSAGE:
        if (output->streamed.count <= STREAMED_BYTES_MAX)
            (void)buf_append(&output->streamed, event->data, event->bytes);
        show(output, event->data, event->bytes);
        break;
    case ENGINE_EVENT_FILE:
        if (options->debug)
            (void)fprintf(stderr, "[received file: %zu bytes]\n", event->bytes);
        break;
    case ENGINE_EVENT_RETURN: show_return(output, event); break;
    case ENGINE_EVENT_ERROR:
        end_line(output);
        (void)fprintf(stderr, "✗ ");
        ui_write_safely(STDERR_FILENO, event->data, event->bytes, isatty(STDERR_FILENO));
        (void)fprintf(stderr, "\npie run: inferlet errored\n");
        break;
    }
}

/* ---- setting up -------------------------------------------------------------------------- */

static int complain(const struct report *report)
{
    (void)fprintf(stderr, "pie: %s\n", report->text);
    return CMD_FAILED;
}

static void on_log(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)fprintf(stderr, "\npie: %s: %s\n", level == LOG_ERROR ? "error" : "warning", line);
}

static void on_progress(void *user, uint64_t done, uint64_t total)
{
    ui_bar_update(user, done, total, ui_bytes(total));
}

static bool read_options(struct run_options *options, int argc, char **argv, int *status)
{
    const struct args_option table[] = {
        {"path", 'p', NULL, &options->path, "WASM", "Run this file (needs --manifest)"},
        {"manifest", 'm', NULL, &options->manifest, "TOML", "The Pie.toml that belongs to --path"},
        {"input", 0, NULL, &options->input, "JSON", "The input as JSON (default {}); @FILE reads it"},
        {"model", 0, NULL, &options->model, "MODEL",
         "A GGUF file, a folder of safetensors, or an installed model's name"},
        {"quantize", 0, NULL, &options->quantize, "TYPE",
         "Hold float weights in this format (Q8_0, Q4_0, Q4_K_M, ...)"},
        {"packed-cache", 0, &options->packed_cache, NULL, NULL,
         "Keep the packed weights in $PIE_HOME/cache for the next start"},
        {"adapter", 0, NULL, &options->adapter, "GGUF", "A LoRA adapter for every forward pass"},
        {"config", 'c', NULL, &options->config, "INI", "Configuration ($PIE_HOME/config.ini)"},
        {"port", 0, NULL, &options->port, "N", "Accepted; this engine opens no port to run"},
        {"threads", 0, NULL, &options->threads, "N", "Compute threads (default: all we may use)"},
        {"kv-bits", 0, NULL, &options->kv_bits, "N", "Bits of a number in the KV cache: 16 or 8"},
        {"seed", 0, NULL, &options->seed, "N", "Seed of samplers without one (default 42)"},
        {"token-budget", 0, NULL, &options->token_budget, "N", "Most tokens it may feed"},
        {"fuel", 0, NULL, &options->fuel, "N", "Most WebAssembly instructions it may use"},
        {"network", 0, NULL, &options->network, "RULES",
         "Let it talk to: * or ADDRESS[/BITS][:PORT] ... (default: no network)"},
        {"interactive", 'i', &options->interactive, NULL, NULL,
         "Send every line of stdin to the inferlet"},
        {"stdout", 0, &options->show_stdout, NULL, NULL, "Show the inferlet's stdout and stderr"},
        {"json", 0, &options->json, NULL, NULL, "Print every event as one line of JSON"},
        {"debug", 0, &options->debug, NULL, NULL, "Say more on stderr"},
        {"quiet", 'q', &options->quiet, NULL, NULL, "No progress on stderr"},
        {0},
    };
    struct args args = {
        .command = "pie run",
        .synopsis = "[INFERLET] [-- --KEY VALUE ...]",
        .description =
            "Runs an inferlet once, in an engine of its own, and streams what it says.\n"
            "INFERLET is a name (newest version), NAME@VERSION or NAME@^1.2; what is not installed\n"
            "comes from the registry, if one is configured. Words behind `--` become the\n"
            "JSON input: `-- --prompt \"hi\" --max-tokens 20` is {\"prompt\":\"hi\",\"max_tokens\":20}.\n"
            "Exit status: 0, 1 when it failed, 2 for wrong usage, 130 after Ctrl-C.",
        .options = table,
    };
    enum args_result result = args_read(&args, argc, argv);
    *status = result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (result != ARGS_OK)
        return false;
    *status = CMD_FAILED;
    if (args.positional_count > 1) {
        (void)fprintf(stderr, "error: unexpected argument '%s'; what is meant for the inferlet "
                              "stands behind `--`\n", args.positionals[1]);
        *status = CMD_USAGE;
        return false;
    }
    options->words = args.rest;
    options->word_count = args.rest_count;
    if (options->path) {
        if (args.positional_count) {
            (void)fprintf(stderr, "pie: --path is mutually exclusive with inferlet name \"%s\"\n",
                          args.positionals[0]);
            return false;
        }
        if (!options->manifest) {
            (void)fprintf(stderr, "pie: --manifest is required when --path is used\n");
            return false;
        }
    } else if (args.positional_count) {
        options->name = args.positionals[0];
    } else if (args.rest_count && args.rest[0][0] != '-') {
        options->name = args.rest[0]; /* `pie run -- NAME ...` */
        options->words++;
        options->word_count--;
    } else {
        (void)fprintf(stderr, "pie: specify an inferlet name or --path\n");
        return false;
    }
    if (options->word_count && options->input && strcmp(options->input, "{}") != 0) {
        (void)fprintf(stderr,
                      "pie: --input and trailing `-- --key value` args are mutually exclusive\n");
        return false;
    }
    return true;
}

static enum err make_input(const struct run_options *options, struct buf *input,
                           struct report *report)
{
    bool ok;
    if (options->word_count) {
        ok = fold_words(options->words, options->word_count, input);
    } else if (options->input && options->input[0] == '@') {
        char *data;
        size_t bytes;
        enum err err =
            file_read(options->input + 1, INPUT_BYTES_MAX, NULL, &data, &bytes, report);
        if (err)
            return err;
        ok = buf_append(input, data, bytes);
        mem_free(NULL, data);
    } else {
        ok = buf_puts(input, options->input ? options->input : "{}");
    }
    if (!ok)
        return err_set(report, ERR_MEMORY, "no memory for the input");
    if (!utf8_is_valid(input->data, input->count))
        return err_set(report, ERR_INVALID, "the input is not valid UTF-8");
    return ERR_OK;
}

static enum err add_files(struct engine *engine, const char *wasm_path, const char *manifest_path,
                          char id[256], struct report *report)
{
    char *manifest;
    char *wasm;
    size_t manifest_bytes;
    size_t wasm_bytes;
    enum err err =
        file_read(manifest_path, MANIFEST_BYTES_MAX, NULL, &manifest, &manifest_bytes, report);
    if (err)
        return err;
    err = file_read(wasm_path, WASM_BYTES_MAX, NULL, &wasm, &wasm_bytes, report);
    if (!err) {
        err = engine_program_add(engine, manifest, manifest_bytes, (const uint8_t *)wasm,
                                 wasm_bytes, true, false, id, report);
        mem_free(NULL, wasm);
        if (err)
            (void)err_prefix(report, "%s", wasm_path);
    }
    mem_free(NULL, manifest);
    return err;
}

static bool number_option(const char *name, const char *text, unsigned long long min,
                          unsigned long long max, unsigned long long *value)
{
    return !text || args_number("pie run", name, text, min, max, value);
}

static int configure(const struct run_options *options, struct engine_config *config,
                     struct config_file *file, char model_path[PATHS_MAX],
                     char adapters[PATHS_MAX])
{
    struct report report = {0};
    unsigned long long port = 0;
    if (config_read(options->config, config, file, &report))
        return complain(&report);
    unsigned long long threads = config->threads;
    unsigned long long kv_bits = config->kv_bits;
    unsigned long long seed = config->seed;
    unsigned long long budget = config->token_budget;
    unsigned long long fuel = config->guest_fuel_max;
    if (!number_option("threads", options->threads, 1, 1024, &threads) ||
        !number_option("kv-bits", options->kv_bits, 8, 16, &kv_bits) ||
        !number_option("seed", options->seed, 0, UINT64_MAX, &seed) ||
        !number_option("token-budget", options->token_budget, 1, UINT64_MAX, &budget) ||
        !number_option("fuel", options->fuel, 1, UINT64_MAX, &fuel) ||
        !number_option("port", options->port, 0, 65535, &port))
        return CMD_USAGE;
    const char *model = options->model ? options->model : file->model[0] ? file->model : NULL;
    if (paths_find_model(model, model_path, &report))
        return complain(&report);
    if (options->network)
        config->allow_network = true;
    config->network_rules = options->network           ? options->network
                            : file->network_rules[0] ? file->network_rules
                                                       : NULL;
    config->model_path = model_path;
    config->quantize = options->quantize    ? options->quantize
                       : file->quantize[0] ? file->quantize
                                           : NULL;
    config->packed_cache = config->packed_cache || options->packed_cache;
    config->adapter_path = options->adapter;
    config->adapters_dir = paths_in_home(adapters, "adapters") ? adapters : NULL;
    config->threads = (uint32_t)threads;
    config->kv_bits = (uint32_t)kv_bits;
    config->seed = seed;
    config->token_budget = budget;
    config->guest_fuel_max = fuel;
    return CMD_OK;
}

/* ---- running ----------------------------------------------------------------------------- */

/* False when the inferlet is gone and nobody reads on. Empties `line`. */
static bool send_line(struct engine *engine, const char *id, struct buf *line)
{
    struct report report = {0};
    enum err err = engine_signal(engine, id, line->data ? line->data : "", line->count, &report);
    buf_clear(line);
    if (err == ERR_INVALID)
        (void)fprintf(stderr, "pie run: a line of stdin was left out: %s\n", report.text);
    return err == ERR_OK || err == ERR_INVALID;
}

/* Lines of stdin go to the inferlet's inbox; the end of stdin is an empty message. False when
 * nothing more is to be forwarded. */
static bool forward_stdin(struct engine *engine, const char *id, struct buf *pending)
{
    char bytes[4096];
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&ready, 1, 0) <= 0)
        return true;
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got <= 0) {
        if (pending->count == 0 || send_line(engine, id, pending))
            (void)send_line(engine, id, pending);
        return false;
    }
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] != '\n')
            (void)buf_putc(pending, bytes[i]);
        else if (!send_line(engine, id, pending))
            return false;
    }
    return true;
}

static int turn_until_end(struct engine *engine, const char *id, struct run_output *output)
{
    struct buf pending;
    bool open = output->options->interactive;
    int status = CMD_OK;
    buf_init(&pending, NULL);
    while (!output->ended && !interrupted) {
        (void)engine_turn(engine, open ? 20 : -1);
        open = open && !output->ended && forward_stdin(engine, id, &pending);
    }
    if (interrupted && !output->ended) {
        end_line(output);
        if (!output->options->quiet)
            (void)fprintf(stderr, "pie run: interrupted\n");
        status = CMD_INTERRUPTED;
    } else if (output->failed) {
        status = CMD_FAILED;
    }
    buf_deinit(&pending);
    return status;
}

static void tell_stats(const struct engine *engine)
{
    struct engine_stats stats = engine_stats(engine);
    (void)fprintf(stderr,
                  "[steps %llu, rows %llu, compute %.1f ms, fuel %llu, pages peak %u of %u]\n",
                  (unsigned long long)stats.steps, (unsigned long long)stats.step_tokens,
                  (double)stats.step_ns / 1e6, (unsigned long long)stats.fuel_used,
                  stats.pages_peak, stats.pages_total);
}

/* What is installed counts, but `@latest` and constraints are asked of the registry; without one,
 * or when it cannot be reached, `@latest` is the newest that is installed. */
static enum err find_program(struct engine *engine, const struct run_options *options, char id[256],
                             struct report *report)
{
    static struct registry_choice choice;
    struct report local = {0}, remote = {0};
    const char *version = strchr(options->name, '@');
    bool is_latest = version && strcmp(version, "@latest") == 0;
    enum err err = engine_program_find(engine, options->name, id, &local);
    if (!err && !is_latest)
        return ERR_OK;
    enum err there = registry_choose(&choice, options->config, options->quiet, &remote);
    bool is_configured = there == ERR_OK;
    if (!there)
        there = registry_install(&choice, engine, options->name, id, &remote);
    if (!there)
        return ERR_OK;
    if (!err) {
        if (is_configured && !options->quiet)
            (void)fprintf(stderr, "pie run: %s; what is installed is run\n", remote.text);
        return engine_program_find(engine, options->name, id, report);
    }
    *report = is_configured || err == ERR_INVALID ? remote : local;
    return is_configured ? there : err;
}

static int run_on(struct engine *engine, const struct run_options *options)
{
    struct report report = {0};
    char id[256];
    char process[ENGINE_ID_BYTES];
    struct buf input;
    buf_init(&input, NULL);
    struct run_output output = {.options = options,
                                .stdout_terminal = isatty(STDOUT_FILENO)};
    buf_init(&output.streamed, NULL);
    enum err err = options->path
                       ? add_files(engine, options->path, options->manifest, id, &report)
                       : find_program(engine, options, id, &report);
    if (!err)
        err = make_input(options, &input, &report);
    if (!err) {
        const struct engine_launch launch = {.program = id,
                                             .input = input.data,
                                             .input_bytes = input.count,
                                             .on_event = on_event,
                                             .user = &output};
        err = engine_launch(engine, &launch, process, &report);
    }
    int status = err ? complain(&report) : turn_until_end(engine, process, &output);
    if (options->debug)
        tell_stats(engine);
    buf_deinit(&output.streamed);
    buf_deinit(&input);
    return status;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

int cmd_run(int argc, char **argv)
{
    struct run_options options = {0};
    struct report report = {0};
    struct engine_config config = engine_config_default();
    struct config_file file;
    struct engine *engine;
    struct ui_bar bar;
    char model_path[PATHS_MAX], adapters[PATHS_MAX];
    char programs[PATHS_MAX];
    char cache[PATHS_MAX];
    char standard[PATHS_MAX];
    int status;
    if (!read_options(&options, argc, argv, &status))
        return status;
    status = configure(&options, &config, &file, model_path, adapters);
    if (status)
        return status;
    if (paths_in_home(programs, "programs"))
        config.programs_dir = programs;
    if (paths_in_home(cache, "cache"))
        config.cache_dir = cache;
    if (paths_beside_binary(standard, "inferlets"))
        config.standard_programs_dir = standard;
    catch_signals();
    log_set_sink(on_log, NULL, LOG_WARN);
    ui_bar_begin(&bar, "loading", options.quiet);
    config.progress = on_progress;
    config.progress_user = &bar;
    enum err err = engine_open(&config, &engine, &report);
    ui_bar_end(&bar);
    if (err)
        return complain(&report);
    waking = engine;
    status = interrupted ? CMD_INTERRUPTED : run_on(engine, &options);
    waking = NULL;
    engine_close(engine);
    return status;
}
