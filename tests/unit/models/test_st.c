/* links: models
 * Safetensors files that lie about themselves, and folders whose files do not fit together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "models/model.h"
#include "models/st.h"

static enum err read_part(const char *header, uint64_t header_bytes, size_t data_bytes,
                          size_t *count, struct report *report)
{
    struct buf file;
    struct arena arena;
    struct gguf_tensor *tensors;
    buf_init(&file, NULL);
    arena_init(&arena, NULL);
    (void)buf_append(&file, &header_bytes, 8);
    (void)buf_puts(&file, header);
    for (size_t i = 0; i < data_bytes; i++)
        (void)buf_putc(&file, 1);
    struct st_part part = {.data = (const uint8_t *)file.data, .bytes = file.count};
    enum err err = st_read_part(&part, &arena, &tensors, count, report);
    if (!err && *count == 2) {
        assert_int_equal(tensors[0].dims[0], 3);
        assert_int_equal(tensors[0].dims[1], 2);
        assert_int_equal(tensors[0].type, GGUF_TENSOR_BF16);
        assert_memory_equal(tensors[0].name.data, "a", 2);
        assert_int_equal(tensors[1].bytes, 8);
    }
    arena_deinit(&arena);
    buf_deinit(&file);
    return err;
}

#define A "\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,12]}"

static void headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *says; /* NULL: good */
    } cases[] = {
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}," A "}  ", 20, NULL},
        {"{\"__metadata__\":{\"format\":\"pt\"}," A "}", 12, NULL},
        {"{}", 0, NULL},
        {"{" A "}", 11, "cut off"},
        {"{" A "}", 13, "belong to none"},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", 16, "overlaps"},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]}}", 24, "unused"},
        {"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "overlaps"},
        {"{" A "," A "}", 12, "duplicate"},
        {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "I64"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "by its shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "dimension"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "dimension"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
         "elements"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "5 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "cut off"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4,
         "cut off"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets"},
        {"{\"a\":7}", 0, "lacks a dtype"},
        {"[1]", 0, "no JSON header"},
        {"{\"a\":", 0, "not proper JSON"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report report = {0};
        size_t count;
        enum err err = read_part(cases[i].header, strlen(cases[i].header), cases[i].data_bytes,
                                 &count, &report);
        if ((cases[i].says == NULL) != (err == ERR_OK) ||
            (cases[i].says && !strstr(report.text, cases[i].says)))
            fail_msg("case %u: %s", i, report.text);
    }
    struct report report = {0};
    size_t count;
    assert_int_equal(read_part("{}", 3, 0, &count, &report), ERR_INVALID);
    assert_int_equal(read_part("{}", UINT64_MAX, 0, &count, &report), ERR_INVALID);
    assert_int_equal(read_part("{}", 0, 2, &count, &report), ERR_INVALID);
}

static void configs(void **state)
{
    (void)state;
#define BASE "\"model_type\":\"qwen2\",\"hidden_size\":64,\"num_hidden_layers\":1," \
             "\"intermediate_size\":64,\"num_attention_heads\":4"
    static const struct {
        const char *config, *says; /* NULL: good */
    } cases[] = {
        {"{" BASE "}", NULL},
        {"{}", "model type '(none)'"},
        {"{\"model_type\":\"bert\"}", "'bert'"},
        {"{\"model_type\":\"llama\"}", "lacks \"hidden_size\""},
        {"{" BASE ",\"quantization_config\":{}}", "quantised"},
        {"{" BASE ",\"hidden_act\":\"gelu\"}", "gelu"},
        {"{" BASE ",\"head_dim\":7}", "heads of 7"},
        {"{" BASE ",\"head_dim\":99999999999}", "head_dim"},
        {"{" BASE ",\"rope_theta\":\"x\"}", "rope_theta"},
        {"{" BASE ",\"rope_scaling\":{\"type\":\"dynamic\"}}", "dynamic"},
        {"{" BASE ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":-1}}", "factor -1"},
        {"{" BASE ",\"rope_scaling\":{\"rope_type\":\"llama3\"}}", NULL},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report report = {0};
        struct gguf *file;
        struct st_source source = {.name = "x",
                                   .config = {cases[i].config, strlen(cases[i].config)}};
        enum err err = st_assemble(&source, &file, &report);
        if ((cases[i].says == NULL) != (err == ERR_OK) ||
            (cases[i].says && !strstr(report.text, cases[i].says)))
            fail_msg("case %u: %s", i, report.text);
        if (!err)
            gguf_close(file);
    }
}

/* A sliding window bounds the context; a tensor in two parts is refused. */
static void assembling(void **state)
{
    (void)state;
    static const char config[] = "{\"model_type\":\"mistral\",\"hidden_size\":64,"
        "\"num_hidden_layers\":1,\"intermediate_size\":64,\"num_attention_heads\":4,"
        "\"max_position_embeddings\":32768,\"sliding_window\":4096}";
    static const char part_text[] = "\x41\0\0\0\0\0\0\0"
        "{\"model.norm.weight\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}} "
        "\x00\x3C\x01\x80";
    size_t part_bytes = sizeof part_text - 1;
    uint8_t bytes[sizeof part_text];
    memcpy(bytes, part_text, sizeof bytes);
    bytes[0] = (uint8_t)(part_bytes - 12);
    struct st_part parts[2] = {{.data = bytes, .bytes = part_bytes}, {.data = bytes, .bytes = part_bytes}};
    struct st_source source = {.name = "x", .config = {config, strlen(config)}, .parts = parts,
                               .part_count = 1};
    struct report report = {0};
    struct gguf *file;
    uint32_t context = 0;
    if (st_assemble(&source, &file, &report))
        fail_msg("%s", report.text);
    assert_true(gguf_get_u32(file, "llama.context_length", &context));
    assert_int_equal(context, 4096);
    const struct gguf_tensor *norm = gguf_find_tensor(file, "output_norm.weight");
    float values[2];
    assert_int_equal(norm->type, GGUF_TENSOR_F32);
    memcpy(values, norm->data, 8);
    assert_true(values[0] == 1.0f && values[1] == -0x1p-24f);
    gguf_close(file);
    source.part_count = 2;
    assert_int_equal(st_assemble(&source, &file, &report), ERR_INVALID);
    assert_non_null(strstr(report.text, "twice"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(headers), cmocka_unit_test(configs),
                                       cmocka_unit_test(assembling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
