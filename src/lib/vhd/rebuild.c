/*
 * Steps go from the outside in, as an audit does: the footer copy, its fields, the header, the block table, bitmaps,
 * batmap, locators; the footer at the end comes last, since its place is known only when the table is. Two images are
 * compared by their problems, those of outer parts first: a step that makes the header readable is right to bring to
 * light what was wrong behind it all the time.
 */
#include "lib/vhd/rebuild.h"

#include "core/text.h"
#include "lib/vhd/create.h"
#include "lib/vhd/modify.h"
#include "lib/vhd/rebuild-parts.h"

#include <stdio.h>
#include <string.h>

#define COOKIE_BYTES_WRONG_MAX 3 /* of 8, in a cookie that is still taken for one */
#define ROUNDS_MAX             4
#define TAP_VERSION            0x00010003u
#define TAP_VERSION_NO_BATMAP  0x00000001u

/* ---- what steps say ---- */

void vhd_step_tell(struct rebuild *b, const char *part, const char *reason, ...)
{
    va_list args;
    b->told.part = part;
    va_start(args, reason);
    vsnprintf(b->told.reason, sizeof(b->told.reason), reason, args);
    va_end(args);
}

void vhd_step_before(struct rebuild *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(b->told.before, sizeof(b->told.before), format, args);
    va_end(args);
}

void vhd_step_after(struct rebuild *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(b->told.after, sizeof(b->told.after), format, args);
    va_end(args);
}

void vhd_step_refuse(struct rebuild *b, enum vhd_problem_kind kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(b->r->refused[kind], sizeof(b->r->refused[kind]), format, args);
    va_end(args);
}

bool vhd_has_problem(const struct vhd_problems *list, enum vhd_problem_kind kind)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind == kind)
            return true;
    }
    return false;
}

uint64_t vhd_stored_block_bytes(const struct vhd *v)
{
    return v->header.block_bytes + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
}

/* ---- which of two images is the better one ---- */

/* How far inside the part lies; problems further in do not show while an outer one hides them. */
static unsigned depth_of(enum vhd_problem_kind kind)
{
    switch (kind) {
    case VHD_P_UNREADABLE:
    case VHD_P_NOT_VHD:
    case VHD_P_POISONED:
    case VHD_P_FOOTER_COPY:
    case VHD_P_FOOTERS_DIFFER:
        return 0;
    case VHD_P_FOOTER_FIELD:
    case VHD_P_GEOMETRY:
    case VHD_P_SIZE:
        return 1;
    case VHD_P_HEADER:
    case VHD_P_HEADER_FIELD:
        return 2;
    case VHD_P_BAT_OUTSIDE:
    case VHD_P_BAT_SHORT:
        return 3;
    case VHD_P_BAT_PAST_END:
    case VHD_P_BAT_OVERLAP:
    case VHD_P_FOOTER: /* where it goes is known from the table */
        return 4;
    default:
        return 5;
    }
}

#define DEPTHS 6

struct score {
    unsigned bad[DEPTHS][3]; /* problems by depth, critical ones first */
};

static struct score score_of(const struct vhd_problems *list)
{
    struct score s = {0};
    for (size_t i = 0; i < list->count; i++)
        s.bad[depth_of(list->items[i].kind)][XK_CRITICAL - list->items[i].severity]++;
    return s;
}

/* Negative: a is better. */
static int compare_scores(const struct vhd_problems *a, const struct vhd_problems *b)
{
    const struct score sa = score_of(a), sb = score_of(b);

    for (unsigned d = 0; d < DEPTHS; d++) {
        for (unsigned n = 0; n < 2; n++) {
            if (sa.bad[d][n] != sb.bad[d][n])
                return sa.bad[d][n] < sb.bad[d][n] ? -1 : 1;
        }
    }
    /* Notes ask for nothing: they decide only when everything else is equal. */
    unsigned notes_a = 0, notes_b = 0;
    for (unsigned d = 0; d < DEPTHS; d++) {
        notes_a += sa.bad[d][2];
        notes_b += sb.bad[d][2];
    }
    return notes_a < notes_b ? -1 : notes_a > notes_b;
}

/* What an audit says (content: of bitmaps and data, too); an image that cannot even be opened as one has that as its
 * problem. */
