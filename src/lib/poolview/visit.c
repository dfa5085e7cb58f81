/*
 * What each host is asked. Its clock and how that is kept come through the master, which hands the question on; what
 * the host itself knows (whom it follows, its certificate, its load, its ports) it is asked directly. One that is dead,
 * slow or lies would keep the others waiting, so all are asked side by side, each by clients of its own in the one
 * session, each question with a deadline.
 *
 * A host whose port is shut, or that did not let itself be asked once directly, is not asked again.
 */
#include "lib/poolview/inner.h"

#include "core/crew.h"
#include "core/text.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define METRICS_BYTES_MAX (256u << 20)
#define ANSWER_BYTES_MAX  XK_MIB
#define PORT_WAIT_NS      (2 * XK_NS_PER_S)
#define PORT_SSH          22
#define PORT_HTTP         80
#define PORT_HTTPS        443

struct visiting {
    struct poolview *view;
    struct xk_app *app;
    const struct client *client;
    unsigned asks;
    atomic_uint next;
};

static struct client_manner manner_of(const struct xk_app *app)
{
    return (struct client_manner){.originator = POOLVIEW_ORIGINATOR,
                                  .deadline_ns = app->clock->monotonic_ns(app->clock) + POOLVIEW_DEADLINE_NS};
}

static void put_why(char ret[128], const char *text)
{
    snprintf(ret, 128, "%.127s", text);
}

/* ---- through the master ---- */

/* A host tells whole seconds: the truth is up to one later. */
static void ask_clock(struct poolview_clock *ret, struct client *c, const struct xk_clock *clock, const char *host)
{
    struct xk_arena arena = XK_ARENA_INIT(ANSWER_BYTES_MAX);
    struct xapi_value told;
    struct xk_err err = {0};

    const int64_t before_ns = clock->utc_ns(clock);
    const int code = client_ask(c, &told, &arena, &err, "host.get_servertime", "s", host);
    const int64_t after_ns = clock->utc_ns(clock);
    const int64_t told_s = code == 0 ? poolview_seconds(&told) : 0;
    if (told_s) {
        const double middle_s = (double)(before_ns / 2 + after_ns / 2) / 1e9;
        ret->known = true;
        ret->skew_s = (double)told_s + 0.5 - middle_s;
        ret->bound_s = 0.5 + (double)(after_ns - before_ns) / 2e9;
    } else {
        put_why(ret->why, code < 0 ? err.text : "its answer is no time");
    }
    xk_arena_done(&arena);
}

/* "192.0.2.1 ^*, 192.0.2.2 ^?": what chrony thinks of each stands behind it. */
static void put_servers(struct poolview_ntp *ret, const struct xapi_value *status)
{
    size_t len = 0;

    for (uint32_t i = 0; i < status->count && len < sizeof(ret->servers); i++) {
        const char *const word = xapi_value_text(&status->items[2 * i + 1]);
        const int n = snprintf(ret->servers + len, sizeof(ret->servers) - len, "%s%.64s%s%.64s", len ? ", " : "",
                               xapi_value_text(&status->items[2 * i]), *word ? " " : "", word);
        len += n > 0 ? (size_t)n : 0;
    }
}

/* Releases without NTP in the API have no such field. */
static void ask_ntp(struct poolview_ntp *ret, struct client *c, const struct xapi_value *record, const char *host)
{
    struct xk_arena arena = XK_ARENA_INIT(ANSWER_BYTES_MAX);
    struct xapi_value told;

    snprintf(ret->mode, sizeof(ret->mode), "%.23s", poolview_text(record, "ntp_mode"));
    ret->known = *ret->mode != '\0';
    if (ret->known && client_ask(c, &told, &arena, NULL, "host.get_ntp_synchronized", "s", host) == 0 &&
        told.shape == XAPI_BOOL) {
        ret->sync_known = true;
        ret->synchronised = told.truth;
    }
    if (ret->known && client_ask(c, &told, &arena, NULL, "host.get_ntp_servers_status", "s", host) == 0 &&
        told.shape == XAPI_MAP)
        put_servers(ret, &told);
    xk_arena_done(&arena);
}

