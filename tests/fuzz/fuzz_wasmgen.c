/* links: interp/wasm
 *
 * The bytes steer the generator of valid modules (gen_module.h): every input runs. In one go, in
 * slices of fuel and without fused sequences a module must do the same and use the same fuel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/gen_module.h"
#include "tests/fuzz/outcome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes, whole, other;
    uint64_t fuel, other_fuel;
    if (size < 3)
        return 0;
    buf_init(&bytes, NULL);
    buf_init(&whole, NULL);
    buf_init(&other, NULL);
    unsigned features = (data[0] | (unsigned)data[1] << 8) & GEN_ALL;
    if (!gen_module_from(data + 2, size - 2, features, &bytes))
        abort();
    const uint8_t *module = (const uint8_t *)bytes.data;
    outcome_of(module, bytes.count, OUTCOME_FUEL_MAX, &fuel, &whole);
    for (int plain = 0; plain < 2; plain++) {
        buf_clear(&other);
        outcome_is_plain = plain;
        outcome_of(module, bytes.count, plain ? OUTCOME_FUEL_MAX : 1 + data[0], &other_fuel, &other);
        if (strcmp(whole.data, other.data) != 0 || fuel != other_fuel ||
            strstr(whole.data, "refused")) {
            fprintf(stderr, "in one go:%s\n%s:%s\n", whole.data,
                    plain ? "without sequences" : "in slices", other.data);
            abort();
        }
    }
    outcome_is_plain = false;
    buf_deinit(&bytes);
    buf_deinit(&whole);
    buf_deinit(&other);
    return 0;
}
