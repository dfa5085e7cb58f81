/* Storage repositories and virtual disks. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *host_or_master(struct xe *x, bool default_master)
{
    if (xe_param(x, "host-uuid"))
        return xe_param_ref(x, "host", "host-uuid");
    const struct xapi_value hosts = xe_do_bare(x, "host.get_all");
    if (xe_fine(x) && hosts.count != 1 && !default_master)
        xe_fail(x, "Required parameter not found: host-uuid");
    return xe_fine(x) ? xe_the_master(x) : "";
}

/* device-config:KEY-filename=PATH gives the file's content for KEY. */
static struct xapi_value device_config(struct xe *x)
{
    static const char suffix[] = "-filename";
    const struct xapi_value map = xe_param_map(x, "device-config");
    struct xapi_value *const pairs = (struct xapi_value *)map.items;

    for (uint32_t i = 0; i < map.count && xe_fine(x); i++) {
        const char *const key = pairs[2 * i].text, *const path = pairs[2 * i + 1].text;
        if (!xk_has_suffix(key, suffix))
            continue;
        const char *const content = xe_file_load(x, path);
        if (!content) {
            const char *const line = xk_arena_printf(&x->arena, "File not found: %s", path);
            if (xe_fine(x))
                xe_complain(x, line ? line : "");
            xe_fail(x, "File not found");
            break;
        }
        const char *const name = xk_arena_strndup(&x->arena, key, strlen(key) - strlen(suffix));
        pairs[2 * i] = xapi_str(name ? name : key);
        pairs[2 * i + 1] = xapi_str(content);
    }
    return map;
}

static void sr_create(struct xe *x)
{
    const char *const label = xe_required(x, "name-label"), *const type = xe_required(x, "type");
    const bool shared = xe_param_bool(x, "shared", false);
    const char *const host = host_or_master(x, shared);
    int64_t bytes = 0;

    if (xe_fine(x) && xe_param(x, "physical-size")) {
        bytes = xe_bytes(x, "physical-size", xe_param(x, "physical-size"));
        /* What is no size counts as none. */
        if (xe_forgive(x))
            bytes = 0;
    }
    const struct xapi_value config = device_config(x);
    const struct xapi_value sr =
        xe_do(x, "SR.create", xapi_str(host), config, xapi_int(bytes), xapi_str(label),
              xapi_str(xe_param_or(x, "name-description", "")), xapi_str(type),
              xapi_str(xe_param_or(x, "content-type", "")), xapi_bool(shared), xe_param_map(x, "sm-config"));
    const char *const uuid = xe_uuid_of(x, "SR", xe_value_text(x, &sr));
    if (xe_fine(x))
        xe_print(x, uuid);
}

static void sr_introduce(struct xe *x)
{
    const char *const uuid = xe_required(x, "uuid");

    (void)xe_do(x, "SR.introduce", xapi_str(uuid), xapi_str(xe_required(x, "name-label")),
                xapi_str(xe_param_or(x, "name-description", "")), xapi_str(xe_required(x, "type")),
                xapi_str(xe_param_or(x, "content-type", "")), xapi_bool(xe_param_bool(x, "shared", false)),
                xe_param_map(x, "sm-config"));
    xe_list_one(x, uuid);
}

/* What a probe found may come as a value of XML-RPC, a pair ["Raw", text] in it, or as it is. */
static const char *probe_text(struct xe *x, const char *text)
{
    struct xk_buf document = XK_BUF_INIT(16u << 20);
    struct xapi_reply reply = {0};

    xk_buf_printf(&document, "<methodResponse><params><param>%s</param></params></methodResponse>", text);
    const int code =
        document.error ? -ENOMEM : xapi_reply_decode(&reply, &x->arena, false, document.data, document.len, NULL);
    xk_buf_done(&document);
    if (code < 0 || reply.value.shape != XAPI_LIST || reply.value.count != 2 ||
        strcmp(xe_item(&reply.value, 0), "Raw") != 0)
        return text;
    return xe_item(&reply.value, 1);
}

