/*
 * The coordinator's loop: everything waits in one place, wait_for(), which takes in what any agent says until a
 * condition holds or its deadline passes. A step is a line of such waits: servers stand, clients are ready, results
 * are there.
 */
#include "lib/mesh/run.h"

#include "lib/mesh/link.h"
#include "lib/mesh/order.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define HELLO_NS  (20 * XK_NS_PER_S) /* ssh may ask a slow server */
#define ANSWER_NS (10 * XK_NS_PER_S)
#define READY_NS  (20 * XK_NS_PER_S)
#define RESULT_NS (20 * XK_NS_PER_S) /* beyond the test's own time */
#define SILENT_NS (10 * XK_NS_PER_S) /* an agent says something every second */
#define LEAD_NS   (20 * XK_NS_PER_MS)
#define SAMPLES   5u
#define SLICE_NS  (200 * XK_NS_PER_MS) /* how often silence is looked for */

enum stage { ASKED, READY, STARTED, ENDED };

/* A flow of the running step; its server. */
struct active {
    struct mesh_flow *flow;
    enum stage stage;
    uint64_t number;
    bool failed;
    int64_t started_ns; /* by this clock */
    struct mesh_message result;
};

struct server {
    unsigned host, clients;
    uint64_t number;
    struct mesh_port port;
    bool failed;
    char why[MESH_WHY_BYTES];
};

struct run {
    struct mesh_result *result;
    const struct mesh_plan *plan;
    const struct mesh_run_settings *settings;
    struct mesh_link links[MESH_HOSTS_MAX];
    struct active *active;
    unsigned active_count;
    struct server servers[MESH_HOSTS_MAX];
    unsigned server_count;
    unsigned looked; /* hosts that have said what their interface is */
    uint64_t number;
    struct xk_err *err;
};

static uint64_t now_of(const struct run *r)
{
    return r->settings->clock->monotonic_ns(r->settings->clock);
}

/* ---- giving up ---- */

static void fail_flow(struct active *a, const char *why)
{
    if (a->stage == ENDED)
        return;
    a->stage = ENDED;
    a->failed = true;
    snprintf(a->flow->why, sizeof(a->flow->why), "%s", why);
}

static void lose(struct run *r, unsigned host, const char *why)
{
    struct mesh_link *const l = &r->links[host];
    struct mesh_agent *const agent = &r->result->agents[host];

    if (!l->alive)
        return;
    if (l->err_fd >= 0)
        mesh_link_hear_error(l);
    snprintf(agent->why, sizeof(agent->why), "%s%s%.150s", why, *l->last_words ? ": " : "", l->last_words);
    agent->alive = false;
    mesh_link_close(l);
    for (unsigned i = 0; i < r->active_count; i++) {
        struct active *const a = &r->active[i];
        char text[MESH_WHY_BYTES];
        if (a->flow->pair.from != host && a->flow->pair.to != host)
            continue;
        snprintf(text, sizeof(text), "the agent of %s: %.150s", l->host->name, agent->why);
        fail_flow(a, text);
    }
    for (unsigned i = 0; i < r->server_count; i++)
        if (r->servers[i].host == host)
            r->servers[i].failed = true;
}

static void tell(struct run *r, unsigned host, const struct mesh_message *m)
{
    if (r->links[host].alive && mesh_write(r->links[host].fd, m) < 0)
        lose(r, host, "it is gone");
}

/* ---- what agents say ---- */

static void take_clock(struct run *r, struct mesh_link *l, struct mesh_agent *agent, const struct mesh_message *m)
{
    const uint64_t now = now_of(r), rtt = now - l->asked_ns;

    if (m->number != l->asked_number)
        return;
    if (l->samples++ == 0 || rtt < l->best_rtt_ns) {
        l->best_rtt_ns = rtt;
        l->offset_ns = (int64_t)m->at_ns - (int64_t)(l->asked_ns + rtt / 2);
    }
    agent->clock_error_ns = XK_MAX(agent->clock_error_ns, l->samples == SAMPLES ? l->best_rtt_ns / 2 : 0);
}

