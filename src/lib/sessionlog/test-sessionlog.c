/* Lines, the order of pieces, and what they come to; whole logs of every release are in src/rooms/pool/sessions.t. */
#include "lib/sessionlog/pieces.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ID  "0123456789abcdef0123456789abcdef"
#define NUL "9834f5af41c964e225f24279aefe4e49"

static bool parse(struct sessionlog_line *ret, const char *line)
{
    return sessionlog_line_parse(ret, line, strlen(line));
}

static void assert_text(struct sessionlog_text t, const char *want)
{
    assert_int_equal(t.bytes, strlen(want));
    assert_memory_equal(t.at, want, t.bytes);
}

static void a_create_line_is_read(void **state)
{
    struct sessionlog_line line;

    assert_true(parse(&line, "[20121218T01:16:01.123Z| info|h|12 INET 0.0.0.0:80|session.login D:0123456789ab|xapi] "
                             "Session.create trackid=" ID " pool=true uname=root is_local_superuser=true "
                             "auth_user_sid= parent=trackid=" NUL));
    assert_int_equal(line.kind, SESSIONLOG_CREATE);
    assert_int_equal(line.stamp.year, 2012);
    assert_int_equal(line.stamp.second, 3600 + 16 * 60 + 1);
    assert_true(line.pool && line.has_parent && !line.has_originator);
    assert_text(line.user, "root");
    assert_text(line.host, "h");
    assert_int_equal(sessionlog_stamp_s(&line.stamp, 2012), 1355793361);
}

/* A user may be called like a field; what follows it is looked for from the right. */
static void fields_in_names_are_names(void **state)
{
    struct sessionlog_line line;

    assert_true(parse(&line,
                      "Mar  9 04:02:12 h xapi: [ info||12 HTTPS 10.0.0.5->:::80|x D:1|xapi_session] Session.create "
                      "trackid=" ID " pool=false uname=a originator=b originator=c is_local_superuser=true d "
                      "is_local_superuser=true auth_user_sid=S-1-5 parent=trackid=" NUL));
    assert_text(line.user, "a originator=b");
    assert_text(line.originator, "c is_local_superuser=true d");
}

static void a_cut_line_gives_what_it_has(void **state)
{
    struct sessionlog_line line;
    static const char whole[] =
        "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|xapi] Session.create trackid=" ID
        " pool=true uname=bob originator=o is_local_superuser=true auth_user_sid= parent=trackid=" NUL;
    const size_t id_ends = (size_t)(strstr(whole, " pool") - whole);

    for (size_t i = 0; i < sizeof(whole); i++) {
        const bool read = sessionlog_line_parse(&line, whole, i);
        assert_int_equal(read, i >= id_ends);
    }
    assert_true(sessionlog_line_parse(&line, whole, (size_t)(strstr(whole, "inator=o") - whole)));
    assert_text(line.user, "bob");
    assert_true(sessionlog_line_parse(&line, whole, (size_t)(strstr(whole, "super") - whole)));
    assert_text(line.originator, "o");
}

static void words_elsewhere_are_no_messages(void **state)
{
    struct sessionlog_line line;

    assert_false(parse(&line, "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|xapi] name Session.destroy trackid=" ID));
    assert_false(parse(&line, "Mar  9 04:02:12 h xenopsd: [ info|h|1|t D:1|xapi] Session.destroy trackid=" ID));
    assert_false(parse(&line, "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|audit] Session.destroy trackid=" ID));
    assert_false(parse(&line, "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|xapi] Session.destroy trackid=" ID "0"));
    assert_false(parse(&line, "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|xapi] Session.destroy trackid=0123"));
    assert_false(parse(&line, "Mar 32 04:02:12 h xapi: [ info|h|1|t D:1|xapi] Session.destroy trackid=" ID));
    assert_false(parse(&line, "Session.destroy trackid=" ID));
    assert_false(parse(&line,
                       "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|xapi_session] Skipping Session.destroy for reusable "
                       "pool session trackid=" ID));
    assert_true(parse(&line, "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|xapi] Session.destroy trackid=" ID));
}

