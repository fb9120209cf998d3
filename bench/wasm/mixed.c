/* Many small jobs in the manner of ordinary programs. Not part of the table: the interpreter's
 * fused instructions are chosen on it too, so that they do not fit the table alone. */
#include "bench/wasm/guest.h"

static uint8_t mx_text[4096], mx_packed[8192], mx_plain[4096];
static uint32_t mx_crc[256], mx_heap[512], mx_distance[512], mx_big[2][64];
static int16_t mx_pixels[64], mx_freq[64];
struct mx_tree {
    struct mx_tree *left, *right;
    int32_t key;
};
static struct mx_tree mx_nodes[600];

static void mx_fill(uint32_t *seed)
{
    static const char *const words[] = {"alpha", "beta ", "gamma, ", "of the ", "and ", "x=", "\n", "42"};
    uint32_t at = 0;
    while (at < sizeof mx_text - 8)
        for (const char *w = words[guest_random(seed) % 8]; *w; w++)
            mx_text[at++] = (uint8_t)*w;
    mx_text[at] = 0;
}

NOINLINE static uint32_t mx_compress(void)
{
    static uint16_t table[1024];
    memset(table, 0, sizeof table);
    uint32_t at = 0, out = 0, end = sizeof mx_text - 8;
    while (at < end) {
        uint32_t four = mx_text[at] | (uint32_t)mx_text[at + 1] << 8 |
                        (uint32_t)mx_text[at + 2] << 16 | (uint32_t)mx_text[at + 3] << 24;
        uint32_t slot = four * 2654435761u >> 22, from = table[slot], length = 0;
        table[slot] = (uint16_t)at;
        while (from < at && at + length < end && length < 255 &&
               mx_text[from + length] == mx_text[at + length])
            length++;
        if (length >= 4) {
            mx_packed[out++] = 0xFF;
            mx_packed[out++] = (uint8_t)length;
            mx_packed[out++] = (uint8_t)(at - from);
            mx_packed[out++] = (uint8_t)((at - from) >> 8);
            at += length;
        } else {
            mx_packed[out++] = mx_text[at++];
        }
    }
    uint32_t plain = 0;
    for (uint32_t i = 0; i < out;) {
        if (mx_packed[i] == 0xFF) {
            uint32_t length = mx_packed[i + 1], back = mx_packed[i + 2] | (uint32_t)mx_packed[i + 3] << 8;
            for (; length > 0; length--, plain++)
                mx_plain[plain] = mx_plain[plain - back];
            i += 4;
        } else {
            mx_plain[plain++] = mx_packed[i++];
        }
    }
    return out + mx_plain[plain / 2];
}

NOINLINE static uint32_t mx_checksum(const uint8_t *data, uint32_t count)
{
    if (!mx_crc[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
            mx_crc[i] = c;
        }
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < count; i++)
        crc = mx_crc[(crc ^ data[i]) & 0xFF] ^ crc >> 8;
    return crc;
}

NOINLINE static uint32_t mx_base64(uint32_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t out = 0;
    for (uint32_t i = 0; i + 2 < count; i += 3) {
        uint32_t v = (uint32_t)mx_text[i] << 16 | (uint32_t)mx_text[i + 1] << 8 | mx_text[i + 2];
        mx_packed[out++] = (uint8_t)digits[v >> 18];
        mx_packed[out++] = (uint8_t)digits[v >> 12 & 63];
        mx_packed[out++] = (uint8_t)digits[v >> 6 & 63];
        mx_packed[out++] = (uint8_t)digits[v & 63];
    }
    return out;
}

NOINLINE static int32_t mx_queens(uint32_t columns, uint32_t left, uint32_t right, uint32_t all)
{
    if (columns == all)
        return 1;
    int32_t count = 0;
    for (uint32_t open = all & ~(columns | left | right); open; open &= open - 1) {
        uint32_t bit = open & -open;
        count += mx_queens(columns | bit, (left | bit) << 1 & all, (right | bit) >> 1, all);
    }
    return count;
}

NOINLINE static uint32_t mx_paths(uint32_t *seed)
{
    uint32_t count = 0, sum = 0;
    for (int i = 0; i < 512; i++)
        mx_distance[i] = ~0u;
    mx_distance[0] = 0;
    mx_heap[count++] = 0;
    while (count > 0) {
        uint32_t node = mx_heap[0], last = mx_heap[--count], at = 0;
        for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
            if (child + 1 < count && mx_distance[mx_heap[child + 1]] < mx_distance[mx_heap[child]])
                child++;
            if (mx_distance[mx_heap[child]] >= mx_distance[last])
                break;
            mx_heap[at] = mx_heap[child];
        }
        mx_heap[at] = last;
        for (uint32_t k = 1; k <= 3; k++) {
            uint32_t to = (node * 3 + k * 7) % 512, cost = mx_distance[node] + guest_random(seed) % 50;
            if (mx_distance[to] != ~0u)
                continue;
            mx_distance[to] = cost;
            uint32_t up = count++;
            while (up > 0 && mx_distance[mx_heap[(up - 1) / 2]] > cost) {
                mx_heap[up] = mx_heap[(up - 1) / 2];
                up = (up - 1) / 2;
            }
            mx_heap[up] = to;
        }
        sum += mx_distance[node];
    }
    return sum;
}

