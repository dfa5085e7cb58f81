/*
 * An NBD client that sends anything. The first byte of an input chooses a read-only or a writable export; the rest is
 * what the client sends. Whatever it is: no crash, and with structured replies all that goes back consists of whole,
 * well-formed chunks within the disk.
 */
#include "core/testing/fault.h"
#include "lib/nbd/test-wire.h"
#include "lib/vhd/create.h"

#include <assert.h>
#include <stdio.h>

#define DISK_BYTES    ((512u << 10) + 77)
#define OUT_BYTES_MAX (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[XK_FAULT_PATH_MAX];
static char raw_path[XK_FAULT_PATH_MAX + 16], overlay_path[XK_FAULT_PATH_MAX + 16];

static void remove_folder(void)
{
    xk_fault_folder_clear(folder, true);
}

static void make_disk(void)
{
    const struct xk_fs *const fs = xk_fs_posix();
    struct xk_file f;
    uint8_t pattern[3000];

    (void)setenv("TMPDIR", "/dev/shm", 0);
    if (xk_fault_folder_make(folder) < 0)
        abort();
    (void)atexit(remove_folder);
    snprintf(raw_path, sizeof(raw_path), "%s/disk.raw", folder);
    snprintf(overlay_path, sizeof(overlay_path), "%s/new.vhd", folder);
    memset(pattern, 0xa5, sizeof(pattern));
    if (xk_file_open(&f, fs, raw_path, O_RDWR | O_CREAT, 0600, NULL) < 0 ||
        xk_file_truncate(&f, DISK_BYTES, NULL) < 0 || xk_file_write(&f, pattern, sizeof(pattern), 0, NULL) < 0 ||
        xk_file_write(&f, pattern, sizeof(pattern), 200000, NULL) < 0)
        abort();
    xk_file_close(&f);
}

static struct volume_overlay *make_overlay(const struct volume *base)
{
    struct vhd_snapshot_made made = {0};
    struct volume_overlay *o = NULL;
    struct xk_random random;

    xk_random_seed(&random, 1);
    if (vhd_snapshot(
            xk_fs_posix(),
            &(struct vhd_snapshot){
                .path = overlay_path, .parent = raw_path, .parent_raw = true, .overwrite = true, .random = &random},
            &made, NULL) < 0 ||
        volume_overlay_open(&o, xk_fs_posix(), overlay_path, base, NULL) < 0)
        abort();
    free(made.parent);
    return o;
}

/* All replies since the handshake. */
static void expect_chunks(const struct memory_wire *m, size_t from, uint64_t disk_bytes)
{
    struct xk_reader r = xk_reader(m->out.data + from, m->out.len - from);

    while (xk_left(&r)) {
        assert(xk_be32(&r) == NBD_STRUCTURED_MAGIC);
        (void)xk_be16(&r);
        const uint16_t type = xk_be16(&r);
        (void)xk_be64(&r);
        const uint32_t bytes = xk_be32(&r);
        if (xk_left(&r) < bytes)
            return; /* the buffer of the test was full, or a read could not be finished */
        struct xk_reader body = xk_reader(r.data + r.at, bytes);
        const bool placed = type == NBD_REPLY_DATA || type == NBD_REPLY_HOLE;
        const uint64_t at = placed ? xk_be64(&body) : 0;
        if (type == NBD_REPLY_DATA) {
            assert(xk_left(&body) > 0 && at + xk_left(&body) <= disk_bytes);
        } else if (type == NBD_REPLY_HOLE) {
            const uint32_t hole_bytes = xk_be32(&body);
            assert(hole_bytes > 0 && at + hole_bytes <= disk_bytes && xk_left(&body) == 0);
        } else if (type == NBD_REPLY_BLOCK_STATUS) {
            assert(bytes >= 12 && (bytes - 4) % 8 == 0);
        } else if (type == NBD_REPLY_ERROR) {
            assert(xk_be32(&body) != 0);
            const uint16_t text_bytes = xk_be16(&body);
            assert(text_bytes == xk_left(&body));
        } else {
            assert(type == NBD_REPLY_NONE && bytes == 0);
        }
        assert(!body.bad);
        xk_skip(&r, bytes);
    }
    assert(!r.bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[NBD_HEADER_BYTES + NBD_BUFFER_BYTES];
    struct nbd_counters counters = {0};
    struct volume *base = NULL;
    struct xk_err err = {0};

    if (size == 0)
        return 0;
    if (folder[0] == '\0')
        make_disk();
    if (volume_open(&base, xk_fs_posix(), raw_path, &(struct volume_options){.format = VOLUME_RAW}, NULL) < 0)
        abort();
    struct volume_overlay *const overlay = data[0] & 1 ? make_overlay(base) : NULL;
    const struct nbd_export export = {
        .name = "disk", .volume = overlay ? volume_overlay_view(overlay) : base, .overlay = overlay};
    struct memory_wire wire = {.in = data + 1, .in_bytes = size - 1, .out = XK_BUF_INIT(OUT_BYTES_MAX)};
    struct nbd_client client = memory_client(&wire, &export, &counters, room, &err);
    const int code = nbd_handshake(&client);
    const size_t handshake_bytes = wire.out.len;
    if (code > 0) {
        (void)nbd_answer(&client);
        if (client.structured)
            expect_chunks(&wire, handshake_bytes, export.volume->size_bytes);
    }
    xk_buf_done(&wire.out);
    volume_overlay_close(overlay);
    volume_close(base);
    return 0;
}
