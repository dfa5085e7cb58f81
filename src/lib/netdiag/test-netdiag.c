/* Verdicts and delays out of planted numbers. What plants the numbers themselves is in src/rooms/net/causes.t. */
#include "lib/netdiag/netdiag.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- verdicts ---- */

struct plant {
    struct iperf_params params;
    struct netdiag_account own, peer;
    struct netdiag_mtu mtu;
    struct netdiag_case c;
    struct netdiag_verdicts v;
};

/* A test of ten seconds that a queue on the way held up, and nothing else. */
static struct plant *sound(void)
{
    struct plant *const p = calloc(1, sizeof(*p));

    assert_non_null(p);
    p->params = (struct iperf_params){.protocol = IPERF_TCP, .parallel = 1};
    p->own = (struct netdiag_account){
        .known = true,
        .seconds = 10,
        .processors = 4,
        .allowed = 4,
        .busiest_percent = 30,
        .allowed_percent = 20,
        .rcvbuf_bytes = 131072,
        .sndbuf_bytes = 4 << 20,
        .link = {.name = "eth0", .mtu = 1500, .offloads = {1, 1, 1, 1, 1, 1}},
        .streams = {{.id = 1,
                     .sending = true,
                     .seconds = 10,
                     .cpu_percent = 10,
                     .busy_us = 9900000,
                     .segments = 1000000,
                     .retransmits = 20,
                     .mss = 1448,
                     .rtt_min_us = 200,
                     .rtt_mean_us = 9000}},
        .stream_count = 1,
    };
    p->peer = p->own;
    p->peer.streams[0] = (struct netdiag_stream){.id = 1, .seconds = 10, .cpu_percent = 12, .waiting_mean = 4000};
    p->c = (struct netdiag_case){
        .params = &p->params,
        .own = &p->own,
        .peer = &p->peer,
        .mtu = &p->mtu,
        .ways = {{.used = true, .seconds = 10, .sent_bps = 9.4e8, .received_bps = 9.4e8, .overflow = -1}},
    };
    return p;
}

/* The main verdict, and whether it is the only one. */
static enum netdiag_limit main_of(struct plant *p, const char *evidence)
{
    enum netdiag_limit found = NETDIAG_UNKNOWN;
    unsigned count = 0;

    netdiag_judge(&p->v, &p->c);
    for (unsigned i = 0; i < p->v.count; i++) {
        if (!p->v.items[i].main)
            continue;
        count++;
        found = p->v.items[i].limit;
        assert_non_null(strstr(p->v.items[i].evidence, evidence));
    }
    assert_int_equal(count, 1);
    return found;
}

static bool beside(const struct plant *p, enum netdiag_limit limit)
{
    for (unsigned i = 0; i < p->v.count; i++) {
        if (!p->v.items[i].main && p->v.items[i].limit == limit)
            return true;
    }
    return false;
}

static void a_full_path_is_told_as_such(void **state)
{
    struct plant *const p = sound();

    assert_int_equal(main_of(p, "940 Mbit/s"), NETDIAG_CAPACITY);
    assert_int_equal(p->v.count, 1);
    free(p);
}

static void whoever_took_most_of_the_time_is_named(void **state)
{
    struct plant *const p = sound();
    struct netdiag_stream *const s = &p->own.streams[0];

    s->rwnd_limited_us = 2900000; /* less than it takes */
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    s->rwnd_limited_us = 6000000;
    s->wnd_max = 65536;
    assert_int_equal(main_of(p, "61 %"), NETDIAG_RECEIVE_WINDOW);
    p->peer.streams[0].waiting_mean = 100000; /* has come and is not taken */
    assert_int_equal(main_of(p, "the far side without being taken"), NETDIAG_SLOW_RECEIVER);
    p->peer.known = false;
    assert_int_equal(main_of(p, "it does not tell"), NETDIAG_RECEIVE_WINDOW);
    p->peer.known = true;
    s->rwnd_limited_us = 1000000;
    s->sndbuf_limited_us = 5000000;
    assert_int_equal(main_of(p, "4 MiB"), NETDIAG_SEND_BUFFER);
    s->sndbuf_limited_us = 0;
    s->busy_us = 7100000;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    s->busy_us = 5000000;
    assert_int_equal(main_of(p, "50 %"), NETDIAG_APPLICATION);
    free(p);
}

