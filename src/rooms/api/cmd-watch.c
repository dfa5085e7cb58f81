/*
 * `xenkit api watch`: what changes in a pool, a line for each change, with what it was before.
 *
 * event.from tells the new record only; so the last one of every object is kept here, which also is how the first
 * answer (all objects there are) is used.
 */
#include "rooms/api/api.h"

#include "core/text.h"
#include "lib/xapi/wire.h"

#include <stdio.h>
#include <string.h>

#define CLASSES_MAX    64
#define OBJECTS_MAX    (1u << 22)
#define TURN_BYTES_MAX (UINT64_C(2) << 30)
#define WAIT_NS        (30 * XK_NS_PER_S)
#define AGAIN_NS       XK_NS_PER_S
#define CHANGE_BYTES   120 /* of one value in a table */
#define CHANGES_MAX    (1u << 20)

struct watch {
    struct client_access access;
    const char *pool;
    bool initial, records;
    uint64_t count, time_ns;
};

static const struct xk_opt watch_opts[] = {
    XK_OPT_TEXT(0, "pool", struct watch, pool, "POOL",
                "URL or HOST[:PORT] of the pool [XENKIT_POOL, or the kept session's]"),
    XK_OPT_U64('n', "count", struct watch, count, "N", 0, 0, "end after N events [0: never]"),
    XK_OPT_DURATION(0, "for", struct watch, time_ns, "TIME", "end after TIME [never]"),
    XK_OPT_FLAG(0, "initial", struct watch, initial, "begin with all objects that there are"),
    XK_OPT_FLAG(0, "records", struct watch, records, "with JSON: the whole new record of each event"),
    CLIENT_ACCESS_OPTS(struct watch, access),
    XK_OPT_END,
};

/* ---- the last record of every object ---- */

struct object {
    char *ref;
    struct xapi_packed *record;
};

struct objects {
    struct object *slots; /* open addressing; ref NULL: free */
    size_t count, capacity;
};

static uint64_t hash(const char *text)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
    return h;
}

static struct object *find(const struct objects *o, const char *ref)
{
    size_t at = hash(ref) & (o->capacity - 1);

    while (o->slots[at].ref && strcmp(o->slots[at].ref, ref) != 0)
        at = (at + 1) & (o->capacity - 1);
    return &o->slots[at];
}

static int grow(struct objects *o)
{
    struct objects larger = {.capacity = o->capacity ? 2 * o->capacity : 1024, .count = o->count};

    if (larger.capacity > OBJECTS_MAX)
        return -E2BIG;
    larger.slots = xk_array_alloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < o->capacity; i++)
        if (o->slots[i].ref)
            *find(&larger, o->slots[i].ref) = o->slots[i];
    free(o->slots);
    *o = larger;
    return 0;
}

static void objects_done(struct objects *o)
{
    for (size_t i = 0; i < o->capacity; i++) {
        free(o->slots[i].ref);
        xapi_packed_unref(o->slots[i].record);
    }
    free(o->slots);
}

/* The place of an object. A removed one keeps its place without a record, so that probing goes on past it. */
static struct object *place(struct objects *o, const char *ref, int *ret_code)
{
    *ret_code = 2 * o->count >= o->capacity ? grow(o) : 0;
    struct object *const found = *ret_code == 0 ? find(o, ref) : NULL;
    if (found && !found->ref) {
        found->ref = xk_strdup(ref);
        *ret_code = found->ref ? 0 : -ENOMEM;
        o->count += found->ref != NULL;
    }
    return *ret_code == 0 ? found : NULL;
}

/* ---- a line ---- */

