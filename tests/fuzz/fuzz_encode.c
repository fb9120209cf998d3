/* links: interp/component
 * Any choice of imports as a component: what the encoder makes is valid. Bytes that begin with a
 * zero are a module themselves: encoded or refused, never more. */
#include <stdint.h>
#include <string.h>

#include "interp/component/encode.h"
#include "tests/tools/core_module.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct choice {
    const uint8_t *data;
    size_t bytes;
};

static bool wants(void *user, uint32_t nth)
{
    const struct choice *choice = user;
    return nth / 8 < choice->bytes && (choice->data[nth / 8] >> nth % 8 & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct comp_wit wit;
    struct buf module, out;
    struct report report = {0};
    struct comp_component *decoded;
    if (!wit.is_resolved)
        core_module_wit(&wit);
    buf_init(&module, NULL);
    buf_init(&out, NULL);
    if (bytes && data[0] == 0) {
        (void)!comp_encode(data, bytes, &wit, &out, &report);
    } else if (bytes) {
        struct choice choice = {data + 1, bytes - 1};
        core_module_make(&wit, wants, &choice, data[0] & 1, &module);
        CHECK(comp_encode((const uint8_t *)module.data, module.count, &wit, &out, &report) == ERR_OK);
        CHECK(comp_component_create((const uint8_t *)out.data, out.count, &decoded, &report) == ERR_OK);
        comp_component_unref(decoded);
    }
    buf_deinit(&module);
    buf_deinit(&out);
    return 0;
}
