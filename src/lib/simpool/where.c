/*
 * The expressions of get_all_records_where:
 *
 *     field "name__label" = "web-1" and not (field "power_state" = "Halted" or false)
 *
 * A recursive descent over the text for each object: expressions are short and objects few enough that a compiled form
 * would not be felt. Depth is limited. A field's parts are joined by "__" in the database and by "_" in records.
 */
#include "lib/simpool/inner.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX      64
#define WORD_BYTES_MAX 1024

struct scan {
    const struct xapi_class *class_row;
    const struct sim_object *o; /* NULL: the expression is only read */
    const char *at;
    unsigned depth;
    bool wrong;
};

static bool any_of(struct scan *s);

static void skip_space(struct scan *s)
{
    s->at += strspn(s->at, " \t\r\n");
}

static bool eat(struct scan *s, const char *word)
{
    const size_t len = strlen(word);

    skip_space(s);
    if (strncmp(s->at, word, len) != 0)
        return false;
    /* A word ends where another cannot go on. */
    if (word[0] >= 'a' && word[0] <= 'z' && ((s->at[len] >= 'a' && s->at[len] <= 'z') || s->at[len] == '_'))
        return false;
    s->at += len;
    return true;
}

static void quoted(struct scan *s, char ret[WORD_BYTES_MAX])
{
    size_t len = 0;

    ret[0] = '\0';
    skip_space(s);
    const char quote = *s->at;
    if (quote != '"' && quote != '\'') {
        s->wrong = true;
        return;
    }
    for (s->at++; *s->at && *s->at != quote; s->at++) {
        s->at += *s->at == '\\' && s->at[1];
        if (len < WORD_BYTES_MAX - 1)
            ret[len++] = *s->at;
    }
    ret[len] = '\0';
    if (*s->at++ != quote) {
        s->at--;
        s->wrong = true;
    }
}

/* A field as the database's text. */
static void field_text(struct scan *s, char ret[WORD_BYTES_MAX])
{
    char name[WORD_BYTES_MAX];
    size_t len = 0;

    quoted(s, name);
    for (const char *c = name; *c; c++)
        if (!(c[0] == '_' && c[1] == '_'))
            name[len++] = *c;
    name[len] = '\0';
    ret[0] = '\0';
    if (strcmp(name, "ref") == 0 || strcmp(name, "_ref") == 0) {
        snprintf(ret, WORD_BYTES_MAX, "%s", s->o ? s->o->ref : "");
        return;
    }
    const struct xapi_field *const field = xapi_field_find(s->class_row, name);
    if (!field || !s->o) {
        s->wrong |= !field;
        return;
    }
    const struct xapi_value *const v = &s->o->fields[field - xapi_fields - s->class_row->first_field]->value;
    if (v->shape == XAPI_TEXT || v->shape == XAPI_TIME)
        snprintf(ret, WORD_BYTES_MAX, "%s", v->text);
    else if (v->shape == XAPI_BOOL)
        snprintf(ret, WORD_BYTES_MAX, "%s", v->truth ? "true" : "false");
    else if (v->shape == XAPI_INT)
        snprintf(ret, WORD_BYTES_MAX, "%lld", (long long)v->integer);
    else if (v->shape == XAPI_REAL)
        snprintf(ret, WORD_BYTES_MAX, "%.16g", v->real);
}

static void operand(struct scan *s, char ret[WORD_BYTES_MAX])
{
    if (eat(s, "field"))
        field_text(s, ret);
    else
        quoted(s, ret);
}

static bool one(struct scan *s)
{
    char left[WORD_BYTES_MAX], right[WORD_BYTES_MAX];
    bool met;

    if (s->wrong || ++s->depth > DEPTH_MAX) {
        s->wrong = true;
        return false;
    }
    if (eat(s, "not")) {
        met = !one(s);
    } else if (eat(s, "true")) {
        met = true;
    } else if (eat(s, "false")) {
        met = false;
    } else if (eat(s, "(")) {
        met = any_of(s);
        s->wrong |= !eat(s, ")");
    } else {
        operand(s, left);
        s->wrong |= !eat(s, "=");
        operand(s, right);
        met = strcmp(left, right) == 0;
    }
    s->depth--;
    return met;
}

static bool all_of(struct scan *s)
{
    bool met = one(s);

    while (!s->wrong && eat(s, "and"))
        met = one(s) && met;
    return met;
}

static bool any_of(struct scan *s)
{
    bool met = all_of(s);

    while (!s->wrong && eat(s, "or"))
        met = all_of(s) || met;
    return met;
}

bool sim_where(const struct xapi_class *class_row, const struct sim_object *o, const char *expression, bool *wrong)
{
    struct scan s = {.class_row = class_row, .o = o, .at = expression};
    const bool met = any_of(&s);

    skip_space(&s);
    *wrong |= s.wrong || *s.at;
    return met && !*wrong;
}
