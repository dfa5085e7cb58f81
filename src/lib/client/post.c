/*
 * One call on the wire, and what the pool's errors mean.
 *
 * Which protocol a server speaks shows in the type of its first reply: JSON-RPC 2 is tried, and XML-RPC when what
 * comes back is no JSON. Servers of JSON-RPC 1 answer a call of version 2 in their own way, which is understood as
 * well.
 */
#include "lib/client/inner.h"

#include "core/text.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define ERROR_HEADER  "x-xenapi-response-host-certificate-thumbprint"
#define ASK_HEADER    "x-xenapi-request-host-certificate-thumbprint: sha-256:master\r\n"
#define COOKIE_BYTES  256
#define HEADERS_BYTES (2 * CLIENT_TRACE_BYTES_MAX + 160)
#define GRACE_NS_MIN  XK_NS_PER_S       /* after a stop or the timeout, for a reply that must not be missed: */
#define GRACE_NS_MAX  (5 * XK_NS_PER_S) /* as long as the timeout, within these */

/* ---- errors ---- */

void client_track(char ret[CLIENT_TRACK_BYTES], const char *ref)
{
    uint8_t digest[16];
    unsigned bytes = sizeof(digest);

    ret[0] = '\0';
    if (EVP_Digest(ref, strlen(ref), digest, &bytes, EVP_md5(), NULL) != 1)
        return;
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

bool client_failed_with(const struct xapi_reply *reply, const char *code)
{
    return reply->failed && reply->value.count > 0 && strcmp(xapi_value_text(&reply->value.items[0]), code) == 0;
}

/* A parameter as it may be shown: session refs are secrets. */
static const char *safe_param(struct client *c, const char *code, const char *param)
{
    const bool secret = (c->session && strcmp(param, c->session) == 0) || strcmp(code, "SESSION_INVALID") == 0;
    char track[CLIENT_TRACK_BYTES];

    if (!secret || !*param)
        return xk_arena_strdup(&c->failure_arena, param);
    client_track(track, param);
    return xk_arena_printf(&c->failure_arena, "trackid=%s", track);
}

int client_fail(struct client *c, const char *message, const struct xapi_value *error, struct xk_err *err)
{
    char text[XK_ERR_TEXT_MAX], hint[XK_ERR_HINT_MAX];
    const char *const code = error->count ? xapi_value_text(&error->items[0]) : "";
    unsigned count = 0;

    xk_arena_done(&c->failure_arena);
    c->failure_arena = XK_ARENA_INIT(CLIENT_FAILURE_BYTES_MAX);
    const char *const kept = xk_arena_strdup(&c->failure_arena, code);
    for (; kept && count + 1 < error->count && count < CLIENT_PARAMS_MAX; count++) {
        const char *const param = safe_param(c, code, xapi_value_text(&error->items[count + 1]));
        if (!param)
            break;
        c->failure_params[count] = param;
    }
    c->failure = (struct client_failure){.code = kept ? kept : "", .params = c->failure_params, .count = count};
    c->failed = true;
    client_explain(text, sizeof(text), hint, sizeof(hint), c->failure.code, c->failure_params, count);
    (void)xk_fail(err, -EREMOTEIO, "%s: %s", message, text);
    if (*hint)
        xk_err_hint(err, "%s", hint);
    return -EREMOTEIO;
}

const struct client_failure *client_failure(const struct client *c)
{
    return c->failed ? &c->failure : NULL;
}

/* ---- one call ---- */

/* As long as the timeout, but not shorter and not longer than these; without one the longest. */
static uint64_t timeout_between(const struct client *c, uint64_t min_ns, uint64_t max_ns)
{
    return c->access.timeout_ns ? XK_MIN(XK_MAX(c->access.timeout_ns, min_ns), max_ns) : max_ns;
}

/* Ending what was begun has its own time, which is short, and there also when all other time is up. */
static struct http_limits limits_of_cleaning(const struct client *c, const struct client_post *post)
{
    const struct xk_clock *const clock = c->app->clock;
    const uint64_t at_least_ns = resolve_deadline(clock, CLIENT_CLEANUP_NS_MIN),
                   own_ns = timeout_between(c, CLIENT_CLEANUP_NS_MIN, CLIENT_CLEANUP_NS) + post->extra_ns;
    uint64_t until_ns = resolve_deadline(clock, own_ns);

    if (c->manner.deadline_ns)
        until_ns = XK_MIN(XK_MAX(c->manner.deadline_ns, at_least_ns), until_ns);
    return (struct http_limits){.connect_deadline_ns = until_ns, .deadline_ns = until_ns, .ignore_stop = true};
}

static struct http_limits limits_of(const struct client *c, const struct client_post *post)
{
    const struct xk_clock *const clock = c->app->clock;
    const uint64_t all_ns = c->access.timeout_ns ? c->access.timeout_ns + post->extra_ns : 0;
    struct http_limits l = {
        .connect_deadline_ns = resolve_deadline(clock, c->access.connect_timeout_ns),
        .deadline_ns = resolve_deadline(clock, all_ns),
        .grace_ns = post->finish ? timeout_between(c, GRACE_NS_MIN, GRACE_NS_MAX) : 0,
    };

    if (c->cleaning)
        return limits_of_cleaning(c, post);
    if (c->manner.deadline_ns) {
        l.connect_deadline_ns = XK_MIN(l.connect_deadline_ns, c->manner.deadline_ns);
        l.deadline_ns = XK_MIN(l.deadline_ns, c->manner.deadline_ns);
    }
    return l;
}

static void encode(struct xk_buf *b, struct client *c, const struct client_post *post, enum xapi_protocol protocol)
{
    const struct xapi_call call = {.protocol = protocol,
                                   .method = post->method,
                                   .params = xapi_list(post->params, post->count),
                                   .id = xapi_int(++c->next_id)};

    xapi_call_encode(b, &call);
}

static int send_body(struct client *c, struct http_reader **ret, const struct client_post *post, bool json,
                     const struct xk_buf *body, struct xk_err *err)
{
    const char *const trace = c->manner.trace, *const baggage = c->manner.baggage;
    char headers[HEADERS_BYTES];

    snprintf(headers, sizeof(headers), "%s%s%.*s%s%s%.*s%s", post->ask_thumbprint ? ASK_HEADER : "",
             trace ? "traceparent: " : "", CLIENT_TRACE_BYTES_MAX, trace ? trace : "", trace ? "\r\n" : "",
             baggage ? "baggage: " : "", CLIENT_TRACE_BYTES_MAX, baggage ? baggage : "", baggage ? "\r\n" : "");
    const struct http_request request = {
        .method = "POST",
        .path = json ? "/jsonrpc" : "/",
        .type = json ? "application/json" : "text/xml",
        .headers = headers,
        .body = body->data,
        .bytes = body->len,
        .reply_max = CLIENT_REPLY_BYTES_MAX,
    };
    const struct http_limits limits = limits_of(c, post);
    const uint64_t began_ns = c->app->clock->monotonic_ns(c->app->clock);

    const int code = http_client_send(c->http, ret, &request, &limits, err);
    const struct http_pin *const pin = http_client_pin(c->http);
    if (pin)
        http_pin_text(c->certificate, pin);
    if (c->app->log->level >= XK_LOG_DEBUG)
        xk_log(c->app->log, XK_LOG_DEBUG, "%s %s (%s): %s sent, %s received, %s", c->url, post->method,
               json ? "JSON-RPC" : "XML-RPC", xk_size(body->len).s, code == 0 ? xk_size((*ret)->body.len).s : "nothing",
               xk_duration(c->app->clock->monotonic_ns(c->app->clock) - began_ns).s);
    return code;
}

/* Does the reply's type fit? Parameters after it do not count. */
static bool has_type(const struct http_reader *reply, const char *type)
{
    const char *const got = http_reader_header(reply, "content-type");
    const size_t bytes = strlen(type);

    return got && strncasecmp(got, type, bytes) == 0 && (!got[bytes] || strchr("; \t", got[bytes]));
}

static bool is_xml(const struct http_reader *reply)
{
    return has_type(reply, "text/xml") || has_type(reply, "application/xml");
}

static int not_xenapi(const struct client *c, const struct http_reader *reply, struct xk_err *err)
{
    const char *const type = http_reader_header(reply, "content-type");
    const unsigned status = http_reader_status(reply);

    if (status / 100 == 2)
        (void)xk_fail(err, -EPROTO, "%s does not speak the XenAPI: it answers with %.80s", c->url,
                      type ? type : "something without a type");
    else
        (void)xk_fail(err, -EPROTO, "%s answers a call with HTTP status %u", c->url, status);
    if (status == 503 || status == 502)
        xk_err_hint(err, "the host's toolstack is not running, or still starting");
    else if (status == 301 || status == 302 || status == 307 || status == 308)
        xk_err_hint(err, "it sends browsers elsewhere; is https meant instead of http?");
    xk_err_exit(err, XK_EXIT_REMOTE);
    return -EPROTO;
}

/* The master's certificate, as a slave that we trust tells it. */
static void take_thumbprint(struct client *c, const struct http_reader *reply)
{
    const char *const told = http_reader_header(reply, ERROR_HEADER);

    c->has_vouched = told && c->now.tls && http_pin_parse(&c->vouched, told, NULL) == 0;
}

static int decode(struct client *c, struct xapi_reply *ret, struct xk_arena *arena, bool json,
                  const struct http_reader *reply, struct xk_err *err)
{
    struct xk_err why = {0};
    int code = xapi_reply_decode(ret, arena, json, xk_buf_str(&reply->body), reply->body.len, &why);

    if (code == -ENOMEM)
        return xk_fail_memory(err);
    if (code < 0) {
        (void)xk_fail(err, -EPROTO, "the reply of %s is damaged: %s", c->url, why.text);
        return -EPROTO;
    }
    return 0;
}

static int post_as(struct client *c, struct xapi_reply *ret, struct xk_arena *arena, const struct client_post *post,
                   enum client_protocol as, bool *ret_other, struct xk_err *err)
{
    static const enum xapi_protocol wire[] = {
        [CLIENT_AUTO] = XAPI_JSON2, [CLIENT_JSON2] = XAPI_JSON2, [CLIENT_JSON1] = XAPI_JSON1, [CLIENT_XML] = XAPI_XML};
    xk_auto(xk_buf_done) struct xk_buf body = XK_BUF_INIT(CLIENT_REQUEST_BYTES_MAX);
    const bool json = as != CLIENT_XML;
    struct http_reader *reply = NULL;

    *ret_other = false;
    encode(&body, c, post, wire[as]);
    if (body.error)
        return body.error == -ENOMEM ? xk_fail_memory(err)
                                     : xk_fail(err, -E2BIG, "%s: the call is larger than the %s that pools take",
                                               post->method, xk_size(CLIENT_REQUEST_BYTES_MAX).s);
    const int code = send_body(c, &reply, post, json, &body, err);
    explicit_bzero(body.data, body.len); /* there may be a password in it */
    if (code < 0)
        return code;
    if (http_reader_status(reply) / 100 != 2 || !(json ? has_type(reply, "application/json") : is_xml(reply))) {
        *ret_other = true;
        return not_xenapi(c, reply, err);
    }
    if (post->ask_thumbprint)
        take_thumbprint(c, reply);
    return decode(c, ret, arena, json, reply, err);
}

int client_post(struct client *c, struct xapi_reply *ret, struct xk_arena *arena, const struct client_post *post,
                struct xk_err *err)
{
    bool other = false;

    if (c->protocol != CLIENT_AUTO)
        return post_as(c, ret, arena, post, c->protocol, &other, err);
    int code = post_as(c, ret, arena, post, CLIENT_JSON2, &other, err);
    if (code == 0)
        c->protocol = CLIENT_JSON2;
    if (code == 0 || !other)
        return code;
    code = post_as(c, ret, arena, post, CLIENT_XML, &other, err);
    if (code == 0) {
        c->protocol = CLIENT_XML;
        xk_err_clear(err);
    }
    return code;
}

/* ---- plain GET ---- */

static int get_once(struct client *c, struct http_reader **ret, const char *path, size_t max, struct xk_err *err)
{
    const struct client_post post = {.method = path};
    char cookie[COOKIE_BYTES];

    int code = client_login(c, err);
    if (code < 0)
        return code;
    const struct http_limits limits = limits_of(c, &post);
    snprintf(cookie, sizeof(cookie), "Cookie: session_id=%.200s\r\n", c->session);
    const struct http_request request = {.method = "GET", .path = path, .headers = cookie, .reply_max = max};
    code = http_client_send(c->http, ret, &request, &limits, err);
    explicit_bzero(cookie, sizeof(cookie));
    return code;
}

/* A path as it may stand in the first line of a request. */
static bool is_path(const char *path)
{
    const char *c = path;

    while (*c > ' ' && *c < 0x7f)
        c++;
    return *path == '/' && !*c;
}

int client_get(struct client *c, struct xk_buf *ret, const char *path, struct xk_err *err)
{
    struct http_reader *reply = NULL;
    unsigned status = 0;

    if (!is_path(path)) {
        (void)xk_fail(err, -EINVAL, "\"%.200s\" is no path: it begins with / and has no spaces", path);
        xk_err_exit(err, XK_EXIT_USAGE);
        return -EINVAL;
    }
    for (unsigned lost = 0, logins = 0;;) {
        const int code = get_once(c, &reply, path, ret->max - ret->len, err);
        if (code == -ECONNRESET && lost++ == 0)
            continue;
        if (code < 0)
            return code;
        status = http_reader_status(reply);
        if (status != HTTP_STATUS_UNAUTHORIZED || c->beside || logins++ > 0)
            break;
        client_session_lost(c); /* that is how an ended session shows here */
    }
    if (status != HTTP_STATUS_OK)
        return xk_fail(err, -EREMOTEIO, "GET %.200s from %s: HTTP status %u", path, c->url, status);
    xk_err_clear(err);
    xk_buf_add(ret, reply->body.data, reply->body.len);
    return ret->error ? xk_fail_memory(err) : 0;
}
