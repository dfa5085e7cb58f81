/* Messages to the pool, and what comes back as text, numbers and refs. */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * What a server that is none answers has the wrong shape: lists and maps are made sure of here, once, so that nobody
 * who walks over a result has to ask.
 */
static struct xapi_value shaped(const char *method, struct xapi_value v)
{
    const struct xapi_message *const m = xapi_message_find(method);
    const struct xapi_type *const t = m ? xapi_type_of(m->result) : NULL;
    const bool events = strcmp(method, "event.from") == 0; /* the one whose model is not what it gives */

    if (t && t->kind == XAPI_SET && !events && v.shape != XAPI_LIST)
        return xapi_list(NULL, 0);
    if (t && (t->kind == XAPI_DICT || t->kind == XAPI_RECORD) && v.shape != XAPI_MAP)
        return xapi_map(NULL, 0);
    if (t && t->kind != XAPI_SET && t->kind != XAPI_DICT && t->kind != XAPI_RECORD &&
        (v.shape == XAPI_LIST || v.shape == XAPI_MAP))
        return xapi_nil();
    return v;
}

struct xapi_value xe_call(struct xe *x, const char *method, const struct xapi_value *params, size_t count)
{
    const struct xe_remote *const remote = x->settings->remote;
    struct xapi_reply reply = {0};

    if (!xe_fine(x))
        return xapi_nil();
    const int code = remote->call(remote->context, &x->arena, x->session, method, params, count, &reply, x->err);
    if (code < 0) {
        xe_fail_lost(x, code);
        return xapi_nil();
    }
    if (!reply.failed)
        return shaped(method, reply.value);
    x->failure = XE_SERVER;
    x->server = reply.value;
    return xapi_nil();
}

/* ---- values ---- */

const char *xe_value_text(struct xe *x, const struct xapi_value *v)
{
    const char *text = NULL;

    switch (v->shape) {
    case XAPI_TEXT:
    case XAPI_TIME:
        return v->text;
    case XAPI_BOOL:
        return v->truth ? "true" : "false";
    case XAPI_INT:
    case XAPI_INT32:
        text = xk_arena_printf(&x->arena, "%" PRId64, v->integer);
        break;
    case XAPI_REAL:
        text = xk_arena_printf(&x->arena, "%s", xk_number(v->real).s);
        break;
    default:
        return "";
    }
    if (!text)
        xe_fail_memory(x);
    return text ? text : "";
}

int64_t xe_value_int(const struct xapi_value *v)
{
    int64_t number = 0;

    if (v->shape == XAPI_TEXT)
        (void)xk_parse_i64(&number, v->text);
    else if (v->shape == XAPI_INT || v->shape == XAPI_INT32)
        number = v->integer;
    return number;
}

double xe_value_real(const struct xapi_value *v)
{
    double number = 0;

    if (v->shape == XAPI_TEXT)
        (void)xk_parse_double(&number, v->text);
    else if (v->shape == XAPI_REAL)
        number = v->real;
    else if (v->shape == XAPI_INT || v->shape == XAPI_INT32)
        number = (double)v->integer;
    return number;
}

bool xe_value_bool(const struct xapi_value *v)
{
    return v->shape == XAPI_BOOL && v->truth;
}

const char *xe_item(const struct xapi_value *list, size_t i)
{
    return list->shape == XAPI_LIST && i < list->count ? xapi_value_text(&list->items[i]) : "";
}

bool xe_is_null(const char *ref)
{
    return *ref == '\0' || strcmp(ref, XE_NULL) == 0;
}

struct xapi_value xe_text_value(struct xe *x, const char *text)
{
    const char *const copy = xk_arena_strdup(&x->arena, text);

    if (!copy)
        xe_fail_memory(x);
    return xapi_str(copy ? copy : "");
}

/* ---- objects ---- */

struct xapi_value xe_get(struct xe *x, const char *method, const char *ref)
{
    return xe_do(x, method, xapi_str(ref));
}

