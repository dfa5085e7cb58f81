/*
 * One VHDX from foreign bytes: headers, log, regions, metadata, table, and a walk over the disk.
 *
 * An input holds the parts that mean something, packed: 512 bytes of header, 1 KiB of region table, 1 KiB of metadata
 * table, 1 KiB of metadata items, 1 KiB of block table, then sectors of the log. They are put where the format wants
 * them and given right checksums, so that inputs get past these. fuzz/corpus/vhdx was cut out of images of qemu-img,
 * one of which was not closed.
 */
#include "core/bytes.h"
#include "lib/vhdx/inner.h"
#include "memory-fs.h"

#define LOG_AT        (1u << 20)
#define METADATA_AT   (2u << 20)
#define BAT_AT        (3u << 20)
#define FRONT_BYTES   (4u << 20)
#define PAYLOAD_BYTES (8u << 20)
#define SECTOR        4096u
#define LOG_BYTES_MAX (64u << 10)
#define MAP_BYTES_MAX (UINT64_C(1) << 32)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next `bytes` of the input, as far as there are any. */
static void place(uint8_t *to, size_t bytes, const uint8_t *data, size_t size, size_t *at)
{
    const size_t left = XK_MIN(bytes, size - *at);

    memcpy(to, data + *at, left);
    *at += left;
}

static void set_checksum(uint8_t *part, size_t bytes)
{
    struct xk_writer w = xk_writer(part + 4, 4);

    memset(part + 4, 0, 4);
    xk_write_le32(&w, vhdx_crc32c(0, part, bytes));
}

static void set_log_checksums(uint8_t *log)
{
    for (size_t at = 0; at < LOG_BYTES_MAX; at += SECTOR) {
        if (memcmp(log + at, "loge", 4) != 0)
            continue;
        struct xk_reader r = xk_reader(log + at + 8, 4);
        const uint32_t bytes = xk_le32(&r);
        if (bytes >= SECTOR && bytes % SECTOR == 0 && bytes <= (1u << 20) - at)
            set_checksum(log + at, bytes);
    }
}

struct walk {
    const struct vhdx *image;
    uint64_t next;
};

static int visit(void *context, const struct vhdx_extent *e)
{
    struct walk *const w = context;
    uint8_t byte;

    /* Ascending, whole, without gaps, and data can be read. */
    if (e->start != w->next || e->bytes == 0)
        abort();
    w->next += e->bytes;
    if (e->kind == VHDX_DATA && vhdx_read_file(w->image, &byte, 1, e->file_offset + e->bytes - 1, NULL) < 0)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_file file;
    struct vhdx v;
    size_t at = 0;
    uint8_t *const front = calloc(1, FRONT_BYTES);

    if (!front)
        abort();
    memcpy(front, "vhdxfile", 8);
    place(front + (64 << 10), 512, data, size, &at);
    place(front + (192 << 10), 1024, data, size, &at);
    place(front + METADATA_AT, 1024, data, size, &at);
    place(front + METADATA_AT + (64 << 10), 1024, data, size, &at);
    place(front + BAT_AT, 1024, data, size, &at);
    place(front + LOG_AT, LOG_BYTES_MAX, data, size, &at);
    set_checksum(front + (64 << 10), SECTOR);
    set_checksum(front + (192 << 10), 64 << 10);
    set_log_checksums(front + LOG_AT);

    memory_file_init(&file, front, FRONT_BYTES, FRONT_BYTES, PAYLOAD_BYTES);
    if (vhdx_open(&v, &file.fs, "image.vhdx", NULL) == 0) {
        struct walk w = {.image = &v};
        const uint64_t mapped = XK_MIN(v.size_bytes, MAP_BYTES_MAX);
        if (vhdx_map(&v, 0, mapped, visit, &w, NULL) == 0 && w.next != mapped)
            abort();
        vhdx_close(&v);
    }
    free(front);
    return 0;
}
