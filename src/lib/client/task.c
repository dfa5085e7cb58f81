/*
 * Long messages: called as a task, which is watched until it ends, and removed.
 *
 * event.from is asked about that one task, so that its end is known at once; where it does not exist, or says nothing,
 * the task's record is read instead. A deadline or a stop cancels the task and then waits for it to end: to walk away
 * from a running copy would leave it to fill the storage with nobody to tell. Only a task that does not want to end is
 * left alone, and named.
 */
#include "lib/client/inner.h"

#include "lib/xapi/args.h"

#include <string.h>

#define WAIT_NS          (30 * XK_NS_PER_S)   /* one event.from */
#define FIRST_WAIT_NS    (5 * XK_NS_PER_S)    /* the first, and those after a cancel */
#define POLL_NS_MIN      (100 * XK_NS_PER_MS) /* where there are no events */
#define POLL_NS_MAX      (2 * XK_NS_PER_S)
#define GRACE_NS         (60 * XK_NS_PER_S) /* for a cancelled task to end */
#define AWAY_NS          (60 * XK_NS_PER_S) /* how long the pool may be away while a task runs */
#define AWAY_LOOK_NS     XK_NS_PER_S
#define TURN_BYTES_MAX   (64u << 20)
#define CLASS_BYTES      256
#define RESULT_BYTES_MAX (16u << 20)

struct watching {
    struct client *c;
    const char *task;
    const struct client_watch *asked;
    char class_name[CLASS_BYTES]; /* "task/OpaqueRef:…" */
    char token[CLIENT_TOKEN_BYTES];
    char name[128]; /* the message that the task is of, "VM.copy", or the task's own */
    uint64_t deadline_ns, grace_ns, away_ns, poll_ns;
    int cancelled; /* -ETIMEDOUT or -EINTR: why we cancelled it */
    bool polls, seen;
    double shown;
};

static uint64_t now_ns(const struct watching *w)
{
    return w->c->app->clock->monotonic_ns(w->c->app->clock);
}

static void rest(const struct watching *w, uint64_t ns)
{
    w->c->app->clock->sleep_ns(w->c->app->clock, ns);
}

/* ---- looking ---- */

/* returns   1 with the record; negative errno values. */
static int look(struct watching *w, struct xapi_value *ret, struct xk_arena *arena, struct xk_err *err)
{
    const int code = client_ask(w->c, ret, arena, err, "task.get_record", "s", w->task);
    const struct client_failure *const failure = client_failure(w->c);

    if (code == -EREMOTEIO && failure && strcmp(failure->code, "HANDLE_INVALID") == 0)
        return xk_fail(err, code, "%s: its task is gone from the pool before its end was seen",
                       *w->name ? w->name : "waiting");
    return code < 0 ? code : 1;
}

static uint64_t wait_of(const struct watching *w)
{
    uint64_t wait_ns = w->seen && !w->cancelled ? WAIT_NS : FIRST_WAIT_NS;
    const uint64_t now = now_ns(w), until_ns = w->cancelled ? w->grace_ns : w->deadline_ns;

    if (until_ns != RESOLVE_NO_DEADLINE)
        wait_ns = XK_MIN(wait_ns, until_ns > now ? until_ns - now : 1);
    return wait_ns;
}

/* Events are not what this server, or this user, has. */
static bool is_refusal_of_events(const struct client *c)
{
    static const char *const codes[] = {"MESSAGE_METHOD_UNKNOWN",
                                        "MESSAGE_REMOVED",
                                        "MESSAGE_DEPRECATED",
                                        "NOT_IMPLEMENTED",
                                        "RBAC_PERMISSION_DENIED",
                                        "INTERNAL_ERROR",
                                        "MESSAGE_PARAMETER_COUNT_MISMATCH",
                                        "EVENT_FROM_TOKEN_PARSE_FAILURE"};
    const struct client_failure *const failure = client_failure(c);

    for (size_t i = 0; failure && i < XK_COUNT(codes); i++)
        if (strcmp(failure->code, codes[i]) == 0)
            return true;
    return false;
}

/* returns   1 with the newest record; 0: nothing happened; negative errno values. */
static int wait_for_event(struct watching *w, struct xapi_value *ret, struct xk_arena *arena, struct xk_err *err)
{
    const char *const classes[] = {w->class_name};
    struct xapi_value events;

    const int code = client_events(w->c, &events, arena, classes, 1, w->token, wait_of(w), err);
    if (code == -EREMOTEIO && is_refusal_of_events(w->c)) {
        w->polls = true;
        return look(w, ret, arena, err);
    }
    if (code < 0)
        return code;
    for (size_t i = events.count; i-- > 0;) {
        const struct xapi_value *const event = &events.items[i], *const snapshot = xapi_map_get(event, "snapshot");
        if (strcmp(xapi_value_text(xapi_map_get(event, "ref")), w->task) != 0)
            continue;
        if (!snapshot)
            return look(w, ret, arena, err); /* removed, most likely: this says so */
        *ret = *snapshot;
        return 1;
    }
    return events.count ? 0 : look(w, ret, arena, err);
}

