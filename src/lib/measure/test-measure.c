/*
 * The record as text, byte by byte; what does not fit; and that saving leaves the old file or the new one.
 */
#include "lib/measure/measure.h"

#include "core/testing/fault.h"
#include "core/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define STARTED INT64_C(1795409642500000000) /* 2026-11-23T04:54:02.5Z */

/* A small measurement with members in all parts. */
static void fill(struct measure *m)
{
    measure_init(m, "net throughput", STARTED);
    xk_json_u64(&m->parameters, "streams", 4);
    xk_json_str(&m->parameters, "target", "host \"a\"\n");
    xk_json_u64(&m->summary, "rate_bps", UINT64_MAX);
    for (unsigned i = 0; i < 2; i++) {
        xk_json_object(&m->samples, NULL);
        xk_json_u64(&m->samples, "offset_ns", i);
        xk_json_end(&m->samples);
    }
}

static void the_record(void **state)
{
    static struct measure m;
    fill(&m);
    (void)snprintf(m.environment.host, sizeof(m.environment.host), "xcp-1");
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(XK_MIB), again = XK_BUF_INIT(XK_MIB);
    assert_int_equal(measure_text(&m, &text, NULL), 0);
    const char *at = xk_buf_str(&text);
    const char head[] = "{\n \"tool\": \"net throughput\",\n \"version\": \"" XK_VERSION
                        "\",\n \"started\": \"2026-11-23T04:54:02Z\",\n"
                        " \"parameters\": {\"streams\":4,\"target\":\"host \\\"a\\\"\\n\"},\n"
                        " \"environment\": {\n  \"xenkit_version\": \"" XK_VERSION "\",\n  \"host\": \"xcp-1\",\n";
    const char tail[] = "  \"uptime_ns\": null,\n  \"file_system\": null\n },\n"
                        " \"summary\": {\"rate_bps\":18446744073709551615},\n"
                        " \"samples\": [{\"offset_ns\":0},{\"offset_ns\":1}]\n}\n";
    assert_true(xk_has_prefix(at, head));
    assert_true(xk_has_suffix(at, tail));
    assert_int_equal(measure_text(&m, &again, NULL), 0);
    assert_string_equal(xk_buf_str(&again), at);
    measure_done(&m);

    measure_init(&m, "empty", -1);
    (void)snprintf(m.file_system.path, sizeof(m.file_system.path), "/data");
    xk_buf_reset(&text);
    assert_int_equal(measure_text(&m, &text, NULL), 0);
    assert_non_null(strstr(xk_buf_str(&text), "\"parameters\": {},"));
    assert_non_null(strstr(xk_buf_str(&text), "\"file_system\": {\n   \"path\": \"/data\","));
    assert_true(xk_has_suffix(xk_buf_str(&text), " \"samples\": []\n}\n"));
    measure_done(&m);

    static struct measure zeroed;
    measure_done(&zeroed);
}

static void too_much_is_refused(void **state)
{
    static struct measure m;
    struct xk_err err;
    fill(&m);
    xk_auto(xk_buf_done) struct xk_buf small = XK_BUF_INIT(100), large = XK_BUF_INIT(XK_MIB);
    assert_int_equal(measure_text(&m, &small, &err), -EFBIG);
    measure_done(&m);

    fill(&m);
    m.texts[0].max = m.texts[0].len + 10;
    xk_json_str(&m.parameters, "long", "more than ten bytes");
    assert_int_equal(measure_text(&m, &large, &err), -EFBIG);
    assert_non_null(strstr(err.text, "net throughput"));
    assert_int_equal(large.len, 0);
    measure_done(&m);
}

