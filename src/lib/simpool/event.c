/*
 * event.from and its kin, and the older event.next.
 *
 * Every change takes the next generation, and objects stand in a list by the generation of their last change. What is
 * new since a token is read from that list's newest end, so a call costs what happened, not what there is. A call with
 * nothing to tell waits in pool->waiting; all of them look again once for each turn of the loop that changed something.
 *
 * event.next is the same with a token that the server keeps for each session. The real server queues copies of every
 * record instead, at most 10 MB of them; here their sizes are added up and thrown away, which is enough to know whose
 * events would be lost. Of several changes in one turn it tells the last one only.
 */
#include "lib/simpool/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_S_MAX     86400.0
#define TOKEN_DIGITS      20
#define QUEUE_BYTES_MAX   10000000 /* of the real server's queue */
#define EVENT_BYTES       150      /* of an event without its record */
#define SUBSCRIPTIONS_MAX 1024     /* of one session */
#define WHOLE_CLASS       1
#define SINGLE_OBJECTS    2

/* ---- subscriptions ---- */

/* "*", "vm", "VM/OpaqueRef:…". A class of another release is no error: nothing will ever come of it. */
static void mark(uint8_t *wanted, const char *word)
{
    const char *const slash = strchr(word, '/');
    char name[128];

    snprintf(name, sizeof(name), "%.*s", slash ? (int)XK_MIN(slash - word, 127L) : 127, word);
    if (strcmp(word, "*") == 0) {
        memset(wanted, WHOLE_CLASS, xapi_class_count);
        return;
    }
    const struct xapi_class *const row = xapi_class_find_any_case(name);
    if (row)
        wanted[xapi_class_index(row)] |= slash ? SINGLE_OBJECTS : WHOLE_CLASS;
}

static void mark_all(uint8_t *wanted, const struct xapi_value *words)
{
    memset(wanted, 0, xapi_class_count);
    for (size_t i = 0; i < words->count; i++)
        mark(wanted, xapi_value_text(&words->items[i]));
}

/* What a call waits for: words as its client said them, and the same as flags for each class. */
struct interest {
    const struct xapi_value *words;
    const uint8_t *wanted;
};

static bool is_wanted(const struct interest *in, const struct xapi_class *row, const char *ref)
{
    const uint8_t flag = in->wanted[xapi_class_index(row)];

    if (!(row->flags & XAPI_CLASS_EVENTS) || !flag)
        return false;
    if (flag & WHOLE_CLASS)
        return true;
    for (size_t i = 0; i < in->words->count; i++) {
        const char *const word = xapi_value_text(&in->words->items[i]), *const slash = strchr(word, '/');
        const char *const class = xapi_text(row->lower);
        if (slash && strcmp(slash + 1, ref) == 0 && strlen(class) == (size_t)(slash - word) &&
            strncasecmp(word, class, (size_t)(slash - word)) == 0)
            return true;
    }
    return false;
}

static const struct xapi_value *words_of_session(const struct sim_session *s)
{
    static const struct xapi_value none = {.shape = XAPI_LIST};

    return s->subscriptions ? &s->subscriptions->value : &none;
}

static struct interest interest_of(const struct sim_call *c)
{
    return (struct interest){.words = c->next_of ? words_of_session(c->next_of) : &c->args[0], .wanted = c->wanted};
}

/* ---- what is new ---- */

