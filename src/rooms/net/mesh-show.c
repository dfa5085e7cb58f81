/*
 * What a mesh has measured, for people (matrices), programs (rows), browsers (heat maps), monitoring (metrics).
 */
#include "rooms/net/mesh-show.h"

#include "core/text.h"
#include "lib/report/report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#define METRICS_BYTES_MAX (16u << 20)
#define PAGE_HOSTS_MAX    32u /* a heat map of more is no picture any more; the table has them */

static const char *name_of(const struct net_mesh *m, unsigned host)
{
    return m->plan->hosts[host].name;
}

/* ---- records ---- */

static void put_flow(struct xk_out *out, const struct net_mesh *m, const struct mesh_flow *f)
{
    xk_row(out);
    xk_put_str(out, "pattern", mesh_pattern_name(f->pattern));
    xk_put_u64(out, "step", f->step);
    xk_put_str(out, "from", name_of(m, f->pair.from));
    xk_put_str(out, "to", name_of(m, f->pair.to));
    if (!f->done) {
        xk_put_none(out, "rate_bps");
        xk_put_none(out, "loss_percent");
        xk_put_none(out, "jitter_ms");
        xk_put_none(out, "rtt_p50_ms");
        xk_put_none(out, "rtt_p99_ms");
        xk_put_none(out, "rtt_by");
        xk_put_none(out, "retransmits");
        xk_put_none(out, "cpu_from_percent");
        xk_put_none(out, "cpu_to_percent");
        xk_put_none(out, "begin_ms");
        xk_put_str(out, "error", f->why);
        return;
    }
    xk_put_rate(out, "rate", (uint64_t)f->received_bps);
    if (f->probed) {
        xk_put_pct(out, "loss", f->loss_percent);
        xk_put_double(out, "jitter_ms", f->jitter_ms);
    } else {
        xk_put_none(out, "loss_percent");
        xk_put_none(out, "jitter_ms");
    }
    if (f->rtt_p99_ms > 0) {
        xk_put_double(out, "rtt_p50_ms", f->rtt_p50_ms);
        xk_put_double(out, "rtt_p99_ms", f->rtt_p99_ms);
        xk_put_str(out, "rtt_by", f->echoes ? "echo" : "tcp");
    } else {
        xk_put_none(out, "rtt_p50_ms");
        xk_put_none(out, "rtt_p99_ms");
        xk_put_none(out, "rtt_by");
    }
    xk_put_u64(out, "retransmits", f->retransmits);
    xk_put_pct(out, "cpu_from", f->cpu_percent);
    xk_put_pct(out, "cpu_to", f->peer_cpu_percent);
    xk_put_double(out, "begin_ms", (double)f->begin_ns / 1e6);
    xk_put_none(out, "error");
}

static void put_hosts(struct xk_out *out, const struct net_mesh *m)
{
    xk_out_rows(out, "hosts");
    for (unsigned i = 0; i < m->result->hosts; i++) {
        const struct mesh_agent *const a = &m->result->agents[i];
        xk_row(out);
        xk_put_str(out, "host", name_of(m, i));
        xk_put_str(out, "address", a->address);
        xk_put_bool(out, "alive", a->alive);
        xk_out_color(out, a->alive ? XK_COLOR_GOOD : XK_COLOR_BAD);
        xk_put_str(out, "interface", *a->look.interface ? a->look.interface : NULL);
        if (a->look.mtu > 0)
            xk_put_u64(out, "mtu", a->look.mtu);
        else
            xk_put_none(out, "mtu");
        xk_put_str(out, "qdisc", *a->look.qdisc ? a->look.qdisc : NULL);
        xk_put_str(out, "offloads", *a->look.offloads ? a->look.offloads : NULL);
        xk_put_str(out, "kernel", *a->hello.kernel ? a->hello.kernel : NULL);
        xk_put_str(out, "program", *a->hello.program ? a->hello.program : NULL);
        if (a->clock_error_ns > 0)
            xk_put_duration(out, "clock_error", a->clock_error_ns);
        else
            xk_put_none(out, "clock_error_ns");
        xk_put_str(out, "error", *a->why ? a->why : NULL);
    }
    xk_out_end(out);
}

