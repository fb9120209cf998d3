/* links: engine/program
 * Any bytes as a registry's answer about a program, and as a constraint: what is chosen is a
 * version that may become a path. */
#include <stdint.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/program/registry.h"
#include "engine/program/semver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const wanted[] = {NULL, "latest", "1.2.3", "^1", ">=0.2, <3"};
    struct prog_registry_version version;
    char text[300];
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct report report = {0};
        if (prog_registry_choose((const char *)data, bytes, "a", wanted[i], &version, &report) ==
            ERR_OK) {
            CHECK(prog_version_is_valid(version.version, strlen(version.version)));
            CHECK(strlen(version.checksum) == 0 || strlen(version.checksum) == 64);
            CHECK(strlen(version.signature) == 0 || strlen(version.signature) == 128);
            if (wanted[i] && i > 1)
                CHECK(strcmp(version.version, wanted[i]) == 0 ||
                      prog_semver_matches(wanted[i], version.version));
        } else {
            CHECK(report.text[0] != 0);
        }
    }
    if (bytes < sizeof text) {
        memcpy(text, data, bytes);
        text[bytes] = 0;
        if (prog_semver_matches(text, "1.2.3"))
            CHECK(prog_semver_is_constraint(text));
    }
    return 0;
}
