/* Uploads wait in FOLDER/.uploads under random names (no program's name begins with a dot) until
 * they are committed or an hour old; checksum and size are checked when they are committed. Who
 * began an upload with a token gets its name, and who knows the name may put the bytes: clients
 * send no token with them. An empty file stands for an upload whose bytes have not come. */
#include "engine/server/registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/program/crypto.h"
#include "engine/program/folder.h"
#include "engine/program/manifest.h"

enum {
    JSON_MAX = 4 << 20, UPLOAD_SECONDS = 3600, UPLOADS_MAX = 100, PARTS_MAX = 8,
    UPLOAD_ID_TEXT = 33,
};
static const char uploads[] = ".uploads";

struct srv_registry {
    char *folder, *token;
};

/* One request on its way. */
struct exchange {
    struct srv_registry *registry;
    const struct srv_http_request *request;
    struct srv_http_response *response;
    char parts[PARTS_MAX][160]; /* of the path behind /api/v1/ */
    size_t part_count;
};

/* ---- answers ------------------------------------------------------------------------------ */

static void answer_json(struct exchange *x, int status, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    x->response->status = text ? status : 500;
    (void)buf_puts(&x->response->body, text ? text : "{\"detail\":\"out of memory\"}");
    free(text);
    json_decref(json);
}

static void answer_error(struct exchange *x, int status, const char *detail)
{
    buf_clear(&x->response->body);
    answer_json(x, status, json_pack("{s:s}", "detail", detail));
}

static void answer_report(struct exchange *x, const struct report *report)
{
    int status = report->code == ERR_NOT_FOUND  ? 404
                 : report->code == ERR_BUSY     ? 409
                 : report->code == ERR_DENIED   ? 403
                 : report->code == ERR_INVALID  ? 422
                 : report->code == ERR_LIMIT    ? 413
                                                : 500;
    /* What went wrong on our side names paths that are nobody's business. */
    answer_error(x, status, status == 500 ? "the registry failed" : report->text);
}

static bool has_token(const struct srv_registry *registry, const struct srv_http_request *request)
{
    static const char bearer[] = "Bearer ";
    char given[300];
    struct srv_http_text value = srv_http_header(request, "authorization");
    size_t prefix = sizeof bearer - 1;
    if (!registry->token || value.bytes <= prefix || value.bytes - prefix >= sizeof given ||
        memcmp(value.data, bearer, prefix) != 0)
        return false;
    (void)snprintf(given, sizeof given, "%.*s", (int)(value.bytes - prefix), value.data + prefix);
    return prog_crypto_equal(given, registry->token);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void search(struct exchange *x)
{
    char query[200], page[16], per_page[16];
    struct report report = {0};
    if (!srv_http_query(x->request, "q", query, sizeof query) ||
        !srv_http_query(x->request, "page", page, sizeof page) ||
        !srv_http_query(x->request, "per_page", per_page, sizeof per_page)) {
        answer_error(x, 400, "the query is malformed");
        return;
    }
    unsigned long number = strtoul(page, NULL, 10), size = strtoul(per_page, NULL, 10);
    number = number < 1 ? 1 : number > 100000 ? 100000 : number;
    size = size < 1 ? 20 : size > 100 ? 100 : size;
    if (prog_folder_search(x->registry->folder, query, (uint32_t)number, (uint32_t)size,
                           &x->response->body, &report))
        answer_report(x, &report);
}

static void info(struct exchange *x)
{
    struct report report = {0};
    if (prog_folder_info(x->registry->folder, x->parts[1], &x->response->body, &report))
        answer_report(x, &report);
}

static void send_file(struct exchange *x, bool is_wasm)
{
    char path[PROG_FOLDER_PATH_MAX];
    struct report report = {0};
    struct stat status;
    if (prog_folder_path(x->registry->folder, x->parts[1], x->parts[2], is_wasm ? "wasm" : "toml",
                         path, &report)) {
        answer_report(x, &report);
        return;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        if (fd >= 0)
            (void)close(fd);
        answer_error(x, 500, "the registry failed");
        return;
    }
    x->response->content_type = is_wasm ? "application/wasm" : "text/plain; charset=utf-8";
    x->response->file = fd;
    x->response->file_bytes = (uint64_t)status.st_size;
}

static void me(struct exchange *x)
{
    if (!has_token(x->registry, x->request))
        answer_error(x, 401, "this token may not publish here");
    else
        answer_json(x, 200, json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", "1", "login", "publisher",
                                      "name", "publisher", "avatar_url", "", "is_superuser", 0));
}

