/*
 * Opening reads three places: the first three sectors (footer copy and header in one read), the last sector, and the
 * tables. Each part gets a state of its own; strict opening turns the first bad state into an error, lenient opening
 * keeps going so that an audit can name everything. Tables are read whole: the largest disk of the format has 4 MiB of
 * BAT, and reading it piecewise would make every later question slower.
 */
#include "lib/vhd/image.h"

#include "core/text.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FRONT_BYTES (VHD_FOOTER_BYTES + VHD_HEADER_BYTES)

/* Remember the first trouble; strict opening fails with it, lenient opening tells it. */
static XK_PRINTF(3, 4) void trouble(struct vhd *v, int code, const char *format, ...)
{
    if (v->trouble_code)
        return;
    v->trouble_code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(v->trouble, sizeof(v->trouble), format, args);
    va_end(args);
}

static enum vhd_state state_of_footer(const struct vhd_footer *f)
{
    char why[128];
    return vhd_footer_problem(f, why, sizeof(why)) ? VHD_DAMAGED : VHD_GOOD;
}

static bool has_cookie(const struct vhd_footer *f)
{
    return memcmp(f->cookie, VHD_COOKIE, 8) == 0 || memcmp(f->cookie, VHD_COOKIE_POISON, 8) == 0;
}

/* The footer at the end: 512 bytes, or 511 in files whose size ends that way. */
static int read_end_footer(struct vhd *v, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES] = {0};

    v->end_state = VHD_UNREADABLE;
    if (v->file_bytes < VHD_SHORT_FOOTER_BYTES)
        return 0;
    const bool is_short = v->file_bytes % VHD_SECTOR == VHD_SHORT_FOOTER_BYTES;
    const size_t bytes = is_short ? VHD_SHORT_FOOTER_BYTES : VHD_FOOTER_BYTES;
    v->end_offset = v->file_bytes - bytes;
    const ssize_t got = xk_file_read_some(&v->file, sector, bytes, v->end_offset, err);
    if (got < 0)
        return (int)got;
    if ((size_t)got < bytes)
        return 0;
    vhd_footer_decode(&v->end_footer, sector);
    v->end_state = state_of_footer(&v->end_footer);
    v->short_footer = is_short && has_cookie(&v->end_footer);
    return 0;
}

/* Choose the footer in force: the end's, unless only the copy is good. */
static int choose_footer(struct vhd *v, unsigned flags, struct xk_err *err)
{
    char why[128];
    const bool copy_allowed = flags & (VHD_LENIENT | VHD_BACKUP_OK);

    if (v->end_state == VHD_GOOD) {
        v->footer = v->end_footer;
    } else if (v->copy_state == VHD_GOOD && copy_allowed) {
        v->footer = v->copy_footer;
        v->footer_from_copy = true;
    } else if ((flags & VHD_LENIENT) && has_cookie(&v->end_footer)) {
        v->footer = v->end_footer;
    } else if ((flags & VHD_LENIENT) && has_cookie(&v->copy_footer)) {
        v->footer = v->copy_footer;
        v->footer_from_copy = true;
    } else {
        if (v->copy_state == VHD_GOOD) {
            const char *reason = v->end_state == VHD_UNREADABLE ? "the file ends early"
                                                                : vhd_footer_problem(&v->end_footer, why, sizeof(why));
            xk_fail(err, -EBADMSG, "%s: the footer at the end is damaged (%s), its copy at the front is good", v->path,
                    reason ? reason : "it cannot be read");
            xk_err_hint(
                err,
                "`xenkit vhd check %s` shows everything that is wrong; `vhd-util repair -n %s` rewrites the footer",
                v->path, v->path);
            return -EBADMSG;
        }
        if (has_cookie(&v->end_footer))
            return xk_fail(err, -EBADMSG, "%s: damaged footer: %s", v->path,
                           vhd_footer_problem(&v->end_footer, why, sizeof(why)));
        return xk_fail(err, -EBADMSG, "%s: not a VHD: no footer at the end or at the start", v->path);
    }
    if (v->footer.type == VHD_FIXED)
        v->copy_state = VHD_ABSENT;
    if (memcmp(v->footer.cookie, VHD_COOKIE_POISON, 8) == 0)
        trouble(v, -EBADMSG, "the image is disabled by an unfinished resize ('v_poison')");
    if (v->end_state != VHD_GOOD && v->footer_from_copy && !(flags & VHD_BACKUP_OK))
        trouble(v, -EBADMSG, "the footer at the end is damaged");
    return 0;
}

