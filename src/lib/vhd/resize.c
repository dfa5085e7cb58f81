/*
 * Growing past the tables means that BAT and batmap get longer, so what lies behind them makes room: locators are laid
 * out anew behind the batmap, blocks in the way are copied to the end of the file. All of that happens while the image
 * is poisoned and an undo journal holds every byte that is overwritten. Moved blocks need no place in the journal:
 * their old place is either untouched or part of the kept region. XenServer keeps each whole block, 2 MiB a piece.
 *
 * Growing inside the tables and shrinking change footers and table entries only and need no journal.
 */
#include "lib/vhd/resize.h"

#include "core/clock.h"
#include "core/text.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#define LOCATOR_BYTES_MAX (1u << 20)
#define COPY_BYTES        (1u << 20)
#define ZEROS_BYTES       (16u << 20) /* between two looks at the progress */

struct resize {
    const struct xk_fs *fs;
    const struct vhd_resize *how;
    struct vhd v;
    struct vhd_journal journal;
    struct vhd_resized result;
    /* the new layout of a sparse image */
    uint32_t new_blocks, new_entries;
    struct vhd_header header;
    struct vhd_batmap batmap;
    uint64_t map_header_offset, tables_end;
    uint8_t *locators[VHD_LOCATORS];  /* what those that move hold */
    uint32_t *bat;                    /* new_entries of them, host order */
    uint64_t end;                     /* where the footer goes */
    uint64_t done_bytes, total_bytes; /* of the work that takes time */
};

static int at_stage(const struct resize *r, enum vhd_resize_stage stage)
{
    return r->how->stage ? r->how->stage(r->how->context, stage) : 0;
}

/* A piece of the long work is done; a stop between two pieces is undone by the journal. */
static int advance(struct resize *r, uint64_t bytes, struct xk_err *err)
{
    r->done_bytes += bytes;
    if (r->how->progress)
        r->how->progress(r->how->context, r->done_bytes, r->total_bytes);
    return xk_stop_signal() ? xk_fail(err, -EINTR, "%s: stopped, and undone: it has its old size", r->v.path) : 0;
}

static void set_size(struct vhd *v, uint64_t bytes)
{
    v->footer.current_bytes = bytes;
    v->footer.geometry = vhd_geometry_of(bytes / VHD_SECTOR);
}

static uint64_t stored_block_bytes(const struct vhd *v)
{
    return v->header.block_bytes + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
}

/* ---- inside the tables ---- */

/* Entries behind the old end may hold anything; they must be free before they count. */
static int free_entries(struct vhd *v, uint32_t from, uint32_t to, struct xk_err *err)
{
    const size_t bytes = (size_t)(to - from) * sizeof(uint32_t);
    xk_autofree uint8_t *entries = xk_alloc(bytes);
    if (!entries)
        return xk_fail_memory(err);
    memset(entries, 0xff, bytes);
    const int code =
        xk_file_write(&v->file, entries, bytes, v->header.table_offset + (uint64_t)from * sizeof(uint32_t), err);
    return code < 0 ? code : xk_file_sync(&v->file, err);
}

static int clear_batmap(struct vhd *v, uint32_t from, uint32_t to, struct xk_err *err)
{
    if (v->batmap_state != VHD_GOOD)
        return 0;
    for (uint32_t i = from; i < to && i / 8 < v->batmap_bytes; i++)
        v->batmap_bits[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
    const int code = vhd_write_batmap(v, err);
    return code < 0 ? code : xk_file_sync(&v->file, err);
}

static int grow_inside(struct resize *r, struct xk_err *err)
{
    struct vhd *v = &r->v;
    if (r->how->dry_run)
        return 0;
    int code = free_entries(v, v->blocks, r->new_blocks, err);
    if (code == 0)
        code = clear_batmap(v, v->blocks, r->new_blocks, err);
    if (code < 0)
        return code;
    set_size(v, r->result.new_bytes);
    return vhd_write_footers(v, v->end_offset, false, err);
}

static int count_dropped(struct resize *r, struct xk_err *err)
{
    for (uint32_t i = r->new_blocks; i < r->v.blocks; i++)
        r->result.dropped_blocks += r->v.bat[i] != VHD_BAT_FREE;
    if (r->result.dropped_blocks == 0 || r->how->drop_data)
        return 0;
    xk_fail(err, -ENOTEMPTY, "%s: %u blocks behind the new end hold data", r->v.path, r->result.dropped_blocks);
    xk_err_hint(err, "shrink the file system inside first; --yes drops the data");
    return -ENOTEMPTY;
}

/* The smaller size first: entries behind it no longer count, whatever happens next. */
static int shrink_sparse(struct resize *r, struct xk_err *err)
{
    struct vhd *v = &r->v;
    const uint32_t old_blocks = v->blocks;

    int code = count_dropped(r, err);
    if (code < 0 || r->how->dry_run)
        return code;
    set_size(v, r->result.new_bytes);
    code = vhd_write_footers(v, v->end_offset, false, err);
    if (code == 0)
        code = clear_batmap(v, r->new_blocks, old_blocks, err);
    if (code == 0)
        code = free_entries(v, r->new_blocks, old_blocks, err);
    if (code < 0 || v->block_device)
        return code;

    /* Dropped blocks at the end of the file are given back. */
    v->blocks = r->new_blocks;
    const uint64_t end = vhd_data_end(v);
    if (end >= v->end_offset)
        return 0;
    code = vhd_write_footers(v, end, false, err);
    return code < 0 ? code : xk_file_truncate(&v->file, end + VHD_FOOTER_BYTES, err);
}

/* ---- larger tables ---- */

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes;
}

