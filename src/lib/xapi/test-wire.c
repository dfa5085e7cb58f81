/* The bytes of XML-RPC and JSON-RPC, exactly as clients compare them, and what is refused. */
#include "lib/xapi/wire-parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct xk_arena arena;
    struct xk_buf text;
    struct xapi_call call;
    struct xapi_reply reply;
    struct xk_err err;
};

static int setup(void **state)
{
    struct fixture *const f = xk_zalloc(sizeof(*f));

    *state = f;
    if (f) {
        f->arena = XK_ARENA_INIT(16u << 20);
        f->text = XK_BUF_INIT(1u << 20);
    }
    return f ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *const f = *state;

    xk_arena_done(&f->arena);
    xk_buf_done(&f->text);
    free(f);
    return 0;
}

static int decode(struct fixture *f, bool json, const char *body)
{
    return xapi_call_decode(&f->call, &f->arena, json, body, strlen(body), &f->err);
}

static struct xapi_value sample(struct fixture *f)
{
    struct xapi_build b = XAPI_BUILD_INIT(&f->arena);
    struct xapi_value v;

    xapi_build_open(&b, XAPI_MAP);
    xapi_build_text(&b, "text");
    xapi_build_text(&b, "a<b>&\"c\"\x01\n");
    xapi_build_text(&b, "int");
    xapi_build_int(&b, -42);
    xapi_build_text(&b, "count");
    xapi_build_value(&b, (struct xapi_value){.shape = XAPI_INT32, .integer = 3});
    xapi_build_text(&b, "bool");
    xapi_build_value(&b, xapi_bool(true));
    xapi_build_text(&b, "real");
    xapi_build_value(&b, xapi_real(0.1));
    xapi_build_text(&b, "time");
    xapi_build_value(&b, xapi_time(&f->arena, 1767225600));
    xapi_build_text(&b, "list");
    xapi_build_open(&b, XAPI_LIST);
    xapi_build_value(&b, xapi_nil());
    xapi_build_close(&b);
    xapi_build_close(&b);
    assert_int_equal(xapi_build_end(&b, &v), 0);
    xapi_build_done(&b);
    return v;
}

static void xml_is_exactly_this(void **state)
{
    struct fixture *const f = *state;
    const struct xapi_value v = sample(f);

    xapi_xml_value(&f->text, &v);
    assert_string_equal(
        xk_buf_str(&f->text),
        "<value><struct>"
        "<member><name>text</name><value>a&lt;b&gt;&amp;&quot;c&quot;\n</value></member>"
        "<member><name>int</name><value>-42</value></member>"
        "<member><name>count</name><value><i4>3</i4></value></member>"
        "<member><name>bool</name><value><boolean>1</boolean></value></member>"
        "<member><name>real</name><value><double>0.1</double></value></member>"
        "<member><name>time</name><value><dateTime.iso8601>20260101T00:00:00Z</dateTime.iso8601></value></member>"
        "<member><name>list</name><value><array><data><value></value></data></array></value></member>"
        "</struct></value>");
}

static void json_is_exactly_this(void **state)
{
    struct fixture *const f = *state;
    const struct xapi_value v = sample(f);

    xapi_json_value(&f->text, &v);
    assert_string_equal(xk_buf_str(&f->text),
                        "{\"text\":\"a<b>&\\\"c\\\"\\u0001\\n\",\"int\":-42,\"count\":3,\"bool\":true,"
                        "\"real\":0.1,\"time\":\"20260101T00:00:00Z\",\"list\":[\"\"]}");
}

static void replies_of_each_protocol(void **state)
{
    struct fixture *const f = *state;
    const struct xapi_value texts[] = {xapi_str("CODE"), xapi_str("p")};
    const struct xapi_reply failure = {.failed = true, .value = xapi_list(texts, 2)}, success = {.value = xapi_nil()};
    static const struct {
        enum xapi_protocol protocol;
        bool failed;
        const char *want;
    } rows[] = {
        {XAPI_JSON1, false, "{\"result\":\"\",\"error\":null,\"id\":7}"},
        {XAPI_JSON1, true, "{\"result\":null,\"error\":[\"CODE\",\"p\"],\"id\":7}"},
        {XAPI_JSON2, false, "{\"jsonrpc\":\"2.0\",\"result\":\"\",\"id\":7}"},
        {XAPI_JSON2, true,
         "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":\"CODE\",\"data\":[\"p\"]},\"id\":7}"},
        {XAPI_XML, false,
         "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>"
         "<value>Success</value></member><member><name>Value</name><value></value></member></struct></value></param></"
         "params>"
         "</methodResponse>"},
    };

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        struct xapi_reply back;
        const struct xapi_call call = {.protocol = rows[i].protocol, .id = xapi_int(7)};
        xk_buf_reset(&f->text);
        xapi_reply_encode(&f->text, &call, rows[i].failed ? &failure : &success, false);
        assert_string_equal(xk_buf_str(&f->text), rows[i].want);
        assert_int_equal(xapi_reply_decode(&back, &f->arena, rows[i].protocol != XAPI_XML, xk_buf_str(&f->text),
                                           f->text.len, &f->err),
                         0);
        assert_int_equal(back.failed, rows[i].failed);
        if (rows[i].failed)
            assert_true(xapi_value_same(&back.value, &failure.value));
    }
}