static void loss_without_a_queue_is_loss(void **state)
{
    struct plant *const p = sound();
    struct netdiag_stream *const s = &p->own.streams[0];

    s->retransmits = 5000;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY); /* a queue that runs over loses some */
    s->rtt_mean_us = 250;
    assert_int_equal(main_of(p, "5000 of 1000000"), NETDIAG_LOSS);
    p->own.qdisc_drops = 5000;
    p->own.qdisc_packets = 1000000;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY); /* our own queue lost them */
    assert_true(beside(p, NETDIAG_QDISC));
    p->own.qdisc_drops = 0;
    s->retransmits = 1900;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    free(p);
}

static void a_full_processor_explains_the_rest(void **state)
{
    struct plant *const p = sound();
    struct netdiag_stream *const s = &p->own.streams[0];

    s->rwnd_limited_us = 4000000;
    p->peer.streams[0].cpu_percent = 84;
    assert_int_equal(main_of(p, ""), NETDIAG_RECEIVE_WINDOW);
    p->peer.streams[0].cpu_percent = 92;
    assert_int_equal(main_of(p, "the far side: the receiving thread had 92 %"), NETDIAG_PROCESSOR);
    p->peer.streams[0].cpu_percent = 12;
    s->waited_percent = 19;
    assert_int_equal(main_of(p, ""), NETDIAG_RECEIVE_WINDOW);
    s->waited_percent = 21;
    s->cpu_percent = 2; /* who hardly wakes up is put off now and then, too */
    assert_int_equal(main_of(p, ""), NETDIAG_RECEIVE_WINDOW);
    s->cpu_percent = 10;
    assert_int_equal(main_of(p, "this host: the sending thread had 10 % of a processor, and waited 21 %"),
                     NETDIAG_PROCESSOR);
    s->waited_percent = NAN; /* a kernel that does not tell */
    p->own.allowed_percent = 99;
    s->preempted = 190;
    assert_int_equal(main_of(p, ""), NETDIAG_RECEIVE_WINDOW);
    s->preempted = 210;
    p->own.allowed_percent = 96;
    assert_int_equal(main_of(p, ""), NETDIAG_RECEIVE_WINDOW);
    p->own.allowed_percent = 99;
    assert_int_equal(main_of(p, "leave it to others 210 times"), NETDIAG_PROCESSOR);
    free(p);
}

/* What a buffer allows in each round trip is no more when processors are idle. */
static void a_small_buffer_counts_beside_busy_processors(void **state)
{
    struct plant *const p = sound();
    struct netdiag_stream *const s = &p->own.streams[0];

    s->waited_percent = 50;
    s->busy_us = 5000000;
    s->rtt_mean_us = 500;
    s->wnd_max = 65536; /* a Gbit/s */
    p->c.ways[0].received_bps = 7e8;
    s->rwnd_limited_us = 2400000;
    assert_int_equal(main_of(p, ""), NETDIAG_PROCESSOR);
    s->rwnd_limited_us = 2600000;
    assert_int_equal(main_of(p, "52 %"), NETDIAG_RECEIVE_WINDOW);
    s->wnd_max = 1 << 20; /* a reader that is slow because of them */
    assert_int_equal(main_of(p, ""), NETDIAG_PROCESSOR);
    s->rwnd_limited_us = 0;
    s->sndbuf_limited_us = 2600000;
    assert_int_equal(main_of(p, ""), NETDIAG_PROCESSOR);
    p->own.sndbuf_bytes = 65536;
    assert_int_equal(main_of(p, "64 KiB"), NETDIAG_SEND_BUFFER);
    free(p);
}

