/* In the manner of CoreMark: list, matrix, state machine, checksum. Not its code. */
#include "bench/wasm/guest.h"

enum { CM_NODES = 120, CM_DIM = 12 };
struct cm_node {
    struct cm_node *next;
    int16_t key, data;
};
static struct cm_node cm_nodes[CM_NODES];
static int16_t cm_a[CM_DIM][CM_DIM], cm_b[CM_DIM][CM_DIM];
static int32_t cm_c[CM_DIM][CM_DIM];
static const char cm_text[] = "5012,1.25e3,-12,+7.5,0x1F,T0.3e-5,88,  ,12.5E+2,abc,-,3.,99999,.5";

static uint16_t cm_crc(uint32_t value, uint16_t crc)
{
    for (int i = 0; i < 16; i++) {
        bool carry = ((value ^ crc) & 1) != 0;
        value >>= 1;
        crc = (uint16_t)(crc >> 1);
        if (carry)
            crc ^= 0xA001;
    }
    return crc;
}

NOINLINE static struct cm_node *cm_merge(struct cm_node *a, struct cm_node *b)
{
    struct cm_node head, *tail = &head;
    while (a && b) {
        struct cm_node **least = a->key <= b->key ? &a : &b;
        tail->next = *least;
        tail = *least;
        *least = (*least)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

NOINLINE static struct cm_node *cm_sort(struct cm_node *list)
{
    if (!list || !list->next)
        return list;
    struct cm_node *slow = list, *fast = list->next;
    while (fast && fast->next) {
        slow = slow->next;
        fast = fast->next->next;
    }
    struct cm_node *half = slow->next;
    slow->next = NULL;
    return cm_merge(cm_sort(list), cm_sort(half));
}

NOINLINE static uint16_t cm_list(uint32_t *seed, uint16_t crc)
{
    for (int i = 0; i < CM_NODES; i++) {
        cm_nodes[i].next = i + 1 < CM_NODES ? &cm_nodes[i + 1] : NULL;
        cm_nodes[i].key = (int16_t)(guest_random(seed) & 0x7FF);
        cm_nodes[i].data = (int16_t)i;
    }
    struct cm_node *list = cm_sort(cm_nodes);
    for (int look = 0; look < 16; look++) {
        struct cm_node *at = list;
        while (at && at->data != look * 7)
            at = at->next;
        crc = cm_crc(at ? (uint32_t)at->key : 0u, crc);
    }
    struct cm_node *reversed = NULL;
    while (list) {
        struct cm_node *next = list->next;
        list->next = reversed;
        reversed = list;
        list = next;
    }
    return cm_crc((uint32_t)reversed->key, crc);
}

NOINLINE static uint16_t cm_matrix(uint32_t *seed, uint16_t crc)
{
    for (int i = 0; i < CM_DIM; i++)
        for (int j = 0; j < CM_DIM; j++) {
            cm_a[i][j] = (int16_t)(guest_random(seed) & 0xFF);
            cm_b[i][j] = (int16_t)(guest_random(seed) & 0xFF);
        }
    int32_t sum = 0;
    for (int i = 0; i < CM_DIM; i++)
        for (int j = 0; j < CM_DIM; j++) {
            int32_t dot = 0;
            for (int k = 0; k < CM_DIM; k++)
                dot += cm_a[i][k] * cm_b[k][j];
            cm_c[i][j] = dot;
            sum += (dot >> 2 & 0xF) * (dot >> 5 & 0x7F);
        }
    return cm_crc((uint32_t)sum, crc);
}

NOINLINE static uint16_t cm_states(uint16_t crc)
{
    enum { START, INTEGER, FRACTION, EXPONENT, SIGN, INVALID, STATES } state = START;
    uint32_t seen[STATES] = {0};
    for (const char *p = cm_text; *p; p++) {
        char c = *p;
        if (c == ',') {
            seen[state]++;
            state = START;
            continue;
        }
        bool digit = c >= '0' && c <= '9';
        switch (state) {
        case START:
            state = digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? FRACTION : INVALID;
            break;
        case SIGN:
            state = digit ? INTEGER : c == '.' ? FRACTION : INVALID;
            break;
        case INTEGER:
            state = digit ? INTEGER : c == '.' ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : INVALID;
            break;
        case FRACTION:
            state = digit ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : INVALID;
            break;
        case EXPONENT:
            state = digit || c == '+' || c == '-' ? EXPONENT : INVALID;
            break;
        default:
            break;
        }
    }
    for (int i = 0; i < STATES; i++)
        crc = cm_crc(seen[i], crc);
    return crc;
}

GUEST(coremark)
{
    uint16_t crc = 0;
    uint32_t seed = 1;
    for (int32_t i = 0; i < n; i++) {
        crc = cm_list(&seed, crc);
        crc = cm_matrix(&seed, crc);
        crc = cm_states(crc);
    }
    return crc;
}