/* ---- publishing --------------------------------------------------------------------------- */

/* The path of an upload; `id` has been checked or made here. */
static bool upload_path(const struct srv_registry *registry, const char *id,
                        char out[PROG_FOLDER_PATH_MAX])
{
    return snprintf(out, PROG_FOLDER_PATH_MAX, "%s/%s%s%s", registry->folder, uploads, id ? "/" : "",
                    id ? id : "") < PROG_FOLDER_PATH_MAX;
}

/* Removes what nobody committed; how many are left. */
static size_t sweep_uploads(const struct srv_registry *registry)
{
    char path[PROG_FOLDER_PATH_MAX];
    struct stat status;
    size_t left = 0;
    DIR *dir = upload_path(registry, NULL, path) ? opendir(path) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!prog_crypto_is_hex(entry->d_name, 16) || !upload_path(registry, entry->d_name, path) ||
            stat(path, &status) != 0)
            continue;
        if (time(NULL) - status.st_mtime > UPLOAD_SECONDS)
            (void)unlink(path);
        else
            left++;
    }
    if (dir)
        (void)closedir(dir);
    return left;
}

/* The request's JSON object, NULL with an answer. */
static json_t *body_json(struct exchange *x)
{
    json_t *json = json_loadb(x->request->body, (size_t)x->request->body_bytes, JSON_REJECT_DUPLICATES,
                              NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        answer_error(x, 400, "the body is no JSON object");
        return NULL;
    }
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text ? text : "";
}

/* Name, version and checksum of a body are well-formed; otherwise there is an answer. */
static bool check_body(struct exchange *x, const json_t *json)
{
    const char *name = text_of(json, "name"), *version = text_of(json, "version");
    if (prog_name_is_valid(name, strlen(name)) && prog_version_is_valid(version, strlen(version)) &&
        prog_crypto_is_hex(text_of(json, "checksum"), 32) &&
        json_is_integer(json_object_get(json, "size_bytes")))
        return true;
    answer_error(x, 422, "name, version (three numbers), checksum (sha256 in hex) and size_bytes are "
                         "needed");
    return false;
}

static void begin_upload(struct exchange *x)
{
    char id[UPLOAD_ID_TEXT], path[PROG_FOLDER_PATH_MAX], host[300];
    struct report report = {0};
    json_t *json = body_json(x);
    if (!json)
        return;
    struct srv_http_text given = srv_http_header(x->request, "host");
    bool ok = check_body(x, json);
    if (ok && prog_folder_path(x->registry->folder, text_of(json, "name"), text_of(json, "version"),
                               "wasm", path, &report) == ERR_OK) {
        answer_error(x, 409, "this version is published already; raise it");
        ok = false;
    }
    json_int_t size = json_integer_value(json_object_get(json, "size_bytes"));
    if (ok && (size < 8 || size > PROG_WASM_BYTES_MAX)) {
        answer_error(x, 413, "the program is empty or too large");
        ok = false;
    }
    if (ok && (given.bytes == 0 || given.bytes >= sizeof host ||
               strspn(given.data, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".:-[]_") < given.bytes)) {
        answer_error(x, 400, "a Host header is needed");
        ok = false;
    }
    if (ok && sweep_uploads(x->registry) >= UPLOADS_MAX) {
        answer_error(x, 503, "too many uploads are under way");
        ok = false;
    }
    report = (struct report){0};
    if (ok && (prog_crypto_random(16, id, &report) || !upload_path(x->registry, NULL, path) ||
               file_make_dirs(path, &report) || !upload_path(x->registry, id, path) ||
               file_write(path, "", 0, &report))) {
        answer_error(x, 500, "the registry failed");
        ok = false;
    }
    if (ok) {
        char url[400], storage[64];
        (void)snprintf(url, sizeof url, "http://%.*s/api/v1/uploads/%s", (int)given.bytes, given.data, id);
        (void)snprintf(storage, sizeof storage, "uploads/%s", id);
        answer_json(x, 200, json_pack("{s:s, s:s, s:i}", "upload_url", url, "storage_path", storage,
                                      "expires_in_seconds", UPLOAD_SECONDS));
    }
    json_decref(json);
}

