/*
 * xenkit-mpi: a mesh whose hosts are the ranks of an MPI job.
 *
 *     mpirun --hostfile HOSTS xenkit-mpi [OPTIONS]
 *
 * Where clusters are started by MPI, neither ssh keys for agents nor a coordinator that reaches all hosts are needed:
 * each rank starts the agent of its own host, MPI's barriers stand between the phases of a step, and rank 0 gathers and
 * shows what was measured. MPI carries no measured byte; the tests are those of `xenkit net mesh`.
 *
 * A rank whose agent fails takes part in every barrier to the end, so that the others do not wait for it.
 */
#include "core/text.h"
#include "lib/mesh/agent.h"
#include "lib/mesh/link.h"
#include "lib/mesh/order.h"
#include "rooms/net/mesh-show.h"

#include <errno.h>
#include <mpi.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_NS (20 * XK_NS_PER_S)
#define BEAT_NS   XK_NS_PER_S
#define WORDS_MAX 64
#define PROGRAM   "xenkit " XK_VERSION

struct settings {
    bool json, agent;
    const char *address, *shell, *html, *prometheus;
    struct xk_words patterns;
    uint64_t seconds, streams, rate_bps, probe_bps;
};

static const struct xk_opt options[] = {
    XK_OPT_TEXT('a', "address", struct settings, address, "ADDRESS",
                "of this host, where the others reach it; {} is the rank [its name]"),
    XK_OPT_TEXT(0, "shell", struct settings, shell, "COMMAND", "starts this host's agent; {} is the rank [itself]"),
    XK_OPT_LIST(0, "pattern", struct settings, patterns, "NAME", "pairs, all, incast, outcast [pairs]"),
    XK_OPT_U64('t', "seconds", struct settings, seconds, "N", 1, MESH_SECONDS_MAX, "each flow lasts [2]"),
    XK_OPT_U64('P', "streams", struct settings, streams, "N", 1, MESH_STREAMS_MAX, "TCP streams of a flow [1]"),
    XK_OPT_RATE('b', "rate", struct settings, rate_bps, "RATE", "of each stream [as fast as it goes]"),
    XK_OPT_RATE(0, "probe-rate", struct settings, probe_bps, "RATE", "of the UDP second that counts losses [10Mbit/s]"),
    XK_OPT_FLAG(0, "json", struct settings, json, "show everything as JSON"),
    XK_OPT_TEXT(0, "html", struct settings, html, "FILE", "write a page with heat maps, too"),
    XK_OPT_TEXT(0, "prometheus", struct settings, prometheus, "FILE", "write the flows as metrics, too"),
    XK_OPT_FLAG(0, "agent", struct settings, agent, "be the agent itself, without MPI"),
    XK_OPT_END,
};

/* What a rank tells the others of itself; plain bytes for MPI. */
struct card {
    char name[MESH_NAME_BYTES], address[INET6_ADDRSTRLEN], why[MESH_WHY_BYTES];
    bool alive;
    struct mesh_message hello, look;
};

struct rank {
    int rank, ranks;
    const struct settings *settings;
    struct mesh_plan plan;
    struct mesh_link link;
    struct mesh_host host;
    struct card card, *cards; /* own; of all */
    struct mesh_port *ports;  /* of the step, of all */
    struct mesh_result result;
    uint64_t number;
    const struct xk_clock *clock;
};

/* Of flows' beginnings, after the barrier. */
struct range {
    int64_t first_ns, last_ns;
};

static uint64_t now_of(const struct rank *r)
{
    return r->clock->monotonic_ns(r->clock);
}

/* ---- this rank's agent ---- */

static void lose(struct rank *r, const char *why)
{
    if (!r->card.alive)
        return;
    if (r->link.err_fd >= 0)
        mesh_link_hear_error(&r->link);
    snprintf(r->card.why, sizeof(r->card.why), "%.100s%s%.150s", why, *r->link.last_words ? ": " : "",
             r->link.last_words);
    r->card.alive = false;
    mesh_link_close(&r->link);
}

