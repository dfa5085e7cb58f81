/* Hosts and messages: the calls that do more than read or set a field. */
#include "lib/simpool/log.h"

#include <stdio.h>
#include <string.h>

/* ---- hosts ---- */

static enum sim_outcome set_enabled(struct sim_call *c, bool enabled)
{
    struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    sim_put_bool(c->pool, host, "enabled", enabled);
    sim_put_list(c->pool, host, "allowed_operations",
                 enabled ? (const char *const[]){"vm_start", "vm_resume", "vm_migrate", "provision", "evacuate", NULL}
                         : (const char *const[]){"shutdown", "reboot", "evacuate", "enable", NULL});
    return SIM_DONE;
}

static enum sim_outcome host_enable(struct sim_call *c)
{
    return set_enabled(c, true);
}

static enum sim_outcome host_disable(struct sim_call *c)
{
    return set_enabled(c, false);
}

static enum sim_outcome host_time(struct sim_call *c)
{
    if (!sim_arg(c, 0))
        return SIM_FAILED;
    unsigned number = 0;
    while (number + 1 < c->pool->settings.hosts && strcmp(c->pool->host_refs[number], sim_arg_text(c, 0)) != 0)
        number++;
    c->result = xapi_time(&c->arena, sim_now_ns(c->pool, number) / (int64_t)XK_NS_PER_S);
    return SIM_DONE;
}

static enum sim_outcome host_free_memory(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0), *const metrics =
                                                             host ? sim_follow(c->pool, host, "metrics") : NULL;

    if (!host)
        return SIM_FAILED;
    c->result = xapi_int(metrics ? sim_int(metrics, "memory_free") : 0);
    return SIM_DONE;
}

void sim_master_move(struct simpool *p, unsigned host)
{
    p->master = host;
    sim_put_text(p, sim_first(p, "pool"), "master", p->host_refs[host]);
    /* Every host starts its toolstack anew, and the table of sessions is not kept. */
    while (p->sessions)
        sim_session_end(p, p->sessions);
    for (unsigned i = 0; i < p->settings.hosts; i++)
        sim_log_start(p, i);
}

static enum sim_outcome new_master_end(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    const struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    for (unsigned i = 0; i < p->settings.hosts; i++)
        if (strcmp(p->host_refs[i], host->ref) == 0)
            sim_master_move(p, i);
    return SIM_DONE;
}

static enum sim_outcome new_master(struct sim_call *c)
{
    const struct sim_object *const host = sim_arg(c, 0);

    if (!host)
        return SIM_FAILED;
    if (strcmp(host->ref, sim_text(sim_first(c->pool, "pool"), "master")) == 0)
        return SIM_DONE;
    return sim_work(c, XK_NS_PER_S, new_master_end, NULL, NULL, false);
}

static enum sim_outcome nothing_to_do(struct sim_call *c)
{
    return SIM_DONE; /* the database is always in step */
}

/* ---- messages ---- */

static enum sim_outcome message_create(struct sim_call *c)
{
    struct simpool *const p = c->pool;
    static const struct {
        const char *cls, *class_name;
    } kinds[] = {{"VM", "VM"}, {"Host", "host"}, {"SR", "SR"}, {"Pool", "pool"}, {"VDI", "VDI"}};

    for (size_t i = 0; i < XK_COUNT(kinds); i++)
        if (strcmp(kinds[i].cls, sim_arg_text(c, 2)) == 0 &&
            !sim_find_uuid(p, sim_arg_text(c, 3), xapi_class_find(kinds[i].class_name)))
            return sim_fail(c, "UUID_INVALID", kinds[i].cls, sim_arg_text(c, 3), NULL);
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

static enum sim_outcome message_destroy(struct sim_call *c)
{
    struct sim_object *const o = sim_arg(c, 0);

    if (!o)
        return SIM_FAILED;
    sim_delete(c->pool, o);
    return SIM_DONE;
}

static enum sim_outcome message_destroy_many(struct sim_call *c)
{
    for (size_t i = 0; i < c->args[0].count; i++) {
        struct sim_object *const o =
            sim_find(c->pool, xapi_value_text(&c->args[0].items[i]), xapi_class_find("message"));
        if (o)
            sim_delete(c->pool, o);
    }
    return SIM_DONE;
}

/* Those of one object (NULL: of all) not older than `since`; times are texts that sort as they pass. */
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

static enum sim_outcome message_get(struct sim_call *c)
{
    return messages_of(c, sim_arg_text(c, 0), sim_arg_text(c, 1), sim_arg_text(c, 2));
}

static enum sim_outcome message_get_since(struct sim_call *c)
{
    return messages_of(c, NULL, NULL, sim_arg_text(c, 0));
}

const struct sim_row sim_pool_rows[] = {
    {"message.create", message_create},
    {"message.destroy", message_destroy},
    {"message.destroy_many", message_destroy_many},
    {"message.get", message_get},
    {"message.get_since", message_get_since},
    {"host.enable", host_enable},
    {"host.disable", host_disable},
    {"host.get_servertime", host_time},
    {"host.get_server_localtime", host_time},
    {"host.compute_free_memory", host_free_memory},
    {"pool.designate_new_master", new_master},
    {"pool.sync_database", nothing_to_do},
    {NULL, NULL},
};
