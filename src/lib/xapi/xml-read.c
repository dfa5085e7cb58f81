/*
 * Documents of XML-RPC. Which element may stand in which is one table: what is left is pushing values to the builder.
 *
 * What the peers of the XenAPI write is simple: elements without attributes, texts and five entities. That is scanned
 * here, in a quarter of the time that expat takes. Whatever has more in it, or something wrong, is read again by expat,
 * whose word counts; a document type is refused when it begins, so no entity of anybody's own exists. A test and the
 * fuzzer compare both ways. Only expat was the other way: of the records of 4,000 machines it takes two thirds of all
 * the processor time of a call.
 */
#include "lib/xapi/wire-parts.h"

#include "core/text.h"

#include <expat.h>
#include <string.h>

#define ELEMENTS_DEEP_MAX (XAPI_DEPTH_MAX * 3 + 8)
#define TAG_BYTES_MAX     32u

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

#define ELEMENT(name, element, parents)                                                                                \
    {                                                                                                                  \
        name, sizeof(name) - 1, element, parents                                                                       \
    }

static const struct {
    const char *name;
    uint8_t bytes;
    enum element element;
    unsigned parents;
} elements[] = {
    ELEMENT("value", VALUE, IN(PARAM) | IN(DATA) | IN(MEMBER)),
    ELEMENT("string", TEXT_STRING, IN(VALUE)),
    ELEMENT("member", MEMBER, IN(STRUCT)),
    ELEMENT("name", NAME, IN(MEMBER)),
    ELEMENT("struct", STRUCT, IN(VALUE)),
    ELEMENT("array", ARRAY, IN(VALUE)),
    ELEMENT("data", DATA, IN(ARRAY)),
    ELEMENT("int", TEXT_INT, IN(VALUE)),
    ELEMENT("i4", TEXT_INT, IN(VALUE)),
    ELEMENT("i8", TEXT_INT, IN(VALUE)),
    ELEMENT("boolean", TEXT_BOOL, IN(VALUE)),
    ELEMENT("double", TEXT_REAL, IN(VALUE)),
    ELEMENT("dateTime.iso8601", TEXT_TIME, IN(VALUE)),
    ELEMENT("nil", TEXT_NIL, IN(VALUE)),
    ELEMENT("param", PARAM, IN(PARAMS)),
    ELEMENT("params", PARAMS, IN(METHOD_CALL) | IN(METHOD_RESPONSE)),
    ELEMENT("methodName", METHOD_NAME, IN(METHOD_CALL)),
    ELEMENT("methodCall", METHOD_CALL, IN(NOTHING)),
    ELEMENT("methodResponse", METHOD_RESPONSE, IN(NOTHING)),
};

struct frame {
    uint8_t element, row; /* the row of its name */
    bool filled;          /* a value that has its content, an array that has its data, a call that has its params */
};

struct reading {
    XML_Parser parser; /* NULL: the document is scanned */
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
    if (r->parser)
        (void)XML_StopParser(r->parser, XML_FALSE);
}

static enum element parent(const struct reading *r)
{
    return r->depth ? (enum element)r->frames[r->depth - 1].element : NOTHING;
}

/* What an element of that name is in the one that is open. returns   a row; XK_COUNT(elements): it cannot stand there.
 */
static size_t find_row(const struct reading *r, const char *name, size_t bytes)
{
    const unsigned above = IN(parent(r));
    size_t i = 0;

    while (i < XK_COUNT(elements) &&
           !(elements[i].parents & above && elements[i].bytes == bytes && memcmp(name, elements[i].name, bytes) == 0))
        i++;
    return i;
}

/* What can stand only once. */
static bool is_first(struct reading *r, struct frame *above, enum element element)
{
    if (above->element == VALUE || above->element == ARRAY || above->element == PARAM || element == PARAMS) {
        if (above->filled) {
            stop(r, "there are two values in the place of one");
            return false;
        }
        above->filled = true;
    }
    if (above->element == MEMBER) {
        const bool key_is_next = (r->build.count - r->build.marks[r->build.depth - 1]) % 2 == 0;
        if (key_is_next != (element == NAME) || (element == NAME && above->filled)) {
            stop(r, "a member is not one name and one value");
            return false;
        }
        above->filled = true;
    }
    return true;
}