NOINLINE static uint32_t mx_format(char *out, int64_t value, uint32_t base)
{
    char digits[70];
    uint32_t count = 0, at = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        digits[count++] = "0123456789abcdef"[rest % base];
    while (rest /= base);
    if (value < 0)
        out[at++] = '-';
    while (count > 0)
        out[at++] = digits[--count];
    out[at] = 0;
    return at;
}

NOINLINE static uint32_t mx_multiply(void)
{
    static uint32_t product[128];
    memset(product, 0, sizeof product);
    for (int i = 0; i < 64; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < 64; j++) {
            carry += (uint64_t)mx_big[0][i] * mx_big[1][j] + product[i + j];
            product[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        product[i + 64] = (uint32_t)carry;
    }
    return product[70] ^ product[3];
}

NOINLINE static int32_t mx_transform(void)
{
    static const float cosines[8] = {1, 0.98f, 0.92f, 0.83f, 0.7f, 0.55f, 0.38f, 0.19f};
    int32_t sum = 0;
    for (int v = 0; v < 8; v++)
        for (int u = 0; u < 8; u++) {
            float total = 0;
            for (int y = 0; y < 8; y++)
                for (int x = 0; x < 8; x++)
                    total += mx_pixels[y * 8 + x] * cosines[x * u & 7] * cosines[y * v & 7];
            int q = (int)(total / (float)(1 + u + v));
            q = q > 2047 ? 2047 : q < -2048 ? -2048 : q;
            mx_freq[v * 8 + u] = (int16_t)q;
            sum += q;
        }
    return sum;
}

NOINLINE static struct mx_tree *mx_insert(struct mx_tree *tree, struct mx_tree *node)
{
    if (!tree)
        return node;
    if (node->key < tree->key)
        tree->left = mx_insert(tree->left, node);
    else
        tree->right = mx_insert(tree->right, node);
    return tree;
}
NOINLINE static int32_t mx_depth(const struct mx_tree *tree)
{
    if (!tree)
        return 0;
    int32_t left = mx_depth(tree->left), right = mx_depth(tree->right);
    return 1 + (left > right ? left : right);
}

NOINLINE static uint32_t mx_tokens(const uint8_t *text)
{
    uint32_t words = 0, numbers = 0, lines = 0, points = 0;
    while (*text) {
        uint8_t c = *text;
        if ((c | 32) >= 'a' && (c | 32) <= 'z') {
            words++;
            do
                text++;
            while ((*text | 32) >= 'a' && (*text | 32) <= 'z');
        } else if (c >= '0' && c <= '9') {
            uint32_t value = 0;
            while (*text >= '0' && *text <= '9')
                value = value * 10 + (uint32_t)(*text++ - '0');
            numbers += value;
        } else {
            switch (c) {
            case '\n':
                lines++;
                break;
            case ',': case '.': case '=':
                points++;
                break;
            default:
                break;
            }
            text++;
        }
    }
    return words * 31 + numbers + lines * 7 + points;
}

GUEST(mixed)
{
    uint32_t seed = 1, sum = 0;
    char out[80];
    for (int32_t round = 0; round < n; round++) {
        mx_fill(&seed);
        sum += mx_compress() + mx_checksum(mx_text, 4000) + mx_base64(4000) + mx_tokens(mx_text);
        sum += (uint32_t)mx_queens(0, 0, 0, 0x7F) + mx_paths(&seed);
        for (int i = 0; i < 64; i++) {
            mx_big[0][i] = seed * (uint32_t)i;
            mx_big[1][i] = seed ^ (uint32_t)i;
            mx_pixels[i] = (int16_t)(guest_random(&seed) & 0xFF);
            sum += mx_format(out, (int64_t)guest_random(&seed) * (i - 30) * 77777, i & 1 ? 10 : 16);
        }
        sum += mx_multiply() + (uint32_t)mx_transform();
        struct mx_tree *tree = NULL;
        for (int i = 0; i < 600; i++) {
            mx_nodes[i] = (struct mx_tree){NULL, NULL, (int32_t)guest_random(&seed)};
            tree = mx_insert(tree, &mx_nodes[i]);
        }
        sum += (uint32_t)mx_depth(tree);
    }
    return (int32_t)sum;
}
