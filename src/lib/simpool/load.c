/*
 * What both formats of a dump have in common: objects into the database, and making a pool of them that answers.
 *
 * Objects are restored one after the other as they are read, so a dump is never in memory as a whole; relations are
 * looked at when all are there. Ten thousand VMs have mostly the same values in most fields: each is compared with the
 * default and with the object before, and then shared.
 */
#include "lib/simpool/load.h"

#include "core/text.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define UNKNOWN_BYTES_MAX 2000 /* of names that are told; the rest is counted */

/* ---- classes and fields ---- */

/* Names that are known nowhere, each once: a class with a thousand objects is one line. */
static void unknown(struct sim_load *l, const char *class_name, const char *field)
{
    struct xk_buf word = XK_BUF_INIT(512);

    xk_buf_printf(&word, " %.120s%s%.120s,", class_name, *field ? "." : "", field);
    if (!strstr(xk_buf_str(&l->unknown), xk_buf_str(&word))) {
        l->unknown_count++;
        if (l->unknown.len + word.len <= UNKNOWN_BYTES_MAX)
            xk_buf_add(&l->unknown, word.data, word.len);
    }
    xk_buf_done(&word);
}

const struct xapi_class *sim_load_class_find(struct sim_load *l, const char *name)
{
    const struct xapi_class *const row = xapi_class_find(name);

    if (!row)
        unknown(l, name, "");
    /* Sessions end with the server; messages are no table, but they are dumped and shown. */
    if (!row || strcmp(name, "session") == 0 || !(row->flags & XAPI_CLASS_DATABASE || strcmp(name, "message") == 0))
        return NULL;
    return row;
}

static void object_reset(struct sim_load *l)
{
    for (unsigned i = 0; l->row && i < l->row->fields; i++) {
        xapi_packed_unref(l->fields[i]);
        l->fields[i] = NULL;
    }
    l->row = NULL;
    l->position = 0;
}

int sim_load_begin(struct sim_load *l, const struct xapi_class *row)
{
    object_reset(l);
    l->row = row;
    if (!row)
        return 0;
    struct sim_load_class *const c = &l->classes[xapi_class_index(row)];
    if (!c->last) {
        c->last = xk_array_alloc(row->fields, sizeof(struct xapi_packed *));
        c->order = xk_array_alloc(row->fields, sizeof(uint16_t));
        if (!c->last || !c->order)
            return -ENOMEM;
    }
    return l->objects == SIM_LOAD_OBJECTS_MAX ? -E2BIG : 0;
}

/* "name__label" of the database is "name_label" of the API: one underscore for two. */
static bool same_name(const char *api, const char *name)
{
    for (; *api && *name; api++, name++) {
        if (*api != *name)
            return false;
        if (*name == '_' && name[1] == '_')
            name++;
    }
    return *api == *name;
}

