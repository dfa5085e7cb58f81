/* The few fields that no form of the table describes: one function each. */
#include "lib/xe/inner.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define VCPUS_MAX 1024

static const char *arena_real(struct xe *x, double value)
{
    const char *const text = xk_arena_printf(&x->arena, "%.3f", value);

    if (!text)
        xe_fail_memory(x);
    return text ? text : "";
}

/* The record that a ref of this one leads to; NULL: there is none. */
static const struct xapi_value *other(struct xe *x, struct xe_object *o, const char *class_name, const char *field)
{
    return xe_index_record(x, class_name, xapi_value_text(xe_object_get(x, o, field)));
}

static const char *pif_speed(struct xe *x, struct xe_object *o)
{
    const struct xapi_value *const m = other(x, o, "PIF_metrics", "metrics");
    const struct xapi_value *const speed = m ? xapi_map_get(m, "speed") : NULL;
    const char *const text = speed ? xk_arena_printf(&x->arena, "%s Mbit/s", xe_value_text(x, speed)) : NULL;

    return text ? text : XE_NOT_IN_DATABASE;
}

static const char *pif_duplex(struct xe *x, struct xe_object *o)
{
    const struct xapi_value *const m = other(x, o, "PIF_metrics", "metrics");

    if (!m)
        return XE_NOT_IN_DATABASE;
    const struct xapi_value *const duplex = xapi_map_get(m, "duplex"), *const carrier = xapi_map_get(m, "carrier");
    return duplex && xe_value_bool(duplex) ? "full" : carrier && xe_value_bool(carrier) ? "half" : "unknown";
}

static const char *pool_https_only(struct xe *x, struct xe_object *o)
{
    const struct xapi_value hosts = xe_do_bare(x, "host.get_all");
    bool all = true;

    for (uint32_t i = 0; i < hosts.count; i++)
        all = xe_get_bool(x, "host.get_https_only", xe_item(&hosts, i)) && all;
    return all ? "true" : "false";
}

static const char *vm_memory_target(struct xe *x, struct xe_object *o)
{
    const struct xapi_value v = xe_do(x, "VM.query_data_source", xapi_str(o->ref), xapi_str("memory_target"));

    if (xe_failed_with(x, "VM_BAD_POWER_STATE")) {
        (void)xe_forgive(x);
        return "0";
    }
    if (xe_forgive(x))
        return "<unknown>";
    const char *const text = xk_arena_printf(&x->arena, "%" PRId64, (int64_t)xe_value_real(&v));
    return text ? text : "";
}

struct xapi_value xe_special_pairs(struct xe *x, struct xe_object *o)
{
    const struct xapi_value *const m = other(x, o, "VM_metrics", "metrics");
    const struct xapi_value *const number = m ? xapi_map_get(m, "VCPUs_number") : NULL;
    const int64_t asked = number ? xe_value_int(number) : 0, count = asked > VCPUS_MAX || asked < 0 ? 0 : asked;
    struct xapi_value *const pairs = xk_arena_alloc(&x->arena, (2 * (size_t)count + 1) * sizeof(*pairs));
    char source[32];

    if (!pairs) {
        xe_fail_memory(x);
        return xapi_map(NULL, 0);
    }
    for (int64_t i = 0; i < count; i++) {
        (void)snprintf(source, sizeof(source), "cpu%" PRId64, i);
        const struct xapi_value v = xe_do(x, "VM.query_data_source", xapi_str(o->ref), xapi_str(source));
        if (xe_forgive(x))
            return xapi_map(NULL, 0);
        pairs[2 * i] = xe_text_value(x, source + 3);
        pairs[2 * i + 1] = xapi_str(arena_real(x, xe_value_real(&v)));
    }
    return xapi_map(pairs, (size_t)count);
}

static const char *vm_vcpus_utilisation(struct xe *x, struct xe_object *o)
{
    const struct xapi_value map = xe_special_pairs(x, o);
    struct xk_buf b = XK_BUF_INIT(1u << 20);

    for (uint32_t i = 0; i < map.count; i++)
        xk_buf_printf(&b, "%s%s: %s", i > 0 ? "; " : "", map.items[2 * i].text, map.items[2 * i + 1].text);
    const struct xapi_value text = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return text.text;
}

