/*
 * Records come from the master in one call for each class. Clocks are asked of each host through the master, which
 * hands the question on; a host that is dead would make that wait, so the hosts are asked side by side, each by a
 * client of its own with a deadline.
 */
#include "lib/poolview/poolview.h"

#include "core/crew.h"
#include "core/text.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ARENA_BYTES (1024 * XK_MIB)
#define ORIGINATOR  "xenkit-checkup"

static const char *const class_names[] = {"pool", "host", "host_metrics", "VM",         "task",
                                          "SR",   "VDI",  "message",      "Certificate"};

/* ---- looking at records ---- */

uint32_t poolview_count(const struct poolview *v, enum poolview_class c)
{
    return v->records[c].shape == XAPI_MAP ? v->records[c].count : 0;
}

const char *poolview_ref(const struct poolview *v, enum poolview_class c, uint32_t index)
{
    return xapi_value_text(&v->records[c].items[2 * index]);
}

const struct xapi_value *poolview_record(const struct poolview *v, enum poolview_class c, uint32_t index)
{
    return &v->records[c].items[2 * index + 1];
}

const struct xapi_value *poolview_find(const struct poolview *v, enum poolview_class c, const char *ref)
{
    return xapi_map_get(&v->records[c], ref);
}

const char *poolview_text(const struct xapi_value *record, const char *field)
{
    const struct xapi_value *const f = record ? xapi_map_get(record, field) : NULL;

    return f ? xapi_value_text(f) : "";
}

int64_t poolview_int(const struct xapi_value *record, const char *field)
{
    const struct xapi_value *const f = record ? xapi_map_get(record, field) : NULL;
    int64_t n = 0;

    if (f && f->shape == XAPI_TEXT)
        return xk_parse_i64(&n, f->text) == 0 ? n : 0;
    return f ? xapi_value_int(f) : 0;
}

double poolview_real(const struct xapi_value *record, const char *field)
{
    const struct xapi_value *const f = record ? xapi_map_get(record, field) : NULL;

    return f && f->shape == XAPI_REAL ? f->real : (double)poolview_int(record, field);
}

bool poolview_truth(const struct xapi_value *record, const char *field)
{
    const struct xapi_value *const f = record ? xapi_map_get(record, field) : NULL;

    return f && f->shape == XAPI_BOOL && f->truth;
}

/* "20261123T09:37:58Z" */
static int64_t seconds_of(const char *text)
{
    int year, month, day, hour, minute, second;

    if (sscanf(text, "%4d%2d%2dT%2d:%2d:%2d", &year, &month, &day, &hour, &minute, &second) != 6)
        return 0;
    struct tm t = {.tm_year = year - 1900,
                   .tm_mon = month - 1,
                   .tm_mday = day,
                   .tm_hour = hour,
                   .tm_min = minute,
                   .tm_sec = second};
    const time_t s = timegm(&t);
    return s > 0 ? (int64_t)s : 0;
}

static int64_t time_of(const struct xapi_value *v)
{
    return v && (v->shape == XAPI_TIME || v->shape == XAPI_TEXT) ? seconds_of(v->text) : 0;
}

int64_t poolview_time(const struct xapi_value *record, const char *field)
{
    return record ? time_of(xapi_map_get(record, field)) : 0;
}

bool poolview_host_lives(const struct poolview *v, const struct xapi_value *host)
{
    return poolview_truth(poolview_find(v, POOLVIEW_HOST_METRICS, poolview_text(host, "metrics")), "live");
}

/* ---- clocks ---- */

struct asking {
    struct poolview *view;
    struct xk_app *app;
    const struct client_access *access;
    atomic_uint next;
};

static struct client_manner manner_of(const struct xk_app *app)
{
    return (struct client_manner){.originator = ORIGINATOR,
                                  .deadline_ns = app->clock->monotonic_ns(app->clock) + POOLVIEW_DEADLINE_NS};
}

/* A host tells whole seconds: the truth is up to one later. */
static void ask_clock(struct poolview_clock *ret, struct client *c, const struct xk_clock *clock, const char *host)
{
    struct xk_arena arena = XK_ARENA_INIT(XK_MIB);
    struct xapi_value told;
    struct xk_err err = {0};

    const int64_t before_ns = clock->utc_ns(clock);
    const int code = client_ask(c, &told, &arena, &err, "host.get_servertime", "s", host);
    const int64_t after_ns = clock->utc_ns(clock);
    const int64_t told_s = code == 0 ? time_of(&told) : 0;
    if (told_s) {
        const double middle_s = (double)(before_ns / 2 + after_ns / 2) / 1e9;
        ret->known = true;
        ret->skew_s = (double)told_s + 0.5 - middle_s;
        ret->bound_s = 0.5 + (double)(after_ns - before_ns) / 2e9;
    } else {
        snprintf(ret->why, sizeof(ret->why), "%.120s", code < 0 ? err.text : "its answer is no time");
    }
    xk_arena_done(&arena);
}

