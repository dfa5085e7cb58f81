/* Allowed operations: the lists say what the questions answer, word by word, in every state; what is busy allows less.
 */
#include "lib/simpool/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

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
    f->utc_ns = INT64_C(1700000000) * (int64_t)XK_NS_PER_S;
    f->clock = xk_clock_frozen(&f->utc_ns);
    p->settings = (struct simpool_settings){.random = &f->random, .clock = &f->clock, .hosts = 2, .vms = 6, .speed = 1};
    p->started_utc_ns = f->utc_ns;
    p->started_ns = f->clock.monotonic_ns(&f->clock);
    return sim_db_open(p, NULL) < 0 ? -1 : sim_seed(p, NULL);
}

static int teardown(void **state)
{
    struct fixture *const f = *state;

    sim_allowed_close(&f->pool);
    sim_db_close(&f->pool);
    free(f);
    return 0;
}

static bool vm_may(const struct simpool *p, const struct sim_object *o, const char *op, struct sim_why *why)
{
    return sim_vm_may(p, o, op, true, why);
}

/* The classes that have lists. */
static const struct {
    const char *class;
    bool (*may)(const struct simpool *p, const struct sim_object *o, const char *op, struct sim_why *why);
    void (*compute)(struct simpool *p, struct sim_object *o);
} classes[] = {
    {"VM", vm_may, sim_vm_allowed_only},   {"VDI", sim_vdi_may, sim_vdi_allowed}, {"SR", sim_sr_may, sim_sr_allowed},
    {"VBD", sim_vbd_may, sim_vbd_allowed}, {"VIF", sim_vif_may, sim_vif_allowed},
};

static const struct xapi_enum *words_of(const char *class)
{
    const struct xapi_class *const row = xapi_class_find(class);
    const unsigned place = xapi_field_place(row, "allowed_operations");

    return &xapi_enums[xapi_type_of(xapi_type_of(xapi_fields[row->first_field + place].type)->of)->of];
}

/* Every word that a list has may begin; a refusal has a code. */
static void agrees(const struct simpool *p, size_t class, const struct sim_object *o)
{
    const struct xapi_enum *const words = words_of(classes[class].class);

    for (unsigned i = 0; i < words->values; i++) {
        const char *const word = xapi_text(xapi_enum_values[words->first_value + i]);
        struct sim_why why = {0};
        const bool may = classes[class].may(p, o, word, &why);
        if (xapi_list_has(sim_get(o, "allowed_operations"), word) && !may)
            fail_msg("%s lists %s: %s", classes[class].class, word, why.code);
        if (!may && !why.code)
            fail_msg("%s: %s is refused without a code", classes[class].class, word);
    }
}

static void lists_and_answers_agree(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;

    for (size_t i = 0; i < XK_COUNT(classes); i++) {
        size_t seen = 0;
        for (struct sim_object *o = sim_first(p, classes[i].class); o; o = o->class_next) {
            classes[i].compute(p, o);
            agrees(p, i, o);
            seen++;
        }
        assert_true(seen > 3);
    }
}

static struct sim_object *machine(struct simpool *p, const char *power)
{
    for (struct sim_object *vm = sim_first(p, "VM"); vm; vm = vm->class_next)
        if (sim_is(vm, "power_state", power) && !sim_bool(vm, "is_a_template") && !sim_bool(vm, "is_control_domain"))
            return vm;
    fail_msg("no machine is %s", power);
    return NULL;
}

static bool lists(const struct sim_object *o, const char *word)
{
    return xapi_list_has(sim_get(o, "allowed_operations"), word);
}