static const char *host_cpu_utilisation(struct xe *x, struct xe_object *o)
{
    char source[32];

    (void)snprintf(source, sizeof(source), "cpu%" PRId64, xe_value_int(xe_object_get(x, o, "number")));
    const struct xapi_value v = xe_do(x, "host.query_data_source", *xe_object_get(x, o, "host"), xapi_str(source));
    return xe_forgive(x) ? "<unknown>" : arena_real(x, xe_value_real(&v));
}

static const char *vdi_metadata_of_pool(struct xe *x, struct xe_object *o)
{
    const char *const pool = xe_the_pool(x), *const own = xapi_value_text(xe_object_get(x, o, "metadata_of_pool"));

    if (strcmp(pool, own) == 0)
        return xe_index_uuid(x, "pool", pool);
    const char *const uuid = xe_get_text(x, "VDI.read_database_pool_uuid", o->ref);
    return *uuid ? uuid : XE_NOT_IN_DATABASE;
}

static const char *vbd_vdi_name(struct xe *x, struct xe_object *o)
{
    if (xe_value_bool(xe_object_get(x, o, "empty")))
        return "<EMPTY>";
    return xe_index_name(x, "VDI", xapi_value_text(xe_object_get(x, o, "VDI")));
}

static const char *vbd_attachable(struct xe *x, struct xe_object *o)
{
    struct xk_buf b = XK_BUF_INIT(1u << 16);

    (void)xe_get(x, "VBD.assert_attachable", o->ref);
    if (x->failure != XE_SERVER)
        return "true";
    xk_buf_printf(&b, "false (error: Server_error(%s, [ ", xe_item(&x->server, 0));
    for (uint32_t i = 1; i < x->server.count; i++)
        xk_buf_printf(&b, "%s%s", i > 1 ? "; " : "", xe_item(&x->server, i));
    xk_buf_add_str(&b, " ]))");
    (void)xe_forgive(x);
    const struct xapi_value text = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return text.text;
}

static const char *sr_host(struct xe *x, struct xe_object *o)
{
    const struct xapi_value *const pbds = xe_object_get(x, o, "PBDs");

    if (pbds->count > 1)
        return "<shared>";
    const struct xapi_value *const pbd = pbds->count == 1 ? xe_index_record(x, "PBD", xe_item(pbds, 0)) : NULL;
    return pbd ? xe_index_name(x, "host", xapi_value_text(xapi_map_get(pbd, "host"))) : XE_NOT_IN_DATABASE;
}

static const char *vgpu_metadata(struct xe *x, struct xe_object *o)
{
    const struct xapi_value *const map = xe_object_get(x, o, "compatibility_metadata");
    struct xk_buf b = XK_BUF_INIT(1u << 16);

    for (uint32_t i = 0; map->shape == XAPI_MAP && i < map->count; i++)
        xk_buf_printf(&b, "%s%s:(%zu bytes)", i > 0 ? "; " : "", xapi_value_text(&map->items[2 * i]),
                      strlen(xapi_value_text(&map->items[2 * i + 1])));
    const struct xapi_value text = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return text.text;
}

static const char *vgpu_type_resolution(struct xe *x, struct xe_object *o)
{
    const char *const text =
        xk_arena_printf(&x->arena, "%" PRId64 "x%" PRId64, xe_value_int(xe_object_get(x, o, "max_resolution_x")),
                        xe_value_int(xe_object_get(x, o, "max_resolution_y")));

    return text ? text : "";
}

static const char *variant_priority(struct xe *x, struct xe_object *o)
{
    const char *const text = xk_arena_printf(&x->arena, "%5.1f", xe_value_real(xe_object_get(x, o, "priority")));

    return text ? text : "";
}

static const char *variant_is(struct xe *x, struct xe_object *o, const char *field)
{
    const struct xapi_value *const driver = other(x, o, "Host_driver", "driver");

    if (!driver)
        xe_fail_server(x, "HANDLE_INVALID", "Host_driver", xapi_value_text(xe_object_get(x, o, "driver")), NULL);
    return driver && strcmp(xapi_value_text(xapi_map_get(driver, field)), o->ref) == 0 ? "true" : "false";
}

static const char *variant_active(struct xe *x, struct xe_object *o)
{
    return variant_is(x, o, "active_variant");
}

static const char *variant_selected(struct xe *x, struct xe_object *o)
{
    return variant_is(x, o, "selected_variant");
}

