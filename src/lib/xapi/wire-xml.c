/*
 * XML-RPC as the real server speaks it: strings and ints are both bare text in <value>, nothing is ever a <fault>.
 *
 * expat does the XML; a document type is refused when it begins, so no entity of anybody's own exists. Which element
 * may stand in which is one table: what is left is pushing values to the builder.
 */
#include "lib/xapi/wire.h"

#include "core/text.h"
#include "lib/xapi/wire-parts.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

#define ELEMENTS_DEEP_MAX (XAPI_DEPTH_MAX * 3 + 8)

enum element {
    NOTHING,
    METHOD_CALL,
    METHOD_RESPONSE,
    METHOD_NAME,
    PARAMS,
    PARAM,
    VALUE,
    ARRAY,
    DATA,
    STRUCT,
    MEMBER,
    NAME,
    TEXT_STRING,
    TEXT_INT,
    TEXT_BOOL,
    TEXT_REAL,
    TEXT_TIME,
    TEXT_NIL,
};

#define IN(element) (1u << (element))

static const struct {
    const char *name;
    enum element element;
    unsigned parents;
} elements[] = {
    {"value", VALUE, IN(PARAM) | IN(DATA) | IN(MEMBER)},
    {"string", TEXT_STRING, IN(VALUE)},
    {"member", MEMBER, IN(STRUCT)},
    {"name", NAME, IN(MEMBER)},
    {"struct", STRUCT, IN(VALUE)},
    {"array", ARRAY, IN(VALUE)},
    {"data", DATA, IN(ARRAY)},
    {"int", TEXT_INT, IN(VALUE)},
    {"i4", TEXT_INT, IN(VALUE)},
    {"i8", TEXT_INT, IN(VALUE)},
    {"boolean", TEXT_BOOL, IN(VALUE)},
    {"double", TEXT_REAL, IN(VALUE)},
    {"dateTime.iso8601", TEXT_TIME, IN(VALUE)},
    {"nil", TEXT_NIL, IN(VALUE)},
    {"param", PARAM, IN(PARAMS)},
    {"params", PARAMS, IN(METHOD_CALL) | IN(METHOD_RESPONSE)},
    {"methodName", METHOD_NAME, IN(METHOD_CALL)},
    {"methodCall", METHOD_CALL, IN(NOTHING)},
    {"methodResponse", METHOD_RESPONSE, IN(NOTHING)},
};

struct frame {
    uint8_t element;
    bool filled; /* a value that has its content, an array that has its data, a call that has its params */
};

struct reading {
    XML_Parser parser;
    struct xk_arena *arena;
    struct xapi_build build;
    struct frame frames[ELEMENTS_DEEP_MAX];
    unsigned depth;
    struct xk_buf text;
    const char *method;
    bool response;
    const char *wrong; /* the first thing that was; NULL: nothing */
};

static void stop(struct reading *r, const char *wrong)
{
    if (!r->wrong)
        r->wrong = wrong;
    (void)XML_StopParser(r->parser, XML_FALSE);
}

static enum element parent(const struct reading *r)
{
    return r->depth ? (enum element)r->frames[r->depth - 1].element : NOTHING;
}

static void XMLCALL on_start(void *context, const char *name, const char **attributes)
{
    struct reading *const r = context;
    struct frame *const above = r->depth ? &r->frames[r->depth - 1] : NULL;
    const unsigned above_bit = IN(parent(r));
    enum element element = NOTHING;

    for (size_t i = 0; i < XK_COUNT(elements) && element == NOTHING; i++)
        if (elements[i].parents & above_bit && *name == *elements[i].name && strcmp(name, elements[i].name) == 0)
            element = elements[i].element;
    if (element == NOTHING)
        return stop(r, "an element stands where it cannot");
    if (r->depth == ELEMENTS_DEEP_MAX)
        return stop(r, "it is nested too deeply");
    /* What can stand only once. */
    if (above && (above->element == VALUE || above->element == ARRAY || above->element == PARAM || element == PARAMS)) {
        if (above->filled)
            return stop(r, "there are two values in the place of one");
        above->filled = true;
    }
    if (above && above->element == MEMBER) {
        const bool key_is_next = (r->build.count - r->build.marks[r->build.depth - 1]) % 2 == 0;
        if (key_is_next != (element == NAME) || (element == NAME && above->filled))
            return stop(r, "a member is not one name and one value");
        above->filled = true;
    }
    r->frames[r->depth++] = (struct frame){.element = (uint8_t)element};
    xk_buf_reset(&r->text);
    if (element == ARRAY || element == STRUCT || element == PARAMS)
        xapi_build_open(&r->build, element == STRUCT ? XAPI_MAP : XAPI_LIST);
    if (element == METHOD_RESPONSE)
        r->response = true;
    if (r->build.error)
        stop(r, "it is too large or nested too deeply");
}