static int read_header(struct vhd *v, const uint8_t *front, size_t front_bytes, struct xk_err *err)
{
    uint8_t bytes[VHD_HEADER_BYTES];
    char why[128];
    const uint64_t at = v->footer.data_offset;

    v->header_state = VHD_UNREADABLE;
    if (at > v->file_bytes || v->file_bytes - at < VHD_HEADER_BYTES) {
        trouble(v, -EBADMSG, "the header at byte %llu lies outside the file of %llu bytes", (unsigned long long)at,
                (unsigned long long)v->file_bytes);
        return 0;
    }
    if (at <= front_bytes && front_bytes - at >= VHD_HEADER_BYTES) {
        memcpy(bytes, front + at, VHD_HEADER_BYTES);
    } else {
        const ssize_t got = xk_file_read_some(&v->file, bytes, VHD_HEADER_BYTES, at, err);
        if (got < 0)
            return (int)got;
        if ((size_t)got < VHD_HEADER_BYTES) {
            trouble(v, -EBADMSG, "the header at byte %llu cannot be read whole", (unsigned long long)at);
            return 0;
        }
    }
    vhd_header_decode(&v->header, bytes);
    const char *problem = vhd_header_problem(&v->header, why, sizeof(why));
    v->header_state = problem ? VHD_DAMAGED : VHD_GOOD;
    if (problem)
        trouble(v, -EBADMSG, "damaged header: %s", problem);
    return 0;
}

/* Larger blocks than the format's own 2 MiB are refused; to look at what somebody made of it, some can be followed. */
static bool block_size_usable(const struct vhd_header *h)
{
    return h->block_bytes >= VHD_SECTOR && h->block_bytes <= VHD_BLOCK_FOLLOWED_MAX &&
           (h->block_bytes & (h->block_bytes - 1)) == 0;
}

