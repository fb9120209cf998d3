#include "cli/fold.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/vec.h"

/* [+-]digits that fit in 64 bits. */
static bool read_i64(const char *word, int64_t *value)
{
    const char *at = word;
    if (*at == '+' || *at == '-')
        at++;
    if (*at == '\0')
        return false;
    for (const char *digit = at; *digit; digit++)
        if (*digit < '0' || *digit > '9')
            return false;
    errno = 0;
    *value = strtoll(word, NULL, 10);
    return errno == 0;
}

/* Decimal floating point only: [+-] digits [. digits] [e [+-] digits], one digit at least. */
static bool read_f64(const char *word, double *value)
{
    const char *at = word;
    bool digits = false;
    if (*at == '+' || *at == '-')
        at++;
    for (; isdigit((unsigned char)*at); at++)
        digits = true;
    if (*at == '.')
        for (at++; isdigit((unsigned char)*at); at++)
            digits = true;
    if (!digits)
        return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '+' || *at == '-')
            at++;
        if (!isdigit((unsigned char)*at))
            return false;
        while (isdigit((unsigned char)*at))
            at++;
    }
    if (*at)
        return false;
    *value = strtod(word, NULL);
    return isfinite(*value);
}

bool fold_put_f64(struct buf *json, double value)
{
    char text[40];
    char digits[24];
    int precision = 0;
    do
        (void)snprintf(text, sizeof text, "%.*e", precision, value);
    while (strtod(text, NULL) != value && ++precision < 17);
    /* text is [-]d[.ddd]e[+-]xx */
    const char *at = text;
    if (*at == '-') {
        (void)buf_putc(json, '-');
        at++;
    }
    int count = 0;
    for (; *at != 'e'; at++)
        if (*at != '.')
            digits[count++] = *at;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    int point = atoi(at + 1) + 1; /* digits in front of the decimal point */
    if (value == 0)
        point = 1;
    if (point > 0 && point <= 16) {
        for (int i = 0; i < count || i < point; i++) {
            if (i == point)
                (void)buf_putc(json, '.');
            (void)buf_putc(json, i < count ? digits[i] : '0');
        }
        if (count <= point)
            (void)buf_puts(json, ".0");
    } else if (point > -5 && point <= 0) {
        (void)buf_puts(json, "0.");
        for (int i = point; i < 0; i++)
            (void)buf_putc(json, '0');
        (void)buf_append(json, digits, (size_t)count);
    } else {
        (void)buf_putc(json, digits[0]);
        if (count > 1) {
            (void)buf_putc(json, '.');
            (void)buf_append(json, digits + 1, (size_t)count - 1);
        }
        (void)buf_printf(json, "e%d", point - 1);
    }
    return !json->failed;
}

static void put_typed(struct buf *json, const char *word)
{
    int64_t whole;
    double number;
    if (read_i64(word, &whole))
        (void)buf_printf(json, "%lld", (long long)whole);
    else if (read_f64(word, &number))
        (void)fold_put_f64(json, number);
    else if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
        (void)buf_puts(json, word);
    else
        (void)buf_put_json(json, word, strlen(word));
}

/* A flag's key (dashes are underscores) and its value; NULL stands for `true`. */
struct member {
    char *key;
    const char *value;
};
struct members {
    struct member *items;
    size_t count, capacity;
};

/* The last value wins, at the place of the first. Takes `key`. */
static bool set_member(struct members *members, char *key, const char *value)
{
    if (!key)
        return false;
    for (size_t i = 0; i < members->count; i++)
        if (strcmp(members->items[i].key, key) == 0) {
            mem_free(NULL, key);
            members->items[i].value = value;
            return true;
        }
    if (!vec_push(NULL, members, ((struct member){key, value}))) {
        mem_free(NULL, key);
        return false;
    }
    return true;
}

static char *long_key(const char *word)
{
    char *key = mem_strdup(NULL, word + 2, strlen(word + 2));
    for (char *at = key; at && *at; at++)
        if (*at == '-')
            *at = '_';
    return key;
}

static bool collect(char *const *words, size_t count, struct members *members,
                    struct buf *positionals)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const char *word = words[i];
        bool has_next = i + 1 < count;
        if (word[0] == '-' && word[1] == '-') {
            bool has_value = has_next && words[i + 1][0] != '-';
            ok = set_member(members, long_key(word), has_value ? words[i + 1] : NULL);
            i += has_value;
        } else if (word[0] == '-' && strlen(word) == 2) {
            if (has_next)
                ok = set_member(members, mem_strdup(NULL, word + 1, 1), words[i + 1]);
            i++; /* a lone short flag at the end is dropped */
        } else {
            if (positionals->count)
                (void)buf_putc(positionals, ',');
            put_typed(positionals, word);
            ok = !positionals->failed;
        }
    }
    return ok;
}

bool fold_words(char *const *words, size_t count, struct buf *json)
{
    struct members members = {0};
    struct buf positionals;
    buf_init(&positionals, NULL);
    bool ok = collect(words, count, &members, &positionals);
    if (ok && positionals.count) {
        /* `_positional` comes last unless a flag of that name claimed a place before. */
        ok = buf_putc(&positionals, ']') &&
             set_member(&members, mem_strdup(NULL, "_positional", 11), positionals.data);
    }
    (void)buf_putc(json, '{');
    for (size_t i = 0; ok && i < members.count; i++) {
        const struct member *member = &members.items[i];
        (void)buf_puts(json, i ? "," : "");
        (void)buf_put_json(json, member->key, strlen(member->key));
        (void)buf_putc(json, ':');
        if (!member->value) {
            (void)buf_puts(json, "true");
        } else if (member->value == positionals.data) {
            (void)buf_putc(json, '[');
            (void)buf_puts(json, member->value);
        } else {
            put_typed(json, member->value);
        }
    }
    (void)buf_putc(json, '}');
    for (size_t i = 0; i < members.count; i++)
        mem_free(NULL, members.items[i].key);
    vec_free(NULL, &members);
    buf_deinit(&positionals);
    return ok && !json->failed;
}
