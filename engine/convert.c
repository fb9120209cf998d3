#include "engine/convert.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/forward/fwd.h"
#include "engine/forward/recipe.h"
#include "engine/forward/team.h"
#include "engine/forward/weights.h"
#include "models/gguf_write.h"
#include "models/model.h"
#include "simd/simd.h"

enum { SLAB_BYTES = 32 << 20, ROWS_AT_ONCE = 4 };

struct conversion {
    const struct engine_convert *convert;
    struct engine_converted *converted;
    struct model *model;
    enum fwd_recipe recipe;
    bool permute; /* rows of q and k from a folder's order into GGUF's */
    struct team *team;
    float **floats; /* [threads][columns of the widest tensor] */
    uint8_t *slab;
    size_t slab_bytes;
    struct file_out out;
    struct report *report;

    /* The tensor at hand. */
    const struct gguf_tensor *tensor;
    enum simd_type from, to;
    uint32_t columns, head_rows; /* head_rows 0: rows stay in order */
    uint64_t row_begin;          /* of the slab */
    uint32_t row_count;
    atomic_bool not_finite;
};

/* GGUF's q and k of the permuted families: row 2i of a head is row i, row 2i + 1 is row
 * i + half. */
static uint64_t source_row(const struct conversion *c, uint64_t row)
{
    if (c->head_rows == 0)
        return row;
    uint64_t in_head = row % c->head_rows;
    return row - in_head + in_head / 2 + (in_head % 2 ? c->head_rows / 2 : 0);
}

static bool is_finite(const float *x, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(x[i] - x[i] == 0))
            return false;
    return true;
}

static void convert_share(void *user, const struct worker *worker)
{
    struct conversion *c = user;
    size_t from_bytes = simd_row_bytes(c->from, c->columns);
    size_t to_bytes = simd_row_bytes(c->to, c->columns);
    float *floats = c->floats[worker->index];
    for (uint32_t at = team_take(worker) * ROWS_AT_ONCE; at < c->row_count;
         at = team_take(worker) * ROWS_AT_ONCE)
        for (uint32_t i = at; i < at + ROWS_AT_ONCE && i < c->row_count; i++) {
            const uint8_t *row =
                c->tensor->data + source_row(c, c->row_begin + i) * from_bytes;
            uint8_t *out = c->slab + i * to_bytes;
            if (c->from == c->to) {
                memcpy(out, row, to_bytes);
                continue;
            }
            simd_unpack_row(c->from, c->columns, row, floats);
            if (!is_finite(floats, c->columns))
                atomic_store(&c->not_finite, true);
            (void)simd_quantize_row(c->to, c->columns, floats, out);
        }
}

static bool name_is(const struct gguf_tensor *tensor, const char *tail)
{
    size_t bytes = strlen(tail);
    return tensor->name.bytes > bytes && memcmp(tensor->name.data, "blk.", 4) == 0 &&
           memcmp(tensor->name.data + tensor->name.bytes - bytes, tail, bytes) == 0;
}

/* A vector is a column of rows of one number. */
static void take_tensor(struct conversion *c, const struct gguf_tensor *tensor, uint64_t *rows)
{
    bool vector = tensor->dim_count < 2;
    c->tensor = tensor;
    c->columns = vector ? 1 : (uint32_t)tensor->dims[0];
    *rows = vector ? tensor->dims[0] : tensor->dims[1] * tensor->dims[2] * tensor->dims[3];
    bool turns = c->permute && (name_is(tensor, ".attn_q.weight") || name_is(tensor, ".attn_k.weight") ||
                                name_is(tensor, ".attn_q.bias") || name_is(tensor, ".attn_k.bias"));
    c->head_rows = turns ? c->model->hparams.head_dim : 0;
}

static enum err write_tensor(struct conversion *c, uint64_t *done, uint64_t total)
{
    uint64_t rows, written = 0;
    take_tensor(c, c->tensor, &rows);
    size_t row_bytes = simd_row_bytes(c->to, c->columns);
    uint64_t rows_max = c->slab_bytes / row_bytes;
    for (c->row_begin = 0; c->row_begin < rows; c->row_begin += c->row_count) {
        c->row_count = (uint32_t)(rows - c->row_begin < rows_max ? rows - c->row_begin : rows_max);
        team_run(c->team, convert_share, c);
        if (atomic_load(&c->not_finite))
            return err_set(c->report, ERR_INVALID, "tensor '%.*s' has weights that are not finite "
                           "numbers", c->tensor->name.bytes < 80 ? (int)c->tensor->name.bytes : 80,
                           c->tensor->name.data);
        size_t bytes = c->row_count * row_bytes;
        enum err err = file_out_write(&c->out, c->slab, bytes, c->report);
        if (err)
            return err;
        written += bytes;
        *done += bytes;
        if (c->convert->progress &&
            !c->convert->progress(c->convert->progress_user, *done, total))
            return err_set(c->report, ERR_CANCELLED, "stopped");
    }
    static const char zeros[GGUF_ALIGNMENT];
    size_t rest = (size_t)(GGUF_ALIGNMENT - written % GGUF_ALIGNMENT) % GGUF_ALIGNMENT;
    return file_out_write(&c->out, zeros, rest, c->report);
}

static bool key_is(const struct gguf_value *value, const char *key)
{
    return value->key.bytes == strlen(key) && memcmp(value->key.data, key, value->key.bytes) == 0;
}

