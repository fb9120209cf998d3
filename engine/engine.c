#define _GNU_SOURCE
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend/backend.h"
#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/chat/chat.h"
#include "engine/forward/recipe.h"
#include "engine/packed.h"
#include "engine/host/host.h"
#include "engine/program/program.h"
#include "engine/runtime/bell.h"
#include "engine/runtime/runtime.h"
#include "engine/sched/sched.h"
#include "engine/text/tok.h"
#include "interp/component/component.h"
#include "interp/wasi/wasi.h"
#include "models/gguf_write.h"
#include "models/model.h"

/* About a minute of instructions on the machines of today. */
static const uint64_t stall_default = 60000000000u;
static const uint64_t memory_default = (uint64_t)4 << 30;

/* The caller's function and its user, behind the output of a process. */
struct listener {
    struct engine *engine;
    struct listener *next, *previous;
    engine_event_fn on_event;
    void *user;
};

struct engine {
    struct rt_bell bell;
    struct model *model; /* NULL with the fake backend */
    struct tok *tok;
    struct chat *chat;
    struct backend *backend;
    struct sched *sched;
    struct comp_linker *linker;
    struct prog_store *programs;
    struct rt *rt;
    char *model_name, *scratch, *adapters;
    struct wasi_net *net;
    struct listener *listeners;      /* of the processes that live */
    struct wasm_store_limits limits; /* of a trial instance */
};

struct engine_config engine_config_default(void)
{
    return (struct engine_config){.seed = 42};
}

/* ---- opening ------------------------------------------------------------------------------ */

/* The fake model's vocabulary, as a model file would carry it: a token for each byte, and the
 * marks of ChatML. */
static enum err write_fake_vocabulary(struct buf *file, struct report *report)
{
    enum { BYTES = 256, MARKS = 3, COUNT = BYTES + MARKS };
    static const char *const marks[MARKS] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    char letters[BYTES][4];
    struct gguf_string tokens[COUNT];
    int32_t types[COUNT];
    unsigned odd = 0;
    for (unsigned byte = 0; byte < BYTES; byte++) {
        /* Byte-level BPE writes bytes that are no visible Latin-1 letters from U+0100 on. */
        bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        unsigned code = visible ? byte : 256 + odd++;
        size_t bytes = 1;
        if (code < 128) {
            letters[byte][0] = (char)code;
        } else {
            letters[byte][0] = (char)(0xC0 | (code >> 6));
            letters[byte][1] = (char)(0x80 | (code & 0x3F));
            bytes = 2;
        }
        tokens[byte] = (struct gguf_string){letters[byte], bytes};
        types[byte] = TOK_NORMAL;
    }
    for (unsigned i = 0; i < MARKS; i++) {
        tokens[BYTES + i] = (struct gguf_string){marks[i], strlen(marks[i])};
        types[BYTES + i] = TOK_CONTROL;
    }
    struct gguf_writer *writer = gguf_writer_create();
    if (writer == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for the fake model");
    gguf_writer_put_string(writer, "general.architecture", "fake", 4);
    gguf_writer_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_writer_put_string(writer, "tokenizer.ggml.pre", "gpt-2", 5);
    gguf_writer_put_strings(writer, "tokenizer.ggml.tokens", tokens, COUNT);
    gguf_writer_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, COUNT);
    gguf_writer_put_strings(writer, "tokenizer.ggml.merges", NULL, 0);
    gguf_writer_put_u32(writer, "tokenizer.ggml.eos_token_id", BYTES + 2);
    enum err err = gguf_writer_finish(writer, file, report);
    gguf_writer_destroy(writer);
    return err;
}

static enum err open_text(struct engine *engine, const struct gguf *file, struct report *report)
{
    struct gguf_string arch = {"", 0}, template_ = {"", 0};
    (void)gguf_get_string(file, "general.architecture", &arch);
    bool has_template = gguf_get_string(file, "tokenizer.chat_template", &template_);
    enum err err = tok_create_from_gguf(file, &engine->tok, report);
    if (err != ERR_OK)
        return err;
    char name[64];
    (void)snprintf(name, sizeof name, "%.*s", (int)(arch.bytes < 60 ? arch.bytes : 60), arch.data);
    return chat_create(name, has_template ? template_.data : NULL, template_.bytes, engine->tok,
                       &engine->chat, report);
}