static int look(struct vhd_problems *ret, const struct vhd_rebuild *r, const struct xk_fs *fs, bool content,
                struct xk_err *err)
{
    const struct vhd_audit_options options = {
        .bitmaps = content,
        .data = content && r->options.data,
        .unix_seconds = r->options.unix_seconds,
        .progress = r->options.progress,
        .context = r->options.context,
    };
    struct xk_err why = {0};
    struct vhd v;

    *ret = (struct vhd_problems){0};
    int code = vhd_open(&v, fs, r->overlay.path, VHD_LENIENT | r->options.open_flags, &why);
    if (code == -EBADMSG) {
        vhd_problem_add(ret, VHD_P_NOT_VHD, XK_CRITICAL, 1, "%s", why.text);
        return ret->error ? xk_fail_memory(err) : 0;
    }
    if (code < 0)
        return xk_fail(err, code, "%s", why.text);
    code = vhd_audit(ret, &v, &options, err);
    vhd_close(&v);
    if (code < 0)
        vhd_problems_done(ret);
    return code;
}

/* ---- footers, as bytes ---- */

struct footers {
    struct xk_file f;
    uint64_t bytes, end_offset;
    struct vhd_footer end, copy;
    bool end_good, copy_good;
};

static bool is_good(const struct vhd_footer *f)
{
    char why[128];
    return vhd_footer_problem(f, why, sizeof(why)) == NULL;
}

static int footers_open(struct footers *ret, const struct vhd_rebuild *r, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES] = {0};

    *ret = (struct footers){.f.fd = -1};
    int code = xk_file_open(&ret->f, &r->overlay.fs, r->overlay.path, O_RDWR | O_NONBLOCK, 0, err);
    if (code == 0)
        code = xk_file_size(&ret->bytes, &ret->f, err);
    const bool is_short = ret->bytes % VHD_SECTOR == VHD_SHORT_FOOTER_BYTES;
    const size_t size = is_short ? VHD_SHORT_FOOTER_BYTES : VHD_FOOTER_BYTES;
    if (code == 0 && ret->bytes >= VHD_FOOTER_BYTES) {
        ret->end_offset = ret->bytes - size;
        code = xk_file_read(&ret->f, sector, size, ret->end_offset, err);
        vhd_footer_decode(&ret->end, sector);
        ret->end_good = is_good(&ret->end);
        if (code == 0)
            code = xk_file_read(&ret->f, sector, sizeof(sector), 0, err);
        vhd_footer_decode(&ret->copy, sector);
        ret->copy_good = is_good(&ret->copy);
    }
    return code;
}

static int write_footer(const struct xk_file *f, const struct vhd_footer *footer, uint64_t at, struct xk_err *err)
{
    uint8_t sector[VHD_FOOTER_BYTES];
    vhd_footer_encode(sector, footer);
    return xk_file_write(f, sector, sizeof(sector), at, err);
}

static bool is_sparse_type(uint32_t type)
{
    return type == VHD_DYNAMIC || type == VHD_DIFFERENCING;
}

/*
 * A footer whose checksum is wrong, but whose fields agree with each other and with the file: then the damage is in the
 * cookie, in reserved bytes or in the checksum itself.
 */
static bool salvage(struct vhd_footer *f, uint64_t end_offset)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof(f->cookie); i++)
        wrong += f->cookie[i] != VHD_COOKIE[i];
    const struct vhd_geometry g = vhd_geometry_of(f->current_bytes / VHD_SECTOR);
    if (wrong > COOKIE_BYTES_WRONG_MAX || f->version != 0x00010000 || f->current_bytes == 0 ||
        f->current_bytes % VHD_SECTOR || f->current_bytes > 2 * XK_TIB || g.cylinders != f->geometry.cylinders ||
        g.heads != f->geometry.heads || g.sectors != f->geometry.sectors || vhd_uuid_is_null(f->uuid))
        return false;
    if (f->type == VHD_FIXED ? f->current_bytes != end_offset || f->data_offset != UINT64_MAX
                             : !is_sparse_type(f->type) || f->data_offset != VHD_FOOTER_BYTES)
        return false;
    memcpy(f->cookie, VHD_COOKIE, sizeof(f->cookie));
    return true;
}

