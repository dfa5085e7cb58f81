/* Values: building, packing, and bringing what came over the wire to its type. */
#include "lib/xapi/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint16_t type_of(const char *class_name, const char *field)
{
    return xapi_field_find(xapi_class_find(class_name), field)->type;
}

static void a_tree_is_built_and_packed(void **state)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 16);
    struct xapi_build b = XAPI_BUILD_INIT(&arena);
    struct xapi_value v;

    xapi_build_open(&b, XAPI_MAP);
    xapi_build_text(&b, "list");
    xapi_build_open(&b, XAPI_LIST);
    xapi_build_int(&b, -5);
    xapi_build_text(&b, "five");
    xapi_build_close(&b);
    xapi_build_text(&b, "empty");
    xapi_build_open(&b, XAPI_LIST);
    xapi_build_close(&b);
    xapi_build_close(&b);
    assert_int_equal(xapi_build_end(&b, &v), 0);
    struct xapi_packed *const p = xapi_pack(&v);
    xapi_build_done(&b);
    xk_arena_done(&arena);

    const struct xapi_value *const list = xapi_map_get(&p->value, "list");
    assert_int_equal(list->count, 2);
    assert_int_equal(list->items[0].integer, -5);
    assert_string_equal(list->items[1].text, "five");
    assert_true(xapi_list_has(list, "five"));
    assert_int_equal(xapi_map_get(&p->value, "empty")->count, 0);
    assert_null(xapi_map_get(&p->value, "none"));
    assert_true(xapi_value_same(&p->value, &p->value));
    xapi_packed_unref(xapi_packed_ref(p));
    xapi_packed_unref(p);
}

static void what_is_no_tree_is_refused(void **state)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 16);
    struct xapi_value v;

    struct xapi_build key = XAPI_BUILD_INIT(&arena);
    xapi_build_open(&key, XAPI_MAP);
    xapi_build_int(&key, 1);
    xapi_build_int(&key, 2);
    xapi_build_close(&key);
    assert_int_equal(xapi_build_end(&key, &v), -EINVAL);
    xapi_build_done(&key);

    struct xapi_build deep = XAPI_BUILD_INIT(&arena);
    for (int i = 0; i <= XAPI_DEPTH_MAX; i++)
        xapi_build_open(&deep, XAPI_LIST);
    assert_int_equal(xapi_build_end(&deep, &v), -E2BIG);
    xapi_build_done(&deep);

    struct xapi_build two = XAPI_BUILD_INIT(&arena);
    xapi_build_int(&two, 1);
    xapi_build_int(&two, 2);
    assert_int_equal(xapi_build_end(&two, &v), -EINVAL);
    xapi_build_done(&two);
    xk_arena_done(&arena);
}

static int cast(struct xapi_value *ret, uint16_t type, struct xapi_value v, char wrong[256])
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 16);
    const int code = xapi_cast(ret, &arena, type, &v, wrong, 256);

    xk_arena_done(&arena);
    return code;
}

static void ints_come_as_numbers_and_as_text(void **state)
{
    const uint16_t type = type_of("VM", "memory_target");
    struct xapi_value v;
    char wrong[256];
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {{"0", 0},
                {"-1", -1},
                {"0x10", 16},
                {"0b11", 3},
                {"0o17", 15},
                {"1_000", 1000},
                {"9223372036854775807", INT64_MAX}};
    static const char *const bad[] = {"", "-", "x", "1 ", "9223372036854775808", "0x", "1.5", "_1", "0b2"};

    for (size_t i = 0; i < XK_COUNT(good); i++) {
        assert_int_equal(cast(&v, type, xapi_str(good[i].text), wrong), 0);
        assert_int_equal(v.integer, good[i].want);
    }
    for (size_t i = 0; i < XK_COUNT(bad); i++)
        assert_int_equal(cast(&v, type, xapi_str(bad[i]), wrong), -EINVAL);
    assert_int_equal(cast(&v, type, xapi_int(7), wrong), 0);
    assert_int_equal(cast(&v, type, xapi_bool(true), wrong), -EINVAL);
    assert_string_equal(wrong, "Expected int64, got bool");
    assert_int_equal(cast(&v, type, xapi_str("abc"), wrong), -EINVAL);
    assert_string_equal(wrong, "Expected int64, got 'abc'");
}

static void the_other_types(void **state)
{
    struct xapi_value v;
    char wrong[256];

    assert_int_equal(cast(&v, type_of("VM", "HVM_shadow_multiplier"), xapi_str("1.5"), wrong), 0);
    assert_true(v.real > 1.4 && v.real < 1.6);
    assert_int_equal(cast(&v, type_of("VM", "HVM_shadow_multiplier"), xapi_int(2), wrong), 0);
    assert_int_equal(cast(&v, type_of("VM", "is_a_template"), xapi_str("true"), wrong), -EINVAL);
    assert_int_equal(cast(&v, type_of("VM", "is_a_template"), xapi_bool(true), wrong), 0);
    assert_int_equal(cast(&v, type_of("VM", "snapshot_time"), xapi_str("20260101T00:00:00Z"), wrong), 0);
    assert_int_equal(v.shape, XAPI_TIME);
    assert_int_equal(cast(&v, type_of("VM", "power_state"), xapi_str("Running"), wrong), 0);
    assert_int_equal(cast(&v, type_of("VM", "power_state"), xapi_str("Flying"), wrong), -EINVAL);
    assert_int_equal(cast(&v, type_of("VM", "tags"), xapi_str("a"), wrong), -EINVAL);
    assert_int_equal(cast(&v, type_of("VM", "name_label"), xapi_nil(), wrong), -EINVAL);
    const struct xapi_value pair[] = {xapi_str("k"), xapi_int(1)};
    assert_int_equal(cast(&v, type_of("VM", "other_config"), xapi_map(pair, 1), wrong), -EINVAL);
    assert_int_equal(cast(&v, type_of("VM", "other_config"), xapi_map(NULL, 0), wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_is_built_and_packed),
        cmocka_unit_test(what_is_no_tree_is_refused),
        cmocka_unit_test(ints_come_as_numbers_and_as_text),
        cmocka_unit_test(the_other_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
