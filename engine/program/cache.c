#define _GNU_SOURCE /* dl_iterate_phdr */
#include "engine/program/cache.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/file.h"

enum { FORMAT = 1, NAME_BYTES = 2 * 16 };
static const char suffix[] = ".known";

struct record {
    char magic[8];
    uint64_t format, build[2], bytes, hash[2];
    uint64_t checksum[2]; /* of all before */
};
_Static_assert(sizeof(struct record) == 72, "records have no gaps");

/* ---- hashing ------------------------------------------------------------------------------ */

static uint64_t fold(uint64_t x, uint64_t y)
{
    unsigned __int128 product = (unsigned __int128)x * y;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Four lanes of multiplications of 64 by 64 bits, whose halves are folded: as fast as memory. The
 * constants are the first digits of pi. */
static void hash_bytes(const uint8_t *data, size_t bytes, uint64_t out[2])
{
    static const uint64_t keys[4] = {0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0,
                                     0x082EFA98EC4E6C89};
    uint64_t lanes[4] = {keys[0], keys[1], keys[2], keys[3]};
    uint8_t last[64] = {0};
    size_t at = 0;
    for (; bytes - at >= 64; at += 64)
        for (unsigned i = 0; i < 4; i++)
            lanes[i] += fold(word_at(data + at + 16 * i) ^ keys[i],
                             word_at(data + at + 16 * i + 8) ^ lanes[i]);
    if (bytes > at)
        memcpy(last, data + at, bytes - at);
    for (unsigned i = 0; i < 4; i++)
        lanes[i] += fold(word_at(last + 16 * i) ^ keys[i], word_at(last + 16 * i + 8) ^ lanes[i]);
    out[0] = fold(lanes[0] ^ bytes, lanes[1] ^ keys[2]) + fold(lanes[2] ^ keys[3], lanes[3]);
    out[1] = fold(lanes[2] ^ bytes, lanes[0] ^ keys[1]) + fold(lanes[3] ^ keys[0], lanes[1]);
}

/* ---- this build --------------------------------------------------------------------------- */

static pthread_once_t build_once = PTHREAD_ONCE_INIT;
static bool has_build;
static uint64_t build[2];

/* The program itself comes first; its notes hold what the linker made of all its contents. */
static int look_at_object(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    (void)user;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_NOTE)
            continue;
        const uint8_t *at = (const uint8_t *)(uintptr_t)(info->dlpi_addr + header->p_vaddr);
        size_t left = header->p_memsz;
        while (left >= sizeof(ElfW(Nhdr))) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            size_t name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
            size_t text = ((size_t)note.n_descsz + 3) & ~(size_t)3;
            if (name > left - sizeof note || text > left - sizeof note - name)
                break;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
                memcmp(at + sizeof note, "GNU", 4) == 0) {
                hash_bytes(at + sizeof note + name, note.n_descsz, build);
                has_build = true;
                return 1;
            }
            at += sizeof note + name + text;
            left -= sizeof note + name + text;
        }
    }
    return 1;
}

static void find_build(void)
{
    (void)dl_iterate_phdr(look_at_object, NULL);
}

/* ---- files -------------------------------------------------------------------------------- */

static bool make_record(const struct prog_cache_key *key, struct record *record)
{
    pthread_once(&build_once, find_build);
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
