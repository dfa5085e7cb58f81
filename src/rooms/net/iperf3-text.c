/*
 * The classic text of iperf3, byte for byte as 3.12 prints it. Scripts cut it at fixed columns, so each shape is
 * written out once, at the place where it is used.
 */
#include "rooms/net/iperf3.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#define SEPARATOR "- - - - - - - - - - - - - - - - - - - - - - - - -\n"
#define RULE      "-----------------------------------------------------------\n"

struct iperf3_view *iperf3_view_of(struct iperf_test *t)
{
    if (!t->view) {
        struct iperf3_view *const v = xk_zalloc(sizeof(*v));
        if (v) {
            xk_buf_init(&v->captured, IPERF3_OUTPUT_MAX);
            xk_buf_init(&v->start, IPERF3_OUTPUT_MAX);
            xk_buf_init(&v->intervals, IPERF3_OUTPUT_MAX);
            xk_buf_init(&v->end, IPERF3_OUTPUT_MAX);
        }
        t->view = v;
    }
    return t->view;
}

void iperf3_view_done(struct iperf_test *t)
{
    struct iperf3_view *const v = t->view;

    if (!v)
        return;
    xk_buf_done(&v->captured);
    xk_buf_done(&v->start);
    xk_buf_done(&v->intervals);
    xk_buf_done(&v->end);
    free(v);
    t->view = NULL;
}

/* ---- words ---- */

struct iperf3_word iperf3_units(double bytes, char what)
{
    static const char *const byte_names[] = {"Byte", "KByte", "MByte", "GByte", "TByte"};
    static const char *const bit_names[] = {"bit", "Kbit", "Mbit", "Gbit", "Tbit"};
    static const char fixed[] = "bkmgt", fixed_bytes[] = "BKMGT";
    const bool bits = what == 'a' || strchr(fixed, what);
    const double step = bits ? 1000 : 1024;
    struct iperf3_word w;
    double v = bits ? bytes * 8 : bytes;
    unsigned unit = 0;

    if (what == 'a' || what == 'A') {
        for (; v >= step && unit < XK_COUNT(bit_names) - 1; unit++)
            v /= step;
    } else {
        const char *const at = strchr(bits ? fixed : fixed_bytes, what);
        for (const ptrdiff_t wanted = at - (bits ? fixed : fixed_bytes); unit < wanted; unit++)
            v /= step;
    }
    snprintf(w.s, sizeof(w.s), "%4.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, (bits ? bit_names : byte_names)[unit]);
    return w;
}

struct iperf3_system iperf3_system_info(void)
{
    struct iperf3_system text = {""};
    struct utsname u;

    if (uname(&u) == 0)
        snprintf(text.s, sizeof(text.s), "%s %s %s %s %s", u.sysname, u.nodename, u.release, u.version, u.machine);
    return text;
}

struct iperf3_time iperf3_rfc1123(int64_t utc_ns)
{
    struct iperf3_time text;
    const time_t seconds = (time_t)(utc_ns / (int64_t)XK_NS_PER_S);
    struct tm tm;