static void ask_clocks(void *context, unsigned which)
{
    struct asking *const a = context;
    const uint32_t hosts = poolview_count(a->view, POOLVIEW_HOST);
    uint32_t i;

    while ((i = atomic_fetch_add(&a->next, 1)) < hosts) {
        struct poolview_clock *const clock = &a->view->clocks[i];
        xk_auto(client_closep) struct client *c = NULL;
        struct xk_err err = {0};
        const struct client_manner manner = manner_of(a->app);
        if (!poolview_host_lives(a->view, poolview_record(a->view, POOLVIEW_HOST, i)))
            snprintf(clock->why, sizeof(clock->why), "the host is not live");
        else if (client_open(&c, a->app, a->view->url, a->access, &manner, &err) < 0 || client_login(c, &err) < 0)
            snprintf(clock->why, sizeof(clock->why), "%.120s", err.text);
        else
            ask_clock(clock, c, a->app->clock, poolview_ref(a->view, POOLVIEW_HOST, i));
    }
}

static int take_clocks(struct poolview *v, struct xk_app *app, const struct client_access *access, struct xk_err *err)
{
    struct asking a = {.view = v, .app = app, .access = access};
    const uint32_t hosts = poolview_count(v, POOLVIEW_HOST);

    v->clocks = xk_array_alloc(hosts + 1, sizeof(*v->clocks));
    if (!v->clocks)
        return xk_fail_memory(err);
    if (hosts)
        xk_crew_run(XK_MIN(hosts, (uint32_t)POOLVIEW_THREADS), XK_CREW_STACK_BYTES, ask_clocks, &a);
    return 0;
}

/* ---- records ---- */

/* A class that the pool's release does not have, or that this user may not read, is empty. */
static bool is_missing(const struct client *c, int code)
{
    const struct client_failure *const f = code == -EREMOTEIO ? client_failure(c) : NULL;

    return f && (strcmp(f->code, "MESSAGE_METHOD_UNKNOWN") == 0 || strcmp(f->code, "MESSAGE_REMOVED") == 0 ||
                 strcmp(f->code, "RBAC_PERMISSION_DENIED") == 0 || strcmp(f->code, "NOT_IMPLEMENTED") == 0);
}

static int take_records(struct poolview *v, struct client *c, unsigned classes, struct xk_err *err)
{
    char message[64];

    for (unsigned i = 0; i < POOLVIEW_CLASSES; i++) {
        if (!(classes & 1u << i))
            continue;
        snprintf(message, sizeof(message), "%s.get_all_records", class_names[i]);
        const int code = client_ask(c, &v->records[i], &v->arena, err, message, "");
        if (code < 0 && !is_missing(c, code))
            return code;
        if (code < 0 || v->records[i].shape != XAPI_MAP)
            v->records[i] = xapi_map(NULL, 0);
    }
    if (poolview_count(v, POOLVIEW_HOST) > POOLVIEW_HOSTS_MAX)
        return xk_fail(err, -EFBIG, "a pool of more than %d hosts", POOLVIEW_HOSTS_MAX);
    return 0;
}

int poolview_take(struct poolview *ret, struct xk_app *app, const char *url, const struct client_access *access,
                  const struct poolview_wanted *wanted, struct xk_err *err)
{
    xk_auto(client_closep) struct client *c = NULL;
    const struct client_manner manner = {.originator = ORIGINATOR};

    *ret = (struct poolview){.url = url, .arena = XK_ARENA_INIT(ARENA_BYTES)};
    ret->now_s = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S;
    for (unsigned i = 0; i < POOLVIEW_CLASSES; i++)
        ret->records[i] = xapi_map(NULL, 0);
    int code = client_open(&c, app, url, access, &manner, &ret->why);
    if (code == 0)
        code = take_records(ret, c, wanted->classes, &ret->why);
    if (code == 0 && client_redirect(c))
        ret->master = xk_strdup(client_redirect(c));
    if (code == -ENOMEM || code == -EINTR || code == -EINVAL) {
        *err = ret->why;
        return code;
    }
    ret->reached = code == 0;
    return ret->reached && wanted->clocks ? take_clocks(ret, app, access, err) : 0;
}

void poolview_done(struct poolview *v)
{
    xk_arena_done(&v->arena);
    free(v->clocks);
    free(v->master);
    *v = (struct poolview){0};
}
