/* links: engine/program */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/program/program.h"
#include "engine/program/toml.h"

/* An empty core module is a program, too. */
static const uint8_t empty_wasm[] = {0, 'a', 's', 'm', 1, 0, 0, 0};

static const char good[] = "[package]\n"
                           "name = \"hello_World-1\"\n"
                           "version = \"1.20.3\"\n"
                           "description = \"says hello\"\n"
                           "authors = [\"A\", \"B\"]\n"
                           "repository = \"https://example.org\"\n"
                           "unknown = 1\n"
                           "[runtime]\n"
                           "core = \"^0.2.0\"\n"
                           "python-runtime = \"^0.4.0\"\n"
                           "[parameters]\n"
                           "prompt = { type = \"string\", description = \"what to say\" }\n"
                           "count = { type = \"int\", optional = true }\n"
                           "[dependencies]\n"
                           "lib = \"0.1.0\"\n";

static void manifest_is_read(void **state)
{
    (void)state;
    struct mem_heap heap = {0};
    struct prog_manifest manifest;
    struct report report = {0};
    assert_int_equal(prog_manifest_parse(good, strlen(good), "Pie.toml", &heap, &manifest, &report),
                     ERR_OK);
    assert_string_equal(manifest.name, "hello_World-1");
    assert_string_equal(manifest.version, "1.20.3");
    assert_string_equal(manifest.description, "says hello");
    assert_string_equal(manifest.readme, "");
    assert_int_equal(manifest.author_count, 2);
    assert_string_equal(manifest.authors[1], "B");
    assert_int_equal(manifest.runtime_count, 2);
    assert_string_equal(manifest.runtime[1].name, "python-runtime");
    assert_string_equal(manifest.runtime[0].value, "^0.2.0");
    assert_int_equal(manifest.parameter_count, 2);
    assert_string_equal(manifest.parameters[0].description, "what to say");
    assert_false(manifest.parameters[0].optional);
    assert_int_equal(manifest.parameters[1].type, PROG_TYPE_INT);
    assert_true(manifest.parameters[1].optional);
    assert_int_equal(manifest.dependency_count, 1);
    prog_manifest_deinit(&manifest);
    assert_int_equal(heap.used_bytes, 0);
}

static void manifest_errors_have_a_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"name = \"x\"\n", "Pie.toml, line 1, column 1: there is no [package] table: expected "
                           "[package] with name and version"},
        {"[package]\nversion = \"1.0.0\"\n", "Pie.toml, line 1, column 2: [package] has no `name`: "
                                             "expected name = \"...\""},
        {"[package]\nname = 3\nversion = \"1.0.0\"\n",
         "Pie.toml, line 2, column 8: package.name: expected a string, found an integer"},
        {"[package]\nname = \"../x\"\nversion = \"1.0.0\"\n",
         "Pie.toml, line 2, column 8: package.name: expected a letter or digit, then letters, "
         "digits, '-' and '_' (at most 128), found \"../x\""},
        {"[package]\nname = \"x\"\nversion = \"1.0\"\n",
         "Pie.toml, line 3, column 11: package.version: expected three numbers like \"1.2.3\", "
         "found \"1.0\""},
        {"[package]\nname = \"x\"\nversion = \"1.0.0-rc1\"\n",
         "Pie.toml, line 3, column 11: package.version: expected three numbers like \"1.2.3\", "
         "found \"1.0.0-rc1\""},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\n[parameters]\np = { type = \"text\" }\n",
         "Pie.toml, line 5, column 14: parameters.p.type: expected \"string\", \"int\", \"float\" "
         "or \"bool\", found \"text\""},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\n[parameters]\np = 1\n",
         "Pie.toml, line 5, column 5: parameters.p: expected a table such as { type = \"string\" "
         "}, found an integer"},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\n[runtime]\ncore = 1\n",
         "Pie.toml, line 5, column 8: runtime.core: expected a string, found an integer"},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\n[runtime]\ncore = \"soon\"\n",
         "Pie.toml, line 5, column 8: runtime.core: expected a version constraint such as "
         "\"^0.4.0\", found \"soon\""},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\n[dependencies]\nother = \"^1.0\"\n",
         "Pie.toml, line 5, column 9: dependencies.other: expected an exact version like "
         "\"1.2.3\", found \"^1.0\""},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\n[dependencies]\n\"../y\" = \"1.0.0\"\n",
         "Pie.toml, line 5, column 10: dependencies.../y: expected the name of a program: a letter "
         "or digit, then letters, digits, '-' and '_'"},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\nauthors = \"me\"\n",
         "Pie.toml, line 4, column 11: package.authors: expected an array of strings, found a "
         "string"},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\nkeywords = [1]\n",
         "Pie.toml, line 4, column 13: package.keywords: expected a string, found an integer"},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\nreadme = true\n",
         "Pie.toml, line 4, column 10: package.readme: expected a string, found a boolean"},
        {"[package]\nname = \"x\"\nversion = \"1.0.0\"\n[parameters]\np = { type = \"int\", "
         "optional = 1 }\n",
         "Pie.toml, line 5, column 32: parameters.p.optional: expected true or false, found an "
         "integer"},
        {"package = 1\n", "Pie.toml, line 1, column 11: package: expected a table ([package]), found "
                          "an integer"},
        {"[package\n", "Pie.toml, line 1, column 9: expected ']' or '.' in a table header, found "
                       "the end of the line"},
        {"[package]\nname = x\n",
         "Pie.toml, line 2, column 8: expected a value (a quoted string, number, true, false, "
         "date, array or inline table), found x"},
        {"[package]\nname = \"x\"\nname = \"y\"\n",
         "Pie.toml, line 3, column 1: \"name\" is already defined as a string on line 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct prog_manifest manifest;
        struct report report = {0};
        assert_int_equal(prog_manifest_parse(cases[i].text, strlen(cases[i].text), "Pie.toml", NULL,
                                             &manifest, &report),
                         ERR_INVALID);
        assert_string_equal(report.text, cases[i].message);
    }
}

