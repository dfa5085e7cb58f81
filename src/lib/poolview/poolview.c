/* Records come from the master in one call for each class; the hosts are asked in visit.c. */
#include "lib/poolview/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define ARENA_BYTES  (1024 * XK_MIB)
#define AGED_CLASSES (1u << POOLVIEW_TASK | 1u << POOLVIEW_MESSAGE | 1u << POOLVIEW_VM_METRICS)

static const char *const class_names[] = {
    [POOLVIEW_POOL] = "pool",
    [POOLVIEW_HOST] = "host",
    [POOLVIEW_HOST_METRICS] = "host_metrics",
    [POOLVIEW_VM] = "VM",
    [POOLVIEW_VM_METRICS] = "VM_metrics",
    [POOLVIEW_GUEST_METRICS] = "VM_guest_metrics",
    [POOLVIEW_TASK] = "task",
    [POOLVIEW_SR] = "SR",
    [POOLVIEW_VDI] = "VDI",
    [POOLVIEW_MESSAGE] = "message",
    [POOLVIEW_CERTIFICATE] = "Certificate",
};

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

int64_t poolview_seconds(const struct xapi_value *v)
{
    return v && (v->shape == XAPI_TIME || v->shape == XAPI_TEXT) ? seconds_of(v->text) : 0;
}

int64_t poolview_time(const struct xapi_value *record, const char *field)
{
    return record ? poolview_seconds(xapi_map_get(record, field)) : 0;
}

bool poolview_host_lives(const struct poolview *v, const struct xapi_value *host)
{
    return poolview_truth(poolview_find(v, POOLVIEW_HOST_METRICS, poolview_text(host, "metrics")), "live");
}

bool poolview_host_is_master(const struct poolview *v, const char *ref)
{
    return poolview_count(v, POOLVIEW_POOL) &&
           strcmp(poolview_text(poolview_record(v, POOLVIEW_POOL, 0), "master"), ref) == 0;
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

/* Where the master's clock is wrong, so are the times in its records, and ages are right by that clock only. */
static void take_time(struct poolview *v, struct client *c)
{
    const char *const master =
        poolview_count(v, POOLVIEW_POOL) ? poolview_text(poolview_record(v, POOLVIEW_POOL, 0), "master") : "";
    struct xapi_value told;

    if (*master && client_ask(c, &told, &v->arena, NULL, "host.get_servertime", "s", master) == 0 &&
        poolview_seconds(&told))
        v->pool_now_s = poolview_seconds(&told);
}

/* What needs nothing but the master's answers. */
static int take_pool(struct poolview *v, struct client *c, const struct poolview_wanted *wanted)
{
    int code = client_login(c, &v->why);

    if (code == 0)
        code = take_records(v, c, wanted->classes, &v->why);
    if (code == 0 && wanted->classes & AGED_CLASSES)
        take_time(v, c);
    if (code == 0 && client_redirect(c) && (v->master = xk_strdup(client_redirect(c))) == NULL)
        code = xk_fail_memory(&v->why);
    v->port = client_port(c);
    return code;
}

int poolview_take(struct poolview *ret, struct xk_app *app, const char *url, const struct client_access *access,
                  const struct poolview_wanted *wanted, struct xk_err *err)
{
    xk_auto(client_closep) struct client *c = NULL;
    const struct client_manner manner = {.originator = POOLVIEW_ORIGINATOR};

    *ret = (struct poolview){.url = url, .arena = XK_ARENA_INIT(ARENA_BYTES)};
    ret->now_s = ret->pool_now_s = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S;
    for (unsigned i = 0; i < POOLVIEW_CLASSES; i++)
        ret->records[i] = xapi_map(NULL, 0);
    int code = client_open(&c, app, url, access, &manner, &ret->why);
    if (code == 0)
        code = take_pool(ret, c, wanted);
    if (code == -ENOMEM || code == -EINTR || code == -EINVAL) {
        *err = ret->why;
        return code;
    }
    ret->reached = code == 0;
    return ret->reached && wanted->asks ? poolview_visit_all(ret, app, c, wanted->asks, err) : 0;
}

void poolview_done(struct poolview *v)
{
    xk_arena_done(&v->arena);
    sessionlog_close(v->sessions.log);
    free(v->sessions.summary);
    free(v->visits);
    free(v->master);
    *v = (struct poolview){0};
}
