/*
 * The classic text of iperf 2, byte for byte as 2.1.8 prints it on Debian. Scripts cut it at its columns, so each shape
 * is written out once, at the place where it is used. Every line goes out at once: a server's output is read while it
 * runs.
 */
#include "rooms/net/iperf.h"

#include "core/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SPAN         "%4.4f-%4.4f sec"
#define NETPWR_LEAST -1e7
#define WIDE         "            "

/* Each is shown once until all is idle. */
enum heading {
    H_PLAIN,
    H_JITTER,
    H_READS,
    H_READS_TRIP,
    H_WRITES,
    H_WRITE_TIMES,
    H_PACKETS,
    H_TRIP,
    H_BOTH,
    H_SUM,
    H_SUM_LOSS,
    H_SUM_READS,
    H_SUM_WRITES,
    H_SUM_PACKETS,
};

static const char *const headings[] = {
    [H_PLAIN] = "[ ID] Interval       Transfer     Bandwidth\n",
    [H_JITTER] = "[ ID] Interval       Transfer     Bandwidth        Jitter   Lost/Total Datagrams\n",
    [H_READS] = "[ ID] Interval" WIDE "Transfer    Bandwidth       Reads=Dist\n",
    [H_READS_TRIP] = "[ ID] Interval" WIDE "Transfer    Bandwidth    Burst Latency avg/min/max/stdev (cnt/size) inP "
                     "NetPwr  Reads=Dist\n",
    [H_WRITES] = "[ ID] Interval" WIDE "Transfer    Bandwidth       Write/Err  Rtry     Cwnd/RTT(var)        NetPwr\n",
    [H_WRITE_TIMES] = "[ ID] Interval" WIDE "Transfer    Bandwidth       Write/Err  Rtry     Cwnd/RTT        NetPwr  "
                      "write-times avg/min/max/stdev (cnt)\n",
    [H_PACKETS] = "[ ID] Interval" WIDE "Transfer     Bandwidth      Write/Err  PPS\n",
    [H_TRIP] =
        "[ ID] Interval" WIDE "Transfer     Bandwidth        Jitter   Lost/Total  Latency avg/min/max/stdev PPS  "
        "Rx/inP  NetPwr\n",
    [H_BOTH] = "[ ID] Interval       Transfer     Bandwidth    Datagrams   PPS\n",
    [H_SUM] = "[SUM-cnt] Interval       Transfer     Bandwidth\n",
    [H_SUM_LOSS] = "[SUM-cnt] Interval     Transfer     Bandwidth       Lost/Total    PPS\n",
    [H_SUM_READS] = "[SUM-cnt] Interval" WIDE "Transfer    Bandwidth       Reads=Dist\n",
    [H_SUM_WRITES] = "[SUM-cnt] Interval" WIDE "Transfer    Bandwidth       Write/Err  Rtry\n",
    [H_SUM_PACKETS] = "[SUM-cnt] Interval" WIDE "Transfer     Bandwidth      Write/Err  PPS\n",
};

/* ---- words ---- */

struct iperf2_word iperf2_text_units(double bytes, char format)
{
    static const char *const byte_names[] = {"Byte", "KByte", "MByte", "GByte", "TByte", "PByte"};
    static const char *const bit_names[] = {"bit", "Kbit", "Mbit", "Gbit", "Tbit", "Pbit"};
    const bool of_bytes = isupper((unsigned char)format);
    const double step = of_bytes ? 1024 : 1000;
    const char *const fixed = strchr("BKMGTP", toupper((unsigned char)format));
    double v = of_bytes ? bytes : bytes * 8;
    size_t unit = 0;
    struct iperf2_word w;

    for (; fixed ? unit < (size_t)(fixed - "BKMGTP") : fabs(v) >= step && unit < XK_COUNT(bit_names) - 1; unit++)
        v /= step;
    const int places = fabs(v) < 0.9995 ? 3 : fabs(v) < 9.995 ? 2 : fabs(v) < 99.95 ? 1 : 0;
    snprintf(w.s, sizeof(w.s), "%4.*f %s", places, v, (of_bytes ? byte_names : bit_names)[unit]);
    return w;
}

static struct iperf2_word transfer(const struct iperf2 *o, const struct iperf2_row *r)
{
    return iperf2_text_units((double)r->count.bytes, (char)toupper((unsigned char)o->format));
}

static double seconds(const struct iperf2_row *r)
{
    return r->end_s - r->start_s;
}