/* An upload that was begun and whose bytes have not come. */
static bool is_begun(const struct srv_registry *registry, const char *id)
{
    char path[PROG_FOLDER_PATH_MAX];
    struct stat status;
    return prog_crypto_is_hex(id, 16) && upload_path(registry, id, path) &&
           stat(path, &status) == 0 && status.st_size == 0;
}

/* `check` has found it begun. */
static void take_upload(struct exchange *x)
{
    char path[PROG_FOLDER_PATH_MAX];
    struct report report = {0};
    if (!upload_path(x->registry, x->parts[1], path) ||
        file_write(path, x->request->body, (size_t)x->request->body_bytes, &report)) {
        answer_error(x, 500, "the registry failed");
        return;
    }
    answer_json(x, 200, json_object());
}

/* A JSON string as a TOML one: the escapes that JSON needs are TOML's too. */
static void put_toml_text(struct buf *out, const char *key, const char *text)
{
    (void)buf_printf(out, "%s = ", key);
    (void)buf_put_json(out, text, strlen(text));
    (void)buf_putc(out, '\n');
}

static void put_toml_texts(struct buf *out, const char *key, const json_t *array)
{
    size_t i;
    json_t *one;
    (void)buf_printf(out, "%s = [", key);
    json_array_foreach(array, i, one)
    {
        const char *text = json_string_value(one);
        if (i)
            (void)buf_puts(out, ", ");
        (void)buf_put_json(out, text ? text : "", text ? strlen(text) : 0);
    }
    (void)buf_puts(out, "]\n");
}

static void put_toml_pairs(struct buf *out, const char *section, json_t *object)
{
    const char *key;
    json_t *value;
    (void)buf_printf(out, "\n[%s]\n", section);
    json_object_foreach(object, key, value)
    {
        (void)buf_put_json(out, key, strlen(key));
        put_toml_text(out, "", json_string_value(value) ? json_string_value(value) : "");
    }
}