static int read_bat(struct vhd *v, unsigned flags, struct xk_err *err)
{
    const uint64_t limit = flags & VHD_ANY_SIZE ? VHD_METADATA_MAX_ASKED : VHD_METADATA_MAX;

    v->bat_state = VHD_UNREADABLE;
    if (!block_size_usable(&v->header))
        return 0;
    const uint64_t needed =
        v->footer.current_bytes / v->header.block_bytes + (v->footer.current_bytes % v->header.block_bytes != 0);
    const uint64_t entries = XK_MIN(needed, (uint64_t)v->header.max_entries);
    if (needed > v->header.max_entries)
        trouble(v, -EBADMSG, "the disk needs %llu blocks, the table has %u entries", (unsigned long long)needed,
                v->header.max_entries);
    v->blocks = (uint32_t)entries;
    if (flags & VHD_NO_TABLES) {
        v->bat_state = VHD_ABSENT;
        return 0;
    }
    const uint64_t bytes = entries * sizeof(uint32_t);
    if (v->header.table_offset > v->file_bytes || v->file_bytes - v->header.table_offset < bytes) {
        trouble(v, -EBADMSG, "the block table at byte %llu with %llu entries does not fit into the file of %llu bytes",
                (unsigned long long)v->header.table_offset, (unsigned long long)entries,
                (unsigned long long)v->file_bytes);
        v->blocks = 0;
        return 0;
    }
    if (bytes > limit) {
        trouble(v, -EFBIG, "the block table needs %s, more than the limit of %s", xk_size(bytes).s, xk_size(limit).s);
        v->blocks = 0;
        return 0;
    }
    v->bat = xk_alloc((size_t)bytes);
    if (!v->bat)
        return xk_fail_memory(err);
    const int code = xk_file_read(&v->file, v->bat, (size_t)bytes, v->header.table_offset, err);
    if (code < 0) {
        if (!(flags & VHD_LENIENT) || code == -ENOMEM)
            return code;
        trouble(v, code, "the block table cannot be read");
        free(XK_TAKE(v->bat));
        v->blocks = 0;
        return 0;
    }
    uint32_t inside = 0;
    for (uint32_t i = 0; i < v->blocks; i++) {
        v->bat[i] = be32toh(v->bat[i]);
        inside += (uint64_t)v->bat[i] * VHD_SECTOR < v->file_bytes;
    }
    const uint64_t block_bytes = (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR + v->header.block_bytes;
    if (inside > v->file_bytes / block_bytes + 1)
        v->crowd = inside;
    v->bat_state = VHD_GOOD;
    return 0;
}

bool vhd_has_batmap(const struct vhd_footer *f)
{
    return f->type != VHD_FIXED && memcmp(f->creator, "tap", 3) == 0 && f->creator_version > 0x00000001;
}

uint64_t vhd_bat_bytes(const struct vhd_header *h)
{
    return XK_ROUND_UP(XK_MAX((uint64_t)h->max_entries, UINT64_C(1)) * sizeof(uint32_t), VHD_SECTOR);
}

uint64_t vhd_batmap_summed_bytes(const struct vhd *v)
{
    const uint64_t bytes = v->footer.current_bytes / VHD_BLOCK_BYTES / 8;
    return XK_MAX(XK_ROUND_UP(bytes, (uint64_t)VHD_SECTOR), (uint64_t)VHD_SECTOR);
}

int vhd_write_batmap(struct vhd *v, struct xk_err *err)
{
    const size_t bytes = VHD_SECTOR + v->batmap_bytes;
    xk_autofree uint8_t *both = xk_alloc(bytes);
    if (!both)
        return xk_fail_memory(err);

    v->batmap.checksum = vhd_batmap_checksum(v->batmap.version, v->batmap_bits, (size_t)vhd_batmap_summed_bytes(v));
    vhd_batmap_encode(both, &v->batmap);
    memcpy(both + VHD_SECTOR, v->batmap_bits, v->batmap_bytes);
    /* The map nearly always follows its header: then one write keeps sum and map together. */
    if (v->batmap.offset == v->batmap_header_offset + VHD_SECTOR)
        return xk_file_write(&v->file, both, bytes, v->batmap_header_offset, err);
    const int code = xk_file_write(&v->file, both + VHD_SECTOR, v->batmap_bytes, v->batmap.offset, err);
    return code < 0 ? code : xk_file_write(&v->file, both, VHD_SECTOR, v->batmap_header_offset, err);
}

/*
 * The batmap only says what the bitmaps say, too: without a good one the image is read through its bitmaps. So its
 * trouble is told, but never keeps a strict opening from succeeding.
 */
static int read_batmap(struct vhd *v, unsigned flags, struct xk_err *err)
{
    uint8_t sector[VHD_SECTOR];
    uint64_t at;

    if (xk_add(v->header.table_offset, vhd_bat_bytes(&v->header), &at) || at > v->file_bytes ||
        v->file_bytes - at < VHD_SECTOR) {
        v->batmap_state = VHD_UNREADABLE;
        trouble(v, -EBADMSG, "the batmap header lies outside the file");
        return 0;
    }
    int code = xk_file_read(&v->file, sector, VHD_SECTOR, at, err);
    if (code < 0) {
        v->batmap_state = VHD_UNREADABLE;
        trouble(v, code, "the batmap header cannot be read");
        return flags & VHD_LENIENT ? 0 : code;
    }
    v->batmap_header_offset = at;
    vhd_batmap_decode(&v->batmap, sector);
    if (memcmp(v->batmap.cookie, VHD_BATMAP_COOKIE, 8) != 0 || v->batmap.version > VHD_BATMAP_VERSION) {
        /* Images updated from 0.1 say 1.1 and have none. */
        if (v->footer.creator_version < 0x00010002) {
            v->batmap_header_offset = 0;
            return 0;
        }
        v->batmap_state = VHD_DAMAGED;
        trouble(v, -EBADMSG, "damaged batmap header");
        return 0;
    }

    const uint64_t bytes = (uint64_t)v->batmap.size_sectors * VHD_SECTOR;
    const uint64_t needed = XK_DIV_UP((uint64_t)v->blocks, 8);
    if (v->batmap.offset > v->file_bytes || v->file_bytes - v->batmap.offset < bytes || bytes < needed ||
        bytes > VHD_METADATA_MAX) {
        v->batmap_state = VHD_DAMAGED;
        trouble(v, -EBADMSG, "the batmap of %u sectors at byte %llu does not fit the file or the disk",
                v->batmap.size_sectors, (unsigned long long)v->batmap.offset);
        return 0;
    }
    v->batmap_bits = xk_alloc((size_t)bytes);
    if (!v->batmap_bits)
        return xk_fail_memory(err);
    code = xk_file_read(&v->file, v->batmap_bits, (size_t)bytes, v->batmap.offset, err);
    if (code < 0) {
        free(XK_TAKE(v->batmap_bits));
        v->batmap_state = VHD_UNREADABLE;
        trouble(v, code, "the batmap cannot be read");
        return flags & VHD_LENIENT ? 0 : code;
    }
    v->batmap_bytes = (size_t)bytes;

    const uint64_t summed = vhd_batmap_summed_bytes(v);
    if (summed > bytes ||
        vhd_batmap_checksum(v->batmap.version, v->batmap_bits, (size_t)summed) != v->batmap.checksum) {
        v->batmap_state = VHD_DAMAGED;
        trouble(v, -EBADMSG, "the batmap's checksum is wrong");
        return 0;
    }
    v->batmap_state = VHD_GOOD;
    return 0;
}

static int read_parts(struct vhd *v, unsigned flags, struct xk_err *err)
{
    uint8_t front[FRONT_BYTES] = {0};
    const ssize_t got = xk_file_read_some(&v->file, front, sizeof(front), 0, err);
    if (got < 0)
        return (int)got;
    v->copy_state = VHD_UNREADABLE;
    if ((size_t)got >= VHD_FOOTER_BYTES) {
        vhd_footer_decode(&v->copy_footer, front);
        v->copy_state = state_of_footer(&v->copy_footer);
    }
    int code = read_end_footer(v, err);
    if (code < 0)
        return code;
    code = choose_footer(v, flags, err);
    if (code < 0)
        return code;
    if (!vhd_is_sparse(v)) {
        if (v->footer.type == VHD_FIXED && v->footer.current_bytes > v->end_offset)
            trouble(v, -EBADMSG, "the disk has %llu bytes, the file only %llu before its footer",
                    (unsigned long long)v->footer.current_bytes, (unsigned long long)v->end_offset);
        return 0;
    }
    code = read_header(v, front, (size_t)got, err);
    if (code < 0)
        return code;
    if (v->header_state != VHD_GOOD && (!(flags & VHD_LENIENT) || v->header_state == VHD_UNREADABLE))
        return 0;
    return read_bat(v, flags, err);
}

static bool wants_batmap(const struct vhd *v, unsigned flags)
{
    return vhd_has_batmap(&v->footer) && v->bat_state == VHD_GOOD && !(flags & VHD_NO_TABLES);
}

static int describe_file(struct vhd *v, unsigned flags, struct xk_err *err)
{
    struct stat st;
    const int code = v->file.fs->ops->fstat(v->file.fs, v->file.fd, &st);
    if (code < 0)
        return xk_fail_sys(err, code, "%s", v->path);
    v->dev = st.st_dev;
    v->ino = st.st_ino;
    v->mtime = st.st_mtime;
    v->block_device = S_ISBLK(st.st_mode);
    if (S_ISDIR(st.st_mode))
        return xk_fail(err, -EISDIR, "%s: is a folder, not a disk image", v->path);
    if (v->block_device ? !(flags & VHD_DEVICES) : !S_ISREG(st.st_mode))
        return xk_fail(err, -ENOTSUP, "%s: is not a regular file", v->path);
    return xk_file_size(&v->file_bytes, &v->file, err);
}

int vhd_open(struct vhd *ret, const struct xk_fs *fs, const char *path, unsigned flags, struct xk_err *err)
{
    *ret = (struct vhd){.file.fd = -1};
    struct vhd *v = ret;

    v->path = xk_strdup(path);
    if (!v->path)
        return xk_fail_memory(err);
    /* A FIFO must not make us wait; what it is, is asked after opening, so that nobody can swap it in between. */
    int code = xk_file_open(&v->file, fs, v->path, (flags & VHD_WRITE ? O_RDWR : O_RDONLY) | O_NONBLOCK, 0, err);
    if (code == 0)
        code = describe_file(v, flags, err);
    if (code == 0)
        code = read_parts(v, flags, err);
    if (code == 0 && v->trouble_code && !(flags & VHD_LENIENT)) {
        code = xk_fail(err, v->trouble_code, "%s: %s", path, v->trouble);
        xk_err_hint(err, "`xenkit vhd check %s` shows everything that is wrong", path);
    }
    if (code == 0 && wants_batmap(v, flags))
        code = read_batmap(v, flags, err);
    if (code < 0) {
        vhd_close(v);
        return code;
    }
    v->writable = flags & VHD_WRITE;
    return 0;
}

void vhd_close(struct vhd *v)
{
    if (!v)
        return;
    xk_file_close(&v->file);
    free(v->path);
    free(v->bat);
    free(v->batmap_bits);
    *v = (struct vhd){.file.fd = -1};
}

bool vhd_probe(const struct xk_fs *fs, const char *path)
{
    struct xk_file f;
    uint8_t cookie[8];
    uint64_t bytes;
    bool found = false;
    struct stat st;

    if (xk_file_open(&f, fs, path, O_RDONLY | O_NONBLOCK, 0, NULL) < 0)
        return false;
    if (fs->ops->fstat(fs, f.fd, &st) == 0 && S_ISREG(st.st_mode) && xk_file_size(&bytes, &f, NULL) == 0 &&
        bytes >= VHD_SHORT_FOOTER_BYTES) {
        const uint64_t end = bytes - (bytes % VHD_SECTOR == VHD_SHORT_FOOTER_BYTES ? VHD_SHORT_FOOTER_BYTES
                                                                                   : XK_MIN(bytes, VHD_FOOTER_BYTES));
        found = (xk_file_read(&f, cookie, 8, 0, NULL) == 0 && memcmp(cookie, VHD_COOKIE, 8) == 0) ||
                (xk_file_read(&f, cookie, 8, end, NULL) == 0 && memcmp(cookie, VHD_COOKIE, 8) == 0);
    }
    xk_file_close(&f);
    return found;
}

uint32_t vhd_allocated(const struct vhd *v)
{
    uint32_t n = 0;
    for (uint32_t i = 0; v->bat && i < v->blocks; i++)
        n += v->bat[i] != VHD_BAT_FREE;
    return n;
}

/* end becomes the larger of itself and offset + bytes, if that lies in the file. */
static void reach(uint64_t *end, uint64_t offset, uint64_t bytes, uint64_t file_bytes)
{
    uint64_t to;
    if (!xk_add(offset, bytes, &to) && to <= file_bytes && to > *end)
        *end = to;
}

uint64_t vhd_data_end(const struct vhd *v)
{
    if (!vhd_is_sparse(v))
        return v->end_offset;

    uint64_t end = 0;
    reach(&end, v->footer.data_offset, VHD_HEADER_BYTES, v->file_bytes);
    if (v->header_state == VHD_ABSENT || v->header_state == VHD_UNREADABLE)
        return end;
    reach(&end, v->header.table_offset, vhd_bat_bytes(&v->header), v->file_bytes);
    if (v->batmap_header_offset) {
        reach(&end, v->batmap_header_offset, VHD_SECTOR, v->file_bytes);
        reach(&end, v->batmap.offset, (uint64_t)v->batmap.size_sectors * VHD_SECTOR, v->file_bytes);
    }
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *l = &v->header.locators[i];
        if (l->code != VHD_LOCATOR_NONE)
            reach(&end, l->offset, vhd_locator_space(l), v->file_bytes);
    }
    if (!v->bat)
        return end;
    const uint64_t block_bytes = v->header.block_bytes + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    for (uint32_t i = 0; i < v->blocks; i++) {
        if (v->bat[i] != VHD_BAT_FREE)
            reach(&end, (uint64_t)v->bat[i] * VHD_SECTOR, block_bytes, v->file_bytes);
    }
    return end;
}

