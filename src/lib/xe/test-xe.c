/* The tables of xe against the model of the API, and command lines over a pool that answers from a script. */
#include "lib/xe/inner.h"
#include "lib/xe/thin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- a pool and a terminal ---- */

struct stage {
    struct xk_buf calls;   /* METHOD(texts) of each call, a line each */
    struct xk_buf printed; /* what was printed, and after '!' what was complained of */
    const char *fail_method, *fail_code;
};

static int on_open(void *context, struct xk_arena *arena, bool local, const char *user, const char *password,
                   struct xapi_reply *ret, struct xk_err *err)
{
    struct stage *const s = context;

    xk_buf_printf(&s->calls, "open(%s,%s)\n", user, local ? "local" : "pool");
    *ret = (struct xapi_reply){0};
    return 0;
}

static void add_value(struct xk_buf *b, const struct xapi_value *v)
{
    struct xk_buf json = XK_BUF_INIT(1u << 16);

    xapi_json_value(&json, v);
    xk_buf_add_str(b, xk_buf_str(&json));
    xk_buf_done(&json);
}

/* Two VMs; every other result is a text. */
static int on_call(void *context, struct xk_arena *arena, const char *session, const char *method,
                   const struct xapi_value *params, size_t count, struct xapi_reply *ret, struct xk_err *err)
{
    static const char records[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{"
        "\"OpaqueRef:a\":{\"uuid\":\"aa\",\"name_label\":\"one, "
        "two\",\"power_state\":\"Halted\",\"is_a_template\":false,"
        "\"is_control_domain\":false,\"tags\":[\"t1\",\"t2\"],\"other_config\":{\"k\":\"v\"},\"domid\":-1},"
        "\"OpaqueRef:b\":{\"uuid\":\"bb\",\"name_label\":\"b\",\"power_state\":\"Running\",\"is_a_template\":false,"
        "\"is_control_domain\":false,\"tags\":[],\"other_config\":{},\"domid\":7}}}";
    struct stage *const s = context;

    xk_buf_printf(&s->calls, "%s(", method);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            xk_buf_add_char(&s->calls, ',');
        add_value(&s->calls, &params[i]);
    }
    xk_buf_add_str(&s->calls, ")\n");
    if (s->fail_method && strcmp(method, s->fail_method) == 0) {
        struct xapi_value *const texts = xk_arena_alloc(arena, 3 * sizeof(*texts));
        texts[0] = xapi_str(s->fail_code);
        texts[1] = xapi_str("OpaqueRef:a");
        texts[2] = xapi_str("more");
        *ret = (struct xapi_reply){.failed = true, .value = xapi_list(texts, 3)};
        return 0;
    }
    if (strcmp(method, "VM.get_all_records_where") == 0)
        return xapi_reply_decode(ret, arena, true, records, sizeof(records) - 1, err);
    if (strcmp(method, "message.get") == 0)
        *ret = (struct xapi_reply){.value = xapi_map(NULL, 0)};
    else
        *ret = (struct xapi_reply){.value = xapi_str(strstr(method, "get_by_uuid") ? "OpaqueRef:a" : "text")};
    return 0;
}

static const char *on_session(void *context)
{
    return "OpaqueRef:session";
}

static void on_close(void *context)
{
    struct stage *const s = context;

    xk_buf_add_str(&s->calls, "close\n");
}

static int64_t on_now(void *context)
{
    return 1700000000;
}

static int on_print(void *context, const char *text)
{
    struct stage *const s = context;

    xk_buf_printf(&s->printed, "%s\n", text);
    return 0;
}

static int on_complain(void *context, const char *text)
{
    struct stage *const s = context;

    xk_buf_printf(&s->printed, "!%s", text);
    return 0;
}

static int on_error(void *context, const char *code, const char *const *params, size_t count)
{
    struct stage *const s = context;

    xk_buf_printf(&s->printed, "error %s %zu %s\n", code, count, count > 0 ? params[0] : "");
    return 0;
}

static int run_words(struct stage *s, const char *const *words, size_t count)
{
    const struct xe_remote remote = {
        .context = s, .open = on_open, .call = on_call, .session = on_session, .close = on_close, .now_s = on_now};
    const struct xe_terminal terminal = {.context = s, .print = on_print, .complain = on_complain, .error = on_error};
    const struct xe_settings settings = {.remote = &remote, .terminal = &terminal, .memory_bytes_max = 64u << 20};
    struct xk_err err = {0};

    xk_buf_init(&s->calls, 1u << 20);
    xk_buf_init(&s->printed, 1u << 20);
    return xe_run(&settings, words, count, &err);
}

#define RUN(s, ...)                                                                                                    \
    run_words((s), (const char *const[]){__VA_ARGS__},                                                                 \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void stage_done(struct stage *s)
{
    xk_buf_done(&s->calls);
    xk_buf_done(&s->printed);
}

/* ---- tables ---- */

/* Every message that a recipe names is one of the API, with as many arguments as it takes. */
static void test_recipes(void **state)
{
    size_t recipes = 0, own = 0;

    for (uint16_t i = 0; i < xe_command_count; i++) {
        const char *const name = xe_text(xe_commands[i].name), *const recipe = xe_text(xe_commands[i].recipe);
        char words[2048], *rest = words, *word, method[128] = "";
        const struct xapi_message *m = NULL;
        unsigned args = 0;
        bool result = false;
        if (strcmp(recipe, "!") == 0) {
            if (!xe_code_of(name))
                fail_msg("%s has neither a recipe nor code", name);
            own++;
            continue;
        }
        if (strcmp(recipe, "-") == 0 || strcmp(recipe, "nothing") == 0)
            continue;
        recipes++;
        snprintf(words, sizeof(words), "%s", recipe);
        while ((word = strtok_r(rest, " ", &rest))) {
            if (*word == '?' || word[strlen(word) - 1] == ':')
                continue;
            if (strcmp(word, ">") == 0) {
                result = true;
            } else if (!m) {
                snprintf(method, sizeof(method), "%.*s", (int)strcspn(word, "|"), word);
                m = xapi_message_find(method);
                if (!m)
                    fail_msg("%s: no message %s", name, method);
            } else if (!result) {
                args++;
                const char *const mark = strchr(word, '=');
                char field[64];
                snprintf(field, sizeof(field), "%.*s", mark ? (int)(mark - word) : 0, word);
                if (m->kind == XAPI_CREATE && !xapi_field_find(&xapi_classes[m->class_index], field))
                    fail_msg("%s: %s has no field %s", name, method, field);
            }
        }
        if (m->kind != XAPI_CREATE && (args < m->required || args > m->params))
            fail_msg("%s: %u arguments for %s, which takes %u to %u", name, args, method, m->required, m->params);
    }
    assert_true(recipes > 200);
    assert_true(own > 100);
}

static bool is_message(const char *method)
{
    return !*method || xapi_message_find(method);
}

/* Fields lead to fields of the model, and are written by messages of it. */
static void test_fields(void **state)
{
    for (uint16_t i = 0; i < xe_record_count; i++) {
        const struct xapi_class *const row = xapi_class_find(xe_text(xe_records[i].class_name));
        assert_non_null(row);
        for (uint16_t j = 0; j < xe_records[i].fields; j++) {
            const struct xe_field *const f = &xe_fields[xe_records[i].first_field + j];
            const char *const path = xe_text(f->path);
            char first[128];
            snprintf(first, sizeof(first), "%.*s", (int)strcspn(path, ">"), path);
            const bool plain = !(f->flags & (XE_CALLED | XE_ALL_HOSTS)) && f->form != XE_SPECIAL && f->form != XE_RATE;
            if (plain && !xapi_field_find(row, first))
                fail_msg("%s %s: no field %s", xe_text(xe_records[i].name), xe_text(f->name), first);
            if (f->flags & XE_CALLED && !xapi_message_find(path))
                fail_msg("%s: no message %s", xe_text(f->name), path);
            if (!is_message(xe_text(f->set)) || !is_message(xe_text(f->add)) || !is_message(xe_text(f->set_map)))
                fail_msg("%s %s: %s %s %s", xe_text(xe_records[i].name), xe_text(f->name), xe_text(f->set),
                         xe_text(f->add), xe_text(f->set_map));
        }
    }
}

static void test_errors_have_sentences(void **state)
{
    assert_string_equal(xe_error_text("MESSAGE_REMOVED"), "This function is no longer available.");
    assert_null(xe_error_text("NO_SUCH_CODE"));
    assert_true(xe_error_text_count > 600);
}

/* ---- command lines ---- */

static void test_list(void **state)
{
    struct stage s = {0};

    assert_int_equal(RUN(&s, "vm-list"), 0);
    assert_string_equal(s.printed.data, "uuid ( RO)           : aa\n     name-label ( RW): one, two\n"
                                        "    power-state ( RO): halted\n\n\n"
                                        "uuid ( RO)           : bb\n     name-label ( RW): b\n"
                                        "    power-state ( RO): running\n\n\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-list", "--minimal", "params=name-label"), 0);
    assert_string_equal(s.printed.data, "one\\, two,b\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-list", "--minimal", "tags:contains=t2"), 0);
    assert_string_equal(s.printed.data, "aa\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-list", "--minimal", "other-config-k=v", "power-state=halted"), 0);
    assert_string_equal(s.printed.data, "aa\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-list", "no-such=1"), 1);
    assert_string_equal(s.printed.data, "!Error: Unknown field 'no-such'\n");
    assert_non_null(strstr(s.calls.data, "close\n"));
    stage_done(&s);
}

