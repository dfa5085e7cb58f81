/* `xenkit pool clock`: every host's clock against this machine's. */
#include "rooms/pool/list.h"

#include <math.h>
#include <string.h>

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

static int tell(struct xk_app *app, const struct poolview *v, double warn_s)
{
    struct xk_out *const out = app->out;
    int status = XK_EXIT_OK;

    xk_out_rows(out, "clocks");
    for (uint32_t i = 0; i < poolview_count(v, POOLVIEW_HOST); i++) {
        const struct xapi_value *const host = poolview_record(v, POOLVIEW_HOST, i);
        const struct poolview_clock *const c = &v->clocks[i];
        const bool bad = c->known && fabs(c->skew_s) > warn_s + c->bound_s;
        status = bad ? XK_EXIT_BAD : status;
        xk_row(out);
        xk_put_str(out, "host", poolview_text(host, "name_label"));
        xk_put_str(out, "address", poolview_text(host, "address"));
        if (c->known) {
            xk_put_double(out, "skew_s", rounded(c->skew_s));
            xk_out_color(out, bad ? XK_COLOR_BAD : XK_COLOR_GOOD);
            xk_put_double(out, "bound_s", rounded(c->bound_s));
            xk_put_none(out, "error");
        } else {
            xk_put_none(out, "skew_s");
            xk_put_none(out, "bound_s");
            xk_put_str(out, "error", c->why);
        }
    }
    xk_out_end(out);
    return status;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct clock_opts *const opts = args->opts;
    struct poolview v = {0};

    int code = pool_list_take(&v, app, args->count ? args->operands[0] : NULL, &opts->access,
                              POOL_CLASS(HOST) | POOL_CLASS(HOST_METRICS), true, err);
    if (code == 0)
        code = tell(app, &v, (double)opts->warn_ns / 1e9);
    poolview_done(&v);
    return code;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "every clock that could be asked is right"},
    {XK_EXIT_BAD, "a clock is off"},
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
