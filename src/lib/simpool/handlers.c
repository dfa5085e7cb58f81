/*
 * Which request goes where, and who may ask with GET and PUT.
 *
 * As on the real server the longest path that a request's path begins with decides; POST / takes every other POST. The
 * handlers stand in one table, as messages do: a row says all that is needed to reach it.
 *
 * Basic logs in through the same message as any client, so that limits, roles and log lines see it; the session ends
 * as soon as it has been looked at.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/audit.h"
#include "lib/simpool/fault.h"
#include "lib/simpool/join.h"
#include "lib/simpool/log.h"
#include "lib/simpool/migrate.h"
#include "lib/simpool/rrd.h"
#include "lib/simpool/transfer.h"

#include "core/text.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BASIC_BYTES_MAX 1024
#define TEXT_BYTES_MAX  1024

static void not_here(struct simpool *p, struct http_exchange *x)
{
    http_refuse(x, 404);
}

/* What the real server has and a simulated host has nothing for: the task, if there is one, says so. */
static void unsupported(struct simpool *p, struct http_exchange *x)
{
    struct sim_error error;

    sim_error_set(&error, "NOT_IMPLEMENTED", http_path(x) + 1, NULL);
    sim_request_fail(p, x, 501, &error);
}

/* No server for workload balancing answers, most likely because there is none. */
static void no_balancing(struct simpool *p, struct http_exchange *x)
{
    struct sim_error error;
    char report[64];

    if (sim_same(http_path(x), "/wlb_report") && !sim_http_param(x, "report", report, sizeof(report)) && !*report)
        return http_refuse(x, 500);
    sim_error_set(&error, *sim_text(sim_pool_object(p), "wlb_url") ? "WLB_DISABLED" : "WLB_NOT_INITIALIZED", NULL);
    sim_request_fail(p, x, 500, &error);
}

/* No guest of a simulated host has a screen: that is 404 on a real one, and no failure. */
static void no_picture(struct simpool *p, struct http_exchange *x)
{
    struct sim_error error;
    struct sim_object *found;

    if (sim_request_object(&found, p, x, "VM", "ref", "uuid", &error) < 0 &&
        sim_request_object(&found, p, x, "console", "ref", "uuid", &error) < 0) {
        sim_error_set(&error, "INTERNAL_ERROR", "Console.Failure", NULL);
        return sim_request_fail(p, x, 500, &error);
    }
    sim_request_answer(p, x, &(struct http_reply){.status = 404, .type = "text/html", .close = true}, NULL);
}

/* Who may do it, as http.tsv has it. */
#define ADMINS    XAPI_ROLE_PA
#define OPERATORS (ADMINS | XAPI_ROLE_PO)
#define POWERFUL  (OPERATORS | XAPI_ROLE_VPA)
#define VM_ADMINS (POWERFUL | XAPI_ROLE_VA)
#define EVERYBODY (VM_ADMINS | XAPI_ROLE_VO | XAPI_ROLE_CC | XAPI_ROLE_RO)

static const struct sim_route routes[] = {
    {"POST", "/", NULL, 0, sim_rpc_xml},
    {"POST", "/json", NULL, 0, sim_rpc_json},
    {"POST", "/jsonrpc", NULL, 0, sim_rpc_json},
    {"POST", "/cli", NULL, 0, sim_cli_handle},
    {"OPTIONS", "/", NULL, 0, sim_rpc_options},
    {"GET", "/services", NULL, 0, sim_page},
    {"GET", "/services/", "get_services", EVERYBODY, not_here}, /* drivers and xenopsd are there on a real host */
    {"POST", "/services/xenops", "post_services_xenops", POWERFUL | XAPI_ROLE_CC, sim_migrate_in},
    {"POST", "/services/SM", "post_services_sm", POWERFUL | XAPI_ROLE_CC, sim_migrate_bytes},
    {"POST", SIM_JOIN_PATH, NULL, 0, sim_join_in}, /* asks for a session but where a token stands for it */
    {"GET", "/blob", NULL, 0, sim_blob_get},       /* a public one needs no session */
    {"PUT", "/blob", NULL, 0, sim_blob_put},
    {"GET", "/export", "get_export", VM_ADMINS, sim_export},
    {"GET", "/export_metadata", "get_export_metadata", VM_ADMINS, sim_export_metadata},
    {"GET", "/export_raw_vdi", "get_export_raw_vdi", VM_ADMINS, sim_export_raw_vdi},
    {"PUT", "/import", "put_import", VM_ADMINS, sim_import},
    {"PUT", "/import_metadata", "put_import_metadata", VM_ADMINS, sim_import_metadata},
    {"PUT", "/import_raw_vdi", "put_import_raw_vdi", VM_ADMINS, sim_import_raw_vdi},
    {"GET", "/host_logs_download", "get_host_logs_download", OPERATORS, sim_host_logs},
    {"GET", "/audit_log", "get_audit_log", EVERYBODY, sim_audit_download},
    {"GET", "/rrd_updates", "rrd_updates", EVERYBODY, sim_rrd_updates},
    {"GET", "/host_rrd", "host_rrd", EVERYBODY, sim_rrd_host}, /* and /host_rrds */
    {"GET", "/vm_rrd", "vm_rrd", EVERYBODY, sim_rrd_vm},       /* and /vm_rrds */
    {"GET", "/sr_rrd", "sr_rrd", EVERYBODY, sim_rrd_sr},
    {"GET", "/host_backup", "get_host_backup", ADMINS, unsupported},
    {"PUT", "/host_restore", "put_host_restore", ADMINS, unsupported},
    {"PUT", "/pool_patch_upload", "put_pool_patch_upload", OPERATORS, unsupported},
    {"PUT", "/bundle", "put_bundle", OPERATORS, unsupported},
    {"GET", "/pool/xmldbdump", "get_pool_xml_db_sync", ADMINS, sim_database_dump},
    {"PUT", "/pool/xmldbdump", "put_pool_xml_db_sync", ADMINS, unsupported},
    {"GET", "/sync_config_files", "get_config_sync", ADMINS, unsupported},
    {"GET", "/system-status", NULL, 0, sim_system_status}, /* what it can hold, everybody may know */
    {"GET", "/vncsnapshot", "get_vncsnapshot", VM_ADMINS | XAPI_ROLE_VO, no_picture},
    {"GET", "/wlb_report", "get_wlb_report", EVERYBODY, no_balancing},
    {"GET", "/wlb_diagnostics", "get_wlb_diagnostics", EVERYBODY, no_balancing},
    {"GET", "/updates", "get_updates", OPERATORS | XAPI_ROLE_CC, unsupported},
    {"GET", "/host_updates", "get_host_updates", OPERATORS | XAPI_ROLE_CC, unsupported},
    {"PUT", "/rrd", "rrd", ADMINS, unsupported},
    {"PUT", "/messages", "put_messages", POWERFUL, unsupported},
    {NULL, NULL, NULL, 0, NULL},
};