static void take_server(struct server *s, const struct mesh_message *m)
{
    s->port.port = m->port;
    s->failed = s->failed || m->word == MESH_FAILED || m->port == 0;
    if (m->word == MESH_FAILED)
        snprintf(s->why, sizeof(s->why), "%s", m->text);
}

static void take_flow(struct active *a, const struct mesh_link *l, const struct mesh_message *m)
{
    switch (m->word) {
    case MESH_READY:
        a->stage = a->stage < READY ? READY : a->stage;
        break;
    case MESH_STARTED:
        a->stage = a->stage < STARTED ? STARTED : a->stage;
        a->started_ns = (int64_t)m->at_ns - l->offset_ns;
        break;
    case MESH_RESULT:
        if (a->stage != STARTED) {
            fail_flow(a, "it told a result before it began");
            break;
        }
        a->result = *m;
        a->stage = ENDED;
        break;
    case MESH_FAILED:
        fail_flow(a, *m->text ? m->text : "it failed");
        break;
    default:
        fail_flow(a, "it said something that does not belong there");
    }
}

static void take(struct run *r, unsigned host, const struct mesh_message *m)
{
    struct mesh_link *const l = &r->links[host];
    struct mesh_agent *const agent = &r->result->agents[host];

    if (!l->greeted) {
        if (m->word != MESH_HELLO || m->version != MESH_VERSION) {
            lose(r, host,
                 m->word == MESH_HELLO ? "it speaks another version of the protocol" : "it is no agent of a mesh");
            return;
        }
        l->greeted = true;
        agent->hello = *m;
        return;
    }
    if (m->word == MESH_BEAT || m->word == MESH_HELLO)
        return;
    if (m->word == MESH_CLOCK) {
        take_clock(r, l, agent, m);
        return;
    }
    if (m->number == 0) {
        if (m->word == MESH_LOOK)
            agent->look = *m;
        r->looked++;
        return;
    }
    for (unsigned i = 0; i < r->server_count; i++)
        if (r->servers[i].number == m->number && r->servers[i].host == host)
            take_server(&r->servers[i], m);
    for (unsigned i = 0; i < r->active_count; i++)
        if (r->active[i].number == m->number && r->active[i].flow->pair.from == host && r->active[i].stage != ENDED)
            take_flow(&r->active[i], l, m);
}

static void hear(struct run *r, unsigned host)
{
    struct mesh_link *const l = &r->links[host];
    struct mesh_message m;
    struct xk_err err = {0};
    int code = mesh_reader_fill(&l->reader, l->fd);

    if (code == -EAGAIN)
        return;
    l->heard_ns = now_of(r);
    int taken = 0;
    while (l->alive && (taken = mesh_reader_take(&l->reader, &m, &err)) > 0)
        take(r, host, &m);
    if (taken < 0)
        lose(r, host, err.text);
    else if (code == -EMSGSIZE)
        lose(r, host, "it says what is no message");
    else if (code <= 0)
        lose(r, host, l->greeted ? "it is gone" : "it did not start");
}

/* returns 0: the condition holds; -ETIMEDOUT; -EINTR. */
static int wait_for(struct run *r, bool (*holds)(const struct run *), uint64_t deadline_ns)
{
    const unsigned hosts = r->plan->host_count;

    for (;;) {
        struct pollfd polls[2 * MESH_HOSTS_MAX];
        const uint64_t now = now_of(r);

        if (holds(r))
            return 0;
        if (xk_stop_signal())
            return -EINTR;
        if (now >= deadline_ns)
            return -ETIMEDOUT;
        for (unsigned i = 0; i < hosts; i++) {
            polls[2 * i] = (struct pollfd){.fd = r->links[i].alive ? r->links[i].fd : -1, .events = POLLIN};
            polls[2 * i + 1] = (struct pollfd){.fd = r->links[i].alive ? r->links[i].err_fd : -1, .events = POLLIN};
        }
        const uint64_t slice = XK_MIN(deadline_ns - now, SLICE_NS);
        if (poll(polls, 2 * hosts, (int)(slice / XK_NS_PER_MS) + 1) < 0)
            continue;
        for (unsigned i = 0; i < hosts; i++) {
            struct mesh_link *const l = &r->links[i];
            if (l->alive && polls[2 * i + 1].revents != 0 && l->err_fd >= 0)
                mesh_link_hear_error(l);
            if (l->alive && polls[2 * i].revents != 0)
                hear(r, i);
            if (l->alive && l->greeted && now_of(r) - l->heard_ns > SILENT_NS)
                lose(r, i, "it has said nothing for 10 seconds");
        }
    }
}