/* Clients of Pie 0.4 send what a Pie.toml says, not the file itself. */
static void put_manifest(struct buf *out, const json_t *json)
{
    const char *key;
    json_t *value;
    (void)buf_puts(out, "[package]\n");
    const char *const texts[] = {"name", "version", "description", "repository"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        put_toml_text(out, texts[i], text_of(json, texts[i]));
    put_toml_texts(out, "authors", json_object_get(json, "authors"));
    put_toml_texts(out, "keywords", json_object_get(json, "keywords"));
    put_toml_pairs(out, "runtime", json_object_get(json, "runtime"));
    put_toml_pairs(out, "dependencies", json_object_get(json, "dependencies"));
    (void)buf_puts(out, "\n[parameters]\n");
    json_object_foreach(json_object_get(json, "parameters"), key, value)
    {
        (void)buf_put_json(out, key, strlen(key));
        (void)buf_puts(out, " = { type = ");
        const char *type = text_of(value, "type"), *description = text_of(value, "description");
        (void)buf_put_json(out, type, strlen(type));
        (void)buf_printf(out, ", optional = %s, description = ",
                         json_is_true(json_object_get(value, "optional")) ? "true" : "false");
        (void)buf_put_json(out, description, strlen(description));
        (void)buf_puts(out, " }\n");
    }
}

static enum err commit_body(struct exchange *x, const json_t *json, const char *path,
                            struct report *report)
{
    char checksum[PROG_SHA256_TEXT];
    struct buf manifest;
    char *wasm;
    size_t bytes;
    const char *signature = text_of(json, "signature");
    enum err err = file_read(path, PROG_WASM_BYTES_MAX, NULL, &wasm, &bytes, report);
    if (err)
        return err;
    buf_init(&manifest, NULL);
    const char *text = text_of(json, "manifest");
    if (text[0])
        (void)buf_puts(&manifest, text);
    else
        put_manifest(&manifest, json);
    err = manifest.failed ? err_set(report, ERR_MEMORY, "no memory for the Pie.toml")
                          : prog_crypto_sha256(wasm, bytes, checksum, report);
    if (!err && (strcmp(checksum, text_of(json, "checksum")) != 0 ||
                 (json_int_t)bytes != json_integer_value(json_object_get(json, "size_bytes"))))
        err = err_set(report, ERR_INVALID, "what was uploaded is not what the checksum is of");
    const struct prog_package package = {.manifest = manifest.data,
                                         .manifest_bytes = manifest.count,
                                         .wasm = (const uint8_t *)wasm,
                                         .wasm_bytes = bytes,
                                         .signature = signature[0] ? signature : NULL,
                                         .signed_by = text_of(json, "signed_by")};
    if (!err)
        err = prog_folder_publish(x->registry->folder, text_of(json, "name"), text_of(json, "version"),
                                  &package, report);
    mem_free(NULL, wasm);
    buf_deinit(&manifest);
    return err;
}

static void commit(struct exchange *x)
{
    char path[PROG_FOLDER_PATH_MAX];
    struct report report = {0};
    json_t *json = body_json(x);
    if (!json)
        return;
    const char *storage = text_of(json, "storage_path");
    if (!check_body(x, json)) {
        json_decref(json);
        return;
    }
    if (strncmp(storage, "uploads/", 8) != 0 || !prog_crypto_is_hex(storage + 8, 16) ||
        !upload_path(x->registry, storage + 8, path) || access(path, R_OK) != 0) {
        answer_error(x, 422, "nothing was uploaded to storage_path");
    } else if (commit_body(x, json, path, &report)) {
        answer_report(x, &report);
    } else {
        answer_json(x, 201, json_pack("{s:s, s:s, s:s, s:s}", "id", text_of(json, "name"), "name",
                                      text_of(json, "name"), "version", text_of(json, "version"),
                                      "storage_path", storage));
    }
    (void)unlink(path);
    json_decref(json);
}

/* ---- routes ------------------------------------------------------------------------------- */

enum access { PUBLIC, PUBLISHER, UPLOADER };

static const struct route {
    const char *method, *first, *second, *last;
    size_t part_count;
    enum access access;
    uint64_t body_max;
    enum { SEARCH, INFO, MANIFEST, DOWNLOAD, ME, NEW, COMMIT, UPLOAD } what;
} routes[] = {
    {"POST", "inferlets", "new", NULL, 2, PUBLISHER, JSON_MAX, NEW},
    {"POST", "inferlets", "new", "commit", 3, PUBLISHER, JSON_MAX, COMMIT},
    {"PUT", "uploads", NULL, NULL, 2, UPLOADER, PROG_WASM_BYTES_MAX, UPLOAD},
    {"GET", "inferlets", NULL, NULL, 1, PUBLIC, 0, SEARCH},
    {"GET", "auth", "me", NULL, 2, PUBLIC, 0, ME},
    {"GET", "inferlets", NULL, NULL, 2, PUBLIC, 0, INFO},
    {"GET", "inferlets", NULL, "manifest", 4, PUBLIC, 0, MANIFEST},
    {"GET", "inferlets", NULL, "download", 4, PUBLIC, 0, DOWNLOAD},
};

/* The parts of the path behind /api/v1/; false when it is no path of ours. */
static bool split_path(struct exchange *x)
{
    static const char prefix[] = "/api/v1/";
    struct srv_http_text path = x->request->path;
    size_t at = sizeof prefix - 1;
    if (path.bytes < at || memcmp(path.data, prefix, at) != 0)
        return false;
    while (at < path.bytes) {
        const char *part = path.data + at;
        const char *end = memchr(part, '/', path.bytes - at);
        size_t bytes = end ? (size_t)(end - part) : path.bytes - at;
        if (x->part_count == PARTS_MAX || bytes == 0 ||
            !srv_http_decode((struct srv_http_text){part, bytes}, false, x->parts[x->part_count],
                             sizeof x->parts[0]))
            return false;
        x->part_count++;
        at += bytes + 1;
    }
    return true;
}

static const struct route *find_route(const struct exchange *x)
{
    bool is_head = srv_http_is(x->request->method, "HEAD");
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *route = &routes[i];
        size_t last = route->part_count - 1;
        if (x->part_count == route->part_count &&
            srv_http_is(x->request->method, is_head && strcmp(route->method, "GET") == 0
                                                ? "HEAD" : route->method) &&
            strcmp(x->parts[0], route->first) == 0 &&
            (!route->second || strcmp(x->parts[1], route->second) == 0) &&
            (!route->last || strcmp(x->parts[last], route->last) == 0))
            return route;
    }
    return NULL;
}