/* One cell of a matrix, in the width of a column. */
static struct xk_word cell(const struct mesh_flow *f, enum mesh_metric what)
{
    struct xk_word w;
    if (!f || !f->done || (what == MESH_LOSS && !f->probed))
        snprintf(w.s, sizeof(w.s), f ? "failed" : "-");
    else if (what == MESH_RATE)
        snprintf(w.s, sizeof(w.s), "%.3g", f->received_bps / 1e9);
    else if (what == MESH_LOSS)
        snprintf(w.s, sizeof(w.s), "%.3g", f->loss_percent);
    else
        snprintf(w.s, sizeof(w.s), "%.3g", f->rtt_p99_ms);
    return w;
}

/* Where no echoes came back, TCP's own measurement stands for them, and that is said. */
static const char *delay_title(const struct net_mesh *m)
{
    for (size_t i = 0; i < m->result->count; i++)
        if (m->result->flows[i].done && m->result->flows[i].echoes == 0)
            return "Round trip under load, 99th percentile in ms (of echoes, or as TCP says without them)";
    return "Round trip under load, 99th percentile of echoes in ms";
}

static void draw_matrix(struct xk_out *out, const struct net_mesh *m, enum mesh_metric what, const char *title)
{
    xk_say(out, "%s, from the left to the top\n%16s", title, "");
    for (unsigned to = 0; to < m->result->hosts; to++)
        xk_say(out, " %8.8s", xk_out_clean(out, name_of(m, to)));
    xk_say(out, "\n");
    for (unsigned from = 0; from < m->result->hosts; from++) {
        xk_say(out, "%-16.16s", xk_out_clean(out, name_of(m, from)));
        for (unsigned to = 0; to < m->result->hosts; to++)
            xk_say(out, " %8s", from == to ? "" : cell(mesh_result_pair(m->result, from, to), what).s);
        xk_say(out, "\n");
    }
    xk_say(out, "\n");
}

/* The sum and the range of what ran at the same time. */
static void put_steps(struct xk_out *out, const struct net_mesh *m)
{
    const struct mesh_result *const r = m->result;

    xk_out_rows(out, "steps");
    for (size_t i = 0; i < r->count;) {
        const struct mesh_flow *const first = &r->flows[i];
        double sum = 0, least = INFINITY, most = 0;
        size_t done = 0, all = 0;
        for (; i < r->count && r->flows[i].pattern == first->pattern && r->flows[i].step == first->step; i++, all++) {
            const struct mesh_flow *const f = &r->flows[i];
            if (!f->done)
                continue;
            done++;
            sum += f->received_bps;
            least = fmin(least, f->received_bps);
            most = fmax(most, f->received_bps);
        }
        xk_row(out);
        xk_put_str(out, "pattern", mesh_pattern_name(first->pattern));
        xk_put_u64(out, "step", first->step);
        xk_put_str(out, "host",
                   first->pattern == MESH_INCAST    ? name_of(m, first->pair.to)
                   : first->pattern == MESH_OUTCAST ? name_of(m, first->pair.from)
                                                    : NULL);
        xk_put_u64(out, "flows", all);
        xk_put_u64(out, "done", done);
        xk_put_rate(out, "sum", (uint64_t)sum);
        xk_put_rate(out, "least", done > 0 ? (uint64_t)least : 0);
        xk_put_rate(out, "most", (uint64_t)most);
    }
    xk_out_end(out);
}

