/*
 * The audit goes from the outside in: footers, header, table, batmap, locators, blocks. What one part says is believed
 * by the next only as far as it can be true; each part is asked even when an earlier one is bad, as long as there is
 * something to ask.
 *
 * Overlapping blocks are found by sorting the sector numbers (three radix passes) and looking at neighbours: 15 ms for
 * the million entries of the largest disk. Comparing each pair, as XenServer's own check does, takes 20 minutes for
 * that. Only the sectors are sorted, not which block each belongs to: that halves the memory, and the few blocks that
 * are named in a finding are looked up again.
 */
#include "lib/vhd/audit.h"

#include "core/clock.h"
#include "core/text.h"
#include "lib/vhd/locator.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PLACES_NAMED       3  /* examples in one finding */
#define REGIONS_MAX        16 /* footer copy, header, table, batmap header, batmap, 8 locators, footer */
#define FEATURE_TEMP       1u
#define FEATURE_FIXED      2u /* "reserved, always set" */
#define HEADER_RESERVED_AT 768u
#define BLOCKS_PER_STEP    64 /* between two looks at progress and the stop signal */
/* Twice the blocks of the largest disk. Tables for more are read and compared, but not followed to each block. */
#define CONTENT_BLOCKS_MAX (2u * 1044480u)

/* A part of the file that is no block. */
struct region {
    uint64_t start, end;        /* bytes, end exclusive */
    enum vhd_problem_kind kind; /* of a finding about it */
    char name[32];
};

struct audit {
    const struct vhd *v;
    const struct vhd_audit_options *options;
    struct vhd_problems *found;
    struct xk_err *err;
    uint64_t end;              /* where blocks must end: the footer, or the file when it has none */
    uint64_t block_file_bytes; /* a block with its bitmap */
    struct region regions[REGIONS_MAX];
    size_t region_count;
};

/* The first few of many places, for the evidence. */
struct places {
    uint64_t count;
    size_t length;
    char text[160];
};

static XK_PRINTF(2, 3) void place_add(struct places *p, const char *format, ...)
{
    if (p->count++ >= PLACES_NAMED)
        return;
    if (p->length)
        p->length += (size_t)snprintf(p->text + p->length, sizeof(p->text) - p->length, ", ");
    va_list args;
    va_start(args, format);
    const int added = vsnprintf(p->text + p->length, sizeof(p->text) - p->length, format, args);
    va_end(args);
    /* Cut, it leaves room for the next comma. */
    p->length = XK_MIN(p->length + (added > 0 ? (size_t)added : 0), sizeof(p->text) - 3);
}

static const char *places_rest(const struct places *p)
{
    return p->count > PLACES_NAMED ? ", …" : "";
}

void vhd_problem_add(struct vhd_problems *list, enum vhd_problem_kind kind, enum xk_severity severity, uint64_t count,
                     const char *evidence, ...)
{
    if (list->count >= VHD_PROBLEMS_MAX)
        return;
    /* One at a time: a sound image has none, a damaged one a few. */
    struct vhd_problem *const items = xk_realloc(list->items, (list->count + 1) * sizeof(*items));
    if (!items) {
        list->error = -ENOMEM;
        return;
    }
    list->items = items;
    struct vhd_problem *const p = &items[list->count++];
    *p = (struct vhd_problem){.kind = kind, .severity = severity, .count = count};
    va_list args;
    va_start(args, evidence);
    vsnprintf(p->evidence, sizeof(p->evidence), evidence, args);
    va_end(args);
}

void vhd_problems_done(struct vhd_problems *list)
{
    free(list->items);
    *list = (struct vhd_problems){0};
}

/* Add a finding of one place. */
#define FOUND(a, kind, severity, ...) vhd_problem_add((a)->found, (kind), (severity), 1, __VA_ARGS__)

static bool all_zero(const uint8_t *bytes, size_t count)
{
    uint64_t sum = 0;
    size_t i = 0;
    for (; i + sizeof(uint64_t) <= count; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof(word));
        sum |= word;
    }
    for (; i < count; i++)
        sum |= bytes[i];
    return sum == 0;
}

/* ---- footers ---- */

static bool is_poisoned(const struct vhd_footer *f, enum vhd_state state)
{
    return state == VHD_GOOD && memcmp(f->cookie, VHD_COOKIE_POISON, sizeof(f->cookie)) == 0;
}

static void audit_poison(struct audit *a)
{
    const struct vhd *v = a->v;
    const bool end = is_poisoned(&v->end_footer, v->end_state);
    const bool copy = is_poisoned(&v->copy_footer, v->copy_state);

    if (end || copy) {
        FOUND(a, VHD_P_POISONED, XK_CRITICAL, "the footer %s says 'v_poison': a resize began and did not finish",
              end && copy ? "and its copy" : (end ? "at the end" : "copy at the start"));
    }
}

static void audit_footer_states(struct audit *a)
{
    const struct vhd *v = a->v;
    char why[128];

    if (v->end_state != VHD_GOOD) {
        const char *reason = "the file is too short for one";
        if (v->end_state == VHD_DAMAGED) {
            reason = vhd_footer_problem(&v->end_footer, why, sizeof(why));
        }
        FOUND(a, VHD_P_FOOTER, XK_CRITICAL, "no valid footer at byte %" PRIu64 " of %" PRIu64 ": %s; %s", v->end_offset,
              v->file_bytes, reason ? reason : "it cannot be read",
              v->copy_state == VHD_GOOD ? "its copy at byte 0 is good" : "its copy at byte 0 is no help");
    }
    if (vhd_is_sparse(v) && v->copy_state != VHD_GOOD) {
        const char *reason =
            v->copy_state == VHD_DAMAGED ? vhd_footer_problem(&v->copy_footer, why, sizeof(why)) : NULL;
        FOUND(a, VHD_P_FOOTER_COPY, v->end_state == VHD_GOOD ? XK_WARNING : XK_CRITICAL,
              "no valid copy of the footer at byte 0: %s", reason ? reason : "it cannot be read");
    }
    if (v->short_footer && v->end_state == VHD_GOOD)
        FOUND(a, VHD_P_SHORT_FOOTER, XK_NOTE, "the footer has 511 bytes, as Virtual PC before 2004 wrote it");
}

