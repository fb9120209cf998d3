/* links: engine/forward
 * Packed weights kept in a file: the same logits' bytes as packing, and whatever does not fit is made
 * anew. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/batch/batch.h"
#include "engine/forward/fwd.h"
#include "engine/forward/packed.h"
#include "models/model.h"
#include "tests/tools/tiny_folder.h"
#include "tests/tools/tiny_model.h"

enum { VOCAB = 96, LOGITS = TINY_TOKENS * VOCAB };
_Static_assert((int)VOCAB >= (int)FOLDER_VOCAB, "room for both kinds of models");

static char base[] = "/tmp/pie-packed-XXXXXX", model_file[60], packed_file[60];
static unsigned warnings;

static void on_log(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)line;
    warnings += level == LOG_WARN;
}

static void logits_of(const char *path, const char *packed, enum fwd_recipe recipe, float *logits)
{
    struct report report = {0};
    struct model *model;
    struct fwd *fwd;
    struct fwd_config config = {.threads = 2, .page_tokens = 16, .page_count = 2, .recipe = recipe,
                                .packed_file = packed};
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
    if (model_open(path, &model, &report) || fwd_create(model, &config, &fwd, &report) ||
        fwd_run(fwd, &batch, &out, &report))
        fail_msg("%s: %s", path, report.text);
    memset(logits, 0, LOGITS * sizeof *logits);
    for (unsigned i = 0; i < TINY_TOKENS; i++)
        memcpy(logits + (size_t)i * VOCAB, out.logits[i], model->hparams.vocab_count * 4);
    fwd_destroy(fwd);
    model_close(model);
}

static void write_model(const char *name)
{
    struct buf file;
    buf_init(&file, NULL);
    for (unsigned i = 0; i < sizeof tiny_specs / sizeof *tiny_specs; i++)
        if (strcmp(tiny_specs[i].name, name) == 0)
            tiny_model(&tiny_specs[i], &file);
    assert_true(file.count > 0);
    assert_int_equal(file_write(model_file, file.data, file.count, NULL), ERR_OK);
    buf_deinit(&file);
}

/* A different number for every file that was ever renamed to this name; 0: there is none. */
static uint64_t packed_stamp(void)
{
    struct stat info;
    return stat(packed_file, &info) == 0
               ? (uint64_t)info.st_mtim.tv_sec * 1000000000 + (uint64_t)info.st_mtim.tv_nsec +
                     ((uint64_t)info.st_ino << 40)
               : 0;
}

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

/* Whether the file is taken as it is. The logits are those of packing in either case. */
static bool is_taken(const char *path, enum fwd_recipe recipe)
{
    static float plain[LOGITS], kept[LOGITS];
    uint64_t before = packed_stamp();
    logits_of(path, NULL, recipe, plain);
    assert_int_equal(packed_stamp(), before);
    logits_of(path, packed_file, recipe, kept);
    assert_memory_equal(plain, kept, sizeof plain);
    assert_true(packed_stamp() != 0);
    return packed_stamp() == before;
}

