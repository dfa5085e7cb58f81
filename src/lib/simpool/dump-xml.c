/*
 * GET /pool/xmldbdump: the database as the real server keeps it, the XML that load-xml.c tells of and --load takes.
 *
 * Made as a whole: a pool of ten thousand machines is some 100 MB, once for whoever asks for it. Sets that are the
 * other end of a ref are left out, as there. The data model has no paths, so which names are of two words stands here.
 *
 * Facts: xapi's pool_db_backup.ml, db_xml.ml, xml_spaces.ml and the namespaces of its datamodel (2026-08).
 */
#include "lib/simpool/state.h"

#include "lib/simpool/transfer.h"

#include <stdio.h>
#include <string.h>

#define SCHEMA_MAJOR 5
#define SCHEMA_MINOR 909

/* Fields that begin so have a path: "name_label" is name/label. */
static const struct {
    const char *class_name; /* NULL: of any class */
    const char *words;
} spaces[] = {{NULL, "name_label"}, {NULL, "name_description"}, {NULL, "API_version_"},
              {NULL, "VCPUs_"},     {NULL, "memory_"},          {NULL, "qos_"},
              {NULL, "io_"},        {"VM", "actions_"},         {"VM", "PV_"},
              {"VM", "HVM_"}};

/* ---- names and values ---- */

static void put_name(struct xk_buf *b, const char *class_name, const char *field)
{
    for (size_t i = 0; i < XK_COUNT(spaces); i++) {
        if (strncmp(field, spaces[i].words, strlen(spaces[i].words)) != 0 ||
            (spaces[i].class_name && strcmp(class_name, spaces[i].class_name) != 0))
            continue;
        /* The one word that has an underscore of its own. */
        const char *const end =
            strncmp(field, "API_version_", 12) == 0 ? field + strlen("API_version") : strchr(field, '_');
        xk_buf_add(b, field, (size_t)(end - field));
        xk_buf_add_char(b, '_');
        field = end;
        break;
    }
    xk_buf_add_str(b, field);
}

/* In an attribute, with blanks protected; `deep`: in quotes of an S-expression, too. */
static void put_text(struct xk_buf *b, const char *text, bool deep)
{
    static const char plain[] = " \t\n\r%", letters[] = ".tnr%";

    for (const char *at = text; *at; at++) {
        const char *const blank = strchr(plain, *at);
        if (deep && (*at == '\'' || *at == '\\'))
            xk_buf_add_char(b, '\\');
        if (blank) {
            xk_buf_add_char(b, '%');
            xk_buf_add_char(b, letters[blank - plain]);
        } else if (*at == '<' || *at == '>' || *at == '&' || *at == '"') {
            xk_buf_add_str(b, *at == '<' ? "&lt;" : *at == '>' ? "&gt;" : *at == '&' ? "&amp;" : "&quot;");
        } else if ((unsigned char)*at >= ' ') { /* XML has no other control characters */
            xk_buf_add_char(b, *at);
        }
    }
}

static void put_leaf(struct xk_buf *b, const struct xapi_value *v, bool deep)
{
    char text[64];

    if (v->shape == XAPI_TEXT || v->shape == XAPI_TIME)
        return put_text(b, xapi_value_text(v), deep);
    if (v->shape == XAPI_INT)
        snprintf(text, sizeof(text), "%lld", (long long)v->integer);
    else if (v->shape == XAPI_REAL)
        snprintf(text, sizeof(text), "%.16g", v->real);
    else
        snprintf(text, sizeof(text), "%s", v->shape == XAPI_BOOL && v->truth ? "true" : "false");
    put_text(b, text, deep);
}

static void put_quoted(struct xk_buf *b, const struct xapi_value *v)
{
    xk_buf_add_char(b, '\'');
    put_leaf(b, v, true);
    xk_buf_add_char(b, '\'');
}

static void put_value(struct xk_buf *b, const struct xapi_value *v)
{
    if (v->shape != XAPI_LIST && v->shape != XAPI_MAP)
        return put_leaf(b, v, false);
    xk_buf_add_char(b, '(');
    for (size_t i = 0; i < v->count; i++) {
        xk_buf_add_str(b, i > 0 ? "%." : "");
        if (v->shape == XAPI_LIST) {
            put_quoted(b, &v->items[i]);
            continue;
        }
        xk_buf_add_char(b, '(');
        put_quoted(b, &v->items[2 * i]);
        xk_buf_add_str(b, "%.");
        put_quoted(b, &v->items[2 * i + 1]);
        xk_buf_add_char(b, ')');
    }
    xk_buf_add_char(b, ')');
}

/* ---- rows ---- */

/* The many ends of refs are derived. */
static bool is_kept(const struct xapi_field *field)
{
    return field->other == XAPI_NONE || xapi_type_of(field->type)->kind != XAPI_SET ||
           xapi_type_of(xapi_fields[field->other].type)->kind == XAPI_SET;
}

static void put_row(struct xk_buf *b, const struct sim_object *o)
{
    const struct xapi_class *const row = o->class_row;

    xk_buf_printf(b, "<row ref=\"%s\" __ctime=\"%llu\" __mtime=\"%llu\" _ref=\"%s\"", o->ref,
                  (unsigned long long)o->created, (unsigned long long)o->modified, o->ref);
    for (unsigned i = 0; i < row->fields; i++) {
        const struct xapi_field *const field = &xapi_fields[row->first_field + i];
        if (!is_kept(field))
            continue;
        xk_buf_add_char(b, ' ');
        put_name(b, xapi_text(row->name), xapi_text(field->name));
        xk_buf_add_str(b, "=\"");
        put_value(b, &o->fields[i]->value);
        xk_buf_add_char(b, '"');
    }
    xk_buf_add_str(b, "/>");
}

void sim_database_text(struct simpool *p, struct xk_buf *b, bool secrets)
{
    xk_buf_printf(b,
                  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<database><manifest><pair key=\"schema_major_vsn\" "
                  "value=\"%d\"/><pair key=\"schema_minor_vsn\" value=\"%d\"/><pair key=\"generation_count\" "
                  "value=\"%llu\"/></manifest>",
                  SCHEMA_MAJOR, SCHEMA_MINOR, (unsigned long long)p->generation);
    for (unsigned i = 0; i < xapi_class_count; i++) {
        const struct xapi_class *const row = &xapi_classes[i];
        const bool rows = sim_state_keeps(row) && (secrets || !sim_same(xapi_text(row->name), "secret"));
        if (!(row->flags & XAPI_CLASS_DATABASE))
            continue;
        xk_buf_printf(b, "<table name=\"%s\">", xapi_text(row->name));
        for (const struct sim_object *o = rows ? p->classes[i].first : NULL; o; o = o->class_next)
            put_row(b, o);
        xk_buf_add_str(b, "</table>");
    }
    xk_buf_add_str(b, "</database>");
}

void sim_database_dump(struct simpool *p, struct http_exchange *x)
{
    struct xk_buf b = XK_BUF_INIT(SIM_REPLY_BYTES_MAX);

    sim_database_text(p, &b, true);
    sim_request_answer(p, x, &(struct http_reply){.status = 200, .headers = "", .close = true}, &b);
}
