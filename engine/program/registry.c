#include "engine/program/registry.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/program/crypto.h"
#include "engine/program/fetch.h"
#include "engine/program/semver.h"
#include "engine/program/toml.h"

static enum err no_memory(struct report *report)
{
    return err_set(report, ERR_MEMORY, "no memory for a request to the registry");
}

const char *prog_registry_folder(const char *url)
{
    if (strncmp(url, "file://", 7) == 0)
        return url + 7;
    return strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0 ? NULL : url;
}

/* ---- requests ----------------------------------------------------------------------------- */

/* The address of a path of the protocol; `url` may end in a slash. */
static bool put_url(const struct prog_registry *registry, const char *path, struct buf *out)
{
    size_t bytes = strlen(registry->url);
    while (bytes && registry->url[bytes - 1] == '/')
        bytes--;
    return buf_append(out, registry->url, bytes) && buf_puts(out, "/api/v1") && buf_puts(out, path);
}

/* What a status other than success means; the protocol's errors are {"detail": TEXT}. */
static enum err check_status(const char *url, long status, const struct buf *body,
                             struct report *report)
{
    if (status >= 200 && status < 300)
        return ERR_OK;
    json_t *json = body->data ? json_loadb(body->data, body->count, 0, NULL) : NULL;
    const char *detail = json_string_value(json_object_get(json, "detail"));
    enum err code = status == 404                     ? ERR_NOT_FOUND
                    : status == 401 || status == 403  ? ERR_DENIED
                    : status == 409                   ? ERR_BUSY
                    : status == 413                   ? ERR_LIMIT
                    : status == 400 || status == 422  ? ERR_INVALID
                                                      : ERR_IO;
    enum err err = err_set(report, code, "the registry answered %ld to %s%s%.400s%s", status, url,
                           detail ? ": " : "", detail ? detail : "",
                           code == ERR_DENIED ? "; `bakery login` keeps a token" : "");
    json_decref(json);
    return err;
}

static enum err request(const struct prog_registry *registry, struct prog_fetch fetch,
                        const char *path, struct buf *out, struct report *report)
{
    struct buf url;
    long status;
    buf_init(&url, NULL);
    if (!put_url(registry, path, &url)) {
        buf_deinit(&url);
        return no_memory(report);
    }
    fetch.url = url.data;
    fetch.token = registry->token;
    enum err err = prog_fetch(&fetch, out, &status, report);
    if (!err)
        err = check_status(url.data, status, out, report);
    buf_deinit(&url);
    return err;
}

static enum err get(const struct prog_registry *registry, const char *path, size_t bytes_max,
                    struct buf *out, struct report *report)
{
    struct prog_fetch fetch = {.method = "GET", .bytes_max = bytes_max};
    if (bytes_max > PROG_REGISTRY_JSON_MAX) {
        fetch.progress = registry->progress;
        fetch.user = registry->user;
    }
    return request(registry, fetch, path, out, report);
}

static json_t *parse(const char *json, size_t bytes, const char *what, struct report *report)
{
    json_error_t error;
    json_t *parsed = json_loadb(json ? json : "", bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(parsed)) {
        (void)err_set(report, ERR_INVALID, "the registry's answer about %s is no JSON object: %.100s",
                      what, parsed ? "another value" : error.text);
        json_decref(parsed);
        return NULL;
    }
    return parsed;
}

/* Everything but letters, digits and "-._~" as %XX. */
static bool put_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c);
        if (plain ? !buf_putc(out, (char)c) : !buf_printf(out, "%%%02X", c))
            return false;
    }
    return true;
}

enum err prog_registry_search(const struct prog_registry *registry, const char *query,
                              uint32_t page, uint32_t per_page, struct buf *json,
                              struct report *report)
{
    const char *folder = prog_registry_folder(registry->url);
    if (folder)
        return prog_folder_search(folder, query, page, per_page, json, report);
    struct buf path;
    buf_init(&path, NULL);
    (void)buf_puts(&path, "/inferlets?q=");
    (void)put_escaped(&path, query);
    (void)buf_printf(&path, "&page=%u&per_page=%u", page, per_page);
    enum err err = path.failed ? no_memory(report)
                               : get(registry, path.data, PROG_REGISTRY_JSON_MAX, json, report);
    buf_deinit(&path);
    if (err)
        return err;
    json_t *parsed = parse(json->data, json->count, "a search", report);
    json_decref(parsed);
    return parsed ? ERR_OK : ERR_INVALID;
}

