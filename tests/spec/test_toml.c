/* links: engine/program
 * The public toml-test suite, TOML 1.0: every valid file gives the values that its JSON says,
 * every invalid file is refused with a line and a column. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/base/map.h"
#include "engine/program/toml.h"

struct member {
    char name[256];
    char *data;
    size_t bytes;
};

static struct {
    struct member *items;
    size_t count, capacity;
} members;
static struct map by_name;

/* Plain ustar out of xz; the archive has regular files and short names only. */
static int read_archive(void **state)
{
    (void)state;
    map_init(&by_name, NULL);
    FILE *in = popen("xz -dc tests/spec/toml-test.tar.xz", "r");
    assert_non_null(in);
    char header[512];
    while (fread(header, 1, sizeof header, in) == sizeof header && header[0] != 0) {
        size_t bytes = strtoul(header + 124, NULL, 8);
        char *data = calloc(1, bytes + 1);
        assert_int_equal(fread(data, 1, bytes, in), bytes);
        for (size_t pad = (512 - bytes % 512) % 512; pad > 0; pad--)
            (void)fgetc(in);
        if (header[156] != '0') {
            free(data);
            continue;
        }
        if (members.count == members.capacity) {
            members.capacity = members.capacity == 0 ? 1024 : members.capacity * 2;
            members.items = realloc(members.items, members.capacity * sizeof *members.items);
        }
        struct member *member = &members.items[members.count++];
        *member = (struct member){.data = data, .bytes = bytes};
        (void)snprintf(member->name, sizeof member->name, "%.*s%s%.*s", 155, header + 345,
                       header[345] != 0 ? "/" : "", 100, header);
    }
    (void)pclose(in);
    for (size_t i = 0; i < members.count; i++)
        assert_true(map_set(&by_name, members.items[i].name, strlen(members.items[i].name),
                            &members.items[i]));
    return members.count > 700 ? 0 : -1;
}

static int forget_archive(void **state)
{
    (void)state;
    for (size_t i = 0; i < members.count; i++)
        free(members.items[i].data);
    free(members.items);
    map_deinit(&by_name);
    return 0;
}

/* RFC 3339 with capital letters, without zeros at the end of a fraction. */
static void canonical_moment(const char *text, char out[64])
{
    size_t count = 0;
    for (size_t i = 0; text[i] != 0 && count < 60; i++) {
        char c = text[i];
        if (i == 10 && c == ' ')
            c = 'T';
        if (c == 't')
            c = 'T';
        if (c == 'z')
            c = 'Z';
        if (c == '.') {
            size_t end = i + 1, last = i;
            while (text[end] >= '0' && text[end] <= '9') {
                if (text[end] != '0')
                    last = end;
                end++;
            }
            for (size_t j = i; last != i && j <= last && j < i + 4; j++)
                out[count++] = text[j];
            i = end - 1;
            continue;
        }
        out[count++] = c;
    }
    out[count] = 0;
}

