/* The client's checks: what is wrong is said before anything is sent. */
#include "lib/xapi/args.h"

#include "lib/xapi/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Parse words for a message and check them. returns   what would be sent as JSON, or the error's sentence. */
static void send(char *ret, size_t size, struct xk_err *err, const char *message, const char *const *words)
{
    const struct xapi_message *const m = xapi_message_find(message);
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    struct xapi_value args[8], sent[16];
    size_t count = 0;
    int code = 0;

    assert_non_null(m);
    *err = (struct xk_err){0};
    for (; words[count] && code == 0; count++) {
        const uint16_t type = count < m->params ? xapi_params[m->first_param + count].type : 0;
        code = xapi_word_parse(&args[count], &arena, type, words[count], err);
    }
    if (code == 0)
        code = xapi_args_check(sent, &arena, m, args, count, err);
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(1u << 16);
    const struct xapi_value list = xapi_list(sent, count);
    if (code == 0)
        xapi_json_value(&b, &list);
    snprintf(ret, size, "%s", code == 0 ? xk_buf_str(&b) : err->text);
    xk_arena_done(&arena);
}

static void words_become_values(void **state)
{
    static const struct {
        const char *message, *words[6], *want;
    } rows[] = {
        {"VM.start", {"OpaqueRef:1", "false", "true"}, "[\"OpaqueRef:1\",false,true]"},
        {"VM.get_by_name_label", {"web 1"}, "[\"web 1\"]"},
        {"VM.get_by_name_label", {"\"web\\u0031\""}, "[\"web1\"]"},
        {"VM.get_by_name_label", {"\""}, "[\"\\\"\"]"},
        {"VM.set_memory_static_max", {"OpaqueRef:1", "1073741824"}, "[\"OpaqueRef:1\",1073741824]"},
        {"VM.set_tags", {"OpaqueRef:1", "a,b"}, "[\"OpaqueRef:1\",[\"a\",\"b\"]]"},
        {"VM.set_tags", {"OpaqueRef:1", ""}, "[\"OpaqueRef:1\",[]]"},
        {"VM.set_tags", {"OpaqueRef:1", "[\"a,b\"]"}, "[\"OpaqueRef:1\",[\"a,b\"]]"},
        {"VM.set_other_config", {"OpaqueRef:1", "a=1,b=x=y"}, "[\"OpaqueRef:1\",{\"a\":\"1\",\"b\":\"x=y\"}]"},
        {"VM.set_other_config", {"OpaqueRef:1", "{\"a\":\"1\"}"}, "[\"OpaqueRef:1\",{\"a\":\"1\"}]"},
        {"VM.set_actions_after_crash", {"OpaqueRef:1", "restart"}, "[\"OpaqueRef:1\",\"restart\"]"},
        {"network.create",
         {"name_label=n,MTU=1500,tags=[],other_config={}"},
         "[{\"name_label\":\"n\",\"MTU\":1500,\"tags\":[],\"other_config\":{}}]"},
        {"event.from", {"VM,task", "", "30"}, "[[\"VM\",\"task\"],\"\",30]"},
        {"session.login_with_password", {"root", "x"}, "[\"root\",\"x\"]"},
    };
    struct xk_err err;
    char got[512];

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        send(got, sizeof(got), &err, rows[i].message, rows[i].words);
        assert_string_equal(got, rows[i].want);
    }
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *message, *words[6], *text, *hint;
    } rows[] = {
        {"VM.start",
         {"OpaqueRef:1"},
         "VM.start takes 3 arguments, and 1 was given",
         "they are vm, start_paused, force"},
        {"pool.get_all", {"x"}, "pool.get_all takes 0 arguments, and 1 was given", ""},
        {"session.login_with_password",
         {"root"},
         "session.login_with_password takes 2 to 4 arguments, and 1 was given",
         "they are uname, pwd, [version], [originator]"},
        {"VM.start",
         {"OpaqueRef:1", "maybe", "true"},
         "VM.start: argument 2 (start_paused) has to be of type bool, and \"maybe\" is not",
         ""},
        {"VM.start",
         {"web-01", "false", "true"},
         "VM.start: argument 1 (vm) has to be of type ref VM, and \"web-01\" is not",
         "a ref begins with OpaqueRef:"},
        {"VM.set_memory_static_max",
         {"OpaqueRef:1", "1G"},
         "VM.set_memory_static_max: argument 2 (value) has to be of type int, and \"1G\" is not",
         ""},
        {"VM.set_actions_after_crash",
         {"OpaqueRef:1", "explode"},
         "VM.set_actions_after_crash: argument 2 (value) has to be of type enum on_crash_behaviour, and \"explode\" is "
         "not",
         "it may be "},
        {"VM.set_tags",
         {"OpaqueRef:1", "[1]"},
         "VM.set_tags: argument 2 (value) has to be of type set of string, and [1] is not",
         ""},
        {"VM.set_tags", {"OpaqueRef:1", "[\"a\""}, "\"[\"a\"\" begins like JSON and is none: JSON:", ""},
        {"VM.set_other_config", {"OpaqueRef:1", "a"}, "\"a\": KEY=VALUE is wanted for a map", ""},
        {"network.create",
         {"{\"name_lable\":\"n\"}"},
         "network.create: argument 1 (args) has a field name_lable, and the class network has none of that name",
         "did you mean name_label?"},
        {"network.create",
         {"{\"MTU\":\"x\"}"},
         "network.create: argument 1 (args.MTU) has to be of type int, and \"x\" is not",
         ""},
        {"network.create",
         {"{\"name_label\":\"n\"}"},
         "network.create: argument 1 (args) needs the field other_config",
         ""},
        {"secret.create", {"{\"value\":17}"}, "argument 1 (args.value) has to be of type", ""},
    };
    struct xk_err err;
    char got[640];

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        send(got, sizeof(got), &err, rows[i].message, rows[i].words);
        if (!strstr(got, rows[i].text))
            assert_string_equal(got, rows[i].text);
        if (!strstr(err.hint, rows[i].hint))
            assert_string_equal(err.hint, rows[i].hint);
        assert_int_equal(err.exit, XK_EXIT_USAGE);
    }
}