static void begin(struct reading *r, const char *name, size_t bytes)
{
    const size_t row = find_row(r, name, bytes);

    if (row == XK_COUNT(elements))
        return stop(r, "an element stands where it cannot");
    if (r->depth == ELEMENTS_DEEP_MAX)
        return stop(r, "it is nested too deeply");
    const enum element element = elements[row].element;
    if (r->depth && !is_first(r, &r->frames[r->depth - 1], element))
        return;
    r->frames[r->depth++] = (struct frame){.element = (uint8_t)element, .row = (uint8_t)row};
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

static void end(struct reading *r)
{
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

static void add_text(struct reading *r, const char *text, size_t bytes)
{
    const enum element element = parent(r);

    if (element == NAME || element == METHOD_NAME || element == VALUE || element >= TEXT_STRING)
        xk_buf_add(&r->text, text, bytes);
}

/* ---- plain documents ---- */

enum { PLAIN, BLANK, TAG, AMPERSAND, BRACKET, WIDE, STRANGE };

/* What a byte of a text is. */
static const uint8_t kinds[256] = {
    [0 ... '\t' - 1] = STRANGE, ['\t' ... '\n'] = BLANK, ['\n' + 1 ... ' ' - 1] = STRANGE, [' '] = BLANK, ['<'] = TAG,
    ['&'] = AMPERSAND,          [']'] = BRACKET,         [0x80 ... 0xff] = WIDE,
};

/* &lt; and its like. returns   its bytes; 0: it is none of them. */
static size_t take_entity(struct reading *r, const char *at, size_t left)
{
    static const struct {
        const char *name;
        char c;
    } entities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};

    for (size_t i = 0; i < XK_COUNT(entities); i++) {
        const size_t bytes = strlen(entities[i].name);
        if (left >= bytes && memcmp(at, entities[i].name, bytes) == 0) {
            add_text(r, &entities[i].c, 1);
            return bytes;
        }
    }
    return 0;
}

/* Up to the next tag. returns   where that is; NULL: there is something else. */
static const char *scan_text(struct reading *r, const char *at, const char *last)
{
    const char *from = at;
    bool blank = true;

    while (at < last) {
        const uint8_t kind = kinds[(uint8_t)*at];
        uint32_t point = 0;
        int bytes = 1;
        if (kind == TAG)
            break;
        blank &= kind == BLANK;
        if (kind == STRANGE || (kind == BRACKET && last - at >= 3 && memcmp(at, "]]>", 3) == 0))
            return NULL;
        if (kind == WIDE) {
            bytes = xk_utf8_decode(&point, at, (size_t)(last - at));
            if (bytes < 0 || point == 0xfffe || point == 0xffff)
                return NULL;
        } else if (kind == AMPERSAND) {
            add_text(r, from, (size_t)(at - from));
            bytes = (int)take_entity(r, at, (size_t)(last - at));
            from = at + bytes;
        }
        if (bytes == 0)
            return NULL;
        at += bytes;
    }
    if (r->depth == 0)
        return blank ? at : NULL;
    add_text(r, from, (size_t)(at - from));
    return at;
}

/* A tag without attributes or blanks. returns   where it ends; NULL: it is another. */
static const char *scan_tag(struct reading *r, const char *at, const char *last)
{
    const bool closes = last - at > 1 && at[1] == '/';
    const char *const name = at + 1 + closes;
    const char *const stop_at = name < last ? memchr(name, '>', XK_MIN((size_t)(last - name), TAG_BYTES_MAX)) : NULL;

    if (!stop_at || stop_at == name)
        return NULL;
    const bool both = !closes && stop_at[-1] == '/';
    const size_t bytes = (size_t)(stop_at - name) - both;
    if (closes) {
        const size_t row = r->depth ? r->frames[r->depth - 1].row : 0;
        if (!r->depth || elements[row].bytes != bytes || memcmp(name, elements[row].name, bytes) != 0)
            return NULL;
    } else {
        begin(r, name, bytes);
    }
    if (!r->wrong && (closes || both))
        end(r);
    return r->wrong ? NULL : stop_at + 1;
}

/*
 * Read what servers and clients of the XenAPI write, without a parser of XML: elements without attributes, texts, five
 * entities. returns   false: there is more in it, or something is wrong.
 */
static bool scan(struct reading *r, const char *body, size_t bytes)
{
    static const char head[] = "<?xml version=\"1.0\"?>";
    const size_t skip = bytes >= sizeof(head) - 1 && memcmp(body, head, sizeof(head) - 1) == 0 ? sizeof(head) - 1 : 0;
    const char *at = body + skip, *const last = body + bytes;
    bool begun = false;

    while (at && at < last) {
        if (*at != '<') {
            at = scan_text(r, at, last);
        } else if (begun && r->depth == 0) {
            return false; /* a second document */
        } else {
            at = scan_tag(r, at, last);
            begun = true;
        }
    }
    return at && begun && r->depth == 0 && !r->text.error && !r->build.error;
}

/* ---- all others ---- */

static void XMLCALL on_start(void *context, const char *name, const char **attributes)
{
    begin(context, name, strlen(name));
}

static void XMLCALL on_end(void *context, const char *name)
{
    struct reading *const r = context;

    if (!r->wrong) /* an empty element still ends after the parser was stopped */
        end(r);
}

static void XMLCALL on_text(void *context, const char *text, int bytes)
{
    add_text(context, text, (size_t)bytes);
}

static void XMLCALL on_doctype(void *context, const char *name, const char *system, const char *public, int internal)
{
    stop(context, "it has a document type");
}

static int parse(struct reading *r, struct xapi_value *ret, const char *body, size_t bytes, struct xk_err *err)
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

static void reading_init(struct reading *r, struct xk_arena *arena, size_t bytes)
{
    *r = (struct reading){.arena = arena, .build = XAPI_BUILD_INIT(arena), .text = XK_BUF_INIT(bytes + 1)};
}

int xapi_xml_read(struct xapi_document *ret, struct xk_arena *arena, bool by_parser, const char *body, size_t bytes,
                  struct xk_err *err)
{
    struct reading r;

    reading_init(&r, arena, bytes);
    int code = by_parser || !scan(&r, body, bytes) || xapi_build_end(&r.build, &ret->params) < 0 ? 1 : 0;
    if (code == 1) {
        reading_done(&r);
        reading_init(&r, arena, bytes);
        code = parse(&r, &ret->params, body, bytes, err);
    }
    /* A call without parameters may leave <params> out. */
    if (code == -EBADMSG && r.method && !r.wrong && r.build.count == 0 && !r.response && r.depth == 0) {
        ret->params = xapi_list(NULL, 0);
        code = 0;
    }
    ret->method = r.method;
    ret->response = r.response;
    reading_done(&r);
    return code;
}
