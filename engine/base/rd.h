/* Reading untrusted bytes: a cursor that never leaves its range. After the first failed read
 * `failed` is set, every later read gives zero, and the reader checks once at the end (or
 * wherever a count steers a loop). */
#ifndef ENGINE_BASE_RD_H
#define ENGINE_BASE_RD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd {
    const uint8_t *data; /* borrowed */
    size_t bytes;
    size_t at;
    bool failed;
};

static inline struct rd rd_make(const void *data, size_t bytes)
{
    return (struct rd){.data = data, .bytes = bytes};
}

static inline size_t rd_left(const struct rd *rd)
{
    return rd->failed ? 0 : rd->bytes - rd->at;
}

/* `count` bytes, borrowed, or NULL (and failed). Zero bytes never fail on a good reader. */
const uint8_t *rd_take(struct rd *rd, size_t count);

/* Little endian. */
uint8_t rd_u8(struct rd *rd);
uint16_t rd_u16(struct rd *rd);
uint32_t rd_u32(struct rd *rd);
uint64_t rd_u64(struct rd *rd);
float rd_f32(struct rd *rd);
double rd_f64(struct rd *rd);

/* LEB128 as WebAssembly has it: at most ceil(bits / 7) bytes, unused bits of the last byte zero
 * (or sign copies); anything else fails. */
uint64_t rd_leb_u(struct rd *rd, unsigned bits);
int64_t rd_leb_s(struct rd *rd, unsigned bits);

#endif
