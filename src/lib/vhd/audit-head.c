/* What footers, header and parent locators say, against each other and against what is common. */
#include "lib/vhd/audit-parts.h"

#include "core/clock.h"
#include "core/text.h"
#include "core/bytes.h"
#include "lib/vhd/locator.h"

#include <inttypes.h>
#include <string.h>

#define FEATURE_TEMP       1u
#define FEATURE_FIXED      2u /* "reserved, always set" */
#define HEADER_RESERVED_AT 768u

/* ---- footers ---- */

static bool is_poisoned(const struct vhd_footer *f, enum vhd_state state)
{
    return state == VHD_GOOD && memcmp(f->cookie, VHD_COOKIE_POISON, sizeof(f->cookie)) == 0;
}

static void audit_poison(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;
    const bool end = is_poisoned(&v->end_footer, v->end_state);
    const bool copy = is_poisoned(&v->copy_footer, v->copy_state);

    if (end || copy) {
        FOUND(a, VHD_P_POISONED, XK_CRITICAL, "the footer %s says 'v_poison': a resize began and did not finish",
              end && copy ? "and its copy" : (end ? "at the end" : "copy at the start"));
    }
}

static void audit_footer_states(struct vhd_auditing *a)
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
static void compare_bytes(struct vhd_places *differ, const struct vhd_footer *end, const struct vhd_footer *copy)
{
    uint8_t one[VHD_FOOTER_BYTES], other[VHD_FOOTER_BYTES];
    struct vhd_footer alike = *copy;

    alike.hidden = end->hidden;
    vhd_footer_encode(one, end);
    vhd_footer_encode(other, &alike);
    for (size_t i = 0; i < sizeof(one); i++) {
        if (one[i] != other[i]) {
            vhd_place_add(differ, "byte %zu is %02x and %02x", i, one[i], other[i]);
            return;
        }
    }
    if (end->hidden == copy->hidden && end->checksum_computed != copy->checksum_computed)
        vhd_place_add(differ, "reserved bytes");
}

static void audit_footers_differ(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;
    const struct vhd_footer *const end = &v->end_footer;
    const struct vhd_footer *const copy = &v->copy_footer;
    struct vhd_places differ = {0};
    bool grave = false;

    if (!vhd_is_sparse(v) || v->end_state != VHD_GOOD || v->copy_state != VHD_GOOD)
        return;
    if (end->current_bytes != copy->current_bytes) {
        vhd_place_add(&differ, "size %" PRIu64 " and %" PRIu64, end->current_bytes, copy->current_bytes);
        grave = true;
    }
    if (end->type != copy->type) {
        vhd_place_add(&differ, "type %s and %s", vhd_type_name(end->type), vhd_type_name(copy->type));
        grave = true;
    }
    if (end->data_offset != copy->data_offset) {
        vhd_place_add(&differ, "header at %" PRIu64 " and %" PRIu64, end->data_offset, copy->data_offset);
        grave = true;
    }
    if (memcmp(end->uuid, copy->uuid, sizeof(end->uuid)) != 0) {
        vhd_place_add(&differ, "UUID %s and %s", xk_uuid_text(end->uuid).s, xk_uuid_text(copy->uuid).s);
        grave = true;
    }
    if (end->hidden != copy->hidden && !(copy->hidden && hid_in_copy_only(copy)))
        vhd_place_add(&differ, "hidden %u and %u", end->hidden, copy->hidden);
    if (memcmp(end->cookie, copy->cookie, sizeof(end->cookie)) != 0)
        vhd_place_add(&differ, "cookie %.8s and %.8s", end->cookie, copy->cookie);
    if (end->timestamp != copy->timestamp)
        vhd_place_add(&differ, "time %" PRIu32 " and %" PRIu32, end->timestamp, copy->timestamp);
    if (differ.count == 0)
        compare_bytes(&differ, end, copy);
    if (differ.count == 0)
        return;
    vhd_problem_add(a->found, VHD_P_FOOTERS_DIFFER, grave ? XK_CRITICAL : XK_WARNING, differ.count,
                    "the footer and its copy say: %s%s", differ.text, vhd_places_rest(&differ));
}

/* Bytes 85 … 511 of the sector behind the hidden flag are reserved. */
static void audit_footer_reserved(struct vhd_auditing *a)
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

static bool is_in_future(const struct vhd_auditing *a, uint32_t timestamp)
{
    const int64_t now = a->options->unix_seconds;
    return now && vhd_unix_time(timestamp) > now + VHD_CLOCK_SLACK_SECONDS;
}

static void audit_footer_fields(struct vhd_auditing *a)
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

static void audit_geometry(struct vhd_auditing *a)
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

static void audit_size(struct vhd_auditing *a)
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

static void audit_parent_fields(struct vhd_auditing *a)
{
    const struct vhd_header *const h = &a->v->header;
    struct vhd_places set = {0};

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
        vhd_place_add(&set, "UUID");
    if (h->parent_timestamp)
        vhd_place_add(&set, "time stamp");
    if (!xk_is_zero(h->parent_name, sizeof(h->parent_name)))
        vhd_place_add(&set, "name");
    for (int i = 0; i < VHD_LOCATORS; i++) {
        if (h->locators[i].code != VHD_LOCATOR_NONE || !is_blank(&h->locators[i]))
            vhd_place_add(&set, "locator %d", i);
    }
    if (set.count)
        vhd_problem_add(a->found, VHD_P_HEADER_FIELD, XK_WARNING, set.count,
                        "a dynamic disk has no parent, but its header names one: %s%s", set.text,
                        vhd_places_rest(&set));
}

/* Bytes 768 … 1023 of the header are reserved. */
static void audit_header_reserved(struct vhd_auditing *a)
{
    const struct vhd *v = a->v;
    uint8_t reserved[VHD_HEADER_BYTES - HEADER_RESERVED_AT];
    const uint64_t at = v->footer.data_offset + HEADER_RESERVED_AT;

    if (xk_file_read(&v->file, reserved, sizeof(reserved), at, NULL) < 0)
        FOUND(a, VHD_P_UNREADABLE, XK_CRITICAL, "the header at byte %" PRIu64 " cannot be read a second time", at);
    else if (!xk_is_zero(reserved, sizeof(reserved)))
        FOUND(a, VHD_P_HEADER_FIELD, XK_NOTE, "the reserved bytes at the header's end are not zero");
}

static void audit_header_fields(struct vhd_auditing *a)
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

bool vhd_audit_header(struct vhd_auditing *a)
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
void vhd_audit_footers(struct vhd_auditing *a)
{
    audit_poison(a);
    audit_footer_states(a);
    audit_footers_differ(a);
    /* With a wrong checksum the fields mean nothing. */
    if ((a->v->footer_from_copy ? a->v->copy_state : a->v->end_state) == VHD_GOOD) {
        audit_footer_fields(a);
        audit_geometry(a);
    }
    audit_size(a);
}

/* ---- parent locators ---- */

static bool is_known_code(uint32_t code)
{
    return code == VHD_LOCATOR_MAC || code == VHD_LOCATOR_MACX || code == VHD_LOCATOR_W2KU ||
           code == VHD_LOCATOR_W2RU || code == VHD_LOCATOR_WI2K || code == VHD_LOCATOR_WI2R;
}

/* returns whether the locator gives a text. */
static bool audit_locator(struct vhd_auditing *a, int n, const char *parent_name)
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

void vhd_audit_locators(struct vhd_auditing *a)
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
