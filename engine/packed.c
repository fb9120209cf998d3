#include "engine/packed.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "engine/forward/recipe.h"

enum { NAME_BYTES = 2 * 16 };
static const char suffix[] = ".packed";

bool engine_packed_path(const char *directory, const char *model_path, const char *quantize,
                        char *path, size_t path_bytes)
{
    uint64_t hash[2] = {0};
    enum fwd_recipe recipe = FWD_AS_IS;
    char *real = realpath(model_path, NULL);
    if (!real)
        return false;
    if (quantize)
        (void)fwd_recipe_find(quantize, &recipe);
    uint64_t format = recipe;
    hash_add(hash, real, strlen(real));
    hash_add(hash, &format, sizeof format);
    free(real);
    int length = snprintf(path, path_bytes, "%s/%016" PRIx64 "%016" PRIx64 "%s", directory,
                          hash[0], hash[1], suffix);
    return length > 0 && (size_t)length < path_bytes;
}

/* With ".tmp.123" behind it: of a process that was killed while writing. */
static bool is_ours(const char *name)
{
    return strspn(name, "0123456789abcdef") == NAME_BYTES &&
           strncmp(name + NAME_BYTES, suffix, sizeof suffix - 1) == 0;
}

struct engine_packed_size engine_packed_size(const char *directory)
{
    struct engine_packed_size size = {0};
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

size_t engine_packed_clear(const char *directory)
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
