/* The two functions that probabilities need; there is no C library. */
#include "inferlet.h"

static const double ln2 = 0.693147180559945309417;
/* The same in two parts: multiples of the first, up to 2^20, are exact. */
static const double ln2_high = 0x1.62e42feep-1;
static const double ln2_low = 0x1.a39ef35793c76p-33;

union bits {
    double value;
    uint64_t bits;
};

double pie_exp(double x)
{
    if (x != x)
        return x;
    if (x > 709)
        return __builtin_inf();
    if (x < -708)
        return 0;
    int64_t power = (int64_t)(x / ln2 + (x < 0 ? -0.5 : 0.5));
    double rest = x - (double)power * ln2_high - (double)power * ln2_low; /* at most ln2 / 2 */
    double sum = 1;
    for (int term = 14; term > 0; term--)
        sum = 1 + sum * rest / term;
    union bits scale = {.bits = (uint64_t)(power + 1023) << 52};
    return sum * scale.value;
}

double pie_ln(double x)
{
    if (x != x || x < 0)
        return __builtin_nan("");
    if (x < 0x1p-1022)
        return -__builtin_inf();
    if (x > 0x1.fffffffffffffp1023)
        return x;
    union bits parts = {.value = x};
    int power = (int)(parts.bits >> 52) - 1023;
    parts.bits = (parts.bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    if (parts.value > 1.41421356237309505) {
        parts.value /= 2;
        power++;
    }
    double s = (parts.value - 1) / (parts.value + 1); /* ln m = 2 artanh s, |s| < 0.172 */
    double square = s * s;
    double sum = 0;
    for (int term = 21; term > 0; term -= 2)
        sum = sum * square + 1.0 / term;
    return power * ln2 + 2 * s * sum;
}
