/*
 * `xenkit vhd info`: all fields of an image, decoded. A damaged image is described as far as it can be read; what is
 * wrong with it is the business of `check`.
 */
#include "rooms/vhd/room.h"
#include "rooms/vhd/several.h"

#include "core/text.h"
#include "lib/vhd/locator.h"

#include <string.h>

struct info {
    const char *chain_root;
};

static const struct xk_opt info_opts[] = {
    VHD_OPT_CHAIN_ROOT(struct info),
    XK_OPT_END,
};

static const char *state_name(enum vhd_state state)
{
    static const char *const names[] = {
        [VHD_ABSENT] = "none", [VHD_GOOD] = "good", [VHD_UNREADABLE] = "unreadable", [VHD_DAMAGED] = "damaged"};
    return names[state];
}

static void put_footer(struct xk_out *out, const struct vhd *v)
{
    const struct vhd_footer *f = &v->footer;
    char creator[sizeof(f->creator) + 1] = {0};

    memcpy(creator, f->creator, sizeof(f->creator));
    xk_put_record(out, "footer");
    xk_put_str(out, "state", state_name(v->end_state));
    xk_put_str(out, "copy_state", state_name(v->copy_state));
    xk_put_str(out, "in_force", v->footer_from_copy ? "copy" : "end");
    xk_put_bytes(out, "length", v->short_footer ? VHD_SHORT_FOOTER_BYTES : VHD_FOOTER_BYTES);
    xk_put_str(out, "creator", creator);
    xk_putf(out, "creator_version", "%u.%u", f->creator_version >> 16, f->creator_version & 0xffff);
    xk_putf(out, "creator_os", "%08x", f->creator_os);
    xk_putf(out, "format_version", "%u.%u", f->version >> 16, f->version & 0xffff);
    xk_putf(out, "features", "%08x", f->features);
    xk_put_bytes(out, "original_size", f->original_bytes);
    xk_putf(out, "checksum", "%08x", f->checksum);
    xk_put_bool(out, "saved_state", f->saved);
    xk_put_end(out);

    xk_put_record(out, "geometry");
    xk_put_u64(out, "cylinders", f->geometry.cylinders);
    xk_put_u64(out, "heads", f->geometry.heads);
    xk_put_u64(out, "sectors", f->geometry.sectors);
    xk_put_bytes(out, "size", vhd_geometry_sectors(f->geometry) * VHD_SECTOR);
    xk_put_end(out);
}

static void put_tables(struct xk_out *out, const struct vhd *v)
{
    const struct vhd_header *h = &v->header;

    xk_put_record(out, "table");
    xk_put_str(out, "header_state", state_name(v->header_state));
    xk_put_str(out, "state", state_name(v->bat_state));
    xk_put_u64(out, "offset", h->table_offset);
    xk_put_u64(out, "entries", h->max_entries);
    xk_put_bytes(out, "block", h->block_bytes);
    if (v->bat) {
        xk_put_u64(out, "blocks", v->blocks);
        xk_put_u64(out, "allocated", vhd_allocated(v));
    } else {
        xk_put_none(out, "blocks");
        xk_put_none(out, "allocated");
    }
    xk_put_end(out);

    xk_put_record(out, "batmap");
    xk_put_str(out, "state", state_name(v->batmap_state));
    if (v->batmap_state != VHD_ABSENT) {
        xk_putf(out, "version", "%u.%u", v->batmap.version >> 16, v->batmap.version & 0xffff);
        xk_put_u64(out, "offset", v->batmap.offset);
        xk_put_u64(out, "map_sectors", v->batmap.size_sectors);
        xk_put_u64(out, "marker", v->batmap.marker);
        xk_put_bool(out, "keyhash_set", v->batmap.keyhash_set == 1);
    }
    xk_put_end(out);
}

static void put_locators(struct xk_out *out, const struct vhd *v)
{
    xk_put_list(out, "locators");
    for (int i = 0; i < VHD_LOCATORS; i++) {
        const struct vhd_locator *l = &v->header.locators[i];
        xk_autofree char *text = NULL;
        struct xk_err why = {0};
        if (l->code == VHD_LOCATOR_NONE)
            continue;
        const int code = vhd_locator_text(&text, v, i, &why);
        xk_put_record(out, NULL);
        xk_put_u64(out, "slot", (uint64_t)i);
        xk_put_str(out, "platform", vhd_locator_code_name(l->code));
        xk_put_u64(out, "offset", l->offset);
        xk_put_bytes(out, "space", vhd_locator_space(l));
        xk_put_bytes(out, "length", l->length);
        xk_put_str(out, "path", text);
        xk_put_str(out, "problem", code < 0 ? why.text : NULL);
        xk_put_end(out);
    }
    xk_put_end(out);
}

static void put_parent(struct xk_out *out, const struct vhd *v, const struct info *opts)
{
    const struct vhd_parent_search search = {.root = opts->chain_root};
    xk_autofree char *name = NULL, *path = NULL;
    struct xk_err why = {0};

    xk_put_record(out, "parent");
    if (v->footer.type == VHD_DIFFERENCING) {
        const bool raw = vhd_uuid_is_null(v->header.parent_uuid);
        (void)vhd_parent_name(&name, v, NULL);
        const int code = vhd_find_parent(&path, v, &search, &why);
        xk_put_str(out, "path", path);
        xk_put_str(out, "name", name);
        xk_put_str(out, "kind", raw ? "raw" : "vhd");
        xk_put_str(out, "uuid", raw ? NULL : xk_uuid_text(v->header.parent_uuid).s);
        xk_put_time(out, "modified", vhd_unix_time(v->header.parent_timestamp));
        xk_put_str(out, "problem", code < 0 ? why.text : NULL);
    }
    xk_put_end(out);
    if (v->footer.type == VHD_DIFFERENCING)
        put_locators(out, v);
}

static int put_image(struct xk_app *app, const char *path, const void *opts, struct xk_err *err)
{
    struct vhd v;
    struct xk_out *out = app->out;

    const int code = vhd_open(&v, app->fs, path, VHD_LENIENT | VHD_DEVICES, err);
    if (code < 0)
        return code;
    xk_row(out);
    xk_put_str(out, "path", path);
    xk_put_str(out, "type", vhd_type_name(v.footer.type));
    xk_put_bytes(out, "size", v.footer.current_bytes);
    xk_put_bytes(out, "file", v.file_bytes);
    xk_put_str(out, "uuid", xk_uuid_text(v.footer.uuid).s);
    xk_put_time(out, "created", vhd_unix_time(v.footer.timestamp));
    xk_put_bool(out, "hidden", v.footer.hidden);
    xk_put_str(out, "trouble", v.trouble_code ? v.trouble : NULL);
    put_footer(out, &v);
    if (vhd_is_sparse(&v)) {
        put_tables(out, &v);
        put_parent(out, &v, opts);
    }
    vhd_close(&v);
    return 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    static const struct vhd_each each = {.section = "images", .cards = true, .one = put_image};

    return vhd_each_image(app, args, &each, err);
}

static const char *const example[] = {"sample.vhd", NULL};

const struct xk_command vhd_cmd_info = {
    .name = "info",
    .summary = "show every field of an image, decoded",
    .operands = "FILE…",
    .min_operands = 1,
    .max_operands = -1,
    .opts = info_opts,
    .opts_bytes = sizeof(struct info),
    .run = run,
    .example = example,
};
