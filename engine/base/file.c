#include "engine/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err open_regular(const char *path, int *fd, size_t *bytes, uint64_t *changed_ns,
                             struct report *report)
{
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return err_set(report, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open %s: %s",
                       path, strerror(errno));
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        (void)close(*fd);
        return err_set(report, ERR_INVALID, "%s is not a regular file", path);
    }
    *bytes = (size_t)info.st_size;
    *changed_ns = (uint64_t)info.st_mtim.tv_sec * 1000000000 + (uint64_t)info.st_mtim.tv_nsec;
    return ERR_OK;
}

enum err file_read(const char *path, size_t bytes_max, struct mem_heap *heap, char **data,
                   size_t *bytes, struct report *report)
{
    int fd;
    size_t size;
    uint64_t changed_ns;
    enum err err = open_regular(path, &fd, &size, &changed_ns, report);
    if (err)
        return err;
    if (size > bytes_max) {
        (void)close(fd);
        return err_set(report, ERR_LIMIT, "%s has %zu bytes, more than the %zu allowed", path,
                       size, bytes_max);
    }
    char *text = mem_alloc(heap, size + 1);
    if (!text) {
        (void)close(fd);
        return err_set(report, ERR_MEMORY, "no memory for the %zu bytes of %s", size, path);
    }
    size_t at = 0;
    while (at < size) {
        ssize_t got = read(fd, text + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int why = errno;
            (void)close(fd);
            mem_free(heap, text);
            return err_set(report, ERR_IO, "cannot read %s: %s", path, strerror(why));
        }
        if (got == 0)
            break; /* the file shrank meanwhile: what is there is the file */
        at += (size_t)got;
    }
    (void)close(fd);
    text[at] = '\0';
    *data = text;
    *bytes = at;
    return ERR_OK;
}

enum err file_map(const char *path, const uint8_t **data, size_t *bytes, struct report *report)
{
    uint64_t changed_ns;
    return file_map_dated(path, data, bytes, &changed_ns, report);
}

enum err file_map_dated(const char *path, const uint8_t **data, size_t *bytes,
                        uint64_t *changed_ns, struct report *report)
{
    int fd;
    size_t size;
    enum err err = open_regular(path, &fd, &size, changed_ns, report);
    if (err)
        return err;
    if (size == 0) {
        (void)close(fd);
        return err_set(report, ERR_INVALID, "%s is empty", path);
    }
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int why = errno;
    (void)close(fd);
    if (map == MAP_FAILED)
        return err_set(report, ERR_IO, "cannot map %s: %s", path, strerror(why));
    *data = map;
    *bytes = size;
    return ERR_OK;
}

void file_unmap(const uint8_t *data, size_t bytes)
{
    if (data)
        (void)munmap((void *)(uintptr_t)data, bytes);
}

enum err file_out_open(const char *path, struct file_out *out, struct report *report)
{
    int length = snprintf(out->path, sizeof out->path, "%s", path);
    if (length < 0 || (size_t)length >= sizeof out->path)
        return err_set(report, ERR_INVALID, "path too long: %s", path);
    (void)snprintf(out->temporary, sizeof out->temporary, "%s.tmp.%ld", path, (long)getpid());
    out->fd = open(out->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out->fd < 0)
        return err_set(report, ERR_IO, "cannot create %s: %s", out->temporary, strerror(errno));
    return ERR_OK;
}

static enum err cannot_write(struct file_out *out, int why, struct report *report)
{
    file_out_abort(out);
    return err_set(report, ERR_IO, "cannot write %s: %s", out->path, strerror(why));
}

enum err file_out_write(struct file_out *out, const void *data, size_t bytes,
                        struct report *report)
{
    const char *at = data;
    while (bytes) {
        ssize_t put = write(out->fd, at, bytes);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return cannot_write(out, errno, report);
        at += put;
        bytes -= (size_t)put;
    }
    return ERR_OK;
}

enum err file_out_commit(struct file_out *out, struct report *report)
{
    if (fsync(out->fd) != 0)
        return cannot_write(out, errno, report);
    int fd = out->fd;
    out->fd = -1;
    if (close(fd) != 0 || rename(out->temporary, out->path) != 0)
        return cannot_write(out, errno, report);
    return ERR_OK;
}

void file_out_abort(struct file_out *out)
{
    if (out->fd >= 0)
        (void)close(out->fd);
    out->fd = -1;
    (void)unlink(out->temporary);
}

enum err file_write(const char *path, const void *data, size_t bytes, struct report *report)
{
    struct file_out out;
    enum err err = file_out_open(path, &out, report);
    if (!err)
        err = file_out_write(&out, data, bytes, report);
    return err ? err : file_out_commit(&out, report);
}

enum err file_make_dirs(const char *path, struct report *report)
{
    char partial[PATH_MAX];
    size_t bytes = strlen(path);
    if (bytes >= sizeof partial)
        return err_set(report, ERR_INVALID, "path too long: %s", path);
    memcpy(partial, path, bytes + 1);
    for (size_t i = 1; i <= bytes; i++) {
        if (partial[i] != '/' && partial[i] != '\0')
            continue;
        char kept = partial[i];
        partial[i] = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            return err_set(report, ERR_IO, "cannot create folder %s: %s", partial,
                           strerror(errno));
        partial[i] = kept;
    }
    struct stat info;
    if (bytes && (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)))
        return err_set(report, ERR_IO, "cannot create folder %s: something else has its name",
                       path);
    return ERR_OK;
}
