/* links: interp/wasm
 *
 * Generated modules (gen_module.h), here and in another engine (diff_wasm.js in node): every call's
 * result or trap and the final memories must agree.
 *
 *     diff_wasm                      the seeds of tests/vectors/wasm_diff.txt against what the other
 *                                    engine said; closes with `N passed, N failed`
 *     diff_wasm run FIRST COUNT      prints a line of outcomes for each seed
 *     diff_wasm emit FIRST COUNT     writes the modules: size in 4 bytes, little endian, then bytes
 *     diff_wasm self FIRST COUNT     compares each with itself: in slices of fuel, and without the
 *                                    fused sequences; needs no other engine
 *     diff_wasm digest               reads outcome lines, prints what belongs into wasm_diff.txt
 *
 * DIFF_FEATURES (a number, enum gen_features) replaces the seeds' own mix of features. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/gen_module.h"
#include "tests/fuzz/outcome.h"

static const char vectors[] = "tests/vectors/wasm_diff.txt";
enum { LINE_BYTES = 8000 };

static void make(uint64_t seed, const char *shapes, struct buf *used, struct buf *out)
{
    const char *features = getenv("DIFF_FEATURES");
    buf_clear(out);
    if (!gen_module(seed, features ? (unsigned)strtoul(features, NULL, 0) : gen_mix(seed), shapes,
                    used, out)) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
}

/* "SEED" and the outcome; `fuel`: what all calls used. */
static void outcome(uint64_t seed, const char *shapes, uint64_t slice, uint64_t *fuel,
                    struct buf *module_bytes, struct buf *line)
{
    make(seed, shapes, NULL, module_bytes);
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

/* Once more, stopped every few instructions, and once without fused sequences: it must come to the
 * same and use the same fuel. */
static bool agrees_with_itself(uint64_t seed, const char *shapes, const char *expected,
                               uint64_t fuel, struct buf *bytes, struct buf *line)
{
    bool agrees = true;
    for (int plain = 0; plain < 2; plain++) {
        uint64_t slice = plain ? OUTCOME_FUEL_MAX : 1 + seed % 61, used;
        outcome_is_plain = plain;
        outcome(seed, shapes, slice, &used, bytes, line);
        outcome_is_plain = false;
        if (strcmp(line->data, expected) == 0 && used == fuel)
            continue;
        agrees = false;
        printf("differs %s, fuel %" PRIu64 " not %" PRIu64 ":\n%s\n%s\n",
               plain ? "without sequences" : "in slices", used, fuel, line->data, expected);
    }
    return agrees;
}

static bool check(uint64_t seed, const char *shapes, struct buf *bytes, struct buf *line,
                  struct buf *again, const uint32_t *hash)
{
    uint64_t fuel;
    outcome(seed, shapes, OUTCOME_FUEL_MAX, &fuel, bytes, line);
    if (hash && hash_line(line->data) != *hash) {
        printf("differs: %s\n", line->data);
        return false;
    }
    return agrees_with_itself(seed, shapes, line->data, fuel, bytes, again);
}

static int check_vectors(struct buf *bytes, struct buf *line, struct buf *again)
{
    unsigned passed = 0, failed = 0;
    static char text[LINE_BYTES];
    FILE *file = fopen(vectors, "r");
    if (!file) {
        fprintf(stderr, "%s cannot be read (run from the repository's root)\n", vectors);
        return 2;
    }
    while (fgets(text, sizeof text, file)) {
        uint64_t seed;
        uint32_t hash;
        char *shapes = strchr(text, '|');
        shapes = shapes ? shapes + 1 : NULL;
        if (text[0] == '#' || sscanf(text, "%" SCNu64 " %" SCNx32, &seed, &hash) != 2)
            continue;
        bool agrees = check(seed, shapes, bytes, line, again, &hash);
        passed += agrees;
        failed += !agrees;
    }
    (void)fclose(file);
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}

/* The shapes stand in the file, for other ones would be chosen when sequences.def changes. */
static void digest(struct buf *bytes, struct buf *shapes)
{
    static char text[LINE_BYTES];
    while (fgets(text, sizeof text, stdin)) {
        uint64_t seed = strtoull(text, NULL, 10);
        buf_clear(shapes);
        make(seed, NULL, shapes, bytes);
        printf("%" PRIu64 " %08x%s%s\n", seed, hash_line(text), shapes->count ? " |" : "",
               shapes->count ? shapes->data : "");
    }
}

int main(int argc, char **argv)
{
    struct buf bytes, line, again;
    int code = 0;
    buf_init(&bytes, NULL);
    buf_init(&again, NULL);
    buf_init(&line, NULL);
    if (argc == 1) {
        code = check_vectors(&bytes, &line, &again);
    } else if (argc == 2 && strcmp(argv[1], "digest") == 0) {
        digest(&bytes, &line);
    } else if (argc == 4) {
        uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
        for (uint64_t seed = first; seed < first + count; seed++) {
            if (strcmp(argv[1], "emit") == 0) {
                make(seed, NULL, NULL, &bytes);
                uint32_t n = (uint32_t)bytes.count;
                uint8_t size[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
                                   (uint8_t)(n >> 24)};
                (void)fwrite(size, 1, sizeof size, stdout);
                (void)fwrite(bytes.data, 1, bytes.count, stdout);
            } else if (strcmp(argv[1], "self") == 0) {
                code |= !check(seed, NULL, &bytes, &line, &again, NULL);
            } else {
                uint64_t fuel;
                outcome(seed, NULL, OUTCOME_FUEL_MAX, &fuel, &bytes, &line);
                printf("%s\n", line.data);
            }
        }
    } else {
        fprintf(stderr, "usage: diff_wasm [run|emit|self FIRST COUNT | digest]\n");
        code = 2;
    }
    buf_deinit(&bytes);
    buf_deinit(&line);
    buf_deinit(&again);
    return code;
}
