/*
 * A call from the wire to its reply: which message it is, whether it may be called here and now, its arguments brought
 * to their types, then the behaviour, or the table's own way.
 *
 * Everything is asked in the order in which the real server asks it, since clients see the first error only.
 */
#include "lib/simpool/access.h"
#include "lib/simpool/audit.h"
#include "lib/simpool/era.h"
#include "lib/simpool/fault.h"
#include "lib/simpool/hosts.h"
#include "lib/simpool/log.h"

#include "core/text.h"
#include "lib/simpool/state.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NOT_UTF8 "\xEF\xBF\xBD" /* U+FFFD, in the place of a byte */

static const char rpc_headers[] = "cache-control: no-cache, no-store\r\n"
                                  "Access-Control-Allow-Origin: *\r\n"
                                  "Access-Control-Allow-Headers: X-Requested-With\r\n";

/* ---- errors ---- */

enum sim_outcome sim_fail(struct sim_call *c, const char *code, ...)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    va_list args;

    xapi_build_open(&b, XAPI_LIST);
    va_start(args, code);
    for (const char *text = code; text; text = va_arg(args, const char *))
        xapi_build_text(&b, text);
    va_end(args);
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->error) < 0 ? sim_no_memory(c) : SIM_FAILED;
}

/* Static, since there is nothing left to build one of. */
enum sim_outcome sim_no_memory(struct sim_call *c)
{
    static const struct xapi_value texts[] = {
        {.shape = XAPI_TEXT, .count = 14, .text = "INTERNAL_ERROR"},
        {.shape = XAPI_TEXT, .count = 13, .text = "Out_of_memory"},
    };

    c->error = xapi_list(texts, XK_COUNT(texts));
    return SIM_FAILED;
}

enum sim_outcome sim_bad_handle(struct sim_call *c, uint16_t class_index, const char *ref)
{
    return sim_fail(c, "HANDLE_INVALID", class_index == XAPI_NONE ? "" : xapi_text(xapi_classes[class_index].name), ref,
                    NULL);
}

struct sim_object *sim_arg(struct sim_call *c, unsigned arg)
{
    const struct xapi_type *const type = xapi_type_of(xapi_params[c->message->first_param + arg].type);
    const char *const ref = sim_arg_text(c, arg);

    assert(type->kind == XAPI_REF && type->of != XAPI_NONE);
    struct sim_object *const o = sim_find(c->pool, ref, &xapi_classes[type->of]);
    if (!o)
        (void)sim_bad_handle(c, type->of, ref);
    return o;
}

const char *sim_arg_text(const struct sim_call *c, unsigned arg)
{
    return xapi_value_text(&c->args[arg]);
}

/* ---- replies ---- */

static void call_free(struct sim_call *c)
{
    if (c->link) {
        if (c->next)
            c->next->link = c->link;
        *c->link = c->next;
    }
    if (c->exchange)
        http_on_gone(c->exchange, NULL, NULL);
    if (c->timer)
        event_free(c->timer);
    EVP_MD_CTX_free(c->digest);
    free(c->wanted);
    xk_arena_done(&c->arena);
    free(c);
}

/*
 * A client that pins certificates may ask a slave for its master's: only with the refusal that sends it there.
 * ret       rpc_headers, or with one line more in `text`.
 */
static const char *reply_headers(const struct sim_call *c, bool failed, const struct xapi_value *v, char *text,
                                 size_t bytes)
{
    if (!failed || v->count == 0 || strcmp(xapi_value_text(&v->items[0]), "HOST_IS_SLAVE") != 0)
        return rpc_headers;
    const char *const asked = http_header(c->exchange, "x-xenapi-request-host-certificate-thumbprint");
    if (!asked)
        return rpc_headers;
    const char *const field = strcmp(asked, "sha-256:master") == 0 ? "fingerprint_sha256"
                              : strcmp(asked, "sha-1:master") == 0 ? "fingerprint_sha1"
                                                                   : NULL;
    const char *const master = sim_text(sim_first(c->pool, "pool"), "master");
    const struct sim_object *o = field ? sim_first(c->pool, "Certificate") : NULL;
    while (o && (strcmp(sim_text(o, "host"), master) != 0 || strcmp(sim_text(o, "type"), "host") != 0))
        o = o->class_next;
    if (!o)
        return rpc_headers;
    snprintf(text, bytes, "%sx-xenapi-response-host-certificate-thumbprint: %s\r\n", rpc_headers, sim_text(o, field));
    return text;
}