static void the_collector_says_why(void **state)
{
    struct sessionlog_line line;
    static const char head[] =
        "Mar  9 04:02:12 h xapi: [debug|h|1|DB GC D:1|db_gc_util] Session.destroy "
        "_ref=OpaqueRef:1 uuid=u trackid=" ID " (last active 20240308T03:16:01Z): Timed out session ";
    char text[1024];

    snprintf(text, sizeof(text),
             "%sin group 'originator:because of its age' because max number of sessions was exceeded", head);
    assert_true(parse(&line, text));
    assert_int_equal(line.kind, SESSIONLOG_GC_LIMIT);
    assert_true(line.grouped);
    assert_int_equal(line.active_s, 1709867761);
    snprintf(text, sizeof(text), "%sbecause of its age", head);
    assert_true(parse(&line, text));
    assert_int_equal(line.kind, SESSIONLOG_GC_AGE);
    snprintf(text, sizeof(text), "%s", head); /* cut: 24 h 46 min idle */
    assert_true(parse(&line, text));
    assert_int_equal(line.kind, SESSIONLOG_GC_AGE);
    memcpy(strstr(text, "0308T03"), "0309T03", 7); /* cut: 46 min idle */
    assert_true(parse(&line, text));
    assert_int_equal(line.kind, SESSIONLOG_GC_LIMIT);
}

static void a_repeated_message_is_the_message(void **state)
{
    struct sessionlog_line line;

    assert_true(
        parse(&line, "Mar  9 04:02:12 h xapi: message repeated 3 times: [ [ info|h|1||xapi] (Re)starting xapi...]"));
    assert_int_equal(line.kind, SESSIONLOG_RESTART);
    assert_int_equal(line.repeated, 3);
    assert_true(parse(&line,
                      "Mar  9 04:02:12 h xapi: message repeated 2 times: [ [ info|h|1|t D:1|xapi] Session.destroy "
                      "trackid=" ID "]"));
    assert_int_equal(line.kind, SESSIONLOG_DESTROY);
}

/* The trackid is the MD5 of the reference; that of no session is known from public logs. */
static void a_refused_reference_becomes_its_trackid(void **state)
{
    struct sessionlog_line line;
    char id[33];

    assert_true(parse(&line,
                      "Mar  9 04:02:12 h xapi: [ info|h|1|t D:1|xapi_session] Session check failed: the client used "
                      "an illegal or expired session ref 'OpaqueRef:NULL'"));
    sessionlog_id_text(id, line.id);
    assert_string_equal(id, NUL);
}

/* ---- the order of pieces ---- */

static struct piece piece_of(unsigned month, unsigned day, unsigned last_month, unsigned last_day, size_t order)
{
    return (struct piece){.first = {0, month, day, 0}, .last = {0, last_month, last_day, 0}, .order = order};
}

#define NOW_S INT64_C(1792713600) /* 2026-10-23 */

static void pieces_cross_the_new_year(void **state)
{
    struct piece p[] = {piece_of(1, 5, 1, 9, 0), piece_of(12, 30, 1, 5, 1), piece_of(11, 20, 12, 30, 2)};

    pieces_sort(p, XK_COUNT(p), NOW_S);
    assert_int_equal(p[0].order, 2);
    assert_int_equal(p[1].order, 1);
    assert_int_equal(p[2].order, 0);
    assert_int_equal(sessionlog_year_of(p[0].first_s), 2025);
    assert_int_equal(sessionlog_year_of(p[1].first_s), 2025);
    assert_int_equal(sessionlog_year_of(p[1].last_s), 2026);
    assert_int_equal(sessionlog_year_of(p[2].first_s), 2026);
}

