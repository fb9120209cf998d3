#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "simd/kernels.h"

static const char *const level_names[SIMD_LEVEL_COUNT] = {"scalar", "avx2", "avx512", "vnni"};

static struct simd_table tables[SIMD_LEVEL_COUNT];
static enum simd_level level_best, level_chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static enum simd_level cpu_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("f16c"))
        return SIMD_SCALAR;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return SIMD_AVX2;
    return __builtin_cpu_supports("avx512vnni") ? SIMD_VNNI : SIMD_AVX512;
#else
    return SIMD_SCALAR;
#endif
}

static void fill(void)
{
    level_best = cpu_level();
    for (int level = SIMD_SCALAR; level <= (int)level_best; level++) {
        struct simd_table *table = &tables[level];
        simd_fill_scalar(table);
#if defined(__x86_64__)
        if (level >= SIMD_AVX2)
            simd_fill_avx2(table);
        if (level >= SIMD_AVX512)
            simd_fill_avx512(table);
        if (level >= SIMD_VNNI)
            simd_fill_vnni(table);
#endif
        table->level = (enum simd_level)level;
        table->name = level_names[level];
    }
    level_chosen = level_best;
    const char *wanted = getenv("PIE_SIMD");
    for (int level = SIMD_SCALAR; wanted && level < (int)level_best; level++)
        if (strcmp(wanted, level_names[level]) == 0)
            level_chosen = (enum simd_level)level;
}

const struct simd_table *simd_table_get(void)
{
    (void)pthread_once(&once, fill);
    return &tables[level_chosen];
}

const struct simd_table *simd_table_at(enum simd_level level)
{
    (void)pthread_once(&once, fill);
    return level <= level_best ? &tables[level] : NULL;
}
