/* links: interp/wasm
 *
 * Generated modules (gen_module.h), here and in another engine (diff_wasm.js in node): every call's
 * result or trap and the final memory must agree.
 *
 *     diff_wasm                      the seeds of tests/vectors/wasm_diff.txt against what the other
 *                                    engine said; closes with `N passed, N failed`
 *     diff_wasm run FIRST COUNT      prints a line of outcomes for each seed
 *     diff_wasm emit FIRST COUNT     writes the modules: size in 4 bytes, little endian, then bytes
 *     diff_wasm digest               reads outcome lines, prints what belongs into wasm_diff.txt */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/gen_module.h"
#include "tests/fuzz/outcome.h"

static const char vectors[] = "tests/vectors/wasm_diff.txt";
enum { LINE_BYTES = 2000 };

/* Every other module has no vectors, so that the rest gets its share. */
static void make(uint64_t seed, struct buf *out)
{
    buf_clear(out);
    if (!gen_module(seed, seed % 2 ? GEN_ALL : GEN_TAIL_CALLS, out)) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
}

/* "SEED" and the outcome; `fuel`: what all calls used. */
static void outcome(uint64_t seed, uint64_t slice, uint64_t *fuel, struct buf *module_bytes,
                    struct buf *line)
{
    make(seed, module_bytes);
    buf_clear(line);
    buf_printf(line, "%" PRIu64, seed);
    outcome_of((const uint8_t *)module_bytes->data, module_bytes->count, slice, fuel, line);
}

static uint32_t hash_line(const char *line)
{
    uint32_t hash = 0x811C9DC5;
    for (; *line && *line != '\n'; line++)
        hash = (hash ^ (uint8_t)*line) * 0x01000193;
    return hash;
}

/* Each module runs twice: in one go, and stopped every few instructions; both ways it must give
 * what the other engine gave and use the same fuel. */
static int check_vectors(struct buf *bytes, struct buf *line)
{
    unsigned passed = 0, failed = 0;
    char text[200];
    FILE *file = fopen(vectors, "r");
    if (!file) {
        fprintf(stderr, "%s cannot be read (run from the repository's root)\n", vectors);
        return 2;
    }
    while (fgets(text, sizeof text, file)) {
        uint64_t seed;
        uint32_t hash;
        if (text[0] == '#' || sscanf(text, "%" SCNu64 " %" SCNx32, &seed, &hash) != 2)
            continue;
        uint64_t fuel, sliced_fuel;
        outcome(seed, OUTCOME_FUEL_MAX, &fuel, bytes, line);
        bool agrees = hash_line(line->data) == hash;
        if (!agrees)
            printf("differs: %s\n", line->data);
        outcome(seed, 1 + seed % 61, &sliced_fuel, bytes, line);
        if (agrees && (hash_line(line->data) != hash || fuel != sliced_fuel)) {
            agrees = false;
            printf("differs in slices of %u, fuel %" PRIu64 " not %" PRIu64 ": %s\n",
                   (unsigned)(1 + seed % 61), sliced_fuel, fuel, line->data);
        }
        passed += agrees;
        failed += !agrees;
    }
    (void)fclose(file);
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}

static void digest(void)
{
    static char text[LINE_BYTES];
    while (fgets(text, sizeof text, stdin))
        printf("%llu %08x\n", strtoull(text, NULL, 10), hash_line(text));
}

int main(int argc, char **argv)
{
    struct buf bytes, line;
    int code = 0;
    buf_init(&bytes, NULL);
    buf_init(&line, NULL);
    if (argc == 1) {
        code = check_vectors(&bytes, &line);
    } else if (argc == 2 && strcmp(argv[1], "digest") == 0) {
        digest();
    } else if (argc == 4) {
        uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
        for (uint64_t seed = first; seed < first + count; seed++) {
            if (strcmp(argv[1], "emit") == 0) {
                make(seed, &bytes);
                uint32_t n = (uint32_t)bytes.count;
                uint8_t size[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
                                   (uint8_t)(n >> 24)};
                (void)fwrite(size, 1, sizeof size, stdout);
                (void)fwrite(bytes.data, 1, bytes.count, stdout);
            } else {
                uint64_t fuel;
                outcome(seed, OUTCOME_FUEL_MAX, &fuel, &bytes, &line);
                printf("%s\n", line.data);
            }
        }
    } else {
        fprintf(stderr, "usage: diff_wasm [run|emit FIRST COUNT | digest]\n");
        code = 2;
    }
    buf_deinit(&bytes);
    buf_deinit(&line);
    return code;
}
