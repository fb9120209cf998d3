/* The initial contents of a module's memory as a sealed file in memory, which instances map
 * privately instead of copying their data segments: pages are shared until they are written.
 *
 * An image stands for all active segments at once. So it is made only where running them one by
 * one could neither trap nor differ between instances: one memory, the module's own and of 32-bit
 * addresses, and offsets that are plain constants and fit. Everything else is copied.
 *
 * Making an image costs several times what copying costs once. So a module's first instance
 * copies, and the second makes the image for itself and all that follow. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "interp/wasm/code.h"
#include "interp/wasm/opcodes.h"

enum {
    IMAGE_BYTES_MIN = 65536, /* below, copying costs less than a mapping and its faults */
    SPARSE_MAX = 4,          /* the span may be so many times the segments' bytes */
};

static bool constant_offset(const struct wasm_data_def *def, uint64_t *offset)
{
    struct wasm_instr instr, last;
    const char *problem;
    const uint8_t *where, *end = def->offset.code + def->offset.bytes;
    if (wasm_instr_read(def->offset.code, end, &instr, &problem, &where) != WASM_READ_OK ||
        instr.op != WASM_OP_I32_CONST ||
        wasm_instr_read(instr.next, end, &last, &problem, &where) != WASM_READ_OK ||
        last.op != WASM_OP_END)
        return false;
    *offset = (uint32_t)instr.value;
    return true;
}

/* The pages from the first to the last byte that segments write; false when an image cannot stand
 * for them or does not pay. */
static bool find_span(const struct wasm_module *m, struct wasm_image *image)
{
    uint64_t memory_bytes = m->memories[0].limits.min * WASM_PAGE_BYTES;
    uint64_t start = UINT64_MAX, end = 0, written = 0;
    long page = sysconf(_SC_PAGESIZE);
    if (page <= 0 || WASM_PAGE_BYTES % page != 0)
        return false;
    for (uint32_t i = 0; i < m->data_count; i++) {
        const struct wasm_data_def *def = &m->datas[i];
        uint64_t at;
        if (def->mode != WASM_ACTIVE)
            continue;
        if (!constant_offset(def, &at) || def->bytes > memory_bytes ||
            at > memory_bytes - def->bytes)
            return false;
        if (def->bytes == 0)
            continue;
        start = at < start ? at : start;
        end = at + def->bytes > end ? at + def->bytes : end;
        written += def->bytes;
    }
    if (written < IMAGE_BYTES_MIN)
        return false;
    uint64_t mask = (uint64_t)page - 1;
    image->start = start & ~mask;
    image->bytes = ((end + mask) & ~mask) - image->start;
    return image->bytes / SPARSE_MAX <= written;
}

static bool fill(int fd, const struct wasm_module *m, const struct wasm_image *image)
{
    /* All of its pages now: a fault that finds no memory would be a signal in the guest. */
    if (fallocate(fd, 0, 0, (off_t)image->bytes) != 0)
        return false;
    uint8_t *contents =
        mmap(NULL, image->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (contents == MAP_FAILED)
        return false;
    for (uint32_t i = 0; i < m->data_count; i++) {
        const struct wasm_data_def *def = &m->datas[i];
        uint64_t at;
        if (def->mode == WASM_ACTIVE && def->bytes > 0 && constant_offset(def, &at))
            memcpy(contents + (at - image->start), def->data, def->bytes);
    }
    munmap(contents, image->bytes); /* a file with a writer cannot be sealed */
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
}

static void make(const struct wasm_module *m, struct wasm_image *image)
{
    if (m->memory_count != 1 || m->memory_import_count != 0 || m->memories[0].limits.is64 ||
        !wasm_memory_guards() || !find_span(m, image))
        return;
    image->fd = memfd_create("wasm memory image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (image->fd >= 0 && !fill(image->fd, m, image))
        wasm_image_free(image);
}

const struct wasm_image *wasm_image_get(struct wasm_module *m)
{
    pthread_mutex_lock(&m->translate_lock);
    struct wasm_program *program = m->translated;
    if (program->image_asked && !program->image_tried) {
        program->image_tried = true;
        make(m, &program->image);
    }
    program->image_asked = true;
    const struct wasm_image *image = program->image.fd >= 0 ? &program->image : NULL;
    pthread_mutex_unlock(&m->translate_lock);
    return image;
}

void wasm_image_free(struct wasm_image *image)
{
    if (image->fd >= 0)
        close(image->fd);
    image->fd = -1;
}

bool wasm_image_map(const struct wasm_image *image, struct wasm_memory *memory)
{
    return mmap(memory->data + image->start, image->bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, image->fd, 0) != MAP_FAILED;
}
