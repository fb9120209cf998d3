#include "engine/program/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"
#include "engine/base/hash.h"

enum { FORMAT = 1, NAME_BYTES = 2 * 16 };
static const char suffix[] = ".known";

struct record {
    char magic[8];
    uint64_t format, build[2], bytes, hash[2];
    uint64_t checksum[2]; /* of all before */
};
_Static_assert(sizeof(struct record) == 72, "records have no gaps");

/* ---- files -------------------------------------------------------------------------------- */

static bool make_record(const struct prog_cache_key *key, struct record *record)
{
    uint64_t build[2] = {0};
    bool has_build = hash_build(build);
    *record = (struct record){.magic = "pieknown",
                              .format = FORMAT,
                              .build = {build[0], build[1]},
                              .bytes = key->bytes,
                              .hash = {key->hash[0], key->hash[1]}};
    hash_bytes((const uint8_t *)record, offsetof(struct record, checksum), record->checksum);
    return has_build;
}

static bool path_of(const char *directory, const struct prog_cache_key *key, struct buf *path)
{
    return buf_printf(path, "%s/%016" PRIx64 "%016" PRIx64 "%s", directory, key->hash[0],
                      key->hash[1], suffix);
}

bool prog_cache_knows(const char *directory, const uint8_t *wasm, size_t bytes,
                      struct prog_cache_key *key)
{
    struct record wanted;
    struct buf path;
    char *data = NULL;
    size_t count = 0;
    key->bytes = bytes;
    hash_bytes(wasm, bytes, key->hash);
    if (!make_record(key, &wanted))
        return false;
    buf_init(&path, NULL);
    bool known = path_of(directory, key, &path) &&
                 file_read(path.data, sizeof wanted, NULL, &data, &count, NULL) == ERR_OK &&
                 count == sizeof wanted && memcmp(data, &wanted, sizeof wanted) == 0;
    mem_free(NULL, data);
    buf_deinit(&path);
    return known;
}

static bool is_ours(const char *name)
{
    return strlen(name) == NAME_BYTES + sizeof suffix - 1 &&
           strspn(name, "0123456789abcdef") == NAME_BYTES &&
           strcmp(name + NAME_BYTES, suffix) == 0;
}

void prog_cache_note(const char *directory, const struct prog_cache_key *key)
{
    struct record record;
    struct buf path;
    if (!make_record(key, &record) || file_make_dirs(directory, NULL) != ERR_OK)
        return;
    if (prog_cache_size(directory).files >= PROG_CACHE_FILES_MAX)
        (void)prog_cache_clear(directory);
    buf_init(&path, NULL);
    if (path_of(directory, key, &path)) {
        enum err err = file_write(path.data, &record, sizeof record, NULL);
        (void)err; /* next time it is validated again, that is all */
    }
    buf_deinit(&path);
}

struct prog_cache_size prog_cache_size(const char *directory)
{
    struct prog_cache_size size = {0};
    DIR *open = opendir(directory);
    struct stat info;
    for (struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;)
        if (is_ours(entry->d_name) &&
            fstatat(dirfd(open), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
            size.files++;
            size.bytes += (uint64_t)info.st_blocks * 512;
        }
    if (open != NULL)
        (void)closedir(open);
    return size;
}

size_t prog_cache_clear(const char *directory)
{
    size_t removed = 0;
    DIR *open = opendir(directory);
    for (struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;)
        if (is_ours(entry->d_name) && unlinkat(dirfd(open), entry->d_name, 0) == 0)
            removed++;
    if (open != NULL)
        (void)closedir(open);
    return removed;
}