static struct iperf2_word bandwidth(const struct iperf2 *o, const struct iperf2_row *r)
{
    return iperf2_text_units(seconds(r) > 0 ? (double)r->count.bytes / seconds(r) : 0, o->format);
}

static double percent(const struct iperf2_row *r)
{
    return r->count.datagrams > 0 ? 100.0 * (double)r->count.errors / (double)r->count.datagrams : 0;
}

/* Throughput by delay. */
static struct iperf2_word power(const struct iperf2_row *r, double delay_s)
{
    const double v = seconds(r) > 0 && delay_s != 0 ? 1e-6 * (double)r->count.bytes / seconds(r) / delay_s : 0;
    struct iperf2_word w = {"NAN"};

    if (delay_s == 0)
        return w;
    if (v < NETPWR_LEAST)
        snprintf(w.s, sizeof(w.s), "OBL");
    else
        snprintf(w.s, sizeof(w.s), "%.*f", v > 100 ? 0 : v > 10 ? 2 : 6, v);
    return w;
}

struct iperf2_word iperf2_text_id(const struct iperf2 *o, const struct iperf2_about *f)
{
    struct iperf2_word w;

    if (o->settings.has_key && o->settings.key[0])
        snprintf(w.s, sizeof(w.s), "[%.30s(%s%u)] ", o->settings.key, f->starred ? "*" : "", f->id);
    else if (f->starred)
        snprintf(w.s, sizeof(w.s), "[%*s%u] ", f->id < 10 ? 2 : 1, "*", f->id);
    else
        snprintf(w.s, sizeof(w.s), "[%3u] ", f->id);
    return w;
}

bool iperf2_text_is_enhanced(const struct iperf2 *o, const struct iperf2_about *f)
{
    return o->settings.enhanced || (o->settings.server && f->trip_times);
}

struct iperf2_word iperf2_text_date(int64_t utc_ns, enum iperf2_stamp stamp)
{
    const time_t s = (time_t)(utc_ns / (int64_t)XK_NS_PER_S);
    struct iperf2_word w = {""};
    struct tm tm;

    if (!localtime_r(&s, &tm))
        return w;
    if (stamp == IPERF2_COMPACT)
        (void)strftime(w.s, sizeof(w.s), "%Y%m%d%H%M%S", &tm);
    else if (stamp == IPERF2_PLAIN)
        (void)strftime(w.s, sizeof(w.s), "%Y-%m-%d %H:%M:%S", &tm);
    else
        (void)strftime(w.s, sizeof(w.s), "%Y-%m-%d %H:%M:%S (%Z)", &tm);
    return w;
}

struct iperf2_name iperf2_text_end(const struct iperf2 *o, const struct iperf2_end *e)
{
    struct iperf2_name n = iperf2_end_name(e);
    const char *const last = strrchr(n.s, '.');

    if (o->hide_addresses && e->any.sa_family == AF_INET && last) {
        char part[8];
        snprintf(part, sizeof(part), "%.4s", last + 1);
        snprintf(n.s, sizeof(n.s), "*.*.*.%s", part);
    }
    return n;
}

/* ---- lines ---- */

static void put(int fd, const char *text, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = write(fd, text + done, bytes - done);
        if (n <= 0 && errno != EINTR)
            return;
        done += n > 0 ? (size_t)n : 0;
    }
}

void iperf2_text_send(struct iperf2 *o)
{
    if (o->fd >= 0) {
        put(o->fd, xk_buf_str(&o->line), o->line.len);
    } else {
        xk_out_raw(o->app->out, xk_buf_str(&o->line), o->line.len);
        xk_out_flush(o->app->out);
    }
    xk_buf_reset(&o->line);
}

void iperf2_text_complain(struct iperf2 *o, const char *format, ...)
{
    struct xk_buf b = XK_BUF_INIT(IPERF2_TEXT_MAX);
    va_list args;

    va_start(args, format);
    xk_buf_vprintf(&b, format, args);
    va_end(args);
    xk_buf_add_char(&b, '\n');
    put(o->fd >= 0 ? o->fd : o->app->log->fd, xk_buf_str(&b), b.len);
    xk_buf_done(&b);
}

static void heading(struct iperf2 *o, enum heading h)
{
    if (!(o->headings & 1u << h))
        xk_buf_add_str(&o->line, headings[h]);
    o->headings |= 1u << h;
}

