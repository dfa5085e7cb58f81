/*
 * A journal in a regular file is written under a temporary name and appears whole; on a block device its header is
 * written last. Revert reads and verifies every entry before it writes the first one, writes the footers last, and can
 * be done any number of times.
 */
#include "lib/vhd/journal.h"

#include "core/text.h"

#include <endian.h>
#include <string.h>
#include <sys/stat.h>

#define COOKIE       "vjournal"
#define ENTRY_COOKIE UINT64_C(0xaaaa12344321aaaa)
#define HEADER_BYTES 512u
#define ENTRY_BYTES  32u /* 28 that say something, 4 that the checksum covers, too */
#define CHUNK_BYTES  (1u << 20)

struct entry {
    uint32_t type, size, checksum;
    uint64_t offset, at; /* in the image; of the data in the journal */
};

/* ---- writing ---- */

static const struct xk_file *file_of(const struct vhd_journal *j)
{
    return j->fresh.pending ? &j->fresh.file : &j->file;
}

static int write_header(const struct vhd_journal *j, struct xk_err *err)
{
    uint8_t bytes[HEADER_BYTES];
    struct xk_writer w = xk_writer(bytes, sizeof(bytes));

    xk_write_raw(&w, COOKIE, 8);
    xk_write_raw(&w, j->uuid, sizeof(j->uuid));
    xk_write_be64(&w, j->footer_offset);
    xk_write_be32(&w, j->data_entries);
    xk_write_be32(&w, j->metadata_entries);
    xk_write_be64(&w, j->data_offset);
    xk_write_be64(&w, j->metadata_offset);
    xk_write_raw(&w, &j->end, sizeof(j->end));
    xk_write_zeros(&w, sizeof(bytes) - w.at);
    return xk_file_write(file_of(j), bytes, sizeof(bytes), 0, err);
}

int vhd_journal_begin(struct vhd_journal *ret, const struct xk_fs *fs, const char *path, const struct vhd *image,
                      struct xk_err *err)
{
    struct stat st;

    *ret = (struct vhd_journal){.fs = fs, .file.fd = -1, .fresh.file.fd = -1};
    ret->path = xk_strdup(path);
    if (!ret->path)
        return xk_fail_memory(err);
    ret->footer_offset = image->end_offset;
    ret->metadata_offset = ret->end = HEADER_BYTES;
    memcpy(ret->uuid, image->footer.uuid, sizeof(ret->uuid));

    ret->block_device = stat(path, &st) == 0 && S_ISBLK(st.st_mode);
    const int code = ret->block_device ? xk_file_open(&ret->file, fs, ret->path, O_RDWR, 0, err)
                                       : xk_newfile_begin(&ret->fresh, fs, ret->path, 0644, true, err);
    if (code < 0)
        vhd_journal_done(ret);
    return code;
}

static uint32_t entry_checksum(const uint8_t head[ENTRY_BYTES], const uint8_t *data, size_t bytes)
{
    /* The checksum's own field counts as zeros. */
    uint32_t sum = ~vhd_checksum(head, ENTRY_BYTES) + ~vhd_checksum(data, bytes);
    for (int i = 24; i < 28; i++)
        sum -= head[i];
    return ~sum;
}

static int keep_piece(struct vhd_journal *j, const struct vhd *image, enum vhd_journal_type type, uint64_t offset,
                      uint32_t bytes, struct xk_err *err)
{
    xk_autofree uint8_t *both = xk_zalloc(ENTRY_BYTES + bytes);
    if (!both)
        return xk_fail_memory(err);
    int code = xk_file_read(&image->file, both + ENTRY_BYTES, bytes, offset, err);
    if (code < 0)
        return code;
    struct xk_writer w = xk_writer(both, ENTRY_BYTES);
    xk_write_be64(&w, ENTRY_COOKIE);
    xk_write_be32(&w, type);
    xk_write_be32(&w, bytes);
    xk_write_be64(&w, offset);
    xk_write_be32(&w, entry_checksum(both, both + ENTRY_BYTES, bytes));

    code = xk_file_write(file_of(j), both, ENTRY_BYTES + bytes, j->end, err);
    if (code < 0)
        return code;
    if (type != VHD_JOURNAL_DATA)
        j->metadata_entries++;
    else if (j->data_entries++ == 0)
        j->data_offset = j->end;
    j->end += ENTRY_BYTES + bytes;
    return 0;
}