static void put_usual(struct xk_out *out, const struct net_mesh *m)
{
    static const char *const names[MESH_METRICS] = {"rate_bps", "loss_percent", "rtt_p50_ms"};

    xk_out_rows(out, "usual");
    for (enum mesh_metric w = 0; w < MESH_METRICS; w++) {
        const struct mesh_usual *const u = &m->verdict->usual[w];
        xk_row(out);
        xk_put_str(out, "metric", names[w]);
        xk_put_u64(out, "links", u->count);
        xk_put_double(out, "median", u->median);
        xk_put_double(out, "mad", u->mad);
        xk_put_double(out, "min", u->min);
        xk_put_double(out, "max", u->max);
        xk_put_double(out, "mean", u->mean);
        xk_put_double(out, "stddev", u->stddev);
    }
    xk_out_end(out);
}

void net_mesh_show(struct xk_app *app, const struct net_mesh *m)
{
    struct xk_out *const out = app->out;
    const bool table = xk_out_format(out) == XK_OUT_TABLE;

    if (table && m->plan->patterns[MESH_PAIRS]) {
        draw_matrix(out, m, MESH_RATE, "Gbit/s");
        if (m->plan->probe_bps > 0)
            draw_matrix(out, m, MESH_LOSS, "Percent lost");
        draw_matrix(out, m, MESH_DELAY, delay_title(m));
    }
    if (!table) {
        xk_out_rows(out, "links");
        for (size_t i = 0; i < m->result->count; i++)
            put_flow(out, m, &m->result->flows[i]);
        xk_out_end(out);
        put_usual(out, m);
    }
    if (!table || m->plan->patterns[MESH_ALL] || m->plan->patterns[MESH_INCAST] || m->plan->patterns[MESH_OUTCAST])
        put_steps(out, m);
    put_hosts(out, m);
    xk_out_record(out, "start");
    xk_put_duration(out, "spread", m->result->spread_ns);
    xk_out_end(out);
    xk_findings_show(out, &m->verdict->findings);
}

/* ---- the page ---- */

static void add_map(struct report *r, const struct net_mesh *m, enum mesh_metric what, const char *title)
{
    static const enum report_unit units[MESH_METRICS] = {REPORT_RATE, REPORT_PERCENT, REPORT_NUMBER};
    const unsigned hosts = XK_MIN(m->result->hosts, PAGE_HOSTS_MAX);
    double values[PAGE_HOSTS_MAX * PAGE_HOSTS_MAX];
    const char *names[PAGE_HOSTS_MAX];

    for (unsigned from = 0; from < hosts; from++) {
        names[from] = name_of(m, from);
        for (unsigned to = 0; to < hosts; to++) {
            const struct mesh_flow *const f = mesh_result_pair(m->result, from, to);
            const bool known =
                f && f->done && (what != MESH_LOSS || f->probed) && (what != MESH_DELAY || f->rtt_p99_ms > 0);
            values[from * hosts + to] = !known              ? NAN
                                        : what == MESH_RATE ? f->received_bps
                                        : what == MESH_LOSS ? f->loss_percent
                                                            : f->rtt_p99_ms;
        }
    }
    report_matrix(r, title, units[what], names, hosts, values, what == MESH_RATE);
}

static void add_links(struct report *r, const struct net_mesh *m)
{
    static const struct report_column columns[] = {{"Pattern", false},    {"From", false}, {"To", false},
                                                   {"Rate", true},        {"Lost", true},  {"p99 in ms", true},
                                                   {"Retransmits", true}, {"CPU", true},   {"CPU there", true}};

    report_table(r, "Every flow", columns, XK_COUNT(columns));
    for (size_t i = 0; i < m->result->count; i++) {
        const struct mesh_flow *const f = &m->result->flows[i];
        report_row(r);
        report_cell_text(r, mesh_pattern_name(f->pattern));
        report_cell_text(r, name_of(m, f->pair.from));
        report_cell_text(r, name_of(m, f->pair.to));
        if (!f->done) {
            report_cell_state(r, REPORT_CRITICAL, f->why);
            continue;
        }
        report_cell_value(r, REPORT_RATE, f->received_bps);
        if (f->probed)
            report_cell_value(r, REPORT_PERCENT, f->loss_percent);
        else
            report_cell_none(r);
        report_cell_value(r, REPORT_NUMBER, f->rtt_p99_ms > 0 ? f->rtt_p99_ms : NAN);
        report_cell_u64(r, f->retransmits);
        report_cell_value(r, REPORT_PERCENT, f->cpu_percent);
        report_cell_value(r, REPORT_PERCENT, f->peer_cpu_percent);
    }
    report_end(r);
}