static void reply(struct sim_call *c, bool failed, const struct xapi_value *v)
{
    struct xk_buf body = XK_BUF_INIT(SIM_REPLY_BYTES_MAX);
    char headers[512];
    struct xk_err why = {0};

    if (!c->exchange)
        return;
    if (c->strike && c->strike->cut) { /* the call was carried out, and nobody is told */
        (void)sim_state_flush(c->pool, NULL);
        sim_strike_cut(c->strike, c->exchange);
        c->exchange = NULL;
        return;
    }
    const struct xapi_value wrong = sim_strike_wrong(v);
    if (c->strike && c->strike->wrong_type && !failed)
        v = &wrong;
    /* Nobody is told of what could still be lost. */
    if (sim_state_flush(c->pool, &why) < 0) {
        (void)sim_fail(c, "INTERNAL_ERROR", why.text, NULL);
        failed = true;
        v = &c->error;
    }
    xapi_reply_encode(&body, &c->wire, &(struct xapi_reply){.failed = failed, .value = *v}, c->bare);
    http_reply(c->exchange,
               &(struct http_reply){.status = 200,
                                    .type = xapi_content_type(c->wire.protocol),
                                    .headers = reply_headers(c, failed, v, headers, sizeof(headers))},
               &body);
    c->exchange = NULL;
}

void sim_answer(struct sim_call *c, enum sim_outcome outcome)
{
    struct simpool *const p = c->pool;

    if (p->error) {
        p->error = 0;
        outcome = sim_no_memory(c);
    }
    if (outcome == SIM_FAILED && c->args)
        sim_log_failed(c);
    sim_audit_end(c, outcome, false);
    if (*c->task_ref) {
        struct sim_object *const task = sim_find(p, c->task_ref, NULL);
        if (task && c->passing)
            sim_delete(p, task);
        else if (task)
            sim_task_end(p, task, outcome, c);
    }
    reply(c, outcome == SIM_FAILED, outcome == SIM_FAILED ? &c->error : &c->result);
    call_free(c);
}

/* ---- which message ---- */

struct name {
    const char *message;
    bool async;
};

static struct name take_prefix(const char *method)
{
    static const char *const prefixes[] = {"Async.", "InternalAsync."};

    for (size_t i = 0; i < XK_COUNT(prefixes); i++)
        if (xk_has_prefix(method, prefixes[i]))
            return (struct name){.message = method + strlen(prefixes[i]), .async = true};
    return (struct name){.message = method};
}

/* JSON-RPC 2 may name the parameters: bring them into the order of the table. */
static bool order_params(struct sim_call *c)
{
    struct xapi_value *const pairs = (struct xapi_value *)&c->wire.params;
    const struct xapi_message *const m = c->message;
    const bool session = m && m->flags & XAPI_MESSAGE_SESSION;
    struct xapi_value *const items = xk_arena_alloc(&c->arena, (1u + (m ? m->params : 0)) * sizeof(*items));
    size_t count = 0;

    if (!items)
        return false;
    const struct xapi_value *v = xapi_map_get(pairs, "session_id");
    if (v)
        items[count++] = *v;
    for (unsigned i = 0; m && i < m->params && count == i + session; i++) {
        v = xapi_map_get(pairs, xapi_text(xapi_params[m->first_param + i].name));
        if (v)
            items[count++] = *v;
    }
    c->wire.params = xapi_list(items, count);
    return true;
}