/* The first XenServer releases hid an image in the copy only. */
static bool hid_in_copy_only(const struct vhd_footer *f)
{
    return memcmp(f->creator, "tap", 3) == 0 && (f->creator_version == 0x00000001 || f->creator_version == 0x00010001);
}

/* The fields that have no words of their own. */
static void compare_bytes(struct places *differ, const struct vhd_footer *end, const struct vhd_footer *copy)
{
    uint8_t one[VHD_FOOTER_BYTES], other[VHD_FOOTER_BYTES];
    struct vhd_footer alike = *copy;

    alike.hidden = end->hidden;
    vhd_footer_encode(one, end);
    vhd_footer_encode(other, &alike);
    for (size_t i = 0; i < sizeof(one); i++) {
        if (one[i] != other[i]) {
            place_add(differ, "byte %zu is %02x and %02x", i, one[i], other[i]);
            return;
        }
    }
    if (end->hidden == copy->hidden && end->checksum_computed != copy->checksum_computed)
        place_add(differ, "reserved bytes");
}

static void audit_footers_differ(struct audit *a)
{
    const struct vhd *v = a->v;
    const struct vhd_footer *const end = &v->end_footer;
    const struct vhd_footer *const copy = &v->copy_footer;
    struct places differ = {0};
    bool grave = false;

    if (!vhd_is_sparse(v) || v->end_state != VHD_GOOD || v->copy_state != VHD_GOOD)
        return;
    if (end->current_bytes != copy->current_bytes) {
        place_add(&differ, "size %" PRIu64 " and %" PRIu64, end->current_bytes, copy->current_bytes);
        grave = true;
    }
    if (end->type != copy->type) {
        place_add(&differ, "type %s and %s", vhd_type_name(end->type), vhd_type_name(copy->type));
        grave = true;
    }
    if (end->data_offset != copy->data_offset) {
        place_add(&differ, "header at %" PRIu64 " and %" PRIu64, end->data_offset, copy->data_offset);
        grave = true;
    }
    if (memcmp(end->uuid, copy->uuid, sizeof(end->uuid)) != 0) {
        place_add(&differ, "UUID %s and %s", xk_uuid_text(end->uuid).s, xk_uuid_text(copy->uuid).s);
        grave = true;
    }
    if (end->hidden != copy->hidden && !(copy->hidden && hid_in_copy_only(copy)))
        place_add(&differ, "hidden %u and %u", end->hidden, copy->hidden);
    if (memcmp(end->cookie, copy->cookie, sizeof(end->cookie)) != 0)
        place_add(&differ, "cookie %.8s and %.8s", end->cookie, copy->cookie);
    if (end->timestamp != copy->timestamp)
        place_add(&differ, "time %" PRIu32 " and %" PRIu32, end->timestamp, copy->timestamp);
    if (differ.count == 0)
        compare_bytes(&differ, end, copy);
    if (differ.count == 0)
        return;
    vhd_problem_add(a->found, VHD_P_FOOTERS_DIFFER, grave ? XK_CRITICAL : XK_WARNING, differ.count,
                    "the footer and its copy say: %s%s", differ.text, places_rest(&differ));
}

/* Bytes 85 … 511 of the sector behind the hidden flag are reserved. */
static void audit_footer_reserved(struct audit *a)
{
    const struct vhd *v = a->v;
    const uint64_t at = v->footer_from_copy ? 0 : v->end_offset;
    uint8_t sector[VHD_FOOTER_BYTES] = {0};
    const size_t bytes = v->short_footer && !v->footer_from_copy ? VHD_SHORT_FOOTER_BYTES : VHD_FOOTER_BYTES;

    if (xk_file_read(&v->file, sector, bytes, at, NULL) < 0) {
        FOUND(a, VHD_P_UNREADABLE, XK_CRITICAL, "the footer at byte %" PRIu64 " cannot be read a second time", at);
        return;
    }
    for (size_t i = 86; i < bytes; i++) {
        if (sector[i]) {
            FOUND(a, VHD_P_FOOTER_FIELD, XK_NOTE, "the reserved bytes of the footer are not zero (the first at %zu)",
                  i);
            return;
        }
    }
}

static bool is_in_future(const struct audit *a, uint32_t timestamp)
{
    const int64_t now = a->options->unix_seconds;
    return now && vhd_unix_time(timestamp) > now + VHD_CLOCK_SLACK_SECONDS;
}

static void audit_footer_fields(struct audit *a)
{
    const struct vhd_footer *const f = &a->v->footer;

    if (!(f->features & FEATURE_FIXED) || (f->features & ~(FEATURE_FIXED | FEATURE_TEMP)))
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "features are %08" PRIx32 ", should be 00000002 or 00000003",
              f->features);
    if (f->version != 0x00010000 && f->version >> 16 == 1)
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "format version is %08" PRIx32 ", only 00010000 is known", f->version);
    if (f->type == VHD_FIXED && f->data_offset != UINT64_MAX)
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "a fixed disk has its header at %" PRIu64 ", should be all ones",
              f->data_offset);
    if (vhd_is_sparse(a->v) && f->data_offset % VHD_SECTOR)
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "the header's place, byte %" PRIu64 ", is no whole sector",
              f->data_offset);
    if (f->saved > 1)
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "the saved-state flag is %u, should be 0 or 1", f->saved);
    if (f->hidden > 1)
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "the hidden flag is %u, should be 0 or 1", f->hidden);
    if (vhd_uuid_is_null(f->uuid))
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "the UUID is all zeros: no child can name this image");
    if (memcmp(f->creator, "tap", 3) == 0 && f->creator_version > 0x00010003)
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING,
              "creator 'tap' has version %" PRIu32 ".%" PRIu32 ", 1.3 is the last known", f->creator_version >> 16,
              f->creator_version & 0xffff);
    if (is_in_future(a, f->timestamp))
        FOUND(a, VHD_P_FOOTER_FIELD, XK_WARNING, "created in the future, at %s",
              xk_iso_time(vhd_unix_time(f->timestamp)).s);
    audit_footer_reserved(a);
}