/* What every row begins with. */
static void begin(struct iperf2 *o, const char *id, const struct iperf2_row *r)
{
    xk_buf_printf(&o->line, "%s" SPAN "  %ss  %ss/sec", id, r->start_s, r->end_s, transfer(o, r).s, bandwidth(o, r).s);
}

static void add_bins(struct iperf2 *o, const struct iperf2_counts *c)
{
    xk_buf_printf(&o->line, "  %llu=", (unsigned long long)c->calls);
    for (size_t i = 0; i < IPERF2_BINS; i++)
        xk_buf_printf(&o->line, "%s%llu", i ? ":" : "", (unsigned long long)c->bins[i]);
    xk_buf_add_char(&o->line, '\n');
}

static void add_loss(struct iperf2 *o, const struct iperf2_row *r)
{
    xk_buf_printf(&o->line, "%lld/%lld (%.2g%%)", (long long)r->count.errors, (long long)r->count.datagrams,
                  percent(r));
}

static void add_out_of_order(struct iperf2 *o, const char *id, const struct iperf2_row *r)
{
    if (r->count.out_of_order > 0)
        xk_buf_printf(&o->line, "%s" SPAN "  %lld datagrams received out-of-order\n", id, r->start_s, r->end_s,
                      (long long)r->count.out_of_order);
}

static void add_calls(struct iperf2 *o, const struct iperf2_row *r)
{
    xk_buf_printf(&o->line, "  %llu/%llu", (unsigned long long)r->count.calls,
                  (unsigned long long)r->count.call_errors);
}

/* ---- rows of one flow ---- */

static void tcp_written(struct iperf2 *o, const char *id, const struct iperf2_row *r)
{
    const bool times = o->settings.write_times;
    const struct iperf2_tcp *const t = &r->tcp;
    const struct iperf2_word netpwr = power(r, (double)t->rtt_us * 1e-6);

    heading(o, times ? H_WRITE_TIMES : H_WRITES);
    begin(o, id, r);
    add_calls(o, r);
    xk_buf_printf(&o->line, " %10llu", (unsigned long long)t->retransmits);
    if (t->cwnd_kib == 0)
        xk_buf_printf(&o->line, "       NA/%u us", t->rtt_us);
    else if (times)
        xk_buf_printf(&o->line, " %8uK/%u us", t->cwnd_kib, t->rtt_us);
    else
        xk_buf_printf(&o->line, " %8uK/%u(%u) us", t->cwnd_kib, t->rtt_us, t->rttvar_us);
    xk_buf_printf(&o->line, "  %s", netpwr.s);
    if (times)
        xk_buf_printf(&o->line, "  %.3f/%.3f/%.3f/%.3f ms (%llu)", r->write_us.mean / 1e3, r->write_us.min / 1e3,
                      r->write_us.max / 1e3, iperf2_spread_deviation(&r->write_us) / 1e3,
                      (unsigned long long)r->write_us.count);
    xk_buf_add_char(&o->line, '\n');
}

static void tcp_read(struct iperf2 *o, const struct iperf2_about *f, const char *id, const struct iperf2_row *r)
{
    const struct iperf2_spread *const t = &r->transit;
    const bool several = t->count > 1;

    if (!f->trip_times || r->count.bytes == 0) {
        heading(o, f->trip_times ? H_READS_TRIP : H_READS);
        begin(o, id, r);
        return add_bins(o, &r->count);
    }
    heading(o, H_READS_TRIP);
    begin(o, id, r);
    const double arrival = seconds(r) > 0 ? (double)r->count.bytes / seconds(r) : 0;
    xk_buf_printf(&o->line, "  %.3f/%.3f/%.3f/%.3f ms (%llu/%llu) %s %s", t->mean * 1e3, several ? t->min * 1e3 : 0,
                  several ? t->max * 1e3 : 0, iperf2_spread_deviation(t) * 1e3, (unsigned long long)t->count,
                  (unsigned long long)(t->count ? r->count.bytes / t->count : 0),
                  iperf2_text_units(arrival * t->mean, 'A').s, power(r, t->mean).s);
    add_bins(o, &r->count);
}

