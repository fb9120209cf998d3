/* links: engine/grammar
 * The public JSON-Schema-Test-Suite, draft 2020-12: every schema becomes a grammar, every instance
 * goes through a matcher byte by byte. Not all of the standard can be a grammar: COUNTS holds, per
 * file, how many assertions hold; fewer or more fail the test. --verbose names those that do not
 * hold, --counts prints the lines of COUNTS.
 *
 * Objects are written with their properties in the schema's order, because grammars ask for it
 * (see schema.c); "as written" counts the valid instances that pass in the suite's own order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/grammar/gram.h"
#include "tests/vectors/tokenizer/vocab.h"

/* 0.1 stays 0.1 */
#define TEXT (JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15))

static struct tok *tok;
static struct gram_vocab *vocab;
static bool verbose, print_counts;

struct counts {
    int valid, accepted, as_written, invalid, refused, unsupported;
};

/* Whether the matcher takes the text and may end there; it is left at the beginning. */
static bool takes(struct gram_matcher *matcher, const char *text)
{
    bool ok = true;
    for (size_t i = 0; text[i] && ok; i++) {
        struct report report = {0};
        ok = gram_matcher_accept(matcher, tok_find(tok, text + i, 1), &report) == ERR_OK;
    }
    ok = ok && gram_matcher_can_end(matcher);
    gram_matcher_reset(matcher);
    return ok;
}

/* Names of properties as the schema brings them up, from the outside in: those of "properties", then
 * those of "required". */
static void collect_names(json_t *schema, json_t *names)
{
    const char *key;
    json_t *value;
    size_t i;
    if (json_is_array(schema)) {
        json_array_foreach(schema, i, value)
        {
            collect_names(value, names);
        }
        return;
    }
    json_t *properties = json_object_get(schema, "properties");
    if (json_is_object(properties))
        json_object_foreach(properties, key, value)
        {
            if (!json_object_get(names, key))
                (void)json_object_set_new(names, key, json_null());
        }
    json_array_foreach(json_object_get(schema, "required"), i, value)
    {
        if (json_is_string(value) && !json_object_get(names, json_string_value(value)))
            (void)json_object_set_new(names, json_string_value(value), json_null());
    }
    json_object_foreach(schema, key, value)
    {
        collect_names(value, names);
    }
}

static json_t *in_order(json_t *value, json_t *names)
{
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_array(value)) {
        json_t *list = json_array();
        json_array_foreach(value, i, item)
        {
            (void)json_array_append_new(list, in_order(item, names));
        }
        return list;
    }
    if (!json_is_object(value))
        return json_incref(value);
    json_t *object = json_object();
    json_object_foreach(names, key, item)
    {
        json_t *member = json_object_get(value, key);
        if (member)
            (void)json_object_set_new(object, key, in_order(member, names));
    }
    json_object_foreach(value, key, item)
    {
        if (!json_object_get(object, key))
            (void)json_object_set_new(object, key, in_order(item, names));
    }
    return object;
}

static void run_group(const char *file, json_t *group, struct counts *counts)
{
    json_t *schema = json_object_get(group, "schema"), *test;
    char *text = json_dumps(schema, TEXT);
    struct report report = {0};
    struct gram *gram;
    struct gram_matcher *matcher = NULL;
    size_t i;
    bool made = gram_from_json_schema(text, strlen(text), &gram, &report) == ERR_OK;
    if (made)
        assert_int_equal(gram_matcher_create(gram, vocab, NULL, 0, NULL, &matcher, &report),
                         ERR_OK);
    bool nothing = !made && strstr(report.text, "No text can match");
    if (!made && !nothing && verbose)
        print_message("%s: %s: %s\n", file, json_string_value(json_object_get(group, "description")),
                      report.text);
    counts->unsupported += !made && !nothing;
    json_t *names = json_object();
    collect_names(schema, names);
    json_array_foreach(json_object_get(group, "tests"), i, test)
    {
        json_t *data = json_object_get(test, "data"), *ordered = in_order(data, names);
        char *written = json_dumps(data, TEXT);
        char *sorted = json_dumps(ordered, TEXT);
        bool valid = json_is_true(json_object_get(test, "valid"));
        bool as_written = made && takes(matcher, written);
        bool either = made && (takes(matcher, sorted) || as_written);
        if (valid) {
            counts->valid++;
            counts->as_written += as_written;
            counts->accepted += either;
        } else {
            counts->invalid++;
            counts->refused += nothing || (made && !either);
        }
        if (verbose && made && either != valid)
            print_message("%s: %s: %s: %s %s\n", file,
                          json_string_value(json_object_get(group, "description")),
                          json_string_value(json_object_get(test, "description")), sorted,
                          valid ? "refused" : "accepted");
        free(written);
        free(sorted);
        json_decref(ordered);
    }
    json_decref(names);
    free(text);
    if (made) {
        gram_matcher_destroy(matcher);
        gram_unref(gram);
    }
}

