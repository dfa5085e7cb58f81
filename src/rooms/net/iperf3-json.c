/*
 * The JSON of iperf3: one document at the end, or an event a line. Keys, their order and their types are those of 3.21,
 * which has all that 3.12 has; what only xenkit knows stands under "xenkit".
 *
 * Each part is written compactly when it happens, and the whole is laid out with tabs at the end, as cJSON does.
 */
#include "rooms/net/iperf3.h"

#include "core/text.h"

#include <stdio.h>
#include <string.h>

static const char *const protocols[] = {[IPERF_TCP] = "TCP", [IPERF_UDP] = "UDP", [IPERF_SCTP] = "SCTP"};

/* ---- output ---- */

void iperf3_json_lay_out(struct xk_buf *ret, const char *json)
{
    unsigned depth = 0;
    bool in_text = false, array[XK_JSON_DEPTH_MAX + 8] = {false};

    for (const char *c = json; *c; c++) {
        if (in_text) {
            xk_buf_add_char(ret, *c);
            if (*c == '\\' && c[1])
                xk_buf_add_char(ret, *++c);
            else if (*c == '"')
                in_text = false;
            continue;
        }
        switch (*c) {
        case '"':
            in_text = true;
            xk_buf_add_char(ret, *c);
            break;
        case '{':
        case '[':
            depth = XK_MIN(depth + 1, (unsigned)XK_COUNT(array) - 1);
            array[depth] = *c == '[';
            xk_buf_add_char(ret, *c);
            if (*c == '{') {
                xk_buf_add_char(ret, '\n');
                xk_buf_add_repeat(ret, '\t', c[1] == '}' ? 0 : depth);
            }
            break;
        case '}':
            depth--;
            if (c[-1] != '{')
                xk_buf_add_char(ret, '\n');
            xk_buf_add_repeat(ret, '\t', depth);
            xk_buf_add_char(ret, *c);
            break;
        case ']':
            depth--;
            xk_buf_add_char(ret, *c);
            break;
        case ',':
            xk_buf_add_char(ret, *c);
            xk_buf_add_char(ret, array[depth] ? ' ' : '\n');
            xk_buf_add_repeat(ret, '\t', array[depth] ? 0 : depth);
            break;
        case ':':
            xk_buf_add_str(ret, ":\t");
            break;
        default:
            xk_buf_add_char(ret, *c);
        }
    }
}

static void print(struct iperf3 *o, const struct xk_buf *b)
{
    iperf3_put(o, xk_buf_str(b), b->len);
    iperf3_put(o, "\n", 1);
    iperf3_flush(o);
}

static void stream_event(struct iperf3 *o, const char *name, const struct xk_buf *data)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF3_OUTPUT_MAX);
    struct xk_json j;

    if (!o->json_stream)
        return;
    xk_json_init(&j, &b, 0);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "event", name);
    xk_json_raw(&j, "data", data->data, data->len);
    xk_json_end(&j);
    print(o, &b);
}

/* ---- start ---- */

static void put_connected(struct xk_json *j, const struct iperf_test *t)
{
    xk_json_array(j, "connected");
    for (unsigned i = 0; i < t->flow_count; i++) {
        const struct iperf_flow *const f = &t->flows[i];
        xk_json_object(j, NULL);
        xk_json_i64(j, "socket", f->number);
        xk_json_str(j, "local_host", f->local.host);
        xk_json_u64(j, "local_port", f->local.port);
        xk_json_str(j, "remote_host", f->remote.host);
        xk_json_u64(j, "remote_port", f->remote.port);
        xk_json_end(j);
    }
    xk_json_end(j);
}

static void put_test_start(struct xk_json *j, const struct iperf3 *o, const struct iperf_test *t)
{
    const struct iperf_params *const p = &t->params;

    xk_json_object(j, "test_start");
    xk_json_str(j, "protocol", protocols[p->protocol]);
    xk_json_u64(j, "num_streams", p->parallel);
    xk_json_u64(j, "blksize", t->block_bytes);
    xk_json_u64(j, "omit", p->omit_s);
    xk_json_u64(j, "duration", p->time_s);
    xk_json_u64(j, "bytes", p->bytes);
    xk_json_u64(j, "blocks", p->blocks);
    xk_json_u64(j, "reverse", p->reverse);
    xk_json_u64(j, "tos", p->tos);
    xk_json_u64(j, "target_bitrate", p->rate_bps);
    xk_json_u64(j, "bidir", p->bidirectional);
    xk_json_u64(j, "fqrate", p->fq_rate_bps);
    xk_json_double(j, "interval", o->settings.interval_s);
    xk_json_u64(j, "gso", p->gso);
    xk_json_u64(j, "gro", p->gro);
    xk_json_end(j);
}

