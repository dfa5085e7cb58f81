/*
 * Calls with a session, and what is done when one does not get through: a session that has ended is opened again and
 * the call repeated (it was refused before anything happened); a lost connection is made again, and the call repeated
 * only when doing it twice is doing it once.
 *
 * How often that is done is counted for each call, so that a pool that takes no session at all ends it. Who waits for
 * events in turns may lose more sessions than that while nothing happens: with a new one it does not wait in the first
 * turn, and the answer begins the count anew.
 */
#include "lib/client/inner.h"

#include "core/text.h"
#include "lib/xapi/args.h"

#include <stdarg.h>
#include <string.h>

#define ARGS_MAX       32
#define ARGS_BYTES_MAX (64u << 20)
#define LOST_MAX       2
#define LOGINS_MAX     2
#define FOLLOWED_MAX   1
#define WAIT_S_MAX     1e6

static bool is_lost(int code)
{
    return code == -ECONNRESET || code == -EPIPE || code == -ECONNABORTED;
}

static bool is_unreachable(int code)
{
    return code == -ECONNREFUSED || code == -EHOSTUNREACH || code == -ENETUNREACH || code == -ETIMEDOUT;
}

/* The data model says what most messages are; for the others their verb does. */
static bool is_harmless(const struct xapi_message *m, const char *method)
{
    static const char *const verbs[] = {"get_", "list_", "compute_", "assert_", "query_", "has_", "is_", "retrieve_"};

    if (!m || strcmp(method, xapi_text(m->name)) != 0)
        return strcmp(method, "system.listMethods") == 0;
    if (m->kind != XAPI_CUSTOM)
        return m->kind != XAPI_ADD && m->kind != XAPI_CREATE && m->kind != XAPI_DESTROY;
    const char *const verb = strchr(method, '.') + 1;
    for (size_t i = 0; i < XK_COUNT(verbs); i++)
        if (xk_has_prefix(verb, verbs[i]))
            return true;
    return strcmp(method, "event.from") == 0 || strcmp(method, "session.logout") == 0 ||
           strcmp(method, "task.cancel") == 0;
}

static bool takes_session(const struct xapi_message *m, const char *method)
{
    return m ? (m->flags & XAPI_MESSAGE_SESSION) != 0 : strcmp(method, "system.listMethods") != 0;
}

/* Whether the session that we had is over by our own word. */
static void note_logout(struct client *c, const struct xapi_message *m)
{
    if (m && c->session &&
        (strcmp(xapi_text(m->name), "session.logout") == 0 || strcmp(xapi_text(m->name), "session.local_logout") == 0))
        client_session_over(c);
}

struct tries {
    unsigned lost, logins, followed, back;
};

/* What the pool refused may work at another place, or with another session. returns   1: try again; or as the call. */
static int after_refusal(struct client *c, struct tries *tries, const struct xapi_reply *reply, const char *method,
                         bool with_session, struct xk_err *err)
{
    if (client_failed_with(reply, "SESSION_INVALID") && with_session && c->session && !c->cleaning && !c->borrowed &&
        !c->beside && tries->logins++ < LOGINS_MAX) {
        xk_log(c->app->log, XK_LOG_INFO, "the session has ended at %s; logging in again", c->url);
        client_session_lost(c);
        return 1;
    }
    if (client_failed_with(reply, "HOST_IS_SLAVE") && !c->access.emergency && !c->beside &&
        tries->followed++ < FOLLOWED_MAX) {
        const int code = client_follow(c, reply, err);
        return code < 0 ? code : 1;
    }
    return client_fail(c, method, &reply->value, err);
}

/* The same for what did not get through. */
static int after_loss(struct client *c, struct tries *tries, int code, bool harmless, struct xk_err *err)
{
    const bool sent = http_client_sent(c->http);

    if (is_lost(code) && (harmless || !sent) && tries->lost++ < LOST_MAX)
        return 1;
    /* A master that is gone: the host that was named may know the new one. */
    if (is_unreachable(code) && !sent && strcmp(c->now.host, c->named.host) != 0 && tries->back++ == 0) {
        c->has_vouched = false;
        return client_go(c, &c->named, err) < 0 ? code : 1;
    }
    if (sent && !harmless && (is_lost(code) || code == -ETIMEDOUT || code == -EINTR))
        xk_err_hint(err, "it had been sent: it may have been done or not; look before doing it again");
    return code;
}

int client_send(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *method,
                const struct xapi_message *message, const struct xapi_value *args, size_t count, uint64_t extra_ns,
                struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena scratch = XK_ARENA_INIT(ARGS_BYTES_MAX);
    const bool with_session = takes_session(message, method), harmless = is_harmless(message, method);
    struct xapi_value params[ARGS_MAX + 1];
    struct xapi_reply reply = {0};
    struct tries tries = {0};
    int code = 1;

    if (count)
        memcpy(params + 1, args, count * sizeof(*params));
    c->failed = false;
    while (code > 0) {
        code = with_session ? client_login(c, err) : 0;
        if (code < 0)
            return code;
        if (with_session)
            params[0] = xapi_str(c->session);
        if (c->in_turns && tries.logins > 0) { /* does the pool take the new session? That is known at once. */
            params[count] = xapi_real(0);
            extra_ns = 0;
        }
        const struct client_post post = {.method = method,
                                         .params = with_session ? params : params + 1,
                                         .count = count + with_session,
                                         .extra_ns = extra_ns,
                                         .ask_thumbprint = c->session_kept && c->now.tls && !c->socket_path,
                                         .finish = xk_has_prefix(method, "Async.")};
        code = client_post(c, &reply, arena ? arena : &scratch, &post, err);
        if (code < 0)
            code = after_loss(c, &tries, code, harmless, err);
        else if (reply.failed)
            code = after_refusal(c, &tries, &reply, method, with_session, err);
    }
    if (code < 0)
        return code;
    xk_err_clear(err); /* of a try that did not get through */
    note_logout(c, message);
    if (ret)
        *ret = reply.value;
    return 0;
}