/* ---- size and geometry ---- */

/* Creators whose images every reader takes by the size field; for others some (qemu) go by the geometry. */
static bool size_field_rules(const char creator[4])
{
    static const char *const known[] = {"win ", "qem2", "d2v ", "CTXS", "tap"};

    for (size_t i = 0; i < XK_COUNT(known); i++) {
        if (memcmp(creator, known[i], strlen(known[i])) == 0)
            return true;
    }
    return false;
}

static void audit_geometry(struct audit *a)
{
    const struct vhd_footer *const f = &a->v->footer;
    const struct vhd_geometry g = f->geometry;
    const struct vhd_geometry max = vhd_geometry_of(UINT64_MAX / VHD_SECTOR);
    const uint64_t sectors = f->current_bytes / VHD_SECTOR;
    const struct vhd_geometry want = vhd_geometry_of(sectors);
    const uint64_t by_geometry = vhd_geometry_sectors(g);
    const uint64_t of_spec = vhd_geometry_sectors(want);

    if (by_geometry == sectors || (g.cylinders == want.cylinders && g.heads == want.heads && g.sectors == want.sectors))
        return;
    if (g.cylinders == max.cylinders && g.heads == max.heads && g.sectors == max.sectors) {
        FOUND(a, VHD_P_GEOMETRY, XK_NOTE,
              "the geometry is the maximum, %u/%u/%u, for a disk of %s: readers take the size field; the classic "
              "`vhd-util check` calls it too large",
              g.cylinders, g.heads, g.sectors, xk_size(f->current_bytes).s);
        return;
    }
    /* A cylinder is lost by rounding, and writers round differently. */
    const uint64_t cylinder = (uint64_t)g.heads * g.sectors;
    if (by_geometry <= sectors && by_geometry + XK_MAX(cylinder, (uint64_t)16 * 255) > sectors)
        return;
    FOUND(a, VHD_P_GEOMETRY, by_geometry > of_spec || !size_field_rules(f->creator) ? XK_WARNING : XK_NOTE,
          "%u cylinders, %u heads, %u sectors make %" PRIu64 " bytes, the size field says %" PRIu64 " (%u/%u/%u)",
          g.cylinders, g.heads, g.sectors, by_geometry * VHD_SECTOR, f->current_bytes, want.cylinders, want.heads,
          want.sectors);
}

static void audit_size(struct audit *a)
{
    const struct vhd *v = a->v;
    const uint64_t bytes = v->footer.current_bytes;

    if (vhd_is_sparse(v) && bytes > VHD_SIZE_MAX)
        FOUND(a, VHD_P_SIZE, bytes > 2 * XK_TIB ? XK_CRITICAL : XK_WARNING,
              "the disk has %" PRIu64 " bytes (%s), the format ends at %" PRIu64 " (2040 GiB)", bytes, xk_size(bytes).s,
              (uint64_t)VHD_SIZE_MAX);
    if (bytes % VHD_SECTOR)
        FOUND(a, VHD_P_SIZE, XK_WARNING, "the disk has %" PRIu64 " bytes, which is no whole sector", bytes);
    if (v->footer.type != VHD_FIXED)
        return;
    const uint64_t room = v->end_offset;
    if (bytes > room)
        FOUND(a, VHD_P_SIZE, XK_CRITICAL, "the disk has %" PRIu64 " bytes, the file only %" PRIu64 " before its footer",
              bytes, room);
    else if (bytes < room && !v->block_device)
        vhd_problem_add(a->found, VHD_P_TRAILING, XK_NOTE, room - bytes,
                        "%" PRIu64 " bytes between the end of the disk at byte %" PRIu64 " and the footer",
                        room - bytes, bytes);
}

/* ---- header ---- */

static bool is_blank(const struct vhd_locator *l)
{
    return !l->offset && !l->length && !l->space && !l->reserved;
}

static void audit_parent_fields(struct audit *a)
{
    const struct vhd_header *const h = &a->v->header;
    struct places set = {0};

    if (a->v->footer.type == VHD_DIFFERENCING) {
        xk_autofree char *name = NULL;
        const int code = vhd_parent_name(&name, a->v, NULL);
        if (code == -ENOMEM)
            a->found->error = code;
        else if (code < 0)
            FOUND(a, VHD_P_HEADER_FIELD, XK_WARNING, "the parent's name is not UTF-16");
        if (is_in_future(a, h->parent_timestamp))
            FOUND(a, VHD_P_HEADER_FIELD, XK_WARNING, "the parent's time stamp lies in the future, at %s",
                  xk_iso_time(vhd_unix_time(h->parent_timestamp)).s);
        return;
    }
    if (!vhd_uuid_is_null(h->parent_uuid))
        place_add(&set, "UUID");
    if (h->parent_timestamp)
        place_add(&set, "time stamp");
    if (!all_zero(h->parent_name, sizeof(h->parent_name)))
        place_add(&set, "name");
    for (int i = 0; i < VHD_LOCATORS; i++) {
        if (h->locators[i].code != VHD_LOCATOR_NONE || !is_blank(&h->locators[i]))
            place_add(&set, "locator %d", i);
    }
    if (set.count)
        vhd_problem_add(a->found, VHD_P_HEADER_FIELD, XK_WARNING, set.count,
                        "a dynamic disk has no parent, but its header names one: %s%s", set.text, places_rest(&set));
}