/* Two that share the time, and a congestion window that stays where they let it come. */
static void small_buffers_of_both_ends_are_no_full_path(void **state)
{
    struct plant *const p = sound();
    struct netdiag_stream *const s = &p->own.streams[0];

    s->rtt_min_us = 20100;
    s->rtt_mean_us = 21200;
    s->wnd_max = 32768; /* 12 Mbit/s */
    p->own.sndbuf_bytes = 32768;
    p->c.ways[0].received_bps = 6.8e6;
    s->rwnd_limited_us = 1000000;
    s->sndbuf_limited_us = 900000;
    assert_int_equal(main_of(p, "for 10 % of the time the receive window was full: 32 KiB"), NETDIAG_RECEIVE_WINDOW);
    s->sndbuf_limited_us = 1500000;
    assert_int_equal(main_of(p, "for 15 % of the time the send buffer was too small: 32 KiB"), NETDIAG_SEND_BUFFER);
    p->own.sndbuf_bytes = 4 << 20; /* it would let far more through */
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    p->own.sndbuf_bytes = 32768;
    s->rtt_mean_us = 42000; /* a queue: it is the path */
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    s->rtt_mean_us = 21200;
    s->rwnd_limited_us = s->sndbuf_limited_us = 0;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    free(p);
}

static void losses_count_beside_busy_processors(void **state)
{
    struct plant *const p = sound();
    struct netdiag_stream *const s = &p->own.streams[0];

    s->waited_percent = 50;
    s->rtt_mean_us = 250;
    s->retransmits = 4900;
    assert_int_equal(main_of(p, ""), NETDIAG_PROCESSOR);
    assert_false(beside(p, NETDIAG_LOSS));
    s->retransmits = 5100;
    assert_int_equal(main_of(p, "5100 of 1000000"), NETDIAG_LOSS);
    s->busy_us = 6900000; /* it often had nothing to send */
    assert_int_equal(main_of(p, ""), NETDIAG_PROCESSOR);
    assert_true(beside(p, NETDIAG_LOSS));
    free(p);
}

static void offloads_count_where_packets_are_small_and_many(void **state)
{
    struct plant *const p = sound();
    struct netdiag_stream *const s = &p->own.streams[0];

    s->bytes = UINT64_C(1448) * 110000;
    p->own.link_tx_packets = 110000;
    p->own.link.offloads[NETHOST_GRO] = 0; /* is no matter of a sender */
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_false(beside(p, NETDIAG_OFFLOADS));
    p->own.link.offloads[NETHOST_TSO] = 0;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_true(beside(p, NETDIAG_OFFLOADS));
    s->bytes = UINT64_C(20000) * 110000; /* as large as with them */
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_false(beside(p, NETDIAG_OFFLOADS));
    s->bytes = UINT64_C(1448) * 90000;
    p->own.link_tx_packets = 90000;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_false(beside(p, NETDIAG_OFFLOADS));
    p->peer.link.offloads[NETHOST_GRO] = 0;
    p->peer.link_rx_packets = 110000;
    p->peer.streams[0].bytes = UINT64_C(1448) * 110000;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_true(beside(p, NETDIAG_OFFLOADS));
    free(p);
}

static void large_packets_that_vanish(void **state)
{
    struct plant *const p = sound();

    p->mtu = (struct netdiag_mtu){.known = true, .link = 1500, .up = 1300, .down = 1500};
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY); /* something is larger all the same */
    p->c.ways[0].received_bps = 50000;
    assert_int_equal(main_of(p, "1300"), NETDIAG_BLACK_HOLE);
    p->own.streams[0].mss = 1248; /* TCP has learned it */
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    p->own.streams[0].mss = 1448;
    p->mtu.up = 1500;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    /* Without echoes: nothing arrives, one time-out after the other. */
    p->mtu.known = false;
    p->own.streams[0].backoff_max = 5;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    p->c.ways[0].received_bps = 0;
    assert_int_equal(main_of(p, "5 time-outs"), NETDIAG_BLACK_HOLE);
    free(p);
}

