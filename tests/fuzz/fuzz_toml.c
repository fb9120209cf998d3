/* links: engine/program
 * Any bytes as TOML and as Pie.toml: a tree or a report with a place, and all memory back. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/program/manifest.h"
#include "engine/program/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Every key is found again, every text is terminated, every position lies in the text. */
static void walk(const struct prog_toml *toml, const struct prog_toml_value *value)
{
    uint32_t line, column;
    CHECK(value->offset <= toml->bytes);
    prog_toml_position(toml, value->offset, &line, &column);
    CHECK(line >= 1 && column >= 1);
    if (value->kind == PROG_TOML_STRING) {
        CHECK(value->of.string.data[value->of.string.bytes] == 0);
    } else if (value->kind == PROG_TOML_ARRAY) {
        for (uint32_t i = 0; i < value->of.array.count; i++)
            walk(toml, value->of.array.items[i]);
    } else if (value->kind == PROG_TOML_TABLE) {
        for (uint32_t i = 0; i < value->of.table.count; i++) {
            const struct prog_toml_entry *entry = &value->of.table.entries[i];
            if (strlen(entry->key) == entry->key_bytes)
                CHECK(prog_toml_find(value, entry->key) == entry->value);
            walk(toml, entry->value);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mem_heap heap = {0};
    struct prog_toml toml;
    struct prog_manifest manifest;
    struct report report = {0};
    if (bytes > 20000)
        return 0; /* positions are counted from the start: keep it quick */
    if (prog_toml_parse((const char *)data, bytes, &heap, &toml, &report) == ERR_OK) {
        walk(&toml, toml.root);
        prog_toml_deinit(&toml);
    } else {
        CHECK(strncmp(report.text, "line ", 5) == 0);
    }
    CHECK(heap.used_bytes == 0);
    report = (struct report){0};
    if (prog_manifest_parse((const char *)data, bytes, "Pie.toml", &heap, &manifest, &report) ==
        ERR_OK) {
        CHECK(prog_name_is_valid(manifest.name, strlen(manifest.name)));
        CHECK(prog_version_is_valid(manifest.version, strlen(manifest.version)));
        prog_manifest_deinit(&manifest);
    } else {
        CHECK(strncmp(report.text, "Pie.toml, line ", 15) == 0);
    }
    CHECK(heap.used_bytes == 0);
    return 0;
}