static void ask_master(struct visiting *a, struct poolview_visit *visit, uint32_t host)
{
    const char *const ref = poolview_ref(a->view, POOLVIEW_HOST, host);
    const struct client_manner manner = manner_of(a->app);
    xk_auto(client_closep) struct client *c = NULL;
    struct xk_err err = {0};

    if (client_open_beside(&c, a->client, NULL, NULL, &manner, &err) < 0) {
        put_why(visit->clock.why, err.text);
        return;
    }
    if (a->asks & POOLVIEW_ASK_CLOCK)
        ask_clock(&visit->clock, c, a->app->clock, ref);
    if (a->asks & POOLVIEW_ASK_NTP)
        ask_ntp(&visit->ntp, c, poolview_record(a->view, POOLVIEW_HOST, host), ref);
}

/* ---- directly ---- */

const char *poolview_fingerprint(const struct poolview *v, const char *host)
{
    for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_CERTIFICATE); i++) {
        const struct xapi_value *const c = poolview_record(v, POOLVIEW_CERTIFICATE, i);
        if (strcmp(poolview_text(c, "host"), host) != 0 || strcmp(poolview_text(c, "type"), "host") != 0)
            continue;
        const char *const sha256 = poolview_text(c, "fingerprint_sha256");
        return *sha256 ? sha256 : *poolview_text(c, "fingerprint") ? poolview_text(c, "fingerprint") : NULL;
    }
    return NULL;
}

const char *poolview_place(const struct poolview *v, uint32_t host)
{
    return poolview_host_is_master(v, poolview_ref(v, POOLVIEW_HOST, host))
               ? NULL
               : poolview_text(poolview_record(v, POOLVIEW_HOST, host), "address");
}

static int open_host(struct client **ret, const struct poolview *v, const struct client *c, uint32_t host,
                     const struct client_manner *manner, struct xk_err *err)
{
    return client_open_beside(ret, c, poolview_place(v, host),
                              poolview_fingerprint(v, poolview_ref(v, POOLVIEW_HOST, host)), manner, err);
}

/* A slave refuses a session of the pool, and names its master. returns   whether the host could be asked. */
static bool ask_role(struct poolview_role *ret, struct client *c)
{
    struct xk_arena arena = XK_ARENA_INIT(ANSWER_BYTES_MAX);
    struct xapi_value told;
    struct xk_err err = {0};

    const int code = client_ask(c, &told, &arena, &err, "pool.get_all", "");
    const struct client_failure *const failure = code == -EREMOTEIO ? client_failure(c) : NULL;
    ret->known = true;
    if (code == 0) {
        ret->is_master = true;
    } else if (failure && strcmp(failure->code, "HOST_IS_SLAVE") == 0 && failure->count) {
        snprintf(ret->master, sizeof(ret->master), "%.253s", failure->params[0]);
    } else {
        ret->known = failure != NULL;
        ret->code = code;
        put_why(ret->why, failure ? failure->code : err.text);
    }
    xk_arena_done(&arena);
    return code == 0 || failure;
}

/* By the host's own clock. Machines' metrics are not wanted, and left out where the release knows how. */
static void ask_load(struct poolview_load *ret, struct client *c, const struct visiting *a, uint32_t host,
                     const struct poolview_clock *clock)
{
    const struct xapi_value *const record = poolview_record(a->view, POOLVIEW_HOST, host);
    const int64_t now_s = a->app->clock->utc_ns(a->app->clock) / (int64_t)XK_NS_PER_S;
    struct xk_buf body = XK_BUF_INIT(METRICS_BYTES_MAX);
    struct xk_err err = {0};
    char path[128];

    snprintf(path, sizeof(path), "/rrd_updates?start=%lld&cf=AVERAGE&interval=60&host=true&vm_uuid=none",
             (long long)(now_s + (clock->known ? (int64_t)clock->skew_s : 0) - POOLVIEW_LOAD_S));
    int code = client_get(c, &body, path, &err);
    if (code == 0)
        code = poolview_load_decode(ret, xk_buf_str(&body), body.len, poolview_text(record, "uuid"), &err);
    if (code < 0)
        put_why(ret->why, err.text);
    xk_buf_done(&body);
}