static enum sim_outcome check_count(struct sim_call *c)
{
    const struct xapi_message *const m = c->message;
    const int session = (m->flags & XAPI_MESSAGE_SESSION) != 0, got = (int)c->wire.params.count - session;
    char expected[16], received[16];

    /* With defaults, what is too much is ignored. */
    if (got >= m->required && (got <= m->params || m->required < m->params)) {
        c->arg_count = (size_t)XK_MIN(got, (int)m->params);
        return SIM_DONE;
    }
    snprintf(expected, sizeof(expected), "%u", m->required);
    snprintf(received, sizeof(received), "%d", got);
    return sim_fail(c, "MESSAGE_PARAMETER_COUNT_MISMATCH", xapi_text(m->name), expected, received, NULL);
}

static enum sim_outcome check_session(struct sim_call *c)
{
    const char *const ref = c->wire.params.count ? xapi_value_text(&c->wire.params.items[0]) : "";
    struct simpool *const p = c->pool;
    struct sim_session *const s = sim_session_find(p, ref);

    /* A local session is the host's own: the others do not know it. */
    if (!s || (s->local && s->host != c->host)) {
        sim_log_session_wrong(c, ref);
        return sim_fail(c, "SESSION_INVALID", ref, NULL);
    }
    if (!s->local && !s->pool && c->message && c->message->flags & XAPI_MESSAGE_POOL) {
        char text[256];
        snprintf(text, sizeof(text), "Internal API \"%s\" call attempted with non-pool (external) session",
                 xapi_text(c->message->name));
        return sim_fail(c, "INTERNAL_ERROR", text, NULL);
    }
    if (!s->local && !s->pool && !sim_is_master(p, c->host) && sim_strike_error(c) == SIM_FAILED)
        return SIM_FAILED; /* a slave may be wished to answer otherwise */
    if (!s->local && !s->pool && !sim_is_master(p, c->host))
        return sim_fail(c, "HOST_IS_SLAVE", sim_master_address(p, c->host), NULL);
    c->session = s;
    snprintf(c->session_ref, sizeof(c->session_ref), "%s", s->ref);
    const int64_t now = sim_now_s(p);
    /* Coarse as the real one: newer ones write to a session in use only every ten minutes. */
    if (now != s->last_active_s && now - s->last_active_s >= sim_era(p->settings.era)->refresh_s) {
        s->last_active_s = now;
        if (s->object)
            sim_put_time(p, s->object, "last_active", now);
    }
    return SIM_DONE;
}

static enum sim_outcome take_args(struct sim_call *c)
{
    const struct xapi_message *const m = c->message;
    const size_t first = (m->flags & XAPI_MESSAGE_SESSION) != 0;
    char wrong[256], text[320];

    c->args = xk_arena_alloc(&c->arena, m->params * sizeof(*c->args));
    if (!c->args)
        return sim_no_memory(c);
    for (unsigned i = 0; i < m->params; i++) {
        const struct xapi_param *const param = &xapi_params[m->first_param + i];
        const int code = i < c->arg_count ? xapi_cast(&c->args[i], &c->arena, param->type,
                                                      &c->wire.params.items[first + i], wrong, sizeof(wrong))
                                          : xapi_default(&c->args[i], &c->arena, param->type, param->initial);
        if (code == -ENOMEM)
            return sim_no_memory(c);
        if (code < 0) {
            snprintf(text, sizeof(text), "Failure(\"%s\")", wrong);
            return sim_fail(c, "INTERNAL_ERROR", text, NULL);
        }
    }
    return SIM_DONE;
}