static void tell(struct rank *r, const struct mesh_message *m)
{
    if (r->card.alive && mesh_write(r->link.fd, m) < 0)
        lose(r, "its agent is gone");
}

/* The next message about one of `count` numbers. returns whether there is one. */
static bool hear(struct rank *r, uint64_t number, uint64_t count, uint64_t deadline_ns, struct mesh_message *ret)
{
    struct xk_err err = {0};

    while (r->card.alive) {
        const int taken = mesh_reader_take(&r->link.reader, ret, &err);
        if (taken < 0) {
            lose(r, err.text);
            break;
        }
        if (taken > 0 && ret->word != MESH_BEAT && ret->number - number < count)
            return true;
        if (taken > 0)
            continue;
        const uint64_t now = now_of(r);
        if (now >= deadline_ns)
            return false;
        struct pollfd p = {.fd = r->link.fd, .events = POLLIN};
        (void)poll(&p, 1, (int)(XK_MIN(deadline_ns - now, BEAT_NS) / XK_NS_PER_MS) + 1);
        const int filled = p.revents != 0 ? mesh_reader_fill(&r->link.reader, r->link.fd) : -EAGAIN;
        if (filled != -EAGAIN && filled <= 0)
            lose(r, "its agent is gone");
    }
    return false;
}

static void start_agent(struct rank *r, const struct mesh_run_settings *s)
{
    struct xk_err err = {0};
    struct resolve_addresses addresses;
    const struct resolve_limits limits = {
        .clock = r->clock, .deadline_ns = resolve_deadline(r->clock, ANSWER_NS), .root = ""};
    struct mesh_message m, look = {.word = MESH_LOOK, .number = ++r->number};

    int code = resolve_name(&addresses, r->host.address, 0, AF_UNSPEC, &limits, &err);
    if (code == 0) {
        snprintf(r->card.address, sizeof(r->card.address), "%.45s", resolve_host_text(&addresses.list[0]).s);
        code = mesh_link_start(&r->link, &r->host, s, &err);
    }
    r->card.alive = code == 0;
    if (code < 0) {
        snprintf(r->card.why, sizeof(r->card.why), "%.255s", err.text);
        return;
    }
    if (!hear(r, 0, 1, now_of(r) + ANSWER_NS, &r->card.hello) || r->card.hello.word != MESH_HELLO ||
        r->card.hello.version != MESH_VERSION) {
        lose(r, "its agent did not start");
        return;
    }
    snprintf(look.host, sizeof(look.host), "%s", r->card.address);
    tell(r, &look);
    if (hear(r, look.number, 1, now_of(r) + ANSWER_NS, &m) && m.word == MESH_LOOK)
        r->card.look = m;
}

/* ---- a step ---- */

/* The port is 0 when nobody needs a server here, or there is none. */
static struct mesh_port serve(struct rank *r, uint64_t number, unsigned clients)
{
    struct mesh_message m, order;
    struct mesh_port port = {0};

    if (clients == 0 || mesh_order_server(&order, &port, number, r->card.address, clients) < 0)
        return port;
    tell(r, &order);
    if (hear(r, number, 1, now_of(r) + ANSWER_NS, &m) && m.word == MESH_SERVING)
        port.port = m.port;
    return port;
}

/* Ask for the flows that begin here, and wait until each is ready or has failed. */
static void prepare(struct rank *r, struct mesh_flow *flows, unsigned count, uint64_t first, bool probe)
{
    const uint64_t deadline_ns = now_of(r) + ANSWER_NS;

    for (unsigned i = 0; i < count; i++) {
        struct mesh_flow *const f = &flows[i];
        if (f->pair.from != r->rank)
            continue;
        const struct mesh_port *const server = &r->ports[f->pair.to];
        const struct mesh_message order = mesh_order_client(&r->plan, first + i, server, probe);
        struct mesh_message m;
        if (server->port == 0) {
            snprintf(f->why, sizeof(f->why), "no server on %s", r->cards[f->pair.to].name);
            continue;
        }
        tell(r, &order);
        if (!hear(r, order.number, 1, deadline_ns, &m) || m.word != MESH_READY)
            snprintf(f->why, sizeof(f->why), "%.200s",
                     r->card.alive && m.word == MESH_FAILED ? m.text : "it was not ready");
    }
}