static void no_piece_is_younger_than_now(void **state)
{
    struct piece p[] = {piece_of(10, 25, 10, 26, 0), piece_of(10, 20, 10, 25, 1)};

    pieces_sort(p, XK_COUNT(p), NOW_S);
    assert_int_equal(p[0].order, 1);
    assert_int_equal(sessionlog_year_of(p[0].first_s), 2025);
    struct piece today[] = {piece_of(10, 20, 10, 23, 0)};
    pieces_sort(today, 1, NOW_S);
    assert_int_equal(sessionlog_year_of(today[0].first_s), 2026);
}

/* A file's time counts when it fits its last stamp, on every piece. */
static void files_times_give_the_years(void **state)
{
    struct piece p[] = {piece_of(3, 1, 9, 1, 0), piece_of(2, 1, 3, 1, 1)};

    p[0].mtime_s = INT64_C(1567296000); /* 2019-09-01 */
    p[1].mtime_s = INT64_C(1583020800); /* 2020-03-01 */
    pieces_sort(p, XK_COUNT(p), NOW_S);
    assert_int_equal(p[0].order, 0);
    assert_int_equal(sessionlog_year_of(p[0].first_s), 2019);
    assert_int_equal(sessionlog_year_of(p[1].first_s), 2020);
}

static void years_shift_by_whole_years(void **state)
{
    assert_int_equal(sessionlog_shift_years(1709164800, 1), 1740787200); /* 2024-02-29 → 2025-03-01 */
    assert_int_equal(sessionlog_shift_years(-1, 1), 31535999);
    assert_int_equal(sessionlog_year_of(-1), 1969);
    for (int64_t day = -800000; day < 800000; day += 37)
        assert_int_equal(sessionlog_shift_years(day * 86400 + 5, 0), day * 86400 + 5);
}

/* ---- identities ---- */

static void identities_come_and_go(void **state)
{
    struct ids t = {.seed = 7};
    bool there[512] = {false};
    struct xk_random r;
    uint64_t value;

    xk_random_seed(&r, 1);
    for (unsigned i = 0; i < 200000; i++) {
        const uint64_t which = xk_random_below(&r, XK_COUNT(there));
        uint8_t id[IDS_BYTES] = {(uint8_t)which, (uint8_t)(which >> 8)};
        assert_int_equal(ids_find(&t, id, &value), there[which]);
        if (there[which]) {
            assert_int_equal(value, which);
            ids_remove(&t, id);
        } else {
            assert_int_equal(ids_put(&t, id, which), 0);
        }
        there[which] = !there[which];
    }
    ids_done(&t);
}

/* ---- lines ---- */

struct collected {
    size_t count, bytes[8];
};

static int collect(void *context, const char *line, size_t bytes)
{
    struct collected *const c = context;

    assert_true(c->count < XK_COUNT(c->bytes));
    c->bytes[c->count++] = bytes;
    return 0;
}

static void feed(struct lines *l, const char *bytes, size_t count)
{
    while (count) {
        size_t room;
        char *const at = lines_room(l, &room);
        const size_t now = XK_MIN(room, count);
        memcpy(at, bytes, now);
        assert_int_equal(lines_added(l, now), 0);
        bytes += now;
        count -= now;
    }
}

static void zeros_part_lines_and_long_ones_are_cut(void **state)
{
    struct collected c = {0};
    struct lines l;
    xk_autofree char *big = xk_alloc(3 * LINES_BYTES);

    assert_non_null(big);
    memset(big, 'x', 3 * LINES_BYTES);
    assert_int_equal(lines_init(&l, collect, &c), 0);
    feed(&l, "ab\0\0cde\nf", 9);
    feed(&l, "g\n", 2);
    feed(&l, big, 3 * LINES_BYTES);
    feed(&l, "\nlast", 5);
    assert_int_equal(lines_end(&l), 0);
    assert_int_equal(c.count, 5);
    assert_int_equal(c.bytes[0], 2);
    assert_int_equal(c.bytes[1], 3);
    assert_int_equal(c.bytes[2], 2);
    assert_int_equal(c.bytes[3], SESSIONLOG_LINE_MAX);
    assert_int_equal(c.bytes[4], 4);
    lines_done(&l);
}

