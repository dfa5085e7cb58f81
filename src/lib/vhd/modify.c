/*
 * Footers: the one at the end first, since readers believe it; the file is cut only when the new one is on the disk.
 *
 * Another parent is told in four places, a header and up to three locators. One slot is taken out of the header and
 * gets the new path while the others still tell the old one; then the header is switched to the new parent with this
 * slot alone; then the others follow. Writing texts and header straight, as XenServer's own library does, leaves an
 * image of two parents when it is stopped between.
 */
#include "lib/vhd/modify.h"

#include "core/text.h"
#include "lib/vhd/canon.h"
#include "lib/vhd/chain.h"

#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define XATTR_MARKER "user.com.citrix.xenclient.backend.marker"

/* ---- footers ---- */

/*
 * Where the data end: like vhd_data_end(), but a last block that the file cuts counts whole, and one that lies
 * outside altogether is an error, because the footer would be written there.
 */
static int find_end(uint64_t *ret, const struct vhd *v, struct xk_err *err)
{
    if (!vhd_is_sparse(v)) {
        *ret = v->end_offset;
        return 0;
    }
    if (v->bat_state != VHD_GOOD)
        return xk_fail(err, -EINVAL, "%s: its block table cannot be read, so the end of the data is not known",
                       v->path);

    uint64_t end = vhd_data_end(v);
    const uint64_t block_bytes = v->header.block_bytes + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    for (uint32_t n = 0; n < v->blocks; n++) {
        const uint64_t at = (uint64_t)v->bat[n] * VHD_SECTOR;
        if (v->bat[n] == VHD_BAT_FREE)
            continue;
        if (at >= v->file_bytes)
            return xk_fail(err, -EINVAL, "%s: block %u at sector %u lies outside the file", v->path, n, v->bat[n]);
        end = XK_MAX(end, at + block_bytes);
    }
    *ret = v->block_device ? v->file_bytes - VHD_FOOTER_BYTES : XK_ROUND_UP(end, VHD_SECTOR);
    return 0;
}

static int write_footer_at(struct vhd *v, const struct vhd_footer *f, uint64_t offset, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES];

    vhd_footer_encode(sector, f);
    const int code = xk_file_write(&v->file, sector, sizeof(sector), offset, err);
    return code < 0 ? code : xk_file_sync(&v->file, err);
}

static int write_copy(struct vhd *v, const struct vhd_footer *f, struct xk_err *err)
{
    const int code = write_footer_at(v, f, 0, err);
    if (code == 0) {
        v->copy_footer = *f;
        v->copy_state = VHD_GOOD;
    }
    return code;
}

int vhd_rewrite_footers(struct vhd *v, const struct vhd_footer *f, struct xk_err *err)
{
    uint64_t end;

    int code = find_end(&end, v, err);
    if (code == 0)
        code = write_footer_at(v, f, end, err);
    if (code == 0 && !v->block_device && v->file_bytes > end + VHD_FOOTER_BYTES)
        code = xk_file_truncate(&v->file, end + VHD_FOOTER_BYTES, err);
    if (code < 0)
        return code;
    if (!v->block_device)
        v->file_bytes = end + VHD_FOOTER_BYTES;
    v->end_offset = end;
    v->footer = v->end_footer = *f;
    v->end_state = VHD_GOOD;
    v->short_footer = false;
    if (vhd_is_sparse(v))
        code = write_copy(v, f, err);
    if (code == 0)
        code = xk_file_sync(&v->file, err);
    return code < 0 ? code : xk_file_check_name(&v->file, err);
}

int vhd_set_hidden(struct vhd *v, uint8_t hidden, struct xk_err *err)
{
    struct vhd_footer f = v->footer;

    f.hidden = hidden;
    const int code = vhd_rewrite_footers(v, &f, err);
    if (code != -ENOSPC || !vhd_is_sparse(v) || !hidden)
        return code;
    xk_err_clear(err);
    const int hidden_by_copy = write_copy(v, &f, err);
    return hidden_by_copy < 0 ? hidden_by_copy : xk_file_check_name(&v->file, err);
}