/*
 * Tables where they are, only longer, and behind them each locator that they or other moved ones run into. Moving one
 * can make the next one move, so it is repeated until nothing changes.
 */
static int lay_out(struct resize *r, struct xk_err *err)
{
    const struct vhd *v = &r->v;
    const uint64_t from = v->header.table_offset;
    bool moves[VHD_LOCATORS] = {false};

    r->header = v->header;
    r->header.max_entries = r->new_entries;
    r->map_header_offset = from + vhd_bat_bytes(&r->header);
    uint64_t tables_end = r->map_header_offset;
    if (v->batmap_state == VHD_GOOD) {
        r->batmap = v->batmap;
        r->batmap.offset = r->map_header_offset + VHD_SECTOR;
        r->batmap.size_sectors =
            XK_MAX(v->batmap.size_sectors, XK_DIV_UP(XK_DIV_UP(r->new_entries, 8), (uint32_t)VHD_SECTOR));
        tables_end = r->batmap.offset + (uint64_t)r->batmap.size_sectors * VHD_SECTOR;
    }
    for (bool changed = true; changed;) {
        changed = false;
        r->tables_end = tables_end;
        for (int i = 0; i < VHD_LOCATORS; i++) {
            if (!moves[i])
                continue;
            r->header.locators[i].offset = r->tables_end;
            r->tables_end += XK_ROUND_UP(vhd_locator_space(&v->header.locators[i]), VHD_SECTOR);
        }
        for (int i = 0; i < VHD_LOCATORS; i++) {
            const struct vhd_locator *l = &v->header.locators[i];
            const uint64_t space = vhd_locator_space(l);
            if (l->code == VHD_LOCATOR_NONE || moves[i])
                continue;
            if (space > LOCATOR_BYTES_MAX || l->offset > v->file_bytes)
                return xk_fail(err, -EBADMSG, "%s: locator %d does not fit the file", v->path, i);
            if (overlaps(l->offset, space, from, r->tables_end - from))
                changed = moves[i] = true;
        }
    }
    if (overlaps(v->footer.data_offset, VHD_HEADER_BYTES, from, r->tables_end - from))
        return xk_fail(err, -EBADMSG, "%s: the header lies behind the block table, where it cannot be moved from",
                       v->path);
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *l = &v->header.locators[i];
        if (!moves[i])
            continue;
        const size_t space = (size_t)XK_ROUND_UP(vhd_locator_space(l), VHD_SECTOR);
        r->locators[i] = xk_zalloc(space);
        if (!r->locators[i])
            return xk_fail_memory(err);
        const int code = xk_file_read(&v->file, r->locators[i], (size_t)vhd_locator_space(l), l->offset, err);
        if (code < 0)
            return code;
    }
    return 0;
}

