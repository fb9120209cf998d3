/* wasi:filesystem. Everything is denied but what lies under the context's preopened directories;
 * without any, get-directories is empty and nobody ever holds a descriptor.
 *
 * A guest's path is resolved by the kernel below the descriptor's own directory (openat2 with
 * RESOLVE_BENEATH): neither "..", nor an absolute path, nor a symbolic link leads out. What acts
 * on a name (unlink, rename) opens the parent that way and keeps to the last part of the path.
 *
 * Files are the host's own and local; calls on them do not wait. Source: WASI 0.2.9
 * proposals/filesystem. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interp/wasi/ctx.h"

#define TYPES "wasi:filesystem/types@0.2.9"
#define PREOPENS "wasi:filesystem/preopens@0.2.9"

enum error_code {
    ACCESS, WOULD_BLOCK, ALREADY, BAD_DESCRIPTOR, BUSY, DEADLOCK, QUOTA, EXIST, FILE_TOO_LARGE,
    ILLEGAL_BYTE_SEQUENCE, IN_PROGRESS, INTERRUPTED, INVALID, IO, IS_DIRECTORY, LOOP,
    TOO_MANY_LINKS, MESSAGE_SIZE, NAME_TOO_LONG, NO_DEVICE, NO_ENTRY, NO_LOCK,
    INSUFFICIENT_MEMORY, INSUFFICIENT_SPACE, NOT_DIRECTORY, NOT_EMPTY, NOT_RECOVERABLE,
    UNSUPPORTED, NO_TTY, NO_SUCH_DEVICE, OVERFLOW, NOT_PERMITTED, PIPE, READ_ONLY, INVALID_SEEK,
    TEXT_FILE_BUSY, CROSS_DEVICE,
};

enum { FLAG_READ = 1, FLAG_WRITE = 2, FLAG_MUTATE = 32 };
enum { OPEN_CREATE = 1, OPEN_DIRECTORY = 2, OPEN_EXCLUSIVE = 4, OPEN_TRUNCATE = 8 };
enum { READ_BYTES_MAX = 1 << 20, PATH_BYTES_MAX = 4096, NS_PER_S = 1000 * 1000 * 1000 };

struct descriptor {
    struct wasi_ctx *ctx;
    int fd;
    bool writable; /* what its preopen allows */
    uint32_t flags;
};

struct entries {
    struct wasi_ctx *ctx;
    DIR *directory;
};

#define FN(name)                                                                               \
    static enum comp_host_result name(struct comp_host_call *call, const struct comp_value *args, \
                                      struct comp_value *result, void *user)

/* ---- answers ----------------------------------------------------------------------------- */

static enum error_code code_of(int number)
{
    switch (number) {
    case EACCES: return ACCESS;
    case EAGAIN: return WOULD_BLOCK;
    case EALREADY: return ALREADY;
    case EBADF: return BAD_DESCRIPTOR;
    case EBUSY: return BUSY;
    case EDQUOT: return QUOTA;
    case EEXIST: return EXIST;
    case EFBIG: return FILE_TOO_LARGE;
    case EILSEQ: return ILLEGAL_BYTE_SEQUENCE;
    case EINTR: return INTERRUPTED;
    case EINVAL: return INVALID;
    case EISDIR: return IS_DIRECTORY;
    case ELOOP: return LOOP;
    case EMLINK: return TOO_MANY_LINKS;
    case ENAMETOOLONG: return NAME_TOO_LONG;
    case ENODEV: return NO_DEVICE;
    case ENOENT: return NO_ENTRY;
    case ENOMEM: return INSUFFICIENT_MEMORY;
    case ENOSPC: return INSUFFICIENT_SPACE;
    case ENOTDIR: return NOT_DIRECTORY;
    case ENOTEMPTY: return NOT_EMPTY;
    case ENOTSUP: case ENOSYS: return UNSUPPORTED;
    case EOVERFLOW: return OVERFLOW;
    case EPERM: return NOT_PERMITTED;
    case EROFS: return READ_ONLY;
    case ESPIPE: return INVALID_SEEK;
    case ETXTBSY: return TEXT_FILE_BUSY;
    case EXDEV: return NOT_PERMITTED; /* how openat2 says that a path leads out */
    default: return IO;
    }
}

