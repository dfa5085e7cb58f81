/* `xenkit pool ports`: can this machine reach the ports of every host that it needs? */
#include "rooms/pool/list.h"

#include "core/crew.h"
#include "lib/portscan/portscan.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define THREADS_MAX   16U
#define PARALLEL      64
#define SOME_NOT_OPEN 1

struct ports_opts {
    struct client_access access;
    const char *ports, *role;
    uint64_t wait_ns;
};

static const struct xk_opt ports_opts[] = {
    XK_OPT_TEXT('p', "ports", struct ports_opts, ports, "LIST", "such as tcp/443,22 [those that this machine needs]"),
    XK_OPT_TEXT('r', "role", struct ports_opts, role, "ROLE", "the ports of a role, as xenkit net ports has them"),
    XK_OPT_DURATION(0, "wait", struct ports_opts, wait_ns, "TIME", "for each port [2s]"),
    CLIENT_ACCESS_OPTS(struct ports_opts, access),
    XK_OPT_END,
};

struct asked {
    struct portscan_list list;
    struct xk_err err;
};

struct asking {
    const struct poolview *view;
    struct xk_app *app;
    const struct ports_opts *opts;
    struct asked *hosts;
    atomic_uint next;
};

static int collect(struct portscan_list *list, const struct ports_opts *opts, struct xk_err *err)
{
    int code = 0;

    if (opts->ports)
        code = portscan_list_parse(list, opts->ports, err);
    if (code == 0 && opts->role)
        code = portscan_list_role(list, opts->role, err);
    if (code == -EINVAL || code == -ENOENT)
        xk_err_exit(err, XK_EXIT_USAGE);
    return code;
}

static void ask(void *context, unsigned which)
{
    struct asking *const a = context;
    const struct xk_clock *const clock = a->app->clock;
    uint32_t i;

    while ((i = atomic_fetch_add(&a->next, 1)) < poolview_count(a->view, POOLVIEW_HOST)) {
        struct asked *const h = &a->hosts[i];
        struct resolve_addresses addresses;
        struct portscan_settings settings = {
            .limits = {.clock = clock, .deadline_ns = resolve_deadline(clock, 5 * XK_NS_PER_S), .root = a->app->root},
            .timeout_ns = a->opts->wait_ns,
            .parallel = PARALLEL,
        };
        const struct xapi_value *const host = poolview_record(a->view, POOLVIEW_HOST, i);
        const char *const address = poolview_text(host, "address");
        int code = collect(&h->list, a->opts, &h->err);
        if (code == 0 && !a->opts->ports && !a->opts->role && poolview_list_ports(&h->list, a->view, host) < 0)
            code = xk_fail_memory(&h->err);
        if (code == 0)
            code = resolve_name(&addresses, address, 0, AF_UNSPEC, &settings.limits, &h->err);
        settings.limits.deadline_ns = RESOLVE_NO_DEADLINE;
        if (code == 0)
            (void)portscan_run(&h->list, &addresses.list[0], &settings, &h->err);
    }
}

static void put_host(struct xk_out *out, const struct xapi_value *host, const struct asked *h, bool *all_open)
{
    for (size_t i = 0; i < h->list.count; i++) {
        const struct portscan_port *const p = &h->list.ports[i];
        const struct portscan_row *const row = portscan_find_row(p->port, p->udp);
        *all_open &= p->state == PORTSCAN_OPEN && !h->err.code;
        xk_row(out);
        xk_put_str(out, "host", poolview_text(host, "name_label"));
        xk_put_str(out, "address", poolview_text(host, "address"));
        xk_put_u64(out, "port", p->port);
        xk_put_str(out, "proto", p->udp ? "udp" : "tcp");
        xk_put_str(out, "state", h->err.code ? "unreachable" : portscan_state_name(p->state));
        xk_out_color(out, p->state == PORTSCAN_OPEN && !h->err.code ? XK_COLOR_GOOD : XK_COLOR_WARN);
        xk_put_str(out, "purpose", row ? row->purpose : NULL);
        if (p->rtt_ms >= 0)
            xk_put_double(out, "rtt_ms", round(p->rtt_ms * 1000) / 1000);
        else
            xk_put_none(out, "rtt_ms");
    }
}

static int ask_all(struct xk_app *app, const struct poolview *v, const struct ports_opts *opts, struct xk_err *err)
{
    const uint32_t count = poolview_count(v, POOLVIEW_HOST);
    xk_autofree struct asked *hosts = xk_array_alloc(count + 1, sizeof(*hosts));
    struct asking a = {.view = v, .app = app, .opts = opts, .hosts = hosts};
    bool all_open = true;

    if (!hosts)
        return xk_fail_memory(err);
    if (count)
        xk_crew_run(XK_MIN(count, THREADS_MAX), XK_CREW_STACK_BYTES, ask, &a);
    xk_out_rows(app->out, "ports");
    for (uint32_t i = 0; i < count; i++) {
        put_host(app->out, poolview_record(v, POOLVIEW_HOST, i), &hosts[i], &all_open);
        portscan_list_done(&hosts[i].list);
    }
    xk_out_end(app->out);
    return all_open ? XK_EXIT_OK : SOME_NOT_OPEN;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    const struct ports_opts *const opts = args->opts;
    xk_autofree struct portscan_list *probe = xk_zalloc(sizeof(*probe));
    struct poolview v = {0};

    if (!probe)
        return xk_fail_memory(err);
    int code = collect(probe, opts, err); /* what is no list is told before anybody is asked */
    portscan_list_done(probe);
    if (code == 0)
        code = pool_list_take(&v, app, args->count ? args->operands[0] : NULL, &opts->access, POOL_CLASS(HOST), 0, err);
    if (code == 0)
        code = ask_all(app, &v, opts, err);
    poolview_done(&v);
    return code;
}

static const struct xk_exit_row exits[] = {
    {XK_EXIT_OK, "every port of every host is open"},
    {SOME_NOT_OPEN, "some are not"},
    {0, NULL},
};
static const struct ports_opts defaults = {.access = CLIENT_ACCESS_DEFAULTS, .wait_ns = 2 * XK_NS_PER_S};
static const char *const example[] = {"--ports", "1", NULL};

const struct xk_command pool_cmd_ports = {
    .name = "ports",
    .summary = "find out which ports of every host this machine reaches",
    .operands = "[POOL]",
    .max_operands = 1,
    .opts = ports_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct ports_opts),
    .run = run,
    .exits = exits,
    .example = example,
};