static void the_same_bytes(void **state)
{
    (void)state;
    struct stat info;
    for (unsigned i = 0; i < sizeof tiny_specs / sizeof *tiny_specs; i++) {
        write_model(tiny_specs[i].name);
        (void)unlink(packed_file);
        assert_false(is_taken(model_file, FWD_AS_IS));
        assert_true(is_taken(model_file, FWD_AS_IS));
        assert_int_equal(stat(packed_file, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
    assert_int_equal(warnings, 0);
}

/* Proof that the file's numbers are those in use. */
static void numbers_come_from_the_file(void **state)
{
    (void)state;
    static float plain[LOGITS], changed[LOGITS];
    write_model("llama-f32");
    (void)unlink(packed_file);
    logits_of(model_file, packed_file, FWD_AS_IS, plain);
    flip(packed_file, PACKED_HEADER_BYTES + 3); /* of the first norm */
    logits_of(model_file, packed_file, FWD_AS_IS, changed);
    assert_memory_not_equal(plain, changed, sizeof plain);
    assert_int_equal(unlink(packed_file), 0);
}

static void what_does_not_fit_is_made_anew(void **state)
{
    (void)state;
    struct stat info;
    write_model("llama-f32");
    assert_false(is_taken(model_file, FWD_AS_IS));
    for (off_t at = 0; at < (off_t)sizeof(struct packed_key); at++) {
        flip(packed_file, at);
        assert_false(is_taken(model_file, FWD_AS_IS));
    }
    assert_int_equal(stat(packed_file, &info), 0);
    const off_t lengths[] = {0, 1, sizeof(struct packed_key), PACKED_HEADER_BYTES,
                             info.st_size - 1, info.st_size + 1};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(truncate(packed_file, lengths[i]), 0);
        assert_false(is_taken(model_file, FWD_AS_IS));
    }
    assert_false(is_taken(model_file, FWD_Q8_0));
    assert_true(is_taken(model_file, FWD_Q8_0));
    assert_false(is_taken(model_file, FWD_Q4_0));
    assert_false(is_taken(model_file, FWD_AS_IS));
    assert_true(is_taken(model_file, FWD_AS_IS));
}

static void another_model(void **state)
{
    (void)state;
    struct stat info;
    write_model("llama-f32");
    (void)unlink(packed_file);
    assert_false(is_taken(model_file, FWD_AS_IS));
    write_model("llama-f32"); /* equal bytes, another date */
    assert_false(is_taken(model_file, FWD_AS_IS));
    assert_int_equal(stat(model_file, &info), 0);
    flip(model_file, info.st_size - 1); /* other bytes, the old date */
    const struct timespec dates[2] = {info.st_atim, info.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, model_file, dates, 0), 0);
    assert_false(is_taken(model_file, FWD_AS_IS));
    assert_true(is_taken(model_file, FWD_AS_IS));
    write_model("qwen3-q8_0");
    assert_false(is_taken(model_file, FWD_AS_IS));
}

static void folders(void **state)
{
    (void)state;
    for (unsigned s = 0; s < FOLDER_COUNT; s++) {
        char path[100], file[200];
        snprintf(path, sizeof path, "%s/%s", base, folder_specs[s].name);
        tiny_folder(&folder_specs[s], path);
        (void)unlink(packed_file);
        assert_false(is_taken(path, FWD_Q8_0));
        assert_true(is_taken(path, FWD_Q8_0));
        if (folder_specs[s].shards > 1)
            snprintf(file, sizeof file, "%s/model-00002-of-%05u.safetensors", path,
                     folder_specs[s].shards);
        else
            snprintf(file, sizeof file, "%s/model.safetensors", path);
        struct timespec dates[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
        assert_int_equal(utimensat(AT_FDCWD, file, dates, 0), 0);
        assert_false(is_taken(path, FWD_Q8_0));
    }
}

static void files_of_others(void **state)
{
    (void)state;
    char moved[100];
    write_model("llama-f32");
    assert_false(is_taken(model_file, FWD_AS_IS));
    assert_int_equal(chmod(packed_file, 0620), 0);
    assert_false(is_taken(model_file, FWD_AS_IS));
    snprintf(moved, sizeof moved, "%s/moved", base);
    assert_int_equal(rename(packed_file, moved), 0);
    assert_int_equal(symlink(moved, packed_file), 0);
    assert_false(is_taken(model_file, FWD_AS_IS));
    if (geteuid() == 0) {
        assert_int_equal(chown(packed_file, 1, 1), 0);
        assert_false(is_taken(model_file, FWD_AS_IS));
    }
}

static void nowhere_to_write(void **state)
{
    (void)state;
    static float plain[LOGITS], kept[LOGITS];
    char below[100];
    snprintf(below, sizeof below, "%s/model.gguf/cache/x.packed", base); /* under a file */
    warnings = 0;
    logits_of(model_file, NULL, FWD_AS_IS, plain);
    logits_of(model_file, below, FWD_AS_IS, kept);
    assert_memory_equal(plain, kept, sizeof plain);
    assert_int_equal(warnings, 1);
    logits_of(model_file, "/dev/full/x", FWD_AS_IS, kept);
    assert_memory_equal(plain, kept, sizeof plain);
    assert_int_equal(warnings, 2);
    snprintf(below, sizeof below, "%s/new/folder/x.packed", base); /* is made */
    logits_of(model_file, below, FWD_AS_IS, kept);
    assert_int_equal(warnings, 2);
    assert_int_equal(access(below, R_OK), 0);
}

static int make_base(void **state)
{
    (void)state;
    log_set_sink(on_log, NULL, LOG_WARN);
    if (!mkdtemp(base))
        return 1;
    snprintf(model_file, sizeof model_file, "%s/model.gguf", base);
    snprintf(packed_file, sizeof packed_file, "%s/model.packed", base);
    return 0;
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
        cmocka_unit_test(the_same_bytes),
        cmocka_unit_test(numbers_come_from_the_file),
        cmocka_unit_test(what_does_not_fit_is_made_anew),
        cmocka_unit_test(another_model),
        cmocka_unit_test(folders),
        cmocka_unit_test(files_of_others),
        cmocka_unit_test(nowhere_to_write),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