static int poll_task(struct watching *w, struct xapi_value *ret, struct xk_arena *arena, struct xk_err *err)
{
    if (w->seen) {
        rest(w, XK_MIN(w->poll_ns, wait_of(w)));
        w->poll_ns = XK_MIN(w->poll_ns * 2, POLL_NS_MAX);
    }
    if (!w->c->cleaning && xk_stop_signal())
        return xk_fail(err, -EINTR, "watching a task: stopped");
    return look(w, ret, arena, err);
}

/* ---- ending ---- */

static void cancel(struct watching *w, int why)
{
    struct client *const c = w->c;
    struct xk_err err = {0};

    w->cancelled = why;
    w->grace_ns = now_ns(w) + (w->asked && w->asked->grace_ns ? w->asked->grace_ns : GRACE_NS);
    c->cleaning = true;
    xk_log(c->app->log, XK_LOG_WARN, "%s: %s; cancelling its task", w->name,
           why == -EINTR ? "a stop was asked for" : "it takes too long");
    if (client_ask(c, NULL, NULL, &err, "task.cancel", "s", w->task) < 0)
        xk_log(c->app->log, XK_LOG_WARN, "%s", err.text);
}

/* The XML value that a task's result is. */
static int read_result(struct xapi_value *ret, struct xk_arena *arena, const struct xapi_value *record,
                       struct xk_err *err)
{
    static const char before[] = "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member>"
                                 "<name>Status</name><value>Success</value></member><member><name>Value</name>",
                      after[] = "</member></struct></value></param></params></methodResponse>";
    const char *const text = xapi_value_text(xapi_map_get(record, "result"));
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(RESULT_BYTES_MAX);
    struct xapi_reply reply;

    *ret = xapi_nil();
    if (!*text)
        return 0;
    if (strncmp(text, "<value", 6) != 0) {
        *ret = xapi_str(text);
        return 0;
    }
    xk_buf_add_str(&b, before);
    xk_buf_add_str(&b, text);
    xk_buf_add_str(&b, after);
    if (b.error)
        return xk_fail(err, b.error, "the result of a task is too large");
    const int code = xapi_reply_decode(&reply, arena, false, b.data, b.len, err);
    if (code == 0)
        *ret = reply.value;
    return code;
}

static int take_result(struct watching *w, struct xapi_value *ret, struct xk_arena *arena,
                       const struct xapi_value *record, struct xk_err *err)
{
    const struct xapi_message *const m = xapi_message_find(w->name);
    struct xapi_value v;

    if (!ret)
        return 0;
    const int code = read_result(&v, arena, record, err);
    if (code < 0)
        return code;
    if (m)
        xapi_settle(&v, m->result);
    *ret = v;
    return 0;
}

static int say_cancelled(struct watching *w, struct xk_err *err)
{
    static const struct xapi_value texts[] = {{.shape = XAPI_TEXT, .count = 14, .text = "TASK_CANCELLED"},
                                              {.shape = XAPI_TEXT, .count = 0, .text = ""}};
    struct xapi_value list = xapi_list(texts, 1);

    if (w->cancelled)
        return xk_fail(err, w->cancelled, "%s: %s, and its task was cancelled", w->name,
                       w->cancelled == -EINTR ? "a stop was asked for" : "it was not done in time");
    return client_fail(w->c, w->name, &list, err);
}

/* The task has ended, as `record` tells. */
static int conclude(struct watching *w, struct xapi_value *ret, struct xk_arena *arena, const struct xapi_value *record,
                    struct xk_err *err)
{
    const char *const status = xapi_value_text(xapi_map_get(record, "status"));
    const struct xapi_value *const info = xapi_map_get(record, "error_info");
    int code = 0;

    if (strcmp(status, "success") == 0)
        code = take_result(w, ret, arena, record, err);
    else if (strcmp(status, "cancelled") == 0)
        code = say_cancelled(w, err);
    else if (info && info->shape == XAPI_LIST && info->count)
        code = w->cancelled && strcmp(xapi_value_text(&info->items[0]), "TASK_CANCELLED") == 0
                   ? say_cancelled(w, err)
                   : client_fail(w->c, w->name, info, err);
    else
        code = xk_fail(err, -EREMOTEIO, "%s: its task failed without saying why", w->name);
    const struct client_failure failure = w->c->failure;
    const bool failed = w->c->failed;
    w->c->cleaning = true;
    (void)client_ask(w->c, NULL, NULL, NULL, "task.destroy", "s", w->task);
    w->c->failed = failed; /* whether that worked is nobody's concern */
    w->c->failure = failure;
    return code;
}

