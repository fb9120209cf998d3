#include "models/st.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "engine/base/arena.h"
#include "engine/base/file.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/vec.h"
#include "models/st_impl.h"

enum { PATH_BYTES = 4096, PARTS_MAX = 1024, CONFIG_MAX = 16 << 20, TOKENIZER_MAX = 256 << 20 };

/* ---- names --------------------------------------------------------------------------------- */

/* Tensors of transformers' classes and of GGUF. "" is left out of the model. */
static const struct {
    const char *name, *gguf;
} names[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
}, layer_names[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},
    {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.bias", "attn_v.bias"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.rotary_emb.inv_freq", ""},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
};

/* GGUF's name into `out`; false: there is none. Names without a place are kept as they are, so that
 * the reader of the model can complain about them. */
static bool gguf_name(const char *name, char out[128])
{
    unsigned layer;
    int used = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0) {
            snprintf(out, 128, "%s", names[i].gguf);
            return true;
        }
    if (sscanf(name, "model.layers.%4u.%n", &layer, &used) == 1 && used > 0)
        for (size_t i = 0; i < sizeof layer_names / sizeof *layer_names; i++)
            if (strcmp(name + used, layer_names[i].name) == 0) {
                if (layer_names[i].gguf[0])
                    snprintf(out, 128, "blk.%u.%s", layer, layer_names[i].gguf);
                return layer_names[i].gguf[0] != '\0';
            }
    snprintf(out, 128, "%s", name);
    return true;
}

/* ---- assembling ---------------------------------------------------------------------------- */

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, bits;
    float value = (float)(half & 1023) * 0x1p-24f; /* a denormal's value */
    if (exponent == 0) {
        memcpy(&bits, &value, 4);
        bits |= sign;
    } else {
        bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | (uint32_t)(half & 1023) << 13;
    }
    memcpy(&value, &bits, 4);
    return value;
}

/* Makes a vector F32. */
static enum err widen(struct gguf_tensor *tensor, struct arena *arena, struct report *report)
{
    uint64_t count = tensor->dims[0];
    float *values = count < SIZE_MAX ? arena_calloc(arena, (size_t)count, sizeof *values) : NULL;
    if (!values)
        return err_set(report, ERR_MEMORY, "no memory for a vector of %llu numbers",
                       (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, tensor->data + i * 2, 2);
        uint32_t bits = (uint32_t)half << 16;
        if (tensor->type == GGUF_TENSOR_F16)
            values[i] = half_to_float(half);
        else
            memcpy(&values[i], &bits, 4);
    }
    tensor->type = GGUF_TENSOR_F32;
    tensor->data = (const uint8_t *)values;
    tensor->bytes = count * 4;
    return ERR_OK;
}

struct assembly {
    const struct st_source *source;
    struct st_config config;
    struct gguf_parts parts;
    struct {
        struct gguf_tensor *items;
        size_t count, capacity;
    } tensors;
    struct report *report;
};

static enum err add_tensor(struct assembly *a, struct gguf_tensor tensor)
{
    char name[128];
    if (!gguf_name(tensor.name.data, name) ||
        (a->config.tied && strcmp(name, "output.weight") == 0))
        return ERR_OK;
    tensor.name.bytes = strlen(name);
    tensor.name.data = arena_strdup(&a->parts.arena, name, tensor.name.bytes);
    if (!tensor.name.data)
        return err_set(a->report, ERR_MEMORY, "no memory for names of tensors");
    if (tensor.dim_count == 1 && tensor.type != GGUF_TENSOR_F32) {
        enum err err = widen(&tensor, &a->parts.arena, a->report);
        if (err)
            return err;
    }
    return vec_push(NULL, &a->tensors, tensor)
               ? ERR_OK
               : err_set(a->report, ERR_MEMORY, "no memory for the list of tensors");
}

static enum err add_tensors(struct assembly *a)
{
    for (size_t p = 0; p < a->source->part_count; p++) {
        struct gguf_tensor *tensors;
        size_t count;
        enum err err = st_read_part(&a->source->parts[p], &a->parts.arena, &tensors, &count,
                                    a->report);
        for (size_t i = 0; !err && i < count; i++)
            err = add_tensor(a, tensors[i]);
        if (err)
            return err;
    }
    if (!a->config.rope_factors)
        return ERR_OK;
    size_t bytes = (size_t)a->config.rope_factor_count * 4;
    void *factors = arena_alloc(&a->parts.arena, bytes);
    if (!factors)
        return err_set(a->report, ERR_MEMORY, "no memory for RoPE factors");
    memcpy(factors, a->config.rope_factors, bytes);
    return add_tensor(a, (struct gguf_tensor){
                             .name = {"rope_freqs.weight", 17}, .type = GGUF_TENSOR_F32,
                             .dim_count = 1, .dims = {a->config.rope_factor_count, 1, 1, 1},
                             .data = factors, .bytes = bytes});
}

