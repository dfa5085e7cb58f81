/* `xenkit net ports`: which ports of a host answer. */
#include "rooms/net/net.h"

#include "core/text.h"
#include "lib/portscan/portscan.h"

#include <math.h>
#include <string.h>

#define RESOLVE_NS     (5 * XK_NS_PER_S)
#define TIMEOUT_MAX_NS (60 * XK_NS_PER_S)
#define PARALLEL       1024
#define SOME_NOT_OPEN  1

struct ports {
    struct xk_words ports, roles;
    uint64_t timeout_ns, parallel;
};

static const struct xk_opt ports_opts[] = {
    XK_OPT_LIST('p', "ports", struct ports, ports, "LIST",
                "such as tcp/443,udp/123,tcp/1-1024; may be given again [every port that a pool uses]"),
    XK_OPT_LIST('r', "role", struct ports, roles, "ROLE",
                "the ports of a role: pool, client, storage, ha, … (see the manual page); may be given again"),
    XK_OPT_DURATION('t', "timeout", struct ports, timeout_ns, "TIME", "for each port, 10ms to 1m [2s]"),
    XK_OPT_U64(0, "parallel", struct ports, parallel, "N", 1, PORTSCAN_PARALLEL_MAX,
               "ports asked at the same time [1024]"),
    XK_OPT_END,
};

/* ---- what is asked ---- */

static int collect(struct portscan_list *list, const struct ports *opts, struct xk_err *err)
{
    int code = 0;

    if (opts->timeout_ns < 10 * XK_NS_PER_MS || opts->timeout_ns > TIMEOUT_MAX_NS)
        code = xk_fail(err, -EINVAL, "--timeout %s: from 10ms to 1m", xk_duration(opts->timeout_ns).s);
    else if (!opts->ports.count && !opts->roles.count)
        code = portscan_list_role(list, NULL, err);
    for (size_t i = 0; code == 0 && i < opts->roles.count; i++)
        code = portscan_list_role(list, opts->roles.items[i], err);
    for (size_t i = 0; code == 0 && i < opts->ports.count; i++)
        code = portscan_list_parse(list, opts->ports.items[i], err);
    if (code < 0 && code != -ENOMEM)
        xk_err_exit(err, XK_EXIT_USAGE);
    return code;
}

/* ---- what came of it ---- */

static enum xk_color color_of(enum portscan_state state)
{
    return state == PORTSCAN_OPEN     ? XK_COLOR_GOOD
           : state == PORTSCAN_CLOSED ? XK_COLOR_WARN
           : state == PORTSCAN_SILENT ? XK_COLOR_DIM
                                      : XK_COLOR_BAD;
}

static void put_ports(struct xk_out *out, const struct portscan_list *list)
{
    xk_out_rows(out, "ports");
    for (size_t i = 0; i < list->count; i++) {
        const struct portscan_port *const p = &list->ports[i];
        const struct portscan_row *const row = portscan_find_row(p->port, p->udp);
        xk_row(out);
        xk_put_u64(out, "port", p->port);
        xk_put_str(out, "proto", p->udp ? "udp" : "tcp");
        xk_put_str(out, "state", portscan_state_name(p->state));
        xk_out_color(out, color_of(p->state));
        xk_put_str(out, "purpose", row ? row->purpose : NULL);
        if (p->rtt_ms >= 0)
            xk_put_double(out, "rtt_ms", round(p->rtt_ms * 1000) / 1000);
        else
            xk_put_none(out, "rtt_ms");
    }
    xk_out_end(out);
}

/* A host of a pool lets in what its own firewall lists; what to add there for one more port is always the same. */
static void advise(struct xk_out *out, const struct portscan_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct portscan_port *const p = &list->ports[i];
        if (p->state != PORTSCAN_FILTERED)
            continue;
        xk_say(out,
               "\nFiltered means silence or a firewall's refusal. On a host of a pool, for example:\n"
               "  iptables -I RH-Firewall-1-INPUT -p %s --dport %u -j ACCEPT && service iptables save\n",
               p->udp ? "udp" : "tcp", p->port);
        return;
    }
}

static int judge(struct xk_out *out, const struct portscan_list *list, const char *host, struct xk_err *err)
{
    size_t count[PORTSCAN_SILENT + 1] = {0};

    for (size_t i = 0; i < list->count; i++)
        count[list->ports[i].state]++;
    if (count[PORTSCAN_UNREACHABLE] == list->count) {
        const int code = xk_fail(err, -EHOSTUNREACH, "%s cannot be reached", host);
        xk_err_exit(err, XK_EXIT_USAGE); /* 2, what monitoring takes for critical */
        return code;
    }
    xk_say(out, "\n%zu open, %zu closed, %zu filtered, %zu open or filtered, %zu unreachable\n", count[PORTSCAN_OPEN],
           count[PORTSCAN_CLOSED], count[PORTSCAN_FILTERED], count[PORTSCAN_SILENT], count[PORTSCAN_UNREACHABLE]);
    advise(out, list);
    return count[PORTSCAN_OPEN] == list->count ? XK_EXIT_OK : SOME_NOT_OPEN;
}

static int scan(struct xk_app *app, const struct ports *opts, struct portscan_list *list, const char *host,
                struct xk_err *err)
{
    struct resolve_addresses addresses;
    struct portscan_settings settings = {
        .limits = {.clock = app->clock, .deadline_ns = resolve_deadline(app->clock, RESOLVE_NS), .root = app->root},
        .timeout_ns = opts->timeout_ns,
        .parallel = (unsigned)opts->parallel,
    };

    xk_out_record(app->out, NULL);
    xk_put_str(app->out, "host", host);
    int code = resolve_name(&addresses, host, 0, AF_UNSPEC, &settings.limits, err);
    if (code < 0) {
        xk_put_none(app->out, "address");
        xk_out_end(app->out);
        for (size_t i = 0; i < list->count; i++)
            list->ports[i].state = PORTSCAN_UNREACHABLE;
        if (xk_out_format(app->out) != XK_OUT_TABLE) /* people have enough of one sentence */
            put_ports(app->out, list);
        xk_err_exit(err, XK_EXIT_USAGE);
        return code;
    }
    xk_put_str(app->out, "address", resolve_host_text(&addresses.list[0]).s);
    xk_out_end(app->out);
    settings.limits.deadline_ns = RESOLVE_NO_DEADLINE;
    code = portscan_run(list, &addresses.list[0], &settings, err);
    if (code < 0)
        return code;
    put_ports(app->out, list);
    return judge(app->out, list, host, err);
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct ports *const opts = args->opts;
    xk_autofree struct portscan_list *list = xk_zalloc(sizeof(*list));

    if (!list)
        return xk_fail_memory(err);
    int code = collect(list, opts, err);
    if (code == 0)
        code = scan(app, opts, list, args->operands[0], err);
    portscan_list_done(list);
    return code;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "every port is open"},
    {SOME_NOT_OPEN, "some are not; UDP ports that stay silent are not known to be open"},
    {XK_EXIT_USAGE, "the host cannot be reached, or has no address; also bad usage"},
    {0, NULL},
};
static const struct ports defaults = {.timeout_ns = 2 * XK_NS_PER_S, .parallel = PARALLEL};
static const char *const example[] = {"127.0.0.1", "--ports", "tcp/1", NULL};

const struct xk_command net_cmd_ports = {
    .name = "ports",
    .summary = "find out which ports of a host are open, closed or kept shut by a firewall",
    .operands = "HOST",
    .min_operands = 1,
    .max_operands = 1,
    .opts = ports_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct ports),
    .run = run,
    .exits = exits,
    .example = example,
};