static void calls_come_back(void **state)
{
    struct fixture *const f = *state;
    static const enum xapi_protocol protocols[] = {XAPI_XML, XAPI_JSON1, XAPI_JSON2};
    const struct xapi_value params[] = {xapi_str("OpaqueRef:ü <x>"), xapi_bool(false), xapi_real(2.5)};

    for (size_t i = 0; i < XK_COUNT(protocols); i++) {
        const struct xapi_call call = {
            .protocol = protocols[i], .method = "VM.start", .params = xapi_list(params, 3), .id = xapi_str("x")};
        xk_buf_reset(&f->text);
        xapi_call_encode(&f->text, &call);
        assert_int_equal(decode(f, protocols[i] != XAPI_XML, xk_buf_str(&f->text)), 0);
        assert_string_equal(f->call.method, "VM.start");
        assert_int_equal(f->call.protocol, protocols[i]);
        assert_true(xapi_value_same(&f->call.params, &call.params));
    }
}

static void what_is_refused(void **state)
{
    struct fixture *const f = *state;
    static const struct {
        bool json;
        int want;
        const char *body;
    } rows[] = {
        {false, -EBADMSG, ""},
        {false, -EBADMSG, "<methodCall>"},
        {false, -EBADMSG, "<a/>"},
        {false, -EBADMSG, "<!DOCTYPE a [<!ENTITY b \"c\">]><methodCall><methodName>&b;</methodName></methodCall>"},
        {false, -EBADMSG, "<methodCall><methodName>m</methodName><params><param/></params></methodCall>"},
        {false, -EBADMSG, "<methodCall><params/></methodCall>"},
        {false, -EBADMSG, "<methodCall><methodName>m</methodName><params/><params/></methodCall>"},
        {false, -EBADMSG,
         "<methodCall><methodName>m</methodName><params><param><value><boolean>yes</boolean></value></param></params></"
         "methodCall>"},
        {false, -EBADMSG,
         "<methodCall><methodName>m</methodName><params><param><value><int>1</int><int>2</int></value></param></"
         "params></methodCall>"},
        {false, -EBADMSG,
         "<methodCall><methodName>m</methodName><params><param><value><struct><member><value>v</value><name>n</name></"
         "member></struct></value></param></params></methodCall>"},
        {false, -EBADMSG, "<methodCall><methodName>\xff</methodName><params/></methodCall>"},
        {true, -EBADMSG, ""},
        {true, -EBADMSG, "[]"},
        {true, -EBADMSG, "{\"method\":\"m\",\"params\":[]}"},
        {true, -EBADMSG, "{\"method\":\"m\",\"params\":[],\"id\":null}"},
        {true, -EBADMSG, "{\"jsonrpc\":\"1.1\",\"method\":\"m\",\"params\":[],\"id\":1}"},
        {true, -EBADMSG, "{\"method\":\"m\",\"params\":{},\"id\":1}"},
        {true, -EBADMSG, "{\"method\":\"m\",\"params\":[],\"id\":1} x"},
        {true, -EBADMSG, "{\"method\":\"m\\u0000\",\"params\":[],\"id\":1}"},
        {true, -EBADMSG, "{\"method\":\"\xff\",\"params\":[],\"id\":1}"},
        {true, -EBADMSG, "{'method':'m','params':[],'id':1}"},
    };
    char deep[20000];

    for (size_t i = 0; i < XK_COUNT(rows); i++)
        if (decode(f, rows[i].json, rows[i].body) != rows[i].want)
            fail_msg("row %zu was not refused as it should: %s", i, f->err.text);
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(decode(f, true, deep), -E2BIG);
}

static void a_call_without_parameters(void **state)
{
    struct fixture *const f = *state;

    assert_int_equal(decode(f, false, "<methodCall><methodName>system.listMethods</methodName></methodCall>"), 0);
    assert_int_equal(f->call.params.count, 0);
    assert_int_equal(decode(f, false, "<methodCall><methodName>m</methodName><params/></methodCall>"), 0);
    assert_int_equal(decode(f, true, "{\"method\":\"m\",\"id\":\"a\"}"), 0);
    assert_int_equal(f->call.params.shape, XAPI_LIST);
}

static void space_around_elements_is_nothing(void **state)
{
    struct fixture *const f = *state;

    assert_int_equal(decode(f, false,
                            "<?xml version='1.0'?>\n<methodCall>\n <methodName>m</methodName>\n <params>\n  <param>\n"
                            "   <value>\n<array>\n<data>\n<value><int>1</int></value>\n</data>\n</array>\n</value>\n"
                            "</param>\n</params>\n</methodCall>\n"),
                     0);
    assert_int_equal(f->call.params.items[0].count, 1);
    assert_int_equal(f->call.params.items[0].items[0].integer, 1);
}