/* What XML-RPC brings as text comes out as JSON-RPC would have brought it; unknown fields and words stay. */
static void results_are_settled(void **state)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(1u << 16);
    static const char text[] =
        "{\"OpaqueRef:1\":{\"uuid\":\"u\",\"tags\":[\"5\"],\"memory_static_max\":\"12\","
        "\"is_a_template\":false,\"start_time\":\"20261123T00:00:00Z\",\"HVM_shadow_multiplier\":1,"
        "\"of_tomorrow\":\"7\",\"VCPUs_max\":\"many\",\"power_state\":\"Dreaming\"}}";
    struct xapi_value v;

    assert_int_equal(xapi_json_decode(&v, &arena, text, strlen(text), NULL), 0);
    xapi_settle(&v, xapi_message_find("VM.get_all_records")->result);
    xapi_json_value(&b, &v);
    assert_string_equal(xk_buf_str(&b),
                        "{\"OpaqueRef:1\":{\"uuid\":\"u\",\"tags\":[\"5\"],\"memory_static_max\":12,"
                        "\"is_a_template\":false,\"start_time\":\"20261123T00:00:00Z\",\"HVM_shadow_multiplier\":1,"
                        "\"of_tomorrow\":\"7\",\"VCPUs_max\":\"many\",\"power_state\":\"Dreaming\"}}");
    v = xapi_str("");
    xapi_settle(&v, xapi_message_find("VM.start")->result);
    assert_int_equal(v.shape, XAPI_NIL);
    v = xapi_str("odd");
    xapi_settle(&v, xapi_message_find("VM.get_all_records")->result);
    assert_string_equal(v.text, "odd");
    xk_arena_done(&arena);
}

static void any_json_is_a_value(void **state)
{
    static const char *const good[] = {"1",
                                       " 1 ",
                                       "\"a\"",
                                       "null",
                                       "true",
                                       "[]",
                                       "{\"a\":[1,2.5]}",
                                       "-3",
                                       "0",
                                       "1e3",
                                       "[ ]",
                                       "{ }",
                                       "\"\\u00e9\\ud83d\\ude00\\/\\n\"",
                                       "99999999999999999999"};
    static const char *const bad[] = {"",
                                      "1 2",
                                      "[1",
                                      "{a:1}",
                                      "nul",
                                      "\"a",
                                      "[1,]",
                                      "\x01",
                                      "01",
                                      "1.",
                                      "-",
                                      "1e",
                                      "+1",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{,}",
                                      "[1 2]",
                                      "\"\\u0000\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\x\"",
                                      "\"\xff\"",
                                      "\"\t\"",
                                      "\"\\",
                                      "\"\\u12",
                                      "NaN",
                                      "1e999",
                                      "tru",
                                      "'a'",
                                      "{'a':1}",
                                      "[}",
                                      "{\"a\":1]",
                                      "\"\\ud800\\u0041\""};
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    struct xapi_value v;

    for (size_t i = 0; i < XK_COUNT(good); i++)
        assert_int_equal(xapi_json_decode(&v, &arena, good[i], strlen(good[i]), NULL), 0);
    for (size_t i = 0; i < XK_COUNT(bad); i++)
        if (xapi_json_decode(&v, &arena, bad[i], strlen(bad[i]), NULL) != -EBADMSG)
            fail_msg("%s was taken", bad[i]);
    xk_arena_done(&arena);
}

static void json_texts_are_decoded(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"\"plain\"", "plain"},
        {"\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\te\"", "a\"b\\c/d\b\f\n\r\te"},
        {"\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\"\xc3\xa9\\u00E9x\"", "\xc3\xa9\xc3\xa9x"},
        {"\"\"", ""},
    };
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    struct xapi_value v;

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        assert_int_equal(xapi_json_decode(&v, &arena, rows[i].json, strlen(rows[i].json), NULL), 0);
        assert_string_equal(v.text, rows[i].text);
        assert_int_equal(v.count, strlen(rows[i].text));
    }
    assert_int_equal(xapi_json_decode(&v, &arena, "-9223372036854775808", 20, NULL), 0);
    assert_true(v.shape == XAPI_INT && v.integer == INT64_MIN);
    assert_int_equal(xapi_json_decode(&v, &arena, "9223372036854775808", 19, NULL), 0);
    assert_true(v.shape == XAPI_REAL && v.real == 0x1p63);
    assert_int_equal(xapi_json_decode(&v, &arena, "[-0.5e-1]", 9, NULL), 0);
    assert_true(v.items[0].shape == XAPI_REAL && v.items[0].real == -0.05);
    xk_arena_done(&arena);
}

/* Deep nesting is refused before it takes the stack. */
static void deep_json_is_refused(void **state)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    struct xapi_value v;
    char deep[100000];

    memset(deep, '[', sizeof(deep));
    assert_int_equal(xapi_json_decode(&v, &arena, deep, sizeof(deep), NULL), -E2BIG);
    memset(deep + XAPI_DEPTH_MAX, ']', XAPI_DEPTH_MAX);
    assert_int_equal(xapi_json_decode(&v, &arena, deep, 2 * XAPI_DEPTH_MAX, NULL), 0);
    xk_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_become_values),    cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(results_are_settled),    cmocka_unit_test(any_json_is_a_value),
        cmocka_unit_test(json_texts_are_decoded), cmocka_unit_test(deep_json_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