/* Does a batmap header stand behind the table that this header names? */
static bool has_batmap_cookie(const struct xk_file *f, const struct vhd_header *h)
{
    char cookie[8];
    uint64_t at;
    return !xk_add(h->table_offset, vhd_bat_bytes(h), &at) && xk_file_read(f, cookie, sizeof(cookie), at, NULL) == 0 &&
           memcmp(cookie, VHD_BATMAP_COOKIE, sizeof(cookie)) == 0;
}

/* A footer from what the header knows. Size and kind follow from it, identity and times are lost. */
static int invent_footer(struct vhd_footer *ret, const struct rebuild *b, const struct footers *f, bool *ret_found)
{
    uint8_t bytes[VHD_HEADER_BYTES];
    struct vhd_header h;
    char why[128];

    *ret_found = false;
    if (f->bytes < VHD_FOOTER_BYTES + VHD_HEADER_BYTES)
        return 0;
    const int code = xk_file_read(&f->f, bytes, sizeof(bytes), VHD_FOOTER_BYTES, b->err);
    if (code < 0)
        return code;
    vhd_header_decode(&h, bytes);
    if (vhd_header_problem(&h, why, sizeof(why)) || h.block_bytes != VHD_BLOCK_BYTES || h.max_entries == 0 ||
        h.max_entries > VHD_SIZE_MAX / VHD_BLOCK_BYTES)
        return 0;
    bool child = !vhd_uuid_is_null(h.parent_uuid);
    for (int i = 0; i < VHD_LOCATORS; i++)
        child |= h.locators[i].code != VHD_LOCATOR_NONE;
    *ret = (struct vhd_footer){
        .features = 2,
        .version = 0x00010000,
        .data_offset = VHD_FOOTER_BYTES,
        .timestamp = vhd_timestamp(b->r->options.unix_seconds),
        .creator_version = has_batmap_cookie(&f->f, &h) ? TAP_VERSION : TAP_VERSION_NO_BATMAP,
        .original_bytes = (uint64_t)h.max_entries * h.block_bytes,
        .current_bytes = (uint64_t)h.max_entries * h.block_bytes,
        .type = child ? VHD_DIFFERENCING : VHD_DYNAMIC,
    };
    memcpy(ret->cookie, VHD_COOKIE, sizeof(ret->cookie));
    memcpy(ret->creator, "tap", 4);
    ret->geometry = vhd_geometry_of(ret->current_bytes / VHD_SECTOR);
    vhd_make_uuid(ret->uuid, b->r->options.random);
    *ret_found = true;
    return 0;
}

/* Neither footer is good: the step that everything else stands on. */
static int step_no_footer(struct rebuild *b, struct footers *f)
{
    struct vhd_footer footer;
    bool found = true;
    int code = 0;

    if (f->end_good || f->copy_good)
        return 0;
    if (salvage(&f->end, f->end_offset)) {
        footer = f->end;
        vhd_step_tell(b, "footer",
                      "only cookie, checksum or reserved bytes are wrong: size, geometry, type and the file agree");
    } else if (salvage(&f->copy, f->end_offset) && is_sparse_type(f->copy.type)) {
        footer = f->copy;
        vhd_step_tell(b, "footer", "of its copy only cookie, checksum or reserved bytes are wrong: the rest agrees");
    } else {
        code = invent_footer(&footer, b, f, &found);
        if (code < 0)
            return code;
        if (found)
            vhd_step_tell(
                b, "footer",
                "header and tables are there; the size is what the table was made for, UUID and times are new: "
                "children must be given this parent again");
    }
    if (!found) {
        vhd_step_refuse(b, VHD_P_NOT_VHD,
                        "neither footer nor header is left to tell what the file is; if it was a fixed image, its disk "
                        "is the file from its start: `xenkit vhd convert --from raw`");
        return 0;
    }
    vhd_step_before(b, "no valid footer");
    vhd_step_after(b, "%s, %s, UUID %s", vhd_type_name(footer.type), xk_size(footer.current_bytes).s,
                   xk_uuid_text(footer.uuid).s);
    return write_footer(&f->f, &footer, is_sparse_type(footer.type) ? 0 : f->end_offset, b->err);
}

static int step_copy_missing(struct rebuild *b, struct footers *f)
{
    if (!f->end_good || f->copy_good || !is_sparse_type(f->end.type))
        return 0;
    vhd_step_tell(b, "footer copy", "the footer at the end is good");
    vhd_step_before(b, "no valid copy");
    vhd_step_after(b, "as the footer");
    return write_footer(&f->f, &f->end, 0, b->err);
}

