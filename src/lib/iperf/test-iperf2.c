/* The words of iperf 2 on the wire, away from any network. The bytes were recorded from Debian's 2.1.8. */
#include "lib/iperf/iperf2-wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static size_t from_hex(uint8_t *ret, const char *hex)
{
    size_t n = 0;
    unsigned v = 0;
    int digits = 0;

    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        v = v * 16 + (unsigned)(*hex <= '9' ? *hex - '0' : *hex - 'a' + 10);
        if (++digits % 2 == 0) {
            ret[n++] = (uint8_t)v;
            v = 0;
        }
    }
    return n;
}

/* iperf -u -c … -t 0.1 -b 10m */
static const char udp[] = "00000001 6b042c02 0000a417 00000000 48010098 00000001 00003e76 00000000 00000000 fffffff6 "
                          "00000000 00000000 00000000 00020001 00080003 00000000 00989680 00000000 00000000";
/* iperf -u -c … -t 0.1 --full-duplex */
static const char udp_both[] =
    "00000001 6b042c10 00095f2b 00000000 6c010098 00000001 00003e76 00000000 00000000 fffffff6 00000000 00000000 "
    "08080000 00020001 00080003 00000000 00100000 00000000 00000000";
/* iperf -u -c … -t 0.1 --trip-times */
static const char udp_trip[] =
    "00000001 6b042c0e 000305b4 00000000 680100d8 00000001 00003e76 00000000 00000000 fffffff6 00000000 00000000 "
    "00100000 00020001 00080003 00000000 00100000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
    "00000000 00000000 00000000 00000000 6b042c0e 000305b4 00000000 00000000";

static void a_datagram_s_header_is_read(void **state)
{
    uint8_t data[256];
    struct iperf2_header h;
    struct iperf2_datagram d;

    const size_t n = from_hex(data, udp);
    assert_int_equal(iperf2_header_decode(&h, data, n, true, NULL), 0);
    assert_true(h.wide && h.timed && !h.reverse && !h.full_duplex && !h.dual && !h.tradeoff && !h.no_fin);
    assert_int_equal(h.amount, 10);
    assert_int_equal(h.port, 15990);
    assert_int_equal(h.rate, 10000000);
    assert_int_equal(h.version_upper, IPERF2_VERSION_UPPER);
    assert_int_equal(h.version_lower, IPERF2_VERSION_LOWER);
    assert_true(iperf2_datagram_decode(&d, data, n, h.wide));
    assert_int_equal(d.number, 1);
    assert_int_equal(d.s, 0x6b042c02);
    assert_int_equal(d.us, 0xa417);
}

static void requests_of_datagrams_are_read(void **state)
{
    uint8_t data[256];
    struct iperf2_header h;

    assert_int_equal(iperf2_header_decode(&h, data, from_hex(data, udp_both), true, NULL), 0);
    assert_true(h.full_duplex && h.no_fin && !h.reverse);
    assert_int_equal(h.rate, 1048576);
    assert_int_equal(iperf2_header_decode(&h, data, from_hex(data, udp_trip), true, NULL), 0);
    assert_true(h.trip_times && !h.small_trip_times);
    assert_int_equal(h.start_s, 0x6b042c0e);
    assert_int_equal(h.start_us, 0x305b4);
}

/* What is written is what the real one writes. */
static void a_datagram_s_header_is_written_as_the_real_one_writes_it(void **state)
{
    static const char *const all[] = {udp, udp_both, udp_trip};

    for (size_t i = 0; i < XK_COUNT(all); i++) {
        uint8_t want[256] = {0}, got[256] = {0};
        struct iperf2_header h;
        const size_t n = from_hex(want, all[i]);
        assert_int_equal(iperf2_header_decode(&h, want, n, true, NULL), 0);
        const size_t written = iperf2_header_encode(got, sizeof(got), &h, true);
        assert_true(written <= n);
        assert_memory_equal(got + IPERF2_DATAGRAM_BYTES, want + IPERF2_DATAGRAM_BYTES, written - IPERF2_DATAGRAM_BYTES);
    }
}

static void a_pattern_is_no_header(void **state)
{
    /* iperf -c … -C, and -u -C, whose 32nd bit stands where a short datagram says that it has trip times */
    uint8_t data[64];
    struct iperf2_header h;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)('0' + i % 10);
    assert_int_equal(iperf2_header_need(data, 4), 0);
    assert_int_equal(iperf2_header_decode(&h, data, sizeof(data), false, NULL), 0);
    assert_int_equal(h.version_upper, 0);
    assert_int_equal(iperf2_header_decode(&h, data, sizeof(data), true, NULL), 0);
    assert_false(h.trip_times || h.small_trip_times || h.wide);
}