int vhd_journal_keep(struct vhd_journal *j, const struct vhd *image, enum vhd_journal_type type, uint64_t offset,
                     uint64_t bytes, struct xk_err *err)
{
    /* XenServer reads each piece of metadata as one entry; data may come in pieces. */
    if (type != VHD_JOURNAL_DATA)
        return bytes > VHD_JOURNAL_ENTRY_MAX ? xk_fail(err, -EFBIG, "%s: %s of metadata are too much for a journal",
                                                       image->path, xk_size(bytes).s)
                                             : keep_piece(j, image, type, offset, (uint32_t)bytes, err);
    int code = 0;
    for (uint64_t at = 0; at < bytes && code == 0; at += CHUNK_BYTES)
        code = keep_piece(j, image, type, offset + at, (uint32_t)XK_MIN(bytes - at, (uint64_t)CHUNK_BYTES), err);
    return code;
}

int vhd_journal_keep_metadata(struct vhd_journal *j, const struct vhd *v, struct xk_err *err)
{
    int code = vhd_journal_keep(j, v, VHD_JOURNAL_FOOTER, v->end_offset, VHD_FOOTER_BYTES, err);
    if (code < 0 || !vhd_is_sparse(v))
        return code;
    code = vhd_journal_keep(j, v, VHD_JOURNAL_FOOTER_COPY, 0, VHD_FOOTER_BYTES, err);
    if (code == 0)
        code = vhd_journal_keep(j, v, VHD_JOURNAL_HEADER, v->footer.data_offset, VHD_HEADER_BYTES, err);
    for (int i = 0; i < VHD_LOCATORS && code == 0; i++) {
        const struct vhd_locator *l = &v->header.locators[i];
        if (l->code != VHD_LOCATOR_NONE)
            code = vhd_journal_keep(j, v, VHD_JOURNAL_LOCATOR, l->offset, vhd_locator_space(l), err);
    }
    if (code == 0)
        code = vhd_journal_keep(j, v, VHD_JOURNAL_BAT, v->header.table_offset, vhd_bat_bytes(&v->header), err);
    if (code == 0 && v->batmap_state == VHD_GOOD) {
        code = vhd_journal_keep(j, v, VHD_JOURNAL_BATMAP_HEADER, v->batmap_header_offset, VHD_SECTOR, err);
        if (code == 0)
            code = vhd_journal_keep(j, v, VHD_JOURNAL_BATMAP, v->batmap.offset, v->batmap_bytes, err);
    }
    return code;
}

int vhd_journal_seal(struct vhd_journal *j, struct xk_err *err)
{
    if (j->data_entries == 0)
        j->data_offset = j->end;
    int code = j->block_device ? xk_file_sync(&j->file, err) : 0;
    if (code == 0)
        code = write_header(j, err);
    if (code < 0)
        return code;
    if (j->block_device)
        return xk_file_sync(&j->file, err);
    struct stat st;
    code = j->fs->ops->fstat(j->fs, j->fresh.file.fd, &st);
    if (code < 0)
        return xk_fail_sys(err, code, "cannot look at %s", j->path);
    code = xk_newfile_commit(&j->fresh, err);
    if (code == 0)
        code = xk_file_open(&j->file, j->fs, j->path, O_RDWR, 0, err);
    return code < 0 ? code : xk_file_check_identity(&j->file, st.st_dev, st.st_ino, err);
}

int vhd_journal_empty(struct vhd_journal *j, uint64_t footer_offset, struct xk_err *err)
{
    j->footer_offset = footer_offset;
    j->data_entries = j->metadata_entries = 0;
    j->data_offset = j->metadata_offset = 0;
    j->end = HEADER_BYTES;
    const int code = write_header(j, err);
    return code < 0 ? code : xk_file_sync(&j->file, err);
}

int vhd_journal_remove(struct vhd_journal *j, struct xk_err *err)
{
    if (j->block_device)
        return 0;
    const int ours = xk_file_check_name(&j->file, err);
    if (ours < 0)
        return ours;
    const int gone = j->fs->ops->unlink(j->fs, j->path);
    if (gone < 0)
        return xk_fail_sys(err, gone, "removing the journal %s", j->path);
    xk_autofree char *dir = xk_dir_name(j->path);
    if (!dir)
        return xk_fail_memory(err);
    const int synced = j->fs->ops->sync_dir(j->fs, dir);
    return synced < 0 ? xk_fail_sys(err, synced, "%s", dir) : 0;
}