/* A flow that begins here and has not failed. */
static bool is_going(const struct rank *r, const struct mesh_flow *f)
{
    return f->pair.from == r->rank && !*f->why;
}

/* After the barrier: all that are ready go; results as they come. *ret: how long after it flows began here. */
static void go(struct rank *r, struct mesh_flow *flows, unsigned count, uint64_t first, bool probe, struct range *ret)
{
    const uint64_t begin_ns = now_of(r);
    const uint64_t deadline_ns = begin_ns + mesh_order_seconds(&r->plan, probe) * XK_NS_PER_S + ANSWER_NS;
    struct mesh_message m;
    unsigned waiting = 0;

    for (unsigned i = 0; i < count; i++)
        if (is_going(r, &flows[i])) {
            tell(r, &(struct mesh_message){.word = MESH_GO, .number = first + i, .at_ns = begin_ns});
            waiting++;
        }
    while (waiting > 0 && hear(r, first, count, deadline_ns, &m)) {
        struct mesh_flow *const f = &flows[m.number - first];
        if (m.word == MESH_STARTED) {
            f->begin_ns = (int64_t)m.at_ns - (int64_t)begin_ns;
            ret->first_ns = XK_MIN(ret->first_ns, f->begin_ns);
            ret->last_ns = XK_MAX(ret->last_ns, f->begin_ns);
            continue;
        }
        waiting--;
        if (m.word == MESH_RESULT)
            mesh_flow_take(f, &m, probe);
        else
            snprintf(f->why, sizeof(f->why), "%.255s", *m.text ? m.text : "it failed");
    }
    for (unsigned i = 0; waiting > 0 && i < count; i++)
        if (is_going(r, &flows[i]) && !(probe ? flows[i].probed : flows[i].done))
            snprintf(flows[i].why, sizeof(flows[i].why), "%.200s", r->card.alive ? "no result in time" : r->card.why);
}

