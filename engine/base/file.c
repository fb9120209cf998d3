#include "engine/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err open_regular(const char *path, int *fd, size_t *bytes, struct report *report)
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
    return ERR_OK;
}

enum err file_read(const char *path, size_t bytes_max, struct mem_heap *heap, char **data,
                   size_t *bytes, struct report *report)
{
    int fd;
    size_t size;
    enum err err = open_regular(path, &fd, &size, report);
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
    int fd;
    size_t size;
    enum err err = open_regular(path, &fd, &size, report);
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

enum err file_write(const char *path, const void *data, size_t bytes, struct report *report)
{
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.tmp.%ld", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof temporary)
        return err_set(report, ERR_INVALID, "path too long: %s", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set(report, ERR_IO, "cannot create %s: %s", temporary, strerror(errno));
    const char *at = data;
    size_t left = bytes;
    while (left) {
        ssize_t put = write(fd, at, left);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            break;
        at += put;
        left -= (size_t)put;
    }
    int why = errno;
    if (left == 0 && fsync(fd) != 0)
        why = errno;
    else if (left == 0)
        why = 0;
    if (close(fd) != 0 && why == 0)
        why = errno;
    if (why == 0 && rename(temporary, path) != 0)
        why = errno;
    if (why != 0) {
        (void)unlink(temporary);
        return err_set(report, ERR_IO, "cannot write %s: %s", path, strerror(why));
    }
    return ERR_OK;
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