static bool differ(const struct footers *f)
{
    return f->end_good && f->copy_good && is_sparse_type(f->end.type) &&
           f->end.checksum_computed != f->copy.checksum_computed;
}

static int step_copy_follows(struct rebuild *b, struct footers *f)
{
    if (!differ(f))
        return 0;
    vhd_step_tell(b, "footer copy", "readers believe the footer at the end, and it fits the rest");
    vhd_step_before(b, "checksum %08x", f->copy.checksum);
    vhd_step_after(b, "checksum %08x, as the footer", f->end.checksum);
    return write_footer(&f->f, &f->end, 0, b->err);
}

static int step_end_follows(struct rebuild *b, struct footers *f)
{
    if (!differ(f) || f->bytes - f->end_offset != VHD_FOOTER_BYTES)
        return 0;
    vhd_step_tell(b, "footer", "only the copy at the front fits the header and the tables");
    vhd_step_before(b, "checksum %08x", f->end.checksum);
    vhd_step_after(b, "checksum %08x, as the copy", f->copy.checksum);
    return write_footer(&f->f, &f->copy, f->end_offset, b->err);
}

static int step_poison(struct rebuild *b, struct footers *f)
{
    const bool end = f->end_good && memcmp(f->end.cookie, VHD_COOKIE_POISON, 8) == 0;
    const bool copy = f->copy_good && memcmp(f->copy.cookie, VHD_COOKIE_POISON, 8) == 0;
    int code = 0;

    if (!end && !copy)
        return 0;
    if (!b->r->options.forget_journal) {
        vhd_step_refuse(b, VHD_P_POISONED,
                        "follow the journal of the resize with `xenkit vhd revert`; only when that is lost for good, "
                        "--forget-journal takes the image as it is");
        return 0;
    }
    vhd_step_tell(b, "footer", "the journal is lost, and the image is sound as it stands");
    vhd_step_before(b, "disabled by an unfinished resize");
    vhd_step_after(b, "enabled");
    if (end) {
        memcpy(f->end.cookie, VHD_COOKIE, 8);
        code = write_footer(&f->f, &f->end, f->end_offset, b->err);
    }
    if (copy && code == 0) {
        memcpy(f->copy.cookie, VHD_COOKIE, 8);
        code = write_footer(&f->f, &f->copy, 0, b->err);
    }
    return code;
}

/* ---- footer fields ---- */

static int write_both(struct rebuild *b, const struct vhd *v, const struct vhd_footer *f)
{
    int code = vhd_is_sparse(v) ? write_footer(&v->file, f, 0, b->err) : 0;
    if (code == 0 && v->end_state == VHD_GOOD)
        code = write_footer(&v->file, f, v->end_offset, b->err);
    return code;
}

static int step_fields(struct rebuild *b, struct vhd *v)
{
    struct vhd_footer f = v->footer;
    xk_auto(xk_buf_done) struct xk_buf what = XK_BUF_INIT(1024);

    if (!vhd_has_problem(b->problems, VHD_P_FOOTER_FIELD))
        return 0;
    if ((f.features & ~1u) != 2u) {
        f.features = 2u | (f.features & 1u);
        xk_buf_add_str(&what, "features ");
    }
    if (f.saved > 1) {
        f.saved = 0;
        xk_buf_add_str(&what, "saved ");
    }
    if (f.hidden > 1) {
        f.hidden = 1;
        xk_buf_add_str(&what, "hidden ");
    }
    if (f.type == VHD_FIXED && f.data_offset != UINT64_MAX) {
        f.data_offset = UINT64_MAX;
        xk_buf_add_str(&what, "header-offset ");
    }
    if (vhd_uuid_is_null(f.uuid)) {
        vhd_make_uuid(f.uuid, b->r->options.random);
        xk_buf_add_str(&what, "UUID ");
    }
    if (vhd_unix_time(f.timestamp) > b->r->options.unix_seconds + VHD_CLOCK_SLACK_SECONDS) {
        f.timestamp = vhd_timestamp(b->r->options.unix_seconds);
        xk_buf_add_str(&what, "time ");
    }
    if (f.version != 0x00010000 && f.version >> 16 == 1) {
        f.version = 0x00010000;
        xk_buf_add_str(&what, "version ");
    }
    vhd_step_tell(b, "footer", "each has few values that it can have, and this is none; reserved bytes become zeros");
    vhd_step_before(b, "%s: wrong", what.len ? xk_buf_str(&what) : "reserved bytes");
    vhd_step_after(b, "features %u, saved %u, hidden %u, UUID %s", f.features, f.saved, f.hidden,
                   xk_uuid_text(f.uuid).s);
    return write_both(b, v, &f);
}

