/* Packets and the arithmetic of their times; servers are in src/rooms/net/ntp.t. */
#include "lib/sntp/sntp.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t stamp[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* A good answer: version 4, stratum 2, both times set. */
static void fill_answer(uint8_t p[SNTP_PACKET_BYTES])
{
    memset(p, 0, SNTP_PACKET_BYTES);
    p[0] = 4 << 3 | 4;
    p[1] = 2;
    p[5] = 1; /* root delay 1 s */
    p[11] = 0x80;
    memcpy(p + 12, (uint8_t[]){192, 0, 2, 1}, 4);
    memcpy(p + 24, stamp, 8);
    p[32] = p[40] = 0xe0;
}

static enum sntp_verdict verdict_of(const uint8_t *p, size_t bytes)
{
    struct sntp_reply reply;

    return sntp_reply_decode(&reply, p, bytes, stamp);
}

static void a_question_gives_nothing_away(void **state)
{
    uint8_t p[SNTP_PACKET_BYTES], zeros[SNTP_PACKET_BYTES - 9] = {0};

    sntp_question(p, stamp);
    assert_int_equal(p[0], 0x23);
    assert_memory_equal(p + 1, zeros, sizeof(zeros));
    assert_memory_equal(p + 40, stamp, 8);
}

static void an_answer_is_taken_apart(void **state)
{
    uint8_t p[SNTP_PACKET_BYTES];
    struct sntp_reply reply;

    fill_answer(p);
    assert_int_equal(sntp_reply_decode(&reply, p, sizeof(p), stamp), SNTP_GOOD);
    assert_int_equal(reply.stratum, 2);
    assert_string_equal(reply.reference, "192.0.2.1");
    assert_true(fabs(reply.root_distance_s - (0.5 + 128.0 / 65536)) < 1e-9);
}

static void what_is_wrong_is_told_apart(void **state)
{
    uint8_t p[SNTP_PACKET_BYTES];
    static const struct {
        size_t at;
        uint8_t value;
        enum sntp_verdict verdict;
    } cases[] = {
        {0, 4 << 3 | 3, SNTP_STRANGE},                 /* a question */
        {0, 4 << 3 | 5, SNTP_STRANGE},                 /* broadcast */
        {0, 0 << 3 | 4, SNTP_STRANGE},                 /* no version */
        {0, 3 << 3 | 4, SNTP_GOOD},                    /* an older one */
        {24, 9, SNTP_STRANGE},                         /* another's stamp */
        {31, 9, SNTP_STRANGE},                         /* nearly ours */
        {1, 0, SNTP_UNSYNCHRONISED},                   /* stratum 0 */
        {1, 16, SNTP_UNSYNCHRONISED},                  /* stratum 16 */
        {0, 3 << 6 | 4 << 3 | 4, SNTP_UNSYNCHRONISED}, /* leap unknown */
        {32, 0, SNTP_ZERO},                            /* no time of receipt */
        {40, 0, SNTP_ZERO},                            /* no time of sending */
        {5, 3, SNTP_DISTANT},                          /* root delay 3 s */
    };

    for (size_t i = 0; i < XK_COUNT(cases); i++) {
        fill_answer(p);
        p[cases[i].at] = cases[i].value;
        assert_int_equal(verdict_of(p, sizeof(p)), cases[i].verdict);
    }
    fill_answer(p);
    p[1] = 0;
    memcpy(p + 12, "DENY", 4);
    assert_int_equal(verdict_of(p, sizeof(p)), SNTP_KISS);
    fill_answer(p);
    p[9] = 1;
    assert_int_equal(verdict_of(p, sizeof(p)), SNTP_DISTANT);
    p[5] = 0;
    assert_int_equal(verdict_of(p, sizeof(p)), SNTP_GOOD);
    for (size_t i = 0; i < sizeof(p); i++)
        assert_int_equal(verdict_of(p, i), SNTP_STRANGE);
}

/* Unix second to the upper half of a stamp. */
static uint64_t stamp_at(int64_t unix_ms)
{
    const int64_t s = unix_ms / 1000;

    return (uint64_t)(uint32_t)(s + INT64_C(2208988800)) << 32 |
           (uint64_t)((double)(unix_ms % 1000) / 1000 * 4294967296.0);
}

static void four_times_give_offset_and_delay(void **state)
{
    /* 20 ms there, 5 ms at the server, 10 ms back; the server is 100 s ahead. Before, at, and after the wrap in 2036.
     */
    static const int64_t starts_ms[] = {INT64_C(1700000000000), INT64_C(2085978495990), INT64_C(2085978496000),
                                        INT64_C(4000000000000)};

    for (size_t i = 0; i < XK_COUNT(starts_ms); i++) {
        const int64_t t = starts_ms[i];
        const struct sntp_reply reply = {.received = stamp_at(t + 100020), .sent = stamp_at(t + 100025)};
        double offset_s, delay_s;
        sntp_weigh(&offset_s, &delay_s, &reply, t * 1000000, (t + 35) * 1000000);
        assert_true(fabs(offset_s - 100.005) < 1e-6);
        assert_true(fabs(delay_s - 0.030) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_gives_nothing_away),
        cmocka_unit_test(an_answer_is_taken_apart),
        cmocka_unit_test(what_is_wrong_is_told_apart),
        cmocka_unit_test(four_times_give_offset_and_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