int vhd_check_file_end(const struct vhd *v, uint64_t bytes, struct xk_err *err)
{
    uint64_t end;

    int code = find_end(&end, v, err);
    if (code == 0 && v->block_device)
        end = vhd_data_end(v);
    if (code == 0 && (bytes % VHD_SECTOR != 0 || bytes < end + VHD_FOOTER_BYTES))
        code = xk_fail(err, -EINVAL,
                       "%s: its data and footer need %llu bytes, which %llu are not enough or no whole sectors for",
                       v->path, (unsigned long long)end + VHD_FOOTER_BYTES, (unsigned long long)bytes);
    return code;
}

int vhd_set_file_end(struct vhd *v, uint64_t bytes, struct xk_err *err)
{
    int code = vhd_check_file_end(v, bytes, err);
    if (code == 0)
        code = write_footer_at(v, &v->footer, bytes - VHD_FOOTER_BYTES, err);
    return code < 0 ? code : xk_file_check_name(&v->file, err);
}

/* ---- marker and data ---- */

int vhd_set_marker(struct vhd *v, uint8_t marker, struct xk_err *err)
{
    uint8_t sector[VHD_SECTOR];

    if (!v->batmap_header_offset) {
        if (fsetxattr(v->file.fd, XATTR_MARKER, &marker, sizeof(marker), 0) < 0)
            return xk_fail_sys(err, -errno, "%s: storing the marker as an extended attribute", v->path);
        const int code = xk_file_sync(&v->file, err);
        return code < 0 ? code : xk_file_check_name(&v->file, err);
    }
    struct vhd_batmap b = v->batmap;
    b.marker = marker;
    vhd_batmap_encode(sector, &b);
    int code = xk_file_write(&v->file, sector, sizeof(sector), v->batmap_header_offset, err);
    if (code == 0)
        code = xk_file_sync(&v->file, err);
    if (code < 0)
        return code;
    v->batmap = b;
    return xk_file_check_name(&v->file, err);
}

bool vhd_get_marker(uint8_t *ret, const struct vhd *v)
{
    uint8_t marker = 0;
    bool found;

    if (v->batmap_header_offset) {
        found = v->batmap_state == VHD_GOOD;
        marker = v->batmap.marker;
    } else {
        found = fgetxattr(v->file.fd, XATTR_MARKER, &marker, sizeof(marker)) == (ssize_t)sizeof(marker);
    }
    *ret = found ? marker : 0;
    return found;
}

/* The sectors of the BAT that the disk uses, with its entries free and the rest as it is. */
static int free_entries(struct vhd *v, struct xk_err *err)
{
    const size_t used = (size_t)v->blocks * sizeof(uint32_t), bytes = XK_ROUND_UP(XK_MAX(used, (size_t)1), VHD_SECTOR);
    xk_autofree uint8_t *table = xk_alloc(bytes);
    if (!table)
        return xk_fail_memory(err);

    int code = xk_file_read(&v->file, table, bytes, v->header.table_offset, err);
    memset(table, 0xff, used);
    if (code == 0)
        code = xk_file_write(&v->file, table, bytes, v->header.table_offset, err);
    if (code == 0)
        code = xk_file_sync(&v->file, err);
    for (uint32_t n = 0; n < v->blocks && code == 0; n++)
        v->bat[n] = VHD_BAT_FREE;
    return code;
}

int vhd_discard(struct vhd *v, struct xk_err *err)
{
    int code = 0;

    if (!vhd_is_sparse(v))
        return xk_fail(err, -ENOSYS, "%s: a fixed image has no blocks to give back", v->path);
    if (v->bat_state != VHD_GOOD || v->batmap_state == VHD_DAMAGED || v->batmap_state == VHD_UNREADABLE)
        return xk_fail(err, -EINVAL, "%s: its block table or batmap is damaged", v->path);
    if (v->batmap_state == VHD_GOOD) {
        /* An empty batmap is true of any image, so it goes first. */
        memset(v->batmap_bits, 0, v->batmap_bytes);
        code = vhd_write_batmap(v, err);
        if (code == 0)
            code = xk_file_sync(&v->file, err);
    }
    if (code == 0)
        code = free_entries(v, err);
    if (code == 0 && v->block_device)
        return xk_file_check_name(&v->file, err);
    return code < 0 ? code : vhd_rewrite_footers(v, &v->footer, err);
}