static void a_header_tells_how_long_it_is(void **state)
{
    struct iperf2_header h = {.timed = true, .amount = 1000, .version_upper = 1, .version_lower = 1, .has_key = true};
    uint8_t data[IPERF2_HEADER_MAX];

    strcpy(h.key, "a key of some length");
    const size_t n = iperf2_header_encode(data, sizeof(data), &h, false);
    assert_int_equal(iperf2_header_need(data, 0), 4);
    assert_int_equal(iperf2_header_need(data, 4), 62);
    assert_int_equal(iperf2_header_need(data, 62), n);
    assert_int_equal(iperf2_header_need(data, n), n);
    struct iperf2_header again;
    assert_int_equal(iperf2_header_decode(&again, data, n, false, NULL), 0);
    assert_string_equal(again.key, h.key);
    data[61] = 3; /* a key of three */
    assert_int_equal(iperf2_header_need(data, 62), -EBADMSG);
    data[60] = 0xff;
    assert_int_equal(iperf2_header_need(data, 62), -EBADMSG);
    for (size_t cut = 4; cut < 60; cut++)
        assert_int_equal(iperf2_header_decode(&again, data, cut, false, NULL), -EBADMSG);
}

static void a_report_comes_back(void **state)
{
    struct iperf2_report r =
                             {
                                 .bytes = UINT64_C(5000000000),
                                 .seconds = 10.25,
                                 .jitter_s = 0.000125,
                                 .errors = INT64_C(5000000000),
                                 .out_of_order = 3,
                                 .datagrams = INT64_C(6000000000),
                                 .has_transit = true,
                                 .packets_per_s = 85,
                             },
                         again;
    uint8_t data[IPERF2_REPORT_BYTES];

    for (int i = 1; i <= 4; i++)
        iperf2_spread_add(&r.transit, i * 0.001);
    assert_true(r.transit.mean > 0.00249 && r.transit.mean < 0.00251);
    iperf2_report_encode(data, &r);
    assert_int_equal(iperf2_report_decode(&again, data, sizeof(data), NULL), 0);
    assert_int_equal(again.bytes, r.bytes);
    assert_int_equal(again.errors, r.errors);
    assert_int_equal(again.datagrams, r.datagrams);
    assert_int_equal(again.out_of_order, 3);
    assert_int_equal((int)(again.seconds * 100), 1025);
    assert_int_equal((int)(again.jitter_s * 1e6 + 0.5), 125);
    assert_true(again.transit.min > 0.0009 && again.transit.max < 0.0041);
    assert_int_equal(iperf2_report_decode(&again, data, 40, NULL), -EBADMSG);
    memset(data, 0, sizeof(data));
    assert_int_equal(iperf2_report_decode(&again, data, sizeof(data), NULL), -EBADMSG);
}

static void the_last_number_is_negative(void **state)
{
    uint8_t data[IPERF2_DATAGRAM_BYTES], recorded[IPERF2_DATAGRAM_BYTES];
    struct iperf2_datagram d = {.number = -113, .s = 0x6b042bc0, .us = 0xcab11};

    /* iperf -u -c … -t 0.1 -b 10m: its first last one */
    assert_int_equal(from_hex(recorded, "ffffff8f 6b042bc0 000cab11 ffffffff"), sizeof(recorded));
    iperf2_datagram_encode(data, &d);
    assert_memory_equal(data, recorded, sizeof(data));
    assert_true(iperf2_datagram_decode(&d, data, sizeof(data), true));
    assert_int_equal(d.number, -113);
    assert_true(iperf2_datagram_decode(&d, data, 12, false));
    assert_int_equal(d.number, -113);
    assert_false(iperf2_datagram_decode(&d, data, 12, true));
    /* Beyond 32 bits. */
    d.number = INT64_C(6000000000);
    iperf2_datagram_encode(data, &d);
    assert_true(iperf2_datagram_decode(&d, data, sizeof(data), true));
    assert_int_equal(d.number, INT64_C(6000000000));
}

static void bursts_have_a_size(void **state)
{
    const struct iperf2_burst b = {.sent_s = 5, .sent_us = 6, .id = 7, .bytes = 131072, .number = UINT64_C(1) << 33};
    struct iperf2_burst again;
    uint8_t data[IPERF2_BURST_BYTES];

    iperf2_burst_encode(data, &b);
    assert_int_equal(iperf2_burst_decode(&again, data, NULL), 0);
    assert_int_equal(again.bytes, b.bytes);
    assert_int_equal(again.number, b.number);
    memset(data, 0, sizeof(data));
    assert_int_equal(iperf2_burst_decode(&again, data, NULL), -EBADMSG);
    memset(data, 0xff, sizeof(data));
    assert_int_equal(iperf2_burst_decode(&again, data, NULL), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datagram_s_header_is_read),
        cmocka_unit_test(requests_of_datagrams_are_read),
        cmocka_unit_test(a_datagram_s_header_is_written_as_the_real_one_writes_it),
        cmocka_unit_test(a_pattern_is_no_header),
        cmocka_unit_test(a_header_tells_how_long_it_is),
        cmocka_unit_test(a_report_comes_back),
        cmocka_unit_test(the_last_number_is_negative),
        cmocka_unit_test(bursts_have_a_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
