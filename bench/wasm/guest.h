/* The benchmark guests: each file compiles natively (bench_interp.c includes it) and for wasm32,
 * freestanding, and defines one function NAME(n) that returns a checksum. */
#ifndef BENCH_WASM_GUEST_H
#define BENCH_WASM_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__wasm__)
#define GUEST(name) __attribute__((export_name("run"))) int32_t name(int32_t n)
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#else
#include <string.h>
#define GUEST(name) __attribute__((noinline)) static int32_t name(int32_t n)
#endif
#define NOINLINE __attribute__((noinline))

/* A small generator, so that inputs are the same everywhere. */
static inline uint32_t guest_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#endif