/* ---- another parent ---- */

static bool holds_path(const struct vhd_locator *l)
{
    return l->code == VHD_LOCATOR_MACX || l->code == VHD_LOCATOR_W2KU || l->code == VHD_LOCATOR_W2RU;
}

static const struct xk_buf *text_for(const struct vhd_locator_texts *t, uint32_t code)
{
    return code == VHD_LOCATOR_MACX ? &t->macx : code == VHD_LOCATOR_W2KU ? &t->w2ku : &t->w2ru;
}

static int write_header(struct vhd *v, const struct vhd_header *h, struct xk_err *err)
{
    uint8_t bytes[VHD_HEADER_BYTES];

    vhd_header_encode(bytes, h);
    const int code = xk_file_write(&v->file, bytes, sizeof(bytes), v->footer.data_offset, err);
    return code < 0 ? code : xk_file_sync(&v->file, err);
}

/* h without the path locators, except one (-1: none kept), or without just that one. */
static struct vhd_header with_only(const struct vhd_header *h, int kept)
{
    struct vhd_header out = *h;
    for (int n = 0; n < VHD_LOCATORS; n++) {
        if (n != kept && holds_path(&h->locators[n]))
            out.locators[n] = (struct vhd_locator){0};
    }
    return out;
}

static int write_text(struct vhd *v, const struct vhd_locator *l, const struct xk_buf *text, struct xk_err *err)
{
    xk_autofree uint8_t *padded = xk_zalloc(l->space);
    if (!padded)
        return xk_fail_memory(err);
    memcpy(padded, text->data, text->len);
    return xk_file_write(&v->file, padded, l->space, l->offset, err);
}

static int write_texts(struct vhd *v, const struct vhd_header *h, const struct vhd_locator_texts *t, int but,
                       struct xk_err *err)
{
    int code = 0;
    for (int n = 0; n < VHD_LOCATORS && code == 0; n++) {
        const struct vhd_locator *l = &h->locators[n];
        if (n != but && holds_path(l))
            code = write_text(v, l, text_for(t, l->code), err);
    }
    return code < 0 ? code : xk_file_sync(&v->file, err);
}

static int commit_parent(struct vhd *v, const struct vhd_header *next, const struct vhd_locator_texts *t,
                         const struct vhd_reparent *how, struct xk_err *err)
{
    int slots = 0, spare = -1, code;

    for (int n = 0; n < VHD_LOCATORS; n++) {
        if (holds_path(&next->locators[n])) {
            slots++;
            spare = n;
        }
    }
    if (slots > 1) {
        struct vhd_header without = v->header;
        without.locators[spare] = (struct vhd_locator){0};
        code = write_header(v, &without, err);
        if (code == 0)
            code = write_text(v, &next->locators[spare], text_for(t, next->locators[spare].code), err);
        if (code == 0)
            code = xk_file_sync(&v->file, err);
    } else {
        code = write_texts(v, next, t, -1, err);
    }
    if (code == 0 && how->before_commit)
        code = how->before_commit(how->context);
    if (code == 0 && slots > 1) {
        const struct vhd_header first = with_only(next, spare);
        code = write_header(v, &first, err);
        if (code == 0)
            code = write_texts(v, next, t, spare, err);
    }
    if (code == 0)
        code = write_header(v, next, err);
    return code;
}

/* Texts into the slots that are there. */
static int fit_texts(struct vhd_header *h, const struct vhd *v, const struct vhd_locator_texts *t, struct xk_err *err)
{
    for (int n = 0; n < VHD_LOCATORS; n++) {
        struct vhd_locator *l = &h->locators[n];
        if (!holds_path(l))
            continue;
        const uint32_t length = (uint32_t)text_for(t, l->code)->len,
                       space = XK_ROUND_UP(XK_MAX(length, 1u), VHD_SECTOR);
        if (space > vhd_locator_space(l) || l->offset % VHD_SECTOR != 0 || l->offset > v->file_bytes ||
            v->file_bytes - l->offset < space)
            return xk_fail(err, -ENAMETOOLONG, "%s: locator %d has no room for %u bytes", v->path, n, length);
        l->space = space;
        l->length = length;
        l->reserved = 0;
    }
    return 0;
}