void vhd_journal_done(struct vhd_journal *j)
{
    xk_newfile_abort(&j->fresh);
    xk_file_close(&j->file);
    free(j->path);
    *j = (struct vhd_journal){.file.fd = -1, .fresh.file.fd = -1};
}

int vhd_write_footers(struct vhd *v, uint64_t end_offset, bool poisoned, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES];

    memcpy(v->footer.cookie, poisoned ? VHD_COOKIE_POISON : VHD_COOKIE, sizeof(v->footer.cookie));
    vhd_footer_encode(sector, &v->footer);
    int code = xk_file_write(&v->file, sector, sizeof(sector), end_offset, err);
    if (code == 0 && vhd_is_sparse(v))
        code = xk_file_write(&v->file, sector, sizeof(sector), 0, err);
    return code < 0 ? code : xk_file_sync(&v->file, err);
}

/* ---- revert ---- */

struct revert {
    struct vhd_journal journal;
    struct xk_file image;
    struct vhd_footer footer; /* any that the image shows */
    bool footer_known, poisoned;
    bool named; /* the image was opened by its name, for who asked */
    const struct vhd_revert_how *how;
    uint64_t journal_bytes, done_bytes, total_bytes;
    struct entry *entries;
    size_t count;
    uint8_t *buf;
};

static void advance(struct revert *r, uint64_t bytes)
{
    r->done_bytes += bytes;
    if (r->how->progress)
        r->how->progress(r->how->context, XK_MIN(r->done_bytes, r->total_bytes), r->total_bytes);
}

static int read_header(struct revert *r, struct xk_err *err)
{
    uint8_t bytes[HEADER_BYTES];
    char cookie[8];
    struct vhd_journal *j = &r->journal;

    const ssize_t got = xk_file_read_some(&j->file, bytes, sizeof(bytes), 0, err);
    if (got < 0)
        return (int)got;
    struct xk_reader h = xk_reader(bytes, (size_t)got);
    xk_take_bytes(&h, cookie, sizeof(cookie));
    xk_take_bytes(&h, j->uuid, sizeof(j->uuid));
    j->footer_offset = xk_be64(&h);
    j->data_entries = xk_be32(&h);
    j->metadata_entries = xk_be32(&h);
    j->data_offset = xk_be64(&h);
    j->metadata_offset = xk_be64(&h);
    if (h.bad || memcmp(cookie, COOKIE, sizeof(cookie)) != 0)
        return xk_fail(err, -EINVAL, "%s: is not a resize journal", j->path);
    return 0;
}

static int read_entry(struct revert *r, uint64_t at, struct entry *ret, struct xk_err *err)
{
    uint8_t head[ENTRY_BYTES];
    const struct vhd_journal *j = &r->journal;
    uint64_t end;

    int code = xk_file_read(&j->file, head, sizeof(head), at, err);
    if (code < 0)
        return code;
    struct xk_reader h = xk_reader(head, sizeof(head));
    const uint64_t cookie = xk_be64(&h);
    ret->type = xk_be32(&h);
    ret->size = xk_be32(&h);
    ret->offset = xk_be64(&h);
    ret->checksum = xk_be32(&h);
    ret->at = at + ENTRY_BYTES;
    if (cookie != ENTRY_COOKIE || ret->type < VHD_JOURNAL_FOOTER || ret->type > VHD_JOURNAL_DATA || ret->size == 0 ||
        ret->size % VHD_SECTOR || ret->size > VHD_JOURNAL_ENTRY_MAX || ret->at > r->journal_bytes ||
        r->journal_bytes - ret->at < ret->size)
        return xk_fail(err, -EBADMSG, "%s: the entry at byte %llu is damaged", j->path, (unsigned long long)at);
    if (xk_add(ret->offset, (uint64_t)ret->size, &end) || end > j->footer_offset + VHD_FOOTER_BYTES)
        return xk_fail(err, -EBADMSG, "%s: an entry for byte %llu lies past the image's end at %llu", j->path,
                       (unsigned long long)ret->offset, (unsigned long long)j->footer_offset);

    uint8_t *grown = xk_realloc(r->buf, ret->size);
    if (!grown)
        return xk_fail_memory(err);
    r->buf = grown;
    code = xk_file_read(&j->file, r->buf, ret->size, ret->at, err);
    if (code == 0 && entry_checksum(head, r->buf, ret->size) != ret->checksum)
        code =
            xk_fail(err, -EBADMSG, "%s: the entry at byte %llu has a wrong checksum", j->path, (unsigned long long)at);
    return code;
}