static bool is_bookkeeping(const char *name)
{
    static const char *const names[] = {"ref", "_ref", "__ctime", "__mtime"};

    for (size_t i = 0; i < XK_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

unsigned sim_load_place(struct sim_load *l, const char *name)
{
    struct sim_load_class *const c = &l->classes[xapi_class_index(l->row)];
    const struct xapi_field *const fields = &xapi_fields[l->row->first_field];
    const unsigned position = l->position;

    if (position < c->order_count && same_name(xapi_text(fields[c->order[position]].name), name)) {
        l->position++;
        return c->order[position];
    }
    for (unsigned i = 0; i < l->row->fields; i++) {
        if (!same_name(xapi_text(fields[i].name), name))
            continue;
        if (position < l->row->fields) {
            c->order[position] = (uint16_t)i;
            c->order_count = XK_MAX(c->order_count, position + 1);
            l->position++;
        }
        return i;
    }
    if (!is_bookkeeping(name))
        unknown(l, xapi_text(l->row->name), name);
    return XAPI_NONE;
}

/* "2026-01-02T03:04:05Z" is "20260102T03:04:05Z" on the wire. */
static const struct xapi_value *plain_time(struct xk_arena *arena, const struct xapi_value *v, struct xapi_value *ret)
{
    if (v->shape != XAPI_TEXT || v->count < 10 || v->text[4] != '-' || v->text[7] != '-')
        return v;
    const char *const text = xk_arena_printf(arena, "%.4s%.2s%s", v->text, v->text + 5, v->text + 8);
    if (!text)
        return v;
    *ret = xapi_str(text);
    return ret;
}

int sim_load_value(struct sim_load *l, unsigned place, struct xk_arena *arena, const struct xapi_value *v)
{
    struct sim_load_class *const c = &l->classes[xapi_class_index(l->row)];
    struct xapi_packed *const initial = l->pool->classes[xapi_class_index(l->row)].defaults[place];
    const uint16_t type = xapi_fields[l->row->first_field + place].type;
    struct xapi_value fit, time;

    if (xapi_type_of(type)->kind == XAPI_DATETIME)
        v = plain_time(arena, v, &time);
    const int code = sim_fit(&fit, arena, type, v);
    if (code == -ENOMEM)
        return code;
    if (code < 0) {
        l->wrong_values++;
        return 0;
    }
    l->other_words += code == 1;
    xapi_packed_unref(l->fields[place]);
    if (xapi_value_same(&initial->value, &fit))
        l->fields[place] = xapi_packed_ref(initial);
    else if (c->last[place] && xapi_value_same(&c->last[place]->value, &fit))
        l->fields[place] = xapi_packed_ref(c->last[place]);
    else
        l->fields[place] = xapi_pack(&fit);
    if (!l->fields[place])
        return -ENOMEM;
    if (l->fields[place] != c->last[place] && l->fields[place] != initial) {
        xapi_packed_unref(c->last[place]);
        c->last[place] = xapi_packed_ref(l->fields[place]);
    }
    return 0;
}

void sim_load_wrong(struct sim_load *l)
{
    l->wrong_values++;
}

int sim_load_end(struct sim_load *l, const char *ref)
{
    const struct xapi_class *const row = l->row;
    struct simpool *const p = l->pool;
    const struct sim_object *const there = row ? sim_find(p, ref, NULL) : NULL;
    int code = 0;

    if (!row) {
        l->unknown_objects++;
    } else if (*ref == '\0' || strlen(ref) >= SIM_REF_BYTES || strcmp(ref, SIM_NULL) == 0 ||
               (there && there->class_row != row)) {
        l->wrong_refs++;
    } else {
        code = sim_restore(p, row, ref, l->fields, p->generation + 1, p->generation + 1);
        l->objects++;
    }
    object_reset(l);
    return code;
}

/* ---- a pool of it ---- */

/* Dumps may be of one class only; then whatever a pool cannot do without is made up. */
static int complete(struct simpool *p, struct xk_err *err)
{
    struct sim_object *pool = sim_first(p, "pool"), *host = pool ? sim_follow(p, pool, "master") : NULL;

    if (!host)
        host = sim_first(p, "host");
    if (!host && (host = sim_create(p, "host")) != NULL) {
        sim_put_text(p, host, "name_label", "host-1");
        sim_put_text(p, host, "hostname", "host-1");
        sim_put_bool(p, host, "enabled", true);
        sim_note(p, "the dump has no host: one was made up");
    }
    if (!pool && (pool = sim_create(p, "pool")) != NULL) {
        sim_put_text(p, pool, "name_label", "loaded");
        sim_note(p, "the dump has no pool: one was made up");
    }
    if (!pool || !host)
        return xk_fail_memory(err);
    if (!sim_follow(p, pool, "master"))
        sim_put_text(p, pool, "master", host->ref);
    if (!sim_follow(p, host, "metrics")) {
        struct sim_object *const metrics = sim_create(p, "host_metrics");
        if (metrics) {
            sim_put_bool(p, metrics, "live", true);
            sim_put_text(p, host, "metrics", metrics->ref);
        }
    }
    return p->error ? xk_fail_memory(err) : 0;
}

/* The master first, as it has the first address; the others as they come. */
static int number_hosts(struct simpool *p, struct xk_err *err)
{
    const char *const master = sim_text(sim_first(p, "pool"), "master");
    unsigned count = 0;

    memcpy(p->host_refs[count++], master, strlen(master) + 1);
    for (const struct sim_object *host = sim_first(p, "host"); host; host = host->class_next) {
        if (strcmp(host->ref, master) == 0)
            continue;
        if (count == SIMPOOL_HOSTS_MAX)
            return xk_fail(err, -E2BIG, "more than %d hosts", SIMPOOL_HOSTS_MAX);
        memcpy(p->host_refs[count++], host->ref, SIM_REF_BYTES);
    }
    p->settings.hosts = count;
    p->master = 0;
    return 0;
}

static void tell(const struct sim_load *l)
{
    struct simpool *const p = l->pool;

    if (l->unknown_count > 0)
        sim_note(p, "%u classes or fields are not known, and left out:%.*s%s", l->unknown_count,
                 (int)(l->unknown.len ? l->unknown.len - 1 : 0), xk_buf_str(&l->unknown),
                 l->unknown.len + 300 > UNKNOWN_BYTES_MAX ? " …" : "");
    if (l->unknown_objects > 0)
        sim_note(p, "%llu objects of classes that are not kept (sessions, unknown ones) are left out",
                 (unsigned long long)l->unknown_objects);
    if (l->wrong_values > 0)
        sim_note(p, "%llu values are not of their type; the defaults stand", (unsigned long long)l->wrong_values);
    if (l->other_words > 0)
        sim_note(p, "%llu values are words that this data model does not know; they stay",
                 (unsigned long long)l->other_words);
    if (l->wrong_refs > 0)
        sim_note(p, "%llu objects have a ref that cannot be, and are left out", (unsigned long long)l->wrong_refs);
}

static int first_byte(char *ret, const struct xk_file *file, struct xk_err *err)
{
    char head[4096];
    const ssize_t got = xk_file_read_some(file, head, sizeof(head), 0, err);

    *ret = '\0';
    if (got < 0)
        return (int)got;
    for (ssize_t i = 0; i < got; i++) {
        if (i == 0 && got >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0)
            i = 3; /* a byte order mark */
        if (i == got || strchr(" \t\r\n", head[i]))
            continue;
        *ret = head[i];
        return 0;
    }
    return 0;
}

static void load_done(struct sim_load *l)
{
    object_reset(l);
    for (unsigned i = 0; l->classes && i < xapi_class_count; i++) {
        for (unsigned j = 0; l->classes[i].last && j < xapi_classes[i].fields; j++)
            xapi_packed_unref(l->classes[i].last[j]);
        free(l->classes[i].last);
        free(l->classes[i].order);
    }
    free(l->classes);
    free(l->fields);
    xk_buf_done(&l->unknown);
}

static size_t fields_max(void)
{
    size_t most = 0;

    for (unsigned i = 0; i < xapi_class_count; i++)
        most = XK_MAX(most, (size_t)xapi_classes[i].fields);
    return most;
}

int sim_load(struct simpool *p, const struct xk_fs *fs, const char *path, struct xk_err *err)
{
    struct sim_load l = {.pool = p, .unknown = XK_BUF_INIT(UNKNOWN_BYTES_MAX + 512)};
    struct xk_file file = {0};
    struct xk_err why = {0};
    char first = '\0';

    int code = xk_file_open(&file, fs, path, O_RDONLY, 0, err);
    if (code == 0)
        code = first_byte(&first, &file, err);
    if (code < 0) {
        xk_file_close(&file);
        return code;
    }
    l.classes = xk_array_alloc(xapi_class_count, sizeof(*l.classes));
    l.fields = xk_array_alloc(fields_max(), sizeof(struct xapi_packed *));
    if (!l.classes || !l.fields)
        code = xk_fail_memory(&why);
    else if (first == '<')
        code = sim_load_xml(&l, &file, &why);
    else if (first == '{')
        code = sim_load_json(&l, &file, &why);
    else
        code = xk_fail(&why, -EBADMSG, "neither JSON nor the XML of a XenServer database");
    if (code == 0 && l.objects == 0)
        code = xk_fail(&why, -EBADMSG, "there is no object of a XenServer pool in it");
    if (code == 0) {
        sim_bulk_end(p);
        code = p->error ? xk_fail_memory(&why) : complete(p, &why);
    }
    if (code == 0)
        code = number_hosts(p, &why);
    if (code == 0)
        tell(&l);
    else if (why.text[0])
        xk_fail(err, code, "%s: %s", path, why.text);
    else
        xk_fail_memory(err);
    load_done(&l);
    xk_file_close(&file);
    return code;
}
