/* The documents of iperf3 and the window of numbers, away from any network. */
#include "core/clock.h"
#include "lib/iperf/loss.h"
#include "lib/iperf/pace.h"
#include "lib/iperf/params.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int decode(struct iperf_params *ret, const char *json)
{
    return iperf_params_decode(ret, json, strlen(json), NULL);
}

static void parameters_of_3_12_are_read(void **state)
{
    /* Recorded from `iperf3 -c … -t 2 -u -b 5M -R` of Debian's 3.12. */
    static const char json[] = "{\"udp\":true,\"omit\":0,\"time\":2,\"num\":0,\"blockcount\":0,\"parallel\":1,"
                               "\"reverse\":true,\"len\":32768,\"bandwidth\":5000000,\"pacing_timer\":1000,"
                               "\"client_version\":\"3.12\"}";
    struct iperf_params p;

    assert_int_equal(decode(&p, json), 0);
    assert_int_equal(p.protocol, IPERF_UDP);
    assert_int_equal(p.time_s, 2);
    assert_int_equal(p.block_bytes, 32768);
    assert_int_equal(p.rate_bps, 5000000);
    assert_true(p.reverse);
    assert_false(p.xenkit);
    assert_int_equal(p.affinity, -1);
}

static void what_is_written_is_read_again(void **state)
{
    struct iperf_params p = {.protocol = IPERF_UDP,
                             .time_s = 3,
                             .parallel = 7,
                             .block_bytes = 1448,
                             .affinity = 1,
                             .bidirectional = true,
                             .counters_64bit = true,
                             .rate_bps = UINT64_C(5000000000),
                             .congestion = "cubic",
                             .title = "a \"title\"",
                             .version = "3.12"},
                        q;
    struct xk_buf b = XK_BUF_INIT(IPERF_PARAMS_BYTES);

    iperf_params_encode(&b, &p);
    assert_int_equal(decode(&q, b.data), 0);
    p.xenkit = true; /* the mark of our own */
    assert_int_equal(q.rate_bps, p.rate_bps);
    assert_string_equal(q.title, p.title);
    assert_memory_equal(&q, &p, sizeof(p));
    xk_buf_done(&b);
}

static void parameters_out_of_range_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{",
        "{\"parallel\":0}",
        "{\"parallel\":129}",
        "{\"len\":1048577}",
        "{\"len\":-1}",
        "{\"len\":\"big\"}",
        "{\"udp\":true,\"len\":15}",
        "{\"udp\":true,\"len\":65508}",
        "{\"time\":86401}",
        "{\"num\":-5}",
        "{\"TOS\":256}",
        "{\"reverse\":true,\"bidirectional\":true}",
        "{\"title\":5}",
    };
    struct iperf_params p;

    for (size_t i = 0; i < XK_COUNT(bad); i++)
        assert_int_equal(decode(&p, bad[i]), -EBADMSG);
}

static void minus_one_of_3_12_is_read(void **state)
{
    static const char json[] = "{\"cpu_util_total\":1.5,\"cpu_util_user\":0,\"cpu_util_system\":1,"
                               "\"sender_has_retransmits\":18446744073709551615,\"streams\":[{\"id\":1,\"bytes\":42,"
                               "\"retransmits\":18446744073709551615,\"jitter\":0.5,\"errors\":3,\"packets\":9}]}";
    struct iperf_results r;

    assert_int_equal(iperf_results_decode(&r, json, strlen(json), NULL), 0);
    assert_int_equal(r.sender_has_retransmits, -1);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.streams[0].retransmits, -1);
    assert_false(r.has_omitted);
    iperf_results_done(&r);
}

/* Before 3.14 a side did not tell what it left out, and takes every error for one that counts. */
static void omitted_errors_are_left_out_for_old_peers(void **state)
{
    struct iperf_results r = {.count = 1, .streams = {{.id = 1, .errors = 9, .omitted_errors = 4, .out_of_order = -1}}};
    struct xk_buf b = XK_BUF_INIT(1 << 16);

    iperf_results_encode(&b, &r);
    assert_non_null(strstr(b.data, "\"errors\":5"));
    assert_null(strstr(b.data, "omitted"));
    xk_buf_reset(&b);
    r.has_omitted = true;
    iperf_results_encode(&b, &r);
    assert_non_null(strstr(b.data, "\"errors\":9"));
    assert_non_null(strstr(b.data, "\"omitted_errors\":4"));
    xk_buf_done(&b);
}

static void errors_have_words(void **state)
{
    struct xk_err err;

    assert_int_equal(iperf_error_of(iperf_fail(&err, IPERF_E_CONNECT, ECONNREFUSED), 0), IPERF_E_CONNECT);
    assert_string_equal(err.text, "unable to connect to server: Connection refused");
    (void)iperf_fail(&err, 4711, 0);
    assert_string_equal(err.text, "int_errno=4711: ");
}

