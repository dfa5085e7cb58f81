/*
 * A disk as a tar archive: pieces of 1 MiB under vdi/, each with its checksum behind it, as they stand in an XVA.
 * Pieces of zeros are left out but for the first and the last.
 *
 * Facts: xapi's stream_vdi.ml, import_raw_vdi.ml and export_raw_vdi.ml (2026-08).
 */
#include "lib/simpool/import.h"
#include "lib/simpool/raw-disk.h"

#define FOLDER "vdi"

_Static_assert(RAW_PIECE_BYTES == XVA_PIECE_BYTES && RAW_PIECE_BYTES <= VHD_BLOCK_BYTES, "a piece fits into ours");

/* ---- taking ---- */

static int on_data(void *context, size_t disk, uint64_t start, const void *bytes, size_t count)
{
    return raw_store(context, start, bytes, count) ? 0 : -1;
}

int raw_tar_open(struct raw_disk *r)
{
    const struct xva_settings settings = {.data = on_data, .context = r};
    const struct xva_disk disk = {.name = FOLDER, .bytes = r->size};

    r->archive = xva_reader_new(&settings);
    return r->archive ? xva_reader_expect(r->archive, &disk, 1, true, false) : -ENOMEM;
}

static enum sim_transfer_step step_of(struct raw_disk *r, enum xva_state state)
{
    const struct xva_told *const told = xva_reader_told(r->archive);
    struct sim_error error;

    switch (state) {
    case XVA_MORE:
        return SIM_TRANSFER_MORE;
    case XVA_AGAIN:
        return SIM_TRANSFER_AGAIN;
    case XVA_DONE:
        return raw_taken(r);
    default:
        if (told->fault == XVA_USER) /* it does not fit */
            return raw_broken(r);
        sim_import_explain(&error, told, false);
        return sim_transfer_fail(&r->t, &error);
    }
}

enum sim_transfer_step raw_tar_take(struct raw_disk *r, const uint8_t *bytes, size_t count, size_t *ret_taken)
{
    const enum xva_state state = xva_reader_feed(r->archive, bytes, count, ret_taken);

    sim_transfer_progress(&r->t, *ret_taken);
    return step_of(r, state);
}

enum sim_transfer_step raw_tar_end(struct raw_disk *r)
{
    return step_of(r, xva_reader_end(r->archive));
}

/* ---- giving ---- */

/* Where the next piece begins, behind those that need not be there. */
static uint64_t next_piece(const struct raw_disk *r, const struct sim_object *vdi)
{
    const uint64_t last = (r->size - 1) / RAW_PIECE_BYTES * RAW_PIECE_BYTES;
    uint64_t start, end;

    if (r->at == 0)
        return 0;
    if (!sim_disk_next(r->t.pool, vdi, r->at, &start, &end))
        return last;
    return XK_MIN(start / RAW_PIECE_BYTES * RAW_PIECE_BYTES, last);
}

enum sim_transfer_step raw_tar_send(struct raw_disk *r, const struct sim_object *vdi)
{
    if (r->ended)
        return sim_transfer_succeed(&r->t, NULL);
    xk_buf_reset(&r->out);
    if (r->at >= r->size) {
        sim_tar_end(&r->out);
        r->ended = true;
        return r->out.error ? raw_broken(r) : sim_transfer_write(&r->t, r->out.data, r->out.len);
    }
    const uint64_t start = next_piece(r, vdi);
    const size_t count = (size_t)XK_MIN(r->size - start, (uint64_t)RAW_PIECE_BYTES);
    if (sim_disk_read(r->t.pool, vdi, r->piece, count, start) < 0)
        return raw_broken(r);
    sim_transfer_progress(&r->t, start + count - r->at);
    r->at = start + count;
    if (start > 0 && r->at < r->size && xk_is_zero(r->piece, count))
        return SIM_TRANSFER_AGAIN;
    if (sim_tar_piece(&r->out, r->t.pool, FOLDER, start / RAW_PIECE_BYTES, r->piece, count) < 0)
        return raw_broken(r);
    return sim_transfer_write(&r->t, r->out.data, r->out.len);
}
