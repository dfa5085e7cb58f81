/*
 * The frame of every transfer: the task, the bytes in slices, cancelling, and one way to an end.
 *
 * One thread: a transfer is called when bytes came or have left, and does a slice of its work each time. Nothing here
 * knows what the bytes mean.
 *
 * Facts: xapi's xapi_http.ml (with_context), taskHelper.ml (2026-08).
 */
#include "lib/simpool/transfer.h"

#include "lib/simpool/state.h"

#include <arpa/inet.h>
#include <event2/buffer.h>

#define TELL_NS         (XK_NS_PER_S / 4) /* between two updates of the task, */
#define TELL_PARTS      64                /* unless that much of it was done */
#define CHUNKS          16                /* of what came, in one turn */
#define FAREWELL_SLICES 64                /* of work for what a client that is gone has left */

static struct sim_object *task_of(const struct sim_transfer *t)
{
    return sim_find(t->pool, t->task, xapi_class_find("task"));
}

/* ---- tasks ---- */

static void task_end(struct simpool *p, struct sim_object *task, const struct xapi_value *result,
                     const struct sim_error *error)
{
    const char *words[XK_COUNT(error->texts) + 1] = {NULL};
    struct xk_buf text = XK_BUF_INIT(SIM_CALL_BYTES_MAX);

    if (!task || sim_task_is_over(task))
        return;
    for (unsigned i = 0; error && i < error->count; i++)
        words[i] = error->texts[i];
    if (result)
        xapi_xml_value(&text, result);
    sim_put_list(p, task, "allowed_operations", (const char *const[]){NULL});
    sim_put_list(p, task, "error_info", words);
    sim_put_real(p, task, "progress", 1);
    sim_put_time(p, task, "finished", sim_now_s(p));
    sim_put_text(p, task, "result", xk_buf_str(&text));
    sim_put_text(p, task, "status",
                 !error                                        ? "success"
                 : sim_same(error->texts[0], "TASK_CANCELLED") ? "cancelled"
                                                               : "failure");
    xk_buf_done(&text);
}

static struct sim_object *task_named(struct simpool *p, const struct http_exchange *x)
{
    char ref[SIM_REF_BYTES];

    return sim_http_param(x, "task_id", ref, sizeof(ref)) ? sim_find(p, ref, xapi_class_find("task")) : NULL;
}

void sim_request_fail(struct simpool *p, struct http_exchange *x, unsigned status, const struct sim_error *error)
{
    task_end(p, task_named(p, x), NULL, error);
    (void)sim_state_flush(p, NULL);
    http_refuse(x, status);
}

void sim_request_answer(struct simpool *p, struct http_exchange *x, const struct http_reply *head, struct xk_buf *body)
{
    task_end(p, task_named(p, x), NULL, NULL);
    (void)sim_state_flush(p, NULL);
    http_reply(x, head, body);
}

/* ---- a life ---- */

static void transfer_free(struct sim_transfer *t)
{
    if (t->next)
        t->next->link = t->link;
    *t->link = t->next;
    if (t->again)
        event_free(t->again);
    t->kind->free(t);
}

/* Its task knows how it ended: so does, from now on, whoever asks. */
static enum sim_transfer_step finish(struct sim_transfer *t, const struct xapi_value *result,
                                     const struct sim_error *error)
{
    struct simpool *const p = t->pool;

    if (error && t->kind->undo)
        t->kind->undo(t);
    t->over = true;
    task_end(p, task_of(t), result, error);
    if (t->kind->told)
        t->kind->told(t, result, error);
    (void)sim_state_flush(p, NULL);
    if (p->error)
        p->error = 0;
    return SIM_TRANSFER_OVER;
}

enum sim_transfer_step sim_transfer_succeed(struct sim_transfer *t, const struct xapi_value *result)
{
    return finish(t, result, NULL);
}

enum sim_transfer_step sim_transfer_fail(struct sim_transfer *t, const struct sim_error *error)
{
    return finish(t, NULL, error);
}

static void leave(struct sim_transfer *t)
{
    if (t->exchange)
        http_finish(t->exchange);
    transfer_free(t);
}

static void again(struct sim_transfer *t)
{
    const struct timeval now = {0};

    (void)event_add(t->again, &now);
}

/* One slice of taking. */
static enum sim_transfer_step take(struct sim_transfer *t)
{
    size_t taken = 0;
    size_t bytes = t->in ? evbuffer_get_contiguous_space(t->in) : 0;

    bytes = (size_t)XK_MIN((uint64_t)bytes, t->unread);
    const uint8_t *const at = bytes > 0 ? evbuffer_pullup(t->in, (ev_ssize_t)bytes) : NULL;
    enum sim_transfer_step step = t->kind->take(t, at ? at : (const uint8_t *)"", bytes, &taken);
    if (taken > 0)
        (void)evbuffer_drain(t->in, taken);
    if (t->unread != UINT64_MAX)
        t->unread -= taken;
    if (step == SIM_TRANSFER_MORE && t->unread == 0)
        step = t->kind->end(t);
    if (step == SIM_TRANSFER_MORE && t->in && evbuffer_get_length(t->in) > 0)
        return SIM_TRANSFER_AGAIN;
    return step;
}

