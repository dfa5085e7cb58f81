/*
 * A XenServer database as it lies in a server status report: xapi-db.xml.
 *
 *     <database><manifest><pair key= value=/>…</manifest><table name="VM"><row ref= __ctime= __mtime= FIELD= …/>…
 *
 * Each field is an attribute, named by the words of its path with "__" between them. In its value, %. %t %n %r and %%
 * stand for blank, TAB, newline, carriage return and the percent sign. Sets and maps are S-expressions of texts in
 * quotes, in which a backslash keeps the next character as it is: ('a' 'b'), (('k' 'v') ('l' 'w')). Sets that are the
 * other end of a ref are not kept by the real server, and are derived again.
 *
 * expat reads in pieces; a document type is refused when it begins, so there are no entities.
 */
#include "lib/simpool/load.h"

#include "core/text.h"

#include <expat.h>
#include <string.h>

#define PIECE_BYTES 65536
#define DEEP_MAX    8

struct in {
    struct sim_load *load;
    XML_Parser parser;
    struct xk_err *err;
    const struct xapi_class *row; /* of the open table */
    unsigned depth;
    bool in_table;
    int code;
    struct xk_buf text; /* a value without its escapes */
};

static void stop(struct in *in, int code, const char *what)
{
    if (in->code == 0)
        in->code = code == -ENOMEM ? xk_fail_memory(in->err)
                                   : xk_fail(in->err, code, "line %lu: %s",
                                             (unsigned long)XML_GetCurrentLineNumber(in->parser), what);
    (void)XML_StopParser(in->parser, XML_FALSE);
}

/* ---- values ---- */

/* Percent signs back into what they stand for. Ones that stand for nothing stay, as the real server lets them. */
static const char *unprotect(struct in *in, const char *text)
{
    static const char letters[] = ".tnr%_", bytes[] = " \t\n\r% ";

    if (!strchr(text, '%'))
        return text;
    xk_buf_reset(&in->text);
    for (const char *at = text; *at; at++) {
        const char *const letter = *at == '%' && at[1] ? strchr(letters, at[1]) : NULL;
        xk_buf_add_char(&in->text, letter ? bytes[letter - letters] : *at);
        /* "%_" was written for two blanks by releases of long ago. */
        if (letter && at[1] == '_')
            xk_buf_add_char(&in->text, ' ');
        at += letter != NULL;
    }
    return in->text.error ? NULL : xk_buf_str(&in->text);
}

struct sexpr {
    const char *at;
    struct xk_arena *arena;
    bool bad;
};

static void skip_blanks(struct sexpr *s)
{
    s->at += strspn(s->at, " \t\r\n");
}

static bool take(struct sexpr *s, char wanted)
{
    skip_blanks(s);
    if (*s->at != wanted)
        return false;
    s->at++;
    return true;
}

/* A text in quotes, without its escapes. The server writes single ones, and reads both. */
static const char *take_text(struct sexpr *s)
{
    const char quote = take(s, '"') ? '"' : '\'';

    if (quote == '\'' && !take(s, quote)) {
        s->bad = true;
        return "";
    }
    size_t len = 0;
    while (s->at[len] && s->at[len] != quote)
        len += s->at[len] == '\\' && s->at[len + 1] ? 2 : 1;
    char *const text = xk_arena_alloc(s->arena, len + 1);
    if (!text || !s->at[len]) {
        s->bad = true;
        return "";
    }
    char *out = text;
    for (size_t i = 0; i < len; i++) {
        i += s->at[i] == '\\' && i + 1 < len;
        *out++ = s->at[i];
    }
    *out = '\0';
    s->at += len + 1;
    return text;
}