/* Quick or by the parser: the same is read, and the same is refused. */
static void both_ways_read_the_same(void **state)
{
    static const struct {
        const char *value;
        bool good;
    } rows[] = {
        {"<value>a &lt;b&gt; &amp;&quot;&apos; c</value>", true},
        {"<value>\xc3\xa4 \xf0\x9f\x90\xa7</value>", true},
        {"<value></value>", true},
        {"<value/>", true},
        {"<value><string/></value>", true},
        {"<value>  <i4>5</i4>\n</value>", true},
        {"<value>x]y]]z</value>", true},
        {"<value>a > b</value>", true},
        {"<value><array><data><value>1</value><value><nil/></value></data></array></value>", true},
        {"<value><struct><member><name>a&amp;b</name><value>1</value></member></struct></value>", true},
        /* what only the parser reads */
        {"<value>&#65;&#x42;</value>", true},
        {"<value>a\r\nb</value>", true},
        {"<value><![CDATA[<x>]]></value>", true},
        {"<value>a<!-- no -->b</value>", true},
        {"<value ><string >a</string ></value >", true},
        {"<value a='b'>c</value>", true},
        {"<?pi x?><value>c</value>", true},
        /* what nobody reads */
        {"<value>a]]>b</value>", false},
        {"<value>a & b</value>", false},
        {"<value>&none;</value>", false},
        {"<value>\x01</value>", false},
        {"<value>\xff</value>", false},
        {"<value>\xed\xa0\x80</value>", false},
        {"<value>\xef\xbf\xbf</value>", false},
        {"<value>a</string>", false},
        {"<value><string>a</value></string>", false},
        {"<value>a</value><value>b</value>", false},
        {"<value><value>a</value></value>", false},
        {"<value><struct><member><value>1</value><name>a</name></member></struct></value>", false},
        {"<val", false},
        {"<value>a", false},
    };
    struct fixture *const f = *state;

    for (size_t i = 0; i < XK_COUNT(rows); i++) {
        struct xapi_document d[2] = {0};
        char body[1024];
        int code[2];
        xk_buf_reset(&f->text);
        (void)snprintf(body, sizeof(body),
                       "<?xml version=\"1.0\"?><methodCall><methodName>m</methodName><params><param>%s</param></params>"
                       "</methodCall>\n",
                       rows[i].value);
        for (int way = 0; way < 2; way++)
            code[way] = xapi_xml_read(&d[way], &f->arena, way == 1, body, strlen(body), NULL);
        if (code[0] != code[1] || (code[0] == 0) != rows[i].good)
            fail_msg("%s: %d and %d", rows[i].value, code[0], code[1]);
        if (code[0] < 0)
            continue;
        xapi_xml_value(&f->text, &d[0].params);
        const size_t first = f->text.len;
        xapi_xml_value(&f->text, &d[1].params);
        if (f->text.len != 2 * first || memcmp(f->text.data, f->text.data + first, first) != 0)
            fail_msg("%s: %s", rows[i].value, xk_buf_str(&f->text));
    }
}

/* What stands around the document. */
static void both_ways_end_the_same(void **state)
{
    static const char *const bodies[] = {
        "",
        " ",
        "<methodResponse/>",
        "<methodResponse></methodResponse>",
        "<methodCall><methodName>m</methodName></methodCall>",
        "<methodCall><methodName>m</methodName></methodCall><methodCall/>",
        "<methodCall><methodName>m</methodName></methodCall> x",
        "x<methodCall><methodName>m</methodName></methodCall>",
        "\n<?xml version=\"1.0\"?><methodCall><methodName>m</methodName></methodCall>",
        "<?xml version=\"1.0\" encoding=\"latin1\"?><methodCall><methodName>m</methodName></methodCall>",
        "<?xml version=\"1.0\"?><?xml version=\"1.0\"?><methodCall><methodName>m</methodName></methodCall>",
        "\xef\xbb\xbf<methodCall><methodName>m</methodName></methodCall>",
        "</methodCall>",
        "<>",
        "<",
        "<//>",
        "</>",
    };
    struct fixture *const f = *state;

    for (size_t i = 0; i < XK_COUNT(bodies); i++) {
        struct xapi_document d[2] = {0};
        int code[2];
        for (int way = 0; way < 2; way++)
            code[way] = xapi_xml_read(&d[way], &f->arena, way == 1, bodies[i], strlen(bodies[i]), NULL);
        if (code[0] != code[1] || (code[0] == 0 && (!d[0].method != !d[1].method || d[0].response != d[1].response)))
            fail_msg("%s: %d and %d", bodies[i], code[0], code[1]);
    }
}

int main(void)
{
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(xml_is_exactly_this),
        T(json_is_exactly_this),
        T(replies_of_each_protocol),
        T(calls_come_back),
        T(what_is_refused),
        T(a_call_without_parameters),
        T(space_around_elements_is_nothing),
        T(both_ways_read_the_same),
        T(both_ways_end_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