static void manifest_survives_lack_of_memory(void **state)
{
    (void)state;
    struct mem_heap heap = {0};
    for (uint64_t nth = 1;; nth++) {
        struct prog_manifest manifest;
        struct report report = {0};
        (void)mem_fail_at(nth);
        enum err err =
            prog_manifest_parse(good, strlen(good), "Pie.toml", &heap, &manifest, &report);
        (void)mem_fail_at(0);
        if (err == ERR_OK) {
            prog_manifest_deinit(&manifest);
            assert_true(nth > 1);
            break;
        }
        assert_int_equal(err, ERR_MEMORY);
        assert_int_equal(heap.used_bytes, 0);
    }
    assert_int_equal(heap.used_bytes, 0);
}

static void toml_depth_is_bounded(void **state)
{
    (void)state;
    char text[20000];
    struct prog_toml toml;
    struct report report = {0};
    memset(text, '[', sizeof text);
    memcpy(text, "a=", 2);
    assert_int_equal(prog_toml_parse(text, sizeof text, NULL, &toml, &report), ERR_INVALID);
    assert_non_null(strstr(report.text, "nested deeper than 64"));
    report = (struct report){0};
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "a.", 2);
    assert_int_equal(prog_toml_parse(text, sizeof text, NULL, &toml, &report), ERR_INVALID);
    assert_non_null(strstr(report.text, "at most 64 parts"));
    report = (struct report){0};
    assert_int_equal(prog_toml_parse(text, PROG_TOML_BYTES_MAX + 1, NULL, &toml, &report),
                     ERR_LIMIT);
}