static void put_buffers(struct xk_json *j, const struct iperf_test *t)
{
    xk_json_u64(j, "sock_bufsize", t->params.window_bytes);
    xk_json_i64(j, "sndbuf_actual", t->sndbuf_bytes);
    xk_json_i64(j, "rcvbuf_actual", t->rcvbuf_bytes);
}

static void put_start(struct xk_json *j, const struct iperf3 *o, const struct iperf_test *t)
{
    /* A server knows these sooner, and the order shows it. */
    const bool buffers_first = t->server && t->params.protocol == IPERF_TCP;
    const bool rate_first = t->server && t->params.protocol == IPERF_UDP;

    xk_json_object(j, NULL);
    put_connected(j, t);
    xk_json_str(j, "version", "iperf " IPERF3_VERSION);
    xk_json_str(j, "system_info", iperf3_system_info().s);
    if (buffers_first)
        put_buffers(j, t);
    if (rate_first)
        xk_json_u64(j, "target_bitrate", t->params.rate_bps);
    xk_json_object(j, "timestamp");
    xk_json_str(j, "time", iperf3_rfc1123(t->utc_begin_ns).s);
    xk_json_i64(j, "timesecs", t->utc_begin_ns / (int64_t)XK_NS_PER_S);
    xk_json_i64(j, "timemillisecs", t->utc_begin_ns / (int64_t)XK_NS_PER_MS);
    xk_json_end(j);
    xk_json_object(j, t->server ? "accepted_connection" : "connecting_to");
    xk_json_str(j, "host", t->server ? t->peer.host : o->settings.host);
    xk_json_u64(j, "port", t->server ? t->peer.port : o->settings.port);
    xk_json_end(j);
    xk_json_str(j, "cookie", t->cookie);
    if (t->params.protocol == IPERF_TCP)
        xk_json_u64(j, t->params.mss ? "tcp_mss" : "tcp_mss_default", t->params.mss ? t->params.mss : t->control_mss);
    if (!rate_first)
        xk_json_u64(j, "target_bitrate", t->params.rate_bps);
    xk_json_u64(j, "fq_rate", t->params.fq_rate_bps);
    if (!buffers_first)
        put_buffers(j, t);
    put_test_start(j, o, t);
    xk_json_end(j);
}

static void json_started(void *context, struct iperf_test *t)
{
    struct iperf3 *const o = context;
    struct iperf3_view *const v = iperf3_view_of(t);
    struct xk_json j;

    if (!v)
        return;
    xk_json_init(&j, &v->start, 0);
    put_start(&j, o, t);
    stream_event(o, "start", &v->start);
}

/* ---- intervals ---- */

static void put_loss(struct xk_json *j, double jitter_s, int64_t lost, int64_t packets)
{
    xk_json_double(j, "jitter_ms", jitter_s * 1000);
    xk_json_i64(j, "lost_packets", lost);
    xk_json_i64(j, "packets", packets);
    xk_json_double(j, "lost_percent", iperf3_percent(lost, packets));
}

/* flow NULL: the sum. */
static void put_row(struct xk_json *j, const char *key, const struct iperf_test *t, const struct iperf_interval *v,
                    const struct iperf_flow *flow, bool sending, const struct iperf_count *c)
{
    xk_json_object(j, key);
    if (flow)
        xk_json_i64(j, "socket", flow->number);
    xk_json_double(j, "start", v->start_s);
    xk_json_double(j, "end", v->end_s);
    xk_json_double(j, "seconds", v->seconds);
    xk_json_u64(j, "bytes", c->bytes);
    xk_json_double(j, "bits_per_second", v->seconds > 0 ? (double)c->bytes * 8 / v->seconds : 0);
    if (t->params.protocol == IPERF_UDP && sending) {
        xk_json_i64(j, "packets", c->packets);
    } else if (t->params.protocol == IPERF_UDP) {
        put_loss(j, c->jitter_s, c->errors, c->packets);
    } else if (sending && t->has_retransmits) {
        xk_json_u64(j, "retransmits", c->retransmits);
        if (flow) {
            xk_json_u64(j, "snd_cwnd", c->cwnd_bytes);
            xk_json_u64(j, "snd_wnd", c->wnd_bytes);
            xk_json_u64(j, "rtt", c->rtt_us);
            xk_json_u64(j, "rttvar", c->rttvar_us);
            xk_json_u64(j, "pmtu", c->pmtu);
            xk_json_u64(j, "reorder", c->reorder);
        }
    }
    xk_json_bool(j, "omitted", v->omitted);
    xk_json_bool(j, "sender", sending);
    xk_json_end(j);
}

