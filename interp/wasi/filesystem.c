/* wasi:filesystem. Source: WASI 0.2.9 proposals/filesystem. */
#include "interp/wasi/ctx.h"

#define TYPES "wasi:filesystem/types@0.2.9"
#define PREOPENS "wasi:filesystem/preopens@0.2.9"

enum { NOT_PERMITTED = 31 };

static enum comp_host_result refuse(struct comp_host_call *call, const struct comp_value *args,
                                    struct comp_value *result, void *user)
{
    struct comp_value code = {.kind = COMP_ENUM, .of.u = NOT_PERMITTED};
    (void)args, (void)user;
    return wasi_err(call, result, &code);
}

static enum comp_host_result none(struct comp_host_call *call, const struct comp_value *args,
                                  struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)user;
    *result = comp_none();
    return COMP_HOST_DONE;
}

static enum comp_host_result is_same_object(struct comp_host_call *call,
                                            const struct comp_value *args,
                                            struct comp_value *result, void *user)
{
    (void)call, (void)user;
    *result = comp_bool(args[0].of.rep == args[1].of.rep);
    return COMP_HOST_DONE;
}

static enum comp_host_result get_directories(struct comp_host_call *call,
                                             const struct comp_value *args,
                                             struct comp_value *result, void *user)
{
    (void)call, (void)args, (void)user;
    *result = comp_items(COMP_LIST, NULL, 0);
    return COMP_HOST_DONE;
}

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
    METHOD("read-via-stream", ", offset: u64", STREAM_IN, refuse),
    METHOD("write-via-stream", ", offset: u64", STREAM_OUT, refuse),
    METHOD("append-via-stream", "", STREAM_OUT, refuse),
    METHOD("advise", ", offset: u64, length: u64, advice: " ADVICE, "_", refuse),
    METHOD("sync-data", "", "_", refuse),
    METHOD("get-flags", "", FLAGS, refuse),
    METHOD("get-type", "", TYPE, refuse),
    METHOD("set-size", ", size: u64", "_", refuse),
    METHOD("set-times", ", data-access-timestamp: " NEW_TIME ", data-modification-timestamp: "
           NEW_TIME, "_", refuse),
    METHOD("read", ", length: u64, offset: u64", "tuple<list<u8>, bool>", refuse),
    METHOD("write", ", buffer: list<u8>, offset: u64", "u64", refuse),
    METHOD("read-directory", "", "own<directory-entry-stream>", refuse),
    METHOD("sync", "", "_", refuse),
    METHOD("create-directory-at", ", path: string", "_", refuse),
    METHOD("stat", "", STAT, refuse),
    METHOD("stat-at", ", path-flags: " PATH_FLAGS ", path: string", STAT, refuse),
    METHOD("set-times-at", ", path-flags: " PATH_FLAGS ", path: string, data-access-timestamp: "
           NEW_TIME ", data-modification-timestamp: " NEW_TIME, "_", refuse),
    METHOD("link-at", ", old-path-flags: " PATH_FLAGS ", old-path: string, new-descriptor: "
           "borrow<descriptor>, new-path: string", "_", refuse),
    METHOD("open-at", ", path-flags: " PATH_FLAGS ", path: string, open-flags: " OPEN_FLAGS
           ", flags: " FLAGS, "own<descriptor>", refuse),
    METHOD("readlink-at", ", path: string", "string", refuse),
    METHOD("remove-directory-at", ", path: string", "_", refuse),
    METHOD("rename-at", ", old-path: string, new-descriptor: borrow<descriptor>, "
           "new-path: string", "_", refuse),
    METHOD("symlink-at", ", old-path: string, new-path: string", "_", refuse),
    METHOD("unlink-file-at", ", path: string", "_", refuse),
    {TYPES, "[method]descriptor.is-same-object",
     "func(" SELF ", other: borrow<descriptor>) -> bool", is_same_object},
    METHOD("metadata-hash", "", HASH, refuse),
    METHOD("metadata-hash-at", ", path-flags: " PATH_FLAGS ", path: string", HASH, refuse),
    {TYPES, "[method]directory-entry-stream.read-directory-entry",
     "func(self: borrow<directory-entry-stream>) -> "
     RESULT("option<record { type: " TYPE ", name: string }>"), refuse},
    {TYPES, "filesystem-error-code",
     "func(err: borrow<wasi:io/error.error>) -> option<" ERROR_CODE ">", none},
};

enum err wasi_filesystem_register(struct comp_linker *linker, struct wasi_binding *binding,
                                  struct report *report)
{
    enum err err = comp_linker_resource(linker, TYPES, "descriptor", NULL, report);
    if (!err)
        err = comp_linker_resource(linker, TYPES, "directory-entry-stream", NULL, report);
    return err ? err : wasi_define(linker, funcs, sizeof funcs / sizeof *funcs, binding, report);
}
