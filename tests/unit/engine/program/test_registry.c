/* links: engine/program
 * Constraints, hashes, signatures, and the client against servers that misbehave. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/program/crypto.h"
#include "engine/program/fetch.h"
#include "engine/program/registry.h"
#include "engine/program/semver.h"

static void constraints(void **state)
{
    (void)state;
    static const struct {
        const char *constraint, *version;
        bool matches;
    } cases[] = {
        /* The tables of Cargo's reference. */
        {"1.2.3", "1.2.3", true}, {"1.2.3", "1.9.0", true}, {"1.2.3", "2.0.0", false},
        {"1.2.3", "1.2.2", false}, {"^0.2.3", "0.2.9", true}, {"^0.2.3", "0.3.0", false},
        {"^0.2.3", "0.2.2", false}, {"^0.0.3", "0.0.3", true}, {"^0.0.3", "0.0.4", false},
        {"^0.0", "0.0.7", true}, {"^0.0", "0.1.0", false}, {"^0", "0.9.9", true}, {"^0", "1.0.0", false},
        {"1.2", "1.3.0", true}, {"1", "1.99.0", true}, {"1", "2.0.0", false},
        {"~1.2.3", "1.2.9", true}, {"~1.2.3", "1.3.0", false}, {"~1.2", "1.2.0", true},
        {"~1.2", "1.3.0", false}, {"~1", "1.9.0", true}, {"~1", "2.0.0", false},
        {"*", "7.8.9", true}, {"1.*", "1.5.0", true}, {"1.*", "2.0.0", false}, {"1.2.*", "1.2.7", true},
        {"1.2.*", "1.3.0", false}, {"1.x", "1.4.2", true}, {"=1.2.3", "1.2.3", true},
        {"=1.2.3", "1.2.4", false}, {"=1.2", "1.2.4", true}, {">1.2.3", "1.2.4", true},
        {">1.2.3", "1.2.3", false}, {">1.2", "1.2.9", false}, {">1.2", "1.3.0", true},
        {">=1.2.0", "1.2.0", true}, {"<2", "1.9.9", true}, {"<2", "2.0.0", false},
        {"<=1.2", "1.2.9", true}, {"<=1.2", "1.3.0", false}, {">=1.2, <1.5", "1.4.9", true},
        {">=1.2, <1.5", "1.5.0", false}, {" ^ 1.2 ", "1.3.0", true}, {"^0.2.0", "0.4.0", false},
        /* Not constraints, not versions. */
        {"", "1.0.0", false}, {"^", "1.0.0", false}, {"1.2.3.4", "1.2.3", false}, {"a", "1.0.0", false},
        {"1.2.3-rc", "1.2.3", false}, {"1,", "1.0.0", false}, {"1.*.3", "1.0.3", false},
        {"99999999999999999999", "1.0.0", false}, {"*", "1.0", false}, {"^*", "1.0.0", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (prog_semver_matches(cases[i].constraint, cases[i].version) != cases[i].matches)
            fail_msg("\"%s\" with %s", cases[i].constraint, cases[i].version);
    assert_true(prog_semver_is_constraint("^0.2.0"));
    assert_false(prog_semver_is_constraint("latest"));
}

static void runtimes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"core = \"^0.2.0\"", NULL}, {"core = \"^0.3.0\"", NULL}, {"core = \"0.4\"", NULL},
        {"python-runtime = \"^0.4.0\"", NULL},
        {"core = \"^0.5.0\"", "x, line 5: runtime.core wants \"^0.5.0\", but this build honours 0.4.0, "},
        {"gpu = \"*\"", "x, line 5: runtime.gpu: this build has no such runtime; it has core, "},
        {"core = \"newest\"", "line 5, column 8: runtime.core: expected a version constraint"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        struct prog_manifest m;
        struct report report = {0};
        (void)snprintf(text, sizeof text, "[package]\nname = \"a\"\nversion = \"1.0.0\"\n[runtime]\n%s\n",
                       cases[i].line);
        enum err err = prog_manifest_parse(text, strlen(text), "x", NULL, &m, &report);
        if (!err) {
            err = prog_semver_check_runtime(&m, "x", &report);
            prog_manifest_deinit(&m);
        }
        assert_int_equal(err == ERR_OK, cases[i].error == NULL);
        if (cases[i].error && !strstr(report.text, cases[i].error))
            fail_msg("%s", report.text);
    }
}

