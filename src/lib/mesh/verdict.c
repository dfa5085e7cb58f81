/*
 * Outliers by median and MAD, which half of the links may be wrong without spoiling; mean and standard deviation, which
 * one bad link moves, are only reported.
 */
#include "lib/mesh/verdict.h"

#include "core/stats.h"
#include "core/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAD_TO_SIGMA 1.4826 /* of a normal distribution */

/* ---- the rows that findings refer to; they have no `run`, since all look at everything at once ---- */

enum row { HOST_GONE, FLOW_FAILED, HOST_BAD, LINK_BAD, ASYMMETRIC, DIFFERENT, LATE_START };

static const struct xk_check rows[] = {
    [HOST_GONE] = {.id = "mesh.host-gone",
                   .title = "Host without an agent",
                   .severity = XK_CRITICAL,
                   .why = "What has this host at an end was not measured.",
                   .fix = "start the agent by hand on that host and look what it says: `xenkit net agent`"},
    [FLOW_FAILED] = {.id = "mesh.failed",
                     .title = "Measurement failed",
                     .severity = XK_CRITICAL,
                     .why =
                         "Both agents were there, but there was no test between them: a firewall, a route, an address.",
                     .fix = "see whether the ports are open between the two: `xenkit net ports`, and which way packets "
                            "take: `xenkit net path`"},
    [HOST_BAD] = {.id = "mesh.host-bad",
                  .title = "Host that is not like the others",
                  .severity = XK_WARNING,
                  .why =
                      "Most links of this host are out of line, so its own interface, cable, port or load is the cause "
                      "and not the way to one other host.",
                  .fix = "look at its interface: `ethtool`, `ip -s link`, and at what else it does"},
    [LINK_BAD] = {.id = "mesh.link-bad",
                  .title = "Link that is not like the others",
                  .severity = XK_WARNING,
                  .why = "Both hosts are as good as the others with everybody else, so the cause lies between the two.",
                  .fix =
                      "measure it alone and ask what holds it up: `xenkit net run` on the one, `xenkit net serve` on "
                      "the other"},
    [ASYMMETRIC] =
        {.id = "mesh.asymmetric",
         .title = "Link that is slower in one direction",
         .severity = XK_WARNING,
         .why = "The same cable, but not the same way or the same ends: duplex, offloads, bonding, a busy host.",
         .fix = "compare offloads and duplex of the two interfaces: `ethtool`"},
    [DIFFERENT] = {.id = "mesh.different",
                   .title = "Hosts that are set up differently",
                   .severity = XK_NOTE,
                   .why = "A mesh of hosts that should be alike is only as good as the one that is not.",
                   .fix = "make them alike, or know why they are not"},
    [LATE_START] = {.id = "mesh.spread",
                    .title = "Flows that did not begin together",
                    .severity = XK_NOTE,
                    .why = "In a step in which they should load the network together, some were alone for a while.",
                    .fix = "measure for longer than the spread, or from a machine that is nearer to the hosts"},
};

static const char *const metric_names[MESH_METRICS] = {"rate", "loss", "delay"};

/* ---- numbers ---- */

static bool value_of(const struct mesh_flow *f, enum mesh_metric m, double *ret)
{
    if (!f->done || f->pattern != MESH_PAIRS)
        return false;
    switch (m) {
    case MESH_RATE:
        *ret = f->received_bps;
        return true;
    case MESH_LOSS:
        *ret = f->loss_percent;
        return f->probed;
    case MESH_DELAY:
        *ret = f->rtt_p50_ms;
        return f->rtt_p50_ms > 0;
    case MESH_METRICS:
        break;
    }
    return false;
}

static int find_usual(struct mesh_usual *ret, const struct mesh_result *r, enum mesh_metric m)
{
    xk_autofree double *values = xk_array_alloc(XK_MAX(r->count, (size_t)1), sizeof(*values));

    *ret = (struct mesh_usual){0};
    if (!values)
        return -ENOMEM;
    for (size_t i = 0; i < r->count; i++)
        ret->count += value_of(&r->flows[i], m, &values[ret->count]);
    if (ret->count == 0)
        return 0;
    ret->mean = xk_mean(values, ret->count);
    ret->stddev = xk_stddev(values, ret->count);
    if (xk_mad(&ret->mad, values, ret->count) < 0)
        return -ENOMEM;
    ret->mad *= MAD_TO_SIGMA;
    xk_sort_doubles(values, ret->count);
    ret->median = xk_median_sorted(values, ret->count);
    ret->min = values[0];
    ret->max = values[ret->count - 1];
    return 0;
}

