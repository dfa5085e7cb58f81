/* `xenkit net ntp`: how far this machine's clock is from time servers. All servers are asked at the same time. */
#include "rooms/net/net.h"

#include "core/crew.h"
#include "core/text.h"
#include "lib/sntp/sntp.h"

#include <math.h>
#include <stdatomic.h>

#define SERVERS_MAX 1024
#define THREADS_MAX 64U
#define TIMEOUT_MAX (10 * XK_NS_PER_S)
#define INTERVAL_NS (100 * XK_NS_PER_MS)
#define OUT_OF_SYNC 1
#define CRITICAL    XK_EXIT_USAGE /* 2 as well: what monitoring takes for critical */

struct ntp {
    uint64_t samples, timeout_ns, warn_ns, crit_ns;
};

static const struct xk_opt ntp_opts[] = {
    XK_OPT_U64('n', "samples", struct ntp, samples, "N", SNTP_SAMPLES_MIN, SNTP_SAMPLES_MAX,
               "questions to each server; the quickest answer counts [4]"),
    XK_OPT_DURATION('w', "warn", struct ntp, warn_ns, "TIME", "an offset above it is a warning, status 1 [0.5s]"),
    XK_OPT_DURATION('c', "crit", struct ntp, crit_ns, "TIME", "an offset above it is critical, status 2 [5s]"),
    XK_OPT_DURATION('t', "timeout", struct ntp, timeout_ns, "TIME", "for everything, names included, at most 10s [8s]"),
    XK_OPT_END,
};

struct server {
    const char *name;
    struct sntp_answer answer;
    struct xk_err err; /* code 0: it answered */
};

struct asking {
    struct server *servers;
    unsigned count;
    atomic_uint next;
    struct sntp_settings settings;
};

static void ask(void *context, unsigned which)
{
    struct asking *const a = context;
    unsigned i;

    while ((i = atomic_fetch_add(&a->next, 1)) < a->count) {
        struct server *const s = &a->servers[i];
        (void)sntp_ask(&s->answer, s->name, &a->settings, &s->err);
    }
}

/* To the nanosecond: what comes after it is noise of the arithmetic. */
static double rounded(double seconds)
{
    return round(seconds * 1e9) / 1e9;
}

static void put_server(struct xk_out *out, const struct server *s, const struct ntp *opts)
{
    static const char *const missing[] = {"address",   "offset_s",        "delay_s", "stratum",
                                          "reference", "root_distance_s", "samples"};
    const struct sntp_answer *const a = &s->answer;

    xk_row(out);
    xk_put_str(out, "host", s->name);
    if (s->err.code) {
        for (size_t i = 0; i < XK_COUNT(missing); i++)
            xk_put_none(out, missing[i]);
        xk_put_str(out, "error", s->err.text);
        xk_out_color(out, XK_COLOR_BAD);
        return;
    }
    const double offset_ns = fabs(a->offset_s) * 1e9;
    xk_put_str(out, "address", resolve_host_text(&a->address).s);
    xk_put_double(out, "offset_s", rounded(a->offset_s));
    xk_out_color(out, offset_ns > (double)opts->crit_ns   ? XK_COLOR_BAD
                      : offset_ns > (double)opts->warn_ns ? XK_COLOR_WARN
                                                          : XK_COLOR_GOOD);
    xk_put_double(out, "delay_s", rounded(a->delay_s));
    xk_put_u64(out, "stratum", a->reply.stratum);
    xk_put_str(out, "reference", a->reply.reference);
    xk_put_double(out, "root_distance_s", rounded(a->reply.root_distance_s));
    xk_put_u64(out, "samples", a->samples);
    xk_put_none(out, "error");
}

/* Critical is a failure with a status of its own, as with the monitoring plugins. */
static int fail(int code, struct xk_err *err)
{
    xk_err_exit(err, CRITICAL);
    return code;
}

/* The offset that is farthest from 0 decides. */
static int judge(struct xk_out *out, const struct server *servers, unsigned count, const struct ntp *opts,
                 struct xk_err *err)
{
    const struct server *worst = NULL;

