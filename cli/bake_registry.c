/* The commands of bakery that talk to a registry. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/bake.h"
#include "cli/cmd.h"
#include "cli/registry.h"
#include "engine/base/file.h"
#include "engine/program/crypto.h"
#include "engine/program/semver.h"

enum { README_BYTES_MAX = 1 << 20, LINE_MAX_ = 512 };

/* Texts of a registry go to a terminal. */
static void say(const char *text)
{
    ui_write_safely(STDOUT_FILENO, text, strlen(text), isatty(STDOUT_FILENO));
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text ? text : "";
}

/* Reads options of a command with one optional positional. -1: go on. */
static int read_args(struct args *args, int argc, char **argv, size_t most)
{
    enum args_result result = args_read(args, argc, argv);
    if (result != ARGS_OK)
        return result == ARGS_HELP ? CMD_OK : CMD_USAGE;
    if (args->positional_count > most) {
        (void)fprintf(stderr, "error: unexpected argument '%s'\n", args->positionals[most]);
        return CMD_USAGE;
    }
    return -1;
}

/* ---- login -------------------------------------------------------------------------------- */

static bool read_line(char line[LINE_MAX_])
{
    struct termios before, quiet;
    bool is_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    if (is_terminal) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
    }
    bool ok = fgets(line, LINE_MAX_, stdin) != NULL;
    if (is_terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
        (void)fputc('\n', stderr);
    }
    if (ok)
        line[strcspn(line, "\r\n")] = '\0';
    return ok && line[0];
}

int bake_login(int argc, char **argv)
{
    struct registry_choice choice;
    struct report report = {0};
    char token[LINE_MAX_], login[128], path[PATHS_MAX];
    bool as_json = false;
    const struct args_option table[] = {
        {"json", 0, &as_json, NULL, NULL, "Print who is logged in as JSON"},
        {0},
    };
    struct args args = {.command = "bakery login",
                        .synopsis = "",
                        .description =
                            "Keeps a registry's token, which is read from stdin and tried first.\n"
                            "The registry is PIE_REGISTRY or [registry] url of config.ini.",
                        .options = table};
    int status = read_args(&args, argc, argv, 0);
    if (status >= 0)
        return status;
    if (registry_choose(&choice, NULL, true, &report))
        return bake_complain(&report);
    if (isatty(STDIN_FILENO))
        (void)fprintf(stderr, "Get a token from %s and paste it here: ", choice.registry.url);
    if (!read_line(token)) {
        (void)fprintf(stderr, "bakery: there is no token on stdin\n");
        return CMD_FAILED;
    }
    choice.registry.token = token;
    if (prog_registry_folder(choice.registry.url)) {
        (void)fprintf(stderr, "bakery: %s is a folder; it needs no token\n", choice.registry.url);
        return CMD_FAILED;
    }
    if (prog_registry_me(&choice.registry, login, &report) || registry_save_token(token, &report))
        return bake_complain(&report);
    if (as_json) {
        struct buf line;
        buf_init(&line, NULL);
        (void)buf_puts(&line, "{\"login\":");
        (void)buf_put_json(&line, login, strlen(login));
        (void)buf_puts(&line, "}");
        printf("%s\n", line.failed ? "" : line.data);
        buf_deinit(&line);
        return CMD_OK;
    }
    say("Logged in as ");
    say(login);
    printf("; the token is in %s\n", registry_token_path(path) ? path : "?");
    return CMD_OK;
}

/* ---- search and info ---------------------------------------------------------------------- */

static void show_search(const json_t *json)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json, "items"), i, item)
    {
        say(text_of(item, "name"));
        say("@");
        say(text_of(item, "latest_version"));
        say("  ");
        say(text_of(item, "description"));
        say("\n");
    }
    printf("%lld found\n", (long long)json_integer_value(json_object_get(json, "total")));
}