static void work(struct sim_transfer *t)
{
    enum sim_transfer_step step = SIM_TRANSFER_AGAIN;

    for (unsigned i = 0; i < CHUNKS && step == SIM_TRANSFER_AGAIN; i++)
        step = t->kind->take ? take(t) : t->kind->send(t);
    if (step == SIM_TRANSFER_OVER)
        leave(t);
    else if (step == SIM_TRANSFER_AGAIN)
        again(t);
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
    work(context);
}

static void on_bytes(void *context, struct evbuffer *in)
{
    struct sim_transfer *const t = context;

    t->in = in;
    if (t->kind->take && !event_pending(t->again, EV_TIMEOUT, NULL))
        work(t);
    else if (!t->kind->take)
        (void)evbuffer_drain(in, evbuffer_get_length(in));
}

static void on_room(void *context)
{
    struct sim_transfer *const t = context;

    if (t->kind->send)
        work(t);
}

/* What had arrived still counts: clients close the connection behind their last byte. */
static void on_gone(void *context)
{
    struct sim_transfer *const t = context;
    enum sim_transfer_step step = SIM_TRANSFER_AGAIN;
    struct sim_error error;

    t->gone = true;
    for (unsigned i = 0; t->kind->take && step == SIM_TRANSFER_AGAIN && i < FAREWELL_SLICES; i++)
        step = take(t);
    if (t->kind->take && step == SIM_TRANSFER_MORE)
        step = t->kind->end(t);
    if (step != SIM_TRANSFER_OVER) {
        sim_error_set(&error, "CLIENT_ERROR", "the client closed the connection", NULL);
        (void)sim_transfer_fail(t, &error);
    }
    t->exchange = NULL;
    transfer_free(t);
}

bool sim_transfer_begin_for(struct sim_transfer *t, struct simpool *p, const struct sim_object *task,
                            const struct sim_transfer_kind *kind)
{
    t->again = evtimer_new(p->base, on_again, t);
    if (!t->again)
        return false;
    t->pool = p;
    t->kind = kind;
    t->unread = UINT64_MAX;
    t->next = p->transfers;
    t->link = &p->transfers;
    if (t->next)
        t->next->link = &t->next;
    p->transfers = t;
    if (task)
        memcpy(t->task, task->ref, sizeof(t->task));
    return true;
}

bool sim_transfer_begin(struct sim_transfer *t, struct simpool *p, struct http_exchange *x,
                        const struct sim_transfer_kind *kind)
{
    const struct sim_object *task = task_named(p, x);
    char ref[SIM_REF_BYTES];

    if (!task && kind->label)
        task = sim_task_create(p, kind->label,
                               sim_http_param(x, "session_id", ref, sizeof(ref)) ? sim_session_find(p, ref) : NULL);
    if ((!task && kind->label) || !sim_transfer_begin_for(t, p, task, kind)) {
        http_refuse(x, 500);
        kind->free(t);
        return false;
    }
    t->exchange = x;
    return true;
}

void sim_transfer_feed(struct sim_transfer *t, struct evbuffer *in, bool last)
{
    t->in = in;
    if (last)
        t->unread = evbuffer_get_length(in);
    if (!event_pending(t->again, EV_TIMEOUT, NULL))
        work(t);
}

void sim_transfer_stop(struct sim_transfer *t, const struct sim_error *error)
{
    (void)sim_transfer_fail(t, error);
    leave(t);
}

void sim_transfer_refuse(struct sim_transfer *t, unsigned status, const struct sim_error *error)
{
    struct http_exchange *const x = t->exchange;

    (void)sim_transfer_fail(t, error);
    t->exchange = NULL;
    transfer_free(t);
    http_refuse(x, status);
}

bool sim_transfer_accept(struct sim_transfer *t, const char *type, const char *headers)
{
    const struct http_raw raw = {.readable = on_bytes, .writable = on_room, .gone = on_gone, .context = t};
    struct xk_buf lines = XK_BUF_INIT(4096);
    struct sim_error error;

    xk_buf_add_str(&lines, "cache-control: no-cache, no-store\r\n");
    if (*t->task)
        xk_buf_printf(&lines, "task-id: %s\r\n", t->task);
    xk_buf_add_str(&lines, headers);
    const struct http_reply head = {.status = 200, .type = type, .headers = xk_buf_str(&lines)};
    const int64_t unread = http_unread(t->exchange);
    t->unread = unread < 0 ? UINT64_MAX : (uint64_t)unread;
    const bool head_only = sim_same(http_method(t->exchange), "HEAD");
    const int code = lines.error ? lines.error : http_stream(t->exchange, &head, &raw);
    xk_buf_done(&lines);
    if (code < 0) {
        sim_error_set(&error, "INTERNAL_ERROR", "Out_of_memory", NULL);
        sim_transfer_refuse(t, 500, &error);
        return false;
    }
    if (head_only) {
        (void)sim_transfer_succeed(t, NULL);
        leave(t);
        return false;
    }
    if (t->kind->take)
        http_expect(t->exchange, SIM_TRANSFER_IDLE_S);
    if (t->kind->take && t->unread == 0)
        again(t);
    return true;
}