static bool is_out(const struct mesh_usual *u, enum mesh_metric m, double v)
{
    if (u->count < MESH_LINKS_MIN)
        return false;
    switch (m) {
    case MESH_RATE:
        return v < u->median * MESH_SLOW_SHARE && v < u->median - MESH_OUTLIER_MADS * u->mad;
    case MESH_LOSS:
        return v > u->median + MESH_LOSS_PERCENT && v > u->median + MESH_OUTLIER_MADS * u->mad;
    case MESH_DELAY:
        return v > u->median * MESH_DELAY_FACTOR && v > u->median + MESH_DELAY_MS &&
               v > u->median + MESH_OUTLIER_MADS * u->mad;
    case MESH_METRICS:
        break;
    }
    return false;
}

struct words {
    char s[96];
};

static struct words say(enum mesh_metric m, double v)
{
    struct words w;
    if (m == MESH_RATE)
        snprintf(w.s, sizeof(w.s), "%s", xk_rate((uint64_t)v).s);
    else
        snprintf(w.s, sizeof(w.s), m == MESH_LOSS ? "%.2f %% lost" : "%.1f ms in the median", v);
    return w;
}

/* ---- findings ---- */

struct search {
    const struct mesh_plan *plan;
    const struct mesh_result *result;
    struct mesh_verdict *verdict;
    bool *named; /* for each flow: a finding speaks of it */
};

static const char *name_of(const struct search *s, unsigned host)
{
    return s->plan->hosts[host].name;
}

static void find_failures(const struct search *s)
{
    struct xk_findings *const sink = &s->verdict->findings;

    for (unsigned h = 0; h < s->result->hosts; h++)
        if (!s->result->agents[h].alive)
            xk_find(sink, &rows[HOST_GONE], XK_CRITICAL, name_of(s, h), NULL, "%s", s->result->agents[h].why);
    for (size_t i = 0; i < s->result->count; i++) {
        const struct mesh_flow *const f = &s->result->flows[i];
        char object[2 * MESH_NAME_BYTES + 8];
        if (f->done || !s->result->agents[f->pair.from].alive || !s->result->agents[f->pair.to].alive)
            continue;
        snprintf(object, sizeof(object), "%s to %s", name_of(s, f->pair.from), name_of(s, f->pair.to));
        xk_find(sink, &rows[FLOW_FAILED], XK_CRITICAL, object, NULL, "%s: %s", mesh_pattern_name(f->pattern), f->why);
    }
}

/* Links of a host that are out of line, of those that were measured: away from it, and to it. */
struct side {
    unsigned out, all;
    double worst;
};

static struct side count_side(const struct search *s, enum mesh_metric m, unsigned host, bool away)
{
    const struct mesh_usual *const u = &s->verdict->usual[m];
    struct side side = {0};

    for (size_t i = 0; i < s->result->count; i++) {
        const struct mesh_flow *const f = &s->result->flows[i];
        double v;
        if ((away ? f->pair.from : f->pair.to) != host || !value_of(f, m, &v))
            continue;
        side.all++;
        if (!is_out(u, m, v))
            continue;
        if (side.out++ == 0 || (m == MESH_RATE ? v < side.worst : v > side.worst))
            side.worst = v;
    }
    return side;
}

static bool most(struct side side)
{
    return side.all >= 3 && 3 * side.out >= 2 * side.all;
}

static void find_hosts(const struct search *s, enum mesh_metric m)
{
    for (unsigned h = 0; h < s->result->hosts; h++) {
        const struct side away = count_side(s, m, h, true), to = count_side(s, m, h, false);
        const struct mesh_usual *const u = &s->verdict->usual[m];
        if (!most(away) && !most(to))
            continue;
        const struct side *const worse = most(away) ? &away : &to;
        xk_find(&s->verdict->findings, &rows[HOST_BAD], XK_WARNING, name_of(s, h), NULL,
                "%s: %u of %u links away from it and %u of %u to it are out of line, the worst with %s; all %zu links "
                "have a "
                "median of %s",
                metric_names[m], away.out, away.all, to.out, to.all, say(m, worse->worst).s, u->count,
                say(m, u->median).s);
        for (size_t i = 0; i < s->result->count; i++) {
            const struct mesh_pair p = s->result->flows[i].pair;
            s->named[i] = s->named[i] || (most(away) && p.from == h) || (most(to) && p.to == h);
        }
    }
}

/* The flow of the other direction, when that was measured. */
static const struct mesh_flow *back_of(const struct search *s, const struct mesh_flow *f)
{
    const struct mesh_flow *const b = mesh_result_pair(s->result, f->pair.to, f->pair.from);
    return b && b->done ? b : NULL;
}

static bool is_named(const struct search *s, const struct mesh_flow *f)
{
    return s->named[f - s->result->flows];
}

