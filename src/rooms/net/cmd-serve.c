/*
 * `xenkit net serve`: the far side of `xenkit net run`, and of any iperf3 client.
 *
 * It hears only this machine unless it is told where: whoever reaches it can fill its link, and learns what
 * netdiag_account says about the host.
 */
#include "rooms/net/net.h"

#include "core/text.h"
#include "lib/netdiag/netdiag.h"
#include "lib/resolve/resolve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MULTI_MAX 1024
#define LOOPBACK  "127.0.0.1"
#define TICK_S    0.2

struct serve_opts {
    uint64_t port, multi, queue, max_seconds_ns, limit_bps;
    const char *bind;
    bool once, six;
};

static const struct xk_opt serve_opts_table[] = {
    XK_OPT_U64('p', "port", struct serve_opts, port, "PORT", 0, 65535, "TCP and UDP; 0: a free one [5201]"),
    XK_OPT_TEXT('B', "bind", struct serve_opts, bind, "ADDRESS",
                "hear this address; \"any\": all of them [127.0.0.1: only this machine]"),
    XK_OPT_FLAG('6', "ipv6", struct serve_opts, six, "with --bind any: IPv6 only; without --bind: ::1"),
    XK_OPT_U64('m', "multi", struct serve_opts, multi, "N", 1, MULTI_MAX, "tests at the same time [1]"),
    XK_OPT_U64(0, "queue", struct serve_opts, queue, "N", 0, IPERF_WAITING_MAX,
               "clients that wait in line instead of being refused [0]"),
    XK_OPT_FLAG('1', "once", struct serve_opts, once, "end after one test"),
    XK_OPT_DURATION(0, "max-seconds", struct serve_opts, max_seconds_ns, "TIME",
                    "refuse tests that take longer, whole seconds [none]"),
    XK_OPT_RATE(0, "max-rate", struct serve_opts, limit_bps, "RATE", "end tests that are faster on average [none]"),
    XK_OPT_END,
};

struct serve {
    struct xk_app *app;
};

/* What is kept of a test while it runs. */
struct view {
    struct netdiag_watch *watch;
};

static void put_line(struct serve *s, const char *event, const struct iperf_address *client, const char *detail)
{
    struct xk_out *const out = s->app->out;

    xk_row(out);
    xk_put_time(out, "time", s->app->clock->utc_ns(s->app->clock) / (int64_t)XK_NS_PER_S);
    xk_put_str(out, "event", event);
    xk_put_str(out, "client", client ? client->host : NULL);
    if (client)
        xk_put_u64(out, "port", client->port);
    else
        xk_put_none(out, "port");
    xk_put_str(out, "detail", detail);
    xk_out_flush(out);
}

static void listening(void *context, const struct iperf_settings *settings, uint16_t port, unsigned number)
{
    char text[160];

    if (number > 1)
        return;
    snprintf(text, sizeof(text), "%s port %u, %u at a time, room for %u in line",
             settings->bind_host ? settings->bind_host : "any address", port, settings->multi, settings->waiting);
    put_line(context, "listening", NULL, text);
}

static void accepted(void *context, struct iperf_test *t)
{
    const struct iperf_params *const p = &t->params;
    char text[200];

    snprintf(text, sizeof(text), "%s, %u stream%s%s, %u s%s%s", p->protocol == IPERF_UDP ? "udp" : "tcp", p->parallel,
             p->parallel == 1 ? "" : "s",
             p->bidirectional ? " each way"
             : p->reverse     ? " from us"
                              : " to us",
             p->time_s, p->rate_bps ? ", " : "", p->rate_bps ? xk_rate(p->rate_bps).s : "");
    put_line(context, "test", &t->peer, text);
}

static void started(void *context, struct iperf_test *t)
{
    struct serve *const s = context;
    struct view *const v = xk_zalloc(sizeof(*v));

    t->view = v;
    if (v)
        v->watch = netdiag_watch_begin(s->app->root, t, t->control_fd);
}

static void omit_done(void *context, struct iperf_test *t)
{
}

static void interval(void *context, struct iperf_test *t, const struct iperf_interval *i)
{
}

static char *account(void *context, struct iperf_test *t)
{
    struct view *const v = t->view;

    if (!v || !v->watch)
        return NULL;
    xk_autofree struct netdiag_account *a = xk_zalloc(sizeof(*a));
    if (!a)
        return NULL;
    netdiag_account_make(a, v->watch, t);
    return netdiag_account_text(a);
}

