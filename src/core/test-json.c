/* The JSON writer: commas, nesting, escapes, numbers. */
#include "core/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_compact_document(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);
    struct xk_json j;
    xk_json_init(&j, &b, 0);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "name", "a\"b");
    xk_json_u64(&j, "size_bytes", UINT64_MAX);
    xk_json_i64(&j, "least", INT64_MIN);
    xk_json_bool(&j, "good", true);
    xk_json_bool(&j, "bad", false);
    xk_json_null(&j, "nothing");
    xk_json_str(&j, "text", NULL);
    xk_json_array(&j, "list");
    xk_json_u64(&j, NULL, 1);
    xk_json_object(&j, NULL);
    xk_json_end(&j);
    xk_json_array(&j, NULL);
    xk_json_end(&j);
    xk_json_end(&j);
    xk_json_double(&j, "last", 0.5);
    xk_json_end(&j);
    assert_string_equal(xk_buf_str(&b), "{\"name\":\"a\\\"b\",\"size_bytes\":18446744073709551615,"
                                        "\"least\":-9223372036854775808,\"good\":true,\"bad\":false,\"nothing\":null,"
                                        "\"text\":null,\"list\":[1,{},[]],\"last\":0.5}");
}

static void an_indented_document(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);
    struct xk_json j;
    xk_json_init(&j, &b, 2);
    xk_json_object(&j, NULL);
    xk_json_array(&j, "a");
    xk_json_u64(&j, NULL, 1);
    xk_json_u64(&j, NULL, 2);
    xk_json_end(&j);
    xk_json_object(&j, "empty");
    xk_json_end(&j);
    xk_json_end(&j);
    assert_string_equal(xk_buf_str(&b), "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"empty\": {}\n}");
}

static void numbers_are_never_invalid(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);
    struct xk_json j;
    xk_json_init(&j, &b, 0);
    xk_json_array(&j, NULL);
    xk_json_double(&j, NULL, NAN);
    xk_json_double(&j, NULL, INFINITY);
    xk_json_double(&j, NULL, -INFINITY);
    xk_json_double(&j, NULL, 0.1);
    xk_json_double(&j, NULL, 1e300);
    xk_json_double(&j, NULL, -3);
    xk_json_end(&j);
    assert_string_equal(xk_buf_str(&b), "[null,null,null,0.1,1e+300,-3]");
}

static void the_buffer_may_be_drained(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);
    xk_auto(xk_buf_done) struct xk_buf all = XK_BUF_INIT(4096);
    struct xk_json j;
    xk_json_init(&j, &b, 0);
    xk_json_array(&j, NULL);
    for (uint64_t i = 0; i < 3; i++) {
        xk_buf_add_str(&all, xk_buf_str(&b));
        xk_buf_reset(&b);
        xk_json_u64(&j, NULL, i);
    }
    xk_json_end(&j);
    xk_buf_add_str(&all, xk_buf_str(&b));
    assert_string_equal(xk_buf_str(&all), "[0,1,2]");
}

static void foreign_text_stays_json(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);
    struct xk_json j;
    xk_json_init(&j, &b, 0);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "k\n\x01", "\b\f\n\r\t\\/\"\x1b[31m\x7f ü \xc2\x9b \xff \xf0\x9f\x92\xbe \xe2\x80\xae");
    xk_json_end(&j);
    assert_string_equal(xk_buf_str(&b),
                        "{\"k\\n\\u0001\":\"\\b\\f\\n\\r\\t\\\\/\\\"\\u001b[31m\\u007f ü \\u009b \xef\xbf\xbd "
                        "\xf0\x9f\x92\xbe \\u202e\"}");
}

static void ready_made_json_takes_its_place(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);
    struct xk_json j;
    xk_json_init(&j, &b, 0);
    xk_json_object(&j, NULL);
    xk_json_raw(&j, "a", "{\"x\":1}", 7);
    xk_json_raw(&j, "b", "[] cut here", 2);
    xk_json_end(&j);
    assert_string_equal(xk_buf_str(&b), "{\"a\":{\"x\":1},\"b\":[]}");
}

static void the_deepest_document(void **state)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(4096);
    struct xk_json j;
    xk_json_init(&j, &b, 0);
    for (int i = 0; i < XK_JSON_DEPTH_MAX; i++)
        xk_json_array(&j, NULL);
    for (int i = 0; i < XK_JSON_DEPTH_MAX; i++)
        xk_json_end(&j);
    assert_int_equal(b.len, 2 * XK_JSON_DEPTH_MAX);
    assert_int_equal(j.depth, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_compact_document),        cmocka_unit_test(an_indented_document),
        cmocka_unit_test(numbers_are_never_invalid), cmocka_unit_test(the_buffer_may_be_drained),
        cmocka_unit_test(foreign_text_stays_json),   cmocka_unit_test(ready_made_json_takes_its_place),
        cmocka_unit_test(the_deepest_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