static int perform(void *context, struct mesh_flow *flows, unsigned count, bool probe)
{
    struct rank *const r = context;
    const uint64_t server = ++r->number, first = r->number + 1;
    struct range own = {.first_ns = INT64_MAX, .last_ns = INT64_MIN}, all = own;
    unsigned clients = 0;

    r->number += count;
    for (unsigned i = 0; i < count; i++)
        clients += flows[i].pair.to == r->rank;
    const struct mesh_port port = serve(r, server, clients);
    MPI_Allgather(&port, sizeof(port), MPI_BYTE, r->ports, sizeof(port), MPI_BYTE, MPI_COMM_WORLD);
    prepare(r, flows, count, first, probe);
    MPI_Barrier(MPI_COMM_WORLD);
    go(r, flows, count, first, probe, &own);
    MPI_Reduce(&own.first_ns, &all.first_ns, 1, MPI_INT64_T, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(&own.last_ns, &all.last_ns, 1, MPI_INT64_T, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    tell(r, &(struct mesh_message){.word = MESH_END, .number = server});
    if (!probe && all.last_ns > all.first_ns) /* rank 0 alone has them all */
        mesh_result_spread(&r->result, flows[0].pattern, (uint64_t)(all.last_ns - all.first_ns));
    return 0;
}

/* Every rank has all flows of a step; the one where a flow begins knows it. Rank 0 takes each from there. */
static void gather(void *context, struct mesh_flow *flows, unsigned count)
{
    const struct rank *const r = context;

    for (unsigned i = 0; i < count; i++) {
        const int from = flows[i].pair.from;
        if (from == 0)
            continue;
        if (r->rank == from)
            MPI_Send(&flows[i], sizeof(flows[i]), MPI_BYTE, 0, (int)i, MPI_COMM_WORLD);
        else if (r->rank == 0)
            MPI_Recv(&flows[i], sizeof(flows[i]), MPI_BYTE, from, (int)i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
}

/* ---- the beginning and the end ---- */

static int set_up(struct rank *r, struct xk_err *err)
{
    const struct settings *const s = r->settings;
    char name[MPI_MAX_PROCESSOR_NAME] = "", text[RESOLVE_NAME_BYTES], rank[16];
    const char *words[MESH_WORDS_MAX + 1] = {"/proc/self/exe", "--agent"};
    xk_autofree char *shell = xk_strdup(s->shell ? s->shell : "");
    int length;

    if (!shell)
        return xk_fail_memory(err);
    MPI_Get_processor_name(name, &length);
    /* Ranks on one host are told apart by their number. */
    snprintf(r->card.name, sizeof(r->card.name), "%.48s-%d", name, r->rank);
    snprintf(rank, sizeof(rank), "%d", r->rank);
    const char *const hole = s->address ? strstr(s->address, "{}") : NULL;
    if (hole)
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(hole - s->address), s->address, rank, hole + 2);
    else
        snprintf(text, sizeof(text), "%.250s", s->address ? s->address : name);
    int code = s->shell ? mesh_plan_split(words, shell, err) : 0;
    if (code < 0)
        return code;
    for (const char **word = words; *word; word++)
        *word = strcmp(*word, "{}") == 0 ? rank : *word;
    struct mesh_plan one = {0};
    code = mesh_plan_add(&one, r->card.name, text, words, NULL, err);
    r->host = one.hosts[0];
    return code;
}

static int show(const struct rank *r, struct xk_err *err)
{
    const struct mesh_result *const result = &r->result;
    const struct xk_out_settings to = {.format = r->settings->json ? XK_OUT_JSON : XK_OUT_TABLE, .fs = xk_fs_posix()};
    struct xk_app app = {.clock = r->clock, .fs = xk_fs_posix(), .root = ""};
    struct mesh_verdict verdict;
    struct xk_tally tally;

    int code = xk_out_open(&app.out, &to, err);
    if (code < 0)
        return code;
    code = mesh_verdict_find(&verdict, &r->plan, result);
    const struct net_mesh m = {.plan = &r->plan, .result = result, .verdict = &verdict};
    if (code == 0)
        net_mesh_show(&app, &m);
    if (code == 0 && r->settings->html)
        code = net_mesh_page(&app, &m, r->settings->html, err);
    if (code == 0 && r->settings->prometheus)
        code = net_mesh_metrics(&app, &m, r->settings->prometheus, err);
    const int written = xk_out_finish(app.out, code < 0 ? err : NULL, err);
    xk_out_close(app.out);
    xk_findings_tally(&tally, &verdict.findings);
    mesh_verdict_done(&verdict);
    return code < 0 ? code : written < 0 ? written : tally.bad ? XK_EXIT_BAD : XK_EXIT_OK;
}

static int run(struct rank *r, struct xk_err *err)
{
    const struct mesh_run_settings settings = {.clock = r->clock, .root = ""};
    static const char *const word[] = {"x", NULL};

    r->result.hosts = (unsigned)r->ranks;
    const int ready = set_up(r, err);
    if (ready == 0)
        start_agent(r, &settings);
    else
        snprintf(r->card.why, sizeof(r->card.why), "%.255s", err->text);
    MPI_Allgather(&r->card, sizeof(r->card), MPI_BYTE, r->cards, sizeof(r->card), MPI_BYTE, MPI_COMM_WORLD);
    int code = 0;
    for (int i = 0; code == 0 && i < r->ranks; i++)
        code = mesh_plan_add(&r->plan, r->cards[i].name, *r->cards[i].address ? r->cards[i].address : "?", word, NULL,
                             err);
    if (code == 0)
        code = mesh_steps_run(&r->result, &r->plan, &(struct mesh_steps){r, perform, gather}, err);
    mesh_link_close(&r->link);
    MPI_Gather(&r->card, sizeof(r->card), MPI_BYTE, r->cards, sizeof(r->card), MPI_BYTE, 0, MPI_COMM_WORLD);
    for (int i = 0; i < r->ranks; i++) {
        struct mesh_agent *const a = &r->result.agents[i];
        const struct card *const c = &r->cards[i];
        *a = (struct mesh_agent){.alive = c->alive, .hello = c->hello, .look = c->look};
        memcpy(a->why, c->why, sizeof(a->why));
        memcpy(a->address, c->address, sizeof(a->address));
    }
    if (code == 0 && r->rank == 0)
        code = show(r, err);
    mesh_result_done(&r->result);
    return code;
}

static int parse(struct settings *s, struct mesh_plan *plan, int argc, char **argv, struct xk_opt_memory *memory,
                 struct xk_err *err)
{
    const struct xk_opt_set sets[] = {{.opts = options, .into = s}};
    const char *room[WORDS_MAX];
    int count = 0;

    if (argc > WORDS_MAX)
        return xk_fail(err, -EINVAL, "too many words");
    int code = xk_opt_parse(sets, 1, argc - 1, argv + 1, room, &count, memory, err);
    if (code == 0 && count > 0)
        code = xk_fail(err, -EINVAL, "\"%s\" is no option; the hosts are the ranks of the job", room[0]);
    *plan = (struct mesh_plan){
        .seconds = s->seconds, .streams = s->streams, .rate_bps = s->rate_bps, .probe_bps = s->probe_bps};
    plan->patterns[MESH_PAIRS] = true;
    return code < 0 ? code : mesh_plan_choose(plan, &s->patterns, err);
}

int main(int argc, char **argv)
{
    struct settings settings = {.seconds = 2, .streams = 1, .probe_bps = 10000000};
    struct rank *const r = xk_zalloc(sizeof(*r));
    struct xk_opt_memory memory = {0};
    struct xk_random random;
    struct xk_err err = {0};

    (void)signal(SIGPIPE, SIG_IGN);
    if (!r)
        return XK_EXIT_IO;
    r->clock = xk_clock_system();
    r->settings = &settings;
    r->link = (struct mesh_link){.fd = -1, .err_fd = -1};
    int code = parse(&settings, &r->plan, argc, argv, &memory, &err);
    if (code == 0 && settings.agent) {
        xk_random_seed_system(&random);
        code = mesh_agent_serve(STDIN_FILENO, STDOUT_FILENO,
                                &(struct mesh_agent_settings){.clock = r->clock, .random = &random, .program = PROGRAM},
                                &err);
        return code < 0 ? XK_EXIT_REMOTE : XK_EXIT_OK;
    }
    MPI_Init(NULL, NULL);
    MPI_Comm_rank(MPI_COMM_WORLD, &r->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &r->ranks);
    if (code == 0 && (r->ranks < 2 || r->ranks > (int)MESH_HOSTS_MAX))
        code = xk_fail(&err, -EINVAL, "a mesh has 2 to %u ranks, this job has %d", MESH_HOSTS_MAX, r->ranks);
    r->cards = xk_array_alloc((size_t)r->ranks, sizeof(*r->cards));
    r->ports = xk_array_alloc((size_t)r->ranks, sizeof(*r->ports));
    if (code == 0)
        code = r->cards && r->ports ? run(r, &err) : xk_fail_memory(&err);
    if (code < 0 && r->rank == 0)
        fprintf(stderr, "xenkit-mpi: %s\n", err.text);
    if (code == -ENOMEM)
        MPI_Abort(MPI_COMM_WORLD, XK_EXIT_IO);
    MPI_Finalize();
    mesh_plan_done(&r->plan);
    free(r->cards);
    free(r->ports);
    free(r);
    xk_opt_done(&memory);
    return code == -EINVAL ? XK_EXIT_USAGE : code < 0 ? XK_EXIT_REMOTE : code;
}