/* No entry behind the first `blocks` of them is in use. */
static bool free_behind(const struct vhd *v, uint64_t blocks)
{
    for (uint64_t i = blocks; v->bat && i < v->blocks; i++) {
        if (v->bat[i] != VHD_BAT_FREE)
            return false;
    }
    return true;
}

/* The size that the disk must have had, 0 when nothing says. */
static uint64_t find_size(const struct rebuild *b, const struct vhd *v, const char **ret_reason)
{
    const uint64_t original = v->footer.original_bytes;

    if (v->footer.type == VHD_FIXED) {
        *ret_reason = "the original size is exactly what the file holds before its footer";
        return original == v->end_offset && original > 0 ? original : 0;
    }
    const uint64_t block = v->header.block_bytes;
    if (v->header_state != VHD_GOOD || block == 0)
        return 0;
    const uint64_t reach = (uint64_t)v->header.max_entries * block;
    if (original > 0 && original % VHD_SECTOR == 0 && original <= XK_MIN(reach, (uint64_t)VHD_SIZE_MAX) &&
        free_behind(v, XK_DIV_UP(original, block))) {
        *ret_reason = "the original size fits the tables, and no block lies behind it";
        return original;
    }
    *ret_reason = "the disk cannot reach further than its table";
    return vhd_has_problem(b->problems, VHD_P_BAT_SHORT) && reach <= VHD_SIZE_MAX ? reach : 0;
}

static int step_size(struct rebuild *b, struct vhd *v)
{
    struct vhd_footer f = v->footer;
    const char *reason = NULL;
    const bool too_large = vhd_has_problem(b->problems, VHD_P_SIZE),
               short_table = vhd_has_problem(b->problems, VHD_P_BAT_SHORT);

    if (!too_large && !short_table)
        return 0;
    f.current_bytes = find_size(b, v, &reason);
    if (f.current_bytes == 0) {
        const enum vhd_problem_kind kind = too_large ? VHD_P_SIZE : VHD_P_BAT_SHORT;
        vhd_step_refuse(
            b, kind,
            v->footer.type == VHD_FIXED
                ? "the file holds less than the disk has, and nothing says whether the size is wrong or the "
                  "file was cut: get the file again"
                : "nothing in the image says which size is right");
        return 0;
    }
    f.geometry = vhd_geometry_of(f.current_bytes / VHD_SECTOR);
    vhd_step_tell(b, "footer", "%s", reason);
    vhd_step_before(b, "disk of %llu bytes", (unsigned long long)v->footer.current_bytes);
    vhd_step_after(b, "disk of %llu bytes", (unsigned long long)f.current_bytes);
    return write_both(b, v, &f);
}

static int step_geometry(struct rebuild *b, struct vhd *v)
{
    struct vhd_footer f = v->footer;

    if (!vhd_has_problem(b->problems, VHD_P_GEOMETRY))
        return 0;
    f.geometry = vhd_geometry_of(f.current_bytes / VHD_SECTOR);
    vhd_step_tell(b, "footer", "it follows from the size");
    vhd_step_before(b, "geometry %u/%u/%u", v->footer.geometry.cylinders, v->footer.geometry.heads,
                    v->footer.geometry.sectors);
    vhd_step_after(b, "geometry %u/%u/%u", f.geometry.cylinders, f.geometry.heads, f.geometry.sectors);
    return write_both(b, v, &f);
}

/* ---- the end of the file ---- */