/* Bytes 768 … 1023 of the header are reserved. */
static void audit_header_reserved(struct audit *a)
{
    const struct vhd *v = a->v;
    uint8_t reserved[VHD_HEADER_BYTES - HEADER_RESERVED_AT];
    const uint64_t at = v->footer.data_offset + HEADER_RESERVED_AT;

    if (xk_file_read(&v->file, reserved, sizeof(reserved), at, NULL) < 0)
        FOUND(a, VHD_P_UNREADABLE, XK_CRITICAL, "the header at byte %" PRIu64 " cannot be read a second time", at);
    else if (!all_zero(reserved, sizeof(reserved)))
        FOUND(a, VHD_P_HEADER_FIELD, XK_NOTE, "the reserved bytes at the header's end are not zero");
}

static void audit_header_fields(struct audit *a)
{
    const struct vhd_header *const h = &a->v->header;

    if (h->data_offset != UINT64_MAX)
        FOUND(a, VHD_P_HEADER_FIELD, XK_NOTE, "the unused offset is %016" PRIx64 ", should be all ones",
              h->data_offset);
    if (h->table_offset % VHD_SECTOR)
        FOUND(a, VHD_P_HEADER_FIELD, XK_WARNING, "the block table's place, byte %" PRIu64 ", is no whole sector",
              h->table_offset);
    if (h->reserved)
        FOUND(a, VHD_P_HEADER_FIELD, XK_NOTE, "the reserved field is %08" PRIx32 ", should be zero", h->reserved);
    audit_header_reserved(a);
    audit_parent_fields(a);
}

/* returns whether the header can be used at all. */
static bool audit_header(struct audit *a)
{
    const struct vhd *v = a->v;
    char why[128];

    if (v->header_state != VHD_GOOD) {
        const char *reason = v->header_state == VHD_DAMAGED ? vhd_header_problem(&v->header, why, sizeof(why)) : NULL;
        FOUND(a, VHD_P_HEADER, XK_CRITICAL, "no valid header at byte %" PRIu64 ": %s", v->footer.data_offset,
              reason ? reason : "it lies outside the file or cannot be read");
    } else {
        audit_header_fields(a);
    }
    return v->header_state == VHD_GOOD || v->bat;
}

/* ---- the parts of the file ---- */

static XK_PRINTF(5, 6) void region_add(struct audit *a, uint64_t start, uint64_t bytes, enum vhd_problem_kind kind,
                                       const char *name, ...)
{
    assert(a->region_count < REGIONS_MAX);
    struct region *const r = &a->regions[a->region_count++];
    *r = (struct region){.start = start, .kind = kind};
    if (xk_add(start, bytes, &r->end))
        r->end = UINT64_MAX;
    va_list args;
    va_start(args, name);
    vsnprintf(r->name, sizeof(r->name), name, args);
    va_end(args);
}

/* Two parts that share bytes: the later one in the list is the one to blame. */
static void audit_regions(struct audit *a)
{
    for (size_t i = 1; i < a->region_count; i++) {
        const struct region *const r = &a->regions[i];
        for (size_t j = 0; j < i; j++) {
            const struct region *const other = &a->regions[j];
            if (r->start >= other->end || other->start >= r->end)
                continue;
            FOUND(a, r->kind, r->kind == VHD_P_LOCATOR || r->kind == VHD_P_BATMAP ? XK_WARNING : XK_CRITICAL,
                  "%s at bytes %" PRIu64 " to %" PRIu64 " lies over %s at %" PRIu64 " to %" PRIu64, r->name, r->start,
                  r->end - 1, other->name, other->start, other->end - 1);
            break;
        }
    }
}

static void collect_regions(struct audit *a)
{
    const struct vhd *v = a->v;

    region_add(a, 0, VHD_FOOTER_BYTES, VHD_P_FOOTER_COPY, "the footer copy");
    if (v->end_state == VHD_GOOD)
        region_add(a, v->end_offset, v->file_bytes - v->end_offset, VHD_P_FOOTER, "the footer");
    region_add(a, v->footer.data_offset, VHD_HEADER_BYTES, VHD_P_HEADER, "the header");
    if (v->bat)
        region_add(a, v->header.table_offset, vhd_bat_bytes(&v->header), VHD_P_BAT_OUTSIDE, "the block table");
    if (v->batmap_header_offset && v->batmap_state == VHD_GOOD) {
        region_add(a, v->batmap_header_offset, VHD_SECTOR, VHD_P_BATMAP, "the batmap header");
        region_add(a, v->batmap.offset, (uint64_t)v->batmap.size_sectors * VHD_SECTOR, VHD_P_BATMAP, "the batmap");
    }
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *const l = &v->header.locators[i];
        uint64_t end;
        if (l->code == VHD_LOCATOR_NONE || v->footer.type != VHD_DIFFERENCING)
            continue;
        if (!xk_add(l->offset, vhd_locator_space(l), &end) && end <= v->file_bytes)
            region_add(a, l->offset, vhd_locator_space(l), VHD_P_LOCATOR, "parent locator %d", i);
    }
}

/* ---- parent locators ---- */

static bool is_known_code(uint32_t code)
{
    return code == VHD_LOCATOR_MAC || code == VHD_LOCATOR_MACX || code == VHD_LOCATOR_W2KU ||
           code == VHD_LOCATOR_W2RU || code == VHD_LOCATOR_WI2K || code == VHD_LOCATOR_WI2R;
}