static void what_was_asked_for(void **state)
{
    struct plant *const p = sound();

    p->params.rate_bps = UINT64_C(1000000000);
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    p->c.ways[0].received_bps = 9.8e8;
    assert_int_equal(main_of(p, "of the 1 Gbit/s"), NETDIAG_RATE);
    p->params.rate_bps = 0;
    p->params.fq_rate_bps = UINT64_C(1000000000);
    assert_int_equal(main_of(p, "limited to"), NETDIAG_PACING);
    free(p);
}

static void datagrams(void **state)
{
    struct plant *const p = sound();
    struct netdiag_way *const w = &p->c.ways[0];

    p->params.protocol = IPERF_UDP;
    p->params.rate_bps = UINT64_C(1000000000);
    *w = (struct netdiag_way){.used = true, .seconds = 10, .sent_bps = 1e9, .received_bps = 9e8, .packets = 100000};
    w->lost = 100; /* less than it takes */
    assert_int_equal(main_of(p, "asked for"), NETDIAG_RATE);
    w->lost = 10000;
    w->overflow = 4000;
    assert_int_equal(main_of(p, "6000 of 100000"), NETDIAG_LOSS);
    w->overflow = 9000;
    assert_int_equal(main_of(p, "9000 of 10000"), NETDIAG_SOCKET);
    w->overflow = -1;
    assert_int_equal(main_of(p, "does not tell"), NETDIAG_LOSS);
    p->mtu = (struct netdiag_mtu){.known = true, .link = 1500, .up = 1400, .down = 1400};
    p->params.block_bytes = 1372;
    w->lost = 100000;
    assert_int_equal(main_of(p, ""), NETDIAG_LOSS);
    p->params.block_bytes = 1373;
    assert_int_equal(main_of(p, "100000 vanished"), NETDIAG_BLACK_HOLE);
    w->lost = 98000;
    assert_int_equal(main_of(p, ""), NETDIAG_LOSS);
    w->lost = 0;
    w->sent_bps = 5e8;
    p->own.streams[0].cpu_percent = 99;
    assert_int_equal(main_of(p, "99 %"), NETDIAG_PROCESSOR);
    free(p);
}

static void counters_of_a_host_stand_beside(void **state)
{
    struct plant *const p = sound();

    p->peer.losses[0] = (struct nethost_interface){.name = "vif3.0", .tx_dropped = 9, .tx_packets = 10000};
    p->peer.loss_count = 1;
    p->own.softnet_squeezed = 40; /* 4 a second */
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_int_equal(p->v.count, 1);
    p->peer.losses[0].tx_dropped = 12;
    p->own.softnet_squeezed = 60;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_true(beside(p, NETDIAG_INTERFACE));
    assert_true(beside(p, NETDIAG_SOFTIRQ));
    /* Of very many packets a few are nothing. */
    p->peer.losses[0].tx_packets = 10000000;
    p->own.softnet_squeezed = 0;
    assert_int_equal(main_of(p, ""), NETDIAG_CAPACITY);
    assert_int_equal(p->v.count, 1);
    free(p);
}

static void a_sender_that_tells_nothing(void **state)
{
    struct plant *const p = sound();

    p->c.ways[1] = p->c.ways[0];
    p->c.ways[0].used = false;
    p->peer.known = false;
    p->own.streams[0].sending = false;
    assert_int_equal(main_of(p, "does not tell"), NETDIAG_UNKNOWN);
    assert_true(p->v.items[0].receive);
    free(p);
}

/* ---- the account ---- */