/* ---- sessions beyond what is kept ---- */

static int count_sessions(void *context, const struct sessionlog_session *s)
{
    uint64_t *const counts = context;

    counts[s->fate]++;
    return 0;
}

static void feed_line(struct track *t, uint64_t number, const char *what)
{
    char line[512];
    const int bytes = snprintf(
        line, sizeof(line), "Mar  9 04:02:12 h xapi: [ info|h|1||xapi] Session.%s trackid=%032llx%s", what,
        (unsigned long long)number, *what == 'c' ? " pool=false uname=u is_local_superuser=true auth_user_sid=" : "");

    assert_int_equal(track_line(t, line, (size_t)bytes), 0);
}

static void many_sessions_are_each_handed_out_once(void **state)
{
    uint64_t counts[SESSIONLOG_FATES] = {0};
    const struct sessionlog_settings settings = {.ended = count_sessions, .context = counts};
    struct track t;

    track_init(&t, &settings, 1);
    track_begin_piece(&t, 0, INT64_C(1700000000));
    for (uint64_t i = 0; i < SESSIONLOG_KEPT_MAX + 5000; i++) {
        feed_line(&t, i, "create");
        feed_line(&t, i, "destroy");
    }
    assert_true(t.streaming);
    assert_int_equal(t.kept_count, 0);
    feed_line(&t, 1, "destroy"); /* known again */
    feed_line(&t, UINT64_C(1) << 40, "create");
    assert_int_equal(track_finish(&t), 0);
    assert_int_equal(counts[SESSIONLOG_LOGOUT], SESSIONLOG_KEPT_MAX + 5000);
    assert_int_equal(counts[SESSIONLOG_OPEN], 1);
    assert_int_equal(t.sum.unseen_count, 0);
    track_done(&t);
}

/* An end that stands before its creation is no unseen one. */
static void an_end_waits_for_its_creation(void **state)
{
    uint64_t counts[SESSIONLOG_FATES] = {0};
    const struct sessionlog_settings settings = {.ended = count_sessions, .context = counts};
    struct track t;

    track_init(&t, &settings, 1);
    track_begin_piece(&t, 0, INT64_C(1700000000));
    feed_line(&t, 5, "destroy");
    feed_line(&t, 6, "destroy");
    feed_line(&t, 6, "destroy");
    feed_line(&t, 5, "create");
    assert_int_equal(track_finish(&t), 0);
    assert_int_equal(counts[SESSIONLOG_LOGOUT], 1);
    assert_int_equal(t.sum.unseen_count, 1);
    assert_int_equal(t.sum.unseen[0][15], 6);
    track_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_create_line_is_read),
        cmocka_unit_test(fields_in_names_are_names),
        cmocka_unit_test(a_cut_line_gives_what_it_has),
        cmocka_unit_test(words_elsewhere_are_no_messages),
        cmocka_unit_test(the_collector_says_why),
        cmocka_unit_test(a_repeated_message_is_the_message),
        cmocka_unit_test(a_refused_reference_becomes_its_trackid),
        cmocka_unit_test(pieces_cross_the_new_year),
        cmocka_unit_test(no_piece_is_younger_than_now),
        cmocka_unit_test(files_times_give_the_years),
        cmocka_unit_test(years_shift_by_whole_years),
        cmocka_unit_test(identities_come_and_go),
        cmocka_unit_test(zeros_part_lines_and_long_ones_are_cut),
        cmocka_unit_test(many_sessions_are_each_handed_out_once),
        cmocka_unit_test(an_end_waits_for_its_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
