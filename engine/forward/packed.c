#include "engine/forward/packed.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "models/gguf.h"

enum { FORMAT = 1 };

_Static_assert(sizeof(struct packed_key) == 88, "headers have no gaps");

bool packed_key(const struct gguf *file, const uint64_t plan[2], size_t region_bytes,
                struct packed_key *key)
{
    *key = (struct packed_key){.magic = "piepackd", .format = FORMAT,
                               .plan = {plan[0], plan[1]}, .region_bytes = region_bytes};
    if (!hash_build(key->build) || !gguf_identity(file, key->source))
        return false;
    hash_bytes((const uint8_t *)key, offsetof(struct packed_key, checksum), key->checksum);
    return true;
}

static bool is_trusted(int fd, const struct packed_key *key)
{
    struct stat info;
    struct packed_key found;
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
           (info.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           (uint64_t)info.st_size == PACKED_HEADER_BYTES + key->region_bytes &&
           pread(fd, &found, sizeof found, 0) == (ssize_t)sizeof found &&
           memcmp(&found, key, sizeof found) == 0;
}

bool packed_open(const char *path, const struct packed_key *key, struct packed_map *map)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    void *region = MAP_FAILED;
    if (fd < 0)
        return false;
    if (is_trusted(fd, key))
        region = mmap(NULL, key->region_bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd,
                      PACKED_HEADER_BYTES);
    (void)close(fd);
    if (region == MAP_FAILED)
        return false;
    *map = (struct packed_map){region, key->region_bytes};
    return true;
}

void packed_close(struct packed_map *map)
{
    (void)munmap((void *)(uintptr_t)map->region, map->region_bytes);
    *map = (struct packed_map){0};
}

static enum err make_folder_of(const char *path, struct report *report)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return ERR_OK;
    char *folder = mem_strdup(NULL, path, (size_t)(slash - path));
    if (!folder)
        return err_set(report, ERR_MEMORY, "no memory for a path");
    enum err err = file_make_dirs(folder, report);
    mem_free(NULL, folder);
    return err;
}

void packed_write(const char *path, const struct packed_key *key, const uint8_t *region)
{
    static const uint8_t zeros[PACKED_HEADER_BYTES - sizeof *key];
    struct file_out out;
    struct report report = {0};
    enum err err = make_folder_of(path, &report);
    if (!err)
        err = file_out_open(path, &out, &report);
    if (!err && fchmod(out.fd, S_IRUSR | S_IWUSR) != 0) {
        file_out_abort(&out);
        err = err_set(&report, ERR_IO, "cannot make %s private", path);
    }
    if (!err)
        err = file_out_write(&out, key, sizeof *key, &report);
    if (!err)
        err = file_out_write(&out, zeros, sizeof zeros, &report);
    if (!err)
        err = file_out_write(&out, region, key->region_bytes, &report);
    if (!err)
        err = file_out_commit(&out, &report);
    if (err)
        log_line(LOG_WARN, "packed weights are not kept: %s", report.text);
}
