/* Replays a fuzz target's corpus (tests/fuzz/corpus/FUZZ_TARGET/) without a fuzzer: each seed as it
 * is, cut off at many places, and with many bytes changed, the same ones in every run. The target
 * crashes or it does not; the count of inputs is what passed.
 *
 *     replay_X [FILE...]     the files instead of the corpus, unchanged (to look at a crash) */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
enum { SEED_BYTES_MAX = 1 << 20, CUTS = 40, CHANGES = 200 };

static unsigned long inputs;

/* On its own heap block, so that a sanitizer sees reads past the end. */
static void try(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        abort();
    memcpy(copy, data, bytes);
    (void)LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
    inputs++;
}

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void mutate(const uint8_t *data, size_t bytes)
{
    uint64_t state = bytes;
    size_t step = bytes / CUTS + 1;
    for (size_t cut = 0; cut < bytes; cut += step)
        try(data, cut);
    uint8_t *changed = malloc(bytes ? bytes : 1);
    if (!changed)
        abort();
    for (int i = 0; i < CHANGES && bytes > 0; i++) {
        memcpy(changed, data, bytes);
        for (uint64_t n = 1 + random_next(&state) % 3; n > 0; n--) {
            size_t at = (size_t)(random_next(&state) % bytes);
            uint64_t kind = random_next(&state) % 3;
            if (kind == 0)
                changed[at] ^= (uint8_t)(1u << random_next(&state) % 8);
            else if (kind == 1)
                changed[at] = (uint8_t)random_next(&state);
            else
                changed[at] = random_next(&state) % 2 ? 0xFF : 0x00;
        }
        try(changed, bytes);
    }
    free(changed);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_seed(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay(const char *path, int changed)
{
    char *data;
    size_t bytes;
    struct report report = {0};
    if (file_read(path, SEED_BYTES_MAX, NULL, &data, &bytes, &report) != ERR_OK) {
        fprintf(stderr, "%s\n", report.text);
        exit(2);
    }
    printf("%s\n", path); /* the last line of a crash's log says where it was */
    (void)fflush(stdout);
    try((const uint8_t *)data, bytes);
    if (changed)
        mutate((const uint8_t *)data, bytes);
    mem_free(NULL, data);
}

int main(int argc, char **argv)
{
    static const char folder[] = "tests/fuzz/corpus/" TEXT(FUZZ_TARGET);
    for (int i = 1; i < argc; i++)
        replay(argv[i], 0);
    if (argc == 1) {
        struct dirent **entries = NULL;
        int count = scandir(folder, &entries, is_seed, by_name);
        if (count <= 0) {
            fprintf(stderr, "no seeds in %s (run from the repository's root)\n", folder);
            return 2;
        }
        for (int i = 0; i < count; i++) {
            char path[600];
            (void)snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            replay(path, 1);
            free(entries[i]);
        }
        free(entries);
    }
    printf("%lu passed, 0 failed\n", inputs);
    return 0;
}
