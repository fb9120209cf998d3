#include "cli/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/program/crypto.h"
#include "engine/program/toml.h"

enum { TOKEN_FILE_MAX = 1 << 16 };

bool registry_token_path(char out[PATHS_MAX])
{
    const char *home = getenv("BAKERY_HOME");
    if (home && *home)
        return snprintf(out, PATHS_MAX, "%s/config.toml", home) < PATHS_MAX;
    return paths_in_home(out, "bakery/config.toml");
}

static enum err read_token(struct registry_choice *choice, struct report *report)
{
    char path[PATHS_MAX];
    char *text;
    size_t bytes;
    struct prog_toml toml;
    struct report inner = {0};
    const char *set = getenv("PIE_REGISTRY_TOKEN");
    if (set && *set) {
        if (snprintf(choice->token, sizeof choice->token, "%s", set) >= (int)sizeof choice->token)
            return err_set(report, ERR_INVALID, "PIE_REGISTRY_TOKEN is too long");
        return ERR_OK;
    }
    if (!registry_token_path(path) || access(path, F_OK) != 0)
        return ERR_OK;
    enum err err = file_read(path, TOKEN_FILE_MAX, NULL, &text, &bytes, report);
    if (err)
        return err;
    err = prog_toml_parse(text, bytes, NULL, &toml, &inner);
    mem_free(NULL, text);
    if (err)
        return err_set(report, err, "%s, %s", path, inner.text);
    const struct prog_toml_value *token = prog_toml_find(toml.root, "registry_token");
    if (token && (token->kind != PROG_TOML_STRING ||
                  strlen(token->of.string.data) != token->of.string.bytes ||
                  snprintf(choice->token, sizeof choice->token, "%s", token->of.string.data) >=
                      (int)sizeof choice->token))
        err = err_set(report, ERR_INVALID, "%s: registry_token: expected a text that is not too long",
                      path);
    prog_toml_deinit(&toml);
    return err;
}

enum err registry_save_token(const char *token, struct report *report)
{
    char path[PATHS_MAX], folder[PATHS_MAX];
    struct buf text;
    if (!registry_token_path(path))
        return err_set(report, ERR_INVALID, "the path of the token is too long");
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    enum err err = file_make_dirs(folder, report);
    if (err)
        return err;
    buf_init(&text, NULL);
    (void)buf_puts(&text, "registry_token = ");
    (void)buf_put_json(&text, token, strlen(token));
    (void)buf_putc(&text, '\n');
    (void)unlink(path); /* its mode may be another */
    int fd = text.failed ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, text.data, text.count) == (ssize_t)text.count;
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    buf_deinit(&text);
    return ok ? ERR_OK : err_set(report, ERR_IO, "cannot write %s: %s", path, strerror(why));
}

static void on_progress(void *user, uint64_t done, uint64_t total)
{
    ui_bar_update(user, done, total, ui_bytes(total));
}

/* "KEY, KEY": splits in place. */
static enum err split_keys(struct registry_choice *choice, struct report *report)
{
    struct prog_registry *registry = &choice->registry;
    char *save;
    for (char *key = strtok_r(choice->file.trusted_keys, ", \t", &save); key;
         key = strtok_r(NULL, ", \t", &save)) {
        if (!prog_crypto_is_hex(key, 32) || registry->trusted_key_count == PROG_REGISTRY_KEYS_MAX)
            return err_set(report, ERR_INVALID,
                           "[registry] trusted_keys: expected at most %d public keys of 64 lower-case "
                           "hexadecimal digits, found \"%.80s\"", PROG_REGISTRY_KEYS_MAX, key);
        registry->trusted_keys[registry->trusted_key_count++] = key;
    }
    return ERR_OK;
}

enum err registry_choose(struct registry_choice *choice, const char *config, bool quiet,
                         struct report *report)
{
    struct engine_config ignored = engine_config_default();
    *choice = (struct registry_choice){0};
    enum err err = config_read(config, &ignored, &choice->file, report);
    if (!err)
        err = split_keys(choice, report);
    if (!err)
        err = read_token(choice, report);
    if (err)
        return err;
    const char *set = getenv("PIE_REGISTRY");
    const char *url = set && *set ? set : choice->file.registry;
    if (!url[0])
        return err_set(report, ERR_NOT_FOUND,
                       "no registry is configured: write [registry] url = https://HOST (or a folder) "
                       "into %s/config.ini, or set PIE_REGISTRY", paths_home());
    choice->registry.url = url;
    choice->registry.token = choice->token[0] ? choice->token : NULL;
    choice->registry.progress = on_progress;
    choice->registry.user = &choice->bar;
    choice->bar.quiet = quiet;
    return ERR_OK;
}

enum err registry_install(struct registry_choice *choice, struct engine *engine, const char *name,
                          char id[256], struct report *report)
{
    struct prog_registry_version version;
    struct report not_there = {0};
    struct buf manifest, wasm;
    char known[256];
    enum err err = prog_registry_resolve(&choice->registry, name, id, &version, report);
    if (err)
        return err;
    if (engine_program_find(engine, id, known, &not_there) == ERR_OK)
        return ERR_OK;
    buf_init(&manifest, NULL);
    buf_init(&wasm, NULL);
    ui_bar_begin(&choice->bar, "downloading", choice->bar.quiet);
    err = prog_registry_get(&choice->registry, id, &version, &manifest, &wasm, report);
    ui_bar_end(&choice->bar);
    if (!err)
        err = engine_program_add(engine, manifest.data, manifest.count, (const uint8_t *)wasm.data,
                                 wasm.count, false, true, id, report);
    buf_deinit(&manifest);
    buf_deinit(&wasm);
    return err;
}