/* How long the server was asked to wait before it answers. */
static uint64_t asked_wait_ns(const struct xapi_message *m, const struct xapi_value *args, size_t count)
{
    const bool waits = m && strcmp(xapi_text(m->name), "event.from") == 0 && count == 3;

    return waits && args[2].real > 0 && args[2].real < WAIT_S_MAX ? (uint64_t)(args[2].real * (double)XK_NS_PER_S) : 0;
}

int client_call(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *message,
                const struct xapi_value *args, size_t count, struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena scratch = XK_ARENA_INIT(ARGS_BYTES_MAX);
    const bool async = xk_has_prefix(message, "Async.");
    const struct xapi_message *const m = xapi_message_find(async ? message + strlen("Async.") : message);
    struct xapi_value checked[ARGS_MAX];

    if (count > ARGS_MAX)
        return xk_fail(err, -E2BIG, "%s: no message takes %zu arguments", message, count);
    if (m) {
        const int code = xapi_args_check(checked, &scratch, m, args, count, err);
        if (code < 0)
            return code;
    }
    const int code =
        client_send(c, ret, arena, message, m, m ? checked : args, count, asked_wait_ns(m, checked, count), err);
    if (code == 0 && ret && m && !async)
        xapi_settle(ret, m->result);
    return code;
}

int client_call_as(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *session,
                   const char *message, const struct xapi_value *args, size_t count, struct xk_err *err)
{
    char *const own = c->session, *const other = xk_strdup(session);
    const bool kept = c->session_kept;

    if (!other)
        return xk_fail_memory(err);
    c->session = other;
    c->session_kept = false;
    c->borrowed = true;
    const int code = client_call(c, ret, arena, message, args, count, err);
    free(c->session); /* NULL when that was its logout */
    c->session = own;
    c->session_kept = kept;
    c->borrowed = false;
    return code;
}

int client_ask(struct client *c, struct xapi_value *ret, struct xk_arena *arena, struct xk_err *err,
               const char *message, const char *types, ...)
{
    struct xapi_value params[ARGS_MAX];
    size_t count = 0;
    va_list args;

    va_start(args, types);
    for (const char *type = types; *type && count < ARGS_MAX; type++)
        params[count++] = *type == 's'   ? xapi_str(va_arg(args, const char *))
                          : *type == 'b' ? xapi_bool(va_arg(args, int))
                          : *type == 'i' ? xapi_int(va_arg(args, int64_t))
                          : *type == 'd' ? xapi_real(va_arg(args, double))
                                         : *va_arg(args, const struct xapi_value *);
    va_end(args);
    return client_call(c, ret, arena, message, params, count, err);
}

/* ---- events ---- */

static int take_token(char token[CLIENT_TOKEN_BYTES], const struct xapi_value *reply, struct xk_err *err)
{
    const struct xapi_value *const v = xapi_map_get(reply, "token");

    if (!v || v->shape != XAPI_TEXT || v->count >= CLIENT_TOKEN_BYTES)
        return xk_fail(err, -EPROTO, "event.from: the reply has no token");
    memcpy(token, v->text, (size_t)v->count + 1);
    return 0;
}

static void settle_event(struct xapi_value *event)
{
    const struct xapi_class *const class_row = xapi_class_find_any_case(xapi_value_text(xapi_map_get(event, "class")));
    struct xapi_value *const snapshot = (struct xapi_value *)xapi_map_get(event, "snapshot");

    if (class_row && snapshot)
        xapi_settle_record(snapshot, class_row);
}

int client_events(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *const *classes,
                  size_t count, char token[CLIENT_TOKEN_BYTES], uint64_t wait_ns, struct xk_err *err)
{
    struct xapi_value *const names = xk_arena_alloc(arena, count * sizeof(*names));
    struct xapi_value reply;

    if (!names)
        return xk_fail_memory(err);
    for (size_t i = 0; i < count; i++)
        names[i] = xapi_str(classes[i]);
    const struct xapi_value args[] = {xapi_list(names, count), xapi_str(token),
                                      xapi_real((double)wait_ns / (double)XK_NS_PER_S)};
    c->in_turns = true;
    int code = client_send(c, &reply, arena, "event.from", xapi_message_find("event.from"), args, XK_COUNT(args),
                           wait_ns, err);
    c->in_turns = false;
    if (code == 0)
        code = take_token(token, &reply, err);
    if (code < 0)
        return code;
    const struct xapi_value *const events = xapi_map_get(&reply, "events");
    if (!events || events->shape != XAPI_LIST)
        return xk_fail(err, -EPROTO, "event.from: the reply has no events");
    for (size_t i = 0; i < events->count; i++)
        settle_event((struct xapi_value *)&events->items[i]);
    *ret = *events;
    return 0;
}