/* "sum", and with _bidir_reverse behind it for what the server sends in a test both ways. */
static const char *sum_name(const struct iperf_test *t, bool sending, const char *plain, const char *reverse)
{
    return t->params.bidirectional && sending == t->server ? reverse : plain;
}

static void put_interval(struct xk_json *j, const struct iperf_test *t, const struct iperf_interval *v)
{
    bool sending[2];
    const unsigned ways = iperf3_ways(t, sending);

    xk_json_object(j, NULL);
    xk_json_array(j, "streams");
    for (unsigned w = 0; w < ways; w++) {
        for (unsigned i = 0; i < v->count; i++) {
            const struct iperf_row *const r = &v->rows[i];
            if (r->flow->sending != sending[w])
                continue;
            put_row(j, NULL, t, v, r->flow, sending[w], &r->count);
        }
    }
    xk_json_end(j);
    for (unsigned w = 0; w < ways; w++) {
        const struct iperf_count sum = iperf_interval_sum(v, sending[w]);
        put_row(j, sum_name(t, sending[w], "sum", "sum_bidir_reverse"), t, v, NULL, sending[w], &sum);
    }
    xk_json_end(j);
}

static void json_interval(void *context, struct iperf_test *t, const struct iperf_interval *i)
{
    struct iperf3 *const o = context;
    struct iperf3_view *const v = iperf3_view_of(t);
    xk_auto(xk_buf_done) struct xk_buf one = XK_BUF_INIT(IPERF3_OUTPUT_MAX);
    struct xk_json j;

    if (!v)
        return;
    xk_json_init(&j, &one, 0);
    put_interval(&j, t, i);
    stream_event(o, "interval", &one);
    if (o->json_stream && !o->json_full && !(t->server && t->params.get_server_output))
        return;
    if (v->has_interval)
        xk_buf_add_char(&v->intervals, ',');
    xk_buf_add(&v->intervals, xk_buf_str(&one), one.len);
    v->has_interval = true;
}

/* ---- end ---- */

/* A server does not tell of the client's retransmits, nor of its congestion control. */
static bool tells_retransmits(const struct iperf_test *t, bool sending)
{
    return sending ? t->has_retransmits : !t->server && t->peer_has_retransmits;
}

static void put_tcp_total(struct xk_json *j, const struct iperf_test *t, const struct iperf_total *x)
{
    const bool sending = x->flow->sending;

    xk_json_object(j, NULL);
    xk_json_object(j, "sender");
    xk_json_i64(j, "socket", x->flow->number);
    xk_json_double(j, "start", 0);
    xk_json_double(j, "end", x->sender_s);
    xk_json_double(j, "seconds", x->sender_s);
    xk_json_u64(j, "bytes", x->sent_bytes);
    xk_json_double(j, "bits_per_second", x->sender_s > 0 ? (double)x->sent_bytes * 8 / x->sender_s : 0);
    if (tells_retransmits(t, sending)) {
        xk_json_i64(j, "retransmits", XK_MAX(x->retransmits, (int64_t)0));
        xk_json_u64(j, "reorder", x->reorder);
        xk_json_u64(j, "max_snd_cwnd", x->cwnd_max);
        xk_json_u64(j, "max_snd_wnd", x->wnd_max);
        xk_json_u64(j, "max_rtt", x->rtt_max_us);
        xk_json_u64(j, "min_rtt", x->rtt_min_us);
        xk_json_u64(j, "mean_rtt", x->rtt_mean_us);
    }
    xk_json_bool(j, "sender", sending);
    xk_json_end(j);
    xk_json_object(j, "receiver");
    xk_json_i64(j, "socket", x->flow->number);
    xk_json_double(j, "start", 0);
    xk_json_double(j, "end", x->receiver_s);
    xk_json_double(j, "seconds", x->receiver_s);
    xk_json_u64(j, "bytes", x->received_bytes);
    xk_json_double(j, "bits_per_second", x->receiver_s > 0 ? (double)x->received_bytes * 8 / x->receiver_s : 0);
    xk_json_bool(j, "sender", sending);
    xk_json_end(j);
    xk_json_end(j);
}

