#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "simd/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

/* The levels of this machine's architecture, from the lowest; `fill` overwrites what the level
 * below has put into the table. */
static const struct {
    enum simd_level level;
    const char *name;
    void (*fill)(struct simd_table *table);
} levels[] = {
    {SIMD_SCALAR, "scalar", simd_fill_scalar},
#if defined(__x86_64__)
    {SIMD_AVX2, "avx2", simd_fill_avx2},
    {SIMD_AVX512, "avx512", simd_fill_avx512},
    {SIMD_VNNI, "vnni", simd_fill_vnni},
    {SIMD_AMX, "amx", simd_fill_amx},
#elif defined(__aarch64__)
    {SIMD_NEON, "neon", simd_fill_neon},
    {SIMD_DOTPROD, "dotprod", simd_fill_dotprod},
#endif
};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static struct simd_table tables[LEVELS];
static unsigned count, chosen; /* levels that this CPU has; the one that is used */
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
/* Does the CPU have tiles of int8, and does the kernel let this process use them? It keeps their
 * 8 KiB per thread only for processes that ask (Linux 5.16, arch_prctl). */
static bool amx_granted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, GET_PERMISSION = 0x1022, TILE_DATA = 18 };
    unsigned a, b, c, d;
    unsigned long granted = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> 25 & 1))
        return false; /* amx-tile, amx-int8 */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 &&
           syscall(SYS_arch_prctl, GET_PERMISSION, &granted) == 0 && (granted >> TILE_DATA & 1);
}
#endif

static bool cpu_has(enum simd_level level)
{
    switch (level) {
#if defined(__x86_64__)
    case SIMD_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("f16c");
    case SIMD_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case SIMD_VNNI:
        return __builtin_cpu_supports("avx512vnni");
    case SIMD_AMX:
        return amx_granted();
#elif defined(__aarch64__)
    case SIMD_NEON:
        return true;
    case SIMD_DOTPROD: {
        enum { HWCAP_DOT_PRODUCT = 1 << 20 }; /* HWCAP_ASIMDDP */
        return getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCT;
    }
#endif
    default:
        return level == SIMD_SCALAR;
    }
}

static void fill(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    const char *wanted = getenv("PIE_SIMD");
    bool found = false;
    for (; count < LEVELS && cpu_has(levels[count].level); count++) {
        struct simd_table *table = &tables[count];
        for (unsigned below = 0; below <= count; below++)
            levels[below].fill(table);
        table->level = levels[count].level;
        table->name = levels[count].name;
        if (!found)
            chosen = count;
        found = found || (wanted && strcmp(wanted, table->name) == 0);
    }
}

const struct simd_table *simd_table_get(void)
{
    (void)pthread_once(&once, fill);
    return &tables[chosen];
}

const struct simd_table *simd_table_at(enum simd_level level)
{
    (void)pthread_once(&once, fill);
    for (unsigned i = 0; i < count; i++)
        if (tables[i].level == level)
            return &tables[i];
    return NULL;
}