const struct http_body_limit sim_body_limits[] = {{"/cli", SIM_CLI_BYTES_MAX}, {NULL, 0}};

/* ---- words of a request ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* One word of a query: + is a space, %XX a byte. returns false when it does not fit, or holds a NUL. */
static bool unescape(char *ret, size_t bytes, const char *at, size_t len)
{
    size_t out = 0;

    for (size_t i = 0; i < len; i++) {
        char c = at[i] == '+' ? ' ' : at[i];
        if (c == '%' && i + 2 < len && hex_digit(at[i + 1]) >= 0 && hex_digit(at[i + 2]) >= 0) {
            c = (char)(hex_digit(at[i + 1]) << 4 | hex_digit(at[i + 2]));
            i += 2;
        }
        if (c == '\0' || out + 1 >= bytes)
            return false;
        ret[out++] = c;
    }
    ret[out] = '\0';
    return true;
}

/* NAME=VALUE in a text whose parts stand between `separator`s. */
static bool find_word(char *ret, size_t bytes, const char *text, char separator, const char *name)
{
    const size_t name_len = strlen(name);

    for (const char *at = text; at;) {
        at += strspn(at, " ");
        const char *const end = strchrnul(at, separator);
        if (strncmp(at, name, name_len) == 0 && at[name_len] == '=')
            return unescape(ret, bytes, at + name_len + 1, (size_t)(end - at) - name_len - 1);
        at = *end ? end + 1 : NULL;
    }
    return false;
}

bool sim_http_param(const struct http_exchange *x, const char *name, char *ret, size_t bytes)
{
    const char *const cookies = http_header(x, "cookie");

    ret[0] = '\0';
    return (cookies && find_word(ret, bytes, cookies, ';', name)) || find_word(ret, bytes, http_query(x), '&', name);
}

/* ---- who asks ---- */

/* "user:password" of the Authorization header; -ENOENT when it has another scheme. */
static int read_basic(char ret[BASIC_BYTES_MAX], const char *header)
{
    static const char scheme[] = "basic ";
    uint8_t bytes[BASIC_BYTES_MAX];

    if (strncasecmp(header, scheme, strlen(scheme)) != 0)
        return -ENOENT;
    header += strlen(scheme);
    header += strspn(header, " ");
    size_t len = strlen(header);
    if (len == 0 || len % 4 || len / 4 * 3 >= sizeof(bytes))
        return -EINVAL;
    const int got = EVP_DecodeBlock(bytes, (const unsigned char *)header, (int)len);
    if (got < 0)
        return -EINVAL;
    len = (size_t)got - (header[len - 1] == '=') - (header[len - 2] == '=');
    memcpy(ret, bytes, len);
    ret[len] = '\0';
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return memchr(ret, '\0', len) || !strchr(ret, ':') ? -EINVAL : 0;
}

static void fail_task(struct simpool *p, const struct http_exchange *x, const char *const *error)
{
    char ref[SIM_REF_BYTES];
    struct sim_object *task =
        sim_http_param(x, "task_id", ref, sizeof(ref)) ? sim_find(p, ref, xapi_class_find("task")) : NULL;

    if (!task || strcmp(sim_text(task, "status"), "pending") != 0)
        return;
    sim_put_list(p, task, "error_info", error);
    sim_put_text(p, task, "status", "failure");
    sim_put_time(p, task, "finished", sim_now_s(p));
}