/* All entries, verified, before anything is written. */
static int read_entries(struct revert *r, struct xk_err *err)
{
    const struct vhd_journal *j = &r->journal;
    uint64_t count, at = HEADER_BYTES;

    if (xk_add((uint64_t)j->data_entries, (uint64_t)j->metadata_entries, &count) || count > VHD_JOURNAL_ENTRIES_MAX ||
        count > r->journal_bytes / ENTRY_BYTES || j->footer_offset > INT64_MAX / 2)
        return xk_fail(err, -EBADMSG, "%s: claims %llu entries, which do not fit", j->path, (unsigned long long)count);
    r->entries = xk_array_alloc((size_t)count, sizeof(*r->entries));
    if (!r->entries)
        return xk_fail_memory(err);
    /* Each byte is read to be verified, then read again to be written back. */
    r->total_bytes = r->journal_bytes * (r->how->dry_run ? 1 : 2);
    for (size_t i = 0; i < count; i++) {
        struct entry *e = &r->entries[r->count];
        const int code = read_entry(r, at, e, err);
        if (code < 0)
            return code;
        at = e->at + e->size;
        r->count++;
        advance(r, e->size);
    }
    if (r->count == 0 || r->entries[0].type != VHD_JOURNAL_FOOTER)
        return xk_fail(err, -EBADMSG, "%s: does not begin with the image's footer", j->path);
    return 0;
}

/* Which image this is, by whatever footer can still be read. */
static int identify(struct revert *r, const char *image_path, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES];
    uint64_t bytes;
    char why[128];

    int code = xk_file_size(&bytes, &r->image, err);
    if (code < 0)
        return code;
    const uint64_t places[] = {bytes >= VHD_FOOTER_BYTES ? bytes - VHD_FOOTER_BYTES : 0, r->journal.footer_offset, 0};
    for (size_t i = 0; i < XK_COUNT(places); i++) {
        struct vhd_footer f;
        if (xk_file_read(&r->image, sector, sizeof(sector), places[i], NULL) < 0)
            continue;
        vhd_footer_decode(&f, sector);
        if (vhd_footer_problem(&f, why, sizeof(why)))
            continue;
        if (memcmp(f.uuid, r->journal.uuid, sizeof(f.uuid)) != 0)
            return xk_fail(err, -EINVAL, "%s: is the journal of image %s, not of %s", r->journal.path,
                           xk_uuid_text(r->journal.uuid).s, image_path);
        if (!r->footer_known)
            r->footer = f;
        r->footer_known = true;
        r->poisoned |= memcmp(f.cookie, VHD_COOKIE_POISON, sizeof(f.cookie)) == 0;
    }
    return 0;
}

static bool is_footer(const struct entry *e)
{
    return e->type == VHD_JOURNAL_FOOTER || e->type == VHD_JOURNAL_FOOTER_COPY;
}

static int restore(struct revert *r, bool footers, struct xk_err *err)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[i];
        if (is_footer(e) != footers)
            continue;
        int code = xk_file_read(&r->journal.file, r->buf, e->size, e->at, err);
        if (code == 0)
            code = xk_file_write(&r->image, r->buf, e->size, e->offset, err);
        if (code < 0)
            return code;
        advance(r, e->size);
    }
    return xk_file_sync(&r->image, err);
}

static int cut_off(struct revert *r, struct xk_err *err)
{
    struct stat st;
    if (r->image.fs->ops->fstat(r->image.fs, r->image.fd, &st) < 0 || S_ISBLK(st.st_mode))
        return 0;
    const uint64_t end = r->journal.footer_offset + VHD_FOOTER_BYTES;
    return (uint64_t)st.st_size > end ? xk_file_truncate(&r->image, end, err) : 0;
}

static int undo(struct revert *r, struct xk_err *err)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < r->count; i++)
        largest = XK_MAX(largest, r->entries[i].size);
    uint8_t *grown = xk_realloc(r->buf, largest);
    if (!grown)
        return xk_fail_memory(err);
    r->buf = grown;

    /* The footer at the end first: it lies where nothing else was kept, and the file is cut behind it. */
    int code = restore(r, false, err);
    if (code == 0)
        code = restore(r, true, err);
    if (code == 0)
        code = cut_off(r, err);
    return code < 0 ? code : xk_file_sync(&r->image, err);
}