static void udp_read(struct iperf2 *o, const char *id, const struct iperf2_row *r, bool latency)
{
    const struct iperf2_spread *const t = &r->transit;

    heading(o, latency ? H_TRIP : H_JITTER);
    begin(o, id, r);
    xk_buf_printf(&o->line, "  %6.3f ms ", r->jitter_s * 1e3);
    add_loss(o, r);
    if (latency && r->count.packets == 0) {
        xk_buf_printf(&o->line, " -/-/-/- ms %.0f pps", 0.0);
    } else if (latency) {
        const double deviation = iperf2_spread_deviation(t);
        const double pps = round(r->packets_s);
        xk_buf_printf(&o->line, " %.3f/%.3f/%.3f/%.3f ms %.0f pps %lld/%.0f(%.0f) pkts %s", t->mean * 1e3, t->min * 1e3,
                      t->max * 1e3, deviation * 1e3, r->packets_s, (long long)r->count.packets, round(pps * t->mean),
                      round(pps * deviation), power(r, t->mean).s);
    }
    xk_buf_add_char(&o->line, '\n');
    add_out_of_order(o, id, r);
}

static void csv(struct iperf2 *o, const struct iperf2_about *f, const struct iperf2_row *r)
{
    const int64_t utc_ns = o->app->clock->utc_ns(o->app->clock);
    const struct iperf2_name own = iperf2_text_end(o, &f->local), far = iperf2_text_end(o, &f->peer);
    const struct iperf2_name *const from = f->sending ? &own : &far, *const to = f->sending ? &far : &own;

    xk_buf_add_str(&o->line, iperf2_text_date(utc_ns, IPERF2_COMPACT).s);
    if (o->settings.enhanced)
        xk_buf_printf(&o->line, ".%03d", (int)(utc_ns % (int64_t)XK_NS_PER_S / 1000000));
    xk_buf_printf(&o->line, ",%s,%u,%s,%u,%u,%.1f-%.1f,%llu,%lld", from->s, from->port, to->s, to->port, f->id,
                  r->start_s, r->end_s, (unsigned long long)r->count.bytes,
                  (long long)(seconds(r) > 0 ? (double)r->count.bytes * 8 / seconds(r) : 0));
    if (f->udp)
        xk_buf_printf(&o->line, ",%.3f,%lld,%lld,%.3f,%lld", r->jitter_s * 1e3, (long long)r->count.errors,
                      (long long)r->count.datagrams, percent(r), (long long)r->count.out_of_order);
    xk_buf_add_char(&o->line, '\n');
}

static void on_row(void *context, const struct iperf2_about *f, const struct iperf2_row *r)
{
    struct iperf2 *const o = context;
    const struct iperf2_word id = iperf2_text_id(o, f);
    const bool more = iperf2_text_is_enhanced(o, f);

    if (o->no_data || (o->settings.sum_only && !o->csv))
        return;
    if (o->csv) {
        csv(o, f, r);
    } else if (f->udp && !f->sending) {
        udp_read(o, id.s, r, more);
    } else if (f->udp && more) {
        heading(o, H_PACKETS);
        begin(o, id.s, r);
        add_calls(o, r);
        xk_buf_printf(&o->line, " %8.0f pps\n", r->packets_s);
    } else if (!f->udp && f->sending && (more || o->settings.write_times)) {
        tcp_written(o, id.s, r);
    } else if (!f->udp && !f->sending && more) {
        tcp_read(o, f, id.s, r);
    } else {
        heading(o, H_PLAIN);
        begin(o, id.s, r);
        xk_buf_add_char(&o->line, '\n');
    }
    if (f->udp && f->sending && r->final && !o->csv)
        xk_buf_printf(&o->line, "[%3u] Sent %lld datagrams\n", f->id, (long long)r->count.datagrams);
    iperf2_text_send(o);
}

/* ---- sums ---- */

static void sum_head(struct iperf2 *o, enum heading h, const char *id, const struct iperf2_row *r)
{
    heading(o, h);
    begin(o, id, r);
}

static void sum_tcp(struct iperf2 *o, const struct iperf2_about *f, const char *id, const struct iperf2_row *r,
                    bool reads)
{
    const bool only = o->settings.sum_only, more = o->settings.enhanced && (only || !f->full_duplex);

    if (more && reads) {
        sum_head(o, only ? H_SUM_READS : H_READS, id, r);
        return add_bins(o, &r->count);
    }
    sum_head(o, only ? (more ? H_SUM_WRITES : H_SUM) : more ? H_WRITES : H_PLAIN, id, r);
    if (more) {
        add_calls(o, r);
        xk_buf_printf(&o->line, "%10llu", (unsigned long long)r->tcp.retransmits);
    }
    xk_buf_add_char(&o->line, '\n');
}

