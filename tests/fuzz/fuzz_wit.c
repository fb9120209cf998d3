/* links: interp/component
 * Any bytes as a WIT package: a resolved set or a report with a place, bounded and all memory
 * back. */
#include <stdint.h>
#include <string.h>

#include "engine/base/check.h"
#include "interp/component/witdoc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct comp_wit wit;
    struct buf out;
    struct report report = {0};
    size_t before = mem_used_bytes();
    comp_wit_init(&wit);
    buf_init(&out, NULL);
    enum err err = comp_wit_add(&wit, (const char *)data, bytes, "a.wit", NULL, &report);
    CHECK(err == ERR_OK || strncmp(report.text, "a.wit, line ", 12) == 0 || err == ERR_LIMIT);
    if (err == ERR_OK && comp_wit_resolve(&wit, &report) == ERR_OK) {
        CHECK(comp_wit_describe(&out, &wit, ""));
        for (const struct comp_wit_package *p = wit.packages; p; p = p->next)
            for (const struct comp_wit_interface *i = p->interfaces; i; i = i->next)
                for (const struct comp_wit_func *f = i->funcs; f; f = f->next) {
                    buf_clear(&out);
                    err = comp_wit_print_flat(&out, i, f, &report);
                    CHECK(err == ERR_OK || err == ERR_LIMIT);
                }
    }
    buf_deinit(&out);
    comp_wit_deinit(&wit);
    CHECK(mem_used_bytes() == before);
    return 0;
}