/* returns whether the locator gives a text. */
static bool audit_locator(struct audit *a, int n, const char *parent_name)
{
    const struct vhd *v = a->v;
    const struct vhd_locator *const l = &v->header.locators[n];
    xk_autofree char *text = NULL;
    uint64_t end;

    if (!is_known_code(l->code)) {
        FOUND(a, VHD_P_LOCATOR, XK_WARNING, "locator %d has the unknown platform code %08" PRIx32, n, l->code);
        return false;
    }
    if (xk_add(l->offset, XK_MAX(vhd_locator_space(l), (uint64_t)l->length), &end) || end > a->end) {
        FOUND(a, VHD_P_LOCATOR, XK_WARNING,
              "locator %d (%s): %" PRIu64 " bytes at byte %" PRIu64 " do not fit into the file, which ends at %" PRIu64,
              n, vhd_locator_code_name(l->code), vhd_locator_space(l), l->offset, a->end);
        return false;
    }
    if (!l->offset || !l->space || !l->length || l->length > vhd_locator_space(l)) {
        FOUND(a, VHD_P_LOCATOR, XK_WARNING,
              "locator %d (%s): %" PRIu32 " bytes of text in %" PRIu64 " bytes at byte %" PRIu64, n,
              vhd_locator_code_name(l->code), l->length, vhd_locator_space(l), l->offset);
        return false;
    }
    if (l->reserved)
        FOUND(a, VHD_P_LOCATOR, XK_NOTE, "locator %d (%s): the reserved field is %08" PRIx32 ", should be zero", n,
              vhd_locator_code_name(l->code), l->reserved);
    const int code = vhd_locator_text(&text, v, n, NULL);
    if (code == -ENOMEM)
        a->found->error = code;
    if (code == -ENOTSUP || code == -ENOMEM)
        return false;
    if (code < 0) {
        FOUND(a, VHD_P_LOCATOR, XK_WARNING, "locator %d (%s): its text cannot be read", n,
              vhd_locator_code_name(l->code));
        return false;
    }
    if (parent_name[0] && strcmp(xk_base_name(text), parent_name) != 0)
        FOUND(a, VHD_P_LOCATOR, XK_WARNING, "locator %d (%s) names '%.80s', the header names '%.80s'", n,
              vhd_locator_code_name(l->code), xk_base_name(text), parent_name);
    return true;
}

static void audit_locators(struct audit *a)
{
    const struct vhd *v = a->v;
    xk_autofree char *parent_name = NULL;
    int used = 0, readable = 0;

    if (v->footer.type != VHD_DIFFERENCING)
        return;
    /* A bad name has been found already. */
    const int code = vhd_parent_name(&parent_name, v, NULL);
    if (code < 0 && code != -ENOMEM)
        parent_name = xk_strdup("");
    if (!parent_name) {
        a->found->error = -ENOMEM;
        return;
    }
    for (int i = 0; i < VHD_LOCATORS; i++) {
        if (v->header.locators[i].code == VHD_LOCATOR_NONE) {
            if (!is_blank(&v->header.locators[i]))
                FOUND(a, VHD_P_LOCATOR, XK_NOTE, "locator %d is unused, but its fields are not zero", i);
            continue;
        }
        used++;
        readable += audit_locator(a, i, xk_base_name(parent_name));
        for (int j = 0; j < i; j++) {
            if (v->header.locators[j].code == v->header.locators[i].code)
                FOUND(a, VHD_P_LOCATOR, XK_WARNING, "locators %d and %d are both for platform %s", j, i,
                      vhd_locator_code_name(v->header.locators[i].code));
        }
    }
    if (!readable)
        FOUND(a, VHD_P_LOCATOR, XK_WARNING,
              "none of %d parent locators can be read; all that is left is the name '%.80s'", used, parent_name);
}

/* ---- block table ---- */

static void audit_table(struct audit *a)
{
    const struct vhd *v = a->v;
    const struct vhd_header *const h = &v->header;
    const uint64_t block = h->block_bytes;
    const uint64_t needed = v->footer.current_bytes / block + (v->footer.current_bytes % block != 0);
    uint64_t end;

    if (needed > h->max_entries)
        vhd_problem_add(a->found, VHD_P_BAT_SHORT, XK_CRITICAL, needed - h->max_entries,
                        "the disk has %" PRIu64 " blocks, the table %" PRIu32 " entries: the last %" PRIu64
                        " blocks cannot be read or written",
                        needed, h->max_entries, needed - h->max_entries);
    if (xk_add(h->table_offset, vhd_bat_bytes(h), &end) || end > a->end) {
        FOUND(a, VHD_P_BAT_OUTSIDE, XK_CRITICAL,
              "the table of %" PRIu32 " entries at byte %" PRIu64 " does not fit into the file, which ends at %" PRIu64,
              h->max_entries, h->table_offset, a->end);
    } else if (v->bat_state == VHD_UNREADABLE) {
        FOUND(a, VHD_P_BAT_OUTSIDE, XK_CRITICAL,
              "the table of %" PRIu32 " entries at byte %" PRIu64 " was not read: %s", h->max_entries, h->table_offset,
              v->trouble);
    }
}

/* Bytes of the file that block b must have: of the last block only what belongs to the disk. */
static uint64_t block_needs(const struct audit *a, uint32_t b)
{
    const uint64_t block = a->v->header.block_bytes;
    const uint64_t left = a->v->footer.current_bytes - (uint64_t)b * block;
    return left >= block ? a->block_file_bytes : a->block_file_bytes - block + XK_ROUND_UP(left, (uint64_t)VHD_SECTOR);
}

static const struct region *region_under(const struct audit *a, uint64_t start, uint64_t end)
{
    for (size_t i = 0; i < a->region_count; i++) {
        if (a->regions[i].start < end && start < a->regions[i].end)
            return &a->regions[i];
    }
    return NULL;
}