static int64_t packets_of(const struct iperf_total *x)
{
    return x->sender_packets ? x->sender_packets : x->receiver_packets;
}

static void put_udp_total(struct xk_json *j, const struct iperf_total *x)
{
    xk_json_object(j, NULL);
    xk_json_object(j, "udp");
    xk_json_i64(j, "socket", x->flow->number);
    xk_json_double(j, "start", 0);
    xk_json_double(j, "end", x->sender_s);
    xk_json_double(j, "seconds", x->sender_s);
    xk_json_u64(j, "bytes", x->sent_bytes);
    xk_json_double(j, "bits_per_second", x->sender_s > 0 ? (double)x->sent_bytes * 8 / x->sender_s : 0);
    put_loss(j, x->jitter_s, x->errors, packets_of(x));
    xk_json_i64(j, "out_of_order", x->out_of_order);
    xk_json_bool(j, "sender", x->flow->sending);
    xk_json_end(j);
    xk_json_end(j);
}

static void put_sum(struct xk_json *j, const char *key, double seconds, uint64_t bytes)
{
    xk_json_object(j, key);
    xk_json_double(j, "start", 0);
    xk_json_double(j, "end", seconds);
    xk_json_double(j, "seconds", seconds);
    xk_json_u64(j, "bytes", bytes);
    xk_json_double(j, "bits_per_second", seconds > 0 ? (double)bytes * 8 / seconds : 0);
}

static void put_tcp_sums(struct xk_json *j, const struct iperf_test *t, bool sending, const struct iperf_total *s)
{
    put_sum(j, sum_name(t, sending, "sum_sent", "sum_sent_bidir_reverse"), s->sender_s, s->sent_bytes);
    if (tells_retransmits(t, sending))
        xk_json_i64(j, "retransmits", XK_MAX(s->retransmits, (int64_t)0));
    xk_json_bool(j, "sender", sending);
    xk_json_end(j);
    put_sum(j, sum_name(t, sending, "sum_received", "sum_received_bidir_reverse"), s->receiver_s, s->received_bytes);
    xk_json_bool(j, "sender", sending);
    xk_json_end(j);
}

static void put_udp_sums(struct xk_json *j, const struct iperf_test *t, bool sending, const struct iperf_total *s)
{
    /* The old one: a mixture of both sides, kept for those who read it. */
    xk_json_object(j, sum_name(t, sending, "sum", "sum_bidir_reverse"));
    xk_json_double(j, "start", 0);
    xk_json_double(j, "end", s->receiver_s);
    xk_json_double(j, "seconds", s->receiver_s);
    xk_json_u64(j, "bytes", s->sent_bytes);
    xk_json_double(j, "bits_per_second", s->sender_s > 0 ? (double)s->sent_bytes * 8 / s->sender_s : 0);
    put_loss(j, s->jitter_s, s->errors, packets_of(s));
    xk_json_i64(j, "out_of_order", s->out_of_order);
    xk_json_bool(j, "sender", sending);
    xk_json_end(j);
    put_sum(j, sum_name(t, sending, "sum_sent", "sum_sent_bidir_reverse"), s->sender_s, s->sent_bytes);
    put_loss(j, 0, 0, s->sender_packets);
    xk_json_bool(j, "sender", true);
    xk_json_end(j);
    put_sum(j, sum_name(t, sending, "sum_received", "sum_received_bidir_reverse"), s->receiver_s, s->received_bytes);
    put_loss(j, s->jitter_s, s->errors, s->receiver_packets);
    xk_json_bool(j, "sender", false);
    xk_json_end(j);
}

static void put_cpu(struct xk_json *j, const struct iperf_test *t)
{
    xk_json_object(j, "cpu_utilization_percent");
    xk_json_double(j, "host_total", t->cpu_percent[0]);
    xk_json_double(j, "host_user", t->cpu_percent[1]);
    xk_json_double(j, "host_system", t->cpu_percent[2]);
    xk_json_double(j, "remote_total", t->peer_cpu_percent[0]);
    xk_json_double(j, "remote_user", t->peer_cpu_percent[1]);
    xk_json_double(j, "remote_system", t->peer_cpu_percent[2]);
    xk_json_end(j);
}