static enum comp_host_result refuse(struct comp_host_call *call, enum error_code code,
                                    struct comp_value *result)
{
    struct comp_value value = {.kind = COMP_ENUM, .of.u = code};
    return wasi_err(call, result, &value);
}

/* ok() when `status` is 0, else errno. */
static enum comp_host_result answer(struct comp_host_call *call, int status,
                                    struct comp_value *result)
{
    return status == 0 ? wasi_ok(call, result, NULL) : refuse(call, code_of(errno), result);
}

static enum comp_host_result give(struct comp_host_call *call, struct comp_value value,
                                  struct comp_value *result)
{
    return wasi_ok(call, result, &value);
}

/* ---- descriptors ------------------------------------------------------------------------- */

static void drop_descriptor(void *host, void *rep)
{
    struct descriptor *descriptor = rep;
    (void)host;
    close(descriptor->fd);
    mem_free(descriptor->ctx->heap, descriptor);
}

static void drop_entries(void *host, void *rep)
{
    struct entries *entries = rep;
    (void)host;
    closedir(entries->directory);
    mem_free(entries->ctx->heap, entries);
}

/* Takes the fd, also when it fails. */
static struct descriptor *new_descriptor(struct wasi_ctx *ctx, int fd, bool writable,
                                         uint32_t flags)
{
    struct descriptor *descriptor = mem_alloc(ctx->heap, sizeof *descriptor);
    if (!descriptor) {
        close(fd);
        return NULL;
    }
    *descriptor = (struct descriptor){ctx, fd, writable, flags};
    return descriptor;
}

static int duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

FN(get_directories)
{
    struct wasi_ctx *ctx = wasi_ctx_of(call, user);
    size_t count = ctx->preopen_count;
    struct comp_value *items = arena_calloc(call->arena, 3 * (count + 1), sizeof *items);
    (void)args;
    if (!items)
        return wasi_no_memory(call);
    for (size_t i = 0; i < count; i++) {
        const struct wasi_directory *from = &ctx->preopens[i];
        struct comp_value *pair = items + count + 2 * i;
        int fd = duplicate(from->fd);
        struct descriptor *descriptor =
            fd < 0 ? NULL
                   : new_descriptor(ctx, fd, from->writable,
                                    from->writable ? FLAG_READ | FLAG_MUTATE : FLAG_READ);
        if (!descriptor) {
            while (i-- > 0)
                drop_descriptor(call->host, items[count + 2 * i].of.rep);
            return wasi_no_memory(call);
        }
        pair[0] = comp_own(descriptor);
        pair[1] = comp_string(from->guest_path, strlen(from->guest_path));
        items[i] = comp_items(COMP_TUPLE, pair, 2);
    }
    *result = comp_items(COMP_LIST, items, count);
    return COMP_HOST_DONE;
}

/* ---- paths ------------------------------------------------------------------------------- */

/* As openat, but never out of `fd`'s directory. */
static int open_beneath(int fd, const char *path, uint64_t flags, bool follow)
{
    struct open_how how = {.flags = flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY) |
                                    (follow ? 0 : O_NOFOLLOW),
                           .mode = flags & O_CREAT ? 0666 : 0,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, fd, path, &how, sizeof how);
}