static void push_scalar(struct reading *r, enum element element)
{
    const char *const text = xk_buf_str(&r->text);
    double real;

    if (element == TEXT_INT) {
        int64_t integer;
        if (xk_parse_i64(&integer, text) == 0)
            xapi_build_int(&r->build, integer);
        else /* the server hands such a text on, and says what it expected */
            xapi_build_bytes(&r->build, XAPI_TEXT, text, r->text.len);
    } else if (element == TEXT_BOOL) {
        if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
            return stop(r, "a boolean is neither 0 nor 1");
        xapi_build_value(&r->build, xapi_bool(*text == '1'));
    } else if (element == TEXT_REAL) {
        if (xk_parse_double(&real, text) < 0)
            return stop(r, "a double is no number");
        xapi_build_value(&r->build, xapi_real(real));
    } else if (element == TEXT_NIL) {
        xapi_build_value(&r->build, xapi_nil());
    } else {
        xapi_build_bytes(&r->build, element == TEXT_TIME ? XAPI_TIME : XAPI_TEXT, text, r->text.len);
    }
}

static void XMLCALL on_end(void *context, const char *name)
{
    struct reading *const r = context;

    if (r->wrong) /* an empty element still ends after the parser was stopped */
        return;
    const struct frame frame = r->frames[--r->depth];
    const enum element element = (enum element)frame.element;

    if (r->text.error)
        return stop(r, "a text is too large");
    if (element == VALUE && !frame.filled)
        push_scalar(r, TEXT_STRING);
    else if (element >= TEXT_STRING || element == NAME)
        push_scalar(r, element);
    else if (element == ARRAY || element == STRUCT || element == PARAMS)
        xapi_build_close(&r->build);
    else if (element == PARAM && !frame.filled)
        stop(r, "a parameter has no value");
    else if (element == METHOD_NAME && (r->method = xk_arena_strdup(r->arena, xk_buf_str(&r->text))) == NULL)
        r->build.error = -ENOMEM;
    xk_buf_reset(&r->text);
    if (r->build.error)
        stop(r, "it is too large or nested too deeply");
}

static void XMLCALL on_text(void *context, const char *text, int bytes)
{
    struct reading *const r = context;
    const enum element element = parent(r);

    if (element == NAME || element == METHOD_NAME || element == VALUE || element >= TEXT_STRING)
        xk_buf_add(&r->text, text, (size_t)bytes);
}

static void XMLCALL on_doctype(void *context, const char *name, const char *system, const char *public, int internal)
{
    stop(context, "it has a document type");
}

static int read_document(struct reading *r, struct xapi_value *ret, const char *body, size_t bytes, struct xk_err *err)
{
    r->parser = XML_ParserCreate(NULL);
    if (!r->parser)
        return xk_fail_memory(err);
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_start, on_end);
    XML_SetCharacterDataHandler(r->parser, on_text);
    XML_SetDoctypeDeclHandler(r->parser, on_doctype, NULL);
    const bool whole = bytes <= INT32_MAX && XML_Parse(r->parser, body, (int)bytes, XML_TRUE) == XML_STATUS_OK;
    const char *const wrong = r->wrong ? r->wrong : XML_ErrorString(XML_GetErrorCode(r->parser));
    const unsigned long line = whole ? 0 : XML_GetCurrentLineNumber(r->parser); /* that counts all the bytes again */
    XML_ParserFree(r->parser);

    if (r->build.error == -ENOMEM)
        return xk_fail_memory(err);
    if (!whole)
        return xk_fail(err, r->build.error == -E2BIG ? -E2BIG : -EBADMSG, "XML-RPC: line %lu: %s", line, wrong);
    return xapi_build_end(&r->build, ret) < 0 ? xk_fail(err, -EBADMSG, "XML-RPC: there are no parameters") : 0;
}

static void reading_done(struct reading *r)
{
    xapi_build_done(&r->build);
    xk_buf_done(&r->text);
}

int xapi_xml_call_decode(struct xapi_call *ret, struct xk_arena *arena, const char *body, size_t bytes,
                         struct xk_err *err)
{
    xk_auto(reading_done) struct reading r = {
        .arena = arena, .build = XAPI_BUILD_INIT(arena), .text = XK_BUF_INIT(bytes + 1)};
    struct xapi_call call = {.protocol = XAPI_XML};

    int code = read_document(&r, &call.params, body, bytes, err);
    /* A call without parameters may leave <params> out. */
    if (code == -EBADMSG && r.method && !r.wrong && r.build.count == 0 && !r.response && r.depth == 0) {
        call.params = xapi_list(NULL, 0);
        code = 0;
    }
    if (code < 0)
        return code;
    if (r.response || !r.method)
        return xk_fail(err, -EBADMSG, "XML-RPC: this is no call");
    call.method = r.method;
    *ret = call;
    return 0;
}

int xapi_xml_reply_decode(struct xapi_reply *ret, struct xk_arena *arena, const char *body, size_t bytes,
                          struct xk_err *err)
{
    xk_auto(reading_done) struct reading r = {
        .arena = arena, .build = XAPI_BUILD_INIT(arena), .text = XK_BUF_INIT(bytes + 1)};
    struct xapi_value params;