static void find_links(const struct search *s, enum mesh_metric m)
{
    const struct mesh_usual *const u = &s->verdict->usual[m];

    for (size_t i = 0; i < s->result->count; i++) {
        const struct mesh_flow *const f = &s->result->flows[i];
        char object[2 * MESH_NAME_BYTES + 8];
        double v;
        if (s->named[i] || !value_of(f, m, &v) || !is_out(u, m, v))
            continue;
        s->named[i] = true;
        /* A round trip goes both ways; what is wrong with one of them has been said. */
        const struct mesh_flow *const back = back_of(s, f);
        if (m == MESH_DELAY && back && is_named(s, back))
            continue;
        snprintf(object, sizeof(object), "%s to %s", name_of(s, f->pair.from), name_of(s, f->pair.to));
        xk_find(&s->verdict->findings, &rows[LINK_BAD], XK_WARNING, object, NULL,
                "%s: %s; all %zu links have a median of %s (MAD %s); %llu retransmits", metric_names[m], say(m, v).s,
                u->count, say(m, u->median).s, say(m, u->mad).s, (unsigned long long)f->retransmits);
    }
}

static void find_asymmetry(const struct search *s)
{
    const struct mesh_usual *const u = &s->verdict->usual[MESH_RATE];

    for (size_t i = 0; i < s->result->count; i++) {
        const struct mesh_flow *const f = &s->result->flows[i];
        char object[2 * MESH_NAME_BYTES + 8];
        if (s->named[i] || !f->done || f->pattern != MESH_PAIRS)
            continue;
        const struct mesh_flow *const b = back_of(s, f);
        /* In noise as wide as that, two directions differ by chance. */
        if (!b || is_named(s, b) || f->received_bps >= b->received_bps * MESH_ASYMMETRY ||
            b->received_bps - f->received_bps < MESH_OUTLIER_MADS * sqrt(2) * u->mad)
            continue;
        snprintf(object, sizeof(object), "%s to %s", name_of(s, f->pair.from), name_of(s, f->pair.to));
        xk_find(&s->verdict->findings, &rows[ASYMMETRIC], XK_WARNING, object, NULL, "%s, and %s the other way",
                say(MESH_RATE, f->received_bps).s, say(MESH_RATE, b->received_bps).s);
    }
}

/* ---- how hosts are set up ---- */

static const char *setting_of(const struct mesh_agent *a, unsigned which, char room[24])
{
    switch (which) {
    case 0:
        snprintf(room, 24, "%llu", (unsigned long long)a->look.mtu);
        return a->look.mtu ? room : "";
    case 1:
        return a->look.offloads;
    case 2:
        return a->look.qdisc;
    case 3:
        return a->hello.kernel;
    default:
        return a->hello.program;
    }
}

static void find_differences(const struct search *s)
{
    static const char *const settings[] = {"MTU", "offloads", "queue discipline", "kernel", "program"};
    char room[24], first_room[24];

    for (unsigned which = 0; which < XK_COUNT(settings); which++) {
        struct xk_buf text = XK_BUF_INIT(4096);
        const char *first = NULL;
        bool differs = false;
        for (unsigned h = 0; h < s->result->hosts; h++) {
            const struct mesh_agent *const a = &s->result->agents[h];
            const char *const value = setting_of(a, which, room);
            if (!a->alive || !*value)
                continue;
            differs = differs || (first && strcmp(first, value) != 0);
            if (!first)
                first = setting_of(a, which, first_room);
            xk_buf_printf(&text, "%s%s %s", text.len > 0 ? "; " : "", name_of(s, h), value);
        }
        if (differs)
            xk_find(&s->verdict->findings, &rows[DIFFERENT], which == 0 ? XK_WARNING : XK_NOTE, settings[which], NULL,
                    "%.1500s", xk_buf_str(&text));
        xk_buf_done(&text);
    }
}

int mesh_verdict_find(struct mesh_verdict *ret, const struct mesh_plan *plan, const struct mesh_result *result)
{
    xk_autofree bool *named = xk_array_alloc(XK_MAX(result->count, (size_t)1), sizeof(*named));
    const struct search s = {.plan = plan, .result = result, .verdict = ret, .named = named};

    *ret = (struct mesh_verdict){0};
    if (!named)
        return -ENOMEM;
    find_failures(&s);
    for (enum mesh_metric m = 0; m < MESH_METRICS; m++)
        if (find_usual(&ret->usual[m], result, m) < 0)
            return -ENOMEM;
    for (enum mesh_metric m = 0; m < MESH_METRICS; m++)
        find_hosts(&s, m);
    for (enum mesh_metric m = 0; m < MESH_METRICS; m++)
        find_links(&s, m);
    find_asymmetry(&s);
    find_differences(&s);
    /* Pairs share nothing: it is no matter to one when the other begins. */
    if (result->load_spread_ns > MESH_SPREAD_MS * XK_NS_PER_MS)
        xk_find(&ret->findings, &rows[LATE_START], XK_NOTE, "start", NULL,
                "%s between the first and the last flow of a step", xk_duration(result->load_spread_ns).s);
    xk_findings_sort(&ret->findings);
    return ret->findings.error;
}

void mesh_verdict_done(struct mesh_verdict *v)
{
    xk_findings_done(&v->findings);
}