static bool has_ended(struct watching *w, const struct xapi_value *record)
{
    const char *const status = xapi_value_text(xapi_map_get(record, "status"));
    const struct xapi_value *const progress = xapi_map_get(record, "progress");

    w->seen = true;
    const char *const label = xapi_value_text(xapi_map_get(record, "name_label"));
    snprintf(w->name, sizeof(w->name), "%.*s", (int)sizeof(w->name) - 1,
             label + 6 * (strncmp(label, "Async.", 6) == 0));
    if (progress && progress->shape == XAPI_REAL && progress->real != w->shown && w->asked && w->asked->progress) {
        w->shown = progress->real;
        w->asked->progress(w->asked->context, w->shown);
    }
    return strcmp(status, "success") == 0 || strcmp(status, "failure") == 0 || strcmp(status, "cancelled") == 0;
}

static int give_up(struct watching *w, struct xk_err *err)
{
    char uuid[64] = "";
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(TURN_BYTES_MAX);
    struct xapi_value v;

    if (client_ask(w->c, &v, &arena, NULL, "task.get_uuid", "s", w->task) == 0)
        snprintf(uuid, sizeof(uuid), "%.60s", xapi_value_text(&v));
    (void)xk_fail(err, w->cancelled, "%s: %s, and its task does not end although it was cancelled", w->name,
                  w->cancelled == -EINTR ? "a stop was asked for" : "it was not done in time");
    xk_err_hint(err, "it goes on in the pool as the task with the uuid %s", uuid);
    return w->cancelled;
}

/* A pool that is away for a moment is waited for: its tasks go on. returns   0: look again; or code. */
static int wait_for_pool(struct watching *w, int code)
{
    const bool away = code == -ECONNRESET || code == -ECONNREFUSED || code == -ETIMEDOUT || code == -EHOSTUNREACH;

    if (!away || (w->away_ns && now_ns(w) - w->away_ns > AWAY_NS) || w->cancelled)
        return code;
    if (!w->away_ns)
        w->away_ns = now_ns(w);
    rest(w, AWAY_LOOK_NS);
    return 0;
}

static int watch_task(struct watching *w, struct xapi_value *ret, struct xk_arena *arena, struct xk_err *err)
{
    for (;;) {
        xk_auto(xk_arena_done) struct xk_arena turn = XK_ARENA_INIT(TURN_BYTES_MAX);
        struct xapi_value record;
        int code = w->polls ? poll_task(w, &record, &turn, err) : wait_for_event(w, &record, &turn, err);
        if (code == 1 && has_ended(w, &record))
            return conclude(w, ret, arena, &record, err);
        if (code == -EINTR && !w->cancelled) {
            cancel(w, -EINTR);
            continue;
        }
        if (code >= 0)
            w->away_ns = 0;
        else if (wait_for_pool(w, code) < 0)
            return code;
        if (!w->cancelled && now_ns(w) >= w->deadline_ns)
            cancel(w, -ETIMEDOUT);
        else if (w->cancelled && now_ns(w) >= w->grace_ns)
            return give_up(w, err);
    }
}

int client_await(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *task,
                 const struct client_watch *watch, struct xk_err *err)
{
    struct watching w = {
        .c = c,
        .task = task,
        .asked = watch,
        .deadline_ns = resolve_deadline(c->app->clock, watch ? watch->deadline_ns : 0),
        .poll_ns = POLL_NS_MIN,
        .name = "a task",
        .shown = -1,
    };
    const bool cleaning = c->cleaning;

    snprintf(w.class_name, sizeof(w.class_name), "task/%.*s", CLASS_BYTES - 8, task);
    const int code = watch_task(&w, ret, arena, err);
    c->cleaning = cleaning;
    if (code == 0)
        xk_err_clear(err); /* of a look that did not get through */
    return code;
}

int client_run(struct client *c, struct xapi_value *ret, struct xk_arena *arena, const char *message,
               const struct xapi_value *args, size_t count, const struct client_watch *watch, struct xk_err *err)
{
    const struct xapi_message *const m = xapi_message_find(message);
    xk_auto(xk_arena_done) struct xk_arena own = XK_ARENA_INIT(TURN_BYTES_MAX);
    char async[128];
    struct xapi_value task;

    if (!m || !(m->flags & XAPI_MESSAGE_ASYNC))
        return client_call(c, ret, arena, message, args, count, err);
    snprintf(async, sizeof(async), "Async.%s", xapi_text(m->name));
    const int code = client_call(c, &task, &own, async, args, count, err);
    return code < 0 ? code : client_await(c, ret, arena, xapi_value_text(&task), watch, err);
}
