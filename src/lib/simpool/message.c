/*
 * Messages: what the pool wants its administrators to know.
 *
 * On a real host they are files, and the oldest go when there are more than ten thousand. Times are texts that sort as
 * they pass.
 */
#include "lib/simpool/hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX 10000

static const struct xapi_class *message_class(void)
{
    return xapi_class_find("message");
}

void sim_alert(struct simpool *p, const char *name, int64_t priority, const char *cls, const struct sim_object *about,
               const char *body)
{
    struct sim_object *const o = sim_create(p, "message");

    if (!o)
        return;
    sim_put_text(p, o, "name", name);
    sim_put_int(p, o, "priority", priority);
    sim_put_text(p, o, "cls", cls);
    sim_put_text(p, o, "obj_uuid", sim_text(about, "uuid"));
    sim_put_text(p, o, "body", body);
    sim_put_time(p, o, "timestamp", sim_now_s(p));
}

void sim_messages_collect(struct simpool *p)
{
    while (p->classes[xapi_class_index(message_class())].count > MESSAGES_MAX)
        sim_delete(p, sim_first(p, "message"));
}

/* ---- messages ---- */

/* The class whose objects a message of that kind is about. NULL: it is about nothing that the pool has. */
static const char *class_of(const char *cls)
{
    static const struct {
        const char *cls, *name;
    } rows[] = {{"VM", "VM"},     {"Host", "host"},           {"SR", "SR"},   {"Pool", "pool"},
                {"VMSS", "VMSS"}, {"PVS_proxy", "PVS_proxy"}, {"VDI", "VDI"}, {"Certificate", "Certificate"}};

    for (size_t i = 0; i < XK_COUNT(rows); i++)
        if (strcmp(rows[i].cls, cls) == 0)
            return rows[i].name;
    return NULL;
}

static enum sim_outcome create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const char *const cls = sim_arg_text(c, 2), *const name = class_of(cls);

    if (!name || !sim_find_uuid(p, sim_arg_text(c, 3), xapi_class_find(name)))
        return sim_fail(c, "UUID_INVALID", cls, sim_arg_text(c, 3), NULL);
    struct sim_object *const o = sim_create(p, "message");
    if (!o)
        return sim_no_memory(c);
    sim_put(p, o, "name", c->args[0]);
    sim_put(p, o, "priority", c->args[1]);
    sim_put(p, o, "cls", c->args[2]);
    sim_put(p, o, "obj_uuid", c->args[3]);
    sim_put(p, o, "body", c->args[4]);
    sim_put_time(p, o, "timestamp", sim_now_s(p));
    c->result = xapi_str(o->ref);
    return SIM_DONE;
}

static enum sim_outcome destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    sim_delete(c->pool, o);
    return SIM_DONE;
}

/* Those that are there go; one that is not is an error, after the others are gone. */
static enum sim_outcome destroy_many(struct sim_call *c)
{
    const char *missing = NULL;

    for (size_t i = 0; i < c->args[0].count; i++) {
        const char *const ref = xapi_value_text(&c->args[0].items[i]);
        struct sim_object *const o = sim_find(c->pool, ref, message_class());
        if (o)
            sim_delete(c->pool, o);
        else
            missing = ref;
    }
    return missing ? sim_bad_handle(c, (uint16_t)xapi_class_index(message_class()), missing) : SIM_DONE;
}

/* A time with or without the dashes of ISO 8601, as the database has it. */
static bool plain_time(char *ret, size_t bytes, const char *text)
{
    size_t len = 0;

    for (; *text; text++)
        if (*text != '-' && len + 1 < bytes)
            ret[len++] = *text;
    ret[len] = '\0';
    return len >= 17 && ret[8] == 'T' && strspn(ret, "0123456789T:Z.") == len;
}

static enum sim_outcome destroy_all(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct xapi_value *const before = xapi_map_get(&c->args[0], "before"),
                                   *const after = xapi_map_get(&c->args[0], "after"),
                                   *const priority = xapi_map_get(&c->args[0], "priority");
    char until[64] = "", since[64] = "", *end = NULL;

    if (before && !plain_time(until, sizeof(until), xapi_value_text(before)))
        return sim_fail(c, "INTERNAL_ERROR", "Invalid_argument(\"before\")", NULL);
    if (after && !plain_time(since, sizeof(since), xapi_value_text(after)))
        return sim_fail(c, "INTERNAL_ERROR", "Invalid_argument(\"after\")", NULL);
    const long long wanted = priority ? strtoll(xapi_value_text(priority), &end, 10) : 0;
    if (priority && (*end || !*xapi_value_text(priority)))
        return sim_fail(c, "INTERNAL_ERROR", "Failure(\"Int64.of_string\")", NULL);
    for (struct sim_object *o = sim_first(p, "message"), *next; o; o = next) {
        next = o->class_next;
        const char *const stamp = sim_text(o, "timestamp");
        if ((!before || strcmp(stamp, until) < 0) && (!after || strcmp(stamp, since) > 0) &&
            (!priority || sim_int(o, "priority") == wanted))
            sim_delete(p, o);
    }
    return SIM_DONE;
}

/* Those of one object (NULL: of all) not older than `since`. */
static enum sim_outcome messages_of(struct sim_call *c, const char *cls, const char *uuid, const char *since)
{
    struct simpool *const p = c->pool;
    xk_auto(xapi_build_done) struct xapi_build b = XAPI_BUILD_INIT(&c->arena);

    xapi_build_open(&b, XAPI_MAP);
    for (struct sim_object *o = sim_first(p, "message"); o; o = o->class_next) {
        if ((cls && (strcmp(sim_text(o, "cls"), cls) != 0 || strcmp(sim_text(o, "obj_uuid"), uuid) != 0)) ||
            strcmp(sim_text(o, "timestamp"), since) < 0)
            continue;
        struct xapi_raw *const raw = xk_arena_alloc(&c->arena, sizeof(*raw));
        if (!raw || sim_record(raw, o) < 0)
            return sim_no_memory(c);
        xapi_build_value(&b, xapi_str(o->ref));
        xapi_build_value(&b, (struct xapi_value){.shape = XAPI_RAW, .raw = raw});
    }
    xapi_build_close(&b);
    return xapi_build_end(&b, &c->result) < 0 ? sim_no_memory(c) : SIM_DONE;
}

static enum sim_outcome get(struct sim_call *c)
{
    const char *const name = class_of(sim_arg_text(c, 0));

    if (!name || !sim_find_uuid(c->pool, sim_arg_text(c, 1), xapi_class_find(name)))
        return sim_fail(c, "UUID_INVALID", NULL);
    return messages_of(c, sim_arg_text(c, 0), sim_arg_text(c, 1), sim_arg_text(c, 2));
}

static enum sim_outcome get_since(struct sim_call *c)
{
    return messages_of(c, NULL, NULL, sim_arg_text(c, 0));
}

const struct sim_row sim_message_rows[] = {
    {"message.create", create},
    {"message.destroy", destroy},
    {"message.destroy_many", destroy_many},
    {"message.destroy_all", destroy_all},
    {"message.get", get},
    {"message.get_since", get_since},
    {NULL, NULL},
};
