/* Clocks, random numbers, and the wish to stop (in child processes, since it stays for good). */
#include "core/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void the_system_clock_moves(void **state)
{
    const struct xk_clock *clock = xk_clock_system();
    const uint64_t before_ns = clock->monotonic_ns(clock);
    clock->sleep_ns(clock, 2 * XK_NS_PER_MS);
    assert_true(clock->monotonic_ns(clock) - before_ns >= 2 * XK_NS_PER_MS);
    assert_true(clock->utc_ns(clock) > INT64_C(1700000000) * (int64_t)XK_NS_PER_S);
}

static void a_frozen_clock_moves_only_by_sleeping(void **state)
{
    int64_t now_ns = 1000;
    const struct xk_clock clock = xk_clock_frozen(&now_ns);
    assert_int_equal(clock.utc_ns(&clock), 1000);
    assert_int_equal(clock.monotonic_ns(&clock), 1000);
    clock.sleep_ns(&clock, XK_NS_PER_S);
    assert_int_equal(clock.utc_ns(&clock), 1000 + (int64_t)XK_NS_PER_S);
    assert_int_equal(now_ns, 1000 + (int64_t)XK_NS_PER_S);
    clock.sleep_ns(&clock, UINT64_MAX);
    assert_true(now_ns == INT64_MAX);
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
    struct xk_random a, b, c;
    xk_random_seed(&a, 0);
    xk_random_seed(&b, 0);
    xk_random_seed(&c, 1);
    /* splitmix64 from 0, as its authors print it */
    assert_true(a.s[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(a.s[1] == UINT64_C(0x6e789e6aa1b965f4));
    int different = 0;
    for (int i = 0; i < 100; i++) {
        const uint64_t x = xk_random_u64(&a);
        assert_true(x == xk_random_u64(&b));
        different += x != xk_random_u64(&c);
    }
    assert_int_equal(different, 100);
}

static void the_generator_is_xoshiro256starstar(void **state)
{
    struct xk_random r = {.s = {1, 2, 3, 4}};
    /* by hand from the definition: rotl(s1 * 5, 7) * 9 */
    assert_true(xk_random_u64(&r) == 11520);
    assert_true(xk_random_u64(&r) == 0);
    assert_true(xk_random_u64(&r) == 1509978240);
    assert_true(xk_random_u64(&r) == UINT64_C(1215971899390074240));
}

static void numbers_below_a_limit(void **state)
{
    struct xk_random r;
    xk_random_seed(&r, 42);
    unsigned seen[6] = {0};
    for (int i = 0; i < 60000; i++) {
        const uint64_t x = xk_random_below(&r, 6);
        assert_in_range(x, 0, 5);
        seen[x]++;
    }
    for (int i = 0; i < 6; i++) /* expected 10000, sigma 91 */
        assert_in_range(seen[i], 9500, 10500);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(xk_random_below(&r, 1), 0);
        assert_true(xk_random_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
        (void)xk_random_below(&r, UINT64_MAX);
        const double unit = xk_random_unit(&r);
        assert_true(unit >= 0 && unit < 1);
    }
}

static void random_bytes_do_not_depend_on_the_machine(void **state)
{
    struct xk_random a, b;
    xk_random_seed(&a, 7);
    xk_random_seed(&b, 7);
    uint8_t bytes[11] = {[10] = 0xee};
    xk_random_bytes(&a, bytes, 10);
    const uint64_t first = xk_random_u64(&b), second = xk_random_u64(&b);
    for (int i = 0; i < 8; i++)
        assert_int_equal(bytes[i], (uint8_t)(first >> 8 * i));
    assert_int_equal(bytes[8], (uint8_t)second);
    assert_int_equal(bytes[9], (uint8_t)(second >> 8));
    assert_int_equal(bytes[10], 0xee);
    xk_random_seed_system(&a);
    xk_random_seed_system(&b);
    assert_memory_not_equal(&a, &b, sizeof(a));
}

/* Run in a child; returns its wait status. */
static int in_child(void (*run)(void))
{
    const pid_t pid = fork();
    if (pid == 0) {
        run();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void stop_once(void)
{
    xk_stop_install();
    if (xk_stop_signal() != 0)
        _exit(1);
    raise(SIGTERM);
    const struct xk_clock *clock = xk_clock_system();
    clock->sleep_ns(clock, 3600 * XK_NS_PER_S); /* the signal came before it */
    _exit(xk_stop_signal() == SIGTERM ? 42 : 2);
}

static void the_first_signal_asks_for_a_stop(void **state)
{
    const int status = in_child(stop_once);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void stop_twice(void)
{
    xk_stop_install();
    raise(SIGINT);
    (void)usleep(300000);
    raise(SIGTERM);
}

/* timeout(1) signals the process and then its group, to which it belongs. */
static void stop_twice_at_once(void)
{
    xk_stop_install();
    raise(SIGINT);
    raise(SIGINT);
    _exit(xk_stop_signal() == SIGINT ? 42 : 2);
}

static void the_same_signal_twice_at_once_is_one(void **state)
{
    const int status = in_child(stop_twice_at_once);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void the_second_signal_kills(void **state)
{
    const int status = in_child(stop_twice);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void *sleep_long(void *arg)
{
    const struct xk_clock *clock = xk_clock_system();
    clock->sleep_ns(clock, UINT64_MAX);
    return NULL;
}

static void stop_threads(void)
{
    signal(SIGHUP, SIG_DFL); /* the tests may run under nohup */
    xk_stop_install();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, sleep_long, NULL) != 0)
            _exit(1);
    kill(getpid(), SIGHUP);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    _exit(xk_stop_signal() == SIGHUP ? 42 : 2);
}

static void a_stop_wakes_every_thread(void **state)
{
    const int status = in_child(stop_threads);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void stop_ignored(void)
{
    signal(SIGHUP, SIG_IGN);
    xk_stop_install();
    raise(SIGHUP);
    _exit(xk_stop_signal() == 0 ? 42 : 2);
}

static void an_ignored_hangup_stays_ignored(void **state)
{
    const int status = in_child(stop_ignored);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_clock_moves),
        cmocka_unit_test(a_frozen_clock_moves_only_by_sleeping),
        cmocka_unit_test(the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(the_generator_is_xoshiro256starstar),
        cmocka_unit_test(numbers_below_a_limit),
        cmocka_unit_test(random_bytes_do_not_depend_on_the_machine),
        cmocka_unit_test(the_first_signal_asks_for_a_stop),
        cmocka_unit_test(the_second_signal_kills),
        cmocka_unit_test(the_same_signal_twice_at_once_is_one),
        cmocka_unit_test(a_stop_wakes_every_thread),
        cmocka_unit_test(an_ignored_hangup_stays_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