bool vhd_in_hole(struct vhd_hole *h, const struct xk_file *f, uint64_t file_bytes, uint64_t start, uint64_t bytes)
{
    if (start < h->from || start + bytes > h->to) {
        const int64_t data = f->fs->ops->seek(f->fs, f->fd, start, SEEK_DATA);
        h->from = start;
        h->to = data == -ENXIO ? file_bytes : data < 0 ? start : (uint64_t)data;
    }
    return start + bytes <= h->to;
}

int vhd_block_check(const struct vhd *v, uint32_t block, struct xk_err *err)
{
    const uint64_t at = (uint64_t)v->bat[block] * VHD_SECTOR;
    const uint64_t end = at + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR + v->header.block_bytes;
    const uint64_t header = v->footer.data_offset, table = v->header.table_offset;
    const bool on_header = at < header + VHD_HEADER_BYTES && header < end;
    const bool on_table = at < table + (uint64_t)v->blocks * sizeof(uint32_t) && table < end;

    if (at < VHD_FOOTER_BYTES || on_header || on_table)
        return xk_fail(err, -EBADMSG, "%s: block %u at sector %u lies on the image's own tables", v->path, block,
                       v->bat[block]);
    if (v->crowd)
        return xk_fail(err, -EBADMSG,
                       "%s: its table has %u blocks in a file of %llu bytes: many must lie on each other", v->path,
                       v->crowd, (unsigned long long)v->file_bytes);
    return 0;
}