int bake_search(int argc, char **argv)
{
    struct registry_choice choice;
    struct report report = {0};
    bool as_json = false;
    const char *page_text = NULL, *per_text = NULL;
    unsigned long long page = 1, per_page = 20;
    const struct args_option table[] = {
        {"page", 'p', NULL, &page_text, "N", "Which page (1)"},
        {"per-page", 0, NULL, &per_text, "N", "How many on a page (20)"},
        {"json", 0, &as_json, NULL, NULL, "The registry's answer as it came"},
        {0},
    };
    struct args args = {.command = "bakery inferlet search",
                        .synopsis = "[WORD]",
                        .description = "Lists programs whose name, description or keywords hold WORD.",
                        .options = table};
    int status = read_args(&args, argc, argv, 1);
    if (status >= 0)
        return status;
    if ((page_text && !args_number("bakery", "page", page_text, 1, 100000, &page)) ||
        (per_text && !args_number("bakery", "per-page", per_text, 1, 100, &per_page)))
        return CMD_USAGE;
    struct buf answer;
    buf_init(&answer, NULL);
    enum err err = registry_choose(&choice, NULL, true, &report);
    if (!err)
        err = prog_registry_search(&choice.registry, args.positional_count ? args.positionals[0] : "",
                                   (uint32_t)page, (uint32_t)per_page, &answer, &report);
    json_t *json = err ? NULL : json_loadb(answer.data, answer.count, 0, NULL);
    if (!err && as_json)
        printf("%s\n", answer.data);
    else if (!err)
        show_search(json);
    json_decref(json);
    buf_deinit(&answer);
    return err ? bake_complain(&report) : CMD_OK;
}

static void show_pairs(const char *title, json_t *object)
{
    const char *key;
    json_t *value;
    if (json_object_size(object) == 0)
        return;
    printf("\n%s\n", title);
    json_object_foreach(object, key, value)
    {
        say("  ");
        say(key);
        say(" = ");
        say(json_string_value(value) ? json_string_value(value) : "?");
        say("\n");
    }
}

static void show_parameters(json_t *object)
{
    const char *key;
    json_t *value;
    if (json_object_size(object) == 0)
        return;
    printf("\nParameters\n");
    json_object_foreach(object, key, value)
    {
        say("  --");
        say(key);
        say(" ");
        say(text_of(value, "type"));
        say(json_is_true(json_object_get(value, "optional")) ? " (optional)" : "");
        say(text_of(value, "description")[0] ? "  " : "");
        say(text_of(value, "description"));
        say("\n");
    }
}

static void show_texts(const char *title, const json_t *array)
{
    size_t i;
    json_t *one;
    if (json_array_size(array) == 0)
        return;
    printf("%s:", title);
    json_array_foreach(array, i, one)
    {
        say(i ? ", " : " ");
        say(json_string_value(one) ? json_string_value(one) : "");
    }
    printf("\n");
}

/* `chosen` is the version of which all is shown. */
static void show_info(const json_t *json, const char *chosen)
{
    size_t i;
    json_t *one;
    const json_t *versions = json_object_get(json, "versions"), *shown = NULL;
    say(text_of(json, "name"));
    printf("  %lld downloads\n\nVersions\n",
           (long long)json_integer_value(json_object_get(json, "downloads")));
    json_array_foreach(versions, i, one)
    {
        if (strcmp(text_of(one, "num"), chosen) == 0)
            shown = one;
        say("  ");
        say(text_of(one, "num"));
        printf("  %s  %.12s  ", ui_bytes((uint64_t)json_integer_value(json_object_get(one, "size_bytes"))),
               prog_crypto_is_hex(text_of(one, "checksum"), 32) ? text_of(one, "checksum") : "-");
        say(text_of(one, "created_at"));
        printf("%s%s\n", text_of(one, "signature")[0] ? "  signed" : "",
               json_is_true(json_object_get(one, "yanked")) ? "  yanked" : "");
    }
    if (!shown)
        return;
    printf("\n");
    say(text_of(json, "name"));
    say("@");
    say(chosen);
    say("\n");
    if (text_of(shown, "description")[0]) {
        say(text_of(shown, "description"));
        say("\n");
    }
    show_texts("Authors", json_object_get(shown, "authors"));
    show_texts("Keywords", json_object_get(shown, "keywords"));
    if (text_of(shown, "repository")[0]) {
        say("Repository: ");
        say(text_of(shown, "repository"));
        say("\n");
    }
    show_parameters(json_object_get(shown, "parameters"));
    show_pairs("Runtime", json_object_get(shown, "runtime"));
    show_pairs("Dependencies", json_object_get(shown, "dependencies"));
}