static void an_account_survives_the_way(void **state)
{
    struct plant *const p = sound();
    struct netdiag_account *const read = calloc(1, sizeof(*read));

    p->own.steal_percent = NAN;
    p->own.link.offloads[NETHOST_GRO] = -1;
    p->own.link.offloads[NETHOST_TSO] = 0;
    p->own.losses[0] = (struct nethost_interface){.name = "vif1.0", .rx_dropped = 7};
    p->own.loss_count = 1;
    xk_autofree char *text = netdiag_account_text(&p->own);
    assert_non_null(text);
    assert_int_equal(netdiag_account_read(read, text, NULL), 0);
    assert_true(read->known);
    assert_string_equal(read->link.name, "eth0");
    assert_int_equal(read->link.mtu, 1500);
    assert_int_equal(read->link.offloads[NETHOST_GRO], -1);
    assert_int_equal(read->link.offloads[NETHOST_TSO], 0);
    assert_true(isnan(read->steal_percent));
    assert_int_equal(read->loss_count, 1);
    assert_int_equal(read->losses[0].rx_dropped, 7);
    assert_int_equal(read->stream_count, 1);
    assert_true(read->streams[0].sending);
    assert_int_equal(read->streams[0].busy_us, 9900000);
    assert_int_equal(read->streams[0].rtt_mean_us, 9000);
    free(read);
    free(p);
}

static void a_lying_account_is_bounded(void **state)
{
    static const char *const none[] = {"", "[]", "7", "{", "null", "\"x\""};
    struct netdiag_account *const a = calloc(1, sizeof(*a));
    struct netdiag_verdicts v;

    for (size_t i = 0; i < XK_COUNT(none); i++)
        assert_true(netdiag_account_read(a, none[i], NULL) < 0);
    assert_int_equal(
        netdiag_account_read(a,
                             "{\"interface\":\"a name much longer than any\",\"mtu_bytes\":-1,\"seconds\":-5,"
                             "\"processors\":1e99,\"losses\":[1,{\"rx_dropped\":18446744073709551615}],"
                             "\"streams\":[{\"sending\":true,\"seconds\":1e300,\"busy_us\":9223372036854775807,"
                             "\"segments\":9223372036854775807},{\"sending\":true,\"busy_us\":\"x\"}]}",
                             NULL),
        0);
    assert_int_equal(strlen(a->link.name), IFNAMSIZ - 1);
    assert_int_equal(a->link.mtu, 0);
    assert_true(isnan(a->seconds));
    assert_int_equal(a->stream_count, 2);
    const struct netdiag_account own = {.known = true};
    const struct iperf_params params = {.parallel = 1};
    const struct netdiag_mtu mtu = {0};
    const struct netdiag_case c = {
        .params = &params, .own = &own, .peer = a, .mtu = &mtu, .ways = {{.used = true}, {.used = true}}};
    netdiag_judge(&v, &c);
    assert_true(v.count >= 2);
    free(a);
}

/* ---- delays ---- */

#define SAMPLES 2000

/* A clock that is ahead by 7 ms and gains 40 ppm; 3 ms there, 5 ms back, and a load that adds 20 ms there. */
static struct netdiag_sample *planted(void)
{
    struct netdiag_sample *const s = calloc(SAMPLES, sizeof(*s));

    for (int i = 0; i < SAMPLES; i++) {
        const double at_s = i * 0.005, offset_ns = 7e6 + 40e3 * (at_s - 5);
        const bool loaded = i >= SAMPLES / 2;
        const double noise = i % 10 == 0 ? 0 : (i * 7919 % 1000) * 200.0;
        const double up = 3e6 + noise + (loaded ? 20e6 : 0), down = 5e6;
        s[i] = (struct netdiag_sample){
            .asked_ns = UINT64_C(1000000000) + (uint64_t)(at_s * 1e9),
            .rtt_ns = (uint64_t)(up + down),
            .up_ns = (int64_t)(up + offset_ns),
            .down_ns = (int64_t)(down - offset_ns),
            .phase = loaded ? NETDIAG_LOADED : NETDIAG_IDLE,
        };
    }
    return s;
}

