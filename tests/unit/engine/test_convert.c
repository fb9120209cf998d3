/* links: engine
 * Models in another format: files written by engine_convert, weights quantised while loading, and
 * perplexity against llama.cpp's figure. */
#include <setjmp.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/batch/batch.h"
#include "engine/convert.h"
#include "engine/forward/fwd.h"
#include "engine/perplexity.h"
#include "models/model.h"
#include "tests/tools/tiny_folder.h"

enum { LOGITS = TINY_TOKENS * FOLDER_VOCAB };

static char base[] = "/tmp/pie-convert-XXXXXX";

static const char *in_base(const char *name)
{
    static char paths[4][100];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, 100, "%s/%s", base, name);
    return path;
}

static uint64_t logits_of(const char *path, enum fwd_recipe recipe, float *logits)
{
    struct report report = {0};
    struct model *model;
    struct fwd *fwd;
    if (model_open(path, &model, &report))
        fail_msg("%s", report.text);
    struct fwd_config config = {.threads = 2, .page_tokens = 16, .page_count = 2, .recipe = recipe};
    uint32_t tokens[TINY_TOKENS], positions[TINY_TOKENS], token_begin[2] = {0, TINY_TOKENS},
        pages[2] = {0, 1}, page_begin[2] = {0, 2}, before = 0, sampler_begin[2] = {0, TINY_TOKENS};
    struct batch_sampler samplers[TINY_TOKENS];
    for (unsigned i = 0; i < TINY_TOKENS; i++) {
        tokens[i] = tiny_token(i);
        positions[i] = i;
        samplers[i] = (struct batch_sampler){.kind = BATCH_RAW_LOGITS, .row = i};
    }
    struct batch batch = {.request_count = 1, .token_count = TINY_TOKENS, .tokens = tokens,
                          .positions = positions, .token_begin = token_begin, .pages = pages,
                          .page_begin = page_begin, .kv_before = &before, .samplers = samplers,
                          .sampler_begin = sampler_begin};
    struct fwd_output out;
    if (fwd_create(model, &config, &fwd, &report) || fwd_run(fwd, &batch, &out, &report))
        fail_msg("%s", report.text);
    for (unsigned i = 0; i < TINY_TOKENS; i++)
        memcpy(logits + (size_t)i * FOLDER_VOCAB, out.logits[i], FOLDER_VOCAB * 4);
    uint64_t bytes = fwd_weight_bytes(model, recipe);
    fwd_destroy(fwd);
    model_close(model);
    return bytes;
}

static double distance(const float *a, const float *b)
{
    double off = 0, size = 0;
    for (unsigned i = 0; i < LOGITS; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(off / size);
}

static enum err convert(const char *from, const char *to, const char *type, uint32_t threads,
                        struct engine_converted *done, struct report *report)
{
    struct engine_convert job = {.from = from, .to = to, .type = type, .threads = threads};
    return engine_convert(&job, done, report);
}

/* A folder written as GGUF without a change of format computes the same bits: rows of q and k are
 * permuted on the way out and back on the way in. */
static void folders_become_files(void **state)
{
    (void)state;
    static float here[LOGITS], there[LOGITS];
    for (unsigned s = 0; s < FOLDER_COUNT; s++) {
        const struct folder_spec *spec = &folder_specs[s];
        struct engine_converted done;
        struct report report = {0};
        char folder[100];
        if (spec->type == GGUF_TENSOR_F32)
            continue; /* there is no such target */
        snprintf(folder, sizeof folder, "%s", in_base(spec->name));
        tiny_folder(spec, folder);
        if (convert(folder, in_base("out.gguf"), spec->type == GGUF_TENSOR_F16 ? "F16" : "bf16", 2,
                    &done, &report))
            fail_msg("%s: %s", spec->name, report.text);
        assert_int_equal(done.quantised, 0);
        (void)logits_of(folder, FWD_AS_IS, here);
        (void)logits_of(in_base("out.gguf"), FWD_AS_IS, there);
        assert_memory_equal(here, there, sizeof here);
    }
}

/* Dims of 256, so that all formats fit. */
static const struct tiny_spec wide = {
    .name = "llama-wide", .architecture = "llama", .type = GGUF_TENSOR_F32,
    .type_more = GGUF_TENSOR_F32, .dim = 256, .head_count = 4, .kv_head_count = 2, .head_dim = 64,
    .hidden = 512, .vocab_count = 96};

static void write_wide(void)
{
    struct buf out;
    struct report report = {0};
    buf_init(&out, NULL);
    tiny_model(&wide, &out);
    assert_int_equal(file_write(in_base("wide.gguf"), out.data, out.count, &report), ERR_OK);
    buf_deinit(&out);
}

static void formats_come_close(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        enum fwd_recipe recipe;
        double off;
    } cases[] = {{"F16", FWD_F16, 0.002}, {"BF16", FWD_BF16, 0.02}, {"Q8_0", FWD_Q8_0, 0.06},
                 {"Q6_K", FWD_Q6_K, 0.15}, {"Q4_K_M", FWD_Q4_K_M, 0.5}, {"Q4_K", FWD_Q4_K, 0.5},
                 {"Q4_0", FWD_Q4_0, 0.6}};
    static float truth[LOGITS], file[LOGITS], loaded[LOGITS];
    write_wide();
    uint64_t whole = logits_of(in_base("wide.gguf"), FWD_AS_IS, truth);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct engine_converted done;
        struct report report = {0};
        if (convert(in_base("wide.gguf"), in_base("out.gguf"), cases[i].type, 2, &done, &report))
            fail_msg("%s: %s", cases[i].type, report.text);
        assert_int_equal(done.quantised, 2 + 7 * TINY_LAYERS);
        uint64_t packed_file = logits_of(in_base("out.gguf"), FWD_AS_IS, file);
        uint64_t packed = logits_of(in_base("wide.gguf"), cases[i].recipe, loaded);
        printf("note: %s: relative distance %.2g from a file, %.2g when loaded\n", cases[i].type,
               distance(file, truth), distance(loaded, truth));
        assert_true(distance(file, truth) < cases[i].off);
        assert_true(distance(loaded, truth) < cases[i].off);
        assert_true(packed == packed_file && packed < whole * 6 / 10);
    }
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    struct engine_converted done;
    struct report report = {0};
    char *data[2];
    size_t bytes[2];
    write_wide();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(convert(in_base("wide.gguf"), in_base("out.gguf"), "Q4_K_M", 1 + 2 * i,
                                 &done, &report), ERR_OK);
        assert_int_equal(file_read(in_base("out.gguf"), 1 << 24, NULL, &data[i], &bytes[i], &report),
                         ERR_OK);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(data[0], data[1], bytes[0]);
    struct gguf *file;
    assert_int_equal(gguf_open_memory((uint8_t *)data[0], bytes[0], &file, &report), ERR_OK);
    assert_int_equal(gguf_find_tensor(file, "output.weight")->type, GGUF_TENSOR_Q6_K);
    assert_int_equal(gguf_find_tensor(file, "token_embd.weight")->type, GGUF_TENSOR_Q4_K);
    assert_int_equal(gguf_find_tensor(file, "blk.0.attn_norm.weight")->type, GGUF_TENSOR_F32);
    gguf_close(file);
    mem_free(NULL, data[0]);
    mem_free(NULL, data[1]);
}