static void test_words(void **state)
{
    struct stage s = {0};

    assert_int_equal(RUN(&s, "fly"), 1);
    assert_string_equal(s.printed.data, "!Unknown command: fly\n!For usage run: 'xe help'\n");
    assert_int_equal(s.calls.len, 0);
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-destroy"), 1);
    assert_string_equal(s.printed.data, "!Required parameter not found: uuid\n!For usage run: 'xe help'\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "uuid=1"), 1);
    assert_string_equal(s.printed.data, "!Syntax error: \n!For usage run: 'xe help'\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-list", "-z", "1"), 1);
    assert_string_equal(s.printed.data, "!Syntax error: \n!For usage run: 'xe help'\n");
    stage_done(&s);
}

/* What a command sends. */
static void test_calls(void **state)
{
    struct stage s = {0};

    assert_int_equal(RUN(&s, "vif-move", "uuid=u1", "network-uuid=n1", "username=me"), 0);
    assert_string_equal(s.calls.data, "open(me,pool)\nVIF.get_by_uuid(\"u1\")\nnetwork.get_by_uuid(\"n1\")\n"
                                      "VIF.move(\"OpaqueRef:a\",\"OpaqueRef:a\")\nclose\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-memory-set", "uuid=aa", "memory=2GiB"), 0);
    assert_non_null(strstr(s.calls.data, "VM.set_memory(\"OpaqueRef:a\",2147483648)\n"));
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-memory-set", "uuid=aa", "memory=2x"), 1);
    assert_string_equal(s.printed.data, "!Error: Failed to parse field 'memory': expecting an integer (possibly with "
                                        "suffix KiB, MiB, GiB, TiB), got '2x'\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-pause", "power-state=running"), 0);
    assert_non_null(strstr(s.calls.data, "VM.pause(\"OpaqueRef:b\")\n"));
    assert_null(strstr(s.calls.data, "VM.pause(\"OpaqueRef:a\")\n"));
    stage_done(&s);
    assert_int_equal(RUN(&s, "vm-pause"), 1);
    assert_string_equal(s.printed.data,
                        "!Error: Multiple matches VMs found. --multiple required to complete the operation\n");
    stage_done(&s);
    assert_int_equal(RUN(&s, "host-emergency-ha-disable", "--force"), 0);
    assert_string_equal(s.calls.data, "open(,local)\nhost.emergency_ha_disable(false)\nclose\n");
    stage_done(&s);
}