int net_mesh_page(struct xk_app *app, const struct net_mesh *m, const char *path, struct xk_err *err)
{
    struct xk_tally tally;
    struct report r;
    char title[40];

    xk_findings_tally(&tally, &m->verdict->findings);
    snprintf(title, sizeof(title), "A mesh of %u hosts", m->result->hosts);
    report_begin(&r, &(struct report_head){
                         .kind = "net mesh",
                         .title = title,
                         .state = m->verdict->findings.count ? report_state_of(tally.worst) : REPORT_GOOD,
                         .verdict = tally.verdict,
                         .unix_seconds = app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S,
                     });
    report_section(&r, "Findings", NULL);
    if (m->verdict->findings.count > 0)
        report_findings(&r, &m->verdict->findings);
    else
        report_statement(&r, REPORT_GOOD, "All links are alike.");
    if (m->plan->patterns[MESH_PAIRS]) {
        report_section(&r, "Links", "Measured in rounds in which no host had two partners.");
        add_map(&r, m, MESH_RATE, "Rate");
        add_map(&r, m, MESH_LOSS, "Lost");
        add_map(&r, m, MESH_DELAY, delay_title(m));
    }
    report_section(&r, "Flows", NULL);
    add_links(&r, m);
    int code = report_finish(&r);
    code = code < 0 ? xk_fail(err, code, "the page would be too large")
                    : xk_file_replace(app->fs, path, r.html.data, r.html.len, 0644, err);
    report_done(&r);
    return code;
}

/* ---- metrics ---- */

struct metric {
    const char *name, *help;
    double (*value)(const struct mesh_flow *f);
};

static double rate_of(const struct mesh_flow *f)
{
    return f->received_bps;
}

static double loss_of(const struct mesh_flow *f)
{
    return f->probed ? f->loss_percent / 100 : NAN;
}

static double delay_of(const struct mesh_flow *f)
{
    return f->rtt_p99_ms > 0 ? f->rtt_p99_ms / 1e3 : NAN;
}

static double retransmits_of(const struct mesh_flow *f)
{
    return (double)f->retransmits;
}

int net_mesh_metrics(struct xk_app *app, const struct net_mesh *m, const char *path, struct xk_err *err)
{
    static const struct metric metrics[] = {
        {"xenkit_mesh_rate_bits_per_second", "What arrived of a flow", rate_of},
        {"xenkit_mesh_loss_ratio", "Share of the probe's datagrams that was lost", loss_of},
        {"xenkit_mesh_rtt_p99_seconds", "Round trip under load, 99th percentile", delay_of},
        {"xenkit_mesh_retransmits", "Segments that were sent again", retransmits_of},
    };
    struct xk_buf text = XK_BUF_INIT(METRICS_BYTES_MAX);
    int code;

    for (size_t k = 0; k < XK_COUNT(metrics); k++) {
        const char *help = metrics[k].help;
        for (size_t i = 0; i < m->result->count; i++) {
            const struct mesh_flow *const f = &m->result->flows[i];
            const double v = f->done ? metrics[k].value(f) : NAN;
            const char *const labels[] = {"pattern", mesh_pattern_name(f->pattern), "from", name_of(m, f->pair.from),
                                          "to",      name_of(m, f->pair.to),        NULL};
            /* Of incast and outcast there is one flow for each pair, too; all names are different. */
            if (isnan(v))
                continue;
            xk_prometheus(&text, metrics[k].name, help, help ? "gauge" : NULL, labels, v);
            help = NULL;
        }
    }
    code = text.error ? xk_fail(err, text.error, "too many metrics")
                      : xk_file_replace(app->fs, path, text.len > 0 ? text.data : "", text.len, 0644, err);
    xk_buf_done(&text);
    return code;
}