/* The guest's path as a C string; false (errno set) when it cannot be one. */
static bool get_path(const struct comp_value *from, char path[PATH_BYTES_MAX])
{
    size_t bytes = from->of.string.bytes;
    if (bytes >= PATH_BYTES_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (memchr(from->of.string.data, 0, bytes)) {
        errno = EINVAL;
        return false;
    }
    memcpy(path, from->of.string.data, bytes);
    path[bytes] = 0;
    if (bytes == 0)
        errno = ENOENT;
    else if (path[0] == '/')
        errno = EPERM;
    return bytes != 0 && path[0] != '/';
}

struct place {
    int fd; /* the parent's */
    char path[PATH_BYTES_MAX];
    const char *name; /* last part of path */
};

/* Opens the parent of a path; close(place->fd) after. False with errno. */
static bool find_place(const struct descriptor *in, const struct comp_value *from,
                       struct place *place)
{
    if (!get_path(from, place->path))
        return false;
    size_t bytes = strlen(place->path);
    while (bytes > 1 && place->path[bytes - 1] == '/')
        place->path[--bytes] = 0;
    char *slash = strrchr(place->path, '/');
    place->name = slash ? slash + 1 : place->path;
    if (strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0) {
        errno = EPERM;
        return false;
    }
    if (slash)
        *slash = 0;
    place->fd = slash ? open_beneath(in->fd, place->path, O_PATH | O_DIRECTORY, true)
                      : duplicate(in->fd);
    return place->fd >= 0;
}

static bool follows(const struct comp_value *path_flags)
{
    return path_flags->of.u & 1;
}

/* An O_PATH descriptor of what the path names; -1 with errno. */
static int open_path(const struct descriptor *in, const struct comp_value *path_flags,
                     const struct comp_value *from)
{
    char path[PATH_BYTES_MAX];
    return get_path(from, path) ? open_beneath(in->fd, path, O_PATH, follows(path_flags)) : -1;
}

/* ---- metadata ---------------------------------------------------------------------------- */

enum { UNKNOWN, BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, FIFO, SYMBOLIC_LINK, REGULAR, SOCKET };

static struct comp_value type_of(mode_t mode)
{
    unsigned type = S_ISREG(mode)    ? REGULAR
                    : S_ISDIR(mode)  ? DIRECTORY
                    : S_ISLNK(mode)  ? SYMBOLIC_LINK
                    : S_ISCHR(mode)  ? CHARACTER_DEVICE
                    : S_ISBLK(mode)  ? BLOCK_DEVICE
                    : S_ISFIFO(mode) ? FIFO
                    : S_ISSOCK(mode) ? SOCKET
                                     : UNKNOWN;
    return (struct comp_value){.kind = COMP_ENUM, .of.u = type};
}

static bool put_time(struct arena *arena, const struct timespec *time, struct comp_value *out)
{
    struct comp_value *items = arena_alloc(arena, 2 * sizeof *items);
    if (!items)
        return false;
    items[0] = comp_u64((uint64_t)time->tv_sec);
    items[1] = comp_u32((uint32_t)time->tv_nsec);
    return comp_some(arena, comp_items(COMP_RECORD, items, 2), out);
}

static enum comp_host_result give_stat(struct comp_host_call *call, const struct stat *from,
                                       struct comp_value *result)
{
    struct comp_value *items = arena_alloc(call->arena, 6 * sizeof *items);
    if (!items || !put_time(call->arena, &from->st_atim, &items[3]) ||
        !put_time(call->arena, &from->st_mtim, &items[4]) ||
        !put_time(call->arena, &from->st_ctim, &items[5]))
        return wasi_no_memory(call);
    items[0] = type_of(from->st_mode);
    items[1] = comp_u64((uint64_t)from->st_nlink);
    items[2] = comp_u64((uint64_t)from->st_size);
    return give(call, comp_items(COMP_RECORD, items, 6), result);
}

/* Two words that are the same for the same file unchanged. */
static enum comp_host_result give_hash(struct comp_host_call *call, const struct stat *from,
                                       struct comp_value *result)
{
    struct comp_value *items = arena_alloc(call->arena, 2 * sizeof *items);
    uint64_t words[2] = {(uint64_t)from->st_ino * 0x9E3779B97F4A7C15u + (uint64_t)from->st_dev,
                         (uint64_t)from->st_mtim.tv_sec * NS_PER_S +
                             (uint64_t)from->st_mtim.tv_nsec + (uint64_t)from->st_size * 31};
    if (!items)
        return wasi_no_memory(call);
    items[0] = comp_u64(words[0]);
    items[1] = comp_u64(words[1]);
    return give(call, comp_items(COMP_RECORD, items, 2), result);
}

/* A stat of the descriptor itself, or of a path under it. */
static int stat_of(const struct comp_value *args, bool has_path, struct stat *out)
{
    const struct descriptor *d = args[0].of.rep;
    if (!has_path)
        return fstat(d->fd, out);
    int fd = open_path(d, &args[1], &args[2]);
    if (fd < 0)
        return -1;
    int status = fstat(fd, out);
    int number = errno;
    close(fd);
    errno = number;
    return status;
}

FN(stat_self)
{
    struct stat stat;
    (void)user;
    return stat_of(args, false, &stat) == 0 ? give_stat(call, &stat, result)
                                            : refuse(call, code_of(errno), result);
}

FN(stat_at)
{
    struct stat stat;
    (void)user;
    return stat_of(args, true, &stat) == 0 ? give_stat(call, &stat, result)
                                           : refuse(call, code_of(errno), result);
}

FN(metadata_hash)
{
    struct stat stat;
    (void)user;
    return stat_of(args, false, &stat) == 0 ? give_hash(call, &stat, result)
                                            : refuse(call, code_of(errno), result);
}

FN(metadata_hash_at)
{
    struct stat stat;
    (void)user;
    return stat_of(args, true, &stat) == 0 ? give_hash(call, &stat, result)
                                           : refuse(call, code_of(errno), result);
}

FN(get_type)
{
    struct stat stat;
    (void)user;
    return stat_of(args, false, &stat) == 0 ? give(call, type_of(stat.st_mode), result)
                                            : refuse(call, code_of(errno), result);
}

FN(get_flags)
{
    const struct descriptor *d = args[0].of.rep;
    struct comp_value flags = {.kind = COMP_FLAGS, .of.u = d->flags};
    (void)user;
    return give(call, flags, result);
}

FN(is_same_object)
{
    struct stat a, b;
    (void)call, (void)user;
    *result = comp_bool(fstat(((const struct descriptor *)args[0].of.rep)->fd, &a) == 0 &&
                        fstat(((const struct descriptor *)args[1].of.rep)->fd, &b) == 0 &&
                        a.st_dev == b.st_dev && a.st_ino == b.st_ino);
    return COMP_HOST_DONE;
}

static struct timespec new_time(const struct comp_value *value)
{
    if (value->of.variant.index == 0)
        return (struct timespec){.tv_nsec = UTIME_OMIT};
    if (value->of.variant.index == 1)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    const struct comp_value *items = value->of.variant.payload->of.list.items;
    return (struct timespec){(time_t)items[0].of.u, (long)items[1].of.u};
}

FN(set_times)
{
    const struct descriptor *d = args[0].of.rep;
    struct timespec times[2] = {new_time(&args[1]), new_time(&args[2])};
    (void)user;
    if (!d->writable)
        return refuse(call, NOT_PERMITTED, result);
    return answer(call, futimens(d->fd, times), result);
}

FN(set_times_at)
{
    const struct descriptor *d = args[0].of.rep;
    struct timespec times[2] = {new_time(&args[3]), new_time(&args[4])};
    char name[40];
    (void)user;
    if (!d->writable)
        return refuse(call, NOT_PERMITTED, result);
    int fd = open_path(d, &args[1], &args[2]);
    if (fd < 0)
        return refuse(call, code_of(errno), result);
    /* The file itself by its descriptor, so that no name is looked up twice. */
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int status = utimensat(AT_FDCWD, name, times, 0), number = errno;
    close(fd);
    errno = number;
    return answer(call, status, result);
}

/* ---- content ----------------------------------------------------------------------------- */

FN(read_via_stream)
{
    const struct descriptor *d = args[0].of.rep;
    (void)user;
    if (!(d->flags & FLAG_READ))
        return refuse(call, BAD_DESCRIPTOR, result);
    struct wasi_input *input = wasi_input_create(d->ctx, WASI_STREAM_FILE);
    if (!input || (input->fd = duplicate(d->fd)) < 0) {
        mem_free(d->ctx->heap, input);
        return refuse(call, INSUFFICIENT_MEMORY, result);
    }
    input->offset = args[1].of.u;
    return wasi_ok_own(call, result, input, wasi_input_drop);
}

static enum comp_host_result write_stream(struct comp_host_call *call, const struct descriptor *d,
                                          bool is_append, uint64_t offset,
                                          struct comp_value *result)
{
    if (!(d->flags & FLAG_WRITE))
        return refuse(call, BAD_DESCRIPTOR, result);
    struct wasi_out *out = wasi_out_create(d->ctx, WASI_STREAM_FILE);
    if (!out || (out->fd = duplicate(d->fd)) < 0) {
        mem_free(d->ctx->heap, out);
        return refuse(call, INSUFFICIENT_MEMORY, result);
    }
    out->is_append = is_append;
    out->offset = offset;
    return wasi_ok_own(call, result, out, wasi_out_drop);
}

FN(write_via_stream)
{
    (void)user;
    return write_stream(call, args[0].of.rep, false, args[1].of.u, result);
}

FN(append_via_stream)
{
    (void)user;
    return write_stream(call, args[0].of.rep, true, 0, result);
}

FN(read_bytes)
{
    const struct descriptor *d = args[0].of.rep;
    size_t want = args[1].of.u < READ_BYTES_MAX ? (size_t)args[1].of.u : READ_BYTES_MAX;
    (void)user;
    if (!(d->flags & FLAG_READ))
        return refuse(call, BAD_DESCRIPTOR, result);
    if (args[2].of.u > INT64_MAX)
        return refuse(call, INVALID, result);
    uint8_t *data = arena_alloc(call->arena, want);
    struct comp_value *pair = arena_alloc(call->arena, 2 * sizeof *pair);
    if (!data || !pair)
        return wasi_no_memory(call);
    ssize_t got = pread(d->fd, data, want, (off_t)args[2].of.u);
    if (got < 0)
        return refuse(call, code_of(errno), result);
    pair[0] = comp_list_packed(data, (size_t)got);
    pair[1] = comp_bool(got == 0 && want != 0);
    return give(call, comp_items(COMP_TUPLE, pair, 2), result);
}

FN(write_bytes)
{
    const struct descriptor *d = args[0].of.rep;
    (void)user;
    if (!(d->flags & FLAG_WRITE))
        return refuse(call, BAD_DESCRIPTOR, result);
    if (args[2].of.u > INT64_MAX)
        return refuse(call, INVALID, result);
    ssize_t put = pwrite(d->fd, args[1].of.list.data, args[1].of.list.count, (off_t)args[2].of.u);
    return put < 0 ? refuse(call, code_of(errno), result)
                   : give(call, comp_u64((uint64_t)put), result);
}

FN(set_size)
{
    const struct descriptor *d = args[0].of.rep;
    (void)user;
    if (!(d->flags & FLAG_WRITE))
        return refuse(call, BAD_DESCRIPTOR, result);
    if (args[1].of.u > INT64_MAX)
        return refuse(call, INVALID, result);
    return answer(call, ftruncate(d->fd, (off_t)args[1].of.u), result);
}

FN(sync_all)
{
    (void)user;
    return answer(call, fsync(((const struct descriptor *)args[0].of.rep)->fd), result);
}

FN(sync_data)
{
    (void)user;
    return answer(call, fdatasync(((const struct descriptor *)args[0].of.rep)->fd), result);
}

/* Advice need not be taken. */
FN(advise)
{
    (void)args, (void)user;
    return wasi_ok(call, result, NULL);
}

/* ---- names ------------------------------------------------------------------------------- */

FN(open_at)
{
    const struct descriptor *d = args[0].of.rep;
    uint32_t open_flags = (uint32_t)args[3].of.u, flags = (uint32_t)args[4].of.u;
    char path[PATH_BYTES_MAX];
    bool mutates = (open_flags & (OPEN_CREATE | OPEN_TRUNCATE)) || (flags & (FLAG_WRITE | FLAG_MUTATE));
    uint64_t how = 0;
    (void)user;
    if (mutates && !d->writable)
        return refuse(call, flags & FLAG_WRITE || open_flags ? READ_ONLY : NOT_PERMITTED, result);
    if (!get_path(&args[2], path))
        return refuse(call, code_of(errno), result);
    if (open_flags & OPEN_DIRECTORY)
        how = O_RDONLY | O_DIRECTORY;
    else if (flags & FLAG_WRITE)
        how = flags & FLAG_READ ? O_RDWR : O_WRONLY;
    /* Never wait for the other end of a pipe. */
    how |= O_NONBLOCK;
    if (open_flags & OPEN_CREATE)
        how |= O_CREAT;
    if (open_flags & OPEN_EXCLUSIVE)
        how |= O_EXCL;
    if (open_flags & OPEN_TRUNCATE)
        how |= O_TRUNC;
    int fd = open_beneath(d->fd, path, how, follows(&args[1]));
    if (fd < 0)
        return refuse(call, code_of(errno), result);
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !(S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) {
        close(fd);
        return refuse(call, UNSUPPORTED, result);
    }
    if (!(flags & (FLAG_READ | FLAG_WRITE)))
        flags |= FLAG_READ;
    struct descriptor *made = new_descriptor(d->ctx, fd, d->writable, flags);
    return wasi_ok_own(call, result, made, drop_descriptor);
}

enum name_act { MAKE_DIRECTORY, REMOVE_DIRECTORY, UNLINK };

static enum comp_host_result act_on_name(struct comp_host_call *call,
                                         const struct comp_value *args, enum name_act act,
                                         struct comp_value *result)
{
    const struct descriptor *d = args[0].of.rep;
    struct place place;
    if (!d->writable)
        return refuse(call, NOT_PERMITTED, result);
    if (!find_place(d, &args[1], &place))
        return refuse(call, code_of(errno), result);
    int status = act == MAKE_DIRECTORY ? mkdirat(place.fd, place.name, 0777)
                                       : unlinkat(place.fd, place.name,
                                                  act == REMOVE_DIRECTORY ? AT_REMOVEDIR : 0);
    int number = errno;
    close(place.fd);
    errno = number;
    return answer(call, status, result);
}

FN(create_directory_at)
{
    (void)user;
    return act_on_name(call, args, MAKE_DIRECTORY, result);
}

FN(remove_directory_at)
{
    (void)user;
    return act_on_name(call, args, REMOVE_DIRECTORY, result);
}

FN(unlink_file_at)
{
    (void)user;
    return act_on_name(call, args, UNLINK, result);
}

/* rename-at(old-path, new-descriptor, new-path) and link-at(flags, old-path, ...). */
static enum comp_host_result two_names(struct comp_host_call *call, const struct descriptor *from,
                                       const struct comp_value *old_path,
                                       const struct descriptor *to,
                                       const struct comp_value *new_path, bool is_link,
                                       struct comp_value *result)
{
    struct place old_place, new_place;
    if (!from->writable || !to->writable)
        return refuse(call, NOT_PERMITTED, result);
    if (!find_place(from, old_path, &old_place))
        return refuse(call, code_of(errno), result);
    if (!find_place(to, new_path, &new_place)) {
        int number = errno;
        close(old_place.fd);
        return refuse(call, code_of(number), result);
    }
    int status = is_link ? linkat(old_place.fd, old_place.name, new_place.fd, new_place.name, 0)
                         : renameat(old_place.fd, old_place.name, new_place.fd, new_place.name);
    int number = errno;
    close(old_place.fd);
    close(new_place.fd);
    errno = number;
    return answer(call, status, result);
}

FN(rename_at)
{
    (void)user;
    return two_names(call, args[0].of.rep, &args[1], args[2].of.rep, &args[3], false, result);
}

FN(link_at)
{
    (void)user;
    if (follows(&args[1]))
        return refuse(call, INVALID, result);
    return two_names(call, args[0].of.rep, &args[2], args[3].of.rep, &args[4], true, result);
}

FN(readlink_at)
{
    const struct descriptor *d = args[0].of.rep;
    struct place place;
    char *text = arena_alloc(call->arena, PATH_BYTES_MAX);
    (void)user;
    if (!text)
        return wasi_no_memory(call);
    if (!find_place(d, &args[1], &place))
        return refuse(call, code_of(errno), result);
    ssize_t bytes = readlinkat(place.fd, place.name, text, PATH_BYTES_MAX);
    int number = errno;
    close(place.fd);
    if (bytes < 0)
        return refuse(call, code_of(number), result);
    if (text[0] == '/')
        return refuse(call, NOT_PERMITTED, result);
    return give(call, comp_string(text, (size_t)bytes), result);
}

FN(symlink_at)
{
    const struct descriptor *d = args[0].of.rep;
    char target[PATH_BYTES_MAX];
    struct place place;
    (void)user;
    if (!d->writable)
        return refuse(call, NOT_PERMITTED, result);
    if (!get_path(&args[1], target) || !find_place(d, &args[2], &place))
        return refuse(call, code_of(errno), result);
    int status = symlinkat(target, place.fd, place.name), number = errno;
    close(place.fd);
    errno = number;
    return answer(call, status, result);
}

/* ---- directories ------------------------------------------------------------------------- */

FN(read_directory)
{
    const struct descriptor *d = args[0].of.rep;
    (void)user;
    if (!(d->flags & FLAG_READ))
        return refuse(call, BAD_DESCRIPTOR, result);
    /* Opened anew: a duplicate would share its place in the list. */
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return refuse(call, code_of(errno), result);
    DIR *directory = fdopendir(fd);
    struct entries *entries = directory ? mem_alloc(d->ctx->heap, sizeof *entries) : NULL;
    if (!entries) {
        if (directory)
            closedir(directory);
        else
            close(fd);
        return refuse(call, INSUFFICIENT_MEMORY, result);
    }
    *entries = (struct entries){d->ctx, directory};
    return wasi_ok_own(call, result, entries, drop_entries);
}

FN(read_directory_entry)
{
    struct entries *entries = args[0].of.rep;
    struct dirent *entry;
    struct comp_value value;
    (void)user;
    do {
        errno = 0;
        entry = readdir(entries->directory);
    } while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    if (!entry)
        return errno ? refuse(call, code_of(errno), result) : give(call, comp_none(), result);
    struct comp_value *items = arena_alloc(call->arena, 2 * sizeof *items);
    size_t bytes = strlen(entry->d_name);
    char *name = arena_strdup(call->arena, entry->d_name, bytes);
    if (!items || !name)
        return wasi_no_memory(call);
    items[0] = type_of((mode_t)DTTOIF(entry->d_type));
    items[1] = comp_string(name, bytes);
    if (!comp_some(call->arena, comp_items(COMP_RECORD, items, 2), &value))
        return wasi_no_memory(call);
    return give(call, value, result);
}

FN(filesystem_error_code)
{
    const struct wasi_error *error = args[0].of.rep;
    struct comp_value code = {.kind = COMP_ENUM, .of.u = code_of(error->number)};
    (void)user;
    return comp_some(call->arena, code, result) ? COMP_HOST_DONE : wasi_no_memory(call);
}

/* ---- registration ------------------------------------------------------------------------ */

#define ERROR_CODE                                                                            \
    "enum { access, would-block, already, bad-descriptor, busy, deadlock, quota, exist, "     \
    "file-too-large, illegal-byte-sequence, in-progress, interrupted, invalid, io, "          \
    "is-directory, loop, too-many-links, message-size, name-too-long, no-device, no-entry, "  \
    "no-lock, insufficient-memory, insufficient-space, not-directory, not-empty, "            \
    "not-recoverable, unsupported, no-tty, no-such-device, overflow, not-permitted, pipe, "   \
    "read-only, invalid-seek, text-file-busy, cross-device }"
#define TYPE                                                                              \
    "enum { unknown, block-device, character-device, directory, fifo, symbolic-link, "    \
    "regular-file, socket }"
#define DATETIME "record { seconds: u64, nanoseconds: u32 }"
#define STAT                                                                             \
    "record { type: " TYPE ", link-count: u64, size: u64, data-access-timestamp: option<" \
    DATETIME ">, data-modification-timestamp: option<" DATETIME ">, "                    \
    "status-change-timestamp: option<" DATETIME "> }"
#define FLAGS                                                                              \
    "flags { read, write, file-integrity-sync, data-integrity-sync, requested-write-sync, " \
    "mutate-directory }"
#define PATH_FLAGS "flags { symlink-follow }"
#define OPEN_FLAGS "flags { create, directory, exclusive, truncate }"
#define NEW_TIME "variant { no-change, now, timestamp(" DATETIME ") }"
#define HASH "record { lower: u64, upper: u64 }"
#define ADVICE "enum { normal, sequential, random, will-need, dont-need, no-reuse }"
#define STREAM_IN "own<wasi:io/streams.input-stream>"
#define STREAM_OUT "own<wasi:io/streams.output-stream>"
#define SELF "self: borrow<descriptor>"
#define RESULT(ok) "result<" ok ", " ERROR_CODE ">"
#define METHOD(name, params, ok, fn) \
    {TYPES, "[method]descriptor." name, "func(" SELF params ") -> " RESULT(ok), fn}

static const struct wasi_func funcs[] = {
    {PREOPENS, "get-directories",
     "func() -> list<tuple<own<wasi:filesystem/types.descriptor>, string>>", get_directories},
    METHOD("read-via-stream", ", offset: u64", STREAM_IN, read_via_stream),
    METHOD("write-via-stream", ", offset: u64", STREAM_OUT, write_via_stream),
    METHOD("append-via-stream", "", STREAM_OUT, append_via_stream),
    METHOD("advise", ", offset: u64, length: u64, advice: " ADVICE, "_", advise),
    METHOD("sync-data", "", "_", sync_data),
    METHOD("get-flags", "", FLAGS, get_flags),
    METHOD("get-type", "", TYPE, get_type),
    METHOD("set-size", ", size: u64", "_", set_size),
    METHOD("set-times", ", data-access-timestamp: " NEW_TIME ", data-modification-timestamp: "
           NEW_TIME, "_", set_times),
    METHOD("read", ", length: u64, offset: u64", "tuple<list<u8>, bool>", read_bytes),
    METHOD("write", ", buffer: list<u8>, offset: u64", "u64", write_bytes),
    METHOD("read-directory", "", "own<directory-entry-stream>", read_directory),
    METHOD("sync", "", "_", sync_all),
    METHOD("create-directory-at", ", path: string", "_", create_directory_at),
    METHOD("stat", "", STAT, stat_self),
    METHOD("stat-at", ", path-flags: " PATH_FLAGS ", path: string", STAT, stat_at),
    METHOD("set-times-at", ", path-flags: " PATH_FLAGS ", path: string, data-access-timestamp: "
           NEW_TIME ", data-modification-timestamp: " NEW_TIME, "_", set_times_at),
    METHOD("link-at", ", old-path-flags: " PATH_FLAGS ", old-path: string, new-descriptor: "
           "borrow<descriptor>, new-path: string", "_", link_at),
    METHOD("open-at", ", path-flags: " PATH_FLAGS ", path: string, open-flags: " OPEN_FLAGS
           ", flags: " FLAGS, "own<descriptor>", open_at),
    METHOD("readlink-at", ", path: string", "string", readlink_at),
    METHOD("remove-directory-at", ", path: string", "_", remove_directory_at),
    METHOD("rename-at", ", old-path: string, new-descriptor: borrow<descriptor>, "
           "new-path: string", "_", rename_at),
    METHOD("symlink-at", ", old-path: string, new-path: string", "_", symlink_at),
    METHOD("unlink-file-at", ", path: string", "_", unlink_file_at),
    {TYPES, "[method]descriptor.is-same-object",
     "func(" SELF ", other: borrow<descriptor>) -> bool", is_same_object},
    METHOD("metadata-hash", "", HASH, metadata_hash),
    METHOD("metadata-hash-at", ", path-flags: " PATH_FLAGS ", path: string", HASH,
           metadata_hash_at),
    {TYPES, "[method]directory-entry-stream.read-directory-entry",
     "func(self: borrow<directory-entry-stream>) -> "
     RESULT("option<record { type: " TYPE ", name: string }>"), read_directory_entry},
    {TYPES, "filesystem-error-code",
     "func(err: borrow<wasi:io/error.error>) -> option<" ERROR_CODE ">", filesystem_error_code},
};

enum err wasi_filesystem_register(struct comp_linker *linker, struct wasi_binding *binding,
                                  struct report *report)
{
    enum err err = comp_linker_resource(linker, TYPES, "descriptor", drop_descriptor, report);
    if (!err)
        err = comp_linker_resource(linker, TYPES, "directory-entry-stream", drop_entries, report);
    return err ? err : wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