/* Ascending; three passes of 11, 11 and 10 bits. `spare` has room for count items. returns where the result is. */
static uint32_t *sort_sectors(uint32_t *items, uint32_t *spare, size_t count)
{
    static const struct {
        unsigned shift;
        uint32_t mask;
    } passes[] = {{0, 0x7ff}, {11, 0x7ff}, {22, 0x3ff}};

    for (size_t p = 0; p < XK_COUNT(passes); p++) {
        size_t next[0x800] = {0};
        size_t sum = 0;
        for (size_t i = 0; i < count; i++)
            next[(items[i] >> passes[p].shift) & passes[p].mask]++;
        for (size_t d = 0; d <= passes[p].mask; d++) {
            const size_t here = next[d];
            next[d] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            spare[next[(items[i] >> passes[p].shift) & passes[p].mask]++] = items[i];
        uint32_t *const swap = items;
        items = spare;
        spare = swap;
    }
    return items;
}

static uint32_t block_at(const struct vhd *v, uint32_t sector, uint32_t after)
{
    for (uint32_t b = after; b < v->blocks; b++) {
        if (v->bat[b] == sector)
            return b;
    }
    return v->blocks;
}

static void name_overlap(const struct vhd *v, struct places *pairs, uint32_t first, uint32_t second)
{
    const uint32_t b = block_at(v, first, 0);
    const uint32_t other = block_at(v, second, first == second ? b + 1 : 0);
    place_add(pairs, "%" PRIu32 " (sector %" PRIu32 ") and %" PRIu32 " (sector %" PRIu32 ")", b, first, other, second);
}

/* sectors: of `count` blocks that lie in the file and off the metadata. */
static int audit_overlap(struct audit *a, uint32_t *sectors, size_t count)
{
    const struct vhd *v = a->v;
    const uint64_t length = a->block_file_bytes / VHD_SECTOR;
    struct places pairs = {0};
    bool sorted = true;

    for (size_t i = 1; i < count && sorted; i++)
        sorted = sectors[i - 1] <= sectors[i];
    xk_autofree uint32_t *spare = sorted ? NULL : xk_array_alloc(count, sizeof(*spare));
    if (!sorted && !spare)
        return xk_fail_memory(a->err);
    const uint32_t *const in_order = sorted ? sectors : sort_sectors(sectors, spare, count);

    /* The last block of the disk may be cut where the disk ends; only it is shorter. */
    const uint32_t last = v->blocks ? v->bat[v->blocks - 1] : VHD_BAT_FREE;
    const uint64_t last_length = v->blocks ? block_needs(a, v->blocks - 1) / VHD_SECTOR : 0;
    uint64_t reach = 0;
    uint32_t reaching = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t start = in_order[i];
        if (start < reach) {
            if (pairs.count < PLACES_NAMED)
                name_overlap(v, &pairs, reaching, in_order[i]);
            else
                pairs.count++;
        }
        const uint64_t end = start + (in_order[i] == last ? last_length : length);
        if (end > reach) {
            reach = end;
            reaching = in_order[i];
        }
    }
    if (pairs.count)
        vhd_problem_add(a->found, VHD_P_BAT_OVERLAP, XK_CRITICAL, pairs.count,
                        "%" PRIu64 " %s of blocks share sectors of the file: %s%s", pairs.count,
                        pairs.count == 1 ? "pair" : "pairs", pairs.text, places_rest(&pairs));
    return 0;
}

static int audit_blocks(struct audit *a)
{
    const struct vhd *v = a->v;
    const uint64_t bitmap_bytes = (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    struct places past = {0}, on_metadata = {0};
    uint64_t misaligned = 0;
    size_t kept = 0, allocated = 0;

    for (uint32_t b = 0; b < v->blocks; b++)
        allocated += v->bat[b] != VHD_BAT_FREE;
    xk_autofree uint32_t *sectors = xk_array_alloc(allocated, sizeof(*sectors));
    if (!sectors)
        return xk_fail_memory(a->err);

    for (uint32_t b = 0; b < v->blocks; b++) {
        if (v->bat[b] == VHD_BAT_FREE)
            continue;
        const uint64_t start = (uint64_t)v->bat[b] * VHD_SECTOR;
        const uint64_t end = start + block_needs(a, b);
        if (end > a->end) {
            place_add(&past, "block %" PRIu32 " at sector %" PRIu32, b, v->bat[b]);
            continue;
        }
        const struct region *const under = region_under(a, start, end);
        if (under) {
            place_add(&on_metadata, "block %" PRIu32 " at sector %" PRIu32 " on %s", b, v->bat[b], under->name);
            continue;
        }
        misaligned += (start + bitmap_bytes) % VHD_PAGE != 0;
        sectors[kept++] = v->bat[b];
    }
    if (past.count)
        vhd_problem_add(a->found, VHD_P_BAT_PAST_END, XK_CRITICAL, past.count,
                        "%" PRIu64 " of %zu blocks reach past byte %" PRIu64 ", where the file's data end: %s%s",
                        past.count, allocated, a->end, past.text, places_rest(&past));
    if (on_metadata.count)
        vhd_problem_add(a->found, VHD_P_BAT_OVERLAP, XK_CRITICAL, on_metadata.count,
                        "%" PRIu64 " of %zu blocks lie on the image's own tables: %s%s", on_metadata.count, allocated,
                        on_metadata.text, places_rest(&on_metadata));
    if (misaligned)
        vhd_problem_add(a->found, VHD_P_MISALIGNED, XK_NOTE, misaligned,
                        "the data of %" PRIu64 " of %zu blocks do not begin on a %u-byte page", misaligned, allocated,
                        VHD_PAGE);
    return audit_overlap(a, sectors, kept);
}

static void audit_trailing(struct audit *a)
{
    const struct vhd *v = a->v;

    /* On a device the footer stands at its very end, wherever the data stop. */
    if (v->block_device || v->end_state != VHD_GOOD || !v->bat)
        return;
    const uint64_t data_end = vhd_data_end(v);
    /* Less than a page is alignment. */
    if (data_end + VHD_PAGE > v->end_offset)
        return;
    vhd_problem_add(a->found, VHD_P_TRAILING, XK_NOTE, v->end_offset - data_end,
                    "nothing refers to the %" PRIu64 " bytes (%s) between byte %" PRIu64 " and the footer",
                    v->end_offset - data_end, xk_size(v->end_offset - data_end).s, data_end);
}

/* ---- batmap ---- */

static void audit_batmap(struct audit *a)
{
    const struct vhd *v = a->v;
    const struct vhd_batmap *const m = &v->batmap;
    struct places free_blocks = {0};

    if (v->batmap_state == VHD_ABSENT)
        return;
    if (v->batmap_state != VHD_GOOD) {
        if (!v->batmap_header_offset)
            FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap header behind the block table lies outside the file");
        else if (memcmp(m->cookie, VHD_BATMAP_COOKIE, sizeof(m->cookie)) != 0)
            FOUND(a, VHD_P_BATMAP, XK_WARNING, "no batmap header at byte %" PRIu64 ", behind the block table",
                  v->batmap_header_offset);
        else if (m->version > VHD_BATMAP_VERSION)
            FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap has the unknown version %08" PRIx32, m->version);
        else if (v->batmap_bits)
            FOUND(a, VHD_P_BATMAP, XK_WARNING,
                  "the batmap of %" PRIu32 " sectors at byte %" PRIu64 " fails its checksum %08" PRIx32,
                  m->size_sectors, m->offset, m->checksum);
        else
            FOUND(a, VHD_P_BATMAP, XK_WARNING,
                  "the batmap of %" PRIu32 " sectors at byte %" PRIu64 " does not fit the file or the %" PRIu32
                  " blocks",
                  m->size_sectors, m->offset, v->blocks);
        return;
    }
    if ((uint64_t)m->size_sectors * VHD_SECTOR * 8 < v->header.max_entries)
        FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap has %" PRIu64 " bits, the block table %" PRIu32 " entries",
              (uint64_t)m->size_sectors * VHD_SECTOR * 8, v->header.max_entries);
    if (m->offset % VHD_SECTOR)
        FOUND(a, VHD_P_BATMAP, XK_WARNING, "the batmap's place, byte %" PRIu64 ", is no whole sector", m->offset);
    for (uint32_t b = 0; b < v->blocks; b++) {
        if (vhd_bit(v->batmap_bits, b) && v->bat[b] == VHD_BAT_FREE)
            place_add(&free_blocks, "block %" PRIu32, b);
    }
    if (free_blocks.count)
        vhd_problem_add(a->found, VHD_P_BATMAP, XK_WARNING, free_blocks.count,
                        "the batmap calls %" PRIu64 " blocks full that the table does not have: %s%s",
                        free_blocks.count, free_blocks.text, places_rest(&free_blocks));
}