static void test_failures(void **state)
{
    struct stage s = {.fail_method = "VM.pause", .fail_code = "VM_IS_TEMPLATE"};

    assert_int_equal(RUN(&s, "vm-pause", "--multiple"), 1);
    assert_non_null(strstr(s.printed.data, "operation failed on bb: "));
    assert_true(strstr(s.printed.data, "on bb") < strstr(s.printed.data, "on aa"));
    stage_done(&s);
    s.fail_code = "NOBODY_KNOWS_THIS";
    assert_int_equal(RUN(&s, "vm-pause", "uuid=aa"), 1);
    assert_string_equal(s.printed.data, "error NOBODY_KNOWS_THIS 2 aa (one, two)\n");
    stage_done(&s);
}

/* ---- the thin protocol ---- */

static void test_thin_round(void **state)
{
    const struct thin_message error = {
        .kind = THIN_COMMAND, .tag = THIN_ERROR, .texts = {{"CODE", 4}, {"a", 1}, {"", 0}}, .text_count = 3};
    struct xk_buf b = XK_BUF_INIT(4096);
    struct thin_message m;

    thin_put(&b, &error);
    assert_int_equal(b.error, 0);
    assert_int_equal(thin_decode(&m, (const uint8_t *)b.data + 4, b.len - 4, NULL), 0);
    assert_int_equal(m.text_count, 3);
    assert_memory_equal(m.texts[0].at, "CODE", 4);
    assert_int_equal(m.texts[2].bytes, 0);
    assert_int_equal(thin_decode(&m, (const uint8_t *)b.data + 4, b.len - 5, NULL), -EBADMSG);
    xk_buf_done(&b);
}

static void test_thin_words(void **state)
{
    struct xk_arena arena = XK_ARENA_INIT(1u << 20);
    static const char body[] = "session_id=OpaqueRef:1\r\nvm-list\r\nparams=a b";
    const char **words, *session;
    size_t count;

    assert_int_equal(thin_words(&words, &count, &session, &arena, body, sizeof(body) - 1, NULL), 0);
    assert_string_equal(session, "OpaqueRef:1");
    assert_int_equal(count, 2);
    assert_string_equal(words[0], "vm-list");
    assert_string_equal(words[1], "params=a b");
    assert_int_equal(thin_words(&words, &count, &session, &arena, "a\0b", 3, NULL), -EINVAL);
    xk_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipes),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_errors_have_sentences),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_thin_round),
        cmocka_unit_test(test_thin_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
