/* What disks hold, in memory and in files: as a model has it, shared without being mixed, whole whatever fails. */
#include "lib/simpool/disk.h"
#include "lib/simpool/ops.h"

#include "core/testing/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DISKS      4
#define DISK_BYTES (5 * SIM_DISK_PIECE + 100)

struct fixture {
    struct simpool pool;
    struct xk_random random;
    struct xk_clock clock;
    int64_t utc_ns;
    char folder[XK_FAULT_PATH_MAX], state[XK_FAULT_PATH_MAX + 8];
    struct sim_object *disks[DISKS];
    uint8_t model[DISKS][DISK_BYTES], got[DISK_BYTES];
};

static int setup(void **state)
{
    struct fixture *const f = xk_zalloc(sizeof(*f));
    struct simpool *const p = &f->pool;

    *state = f;
    xk_random_seed(&f->random, 1);
    f->utc_ns = INT64_C(1700000000) * (int64_t)XK_NS_PER_S;
    f->clock = xk_clock_frozen(&f->utc_ns);
    p->settings = (struct simpool_settings){.random = &f->random, .clock = &f->clock, .speed = 1, .fs = xk_fs_posix()};
    if (sim_db_open(p, NULL) < 0 || xk_fault_folder_make(f->folder) < 0)
        return -1;
    snprintf(f->state, sizeof(f->state), "%s/state", f->folder);
    for (size_t i = 0; i < DISKS; i++)
        f->disks[i] = sim_create(p, "VDI");
    return 0;
}

static int setup_files(void **state)
{
    const int code = setup(state);
    struct fixture *const f = *state;

    return code < 0 ? code : sim_disks_open(&f->pool, f->state, NULL);
}

static int teardown(void **state)
{
    struct fixture *const f = *state;

    sim_disks_close(&f->pool);
    sim_db_close(&f->pool);
    xk_fault_folder_clear(f->folder, true);
    free(f);
    return 0;
}

static bool is_as_model(struct fixture *f, size_t disk)
{
    return sim_disk_read(&f->pool, f->disks[disk], f->got, DISK_BYTES, 0) == 0 &&
           memcmp(f->got, f->model[disk], DISK_BYTES) == 0;
}

/* Whatever is not zero is inside of a run that is told. */
static void runs_are_told(struct fixture *f, size_t disk)
{
    uint64_t at = 0, start, end;

    while (sim_disk_next(&f->pool, f->disks[disk], at, &start, &end)) {
        assert_true(start >= at && end > start);
        for (; at < start && at < DISK_BYTES; at++)
            assert_int_equal(f->model[disk][at], 0);
        at = end;
    }
    for (; at < DISK_BYTES; at++)
        assert_int_equal(f->model[disk][at], 0);
}

static void disks_are_as_the_model(void **state)
{
    struct fixture *const f = *state;
    uint8_t bytes[2 * SIM_DISK_PIECE];

    for (unsigned i = 0; i < 400; i++) {
        const size_t disk = xk_random_below(&f->random, DISKS), other = xk_random_below(&f->random, DISKS);
        if (i % 9 == 8 && disk != other) {
            assert_int_equal(sim_disk_share(&f->pool, f->disks[disk], f->disks[other]), 0);
            memcpy(f->model[other], f->model[disk], DISK_BYTES);
        } else {
            const size_t start = xk_random_below(&f->random, DISK_BYTES);
            const size_t count = XK_MIN(xk_random_below(&f->random, sizeof(bytes)), DISK_BYTES - start);
            memset(bytes, i % 3 ? (int)(i % 250 + 1) : 0, sizeof(bytes));
            assert_int_equal(sim_disk_write(&f->pool, f->disks[disk], bytes, count, start), 0);
            memcpy(f->model[disk] + start, bytes, count);
        }
        assert_true(is_as_model(f, disk) && is_as_model(f, other));
    }
    for (size_t i = 0; i < DISKS; i++)
        runs_are_told(f, i);
}

static void memory_has_an_end(void **state)
{
    struct fixture *const f = *state;
    uint8_t byte = 1;

    f->pool.disk_bytes = SIM_DISKS_MEMORY_MAX - SIM_DISK_PIECE;
    assert_int_equal(sim_disk_write(&f->pool, f->disks[0], &byte, 1, 0), 0);
    assert_int_equal(sim_disk_write(&f->pool, f->disks[0], &byte, 1, SIM_DISK_PIECE), -ENOSPC);
    assert_int_equal(sim_disk_write(&f->pool, f->disks[0], &byte, 1, 5), 0);
    sim_delete(&f->pool, f->disks[0]);
    assert_int_equal(f->pool.disk_bytes, SIM_DISKS_MEMORY_MAX - SIM_DISK_PIECE);
    f->pool.disk_bytes = 0;
}

/* A disk that shares what another one holds is written to, and each operation fails once: the other one is whole. */
static void a_failure_leaves_the_others_whole(void **state)
{
    struct fixture *const f = *state;
    struct xk_fault_fs faulty;
    bool fired = true;

    memset(f->model[0], 7, DISK_BYTES);
    assert_int_equal(sim_disk_write(&f->pool, f->disks[0], f->model[0], DISK_BYTES, 0), 0);
    for (uint64_t at = 1; fired; at++) {
        assert_true(at < 100);
        xk_fault_fs_init(&faulty, xk_fs_posix());
        faulty.fail_at = at;
        faulty.error = -EIO;
        f->pool.settings.fs = &faulty.fs;
        int code = sim_disk_share(&f->pool, f->disks[0], f->disks[1]);
        if (code == 0)
            code = sim_disk_write(&f->pool, f->disks[1], "new", 3, 1000);
        fired = faulty.fired;
        assert_int_equal(faulty.open_files, 0);
        f->pool.settings.fs = xk_fs_posix();
        assert_true(is_as_model(f, 0));
        if (!fired)
            assert_int_equal(code, 0);
    }
    memcpy(f->model[1], f->model[0], DISK_BYTES);
    memcpy(f->model[1] + 1000, "new", 3);
    assert_true(is_as_model(f, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(disks_are_as_the_model, setup, teardown),
        cmocka_unit_test_prestate_setup_teardown(disks_are_as_the_model, setup_files, teardown, NULL),
        cmocka_unit_test_setup_teardown(memory_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_leaves_the_others_whole, setup_files, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