/* Give each block that begins below the tables' new end a place at the end of the file. */
static int plan_moves(struct resize *r, struct xk_err *err)
{
    const struct vhd *v = &r->v;
    const uint64_t bitmap = (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;

    r->bat = xk_alloc((size_t)r->new_entries * sizeof(*r->bat));
    if (!r->bat)
        return xk_fail_memory(err);
    memset(r->bat, 0xff, (size_t)r->new_entries * sizeof(*r->bat));
    r->end = XK_MAX(vhd_data_end(v), r->tables_end);
    for (uint32_t i = 0; i < v->blocks; i++) {
        r->bat[i] = v->bat[i];
        if (v->bat[i] == VHD_BAT_FREE || (uint64_t)v->bat[i] * VHD_SECTOR >= r->tables_end)
            continue;
        const uint64_t at = XK_ROUND_UP(r->end + bitmap, (uint64_t)VHD_PAGE) - bitmap;
        r->end = at + stored_block_bytes(v);
        if (r->end / VHD_SECTOR >= UINT32_MAX)
            return xk_fail(err, -EFBIG, "%s: the file would be larger than 2 TiB", v->path);
        r->bat[i] = (uint32_t)(at / VHD_SECTOR);
        r->result.moved_blocks++;
    }
    if (v->block_device && r->end > v->end_offset)
        return xk_fail(err, -ENOSPC, "%s: the device ends at byte %llu, the image would need %llu", v->path,
                       (unsigned long long)v->end_offset, (unsigned long long)r->end);
    if (v->block_device)
        r->end = v->end_offset;
    return 0;
}

static int copy_block(struct resize *r, uint64_t from, uint64_t to, uint8_t *buf, struct xk_err *err)
{
    const uint64_t bytes = stored_block_bytes(&r->v);
    int code = 0;

    for (uint64_t at = 0; at < bytes && code == 0; at += COPY_BYTES) {
        const size_t part = (size_t)XK_MIN(bytes - at, (uint64_t)COPY_BYTES);
        code = xk_file_read(&r->v.file, buf, part, from + at, err);
        if (code == 0)
            code = xk_file_write(&r->v.file, buf, part, to + at, err);
        if (code == 0)
            code = advance(r, part, err);
    }
    return code;
}

static int move_blocks(struct resize *r, struct xk_err *err)
{
    const struct vhd *v = &r->v;
    xk_autofree uint8_t *buf = xk_alloc(COPY_BYTES);
    if (!buf)
        return xk_fail_memory(err);
    r->total_bytes = r->result.moved_blocks * stored_block_bytes(v);
    for (uint32_t i = 0; i < v->blocks; i++) {
        if (r->bat[i] == v->bat[i])
            continue;
        const int code = copy_block(r, (uint64_t)v->bat[i] * VHD_SECTOR, (uint64_t)r->bat[i] * VHD_SECTOR, buf, err);
        if (code < 0)
            return code;
    }
    return xk_file_sync(&v->file, err);
}

static int write_locators(const struct resize *r, struct xk_err *err)
{
    int code = 0;
    for (int i = 0; i < VHD_LOCATORS && code == 0; i++) {
        const struct vhd_locator *l = &r->header.locators[i];
        if (r->locators[i])
            code = xk_file_write(&r->v.file, r->locators[i], (size_t)XK_ROUND_UP(vhd_locator_space(l), VHD_SECTOR),
                                 l->offset, err);
    }
    return code;
}

static int enlarge_batmap(struct resize *r, struct xk_err *err)
{
    struct vhd *v = &r->v;
    const size_t bytes = (size_t)r->batmap.size_sectors * VHD_SECTOR;

    if (v->batmap_state != VHD_GOOD)
        return 0;
    uint8_t *grown = xk_realloc(v->batmap_bits, bytes);
    if (!grown)
        return xk_fail_memory(err);
    memset(grown + v->batmap_bytes, 0, bytes - v->batmap_bytes);
    for (uint32_t i = v->blocks; i < r->new_blocks; i++)
        grown[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
    v->batmap_bits = grown;
    v->batmap_bytes = bytes;
    v->batmap = r->batmap;
    v->batmap_header_offset = r->map_header_offset;
    return vhd_write_batmap(v, err);
}

static int write_bat(const struct resize *r, struct xk_err *err)
{
    const size_t bytes = (size_t)vhd_bat_bytes(&r->header);
    xk_autofree uint32_t *disk = xk_zalloc(bytes);
    if (!disk)
        return xk_fail_memory(err);
    for (uint32_t i = 0; i < r->new_entries; i++)
        disk[i] = htobe32(r->bat[i]);
    return xk_file_write(&r->v.file, disk, bytes, r->header.table_offset, err);
}

static int write_tables(struct resize *r, struct xk_err *err)
{
    uint8_t header[VHD_HEADER_BYTES];
    struct vhd *v = &r->v;

    int code = move_blocks(r, err);
    if (code == 0)
        code = at_stage(r, VHD_RESIZE_DATA_MOVED);
    if (code == 0)
        code = write_locators(r, err);
    set_size(v, r->result.new_bytes);
    if (code == 0)
        code = enlarge_batmap(r, err);
    if (code == 0)
        code = at_stage(r, VHD_RESIZE_METADATA_MOVED);
    if (code == 0)
        code = write_bat(r, err);
    if (code < 0)
        return code;
    vhd_header_encode(header, &r->header);
    code = xk_file_write(&v->file, header, sizeof(header), v->footer.data_offset, err);
    return code < 0 ? code : vhd_write_footers(v, r->end, true, err);
}

/* The places that blocks were moved away from, as far as no table took them. */
static void punch_old_places(const struct resize *r)
{
    const struct vhd *v = &r->v;
    for (uint32_t i = 0; i < v->blocks; i++) {
        const uint64_t from = XK_MAX((uint64_t)v->bat[i] * VHD_SECTOR, r->tables_end);
        const uint64_t to = (uint64_t)v->bat[i] * VHD_SECTOR + stored_block_bytes(v);
        if (r->bat[i] != v->bat[i] && from < to)
            (void)v->file.fs->ops->allocate(v->file.fs, v->file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
                                            to - from);
    }
}

/* ---- fixed images ---- */

static int zeros(struct resize *r, uint64_t from, uint64_t to, struct xk_err *err)
{
    int code = 0;

    r->total_bytes = to - from;
    for (uint64_t at = from; at < to && code == 0; at += ZEROS_BYTES) {
        const uint64_t end = XK_MIN(at + ZEROS_BYTES, to);
        code = xk_file_write_zeros(&r->v.file, at, end, err);
        if (code == 0)
            code = advance(r, end - at, err);
    }
    return code;
}

static int rewrite_fixed(struct resize *r, struct xk_err *err)
{
    struct vhd *v = &r->v;
    const uint64_t old_end = v->end_offset;
    int code = 0;

    if (v->block_device && r->end + VHD_FOOTER_BYTES > v->file_bytes)
        return xk_fail(err, -ENOSPC, "%s: the device has %s", v->path, xk_size(v->file_bytes).s);
    if (v->block_device)
        r->end = v->end_offset;
    set_size(v, r->result.new_bytes);
    /* A file grows by a hole, in which only the old footer is to be wiped; a device may hold anything. */
    if (r->result.new_bytes > r->result.old_bytes)
        code = v->block_device ? zeros(r, r->result.old_bytes, r->result.new_bytes, err)
                               : zeros(r, old_end, old_end + VHD_FOOTER_BYTES, err);
    return code < 0 ? code : vhd_write_footers(v, r->end, true, err);
}

/* ---- with a journal ---- */

/* What will be overwritten: the metadata, and the heads of the blocks in the tables' way. */
static int keep_everything(struct resize *r, struct xk_err *err)
{
    const struct vhd *v = &r->v;
    const uint64_t from = v->header.table_offset;

    int code = vhd_journal_keep_metadata(&r->journal, v, err);
    if (code < 0)
        return code;
    if (vhd_is_sparse(v))
        return vhd_journal_keep(&r->journal, v, VHD_JOURNAL_DATA, from, XK_MIN(r->tables_end, v->end_offset) - from,
                                err);
    /* A shrunk disk's footer comes to lie on data. */
    return r->end < v->end_offset ? vhd_journal_keep(&r->journal, v, VHD_JOURNAL_DATA, r->end, VHD_FOOTER_BYTES, err)
                                  : 0;
}

static int commit(struct resize *r, struct xk_err *err)
{
    struct vhd *v = &r->v;

    int code = vhd_journal_empty(&r->journal, r->end, err);
    if (code == 0)
        code = vhd_write_footers(v, r->end, false, err);
    if (code == 0 && !v->block_device && r->end < v->end_offset) {
        code = xk_file_truncate(&v->file, r->end + VHD_FOOTER_BYTES, err);
        if (code == 0)
            code = xk_file_sync(&v->file, err);
    }
    return code < 0 ? code : vhd_journal_remove(&r->journal, err);
}

static int resize_journaled(struct resize *r, struct xk_err *err)
{
    struct vhd *v = &r->v;

    if (r->how->dry_run)
        return 0;
    int code = vhd_journal_begin(&r->journal, r->fs, r->how->journal, v, err);
    if (code == 0)
        code = keep_everything(r, err);
    if (code == 0)
        code = vhd_journal_seal(&r->journal, err);
    if (code < 0)
        return code;
    code = vhd_write_footers(v, v->end_offset, true, err);
    if (code == 0)
        code = at_stage(r, VHD_RESIZE_BEGUN);
    if (code == 0)
        code = vhd_is_sparse(v) ? write_tables(r, err) : rewrite_fixed(r, err);
    if (code == 0)
        code = at_stage(r, VHD_RESIZE_ENDED);
    /* While it can still be undone. */
    if (code == 0)
        code = xk_file_check_name(&v->file, err);
    if (code == 0)
        code = commit(r, err);
    if (code == 0) {
        if (vhd_is_sparse(v))
            punch_old_places(r);
        return 0;
    }
    if (code == -ECANCELED)
        return code;
    enum vhd_revert outcome;
    struct xk_err second = {0};
    if (vhd_revert_open(&outcome, &v->file, r->how->journal, &second) < 0)
        xk_err_hint(err, "undoing it failed, too (%s); keep the journal: `vhd-util revert -n %s -j %s`", second.text,
                    v->path, r->how->journal);
    return code;
}

/* ---- which way ---- */

static int resize_sparse(struct resize *r, struct xk_err *err)
{
    struct vhd *v = &r->v;
    const uint64_t block = v->header.block_bytes;
    const uint64_t rounded = XK_ROUND_UP(r->how->bytes, block);

    r->result.new_bytes = rounded;
    r->new_blocks = (uint32_t)(rounded / block);
    if (rounded == r->result.old_bytes)
        return 0;
    if (rounded < r->result.old_bytes)
        return shrink_sparse(r, err);
    if (r->new_blocks <= v->header.max_entries && !r->how->journal)
        return grow_inside(r, err);
    if (!r->how->journal) {
        const int code = xk_fail(err, -EINVAL, "%s: its tables reach to %s only, larger ones need a journal", v->path,
                                 xk_size((uint64_t)v->header.max_entries * block).s);
        return code;
    }
    r->new_entries = XK_MAX(r->new_blocks, v->header.max_entries);
    int code = lay_out(r, err);
    if (code == 0)
        code = plan_moves(r, err);
    return code < 0 ? code : resize_journaled(r, err);
}

static int resize_fixed(struct resize *r, struct xk_err *err)
{
    r->result.new_bytes = r->end = r->how->bytes;
    if (r->result.new_bytes == r->result.old_bytes)
        return 0;
    if (r->result.new_bytes < r->result.old_bytes && !r->how->drop_data) {
        xk_fail(err, -ENOTEMPTY, "%s: a fixed image loses what lies behind its new end", r->v.path);
        xk_err_hint(err, "shrink the file system inside first; --yes drops the data");
        return -ENOTEMPTY;
    }
    if (!r->how->journal)
        return xk_fail(err, -EINVAL, "%s: a fixed image is resized with a journal only", r->v.path);
    return resize_journaled(r, err);
}

static void done(struct resize *r)
{
    for (int i = 0; i < VHD_LOCATORS; i++)
        free(r->locators[i]);
    free(r->bat);
    vhd_journal_done(&r->journal);
    vhd_close(&r->v);
}

int vhd_resize(struct vhd_resized *ret, const struct xk_fs *fs, const char *path, const struct vhd_resize *how,
               struct xk_err *err)
{
    struct resize r = {.fs = fs, .how = how, .v.file.fd = -1, .journal = {.file.fd = -1, .fresh.file.fd = -1}};

    if (how->bytes > VHD_SIZE_MAX) {
        xk_fail(err, -EFBIG, "%s: %s is more than the 2040 GiB that a VHD can have", path, xk_size(how->bytes).s);
        xk_err_exit(err, XK_EXIT_USAGE);
        return -EFBIG;
    }
    if (how->bytes % VHD_SECTOR || how->bytes == 0)
        return xk_fail(err, -EINVAL, "%s: %llu bytes is not a whole number of sectors", path,
                       (unsigned long long)how->bytes);
    int code = vhd_open(&r.v, fs, path, (how->dry_run ? VHD_READ : VHD_WRITE) | VHD_DEVICES, err);
    if (code < 0)
        return code;
    r.result.old_bytes = r.v.footer.current_bytes;
    if (vhd_is_sparse(&r.v) && r.v.batmap_state != VHD_GOOD && r.v.batmap_state != VHD_ABSENT)
        code = xk_fail(err, -EBADMSG, "%s: its batmap is damaged; repair it first", path);
    else
        code = vhd_check_overlap(&r.v, err);
    if (code == 0)
        code = vhd_is_sparse(&r.v) ? resize_sparse(&r, err) : resize_fixed(&r, err);
    if (code == 0)
        code = xk_file_check_name(&r.v.file, err);
    done(&r);
    if (code == 0)
        *ret = r.result;
    return code;
}