static void finished(void *context, struct iperf_test *t, const struct iperf_total *totals, unsigned count)
{
    struct netdiag_case c = {.params = &t->params};
    char text[240] = "";

    netdiag_case_ways(&c, t, totals, count);
    for (int way = 0; way < 2; way++) {
        const size_t at = strlen(text);
        if (!c.ways[way].used)
            continue;
        snprintf(text + at, sizeof(text) - at, "%s%s %s", at ? ", " : "", xk_rate((uint64_t)c.ways[way].received_bps).s,
                 way ? "to us" : "from us");
        const size_t more = strlen(text);
        if (t->params.protocol == IPERF_UDP)
            snprintf(text + more, sizeof(text) - more, ", %lld of %lld datagrams lost", (long long)c.ways[way].lost,
                     (long long)c.ways[way].packets);
    }
    put_line(context, "result", &t->peer, text);
}

static void failed(void *context, struct iperf_test *t, const struct xk_err *err)
{
    put_line(context, "failed", &t->peer, err->text);
}

static void in_line(void *context, const struct iperf_address *client, unsigned place)
{
    char text[40] = "left the line";

    if (place)
        snprintf(text, sizeof(text), "number %u in line", place);
    put_line(context, place ? "waiting" : "next", client, text);
}

static char *output(void *context, struct iperf_test *t, bool *ret_json)
{
    *ret_json = false;
    return xk_strdup("xenkit net serve keeps no transcript of a test\n");
}

static void gone(void *context, struct iperf_test *t)
{
    struct view *const v = t->view;

    if (v)
        netdiag_watch_end(v->watch);
    free(v);
    t->view = NULL;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct serve_opts *const o = args->opts;
    struct serve s = {.app = app};
    const bool any = o->bind && strcmp(o->bind, "any") == 0;
    const struct iperf_settings settings = {
        .bind_host = any       ? NULL
                     : o->bind ? o->bind
                     : o->six  ? "::1"
                               : LOOPBACK,
        .family = o->six ? AF_INET6 : AF_UNSPEC,
        .port = (uint16_t)o->port,
        .interval_s = TICK_S,
        .rcv_timeout_ms = IPERF_RCV_TIMEOUT_MS,
        .affinity = -1,
        .multi = (unsigned)o->multi,
        .waiting = (unsigned)o->queue,
        .one_off = o->once,
        .max_duration_s = (uint32_t)(o->max_seconds_ns / XK_NS_PER_S),
        .rate_limit_bps = o->limit_bps,
        .rate_limit_s = 5,
        .program = "xenkit " XK_VERSION,
    };
    const struct iperf_events events = {
        .context = &s,
        .accepted = accepted,
        .started = started,
        .omit_done = omit_done,
        .interval = interval,
        .account = account,
        .finished = finished,
        .output = output,
        .listening = listening,
        .failed = failed,
        .in_line = in_line,
        .gone = gone,
    };

    if (o->max_seconds_ns % XK_NS_PER_S || o->max_seconds_ns > IPERF_TIME_MAX * XK_NS_PER_S) {
        const int code = xk_fail(err, -EINVAL, "--max-seconds: whole seconds, up to 1d");
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    xk_out_rows(app->out, "events");
    const int code = iperf_server(&settings, &events, app->clock, app->random, err);
    xk_out_end(app->out);
    /* Asked to stop, it has done its work. */
    if (code == -EINTR) {
        xk_err_clear(err);
        return XK_EXIT_OK;
    }
    if (code <= -IPERF_FAIL)
        xk_err_exit(err, XK_EXIT_CANNOT);
    return code;
}

static const struct serve_opts defaults = {.port = IPERF_PORT, .multi = 1};
static const char *const example[] = {"--port", "0", "--once", NULL};

const struct xk_command net_cmd_serve = {
    .name = "serve",
    .summary = "be the far side of xenkit net run, and of any iperf3 client",
    .opts = serve_opts_table,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct serve_opts),
    .run = run,
    .kind = XK_SERVER,
    .help = "Without --bind only this machine reaches it. There is no password: bind it where only those come whom you "
            "trust, "
            "or use iperf3's authentication (xenkit iperf3 -s).",
    .example = example,
};