enum sim_transfer_step sim_transfer_write(struct sim_transfer *t, const void *bytes, size_t count)
{
    struct sim_error error;

    if (http_write(t->exchange, bytes, count) == 0)
        return SIM_TRANSFER_MORE;
    sim_error_set(&error, "CLIENT_ERROR", "the client does not read", NULL);
    return sim_transfer_fail(t, &error);
}

void sim_transfer_progress(struct sim_transfer *t, uint64_t more)
{
    const uint64_t now = t->pool->settings.clock->monotonic_ns(t->pool->settings.clock);
    struct sim_object *const task = task_of(t);

    t->done += more;
    const bool soon = t->told_ns && now - t->told_ns < TELL_NS && t->done - t->told < t->total / TELL_PARTS;
    if (!task || soon || sim_task_is_over(task))
        return;
    t->told_ns = now;
    t->told = t->done;
    sim_put_real(t->pool, task, "progress", t->total ? XK_MIN((double)t->done / (double)t->total, 1.0) : 0);
}

void sim_transfer_cancellable(struct sim_transfer *t, bool can)
{
    struct sim_object *const task = task_of(t);

    t->cancellable = can;
    if (task && !sim_task_is_over(task))
        sim_put_list(t->pool, task, "allowed_operations", (const char *const[]){can ? "cancel" : NULL, NULL});
}

void sim_transfer_cancel(struct simpool *p, const char *task_ref)
{
    struct sim_transfer *t = p->transfers;
    struct sim_error error;

    while (t && !sim_same(t->task, task_ref))
        t = t->next;
    if (!t || !t->cancellable || t->over)
        return;
    sim_error_set(&error, "TASK_CANCELLED", task_ref, NULL);
    sim_transfer_stop(t, &error);
}

void sim_transfers_close(struct simpool *p)
{
    while (p->transfers) {
        struct sim_transfer *const t = p->transfers;
        struct sim_error error;
        sim_error_set(&error, "INTERNAL_ERROR", "the server ends", NULL);
        if (!t->over)
            (void)sim_transfer_fail(t, &error);
        if (t->exchange)
            http_on_gone(t->exchange, NULL, NULL);
        transfer_free(t);
    }
}

/* ---- what requests say ---- */

bool sim_request_says(const struct http_exchange *x, const char *name, bool otherwise)
{
    char word[16];

    return sim_http_param(x, name, word, sizeof(word)) ? sim_same(word, "true") : otherwise;
}

int sim_request_object(struct sim_object **ret, struct simpool *p, const struct http_exchange *x,
                       const char *class_name, const char *ref_param, const char *uuid_param,
                       struct sim_error *ret_error)
{
    const struct xapi_class *const row = xapi_class_find(class_name);
    char word[SIM_REF_BYTES];

    *ret = NULL;
    if (ref_param && (sim_http_param(x, ref_param, word, sizeof(word)) || *word)) {
        *ret = sim_find(p, word, row);
        sim_error_set(ret_error, "HANDLE_INVALID", class_name, word, NULL);
    } else if (uuid_param && (sim_http_param(x, uuid_param, word, sizeof(word)) || *word)) {
        *ret = sim_find_uuid(p, word, row);
        sim_error_set(ret_error, "UUID_INVALID", class_name, word, NULL);
    } else {
        return -ENOENT;
    }
    return *ret ? 0 : -EINVAL;
}

bool sim_request_moves(struct simpool *p, struct http_exchange *x, const struct sim_object *sr)
{
    struct xk_buf headers = XK_BUF_INIT(32u << 10);

    if (sim_host_sees_sr(p, sim_find(p, p->host_refs[http_tag(x)], NULL), sr->ref))
        return false;
    for (unsigned i = 0; i < p->settings.hosts; i++) {
        const struct sim_object *const host = sim_find(p, p->host_refs[i], NULL);
        if (!host || !sim_host_sees_sr(p, host, sr->ref))
            continue;
        xk_buf_printf(&headers, "Location: %s://%s:%u%s?%s\r\n", p->settings.tls ? "https" : "http",
                      resolve_url_text(resolve_host_text(&p->addresses[i]).s).s, resolve_port(&p->addresses[i]),
                      http_path(x), http_query(x));
        if (headers.error)
            http_refuse(x, 500);
        else
            http_refuse_with(x, 302, headers.data);
        xk_buf_done(&headers);
        return true;
    }
    return false;
}