/* ---- conditions ---- */

static bool all_greeted(const struct run *r)
{
    for (unsigned i = 0; i < r->plan->host_count; i++)
        if (r->links[i].alive && !r->links[i].greeted)
            return false;
    return true;
}

static bool all_looked(const struct run *r)
{
    unsigned alive = 0;
    for (unsigned i = 0; i < r->plan->host_count; i++)
        alive += r->links[i].alive;
    return r->looked >= alive;
}

static bool all_clocks(const struct run *r)
{
    for (unsigned i = 0; i < r->plan->host_count; i++)
        if (r->links[i].alive && r->links[i].samples < r->links[i].asked_number)
            return false;
    return true;
}

static bool all_serving(const struct run *r)
{
    for (unsigned i = 0; i < r->server_count; i++)
        if (r->servers[i].port.port == 0 && !r->servers[i].failed)
            return false;
    return true;
}

static bool all_at(const struct run *r, enum stage stage)
{
    for (unsigned i = 0; i < r->active_count; i++)
        if (r->active[i].stage < stage)
            return false;
    return true;
}

static bool all_ready(const struct run *r)
{
    return all_at(r, READY);
}

static bool all_ended(const struct run *r)
{
    return all_at(r, ENDED);
}

/* ---- a step ---- */

/* How far each agent's clock is from this one, from the quickest of some questions. */
static int ask_clocks(struct run *r)
{
    for (unsigned i = 0; i < r->plan->host_count; i++)
        r->links[i].samples = 0;
    for (unsigned sample = 1; sample <= SAMPLES; sample++) {
        for (unsigned i = 0; i < r->plan->host_count; i++) {
            const struct mesh_message ask = {.word = MESH_CLOCK, .number = sample};
            r->links[i].asked_number = sample;
            r->links[i].asked_ns = now_of(r);
            tell(r, i, &ask);
        }
        const int code = wait_for(r, all_clocks, now_of(r) + ANSWER_NS);
        for (unsigned i = 0; code == -ETIMEDOUT && i < r->plan->host_count; i++)
            if (r->links[i].samples < sample)
                lose(r, i, "it did not say what time it is");
        if (code == -EINTR)
            return code;
    }
    return 0;
}

static int start_servers(struct run *r)
{
    int code;

    r->server_count = 0;
    for (unsigned i = 0; i < r->active_count; i++) {
        const unsigned to = r->active[i].flow->pair.to;
        unsigned s = 0;
        while (s < r->server_count && r->servers[s].host != to)
            s++;
        if (s == r->server_count)
            r->servers[r->server_count++] = (struct server){.host = to, .number = ++r->number};
        r->servers[s].clients++;
    }
    for (unsigned s = 0; s < r->server_count; s++) {
        struct server *const server = &r->servers[s];
        struct mesh_message order;
        code = mesh_order_server(&order, &server->port, server->number, r->result->agents[server->host].address,
                                 server->clients);
        if (code < 0)
            return xk_fail(r->err, code, "there are no random numbers");
        tell(r, server->host, &order);
        server->failed = server->failed || !r->links[server->host].alive;
    }
    code = wait_for(r, all_serving, now_of(r) + ANSWER_NS);
    return code == -EINTR ? code : 0;
}