    for (unsigned i = 0; i < count; i++) {
        if (!servers[i].err.code && (!worst || fabs(servers[i].answer.offset_s) > fabs(worst->answer.offset_s)))
            worst = &servers[i];
    }
    if (!worst)
        return fail(xk_fail(err, -EPROTO, "no server gave an answer that can be used"), err);
    const double offset_s = worst->answer.offset_s;
    const double off_ns = fabs(offset_s) * 1e9;
    const bool right = off_ns <= (double)opts->warn_ns;
    xk_say_color(out, right ? XK_COLOR_GOOD : XK_COLOR_BAD,
                 "\nThis machine's clock is %s: ", right ? "right" : "wrong");
    xk_say(out, "it is %.6f s %s %s.\n", fabs(offset_s), offset_s < 0 ? "ahead of" : "behind",
           xk_out_clean(out, worst->name));
    if (right)
        return XK_EXIT_OK;
    xk_say(out,
           "Let chronyd or ntpd run against this server; a clock that is off breaks TLS, pool joins and sessions.\n");
    if (off_ns <= (double)opts->crit_ns)
        return OUT_OF_SYNC;
    return fail(xk_fail(err, -ETIME, "this machine's clock is off by %.3f s, more than --crit allows", fabs(offset_s)),
                err);
}

static int check_options(const struct ntp *opts, struct xk_err *err)
{
    const char *wrong = NULL;

    if (opts->timeout_ns < XK_NS_PER_MS || opts->timeout_ns > TIMEOUT_MAX)
        wrong = "--timeout: from 1ms to 10s";
    else if (opts->crit_ns < opts->warn_ns)
        wrong = "--crit is below --warn";
    if (!wrong)
        return 0;
    const int code = xk_fail(err, -EINVAL, "%s", wrong);
    xk_err_exit(err, XK_EXIT_USAGE);
    return code;
}

/* What is no server's name at all is a mistake on the command line. */
static int check_names(const struct xk_args *args, struct xk_err *err)
{
    char host[RESOLVE_NAME_BYTES];
    uint16_t port;
    int code = 0;

    for (int i = 0; code == 0 && i < args->count; i++)
        code = resolve_split(host, &port, args->operands[i], SNTP_PORT, err);
    return code;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct ntp *const opts = args->opts;
    struct asking a = {.count = (unsigned)args->count};

    int code = check_options(opts, err);
    if (code == 0)
        code = check_names(args, err);
    if (code < 0)
        return code;
    xk_autofree struct server *servers = xk_array_alloc(a.count, sizeof(*servers));
    if (!servers)
        return xk_fail_memory(err);
    for (unsigned i = 0; i < a.count; i++)
        servers[i].name = args->operands[i];
    a.servers = servers;
    a.settings = (struct sntp_settings){
        .limits = {.clock = app->clock,
                   .deadline_ns = resolve_deadline(app->clock, opts->timeout_ns),
                   .root = app->root},
        .samples = (unsigned)opts->samples,
        .interval_ns = INTERVAL_NS,
    };
    xk_crew_run(XK_MIN(a.count, THREADS_MAX), XK_CREW_STACK_BYTES, ask, &a);
    xk_out_rows(app->out, "servers");
    for (unsigned i = 0; i < a.count; i++)
        put_server(app->out, &servers[i], opts);
    xk_out_end(app->out);
    return judge(app->out, servers, a.count, opts, err);
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "every answer is within --warn"},
    {OUT_OF_SYNC, "an offset is above --warn"},
    {CRITICAL, "an offset is above --crit, or no server gave an answer that can be used; also bad usage"},
    {0, NULL},
};
static const struct ntp defaults = {
    .samples = SNTP_SAMPLES_MIN,
    .warn_ns = XK_NS_PER_S / 2,
    .crit_ns = 5 * XK_NS_PER_S,
    .timeout_ns = 8 * XK_NS_PER_S,
};
static const char *const example[] = {"--timeout", "1s", "127.0.0.1:1", NULL};

const struct xk_command net_cmd_ntp = {
    .name = "ntp",
    .summary = "compare this machine's clock with time servers",
    .operands = "SERVER[:PORT]…",
    .min_operands = 1,
    .max_operands = SERVERS_MAX,
    .opts = ntp_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct ntp),
    .run = run,
    .exits = exits,
    .example = example,
};
