/*
 * The commands that every kind of object has: NAME-list, NAME-param-list, -get, -set, -add, -remove, -clear. Which of
 * them a kind has follows from what its fields can do.
 */
#include "lib/xe/inner.h"

#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX 1024

bool xe_in_list(const char *list, const char *word)
{
    const size_t len = strlen(word);

    for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, word, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

/* ---- showing ---- */

void xe_field_line(struct xe *x, struct xe_object *o, const struct xe_field *field, struct xe_pair *ret)
{
    const unsigned flags = field->flags;
    const char *const kind = flags & XE_SET    ? flags & XE_SET_RW ? " (SRW)" : " (SRO)"
                             : flags & XE_DICT ? flags & XE_DICT_RW ? " (MRW)" : " (MRO)"
                             : field->writer   ? " ( RW)"
                                               : " ( RO)";

    ret->name =
        xk_arena_printf(&x->arena, "%s%s%s", xe_text(field->name), kind, flags & XE_DEPRECATED ? " [DEPRECATED]" : "");
    ret->value = xe_field_show(x, o, field);
    if (!ret->name)
        xe_fail_memory(x);
}

struct view {
    const char *columns; /* with commas; NULL: all */
    bool no_hidden, no_expensive;
};

static void show_record(struct xe *x, struct xe_object *o, const struct view *view)
{
    struct xe_pair pairs[160];
    size_t count = 0;

    for (size_t i = 0; i < o->kind->fields && count < XK_COUNT(pairs) && xe_fine(x); i++) {
        const struct xe_field *const field = &xe_fields[o->kind->first_field + i];
        if ((view->no_hidden && field->flags & XE_HIDDEN) ||
            (view->columns && !xe_in_list(view->columns, xe_text(field->name))))
            continue;
        if (view->no_expensive && field->flags & XE_EXPENSIVE) {
            /* Its kind is told, its value would cost a call. */
            const struct xe_field cheap = {
                .name = field->name, .flags = field->flags, .writer = field->writer, .form = XE_SPECIAL};
            xe_field_line(x, o, &cheap, &pairs[count]);
            pairs[count++].value = "<expensive field>";
            continue;
        }
        xe_field_line(x, o, field, &pairs[count++]);
    }
    xe_table_record(x, pairs, count);
}

/* "all" chooses all of them; nothing chooses the usual ones. */
static const char *chosen_columns(const char *chosen, const char *usual)
{
    if (!chosen)
        return *usual ? usual : NULL;
    return strcmp(chosen, "all") == 0 ? NULL : chosen;
}

void xe_print_object(struct xe *x, struct xe_object *o, const char *chosen, const char *usual)
{
    const struct view view = {.columns = chosen_columns(chosen, usual)};

    show_record(x, o, &view);
}

static bool is_filter(const char *name)
{
    return strcmp(name, "params") != 0 && !xe_is_standard_param(name) && !xk_has_prefix(name, "database:");
}

static void drop_roles_that_are_permissions(struct xe_objects *roles)
{
    size_t kept = 0;

    for (size_t i = 0; i < roles->count; i++) {
        const struct xapi_value *const below = xapi_map_get(&roles->items[i].record, "subroles");
        if (below && below->count > 0)
            roles->items[kept++] = roles->items[i];
    }
    roles->count = kept;
}

static void list(struct xe *x, const struct xe_listing *listing)
{
    const struct xe_record *const kind = &xe_records[listing->record];
    struct xe_objects objects = xe_all(x, xe_text(kind->name), xe_text(kind->class_name), "true");

    if (strcmp(xe_text(listing->name), "role") == 0)
        drop_roles_that_are_permissions(&objects);
    const struct xe_objects all = objects;
    struct xe_object *const copy = xk_arena_alloc(&x->arena, (all.count + 1) * sizeof(*copy));
    if (!copy)
        return xe_fail_memory(x);
    if (all.count > 0)
        memcpy(copy, all.items, all.count * sizeof(*copy));
    objects.items = copy;
    const struct xapi_value own = xe_split(x, xe_text(listing->filters), ',');
    for (uint32_t i = 0; i < own.count; i++) {
        const struct xapi_value halves = xe_split(x, own.items[i].text, '=');
        if (halves.count == 2)
            xe_filter(x, &objects, halves.items[0].text, halves.items[1].text);
    }
    for (size_t i = 0; i < x->param_count; i++)
        if (is_filter(x->params[i].name))
            xe_filter(x, &objects, x->params[i].name, x->params[i].value);
    const bool everything = xe_param_bool(x, "all", false);
    const struct xe_objects *const shown = everything ? &all : &objects;
    const struct view view = {.columns = chosen_columns(xe_param(x, "params"), xe_text(listing->columns)),
                              .no_hidden = true,
                              .no_expensive = true};
    xe_table_begin(x);
    for (size_t i = 0; i < shown->count && xe_fine(x); i++)
        show_record(x, &shown->items[i], &view);
    xe_table_end(x);
}

/* ---- one object ---- */

static struct xe_object the_object(struct xe *x, const struct xe_listing *listing)
{
    const struct xe_record *const kind = &xe_records[listing->record];
    const char *const uuid = xe_required(x, "uuid");

    return (struct xe_object){.kind = kind, .ref = xe_by_uuid(x, xe_text(kind->class_name), uuid)};
}

static const struct xe_field *the_field(struct xe *x, const struct xe_object *o)
{
    const char *const name = xe_required(x, "param-name");
    const struct xe_field *const field = xe_fine(x) ? xe_field_find(o->kind, name) : NULL;

    if (!field)
        xe_fail_other(x, XE_NO_FIELD, name);
    return field;
}

static void param_list(struct xe *x, const struct xe_listing *listing)
{
    const struct view view = {.no_hidden = true};
    struct xe_object o = the_object(x, listing);

    xe_table_begin(x);
    if (xe_fine(x))
        show_record(x, &o, &view);
    xe_table_end(x);
}

static void param_get(struct xe *x, const struct xe_listing *listing)
{
    struct xe_object o = the_object(x, listing);
    const struct xe_field *const field = the_field(x, &o);
    const char *const key = xe_param(x, "param-key");

    if (!field)
        return;
    if (!key || !(field->flags & XE_DICT))
        return xe_list_one(x, xe_field_show(x, &o, field));
    const struct xapi_value pairs = xe_field_pairs(x, &o, field);
    const struct xapi_value *const value = xe_fine(x) ? xapi_map_get(&pairs, key) : NULL;
    if (value)
        return xe_list_one(x, xapi_value_text(value));
    (void)xe_forgive(x);
    xe_fail(x, "Key %s not found in map", key);
}

/* ---- which commands ---- */

enum verb { LIST, PARAM_LIST, PARAM_GET, PARAM_SET, PARAM_ADD, PARAM_REMOVE, PARAM_CLEAR };

static const struct {
    const char *name, *required;
    void (*run)(struct xe *x, const struct xe_listing *listing);
} verbs[] = {
    [LIST] = {"list", "", list},
    [PARAM_LIST] = {"param-list", "uuid", param_list},
    [PARAM_GET] = {"param-get", "uuid,param-name", param_get},
    [PARAM_SET] = {"param-set", "uuid", xe_param_set},
    [PARAM_ADD] = {"param-add", "uuid,param-name", xe_param_add},
    [PARAM_REMOVE] = {"param-remove", "uuid,param-name,param-key", xe_param_remove},
    [PARAM_CLEAR] = {"param-clear", "uuid,param-name", xe_param_clear},
};

static bool field_can(const struct xe_field *field, enum verb verb)
{
    switch (verb) {
    case PARAM_SET:
        return field->writer || field->flags & (XE_DICT_RW | XE_DICT_PAIR | XE_DICT_WHOLE);
    case PARAM_ADD:
    case PARAM_REMOVE:
        return field->flags & (XE_SET_RW | XE_DICT_RW);
    case PARAM_CLEAR:
        return field->writer || field->flags & (XE_SET | XE_DICT);
    default:
        return true;
    }
}

static bool listing_can(const struct xe_listing *listing, enum verb verb)
{
    const struct xe_record *const kind = &xe_records[listing->record];

    for (size_t i = 0; i < kind->fields; i++) {
        const struct xe_field *const field = &xe_fields[kind->first_field + i];
        if (!(field->flags & XE_HIDDEN) && field_can(field, verb))
            return true;
    }
    return false;
}

static const struct xe_listing *find(const char *command, enum verb *ret_verb)
{
    for (size_t i = 0; i < xe_listing_count; i++) {
        const char *const name = xe_text(xe_listings[i].name);
        const size_t len = strlen(name);
        if (len == 0 || strncmp(command, name, len) != 0 || command[len] != '-')
            continue;
        for (unsigned verb = 0; verb < XK_COUNT(verbs); verb++) {
            if (strcmp(command + len + 1, verbs[verb].name) != 0 || !listing_can(&xe_listings[i], (enum verb)verb))
                continue;
            *ret_verb = (enum verb)verb;
            return &xe_listings[i];
        }
    }
    return NULL;
}

/*
 * `database:vdi-uuid=` and `database:filename=` look into another database, through a session of its own that ends
 * with the command.
 */
static bool open_database(struct xe *x)
{
    const struct xapi_value database = xe_param_map(x, "database");
    const struct xapi_value *const vdi = xapi_map_get(&database, "vdi-uuid"), *const file =
                                                                                  xapi_map_get(&database, "filename");

    if (vdi && file)
        xe_fail(x, "xapi can query a DB vdi or a DB file, but not both.");
    if (!xe_fine(x) || (!vdi && !file))
        return false;
    const char *const session = vdi ? xe_get_text(x, "VDI.open_database", xe_by_uuid(x, "VDI", xapi_value_text(vdi)))
                                    : xe_get_text(x, "session.create_from_db_file", xapi_value_text(file));
    if (!xe_fine(x))
        return false;
    x->session = session;
    return true;
}

bool xe_listing_run(struct xe *x, const char *command)
{
    enum verb verb = LIST;
    const struct xe_listing *const listing = find(command, &verb);

    if (!listing)
        return false;
    const bool other = verb <= PARAM_GET && open_database(x);
    if (xe_fine(x))
        verbs[verb].run(x, listing);
    if (other)
        xe_end_database(x);
    return true;
}

void xe_end_database(struct xe *x)
{
    const enum xe_failure failure = x->failure;

    if (failure != XE_LOST) {
        x->failure = XE_FINE;
        (void)xe_do_bare(x, "session.logout");
        if (x->failure != XE_LOST)
            x->failure = failure;
    }
    x->session = NULL;
}

/* ---- their rows, for help and completion ---- */

static void add_names(struct xk_buf *b, const struct xe_record *kind, unsigned flag, const char *suffix)
{
    for (size_t i = 0; i < kind->fields; i++) {
        const struct xe_field *const f = &xe_fields[kind->first_field + i];
        if (!(f->flags & XE_HIDDEN) && (flag == 0 || f->flags & flag))
            xk_buf_printf(b, "%s%s%s", b->len > 0 ? "," : "", xe_text(f->name), suffix);
    }
}

static void add_writable(struct xk_buf *b, const struct xe_record *kind)
{
    for (size_t i = 0; i < kind->fields; i++) {
        const struct xe_field *const f = &xe_fields[kind->first_field + i];
        if (!(f->flags & XE_HIDDEN) && f->writer)
            xk_buf_printf(b, "%s%s", b->len > 0 ? "," : "", xe_text(f->name));
    }
    add_names(b, kind, XE_DICT_RW | XE_DICT_PAIR | XE_DICT_WHOLE, ":");
}

static void add_clearable(struct xk_buf *b, const struct xe_record *kind)
{
    const size_t before = b->len;

    for (size_t i = 0; i < kind->fields; i++) {
        const struct xe_field *const f = &xe_fields[kind->first_field + i];
        if (!(f->flags & XE_HIDDEN) && field_can(f, PARAM_CLEAR))
            xk_buf_printf(b, "%s%s", b->len > before ? "," : "", xe_text(f->name));
    }
}

void xe_listing_optional(struct xk_buf *b, const char *command)
{
    enum verb verb = LIST;
    const struct xe_listing *const listing = find(command, &verb);

    if (!listing)
        return;
    const struct xe_record *const kind = &xe_records[listing->record];
    switch (verb) {
    case LIST:
        xk_buf_add_str(b, "params,database:");
        add_names(b, kind, 0, "");
        add_names(b, kind, XE_SET, ":contains");
        break;
    case PARAM_LIST:
        xk_buf_add_str(b, "database:");
        break;
    case PARAM_GET:
        xk_buf_add_str(b, "param-key,database:");
        break;
    case PARAM_SET:
        add_writable(b, kind);
        break;
    case PARAM_ADD:
        xk_buf_add_str(b, "param-key");
        break;
    case PARAM_REMOVE:
    case PARAM_CLEAR:
        break;
    }
}

void xe_listing_help(struct xk_buf *b, const char *command)
{
    enum verb verb = LIST;
    const struct xe_listing *const listing = find(command, &verb);

    if (!listing)
        return;
    const char *const name = xe_text(listing->name);
    switch (verb) {
    case LIST:
        xk_buf_printf(b,
                      "Lists all the %s%s, filtering on the optional arguments. To filter on map parameters, use the "
                      "syntax 'map-param:key=value'",
                      name, strcmp(name, "patch") == 0 ? "es" : "s");
        break;
    case PARAM_LIST:
        xk_buf_add_str(b, "Lists all the parameters of the object specified by the uuid.");
        break;
    case PARAM_GET:
        xk_buf_add_str(b, "Gets the parameter specified of the object. If the parameter is a map of key=value pairs, "
                          "use 'param-key=<key>' to get the value associated with a particular key.");
        break;
    case PARAM_SET:
        xk_buf_add_str(b, "Sets the parameter specified. If param-value is not given, the parameter is set to a null "
                          "value. To set a (key,value) pair in a map parameter, use the syntax 'map-param:key=value'.");
        break;
    case PARAM_ADD:
        xk_buf_add_str(b, "Adds to a set or map parameter. If the parameter is a set, use param-key=<key to add>. If "
                          "the parameter is a map, pass the values to add as 'key=value' pairs.");
        break;
    case PARAM_REMOVE:
        xk_buf_add_str(b, "Removes a member or a key,value pair from a set/map respectively.");
        break;
    case PARAM_CLEAR:
        xk_buf_add_str(b, "Clears the specified parameter (param-name can be ");
        add_clearable(b, &xe_records[listing->record]);
        xk_buf_add_str(b, ").");
        break;
    }
}

static bool is_short_listed(const char *name)
{
    return strcmp(name, "vm") == 0 || strcmp(name, "network") == 0 || strcmp(name, "sr") == 0;
}

bool xe_entry_find(struct xe_entry *ret, const char *name)
{
    enum verb verb = LIST;
    const struct xe_listing *const listing = find(name, &verb);
    const struct xe_command *const command = listing ? NULL : xe_command_find(name);

    if (!listing && !command)
        return false;
    *ret =
        (struct xe_entry){.command = command, .required = command ? xe_text(command->required) : verbs[verb].required};
    (void)snprintf(ret->name, sizeof(ret->name), "%s", name);
    if (command)
        ret->flags = command->flags;
    else if (verb == LIST && is_short_listed(xe_text(listing->name)))
        ret->flags = XE_STANDARD;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct xe_entry *)a)->name, ((const struct xe_entry *)b)->name);
}

struct xe_entry *xe_entries(struct xe *x, size_t *ret_count)
{
    struct xe_entry *const entries = xk_arena_alloc(&x->arena, COMMANDS_MAX * sizeof(*entries));
    size_t count = 0;

    *ret_count = 0;
    if (!entries) {
        xe_fail_memory(x);
        return NULL;
    }
    for (size_t i = 0; i < xe_command_count && count < COMMANDS_MAX; i++)
        count += xe_entry_find(&entries[count], xe_text(xe_commands[i].name));
    for (size_t i = 0; i < xe_listing_count; i++) {
        for (unsigned verb = 0; *xe_text(xe_listings[i].name) && verb < XK_COUNT(verbs) && count < COMMANDS_MAX;
             verb++) {
            char name[sizeof(entries->name)];
            (void)snprintf(name, sizeof(name), "%s-%s", xe_text(xe_listings[i].name), verbs[verb].name);
            count += xe_entry_find(&entries[count], name);
        }
    }
    qsort(entries, count, sizeof(*entries), by_name);
    *ret_count = count;
    return entries;
}