static bool stop(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    assert_true(done <= total);
    return false;
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    struct engine_converted done;
    struct report report = {0};
    write_wide();
    (void)unlink(in_base("none.gguf"));
    struct engine_convert job = {.from = in_base("wide.gguf"), .to = in_base("none.gguf"),
                                 .type = "Q8_0", .progress = stop};
    assert_int_equal(engine_convert(&job, &done, &report), ERR_CANCELLED);
    assert_int_not_equal(access(in_base("none.gguf"), F_OK), 0);
    report = (struct report){0};
    assert_int_equal(convert(in_base("wide.gguf"), in_base("none.gguf"), "Q9", 1, &done, &report),
                     ERR_INVALID);
    assert_non_null(strstr(report.text, "Q4_K_M"));

    char *data;
    size_t bytes;
    float infinite = INFINITY;
    report = (struct report){0};
    assert_int_equal(file_read(in_base("wide.gguf"), 1 << 24, NULL, &data, &bytes, &report), ERR_OK);
    memcpy(data + bytes - 400, &infinite, 4);
    assert_int_equal(file_write(in_base("bad.gguf"), data, bytes, &report), ERR_OK);
    mem_free(NULL, data);
    assert_int_equal(convert(in_base("bad.gguf"), in_base("none.gguf"), "Q8_0", 2, &done, &report),
                     ERR_INVALID);
    assert_non_null(strstr(report.text, "finite"));
    assert_int_not_equal(access(in_base("none.gguf"), F_OK), 0);
}

/* llama-perplexity -m stories260K.gguf -f tests/vectors/perplexity.txt -c 64 -b 64: 4.4632. */
static void perplexity_equals_llama_cpp(void **state)
{
    (void)state;
    char path[1000], *text;
    struct report report = {0};
    struct engine_perplexity config = {.model_path = path, .context = 64, .threads = 2};
    struct engine_perplexity_result result;
    const char *data = getenv("PIE_TEST_DATA");
    snprintf(path, sizeof path, "%s/stories260K.gguf", data ? data : "../shared/data");
    if (access(path, R_OK) != 0)
        skip();
    assert_int_equal(file_read("tests/vectors/perplexity.txt", 1 << 20, NULL, &text,
                               &config.text_bytes, &report), ERR_OK);
    config.text = text;
    if (engine_perplexity(&config, &result, &report))
        fail_msg("%s", report.text);
    assert_int_equal(result.windows, 20);
    assert_int_equal(result.scored, 20 * 31);
    assert_true(fabs(result.perplexity - 4.4632) < 0.001 && fabs(result.error - 0.32372) < 0.001);
    config.quantize = "Q8_0";
    config.windows_max = 3;
    assert_int_equal(engine_perplexity(&config, &result, &report), ERR_OK);
    assert_int_equal(result.windows, 3);
    config.context = 100000;
    assert_int_equal(engine_perplexity(&config, &result, &report), ERR_INVALID);
    mem_free(NULL, text);
}

static int make_base(void **state)
{
    (void)state;
    return mkdtemp(base) ? 0 : 1;
}

static int remove_base(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_become_files),  cmocka_unit_test(formats_come_close),
        cmocka_unit_test(threads_do_not_matter), cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(perplexity_equals_llama_cpp),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
