/* The simulated database: relations keep both ends, generations grow, records are made anew after a change. */
#include "lib/simpool/inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct simpool pool;
    struct xk_random random;
};

static int setup(void **state)
{
    struct fixture *const f = xk_zalloc(sizeof(*f));

    *state = f;
    xk_random_seed(&f->random, 1);
    f->pool.settings.random = &f->random;
    return sim_db_open(&f->pool, NULL);
}

static int teardown(void **state)
{
    struct fixture *const f = *state;

    sim_db_close(&f->pool);
    free(f);
    return 0;
}

static void a_relation_has_both_ends(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *const vm = sim_create(p, "VM"), *const other = sim_create(p, "VM"),
                             *const vbd = sim_create(p, "VBD");

    sim_put_text(p, vbd, "VM", vm->ref);
    assert_true(xapi_list_has(sim_get(vm, "VBDs"), vbd->ref));
    sim_put_text(p, vbd, "VM", other->ref);
    assert_int_equal(sim_get(vm, "VBDs")->count, 0);
    assert_true(xapi_list_has(sim_get(other, "VBDs"), vbd->ref));
    sim_delete(p, vbd);
    assert_int_equal(sim_get(other, "VBDs")->count, 0);

    struct sim_object *const snapshot = sim_create(p, "VM");
    sim_put_text(p, snapshot, "snapshot_of", vm->ref);
    assert_true(xapi_list_has(sim_get(vm, "snapshots"), snapshot->ref));
    sim_delete(p, vm);
    assert_string_equal(sim_text(snapshot, "snapshot_of"), SIM_NULL);
}

static void many_relations_at_once_are_the_same(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *vbds[50];

    sim_bulk_begin(p);
    struct sim_object *const vm = sim_create(p, "VM");
    for (size_t i = 0; i < XK_COUNT(vbds); i++) {
        vbds[i] = sim_create(p, "VBD");
        sim_put_text(p, vbds[i], "VM", vm->ref);
    }
    assert_int_equal(sim_get(vm, "VBDs")->count, 0);
    sim_bulk_end(p);
    assert_int_equal(sim_get(vm, "VBDs")->count, XK_COUNT(vbds));
    for (size_t i = 0; i < XK_COUNT(vbds); i++)
        assert_string_equal(sim_get(vm, "VBDs")->items[i].text, vbds[i]->ref);
}

static void objects_are_found_until_they_are_gone(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    const struct xapi_class *const row = xapi_class_find("network");
    struct sim_object *objects[3000];
    char ref[SIM_REF_BYTES];

    for (size_t i = 0; i < XK_COUNT(objects); i++)
        objects[i] = sim_create(p, "network");
    for (size_t i = 0; i < XK_COUNT(objects); i++) {
        assert_ptr_equal(sim_find(p, objects[i]->ref, row), objects[i]);
        assert_ptr_equal(sim_find_uuid(p, sim_text(objects[i], "uuid"), row), objects[i]);
        assert_null(sim_find(p, objects[i]->ref, xapi_class_find("VM")));
    }
    memcpy(ref, objects[7]->ref, sizeof(ref));
    sim_delete(p, objects[7]);
    assert_null(sim_find(p, ref, NULL));
    assert_int_equal(p->objects, XK_COUNT(objects) - 1);
    assert_int_equal(p->error, 0);
}

static void a_change_takes_a_generation(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *const vm = sim_create(p, "VM"), *const network = sim_create(p, "network");
    const uint64_t before = p->generation;
    struct xapi_raw first, second;

    assert_ptr_equal(p->newest, network);
    assert_int_equal(sim_record(&first, vm), 0);
    assert_non_null(strstr(first.json, "\"name_label\":\"\""));
    sim_put_text(p, vm, "name_label", "");
    assert_int_equal(p->generation, before);
    sim_put_text(p, vm, "name_label", "n");
    assert_int_equal(p->generation, before + 1);
    assert_ptr_equal(p->newest, vm);
    assert_ptr_equal(vm->older, network);
    assert_int_equal(sim_record(&second, vm), 0);
    assert_non_null(strstr(second.json, "\"name_label\":\"n\""));
    assert_non_null(strstr(second.xml, "<name>name_label</name><value>n</value>"));
}

static void expressions(void **state)
{
    struct simpool *const p = &((struct fixture *)*state)->pool;
    struct sim_object *const vm = sim_create(p, "VM");
    static const struct {
        const char *expression;
        bool met, wrong;
    } rows[] = {
        {"true", true, false},
        {"false", false, false},
        {"field \"name__label\" = \"a\\\"b\"", true, false},
        {"field \"name_label\"=\"x\"", false, false},
        {"not (true and false) and (false or true)", true, false},
        {"field \"is_a_template\" = \"false\" and field \"VCPUs_max\" = \"0\"", true, false},
        {"", false, true},
        {"true true", false, true},
        {"field \"none\" = \"x\"", false, true},
        {"field \"name__label\"", false, true},
        {"(true", false, true},
        {"\"open", false, true},
        {"truex", false, true},
    };
    char deep[4096];
    bool wrong = false;

    sim_put_text(p, vm, "name_label", "a\"b");
    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        wrong = false;
        (void)sim_where(vm->class_row, NULL, rows[i].expression, &wrong);
        assert_int_equal(wrong, rows[i].wrong);
        wrong = false;
        if (sim_where(vm->class_row, vm, rows[i].expression, &wrong) != rows[i].met || wrong != rows[i].wrong)
            fail_msg("%s", rows[i].expression);
    }
    memset(deep, '(', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_false(sim_where(vm->class_row, vm, deep, &wrong));
    assert_true(wrong);
}

int main(void)
{
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_relation_has_both_ends),
        T(many_relations_at_once_are_the_same),
        T(objects_are_found_until_they_are_gone),
        T(a_change_takes_a_generation),
        T(expressions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