/* The block that lies last is cut by the file's end; is anything lost by that? */
static int step_cut_block(struct rebuild *b, const struct vhd *v, bool *ret_lost)
{
    xk_autofree uint8_t *bitmap = xk_alloc((size_t)vhd_bitmap_sectors(v) * VHD_SECTOR);
    if (!bitmap)
        return xk_fail_memory(b->err);
    *ret_lost = false;
    for (uint32_t n = 0; n < v->blocks; n++) {
        const uint64_t at = (uint64_t)v->bat[n] * VHD_SECTOR;
        const uint64_t data = at + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
        if (v->bat[n] == VHD_BAT_FREE || at + vhd_stored_block_bytes(v) <= v->file_bytes)
            continue;
        *ret_lost = data > v->file_bytes || vhd_read_bitmap(v, n, bitmap, NULL) < 0;
        for (uint64_t s = *ret_lost ? UINT32_MAX : (v->file_bytes - data) / VHD_SECTOR; s < vhd_sectors_per_block(v);
             s++)
            *ret_lost |= vhd_bit(bitmap, s);
        if (*ret_lost) {
            vhd_step_refuse(
                b, VHD_P_BAT_PAST_END,
                "the file was cut off inside block %u: what lay behind is gone, only a whole copy of the file "
                "brings it back; what is left can be read with `xenkit vhd read --use-copy`",
                n);
            memcpy(b->r->refused[VHD_P_FOOTER], b->r->refused[VHD_P_BAT_PAST_END], sizeof(b->r->refused[VHD_P_FOOTER]));
            return 0;
        }
    }
    return 0;
}

static int step_end(struct rebuild *b, struct vhd *v)
{
    const bool bad = v->end_state != VHD_GOOD;
    bool lost = false;

    if (!bad && !v->short_footer && !vhd_has_problem(b->problems, VHD_P_TRAILING))
        return 0;
    if (bad && !vhd_is_sparse(v))
        return 0;
    if (vhd_is_sparse(v) && v->bat_state != VHD_GOOD) {
        vhd_step_refuse(b, VHD_P_FOOTER, "where it goes follows from the block table, which cannot be read");
        return 0;
    }
    if (vhd_is_sparse(v)) {
        const int code = step_cut_block(b, v, &lost);
        if (code < 0 || lost)
            return code;
    }
    const uint64_t end = vhd_is_sparse(v) ? vhd_data_end(v) : v->end_offset;
    if (!v->block_device && v->file_bytes > end && v->file_bytes - end > VHD_UNDO_TAIL_MAX) {
        vhd_step_refuse(b, bad ? VHD_P_FOOTER : VHD_P_TRAILING,
                        "%s behind the data would be cut off, more than an undo file takes; `xenkit vhd copy` makes an "
                        "image without them",
                        xk_size(v->file_bytes - end).s);
        return 0;
    }
    vhd_step_tell(b, "footer",
                  bad ? "its copy at the front is good, and the table says where the data end"
                      : (v->short_footer ? "one byte was missing that every writer since 2004 writes"
                                         : "nothing refers to the bytes before it"));
    if (bad)
        vhd_step_before(b, "no valid footer at byte %llu", (unsigned long long)v->end_offset);
    else
        vhd_step_before(b, "at byte %llu", (unsigned long long)v->end_offset);
    const int code = vhd_rewrite_footers(v, &v->footer, b->err);
    vhd_step_after(b, "512 bytes at byte %llu", (unsigned long long)v->end_offset);
    if (code == -EINVAL) { /* the table names places outside the file */
        vhd_step_refuse(b, VHD_P_FOOTER, "%s", b->err ? b->err->text : "the table cannot be believed");
        b->told.part = NULL;
        xk_err_clear(b->err);
        return 0;
    }
    return code;
}

static int step_new_uuid(struct rebuild *b, struct vhd *v)
{
    struct vhd_footer f = v->footer;

    if (!b->r->options.new_uuid)
        return 0;
    vhd_make_uuid(f.uuid, b->r->options.random);
    vhd_step_tell(b, "footer", "asked for; images that stand on this one must be given their parent again");
    vhd_step_before(b, "UUID %s", xk_uuid_text(v->footer.uuid).s);
    vhd_step_after(b, "UUID %s", xk_uuid_text(f.uuid).s);
    return write_both(b, v, &f);
}

/* ---- trying steps ---- */

struct step_row {
    int (*on_bytes)(struct rebuild *b, struct footers *f); /* one of the two */
    int (*on_image)(struct rebuild *b, struct vhd *v);
    bool content; /* about bitmaps or what copies them: judged with these, which takes a while for large disks */
    bool asked;   /* kept also when it makes nothing better, as long as nothing gets worse */
};

