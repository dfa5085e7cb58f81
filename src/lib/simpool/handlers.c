/*
 * Which request goes where, and who may ask with GET and PUT.
 *
 * As on the real server the longest path that a request's path begins with decides; POST / takes every other POST. The
 * handlers stand in one table, as messages do: a row says all that is needed to reach it.
 *
 * Basic logs in through the same message as any client, so that limits, roles and log lines see it; the session ends
 * as soon as it has been looked at.
 */
#include "lib/simpool/fault.h"
#include "lib/simpool/log.h"
#include "lib/simpool/rrd.h"

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

static const struct sim_route routes[] = {
    {"POST", "/", NULL, sim_rpc_xml},
    {"POST", "/json", NULL, sim_rpc_json},
    {"POST", "/jsonrpc", NULL, sim_rpc_json},
    {"POST", "/cli", NULL, sim_cli_handle},
    {"OPTIONS", "/", NULL, sim_rpc_options},
    {"GET", "/services", NULL, sim_page},
    {"GET", "/services/", "get_services", not_here}, /* storage drivers and xenopsd are there on a real host */
    {"GET", "/blob", NULL, sim_blob_get},            /* a public one needs no session */
    {"PUT", "/blob", NULL, sim_blob_put},
    {"GET", "/export", "get_export", sim_export},
    {"GET", "/export_metadata", "get_export_metadata", sim_export_metadata},
    {"PUT", "/import", "put_import", sim_import}, /* and /import_metadata, /import_raw_vdi */
    {"GET", "/host_logs_download", "get_host_logs_download", sim_host_logs},
    {"GET", "/rrd_updates", "rrd_updates", sim_rrd_updates},
    {"GET", "/host_rrd", "host_rrd", sim_rrd_host}, /* and /host_rrds, /vm_rrds */
    {"GET", "/vm_rrd", "vm_rrd", sim_rrd_vm},
    {"GET", "/sr_rrd", "sr_rrd", sim_rrd_sr},
    {NULL, NULL, NULL, NULL},
};

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

static bool session_is_good(struct simpool *p, const char *ref)
{
    const struct sim_session *const s = sim_session_find(p, ref);

    return s && !s->local;
}

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

/* A session that lasts as long as it takes to see that it can be had. */
static bool login_is_good(struct simpool *p, const struct http_exchange *x, const char *user, const char *password)
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
        return false;
    struct sim_session *const s = sim_session_find(p, ref);
    if (s) {
        sim_log_session_destroy(p, NULL, s);
        sim_session_end(p, s);
    }
    return s != NULL;
}

static void refuse(struct simpool *p, struct http_exchange *x, const char *action)
{
    char header[160], ref[SIM_REF_BYTES];
    struct sim_object *task =
        sim_http_param(x, "task_id", ref, sizeof(ref)) ? sim_find(p, ref, xapi_class_find("task")) : NULL;

    if (task && strcmp(sim_text(task, "status"), "pending") == 0) {
        sim_put_list(p, task, "error_info", (const char *const[]){"SESSION_AUTHENTICATION_FAILED", NULL});
        sim_put_text(p, task, "status", "failure");
        sim_put_time(p, task, "finished", sim_now_s(p));
    }
    snprintf(header, sizeof(header), "WWW-Authenticate: Basic realm=\"%.100s\"\r\n", action);
    http_refuse_with(x, 401, header);
}

bool sim_http_allowed(struct simpool *p, struct http_exchange *x, const char *action)
{
    char ref[SIM_REF_BYTES], basic[BASIC_BYTES_MAX];
    const char *const header = http_header(x, "authorization");

    if (sim_http_param(x, "session_id", ref, sizeof(ref)) || *ref) {
        if (session_is_good(p, ref))
            return true;
        refuse(p, x, action);
        return false;
    }
    bool good = false;
    if (header) {
        const int code = read_basic(basic, header);
        if (code == -ENOENT) { /* the real server knows no other scheme, and does not take it for a wrong password */
            http_refuse(x, 500);
            return false;
        }
        char *const colon = code == 0 ? strchr(basic, ':') : NULL;
        if (colon) {
            *colon = '\0';
            good = login_is_good(p, x, basic, colon + 1);
        }
        OPENSSL_cleanse(basic, sizeof(basic));
    }
    if (!good)
        refuse(p, x, action);
    return good;
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
    if (!best->action || sim_http_allowed(p, x, best->action))
        best->handle(p, x);
}

void sim_handle(void *pool, struct http_exchange *x)
{
    if (!sim_strike_request(pool, x, route))
        route(pool, x);
}
