/*
 * event.from and its kin.
 *
 * Every change takes the next generation, and objects stand in a list by the generation of their last change. What is
 * new since a token is read from that list's newest end, so a call costs what happened, not what there is. A call with
 * nothing to tell waits in pool->waiting; all of them look again once for each turn of the loop that changed something.
 */
#include "lib/simpool/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_S_MAX 86400.0
#define TOKEN_DIGITS  20

/* ---- subscriptions ---- */

/* "*", "vm", "VM/OpaqueRef:…": a flag for each class that is meant. A single object counts as its class. */
static bool subscribe(struct sim_call *c, const struct xapi_value *classes, uint8_t *wanted, const char **ret_wrong)
{
    for (size_t i = 0; i < classes->count; i++) {
        const char *const word = xapi_value_text(&classes->items[i]), *const slash = strchr(word, '/');
        char name[128];
        snprintf(name, sizeof(name), "%.*s", slash ? (int)XK_MIN(slash - word, 127L) : 127, word);
        if (strcmp(name, "*") == 0) {
            memset(wanted, 1, xapi_class_count);
            continue;
        }
        const struct xapi_class *const row = xapi_class_find_any_case(name);
        if (!row) { /* a class of another release: nothing will ever come of it */
            if (!*name) {
                *ret_wrong = word;
                return false;
            }
            continue;
        }
        wanted[xapi_class_index(row)] |= slash ? 2 : 1;
    }
    return true;
}

/* A whole class, or this object of it. */
static bool is_wanted(const struct sim_call *c, const struct xapi_class *row, const char *ref)
{
    const uint8_t flag = c->wanted[xapi_class_index(row)];

    if (!(row->flags & XAPI_CLASS_EVENTS) || strcmp(xapi_text(row->name), "session") == 0 || !flag)
        return false;
    if (flag & 1)
        return true;
    const struct xapi_value *const classes = &c->args[0];
    for (size_t i = 0; i < classes->count; i++) {
        const char *const slash = strchr(xapi_value_text(&classes->items[i]), '/');
        if (slash && strcmp(slash + 1, ref) == 0)
            return true;
    }
    return false;
}

/* ---- what is new ---- */

static void put_event(struct xapi_build *b, const struct xapi_class *row, const char *operation, const char *ref,
                      uint64_t id, const struct xapi_raw *record)
{
    char number[24];

    snprintf(number, sizeof(number), "%llu", (unsigned long long)id);
    xapi_build_open(b, XAPI_MAP);
    xapi_build_value(b, xapi_str("id"));
    xapi_build_text(b, number);
    xapi_build_value(b, xapi_str("timestamp"));
    xapi_build_value(b, xapi_str("0.0"));
    xapi_build_value(b, xapi_str("class"));
    xapi_build_value(b, xapi_str(xapi_text(row->lower)));
    xapi_build_value(b, xapi_str("operation"));
    xapi_build_value(b, xapi_str(operation));
    xapi_build_value(b, xapi_str("ref"));
    xapi_build_text(b, ref);
    if (record) {
        xapi_build_value(b, xapi_str("snapshot"));
        xapi_build_value(b, (struct xapi_value){.shape = XAPI_RAW, .raw = record});
    }
    xapi_build_close(b);
}

static size_t put_changes(struct sim_call *c, struct xapi_build *b)
{
    const struct simpool *const p = c->pool;
    const uint64_t first = p->deleted_count > SIM_DELETED_MAX ? p->deleted_count - SIM_DELETED_MAX : 0;
    size_t count = 0;

    for (uint64_t i = first; i < p->deleted_count; i++) {
        const struct sim_deleted *const d = &p->deleted[i % SIM_DELETED_MAX];
        /* An object that came and went since the token was never seen. */
        if (d->deleted <= c->token || d->created > c->token || !is_wanted(c, d->class_row, d->ref))
            continue;
        put_event(b, d->class_row, "del", d->ref, d->deleted, NULL);
        count++;
    }
    /* From the newest to the one that was known, then told in the order in which they changed. */
    struct sim_object *o = p->newest;
    while (o && o->older && o->older->modified > c->token)
        o = o->older;
    for (; o; o = o->newer) {
        struct xapi_raw *const record = o->modified > c->token && is_wanted(c, o->class_row, o->ref)
                                            ? xk_arena_alloc(&c->arena, sizeof(*record))
                                            : NULL;
        if (!record)
            continue;
        if (sim_record(record, o) < 0)
            b->error = -ENOMEM;
        put_event(b, o->class_row, o->created > c->token ? "add" : "mod", o->ref, o->modified, record);
        count++;
    }
    return count;
}

static char *token_text(struct sim_call *c, uint64_t generation)
{
    return xk_arena_printf(&c->arena, "%020llu,%020llu", (unsigned long long)generation, 0ULL);
}