static void add_value(struct xk_buf *b, const struct xapi_value *v)
{
    xk_auto(xk_buf_done) struct xk_buf json = XK_BUF_INIT(CHANGES_MAX);

    if (v->shape == XAPI_TEXT || v->shape == XAPI_TIME)
        xk_buf_add_str(&json, v->text);
    else
        xapi_json_value(&json, v);
    const char *const text = xk_buf_str(&json);
    const bool cut = strlen(text) > CHANGE_BYTES;
    int keep = cut ? CHANGE_BYTES : (int)strlen(text);
    while (cut && keep > 0 && ((unsigned char)text[keep] & 0xc0) == 0x80)
        keep--;
    xk_buf_printf(b, "%.*s%s", keep, text, cut ? "…" : "");
}

/* Of two sets of texts, what went and what came: they are often long, and change by one. */
static void add_set_change(struct xk_buf *b, const struct xapi_value *before, const struct xapi_value *after)
{
    const size_t began = b->len;

    for (size_t i = 0; i < before->count; i++)
        if (!xapi_list_has(after, xapi_value_text(&before->items[i])))
            xk_buf_printf(b, "%s-%s", b->len > began ? " " : "", xapi_value_text(&before->items[i]));
    for (size_t i = 0; i < after->count; i++)
        if (!xapi_list_has(before, xapi_value_text(&after->items[i])))
            xk_buf_printf(b, "%s+%s", b->len > began ? " " : "", xapi_value_text(&after->items[i]));
    if (b->len == began)
        xk_buf_add_str(b, "another order");
}

static void add_change(struct xk_buf *b, const struct xapi_value *before, const struct xapi_value *after)
{
    if (before->shape == XAPI_LIST && after->shape == XAPI_LIST)
        return add_set_change(b, before, after);
    add_value(b, before);
    xk_buf_add_str(b, " -> ");
    add_value(b, after);
}

/* The fields whose values differ, in turn. returns   whether there is one more. */
static bool next_change(size_t *at, const struct xapi_value *before, const struct xapi_value *after,
                        const char **ret_name, const struct xapi_value **ret_before,
                        const struct xapi_value **ret_after)
{
    for (; *at < after->count; ++*at) {
        *ret_name = after->items[2 * *at].text;
        *ret_after = &after->items[2 * *at + 1];
        *ret_before = xapi_map_get(before, *ret_name);
        if (*ret_before && !xapi_value_same(*ret_before, *ret_after)) {
            ++*at;
            return true;
        }
    }
    return false;
}

static void put_changes_as_text(struct xk_out *out, const struct xapi_value *before, const struct xapi_value *after)
{
    xk_auto(xk_buf_done) struct xk_buf b = XK_BUF_INIT(CHANGES_MAX);
    const struct xapi_value *was, *is;
    const char *name;

    for (size_t at = 0; before && next_change(&at, before, after, &name, &was, &is);) {
        xk_buf_printf(&b, "%s%s: ", b.len ? ", " : "", name);
        add_change(&b, was, is);
    }
    xk_put_str(out, "changes", b.len ? xk_buf_str(&b) : NULL);
}

static void put_changes(struct xk_out *out, const struct xapi_value *before, const struct xapi_value *after)
{
    const enum xk_out_format format = xk_out_format(out);
    const struct xapi_value *was, *is;
    const char *name;

    if (format != XK_OUT_JSON && format != XK_OUT_JSONL)
        return put_changes_as_text(out, before, after);
    xk_put_list(out, "changes");
    for (size_t at = 0; before && next_change(&at, before, after, &name, &was, &is);) {
        xk_put_record(out, NULL);
        xk_put_str(out, "field", name);
        api_put(out, "before", was);
        api_put(out, "after", is);
        xk_put_end(out);
    }
    xk_put_end(out);
}

static const char *name_of(const struct xapi_value *record)
{
    const char *const label = xapi_value_text(xapi_map_get(record, "name_label"));

    return *label ? label : xapi_value_text(xapi_map_get(record, "uuid"));
}

