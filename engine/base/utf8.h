/* UTF-8, strictly (Unicode 15, table 3-7): no overlong forms, no surrogates, at most U+10FFFF. */
#ifndef ENGINE_BASE_UTF8_H
#define ENGINE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length (1 to 4) of the well-formed sequence at `text`, 0 when it is ill-formed or cut off. */
size_t utf8_sequence_bytes(const char *text, size_t bytes);

/* True when the bytes could still become a well-formed sequence with more bytes behind them:
 * the start of a sequence that `bytes` cuts off. */
bool utf8_is_prefix(const char *text, size_t bytes);

bool utf8_is_valid(const char *text, size_t bytes);

/* Decodes one code point and advances `*at`; ill-formed bytes give U+FFFD one byte at a time. */
uint32_t utf8_next(const char *text, size_t bytes, size_t *at);

/* Writes 1 to 4 bytes and returns how many; code points out of range are written as U+FFFD. */
size_t utf8_put(uint32_t code_point, char out[4]);

/* Replaces by '?', byte for byte, what is ill-formed and what could steer a terminal: control
 * characters (C0, DEL, C1) other than tab and newline. */
void utf8_clean(char *text, size_t bytes);

#endif
