/* `xenkit pool clock`: every host's clock against this machine's, what keeps it, and what depends on it. */
#include "rooms/pool/list.h"

#include <math.h>
#include <stdio.h>

struct clock_opts {
    struct client_access access;
    uint64_t warn_ns;
};

static const struct xk_opt clock_opts[] = {
    XK_OPT_DURATION('w', "warn", struct clock_opts, warn_ns, "TIME",
                    "a skew above it, and above what may be an error, is bad [2s]"),
    CLIENT_ACCESS_OPTS(struct clock_opts, access),
    XK_OPT_END,
};

/* Milliseconds are more than a host's whole seconds can tell. */
static double rounded(double seconds)
{
    return round(seconds * 1000) / 1000;
}

static void put_clock(struct xk_out *out, const struct poolview_clock *c, bool bad)
{
    if (c->known) {
        xk_put_double(out, "skew_s", rounded(c->skew_s));
        xk_out_color(out, bad ? XK_COLOR_BAD : XK_COLOR_GOOD);
        xk_put_double(out, "bound_s", rounded(c->bound_s));
    } else {
        xk_put_none(out, "skew_s");
        xk_put_none(out, "bound_s");
    }
}

static void put_ntp(struct xk_out *out, const struct poolview_ntp *n)
{
    xk_put_str(out, "ntp_mode", n->known ? n->mode : NULL);
    if (n->sync_known)
        xk_put_bool(out, "synchronised", n->synchronised);
    else
        xk_put_none(out, "synchronised");
    xk_put_str(out, "ntp_servers", n->known ? n->servers : NULL);
}

/* Valid by both clocks, or not by one of them. returns   whether it is bad. */
static bool put_certificate(struct xk_out *out, const struct poolview *v, uint32_t host)
{
    const struct poolview_certificate *const c = &v->visits[host].certificate;
    const char *const here = poolview_certificate_problem(c, v->now_s), *const there = poolview_certificate_problem(
                                                                            c, poolview_host_now(v, host));
    char word[64] = "valid";

    if (!c->known) {
        xk_put_none(out, "certificate");
        xk_put_none(out, "certificate_from");
        xk_put_none(out, "certificate_until");
        return false;
    }
    if (here || there)
        snprintf(word, sizeof(word), "%s%s", here ? here : there,
                 here && there ? ""
                 : here        ? " by this machine's clock"
                               : " by the host's clock");
    xk_put_str(out, "certificate", word);
    xk_out_color(out, here || there ? XK_COLOR_BAD : XK_COLOR_GOOD);
    xk_put_time(out, "certificate_from", c->from_s);
    xk_put_time(out, "certificate_until", c->until_s);
    return here || there;
}

/* The two hosts whose clocks differ most. */
static void put_spread(struct xk_out *out, const struct poolview *v)
{
    const uint32_t count = poolview_count(v, POOLVIEW_HOST);
    uint32_t low = count, high = count;

    for (uint32_t i = 0; i < count; i++) {
        if (!v->visits[i].clock.known)
            continue;
        if (low == count || v->visits[i].clock.skew_s < v->visits[low].clock.skew_s)
            low = i;
        if (high == count || v->visits[i].clock.skew_s > v->visits[high].clock.skew_s)
            high = i;
    }
    if (low == high) /* none, or one */
        return;
    const struct poolview_clock *const l = &v->visits[low].clock, *const h = &v->visits[high].clock;
    xk_out_record(out, "spread");
    xk_put_str(out, "behind", poolview_text(poolview_record(v, POOLVIEW_HOST, low), "name_label"));
    xk_put_str(out, "ahead", poolview_text(poolview_record(v, POOLVIEW_HOST, high), "name_label"));
    xk_put_double(out, "spread_s", rounded(h->skew_s - l->skew_s));
    xk_put_double(out, "bound_s", rounded(h->bound_s + l->bound_s));
    xk_out_end(out);
}

static int tell(struct xk_app *app, const struct poolview *v, double warn_s)
{
    struct xk_out *const out = app->out;
    int status = XK_EXIT_OK;

    xk_out_rows(out, "clocks");
    for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_HOST); i++) {
        const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
        const struct poolview_clock *const c = &v->visits[i].clock;
        const bool off = c->known && fabs(c->skew_s) > warn_s + c->bound_s;
        xk_row(out);
        xk_put_str(out, "host", poolview_text(host, "name_label"));
        xk_put_str(out, "address", poolview_text(host, "address"));
        put_clock(out, c, off);
        put_ntp(out, &v->visits[i].ntp);
        const bool bad = put_certificate(out, v, i);
        xk_put_str(out, "error", c->known ? NULL : c->why);
        status = off || bad ? XK_EXIT_BAD : status;
    }
    xk_out_end(out);
    put_spread(out, v);
    return status;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct clock_opts *const opts = args->opts;
    struct poolview v = {0};

    int code = pool_list_take(&v, app, args->count ? args->operands[0] : NULL, &opts->access,
                              POOL_CLASS(POOL) | POOL_CLASS(HOST) | POOL_CLASS(HOST_METRICS),
                              POOLVIEW_ASK_CLOCK | POOLVIEW_ASK_NTP | POOLVIEW_ASK_CERTIFICATE, err);
    if (code == 0)
        code = tell(app, &v, (double)opts->warn_ns / 1e9);
    poolview_done(&v);
    return code;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "every clock that could be asked is right, and every certificate valid by it and by this machine's"},
    {XK_EXIT_BAD, "a clock is off, or a certificate is not valid"},
    {0, NULL},
};
static const struct clock_opts defaults = {.access = CLIENT_ACCESS_DEFAULTS, .warn_ns = 2 * XK_NS_PER_S};
static const char *const example[] = {NULL};

const struct xk_command pool_cmd_clock = {
    .name = "clock",
    .summary = "compare the clocks of hosts with this machine's",
    .operands = "[POOL]",
    .max_operands = 1,
    .opts = clock_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct clock_opts),
    .run = run,
    .exits = exits,
    .example = example,
};
