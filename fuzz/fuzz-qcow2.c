/*
 * One qcow2 from foreign bytes: opened, mapped, every compressed cluster near the start expanded.
 *
 * An input is the file itself; clusters of 512 bytes keep it small. fuzz/corpus/qcow2 was made by qemu-img: versions 2
 * and 3, zlib and zstd, subclusters, a backing file that is not there.
 */
#include "lib/qcow2/qcow2.h"
#include "memory-fs.h"

#define MAP_BYTES_MAX  (64 * XK_MIB)
#define EXPANSIONS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
    const struct qcow2 *image;
    uint64_t next;
    unsigned expansions;
    uint8_t *cluster;
};

static int visit(void *context, const struct qcow2_extent *e)
{
    struct walk *const w = context;

    /* Ascending, whole, without gaps, and data lies in the file. */
    if (e->start != w->next || e->bytes == 0)
        abort();
    w->next += e->bytes;
    if (e->kind == QCOW2_DATA &&
        (e->file_offset > w->image->file_bytes || w->image->file_bytes - e->file_offset < e->bytes))
        abort();
    if (e->kind == QCOW2_COMPRESSED && w->expansions++ < EXPANSIONS_MAX)
        (void)qcow2_read_compressed(w->image, w->cluster, e->entry, NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_file file;
    struct qcow2 q;

    memory_file_init(&file, data, size, size, 0);
    if (qcow2_open(&q, &file.fs, "image.qcow2", NULL) < 0)
        return 0;
    struct walk w = {.image = &q, .cluster = malloc(qcow2_cluster_bytes(&q))};
    const uint64_t mapped = XK_MIN(q.size_bytes, MAP_BYTES_MAX);
    if (!w.cluster)
        abort();
    if (qcow2_map(&q, 0, mapped, visit, &w, NULL) == 0 && w.next != mapped)
        abort();
    w.next = q.size_bytes - mapped;
    (void)qcow2_map(&q, q.size_bytes - mapped, mapped, visit, &w, NULL);
    free(w.cluster);
    qcow2_close(&q);
    return 0;
}