static void put_end(struct xk_json *j, const struct iperf_test *t, const struct iperf_total *totals, unsigned count)
{
    bool sending[2];
    const unsigned ways = iperf3_ways(t, sending);

    xk_json_object(j, NULL);
    xk_json_array(j, "streams");
    for (unsigned w = 0; w < ways; w++) {
        for (unsigned i = 0; i < count; i++) {
            if (totals[i].flow->sending != sending[w])
                continue;
            if (t->params.protocol == IPERF_UDP)
                put_udp_total(j, &totals[i]);
            else
                put_tcp_total(j, t, &totals[i]);
        }
    }
    xk_json_end(j);
    for (unsigned w = 0; w < ways; w++) {
        const struct iperf_total sum = iperf_total_sum(totals, count, sending[w]);
        (t->params.protocol == IPERF_UDP ? put_udp_sums : put_tcp_sums)(j, t, sending[w], &sum);
    }
    put_cpu(j, t);
    if (t->params.protocol == IPERF_TCP) {
        const bool sends = sending[ways - 1];
        const char *const sender = sends ? t->congestion : t->peer_congestion;
        const char *const receiver = sends ? t->peer_congestion : t->congestion;
        if (sender[0] && (sends || !t->server))
            xk_json_str(j, "sender_tcp_congestion", sender);
        if (receiver[0] && (!sends || !t->server))
            xk_json_str(j, "receiver_tcp_congestion", receiver);
    }
    xk_json_end(j);
}

/* A number that a receiver of ours tells; null from another one. */
static void put_known(struct xk_json *j, const char *key, int64_t v)
{
    if (v < 0)
        xk_json_null(j, key);
    else
        xk_json_i64(j, key, v);
}

/* What iperf3 has no place for. */
static void put_ours(struct xk_json *j, const struct iperf3 *o, const struct iperf_test *t,
                     const struct iperf_total *totals, unsigned count)
{
    xk_json_object(j, "xenkit");
    xk_json_bool(j, "rx_copy", !(o->settings.fast || t->params.skip_rx_copy));
    if (t->params.protocol == IPERF_UDP) {
        xk_json_array(j, "streams");
        for (unsigned i = 0; i < count; i++) {
            const struct iperf_total *const x = &totals[i];
            xk_json_object(j, NULL);
            xk_json_i64(j, "socket", x->flow->number);
            xk_json_i64(j, "lost_packets", x->errors);
            put_known(j, "duplicate_packets", x->duplicates);
            xk_json_i64(j, "reordered_packets", x->out_of_order);
            put_known(j, "late_packets", x->late);
            put_known(j, "reorder_distance_max", x->distance);
            put_known(j, "lost_in_own_socket_packets", x->overflow);
            xk_json_end(j);
        }
        xk_json_end(j);
    }
    xk_json_end(j);
}

/* The document so far; `error` NULL: it ended well. */
static void put_document(struct xk_buf *b, const struct iperf3 *o, const struct iperf_test *t, const char *error)
{
    const struct iperf3_view *const v = t ? t->view : NULL;
    struct xk_json j;

    xk_json_init(&j, b, 0);
    xk_json_object(&j, NULL);
    if (v && v->start.len) {
        xk_json_raw(&j, "start", v->start.data, v->start.len);
    } else {
        xk_json_object(&j, "start");
        xk_json_array(&j, "connected");
        xk_json_end(&j);
        xk_json_str(&j, "version", "iperf " IPERF3_VERSION);
        xk_json_str(&j, "system_info", iperf3_system_info().s);
        xk_json_end(&j);
    }
    xk_json_array(&j, "intervals");
    if (v && v->intervals.len)
        xk_json_raw(&j, NULL, v->intervals.data, v->intervals.len);
    xk_json_end(&j);
    if (v && v->end.len) {
        xk_json_raw(&j, "end", v->end.data, v->end.len);
    } else {
        xk_json_object(&j, "end");
        xk_json_end(&j);
    }
    if (t && !t->server && t->server_json)
        xk_json_raw(&j, "server_output_json", t->server_json, strlen(t->server_json));
    if (t && !t->server && t->server_text)
        xk_json_str(&j, "server_output_text", t->server_text);
    if (t && t->params.title[0])
        xk_json_str(&j, "title", t->params.title);
    if (t && t->params.extra_data[0])
        xk_json_str(&j, "extra_data", t->params.extra_data);
    if (error)
        xk_json_str(&j, "error", error);
    (void)o;
}