/* ---- bitmaps and data ---- */

struct content {
    struct places unreadable, beyond, not_full, stray;
    uint64_t stray_sectors;
    uint32_t sectors; /* of a block */
    uint8_t *bitmap, *data;
    uint64_t hole_from, hole_to; /* bytes of the file that are known to be a hole */
};

/* Nothing of it is stored: then there is nothing to read. One question answers for all blocks in the same hole. */
static bool lies_in_hole(const struct vhd *v, struct content *c, uint64_t start, uint64_t bytes)
{
    if (start < c->hole_from || start + bytes > c->hole_to) {
        const int64_t data = v->file.fs->ops->seek(v->file.fs, v->file.fd, start, SEEK_DATA);
        c->hole_from = start;
        c->hole_to = data == -ENXIO ? v->file_bytes : data < 0 ? start : (uint64_t)data;
    }
    return start + bytes <= c->hole_to;
}

static bool is_full(const uint8_t *bitmap, uint32_t sectors)
{
    const uint32_t whole = sectors / 8;
    for (uint32_t i = 0; i < whole; i++) {
        if (bitmap[i] != 0xff)
            return false;
    }
    const uint8_t rest = (uint8_t)(0xff00u >> (sectors % 8));
    return sectors % 8 == 0 || (bitmap[whole] & rest) == rest;
}

/* Sectors that the bitmap calls absent must hold zeros. One read from the first to the last of them. */
static void audit_absent_data(struct audit *a, struct content *c, uint32_t b, uint32_t disk_sectors)
{
    const struct vhd *v = a->v;
    uint32_t first = 0, last = disk_sectors, stray = 0, first_stray = 0;

    while (first < disk_sectors && vhd_bit(c->bitmap, first))
        first++;
    while (last > first && vhd_bit(c->bitmap, last - 1))
        last--;
    if (first == last)
        return;
    const uint64_t at = ((uint64_t)v->bat[b] + vhd_bitmap_sectors(v) + first) * VHD_SECTOR;
    if (xk_file_read(&v->file, c->data, (size_t)(last - first) * VHD_SECTOR, at, NULL) < 0) {
        place_add(&c->unreadable, "data of block %" PRIu32 " at sector %" PRIu32, b, v->bat[b]);
        return;
    }
    for (uint32_t s = first; s < last; s++) {
        if (vhd_bit(c->bitmap, s) || all_zero(c->data + (size_t)(s - first) * VHD_SECTOR, VHD_SECTOR))
            continue;
        if (!stray++)
            first_stray = s;
    }
    if (stray) {
        c->stray_sectors += stray;
        place_add(&c->stray, "block %" PRIu32 " (%" PRIu32 " sectors, the first is %" PRIu32 ")", b, stray,
                  first_stray);
    }
}