/* What COUNTS says about the file; false: nothing. */
static bool known_counts(const char *file, struct counts *counts)
{
    FILE *in = fopen("tests/spec/json-schema/COUNTS", "r");
    char line[200], name[100];
    bool found = false;
    assert_non_null(in);
    while (!found && fgets(line, sizeof line, in))
        found = sscanf(line, "%99s %d %d", name, &counts->accepted, &counts->refused) == 3 &&
                strcmp(name, file) == 0;
    (void)fclose(in);
    return found;
}

static void suite(void **state)
{
    (void)state;
    struct counts all = {0};
    int wrong = 0;
    /* plain ustar out of xz; the archive has regular files and short names only */
    FILE *in = popen("xz -dc tests/spec/json-schema.tar.xz", "r");
    assert_non_null(in);
    char header[512];
    while (fread(header, 1, sizeof header, in) == sizeof header && header[0] != 0) {
        size_t bytes = strtoul(header + 124, NULL, 8);
        char *data = calloc(1, bytes + 1);
        assert_int_equal(fread(data, 1, bytes, in), bytes);
        for (size_t pad = (512 - bytes % 512) % 512; pad > 0; pad--)
            (void)fgetc(in);
        const char *file = strrchr(header, '/') + 1;
        if (header[156] == '0' && strstr(file, ".json")) {
            struct counts counts = {0}, known = {0};
            json_t *groups = json_loadb(data, bytes, JSON_ALLOW_NUL, NULL), *group;
            size_t i;
            assert_non_null(groups);
            json_array_foreach(groups, i, group)
            {
                run_group(file, group, &counts);
            }
            json_decref(groups);
            if (print_counts)
                (void)printf("%-28s %3d %3d   of %d %d\n", file, counts.accepted, counts.refused,
                             counts.valid, counts.invalid);
            else if (!known_counts(file, &known) || known.accepted != counts.accepted ||
                     known.refused != counts.refused) {
                print_message("%s: %d of %d valid accepted (COUNTS: %d), %d of %d invalid refused "
                              "(COUNTS: %d)\n",
                              file, counts.accepted, counts.valid, known.accepted, counts.refused,
                              counts.invalid, known.refused);
                wrong++;
            }
            all.valid += counts.valid;
            all.accepted += counts.accepted;
            all.as_written += counts.as_written;
            all.invalid += counts.invalid;
            all.refused += counts.refused;
            all.unsupported += counts.unsupported;
        }
        free(data);
    }
    (void)pclose(in);
    print_message("note: JSON Schema: %d of %d valid accepted (%d as written), %d of %d invalid "
                  "refused, %d schemas not supported\n",
                  all.accepted, all.valid, all.as_written, all.refused, all.invalid,
                  all.unsupported);
    assert_true(all.valid > 500);
    assert_int_equal(wrong, 0);
}

static int open_all(void **state)
{
    (void)state;
    struct report report = {0};
    tok = vocab_open("llama-bpe");
    return gram_vocab_create(tok, &vocab, &report) == ERR_OK ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    gram_vocab_unref(vocab);
    tok_destroy(tok);
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        verbose |= strcmp(argv[i], "--verbose") == 0;
        print_counts |= strcmp(argv[i], "--counts") == 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(suite)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
