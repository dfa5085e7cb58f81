/*
 * What calls and requests meet.
 *
 * A call is looked at once, after its method is known and before anything is checked; what it meets is kept with it,
 * so that healing a fault does not change what has begun. A request for a path is looked at before its handler.
 */
#include "lib/simpool/fault.h"

#include <stdio.h>
#include <string.h>

/* A request that waits because of a delay. */
struct delayed {
    struct simpool *pool;
    struct http_exchange *exchange;
    struct event *timer;
    struct sim_strike strike;
    void (*go_on)(void *pool, struct http_exchange *x);
};

/* ---- which ---- */

/* Count the meeting. returns whether the fault strikes this time. */
static bool strikes(struct sim_fault *f)
{
    f->met++;
    const bool hit = f->nth               ? f->met == f->nth
                     : f->every           ? f->met % f->every == 0
                     : f->probability > 0 ? xk_random_unit(&f->pool->fault_random) < f->probability
                                          : true;
    f->struck += hit;
    return hit;
}

/* Delays add up; of what ends an exchange the first counts. */
static void add_strike(struct sim_strike *s, const struct sim_fault *f)
{
    s->delay_ns += f->delay_ns;
    if (f->slow_b_s)
        s->spoil.rate_byte_s = (uint32_t)f->slow_b_s;
    if (s->cut || s->wrong_type || *s->error || s->spoil.cut)
        return;
    s->cut = f->drop ? SIM_CUT_DROP : f->reset ? SIM_CUT_RESET : f->http ? SIM_CUT_HTTP : SIM_CUT_NONE;
    s->http = (unsigned)f->http;
    s->executed = f->executed;
    s->wrong_type = f->wrong_type;
    s->spoil.cut = f->has_truncate;
    s->spoil.cut_bytes = f->truncate;
    memcpy(s->error, f->error, sizeof(s->error));
}

static bool is_for_call(const struct sim_fault *f, const struct sim_call *c, const char *name)
{
    return f->begun && f->kind == SIM_FAULT_CALL && *f->method && (!f->host || f->host == c->host + 1) &&
           (sim_glob(f->method, name) || sim_glob(f->method, c->wire.method));
}

struct sim_strike *sim_strike_call(struct sim_call *c)
{
    static const char *const prefixes[] = {"Async.", "InternalAsync."};
    struct sim_strike *s = NULL;
    const char *name = c->wire.method;

    for (size_t i = 0; c->pool->faults && i < XK_COUNT(prefixes); i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            name += strlen(prefixes[i]);
    const struct xapi_message *const m = c->pool->faults ? xapi_message_find(name) : NULL;
    for (struct sim_fault *f = c->pool->faults; f; f = f->next) {
        if (!is_for_call(f, c, m ? xapi_text(m->name) : name) || !strikes(f))
            continue;
        if (!s && (s = xk_arena_alloc(&c->arena, sizeof(*s))) == NULL)
            return NULL;
        add_strike(s, f);
    }
    return s;
}

/* ---- how ---- */

void sim_strike_cut(const struct sim_strike *s, struct http_exchange *x)
{
    http_on_gone(x, NULL, NULL);
    if (s->cut == SIM_CUT_HTTP)
        http_refuse(x, s->http);
    else if (s->cut == SIM_CUT_RESET)
        http_reset(x);
    else
        http_drop(x);
}

enum sim_outcome sim_strike_error(struct sim_call *c)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);
    const char *at = c->strike ? c->strike->error : "";
    char code[SIM_FAULT_BYTES_MAX];
    unsigned given = 0;

    if (!*at)
        return SIM_DONE;
    snprintf(code, sizeof(code), "%.*s", (int)strcspn(at, ";"), at);
    const char *names = xapi_text(xapi_error_find(code)->params);
    unsigned params = *names != '\0';
    for (; *names; names++)
        params += *names == ',';
    xapi_build_open(&b, XAPI_LIST);
    for (const char *end = at; end; at = end + 1, given++) {
        end = strchr(at, ';');
        xapi_build_bytes(&b, XAPI_TEXT, at, end ? (size_t)(end - at) : strlen(at));
        if (!end)
            break;
    }
    /* Clients count on an error to have all of its parameters. */
    for (; given < params; given++)
        xapi_build_value(&b, xapi_str(""));
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->error) < 0 ? sim_no_memory(c) : SIM_FAILED;
}

struct xapi_value sim_strike_wrong(const struct xapi_value *v)
{
    const bool is_group = v->shape == XAPI_LIST || v->shape == XAPI_MAP || v->shape == XAPI_RAW;

    return is_group ? xapi_str("a text instead") : xapi_list(NULL, 0);
}

/* ---- requests ---- */

static void on_delayed_gone(void *context)
{
    struct delayed *const d = context;

    event_free(d->timer);
    free(d);
}

static void go_on(const struct delayed *d)
{
    http_on_gone(d->exchange, NULL, NULL);
    if (d->strike.cut) {
        sim_strike_cut(&d->strike, d->exchange);
    } else {
        http_spoil(d->exchange, &d->strike.spoil);
        d->go_on(d->pool, d->exchange);
    }
}

static void on_due(evutil_socket_t fd, short what, void *context)
{
    struct delayed *const d = context;
    const struct delayed kept = *d;

    on_delayed_gone(d);
    go_on(&kept);
}

static bool wait(const struct delayed *wish)
{
    const struct timeval delay = sim_delay(wish->pool, wish->strike.delay_ns);
    struct delayed *const d = xk_alloc(sizeof(*d));

    if (!d)
        return false;
    *d = *wish;
    d->timer = evtimer_new(d->pool->base, on_due, d);
    if (!d->timer || event_add(d->timer, &delay) < 0) {
        if (d->timer)
            event_free(d->timer);
        free(d);
        return false;
    }
    http_on_gone(d->exchange, on_delayed_gone, d);
    return true;
}

bool sim_strike_request(struct simpool *p, struct http_exchange *x, void (*next)(void *pool, struct http_exchange *x))
{
    struct delayed d = {.pool = p, .exchange = x, .go_on = next};
    bool any = false;

    for (struct sim_fault *f = p->faults; f; f = f->next) {
        if (!f->begun || f->kind != SIM_FAULT_CALL || !*f->path || (f->host && f->host != http_tag(x) + 1) ||
            !sim_glob(f->path, http_path(x)) || !strikes(f))
            continue;
        add_strike(&d.strike, f);
        any = true;
    }
    if (!any)
        return false;
    if (!d.strike.delay_ns || !wait(&d))
        go_on(&d);
    return true;
}