static void statistics(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(XK_MIB);
    struct xk_json j;
    struct xk_random random;
    xk_random_seed(&random, 1);
    xk_json_init(&j, &text, 0);
    xk_json_object(&j, NULL);
    const double samples[] = {4, 1, 3, 2, 5}, same[] = {7, 7};
    assert_int_equal(measure_statistics(&j, "a", "ns", samples, 5, &random, NULL), 0);
    assert_int_equal(measure_statistics(&j, "b", NULL, same, 2, &random, NULL), 0);
    assert_int_equal(measure_statistics(&j, "none", "ns", NULL, 0, &random, NULL), 0);
    xk_json_end(&j);
    const char *at = xk_buf_str(&text);
    assert_true(
        xk_has_prefix(at, "{\"a\":{\"count\":5,\"min_ns\":1,\"p05_ns\":1.2,\"p25_ns\":2,\"median_ns\":3,\"p75_ns\":4,"
                          "\"p95_ns\":4.8,\"p99_ns\":4.96,\"max_ns\":5,\"mean_ns\":3,\"stddev_ns\":1.58113883"));
    assert_non_null(strstr(at, ",\"mad_ns\":1,\"median_low_ns\":"));
    assert_true(xk_has_suffix(
        at, ",\"b\":{\"count\":2,\"min\":7,\"p05\":7,\"p25\":7,\"median\":7,\"p75\":7,\"p95\":7,\"p99\":7,"
            "\"max\":7,\"mean\":7,\"stddev\":0,\"mad\":0,\"median_low\":7,\"median_high\":7},"
            "\"none\":{\"count\":0}}"));
}

static void histogram(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf text = XK_BUF_INIT(XK_MIB);
    struct xk_json j;
    static struct xk_hist h;
    xk_hist_init(&h);
    xk_json_init(&j, &text, 0);
    xk_json_object(&j, NULL);
    measure_histogram(&j, "none", "ns", &h);
    xk_hist_add_many(&h, 10, 3);
    xk_hist_add(&h, 1000);
    measure_histogram(&j, "latency", "ns", &h);
    xk_json_end(&j);
    assert_string_equal(
        xk_buf_str(&text),
        "{\"none\":{\"count\":0,\"buckets\":[]},"
        "\"latency\":{\"count\":4,\"min_ns\":10,\"p50_ns\":10,\"p90_ns\":1000,\"p99_ns\":1000,\"p999_ns\":1000,"
        "\"max_ns\":1000,\"mean_ns\":257.5,\"buckets\":[[10,10,3],[1000,1007,1]]}}");
}

/* ---- saving ---- */

struct saving {
    char folder[XK_FAULT_PATH_MAX], path[XK_FAULT_PATH_MAX + 16];
    struct xk_buf whole; /* the record as it must be */
};

static int put_old_file(void *state)
{
    const struct saving *s = state;
    return xk_file_replace(xk_fs_posix(), s->path, "old", 3, 0600, NULL);
}

static int save(void *state, const struct xk_fs *fs, struct xk_err *err)
{
    const struct saving *s = state;
    static struct measure m;
    fill(&m);
    const int rc = measure_save(&m, fs, s->path, err);
    measure_done(&m);
    return rc;
}

static int old_or_new(void *state, const struct xk_fault_round *round, char why[XK_FAULT_WHY_MAX])
{
    const struct saving *s = state;
    xk_autofree char *text = NULL;
    if (xk_slurp(&text, "", s->path, XK_MIB, NULL) < 0) {
        (void)snprintf(why, XK_FAULT_WHY_MAX, "the file is gone");
        return -ENOENT;
    }
    const bool is_new = strcmp(text, xk_buf_str(&s->whole)) == 0, is_old = strcmp(text, "old") == 0;
    if (is_new || (is_old && round->result < 0))
        return 0;
    (void)snprintf(why, XK_FAULT_WHY_MAX, "result %d, and the file is %.60s…", round->result, text);
    return -EPROTO;
}

static void saving_leaves_old_or_new(void **state)
{
    static struct measure m;
    struct saving s = {.whole = XK_BUF_INIT(XK_MIB)};
    assert_int_equal(xk_fault_folder_make(s.folder), 0);
    (void)snprintf(s.path, sizeof(s.path), "%s/run.json", s.folder);
    fill(&m);
    assert_int_equal(measure_text(&m, &s.whole, NULL), 0);
    measure_done(&m);

    char why[XK_FAULT_WHY_MAX] = "";
    const struct xk_fault_case c = {"measure_save", put_old_file, save, old_or_new, &s};
    if (xk_fault_loop(&c, why) < 0)
        fail_msg("%s", why);
    xk_buf_done(&s.whole);
    xk_fault_folder_clear(s.folder, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_record), cmocka_unit_test(too_much_is_refused),      cmocka_unit_test(statistics),
        cmocka_unit_test(histogram),  cmocka_unit_test(saving_leaves_old_or_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