enum err prog_registry_info(const struct prog_registry *registry, const char *name,
                            struct buf *json, struct report *report)
{
    const char *folder = prog_registry_folder(registry->url);
    char path[PROG_ID_BYTES + 40];
    if (!prog_name_is_valid(name, strlen(name)))
        return err_set(report, ERR_INVALID, "\"%.100s\" is no program's name", name);
    if (folder)
        return prog_folder_info(folder, name, json, report);
    (void)snprintf(path, sizeof path, "/inferlets/%s", name);
    return get(registry, path, PROG_REGISTRY_JSON_MAX, json, report);
}

enum err prog_registry_me(const struct prog_registry *registry, char login[128],
                          struct report *report)
{
    struct buf body;
    buf_init(&body, NULL);
    enum err err = get(registry, "/auth/me", PROG_REGISTRY_JSON_MAX, &body, report);
    json_t *json = err ? NULL : parse(body.data, body.count, "the login", report);
    const char *text = json_string_value(json_object_get(json, "login"));
    if (!err && !text)
        err = err_set(report, ERR_INVALID, "the registry did not say whose token this is");
    if (!err)
        (void)snprintf(login, 128, "%s", text);
    json_decref(json);
    buf_deinit(&body);
    return err;
}

/* ---- resolving ---------------------------------------------------------------------------- */

static void copy_hex(const json_t *object, const char *key, size_t hex_bytes, char *out)
{
    const char *text = json_string_value(json_object_get(object, key));
    out[0] = 0;
    if (text && strlen(text) == 2 * hex_bytes && prog_crypto_is_hex(text, hex_bytes))
        memcpy(out, text, 2 * hex_bytes + 1);
}

enum err prog_registry_choose(const char *json, size_t bytes, const char *name, const char *wanted,
                              struct prog_registry_version *out, struct report *report)
{
    json_t *info = parse(json, bytes, name, report);
    if (!info)
        return ERR_INVALID;
    bool any = !wanted || strcmp(wanted, "latest") == 0;
    bool exact = !any && prog_version_is_valid(wanted, strlen(wanted));
    const json_t *best = NULL;
    const char *best_num = NULL;
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(info, "versions"), i, one)
    {
        const char *num = json_string_value(json_object_get(one, "num"));
        if (!num || !prog_version_is_valid(num, strlen(num)))
            continue;
        bool fits = exact ? strcmp(num, wanted) == 0
                          : !json_is_true(json_object_get(one, "yanked")) &&
                                (any || prog_semver_matches(wanted, num));
        if (fits && (!best || prog_version_compare(num, best_num) > 0)) {
            best = one;
            best_num = num;
        }
    }
    enum err err = ERR_OK;
    if (best) {
        *out = (struct prog_registry_version){0};
        (void)snprintf(out->version, sizeof out->version, "%s", best_num);
        copy_hex(best, "checksum", 32, out->checksum);
        copy_hex(best, "signature", 64, out->signature);
        copy_hex(best, "signed_by", 32, out->signed_by);
    } else {
        err = err_set(report, ERR_NOT_FOUND, "the registry has no version of %s that %s%s", name,
                      any ? "is not yanked" : "satisfies ", any ? "" : wanted);
    }
    json_decref(info);
    return err;
}

enum err prog_registry_resolve(const struct prog_registry *registry, const char *name,
                               char id[PROG_ID_BYTES], struct prog_registry_version *version,
                               struct report *report)
{
    char only[PROG_ID_BYTES];
    size_t name_bytes = strcspn(name, "@");
    const char *wanted = name[name_bytes] ? name + name_bytes + 1 : NULL;
    if (!prog_name_is_valid(name, name_bytes) ||
        (wanted && strcmp(wanted, "latest") != 0 && !prog_semver_is_constraint(wanted)))
        return err_set(report, ERR_INVALID,
                       "\"%.200s\" is no program: expected NAME, NAME@1.2.3 or NAME@^1.2", name);
    (void)snprintf(only, sizeof only, "%.*s", (int)name_bytes, name);
    struct buf json;
    buf_init(&json, NULL);
    enum err err = prog_registry_info(registry, only, &json, report);
    if (!err)
        err = prog_registry_choose(json.data, json.count, only, wanted, version, report);
    if (!err)
        (void)snprintf(id, PROG_ID_BYTES, "%s@%s", only, version->version);
    buf_deinit(&json);
    return err;
}

/* ---- downloading -------------------------------------------------------------------------- */

