/* What an inferlet does between two steps of the model: merge byte pairs of a text into tokens
 * (hash table of ranks), step a grammar's automaton over every token of a vocabulary to mask
 * logits, and choose among the best. */
#include "bench/wasm/guest.h"

enum { TL_VOCAB = 1024, TL_MERGES = 768, TL_SLOTS = 4096, TL_TEXT = 256, TL_STATES = 12 };
static struct tl_slot { uint32_t pair; uint16_t rank, token; } tl_table[TL_SLOTS];
static uint8_t tl_bytes[TL_VOCAB][16], tl_length[TL_VOCAB];
static uint8_t tl_next[TL_STATES][256];
static float tl_logits[TL_VOCAB];
static uint32_t tl_mask[TL_VOCAB / 32];

static struct tl_slot *tl_find(uint32_t pair)
{
    uint32_t at = pair * 2654435761u >> 20;
    while (tl_table[at].pair && tl_table[at].pair != pair)
        at = (at + 1) % TL_SLOTS;
    return &tl_table[at];
}

static void tl_prepare(void)
{
    uint32_t seed = 77;
    memset(tl_table, 0, sizeof tl_table);
    memset(tl_next, 0, sizeof tl_next);
    for (int i = 0; i < 256; i++) {
        tl_bytes[i][0] = (uint8_t)i;
        tl_length[i] = 1;
    }
    for (uint32_t rank = 0; rank < TL_MERGES;) {
        uint32_t known = 256 + rank;
        uint32_t left = guest_random(&seed) % known, right = guest_random(&seed) % known;
        if (left < 256)
            left = 'a' + left % 26;
        if (right < 256)
            right = 'a' + right % 26;
        struct tl_slot *slot = tl_find(left << 16 | right);
        if (slot->pair || tl_length[left] + tl_length[right] > 15)
            continue;
        uint32_t token = 256 + rank;
        *slot = (struct tl_slot){left << 16 | right, (uint16_t)rank++, (uint16_t)token};
        tl_length[token] = (uint8_t)(tl_length[left] + tl_length[right]);
        for (int k = 0; k < tl_length[token]; k++)
            tl_bytes[token][k] = k < tl_length[left] ? tl_bytes[left][k]
                                                     : tl_bytes[right][k - tl_length[left]];
    }
    for (int state = 1; state < TL_STATES; state++)
        for (int c = 'a'; c <= 'z'; c++)
            if ((c * 7 + state * 3) % 5 != 0)
                tl_next[state][c] = (uint8_t)(1 + (state * 5 + c) % (TL_STATES - 1));
}

static uint32_t tl_encode(const uint8_t *text, uint32_t length, uint16_t *tokens)
{
    for (uint32_t i = 0; i < length; i++)
        tokens[i] = text[i];
    for (;;) {
        uint32_t best = UINT32_MAX, at = 0;
        const struct tl_slot *chosen = NULL;
        for (uint32_t i = 0; i + 1 < length; i++) {
            const struct tl_slot *slot = tl_find((uint32_t)tokens[i] << 16 | tokens[i + 1]);
            if (slot->pair && slot->rank < best)
                best = slot->rank, at = i, chosen = slot;
        }
        if (!chosen)
            return length;
        tokens[at] = chosen->token;
        for (uint32_t i = at + 1; i + 1 < length; i++)
            tokens[i] = tokens[i + 1];
        length--;
    }
}

GUEST(token_loop)
{
    uint32_t seed = 5, state = 1, check = 0;
    static uint8_t text[TL_TEXT];
    static uint16_t tokens[TL_TEXT];
    tl_prepare();
    for (int32_t step = 0; step < n; step++) {
        for (int i = 0; i < 24; i++)
            text[i] = (uint8_t)('a' + guest_random(&seed) % 26);
        check += tl_encode(text, 24, tokens) * 3 + tokens[0];
        memset(tl_mask, 0, sizeof tl_mask);
        for (uint32_t token = 0; token < TL_VOCAB; token++) {
            uint32_t at = state;
            for (uint32_t k = 0; k < tl_length[token] && at; k++)
                at = tl_next[at][tl_bytes[token][k]];
            if (at)
                tl_mask[token / 32] |= 1u << token % 32;
            tl_logits[token] = (float)(guest_random(&seed) & 0xFFFF) * 0.001f;
        }
        float best = -1;
        uint32_t choice = 0;
        for (uint32_t token = 0; token < TL_VOCAB; token++)
            if (tl_mask[token / 32] >> token % 32 & 1 && tl_logits[token] > best)
                best = tl_logits[token], choice = token;
        for (uint32_t k = 0; k < tl_length[choice] && tl_next[state][tl_bytes[choice][k]]; k++)
            state = tl_next[state][tl_bytes[choice][k]];
        check = check * 31 + choice + state;
    }
    return (int32_t)check;
}