static void a_machine_allows_what_its_power_does(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    static const struct {
        const char *power, *yes[4], *no[4];
    } rows[] = {
        {"Halted", {"start", "clone", "destroy", "export"}, {"clean_shutdown", "suspend", "resume", "pause"}},
        {"Running", {"clean_shutdown", "hard_reboot", "suspend", "pause"}, {"start", "destroy", "clone", "unpause"}},
        {"Paused", {"unpause", "hard_shutdown", "snapshot", "hard_reboot"}, {"pause", "start", "suspend", "destroy"}},
        {"Suspended",
         {"resume", "destroy", "hard_shutdown", "snapshot"},
         {"start", "suspend", "clean_shutdown", "pause"}},
    };
    struct sim_object *const vm = machine(p, "Running");

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        sim_put_text(p, vm, "power_state", rows[i].power);
        sim_vm_allowed_only(p, vm);
        agrees(p, 0, vm);
        for (size_t j = 0; j < 4; j++) {
            if (!lists(vm, rows[i].yes[j]))
                fail_msg("%s does not allow %s", rows[i].power, rows[i].yes[j]);
            if (lists(vm, rows[i].no[j]))
                fail_msg("%s allows %s", rows[i].power, rows[i].no[j]);
        }
    }
}

static void a_blocked_operation_is_not_allowed(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *const vm = machine(p, "Halted");
    struct sim_why why;

    sim_put_map(p, vm, "blocked_operations", (const char *const[]){"start", "mine", NULL});
    sim_vm_allowed_only(p, vm);
    assert_false(lists(vm, "start"));
    assert_true(lists(vm, "start_on"));
    assert_false(sim_vm_may(p, vm, "start", true, &why));
    assert_string_equal(why.code, "OPERATION_BLOCKED");
    assert_string_equal(why.params[0], vm->ref);
    assert_string_equal(why.params[1], "mine");
}

static void who_is_busy_allows_less(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *const vm = machine(p, "Halted");
    struct sim_why why;

    sim_put_map(p, vm, "current_operations", (const char *const[]){"OpaqueRef:task", "start", NULL});
    sim_vm_allowed_only(p, vm);
    agrees(p, 0, vm);
    assert_false(lists(vm, "clone"));
    assert_false(sim_vm_may(p, vm, "clone", true, &why));
    assert_string_equal(why.code, "OTHER_OPERATION_IN_PROGRESS");
    sim_put_map(p, vm, "current_operations", (const char *const[]){NULL});
    sim_vm_allowed_only(p, vm);
    assert_true(lists(vm, "clone"));
}

static void a_disk_in_use_stays(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *const vm = machine(p, "Running");
    size_t at = 0;
    struct sim_object *vbd, *vdi = NULL;
    struct sim_why why;

    while (!vdi && (vbd = sim_member(p, vm, "VBDs", &at)))
        vdi = sim_is(vbd, "type", "Disk") ? sim_follow(p, vbd, "VDI") : NULL;
    assert_non_null(vdi);
    assert_false(lists(vdi, "destroy"));
    assert_true(lists(vdi, "snapshot"));
    assert_false(sim_vdi_may(p, vdi, "destroy", &why));
    assert_string_equal(why.code, "VDI_IN_USE");
    sim_put_bool(p, vbd, "currently_attached", false);
    sim_vdi_allowed(p, vdi);
    assert_true(lists(vdi, "destroy"));
    sim_put_map(p, vdi, "current_operations", (const char *const[]){"OpaqueRef:task", "resize", NULL});
    sim_vdi_allowed(p, vdi);
    assert_false(lists(vdi, "destroy"));
}

static void an_sr_allows_what_its_driver_can(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *sr = sim_first(p, "SR");
    struct sim_object *pbd;

    while (sr && !sim_is(sr, "type", "nfs"))
        sr = sr->class_next;
    assert_non_null(sr);
    assert_true(lists(sr, "vdi_create"));
    assert_false(lists(sr, "forget"));
    for (size_t at = 0; (pbd = sim_member(p, sr, "PBDs", &at));)
        sim_put_bool(p, pbd, "currently_attached", false);
    sim_sr_allowed(p, sr);
    assert_true(lists(sr, "forget"));
    assert_false(lists(sr, "destroy")); /* it holds disks */
    sim_put_text(p, sr, "type", "unknown");
    sim_sr_allowed(p, sr);
    assert_false(lists(sr, "vdi_create"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_and_answers_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_allows_what_its_power_does, setup, teardown),
        cmocka_unit_test_setup_teardown(a_blocked_operation_is_not_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_busy_allows_less, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_in_use_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(an_sr_allows_what_its_driver_can, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