int bake_info(int argc, char **argv)
{
    struct registry_choice choice;
    struct report report = {0};
    struct prog_registry_version version = {0};
    bool as_json = false;
    const struct args_option table[] = {
        {"json", 0, &as_json, NULL, NULL, "The registry's answer as it came"},
        {0},
    };
    struct args args = {.command = "bakery inferlet info",
                        .synopsis = "NAME[@VERSION]",
                        .description = "Shows a program's versions, and the parameters of one of them.",
                        .options = table};
    int status = read_args(&args, argc, argv, 1);
    if (status >= 0)
        return status;
    if (args.positional_count != 1) {
        (void)fprintf(stderr, "error: one NAME is needed\n");
        return CMD_USAGE;
    }
    char name[256];
    const char *word = args.positionals[0];
    size_t name_bytes = strcspn(word, "@");
    (void)snprintf(name, sizeof name, "%.*s", (int)(name_bytes < 200 ? name_bytes : 200), word);
    struct buf answer;
    buf_init(&answer, NULL);
    enum err err = registry_choose(&choice, NULL, true, &report);
    if (!err)
        err = prog_registry_info(&choice.registry, name, &answer, &report);
    if (!err && word[name_bytes])
        err = prog_registry_choose(answer.data, answer.count, name, word + name_bytes + 1, &version,
                                   &report);
    else if (!err) { /* all may be yanked: then only the list is shown */
        struct report none = {0};
        (void)!prog_registry_choose(answer.data, answer.count, name, NULL, &version, &none);
    }
    json_t *json = err ? NULL : json_loadb(answer.data, answer.count, 0, NULL);
    if (!err && as_json)
        printf("%s\n", answer.data);
    else if (!err)
        show_info(json, version.version);
    json_decref(json);
    buf_deinit(&answer);
    return err ? bake_complain(&report) : CMD_OK;
}

/* ---- publish ------------------------------------------------------------------------------ */

static enum err read_key(const char *path, char key[PROG_KEY_TEXT], struct report *report)
{
    char *text;
    size_t bytes;
    enum err err = file_read(path, 4096, NULL, &text, &bytes, report);
    if (err)
        return err;
    size_t length = strcspn(text, "\r\n");
    if (length != PROG_KEY_TEXT - 1 || strspn(text, "0123456789abcdef") != length)
        err = err_set(report, ERR_INVALID, "%s holds no private key; `bakery keygen` makes one", path);
    else
        (void)snprintf(key, PROG_KEY_TEXT, "%.*s", (int)length, text);
    memset(text, 0, bytes);
    mem_free(NULL, text);
    return err;
}

/* The readme's text, "" without one; its name stays inside the folder. */
static enum err read_readme(const char *folder, const struct prog_manifest *m, char **text,
                            struct report *report)
{
    char path[PATHS_MAX];
    size_t bytes;
    *text = NULL;
    if (!m->readme[0])
        return ERR_OK;
    if (m->readme[0] == '/' || strstr(m->readme, "..") ||
        snprintf(path, sizeof path, "%s/%s", folder, m->readme) >= (int)sizeof path)
        return err_set(report, ERR_INVALID, "package.readme: expected a file in %s, found \"%.100s\"",
                       folder, m->readme);
    return file_read(path, README_BYTES_MAX, NULL, text, &bytes, report);
}

