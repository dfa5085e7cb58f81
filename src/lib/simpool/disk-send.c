/* What disks hold, on its way to another pool: documents that are small enough for a request, one after the other. */
#include "lib/simpool/migrate.h"

#include "lib/simpool/disk.h"

#include <openssl/evp.h>

#define PIECE_BYTES    (96u << 10)
#define DOCUMENT_BYTES (256u << 10) /* less than a request may have; a piece of base64 and some words are */

static int put_piece(struct sim_call *c, struct xk_buf *ret, const struct sim_object *vdi,
                     const struct xapi_value *there, uint64_t start, size_t bytes)
{
    xk_autofree uint8_t *data = malloc(bytes), *text = malloc(bytes / 3 * 4 + 8);

    if (!data || !text || sim_disk_read(c->pool, vdi, data, bytes, start) < 0) {
        (void)sim_fail(c, "VDI_IO_ERROR", vdi->ref, NULL);
        return -EIO;
    }
    (void)EVP_EncodeBlock(text, data, (int)bytes);
    *ret = XK_BUF_INIT(DOCUMENT_BYTES);
    xk_buf_add_str(ret, "{\"VDI\":");
    xapi_json_value(ret, there);
    xk_buf_printf(ret, ",\"start\":%llu,\"data\":\"%s\"}", (unsigned long long)start, (const char *)text);
    return 1;
}

int sim_disks_next(struct sim_call *c, struct sim_disks_going *g, struct xk_buf *ret)
{
    uint64_t start, end;

    for (; g->disk < g->vdis.count; g->disk++, g->at = 0) {
        const struct sim_object *const vdi = sim_find(c->pool, g->vdis.items[2 * g->disk].text, xapi_class_find("VDI"));
        if (!vdi || !sim_disk_next(c->pool, vdi, g->at, &start, &end))
            continue;
        const uint64_t size = (uint64_t)sim_int(vdi, "virtual_size");
        const size_t bytes = (size_t)XK_MIN(XK_MIN(end, size) - XK_MIN(start, size), (uint64_t)PIECE_BYTES);
        if (bytes == 0)
            continue;
        g->at = start + bytes;
        return put_piece(c, ret, vdi, &g->vdis.items[2 * g->disk + 1], start, bytes);
    }
    return 0;
}