static int check(void *user, const struct srv_http_request *request, uint64_t *body_max)
{
    struct exchange x = {.registry = user, .request = request};
    const struct route *route = split_path(&x) ? find_route(&x) : NULL;
    if (!route) {
        *body_max = JSON_MAX; /* answered with a sentence once it is here */
        return 0;
    }
    *body_max = route->body_max;
    if (route->access == UPLOADER)
        return is_begun(user, x.parts[1]) ? 0 : 404;
    return route->access == PUBLISHER && !has_token(user, request) ? 401 : 0;
}

static void answer(void *user, const struct srv_http_request *request,
                   struct srv_http_response *response)
{
    struct exchange x = {.registry = user, .request = request, .response = response};
    const struct route *route = split_path(&x) ? find_route(&x) : NULL;
    if (!route) {
        answer_error(&x, 404, "there is nothing here; the protocol begins at /api/v1/inferlets");
        return;
    }
    switch (route->what) {
    case SEARCH: search(&x); break;
    case INFO: info(&x); break;
    case MANIFEST: send_file(&x, false); break;
    case DOWNLOAD: send_file(&x, true); break;
    case ME: me(&x); break;
    case NEW: begin_upload(&x); break;
    case COMMIT: commit(&x); break;
    case UPLOAD: take_upload(&x); break;
    }
}

/* ------------------------------------------------------------------------------------------- */

enum err srv_registry_create(const struct srv_registry_config *config, struct srv_registry **out,
                             struct report *report)
{
    struct srv_registry *registry = mem_calloc(NULL, 1, sizeof *registry);
    if (registry) {
        registry->folder = mem_strdup(NULL, config->folder, strlen(config->folder));
        if (config->token)
            registry->token = mem_strdup(NULL, config->token, strlen(config->token));
    }
    if (!registry || !registry->folder || (config->token && !registry->token)) {
        srv_registry_destroy(registry);
        return err_set(report, ERR_MEMORY, "no memory for a registry");
    }
    *out = registry;
    return ERR_OK;
}

void srv_registry_destroy(struct srv_registry *registry)
{
    if (!registry)
        return;
    mem_free(NULL, registry->folder);
    mem_free(NULL, registry->token);
    mem_free(NULL, registry);
}

struct srv_http_handler srv_registry_handler(struct srv_registry *registry)
{
    return (struct srv_http_handler){.check = check, .answer = answer, .user = registry};
}