static void put_event(struct xk_app *app, const struct watch *opts, const struct xapi_value *event,
                      const struct xapi_value *before)
{
    const struct xapi_value *const after = xapi_map_get(event, "snapshot");
    const char *const name = name_of(after ? after : before);
    const char *const lower = xapi_value_text(xapi_map_get(event, "class"));
    const struct xapi_class *const c = xapi_class_find_any_case(lower);
    static const struct xapi_value nothing = {.shape = XAPI_MAP};

    xk_row(app->out);
    xk_put_time(app->out, "time", app->clock->utc_ns(app->clock) / (int64_t)XK_NS_PER_S);
    xk_put_str(app->out, "class", c ? xapi_text(c->name) : lower);
    xk_put_str(app->out, "operation", xapi_value_text(xapi_map_get(event, "operation")));
    xk_put_str(app->out, "name", *name ? name : NULL);
    put_changes(app->out, before, after ? after : &nothing);
    xk_put_str(app->out, "ref", xapi_value_text(xapi_map_get(event, "ref")));
    if (opts->records)
        api_put(app->out, "record", after ? after : &nothing);
}

/* ---- watching ---- */

struct watching {
    struct xk_app *app;
    const struct watch *opts;
    const char **classes;
    size_t class_count;
    struct objects objects;
    char token[CLIENT_TOKEN_BYTES];
    uint64_t told, deadline_ns;
    bool first;
};

/* Take an event in, and tell it if it is to be told. */
static int take(struct watching *w, const struct xapi_value *event, struct xk_err *err)
{
    const struct xapi_value *const after = xapi_map_get(event, "snapshot");
    int code = 0;
    struct object *const o = place(&w->objects, xapi_value_text(xapi_map_get(event, "ref")), &code);
    struct xapi_packed *const record = o && after ? xapi_pack(after) : NULL;

    if (!o || (after && !record))
        return code == -E2BIG ? xk_fail(err, code, "more objects than can be watched") : xk_fail_memory(err);
    const struct xapi_value *const before = o->record ? &o->record->value : NULL;
    const bool same = before && after && xapi_value_same(before, after);
    const bool known_add = before && strcmp(xapi_value_text(xapi_map_get(event, "operation")), "add") == 0;
    /* After a lost connection everything may come once more. */
    if ((!w->first || w->opts->initial) && !(same && known_add)) {
        put_event(w->app, w->opts, event, before);
        w->told++;
    }
    xapi_packed_unref(o->record);
    o->record = record;
    return 0;
}

static bool is_enough(const struct watching *w)
{
    return (w->opts->count && w->told >= w->opts->count) ||
           w->app->clock->monotonic_ns(w->app->clock) >= w->deadline_ns || xk_stop_signal();
}

static uint64_t wait_of(const struct watching *w)
{
    const uint64_t now_ns = w->app->clock->monotonic_ns(w->app->clock);

    return w->first ? 0 : XK_MIN(WAIT_NS, w->deadline_ns > now_ns ? w->deadline_ns - now_ns : 0);
}

static int turn(struct watching *w, struct client *c, struct xk_err *err)
{
    xk_auto(xk_arena_done) struct xk_arena arena = XK_ARENA_INIT(TURN_BYTES_MAX);
    struct xapi_value events;

    int code = client_events(c, &events, &arena, w->classes, w->class_count, w->token, wait_of(w), err);
    for (size_t i = 0; code == 0 && i < events.count && !(w->opts->count && w->told >= w->opts->count); i++)
        code = take(w, &events.items[i], err);
    if (code == 0) {
        w->first = false;
        xk_out_flush(w->app->out);
        code = xk_out_error(w->app->out);
    }
    return code;
}

/* A pool that restarts is waited for. */
static bool is_away(int code)
{
    return code == -ECONNRESET || code == -ECONNREFUSED || code == -ETIMEDOUT || code == -EHOSTUNREACH;
}