static void put_event(struct xapi_build *b, const struct xapi_class *row, const char *operation, const char *ref,
                      uint64_t id, const char *stamp, const struct xapi_raw *record)
{
    char number[24];

    snprintf(number, sizeof(number), "%llu", (unsigned long long)id);
    xapi_build_open(b, XAPI_MAP);
    xapi_build_value(b, xapi_str("id"));
    xapi_build_text(b, number);
    xapi_build_value(b, xapi_str("timestamp"));
    xapi_build_text(b, stamp);
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

static void put_object(struct sim_call *c, struct xapi_build *b, struct sim_object *o, const char *operation,
                       const char *stamp)
{
    struct xapi_raw *const record = xk_arena_alloc(&c->arena, sizeof(*record));

    if (!record || sim_record(record, o) < 0)
        b->error = -ENOMEM;
    else
        put_event(b, o->class_row, operation, o->ref, o->modified, stamp, record);
}

/* The oldest object that changed after the token. */
static struct sim_object *first_since(const struct simpool *p, uint64_t token)
{
    struct sim_object *o = p->newest;

    while (o && o->older && o->older->modified > token)
        o = o->older;
    return o && o->modified > token ? o : NULL;
}

/* The oldest deletion that is remembered. */
static uint64_t oldest_deleted(const struct simpool *p)
{
    return p->deleted_count > SIM_DELETED_MAX ? p->deleted_count - SIM_DELETED_MAX : 0;
}

/* The first deletion after the token. */
static uint64_t first_deleted(const struct simpool *p, uint64_t token)
{
    uint64_t i = p->deleted_count;

    while (i > oldest_deleted(p) && p->deleted[(i - 1) % SIM_DELETED_MAX].deleted > token)
        i--;
    return i;
}

static size_t put_changes(struct sim_call *c, struct xapi_build *b, const char *stamp)
{
    const struct simpool *const p = c->pool;
    const struct interest in = interest_of(c);
    struct sim_object *const first = first_since(p, c->token);
    size_t count = 0;

    /* What is new first, then what changed, then what is gone: the order of the real server. */
    for (int pass = 0; pass < 2; pass++)
        for (struct sim_object *o = first; o; o = o->newer)
            if ((o->created > c->token) == (pass == 0) && is_wanted(&in, o->class_row, o->ref)) {
                put_object(c, b, o, pass == 0 ? "add" : "mod", stamp);
                count++;
            }
    for (uint64_t i = first_deleted(p, c->token); i < p->deleted_count; i++) {
        const struct sim_deleted *const d = &p->deleted[i % SIM_DELETED_MAX];
        /* An object that came and went since the token was never seen. */
        if (d->created > c->token || !is_wanted(&in, d->class_row, d->ref))
            continue;
        put_event(b, d->class_row, "del", d->ref, d->deleted, stamp, NULL);
        count++;
    }
    return count;
}

static char *token_text(struct sim_call *c, uint64_t generation)
{
    return xk_arena_printf(&c->arena, "%020llu,%020llu", (unsigned long long)generation, 0ULL);
}

/* How many objects there are of every class, wanted or not. */
static void put_counts(const struct simpool *p, struct xapi_build *b)
{
    xapi_build_open(b, XAPI_MAP);
    for (unsigned i = 0; i < xapi_class_count; i++) {
        const struct xapi_class *const row = &xapi_classes[i];
        if (!(row->flags & XAPI_CLASS_DATABASE))
            continue;
        xapi_build_value(b, xapi_str(xapi_text(row->lower)));
        xapi_build_value(b, (struct xapi_value){.shape = XAPI_INT32, .integer = p->classes[i].count});
    }
    xapi_build_close(b);
}

/* Fill the result. returns whether there is something to tell. */
static bool look_from(struct sim_call *c, bool even_when_empty, enum sim_outcome *ret)
{
    struct simpool *const p = c->pool;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_MAP);
    xapi_build_value(&b, xapi_str("events"));
    xapi_build_open(&b, XAPI_LIST);
    const size_t count = put_changes(c, &b, "0.0");
    xapi_build_close(&b);
    if (count == 0 && !even_when_empty && !b.error)
        return false;
    xapi_build_value(&b, xapi_str("valid_ref_counts"));
    put_counts(p, &b);
    xapi_build_value(&b, xapi_str("token"));
    const char *const token = token_text(c, p->generation);
    xapi_build_value(&b, xapi_str(token ? token : ""));
    xapi_build_close(&b);
    *ret = token && xapi_build_end(&b, &c->result) == 0 ? SIM_DONE : sim_no_memory(c);
    return true;
}

static bool is_lost(const struct simpool *p, const struct sim_session *s)
{
    return p->queued_bytes - s->queued_bytes > QUEUE_BYTES_MAX ||
           (oldest_deleted(p) > 0 && p->deleted[oldest_deleted(p) % SIM_DELETED_MAX].deleted > s->registered);
}

/* The same for event.next, whose position the session keeps. */
static bool look_next(struct sim_call *c, enum sim_outcome *ret)
{
    struct simpool *const p = c->pool;
    struct sim_session *const s = c->next_of;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    struct sim_object *const pool = sim_first(p, "pool");
    char stamp[24];

    const bool lost = is_lost(p, s);
    mark_all(c->wanted, words_of_session(s));
    c->token = s->registered;
    snprintf(stamp, sizeof(stamp), "%lld.", (long long)sim_now_s(p));
    xapi_build_open(&b, XAPI_LIST);
    size_t count = lost ? 1 : put_changes(c, &b, stamp);
    /* The heartbeat tells of the pool, though nothing changed in it. */
    const struct interest in = interest_of(c);
    if (!lost && p->heartbeat > s->registered && pool->modified <= s->registered &&
        is_wanted(&in, pool->class_row, pool->ref)) {
        put_object(c, &b, pool, "mod", stamp);
        count++;
    }
    xapi_build_close(&b);
    s->registered = p->generation;
    s->queued_bytes = p->queued_bytes;
    if (count == 0 && !b.error)
        return false;
    if (lost)
        *ret = sim_fail(c, "EVENTS_LOST", NULL);
    else
        *ret = xapi_build_end(&b, &c->result) == 0 ? SIM_DONE : sim_no_memory(c);
    return true;
}

