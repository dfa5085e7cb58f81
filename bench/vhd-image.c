/*
 * Images for the bench scripts, written by the library itself.
 *
 *     vhd-image dense FILE MIB             write every sector of the first MIB MiB
 *     vhd-image pieces FILE COUNT KIB      COUNT pieces of KIB KiB, each followed by a gap of the same length
 *     vhd-image full FILE                  give every block of the disk a place, without data: a table of full size
 *
 * FILE is an existing dynamic or differencing image.
 */
#include "core/clock.h"
#include "core/text.h"
#include "lib/vhd/write.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define PIECE_MAX VHD_BLOCK_BYTES

static int write_pieces(struct vhd_writer *w, uint64_t count, uint64_t bytes, uint64_t stride, struct xk_err *err)
{
    xk_autofree uint8_t *data = xk_alloc(PIECE_MAX);
    struct xk_random random;
    int code = 0;

    if (!data)
        return xk_fail_memory(err);
    xk_random_seed(&random, 1);
    xk_random_bytes(&random, data, PIECE_MAX);
    for (uint64_t i = 0; i < count && code == 0; i++)
        code = vhd_writer_write(w, data, i * stride / VHD_SECTOR, bytes / VHD_SECTOR, err);
    return code < 0 ? code : vhd_writer_commit(w, err);
}

/* The table filled with places one behind the other, and a file that reaches to the last of them by a hole. */
static int fill_table(struct vhd *v, struct xk_err *err)
{
    const uint64_t stride = XK_ROUND_UP(VHD_SECTOR + (uint64_t)VHD_BLOCK_BYTES, VHD_PAGE) / VHD_SECTOR;
    const uint64_t first = XK_ROUND_UP(vhd_data_end(v) + VHD_SECTOR, VHD_PAGE) / VHD_SECTOR - 1;
    xk_autofree uint32_t *disk = xk_array_alloc(v->blocks, sizeof(*disk));
    uint8_t footer[VHD_FOOTER_BYTES];

    if (!disk)
        return xk_fail_memory(err);
    for (uint32_t i = 0; i < v->blocks; i++)
        disk[i] = htobe32((uint32_t)(first + i * stride));
    int code = xk_file_write(&v->file, disk, v->blocks * sizeof(*disk), v->header.table_offset, err);
    vhd_footer_encode(footer, &v->footer);
    const uint64_t end = (first + v->blocks * stride) * VHD_SECTOR;
    return code < 0 ? code : xk_file_write(&v->file, footer, sizeof(footer), end, err);
}

static int run(int argc, char **argv, struct xk_err *err)
{
    struct vhd v;
    struct vhd_writer w = {0};
    uint64_t a = 0, b = 0;

    if (argc < 3 || (argc > 3 && xk_parse_u64(&a, argv[3]) < 0) || (argc > 4 && xk_parse_u64(&b, argv[4]) < 0))
        return xk_fail(err, -EINVAL, "usage: vhd-image dense FILE MIB | pieces FILE COUNT KIB | full FILE");
    int code = vhd_open(&v, xk_fs_posix(), argv[2], VHD_WRITE, err);
    if (code < 0)
        return code;
    if (strcmp(argv[1], "full") == 0) {
        code = fill_table(&v, err);
    } else {
        const bool dense = strcmp(argv[1], "dense") == 0;
        const uint64_t bytes = dense ? XK_MIB : b * XK_KIB;
        code = vhd_writer_begin(&w, &v, err);
        if (code == 0)
            code = write_pieces(&w, a, bytes, dense ? bytes : 2 * bytes, err);
        vhd_writer_done(&w);
    }
    vhd_close(&v);
    return code;
}

int main(int argc, char **argv)
{
    struct xk_err err = {0};

    if (run(argc, argv, &err) == 0)
        return 0;
    fprintf(stderr, "vhd-image: %s\n", err.text);
    return 1;
}