static int start_clients(struct run *r, bool probe)
{
    for (unsigned i = 0; i < r->active_count; i++) {
        struct active *const a = &r->active[i];
        const struct server *s = r->servers;
        while (s->host != a->flow->pair.to)
            s++;
        if (s->port.port == 0 || s->failed) {
            char why[MESH_WHY_BYTES];
            snprintf(why, sizeof(why), "no server on %s%s%.200s", r->plan->hosts[s->host].name, *s->why ? ": " : "",
                     s->why);
            fail_flow(a, why);
            continue;
        }
        const struct mesh_message order = mesh_order_client(r->plan, a->number, &s->port, probe);
        tell(r, a->flow->pair.from, &order);
    }
    const int code = wait_for(r, all_ready, now_of(r) + READY_NS);
    for (unsigned i = 0; i < r->active_count; i++)
        if (r->active[i].stage < READY)
            fail_flow(&r->active[i], "it was not ready in time");
    return code == -EINTR ? code : 0;
}

static int let_go(struct run *r, uint64_t seconds)
{
    uint64_t lead_ns = LEAD_NS;
    int64_t first = INT64_MAX, last = INT64_MIN;

    for (unsigned i = 0; i < r->plan->host_count; i++)
        if (r->links[i].alive)
            lead_ns = XK_MAX(lead_ns, LEAD_NS + 2 * r->links[i].best_rtt_ns);
    const uint64_t begin_ns = now_of(r) + lead_ns;
    for (unsigned i = 0; i < r->active_count; i++) {
        const struct active *const a = &r->active[i];
        const unsigned from = a->flow->pair.from;
        const struct mesh_message go = {
            .word = MESH_GO,
            .number = a->number,
            .at_ns = (uint64_t)XK_MAX((int64_t)begin_ns + r->links[from].offset_ns, INT64_C(0)),
        };
        if (a->stage == READY)
            tell(r, from, &go);
    }
    const int code = wait_for(r, all_ended, begin_ns + seconds * XK_NS_PER_S + RESULT_NS);
    for (unsigned i = 0; i < r->active_count; i++) {
        struct active *const a = &r->active[i];
        if (a->stage < ENDED)
            fail_flow(a, code == -EINTR ? "stopped" : "no result in time");
        if (a->failed)
            continue;
        a->flow->begin_ns = a->started_ns - (int64_t)begin_ns;
        first = XK_MIN(first, a->started_ns);
        last = XK_MAX(last, a->started_ns);
    }
    if (last > first)
        mesh_result_spread(r->result, r->active[0].flow->pattern, (uint64_t)(last - first));
    return code == -EINTR ? code : 0;
}

static void end_all(struct run *r)
{
    for (unsigned i = 0; i < r->server_count; i++) {
        const struct mesh_message end = {.word = MESH_END, .number = r->servers[i].number};
        tell(r, r->servers[i].host, &end);
    }
    for (unsigned i = 0; i < r->active_count; i++) {
        const struct mesh_message end = {.word = MESH_END, .number = r->active[i].number};
        tell(r, r->active[i].flow->pair.from, &end);
    }
    r->server_count = 0;
}

static void take_results(struct run *r, bool probe)
{
    for (unsigned i = 0; i < r->active_count; i++)
        if (!r->active[i].failed)
            mesh_flow_take(r->active[i].flow, &r->active[i].result, probe);
}

/* The flows of a step, all at once; those between hosts that are alive. */
static int perform(void *context, struct mesh_flow *flows, unsigned count, bool probe)
{
    struct run *const r = context;

    r->active_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct active *const a = &r->active[r->active_count];
        const struct mesh_pair p = flows[i].pair;
        if (probe && !flows[i].done)
            continue;
        *a = (struct active){.flow = &flows[i], .number = ++r->number};
        r->active_count++;
        for (unsigned end = 0; end < 2; end++) {
            const unsigned host = end == 0 ? p.from : p.to;
            char why[MESH_WHY_BYTES];
            snprintf(why, sizeof(why), "the agent of %s: %.150s", r->plan->hosts[host].name,
                     r->result->agents[host].why);
            if (!r->links[host].alive)
                fail_flow(a, why);
        }
    }
    int code = all_ended(r) ? 0 : ask_clocks(r);
    if (code == 0)
        code = start_servers(r);
    if (code == 0)
        code = start_clients(r, probe);
    if (code == 0)
        code = let_go(r, mesh_order_seconds(r->plan, probe));
    end_all(r);
    take_results(r, probe);
    r->active_count = 0;
    return code;
}

