/* What can be asked about a disk: how it is attached without the toolstack, and the sum of what it holds. */
#include "lib/simpool/disk.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/ops.h"

#include <openssl/evp.h>

#define CONFIG_BYTES_MAX 65536
#define SUM_BYTES        (4u << 20) /* that are read before the loop looks after others */
#define PIECE_BYTES      (256u << 10)

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

/* ---- its sum ---- */

static enum sim_outcome sum_end(struct sim_call *c)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";

    if (EVP_DigestFinal_ex(c->digest, digest, &bytes) != 1)
        return sim_no_memory(c);
    for (unsigned i = 0; i < bytes; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", digest[i]);
    const char *const copy = xk_arena_strdup(&c->arena, text);
    if (!copy)
        return sim_no_memory(c);
    c->result = xapi_str(copy);
    return SIM_DONE;
}

/* A piece of what it holds; the loop has others to look after between two of them. */
static enum sim_outcome sum_on(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const vdi = sim_arg(c, 0);
    struct sim_object *const task = sim_find(p, c->task_ref, NULL);
    const uint64_t size = vdi ? (uint64_t)XK_MAX(sim_int(vdi, "virtual_size"), 0) : 0;
    xk_autofree uint8_t *piece = malloc(PIECE_BYTES);

    if (!vdi)
        return SIM_FAILED;
    if (!piece)
        return sim_no_memory(c);
    for (uint64_t end = c->digested + SUM_BYTES; c->digested < XK_MIN(size, end);) {
        const size_t bytes = (size_t)XK_MIN((uint64_t)PIECE_BYTES, size - c->digested);
        if (sim_disk_read(p, vdi, piece, bytes, c->digested) < 0)
            return sim_fail(c, "VDI_IO_ERROR", vdi->ref, NULL);
        if (EVP_DigestUpdate(c->digest, piece, bytes) != 1)
            return sim_no_memory(c);
        c->digested += bytes;
    }
    if (c->digested >= size)
        return sum_end(c);
    if (task && c->digested % (256 * (uint64_t)SUM_BYTES) == 0)
        sim_put(p, task, "progress", xapi_real((double)c->digested / (double)size));
    const enum sim_outcome outcome = sim_work_on(c, 1, sum_on);
    c->cancellable = true;
    return outcome;
}

static enum sim_outcome checksum(struct sim_call *c)
{
    const struct sim_object *const vdi = sim_arg(c, 0);
    const struct sim_object *const sr = vdi ? sim_follow(c->pool, vdi, "SR") : NULL;
    struct sim_why why;

    if (!vdi)
        return SIM_FAILED;
    if (sr && !sim_sr_pbd(c->pool, sr, &why))
        return sim_refuse(c, &why);
    c->digest = EVP_MD_CTX_new();
    if (!c->digest || EVP_DigestInit_ex(c->digest, EVP_md5(), NULL) != 1)
        return sim_no_memory(c);
    return sim_work(c, 1, sum_on, NULL, NULL, true);
}

const struct sim_row sim_vdi_ask_rows[] = {
    {"VDI.generate_config", generate_config},
    {"VDI.checksum", checksum},
    {NULL, NULL},
};