/* The translated metadata; the texts' JSON lives only here. */
static enum err put_values(struct assembly *a, struct gguf_writer *writer)
{
    const struct st_source *s = a->source;
    json_t *config = NULL, *tokenizer = NULL, *extra = NULL, *generation = NULL;
    enum err err = st_json(s->config, "config.json", &config, a->report);
    if (!err && s->tokenizer.data)
        err = st_json(s->tokenizer, "tokenizer.json", &tokenizer, a->report);
    if (!err && s->tokenizer_config.data)
        err = st_json(s->tokenizer_config, "tokenizer_config.json", &extra, a->report);
    if (!err && s->generation.data)
        err = st_json(s->generation, "generation_config.json", &generation, a->report);
    if (!err)
        err = st_put_config(config, writer, &a->config, a->report);
    if (!err && s->name[0])
        gguf_writer_put_string(writer, "general.name", s->name, strlen(s->name));
    if (!err && s->chat_template.data) {
        gguf_writer_put_string(writer, "tokenizer.chat_template", s->chat_template.data,
                               s->chat_template.bytes);
        (void)json_object_del(extra, "chat_template");
    }
    if (!err && tokenizer)
        err = st_put_tokenizer(tokenizer, extra, generation ? generation : config, &a->config,
                               writer, a->report);
    json_decref(config);
    json_decref(tokenizer);
    json_decref(extra);
    json_decref(generation);
    return err;
}

static enum err assemble(struct assembly *a)
{
    struct buf head;
    struct gguf_writer *writer = gguf_writer_create();
    if (!writer)
        return err_set(a->report, ERR_MEMORY, "no memory for metadata");
    buf_init(&head, NULL);
    enum err err = put_values(a, writer);
    if (!err)
        err = gguf_writer_finish(writer, &head, a->report);
    gguf_writer_destroy(writer);
    a->parts.head = (uint8_t *)head.data; /* freed with the parts */
    a->parts.head_bytes = head.count;
    return err ? err : add_tensors(a);
}

enum err st_assemble(const struct st_source *source, struct gguf **file, struct report *report)
{
    struct assembly a = {.source = source, .report = report};
    size_t count = source->part_count;
    arena_init(&a.parts.arena, NULL);
    a.parts.maps = mem_calloc(NULL, count ? count : 1, sizeof *a.parts.maps);
    enum err err = a.parts.maps ? ERR_OK : err_set(report, ERR_MEMORY, "no memory for %zu files",
                                                   count);
    for (size_t i = 0; i < count; i++) {
        const struct st_part *part = &source->parts[i];
        if (part->mapped && a.parts.maps)
            a.parts.maps[a.parts.map_count++] =
                (struct gguf_map){part->data, part->bytes, part->changed_ns};
        else if (part->mapped)
            file_unmap(part->data, part->bytes);
    }
    if (!err)
        err = assemble(&a);
    mem_free(NULL, a.config.rope_factors);
    a.parts.tensors = a.tensors.items;
    a.parts.tensor_count = a.tensors.count;
    if (!err)
        return gguf_open_parts(&a.parts, file, report);
    gguf_parts_free(&a.parts);
    return err;
}

/* ---- folders ------------------------------------------------------------------------------- */

