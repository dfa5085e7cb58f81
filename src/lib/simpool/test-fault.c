/* The text of faults: every key is read, whatever is wrong is named. */
#include "lib/simpool/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void parse(struct sim_fault *f, const char *text)
{
    struct xk_err err = {0};

    if (sim_fault_parse(f, text, &err) != 0)
        fail_msg("%s", err.text);
}

static void values_are_read(void **state)
{
    struct sim_fault f;

    parse(&f, "method=VM.*,host=3,nth=7,delay=250ms,error=VM_BAD_POWER_STATE;a;b;c,after=2m,for=1h");
    assert_int_equal(f.kind, SIM_FAULT_CALL);
    assert_string_equal(f.method, "VM.*");
    assert_string_equal(f.error, "VM_BAD_POWER_STATE;a;b;c");
    assert_int_equal(f.host, 3);
    assert_int_equal(f.nth, 7);
    assert_int_equal(f.delay_ns, 250 * XK_NS_PER_MS);
    assert_int_equal(f.after_ns, 120 * XK_NS_PER_S);
    assert_int_equal(f.for_ns, 3600 * XK_NS_PER_S);
    parse(&f, "path=/export,probability=2.5%,slow=64k/s,truncate=0");
    assert_true(f.probability == 0.025 && f.has_truncate && f.truncate == 0);
    assert_int_equal(f.slow_b_s, 65536);
    parse(&f, "method=a,probability=0.5,reset,executed");
    assert_true(f.probability == 0.5 && f.reset && f.executed && !f.has_truncate);
    parse(&f, "host=1,skew=-1h");
    assert_int_equal(f.kind, SIM_FAULT_HOST);
    assert_int_equal(f.skew_ns, -3600 * (int64_t)XK_NS_PER_S);
    parse(&f, "host=1,skew=+30s");
    assert_int_equal(f.skew_ns, 30 * (int64_t)XK_NS_PER_S);
    parse(&f, "client=leak,rate=0.5,originator=a b,user-agent=x/1");
    assert_int_equal(f.kind, SIM_FAULT_CLIENT);
    assert_true(f.rate == 0.5);
    assert_string_equal(f.originator, "a b");
    parse(&f, "task=stuck,method=VM.copy");
    assert_int_equal(f.kind, SIM_FAULT_TASK);
    parse(&f, "sr=Local*,full,for=10s");
    assert_int_equal(f.kind, SIM_FAULT_STORAGE);
    parse(&f, "master=2,after=10s");
    assert_int_equal(f.kind, SIM_FAULT_MASTER);
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *text, *named;
    } rows[] = {
        {"", "''"},
        {",", "''"},
        {"=", "''"},
        {"method", "'method'"},
        {"method=,drop", "method="},
        {"method=VM.start,wrong_type", "'wrong_type'"},
        {"host=0,dead", "host=0"},
        {"host=2,skew=0", "skew=0"},
        {"host=2,skew=99999d", "skew=99999d"},
        {"host=2,dead,skew=3s", "'skew'"},
        {"host=2,dead,method=VM.start", "'method'"},
        {"task=stuck,drop", "'drop'"},
        {"client=leak,rate=1001", "rate=1001"},
        {"client=leak,rate=nan", "rate=nan"},
        {"master=2,for=3s", "'for'"},
        {"master=2,dead,host=2", "'host'"},
        {"full", "'sr'"},
        {"method=a,slow=0", "slow=0"},
        {"method=a,slow=5G", "slow=5G"},
        {"method=a,slow=10,reset", "'slow'"},
        {"method=a,error=", "error="},
        {"method=a,error=;x", "there is no error"},
        {"method=a,for=0s,drop", "for=0s"},
        {"method=a,truncate=-1", "truncate=-1"},
    };

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        struct xk_err err = {0};
        struct sim_fault f;
        if (sim_fault_parse(&f, rows[i].text, &err) != -EINVAL || !strstr(err.text, rows[i].named))
            fail_msg("%s: %s", rows[i].text, err.text);
    }
}

static void a_long_one_is_refused(void **state)
{
    char text[SIM_FAULT_BYTES_MAX + 1], word[256];
    struct xk_err err = {0};
    struct sim_fault f;

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(sim_fault_parse(&f, text, &err), -EINVAL);
    snprintf(word, sizeof(word), "method=%0200d,drop", 1);
    assert_int_equal(sim_fault_parse(&f, word, &err), -EINVAL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_long_one_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