static const struct step_row rows[] = {
    {.on_bytes = step_no_footer},
    {.on_bytes = step_poison},
    {.on_bytes = step_copy_missing},
    {.on_bytes = step_copy_follows},
    {.on_bytes = step_end_follows},
    {.on_image = step_fields},
    {.on_image = step_size},
    {.on_image = step_geometry},
    {.on_image = vhd_step_header},
    {.on_image = vhd_step_header_found},
    {.on_image = vhd_step_header_fields},
    {.on_image = step_size},
    {.on_image = vhd_step_bat},
    {.on_image = vhd_step_bitmaps, .content = true},
    {.on_image = vhd_step_batmap, .content = true},
    {.on_image = vhd_step_locators},
    {.on_image = vhd_step_parent, .asked = true},
    {.on_image = step_new_uuid, .asked = true},
    {.on_image = step_end},
};

static int run_step(struct rebuild *b, const struct step_row *row)
{
    struct vhd_rebuild *const r = b->r;
    int code;

    if (row->on_bytes) {
        struct footers f;
        code = footers_open(&f, r, b->err);
        if (code == 0)
            code = row->on_bytes(b, &f);
        xk_file_close(&f.f);
        return code;
    }
    struct vhd v;
    code = vhd_open(&v, &r->overlay.fs, r->overlay.path, VHD_LENIENT | VHD_WRITE | r->options.open_flags, b->err);
    if (code == -EBADMSG) {
        xk_err_clear(b->err); /* nothing there to work on; said by the audit */
        return 0;
    }
    if (code < 0)
        return code;
    code = row->on_image(b, &v);
    vhd_close(&v);
    return code;
}

/* Keep what the step did only when an audit likes it. */
static int judge_step(struct rebuild *b, const struct step_row *row, struct vhd_overlay_mark *mark)
{
    struct vhd_rebuild *const r = b->r;
    struct vhd_problems after;

    int code = look(&after, r, &r->overlay.fs, row->content, b->err);
    if (code < 0)
        return code;
    const int better = compare_scores(&after, b->problems);
    if (better > 0 || (better == 0 && !row->asked) || r->step_count == VHD_REBUILD_STEPS_MAX) {
        vhd_overlay_return(&r->overlay, mark);
        vhd_problems_done(&after);
        return 0;
    }
    r->steps[r->step_count++] = b->told;
    if (!row->content) {
        vhd_problems_done(&r->quick);
        r->quick = after;
        r->after_is_stale = true;
        return 0;
    }
    vhd_problems_done(&r->after);
    r->after = after;
    vhd_problems_done(&r->quick);
    return look(&r->quick, r, &r->overlay.fs, false, b->err);
}

/* Bring `after` up to date. */
static int look_again(struct vhd_rebuild *r, struct xk_err *err)
{
    if (!r->after_is_stale)
        return 0;
    vhd_problems_done(&r->after);
    r->after_is_stale = false;
    return look(&r->after, r, &r->overlay.fs, true, err);
}

/* Damage is repaired where the disk under it can be read; what an I/O error hides is not known. */
static int check_readable(const struct vhd_rebuild *r, struct xk_err *err)
{
    const int code = r->overlay.read_error;

    if (code == 0)
        return 0;
    xk_fail_sys(err, code, "%s: reading it fails", r->overlay.path);
    xk_err_hint(err, "copy what can be read to a sound disk first, and repair the copy");
    return code;
}

static int try_step(struct vhd_rebuild *r, const struct step_row *row, struct xk_err *err)
{
    struct rebuild b = {.r = r, .problems = row->content ? &r->after : &r->quick, .err = err};
    struct vhd_overlay_mark mark;

    int code = row->content ? look_again(r, err) : 0;
    if (code == 0)
        code = vhd_overlay_mark(&mark, &r->overlay, err);
    if (code < 0)
        return code;
    code = run_step(&b, row);
    if (code == 0 && b.told.part)
        code = judge_step(&b, row, &mark);
    vhd_overlay_mark_done(&mark);
    return code < 0 ? code : check_readable(r, err);
}

/* ---- the plan ---- */

static int copy_problems(struct vhd_problems *ret, const struct vhd_problems *from, struct xk_err *err)
{
    ret->items = xk_array_alloc(from->count, sizeof(*ret->items));
    if (!ret->items)
        return xk_fail_memory(err);
    if (from->count)
        memcpy(ret->items, from->items, from->count * sizeof(*ret->items));
    ret->count = from->count;
    return 0;
}