    const int code = read_document(&r, &params, body, bytes, err);
    if (code < 0)
        return code;
    if (!r.response || params.count != 1)
        return xk_fail(err, -EBADMSG, "XML-RPC: this is no reply");
    const struct xapi_value *const status = xapi_map_get(&params.items[0], "Status");
    const struct xapi_value *const errors = xapi_map_get(&params.items[0], "ErrorDescription");
    const struct xapi_value *const value = xapi_map_get(&params.items[0], "Value");
    if (!status) {
        *ret = (struct xapi_reply){.value = params.items[0]};
        return 0;
    }
    const bool failed = strcmp(xapi_value_text(status), "Success") != 0;
    if (failed ? !errors || errors->shape != XAPI_LIST || errors->count == 0 : !value)
        return xk_fail(err, -EBADMSG, "XML-RPC: the reply has neither a value nor an error");
    *ret = (struct xapi_reply){.failed = failed, .value = failed ? *errors : *value};
    return 0;
}

/* ---- writing ---- */

/* Control characters cannot be said in XML 1.0 and are dropped, as the server does. */
static void add_escaped(struct xk_buf *b, const char *text, size_t bytes)
{
    size_t from = 0;

    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        const char *instead = c == '<'                                          ? "&lt;"
                              : c == '>'                                        ? "&gt;"
                              : c == '&'                                        ? "&amp;"
                              : c == '"'                                        ? "&quot;"
                              : c < 0x20 && c != '\t' && c != '\n' && c != '\r' ? ""
                                                                                : NULL;
        if (!instead)
            continue;
        xk_buf_add(b, text + from, i - from);
        xk_buf_add_str(b, instead);
        from = i + 1;
    }
    xk_buf_add(b, text + from, bytes - from);
}

void xapi_xml_value(struct xk_buf *b, const struct xapi_value *v)
{
    if (v->shape == XAPI_RAW)
        return xk_buf_add(b, v->raw->xml, v->raw->xml_bytes);
    xk_buf_add_str(b, "<value>");
    switch ((enum xapi_shape)v->shape) {
    case XAPI_NIL:
    case XAPI_RAW:
        break;
    case XAPI_BOOL:
        xk_buf_printf(b, "<boolean>%d</boolean>", v->truth);
        break;
    case XAPI_INT:
        xk_buf_printf(b, "%lld", (long long)v->integer);
        break;
    case XAPI_INT32:
        xk_buf_printf(b, "<i4>%lld</i4>", (long long)v->integer);
        break;
    case XAPI_REAL:
        xk_buf_printf(b, "<double>%.16g</double>", v->real);
        break;
    case XAPI_TEXT:
        add_escaped(b, v->text, v->count);
        break;
    case XAPI_TIME:
        xk_buf_add_str(b, "<dateTime.iso8601>");
        add_escaped(b, v->text, v->count);
        xk_buf_add_str(b, "</dateTime.iso8601>");
        break;
    case XAPI_LIST:
        xk_buf_add_str(b, "<array><data>");
        for (size_t i = 0; i < v->count; i++)
            xapi_xml_value(b, &v->items[i]);
        xk_buf_add_str(b, "</data></array>");
        break;
    case XAPI_MAP:
        xk_buf_add_str(b, "<struct>");
        for (size_t i = 0; i < v->count; i++) {
            xk_buf_add_str(b, "<member><name>");
            add_escaped(b, v->items[2 * i].text, v->items[2 * i].count);
            xk_buf_add_str(b, "</name>");
            xapi_xml_value(b, &v->items[2 * i + 1]);
            xk_buf_add_str(b, "</member>");
        }
        xk_buf_add_str(b, "</struct>");
        break;
    }
    xk_buf_add_str(b, "</value>");
}

void xapi_xml_reply_encode(struct xk_buf *b, const struct xapi_reply *reply, bool bare)
{
    xk_buf_add_str(b, "<?xml version=\"1.0\"?><methodResponse><params><param>");
    if (bare && !reply->failed) {
        xapi_xml_value(b, &reply->value);
    } else {
        xk_buf_add_str(b, "<value><struct><member><name>Status</name><value>");
        xk_buf_add_str(b, reply->failed ? "Failure" : "Success");
        xk_buf_add_str(b, "</value></member><member><name>");
        xk_buf_add_str(b, reply->failed ? "ErrorDescription" : "Value");
        xk_buf_add_str(b, "</name>");
        xapi_xml_value(b, &reply->value);
        xk_buf_add_str(b, "</member></struct></value>");
    }
    xk_buf_add_str(b, "</param></params></methodResponse>");
}

void xapi_xml_call_encode(struct xk_buf *b, const struct xapi_call *call)
{
    xk_buf_add_str(b, "<?xml version=\"1.0\"?><methodCall><methodName>");
    add_escaped(b, call->method, strlen(call->method));
    xk_buf_add_str(b, "</methodName><params>");
    for (size_t i = 0; i < call->params.count; i++) {
        xk_buf_add_str(b, "<param>");
        xapi_xml_value(b, &call->params.items[i]);
        xk_buf_add_str(b, "</param>");
    }
    xk_buf_add_str(b, "</params></methodCall>");
}
