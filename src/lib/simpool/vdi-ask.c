/* What can be asked about a disk: how it is attached without the toolstack. */
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#define CONFIG_BYTES_MAX 65536

static void put_member(struct xk_buf *text, const char *name, const char *value)
{
    xk_buf_printf(text, "<member><name>%s</name><value><string>", name);
    for (const char *at = value; *at; at++)
        switch (*at) {
        case '<':
            xk_buf_add_str(text, "&lt;");
            break;
        case '&':
            xk_buf_add_str(text, "&amp;");
            break;
        default:
            xk_buf_add_char(text, *at);
        }
    xk_buf_add_str(text, "</string></value></member>");
}

/* The call that a storage driver makes of it is XML-RPC, with the way to the SR in it. */
static enum sim_outcome generate_config(struct sim_call *c)
{
    const struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_host_arg(c, 0), *const vdi = host ? sim_arg(c, 1) : NULL;
    const struct sim_object *const sr = vdi ? sim_follow(p, vdi, "SR") : NULL, *pbd = NULL;
    struct xk_buf text = XK_BUF_INIT(CONFIG_BYTES_MAX);
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    for (size_t at = 0; sr && (pbd = sim_member(p, sr, "PBDs", &at));)
        if (sim_is(pbd, "host", host->ref) && sim_bool(pbd, "currently_attached"))
            break;
    if (!pbd)
        return sim_fail(c, "SR_HAS_NO_PBDS", sim_text(vdi, "SR"), NULL);
    if (!sim_bool(vdi, "managed"))
        return sim_fail(c, "VDI_NOT_MANAGED", vdi->ref, NULL);
    if (!sim_sr_has_feature(p, sr, "VDI_GENERATE_CONFIG"))
        return sim_fail(c, "SR_OPERATION_NOT_SUPPORTED", sr->ref, NULL);
    if (!sim_vdi_may(p, vdi, "generate_config", &why))
        return sim_refuse(c, &why);
    xk_buf_add_str(&text,
                   "<?xml version='1.0'?>\n<methodCall>\n<methodName>vdi_attach_from_config</methodName>\n<params>"
                   "\n<param>\n<value><struct>");
    put_member(&text, "sr_uuid", sim_text(sr, "uuid"));
    put_member(&text, "vdi_uuid", sim_text(vdi, "uuid"));
    put_member(&text, "command", "vdi_attach_from_config");
    xk_buf_add_str(&text, "<member><name>device_config</name><value><struct>");
    const struct xapi_value *const config = sim_get(pbd, "device_config");
    for (size_t i = 0; i < config->count; i++)
        put_member(&text, config->items[2 * i].text, xapi_value_text(&config->items[2 * i + 1]));
    xk_buf_add_str(&text, "</struct></value></member></struct></value>\n</param>\n</params>\n</methodCall>\n");
    const char *const copy = text.error ? NULL : xk_arena_strdup(&c->arena, xk_buf_str(&text));
    xk_buf_done(&text);
    if (!copy)
        return sim_no_memory(c);
    c->result = xapi_str(copy);
    return SIM_DONE;
}

const struct sim_row sim_vdi_ask_rows[] = {
    {"VDI.generate_config", generate_config},
    {NULL, NULL},
};