/* ---- the queue that is not there ---- */

static bool anybody_wants(const struct simpool *p, const struct xapi_class *row, const char *ref)
{
    for (const struct sim_session *s = p->sessions; s; s = s->next) {
        const struct interest in = {.words = words_of_session(s), .wanted = s->wanted};
        if (s->wanted && is_wanted(&in, row, ref))
            return true;
    }
    return false;
}

/* Add what changed since the last time to what the real server's queue would hold. */
static void weigh(struct simpool *p)
{
    for (struct sim_object *o = first_since(p, p->weighed); o; o = o->newer) {
        struct xapi_raw record;
        if (anybody_wants(p, o->class_row, o->ref) && sim_record(&record, o) == 0)
            p->queued_bytes += record.json_bytes + EVENT_BYTES;
    }
    p->weighed = p->generation;
}

/* ---- waiting ---- */

static void on_timeout(evutil_socket_t fd, short what, void *context)
{
    struct sim_call *const c = context;
    enum sim_outcome outcome;

    (void)look_from(c, true, &outcome);
    sim_answer(c, outcome);
}

/*
 * Many clients wait for the same: what one is told is encoded once for all whose question is the same, which is what
 * lets hundreds learn of a change within milliseconds.
 */
struct answer {
    struct sim_call *asked; /* whose it was first; answered last, since its question lies in it. NULL: none yet */
    uint64_t until;         /* good for tokens from asked->token to before that: nothing had happened in between */
    struct xk_buf xml, json;
    struct xapi_raw raw;
};

static bool is_good_for(const struct answer *a, const struct sim_call *c)
{
    return a->asked && !c->next_of && c->token >= a->asked->token && c->token < a->until &&
           xapi_value_same(&a->asked->args[0], &c->args[0]);
}

static void answer_end(struct answer *a)
{
    if (a->asked)
        sim_answer(a->asked, SIM_DONE);
    a->asked = NULL;
}

/* Keep what `c` is told for those behind it. */
static void answer_begin(struct answer *a, struct sim_call *c)
{
    const struct simpool *const p = c->pool;

    answer_end(a);
    xk_buf_reset(&a->xml);
    xk_buf_reset(&a->json);
    xapi_xml_value(&a->xml, &c->result);
    xapi_json_value(&a->json, &c->result);
    if (a->xml.error || a->json.error)
        return sim_answer(c, SIM_DONE);
    a->raw =
        (struct xapi_raw){.xml = a->xml.data, .xml_bytes = a->xml.len, .json = a->json.data, .json_bytes = a->json.len};
    a->asked = c;
    const struct sim_object *const o = first_since(p, c->token);
    a->until = o ? o->modified : UINT64_MAX;
    const uint64_t gone = first_deleted(p, c->token);
    if (gone < p->deleted_count)
        a->until = XK_MIN(a->until, p->deleted[gone % SIM_DELETED_MAX].deleted);
}

static void on_wake(evutil_socket_t fd, short what, void *pool)
{
    struct simpool *const p = pool;
    struct answer a = {.xml = XK_BUF_INIT(SIM_REPLY_BYTES_MAX), .json = XK_BUF_INIT(SIM_REPLY_BYTES_MAX)};

    if (p->registered)
        weigh(p);
    http_server_hold(p->server);
    for (struct sim_call *c = p->waiting, *next; c; c = next) {
        enum sim_outcome outcome;
        next = c->next;
        if (is_good_for(&a, c)) {
            c->result = (struct xapi_value){.shape = XAPI_RAW, .raw = &a.raw};
            sim_answer(c, SIM_DONE);
        } else if (c->next_of ? look_next(c, &outcome) : look_from(c, false, &outcome)) {
            if (outcome == SIM_DONE && !c->next_of && next)
                answer_begin(&a, c);
            else
                sim_answer(c, outcome);
        } else if (!c->next_of) {
            c->token = p->generation; /* looked through, and nothing of it was wanted */
        }
    }
    answer_end(&a);
    http_server_release(p->server);
    xk_buf_done(&a.xml);
    xk_buf_done(&a.json);
}

void sim_events_wake(struct simpool *p)
{
    const struct timeval now = {0};

    if (!p->waiting && !p->registered)
        return;
    if (!p->wake && (p->wake = evtimer_new(p->base, on_wake, p)) == NULL)
        return; /* without memory they learn of it at their timeouts */
    if (!evtimer_pending(p->wake, NULL))
        (void)event_add(p->wake, &now);
}

void sim_events_heartbeat(struct simpool *p)
{
    if (!p->registered)
        return;
    p->heartbeat = ++p->generation;
    sim_events_wake(p);
}