static void audit_block_content(struct audit *a, struct content *c, uint32_t b)
{
    const struct vhd *v = a->v;
    const uint64_t disk_left = v->footer.current_bytes / VHD_SECTOR - (uint64_t)b * c->sectors;
    const uint32_t disk_sectors = (uint32_t)XK_MIN(disk_left, (uint64_t)c->sectors);

    const bool hole = lies_in_hole(v, c, (uint64_t)v->bat[b] * VHD_SECTOR, block_needs(a, b));
    if (hole) {
        memset(c->bitmap, 0, (size_t)vhd_bitmap_sectors(v) * VHD_SECTOR);
    } else if (vhd_read_bitmap(v, b, c->bitmap, NULL) < 0) {
        place_add(&c->unreadable, "bitmap of block %" PRIu32 " at sector %" PRIu32, b, v->bat[b]);
        return;
    }
    const bool full = is_full(c->bitmap, disk_sectors);
    if (!full && v->batmap_state == VHD_GOOD && vhd_bit(v->batmap_bits, b))
        place_add(&c->not_full, "block %" PRIu32, b);
    /* Some writers (qemu) call every sector of a block present, also those past the disk's end: no harm. */
    if (!full) {
        for (uint32_t s = disk_sectors; s < c->sectors; s++) {
            if (vhd_bit(c->bitmap, s)) {
                place_add(&c->beyond, "block %" PRIu32 " sector %" PRIu32, b, s);
                break;
            }
        }
    }
    if (!full && !hole && a->options->data)
        audit_absent_data(a, c, b, disk_sectors);
}

static void report_content(struct audit *a, const struct content *c)
{
    if (c->unreadable.count)
        vhd_problem_add(a->found, VHD_P_BITMAP, XK_CRITICAL, c->unreadable.count, "cannot be read: %s%s",
                        c->unreadable.text, places_rest(&c->unreadable));
    if (c->beyond.count)
        vhd_problem_add(a->found, VHD_P_BITMAP, XK_WARNING, c->beyond.count,
                        "marks sectors past the end of the disk: %s%s", c->beyond.text, places_rest(&c->beyond));
    if (c->not_full.count)
        vhd_problem_add(a->found, VHD_P_BATMAP, XK_CRITICAL, c->not_full.count,
                        "the batmap calls %" PRIu64
                        " blocks full whose bitmaps have gaps; readers that believe it return "
                        "what lies in the gaps: %s%s",
                        c->not_full.count, c->not_full.text, places_rest(&c->not_full));
    if (c->stray.count)
        vhd_problem_add(a->found, VHD_P_BITMAP_DATA, XK_WARNING, c->stray_sectors,
                        "%" PRIu64 " sectors hold data although their bitmap calls them absent: %s%s", c->stray_sectors,
                        c->stray.text, places_rest(&c->stray));
}

static int audit_content(struct audit *a)
{
    const struct vhd *v = a->v;
    const struct vhd_audit_options *const o = a->options;
    struct content c = {.sectors = vhd_sectors_per_block(v)};
    uint64_t done = 0;
    uint32_t examined = 0;

    if (!o->bitmaps && !o->data)
        return 0;
    xk_autofree uint8_t *bitmap = xk_alloc((size_t)vhd_bitmap_sectors(v) * VHD_SECTOR);
    xk_autofree uint8_t *data = o->data ? xk_alloc(v->header.block_bytes) : NULL;
    if (!bitmap || (o->data && !data))
        return xk_fail_memory(a->err);
    c.bitmap = bitmap;
    c.data = data;

    for (uint32_t b = 0; b < v->blocks; b++) {
        if (b % BLOCKS_PER_STEP == 0) {
            if (xk_stop_signal())
                return xk_fail(a->err, -EINTR, "%s: stopped", v->path);
            if (o->progress)
                o->progress(o->context, XK_MIN(done, v->file_bytes));
        }
        if (v->bat[b] == VHD_BAT_FREE)
            continue;
        /* Blocks outside the file or on the tables have been named already. */
        const uint64_t start = (uint64_t)v->bat[b] * VHD_SECTOR;
        const uint64_t end = start + block_needs(a, b);
        if (end > a->end || region_under(a, start, end))
            continue;
        /* Blocks that do not overlap cannot be more than the file holds; a hostile table must not keep us longer. */
        if (done > v->file_bytes || ++examined > CONTENT_BLOCKS_MAX) {
            FOUND(a, VHD_P_BITMAP, XK_NOTE, "the bitmaps of the blocks from %" PRIu32 " on were not examined", b);
            break;
        }
        audit_block_content(a, &c, b);
        done += a->block_file_bytes;
    }
    report_content(a, &c);
    return 0;
}

/* ---- all of it ---- */

static int audit_sparse(struct audit *a)
{
    const struct vhd *v = a->v;

    if (!audit_header(a))
        return 0;
    a->block_file_bytes = v->header.block_bytes + (uint64_t)vhd_bitmap_sectors(v) * VHD_SECTOR;
    collect_regions(a);
    audit_regions(a);
    audit_locators(a);
    audit_table(a);
    if (!v->bat)
        return 0;
    const int code = audit_blocks(a);
    if (code < 0)
        return code;
    audit_batmap(a);
    audit_trailing(a);
    return audit_content(a);
}

int vhd_audit(struct vhd_problems *ret, const struct vhd *v, const struct vhd_audit_options *options,
              struct xk_err *err)
{
    const struct vhd_audit_options none = {0};
    struct audit a = {.v = v, .options = options ? options : &none, .found = ret, .err = err};

    a.end = v->end_state == VHD_GOOD ? v->end_offset : v->file_bytes;
    audit_poison(&a);
    audit_footer_states(&a);
    audit_footers_differ(&a);
    /* With a wrong checksum the fields mean nothing. */
    if ((v->footer_from_copy ? v->copy_state : v->end_state) == VHD_GOOD) {
        audit_footer_fields(&a);
        audit_geometry(&a);
    }
    audit_size(&a);
    const int code = vhd_is_sparse(v) ? audit_sparse(&a) : 0;
    if (a.options->progress && code == 0)
        a.options->progress(a.options->context, v->file_bytes);
    if (code == 0 && ret->error)
        return xk_fail_memory(err);
    return code;
}