/* Through a socket nobody shows one: the host's own address does. */
static void look_at_certificate(struct visiting *a, struct poolview_certificate *ret, uint32_t host)
{
    const char *const address = poolview_text(poolview_record(a->view, POOLVIEW_HOST, host), "address");
    const struct client_manner manner = manner_of(a->app);
    xk_auto(client_closep) struct client *c = NULL;

    if (client_open_beside(&c, a->client, a->view->port ? poolview_place(a->view, host) : address, NULL, &manner,
                           NULL) == 0)
        ret->known = client_look_at_certificate(c, &ret->from_s, &ret->until_s, NULL) == 0;
}

static void ask_host(struct visiting *a, struct poolview_visit *visit, uint32_t host)
{
    struct client_manner manner = manner_of(a->app);
    xk_auto(client_closep) struct client *c = NULL;
    struct xk_err err = {0};

    if (a->asks & POOLVIEW_ASK_CERTIFICATE)
        look_at_certificate(a, &visit->certificate, host);
    if (!(a->asks & (POOLVIEW_ASK_ROLE | POOLVIEW_ASK_LOAD)) ||
        open_host(&c, a->view, a->client, host, &manner, &err) < 0)
        return;
    if (!ask_role(&visit->role, c))
        return;
    client_close(c);
    c = NULL;
    manner = manner_of(a->app);
    if (a->asks & POOLVIEW_ASK_LOAD && open_host(&c, a->view, a->client, host, &manner, &err) == 0)
        ask_load(&visit->load, c, a, host, &visit->clock);
}

/* ---- ports ---- */

int poolview_list_ports(struct portscan_list *list, const struct poolview *v, const struct xapi_value *record)
{
    const uint16_t port = v->port ? v->port : PORT_HTTPS;
    const struct xapi_value *const ssh = xapi_map_get(record, "ssh_enabled");
    int code = portscan_list_add(list, port, false);

    if (code == 0 && (v->port == PORT_HTTPS || v->port == PORT_HTTP) && (!ssh || ssh->truth))
        code = portscan_list_add(list, PORT_SSH, false);
    return code;
}

bool poolview_has_port(const struct poolview_visit *visit)
{
    return visit->port_count == 0 || visit->ports[0].state == PORTSCAN_OPEN;
}

static void ask_ports(struct visiting *a, struct poolview_visit *visit, uint32_t host)
{
    const struct xapi_value *const record = poolview_record(a->view, POOLVIEW_HOST, host);
    const struct xk_clock *const clock = a->app->clock;
    struct portscan_settings settings = {
        .limits = {.clock = clock, .deadline_ns = resolve_deadline(clock, POOLVIEW_DEADLINE_NS), .root = a->app->root},
        .timeout_ns = PORT_WAIT_NS,
        .parallel = POOLVIEW_PORTS_MAX,
    };
    xk_autofree struct portscan_list *list = xk_zalloc(sizeof(*list));
    struct resolve_addresses addresses;
    struct xk_err err = {0};

    if (list && poolview_list_ports(list, a->view, record) == 0 &&
        resolve_name(&addresses, poolview_text(record, "address"), 0, AF_UNSPEC, &settings.limits, &err) == 0 &&
        portscan_run(list, &addresses.list[0], &settings, &err) == 0) {
        visit->port_count = (unsigned)XK_MIN(list->count, (size_t)POOLVIEW_PORTS_MAX);
        memcpy(visit->ports, list->ports, visit->port_count * sizeof(*visit->ports));
    }
    if (list)
        portscan_list_done(list);
}

/* ---- all hosts ---- */

static void visit_host(struct visiting *a, uint32_t host)
{
    struct poolview_visit *const visit = &a->view->visits[host];

    if (!poolview_host_lives(a->view, poolview_record(a->view, POOLVIEW_HOST, host))) {
        put_why(visit->clock.why, "the host is not live");
        return;
    }
    if (a->asks & (POOLVIEW_ASK_CLOCK | POOLVIEW_ASK_NTP))
        ask_master(a, visit, host);
    if (a->asks & POOLVIEW_ASK_PORTS)
        ask_ports(a, visit, host);
    if (a->asks & (POOLVIEW_ASK_CERTIFICATE | POOLVIEW_ASK_ROLE | POOLVIEW_ASK_LOAD) && poolview_has_port(visit))
        ask_host(a, visit, host);
}