static void sr_probe(struct xe *x)
{
    const char *const host = host_or_master(x, true);
    const struct xapi_value found = xe_do(x, "SR.probe", xapi_str(host), xe_param_map(x, "device-config"),
                                          xapi_str(xe_required(x, "type")), xe_param_map(x, "sm-config"));

    if (xe_fine(x))
        xe_list_one(x, probe_text(x, xe_value_text(x, &found)));
}

/* ---- probe-ext ---- */

static void say_numbered(struct xe *x, const char *what, uint32_t number, const char *tail)
{
    const char *const line = xk_arena_printf(&x->arena, "%s %" PRIu32 "%s", what, number, tail);

    xe_say(x, line ? line : "");
}

static void put_map_of(struct xe *x, const struct xapi_value *result, const char *field)
{
    const struct xapi_value none = xapi_map(NULL, 0), *const map = xapi_map_get(result, field);

    xe_table_map(x, map ? map : &none);
}

static void put_sr(struct xe *x, const struct xapi_value *sr)
{
    static const struct {
        const char *field, *name;
    } rows[] = {{"uuid", "uuid"},
                {"name_label", "name-label"},
                {"name_description", "name-description"},
                {"total_space", "total-space"},
                {"free_space", "free-space"},
                {"clustered", "clustered"},
                {"health", "health"}};
    struct xe_pair pairs[XK_COUNT(rows)];
    size_t count = 0;

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        const struct xapi_value *const v = xapi_map_get(sr, rows[i].field);
        if (v && v->shape != XAPI_NIL && (i > 0 || *xe_value_text(x, v)))
            pairs[count++] = (struct xe_pair){.name = rows[i].name, .value = xe_value_text(x, v)};
    }
    xe_table_begin(x);
    xe_table_record(x, pairs, count);
    xe_table_end(x);
}

enum probed { PROBED_SR, PROBED_COMPLETE, PROBED_INCOMPLETE };

static enum probed what_is(const struct xapi_value *result)
{
    const struct xapi_value *const sr = xapi_map_get(result, "sr"), *const complete = xapi_map_get(result, "complete");

    if (sr && sr->shape == XAPI_MAP && sr->count > 0)
        return PROBED_SR;
    return complete && xe_value_bool(complete) ? PROBED_COMPLETE : PROBED_INCOMPLETE;
}

static void put_probed(struct xe *x, const struct xapi_value *results, enum probed kind, const char *head)
{
    uint32_t number = 0;

    /* Each kind was gathered by putting the next before the last. */
    for (uint32_t i = results->count; i-- > 0 && xe_fine(x);) {
        const struct xapi_value *const result = &results->items[i];
        if (what_is(result) != kind)
            continue;
        if (number == 0)
            xe_say(x, head);
        if (kind == PROBED_SR) {
            say_numbered(x, "SR", number, ":");
            put_sr(x, xapi_map_get(result, "sr"));
            say_numbered(x, "SR", number, " configuration:");
            put_map_of(x, result, "configuration");
            say_numbered(x, "SR", number, " extra information:");
        } else {
            say_numbered(x, "Configuration", number, ":");
            put_map_of(x, result, "configuration");
            say_numbered(x, "Configuration", number, " extra information:");
        }
        put_map_of(x, result, "extra_info");
        number++;
    }
}

static void sr_probe_ext(struct xe *x)
{
    const char *const host = host_or_master(x, true);
    const struct xapi_value found = xe_do(x, "SR.probe_ext", xapi_str(host), xe_param_map(x, "device-config"),
                                          xapi_str(xe_required(x, "type")), xe_param_map(x, "sm-config"));

    if (!xe_fine(x) || found.shape != XAPI_LIST)
        return;
    put_probed(x, &found, PROBED_SR, "The following SRs were found:");
    put_probed(x, &found, PROBED_COMPLETE,
               "Found the following complete configurations that can be used to create SRs:");
    put_probed(x, &found, PROBED_INCOMPLETE, "Found the following incomplete configurations that may contain SRs:");
}

/* ---- VDIs ---- */

static const char *vdi_type(struct xe *x, const char *word)
{
    static const char *const types[] = {"system", "user", "suspend", "crashdump"};

    for (size_t i = 0; i < XK_COUNT(types); i++)
        if (strcmp(word, types[i]) == 0)
            return types[i];
    xe_fail(x, "Unknown vdi type: %s", word);
    return "";
}