static enum err open_fake(struct engine *engine, const struct engine_config *config,
                          struct report *report)
{
    struct buf bytes;
    buf_init(&bytes, NULL);
    struct gguf *file = NULL;
    enum err err = write_fake_vocabulary(&bytes, report);
    if (err == ERR_OK)
        err = gguf_open_memory((const uint8_t *)bytes.data, bytes.count, &file, report);
    if (err == ERR_OK)
        err = open_text(engine, file, report);
    if (file != NULL)
        gguf_close(file);
    buf_deinit(&bytes);
    if (err != ERR_OK)
        return err;
    struct backend_fake_config fake = {
        .vocab_count = tok_vocab_count(engine->tok),
        .page_tokens = config->page_tokens,
        .page_count = config->page_count,
        .tokens_max = config->batch_tokens_max,
        .requests_max = config->batch_requests_max,
        .wake = rt_bell_ring,
        .wake_user = &engine->bell,
    };
    return backend_fake_create(&fake, &engine->backend, report);
}

static enum err open_model(struct engine *engine, const struct engine_config *config,
                           struct report *report)
{
    if (config->model_path == NULL)
        return err_set(report, ERR_INVALID, "no model: engine_config.model_path is not set");
    enum err err = model_open(config->model_path, &engine->model, report);
    if (err == ERR_OK)
        err = open_text(engine, engine->model->file, report);
    if (err != ERR_OK) {
        (void)err_prefix(report, "model %s", config->model_path);
        return err;
    }
    if (tok_vocab_count(engine->tok) > engine->model->hparams.vocab_count)
        return err_set(report, ERR_INVALID, "model %s: the tokenizer has %u tokens, the model %u",
                       config->model_path, tok_vocab_count(engine->tok),
                       engine->model->hparams.vocab_count);
    enum fwd_recipe recipe = FWD_AS_IS;
    if (config->quantize != NULL && !fwd_recipe_find(config->quantize, &recipe))
        return err_set(report, ERR_INVALID, "'%s' is no format to quantise to; %s are",
                       config->quantize, fwd_recipe_names());
    char packed[4096];
    bool keeps = config->packed_cache && config->cache_dir != NULL &&
                 engine_packed_path(config->cache_dir, config->model_path, config->quantize, packed,
                                    sizeof packed);
    struct backend_cpu_config cpu = {
        .model = engine->model,
        .packed_file = keeps ? packed : NULL,
        .recipe = recipe,
        .threads = config->threads,
        .page_tokens = config->page_tokens,
        .page_count = config->page_count,
        .kv_bits = config->kv_bits,
        .tokens_max = config->batch_tokens_max,
        .requests_max = config->batch_requests_max,
        .wake = rt_bell_ring,
        .wake_user = &engine->bell,
        .progress = config->progress,
        .progress_user = config->progress_user,
    };
    return backend_cpu_create(&cpu, &engine->backend, report);
}

static enum err open_network(struct engine *engine, const struct engine_config *config,
                             struct report *report)
{
    if (!config->allow_network)
        return ERR_OK;
    const char *rules = config->network_rules != NULL ? config->network_rules : "*";
    enum err err = wasi_net_create(rules, &engine->net, report);
    if (err == ERR_OK)
        engine->bell.other = wasi_net_fd(engine->net);
    return err;
}