static void clocks_and_delays_are_estimated(void **state)
{
    struct netdiag_sample *const s = planted();
    struct netdiag_latency l;

    assert_int_equal(netdiag_latency_make(&l, s, SAMPLES), 0);
    /* What differs between the two ways cannot be seen; it is within the error that is told. */
    assert_true(l.error_ms >= 4 && l.error_ms < 4.3);
    const double middle = 7 + 0.04 * (2.5 - 5); /* of the half that was idle */
    assert_true(fabs(l.offset_ms - middle) <= l.error_ms + 0.2);
    assert_true(fabs(l.drift_ppm - 40) < 8);
    assert_true(fabs(l.up[NETDIAG_IDLE].min_ms - 3) <= l.error_ms);
    assert_true(fabs(l.down[NETDIAG_IDLE].min_ms - 5) <= l.error_ms);
    /* What the load added is free of it. */
    assert_true(fabs(l.up[NETDIAG_LOADED].p50_ms - l.up[NETDIAG_IDLE].p50_ms - 20) < 0.1);
    assert_true(fabs(l.down[NETDIAG_LOADED].p50_ms - l.down[NETDIAG_IDLE].p50_ms) < 0.1);
    assert_int_equal(l.rtt[NETDIAG_IDLE].sent, SAMPLES / 2);
    assert_true(fabs(l.rpm[NETDIAG_IDLE] - 60000 / l.rtt[NETDIAG_IDLE].mean_ms) <
                60000 / l.rtt[NETDIAG_IDLE].mean_ms * 0.02);
    free(s);
}

static void what_was_not_answered_is_only_counted(void **state)
{
    struct netdiag_sample *const s = planted();
    struct netdiag_latency l;

    for (int i = 0; i < SAMPLES; i++)
        s[i].rtt_ns = i % 2 ? 0 : s[i].rtt_ns;
    assert_int_equal(netdiag_latency_make(&l, s, SAMPLES), 0);
    assert_int_equal(l.rtt[NETDIAG_IDLE].sent, SAMPLES / 2);
    assert_int_equal(l.rtt[NETDIAG_IDLE].answered, SAMPLES / 4);
    for (int i = 0; i < SAMPLES; i++)
        s[i].rtt_ns = 0;
    assert_int_equal(netdiag_latency_make(&l, s, SAMPLES), -ENODATA);
    assert_int_equal(netdiag_latency_make(&l, s, 0), -ENODATA);
    free(s);
}

static void grades_have_their_bounds(void **state)
{
    static const struct {
        double ms;
        const char *grade;
    } rows[] = {{-1, "A+"}, {4.9, "A+"}, {5, "A"}, {29, "A"}, {30, "B"}, {60, "C"}, {199, "C"}, {200, "D"}, {400, "F"}};

    for (size_t i = 0; i < XK_COUNT(rows); i++)
        assert_string_equal(netdiag_bloat_grade(rows[i].ms), rows[i].grade);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_path_is_told_as_such),
        cmocka_unit_test(whoever_took_most_of_the_time_is_named),
        cmocka_unit_test(loss_without_a_queue_is_loss),
        cmocka_unit_test(a_full_processor_explains_the_rest),
        cmocka_unit_test(a_small_buffer_counts_beside_busy_processors),
        cmocka_unit_test(small_buffers_of_both_ends_are_no_full_path),
        cmocka_unit_test(losses_count_beside_busy_processors),
        cmocka_unit_test(offloads_count_where_packets_are_small_and_many),
        cmocka_unit_test(large_packets_that_vanish),
        cmocka_unit_test(what_was_asked_for),
        cmocka_unit_test(datagrams),
        cmocka_unit_test(counters_of_a_host_stand_beside),
        cmocka_unit_test(a_sender_that_tells_nothing),
        cmocka_unit_test(an_account_survives_the_way),
        cmocka_unit_test(a_lying_account_is_bounded),
        cmocka_unit_test(clocks_and_delays_are_estimated),
        cmocka_unit_test(what_was_not_answered_is_only_counted),
        cmocka_unit_test(grades_have_their_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
