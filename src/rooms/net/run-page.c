/* The measurement of `xenkit net run` as a record to keep, and as a page. */
#include "rooms/net/run.h"

#include "core/text.h"
#include "lib/measure/measure.h"
#include "lib/report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the record ---- */

static void save_parameters(struct xk_json *j, const struct run *r)
{
    const struct run_opts *const o = r->opts;

    xk_json_str(j, "host", r->host);
    xk_json_u64(j, "port", o->port);
    xk_json_str(j, "protocol", o->udp ? "udp" : "tcp");
    xk_json_u64(j, "streams", o->streams);
    xk_json_u64(j, "seconds_ns", o->seconds_ns);
    xk_json_u64(j, "omit_ns", o->omit_ns);
    xk_json_u64(j, "rate_bps", r->legs[0].settings.params.rate_bps);
    xk_json_u64(j, "window_bytes", o->window_bytes);
    xk_json_u64(j, "block_bytes", r->legs[0].block_bytes);
    xk_json_str(j, "congestion", r->legs[0].congestion);
    xk_json_str(j, "title", o->title);
}

static int save_way(struct measure *m, const struct run *r, const struct run_leg *leg, int way, struct xk_err *err)
{
    struct run_sum s;

    run_sum(&s, leg, way == 0);
    if (!s.count)
        return 0;
    xk_autofree double *rates = xk_array_alloc(leg->point_count + 1, sizeof(*rates));
    if (!rates)
        return xk_fail_memory(err);
    for (unsigned i = 0; i < leg->point_count; i++)
        rates[i] = leg->points[i].bps[way];
    xk_json_object(&m->summary, way ? "receive" : "send");
    xk_json_u64(&m->summary, "sent_bytes", s.sent_bytes);
    xk_json_u64(&m->summary, "received_bytes", s.received_bytes);
    xk_json_double(&m->summary, "rate_bps", s.received_bps);
    const int code = measure_statistics(&m->summary, "rates", "bps", rates, leg->point_count, r->app->random, err);
    if (r->opts->udp) {
        xk_json_i64(&m->summary, "packets", s.packets);
        xk_json_i64(&m->summary, "lost", s.lost);
        xk_json_i64(&m->summary, "duplicates", s.duplicates);
        xk_json_i64(&m->summary, "reordered", s.reordered);
        xk_json_double(&m->summary, "jitter_ms", s.jitter_ms);
    } else if (s.retransmits >= 0) {
        xk_json_i64(&m->summary, "retransmits", s.retransmits);
    }
    const struct netdiag_latency *const l = &leg->latency;
    if (l->known) {
        xk_json_double(&m->summary, "idle_p50_ms", l->rtt[NETDIAG_IDLE].p50_ms);
        xk_json_double(&m->summary, "loaded_p50_ms", l->rtt[NETDIAG_LOADED].p50_ms);
        xk_json_double(&m->summary, "loaded_p99_ms", l->rtt[NETDIAG_LOADED].p99_ms);
        xk_json_double(&m->summary, "rpm", l->rpm[NETDIAG_LOADED]);
    }
    for (unsigned i = 0; i < leg->verdicts.count; i++) {
        if (leg->verdicts.items[i].main && leg->verdicts.items[i].receive == (way == 1)) {
            xk_json_str(&m->summary, "limit", netdiag_limit_name(leg->verdicts.items[i].limit));
            xk_json_str(&m->summary, "evidence", leg->verdicts.items[i].evidence);
        }
    }
    xk_json_end(&m->summary);
    return code;
}

static void save_samples(struct measure *m, const struct run_leg *leg)
{
    for (unsigned i = 0; i < leg->point_count; i++) {
        const struct run_point *const p = &leg->points[i];
        xk_json_object(&m->samples, NULL);
        xk_json_str(&m->samples, "test", leg->name);
        xk_json_u64(&m->samples, "offset_ns", (uint64_t)(fmax(p->at_s, 0) * 1e9));
        if (!leg->settings.params.reverse)
            xk_json_double(&m->samples, "send_bps", p->bps[0]);
        if (leg->settings.params.reverse || leg->settings.params.bidirectional)
            xk_json_double(&m->samples, "receive_bps", p->bps[1]);
        xk_json_double(&m->samples, "rtt_ms", p->rtt_ms);
        xk_json_i64(&m->samples, "retransmits", p->retransmits);
        xk_json_end(&m->samples);
    }
}