static int watch(struct watching *w, struct client *c, struct xk_err *err)
{
    bool away = false;

    xk_out_rows(w->app->out, "events");
    while (!is_enough(w)) {
        const int code = turn(w, c, err);
        if (code == -EINTR)
            break;
        if (code < 0 && (w->first || !is_away(code)))
            return code;
        if (code < 0) {
            if (!away)
                xk_log(w->app->log, XK_LOG_WARN, "%s; trying again", err->text);
            w->app->clock->sleep_ns(w->app->clock, AGAIN_NS);
        } else if (away) {
            xk_log(w->app->log, XK_LOG_WARN, "%s answers again", client_url(c));
        }
        away = code < 0;
    }
    xk_err_clear(err);
    xk_out_end(w->app->out);
    return XK_EXIT_OK;
}

/* "VM", "vm/OpaqueRef:…", "*": what event.from takes. */
static int check_class(const char *word, struct xk_err *err)
{
    const char *names[128];
    char name[64];
    size_t count = 0;

    snprintf(name, sizeof(name), "%.*s", (int)XK_MIN(strcspn(word, "/"), sizeof(name) - 1), word);
    if (strcmp(word, "*") == 0 || xapi_class_find_any_case(name))
        return 0;
    for (size_t i = 0; i < xapi_class_count && count < XK_COUNT(names); i++)
        names[count++] = xapi_text(xapi_classes[i].name);
    const char *const near = xk_nearest(name, names, count, sizeof(*names));
    (void)xk_fail(err, -EINVAL, "there is no class \"%s\"", name);
    xk_err_exit(err, XK_EXIT_USAGE);
    if (near)
        xk_err_hint(err, "did you mean %s?", near);
    return -EINVAL;
}

static bool is_class(const char *word)
{
    return check_class(word, NULL) == 0;
}

static int run(struct xk_app *app, const struct xk_args *args, struct xk_err *err)
{
    static const char *const all[] = {"*"};
    const struct watch *const opts = args->opts;
    const bool first = !opts->pool && args->count > 0 && !is_class(args->operands[0]) &&
                       api_is_pool(args->operands[0], args->count == 1 || is_class(args->operands[1]));
    struct watching w = {.app = app,
                         .opts = opts,
                         .classes = args->operands + first,
                         .class_count = (size_t)args->count - first,
                         .deadline_ns = UINT64_MAX,
                         .first = true};
    xk_auto(client_closep) struct client *c = NULL;

    if (w.class_count == 0) {
        w.classes = (const char **)(uintptr_t)all;
        w.class_count = 1;
    }
    int code = 0;
    for (size_t i = 0; i < w.class_count && code == 0; i++)
        code = check_class(w.classes[i], err);
    if (code == 0 && opts->records && xk_out_format(app->out) != XK_OUT_JSON &&
        xk_out_format(app->out) != XK_OUT_JSONL) {
        code = xk_fail(err, -EINVAL, "--records is for --json and --jsonl");
        xk_err_exit(err, XK_EXIT_USAGE);
    }
    if (code == 0)
        code = client_open(&c, app, first ? args->operands[0] : opts->pool, &opts->access,
                           &(struct client_manner){.originator = API_ORIGINATOR}, err);
    if (opts->time_ns)
        w.deadline_ns = app->clock->monotonic_ns(app->clock) + opts->time_ns;
    if (code == 0)
        code = watch(&w, c, err);
    objects_done(&w.objects);
    return code;
}

static const struct watch defaults = {.access = CLIENT_ACCESS_DEFAULTS};
static const char *const example[] = {"--for", "1s", "VM", NULL};

const struct xk_command api_cmd_watch = {
    .name = "watch",
    .summary = "tell what changes in a pool, and from what to what",
    .operands = "[POOL] [CLASS…]",
    .max_operands = CLASSES_MAX,
    .opts = watch_opts,
    .defaults = &defaults,
    .opts_bytes = sizeof(struct watch),
    .run = run,
    .kind = XK_SERVER,
    .example = example,
    .complete = api_offer_classes,
    .help = "A CLASS is a name in any case, CLASS/REF for one object, or * for all. Runs until it is stopped.",
};