static enum err get_part(const struct prog_registry *registry, const char *name, const char *version,
                         bool is_wasm, struct buf *out, struct report *report)
{
    const char *folder = prog_registry_folder(registry->url);
    size_t bytes_max = is_wasm ? PROG_WASM_BYTES_MAX : PROG_TOML_BYTES_MAX;
    char path[PROG_FOLDER_PATH_MAX];
    if (!folder) {
        (void)snprintf(path, sizeof path, "/inferlets/%s/%s/%s", name, version,
                       is_wasm ? "download" : "manifest");
        return get(registry, path, bytes_max, out, report);
    }
    char *data;
    size_t bytes;
    enum err err =
        prog_folder_path(folder, name, version, is_wasm ? "wasm" : "toml", path, report);
    if (!err)
        err = file_read(path, bytes_max, NULL, &data, &bytes, report);
    if (err)
        return err;
    if (!buf_append(out, data, bytes))
        err = no_memory(report);
    mem_free(NULL, data);
    return err;
}

static enum err check_signature(const struct prog_registry *registry, const char *name,
                                const struct prog_registry_version *version,
                                const struct prog_package *package, struct report *report)
{
    struct buf text;
    bool is_trusted = false, fits = false;
    if (registry->trusted_key_count == 0)
        return ERR_OK;
    if (!version->signature[0])
        return err_set(report, ERR_DENIED,
                       "%s@%s is not signed, and trusted keys are configured; it was not installed",
                       name, version->version);
    buf_init(&text, NULL);
    enum err err = prog_folder_signed_text(name, version->version, package, &text, report);
    for (size_t i = 0; i < registry->trusted_key_count && !err && !fits; i++) {
        is_trusted |= strcmp(registry->trusted_keys[i], version->signed_by) == 0;
        fits = prog_crypto_verify(registry->trusted_keys[i], text.data, text.count,
                                  version->signature);
    }
    buf_deinit(&text);
    if (err || fits)
        return err;
    return err_set(report, ERR_DENIED,
                   is_trusted ? "the signature of %s@%s does not fit what was downloaded; it was not "
                                "installed"
                              : "%s@%s is signed by no key that is trusted; it was not installed",
                   name, version->version);
}

enum err prog_registry_get(const struct prog_registry *registry, const char *id,
                           const struct prog_registry_version *version, struct buf *manifest,
                           struct buf *wasm, struct report *report)
{
    char name[PROG_ID_BYTES], checksum[PROG_SHA256_TEXT];
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(id, "@"), id);
    enum err err = get_part(registry, name, version->version, false, manifest, report);
    if (!err)
        err = get_part(registry, name, version->version, true, wasm, report);
    if (!err)
        err = prog_crypto_sha256(wasm->data ? wasm->data : "", wasm->count, checksum, report);
    if (err)
        return err_prefix(report, "%s", id);
    if (!version->checksum[0])
        return err_set(report, ERR_INVALID,
                       "the registry gives no checksum of %s; it was not installed", id);
    if (strcmp(checksum, version->checksum) != 0)
        return err_set(report, ERR_INVALID,
                       "what was downloaded as %s has the checksum %.16s..., but the registry says "
                       "%.16s...; it was not installed",
                       id, checksum, version->checksum);
    struct prog_manifest m;
    err = prog_manifest_parse(manifest->data ? manifest->data : "", manifest->count, "Pie.toml", NULL,
                              &m, report);
    if (err)
        return err_prefix(report, "%s", id);
    bool same = strcmp(m.name, name) == 0 && strcmp(m.version, version->version) == 0;
    prog_manifest_deinit(&m);
    if (!same)
        return err_set(report, ERR_INVALID,
                       "the registry gave the Pie.toml of another program for %s", id);
    const struct prog_package package = {.manifest = manifest->data,
                                         .manifest_bytes = manifest->count,
                                         .wasm = (const uint8_t *)wasm->data,
                                         .wasm_bytes = wasm->count};
    return check_signature(registry, name, version, &package, report);
}

/* ---- publishing --------------------------------------------------------------------------- */

static void put_pairs(json_t *object, const char *key, const struct prog_pair *pairs, size_t count)
{
    json_t *inner = json_object();
    for (size_t i = 0; i < count; i++)
        (void)json_object_set_new(inner, pairs[i].name, json_string(pairs[i].value));
    (void)json_object_set_new(object, key, inner);
}

static void put_texts(json_t *object, const char *key, const char *const *texts, size_t count)
{
    json_t *inner = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(inner, json_string(texts[i]));
    (void)json_object_set_new(object, key, inner);
}

/* POSTs `body` (taken) and gives the answer, NULL after a failure. */
static json_t *post(const struct prog_registry *registry, const char *path, json_t *body,
                    struct report *report)
{
    struct buf answer;
    buf_init(&answer, NULL);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text) {
        (void)no_memory(report);
        return NULL;
    }
    const struct prog_fetch fetch = {.method = "POST",
                                     .content_type = "application/json",
                                     .body = text,
                                     .body_bytes = strlen(text),
                                     .bytes_max = PROG_REGISTRY_JSON_MAX};
    json_t *json = NULL;
    if (request(registry, fetch, path, &answer, report) == ERR_OK)
        json = parse(answer.data, answer.count, path, report);
    free(text);
    buf_deinit(&answer);
    return json;
}

