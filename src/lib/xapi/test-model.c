/* The generated table: every row can be found, and every default is a value of its type. */
#include "lib/xapi/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void every_message_is_found(void **state)
{
    char other[256];

    assert_true(xapi_message_count > 2000);
    for (unsigned i = 0; i < xapi_message_count; i++) {
        const char *const name = xapi_text(xapi_messages[i].name);
        assert_ptr_equal(xapi_message_find(name), &xapi_messages[i]);
        snprintf(other, sizeof(other), "%s", name);
        *strchr(other, '.') = '_';
        assert_ptr_equal(xapi_message_find(other), &xapi_messages[i]);
    }
    assert_null(xapi_message_find("VM.fly"));
    assert_null(xapi_message_find(""));
    assert_null(xapi_message_find("VM.get.all"));
    assert_null(xapi_message_find("VM.get_al"));
    assert_null(xapi_message_find("VM.get_all_"));
}

static void every_class_is_found(void **state)
{
    for (unsigned i = 0; i < xapi_class_count; i++) {
        const struct xapi_class *const row = &xapi_classes[i];
        assert_ptr_equal(xapi_class_find(xapi_text(row->name)), row);
        assert_ptr_equal(xapi_class_find_any_case(xapi_text(row->lower)), row);
        for (unsigned j = 0; j < row->fields; j++) {
            const struct xapi_field *const field = &xapi_fields[row->first_field + j];
            assert_int_equal(field->class_index, i);
            assert_ptr_equal(xapi_field_find(row, xapi_text(field->name)), field);
        }
    }
    assert_null(xapi_class_find("vm"));
    assert_null(xapi_class_find("Zebra"));
}

static void a_message_has_its_parameters(void **state)
{
    const struct xapi_message *const m = xapi_message_find("session.login_with_password");

    assert_non_null(m);
    assert_int_equal(m->params, 4);
    assert_int_equal(m->required, 2);
    assert_int_equal(m->flags & (XAPI_MESSAGE_SESSION | XAPI_MESSAGE_SECRET), XAPI_MESSAGE_SECRET);
    assert_string_equal(xapi_text(xapi_params[m->first_param + 2].name), "version");
    assert_string_equal(xapi_text(xapi_params[m->first_param + 2].initial), "\"1.1\"");
    assert_true(xapi_message_find("VM.start")->flags & XAPI_MESSAGE_ASYNC);
    assert_int_equal(xapi_message_find("VMPP.get_all")->state, XAPI_REMOVED);
    assert_int_equal(xapi_message_find("VM.set_name_label")->field,
                     xapi_field_find(xapi_class_find("VM"), "name_label") - xapi_fields);
}

static void check_default(uint16_t type, xapi_word initial, const char *what)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(1u << 16);
    struct xapi_value v;

    if (xapi_default(&v, &arena, type, initial) != 0)
        fail_msg("the default of %s", what);
}

static void every_default_is_a_value(void **state)
{
    for (unsigned i = 0; i < xapi_field_count; i++)
        check_default(xapi_fields[i].type, xapi_fields[i].initial, xapi_text(xapi_fields[i].name));
    for (unsigned i = 0; i < xapi_message_count; i++)
        for (unsigned j = 0; j < xapi_messages[i].params; j++) {
            const struct xapi_param *const param = &xapi_params[xapi_messages[i].first_param + j];
            check_default(param->type, param->initial, xapi_text(xapi_messages[i].name));
        }
}

static void relations_have_two_ends(void **state)
{
    const struct xapi_field *const vbds = xapi_field_find(xapi_class_find("VM"), "VBDs");
    const struct xapi_field *const vm = xapi_field_find(xapi_class_find("VBD"), "VM");

    assert_ptr_equal(&xapi_fields[vbds->other], vm);
    assert_ptr_equal(&xapi_fields[vm->other], vbds);
    for (unsigned i = 0; i < xapi_field_count; i++)
        if (xapi_fields[i].other != XAPI_NONE)
            assert_int_not_equal(xapi_fields[xapi_fields[i].other].other, XAPI_NONE);
}

static void errors_and_enums(void **state)
{
    assert_string_equal(xapi_text(xapi_error_find("VM_BAD_POWER_STATE")->params), "vm,expected,actual");
    assert_null(xapi_error_find("NO_SUCH_ERROR"));
    const struct xapi_field *const power = xapi_field_find(xapi_class_find("VM"), "power_state");
    assert_true(xapi_enum_has(xapi_type_of(power->type)->of, "Running"));
    assert_false(xapi_enum_has(xapi_type_of(power->type)->of, "running"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_found),       cmocka_unit_test(every_class_is_found),
        cmocka_unit_test(a_message_has_its_parameters), cmocka_unit_test(every_default_is_a_value),
        cmocka_unit_test(relations_have_two_ends),      cmocka_unit_test(errors_and_enums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
