/* Unicode general categories as pre-tokenizers need them: one byte of class bits per code point. */
#ifndef ENGINE_TEXT_UNICODE_TABLE_H
#define ENGINE_TEXT_UNICODE_TABLE_H

#include <stdint.h>

enum tok_class {
    TOK_LETTER = 1,      /* \p{L} */
    TOK_NUMBER = 2,      /* \p{N} */
    TOK_PUNCTUATION = 4, /* \p{P} */
    TOK_SYMBOL = 8,      /* \p{S} */
    TOK_MARK = 16,       /* \p{M} */
    TOK_SPACE = 32,      /* \s, White_Space */
    TOK_UPPER = 64,      /* \p{Lu} \p{Lt}, with TOK_LETTER */
    TOK_LOWER = 128,     /* \p{Ll}, with TOK_LETTER */
};

extern const uint8_t tok_unicode_index[0x1100];
extern const uint8_t tok_unicode_pages[][256];

/* Class bits; 0 for code points that are none of these or out of range. */
static inline unsigned tok_unicode_class(uint32_t code_point)
{
    if (code_point > 0x10FFFF)
        return 0;
    return tok_unicode_pages[tok_unicode_index[code_point >> 8]][code_point & 255];
}

#endif