/* The variants of a driver, the highest priority first, each as `first` and, after a sign, `second`. */
static const char *driver_variants(struct xe *x, struct xe_object *o, const char *second, char sign, bool present)
{
    const struct xapi_value *const refs = xe_object_get(x, o, "variants");
    const struct xapi_value **const rows = xk_arena_alloc(&x->arena, (refs->count + 1) * sizeof(*rows));
    struct xk_buf b = XK_BUF_INIT(1u << 16);
    size_t count = 0;

    for (uint32_t i = 0; rows && refs->shape == XAPI_LIST && i < refs->count; i++) {
        const struct xapi_value *const row = xe_index_record(x, "Driver_variant", xe_item(refs, i));
        const struct xapi_value *const here = row ? xapi_map_get(row, "hardware_present") : NULL;
        if (!row || (present && !(here && xe_value_bool(here))))
            continue;
        size_t at = count++;
        for (; at > 0 &&
               xe_value_real(xapi_map_get(rows[at - 1], "priority")) < xe_value_real(xapi_map_get(row, "priority"));
             at--)
            rows[at] = rows[at - 1];
        rows[at] = row;
    }
    for (size_t i = 0; i < count; i++) {
        xk_buf_printf(&b, "%s%s", i > 0 ? "; " : "", xapi_value_text(xapi_map_get(rows[i], "name")));
        if (second)
            xk_buf_printf(&b, "%c%s", sign, xapi_value_text(xapi_map_get(rows[i], second)));
    }
    const struct xapi_value text = xe_text_value(x, xk_buf_str(&b));
    xk_buf_done(&b);
    return text.text;
}

static const char *driver_versions(struct xe *x, struct xe_object *o)
{
    return driver_variants(x, o, "version", '/', false);
}

static const char *driver_status(struct xe *x, struct xe_object *o)
{
    return driver_variants(x, o, "status", '=', false);
}

static const char *driver_uuids(struct xe *x, struct xe_object *o)
{
    return driver_variants(x, o, "uuid", '/', false);
}

static const char *driver_present(struct xe *x, struct xe_object *o)
{
    return driver_variants(x, o, NULL, 0, true);
}

static const char *vtpm_secret(struct xe *x, struct xe_object *o)
{
    const char *const contents = xe_get_text(x, "VTPM.get_contents", o->ref);
    unsigned char sum[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned bytes = 0;

    if (xe_fine(x) && EVP_Digest(contents, strlen(contents), sum, &bytes, EVP_md5(), NULL) != 1)
        xe_fail_memory(x);
    for (unsigned i = 0; i < bytes; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    const char *const text = xk_arena_printf(&x->arena, "MD5=%s size=%zu bytes", hex, strlen(contents));
    return text ? text : "";
}

const char *xe_special(struct xe *x, struct xe_object *o, const struct xe_field *field)
{
    static const struct {
        const char *record, *field;
        const char *(*show)(struct xe *x, struct xe_object *o);
    } rows[] = {
        {"pif", "speed", pif_speed},
        {"pif", "duplex", pif_duplex},
        {"pool", "https-only", pool_https_only},
        {"vm", "memory-target", vm_memory_target},
        {"vm", "VCPUs-utilisation", vm_vcpus_utilisation},
        {"host-cpu", "utilisation", host_cpu_utilisation},
        {"vdi", "metadata-of-pool", vdi_metadata_of_pool},
        {"vbd", "vdi-name-label", vbd_vdi_name},
        {"vbd", "attachable", vbd_attachable},
        {"sr", "host", sr_host},
        {"vgpu", "compatibility-metadata", vgpu_metadata},
        {"vgpu-type", "max-resolution", vgpu_type_resolution},
        {"driver-variant", "priority", variant_priority},
        {"driver-variant", "active", variant_active},
        {"driver-variant", "selected", variant_selected},
        {"host-driver", "variants", driver_versions},
        {"host-driver", "variants-dev-status", driver_status},
        {"host-driver", "variants-uuid", driver_uuids},
        {"host-driver", "variants-hw-present", driver_present},
        {"vtpm", "secret", vtpm_secret},
    };

    for (size_t i = 0; i < XK_COUNT(rows); i++)
        if (strcmp(rows[i].record, xe_text(o->kind->name)) == 0 && strcmp(rows[i].field, xe_text(field->name)) == 0)
            return rows[i].show(x, o);
    return "";
}
