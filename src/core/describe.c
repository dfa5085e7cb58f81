/*
 * xenkit --describe: every table as JSON, for completion of others, for the contract test and for people who write
 * wrappers. Nothing here is known from elsewhere than the rows that parsing uses.
 */
#include "core/door.h"

#include "core/json.h"

#define DESCRIBE_BYTES_MAX (16 * XK_MIB)

static void put_strings(struct xk_json *j, const char *key, const char *const *words)
{
    if (!words) {
        xk_json_null(j, key);
        return;
    }
    xk_json_array(j, key);
    for (; *words; words++)
        xk_json_str(j, NULL, *words);
    xk_json_end(j);
}

static void put_option(struct xk_json *j, const struct xk_opt *o)
{
    const char letter[2] = {o->letter, '\0'};
    char label[128];
    const bool limited = o->kind == XK_OPT_KIND_U64 || o->kind == XK_OPT_KIND_SIZE || o->kind == XK_OPT_KIND_DURATION ||
                         o->kind == XK_OPT_KIND_RATE;

    xk_opt_label(label, sizeof(label), o);
    xk_json_object(j, NULL);
    xk_json_str(j, "name", o->name);
    xk_json_str(j, "letter", o->letter ? letter : NULL);
    xk_json_str(j, "label", label);
    xk_json_str(j, "kind", xk_opt_kind_name(o->kind));
    xk_json_str(j, "arg", o->arg);
    xk_json_str(j, "help", o->help);
    if (o->kind == XK_OPT_KIND_FLAG)
        xk_json_bool(j, "default", o->min != 0);
    if (o->choices)
        put_strings(j, "choices", o->choices);
    if (limited && o->min)
        xk_json_u64(j, "min", o->min);
    if (limited && o->max)
        xk_json_u64(j, "max", o->max);
    xk_json_end(j);
}

static void put_options(struct xk_json *j, const char *key, const struct xk_opt *opts)
{
    xk_json_array(j, key);
    for (const struct xk_opt *o = opts; o && o->kind != XK_OPT_KIND_END; o++)
        put_option(j, o);
    xk_json_end(j);
}

static void put_exits(struct xk_json *j, const char *key, const struct xk_exit_row *rows)
{
    xk_json_array(j, key);
    for (const struct xk_exit_row *e = rows; e && e->meaning; e++) {
        xk_json_object(j, NULL);
        xk_json_i64(j, "status", e->status);
        xk_json_str(j, "meaning", e->meaning);
        xk_json_end(j);
    }
    xk_json_end(j);
}

static void put_command(struct xk_json *j, const struct xk_room *room, const struct xk_command *c)
{
    xk_json_object(j, NULL);
    xk_json_str(j, "name", c->name);
    xk_json_array(j, "words");
    xk_json_str(j, NULL, room->name);
    if (!room->plain)
        xk_json_str(j, NULL, c->name);
    xk_json_end(j);
    xk_json_str(j, "summary", c->summary);
    xk_json_str(j, "kind", xk_kind_name(c->kind));
    xk_json_bool(j, "raw", c->raw);
    xk_json_str(j, "operands", c->operands);
    xk_json_i64(j, "min_operands", c->min_operands);
    if (c->max_operands < 0)
        xk_json_null(j, "max_operands");
    else
        xk_json_i64(j, "max_operands", c->max_operands);
    put_options(j, "options", c->opts);
    put_exits(j, "exits", c->exits);
    put_strings(j, "example", c->example);
    xk_json_end(j);
}

static void put_room(struct xk_json *j, const struct xk_room *room)
{
    xk_json_object(j, NULL);
    xk_json_str(j, "name", room->name);
    xk_json_str(j, "summary", room->summary);
    xk_json_bool(j, "plain", room->plain);
    xk_json_array(j, "commands");
    for (const struct xk_command *const *c = room->commands; *c; c++)
        put_command(j, room, *c);
    xk_json_end(j);
    xk_json_array(j, "classics");
    for (const struct xk_classic *const *c = room->classics; c && *c; c++) {
        xk_json_object(j, NULL);
        xk_json_str(j, "name", (*c)->name);
        xk_json_str(j, "summary", (*c)->summary);
        xk_json_str(j, "kind", xk_kind_name((*c)->kind));
        put_exits(j, "exits", (*c)->exits);
        xk_json_end(j);
    }
    xk_json_end(j);
    xk_json_end(j);
}

static void put_rooms(struct xk_json *j, const char *key, const struct xk_room *const *rooms)
{
    xk_json_array(j, key);
    for (; *rooms; rooms++)
        put_room(j, *rooms);
    xk_json_end(j);
}

int xk_describe(struct xk_out *out, const struct xk_app *app, struct xk_err *err)
{
    struct xk_buf text;
    struct xk_json j;

    xk_buf_init(&text, DESCRIBE_BYTES_MAX);
    xk_json_init(&j, &text, 2);
    xk_json_object(&j, NULL);
    xk_json_str(&j, "name", "xenkit");
    xk_json_str(&j, "version", XK_VERSION);
    put_options(&j, "common_options", xk_common_opts);
    put_exits(&j, "common_exits", xk_common_exits);
    put_rooms(&j, "rooms", app->rooms);
    put_rooms(&j, "house", xk_house_rooms);
    xk_json_end(&j);
    xk_buf_add_char(&text, '\n');
    const int error = text.error;
    if (!error)
        xk_out_raw(out, text.data, text.len);
    xk_buf_done(&text);
    return error ? xk_fail_sys(err, error, "cannot describe the rooms") : 0;
}