static void versions_have_an_order(void **state)
{
    (void)state;
    static const char *const rising[] = {"0.0.1",
                                         "0.0.10",
                                         "0.1.0",
                                         "0.9.9",
                                         "0.10.0",
                                         "1.0.0",
                                         "1.0.2",
                                         "2.0.0",
                                         "18446744073709551616.0.0",
                                         "18446744073709551617.0.0"};
    for (size_t i = 0; i < 10; i++)
        for (size_t j = 0; j < 10; j++) {
            int order = prog_version_compare(rising[i], rising[j]);
            assert_int_equal(order < 0, i < j);
            assert_int_equal(order > 0, i > j);
        }
    assert_int_equal(prog_version_compare("1.02.003", "01.2.3"), 0);
    static const char *const bad[] = {"",        "1",     "1.2",     "1.2.",   ".1.2",  "1..2",
                                      "1.2.3.4", "a.b.c", "1.2.3-x", "1.2.3 ", "-1.2.3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(prog_version_is_valid(bad[i], strlen(bad[i])));
    static const char *const names[] = {"", "-a", "_a", ".", "..", "a/b", "a.b", "a b", "\xC3\xA9"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(prog_name_is_valid(names[i], strlen(names[i])));
}

/* ---- the store ---------------------------------------------------------------------------- */

static struct prog *make(const char *name, const char *version, char text[200])
{
    struct prog *prog;
    struct report report = {0};
    (void)snprintf(text, 200, "[package]\nname = \"%s\"\nversion = \"%s\"\n", name, version);
    assert_int_equal(
        prog_create(text, strlen(text), "Pie.toml", empty_wasm, sizeof empty_wasm, &prog, &report),
        ERR_OK);
    return prog;
}

static void add(struct prog_store *store, const char *name, const char *version)
{
    char text[200];
    struct report report = {0};
    struct prog *prog = make(name, version, text);
    assert_int_equal(prog_store_add(store, prog, false, NULL, &report), ERR_OK);
    prog_unref(prog);
}

static void append_id(void *user, const char *id)
{
    struct buf *buf = user;
    (void)buf_printf(buf, "%s ", id);
}

static void store_finds_the_newest(void **state)
{
    (void)state;
    struct prog_store *store;
    struct report report = {0};
    char id[PROG_ID_BYTES];
    assert_int_equal(prog_store_create(NULL, NULL, &store, &report), ERR_OK);
    assert_int_equal(prog_store_find(store, "hello", id, &report), ERR_NOT_FOUND);
    assert_string_equal(report.text, "program \"hello\" is not installed; installed: none");
    add(store, "hello", "0.9.0");
    add(store, "hello", "0.10.0");
    add(store, "hello", "0.2.0");
    add(store, "abc", "1.0.0");
    report = (struct report){0};
    assert_int_equal(prog_store_find(store, "hello", id, &report), ERR_OK);
    assert_string_equal(id, "hello@0.10.0");
    assert_int_equal(prog_store_find(store, "hello@latest", id, &report), ERR_OK);
    assert_string_equal(id, "hello@0.10.0");
    assert_int_equal(prog_store_find(store, "hello@0.2.0", id, &report), ERR_OK);
    assert_string_equal(id, "hello@0.2.0");
    assert_int_equal(prog_store_find(store, "hello@0.3.0", id, &report), ERR_NOT_FOUND);
    assert_string_equal(report.text, "program \"hello@0.3.0\" is not installed; installed: "
                                     "abc@1.0.0, hello@0.10.0, hello@0.9.0, hello@0.2.0");
    static const char *const bad[] = {"",          "@",
                                      "hello@",    "hello@1",
                                      "../hello",  "hello@../1.0.0",
                                      "a/b@1.0.0", "hello@latest@latest"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        report = (struct report){0};
        assert_int_equal(prog_store_find(store, bad[i], id, &report), ERR_INVALID);
        assert_non_null(strstr(report.text, "is no program"));
    }
    prog_store_destroy(store);
}

/* Versions that are equal by number are different ids; which one is "latest" must not hang on the
 * order of a hash map. */
static void equal_versions_have_an_order(void **state)
{
    (void)state;
    static const char *const versions[] = {"1.2.3", "1.02.3", "01.2.3", "1.2.03", "1.2.003"};
    for (size_t first = 0; first < 5; first++) {
        struct prog_store *store;
        struct report report = {0};
        char id[PROG_ID_BYTES];
        struct buf ids;
        buf_init(&ids, NULL);
        assert_int_equal(prog_store_create(NULL, NULL, &store, &report), ERR_OK);
        for (size_t i = 0; i < 5; i++)
            add(store, "p", versions[(first + i) % 5]);
        assert_int_equal(prog_store_each(store, append_id, &ids, &report), ERR_OK);
        assert_string_equal(ids.data, "p@01.2.3 p@1.02.3 p@1.2.003 p@1.2.03 p@1.2.3 ");
        assert_int_equal(prog_store_find(store, "p", id, &report), ERR_OK);
        assert_string_equal(id, "p@01.2.3");
        buf_deinit(&ids);
        prog_store_destroy(store);
    }
}

static void store_replaces_only_by_force(void **state)
{
    (void)state;
    struct prog_store *store;
    struct report report = {0};
    char text[200];
    assert_int_equal(prog_store_create(NULL, NULL, &store, &report), ERR_OK);
    struct prog *first = make("p", "1.0.0", text), *second = make("p", "1.0.0", text), *now;
    assert_int_equal(prog_store_add(store, first, false, NULL, &report), ERR_OK);
    assert_int_equal(prog_store_add(store, second, false, NULL, &report), ERR_BUSY);
    assert_non_null(strstr(report.text, "p@1.0.0 is already installed"));
    report = (struct report){0};
    assert_int_equal(prog_store_add(store, second, true, NULL, &report), ERR_OK);
    assert_int_equal(prog_store_get(store, "p@1.0.0", &now, &report), ERR_OK);
    assert_ptr_equal(now, second);
    assert_int_equal(first->refs, 1);
    prog_unref(first);
    prog_unref(second);
    prog_store_destroy(store);
}

static void store_keeps_programs_on_disk(void **state)
{
    (void)state;
    char root[] = "/tmp/pie-test-program-XXXXXX", own[64], standard[64], path[200];
    assert_non_null(mkdtemp(root));
    (void)snprintf(own, sizeof own, "%s/own", root);
    (void)snprintf(standard, sizeof standard, "%s/standard", root);
    struct prog_store *store;
    struct report report = {0};
    char text[200], id[PROG_ID_BYTES];
    /* The standard directory is just another store's own one. */
    assert_int_equal(prog_store_create(standard, NULL, &store, &report), ERR_OK);
    static const char *const versions[] = {"1.0.0", "2.0.0"};
    for (size_t i = 0; i < 2; i++) {
        struct prog *prog = make("disk", versions[i], text);
        assert_int_equal(
            prog_store_add(store, prog, false,
                           &(struct prog_files){text, strlen(text), empty_wasm, sizeof empty_wasm},
                           &report),
            ERR_OK);
        prog_unref(prog);
    }
    prog_store_destroy(store);

    assert_int_equal(prog_store_create(own, standard, &store, &report), ERR_OK);
    struct prog *prog = make("disk", "1.5.0", text);
    assert_int_equal(
        prog_store_add(store, prog, false,
                       &(struct prog_files){text, strlen(text), empty_wasm, sizeof empty_wasm},
                       &report),
        ERR_OK);
    assert_int_equal(prog_store_add(store, prog, false, NULL, &report), ERR_BUSY);
    prog_unref(prog);
    prog_store_destroy(store);
    /* A store that begins finds them all. */
    report = (struct report){0};
    assert_int_equal(prog_store_create(own, standard, &store, &report), ERR_OK);
    struct buf ids;
    buf_init(&ids, NULL);
    assert_int_equal(prog_store_each(store, append_id, &ids, &report), ERR_OK);
    assert_string_equal(ids.data, "disk@2.0.0 disk@1.5.0 disk@1.0.0 ");
    buf_deinit(&ids);
    assert_int_equal(prog_store_find(store, "disk", id, &report), ERR_OK);
    assert_string_equal(id, "disk@2.0.0");
    struct prog *again;
    assert_int_equal(prog_store_get(store, "disk@1.5.0", &prog, &report), ERR_OK);
    assert_int_equal(prog_store_get(store, "disk@1.5.0", &again, &report), ERR_OK);
    assert_ptr_equal(prog, again);
    assert_string_equal(prog->id, "disk@1.5.0");
    assert_int_equal(prog_store_get(store, "../disk@1.5.0", &prog, &report), ERR_INVALID);

    /* A manifest in another's place is no program of that id. */
    report = (struct report){0};
    (void)snprintf(path, sizeof path, "%s/disk/3.0.0.toml", own);
    assert_int_equal(file_write(path, text, strlen(text), &report), ERR_OK);
    (void)snprintf(path, sizeof path, "%s/disk/3.0.0.wasm", own);
    assert_int_equal(file_write(path, empty_wasm, sizeof empty_wasm, &report), ERR_OK);
    assert_int_equal(prog_store_get(store, "disk@3.0.0", &prog, &report), ERR_INVALID);
    assert_non_null(strstr(report.text, "is the manifest of disk@1.5.0, not of disk@3.0.0"));
    /* Broken WebAssembly says where it is. */
    report = (struct report){0};
    (void)snprintf(path, sizeof path, "%s/disk/2.0.0.wasm", standard);
    assert_int_equal(file_write(path, "nonsense", 8, &report), ERR_OK);
    assert_int_equal(prog_store_get(store, "disk@2.0.0", &prog, &report), ERR_INVALID);
    assert_non_null(strstr(report.text, "program disk@2.0.0"));
    prog_store_destroy(store);
    (void)snprintf(path, sizeof path, "rm -rf %s", root);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifest_is_read),
        cmocka_unit_test(manifest_errors_have_a_place),
        cmocka_unit_test(manifest_survives_lack_of_memory),
        cmocka_unit_test(toml_depth_is_bounded),
        cmocka_unit_test(versions_have_an_order),
        cmocka_unit_test(store_finds_the_newest),
        cmocka_unit_test(equal_versions_have_an_order),
        cmocka_unit_test(store_replaces_only_by_force),
        cmocka_unit_test(store_keeps_programs_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