static void sum_udp(struct iperf2 *o, const struct iperf2_about *f, const char *id, const struct iperf2_row *r,
                    bool reads)
{
    const bool only = o->settings.sum_only, more = o->settings.enhanced;

    if (f->full_duplex && !only) {
        sum_head(o, H_BOTH, id, r);
        xk_buf_printf(&o->line, " %lld%8.0f pps\n", (long long)r->count.packets, r->packets_s);
        return;
    }
    if (only && !reads) {
        sum_head(o, more && !f->full_duplex ? H_SUM_PACKETS : H_SUM, id, r);
        if (more && !f->full_duplex) {
            add_calls(o, r);
            xk_buf_printf(&o->line, " %8.0f pps", r->packets_s);
        }
        xk_buf_add_char(&o->line, '\n');
        return;
    }
    sum_head(o, only ? H_SUM_LOSS : more ? H_PACKETS : H_PLAIN, id, r);
    if (!reads && more) {
        add_calls(o, r);
        xk_buf_printf(&o->line, " %8.0f pps", r->packets_s);
    } else if (only || more) {
        xk_buf_printf(&o->line, "  %lld/%lld %8.0f pps", (long long)r->count.errors, (long long)r->count.datagrams,
                      r->packets_s);
    } else if (reads) {
        xk_buf_add_str(&o->line, "   ");
        add_loss(o, r);
    }
    xk_buf_add_char(&o->line, '\n');
    if (reads)
        add_out_of_order(o, id, r);
}

static void on_sum(void *context, const struct iperf2_about *f, const struct iperf2_row *r)
{
    struct iperf2 *const o = context;
    const bool reads = o->settings.server || !f->sending;
    struct iperf2_word id = {"[SUM] "};

    if (o->csv || o->no_data || o->no_sums)
        return;
    if (o->settings.sum_only)
        snprintf(id.s, sizeof(id.s), "[SUM-%u] ", r->threads);
    (f->udp ? sum_udp : sum_tcp)(o, f, id.s, r, reads);
    if (f->udp && !reads && r->final)
        xk_buf_printf(&o->line, "[SUM-%u] Sent %lld datagrams\n", r->threads, (long long)r->count.packets);
    iperf2_text_send(o);
}

static void on_both(void *context, const struct iperf2_about *f, const struct iperf2_row *r)
{
    struct iperf2 *const o = context;
    struct iperf2_word id;

    if (o->csv || o->no_data || o->settings.sum_only)
        return;
    snprintf(id.s, sizeof(id.s), "[FD%u] ", f->id);
    sum_head(o, f->udp ? H_BOTH : H_PLAIN, id.s, r);
    if (f->udp)
        xk_buf_printf(&o->line, " %lld%8.0f pps", (long long)r->count.packets, r->packets_s);
    xk_buf_add_char(&o->line, '\n');
    iperf2_text_send(o);
}

static void on_relayed(void *context, const struct iperf2_about *f, const struct iperf2_report *p)
{
    struct iperf2 *const o = context;
    const struct iperf2_row r = {
        .end_s = p->seconds,
        .final = true,
        .count = {.bytes = p->bytes,
                  .packets = p->packets_per_s,
                  .datagrams = p->datagrams,
                  .errors = p->errors,
                  .out_of_order = p->out_of_order},
        .packets_s = p->packets_per_s,
        .jitter_s = p->jitter_s,
        .transit = p->transit,
    };

    if (o->csv || o->no_relays)
        return;
    xk_buf_printf(&o->line, "[%3u] Server Report:\n", f->id);
    udp_read(o, iperf2_text_id(o, f).s, &r, p->has_transit);
    iperf2_text_send(o);
}

static void on_idle(void *context)
{
    ((struct iperf2 *)context)->headings = 0;
}

/* ---- the rest ---- */

static void on_stopping(void *context)
{
    iperf2_text_complain(context, "Waiting for server threads to complete. Interrupt again to force quit.");
}

static void on_warn(void *context, const char *text)
{
    struct xk_buf b = XK_BUF_INIT(IPERF2_TEXT_MAX);

    xk_add_clean(&b, text);
    iperf2_text_complain(context, "%s", xk_buf_str(&b));
    xk_buf_done(&b);
}

const struct iperf2_events iperf2_text_events = {
    .socket = iperf2_text_socket,
    .connected = iperf2_text_connected,
    .row = on_row,
    .sum = on_sum,
    .both = on_both,
    .relayed = on_relayed,
    .idle = on_idle,
    .stopping = on_stopping,
    .connects = iperf2_text_connects,
    .clocks = iperf2_text_clocks,
    .warn = on_warn,
};