static bool is_same_file(const struct vhd *a, const struct vhd *b)
{
    return a->dev == b->dev && a->ino == b->ino;
}

/* What the header has to say of the parent: its UUID and time, and that this makes no loop. */
static int look_at_parent(struct vhd_header *h, struct stat *ret, const struct vhd *v, const char *path, bool raw,
                          struct xk_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return xk_fail_sys(err, -errno, "%s", path);
    *ret = st;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return xk_fail(err, -EINVAL, "%s: is neither a regular file nor a block device", path);
    h->parent_timestamp = vhd_timestamp(st.st_mtime);
    memset(h->parent_uuid, 0, sizeof(h->parent_uuid));
    if (raw)
        return st.st_dev == v->dev && st.st_ino == v->ino ? xk_fail(err, -ELOOP, "%s is the image itself", path) : 0;

    struct vhd parent;
    int code = vhd_open(&parent, v->file.fs, path, VHD_NO_TABLES | VHD_DEVICES | VHD_BACKUP_OK, err);
    if (code < 0)
        return code;
    memcpy(h->parent_uuid, parent.footer.uuid, sizeof(h->parent_uuid));
    code = xk_file_check_identity(&parent.file, st.st_dev, st.st_ino, err);
    if (code == 0 && is_same_file(v, &parent))
        code = xk_fail(err, -ELOOP, "%s is the image itself", path);
    else if (code == 0 && vhd_uuid_is_null(h->parent_uuid))
        code = xk_fail(err, -EINVAL, "%s: its UUID is zero, which a child cannot refer to", path);
    vhd_close(&parent);
    if (code < 0)
        return code;

    /* A chain that is broken higher up is no reason to refuse: it may be under repair. */
    struct vhd_chain chain;
    const struct vhd_chain_options options = {.open_flags = VHD_NO_TABLES | VHD_DEVICES | VHD_BACKUP_OK};
    if (vhd_chain_open(&chain, v->file.fs, path, &options, NULL) < 0)
        return 0;
    for (size_t n = 1; n < chain.count && code == 0; n++) {
        if (is_same_file(v, &chain.layers[n]))
            code = xk_fail(err, -ELOOP, "%s stands on %s already", path, v->path);
    }
    vhd_chain_close(&chain);
    return code;
}

int vhd_reparent(struct vhd *v, const struct vhd_reparent *how, struct xk_err *err)
{
    xk_auto(vhd_locator_texts_done) struct vhd_locator_texts texts = {0};
    struct vhd_header next = v->header;
    struct stat below = {0};

    if (v->footer.type != VHD_DIFFERENCING)
        return xk_fail(err, -EINVAL, "%s: a %s image has no parent", v->path, vhd_type_name(v->footer.type));
    if (v->header_state != VHD_GOOD)
        return xk_fail(err, -EINVAL, "%s: its header is damaged", v->path);
    xk_autofree char *parent = vhd_canonical_path(how->parent);
    if (!parent)
        return xk_fail_sys(err, -errno, "%s", how->parent);
    xk_autofree char *own = vhd_canonical_path(v->path);
    xk_autofree char *dir = own ? xk_dir_name(own) : NULL;
    if (!dir)
        return xk_fail_sys(err, -errno, "%s", v->path);

    int code = look_at_parent(&next, &below, v, parent, how->raw, err);
    if (code == -ELOOP)
        xk_err_exit(err, XK_EXIT_USAGE);
    if (code == 0)
        code = vhd_set_parent_name(&next, parent, err);
    if (code == 0)
        code = vhd_locator_texts_make(&texts, dir, parent, err);
    if (code == 0)
        code = fit_texts(&next, v, &texts, err);
    if (code < 0 || how->dry_run)
        return code;
    code = commit_parent(v, &next, &texts, how, err);
    if (code < 0)
        return code;
    v->header = next;
    code = xk_path_check_identity(v->file.fs, parent, below.st_dev, below.st_ino, err);
    return code < 0 ? code : xk_file_check_name(&v->file, err);
}