/* The keys of NAME:key=… alone. */
static struct xapi_value keys_of(struct xe *x, const char *name)
{
    const struct xapi_value map = xe_param_map(x, name);
    struct xapi_value *const items = xk_arena_alloc(&x->arena, (map.count + 1) * sizeof(*items));

    for (uint32_t i = 0; items && i < map.count; i++)
        items[i] = map.items[2 * i];
    return xapi_list(items, items ? map.count : 0);
}

static void vdi_create(struct xe *x)
{
    const char *const sr = xe_param_ref(x, "SR", "sr-uuid");
    const int64_t bytes = xe_bytes(x, "virtual-size", xe_required(x, "virtual-size"));
    const struct xapi_value pairs[] = {
        xapi_str("name_label"),
        xapi_str(xe_required(x, "name-label")),
        xapi_str("name_description"),
        xapi_str(""),
        xapi_str("SR"),
        xapi_str(sr),
        xapi_str("virtual_size"),
        xapi_int(bytes),
        xapi_str("type"),
        xapi_str(vdi_type(x, xe_param_or(x, "type", "user"))),
        xapi_str("sharable"),
        xapi_bool(xe_param_bool(x, "sharable", false)),
        xapi_str("read_only"),
        xapi_bool(false),
        xapi_str("other_config"),
        xapi_map(NULL, 0),
        xapi_str("xenstore_data"),
        xapi_map(NULL, 0),
        xapi_str("sm_config"),
        xe_param_map(x, "sm-config"),
        xapi_str("tags"),
        keys_of(x, "tags"),
    };
    const struct xapi_value vdi = xe_do(x, "VDI.create", xapi_map(pairs, XK_COUNT(pairs) / 2));

    xe_list_one(x, xe_uuid_of(x, "VDI", xe_value_text(x, &vdi)));
}

static void vdi_introduce(struct xe *x)
{
    const char *const sr = xe_param_ref(x, "SR", "sr-uuid");
    const char *const type = vdi_type(x, xe_required(x, "type"));
    const struct xapi_value vdi =
        xe_do(x, "VDI.introduce", xapi_str(xe_required(x, "uuid")), xapi_str(xe_param_or(x, "name-label", "")),
              xapi_str(xe_param_or(x, "name-description", "")), xapi_str(sr), xapi_str(type),
              xapi_bool(xe_param_bool(x, "sharable", false)), xapi_bool(xe_param_bool(x, "read-only", false)),
              xe_param_map(x, "other-config"), xapi_str(xe_required(x, "location")), xe_param_map(x, "xenstore-data"),
              xe_param_map(x, "sm-config"), xapi_bool(xe_param_bool(x, "managed", false)), xapi_int(0), xapi_int(0),
              xapi_str(XE_NULL), xapi_bool(false), xapi_time(&x->arena, 0), xapi_str(XE_NULL));

    xe_list_one(x, xe_uuid_of(x, "VDI", xe_value_text(x, &vdi)));
}

static void vdi_resize(struct xe *x)
{
    const char *const vdi = xe_param_ref(x, "VDI", "uuid");
    const int64_t bytes = xe_bytes(x, "disk-size", xe_required(x, "disk-size"));
    const bool online = strcmp(xe_param_or(x, "online", ""), "true") == 0;

    (void)xe_do(x, online ? "VDI.resize_online" : "VDI.resize", xapi_str(vdi), xapi_int(bytes));
}

static void put_uuid(struct xe *x, const struct xapi_value *vdi)
{
    xe_list_one(x, xe_uuid_of(x, "VDI", xe_value_text(x, vdi)));
}

static void vdi_copy(struct xe *x)
{
    const char *const vdi = xe_param_ref(x, "VDI", "uuid");
    const bool to_sr = xe_param(x, "sr-uuid") != NULL, into_vdi = xe_param(x, "into-vdi-uuid") != NULL;
    const char *const base = xe_param(x, "base-vdi-uuid") ? xe_param_ref(x, "VDI", "base-vdi-uuid") : XE_NULL;

    if (to_sr == into_vdi)
        return xe_fail(x, "Please specify one but not both of: a destination sr-uuid (I will create a fresh VDI); or a "
                          "destination into-vdi-uuid (I will copy the blocks into this VDI)");
    const char *const sr = to_sr ? xe_param_ref(x, "SR", "sr-uuid") : XE_NULL;
    const char *const into = into_vdi ? xe_param_ref(x, "VDI", "into-vdi-uuid") : XE_NULL;
    const struct xapi_value made = xe_do(x, "VDI.copy", xapi_str(vdi), xapi_str(sr), xapi_str(base), xapi_str(into));
    put_uuid(x, &made);
}