/* A text as the type that it has in the model; what needs no more than a text stays one, and is looked at later. */
static void push_leaf(struct xapi_build *b, uint16_t type, const char *text)
{
    if (xapi_type_of(type)->kind == XAPI_BOOLEAN && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
        xapi_build_value(b, xapi_bool(*text == 't'));
    else
        xapi_build_text(b, text);
}

/* returns 0; -EINVAL: not what the type asks for; -ENOMEM. */
static int read_value(struct xapi_value *ret, struct xk_arena *arena, uint16_t type, const char *text)
{
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(arena);
    const struct xapi_type *const t = xapi_type_of(type);
    const bool map = t->kind == XAPI_DICT, group = map || t->kind == XAPI_SET || t->kind == XAPI_OPTION;
    struct sexpr s = {.at = text, .arena = arena};

    if (!group) {
        push_leaf(&b, type, text);
        return xapi_build_end(&b, ret);
    }
    /* A field that the database never had a value for. */
    if (*text == '\0')
        text = s.at = "()";
    if (!take(&s, '('))
        return -EINVAL;
    xapi_build_open(&b, map ? XAPI_MAP : XAPI_LIST);
    while (!s.bad && !b.error && !take(&s, ')')) {
        s.bad |= map && !take(&s, '(');
        push_leaf(&b, t->of, take_text(&s));
        if (map) {
            push_leaf(&b, t->to, take_text(&s));
            s.bad |= !take(&s, ')');
        }
    }
    xapi_build_close(&b);
    skip_blanks(&s);
    const int code = xapi_build_end(&b, ret);
    return code == -ENOMEM ? code : s.bad || *s.at || code < 0 ? -EINVAL : 0;
}

static void read_field(struct in *in, const char *name, const char *protected)
{
    struct sim_load *const l = in->load;
    const unsigned place = sim_load_place(l, name);

    if (place == XAPI_NONE)
        return;
    const char *const text = unprotect(in, protected);
    if (!text)
        return stop(in, in->text.error, "a value that is too long");
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(SIM_LOAD_RECORD_MAX);
    struct xapi_value v;
    int code = read_value(&v, &arena, xapi_fields[l->row->first_field + place].type, text);
    if (code == -EINVAL)
        sim_load_wrong(l);
    if (code == 0)
        code = sim_load_value(l, place, &arena, &v);
    if (code == -ENOMEM)
        stop(in, code, "");
}

/* ---- elements ---- */

static const char *attribute(const char **attributes, const char *name)
{
    for (; *attributes; attributes += 2)
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    return NULL;
}

static void read_row(struct in *in, const char **attributes)
{
    const char *const ref = attribute(attributes, "ref"), *const other = attribute(attributes, "_ref");
    int code = sim_load_begin(in->load, in->row);

    if (!ref && !other)
        return stop(in, -EBADMSG, "a row without a ref");
    if (code < 0)
        return stop(in, code, "more objects than a pool can have");
    for (size_t i = 0; in->row && attributes[i] && in->code == 0; i += 2)
        read_field(in, attributes[i], attributes[i + 1]);
    code = in->code == 0 ? sim_load_end(in->load, ref ? ref : other) : 0;
    if (code < 0)
        stop(in, code, "");
}

static void on_start(void *context, const char *name, const char **attributes)
{
    struct in *const in = context;

    if (in->code < 0)
        return;
    if (++in->depth > DEEP_MAX)
        return stop(in, -EBADMSG, "it is nested too deeply");
    if (in->depth == 1) {
        if (strcmp(name, "database") != 0)
            return stop(in, -EBADMSG, "this is no XenServer database");
    } else if (in->depth == 2 && strcmp(name, "table") == 0) {
        const char *const table = attribute(attributes, "name");
        if (!table)
            return stop(in, -EBADMSG, "a table without a name");
        in->row = sim_load_class_find(in->load, table);
        in->in_table = true;
    } else if (in->depth == 3 && in->in_table && strcmp(name, "row") == 0) {
        read_row(in, attributes);
    } else if (in->in_table) {
        stop(in, -EBADMSG, "a table has rows and nothing else");
    }
}

static void on_end(void *context, const char *name)
{
    struct in *const in = context;

    if (--in->depth == 1)
        in->in_table = false;
}

static void on_doctype(void *context, const char *name, const char *system_id, const char *public_id, int has_subset)
{
    stop(context, -EBADMSG, "a document type is not accepted");
}

static int feed(struct in *in, const struct xk_file *file)
{
    uint64_t offset = 0;
    bool last = false;

    while (in->code == 0 && !last) {
        void *const piece = XML_GetBuffer(in->parser, PIECE_BYTES);
        if (!piece)
            return xk_fail_memory(in->err);
        const ssize_t got = xk_file_read_some(file, piece, PIECE_BYTES, offset, in->err);
        if (got < 0)
            return (int)got;
        offset += (uint64_t)got;
        last = got == 0;
        if (XML_ParseBuffer(in->parser, (int)got, last) == XML_STATUS_ERROR && in->code == 0) {
            const enum XML_Error wrong = XML_GetErrorCode(in->parser);
            return wrong == XML_ERROR_NO_MEMORY
                       ? xk_fail_memory(in->err)
                       : xk_fail(in->err, -EBADMSG, "line %lu: %s", (unsigned long)XML_GetCurrentLineNumber(in->parser),
                                 XML_ErrorString(wrong));
        }
        /* A tag that never ends would be gathered without a limit. */
        if (offset > SIM_LOAD_ROW_MAX + (uint64_t)XML_GetCurrentByteIndex(in->parser))
            return xk_fail(in->err, -EBADMSG, "a row of more than %u MiB", SIM_LOAD_ROW_MAX >> 20);
    }
    return in->code;
}

int sim_load_xml(struct sim_load *l, const struct xk_file *file, struct xk_err *err)
{
    struct in in = {.load = l, .err = err, .text = XK_BUF_INIT(SIM_LOAD_TEXT_MAX), .parser = XML_ParserCreate(NULL)};

    if (!in.parser)
        return xk_fail_memory(err);
    XML_SetUserData(in.parser, &in);
    XML_SetElementHandler(in.parser, on_start, on_end);
    XML_SetStartDoctypeDeclHandler(in.parser, on_doctype);
    const int code = feed(&in, file);
    XML_ParserFree(in.parser);
    xk_buf_done(&in.text);
    return code;
}