static void tell_flows(void *context, struct mesh_flow *flows, unsigned count)
{
    const struct mesh_run_settings *const s = ((const struct run *)context)->settings;

    for (unsigned i = 0; s->on_flow && i < count; i++)
        s->on_flow(s->context, &flows[i]);
}

/* ---- the beginning ---- */

/* returns whether there is one; else the host is none of the mesh, with the reason. */
static bool find_address(struct run *r, unsigned host)
{
    const struct resolve_limits limits = {.clock = r->settings->clock,
                                          .deadline_ns = resolve_deadline(r->settings->clock, ANSWER_NS),
                                          .root = r->settings->root};
    struct mesh_agent *const agent = &r->result->agents[host];
    struct resolve_addresses addresses;
    struct xk_err err = {0};

    if (resolve_name(&addresses, r->plan->hosts[host].address, 0, AF_UNSPEC, &limits, &err) < 0) {
        snprintf(agent->why, sizeof(agent->why), "%.255s", err.text);
        return false;
    }
    snprintf(agent->address, sizeof(agent->address), "%.45s", resolve_host_text(&addresses.list[0]).s);
    return true;
}

static int start_agents(struct run *r)
{
    unsigned alive = 0;

    for (unsigned i = 0; i < r->plan->host_count; i++) {
        struct mesh_agent *const agent = &r->result->agents[i];
        struct xk_err err = {0};
        if (!find_address(r, i))
            continue;
        agent->alive = mesh_link_start(&r->links[i], &r->plan->hosts[i], r->settings, &err) == 0;
        if (!agent->alive)
            snprintf(agent->why, sizeof(agent->why), "%.255s", err.text);
    }
    int code = wait_for(r, all_greeted, now_of(r) + HELLO_NS);
    for (unsigned i = 0; i < r->plan->host_count; i++)
        if (r->links[i].alive && !r->links[i].greeted)
            lose(r, i, "it did not answer");
    if (code == -EINTR)
        return code;
    for (unsigned i = 0; i < r->plan->host_count; i++) {
        struct mesh_message ask = {.word = MESH_LOOK};
        snprintf(ask.host, sizeof(ask.host), "%s", r->result->agents[i].address);
        tell(r, i, &ask);
    }
    code = wait_for(r, all_looked, now_of(r) + ANSWER_NS);
    if (code == -EINTR)
        return code;
    for (unsigned i = 0; i < r->plan->host_count; i++)
        alive += r->links[i].alive;
    if (alive >= 2)
        return 0;
    code = xk_fail(r->err, -EHOSTUNREACH, "%s of %u agents can be reached", alive == 1 ? "only one" : "none",
                   r->plan->host_count);
    for (unsigned i = 0; i < r->plan->host_count; i++)
        if (!r->links[i].alive) {
            xk_err_hint(r->err, "%s: %s", r->plan->hosts[i].name, r->result->agents[i].why);
            break;
        }
    return code;
}

int mesh_run(struct mesh_result *ret, const struct mesh_plan *plan, const struct mesh_run_settings *settings,
             struct xk_err *err)
{
    xk_autofree struct run *r = xk_zalloc(sizeof(*r));
    xk_autofree struct active *active = xk_array_alloc((size_t)MESH_HOSTS_MAX * MESH_HOSTS_MAX, sizeof(*active));

    *ret = (struct mesh_result){.hosts = plan->host_count};
    if (!r || !active)
        return xk_fail_memory(err);
    *r = (struct run){.result = ret, .plan = plan, .settings = settings, .active = active, .err = err};
    for (unsigned i = 0; i < MESH_HOSTS_MAX; i++)
        r->links[i].fd = r->links[i].err_fd = -1;
    int code = start_agents(r);
    if (code == 0)
        code = mesh_steps_run(ret, plan, &(struct mesh_steps){r, perform, tell_flows}, err);
    for (unsigned i = 0; i < plan->host_count; i++)
        mesh_link_close(&r->links[i]);
    return code == -EINTR ? xk_fail(err, code, "stopped") : code;
}