enum standing { STRANGER, FORBIDDEN, ALLOWED };

static enum standing standing_of(const struct sim_session *s, unsigned roles)
{
    return !s || s->local ? STRANGER : sim_access_has(s, roles) ? ALLOWED : FORBIDDEN;
}

/* A session that lasts as long as it takes to see that it can be had, and what it may do. */
static enum standing standing_at_login(struct simpool *p, const struct http_exchange *x, const char *user,
                                       const char *password, unsigned roles)
{
    const char *const agent = http_header(x, "user-agent");
    char originator[TEXT_BYTES_MAX];
    struct xapi_value args[4];

    snprintf(originator, sizeof(originator), "%s using Basic auth", agent ? agent : "unknown");
    args[0] = xapi_str(user);
    args[1] = xapi_str(password);
    args[2] = xapi_str("1.0");
    args[3] = xapi_str(originator);
    char ref[SIM_REF_BYTES];
    if (!sim_call_inside(p, p->master, "session.login_with_password", args, XK_COUNT(args), agent, ref))
        return STRANGER;
    struct sim_session *const s = sim_session_find(p, ref);
    const enum standing standing = standing_of(s, roles);
    if (s) {
        sim_log_session_destroy(p, NULL, s);
        sim_session_end(p, s);
    }
    return standing;
}

static void refuse(struct simpool *p, struct http_exchange *x, const char *action)
{
    char header[160];

    fail_task(p, x, (const char *const[]){"SESSION_AUTHENTICATION_FAILED", NULL});
    snprintf(header, sizeof(header), "WWW-Authenticate: Basic realm=\"%.100s\"\r\n", action);
    http_refuse_with(x, 401, header);
}

static void forbid(struct simpool *p, struct http_exchange *x, const char *action, unsigned roles)
{
    char permission[128], text[SIM_DENIAL_BYTES];

    snprintf(permission, sizeof(permission), "http/%.100s", action);
    sim_access_denial(text, roles);
    fail_task(p, x, (const char *const[]){"RBAC_PERMISSION_DENIED", permission, text, NULL});
    http_refuse(x, 403);
}

/* Of the Authorization header. returns   -ENOENT: it has another scheme. */
static int standing_of_header(struct simpool *p, const struct http_exchange *x, const char *header, unsigned roles,
                              enum standing *ret)
{
    char basic[BASIC_BYTES_MAX];
    const int code = read_basic(basic, header);
    char *const colon = code == 0 ? strchr(basic, ':') : NULL;

    *ret = STRANGER;
    if (colon) {
        *colon = '\0';
        *ret = standing_at_login(p, x, basic, colon + 1, roles);
    }
    OPENSSL_cleanse(basic, sizeof(basic));
    return code == -ENOENT ? code : 0;
}

bool sim_http_allowed(struct simpool *p, struct http_exchange *x, const char *action, unsigned roles)
{
    const char *const header = http_header(x, "authorization");
    enum standing standing = STRANGER;
    char ref[SIM_REF_BYTES];

    if (sim_http_param(x, "session_id", ref, sizeof(ref)) || *ref) {
        standing = standing_of(sim_session_find(p, ref), roles);
    } else if (header && standing_of_header(p, x, header, roles, &standing) < 0) {
        http_refuse(x, 500); /* the real server knows no other scheme, and does not take it for a wrong password */
        return false;
    }
    if (standing == STRANGER)
        refuse(p, x, action);
    else if (standing == FORBIDDEN)
        forbid(p, x, action, roles);
    return standing == ALLOWED;
}

/* ---- routes ---- */

const struct sim_route *sim_route_at(const struct simpool *p, unsigned at, struct sim_served *ret)
{
    _Static_assert(XK_COUNT(routes) <= SIM_ROUTES_MAX, "each is counted");

    if (at >= XK_COUNT(routes) || !routes[at].method)
        return NULL;
    *ret = p->served[at];
    return &routes[at];
}

static void route(void *pool, struct http_exchange *x)
{
    struct simpool *const p = pool;
    const char *const path = http_path(x), *const method = http_method(x);
    const struct sim_route *best = NULL;

    /* Only the root itself is a page: what is not there is said to be not there. */
    if (strcmp(path, "/") == 0 && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0))
        return sim_page(p, x);
    const char *const asked = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (const struct sim_route *r = routes; r->method; r++)
        if (strcmp(r->method, asked) == 0 && xk_has_prefix(path, r->path) &&
            (!best || strlen(r->path) > strlen(best->path)))
            best = r;
    if (!best)
        return http_refuse(x, 404);
    const char *const connection = http_header(x, "connection");
    struct sim_served *const served = &p->served[best - routes];
    served->requests++;
    served->closed += connection && strcasecmp(connection, "close") == 0;
    if (!best->action || sim_http_allowed(p, x, best->action, best->roles))
        best->handle(p, x);
}

void sim_handle(void *pool, struct http_exchange *x)
{
    if (!sim_strike_request(pool, x, route))
        route(pool, x);
}