static void vdi_pool_migrate(struct xe *x)
{
    const char *const format = xe_param(x, "dest-img-format");
    const struct xapi_value options[] = {xapi_str("dest-img-format"), xapi_str(format ? format : "")};
    const struct xapi_value vdi = xapi_str(xe_param_ref(x, "VDI", "uuid"));
    const struct xapi_value sr = xapi_str(xe_param_ref(x, "SR", "sr-uuid"));
    const struct xapi_value made = xe_do(x, "VDI.pool_migrate", vdi, sr, xapi_map(options, format ? 1 : 0));

    put_uuid(x, &made);
}

static void vdi_clone(struct xe *x)
{
    const struct xapi_value vdi = xapi_str(xe_param_ref(x, "VDI", "uuid"));
    const struct xapi_value made = xe_do(x, "VDI.clone", vdi, xe_param_map(x, "driver-params"));
    const char *const label = xe_param(x, "new-name-label"), *const description = xe_param(x, "new-name-description");

    if (label)
        (void)xe_do(x, "VDI.set_name_label", made, xapi_str(label));
    if (description)
        (void)xe_do(x, "VDI.set_name_description", made, xapi_str(description));
    put_uuid(x, &made);
}

static void vdi_unlock(struct xe *x)
{
    const char *const vdi = xe_param_ref(x, "VDI", "uuid");

    xe_need_force(x);
    (void)xe_get(x, "VDI.force_unlock", vdi);
}

/* ---- diagnostic-vdi-status ---- */

static void put_vbds(struct xe *x, const struct xapi_value *vbds, bool attached)
{
    for (uint32_t i = 0; i < vbds->count && xe_fine(x); i++) {
        struct xe_object o = xe_object(x, "vbd", xe_item(vbds, i));
        if (xe_value_bool(xe_object_get(x, &o, "currently_attached")) != attached)
            continue;
        xe_table_begin(x);
        xe_print_object(x, &o, NULL, "uuid,userdevice,device,empty,mode,type,storage-lock");
        xe_table_end(x);
    }
}

static void diagnostic_vdi_status(struct xe *x)
{
    struct xe_object vdi = xe_object(x, "vdi", xe_param_ref(x, "VDI", "uuid"));
    size_t attached = 0;

    xe_table_begin(x);
    if (xe_fine(x))
        xe_print_object(x, &vdi, NULL, "uuid,name-label,sr-uuid,mode,read-only,sharable,storage-lock");
    xe_table_end(x);
    const struct xapi_value vbds = xe_get(x, "VDI.get_VBDs", vdi.ref);
    for (uint32_t i = 0; i < vbds.count && xe_fine(x); i++)
        attached += xe_get_bool(x, "VBD.get_currently_attached", xe_item(&vbds, i));
    xe_list_one(x, attached > 0 ? "active VBDs:" : "no active VBDs.");
    put_vbds(x, &vbds, true);
    if (attached == vbds.count)
        return;
    xe_list_one(x, "inactive VBDs:");
    put_vbds(x, &vbds, false);
}

const struct xe_row xe_storage_rows[] = {
    {"sr-create", sr_create},
    {"sr-introduce", sr_introduce},
    {"sr-probe", sr_probe},
    {"sr-probe-ext", sr_probe_ext},
    {"vdi-create", vdi_create},
    {"vdi-introduce", vdi_introduce},
    {"vdi-resize", vdi_resize},
    {"vdi-copy", vdi_copy},
    {"vdi-pool-migrate", vdi_pool_migrate},
    {"vdi-clone", vdi_clone},
    {"vdi-unlock", vdi_unlock},
    {"diagnostic-vdi-status", diagnostic_vdi_status},
    {NULL, NULL},
};