static enum err upload(const struct prog_registry *registry, const char *url,
                       const struct prog_package *package, struct report *report)
{
    struct buf answer;
    long status;
    /* A token belongs to the registry's own host; others get what the address itself carries. */
    size_t own = strlen(registry->url);
    while (own && registry->url[own - 1] == '/')
        own--;
    bool is_own = strncmp(url, registry->url, own) == 0 && url[own] == '/';
    const struct prog_fetch fetch = {.method = "PUT",
                                     .url = url,
                                     .token = is_own ? registry->token : NULL,
                                     .content_type = "application/wasm",
                                     .body = package->wasm,
                                     .body_bytes = package->wasm_bytes,
                                     .bytes_max = PROG_REGISTRY_JSON_MAX,
                                     .progress = registry->progress,
                                     .user = registry->user};
    buf_init(&answer, NULL);
    enum err err = prog_fetch(&fetch, &answer, &status, report);
    if (!err)
        err = check_status("the upload", status, &answer, report);
    buf_deinit(&answer);
    return err;
}

static enum err publish_to_server(const struct prog_registry *registry,
                                  const struct prog_manifest *m, const struct prog_package *package,
                                  const char *checksum, const char *readme, struct report *report)
{
    json_t *answer = post(registry, "/inferlets/new",
                          json_pack("{s:s, s:s, s:s, s:I, s:s}", "name", m->name, "version",
                                    m->version, "checksum", checksum, "size_bytes",
                                    (json_int_t)package->wasm_bytes, "description", m->description),
                          report);
    if (!answer)
        return report && report->code ? report->code : ERR_IO;
    const char *url = json_string_value(json_object_get(answer, "upload_url"));
    const char *storage = json_string_value(json_object_get(answer, "storage_path"));
    enum err err = url && storage ? upload(registry, url, package, report)
                                  : err_set(report, ERR_INVALID,
                                            "the registry did not say where to upload to");
    if (!err) {
        json_t *body = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s}", "name", m->name,
                                 "version", m->version, "checksum", checksum, "size_bytes",
                                 (json_int_t)package->wasm_bytes, "description", m->description,
                                 "storage_path", storage, "repository", m->repository, "readme",
                                 readme);
        put_pairs(body, "runtime", m->runtime, m->runtime_count);
        put_pairs(body, "dependencies", m->dependencies, m->dependency_count);
        put_texts(body, "authors", m->authors, m->author_count);
        put_texts(body, "keywords", m->keywords, m->keyword_count);
        json_t *parameters = json_object();
        for (size_t i = 0; i < m->parameter_count; i++)
            (void)json_object_set_new(
                parameters, m->parameters[i].name,
                json_pack("{s:s, s:b, s:s}", "type", prog_type_name(m->parameters[i].type),
                          "optional", m->parameters[i].optional, "description",
                          m->parameters[i].description));
        (void)json_object_set_new(body, "parameters", parameters);
        (void)json_object_set_new(body, "manifest",
                                  json_stringn(package->manifest, package->manifest_bytes));
        if (package->signature) {
            (void)json_object_set_new(body, "signature", json_string(package->signature));
            (void)json_object_set_new(body, "signed_by", json_string(package->signed_by));
        }
        json_t *done = post(registry, "/inferlets/new/commit", body, report);
        if (!done)
            err = report && report->code ? report->code : ERR_IO;
        json_decref(done);
    }
    json_decref(answer);
    return err;
}

enum err prog_registry_publish(const struct prog_registry *registry,
                               const struct prog_manifest *manifest, struct prog_package package,
                               const char *secret_key, const char *readme, struct report *report)
{
    char checksum[PROG_SHA256_TEXT], signature[PROG_SIGNATURE_TEXT], public_[PROG_KEY_TEXT];
    const char *folder = prog_registry_folder(registry->url);
    enum err err = prog_crypto_sha256(package.wasm, package.wasm_bytes, checksum, report);
    if (!err && secret_key) {
        struct buf text;
        buf_init(&text, NULL);
        err = prog_folder_signed_text(manifest->name, manifest->version, &package, &text, report);
        if (!err)
            err = prog_crypto_public(secret_key, public_, report);
        if (!err)
            err = prog_crypto_sign(secret_key, text.data, text.count, signature, report);
        buf_deinit(&text);
        package.signature = signature;
        package.signed_by = public_;
    }
    if (err)
        return err;
    if (folder)
        return prog_folder_publish(folder, manifest->name, manifest->version, &package, report);
    return publish_to_server(registry, manifest, &package, checksum, readme, report);
}