int vhd_check_overlap(const struct vhd *v, struct xk_err *err)
{
    if (v->bat_state != VHD_GOOD || v->blocks == 0)
        return 0;
    const uint32_t length = vhd_bitmap_sectors(v) + vhd_sectors_per_block(v);
    uint32_t used = 0;
    xk_autofree uint32_t *sectors = xk_array_alloc(v->blocks, sizeof(*sectors));
    if (!sectors)
        return xk_fail_memory(err);
    for (uint32_t n = 0; n < v->blocks; n++) {
        if (v->bat[n] != VHD_BAT_FREE)
            sectors[used++] = v->bat[n];
    }
    if (vhd_sort_sectors(&sectors, used) < 0)
        return xk_fail_memory(err);
    /* The last block may end with the disk, and others begin there. */
    const uint64_t cut = vhd_sectors(v) % vhd_sectors_per_block(v);
    const uint64_t last_length = cut ? vhd_bitmap_sectors(v) + cut : length;
    for (uint32_t n = 1; n < used; n++) {
        const uint64_t needs = sectors[n - 1] == v->bat[v->blocks - 1] ? last_length : length;
        if (sectors[n] - (uint64_t)sectors[n - 1] >= needs)
            continue;
        (void)xk_fail(err, -EBADMSG, "%s: the blocks at sectors %u and %u share sectors of the file", v->path,
                      sectors[n - 1], sectors[n]);
        xk_err_hint(err, "what is written to one would destroy the other; `xenkit vhd check %s` names them all",
                    v->path);
        return -EBADMSG;
    }
    return 0;
}

int vhd_read_bitmap(const struct vhd *v, uint32_t block, uint8_t *ret, struct xk_err *err)
{
    const size_t bytes = (size_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    const uint64_t at = (uint64_t)v->bat[block] * VHD_SECTOR;

    if (at > v->file_bytes || v->file_bytes - at < bytes)
        return xk_fail(err, -EBADMSG, "%s: block %u at sector %u lies outside the file", v->path, block, v->bat[block]);
    return xk_file_read(&v->file, ret, bytes, at, err);
}