static void json_finished(void *context, struct iperf_test *t, const struct iperf_total *totals, unsigned count)
{
    struct iperf3 *const o = context;
    struct iperf3_view *const v = iperf3_view_of(t);
    struct xk_json j;

    if (!v)
        return;
    xk_buf_reset(&v->end);
    xk_json_init(&j, &v->end, 0);
    put_end(&j, t, totals, count);
    stream_event(o, "end", &v->end);
    /* Ours goes behind the classic keys, once the document is put together. */
    xk_buf_reset(&v->captured);
    xk_json_init(&j, &v->captured, 0);
    xk_json_object(&j, NULL);
    put_ours(&j, o, t, totals, count);
    xk_json_end(&j);
}

static void print_document(struct iperf3 *o, struct iperf_test *t, const char *error)
{
    xk_auto(xk_buf_done) struct xk_buf compact = XK_BUF_INIT(IPERF3_OUTPUT_MAX);
    xk_auto(xk_buf_done) struct xk_buf wide = XK_BUF_INIT(2 * (size_t)IPERF3_OUTPUT_MAX);
    const struct iperf3_view *const v = t ? t->view : NULL;

    put_document(&compact, o, t, error);
    /* Splice "xenkit" out of its own object into this one, and close it. */
    if (v && v->captured.len > 2 && !error) {
        xk_buf_add_char(&compact, ',');
        xk_buf_add(&compact, v->captured.data + 1, v->captured.len - 1);
    } else {
        xk_buf_add_char(&compact, '}');
    }
    iperf3_json_lay_out(&wide, xk_buf_str(&compact));
    print(o, &wide);
}

void iperf3_json_error(struct iperf3 *o, struct iperf_test *t, const char *text)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF3_OUTPUT_MAX);

    if (!o->json_stream || o->json_full)
        print_document(o, t, text);
    if (o->json_stream) {
        xk_add_json_string(&b, text);
        stream_event(o, "error", &b);
    }
}

static char *json_output(void *context, struct iperf_test *t, bool *ret_json)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF3_OUTPUT_MAX);

    put_document(&b, context, t, NULL);
    xk_buf_add_char(&b, '}');
    *ret_json = true;
    return xk_buf_take(&b);
}

static void json_server_output(struct iperf3 *o, const struct iperf_test *t)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(IPERF3_OUTPUT_MAX);

    if (!t->server && t->server_text) {
        xk_add_json_string(&b, t->server_text);
        stream_event(o, "server_output_text", &b);
    } else if (!t->server && t->server_json) {
        xk_buf_add_str(&b, t->server_json);
        stream_event(o, "server_output_json", &b);
    }
}

static void json_gone(void *context, struct iperf_test *t)
{
    struct iperf3 *const o = context;
    const struct iperf3_view *const v = t->view;

    if (v && v->end.len && (t->got_results || t->server)) {
        json_server_output(o, t);
        if (!o->json_stream || o->json_full)
            print_document(o, t, NULL);
    }
    iperf3_view_done(t);
}

static void json_failed(void *context, struct iperf_test *t, const struct xk_err *err)
{
    struct iperf3 *const o = context;
    xk_autofree char *text = xk_asprintf("error - %s", err->text);

    iperf3_json_error(o, t, text ? text : err->text);
    iperf3_view_done(t);
}

static void json_nothing(void *context, struct iperf_test *t)
{
    (void)context;
    (void)t;
}

static void json_listening(void *context, const struct iperf_settings *s, uint16_t port, unsigned number)
{
    (void)context;
    (void)s;
    (void)port;
    (void)number;
}

const struct iperf_events iperf3_json_events = {
    .connecting = json_nothing,
    .accepted = json_nothing,
    .started = json_started,
    .omit_done = json_nothing,
    .interval = json_interval,
    .finished = json_finished,
    .output = json_output,
    .listening = json_listening,
    .failed = json_failed,
    .gone = json_gone,
};