/* RFC 8032, section 7.1, tests 1 and 2; FIPS 180-2, appendix B.1. */
static void published_vectors(void **state)
{
    (void)state;
    struct report report = {0};
    char public_[PROG_KEY_TEXT], signature[PROG_SIGNATURE_TEXT], hash[PROG_SHA256_TEXT];
    static const char secret[] = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    assert_int_equal(prog_crypto_public(secret, public_, &report), ERR_OK);
    assert_string_equal(public_, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_int_equal(prog_crypto_sign(secret, "\x72", 1, signature, &report), ERR_OK);
    assert_string_equal(signature, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                                   "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_true(prog_crypto_verify(public_, "\x72", 1, signature));
    assert_false(prog_crypto_verify(public_, "\x73", 1, signature));
    signature[0] = '8';
    assert_false(prog_crypto_verify(public_, "\x72", 1, signature));
    assert_false(prog_crypto_verify("short", "\x72", 1, signature));
    assert_int_equal(prog_crypto_sha256("abc", 3, hash, &report), ERR_OK);
    assert_string_equal(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(prog_crypto_public("zz", public_, &report), ERR_INVALID);
}

static void choosing(void **state)
{
    (void)state;
    static const char json[] =
        "{\"name\":\"a\",\"versions\":[{\"num\":\"0.9.0\",\"checksum\":\"00\"},"
        "{\"num\":\"2.0.0\",\"yanked\":true},{\"num\":\"1.10.0\"},{\"num\":\"1.9.0\"},{\"num\":7},{},"
        "{\"num\":\"3.0.0-rc\"},{\"num\":\"../../x\"},\"text\"]}";
    static const struct {
        const char *wanted, *version;
    } cases[] = {{NULL, "1.10.0"}, {"latest", "1.10.0"}, {"2.0.0", "2.0.0"}, {"^1.9", "1.10.0"},
                 {"~1.9", "1.9.0"}, {"^0.9", "0.9.0"}, {"^2", NULL}, {"9.9.9", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prog_registry_version version;
        struct report report = {0};
        enum err err = prog_registry_choose(json, sizeof json - 1, "a", cases[i].wanted, &version, &report);
        assert_int_equal(err, cases[i].version ? ERR_OK : ERR_NOT_FOUND);
        if (cases[i].version)
            assert_string_equal(version.version, cases[i].version);
    }
    static const char *const broken[] = {"", "[]", "{", "null", "{\"versions\":{}}", "{\"versions\":[]}",
                                         "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct prog_registry_version version;
        struct report report = {0};
        assert_int_not_equal(
            prog_registry_choose(broken[i], strlen(broken[i]), "a", NULL, &version, &report), ERR_OK);
        assert_true(report.text[0]);
    }
}

/* ---- a server that answers what it is told, once per connection --------------------------- */

struct scripted {
    int listener;
    const char *const *answers; /* one per connection, the last again and again; NULL: close */
    size_t count, served;
    pthread_t thread;
    char url[64];
};

static void *serve(void *user)
{
    struct scripted *s = user;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        char request[4096];
        ssize_t got = recv(fd, request, sizeof request, 0);
        const char *answer = s->answers[s->served < s->count ? s->served : s->count - 1];
        s->served++;
        if (got > 0 && answer)
            (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        (void)close(fd);
    }
}

static void script(struct scripted *s, const char *const *answers, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    *s = (struct scripted){.answers = answers, .count = count};
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &bytes), 0);
    (void)snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end_script(struct scripted *s)
{
    (void)shutdown(s->listener, SHUT_RDWR);
    (void)pthread_join(s->thread, NULL);
    (void)close(s->listener);
}

static enum err try_info(const char *const *answers, size_t count, size_t *served,
                         struct report *report)
{
    struct scripted server;
    struct buf json;
    buf_init(&json, NULL);
    script(&server, answers, count);
    const struct prog_registry registry = {.url = server.url};
    enum err err = prog_registry_info(&registry, "a", &json, report);
    end_script(&server);
    *served = server.served;
    buf_deinit(&json);
    return err;
}

static void servers_that_misbehave(void **state)
{
    (void)state;
    struct report report = {0};
    size_t served;
    /* Killed in the middle: tried again, then told. */
    const char *const cut[] = {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"na"};
    assert_int_equal(try_info(cut, 1, &served, &report), ERR_IO);
    assert_int_equal(served, 3);
    /* Busy, then well: the second try counts. */
    const char *const busy[] = {"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n",
                                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"};
    report = (struct report){0};
    assert_int_equal(try_info(busy, 2, &served, &report), ERR_OK);
    assert_int_equal(served, 2);
    const char *const missing[] = {
        "HTTP/1.1 404 No\r\nContent-Length: 27\r\n\r\n{\"detail\":\"nothing of that\"}"};
    report = (struct report){0};
    assert_int_equal(try_info(missing, 1, &served, &report), ERR_NOT_FOUND);
    assert_non_null(strstr(report.text, "404"));
    /* Sent to a file of ours. */
    const char *const away[] = {
        "HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"};
    report = (struct report){0};
    assert_int_equal(try_info(away, 1, &served, &report), ERR_IO);
    const char *const nonsense[] = {"SMTP ready\r\n"};
    report = (struct report){0};
    assert_int_equal(try_info(nonsense, 1, &served, &report), ERR_IO);
}

static void answers_are_bounded(void **state)
{
    (void)state;
    static const char *const large[] = {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789"};
    struct scripted server;
    struct buf out;
    struct report report = {0};
    long status;
    buf_init(&out, NULL);
    script(&server, large, 1);
    const struct prog_fetch fetch = {.method = "GET", .url = server.url, .bytes_max = 19};
    assert_int_equal(prog_fetch(&fetch, &out, &status, &report), ERR_LIMIT);
    end_script(&server);
    buf_deinit(&out);
}

/* Programs of others and paths never leave the folder. */
static void names_stay_inside(void **state)
{
    (void)state;
    static const char *const names[] = {"../x", "a/../../x", "", ".uploads", "a b", "a\n"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct report report = {0};
        struct buf json;
        char path[PROG_FOLDER_PATH_MAX];
        buf_init(&json, NULL);
        assert_int_equal(prog_folder_info("/nowhere", names[i], &json, &report), ERR_INVALID);
        report = (struct report){0};
        assert_int_equal(prog_folder_path("/nowhere", names[i], "1.0.0", "wasm", path, &report),
                         ERR_INVALID);
        buf_deinit(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constraints),        cmocka_unit_test(runtimes),
        cmocka_unit_test(published_vectors),  cmocka_unit_test(choosing),
        cmocka_unit_test(servers_that_misbehave), cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(names_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