static void visit_some(void *context, unsigned which)
{
    struct visiting *const a = context;
    uint32_t i;

    while ((i = atomic_fetch_add(&a->next, 1)) < poolview_count(a->view, POOLVIEW_HOST) && !xk_stop_signal())
        visit_host(a, i);
}

/* ---- the master's logs ---- */

static ssize_t read_download(void *context, void *bytes, size_t count, struct xk_err *err)
{
    return client_download_read(context, bytes, count, err);
}

int poolview_add_logs(struct sessionlog *log, const struct poolview *v, const struct client *c, uint32_t host,
                      const struct client_manner *manner, struct xk_err *err)
{
    const char *const name = poolview_text(poolview_record(v, POOLVIEW_HOST, host), "name_label");
    struct client_download *download = NULL;
    xk_auto(client_closep) struct client *at = NULL;

    int code = open_host(&at, v, c, host, manner, err);
    if (code == 0)
        code = client_download_open(&download, at, "/host_logs_download", err);
    if (code == 0)
        code = sessionlog_add_stream(log, *name ? name : "a host", read_download, download, err);
    client_download_close(download);
    return code;
}

static void forget(void *context, const struct xk_err *why)
{
}

static int add_master(struct sessionlog *log, struct poolview *v, struct xk_app *app, const struct client *c,
                      struct xk_err *err)
{
    const struct client_manner manner = {.originator = POOLVIEW_ORIGINATOR,
                                         .deadline_ns = app->clock->monotonic_ns(app->clock) + POOLVIEW_LOGS_NS};

    for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_HOST); i++)
        if (poolview_host_is_master(v, poolview_ref(v, POOLVIEW_HOST, i)))
            return poolview_add_logs(log, v, c, i, &manner, err);
    return -ENOENT;
}

/* A user who may not read logs, or a link that is too slow for them, is no reason to say nothing of the rest. */
static int take_sessions(struct poolview *v, struct xk_app *app, const struct client *c, struct xk_err *err)
{
    const struct sessionlog_settings settings = {
        .fs = app->fs, .clock = app->clock, .temp_dir = xk_env(app, "TMPDIR"), .unreadable = forget};
    struct sessionlog_summary *const summary = xk_zalloc(sizeof(*summary));
    struct sessionlog *log = NULL;

    if (!summary)
        return xk_fail_memory(err);
    int code = sessionlog_open(&log, &settings, err);
    if (code == 0)
        code = add_master(log, v, app, c, err);
    if (code == 0)
        code = sessionlog_run(log, err);
    if (code == 0)
        code = sessionlog_finish(log, summary, err);
    if (code < 0) {
        xk_log(app->log, XK_LOG_INFO, "%s: the sessions of its logs are not known: %s", v->url, err->text);
        sessionlog_close(log);
        free(summary);
        if (code == -ENOMEM || code == -EINTR)
            return code;
        xk_err_clear(err);
        return 0;
    }
    v->sessions = (struct poolview_sessions){.log = log, .summary = summary};
    return 0;
}

int poolview_visit_all(struct poolview *v, struct xk_app *app, const struct client *c, unsigned asks,
                       struct xk_err *err)
{
    struct visiting a = {.view = v, .app = app, .client = c, .asks = asks};
    const uint32_t hosts = poolview_count(v, POOLVIEW_HOST);

    v->visits = xk_array_alloc(hosts + 1, sizeof(*v->visits));
    if (!v->visits)
        return xk_fail_memory(err);
    if (hosts && asks & ~(unsigned)POOLVIEW_ASK_SESSIONS)
        xk_crew_run(XK_MIN(hosts, (uint32_t)POOLVIEW_THREADS), XK_CREW_STACK_BYTES, visit_some, &a);
    if (xk_stop_signal())
        return xk_fail(err, -EINTR, "stopped");
    return asks & POOLVIEW_ASK_SESSIONS ? take_sessions(v, app, c, err) : 0;
}