void sim_events_closed(struct simpool *p, const char *session_ref)
{
    for (struct sim_call *c = p->waiting, *next; c; c = next) {
        next = c->next;
        if (strcmp(c->session_ref, session_ref) == 0) {
            c->next_of = NULL;
            sim_answer(c, sim_fail(c, "SESSION_INVALID", session_ref, NULL));
        }
    }
}

static enum sim_outcome wait_here(struct sim_call *c)
{
    struct simpool *const p = c->pool;

    c->next = p->waiting;
    c->link = &p->waiting;
    if (c->next)
        c->next->link = &c->next;
    p->waiting = c;
    return SIM_WORKING;
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
    enum sim_outcome outcome;

    if (!token_parse(&c->token, sim_arg_text(c, 1)))
        return sim_fail(c, "EVENT_FROM_TOKEN_PARSE_FAILURE", sim_arg_text(c, 1), NULL);
    c->wanted = xk_zalloc(xapi_class_count);
    if (!c->wanted)
        return sim_no_memory(c);
    mark_all(c->wanted, &c->args[0]);
    if (look_from(c, !(timeout_s > 0), &outcome))
        return outcome;
    /* What was already looked through need not be again. */
    c->token = XK_MAX(c->token, p->generation);
    const double wait_s = XK_MIN(timeout_s, TIMEOUT_S_MAX);
    const struct timeval delay = sim_delay(p, (uint64_t)(wait_s * 1e9));
    c->timer = evtimer_new(p->base, on_timeout, c);
    if (!c->timer || event_add(c->timer, &delay) < 0)
        return sim_no_memory(c);
    return wait_here(c);
}

/* A position for the session, from now on. */
static bool subscription_open(struct simpool *p, struct sim_session *s)
{
    if (s->wanted)
        return true;
    s->wanted = xk_zalloc(xapi_class_count);
    if (!s->wanted)
        return false;
    weigh(p);
    s->registered = p->generation;
    s->queued_bytes = p->queued_bytes;
    p->registered++;
    return true;
}

void sim_events_forget(struct simpool *p, struct sim_session *s)
{
    p->registered -= s->wanted != NULL;
    xapi_packed_unref(s->subscriptions);
    free(s->wanted);
    s->subscriptions = NULL;
    s->wanted = NULL;
}

static enum sim_outcome subscribe(struct sim_call *c, bool in)
{
    struct sim_session *const s = c->session;
    const struct xapi_value *const words = &c->args[0], *const before = words_of_session(s);
    struct xapi_value *const items =
        xk_arena_alloc(&c->arena, ((size_t)words->count + before->count + 1) * sizeof(*items));
    size_t count = 0;

    if (!items || !subscription_open(c->pool, s))
        return sim_no_memory(c);
    for (size_t i = 0; i < before->count; i++)
        if (in || !xapi_list_has(words, xapi_value_text(&before->items[i])))
            items[count++] = before->items[i];
    for (size_t i = 0; in && i < words->count; i++)
        if (!xapi_list_has(before, xapi_value_text(&words->items[i])))
            items[count++] = words->items[i];
    if (count > SUBSCRIPTIONS_MAX)
        return sim_fail(c, "INTERNAL_ERROR", "Failure(\"too many subscriptions\")", NULL);
    const struct xapi_value list = xapi_list(items, count);
    struct xapi_packed *const packed = xapi_pack(&list);
    if (!packed)
        return sim_no_memory(c);
    xapi_packed_unref(s->subscriptions);
    s->subscriptions = packed;
    mark_all(s->wanted, &packed->value);
    return SIM_DONE;
}

static enum sim_outcome enroll(struct sim_call *c)
{
    return subscribe(c, true);
}

static enum sim_outcome leave(struct sim_call *c)
{
    return subscribe(c, false);
}

static enum sim_outcome next(struct sim_call *c)
{
    enum sim_outcome outcome;
    char trackid[SIM_TRACKID_BYTES], text[SIM_TRACKID_BYTES + 16];

    if (!c->session->wanted) {
        sim_trackid(trackid, c->session_ref);
        snprintf(text, sizeof(text), "trackid=%s", trackid);
        return sim_fail(c, "SESSION_NOT_REGISTERED", text, NULL);
    }
    c->next_of = c->session;
    c->wanted = xk_zalloc(xapi_class_count);
    if (!c->wanted)
        return sim_no_memory(c);
    weigh(c->pool);
    return look_next(c, &outcome) ? outcome : wait_here(c);
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
    c->result = xapi_int((int64_t)c->pool->generation + 1);
    return SIM_DONE;
}

const struct sim_row sim_event_rows[] = {
    {"event.from", from},
    {"event.inject", inject},
    {"event.register", enroll},
    {"event.unregister", leave},
    {"event.next", next},
    {"event.get_current_id", current_id},
    {NULL, NULL},
};