static bool join(char out[PATH_BYTES], const char *folder, const char *name)
{
    int bytes = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    return bytes > 0 && bytes < PATH_BYTES;
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    struct stat info;
    return join(path, folder, name) && stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool st_is_folder(const char *path)
{
    return is_there(path, "config.json");
}

/* The file's text, or none when it is not there. */
static enum err read_text(const char *folder, const char *name, size_t bytes_max,
                          struct st_text *text, struct report *report)
{
    char path[PATH_BYTES], *data;
    *text = (struct st_text){0};
    if (!is_there(folder, name) || !join(path, folder, name))
        return ERR_OK;
    enum err err = file_read(path, bytes_max, NULL, &data, &text->bytes, report);
    text->data = err ? NULL : data;
    return err;
}

struct part_list {
    struct st_part *items;
    size_t count, capacity;
};

static enum err add_part(const char *folder, const char *name, struct part_list *parts,
                         struct report *report)
{
    char path[PATH_BYTES];
    struct st_part part = {.mapped = true};
    if (parts->count == PARTS_MAX || !join(path, folder, name))
        return err_set(report, ERR_LIMIT, "more than %d safetensors files, or a path too long",
                       PARTS_MAX);
    enum err err = file_map_dated(path, &part.data, &part.bytes, &part.changed_ns, report);
    if (err)
        return err;
    if (vec_push(NULL, parts, part))
        return ERR_OK;
    file_unmap(part.data, part.bytes);
    return err_set(report, ERR_MEMORY, "no memory for the list of files");
}

/* The files that the index names, each once, in the order of their names in it. */
static enum err add_indexed(const char *folder, const json_t *index, struct part_list *parts,
                            struct report *report)
{
    json_t *weights = json_object_get(index, "weight_map"), *value;
    const char *tensor;
    struct map seen;
    enum err err = ERR_OK;
    if (json_object_size(weights) == 0)
        return err_set(report, ERR_INVALID, "model.safetensors.index.json has no \"weight_map\"");
    map_init(&seen, NULL);
    json_object_foreach(weights, tensor, value) {
        const char *name = json_string_value(value);
        size_t bytes = name ? strlen(name) : 0;
        if (bytes < 13 || strcmp(name + bytes - 12, ".safetensors") != 0 || strchr(name, '/') ||
            name[0] == '.') {
            err = err_set(report, ERR_INVALID, "model.safetensors.index.json: tensor '%.80s' is not "
                          "in a file of this folder", tensor);
            break;
        }
        if (map_find(&seen, name, bytes))
            continue;
        err = map_set(&seen, name, bytes, value) ? add_part(folder, name, parts, report)
                                                 : err_set(report, ERR_MEMORY, "no memory");
        if (err)
            break;
    }
    map_deinit(&seen);
    return err;
}

static enum err add_parts(const char *folder, struct part_list *parts, struct report *report)
{
    struct st_text text;
    json_t *index;
    if (is_there(folder, "model.safetensors"))
        return add_part(folder, "model.safetensors", parts, report);
    enum err err = read_text(folder, "model.safetensors.index.json", CONFIG_MAX, &text, report);
    if (err)
        return err;
    if (!text.data)
        return err_set(report, ERR_NOT_FOUND, "neither model.safetensors nor "
                       "model.safetensors.index.json is in the folder");
    err = st_json(text, "model.safetensors.index.json", &index, report);
    mem_free(NULL, (char *)(uintptr_t)text.data);
    if (err)
        return err;
    err = add_indexed(folder, index, parts, report);
    json_decref(index);
    return err;
}

enum err st_open_folder(const char *path, struct gguf **file, struct report *report)
{
    struct part_list parts = {0};
    struct st_source source = {0};
    const struct {
        const char *name;
        size_t bytes_max;
        struct st_text *text;
    } texts[] = {{"config.json", CONFIG_MAX, &source.config},
                 {"tokenizer.json", TOKENIZER_MAX, &source.tokenizer},
                 {"tokenizer_config.json", CONFIG_MAX, &source.tokenizer_config},
                 {"generation_config.json", CONFIG_MAX, &source.generation},
                 {"chat_template.jinja", CONFIG_MAX, &source.chat_template}};
    enum { TEXTS = sizeof texts / sizeof *texts };
    char name[256];
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    snprintf(name, sizeof name, "%.*s", (int)(end - begin < 255 ? end - begin : 255), path + begin);
    source.name = name;
    enum err err = ERR_OK;
    for (unsigned i = 0; !err && i < TEXTS; i++)
        err = read_text(path, texts[i].name, texts[i].bytes_max, texts[i].text, report);
    if (!err && !source.config.data)
        err = err_set(report, ERR_NOT_FOUND, "there is no config.json in the folder");
    if (!err)
        err = add_parts(path, &parts, report);
    source.parts = parts.items;
    source.part_count = parts.count;
    if (!err)
        err = st_assemble(&source, file, report);
    else
        for (size_t i = 0; i < parts.count; i++)
            file_unmap(parts.items[i].data, parts.items[i].bytes);
    vec_free(NULL, &parts);
    for (unsigned i = 0; i < TEXTS; i++)
        mem_free(NULL, (char *)(uintptr_t)texts[i].text->data);
    if (err)
        (void)err_prefix(report, "%s", path);
    return err;
}
