/* links: interp/wasm
 *
 * The bytes steer the generator of valid modules (gen_module.h): every input runs. In one go and in
 * slices of fuel a module must do the same and use the same fuel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/gen_module.h"
#include "tests/fuzz/outcome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes, whole, sliced;
    uint64_t fuel, sliced_fuel;
    if (size < 2)
        return 0;
    buf_init(&bytes, NULL);
    buf_init(&whole, NULL);
    buf_init(&sliced, NULL);
    if (!gen_module_from(data + 1, size - 1, data[0] & GEN_ALL, &bytes))
        abort();
    outcome_of((const uint8_t *)bytes.data, bytes.count, OUTCOME_FUEL_MAX, &fuel, &whole);
    outcome_of((const uint8_t *)bytes.data, bytes.count, 1 + data[0], &sliced_fuel, &sliced);
    if (strcmp(whole.data, sliced.data) != 0 || fuel != sliced_fuel ||
        strstr(whole.data, "refused")) {
        fprintf(stderr, "in one go:%s\nin slices:%s\n", whole.data, sliced.data);
        abort();
    }
    buf_deinit(&bytes);
    buf_deinit(&whole);
    buf_deinit(&sliced);
    return 0;
}
