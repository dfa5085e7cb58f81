/* Series whose means agree at every scale, and who ran where and when. */
#include "lib/simpool/rrd.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOON INT64_C(1700000000)

static void a_span_is_the_mean_of_its_parts(void **state)
{
    static const int64_t spans_s[] = {10, 60, 3600, 86400, 7 * 86400, 97};

    for (uint64_t key = 1; key < 20; key++) {
        for (size_t i = 0; i < XK_COUNT(spans_s); i++) {
            const int64_t from = NOON / 5 * 5, part_s = spans_s[i] % 5 ? 1 : 5;
            double sum = 0;
            for (int64_t t = from; t < from + spans_s[i]; t += part_s)
                sum += sim_series_mean(key, 1, t, t + part_s);
            assert_true(fabs(sum * (double)part_s / (double)spans_s[i] -
                             sim_series_mean(key, 1, from, from + spans_s[i])) < 1e-6);
        }
    }
}

static void it_swings_around_one_and_stays_positive(void **state)
{
    const uint64_t key = sim_series_key("e63c9bd3-2cc1-4b4b-b3d0-6c2ea9a7d6dc", "cpu");
    double low = 2, high = 0, sum = 0;

    for (int i = 0; i < 20000; i++) {
        const double v = sim_series_mean(key, 1, NOON + i * INT64_C(1205), NOON + i * INT64_C(1205) + 5);
        low = fmin(low, v);
        high = fmax(high, v);
        sum += v;
    }
    assert_true(low > 0.05 && low < 0.8);
    assert_true(high < 1.95 && high > 1.2);
    assert_true(fabs(sum / 20000 - 1) < 0.02);
    assert_true(sim_series_mean(key, 1, NOON, NOON + 5) == sim_series_mean(key, 1, NOON, NOON + 5));
    assert_true(sim_series_mean(key, 0, NOON, NOON + 5) == 1);
    assert_true(key != sim_series_key("e63c9bd3-2cc1-4b4b-b3d0-6c2ea9a7d6dc", "memory"));
}

/* A pool with a clock that the test moves. */
struct fixture {
    struct simpool pool;
    struct xk_random random;
    struct xk_clock clock;
    int64_t utc_ns;
};

static int setup(void **state)
{
    struct fixture *const f = xk_zalloc(sizeof(*f));
    struct simpool *const p = &f->pool;

    *state = f;
    xk_random_seed(&f->random, 1);
    f->utc_ns = NOON * (int64_t)XK_NS_PER_S;
    f->clock = xk_clock_frozen(&f->utc_ns);
    p->settings = (struct simpool_settings){.random = &f->random, .clock = &f->clock, .hosts = 2, .speed = 1};
    p->started_utc_ns = f->utc_ns;
    p->started_ns = f->clock.monotonic_ns(&f->clock);
    memcpy(p->host_refs[0], "OpaqueRef:a", 12);
    memcpy(p->host_refs[1], "OpaqueRef:b", 12);
    return sim_db_open(p, NULL);
}

static int teardown(void **state)
{
    struct fixture *const f = *state;

    sim_db_close(&f->pool);
    free(f);
    return 0;
}

static void set(struct simpool *p, struct sim_object *vm, const char *power_state, const char *host)
{
    sim_put_text(p, vm, "power_state", power_state);
    sim_put_text(p, vm, "resident_on", host);
}

static void a_vm_leaves_its_trace(void **state)
{
    struct fixture *const f = *state;
    struct simpool *const p = &f->pool;
    struct sim_object *const vm = sim_create(p, "VM");

    set(p, vm, "Running", "OpaqueRef:a");
    sim_history_begin(p);
    assert_true(sim_history_part(vm->history, 0, NOON - 400 * INT64_C(86400), NOON).running == 1);
    f->utc_ns += 100 * (int64_t)XK_NS_PER_S;
    sim_put_text(p, vm, "resident_on", "OpaqueRef:b");
    f->utc_ns += 100 * (int64_t)XK_NS_PER_S;
    sim_put_text(p, vm, "power_state", "Paused");
    f->utc_ns += 100 * (int64_t)XK_NS_PER_S;
    set(p, vm, "Halted", SIM_NULL);

    assert_true(sim_history_part(vm->history, 0, NOON, NOON + 200).running == 0.5);
    assert_true(sim_history_part(vm->history, 1, NOON, NOON + 200).running == 0.5);
    const struct sim_part part = sim_history_part(vm->history, SIMPOOL_HOSTS_MAX, NOON, NOON + 400);
    assert_true(part.running == 0.5 && part.present == 0.75);
    assert_true(sim_history_end(vm->history) == NOON + 300);
    assert_true(sim_history_visits(vm->history, 0) && sim_history_visits(vm->history, 1));
    assert_false(sim_history_visits(vm->history, 2));
}

static void a_long_life_is_bounded(void **state)
{
    struct fixture *const f = *state;
    struct simpool *const p = &f->pool;
    struct sim_object *const vm = sim_create(p, "VM");

    sim_history_begin(p);
    assert_null(vm->history);
    for (int i = 0; i < 3 * SIM_SPANS_MAX; i++) {
        f->utc_ns += 10 * (int64_t)XK_NS_PER_S;
        set(p, vm, i % 2 ? "Halted" : "Running", i % 2 ? SIM_NULL : "OpaqueRef:a");
    }
    const int64_t now = f->utc_ns / (int64_t)XK_NS_PER_S;
    assert_true(sim_history_part(vm->history, 0, now - 1000, now).running == 0.5);
    assert_true(sim_history_part(vm->history, 0, NOON, NOON + 1000).present == 0);
    sim_delete(p, vm);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_is_the_mean_of_its_parts),
        cmocka_unit_test(it_swings_around_one_and_stays_positive),
        cmocka_unit_test_setup_teardown(a_vm_leaves_its_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_life_is_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
