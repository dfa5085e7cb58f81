/* Crews: everyone is called once, with a number of their own, and the caller waits for all. */
#include "core/crew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

struct job {
    atomic_uint calls[100];
};

static void take(void *context, unsigned which)
{
    struct job *j = context;

    atomic_fetch_add(&j->calls[which], 1);
}

static void each_is_called_once(void **state)
{
    for (unsigned count = 1; count <= 8; count++) {
        struct job j = {0};
        xk_crew_run(count, XK_CREW_STACK_BYTES, take, &j);
        for (unsigned i = 0; i < 100; i++)
            assert_int_equal(atomic_load(&j.calls[i]), i < count);
    }
}

static void there_is_a_limit(void **state)
{
    struct job j = {0};

    xk_crew_run(100, XK_CREW_STACK_BYTES, take, &j);
    assert_int_equal(atomic_load(&j.calls[0]), 1);
    assert_int_equal(atomic_load(&j.calls[99]), 0);
}

/* No thread can be made: the caller does it alone. */
static void without_threads_the_caller_works(void **state)
{
    struct job j = {0};

    xk_crew_run(4, 1, take, &j); /* a stack too small for any thread */
    assert_int_equal(atomic_load(&j.calls[0]), 1);
    assert_int_equal(atomic_load(&j.calls[1]), 0);
    assert_true(xk_processors() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_called_once),
        cmocka_unit_test(there_is_a_limit),
        cmocka_unit_test(without_threads_the_caller_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