static enum err publish(struct registry_choice *choice, const char *folder, const char *wasm_path,
                        const char *key_path, char id[PROG_ID_BYTES], struct report *report)
{
    char path[PATHS_MAX + 16], key[PROG_KEY_TEXT];
    char *text = NULL, *wasm = NULL, *readme = NULL;
    size_t text_bytes, wasm_bytes;
    struct prog_manifest m;
    struct comp_component *component;
    enum err err = bake_manifest(folder, &m, report);
    if (err)
        return err;
    (void)snprintf(path, sizeof path, "%s/Pie.toml", folder);
    (void)snprintf(id, PROG_ID_BYTES, "%s@%s", m.name, m.version);
    err = prog_semver_check_runtime(&m, path, report);
    if (!err)
        err = file_read(path, BAKE_MANIFEST_BYTES_MAX, NULL, &text, &text_bytes, report);
    if (!err)
        err = file_read(wasm_path, BAKE_WASM_BYTES_MAX, NULL, &wasm, &wasm_bytes, report);
    if (!err)
        err = comp_component_create((const uint8_t *)wasm, wasm_bytes, &component, report);
    if (!err)
        comp_component_unref(component);
    if (!err)
        err = read_readme(folder, &m, &readme, report);
    if (!err && key_path)
        err = read_key(key_path, key, report);
    if (!err) {
        const struct prog_package package = {.manifest = text,
                                             .manifest_bytes = text_bytes,
                                             .wasm = (const uint8_t *)wasm,
                                             .wasm_bytes = wasm_bytes};
        ui_bar_begin(&choice->bar, "publishing", choice->bar.quiet);
        err = prog_registry_publish(&choice->registry, &m, package, key_path ? key : NULL,
                                    readme ? readme : "", report);
        ui_bar_end(&choice->bar);
    }
    memset(key, 0, sizeof key);
    mem_free(NULL, text);
    mem_free(NULL, wasm);
    mem_free(NULL, readme);
    prog_manifest_deinit(&m);
    return err;
}

int bake_publish(int argc, char **argv)
{
    static struct registry_choice choice;
    struct report report = {0};
    const char *wasm = NULL, *key = NULL;
    char id[PROG_ID_BYTES], built[64] = "";
    bool as_json = false;
    const struct args_option table[] = {
        {"wasm", 'w', NULL, &wasm, "WASM", "What `bakery build` made (default: it is built now)"},
        {"key", 'k', NULL, &key, "FILE", "Sign with this private key ([registry] signing_key)"},
        {"json", 0, &as_json, NULL, NULL, "Print what was published as JSON"},
        {0},
    };
    struct args args = {.command = "bakery publish",
                        .synopsis = "[DIR]",
                        .description = "Publishes the inferlet in DIR (default: here) to the registry.",
                        .options = table};
    int status = read_args(&args, argc, argv, 1);
    if (status >= 0)
        return status;
    const char *folder = args.positional_count ? args.positionals[0] : ".";
    if (registry_choose(&choice, NULL, false, &report))
        return bake_complain(&report);
    if (!key && choice.file.signing_key[0])
        key = choice.file.signing_key;
    if (!wasm) {
        (void)snprintf(built, sizeof built, "/tmp/bakery-publish-XXXXXX");
        int fd = mkstemp(built);
        if (fd < 0) {
            (void)fprintf(stderr, "bakery: cannot make a file in /tmp: %s\n", strerror(errno));
            return CMD_FAILED;
        }
        (void)close(fd);
        wasm = built;
        status = bake_build_quietly(folder, built);
    } else {
        status = CMD_OK;
    }
    if (status == CMD_OK && publish(&choice, folder, wasm, key, id, &report))
        status = bake_complain(&report);
    else if (status == CMD_OK && as_json)
        printf("{\"published\":\"%s\",\"signed\":%s}\n", id, key ? "true" : "false");
    else if (status == CMD_OK)
        printf("Published %s%s\n", id, key ? ", signed" : "");
    if (built[0])
        (void)unlink(built);
    return status;
}

/* ---- keys --------------------------------------------------------------------------------- */

int bake_keygen(int argc, char **argv)
{
    struct report report = {0};
    char secret[PROG_KEY_TEXT], public_[PROG_KEY_TEXT];
    const struct args_option table[] = {{0}};
    struct args args = {.command = "bakery keygen",
                        .synopsis = "FILE",
                        .description = "Makes a key that signs what is published: the private part into\n"
                                       "FILE, the public one, for [registry] trusted_keys, on stdout.",
                        .options = table};
    int status = read_args(&args, argc, argv, 1);
    if (status >= 0)
        return status;
    if (args.positional_count != 1) {
        (void)fprintf(stderr, "error: one FILE is needed\n");
        return CMD_USAGE;
    }
    if (prog_crypto_keygen(secret, public_, &report))
        return bake_complain(&report);
    int fd = open(args.positionals[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && dprintf(fd, "%s\n", secret) == PROG_KEY_TEXT;
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    memset(secret, 0, sizeof secret);
    if (!ok) {
        (void)fprintf(stderr, "bakery: cannot write %s: %s\n", args.positionals[0], strerror(why));
        return CMD_FAILED;
    }
    printf("%s\n", public_);
    return CMD_OK;
}