    (void)gmtime_r(&seconds, &tm);
    if (!strftime(text.s, sizeof(text.s), "%a, %d %b %Y %H:%M:%S GMT", &tm))
        text.s[0] = '\0';
    return text;
}

unsigned iperf3_ways(const struct iperf_test *t, bool ret_sending[2])
{
    /* The way from the client to the server always comes first. */
    ret_sending[0] = t->params.bidirectional ? !t->server : t->params.reverse == t->server;
    ret_sending[1] = !ret_sending[0];
    return t->params.bidirectional ? 2 : 1;
}

const char *iperf3_role(const struct iperf_test *t, bool sending)
{
    if (!t->params.bidirectional)
        return "";
    return t->server ? (sending ? "[TX-S]" : "[RX-S]") : (sending ? "[TX-C]" : "[RX-C]");
}

/* ---- lines ---- */

/* The user's own format: strftime() reads no arguments by it, so that nothing can go wrong. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void add_time(struct iperf3 *o)
{
    const time_t now = (time_t)(o->app->clock->utc_ns(o->app->clock) / (int64_t)XK_NS_PER_S);
    char stamp[128];
    struct tm tm;

    if (o->timestamps && localtime_r(&now, &tm) && strftime(stamp, sizeof(stamp), o->timestamp_format, &tm))
        xk_buf_add_str(&o->line, stamp);
}
#pragma GCC diagnostic pop

static void add_prefix(struct iperf3 *o)
{
    add_time(o);
    if (o->settings.params.title[0]) {
        xk_buf_add_str(&o->line, o->settings.params.title);
        xk_buf_add_str(&o->line, ":  ");
    }
}

void iperf3_put(struct iperf3 *o, const char *text, size_t bytes)
{
    if (o->log_fd < 0) {
        xk_out_raw(o->app->out, text, bytes);
        return;
    }
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = write(o->log_fd, text + done, bytes - done);
        if (n <= 0 && errno != EINTR)
            return;
        done += n > 0 ? (size_t)n : 0;
    }
}

void iperf3_say(struct iperf3 *o, struct iperf_test *t, const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    const int bytes = vasprintf(&text, format, args);
    va_end(args);
    if (bytes < 0)
        return;
    xk_buf_reset(&o->line);
    for (const char *at = text; *at;) {
        const char *const end = strchrnul(at, '\n');
        add_prefix(o);
        xk_buf_add(&o->line, at, (size_t)(end - at) + (*end == '\n'));
        at = *end ? end + 1 : end;
    }
    iperf3_put(o, xk_buf_str(&o->line), o->line.len);
    struct iperf3_view *const v = t && t->server && t->params.get_server_output ? iperf3_view_of(t) : NULL;
    if (v)
        xk_buf_add(&v->captured, xk_buf_str(&o->line), o->line.len);
    free(text);
}

void iperf3_complain(struct iperf3 *o, const char *kind, const char *text)
{
    xk_buf_reset(&o->line);
    add_time(o);
    xk_buf_printf(&o->line, "iperf3: %s%s\n", kind, text);
    iperf3_flush(o);
    if (o->log_fd >= 0)
        iperf3_put(o, xk_buf_str(&o->line), o->line.len);
    else
        dprintf(o->app->log->fd, "%s", xk_buf_str(&o->line));
}

void iperf3_flush(struct iperf3 *o)
{
    xk_out_flush(o->app->out);
}

/* As the stock program: at each interval only when it was asked for, or somebody looks. */
static void flush_interval(struct iperf3 *o)
{
    if (o->forceflush || o->log_fd >= 0 || xk_out_is_terminal(o->app->out))
        iperf3_flush(o);
}

/* ---- events ---- */

static void introduce(struct iperf3 *o, struct iperf_test *t)
{
    iperf3_say(o, t, "      Cookie: %s\n", t->cookie);
    if (t->params.protocol == IPERF_TCP && t->params.mss)
        iperf3_say(o, t, "      TCP MSS: %u\n", t->params.mss);
    else if (t->params.protocol == IPERF_TCP)
        iperf3_say(o, t, "      TCP MSS: %u (default)\n", t->control_mss);
    if (t->params.rate_bps)
        iperf3_say(o, t, "      Target Bitrate: %llu\n", (unsigned long long)t->params.rate_bps);
}

static void text_connecting(void *context, struct iperf_test *t)
{
    struct iperf3 *const o = context;

    if (o->verbose) {
        iperf3_say(o, t, "Control connection MSS %u\n", t->control_mss);
        if (t->params.protocol == IPERF_UDP && !o->settings.params.block_bytes)
            iperf3_say(o, t, "Setting UDP block size to %u\n", t->block_bytes);
        iperf3_say(o, t, "Time: %s\n", iperf3_rfc1123(t->utc_begin_ns).s);
    }
    iperf3_say(o, t, "Connecting to host %s, port %u\n", o->settings.host, o->settings.port);
    if (t->params.reverse)
        iperf3_say(o, t, "Reverse mode, remote host %s is sending\n", o->settings.host);
    if (o->verbose)
        introduce(o, t);
    iperf3_flush(o);
}

static void text_accepted(void *context, struct iperf_test *t)
{
    struct iperf3 *const o = context;

    if (o->verbose)
        iperf3_say(o, t, "Time: %s\n", iperf3_rfc1123(t->utc_begin_ns).s);
    iperf3_say(o, t, "Accepted connection from %s, port %u\n", t->peer.host, t->peer.port);
    if (o->verbose)
        introduce(o, t);
    iperf3_flush(o);
}

static void text_started(void *context, struct iperf_test *t)
{
    static const char *const protocols[] = {[IPERF_TCP] = "TCP", [IPERF_UDP] = "UDP", [IPERF_SCTP] = "SCTP"};
    struct iperf3 *const o = context;
    const struct iperf_params *const p = &t->params;

    for (unsigned i = 0; i < t->flow_count; i++) {
        const struct iperf_flow *const f = &t->flows[i];
        iperf3_say(o, t, "[%3d] local %s port %u connected to %s port %u\n", f->number, f->local.host, f->local.port,
                   f->remote.host, f->remote.port);
    }
    if (o->verbose && (p->bytes || p->blocks)) {
        iperf3_say(o, t,
                   "Starting Test: protocol: %s, %u streams, %u byte blocks, omitting %u seconds, %llu %s to send, "
                   "tos %u\n",
                   protocols[p->protocol], p->parallel, t->block_bytes, p->omit_s,
                   (unsigned long long)(p->bytes ? p->bytes : p->blocks), p->bytes ? "bytes" : "blocks", p->tos);
    } else if (o->verbose) {
        iperf3_say(o, t,
                   "Starting Test: protocol: %s, %u streams, %u byte blocks, omitting %u seconds, %u second test, tos "
                   "%u\n",
                   protocols[p->protocol], p->parallel, t->block_bytes, p->omit_s, p->time_s, p->tos);
    }
    iperf3_flush(o);
}

static void text_omit_done(void *context, struct iperf_test *t)
{
    (void)context;
    (void)t;
}

static const char *header_role(const struct iperf_test *t)
{
    return t->params.bidirectional ? "[Role]" : "";
}

static void interval_header(struct iperf3 *o, struct iperf_test *t)
{
    bool sending[2];

    (void)iperf3_ways(t, sending);
    const char *columns = "";
    if (t->params.protocol == IPERF_TCP)
        /* A client that only receives has these columns, too, when its only interval is told with the results. */
        columns = t->has_retransmits || (!t->server && t->stop) ? "         Retr  Cwnd" : "";
    else if (t->params.protocol == IPERF_UDP)
        columns = sending[0] && !t->params.bidirectional ? "         Total Datagrams"
                                                         : "         Jitter    Lost/Total Datagrams";
    iperf3_say(o, t, "[ ID]%s Interval           Transfer     Bitrate%s\n", header_role(t), columns);
}

double iperf3_percent(int64_t part, int64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static double rate(uint64_t bytes, double seconds)
{
    return seconds > 0 ? (double)bytes / seconds : 0;
}

/* The beginning of every row: number or SUM, role, times, bytes, rate. */
struct row_head {
    char s[160];
};
static struct row_head head(const struct iperf3 *o, const struct iperf_test *t, int number, bool sending,
                            double start_s, double end_s, double seconds, uint64_t bytes)
{
    struct row_head h;
    char name[16] = "SUM";

    if (number)
        snprintf(name, sizeof(name), "%3d", number);
    snprintf(h.s, sizeof(h.s), "[%s]%s %6.2f-%-6.2f sec  %ss  %ss/sec", name, iperf3_role(t, sending), start_s, end_s,
             iperf3_units((double)bytes, 'A').s, iperf3_units(rate(bytes, seconds), o->format).s);
    return h;
}

static void say_row(struct iperf3 *o, struct iperf_test *t, const struct row_head *h, bool sending, bool sum,
                    const struct iperf_count *c, const char *mark)
{
    if (t->params.protocol == IPERF_UDP && sending) {
        iperf3_say(o, t, "%s %s %lld  %s\n", h->s, t->params.bidirectional ? "          " : "", (long long)c->packets,
                   mark);
    } else if (t->params.protocol == IPERF_UDP) {
        iperf3_say(o, t, "%s  %5.3f ms  %lld/%lld (%.2g%%)  %s\n", h->s, c->jitter_s * 1000, (long long)c->errors,
                   (long long)c->packets, iperf3_percent(c->errors, c->packets), mark);
    } else if (sending && t->has_retransmits && sum) {
        iperf3_say(o, t, "%s  %3llu             %s\n", h->s, (unsigned long long)c->retransmits, mark);
    } else if (sending && t->has_retransmits) {
        iperf3_say(o, t, "%s  %3llu   %ss       %s\n", h->s, (unsigned long long)c->retransmits,
                   iperf3_units((double)c->cwnd_bytes, 'A').s, mark);
    } else {
        iperf3_say(o, t, "%s                  %s\n", h->s, mark);
    }
}

static void text_interval(void *context, struct iperf_test *t, const struct iperf_interval *v)
{
    struct iperf3 *const o = context;
    const char *const mark = v->omitted ? "(omitted)" : "";
    bool sending[2];

    if (v->start_s == 0 && (v->omitted || !t->params.omit_s))
        interval_header(o, t);
    else if (t->params.parallel > 1)
        iperf3_say(o, t, SEPARATOR);
    const unsigned ways = iperf3_ways(t, sending);
    for (unsigned w = 0; w < ways; w++) {
        for (unsigned i = 0; i < v->count; i++) {
            const struct iperf_row *const r = &v->rows[i];
            if (r->flow->sending != sending[w])
                continue;
            const struct row_head h =
                head(o, t, r->flow->number, sending[w], v->start_s, v->end_s, v->seconds, r->count.bytes);
            say_row(o, t, &h, sending[w], false, &r->count, mark);
        }
        if (t->params.parallel > 1) {
            const struct iperf_count sum = iperf_interval_sum(v, sending[w]);
            const struct row_head h = head(o, t, 0, sending[w], v->start_s, v->end_s, v->seconds, sum.bytes);
            say_row(o, t, &h, sending[w], true, &sum, mark);
        }
    }
    flush_interval(o);
}

/* ---- the end ---- */

static void sender_line(struct iperf3 *o, struct iperf_test *t, int number, bool sending, const struct iperf_total *x)
{
    const struct row_head h = head(o, t, number, sending, 0, x->sender_s, x->sender_s, x->sent_bytes);

    if (t->server && !sending) {
        if (o->verbose && number)
            iperf3_say(o, t, "[%3d] (sender statistics not available)\n", number);
        else if (o->verbose)
            iperf3_say(o, t, "[SUM] (sender statistics not available)\n");
    } else if (t->params.protocol == IPERF_UDP) {
        iperf3_say(o, t, "%s  %5.3f ms  0/%lld (0%%)  sender\n", h.s, 0.0, (long long)x->sender_packets);
    } else if (x->retransmits >= 0) {
        iperf3_say(o, t, "%s  %3lld             sender\n", h.s, (long long)x->retransmits);
    } else {
        iperf3_say(o, t, "%s                  sender\n", h.s);
    }
}

static void receiver_line(struct iperf3 *o, struct iperf_test *t, int number, bool sending, const struct iperf_total *x)
{
    const struct row_head h = head(o, t, number, sending, 0, x->receiver_s, x->receiver_s, x->received_bytes);

    if (t->server && sending) {
        if (o->verbose && number)
            iperf3_say(o, t, "[%3d] (receiver statistics not available)\n", number);
        else if (o->verbose)
            iperf3_say(o, t, "[SUM] (receiver statistics not available)\n");
    } else if (t->params.protocol == IPERF_UDP && !sending == !t->server && t->params.omit_s && t->got_results &&
               !t->peer_counts_omitted) {
        iperf3_say(o, t, "%s  %5.3f ms  Unknown/%lld  receiver\n", h.s, x->jitter_s * 1000,
                   (long long)x->receiver_packets);
    } else if (t->params.protocol == IPERF_UDP) {
        iperf3_say(o, t, "%s  %5.3f ms  %lld/%lld (%.2g%%)  receiver\n", h.s, x->jitter_s * 1000, (long long)x->errors,
                   (long long)x->receiver_packets, iperf3_percent(x->errors, x->receiver_packets));
    } else {
        iperf3_say(o, t, "%s                  receiver\n", h.s);
    }
}

static void say_cpu(struct iperf3 *o, struct iperf_test *t, bool sending)
{
    iperf3_say(o, t, "CPU Utilization: local/%s %.1f%% (%.1f%%u/%.1f%%s), remote/%s %.1f%% (%.1f%%u/%.1f%%s)\n",
               sending ? "sender" : "receiver", t->cpu_percent[0], t->cpu_percent[1], t->cpu_percent[2],
               sending ? "receiver" : "sender", t->peer_cpu_percent[0], t->peer_cpu_percent[1], t->peer_cpu_percent[2]);
}

static void say_circumstances(struct iperf3 *o, struct iperf_test *t, bool sending)
{
    if (sending) {
        say_cpu(o, t, true);
        if (t->params.bidirectional)
            say_cpu(o, t, false);
    }
    if (t->params.protocol != IPERF_TCP)
        return;
    const char *const sender = sending ? t->congestion : t->peer_congestion;
    const char *const receiver = sending ? t->peer_congestion : t->congestion;
    /* A server tells its own only. */
    if (sender[0] && (sending || !t->server))
        iperf3_say(o, t, "snd_tcp_congestion %s\n", sender);
    if (receiver[0] && (!sending || !t->server))
        iperf3_say(o, t, "rcv_tcp_congestion %s\n", receiver);
}

static void say_summary_header(struct iperf3 *o, struct iperf_test *t)
{
    const char *const columns = t->params.protocol == IPERF_UDP ? "         Jitter    Lost/Total Datagrams"
                                : t->has_retransmits || (!t->server && t->peer_has_retransmits) ? "         Retr"
                                                                                                : "";

    iperf3_say(o, t, SEPARATOR);
    if (o->verbose)
        iperf3_say(o, t, "Test Complete. Summary Results:\n");
    iperf3_say(o, t, "[ ID]%s Interval           Transfer     Bitrate%s\n", header_role(t), columns);
}

static void text_finished(void *context, struct iperf_test *t, const struct iperf_total *totals, unsigned count)
{
    struct iperf3 *const o = context;
    bool sending[2];

    say_summary_header(o, t);
    const unsigned ways = iperf3_ways(t, sending);
    for (unsigned w = 0; w < ways; w++) {
        for (unsigned i = 0; i < count; i++) {
            const struct iperf_total *const x = &totals[i];
            if (x->flow->sending != sending[w])
                continue;
            sender_line(o, t, x->flow->number, sending[w], x);
            if (t->params.protocol == IPERF_UDP && x->out_of_order > 0)
                iperf3_say(o, t, "[SUM]%s %4.1f-%4.1f sec  %lld datagrams received out-of-order\n",
                           iperf3_role(t, sending[w]), 0.0, x->sender_s, (long long)x->out_of_order);
            receiver_line(o, t, x->flow->number, sending[w], x);
        }
        if (t->params.parallel > 1) {
            const struct iperf_total sum = iperf_total_sum(totals, count, sending[w]);
            sender_line(o, t, 0, sending[w], &sum);
            receiver_line(o, t, 0, sending[w], &sum);
        }
        if (o->verbose)
            say_circumstances(o, t, sending[w]);
    }
    if (!t->server && t->server_json)
        iperf3_say(o, t, "\nServer JSON output:\n%s\n", t->server_json);
    if (!t->server && t->server_text)
        iperf3_say(o, t, "\nServer output:\n%s\n", t->server_text);
    if (!t->server && t->got_results)
        iperf3_say(o, t, "\niperf Done.\n");
    iperf3_flush(o);
}

static char *text_output(void *context, struct iperf_test *t, bool *ret_json)
{
    struct iperf3_view *const v = iperf3_view_of(t);

    (void)context;
    *ret_json = false;
    return v ? xk_buf_take(&v->captured) : NULL;
}

static void text_listening(void *context, const struct iperf_settings *s, uint16_t port, unsigned number)
{
    struct iperf3 *const o = context;

    (void)s;
    if (o->verbose)
        iperf3_say(o, NULL, "iperf " IPERF3_VERSION "\n%s\n", iperf3_system_info().s);
    iperf3_say(o, NULL, RULE "Server listening on %u (test #%u)\n" RULE, port, number);
    iperf3_flush(o);
}

static void text_failed(void *context, struct iperf_test *t, const struct xk_err *err)
{
    (void)t;
    iperf3_complain(context, "error - ", err->text);
}

static void text_gone(void *context, struct iperf_test *t)
{
    (void)context;
    iperf3_view_done(t);
}

static void text_trace(void *context, struct iperf_test *t, const char *what, const char *json, size_t bytes)
{
    xk_auto(xk_buf_done) struct xk_buf compact = XK_BUF_INIT(IPERF3_OUTPUT_MAX);
    xk_auto(xk_buf_done) struct xk_buf wide = XK_BUF_INIT(IPERF3_OUTPUT_MAX);
    struct iperf3 *const o = context;

    if (!o->debug)
        return;
    xk_buf_add(&compact, json, bytes);
    iperf3_json_lay_out(&wide, xk_buf_str(&compact));
    iperf3_say(o, t, "%s:\n%s\n", what, xk_buf_str(&wide));
}

const struct iperf_events iperf3_text_events = {
    .connecting = text_connecting,
    .accepted = text_accepted,
    .started = text_started,
    .omit_done = text_omit_done,
    .interval = text_interval,
    .finished = text_finished,
    .output = text_output,
    .listening = text_listening,
    .failed = text_failed,
    .gone = text_gone,
    .trace = text_trace,
};