static void list_left(struct vhd_rebuild *r)
{
    for (size_t i = 0; i < r->after.count && r->left_count < VHD_REBUILD_LEFT_MAX; i++) {
        const struct vhd_problem *const p = &r->after.items[i];
        struct vhd_left *const left = &r->left[r->left_count++];
        *left = (struct vhd_left){.kind = p->kind, .severity = p->severity};
        snprintf(left->evidence, sizeof(left->evidence), "%s", p->evidence);
        if (r->refused[p->kind][0])
            memcpy(left->why, r->refused[p->kind], sizeof(left->why));
        else if (p->severity > XK_NOTE)
            snprintf(left->why, sizeof(left->why), "the image does not say what was there");
    }
}

/* All steps together made it worse: then there is no plan. */
static int drop_all(struct vhd_rebuild *r, struct xk_err *err)
{
    struct vhd_overlay_mark begin = {.bytes = r->overlay.real_bytes, .shown = r->overlay.real_bytes};

    vhd_overlay_return(&r->overlay, &begin);
    r->step_count = 0;
    vhd_problems_done(&r->after);
    return copy_problems(&r->after, &r->before, err);
}

/* asked: also what was asked for and is no repair. */
static int try_all(struct vhd_rebuild *r, bool asked, struct xk_err *err)
{
    int code = 0;

    for (size_t i = 0; code == 0 && i < XK_COUNT(rows); i++) {
        if (!rows[i].asked || asked)
            code = try_step(r, &rows[i], err);
        if (code == 0 && xk_stop_signal())
            code = xk_fail(err, -EINTR, "%s: stopped, nothing was changed", r->overlay.path);
    }
    return code;
}

int vhd_rebuild_plan(struct vhd_rebuild *ret, const struct xk_fs *fs, const char *path,
                     const struct vhd_rebuild_options *options, struct xk_err *err)
{
    *ret = (struct vhd_rebuild){.options = *options};
    int code = vhd_overlay_begin(&ret->overlay, fs, path, err);
    if (code == 0)
        code = look(&ret->before, ret, &ret->overlay.fs, true, err);
    if (code == 0)
        code = look(&ret->quick, ret, &ret->overlay.fs, false, err);
    if (code == 0)
        code = check_readable(ret, err);
    if (code == 0)
        code = copy_problems(&ret->after, &ret->before, err);
    /* What a late step makes good may be what an early one waited for. */
    bool again = ret->after.count || options->parent || options->new_uuid;
    for (unsigned round = 0; code == 0 && again && round < ROUNDS_MAX; round++) {
        const size_t steps = ret->step_count;
        code = try_all(ret, round == 0, err);
        again = ret->step_count > steps;
    }
    if (code == 0)
        code = look_again(ret, err);
    if (code == 0 && compare_scores(&ret->after, &ret->before) > 0)
        code = drop_all(ret, err);
    if (code == 0)
        code = check_readable(ret, err);
    if (code < 0) {
        vhd_rebuild_done(ret);
        return code;
    }
    list_left(ret);
    return 0;
}

int vhd_rebuild_apply(const struct vhd_rebuild *r, const char *undo_path, struct xk_err *err)
{
    struct vhd_problems now;

    int code = vhd_undo_apply(&r->overlay, undo_path, err);
    if (code < 0)
        return code;
    code = look(&now, r, r->overlay.real, true, err);
    if (code == 0 && compare_scores(&now, &r->before) <= 0) {
        vhd_problems_done(&now);
        return 0;
    }
    if (code == 0) {
        vhd_problems_done(&now);
        code = xk_fail(err, -EUCLEAN, "%s: was worse after the repair than before; everything was taken back",
                       r->overlay.path);
    }
    struct xk_err second = {0};
    if (vhd_undo(r->overlay.real, r->overlay.path, undo_path, &second) < 0)
        xk_err_hint(err, "taking it back failed (%s): `xenkit vhd repair --undo %s %s`", second.text, undo_path,
                    r->overlay.path);
    return code;
}

void vhd_rebuild_done(struct vhd_rebuild *r)
{
    vhd_problems_done(&r->before);
    vhd_problems_done(&r->after);
    vhd_problems_done(&r->quick);
    vhd_overlay_done(&r->overlay);
    r->step_count = r->left_count = 0;
}