/* The new footers are in place, only poisoned. */
static int finish(struct revert *r, struct xk_err *err)
{
    const struct xk_fs *const fs = r->image.fs;
    const char *const image_path = r->image.path;
    struct vhd v;
    uint8_t sector[VHD_FOOTER_BYTES];
    char why[128];

    int code = xk_file_read(&r->image, sector, sizeof(sector), r->journal.footer_offset, err);
    if (code < 0)
        return code;
    vhd_footer_decode(&r->footer, sector);
    /* XenServer's emptied journals still say where the old footer was: then the file's own end is the place. */
    if (!vhd_footer_problem(&r->footer, why, sizeof(why)) &&
        memcmp(r->footer.uuid, r->journal.uuid, sizeof(r->footer.uuid)) == 0) {
        code = cut_off(r, err);
        if (code == 0)
            code = xk_file_sync(&r->image, err);
    }
    if (code == 0)
        code = vhd_open(&v, fs, image_path, VHD_WRITE | VHD_LENIENT | VHD_DEVICES, err);
    if (code < 0)
        return code;
    code = xk_file_check_same(&v.file, &r->image, err);
    if (code == 0 &&
        (v.end_state != VHD_GOOD || (vhd_is_sparse(&v) && (v.header_state != VHD_GOOD || v.bat_state != VHD_GOOD))))
        code =
            xk_fail(err, -EBADMSG, "%s: the resize was complete, but the image is damaged: %s", image_path, v.trouble);
    if (code == 0)
        code = vhd_write_footers(&v, v.end_offset, false, err);
    vhd_close(&v);
    return code;
}

static int remove_journal(struct revert *r, struct xk_err *err)
{
    if (r->journal.block_device)
        return vhd_journal_empty(&r->journal, r->journal.footer_offset, err);
    return vhd_journal_remove(&r->journal, err);
}

static int follow(enum vhd_revert *ret, struct revert *r, struct xk_err *err)
{
    const char *const image_path = r->image.path;
    int code = read_header(r, err);
    if (code == 0)
        code = identify(r, image_path, err);
    if (code < 0)
        return code;
    if (r->journal.metadata_entries + (uint64_t)r->journal.data_entries == 0) {
        *ret = r->poisoned ? VHD_REVERT_FINISHED : VHD_REVERT_NOTHING;
        code = r->poisoned && !r->how->dry_run ? finish(r, err) : 0;
    } else {
        *ret = VHD_REVERT_UNDONE;
        code = read_entries(r, err);
        if (code == 0 && !r->how->dry_run)
            code = undo(r, err);
    }
    if (code < 0 || r->how->dry_run)
        return code;
    /* An image that lost its name keeps its journal. */
    code = r->named ? xk_file_check_name(&r->image, err) : 0;
    return code < 0 ? code : remove_journal(r, err);
}

static int revert(enum vhd_revert *ret, struct revert *r, const char *journal_path, struct xk_err *err)
{
    struct stat st;

    r->journal.path = xk_strdup(journal_path);
    if (!r->journal.path)
        return xk_fail_memory(err);
    int code = xk_file_open(&r->journal.file, r->journal.fs, r->journal.path,
                            (r->how->dry_run ? O_RDONLY : O_RDWR) | O_NONBLOCK, 0, err);
    if (code == 0)
        code = xk_file_size(&r->journal_bytes, &r->journal.file, err);
    if (code == 0) {
        r->journal.block_device = stat(journal_path, &st) == 0 && S_ISBLK(st.st_mode);
        code = follow(ret, r, err);
    }
    vhd_journal_done(&r->journal);
    free(r->entries);
    free(r->buf);
    return code;
}

static const struct vhd_revert_how plain = {.dry_run = false};

int vhd_revert(enum vhd_revert *ret, const struct xk_fs *fs, const char *image_path, const char *journal_path,
               const struct vhd_revert_how *how, struct xk_err *err)
{
    struct revert r = {.journal = {.fs = fs, .file.fd = -1, .fresh.file.fd = -1},
                       .image.fd = -1,
                       .named = true,
                       .how = how ? how : &plain};

    int code = xk_file_open(&r.image, fs, image_path, (r.how->dry_run ? O_RDONLY : O_RDWR) | O_NONBLOCK, 0, err);
    if (code == 0)
        code = revert(ret, &r, journal_path, err);
    xk_file_close(&r.image);
    return code;
}

int vhd_revert_open(enum vhd_revert *ret, const struct xk_file *image, const char *journal_path, struct xk_err *err)
{
    struct revert r = {
        .journal = {.fs = image->fs, .file.fd = -1, .fresh.file.fd = -1}, .image = *image, .how = &plain};

    return revert(ret, &r, journal_path, err);
}