static void loss_duplicates_and_order_are_exact(void **state)
{
    struct iperf_loss l;

    assert_int_equal(iperf_loss_init(&l), 0);
    for (uint64_t n = 1; n <= 1000; n++) {
        if (n % 10 == 0)
            continue; /* lost, at first */
        iperf_loss_add(&l, n);
        if (n % 7 == 0)
            iperf_loss_add(&l, n); /* twice */
    }
    assert_int_equal(l.highest, 999);
    assert_int_equal(iperf_loss_lost(&l), 99);
    assert_int_equal(l.duplicates, 128);
    iperf_loss_add(&l, 500);
    assert_int_equal(iperf_loss_lost(&l), 98);
    assert_int_equal(l.reordered, 1);
    assert_int_equal(l.distance_max, 499);
    iperf_loss_done(&l);
}

static void a_number_behind_the_window_is_late(void **state)
{
    struct iperf_loss l;

    assert_int_equal(iperf_loss_init(&l), 0);
    iperf_loss_add(&l, 1);
    iperf_loss_add(&l, IPERF_LOSS_WINDOW + 2);
    iperf_loss_add(&l, 2); /* just behind it */
    iperf_loss_add(&l, 3); /* just inside */
    assert_int_equal(l.late, 1);
    assert_int_equal(l.reordered, 1);
    assert_int_equal(iperf_loss_lost(&l), IPERF_LOSS_WINDOW - 1);
    iperf_loss_add(&l, 5 * UINT64_C(1000000));
    assert_int_equal(l.unique, 4);
    iperf_loss_add(&l, 0); /* there is no such number */
    assert_int_equal(l.late, 2);
    iperf_loss_done(&l);
}

/*
 * A paced stream of datagrams of 1,448 bytes for ten simulated seconds, held up by `stall_ns` once in `every_ns`.
 *
 * returns   how far the sum is from rate x time, in parts.
 * ret_gap_ns  the least time between two datagrams.
 */
static double pace_error(uint64_t rate_bps, uint64_t every_ns, uint64_t stall_ns, uint64_t *ret_gap_ns)
{
    const uint64_t begin = 5 * XK_NS_PER_S, end = begin + 10 * XK_NS_PER_S;
    struct iperf_pace p = {.begin_ns = begin, .rate_bps = rate_bps};
    uint64_t now = begin, next_stall = begin + every_ns, last = 0;
    bool late;

    *ret_gap_ns = UINT64_MAX;
    for (;;) {
        now = XK_MAX(now, iperf_pace_due(&p, now, &late));
        if (every_ns && now >= next_stall) {
            now += stall_ns;
            next_stall = now + every_ns;
        }
        if (now >= end)
            break;
        if (last)
            *ret_gap_ns = XK_MIN(*ret_gap_ns, now - last);
        last = now;
        iperf_pace_sent(&p, now, 1448);
    }
    return fabs((double)p.sent_bytes * 8 / ((double)rate_bps * 10) - 1);
}

static void a_rate_is_kept_through_interruptions(void **state)
{
    static const uint64_t rates[] = {1000000, 10000000, 94000000, 1000000000};
    uint64_t gap;

    for (size_t i = 0; i < XK_COUNT(rates); i++) {
        const uint64_t apart = UINT64_C(1448) * 8 * XK_NS_PER_S / rates[i];
        assert_true(pace_error(rates[i], 0, 0, &gap) < 0.005);
        assert_in_range(gap, apart - 1, apart + 1);
        /* A fifth of the time is the stream's, in pieces of a millisecond. */
        if (rates[i] >= 10000000)
            assert_true(pace_error(rates[i], XK_NS_PER_MS, 4 * XK_NS_PER_MS, &gap) < 0.005);
        assert_true(gap >= apart / IPERF_PACE_FASTEST);
        assert_true(pace_error(rates[i], 4 * XK_NS_PER_S, 200 * XK_NS_PER_MS, &gap) < 0.005);
        assert_true(gap >= apart / IPERF_PACE_FASTEST);
    }
    /* Three seconds are too much: two of them are given up. */
    assert_true(pace_error(rates[1], 4 * XK_NS_PER_S, 3 * XK_NS_PER_S, &gap) > 0.15);
    assert_true(gap >= UINT64_C(1448) * 8 * XK_NS_PER_S / rates[1] / IPERF_PACE_FASTEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_of_3_12_are_read),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(parameters_out_of_range_are_refused),
        cmocka_unit_test(minus_one_of_3_12_is_read),
        cmocka_unit_test(omitted_errors_are_left_out_for_old_peers),
        cmocka_unit_test(errors_have_words),
        cmocka_unit_test(loss_duplicates_and_order_are_exact),
        cmocka_unit_test(a_number_behind_the_window_is_late),
        cmocka_unit_test(a_rate_is_kept_through_interruptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