/* Fill the result. returns whether there is something to tell. */
static bool look(struct sim_call *c, bool even_when_empty, enum sim_outcome *ret)
{
    struct simpool *const p = c->pool;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_MAP);
    xapi_build_value(&b, xapi_str("events"));
    xapi_build_open(&b, XAPI_LIST);
    const size_t count = put_changes(c, &b);
    xapi_build_close(&b);
    if (count == 0 && !even_when_empty && !b.error)
        return false;
    xapi_build_value(&b, xapi_str("valid_ref_counts"));
    xapi_build_open(&b, XAPI_MAP);
    for (unsigned i = 0; i < xapi_class_count; i++) {
        const struct xapi_class *const row = &xapi_classes[i];
        if (!c->wanted[i] || !(row->flags & XAPI_CLASS_EVENTS) || strcmp(xapi_text(row->name), "session") == 0)
            continue;
        xapi_build_value(&b, xapi_str(xapi_text(row->lower)));
        xapi_build_value(&b, (struct xapi_value){.shape = XAPI_INT32, .integer = p->classes[i].count});
    }
    xapi_build_close(&b);
    xapi_build_value(&b, xapi_str("token"));
    const char *const token = token_text(c, p->generation);
    xapi_build_value(&b, xapi_str(token ? token : ""));
    xapi_build_close(&b);
    *ret = token && xapi_build_end(&b, &c->result) == 0 ? SIM_DONE : sim_no_memory(c);
    return true;
}

/* ---- waiting ---- */

static void on_timeout(evutil_socket_t fd, short what, void *context)
{
    struct sim_call *const c = context;
    enum sim_outcome outcome;

    (void)look(c, true, &outcome);
    sim_answer(c, outcome);
}

static void on_wake(evutil_socket_t fd, short what, void *pool)
{
    struct simpool *const p = pool;

    for (struct sim_call *c = p->waiting, *next; c; c = next) {
        enum sim_outcome outcome;
        next = c->next;
        if (look(c, false, &outcome))
            sim_answer(c, outcome);
    }
}

void sim_events_wake(struct simpool *p)
{
    const struct timeval now = {0};

    if (!p->waiting)
        return;
    if (!p->wake && (p->wake = evtimer_new(p->base, on_wake, p)) == NULL)
        return; /* without memory they learn of it at their timeouts */
    if (!evtimer_pending(p->wake, NULL))
        (void)event_add(p->wake, &now);
}

void sim_events_closed(struct simpool *p, const char *session_ref)
{
    for (struct sim_call *c = p->waiting, *next; c; c = next) {
        next = c->next;
        if (strcmp(c->session_ref, session_ref) == 0)
            sim_answer(c, sim_fail(c, "SESSION_INVALID", session_ref, NULL));
    }
}

/* ---- messages ---- */

static bool token_parse(uint64_t *ret, const char *token)
{
    char *end;

    *ret = 0;
    if (*token == '\0')
        return true;
    if (strspn(token, "0123456789") == 0 || strlen(token) > 2 * TOKEN_DIGITS + 1)
        return false;
    *ret = strtoull(token, &end, 10);
    return *end == ',' && strspn(end + 1, "0123456789") == strlen(end + 1) && end[1];
}

static enum sim_outcome from(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const double timeout_s = c->args[2].real;
    const char *wrong = NULL;
    enum sim_outcome outcome;

    if (!token_parse(&c->token, sim_arg_text(c, 1)))
        return sim_fail(c, "EVENT_FROM_TOKEN_PARSE_FAILURE", sim_arg_text(c, 1), NULL);
    c->wanted = xk_zalloc(xapi_class_count);
    if (!c->wanted)
        return sim_no_memory(c);
    if (!subscribe(c, &c->args[0], c->wanted, &wrong))
        return sim_fail(c, "EVENT_SUBSCRIPTION_PARSE_FAILURE", wrong, NULL);
    if (look(c, !(timeout_s > 0), &outcome))
        return outcome;
    /* What was already looked through need not be again. */
    c->token = XK_MAX(c->token, p->generation);
    const double wait_s = XK_MIN(timeout_s, TIMEOUT_S_MAX);
    const struct timeval delay = sim_delay(p, (uint64_t)(wait_s * 1e9));
    c->timer = evtimer_new(p->base, on_timeout, c);
    if (!c->timer || event_add(c->timer, &delay) < 0)
        return sim_no_memory(c);
    c->next = p->waiting;
    c->link = &p->waiting;
    if (c->next)
        c->next->link = &c->next;
    p->waiting = c;
    return SIM_WORKING;
}

static enum sim_outcome inject(struct sim_call *c)
{
    const struct xapi_class *const row = xapi_class_find_any_case(sim_arg_text(c, 0));
    struct sim_object *const o = row ? sim_find(c->pool, sim_arg_text(c, 1), row) : NULL;

    if (!o)
        return sim_fail(c, "HANDLE_INVALID", sim_arg_text(c, 0), sim_arg_text(c, 1), NULL);
    const char *const token = token_text(c, c->pool->generation);
    if (!token)
        return sim_no_memory(c);
    sim_touch(c->pool, o);
    c->result = xapi_str(token);
    return SIM_DONE;
}

static enum sim_outcome current_id(struct sim_call *c)
{
    c->result = xapi_int((int64_t)c->pool->generation);
    return SIM_DONE;
}

const struct sim_row sim_event_rows[] = {
    {"event.from", from},
    {"event.inject", inject},
    {"event.get_current_id", current_id},
    {NULL, NULL},
};