/* llama.cpp's number for what most tensors are. */
static uint32_t file_type(enum fwd_recipe recipe)
{
    static const uint32_t numbers[] = {[FWD_F16] = 1,   [FWD_Q4_0] = 2,    [FWD_Q8_0] = 7,
                                       [FWD_Q4_K] = 14, [FWD_Q4_K_M] = 15, [FWD_Q6_K] = 18,
                                       [FWD_BF16] = 32};
    return numbers[recipe];
}

static enum err write_head(struct conversion *c)
{
    const struct gguf *file = c->model->file;
    struct buf head;
    struct gguf_writer *writer = gguf_writer_create();
    if (!writer)
        return err_set(c->report, ERR_MEMORY, "no memory for metadata");
    buf_init(&head, NULL);
    for (size_t i = 0; i < gguf_value_count(file); i++) {
        const struct gguf_value *value = gguf_value(file, i);
        if (!key_is(value, "general.file_type") && !key_is(value, "pie.rope.halves") &&
            !key_is(value, "general.quantization_version") && !key_is(value, "general.alignment"))
            gguf_writer_put_value(writer, value);
    }
    gguf_writer_put_u32(writer, "general.file_type", file_type(c->recipe));
    gguf_writer_put_u32(writer, "general.quantization_version", 2);
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(file, i);
        char name[256];
        snprintf(name, sizeof name, "%.*s", tensor->name.bytes < 255 ? (int)tensor->name.bytes : 255,
                 tensor->name.data);
        gguf_writer_add_tensor(writer, name, fwd_recipe_type(c->recipe, c->model, tensor),
                               tensor->dims, tensor->dim_count, NULL);
    }
    enum err err = gguf_writer_head(writer, &head, c->report);
    if (!err)
        err = file_out_write(&c->out, head.data, head.count, c->report);
    gguf_writer_destroy(writer);
    buf_deinit(&head);
    return err;
}

static enum err write_all(struct conversion *c)
{
    const struct gguf *file = c->model->file;
    uint64_t done = 0, total = c->converted->bytes_to;
    enum err err = write_head(c);
    for (size_t i = 0; !err && i < gguf_tensor_count(file); i++) {
        c->tensor = gguf_tensor(file, i);
        (void)weights_type(c->tensor->type, &c->from);
        (void)weights_type(fwd_recipe_type(c->recipe, c->model, c->tensor), &c->to);
        err = write_tensor(c, &done, total);
    }
    return err;
}

/* Sizes, and buffers for the widest row. */
static enum err prepare(struct conversion *c)
{
    const struct gguf *file = c->model->file;
    uint32_t threads = team_threads(c->team);
    size_t widest = 1;
    c->slab_bytes = SLAB_BYTES;
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor(file, i);
        enum gguf_tensor_type type = fwd_recipe_type(c->recipe, c->model, tensor);
        enum simd_type unused;
        uint64_t count = tensor->dims[0] * tensor->dims[1] * tensor->dims[2] * tensor->dims[3];
        if (!weights_type(tensor->type, &unused))
            return err_set(c->report, ERR_UNSUPPORTED, "tensor '%.*s' is of type %s, which cannot "
                           "be converted", tensor->name.bytes < 80 ? (int)tensor->name.bytes : 80,
                           tensor->name.data, gguf_tensor_type_name(tensor->type));
        widest = tensor->dims[0] > widest ? (size_t)tensor->dims[0] : widest;
        c->converted->bytes_from += tensor->bytes;
        c->converted->bytes_to += gguf_tensor_type_bytes(type, count);
        c->converted->quantised += type != tensor->type;
        c->converted->tensors++;
    }
    c->slab_bytes = widest * 4 > c->slab_bytes ? widest * 4 : c->slab_bytes;
    c->slab = mem_alloc(NULL, c->slab_bytes);
    c->floats = mem_calloc(NULL, threads, sizeof *c->floats);
    bool ok = c->slab && c->floats;
    for (uint32_t i = 0; ok && i < threads; i++)
        ok = (c->floats[i] = mem_calloc(NULL, widest, sizeof(float))) != NULL;
    return ok ? ERR_OK : err_set(c->report, ERR_MEMORY, "no memory for rows of %zu numbers", widest);
}

static enum err convert_open(struct conversion *c)
{
    bool halves = false;
    enum err err = prepare(c);
    if (err)
        return err;
    (void)gguf_get_bool(c->model->file, "pie.rope.halves", &halves);
    c->permute = halves;
    err = file_out_open(c->convert->to, &c->out, c->report);
    if (err)
        return err;
    err = write_all(c);
    if (!err)
        return file_out_commit(&c->out, c->report);
    file_out_abort(&c->out);
    return err;
}

enum err engine_convert(const struct engine_convert *convert, struct engine_converted *converted,
                        struct report *report)
{
    struct conversion c = {.convert = convert, .converted = converted, .report = report};
    *converted = (struct engine_converted){0};
    if (!fwd_recipe_find(convert->type, &c.recipe))
        return err_set(report, ERR_INVALID, "'%s' is no format to quantise to; %s are",
                       convert->type, fwd_recipe_names());
    enum err err = model_open(convert->from, &c.model, report);
    if (err)
        return err;
    err = team_create(convert->threads ? convert->threads : fwd_threads_default(), &c.team, report);
    if (!err) {
        err = convert_open(&c);
        for (uint32_t i = 0; c.floats && i < team_threads(c.team); i++)
            mem_free(NULL, c.floats[i]);
        mem_free(NULL, c.floats);
        mem_free(NULL, c.slab);
        team_destroy(c.team);
    }
    model_close(c.model);
    return err;
}

const char *engine_convert_types(void)
{
    return fwd_recipe_names();
}