int run_save(const struct run *r, struct xk_err *err)
{
    struct measure m;
    int code = 0;

    measure_init(&m, "net throughput", r->started_utc_ns);
    environment_read(&m.environment, r->app->root, NULL);
    save_parameters(&m.parameters, r);
    for (unsigned i = 0; code == 0 && i < r->leg_count; i++) {
        for (int way = 0; code == 0 && way < RUN_WAYS; way++)
            code = save_way(&m, r, &r->legs[i], way, err);
        save_samples(&m, &r->legs[i]);
    }
    if (code == 0)
        code = measure_save(&m, r->app->fs, r->opts->save, err);
    measure_done(&m);
    return code;
}

/* ---- the page ---- */

static void page_rates(struct report *h, const struct run_leg *leg)
{
    xk_autofree double *x = xk_array_alloc(leg->point_count + 1, sizeof(*x));
    xk_autofree double *y = xk_array_alloc(2 * (size_t)leg->point_count + 1, sizeof(*y));
    xk_autofree double *rtt = xk_array_alloc(leg->point_count + 1, sizeof(*rtt));
    struct report_line lines[RUN_WAYS];
    size_t count = 0;
    bool any = false;

    if (!x || !y || !rtt)
        return;
    for (unsigned i = 0; i < leg->point_count; i++) {
        x[i] = leg->points[i].at_s;
        for (unsigned w = 0; w < RUN_WAYS; w++)
            y[w * leg->point_count + i] = leg->points[i].bps[w];
        rtt[i] = leg->points[i].rtt_ms * 1e6;
        any = any || !isnan(rtt[i]);
    }
    if (!leg->settings.params.reverse)
        lines[count++] = (struct report_line){"to the server", y};
    if (leg->settings.params.reverse || leg->settings.params.bidirectional)
        lines[count++] = (struct report_line){"from the server", y + leg->point_count};
    report_series(h, &(struct report_chart){.title = "Rate", .unit = REPORT_RATE},
                  &(struct report_lines){
                      .x = x, .count = leg->point_count, .x_title = "seconds", .lines = lines, .line_count = count});
    if (any)
        report_series(h, &(struct report_chart){.title = "Round trip, as TCP measures it", .unit = REPORT_DURATION},
                      &(struct report_lines){.x = x,
                                             .count = leg->point_count,
                                             .x_title = "seconds",
                                             .lines = &(struct report_line){"round trip", rtt},
                                             .line_count = 1});
}

static void page_totals(struct report *h, const struct run *r)
{
    static const struct report_column columns[] = {{"Direction", false}, {"Rate", true},  {"Received", true},
                                                   {"Sent again", true}, {"Lost", true},  {"Doubled", true},
                                                   {"Overtaken", true},  {"Jitter", true}};

    report_table(h, "What arrived", columns, XK_COUNT(columns));
    for (unsigned i = 0; i < r->leg_count; i++) {
        for (int way = 0; way < RUN_WAYS; way++) {
            struct run_sum s;
            run_sum(&s, &r->legs[i], way == 0);
            if (!s.count)
                continue;
            report_row(h);
            report_cell_text(h, way ? "from the server" : "to the server");
            report_cell_value(h, REPORT_RATE, s.received_bps);
            report_cell_bytes(h, s.received_bytes);
            if (r->opts->udp || s.retransmits < 0)
                report_cell_none(h);
            else
                report_cell_u64(h, (uint64_t)s.retransmits);
            if (!r->opts->udp)
                continue;
            report_cell_u64(h, (uint64_t)XK_MAX(s.lost, INT64_C(0)));
            report_cell_u64(h, (uint64_t)XK_MAX(s.duplicates, INT64_C(0)));
            report_cell_u64(h, (uint64_t)XK_MAX(s.reordered, INT64_C(0)));
            report_cell_value(h, REPORT_DURATION, s.jitter_ms * 1e6);
        }
    }
    report_end(h);
}

static void page_delays(struct report *h, const struct run_leg *leg, const char *path, const struct netdiag_delays *d)
{
    for (int phase = 0; phase < NETDIAG_PHASES; phase++) {
        report_row(h);
        report_cell_text(h, leg->name);
        report_cell_text(h, path);
        report_cell_text(h, phase == NETDIAG_IDLE ? "idle" : "loaded");
        report_cell_value(h, REPORT_DURATION, d[phase].p50_ms * 1e6);
        report_cell_value(h, REPORT_DURATION, d[phase].p90_ms * 1e6);
        report_cell_value(h, REPORT_DURATION, d[phase].p99_ms * 1e6);
        report_cell_value(h, REPORT_DURATION, d[phase].p999_ms * 1e6);
        report_cell_u64(h, d[phase].answered);
    }
}