static enum sim_outcome list_methods(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    c->bare = true;
    xapi_build_open(&b, XAPI_LIST);
    for (unsigned i = 0; i < xapi_message_count; i++)
        if (!(xapi_messages[i].flags & XAPI_MESSAGE_HIDDEN))
            xapi_build_value(&b, xapi_str(xapi_text(xapi_messages[i].name)));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome unknown(struct sim_call *c, const char *name)
{
    if (c->wire.params.count && check_session(c) == SIM_FAILED)
        return SIM_FAILED;
    return sim_fail(c, "MESSAGE_METHOD_UNKNOWN", name, NULL);
}

static enum sim_outcome behave(struct sim_call *c)
{
    sim_behaviour *const own = c->pool->behaviours[xapi_message_index(c->message)];

    /* Here and not before, so that what is not allowed fails as a task when it was asked for as one. */
    if (sim_access_check(c) == SIM_FAILED) {
        sim_audit_end(c, SIM_FAILED, true);
        return SIM_FAILED;
    }
    if (sim_strike_error(c) == SIM_FAILED || sim_state_fault_meet(c) == SIM_FAILED)
        return SIM_FAILED;
    sim_audit_begin(c);
    return own ? own(c) : sim_generic(c);
}

static enum sim_outcome begin_async(struct sim_call *c)
{
    char name[160], text[160];

    snprintf(name, sizeof(name), "Async.%s", xapi_text(c->message->name));
    if (!(c->message->flags & XAPI_MESSAGE_ASYNC)) {
        snprintf(text, sizeof(text), "No async mode for this operation (rpc: %s)", c->wire.method);
        return sim_fail(c, "Fault", text, NULL);
    }
    const struct sim_object *const task = sim_task_create(c->pool, name, c->session);
    if (!task)
        return sim_no_memory(c);
    memcpy(c->task_ref, task->ref, sizeof(c->task_ref));
    sim_log_async(c);
    const struct xapi_value ref = xapi_str(c->task_ref);
    reply(c, false, &ref);
    return behave(c);
}

static enum sim_outcome run(struct sim_call *c)
{
    const struct name name = take_prefix(c->wire.method);

    if (strcmp(c->wire.method, "system.listMethods") == 0)
        return list_methods(c);
    c->message = xapi_message_find(name.message);
    if (c->wire.params.shape == XAPI_MAP && !order_params(c))
        return sim_no_memory(c);
    const struct xapi_message *const m = c->message;
    if (!m)
        return unknown(c, c->wire.method);
    if (m->state == XAPI_REMOVED)
        return sim_fail(c, "MESSAGE_REMOVED", NULL);
    if (check_count(c) == SIM_FAILED)
        return SIM_FAILED;
    if (!(m->flags & XAPI_MESSAGE_EMERGENCY) && sim_is_in_emergency(c->pool, c->host))
        return sim_fail(c, "HOST_STILL_BOOTING", NULL);
    if (m->flags & XAPI_MESSAGE_SESSION && check_session(c) == SIM_FAILED)
        return SIM_FAILED;
    if (take_args(c) == SIM_FAILED)
        return SIM_FAILED;
    return name.async ? begin_async(c) : behave(c);
}

static void on_gone(void *context)
{
    struct sim_call *const c = context;

    c->exchange = NULL;
    /* Work goes on without its client, as on a real host; waiting for events does not, nor what has not begun. */
    if (c->wanted || c->delayed)
        call_free(c);
}

static void begin(struct sim_call *c)
{
    if (c->strike && c->strike->cut && !c->strike->executed) {
        sim_strike_cut(c->strike, c->exchange);
        c->exchange = NULL;
        call_free(c);
        return;
    }
    if (c->strike)
        http_spoil(c->exchange, &c->strike->spoil);
    const enum sim_outcome outcome = run(c);
    if (outcome != SIM_WORKING)
        sim_answer(c, outcome);
}

static void on_delay(evutil_socket_t fd, short what, void *context)
{
    struct sim_call *const c = context;

    c->delayed = false;
    if (c->next)
        c->next->link = c->link;
    *c->link = c->next;
    c->link = NULL;
    c->next = NULL;
    event_free(XK_TAKE(c->timer));
    begin(c);
}

/* returns whether the call begins later. */
static bool delay(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    if (!c->strike || !c->strike->delay_ns)
        return false;
    const struct timeval when = sim_delay(p, c->strike->delay_ns);
    c->timer = evtimer_new(p->base, on_delay, c);
    if (!c->timer || event_add(c->timer, &when) < 0)
        return false;
    c->delayed = true;
    c->next = p->delayed;
    c->link = &p->delayed;
    if (c->next)
        c->next->link = &c->next;
    p->delayed = c;
    return true;
}

/* With U+FFFD for each byte that is no UTF-8. returns whether there was one. */
static bool mend_text(struct xk_buf *ret, const char *text, size_t bytes)
{
    bool mended = false;

    for (size_t i = 0; i < bytes;) {
        uint32_t point;
        const int count = xk_utf8_decode(&point, text + i, bytes - i);
        if (count > 0)
            xk_buf_add(ret, text + i, (size_t)count);
        else
            xk_buf_add_str(ret, NOT_UTF8);
        mended |= count <= 0;
        i += count > 0 ? (size_t)count : 1;
    }
    return mended && !ret->error;
}

/* The first text in it that was mended; NULL: none. */
static const char *find_mended(const struct xapi_value *v)
{
    const size_t count = v->shape == XAPI_LIST ? v->count : v->shape == XAPI_MAP ? 2u * v->count : 0;
    const char *found = v->shape == XAPI_TEXT && strstr(xapi_value_text(v), NOT_UTF8) ? xapi_value_text(v) : NULL;

    for (size_t i = 0; i < count && !found; i++)
        found = find_mended(&v->items[i]);
    return found;
}

/*
 * A text that is no UTF-8 is an error of its parameter, not of the document: so the real server has it for JSON.
 * ret_wrong   that text; NULL: there is none.
 */
static bool decode(struct sim_call *c, bool json, const char **ret_wrong)
{
    struct xk_buf mended = XK_BUF_INIT(3u * SIM_BODY_BYTES_MAX);
    size_t bytes;
    const char *const body = http_body(c->exchange, &bytes);

    *ret_wrong = NULL;
    bool good = xapi_call_decode(&c->wire, &c->arena, json, body, bytes, NULL) == 0;
    if (!good && mend_text(&mended, body, bytes)) {
        good = xapi_call_decode(&c->wire, &c->arena, json, mended.data, mended.len, NULL) == 0;
        if (good)
            *ret_wrong = find_mended(&c->wire.params);
    }
    xk_buf_done(&mended);
    return good;
}

static void handle_rpc(struct simpool *p, struct http_exchange *x, bool json)
{
    struct sim_call *const c = xk_zalloc(sizeof(*c));
    const char *wrong;

    if (!c)
        return http_refuse(x, 500);
    c->pool = p;
    c->host = http_tag(x);
    c->arena = XK_ARENA_INIT(SIM_CALL_BYTES_MAX);
    c->exchange = x;
    if (!decode(c, json, &wrong)) {
        c->exchange = NULL;
        call_free(c);
        return http_refuse(x, 500);
    }
    /* Older ones know one form only, whatever they are asked in. */
    if (c->wire.protocol == XAPI_JSON2 && !sim_era(p->settings.era)->json2)
        c->wire.protocol = XAPI_JSON1;
    http_on_gone(x, on_gone, c);
    c->strike = sim_strike_call(c);
    if (wrong)
        sim_answer(c, sim_fail(c, "INVALID_VALUE", "Invalid UTF-8 string in parameter", wrong, NULL));
    else if (!delay(c))
        begin(c);
}

void sim_rpc_xml(struct simpool *p, struct http_exchange *x)
{
    handle_rpc(p, x, false);
}

void sim_rpc_json(struct simpool *p, struct http_exchange *x)
{
    handle_rpc(p, x, true);
}

void sim_rpc_options(struct simpool *p, struct http_exchange *x)
{
    http_reply(x, &(struct http_reply){.status = 200, .headers = rpc_headers}, NULL);
}

struct sim_call *sim_call_new(struct simpool *p)
{
    struct sim_call *const c = xk_zalloc(sizeof(*c));

    if (c) {
        c->pool = p;
        c->host = p->master;
        c->arena = XK_ARENA_INIT(SIM_CALL_BYTES_MAX);
    }
    return c;
}

/* A call from inside, up to its outcome; NULL: no memory, or it works on and ends by itself, with nobody to tell. */
static struct sim_call *call_inside(struct simpool *p, unsigned host, const char *message,
                                    const struct xapi_value *args, size_t count, const char *agent,
                                    enum sim_outcome *ret)
{
    struct sim_call *const c = xk_zalloc(sizeof(*c));

    *ret = SIM_FAILED;
    if (!c)
        return NULL;
    c->pool = p;
    c->host = host;
    c->arena = XK_ARENA_INIT(SIM_CALL_BYTES_MAX);
    c->message = xapi_message_find(message);
    c->wire.method = message;
    c->agent = agent;
    assert(c->message && count <= c->message->params);
    const size_t first = (c->message->flags & XAPI_MESSAGE_SESSION) != 0;
    struct xapi_value *const all = xk_arena_alloc(&c->arena, (count + 1) * sizeof(*all));
    if (!all) {
        call_free(c);
        return NULL;
    }
    all[0] = xapi_str("");
    memcpy(all + first, args, count * sizeof(*all));
    c->wire.params = xapi_list(all, count + first);
    c->arg_count = count;
    *ret = take_args(c) == SIM_DONE ? behave(c) : SIM_FAILED;
    return *ret == SIM_WORKING ? NULL : c;
}

bool sim_call_inside(struct simpool *p, unsigned host, const char *message, const struct xapi_value *args, size_t count,
                     const char *agent, char ret_ref[SIM_REF_BYTES])
{
    enum sim_outcome outcome;
    struct sim_call *const c = call_inside(p, host, message, args, count, agent, &outcome);

    if (!c)
        return false;
    snprintf(ret_ref, SIM_REF_BYTES, "%s", xapi_value_text(&c->result));
    call_free(c);
    return outcome == SIM_DONE;
}

bool sim_call_own(struct simpool *p, const char *message, const struct xapi_value *args, size_t count,
                  char ret_ref[SIM_REF_BYTES], struct sim_error *ret_error)
{
    enum sim_outcome outcome;
    struct sim_call *const c = call_inside(p, p->master, message, args, count, NULL, &outcome);

    *ret_error = (struct sim_error){.count = 1};
    snprintf(ret_error->texts[0], sizeof(ret_error->texts[0]), "INTERNAL_ERROR");
    if (!c)
        return false;
    snprintf(ret_ref, SIM_REF_BYTES, "%s", outcome == SIM_DONE ? xapi_value_text(&c->result) : "");
    if (outcome == SIM_FAILED)
        sim_error_take(ret_error, &c->error);
    call_free(c);
    return outcome == SIM_DONE;
}

void sim_error_take(struct sim_error *ret, const struct xapi_value *texts)
{
    ret->count = 0;
    for (size_t i = 0; i < texts->count && i < XK_COUNT(ret->texts); i++)
        snprintf(ret->texts[ret->count++], sizeof(ret->texts[0]), "%s", xapi_value_text(&texts->items[i]));
}

void sim_error_set(struct sim_error *ret, const char *code, ...)
{
    va_list args;

    ret->count = 0;
    va_start(args, code);
    for (const char *text = code; text && ret->count < XK_COUNT(ret->texts); text = va_arg(args, const char *))
        snprintf(ret->texts[ret->count++], sizeof(ret->texts[0]), "%s", text);
    va_end(args);
}