static bool equal(const struct prog_toml_value *value, json_t *expected)
{
    if (json_is_array(expected)) {
        if (value->kind != PROG_TOML_ARRAY || value->of.array.count != json_array_size(expected))
            return false;
        for (uint32_t i = 0; i < value->of.array.count; i++)
            if (!equal(value->of.array.items[i], json_array_get(expected, i)))
                return false;
        return true;
    }
    json_t *type = json_object_get(expected, "type"), *text = json_object_get(expected, "value");
    if (!json_is_string(type) || !json_is_string(text)) {
        if (value->kind != PROG_TOML_TABLE || value->of.table.count != json_object_size(expected))
            return false;
        for (uint32_t i = 0; i < value->of.table.count; i++) {
            const struct prog_toml_entry *entry = &value->of.table.entries[i];
            bool nul = entry->key_bytes == 1 && entry->key[0] == 0;
            json_t *child = nul ? json_object_get(expected, "\xEE\x80\x80")
                                : json_object_getn(expected, entry->key, entry->key_bytes);
            if (child == NULL || !equal(entry->value, child))
                return false;
        }
        return true;
    }
    const char *word = json_string_value(text), *kind = json_string_value(type);
    static const struct {
        enum prog_toml_kind kind;
        const char *name;
    } kinds[] = {{PROG_TOML_STRING, "string"},     {PROG_TOML_INTEGER, "integer"},
                 {PROG_TOML_FLOAT, "float"},       {PROG_TOML_BOOL, "bool"},
                 {PROG_TOML_DATETIME, "datetime"}, {PROG_TOML_DATETIME_LOCAL, "datetime-local"},
                 {PROG_TOML_DATE, "date-local"},   {PROG_TOML_TIME, "time-local"}};
    size_t k = 0;
    while (k < sizeof kinds / sizeof kinds[0] && strcmp(kinds[k].name, kind) != 0)
        k++;
    assert_true(k < sizeof kinds / sizeof kinds[0]);
    if (value->kind != kinds[k].kind)
        return false;
    switch (value->kind) {
    case PROG_TOML_STRING:
        return value->of.string.bytes == json_string_length(text) &&
               memcmp(value->of.string.data, word, value->of.string.bytes) == 0;
    case PROG_TOML_INTEGER: return value->of.integer == strtoll(word, NULL, 10);
    case PROG_TOML_FLOAT: {
        double number = strtod(word, NULL);
        if (isnan(number))
            return isnan(value->of.number) != 0;
        return isinf(number) ? value->of.number == number
                             : fabs(value->of.number - number) <= 1e-14 * fabs(number);
    }
    case PROG_TOML_BOOL: return value->of.boolean == (strcmp(word, "true") == 0);
    case PROG_TOML_DATETIME:
    case PROG_TOML_DATETIME_LOCAL:
    case PROG_TOML_DATE:
    case PROG_TOML_TIME: {
        char mine[64], theirs[64];
        canonical_moment(value->of.string.data, mine);
        canonical_moment(word, theirs);
        return strcmp(mine, theirs) == 0;
    }
    case PROG_TOML_ARRAY:
    case PROG_TOML_TABLE: break;
    }
    return false;
}

static void valid_files(void **state)
{
    (void)state;
    size_t tried = 0, bad = 0;
    for (size_t i = 0; i < members.count; i++) {
        struct member *member = &members.items[i];
        size_t length = strlen(member->name);
        if (strncmp(member->name, "toml-test/valid/", 16) != 0 ||
            strcmp(member->name + length - 5, ".toml") != 0)
            continue;
        char json_name[256];
        (void)snprintf(json_name, sizeof json_name, "%.*s.json", (int)length - 5, member->name);
        struct member *json = map_find(&by_name, json_name, strlen(json_name));
        assert_non_null(json);
        /* jansson reads no zero in a key: one file has it, as a key of its own. */
        for (char *key = json->data; (key = strstr(key, "\"\\u0000\":")) != NULL;)
            memcpy(key, "\"\\ue000\"", 8);
        json_error_t error;
        json_t *expected = json_loadb(json->data, json->bytes, JSON_ALLOW_NUL, &error);
        if (expected == NULL)
            print_message("%s: %s\n", json_name, error.text);
        assert_non_null(expected);
        struct report report = {0};
        struct prog_toml toml;
        struct mem_heap heap = {0};
        tried++;
        if (prog_toml_parse(member->data, member->bytes, &heap, &toml, &report) != ERR_OK) {
            print_message("%s: %s\n", member->name, report.text);
            bad++;
        } else {
            if (!equal(toml.root, expected)) {
                print_message("%s: other values\n", member->name);
                bad++;
            }
            prog_toml_deinit(&toml);
        }
        assert_int_equal(heap.used_bytes, 0);
        json_decref(expected);
    }
    print_message("note: toml-test: %zu valid files\n", tried);
    assert_true(tried > 150);
    assert_int_equal(bad, 0);
}

static void invalid_files(void **state)
{
    (void)state;
    size_t tried = 0, bad = 0;
    for (size_t i = 0; i < members.count; i++) {
        struct member *member = &members.items[i];
        if (strncmp(member->name, "toml-test/invalid/", 18) != 0)
            continue;
        struct report report = {0};
        struct prog_toml toml;
        struct mem_heap heap = {0};
        tried++;
        if (prog_toml_parse(member->data, member->bytes, &heap, &toml, &report) == ERR_OK) {
            print_message("%s: accepted\n", member->name);
            prog_toml_deinit(&toml);
            bad++;
        } else if (strncmp(report.text, "line ", 5) != 0) {
            print_message("%s: %s\n", member->name, report.text);
            bad++;
        }
        assert_int_equal(heap.used_bytes, 0);
    }
    print_message("note: toml-test: %zu invalid files\n", tried);
    assert_true(tried > 300);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_files),
        cmocka_unit_test(invalid_files),
    };
    return cmocka_run_group_tests(tests, read_archive, forget_archive);
}