static enum err open_runtime(struct engine *engine, const struct engine_config *config,
                             struct report *report)
{
    struct sched_config sched = {.backend = engine->backend};
    enum err err = sched_create(&sched, &engine->sched, report);
    if (err != ERR_OK)
        return err;
    engine->linker = comp_linker_create();
    if (engine->linker == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for the linker");
    err = host_register(engine->linker, report);
    if (err == ERR_OK)
        err = open_network(engine, config, report);
    if (err == ERR_OK)
        err = prog_store_create(config->programs_dir, config->standard_programs_dir,
                                &engine->programs, report);
    if (err == ERR_OK && config->cache_dir != NULL)
        err = prog_store_set_cache(engine->programs, config->cache_dir, report);
    if (err != ERR_OK)
        return err;

    int64_t adapter = -1;
    if (config->adapter_path != NULL)
        err = backend_adapter_load(engine->backend, config->adapter_path, &adapter, report);
    if (err != ERR_OK) {
        (void)err_prefix(report, "adapter %s", config->adapter_path);
        return err;
    }
    const struct backend_caps *caps = backend_caps(engine->backend);
    uint64_t stall = config->guest_fuel_stall_max;
    engine->limits.memory_bytes_max =
        config->guest_memory_bytes_max != 0 ? config->guest_memory_bytes_max : memory_default;
    struct rt_config rt = {
        .model = {.name = engine->model_name,
                  .tok = engine->tok,
                  .chat = engine->chat,
                  .sched = engine->sched,
                  .page_tokens = caps->page_tokens,
                  .adapter = (uint32_t)(adapter + 1)},
        .linker = engine->linker,
        .programs = engine->programs,
        .bell = &engine->bell,
        .seed = config->seed,
        .token_budget = config->token_budget,
        .memory_bytes_max = engine->limits.memory_bytes_max,
        .fuel_max = config->guest_fuel_max,
        .fuel_stall_max = stall == 0            ? stall_default
                          : stall == UINT64_MAX ? 0
                                                : stall,
        .processes_max = config->processes_max,
        .scratch_directory = engine->scratch,
        .net = engine->net,
        .adapters_directory = engine->adapters,
    };
    return rt_create(&rt, &engine->rt, report);
}

static enum err copy_texts(struct engine *engine, const struct engine_config *config,
                           struct report *report)
{
    const char *name = config->model_name != NULL ? config->model_name : "default";
    engine->model_name = mem_strdup(NULL, name, strlen(name));
    if (engine->model_name == NULL)
        return err_set(report, ERR_MEMORY, "out of memory");
    if (config->adapters_dir != NULL) {
        engine->adapters = mem_strdup(NULL, config->adapters_dir, strlen(config->adapters_dir));
        if (engine->adapters == NULL)
            return err_set(report, ERR_MEMORY, "out of memory");
    }
    if (!config->allow_fs)
        return ERR_OK;
    const char *temporary = getenv("TMPDIR");
    struct buf path;
    buf_init(&path, NULL);
    (void)buf_printf(&path, "%s/pie", temporary != NULL && temporary[0] != 0 ? temporary : "/tmp");
    if (!path.failed)
        engine->scratch = mem_strdup(NULL, path.data, path.count);
    buf_deinit(&path);
    return engine->scratch != NULL ? ERR_OK : err_set(report, ERR_MEMORY, "out of memory");
}

enum err engine_open(const struct engine_config *config, struct engine **out, struct report *report)
{
    struct engine *engine = mem_calloc(NULL, 1, sizeof *engine);
    if (engine == NULL)
        return err_set(report, ERR_MEMORY, "out of memory for the engine");
    engine->bell.fd = -1;
    enum err err = copy_texts(engine, config, report);
    if (err == ERR_OK)
        err = rt_bell_open(&engine->bell, report);
    if (err == ERR_OK)
        err = config->fake_model ? open_fake(engine, config, report)
                                 : open_model(engine, config, report);
    if (err == ERR_OK)
        err = open_runtime(engine, config, report);
    if (err != ERR_OK) {
        engine_close(engine);
        return err;
    }
    *out = engine;
    return ERR_OK;
}

void engine_close(struct engine *engine)
{
    if (engine == NULL)
        return;
    rt_destroy(engine->rt);
    while (engine->listeners != NULL) {
        struct listener *listener = engine->listeners;
        engine->listeners = listener->next;
        mem_free(NULL, listener);
    }
    prog_store_destroy(engine->programs);
    if (engine->linker != NULL)
        comp_linker_destroy(engine->linker);
    sched_destroy(engine->sched);
    backend_destroy(engine->backend);
    chat_destroy(engine->chat);
    tok_destroy(engine->tok);
    if (engine->model != NULL)
        model_close(engine->model);
    rt_bell_close(&engine->bell);
    mem_free(NULL, engine->model_name);
    mem_free(NULL, engine->scratch);
    wasi_net_destroy(engine->net);
    mem_free(NULL, engine->adapters);
    mem_free(NULL, engine);
}

/* ---- programs ----------------------------------------------------------------------------- */

/* Links it once, so that what it misses is said at installation. No guest code runs. */
static enum err try_link(struct engine *engine, const struct prog *prog, struct report *report)
{
    struct comp_instance *instance;
    enum err err = comp_instance_create(engine->linker, prog->component, &engine->limits, NULL,
                                        &instance, report);
    if (err == ERR_OK)
        comp_instance_destroy(instance);
    else
        (void)err_prefix(report, "program %s", prog->id);
    return err;
}

enum err engine_program_add(struct engine *engine, const char *manifest, size_t manifest_bytes,
                            const uint8_t *wasm, size_t wasm_bytes, bool force, bool persist,
                            char id[256], struct report *report)
{
    struct prog *prog;
    enum err err =
        prog_store_load(engine->programs, manifest, manifest_bytes, "Pie.toml", wasm, wasm_bytes,
                        &prog, report);
    if (err != ERR_OK)
        return err;
    err = try_link(engine, prog, report);
    const struct prog_files files = {manifest, manifest_bytes, wasm, wasm_bytes};
    if (err == ERR_OK)
        err = prog_store_add(engine->programs, prog, force, persist ? &files : NULL, report);
    if (err == ERR_OK)
        memcpy(id, prog->id, sizeof prog->id);
    prog_unref(prog);
    return err;
}

enum err engine_program_find(struct engine *engine, const char *name, char id[256],
                             struct report *report)
{
    return prog_store_find(engine->programs, name, id, report);
}

/* ---- processes ---------------------------------------------------------------------------- */

static void forget_listener(struct listener *listener)
{
    if (listener->previous != NULL)
        listener->previous->next = listener->next;
    else
        listener->engine->listeners = listener->next;
    if (listener->next != NULL)
        listener->next->previous = listener->previous;
    mem_free(NULL, listener);
}

static void give_event(void *user, const struct proc *proc, enum proc_output kind, const char *data,
                       size_t bytes)
{
    static const enum engine_event_kind kinds[] = {
        [PROC_STDOUT] = ENGINE_EVENT_STDOUT,   [PROC_STDERR] = ENGINE_EVENT_STDERR,
        [PROC_MESSAGE] = ENGINE_EVENT_MESSAGE, [PROC_FILE] = ENGINE_EVENT_FILE,
        [PROC_RETURN] = ENGINE_EVENT_RETURN,   [PROC_ERROR] = ENGINE_EVENT_ERROR,
    };
    struct listener *listener = user;
    struct engine_event event = {
        .kind = kinds[kind], .process_id = proc->id, .data = data, .bytes = bytes};
    listener->on_event(listener->user, &event);
    if (kind == PROC_RETURN || kind == PROC_ERROR)
        forget_listener(listener);
}

enum err engine_launch(struct engine *engine, const struct engine_launch *wanted,
                       char id[ENGINE_ID_BYTES], struct report *report)
{
    struct listener *listener = NULL;
    if (wanted->on_event != NULL) {
        listener = mem_alloc(NULL, sizeof *listener);
        if (listener == NULL)
            return err_set(report, ERR_MEMORY, "out of memory for a process");
        *listener = (struct listener){.engine = engine,
                                      .next = engine->listeners,
                                      .on_event = wanted->on_event,
                                      .user = wanted->user};
        if (engine->listeners != NULL)
            engine->listeners->previous = listener;
        engine->listeners = listener;
    }
    struct rt_launch launch = {
        .program = wanted->program,
        .input = wanted->input != NULL ? wanted->input : "",
        .input_bytes = wanted->input != NULL ? wanted->input_bytes : 0,
        .username = wanted->username,
        .token_budget = wanted->token_budget,
        .seed = wanted->seed,
        .output = listener != NULL ? give_event : NULL,
        .user = listener,
    };
    struct proc *proc;
    enum err err = rt_launch(engine->rt, &launch, &proc, report);
    if (err == ERR_OK)
        memcpy(id, proc->id, ENGINE_ID_BYTES);
    else if (listener != NULL)
        forget_listener(listener);
    return err;
}

enum err engine_signal(struct engine *engine, const char *id, const char *message, size_t bytes,
                       struct report *report)
{
    return rt_signal(engine->rt, id, message, bytes, report);
}

enum err engine_send_file(struct engine *engine, const char *id, const void *data, size_t bytes,
                          struct report *report)
{
    return rt_send_file(engine->rt, id, data, bytes, report);
}

enum err engine_terminate(struct engine *engine, const char *id, struct report *report)
{
    return rt_terminate(engine->rt, id, "Signal", report);
}

size_t engine_turn(struct engine *engine, int timeout_ms)
{
    return rt_turn(engine->rt, timeout_ms);
}

void engine_wake(struct engine *engine)
{
    rt_bell_ring(&engine->bell);
}

/* ---- facts -------------------------------------------------------------------------------- */

struct engine_stats engine_stats(const struct engine *engine)
{
    struct rt_stats rt = rt_stats(engine->rt);
    struct sched_stats sched = sched_stats(engine->sched);
    const struct backend_caps *caps = backend_caps(engine->backend);
    return (struct engine_stats){
        .processes_alive = rt.alive,
        .processes_started = rt.started,
        .steps = sched.steps,
        .step_tokens = sched.step_tokens,
        .pages_total = sched.pool.pages_total,
        .pages_used = sched.pool.pages_used,
        .pages_peak = sched.pool.pages_peak,
        .page_tokens = sched.pool.page_tokens,
        .weight_bytes = caps->weight_bytes,
        .kv_bytes = caps->kv_bytes,
        .guest_bytes = rt.memory_bytes,
        .guest_overhead_bytes = rt.overhead_bytes,
        .fuel_used = rt.fuel_used,
        .step_ns = sched.step_ns,
    };
}
