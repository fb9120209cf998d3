#include "engine/base/rd.h"

#include <string.h>

const uint8_t *rd_take(struct rd *rd, size_t count)
{
    if (rd->failed || count > rd->bytes - rd->at) {
        rd->failed = true;
        return NULL;
    }
    const uint8_t *at = rd->data + rd->at;
    rd->at += count;
    return at;
}

static uint64_t little_endian(struct rd *rd, size_t bytes)
{
    const uint8_t *at = rd_take(rd, bytes);
    uint64_t value = 0;
    for (size_t i = 0; at && i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

uint8_t rd_u8(struct rd *rd)
{
    return (uint8_t)little_endian(rd, 1);
}

uint16_t rd_u16(struct rd *rd)
{
    return (uint16_t)little_endian(rd, 2);
}

uint32_t rd_u32(struct rd *rd)
{
    return (uint32_t)little_endian(rd, 4);
}

uint64_t rd_u64(struct rd *rd)
{
    return little_endian(rd, 8);
}

float rd_f32(struct rd *rd)
{
    uint32_t bits = rd_u32(rd);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double rd_f64(struct rd *rd)
{
    uint64_t bits = rd_u64(rd);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint64_t rd_leb_u(struct rd *rd, unsigned bits)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        uint8_t byte = rd_u8(rd);
        if (rd->failed)
            return 0;
        unsigned room = bits - shift;
        if (room < 7 && (byte & 0x7F) >> room != 0)
            break; /* bits beyond the type's width */
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return value;
    }
    rd->failed = true;
    return 0;
}

int64_t rd_leb_s(struct rd *rd, unsigned bits)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < bits; shift += 7) {
        uint8_t byte = rd_u8(rd);
        if (rd->failed)
            return 0;
        unsigned room = bits - shift;
        if (room < 7) {
            /* The bits above the sign bit must all be copies of it. */
            unsigned high = (byte & 0x7Fu) >> (room - 1);
            if (high != 0 && high != 0x7Fu >> (room - 1))
                break;
        }
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            if ((byte & 0x40) && shift + 7 < 64)
                value |= ~(uint64_t)0 << (shift + 7);
            return (int64_t)value;
        }
    }
    rd->failed = true;
    return 0;
}