const char *xe_get_text(struct xe *x, const char *method, const char *ref)
{
    const struct xapi_value v = xe_get(x, method, ref);

    return xe_value_text(x, &v);
}

bool xe_get_bool(struct xe *x, const char *method, const char *ref)
{
    const struct xapi_value v = xe_get(x, method, ref);

    return xe_value_bool(&v);
}

const char *xe_by_uuid(struct xe *x, const char *class_name, const char *uuid)
{
    char method[96];

    (void)snprintf(method, sizeof(method), "%s.get_by_uuid", class_name);
    return xe_get_text(x, method, uuid);
}

const char *xe_param_ref(struct xe *x, const char *class_name, const char *param)
{
    const char *const uuid = xe_required(x, param);

    return xe_by_uuid(x, class_name, uuid);
}

const char *xe_uuid_of(struct xe *x, const char *class_name, const char *ref)
{
    char method[96];

    (void)snprintf(method, sizeof(method), "%s.get_uuid", class_name);
    return xe_get_text(x, method, ref);
}

const char *xe_the_pool(struct xe *x)
{
    const struct xapi_value pools = xe_do_bare(x, "pool.get_all");

    if (xe_fine(x) && pools.count == 0)
        xe_fail_server(x, "INTERNAL_ERROR", "Remote host does not belong to a pool.", NULL);
    return xe_item(&pools, 0);
}

const char *xe_the_master(struct xe *x)
{
    return xe_get_text(x, "pool.get_master", xe_the_pool(x));
}

const char *xe_this_host(struct xe *x)
{
    const struct xe_remote *const remote = x->settings->remote;

    return xe_get_text(x, "session.get_this_host", x->session ? x->session : remote->session(remote->context));
}

/* ---- enums ---- */

static const char *dashed(struct xe *x, const char *word, const char *format)
{
    static const struct {
        const char *word, *value;
    } words[] = {{"depth-first", "depth_first"},
                 {"breadth-first", "breadth_first"},
                 {"hvm", "hvm"},
                 {"pv", "pv"},
                 {"pv-in-pvh", "pv_in_pvh"},
                 {"pvh", "pvh"},
                 {"normal", "normal"},
                 {"anti-affinity", "anti_affinity"},
                 {"balance-slb", "balance-slb"},
                 {"active-backup", "active-backup"},
                 {"lacp", "lacp"}};

    for (size_t i = 0; i < XK_COUNT(words); i++)
        if (strcmp(word, words[i].word) == 0)
            return words[i].value;
    xe_fail(x, "%s %s", format, word);
    return "";
}

const char *xe_enum_value(struct xe *x, uint16_t enum_index, const char *word)
{
    /* Those that are written with dashes, and how a wrong word is told. */
    static const struct {
        const char *holds, *format;
    } own[] = {{"breadth_first", "Invalid allocation algorithm. Got"},
               {"pv_in_pvh", "Invalid domain type. Got"},
               {"anti_affinity", "Invalid VM placement policy, got"},
               {"balance-slb", "Invalid bond mode. Got"}};
    const struct xapi_enum *const e = &xapi_enums[enum_index];
    const char *const lower = xe_lower(x, word);
    struct xk_buf expected = XK_BUF_INIT(4096);

    for (size_t i = 0; i < XK_COUNT(own); i++) {
        if (!xapi_enum_has(enum_index, own[i].holds))
            continue;
        if (i == 3 && !*lower)
            return "balance-slb";
        const char *const value = dashed(x, lower, own[i].format);
        if (xe_fine(x) && !xapi_enum_has(enum_index, value))
            xe_fail(x, "%s %s", own[i].format, lower);
        return value;
    }
    for (uint16_t i = 0; i < e->values; i++) {
        const char *const value = xapi_text(xapi_enum_values[e->first_value + i]);
        if (strcmp(xe_lower(x, value), lower) == 0)
            return value;
        xk_buf_printf(&expected, "%s'%s'", i > 0 ? ", " : "", value);
    }
    xe_fail(x, "Expected one of %s, got %s", xk_buf_str(&expected), lower);
    xk_buf_done(&expected);
    return "";
}