static void page_latency(struct report *h, const struct run *r)
{
    static const struct report_column columns[] = {{"Test", false},  {"Path", false},  {"State", false},
                                                   {"50 %", true},   {"90 %", true},   {"99 %", true},
                                                   {"99.9 %", true}, {"Answers", true}};
    bool any = false;

    for (unsigned i = 0; i < r->leg_count; i++)
        any = any || r->legs[i].latency.known;
    if (!any)
        return;
    report_section(h, "Latency",
                   "Echoes beside the load. One-way delays are known to the error that is given with them.");
    report_table(h, "Delays", columns, XK_COUNT(columns));
    for (unsigned i = 0; i < r->leg_count; i++) {
        const struct netdiag_latency *const l = &r->legs[i].latency;
        if (!l->known)
            continue;
        page_delays(h, &r->legs[i], "round trip", l->rtt);
        page_delays(h, &r->legs[i], "to the server", l->up);
        page_delays(h, &r->legs[i], "from the server", l->down);
    }
    report_end(h);
    report_facts(h);
    for (unsigned i = 0; i < r->leg_count; i++) {
        const struct netdiag_latency *const l = &r->legs[i].latency;
        if (!l->known)
            continue;
        report_fact(h, "Round trips a minute, idle");
        report_cell_value(h, REPORT_NUMBER, round(l->rpm[NETDIAG_IDLE]));
        report_fact(h, "Round trips a minute, loaded");
        report_cell_value(h, REPORT_NUMBER, round(l->rpm[NETDIAG_LOADED]));
        report_fact(h, "One-way delays may be wrong by");
        report_cell_value(h, REPORT_DURATION, l->error_ms * 1e6);
        for (int way = 0; way < RUN_WAYS; way++) {
            const double added = run_added_ms(&r->legs[i], way);
            if (isnan(added))
                continue;
            report_fact(h, way ? "Added by load, from the server" : "Added by load, to the server");
            /* Under load a little quicker than idle is nothing added. */
            report_cell_value(h, REPORT_DURATION, fmax(added, 0) * 1e6);
        }
    }
    report_end(h);
}

static void page_limits(struct report *h, const struct run *r)
{
    report_section(h, "What limited it", NULL);
    for (unsigned i = 0; i < r->leg_count; i++) {
        for (unsigned k = 0; k < r->legs[i].verdicts.count; k++) {
            const struct netdiag_verdict *const v = &r->legs[i].verdicts.items[k];
            xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(4096);
            xk_buf_printf(&text, "%s: %s: %s.\n%s.", v->receive ? "From the server" : "To the server",
                          netdiag_limit_name(v->limit), v->evidence, netdiag_limit_advice(v->limit));
            report_statement(h, v->main ? REPORT_NOTE : REPORT_WARNING, xk_buf_str(&text));
        }
    }
}

int run_page(const struct run *r, struct xk_err *err)
{
    struct environment environment;
    struct run_sum sums[RUN_WAYS] = {0};
    struct report h;
    char verdict[160], title[200];

    for (unsigned i = 0; i < r->leg_count; i++) {
        for (int way = 0; way < RUN_WAYS; way++) {
            struct run_sum s;
            run_sum(&s, &r->legs[i], way == 0);
            sums[way] = s.count ? s : sums[way];
        }
    }
    snprintf(verdict, sizeof(verdict), "%s%s%s%s", sums[0].count ? xk_rate((uint64_t)sums[0].received_bps).s : "",
             sums[0].count ? " to the server" : "", sums[0].count && sums[1].count ? ", " : "",
             sums[1].count ? "" : "");
    const size_t at = strlen(verdict);
    if (sums[1].count)
        snprintf(verdict + at, sizeof(verdict) - at, "%s from it", xk_rate((uint64_t)sums[1].received_bps).s);
    snprintf(title, sizeof(title), "%s", r->opts->title ? r->opts->title : r->host);
    environment_read(&environment, r->app->root, NULL);
    report_begin(&h, &(struct report_head){.kind = "net run",
                                           .title = title,
                                           .subtitle = r->opts->udp ? "Datagrams" : "TCP",
                                           .state = REPORT_NEUTRAL,
                                           .verdict = verdict,
                                           .unix_seconds = r->started_utc_ns / (int64_t)XK_NS_PER_S,
                                           .machine = environment.host});
    report_section(&h, "Throughput", NULL);
    page_totals(&h, r);
    for (unsigned i = 0; i < r->leg_count; i++)
        page_rates(&h, &r->legs[i]);
    page_latency(&h, r);
    page_limits(&h, r);
    int code = report_finish(&h);
    if (code < 0)
        code = xk_fail(err, code, "the page would be larger than %s", xk_size(REPORT_BYTES_MAX).s);
    else
        code = xk_file_replace(r->app->fs, r->opts->html, h.html.data, h.html.len, 0644, err);
    report_done(&h);
    return code;
}
